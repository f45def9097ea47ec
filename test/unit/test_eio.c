/*
 * What Engine.IO reads in a request target, a cookie and the body of a 400 (PROTOCOL 11, 13, 14).
 */
#include "../../proxy/core/eio.h"
#include "unit.h"

#include <stdio.h>

static const struct span one_path[] = {{"/socket.io/", 11}};

static struct eio_target parse(const char *target, enum eio_repeated repeated)
{
    struct eio_target t;
    eio_target_parse(edge_copy(target), one_path, COUNT_OF(one_path), repeated, &t);
    return t;
}

static void sid_comes_from_the_query_and_nowhere_else(void **state)
{
    static const struct {
        const char *target, *sid;
    } rows[] = {
        {"/socket.io/?EIO=4&transport=polling&sid=abc", "abc"},
        {"/socket.io/?sid=abc", "abc"},
        {"/socket.io/?sid=abc&EIO=4", "abc"},
        {"/socket.io/any/thing?sid=abc", "abc"},
        {"/socket.io/?&&sid=abc&&", "abc"},
        {"/socket.io/?sid=a=b", "a=b"},
        {"/socket.io/?sid=a;b", "a;b"},
        {"/socket.io/?sid=a?b", "a?b"},
        {"/socket.io/?sid=a/b", "a/b"},
        {"/socket.io/?sid=abc#sid=other", "abc"},
        {"/socket.io/?sid=abc#", "abc"},
        {"/socket.io/?EIO=4&transport=polling&oldsid=abc", ""},
        {"/socket.io/?connect.sid=abc", ""},
        {"/socket.io/?sid.=abc", ""},
        {"/socket.io/?sids=abc", ""},
        {"/socket.io/?si=abc", ""},
        {"/socket.io/?SID=abc", ""},
        {"/socket.io/? sid=abc", ""},
        {"/socket.io/?+sid=abc", ""},
        {"/socket.io/?x=1;sid=abc", ""},
        {"/socket.io/?x?sid=abc", ""},
        {"/socket.io/?=sid", ""},
        {"/socket.io/?sid", ""},
        {"/socket.io/?sid=", ""},
        {"/socket.io/?", ""},
        {"/socket.io/", ""},
        {"/socket.io/sid=abc?EIO=4&transport=polling", ""},
        {"/socket.io/&sid=abc", ""},
        {"/socket.io/#?sid=abc", ""},
        {"/socket.io/#/?sid=abc", ""},
        {"/socket.io/%3Fsid=abc", ""},
    };
    (void)state;
    FOR_EACH (row, rows) {
        struct eio_target t = parse(rows[row_at].target, EIO_LAST_COUNTS);
        assert_span_is(eio_sid(&t), rows[row_at].sid);
        assert_int_equal(t.has_sid, rows[row_at].sid[0] != '\0');
        assert_false(t.sid_is_too_long);
        assert_int_equal(t.path, 0);
    }
}

static void names_and_values_are_decoded_as_the_worker_does(void **state)
{
    static const struct {
        const char *target, *sid;
    } rows[] = {
        {"/socket.io/?sid=%61%62%63", "abc"},   {"/socket.io/?%73%69%64=abc", "abc"},
        {"/socket.io/?s%69d=abc", "abc"},       {"/socket.io/?sid=a+b", "a b"},
        {"/socket.io/?sid=a%2Bb", "a+b"},       {"/socket.io/?sid=a%2bb", "a+b"},
        {"/socket.io/?sid=a%20b", "a b"},       {"/socket.io/?sid=a%26b%3dc%23d", "a&b=c#d"},
        {"/socket.io/?sid=%2561", "%61"},       {"/socket.io/?sid=%", "%"},
        {"/socket.io/?sid=%6", "%6"},           {"/socket.io/?sid=%&x=61", "%"},
        {"/socket.io/?sid=%zz", "%zz"},         {"/socket.io/?sid=%6z", "%6z"},
        {"/socket.io/?sid=%z6", "%z6"},         {"/socket.io/?sid=%%61", "%a"},
        {"/socket.io/?sid=%c3%A9", "\xc3\xa9"}, {"/socket.io/?sid=\xc3\xa9", "\xc3\xa9"},
        {"/socket.io/?sid=%ff", "\xff"},        {"/socket.io/?sid%3Dabc", ""},
        {"/socket.io/?x%26sid=abc", ""},        {"/socket.io/?sid%20=abc", ""},
        {"/socket.io/?sid%00=abc", ""},
    };
    (void)state;
    FOR_EACH (row, rows) {
        struct eio_target t = parse(rows[row_at].target, EIO_LAST_COUNTS);
        assert_span_is(eio_sid(&t), rows[row_at].sid);
    }
    struct eio_target t = parse("/socket.io/?sid=a%00b", EIO_LAST_COUNTS);
    assert_span_equal(eio_sid(&t), SPAN("a\0b"));
}

