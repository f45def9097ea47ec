#include "../../proxy/tunnel.h"

#include "loop.h"

#include <linux/sockios.h>

#define HEAD "HTTP/1.1 101 Switching Protocols\r\n\r\n"

enum { CLIENT, WORKER };

enum wire { TCP, TCP_SMALL, UNIX };

static const char *const side_name[] = {"client", "worker"};

/* A tunnel, and the peers at its two ends. */
struct scene {
    struct loop *loop;
    struct event_base *base;
    struct ctx *ctx;
    struct worker *worker;
    struct tunnel_spec spec;
    int peer[2]; /* -1: closed by the test */
};

/* All but the start; the test may change s->spec. */
static struct scene *scene_prepare(enum wire wire)
{
    struct scene *s = calloc(1, sizeof(*s));
    assert_non_null(s);
    s->loop = loop_new("127.0.0.1:4001-4002");
    s->ctx = &s->loop->ctx;
    s->base = s->ctx->base;
    s->worker = &s->ctx->fleet.workers[1];
    int *ours[2] = {&s->spec.client_fd, &s->spec.worker_fd};
    for (int i = 0; i < 2; i++) {
        if (wire == UNIX)
            unix_pair(ours[i], &s->peer[i]);
        else
            tcp_pair(ours[i], &s->peer[i], wire == TCP_SMALL);
    }
    s->spec.to_client = SPAN(HEAD);
    s->spec.head_bytes = sizeof(HEAD) - 1;
    s->spec.to_worker = SPAN("");
    s->spec.worker = s->worker;
    s->spec.id = 7;
    s->spec.started_s = s->ctx->now_s;
    s->spec.client.family = IP_NONE;
    s->spec.route = ROUTE_NEW;
    return s;
}

static struct scene *scene_new(enum wire wire)
{
    struct scene *s = scene_prepare(wire);
    assert_true(tunnel_start(s->ctx, &s->spec));
    peer_expect(s->base, s->peer[CLIENT], HEAD);
    loop_settle(s->base);
    return s;
}

static void scene_sweep(struct scene *s, unsigned times)
{
    while (times--)
        tunnel_sweep(s->ctx);
}

static void scene_reset_peer(struct scene *s, int side)
{
    peer_reset(s->peer[side]);
    s->peer[side] = -1;
}

static bool is_open(const struct scene *s)
{
    return loop_metric(s->loop, M_TUNNELS) == 1;
}

/* Closes whatever is left, and checks that nothing of it stays behind. Returns NULL, for EACH_WAY. */
static struct scene *scene_end(struct scene *s)
{
    while (tunnel_close_oldest(s->ctx, REASON_DRAINED))
        ;
    loop_settle(s->base);
    assert_int_equal(loop_metric(s->loop, M_TUNNELS), 0);
    assert_int_equal(loop_metric(s->loop, M_BUFFERED_BYTES), 0);
    assert_int_equal(s->worker->tunnels, 0);
    assert_int_equal(s->worker->lone_tunnels, 0);
    for (int i = 0; i < 2; i++)
        if (s->peer[i] >= 0)
            close(s->peer[i]);
    loop_free(s->loop);
    free(s);
    return NULL;
}

/* The test's body, once for each direction and a new tunnel each time. */
#define EACH_WAY(from, s, wire)                                                                                        \
    for (int from = CLIENT; from <= WORKER; from++)                                                                    \
        for (struct scene *s = scene_new(wire); s; s = scene_end(s))

static void assert_logged(struct scene *s, int who, const char *reason)
{
    char wanted[64];
    snprintf(wanted, sizeof(wanted), "end=%s/tunnel reason=%s ", side_name[who], reason);
    if (!strstr(loop_log(s->loop), wanted))
        fail_msg("no \"%s\" in: %s", wanted, loop_log(s->loop));
}

/* Let one side send until nothing more fits anywhere on the way. Returns the bytes. */
static size_t fill_until_it_stalls(struct scene *s, int from)
{
    size_t total = 0, more;
    do {
        more = peer_fill(s->peer[from], total, 64u << 20);
        total += more;
        loop_settle(s->base);
    } while (more);
    return total;
}

