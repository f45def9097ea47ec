/*
 * loop - what every loop test needs: a ctx as server.c makes one, on a real libevent loop, and peers that the test
 * plays itself at the other ends of socketpairs and of TCP connections over loopback.
 *
 * One thread plays all sides, so nothing here blocks: waiting for a peer means turning the loop. LOOP_UNTIL fails the
 * test when its condition does not come true within LOOP_WAIT_MS.
 */
#ifndef SIOLB_TEST_LOOP_H
#define SIOLB_TEST_LOOP_H

#include "../../proxy/clock.h"
#include "../../proxy/conn.h"
#include "../../proxy/ctx.h"
#include "../../proxy/exchange.h"
#include "../../proxy/session.h"
#include "../../proxy/tunnel.h"
#include "../../proxy/upstream.h"
#include "../unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#define LOOP_WAIT_MS     10000u /* a machine may be busy; nothing waits so long when all is well */
#define LOOP_QUIET_MS    15u
#define LOOP_ENTRIES     64u
#define LOOP_LOG_BYTES   (64u * 1024)
#define LOOP_BUFFER      (16u * 1024) /* limits.buffer unless the test says otherwise */
#define LOOP_KERNEL_BUFS 4096         /* what `small` sockets ask for; the kernel doubles it */

struct loop {
    struct ctx ctx; /* first: its callbacks find the loop by it */
    uint64_t region[65536 / sizeof(uint64_t)];
    unsigned clients_gone;
    char log_text[LOOP_LOG_BYTES];
};

static inline void loop_on_client_gone(struct ctx *ctx)
{
    ((struct loop *)(void *)ctx)->clients_gone++;
}

static inline void loop_on_misplaced(struct ctx *ctx, struct span path)
{
    (void)ctx;
    (void)path;
}

static inline void loop_on_bad_config(void *arg, const char *text)
{
    (void)arg;
    print_error("%s\n", text);
}

/* As server_make_loop(): edge-triggered, with EV_CLOSED, a bounded number of callbacks a turn. */
static inline struct event_base *loop_base_new(void)
{
    struct event_config *ec = event_config_new();
    assert_non_null(ec);
    event_config_require_features(ec, EV_FEATURE_ET | EV_FEATURE_EARLY_CLOSE);
    event_config_set_flag(ec, EVENT_BASE_FLAG_NOLOCK);
    event_config_set_max_dispatch_interval(ec, NULL, 256, 0);
    struct event_base *base = event_base_new_with_config(ec);
    event_config_free(ec);
    assert_non_null(base);
    return base;
}

static inline void loop_make_fleet(struct ctx *ctx)
{
    assert_true(fleet_init(&ctx->fleet, (uint16_t)ctx->config->worker_count));
    memset(ctx->slot_index, 0xff, sizeof(ctx->slot_index));
    for (uint16_t i = 0; i < ctx->fleet.count; i++) {
        struct worker *w = &ctx->fleet.workers[i];
        w->name = ctx->config->workers[i].name;
        w->identity = ctx->config->workers[i].identity;
        w->slot = sidmap_slot(&ctx->sidmap, w->identity);
        ctx->slot_index[w->slot] = i;
    }
    assert_true(upstream_pools_init(ctx));
}

/* A ctx with these workers, up to NULL; what is logged can be read with loop_log(). */
static inline struct loop *loop_new_with(const char *const *workers)
{
    static const uint64_t hash_key[2] = {1, 2};
    static const uint8_t boot_id[16] = {0};
    bool fresh;
    struct loop *l = calloc(1, sizeof(*l));
    assert_non_null(l);
    struct ctx *ctx = &l->ctx;
    signal(SIGPIPE, SIG_IGN);
    ctx->config = config_load(NULL, (const char *[]){"127.0.0.1:0", NULL}, workers, loop_on_bad_config, NULL);
    assert_non_null(ctx->config);
    ctx->config->buffer_bytes = LOOP_BUFFER;
    assert_true(log_init(&ctx->log, "", LOG_INFO));
    ctx->log.fd = memfd_create("log", MFD_CLOEXEC);
    assert_true(ctx->log.fd >= 0);
    assert_true(sizeof(l->region) >= sidmap_region_bytes(LOOP_ENTRIES));
    assert_true(sidmap_init(&ctx->sidmap, l->region, sizeof(l->region), LOOP_ENTRIES, hash_key, boot_id, &fresh));
    assert_true(session_init(ctx));
    ctx->base = loop_base_new();
    loop_make_fleet(ctx);
    pool_init(&ctx->conn_pool, conn_bytes());
    pool_init(&ctx->exchange_pool, sizeof(struct exchange));
    pool_init(&ctx->upstream_pool, sizeof(struct upstream));
    pool_init(&ctx->tunnel_pool, tunnel_bytes());
    ctx->read_bytes = LOOP_BUFFER;
    ctx->read_buffer = malloc(ctx->read_bytes);
    ctx->random[0] = 1;
    ctx->now_s = clock_boot_s();
    ctx->on_client_gone = loop_on_client_gone;
    ctx->on_misplaced = loop_on_misplaced;
    list_init(&ctx->conns);
    list_init(&ctx->tunnels);
    reaper_init(&ctx->reaper, ctx->base);
    return l;
}

