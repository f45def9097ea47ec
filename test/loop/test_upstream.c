#include "../../proxy/upstream.h"

#include "loop.h"

#include <sys/resource.h>
#include <sys/un.h>

/* One worker, which the test plays behind `listener`. */
struct scene {
    struct loop *loop;
    struct event_base *base;
    struct ctx *ctx;
    struct worker *w;
    int listener;
    unsigned calls; /* of on_event */
};

static void on_event(void *user, short what)
{
    struct scene *s = user;
    (void)what;
    s->calls++;
}

static struct scene *scene_new(const char *worker, int listener)
{
    struct scene *s = calloc(1, sizeof(*s));
    assert_non_null(s);
    s->listener = listener;
    s->loop = loop_new(worker);
    s->ctx = &s->loop->ctx;
    s->base = s->ctx->base;
    s->w = &s->ctx->fleet.workers[0];
    return s;
}

static int scene_begin(void **state)
{
    char worker[32];
    uint16_t port;
    int listener = tcp_listen(&port, false);
    snprintf(worker, sizeof(worker), "127.0.0.1:%u", port);
    *state = scene_new(worker, listener);
    return 0;
}

/* A port that is taken, and nobody listens there. */
static int scene_begin_refusing(void **state)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof(at);
    char worker[32];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, bytes), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &bytes), 0);
    snprintf(worker, sizeof(worker), "127.0.0.1:%u", ntohs(at.sin_port));
    *state = scene_new(worker, fd);
    return 0;
}

static int scene_end(void **state)
{
    struct scene *s = *state;
    close(s->listener);
    loop_free(s->loop);
    free(s);
    return 0;
}

static struct upstream *take(struct scene *s, bool fresh)
{
    enum upstream_failure failure;
    struct upstream *u = upstream_take(s->ctx, s->w, fresh, on_event, s, &failure);
    assert_non_null(u);
    assert_int_equal(failure, UPSTREAM_FINE);
    return u;
}

/* A fresh one that is connected; *peer_out is the worker's end. */
static struct upstream *take_connected(struct scene *s, int *peer_out)
{
    struct upstream *u = take(s, true);
    *peer_out = tcp_accept(s->listener);
    loop_settle(s->base);
    upstream_note_connected(u);
    return u;
}

/* Back to the pool, and the loop has turned since. */
static void give_back(struct scene *s, struct upstream *u)
{
    upstream_give_back(u);
    loop_settle(s->base);
}

static void request(struct scene *s, struct upstream *u, int peer, const char *text)
{
    size_t sent;
    assert_int_equal(stream_write(&u->stream, span_from_str(text), &sent), STREAM_OK);
    u->sent += sent;
    peer_expect(s->base, peer, text);
}

static uint64_t idle(const struct scene *s)
{
    return loop_metric(s->loop, M_UPSTREAMS_IDLE);
}

/* --- connect --- */

static void events_come_after_the_take_and_none_from_within(void **state)
{
    struct scene *s = *state;
    struct upstream *u = take(s, false);
    assert_int_equal(s->calls, 0);
    assert_false(u->is_connected);
    assert_false(u->is_reused);
    LOOP_UNTIL(s->base, s->calls > 0);
    assert_int_equal(loop_metric(s->loop, M_UPSTREAM_CONNECTS), 1);
    upstream_close(u, false);
    upstream_close(u, false); /* harmless */
    unsigned calls = s->calls;
    loop_settle(s->base);
    assert_int_equal(s->calls, calls);
}

static void a_first_connect_is_news_of_the_worker(void **state)
{
    struct scene *s = *state;
    int peer[2];
    struct upstream *first = take_connected(s, &peer[0]), *second = take_connected(s, &peer[1]);
    assert_true(s->w->was_up);
    const char *line = strstr(loop_log(s->loop), "info worker up worker=127.0.0.1:");
    assert_non_null(line);
    assert_null(strstr(line + strlen("info worker up"), "worker up"));
    upstream_close(first, false);
    upstream_close(second, true);
    assert_int_equal(peer_wait_end(s->base, peer[0]), PEER_FIN);
    assert_int_equal(peer_wait_end(s->base, peer[1]), PEER_RST);
    close(peer[0]);
    close(peer[1]);
}

