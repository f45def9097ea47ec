#include "../../proxy/stream.h"

#include "loop.h"

/* One stream on a loop, and its peer. */
struct scene {
    struct event_base *base;
    struct stream stream;
    int peer;
    unsigned calls;
    short what; /* of the last call */
    bool peer_is_open;
};

static void on_event(evutil_socket_t fd, short what, void *arg)
{
    struct scene *s = arg;
    (void)fd;
    s->calls++;
    s->what = what;
    stream_note(&s->stream, what);
}

static struct scene *scene_new(bool tcp, bool small)
{
    struct scene *s = calloc(1, sizeof(*s));
    int ours;
    assert_non_null(s);
    signal(SIGPIPE, SIG_DFL); /* a write to a closed peer must not need SIGPIPE ignored */
    s->base = loop_base_new();
    if (tcp)
        tcp_pair(&ours, &s->peer, small);
    else
        unix_pair(&ours, &s->peer);
    s->peer_is_open = true;
    assert_true(stream_start(&s->stream, s->base, ours, on_event, s));
    return s;
}

static void scene_close_peer(struct scene *s, bool reset)
{
    s->peer_is_open = false;
    if (reset)
        peer_reset(s->peer);
    else
        close(s->peer);
}

static int scene_tcp(void **state)
{
    *state = scene_new(true, false);
    return 0;
}

static int scene_tcp_small(void **state)
{
    *state = scene_new(true, true);
    return 0;
}

static int scene_unix(void **state)
{
    *state = scene_new(false, false);
    return 0;
}

static int scene_end(void **state)
{
    struct scene *s = *state;
    stream_close(&s->stream, false);
    if (s->peer_is_open)
        close(s->peer);
    event_base_free(s->base);
    free(s);
    return 0;
}

static enum stream_result read_some(struct scene *s, size_t size, size_t *got_out)
{
    char buffer[65536];
    assert_true(size <= sizeof(buffer));
    return stream_read(&s->stream, buffer, size, got_out);
}

/* A read of at most `size` brings so many bytes. */
static void assert_reads(struct scene *s, size_t size, size_t bytes)
{
    size_t got;
    assert_int_equal(read_some(s, size, &got), STREAM_OK);
    assert_int_equal(got, bytes);
}

#define assert_flags(s, set, clear) assert_int_equal((s)->stream.flags &((set) | (clear)), (set))

/* --- reading --- */

static void a_short_read_says_that_there_is_no_more(void **state)
{
    struct scene *s = *state;
    peer_send(s->peer, "hello");
    LOOP_UNTIL(s->base, s->stream.flags & STREAM_READABLE);
    assert_reads(s, 100, 5);
    assert_flags(s, 0, STREAM_READABLE | STREAM_HUNG_UP);
    unsigned calls = s->calls;
    loop_settle(s->base);
    assert_int_equal(s->calls, calls);
    peer_send(s->peer, "again"); /* and the next bytes are an edge */
    LOOP_UNTIL(s->base, s->stream.flags & STREAM_READABLE);
    assert_reads(s, 100, 5);
}

static void a_full_read_leaves_it_readable_until_the_kernel_says_no(void **state)
{
    struct scene *s = *state;
    size_t got;
    peer_send(s->peer, "hello");
    LOOP_UNTIL(s->base, s->stream.flags & STREAM_READABLE);
    assert_reads(s, 2, 2);
    assert_flags(s, STREAM_READABLE, 0);
    assert_reads(s, 3, 3);
    assert_flags(s, STREAM_READABLE, 0); /* no edge will come for bytes that are there already: it has to be asked */
    assert_int_equal(read_some(s, 3, &got), STREAM_BLOCKED);
    assert_int_equal(got, 0);
    assert_flags(s, 0, STREAM_READABLE);
}

static void an_edge_is_remembered_while_nobody_reads(void **state)
{
    struct scene *s = *state;
    peer_send(s->peer, "one");
    LOOP_UNTIL(s->base, s->stream.flags & STREAM_READABLE);
    loop_settle(s->base); /* edge-triggered: unread bytes do not make the loop spin */
    peer_send(s->peer, "two");
    loop_settle(s->base);
    assert_flags(s, STREAM_READABLE, 0);
    assert_reads(s, 100, 6);
}

/* --- ends --- */

