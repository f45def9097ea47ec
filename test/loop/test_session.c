#include "../../proxy/session.h"

#include "loop.h"

#define PATH  SPAN("/socket.io/")
#define TTL_S 20

struct scene {
    struct loop *loop;
    struct ctx *ctx;
    struct worker *w; /* two of them */
};

static int scene_begin(void **state)
{
    struct scene *s = calloc(1, sizeof(*s));
    assert_non_null(s);
    s->loop = loop_new("127.0.0.1:4001-4002");
    s->ctx = &s->loop->ctx;
    s->w = s->ctx->fleet.workers;
    *state = s;
    return 0;
}

static int scene_end(void **state)
{
    struct scene *s = *state;
    loop_free(s->loop);
    free(s);
    return 0;
}

static uint64_t learn(struct scene *s, struct worker *w, const char *sid)
{
    return session_learn(s->ctx, w, PATH, span_from_str(sid), TTL_S);
}

static void assert_sessions_at(const struct scene *s, uint32_t first, uint32_t second, int line)
{
    if (s->w[0].sessions != first || s->w[1].sessions != second)
        fail_msg("line %d: sessions %u and %u, expected %u and %u", line, s->w[0].sessions, s->w[1].sessions, first,
                 second);
    if (loop_metric(s->loop, M_SESSIONS) != first + second)
        fail_msg("line %d: the gauge says %llu", line, (unsigned long long)loop_metric(s->loop, M_SESSIONS));
}

#define assert_sessions(s, first, second) assert_sessions_at((s), (first), (second), __LINE__)

/* Index of the worker that is known to own it, -1: none. */
static int owner_of(const struct scene *s, uint64_t key)
{
    struct sidmap_owner owner;
    return sidmap_find(&s->ctx->sidmap, key, s->ctx->now_s, &owner) ? s->ctx->slot_index[owner.slot] : -1;
}

/* The whole map is looked through in so many sweeps. */
static void sweep_all(struct scene *s)
{
    for (int i = 0; i < 8; i++)
        session_sweep(s->ctx);
}

static void a_learned_sid_is_known_and_counted(void **state)
{
    struct scene *s = *state;
    uint64_t a = learn(s, &s->w[0], "a"), b = learn(s, &s->w[1], "b"), c = learn(s, &s->w[1], "c");
    assert_int_equal(owner_of(s, a), 0);
    assert_int_equal(owner_of(s, b), 1);
    assert_int_equal(owner_of(s, c), 1);
    assert_int_equal(a, sidmap_key(&s->ctx->sidmap, PATH, SPAN("a")));
    assert_sessions(s, 1, 2);
}

static void the_same_sid_under_another_path_is_another_session(void **state)
{
    struct scene *s = *state;
    uint64_t one = learn(s, &s->w[0], "a");
    uint64_t two = session_learn(s->ctx, &s->w[1], SPAN("/chat/"), SPAN("a"), TTL_S);
    assert_int_not_equal(one, two);
    assert_int_equal(owner_of(s, one), 0);
    assert_int_equal(owner_of(s, two), 1);
    assert_sessions(s, 1, 1);
}

static void learning_again_renews_and_does_not_count_again(void **state)
{
    struct scene *s = *state;
    uint64_t key = learn(s, &s->w[0], "a");
    s->ctx->now_s += TTL_S - 1;
    learn(s, &s->w[0], "a");
    assert_sessions(s, 1, 0);
    s->ctx->now_s += TTL_S - 1;
    assert_int_equal(owner_of(s, key), 0);
    session_close(s->ctx, key);
    assert_sessions(s, 0, 0);
    learn(s, &s->w[0], "a"); /* it was counted out: it is counted in */
    assert_sessions(s, 1, 0);
}

static void a_sid_that_another_worker_mints_moves_and_is_reported(void **state)
{
    struct scene *s = *state;
    uint64_t key = learn(s, &s->w[0], "collision-of-two");
    learn(s, &s->w[1], "collision-of-two");
    assert_int_equal(owner_of(s, key), 1);
    assert_sessions(s, 0, 1);
    assert_int_equal(loop_metric(s->loop, M_SID_COLLISIONS), 1);
    assert_non_null(strstr(loop_log(s->loop), " error sid collision sid="));
    assert_null(strstr(loop_log(s->loop), "collision-of-two")); /* a sid is a credential */
}

static void a_full_map_forgets_and_counts_what_it_forgot(void **state)
{
    struct scene *s = *state;
    uint32_t learned = 0;
    while (loop_metric(s->loop, M_SIDS_EVICTED) < 20) {
        char sid[16];
        snprintf(sid, sizeof(sid), "sid-%u", learned);
        learn(s, &s->w[learned % 2], sid);
        learned++;
        assert_true(learned < 10 * LOOP_ENTRIES);
        assert_int_equal(s->w[0].sessions + s->w[1].sessions, learned - loop_metric(s->loop, M_SIDS_EVICTED));
        assert_int_equal(loop_metric(s->loop, M_SESSIONS), s->w[0].sessions + s->w[1].sessions);
    }
    assert_true(learned - 20 <= LOOP_ENTRIES);
    s->ctx->now_s += TTL_S + 1;
    sweep_all(s);
    assert_sessions(s, 0, 0); /* each worker's count came down by its own */
}

