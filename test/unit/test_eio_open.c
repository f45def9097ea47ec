/*
 * The open packet in every framing, whole and cut at each byte (PROTOCOL 3-7, 17).
 */
#include "../../proxy/core/eio_open.h"
#include "unit.h"

#include <stdio.h>

typedef enum parse parser(struct span bytes, struct eio_open *out);

/* An open packet and all that may be asked of it. A bar in `marked` stands behind the byte that completes the sid, a
 * second one behind the byte that completes the packet (none: the last); they are no part of the bytes. */
struct good_row {
    struct span marked;
    struct span sid;
    uint32_t ping_interval_ms, ping_timeout_ms;
    uint64_t max_payload;
    enum eio_open_framing framing;
};

/* For tables: a literal that may hold NUL. */
#define BYTES(literal)                                                                                                 \
    {                                                                                                                  \
        (literal), sizeof(literal) - 1                                                                                 \
    }

/* The bytes without the bars, and where these were. */
static struct span take_marks(struct span marked, char *bytes, size_t marks[2])
{
    size_t len = 0, count = 0;
    for (size_t i = 0; i < marked.len; i++) {
        if (marked.ptr[i] == '|')
            marks[count++] = len;
        else
            bytes[len++] = marked.ptr[i];
    }
    if (count == 1)
        marks[1] = len;
    return span_of(bytes, len);
}

static void check_good_row(parser *parse, const struct good_row *row)
{
    char text[512];
    size_t marks[2] = {0, 0};
    struct span bytes = take_marks(row->marked, text, marks);
    for (size_t n = 0; n <= bytes.len; n++) {
        struct eio_open open;
        enum parse p = parse(edge_copy_span(span_of(bytes.ptr, n)), &open);
        bool has_sid = n >= marks[0];
        if (p != (n < marks[1] ? PARSE_MORE : PARSE_OK) || (open.sid_len > 0) != has_sid) {
            print_error("%.*s: cut at %zu: %d, sid of %u\n", (int)bytes.len, bytes.ptr, n, p, open.sid_len);
            fail();
        }
        if (has_sid)
            assert_span_equal(span_of(open.sid, open.sid_len), row->sid);
        if (p == PARSE_MORE) { /* no number is taken before its end is seen */
            assert_true(open.ping_interval_ms == 0 || open.ping_interval_ms == row->ping_interval_ms);
            assert_true(open.ping_timeout_ms == 0 || open.ping_timeout_ms == row->ping_timeout_ms);
        }
        if (p == PARSE_OK) {
            assert_int_equal(open.ping_interval_ms, row->ping_interval_ms);
            assert_int_equal(open.ping_timeout_ms, row->ping_timeout_ms);
            assert_true(open.max_payload == row->max_payload);
            assert_int_equal(open.framing, row->framing);
        }
    }
}

/* No open packet, and it is the last byte that tells. */
static void check_bad_row(parser *parse, struct span bytes)
{
    for (size_t n = 0; n <= bytes.len; n++) {
        struct eio_open open;
        enum parse p = parse(edge_copy_span(span_of(bytes.ptr, n)), &open);
        if (p != (n < bytes.len ? PARSE_MORE : PARSE_BAD)) {
            print_error("%.*s: cut at %zu: %d\n", (int)bytes.len, bytes.ptr, n, p);
            fail();
        }
        if (p == PARSE_BAD)
            assert_int_equal(open.sid_len, 0);
    }
}

