/*
 * fuzz_learn - the learner over every coding. Input: a byte that picks the coding, one that picks the size of the
 * pieces, then the body as it is on the wire. Pieces never change the answer; and what is learned from a body is
 * learned from the same body compressed.
 */
#include "../../proxy/core/learn.h"

#include <assert.h>
#include <stdlib.h>
#include <zlib.h>

static const struct span codings[] = {{"", 0}, {"gzip", 4}, {"deflate", 7}, {"br", 2}};

/* Feed `bytes` in pieces, each in memory of its own; the learner is the caller's. */
static struct learn *learn_pieces(struct span coding, struct span bytes, size_t piece, enum learn_state *state_out)
{
    struct learn *l = learn_new(coding);
    if (!l)
        abort();
    *state_out = LEARN_MORE;
    for (size_t at = 0; at < bytes.len; at += piece) {
        size_t n = bytes.len - at < piece ? bytes.len - at : piece;
        char *copy = malloc(n);
        if (!copy)
            abort();
        memcpy(copy, bytes.ptr + at, n);
        *state_out = learn_feed(l, span_of(copy, n));
        free(copy);
        bool knows = learn_open(l)->sid_len > 0;
        assert(knows == (*state_out == LEARN_SID || *state_out == LEARN_DONE));
    }
    return l;
}

static bool is_same_sid(const struct learn *a, const struct learn *b)
{
    const struct eio_open *x = learn_open(a), *y = learn_open(b);
    return span_equal(span_of(x->sid, x->sid_len), span_of(y->sid, y->sid_len));
}

static void check_pieces(struct span coding, struct span bytes, size_t piece)
{
    enum learn_state at_once, in_pieces;
    struct learn *a = learn_pieces(coding, bytes, bytes.len, &at_once);
    struct learn *b = learn_pieces(coding, bytes, piece, &in_pieces);
    assert(at_once == in_pieces);
    assert(strcmp(learn_failure(a), learn_failure(b)) == 0);
    assert(is_same_sid(a, b));
    learn_free(a);
    learn_free(b);
}

/* A compressed body says where it ends, so what stays open in a plain one has failed. */
static void check_compressed(struct span coding, int bits, struct span body, size_t piece)
{
    static char coded[64 * 1024];
    z_stream z = {0};
    if (deflateInit2(&z, Z_BEST_SPEED, Z_DEFLATED, bits, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        abort();
    z.next_in = (Bytef *)(uintptr_t)body.ptr;
    z.avail_in = (uInt)body.len;
    z.next_out = (Bytef *)coded;
    z.avail_out = sizeof(coded);
    bool fits = deflate(&z, Z_FINISH) == Z_STREAM_END;
    deflateEnd(&z);
    if (!fits)
        return;

    enum learn_state of_plain, of_coded;
    struct learn *plain = learn_pieces(SPAN(""), body, body.len, &of_plain);
    struct learn *packed = learn_pieces(coding, span_of(coded, sizeof(coded) - z.avail_out), piece, &of_coded);
    bool is_settled = of_plain == LEARN_DONE || of_plain == LEARN_FAILED;
    assert(of_coded == (is_settled ? of_plain : LEARN_FAILED));
    assert(strcmp(learn_failure(plain), learn_failure(packed)) == 0);
    assert(!is_settled || is_same_sid(plain, packed));
    learn_free(plain);
    learn_free(packed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3)
        return 0;
    struct span body = span_of((const char *)data + 2, size - 2);
    size_t piece = (size_t)data[1] + 1;
    check_pieces(codings[data[0] % COUNT_OF(codings)], body, piece);
    check_compressed(SPAN("gzip"), MAX_WBITS + 16, body, piece);
    check_compressed(SPAN("deflate"), MAX_WBITS, body, piece);
    check_compressed(SPAN("deflate"), -MAX_WBITS, body, piece);
    return 0;
}
