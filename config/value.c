#include "value.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>

#define PATH_BYTES_MAX 256
#define PORT_MAX       65535u
#define WEIGHT_MAX     256u
#define UNIX_MODE_MAX  0777u

bool value_refuse(struct value_why *why, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(why->text, sizeof why->text, format, args);
    va_end(args);
    return false;
}

/* ---- pieces of a text -------------------------------------------------------------------------------------------- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z';
}

static bool is_control(char c)
{
    return (unsigned char)c < 0x20 || c == 0x7f;
}

/* The next word of *text, empty at its end. */
static struct span take_word(struct span *text)
{
    size_t from = 0;
    while (from < text->len && is_blank(text->ptr[from]))
        from++;
    size_t to = from;
    while (to < text->len && !is_blank(text->ptr[to]))
        to++;
    struct span word = span_of(text->ptr + from, to - from);
    *text = span_skip(*text, to);
    return word;
}

/* Cut *text at the first `c`: returns what is before it, *text is what follows. False: there is none. */
static bool take_until(struct span *text, char c, struct span *before_out)
{
    const char *found = text->len ? memchr(text->ptr, c, text->len) : NULL;
    if (!found)
        return false;
    *before_out = span_of(text->ptr, (size_t)(found - text->ptr));
    *text = span_skip(*text, before_out->len + 1);
    return true;
}

static bool take_prefix(struct span *text, struct span prefix)
{
    if (!span_starts_with(*text, prefix))
        return false;
    *text = span_skip(*text, prefix.len);
    return true;
}

/* The digits at the start of *text. False: there are none. */
static bool take_number(struct span *text, uint64_t *out)
{
    uint64_t n = 0;
    size_t at = 0;
    for (; at < text->len && is_digit(text->ptr[at]); at++)
        if (__builtin_mul_overflow(n, 10u, &n) || __builtin_add_overflow(n, (unsigned)(text->ptr[at] - '0'), &n))
            n = UINT64_MAX;
    *text = span_skip(*text, at);
    *out = n;
    return at > 0;
}

/* ---- numbers ----------------------------------------------------------------------------------------------------- */

bool value_count(struct span text, uint64_t *out, struct value_why *why)
{
    struct span rest = text;
    if (!take_number(&rest, out) || rest.len > 0)
        return value_refuse(why, "\"%.*s\" is not a number", value_quoted(text));
    return true;
}

