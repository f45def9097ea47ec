/*
 * A small machine per byte for everything but payload, which goes by in runs. In a chunked body:
 *
 *   SIZE_FIRST -> SIZE -> [EXTENSION ->] SIZE_LF -> DATA -> DATA_CR -> DATA_LF -> SIZE_FIRST ...
 *                  last chunk:  SIZE_LF -> LINE -> NAME -> VALUE -> VALUE_LF -> LINE ... -> END_LF -> DONE
 *
 * No blank is taken behind a size: the grammar has "bad white space" before an extension (RFC 9112 7.1.1), but Node
 * refuses it and others skip it, so it is one of those things that two parsers read differently.
 */
#include "http_body.h"

#include "http_byte.h"

enum state {
    DONE,       /* nothing more belongs to the body */
    DATA,       /* payload; `left` bytes of it, or without end */
    SIZE_FIRST, /* the first digit of a chunk size */
    SIZE,       /* more digits, ';' or CR */
    EXTENSION,  /* up to CR */
    SIZE_LF,    /* LF behind the size */
    DATA_CR,    /* CRLF behind a chunk's payload */
    DATA_LF,
    LINE,  /* the first byte of a trailer, or the CR of the last line */
    NAME,  /* of a trailer, up to ':' */
    VALUE, /* of a trailer, up to CR */
    VALUE_LF,
    END_LF /* the very last byte */
};

/* What tells framing or the life of the connection is no trailer (RFC 9110 6.5.1). Node takes it for one all the same:
 * `Connection: close` makes its parser refuse whatever comes next on the connection, which from a pool would be
 * somebody else's request; a Content-Length may become that of the next head. The last three are refused on demand. */
static const struct unwanted {
    struct span name; /* lower case */
    bool is_prefix;
} unwanted[] = {
    {{"content-length", 14}, false}, {{"transfer-encoding", 17}, false},
    {{"connection", 10}, false},     {{"proxy-connection", 16}, false},
    {{"upgrade", 7}, false},         {{"forwarded", 9}, false},
    {{"x-real-ip", 9}, false},       {{"x-forwarded-", 12}, true},
};
#define UNWANTED_ALWAYS (BIT(5) - 1)
#define UNWANTED_ALL    (BIT(COUNT_OF(unwanted)) - 1)

void http_body_init(struct http_body *b, enum http_framing framing, uint64_t length)
{
    *b = (struct http_body){.framing = (uint8_t)framing};
    switch (framing) {
    case HTTP_NO_BODY:
        b->state = DONE;
        break;
    case HTTP_LENGTH:
        b->left = length;
        b->state = length ? DATA : DONE;
        break;
    case HTTP_CHUNKED:
        b->state = SIZE_FIRST;
        break;
    case HTTP_UNTIL_CLOSE:
        b->left = UINT64_MAX;
        b->state = DATA;
        break;
    }
}

void http_body_refuse_forwarded(struct http_body *b)
{
    b->refuses_forwarded = true;
}

bool http_body_is_done(const struct http_body *b)
{
    return b->state == DONE;
}

/* Take as much payload as there is. */
static struct span take_data(struct http_body *b, struct span in)
{
    struct span data = span_of(in.ptr, in.len < b->left ? in.len : (size_t)b->left);
    if (b->framing == HTTP_UNTIL_CLOSE)
        return data;
    b->left -= data.len;
    if (b->left == 0)
        b->state = b->framing == HTTP_CHUNKED ? DATA_CR : DONE;
    return data;
}

static bool become(struct http_body *b, enum state next)
{
    b->state = (uint8_t)next;
    return true;
}

/* One more byte of the kind that HTTP_CHUNK_EXTRA_MAX bounds; it leads to `next`. */
static bool become_counted(struct http_body *b, enum state next)
{
    return ++b->extra <= HTTP_CHUNK_EXTRA_MAX && become(b, next);
}