static void a_session_lives_as_long_as_it_is_touched(void **state)
{
    struct scene *s = *state;
    uint64_t kept = learn(s, &s->w[0], "kept"), left = learn(s, &s->w[1], "left");
    for (int i = 0; i < 5; i++) {
        s->ctx->now_s += TTL_S;
        session_touch(s->ctx, kept);
        sweep_all(s);
    }
    assert_int_equal(owner_of(s, kept), 0);
    assert_int_equal(owner_of(s, left), -1);
    assert_sessions(s, 1, 0);
    s->ctx->now_s += TTL_S + 1;
    session_touch(s->ctx, kept); /* too late */
    sweep_all(s);
    assert_int_equal(owner_of(s, kept), -1);
    assert_sessions(s, 0, 0);
}

static void a_closed_session_is_known_but_not_counted_until_it_is_revived(void **state)
{
    struct scene *s = *state;
    uint64_t key = learn(s, &s->w[0], "a");
    session_revive(s->ctx, key); /* it lives: nothing */
    assert_sessions(s, 1, 0);
    session_close(s->ctx, key);
    session_close(s->ctx, key);
    assert_sessions(s, 0, 0);
    assert_int_equal(owner_of(s, key), 0);
    session_revive(s->ctx, key);
    session_revive(s->ctx, key);
    assert_sessions(s, 1, 0);
    session_close(s->ctx, key);
    s->ctx->now_s += TTL_S + 1;
    sweep_all(s); /* what is counted out already is not counted out again */
    assert_sessions(s, 0, 0);
    session_revive(s->ctx, key);
    assert_sessions(s, 0, 0);
}

static void a_sid_that_its_worker_does_not_know_is_forgotten(void **state)
{
    struct scene *s = *state;
    uint64_t key = learn(s, &s->w[0], "a");
    learn(s, &s->w[0], "b");
    session_forget(s->ctx, key);
    assert_int_equal(owner_of(s, key), -1);
    assert_sessions(s, 1, 0); /* that one and no other */
    assert_int_equal(loop_metric(s->loop, M_SESSIONS_GONE), 1);
    session_forget(s->ctx, key);
    assert_int_equal(loop_metric(s->loop, M_SESSIONS_GONE), 1);
    assert_sessions(s, 1, 0);
}

static void the_sessions_of_a_lost_worker_are_unknown_at_once(void **state)
{
    struct scene *s = *state;
    uint64_t lost = learn(s, &s->w[0], "lost"), closed = learn(s, &s->w[0], "closed"),
             kept = learn(s, &s->w[1], "kept");
    session_close(s->ctx, closed);
    session_lose_worker(s->ctx, &s->w[0]);
    assert_int_equal(owner_of(s, lost), -1);
    assert_int_equal(owner_of(s, closed), -1);
    assert_int_equal(owner_of(s, kept), 1);
    assert_sessions(s, 0, 1);
    assert_int_equal(loop_metric(s->loop, M_SESSIONS_LOST), 1);
    uint64_t anew = learn(s, &s->w[0], "new"), again = learn(s, &s->w[0], "lost"); /* its next process */
    assert_int_equal(owner_of(s, anew), 0);
    assert_int_equal(owner_of(s, again), 0);
    assert_sessions(s, 2, 1);
    sweep_all(s); /* entries of the older generation were counted out when it ended */
    session_close(s->ctx, lost);
    assert_sessions(s, 1, 1);
}

static void the_time_to_live_is_two_pings_and_ten_seconds(void **state)
{
    static const struct {
        uint32_t interval_ms, timeout_ms;
        uint16_t ttl_s;
    } rows[] = {
        {25000, 20000, 55},   {300, 200, 11},
        {1000, 1000, 12},     {1, 0, 11},
        {0, 5000, 15},        {0, 0, 55},
        {25000, 5000, 40},    {60000000, 5525000, 65535},
        {0, 65525001, 65535}, {UINT32_MAX, UINT32_MAX, 65535},
    };
    (void)state;
    FOR_EACH (row, rows) {
        struct eio_open open = {.ping_interval_ms = rows[row_at].interval_ms,
                                .ping_timeout_ms = rows[row_at].timeout_ms};
        assert_int_equal(session_ttl_s(&open), rows[row_at].ttl_s);
    }
}

int main(void)
{
#define SCENE_TEST(f) cmocka_unit_test_setup_teardown(f, scene_begin, scene_end)
    const struct CMUnitTest tests[] = {
        SCENE_TEST(a_learned_sid_is_known_and_counted),
        SCENE_TEST(the_same_sid_under_another_path_is_another_session),
        SCENE_TEST(learning_again_renews_and_does_not_count_again),
        SCENE_TEST(a_sid_that_another_worker_mints_moves_and_is_reported),
        SCENE_TEST(a_full_map_forgets_and_counts_what_it_forgot),
        SCENE_TEST(a_session_lives_as_long_as_it_is_touched),
        SCENE_TEST(a_closed_session_is_known_but_not_counted_until_it_is_revived),
        SCENE_TEST(a_sid_that_its_worker_does_not_know_is_forgotten),
        SCENE_TEST(the_sessions_of_a_lost_worker_are_unknown_at_once),
        cmocka_unit_test(the_time_to_live_is_two_pings_and_ten_seconds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
