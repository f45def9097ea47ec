/*
 * Whole connections: bytes and ends from both sides through the real loop. An input is a little play:
 *
 *   first byte   the stage, by its lowest bits: 1 clients on TCP (else unix sockets), 2 the worker on TCP, 4 another
 *                worker that is not there, 8 small kernel buffers (unix), 16 peers reset at the end (else they close),
 *                32 a byte with settings follows
 *   settings     1 clients come from trusted peers (who else is trusted, is never there), 2 to a `proxy` listener, 4
 * and 8 what forwarded_for says, 16 and 32 the version of proxy_protocol, 64 one connection and one handshake a second
 * per address, 128 little memory then         steps, each ended by the byte 0xfe: a letter and what it needs
 *
 *   c BYTES, w BYTES   the client, the worker sends       C N, W N   it sends N bytes of a pattern
 *   f, v               the client, the worker sends FIN   r, x       it resets
 *   n, m               the client, the worker stops reading, or goes on
 *   o                  another client comes (at most two; four, when they are
 *                      limited), or the next one goes on
 *   p                  the worker's other connections have their turn
 *   t N                N milliseconds pass                s N        so do N seconds, each with its sweep
 *   d                  siolb begins to drain
 *
 * After a step the loop turns until nothing moves, unless a '+' stands before the letter.
 *
 * What has to be true: nothing crashes or leaks; the loop comes to rest, with no more in its buffers than the settings
 * allow; what a worker reads are requests of clients as they were sent, each whole but for the last one, and nothing
 * behind one that is refused (the model is all that a client sent, parsed in one go); but for the lines and the header
 * about the client that the settings ask for, in which nothing comes from a client that is not trusted; what a client
 * reads are pieces of what workers sent, or siolb's own replies; and once all peers have gone and time has passed, no
 * connection, buffer or descriptor is left, and no address counts any more.
 */
#include "../../proxy/core/cors.h"
#include "../../proxy/core/http_byte.h"
#include "../../proxy/core/http_reply.h"
#include "../../proxy/core/proxy_header.h"
#include "../loop/loop.h"

#include <sys/un.h>
#include <time.h>

#define STEP_END          '\xfe'
#define CLIENTS           4
#define CLIENTS_UNLIMITED 2
#define UPSTREAMS         8
#define REQUESTS_MAX      64
#define FILL_MAX          40000u
#define STREAM_MAX        (1u << 20)
#define CALLBACKS_MAX     20000u /* until the loop has to rest */
#define DEADLINES_MAX     16
#define TCP_PLAYS_PER_S   20
#define TCP_PLAYS_AT_ONCE 200
#define KERNEL_WAIT_MS    5000
#define DESCRIPTORS       64
#define LONG_MS           (25u * 3600 * 1000)
#define BUFFER_BYTES      8192u /* limits.buffer */
#define HEAD_BYTES_MAX    4096u /* limits.head_size */
#define MEMORY_MAX        4000u /* limits.memory, when it is little */
#define ENTERED_MAX       512

enum { CLIENT_TCP = 1, WORKER_TCP = 2, OTHER_ABSENT = 4, SMALL_BUFFERS = 8, END_RESETS = 16, HAS_SETTINGS = 32 };
enum { TRUSTED = 1, TAKES_PROXY = 2, FORWARD_AT = 4, PROTOCOL_AT = 16, LIMITED = 64, LITTLE_MEMORY = 128 };

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "fuzz_connection: %s:%d: %s\n", __FILE__, __LINE__, #condition);                           \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

/* For the eye of whoever has to find out, then the end. */
static void show(const char *what, struct span bytes)
{
    fprintf(stderr, "fuzz_connection: %s: %.*s\n", what, (int)bytes.len, bytes.ptr);
    abort();
}

/* --- time: stands still, but for the steps that move it --- */

static uint64_t now_ms = 1000000;
static struct deadline *deadlines[DEADLINES_MAX];
static unsigned callbacks; /* since the loop began to settle */

uint64_t __wrap_clock_ms(void);
uint32_t __wrap_clock_boot_s(void);
void __wrap_deadline_init(struct deadline *d, struct event_base *base, void (*due)(void *arg), void *arg);
void __wrap_deadline_fini(struct deadline *d);
void __wrap_stream_note(struct stream *s, short what);
void __real_deadline_init(struct deadline *d, struct event_base *base, void (*due)(void *arg), void *arg);
void __real_deadline_fini(struct deadline *d);
void __real_stream_note(struct stream *s, short what);
bool __wrap_stream_start(struct stream *s, struct event_base *base, int fd, event_callback_fn on_event, void *arg);
bool __real_stream_start(struct stream *s, struct event_base *base, int fd, event_callback_fn on_event, void *arg);
uint32_t __wrap_addresses_enter(struct addresses *t, const struct ip *a);
uint32_t __real_addresses_enter(struct addresses *t, const struct ip *a);

