#include "server.h"

#include "clock.h"
#include "conn.h"
#include "ctx.h"
#include "exchange.h"
#include "listener.h"
#include "session.h"
#include "tunnel.h"
#include "upstream.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#define DESCRIPTORS_RESERVED 16u        /* stdio, log, epoll, signals, a little air */
#define CLIENTS_MAX          (1u << 20) /* RLIMIT_NOFILE may be 10^9: nothing here grows with it beyond this */
#define SESSIONS_PER_CLIENT  16u
#define SESSIONS_MAX_DEFAULT 262144u
#define CALLBACKS_PER_POLL   16 /* at most so many without a poll: re-queued work must not starve events and timers */
#define DRAIN_STEP_MS        100u
#define TRIM_CLIENTS_MIN     128 /* a smaller burst is not worth a trim */
#define MISPLACED_PATHS_MAX  16
#define MISPLACED_PATH_BYTES 96

struct server {
    struct ctx ctx; /* first: ctx's callbacks find the server by it */
    struct listener listeners[CONFIG_LISTENS_MAX];
    size_t listener_count;
    uint64_t clients_max;
    uint64_t clients_peak; /* since the heap was trimmed */
    void *region;          /* of the sidmap */
    size_t region_bytes;

    struct event tick;
    struct event drain_step;
    struct event signals[4];
    uint64_t drain_until_ms;
    char misplaced[MISPLACED_PATHS_MAX][MISPLACED_PATH_BYTES]; /* paths that were warned about */
};

static struct server *server_of(struct ctx *ctx)
{
    return (struct server *)(void *)ctx;
}

static uint64_t server_clients(const struct ctx *ctx)
{
    return ctx->metrics.value[M_CLIENTS] + ctx->metrics.value[M_TUNNELS];
}

static void server_log_metrics(struct server *s)
{
    char line[LOG_LINE_BYTES - 128];
    metrics_line(&s->ctx.metrics, line, sizeof(line));
    log_always(&s->ctx.log, "metrics", "%s", line);
}

/* --- callbacks of ctx --- */

static bool may_accept(struct ctx *ctx)
{
    return server_clients(ctx) < server_of(ctx)->clients_max;
}

static void server_resume_accepting(struct server *s)
{
    for (size_t i = 0; i < s->listener_count && may_accept(&s->ctx); i++)
        listener_resume(&s->listeners[i]);
}

static void on_client_gone(struct ctx *ctx)
{
    struct server *s = server_of(ctx);
    if (!ctx->is_draining)
        server_resume_accepting(s);
    else if (server_clients(ctx) == 0)
        event_base_loopbreak(ctx->base);
}

/* The commonest newcomer's error, said once for each path. */
static void on_misplaced(struct ctx *ctx, struct span path)
{
    struct server *s = server_of(ctx);
    char shown[MISPLACED_PATH_BYTES];
    log_value(path, shown, sizeof(shown));
    for (int i = 0; i < MISPLACED_PATHS_MAX; i++) {
        if (!strcmp(s->misplaced[i], shown))
            return;
        if (*s->misplaced[i])
            continue;
        snprintf(s->misplaced[i], MISPLACED_PATH_BYTES, "%s", shown);
        log_line(&ctx->log, LOG_WARN, "unknown path", "path=%s hint=\"%s looks like Engine.IO: add \\\"path = %s\\\"\"",
                 shown, shown, shown);
        return;
    }
}

/* --- limits.memory --- */

static void shed_from(struct ctx *ctx, uint64_t bytes_min, uint64_t *excess)
{
    tunnel_shed(ctx, bytes_min, excess);
    conn_shed(ctx, bytes_min, excess);
}

