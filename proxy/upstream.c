#include "upstream.h"

#include "clock.h"
#include "session.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <unistd.h>

bool upstream_pools_init(struct ctx *ctx)
{
    ctx->pools = calloc(ctx->fleet.count, sizeof(*ctx->pools));
    if (!ctx->pools)
        return false;
    for (uint16_t i = 0; i < ctx->fleet.count; i++) {
        ctx->pools[i].config = &ctx->config->workers[i];
        list_init(&ctx->pools[i].idle);
    }
    return true;
}

void upstream_pools_fini(struct ctx *ctx)
{
    if (!ctx->pools)
        return;
    while (upstream_evict(ctx))
        ;
    free(ctx->pools);
    ctx->pools = NULL;
}

static struct upstream_pool *pool_of(const struct upstream *u)
{
    return &u->ctx->pools[u->worker->index];
}

static void on_upstream_event(evutil_socket_t fd, short what, void *arg)
{
    struct upstream *u = arg;
    (void)fd;
    if (u->is_closed)
        return;
    stream_note(&u->stream, what);
    if (u->on_event)
        u->on_event(u->user, what);
    else if (u->stream.flags & (STREAM_READABLE | STREAM_HUNG_UP))
        upstream_close(u, false); /* a worker that speaks unasked, or has had enough */
}

/* --- connect --- */

