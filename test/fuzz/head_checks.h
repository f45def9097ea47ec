/*
 * head_checks - what is true of every head that http_head accepts, and of every verdict, however the bytes arrived.
 * Shared by fuzz_request_head and fuzz_response_head.
 */
#ifndef SIOLB_TEST_HEAD_CHECKS_H
#define SIOLB_TEST_HEAD_CHECKS_H

#include "../../proxy/core/http_head.h"

#include <assert.h>
#include <stdlib.h>

#define HEAD_BYTES_MAX 1024 /* small, so that the ceiling is met often */

struct head_outcome {
    enum parse verdict;
    enum reason why;
    struct http_head head;
};

/* Parses a head further; `buffer` ends where the sanitizer notices. */
typedef enum parse head_parser(struct http_head *h, struct span buffer, enum reason *why_out);

static inline void head_feed(struct head_outcome *o, head_parser *parse, struct span bytes, size_t got)
{
    char *copy = malloc(got ? got : 1);
    if (!copy)
        abort();
    if (got)
        memcpy(copy, bytes.ptr, got);
    o->verdict = parse(&o->head, span_of(copy, got), &o->why);
    free(copy);
}

/* Give `bytes` in pieces that end at `first`, `first + step`, ... and at the end, until there is a verdict. */
static inline struct head_outcome head_in_pieces(head_parser *parse, struct span bytes, size_t first, size_t step)
{
    struct head_outcome o = {PARSE_MORE, REASON_NONE, {0}};
    http_head_init(&o.head);
    for (size_t got = first; got < bytes.len && o.verdict == PARSE_MORE; got += step)
        head_feed(&o, parse, bytes, got);
    if (o.verdict == PARSE_MORE)
        head_feed(&o, parse, bytes, bytes.len);
    return o;
}

static inline void head_assert_same(const struct head_outcome *a, const struct head_outcome *b)
{
    const struct http_head *x = &a->head, *y = &b->head;
    assert(a->verdict == b->verdict && a->why == b->why);
    if (a->verdict != PARSE_OK)
        return;
    assert(x->start == y->start && x->end == y->end && x->fields == y->fields);
    assert(x->facts == y->facts && x->framing == y->framing && x->length == y->length);
    assert(x->method == y->method && x->minor == y->minor && x->status == y->status);
    assert(x->keep_alive_s == y->keep_alive_s);
    assert(x->target.at == y->target.at && x->target.len == y->target.len);
    assert(x->host.at == y->host.at && x->host.len == y->host.len);
}

/* The verdict on `bytes`, the same whole, cut in two at a place that depends on the bytes, byte by byte, and without
 * what lies behind the head. */
static inline struct head_outcome head_every_way(head_parser *parse, struct span bytes)
{
    struct head_outcome whole = head_in_pieces(parse, bytes, bytes.len, 1);
    size_t sum = 0;
    for (size_t i = 0; i < bytes.len; i++)
        sum = sum * 31 + (uint8_t)bytes.ptr[i];
    struct head_outcome two = head_in_pieces(parse, bytes, bytes.len ? sum % bytes.len : 0, bytes.len + 1);
    head_assert_same(&whole, &two);
    if (bytes.len <= 256) {
        struct head_outcome slow = head_in_pieces(parse, bytes, 0, 1);
        head_assert_same(&whole, &slow);
    }
    if (whole.verdict == PARSE_OK) {
        struct head_outcome exact = head_in_pieces(parse, span_of(bytes.ptr, whole.head.end), bytes.len, 1);
        head_assert_same(&whole, &exact);
    }
    assert(whole.verdict != PARSE_MORE || bytes.len < HEAD_BYTES_MAX + 4);
    assert((whole.verdict == PARSE_BAD) == (whole.why != REASON_NONE));
    assert(whole.verdict != PARSE_BAD || reason_http_status(whole.why) >= 400);
    return whole;
}

/* CR and LF only as CRLF, no other control byte but tabs, and nothing behind the first empty line. */
static inline void head_check_bytes(struct span head)
{
    assert(head.len >= 4 && head.len <= HEAD_BYTES_MAX);
    for (size_t i = 0; i < head.len; i++) {
        uint8_t c = (uint8_t)head.ptr[i];
        if (c == '\r')
            assert(i + 1 < head.len && head.ptr[i + 1] == '\n');
        else if (c == '\n')
            assert(i > 0 && head.ptr[i - 1] == '\r');
        else
            assert(c == '\t' || (c >= 0x20 && c != 0x7f));
        assert(i + 4 >= head.len || memcmp(head.ptr + i, "\r\n\r\n", 4) != 0);
    }
    assert(memcmp(head.ptr + head.len - 4, "\r\n\r\n", 4) == 0);
}

static inline bool head_is_length(struct span value)
{
    for (size_t i = 0; i < value.len; i++)
        if (value.ptr[i] < '0' || value.ptr[i] > '9')
            return false;
    return value.len > 0;
}

/* What the walk over the fields shows has to agree with what the parser says of framing. */
static inline void head_check_fields(const struct http_head *h, struct span head)
{
    uint32_t at = 0;
    unsigned fields = 0, lengths = 0, codings = 0;
    struct span name, value;
    while (http_field_next(head, &at, &name, &value)) {
        fields++;
        assert(name.len > 0 && !memchr(name.ptr, ' ', name.len) && !memchr(name.ptr, '\t', name.len));
        assert(value.len == 0 || (value.ptr[0] != ' ' && value.ptr[value.len - 1] != ' '));
        if (span_equal_nocase(name, SPAN("content-length"))) {
            lengths++;
            assert(head_is_length(value) && h->length <= INT64_MAX);
        } else if (span_equal_nocase(name, SPAN("transfer-encoding"))) {
            codings++;
            assert(span_equal_nocase(value, SPAN("chunked")));
        }
    }
    assert(fields == h->fields && fields <= HTTP_FIELDS_MAX);
    assert(lengths + codings <= 1);
    assert(codings == 0 || h->minor == 1);
    assert((lengths == 1) == !!(h->facts & HTTP_HAS_LENGTH));
    assert(h->framing != HTTP_CHUNKED || codings == 1);
    assert(h->framing != HTTP_LENGTH || (lengths == 1 && h->length > 0));
}

/* A value that was found lies in the head; one that was not is empty. */
static inline void head_check_found(struct span head, bool found, struct span value)
{
    if (found)
        assert(value.ptr >= head.ptr && value.ptr + value.len <= head.ptr + head.len);
    else
        assert(value.len == 0);
}

static inline void head_check_finders(struct span head)
{
    struct span value;
    bool found = http_field_find(head, SPAN("cookie"), &value);
    head_check_found(head, found, value);
    found = http_cookie_find(head, SPAN("io"), &value);
    head_check_found(head, found, value);
    found = http_set_cookie_find(head, SPAN("io"), &value);
    head_check_found(head, found, value);
}

#endif
