#include "conn.h"

#include "access.h"
#include "clock.h"
#include "core/http_reply.h"
#include "core/proxy_header.h"
#include "exchange.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define STEPS_PER_TURN   4          /* then the others get their turn */
#define LINGER_MS        2000u      /* how long a refused client may take to read the reply */
#define LINGER_BYTES_MAX (1u << 20) /* ... and how much it may still send */
#define RETRY_AFTER_S    1u
#define LOOK_AGAIN_AT    2 /* sweeps without an event */

/*  state      waits for                            deadline                        may become
 *  PROXY      a trusted peer's PROXY header        head                            HEAD CLOSING CLOSED
 *  HEAD       a whole request head                 head, or keepalive between two  EXCHANGE CLOSING CLOSED
 *  EXCHANGE   exchange.c to finish                 its own                         HEAD CLOSING CLOSED
 *  CLOSING    our last bytes to go out, then the   linger                          CLOSED
 *             client's FIN
 *  CLOSED     the reaper                           none                            -          */
enum conn_state { CONN_PROXY, CONN_HEAD, CONN_EXCHANGE, CONN_CLOSING, CONN_CLOSED, CONN_STATES };

static const uint8_t conn_may_enter[CONN_STATES] = {
    [CONN_PROXY] = BIT(CONN_HEAD) | BIT(CONN_CLOSING) | BIT(CONN_CLOSED),
    [CONN_HEAD] = BIT(CONN_EXCHANGE) | BIT(CONN_CLOSING) | BIT(CONN_CLOSED),
    [CONN_EXCHANGE] = BIT(CONN_HEAD) | BIT(CONN_CLOSING) | BIT(CONN_CLOSED),
    [CONN_CLOSING] = BIT(CONN_CLOSED),
};

struct conn {
    struct link link; /* first: the reaper's; in ctx->conns */
    struct client client;
    struct deadline deadline;
    struct http_head head;     /* of the request that is being read */
    struct exchange *exchange; /* owned; NULL between two */
    uint64_t started_ms;
    uint32_t requests;
    uint32_t lingered;    /* bytes thrown away in CLOSING */
    uint16_t quiet;       /* sweeps since the last event */
    uint8_t state;        /* enum conn_state */
    bool head_begun;      /* a byte of the head, or of the PROXY header, has come */
    bool resets;          /* CLOSING ends with RST: the client must not take what it has for the whole */
    const char *phase;    /* for the closing line: where it ended, */
    const char *ended_by; /* by whom, */
    enum reason why;      /* and why */
    const struct worker *last_worker;
    enum route last_route;
};

static void conn_close(struct conn *c, enum reason why, const char *who, bool reset);

static const char *conn_state_name(enum conn_state s)
{
    static const char *const name[] = {
        [CONN_PROXY] = "proxy",     [CONN_HEAD] = "head",     [CONN_EXCHANGE] = "exchange",
        [CONN_CLOSING] = "closing", [CONN_CLOSED] = "closed",
    };
    return name[s];
}

/* In CLOSING: as long as bytes wait, progress within `stall`; then a moment for the client to read and to answer our
 * FIN, or all the time it may take until a RST throws nothing away. */
static void conn_limit_closing(struct conn *c)
{
    uint64_t wait_ms = c->client.outbox || c->resets ? c->client.config->stall_ms : LINGER_MS;
    deadline_set(&c->deadline, wait_ms ? clock_ms() + wait_ms : 0);
}

/* How long the next head may take, or its beginning, or what waits for the client before that. From accept on it is one
 * time for the first head and all that comes before it. */
static uint64_t conn_head_until_ms(const struct conn *c)
{
    const struct config *cfg = c->client.config;
    if (c->client.outbox)
        return cfg->stall_ms ? clock_ms() + cfg->stall_ms : 0;
    return c->requests ? clock_ms() + cfg->keepalive_ms : c->started_ms + cfg->head_ms;
}

