#include "../../proxy/core/forward.h"
#include "../../proxy/core/http_head.h"

#include "unit.h"

#include <stdio.h>

static struct ip ip(const char *text)
{
    struct ip a = {.family = IP_NONE};
    if (*text && !ip_parse(edge_copy(text), &a))
        fail_msg("%s", text);
    return a;
}

/* ---- believing ---- */

/* The balancers in front: one on this host, a network of them, another of IPv6. */
static size_t balancers(struct ip_network out[4])
{
    out[0] = (struct ip_network){ip("127.0.0.1"), 32};
    out[1] = (struct ip_network){ip("10.0.0.0"), 8};
    out[2] = (struct ip_network){ip("fd00::"), 8};
    return 3;
}

static size_t balancers_and_unix(struct ip_network out[4])
{
    size_t count = balancers(out);
    out[count] = (struct ip_network){.base.family = IP_NONE};
    return count + 1;
}

/* `lines` between request line and empty line. */
static struct span head_of(const char *lines)
{
    static char text[2048];
    int n = snprintf(text, sizeof text, "GET /socket.io/ HTTP/1.1\r\nHost: chat.example\r\n%s\r\n", lines);
    assert_true(n > 0 && (size_t)n < sizeof text);
    return edge_copy_span(span_of(text, (size_t)n));
}

struct walk_row {
    const char *lines, *peer, *client; /* client: with its port where it has one */
};

static void check_walk(const struct walk_row *rows, size_t count, size_t (*trusted)(struct ip_network out[4]))
{
    struct ip_network trust[4];
    size_t trust_count = trusted ? trusted(trust) : 0;
    for (size_t i = 0; i < count; i++) {
        char text[IP_TEXT_BYTES];
        struct ip peer = ip(rows[i].peer);
        struct ip client = forward_believe(head_of(rows[i].lines), &peer, trusted ? trust : NULL, trust_count);
        if (strcmp(ip_text(&client, text), rows[i].client) != 0)
            fail_msg("believed %s, not %s, by %s:\n%s", text, rows[i].client, rows[i].peer, rows[i].lines);
    }
}

static void nobody_is_believed_who_is_not_trusted(void **state)
{
    (void)state;
    static const struct walk_row rows[] = {
        {"", "198.51.100.1:51312", "198.51.100.1:51312"},
        {"X-Forwarded-For: 203.0.113.9\r\n", "198.51.100.1:51312", "198.51.100.1:51312"},
        {"X-Forwarded-For: 203.0.113.9\r\n", "11.0.0.1:51312", "11.0.0.1:51312"},
        {"X-Forwarded-For: 203.0.113.9, 10.0.0.2\r\n", "198.51.100.1", "198.51.100.1"},
        {"X-Forwarded-For: 203.0.113.9\r\n", "2001:db8::1", "2001:db8::1"},
        {"X-Forwarded-For: 203.0.113.9\r\n", "", "unix"},
    };
    static const struct walk_row of_unix[] = {
        {"X-Forwarded-For: 203.0.113.9\r\n", "", "203.0.113.9"},
        {"X-Forwarded-For: 203.0.113.9, 10.0.0.2\r\n", "", "203.0.113.9"},
        {"", "", "unix"},
    };
    check_walk(rows, COUNT_OF(rows), balancers);
    check_walk(rows, COUNT_OF(rows), NULL);
    check_walk(of_unix, COUNT_OF(of_unix), balancers_and_unix);
}

