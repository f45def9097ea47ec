/*
 * A handshake's response on its way past: every coding, every framing, in pieces of every size (PROTOCOL 16, 17).
 */
#include "../../proxy/core/learn.h"
#include "unit.h"

#include <zlib.h>

/* For tables: a literal that may hold NUL. */
#define BYTES(literal)                                                                                                 \
    {                                                                                                                  \
        (literal), sizeof(literal) - 1                                                                                 \
    }

enum { ZLIB_BITS = MAX_WBITS, GZIP_BITS = MAX_WBITS + 16, RAW_BITS = -MAX_WBITS, NO_CODING = 0 };

/* Content-Encoding and what a worker means by it. */
static const struct {
    const char *name;
    int bits;
} codings[] = {
    {"", NO_CODING},        {"identity", NO_CODING},  {" Identity ", NO_CODING},
    {"gzip", GZIP_BITS},    {"GZip", GZIP_BITS},      {"x-gzip", GZIP_BITS},
    {"deflate", ZLIB_BITS}, {"\tDEFLATE", ZLIB_BITS}, {"deflate", RAW_BITS},
};

static const char packet[] = "0{\"sid\":\"aB3dE5gH7jK9mN1pAAAB\",\"upgrades\":[\"websocket\"],\"pingInterval\":25000,"
                             "\"pingTimeout\":20000,\"maxPayload\":1000000}";

/* `text` as a worker would send it; valid until the next call. */
static struct span encode(struct span text, int bits)
{
    static char coded[16 * 1024];
    if (bits == NO_CODING)
        return text;
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, Z_BEST_COMPRESSION, Z_DEFLATED, bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (Bytef *)(uintptr_t)text.ptr;
    z.avail_in = (uInt)text.len;
    z.next_out = (Bytef *)coded;
    z.avail_out = sizeof(coded);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    deflateEnd(&z);
    return span_of(coded, sizeof(coded) - z.avail_out);
}

static struct learn *start(const char *coding)
{
    struct learn *l = learn_new(edge_copy(coding));
    assert_non_null(l);
    return l;
}

/* Feed `bytes` in pieces of `piece` bytes, each flush against the unreadable page, until that is settled. */
static enum learn_state feed_pieces(struct learn *l, struct span bytes, size_t piece)
{
    enum learn_state state = LEARN_MORE;
    while (bytes.len && state != LEARN_DONE && state != LEARN_FAILED) {
        size_t n = bytes.len < piece ? bytes.len : piece;
        state = learn_feed(l, edge_copy_span(span_of(bytes.ptr, n)));
        bytes = span_skip(bytes, n);
    }
    return state;
}

static struct span learned_sid(const struct learn *l)
{
    return span_of(learn_open(l)->sid, learn_open(l)->sid_len);
}

static void a_handshake_is_learned_from_every_coding_in_pieces_of_any_size(void **state)
{
    (void)state;
    FOR_EACH (row, codings) {
        struct span coded = encode(span_from_str(packet), codings[row_at].bits);
        for (size_t piece = 1; piece <= coded.len; piece++) {
            struct learn *l = start(codings[row_at].name);
            assert_int_equal(feed_pieces(l, coded, piece), LEARN_DONE);
            assert_span_is(learned_sid(l), "aB3dE5gH7jK9mN1pAAAB");
            assert_int_equal(learn_open(l)->ping_interval_ms, 25000);
            assert_int_equal(learn_open(l)->ping_timeout_ms, 20000);
            assert_true(learn_open(l)->max_payload == 1000000);
            learn_free(l);
        }
    }
}

