/*
 * forward - who the client is when a balancer that we trust stands in between, and the lines that tell a worker
 * (X-Forwarded-For, -Proto, -Host).
 *
 * Pure. What is believed is decided hop by hop: a peer in `trust` is believed about the address that connected to it,
 * and if that one is in `trust` too, then about the next.
 */
#ifndef SIOLB_CORE_FORWARD_H
#define SIOLB_CORE_FORWARD_H

#include "ip.h"

/* The values of the setting forwarded_for. */
enum forward_mode { FORWARD_OFF, FORWARD_APPEND, FORWARD_REPLACE };

/* The client of a request: `peer`, unless that is in `trust`; then what X-Forwarded-For of `head` tells, read from its
 * end while the address that was read is in `trust`, not beyond what is no address, and no more than
 * FORWARD_ENTRIES_MAX of them. */
#define FORWARD_ENTRIES_MAX 32u
struct ip forward_believe(struct span head, const struct ip *peer, const struct ip_network *trust, size_t trust_count);

struct forward {
    enum forward_mode mode; /* not OFF */
    bool peer_is_trusted;
    struct ip peer;     /* who is connected to us: what `append` adds */
    struct ip believed; /* the client: what `replace` writes */
    struct span host;   /* of the request; empty: no X-Forwarded-Host is added */
    struct span proto;  /* "http" or "https" */
};

/* Room that forward_write() may need beside the head itself. */
size_t forward_bytes_max(const struct forward *f);

/* Write the whole request head `head` to `out` with the lines of `f`; every other line keeps its bytes and its place,
 * and the request line stays the first. Returns the length.
 *
 *   append    the client's lines stay, ours come behind them: -For always, -Proto and -Host where there is none.
 *   replace   what names the client (X-Forwarded-For, Forwarded, X-Real-IP) is left out, and of a peer that is not
 *             trusted all other X-Forwarded-* too; in any case, and with `_` for `-`, which WSGI cannot tell apart.
 * Then as above, with the believed address as the one value of -For.
 *
 * A client without an address (unix socket) gets no -For line. */
size_t forward_write(const struct forward *f, struct span head, char *out);

#endif
