/*
 * fuzz_open - open packets in every framing, and first websocket frames: an answer holds for all longer inputs, and a
 * sid that was read can be written in every framing and read again. Also the bodies that disown a sid.
 */
#include "../../proxy/core/eio_open.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

typedef enum parse parser(struct span bytes, struct eio_open *out);

static void check_sound(enum parse p, const struct eio_open *open)
{
    assert(open->sid_len <= SID_BYTES_MAX);
    assert(open->framing < EIO_OPEN_FRAMINGS);
    assert(p != PARSE_OK || open->sid_len > 0);
    assert(p != PARSE_BAD || open->sid_len == 0);
}

static bool is_same(const struct eio_open *a, const struct eio_open *b)
{
    return span_equal(span_of(a->sid, a->sid_len), span_of(b->sid, b->sid_len)) && a->framing == b->framing &&
           a->ping_interval_ms == b->ping_interval_ms && a->ping_timeout_ms == b->ping_timeout_ms &&
           a->max_payload == b->max_payload;
}

/* Cut at every byte of a short input, at some of a long one; each cut in memory of its own, so that a byte too far is
 * seen. */
static enum parse check_cuts(parser *parse, struct span bytes, struct eio_open *whole)
{
    enum parse settled = parse(bytes, whole);
    check_sound(settled, whole);
    for (size_t n = 0; n < bytes.len; n += 1 + bytes.len / 512) {
        char *copy = malloc(n ? n : 1);
        if (!copy)
            abort();
        memcpy(copy, bytes.ptr, n);
        struct eio_open cut;
        enum parse p = parse(span_of(copy, n), &cut);
        free(copy);
        check_sound(p, &cut);
        assert(p == PARSE_MORE || p == settled);
        assert(p != PARSE_OK || is_same(&cut, whole));
    }
    return settled;
}

static void check_reads(parser *parse, const char *bytes, size_t len, struct span sid)
{
    struct eio_open open;
    enum parse p = parse(span_of(bytes, len), &open);
    assert(p == PARSE_OK);
    assert(span_equal(span_of(open.sid, open.sid_len), sid));
}

/* A sid of ASCII (so that bytes and UTF-16 code units are the same number), written with every second character
 * escaped. */
static void check_written_again(struct span sid)
{
    enum { ROOM = 6 * SID_BYTES_MAX + 64 };
    char packet[ROOM], framed[2 * ROOM];
    size_t len = (size_t)sprintf(packet, "0{\"sid\":\"");
    for (size_t i = 0; i < sid.len; i++) {
        bool is_plain = i % 2 && sid.ptr[i] >= ' ' && sid.ptr[i] != '"' && sid.ptr[i] != '\\';
        if ((uint8_t)sid.ptr[i] >= 0x80)
            return;
        len += (size_t)sprintf(packet + len, is_plain ? "%c" : "\\u%04x", sid.ptr[i]);
    }
    len += (size_t)sprintf(packet + len, "\"}");
    check_reads(eio_open_parse, packet, len, sid);

    size_t n = (size_t)sprintf(framed, "%zu:%s2:40", len, packet);
    check_reads(eio_open_parse, framed, n, sid);

    n = 0;
    framed[n++] = 0;
    for (size_t tens = 1000; tens; tens /= 10)
        framed[n++] = (char)(len / tens % 10);
    framed[n++] = (char)0xFF;
    memcpy(framed + n, packet, len);
    check_reads(eio_open_parse, framed, n + len, sid);

    n = (size_t)sprintf(framed, "___eio[%zu](\"", len);
    for (size_t i = 0; i < len; i++) {
        if (packet[i] == '"' || packet[i] == '\\')
            framed[n++] = '\\';
        framed[n++] = packet[i];
    }
    n += (size_t)sprintf(framed + n, "\");");
    check_reads(eio_open_parse, framed, n, sid);

    n = 0;
    framed[n++] = (char)0x81;
    if (len < 126) {
        framed[n++] = (char)len;
    } else {
        framed[n++] = 126;
        framed[n++] = (char)(len >> 8);
        framed[n++] = (char)len;
    }
    memcpy(framed + n, packet, len);
    check_reads(eio_open_parse_frame, framed, n + len, sid);
}

/* A body that disowns a sid is a whole object: without its last brace it is none. */
static void check_body(struct span body)
{
    if (!eio_body_is_unknown_sid(body))
        return;
    while (body.ptr[body.len - 1] != '}')
        body.len--;
    assert(!eio_body_is_unknown_sid(span_of(body.ptr, body.len - 1)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span bytes = span_of((const char *)data, size);
    struct eio_open open;
    if (size == 0)
        return 0;
    if (check_cuts(eio_open_parse, bytes, &open) == PARSE_OK)
        check_written_again(span_of(open.sid, open.sid_len));
    if (check_cuts(eio_open_parse_frame, bytes, &open) == PARSE_OK)
        check_written_again(span_of(open.sid, open.sid_len));
    check_body(bytes);
    return 0;
}