/* Buffers hold more than they may: those who hold most go, until an eighth of the room is free. */
static void on_shed(evutil_socket_t fd, short what, void *arg)
{
    struct server *s = arg;
    struct ctx *ctx = &s->ctx;
    struct shed shed = {0};
    uint64_t held = ctx_buffered(ctx), wanted = ctx->memory_max - ctx->memory_max / 8;
    uint64_t closed = ctx->metrics.value[M_SHED];
    (void)fd;
    (void)what;
    if (held <= ctx->memory_max)
        return;
    conn_weigh_all(ctx, &shed);
    tunnel_weigh_all(ctx, &shed);
    uint64_t excess = held - wanted, bytes_min = shed_bytes_min(&shed, excess);
    shed_from(ctx, shed_bytes_above(bytes_min), &excess); /* all of these go, and are not enough */
    shed_from(ctx, bytes_min, &excess);
    if (!ctx_may_tell(ctx, HINT_MEMORY))
        return;
    log_line(&ctx->log, LOG_WARN, "memory",
             "held=%llu max=%llu closed=%llu holding_at_least=%llu hint=\"too many clients read too slowly: raise "
             "limits.memory, lower limits.buffer or set limits.per_address\"",
             (unsigned long long)held, (unsigned long long)ctx->memory_max,
             (unsigned long long)(ctx->metrics.value[M_SHED] - closed), (unsigned long long)bytes_min);
}

/* What the machine has, or what the container may have, whichever is less; 0: unknown. */
static uint64_t memory_of_machine(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
    uint64_t bytes = pages > 0 && page_bytes > 0 ? (uint64_t)pages * (uint64_t)page_bytes : 0;
    char text[32] = "";
    FILE *limit = fopen("/sys/fs/cgroup/memory.max", "re");
    if (!limit)
        return bytes;
    bool is_read = fgets(text, sizeof(text), limit);
    fclose(limit);
    uint64_t most = is_read ? strtoull(text, NULL, 10) : 0; /* 0 also for "max" */
    return most && (bytes == 0 || most < bytes) ? most : bytes;
}

/* --- once a second --- */

/* After a burst of clients the heap holds pages that nobody uses: give them back. */
static void server_trim(struct server *s)
{
    uint64_t clients = s->ctx.metrics.value[M_CLIENTS];
    if (clients > s->clients_peak)
        s->clients_peak = clients;
    if (s->clients_peak < TRIM_CLIENTS_MIN || clients > s->clients_peak / 2)
        return;
    s->clients_peak = clients;
    malloc_trim(0);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct server *s = arg;
    (void)fd;
    (void)what;
    s->ctx.now_s = clock_boot_s();
    s->ctx.ticks++;
    conn_sweep(&s->ctx); /* those who hold a session keep it young first: the clock may have jumped (suspend) */
    tunnel_sweep(&s->ctx);
    session_sweep(&s->ctx);
    upstream_sweep(&s->ctx);
    server_trim(s);
    if (!s->ctx.is_draining)
        server_resume_accepting(s); /* another process may have freed descriptors */
}

/* --- drain and stop --- */

static void server_stop(struct server *s)
{
    conn_close_all(&s->ctx, REASON_DRAINED);
    while (tunnel_close_oldest(&s->ctx, REASON_DRAINED))
        ;
    event_base_loopbreak(s->ctx.base);
}

/* A share of the websockets, so that all are closed, evenly spread, when the time is over. */
static void on_drain_step(evutil_socket_t fd, short what, void *arg)
{
    struct server *s = arg;
    uint64_t now_ms = clock_ms();
    (void)fd;
    (void)what;
    if (now_ms >= s->drain_until_ms) {
        server_stop(s);
        return;
    }
    uint64_t steps = (s->drain_until_ms - now_ms) / DRAIN_STEP_MS + 1;
    uint64_t share = (s->ctx.metrics.value[M_TUNNELS] + steps - 1) / steps;
    while (share-- && tunnel_close_oldest(&s->ctx, REASON_DRAINED))
        ;
}

static void server_drain(struct server *s)
{
    struct timeval step = {0, DRAIN_STEP_MS * 1000};
    uint64_t drain_ms = s->ctx.config->drain_ms;
    log_line(&s->ctx.log, LOG_INFO, "draining", "clients=%llu tunnels=%llu drain_ms=%llu",
             (unsigned long long)s->ctx.metrics.value[M_CLIENTS], (unsigned long long)s->ctx.metrics.value[M_TUNNELS],
             (unsigned long long)drain_ms);
    s->ctx.is_draining = true;
    s->drain_until_ms = clock_ms() + drain_ms;
    for (size_t i = 0; i < s->listener_count; i++)
        listener_close(&s->listeners[i]);
    conn_drain_all(&s->ctx);
    if (server_clients(&s->ctx) == 0 || drain_ms == 0 || event_add(&s->drain_step, &step) < 0)
        server_stop(s);
}