static void every_framing_is_learned_in_pieces_of_any_size(void **state)
{
    static const struct {
        struct span body;
        enum eio_open_framing framing;
    } rows[] = {
        {BYTES("0{\"sid\":\"abc\"}\x1e"
               "4hello"),
         EIO_OPEN_PLAIN},
        {BYTES("14:0{\"sid\":\"abc\"}2:40"), EIO_OPEN_TEXT},
        {BYTES("\x00\x01\x04\xff"
               "0{\"sid\":\"abc\"}"),
         EIO_OPEN_BINARY},
        {BYTES("___eio[3](\"14:0{\\\"sid\\\":\\\"a\\u0062c\\\"}2:40\");"), EIO_OPEN_JSONP},
    };
    (void)state;
    FOR_EACH (row, rows) {
        FOR_EACH (coding, codings) {
            struct span coded = encode(rows[row_at].body, codings[coding_at].bits);
            for (size_t piece = 1; piece <= coded.len; piece++) {
                struct learn *l = start(codings[coding_at].name);
                assert_int_equal(feed_pieces(l, coded, piece), LEARN_DONE);
                assert_span_is(learned_sid(l), "abc");
                assert_int_equal(learn_open(l)->framing, rows[row_at].framing);
                learn_free(l);
            }
        }
    }
}

static void the_sid_is_known_with_the_very_byte_that_completes_it(void **state)
{
    size_t sid_ends = (size_t)(strstr(packet, "\",\"upgrades") - packet) + 1;
    struct learn *l = start("");
    (void)state;
    for (size_t n = 1; n < sizeof(packet); n++) {
        enum learn_state expected = n < sid_ends ? LEARN_MORE : n < sizeof(packet) - 1 ? LEARN_SID : LEARN_DONE;
        assert_int_equal(learn_feed(l, edge_copy_span(span_of(packet + n - 1, 1))), expected);
        assert_span_is(learned_sid(l), n < sid_ends ? "" : "aB3dE5gH7jK9mN1pAAAB");
    }
    learn_free(l);
}

static void the_sid_is_known_as_soon_as_a_flushed_stream_holds_it(void **state)
{
    char coded[256];
    z_stream z = {0};
    (void)state;
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, GZIP_BITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (Bytef *)(uintptr_t) "0{\"sid\":\"abc\"";
    z.avail_in = 13;
    z.next_out = (Bytef *)coded;
    z.avail_out = sizeof(coded);
    assert_int_equal(deflate(&z, Z_SYNC_FLUSH), Z_OK);
    struct learn *l = start("gzip");
    assert_int_equal(learn_feed(l, edge_copy_span(span_of(coded, sizeof(coded) - z.avail_out))), LEARN_SID);
    assert_span_is(learned_sid(l), "abc");
    learn_free(l);
    deflateEnd(&z);
}

static void bare_deflate_that_looks_almost_like_zlib_is_learned(void **state)
{
    /* a stored block; the bits up to its length may be anything, and make the first byte look like zlib's method 8 */
    static const struct span stored = BYTES("\x08\x0e\x00\xf1\xff"
                                            "0{\"sid\":\"abc\"}");
    (void)state;
    for (size_t piece = 1; piece <= stored.len; piece++) {
        struct learn *l = start("deflate");
        assert_int_equal(feed_pieces(l, stored, piece), LEARN_DONE);
        assert_span_is(learned_sid(l), "abc");
        learn_free(l);
    }
}

static void pieces_without_a_byte_change_nothing(void **state)
{
    (void)state;
    FOR_EACH (row, codings) {
        struct span coded = encode(span_from_str(packet), codings[row_at].bits);
        struct learn *l = start(codings[row_at].name);
        assert_int_equal(learn_feed(l, edge_copy("")), LEARN_MORE);
        assert_int_equal(learn_feed(l, edge_copy_span(span_of(coded.ptr, 1))), LEARN_MORE);
        assert_int_equal(learn_feed(l, edge_copy("")), LEARN_MORE);
        assert_int_equal(learn_feed(l, edge_copy_span(span_skip(coded, 1))), LEARN_DONE);
        learn_free(l);
    }
}