/* --- bytes --- */

static void what_came_with_the_101_goes_first_each_way(void **state)
{
    (void)state;
    struct scene *s = scene_prepare(TCP);
    s->spec.to_client = SPAN(HEAD "frame");
    s->spec.to_worker = SPAN("early");
    peer_send(s->peer[CLIENT], " and late");
    peer_send(s->peer[WORKER], "s and more");
    assert_true(tunnel_start(s->ctx, &s->spec));
    peer_expect(s->base, s->peer[CLIENT], HEAD "frames and more");
    peer_expect(s->base, s->peer[WORKER], "early and late");
    scene_end(s);
}

static void bytes_pass_both_ways_and_are_counted_without_the_head(void **state)
{
    (void)state;
    struct scene *s = scene_new(TCP);
    for (int i = 0; i < 10; i++) {
        peer_send(s->peer[CLIENT], "ping");
        peer_expect(s->base, s->peer[WORKER], "ping");
        peer_send(s->peer[WORKER], "pong!");
        peer_expect(s->base, s->peer[CLIENT], "pong!");
    }
    assert_true(tunnel_close_oldest(s->ctx, REASON_DRAINED));
    assert_non_null(strstr(loop_log(s->loop), "conn=7 client=unix worker=127.0.0.1:4002 route=new "));
    assert_non_null(strstr(loop_log(s->loop), " in=40 out=50 blocked=-\n"));
    assert_int_equal(loop_metric(s->loop, M_BYTES_UP), 40);
    assert_int_equal(loop_metric(s->loop, M_BYTES_DOWN), 50);
    scene_end(s);
}

static void a_big_message_passes_whole(void **state)
{
    (void)state;
    EACH_WAY(from, s, TCP)
    {
        size_t at = 0, sent = 0;
        LOOP_UNTIL(s->base, (sent += peer_fill(s->peer[from], sent, (4u << 20) - sent),
                             peer_drain(s->peer[!from], &at) == PEER_OPEN && at == 4u << 20));
        assert_int_equal(loop_metric(s->loop, M_BUFFERED_BYTES), 0);
    }
}

/* --- back-pressure --- */

static void check_a_stalled_side_stalls_the_other(enum wire wire)
{
    EACH_WAY(from, s, wire)
    {
        size_t at = 0, sent = fill_until_it_stalls(s, from);
        assert_true(loop_metric(s->loop, M_BUFFERED_BYTES) > 0);
        assert_true(loop_metric(s->loop, M_BUFFERED_BYTES) <= LOOP_BUFFER);
        peer_send(s->peer[!from], "the other way is free");
        peer_expect(s->base, s->peer[from], "the other way is free");
        LOOP_UNTIL(s->base, peer_drain(s->peer[!from], &at) == PEER_OPEN && at == sent);
        assert_int_equal(loop_metric(s->loop, M_BUFFERED_BYTES), 0);
        size_t more = peer_fill(s->peer[from], sent, 1000); /* and it flows again */
        LOOP_UNTIL(s->base, peer_drain(s->peer[!from], &at) == PEER_OPEN && at == sent + more);
        assert_true(tunnel_close_oldest(s->ctx, REASON_DRAINED));
        assert_non_null(strstr(loop_log(s->loop), " blocked=-\n")); /* it was, and is no more */
    }
}

static void a_stalled_side_stalls_the_other_and_not_our_memory(void **state)
{
    (void)state;
    check_a_stalled_side_stalls_the_other(TCP_SMALL);
    check_a_stalled_side_stalls_the_other(UNIX);
}