static void of_repeated_parameters_the_configured_one_counts(void **state)
{
    static const struct {
        const char *query, *last, *first;
    } rows[] = {
        {"sid=a&sid=b", "b", "a"},
        {"sid=a&sid=b&sid=c", "c", "a"},
        {"sid=a&x=1&%73id=b", "b", "a"},
        {"sid=a&sid=", "", "a"},
        {"sid=a&sid", "", "a"},
        {"sid=&sid=a", "a", "a"},
        {"sid=&sid=a&sid=&sid=b", "b", "a"},
        {"sid=&sid=", "", ""},
        {"sid=long-one&sid=x", "x", "long-one"},
    };
    (void)state;
    FOR_EACH (row, rows) {
        char target[128];
        snprintf(target, sizeof(target), "/socket.io/?%s", rows[row_at].query);
        struct eio_target last = parse(target, EIO_LAST_COUNTS), first = parse(target, EIO_FIRST_COUNTS);
        assert_span_is(eio_sid(&last), rows[row_at].last);
        assert_int_equal(last.has_sid, rows[row_at].last[0] != '\0');
        assert_span_is(eio_sid(&first), rows[row_at].first);
        assert_int_equal(first.has_sid, rows[row_at].first[0] != '\0');
    }
}

static void transport_and_eio_are_told(void **state)
{
    static const struct {
        const char *query;
        enum eio_transport last, first;
        bool has_eio;
    } rows[] = {
        {"EIO=4&transport=polling", EIO_POLLING, EIO_POLLING, true},
        {"EIO=4&transport=websocket", EIO_WEBSOCKET, EIO_WEBSOCKET, true},
        {"EIO=3&transport=poll%69ng", EIO_POLLING, EIO_POLLING, true},
        {"transport=webtransport", EIO_TRANSPORT_OTHER, EIO_TRANSPORT_OTHER, false},
        {"transport=Polling", EIO_TRANSPORT_OTHER, EIO_TRANSPORT_OTHER, false},
        {"transport=pollin", EIO_TRANSPORT_OTHER, EIO_TRANSPORT_OTHER, false},
        {"transport=pollingx", EIO_TRANSPORT_OTHER, EIO_TRANSPORT_OTHER, false},
        {"Transport=polling", EIO_TRANSPORT_NONE, EIO_TRANSPORT_NONE, false},
        {"transport=", EIO_TRANSPORT_NONE, EIO_TRANSPORT_NONE, false},
        {"transport", EIO_TRANSPORT_NONE, EIO_TRANSPORT_NONE, false},
        {"eio=4", EIO_TRANSPORT_NONE, EIO_TRANSPORT_NONE, false},
        {"EIO", EIO_TRANSPORT_NONE, EIO_TRANSPORT_NONE, true},
        {"%45IO=", EIO_TRANSPORT_NONE, EIO_TRANSPORT_NONE, true},
        {"transport=polling&transport=websocket", EIO_WEBSOCKET, EIO_POLLING, false},
        {"transport=nonsense&transport=websocket", EIO_WEBSOCKET, EIO_TRANSPORT_OTHER, false},
        {"transport=polling&transport=", EIO_TRANSPORT_NONE, EIO_POLLING, false},
        {"transport=&transport=polling", EIO_POLLING, EIO_POLLING, false},
        {"", EIO_TRANSPORT_NONE, EIO_TRANSPORT_NONE, false},
    };
    (void)state;
    FOR_EACH (row, rows) {
        char target[128];
        snprintf(target, sizeof(target), "/socket.io/?%s", rows[row_at].query);
        struct eio_target last = parse(target, EIO_LAST_COUNTS), first = parse(target, EIO_FIRST_COUNTS);
        assert_int_equal(last.transport, rows[row_at].last);
        assert_int_equal(first.transport, rows[row_at].first);
        assert_int_equal(last.has_eio, rows[row_at].has_eio);
        assert_int_equal(first.has_eio, rows[row_at].has_eio);
    }
}