static void a_coding_that_cannot_be_undone_fails_as_encoded(void **state)
{
    static const char *const names[] = {"br",  "zstd",  "compress", "gzip, br", "gzip, gzip", "identity, gzip",
                                        "gzi", "gzipp", "*",        "gzip;q=1"};
    (void)state;
    FOR_EACH (row, names) {
        struct learn *l = start(names[row_at]);
        assert_int_equal(learn_feed(l, edge_copy("")), LEARN_MORE);
        assert_int_equal(learn_feed(l, edge_copy("0")), LEARN_FAILED);
        assert_string_equal(learn_failure(l), "encoded");
        assert_int_equal(learn_feed(l, edge_copy(packet)), LEARN_FAILED);
        assert_int_equal(learned_sid(l).len, 0);
        learn_free(l);
    }
}

static void a_broken_stream_fails_as_encoded(void **state)
{
    static const struct {
        const char *coding;
        struct span bytes;
    } rows[] = {
        {"gzip", BYTES("0{\"sid\":\"abc\"}")},          {"gzip", BYTES("\x1f\x8b\x07\x00\x00\x00\x00\x00\x00\x03")},
        {"deflate", BYTES("\x78\x9c\x07\xff")},         /* zlib, then a block of the type that does not exist */
        {"deflate", BYTES("\x78\xbb\x00\x00\x00\x01")}, /* a preset dictionary */
        {"deflate", BYTES("\xff\xff\xff\xff")},
    };
    (void)state;
    FOR_EACH (row, rows) {
        for (size_t piece = 1; piece <= rows[row_at].bytes.len; piece++) {
            struct learn *l = start(rows[row_at].coding);
            assert_int_equal(feed_pieces(l, rows[row_at].bytes, piece), LEARN_FAILED);
            assert_string_equal(learn_failure(l), "encoded");
            learn_free(l);
        }
    }
}

/* An error behind the packet, here in the checksum, comes too late to matter. */
static void a_packet_before_the_place_where_a_stream_breaks_counts(void **state)
{
    static const int checked[] = {GZIP_BITS, ZLIB_BITS};
    (void)state;
    FOR_EACH (row, checked) {
        char copy[256];
        struct span coded = encode(span_from_str(packet), checked[row_at]);
        memcpy(copy, coded.ptr, coded.len);
        copy[coded.len - 5 + (checked[row_at] == ZLIB_BITS)] ^= 1;
        struct learn *l = start(checked[row_at] == GZIP_BITS ? "gzip" : "deflate");
        assert_int_equal(learn_feed(l, edge_copy_span(span_of(copy, coded.len))), LEARN_DONE);
        assert_span_is(learned_sid(l), "aB3dE5gH7jK9mN1pAAAB");
        learn_free(l);
    }
}

static void a_body_that_is_no_open_packet_fails_as_such(void **state)
{
    static const char *const bodies[] = {"40{\"sid\":\"oTh3rPubl1cSock3AAAB\"}", "ok", "{\"code\":1}",
                                         "<html>0{\"sid\":\"abc\"}", "0{\"sid\":\"\"}"};
    (void)state;
    FOR_EACH (row, bodies) {
        FOR_EACH (coding, codings) {
            struct span coded = encode(span_from_str(bodies[row_at]), codings[coding_at].bits);
            for (size_t piece = 1; piece <= coded.len; piece++) {
                struct learn *l = start(codings[coding_at].name);
                assert_int_equal(feed_pieces(l, coded, piece), LEARN_FAILED);
                assert_string_equal(learn_failure(l), "not-open");
                assert_int_equal(learned_sid(l).len, 0);
                learn_free(l);
            }
        }
    }
}

static void a_body_that_ends_too_early_is_not_open(void **state)
{
    (void)state;
    struct learn *l = start("");
    assert_int_equal(learn_feed(l, edge_copy("0{\"sid\":")), LEARN_MORE);
    assert_string_equal(learn_failure(l), "not-open");
    learn_free(l);

    /* a coded stream says itself where it ends */
    l = start("gzip");
    assert_int_equal(learn_feed(l, encode(SPAN("0{\"sid\":\"abc\""), GZIP_BITS)), LEARN_FAILED);
    assert_string_equal(learn_failure(l), "not-open");
    assert_int_equal(learned_sid(l).len, 0);
    learn_free(l);
}

