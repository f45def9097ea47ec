#include "ip.h"

#include <arpa/inet.h>
#include <stdio.h>

#define PORT_DIGITS_MAX 5
#define PORT_MAX        65535u

static const uint8_t mapped_prefix[12] = {[10] = 0xff, [11] = 0xff};

static size_t size_of_family(enum ip_family family)
{
    return family == IP_V4 ? 4 : family == IP_V6 ? 16 : 0;
}

struct ip ip_of(enum ip_family family, const void *bytes, uint16_t port)
{
    struct ip a = {.port = port, .family = (uint8_t)family};
    const uint8_t *from = bytes;
    if (family == IP_V6 && memcmp(from, mapped_prefix, sizeof mapped_prefix) == 0) {
        a.family = IP_V4;
        from += sizeof mapped_prefix;
    }
    size_t size = size_of_family((enum ip_family)a.family);
    if (size)
        memcpy(a.bytes, from, size);
    return a;
}

/* ---- from text --------------------------------------------------------------------------------------------------- */

static bool read_host(struct span text, enum ip_family family, struct ip *out)
{
    char copy[INET6_ADDRSTRLEN];
    uint8_t bytes[16];
    if (text.len == 0 || text.len >= sizeof copy || memchr(text.ptr, '\0', text.len))
        return false;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    if (inet_pton(family == IP_V4 ? AF_INET : AF_INET6, copy, bytes) != 1)
        return false;
    *out = ip_of(family, bytes, 0);
    return true;
}

static bool read_port(struct span text, uint16_t *out)
{
    uint32_t port = 0;
    if (text.len == 0 || text.len > PORT_DIGITS_MAX)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return false;
        port = port * 10 + (uint32_t)(text.ptr[i] - '0');
    }
    *out = (uint16_t)port;
    return port <= PORT_MAX;
}

/* What may stand behind an address: nothing, or ":" and a port. */
static bool read_rest(struct span rest, struct ip *out)
{
    return rest.len == 0 || (rest.ptr[0] == ':' && read_port(span_skip(rest, 1), &out->port));
}

bool ip_parse(struct span text, struct ip *out)
{
    bool read = false;
    const char *colon = text.len ? memchr(text.ptr, ':', text.len) : NULL;
    if (text.len && text.ptr[0] == '[') {
        const char *bracket = memchr(text.ptr, ']', text.len);
        size_t inside = bracket ? (size_t)(bracket - text.ptr) - 1 : 0;
        read = bracket && read_host(span_of(text.ptr + 1, inside), IP_V6, out) &&
               read_rest(span_skip(text, inside + 2), out);
    } else if (colon && memchr(colon + 1, ':', (size_t)(text.ptr + text.len - colon) - 1)) {
        read = read_host(text, IP_V6, out);
    } else {
        size_t n = colon ? (size_t)(colon - text.ptr) : text.len;
        read = read_host(span_of(text.ptr, n), IP_V4, out) && read_rest(span_skip(text, n), out);
    }
    if (!read)
        *out = (struct ip){.family = IP_UNKNOWN};
    return read;
}

/* ---- to text ----------------------------------------------------------------------------------------------------- */

const char *ip_host_text(const struct ip *a, char out[IP_TEXT_BYTES])
{
    out[0] = '\0';
    if (size_of_family((enum ip_family)a->family))
        (void)inet_ntop(a->family == IP_V4 ? AF_INET : AF_INET6, a->bytes, out, IP_TEXT_BYTES);
    return out;
}

const char *ip_text(const struct ip *a, char out[IP_TEXT_BYTES])
{
    char host[IP_TEXT_BYTES];
    const char *form = a->port == 0 ? "%s" : a->family == IP_V4 ? "%s:%u" : "[%s]:%u";
    if (size_of_family((enum ip_family)a->family) == 0)
        (void)snprintf(out, IP_TEXT_BYTES, a->family == IP_NONE ? "unix" : "unknown");
    else
        (void)snprintf(out, IP_TEXT_BYTES, form, ip_host_text(a, host), (unsigned)a->port);
    return out;
}

/* ---- comparing --------------------------------------------------------------------------------------------------- */

struct span ip_bytes(const struct ip *a)
{
    return span_of((const char *)a->bytes, size_of_family((enum ip_family)a->family));
}

bool ip_equal(const struct ip *a, const struct ip *b)
{
    return a->family == b->family && memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

/* What an IPv4 address becomes behind this mark is a /64 in the reserved 0::/8 (RFC 4291 2.4): no IPv6 client's. */
#define HOUSEHOLD_OF_V4 UINT64_C(0x0000ffff00000000)

uint64_t ip_household(const struct ip *a)
{
    uint64_t n = 0;
    if (size_of_family((enum ip_family)a->family) == 0)
        return 0;
    for (size_t i = 0; i < 8; i++)
        n = n << 8 | a->bytes[i];
    if (a->family == IP_V4)
        return n >> 32 | HOUSEHOLD_OF_V4;
    bool is_taken = n == 0 || (n & UINT64_C(0xffffffff00000000)) == HOUSEHOLD_OF_V4;
    return is_taken ? 1 : n;
}

static bool is_in(const struct ip *a, const struct ip_network *network)
{
    if (a->family != network->base.family)
        return false;
    size_t whole = network->prefix / 8;
    unsigned bits = network->prefix % 8;
    if (memcmp(a->bytes, network->base.bytes, whole) != 0)
        return false;
    return bits == 0 || (a->bytes[whole] ^ network->base.bytes[whole]) >> (8 - bits) == 0;
}

bool ip_is_in(const struct ip *a, const struct ip_network *networks, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (is_in(a, &networks[i]))
            return true;
    return false;
}
