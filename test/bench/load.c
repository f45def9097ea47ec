/*
 * load - clients in one process, and the meter: what a unit of work costs the process in between.
 *
 *     load poll  <port> <connections> <units> <pid>...           polls on keep-alive connections, each with its own sid
 *     load echo  <port> <connections> <units> <bytes> <pid>...   messages of that size through tunnels and back
 *     load idle  <port> <connections> <pid>...                   tunnels that are opened and then left alone
 *
 * The pids are those of the proxy. poll and echo keep one message under way on each connection; after a tenth of the
 * units as warm-up the meter is read, and again after all units. Prints one line:
 *
 *     units=200000 cpu_ns=3201441021 wall_ns=3304417000 misrouted=0        cpu of the proxy: /proc/PID/task/x/schedstat
 *     tunnels=5000 seconds=4 rss_before=5120000 rss_after=7720000 pss_after=... idle_cpu_ns=12000
 *                                            bytes, /proc/PID/smaps_rollup; cpu over those seconds of rest
 *
 * Any answer that is not the expected one ends it: there are no figures of a run that failed.
 */
#include "common.h"

#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ANSWER_BYTES  2048
#define IDLE_SECONDS  4
#define SECONDS_MAX   30 /* then the kernel ends us: nobody waits for ever for an answer that got lost */
#define CACHE_BUSTER  8
#define REQUEST_BYTES 1024

struct client {
    int fd;
    uint32_t got; /* bytes of the answer so far */
    char sid[SID_BYTES + 1];
    char answer[ANSWER_BYTES]; /* polling only; a message that came back is only counted */
};

struct load {
    uint16_t port;
    unsigned long connections, units;
    size_t message_bytes;
    char **pids; /* up to a NULL */
    struct client *clients;
    char *message; /* echo: a masked binary frame */
    unsigned long done, misrouted;
};

static char shared[SHARED_BYTES];

/* What a browser sends along: polls have heads of about 480 bytes. */
#define BROWSER_LINES                                                                                                  \
    "Host: chat.example.com\r\n"                                                                                       \
    "Connection: %s\r\n"                                                                                               \
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 "             \
    "Safari/537.36\r\n"                                                                                                \
    "Accept: */*\r\n"                                                                                                  \
    "Referer: https://chat.example.com/\r\n"                                                                           \
    "Accept-Encoding: gzip, deflate, br\r\n"                                                                           \
    "Accept-Language: en-US,en;q=0.9\r\n"                                                                              \
    "Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\n"                                 \
    "Cookie: lang=en; theme=dark\r\n"

#define UPGRADE_LINES                                                                                                  \
    "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

/* The meter. */

/* The number behind `word` at the start of a line of a file in /proc. */
static uint64_t figure_in(const char *path, const char *word)
{
    char line[256];
    const size_t word_len = strlen(word);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        die("%s: %s", path, strerror(errno));
    while (fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, word, word_len) == 0) {
            fclose(file);
            return strtoull(line + word_len, NULL, 10);
        }
    die("%s: no line \"%s\"", path, word);
}

static uint64_t cpu_ns_of(const char *pid)
{
    char pattern[64];
    glob_t found;
    snprintf(pattern, sizeof pattern, "/proc/%s/task/*/schedstat", pid);
    if (glob(pattern, 0, NULL, &found) != 0)
        die("no process %s", pid);
    uint64_t sum = 0;
    for (size_t at = 0; at < found.gl_pathc; at++)
        sum += figure_in(found.gl_pathv[at], "");
    globfree(&found);
    return sum;
}

static uint64_t memory_of(const char *pid, const char *word)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%s/smaps_rollup", pid);
    return figure_in(path, word) * 1024;
}

static uint64_t cpu_ns(const struct load *l)
{
    uint64_t sum = 0;
    for (char **pid = l->pids; *pid != NULL; pid++)
        sum += cpu_ns_of(*pid);
    return sum;
}

static uint64_t memory(const struct load *l, const char *word)
{
    uint64_t sum = 0;
    for (char **pid = l->pids; *pid != NULL; pid++)
        sum += memory_of(*pid, word);
    return sum;
}

/* Setting up, one connection after the other, blocking. */

/* Read until `answer` (a C string then) holds a whole head; returns where the head ends. */
static size_t read_head(int fd, char answer[ANSWER_BYTES], size_t *got_out)
{
    size_t got = 0;
    for (;;) {
        const ssize_t more = recv_some(fd, answer + got, ANSWER_BYTES - 1 - got);
        if (more <= 0)
            die("the connection ended after %zu bytes of an answer", got);
        got += (size_t)more;
        answer[got] = '\0';
        const char *end = strstr(answer, "\r\n\r\n");
        if (end != NULL) {
            *got_out = got;
            return (size_t)(end - answer) + 4;
        }
    }
}