/* Begin the wait of the present state. */
static void conn_arm(struct conn *c)
{
    if (c->state == CONN_CLOSING) {
        conn_limit_closing(c);
    } else if (c->state == CONN_HEAD || c->state == CONN_PROXY) {
        http_head_init(&c->head);
        c->head_begun = false;
        deadline_set(&c->deadline, conn_head_until_ms(c));
    } else {
        deadline_set(&c->deadline, 0); /* the exchange sets its own */
    }
}

/* The only writer of c->state. */
static void conn_enter(struct conn *c, enum conn_state next)
{
    assert(conn_may_enter[c->state] & BIT(next));
    if (log_wants(&c->client.ctx->log, LOG_DEBUG))
        log_line(&c->client.ctx->log, LOG_DEBUG, "conn", "conn=%u from=%s to=%s", c->client.id,
                 conn_state_name((enum conn_state)c->state), conn_state_name(next));
    c->state = (uint8_t)next;
    conn_arm(c);
}

/* Who ended it and why: the first one to say so is right. */
static void conn_note_end(struct conn *c, enum reason why, const char *who)
{
    if (c->why != REASON_NONE)
        return;
    c->why = why;
    c->ended_by = who;
    c->phase = conn_state_name((enum conn_state)c->state);
}

static void conn_log_closed(const struct conn *c)
{
    char client[IP_TEXT_BYTES];
    log_line(&c->client.ctx->log, LOG_INFO, "closed",
             "conn=%u client=%s worker=%s route=%s end=%s/%s reason=%s age_ms=%llu requests=%u in=%llu out=%llu",
             c->client.id, ip_text(&c->client.address, client), c->last_worker ? c->last_worker->name : "-",
             route_name(c->last_route), c->ended_by, c->phase, reason_word(c->why),
             (unsigned long long)(clock_ms() - c->started_ms), c->requests, (unsigned long long)c->client.got,
             (unsigned long long)c->client.sent);
}

/* What every end has in common, also when the connection lives on as a tunnel. */
static void conn_bury(struct conn *c)
{
    struct ctx *ctx = c->client.ctx;
    conn_enter(c, CONN_CLOSED);
    deadline_fini(&c->deadline);
    if (c->exchange)
        exchange_free(c->exchange);
    c->exchange = NULL;
    if (c->client.is_counted)
        addresses_leave(ctx->addresses, &c->client.address);
    metrics_sub(&ctx->metrics, M_CLIENTS, 1);
    metrics_add(&ctx->metrics, M_BYTES_UP, c->client.got);
    metrics_add(&ctx->metrics, M_BYTES_DOWN, c->client.sent);
    client_fini(&c->client);
    list_cut(&c->link);
    reaper_bury(&ctx->reaper, &c->link);
}

/* The request is over: it gets its line, and the closing line knows where the last one went. */
static void conn_note_exchange(struct conn *c, unsigned status)
{
    access_log(c->exchange, status);
    c->last_worker = c->exchange->worker;
    c->last_route = c->exchange->route.route;
}

/* The one door out. */
static void conn_close(struct conn *c, enum reason why, const char *who, bool reset)
{
    if (c->state == CONN_CLOSED)
        return;
    conn_note_end(c, why, who);
    if (c->exchange)
        conn_note_exchange(c, c->exchange->status);
    conn_log_closed(c);
    stream_close(&c->client.stream, reset);
    conn_bury(c);
    c->client.ctx->on_client_gone(c->client.ctx);
}

static void conn_close_broken(struct conn *c, int error)
{
    enum reason why = error == ENOMEM ? REASON_NO_MEMORY : error == ETIMEDOUT ? REASON_TIMED_OUT : REASON_RESET;
    conn_close(c, why, "client", why == REASON_NO_MEMORY);
}

/* --- our own replies --- */

static void conn_mirror_cors(const struct exchange *x, struct http_reply *reply)
{
    struct span origin;
    struct cors_grant grant;
    if (!x || x->target.path == EIO_NO_PATH || !http_field_only(exchange_head(x), SPAN("Origin"), &origin) ||
        !cors_find(x->client->ctx->cors, x->target.path, origin, &grant))
        return;
    reply->allow_origin = grant.allow_origin;
    reply->allow_credentials = grant.allow_credentials;
}

