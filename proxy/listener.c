#include "listener.h"

#include "address.h"
#include "clock.h"
#include "conn.h"
#include "stream.h"
#include "upstream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define ACCEPTS_PER_TURN 64
#define WARN_EVERY_MS    10000u
#define QUEUE_LENGTH     4096 /* the kernel cuts it to net.core.somaxconn */

/* A unix socket that nobody listens on is what a killed process left. */
static void remove_stale_socket(const struct config_listen *where)
{
    struct stat st;
    const char *path = where->address.addr.un.sun_path;
    if (lstat(path, &st) < 0 || !S_ISSOCK(st.st_mode))
        return;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    if (connect(fd, &where->address.addr.any, where->address.bytes) < 0 && errno == ECONNREFUSED)
        unlink(path);
    close(fd);
}

static bool bind_unix(struct listener *l, const struct config_listen *where)
{
    const char *path = where->address.addr.un.sun_path;
    remove_stale_socket(where);
    if (bind(l->fd, &where->address.addr.any, where->address.bytes) < 0)
        return false;
    snprintf(l->unlink_path, sizeof(l->unlink_path), "%s", path);
    return !where->unix_mode || chmod(path, where->unix_mode) == 0;
}

static bool bind_tcp(struct listener *l, const struct config_listen *where)
{
    int yes = 1;
    setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    if (where->address.addr.any.sa_family == AF_INET6) /* 0.0.0.0 is a line of its own */
        setsockopt(l->fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof(yes));
    stream_tune(l->fd, l->ctx->config->stall_ms);
    return bind(l->fd, &where->address.addr.any, where->address.bytes) == 0;
}

static void name_listener(struct listener *l, const struct config_listen *where)
{
    struct address bound = {.bytes = sizeof(bound.addr)};
    struct ip text_of;
    char text[IP_TEXT_BYTES];
    if (where->address.addr.any.sa_family == AF_UNIX || getsockname(l->fd, &bound.addr.any, &bound.bytes) < 0) {
        snprintf(l->name, sizeof(l->name), "%s", where->name);
        return;
    }
    text_of = address_ip(&bound.addr.any);
    snprintf(l->name, sizeof(l->name), "%s", ip_text(&text_of, text));
}

static void listener_pause(struct listener *l)
{
    if (l->is_paused)
        return;
    uint64_t clients = l->ctx->metrics.value[M_CLIENTS] + l->ctx->metrics.value[M_TUNNELS];
    l->is_paused = true;
    event_del(&l->event);
    metrics_add(&l->ctx->metrics, M_ACCEPT_PAUSES, 1);
    uint64_t now_ms = clock_ms();
    if (l->warned_ms && now_ms < l->warned_ms + WARN_EVERY_MS)
        return; /* at the ceiling each client that leaves lets one in: that is one episode */
    l->warned_ms = now_ms;
    log_line(&l->ctx->log, LOG_WARN, "accepting paused",
             "listen=%s clients=%llu hint=\"limits.connections or RLIMIT_NOFILE is reached\"", l->name,
             (unsigned long long)clients);
}

/* False: no more for now. */
static bool listener_accept_one(struct listener *l)
{
    struct address from = {.bytes = sizeof(from.addr)};
    int fd = accept4(l->fd, &from.addr.any, &from.bytes, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        if (!conn_start(l->ctx, fd, &from.addr.any, l->takes_proxy))
            log_line(&l->ctx->log, LOG_ERROR, "client dropped", "reason=no-memory");
        return true;
    }
    if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
        if (upstream_evict(l->ctx)) /* an idle upstream is worth less than a client */
            return true;
        listener_pause(l);
        return false;
    }
    return errno != EAGAIN; /* anything else concerns the one connection that is gone (accept(2)) */
}

static void on_acceptable(evutil_socket_t fd, short what, void *arg)
{
    struct listener *l = arg;
    (void)fd;
    (void)what;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        if (!l->may_accept(l->ctx)) {
            listener_pause(l);
            return;
        }
        if (!listener_accept_one(l))
            return;
    }
}

bool listener_open(struct listener *l, struct ctx *ctx, const struct config_listen *where,
                   bool (*may_accept)(struct ctx *ctx), char *error_out, size_t error_size)
{
    int family = where->address.addr.any.sa_family;
    *l = (struct listener){.ctx = ctx, .is_paused = true, .takes_proxy = where->takes_proxy, .may_accept = may_accept};
    l->fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool is_open = l->fd >= 0 && (family == AF_UNIX ? bind_unix(l, where) : bind_tcp(l, where)) &&
                   listen(l->fd, QUEUE_LENGTH) == 0;
    if (!is_open) {
        snprintf(error_out, error_size, "%s: %s", where->name, strerror(errno));
        if (l->fd >= 0)
            close(l->fd);
        l->fd = -1;
        return false;
    }
    name_listener(l, where);
    event_assign(&l->event, ctx->base, l->fd, EV_READ | EV_PERSIST, on_acceptable, l);
    return true;
}

void listener_resume(struct listener *l)
{
    if (l->fd < 0 || !l->is_paused || event_add(&l->event, NULL) < 0)
        return;
    l->is_paused = false;
}

void listener_close(struct listener *l)
{
    if (l->fd < 0)
        return;
    event_del(&l->event);
    close(l->fd);
    l->fd = -1;
    if (*l->unlink_path)
        unlink(l->unlink_path);
}