/* One row of workers: "127.0.0.1:3001-3004". */
static inline struct loop *loop_new(const char *workers)
{
    return loop_new_with((const char *[]){workers, NULL});
}

static inline void loop_free(struct loop *l)
{
    struct ctx *ctx = &l->ctx;
    upstream_pools_fini(ctx);
    reaper_fini(&ctx->reaper);
    event_base_free(ctx->base);
    pool_fini(&ctx->conn_pool);
    pool_fini(&ctx->exchange_pool);
    pool_fini(&ctx->upstream_pool);
    pool_fini(&ctx->tunnel_pool);
    free(ctx->read_buffer);
    session_fini(ctx);
    fleet_fini(&ctx->fleet);
    log_fini(&ctx->log);
    config_release(ctx->config);
    free(l);
}

/* All that was logged so far. */
static inline const char *loop_log(struct loop *l)
{
    ssize_t n = pread(l->ctx.log.fd, l->log_text, sizeof(l->log_text) - 1, 0);
    l->log_text[n > 0 ? n : 0] = '\0';
    return l->log_text;
}

static inline uint64_t loop_metric(const struct loop *l, enum metric which)
{
    return l->ctx.metrics.value[which];
}

/* --- turning --- */

static inline void loop_on_alarm(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    *(bool *)arg = true;
}

/* Wait at most `ms` for something to happen, and let it. True: nothing did. */
static inline bool loop_turn(struct event_base *base, unsigned ms)
{
    bool rang = false;
    struct event alarm;
    struct timeval wait = {0, (suseconds_t)ms * 1000};
    event_assign(&alarm, base, -1, 0, loop_on_alarm, &rang);
    event_add(&alarm, &wait);
    event_base_loop(base, EVLOOP_ONCE);
    event_del(&alarm);
    return rang;
}

#define LOOP_UNTIL(base, condition)                                                                                    \
    do {                                                                                                               \
        uint64_t loop_began_ms = clock_ms();                                                                           \
        while (!(condition)) {                                                                                         \
            if (clock_ms() - loop_began_ms > LOOP_WAIT_MS)                                                             \
                fail_msg("waited in vain for: %s", #condition);                                                        \
            (void)loop_turn((base), 2);                                                                                \
        }                                                                                                              \
    } while (0)

/* Turn until nothing happens any more. Fails when something always does: a loop that spins. */
static inline void loop_settle(struct event_base *base)
{
    LOOP_UNTIL(base, loop_turn(base, LOOP_QUIET_MS));
}

/* --- peers --- */

static inline void make_nonblocking(int fd)
{
    int yes = 1;
    assert_int_equal(ioctl(fd, FIONBIO, &yes), 0);
}

static inline void set_socket_option(int fd, int level, int option, int value)
{
    assert_int_equal(setsockopt(fd, level, option, &value, sizeof(value)), 0);
}

static inline int socket_option(int fd, int level, int option)
{
    int value = -1;
    socklen_t bytes = sizeof(value);
    assert_int_equal(getsockopt(fd, level, option, &value, &bytes), 0);
    return value;
}

static inline void limit_kernel_buffers(int fd)
{
    set_socket_option(fd, SOL_SOCKET, SO_SNDBUF, LOOP_KERNEL_BUFS);
    set_socket_option(fd, SOL_SOCKET, SO_RCVBUF, LOOP_KERNEL_BUFS);
}

/* A socket that listens on loopback; *port_out is what the kernel picked. */
static inline int tcp_listen(uint16_t *port_out, bool small)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    if (small)
        limit_kernel_buffers(fd);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, bytes), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &bytes), 0);
    *port_out = ntohs(at.sin_port);
    return fd;
}

