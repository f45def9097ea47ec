/* Responses: one verdict however the bytes arrive, and a framing that follows from request, status and fields alone. */
#include "head_checks.h"

static enum parse parse_response(struct http_head *h, struct span buffer, enum reason *why_out)
{
    return http_response_parse(h, buffer, HTTP_GET, HEAD_BYTES_MAX, why_out);
}

static enum parse parse_response_to_head(struct http_head *h, struct span buffer, enum reason *why_out)
{
    return http_response_parse(h, buffer, HTTP_HEAD, HEAD_BYTES_MAX, why_out);
}

static void check_status_line(const struct http_head *h, struct span head)
{
    char number[4] = {head.ptr[9], head.ptr[10], head.ptr[11], 0};
    assert(memcmp(head.ptr, h->minor ? "HTTP/1.1 " : "HTTP/1.0 ", 9) == 0);
    assert(atoi(number) == h->status && h->status >= 100 && h->status <= 999);
    assert(head.ptr[12] == ' ' || head.ptr[12] == '\r');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span bytes = span_of((const char *)data, size);
    struct head_outcome o = head_every_way(parse_response, bytes);
    struct head_outcome to_head = head_every_way(parse_response_to_head, bytes);
    assert(o.verdict == to_head.verdict && o.why == to_head.why);
    if (o.verdict != PARSE_OK)
        return 0;
    const struct http_head *h = &o.head;
    struct span head = span_of(bytes.ptr, h->end);
    assert(h->start == 0);
    head_check_bytes(head);
    check_status_line(h, head);
    head_check_fields(h, head);
    head_check_finders(head);
    bool bare = h->status < 200 || h->status == 204 || h->status == 304;
    assert(!bare || h->framing == HTTP_NO_BODY);
    assert(bare || h->framing != HTTP_NO_BODY || (h->facts & HTTP_HAS_LENGTH && h->length == 0));
    assert(to_head.head.framing == HTTP_NO_BODY);
    return 0;
}
