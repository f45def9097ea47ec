#include "http_reply.h"

#include <assert.h>

#define ALLOW_ORIGIN_BYTES_MAX 256

/* The bytes written so far; HTTP_REPLY_BYTES_MAX has room for the longest reply there is. */
struct text {
    char *out;
    size_t len;
};

static void add_span(struct text *t, struct span s)
{
    assert(s.len <= HTTP_REPLY_BYTES_MAX - t->len);
    memcpy(t->out + t->len, s.ptr, s.len);
    t->len += s.len;
}

static void add(struct text *t, const char *str)
{
    add_span(t, span_from_str(str));
}

static void add_number(struct text *t, uint64_t n)
{
    char digits[20]; /* of 2^64-1 */
    size_t at = sizeof digits;
    do
        digits[--at] = (char)('0' + n % 10);
    while (n /= 10);
    add_span(t, span_of(digits + at, sizeof digits - at));
}

/* Reason phrases of the statuses in reason.def (RFC 9110 15, RFC 6585). */
static const char *phrase_of(int status)
{
    switch (status) {
    case 400:
        return "Bad Request";
    case 405:
        return "Method Not Allowed";
    case 408:
        return "Request Timeout";
    case 414:
        return "URI Too Long";
    case 429:
        return "Too Many Requests";
    case 431:
        return "Request Header Fields Too Large";
    case 502:
        return "Bad Gateway";
    case 503:
        return "Service Unavailable";
    case 504:
        return "Gateway Timeout";
    case 505:
        return "HTTP Version Not Supported";
    default:
        assert(false); /* reason.def has a status without a phrase */
        return "";
    }
}

static void add_status_line(struct text *t, int status)
{
    add(t, "HTTP/1.1 ");
    add_number(t, (uint64_t)status);
    add(t, " ");
    add(t, phrase_of(status));
    add(t, "\r\n");
}

/* What a browser needs to show the page this error instead of an opaque CORS failure (PROTOCOL 12). */
static void add_cors_lines(struct text *t, const struct http_reply *r)
{
    if (r->allow_origin.len == 0 || r->allow_origin.len > ALLOW_ORIGIN_BYTES_MAX)
        return;
    add(t, "Access-Control-Allow-Origin: ");
    add_span(t, r->allow_origin);
    add(t, "\r\n");
    if (r->allow_credentials)
        add(t, "Access-Control-Allow-Credentials: true\r\n");
    if (!span_equal(r->allow_origin, SPAN("*")))
        add(t, "Vary: Origin\r\n");
}

static void add_body(struct text *t, enum reason why, int status)
{
    add(t, "{\"code\":");
    add_number(t, why == REASON_SESSION_GONE ? 1 : (uint64_t)status);
    add(t, ",\"message\":\"");
    add(t, reason_text(why));
    add(t, "\"}");
}

size_t http_reply_write(const struct http_reply *r, char out[HTTP_REPLY_BYTES_MAX])
{
    int status = reason_http_status(r->why);
    char body_bytes[HTTP_REPLY_BYTES_MAX];
    struct text body = {body_bytes, 0};
    struct text t = {out, 0};
    add_body(&body, r->why, status);

    add_status_line(&t, status);
    add(&t, "Content-Type: application/json\r\nCache-Control: no-store\r\n");
    add_cors_lines(&t, r);
    if (status == 405) /* must name what is allowed (RFC 9110 15.5.6): all but CONNECT */
        add(&t, "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n");
    if (r->retry_after_s) {
        add(&t, "Retry-After: ");
        add_number(&t, r->retry_after_s);
        add(&t, "\r\n");
    }
    add(&t, "Content-Length: ");
    add_number(&t, body.len);
    add(&t, r->close ? "\r\nConnection: close\r\n\r\n" : "\r\nConnection: keep-alive\r\n\r\n");
    if (!r->head_only)
        add_span(&t, span_of(body.out, body.len));
    return t.len;
}