/* The ceiling: a body of blanks (and zeros that inflate without end) is looked at no further than 4 KiB. */
static void no_more_than_4_kib_decoded_is_looked_at(void **state)
{
    static const struct {
        const char *before;
        size_t brace_at; /* where the object ends */
        enum learn_state state;
        const char *failure;
    } rows[] = {
        {"0{\"sid\":\"abc\"", EIO_OPEN_BYTES_MAX - 1, LEARN_DONE, NULL},
        {"0{\"sid\":\"abc\"", EIO_OPEN_BYTES_MAX, LEARN_DONE, NULL}, /* ping values unknown, the sid is enough */
        {"0{\"sid\":", 3 * EIO_OPEN_BYTES_MAX, LEARN_FAILED, "too-long"},
        {"0", 3 * EIO_OPEN_BYTES_MAX, LEARN_FAILED, "too-long"},
    };
    static const size_t pieces[] = {1, 100, 4095, 4096, 4097, 16384};
    (void)state;
    FOR_EACH (row, rows) {
        static char body[4 * EIO_OPEN_BYTES_MAX];
        memset(body, ' ', sizeof(body));
        memcpy(body, rows[row_at].before, strlen(rows[row_at].before));
        body[rows[row_at].brace_at] = '}';
        FOR_EACH (coding, codings) {
            struct span coded = encode(span_of(body, sizeof(body)), codings[coding_at].bits);
            FOR_EACH (piece, pieces) {
                struct learn *l = start(codings[coding_at].name);
                assert_int_equal(feed_pieces(l, coded, pieces[piece_at]), rows[row_at].state);
                if (rows[row_at].failure)
                    assert_string_equal(learn_failure(l), rows[row_at].failure);
                else
                    assert_span_is(learned_sid(l), "abc");
                learn_free(l);
            }
        }
    }
}

static void what_is_settled_stays(void **state)
{
    (void)state;
    struct learn *l = start("");
    assert_int_equal(learn_feed(l, edge_copy(packet)), LEARN_DONE);
    assert_int_equal(learn_feed(l, edge_copy("0{\"sid\":\"other\"}")), LEARN_DONE);
    assert_span_is(learned_sid(l), "aB3dE5gH7jK9mN1pAAAB");
    learn_free(l);

    l = start("");
    assert_int_equal(learn_feed(l, edge_copy("x")), LEARN_FAILED);
    assert_int_equal(learn_feed(l, edge_copy(packet)), LEARN_FAILED);
    assert_int_equal(learned_sid(l).len, 0);
    learn_free(l);
    learn_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_handshake_is_learned_from_every_coding_in_pieces_of_any_size),
        cmocka_unit_test(every_framing_is_learned_in_pieces_of_any_size),
        cmocka_unit_test(the_sid_is_known_with_the_very_byte_that_completes_it),
        cmocka_unit_test(the_sid_is_known_as_soon_as_a_flushed_stream_holds_it),
        cmocka_unit_test(bare_deflate_that_looks_almost_like_zlib_is_learned),
        cmocka_unit_test(pieces_without_a_byte_change_nothing),
        cmocka_unit_test(a_coding_that_cannot_be_undone_fails_as_encoded),
        cmocka_unit_test(a_broken_stream_fails_as_encoded),
        cmocka_unit_test(a_packet_before_the_place_where_a_stream_breaks_counts),
        cmocka_unit_test(a_body_that_is_no_open_packet_fails_as_such),
        cmocka_unit_test(a_body_that_ends_too_early_is_not_open),
        cmocka_unit_test(no_more_than_4_kib_decoded_is_looked_at),
        cmocka_unit_test(what_is_settled_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
