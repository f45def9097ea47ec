#include "tunnel.h"

#include "core/eio_open.h"
#include "core/reason.h"
#include "session.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define READS_PER_TURN        4 /* then the others get their turn */
#define LOOK_AGAIN_AT         2 /* sweeps without a byte: quiet for at least one whole second */
#define TOUCH_EVERY           8 /* sweeps: how often the sidmap hears that a session lives on */
#define FIRST_FRAME_BYTES_MAX 1024

enum { CLIENT, WORKER };

/*  One direction, from side `from` to the other one:
 *
 *  state     waits for                                       may become
 *  FLOW      bytes from `from`, or room at the other side    ENDING DONE
 *  ENDING    room for the last bytes: `from` has ended       DONE
 *  DONE      nothing                                         -          */
enum way { WAY_FLOW, WAY_ENDING, WAY_DONE, WAYS };

static const uint8_t way_may_enter[WAYS] = {
    [WAY_FLOW] = BIT(WAY_ENDING) | BIT(WAY_DONE),
    [WAY_ENDING] = BIT(WAY_DONE),
};

struct tunnel_side {
    struct stream stream;
    struct backlog *waiting; /* bytes for this side that its kernel did not take */
    uint64_t got;            /* bytes read from this side */
};

struct tunnel {
    struct link link; /* first: the reaper's; in ctx->tunnels, oldest first */
    struct tunnel_side side[2];
    struct ctx *ctx;
    uint64_t key;
    struct backlog *first_frame; /* the worker's first bytes, until its ping values are found */
    struct ip client;
    uint32_t id;
    uint32_t started_s;
    uint16_t worker; /* index in the fleet */
    uint16_t ttl_s;
    uint16_t quiet; /* sweeps since the last event, up to UINT16_MAX */
    uint8_t route;
    uint8_t way[2];     /* enum way, by the side it comes from */
    uint8_t ended_by;   /* the side that ended first */
    uint8_t why;        /* enum reason: how */
    bool was_reset : 1; /* that side is gone by RST: pass it on */
    bool reads_first_frame : 1;
    bool is_blocked : 1; /* the closing line tells who was slow last */
    bool blocked_side : 1;
    bool is_counted : 1; /* in ctx->addresses */
    bool is_closed : 1;
};

/* DESIGN 3: an idle tunnel is one small struct with its two events; 512 bytes resident with libevent's part. */
static_assert(sizeof(struct tunnel) - 2 * sizeof(struct event) <= 136, "an idle tunnel has grown");

static void way_enter(struct tunnel *t, int from, enum way next)
{
    assert(way_may_enter[t->way[from]] & BIT(next));
    t->way[from] = (uint8_t)next;
}

static struct worker *tunnel_worker(const struct tunnel *t)
{
    return &t->ctx->fleet.workers[t->worker];
}

static bool tunnel_was_ended_by_peer(const struct tunnel *t)
{
    return t->why == REASON_FIN || t->why == REASON_RESET || t->why == REASON_TIMED_OUT;
}

static const char *tunnel_who(const struct tunnel *t)
{
    if (!tunnel_was_ended_by_peer(t))
        return reason_who((enum reason)t->why);
    return t->ended_by == CLIENT ? "client" : "worker";
}

static void tunnel_log(const struct tunnel *t)
{
    char client[IP_TEXT_BYTES];
    static const char *const side_name[] = {"client", "worker"};
    log_line(&t->ctx->log, LOG_INFO, "closed",
             "conn=%u client=%s worker=%s route=%s end=%s/tunnel reason=%s age_ms=%llu in=%llu out=%llu blocked=%s",
             t->id, ip_text(&t->client, client), tunnel_worker(t)->name, route_name((enum route)t->route),
             tunnel_who(t), reason_word((enum reason)t->why), (unsigned long long)(t->ctx->now_s - t->started_s) * 1000,
             (unsigned long long)t->side[CLIENT].got, (unsigned long long)t->side[WORKER].got,
             t->is_blocked ? side_name[t->blocked_side] : "-");
}