static void conn_count_reply(struct conn *c, enum reason why)
{
    struct metrics *m = &c->client.ctx->metrics;
    switch (why) {
    case REASON_SESSION_GONE:
        metrics_add(m, M_REPLIES_SESSION_GONE, 1);
        break;
    case REASON_NO_WORKER:
        metrics_add(m, M_REPLIES_NO_WORKER, 1);
        break;
    case REASON_RESPONSE_TIMEOUT:
        metrics_add(m, M_REPLIES_RESPONSE_TIMEOUT, 1);
        break;
    case REASON_BAD_RESPONSE:
    case REASON_TOO_MANY_CONNECTIONS: /* no line for each: it would be a flood of lines */
    case REASON_TOO_MANY_HANDSHAKES:
        break; /* counted where it was judged */
    default:
        metrics_add(m, M_REFUSED_REQUESTS, 1);
        log_line(&c->client.ctx->log, LOG_INFO, "refused", "conn=%u reason=%s status=%d", c->client.id,
                 reason_word(why), reason_http_status(why));
    }
}

/* Answer `why`; `x` is the request it answers, NULL when its head was not fit to be read. False: the client is gone. */
static bool conn_reply(struct conn *c, enum reason why, const struct exchange *x, bool close)
{
    char bytes[HTTP_REPLY_BYTES_MAX];
    struct http_reply reply = {
        .why = why,
        .close = close,
        .head_only = x && x->request.method == HTTP_HEAD,
        .retry_after_s = why == REASON_NO_WORKER ? RETRY_AFTER_S
                         : x                     ? x->retry_after_s
                                                 : 0,
    };
    conn_mirror_cors(x, &reply);
    conn_count_reply(c, why);
    return client_send(&c->client, span_of(bytes, http_reply_write(&reply, bytes)));
}

/* --- closing: what waits goes out, then FIN, then the client has time to read it --- */

/* Close behind what waits for the client. */
static bool conn_begin_closing(struct conn *c, enum reason why, const char *who)
{
    conn_note_end(c, why, who);
    conn_enter(c, CONN_CLOSING);
    return true;
}

/* Throw away what the client still sends, within bounds. False: its connection is broken. */
static bool conn_discard(struct conn *c)
{
    struct client *cl = &c->client;
    size_t got;
    while (!cl->has_ended && (cl->stream.flags & STREAM_READABLE) && c->lingered < LINGER_BYTES_MAX) {
        enum stream_result result = stream_read(&cl->stream, cl->ctx->read_buffer, cl->ctx->read_bytes, &got);
        c->lingered += (uint32_t)got;
        if (result == STREAM_FAILED)
            return false;
        if (result == STREAM_EOF)
            cl->has_ended = true;
        if (result != STREAM_OK)
            break;
    }
    return stream_error(&cl->stream) == 0; /* a RST behind a FIN that was read */
}

/* A close with unread bytes would be a RST, which can take the reply away from the client before it was read. So: FIN,
 * and throw away what still comes until its FIN. Where the end has to be a RST, it waits until all is acknowledged: the
 * sweep looks. */
static bool conn_step_closing(struct conn *c)
{
    struct client *cl = &c->client;
    size_t waited = backlog_span(cl->outbox).len;
    if (!client_flush(cl)) {
        conn_close_broken(c, errno);
        return false;
    }
    if (backlog_span(cl->outbox).len < waited)
        conn_limit_closing(c);
    if (cl->outbox)
        return false;
    if (!c->resets)
        stream_shut(&cl->stream);
    bool is_there = conn_discard(c);
    bool is_over = c->resets ? !stream_has_unsent(&cl->stream) : cl->has_ended || c->lingered >= LINGER_BYTES_MAX;
    if (!is_there || is_over)
        conn_close(c, c->why, c->ended_by, c->resets);
    return false;
}

/* Nothing that the client may have sent is unread: an ordinary close loses nothing. */
static bool conn_is_drained(const struct conn *c)
{
    const struct client *cl = &c->client;
    return !cl->outbox && !cl->inbox && !(cl->stream.flags & STREAM_READABLE);
}

