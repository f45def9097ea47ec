#include "../../proxy/core/addresses.h"

#include "unit.h"

enum { PLACES = 4 * ADDRESSES_WINDOW }; /* of the smallest table */

static const uint64_t key[2] = {1, 2};

static struct addresses *table(uint64_t connected_max)
{
    struct addresses *t = addresses_new(connected_max, key);
    assert_non_null(t);
    return t;
}

static struct ip ip(const char *text)
{
    struct ip a;
    assert_true(ip_parse(edge_copy(text), &a));
    return a;
}

/* One of many; those under 2^24 are of IPv4, the others of IPv6. */
static struct ip nth(uint32_t n)
{
    const uint8_t v4[4] = {10, (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n};
    const uint8_t v6[16] = {0x20, 1, 0xd, 0xb8, 0, (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n, [15] = 1};
    return n >> 24 ? ip_of(IP_V6, v6, 1) : ip_of(IP_V4, v4, 1);
}

static bool may_begin(struct addresses *t, const struct ip *a, uint64_t rate_per_s, uint64_t now_ms)
{
    uint64_t wait_ms = UINT64_MAX;
    bool may = addresses_take_handshake(t, a, rate_per_s, now_ms, &wait_ms);
    assert_int_equal(may, wait_ms == 0);
    return may;
}

/* A table each of whose places is an address with one connection. */
struct full {
    struct addresses *t;
    struct ip in[PLACES];
};

static struct full fill(void)
{
    struct full f = {.t = table(1)};
    size_t count = 0;
    for (uint32_t n = 0; count < PLACES; n++) {
        struct ip a = nth(n);
        uint32_t connections = addresses_enter(f.t, &a);
        assert_true(connections <= 1 && n < 100000);
        if (connections == 1)
            f.in[count++] = a;
    }
    return f;
}

static struct ip newcomer(uint32_t n)
{
    return nth((1u << 24) + n);
}

/* ---- counting ---- */

static void connections_of_an_address_are_counted(void **state)
{
    (void)state;
    struct addresses *t = table(100);
    struct ip a = ip("10.0.0.7:1"), b = ip("10.0.0.8:1");
    assert_int_equal(addresses_enter(t, &a), 1);
    assert_int_equal(addresses_enter(t, &a), 2);
    assert_int_equal(addresses_enter(t, &b), 1);
    assert_int_equal(addresses_enter(t, &a), 3);
    addresses_leave(t, &a);
    addresses_leave(t, &b);
    assert_int_equal(addresses_enter(t, &a), 3);
    addresses_leave(t, &a);
    addresses_leave(t, &a);
    addresses_leave(t, &a);
    assert_int_equal(addresses_enter(t, &a), 1);
    assert_int_equal(addresses_enter(t, &b), 1);
    addresses_free(t);
}

static void a_household_counts_as_one_and_its_neighbour_as_another(void **state)
{
    (void)state;
    static const struct {
        const char *address;
        uint32_t connections;
    } rows[] = {
        {"2001:db8::1", 1},
        {"2001:db8::2", 2},
        {"2001:db8::ffff:ffff:ffff:ffff", 3},
        {"2001:db8:0:1::1", 1},
        {"[2001:db8::1]:443", 4},
        {"10.0.0.7", 1},
        {"::ffff:10.0.0.7", 2},
        {"10.0.0.7:80", 3},
        {"10.0.0.6", 1},
        {"0:ffff:a00:7::", 1}, /* made up to be 10.0.0.7 */
        {"::1", 2},            /* is counted, too */
    };
    struct addresses *t = table(100);
    FOR_EACH (row, rows) {
        struct ip a = ip(rows[row_at].address);
        if (addresses_enter(t, &a) != rows[row_at].connections)
            fail_msg("%s", rows[row_at].address);
    }
    addresses_free(t);
}

static void each_address_has_its_own_rate_of_handshakes(void **state)
{
    (void)state;
    struct addresses *t = table(100);
    struct ip a = ip("10.0.0.7"), b = ip("10.0.0.8"), same[] = {ip("2001:db8::1"), ip("2001:db8::2")};
    uint64_t wait_ms;
    for (int i = 0; i < 3; i++)
        assert_true(may_begin(t, &a, 3, 5000));
    assert_false(addresses_take_handshake(t, &a, 3, 5000, &wait_ms));
    assert_int_equal(wait_ms, 334);
    for (int i = 0; i < 3; i++)
        assert_true(may_begin(t, &b, 3, 5000));
    assert_false(may_begin(t, &b, 3, 5000));
    assert_false(may_begin(t, &a, 3, 5333));
    assert_true(may_begin(t, &a, 3, 5334));
    assert_true(may_begin(t, &same[0], 1, 5334));
    assert_false(may_begin(t, &same[1], 1, 5334));
    addresses_free(t);
}

static void connections_and_handshakes_do_not_touch_each_other(void **state)
{
    (void)state;
    struct addresses *t = table(100);
    struct ip a = ip("10.0.0.7");
    assert_true(may_begin(t, &a, 1, 5000));
    assert_int_equal(addresses_enter(t, &a), 1);
    assert_false(may_begin(t, &a, 1, 5000));
    assert_int_equal(addresses_enter(t, &a), 2);
    addresses_leave(t, &a);
    addresses_leave(t, &a);
    assert_false(may_begin(t, &a, 1, 5999)); /* a new connection is no new bucket */
    assert_true(may_begin(t, &a, 1, 6000));
    addresses_free(t);
}

static void peers_without_an_address_are_not_counted(void **state)
{
    (void)state;
    struct addresses *t = table(100);
    struct ip none = {.family = IP_NONE};
    for (int i = 0; i < 100; i++) {
        assert_int_equal(addresses_enter(t, &none), 0);
        assert_true(may_begin(t, &none, 1, 5000));
    }
    addresses_free(t);
}

/* Even if each connection is of another address, hardly one in a thousand finds its window full. */
static void a_table_has_room_for_as_many_as_may_be_connected(void **state)
{
    (void)state;
    static const struct {
        uint64_t connected_max;
        uint32_t addresses;
    } rows[] = {
        {0, 16}, {16, 16}, {4096, 4096}, {ADDRESSES_MAX / 2, 5000}, {UINT64_C(1) << 63, 5000},
    };
    FOR_EACH (row, rows) {
        struct addresses *t = table(rows[row_at].connected_max);
        uint32_t counted = 0;
        for (uint32_t n = 0; n < rows[row_at].addresses; n++) {
            struct ip a = nth(n), b = newcomer(n);
            counted += addresses_enter(t, n % 2 ? &a : &b);
        }
        assert_in_range(counted, rows[row_at].addresses - rows[row_at].addresses / 1000, rows[row_at].addresses);
        addresses_free(t);
    }
    addresses_free(NULL);
}

/* ---- a full window ---- */

static void where_all_have_connections_a_newcomer_is_not_counted(void **state)
{
    (void)state;
    struct full f = fill();
    for (uint32_t n = 0; n < 1000; n++) {
        struct ip a = newcomer(n);
        assert_int_equal(addresses_enter(f.t, &a), 0);
        assert_true(may_begin(f.t, &a, 1, 5000));
        assert_true(may_begin(f.t, &a, 1, 5000));
    }
    FOR_EACH (a, f.in) {
        assert_int_equal(addresses_enter(f.t, &f.in[a_at]), 2);
        assert_true(may_begin(f.t, &f.in[a_at], 1, 5000));
        assert_false(may_begin(f.t, &f.in[a_at], 1, 5000));
    }
    addresses_free(f.t);
}

static void only_who_has_no_connection_left_can_be_forgotten(void **state)
{
    (void)state;
    struct full f = fill();
    assert_int_equal(addresses_enter(f.t, &f.in[5]), 2);
    addresses_leave(f.t, &f.in[5]);
    for (uint32_t n = 0; n < 1000; n++) {
        struct ip a = newcomer(n);
        assert_int_equal(addresses_enter(f.t, &a), 0);
    }
    addresses_leave(f.t, &f.in[5]);
    uint32_t counted = 0;
    for (uint32_t n = 0; n < 1000; n++) {
        struct ip a = newcomer(n);
        counted += addresses_enter(f.t, &a);
    }
    assert_int_equal(counted, 1);
    FOR_EACH (a, f.in)
        assert_int_equal(addresses_enter(f.t, &f.in[a_at]), a_at == 5 ? 0 : 2);
    addresses_free(f.t);
}

/* Those in whose place `a` could be: the addresses of its window. */
static size_t window_of(const struct ip *a, struct ip out[PLACES])
{
    size_t count = 0;
    for (size_t i = 0; i < PLACES; i++) {
        struct full f = fill();
        addresses_leave(f.t, &f.in[i]);
        if (addresses_enter(f.t, a) == 1)
            out[count++] = f.in[i];
        addresses_free(f.t);
    }
    return count;
}

/* All of the window have left. Each began a session at another time, that at `oldest` first; it is forgotten. */
static void check_forgotten(const struct ip *a, const struct ip window[ADDRESSES_WINDOW], size_t oldest)
{
    struct full f = fill();
    for (size_t i = 0; i < ADDRESSES_WINDOW; i++) {
        uint64_t age_ms = i == oldest ? 500 : 10 * ((i * 7 + oldest) % ADDRESSES_WINDOW);
        assert_true(may_begin(f.t, &window[i], 1, 10500 - age_ms));
        addresses_leave(f.t, &window[i]);
    }
    assert_int_equal(addresses_enter(f.t, a), 1);
    for (size_t i = 0; i < ADDRESSES_WINDOW; i++)
        if (i != oldest)
            assert_false(may_begin(f.t, &window[i], 1, 10500));
    assert_true(may_begin(f.t, &window[oldest], 1, 10500));
    assert_int_equal(addresses_enter(f.t, a), 2);
    addresses_free(f.t);
}

static void in_a_full_window_the_one_that_began_no_session_for_longest_is_forgotten(void **state)
{
    (void)state;
    struct ip a = newcomer(0), window[PLACES];
    assert_int_equal(window_of(&a, window), ADDRESSES_WINDOW);
    for (size_t oldest = 0; oldest < ADDRESSES_WINDOW; oldest++)
        check_forgotten(&a, window, oldest);
}

/* A newcomer's handshake takes a place, too, and from nobody who has a connection. */
static void a_flood_of_addresses_forgets_nobody_who_is_connected(void **state)
{
    (void)state;
    struct full f = fill();
    for (size_t i = 0; i < PLACES; i += 2)
        addresses_leave(f.t, &f.in[i]);
    for (size_t i = 1; i < PLACES; i += 2)
        assert_true(may_begin(f.t, &f.in[i], 1, 5000));
    for (uint32_t n = 0; n < 10000; n++) {
        struct ip a = newcomer(n);
        assert_true(may_begin(f.t, &a, 1, 5500));
    }
    for (size_t i = 1; i < PLACES; i += 2) {
        assert_false(may_begin(f.t, &f.in[i], 1, 5500));
        assert_int_equal(addresses_enter(f.t, &f.in[i]), 2);
    }
    addresses_free(f.t);
}

static void another_key_makes_other_windows(void **state)
{
    (void)state;
    static const uint64_t other_key[2] = {3, 4};
    struct full f = fill();
    struct addresses *t = addresses_new(1, other_key);
    assert_non_null(t);
    unsigned counted = 0;
    for (size_t i = 0; i < PLACES; i++)
        counted += addresses_enter(t, &f.in[i]);
    assert_true(counted > 0 && counted < PLACES); /* what fits exactly by one key does not by the other */
    addresses_free(t);
    addresses_free(f.t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connections_of_an_address_are_counted),
        cmocka_unit_test(a_household_counts_as_one_and_its_neighbour_as_another),
        cmocka_unit_test(each_address_has_its_own_rate_of_handshakes),
        cmocka_unit_test(connections_and_handshakes_do_not_touch_each_other),
        cmocka_unit_test(peers_without_an_address_are_not_counted),
        cmocka_unit_test(a_table_has_room_for_as_many_as_may_be_connected),
        cmocka_unit_test(where_all_have_connections_a_newcomer_is_not_counted),
        cmocka_unit_test(only_who_has_no_connection_left_can_be_forgotten),
        cmocka_unit_test(in_a_full_window_the_one_that_began_no_session_for_longest_is_forgotten),
        cmocka_unit_test(a_flood_of_addresses_forgets_nobody_who_is_connected),
        cmocka_unit_test(another_key_makes_other_windows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
