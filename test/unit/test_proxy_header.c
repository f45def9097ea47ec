#include "../../proxy/core/proxy_header.h"

#include "unit.h"

#include <stdio.h>

struct outcome {
    enum parse verdict;
    struct proxy_header header;
    size_t used;
};

static struct outcome parse_once(struct span bytes)
{
    struct outcome o;
    memset(&o, 0xa5, sizeof o);
    o.verdict = proxy_header_parse(edge_copy_span(bytes), &o.header, &o.used);
    return o;
}

static bool is_same(const struct ip *a, const struct ip *b)
{
    return ip_equal(a, b) && a->port == b->port;
}

/* The verdict on all bytes. Cut anywhere before its end a good header is not whole; what is bad never becomes good; and
 * what follows a header is not part of it. */
static struct outcome parse_every_way(struct span bytes)
{
    struct outcome whole = parse_once(bytes);
    bool was_bad = false;
    for (size_t cut = 0; cut < bytes.len; cut++) {
        struct outcome o = parse_once(span_of(bytes.ptr, cut));
        if (whole.verdict == PARSE_OK && cut >= whole.used) {
            assert_int_equal(o.verdict, PARSE_OK);
            assert_int_equal(o.used, whole.used);
            assert_true(is_same(&o.header.from, &whole.header.from) && is_same(&o.header.to, &whole.header.to));
            continue;
        }
        assert_int_not_equal(o.verdict, PARSE_OK);
        assert_true(whole.verdict == PARSE_BAD || o.verdict == PARSE_MORE);
        assert_true(!was_bad || o.verdict == PARSE_BAD);
        was_bad = o.verdict == PARSE_BAD;
    }
    return whole;
}

#define TEXT(literal)                                                                                                  \
    {                                                                                                                  \
        (literal), sizeof(literal) - 1                                                                                 \
    }

/* `behind`: how many bytes of `bytes` are the connection's own. */
struct good_row {
    struct span bytes;
    const char *from, *to;
    size_t behind;
};

static void check_good(const struct good_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char from[IP_TEXT_BYTES], to[IP_TEXT_BYTES];
        struct outcome o = parse_every_way(rows[i].bytes);
        if (o.verdict != PARSE_OK)
            fail_msg("verdict %d on row %zu: %.*s", o.verdict, i, (int)rows[i].bytes.len, rows[i].bytes.ptr);
        assert_string_equal(ip_text(&o.header.from, from), rows[i].from);
        assert_string_equal(ip_text(&o.header.to, to), rows[i].to);
        assert_int_equal(o.used, rows[i].bytes.len - rows[i].behind);
        bool is_local = rows[i].bytes.ptr[0] == '\r' && rows[i].bytes.ptr[12] == 0x20;
        assert_int_equal(o.header.is_local, is_local);
    }
}

static void check_bad(const struct span *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct outcome o = parse_every_way(rows[i]);
        if (o.verdict != PARSE_BAD)
            fail_msg("verdict %d on row %zu: %.*s", o.verdict, i, (int)rows[i].len, rows[i].ptr);
    }
}

/* ---- version 1 ---- */

