/*
 * learn - undoes the coding, keeps what is undecided, and lets eio_open judge all of it.
 *
 *   payload --identity--------------------------> eio_open_parse     whole in one piece: nothing is copied
 *           --identity, undecided--> seen ------> eio_open_parse
 *           --gzip, deflate--> inflate --> seen --^                  `seen` is also the limit of what inflates
 */
#define ZLIB_CONST
#include "learn.h"
#include "http_byte.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <zlib.h>

enum coding {
    CODING_IDENTITY,
    CODING_GZIP,
    CODING_DEFLATE, /* zlib or raw: its first two bytes tell */
    CODING_UNKNOWN
};

struct learn {
    struct eio_open open;
    enum coding coding;
    enum learn_state state;
    const char *failure;
    z_stream z;          /* gzip, deflate */
    bool deflate_begun;  /* deflate: zlib or raw is decided */
    uint8_t first_len;   /* deflate: bytes held in `first` until there are two */
    uint8_t first[2];    /* ... */
    bool stream_is_over; /* inflate is at its end: nothing will be added to `seen` */
    bool lacks_memory;   /* inflate did not get what it needs */
    size_t seen_len;
    char seen[EIO_OPEN_BYTES_MAX]; /* decoded payload so far, when it does not lie whole in the caller's */
};

/* --- begin and end --- */

static enum coding coding_find(struct span name)
{
    static const struct {
        struct span name;
        enum coding coding;
    } rows[] = {
        {{"", 0}, CODING_IDENTITY},   {{"identity", 8}, CODING_IDENTITY}, {{"gzip", 4}, CODING_GZIP},
        {{"x-gzip", 6}, CODING_GZIP}, {{"deflate", 7}, CODING_DEFLATE},
    };
    name = http_trim(name);
    FOR_EACH (row, rows) {
        if (span_equal_nocase(name, rows[row_at].name))
            return rows[row_at].coding;
    }
    return CODING_UNKNOWN;
}

static bool is_inflated(enum coding coding)
{
    return coding == CODING_GZIP || coding == CODING_DEFLATE;
}

struct learn *learn_new(struct span content_encoding)
{
    enum { GZIP = 16 }; /* zlib.h: added to the window bits */
    struct learn *l = malloc(sizeof(*l));
    if (!l)
        return NULL;
    memset(l, 0, offsetof(struct learn, seen));
    l->coding = coding_find(content_encoding);
    l->failure = "not-open";
    if (is_inflated(l->coding)) {
        int bits = l->coding == CODING_GZIP ? MAX_WBITS + GZIP : MAX_WBITS;
        if (inflateInit2(&l->z, bits) != Z_OK) {
            free(l);
            return NULL;
        }
    }
    return l;
}

void learn_free(struct learn *l)
{
    if (!l)
        return;
    if (is_inflated(l->coding))
        inflateEnd(&l->z);
    free(l);
}

/* --- judging --- */

static enum learn_state fail_as(struct learn *l, const char *why)
{
    l->failure = why;
    l->open.sid_len = 0;
    return LEARN_FAILED;
}

static enum learn_state judge(struct learn *l, struct span decoded)
{
    switch (eio_open_parse(decoded, &l->open)) {
    case PARSE_OK:
        return LEARN_DONE;
    case PARSE_BAD:
        return fail_as(l, "not-open");
    case PARSE_MORE:
        break;
    }
    bool has_sid = l->open.sid_len > 0;
    if (decoded.len >= EIO_OPEN_BYTES_MAX)
        return has_sid ? LEARN_DONE : fail_as(l, "too-long");
    return has_sid ? LEARN_SID : LEARN_MORE;
}

/* As much of `payload` as fits; what is over the limit is never looked at. */
static void keep(struct learn *l, struct span payload)
{
    size_t room = sizeof(l->seen) - l->seen_len;
    size_t n = payload.len < room ? payload.len : room;
    memcpy(l->seen + l->seen_len, payload.ptr, n);
    l->seen_len += n;
}

static enum learn_state feed_identity(struct learn *l, struct span payload)
{
    if (l->seen_len) {
        keep(l, payload);
        return judge(l, span_of(l->seen, l->seen_len));
    }
    enum learn_state state = judge(l, payload);
    if (state == LEARN_MORE || state == LEARN_SID)
        keep(l, payload);
    return state;
}

/* --- inflating --- */

/* Add to `seen` what `coded` inflates to, until that is full; there is a byte of the one and room for one in the other,
 * so that inflate can always do something. False: a broken stream. */
static bool inflate_some(struct learn *l, struct span coded)
{
    assert(coded.len <= UINT_MAX);
    l->z.next_in = (const Bytef *)coded.ptr;
    l->z.avail_in = (uInt)coded.len;
    l->z.next_out = (Bytef *)l->seen + l->seen_len;
    l->z.avail_out = (uInt)(sizeof(l->seen) - l->seen_len);
    int rc = inflate(&l->z, Z_SYNC_FLUSH);
    l->seen_len = sizeof(l->seen) - l->z.avail_out;
    l->stream_is_over = rc == Z_STREAM_END;
    l->lacks_memory = rc == Z_MEM_ERROR;
    return rc == Z_OK || rc == Z_STREAM_END;
}

/* RFC 1950, 2.2: method 8, a window of at most 32 KiB, and the check bits of both bytes. */
static bool is_zlib_head(const uint8_t first[2])
{
    return (first[0] & 0x0F) == 8 && first[0] >> 4 <= 7 && (first[0] << 8 | first[1]) % 31 == 0;
}

/* "deflate" means zlib (RFC 9110, 8.4.1.2), but some send bare deflate: hold the first two bytes until both are there.
 */
static bool begin_deflate(struct learn *l, struct span *coded)
{
    while (l->first_len < sizeof(l->first) && coded->len) {
        l->first[l->first_len++] = (uint8_t)coded->ptr[0];
        *coded = span_skip(*coded, 1);
    }
    if (l->first_len < sizeof(l->first))
        return true;
    l->deflate_begun = true;
    if (!is_zlib_head(l->first) && inflateReset2(&l->z, -MAX_WBITS) != Z_OK)
        return false;
    return inflate_some(l, span_of((const char *)l->first, sizeof(l->first)));
}

static bool undo_coding(struct learn *l, struct span coded)
{
    if (l->coding == CODING_UNKNOWN)
        return false;
    if (l->coding == CODING_DEFLATE && !l->deflate_begun && !begin_deflate(l, &coded))
        return false;
    return coded.len == 0 || l->stream_is_over || inflate_some(l, coded);
}

/* What a stream gave before it broke off still counts when that is the whole packet. */
static enum learn_state feed_coded(struct learn *l, struct span coded)
{
    bool is_sound = undo_coding(l, coded);
    enum learn_state state = judge(l, span_of(l->seen, l->seen_len));
    if (state == LEARN_DONE || state == LEARN_FAILED)
        return state;
    if (!is_sound)
        return fail_as(l, l->lacks_memory ? "no-memory" : "encoded");
    return l->stream_is_over ? fail_as(l, "not-open") : state;
}

enum learn_state learn_feed(struct learn *l, struct span payload)
{
    bool is_settled = l->state == LEARN_DONE || l->state == LEARN_FAILED;
    if (!is_settled && payload.len)
        l->state = l->coding == CODING_IDENTITY ? feed_identity(l, payload) : feed_coded(l, payload);
    return l->state;
}

const struct eio_open *learn_open(const struct learn *l)
{
    return &l->open;
}

const char *learn_failure(const struct learn *l)
{
    return l->failure;
}
