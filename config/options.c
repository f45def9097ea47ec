#include "options.h"

#include "../proxy/core/siphash.h"

#include <stdlib.h>

#define SECOND_MS   1000ull
#define MINUTE_MS   (60 * SECOND_MS)
#define HOUR_MS     (60 * MINUTE_MS)
#define DAY_MS      (24 * HOUR_MS)
#define KIB         1024ull
#define MIB         (1024 * KIB)

#define FIELD(name) .field = offsetof(struct config, name)
#define WORDS(...)  ((const char *const[]){__VA_ARGS__, NULL})

/* ---- the table --------------------------------------------------------------------------------------------------- */

const struct option_section option_sections[] = {
    {"proxy", "What siolb listens on, and what it takes for Socket.IO."},
    {"workers", "The Socket.IO processes behind siolb."},
    {"sticky", "How a session finds its worker."},
    {"timeouts", "How long siolb waits for what. Durations are written 500ms, 2s, 5m, 1h."},
    {"limits", "Ceilings. Sizes are written 65536, 64k, 1m."},
    {"forward", "Who the client is when a balancer stands in front, and what a worker is told of it."},
    {"log", "What siolb tells, and where."},
};
const size_t option_section_count = COUNT_OF(option_sections);

const struct option options[] = {
    {"proxy", "listen", OPT_LISTEN, .def = "0.0.0.0:8080",
     .help =
         "Where clients connect: address:port, [IPv6]:port, or unix:/path with mode=0660 behind it if its access "
         "rights matter. Port 0: the kernel picks one. [::] takes IPv6 only: name 0.0.0.0 too for both. proxy behind "
         "it: the peers in [forward] trust begin each connection with a PROXY header, version 1 or 2; other peers are "
         "ordinary clients there.",
     .examples = WORDS("[::]:8080", "unix:/run/siolb/http.sock mode=0660", "10.0.0.1:8080 proxy")},
    {"proxy", "path", OPT_PATH, .def = "/socket.io/",
     .help =
         "Where Engine.IO lives: the option \"path\" of the Socket.IO server. A request whose target begins with it "
         "goes by its session id, every other one is plain HTTP.",
     .examples = WORDS("/chat/socket.io/")},
    {"proxy", "balance", OPT_CHOICE, FIELD(balance), .def = "least",
     .choices = (const char *const[]){[BALANCE_LEAST] = "least",
                                      [BALANCE_P2C] = "p2c",
                                      [BALANCE_ROUND_ROBIN] = "round-robin",
                                      [BALANCE_RANDOM] = "random",
                                      [BALANCE_SOURCE] = "source",
                                      [BALANCE_POLICIES] = NULL},
     .help = "Which worker gets a newcomer: the one with the fewest live sessions by weight (least), the better of two "
             "picked at random (p2c), each in turn, any, or always the same for a client address (source)."},

    {"workers", "worker", OPT_WORKER,
     .help = "Where a worker listens: address:port, address:first-last for a range of ports, or unix:/path. weight=2 "
             "behind it: takes twice the sessions (1 to 256). localhost is 127.0.0.1. At least one is needed.",
     .examples = WORDS("127.0.0.1:3001-3004", "[::1]:3001 weight=2", "unix:/run/chat/1.sock")},

    {"sticky", "sessions", OPT_ENTRIES, FIELD(sessions), .def = "0", .min = 64, .max = 1 << 26, .zero_is_special = true,
     .help = "Entries of the session map; rounded up to a power of two. 0: 16 times the connections, at most 262144."},
    {"sticky", "cookie", OPT_COOKIE, FIELD(cookie), .def = "",
     .help = "Name of a cookie that holds the session id, as the option \"cookie\" of the Socket.IO server makes one. "
             "It is looked at when the query has no sid. Empty: none.",
     .examples = WORDS("io")},
    {"sticky", "cookie_handshakes", OPT_SWITCH, FIELD(cookie_handshakes), .def = "off",
     .help = "Whether that cookie also decides where a new handshake goes."},
    {"sticky", "sid_repeated", OPT_CHOICE, FIELD(sid_repeated), .def = "last",
     .choices = (const char *const[]){[EIO_LAST_COUNTS] = "last", [EIO_FIRST_COUNTS] = "first", NULL},
     .help = "Which of two \"sid=\" in one query counts for the workers: the last (Node) or the first (Python)."},
    {"sticky", "recover", OPT_CHOICE, FIELD(recover), .def = "hash", .choices = WORDS("ask", "hash"),
     .choice_to_build = "ask",
     .help = "Who gets a session id that siolb does not know. hash: a worker on which every siolb agrees; it answers "
             "that the session is unknown, and the client starts a new one."},

    {"timeouts", "connect", OPT_DURATION, FIELD(connect_ms), .def = "2s", .min = 1, .max = 5 * MINUTE_MS,
     .help = "Until a worker has accepted a connection."},
    {"timeouts", "head", OPT_DURATION, FIELD(head_ms), .def = "10s", .min = 1, .max = HOUR_MS,
     .help = "Until the head of a request is complete, from accept or from its first byte; no later byte restarts it."},
    {"timeouts", "keepalive", OPT_DURATION, FIELD(keepalive_ms), .def = "75s", .min = 1, .max = DAY_MS,
     .help =
         "How long a client connection stays open between two requests; should be longer than in a balancer in front."},
    {"timeouts", "response", OPT_DURATION, FIELD(response_ms), .def = "0", .min = 1, .max = DAY_MS,
     .zero_is_special = true,
     .help = "From the end of a request until the head of its answer is whole; a 1xx begins it anew. 0: pingInterval + "
             "pingTimeout + 10s in a session, 120s elsewhere."},
    {"timeouts", "stall", OPT_DURATION, FIELD(stall_ms), .def = "60s", .min = 1, .max = DAY_MS, .zero_is_special = true,
     .help = "How long bytes may wait for a reader that takes none of them. 0: for ever."},
    {"timeouts", "tunnel", OPT_DURATION, FIELD(tunnel_ms), .def = "0", .min = 1, .max = DAY_MS, .zero_is_special = true,
     .help = "Close a websocket after this long without a byte either way. 0: pingInterval + pingTimeout + 10s of its "
             "session, no limit where those are unknown."},
    {"timeouts", "drain", OPT_DURATION, FIELD(drain_ms), .def = "20s", .min = 1, .max = DAY_MS, .zero_is_special = true,
     .help =
         "After SIGTERM: how long requests may take to finish, and the time over which the closing of websockets is "
         "spread. 0: all at once."},

    {"limits", "connections", OPT_COUNT, FIELD(connections), .def = "0", .min = 1, .max = 10000000,
     .zero_is_special = true,
     .help = "Client connections at a time; further ones wait in the kernel's queue. 0: as many as RLIMIT_NOFILE "
             "allows."},
    {"limits", "per_address", OPT_COUNT, FIELD(per_address), .def = "0", .min = 1, .max = 10000000,
     .zero_is_special = true,
     .help =
         "Connections of one client address (IPv6: of one /64); one Socket.IO client takes up to three while it "
         "connects, "
         "a browser up to six. Requests on those beyond it are answered 429, and beyond twice as many a connection is "
         "reset at once. A connection that begins with a PROXY header counts for the client in it, idle or not. A peer "
         "in [forward] trust is not counted itself, but the clients that its X-Forwarded-For tells of: each with its "
         "requests under way and its websockets. Peers of unix sockets have no address to count. 0: no limit."},
    {"limits", "handshakes_per_address", OPT_COUNT, FIELD(handshakes_per_address), .def = "0", .min = 1, .max = 1000000,
     .zero_is_special = true,
     .help = "New sessions a second of one client address (IPv6: of one /64), and as many at once; those beyond it are "
             "answered 429 with Retry-After. 0: no limit."},
    {"limits", "head_size", OPT_SIZE, FIELD(head_bytes), .def = "16k", .min = KIB, .max = 64 * KIB,
     .help = "The largest head of a request or a response."},
    {"limits", "buffer", OPT_SIZE, FIELD(buffer_bytes), .def = "64k", .min = 4 * KIB, .max = 16 * MIB,
     .help = "Bytes kept for a slow reader, per direction and connection; when they are full, the writer has to wait."},
    {"limits", "memory", OPT_SIZE, FIELD(memory_bytes), .def = "0", .min = MIB, .max = 1ull << 44,
     .zero_is_special = true,
     .help = "All buffers together. When they need more, the connections with the largest ones are closed until an "
             "eighth of it is free. 0: a quarter of the machine's memory, or of what the container may have."},

    {"forward", "forwarded_for", OPT_CHOICE, FIELD(forwarded_for), .def = "off",
     .choices =
         (const char *const[]){[FORWARD_OFF] = "off", [FORWARD_APPEND] = "append", [FORWARD_REPLACE] = "replace", NULL},
     .help = "Tell the workers who the client is, by X-Forwarded-For, -Proto and -Host. append: behind the lines that "
             "the request has. replace: instead of them, so that nothing a client made up reaches a worker; behind a "
             "balancer in trust this holds for who the client is, and -Proto, -Host and the like are the balancer's to "
             "set."},
    {"forward", "trust", OPT_NETWORK, .def = "",
     .help = "Networks of the balancers in front, whose X-Forwarded-For lines and PROXY headers are believed; several "
             "in one line stand apart by blanks or commas. unix: the peers of unix sockets. Without any: nobody is "
             "believed.",
     .examples = WORDS("10.0.0.0/8, 192.168.0.0/16", "unix")},
    {"forward", "proxy_protocol", OPT_CHOICE, FIELD(proxy_protocol), .def = "off", .choices = WORDS("off", "v1", "v2"),
     .help = "Begin each connection to a worker with a PROXY header that tells the client; for workers that understand "
             "it. Every request then needs a connection of its own."},

    {"log", "file", OPT_FILE, FIELD(log_file), .def = "", .help = "Where the log goes. Empty: stderr.",
     .examples = WORDS("/var/log/siolb.log")},
    {"log", "level", OPT_CHOICE, FIELD(log_level), .def = "info",
     .choices =
         (const char *const[]){
             [LOG_ERROR] = "error", [LOG_WARN] = "warn", [LOG_INFO] = "info", [LOG_DEBUG] = "debug", NULL},
     .help = "How much it tells: each level includes those before it."},
    {"log", "access", OPT_CHOICE, FIELD(access), .def = "off",
     .choices = (const char *const[]){[ACCESS_OFF] = "off", [ACCESS_ON] = "on", [ACCESS_JSON] = "json", NULL},
     .help = "A line for every request: none, key=value, or JSON."},
};
const size_t option_count = COUNT_OF(options);