static bool is_loopback_v4(const struct address *a)
{
    return a->addr.any.sa_family == AF_INET &&
           (ntohl(((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr) >> 24) == 127;
}

/* Loopback has 28 k ports a source address; all of 127.0.0.0/8 is ours, so take the next one. */
static bool bind_next_source(struct upstream_pool *pool, int fd)
{
    struct sockaddr_in from = {.sin_family = AF_INET};
    int yes = 1;
    pool->source = pool->source % 250 + 2;
    from.sin_addr.s_addr = htonl(0x7f000000u | pool->source);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof(yes));
    return bind(fd, (const struct sockaddr *)&from, sizeof(from)) == 0;
}

/* A non-blocking connect under way, or done; -1 with errno. */
static int connect_to(struct ctx *ctx, struct upstream_pool *pool)
{
    const struct address *to = &pool->config->address;
    int fd = socket(to->addr.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (to->addr.any.sa_family != AF_UNIX)
        stream_tune(fd, ctx->config->stall_ms);
    if (pool->source && !bind_next_source(pool, fd))
        pool->source = 0;
    int result = connect(fd, &to->addr.any, to->bytes);
    if (result < 0 && errno == EADDRNOTAVAIL && is_loopback_v4(to) && bind_next_source(pool, fd))
        result = connect(fd, &to->addr.any, to->bytes);
    if (result == 0 || errno == EINPROGRESS)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static bool is_out_of_something(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS;
}

/* ENOENT: the unix socket of a worker that is not there. */
static bool is_refusal(int error)
{
    return error == ECONNREFUSED || error == ENOENT;
}

static bool is_unreachable(int error)
{
    return error == ETIMEDOUT || error == EHOSTUNREACH || error == ENETUNREACH || error == EHOSTDOWN;
}

enum upstream_failure upstream_note_failed(struct ctx *ctx, struct worker *w, int error)
{
    /* anything else says nothing about the worker, and its sessions must not go elsewhere: no descriptor, no port
     * (EADDRNOTAVAIL), a full accept queue of a unix socket (EAGAIN) */
    if (!is_refusal(error) && !is_unreachable(error)) {
        log_line(&ctx->log, LOG_ERROR, "no connection", "worker=%s error=\"%s\"", w->name, strerror(error));
        return UPSTREAM_NOT_TRIED;
    }
    bool refused = is_refusal(error);
    bool was_known = w->state == WORKER_UP && w->was_up;
    metrics_add(&ctx->metrics, refused ? M_UPSTREAM_REFUSED : M_UPSTREAM_TIMED_OUT, 1);
    if (fleet_note_refused(w, !refused, clock_ms()))
        session_lose_worker(ctx, w);
    log_line(&ctx->log, was_known ? LOG_WARN : LOG_INFO, "worker refused",
             "worker=%s state=%s error=\"%s\" newcomers_in_ms=%u", w->name,
             worker_state_name((enum worker_state)w->state), strerror(error), w->backoff_ms);
    return refused ? UPSTREAM_REFUSED : UPSTREAM_UNREACHABLE;
}

void upstream_note_connected(struct upstream *u)
{
    if (u->is_connected)
        return;
    u->is_connected = true;
    if (fleet_note_connected(u->worker))
        log_line(&u->ctx->log, LOG_INFO, "worker up", "worker=%s generation=%u", u->worker->name,
                 sidmap_generation(&u->ctx->sidmap, u->worker->slot));
}

static struct upstream *upstream_connect(struct ctx *ctx, struct worker *w, enum upstream_failure *failure_out)
{
    struct upstream *u = pool_take(&ctx->upstream_pool);
    int fd = -1;
    fleet_note_trying(w, clock_ms());
    errno = ENOMEM;
    if (u) {
        fd = connect_to(ctx, &ctx->pools[w->index]);
        if (fd < 0 && is_out_of_something(errno) && upstream_evict(ctx))
            fd = connect_to(ctx, &ctx->pools[w->index]);
    }
    if (fd < 0) {
        *failure_out = upstream_note_failed(ctx, w, errno);
        pool_give_back(u);
        return NULL;
    }
    u->ctx = ctx;
    u->worker = w;
    if (!stream_start(&u->stream, ctx->base, fd, on_upstream_event, u)) {
        close(fd);
        pool_give_back(u);
        *failure_out = UPSTREAM_NOT_TRIED;
        return NULL;
    }
    metrics_add(&ctx->metrics, M_UPSTREAM_CONNECTS, 1);
    return u;
}

/* --- pool --- */

/* One look at the socket: has the worker closed, or spoken unasked, since the loop last polled? */
static bool is_quiet(const struct upstream *u)
{
    char byte;
    ssize_t n;
    do
        n = recv(stream_fd(&u->stream), &byte, 1, MSG_PEEK);
    while (n < 0 && errno == EINTR);
    return n < 0 && errno == EAGAIN;
}

static void leave_pool(struct upstream *u)
{
    list_cut(&u->link);
    metrics_sub(&u->ctx->metrics, M_UPSTREAMS_IDLE, 1);
}

/* The first usable idle one; those that are not are closed. */
static struct upstream *upstream_from_pool(struct ctx *ctx, struct worker *w)
{
    struct list *idle = &ctx->pools[w->index].idle;
    struct link *n;
    uint64_t now_ms = clock_ms();
    while ((n = list_first(idle))) {
        struct upstream *u = LINK_OWNER(n, struct upstream, link);
        if (now_ms < u->idle_until_ms && is_quiet(u)) {
            leave_pool(u);
            metrics_add(&ctx->metrics, M_UPSTREAM_REUSED, 1);
            return u;
        }
        upstream_close(u, false);
    }
    return NULL;
}

struct upstream *upstream_take(struct ctx *ctx, struct worker *w, bool fresh, void (*on_event)(void *, short),
                               void *user, enum upstream_failure *failure_out)
{
    *failure_out = UPSTREAM_FINE;
    struct upstream *u = fresh ? NULL : upstream_from_pool(ctx, w);
    if (!u)
        u = upstream_connect(ctx, w, failure_out);
    if (!u)
        return NULL;
    u->on_event = on_event;
    u->user = user;
    u->sent_before = u->sent;
    return u;
}

bool upstream_is_request_unseen(const struct upstream *u)
{
    struct tcp_info info;
    socklen_t bytes = sizeof(info);
    memset(&info, 0, sizeof(info));
    if (getsockopt(stream_fd(&u->stream), IPPROTO_TCP, TCP_INFO, &info, &bytes) < 0 ||
        bytes < offsetof(struct tcp_info, tcpi_bytes_acked) + sizeof(info.tcpi_bytes_acked))
        return false;
    /* the SYN counts as one acknowledged byte */
    return info.tcpi_bytes_acked <= u->sent_before + 1;
}

void upstream_give_back(struct upstream *u)
{
    struct upstream_pool *pool = pool_of(u);
    uint32_t keep_s = pool->keep_alive_s ? pool->keep_alive_s : KEEP_ALIVE_S_UNSAID;
    u->on_event = NULL;
    u->user = NULL;
    u->is_reused = true;
    u->stream.flags &= (uint8_t)~STREAM_LOOK_AGAIN;
    u->idle_until_ms = clock_ms() + (keep_s - 1) * 1000u;
    list_add_first(&pool->idle, &u->link);
    metrics_add(&u->ctx->metrics, M_UPSTREAMS_IDLE, 1);
}

/* The one door out. */
static void upstream_bury(struct upstream *u)
{
    if (link_is_tied(&u->link))
        leave_pool(u);
    u->is_closed = true;
    u->on_event = NULL;
    reaper_bury(&u->ctx->reaper, &u->link);
}

void upstream_close(struct upstream *u, bool reset)
{
    if (u->is_closed)
        return;
    stream_close(&u->stream, reset);
    upstream_bury(u);
}

int upstream_release(struct upstream *u)
{
    int fd = stream_detach(&u->stream);
    upstream_bury(u);
    return fd;
}

void upstream_sweep(struct ctx *ctx)
{
    uint64_t now_ms = clock_ms();
    for (uint16_t i = 0; i < ctx->fleet.count; i++) {
        struct link *n;
        while ((n = list_last(&ctx->pools[i].idle))) { /* the oldest */
            struct upstream *u = LINK_OWNER(n, struct upstream, link);
            if (now_ms < u->idle_until_ms)
                break;
            upstream_close(u, false);
        }
    }
}

bool upstream_evict(struct ctx *ctx)
{
    for (uint16_t i = 0; i < ctx->fleet.count; i++) {
        struct link *n = list_last(&ctx->pools[i].idle);
        if (n) {
            upstream_close(LINK_OWNER(n, struct upstream, link), false);
            return true;
        }
    }
    return false;
}