static void the_open_packet_is_found_in_every_framing(void **state)
{
    static const struct good_row rows[] = {
        {BYTES("0{\"sid\":\"aB3dE5gH7jK9mN1pAAAB\"|,\"upgrades\":[\"websocket\"],\"pingInterval\":25000,"
               "\"pingTimeout\":20000,\"maxPayload\":1000000}"),
         .sid = BYTES("aB3dE5gH7jK9mN1pAAAB"), 25000, 20000, 1000000, EIO_OPEN_PLAIN},
        {BYTES("0{\"sid\":\"abc\"|}|\x1e"
               "4hello"),
         .sid = BYTES("abc")},
        {BYTES("97:0{\"sid\":\"aB3dE5gH7jK9mN1pAAAB\"|,\"upgrades\":[\"websocket\"],\"pingInterval\":25000,"
               "\"pingTimeout\":20000}|2:40"),
         .sid = BYTES("aB3dE5gH7jK9mN1pAAAB"), 25000, 20000, 0, EIO_OPEN_TEXT},
        {BYTES("013:0{\"sid\":\"ab\"|}"), .sid = BYTES("ab"), .framing = EIO_OPEN_TEXT},
        {BYTES("\x00\x01\x04\xff"
               "0{\"sid\":\"abc\"|}|\x00\x02\xff"
               "40"),
         .sid = BYTES("abc"), .framing = EIO_OPEN_BINARY},
        {BYTES("\x01\x00\x01\x04\xff"
               "0{\"sid\":\"abc\"|}"),
         .sid = BYTES("abc"), .framing = EIO_OPEN_BINARY},
        {BYTES("___eio[7](\"0{\\\"sid\\\":\\\"abc\\\"|,\\\"pingTimeout\\\":5}|\");"), .sid = BYTES("abc"),
         .ping_timeout_ms = 5, .framing = EIO_OPEN_JSONP},
        {BYTES("___eio[](\"0{\\\"sid\\\":\\\"abc\\\"|}"), .sid = BYTES("abc"), .framing = EIO_OPEN_JSONP},
        {BYTES("___eio[0123456789](\"14:0{\\\"sid\\\":\\\"abc\\\"|}|2:40\");"), .sid = BYTES("abc"),
         .framing = EIO_OPEN_JSONP},
    };
    (void)state;
    FOR_EACH (row, rows) {
        check_good_row(eio_open_parse, &rows[row_at]);
    }
}

static void only_the_top_level_sid_counts_and_of_two_the_last(void **state)
{
    static const struct good_row rows[] = {
        {BYTES("0{\"a\":{\"sid\":\"no\"},\"sid\":\"yes\"|}"), .sid = BYTES("yes")},
        {BYTES("0{\"a\":[{\"sid\":\"no\"},\"sid\",[[]],{}],\"sid\":\"yes\"|}"), .sid = BYTES("yes")},
        {BYTES("0{\"a\":\"\\\"sid\\\":\\\"no\\\"\",\"sid\":\"yes\"|}"), .sid = BYTES("yes")},
        {BYTES("0{\"xsid\":\"no\",\"SID\":\"no\",\"sid\":\"yes\"|}"), .sid = BYTES("yes")},
        {BYTES("0{\"\\u0073\\u0069d\":\"yes\"|}"), .sid = BYTES("yes")},
        {BYTES("0{\"sid\":5,\"sid\":\"yes\"|}"), .sid = BYTES("yes")},
        {BYTES("0{\"sid\":{\"sid\":\"no\"},\"sid\":\"yes\"|}"), .sid = BYTES("yes")},
        {BYTES("0 \t\r\n{ \"sid\" \n: \"yes\"| , \"x\" : [ 1 , 2 ] }"), .sid = BYTES("yes")},
    };
    (void)state;
    FOR_EACH (row, rows) {
        check_good_row(eio_open_parse, &rows[row_at]);
    }

    struct eio_open open;
    assert_int_equal(eio_open_parse(edge_copy("0{\"sid\":\"first\",\"sid\":\"secon"), &open), PARSE_MORE);
    assert_span_is(span_of(open.sid, open.sid_len), "first");
    assert_int_equal(eio_open_parse(edge_copy("0{\"sid\":\"first\",\"sid\":\"second\"}"), &open), PARSE_OK);
    assert_span_is(span_of(open.sid, open.sid_len), "second");
    assert_int_equal(eio_open_parse(edge_copy("0{\"sid\":\"first\",\"sid\":null,"), &open), PARSE_MORE);
    assert_int_equal(open.sid_len, 0);
}