/* Settings of the design that this siolb has not got yet: a configuration that relies on one must not seem to work.
 * Keys that will join a section of above, and sections as a whole. */
static const struct to_build {
    const char *section;
    const char *const *keys;
} to_build[] = {
    {"proxy", WORDS("user", "pid_file")},
    {"workers", WORDS("resolve", "kind")},
    {"sticky", WORDS("file", "insert_cookie", "ask_per_s")},
    {"health", WORDS("check", "interval", "timeout", "rise", "fall", "slow_start", "handshakes_per_s")},
    {"timeouts", WORDS("lame")},
    {"tls", WORDS("certificate", "key", "minimum", "ciphers", "client_ca", "client_verify", "ticket_key", "worker_ca")},
    {"admin", WORDS("listen", "socket", "hosts", "token")},
    {"relay", WORDS("listen", "password", "stream_maxlen", "memory")},
};

/* ---- finding a row ----------------------------------------------------------------------------------------------- */

enum option_known option_section_find(const char *section)
{
    for (size_t i = 0; i < option_section_count; i++)
        if (strcmp(option_sections[i].name, section) == 0)
            return OPTION_KNOWN;
    for (size_t i = 0; i < COUNT_OF(to_build); i++)
        if (strcmp(to_build[i].section, section) == 0)
            return OPTION_NOT_BUILT;
    return OPTION_UNKNOWN;
}