/* From the largest to the smallest: printing takes the first that divides. */
struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit duration_units[] = {{"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
static const struct unit size_units[] = {{"g", 1u << 30}, {"m", 1u << 20}, {"k", 1u << 10}, {"", 1}};

static bool read_with_unit(struct span text, const struct unit *units, size_t count, uint64_t *out)
{
    uint64_t n;
    if (!take_number(&text, &n))
        return false;
    for (size_t i = 0; i < count; i++) {
        if (!span_equal(text, span_from_str(units[i].name)))
            continue;
        if (__builtin_mul_overflow(n, units[i].factor, out))
            *out = UINT64_MAX;
        return true;
    }
    return false;
}

static void print_with_unit(uint64_t n, const struct unit *units, char out[VALUE_TEXT_MAX])
{
    while (n % units->factor != 0)
        units++;
    (void)snprintf(out, VALUE_TEXT_MAX, "%llu%s", (unsigned long long)(n / units->factor), n ? units->name : "");
}

bool value_duration(struct span text, uint64_t *ms, struct value_why *why)
{
    if (span_equal(text, SPAN("0"))) {
        *ms = 0;
        return true;
    }
    if (!read_with_unit(text, duration_units, COUNT_OF(duration_units), ms))
        return value_refuse(why, "\"%.*s\" is not a duration such as 500ms, 2s, 5m, 1h or 0", value_quoted(text));
    return true;
}

bool value_size(struct span text, uint64_t *bytes, struct value_why *why)
{
    if (!read_with_unit(text, size_units, COUNT_OF(size_units), bytes))
        return value_refuse(why, "\"%.*s\" is not a size such as 65536, 64k or 1m", value_quoted(text));
    return true;
}

void value_print_duration(uint64_t ms, char out[VALUE_TEXT_MAX])
{
    print_with_unit(ms, duration_units, out);
}

void value_print_size(uint64_t bytes, char out[VALUE_TEXT_MAX])
{
    print_with_unit(bytes, size_units, out);
}

/* ---- texts ------------------------------------------------------------------------------------------------------- */

/* tchar of RFC 9110 5.6.2 */
static bool is_token_char(char c)
{
    return is_letter(c) || is_digit(c) || (c != '\0' && strchr("!#$%&'*+-.^_`|~", c));
}

bool value_cookie_name(struct span text, struct value_why *why)
{
    for (size_t i = 0; i < text.len; i++)
        if (!is_token_char(text.ptr[i]))
            return value_refuse(why, "\"%.*s\" cannot be the name of a cookie", value_quoted(text));
    return true;
}

bool value_file_name(struct span text, struct value_why *why)
{
    if (span_starts_with(text, SPAN(";"))) /* printed behind "= ", it would read back as a comment */
        return value_refuse(why, "the name of a file cannot begin with \";\"");
    for (size_t i = 0; i < text.len; i++)
        if (is_control(text.ptr[i]))
            return value_refuse(why, "a control byte in the name of a file");
    return true;
}

bool value_path(struct span text, struct value_why *why)
{
    if (text.len == 0 || text.ptr[0] != '/')
        return value_refuse(why, "\"%.*s\" does not begin with \"/\"", value_quoted(text));
    if (text.len > PATH_BYTES_MAX)
        return value_refuse(why, "a path of %zu bytes; at most %d are possible", text.len, PATH_BYTES_MAX);
    /* The path of a target ends at these (RFC 3986 3.3), so that one that holds them would never match. */
    for (size_t i = 0; i < text.len; i++)
        if (is_control(text.ptr[i]) || is_blank(text.ptr[i]) || text.ptr[i] == '?' || text.ptr[i] == '#')
            return value_refuse(why, "\"%.*s\" holds a blank, \"?\" or \"#\"", value_quoted(text));
    return true;
}

/* ---- addresses --------------------------------------------------------------------------------------------------- */

static struct sockaddr_in *inet_of(struct address *a)
{
    return (struct sockaddr_in *)&a->addr.storage;
}

static struct sockaddr_in6 *inet6_of(struct address *a)
{
    return (struct sockaddr_in6 *)&a->addr.storage;
}

uint16_t value_port(const struct address *a)
{
    struct address copy = *a;
    switch (a->addr.any.sa_family) {
    case AF_INET:
        return ntohs(inet_of(&copy)->sin_port);
    case AF_INET6:
        return ntohs(inet6_of(&copy)->sin6_port);
    default:
        return 0;
    }
}

void value_set_port(struct address *a, uint16_t port)
{
    if (a->addr.any.sa_family == AF_INET)
        inet_of(a)->sin_port = htons(port);
    else if (a->addr.any.sa_family == AF_INET6)
        inet6_of(a)->sin6_port = htons(port);
}

void value_print_address(const struct address *a, char out[VALUE_ADDRESS_TEXT_MAX])
{
    struct address copy = *a;
    char host[INET6_ADDRSTRLEN] = "";
    switch (a->addr.any.sa_family) {
    case AF_INET:
        (void)inet_ntop(AF_INET, &inet_of(&copy)->sin_addr, host, sizeof host);
        (void)snprintf(out, VALUE_ADDRESS_TEXT_MAX, "%s:%u", host, value_port(a));
        break;
    case AF_INET6:
        (void)inet_ntop(AF_INET6, &inet6_of(&copy)->sin6_addr, host, sizeof host);
        (void)snprintf(out, VALUE_ADDRESS_TEXT_MAX, "[%s]:%u", host, value_port(a));
        break;
    default:
        (void)snprintf(out, VALUE_ADDRESS_TEXT_MAX, "unix:%s", a->addr.un.sun_path);
        break;
    }
}

static bool read_unix(struct span path, struct address *out, struct value_why *why)
{
    if (path.len == 0 || path.ptr[0] != '/')
        return value_refuse(why, "\"unix:%.*s\": the path of a socket begins with \"/\"", value_quoted(path));
    if (path.len >= sizeof out->addr.un.sun_path)
        return value_refuse(why, "the path of a socket has at most %zu bytes, this one %zu",
                            sizeof out->addr.un.sun_path - 1, path.len);
    if (!value_file_name(path, why))
        return false;
    *out = (struct address){.bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.len + 1)};
    out->addr.un.sun_family = AF_UNIX;
    memcpy(out->addr.un.sun_path, path.ptr, path.len);
    return true;
}

/* "chat-1.internal", but not "127.0.0.256": a last label of digits only is no name (RFC 3696 2). */
static bool looks_like_name(struct span host)
{
    bool has_letter_in_last_label = false;
    for (size_t i = 0; i < host.len; i++) {
        char c = host.ptr[i];
        if (!is_letter(c) && !is_digit(c) && c != '-' && c != '_' && c != '.')
            return false;
        has_letter_in_last_label = c != '.' && (has_letter_in_last_label || !is_digit(c));
    }
    return has_letter_in_last_label;
}

static bool read_ipv4(struct span host, struct address *out, struct value_why *why)
{
    char text[INET_ADDRSTRLEN] = "";
    *out = (struct address){.bytes = sizeof(struct sockaddr_in)};
    inet_of(out)->sin_family = AF_INET;
    if (span_equal(host, SPAN("localhost")))
        host = SPAN("127.0.0.1");
    if (host.len < sizeof text)
        memcpy(text, host.ptr, host.len);
    if (inet_pton(AF_INET, text, &inet_of(out)->sin_addr) == 1)
        return true;
    if (looks_like_name(host))
        return value_refuse(why, "\"%.*s\": names other than localhost are not built yet, give its address",
                            value_quoted(host));
    return value_refuse(why, "\"%.*s\" is not an IPv4 address", value_quoted(host));
}

static bool read_ipv6(struct span host, struct address *out, struct value_why *why)
{
    char text[INET6_ADDRSTRLEN] = "";
    *out = (struct address){.bytes = sizeof(struct sockaddr_in6)};
    inet6_of(out)->sin6_family = AF_INET6;
    if (host.len < sizeof text)
        memcpy(text, host.ptr, host.len);
    if (inet_pton(AF_INET6, text, &inet6_of(out)->sin6_addr) == 1)
        return true;
    return value_refuse(why, "\"%.*s\" is not an IPv6 address", value_quoted(host));
}

/* "127.0.0.1:80" or "[::1]:80": the address into *out, what is behind the last colon into *port. */
static bool read_host(struct span text, struct address *out, struct span *port, struct value_why *why)
{
    struct span host;
    *port = text;
    if (take_prefix(port, SPAN("["))) {
        if (!take_until(port, ']', &host) || !take_prefix(port, SPAN(":")))
            return value_refuse(why, "\"%.*s\" is not of the form [::1]:8080", value_quoted(text));
        return read_ipv6(host, out, why);
    }
    if (!take_until(port, ':', &host))
        return value_refuse(why, "\"%.*s\" has no port", value_quoted(text));
    if (memchr(port->ptr, ':', port->len))
        return value_refuse(why, "\"%.*s\": an IPv6 address needs brackets: [::1]:8080", value_quoted(text));
    return read_ipv4(host, out, why);
}

static bool read_port(struct span text, uint16_t min, uint16_t *out, struct value_why *why)
{
    uint64_t port;
    struct span rest = text;
    if (!take_number(&rest, &port) || rest.len > 0)
        return value_refuse(why, "\"%.*s\" is not a port", value_quoted(text));
    if (port < min || port > PORT_MAX)
        return value_refuse(why, "port %.*s is outside %u to %u", value_quoted(text), min, PORT_MAX);
    *out = (uint16_t)port;
    return true;
}

/* ---- listen ------------------------------------------------------------------------------------------------------ */

static bool read_mode(struct span text, mode_t *out)
{
    unsigned mode = 0;
    for (size_t i = 0; i < text.len && mode <= UNIX_MODE_MAX; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '7')
            return false;
        mode = mode * 8 + (unsigned)(text.ptr[i] - '0');
    }
    *out = (mode_t)mode;
    return mode > 0 && mode <= UNIX_MODE_MAX;
}