uint64_t __wrap_clock_ms(void)
{
    return now_ms;
}

uint32_t __wrap_clock_boot_s(void)
{
    return (uint32_t)(now_ms / 1000);
}

static void replace_deadline(const struct deadline *old, struct deadline *new)
{
    int i = 0;
    while (i < DEADLINES_MAX && deadlines[i] != old)
        i++;
    CHECK(i < DEADLINES_MAX);
    deadlines[i] = new;
}

void __wrap_deadline_init(struct deadline *d, struct event_base *base, void (*due)(void *arg), void *arg)
{
    replace_deadline(NULL, d);
    __real_deadline_init(d, base, due, arg);
}

void __wrap_deadline_fini(struct deadline *d)
{
    replace_deadline(d, NULL);
    __real_deadline_fini(d);
}

/* All callbacks of streams begin here: as long as they come, the loop is not at rest. One that never rests spins. */
void __wrap_stream_note(struct stream *s, short what)
{
    CHECK(++callbacks < CALLBACKS_MAX);
    __real_stream_note(s, what);
}

static bool is_small; /* the kernel keeps little */

/* Not on TCP: behind a closed window the kernel's own timers decide when it goes on, and they know no play. */
static void make_small(int fd)
{
    if (is_small && socket_option(fd, SOL_SOCKET, SO_DOMAIN) == AF_UNIX)
        limit_kernel_buffers(fd);
}

/* Whatever siolb talks over. */
bool __wrap_stream_start(struct stream *s, struct event_base *base, int fd, event_callback_fn on_event, void *arg)
{
    make_small(fd);
    return __real_stream_start(s, base, fd, on_event, arg);
}

/* Each play on TCP leaves some ports of loopback in TIME_WAIT for a minute, which are everybody's: a budget by the real
 * clock. What is over it is not played (an input alone always is). */
static bool may_use_tcp(void)
{
    static double budget = TCP_PLAYS_AT_ONCE, before_s;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    double now_s = (double)now.tv_sec + (double)now.tv_nsec / 1e9;
    budget += before_s > 0 ? (now_s - before_s) * TCP_PLAYS_PER_S : 0;
    before_s = now_s;
    if (budget > TCP_PLAYS_AT_ONCE)
        budget = TCP_PLAYS_AT_ONCE;
    if (budget < 1)
        return false;
    budget--;
    return true;
}

/* --- addresses: all that were ever counted in a play --- */

static struct ip entered[ENTERED_MAX];
static size_t entered_count;

static void remember(const struct ip *a)
{
    for (size_t i = 0; i < entered_count; i++)
        if (ip_equal(&entered[i], a))
            return;
    CHECK(entered_count < ENTERED_MAX);
    entered[entered_count++] = *a;
}

uint32_t __wrap_addresses_enter(struct addresses *t, const struct ip *a)
{
    uint32_t connections = __real_addresses_enter(t, a);
    if (connections)
        remember(a);
    return connections;
}

/* Whoever comes now is the first one. */
static void check_no_address_counts(struct addresses *t)
{
    for (size_t i = 0; i < entered_count; i++) {
        CHECK(__real_addresses_enter(t, &entered[i]) == 1);
        addresses_leave(t, &entered[i]);
    }
}

/* --- the stage --- */

/* What went one way on one connection. */
struct flow {
    char *bytes;
    size_t len;
};

struct peer {
    int fd; /* -1: gone, or never there */
    bool is_there;
    bool has_ended; /* has sent its FIN */
    bool reads;
    struct ip address, our_end; /* of a client, as its connection comes in */
    struct flow sent, got;
};

struct play {
    struct loop *loop;
    int listener; /* the worker's */
    unsigned flags, settings;
    struct peer client[CLIENTS];
    struct peer upstream[UPSTREAMS];
    unsigned clients, upstreams, current_client, current_upstream;
};

static struct loop *stages[4]; /* by WORKER_TCP and OTHER_ABSENT */
static int client_listener, tcp_listener, unix_listener;
static struct sockaddr_in client_address;

static int listen_unix(const char *path)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0 && listen(fd, 16) == 0);
    return fd;
}

static char folder[] = "/tmp/fuzz_connection.XXXXXX";
static char socket_path[64];

static void remove_folder(void)
{
    unlink(socket_path);
    rmdir(folder);
}

