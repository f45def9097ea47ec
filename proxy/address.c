#include "address.h"

#include <netinet/in.h>

struct ip address_ip(const struct sockaddr *from)
{
    if (from->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)from;
        return ip_of(IP_V4, &in->sin_addr, ntohs(in->sin_port));
    }
    if (from->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)from;
        return ip_of(IP_V6, &in6->sin6_addr, ntohs(in6->sin6_port));
    }
    return ip_of(IP_NONE, NULL, 0);
}

struct ip address_of_our_end(int fd)
{
    struct sockaddr_storage at = {.ss_family = AF_UNSPEC};
    socklen_t bytes = sizeof(at);
    (void)getsockname(fd, (struct sockaddr *)&at, &bytes);
    return address_ip((const struct sockaddr *)&at);
}