enum option_known option_find(const char *section, const char *key, const struct option **out)
{
    for (size_t i = 0; i < option_count; i++) {
        *out = &options[i];
        if (strcmp(options[i].section, section) == 0 && strcmp(options[i].key, key) == 0)
            return OPTION_KNOWN;
    }
    *out = NULL;
    for (size_t i = 0; i < COUNT_OF(to_build); i++)
        for (const char *const *name = to_build[i].keys; *name; name++)
            if (strcmp(to_build[i].section, section) == 0 && strcmp(*name, key) == 0)
                return OPTION_NOT_BUILT;
    return OPTION_UNKNOWN;
}

const char *option_section_of(const char *key)
{
    for (size_t i = 0; i < option_count; i++)
        if (strcmp(options[i].key, key) == 0)
            return options[i].section;
    return NULL;
}

/* ---- the nearest name -------------------------------------------------------------------------------------------- */

#define NAME_BYTES_MAX 32 /* of every name in the tables, and of a misspelt one that is worth a guess */

/* Typing mistakes between two names: a letter missing, added, wrong, or two swapped (optimal string alignment). */
static size_t mistakes_between(const char *a, const char *b)
{
    size_t rows[3][NAME_BYTES_MAX + 1];
    size_t *two_up = rows[0], *up = rows[1], *row = rows[2];
    size_t width = strlen(b);
    for (size_t x = 0; x <= width; x++)
        row[x] = x;
    for (size_t y = 1; a[y - 1]; y++) {
        size_t *free_row = two_up;
        two_up = up;
        up = row;
        row = free_row;
        row[0] = y;
        for (size_t x = 1; x <= width; x++) {
            size_t best = up[x - 1] + (a[y - 1] != b[x - 1]);
            if (up[x] + 1 < best)
                best = up[x] + 1;
            if (row[x - 1] + 1 < best)
                best = row[x - 1] + 1;
            if (x > 1 && y > 1 && a[y - 1] == b[x - 2] && a[y - 2] == b[x - 1] && two_up[x - 2] + 1 < best)
                best = two_up[x - 2] + 1;
            row[x] = best;
        }
    }
    return row[width];
}