static void on_end_signal(evutil_socket_t number, short what, void *arg)
{
    struct server *s = arg;
    (void)what;
    log_line(&s->ctx.log, LOG_INFO, "signal", "signal=%s", number == SIGTERM ? "SIGTERM" : "SIGINT");
    if (s->ctx.is_draining)
        server_stop(s);
    else
        server_drain(s);
}

static void on_usr1(evutil_socket_t number, short what, void *arg)
{
    struct server *s = arg;
    (void)number;
    (void)what;
    if (!log_reopen(&s->ctx.log))
        log_line(&s->ctx.log, LOG_ERROR, "log not reopened", "file=%s error=\"%s\"", s->ctx.log.file, strerror(errno));
    server_log_metrics(s);
}

static void on_hangup(evutil_socket_t number, short what, void *arg)
{
    struct server *s = arg;
    (void)number;
    (void)what;
    log_line(&s->ctx.log, LOG_WARN, "signal",
             "signal=SIGHUP hint=\"reload is not built yet: restart to change settings\"");
}

/* --- start --- */

static bool server_fail(struct server *s, const char *what, const char *why)
{
    log_line(&s->ctx.log, LOG_ERROR, "cannot start", "%s: %s", what, why);
    return false;
}

/* As many descriptors as we may have; two for each client, its own and a worker's. */
static void server_set_limits(struct server *s)
{
    struct rlimit limit = {.rlim_cur = 1024, .rlim_max = 1024};
    const struct config *cfg = s->ctx.config;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
            (void)getrlimit(RLIMIT_NOFILE, &limit);
    }
    uint64_t reserved = DESCRIPTORS_RESERVED + cfg->listen_count;
    uint64_t fits = limit.rlim_cur > reserved + 2 ? (limit.rlim_cur - reserved) / 2 : 1;
    if (fits > CLIENTS_MAX)
        fits = CLIENTS_MAX;
    if (cfg->connections > fits)
        log_line(&s->ctx.log, LOG_WARN, "limits", "connections=%llu fits=%llu hint=\"raise RLIMIT_NOFILE\"",
                 (unsigned long long)cfg->connections, (unsigned long long)fits);
    s->clients_max = cfg->connections && cfg->connections < fits ? cfg->connections : fits;
    s->ctx.memory_max = cfg->memory_bytes ? cfg->memory_bytes : memory_of_machine() / 4;
}

static uint32_t round_up_to_power_of_two(uint64_t n)
{
    uint64_t power = SIDMAP_ENTRIES_MIN;
    while (power < n && power < (1u << 30))
        power *= 2;
    return (uint32_t)power;
}

/* The host's boot: entries of another one would count from another zero. All zero when unknown. */
static void read_boot_id(uint8_t id[16])
{
    char text[64] = "";
    size_t digits = 0;
    memset(id, 0, 16);
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t n = read(fd, text, sizeof(text) - 1);
    close(fd);
    for (ssize_t i = 0; i < n && digits < 32; i++) {
        static const char hex[] = "0123456789abcdef";
        const char *digit = text[i] ? strchr(hex, text[i]) : NULL;
        if (!digit)
            continue;
        id[digits / 2] = (uint8_t)(id[digits / 2] << 4 | (digit - hex));
        digits++;
    }
}

