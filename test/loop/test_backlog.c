#include "../../proxy/backlog.h"

#include "loop.h"

static void nothing_is_kept_for_an_empty_backlog(void **state)
{
    struct metrics m = {0};
    struct backlog *b = NULL;
    (void)state;
    assert_true(backlog_add(&b, &m, SPAN("")));
    assert_null(b);
    assert_int_equal(backlog_span(b).len, 0);
    backlog_drop(&b, &m, 0);
    backlog_free(&b, &m);
    assert_int_equal(m.value[M_BUFFERED_BYTES], 0);
}

static void it_is_a_queue_and_is_gone_with_its_last_byte(void **state)
{
    struct metrics m = {0};
    struct backlog *b = NULL;
    (void)state;
    assert_true(backlog_add(&b, &m, SPAN("abc")));
    assert_true(backlog_add(&b, &m, SPAN("defg")));
    assert_span_is(backlog_span(b), "abcdefg");
    backlog_drop(&b, &m, 2);
    assert_span_is(backlog_span(b), "cdefg");
    assert_true(backlog_add(&b, &m, SPAN("hijklmnopqrstuvwxyz")));
    assert_span_is(backlog_span(b), "cdefghijklmnopqrstuvwxyz");
    backlog_drop(&b, &m, 23);
    assert_span_is(backlog_span(b), "z");
    backlog_drop(&b, &m, 1);
    assert_null(b);
}

static void the_gauge_counts_what_waits(void **state)
{
    struct metrics m = {0};
    struct backlog *a = NULL, *b = NULL;
    (void)state;
    assert_true(backlog_add(&a, &m, SPAN("12345")));
    assert_true(backlog_add(&b, &m, SPAN("678")));
    assert_int_equal(m.value[M_BUFFERED_BYTES], 8);
    backlog_drop(&a, &m, 2);
    assert_int_equal(m.value[M_BUFFERED_BYTES], 6);
    backlog_free(&a, &m);
    assert_null(a);
    assert_int_equal(m.value[M_BUFFERED_BYTES], 3);
    backlog_free(&b, &m);
    assert_int_equal(m.value[M_BUFFERED_BYTES], 0);
}

/* What waits may have come as the tail of something large: its memory goes back, and is counted while it is there. */
static void a_queue_that_has_shrunk_gives_memory_back(void **state)
{
    static const char large[65536];
    struct metrics m = {0};
    struct backlog *b = NULL;
    (void)state;
    assert_true(backlog_add(&b, &m, span_of(large, sizeof large)));
    for (size_t left = sizeof large; left > 1; left--) {
        backlog_drop(&b, &m, 1);
        assert_int_equal(m.value[M_BUFFER_MEMORY], backlog_memory(b));
        size_t bound = 4 * (left - 1) > BACKLOG_SMALL ? 4 * (left - 1) : BACKLOG_SMALL;
        if (backlog_memory(b) > bound + 64)
            fail_msg("%zu bytes take %zu", left - 1, backlog_memory(b));
    }
    backlog_free(&b, &m);
    assert_int_equal(m.value[M_BUFFER_MEMORY], 0);

    assert_true(backlog_add(&b, &m, span_of(large, sizeof large)));
    backlog_drop(&b, &m, sizeof large - 1);
    assert_true(backlog_memory(b) < 64);
    assert_true(backlog_add(&b, &m, span_of(large, sizeof large))); /* and grows again */
    assert_int_equal(backlog_span(b).len, sizeof large + 1);
    assert_int_equal(m.value[M_BUFFER_MEMORY], backlog_memory(b));
    backlog_drop(&b, &m, sizeof large + 1);
    assert_int_equal(m.value[M_BUFFER_MEMORY], 0);
}

/* Adds and drops of every size, against a counter at each end. */
static void no_byte_is_lost_or_moved_over_many_adds_and_drops(void **state)
{
    struct metrics m = {0};
    struct backlog *b = NULL;
    size_t in = 0, out = 0;
    unsigned random = 1;
    (void)state;
    for (int round = 0; round < 20000; round++) {
        char piece[300];
        random = random * 1103515245u + 12345u;
        size_t len = random >> 16 & 0xff;
        for (size_t i = 0; i < len; i++)
            piece[i] = (char)((in + i) % 251);
        if (in - out < 4096) {
            assert_true(backlog_add(&b, &m, span_of(piece, len)));
            in += len;
        }
        struct span s = backlog_span(b);
        assert_int_equal(s.len, in - out);
        size_t goes = (random >> 8) % (s.len + 1);
        for (size_t i = 0; i < goes; i++)
            if (s.ptr[i] != (char)((out + i) % 251))
                fail_msg("byte %zu", out + i);
        backlog_drop(&b, &m, goes);
        out += goes;
    }
    assert_int_equal(m.value[M_BUFFERED_BYTES], in - out);
    backlog_free(&b, &m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_kept_for_an_empty_backlog),
        cmocka_unit_test(it_is_a_queue_and_is_gone_with_its_last_byte),
        cmocka_unit_test(the_gauge_counts_what_waits),
        cmocka_unit_test(a_queue_that_has_shrunk_gives_memory_back),
        cmocka_unit_test(no_byte_is_lost_or_moved_over_many_adds_and_drops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