static void a_refused_connect_shows_at_the_first_write(void **state)
{
    struct scene *s = *state;
    enum upstream_failure failure;
    size_t sent;
    struct upstream *u = upstream_take(s->ctx, s->w, false, on_event, s, &failure);
    assert_non_null(u); /* it is under way */
    LOOP_UNTIL(s->base, s->calls > 0);
    assert_int_equal(stream_write(&u->stream, SPAN("x"), &sent), STREAM_FAILED);
    assert_int_equal(errno, ECONNREFUSED);
    upstream_close(u, false);
}

static void a_worker_that_is_refused_after_it_was_up_loses_its_sessions(void **state)
{
    struct scene *s = *state;
    int peer;
    upstream_close(take_connected(s, &peer), false);
    close(peer);
    (void)session_learn(s->ctx, s->w, SPAN("/"), SPAN("abc"), 60);
    uint32_t generation = sidmap_generation(&s->ctx->sidmap, s->w->slot);
    assert_int_equal(upstream_note_failed(s->ctx, s->w, ETIMEDOUT), UPSTREAM_UNREACHABLE);
    assert_int_equal(s->w->sessions, 1); /* a worker that hangs may come back with all of them */
    assert_int_equal(upstream_note_failed(s->ctx, s->w, ECONNREFUSED), UPSTREAM_REFUSED);
    assert_int_equal(s->w->sessions, 0);
    assert_int_equal(loop_metric(s->loop, M_SESSIONS_LOST), 1);
    assert_int_equal(sidmap_generation(&s->ctx->sidmap, s->w->slot), generation + 1);
    assert_int_equal(upstream_note_failed(s->ctx, s->w, ECONNREFUSED), UPSTREAM_REFUSED);
    assert_int_equal(sidmap_generation(&s->ctx->sidmap, s->w->slot), generation + 1); /* once */
}

static void what_a_failed_connect_means_is_told_by_its_error(void **state)
{
    static const struct {
        int error;
        enum upstream_failure failure;
        bool cools;
    } rows[] = {
        {ECONNREFUSED, UPSTREAM_REFUSED, true},     {ENOENT, UPSTREAM_REFUSED, true},
        {ETIMEDOUT, UPSTREAM_UNREACHABLE, true},    {EHOSTUNREACH, UPSTREAM_UNREACHABLE, true},
        {EMFILE, UPSTREAM_NOT_TRIED, false},        {ENFILE, UPSTREAM_NOT_TRIED, false},
        {ENOMEM, UPSTREAM_NOT_TRIED, false},        {ENOBUFS, UPSTREAM_NOT_TRIED, false},
        {EADDRNOTAVAIL, UPSTREAM_NOT_TRIED, false}, {EAGAIN, UPSTREAM_NOT_TRIED, false},
    };
    (void)state;
    FOR_EACH (row, rows) {
        void *end = scene_new("127.0.0.1:4001", -1);
        struct scene *s = end;
        assert_int_equal(upstream_note_failed(s->ctx, s->w, rows[row_at].error), rows[row_at].failure);
        assert_int_equal(s->w->is_cooling, rows[row_at].cools); /* our own lack is no fault of the worker */
        bool refused = rows[row_at].failure == UPSTREAM_REFUSED;
        bool unreachable = rows[row_at].failure == UPSTREAM_UNREACHABLE;
        assert_int_equal(loop_metric(s->loop, M_UPSTREAM_REFUSED), refused);
        assert_int_equal(loop_metric(s->loop, M_UPSTREAM_TIMED_OUT), unreachable);
        scene_end(&end);
    }
}

