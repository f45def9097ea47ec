#include "address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>

void address_from_sockaddr(struct peer_address *a, const struct sockaddr *from)
{
    *a = (struct peer_address){.family = AF_UNIX};
    if (from->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)from;
        a->family = AF_INET;
        a->port = ntohs(in->sin_port);
        memcpy(a->bytes, &in->sin_addr, 4);
    } else if (from->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)from;
        bool is_mapped = IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr);
        a->family = is_mapped ? AF_INET : AF_INET6;
        a->port = ntohs(in6->sin6_port);
        memcpy(a->bytes, in6->sin6_addr.s6_addr + (is_mapped ? 12 : 0), is_mapped ? 4 : 16);
    }
}

struct span address_bytes(const struct peer_address *a)
{
    return span_of((const char *)a->bytes, a->family == AF_INET ? 4 : a->family == AF_INET6 ? 16 : 0);
}

const char *address_text(const struct peer_address *a, char out[ADDRESS_TEXT_BYTES])
{
    char host[INET6_ADDRSTRLEN];
    if (a->family == AF_UNIX)
        snprintf(out, ADDRESS_TEXT_BYTES, "unix");
    else
        snprintf(out, ADDRESS_TEXT_BYTES, a->family == AF_INET ? "%s:%u" : "[%s]:%u",
                 inet_ntop(a->family, a->bytes, host, sizeof(host)), (unsigned)a->port);
    return out;
}