/* Read until `answer` holds `text` and SID_BYTES behind it; returns that place. */
static const char *read_until(int fd, char answer[ANSWER_BYTES], size_t got, const char *text)
{
    for (;;) {
        const char *found = strstr(answer, text);
        if (found != NULL && found[strlen(text) + SID_BYTES] == '"' && answer[got - 1] == '}')
            return found + strlen(text);
        const ssize_t more = recv_some(fd, answer + got, ANSWER_BYTES - 1 - got);
        if (more <= 0)
            die("no open packet in \"%s\"", answer);
        got += (size_t)more;
        answer[got] = '\0';
        if (strlen(answer) != got)
            die("a zero byte in an answer");
    }
}

static void open_session(struct client *c, uint16_t port)
{
    char request[REQUEST_BYTES];
    const int bytes =
        snprintf(request, sizeof request,
                 "GET /socket.io/?EIO=4&transport=polling&t=PX000000 HTTP/1.1\r\n" BROWSER_LINES "\r\n", "keep-alive");
    c->fd = connect_open(port);
    send_all(c->fd, request, (size_t)bytes);
    size_t got;
    read_head(c->fd, c->answer, &got);
    if (strncmp(c->answer, "HTTP/1.1 200 ", 13) != 0)
        die("handshake: \"%s\"", c->answer);
    memcpy(c->sid, read_until(c->fd, c->answer, got, "\"sid\":\""), SID_BYTES);
}

static void open_tunnel(struct client *c, uint16_t port)
{
    char request[REQUEST_BYTES], answer[ANSWER_BYTES];
    const int bytes = snprintf(
        request, sizeof request,
        "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n" BROWSER_LINES UPGRADE_LINES "\r\n", "Upgrade");
    c->fd = connect_open(port);
    send_all(c->fd, request, (size_t)bytes);
    size_t got;
    read_head(c->fd, answer, &got);
    if (strncmp(answer, "HTTP/1.1 101 ", 13) != 0)
        die("upgrade: \"%s\"", answer);
    read_until(c->fd, answer, got, "\"sid\":\"");
}

static void open_all(struct load *l, void (*open_one)(struct client *, uint16_t))
{
    l->clients = calloc(l->connections, sizeof *l->clients);
    if (l->clients == NULL)
        die("out of memory");
    for (unsigned long at = 0; at < l->connections; at++)
        open_one(&l->clients[at], l->port);
}

/* Work, all connections at once. */

static void send_poll(const struct load *l, struct client *c)
{
    /* the request is the same for all but for the cache buster and the sid */
    static char request[REQUEST_BYTES];
    static size_t bytes;
    static char *buster, *sid;
    if (bytes == 0) {
        bytes = (size_t)snprintf(request, sizeof request,
                                 "GET /socket.io/?EIO=4&transport=polling&t=PX000000&sid=%*s HTTP/1.1\r\n" BROWSER_LINES
                                 "\r\n",
                                 SID_BYTES, "", "keep-alive");
        buster = strstr(request, "PX000000");
        sid = strstr(request, "&sid=") + 5;
    }
    unsigned long left = l->done;
    for (size_t digit = CACHE_BUSTER; digit-- > 2; left >>= 4)
        buster[digit] = "0123456789abcdef"[left & 15];
    memcpy(sid, c->sid, SID_BYTES);
    send_all(c->fd, request, bytes);
}

/* True: the answer is whole. */
static bool on_poll_readable(struct load *l, struct client *c)
{
    const ssize_t got = recv_some(c->fd, c->answer + c->got, ANSWER_BYTES - 1 - c->got);
    if (got < 0)
        return false;
    c->got += (uint32_t)got;
    c->answer[c->got] = '\0';
    if (got == 0 || (c->got >= 13 && strncmp(c->answer, "HTTP/1.1 200 ", 13) != 0))
        die("poll %lu: \"%s\" and %s", l->done, c->answer, got == 0 ? "the end" : "so on");
    const char *body = memmem(c->answer, c->got, "\r\n\r\n", 4);
    if (body == NULL)
        return false;
    const char *length = strcasestr(c->answer, "\r\ncontent-length: ");
    if (length == NULL || length > body)
        die("no length in \"%s\"", c->answer);
    const char *whole = body + 4 + strtoul(length + 18, NULL, 10);
    if (whole > c->answer + c->got)
        return false;
    const char *mark = strstr(body, WORKER_MARK);
    if (mark == NULL || whole != c->answer + c->got)
        die("poll %lu: \"%s\"", l->done, c->answer);
    l->misrouted += mark[sizeof WORKER_MARK - 1] != c->sid[0];
    return true;
}

static void send_message(const struct load *l, struct client *c)
{
    send_all(c->fd, l->message, l->message_bytes);
}