static void escapes_in_a_sid_are_undone(void **state)
{
    static const struct {
        const char *raw;
        struct span sid;
    } rows[] = {
        {"a\\\"b\\\\c\\/d", BYTES("a\"b\\c/d")},
        {"\\b\\f\\n\\r\\t", BYTES("\b\f\n\r\t")},
        {"\\u0041\\u00e9\\u20AC", BYTES("A\xc3\xa9\xe2\x82\xac")},
        {"\\u0000x", BYTES("\0x")},
        {"\\u007f\\u0080\\u07ff\\u0800\\uffff", BYTES("\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf")},
        {"\\ud83d\\ude00", BYTES("\xf0\x9f\x98\x80")},
        {"\\uD800\\uDC00\\uDBFF\\uDFFF", BYTES("\xf0\x90\x80\x80\xf4\x8f\xbf\xbf")},
        {"\\ud83d", BYTES("\xef\xbf\xbd")},
        {"\\ud83dx", BYTES("\xef\xbf\xbdx")},
        {"\\ud83d\\n", BYTES("\xef\xbf\xbd\n")},
        {"\\ude00", BYTES("\xef\xbf\xbd")},
        {"\\ud83d\\ud83d\\ude00", BYTES("\xef\xbf\xbd\xf0\x9f\x98\x80")},
        {"\\ud83d\\u0041", BYTES("\xef\xbf\xbd"
                                 "A")},
        {"\xc3\xa9\xf0\x9f\x98\x80\xff\x7f", BYTES("\xc3\xa9\xf0\x9f\x98\x80\xff\x7f")},
    };
    (void)state;
    FOR_EACH (row, rows) {
        char packet[128], jsonp[256];
        int len = snprintf(packet, sizeof(packet), "0{\"sid\":\"%s\"|}", rows[row_at].raw);
        struct good_row good = {.marked = span_of(packet, (size_t)len), .sid = rows[row_at].sid};
        check_good_row(eio_open_parse, &good);

        /* once more inside a JSONP string, where each quote and backslash is escaped again */
        size_t at = (size_t)snprintf(jsonp, sizeof(jsonp), "___eio[1](\"");
        for (int i = 0; i < len; i++) {
            if (packet[i] == '"' || packet[i] == '\\')
                jsonp[at++] = '\\';
            jsonp[at++] = packet[i];
        }
        good.marked = span_of(jsonp, at);
        good.framing = EIO_OPEN_JSONP;
        check_good_row(eio_open_parse, &good);
    }
}

static void text_lengths_count_utf16_code_units(void **state)
{
    static const struct good_row rows[] = {
        {BYTES("12:0{\"sid\":\"\xc3\xa9\"|}"), .sid = BYTES("\xc3\xa9"), .framing = EIO_OPEN_TEXT},
        {BYTES("12:0{\"sid\":\"\xe2\x82\xac\"|}|2:40"), .sid = BYTES("\xe2\x82\xac"), .framing = EIO_OPEN_TEXT},
        {BYTES("13:0{\"sid\":\"\xf0\x9f\x98\x80\"|}"), .sid = BYTES("\xf0\x9f\x98\x80"), .framing = EIO_OPEN_TEXT},
        {BYTES("\x00\x01\x03\xff"
               "0{\"sid\":\"\xc3\xa9\"|}"),
         .sid = BYTES("\xc3\xa9"), .framing = EIO_OPEN_BINARY},
        {BYTES("___eio[0](\"13:0{\\\"sid\\\":\\\"\\ud83d\\ude00\\\"|}|\");"), .sid = BYTES("\xf0\x9f\x98\x80"),
         .framing = EIO_OPEN_JSONP},
    };
    static const struct span bad[] = {
        BYTES("11:0{\"sid\":\"\xc3\xa9\""),         /* one unit short: it ends before the brace */
        BYTES("13:0{\"sid\":\"\xe2\x82\xac\"}"),    /* bytes counted instead of units */
        BYTES("12:0{\"sid\":\"\xf0\x9f\x98\x80\""), /* a surrogate pair is two */
    };
    (void)state;
    FOR_EACH (row, rows) {
        check_good_row(eio_open_parse, &rows[row_at]);
    }
    FOR_EACH (row, bad) {
        check_bad_row(eio_open_parse, bad[row_at]);
    }
}

