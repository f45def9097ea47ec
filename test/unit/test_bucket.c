#include "../../proxy/core/bucket.h"

#include "unit.h"

static const uint64_t rates[] = {1, 2, 3, 7, 9, 10, 13, 333, 999, 1000, 1001, 1500, 4096};

static bool take(struct bucket *b, uint64_t rate_per_s, uint64_t now_ms)
{
    uint64_t wait_ms = UINT64_MAX;
    bool taken = bucket_take(b, rate_per_s, now_ms, &wait_ms);
    assert_int_equal(taken, wait_ms == 0);
    return taken;
}

/* How many there are: they are gone then. */
static uint64_t take_all(struct bucket *b, uint64_t rate_per_s, uint64_t now_ms)
{
    uint64_t n = 0;
    while (take(b, rate_per_s, now_ms))
        n++;
    return n;
}

static uint64_t wait_for(struct bucket *b, uint64_t rate_per_s, uint64_t now_ms)
{
    uint64_t wait_ms;
    assert_false(bucket_take(b, rate_per_s, now_ms, &wait_ms));
    return wait_ms;
}

static void a_new_bucket_gives_at_once_what_one_second_brings(void **state)
{
    (void)state;
    static const uint64_t starts_ms[] = {0, 1, 123456789, UINT64_MAX};
    FOR_EACH (rate, rates) {
        FOR_EACH (start, starts_ms) {
            struct bucket b = {0};
            assert_int_equal(take_all(&b, rates[rate_at], starts_ms[start_at]), rates[rate_at]);
        }
    }
}

/* Whenever one looks, all together is the burst and what the time has brought, to the thousandth: rates that do not
 * divide a second lose nothing, and gain nothing, by looking often or at odd times. (A bucket that is full meanwhile
 * does: nothing is added to it. So a step is shorter than it takes to fill it from less than a token.) */
static void what_comes_back_is_exact_over_any_time(void **state)
{
    (void)state;
    static const uint64_t steps_ms[] = {1, 7, 333, 334, 499, 999};
    FOR_EACH (rate, rates) {
        FOR_EACH (step, steps_ms) {
            struct bucket b = {0};
            if (steps_ms[step_at] * rates[rate_at] + 999 > 1000 * rates[rate_at])
                continue;
            uint64_t taken = take_all(&b, rates[rate_at], 5000);
            for (uint64_t ms = 0; ms <= 20000; ms += steps_ms[step_at]) {
                taken += take_all(&b, rates[rate_at], 5000 + ms);
                assert_int_equal(taken, rates[rate_at] + ms * rates[rate_at] / 1000);
            }
        }
    }
}

static void a_long_rest_fills_the_bucket_and_no_more(void **state)
{
    (void)state;
    static const uint64_t rests_ms[] = {1000, 1001, 60000, UINT64_MAX - 5000};
    FOR_EACH (rate, rates) {
        FOR_EACH (rest, rests_ms) {
            struct bucket b = {0};
            (void)take_all(&b, rates[rate_at], 5000);
            assert_int_equal(take_all(&b, rates[rate_at], 5000 + rests_ms[rest_at]), rates[rate_at]);
        }
    }
}

/* From every state that a second of refused takes passes through. */
static void the_wait_is_over_when_it_says_and_not_a_millisecond_before(void **state)
{
    (void)state;
    FOR_EACH (rate, rates) {
        struct bucket b = {0};
        uint64_t rate_per_s = rates[rate_at];
        (void)take_all(&b, rate_per_s, 0);
        assert_int_equal(wait_for(&b, rate_per_s, 0), (1000 + rate_per_s - 1) / rate_per_s);
        for (uint64_t now_ms = 0; now_ms < 1000; now_ms++) {
            (void)take_all(&b, rate_per_s, now_ms);
            struct bucket early = b, in_time = b;
            uint64_t wait_ms = wait_for(&b, rate_per_s, now_ms);
            assert_true(wait_ms >= 1 && wait_ms <= 1000);
            assert_false(take(&early, rate_per_s, now_ms + wait_ms - 1));
            assert_true(take(&in_time, rate_per_s, now_ms + wait_ms));
            struct bucket asked = b; /* having been refused changes nothing */
            assert_false(take(&asked, rate_per_s, now_ms + wait_ms - 1));
            assert_true(take(&asked, rate_per_s, now_ms + wait_ms));
        }
    }
}

