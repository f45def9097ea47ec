#include "exchange.h"

#include "clock.h"
#include "core/proxy_header.h"
#include "session.h"
#include "tunnel.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define READS_PER_STEP      4
#define INTERIM_MAX         16      /* DESIGN 8: 1xx before a final response */
#define RESPONSE_MS_DEFAULT 120000u /* outside of a session */
#define UNREACHABLE_MAX     2       /* connects that may time out before the client gets its answer */

/*  up        waits for                                           may become
 *  CONNECT   the connection, or room for the head                CONNECT (another worker) BODY DONE
 *  BODY      body bytes of the client, or room for them          CONNECT (retry) DONE CUT
 *  DONE      nothing: the worker has the whole request           CONNECT (retry)
 *  CUT       nothing: the client or the worker stopped before    CONNECT (retry)
 */
static const uint8_t up_may_enter[EXCHANGE_UPS] = {
    [UP_CONNECT] = BIT(UP_CONNECT) | BIT(UP_BODY) | BIT(UP_DONE),
    [UP_BODY] = BIT(UP_CONNECT) | BIT(UP_DONE) | BIT(UP_CUT),
    [UP_DONE] = BIT(UP_CONNECT),
    [UP_CUT] = BIT(UP_CONNECT),
};

/*  down      waits for                                           may become
 *  HEAD      a whole final response head                         BODY DONE
 *  BODY      the end of the body                                 DONE
 *  DONE      nothing                                             -          */
static const uint8_t down_may_enter[EXCHANGE_DOWNS] = {
    [DOWN_HEAD] = BIT(DOWN_BODY) | BIT(DOWN_DONE),
    [DOWN_BODY] = BIT(DOWN_DONE),
};

static struct ctx *ctx_of(const struct exchange *x)
{
    return x->client->ctx;
}

static struct metrics *metrics_of(const struct exchange *x)
{
    return &x->client->ctx->metrics;
}

static uint64_t response_ms(const struct exchange *x)
{
    uint64_t ms = x->client->config->response_ms;
    if (ms)
        return ms;
    return x->route.ttl_s ? (uint64_t)x->route.ttl_s * 1000 : RESPONSE_MS_DEFAULT;
}

/* The only writer of state_up. Each state waits with a limit of its own: CONNECT for the connection, DONE for the first
 * byte of the answer. A body has none: the worker has. */
static void up_enter(struct exchange *x, enum exchange_up next)
{
    assert(up_may_enter[x->state_up] & BIT(next));
    x->state_up = (uint8_t)next;
    uint64_t wait_ms = next == UP_CONNECT ? x->client->config->connect_ms : next == UP_BODY ? 0 : response_ms(x);
    if (x->state_down == DOWN_HEAD)
        deadline_set(x->deadline, wait_ms ? clock_ms() + wait_ms : 0);
}

/* The only writer of state_down. */
static void down_enter(struct exchange *x, enum exchange_down next)
{
    assert(down_may_enter[x->state_down] & BIT(next));
    x->state_down = (uint8_t)next;
    deadline_set(x->deadline, 0);
}

struct span exchange_head(const struct exchange *x)
{
    return span_of(x->copy + x->head_at, x->head_bytes);
}

struct span exchange_target(const struct exchange *x)
{
    return span_of(exchange_head(x).ptr + (x->request.target.at - x->request.start), x->request.target.len);
}

/* --- the end --- */

static void exchange_drop_upstream(struct exchange *x, bool reset)
{
    if (!x->up)
        return;
    upstream_close(x->up, reset);
    x->up = NULL;
    backlog_free(&x->to_worker, metrics_of(x));
}

/* The first one to say how it ends is right. */
static bool exchange_ends(struct exchange *x, enum exchange_end end, enum reason why, const char *who)
{
    if (x->end != EXCHANGE_RUNS)
        return true;
    x->end = end;
    x->why = why;
    x->ended_by = who;
    deadline_set(x->deadline, 0);
    exchange_drop_upstream(x, end == EXCHANGE_RESET);
    return true;
}

/* The client is gone: its worker learns it at once, in the same way. */
static bool exchange_client_gone(struct exchange *x, int error)
{
    enum reason why = error == ENOMEM ? REASON_NO_MEMORY : error == ETIMEDOUT ? REASON_TIMED_OUT : REASON_RESET;
    if (why == REASON_NO_MEMORY)
        return exchange_ends(x, EXCHANGE_RESET, why, "siolb");
    metrics_add(metrics_of(x), M_CLIENT_ABORTS, 1);
    return exchange_ends(x, EXCHANGE_RESET, why, "client");
}

/* A response that cannot be finished: before its first byte we may still answer ourselves. */
static bool exchange_spoiled(struct exchange *x, enum reason before, enum reason after, const char *who)
{
    if (x->state_down == DOWN_HEAD)
        return exchange_ends(x, EXCHANGE_REPLY, before, who);
    return exchange_ends(x, EXCHANGE_RESET, after, who);
}