static void a_line_tells_both_ends(void **state)
{
    (void)state;
    static const struct good_row rows[] = {
        {TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 51312 443\r\n"), "192.0.2.1:51312", "192.0.2.2:443", 0},
        {TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 51312 443\r\nGET / HTTP/1.1\r\n\r\n"), "192.0.2.1:51312", "192.0.2.2:443",
         18},
        {TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 51312 443\r\n\r\n"), "192.0.2.1:51312", "192.0.2.2:443", 2},
        {TEXT("PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n"), "0.0.0.0", "255.255.255.255:65535", 0},
        {TEXT("PROXY TCP6 2001:db8::1 2001:DB8:0:0:0:0:0:2 1 2\r\n"), "[2001:db8::1]:1", "[2001:db8::2]:2", 0},
        {TEXT("PROXY TCP6 :: ::1 65535 0\r\n"), "[::]:65535", "::1", 0},
        {TEXT("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 "
              "65535\r\n"),
         "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535", "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535", 0},
        /* of an IPv6 socket that takes IPv4, too */
        {TEXT("PROXY TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.2 51312 443\r\n"), "192.0.2.1:51312", "192.0.2.2:443", 0},
        {TEXT("PROXY TCP6 ::ffff:192.0.2.1 2001:db8::1 51312 443\r\n"), "192.0.2.1:51312", "[2001:db8::1]:443", 0},
    };
    check_good(rows, COUNT_OF(rows));
}

static void a_line_of_an_unknown_client_tells_none_whatever_else_it_says(void **state)
{
    (void)state;
    static const struct good_row rows[] = {
        {TEXT("PROXY UNKNOWN\r\n"), "unknown", "unknown", 0},
        {TEXT("PROXY UNKNOWN\r\nPROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"), "unknown", "unknown", 36},
        {TEXT("PROXY UNKNOWN \r\n"), "unknown", "unknown", 0},
        {TEXT("PROXY UNKNOWN 192.0.2.1 192.0.2.2 51312 443\r\n"), "unknown", "unknown", 0},
        {TEXT("PROXY UNKNOWN ffff::1 ffff::2 99999 x  y \r\r\n"), "unknown", "unknown", 0},
        {TEXT("PROXY UNKNOWN \0\xff\t\r\n"), "unknown", "unknown", 0},
    };
    check_good(rows, COUNT_OF(rows));
}

static void a_line_that_says_it_in_another_way_is_refused(void **state)
{
    (void)state;
    static const struct span rows[] = {
        TEXT("PROXY\r\n"),
        TEXT("PROXY \r\n"),
        TEXT("PROXY TCP4\r\n"),
        TEXT("PROXY TCP4 192.0.2.1\r\n"),
        TEXT("PROXY TCP4 192.0.2.1 192.0.2.2\r\n"),
        TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 51312\r\n"),
        TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 51312 \r\n"),
        TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 51312 443 \r\n"),
        TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 51312 443 7\r\n"),
        TEXT("PROXY  TCP4 192.0.2.1 192.0.2.2 51312 443\r\n"),
        TEXT("PROXY TCP4  192.0.2.1 192.0.2.2 51312 443\r\n"),
        TEXT("PROXY TCP4 192.0.2.1  192.0.2.2 51312 443\r\n"),
        TEXT("PROXY TCP4 192.0.2.1 192.0.2.2  51312 443\r\n"),
        TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 51312  443\r\n"),
        TEXT("PROXY TCP4 192.0.2.1\t192.0.2.2 51312 443\r\n"),
        TEXT(" PROXY TCP4 192.0.2.1 192.0.2.2 51312 443\r\n"),
        TEXT("proxy TCP4 192.0.2.1 192.0.2.2 51312 443\r\n"),
        TEXT("PROXY tcp4 192.0.2.1 192.0.2.2 51312 443\r\n"),
        TEXT("PROXY unknown\r\n"),
        TEXT("PROXY UNKNOWNS\r\n"),
        TEXT("PROXY UNKNOW\r\n"),
        TEXT("PROXY TCP5 192.0.2.1 192.0.2.2 51312 443\r\n"),
        TEXT("PROXY UDP4 192.0.2.1 192.0.2.2 51312 443\r\n"),
        TEXT("PROXY UNIX /run/a /run/b\r\n"),
        /* line ends */
        TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 51312 443\n"),
        TEXT("PROXY UNKNOWN\n"),
        TEXT("PROXY UNKNOWN x\n\r\n"),
        TEXT("PROXY \n"),
        TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 51312 443\r\r\n"),
        TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 51312\r443\r\n"),
        /* ports */
        TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 65536 443\r\n"),
        TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n"),
        TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 1 99999\r\n"),
        TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 1 4294967297\r\n"),
        TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 080 443\r\n"),
        TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 1 00\r\n"),
        TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 -1 443\r\n"),
        TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 +1 443\r\n"),
        TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 1x 443\r\n"),
        TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 http 443\r\n"),
        TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 1 443\0\r\n"),
        /* addresses */
        TEXT("PROXY TCP4 2001:db8::1 2001:db8::2 51312 443\r\n"),
        TEXT("PROXY TCP4 192.0.2.1 2001:db8::2 51312 443\r\n"),
        TEXT("PROXY TCP4 ::ffff:192.0.2.1 192.0.2.2 51312 443\r\n"),
        TEXT("PROXY TCP6 192.0.2.1 192.0.2.2 51312 443\r\n"),
        TEXT("PROXY TCP6 2001:db8::1 192.0.2.2 51312 443\r\n"),
        TEXT("PROXY TCP6 192.0.2.1:80 192.0.2.2:80 51312 443\r\n"),
        TEXT("PROXY TCP6 2001:db8::1 192.0.2.2:0 51312 443\r\n"),
        TEXT("PROXY TCP6 [2001:db8::1] [2001:db8::2] 51312 443\r\n"),
        TEXT("PROXY TCP6 [2001:db8::1]:80 2001:db8::2 51312 443\r\n"),
        TEXT("PROXY TCP4 192.0.2.1:80 192.0.2.2 51312 443\r\n"),
        TEXT("PROXY TCP4 192.0.2 192.0.2.2 51312 443\r\n"),
        TEXT("PROXY TCP4 192.0.2.256 192.0.2.2 51312 443\r\n"),
        TEXT("PROXY TCP4 192.0.02.1 192.0.2.2 51312 443\r\n"),
        TEXT("PROXY TCP4 192.0.2.1\0 192.0.2.2 51312 443\r\n"),
        TEXT("PROXY TCP4 client.example 192.0.2.2 51312 443\r\n"),
        TEXT("PROXY TCP6 fe80::1%eth0 fe80::2 51312 443\r\n"),
    };
    check_bad(rows, COUNT_OF(rows));
}

static void a_line_has_at_most_107_bytes(void **state)
{
    (void)state;
    char text[256];
    memset(text, 'x', sizeof text);
    memcpy(text, "PROXY UNKNOWN ", 14);
    memcpy(text + 105, "\r\n", 2);
    assert_int_equal(parse_every_way(span_of(text, 107)).verdict, PARSE_OK);
    assert_int_equal(parse_every_way(span_of(text, sizeof text)).used, 107);
    memcpy(text + 105, "x\r\n", 3);
    assert_int_equal(parse_every_way(span_of(text, 108)).verdict, PARSE_BAD);
    assert_int_equal(parse_once(span_of(text, 106)).verdict, PARSE_MORE);
    assert_int_equal(parse_once(span_of(text, 107)).verdict, PARSE_BAD); /* no line end in it: there will be none */
}

/* ---- version 2 ---- */

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define V4_ENDS   "\xc0\0\2\1\xc0\0\2\2\xc8\x70\1\xbb"
#define V6_FROM   "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1"
#define V6_TO     "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\2"
#define MAPPED    "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\2\1"
#define PORTS     "\xc8\x70\1\xbb"
#define TLV       "\4\0\3abc" /* PP2_TYPE_NOOP */

static void a_binary_header_tells_both_ends(void **state)
{
    (void)state;
    static const struct good_row rows[] = {
        {TEXT(SIGNATURE "\x21\x11\0\x0c" V4_ENDS), "192.0.2.1:51312", "192.0.2.2:443", 0},
        {TEXT(SIGNATURE "\x21\x11\0\x0c" V4_ENDS "GET / HTTP/1.1\r\n\r\n"), "192.0.2.1:51312", "192.0.2.2:443", 18},
        {TEXT(SIGNATURE "\x21\x11\0\x0c" V4_ENDS SIGNATURE), "192.0.2.1:51312", "192.0.2.2:443", 12},
        {TEXT(SIGNATURE "\x21\x21\0\x24" V6_FROM V6_TO PORTS), "[2001:db8::1]:51312", "[2001:db8::2]:443", 0},
        {TEXT(SIGNATURE "\x21\x21\0\x24" MAPPED MAPPED PORTS), "192.0.2.1:51312", "192.0.2.1:443", 0},
        {TEXT(SIGNATURE "\x21\x21\0\x24" MAPPED V6_TO PORTS), "192.0.2.1:51312", "[2001:db8::2]:443", 0},
        {TEXT(SIGNATURE "\x21\x11\0\x0c\0\0\0\0\xff\xff\xff\xff\0\0\xff\xff"), "0.0.0.0", "255.255.255.255:65535", 0},
        /* notes behind the addresses, which may be no notes either */
        {TEXT(SIGNATURE "\x21\x11\0\x12" V4_ENDS TLV), "192.0.2.1:51312", "192.0.2.2:443", 0},
        {TEXT(SIGNATURE "\x21\x11\0\x12" V4_ENDS TLV "x"), "192.0.2.1:51312", "192.0.2.2:443", 1},
        {TEXT(SIGNATURE "\x21\x21\0\x2a" V6_FROM V6_TO PORTS TLV), "[2001:db8::1]:51312", "[2001:db8::2]:443", 0},
        {TEXT(SIGNATURE "\x21\x11\0\x0d" V4_ENDS "\xff"), "192.0.2.1:51312", "192.0.2.2:443", 0},
    };
    check_good(rows, COUNT_OF(rows));
}

#define X9   "xxxxxxxxx"
#define X54  X9 X9 X9 X9 X9 X9
#define U216 X54 X54 X54 X54

static void a_note_says_whether_the_client_spoke_tls(void **state)
{
    (void)state;
    static const struct {
        struct span bytes;
        bool was_tls;
    } rows[] = {
        {TEXT(SIGNATURE "\x21\x11\0\x0c" V4_ENDS), false},
        {TEXT(SIGNATURE "\x21\x11\0\x14" V4_ENDS "\x20\0\5\1\0\0\0\0"), true},
        {TEXT(SIGNATURE "\x21\x11\0\x14" V4_ENDS "\x20\0\5\6\0\0\0\0"), false},
        {TEXT(SIGNATURE "\x21\x11\0\x18" V4_ENDS "\x04\0\1x\x20\0\5\7\0\0\0\0"), true},
        {TEXT(SIGNATURE "\x21\x21\0\x2c" V6_FROM V6_TO PORTS "\x20\0\5\1\0\0\0\0"), true},
        {TEXT(SIGNATURE "\x21\x11\0\x0f" V4_ENDS "\x20\0\0"), false},
        {TEXT(SIGNATURE "\x21\x11\0\x10" V4_ENDS "\x20\0\2\1"), false}, /* longer than the header */
        {TEXT(SIGNATURE "\x21\x11\0\x0e" V4_ENDS "\x20\0"), false},
        {TEXT(SIGNATURE "\x20\x11\0\x14" V4_ENDS "\x20\0\5\1\0\0\0\0"), false},
    };
    FOR_EACH (row, rows) {
        struct outcome o = parse_every_way(rows[row_at].bytes);
        assert_int_equal(o.verdict, PARSE_OK);
        if (o.header.was_tls != rows[row_at].was_tls)
            fail_msg("row %zu", row_at);
    }
}

static void a_binary_header_without_a_client_that_connected_by_tcp_tells_none(void **state)
{
    (void)state;
    static const struct good_row rows[] = {
        /* LOCAL: a health check of the balancer itself, whatever family it names */
        {TEXT(SIGNATURE "\x20\0\0\0"), "unknown", "unknown", 0},
        {TEXT(SIGNATURE "\x20\0\0\0GET"), "unknown", "unknown", 3},
        {TEXT(SIGNATURE "\x20\x11\0\x0c" V4_ENDS), "unknown", "unknown", 0},
        {TEXT(SIGNATURE "\x20\x11\0\0"), "unknown", "unknown", 0},
        {TEXT(SIGNATURE "\x20\xff\0\x06" TLV "x"), "unknown", "unknown", 1},
        /* PROXY of what is no address here: UNSPEC, UDP, unix sockets */
        {TEXT(SIGNATURE "\x21\0\0\0"), "unknown", "unknown", 0},
        {TEXT(SIGNATURE "\x21\0\0\x06" TLV), "unknown", "unknown", 0},
        {TEXT(SIGNATURE "\x21\x10\0\x0c" V4_ENDS), "unknown", "unknown", 0},
        {TEXT(SIGNATURE "\x21\x01\0\x0c" V4_ENDS), "unknown", "unknown", 0},
        {TEXT(SIGNATURE "\x21\x12\0\x0c" V4_ENDS), "unknown", "unknown", 0},
        {TEXT(SIGNATURE "\x21\x22\0\x24" V6_FROM V6_TO PORTS), "unknown", "unknown", 0},
        {TEXT(SIGNATURE "\x21\x31\0\xd8" U216), "unknown", "unknown", 0},
        {TEXT(SIGNATURE "\x21\x31\0\xd8" U216 "x"), "unknown", "unknown", 1},
        {TEXT(SIGNATURE "\x21\x32\0\xd8" U216), "unknown", "unknown", 0},
    };
    check_good(rows, COUNT_OF(rows));
}

static void a_binary_header_that_no_sender_may_write_is_refused(void **state)
{
    (void)state;
    static const struct span rows[] = {
        /* version and command */
        TEXT(SIGNATURE "\x11\x11\0\x0c" V4_ENDS),
        TEXT(SIGNATURE "\x31\x11\0\x0c" V4_ENDS),
        TEXT(SIGNATURE "\x01\x11\0\x0c" V4_ENDS),
        TEXT(SIGNATURE "\x22\x11\0\x0c" V4_ENDS),
        TEXT(SIGNATURE "\x2f\x11\0\x0c" V4_ENDS),
        TEXT(SIGNATURE "\xa1\x11\0\x0c" V4_ENDS),
        /* family and protocol */
        TEXT(SIGNATURE "\x21\x41\0\x0c" V4_ENDS),
        TEXT(SIGNATURE "\x21\xf1\0\x0c" V4_ENDS),
        TEXT(SIGNATURE "\x21\x13\0\x0c" V4_ENDS),
        TEXT(SIGNATURE "\x21\x2f\0\x24" V6_FROM V6_TO PORTS),
        TEXT(SIGNATURE "\x21\xff\0\0"),
        /* too short for what it says it has */
        TEXT(SIGNATURE "\x21\x11\0\0" V4_ENDS),
        TEXT(SIGNATURE "\x21\x11\0\x0b" V4_ENDS),
        TEXT(SIGNATURE "\x21\x21\0\x23" V6_FROM V6_TO PORTS),
        TEXT(SIGNATURE "\x21\x21\0\x0c" V4_ENDS),
        /* too long for us */
        TEXT(SIGNATURE "\x21\x11\xff\xff" V4_ENDS),
        TEXT(SIGNATURE "\x20\0\x0f\xf1"),
        /* another signature */
        TEXT("\r\n\r\n\0\r\nQUIT\r\x21\x11\0\x0c" V4_ENDS),
        TEXT("\r\n\r\n\0\r\nquit\n\x21\x11\0\x0c" V4_ENDS),
        TEXT("\r\n\r\nPROXY"),
        TEXT("\r\n\r\n\1"),
    };
    check_bad(rows, COUNT_OF(rows));
}

/* One of 4096 bytes is read, one of more is refused before it arrives, and neither needs a longer buffer. */
static void the_longest_binary_header_fits_the_ceiling(void **state)
{
    (void)state;
    static char bytes[PROXY_HEADER_BYTES_MAX + 1];
    memcpy(bytes, SIGNATURE "\x21\x11\x0f\xf0" V4_ENDS, 28);
    struct outcome o = parse_every_way(span_of(bytes, sizeof bytes));
    assert_int_equal(o.verdict, PARSE_OK);
    assert_int_equal(o.used, PROXY_HEADER_BYTES_MAX);
    bytes[15] = (char)0xf1;
    assert_int_equal(parse_once(span_of(bytes, 15)).verdict, PARSE_MORE);
    assert_int_equal(parse_once(span_of(bytes, 16)).verdict, PARSE_BAD);
}

/* ---- what is none ---- */

static void what_speaks_something_else_is_refused_at_its_first_odd_byte(void **state)
{
    (void)state;
    static const struct {
        struct span bytes;
        size_t odd; /* bytes that are enough to know */
    } rows[] = {
        {TEXT("GET / HTTP/1.1\r\n\r\n"), 1},
        {TEXT("POST / HTTP/1.1\r\n\r\n"), 2},
        {TEXT("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 3},
        {TEXT("PROXIED"), 5},
        {TEXT("PROXY: x"), 6},
        {TEXT("\x16\3\1\2\0\1\0\1\xfc\3\3"), 1}, /* a TLS hello */
        {TEXT("\r\nGET / HTTP/1.1\r\n\r\n"), 3},
        {TEXT("\r\n\r\nGET / HTTP/1.1\r\n\r\n"), 5},
        {TEXT("\nPROXY UNKNOWN\r\n"), 1},
        {TEXT("\0\0\0\0"), 1},
        {TEXT("\xff"), 1},
    };
    FOR_EACH (row, rows) {
        (void)parse_every_way(rows[row_at].bytes);
        assert_int_equal(parse_once(span_of(rows[row_at].bytes.ptr, rows[row_at].odd - 1)).verdict, PARSE_MORE);
        assert_int_equal(parse_once(span_of(rows[row_at].bytes.ptr, rows[row_at].odd)).verdict, PARSE_BAD);
    }
}

static void nothing_yet_may_still_become_a_header(void **state)
{
    (void)state;
    struct proxy_header h;
    size_t used;
    assert_int_equal(proxy_header_parse(span_of(NULL, 0), &h, &used), PARSE_MORE);
    assert_int_equal(used, 0);
    assert_int_equal(h.from.family, IP_UNKNOWN);
}

/* ---- writing ---- */

static struct ip ip(const char *text)
{
    struct ip a = {.family = IP_UNKNOWN};
    if (*text && !ip_parse(edge_copy(text), &a))
        fail_msg("%s", text);
    return a;
}

/* Written flush against the unreadable page; valid until the next call. */
static struct span write_header(int version, const char *from, const char *to)
{
    static char blank[PROXY_HEADER_WRITTEN_MAX], written[PROXY_HEADER_WRITTEN_MAX];
    struct proxy_header h = {.from = ip(from), .to = ip(to)};
    struct span room = edge_copy_span(span_of(blank, sizeof blank));
    size_t n = proxy_header_write(version, &h, (char *)room.ptr);
    assert_true(n <= PROXY_HEADER_WRITTEN_MAX);
    memcpy(written, room.ptr, n);
    return span_of(written, n);
}

static void a_header_is_written_as_the_protocol_says(void **state)
{
    (void)state;
    assert_span_is(write_header(1, "192.0.2.1:51312", "192.0.2.2:443"), "PROXY TCP4 192.0.2.1 192.0.2.2 51312 443\r\n");
    assert_span_is(write_header(1, "[2001:db8::1]:51312", "[2001:db8::2]:443"),
                   "PROXY TCP6 2001:db8::1 2001:db8::2 51312 443\r\n");
    assert_span_is(write_header(1, "", ""), "PROXY UNKNOWN\r\n");
    assert_span_is(write_header(1, "", "192.0.2.2:443"), "PROXY UNKNOWN\r\n");
    assert_span_equal(write_header(2, "192.0.2.1:51312", "192.0.2.2:443"), SPAN(SIGNATURE "\x21\x11\0\x0c" V4_ENDS));
    assert_span_equal(write_header(2, "[2001:db8::1]:51312", "[2001:db8::2]:443"),
                      SPAN(SIGNATURE "\x21\x21\0\x24" V6_FROM V6_TO PORTS));
    assert_span_equal(write_header(2, "", ""), SPAN(SIGNATURE "\x21\0\0\0"));
    assert_span_equal(write_header(2, "", "192.0.2.2:443"), SPAN(SIGNATURE "\x21\0\0\0"));
}

static void an_end_of_another_family_is_written_as_zero(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to, *line;
    } rows[] = {
        {"192.0.2.1:51312", "[2001:db8::2]:443", "PROXY TCP4 192.0.2.1 0.0.0.0 51312 0\r\n"},
        {"192.0.2.1:51312", "", "PROXY TCP4 192.0.2.1 0.0.0.0 51312 0\r\n"},
        {"[2001:db8::1]:51312", "192.0.2.2:443", "PROXY TCP6 2001:db8::1 :: 51312 0\r\n"},
        {"[2001:db8::1]:51312", "", "PROXY TCP6 2001:db8::1 :: 51312 0\r\n"},
    };
    FOR_EACH (row, rows) {
        assert_span_is(write_header(1, rows[row_at].from, rows[row_at].to), rows[row_at].line);
        struct outcome o = parse_every_way(write_header(2, rows[row_at].from, rows[row_at].to));
        struct ip from = ip(rows[row_at].from), zero = {.family = from.family};
        assert_int_equal(o.verdict, PARSE_OK);
        assert_true(is_same(&o.header.from, &from) && is_same(&o.header.to, &zero));
    }
}

static void what_is_written_reads_back_the_same(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to;
    } rows[] = {
        {"192.0.2.1:51312", "192.0.2.2:443"},
        {"0.0.0.0", "255.255.255.255:65535"},
        {"[2001:db8::1]:51312", "[2001:db8::2]:443"},
        {"::", "[::1]:65535"},
        {"::192.0.2.1", "64:ff9b::192.0.2.2"},
        {"[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535", "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"},
        {"[::ffff:192.0.2.1]:7", "192.0.2.2:443"},
        {"", ""},
    };
    FOR_EACH (row, rows) {
        for (int version = 1; version <= 2; version++) {
            struct span written = write_header(version, rows[row_at].from, rows[row_at].to);
            struct outcome o = parse_every_way(written);
            struct ip from = ip(rows[row_at].from), to = ip(rows[row_at].to);
            assert_int_equal(o.verdict, PARSE_OK);
            assert_int_equal(o.used, written.len);
            assert_true(is_same(&o.header.from, &from) && is_same(&o.header.to, &to));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_tells_both_ends),
        cmocka_unit_test(a_line_of_an_unknown_client_tells_none_whatever_else_it_says),
        cmocka_unit_test(a_line_that_says_it_in_another_way_is_refused),
        cmocka_unit_test(a_line_has_at_most_107_bytes),
        cmocka_unit_test(a_binary_header_tells_both_ends),
        cmocka_unit_test(a_note_says_whether_the_client_spoke_tls),
        cmocka_unit_test(a_binary_header_without_a_client_that_connected_by_tcp_tells_none),
        cmocka_unit_test(a_binary_header_that_no_sender_may_write_is_refused),
        cmocka_unit_test(the_longest_binary_header_fits_the_ceiling),
        cmocka_unit_test(what_speaks_something_else_is_refused_at_its_first_odd_byte),
        cmocka_unit_test(nothing_yet_may_still_become_a_header),
        cmocka_unit_test(a_header_is_written_as_the_protocol_says),
        cmocka_unit_test(an_end_of_another_family_is_written_as_zero),
        cmocka_unit_test(what_is_written_reads_back_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
