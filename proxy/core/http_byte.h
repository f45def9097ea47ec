/*
 * http_byte - what a single byte may be part of, for the HTTP parsers (RFC 9110 5.6, RFC 3986 3.2.2).
 */
#ifndef SIOLB_CORE_HTTP_BYTE_H
#define SIOLB_CORE_HTTP_BYTE_H

#include "span.h"

enum {
    HTTP_BYTE_CONTROL = 1 << 0, /* 0x00-0x1f and 0x7f, but not the tab: nowhere in a head but as CRLF */
    HTTP_BYTE_TOKEN = 1 << 1,   /* method, field name */
    HTTP_BYTE_HOST = 1 << 2,    /* registered name */
    HTTP_BYTE_HEX = 1 << 3
};

extern const uint8_t http_byte_class[256];

static inline bool http_byte_is(char c, unsigned classes)
{
    return http_byte_class[(uint8_t)c] & classes;
}

static inline bool http_byte_is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static inline bool http_byte_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Value of a byte of HTTP_BYTE_HEX. */
static inline unsigned http_byte_hex(char c)
{
    return http_byte_is_digit(c) ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a') + 10;
}

/* `s` without blanks (space, tab) at its ends. */
static inline struct span http_trim(struct span s)
{
    while (s.len && http_byte_is_blank(s.ptr[0]))
        s = span_skip(s, 1);
    while (s.len && http_byte_is_blank(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

#endif
