/*
 * eio_open - peels the framing off, then reads the members of the JSON object (json.h does the reading).
 *
 *   ___eio[7]("97:0{\"sid\":...}")      JSONP: the string is unescaped first, what is in it may be framed once more
 *   00 09 07 FF 0{"sid":...}            EIO 3 binary: 00 or 01, one byte 0-9 for each digit of the length, FF
 *   97:0{"sid":...}2:40                 EIO 3 text: the length counts UTF-16 code units
 *   0{"sid":...}                        EIO 4; \x1e and further packets may follow
 *
 * Everything is read again from the start when more bytes have come: answers to handshakes come in one piece.
 */
#include "eio_open.h"
#include "json.h"

#define LENGTH_DIGITS_MAX 9

/* A packet: its bytes as far as they are there, and where it ends. */
struct packet {
    struct span bytes;
    bool has_length; /* the framing says where it ends; else the JSON object does */
    bool is_whole;   /* ... and that is within `bytes`, which ends there */
};

/* --- the packet --- */

static uint32_t to_uint32(uint64_t n)
{
    return n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
}

/* Of a key that comes twice the last value counts, as in JSON.parse. */
static void take_member(const struct json_member *member, struct eio_open *out)
{
    uint64_t number = 0;
    size_t len;
    if (json_string_is(member->key, SPAN("sid"))) {
        bool usable = json_string(member->value, out->sid, sizeof(out->sid), &len);
        out->sid_len = usable ? (uint16_t)len : 0;
        return;
    }
    if (!json_number(member->value, &number))
        number = 0;
    if (json_string_is(member->key, SPAN("pingInterval")))
        out->ping_interval_ms = to_uint32(number);
    else if (json_string_is(member->key, SPAN("pingTimeout")))
        out->ping_timeout_ms = to_uint32(number);
    else if (json_string_is(member->key, SPAN("maxPayload")))
        out->max_payload = number;
}

/* The object has to end where the framing says that the packet ends. */
static enum parse read_object(const struct packet *packet, struct eio_open *out)
{
    struct json_reader reader;
    struct json_member member;
    enum json_step step;

    json_begin(&reader, span_skip(packet->bytes, 1));
    while ((step = json_next(&reader, &member)) == JSON_MEMBER)
        take_member(&member, out);

    if (step == JSON_MORE)
        return packet->is_whole ? PARSE_BAD : PARSE_MORE;
    if (step == JSON_BAD || out->sid_len == 0)
        return PARSE_BAD;
    bool ends_here = packet->is_whole && reader.at == reader.text.len;
    return !packet->has_length || ends_here ? PARSE_OK : PARSE_BAD;
}

static enum parse read_packet(const struct packet *packet, struct eio_open *out)
{
    enum parse p;
    if (packet->bytes.len == 0)
        p = packet->is_whole ? PARSE_BAD : PARSE_MORE;
    else if (packet->bytes.ptr[0] != '0')
        p = PARSE_BAD;
    else
        p = read_object(packet, out);
    if (p == PARSE_BAD)
        out->sid_len = 0;
    return p;
}

/* --- framings --- */

static enum parse read_plain(struct span payload, struct eio_open *out)
{
    struct packet packet = {.bytes = payload};
    return read_packet(&packet, out);
}

/* The packet of `bytes` bytes that `rest` starts with. */
static enum parse read_counted(struct span rest, size_t bytes, struct eio_open *out)
{
    struct packet packet = {.bytes = rest, .has_length = true, .is_whole = rest.len >= bytes};
    if (packet.is_whole)
        packet.bytes.len = bytes;
    return read_packet(&packet, out);
}

/* UTF-16 code units of the character that starts with this byte of UTF-8. */
static size_t utf16_units(unsigned char byte)
{
    bool is_continuation = (byte & 0xC0) == 0x80;
    if (is_continuation)
        return 0;
    return byte >= 0xF0 ? 2 : 1;
}

/* How many bytes of `text` are `units` UTF-16 code units; SIZE_MAX: more than there are. */
static size_t utf16_prefix(struct span text, size_t units)
{
    size_t at = 0;
    while (units && at < text.len) {
        size_t n = utf16_units((unsigned char)text.ptr[at++]);
        units = n < units ? units - n : 0;
    }
    return units ? SIZE_MAX : at;
}

/* Decimal digits at the start of `text`, each at most `zero` + 9; how many into *digits_out. */
static size_t read_length(struct span text, char zero, size_t *digits_out)
{
    size_t n = 0, length = 0;
    while (n < text.len && n <= LENGTH_DIGITS_MAX && text.ptr[n] >= zero && text.ptr[n] <= zero + 9)
        length = length * 10 + (size_t)(text.ptr[n++] - zero);
    *digits_out = n;
    return length;
}