/* The one door out. */
static void tunnel_close(struct tunnel *t, enum reason why, bool reset)
{
    struct ctx *ctx = t->ctx;
    if (t->is_closed)
        return;
    t->is_closed = true;
    if (t->why == REASON_NONE)
        t->why = (uint8_t)why;
    tunnel_log(t);
    struct worker *w = tunnel_worker(t);
    w->tunnels--;
    metrics_sub(&ctx->metrics, M_TUNNELS, 1);
    metrics_add(&ctx->metrics, M_TUNNELS_CUT, !tunnel_was_ended_by_peer(t));
    metrics_add(&ctx->metrics, M_BYTES_UP, t->side[CLIENT].got);
    metrics_add(&ctx->metrics, M_BYTES_DOWN, t->side[WORKER].got);
    if (t->key) {
        session_close(ctx, t->key);
    } else {
        w->lone_tunnels--;
        metrics_sub(&ctx->metrics, M_SESSIONS, 1);
    }
    if (t->is_counted)
        addresses_leave(ctx->addresses, &t->client);
    backlog_free(&t->first_frame, &ctx->metrics);
    for (int i = 0; i < 2; i++) {
        backlog_free(&t->side[i].waiting, &ctx->metrics);
        stream_close(&t->side[i].stream, reset);
    }
    list_cut(&t->link);
    reaper_bury(&ctx->reaper, &t->link);
    ctx->on_client_gone(ctx);
}

/* --- the first frame of a lone tunnel: its ping values bound how long silence is normal --- */

static void tunnel_read_first_frame(struct tunnel *t, struct span bytes)
{
    struct eio_open open;
    struct metrics *m = &t->ctx->metrics;
    if (!ctx_keep(t->ctx, &t->first_frame, bytes))
        t->reads_first_frame = false;
    struct span all = backlog_span(t->first_frame);
    enum parse found = all.len ? eio_open_parse_frame(all, &open) : PARSE_MORE;
    if (found == PARSE_OK)
        t->ttl_s = session_ttl_s(&open);
    if (found != PARSE_MORE || all.len > FIRST_FRAME_BYTES_MAX)
        t->reads_first_frame = false;
    if (!t->reads_first_frame)
        backlog_free(&t->first_frame, m);
}

/* --- moving bytes --- */

static void tunnel_note_error(struct tunnel *t, int side, int error)
{
    if (t->why != REASON_NONE)
        return;
    t->why = error == ETIMEDOUT ? REASON_TIMED_OUT : REASON_RESET;
    t->ended_by = (uint8_t)side;
}

/* Nothing goes to `to` any more, whatever waits for it or comes. */
static void tunnel_give_up(struct tunnel *t, int to)
{
    backlog_free(&t->side[to].waiting, &t->ctx->metrics);
    t->was_reset = true;
    if (t->way[!to] != WAY_DONE)
        way_enter(t, !to, WAY_DONE);
}

/* One side is gone with an error, and all that it sent has been read. */
static bool tunnel_fail(struct tunnel *t, int side, int error)
{
    struct tunnel_side *other = &t->side[!side];
    tunnel_note_error(t, side, error);
    bool delivers = t->way[side] != WAY_DONE && other->waiting;
    if (!delivers) {
        tunnel_close(t, REASON_RESET, !stream_has_unsent(&other->stream));
        return false;
    }
    /* the other side gets what waits for it first */
    stream_close(&t->side[side].stream, false);
    tunnel_give_up(t, side);
    if (t->way[side] == WAY_FLOW)
        way_enter(t, side, WAY_ENDING);
    return true;
}

/* One side takes no more: what it sent before it went may be unread, and is read on to its end. */
static bool tunnel_meets_broken(struct tunnel *t, int side, int error)
{
    if (error == ENOMEM) {
        tunnel_close(t, REASON_NO_MEMORY, true);
        return false;
    }
    if (t->way[side] != WAY_FLOW)
        return tunnel_fail(t, side, error);
    tunnel_note_error(t, side, error);
    tunnel_give_up(t, side);
    t->side[side].stream.flags |= STREAM_READABLE;
    stream_again(&t->side[side].stream);
    return true;
}

/* Everything that `from` sent is with the other side: pass its end on. */
static bool tunnel_pass_end(struct tunnel *t, int from)
{
    struct stream *to = &t->side[!from].stream;
    way_enter(t, from, WAY_DONE);
    if (t->was_reset || t->way[!from] == WAY_DONE) {
        tunnel_close(t, REASON_FIN, t->was_reset && !stream_has_unsent(to));
        return false;
    }
    stream_shut(to);
    return true;
}