static void exchange_count_newcomer(struct exchange *x, bool is_one)
{
    if (x->is_newcomer == is_one)
        return;
    x->is_newcomer = is_one;
    if (is_one)
        x->worker->newcomers++;
    else
        x->worker->newcomers--;
}

static void exchange_set_worker(struct exchange *x, struct worker *w)
{
    exchange_count_newcomer(x, false);
    if (x->worker)
        x->worker->exchanges--;
    x->worker = w;
    if (!w)
        return;
    w->exchanges++;
    exchange_count_newcomer(x, x->route.is_handshake);
}

/* --- which worker --- */

/* Value of the session cookie, decoded into `room`; empty: none. */
static struct span session_cookie(const struct exchange *x, char room[SID_BYTES_MAX])
{
    const char *name = x->client->config->cookie;
    struct span value;
    size_t len = 0;
    if (!*name || x->target.has_sid || !(x->request.facts & HTTP_HAS_COOKIE) ||
        !http_cookie_find(exchange_head(x), span_from_str(name), &value) ||
        !eio_cookie_decode(value, room, SID_BYTES_MAX, &len))
        return span_of("", 0);
    return span_of(room, len);
}

static struct worker *exchange_route(struct exchange *x, const struct worker *not_this)
{
    struct ctx *ctx = ctx_of(x);
    const struct config *cfg = x->client->config;
    char room[SID_BYTES_MAX];
    struct route_ask ask = {
        .method = (enum http_method)x->request.method,
        .target = &x->target,
        .paths = cfg->paths,
        .path_count = cfg->path_count,
        .cookie = session_cookie(x, room),
        .cookie_handshakes = cfg->cookie_handshakes,
        .balance = (enum balance)cfg->balance,
        .random = ctx_random(ctx),
        .client = ip_bytes(&x->from),
        .now_s = ctx->now_s,
        .now_ms = clock_ms(),
        .not_this = not_this,
    };
    x->route = route_decide(&ctx->fleet, &ctx->sidmap, ctx->slot_index, &ask);
    return x->route.worker;
}

static void exchange_count_route(struct exchange *x)
{
    static const enum metric counter[ROUTES] = {
        [ROUTE_NONE] = M_ROUTE_NONE,       [ROUTE_KNOWN] = M_ROUTE_KNOWN, [ROUTE_COOKIE] = M_ROUTE_COOKIE,
        [ROUTE_UNKNOWN] = M_ROUTE_UNKNOWN, [ROUTE_NEW] = M_ROUTE_NEW,
    };
    metrics_add(metrics_of(x), counter[x->route.route], 1);
    if (x->route.route != ROUTE_KNOWN)
        return;
    session_touch(ctx_of(x), x->route.key);
    session_revive(ctx_of(x), x->route.key);
}

/* --- the request on its way up --- */

static bool exchange_dispatch(struct exchange *x);

/* All that the request has sent so far goes to another connection: of the same worker when there is a session, else of
 * another one, if there is any. */
static bool exchange_retry(struct exchange *x)
{
    struct route_answer first = x->route;
    struct worker *same = x->worker;
    exchange_drop_upstream(x, true);
    x->has_retried = true;
    x->worker_ended = false;
    metrics_add(metrics_of(x), M_RETRIES, 1);
    if (x->target.has_sid || !exchange_route(x, same))
        x->route = first;
    exchange_set_worker(x, x->route.worker);
    return exchange_dispatch(x);
}

/* An established connection that takes nothing, as opposed to one that was never made. */
static bool is_broken(int error)
{
    return error == EPIPE || error == ECONNRESET;
}

/* A worker that cannot be reached (noted already): the next one, as long as trying is cheap. */
static bool exchange_next_worker(struct exchange *x, enum upstream_failure failure)
{
    bool was_known = x->route.route == ROUTE_KNOWN;
    bool refused = failure == UPSTREAM_REFUSED;
    exchange_drop_upstream(x, false);
    x->connects_failed++;
    bool may_try = refused ? x->connects_failed < ctx_of(x)->fleet.count : x->connects_failed < UNREACHABLE_MAX;
    struct worker *next = may_try && failure != UPSTREAM_NOT_TRIED ? exchange_route(x, x->worker) : NULL;
    if (next) {
        exchange_set_worker(x, next);
        return true;
    }
    /* the process that had this session is gone, and there is nobody else to say so */
    enum reason why = was_known && refused ? REASON_SESSION_GONE : REASON_NO_WORKER;
    exchange_ends(x, EXCHANGE_REPLY, why, "worker");
    return false;
}

static enum exchange_up up_after_sending(const struct exchange *x)
{
    return http_body_is_done(&x->body_up) ? UP_DONE : UP_BODY;
}

/* Write to the upstream; what is not taken waits. */
static enum stream_result exchange_write_up(struct exchange *x, struct span bytes)
{
    size_t sent = 0;
    enum stream_result result = stream_write(&x->up->stream, bytes, &sent);
    if (result == STREAM_FAILED)
        return result;
    x->up->sent += sent;
    if (sent)
        upstream_note_connected(x->up);
    if (ctx_keep(ctx_of(x), &x->to_worker, span_skip(bytes, sent)))
        return result;
    errno = ENOMEM;
    return STREAM_FAILED;
}

