#include "../../proxy/core/shed.h"

#include "unit.h"

#include <inttypes.h>

/* All sizes near which the class changes, and then some. */
static size_t edges(uint64_t *out)
{
    size_t n = 0;
    for (unsigned top = 0; top < 62; top++)
        for (uint64_t quarter = 4; quarter < 8; quarter++)
            for (int off = -1; off <= 1; off++)
                out[n++] = ((quarter << top) >> 2) + (uint64_t)off;
    return n;
}

#define EDGES_MAX 1024

/* The smallest size that goes when a connection of that size has to. */
static uint64_t floor_of(uint64_t bytes)
{
    struct shed s = {0};
    shed_weigh(&s, bytes);
    return shed_bytes_min(&s, bytes);
}

static void a_connection_has_to_go_by_its_size_or_a_little_below(void **state)
{
    (void)state;
    uint64_t sizes[EDGES_MAX];
    size_t count = edges(sizes);
    assert_true(count <= EDGES_MAX);
    for (size_t i = 0; i < count; i++) {
        uint64_t bytes = sizes[i], floor = floor_of(bytes);
        if (bytes == 0 || bytes > UINT64_MAX / 2)
            continue;
        if (floor > bytes || floor == 0 || bytes - floor > floor / 4 || (bytes < 8 && floor != bytes))
            fail_msg("of %" PRIu64 ": %" PRIu64, bytes, floor);
    }
}

static void classes_never_fall_as_sizes_grow_and_each_begins_at_its_floor(void **state)
{
    (void)state;
    for (uint64_t bytes = 2; bytes < 20000; bytes++) {
        uint64_t floor = floor_of(bytes), before = floor_of(bytes - 1);
        assert_true(floor >= before);
        assert_true(floor == before || floor == bytes);
    }
    for (unsigned top = 3; top < 63; top++)
        for (uint64_t quarter = 4; quarter < 8; quarter++) {
            uint64_t bytes = quarter << (top - 2);
            assert_true(floor_of(bytes) == bytes);
            assert_true(floor_of(bytes - 1) < bytes);
        }
}

static void the_largest_size_there_is_has_a_class(void **state)
{
    (void)state;
    struct shed s = {0};
    shed_weigh(&s, UINT64_MAX);
    assert_true(shed_bytes_min(&s, UINT64_MAX) == UINT64_C(7) << 61);
    assert_true(shed_bytes_above(UINT64_C(7) << 61) == UINT64_MAX);
    assert_true(shed_bytes_above(UINT64_MAX) == UINT64_MAX);
    assert_true(shed_bytes_above((UINT64_C(7) << 61) - 1) == UINT64_C(7) << 61);
}

/* The smallest size of the next class up: no class is wider than its own smallest size. */
static uint64_t next_floor(uint64_t floor)
{
    uint64_t below = floor, above = 2 * floor;
    while (above - below > 1) {
        uint64_t middle = below + (above - below) / 2;
        if (floor_of(middle) == floor)
            below = middle;
        else
            above = middle;
    }
    return above;
}

static uint64_t held_from(const uint64_t *sizes, size_t count, uint64_t bytes_min)
{
    uint64_t held = 0;
    for (size_t i = 0; i < count; i++)
        held += sizes[i] >= bytes_min ? sizes[i] : 0;
    return held;
}

/* For any excess: those at least that large hold it, and without the smallest class of them they would not. */
static void those_who_have_to_go_are_enough_and_all_needed(void **state)
{
    (void)state;
    enum { COUNT = 200 };
    static const uint64_t spreads[] = {1, 10, 1000, 65536, 1u << 24};
    uint64_t random = 1;
    FOR_EACH (spread, spreads) {
        uint64_t sizes[COUNT], all = 0;
        struct shed s = {0};
        for (size_t i = 0; i < COUNT; i++) {
            random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
            sizes[i] = (random >> 33) % spreads[spread_at] + 1;
            all += sizes[i];
            shed_weigh(&s, sizes[i]);
        }
        for (unsigned part = 1; part <= 100; part++) {
            uint64_t excess = all * part / 100;
            uint64_t bytes_min = shed_bytes_min(&s, excess);
            assert_true(held_from(sizes, COUNT, bytes_min) >= excess);
            assert_true(shed_bytes_above(bytes_min) == next_floor(bytes_min));
            assert_true(held_from(sizes, COUNT, next_floor(bytes_min)) < excess);
        }
    }
}

static void the_few_that_hold_most_go_before_the_many_that_hold_little(void **state)
{
    (void)state;
    struct shed s = {0};
    for (int i = 0; i < 10000; i++)
        shed_weigh(&s, 4096);
    for (int i = 0; i < 10; i++)
        shed_weigh(&s, 1 << 20);
    assert_int_equal(shed_bytes_min(&s, 1), 1 << 20);
    assert_int_equal(shed_bytes_min(&s, 10 << 20), 1 << 20);
    assert_int_equal(shed_bytes_min(&s, (10 << 20) + 1), 4096);
}

static void when_all_together_hold_less_all_who_hold_a_byte_have_to_go(void **state)
{
    (void)state;
    struct shed s = {0};
    assert_int_equal(shed_bytes_min(&s, 1), 1);
    shed_weigh(&s, 1000);
    shed_weigh(&s, 3000);
    assert_int_equal(shed_bytes_min(&s, 4001), 1);
    assert_int_equal(shed_bytes_min(&s, UINT64_MAX), 1);
    assert_true(shed_bytes_min(&s, 4000) > 1);
}

static void who_holds_nothing_never_has_to_go(void **state)
{
    (void)state;
    struct shed s = {0};
    for (int i = 0; i < 1000; i++)
        shed_weigh(&s, 0);
    assert_int_equal(shed_bytes_min(&s, 1), 1);
    shed_weigh(&s, 1);
    assert_int_equal(shed_bytes_min(&s, 1), 1);
}

static void when_there_is_no_excess_nobody_has_to_go(void **state)
{
    (void)state;
    struct shed s = {0};
    shed_weigh(&s, UINT64_C(1) << 61);
    assert_true(shed_bytes_min(&s, 0) > UINT64_C(1) << 61);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connection_has_to_go_by_its_size_or_a_little_below),
        cmocka_unit_test(classes_never_fall_as_sizes_grow_and_each_begins_at_its_floor),
        cmocka_unit_test(the_largest_size_there_is_has_a_class),
        cmocka_unit_test(those_who_have_to_go_are_enough_and_all_needed),
        cmocka_unit_test(the_few_that_hold_most_go_before_the_many_that_hold_little),
        cmocka_unit_test(when_all_together_hold_less_all_who_hold_a_byte_have_to_go),
        cmocka_unit_test(who_holds_nothing_never_has_to_go),
        cmocka_unit_test(when_there_is_no_excess_nobody_has_to_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