static void a_unix_worker_is_there_or_refused_at_once(void **state)
{
    char folder[] = "/tmp/test_upstream.XXXXXX", worker[64];
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    enum upstream_failure failure;
    size_t sent;
    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(at.sun_path, sizeof(at.sun_path), "%s/1.sock", folder);
    snprintf(worker, sizeof(worker), "unix:%s", at.sun_path);
    void *end = scene_new(worker, -1);
    struct scene *s = end;
    assert_null(upstream_take(s->ctx, s->w, false, on_event, s, &failure));
    assert_int_equal(failure, UPSTREAM_REFUSED);
    assert_true(s->w->is_cooling); /* noted */
    s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(s->listener, 5), 0);
    struct upstream *u = take(s, false);
    int peer = accept4(s->listener, NULL, NULL, SOCK_NONBLOCK);
    assert_int_equal(stream_write(&u->stream, SPAN("hello"), &sent), STREAM_OK);
    peer_expect(s->base, peer, "hello");
    assert_false(upstream_is_request_unseen(u)); /* cannot be known */
    upstream_close(u, false);
    close(peer);
    unlink(at.sun_path);
    rmdir(folder);
    scene_end(&end);
}

/* --- pool --- */

static void the_pool_lends_the_most_recent_first(void **state)
{
    struct scene *s = *state;
    struct upstream *u[3];
    int peer[3];
    for (int i = 0; i < 3; i++)
        u[i] = take_connected(s, &peer[i]);
    for (int i = 0; i < 3; i++)
        give_back(s, u[i]);
    assert_int_equal(idle(s), 3);
    for (int i = 2; i >= 0; i--) {
        assert_ptr_equal(take(s, false), u[i]);
        assert_true(u[i]->is_reused);
        assert_int_equal(idle(s), i);
    }
    assert_int_equal(loop_metric(s->loop, M_UPSTREAM_REUSED), 3);
    assert_int_equal(loop_metric(s->loop, M_UPSTREAM_CONNECTS), 3);
    for (int i = 0; i < 3; i++) {
        upstream_close(u[i], false);
        close(peer[i]);
    }
}

static void a_fresh_one_leaves_the_pool_alone(void **state)
{
    struct scene *s = *state;
    int peer;
    give_back(s, take_connected(s, &peer));
    struct upstream *u = take(s, true);
    assert_false(u->is_reused);
    assert_int_equal(idle(s), 1);
    upstream_close(u, false);
    close(peer);
}

static void events_of_a_reused_one_go_to_its_new_user(void **state)
{
    struct scene *s = *state;
    int peer;
    struct upstream *u = take_connected(s, &peer);
    give_back(s, u);
    unsigned calls = s->calls;
    loop_settle(s->base);
    assert_int_equal(s->calls, calls); /* nobody's meanwhile */
    assert_ptr_equal(take(s, false), u);
    request(s, u, peer, "GET");
    peer_send(peer, "200");
    LOOP_UNTIL(s->base, u->stream.flags & STREAM_READABLE);
    assert_true(s->calls > calls);
    upstream_close(u, false);
    close(peer);
}

enum death { DIES_BY_FIN, DIES_BY_RST, DIES_BY_A_BYTE, DEATHS };

static int die(int peer, enum death how)
{
    if (how == DIES_BY_A_BYTE)
        peer_send(peer, "HTTP/1.1 408 Request Timeout\r\n");
    else if (how == DIES_BY_FIN)
        close(peer);
    else
        peer_reset(peer);
    return how == DIES_BY_A_BYTE ? peer : -1;
}

static void an_idle_one_that_closes_or_speaks_is_closed(void **state)
{
    struct scene *s = *state;
    for (enum death how = DIES_BY_FIN; how < DEATHS; how++) {
        int peer;
        give_back(s, take_connected(s, &peer));
        assert_int_equal(idle(s), 1);
        peer = die(peer, how);
        LOOP_UNTIL(s->base, idle(s) == 0);
        if (peer >= 0)
            close(peer);
    }
}