struct guess {
    const char *wrong;
    const char *nearest; /* NULL: none so far */
    size_t mistakes;
};

/* Two mistakes still make a likely name, in a short one only one. */
static void guess_try(struct guess *g, const char *name)
{
    size_t bound = strlen(name) > 4 ? 2 : 1;
    if (strlen(g->wrong) > NAME_BYTES_MAX)
        return;
    size_t mistakes = mistakes_between(g->wrong, name);
    if (mistakes > bound || (g->nearest && mistakes >= g->mistakes))
        return;
    g->nearest = name;
    g->mistakes = mistakes;
}

const char *option_section_nearest(const char *section)
{
    struct guess g = {.wrong = section};
    for (size_t i = 0; i < option_section_count; i++)
        guess_try(&g, option_sections[i].name);
    for (size_t i = 0; i < COUNT_OF(to_build); i++)
        guess_try(&g, to_build[i].section);
    return g.nearest;
}

const char *option_nearest(const char *section, const char *key)
{
    struct guess g = {.wrong = key};
    for (size_t i = 0; i < option_count; i++)
        if (strcmp(options[i].section, section) == 0)
            guess_try(&g, options[i].key);
    for (size_t i = 0; i < COUNT_OF(to_build); i++)
        for (const char *const *name = to_build[i].keys; *name; name++)
            if (strcmp(to_build[i].section, section) == 0)
                guess_try(&g, *name);
    return g.nearest;
}

/* ---- lists ------------------------------------------------------------------------------------------------------- */

static bool out_of_memory(struct value_why *why)
{
    return value_refuse(why, "out of memory");
}

/* Room for `more` elements behind `count` ones. */
static void *list_grow(void *list, size_t count, size_t more, size_t element_bytes)
{
    return reallocarray(list, count + more, element_bytes);
}

static bool has_listen(const struct config *c, const char *name)
{
    for (size_t i = 0; i < c->listen_count; i++)
        if (strcmp(c->listens[i].name, name) == 0)
            return true;
    return false;
}