static enum parse read_binary(struct span payload, struct eio_open *out)
{
    struct span rest = span_skip(payload, 1);
    size_t digits, length = read_length(rest, 0, &digits);
    out->framing = EIO_OPEN_BINARY;
    if (digits > LENGTH_DIGITS_MAX)
        return PARSE_BAD;
    if (digits == rest.len)
        return PARSE_MORE;
    if (digits == 0 || (unsigned char)rest.ptr[digits] != 0xFF)
        return PARSE_BAD;
    return read_counted(span_skip(rest, digits + 1), length, out);
}

/* Text framing or none: a length and a colon, or not. */
static enum parse read_text(struct span payload, struct eio_open *out)
{
    size_t digits, length = read_length(payload, '0', &digits);
    if (digits > LENGTH_DIGITS_MAX)
        return PARSE_BAD;
    if (digits == payload.len)
        return PARSE_MORE;
    if (digits == 0 || payload.ptr[digits] != ':')
        return read_plain(payload, out);

    out->framing = EIO_OPEN_TEXT;
    struct span rest = span_skip(payload, digits + 1);
    return read_counted(rest, utf16_prefix(rest, length), out);
}

/* `payload` begins as `___eio[<digits>]("` does, as far as it goes: *head_out bytes of it, PARSE_OK if that is all of
 * it. */
static enum parse read_jsonp_head(struct span payload, size_t *head_out)
{
    static const struct span before = {"___eio[", 7}, after = {"](\"", 3};
    if (payload.len < before.len)
        return span_starts_with(before, payload) ? PARSE_MORE : PARSE_BAD;
    if (!span_starts_with(payload, before))
        return PARSE_BAD;
    size_t at = before.len;
    while (at < payload.len && payload.ptr[at] >= '0' && payload.ptr[at] <= '9')
        at++;
    struct span rest = span_skip(payload, at);
    *head_out = at + after.len;
    if (rest.len < after.len)
        return span_starts_with(after, rest) ? PARSE_MORE : PARSE_BAD;
    return span_starts_with(rest, after) ? PARSE_OK : PARSE_BAD;
}

static enum parse read_jsonp(struct span payload, struct eio_open *out)
{
    char text[EIO_OPEN_BYTES_MAX]; /* no escape is shorter than what it stands for */
    size_t head, len;
    out->framing = EIO_OPEN_JSONP;
    enum parse p = read_jsonp_head(payload, &head);
    if (p != PARSE_OK)
        return p;
    enum parse literal = json_unescape(span_skip(payload, head), text, sizeof(text), &len);
    p = read_text(span_of(text, len), out);
    out->framing = EIO_OPEN_JSONP;
    if (p == PARSE_MORE && literal != PARSE_MORE) { /* the string is over or broken: nothing will follow */
        out->sid_len = 0;
        return PARSE_BAD;
    }
    return p;
}

static void open_init(struct eio_open *open)
{
    open->ping_interval_ms = 0;
    open->ping_timeout_ms = 0;
    open->max_payload = 0;
    open->framing = EIO_OPEN_PLAIN;
    open->sid_len = 0;
}

enum parse eio_open_parse(struct span payload, struct eio_open *out)
{
    open_init(out);
    if (payload.len == 0)
        return PARSE_MORE;
    if (payload.len > EIO_OPEN_BYTES_MAX)
        payload.len = EIO_OPEN_BYTES_MAX;
    switch (payload.ptr[0]) {
    case '_':
        return read_jsonp(payload, out);
    case 0:
    case 1:
        return read_binary(payload, out);
    default:
        return read_text(payload, out);
    }
}

/* --- websocket --- */

/* The head of an unmasked final text frame without extensions (RFC 6455, 5.2), in the shortest form as it must be. */
static enum parse read_frame_head(struct span bytes, size_t *head_out, size_t *length_out)
{
    enum { FIN_TEXT = 0x81, LENGTH_IS_16_BITS = 126 };
    const unsigned char *b = (const unsigned char *)bytes.ptr;
    if (bytes.len >= 1 && b[0] != FIN_TEXT)
        return PARSE_BAD;
    if (bytes.len < 2)
        return PARSE_MORE;
    *head_out = 2;
    *length_out = b[1];
    if (b[1] < LENGTH_IS_16_BITS)
        return PARSE_OK;
    if (b[1] > LENGTH_IS_16_BITS)
        return PARSE_BAD; /* masked, or far too long for an open packet */
    if (bytes.len < 4)
        return PARSE_MORE;
    *head_out = 4;
    *length_out = (size_t)b[2] << 8 | b[3];
    return *length_out < LENGTH_IS_16_BITS || *length_out > EIO_OPEN_BYTES_MAX ? PARSE_BAD : PARSE_OK;
}

enum parse eio_open_parse_frame(struct span bytes, struct eio_open *out)
{
    size_t head, length;
    open_init(out);
    enum parse p = read_frame_head(bytes, &head, &length);
    return p == PARSE_OK ? read_counted(span_skip(bytes, head), length, out) : p;
}