/* Those who are trusted: two who are never there, then all peers that are. */
static struct ip_network trust[] = {
    {{.family = IP_V4, .bytes = {10}}, 8},
    {{.family = IP_V6, .bytes = {0xfd}}, 8},
    {{.family = IP_V4, .bytes = {127}}, 8},
    {{.family = IP_NONE}, 0},
};

/* As on_shed() of server.c. */
static void on_shed(evutil_socket_t fd, short what, void *arg)
{
    struct ctx *ctx = arg;
    struct shed shed = {0};
    uint64_t held = ctx_buffered(ctx), wanted = ctx->memory_max - ctx->memory_max / 8;
    (void)fd;
    (void)what;
    CHECK(++callbacks < CALLBACKS_MAX);
    if (held <= ctx->memory_max)
        return;
    conn_weigh_all(ctx, &shed);
    tunnel_weigh_all(ctx, &shed);
    uint64_t excess = held - wanted, bytes_min = shed_bytes_min(&shed, excess), above = shed_bytes_above(bytes_min);
    tunnel_shed(ctx, above, &excess);
    conn_shed(ctx, above, &excess);
    tunnel_shed(ctx, bytes_min, &excess);
    conn_shed(ctx, bytes_min, &excess);
    CHECK(ctx_buffered(ctx) <= wanted);
}

static struct loop *stage_new(unsigned flags, uint16_t port)
{
    char tcp[64], near[80], absent[80];
    snprintf(tcp, sizeof(tcp), "127.0.0.1:%u", port);
    snprintf(near, sizeof(near), "unix:%s", socket_path);
    snprintf(absent, sizeof(absent), "unix:%s/absent", folder);
    struct loop *l =
        loop_new_with((const char *[]){flags & WORKER_TCP ? tcp : near, flags & OTHER_ABSENT ? absent : NULL, NULL});
    l->ctx.log.level = -1;
    l->ctx.config->buffer_bytes = BUFFER_BYTES;
    l->ctx.config->head_bytes = HEAD_BYTES_MAX;
    l->ctx.config->trust = trust;
    l->ctx.read_bytes = BUFFER_BYTES;
    event_assign(&l->ctx.shed, l->ctx.base, -1, 0, on_shed, &l->ctx);
    return l;
}

/* --- peers --- */

static void flow_add(struct flow *f, const char *bytes, size_t len)
{
    if (len == 0)
        return;
    CHECK(f->len + len <= STREAM_MAX);
    f->bytes = realloc(f->bytes, f->len + len);
    CHECK(f->bytes);
    memcpy(f->bytes + f->len, bytes, len);
    f->len += len;
}

static struct span flow_span(const struct flow *f)
{
    return f->len ? span_of(f->bytes, f->len) : SPAN("");
}

static void peer_begin(struct peer *p, int fd)
{
    p->fd = fd;
    p->is_there = p->reads = true;
}

static void peer_leave(struct peer *p, bool reset)
{
    if (p->fd < 0)
        return;
    if (reset)
        peer_reset(p->fd);
    else
        close(p->fd);
    p->fd = -1;
}

static void peer_say(struct peer *p, const char *bytes, size_t len)
{
    if (p->fd < 0 || p->has_ended || p->sent.len + len > STREAM_MAX)
        return;
    ssize_t n = send(p->fd, bytes, len, MSG_NOSIGNAL);
    if (n > 0)
        flow_add(&p->sent, bytes, (size_t)n);
}

/* `len` bytes of a pattern in which no byte can go or come unseen, as far as the kernel takes them. */
static void peer_fill_with(struct peer *p, size_t len)
{
    char piece[4096];
    for (size_t before = p->sent.len + 1; len && p->sent.len != before;) {
        size_t n = len < sizeof(piece) ? len : sizeof(piece);
        before = p->sent.len;
        for (size_t i = 0; i < n; i++)
            piece[i] = (char)('a' + (before + i) % 23);
        peer_say(p, piece, n);
        len -= n;
    }
}

static void peer_fin(struct peer *p)
{
    if (p->fd >= 0)
        shutdown(p->fd, SHUT_WR);
    p->has_ended = true;
}

/* Take what is there. */
static bool peer_listen(struct peer *p)
{
    char bytes[4096];
    bool moved = false;
    while (p->fd >= 0 && p->reads) {
        ssize_t n = recv(p->fd, bytes, sizeof(bytes), 0);
        if (n <= 0)
            return moved;
        flow_add(&p->got, bytes, (size_t)n);
        moved = true;
    }
    return moved;
}

/* --- turning --- */