static void both_ways_may_stall_at_once(void **state)
{
    (void)state;
    struct scene *s = scene_new(TCP_SMALL);
    size_t sent[2], at[2] = {0, 0};
    for (int from = 0; from < 2; from++)
        sent[from] = fill_until_it_stalls(s, from);
    assert_true(loop_metric(s->loop, M_BUFFERED_BYTES) <= 2 * LOOP_BUFFER);
    for (int from = 0; from < 2; from++)
        shutdown(s->peer[from], SHUT_WR);
    LOOP_UNTIL(s->base, peer_drain(s->peer[WORKER], &at[0]) == PEER_FIN);
    LOOP_UNTIL(s->base, peer_drain(s->peer[CLIENT], &at[1]) == PEER_FIN);
    assert_int_equal(at[0], sent[0]);
    assert_int_equal(at[1], sent[1]);
    LOOP_UNTIL(s->base, !is_open(s));
    scene_end(s);
}

static void the_closing_line_names_the_side_that_was_slow(void **state)
{
    (void)state;
    EACH_WAY(from, s, TCP_SMALL)
    {
        char wanted[32];
        fill_until_it_stalls(s, from);
        assert_true(tunnel_close_oldest(s->ctx, REASON_DRAINED));
        snprintf(wanted, sizeof(wanted), " blocked=%s\n", side_name[!from]);
        assert_non_null(strstr(loop_log(s->loop), wanted));
    }
}

/* --- ends --- */

static void a_fin_ends_one_way_and_the_other_goes_on(void **state)
{
    (void)state;
    EACH_WAY(from, s, TCP)
    {
        shutdown(s->peer[from], SHUT_WR);
        assert_int_equal(peer_wait_end(s->base, s->peer[!from]), PEER_FIN);
        for (int i = 0; i < 3; i++) {
            peer_send(s->peer[!from], "still");
            peer_expect(s->base, s->peer[from], "still");
        }
        assert_true(is_open(s));
        scene_sweep(s, 10);
        assert_true(is_open(s));
        peer_send(s->peer[!from], "last");
        shutdown(s->peer[!from], SHUT_WR);
        peer_expect(s->base, s->peer[from], "last");
        assert_int_equal(peer_wait_end(s->base, s->peer[from]), PEER_FIN);
        LOOP_UNTIL(s->base, !is_open(s));
        assert_logged(s, from, "fin");
    }
}

static void data_and_fin_in_one_wake_up_pass_in_order(void **state)
{
    (void)state;
    for (enum wire wire = TCP; wire <= UNIX; wire++)
        EACH_WAY(from, s, wire)
        {
            peer_send(s->peer[from], "last");
            shutdown(s->peer[from], SHUT_WR);
            peer_expect(s->base, s->peer[!from], "last");
            assert_int_equal(peer_wait_end(s->base, s->peer[!from]), PEER_FIN);
            assert_true(is_open(s));
        }
}

static void a_fin_behind_bytes_that_wait_comes_behind_them(void **state)
{
    (void)state;
    EACH_WAY(from, s, TCP_SMALL)
    {
        size_t at = 0, sent = fill_until_it_stalls(s, from);
        shutdown(s->peer[from], SHUT_WR);
        loop_settle(s->base);
        LOOP_UNTIL(s->base, peer_drain(s->peer[!from], &at) == PEER_FIN);
        assert_int_equal(at, sent);
        peer_send(s->peer[!from], "answer");
        peer_expect(s->base, s->peer[from], "answer");
    }
}

static void a_reset_is_passed_as_a_reset(void **state)
{
    (void)state;
    EACH_WAY(from, s, TCP)
    {
        scene_reset_peer(s, from);
        assert_int_equal(peer_wait_end(s->base, s->peer[!from]), PEER_RST);
        assert_false(is_open(s));
        assert_logged(s, from, "reset");
        assert_int_equal(s->loop->clients_gone, 1);
    }
}

static void data_and_reset_in_one_wake_up_pass_in_order_by_the_sweep(void **state)
{
    (void)state;
    EACH_WAY(from, s, TCP)
    {
        peer_send(s->peer[from], "last");
        scene_reset_peer(s, from);
        peer_expect(s->base, s->peer[!from], "last");
        assert_peer_hears_nothing(s->base, s->peer[!from]); /* nothing tells of the RST */
        assert_true(is_open(s));
        scene_sweep(s, 1);
        assert_true(is_open(s)); /* the side may have been quiet for a moment only */
        scene_sweep(s, 1);
        assert_false(is_open(s));
        assert_int_equal(peer_wait_end(s->base, s->peer[!from]), PEER_RST);
        assert_logged(s, from, "reset");
    }
}