/* `bytes` go to `to`, or wait there. */
static bool tunnel_deliver(struct tunnel *t, int to, struct span bytes)
{
    struct tunnel_side *side = &t->side[to];
    size_t sent = 0;
    if (stream_write(&side->stream, bytes, &sent) == STREAM_FAILED)
        return tunnel_meets_broken(t, to, errno);
    if (sent == bytes.len)
        return true;
    t->is_blocked = true;
    t->blocked_side = to;
    if (ctx_keep(t->ctx, &side->waiting, span_skip(bytes, sent)))
        return true;
    tunnel_close(t, REASON_NO_MEMORY, true);
    return false;
}

static bool tunnel_flush(struct tunnel *t, int to)
{
    struct tunnel_side *side = &t->side[to];
    size_t sent = 0;
    if (!side->waiting || !(side->stream.flags & STREAM_WRITABLE))
        return true;
    if (stream_write(&side->stream, backlog_span(side->waiting), &sent) == STREAM_FAILED)
        return tunnel_meets_broken(t, to, errno);
    backlog_drop(&side->waiting, &t->ctx->metrics, sent);
    if (side->waiting)
        return true;
    t->is_blocked = false;
    return t->way[!to] == WAY_ENDING ? tunnel_pass_end(t, !to) : true;
}

static bool can_read(const struct tunnel *t, int from)
{
    return t->way[from] == WAY_FLOW && !t->side[!from].waiting && (t->side[from].stream.flags & STREAM_READABLE);
}

/* One read and what follows from it. */
static bool tunnel_move(struct tunnel *t, int from)
{
    struct tunnel_side *side = &t->side[from];
    struct ctx *ctx = t->ctx;
    size_t got;
    switch (stream_read(&side->stream, ctx->read_buffer, ctx->read_bytes, &got)) {
    case STREAM_OK:
        side->got += got;
        if (t->reads_first_frame && from == WORKER)
            tunnel_read_first_frame(t, span_of(ctx->read_buffer, got));
        return tunnel_deliver(t, !from, span_of(ctx->read_buffer, got));
    case STREAM_BLOCKED:
        return true;
    case STREAM_EOF:
        if (t->why == REASON_NONE) {
            t->why = REASON_FIN;
            t->ended_by = (uint8_t)from;
        }
        return tunnel_pass_end(t, from); /* nothing waits at the other side, else this one would not be read */
    case STREAM_FAILED:
        return tunnel_fail(t, from, errno);
    }
    return true;
}

/* Read `from` dry, or until the other side is full, or until it is the others' turn. */
static bool tunnel_pump(struct tunnel *t, int from)
{
    for (int reads = 0; can_read(t, from); reads++) {
        if (reads == READS_PER_TURN) {
            stream_again(&t->side[from].stream);
            return true;
        }
        if (!tunnel_move(t, from))
            return false;
    }
    return true;
}

/* A side whose FIN was read is not read again, and a RST that comes later shows as an error of the socket only. */
static bool tunnel_meets_late_reset(struct tunnel *t, int side)
{
    int error = t->way[side] == WAY_FLOW ? 0 : stream_error(&t->side[side].stream);
    return error && !tunnel_fail(t, side, error);
}

static void on_side_event(struct tunnel *t, int side, short what)
{
    if (t->is_closed)
        return;
    t->quiet = 0;
    stream_note(&t->side[side].stream, what);
    if (tunnel_meets_late_reset(t, side))
        return;
    if (!tunnel_flush(t, side) || !tunnel_pump(t, side))
        return;
    /* room at this side lets the other one be read again; usually it is not readable and this is one comparison */
    (void)tunnel_pump(t, !side);
}

static void on_client_event(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    on_side_event(arg, CLIENT, what);
}

static void on_worker_event(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    on_side_event(arg, WORKER, what);
}

/* --- start, sweep, stop --- */

static void tunnel_count_in(struct ctx *ctx, const struct tunnel_spec *spec)
{
    spec->worker->tunnels++;
    metrics_add(&ctx->metrics, M_TUNNELS, 1);
    metrics_add(&ctx->metrics, M_TUNNELS_OPENED, 1);
    if (spec->key)
        return;
    spec->worker->lone_tunnels++;
    metrics_add(&ctx->metrics, M_SESSIONS, 1);
}

