#include "../../proxy/core/http_body.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

struct outcome {
    enum parse verdict;
    size_t used; /* bytes of the wire that belong to the body */
    char data[256];
    size_t data_len;
};

/* Give `wire` in pieces that end at `first`, `first + step`, ... and at the end. */
static struct outcome read_in_pieces(enum http_framing framing, uint64_t length, struct span wire, size_t first,
                                     size_t step)
{
    struct outcome o = {.verdict = PARSE_MORE};
    struct http_body body;
    http_body_init(&body, framing, length);
    size_t got = first < wire.len ? first : wire.len;
    for (;;) {
        struct span piece = edge_copy_span(span_of(wire.ptr + o.used, got - o.used));
        while (piece.len || o.verdict == PARSE_MORE) {
            size_t used;
            struct span data;
            o.verdict = http_body_next(&body, piece, &used, &data);
            assert_true(used <= piece.len && data.len <= used);
            assert_true(data.ptr >= piece.ptr && data.ptr + data.len <= piece.ptr + used);
            assert_true(o.data_len + data.len <= sizeof o.data);
            memcpy(o.data + o.data_len, data.ptr, data.len);
            o.data_len += data.len;
            o.used += used;
            piece = span_skip(piece, used);
            if (o.verdict != PARSE_MORE || piece.len == 0)
                break;
        }
        assert_int_equal(http_body_is_done(&body), o.verdict == PARSE_OK);
        if (o.verdict != PARSE_MORE || got == wire.len)
            return o;
        got = got + step < wire.len ? got + step : wire.len;
    }
}

/* Whole, byte by byte, and cut in two at each byte; all must say the same. */
static struct outcome read_every_way(enum http_framing framing, uint64_t length, struct span wire)
{
    struct outcome whole = read_in_pieces(framing, length, wire, wire.len, 1);
    for (size_t cut = 0; cut <= wire.len; cut++) {
        struct outcome other = read_in_pieces(framing, length, wire, cut, cut ? wire.len : 1);
        assert_int_equal(other.verdict, whole.verdict);
        assert_int_equal(other.used, whole.used);
        assert_span_equal(span_of(other.data, other.data_len), span_of(whole.data, whole.data_len));
    }
    return whole;
}

#define TEXT(literal) (literal), sizeof(literal) - 1

static void chunks_are_undone_wherever_they_are_cut(void **state)
{
    (void)state;
    static const struct {
        const char *wire;
        size_t len;
        const char *data, *rest;
    } rows[] = {
        {TEXT("0\r\n\r\n"), "", ""},
        {TEXT("5\r\nhello\r\n0\r\n\r\n"), "hello", ""},
        {TEXT("5\r\nhello\r\n0\r\n\r\nGET /"), "hello", "GET /"},
        {TEXT("5\r\nhello\r\n0\r\n\r\n\r\n"), "hello", "\r\n"},
        {TEXT("1\r\na\r\n2\r\nbc\r\n0\r\n\r\n"), "abc", ""},
        {TEXT("a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n"), "01234567890123456789", ""},
        {TEXT("10\r\n0123456789abcdef\r\n0\r\n\r\n"), "0123456789abcdef", ""},
        {TEXT("2\r\n\r\n\r\n0\r\n\r\n"), "\r\n", ""},
        {TEXT("5\r\n0\r\n\r\n\r\n0\r\n\r\n"), "0\r\n\r\n", ""},
        {TEXT("00000000000000000000005\r\nhello\r\n000\r\n\r\n"), "hello", ""},
        {TEXT("5;a=b\r\nhello\r\n0;c=\"d;e\"\r\n\r\n"), "hello", ""},
        {TEXT("5;\r\nhello\r\n0; x = \xff\r\n\r\n"), "hello", ""},
        {TEXT("5\r\nhello\r\n0\r\nA: b\r\nX-C:\td \r\nE:\r\n\r\n"), "hello", ""},
        {TEXT("0\r\nConnections: close\r\nConnectio: a\r\nX-Upgrade: b\r\nContent-Type: c\r\nUp: d\r\n\r\n"), "", ""},
        {TEXT("0\r\nContent-Lengths-And-Many-Other-Things-In-A-Name: a\r\nTransfer.Encoding: b\r\nX-Forwarded-For: "
              "c\r\nForwarded: d\r\nX_Real_IP: e\r\n\r\n"),
         "", ""},
    };
    FOR_EACH (row, rows) {
        struct span wire = span_of(rows[row_at].wire, rows[row_at].len);
        struct outcome o = read_every_way(HTTP_CHUNKED, 0, wire);
        assert_int_equal(o.verdict, PARSE_OK);
        assert_span_is(span_of(o.data, o.data_len), rows[row_at].data);
        assert_span_is(span_skip(wire, o.used), rows[row_at].rest);
    }
}