static bool server_make_sidmap(struct server *s)
{
    const struct config *cfg = s->ctx.config;
    uint64_t wanted = cfg->sessions;
    uint64_t key[2];
    uint8_t boot_id[16];
    bool fresh;
    if (!wanted)
        wanted = s->clients_max * SESSIONS_PER_CLIENT < SESSIONS_MAX_DEFAULT ? s->clients_max * SESSIONS_PER_CLIENT
                                                                             : SESSIONS_MAX_DEFAULT;
    uint32_t entries = round_up_to_power_of_two(wanted);
    s->region_bytes = sidmap_region_bytes(entries);
    s->region = mmap(NULL, s->region_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (s->region == MAP_FAILED) {
        s->region = NULL;
        return server_fail(s, "session map", strerror(errno));
    }
    if (getrandom(key, sizeof(key), 0) != sizeof(key) ||
        getrandom(s->ctx.random, sizeof(s->ctx.random), 0) != sizeof(s->ctx.random))
        return server_fail(s, "getrandom", strerror(errno));
    s->ctx.random[0] |= 1; /* all zero would stay zero */
    read_boot_id(boot_id);
    if (!sidmap_init(&s->ctx.sidmap, s->region, s->region_bytes, entries, key, boot_id, &fresh))
        return server_fail(s, "session map", "bad region");
    if (!session_init(&s->ctx))
        return server_fail(s, "session map", strerror(ENOMEM));
    return true;
}

static bool server_make_addresses(struct server *s)
{
    const struct config *cfg = s->ctx.config;
    uint64_t key[2];
    if (!cfg->per_address && !cfg->handshakes_per_address)
        return true;
    if (getrandom(key, sizeof(key), 0) != sizeof(key))
        return server_fail(s, "getrandom", strerror(errno));
    s->ctx.addresses = addresses_new(s->clients_max, key);
    return s->ctx.addresses || server_fail(s, "limits per address", strerror(ENOMEM));
}

static bool server_make_fleet(struct server *s)
{
    struct ctx *ctx = &s->ctx;
    const struct config *cfg = ctx->config;
    if (!fleet_init(&ctx->fleet, (uint16_t)cfg->worker_count))
        return server_fail(s, "workers", strerror(ENOMEM));
    memset(ctx->slot_index, 0xff, sizeof(ctx->slot_index));
    for (uint16_t i = 0; i < ctx->fleet.count; i++) {
        struct worker *w = &ctx->fleet.workers[i];
        w->name = cfg->workers[i].name;
        w->identity = cfg->workers[i].identity;
        w->weight = cfg->workers[i].weight;
        w->is_in_range = cfg->workers[i].is_in_range;
        w->slot = sidmap_slot(&ctx->sidmap, w->identity);
        if (w->slot == SIDMAP_SLOT_NONE)
            return server_fail(s, w->name, "no room in the session map's worker table");
        ctx->slot_index[w->slot] = i;
    }
    ctx->cors = cors_new();
    if (!ctx->cors || !upstream_pools_init(ctx))
        return server_fail(s, "workers", strerror(ENOMEM));
    return true;
}

/* libevent's hook takes no argument: where its warnings go. */
static struct log *libevents_log;

static void on_libevent_log(int severity, const char *text)
{
    log_line(libevents_log, severity >= EVENT_LOG_ERR ? LOG_ERROR : LOG_WARN, "libevent", "text=\"%s\"", text);
}

/* Edge-triggered, with EV_CLOSED, and no change list: it would delay event_del beyond a close. */
static bool server_make_loop(struct server *s)
{
    libevents_log = &s->ctx.log;
    event_set_log_callback(on_libevent_log);
    pool_serve_libevent(2 * (size_t)s->clients_max + DESCRIPTORS_RESERVED);
    struct event_config *ec = event_config_new();
    if (ec) {
        event_config_require_features(ec, EV_FEATURE_ET | EV_FEATURE_EARLY_CLOSE);
        event_config_set_flag(ec, EVENT_BASE_FLAG_NOLOCK);

        event_config_set_max_dispatch_interval(ec, NULL, CALLBACKS_PER_POLL, 0);
        s->ctx.base = event_base_new_with_config(ec);
        event_config_free(ec);
    }
    if (s->ctx.base)
        reaper_init(&s->ctx.reaper, s->ctx.base);
    s->ctx.read_bytes = s->ctx.config->buffer_bytes < READ_BYTES ? s->ctx.config->buffer_bytes : READ_BYTES;
    s->ctx.read_buffer = malloc(s->ctx.read_bytes);
    if (!s->ctx.base || !s->ctx.read_buffer)
        return server_fail(s, "event loop", strerror(errno));
    return true;
}

static bool server_watch(struct server *s)
{
    static const struct {
        int number;
        event_callback_fn call;
    } rows[] = {{SIGTERM, on_end_signal}, {SIGINT, on_end_signal}, {SIGUSR1, on_usr1}, {SIGHUP, on_hangup}};
    struct timeval second = {1, 0};
    signal(SIGPIPE, SIG_IGN);
    FOR_EACH (row, rows) {
        struct event *e = &s->signals[row_at];
        event_assign(e, s->ctx.base, rows[row_at].number, EV_SIGNAL | EV_PERSIST, rows[row_at].call, s);
        if (event_add(e, NULL) < 0)
            return server_fail(s, "signals", strerror(errno));
    }
    event_assign(&s->ctx.shed, s->ctx.base, -1, 0, on_shed, s);
    event_assign(&s->drain_step, s->ctx.base, -1, EV_PERSIST, on_drain_step, s);
    event_assign(&s->tick, s->ctx.base, -1, EV_PERSIST, on_tick, s);
    return event_add(&s->tick, &second) == 0 || server_fail(s, "timer", strerror(errno));
}

static bool server_listen(struct server *s)
{
    const struct config *cfg = s->ctx.config;
    char error[256];
    for (size_t i = 0; i < cfg->listen_count; i++) {
        if (!listener_open(&s->listeners[i], &s->ctx, &cfg->listens[i], may_accept, error, sizeof(error)))
            return server_fail(s, "listen", error);
        s->listener_count++;
    }
    return true;
}

static void server_say_ready(struct server *s)
{
    char names[2048] = "";
    size_t at = 0;
    for (size_t i = 0; i < s->listener_count && at < sizeof(names) - 1; i++)
        at += (size_t)snprintf(names + at, sizeof(names) - at, "%s%s", i ? "," : "", s->listeners[i].name);
    log_line(&s->ctx.log, LOG_INFO, "ready",
             "listen=%s workers=%u clients_max=%llu sessions_max=%u memory_max=%llu pid=%d", names, s->ctx.fleet.count,
             (unsigned long long)s->clients_max, s->ctx.sidmap.mask + 1, (unsigned long long)s->ctx.memory_max,
             (int)getpid());
}

static bool server_start(struct server *s, struct config *config)
{
    s->ctx.config = config;
    s->ctx.on_client_gone = on_client_gone;
    s->ctx.on_misplaced = on_misplaced;
    s->ctx.now_s = clock_boot_s();
    pool_init(&s->ctx.conn_pool, conn_bytes());
    pool_init(&s->ctx.exchange_pool, sizeof(struct exchange));
    pool_init(&s->ctx.upstream_pool, sizeof(struct upstream));
    pool_init(&s->ctx.tunnel_pool, tunnel_bytes());
    list_init(&s->ctx.conns);
    list_init(&s->ctx.tunnels);
    if (!log_init(&s->ctx.log, config->log_file, config->log_level))
        return server_fail(s, config->log_file, strerror(errno));
    server_set_limits(s);
    if (!server_make_sidmap(s) || !server_make_addresses(s) || !server_make_loop(s) || !server_make_fleet(s) ||
        !server_watch(s) || !server_listen(s))
        return false;
    server_resume_accepting(s);
    server_say_ready(s);
    return true;
}

/* Undo what server_start did, as far as it came. */
static void server_free(struct server *s)
{
    struct ctx *ctx = &s->ctx;
    for (size_t i = 0; i < s->listener_count; i++)
        listener_close(&s->listeners[i]);
    upstream_pools_fini(ctx);
    if (ctx->base) {
        reaper_fini(&ctx->reaper);
        event_base_free(ctx->base);
    }
    event_set_log_callback(NULL);
    pool_fini(&ctx->conn_pool);
    pool_fini(&ctx->exchange_pool);
    pool_fini(&ctx->upstream_pool);
    pool_fini(&ctx->tunnel_pool);
    free(ctx->read_buffer);
    cors_free(ctx->cors);
    addresses_free(ctx->addresses);
    session_fini(ctx);
    fleet_fini(&ctx->fleet);
    if (s->region)
        munmap(s->region, s->region_bytes);
    log_fini(&ctx->log);
    config_release(ctx->config);
    free(s);
}

/* It ends already: a signal that comes now, when libevent takes its handlers away, must not turn that into a death. */
static void server_block_signals(void)
{
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
}

int server_run(struct config *config)
{
    struct server *s = calloc(1, sizeof(*s));
    if (!s) {
        fputs("siolb: out of memory\n", stderr);
        config_release(config);
        return 1;
    }
    bool started = server_start(s, config);
    if (started) {
        event_base_dispatch(s->ctx.base);
        server_log_metrics(s);
        server_block_signals();
        log_line(&s->ctx.log, LOG_INFO, "stopped", "pid=%d", (int)getpid());
    }
    server_free(s);
    return started ? 0 : 1;
}