static void a_trusted_peer_is_believed_about_whom_it_talks_for_hop_by_hop(void **state)
{
    (void)state;
    static const struct walk_row rows[] = {
        {"", "10.0.0.1:51312", "10.0.0.1:51312"},
        {"X-Forwarded-For: 203.0.113.9\r\n", "10.0.0.1:51312", "203.0.113.9"},
        {"X-Forwarded-For: 203.0.113.9\r\n", "127.0.0.1", "203.0.113.9"},
        {"X-Forwarded-For: 203.0.113.9\r\n", "::ffff:10.0.0.1", "203.0.113.9"},
        {"X-Forwarded-For: 2001:db8::9\r\n", "fd00::1", "2001:db8::9"},
        {"X-Forwarded-For: 203.0.113.9, 10.0.0.2\r\n", "10.0.0.1", "203.0.113.9"},
        {"X-Forwarded-For: 203.0.113.9, 10.0.0.3, 10.0.0.2\r\n", "10.0.0.1", "203.0.113.9"},
        {"X-Forwarded-For: 203.0.113.9, fd00::3, ::ffff:10.0.0.2\r\n", "127.0.0.1", "203.0.113.9"},
        /* what stands left of the first one who is not trusted, anybody can have written */
        {"X-Forwarded-For: 192.0.2.66, 203.0.113.9\r\n", "10.0.0.1", "203.0.113.9"},
        {"X-Forwarded-For: 192.0.2.66, 203.0.113.9, 10.0.0.2\r\n", "10.0.0.1", "203.0.113.9"},
        {"X-Forwarded-For: 10.0.0.66, 203.0.113.9, 10.0.0.2\r\n", "10.0.0.1", "203.0.113.9"},
        {"X-Forwarded-For: 127.0.0.1, 10.0.0.66, 203.0.113.9\r\n", "10.0.0.1", "203.0.113.9"},
        {"X-Forwarded-For: 10.0.0.66, 203.0.113.9, 10.0.0.3, 198.51.100.7, 10.0.0.2\r\n", "10.0.0.1", "198.51.100.7"},
        /* all of them trusted: the first is a client of its own */
        {"X-Forwarded-For: 10.0.0.2\r\n", "10.0.0.1", "10.0.0.2"},
        {"X-Forwarded-For: 10.0.0.4, 10.0.0.3, 10.0.0.2\r\n", "10.0.0.1", "10.0.0.4"},
    };
    check_walk(rows, COUNT_OF(rows), balancers);
}

static void the_walk_ends_at_what_is_no_address(void **state)
{
    (void)state;
    static const struct walk_row rows[] = {
        {"X-Forwarded-For: unknown\r\n", "10.0.0.1:7", "10.0.0.1:7"},
        {"X-Forwarded-For: _hidden\r\n", "10.0.0.1:7", "10.0.0.1:7"},
        {"X-Forwarded-For: 203.0.113.9, unknown\r\n", "10.0.0.1:7", "10.0.0.1:7"},
        {"X-Forwarded-For: 10.0.0.3, unknown\r\n", "10.0.0.1:7", "10.0.0.1:7"},
        {"X-Forwarded-For: 203.0.113.9, unknown, 10.0.0.2\r\n", "10.0.0.1", "10.0.0.2"},
        {"X-Forwarded-For: 203.0.113.9, unknown, 10.0.0.3, 10.0.0.2\r\n", "10.0.0.1", "10.0.0.3"},
        {"X-Forwarded-For: 203.0.113.9, unknown, 10.0.0.4, x, 10.0.0.2\r\n", "10.0.0.1", "10.0.0.2"},
        {"X-Forwarded-For: unknown, 203.0.113.9\r\n", "10.0.0.1", "203.0.113.9"},
        {"X-Forwarded-For: unknown, 203.0.113.9, 10.0.0.2\r\n", "10.0.0.1", "203.0.113.9"},
        {"X-Forwarded-For: 203.0.113.9 10.0.0.2\r\n", "10.0.0.1:7", "10.0.0.1:7"},
        {"X-Forwarded-For: 203.0.113.9;10.0.0.2\r\n", "10.0.0.1:7", "10.0.0.1:7"},
        {"X-Forwarded-For: \"203.0.113.9\"\r\n", "10.0.0.1:7", "10.0.0.1:7"},
        {"X-Forwarded-For: for=203.0.113.9\r\n", "10.0.0.1:7", "10.0.0.1:7"},
        {"X-Forwarded-For: 203.0.113.256\r\n", "10.0.0.1:7", "10.0.0.1:7"},
        {"X-Forwarded-For: \xff\r\n", "10.0.0.1:7", "10.0.0.1:7"},
    };
    check_walk(rows, COUNT_OF(rows), balancers);
}

