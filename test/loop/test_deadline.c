#include "../../proxy/deadline.h"

#include "loop.h"

struct scene {
    struct event_base *base;
    struct deadline deadline;
    unsigned calls;
    uint64_t called_ms;
    uint64_t again_in_ms; /* set anew from within the call */
};

static void on_due(void *arg)
{
    struct scene *s = arg;
    s->calls++;
    s->called_ms = clock_ms();
    if (s->again_in_ms) {
        deadline_set(&s->deadline, clock_ms() + s->again_in_ms);
        s->again_in_ms = 0;
    }
}

static int scene_begin(void **state)
{
    struct scene *s = calloc(1, sizeof(*s));
    assert_non_null(s);
    s->base = loop_base_new();
    deadline_init(&s->deadline, s->base, on_due, s);
    *state = s;
    return 0;
}

static int scene_end(void **state)
{
    struct scene *s = *state;
    deadline_fini(&s->deadline);
    event_base_free(s->base);
    free(s);
    return 0;
}

static void it_comes_once_and_never_early(void **state)
{
    struct scene *s = *state;
    uint64_t at_ms = clock_ms() + 20;
    deadline_set(&s->deadline, at_ms);
    LOOP_UNTIL(s->base, s->calls);
    assert_true(s->called_ms >= at_ms);
    loop_settle(s->base);
    assert_int_equal(s->calls, 1);
    assert_int_equal(s->deadline.at_ms, 0);
}

static void a_time_that_has_passed_is_due_in_the_next_turn(void **state)
{
    struct scene *s = *state;
    deadline_set(&s->deadline, 1);
    assert_int_equal(s->calls, 0); /* not from within deadline_set */
    LOOP_UNTIL(s->base, s->calls == 1);
}

static void moving_it_later_does_not_touch_the_timer(void **state)
{
    struct scene *s = *state;
    struct timeval before, after;
    uint64_t at_ms = clock_ms() + 40;
    deadline_set(&s->deadline, at_ms - 20);
    assert_true(event_pending(&s->deadline.event, EV_TIMEOUT, &before));
    deadline_set(&s->deadline, at_ms);
    assert_true(event_pending(&s->deadline.event, EV_TIMEOUT, &after));
    assert_memory_equal(&before, &after, sizeof(before));
    LOOP_UNTIL(s->base, s->calls);
    assert_true(s->called_ms >= at_ms);
    assert_int_equal(s->calls, 1);
}

static void moving_it_earlier_brings_it_forward(void **state)
{
    struct scene *s = *state;
    uint64_t far_ms = clock_ms() + 3600 * 1000;
    deadline_set(&s->deadline, far_ms);
    deadline_set(&s->deadline, clock_ms() + 10);
    LOOP_UNTIL(s->base, s->calls == 1);
}

static void switched_off_it_never_comes(void **state)
{
    struct scene *s = *state;
    deadline_set(&s->deadline, clock_ms() + 10);
    deadline_set(&s->deadline, 0);
    uint64_t until_ms = clock_ms() + 40;
    LOOP_UNTIL(s->base, clock_ms() > until_ms);
    assert_int_equal(s->calls, 0);
    assert_int_equal(s->deadline.armed_ms, 0); /* the timer has fired for nothing; the next set arms it again */
    deadline_set(&s->deadline, clock_ms() + 5);
    LOOP_UNTIL(s->base, s->calls == 1);
}

static void it_may_be_set_again_when_it_comes(void **state)
{
    struct scene *s = *state;
    s->again_in_ms = 10;
    deadline_set(&s->deadline, clock_ms() + 5);
    LOOP_UNTIL(s->base, s->calls == 2);
}

static void after_fini_it_is_silent(void **state)
{
    struct scene *s = *state;
    deadline_set(&s->deadline, clock_ms() + 5);
    deadline_fini(&s->deadline);
    assert_false(event_pending(&s->deadline.event, EV_TIMEOUT, NULL));
    uint64_t until_ms = clock_ms() + 20;
    LOOP_UNTIL(s->base, clock_ms() > until_ms);
    assert_int_equal(s->calls, 0);
}

/* The 4 ms that are added must not make a timeval with a million microseconds or more. */
static void whole_seconds_are_carried(void **state)
{
    struct scene *s = *state;
    for (uint64_t ms = 1990; ms <= 2001; ms++) {
        struct timeval at, now;
        event_base_gettimeofday_cached(s->base, &now);
        deadline_fini(&s->deadline);
        deadline_set(&s->deadline, clock_ms() + ms);
        assert_true(event_pending(&s->deadline.event, EV_TIMEOUT, &at));
        assert_true(at.tv_usec < 1000000);
        int64_t wait_ms = (at.tv_sec - now.tv_sec) * 1000 + (at.tv_usec - now.tv_usec) / 1000;
        assert_true(wait_ms >= (int64_t)ms - 5 && wait_ms < (int64_t)ms + 1000);
    }
}

int main(void)
{
#define SCENE_TEST(f) cmocka_unit_test_setup_teardown(f, scene_begin, scene_end)
    const struct CMUnitTest tests[] = {
        SCENE_TEST(it_comes_once_and_never_early),
        SCENE_TEST(a_time_that_has_passed_is_due_in_the_next_turn),
        SCENE_TEST(moving_it_later_does_not_touch_the_timer),
        SCENE_TEST(moving_it_earlier_brings_it_forward),
        SCENE_TEST(switched_off_it_never_comes),
        SCENE_TEST(it_may_be_set_again_when_it_comes),
        SCENE_TEST(after_fini_it_is_silent),
        SCENE_TEST(whole_seconds_are_carried),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
