#include "proxy_header.h"

#include <stdio.h>

#define V1_BYTES_MAX 107 /* with its CRLF */
#define V2_NOTE_HEAD 3   /* type, length */
#define V2_NOTE_SSL  0x20
#define V2_HEAD      16 /* signature, version and command, family, length */

static const char v2_signature[] = "\r\n\r\n\0\r\nQUIT\n";
#define SIGNATURE span_of(v2_signature, sizeof v2_signature - 1)

enum { V2_LOCAL = 0x20, V2_PROXY = 0x21, V2_TCP4 = 0x11, V2_TCP6 = 0x21 };
enum { V2_FAMILY_MAX = 3 /* unix */, V2_PROTOCOL_MAX = 2 /* datagrams */ };

/* Do the first bytes of `s` agree with `wanted`, as far as they go? */
static bool agrees(struct span s, struct span wanted)
{
    return s.len < wanted.len ? span_starts_with(wanted, s) : span_starts_with(s, wanted);
}

/* ---- version 1: PROXY TCP4 192.0.2.1 192.0.2.2 51312 443\r\n -------------------------------------------------------
 */

/* The word up to the next single blank, or up to the end. */
static struct span take_word(struct span *rest)
{
    const char *blank = rest->len ? memchr(rest->ptr, ' ', rest->len) : NULL;
    struct span word = span_of(rest->ptr, blank ? (size_t)(blank - rest->ptr) : rest->len);
    *rest = span_skip(*rest, blank ? word.len + 1 : word.len);
    return word;
}

static bool read_port(struct span word, uint16_t *out)
{
    uint32_t port = 0;
    if (word.len == 0 || word.len > 5 || (word.len > 1 && word.ptr[0] == '0'))
        return false;
    for (size_t i = 0; i < word.len; i++) {
        if (word.ptr[i] < '0' || word.ptr[i] > '9')
            return false;
        port = port * 10 + (uint32_t)(word.ptr[i] - '0');
    }
    *out = (uint16_t)port;
    return port <= UINT16_MAX;
}

static size_t count_byte(struct span s, char c)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++)
        n += s.ptr[i] == c;
    return n;
}

/* An address without port or brackets, of the family that its line names: one colon would be that of a port. */
static bool read_address(struct span word, bool is_v6, struct ip *out)
{
    size_t colons = count_byte(word, ':');
    return (is_v6 ? colons > 1 : colons == 0) && count_byte(word, '[') == 0 && ip_parse(word, out);
}

static bool read_v1(struct span line, struct proxy_header *out)
{
    (void)take_word(&line); /* PROXY */
    struct span family = take_word(&line);
    if (span_equal(family, SPAN("UNKNOWN"))) /* "the rest of the line must be ignored" */
        return true;
    bool is_v6 = span_equal(family, SPAN("TCP6"));
    if (!is_v6 && !span_equal(family, SPAN("TCP4")))
        return false;
    struct span from = take_word(&line), to = take_word(&line);
    struct span from_port = take_word(&line), to_port = line;
    return read_address(from, is_v6, &out->from) && read_address(to, is_v6, &out->to) &&
           read_port(from_port, &out->from.port) && read_port(to_port, &out->to.port);
}

static enum parse parse_v1(struct span bytes, struct proxy_header *out, size_t *used_out)
{
    struct span window = span_of(bytes.ptr, bytes.len < V1_BYTES_MAX ? bytes.len : V1_BYTES_MAX);
    const char *feed = window.len ? memchr(window.ptr, '\n', window.len) : NULL;
    if (!feed)
        return window.len == V1_BYTES_MAX ? PARSE_BAD : PARSE_MORE;
    size_t n = (size_t)(feed - window.ptr);
    if (n == 0 || window.ptr[n - 1] != '\r' || !read_v1(span_of(window.ptr, n - 1), out))
        return PARSE_BAD;
    *used_out = n + 1;
    return PARSE_OK;
}

/* ---- version 2: binary ---------------------------------------------------------------------------------------------
 */

static uint16_t read_u16(const char *p)
{
    return (uint16_t)((uint8_t)p[0] << 8 | (uint8_t)p[1]);
}

/* "Other values ... must be rejected as invalid by receivers." */
static bool is_known_family(uint8_t family)
{
    return family >> 4 <= V2_FAMILY_MAX && (family & 0xf) <= V2_PROTOCOL_MAX;
}

/* What is behind the addresses: type, length, value, again and again. The one of type SSL begins with a bit that says
 * that the client spoke TLS. */
static bool tells_of_tls(struct span notes)
{
    while (notes.len >= V2_NOTE_HEAD) {
        size_t length = read_u16(notes.ptr + 1);
        struct span value = span_skip(notes, V2_NOTE_HEAD);
        if (length > value.len)
            return false;
        if ((uint8_t)notes.ptr[0] == V2_NOTE_SSL)
            return length && value.ptr[0] & 1;
        notes = span_skip(value, length);
    }
    return false;
}