static void the_longest_configured_path_that_fits_is_taken(void **state)
{
    static const struct span paths[] = {
        {"/socket.io", 10}, {"/socket.io/", 11}, {"/chat/live/", 11}, {"/chat/", 6}, {"/chat/", 6}};
    static const struct {
        const char *target;
        int path;
    } rows[] = {
        {"/socket.io/", 1},
        {"/socket.io/?sid=a", 1},
        {"/socket.io", 0},
        {"/socket.io?sid=a", 0},
        {"/socket.iofoo", 0},
        {"/chat/", 3},
        {"/chat/live", 3},
        {"/chat/live/x", 2},
        {"/chat", EIO_NO_PATH},
        {"/Chat/", EIO_NO_PATH},
        {"/socket.i", EIO_NO_PATH},
        {"//socket.io/", EIO_NO_PATH},
        {"/%73ocket.io/", EIO_NO_PATH},
        {"/x/socket.io/", EIO_NO_PATH},
        {"/x?/socket.io/", EIO_NO_PATH},
        {"http://host/socket.io/", EIO_NO_PATH},
        {"socket.io/", EIO_NO_PATH},
        {"*", EIO_NO_PATH},
        {"", EIO_NO_PATH},
    };
    (void)state;
    FOR_EACH (row, rows) {
        struct eio_target t;
        eio_target_parse(edge_copy(rows[row_at].target), paths, COUNT_OF(paths), EIO_LAST_COUNTS, &t);
        assert_int_equal(t.path, rows[row_at].path);
    }
    struct eio_target t;
    eio_target_parse(edge_copy("/socket.io/?sid=a"), NULL, 0, EIO_LAST_COUNTS, &t);
    assert_int_equal(t.path, EIO_NO_PATH);
}

static void a_sid_counts_only_under_a_path(void **state)
{
    static const char *const targets[] = {
        "/other/?EIO=4&transport=polling&sid=abc",
        "http://host/socket.io/?EIO=4&transport=polling&sid=abc",
        "//socket.io/?EIO=4&transport=polling&sid=abc",
    };
    (void)state;
    FOR_EACH (row, targets) {
        struct eio_target t = parse(targets[row_at], EIO_LAST_COUNTS);
        assert_int_equal(t.path, EIO_NO_PATH);
        assert_false(t.has_sid);
        assert_int_equal(t.sid_len, 0);
        assert_int_equal(t.transport, EIO_POLLING);
        assert_true(t.has_eio);
    }
}