/* End with FIN behind what waits; at once when that is safe: a client that may send another request at this very moment
 * would get a RST for it, and with that perhaps lose the answer. */
static bool conn_finish(struct conn *c, enum reason why, const char *who, bool client_sends_no_more)
{
    if (client_sends_no_more && conn_is_drained(c)) {
        conn_close(c, why, who, false);
        return false;
    }
    return conn_begin_closing(c, why, who);
}

static bool conn_refuse(struct conn *c, enum reason why)
{
    if (!conn_reply(c, why, NULL, true)) {
        conn_close_broken(c, errno);
        return false;
    }
    return conn_begin_closing(c, why, reason_who(why));
}

/* --- a request is being served --- */

static bool conn_end_exchange(struct conn *c)
{
    struct exchange *x = c->exchange;
    enum exchange_end end = x->end;
    enum reason why = x->why;
    const char *who = x->ended_by;
    bool was_whole = http_body_is_done(&x->body_up);
    bool sends_no_more = was_whole && (c->client.has_ended || !http_head_is_persistent(&x->request));
    bool keeps = was_whole && http_head_is_persistent(&x->request) && !(c->client.has_ended && !c->client.inbox) &&
                 (why == REASON_NO_WORKER || why == REASON_RESPONSE_TIMEOUT || why == REASON_SESSION_GONE ||
                  why == REASON_TOO_MANY_HANDSHAKES);
    bool sent = true;
    uint64_t sent_before = c->client.sent;
    if (end == EXCHANGE_REPLY)
        sent = conn_reply(c, why, x, !keeps);
    int error = errno;
    x->bytes_down += c->client.sent - sent_before;
    conn_note_exchange(c, x->status ? x->status : end == EXCHANGE_REPLY ? (unsigned)reason_http_status(why) : 0);
    exchange_free(x);
    c->exchange = NULL;
    if (!sent) {
        conn_close_broken(c, error);
        return false;
    }
    bool goes_on = end == EXCHANGE_KEEP || (end == EXCHANGE_REPLY && keeps);
    if (goes_on && c->client.ctx->is_draining)
        return conn_finish(c, REASON_DRAINED, "operator", sends_no_more);
    if (goes_on) {
        conn_enter(c, CONN_HEAD);
        return true;
    }
    switch (end) {
    case EXCHANGE_TUNNEL:
        if (why != REASON_NONE) { /* no tunnel could be made */
            conn_note_end(c, why, who);
            conn_log_closed(c);
        }
        conn_bury(c);
        c->client.ctx->on_client_gone(c->client.ctx); /* the tunnel may have ended as it began */
        return false;
    case EXCHANGE_RESET:
        c->resets = why == REASON_TRUNCATED || why == REASON_BAD_RESPONSE_BODY;
        if (c->client.outbox || stream_has_unsent(&c->client.stream))
            return conn_begin_closing(c, why, who);
        conn_close(c, why, who, true);
        return false;
    default:
        return conn_finish(c, why, who, sends_no_more && end != EXCHANGE_REPLY);
    }
}

static bool conn_step_exchange(struct conn *c)
{
    if (!exchange_step(c->exchange))
        return false;
    return c->exchange->end == EXCHANGE_RUNS ? true : conn_end_exchange(c);
}

static void conn_run(struct conn *c);

/* The worker's side of the exchange may move. */
static void on_worker_event(void *arg, short what)
{
    struct conn *c = arg;
    (void)what;
    c->quiet = 0;
    conn_run(c);
}

/* --- reading a request head --- */

static bool conn_begin_exchange(struct conn *c, struct span bytes)
{
    size_t used = 0;
    c->requests++;
    conn_enter(c, CONN_EXCHANGE);
    c->exchange = exchange_start(&c->client, &c->head, bytes, &c->deadline, on_worker_event, c, &used);
    if (!c->exchange || !client_used(&c->client, bytes, used)) {
        conn_close(c, REASON_NO_MEMORY, "siolb", true);
        return false;
    }
    return c->exchange->end == EXCHANGE_RUNS ? true : conn_end_exchange(c);
}