static void the_list_may_be_written_in_every_way_that_lists_are(void **state)
{
    (void)state;
    static const struct walk_row rows[] = {
        /* empty elements are none (RFC 9110 5.6.1) */
        {"X-Forwarded-For:\r\n", "10.0.0.1:7", "10.0.0.1:7"},
        {"X-Forwarded-For: ,, ,\r\n", "10.0.0.1:7", "10.0.0.1:7"},
        {"X-Forwarded-For: ,203.0.113.9,\r\n", "10.0.0.1", "203.0.113.9"},
        {"X-Forwarded-For: 203.0.113.9, ,,10.0.0.2 ,\r\n", "10.0.0.1", "203.0.113.9"},
        {"X-Forwarded-For:203.0.113.9,10.0.0.2\r\n", "10.0.0.1", "203.0.113.9"},
        {"X-Forwarded-For: \t 203.0.113.9\t,\t10.0.0.2 \t\r\n", "10.0.0.1", "203.0.113.9"},
        /* several lines are one list */
        {"X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-For: 10.0.0.2\r\n", "10.0.0.1", "203.0.113.9"},
        {"X-Forwarded-For: 192.0.2.66\r\nAccept: */*\r\nX-Forwarded-For: 203.0.113.9, 10.0.0.2\r\n", "10.0.0.1",
         "203.0.113.9"},
        {"X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-For: unknown\r\n", "10.0.0.1:7", "10.0.0.1:7"},
        {"X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-For:\r\n", "10.0.0.1", "203.0.113.9"},
        {"X-Forwarded-For: unknown\r\nX-Forwarded-For: 10.0.0.2\r\n", "10.0.0.1", "10.0.0.2"},
        /* any case, and no other name */
        {"x-forwarded-for: 203.0.113.9\r\n", "10.0.0.1", "203.0.113.9"},
        {"X-FORWARDED-FOR: 203.0.113.9\r\nx-Forwarded-for: 10.0.0.2\r\n", "10.0.0.1", "203.0.113.9"},
        {"X_Forwarded_For: 203.0.113.9\r\n", "10.0.0.1:7", "10.0.0.1:7"},
        {"X-Forwarded-Fo: 203.0.113.9\r\nX-Forwarded-For-: 203.0.113.9\r\nForwarded: for=203.0.113.9\r\n"
         "X-Real-IP: 203.0.113.9\r\nX-Forwarded: 203.0.113.9\r\n",
         "10.0.0.1:7", "10.0.0.1:7"},
        /* ports and brackets, as some balancers write them; the port is the client's own */
        {"X-Forwarded-For: 203.0.113.9:4711\r\n", "10.0.0.1:7", "203.0.113.9:4711"},
        {"X-Forwarded-For: 203.0.113.9:4711, 10.0.0.2:80\r\n", "10.0.0.1:7", "203.0.113.9:4711"},
        {"X-Forwarded-For: [2001:db8::9]:4711, [fd00::2]:80\r\n", "10.0.0.1:7", "[2001:db8::9]:4711"},
        {"X-Forwarded-For: [2001:db8::9]\r\n", "10.0.0.1:7", "2001:db8::9"},
        {"X-Forwarded-For: 203.0.113.9:99999\r\n", "10.0.0.1:7", "10.0.0.1:7"},
    };
    check_walk(rows, COUNT_OF(rows), balancers);
}

static void a_request_without_fields_leaves_the_peer(void **state)
{
    (void)state;
    struct ip_network trust[4];
    struct ip peer = ip("10.0.0.1:7");
    struct ip client = forward_believe(edge_copy("GET / HTTP/1.0\r\n\r\n"), &peer, trust, balancers(trust));
    assert_true(ip_equal(&client, &peer));
}

/* ---- writing ---- */

static void read_head(struct span bytes, struct http_head *out)
{
    enum reason why = REASON_NONE;
    http_head_init(out);
    if (http_request_parse(out, edge_copy_span(bytes), 16384, &why) != PARSE_OK)
        fail_msg("%s: %.*s", reason_word(why), (int)bytes.len, bytes.ptr);
}

/* A whole request head, written into exactly as much room as may be needed. */
static struct span write_head(struct forward f, const char *head)
{
    static char blank[4096];
    struct span bytes = edge_copy(head);
    struct http_head h;
    read_head(bytes, &h);
    f.host = span_in(bytes, h.host);
    if (!f.proto.len)
        f.proto = SPAN("http");
    struct span room = edge_copy_span(span_of(blank, bytes.len + forward_bytes_max(&f)));
    size_t n = forward_write(&f, bytes, (char *)room.ptr);
    assert_true(n <= room.len);
    struct span written = span_of(room.ptr, n);
    struct http_head again;
    read_head(written, &again);
    assert_int_equal(again.framing, h.framing);
    return written;
}

static struct forward appends(void)
{
    return (struct forward){.mode = FORWARD_APPEND, .peer = ip("198.51.100.1:51312"), .believed = ip("203.0.113.9:7")};
}

static struct forward replaces(bool peer_is_trusted)
{
    struct forward f = appends();
    f.mode = FORWARD_REPLACE;
    f.peer_is_trusted = peer_is_trusted;
    return f;
}