static void data_and_fin_in_one_wake_up_read_as_data_and_then_the_end(void **state)
{
    struct scene *s = *state;
    size_t got;
    loop_settle(s->base);
    unsigned calls = s->calls;
    peer_send(s->peer, "last");
    shutdown(s->peer, SHUT_WR);
    LOOP_UNTIL(s->base, s->stream.flags & STREAM_HUNG_UP);
    assert_int_equal(s->calls, calls + 1); /* one wake-up: nothing else will tell of the FIN */
    assert_reads(s, 100, 4);
    assert_flags(s, STREAM_READABLE, STREAM_ENDED); /* though the read was short */
    assert_int_equal(read_some(s, 100, &got), STREAM_EOF);
    assert_flags(s, STREAM_ENDED, STREAM_READABLE);
    loop_settle(s->base);
    assert_flags(s, STREAM_ENDED, STREAM_READABLE);
}

static void a_fin_alone_is_the_end(void **state)
{
    struct scene *s = *state;
    size_t got;
    shutdown(s->peer, SHUT_WR);
    LOOP_UNTIL(s->base, s->stream.flags & STREAM_READABLE);
    assert_int_equal(read_some(s, 100, &got), STREAM_EOF);
    assert_flags(s, STREAM_HUNG_UP | STREAM_ENDED, STREAM_READABLE);
}

static void after_the_fin_of_the_peer_bytes_still_go_to_it(void **state)
{
    struct scene *s = *state;
    size_t n;
    shutdown(s->peer, SHUT_WR);
    LOOP_UNTIL(s->base, s->stream.flags & STREAM_READABLE);
    assert_int_equal(read_some(s, 100, &n), STREAM_EOF);
    assert_int_equal(stream_write(&s->stream, SPAN("bye"), &n), STREAM_OK);
    stream_shut(&s->stream);
    peer_expect(s->base, s->peer, "bye");
    assert_int_equal(peer_wait_end(s->base, s->peer), PEER_FIN);
}

static void a_reset_behind_data_is_found_by_looking_again(void **state)
{
    struct scene *s = *state;
    size_t got;
    loop_settle(s->base);
    peer_send(s->peer, "last");
    scene_close_peer(s, true);
    LOOP_UNTIL(s->base, s->stream.flags & STREAM_READABLE);
    assert_reads(s, 100, 4);
    assert_flags(s, STREAM_LOOK_AGAIN, STREAM_READABLE | STREAM_HUNG_UP);
    unsigned calls = s->calls;
    loop_settle(s->base);
    assert_int_equal(s->calls, calls); /* nothing else ever tells of it */
    assert_int_equal(read_some(s, 100, &got), STREAM_FAILED);
    assert_int_equal(errno, ECONNRESET);
}

static void a_reset_alone_fails_the_read(void **state)
{
    struct scene *s = *state;
    size_t got;
    loop_settle(s->base);
    scene_close_peer(s, true);
    LOOP_UNTIL(s->base, s->stream.flags & STREAM_READABLE);
    assert_int_equal(read_some(s, 100, &got), STREAM_FAILED);
    assert_int_equal(errno, ECONNRESET);
}

static void a_reset_behind_a_fin_is_an_error_of_the_socket(void **state)
{
    struct scene *s = *state;
    size_t got;
    shutdown(s->peer, SHUT_WR);
    LOOP_UNTIL(s->base, s->stream.flags & STREAM_READABLE);
    assert_int_equal(read_some(s, 100, &got), STREAM_EOF);
    assert_int_equal(stream_error(&s->stream), 0);
    unsigned calls = s->calls;
    scene_close_peer(s, true);
    LOOP_UNTIL(s->base, s->calls > calls);
    assert_int_not_equal(stream_error(&s->stream), 0);
    assert_int_equal(stream_error(&s->stream), 0); /* told once */
}

/* --- writing --- */

static void a_short_write_waits_for_an_edge(void **state)
{
    struct scene *s = *state;
    static char bytes[1 << 20];
    size_t sent, at = 0, total = 0;
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (char)('a' + i % 23);
    loop_settle(s->base);
    assert_int_equal(stream_write(&s->stream, span_of(bytes, sizeof(bytes)), &sent), STREAM_OK);
    assert_true(sent < sizeof(bytes));
    assert_flags(s, 0, STREAM_WRITABLE);
    do { /* the peer's kernel may have taken some more meanwhile */
        total += sent;
        loop_settle(s->base);
    } while (stream_write(&s->stream, span_of(bytes + total, sizeof(bytes) - total), &sent) == STREAM_OK);
    assert_int_equal(sent, 0);
    assert_flags(s, 0, STREAM_WRITABLE);
    LOOP_UNTIL(s->base, (peer_drain(s->peer, &at), s->stream.flags & STREAM_WRITABLE));
    LOOP_UNTIL(s->base, (peer_drain(s->peer, &at), at == total));
}