static void broken_chunk_syntax_is_refused_at_its_first_byte(void **state)
{
    (void)state;
    static const struct {
        const char *good, *rest; /* what belongs to the body, and what begins with the byte that cannot stand there */
    } rows[] = {
        {"", "\r\n"},
        {"", ";a\r\n"},
        {"", " 5\r\nhello\r\n"},
        {"", "+5\r\nhello\r\n"},
        {"", "-5\r\nhello\r\n"},
        {"", "g\r\n"},
        {"", "\n"},
        {"0", "x5\r\nhello\r\n"},
        {"5", " \r\nhello\r\n"},
        {"5", " ;a\r\nhello\r\n"},
        {"5", "\t\r\nhello\r\n"},
        {"5", "\nhello\r\n"},
        {"5", ",5\r\nhello\r\n"},
        {"5", "_0\r\n"},
        {"5", "h\r\n"},
        {"5", ".0\r\n"},
        {"5\r", "\r\nhello\r\n"},
        {"5\r", "hello\r\n"},
        {"5;a", "\nhello\r\n"},
        {"5;a\r", "b\r\nhello\r\n"},
        {"5;a\r", "\r\nhello\r\n"},
        {"5;", "\x01\r\nhello\r\n"},
        {"5;", "\tx\r\nhello\r\n"},
        {"5;", "\x7f\r\nhello\r\n"},
        {"5\r\nhello", "0\r\n\r\n"},
        {"5\r\nhello", "!\r\n0\r\n\r\n"},
        {"5\r\nhello", "\n0\r\n\r\n"},
        {"5\r\nhello\r", "0\r\n\r\n"},
        {"5\r\nhello\r\n", "\r\n0\r\n\r\n"},
        {"0", "\n\n"},
        {"0\r\n", "\n"},
        {"0\r\n\r", "x"},
        {"0\r\n\r", "\r\n"},
        {"0\r\n", " A: b\r\n\r\n"},
        {"0\r\n", ": b\r\n\r\n"},
        {"0\r\nA", "\r\n\r\n"},
        {"0\r\nA", " : b\r\n\r\n"},
        {"0\r\nA: b", "\n\r\n"},
        {"0\r\nA: b\r", "\r\n\r\n"},
        {"0\r\nA: b\r\n", " c\r\n\r\n"},
        {"0\r\nA: b\r\n", "\n"},
        {"0\r\nA: ", "\x0b\r\n\r\n"},
        {"0\r\nGET", " / HTTP/1.1\r\n\r\n"},
        {"0\r\nA: b\r\nGET", " / HTTP/1.1\r\n\r\n"},
        {"0\r\nContent-Length", ": 5\r\n\r\n"},
        {"0\r\nA: b\r\ntransfer-ENCODING", ": chunked\r\n\r\n"},
        {"0\r\nconnection", ": close\r\n\r\n"},
        {"0\r\nProxy-Connection", ":close\r\n\r\n"},
        {"0\r\nUPGRADE", ":\r\n\r\n"},
        {"7fffffffffffffff", "0\r\n"},
        {"800000000000000", "0\r\n"},
        {"fffffffffffffff", "f\r\n"},
        {"0000fffffffffffffff", "f\r\n"},
        {"100000000000000", NULL}, /* 2^56: only more digits would be too many */
    };
    FOR_EACH (row, rows) {
        char wire[128];
        bool breaks = rows[row_at].rest != NULL;
        int n = snprintf(wire, sizeof wire, "%s%s", rows[row_at].good, breaks ? rows[row_at].rest : "");
        struct outcome o = read_every_way(HTTP_CHUNKED, 0, span_of(wire, (size_t)n));
        assert_int_equal(o.verdict, breaks ? PARSE_BAD : PARSE_MORE);
        assert_int_equal(o.used, strlen(rows[row_at].good));
    }
}