/* Not even the first byte could be sent. */
static bool exchange_unsendable(struct exchange *x)
{
    if (!x->has_retried && !x->is_answered && x->copy_is_whole)
        return exchange_retry(x);
    metrics_add(metrics_of(x), M_CLOSED_WITHOUT_ANSWER, 1);
    return exchange_ends(x, EXCHANGE_RESET, REASON_NO_ANSWER, "worker");
}

/* Take an upstream and send all that we have of the request: again with the next worker while connects are refused. */
static bool exchange_dispatch(struct exchange *x)
{
    for (;;) {
        enum upstream_failure failure;
        bool fresh = x->has_retried || x->client->config->proxy_protocol; /* a PROXY header is for one client */
        x->up = upstream_take(ctx_of(x), x->worker, fresh, x->on_event, x->user, &failure);
        if (!x->up) {
            if (!exchange_next_worker(x, failure))
                return true;
            continue;
        }
        up_enter(x, UP_CONNECT);
        enum stream_result sent = exchange_write_up(x, span_of(x->copy, x->copy_bytes));
        if (sent != STREAM_FAILED) {
            if (x->up->is_connected || x->up->is_reused)
                up_enter(x, up_after_sending(x));
            return true;
        }
        if (errno == ENOMEM)
            return exchange_ends(x, EXCHANGE_RESET, REASON_NO_MEMORY, "siolb");
        if (is_broken(errno) || x->up->is_reused)
            return exchange_unsendable(x);
        failure = upstream_note_failed(ctx_of(x), x->worker, errno);
        if (!exchange_next_worker(x, failure))
            return true;
    }
}

/* May the request be sent a second time (DESIGN 8)? The worker has closed without a byte of an answer; `by_fin`:
 * properly. */
static bool exchange_may_retry(const struct exchange *x, bool by_fin)
{
    if (x->has_retried || x->is_answered || !x->copy_is_whole || !x->up || x->fin_passed)
        return false;
    if (by_fin && upstream_is_request_unseen(x->up))
        return true;
    bool is_safe = x->request.method == HTTP_GET || x->request.method == HTTP_HEAD || x->request.method == HTTP_OPTIONS;
    return x->up->is_reused && is_safe && !x->target.has_sid && x->request.framing == HTTP_NO_BODY;
}

/* The request will not be sent again: only its head is needed. */
static void exchange_forget_body(struct exchange *x)
{
    uint32_t needed = x->head_at + x->head_bytes;
    x->copy_is_whole = false;
    if (x->copy_bytes == needed)
        return;
    metrics_sub(metrics_of(x), M_COPIED_BYTES, x->copy_bytes - needed);
    x->copy_bytes = needed;
    char *less = realloc(x->copy, needed);
    if (less)
        x->copy = less;
}

/* Keep what is sent as long as it may have to be sent again and is small. */
static void exchange_copy_more(struct exchange *x, struct span bytes)
{
    bool is_wanted = x->copy_is_whole && !x->is_answered;
    bool is_small = x->copy_bytes + bytes.len <= x->client->config->buffer_bytes;
    char *grown = is_wanted && is_small ? realloc(x->copy, x->copy_bytes + bytes.len) : NULL;
    if (!grown) {
        exchange_forget_body(x);
        return;
    }
    memcpy(grown + x->copy_bytes, bytes.ptr, bytes.len);
    x->copy = grown;
    x->copy_bytes += (uint32_t)bytes.len;
    metrics_add(metrics_of(x), M_COPIED_BYTES, bytes.len);
    ctx_note_growth(ctx_of(x));
}

/* The worker takes nothing more: what it answered before may still be read. */
static bool exchange_up_broke(struct exchange *x)
{
    if (errno == ENOMEM)
        return exchange_ends(x, EXCHANGE_RESET, REASON_NO_MEMORY, "siolb");
    if (is_broken(errno) && x->up->sent == x->up->sent_before)
        return exchange_unsendable(x);
    if (!x->up->is_connected && !x->up->is_reused) {
        enum upstream_failure failure = upstream_note_failed(ctx_of(x), x->worker, errno);
        return exchange_next_worker(x, failure) ? exchange_dispatch(x) : true;
    }
    backlog_free(&x->to_worker, metrics_of(x));
    if (x->state_up == UP_BODY)
        up_enter(x, UP_CUT);
    x->up->stream.flags |= STREAM_READABLE;
    return true;
}

/* How much of `bytes` belongs to the request body; -1: the framing broke. */
static ssize_t body_share(struct http_body *body, struct span bytes)
{
    size_t at = 0;
    while (at < bytes.len && !http_body_is_done(body)) {
        size_t used;
        struct span data;
        if (http_body_next(body, span_skip(bytes, at), &used, &data) == PARSE_BAD)
            return -1;
        at += used;
    }
    return (ssize_t)at;
}