static inline int tcp_accept(int listener)
{
    struct pollfd wait = {.fd = listener, .events = POLLIN};
    assert_int_equal(poll(&wait, 1, (int)LOOP_WAIT_MS), 1);
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert_true(fd >= 0);
    set_socket_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    return fd;
}

/* Two ends of a TCP connection over loopback. `small`: the kernel keeps little of what is not read. */
static inline void tcp_pair(int *ours, int *theirs, bool small)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    uint16_t port;
    int listener = tcp_listen(&port, small);
    to.sin_port = htons(port);
    *theirs = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(*theirs >= 0);
    if (small)
        limit_kernel_buffers(*theirs);
    set_socket_option(*theirs, IPPROTO_TCP, TCP_NODELAY, 1);
    assert_int_equal(connect(*theirs, (struct sockaddr *)&to, sizeof(to)), 0);
    make_nonblocking(*theirs);
    *ours = tcp_accept(listener);
    close(listener);
}

static inline void unix_pair(int *ours, int *theirs)
{
    int fd[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd), 0);
    *ours = fd[0];
    *theirs = fd[1];
}

static inline void peer_send(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static inline void peer_reset(int fd)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
    close(fd);
}

/* Send as much as goes without anybody reading: a multiple of a pattern that peer_drain() checks. Returns the bytes. */
static inline size_t peer_fill(int fd, size_t at, size_t bytes_max)
{
    size_t sent = 0;
    while (sent < bytes_max) {
        char piece[997];
        size_t len = bytes_max - sent < sizeof(piece) ? bytes_max - sent : sizeof(piece);
        for (size_t i = 0; i < len; i++)
            piece[i] = (char)('a' + (at + sent + i) % 23);
        ssize_t n = send(fd, piece, len, MSG_NOSIGNAL);
        if (n < 0) {
            assert_int_equal(errno, EAGAIN);
            break;
        }
        sent += (size_t)n;
    }
    return sent;
}

enum peer_end { PEER_OPEN, PEER_FIN, PEER_RST };

/* Read what is there, which must continue the pattern of peer_fill() at *at; how it ended, if it did. */
static inline enum peer_end peer_drain(int fd, size_t *at)
{
    char got[4096];
    for (;;) {
        ssize_t n = recv(fd, got, sizeof(got), 0);
        if (n == 0)
            return PEER_FIN;
        if (n < 0)
            return errno == EAGAIN ? PEER_OPEN : PEER_RST;
        for (ssize_t i = 0; i < n; i++)
            if (got[i] != (char)('a' + (*at + (size_t)i) % 23))
                fail_msg("byte %zu is not the one that was sent", *at + (size_t)i);
        *at += (size_t)n;
    }
}

/* The next bytes at `fd` are these. */
#define peer_expect(base, fd, text) peer_expect_at((base), (fd), (text), __FILE__, __LINE__)

static inline void peer_expect_at(struct event_base *base, int fd, const char *text, const char *file, int line)
{
    char got[4096];
    size_t len = 0, wanted = strlen(text);
    uint64_t until_ms = clock_ms() + LOOP_WAIT_MS;
    while (len < wanted && clock_ms() < until_ms) {
        ssize_t n = recv(fd, got + len, wanted - len, 0);
        if (n == 0 || (n < 0 && errno != EAGAIN))
            break;
        if (n > 0)
            len += (size_t)n;
        else
            (void)loop_turn(base, 2);
    }
    assert_span_equal_at(span_of(got, len), span_from_str(text), file, line);
}

/* How `fd` ends, without another byte. */
static inline enum peer_end peer_wait_end(struct event_base *base, int fd)
{
    char byte;
    ssize_t n;
    LOOP_UNTIL(base, (n = recv(fd, &byte, 1, 0)) >= 0 || errno != EAGAIN);
    if (n > 0)
        fail_msg("a byte (%c) instead of the end", byte);
    return n == 0 ? PEER_FIN : PEER_RST;
}

/* Nothing has come to `fd` and it is open. */
static inline void assert_peer_hears_nothing(struct event_base *base, int fd)
{
    char byte;
    loop_settle(base);
    assert_int_equal(recv(fd, &byte, 1, 0), -1);
    assert_int_equal(errno, EAGAIN);
}

#endif
