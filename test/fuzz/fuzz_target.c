/*
 * fuzz_target - request targets (and cookie values): what is read must survive being written again, and must not change
 * with what cannot count.
 */
#include "../../proxy/core/eio.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

static const struct span paths[] = {{"/socket.io/", 11}, {"/socket.io", 10}};

static struct eio_target parse(struct span target, enum eio_repeated repeated)
{
    struct eio_target t;
    eio_target_parse(target, paths, COUNT_OF(paths), repeated, &t);
    return t;
}

static void check_sound(const struct eio_target *t, struct span target)
{
    assert(t->path >= EIO_NO_PATH && t->path < (int)COUNT_OF(paths));
    assert(t->path == EIO_NO_PATH || span_starts_with(target, paths[t->path]));
    assert(t->transport <= EIO_TRANSPORT_OTHER);
    assert(t->sid_len <= SID_BYTES_MAX);
    assert(t->has_sid == (t->sid_len > 0));
    assert(!t->has_sid || t->path != EIO_NO_PATH);
    assert(!t->sid_is_too_long || t->sid_len == SID_BYTES_MAX);
}

/* Every byte of the sid percent-encoded, in a parameter whose name is so too. */
static void check_written_again(const struct eio_target *t)
{
    char target[3 * SID_BYTES_MAX + 64];
    int at = snprintf(target, sizeof(target), "/socket.io/?%%73i%%64=");
    for (size_t i = 0; i < t->sid_len; i++)
        at += snprintf(target + at, sizeof(target) - (size_t)at, i % 2 ? "%%%02x" : "%%%02X", (uint8_t)t->sid[i]);
    struct eio_target again = parse(span_of(target, (size_t)at), EIO_LAST_COUNTS);
    assert(span_equal(eio_sid(&again), eio_sid(t)));
}

static void check_same(const struct eio_target *a, const struct eio_target *b)
{
    assert(a->path == b->path && a->transport == b->transport && a->has_eio == b->has_eio);
    assert(a->sid_is_too_long == b->sid_is_too_long && span_equal(eio_sid(a), eio_sid(b)));
}

/* `target` with `tail` behind it. */
static struct eio_target parse_with(struct span target, const char *tail, enum eio_repeated repeated)
{
    size_t tail_len = strlen(tail);
    char *longer = malloc(target.len + tail_len);
    if (!longer)
        abort();
    memcpy(longer, target.ptr, target.len);
    memcpy(longer + target.len, tail, tail_len);
    struct eio_target t = parse(span_of(longer, target.len + tail_len), repeated);
    free(longer);
    return t;
}

static void check_tails(struct span target, const struct eio_target *last, const struct eio_target *first)
{
    struct eio_target t = parse_with(target, "#&sid=tail&EIO=4&transport=websocket", EIO_LAST_COUNTS);
    check_same(&t, last);

    bool in_query = memchr(target.ptr, '?', target.len) && !memchr(target.ptr, '#', target.len);
    if (!in_query || last->path == EIO_NO_PATH)
        return;
    t = parse_with(target, "&sid=tail", EIO_LAST_COUNTS);
    assert(span_equal(eio_sid(&t), SPAN("tail")));
    t = parse_with(target, "&sid=", EIO_LAST_COUNTS);
    assert(!t.has_sid);
    t = parse_with(target, "&sid=tail", EIO_FIRST_COUNTS);
    assert(span_equal(eio_sid(&t), first->has_sid ? eio_sid(first) : SPAN("tail")));
    t = parse_with(target, "&sid=", EIO_FIRST_COUNTS);
    check_same(&t, first);
}

static void check_shown(struct span sid)
{
    char shown[SID_SHOWN_BYTES];
    eio_sid_shown(sid, shown);
    size_t told = strlen(shown) - 3;
    assert(told <= 6 && told * 3 <= sid.len && strcmp(shown + told, "...") == 0);
}

static void check_cookie(struct span value)
{
    char out[64];
    size_t len = 0;
    if (eio_cookie_decode(value, out, sizeof(out), &len))
        assert(len <= sizeof(out) && len <= value.len && 3 * len >= value.len);
    else
        assert(value.len > sizeof(out));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span target = span_of((const char *)data, size), path;
    if (size == 0)
        return 0;
    struct eio_target last = parse(target, EIO_LAST_COUNTS), first = parse(target, EIO_FIRST_COUNTS);
    check_sound(&last, target);
    check_sound(&first, target);
    assert(last.path == first.path && last.has_eio == first.has_eio);
    check_written_again(&last);
    check_written_again(&first);
    check_tails(target, &last, &first);
    check_shown(target);
    check_cookie(target);
    if (eio_looks_misplaced(&last, target, &path))
        assert(path.ptr == target.ptr && path.len < size && target.ptr[path.len] == '?' && last.path == EIO_NO_PATH);
    return 0;
}
