#include "../../proxy/core/metrics.h"

#include "unit.h"

#include <stdlib.h>

static void every_metric_has_a_name_of_its_own(void **state)
{
    (void)state;
    for (unsigned i = 0; i < METRICS; i++) {
        struct span name = span_from_str(metric_name((enum metric)i));
        assert_true(name.len > 0);
        assert_int_equal(strspn(name.ptr, "abcdefghijklmnopqrstuvwxyz_"), name.len);
        for (unsigned j = 0; j < i; j++)
            assert_false(span_equal(name, span_from_str(metric_name((enum metric)j))));
    }
}

static void counters_end_in_total_and_gauges_do_not(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool is_counter;
    } rows[] = {
#define COUNTER(name, word, help) {word, true},
#define GAUGE(name, word, help)   {word, false},
#include "../../proxy/core/metrics.def"
#undef COUNTER
#undef GAUGE
    };
    FOR_EACH (row, rows) {
        size_t len = strlen(rows[row_at].name);
        bool says_total = len > 6 && strcmp(rows[row_at].name + len - 6, "_total") == 0;
        assert_int_equal(says_total, rows[row_at].is_counter);
        assert_string_equal(rows[row_at].name, metric_name((enum metric)row_at));
    }
}

static void a_line_names_every_metric_with_its_value(void **state)
{
    (void)state;
    struct metrics m = {.value = {0}};
    metrics_add(&m, M_CLIENTS, 5);
    metrics_sub(&m, M_CLIENTS, 2);
    metrics_add(&m, M_BYTES_DOWN, UINT64_MAX);
    char line[8192];
    size_t len = metrics_line(&m, line, sizeof(line));
    assert_int_equal(len, strlen(line));
    assert_true(span_starts_with(span_of(line, len), SPAN("clients=3 exchanges=0 tunnels=0 ")));
    assert_non_null(strstr(line, " bytes_down_total=18446744073709551615"));
    size_t blanks = 0;
    for (const char *c = line; *c; c++)
        blanks += *c == ' ';
    assert_int_equal(blanks, METRICS - 1);
}

static void a_short_buffer_ends_at_the_last_metric_that_fits(void **state)
{
    (void)state;
    struct metrics m = {.value = {0}};
    for (unsigned i = 0; i < METRICS; i++)
        m.value[i] = i;
    char whole[8192];
    size_t len = metrics_line(&m, whole, sizeof(whole));
    for (size_t size = 0; size <= len + 1; size++) {
        char *cut = malloc(size ? size : 1); /* exactly this big: a sanitizer sees a byte too far */
        assert_non_null(cut);
        cut[0] = '?';
        assert_int_equal(metrics_line(&m, cut, size), len);
        if (size == 0) {
            assert_int_equal(cut[0], '?');
        } else {
            size_t got = strlen(cut);
            assert_true(got < size);
            assert_memory_equal(cut, whole, got);
            assert_true(whole[got] == ' ' || whole[got] == '\0' || got == 0);
            /* and nothing that would have fitted is missing */
            size_t next = got;
            if (whole[next] != '\0')
                next += 1 + strcspn(whole + next + 1, " ");
            assert_true(next >= size || next == got);
        }
        free(cut);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_metric_has_a_name_of_its_own),
        cmocka_unit_test(counters_end_in_total_and_gauges_do_not),
        cmocka_unit_test(a_line_names_every_metric_with_its_value),
        cmocka_unit_test(a_short_buffer_ends_at_the_last_metric_that_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