static void what_cannot_become_an_open_packet_is_bad_at_once(void **state)
{
    static const struct span rows[] = {
        /* other packets, above all the CONNECT answer with its own sid (PROTOCOL 7) */
        BYTES("40{"),
        BYTES("4{"),
        BYTES("6\x1e"),
        BYTES("2p"),
        BYTES("1\x1e"),
        BYTES("o"),
        BYTES("{"),
        BYTES("<"),
        BYTES(" "),
        BYTES("\x02"),
        BYTES("\x1f"),
        BYTES("\""),
        /* framings */
        BYTES("00{"),
        BYTES("0:"),
        BYTES("20:4"),
        BYTES("20:1"),
        BYTES("20::"),
        BYTES("1;"),
        BYTES("1-"),
        BYTES("1234567890"),
        BYTES("1:0"),
        BYTES("13:0{\"sid\":\"abc\""),
        BYTES("15:0{\"sid\":\"abc\"}"),
        BYTES("\x00\xff"),
        BYTES("\x00\x0a"),
        BYTES("\x00\x30"),
        BYTES("\x00\x01\x04\xfe"),
        BYTES("\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x00"),
        BYTES("\x00\x02\xff"
              "4"),
        BYTES("\x00\x02\xff\x00"),
        BYTES("\x00\x02\xff"
              "0{"),
        BYTES("\x00\x01\x03\xff"
              "0{\"sid\":\"abc\""),
        BYTES("\x00\x01\x05\xff"
              "0{\"sid\":\"abc\"}"),
        BYTES("__x"),
        BYTES("___eia"),
        BYTES("___eio("),
        BYTES("___eio[-"),
        BYTES("___eio[7 "),
        BYTES("___eio[7]["),
        BYTES("___eio[7]('"),
        BYTES("___eio[7](\"\""),
        BYTES("___eio[7](\"4{"),
        BYTES("___eio[7](\"40{"),
        BYTES("___eio[7](\"\x01"),
        BYTES("___eio[7](\"\\u0000"),
        BYTES("___eio[7](\"_"),
        BYTES("___eio[7](\"0\\x"),
        BYTES("___eio[7](\"0\\u00g"),
        BYTES("___eio[7](\"0{\\\"sid\\\":\\\"abc\\\"\n"),
        BYTES("___eio[7](\"0{\\\"sid\\\":\\\"abc\\\"\""),
        BYTES("___eio[7](\"0{\\\"sid\""),
        BYTES("___eio[7](\"13:0{\\\"sid\\\":\\\"abc\\\""),
        /* no JSON object */
        BYTES("0["),
        BYTES("0\""),
        BYTES("0n"),
        BYTES("0\x1e"),
        BYTES("0{,"),
        BYTES("0{]"),
        BYTES("0{s"),
        BYTES("0{1"),
        BYTES("0{'"),
        BYTES("0{\"sid\","),
        BYTES("0{\"sid\"="),
        BYTES("0{\"sid\":}"),
        BYTES("0{\"sid\":,"),
        BYTES("0{\"sid\":\"a\"\""),
        BYTES("0{\"sid\":\"a\":"),
        BYTES("0{\"sid\":\"a\"]"),
        BYTES("0{\"sid\":\"a\";"),
        BYTES("0{\"sid\":\"a\",}"),
        BYTES("0{\"sid\":\"a\",,"),
        BYTES("0{\"sid\":\"a\x00"),
        BYTES("0{\"sid\":\"a\n"),
        BYTES("0{\"sid\":\"a\x1e"),
        BYTES("0{\"sid\":\"a\\x"),
        BYTES("0{\"sid\":\"a\\ "),
        BYTES("0{\"sid\":\"a\\\0"),
        BYTES("0{\"sid\":\"a\\U"),
        BYTES("0{\"sid\":\"a\\u12x"),
        BYTES("0{\"sid\":\"a\\u123\""),
        BYTES("0{\"sid\":\"a\\ud83d\\ux"),
        BYTES("0{\"sid\":\"a\"\v"),
        BYTES("0{\"sid\":\"a\"/"),
        BYTES("0{\"a\":[1,]"),
        BYTES("0{\"a\":[,"),
        BYTES("0{\"a\":[}"),
        BYTES("0{\"a\":{]"),
        BYTES("0{\"a\":{1"),
        BYTES("0{\"a\":[1}"),
        BYTES("0{\"a\":[{\"b\":1]"),
        BYTES("0{\"a\":01"),
        BYTES("0{\"a\":+"),
        BYTES("0{\"a\":-a"),
        BYTES("0{\"a\":-,"),
        BYTES("0{\"a\":."),
        BYTES("0{\"a\":1.,"),
        BYTES("0{\"a\":1.e"),
        BYTES("0{\"a\":1ee"),
        BYTES("0{\"a\":1e,"),
        BYTES("0{\"a\":1e+,"),
        BYTES("0{\"a\":0x"),
        BYTES("0{\"a\":1 2"),
        BYTES("0{\"a\":trux"),
        BYTES("0{\"a\":T"),
        BYTES("0{\"a\":nulll"),
        BYTES("0{\"a\":falsy"),
        BYTES("0{\"a\":u"),
        /* an object without a usable sid */
        BYTES("0{}"),
        BYTES("0{\"pingInterval\":25000}"),
        BYTES("0{\"sid\":\"\"}"),
        BYTES("0{\"sid\":5}"),
        BYTES("0{\"sid\":null}"),
        BYTES("0{\"sid\":[\"abc\"]}"),
        BYTES("0{\"sid\":{\"sid\":\"abc\"}}"),
        BYTES("0{\"a\":{\"sid\":\"abc\"}}"),
        BYTES("0{\"a\":\"sid\",\"b\":\"abc\"}"),
        BYTES("0{\"sid\":\"abc\",\"sid\":5}"),
        BYTES("0{\"sid\":\"abc\",\"sid\":\"\"}"),
    };
    (void)state;
    FOR_EACH (row, rows) {
        check_bad_row(eio_open_parse, rows[row_at]);
    }
}