static bool exchange_body_up(struct exchange *x, struct span bytes)
{
    ssize_t share = body_share(&x->body_up, bytes);
    if (share < 0)
        return exchange_spoiled(x, REASON_BAD_CHUNK, REASON_BAD_REQUEST_BODY, "client");
    struct span mine = span_of(bytes.ptr, (size_t)share);
    x->bytes_up += mine.len;
    exchange_copy_more(x, mine);
    enum stream_result sent = exchange_write_up(x, mine);
    int error = errno;
    /* after the write: the rest moves to the inbox */
    if (!client_used(x->client, bytes, (size_t)share))
        return exchange_client_gone(x, ENOMEM);
    if (sent == STREAM_FAILED) {
        errno = error;
        return exchange_up_broke(x);
    }
    if (http_body_is_done(&x->body_up))
        up_enter(x, UP_DONE);
    return true;
}

/* The client's FIN, once everything before it has gone: the worker decides what it means. */
static bool exchange_pass_fin(struct exchange *x)
{
    if (!x->client->has_ended || x->fin_passed || x->client->inbox || x->to_worker || !x->up ||
        x->state_up == UP_CONNECT)
        return false;
    x->fin_passed = true;
    if (x->state_up == UP_BODY)
        up_enter(x, UP_CUT);
    stream_shut(&x->up->stream);
    return true;
}

static bool exchange_read_client(struct exchange *x)
{
    struct client *c = x->client;
    struct span bytes;
    enum stream_result result;
    bool wants_body = x->state_up == UP_BODY && !x->to_worker;
    if (wants_body)
        result = client_fetch(c, &bytes);
    else if (x->state_up == UP_DONE || x->state_up == UP_CUT)
        result = client_fetch_more(c, c->config->buffer_bytes, &bytes); /* what comes next waits, but an end is seen */
    else
        return false;
    switch (result) {
    case STREAM_OK:
        return wants_body ? exchange_body_up(x, bytes) : true;
    case STREAM_EOF:
        return true;
    case STREAM_FAILED:
        return exchange_client_gone(x, errno);
    case STREAM_BLOCKED:
        break;
    }
    return false;
}

static bool exchange_flush_up(struct exchange *x)
{
    size_t sent;
    if (!x->up || !x->to_worker || !(x->up->stream.flags & STREAM_WRITABLE))
        return false;
    if (stream_write(&x->up->stream, backlog_span(x->to_worker), &sent) == STREAM_FAILED)
        return exchange_up_broke(x);
    if (!sent)
        return false;
    x->up->sent += sent;
    backlog_drop(&x->to_worker, metrics_of(x), sent);
    upstream_note_connected(x->up);
    if (x->state_up == UP_CONNECT)
        up_enter(x, up_after_sending(x));
    return true;
}

static bool exchange_push_up(struct exchange *x)
{
    bool moved = exchange_flush_up(x);
    if (x->end == EXCHANGE_RUNS)
        moved |= exchange_read_client(x);
    if (x->end == EXCHANGE_RUNS)
        moved |= exchange_pass_fin(x);
    return moved;
}

/* --- the response on its way down --- */

/* What was learned counts by itself from here on; what could not be learned must not reach the client. */
static void exchange_note_lesson(struct exchange *x, bool had_memory)
{
    if (x->lesson.has_taught)
        exchange_count_newcomer(x, false);
    if (!had_memory)
        exchange_ends(x, EXCHANGE_RESET, REASON_NO_MEMORY, "siolb");
}

static void exchange_final_head(struct exchange *x, struct span head)
{
    const struct http_head *r = &x->response;
    x->status = r->status;
    x->is_early = x->state_up != UP_DONE || x->to_worker;
    if (r->keep_alive_s)
        ctx_of(x)->pools[x->worker->index].keep_alive_s = r->keep_alive_s;
    struct lesson_about about = {
        .config = x->client->config,
        .request = &x->request,
        .response = r,
        .request_head = exchange_head(x),
        .response_head = head,
        .target = &x->target,
        .route = &x->route,
    };
    exchange_note_lesson(x, lesson_begin(&x->lesson, ctx_of(x), x->worker, &about));
    http_body_init(&x->body_down, (enum http_framing)r->framing, r->length);
    down_enter(x, http_body_is_done(&x->body_down) ? DOWN_DONE : DOWN_BODY);
}

enum judged { JUDGED_ALL, JUDGED_PART, JUDGED_TUNNEL, JUDGED_BAD };

