/*
 * fuzz_forward - any request head that http_head accepts, behind a byte that says who sent it and who is trusted.
 *
 * What is believed is what a plain walk over all entries from the right finds. What is written is a request that is
 * framed and routed as before: each line of it is one of the input in its order, but for the dropped ones, or ours; and
 * nothing of the forwarded family that an untrusted peer wrote is left in `replace`.
 */
#include "../../proxy/core/forward.h"
#include "../../proxy/core/http_byte.h"
#include "../../proxy/core/http_head.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { HEAD_BYTES_MAX = 4096, ADDED_BYTES_MAX = 2 * HEAD_BYTES_MAX };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- who is who ---- */

struct scene {
    enum forward_mode mode;
    struct ip peer;
    struct ip_network trust[4];
    size_t trust_count;
    struct span proto;
};

static struct ip ip(const char *text)
{
    struct ip a;
    bool read = ip_parse(span_from_str(text), &a);
    assert(read);
    return a;
}

/* bit 0: replace; 1-2: which peer; 3-4: how many networks are trusted; 5: https */
static struct scene scene_of(uint8_t byte)
{
    static const char *const peers[] = {"198.51.100.1:7", "10.0.0.1:7", "[fd00::1]:7"};
    unsigned peer = byte >> 1 & 3, trusted = byte >> 3 & 3;
    struct scene s = {
        .mode = byte & 1 ? FORWARD_REPLACE : FORWARD_APPEND,
        .peer.family = IP_NONE,
        .trust = {{ip("10.0.0.0"), 8}, {ip("fd00::"), 8}, {.base.family = IP_NONE}, {ip("0.0.0.0"), 0}},
        .trust_count = trusted + (trusted > 0), /* none, two, with unix, and all of IPv4 */
        .proto = byte & 32 ? SPAN("https") : SPAN("http"),
    };
    if (peer < COUNT_OF(peers))
        s.peer = ip(peers[peer]);
    return s;
}

/* ---- lines, read without http_head ---- */

static bool take_line(struct span *rest, struct span *line_out)
{
    size_t n = 0;
    while (n + 1 < rest->len && memcmp(rest->ptr + n, "\r\n", 2) != 0)
        n++;
    if (rest->len == 0)
        return false;
    *line_out = span_of(rest->ptr, n + 2);
    *rest = span_skip(*rest, n + 2);
    return true;
}

/* Name and value of a line of a field. */
static bool split_line(struct span line, struct span *name_out, struct span *value_out)
{
    const char *colon = memchr(line.ptr, ':', line.len);
    if (!colon)
        return false;
    *name_out = span_of(line.ptr, (size_t)(colon - line.ptr));
    *value_out = span_of(colon + 1, line.len - name_out->len - 3);
    return true;
}

/* As a WSGI server names it. */
static void variable_of(struct span name, char out[64])
{
    size_t n = name.len < 63 ? name.len : 63;
    for (size_t i = 0; i < n; i++)
        out[i] = name.ptr[i] == '_' ? '-' : ascii_lower(name.ptr[i]);
    out[n] = '\0';
}

static bool is_dropped(const struct scene *s, bool peer_is_trusted, const char *variable)
{
    if (s->mode == FORWARD_APPEND)
        return false;
    if (!peer_is_trusted && strncmp(variable, "x-forwarded-", 12) == 0)
        return true;
    return strcmp(variable, "x-forwarded-for") == 0 || strcmp(variable, "forwarded") == 0 ||
           strcmp(variable, "x-real-ip") == 0;
}

/* ---- believing ---- */

static size_t entries_of(struct span head, struct span out[HEAD_BYTES_MAX])
{
    size_t count = 0;
    struct span line, name, value;
    (void)take_line(&head, &line);
    while (take_line(&head, &line)) {
        if (!split_line(line, &name, &value) || !span_equal_nocase(name, SPAN("X-Forwarded-For")))
            continue;
        for (size_t from = 0, at = 0; at <= value.len; at++)
            if (at == value.len || value.ptr[at] == ',') {
                struct span entry = http_trim(span_of(value.ptr + from, at - from));
                if (entry.len)
                    out[count++] = entry;
                from = at + 1;
            }
    }
    return count;
}

static struct ip walk(const struct scene *s, struct span head)
{
    static struct span entries[HEAD_BYTES_MAX];
    struct ip client = s->peer, next;
    size_t left = entries_of(head, entries), floor = left > FORWARD_ENTRIES_MAX ? left - FORWARD_ENTRIES_MAX : 0;
    while (left > floor && ip_is_in(&client, s->trust, s->trust_count) && ip_parse(entries[--left], &next))
        client = next;
    return client;
}

/* ---- writing ---- */