static void ping_values_are_numbers_or_not_said(void **state)
{
    static const struct {
        const char *raw;
        uint64_t max_payload;
        uint32_t ping_ms;
    } rows[] = {
        {"0", 0, 0},
        {"25000", 25000, 25000},
        {"4294967295", 4294967295u, 4294967295u},
        {"4294967296", 4294967296u, 4294967295u},
        {"9007199254740991", 9007199254740991, UINT32_MAX},
        {"1000000000000000000", 1000000000000000000, UINT32_MAX},
        {"99999999999999999999999999", UINT64_MAX, UINT32_MAX},
        {"1e400", UINT64_MAX, UINT32_MAX},
        {"1e999999999999999999999", UINT64_MAX, UINT32_MAX},
        {"0e999999999999999999999", 0, 0},
        {"1e-999999999999999999999", 0, 0},
        {"25000.0", 25000, 25000},
        {"25000.999", 25000, 25000},
        {"2.5e4", 25000, 25000},
        {"2.5E+04", 25000, 25000},
        {"0.00025e8", 25000, 25000},
        {"250000000e-4", 25000, 25000},
        {"25000.000000000000000000000000000000", 25000, 25000},
        {"0.00000000000000000000000000000000025e38", 25000, 25000},
        {"0.9", 0, 0},
        {"-25000", 0, 0},
        {"-0", 0, 0},
        {"\"25000\"", 0, 0},
        {"null", 0, 0},
        {"true", 0, 0},
        {"[25000]", 0, 0},
        {"{}", 0, 0},
        {"1,\"maxPayload\":2,\"pingInterval\":2,\"pingTimeout\":2", 2, 2},
    };
    (void)state;
    FOR_EACH (row, rows) {
        char packet[512];
        const char *raw = rows[row_at].raw;
        snprintf(packet, sizeof(packet), "0{\"maxPayload\":%s,\"pingInterval\":%s,\"sid\":\"a\",\"pingTimeout\":%s}",
                 raw, raw, raw);
        struct eio_open open;
        assert_int_equal(eio_open_parse(edge_copy(packet), &open), PARSE_OK);
        if (open.max_payload != rows[row_at].max_payload)
            fail_msg("%s", raw);
        assert_int_equal(open.ping_interval_ms, rows[row_at].ping_ms);
        assert_int_equal(open.ping_timeout_ms, rows[row_at].ping_ms);
    }
}

static void a_sid_has_one_to_256_bytes(void **state)
{
    static const struct {
        const char *unit;
        size_t count;
        bool is_usable;
    } rows[] = {
        {"x", 1, true},
        {"x", 256, true},
        {"x", 257, false},
        {"\\u0041", 256, true},
        {"\\u0041", 257, false},
        {"\\u00e9", 128, true},
        {"\\u00e9", 129, false},
        {"\\ud83d\\ude00", 64, true},
        {"\\ud83d\\ude00", 65, false},
    };
    (void)state;
    FOR_EACH (row, rows) {
        char packet[2048] = "0{\"sid\":\"";
        for (size_t i = 0; i < rows[row_at].count; i++)
            strcat(packet, rows[row_at].unit);
        strcat(packet, "\"}");
        struct eio_open open;
        assert_int_equal(eio_open_parse(edge_copy(packet), &open), rows[row_at].is_usable ? PARSE_OK : PARSE_BAD);
        assert_int_equal(open.sid_len > 0, rows[row_at].is_usable);
    }
}