/* Both addresses, then both ports; false: there is no room for them in what the header says its length is. */
static bool read_v2_addresses(struct span body, enum ip_family family, struct proxy_header *out)
{
    size_t size = family == IP_V4 ? 4 : 16;
    if (body.len < 2 * size + 4)
        return false;
    out->from = ip_of(family, body.ptr, read_u16(body.ptr + 2 * size));
    out->to = ip_of(family, body.ptr + size, read_u16(body.ptr + 2 * size + 2));
    out->was_tls = tells_of_tls(span_skip(body, 2 * size + 4));
    return true;
}

static enum parse parse_v2(struct span bytes, struct proxy_header *out, size_t *used_out)
{
    if (bytes.len < V2_HEAD)
        return PARSE_MORE;
    uint8_t command = (uint8_t)bytes.ptr[12], family = (uint8_t)bytes.ptr[13];
    size_t length = read_u16(bytes.ptr + 14);
    if ((command != V2_LOCAL && command != V2_PROXY) || V2_HEAD + length > PROXY_HEADER_BYTES_MAX)
        return PARSE_BAD;
    if (bytes.len < V2_HEAD + length)
        return PARSE_MORE;
    *used_out = V2_HEAD + length;
    out->is_local = command == V2_LOCAL;
    if (out->is_local) /* whatever family it names is ignored */
        return PARSE_OK;
    struct span body = span_of(bytes.ptr + V2_HEAD, length);
    if (family == V2_TCP4 || family == V2_TCP6)
        return read_v2_addresses(body, family == V2_TCP4 ? IP_V4 : IP_V6, out) ? PARSE_OK : PARSE_BAD;
    return is_known_family(family) ? PARSE_OK : PARSE_BAD; /* no address that means anything to us */
}

bool proxy_header_begins(struct span bytes)
{
    return bytes.len >= 5 && (agrees(bytes, SPAN("PROXY ")) || agrees(bytes, SIGNATURE));
}

enum parse proxy_header_parse(struct span bytes, struct proxy_header *out, size_t *used_out)
{
    *out = (struct proxy_header){.from.family = IP_UNKNOWN, .to.family = IP_UNKNOWN};
    *used_out = 0;
    if (agrees(bytes, SPAN("PROXY ")))
        return parse_v1(bytes, out, used_out);
    if (agrees(bytes, SIGNATURE))
        return parse_v2(bytes, out, used_out);
    return PARSE_BAD;
}

/* ---- writing -------------------------------------------------------------------------------------------------------
 */

static size_t write_v1(const struct ip *from, const struct ip *to, char *out)
{
    char from_text[IP_TEXT_BYTES], to_text[IP_TEXT_BYTES];
    if (ip_bytes(from).len == 0)
        return (size_t)snprintf(out, PROXY_HEADER_WRITTEN_MAX, "PROXY UNKNOWN\r\n");
    return (size_t)snprintf(out, PROXY_HEADER_WRITTEN_MAX, "PROXY %s %s %s %u %u\r\n",
                            from->family == IP_V4 ? "TCP4" : "TCP6", ip_host_text(from, from_text),
                            ip_host_text(to, to_text), (unsigned)from->port, (unsigned)to->port);
}

static void write_u16(char *out, uint16_t n)
{
    out[0] = (char)(n >> 8);
    out[1] = (char)(n & 0xff);
}

static size_t write_v2(const struct ip *from, const struct ip *to, char *out)
{
    size_t size = ip_bytes(from).len;
    size_t length = size ? 2 * size + 4 : 0;
    memcpy(out, v2_signature, sizeof v2_signature - 1);
    out[12] = V2_PROXY;
    out[13] = from->family == IP_V4 ? V2_TCP4 : from->family == IP_V6 ? V2_TCP6 : 0;
    write_u16(out + 14, (uint16_t)length);
    if (size == 0)
        return V2_HEAD;
    memcpy(out + V2_HEAD, from->bytes, size);
    memcpy(out + V2_HEAD + size, to->bytes, size);
    write_u16(out + V2_HEAD + 2 * size, from->port);
    write_u16(out + V2_HEAD + 2 * size + 2, to->port);
    return V2_HEAD + length;
}

size_t proxy_header_write(int version, const struct proxy_header *h, char out[PROXY_HEADER_WRITTEN_MAX])
{
    struct ip nowhere = {.family = h->from.family};
    const struct ip *to = h->to.family == h->from.family ? &h->to : &nowhere;
    return version == 1 ? write_v1(&h->from, to, out) : write_v2(&h->from, to, out);
}