static bool read_listen_flag(struct span word, struct value_listen *out, struct value_why *why)
{
    static const char *const not_built[] = {"tls", "redirect"};
    for (size_t i = 0; i < COUNT_OF(not_built); i++)
        if (span_equal(word, span_from_str(not_built[i])))
            return value_refuse(why, "flag \"%s\" is not built yet", not_built[i]);

    if (span_equal(word, SPAN("proxy"))) {
        if (out->takes_proxy)
            return value_refuse(why, "\"proxy\" is there twice");
        out->takes_proxy = true;
        return true;
    }
    struct span mode = word;
    if (!take_prefix(&mode, SPAN("mode=")))
        return value_refuse(why, "unknown flag \"%.*s\"; known: mode=0660, proxy", value_quoted(word));
    if (out->address.addr.any.sa_family != AF_UNIX)
        return value_refuse(why, "only a unix socket has a mode");
    if (out->unix_mode != 0)
        return value_refuse(why, "two modes");
    if (!read_mode(mode, &out->unix_mode))
        return value_refuse(why, "mode \"%.*s\" is not an octal number from 0001 to 0777", value_quoted(mode));
    return true;
}

bool value_listen(struct span text, struct value_listen *out, struct value_why *why)
{
    *out = (struct value_listen){0};
    struct span word = take_word(&text);
    struct span rest = word;
    if (take_prefix(&rest, SPAN("unix:"))) {
        if (!read_unix(rest, &out->address, why))
            return false;
    } else {
        uint16_t port;
        if (!read_host(word, &out->address, &rest, why) || !read_port(rest, 0, &port, why))
            return false;
        value_set_port(&out->address, port);
    }
    while ((word = take_word(&text)).len > 0)
        if (!read_listen_flag(word, out, why))
            return false;
    return true;
}

