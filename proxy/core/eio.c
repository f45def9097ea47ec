/*
 * eio - a request target is read once, left to right: path by prefix, then the parameters that matter.
 */
#include "eio.h"
#include "http_byte.h"
#include "json.h"

/* --- decoding --- */

/* The next decoded byte of `*raw`, which is not empty. A '%' without two hexadecimal digits stands for itself. */
static char take_decoded(struct span *raw)
{
    const char *p = raw->ptr;
    if (*p == '%' && raw->len >= 3 && http_byte_is(p[1], HTTP_BYTE_HEX) && http_byte_is(p[2], HTTP_BYTE_HEX)) {
        *raw = span_skip(*raw, 3);
        return (char)(http_byte_hex(p[1]) << 4 | http_byte_hex(p[2]));
    }
    *raw = span_skip(*raw, 1);
    return *p;
}

/* The same in a query, where '+' is a blank (URL Standard, application/x-www-form-urlencoded parsing). */
static char take_query_byte(struct span *raw)
{
    if (raw->ptr[0] != '+')
        return take_decoded(raw);
    *raw = span_skip(*raw, 1);
    return ' ';
}

/* Is that what the name or value decodes to? */
static bool decodes_to(struct span raw, struct span expected)
{
    size_t at = 0;
    while (raw.len && at < expected.len)
        if (take_query_byte(&raw) != expected.ptr[at++])
            return false;
    return raw.len == 0 && at == expected.len;
}

/* --- the query --- */

/* What is between the first '?' and '#'. */
static struct span query_find(struct span target)
{
    const char *fragment = memchr(target.ptr, '#', target.len);
    if (fragment)
        target.len = (size_t)(fragment - target.ptr);
    const char *mark = memchr(target.ptr, '?', target.len);
    return mark ? span_skip(target, (size_t)(mark - target.ptr) + 1) : span_of("", 0);
}

/* Cut `*rest` at the first `separator`: returns what is before it and leaves what is behind it. */
static struct span cut_at(struct span *rest, char separator)
{
    const char *end = memchr(rest->ptr, separator, rest->len);
    struct span part = *rest;
    if (end)
        part.len = (size_t)(end - rest->ptr);
    *rest = span_skip(*rest, end ? part.len + 1 : part.len);
    return part;
}

/* With "last" each one replaces the one before, the empty one too. With "first" all before the first that is not empty
 * leave nothing behind: Python's parse_qs has dropped them. */
static bool counts(enum eio_repeated repeated, bool has_one)
{
    return repeated == EIO_LAST_COUNTS || !has_one;
}

static void take_sid(struct span raw, struct eio_target *out)
{
    size_t len = 0;
    while (raw.len && len < sizeof(out->sid))
        out->sid[len++] = take_query_byte(&raw);
    out->sid_len = (uint16_t)len;
    out->has_sid = len > 0;
    out->sid_is_too_long = raw.len > 0;
}

static enum eio_transport transport_find(struct span raw)
{
    if (raw.len == 0)
        return EIO_TRANSPORT_NONE;
    if (decodes_to(raw, SPAN("polling")))
        return EIO_POLLING;
    return decodes_to(raw, SPAN("websocket")) ? EIO_WEBSOCKET : EIO_TRANSPORT_OTHER;
}

static void take_parameter(struct span name, struct span value, enum eio_repeated repeated, struct eio_target *out)
{
    if (decodes_to(name, SPAN("sid"))) {
        if (out->path != EIO_NO_PATH && counts(repeated, out->has_sid))
            take_sid(value, out);
    } else if (decodes_to(name, SPAN("transport"))) {
        if (counts(repeated, out->transport != EIO_TRANSPORT_NONE))
            out->transport = (uint8_t)transport_find(value);
    } else if (decodes_to(name, SPAN("EIO"))) {
        out->has_eio = true;
    }
}

/* --- the target --- */

/* By prefix on the raw target, as the worker does (PROTOCOL 14). */
static int path_find(struct span target, const struct span *paths, size_t path_count)
{
    int best = EIO_NO_PATH;
    if (target.len == 0 || target.ptr[0] != '/')
        return best;
    for (size_t i = 0; i < path_count; i++)
        if (span_starts_with(target, paths[i]) && (best == EIO_NO_PATH || paths[i].len > paths[best].len))
            best = (int)i;
    return best;
}

void eio_target_parse(struct span target, const struct span *paths, size_t path_count, enum eio_repeated repeated,
                      struct eio_target *out)
{
    out->path = path_find(target, paths, path_count);
    out->transport = EIO_TRANSPORT_NONE;
    out->has_eio = false;
    out->has_sid = false;
    out->sid_is_too_long = false;
    out->sid_len = 0;

    struct span query = query_find(target);
    while (query.len) {
        struct span value = cut_at(&query, '&');
        struct span name = cut_at(&value, '=');
        take_parameter(name, value, repeated, out);
    }
}

bool eio_looks_misplaced(const struct eio_target *t, struct span target, struct span *path_out)
{
    bool is_origin_form = target.len && target.ptr[0] == '/';
    if (!is_origin_form || t->path != EIO_NO_PATH || !t->has_eio || t->transport == EIO_TRANSPORT_NONE)
        return false;
    *path_out = cut_at(&target, '?');
    return true;
}

/* --- sids --- */

static bool is_sid_character(char c)
{
    char lower = ascii_lower(c);
    return (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

void eio_sid_shown(struct span sid, char out[SID_SHOWN_BYTES])
{
    enum { SHOWN_MAX = 6 };
    size_t shown = sid.len / 3 < SHOWN_MAX ? sid.len / 3 : SHOWN_MAX;
    for (size_t i = 0; i < shown; i++)
        out[i] = is_sid_character(sid.ptr[i]) ? sid.ptr[i] : '?';
    memcpy(out + shown, "...", sizeof("..."));
}

bool eio_cookie_decode(struct span value, char *out, size_t size, size_t *len_out)
{
    size_t len = 0;
    while (value.len) {
        if (len == size)
            return false;
        out[len++] = take_decoded(&value);
    }
    *len_out = len;
    return true;
}

bool eio_body_is_unknown_sid(struct span body)
{
    struct json_reader reader;
    struct json_member member;
    enum json_step step;
    bool is_unknown = false;

    json_begin(&reader, body);
    while ((step = json_next(&reader, &member)) == JSON_MEMBER)
        if (json_string_is(member.key, SPAN("code")))
            is_unknown = span_equal(member.value, SPAN("1"));
    return step == JSON_END && json_is_over(&reader) && is_unknown;
}