#define GET "GET /socket.io/?EIO=4 HTTP/1.1\r\n"

static void append_adds_its_lines_behind_those_of_the_client(void **state)
{
    (void)state;
    static const struct {
        const char *head, *written;
    } rows[] = {
        {GET "Host: chat.example\r\nAccept: */*\r\n\r\n",
         GET "Host: chat.example\r\nAccept: */*\r\nX-Forwarded-For: 198.51.100.1\r\n"
             "X-Forwarded-Proto: http\r\nX-Forwarded-Host: chat.example\r\n\r\n"},
        {GET "X-Forwarded-For: 192.0.2.66, unknown\r\nHost: chat.example\r\n\r\n",
         GET "X-Forwarded-For: 192.0.2.66, unknown\r\nHost: chat.example\r\nX-Forwarded-For: 198.51.100.1\r\n"
             "X-Forwarded-Proto: http\r\nX-Forwarded-Host: chat.example\r\n\r\n"},
        {GET "Host: chat.example\r\nx-forwarded-proto: https\r\nX-FORWARDED-HOST: shop.example\r\n\r\n",
         GET "Host: chat.example\r\nx-forwarded-proto: https\r\nX-FORWARDED-HOST: shop.example\r\n"
             "X-Forwarded-For: 198.51.100.1\r\n\r\n"},
        /* another spelling is another line: it does not keep ours away */
        {GET "Host: chat.example\r\nX_Forwarded_Proto: https\r\n\r\n",
         GET "Host: chat.example\r\nX_Forwarded_Proto: https\r\nX-Forwarded-For: 198.51.100.1\r\n"
             "X-Forwarded-Proto: http\r\nX-Forwarded-Host: chat.example\r\n\r\n"},
        {GET "Host: chat.example\r\nForwarded: for=192.0.2.66\r\nX-Real-IP: 192.0.2.66\r\nX-Forwarded-Port: 1\r\n\r\n",
         GET "Host: chat.example\r\nForwarded: for=192.0.2.66\r\nX-Real-IP: 192.0.2.66\r\nX-Forwarded-Port: 1\r\n"
             "X-Forwarded-For: 198.51.100.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: chat.example\r\n\r\n"},
        {GET "Host: chat.example\r\nX-Forwarded-Protocol: spdy\r\nX-Forwarded-Hos: x\r\n\r\n",
         GET "Host: chat.example\r\nX-Forwarded-Protocol: spdy\r\nX-Forwarded-Hos: x\r\n"
             "X-Forwarded-For: 198.51.100.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: chat.example\r\n\r\n"},
    };
    FOR_EACH (row, rows) {
        struct forward f = appends();
        assert_span_is(write_head(f, rows[row_at].head), rows[row_at].written);
        f.peer_is_trusted = true; /* the same */
        assert_span_is(write_head(f, rows[row_at].head), rows[row_at].written);
    }
}