static void nesting_is_followed_64_levels_deep(void **state)
{
    for (size_t depth = 1; depth <= 66; depth++) {
        char packet[512] = "0{\"a\":", *at = packet + strlen(packet);
        for (size_t i = 1; i < depth; i++) /* the object itself is the first level */
            at = stpcpy(at, i % 2 ? "[" : "{\"b\":");
        at = stpcpy(at, "1");
        for (size_t i = depth - 1; i > 0; i--)
            at = stpcpy(at, i % 2 ? "]" : "}");
        strcpy(at, ",\"sid\":\"abc\"}");
        struct eio_open open;
        assert_int_equal(eio_open_parse(edge_copy(packet), &open), depth <= 64 ? PARSE_OK : PARSE_BAD);
    }
    (void)state;
}

static void nothing_behind_4096_bytes_is_looked_at(void **state)
{
    char packet[EIO_OPEN_BYTES_MAX + 64];
    struct eio_open open;
    memset(packet, ' ', sizeof(packet));
    memcpy(packet, "0{\"sid\":\"abc\"", 13);
    packet[EIO_OPEN_BYTES_MAX - 1] = '}';
    assert_int_equal(eio_open_parse(edge_copy_span(span_of(packet, sizeof(packet))), &open), PARSE_OK);

    packet[EIO_OPEN_BYTES_MAX - 1] = ' ';
    packet[EIO_OPEN_BYTES_MAX] = '}';
    assert_int_equal(eio_open_parse(edge_copy_span(span_of(packet, sizeof(packet))), &open), PARSE_MORE);
    assert_span_is(span_of(open.sid, open.sid_len), "abc");
    (void)state;
}

static void a_first_frame_is_read_whole_or_cut(void **state)
{
    static const struct good_row rows[] = {
        {BYTES("\x81\x6b"
               "0{\"sid\":\"aB3dE5gH7jK9mN1pAAAB\"|,\"upgrades\":[],\"pingInterval\":25000,"
               "\"pingTimeout\":20000,\"maxPayload\":1000000}"),
         .sid = BYTES("aB3dE5gH7jK9mN1pAAAB"), 25000, 20000, 1000000, EIO_OPEN_PLAIN},
        {BYTES("\x81\x0e"
               "0{\"sid\":\"abc\"|}|\x81\x02"
               "40"),
         .sid = BYTES("abc")},
        {BYTES("\x81\x7e\x00\x7e"
               "0{\"sid\":\"abc\"|,\"a\":\"0123456789012345678901234567890123456789012345678901234567890123456789"
               "01234567890123456789012345678901234\"}|\x81\x02"
               "40"),
         .sid = BYTES("abc")},
    };
    static const struct span bad[] = {
        BYTES("\x01"),             /* not final */
        BYTES("\x80"),             /* continuation */
        BYTES("\x82"),             /* binary */
        BYTES("\x88"),             /* close */
        BYTES("\x89"),             /* ping */
        BYTES("\xc1"),             /* compressed */
        BYTES("H"),                /* no websocket at all */
        BYTES("\x81\x00"),         /* empty */
        BYTES("\x81\x8e"),         /* masked */
        BYTES("\x81\x7f"),         /* over 64 KiB */
        BYTES("\x81\x7e\x00\x7d"), /* not the shortest form */
        BYTES("\x81\x7e\x10\x01"), /* over 4 KiB */
        BYTES("\x81\x02"
              "4"), /* another packet */
        BYTES("\x81\x02"
              "9"), /* no framing of a payload in a frame */
        BYTES("\x81\x0d"
              "0{\"sid\":\"abc\""), /* shorter than the object */
        BYTES("\x81\x0f"
              "0{\"sid\":\"abc\"}"), /* longer */
        BYTES("\x81\x0e"
              "0{\"sid\":3.14}"),
    };
    (void)state;
    FOR_EACH (row, rows) {
        check_good_row(eio_open_parse_frame, &rows[row_at]);
    }
    FOR_EACH (row, bad) {
        check_bad_row(eio_open_parse_frame, bad[row_at]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_open_packet_is_found_in_every_framing),
        cmocka_unit_test(only_the_top_level_sid_counts_and_of_two_the_last),
        cmocka_unit_test(escapes_in_a_sid_are_undone),
        cmocka_unit_test(text_lengths_count_utf16_code_units),
        cmocka_unit_test(what_cannot_become_an_open_packet_is_bad_at_once),
        cmocka_unit_test(ping_values_are_numbers_or_not_said),
        cmocka_unit_test(a_sid_has_one_to_256_bytes),
        cmocka_unit_test(nesting_is_followed_64_levels_deep),
        cmocka_unit_test(nothing_behind_4096_bytes_is_looked_at),
        cmocka_unit_test(a_first_frame_is_read_whole_or_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