/* One head at the start of `in`. */
static enum judged exchange_judge_head(struct exchange *x, struct span in, size_t *used_out)
{
    enum reason why;
    *used_out = 0;
    switch (http_response_parse(&x->response, in, (enum http_method)x->request.method,
                                (uint32_t)x->client->config->head_bytes, &why)) {
    case PARSE_MORE:
        return JUDGED_PART;
    case PARSE_BAD:
        return JUDGED_BAD;
    case PARSE_OK:
        break;
    }
    bool is_switch = x->response.status == 101;
    if (is_switch)
        return x->wants_tunnel && !x->to_worker && (x->response.facts & HTTP_NAMES_WEBSOCKET) ? JUDGED_TUNNEL
                                                                                              : JUDGED_BAD;
    if (x->response.status < 200 && ++x->interim > INTERIM_MAX)
        return JUDGED_BAD;
    *used_out = x->response.end;
    if (x->response.status >= 200) {
        exchange_final_head(x, span_of(in.ptr, x->response.end));
        return JUDGED_ALL;
    }
    http_head_init(&x->response);
    if (x->state_up != UP_BODY) /* while the body comes, the worker has no reason to answer */
        deadline_set(x->deadline, clock_ms() + response_ms(x));
    return JUDGED_ALL;
}

static enum judged exchange_judge_body(struct exchange *x, struct span in, size_t *used_out)
{
    struct span data;
    enum parse result = http_body_next(&x->body_down, in, used_out, &data);
    exchange_note_lesson(x, lesson_feed(&x->lesson, data));
    if (result == PARSE_BAD)
        return JUDGED_BAD;
    if (result == PARSE_OK)
        down_enter(x, DOWN_DONE);
    return JUDGED_ALL;
}

/* How much of `in` may go to the client, and what is with the rest. */
static enum judged exchange_judge(struct exchange *x, struct span in, size_t *good_out)
{
    *good_out = 0;
    while (*good_out < in.len) {
        size_t used = 0;
        struct span rest = span_skip(in, *good_out);
        enum judged j = JUDGED_ALL;
        if (x->state_down == DOWN_HEAD)
            j = exchange_judge_head(x, rest, &used);
        else if (x->state_down == DOWN_BODY)
            j = exchange_judge_body(x, rest, &used);
        else
            x->has_surplus = true;
        *good_out += used;
        if (j != JUDGED_ALL || x->has_surplus)
            return j;
    }
    return JUDGED_ALL;
}

/* 101: both connections go to a tunnel, with all that has arrived on either side. */
static bool exchange_become_tunnel(struct exchange *x, struct span from_head)
{
    struct client *c = x->client;
    struct ctx *ctx = c->ctx;
    size_t ahead = backlog_span(c->outbox).len;
    uint32_t now_s = ctx->now_s; /* the clock that the tunnel will be told its age by */
    uint32_t age_s = (uint32_t)((clock_ms() - x->started_ms) / 1000);
    if (ahead && !ctx_keep(ctx, &c->outbox, from_head))
        return exchange_client_gone(x, ENOMEM);
    uint64_t limit_s = (c->config->tunnel_ms + 999) / 1000;
    struct tunnel_spec spec = {
        .to_client = ahead ? backlog_span(c->outbox) : from_head,
        .head_bytes = ahead + x->response.end,
        .to_worker = backlog_span(c->inbox),
        .client_ended = c->has_ended,
        .worker = x->worker,
        .key = x->route.route == ROUTE_KNOWN ? x->route.key : 0,
        .ttl_s = limit_s ? (uint16_t)(limit_s < UINT16_MAX ? limit_s : UINT16_MAX) : x->route.ttl_s,
        .reads_first_frame = !limit_s && x->route.is_handshake,
        .id = c->id,
        .started_s = now_s - age_s,
        .client = x->from,
        .is_counted = c->is_counted || x->is_counted,
        .route = x->route.route,
    };
    x->status = 101;
    x->bytes_down += x->response.end;
    c->got -= spec.to_worker.len; /* those count as the tunnel's, */
    c->sent += x->response.end;   /* the 101 does not */
    exchange_count_newcomer(x, false);
    spec.client_fd = stream_detach(&c->stream);
    spec.worker_fd = upstream_release(x->up);
    x->up = NULL;
    if (!tunnel_start(ctx, &spec))
        return exchange_ends(x, EXCHANGE_TUNNEL, REASON_NO_MEMORY, "siolb");
    c->is_counted = x->is_counted = false; /* the tunnel is */
    return exchange_ends(x, EXCHANGE_TUNNEL, REASON_NONE, "worker");
}

static bool exchange_bad_response(struct exchange *x)
{
    metrics_add(metrics_of(x), M_BAD_RESPONSES, 1);
    log_line(&ctx_of(x)->log, LOG_WARN, "bad response", "conn=%u worker=%s phase=%s", x->client->id, x->worker->name,
             x->state_down == DOWN_HEAD ? "head" : "body");
    exchange_drop_upstream(x, true);
    return exchange_spoiled(x, REASON_BAD_RESPONSE, REASON_BAD_RESPONSE_BODY, "worker");
}

