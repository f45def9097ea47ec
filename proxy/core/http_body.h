/*
 * http_body - where a message body ends: by length, by chunks, at the close, or at once.
 *
 * Pure; keeps no bytes. It tells for each piece how much of it belongs to the body as it is on the wire, and where the
 * payload in it is. Chunk syntax is strict (DESIGN 8): 1 to 16 hex digits after leading zeros and at most 2^63-1,
 * CRLF exact, extensions and trailers bounded and free of control bytes, trailers shaped like fields (RFC 9112 7.1),
 * and none that tells framing or the life of the connection.
 */
#ifndef SIOLB_CORE_HTTP_BODY_H
#define SIOLB_CORE_HTTP_BODY_H

#include "http_head.h"

#define HTTP_CHUNK_EXTRA_MAX 8192 /* bytes of one chunk's leading zeros and extensions, or of all trailers */

struct http_body {
    uint64_t left;  /* payload bytes of the length, or of the current chunk (also while its size is being read) */
    uint32_t extra; /* bytes so far of what HTTP_CHUNK_EXTRA_MAX bounds */
    uint8_t framing;
    uint8_t state;
    uint8_t names;    /* those that a trailer must not have and that this one may still become, a bit each */
    uint8_t name_len; /* bytes of its name so far, as long as there is one */
    bool refuses_forwarded;
};

void http_body_init(struct http_body *b, enum http_framing framing, uint64_t length);

/* Of this body, trailers that tell where a request came from are PARSE_BAD too: Forwarded, X-Forwarded-*, X-Real-IP,
 * also spelt with "_". */
void http_body_refuse_forwarded(struct http_body *b);

/* No byte more is expected (never true for HTTP_UNTIL_CLOSE). */
bool http_body_is_done(const struct http_body *b);

/* Take the next piece of the wire: *used_out bytes of `in` belong to the body, *data_out is the payload within them
 * (one run; may be empty). PARSE_MORE with *used_out < in.len: call again with the rest. PARSE_OK: the body is
 * complete, what is behind *used_out is not part of it. PARSE_BAD: broken chunk syntax; the *used_out bytes before it
 * were good. */
enum parse http_body_next(struct http_body *b, struct span in, size_t *used_out, struct span *data_out) MUST_CHECK;

#endif