static void a_sid_over_256_bytes_decoded_is_too_long(void **state)
{
    static const struct {
        const char *byte;
        size_t count, sid_len;
        bool is_too_long;
    } rows[] = {
        {"x", 255, 255, false},   {"x", 256, 256, false},  {"x", 257, 256, true},
        {"%78", 256, 256, false}, {"%78", 257, 256, true},
    };
    (void)state;
    FOR_EACH (row, rows) {
        char target[1024] = "/socket.io/?sid=", sid[SID_BYTES_MAX];
        for (size_t i = 0; i < rows[row_at].count; i++)
            strcat(target, rows[row_at].byte);
        memset(sid, 'x', sizeof(sid));
        struct eio_target t = parse(target, EIO_LAST_COUNTS);
        assert_span_equal(eio_sid(&t), span_of(sid, rows[row_at].sid_len));
        assert_true(t.has_sid);
        assert_int_equal(t.sid_is_too_long, rows[row_at].is_too_long);

        strcat(target, "&sid=short");
        t = parse(target, EIO_LAST_COUNTS);
        assert_span_is(eio_sid(&t), "short");
        assert_false(t.sid_is_too_long);
        t = parse(target, EIO_FIRST_COUNTS);
        assert_int_equal(t.sid_is_too_long, rows[row_at].is_too_long);
    }
}

static void a_target_cut_anywhere_reads_no_byte_too_far(void **state)
{
    static const char target[] = "/socket.io/?EIO=4&t%72ansport=po%6Cling&s%69d=%61b+c%2&sid=%#x?y";
    (void)state;
    for (size_t n = 0; n < sizeof(target); n++) {
        struct eio_target t;
        struct span path;
        struct span cut = edge_copy_span(span_of(target, n));
        eio_target_parse(cut, one_path, COUNT_OF(one_path), EIO_LAST_COUNTS, &t);
        assert_int_equal(t.path, n >= one_path[0].len ? 0 : EIO_NO_PATH);
        assert_int_equal(t.has_sid, t.sid_len > 0);
        eio_looks_misplaced(&t, cut, &path);
    }
}

static void engine_io_on_a_foreign_path_is_noticed(void **state)
{
    static const struct {
        const char *target, *path; /* NULL: nothing to notice */
    } rows[] = {
        {"/ws/?EIO=4&transport=polling", "/ws/"},
        {"/?transport=websocket&EIO=3&sid=x", "/"},
        {"/ws?EIO=4&transport=polling?x", "/ws"},
        {"/ws/?EIO=4&transport=", NULL},
        {"/ws/?transport=polling", NULL},
        {"/ws/?EIO=4", NULL},
        {"/ws/", NULL},
        {"", NULL},
        {"/socket.io/?EIO=4&transport=polling", NULL},
        {"http://host/ws/?EIO=4&transport=polling", NULL},
    };
    (void)state;
    FOR_EACH (row, rows) {
        struct span target = edge_copy(rows[row_at].target), path;
        struct eio_target t;
        eio_target_parse(target, one_path, COUNT_OF(one_path), EIO_LAST_COUNTS, &t);
        assert_int_equal(eio_looks_misplaced(&t, target, &path), rows[row_at].path != NULL);
        if (rows[row_at].path)
            assert_span_is(path, rows[row_at].path);
    }
}

static void a_shown_sid_tells_six_characters_and_a_third_at_most(void **state)
{
    static const struct {
        const char *sid, *shown;
    } rows[] = {
        {"aB3dE5gH7jK9mN1pAAAB", "aB3dE5..."},
        {"aB3dE5gH7jK9mN1pAA", "aB3dE5..."},
        {"aB3dE5gH7jK9mN1pA", "aB3dE..."},
        {"abcdef", "ab..."},
        {"abc", "a..."},
        {"ab", "..."},
        {"", "..."},
        {"_-\"\n\xc3 xxxxxxxxxxxx", "_-????..."},
    };
    (void)state;
    FOR_EACH (row, rows) {
        char shown[SID_SHOWN_BYTES];
        eio_sid_shown(edge_copy(rows[row_at].sid), shown);
        assert_string_equal(shown, rows[row_at].shown);
    }
}