static size_t added_lines(const struct forward *f, bool has_proto, bool has_host, char out[ADDED_BYTES_MAX])
{
    char text[IP_TEXT_BYTES];
    const struct ip *client = f->mode == FORWARD_REPLACE ? &f->believed : &f->peer;
    int n = 0;
    out[0] = '\0';
    if (ip_bytes(client).len)
        n += snprintf(out + n, ADDED_BYTES_MAX - (size_t)n, "X-Forwarded-For: %s\r\n", ip_host_text(client, text));
    if (!has_proto)
        n += snprintf(out + n, ADDED_BYTES_MAX - (size_t)n, "X-Forwarded-Proto: %.*s\r\n", (int)f->proto.len,
                      f->proto.ptr);
    if (!has_host && f->host.len)
        n +=
            snprintf(out + n, ADDED_BYTES_MAX - (size_t)n, "X-Forwarded-Host: %.*s\r\n", (int)f->host.len, f->host.ptr);
    assert(n >= 0 && n < ADDED_BYTES_MAX);
    return (size_t)n;
}

static void check_lines(const struct scene *s, const struct forward *f, struct span head, struct span written)
{
    static char ours[ADDED_BYTES_MAX];
    bool has_proto = false, has_host = false, is_first = true;
    struct span line, kept, value;
    while (take_line(&head, &line) && line.len > 2) {
        char variable[64] = "";
        struct span name = span_of("", 0);
        if (!is_first && split_line(line, &name, &value))
            variable_of(name, variable);
        is_first = false;
        if (is_dropped(s, f->peer_is_trusted, variable))
            continue;
        has_proto = has_proto || span_equal_nocase(name, SPAN("x-forwarded-proto"));
        has_host = has_host || span_equal_nocase(name, SPAN("x-forwarded-host"));
        assert(take_line(&written, &kept) && span_equal(kept, line));
    }
    size_t n = added_lines(f, has_proto, has_host, ours);
    assert(written.len == n + 2);
    assert(memcmp(written.ptr, ours, n) == 0);
    assert(memcmp(written.ptr + n, "\r\n", 2) == 0);
}

/* To whoever reads it next it is the same request. */
static void check_read_again(const struct http_head *h, struct span head, struct span written)
{
    struct http_head again;
    enum reason why = REASON_NONE;
    http_head_init(&again);
    enum parse parsed = http_request_parse(&again, written, UINT32_MAX, &why);
    if (parsed == PARSE_BAD && h->fields > HTTP_FIELDS_MAX - 3) {
        assert(why == REASON_HEAD_TOO_LARGE);
        return;
    }
    assert(parsed == PARSE_OK && again.start == 0 && again.end == written.len);
    assert(again.method == h->method && again.minor == h->minor && again.facts == h->facts);
    assert(again.framing == h->framing && again.length == h->length);
    assert(span_equal(span_in(written, again.method_name), span_in(head, h->method_name)));
    assert(span_equal(span_in(written, again.target), span_in(head, h->target)));
    assert(span_equal(span_in(written, again.host), span_in(head, h->host)));
}

static char *copy_of(struct span bytes)
{
    char *copy = malloc(bytes.len ? bytes.len : 1);
    if (!copy)
        abort();
    if (bytes.len)
        memcpy(copy, bytes.ptr, bytes.len);
    return copy;
}

/* `head` is whole, and nothing lies around it. */
static void check_head(const struct scene *s, struct span head)
{
    struct http_head h;
    enum reason why = REASON_NONE;
    http_head_init(&h);
    enum parse parsed = http_request_parse(&h, head, HEAD_BYTES_MAX, &why);
    assert(parsed == PARSE_OK && h.end == head.len);
    struct forward f = {
        .mode = s->mode,
        .peer_is_trusted = ip_is_in(&s->peer, s->trust, s->trust_count),
        .peer = s->peer,
        .believed = forward_believe(head, &s->peer, s->trust, s->trust_count),
        .host = span_in(head, h.host),
        .proto = s->proto,
    };
    struct ip walked = walk(s, head);
    assert(ip_equal(&f.believed, &walked) && f.believed.port == walked.port);

    size_t room = head.len + forward_bytes_max(&f);
    char *out = malloc(room);
    if (!out)
        abort();
    size_t n = forward_write(&f, head, out);
    assert(n <= room);
    check_lines(s, &f, head, span_of(out, n));
    check_read_again(&h, head, span_of(out, n));
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http_head h;
    enum reason why;
    if (size == 0)
        return 0;
    struct span bytes = span_of((const char *)data + 1, size - 1);
    http_head_init(&h);
    if (http_request_parse(&h, bytes, HEAD_BYTES_MAX, &why) != PARSE_OK)
        return 0;
    struct scene s = scene_of(data[0]);
    struct span head = span_of(bytes.ptr + h.start, h.end - h.start);
    char *copy = copy_of(head);
    check_head(&s, span_of(copy, head.len));
    free(copy);
    return 0;
}