static void the_look_again_leaves_a_quiet_tunnel_as_it_is(void **state)
{
    (void)state;
    EACH_WAY(from, s, TCP)
    {
        for (int i = 0; i < 2; i++) {
            peer_send(s->peer[from], "hello");
            peer_expect(s->base, s->peer[!from], "hello");
            scene_sweep(s, 5);
            assert_peer_hears_nothing(s->base, s->peer[!from]);
        }
        assert_true(is_open(s));
    }
}

static void a_reset_behind_a_fin_ends_the_tunnel(void **state)
{
    (void)state;
    EACH_WAY(from, s, TCP)
    {
        shutdown(s->peer[from], SHUT_WR);
        assert_int_equal(peer_wait_end(s->base, s->peer[!from]), PEER_FIN);
        scene_reset_peer(s, from);
        LOOP_UNTIL(s->base, !is_open(s));
        assert_logged(s, from, "fin");                                         /* what came first */
        LOOP_UNTIL(s->base, send(s->peer[!from], "x", 1, MSG_NOSIGNAL) == -1); /* nobody listens there any more */
    }
}

static void a_reset_while_bytes_wait_comes_behind_them(void **state)
{
    (void)state;
    EACH_WAY(from, s, TCP_SMALL)
    {
        size_t at = 0, counted;
        fill_until_it_stalls(s, from);
        scene_reset_peer(s, from);
        loop_settle(s->base);
        assert_true(is_open(s));
        /* the RST may hide behind what came last: the sweep finds it */
        LOOP_UNTIL(s->base, (scene_sweep(s, 1), peer_drain(s->peer[!from], &at) != PEER_OPEN));
        assert_false(is_open(s));
        counted = loop_metric(s->loop, from == CLIENT ? M_BYTES_UP : M_BYTES_DOWN);
        assert_int_equal(at, counted); /* all that we took is with it */
        assert_logged(s, from, "reset");
    }
}

/* Nothing waits with us, but the kernel has bytes that the other side has no room for: a RST would throw them away. */
static void a_reset_throws_nothing_away_that_is_on_its_way(void **state)
{
    (void)state;
    EACH_WAY(from, s, TCP_SMALL)
    {
        size_t at = 0, sent = 0;
        for (int unsent = 0; unsent == 0;) {
            sent += peer_fill(s->peer[from], sent, 500);
            loop_settle(s->base);
            assert_int_equal(ioctl(from == CLIENT ? s->spec.worker_fd : s->spec.client_fd, SIOCOUTQNSD, &unsent), 0);
        }
        assert_int_equal(loop_metric(s->loop, M_BUFFERED_BYTES), 0);
        scene_reset_peer(s, from);
        LOOP_UNTIL(s->base, !is_open(s));
        LOOP_UNTIL(s->base, peer_drain(s->peer[!from], &at) != PEER_OPEN);
        assert_int_equal(at, sent);
    }
}

static void a_reset_of_the_side_that_stalls_ends_the_tunnel(void **state)
{
    (void)state;
    EACH_WAY(from, s, TCP_SMALL)
    {
        fill_until_it_stalls(s, from);
        scene_reset_peer(s, !from);
        LOOP_UNTIL(s->base, !is_open(s));
        size_t at = 0;
        assert_int_equal(peer_drain(s->peer[from], &at), PEER_RST);
        assert_logged(s, !from, "reset");
    }
}

/* The worker speaks first, so that the write to the client meets the RST before anybody has read what came before it.
 */
static void the_last_words_of_a_side_that_takes_no_more_are_not_lost(void **state)
{
    (void)state;
    EACH_WAY(from, s, TCP)
    {
        peer_send(s->peer[!from], "too late");
        peer_send(s->peer[from], "last");
        scene_reset_peer(s, from);
        peer_expect(s->base, s->peer[!from], "last");
        (void)peer_wait_end(s->base, s->peer[!from]);
        assert_false(is_open(s));
        assert_logged(s, from, "reset");
    }
}

