/*
 * span - a borrowed piece of memory; the string type of the core.
 *
 * A span owns nothing and ends nowhere in particular: it is no C string. It is valid as long as the memory it
 * points into. The few words that every file of the core needs (MUST_CHECK, FOR_EACH, enum parse) live here too.
 */
#ifndef SIOLB_CORE_SPAN_H
#define SIOLB_CORE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MUST_CHECK                      __attribute__((warn_unused_result))
#define PRINTF_LIKE(format_at, args_at) __attribute__((format(printf, format_at, args_at)))
#define COUNT_OF(array)                 (sizeof(array) / sizeof((array)[0]))
#define FOR_EACH(row, rows)             for (size_t row##_at = 0; row##_at < COUNT_OF(rows); row##_at++)
#define BIT(n)                          (1u << (n))

/* What a parser says of the bytes so far. */
enum parse {
    PARSE_OK,   /* whole and good; what follows is not part of it */
    PARSE_MORE, /* good so far, not whole */
    PARSE_BAD   /* can never become good */
};

struct span {
    const char *ptr;
    size_t len;
};

/* A piece of a buffer that may move or grow: an offset from its start instead of a pointer. */
struct slice {
    uint32_t at;
    uint32_t len;
};

#define SPAN(literal) ((struct span){(literal), sizeof(literal) - 1})

static inline struct span span_of(const char *ptr, size_t len)
{
    return (struct span){ptr, len};
}

static inline struct span span_from_str(const char *str)
{
    return (struct span){str, strlen(str)};
}

static inline struct span span_in(struct span buffer, struct slice part)
{
    return (struct span){buffer.ptr + part.at, part.len};
}

/* `s` without its first `n` bytes; n <= s.len. */
static inline struct span span_skip(struct span s, size_t n)
{
    return (struct span){s.ptr + n, s.len - n};
}

static inline bool span_equal(struct span a, struct span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static inline bool span_starts_with(struct span s, struct span prefix)
{
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.ptr, prefix.ptr, prefix.len) == 0);
}

static inline char ascii_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

/* Equal but for the case of ASCII letters. */
static inline bool span_equal_nocase(struct span a, struct span b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (ascii_lower(a.ptr[i]) != ascii_lower(b.ptr[i]))
            return false;
    return true;
}

#endif
