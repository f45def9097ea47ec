#include "../../proxy/reaper.h"

#include "../../proxy/pool.h"

#include "loop.h"

/* There only under AddressSanitizer, where it tells whether memory is freed. */
extern int __asan_address_is_poisoned(void const volatile *) __attribute__((weak));

static bool is_freed(const void *p)
{
    return __asan_address_is_poisoned && __asan_address_is_poisoned(p);
}

struct closed {
    struct link link; /* first: the reaper's */
    int text;
};

struct scene {
    struct event_base *base;
    struct pool pool;
    struct reaper reaper;
    struct event first, second;
    struct closed *object[2];
    bool both_ran;
};

static struct closed *bury(struct scene *s, int text)
{
    struct closed *c = pool_take(&s->pool);
    assert_non_null(c);
    c->text = text;
    reaper_bury(&s->reaper, &c->link);
    return c;
}

static void on_first(evutil_socket_t fd, short what, void *arg)
{
    struct scene *s = arg;
    (void)fd;
    (void)what;
    s->object[0] = bury(s, 42);
    s->object[1] = bury(s, 43);
    assert_false(is_freed(s->object[0]));
    assert_int_equal(s->object[0]->text, 42); /* the callback may still look at it */
}

static void on_second(evutil_socket_t fd, short what, void *arg)
{
    struct scene *s = arg;
    (void)fd;
    (void)what;
    assert_false(is_freed(s->object[0])); /* it was queued before the burial: it must find the dead one in memory */
    assert_int_equal(s->object[0]->text, 42);
    s->both_ran = true;
}

static int scene_begin(void **state)
{
    struct scene *s = calloc(1, sizeof(*s));
    assert_non_null(s);
    s->base = loop_base_new();
    pool_init(&s->pool, sizeof(struct closed));
    reaper_init(&s->reaper, s->base);
    *state = s;
    return 0;
}

static int scene_end(void **state)
{
    struct scene *s = *state;
    reaper_fini(&s->reaper);
    event_base_free(s->base);
    pool_fini(&s->pool);
    free(s);
    return 0;
}

static void closed_objects_outlive_the_callbacks_that_were_queued(void **state)
{
    struct scene *s = *state;
    event_assign(&s->first, s->base, -1, 0, on_first, s);
    event_assign(&s->second, s->base, -1, 0, on_second, s);
    event_active(&s->first, EV_TIMEOUT, 0);
    event_active(&s->second, EV_TIMEOUT, 0);
    event_base_loop(s->base, EVLOOP_NONBLOCK);
    assert_true(s->both_ran);
    assert_null(s->reaper.dead); /* and all is freed in the same turn */
    if (__asan_address_is_poisoned)
        assert_true(is_freed(s->object[0]) && is_freed(s->object[1]));
}

static void it_serves_again_after_each_turn(void **state)
{
    struct scene *s = *state;
    for (int i = 0; i < 3; i++) {
        bury(s, i);
        assert_non_null(s->reaper.dead);
        event_base_loop(s->base, EVLOOP_NONBLOCK);
        assert_null(s->reaper.dead);
    }
}

/* A leak would be found by the run under AddressSanitizer. */
static void at_the_end_nothing_waits_for_a_turn(void **state)
{
    struct scene *s = *state;
    bury(s, 1);
    bury(s, 2);
    reaper_fini(&s->reaper);
    assert_null(s->reaper.dead);
}

int main(void)
{
#define SCENE_TEST(f) cmocka_unit_test_setup_teardown(f, scene_begin, scene_end)
    const struct CMUnitTest tests[] = {
        SCENE_TEST(closed_objects_outlive_the_callbacks_that_were_queued),
        SCENE_TEST(it_serves_again_after_each_turn),
        SCENE_TEST(at_the_end_nothing_waits_for_a_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