static bool is_only_line_ends(struct span bytes)
{
    return span_equal(bytes, SPAN("\r\n")) || span_equal(bytes, SPAN("\r\n\r\n"));
}

/* The bytes so far are no whole head: keep them, and give the rest its time. */
static bool conn_wait_for_head(struct conn *c, struct span bytes)
{
    if (is_only_line_ends(bytes)) {
        /* what old clients send behind a body begins no head: it must not shorten the time of an idle connection */
        if (c->head_begun)
            deadline_set(&c->deadline, conn_head_until_ms(c)); /* it came in two pieces */
        c->head_begun = false;
        http_head_drop_empty_lines(&c->head);
        return client_used(&c->client, bytes, bytes.len);
    }
    if (!c->head_begun && c->requests)
        deadline_set(&c->deadline, clock_ms() + c->client.config->head_ms);
    c->head_begun = true;
    if (!client_used(&c->client, bytes, 0)) {
        conn_close(c, REASON_NO_MEMORY, "siolb", true);
        return false;
    }
    if (c->client.has_ended) {
        conn_close(c, REASON_FIN, "client", false);
        return false;
    }
    return true;
}

/* A balancer that sends PROXY headers where nobody asked it to: the commonest mistake with them, and "bad request line"
 * is no help. */
static void conn_hint_proxy_header(struct conn *c, struct span bytes)
{
    char client[IP_TEXT_BYTES];
    if (c->requests == 0 && proxy_header_begins(bytes) && ctx_may_tell(c->client.ctx, HINT_PROXY_REFUSED))
        log_line(&c->client.ctx->log, LOG_WARN, "proxy header refused",
                 "conn=%u client=%s hint=\"a PROXY header is taken on listeners with the flag proxy, from peers in "
                 "forward.trust\"",
                 c->client.id, ip_text(&c->client.address, client));
}

static bool conn_judge_head(struct conn *c, struct span bytes)
{
    enum reason why = REASON_NONE;
    switch (http_request_parse(&c->head, bytes, (uint32_t)c->client.config->head_bytes, &why)) {
    case PARSE_OK:
        return conn_begin_exchange(c, bytes);
    case PARSE_MORE:
        return conn_wait_for_head(c, bytes);
    case PARSE_BAD:
        break;
    }
    conn_hint_proxy_header(c, bytes);
    return conn_refuse(c, why);
}

/* Bytes of a head that is begun, at most bytes_max in all, or of a new one. False: none yet, or the connection is
 * closed.
 */
static bool conn_fetch(struct conn *c, size_t bytes_max, struct span *bytes_out)
{
    struct client *cl = &c->client;
    switch (c->head_begun ? client_fetch_more(cl, bytes_max, bytes_out) : client_fetch(cl, bytes_out)) {
    case STREAM_OK:
        return true;
    case STREAM_FAILED:
        conn_close_broken(c, errno);
        return false;
    case STREAM_EOF:
    case STREAM_BLOCKED:
        break;
    }
    if (cl->has_ended)
        conn_close(c, REASON_FIN, "client", false);
    return false;
}

static bool conn_step_head(struct conn *c)
{
    struct client *cl = &c->client;
    struct span bytes;
    size_t waited = backlog_span(cl->outbox).len;
    if (!client_flush(cl)) {
        conn_close_broken(c, errno);
        return false;
    }
    if (backlog_span(cl->outbox).len < waited)
        conn_arm(c); /* progress; idle only from the moment when all is out */
    if (cl->outbox)
        return false; /* a client that does not read its answers gets no further ones */
    if (waited && cl->ctx->is_draining && !cl->inbox)
        return conn_begin_closing(c, REASON_DRAINED, "operator");
    /* a head is at most head_size long; two dropped line ends may come before it */
    return conn_fetch(c, cl->config->head_bytes + 8, &bytes) && conn_judge_head(c, bytes);
}

/* --- who is there --- */

/* It is known now whose connection this is: is it one too many? Twice as many as may be get an answer that says so;
 * that bounds what the connections of one address can hold. False: closed. */
