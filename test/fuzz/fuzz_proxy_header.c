/*
 * fuzz_proxy_header - any bytes at the start of a connection from a trusted balancer.
 *
 * The verdict does not depend on how the bytes arrive: each proper prefix of a good header is "more", what is bad stays
 * bad, what follows is not part of it, and however it goes on there is a verdict at the ceiling. A good header is as
 * long as it says; what it tells, written again in either version, reads back the same.
 */
#include "../../proxy/core/proxy_header.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

struct outcome {
    enum parse verdict;
    struct proxy_header header;
    size_t used;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* From a copy that ends where the sanitizer notices. */
static struct outcome parse(struct span bytes)
{
    struct outcome o;
    char *copy = malloc(bytes.len ? bytes.len : 1);
    if (!copy)
        abort();
    if (bytes.len)
        memcpy(copy, bytes.ptr, bytes.len);
    o.verdict = proxy_header_parse(span_of(copy, bytes.len), &o.header, &o.used);
    free(copy);
    assert(o.verdict != PARSE_MORE || bytes.len < PROXY_HEADER_BYTES_MAX);
    return o;
}

static bool is_same_end(const struct ip *a, const struct ip *b)
{
    return ip_equal(a, b) && a->port == b->port;
}

static void check_prefix(const struct outcome *whole, struct span bytes, size_t cut)
{
    struct outcome o = parse(span_of(bytes.ptr, cut));
    if (whole->verdict == PARSE_OK && cut >= whole->used) {
        assert(o.verdict == PARSE_OK && o.used == whole->used);
        assert(is_same_end(&o.header.from, &whole->header.from) && is_same_end(&o.header.to, &whole->header.to));
    } else {
        assert(o.verdict == PARSE_MORE || (o.verdict == PARSE_BAD && whole->verdict == PARSE_BAD));
    }
}

/* All prefixes of what is short; of what is long those around the places where something is decided. */
static void check_prefixes(const struct outcome *whole, struct span bytes)
{
    const size_t places[] = {107, whole->verdict == PARSE_OK ? whole->used : 0, bytes.len, PROXY_HEADER_BYTES_MAX};
    for (size_t cut = 0; cut < bytes.len && cut < 64; cut++)
        check_prefix(whole, bytes, cut);
    FOR_EACH (place, places)
        for (size_t cut = places[place_at] ? places[place_at] - 1 : 0; cut <= places[place_at] + 1; cut++)
            if (cut <= bytes.len)
                check_prefix(whole, bytes, cut);
}

/* What is not whole, with anything behind it up to the ceiling. */
static void check_ceiling(struct span bytes)
{
    static char full[PROXY_HEADER_BYTES_MAX];
    memset(full, 'x', sizeof full);
    if (bytes.len)
        memcpy(full, bytes.ptr, bytes.len);
    assert(parse(span_of(full, sizeof full)).verdict != PARSE_MORE);
}

/* One line, whose ends are told by two addresses and then two ports without a blank too many. */
static void check_v1(const struct outcome *o, struct span line)
{
    char ports[32];
    const struct ip *from = &o->header.from, *to = &o->header.to;
    assert(line.len <= 107 && (const char *)memchr(line.ptr, '\n', line.len) == line.ptr + line.len - 1);
    assert(line.ptr[line.len - 2] == '\r');
    if (from->family == IP_UNKNOWN) {
        assert(span_starts_with(line, SPAN("PROXY UNKNOWN")) && to->family == IP_UNKNOWN);
        return;
    }
    bool is_v6 = span_starts_with(line, SPAN("PROXY TCP6 "));
    assert(is_v6 || (span_starts_with(line, SPAN("PROXY TCP4 ")) && from->family == IP_V4 && to->family == IP_V4));
    int n = snprintf(ports, sizeof ports, " %u %u\r\n", (unsigned)from->port, (unsigned)to->port);
    assert(n > 0 && memcmp(line.ptr + line.len - n, ports, (size_t)n) == 0);
    size_t blanks = 0, dots = 0, colons = 0;
    for (size_t i = 0; i < line.len; i++) {
        blanks += line.ptr[i] == ' ';
        colons += line.ptr[i] == ':';
        dots += line.ptr[i] == '.';
    }
    assert(blanks == 5);
    assert(is_v6 ? colons >= 4 : colons == 0 && dots == 6);
}

static void check_v2(const struct outcome *o, struct span bytes)
{
    const uint8_t *b = (const uint8_t *)bytes.ptr;
    size_t length = (size_t)b[14] << 8 | b[15];
    assert(o->used == 16 + length && o->used <= PROXY_HEADER_BYTES_MAX);
    assert(b[12] == 0x20 || b[12] == 0x21);
    bool tells = b[12] == 0x21 && (b[13] == 0x11 || b[13] == 0x21);
    assert(o->header.is_local == (b[12] == 0x20));
    assert((o->header.from.family != IP_UNKNOWN) == tells && (o->header.to.family != IP_UNKNOWN) == tells);
    assert(!tells || length >= (b[13] == 0x11 ? 12 : 36));
}

static void check_written_again(const struct proxy_header *h)
{
    struct ip to = {.family = h->from.family};
    if (h->to.family == h->from.family && h->from.family != IP_UNKNOWN)
        to = h->to;
    for (int version = 1; version <= 2; version++) {
        char *out = malloc(PROXY_HEADER_WRITTEN_MAX);
        if (!out)
            abort();
        size_t n = proxy_header_write(version, h, out);
        struct outcome again = parse(span_of(out, n));
        free(out);
        assert(again.verdict == PARSE_OK && again.used == n);
        assert(is_same_end(&again.header.from, &h->from) && is_same_end(&again.header.to, &to));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span bytes = span_of((const char *)data, size);
    struct outcome o = parse(bytes);
    check_prefixes(&o, bytes);
    if (o.verdict == PARSE_MORE)
        check_ceiling(bytes);
    if (o.verdict != PARSE_OK)
        return 0;
    if (bytes.ptr[0] == 'P')
        check_v1(&o, span_of(bytes.ptr, o.used));
    else
        check_v2(&o, bytes);
    check_written_again(&o.header);
    return 0;
}
