/*
 * worker - several fake Socket.IO workers in one process: as fast as can be, so that the proxy in front is what counts.
 *
 *     worker <how many>        prints "ports=<port>,<port>,..." and serves until it is killed
 *
 * Each listens on a port of its own and knows its sids by their first letter. Answers are as long, and have the same
 * lines, as those of a Node worker (PROTOCOL 3, 6, 8):
 *
 *   GET ... transport=polling, no sid     an open packet with a new sid; also as cookie, which is all that HAProxy
 *                                         could learn it from
 *   GET ... transport=polling&sid=...     at once a small message that names this worker, be it ours or not: nginx
 *                                         cannot do better than to guess, and shall not fail for it
 *   GET ... transport=websocket           101 and the open frame in one segment; from then on every byte comes back
 *
 * Requests come one at a time per connection, and without bodies.
 */
#include "common.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define WORKERS_MAX 26 /* letters */
#define HEAD_BYTES  2048

/* Of a listening socket or of a connection: what an event belongs to. */
struct conn {
    int fd;
    char letter; /* of the worker */
    bool is_listener;
    bool is_tunnel;
    uint16_t got; /* bytes of the request head so far */
    char head[];  /* HEAD_BYTES; none in a listener */
};

static char shared[SHARED_BYTES];

#define NODE_LINES                                                                                                     \
    "cache-control: no-store\r\nDate: Sat, 22 Nov 2025 12:00:00 GMT\r\nConnection: keep-alive\r\n"                     \
    "Keep-Alive: timeout=5\r\n\r\n"

/* The key in the requests of load.c is the one of RFC 6455 1.3, and so is the answer. */
#define UPGRADE_HEAD                                                                                                   \
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"                                \
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"

static void sid_new(char letter, char sid[SID_BYTES + 1])
{
    static uint32_t minted;
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    sid[0] = letter;
    for (size_t at = 1; at < SID_BYTES; at++)
        sid[at] = alphabet[random() & 63];
    uint32_t counter = minted++;
    for (size_t at = SID_BYTES - 4; at < SID_BYTES; at++, counter >>= 6)
        sid[at] = alphabet[counter & 63];
    sid[SID_BYTES] = '\0';
}

static void answer_handshake(struct conn *c)
{
    char sid[SID_BYTES + 1], body[256], answer[1024];
    sid_new(c->letter, sid);
    const int body_bytes =
        snprintf(body, sizeof body,
                 "0{\"sid\":\"%s\",\"upgrades\":[\"websocket\"],\"pingInterval\":25000,\"pingTimeout\":20000,"
                 "\"maxPayload\":1000000}",
                 sid);
    const int bytes = snprintf(answer, sizeof answer,
                               "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=UTF-8\r\nContent-Length: %d\r\n"
                               "Set-Cookie: io=%s; Path=/; HttpOnly; SameSite=Lax\r\n" NODE_LINES "%s",
                               body_bytes, sid, body);
    send_all(c->fd, answer, (size_t)bytes);
}

static void answer_poll(struct conn *c)
{
    char answer[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=UTF-8\r\nContent-Length: 56\r\n" NODE_LINES
                    "42[\"message\",{\"text\":\"hello\",\"room\":\"lobby\"," WORKER_MARK "A\"}]";
    answer[sizeof answer - sizeof "A\"}]"] = c->letter;
    send_all(c->fd, answer, sizeof answer - 1);
}

static void answer_upgrade(struct conn *c)
{
    char sid[SID_BYTES + 1], answer[512];
    sid_new(c->letter, sid);
    const int bytes = snprintf(answer, sizeof answer,
                               UPGRADE_HEAD "\x81%c0{\"sid\":\"%s\",\"upgrades\":[],\"pingInterval\":25000,"
                                            "\"pingTimeout\":20000,\"maxPayload\":1000000}",
                               107, sid);
    send_all(c->fd, answer, (size_t)bytes);
    c->is_tunnel = true;
}

static void conn_close(struct conn *c)
{
    close(c->fd);
    free(c);
}

/* Read one message and answer it. An end that came with it shows as another event or in the next read. */
static void on_readable(struct conn *c, bool may_be_over)
{
    ssize_t got;
    if (c->is_tunnel) {
        do {
            got = recv_some(c->fd, shared, sizeof shared);
            if (got > 0)
                send_all(c->fd, shared, (size_t)got);
        } while (got == (ssize_t)sizeof shared || (got > 0 && may_be_over));
        if (got == 0)
            conn_close(c);
        return;
    }
    got = recv_some(c->fd, c->head + c->got, (size_t)(HEAD_BYTES - c->got));
    if (got == 0 || (got > 0 && may_be_over)) {
        conn_close(c);
        return;
    }
    if (got < 0)
        return;
    c->got = (uint16_t)(c->got + got);
    if (c->got < 4 || memcmp(c->head + c->got - 4, "\r\n\r\n", 4) != 0) {
        if (c->got == HEAD_BYTES)
            die("a request head of over %d bytes", HEAD_BYTES);
        return;
    }
    const char *line_end = memchr(c->head, '\r', c->got);
    const size_t line_bytes = (size_t)(line_end - c->head);
    c->got = 0;
    if (memmem(c->head, line_bytes, "transport=websocket", 19) != NULL)
        answer_upgrade(c);
    else if (memmem(c->head, line_bytes, "&sid=", 5) != NULL)
        answer_poll(c);
    else
        answer_handshake(c);
}

static struct conn *conn_new(int loop, int fd, char letter, size_t head_bytes)
{
    struct conn *c = malloc(sizeof *c + head_bytes);
    if (c == NULL)
        die("out of memory");
    *c = (struct conn){.fd = fd, .letter = letter};
    loop_add(loop, fd, c);
    return c;
}

int main(int argc, char **argv)
{
    if (argc != 2)
        die("usage: worker <how many>");
    const unsigned long workers = number_from(argv[1], "how many", WORKERS_MAX);
    const int loop = loop_new();
    for (unsigned long w = 0; w < workers; w++) {
        const int fd = listen_open(0);
        conn_new(loop, fd, (char)('A' + w), 0)->is_listener = true;
        printf("%s%u", w == 0 ? "ports=" : ",", listen_port(fd));
    }
    putchar('\n');
    fflush(stdout);
    for (;;) {
        struct epoll_event events[EVENTS_MAX];
        const int count = epoll_wait(loop, events, EVENTS_MAX, -1);
        for (int at = 0; at < count; at++) {
            struct conn *c = events[at].data.ptr;
            if (!c->is_listener) {
                on_readable(c, events[at].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR));
                continue;
            }
            for (int fd; (fd = listen_accept(c->fd)) >= 0;)
                conn_new(loop, fd, c->letter, HEAD_BYTES);
        }
    }
}