static bool set_listen(const struct option *o, struct config *c, struct span text, struct value_why *why)
{
    (void)o;
    struct value_listen said;
    char name[VALUE_ADDRESS_TEXT_MAX];
    if (!value_listen(text, &said, why))
        return false;
    value_print_address(&said.address, name);
    /* Two ports that the kernel picks are two addresses. */
    bool kernel_picks = said.address.addr.any.sa_family != AF_UNIX && value_port(&said.address) == 0;
    if (!kernel_picks && has_listen(c, name))
        return value_refuse(why, "%s is listened on already", name);
    if (c->listen_count == CONFIG_LISTENS_MAX)
        return value_refuse(why, "more than %d addresses", CONFIG_LISTENS_MAX);

    struct config_listen *grown = list_grow(c->listens, c->listen_count, 1, sizeof *grown);
    if (!grown)
        return out_of_memory(why);
    c->listens = grown;
    struct config_listen new = {
        .address = said.address, .name = strdup(name), .unix_mode = said.unix_mode, .takes_proxy = said.takes_proxy};
    if (!new.name)
        return out_of_memory(why);
    c->listens[c->listen_count++] = new;
    return true;
}

static void clear_listens(const struct option *o, struct config *c)
{
    (void)o;
    for (size_t i = 0; i < c->listen_count; i++)
        free(c->listens[i].name);
    free(c->listens);
    c->listens = NULL;
    c->listen_count = 0;
}

static void print_listens(const struct option *o, const struct config *c, FILE *out)
{
    for (size_t i = 0; i < c->listen_count; i++) {
        fprintf(out, "%s = %s", o->key, c->listens[i].name);
        if (c->listens[i].unix_mode != 0)
            fprintf(out, " mode=%04o", (unsigned)c->listens[i].unix_mode);
        if (c->listens[i].takes_proxy)
            fputs(" proxy", out);
        fputc('\n', out);
    }
}

static bool set_path(const struct option *o, struct config *c, struct span text, struct value_why *why)
{
    (void)o;
    if (!value_path(text, why))
        return false;
    for (size_t i = 0; i < c->path_count; i++)
        if (span_equal(c->paths[i], text))
            return value_refuse(why, "%.*s is there already", value_quoted(text));
    if (c->path_count == CONFIG_PATHS_MAX)
        return value_refuse(why, "more than %d paths", CONFIG_PATHS_MAX);

    struct span *grown = list_grow(c->paths, c->path_count, 1, sizeof *grown);
    if (!grown)
        return out_of_memory(why);
    c->paths = grown;
    char *owned = strndup(text.ptr, text.len);
    if (!owned)
        return out_of_memory(why);
    c->paths[c->path_count++] = span_of(owned, text.len);
    return true;
}

static void clear_paths(const struct option *o, struct config *c)
{
    (void)o;
    for (size_t i = 0; i < c->path_count; i++)
        free((void *)c->paths[i].ptr);
    free(c->paths);
    c->paths = NULL;
    c->path_count = 0;
}

static void print_paths(const struct option *o, const struct config *c, FILE *out)
{
    for (size_t i = 0; i < c->path_count; i++)
        fprintf(out, "%s = %.*s\n", o->key, (int)c->paths[i].len, c->paths[i].ptr);
}

/* ---- networks ---------------------------------------------------------------------------------------------------- */

#define NETWORKS_MAX 1000

static bool add_network(struct config *c, const struct ip_network *network, struct value_why *why)
{
    if (c->trust_count == NETWORKS_MAX)
        return value_refuse(why, "more than %d networks", NETWORKS_MAX);
    struct ip_network *grown = list_grow(c->trust, c->trust_count, 1, sizeof *grown);
    if (!grown)
        return out_of_memory(why);
    c->trust = grown;
    c->trust[c->trust_count++] = *network;
    return true;
}

static bool set_networks(const struct option *o, struct config *c, struct span text, struct value_why *why)
{
    (void)o;
    struct span element;
    struct ip_network network;
    while (value_take_element(&text, &element))
        if (!value_network(element, &network, why) || !add_network(c, &network, why))
            return false;
    return true;
}

