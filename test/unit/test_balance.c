#include "../../proxy/core/balance.h"

#include "unit.h"

#include <stdio.h>

static struct fleet fleet_of(const uint16_t *weights, uint16_t count)
{
    struct fleet f;
    assert_true(fleet_init(&f, count));
    for (uint16_t i = 0; i < count; i++) {
        f.workers[i].weight = weights[i];
        f.workers[i].identity = 0x1000u + i;
    }
    return f;
}

static struct fleet even_fleet(uint16_t count)
{
    uint16_t weights[WORKERS_MAX];
    for (uint16_t i = 0; i < count; i++)
        weights[i] = 1;
    return fleet_of(weights, count);
}

static uint64_t next_random(uint64_t *seed)
{
    *seed += 0x9e3779b97f4a7c15u;
    uint64_t x = *seed;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static int index_of(const struct worker *w)
{
    return w ? w->index : -1;
}

static int pick(struct fleet *f, enum balance policy)
{
    struct balance_ask ask = {.policy = policy, .client = SPAN("client")};
    return index_of(balance_pick(f, &ask));
}

static void cool(struct worker *w, bool timed_out, uint64_t until_ms)
{
    w->is_cooling = true;
    w->timed_out = timed_out;
    w->backoff_ms = REFUSED_BACKOFF_MS_MIN;
    w->cooling_until_ms = until_ms;
}

/* Is `part` of `whole` the share that `weight` of `weights` asks for, to within a percentage of `whole`? */
static bool is_share(unsigned part, unsigned whole, unsigned weight, unsigned weights, unsigned percent)
{
    double difference = (double)part / whole - (double)weight / weights;
    return difference * 100 < percent && difference * -100 < percent;
}

/* ---- least ---- */

static void least_picks_the_smallest_load_for_its_weight(void **state)
{
    (void)state;
    static const struct {
        uint16_t weights[3];
        uint32_t sessions[3];
        int picked;
    } rows[] = {
        {{1, 1, 1}, {5, 3, 4}, 1},     {{1, 1, 1}, {0, 0, 0}, 0},
        {{1, 2, 1}, {2, 3, 2}, 1},     /* 1.5 is less than 2 */
        {{1, 2, 1}, {2, 5, 2}, 0},     /* 2.5 is not */
        {{3, 2, 1}, {100, 66, 34}, 1}, /* 33.3, 33, 34: no rounding */
        {{256, 1, 1}, {255, 1, 1}, 0}, {{256, 256, 1}, {UINT32_MAX, UINT32_MAX - 1, UINT32_MAX}, 1}, /* no overflow */
    };
    FOR_EACH (row, rows) {
        struct fleet f = fleet_of(rows[row_at].weights, 3);
        for (int i = 0; i < 3; i++)
            f.workers[i].sessions = rows[row_at].sessions[i];
        assert_int_equal(pick(&f, BALANCE_LEAST), rows[row_at].picked);
        fleet_fini(&f);
    }
}

static void least_breaks_ties_in_turn(void **state)
{
    (void)state;
    struct fleet f = even_fleet(3);
    for (int i = 0; i < 9; i++)
        assert_int_equal(pick(&f, BALANCE_LEAST), i % 3);
    f.workers[1].sessions = 1;
    static const int rest[] = {0, 2, 0, 2};
    FOR_EACH (r, rest) {
        assert_int_equal(pick(&f, BALANCE_LEAST), rest[r_at]);
    }
    f.turn = UINT16_MAX; /* of a fleet that was larger */
    assert_int_not_equal(pick(&f, BALANCE_LEAST), 1);
    fleet_fini(&f);
}

static void least_counts_newcomers_and_lone_tunnels(void **state)
{
    (void)state;
    struct fleet f = even_fleet(3);
    f.workers[0].newcomers = 1; /* a burst of handshakes must not all go to one worker */
    f.workers[1].lone_tunnels = 1;
    f.workers[2].exchanges = 9;
    assert_int_equal(pick(&f, BALANCE_LEAST), 2);
    fleet_fini(&f);
}

static void least_fills_workers_by_weight(void **state)
{
    (void)state;
    static const uint16_t weights[] = {1, 2, 3, 256};
    struct fleet f = fleet_of(weights, 4);
    for (int i = 0; i < 262 * 10; i++)
        f.workers[pick(&f, BALANCE_LEAST)].sessions++;
    for (int i = 0; i < 4; i++)
        assert_int_equal(f.workers[i].sessions, 10 * weights[i]);
    fleet_fini(&f);
}

/* ---- p2c, random ---- */

static void p2c_never_takes_the_most_loaded_of_all(void **state)
{
    (void)state;
    struct fleet f = even_fleet(4);
    f.workers[2].sessions = 1;
    unsigned picked[4] = {0};
    uint64_t seed = 1;
    for (int i = 0; i < 10000; i++) {
        struct balance_ask ask = {.policy = BALANCE_P2C, .random = next_random(&seed)};
        picked[balance_pick(&f, &ask)->index]++;
    }
    assert_int_equal(picked[2], 0);
    assert_true(picked[0] && picked[1] && picked[3]);
    fleet_fini(&f);
}

static void p2c_keeps_loads_close_and_by_weight(void **state)
{
    (void)state;
    static const uint16_t weights[] = {1, 1, 2, 4, 1, 1};
    struct fleet f = fleet_of(weights, 6);
    uint64_t seed = 7;
    for (int i = 0; i < 10000; i++) {
        struct balance_ask ask = {.policy = BALANCE_P2C, .random = next_random(&seed)};
        balance_pick(&f, &ask)->sessions++;
    }
    for (int i = 0; i < 6; i++) {
        assert_in_range(f.workers[i].sessions, 1000u * weights[i] - 15, 1000u * weights[i] + 15);
    }
    fleet_fini(&f);
}

static void random_honours_weights(void **state)
{
    (void)state;
    static const uint16_t weights[] = {1, 2, 7};
    struct fleet f = fleet_of(weights, 3);
    unsigned picked[3] = {0};
    uint64_t seed = 3;
    for (int i = 0; i < 20000; i++) {
        struct balance_ask ask = {.policy = BALANCE_RANDOM, .random = next_random(&seed)};
        picked[balance_pick(&f, &ask)->index]++;
    }
    for (int i = 0; i < 3; i++)
        assert_true(is_share(picked[i], 20000, weights[i], 10, 1));
    fleet_fini(&f);
}

static void any_random_bits_give_a_worker(void **state)
{
    (void)state;
    static const uint64_t bits[] = {0, 1, UINT32_MAX, UINT64_MAX, (uint64_t)UINT32_MAX << 32, UINT64_MAX - 1};
    struct fleet f = even_fleet(3);
    f.workers[2].weight = 256;
    FOR_EACH (b, bits) {
        struct balance_ask ask = {.policy = BALANCE_RANDOM, .random = bits[b_at]};
        assert_non_null(balance_pick(&f, &ask));
        ask.policy = BALANCE_P2C;
        assert_non_null(balance_pick(&f, &ask));
    }
    fleet_fini(&f);
}

/* ---- round-robin ---- */

static void round_robin_is_smooth(void **state)
{
    (void)state;
    static const struct {
        uint16_t weights[3];
        const char *order;
    } rows[] = {
        {{1, 1, 1}, "abcabcabc"},
        {{3, 1, 1}, "abacaabaca"},
        {{5, 1, 1}, "aabacaaaabacaa"},
        {{1, 2, 1}, "bacbbacb"},
    };
    FOR_EACH (row, rows) {
        struct fleet f = fleet_of(rows[row_at].weights, 3);
        for (const char *c = rows[row_at].order; *c; c++)
            assert_int_equal(pick(&f, BALANCE_ROUND_ROBIN), *c - 'a');
        fleet_fini(&f);
    }
}

static void round_robin_gives_nobody_a_flood_after_a_pause(void **state)
{
    (void)state;
    struct fleet f = even_fleet(3);
    for (int i = 0; i < 100; i++) {
        f.workers[1].state = i < 50 ? WORKER_DRAINING : WORKER_UP;
        int picked = pick(&f, BALANCE_ROUND_ROBIN);
        assert_true(i >= 50 || picked != 1);
        f.workers[picked].sessions += i >= 50 ? 1 : 0;
    }
    for (int i = 0; i < 3; i++)
        assert_in_range(f.workers[i].sessions, 16, 18);
    fleet_fini(&f);
}

/* ---- source and rendezvous ---- */

static struct span nth_client(unsigned n)
{
    static char text[32];
    return span_of(text, (size_t)snprintf(text, sizeof(text), "client %u", n));
}

static void the_same_bytes_belong_to_the_same_worker_on_every_machine(void **state)
{
    (void)state;
    /* worked out by a second program, with floating point: a change here moves every client of every siolb */
    static const uint16_t weights[] = {2, 1, 3, 1, 2};
    static const struct {
        struct span bytes;
        int by_weight, even;
    } rows[] = {
        {{"", 0}, 0, 3},
        {{"abc", 3}, 2, 2},
        {{"aB3dE5gH7jK9mN1pAAAB", 20}, 4, 3},
        {{"\x7f\0\0\1", 4}, 2, 1},
        {{"\xc0\xa8\1\2", 4}, 4, 4},
        {{"12345678", 8}, 1, 1},
        {{"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", 33}, 2, 2},
    };
    struct fleet f = fleet_of(weights, 5), even = even_fleet(5);
    FOR_EACH (row, rows) {
        struct span bytes = edge_copy_span(rows[row_at].bytes);
        assert_int_equal(index_of(balance_rendezvous(&f, bytes, NULL, 0)), rows[row_at].by_weight);
        assert_int_equal(index_of(balance_rendezvous(&even, bytes, NULL, 0)), rows[row_at].even);
    }
    fleet_fini(&f);
    fleet_fini(&even);
}

static void rendezvous_shares_out_by_weight(void **state)
{
    (void)state;
    static const struct {
        uint16_t weights[4];
        unsigned total;
    } rows[] = {{{1, 1, 1, 1}, 4}, {{1, 2, 3, 4}, 10}, {{256, 256, 256, 256}, 1024}, {{10, 1, 1, 256}, 268}};
    FOR_EACH (row, rows) {
        struct fleet f = fleet_of(rows[row_at].weights, 4);
        unsigned picked[4] = {0};
        for (unsigned n = 0; n < 20000; n++)
            picked[balance_rendezvous(&f, nth_client(n), NULL, 0)->index]++;
        for (int i = 0; i < 4; i++)
            assert_true(is_share(picked[i], 20000, rows[row_at].weights[i], rows[row_at].total, 1));
        fleet_fini(&f);
    }
}

static void a_worker_that_leaves_moves_only_its_own(void **state)
{
    (void)state;
    static const uint16_t weights[] = {1, 2, 3, 1};
    struct fleet f = fleet_of(weights, 4);
    unsigned moved_to[4] = {0};
    for (unsigned n = 0; n < 4000; n++) {
        struct worker *before = balance_rendezvous(&f, nth_client(n), NULL, 0);
        struct worker *after = balance_rendezvous(&f, nth_client(n), &f.workers[2], 0);
        assert_ptr_not_equal(after, &f.workers[2]);
        if (before != &f.workers[2])
            assert_ptr_equal(after, before);
        else
            moved_to[after->index]++;
    }
    assert_true(moved_to[0] && moved_to[1] && moved_to[3]); /* and those spread out */
    fleet_fini(&f);
}

static void the_order_in_the_config_does_not_matter(void **state)
{
    (void)state;
    struct fleet f = even_fleet(5), reversed = even_fleet(5);
    for (uint16_t i = 0; i < 5; i++)
        reversed.workers[i].identity = f.workers[4 - i].identity;
    for (unsigned n = 0; n < 500; n++)
        assert_true(balance_rendezvous(&f, nth_client(n), NULL, 0)->identity ==
                    balance_rendezvous(&reversed, nth_client(n), NULL, 0)->identity);
    fleet_fini(&f);
    fleet_fini(&reversed);
}

static void source_sends_a_client_to_its_rendezvous(void **state)
{
    (void)state;
    struct fleet f = even_fleet(5);
    for (unsigned n = 0; n < 100; n++) {
        struct balance_ask ask = {.policy = BALANCE_SOURCE, .client = nth_client(n), .random = n};
        assert_ptr_equal(balance_pick(&f, &ask), balance_rendezvous(&f, nth_client(n), NULL, 0));
    }
    fleet_fini(&f);
}

static void rendezvous_takes_only_who_is_up_and_not_cooling(void **state)
{
    (void)state;
    struct fleet f = even_fleet(4);
    f.workers[0].state = WORKER_DOWN;
    f.workers[1].state = WORKER_DRAINING;
    cool(&f.workers[2], false, 1000);
    for (unsigned n = 0; n < 50; n++) {
        assert_int_equal(index_of(balance_rendezvous(&f, nth_client(n), NULL, 999)), 3);
        assert_null(balance_rendezvous(&f, nth_client(n), &f.workers[3], 999));
        assert_int_equal(index_of(balance_rendezvous(&f, nth_client(n), &f.workers[3], 1000)), 2);
    }
    fleet_fini(&f);
}

/* ---- what all policies share ---- */

static void no_policy_takes_who_is_not_up_or_was_tried(void **state)
{
    (void)state;
    for (unsigned policy = 0; policy < BALANCE_POLICIES; policy++) {
        struct fleet f = even_fleet(6);
        f.workers[0].state = WORKER_DOWN;
        f.workers[1].state = WORKER_DRAINING;
        cool(&f.workers[2], false, 1000);
        cool(&f.workers[4], true, 1000);
        uint64_t seed = 9;
        for (unsigned i = 0; i < 50; i++) {
            struct balance_ask ask = {.policy = (enum balance)policy,
                                      .now_ms = 999,
                                      .random = next_random(&seed),
                                      .client = nth_client(i),
                                      .not_this = &f.workers[3]};
            assert_int_equal(index_of(balance_pick(&f, &ask)), 5);
        }
        fleet_fini(&f);
    }
}

static void a_worker_whose_cooling_is_over_is_tried_by_one_newcomer(void **state)
{
    (void)state;
    for (unsigned policy = 0; policy < BALANCE_POLICIES; policy++) {
        struct fleet f = even_fleet(2);
        cool(&f.workers[0], true, 1000);
        f.workers[1].state = WORKER_DRAINING;
        struct balance_ask ask = {.policy = (enum balance)policy, .now_ms = 999, .client = SPAN("c")};
        assert_null(balance_pick(&f, &ask));
        ask.now_ms = 1000;
        assert_int_equal(index_of(balance_pick(&f, &ask)), 0);
        fleet_note_trying(&f.workers[0], 1000);
        assert_null(balance_pick(&f, &ask));
        fleet_fini(&f);
    }
}

static void when_all_were_refused_the_one_due_first_is_tried_before_its_time(void **state)
{
    (void)state;
    static const struct {
        const char *states; /* u up, a absent, d down, g draining; one letter per worker */
        const char *cools;  /* r refused, t timed out */
        uint64_t until_ms[3];
        int not_this;
        int picked;
    } rows[] = {
        {"uuu", "rrr", {300, 200, 400}, -1, 1},
        {"uuu", "rrr", {300, 200, 400}, 1, 0},
        {"uuu", "rtr", {300, 200, 400}, -1, 0}, /* a silent one would hold the client: not before its time */
        {"uuu", "ttt", {300, 200, 400}, -1, -1},
        {"udg", "rrr", {300, 200, 100}, -1, 0},
        {"udg", "rrr", {300, 200, 100}, 0, -1},
        {"aua", "rrr", {100, 900, 200}, -1, 1}, /* absent ports only if there is nothing else */
        {"aaa", "rrr", {300, 200, 100}, -1, 2},
    };
    for (unsigned policy = 0; policy < BALANCE_POLICIES; policy++) {
        FOR_EACH (row, rows) {
            struct fleet f = even_fleet(3);
            for (int i = 0; i < 3; i++) {
                char s = rows[row_at].states[i];
                f.workers[i].state = s == 'u'   ? WORKER_UP
                                     : s == 'a' ? WORKER_ABSENT
                                     : s == 'd' ? WORKER_DOWN
                                                : WORKER_DRAINING;
                cool(&f.workers[i], rows[row_at].cools[i] == 't', rows[row_at].until_ms[i]);
            }
            int not_this = rows[row_at].not_this;
            struct balance_ask ask = {.policy = (enum balance)policy,
                                      .now_ms = 50,
                                      .client = SPAN("c"),
                                      .not_this = not_this < 0 ? NULL : &f.workers[not_this]};
            assert_int_equal(index_of(balance_pick(&f, &ask)), rows[row_at].picked);
            fleet_fini(&f);
        }
    }
}

static void an_empty_fleet_has_nobody(void **state)
{
    (void)state;
    struct fleet f;
    assert_true(fleet_init(&f, 0));
    for (unsigned policy = 0; policy < BALANCE_POLICIES; policy++)
        assert_int_equal(pick(&f, (enum balance)policy), -1);
    fleet_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(least_picks_the_smallest_load_for_its_weight),
        cmocka_unit_test(least_breaks_ties_in_turn),
        cmocka_unit_test(least_counts_newcomers_and_lone_tunnels),
        cmocka_unit_test(least_fills_workers_by_weight),
        cmocka_unit_test(p2c_never_takes_the_most_loaded_of_all),
        cmocka_unit_test(p2c_keeps_loads_close_and_by_weight),
        cmocka_unit_test(random_honours_weights),
        cmocka_unit_test(any_random_bits_give_a_worker),
        cmocka_unit_test(round_robin_is_smooth),
        cmocka_unit_test(round_robin_gives_nobody_a_flood_after_a_pause),
        cmocka_unit_test(the_same_bytes_belong_to_the_same_worker_on_every_machine),
        cmocka_unit_test(rendezvous_shares_out_by_weight),
        cmocka_unit_test(a_worker_that_leaves_moves_only_its_own),
        cmocka_unit_test(the_order_in_the_config_does_not_matter),
        cmocka_unit_test(source_sends_a_client_to_its_rendezvous),
        cmocka_unit_test(rendezvous_takes_only_who_is_up_and_not_cooling),
        cmocka_unit_test(no_policy_takes_who_is_not_up_or_was_tried),
        cmocka_unit_test(a_worker_whose_cooling_is_over_is_tried_by_one_newcomer),
        cmocka_unit_test(when_all_were_refused_the_one_due_first_is_tried_before_its_time),
        cmocka_unit_test(an_empty_fleet_has_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
