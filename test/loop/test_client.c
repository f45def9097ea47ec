#include "../../proxy/client.h"

#include "loop.h"

struct scene {
    struct loop *loop;
    struct event_base *base;
    struct client client;
    int peer;
};

static void on_event(evutil_socket_t fd, short what, void *arg)
{
    struct scene *s = arg;
    (void)fd;
    stream_note(&s->client.stream, what);
}

static int scene_begin(void **state)
{
    struct scene *s = calloc(1, sizeof(*s));
    int ours;
    assert_non_null(s);
    s->loop = loop_new("127.0.0.1:4001");
    s->base = s->loop->ctx.base;
    s->client.ctx = &s->loop->ctx;
    s->client.config = config_hold(s->loop->ctx.config);
    tcp_pair(&ours, &s->peer, true);
    assert_true(stream_start(&s->client.stream, s->base, ours, on_event, s));
    *state = s;
    return 0;
}

static int scene_end(void **state)
{
    struct scene *s = *state;
    stream_close(&s->client.stream, false);
    client_fini(&s->client);
    assert_int_equal(loop_metric(s->loop, M_BUFFERED_BYTES), 0);
    if (s->peer >= 0)
        close(s->peer);
    loop_free(s->loop);
    free(s);
    return 0;
}

static void scene_hears(struct scene *s, const char *text)
{
    peer_send(s->peer, text);
    s->client.stream.flags &= (uint8_t)~STREAM_READABLE;
    LOOP_UNTIL(s->base, s->client.stream.flags & STREAM_READABLE);
}

static void nothing_is_read_before_an_edge(void **state)
{
    struct scene *s = *state;
    struct span bytes;
    peer_send(s->peer, "hello"); /* there, but the loop has not said so */
    assert_int_equal(client_fetch(&s->client, &bytes), STREAM_BLOCKED);
    assert_int_equal(client_fetch_more(&s->client, 100, &bytes), STREAM_BLOCKED);
    assert_int_equal(s->client.got, 0);
}

static void what_is_used_whole_is_never_kept(void **state)
{
    struct scene *s = *state;
    struct span bytes;
    scene_hears(s, "hello");
    assert_int_equal(client_fetch(&s->client, &bytes), STREAM_OK);
    assert_span_is(bytes, "hello");
    assert_ptr_equal(bytes.ptr, s->loop->ctx.read_buffer);
    assert_true(client_used(&s->client, bytes, 5));
    assert_null(s->client.inbox);
    assert_int_equal(s->client.got, 5);
}

static void what_is_not_used_is_fetched_again_in_order(void **state)
{
    struct scene *s = *state;
    struct span bytes;
    scene_hears(s, "one two");
    assert_int_equal(client_fetch(&s->client, &bytes), STREAM_OK);
    assert_true(client_used(&s->client, bytes, 4));
    memset(s->loop->ctx.read_buffer, 'x', 100); /* somebody else's bytes now */
    scene_hears(s, " three");
    assert_int_equal(client_fetch(&s->client, &bytes), STREAM_OK); /* what waits goes first, nothing is read */
    assert_span_is(bytes, "two");
    assert_true(client_used(&s->client, bytes, 1));
    assert_int_equal(client_fetch_more(&s->client, 100, &bytes), STREAM_OK);
    assert_span_is(bytes, "wo three");
    assert_true(client_used(&s->client, bytes, bytes.len));
    assert_null(s->client.inbox);
    assert_int_equal(client_fetch(&s->client, &bytes), STREAM_BLOCKED);
}

static void the_inbox_is_bounded_and_the_rest_stays_in_the_kernel(void **state)
{
    struct scene *s = *state;
    struct span bytes;
    scene_hears(s, "0123456789");
    assert_int_equal(client_fetch_more(&s->client, 4, &bytes), STREAM_OK);
    assert_span_is(bytes, "0123");
    assert_int_equal(client_fetch_more(&s->client, 4, &bytes), STREAM_BLOCKED); /* full */
    assert_span_is(bytes, "0123");
    assert_true(client_used(&s->client, bytes, 4));
    assert_int_equal(client_fetch(&s->client, &bytes), STREAM_OK); /* no edge was lost meanwhile */
    assert_span_is(bytes, "456789");
    assert_true(client_used(&s->client, bytes, 6));
}