static void clear_networks(const struct option *o, struct config *c)
{
    (void)o;
    free(c->trust);
    c->trust = NULL;
    c->trust_count = 0;
}

static void print_networks(const struct option *o, const struct config *c, FILE *out)
{
    char text[VALUE_NETWORK_TEXT_MAX];
    if (c->trust_count == 0)
        fprintf(out, "%s =\n", o->key);
    for (size_t i = 0; i < c->trust_count; i++) {
        value_print_network(&c->trust[i], text);
        fprintf(out, "%s = %s\n", o->key, text);
    }
}

/* ---- workers ----------------------------------------------------------------------------------------------------- */

/* The same in every siolb, so that all of them hash and name a worker alike: no secret, and never to be changed. */
static const uint64_t identity_key[2] = {0x73696f6c6220776full, 0x726b657220696431ull};

static bool has_worker(const struct config *c, const char *name)
{
    for (size_t i = 0; i < c->worker_count; i++)
        if (strcmp(c->workers[i].name, name) == 0)
            return true;
    return false;
}

static struct address worker_address(const struct value_worker *w, size_t nth)
{
    struct address a = w->first;
    value_set_port(&a, (uint16_t)(value_port(&w->first) + nth));
    return a;
}

static bool add_worker(struct config *c, const struct value_worker *w, size_t nth, struct value_why *why)
{
    struct address address = worker_address(w, nth);
    char name[VALUE_ADDRESS_TEXT_MAX];
    value_print_address(&address, name);
    struct config_worker new = {.address = address,
                                .name = strdup(name),
                                .identity = siphash(identity_key, span_from_str(name)),
                                .weight = w->weight,
                                .is_in_range = w->is_range};
    if (!new.name)
        return out_of_memory(why);
    c->workers[c->worker_count++] = new;
    return true;
}

bool option_add_workers(struct config *c, const struct value_worker *w, struct value_why *why)
{
    size_t more = w->is_range ? (size_t)(w->last_port - value_port(&w->first)) + 1 : 1;
    if (c->worker_count + more > WORKERS_MAX)
        return value_refuse(why, "more than %d workers (%zu)", WORKERS_MAX, c->worker_count + more);
    for (size_t i = 0; i < more; i++) {
        char name[VALUE_ADDRESS_TEXT_MAX];
        struct address address = worker_address(w, i);
        value_print_address(&address, name);
        if (has_worker(c, name))
            return value_refuse(why, "%s is a worker already", name);
    }
    struct config_worker *grown = list_grow(c->workers, c->worker_count, more, sizeof *grown);
    if (!grown)
        return out_of_memory(why);
    c->workers = grown;
    for (size_t i = 0; i < more; i++)
        if (!add_worker(c, w, i, why))
            return false;
    return true;
}

static bool set_worker(const struct option *o, struct config *c, struct span text, struct value_why *why)
{
    (void)o;
    struct value_worker said;
    return value_worker(text, &said, why) && option_add_workers(c, &said, why);
}

static void clear_workers(const struct option *o, struct config *c)
{
    (void)o;
    for (size_t i = 0; i < c->worker_count; i++)
        free(c->workers[i].name);
    free(c->workers);
    c->workers = NULL;
    c->worker_count = 0;
}

/* Would `next` have come from the same range as `w`, `nth` places further on? */
static bool continues_range(const struct config_worker *w, const struct config_worker *next, size_t nth)
{
    struct address expected = w->address;
    char name[VALUE_ADDRESS_TEXT_MAX];
    size_t port = value_port(&w->address) + nth;
    if (!w->is_in_range || !next->is_in_range || w->weight != next->weight || port > UINT16_MAX)
        return false;
    value_set_port(&expected, (uint16_t)port);
    value_print_address(&expected, name);
    return strcmp(name, next->name) == 0;
}

static void print_workers(const struct option *o, const struct config *c, FILE *out)
{
    for (size_t i = 0, n; i < c->worker_count; i += n) {
        const struct config_worker *w = &c->workers[i];
        for (n = 1; i + n < c->worker_count && continues_range(w, &w[n], n); n++)
            ;
        fprintf(out, "%s = %s", o->key, w->name);
        if (w->is_in_range)
            fprintf(out, "-%u", value_port(&w[n - 1].address));
        if (w->weight != 1)
            fprintf(out, " weight=%u", w->weight);
        fputc('\n', out);
    }
}

