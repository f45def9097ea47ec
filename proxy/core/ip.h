/*
 * ip - the address of a peer, in 20 bytes instead of a sockaddr; as text; and whether it lies in a network.
 *
 * An IPv4 address has one form here: written or received as IPv6 (::ffff:10.0.0.7) it becomes IPv4, so that neither a
 * network of `trust` nor a limit per address can be passed by choosing the other form.
 */
#ifndef SIOLB_CORE_IP_H
#define SIOLB_CORE_IP_H

#include "span.h"

enum ip_family {
    IP_NONE,    /* a unix socket */
    IP_UNKNOWN, /* somebody of whom nobody has told: in no network, not even that of the unix sockets */
    IP_V4,
    IP_V6
};

struct ip {
    uint8_t bytes[16]; /* IPv4: the first four, the others 0; network order */
    uint16_t port;     /* host order; 0: unknown */
    uint8_t family;    /* enum ip_family */
    uint8_t unused;
};

/* Some bytes of an address in network order: 4 or 16 of them by the family, else none. */
struct ip ip_of(enum ip_family family, const void *bytes, uint16_t port);

/* "10.0.0.7", "10.0.0.7:51312", "2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:51312", nothing around it. False: it is
 * something else (a name, "unknown", a zone), and *out is IP_UNKNOWN. */
bool ip_parse(struct span text, struct ip *out) MUST_CHECK;

/* The bytes that tell one client from another: 4, 16 or none. */
struct span ip_bytes(const struct ip *a);

bool ip_equal(const struct ip *a, const struct ip *b); /* ports do not count */

/* What a limit per address counts by: the IPv4 address, or the /64 of an IPv6 one (of which one household has all).
 * Never the same for two of them, but for what no client has: ::/64 (with ::1), 0:0:0:1::/64 and 0:ffff::/32 are one.
 * 0: it has none. */
uint64_t ip_household(const struct ip *a);

/* "10.0.0.7:51312", "[::1]:8080"; without the port where it is 0; "unix", "unknown". Returns `out`. */
#define IP_TEXT_BYTES 56
const char *ip_text(const struct ip *a, char out[IP_TEXT_BYTES]);

/* "10.0.0.7", "::1": as X-Forwarded-For has it; "" where there is none. Returns `out`. */
const char *ip_host_text(const struct ip *a, char out[IP_TEXT_BYTES]);

/* A network: addresses whose first `prefix` bits are these. IP_NONE is a network too: the peers of unix sockets. */
struct ip_network {
    struct ip base; /* bits behind the prefix are 0 */
    uint8_t prefix; /* 0..32, 0..128 */
};

bool ip_is_in(const struct ip *a, const struct ip_network *networks, size_t count);

#endif
