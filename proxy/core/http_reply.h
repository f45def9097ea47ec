/*
 * http_reply - the replies that siolb makes itself: short JSON in Engine.IO's shape (DESIGN 3, PROTOCOL 11, 12).
 */
#ifndef SIOLB_CORE_HTTP_REPLY_H
#define SIOLB_CORE_HTTP_REPLY_H

#include "reason.h"
#include "span.h"

#define HTTP_REPLY_BYTES_MAX 1024

struct http_reply {
    enum reason why;          /* status and message */
    bool close;               /* say Connection: close, else keep-alive */
    bool head_only;           /* the request was HEAD: same head, no body */
    uint32_t retry_after_s;   /* 0: no Retry-After */
    struct span allow_origin; /* value of Access-Control-Allow-Origin, empty: none; over 256 bytes: left out */
    bool allow_credentials;
};

/* Write head and body; returns the length (always fits HTTP_REPLY_BYTES_MAX). Body: {"code":1,"message":"Session ID
 * unknown"} for REASON_SESSION_GONE, else code = the HTTP status. Adds Vary: Origin beside an origin that is not "*".
 */
size_t http_reply_write(const struct http_reply *r, char out[HTTP_REPLY_BYTES_MAX]);

#endif
