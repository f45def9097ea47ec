/*
 * eio - Engine.IO words in a request target: path, sid, transport, EIO (PROTOCOL 2, 6, 14, 15).
 *
 * Pure. Decodes as the worker will: the path matches by prefix on the raw target; the query ends at '#'; names and
 * values are percent-decoded and '+' is a blank; of a repeated parameter the last one counts (Node) or the first
 * (Python), as configured; an empty sid is no sid. With "last" the last one counts even if it is empty (`sid=a&sid=`
 * has no sid), with "first" empty ones do not exist (parse_qs drops them); the transport likewise. Decoded bytes stay
 * as they are: what is no UTF-8 is not replaced, a sid is opaque (PROTOCOL 2).
 */
#ifndef SIOLB_CORE_EIO_H
#define SIOLB_CORE_EIO_H

#include "span.h"

#define SID_BYTES_MAX 256
#define EIO_NO_PATH   (-1)

enum eio_transport { EIO_TRANSPORT_NONE, EIO_POLLING, EIO_WEBSOCKET, EIO_TRANSPORT_OTHER };

enum eio_repeated { EIO_LAST_COUNTS, EIO_FIRST_COUNTS };

struct eio_target {
    int path;             /* index of the configured path it lies under (the longest that fits), or EIO_NO_PATH */
    uint8_t transport;    /* enum eio_transport */
    bool has_eio;         /* there is an EIO parameter */
    bool has_sid;         /* there is a sid that is not empty */
    bool sid_is_too_long; /* ... of more than SID_BYTES_MAX bytes decoded; `sid` holds the first ones */
    uint16_t sid_len;
    char sid[SID_BYTES_MAX]; /* decoded */
};

/* Read a request target (origin-form; anything else lies on no path). Never fails. A target on no path is still looked
 * at for transport and EIO (the newcomer's mistake, DESIGN 2), but not for a sid. */
void eio_target_parse(struct span target, const struct span *paths, size_t path_count, enum eio_repeated repeated,
                      struct eio_target *out);

static inline struct span eio_sid(const struct eio_target *t)
{
    return span_of(t->sid, t->sid_len);
}

/* Is it Engine.IO on a path that is not configured: EIO= and transport= there, path unknown? *path_out: the part of the
 * target before '?', for the hint. An absolute-form target is none: its path could not be configured either. */
bool eio_looks_misplaced(const struct eio_target *t, struct span target, struct span *path_out);

/* How a sid may be shown: at most six characters and at most a third of it, others than [A-Za-z0-9_-] as '?', then
 * "...". Writes a C string. */
#define SID_SHOWN_BYTES 12
void eio_sid_shown(struct span sid, char out[SID_SHOWN_BYTES]);

/* Percent-decode a cookie value as encodeURIComponent wrote it (no '+'); false: longer than `size`. */
bool eio_cookie_decode(struct span value, char *out, size_t size, size_t *len_out) MUST_CHECK;

/* Does this body of a 400 say that the worker does not know the session: a JSON object whose top-level "code" is 1?
 * (PROTOCOL 11). The bare text of an upgrade refusal "Session ID unknown" is not judged here. */
bool eio_body_is_unknown_sid(struct span body);

#endif