static void tunnel_begin(struct tunnel *t, const struct tunnel_spec *spec)
{
    struct span behind_head = span_skip(spec->to_client, spec->head_bytes);
    t->side[WORKER].got = behind_head.len;
    if (t->reads_first_frame && behind_head.len)
        tunnel_read_first_frame(t, behind_head);
    if (!tunnel_deliver(t, CLIENT, spec->to_client))
        return;
    t->side[CLIENT].got = spec->to_worker.len;
    if (spec->to_worker.len && !tunnel_deliver(t, WORKER, spec->to_worker))
        return;
    if (!spec->client_ended || t->way[CLIENT] != WAY_FLOW) /* not FLOW: the worker takes nothing more */
        return;
    t->why = REASON_FIN;
    t->ended_by = CLIENT;
    way_enter(t, CLIENT, WAY_ENDING);
    if (!t->side[WORKER].waiting)
        (void)tunnel_pass_end(t, CLIENT);
}

size_t tunnel_bytes(void)
{
    return sizeof(struct tunnel);
}

bool tunnel_start(struct ctx *ctx, const struct tunnel_spec *spec)
{
    struct tunnel *t = pool_take(&ctx->tunnel_pool);
    bool has_client = t && stream_start(&t->side[CLIENT].stream, ctx->base, spec->client_fd, on_client_event, t);
    bool has_worker =
        has_client && stream_start(&t->side[WORKER].stream, ctx->base, spec->worker_fd, on_worker_event, t);
    if (!has_worker) {
        if (has_client)
            (void)stream_detach(&t->side[CLIENT].stream);
        close(spec->client_fd);
        close(spec->worker_fd);
        pool_give_back(t);
        return false;
    }
    t->ctx = ctx;
    t->key = spec->key;
    t->client = spec->client;
    t->is_counted = spec->is_counted;
    t->id = spec->id;
    t->started_s = spec->started_s;
    t->worker = spec->worker->index;
    t->ttl_s = spec->ttl_s;
    t->route = (uint8_t)spec->route;
    t->reads_first_frame = spec->reads_first_frame;
    list_add_last(&ctx->tunnels, &t->link);
    tunnel_count_in(ctx, spec);
    tunnel_begin(t, spec);
    return true;
}

/* A RST that came with the last data does not show by itself: read once more. */
static bool tunnel_look_again(struct tunnel *t)
{
    for (int i = 0; i < 2; i++) {
        if (stream_look_again(&t->side[i].stream) && !tunnel_pump(t, i))
            return false;
    }
    return true;
}

static void tunnel_tick(struct tunnel *t)
{
    if (t->quiet < UINT16_MAX)
        t->quiet++;
    if (t->quiet == LOOK_AGAIN_AT && !tunnel_look_again(t))
        return;
    if (t->key && t->ctx->ticks % TOUCH_EVERY == 0)
        session_touch(t->ctx, t->key);
    if (t->ttl_s && (t->quiet > t->ttl_s || t->quiet == UINT16_MAX)) /* the count ends there: 18 hours */
        tunnel_close(t, REASON_IDLE, false);
}

void tunnel_sweep(struct ctx *ctx)
{
    LIST_EACH (n, &ctx->tunnels)
        tunnel_tick(LINK_OWNER(n, struct tunnel, link));
}

static uint64_t tunnel_holds(const struct tunnel *t)
{
    return backlog_memory(t->side[CLIENT].waiting) + backlog_memory(t->side[WORKER].waiting) +
           backlog_memory(t->first_frame);
}

void tunnel_weigh_all(struct ctx *ctx, struct shed *shed)
{
    LIST_EACH (n, &ctx->tunnels)
        shed_weigh(shed, tunnel_holds(LINK_OWNER(n, struct tunnel, link)));
}

void tunnel_shed(struct ctx *ctx, uint64_t bytes_min, uint64_t *excess)
{
    LIST_EACH (n, &ctx->tunnels) {
        struct tunnel *t = LINK_OWNER(n, struct tunnel, link);
        uint64_t bytes = tunnel_holds(t);
        if (*excess == 0)
            return;
        if (bytes < bytes_min)
            continue;
        *excess -= bytes < *excess ? bytes : *excess;
        metrics_add(&ctx->metrics, M_SHED, 1);
        t->why = REASON_SHED; /* whatever it was ending for, this is why it ends */
        tunnel_close(t, REASON_SHED, true);
    }
}

bool tunnel_close_oldest(struct ctx *ctx, enum reason why)
{
    struct link *n = list_first(&ctx->tunnels);
    if (!n)
        return false;
    struct tunnel *t = LINK_OWNER(n, struct tunnel, link);
    t->why = (uint8_t)why;
    tunnel_close(t, why, false);
    return true;
}
