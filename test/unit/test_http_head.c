#include "../../proxy/core/http_head.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

#define HEAD_BYTES_MAX 16384

enum side { REQUEST, RESPONSE, RESPONSE_TO_HEAD };

struct outcome {
    enum parse verdict;
    enum reason why;
    struct http_head head;
};

static enum parse parse_more(struct outcome *o, enum side side, struct span bytes, uint32_t max)
{
    if (side == REQUEST)
        return http_request_parse(&o->head, bytes, max, &o->why);
    return http_response_parse(&o->head, bytes, side == RESPONSE ? HTTP_GET : HTTP_HEAD, max, &o->why);
}

/* Parse what arrives in pieces that end at `first`, `first + step`, ... and at the end; each piece moves the buffer. */
static struct outcome parse_in_pieces(enum side side, struct span bytes, size_t first, size_t step, uint32_t max)
{
    struct outcome o = {PARSE_MORE, REASON_NONE, {0}};
    http_head_init(&o.head);
    for (size_t got = first; o.verdict == PARSE_MORE; got = got + step < bytes.len ? got + step : bytes.len) {
        o.verdict = parse_more(&o, side, edge_copy_span(span_of(bytes.ptr, got)), max);
        if (got == bytes.len)
            break;
    }
    return o;
}

static void assert_same(const struct outcome *a, const struct outcome *b)
{
    assert_int_equal(a->verdict, b->verdict);
    assert_string_equal(reason_word(a->why), reason_word(b->why));
    if (a->verdict != PARSE_OK)
        return;
    const struct http_head *x = &a->head, *y = &b->head;
    assert_int_equal(x->end, y->end);
    assert_int_equal(x->start, y->start);
    assert_int_equal(x->fields, y->fields);
    assert_int_equal(x->facts, y->facts);
    assert_int_equal(x->framing, y->framing);
    assert_int_equal(x->length, y->length);
    assert_int_equal(x->method, y->method);
    assert_int_equal(x->minor, y->minor);
    assert_int_equal(x->status, y->status);
    assert_int_equal(x->keep_alive_s, y->keep_alive_s);
    assert_memory_equal(&x->method_name, &y->method_name, sizeof x->method_name);
    assert_memory_equal(&x->target, &y->target, sizeof x->target);
    assert_memory_equal(&x->host, &y->host, sizeof x->host);
}

/* Parse whole, byte by byte, and cut in two at each byte; all must say the same. */
static struct outcome parse_every_way(enum side side, struct span bytes)
{
    struct outcome whole = parse_in_pieces(side, bytes, bytes.len, 1, HEAD_BYTES_MAX);
    struct outcome slow = parse_in_pieces(side, bytes, 0, 1, HEAD_BYTES_MAX);
    assert_same(&whole, &slow);
    for (size_t cut = 0; cut < bytes.len; cut++) {
        struct outcome two = parse_in_pieces(side, bytes, cut, bytes.len, HEAD_BYTES_MAX);
        assert_same(&whole, &two);
    }
    return whole;
}

static void assert_verdict(enum side side, struct span bytes, enum reason why)
{
    struct outcome o = parse_every_way(side, bytes);
    enum parse verdict = why == REASON_NONE ? PARSE_OK : PARSE_BAD;
    if (o.verdict != verdict || o.why != why) {
        print_error("verdict %d, reason %s, expected %s, for: %.*s\n", o.verdict, reason_word(o.why), reason_word(why),
                    (int)(bytes.len < 200 ? bytes.len : 200), bytes.ptr);
        fail();
    }
}

static struct outcome good(enum side side, const char *text)
{
    assert_verdict(side, span_from_str(text), REASON_NONE);
    return parse_every_way(side, span_from_str(text));
}

struct verdict_row {
    const char *text;
    size_t len; /* 0: the text is a C string; else it holds NUL bytes */
    enum reason why;
};

#define TEXT(literal) (literal), sizeof(literal) - 1

static void assert_rows(enum side side, const struct verdict_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        assert_verdict(side, span_of(rows[i].text, rows[i].len), rows[i].why);
}

#define ASSERT_ROWS(side, rows) assert_rows((side), (rows), COUNT_OF(rows))

/* Rows of one field value each: the name (with colon) is put before them. */
struct value_row {
    const char *value;
    enum reason why;
};

static void assert_value_rows(enum side side, const char *before, const struct value_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char text[512];
        int n = snprintf(text, sizeof text, "%s%s\r\n\r\n", before, rows[i].value);
        assert_true(n > 0 && (size_t)n < sizeof text);
        assert_verdict(side, span_of(text, (size_t)n), rows[i].why);
    }
}

#define ASSERT_VALUE_ROWS(side, before, rows) assert_value_rows((side), (before), (rows), COUNT_OF(rows))

#define GET                                   "GET / HTTP/1.1\r\n"
#define OK                                    "HTTP/1.1 200 OK\r\n"

/* ---- requests ---- */

static void a_request_head_is_read_whole(void **state)
{
    (void)state;
    static const char text[] = "POST /socket.io/?EIO=4&transport=polling&sid=abc HTTP/1.1\r\n"
                               "hOsT: \t chat.example:8080 \r\n"
                               "Cookie: io=abc\r\n"
                               "Origin: https://app.example\r\n"
                               "CONTENT-LENGTH:5\r\n"
                               "Connection: keep-alive\r\n"
                               "\r\n40abcGET";
    struct outcome o = good(REQUEST, text);
    struct span in = span_from_str(text);
    assert_int_equal(o.head.method, HTTP_POST);
    assert_int_equal(o.head.minor, 1);
    assert_span_is(span_in(in, o.head.method_name), "POST");
    assert_span_is(span_in(in, o.head.target), "/socket.io/?EIO=4&transport=polling&sid=abc");
    assert_span_is(span_in(in, o.head.host), "chat.example:8080");
    assert_int_equal(o.head.framing, HTTP_LENGTH);
    assert_int_equal(o.head.length, 5);
    assert_int_equal(o.head.fields, 5);
    assert_int_equal(o.head.facts, HTTP_HAS_COOKIE | HTTP_HAS_ORIGIN | HTTP_HAS_LENGTH | HTTP_SAYS_KEEP_ALIVE);
    assert_int_equal(o.head.start, 0);
    assert_span_is(span_skip(in, o.head.end), "40abcGET");
}

static void methods_are_told_apart_by_exact_case(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum http_method method;
    } rows[] = {
        {"GET / HTTP/1.1\r\n\r\n", HTTP_GET},
        {"HEAD / HTTP/1.1\r\n\r\n", HTTP_HEAD},
        {"POST / HTTP/1.1\r\n\r\n", HTTP_POST},
        {"OPTIONS / HTTP/1.1\r\n\r\n", HTTP_OPTIONS},
        {"get / HTTP/1.1\r\n\r\n", HTTP_METHOD_OTHER},
        {"GEX / HTTP/1.1\r\n\r\n", HTTP_METHOD_OTHER},
        {"PUT / HTTP/1.1\r\n\r\n", HTTP_METHOD_OTHER},
        {"HEAT / HTTP/1.1\r\n\r\n", HTTP_METHOD_OTHER},
        {"OPTIONZ / HTTP/1.1\r\n\r\n", HTTP_METHOD_OTHER},
        {"PATCH / HTTP/1.1\r\n\r\n", HTTP_METHOD_OTHER},
        {"PRIVATE / HTTP/1.1\r\n\r\n", HTTP_METHOD_OTHER},
        {"PROPFIND / HTTP/1.1\r\n\r\n", HTTP_METHOD_OTHER},
        {"M-SEARCH / HTTP/1.1\r\n\r\n", HTTP_METHOD_OTHER},
        {"!#$%&'*+-.^_`|~09 / HTTP/1.1\r\n\r\n", HTTP_METHOD_OTHER},
    };
    FOR_EACH (row, rows)
        assert_int_equal(good(REQUEST, rows[row_at].text).head.method, rows[row_at].method);
}

