/*
 * client - the client's end of a connection: its stream, what has come and not been used, what has not gone out yet.
 *
 * Embedded in conn, which decides; lent to the exchange that serves the present request.
 */
#ifndef SIOLB_CLIENT_H
#define SIOLB_CLIENT_H

#include "address.h"
#include "backlog.h"
#include "ctx.h"
#include "stream.h"

struct client {
    struct ctx *ctx;
    struct config *config; /* the one it was born with; a reference */
    struct stream stream;
    struct backlog *inbox;  /* read and not used: an incomplete head, requests that wait, bytes sent early */
    struct backlog *outbox; /* what its kernel did not take */
    struct ip address;      /* who is connected: the peer, or whom its PROXY header names */
    struct ip our_end;      /* where it connected to; known only when proxy_protocol needs it */
    uint32_t id;
    uint64_t got;    /* bytes read */
    uint64_t sent;   /* bytes written or in the outbox */
    bool has_ended;  /* its FIN has been read */
    bool is_trusted; /* what it says of other addresses is believed (forward.trust) */
    bool was_tls;    /* a PROXY header says that it came by TLS */
    bool is_counted; /* in ctx->addresses, by `address` */
    bool is_over;    /* more connections than limits.per_address: it gets that as its answer */
};

/* Bytes to look at: what is in the inbox, else what one read into the shared buffer brings. STREAM_OK: *bytes_out is
 * valid until the shared buffer or the inbox is used again, and client_used() must follow. STREAM_EOF sets has_ended.
 */
enum stream_result client_fetch(struct client *c, struct span *bytes_out) MUST_CHECK;

/* The first `n` of the bytes that client_fetch() or client_fetch_more() gave are done with; the rest is kept in the
 * inbox. False: out of memory. */
bool client_used(struct client *c, struct span bytes, size_t n) MUST_CHECK;

/* One read behind what is in the inbox, at most up to `bytes_max` in all; *bytes_out is the whole inbox then.
 * STREAM_BLOCKED also when the inbox is that full. */
enum stream_result client_fetch_more(struct client *c, size_t bytes_max, struct span *bytes_out) MUST_CHECK;

/* Send, or keep in the outbox behind what waits there. False: the client is gone (errno; ENOMEM: out of memory). */
bool client_send(struct client *c, struct span bytes) MUST_CHECK;

/* Send what waits, as far as the kernel takes it. False: the client is gone (errno). */
bool client_flush(struct client *c) MUST_CHECK;

/* An address wants more than it may: count it, and tell the operator now and then. */
void client_note_limited(struct client *c, enum metric which, enum hint hint, const struct ip *address);

/* Release both boxes and the config; the stream must be closed or detached. */
void client_fini(struct client *c);

#endif
