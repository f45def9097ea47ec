/*
 * eio_open - the open packet in the answer to a handshake: sid and ping values, from every framing (PROTOCOL 3-5, 17).
 *
 * Pure, works on payload bytes (chunking and coding already undone, see learn.h). Only an Engine.IO open packet (type
 * 0) at the start of the body counts; the sid of `40{"sid":...}` is another thing and is never taken.
 */
#ifndef SIOLB_CORE_EIO_OPEN_H
#define SIOLB_CORE_EIO_OPEN_H

#include "eio.h"

#define EIO_OPEN_BYTES_MAX 4096 /* nothing behind that is looked at */

enum eio_open_framing { EIO_OPEN_PLAIN, EIO_OPEN_TEXT, EIO_OPEN_BINARY, EIO_OPEN_JSONP, EIO_OPEN_FRAMINGS };

struct eio_open {
    uint32_t ping_interval_ms; /* 0: not said */
    uint32_t ping_timeout_ms;
    uint64_t max_payload;
    uint8_t framing;  /* enum eio_open_framing; JSONP also when the payload in it has a framing of its own */
    uint16_t sid_len; /* 0: not found yet */
    char sid[SID_BYTES_MAX];
};

/* Look at all payload bytes so far. PARSE_OK: the packet's JSON object is whole, all values are set, sid_len > 0; what
 * follows is not looked at. PARSE_MORE: may still become one; sid_len > 0 as soon as a top-level sid is complete, so
 * that it can be learned before those bytes go on (a second "sid" in the object would replace it, as in JSON.parse).
 * PARSE_BAD: no open packet, or one without a usable sid; sid_len is 0. Only the first EIO_OPEN_BYTES_MAX bytes are
 * looked at: when they are PARSE_MORE, the caller gives up. */
enum parse eio_open_parse(struct span payload, struct eio_open *out) MUST_CHECK;

/* The same for the first websocket frame of a worker: an unmasked final text frame with an open packet and no more
 * (PROTOCOL 6). `bytes` are all bytes since the end of the 101 head. Never PARSE_MORE with EIO_OPEN_BYTES_MAX + 4
 * bytes: a longer frame is bad at once. */
enum parse eio_open_parse_frame(struct span bytes, struct eio_open *out) MUST_CHECK;

#endif