static void one_that_died_in_the_turn_of_its_return_is_not_lent(void **state)
{
    struct scene *s = *state;
    for (enum death how = DIES_BY_FIN; how < DEATHS; how++) {
        int peer[2];
        struct upstream *good = take_connected(s, &peer[0]), *bad = take_connected(s, &peer[1]);
        upstream_give_back(good);
        upstream_give_back(bad);
        peer[1] = die(peer[1], how); /* and the loop does not turn */
        assert_ptr_equal(take(s, false), good);
        assert_int_equal(idle(s), 0);
        upstream_close(good, false);
        close(peer[0]);
        if (peer[1] >= 0)
            close(peer[1]);
    }
}

static void an_idle_one_retires_a_second_before_the_worker_would_close_it(void **state)
{
    static const struct {
        uint16_t said_s;
        uint64_t lent_ms;
    } rows[] = {{0, 4000}, {5, 4000}, {72, 71000}, {2, 1000}, {1, 0}};
    struct scene *s = *state;
    FOR_EACH (row, rows) {
        int peer;
        struct upstream *u = take_connected(s, &peer);
        s->ctx->pools[0].keep_alive_s = rows[row_at].said_s;
        uint64_t before_ms = clock_ms();
        give_back(s, u);
        assert_true(u->idle_until_ms >= before_ms + rows[row_at].lent_ms);
        assert_true(u->idle_until_ms <= clock_ms() + rows[row_at].lent_ms);
        assert_true(upstream_evict(s->ctx));
        close(peer);
    }
}

static void a_retired_one_is_neither_lent_nor_kept(void **state)
{
    struct scene *s = *state;
    struct upstream *u[2];
    int peer[2];
    for (int i = 0; i < 2; i++)
        u[i] = take_connected(s, &peer[i]);
    for (int i = 0; i < 2; i++)
        give_back(s, u[i]);
    upstream_sweep(s->ctx);
    assert_int_equal(idle(s), 2);
    u[0]->idle_until_ms = clock_ms(); /* the older one is over */
    upstream_sweep(s->ctx);
    assert_int_equal(idle(s), 1);
    assert_int_equal(peer_wait_end(s->base, peer[0]), PEER_FIN);
    u[1]->idle_until_ms = clock_ms();
    struct upstream *fresh = take(s, false);
    assert_false(fresh->is_reused);
    assert_int_equal(idle(s), 0);
    assert_int_equal(peer_wait_end(s->base, peer[1]), PEER_FIN);
    upstream_close(fresh, false);
    close(peer[0]);
    close(peer[1]);
}

static void eviction_takes_the_oldest_idle_one(void **state)
{
    struct scene *s = *state;
    int peer[2];
    struct upstream *first = take_connected(s, &peer[0]), *second = take_connected(s, &peer[1]);
    assert_false(upstream_evict(s->ctx)); /* none is idle: those on loan are not touched */
    give_back(s, first);
    give_back(s, second);
    assert_true(upstream_evict(s->ctx));
    assert_int_equal(peer_wait_end(s->base, peer[0]), PEER_FIN);
    assert_int_equal(idle(s), 1);
    assert_true(upstream_evict(s->ctx));
    assert_false(upstream_evict(s->ctx));
    close(peer[0]);
    close(peer[1]);
}

static void without_a_descriptor_an_idle_one_makes_room(void **state)
{
    struct scene *s = *state;
    struct rlimit old, none;
    enum upstream_failure failure;
    int peer;
    give_back(s, take_connected(s, &peer));
    int next = dup(STDERR_FILENO);
    close(next);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    none = old;
    none.rlim_cur = (rlim_t)next;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    struct upstream *u = upstream_take(s->ctx, s->w, true, on_event, s, &failure);
    struct upstream *too_many = upstream_take(s->ctx, s->w, true, on_event, s, &failure);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_non_null(u);
    assert_int_equal(idle(s), 0);
    assert_null(too_many);
    assert_int_equal(failure, UPSTREAM_NOT_TRIED);
    assert_false(s->w->is_cooling);
    upstream_close(u, false);
    close(peer);
}