/* --- start --- */

static void an_early_fin_of_the_client_follows_its_early_bytes(void **state)
{
    (void)state;
    struct scene *s = scene_prepare(TCP);
    shutdown(s->peer[CLIENT], SHUT_WR);
    s->spec.client_ended = true;
    s->spec.to_worker = SPAN("early");
    assert_true(tunnel_start(s->ctx, &s->spec));
    peer_expect(s->base, s->peer[WORKER], "early");
    assert_int_equal(peer_wait_end(s->base, s->peer[WORKER]), PEER_FIN);
    peer_send(s->peer[WORKER], "answer");
    peer_expect(s->base, s->peer[CLIENT], HEAD "answer");
    assert_int_equal(shutdown(s->peer[WORKER], SHUT_WR), 0);
    assert_int_equal(peer_wait_end(s->base, s->peer[CLIENT]), PEER_FIN);
    assert_false(is_open(s));
    assert_logged(s, CLIENT, "fin");
    scene_end(s);
}

/* What the client sent early may be more than the worker takes at once; then its end comes behind it. */
static void early_bytes_that_wait_go_before_the_end_of_the_client(void **state)
{
    static char much[1 << 20];
    (void)state;
    for (size_t i = 0; i < sizeof(much); i++)
        much[i] = (char)('a' + i % 23);
    for (int reset = 0; reset < 2; reset++) {
        struct scene *s = scene_prepare(TCP_SMALL);
        size_t at = 0;
        shutdown(s->peer[CLIENT], SHUT_WR);
        s->spec.client_ended = true;
        s->spec.to_worker = span_of(much, sizeof(much));
        assert_true(tunnel_start(s->ctx, &s->spec));
        peer_expect(s->base, s->peer[CLIENT], HEAD);
        loop_settle(s->base);
        if (reset)
            scene_reset_peer(s, CLIENT);
        loop_settle(s->base);
        LOOP_UNTIL(s->base, peer_drain(s->peer[WORKER], &at) != PEER_OPEN);
        assert_int_equal(at, sizeof(much));
        assert_int_equal(is_open(s), !reset);
        scene_end(s);
    }
}

static void a_worker_that_resets_behind_its_101_costs_the_client_no_byte_of_it(void **state)
{
    (void)state;
    static char much[1 << 20];
    for (size_t i = 0; i < sizeof(much); i++)
        much[i] = (char)('a' + i % 23);
    for (int client_ended = 0; client_ended < 2; client_ended++) {
        struct scene *s = scene_prepare(TCP_SMALL);
        size_t at = 0;
        scene_reset_peer(s, WORKER);
        s->spec.to_client = span_of(much, sizeof(much)); /* more than the client's kernel takes at once */
        s->spec.head_bytes = 0;
        s->spec.to_worker = SPAN("early");
        s->spec.client_ended = client_ended;
        assert_true(tunnel_start(s->ctx, &s->spec));
        LOOP_UNTIL(s->base, peer_drain(s->peer[CLIENT], &at) != PEER_OPEN);
        assert_int_equal(at, sizeof(much));
        assert_false(is_open(s));
        assert_logged(s, WORKER, "reset");
        scene_end(s);
    }
}

static void quiet_libevent(int severity, const char *message)
{
    (void)severity;
    (void)message;
}

static void a_tunnel_that_cannot_start_closes_both_descriptors(void **state)
{
    (void)state;
    event_set_log_callback(quiet_libevent);
    for (int which = CLIENT; which <= WORKER; which++) {
        struct scene *s = scene_prepare(TCP);
        int *fd = which == CLIENT ? &s->spec.client_fd : &s->spec.worker_fd;
        close(*fd);
        *fd = memfd_create("no socket", MFD_CLOEXEC); /* epoll refuses it */
        assert_false(tunnel_start(s->ctx, &s->spec));
        assert_int_equal(fcntl(s->spec.client_fd, F_GETFD), -1);
        assert_int_equal(fcntl(s->spec.worker_fd, F_GETFD), -1);
        assert_int_equal(peer_wait_end(s->base, s->peer[!which]), PEER_FIN);
        scene_end(s);
    }
    event_set_log_callback(NULL);
}

