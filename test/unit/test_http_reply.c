#include "../../proxy/core/http_head.h"
#include "../../proxy/core/http_reply.h"
#include "unit.h"

/* The reply, written flush against the unreadable page. */
static struct span write_reply(struct http_reply r)
{
    static char blank[HTTP_REPLY_BYTES_MAX];
    struct span room = edge_copy_span(span_of(blank, sizeof blank));
    size_t n = http_reply_write(&r, (char *)room.ptr);
    assert_true(n <= HTTP_REPLY_BYTES_MAX);
    return span_of(room.ptr, n);
}

static void a_reply_is_what_engine_io_clients_know(void **state)
{
    (void)state;
    assert_span_is(
        write_reply((struct http_reply){.why = REASON_SESSION_GONE}),
        "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nCache-Control: no-store\r\n"
        "Content-Length: 41\r\nConnection: keep-alive\r\n\r\n{\"code\":1,\"message\":\"Session ID unknown\"}");
    assert_span_is(write_reply((struct http_reply){.why = REASON_BAD_HOST, .close = true}),
                   "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nCache-Control: no-store\r\n"
                   "Content-Length: 33\r\nConnection: close\r\n\r\n{\"code\":400,\"message\":\"Bad Host\"}");
    assert_span_is(write_reply((struct http_reply){.why = REASON_NO_WORKER, .retry_after_s = 2}),
                   "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nCache-Control: no-store\r\n"
                   "Retry-After: 2\r\nContent-Length: 44\r\nConnection: keep-alive\r\n\r\n"
                   "{\"code\":503,\"message\":\"No worker available\"}");
    assert_span_is(write_reply((struct http_reply){.why = REASON_TOO_MANY_HANDSHAKES, .retry_after_s = 1}),
                   "HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nCache-Control: no-store\r\n"
                   "Retry-After: 1\r\nContent-Length: 64\r\nConnection: keep-alive\r\n\r\n"
                   "{\"code\":429,\"message\":\"Too many new sessions from your address\"}");
    assert_span_is(write_reply((struct http_reply){.why = REASON_TOO_MANY_CONNECTIONS, .close = true}),
                   "HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nCache-Control: no-store\r\n"
                   "Content-Length: 63\r\nConnection: close\r\n\r\n"
                   "{\"code\":429,\"message\":\"Too many connections from your address\"}");
}

static void retry_after_is_a_number_of_seconds_or_no_line(void **state)
{
    (void)state;
    static const struct {
        uint32_t seconds;
        const char *value; /* NULL: no such line */
    } rows[] = {{0, NULL}, {1, "1"}, {10, "10"}, {4294967295u, "4294967295"}};
    FOR_EACH (row, rows) {
        struct span value, reply = write_reply((struct http_reply){.why = REASON_TOO_MANY_HANDSHAKES,
                                                                   .retry_after_s = rows[row_at].seconds});
        assert_int_equal(http_field_find(reply, SPAN("Retry-After"), &value), rows[row_at].value != NULL);
        if (rows[row_at].value)
            assert_span_is(value, rows[row_at].value);
    }
}

static void a_reply_to_head_has_the_same_head_and_no_body(void **state)
{
    (void)state;
    struct http_reply r = {.why = REASON_NO_WORKER};
    struct span full = write_reply(r);
    r.head_only = true;
    struct span head = write_reply(r);
    assert_true(span_starts_with(full, head));
    assert_span_is(span_skip(full, head.len), "{\"code\":503,\"message\":\"No worker available\"}");
}

static void cors_lines_are_mirrored_and_vary_beside_an_origin(void **state)
{
    (void)state;
    static const struct {
        const char *origin;
        bool credentials;
        const char *allow_origin, *allow_credentials, *vary; /* NULL: no such line */
    } rows[] = {
        {"", true, NULL, NULL, NULL},
        {"*", false, "*", NULL, NULL},
        {"https://app.example", false, "https://app.example", NULL, "Origin"},
        {"https://app.example", true, "https://app.example", "true", "Origin"},
    };
    static const char *const names[] = {"access-control-allow-origin", "access-control-allow-credentials", "vary"};
    FOR_EACH (row, rows) {
        struct span reply = write_reply((struct http_reply){.why = REASON_SESSION_GONE,
                                                            .allow_origin = span_from_str(rows[row_at].origin),
                                                            .allow_credentials = rows[row_at].credentials});
        const char *const expected[] = {rows[row_at].allow_origin, rows[row_at].allow_credentials, rows[row_at].vary};
        FOR_EACH (name, names) {
            struct span value;
            bool found = http_field_find(reply, span_from_str(names[name_at]), &value);
            assert_int_equal(found, expected[name_at] != NULL);
            if (found)
                assert_span_is(value, expected[name_at]);
        }
    }
}

static void an_origin_that_is_too_long_is_left_out(void **state)
{
    (void)state;
    static char origin[257];
    struct span value;
    memset(origin, 'o', sizeof origin);
    struct http_reply r = {.why = REASON_NO_WORKER, .allow_origin = {origin, 256}};
    assert_true(http_field_find(write_reply(r), SPAN("Access-Control-Allow-Origin"), &value));
    r.allow_origin.len = 257;
    assert_false(http_field_find(write_reply(r), SPAN("Access-Control-Allow-Origin"), &value));
}

/* Every reason that has a status, with everything in the reply that makes it long, read by our own parser. */
static void every_reply_fits_and_is_a_valid_response(void **state)
{
    (void)state;
    static char origin[256];
    memset(origin, 'o', sizeof origin);
    for (int why = 0; why < REASONS; why++) {
        int status = reason_http_status((enum reason)why);
        if (status == 0)
            continue;
        struct span reply = write_reply((struct http_reply){.why = (enum reason)why,
                                                            .close = true,
                                                            .retry_after_s = UINT32_MAX,
                                                            .allow_origin = {origin, sizeof origin},
                                                            .allow_credentials = true});
        struct http_head head;
        enum reason broken = REASON_NONE;
        struct span value;
        http_head_init(&head);
        assert_int_equal(http_response_parse(&head, reply, HTTP_GET, 1024, &broken), PARSE_OK);
        assert_int_equal(head.status, status);
        assert_int_equal(head.length, reply.len - head.end);
        assert_true(head.facts & HTTP_SAYS_CLOSE);
        assert_int_equal(http_field_find(reply, SPAN("Allow"), &value), status == 405);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reply_is_what_engine_io_clients_know),
        cmocka_unit_test(retry_after_is_a_number_of_seconds_or_no_line),
        cmocka_unit_test(a_reply_to_head_has_the_same_head_and_no_body),
        cmocka_unit_test(cors_lines_are_mirrored_and_vary_beside_an_origin),
        cmocka_unit_test(an_origin_that_is_too_long_is_left_out),
        cmocka_unit_test(every_reply_fits_and_is_a_valid_response),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