static bool take_size_digit(struct http_body *b, char c)
{
    unsigned digit = http_byte_hex(c);
    if (digit == 0 && b->left == 0) /* leading */
        return become_counted(b, SIZE);
    /* a size over 2^63-1 is negative to somebody, as such a Content-Length is */
    if (b->left > (uint64_t)INT64_MAX >> 4)
        return false;
    b->left = b->left << 4 | digit;
    return become(b, SIZE);
}

/* The size line is over. */
static bool begin_chunk(struct http_body *b)
{
    b->extra = 0;
    return become(b, b->left ? DATA : LINE);
}

/* One byte more of a trailer's name: which of the unwanted ones may it still become? Some readers take "_" for "-". */
static bool take_name(struct http_body *b, char c)
{
    char folded = c == '_' ? '-' : (char)(c | 0x20);
    FOR_EACH (row, unwanted) {
        struct span name = unwanted[row_at].name;
        bool is_over = b->name_len >= name.len;
        if (is_over ? !unwanted[row_at].is_prefix : folded != name.ptr[b->name_len])
            b->names &= (uint8_t)~BIT(row_at);
    }
    if (b->names && b->name_len < UINT8_MAX)
        b->name_len++;
    return http_byte_is(c, HTTP_BYTE_TOKEN) && become_counted(b, NAME);
}

static bool begin_name(struct http_body *b, char c)
{
    b->names = b->refuses_forwarded ? UNWANTED_ALL : UNWANTED_ALWAYS;
    b->name_len = 0;
    return take_name(b, c);
}

static bool end_name(struct http_body *b)
{
    FOR_EACH (row, unwanted)
        if (b->names & BIT(row_at) && b->name_len >= unwanted[row_at].name.len)
            return false;
    return become_counted(b, VALUE);
}

/* One byte that is no payload. False: it cannot stand here. */
static bool take_framing(struct http_body *b, char c)
{
    switch ((enum state)b->state) {
    case SIZE_FIRST:
        return http_byte_is(c, HTTP_BYTE_HEX) && take_size_digit(b, c);
    case SIZE:
        if (http_byte_is(c, HTTP_BYTE_HEX))
            return take_size_digit(b, c);
        if (c == ';')
            return become_counted(b, EXTENSION);
        return c == '\r' && become(b, SIZE_LF);
    case EXTENSION:
        if (c == '\r')
            return become(b, SIZE_LF);
        return c != '\t' && !http_byte_is(c, HTTP_BYTE_CONTROL) && become_counted(b, EXTENSION);
    case SIZE_LF:
        return c == '\n' && begin_chunk(b);
    case DATA_CR:
        return c == '\r' && become(b, DATA_LF);
    case DATA_LF:
        return c == '\n' && become(b, SIZE_FIRST);
    case LINE:
        if (c == '\r')
            return become(b, END_LF);
        return begin_name(b, c);
    case NAME:
        return c == ':' ? end_name(b) : take_name(b, c);
    case VALUE:
        if (c == '\r')
            return become_counted(b, VALUE_LF);
        return !http_byte_is(c, HTTP_BYTE_CONTROL) && become_counted(b, VALUE);
    case VALUE_LF:
        return c == '\n' && become_counted(b, LINE);
    case END_LF:
        return c == '\n' && become(b, DONE);
    case DONE:
    case DATA:
        break;
    }
    return false;
}

enum parse http_body_next(struct http_body *b, struct span in, size_t *used_out, struct span *data_out)
{
    size_t at = 0;
    *data_out = span_of(in.ptr, 0);
    *used_out = 0;
    while (at < in.len && b->state != DONE) {
        if (b->state == DATA) {
            if (data_out->len)
                break; /* one run a call */
            *data_out = take_data(b, span_skip(in, at));
            at += data_out->len;
        } else if (take_framing(b, in.ptr[at])) {
            at++;
        } else {
            *used_out = at;
            return PARSE_BAD;
        }
    }
    *used_out = at;
    return b->state == DONE ? PARSE_OK : PARSE_MORE;
}
