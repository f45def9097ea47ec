/*
 * http_head - bytes to a request or response head: strict, incremental, refuses what two parsers could read
 * differently (DESIGN 8; RFC 9110, 9112).
 *
 * Pure. It copies nothing: the caller keeps all bytes since the start of the head in one buffer (which may move and
 * grow between calls) and calls again with the longer buffer; each line is judged once, so that a head that arrives
 * byte by byte costs no more than one that arrives whole. Results are slices of that buffer. What the head does not
 * need for framing, routing or connection life is validated, not kept; http_field_next() walks the fields.
 */
#ifndef SIOLB_CORE_HTTP_HEAD_H
#define SIOLB_CORE_HTTP_HEAD_H

#include "reason.h"
#include "span.h"

#define HTTP_FIELDS_MAX 256

enum http_method { HTTP_METHOD_OTHER, HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_OPTIONS };

/* How the end of a body is told (RFC 9112 6.3). `Content-Length: 0` is HTTP_NO_BODY with the fact HTTP_HAS_LENGTH. */
enum http_framing { HTTP_NO_BODY, HTTP_LENGTH, HTTP_CHUNKED, HTTP_UNTIL_CLOSE };

/* Facts of a head, bits of http_head.facts. */
enum {
    HTTP_SAYS_CLOSE = 1 << 0,      /* Connection (or Proxy-Connection) holds the token close */
    HTTP_SAYS_KEEP_ALIVE = 1 << 1, /* Connection holds keep-alive */
    HTTP_SAYS_UPGRADE = 1 << 2,    /* Connection holds upgrade */
    HTTP_HAS_UPGRADE = 1 << 3,     /* there is an Upgrade field, whatever it says */
    HTTP_NAMES_WEBSOCKET = 1 << 4, /* request: the one Upgrade field is exactly "websocket"; response: it names it */
    HTTP_HAS_LENGTH = 1 << 5,      /* there is a Content-Length (also where framing says otherwise, as in HEAD) */
    HTTP_HAS_COOKIE = 1 << 6,      /* there is a Cookie field */
    HTTP_HAS_SET_COOKIE = 1 << 7,
    HTTP_HAS_CODING = 1 << 8,    /* there is a Content-Encoding */
    HTTP_HAS_ORIGIN = 1 << 9,    /* there is an Origin (request) */
    HTTP_GRANTS_ORIGIN = 1 << 10 /* there is an Access-Control-Allow-Origin (response) */
};

struct http_head {
    /* progress, the parser's own */
    uint32_t line;    /* start of the first line that is not judged yet */
    uint32_t scanned; /* no control byte but tabs in [line, scanned) */
    uint16_t fields;  /* judged so far */
    uint8_t phase;
    uint8_t seen;    /* fields that may come once */
    uint8_t dropped; /* request: bytes of empty lines that came before the buffer */
    /* results, valid after PARSE_OK (request line and status line: as soon as `line` has passed them) */
    uint8_t method;        /* enum http_method */
    uint8_t minor;         /* HTTP/1.minor */
    uint8_t framing;       /* enum http_framing */
    uint16_t facts;        /* HTTP_SAYS_CLOSE ... */
    uint16_t status;       /* response */
    uint16_t keep_alive_s; /* response: Keep-Alive: timeout=N, 0 when unsaid or 0 */
    uint64_t length;       /* what Content-Length says; the bytes of the body when framing is HTTP_LENGTH */
    struct slice method_name;
    struct slice target;
    struct slice host; /* value without blanks; len 0 when missing or empty */
    uint32_t start;    /* request: where the request line begins, behind dropped empty lines (they are not
                          forwarded); response: 0 */
    uint32_t end;      /* first byte behind the head */
};

/* Begin a head. */
void http_head_init(struct http_head *h);

/* The buffer of a request held nothing but empty lines, and is thrown away: what comes next is the start of another.
 * The lines count: no more of them are allowed than in one buffer. */
void http_head_drop_empty_lines(struct http_head *h);

/* Judge what has arrived of a request head: `buffer` holds all bytes since the start of the head, and may hold more
 * behind it. head_bytes_max: ceiling for [start, end); nothing behind it is looked at, and once that many bytes are
 * there the answer is never PARSE_MORE. A target that does not end within it is REASON_TARGET_TOO_LONG. PARSE_BAD:
 * *why_out is a reason with an HTTP status (400, 405, 414, 431, 505), nothing else in *h may be used. An offence is
 * told as soon as the line that holds it is whole, or earlier where the bytes cannot become right. */
enum parse http_request_parse(struct http_head *h, struct span buffer, uint32_t head_bytes_max,
                              enum reason *why_out) MUST_CHECK;

/* The same for a response head. `asked` is the method of the request (HEAD has no body). A 1xx, 204 or 304 has no body;
 * the caller decides what a 101 means. PARSE_BAD: the answer is no valid HTTP; *why_out says which rule it broke (the
 * same words as for requests; the caller answers 502). */
enum parse http_response_parse(struct http_head *h, struct span buffer, enum http_method asked, uint32_t head_bytes_max,
                               enum reason *why_out) MUST_CHECK;

/* Walk the fields of a whole head: `head` is [start, end) of a parsed buffer; *at starts at 0. Fills name and value
 * (without blanks around it), false at the end. */
bool http_field_next(struct span head, uint32_t *at, struct span *name_out, struct span *value_out);

/* First field called `name` (any case). False: none, *value_out is empty. */
bool http_field_find(struct span head, struct span name, struct span *value_out);

/* The only field called `name`. False: there is none, or several, which readers join or choose from as they like. */
bool http_field_only(struct span head, struct span name, struct span *value_out);

/* The value of the cookie `name` in the Cookie fields of `head` (several fields are legal), quotes around it taken off
 * (RFC 6265 4.1.1); the first of several wins, as in the npm cookie package. False: none. */
bool http_cookie_find(struct span head, struct span name, struct span *value_out);

/* The value of cookie `name` that the Set-Cookie fields of a response head set; the last one wins. False: none. */
bool http_set_cookie_find(struct span head, struct span name, struct span *value_out);

/* May the connection carry another message after this one, as far as this head says (RFC 9112 9.3)? */
bool http_head_is_persistent(const struct http_head *h);

#endif