/* Bytes of the worker; `in` lies in the shared buffer or is the incomplete head in head_down. */
static bool exchange_take_down(struct exchange *x, struct span in)
{
    size_t good;
    x->is_answered = true;
    exchange_forget_body(x);
    enum judged judged = exchange_judge(x, in, &good);
    if (x->end != EXCHANGE_RUNS)
        return true;
    x->bytes_down += good;
    if (good && !client_send(x->client, span_of(in.ptr, good)))
        return exchange_client_gone(x, errno);
    struct span rest = span_skip(in, good);
    if (judged == JUDGED_TUNNEL)
        return exchange_become_tunnel(x, rest);
    if (judged == JUDGED_BAD)
        return exchange_bad_response(x);
    if (x->head_down)
        backlog_drop(&x->head_down, metrics_of(x), judged == JUDGED_PART ? good : in.len);
    else if (judged == JUDGED_PART && !ctx_keep(ctx_of(x), &x->head_down, rest))
        return exchange_ends(x, EXCHANGE_RESET, REASON_NO_MEMORY, "siolb");
    return true;
}

static void exchange_count_end(struct exchange *x, enum metric which, const char *event, const char *how)
{
    metrics_add(metrics_of(x), which, 1);
    log_line(&ctx_of(x)->log, LOG_DEBUG, event, "conn=%u worker=%s by=%s", x->client->id, x->worker->name, how);
}

/* The worker is gone before its answer was complete. Without siolb the client would see its connection end: so it does.
 */
static bool exchange_worker_gone(struct exchange *x, bool by_fin)
{
    enum exchange_end end = by_fin ? EXCHANGE_CLOSE : EXCHANGE_RESET;
    if (exchange_may_retry(x, by_fin))
        return exchange_retry(x);
    if (x->state_down == DOWN_HEAD) {
        if (x->head_down)
            return exchange_bad_response(x);
        if (x->fin_passed) { /* the worker only follows: the client had ended first */
            metrics_add(metrics_of(x), M_CLIENT_ABORTS, 1);
            return exchange_ends(x, end, REASON_FIN, "client");
        }
        exchange_count_end(x, M_CLOSED_WITHOUT_ANSWER, "closed without answer", by_fin ? "fin" : "reset");
        return exchange_ends(x, end, REASON_NO_ANSWER, "worker");
    }
    exchange_count_end(x, M_TRUNCATED, "truncated", by_fin ? "fin" : "reset");
    lesson_end(&x->lesson, false);
    return exchange_ends(x, end, REASON_TRUNCATED, "worker");
}

static bool exchange_worker_fin(struct exchange *x)
{
    x->worker_ended = true;
    if (x->state_down == DOWN_DONE)
        return true;
    if (x->state_down == DOWN_BODY && x->body_down.framing == HTTP_UNTIL_CLOSE) {
        down_enter(x, DOWN_DONE);
        return true;
    }
    return exchange_worker_gone(x, true);
}

static bool exchange_read_worker(struct exchange *x)
{
    struct ctx *ctx = ctx_of(x);
    size_t got;
    if (!x->up || x->worker_ended || x->state_up == UP_CONNECT || !(x->up->stream.flags & STREAM_READABLE))
        return false;
    switch (stream_read(&x->up->stream, ctx->read_buffer, ctx->read_bytes, &got)) {
    case STREAM_OK:
        break;
    case STREAM_BLOCKED:
        return false;
    case STREAM_EOF:
        return exchange_worker_fin(x);
    case STREAM_FAILED:
        x->worker_ended = true;
        return x->state_down == DOWN_DONE ? true : exchange_worker_gone(x, false);
    }
    struct span in = span_of(ctx->read_buffer, got);
    if (x->head_down) {
        if (!ctx_keep(ctx, &x->head_down, in))
            return exchange_ends(x, EXCHANGE_RESET, REASON_NO_MEMORY, "siolb");
        in = backlog_span(x->head_down);
    }
    return exchange_take_down(x, in);
}

static bool exchange_pull_down(struct exchange *x)
{
    bool moved = false;
    if (!client_flush(x->client))
        return exchange_client_gone(x, errno);
    for (int reads = 0; reads < READS_PER_STEP && x->end == EXCHANGE_RUNS && !x->client->outbox; reads++) {
        if (!exchange_read_worker(x))
            break;
        moved = true;
    }
    return moved;
}

/* --- both done --- */

/* DESIGN 8: what may go back to the pool. */
static bool exchange_may_pool(const struct exchange *x)
{
    const struct http_head *q = &x->request, *r = &x->response;
    return x->up && !x->client->config->proxy_protocol && !x->worker_ended && !x->has_surplus && !x->is_early &&
           !x->fin_passed && x->state_up == UP_DONE && !x->to_worker && r->framing != HTTP_UNTIL_CLOSE &&
           q->minor == 1 && r->minor == 1 && http_head_is_persistent(q) && http_head_is_persistent(r) &&
           !(q->facts & HTTP_HAS_UPGRADE) && !(x->up->stream.flags & (STREAM_HUNG_UP | STREAM_READABLE)) &&
           x->worker->state != WORKER_DRAINING;
}

static bool exchange_client_may_go_on(const struct exchange *x)
{
    bool no_more = x->client->has_ended && !x->client->inbox;
    bool is_told = x->request.minor == 1 || (x->response.facts & HTTP_SAYS_KEEP_ALIVE); /* RFC 9112 9.3: 1.0 waits */
    return is_told && http_head_is_persistent(&x->request) && http_head_is_persistent(&x->response) &&
           x->response.framing != HTTP_UNTIL_CLOSE && x->state_up == UP_DONE && !no_more;
}

