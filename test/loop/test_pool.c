#include "../../proxy/pool.h"

#include "loop.h"

#define OBJECT_BYTES 600
#define MANY         2001 /* over several slabs */

static int scene_begin(void **state)
{
    struct pool *p = malloc(sizeof(*p));
    assert_non_null(p);
    pool_init(p, OBJECT_BYTES - 7); /* rounded up */
    *state = p;
    return 0;
}

static int scene_end(void **state)
{
    pool_fini(*state);
    free(*state);
    return 0;
}

static size_t slab_count(const struct pool *p)
{
    size_t n = 0;
    LIST_EACH (slab, &p->slabs)
        n++;
    return n;
}

/* Under AddressSanitizer a pool is malloc and has no slabs. */
static bool has_slabs(struct pool *p)
{
    void *one = pool_take(p);
    bool has = slab_count(p) > 0;
    pool_give_back(one);
    return has;
}

static bool is_zero(const unsigned char *object)
{
    for (size_t i = 0; i < OBJECT_BYTES - 7; i++)
        if (object[i])
            return false;
    return true;
}

static void objects_are_zeroed_aligned_and_apart(void **state)
{
    struct pool *p = *state;
    static unsigned char *object[MANY];
    for (int round = 0; round < 3; round++) { /* used places too */
        for (size_t i = 0; i < MANY; i++) {
            object[i] = pool_take(p);
            assert_non_null(object[i]);
            assert_int_equal((uintptr_t)object[i] % 16, 0);
            assert_true(is_zero(object[i]));
            memset(object[i], (int)(i % 255) + 1, OBJECT_BYTES - 7);
        }
        for (size_t i = 0; i < MANY; i++) { /* nobody wrote into another one's */
            assert_int_equal(object[i][0], i % 255 + 1);
            assert_int_equal(object[i][OBJECT_BYTES - 8], i % 255 + 1);
            pool_give_back(object[i]);
        }
    }
}

static void what_a_burst_took_goes_back_to_the_kernel(void **state)
{
    struct pool *p = *state;
    static void *object[MANY];
    if (!has_slabs(p))
        skip();
    for (size_t i = 0; i < MANY; i++)
        object[i] = pool_take(p);
    size_t most = slab_count(p);
    assert_true(most >= MANY * OBJECT_BYTES / 65536);
    assert_true(most <= MANY * OBJECT_BYTES / 65536 + 2); /* densely */
    for (size_t i = 0; i < MANY; i++)
        pool_give_back(object[(i * 10) % MANY]); /* in another order: 10 and MANY share no factor */
    assert_int_equal(slab_count(p), 1);
    assert_int_equal(p->empty_slabs, 1);
}

/* A connection that comes and goes must not map and unmap a slab each time. */
static void one_empty_slab_is_kept_for_the_next(void **state)
{
    struct pool *p = *state;
    if (!has_slabs(p))
        skip();
    void *first = pool_take(p);
    pool_give_back(first);
    for (int i = 0; i < 10; i++) {
        void *again = pool_take(p);
        assert_ptr_equal(again, first);
        pool_give_back(again);
    }
    assert_int_equal(slab_count(p), 1);
}

static void freed_places_are_taken_before_a_new_slab(void **state)
{
    struct pool *p = *state;
    static void *object[MANY];
    if (!has_slabs(p))
        skip();
    for (size_t i = 0; i < MANY; i++)
        object[i] = pool_take(p);
    size_t most = slab_count(p);
    for (int round = 0; round < 5; round++) {
        for (size_t i = (size_t)round; i < MANY; i += 3)
            pool_give_back(object[i]);
        for (size_t i = (size_t)round; i < MANY; i += 3)
            object[i] = pool_take(p);
        assert_true(slab_count(p) <= most);
    }
    for (size_t i = 0; i < MANY; i++)
        pool_give_back(object[i]);
}

static void giving_back_nothing_is_fine(void **state)
{
    (void)state;
    pool_give_back(NULL);
}

/* Its own process state, hence the last test: a loop on the pool's memory, with more descriptors than it has room for.
 */
static void libevent_lives_on_it_and_beside_it(void **state)
{
    enum { PAIRS = 40 };
    int fd[PAIRS][2];
    struct event read_event[PAIRS];
    bool came[PAIRS];
    (void)state;
    pool_serve_libevent(16);
    struct event_base *base = loop_base_new();
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < PAIRS; i++) {
            unix_pair(&fd[i][0], &fd[i][1]);
            came[i] = false;
            event_assign(&read_event[i], base, fd[i][0], EV_READ, loop_on_alarm, &came[i]);
            assert_int_equal(event_add(&read_event[i], NULL), 0);
            peer_send(fd[i][1], "x");
        }
        loop_settle(base);
        for (int i = 0; i < PAIRS; i++) {
            assert_true(came[i]);
            event_del(&read_event[i]);
            close(fd[i][0]);
            close(fd[i][1]);
        }
    }
    event_base_free(base);
}

int main(void)
{
#define SCENE_TEST(f) cmocka_unit_test_setup_teardown(f, scene_begin, scene_end)
    const struct CMUnitTest tests[] = {
        SCENE_TEST(objects_are_zeroed_aligned_and_apart), SCENE_TEST(what_a_burst_took_goes_back_to_the_kernel),
        SCENE_TEST(one_empty_slab_is_kept_for_the_next),  SCENE_TEST(freed_places_are_taken_before_a_new_slab),
        cmocka_unit_test(giving_back_nothing_is_fine),    cmocka_unit_test(libevent_lives_on_it_and_beside_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