static void a_nul_is_no_chunk_syntax(void **state)
{
    (void)state;
    static const struct {
        const char *wire;
        size_t len, used;
    } rows[] = {
        {TEXT("\0"), 0},
        {TEXT("5\0\r\nhello"), 1},
        {TEXT("5;\0\r\nhello"), 2},
        {TEXT("0\r\nA\0: b\r\n"), 4},
        {TEXT("0\r\nA: \0\r\n"), 6},
    };
    FOR_EACH (row, rows) {
        struct outcome o = read_every_way(HTTP_CHUNKED, 0, span_of(rows[row_at].wire, rows[row_at].len));
        assert_int_equal(o.verdict, PARSE_BAD);
        assert_int_equal(o.used, rows[row_at].used);
    }
}

static void the_largest_chunk_is_2_to_the_63_less_1(void **state)
{
    (void)state;
    struct http_body body;
    size_t used;
    struct span data;
    http_body_init(&body, HTTP_CHUNKED, 0);
    assert_int_equal(http_body_next(&body, edge_copy("7FFFffffFFFFffff\r\nabc"), &used, &data), PARSE_MORE);
    assert_int_equal(used, 21);
    assert_span_is(data, "abc");
    assert_int_equal(body.left, (uint64_t)INT64_MAX - 3);
}

/* `before`, `n` times `fill`, `after`: how much of it is taken */
static struct outcome read_filled(const char *before, char fill, size_t n, const char *after)
{
    size_t head = strlen(before), tail = strlen(after);
    char *wire = malloc(head + n + tail);
    assert_non_null(wire);
    memcpy(wire, before, head);
    memset(wire + head, fill, n);
    memcpy(wire + head + n, after, tail);
    struct span in = span_of(wire, head + n + tail);
    struct outcome whole = read_in_pieces(HTTP_CHUNKED, 0, in, in.len, 1);
    struct outcome slow = read_in_pieces(HTTP_CHUNKED, 0, in, 1, 1);
    assert_int_equal(whole.verdict, slow.verdict);
    assert_int_equal(whole.used, slow.used);
    free(wire);
    return whole;
}

static void what_is_no_payload_is_bounded(void **state)
{
    (void)state;
    enum { MAX = HTTP_CHUNK_EXTRA_MAX };
    static const struct {
        const char *before;
        char fill;
        size_t most; /* times `fill` fits */
        const char *after;
    } rows[] = {
        {"", '0', MAX, "\r\n\r\n"},
        {"1;", 'x', MAX - 1, "\r\na\r\n0\r\n\r\n"},
        {"1;y\r\na\r\n2;", 'x', MAX - 1, "\r\nab\r\n0\r\n\r\n"}, /* of one chunk, not of all */
        {"0\r\nA:", 'x', MAX - 4, "\r\n\r\n"},
        {"0\r\n", 'x', MAX - 3, ":\r\n\r\n"},
        {"0\r\nA: b\r\nC:", 'x', MAX - 10, "\r\n\r\n"}, /* of all trailers */
    };
    FOR_EACH (row, rows) {
        size_t most = rows[row_at].most;
        assert_int_equal(read_filled(rows[row_at].before, rows[row_at].fill, most, rows[row_at].after).verdict,
                         PARSE_OK);
        assert_int_equal(read_filled(rows[row_at].before, rows[row_at].fill, most + 1, rows[row_at].after).verdict,
                         PARSE_BAD);
    }
}