/* --- time --- */

static void a_tunnel_that_is_quiet_for_its_limit_is_closed(void **state)
{
    (void)state;
    for (int from = CLIENT; from <= WORKER; from++) {
        struct scene *s = scene_prepare(TCP);
        s->spec.ttl_s = 4;
        assert_true(tunnel_start(s->ctx, &s->spec));
        peer_expect(s->base, s->peer[CLIENT], HEAD);
        loop_settle(s->base);
        scene_sweep(s, 4);
        peer_send(s->peer[from], "x"); /* a byte either way begins the time anew */
        peer_expect(s->base, s->peer[!from], "x");
        scene_sweep(s, 4);
        assert_true(is_open(s)); /* four sweeps are not yet four whole seconds */
        scene_sweep(s, 1);
        assert_false(is_open(s));
        assert_non_null(strstr(loop_log(s->loop), "end=siolb/tunnel reason=idle "));
        for (int i = 0; i < 2; i++)
            assert_int_equal(peer_wait_end(s->base, s->peer[i]), PEER_FIN);
        scene_end(s);
    }
}

/* "\x81" and a length byte, then the open packet. */
#define OPEN_TEXT  "0{\"sid\":\"abc\",\"upgrades\":[],\"pingInterval\":1000,\"pingTimeout\":500}"
#define OPEN_FRAME "\x81\x42" OPEN_TEXT

_Static_assert(sizeof(OPEN_TEXT) - 1 == 0x42, "the length byte of OPEN_FRAME");

/* Sweeps until the tunnel is closed; `most` when it is still open then. */
static unsigned sweeps_until_closed(struct scene *s, unsigned most)
{
    unsigned n = 0;
    while (n < most && is_open(s)) {
        scene_sweep(s, 1);
        n++;
    }
    return n;
}

static void the_first_frame_of_a_lone_tunnel_sets_its_limit(void **state)
{
    enum { LIMIT_S = 12 }; /* 1000 + 500 + 10000 ms, rounded up */
    static const struct {
        const char *behind_head;
        const char *sends[2];
        unsigned sweeps;
    } rows[] = {
        {"", {OPEN_FRAME, ""}, LIMIT_S + 1},
        {OPEN_FRAME, {"", ""}, LIMIT_S + 1},
        {"", {"\x81", "\x42" OPEN_TEXT}, LIMIT_S + 1},
        {"\x81\x42"
         "0{",
         {"\"sid\":\"abc\",\"upgrades\":[],\"pingInterval\":1000,", "\"pingTimeout\":500}"},
         LIMIT_S + 1},
        {"", {OPEN_FRAME, OPEN_FRAME}, LIMIT_S + 1},
        {"", {"\x81\x05hello", OPEN_FRAME}, 200}, /* not the first one */
        {"", {"\x82\x42" OPEN_TEXT, ""}, 200},
        {"", {"", ""}, 200},
    };
    (void)state;
    FOR_EACH (row, rows) {
        struct scene *s = scene_prepare(TCP);
        char all[512];
        snprintf(all, sizeof(all), HEAD "%s", rows[row_at].behind_head);
        s->spec.to_client = span_from_str(all);
        s->spec.reads_first_frame = true;
        assert_true(tunnel_start(s->ctx, &s->spec));
        peer_expect(s->base, s->peer[CLIENT], all); /* what is read on the side passes all the same */
        for (int i = 0; i < 2; i++) {
            peer_send(s->peer[WORKER], rows[row_at].sends[i]);
            peer_expect(s->base, s->peer[CLIENT], rows[row_at].sends[i]);
        }
        loop_settle(s->base);
        assert_int_equal(loop_metric(s->loop, M_BUFFERED_BYTES), 0);
        assert_int_equal(sweeps_until_closed(s, 200), rows[row_at].sweeps);
        scene_end(s);
    }
}