static void take_upstreams(struct play *p)
{
    int fd;
    while (p->upstreams < UPSTREAMS && (fd = accept4(p->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        make_small(fd);
        p->current_upstream = p->upstreams;
        peer_begin(&p->upstream[p->upstreams++], fd);
    }
}

static bool peers_listen(struct play *p)
{
    bool moved = false;
    take_upstreams(p);
    for (unsigned i = 0; i < p->clients; i++)
        moved |= peer_listen(&p->client[i]);
    for (unsigned i = 0; i < p->upstreams; i++)
        moved |= peer_listen(&p->upstream[i]);
    return moved;
}

/* Until nothing moves any more. */
static void settle(struct play *p)
{
    const struct ctx *ctx = &p->loop->ctx;
    struct event_base *base = ctx->base;
    unsigned before;
    bool moved;
    callbacks = 0;
    do {
        before = callbacks;
        event_base_loop(base, EVLOOP_NONBLOCK);
        moved = peers_listen(p);
    } while (moved || callbacks != before || event_base_get_num_events(base, EVENT_BASE_COUNT_ACTIVE));
    CHECK(!ctx->memory_max || ctx_buffered(ctx) <= ctx->memory_max);
    CHECK(!ctx->config->proxy_protocol || !ctx->metrics.value[M_UPSTREAMS_IDLE]); /* it is for one client */
}

static void let_time_pass(struct play *p, uint64_t ms)
{
    now_ms += ms;
    for (int i = 0; i < DEADLINES_MAX; i++)
        if (deadlines[i] && deadlines[i]->armed_ms && deadlines[i]->armed_ms <= now_ms)
            event_active(&deadlines[i]->event, EV_TIMEOUT, 0);
    settle(p);
}

/* As on_tick() of server.c. */
static void sweep(struct play *p)
{
    struct ctx *ctx = &p->loop->ctx;
    now_ms += 1000;
    ctx->now_s = clock_boot_s();
    ctx->ticks++;
    conn_sweep(ctx);
    tunnel_sweep(ctx);
    session_sweep(ctx);
    upstream_sweep(ctx);
    let_time_pass(p, 0);
}

/* --- steps --- */

static void another_client(struct play *p)
{
    int ours, theirs;
    if (p->clients == (p->settings & LIMITED ? CLIENTS : CLIENTS_UNLIMITED)) {
        p->current_client = (p->current_client + 1) % p->clients;
        return;
    }
    struct sockaddr_in from = {.sin_family = AF_UNIX};
    if (p->flags & CLIENT_TCP) {
        theirs = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        CHECK(theirs >= 0 && connect(theirs, (struct sockaddr *)&client_address, sizeof(client_address)) == 0);
        make_nonblocking(theirs);
        ours = tcp_accept(client_listener);
        from = client_address;
    } else {
        unix_pair(&ours, &theirs);
    }
    make_small(theirs);
    p->current_client = p->clients++;
    struct peer *client = &p->client[p->current_client];
    peer_begin(client, theirs);
    client->address = client->our_end = address_ip((struct sockaddr *)&from);
    CHECK(conn_start(&p->loop->ctx, ours, (struct sockaddr *)&from, p->settings & TAKES_PROXY));
}

static size_t number_in(struct span s, size_t most)
{
    size_t n = 0;
    s = http_trim(s);
    for (size_t i = 0; i < s.len && s.ptr[i] >= '0' && s.ptr[i] <= '9' && n <= most; i++)
        n = n * 10 + (size_t)(s.ptr[i] - '0');
    return n < most ? n : most;
}

static void play_step(struct play *p, char letter, struct span rest)
{
    struct peer *client = &p->client[p->current_client], *worker = &p->upstream[p->current_upstream];
    switch (letter) {
    case 'c':
        peer_say(client, rest.ptr, rest.len);
        break;
    case 'w':
        peer_say(worker, rest.ptr, rest.len);
        break;
    case 'C':
        peer_fill_with(client, number_in(rest, FILL_MAX));
        break;
    case 'W':
        peer_fill_with(worker, number_in(rest, FILL_MAX));
        break;
    case 'f':
        peer_fin(client);
        break;
    case 'v':
        peer_fin(worker);
        break;
    case 'r':
        peer_leave(client, true);
        break;
    case 'x':
        peer_leave(worker, true);
        break;
    case 'n':
        client->reads = !client->reads;
        break;
    case 'm':
        worker->reads = !worker->reads;
        break;
    case 'o':
        another_client(p);
        break;
    case 'p':
        if (p->upstreams)
            p->current_upstream = (p->current_upstream + 1) % p->upstreams;
        break;
    case 't':
        let_time_pass(p, number_in(rest, LONG_MS));
        break;
    case 's':
        for (size_t n = number_in(rest, 100) + 1; n > 0; n--)
            sweep(p);
        break;
    case 'd':
        p->loop->ctx.is_draining = true;
        conn_drain_all(&p->loop->ctx);
        break;
    default:
        break;
    }
}

static void play_all(struct play *p, struct span script)
{
    while (script.len) {
        const char *end = memchr(script.ptr, STEP_END, script.len);
        struct span step = span_of(script.ptr, end ? (size_t)(end - script.ptr) : script.len);
        script = span_skip(script, step.len + (end ? 1 : 0));
        bool goes_on = step.len && step.ptr[0] == '+';
        if (goes_on)
            step = span_skip(step, 1);
        if (step.len)
            play_step(p, step.ptr[0], span_skip(step, 1));
        if (!goes_on)
            settle(p);
    }
    settle(p);
}

/* --- what a worker may read --- */

struct request {
    struct flow head; /* as a worker gets it, with what goes before it */
    struct span body; /* as far as it is good */
    struct span rest; /* all that its client sent behind the head */
    bool is_whole;
    bool may_switch;
};

struct requests {
    struct request all[CLIENTS * REQUESTS_MAX];
    size_t count;
    bool is_one_each; /* no connection to a worker has more than one */
};

/* Who sends requests, and where they begin. */
struct sender {
    const struct config *config;
    struct ip address, our_end;
    bool is_trusted, was_tls;
    struct span said;
};

/* False: there is no such sender; what it said first is no PROXY header. */
static bool find_sender(const struct play *p, const struct peer *client, struct sender *out)
{
    const struct config *cfg = p->loop->ctx.config;
    struct proxy_header header;
    size_t used;
    *out = (struct sender){.config = cfg, .address = client->address, .our_end = client->our_end};
    out->said = flow_span(&client->sent);
    if (p->settings & TAKES_PROXY && p->settings & TRUSTED) {
        if (proxy_header_parse(out->said, &header, &used) != PARSE_OK)
            return false;
        out->said = span_skip(out->said, used);
        if (!header.is_local) {
            out->address = header.from;
            out->our_end = header.to;
            out->was_tls = header.was_tls;
        }
    }
    out->is_trusted = ip_is_in(&out->address, cfg->trust, cfg->trust_count);
    return true;
}

/* Names of fields that tell where a request comes from, as WSGI knows them. */
static bool tells_origin(struct span name)
{
    static const char family[] = "x-forwarded-";
    char folded[sizeof(family)] = "";
    for (size_t i = 0; i < name.len && i < sizeof(family) - 1; i++)
        folded[i] = name.ptr[i] == '_' ? '-' : ascii_lower(name.ptr[i]);
    return strcmp(folded, family) == 0 || (name.len == 9 && strcmp(folded, "forwarded") == 0) ||
           (name.len == 9 && strcmp(folded, "x-real-ip") == 0);
}

/* What tells of the origin of a request is ours, each line once. */
static void check_no_word_of_the_client(const struct forward *f, struct span head)
{
    char text[IP_TEXT_BYTES];
    struct {
        struct span name, value;
    } ours[] = {
        {SPAN("X-Forwarded-For"), span_from_str(ip_host_text(&f->peer, text))},
        {SPAN("X-Forwarded-Proto"), f->proto},
        {SPAN("X-Forwarded-Host"), f->host},
    };
    struct span name, value;
    uint32_t at = 0;
    while (http_field_next(head, &at, &name, &value)) {
        size_t i = 0;
        if (!tells_origin(name))
            continue;
        while (i < COUNT_OF(ours) && !span_equal(ours[i].name, name))
            i++;
        if (i == COUNT_OF(ours) || !span_equal(ours[i].value, value))
            show("a worker is told by a client where it comes from", head);
        ours[i].name = SPAN("");
    }
}

static void write_forwarded(const struct sender *s, struct ip believed, struct span head, struct span host,
                            struct flow *out)
{
    struct forward f = {(enum forward_mode)s->config->forwarded_for, s->is_trusted, s->address, believed, host,
                        s->was_tls ? SPAN("https") : SPAN("http")};
    char *text = malloc(head.len + forward_bytes_max(&f));
    CHECK(text);
    size_t len = forward_write(&f, head, text);
    if (f.mode == FORWARD_REPLACE && !f.peer_is_trusted)
        check_no_word_of_the_client(&f, span_of(text, len));
    flow_add(out, text, len);
    free(text);
}

/* The head as a worker gets it. */
static void write_head(const struct sender *s, struct span head, struct span host, struct flow *out)
{
    const struct config *cfg = s->config;
    struct ip believed = s->is_trusted ? forward_believe(head, &s->address, cfg->trust, cfg->trust_count) : s->address;
    if (cfg->proxy_protocol) {
        char header[PROXY_HEADER_WRITTEN_MAX];
        flow_add(out, header,
                 proxy_header_write(cfg->proxy_protocol, &(struct proxy_header){.from = believed, .to = s->our_end},
                                    header));
    }
    if (cfg->forwarded_for == FORWARD_OFF)
        flow_add(out, head.ptr, head.len);
    else
        write_forwarded(s, believed, head, host, out);
}

static bool asks_for_upgrade(const struct http_head *h)
{
    return (h->facts & HTTP_NAMES_WEBSOCKET) && (h->facts & HTTP_SAYS_UPGRADE);
}

/* The request that begins at *at; false: there is none that may reach a worker. */
static bool next_request(const struct sender *s, size_t *at, struct request *out, bool *is_last)
{
    struct http_head head;
    struct http_body body;
    enum reason why;
    struct span from = span_skip(s->said, *at);
    http_head_init(&head);
    if (http_request_parse(&head, from, HEAD_BYTES_MAX, &why) != PARSE_OK)
        return false;
    size_t end = head.end;
    enum parse result = PARSE_MORE;
    http_body_init(&body, (enum http_framing)head.framing, head.length);
    if (s->config->forwarded_for == FORWARD_REPLACE && !s->is_trusted)
        http_body_refuse_forwarded(&body);
    while (end < from.len && !http_body_is_done(&body) && result == PARSE_MORE) {
        size_t used;
        struct span data;
        result = http_body_next(&body, span_skip(from, end), &used, &data);
        end += used;
    }
    struct span rest = span_skip(from, head.end);
    *out = (struct request){
        {0}, span_of(rest.ptr, end - head.end), rest, http_body_is_done(&body), asks_for_upgrade(&head)};
    write_head(s, span_of(from.ptr + head.start, head.end - head.start), span_in(from, head.host), &out->head);
    *is_last = !out->is_whole || !http_head_is_persistent(&head);
    *at += end;
    return true;
}

static void find_requests(struct requests *all, const struct sender *s)
{
    size_t at = 0;
    bool is_last = false;
    for (int n = 0; n < REQUESTS_MAX && !is_last; n++) {
        if (!next_request(s, &at, &all->all[all->count], &is_last))
            return;
        all->count++;
    }
    CHECK(is_last || at <= s->said.len);
}

static size_t common_length(struct span a, struct span b)
{
    size_t n = 0;
    while (n < a.len && n < b.len && a.ptr[n] == b.ptr[n])
        n++;
    return n;
}

/* Does what a worker has read, from here on, consist of requests? The last one may be cut anywhere. */
static bool is_made_of_requests(const struct requests *all, struct span got)
{
    if (got.len == 0)
        return true;
    for (size_t i = 0; i < all->count; i++) {
        const struct request *q = &all->all[i];
        size_t head = common_length(got, flow_span(&q->head));
        if (head == got.len)
            return true;
        if (head < q->head.len)
            continue;
        struct span behind = span_skip(got, head);
        size_t body = common_length(behind, q->body);
        if (body == behind.len || (q->may_switch && common_length(behind, q->rest) == behind.len))
            return true;
        bool may_follow = body == q->body.len && q->is_whole && !all->is_one_each;
        if (may_follow && is_made_of_requests(all, span_skip(behind, body)))
            return true;
    }
    return false;
}

static void check_workers_got(const struct play *p)
{
    static struct requests all;
    struct sender sender;
    all.count = 0;
    all.is_one_each = p->loop->ctx.config->proxy_protocol;
    for (unsigned i = 0; i < p->clients; i++)
        if (find_sender(p, &p->client[i], &sender))
            find_requests(&all, &sender);
    for (unsigned i = 0; i < p->upstreams; i++)
        if (!is_made_of_requests(&all, flow_span(&p->upstream[i].got)))
            show("a worker got what no client sent like that", flow_span(&p->upstream[i].got));
    for (size_t i = 0; i < all.count; i++)
        free(all.all[i].head.bytes);
}

/* --- what a client may read --- */

static struct span own_replies[REASONS * 8];
static size_t own_reply_count;

static void write_own_replies(void)
{
    static char bytes[COUNT_OF(own_replies)][HTTP_REPLY_BYTES_MAX];
    for (unsigned i = 0; i < COUNT_OF(own_replies); i++) {
        struct http_reply reply = {
            .why = (enum reason)(i / 8), .close = i & 1, .head_only = i & 2, .retry_after_s = i & 4 ? 1 : 0};
        if (!reason_http_status(reply.why))
            continue;
        own_replies[own_reply_count] = span_of(bytes[own_reply_count], 0);
        own_replies[own_reply_count].len = http_reply_write(&reply, bytes[own_reply_count]);
        own_reply_count++;
    }
}

/* The lines of `reply` that mirror what a worker granted to an origin, which differ: without them in `out`. */
static size_t without_grant(struct span reply, char *out)
{
    size_t len = 0;
    while (reply.len) {
        const char *feed = memchr(reply.ptr, '\n', reply.len);
        size_t n = feed ? (size_t)(feed - reply.ptr) + 1 : reply.len;
        if (!span_starts_with(reply, SPAN("Access-Control-Allow-")) && !span_starts_with(reply, SPAN("Vary: Origin"))) {
            memcpy(out + len, reply.ptr, n);
            len += n;
        }
        reply = span_skip(reply, n);
    }
    return len;
}

/* Length of the reply of our own that `in` begins with (it may be cut), 0: it begins with something else. */
static size_t own_reply_length(struct span in)
{
    char bare[HTTP_REPLY_BYTES_MAX];
    size_t longest = 0, looked_at = in.len < sizeof(bare) ? in.len : sizeof(bare);
    size_t bare_len = without_grant(span_of(in.ptr, looked_at), bare);
    for (size_t i = 0; i < own_reply_count; i++) {
        size_t common = common_length(span_of(bare, bare_len), own_replies[i]);
        if (common > longest && (common == own_replies[i].len || common == bare_len))
            longest = common;
    }
    return longest ? longest + (looked_at - bare_len) : 0;
}

/* The longest piece of what workers sent, from the start of a message on, that `in` begins with. */
static size_t workers_piece(const struct play *p, struct span in)
{
    size_t longest = 0;
    for (unsigned i = 0; i < p->upstreams; i++) {
        struct span sent = flow_span(&p->upstream[i].sent);
        for (size_t at = 0; at < sent.len; at++) {
            struct span from = span_skip(sent, at);
            if (from.ptr[0] != 'H')
                continue;
            size_t common = common_length(in, from);
            longest = common > longest ? common : longest;
        }
    }
    return longest;
}

/* A piece may end anywhere, so each place up to the furthest one is an end and perhaps a beginning. */
static void check_client_got(const struct play *p, struct span got)
{
    size_t furthest = 0;
    for (size_t at = 0; at <= furthest && furthest < got.len; at++) {
        struct span rest = span_skip(got, at);
        if (rest.ptr[0] != 'H')
            continue;
        size_t reply = own_reply_length(rest), piece = workers_piece(p, rest);
        size_t end = at + (reply > piece ? reply : piece);
        furthest = end > furthest ? end : furthest;
    }
    if (furthest != got.len)
        show("a client got what no worker sent", span_skip(got, furthest));
}

/* --- the end of a play --- */

static unsigned open_descriptors(void)
{
    unsigned n = 0;
    for (int fd = 0; fd < DESCRIPTORS; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void everybody_leaves(struct play *p)
{
    bool reset = p->flags & END_RESETS;
    for (unsigned i = 0; i < p->clients; i++)
        peer_leave(&p->client[i], reset);
    for (unsigned i = 0; i < p->upstreams; i++)
        peer_leave(&p->upstream[i], reset);
    settle(p);
    /* a peer may have come meanwhile: somebody was retried */
    for (unsigned i = 0; i < p->upstreams; i++)
        peer_leave(&p->upstream[i], reset);
    for (int n = 0; n < 5; n++)
        sweep(p);
    let_time_pass(p, LONG_MS);
    for (unsigned i = 0; i < p->upstreams; i++)
        peer_leave(&p->upstream[i], reset);
    for (int fd; (fd = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0;)
        close(fd);
    for (int n = 0; n < 5; n++)
        sweep(p);
}

static bool is_empty(const struct ctx *ctx)
{
    static const enum metric gauges[] = {M_CLIENTS,        M_EXCHANGES,    M_TUNNELS,      M_UPSTREAMS_IDLE,
                                         M_BUFFERED_BYTES, M_COPIED_BYTES, M_BUFFER_MEMORY};
    FOR_EACH (gauge, gauges)
        if (ctx->metrics.value[gauges[gauge_at]])
            return false;
    return true;
}

/* On TCP the last bytes and ends may need the kernel's own time. */
static void wait_for_kernel(struct play *p)
{
    static const struct timespec a_moment = {0, 1000000};
    for (int n = 0; n < KERNEL_WAIT_MS && !is_empty(&p->loop->ctx); n++) {
        nanosleep(&a_moment, NULL);
        sweep(p);
        let_time_pass(p, LONG_MS);
    }
}

static void check_nothing_is_left(const struct play *p)
{
    const struct ctx *ctx = &p->loop->ctx;
    CHECK(is_empty(ctx));
    CHECK(list_is_empty(&ctx->conns) && list_is_empty(&ctx->tunnels));
    for (uint16_t i = 0; i < ctx->fleet.count; i++) {
        const struct worker *w = &ctx->fleet.workers[i];
        CHECK(w->exchanges == 0 && w->tunnels == 0 && w->lone_tunnels == 0 && w->newcomers == 0);
    }
    for (int i = 0; i < DEADLINES_MAX; i++)
        CHECK(!deadlines[i]);
    check_no_address_counts(ctx->addresses);
}

static void set_settings(struct ctx *ctx, unsigned settings)
{
    static const int forward[] = {FORWARD_OFF, FORWARD_APPEND, FORWARD_REPLACE, FORWARD_REPLACE};
    static const int protocol[] = {0, 1, 2, 0};
    static const uint64_t key[2] = {1, 2};
    struct config *cfg = ctx->config;
    cfg->trust_count = settings & TRUSTED ? COUNT_OF(trust) : 2;
    cfg->forwarded_for = forward[settings / FORWARD_AT % 4];
    cfg->proxy_protocol = protocol[settings / PROTOCOL_AT % 4];
    cfg->per_address = cfg->handshakes_per_address = settings & LIMITED ? 1 : 0;
    ctx->memory_max = settings & LITTLE_MEMORY ? MEMORY_MAX : 0;
    addresses_free(ctx->addresses);
    ctx->addresses = settings & LIMITED ? addresses_new(CLIENTS, key) : NULL;
    CHECK(ctx->addresses || !(settings & LIMITED));
    entered_count = 0;
}

/* What a play may leave in a loop that is used again. */
static void reset_loop(struct loop *l)
{
    struct ctx *ctx = &l->ctx;
    ctx->random[0] = 1;
    ctx->random[1] = 0;
    ctx->next_id = 0;
    ctx->ticks = 0;
    ctx->is_draining = false;
    ctx->now_s = clock_boot_s();
    for (uint16_t i = 0; i < ctx->fleet.count; i++)
        ctx->pools[i].keep_alive_s = 0;
    cors_free(ctx->cors);
    ctx->cors = cors_new();
    CHECK(ctx->cors);
}

static void free_peers(struct peer *peers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(peers[i].sent.bytes);
        free(peers[i].got.bytes);
    }
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    uint16_t port;
    (void)argc;
    (void)argv;
    write_own_replies();
    CHECK(mkdtemp(folder));
    snprintf(socket_path, sizeof(socket_path), "%s/worker", folder);
    atexit(remove_folder);
    unix_listener = listen_unix(socket_path);
    client_listener = tcp_listen(&port, false);
    client_address =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
    tcp_listener = tcp_listen(&port, false);
    for (unsigned i = 0; i < COUNT_OF(stages); i++)
        stages[i] = stage_new(i * WORKER_TCP, port);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3 || (data[0] & (CLIENT_TCP | WORKER_TCP) && !may_use_tcp()))
        return 0;
    struct play p = {.flags = data[0], .settings = data[0] & HAS_SETTINGS ? data[1] : 0};
    struct span script = span_skip(span_of((const char *)data, size), p.flags & HAS_SETTINGS ? 2 : 1);
    p.loop = stages[(p.flags & (WORKER_TCP | OTHER_ABSENT)) / WORKER_TCP];
    p.listener = p.flags & WORKER_TCP ? tcp_listener : unix_listener;
    for (unsigned i = 0; i < UPSTREAMS; i++)
        p.upstream[i].fd = -1;
    is_small = p.flags & SMALL_BUFFERS;
    reset_loop(p.loop);
    set_settings(&p.loop->ctx, p.settings);
    unsigned descriptors = open_descriptors();
    another_client(&p);
    play_all(&p, script);
    everybody_leaves(&p);
    if (p.flags & (CLIENT_TCP | WORKER_TCP))
        wait_for_kernel(&p);
    check_workers_got(&p);
    for (unsigned i = 0; i < p.clients; i++)
        check_client_got(&p, flow_span(&p.client[i].got));
    check_nothing_is_left(&p);
    CHECK(open_descriptors() == descriptors);
    free_peers(p.client, CLIENTS);
    free_peers(p.upstream, UPSTREAMS);
    return 0;
}