static void trailers_that_tell_of_a_client_are_refused_where_that_is_asked_for(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool is_refused;
    } rows[] = {
        {"X-Forwarded-For", true}, {"x_forwarded_proto", true}, {"X-FORWARDED-", true},   {"Forwarded", true},
        {"x_Real-IP", true},       {"X-Forwarded", false},      {"X-Forward-For", false}, {"Forwarded-For", false},
        {"X-Real-IPs", false},     {"Real-IP", false},          {"X-Real", false},
    };
    FOR_EACH (row, rows) {
        char wire[128];
        int len = snprintf(wire, sizeof wire, "0\r\nA: b\r\n%s: c\r\n\r\n", rows[row_at].name);
        for (int is_asked = 0; is_asked <= 1; is_asked++) {
            struct http_body b;
            size_t used;
            struct span data;
            http_body_init(&b, HTTP_CHUNKED, 0);
            if (is_asked)
                http_body_refuse_forwarded(&b);
            enum parse verdict = http_body_next(&b, edge_copy_span(span_of(wire, (size_t)len)), &used, &data);
            if (verdict != (is_asked && rows[row_at].is_refused ? PARSE_BAD : PARSE_OK))
                fail_msg("%s: %d", rows[row_at].name, verdict);
        }
    }
}

static void a_length_is_counted_off(void **state)
{
    (void)state;
    struct outcome o = read_every_way(HTTP_LENGTH, 5, SPAN("helloGET /"));
    assert_int_equal(o.verdict, PARSE_OK);
    assert_int_equal(o.used, 5);
    assert_span_is(span_of(o.data, o.data_len), "hello");
    o = read_every_way(HTTP_LENGTH, 11, SPAN("hello"));
    assert_int_equal(o.verdict, PARSE_MORE);
    assert_int_equal(o.used, 5);
    o = read_every_way(HTTP_LENGTH, 0, SPAN("hello"));
    assert_int_equal(o.verdict, PARSE_OK);
    assert_int_equal(o.used, 0);
}

static void without_a_body_nothing_is_taken(void **state)
{
    (void)state;
    struct outcome o = read_every_way(HTTP_NO_BODY, 17, SPAN("hello"));
    assert_int_equal(o.verdict, PARSE_OK);
    assert_int_equal(o.used, 0);
    assert_int_equal(o.data_len, 0);
}

static void until_the_close_everything_is_payload(void **state)
{
    (void)state;
    struct outcome o = read_every_way(HTTP_UNTIL_CLOSE, 0, SPAN("0\r\n\r\nhello"));
    assert_int_equal(o.verdict, PARSE_MORE);
    assert_int_equal(o.used, 10);
    assert_span_is(span_of(o.data, o.data_len), "0\r\n\r\nhello");
}

static void one_call_gives_one_run_of_payload(void **state)
{
    (void)state;
    struct http_body body;
    size_t used;
    struct span data, in = edge_copy("3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n");
    http_body_init(&body, HTTP_CHUNKED, 0);
    assert_int_equal(http_body_next(&body, in, &used, &data), PARSE_MORE);
    assert_span_is(data, "abc");
    assert_int_equal(used, 13); /* up to the next payload: what frames it goes with the run before */
    in = span_skip(in, used);
    assert_int_equal(http_body_next(&body, in, &used, &data), PARSE_OK);
    assert_span_is(data, "de");
    assert_int_equal(used, in.len);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunks_are_undone_wherever_they_are_cut),
        cmocka_unit_test(broken_chunk_syntax_is_refused_at_its_first_byte),
        cmocka_unit_test(a_nul_is_no_chunk_syntax),
        cmocka_unit_test(the_largest_chunk_is_2_to_the_63_less_1),
        cmocka_unit_test(what_is_no_payload_is_bounded),
        cmocka_unit_test(trailers_that_tell_of_a_client_are_refused_where_that_is_asked_for),
        cmocka_unit_test(a_length_is_counted_off),
        cmocka_unit_test(without_a_body_nothing_is_taken),
        cmocka_unit_test(until_the_close_everything_is_payload),
        cmocka_unit_test(one_call_gives_one_run_of_payload),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