static bool exchange_settle(struct exchange *x)
{
    if (x->state_down != DOWN_DONE)
        return false;
    lesson_end(&x->lesson, true);
    bool goes_on = http_head_is_persistent(&x->response) && x->response.framing != HTTP_UNTIL_CLOSE;
    bool sends = x->state_up == UP_BODY || x->to_worker;
    if (sends && goes_on && !x->worker_ended && !x->has_surplus)
        return false; /* an early answer: the worker still wants the rest of the request */
    if (exchange_may_pool(x)) {
        upstream_give_back(x->up);
        x->up = NULL;
    }
    if (exchange_client_may_go_on(x))
        return exchange_ends(x, EXCHANGE_KEEP, REASON_NONE, "worker");
    bool client_said = !http_head_is_persistent(&x->request) || x->client->has_ended;
    return exchange_ends(x, EXCHANGE_CLOSE, REASON_SAID_CLOSE, client_said ? "client" : "worker");
}

bool exchange_step(struct exchange *x)
{
    bool moved = exchange_push_up(x);
    if (x->end == EXCHANGE_RUNS)
        moved |= exchange_pull_down(x);
    if (x->end == EXCHANGE_RUNS)
        moved |= exchange_settle(x);
    return moved || x->end != EXCHANGE_RUNS;
}

/* --- what the worker gets --- */

static struct forward forward_of(const struct exchange *x, struct span bytes)
{
    return (struct forward){
        .mode = (enum forward_mode)x->client->config->forwarded_for,
        .peer_is_trusted = x->client->is_trusted,
        .peer = x->client->address,
        .believed = x->from,
        .host = span_in(bytes, x->request.host),
        .proto = x->client->was_tls ? SPAN("https") : SPAN("http"),
    };
}

/* The request as it goes on: its own bytes, and the lines about its client that the operator wants. `head` and `body`
 * lie in `bytes`. False: out of memory. */
static bool exchange_write_request(struct exchange *x, struct span bytes, struct span head, struct span body)
{
    const struct config *cfg = x->client->config;
    struct forward forward = forward_of(x, bytes);
    size_t ahead = cfg->proxy_protocol ? PROXY_HEADER_WRITTEN_MAX : 0;
    size_t added = cfg->forwarded_for ? forward_bytes_max(&forward) : 0;
    char *at = x->copy = malloc(ahead + head.len + added + body.len);
    if (!at)
        return false;
    if (cfg->proxy_protocol)
        at += proxy_header_write(cfg->proxy_protocol, &(struct proxy_header){.from = x->from, .to = x->client->our_end},
                                 at);
    x->head_at = (uint32_t)(at - x->copy);
    if (cfg->forwarded_for) {
        x->head_bytes = (uint32_t)forward_write(&forward, head, at);
    } else {
        x->head_bytes = (uint32_t)head.len;
        memcpy(at, head.ptr, head.len);
    }
    at += x->head_bytes;
    if (body.len)
        memcpy(at, body.ptr, body.len);
    x->copy_bytes = x->head_at + x->head_bytes + (uint32_t)body.len;
    x->copy_is_whole = true;
    metrics_add(metrics_of(x), M_COPIED_BYTES, x->copy_bytes);
    ctx_note_growth(ctx_of(x));
    return true;
}

/* --- limits per address --- */

/* No client: a peer that we trust, and that tells of nobody. */
static bool exchange_is_from_trusted(const struct exchange *x)
{
    const struct config *cfg = x->client->config;
    return x->client->is_trusted && ip_is_in(&x->from, cfg->trust, cfg->trust_count);
}

/* A client behind a trusted peer has no connection of its own: its requests under way and its websockets count. */
static bool exchange_is_one_too_many(struct exchange *x)
{
    const struct config *cfg = x->client->config;
    if (!cfg->per_address || !x->client->is_trusted)
        return x->client->is_over;
    if (exchange_is_from_trusted(x))
        return false;
    uint32_t connections = addresses_enter(ctx_of(x)->addresses, &x->from);
    x->is_counted = connections > 0;
    return connections > cfg->per_address;
}

static bool exchange_may_begin_session(struct exchange *x)
{
    uint64_t rate = x->client->config->handshakes_per_address, wait_ms;
    if (!rate || !route_is_handshake((enum http_method)x->request.method, &x->target) || exchange_is_from_trusted(x) ||
        addresses_take_handshake(ctx_of(x)->addresses, &x->from, rate, clock_ms(), &wait_ms))
        return true;
    x->retry_after_s = (uint32_t)((wait_ms + 999) / 1000);
    return false;
}