static void a_clock_that_steps_back_brings_nothing_and_does_no_harm(void **state)
{
    (void)state;
    static const uint64_t earlier_ms[] = {0, 1, 9000, 9999};
    FOR_EACH (rate, rates) {
        FOR_EACH (earlier, earlier_ms) {
            struct bucket b = {0};
            uint64_t rate_per_s = rates[rate_at], now_ms = earlier_ms[earlier_at];
            (void)take_all(&b, rate_per_s, 10000);
            uint64_t wait_ms = wait_for(&b, rate_per_s, now_ms);
            assert_int_equal(wait_ms, (1000 + rate_per_s - 1) / rate_per_s);
            assert_true(take(&b, rate_per_s, now_ms + wait_ms));
        }
    }
    struct bucket b = {0};
    assert_int_equal(take_all(&b, 3, UINT64_MAX), 3);
    assert_int_equal(wait_for(&b, 3, 0), 334);
}

static void a_higher_rate_brings_its_larger_burst_at_once(void **state)
{
    (void)state;
    struct bucket b = {0};
    assert_int_equal(take_all(&b, 2, 0), 2);
    assert_int_equal(take_all(&b, 10, 0), 8);
    assert_int_equal(wait_for(&b, 10, 0), 100);
    assert_int_equal(take_all(&b, 10, 1000), 10);
}

/* Nobody pays for more than a second of the rate that holds now: else a rate that a reload lowers from 1000 to 1 would
 * shut out whoever was busy for a quarter of an hour. */
static void a_bucket_emptied_at_a_higher_rate_is_just_empty_at_a_lower_one(void **state)
{
    (void)state;
    static const uint64_t before[] = {2, 10, 1000, 1000000};
    FOR_EACH (rate, before) {
        struct bucket b = {0};
        (void)take_all(&b, before[rate_at], 0);
        assert_int_equal(wait_for(&b, 1, 0), 1000);
        assert_false(take(&b, 1, 999));
        assert_true(take(&b, 1, 1000));
        assert_int_equal(wait_for(&b, 1, 1000), 1000);
    }
    struct bucket b = {0};
    assert_int_equal(take_all(&b, 10, 0), 10);
    assert_int_equal(take_all(&b, 4, 500), 2);
}

static void the_largest_rate_and_the_longest_time_do_not_overflow(void **state)
{
    (void)state;
    uint64_t wait_ms;
    struct bucket b = {0};
    for (int i = 0; i < 1000; i++)
        assert_true(bucket_take(&b, BUCKET_RATE_MAX, UINT64_MAX, &wait_ms));
    assert_int_equal(b.spent, 1000000);
    assert_true(bucket_take(&b, BUCKET_RATE_MAX, 0, &wait_ms));
    /* as empty as it can be */
    b = (struct bucket){.spent = BUCKET_RATE_MAX * 1000, .at_ms = 7};
    assert_int_equal(wait_for(&b, BUCKET_RATE_MAX, 7), 1);
    assert_true(bucket_take(&b, BUCKET_RATE_MAX, 8, &wait_ms));
    b = (struct bucket){.spent = UINT64_MAX, .at_ms = 0};
    assert_int_equal(wait_for(&b, 1, 0), 1000);
    b = (struct bucket){.spent = UINT64_MAX, .at_ms = 0};
    assert_true(bucket_take(&b, BUCKET_RATE_MAX, UINT64_MAX, &wait_ms));
    assert_int_equal(b.spent, 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_bucket_gives_at_once_what_one_second_brings),
        cmocka_unit_test(what_comes_back_is_exact_over_any_time),
        cmocka_unit_test(a_long_rest_fills_the_bucket_and_no_more),
        cmocka_unit_test(the_wait_is_over_when_it_says_and_not_a_millisecond_before),
        cmocka_unit_test(a_clock_that_steps_back_brings_nothing_and_does_no_harm),
        cmocka_unit_test(a_higher_rate_brings_its_larger_burst_at_once),
        cmocka_unit_test(a_bucket_emptied_at_a_higher_rate_is_just_empty_at_a_lower_one),
        cmocka_unit_test(the_largest_rate_and_the_longest_time_do_not_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