static void a_first_frame_without_end_is_not_kept(void **state)
{
    (void)state;
    struct scene *s = scene_prepare(TCP);
    s->spec.reads_first_frame = true;
    assert_true(tunnel_start(s->ctx, &s->spec));
    peer_expect(s->base, s->peer[CLIENT], HEAD);
    peer_send(s->peer[WORKER], "\x81\x7e\x0f\xff"
                               "0{\"sid\":\"");
    for (int i = 0; i < 40; i++) {
        char piece[65];
        memset(piece, 'a', sizeof(piece) - 1);
        piece[sizeof(piece) - 1] = '\0';
        peer_send(s->peer[WORKER], piece);
        loop_settle(s->base);
        assert_true(loop_metric(s->loop, M_BUFFERED_BYTES) <= 1024);
    }
    assert_int_equal(loop_metric(s->loop, M_BUFFERED_BYTES), 0);
    scene_end(s);
}

/* --- counting --- */

static void the_longest_limit_is_one_too(void **state)
{
    (void)state;
    struct scene *s = scene_prepare(TCP);
    s->spec.ttl_s = UINT16_MAX;
    assert_true(tunnel_start(s->ctx, &s->spec));
    peer_expect(s->base, s->peer[CLIENT], HEAD);
    loop_settle(s->base);
    assert_int_equal(sweeps_until_closed(s, 70000), UINT16_MAX);
    scene_end(s);
}

static void a_lone_tunnel_counts_as_a_session_while_it_lives(void **state)
{
    (void)state;
    struct scene *s = scene_new(TCP);
    assert_int_equal(s->worker->tunnels, 1);
    assert_int_equal(s->worker->lone_tunnels, 1);
    assert_int_equal(loop_metric(s->loop, M_SESSIONS), 1);
    assert_int_equal(fleet_load(s->worker), 1);
    scene_reset_peer(s, CLIENT);
    LOOP_UNTIL(s->base, !is_open(s));
    assert_int_equal(s->worker->lone_tunnels, 0);
    assert_int_equal(loop_metric(s->loop, M_SESSIONS), 0);
    scene_end(s);
}

static void the_tunnel_of_a_known_sid_ends_its_session_with_it(void **state)
{
    (void)state;
    struct scene *s = scene_prepare(TCP);
    struct sidmap_owner owner;
    s->spec.key = session_learn(s->ctx, s->worker, SPAN("/socket.io/"), SPAN("abc"), 20);
    assert_true(tunnel_start(s->ctx, &s->spec));
    assert_int_equal(s->worker->tunnels, 1);
    assert_int_equal(s->worker->lone_tunnels, 0);
    assert_int_equal(s->worker->sessions, 1); /* not once more */
    assert_int_equal(loop_metric(s->loop, M_SESSIONS), 1);
    for (int i = 0; i < 100; i++) { /* and lives as long as it, however quiet it is */
        s->ctx->now_s++;
        scene_sweep(s, 1);
        session_sweep(s->ctx);
    }
    assert_int_equal(s->worker->sessions, 1);
    assert_true(tunnel_close_oldest(s->ctx, REASON_DRAINED));
    assert_int_equal(s->worker->sessions, 0);
    assert_int_equal(loop_metric(s->loop, M_SESSIONS), 0);
    assert_true(sidmap_find(&s->ctx->sidmap, s->spec.key, s->ctx->now_s, &owner)); /* for exact errors */
    assert_false(owner.live);
    scene_end(s);
}