static void only_single_spaces_part_the_request_line(void **state)
{
    (void)state;
    static const struct verdict_row rows[] = {
        {TEXT("GET  / HTTP/1.1\r\n\r\n"), REASON_BAD_REQUEST_LINE},
        {TEXT("GET /  HTTP/1.1\r\n\r\n"), REASON_BAD_REQUEST_LINE},
        {TEXT("GET / HTTP/1.1 \r\n\r\n"), REASON_BAD_REQUEST_LINE},
        {TEXT("GET / x HTTP/1.1\r\n\r\n"), REASON_BAD_REQUEST_LINE},
        {TEXT(" GET / HTTP/1.1\r\n\r\n"), REASON_BAD_METHOD},
        {TEXT("GET\t/ HTTP/1.1\r\n\r\n"), REASON_BAD_METHOD},
        {TEXT("GET /\tHTTP/1.1\r\n\r\n"), REASON_HTTP_0_9},
        {TEXT("GET /\t HTTP/1.1\r\n\r\n"), REASON_BAD_TARGET},
        {TEXT("GET /a\tb HTTP/1.1\r\n\r\n"), REASON_BAD_TARGET},
        {TEXT("GET / HTTP/1.1\t\r\n\r\n"), REASON_BAD_REQUEST_LINE},
        {TEXT("GET\r\n\r\n"), REASON_BAD_REQUEST_LINE},
        {TEXT("GET \r\n\r\n"), REASON_BAD_REQUEST_LINE},
        {TEXT("GET / \r\n\r\n"), REASON_BAD_REQUEST_LINE},
        {TEXT("GE(T / HTTP/1.1\r\n\r\n"), REASON_BAD_METHOD},
        {TEXT("GET: / HTTP/1.1\r\n\r\n"), REASON_BAD_METHOD},
        {TEXT("G\xc3\x89T / HTTP/1.1\r\n\r\n"), REASON_BAD_METHOD},
        {TEXT("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nGET / HTTP/1.1\r\n\r\n"), REASON_BAD_REQUEST_LINE},
    };
    ASSERT_ROWS(REQUEST, rows);
}

static void only_http_1_0_and_1_1_are_spoken(void **state)
{
    (void)state;
    static const struct verdict_row rows[] = {
        {TEXT("GET / HTTP/1.0\r\n\r\n"), REASON_NONE},
        {TEXT("GET / HTTP/1.1\r\n\r\n"), REASON_NONE},
        {TEXT("GET / HTTP/1.2\r\n\r\n"), REASON_BAD_VERSION},
        {TEXT("GET / HTTP/0.9\r\n\r\n"), REASON_BAD_VERSION},
        {TEXT("GET / HTTP/2.0\r\n\r\n"), REASON_BAD_VERSION},
        {TEXT("GET / HTTP/2\r\n\r\n"), REASON_BAD_VERSION},
        {TEXT("GET / HTTP/1.10\r\n\r\n"), REASON_BAD_VERSION},
        {TEXT("GET / HTTP/11.1\r\n\r\n"), REASON_BAD_VERSION},
        {TEXT("GET / HTTP/1\r\n\r\n"), REASON_BAD_VERSION},
        {TEXT("GET / http/1.1\r\n\r\n"), REASON_BAD_REQUEST_LINE},
        {TEXT("GET / HTTP/\r\n\r\n"), REASON_BAD_REQUEST_LINE},
        {TEXT("GET / HTTP/1.x\r\n\r\n"), REASON_BAD_REQUEST_LINE},
        {TEXT("GET / HTTP/1.1x\r\n\r\n"), REASON_BAD_REQUEST_LINE},
        {TEXT("GET / HTTP 1.1\r\n\r\n"), REASON_BAD_REQUEST_LINE},
        {TEXT("GET / HTTPS/1.1\r\n\r\n"), REASON_BAD_REQUEST_LINE},
        {TEXT("GET / FOO/1.1\r\n\r\n"), REASON_BAD_REQUEST_LINE},
    };
    ASSERT_ROWS(REQUEST, rows);
    assert_int_equal(good(REQUEST, "GET / HTTP/1.0\r\n\r\n").head.minor, 0);
}