static void a_cookie_value_is_decoded_but_its_plus_is_a_plus(void **state)
{
    static const struct {
        const char *value, *decoded;
    } rows[] = {
        {"aB3dE5gH7jK9mN1pAAAB", "aB3dE5gH7jK9mN1pAAAB"},
        {"a%2Bb", "a+b"},
        {"a+b", "a+b"},
        {"%C3%A9%", "\xc3\xa9%"},
        {"a%2", "a%2"},
        {"%2525", "%25"},
        {"", ""},
    };
    (void)state;
    FOR_EACH (row, rows) {
        char out[32];
        size_t len;
        assert_true(eio_cookie_decode(edge_copy(rows[row_at].value), out, sizeof(out), &len));
        assert_span_is(span_of(out, len), rows[row_at].decoded);
    }
    char out[4];
    size_t len;
    assert_true(eio_cookie_decode(edge_copy("ab%63d"), out, sizeof(out), &len));
    assert_int_equal(len, 4);
    assert_false(eio_cookie_decode(edge_copy("abcde"), out, sizeof(out), &len));
}

static void only_a_json_object_with_code_1_disowns_a_sid(void **state)
{
    static const struct {
        const char *body;
        bool is_unknown;
    } rows[] = {
        {"{\"code\":1,\"message\":\"Session ID unknown\"}", true},
        {"{\"message\":\"Session ID unknown\",\"code\":1}", true},
        {" {\r\n\t\"code\" : 1 } \n", true},
        {"{\"c\\u006fde\":1}", true},
        {"{\"code\":2,\"code\":1}", true},
        {"{\"x\":{\"code\":2},\"y\":[[],{}],\"code\":1}", true},
        {"{\"code\":1,\"code\":2}", false},
        {"{\"code\":0,\"message\":\"Transport unknown\"}", false},
        {"{\"code\":10}", false},
        {"{\"code\":-1}", false},
        {"{\"code\":1.0}", false},
        {"{\"code\":1e0}", false},
        {"{\"code\":01}", false},
        {"{\"code\":\"1\"}", false},
        {"{\"code\":true}", false},
        {"{\"code\":[1]}", false},
        {"{\"Code\":1}", false},
        {"{\"x\":{\"code\":1}}", false},
        {"[{\"code\":1}]", false},
        {"{\"message\":\"\\\"code\\\":1\"}", false},
        {"{\"code\":1}x", false},
        {"{\"code\":1}{\"code\":1}", false},
        {"{\"code\":1,}", false},
        {"x{\"code\":1}", false},
        {"\"Invalid session aB3d\"", false},
        {"Session ID unknown", false},
        {"1", false},
        {"{}", false},
        {"", false},
    };
    (void)state;
    FOR_EACH (row, rows) {
        assert_int_equal(eio_body_is_unknown_sid(edge_copy(rows[row_at].body)), rows[row_at].is_unknown);
    }
    static const char body[] = "{\"code\":1,\"message\":\"Session \\u0049D unknown\"}";
    for (size_t n = 0; n < sizeof(body) - 1; n++)
        assert_false(eio_body_is_unknown_sid(edge_copy_span(span_of(body, n))));
    assert_true(eio_body_is_unknown_sid(edge_copy(body)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sid_comes_from_the_query_and_nowhere_else),
        cmocka_unit_test(names_and_values_are_decoded_as_the_worker_does),
        cmocka_unit_test(of_repeated_parameters_the_configured_one_counts),
        cmocka_unit_test(transport_and_eio_are_told),
        cmocka_unit_test(the_longest_configured_path_that_fits_is_taken),
        cmocka_unit_test(a_sid_counts_only_under_a_path),
        cmocka_unit_test(a_sid_over_256_bytes_decoded_is_too_long),
        cmocka_unit_test(a_target_cut_anywhere_reads_no_byte_too_far),
        cmocka_unit_test(engine_io_on_a_foreign_path_is_noticed),
        cmocka_unit_test(a_shown_sid_tells_six_characters_and_a_third_at_most),
        cmocka_unit_test(a_cookie_value_is_decoded_but_its_plus_is_a_plus),
        cmocka_unit_test(only_a_json_object_with_code_1_disowns_a_sid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