static void a_released_descriptor_is_open_and_no_longer_ours(void **state)
{
    struct scene *s = *state;
    int peer;
    struct upstream *u = take_connected(s, &peer);
    int fd = upstream_release(u);
    unsigned calls = s->calls;
    peer_send(peer, "hello");
    loop_settle(s->base);
    assert_int_equal(s->calls, calls);
    peer_expect(s->base, fd, "hello");
    close(fd);
    close(peer);
}

/* --- has the worker seen the request? --- */

static void a_request_that_was_acknowledged_is_seen(void **state)
{
    struct scene *s = *state;
    int peer;
    struct upstream *u = take_connected(s, &peer);
    assert_true(upstream_is_request_unseen(u)); /* nothing sent */
    request(s, u, peer, "POST 1");
    LOOP_UNTIL(s->base, !upstream_is_request_unseen(u));
    peer_send(peer, "200");
    loop_settle(s->base);
    char got[8];
    assert_int_equal(recv(stream_fd(&u->stream), got, sizeof(got), 0), 3);
    u->stream.flags &= (uint8_t)~STREAM_READABLE;
    upstream_give_back(u);
    assert_ptr_equal(take(s, false), u);
    assert_int_equal(u->sent_before, 6);
    assert_true(upstream_is_request_unseen(u)); /* the one before does not count */
    request(s, u, peer, "POST 2");
    LOOP_UNTIL(s->base, !upstream_is_request_unseen(u));
    upstream_close(u, false);
    close(peer);
}

/* The race with the worker's keep-alive time: its FIN and our request pass each other. */
static void a_request_to_a_worker_that_has_closed_is_unseen(void **state)
{
    struct scene *s = *state;
    int peer;
    size_t sent;
    struct upstream *u = take_connected(s, &peer);
    close(peer);
    assert_int_equal(stream_write(&u->stream, SPAN("POST"), &sent), STREAM_OK);
    u->sent += sent;
    loop_settle(s->base);
    assert_true(upstream_is_request_unseen(u));
    upstream_close(u, false);
}

int main(void)
{
#define SCENE_TEST(f) cmocka_unit_test_setup_teardown(f, scene_begin, scene_end)
    const struct CMUnitTest tests[] = {
        SCENE_TEST(events_come_after_the_take_and_none_from_within),
        SCENE_TEST(a_first_connect_is_news_of_the_worker),
        cmocka_unit_test_setup_teardown(a_refused_connect_shows_at_the_first_write, scene_begin_refusing, scene_end),
        SCENE_TEST(a_worker_that_is_refused_after_it_was_up_loses_its_sessions),
        cmocka_unit_test(what_a_failed_connect_means_is_told_by_its_error),
        cmocka_unit_test(a_unix_worker_is_there_or_refused_at_once),
        SCENE_TEST(the_pool_lends_the_most_recent_first),
        SCENE_TEST(a_fresh_one_leaves_the_pool_alone),
        SCENE_TEST(events_of_a_reused_one_go_to_its_new_user),
        SCENE_TEST(an_idle_one_that_closes_or_speaks_is_closed),
        SCENE_TEST(one_that_died_in_the_turn_of_its_return_is_not_lent),
        SCENE_TEST(an_idle_one_retires_a_second_before_the_worker_would_close_it),
        SCENE_TEST(a_retired_one_is_neither_lent_nor_kept),
        SCENE_TEST(eviction_takes_the_oldest_idle_one),
        SCENE_TEST(without_a_descriptor_an_idle_one_makes_room),
        SCENE_TEST(a_released_descriptor_is_open_and_no_longer_ours),
        SCENE_TEST(a_request_that_was_acknowledged_is_seen),
        SCENE_TEST(a_request_to_a_worker_that_has_closed_is_unseen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