static void replace_leaves_nothing_of_what_an_untrusted_peer_made_up(void **state)
{
    (void)state;
#define OURS "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: chat.example\r\n\r\n"
    static const struct {
        const char *head, *written;
    } rows[] = {
        {GET "Host: chat.example\r\n\r\n", GET "Host: chat.example\r\n" OURS},
        {GET "X-Forwarded-For: 192.0.2.66\r\nHost: chat.example\r\n\r\n", GET "Host: chat.example\r\n" OURS},
        {GET "Host: chat.example\r\nX-Forwarded-For: 192.0.2.66\r\n\r\n", GET "Host: chat.example\r\n" OURS},
        {GET "A: 1\r\nX-Forwarded-For: a\r\nB: 2\r\nHost: chat.example\r\nX-Forwarded-For: b\r\nC: 3\r\n\r\n",
         GET "A: 1\r\nB: 2\r\nHost: chat.example\r\nC: 3\r\n" OURS},
        {GET
         "X-Forwarded-For:\r\nX-Forwarded-Proto: ws\r\nX-Forwarded-Host: evil\r\nHost: chat.example\r\n"
         "X-Forwarded-Port: 1\r\nX-Forwarded-Prefix: /\r\nX-Forwarded-: x\r\nForwarded: for=x\r\nX-Real-IP: x\r\n\r\n",
         GET "Host: chat.example\r\n" OURS},
        /* spelt in any way */
        {GET "x-forwarded-for: a\r\nX_FORWARDED_FOR: a\r\nx-Forwarded_for: a\r\nX_forwarded-Proto: a\r\n"
             "X_Forwarded_Anything: a\r\nfOrWaRdEd: a\r\nx_real_ip: a\r\nX-REAL_Ip: a\r\nHost: chat.example\r\n\r\n",
         GET "Host: chat.example\r\n" OURS},
        /* and nothing but those: the others keep their bytes and their place */
        {GET "X-Forwarded: a\r\nForwarded-For: b\r\nX-Real-IPs: c\r\nX-Real: d\r\nXX-Forwarded-For: e\r\n"
             "X.Forwarded.For: f\r\nForwarded_: g\r\nForwarde: h\r\nHost:\t chat.example \t\r\nhOST2:\xff\t\r\n\r\n",
         GET "X-Forwarded: a\r\nForwarded-For: b\r\nX-Real-IPs: c\r\nX-Real: d\r\nXX-Forwarded-For: e\r\n"
             "X.Forwarded.For: f\r\nForwarded_: g\r\nForwarde: h\r\nHost:\t chat.example \t\r\nhOST2:\xff\t\r\n" OURS},
        /* a value is no name */
        {GET "Cookie: X-Forwarded-For: 192.0.2.66\r\nHost: chat.example\r\n\r\n",
         GET "Cookie: X-Forwarded-For: 192.0.2.66\r\nHost: chat.example\r\n" OURS},
        {"POST /socket.io/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\nX-Real-IP: x\r\nHost: chat.example\r\n\r\n",
         "POST /socket.io/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\nHost: chat.example\r\n" OURS},
    };
    FOR_EACH (row, rows)
        assert_span_is(write_head(replaces(false), rows[row_at].head), rows[row_at].written);
}

static void replace_keeps_what_a_trusted_peer_says_but_who_the_client_is(void **state)
{
    (void)state;
    static const struct {
        const char *head, *written;
    } rows[] = {
        {GET "Host: chat.example\r\nX-Forwarded-For: 192.0.2.66, 203.0.113.9\r\n\r\n",
         GET "Host: chat.example\r\nX-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: http\r\n"
             "X-Forwarded-Host: chat.example\r\n\r\n"},
        {GET "x_forwarded_FOR: 192.0.2.66\r\nHost: chat.example\r\nX-Forwarded-For: 203.0.113.9\r\n"
             "X-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.example\r\nX-Forwarded-Port: 443\r\n"
             "Forwarded: proto=https\r\nX-Real-IP: 203.0.113.9\r\n\r\n",
         GET "Host: chat.example\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.example\r\n"
             "X-Forwarded-Port: 443\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n"},
        {GET "X-Forwarded-Proto: https\r\nHost: chat.example\r\n\r\n",
         GET "X-Forwarded-Proto: https\r\nHost: chat.example\r\nX-Forwarded-For: 203.0.113.9\r\n"
             "X-Forwarded-Host: chat.example\r\n\r\n"},
    };
    FOR_EACH (row, rows)
        assert_span_is(write_head(replaces(true), rows[row_at].head), rows[row_at].written);
}

static void a_client_without_an_address_gets_no_line_and_leaves_none(void **state)
{
    (void)state;
    struct forward f = appends();
    f.peer = ip("");
    assert_span_is(write_head(f, GET "Host: a\r\nX-Forwarded-For: 192.0.2.66\r\n\r\n"),
                   GET "Host: a\r\nX-Forwarded-For: 192.0.2.66\r\nX-Forwarded-Proto: http\r\n"
                       "X-Forwarded-Host: a\r\n\r\n");
    f = replaces(false);
    f.believed = ip("");
    assert_span_is(write_head(f, GET "Host: a\r\nX-Forwarded-For: 192.0.2.66\r\n\r\n"),
                   GET "Host: a\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a\r\n\r\n");
}

static void a_request_without_a_host_gets_no_line_of_it(void **state)
{
    (void)state;
    assert_span_is(write_head(appends(), "GET / HTTP/1.0\r\n\r\n"),
                   "GET / HTTP/1.0\r\nX-Forwarded-For: 198.51.100.1\r\nX-Forwarded-Proto: http\r\n\r\n");
    assert_span_is(write_head(appends(), "GET / HTTP/1.1\r\nHost:\r\n\r\n"),
                   "GET / HTTP/1.1\r\nHost:\r\nX-Forwarded-For: 198.51.100.1\r\nX-Forwarded-Proto: http\r\n\r\n");
    assert_span_is(write_head(appends(), "GET http://chat.example/ HTTP/1.1\r\n\r\n"),
                   "GET http://chat.example/ HTTP/1.1\r\nX-Forwarded-For: 198.51.100.1\r\n"
                   "X-Forwarded-Proto: http\r\n\r\n");
    assert_span_is(write_head(replaces(false), "GET / HTTP/1.0\r\nX-Forwarded-Host: evil\r\n\r\n"),
                   "GET / HTTP/1.0\r\nX-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: http\r\n\r\n");
}