static void a_write_to_a_peer_that_is_gone_fails_without_a_signal(void **state)
{
    struct scene *s = *state;
    size_t sent;
    scene_close_peer(s, true);
    LOOP_UNTIL(s->base, s->stream.flags & STREAM_READABLE);
    assert_int_equal(stream_write(&s->stream, SPAN("x"), &sent), STREAM_FAILED);
    assert_int_equal(sent, 0);
    assert_int_equal(stream_write(&s->stream, SPAN("x"), &sent), STREAM_FAILED);
    assert_int_equal(errno, EPIPE);
}

static void a_reset_that_a_write_met_is_no_fin_behind_what_is_unread(void **state)
{
    struct scene *s = *state;
    size_t n;
    peer_send(s->peer, "last");
    scene_close_peer(s, true);
    LOOP_UNTIL(s->base, s->stream.flags & STREAM_READABLE);
    assert_int_equal(stream_write(&s->stream, SPAN("x"), &n), STREAM_FAILED);
    assert_int_equal(errno, ECONNRESET);
    assert_reads(s, 100, 4);
    assert_int_equal(read_some(s, 100, &n), STREAM_FAILED);
    assert_int_equal(errno, ECONNRESET);
    assert_flags(s, 0, STREAM_ENDED);
}

static void a_fin_is_a_fin_though_a_write_failed_behind_it(void **state)
{
    struct scene *s = *state;
    size_t n;
    peer_send(s->peer, "last");
    scene_close_peer(s, false);
    loop_settle(s->base);
    assert_int_equal(stream_write(&s->stream, SPAN("x"), &n), STREAM_OK); /* answered with a RST */
    loop_settle(s->base);
    assert_int_equal(stream_write(&s->stream, SPAN("x"), &n), STREAM_FAILED);
    assert_int_equal(errno, EPIPE);
    assert_reads(s, 100, 4);
    assert_int_equal(read_some(s, 100, &n), STREAM_EOF);
}

static void unsent_is_what_the_peer_has_not_acknowledged(void **state)
{
    struct scene *s = *state;
    static char bytes[1 << 18];
    size_t sent;
    assert_false(stream_has_unsent(&s->stream));
    while (stream_write(&s->stream, span_of(bytes, sizeof(bytes)), &sent) == STREAM_OK)
        ;
    loop_settle(s->base);
    assert_true(stream_has_unsent(&s->stream));
    LOOP_UNTIL(s->base, (recv(s->peer, bytes, sizeof(bytes), 0), !stream_has_unsent(&s->stream)));
}

/* --- our end --- */

static void shut_sends_one_fin_and_leaves_reading_open(void **state)
{
    struct scene *s = *state;
    stream_shut(&s->stream);
    stream_shut(&s->stream);
    assert_flags(s, STREAM_SHUT, 0);
    assert_int_equal(peer_wait_end(s->base, s->peer), PEER_FIN);
    peer_send(s->peer, "still");
    LOOP_UNTIL(s->base, s->stream.flags & STREAM_READABLE);
    assert_reads(s, 100, 5);
}

static void close_ends_with_fin_or_with_rst_as_asked(void **state)
{
    static const struct {
        bool reset;
        enum peer_end end;
    } rows[] = {{false, PEER_FIN}, {true, PEER_RST}};
    (void)state;
    FOR_EACH (row, rows) {
        struct scene *s = scene_new(true, false);
        assert_true(stream_is_open(&s->stream));
        stream_close(&s->stream, rows[row_at].reset);
        assert_false(stream_is_open(&s->stream));
        assert_int_equal(peer_wait_end(s->base, s->peer), rows[row_at].end);
        stream_close(&s->stream, !rows[row_at].reset); /* harmless */
        void *end = s;
        scene_end(&end);
    }
}

static void a_detached_descriptor_is_open_and_silent(void **state)
{
    struct scene *s = *state;
    char got[8];
    int fd = stream_detach(&s->stream);
    assert_false(stream_is_open(&s->stream));
    unsigned calls = s->calls;
    peer_send(s->peer, "hello");
    loop_settle(s->base);
    assert_int_equal(s->calls, calls);
    assert_int_equal(recv(fd, got, sizeof(got), 0), 5);
    assert_true(stream_start(&s->stream, s->base, fd, on_event, s)); /* and may be started again, with fresh flags */
    peer_send(s->peer, "more");
    LOOP_UNTIL(s->base, s->stream.flags & STREAM_READABLE);
    assert_reads(s, 100, 4);
}

