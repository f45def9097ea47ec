/*
 * address - who is at the other end, in 20 bytes instead of a sockaddr_storage, and as text.
 */
#ifndef SIOLB_ADDRESS_H
#define SIOLB_ADDRESS_H

#include "core/span.h"

#include <sys/socket.h>

struct peer_address {
    uint8_t bytes[16]; /* IPv4: the first four */
    uint16_t port;     /* host order */
    uint8_t family;    /* AF_INET, AF_INET6, else AF_UNIX */
    uint8_t unused;
};

void address_from_sockaddr(struct peer_address *a, const struct sockaddr *from);

/* The bytes that tell one client from another: 4, 16 or none (unix). */
struct span address_bytes(const struct peer_address *a);

/* "10.0.0.7:51312", "[::1]:8080", "unix". Returns `out`. */
#define ADDRESS_TEXT_BYTES 56
const char *address_text(const struct peer_address *a, char out[ADDRESS_TEXT_BYTES]);

#endif
