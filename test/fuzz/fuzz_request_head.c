/* Requests: one verdict however the bytes arrive, and nothing accepted that two parsers could frame differently. */
#include "head_checks.h"

static enum parse parse_request(struct http_head *h, struct span buffer, enum reason *why_out)
{
    return http_request_parse(h, buffer, HEAD_BYTES_MAX, why_out);
}

static unsigned count_fields(struct span head, struct span wanted)
{
    uint32_t at = 0;
    unsigned n = 0;
    struct span name, value;
    while (http_field_next(head, &at, &name, &value))
        n += span_equal_nocase(name, wanted);
    return n;
}

/* method SP target SP version, read back to front */
static void check_request_line(const struct http_head *h, struct span bytes, struct span head)
{
    struct span method = span_in(bytes, h->method_name), target = span_in(bytes, h->target);
    assert(method.len > 0 && target.len > 0);
    assert(method.ptr == head.ptr && target.ptr == method.ptr + method.len + 1);
    assert(method.ptr[method.len] == ' ' && target.ptr[target.len] == ' ');
    assert(memcmp(target.ptr + target.len + 1, h->minor ? "HTTP/1.1\r\n" : "HTTP/1.0\r\n", 10) == 0);
    assert(!memchr(target.ptr, ' ', target.len) && !memchr(target.ptr, '\t', target.len));
    assert(target.ptr[0] == '/' || (target.ptr[0] | 0x20) == 'h' ||
           (span_equal(target, SPAN("*")) && h->method == HTTP_OPTIONS));
    assert(!span_equal(method, SPAN("CONNECT")) && !span_equal(method, SPAN("PRI")));
}

static void check_host(const struct http_head *h, struct span bytes, struct span head)
{
    struct span value, host = span_in(bytes, h->host);
    assert(count_fields(head, SPAN("host")) <= 1);
    bool found = http_field_find(head, SPAN("host"), &value);
    assert(span_equal(host, found ? value : span_of(NULL, 0)));
    for (size_t i = 0; i < host.len; i++)
        assert(!strchr(" \t,/@?#%\\\"<>^`{|}", host.ptr[i]) && (uint8_t)host.ptr[i] < 0x80);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span bytes = span_of((const char *)data, size);
    struct head_outcome o = head_every_way(parse_request, bytes);
    if (o.verdict != PARSE_OK)
        return 0;
    const struct http_head *h = &o.head;
    assert(h->start <= 4 && h->start % 2 == 0);
    struct span head = span_of(bytes.ptr + h->start, h->end - h->start);
    head_check_bytes(head);
    check_request_line(h, bytes, head);
    head_check_fields(h, head);
    check_host(h, bytes, head);
    head_check_finders(head);
    assert(h->framing != HTTP_UNTIL_CLOSE);
    unsigned upgrades = count_fields(head, SPAN("upgrade"));
    assert((upgrades > 0) == !!(h->facts & HTTP_HAS_UPGRADE));
    assert(upgrades == 1 || !(h->facts & HTTP_NAMES_WEBSOCKET));
    return 0;
}