static bool conn_admit(struct conn *c)
{
    struct client *cl = &c->client;
    const struct config *cfg = cl->config;
    cl->is_trusted = ip_is_in(&cl->address, cfg->trust, cfg->trust_count);
    if (!cfg->per_address || cl->is_trusted) /* those of whom a trusted peer tells are counted with their requests */
        return true;
    uint32_t connections = addresses_enter(cl->ctx->addresses, &cl->address);
    cl->is_counted = connections > 0;
    cl->is_over = connections > cfg->per_address;
    if (connections <= 2 * cfg->per_address)
        return true;
    client_note_limited(cl, M_LIMITED_CONNECTIONS, HINT_PER_ADDRESS, &cl->address);
    conn_close(c, REASON_TOO_MANY_CONNECTIONS, "client", true);
    return false;
}

/* The peer is trusted: it is set up wrongly. */
static void conn_tell_bad_proxy_header(struct conn *c, struct span bytes)
{
    char client[IP_TEXT_BYTES];
    if (ctx_may_tell(c->client.ctx, HINT_PROXY_BAD))
        log_line(&c->client.ctx->log, LOG_WARN, "bad proxy header", "conn=%u client=%s hint=\"%s\"", c->client.id,
                 ip_text(&c->client.address, client),
                 proxy_header_begins(bytes) ? "it is malformed"
                                            : "this peer is in forward.trust and sends none: send-proxy missing?");
}

static bool conn_take_proxy_header(struct conn *c, struct span bytes)
{
    struct client *cl = &c->client;
    struct proxy_header header;
    size_t used;
    enum parse parsed = proxy_header_parse(bytes, &header, &used);
    if (parsed == PARSE_BAD) {
        conn_tell_bad_proxy_header(c, bytes);
        return conn_refuse(c, REASON_BAD_PROXY_HEADER);
    }
    c->head_begun = true;
    if (!client_used(cl, bytes, used)) {
        conn_close(c, REASON_NO_MEMORY, "siolb", true);
        return false;
    }
    if (parsed == PARSE_MORE)
        return true;
    if (!header.is_local) {
        cl->address = header.from;
        cl->our_end = header.to;
        cl->was_tls = header.was_tls;
    }
    if (!conn_admit(c))
        return false;
    conn_enter(c, CONN_HEAD);
    return true;
}

static bool conn_step_proxy(struct conn *c)
{
    struct span bytes;
    return conn_fetch(c, PROXY_HEADER_BYTES_MAX, &bytes) && conn_take_proxy_header(c, bytes);
}

/* --- driving it --- */

/* Go on until there is nothing to do but wait; the one driver of the state machine. */
static void conn_run(struct conn *c)
{
    for (int steps = 0; steps < STEPS_PER_TURN; steps++) {
        bool moved = false;
        switch ((enum conn_state)c->state) {
        case CONN_PROXY:
            moved = conn_step_proxy(c);
            break;
        case CONN_HEAD:
            moved = conn_step_head(c);
            break;
        case CONN_EXCHANGE:
            moved = conn_step_exchange(c);
            break;
        case CONN_CLOSING:
            moved = conn_step_closing(c);
            break;
        default:
            return;
        }
        if (!moved)
            return;
    }
    if (c->state != CONN_CLOSED)
        stream_again(&c->client.stream);
}

static void on_client_event(evutil_socket_t fd, short what, void *arg)
{
    struct conn *c = arg;
    (void)fd;
    if (c->state == CONN_CLOSED)
        return;
    c->quiet = 0;
    stream_note(&c->client.stream, what);
    conn_run(c);
}

static void on_deadline(void *arg)
{
    struct conn *c = arg;
    switch ((enum conn_state)c->state) {
    case CONN_PROXY:
    case CONN_HEAD:
        if (c->client.outbox)
            conn_close(c, REASON_STALLED, "client", false);
        else if (c->head_begun)
            (void)conn_refuse(c, REASON_HEAD_TIMEOUT);
        else
            conn_close(c, c->requests ? REASON_KEEPALIVE : REASON_SILENT, "siolb", false);
        break;
    case CONN_EXCHANGE:
        exchange_note_deadline(c->exchange);
        if (c->exchange->end != EXCHANGE_RUNS)
            (void)conn_end_exchange(c);
        break;
    case CONN_CLOSING:
        conn_close(c, c->why, c->ended_by, c->resets);
        return;
    default:
        return;
    }
    conn_run(c);
}

