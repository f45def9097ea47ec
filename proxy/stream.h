/*
 * stream - read and write of one connection.
 *
 * Wraps one non-blocking socket and its one event: edge-triggered, registered once for its whole life (no epoll_ctl in
 * steady state). Edges are remembered as flags until the kernel says that there is no more, so that an owner may stop
 * reading while the other side is slow and go on later by hand.
 *
 * One recv tells when the queue is empty: it was short. Two things hide behind a short read:
 *   - a FIN that came with the data: EV_CLOSED tells of it (STREAM_HUNG_UP), then reading goes on until the end shows;
 *   - a RST that came with the data: libevent reports it as readable and writable, which plain data does too. After
 * such a wake-up the flag STREAM_LOOK_AGAIN is set: the owner's sweep reads once more when the side has been quiet.
 */
#ifndef SIOLB_STREAM_H
#define SIOLB_STREAM_H

#include "core/span.h"

#include <event2/event.h>
#include <event2/event_struct.h>

enum {
    STREAM_READABLE = 1 << 0,   /* an edge came and no read was short since */
    STREAM_WRITABLE = 1 << 1,   /* no write was short since the last edge */
    STREAM_HUNG_UP = 1 << 2,    /* the peer has sent its FIN; data may be unread before it */
    STREAM_LOOK_AGAIN = 1 << 3, /* a RST may hide behind the last data */
    STREAM_ENDED = 1 << 4,      /* the FIN was read */
    STREAM_SHUT = 1 << 5,       /* our FIN is sent */
    STREAM_BROKEN = 1 << 6      /* a write met a RST, or the kernel gave the peer up */
};

struct stream {
    struct event event; /* holds the descriptor; -1 when closed */
    uint8_t flags;
};

enum stream_result {
    STREAM_OK,      /* some bytes moved */
    STREAM_BLOCKED, /* none; an edge will come */
    STREAM_EOF,     /* read only: the peer's FIN */
    STREAM_FAILED   /* reset, timed out: errno says which. ENOMEM: the kernel's; the peer is there, but is owed bytes */
};

/* The options of a TCP socket, of a worker's or of a listener, from which accepted ones inherit them: TCP_NODELAY;
 * keep-alive probes (60 s, then 4 each 15 s) and TCP_USER_TIMEOUT = stall_ms, both off when that is 0. */
void stream_tune(int fd, uint64_t stall_ms);

/* Take over a non-blocking descriptor and report its edges to `on_event` from the next turn on. False: out of memory or
 * no room in epoll; the descriptor stays the caller's. */
bool stream_start(struct stream *s, struct event_base *base, int fd, event_callback_fn on_event, void *arg) MUST_CHECK;

/* Give the descriptor back, unregistered. */
int stream_detach(struct stream *s);

/* Fold the edges of a callback into the flags. */
void stream_note(struct stream *s, short what);

/* Run the callback again, behind those that are due: after a bounded amount of work. The loop polls in between, after
 * a bounded number of callbacks (CALLBACKS_PER_POLL in server.c). */
void stream_again(struct stream *s);

/* A RST may hide behind the last data, and it has been quiet since: make it readable once. False: there is no reason.
 */
bool stream_look_again(struct stream *s);

/* At most one system call each. The kernel tells of an error once: when a write has met it, what was unread before it
 * can still be read, and the end behind that is STREAM_FAILED too (ECONNRESET), not the FIN that recv makes of it. */
enum stream_result stream_read(struct stream *s, void *buffer, size_t size, size_t *got_out) MUST_CHECK;
enum stream_result stream_write(struct stream *s, struct span bytes, size_t *sent_out) MUST_CHECK;

/* Send FIN; harmless the second time. */
void stream_shut(struct stream *s);

/* Are bytes written that the peer has not acknowledged? Unknown (no TCP) counts as no. */
bool stream_has_unsent(const struct stream *s);

/* The error that the socket has met and nobody was told of yet; 0: none. */
int stream_error(const struct stream *s);

/* Unregister and close; `reset`: with RST instead of FIN. Harmless the second time. */
void stream_close(struct stream *s, bool reset);

static inline bool stream_is_open(const struct stream *s)
{
    return s->event.ev_fd >= 0;
}

static inline int stream_fd(const struct stream *s)
{
    return s->event.ev_fd;
}

#endif