static void the_request_line_stays_as_it_is(void **state)
{
    (void)state;
    assert_span_is(write_head(replaces(false), "GET http://chat.example:80/x HTTP/1.1\r\nX-Real-IP: x\r\n"
                                               "Host: chat.example:80\r\n\r\n"),
                   "GET http://chat.example:80/x HTTP/1.1\r\nHost: chat.example:80\r\nX-Forwarded-For: 203.0.113.9\r\n"
                   "X-Forwarded-Proto: http\r\nX-Forwarded-Host: chat.example:80\r\n\r\n");
    assert_span_is(write_head(replaces(false), "X-Real-IP /X-Forwarded-For: HTTP/1.1\r\nHost: a\r\n\r\n"),
                   "X-Real-IP /X-Forwarded-For: HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.9\r\n"
                   "X-Forwarded-Proto: http\r\nX-Forwarded-Host: a\r\n\r\n");
    assert_span_is(write_head(replaces(false), "OPTIONS * HTTP/1.1\r\nForwarded: x\r\n\r\n"),
                   "OPTIONS * HTTP/1.1\r\nX-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: http\r\n\r\n");
}

static void the_longest_lines_fit_the_room(void **state)
{
    (void)state;
    struct forward f = appends();
    f.peer = ip("[fff0:fff1:fff2:fff3:fff4:fff5:fff6:fff7]:65535");
    f.proto = SPAN("https");
    assert_span_is(write_head(f, GET "Host: [fff0:fff1:fff2:fff3:fff4:fff5:fff6:fff7]:65535\r\n\r\n"),
                   GET "Host: [fff0:fff1:fff2:fff3:fff4:fff5:fff6:fff7]:65535\r\n"
                       "X-Forwarded-For: fff0:fff1:fff2:fff3:fff4:fff5:fff6:fff7\r\nX-Forwarded-Proto: https\r\n"
                       "X-Forwarded-Host: [fff0:fff1:fff2:fff3:fff4:fff5:fff6:fff7]:65535\r\n\r\n");
}

/* What we write is what another siolb behind us believes. */
static void the_next_balancer_believes_what_this_one_wrote(void **state)
{
    (void)state;
    struct ip_network trust[4];
    size_t trust_count = balancers(trust);
    struct ip us = ip("10.0.0.1");
    struct forward f = appends();
    struct span head = write_head(f, GET "Host: a\r\nX-Forwarded-For: 192.0.2.66\r\n\r\n");
    struct ip client = forward_believe(head, &us, trust, trust_count);
    assert_true(ip_equal(&client, &f.peer));
    f = replaces(true);
    head = write_head(f, GET "Host: a\r\nX-Forwarded-For: 192.0.2.66\r\n\r\n");
    client = forward_believe(head, &us, trust, trust_count);
    assert_true(ip_equal(&client, &f.believed));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_is_believed_who_is_not_trusted),
        cmocka_unit_test(a_trusted_peer_is_believed_about_whom_it_talks_for_hop_by_hop),
        cmocka_unit_test(the_walk_ends_at_what_is_no_address),
        cmocka_unit_test(the_list_may_be_written_in_every_way_that_lists_are),
        cmocka_unit_test(a_request_without_fields_leaves_the_peer),
        cmocka_unit_test(append_adds_its_lines_behind_those_of_the_client),
        cmocka_unit_test(replace_leaves_nothing_of_what_an_untrusted_peer_made_up),
        cmocka_unit_test(replace_keeps_what_a_trusted_peer_says_but_who_the_client_is),
        cmocka_unit_test(a_client_without_an_address_gets_no_line_and_leaves_none),
        cmocka_unit_test(a_request_without_a_host_gets_no_line_of_it),
        cmocka_unit_test(the_request_line_stays_as_it_is),
        cmocka_unit_test(the_longest_lines_fit_the_room),
        cmocka_unit_test(the_next_balancer_believes_what_this_one_wrote),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