size_t conn_bytes(void)
{
    return sizeof(struct conn);
}

bool conn_start(struct ctx *ctx, int fd, const struct sockaddr *from, bool takes_proxy)
{
    struct conn *c = pool_take(&ctx->conn_pool);
    if (!c || !stream_start(&c->client.stream, ctx->base, fd, on_client_event, c)) {
        close(fd);
        pool_give_back(c);
        return false;
    }
    c->client.ctx = ctx;
    c->client.config = config_hold(ctx->config);
    c->client.id = ++ctx->next_id;
    c->client.address = address_ip(from);
    c->started_ms = clock_ms();
    deadline_init(&c->deadline, ctx->base, on_deadline, c);
    list_add_last(&ctx->conns, &c->link);
    metrics_add(&ctx->metrics, M_CLIENTS, 1);
    metrics_add(&ctx->metrics, M_ACCEPTED, 1);
    if (c->client.config->proxy_protocol)
        c->client.our_end = address_of_our_end(fd);
    bool is_told = takes_proxy && ip_is_in(&c->client.address, ctx->config->trust, ctx->config->trust_count);
    c->state = is_told ? CONN_PROXY : CONN_HEAD;
    if (is_told || conn_admit(c))
        conn_arm(c);
    return true;
}

/* What shows by looking only: a RST behind the last data, an acknowledgement that a RST waits for. */
static bool conn_has_news(struct conn *c)
{
    bool quiet = c->quiet == LOOK_AGAIN_AT;
    switch ((enum conn_state)c->state) {
    case CONN_PROXY:
    case CONN_HEAD:
        return quiet && stream_look_again(&c->client.stream);
    case CONN_EXCHANGE:
        return exchange_sweep(c->exchange, quiet);
    case CONN_CLOSING:
        return c->resets;
    default:
        return false;
    }
}

void conn_sweep(struct ctx *ctx)
{
    LIST_EACH (n, &ctx->conns) {
        struct conn *c = LINK_OWNER(n, struct conn, link);
        if (c->quiet < UINT16_MAX)
            c->quiet++;
        deadline_retry(&c->deadline);
        if (conn_has_news(c))
            conn_run(c);
    }
}

static uint64_t conn_holds(const struct conn *c)
{
    uint64_t own = backlog_memory(c->client.inbox) + backlog_memory(c->client.outbox);
    return own + (c->exchange ? exchange_holds(c->exchange) : 0);
}

void conn_weigh_all(struct ctx *ctx, struct shed *shed)
{
    LIST_EACH (n, &ctx->conns)
        shed_weigh(shed, conn_holds(LINK_OWNER(n, struct conn, link)));
}

void conn_shed(struct ctx *ctx, uint64_t bytes_min, uint64_t *excess)
{
    LIST_EACH (n, &ctx->conns) {
        struct conn *c = LINK_OWNER(n, struct conn, link);
        uint64_t bytes = conn_holds(c);
        if (*excess == 0)
            return;
        if (bytes < bytes_min)
            continue;
        *excess -= bytes < *excess ? bytes : *excess;
        metrics_add(&ctx->metrics, M_SHED, 1);
        c->why = REASON_NONE; /* whatever it was ending for, this is why it ends */
        conn_close(c, REASON_SHED, "siolb", true);
    }
}

void conn_drain_all(struct ctx *ctx)
{
    LIST_EACH (n, &ctx->conns) {
        struct conn *c = LINK_OWNER(n, struct conn, link);
        if ((c->state == CONN_HEAD || c->state == CONN_PROXY) && !c->head_begun && !c->client.outbox)
            conn_close(c, REASON_DRAINED, "operator", false);
    }
}

void conn_close_all(struct ctx *ctx, enum reason why)
{
    LIST_EACH (n, &ctx->conns)
        conn_close(LINK_OWNER(n, struct conn, link), why, "operator", false);
}