/* False: it is over, with the answer that says so. */
static bool exchange_admit(struct exchange *x)
{
    if (exchange_is_one_too_many(x)) {
        client_note_limited(x->client, M_LIMITED_CONNECTIONS, HINT_PER_ADDRESS, &x->from);
        exchange_ends(x, EXCHANGE_REPLY, REASON_TOO_MANY_CONNECTIONS, "client");
    } else if (!exchange_may_begin_session(x)) {
        client_note_limited(x->client, M_LIMITED_HANDSHAKES, HINT_HANDSHAKES, &x->from);
        exchange_ends(x, EXCHANGE_REPLY, REASON_TOO_MANY_HANDSHAKES, "client");
    }
    return x->end == EXCHANGE_RUNS;
}

/* --- start, timers, free --- */

static bool wants_tunnel(const struct http_head *q)
{
    return q->method == HTTP_GET && q->minor == 1 && (q->facts & HTTP_NAMES_WEBSOCKET) &&
           (q->facts & HTTP_SAYS_UPGRADE) && (q->framing == HTTP_NO_BODY || (q->framing == HTTP_LENGTH && !q->length));
}

static void exchange_hint(struct exchange *x)
{
    struct span path;
    if (x->target.path == EIO_NO_PATH && eio_looks_misplaced(&x->target, exchange_target(x), &path))
        ctx_of(x)->on_misplaced(ctx_of(x), path);
}

struct exchange *exchange_start(struct client *client, const struct http_head *head, struct span bytes,
                                struct deadline *deadline, void (*on_event)(void *user, short what), void *user,
                                size_t *used_out)
{
    struct exchange *x = pool_take(&client->ctx->exchange_pool);
    const struct config *cfg = client->config;
    if (!x)
        return NULL;
    x->client = client;
    x->deadline = deadline;
    x->on_event = on_event;
    x->user = user;
    x->request = *head;
    x->started_ms = clock_ms();
    http_head_init(&x->response);
    http_body_init(&x->body_up, (enum http_framing)head->framing, head->length);
    if (cfg->forwarded_for == FORWARD_REPLACE && !client->is_trusted)
        http_body_refuse_forwarded(&x->body_up);
    ssize_t body = body_share(&x->body_up, span_skip(bytes, head->end));
    *used_out = head->end + (body > 0 ? (size_t)body : 0);
    struct span own_head = span_of(bytes.ptr + head->start, head->end - head->start);
    x->from = client->address;
    if (client->is_trusted)
        x->from = forward_believe(own_head, &client->address, cfg->trust, cfg->trust_count);
    if (!exchange_write_request(x, bytes, own_head, span_of(bytes.ptr + head->end, *used_out - head->end))) {
        pool_give_back(x);
        return NULL;
    }
    x->bytes_up = *used_out - head->start;
    x->wants_tunnel = wants_tunnel(head);
    metrics_add(&client->ctx->metrics, M_EXCHANGES, 1);
    metrics_add(&client->ctx->metrics, M_REQUESTS, 1);
    eio_target_parse(span_in(bytes, head->target), cfg->paths, cfg->path_count, (enum eio_repeated)cfg->sid_repeated,
                     &x->target);
    if (body < 0) {
        exchange_ends(x, EXCHANGE_REPLY, REASON_BAD_CHUNK, "client");
        return x;
    }
    exchange_hint(x);
    if (!exchange_admit(x))
        return x;
    exchange_set_worker(x, exchange_route(x, NULL));
    exchange_count_route(x);
    if (x->worker)
        exchange_dispatch(x);
    else
        exchange_ends(x, EXCHANGE_REPLY, REASON_NO_WORKER, "worker");
    return x;
}

void exchange_note_deadline(struct exchange *x)
{
    if (x->state_up == UP_CONNECT) {
        if (exchange_next_worker(x, upstream_note_failed(ctx_of(x), x->worker, ETIMEDOUT)))
            exchange_dispatch(x);
        return;
    }
    exchange_drop_upstream(x, true);
    exchange_ends(x, EXCHANGE_REPLY, REASON_RESPONSE_TIMEOUT, "worker");
}

bool exchange_sweep(struct exchange *x, bool quiet)
{
    if (x->route.route == ROUTE_KNOWN)
        session_touch(ctx_of(x), x->route.key);
    if (!quiet)
        return false;
    bool client = stream_look_again(&x->client->stream);
    bool worker = x->up && stream_look_again(&x->up->stream);
    return client || worker;
}

size_t exchange_holds(const struct exchange *x)
{
    return x->copy_bytes + backlog_memory(x->to_worker) + backlog_memory(x->head_down) +
           backlog_memory(x->lesson.error_body);
}

void exchange_free(struct exchange *x)
{
    struct metrics *m = metrics_of(x);
    if (x->is_counted)
        addresses_leave(ctx_of(x)->addresses, &x->from);
    metrics_sub(m, M_COPIED_BYTES, x->copy_bytes);
    exchange_drop_upstream(x, false);
    exchange_set_worker(x, NULL);
    metrics_sub(m, M_EXCHANGES, 1);
    backlog_free(&x->to_worker, m);
    backlog_free(&x->head_down, m);
    lesson_fini(&x->lesson);
    free(x->copy);
    pool_give_back(x);
}