static void the_oldest_is_closed_first_by_fin_both_ways(void **state)
{
    (void)state;
    struct scene *s = scene_new(TCP);
    struct tunnel_spec second = s->spec;
    int peer[2];
    tcp_pair(&second.client_fd, &peer[CLIENT], false);
    tcp_pair(&second.worker_fd, &peer[WORKER], false);
    assert_true(tunnel_start(s->ctx, &second));
    assert_int_equal(s->worker->tunnels, 2);
    assert_true(tunnel_close_oldest(s->ctx, REASON_DRAINED));
    for (int i = 0; i < 2; i++)
        assert_int_equal(peer_wait_end(s->base, s->peer[i]), PEER_FIN);
    peer_send(peer[WORKER], "alive");
    peer_expect(s->base, peer[CLIENT], HEAD "alive");
    assert_true(tunnel_close_oldest(s->ctx, REASON_DRAINED));
    assert_false(tunnel_close_oldest(s->ctx, REASON_DRAINED));
    assert_int_equal(loop_metric(s->loop, M_TUNNELS_CUT), 2);
    assert_int_equal(loop_metric(s->loop, M_TUNNELS_OPENED), 2);
    assert_int_equal(s->loop->clients_gone, 2);
    assert_non_null(strstr(loop_log(s->loop), "end=operator/tunnel reason=drained "));
    close(peer[CLIENT]);
    close(peer[WORKER]);
    scene_end(s);
}

static void an_idle_tunnel_is_small(void **state)
{
    (void)state;
    assert_true(tunnel_bytes() <= 2 * sizeof(struct event) + 136);
    struct scene *s = scene_new(TCP);
    peer_send(s->peer[CLIENT], "hello");
    peer_expect(s->base, s->peer[WORKER], "hello");
    assert_int_equal(loop_metric(s->loop, M_BUFFERED_BYTES), 0); /* and holds no buffer */
    scene_end(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_came_with_the_101_goes_first_each_way),
        cmocka_unit_test(bytes_pass_both_ways_and_are_counted_without_the_head),
        cmocka_unit_test(a_big_message_passes_whole),
        cmocka_unit_test(a_stalled_side_stalls_the_other_and_not_our_memory),
        cmocka_unit_test(both_ways_may_stall_at_once),
        cmocka_unit_test(the_closing_line_names_the_side_that_was_slow),
        cmocka_unit_test(a_fin_ends_one_way_and_the_other_goes_on),
        cmocka_unit_test(data_and_fin_in_one_wake_up_pass_in_order),
        cmocka_unit_test(a_fin_behind_bytes_that_wait_comes_behind_them),
        cmocka_unit_test(a_reset_is_passed_as_a_reset),
        cmocka_unit_test(data_and_reset_in_one_wake_up_pass_in_order_by_the_sweep),
        cmocka_unit_test(the_look_again_leaves_a_quiet_tunnel_as_it_is),
        cmocka_unit_test(a_reset_behind_a_fin_ends_the_tunnel),
        cmocka_unit_test(a_reset_while_bytes_wait_comes_behind_them),
        cmocka_unit_test(a_reset_throws_nothing_away_that_is_on_its_way),
        cmocka_unit_test(early_bytes_that_wait_go_before_the_end_of_the_client),
        cmocka_unit_test(a_reset_of_the_side_that_stalls_ends_the_tunnel),
        cmocka_unit_test(the_last_words_of_a_side_that_takes_no_more_are_not_lost),
        cmocka_unit_test(an_early_fin_of_the_client_follows_its_early_bytes),
        cmocka_unit_test(a_worker_that_resets_behind_its_101_costs_the_client_no_byte_of_it),
        cmocka_unit_test(a_tunnel_that_cannot_start_closes_both_descriptors),
        cmocka_unit_test(a_tunnel_that_is_quiet_for_its_limit_is_closed),
        cmocka_unit_test(the_first_frame_of_a_lone_tunnel_sets_its_limit),
        cmocka_unit_test(a_first_frame_without_end_is_not_kept),
        cmocka_unit_test(the_longest_limit_is_one_too),
        cmocka_unit_test(a_lone_tunnel_counts_as_a_session_while_it_lives),
        cmocka_unit_test(the_tunnel_of_a_known_sid_ends_its_session_with_it),
        cmocka_unit_test(the_oldest_is_closed_first_by_fin_both_ways),
        cmocka_unit_test(an_idle_tunnel_is_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