/* ---- single values ----------------------------------------------------------------------------------------------- */

static void *field_of(const struct option *o, struct config *c)
{
    return (char *)c + o->field;
}

static const void *field_in(const struct option *o, const struct config *c)
{
    return (const char *)c + o->field;
}

static bool is_to_build(const struct option *o, const char *choice)
{
    return o->choice_to_build && strcmp(o->choice_to_build, choice) == 0;
}

static bool set_choice(const struct option *o, struct config *c, struct span text, struct value_why *why)
{
    char range[OPTION_RANGE_TEXT_MAX];
    for (int i = 0; o->choices[i]; i++) {
        if (!span_equal(text, span_from_str(o->choices[i])))
            continue;
        if (is_to_build(o, o->choices[i]))
            return value_refuse(why, "\"%s\" is not built yet", o->choices[i]);
        *(int *)field_of(o, c) = i;
        return true;
    }
    option_range_text(o, range);
    return value_refuse(why, "\"%.*s\" is not possible; it is one of: %s", value_quoted(text), range);
}

static void print_choice(const struct option *o, const struct config *c, FILE *out)
{
    fprintf(out, "%s = %s\n", o->key, o->choices[*(const int *)field_in(o, c)]);
}

static bool set_switch(const struct option *o, struct config *c, struct span text, struct value_why *why)
{
    bool on = span_equal(text, SPAN("on"));
    if (!on && !span_equal(text, SPAN("off")))
        return value_refuse(why, "\"%.*s\" is neither on nor off", value_quoted(text));
    *(bool *)field_of(o, c) = on;
    return true;
}

static void print_switch(const struct option *o, const struct config *c, FILE *out)
{
    fprintf(out, "%s = %s\n", o->key, *(const bool *)field_in(o, c) ? "on" : "off");
}

static void print_count_text(uint64_t n, char out[VALUE_TEXT_MAX])
{
    (void)snprintf(out, VALUE_TEXT_MAX, "%llu", (unsigned long long)n);
}

/* How the kinds that are numbers are read and written. */
static const struct number {
    bool (*read)(struct span text, uint64_t *out, struct value_why *why);
    void (*print)(uint64_t n, char out[VALUE_TEXT_MAX]);
} numbers[OPT_KINDS] = {
    [OPT_COUNT] = {value_count, print_count_text},
    [OPT_ENTRIES] = {value_count, print_count_text},
    [OPT_DURATION] = {value_duration, value_print_duration},
    [OPT_SIZE] = {value_size, value_print_size},
};

static bool set_number(const struct option *o, struct config *c, struct span text, struct value_why *why)
{
    uint64_t n;
    char range[OPTION_RANGE_TEXT_MAX];
    if (!numbers[o->kind].read(text, &n, why))
        return false;
    bool is_special = n == 0 && o->zero_is_special;
    if (!is_special && (n < o->min || n > o->max)) {
        option_range_text(o, range);
        return value_refuse(why, "%.*s is out of range: %s", value_quoted(text), range);
    }
    *(uint64_t *)field_of(o, c) = n;
    return true;
}

/* The session map counts its places in powers of two; `max` is one, so that this stays in range. */
static bool set_entries(const struct option *o, struct config *c, struct span text, struct value_why *why)
{
    if (!set_number(o, c, text, why))
        return false;
    uint64_t *entries = field_of(o, c);
    if (*entries & (*entries - 1))
        *entries = 1ull << (64 - __builtin_clzll(*entries));
    return true;
}

static void print_number(const struct option *o, const struct config *c, FILE *out)
{
    char text[VALUE_TEXT_MAX];
    numbers[o->kind].print(*(const uint64_t *)field_in(o, c), text);
    fprintf(out, "%s = %s\n", o->key, text);
}

static void clear_text(const struct option *o, struct config *c)
{
    char **field = field_of(o, c);
    free(*field);
    *field = NULL;
}

