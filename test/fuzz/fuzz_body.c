/*
 * Bodies: the same payload and the same end however the bytes arrive; chunks are compared with a second decoder,
 * written the plain way over whole lines. Input: a letter for the framing (c chunked, l length, with one byte more that
 * is the length, u until close, others none), then the wire.
 */
#include "../../proxy/core/http_body.h"

#include <assert.h>
#include <stdlib.h>

struct outcome {
    enum parse verdict;
    size_t used;
    size_t data_len;
    char *data;
};

static void *allocate(size_t bytes)
{
    void *memory = malloc(bytes ? bytes : 1);
    if (!memory)
        abort();
    return memory;
}

/* Read from a copy that ends where the sanitizer notices; `piece` bytes at a time. */
static struct outcome read_in_pieces(enum http_framing framing, uint64_t length, struct span wire, size_t piece)
{
    struct outcome o = {.verdict = PARSE_MORE, .data = allocate(wire.len)};
    struct http_body body;
    http_body_init(&body, framing, length);
    for (size_t got = 0; got < wire.len && o.verdict == PARSE_MORE;) {
        size_t n = wire.len - got < piece ? wire.len - got : piece;
        char *copy = allocate(n);
        memcpy(copy, wire.ptr + got, n);
        got += n;
        struct span in = span_of(copy, n);
        while (in.len && o.verdict == PARSE_MORE) {
            size_t used;
            struct span data;
            o.verdict = http_body_next(&body, in, &used, &data);
            assert(used <= in.len && data.len <= used);
            assert(used > 0 || o.verdict != PARSE_MORE);
            assert(data.len == 0 || (data.ptr >= in.ptr && data.ptr + data.len <= in.ptr + used));
            assert(http_body_is_done(&body) == (o.verdict == PARSE_OK));
            memcpy(o.data + o.data_len, data.ptr, data.len);
            o.data_len += data.len;
            o.used += used;
            in = span_skip(in, used);
        }
        free(copy);
    }
    return o;
}

static bool is_plain(struct span s, const char *but)
{
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = (uint8_t)s.ptr[i];
        if ((c < 0x20 || c == 0x7f) && (c == 0 || !strchr(but, c)))
            return false;
    }
    return true;
}

/* The line at *at without its CRLF; false: none that is whole and free of control bytes but `but`. */
static bool take_line(struct span wire, size_t *at, const char *but, struct span *line_out)
{
    const char *start = wire.ptr + *at;
    const char *feed = *at < wire.len ? memchr(start, '\n', wire.len - *at) : NULL;
    if (!feed || feed == start || feed[-1] != '\r')
        return false;
    *line_out = span_of(start, (size_t)(feed - start) - 1);
    *at += line_out->len + 2;
    return is_plain(*line_out, but);
}

static bool is_size_line(struct span line, uint64_t *size_out)
{
    static const char digits[] = "0123456789abcdef";
    size_t i = 0;
    *size_out = 0;
    for (; i < line.len && line.ptr[i] && strchr(digits, ascii_lower(line.ptr[i])); i++) {
        if (*size_out >> 59)
            return false;
        *size_out = *size_out * 16 + (uint64_t)(strchr(digits, ascii_lower(line.ptr[i])) - digits);
    }
    return i > 0 && (i == line.len || line.ptr[i] == ';');
}

static bool tells_framing(struct span name)
{
    static const char *const names[] = {"content-length", "transfer-encoding", "connection", "proxy-connection",
                                        "upgrade"};
    FOR_EACH (row, names)
        if (span_equal_nocase(name, span_from_str(names[row_at])))
            return true;
    return false;
}

static bool is_trailer(struct span line)
{
    const char *colon = memchr(line.ptr, ':', line.len);
    if (!colon || colon == line.ptr)
        return false;
    for (const char *c = line.ptr; c < colon; c++)
        if ((uint8_t)*c >= 0x80 || strchr(" \t\"(),/;<=>?@[\\]{}", *c))
            return false;
    return !tells_framing(span_of(line.ptr, (size_t)(colon - line.ptr)));
}

/* Is `wire` a whole chunked body, and how long is it? (The bound on extensions is out of reach of such short inputs.)
 */
static bool decode_plainly(struct span wire, char *data, size_t *data_len_out, size_t *used_out)
{
    size_t at = 0, n = 0;
    struct span line;
    for (;;) {
        uint64_t size;
        if (!take_line(wire, &at, "", &line) || !is_size_line(line, &size))
            return false;
        if (size == 0)
            break;
        if (wire.len - at < 2 || size > wire.len - at - 2 || memcmp(wire.ptr + at + size, "\r\n", 2) != 0)
            return false;
        memcpy(data + n, wire.ptr + at, (size_t)size);
        n += (size_t)size;
        at += (size_t)size + 2;
    }
    do
        if (!take_line(wire, &at, "\t", &line) || (line.len && !is_trailer(line)))
            return false;
    while (line.len);
    *data_len_out = n;
    *used_out = at;
    return true;
}

static void check_chunked(const struct outcome *o, struct span wire)
{
    char *data = allocate(wire.len);
    size_t data_len, used;
    bool whole = decode_plainly(wire, data, &data_len, &used);
    assert(whole == (o->verdict == PARSE_OK));
    if (whole) {
        assert(used == o->used);
        assert(span_equal(span_of(data, data_len), span_of(o->data, o->data_len)));
    }
    free(data);
}

static void check_uncoded(const struct outcome *o, enum http_framing framing, uint64_t length, struct span wire)
{
    size_t most = framing == HTTP_LENGTH ? (size_t)length : framing == HTTP_UNTIL_CLOSE ? wire.len : 0;
    size_t expected = wire.len < most ? wire.len : most;
    assert(o->verdict != PARSE_BAD);
    assert(o->used == expected && o->data_len == expected);
    assert(expected == 0 || memcmp(o->data, wire.ptr, expected) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (size < 2 || size > HTTP_CHUNK_EXTRA_MAX)
        return 0;
    enum http_framing framing = bytes[0] == 'c'   ? HTTP_CHUNKED
                                : bytes[0] == 'l' ? HTTP_LENGTH
                                : bytes[0] == 'u' ? HTTP_UNTIL_CLOSE
                                                  : HTTP_NO_BODY;
    uint64_t length = bytes[1];
    struct span wire = span_skip(span_of((const char *)bytes, size), framing == HTTP_LENGTH ? 2 : 1);
    struct outcome whole = read_in_pieces(framing, length, wire, wire.len);
    struct outcome slow = read_in_pieces(framing, length, wire, 1);
    struct outcome odd = read_in_pieces(framing, length, wire, 1 + bytes[size - 1] % 16);
    const struct outcome *others[] = {&slow, &odd};
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        assert(others[i]->verdict == whole.verdict && others[i]->used == whole.used);
        assert(span_equal(span_of(others[i]->data, others[i]->data_len), span_of(whole.data, whole.data_len)));
    }
    if (framing == HTTP_CHUNKED)
        check_chunked(&whole, wire);
    else
        check_uncoded(&whole, framing, length, wire);
    free(whole.data);
    free(slow.data);
    free(odd.data);
    return 0;
}