/* What is refused before a line end: the row's bytes alone are enough. */
static void what_cannot_become_a_request_is_refused_at_once(void **state)
{
    (void)state;
    static const struct verdict_row rows[] = {
        {TEXT("\x16\x03\x01\x02"), REASON_BAD_METHOD}, /* TLS hello */
        {TEXT("\x80"), REASON_BAD_METHOD},             /* SSL 2 hello, UTF-8 */
        {TEXT("("), REASON_BAD_METHOD},
        {TEXT(" "), REASON_BAD_METHOD},
        {TEXT("\0"), REASON_BAD_METHOD},
        {TEXT("\n"), REASON_BAD_LINE_END},
        {TEXT("\rG"), REASON_BAD_LINE_END},
        {TEXT("PRI "), REASON_BAD_VERSION},
        {TEXT("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), REASON_BAD_VERSION},
        {TEXT("GET /\r\n"), REASON_HTTP_0_9},
        {TEXT("GET /\0"), REASON_BAD_BYTE},
        {TEXT("GET / HTTP/1.1\n"), REASON_BAD_LINE_END},
        {TEXT("GET / HTTP/1.1\rH"), REASON_BAD_LINE_END},
        {TEXT("GET / HTTP/3.0\r\n"), REASON_BAD_VERSION},
        {TEXT("CONNECT a:443 HTTP/1.1\r\n"), REASON_CONNECT_METHOD},
        {TEXT("GET / HTTP/1.1\r\n "), REASON_NONE}, /* judged when the line is whole */
        {TEXT("GET / HTTP/1.1\r\nContent-Length: x\r\n"), REASON_BAD_CONTENT_LENGTH},
        {TEXT("GET / HTTP/1.1\r\nA: \x7f"), REASON_BAD_BYTE},
    };
    FOR_EACH (row, rows) {
        struct outcome o = parse_every_way(REQUEST, span_of(rows[row_at].text, rows[row_at].len));
        assert_int_equal(o.verdict, rows[row_at].why == REASON_NONE ? PARSE_MORE : PARSE_BAD);
        assert_string_equal(reason_word(o.why), reason_word(rows[row_at].why));
    }
}

static void what_may_become_a_request_is_waited_for(void **state)
{
    (void)state;
    static const char text[] = "\r\n\r\nPRIZE / HTTP/1.1\r\nHost: a\r\n\r\n";
    for (size_t n = 0; n < sizeof text - 1; n++)
        assert_int_equal(parse_in_pieces(REQUEST, span_of(text, n), 0, 1, HEAD_BYTES_MAX).verdict, PARSE_MORE);
    assert_verdict(REQUEST, span_from_str(text), REASON_NONE);
}

static void up_to_two_empty_lines_before_a_request_are_dropped(void **state)
{
    (void)state;
    static const struct verdict_row rows[] = {
        {TEXT("\r\n\r\n\r\n" GET "\r\n"), REASON_BAD_METHOD}, {TEXT("\n" GET "\r\n"), REASON_BAD_LINE_END},
        {TEXT("\r\n\n" GET "\r\n"), REASON_BAD_LINE_END},     {TEXT("\r" GET "\r\n"), REASON_BAD_LINE_END},
        {TEXT("\r\r\n" GET "\r\n"), REASON_BAD_LINE_END},     {TEXT("\r\n " GET "\r\n"), REASON_BAD_METHOD},
    };
    ASSERT_ROWS(REQUEST, rows);
    assert_int_equal(good(REQUEST, GET "\r\n").head.start, 0);
    assert_int_equal(good(REQUEST, "\r\n" GET "\r\n").head.start, 2);
    struct outcome o = good(REQUEST, "\r\n\r\nGET /x HTTP/1.1\r\n\r\n");
    assert_int_equal(o.head.start, 4);
    assert_int_equal(o.head.method_name.at, 4);
    assert_int_equal(o.head.target.at, 8);
    assert_int_equal(o.head.end, 23);
}

/* As conn.c does it: what holds nothing but empty lines is thrown away at once. */
static void empty_lines_count_although_they_were_thrown_away(void **state)
{
    (void)state;
    struct outcome o = {PARSE_MORE, REASON_NONE, {0}};
    http_head_init(&o.head);
    for (int lines = 0; lines < 2; lines++) {
        assert_int_equal(parse_more(&o, REQUEST, SPAN("\r\n"), HEAD_BYTES_MAX), PARSE_MORE);
        http_head_drop_empty_lines(&o.head);
    }
    struct outcome third = o;
    assert_int_equal(parse_more(&third, REQUEST, SPAN("\r\n"), HEAD_BYTES_MAX), PARSE_BAD);
    assert_string_equal(reason_word(third.why), reason_word(REASON_BAD_METHOD));
    assert_int_equal(parse_more(&o, REQUEST, SPAN(GET "\r\n"), HEAD_BYTES_MAX), PARSE_OK);
    assert_int_equal(o.head.start, 0);
}

static void targets_have_the_form_that_their_method_needs(void **state)
{
    (void)state;
    static const struct verdict_row rows[] = {
        {TEXT("GET /?a=b#c HTTP/1.1\r\n\r\n"), REASON_NONE},
        {TEXT("GET //a/b HTTP/1.1\r\n\r\n"), REASON_NONE},
        {TEXT("GET /%00\"<>\\^`{|} HTTP/1.1\r\n\r\n"), REASON_NONE},
        {TEXT("GET /\xc3\xa4\xff\x80 HTTP/1.1\r\n\r\n"), REASON_NONE},
        {TEXT("OPTIONS * HTTP/1.1\r\n\r\n"), REASON_NONE},
        {TEXT("GET * HTTP/1.1\r\n\r\n"), REASON_BAD_TARGET},
        {TEXT("OPTIONS ** HTTP/1.1\r\n\r\n"), REASON_BAD_TARGET},
        {TEXT("OPTIONS *? HTTP/1.1\r\n\r\n"), REASON_BAD_TARGET},
        {TEXT("GET a HTTP/1.1\r\n\r\n"), REASON_BAD_TARGET},
        {TEXT("GET ?a HTTP/1.1\r\n\r\n"), REASON_BAD_TARGET},
        {TEXT("GET \\ HTTP/1.1\r\n\r\n"), REASON_BAD_TARGET},
        {TEXT("GET a.example:443 HTTP/1.1\r\n\r\n"), REASON_BAD_TARGET},
        {TEXT("GET http:/a HTTP/1.1\r\n\r\n"), REASON_BAD_TARGET},
        {TEXT("GET http:// HTTP/1.1\r\n\r\n"), REASON_BAD_TARGET},
        {TEXT("GET http:///a HTTP/1.1\r\n\r\n"), REASON_BAD_TARGET},
        {TEXT("GET http://u@a/ HTTP/1.1\r\n\r\n"), REASON_BAD_TARGET},
        {TEXT("GET http://a\\b/ HTTP/1.1\r\n\r\n"), REASON_BAD_TARGET},
        {TEXT("GET ws://a/ HTTP/1.1\r\n\r\n"), REASON_BAD_TARGET},
        {TEXT("GET ftp://a/ HTTP/1.1\r\n\r\n"), REASON_BAD_TARGET},
        {TEXT("GET http://a HTTP/1.1\r\n\r\n"), REASON_NONE},
        {TEXT("GET http://a/ HTTP/1.1\r\n\r\n"), REASON_NONE},
        {TEXT("GET http://a?b HTTP/1.1\r\n\r\n"), REASON_NONE},
        {TEXT("GET HttpS://[::1]:80/ HTTP/1.1\r\n\r\n"), REASON_NONE},
        {TEXT("CONNECT a:443 HTTP/1.1\r\n\r\n"), REASON_CONNECT_METHOD},
        {TEXT("CONNECT / HTTP/1.1\r\n\r\n"), REASON_CONNECT_METHOD},
    };
    ASSERT_ROWS(REQUEST, rows);
}

static void an_absolute_target_names_the_same_server_as_host(void **state)
{
    (void)state;
    static const struct verdict_row rows[] = {
        {TEXT("GET http://a.b:80/ HTTP/1.1\r\nHost: A.B:80\r\n\r\n"), REASON_NONE},
        {TEXT("GET http://a.b/ HTTP/1.1\r\nHost: a.c\r\n\r\n"), REASON_BAD_HOST},
        {TEXT("GET http://a.b/ HTTP/1.1\r\nHost: a.b:80\r\n\r\n"), REASON_BAD_HOST},
        {TEXT("GET http://a.b:80/ HTTP/1.1\r\nHost: a.b\r\n\r\n"), REASON_BAD_HOST},
        {TEXT("GET http://a.b/ HTTP/1.1\r\nHost:\r\n\r\n"), REASON_BAD_HOST},
        {TEXT("GET http://a.b?x HTTP/1.1\r\nHost: a.b?x\r\n\r\n"), REASON_BAD_HOST},
        {TEXT("GET http://a.b#x HTTP/1.1\r\nHost: a.b\r\n\r\n"), REASON_NONE},
        {TEXT("GET http://a.b HTTP/1.0\r\n\r\n"), REASON_NONE},
        {TEXT("GET //a.b/ HTTP/1.1\r\nHost: c\r\n\r\n"), REASON_NONE},
        {TEXT("OPTIONS * HTTP/1.1\r\nHost: c\r\n\r\n"), REASON_NONE},
    };
    ASSERT_ROWS(REQUEST, rows);
}

static void host_is_one_name_with_an_optional_port(void **state)
{
    (void)state;
    static const struct value_row rows[] = {
        {"", REASON_NONE},
        {" ", REASON_NONE},
        {"a", REASON_NONE},
        {"chat.example.", REASON_NONE},
        {"my_worker-1:3000", REASON_NONE},
        {"127.0.0.1:65535", REASON_NONE},
        {"xn--bcher-kva.example", REASON_NONE},
        {"[::1]", REASON_NONE},
        {"[::]:80", REASON_NONE},
        {"[1:2:3:4:5:6:7:8]", REASON_NONE},
        {"[1::8]", REASON_NONE},
        {"[1:2:3:4:5:6:7::]", REASON_NONE},
        {"[::FFFF:127.0.0.1]:80", REASON_NONE},
        {"[1:2:3:4:5:6:1.2.3.4]", REASON_NONE},
        {"a b", REASON_BAD_HOST},
        {"a\tb", REASON_BAD_HOST},
        {"a,b", REASON_BAD_HOST},
        {"a, b", REASON_BAD_HOST},
        {"a/b", REASON_BAD_HOST},
        {"a@b", REASON_BAD_HOST},
        {"a%41", REASON_BAD_HOST},
        {"a#b", REASON_BAD_HOST},
        {"a?b", REASON_BAD_HOST},
        {"a\\b", REASON_BAD_HOST},
        {"\"a\"", REASON_BAD_HOST},
        {"<a>", REASON_BAD_HOST},
        {"a|b", REASON_BAD_HOST},
        {"a^b", REASON_BAD_HOST},
        {"http://a", REASON_BAD_HOST},
        {"b\xc3\xbc"
         "cher",
         REASON_BAD_HOST},
        {":80", REASON_BAD_HOST},
        {"a:", REASON_BAD_HOST},
        {"a:b", REASON_BAD_HOST},
        {"a:80:81", REASON_BAD_HOST},
        {"a:-1", REASON_BAD_HOST},
        {"a:+1", REASON_BAD_HOST},
        {"a: 80", REASON_BAD_HOST},
        {"a:65536", REASON_BAD_HOST},
        {"a:000080", REASON_BAD_HOST},
        {"::1", REASON_BAD_HOST},
        {"[::1", REASON_BAD_HOST},
        {"::1]", REASON_BAD_HOST},
        {"[]", REASON_BAD_HOST},
        {"[:]", REASON_BAD_HOST},
        {"[:::]", REASON_BAD_HOST},
        {"[1::2::3]", REASON_BAD_HOST},
        {"[1:2:3:4:5:6:7]", REASON_BAD_HOST},
        {"[1:2:3:4:5:6:7:8:9]", REASON_BAD_HOST},
        {"[1:2:3:4:5:6:7:8::]", REASON_BAD_HOST},
        {"[1:2:3:4:5:6:7:]", REASON_BAD_HOST},
        {"[12345::]", REASON_BAD_HOST},
        {"[g::]", REASON_BAD_HOST},
        {"[::1.2.3]", REASON_BAD_HOST},
        {"[::1.2.3.256]", REASON_BAD_HOST},
        {"[::1.2.3.4.5]", REASON_BAD_HOST},
        {"[::1.2.3.4:5]", REASON_BAD_HOST},
        {"[::1..3.4]", REASON_BAD_HOST},
        {"[::0.0.0.0]", REASON_NONE},
        {"[::1.2.3.04]", REASON_BAD_HOST},
        {"[:1:2:3:4:5:6:7]", REASON_BAD_HOST},
        {"[1:2:3:4:5:6:7:8:]", REASON_BAD_HOST},
        {"[1::2:]", REASON_BAD_HOST},
        {"[fe80::1%25eth0]", REASON_BAD_HOST},
        {"[v1.a]", REASON_BAD_HOST},
        {"[::1]a", REASON_BAD_HOST},
        {"[::1]:", REASON_BAD_HOST},
        {"[::1]80", REASON_BAD_HOST},
        {"a[::1]", REASON_BAD_HOST},
        {"a\r\nHost: a", REASON_BAD_HOST},
        {"\r\nhost: a", REASON_BAD_HOST},
    };
    ASSERT_VALUE_ROWS(REQUEST, GET "Host:", rows);
    assert_int_equal(good(REQUEST, GET "Host: \t\r\n\r\n").head.host.len, 0);
    assert_int_equal(good(REQUEST, GET "\r\n").head.host.len, 0);
}

static void lines_end_with_crlf_and_hold_no_control_byte(void **state)
{
    (void)state;
    static const struct verdict_row rows[] = {
        {TEXT(GET "A: b\n\r\n"), REASON_BAD_LINE_END},
        {TEXT(GET "A: b\r\r\n\r\n"), REASON_BAD_LINE_END},
        {TEXT(GET "A: b\rC: d\r\n\r\n"), REASON_BAD_LINE_END},
        {TEXT(GET "A: b\r\n\n"), REASON_BAD_LINE_END},
        {TEXT(GET "A: b\r\n\rx"), REASON_BAD_LINE_END},
        {TEXT(GET "A: b\0c\r\n\r\n"), REASON_BAD_BYTE},
        {TEXT(GET "A\0: b\r\n\r\n"), REASON_BAD_BYTE},
        {TEXT(GET "A: \x01\r\n\r\n"), REASON_BAD_BYTE},
        {TEXT(GET "A: b\x0b\r\n\r\n"), REASON_BAD_BYTE},
        {TEXT(GET "Transfer-Encoding: \x0b"
                  "chunked\r\n\r\n"),
         REASON_BAD_BYTE},
        {TEXT(GET "A: b\x0c\r\n\r\n"), REASON_BAD_BYTE},
        {TEXT(GET "A: \x1f\r\n\r\n"), REASON_BAD_BYTE},
        {TEXT(GET "A: \x7f\r\n\r\n"), REASON_BAD_BYTE},
        {TEXT("GET /\x01 HTTP/1.1\r\n\r\n"), REASON_BAD_BYTE},
        {TEXT("GET /\x7f HTTP/1.1\r\n\r\n"), REASON_BAD_BYTE},
        {TEXT("GET /\0 HTTP/1.1\r\n\r\n"), REASON_BAD_BYTE},
        {TEXT("GET / HTTP/1.1\x0b\r\n\r\n"), REASON_BAD_BYTE},
        {TEXT(GET "A: \t b\tc \t\r\n\r\n"), REASON_NONE},
        {TEXT(GET "A: \x80\xff\xc3\xa4\r\n\r\n"), REASON_NONE},
        {TEXT(GET "A:\r\n\r\n"), REASON_NONE},
    };
    ASSERT_ROWS(REQUEST, rows);
}

/* every value of a byte, at every place of a word of the scan */
static void every_control_byte_is_seen_wherever_it_stands(void **state)
{
    (void)state;
    for (unsigned c = 0; c < 256; c++)
        for (size_t place = 0; place < 20; place++) {
            char text[] = GET "A: 01234567890123456789\r\n\r\n";
            text[sizeof GET - 1 + 3 + place] = (char)c;
            struct outcome o = parse_in_pieces(REQUEST, span_of(text, sizeof text - 1), sizeof text - 1, 1, 1000);
            bool is_control = (c < 0x20 && c != '\t') || c == 0x7f;
            bool is_line_end = c == '\r' || c == '\n';
            assert_int_equal(o.verdict, is_control ? PARSE_BAD : PARSE_OK);
            assert_int_equal(o.why, is_line_end ? REASON_BAD_LINE_END : is_control ? REASON_BAD_BYTE : REASON_NONE);
        }
}

static void field_lines_are_a_token_a_colon_and_a_value(void **state)
{
    (void)state;
    static const struct verdict_row rows[] = {
        {TEXT(GET "A: b\r\n c\r\n\r\n"), REASON_OBS_FOLD},
        {TEXT(GET "A: b\r\n\tc\r\n\r\n"), REASON_OBS_FOLD},
        {TEXT(GET "A: b\r\n \r\n\r\n"), REASON_OBS_FOLD},
        {TEXT(GET "A: b\r\n C: d\r\n\r\n"), REASON_OBS_FOLD},
        {TEXT(GET " A: b\r\n\r\n"), REASON_BAD_FIELD_NAME},
        {TEXT(GET "\tA: b\r\n\r\n"), REASON_BAD_FIELD_NAME},
        {TEXT(GET " \r\n\r\n"), REASON_BAD_FIELD_NAME},
        {TEXT(GET "A : b\r\n\r\n"), REASON_BAD_FIELD_NAME},
        {TEXT(GET "A\t: b\r\n\r\n"), REASON_BAD_FIELD_NAME},
        {TEXT(GET "Transfer-Encoding : chunked\r\n\r\n"), REASON_BAD_FIELD_NAME},
        {TEXT(GET ": b\r\n\r\n"), REASON_BAD_FIELD_NAME},
        {TEXT(GET "A: b\r\n: c\r\n\r\n"), REASON_BAD_FIELD_NAME},
        {TEXT(GET "A\r\n\r\n"), REASON_BAD_FIELD_NAME},
        {TEXT(GET "A b: c\r\n\r\n"), REASON_BAD_FIELD_NAME},
        {TEXT(GET "A(b): c\r\n\r\n"), REASON_BAD_FIELD_NAME},
        {TEXT(GET "A,b: c\r\n\r\n"), REASON_BAD_FIELD_NAME},
        {TEXT(GET "A/b: c\r\n\r\n"), REASON_BAD_FIELD_NAME},
        {TEXT(GET "A;b: c\r\n\r\n"), REASON_BAD_FIELD_NAME},
        {TEXT(GET "A@b: c\r\n\r\n"), REASON_BAD_FIELD_NAME},
        {TEXT(GET "\"A\": c\r\n\r\n"), REASON_BAD_FIELD_NAME},
        {TEXT(GET "A\x80: c\r\n\r\n"), REASON_BAD_FIELD_NAME},
        {TEXT(GET "GET / HTTP/1.1\r\n\r\n"), REASON_BAD_FIELD_NAME},
        {TEXT(GET "A_b.c~!#$%&'*+-^`|09: d\r\n\r\n"), REASON_NONE},
        {TEXT(GET "A::b\r\n\r\n"), REASON_NONE},
    };
    ASSERT_ROWS(REQUEST, rows);
    static const char response[] = OK "A : b\r\n\r\n";
    assert_verdict(RESPONSE, span_from_str(response), REASON_BAD_FIELD_NAME);
}

static const struct value_row bad_codings[] = {
    {"", REASON_BAD_TRANSFER_ENCODING},
    {" ", REASON_BAD_TRANSFER_ENCODING},
    {" identity", REASON_BAD_TRANSFER_ENCODING},
    {" gzip", REASON_BAD_TRANSFER_ENCODING},
    {" gzip, chunked", REASON_BAD_TRANSFER_ENCODING},
    {" chunked, gzip", REASON_BAD_TRANSFER_ENCODING},
    {" chunked, identity", REASON_BAD_TRANSFER_ENCODING},
    {" chunked, chunked", REASON_BAD_TRANSFER_ENCODING},
    {" chunked,", REASON_BAD_TRANSFER_ENCODING},
    {" ,chunked", REASON_BAD_TRANSFER_ENCODING},
    {" chunked;q=1", REASON_BAD_TRANSFER_ENCODING},
    {" \"chunked\"", REASON_BAD_TRANSFER_ENCODING},
    {" 'chunked'", REASON_BAD_TRANSFER_ENCODING},
    {" xchunked", REASON_BAD_TRANSFER_ENCODING},
    {" chunkedx", REASON_BAD_TRANSFER_ENCODING},
    {" chunke", REASON_BAD_TRANSFER_ENCODING},
    {" chun ked", REASON_BAD_TRANSFER_ENCODING},
    {" x chunked", REASON_BAD_TRANSFER_ENCODING},
    {" \xa0"
     "chunked",
     REASON_BAD_TRANSFER_ENCODING},
    {" chunked\xa0", REASON_BAD_TRANSFER_ENCODING},
    {" \xe2\x84\xaa"
     "chunked",
     REASON_BAD_TRANSFER_ENCODING},
    {" chunked\r\nTransfer-Encoding: chunked", REASON_BAD_TRANSFER_ENCODING},
    {" chunked\r\ntransfer-encoding: identity", REASON_BAD_TRANSFER_ENCODING},
    {" chunked\r\nTransfer-Encoding:", REASON_BAD_TRANSFER_ENCODING},
    {" chunked\r\nContent-Length: 3", REASON_LENGTH_AND_CODING},
    {" chunked\r\nContent-Length: 0", REASON_LENGTH_AND_CODING},
    {" chunked", REASON_NONE},
    {"chunked", REASON_NONE},
    {"  CHUnked  ", REASON_NONE},
    {" chunked\t", REASON_BAD_TRANSFER_ENCODING},
    {" chunked \t ", REASON_BAD_TRANSFER_ENCODING},
    {"\tchunked", REASON_BAD_TRANSFER_ENCODING},
};

static const struct value_row bad_lengths[] = {
    {"", REASON_BAD_CONTENT_LENGTH},
    {" ", REASON_BAD_CONTENT_LENGTH},
    {" -1", REASON_BAD_CONTENT_LENGTH},
    {" +1", REASON_BAD_CONTENT_LENGTH},
    {" 0x1", REASON_BAD_CONTENT_LENGTH},
    {" 1e3", REASON_BAD_CONTENT_LENGTH},
    {" 1.0", REASON_BAD_CONTENT_LENGTH},
    {" 1 2", REASON_BAD_CONTENT_LENGTH},
    {" 1,1", REASON_BAD_CONTENT_LENGTH},
    {" 1, 1", REASON_BAD_CONTENT_LENGTH},
    {" 1,", REASON_BAD_CONTENT_LENGTH},
    {" 1;", REASON_BAD_CONTENT_LENGTH},
    {" 1_0", REASON_BAD_CONTENT_LENGTH},
    {" \"1\"", REASON_BAD_CONTENT_LENGTH},
    {" a", REASON_BAD_CONTENT_LENGTH},
    {" \xd9\xa1", REASON_BAD_CONTENT_LENGTH}, /* an Arabic digit */
    {" 9223372036854775808", REASON_BAD_CONTENT_LENGTH},
    {" 18446744073709551616", REASON_BAD_CONTENT_LENGTH},
    {" 18446744073709551619", REASON_BAD_CONTENT_LENGTH},
    {" 99999999999999999999999999", REASON_BAD_CONTENT_LENGTH},
    {" 1\r\nContent-Length: 1", REASON_BAD_CONTENT_LENGTH},
    {" 1\r\ncontent-length: 2", REASON_BAD_CONTENT_LENGTH},
    {" 1\r\nTransfer-Encoding: chunked", REASON_LENGTH_AND_CODING},
    {" 9223372036854775807", REASON_NONE},
    {" 00000000000000000000000001", REASON_NONE},
    {"  7  ", REASON_NONE},
    {" 7\t", REASON_BAD_CONTENT_LENGTH},
    {"\t7", REASON_BAD_CONTENT_LENGTH},
    {" 1\r\nContent_Length: 2", REASON_NONE},
    {" 1\r\nContent-Length2: 2", REASON_NONE},
};

static void a_body_is_framed_in_one_way_or_the_message_is_refused(void **state)
{
    (void)state;
    ASSERT_VALUE_ROWS(REQUEST, "POST / HTTP/1.1\r\nTransfer-Encoding:", bad_codings);
    ASSERT_VALUE_ROWS(REQUEST, "POST / HTTP/1.1\r\nContent-Length:", bad_lengths);
    ASSERT_VALUE_ROWS(RESPONSE, OK "Transfer-Encoding:", bad_codings);
    ASSERT_VALUE_ROWS(RESPONSE, OK "Content-Length:", bad_lengths);
    ASSERT_VALUE_ROWS(RESPONSE_TO_HEAD, OK "Transfer-Encoding:", bad_codings);
    static const struct verdict_row old[] = {
        {TEXT("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), REASON_BAD_TRANSFER_ENCODING},
        {TEXT("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n"),
         REASON_BAD_TRANSFER_ENCODING},
        {TEXT("POST / HTTP/1.0\r\nContent-Length: 1\r\n\r\n"), REASON_NONE},
    };
    ASSERT_ROWS(REQUEST, old);
    static const char response[] = "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_verdict(RESPONSE, span_from_str(response), REASON_BAD_TRANSFER_ENCODING);
}

static void the_framing_of_a_request_follows_its_fields(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum http_framing framing;
        uint64_t length;
    } rows[] = {
        {"POST / HTTP/1.1\r\n\r\n", HTTP_NO_BODY, 0},
        {"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", HTTP_NO_BODY, 0},
        {"POST / HTTP/1.1\r\nContent-Length: 9223372036854775807\r\n\r\n", HTTP_LENGTH, INT64_MAX},
        {"GET / HTTP/1.1\r\nContent-Length: 2\r\n\r\n", HTTP_LENGTH, 2},
        {"HEAD / HTTP/1.1\r\nContent-Length: 2\r\n\r\n", HTTP_LENGTH, 2},
        {"POST / HTTP/1.1\r\ntransfer-encoding: Chunked\r\n\r\n", HTTP_CHUNKED, 0},
    };
    FOR_EACH (row, rows) {
        struct outcome o = good(REQUEST, rows[row_at].text);
        assert_int_equal(o.head.framing, rows[row_at].framing);
        assert_int_equal(o.head.length, rows[row_at].length);
    }
}

static void facts_are_noted_from_lists_and_repeated_fields(void **state)
{
    (void)state;
    static const struct {
        const char *fields;
        unsigned facts;
    } rows[] = {
        {"", 0},
        {"Connection: close\r\n", HTTP_SAYS_CLOSE},
        {"Connection: Close , TE\r\n", HTTP_SAYS_CLOSE},
        {"Connection: TE,\tclose\r\n", HTTP_SAYS_CLOSE},
        {"Connection: ,,close,\r\n", HTTP_SAYS_CLOSE},
        {"Connection: closed\r\n", 0},
        {"Connection: clos\r\n", 0},
        {"Connection: close close\r\n", 0},
        {"Connection:\r\n", 0},
        {"Connections: close\r\n", 0},
        {"Proxy-Connection: x, Close\r\n", HTTP_SAYS_CLOSE},
        {"Proxy-Connection: keep-alive, upgrade\r\n", 0},
        {"Connection: keep-alive\r\nConnection: close\r\n", HTTP_SAYS_KEEP_ALIVE | HTTP_SAYS_CLOSE},
        {"Connection: keep-alive, Upgrade\r\n", HTTP_SAYS_KEEP_ALIVE | HTTP_SAYS_UPGRADE},
        {"Upgrade: websocket\r\n", HTTP_HAS_UPGRADE | HTTP_NAMES_WEBSOCKET},
        {"uPgRaDe:  WebSocket \r\n", HTTP_HAS_UPGRADE | HTTP_NAMES_WEBSOCKET},
        {"Upgrade: h2c\r\n", HTTP_HAS_UPGRADE},
        {"Upgrade:\r\n", HTTP_HAS_UPGRADE},
        {"Upgrade: websocket, h2c\r\n", HTTP_HAS_UPGRADE},
        {"Upgrade: websocket,\r\n", HTTP_HAS_UPGRADE},
        {"Upgrade: websocket/13\r\n", HTTP_HAS_UPGRADE},
        {"Upgrade: websocket\r\nUpgrade: websocket\r\n", HTTP_HAS_UPGRADE},
        {"Upgrade: h2c\r\nUpgrade: websocket\r\n", HTTP_HAS_UPGRADE},
        {"Upgrade: websocket\r\nUpgrade: h2c\r\nUpgrade: websocket\r\n", HTTP_HAS_UPGRADE},
        {"COOKIE: a\r\nSet-Cookie: b\r\n", HTTP_HAS_COOKIE | HTTP_HAS_SET_COOKIE},
        {"Origin: x\r\nContent-Encoding: gzip\r\n", HTTP_HAS_ORIGIN | HTTP_HAS_CODING},
        {"Xost: a\r\nXookie: a\r\nXpgrade: a\r\nXonnection: close\r\nXontent-Length: 2\r\nXrigin: a\r\n", 0},
    };
    FOR_EACH (row, rows) {
        char text[256];
        snprintf(text, sizeof text, GET "%s\r\n", rows[row_at].fields);
        assert_int_equal(good(REQUEST, text).head.facts, rows[row_at].facts);
    }
}

static void persistence_follows_version_and_connection(void **state)
{
    (void)state;
    static const struct {
        enum side side;
        const char *text;
        bool persistent;
    } rows[] = {
        {REQUEST, "GET / HTTP/1.1\r\n\r\n", true},
        {REQUEST, "GET / HTTP/1.1\r\nConnection: keep-alive, close\r\n\r\n", false},
        {REQUEST, "GET / HTTP/1.0\r\n\r\n", false},
        {REQUEST, "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true},
        {REQUEST, "GET / HTTP/1.0\r\nConnection: Keep-Alive, close\r\n\r\n", false},
        {REQUEST, "GET / HTTP/1.0\r\nConnection: Keep-Alive\t\r\n\r\n", false},
        {REQUEST, "GET / HTTP/1.1\r\nConnection: close\t\r\n\r\n", false},
        {RESPONSE, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true},
        {RESPONSE, "HTTP/1.1 200 OK\r\n\r\n", false},
        {RESPONSE, "HTTP/1.1 204 No Content\r\n\r\n", true},
        {RESPONSE, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n", false},
        {RESPONSE, "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", false},
        {RESPONSE, "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n", true},
    };
    FOR_EACH (row, rows) {
        struct outcome o = good(rows[row_at].side, rows[row_at].text);
        assert_int_equal(http_head_is_persistent(&o.head), rows[row_at].persistent);
    }
}

/* A head of `fields` fields "A: b" with a target of `target` bytes. */
static char *long_request(size_t target, size_t fields, struct span *out)
{
    char *text = malloc(64 + target + fields * 6);
    assert_non_null(text);
    size_t n = (size_t)sprintf(text, "GET /");
    memset(text + n, 'a', target - 1);
    n += target - 1;
    n += (size_t)sprintf(text + n, " HTTP/1.1\r\n");
    for (size_t i = 0; i < fields; i++)
        n += (size_t)sprintf(text + n, "A: b\r\n");
    n += (size_t)sprintf(text + n, "\r\n");
    *out = span_of(text, n);
    return text;
}

static void too_much_is_refused_by_what_was_too_much(void **state)
{
    (void)state;
    enum { MAX = 2000, REST = sizeof "GET  HTTP/1.1\r\n\r\n" - 1 };
    static const struct {
        size_t target, fields;
        enum reason why;
    } rows[] = {
        {1, 256, REASON_NONE},
        {1, 257, REASON_HEAD_TOO_LARGE},
        {MAX - REST, 0, REASON_NONE},
        {MAX - REST + 1, 0, REASON_HEAD_TOO_LARGE},
        {MAX - REST - 6, 1, REASON_NONE},
        {MAX - REST - 6, 2, REASON_HEAD_TOO_LARGE},
        {MAX / 2, 200, REASON_HEAD_TOO_LARGE},
        {MAX, 0, REASON_TARGET_TOO_LONG},
        {MAX + 1, 1, REASON_TARGET_TOO_LONG},
        {10 * MAX, 1, REASON_TARGET_TOO_LONG},
    };
    FOR_EACH (row, rows) {
        struct span text;
        char *memory = long_request(rows[row_at].target, rows[row_at].fields, &text);
        struct outcome whole = parse_in_pieces(REQUEST, text, text.len, 1, MAX);
        struct outcome slow = parse_in_pieces(REQUEST, text, 1, 1, MAX);
        assert_same(&whole, &slow);
        assert_string_equal(reason_word(whole.why), reason_word(rows[row_at].why));
        free(memory);
    }
}

/* The caller's buffer may end at the ceiling: the answer there is never "more". */
static void at_the_ceiling_the_verdict_is_final(void **state)
{
    (void)state;
    static const struct {
        enum side side;
        const char *text;
        enum reason why;
    } rows[] = {
        {REQUEST, "GET /aaaaaaaaaaaaaaaaaaaa", REASON_TARGET_TOO_LONG},
        {REQUEST, "GET / HTTP/1.1\r\nA: bbbbb", REASON_HEAD_TOO_LARGE},
        {REQUEST, "\r\n\r\nGET / HTTP/1.1\r\nA: bbbbb", REASON_HEAD_TOO_LARGE},
        {REQUEST, "GEEEEEEEEEEEEEEEEEEEEEEET", REASON_HEAD_TOO_LARGE},
        {REQUEST, "GET / HTTP/1.1\r\nA: bbb\r\n\r", REASON_HEAD_TOO_LARGE},
        {RESPONSE, "HTTP/1.1 200 OKOKOKOKOKOK", REASON_HEAD_TOO_LARGE},
    };
    FOR_EACH (row, rows) {
        struct span text = span_from_str(rows[row_at].text);
        uint32_t max = text.ptr[0] == '\r' ? (uint32_t)text.len - 4 : (uint32_t)text.len;
        struct outcome before = parse_in_pieces(rows[row_at].side, span_of(text.ptr, text.len - 1), 0, 1, max);
        struct outcome at = parse_in_pieces(rows[row_at].side, text, text.len, 1, max);
        assert_int_equal(before.verdict, PARSE_MORE);
        assert_int_equal(at.verdict, PARSE_BAD);
        assert_string_equal(reason_word(at.why), reason_word(rows[row_at].why));
    }
}

static void dropped_empty_lines_take_no_room_of_the_head(void **state)
{
    (void)state;
    struct span text = SPAN("\r\n\r\nGET / HTTP/1.1\r\n\r\nGET ");
    uint32_t head_bytes = (uint32_t)text.len - 8;
    assert_int_equal(parse_in_pieces(REQUEST, text, text.len, 1, head_bytes).verdict, PARSE_OK);
    assert_int_equal(parse_in_pieces(REQUEST, text, 0, 1, head_bytes).verdict, PARSE_OK);
    assert_int_equal(parse_in_pieces(REQUEST, text, text.len, 1, head_bytes - 1).verdict, PARSE_BAD);
}

/* ---- responses ---- */

static void status_lines_may_lack_a_phrase_and_nothing_else(void **state)
{
    (void)state;
    static const struct verdict_row rows[] = {
        {TEXT("HTTP/1.1 200 OK\r\n\r\n"), REASON_NONE},
        {TEXT("HTTP/1.1 200 \r\n\r\n"), REASON_NONE},
        {TEXT("HTTP/1.1 200\r\n\r\n"), REASON_NONE},
        {TEXT("HTTP/1.0 200 OK\r\n\r\n"), REASON_NONE},
        {TEXT("HTTP/1.1 200  two blanks \t and \xc3\xa4\r\n\r\n"), REASON_NONE},
        {TEXT("HTTP/1.1 999 x\r\n\r\n"), REASON_NONE},
        {TEXT("HTTP/1.1 100 x\r\n\r\n"), REASON_NONE},
        {TEXT("HTTP/1.1 099 x\r\n\r\n"), REASON_BAD_RESPONSE},
        {TEXT("HTTP/1.1 000 x\r\n\r\n"), REASON_BAD_RESPONSE},
        {TEXT("HTTP/1.1 20 x\r\n\r\n"), REASON_BAD_RESPONSE},
        {TEXT("HTTP/1.1 2000 x\r\n\r\n"), REASON_BAD_RESPONSE},
        {TEXT("HTTP/1.1 20x x\r\n\r\n"), REASON_BAD_RESPONSE},
        {TEXT("HTTP/1.1 200x\r\n\r\n"), REASON_BAD_RESPONSE},
        {TEXT("HTTP/1.1 200\tOK\r\n\r\n"), REASON_BAD_RESPONSE},
        {TEXT("HTTP/1.1  200 OK\r\n\r\n"), REASON_BAD_RESPONSE},
        {TEXT("HTTP/1.1 -20 OK\r\n\r\n"), REASON_BAD_RESPONSE},
        {TEXT("HTTP/1.1\t200 OK\r\n\r\n"), REASON_BAD_RESPONSE},
        {TEXT("HTTP/1.1 \r\n\r\n"), REASON_BAD_RESPONSE},
        {TEXT("HTTP/1.1\r\n\r\n"), REASON_BAD_RESPONSE},
        {TEXT("HTTP/1.2 200 OK\r\n\r\n"), REASON_BAD_VERSION},
        {TEXT("HTTP/1.11 200 OK\r\n\r\n"), REASON_BAD_RESPONSE},
        {TEXT("HTTP/1.1 200 O\0K\r\n\r\n"), REASON_BAD_BYTE},
        {TEXT("HTTP/1.1 200 OK\n\n"), REASON_BAD_LINE_END},
    };
    ASSERT_ROWS(RESPONSE, rows);
}

static void what_is_no_http_answer_is_refused_by_its_first_bytes(void **state)
{
    (void)state;
    static const struct verdict_row rows[] = {
        {TEXT("S"), REASON_BAD_RESPONSE},          {TEXT("\r\nHTTP/1.1 200 OK"), REASON_BAD_RESPONSE},
        {TEXT("HTTP/2"), REASON_BAD_RESPONSE},     {TEXT("http/1.1 200 OK"), REASON_BAD_RESPONSE},
        {TEXT("ICY 200"), REASON_BAD_RESPONSE},    {TEXT(" HTTP/1.1 200 OK\r\n\r\n"), REASON_BAD_RESPONSE},
        {TEXT("HTTP/1.1\n"), REASON_BAD_LINE_END},
    };
    ASSERT_ROWS(RESPONSE, rows);
}

static void the_framing_of_a_response_follows_request_status_and_fields(void **state)
{
    (void)state;
    static const struct {
        enum side side;
        const char *text;
        enum http_framing framing;
    } rows[] = {
        {RESPONSE, "HTTP/1.1 200 OK\r\n\r\n", HTTP_UNTIL_CLOSE},
        {RESPONSE, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", HTTP_NO_BODY},
        {RESPONSE, "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", HTTP_LENGTH},
        {RESPONSE, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", HTTP_CHUNKED},
        {RESPONSE, "HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n", HTTP_CHUNKED},
        {RESPONSE, "HTTP/1.1 100 Continue\r\n\r\n", HTTP_NO_BODY},
        {RESPONSE, "HTTP/1.1 101 Switching\r\nTransfer-Encoding: chunked\r\n\r\n", HTTP_NO_BODY},
        {RESPONSE, "HTTP/1.1 101 Switching\r\nContent-Length: 7\r\n\r\n", HTTP_NO_BODY},
        {RESPONSE, "HTTP/1.1 103 Early\r\nContent-Length: 0\r\n\r\n", HTTP_NO_BODY},
        {RESPONSE, "HTTP/1.1 199 x\r\n\r\n", HTTP_NO_BODY},
        {RESPONSE, "HTTP/1.1 204 None\r\nContent-Length: 7\r\n\r\n", HTTP_NO_BODY},
        {RESPONSE, "HTTP/1.1 204 None\r\nTransfer-Encoding: chunked\r\n\r\n", HTTP_NO_BODY},
        {RESPONSE, "HTTP/1.1 205 Reset\r\n\r\n", HTTP_UNTIL_CLOSE},
        {RESPONSE, "HTTP/1.1 304 Same\r\nContent-Length: 7\r\n\r\n", HTTP_NO_BODY},
        {RESPONSE_TO_HEAD, "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", HTTP_NO_BODY},
        {RESPONSE_TO_HEAD, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", HTTP_NO_BODY},
        {RESPONSE_TO_HEAD, "HTTP/1.1 500 No\r\n\r\n", HTTP_NO_BODY},
    };
    FOR_EACH (row, rows)
        assert_int_equal(good(rows[row_at].side, rows[row_at].text).head.framing, rows[row_at].framing);
}

static void a_1xx_that_tells_of_a_body_is_refused(void **state)
{
    (void)state;
    static const struct verdict_row rows[] = {
        {TEXT("HTTP/1.1 100 Continue\r\nContent-Length: 1\r\n\r\n"), REASON_BAD_RESPONSE},
        {TEXT("HTTP/1.1 103 Early\r\nConnection: close\r\nContent-Length: 7\r\n\r\n"), REASON_BAD_RESPONSE},
        {TEXT("HTTP/1.1 103 Early\r\nTransfer-Encoding: chunked\r\n\r\n"), REASON_BAD_RESPONSE},
        {TEXT("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"), REASON_NONE},
    };
    ASSERT_ROWS(RESPONSE, rows);
    ASSERT_ROWS(RESPONSE_TO_HEAD, rows);
}

static void a_node_handshake_response_is_read_whole(void **state)
{
    (void)state;
    static const char text[] = "HTTP/1.1 200 OK\r\n"
                               "Access-Control-Allow-Origin: https://app.example\r\n"
                               "Content-Type: text/plain; charset=UTF-8\r\n"
                               "Content-Length: 118\r\n"
                               "cache-control: no-store\r\n"
                               "Set-Cookie: io=abc; Path=/\r\n"
                               "Content-Encoding: gzip\r\n"
                               "Connection: keep-alive\r\n"
                               "Keep-Alive: timeout=5\r\n\r\n0{";
    struct outcome o = good(RESPONSE, text);
    assert_int_equal(o.head.status, 200);
    assert_int_equal(o.head.length, 118);
    assert_int_equal(o.head.keep_alive_s, 5);
    assert_int_equal(o.head.facts, HTTP_GRANTS_ORIGIN | HTTP_HAS_LENGTH | HTTP_HAS_SET_COOKIE | HTTP_HAS_CODING |
                                       HTTP_SAYS_KEEP_ALIVE);
    assert_span_is(span_skip(span_from_str(text), o.head.end), "0{");
}

static void a_response_names_websocket_anywhere_in_upgrade(void **state)
{
    (void)state;
    static const struct {
        const char *fields;
        bool names;
    } rows[] = {
        {"Upgrade: websocket\r\n", true},   {"upgrade: h2c, WebSocket\r\n", true},
        {"Upgrade: h2c\r\n", false},        {"Upgrade: h2c\r\nUpgrade: websocket\r\n", true},
        {"Upgrade: websockets\r\n", false},
    };
    FOR_EACH (row, rows) {
        char text[128];
        snprintf(text, sizeof text, "HTTP/1.1 101 Switching Protocols\r\n%s\r\n", rows[row_at].fields);
        struct outcome o = good(RESPONSE, text);
        assert_int_equal(!!(o.head.facts & HTTP_NAMES_WEBSOCKET), rows[row_at].names);
        assert_true(o.head.facts & HTTP_HAS_UPGRADE);
    }
}

static void keep_alive_seconds_are_read_where_they_are_clear(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        int seconds;
    } rows[] = {
        {"timeout=5", 5},
        {"Timeout=72, max=100", 72},
        {"max=100, timeout=7", 7},
        {"timeout=99999", 65535},
        {"timeout=65535", 65535},
        {"timeout=0", 0},
        {"timeout=", 0},
        {"timeout=-1", 0},
        {"timeout=5s", 0},
        {"timeouts=5", 0},
        {"", 0},
        {"timeout", 0},
        {"xtimeout=5", 0},
    };
    FOR_EACH (row, rows) {
        char text[128];
        snprintf(text, sizeof text, OK "Keep-Alive: %s\r\n\r\n", rows[row_at].value);
        assert_int_equal(good(RESPONSE, text).head.keep_alive_s, rows[row_at].seconds);
    }
}

/* ---- a parsed head ---- */

#define WALKED                                                                                                         \
    "GET / HTTP/1.1\r\nHost:a\r\nX-Empty:\r\nCookie: a=1; io=\"x%20y\" ;b\r\nx-two:  b: c \t\r\n"                      \
    "Cookie: io=second; A=3; =nothing; \"=q; e=\"; q=a=b\r\n\r\n"

static void fields_are_walked_in_order_without_blanks(void **state)
{
    (void)state;
    static const char *const expected[][2] = {
        {"Host", "a"},
        {"X-Empty", ""},
        {"Cookie", "a=1; io=\"x%20y\" ;b"},
        {"x-two", "b: c"},
        {"Cookie", "io=second; A=3; =nothing; \"=q; e=\"; q=a=b"},
    };
    struct span head = edge_copy(WALKED), name, value;
    uint32_t at = 0;
    FOR_EACH (row, expected) {
        assert_true(http_field_next(head, &at, &name, &value));
        assert_span_is(name, expected[row_at][0]);
        assert_span_is(value, expected[row_at][1]);
    }
    assert_false(http_field_next(head, &at, &name, &value));
    at = 0;
    assert_false(http_field_next(edge_copy("GET / HTTP/1.1\r\n\r\n"), &at, &name, &value));
}

static void fields_are_found_in_any_case(void **state)
{
    (void)state;
    struct span head = edge_copy(WALKED), value;
    assert_true(http_field_find(head, SPAN("X-TWO"), &value));
    assert_span_is(value, "b: c");
    assert_true(http_field_find(head, SPAN("x-empty"), &value));
    assert_span_is(value, "");
    assert_false(http_field_find(head, SPAN("x-tw"), &value));
    assert_int_equal(value.len, 0);
}

static void a_field_that_comes_twice_is_not_the_only_one(void **state)
{
    (void)state;
    struct span head = edge_copy(WALKED), value;
    assert_true(http_field_only(head, SPAN("X-TWO"), &value));
    assert_span_is(value, "b: c");
    assert_true(http_field_only(head, SPAN("x-empty"), &value));
    assert_span_is(value, "");
    assert_false(http_field_only(head, SPAN("cookie"), &value));
    assert_int_equal(value.len, 0);
    assert_false(http_field_only(head, SPAN("x-tw"), &value));
    assert_int_equal(value.len, 0);
}

static void the_first_cookie_of_a_name_counts(void **state)
{
    (void)state;
    static const struct {
        const char *name, *value;
    } rows[] = {
        {"a", "1"}, {"io", "x%20y"}, {"A", "3"}, {"q", "a=b"}, {"e", "\""}, {"b", NULL}, {"o", NULL}, {"second", NULL},
    };
    struct span head = edge_copy(WALKED), value;
    FOR_EACH (row, rows) {
        bool found = http_cookie_find(head, span_from_str(rows[row_at].name), &value);
        assert_int_equal(found, rows[row_at].value != NULL);
        assert_span_is(value, found ? rows[row_at].value : "");
    }
}

static void the_last_set_cookie_of_a_name_counts(void **state)
{
    (void)state;
    struct span value, head = edge_copy(OK "Set-Cookie: io=first; Path=/\r\nSet-Cookie: other=1; io=no\r\n"
                                           "set-cookie:io = \"last\"; HttpOnly\r\nSet-Cookie: Io=no\r\n\r\n");
    assert_true(http_set_cookie_find(head, SPAN("io"), &value));
    assert_span_is(value, "last");
    assert_false(http_set_cookie_find(head, SPAN("Path"), &value));
    assert_int_equal(value.len, 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_head_is_read_whole),
        cmocka_unit_test(methods_are_told_apart_by_exact_case),
        cmocka_unit_test(only_single_spaces_part_the_request_line),
        cmocka_unit_test(only_http_1_0_and_1_1_are_spoken),
        cmocka_unit_test(what_cannot_become_a_request_is_refused_at_once),
        cmocka_unit_test(what_may_become_a_request_is_waited_for),
        cmocka_unit_test(up_to_two_empty_lines_before_a_request_are_dropped),
        cmocka_unit_test(empty_lines_count_although_they_were_thrown_away),
        cmocka_unit_test(targets_have_the_form_that_their_method_needs),
        cmocka_unit_test(an_absolute_target_names_the_same_server_as_host),
        cmocka_unit_test(host_is_one_name_with_an_optional_port),
        cmocka_unit_test(lines_end_with_crlf_and_hold_no_control_byte),
        cmocka_unit_test(every_control_byte_is_seen_wherever_it_stands),
        cmocka_unit_test(field_lines_are_a_token_a_colon_and_a_value),
        cmocka_unit_test(a_body_is_framed_in_one_way_or_the_message_is_refused),
        cmocka_unit_test(the_framing_of_a_request_follows_its_fields),
        cmocka_unit_test(facts_are_noted_from_lists_and_repeated_fields),
        cmocka_unit_test(persistence_follows_version_and_connection),
        cmocka_unit_test(too_much_is_refused_by_what_was_too_much),
        cmocka_unit_test(at_the_ceiling_the_verdict_is_final),
        cmocka_unit_test(dropped_empty_lines_take_no_room_of_the_head),
        cmocka_unit_test(status_lines_may_lack_a_phrase_and_nothing_else),
        cmocka_unit_test(what_is_no_http_answer_is_refused_by_its_first_bytes),
        cmocka_unit_test(the_framing_of_a_response_follows_request_status_and_fields),
        cmocka_unit_test(a_1xx_that_tells_of_a_body_is_refused),
        cmocka_unit_test(a_node_handshake_response_is_read_whole),
        cmocka_unit_test(a_response_names_websocket_anywhere_in_upgrade),
        cmocka_unit_test(keep_alive_seconds_are_read_where_they_are_clear),
        cmocka_unit_test(fields_are_walked_in_order_without_blanks),
        cmocka_unit_test(fields_are_found_in_any_case),
        cmocka_unit_test(a_field_that_comes_twice_is_not_the_only_one),
        cmocka_unit_test(the_first_cookie_of_a_name_counts),
        cmocka_unit_test(the_last_set_cookie_of_a_name_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