static bool keep_text(const struct option *o, struct config *c, struct span text, struct value_why *why)
{
    char *owned = strndup(text.ptr, text.len);
    if (!owned)
        return out_of_memory(why);
    clear_text(o, c);
    *(char **)field_of(o, c) = owned;
    return true;
}

static bool set_cookie(const struct option *o, struct config *c, struct span text, struct value_why *why)
{
    return value_cookie_name(text, why) && keep_text(o, c, text, why);
}

static bool set_file(const struct option *o, struct config *c, struct span text, struct value_why *why)
{
    return value_file_name(text, why) && keep_text(o, c, text, why);
}

static void print_text(const struct option *o, const struct config *c, FILE *out)
{
    const char *text = *(char *const *)field_in(o, c);
    fprintf(out, text[0] ? "%s = %s\n" : "%s =\n", o->key, text);
}

/* ---- what each kind of setting can do ---------------------------------------------------------------------------- */

static const struct kind {
    bool (*set)(const struct option *o, struct config *c, struct span text, struct value_why *why);
    void (*print)(const struct option *o, const struct config *c, FILE *out);
    void (*clear)(const struct option *o, struct config *c); /* NULL: holds no memory */
    const char *range;                                       /* in words; NULL: made from the row */
    bool is_repeatable;
} kinds[OPT_KINDS] = {
    [OPT_LISTEN] = {set_listen, print_listens, clear_listens, "an address to listen on", true},
    [OPT_PATH] = {set_path, print_paths, clear_paths, "a path", true},
    [OPT_WORKER] = {set_worker, print_workers, clear_workers, "an address or a range of them", true},
    [OPT_NETWORK] = {set_networks, print_networks, clear_networks, "networks, or empty", true},
    [OPT_CHOICE] = {set_choice, print_choice, NULL, NULL, false},
    [OPT_SWITCH] = {set_switch, print_switch, NULL, "on, off", false},
    [OPT_COUNT] = {set_number, print_number, NULL, NULL, false},
    [OPT_ENTRIES] = {set_entries, print_number, NULL, NULL, false},
    [OPT_DURATION] = {set_number, print_number, NULL, NULL, false},
    [OPT_SIZE] = {set_number, print_number, NULL, NULL, false},
    [OPT_COOKIE] = {set_cookie, print_text, clear_text, "a cookie's name, or empty", false},
    [OPT_FILE] = {set_file, print_text, clear_text, "a file's name, or empty", false},
};

bool option_is_repeatable(const struct option *o)
{
    return kinds[o->kind].is_repeatable;
}

bool option_set(const struct option *o, struct config *c, struct span text, struct value_why *why)
{
    return kinds[o->kind].set(o, c, text, why);
}

void option_clear(const struct option *o, struct config *c)
{
    if (kinds[o->kind].clear)
        kinds[o->kind].clear(o, c);
}

void option_print(const struct option *o, const struct config *c, FILE *out)
{
    kinds[o->kind].print(o, c, out);
}

static void choices_text(const struct option *o, char out[OPTION_RANGE_TEXT_MAX])
{
    size_t len = 0;
    out[0] = '\0';
    for (const char *const *choice = o->choices; *choice && len < OPTION_RANGE_TEXT_MAX; choice++)
        if (!is_to_build(o, *choice))
            len += (size_t)snprintf(out + len, OPTION_RANGE_TEXT_MAX - len, "%s%s", len ? ", " : "", *choice);
}

void option_range_text(const struct option *o, char out[OPTION_RANGE_TEXT_MAX])
{
    char min[VALUE_TEXT_MAX];
    char max[VALUE_TEXT_MAX];
    if (kinds[o->kind].range) {
        (void)snprintf(out, OPTION_RANGE_TEXT_MAX, "%s", kinds[o->kind].range);
    } else if (o->kind == OPT_CHOICE) {
        choices_text(o, out);
    } else {
        numbers[o->kind].print(o->min, min);
        numbers[o->kind].print(o->max, max);
        (void)snprintf(out, OPTION_RANGE_TEXT_MAX, "%s%s to %s", o->zero_is_special ? "0, or " : "", min, max);
    }
}
