/*
 * address - from the kernel's form of an address (sockaddr) to the core's (struct ip).
 */
#ifndef SIOLB_ADDRESS_H
#define SIOLB_ADDRESS_H

#include "core/ip.h"

#include <sys/socket.h>

/* Who is at the other end; IP_NONE for a unix socket. */
struct ip address_ip(const struct sockaddr *from);

/* Our own end of a connection; IP_NONE for a unix socket, or when it cannot be told. */
struct ip address_of_our_end(int fd);

#endif
