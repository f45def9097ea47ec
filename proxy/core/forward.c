#include "forward.h"

#include "http_byte.h"
#include "http_head.h"

/* ---- names of fields -----------------------------------------------------------------------------------------------
 */

/* The byte of a name as those see it who turn it into a variable (HTTP_X_FORWARDED_FOR). */
static char folded(char c)
{
    return c == '_' ? '-' : ascii_lower(c);
}

/* Does `name` begin with `lower`, however it is spelt? */
static bool begins_with(struct span name, struct span lower)
{
    if (name.len < lower.len)
        return false;
    for (size_t i = 0; i < lower.len; i++)
        if (folded(name.ptr[i]) != lower.ptr[i])
            return false;
    return true;
}

static bool is_called(struct span name, struct span lower)
{
    return name.len == lower.len && begins_with(name, lower);
}

/* ---- believing -----------------------------------------------------------------------------------------------------
 */

/* The last entries of all X-Forwarded-For lines. Each balancer adds one; nobody has more than a few, and who writes
 * thousands shall not have them all compared with all networks. */
struct entries {
    struct span ring[FORWARD_ENTRIES_MAX];
    size_t count; /* of all that were added */
};

/* The elements of one line; an empty one is none (RFC 9110 5.6.1). */
static void add_list(struct entries *e, struct span list)
{
    while (list.len) {
        const char *comma = memchr(list.ptr, ',', list.len);
        size_t n = comma ? (size_t)(comma - list.ptr) : list.len;
        struct span entry = http_trim(span_of(list.ptr, n));
        if (entry.len)
            e->ring[e->count++ % FORWARD_ENTRIES_MAX] = entry;
        list = span_skip(list, comma ? n + 1 : n);
    }
}

struct ip forward_believe(struct span head, const struct ip *peer, const struct ip_network *trust, size_t trust_count)
{
    struct entries e = {.count = 0};
    struct span name, value;
    uint32_t at = 0;
    while (http_field_next(head, &at, &name, &value))
        if (span_equal_nocase(name, SPAN("x-forwarded-for")))
            add_list(&e, value);
    struct ip believed = *peer, told;
    size_t left = e.count < FORWARD_ENTRIES_MAX ? e.count : FORWARD_ENTRIES_MAX;
    while (left-- && ip_is_in(&believed, trust, trust_count) &&
           ip_parse(e.ring[--e.count % FORWARD_ENTRIES_MAX], &told))
        believed = told;
    return believed;
}

/* ---- writing -------------------------------------------------------------------------------------------------------
 */

#define FOR   "X-Forwarded-For: "
#define PROTO "X-Forwarded-Proto: "
#define HOST  "X-Forwarded-Host: "

static char *put(char *out, struct span s)
{
    if (s.len)
        memcpy(out, s.ptr, s.len);
    return out + s.len;
}

static char *put_line(char *out, struct span name, struct span value)
{
    return put(put(put(out, name), value), SPAN("\r\n"));
}

size_t forward_bytes_max(const struct forward *f)
{
    return sizeof FOR PROTO HOST + IP_TEXT_BYTES + f->proto.len + f->host.len + 3 * 2;
}

static bool is_dropped(const struct forward *f, struct span name)
{
    if (f->mode != FORWARD_REPLACE)
        return false;
    bool names_client = is_called(name, SPAN("x-forwarded-for")) || is_called(name, SPAN("forwarded")) ||
                        is_called(name, SPAN("x-real-ip"));
    return names_client || (!f->peer_is_trusted && begins_with(name, SPAN("x-forwarded-")));
}

/* Where the line that `name` begins ends, behind its CRLF. */
static const char *end_of_line(struct span head, struct span name)
{
    const char *feed = memchr(name.ptr, '\n', (size_t)(head.ptr + head.len - name.ptr));
    return feed + 1;
}

size_t forward_write(const struct forward *f, struct span head, char *out)
{
    char text[IP_TEXT_BYTES];
    const char *copied = head.ptr; /* up to here the head is written, or left out */
    const char *body_line = head.ptr + head.len - 2;
    char *to = out;
    bool has_proto = false, has_host = false;
    struct span name, value;
    uint32_t at = 0;
    while (http_field_next(head, &at, &name, &value)) {
        if (is_dropped(f, name)) {
            to = put(to, span_of(copied, (size_t)(name.ptr - copied)));
            copied = end_of_line(head, name);
            continue;
        }
        has_proto = has_proto || span_equal_nocase(name, SPAN("x-forwarded-proto"));
        has_host = has_host || span_equal_nocase(name, SPAN("x-forwarded-host"));
    }
    to = put(to, span_of(copied, (size_t)(body_line - copied)));
    const struct ip *client = f->mode == FORWARD_REPLACE ? &f->believed : &f->peer;
    if (ip_bytes(client).len)
        to = put_line(to, SPAN(FOR), span_from_str(ip_host_text(client, text)));
    if (!has_proto)
        to = put_line(to, SPAN(PROTO), f->proto);
    if (!has_host && f->host.len)
        to = put_line(to, SPAN(HOST), f->host);
    to = put(to, SPAN("\r\n"));
    return (size_t)(to - out);
}
