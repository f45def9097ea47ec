/*
 * floor - the bare forwarder that the proxies are compared with: what the kernel charges anybody who stands in between.
 *
 * Each client connection is tied to a worker connection of its own, workers in turn. Per message one recv and one send,
 * edge-triggered, one buffer for all, no look at the bytes, no clock, no timer, no memory of anything. It is no proxy:
 * it has no back-pressure (send_all), and connects while everybody waits.
 *
 *     floor <listen port> <worker port>...
 */
#include "common.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct side {
    struct side *other;
    int fd; /* -1: closed; the memory stays until the end of the turn, there may be an event for it */
};

struct pair {
    struct side client, worker;
    struct pair *next_closed;
};

static char shared[SHARED_BYTES];
static struct pair *closed;

static void pair_open(int loop, int client_fd, uint16_t worker_port)
{
    struct pair *p = calloc(1, sizeof *p);
    if (p == NULL)
        die("out of memory");
    p->client = (struct side){.other = &p->worker, .fd = client_fd};
    p->worker = (struct side){.other = &p->client, .fd = connect_open(worker_port)};
    set_nonblocking(p->worker.fd);
    loop_add(loop, p->client.fd, &p->client);
    loop_add(loop, p->worker.fd, &p->worker);
}

static void pair_close(struct side *s)
{
    struct pair *p = (struct pair *)(s < s->other ? s : s->other); /* the client is the first member */
    close(p->client.fd);
    close(p->worker.fd);
    p->client.fd = p->worker.fd = -1;
    p->next_closed = closed;
    closed = p;
}

static void free_closed(void)
{
    while (closed != NULL) {
        struct pair *next = closed->next_closed;
        free(closed);
        closed = next;
    }
}

static void forward(struct side *from, bool may_be_over)
{
    if (from->fd < 0)
        return;
    ssize_t got;
    do {
        got = recv_some(from->fd, shared, sizeof shared);
        if (got > 0)
            send_all(from->other->fd, shared, (size_t)got);
    } while (got == (ssize_t)sizeof shared || (got > 0 && may_be_over));
    if (got == 0)
        pair_close(from);
}

int main(int argc, char **argv)
{
    if (argc < 3)
        die("usage: floor <listen port> <worker port>...");
    const int listener = listen_open((uint16_t)number_from(argv[1], "listen port", UINT16_MAX));
    const int loop = loop_new();
    loop_add(loop, listener, NULL);
    for (int next_worker = 2;;) {
        struct epoll_event events[EVENTS_MAX];
        const int count = epoll_wait(loop, events, EVENTS_MAX, -1);
        for (int at = 0; at < count; at++) {
            if (events[at].data.ptr != NULL) {
                forward(events[at].data.ptr, events[at].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR));
                continue;
            }
            for (int fd; (fd = listen_accept(listener)) >= 0;) {
                pair_open(loop, fd, (uint16_t)number_from(argv[next_worker], "worker port", UINT16_MAX));
                next_worker = next_worker + 1 < argc ? next_worker + 1 : 2;
            }
        }
        free_closed();
    }
}
