#include "../../proxy/core/cors.h"
#include "unit.h"

#include <stdio.h>

#define APP "https://app.example"

static int new_cors(void **state)
{
    *state = cors_new();
    return *state ? 0 : -1;
}

static int free_cors(void **state)
{
    cors_free(*state);
    return 0;
}

/* A worker said `allow_origin` to `origin` under path 0. */
static void note(struct cors *c, const char *origin, const char *allow_origin, bool credentials)
{
    cors_note(c, 0, edge_copy(origin), edge_copy(allow_origin), credentials);
}

static bool is_known(struct cors *c, const char *origin)
{
    struct cors_grant grant;
    return cors_find(c, 0, edge_copy(origin), &grant);
}

static void a_grant_is_mirrored_exactly(void **state)
{
    static const struct {
        const char *allow_origin;
        bool credentials;
    } rows[] = {{APP, true}, {APP, false}, {"*", false}, {"*", true}};
    FOR_EACH (row, rows) {
        struct cors_grant grant;
        note(*state, APP, rows[row_at].allow_origin, rows[row_at].credentials);
        assert_true(cors_find(*state, 0, edge_copy(APP), &grant));
        assert_span_is(grant.allow_origin, rows[row_at].allow_origin);
        assert_int_equal(grant.allow_credentials, rows[row_at].credentials);
    }
}

static void nothing_is_granted_to_another_origin_or_path(void **state)
{
    struct cors_grant grant;
    note(*state, APP, "*", false);
    assert_true(is_known(*state, APP));
    assert_false(is_known(*state, "https://app.exampl"));
    assert_false(is_known(*state, "https://app.example.evil"));
    assert_false(is_known(*state, "https://APP.example"));
    assert_false(is_known(*state, ""));
    assert_false(cors_find(*state, 1, edge_copy(APP), &grant));
    cors_note(*state, 1, edge_copy(APP), edge_copy(APP), true);
    assert_true(cors_find(*state, 1, edge_copy(APP), &grant));
    assert_span_is(grant.allow_origin, APP);
    assert_true(cors_find(*state, 0, edge_copy(APP), &grant));
    assert_span_is(grant.allow_origin, "*");
}

static void the_origin_null_is_an_origin_and_no_wildcard(void **state)
{
    struct cors_grant grant;
    note(*state, APP, "null", true);
    assert_false(is_known(*state, APP));
    assert_false(is_known(*state, "null"));
    note(*state, "null", "null", false);
    assert_true(cors_find(*state, 0, edge_copy("null"), &grant));
    assert_span_is(grant.allow_origin, "null");
    assert_false(is_known(*state, APP));
}

static void an_answer_that_grants_nothing_takes_the_grant_away(void **state)
{
    static const char *const rows[] = {"", "https://other.example", "null", "https://app.example:443", "**", "* "};
    FOR_EACH (row, rows) {
        note(*state, APP, rows[row_at], true);
        assert_false(is_known(*state, APP));
        note(*state, APP, APP, true);
        assert_true(is_known(*state, APP));
        note(*state, APP, rows[row_at], true);
        assert_false(is_known(*state, APP));
    }
}

static void taking_one_grant_away_leaves_the_others(void **state)
{
    static const char *const origins[] = {"https://a", "https://b", "https://c", "https://d"};
    for (size_t gone = 0; gone < COUNT_OF(origins); gone++) {
        FOR_EACH (each, origins)
            note(*state, origins[each_at], origins[each_at], false);
        note(*state, origins[gone], "", false);
        FOR_EACH (each, origins)
            assert_int_equal(is_known(*state, origins[each_at]), each_at != gone);
    }
}

static void origins_that_are_empty_or_too_long_are_not_remembered(void **state)
{
    static char longest[258];
    memset(longest, 'o', 256);
    note(*state, longest, longest, false);
    assert_true(is_known(*state, longest));
    longest[256] = 'o';
    note(*state, longest, longest, false);
    assert_false(is_known(*state, longest));
    note(*state, "", "*", false);
    assert_false(is_known(*state, ""));
}

static void the_least_recently_used_grant_goes_first(void **state)
{
    char origin[32];
    for (int i = 0; i < CORS_GRANTS_MAX; i++) {
        snprintf(origin, sizeof origin, "https://%d.example", i);
        note(*state, origin, origin, false);
    }
    assert_true(is_known(*state, "https://0.example")); /* being found keeps it young */
    note(*state, "https://1.example", "*", false);      /* so does another grant */
    note(*state, "https://new.example", "*", false);
    assert_true(is_known(*state, "https://new.example"));
    assert_true(is_known(*state, "https://0.example"));
    assert_true(is_known(*state, "https://1.example"));
    assert_false(is_known(*state, "https://2.example"));
    for (int i = 3; i < CORS_GRANTS_MAX; i++) {
        snprintf(origin, sizeof origin, "https://%d.example", i);
        assert_true(is_known(*state, origin));
    }
}

static void a_place_that_became_free_is_used_again(void **state)
{
    char origin[32];
    for (int i = 0; i < 3 * CORS_GRANTS_MAX; i++) {
        snprintf(origin, sizeof origin, "https://%d.example", i);
        note(*state, origin, origin, false);
        if (i % 2)
            note(*state, origin, "", false);
    }
    /* the last one, taken away again, pushed out one more when all was full: 255 are left */
    for (int i = 3 * CORS_GRANTS_MAX - 2; i > CORS_GRANTS_MAX; i -= 2) {
        snprintf(origin, sizeof origin, "https://%d.example", i);
        assert_true(is_known(*state, origin));
    }
}

int main(void)
{
#define WITH_CORS(test) cmocka_unit_test_setup_teardown(test, new_cors, free_cors)
    static const struct CMUnitTest tests[] = {
        WITH_CORS(a_grant_is_mirrored_exactly),
        WITH_CORS(nothing_is_granted_to_another_origin_or_path),
        WITH_CORS(the_origin_null_is_an_origin_and_no_wildcard),
        WITH_CORS(an_answer_that_grants_nothing_takes_the_grant_away),
        WITH_CORS(taking_one_grant_away_leaves_the_others),
        WITH_CORS(origins_that_are_empty_or_too_long_are_not_remembered),
        WITH_CORS(the_least_recently_used_grant_goes_first),
        WITH_CORS(a_place_that_became_free_is_used_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
