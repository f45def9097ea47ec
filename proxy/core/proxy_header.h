/*
 * proxy_header - the PROXY protocol, versions 1 and 2: how a balancer tells, ahead of all bytes of a connection, who is
 * at its other end (proxy-protocol.txt of HAProxy, section 2).
 *
 * Pure. Strict, since the header is only ever read from peers that are trusted to send one.
 */
#ifndef SIOLB_CORE_PROXY_HEADER_H
#define SIOLB_CORE_PROXY_HEADER_H

#include "ip.h"

#define PROXY_HEADER_BYTES_MAX   4096 /* of one that is read: version 2 may carry notes (TLV) behind the addresses */
#define PROXY_HEADER_WRITTEN_MAX 108  /* of one that is written */

struct proxy_header {
    bool is_local;  /* LOCAL: the peer speaks for itself (a health check); the addresses mean nothing */
    struct ip from; /* the client; IP_UNKNOWN: there is one, but its address is not told (UNKNOWN, a unix socket) */
    struct ip to;   /* where it connected to */
    bool was_tls;   /* and did so by TLS (version 2, a note of type SSL) */
};

/* A header at the start of `bytes`. PARSE_OK: the connection's own bytes begin at *used_out. Of the notes only that
 * about TLS is looked at. PARSE_MORE never once PROXY_HEADER_BYTES_MAX bytes are there. PARSE_BAD: it is no PROXY
 * header. */
enum parse proxy_header_parse(struct span bytes, struct proxy_header *out, size_t *used_out) MUST_CHECK;

/* Do the bytes begin as one does, as far as they go, and far enough to tell (5 bytes)? */
bool proxy_header_begins(struct span bytes);

/* Write one; `version` is 1 or 2. Addresses of different families cannot be told together: `to` is written as zero
 * then. Returns the length. */
size_t proxy_header_write(int version, const struct proxy_header *h, char out[PROXY_HEADER_WRITTEN_MAX]);

#endif