static void its_fin_is_seen_behind_its_bytes(void **state)
{
    struct scene *s = *state;
    struct span bytes;
    peer_send(s->peer, "last");
    shutdown(s->peer, SHUT_WR);
    LOOP_UNTIL(s->base, s->client.stream.flags & STREAM_HUNG_UP);
    assert_int_equal(client_fetch_more(&s->client, 100, &bytes), STREAM_OK);
    assert_false(s->client.has_ended);
    assert_int_equal(client_fetch_more(&s->client, 100, &bytes), STREAM_EOF);
    assert_true(s->client.has_ended);
    assert_span_is(bytes, "last"); /* and they wait on */
    assert_int_equal(client_fetch_more(&s->client, 100, &bytes), STREAM_BLOCKED);
    assert_int_equal(client_fetch(&s->client, &bytes), STREAM_OK);
    assert_span_is(bytes, "last");
}

static void what_a_slow_client_does_not_take_waits_and_keeps_its_order(void **state)
{
    struct scene *s = *state;
    struct client *c = &s->client;
    static char piece[997];
    size_t at = 0, sent = 0;
    loop_settle(s->base);
    while (backlog_span(c->outbox).len < 10000) {
        for (size_t i = 0; i < sizeof(piece); i++)
            piece[i] = (char)('a' + (sent + i) % 23);
        if (backlog_span(c->outbox).len > 5000)
            peer_drain(s->peer, &at); /* there is room again: what comes now must not overtake what waits */
        assert_true(client_send(c, span_of(piece, sizeof(piece))));
        sent += sizeof(piece);
    }
    assert_int_equal(c->sent, sent);
    assert_int_equal(loop_metric(s->loop, M_BUFFERED_BYTES), backlog_span(c->outbox).len);
    loop_settle(s->base);
    LOOP_UNTIL(s->base, (peer_drain(s->peer, &at), client_flush(c) && !c->outbox));
    LOOP_UNTIL(s->base, (peer_drain(s->peer, &at), at == sent));
    assert_true(client_flush(c)); /* nothing waits: fine */
}

static void a_client_that_is_gone_fails_the_send(void **state)
{
    struct scene *s = *state;
    peer_reset(s->peer);
    s->peer = -1;
    LOOP_UNTIL(s->base, s->client.stream.flags & STREAM_READABLE);
    assert_false(client_send(&s->client, SPAN("hello")));
    assert_int_not_equal(errno, ENOMEM);
    assert_true(client_send(&s->client, SPAN(""))); /* nothing to send is no failure */
    assert_null(s->client.outbox);
}

static void a_client_that_goes_while_bytes_wait_fails_the_flush(void **state)
{
    struct scene *s = *state;
    struct client *c = &s->client;
    static char much[1 << 20];
    loop_settle(s->base);
    while (!c->outbox)
        assert_true(client_send(c, span_of(much, sizeof(much))));
    peer_reset(s->peer);
    s->peer = -1;
    LOOP_UNTIL(s->base, c->stream.flags & STREAM_WRITABLE);
    assert_false(client_flush(c));
}

int main(void)
{
#define SCENE_TEST(f) cmocka_unit_test_setup_teardown(f, scene_begin, scene_end)
    const struct CMUnitTest tests[] = {
        SCENE_TEST(nothing_is_read_before_an_edge),
        SCENE_TEST(what_is_used_whole_is_never_kept),
        SCENE_TEST(what_is_not_used_is_fetched_again_in_order),
        SCENE_TEST(the_inbox_is_bounded_and_the_rest_stays_in_the_kernel),
        SCENE_TEST(its_fin_is_seen_behind_its_bytes),
        SCENE_TEST(what_a_slow_client_does_not_take_waits_and_keeps_its_order),
        SCENE_TEST(a_client_that_is_gone_fails_the_send),
        SCENE_TEST(a_client_that_goes_while_bytes_wait_fails_the_flush),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