static bool on_message_readable(struct load *l, struct client *c)
{
    const ssize_t got = recv_some(c->fd, shared, sizeof shared);
    if (got < 0)
        return false;
    c->got += (uint32_t)got;
    if (got == 0 || c->got > l->message_bytes)
        die("message %lu: %s", l->done, got == 0 ? "the connection ended" : "more came back than was sent");
    return c->got == l->message_bytes;
}

/* A masked binary frame (RFC 6455 5.2) of message_bytes in all. */
static void make_message(struct load *l)
{
    const size_t head = l->message_bytes < 126 + 6 ? 6 : 8;
    if (l->message_bytes < head || l->message_bytes > UINT16_MAX)
        die("a message has %zu to %d bytes", head, UINT16_MAX);
    l->message = malloc(l->message_bytes);
    if (l->message == NULL)
        die("out of memory");
    memset(l->message, 'x', l->message_bytes);
    const size_t payload = l->message_bytes - head;
    l->message[0] = '\x82';
    l->message[1] = (char)(0x80 | (head == 6 ? payload : 126));
    if (head == 8) {
        l->message[2] = (char)(payload >> 8);
        l->message[3] = (char)payload;
    }
}

static void work(struct load *l, void (*send_one)(const struct load *, struct client *),
                 bool (*on_readable)(struct load *, struct client *))
{
    const int loop = loop_new();
    for (unsigned long at = 0; at < l->connections; at++) {
        set_nonblocking(l->clients[at].fd);
        loop_add(loop, l->clients[at].fd, &l->clients[at]);
    }
    for (unsigned long at = 0; at < l->connections; at++) {
        l->clients[at].got = 0;
        send_one(l, &l->clients[at]);
    }
    const unsigned long warm = l->units / 10;
    uint64_t cpu = 0, wall = 0;
    while (l->done < warm + l->units) {
        struct epoll_event events[EVENTS_MAX];
        const int count = epoll_wait(loop, events, EVENTS_MAX, -1);
        for (int at = 0; at < count; at++) {
            struct client *c = events[at].data.ptr;
            if (!on_readable(l, c))
                continue;
            if (l->done++ == warm) {
                cpu = cpu_ns(l);
                wall = now_ns();
                l->misrouted = 0;
            }
            c->got = 0;
            send_one(l, c);
        }
    }
    printf("units=%lu cpu_ns=%llu wall_ns=%llu misrouted=%lu\n", l->done - warm, (unsigned long long)(cpu_ns(l) - cpu),
           (unsigned long long)(now_ns() - wall), l->misrouted);
}

static void stay_idle(struct load *l)
{
    const uint64_t before = memory(l, "Rss:");
    open_all(l, open_tunnel);
    sleep(1); /* what is only left over from opening goes now */
    const uint64_t cpu = cpu_ns(l);
    sleep(IDLE_SECONDS);
    const uint64_t idle_cpu = cpu_ns(l) - cpu;
    printf("tunnels=%lu seconds=%d rss_before=%llu rss_after=%llu pss_after=%llu idle_cpu_ns=%llu\n", l->connections,
           IDLE_SECONDS, (unsigned long long)before, (unsigned long long)memory(l, "Rss:"),
           (unsigned long long)memory(l, "Pss:"), (unsigned long long)idle_cpu);
}

/* Leave with RST: no port stays in TIME_WAIT for the next round. */
static void close_all(struct load *l)
{
    const struct linger now = {.l_onoff = 1, .l_linger = 0};
    for (unsigned long at = 0; at < l->connections; at++) {
        setsockopt(l->clients[at].fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        close(l->clients[at].fd);
    }
    free(l->clients);
    free(l->message);
}

int main(int argc, char **argv)
{
    static const char usage[] = "usage: load poll|idle|echo <port> <connections> [<units> [<bytes>]] <pid>...";
    const char *what = argc > 1 ? argv[1] : "";
    const bool is_poll = strcmp(what, "poll") == 0, is_echo = strcmp(what, "echo") == 0;
    const int first_pid = is_echo ? 6 : is_poll ? 5 : 4;
    if (argc <= first_pid || !(is_poll || is_echo || strcmp(what, "idle") == 0))
        die(usage);
    alarm(SECONDS_MAX);
    struct load l = {
        .port = (uint16_t)number_from(argv[2], "port", UINT16_MAX),
        .connections = number_from(argv[3], "connections", 1000ul * 1000),
        .units = is_poll || is_echo ? number_from(argv[4], "units", 100ul * 1000 * 1000) : 0,
        .message_bytes = is_echo ? number_from(argv[5], "bytes", UINT16_MAX) : 0,
        .pids = argv + first_pid,
    };
    if (is_poll) {
        open_all(&l, open_session);
        work(&l, send_poll, on_poll_readable);
    } else if (is_echo) {
        make_message(&l);
        open_all(&l, open_tunnel);
        work(&l, send_message, on_message_readable);
    } else {
        stay_idle(&l);
    }
    close_all(&l);
    return 0;
}