static void again_runs_the_callback_with_no_edge(void **state)
{
    struct scene *s = *state;
    loop_settle(s->base);
    unsigned calls = s->calls;
    uint8_t flags = s->stream.flags;
    stream_again(&s->stream);
    assert_int_equal(s->calls, calls); /* not from in here */
    event_base_loop(s->base, EVLOOP_NONBLOCK);
    assert_int_equal(s->calls, calls + 1);
    assert_int_equal(s->what, 0);
    assert_int_equal(s->stream.flags, flags);
    stream_again(&s->stream);
    stream_close(&s->stream, false);
    event_base_loop(s->base, EVLOOP_NONBLOCK);
    assert_int_equal(s->calls, calls + 1); /* a closed one is silent */
}

static void a_started_stream_is_writable_and_says_so_once(void **state)
{
    struct scene *s = *state;
    assert_flags(s, STREAM_WRITABLE, STREAM_READABLE | STREAM_HUNG_UP);
    assert_int_equal(s->calls, 0);
    loop_settle(s->base);
    assert_int_equal(s->calls, 1);
    assert_int_equal(s->what & (EV_READ | EV_WRITE | EV_CLOSED), EV_WRITE);
    assert_flags(s, STREAM_WRITABLE, STREAM_READABLE | STREAM_LOOK_AGAIN);
}

static void tuning_sets_what_the_design_names(void **state)
{
    struct scene *s = *state;
    int fd = stream_fd(&s->stream);
    stream_tune(fd, 0);
    assert_int_not_equal(socket_option(fd, IPPROTO_TCP, TCP_NODELAY), 0);
    assert_int_equal(socket_option(fd, SOL_SOCKET, SO_KEEPALIVE), 0); /* stall = 0 switches both off */
    assert_int_equal(socket_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), 0);
    stream_tune(fd, 60000);
    assert_int_not_equal(socket_option(fd, SOL_SOCKET, SO_KEEPALIVE), 0);
    assert_int_equal(socket_option(fd, IPPROTO_TCP, TCP_KEEPIDLE), 60);
    assert_int_equal(socket_option(fd, IPPROTO_TCP, TCP_KEEPINTVL), 15);
    assert_int_equal(socket_option(fd, IPPROTO_TCP, TCP_KEEPCNT), 4);
    assert_int_equal(socket_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), 60000);
}

int main(void)
{
#define ON_TCP(f)                                                                                                      \
    {                                                                                                                  \
#f, f, scene_tcp, scene_end, NULL                                                                              \
    }
#define ON_BOTH(f)                                                                                                     \
    {#f " (tcp)", f, scene_tcp, scene_end, NULL},                                                                      \
    {                                                                                                                  \
#f " (unix)", f, scene_unix, scene_end, NULL                                                                   \
    }
    const struct CMUnitTest tests[] = {
        ON_BOTH(a_short_read_says_that_there_is_no_more),
        ON_BOTH(a_full_read_leaves_it_readable_until_the_kernel_says_no),
        ON_BOTH(an_edge_is_remembered_while_nobody_reads),
        ON_BOTH(data_and_fin_in_one_wake_up_read_as_data_and_then_the_end),
        ON_BOTH(a_fin_alone_is_the_end),
        ON_BOTH(after_the_fin_of_the_peer_bytes_still_go_to_it),
        ON_TCP(a_reset_behind_data_is_found_by_looking_again),
        ON_TCP(a_reset_alone_fails_the_read),
        ON_TCP(a_reset_behind_a_fin_is_an_error_of_the_socket),
        {"a_short_write_waits_for_an_edge (tcp)", a_short_write_waits_for_an_edge, scene_tcp_small, scene_end, NULL},
        {"a_short_write_waits_for_an_edge (unix)", a_short_write_waits_for_an_edge, scene_unix, scene_end, NULL},
        ON_TCP(a_write_to_a_peer_that_is_gone_fails_without_a_signal),
        ON_TCP(a_reset_that_a_write_met_is_no_fin_behind_what_is_unread),
        ON_TCP(a_fin_is_a_fin_though_a_write_failed_behind_it),
        {"unsent_is_what_the_peer_has_not_acknowledged", unsent_is_what_the_peer_has_not_acknowledged, scene_tcp_small,
         scene_end, NULL},
        ON_BOTH(shut_sends_one_fin_and_leaves_reading_open),
        cmocka_unit_test(close_ends_with_fin_or_with_rst_as_asked),
        ON_BOTH(a_detached_descriptor_is_open_and_silent),
        ON_BOTH(again_runs_the_callback_with_no_edge),
        ON_BOTH(a_started_stream_is_writable_and_says_so_once),
        ON_TCP(tuning_sets_what_the_design_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