/* ---- networks ---------------------------------------------------------------------------------------------------- */

bool value_take_element(struct span *list, struct span *out)
{
    while (list->len && (is_blank(list->ptr[0]) || list->ptr[0] == ','))
        *list = span_skip(*list, 1);
    size_t n = 0;
    while (n < list->len && !is_blank(list->ptr[n]) && list->ptr[n] != ',')
        n++;
    *out = span_of(list->ptr, n);
    *list = span_skip(*list, n);
    return n > 0;
}

static bool has_bits_behind(const struct ip_network *n)
{
    struct span bytes = ip_bytes(&n->base);
    for (size_t bit = n->prefix; bit < 8 * bytes.len; bit++)
        if ((uint8_t)bytes.ptr[bit / 8] >> (7 - bit % 8) & 1)
            return true;
    return false;
}

bool value_network(struct span text, struct ip_network *out, struct value_why *why)
{
    struct span host, prefix = text;
    uint64_t bits;
    *out = (struct ip_network){.base.family = IP_NONE};
    if (span_equal(text, SPAN("unix")))
        return true;
    bool has_prefix = take_until(&prefix, '/', &host);
    if (!has_prefix)
        host = text;
    if (!ip_parse(host, &out->base) || out->base.port != 0 || host.ptr[0] == '[')
        return value_refuse(why, "\"%.*s\" is no address, network (10.0.0.0/8) or \"unix\"", value_quoted(text));
    uint64_t most = 8 * ip_bytes(&out->base).len;
    if (!has_prefix) {
        out->prefix = (uint8_t)most;
        return true;
    }
    if (memchr(host.ptr, ':', host.len) && most == 32)
        return value_refuse(why, "\"%.*s\": write an IPv4 network as such", value_quoted(text));
    if (!take_number(&prefix, &bits) || prefix.len > 0 || bits > most)
        return value_refuse(why, "\"%.*s\": the prefix is not a number from 0 to %u", value_quoted(text),
                            (unsigned)most);
    out->prefix = (uint8_t)bits;
    if (has_bits_behind(out))
        return value_refuse(why, "\"%.*s\": there are bits behind the prefix", value_quoted(text));
    return true;
}

void value_print_network(const struct ip_network *n, char out[VALUE_NETWORK_TEXT_MAX])
{
    char text[IP_TEXT_BYTES];
    bool is_single = n->prefix == 8 * ip_bytes(&n->base).len;
    if (n->base.family == IP_NONE)
        (void)snprintf(out, VALUE_NETWORK_TEXT_MAX, "unix");
    else if (is_single)
        (void)snprintf(out, VALUE_NETWORK_TEXT_MAX, "%s", ip_host_text(&n->base, text));
    else
        (void)snprintf(out, VALUE_NETWORK_TEXT_MAX, "%s/%u", ip_host_text(&n->base, text), n->prefix);
}

/* ---- worker ------------------------------------------------------------------------------------------------------ */

/* "3001" or "3001-3004" */
static bool read_ports(struct span text, struct value_worker *out, struct value_why *why)
{
    uint16_t first = 0;
    struct span before;
    struct span last = text;
    out->is_range = take_until(&last, '-', &before);
    if (!read_port(out->is_range ? before : text, 1, &first, why) || !read_port(last, 1, &out->last_port, why))
        return false;
    if (first > out->last_port)
        return value_refuse(why, "port range %u-%u runs backwards", first, out->last_port);
    value_set_port(&out->first, first);
    return true;
}

/* The same worker must have one identity, however its address is written. */
static void unmap_ipv4(struct address *a)
{
    if (a->addr.any.sa_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&inet6_of(a)->sin6_addr))
        return;
    struct address v4 = {.bytes = sizeof(struct sockaddr_in)};
    inet_of(&v4)->sin_family = AF_INET;
    memcpy(&inet_of(&v4)->sin_addr, &inet6_of(a)->sin6_addr.s6_addr[12], sizeof(struct in_addr));
    *a = v4;
}

static bool is_unspecified(struct address *a)
{
    if (a->addr.any.sa_family == AF_INET)
        return inet_of(a)->sin_addr.s_addr == htonl(INADDR_ANY);
    return IN6_IS_ADDR_UNSPECIFIED(&inet6_of(a)->sin6_addr);
}

static bool read_inet_worker(struct span word, struct value_worker *out, struct value_why *why)
{
    struct span ports;
    if (!read_host(word, &out->first, &ports, why))
        return false;
    unmap_ipv4(&out->first);
    if (is_unspecified(&out->first))
        return value_refuse(why, "\"%.*s\": nobody can be reached at this address", value_quoted(word));
    return read_ports(ports, out, why);
}

static bool read_weight(struct span word, uint16_t *weight, struct value_why *why)
{
    uint64_t n;
    struct span text = word;
    if (!take_prefix(&text, SPAN("weight=")))
        return value_refuse(why, "unknown flag \"%.*s\"; known: weight=2", value_quoted(word));
    if (*weight != 0)
        return value_refuse(why, "two weights");
    if (!value_count(text, &n, why))
        return false;
    if (n < 1 || n > WEIGHT_MAX)
        return value_refuse(why, "weight %.*s is outside 1 to %u", value_quoted(text), WEIGHT_MAX);
    *weight = (uint16_t)n;
    return true;
}

/* What stands behind the address. */
static bool read_worker_flags(struct span text, struct value_worker *out, struct value_why *why)
{
    struct span word;
    while ((word = take_word(&text)).len > 0)
        if (!read_weight(word, &out->weight, why))
            return false;
    if (out->weight == 0)
        out->weight = 1;
    return true;
}

bool value_worker(struct span text, struct value_worker *out, struct value_why *why)
{
    *out = (struct value_worker){0};
    struct span word = take_word(&text);
    struct span path = word;
    if (span_starts_with(word, SPAN("tls:")))
        return value_refuse(why, "\"%.*s\": workers behind TLS are not built yet", value_quoted(word));
    if (take_prefix(&path, SPAN("unix:")) ? !read_unix(path, &out->first, why) : !read_inet_worker(word, out, why))
        return false;
    return read_worker_flags(text, out, why);
}

bool value_worker_or_ports(struct span text, struct value_worker *out, struct value_why *why)
{
    struct span rest = text;
    struct span ports = take_word(&rest);
    for (size_t i = 0; i < ports.len; i++)
        if (!is_digit(ports.ptr[i]) && ports.ptr[i] != '-')
            return value_worker(text, out, why);
    *out = (struct value_worker){0};
    return read_ipv4(SPAN("127.0.0.1"), &out->first, why) && read_ports(ports, out, why) &&
           read_worker_flags(rest, out, why);
}
