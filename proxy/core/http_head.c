/*
 * One scan runs over every byte of a head once: it stops at the first control byte, which has to be the CR of a CRLF.
 * So a stray control is refused as soon as it arrives, and the verdict never depends on how the bytes were cut. Each
 * whole line is then judged by itself; what several lines say together is judged at the empty line.
 *
 *   request:   BEFORE --begin_request--> FIRST --judge_request_line--> FIELDS --judge_field...--> end_head
 *   response:  BEFORE --begin_response--> FIRST --judge_status_line--> FIELDS --judge_field...--> end_head
 */
#include "http_head.h"

#include "http_byte.h"

#define EMPTY_LINES_MAX 2 /* CRLF before a request line that are dropped (RFC 9112 2.2) */
#define PORT_DIGITS_MAX 5
#define PORT_MAX        65535

enum phase { PHASE_BEFORE, PHASE_FIRST, PHASE_FIELDS };

enum side { REQUEST, RESPONSE };

enum { SEEN_HOST = 1 << 0, SEEN_TRANSFER_ENCODING = 1 << 1 };

void http_head_init(struct http_head *h)
{
    *h = (struct http_head){.phase = PHASE_BEFORE};
}

void http_head_drop_empty_lines(struct http_head *h)
{
    uint8_t dropped = (uint8_t)(h->dropped + h->start);
    http_head_init(h);
    h->dropped = dropped;
}

/* ---- bytes ---- */

#define EACH_BYTE(b) (UINT64_MAX / 255 * (b))

/* Is one of eight bytes under 0x20 (the tab, too) or 0x7f? Subtracting borrows out of a byte's top bit only where the
 * byte is smaller, or behind one that is: a "no" is always right, and so is a "yes". */
static bool word_has_control(uint64_t word)
{
    uint64_t del = word ^ EACH_BYTE(0x7f);
    uint64_t under_blank = (word - EACH_BYTE(0x20)) & ~word;
    uint64_t is_del = (del - EACH_BYTE(1)) & ~del;
    return (under_blank | is_del) & EACH_BYTE(0x80);
}

/* Where the first control byte (a tab is none) lies at or behind `at`; in.len: there is none. */
static size_t find_control(struct span in, size_t at)
{
    while (at < in.len) {
        size_t stop = in.len;
        if (in.len - at >= sizeof(uint64_t)) {
            uint64_t word;
            memcpy(&word, in.ptr + at, sizeof word);
            stop = at + sizeof word;
            if (!word_has_control(word)) {
                at = stop;
                continue;
            }
        }
        for (; at < stop; at++)
            if (http_byte_is(in.ptr[at], HTTP_BYTE_CONTROL))
                return at;
    }
    return in.len;
}

static size_t token_length(struct span s)
{
    size_t n = 0;
    while (n < s.len && http_byte_is(s.ptr[n], HTTP_BYTE_TOKEN))
        n++;
    return n;
}

static const char *find_byte(struct span s, char c)
{
    return s.len ? memchr(s.ptr, c, s.len) : NULL;
}

/* Is this token `lower` (lower case letters and '-'), in any case? Among token bytes | 0x20 maps only the capital to
 * the letter, and nothing else to '-'. */
static inline bool token_is(struct span token, struct span lower)
{
    if (token.len != lower.len)
        return false;
    for (size_t i = 0; i < lower.len; i++)
        if ((token.ptr[i] | 0x20) != lower.ptr[i])
            return false;
    return true;
}

static struct slice slice_in(struct span buffer, struct span part)
{
    return (struct slice){(uint32_t)(part.ptr - buffer.ptr), (uint32_t)part.len};
}

/* The next element of a comma-separated list (RFC 9110 5.6.1) without blanks; false at its end. */
static bool list_next(struct span *list, struct span *element_out)
{
    if (list->len == 0)
        return false;
    const char *comma = find_byte(*list, ',');
    size_t n = comma ? (size_t)(comma - list->ptr) : list->len;
    *element_out = http_trim(span_of(list->ptr, n));
    *list = span_skip(*list, comma ? n + 1 : n);
    return true;
}

static bool list_has(struct span list, struct span lower)
{
    struct span element;
    while (list_next(&list, &element))
        if (span_equal_nocase(element, lower))
            return true;
    return false;
}

/* All digits and at most `max`. */
static bool read_number(struct span s, uint64_t max, uint64_t *out)
{
    uint64_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (!http_byte_is_digit(s.ptr[i]))
            return false;
        uint64_t digit = (uint64_t)(s.ptr[i] - '0');
        if (n > (max - digit) / 10)
            return false;
        n = n * 10 + digit;
    }
    *out = n;
    return s.len > 0;
}

/* ---- Host ---- */

static bool is_ipv4(struct span s)
{
    for (int octets = 1;; octets++) {
        const char *dot = find_byte(s, '.');
        struct span part = span_of(s.ptr, dot ? (size_t)(dot - s.ptr) : s.len);
        uint64_t octet;
        bool is_octal_to_some = part.len > 1 && part.ptr[0] == '0';
        if (is_octal_to_some || !read_number(part, 255, &octet))
            return false;
        if (!dot)
            return octets == 4;
        s = span_skip(s, part.len + 1);
    }
}

/* What lies between the brackets: eight groups of up to four hex digits, one run of them as "::", an IPv4 address
 * allowed as the last two (RFC 3986 3.2.2). No zone: it means something on the sender's machine only. */
static bool is_ipv6(struct span s)
{
    int groups = 0;
    bool has_gap = false;
    if (span_starts_with(s, SPAN("::"))) {
        has_gap = true;
        s = span_skip(s, 2);
    }
    while (s.len) {
        size_t digits = 0;
        while (digits < s.len && http_byte_is(s.ptr[digits], HTTP_BYTE_HEX))
            digits++;
        if (digits < s.len && s.ptr[digits] == '.') {
            if (!is_ipv4(s))
                return false;
            groups += 2;
            break;
        }
        if (digits == 0 || digits > 4)
            return false;
        groups++;
        s = span_skip(s, digits);
        if (s.len == 0)
            break;
        if (s.ptr[0] != ':' || s.len == 1)
            return false;
        s = span_skip(s, 1);
        if (s.ptr[0] == ':') {
            if (has_gap)
                return false;
            has_gap = true;
            s = span_skip(s, 1);
        }
    }
    return has_gap ? groups < 8 : groups == 8;
}

static bool is_port(struct span s)
{
    uint64_t port;
    return s.len <= PORT_DIGITS_MAX && read_number(s, PORT_MAX, &port);
}

/* host [":" port], not empty. */
static bool is_authority(struct span s)
{
    size_t n = 0;
    if (s.len && s.ptr[0] == '[') {
        const char *bracket = find_byte(s, ']');
        if (!bracket)
            return false;
        n = (size_t)(bracket - s.ptr) + 1;
        if (!is_ipv6(span_of(s.ptr + 1, n - 2)))
            return false;
    } else {
        while (n < s.len && http_byte_is(s.ptr[n], HTTP_BYTE_HOST))
            n++;
    }
    if (n == 0)
        return false;
    return n == s.len || (s.ptr[n] == ':' && is_port(span_skip(s, n + 1)));
}

/* ---- first lines ---- */

static enum http_method method_of(struct span name)
{
    switch (name.len) {
    case 3:
        return memcmp(name.ptr, "GET", 3) == 0 ? HTTP_GET : HTTP_METHOD_OTHER;
    case 4:
        if (memcmp(name.ptr, "POST", 4) == 0)
            return HTTP_POST;
        return memcmp(name.ptr, "HEAD", 4) == 0 ? HTTP_HEAD : HTTP_METHOD_OTHER;
    case 7:
        return memcmp(name.ptr, "OPTIONS", 7) == 0 ? HTTP_OPTIONS : HTTP_METHOD_OTHER;
    }
    return HTTP_METHOD_OTHER;
}

static enum reason judge_version(struct http_head *h, struct span version)
{
    if (version.len == 8 && memcmp(version.ptr, "HTTP/1.", 7) == 0 &&
        (version.ptr[7] == '0' || version.ptr[7] == '1')) {
        h->minor = (uint8_t)(version.ptr[7] - '0');
        return REASON_NONE;
    }
    /* another number is another version, everything else is no version */
    if (version.len <= 5 || !span_starts_with(version, SPAN("HTTP/")))
        return REASON_BAD_REQUEST_LINE;
    for (size_t i = 5; i < version.len; i++)
        if (!http_byte_is_digit(version.ptr[i]) && version.ptr[i] != '.')
            return REASON_BAD_REQUEST_LINE;
    return REASON_BAD_VERSION;
}

/* The authority of an absolute-form target (RFC 9112 3.2.2); false: it has another form. */
static bool find_authority(struct span target, struct span *out)
{
    size_t scheme = 0;
    if (target.len >= 7 && span_equal_nocase(span_of(target.ptr, 7), SPAN("http://")))
        scheme = 7;
    else if (target.len >= 8 && span_equal_nocase(span_of(target.ptr, 8), SPAN("https://")))
        scheme = 8;
    if (scheme == 0)
        return false;
    struct span rest = span_skip(target, scheme);
    size_t n = 0;
    while (n < rest.len && rest.ptr[n] != '/' && rest.ptr[n] != '?' && rest.ptr[n] != '#')
        n++;
    *out = span_of(rest.ptr, n);
    return true;
}

static bool is_target(struct span target, enum http_method method)
{
    struct span authority;
    if (find_byte(target, '\t'))
        return false;
    if (target.ptr[0] == '/')
        return true;
    if (span_equal(target, SPAN("*")))
        return method == HTTP_OPTIONS;
    return find_authority(target, &authority) && is_authority(authority);
}

/* method SP target SP version (RFC 9112 3) */
static enum reason judge_request_line(struct http_head *h, struct span buffer, struct span line)
{
    size_t n = token_length(line);
    if (n == line.len)
        return REASON_BAD_REQUEST_LINE;
    if (n == 0 || line.ptr[n] != ' ')
        return REASON_BAD_METHOD;
    struct span method = span_of(line.ptr, n);
    struct span rest = span_skip(line, n + 1);
    const char *blank = find_byte(rest, ' ');
    if (!blank)
        return rest.len ? REASON_HTTP_0_9 : REASON_BAD_REQUEST_LINE;
    struct span target = span_of(rest.ptr, (size_t)(blank - rest.ptr));
    if (target.len == 0)
        return REASON_BAD_REQUEST_LINE;
    enum reason why = judge_version(h, span_skip(rest, target.len + 1));
    if (why != REASON_NONE)
        return why;
    if (span_equal(method, SPAN("CONNECT")))
        return REASON_CONNECT_METHOD;
    h->method = (uint8_t)method_of(method);
    h->method_name = slice_in(buffer, method);
    h->target = slice_in(buffer, target);
    return is_target(target, h->method) ? REASON_NONE : REASON_BAD_TARGET;
}

/* version SP status [SP reason-phrase] (RFC 9112 4): many servers leave out the blank when they have no phrase */
static enum reason judge_status_line(struct http_head *h, struct span line)
{
    uint64_t status;
    if (line.len < 12 || line.ptr[8] != ' ')
        return REASON_BAD_RESPONSE;
    enum reason why = judge_version(h, span_of(line.ptr, 8));
    if (why != REASON_NONE)
        return why;
    if (!read_number(span_of(line.ptr + 9, 3), 999, &status) || status < 100)
        return REASON_BAD_RESPONSE;
    if (line.len > 12 && line.ptr[12] != ' ')
        return REASON_BAD_RESPONSE;
    h->status = (uint16_t)status;
    return REASON_NONE;
}

/* ---- fields ---- */

static enum reason note_host(struct http_head *h, struct span buffer, struct span value)
{
    if (h->seen & SEEN_HOST)
        return REASON_BAD_HOST;
    h->seen |= SEEN_HOST;
    h->host = slice_in(buffer, value);
    return value.len == 0 || is_authority(value) ? REASON_NONE : REASON_BAD_HOST;
}

/* A tab beside a value is white space by RFC 9110, but part of it to Node: it does not know such a coding, and with
 * insecureHTTPParser it reads the body up to the close. So what tells the framing has blanks around it, and no tabs. */
static bool has_tab(struct span raw)
{
    return find_byte(raw, '\t');
}

static enum reason note_content_length(struct http_head *h, struct span raw)
{
    if (h->facts & HTTP_HAS_LENGTH || has_tab(raw))
        return REASON_BAD_CONTENT_LENGTH;
    h->facts |= HTTP_HAS_LENGTH;
    return read_number(http_trim(raw), INT64_MAX, &h->length) ? REASON_NONE : REASON_BAD_CONTENT_LENGTH;
}

static enum reason note_transfer_encoding(struct http_head *h, struct span raw)
{
    if (h->seen & SEEN_TRANSFER_ENCODING || has_tab(raw) || !span_equal_nocase(http_trim(raw), SPAN("chunked")))
        return REASON_BAD_TRANSFER_ENCODING;
    h->seen |= SEEN_TRANSFER_ENCODING;
    return REASON_NONE;
}

/* Keep-alive beside a tab is none to Node: then the connection ends. */
static void note_connection(struct http_head *h, struct span raw)
{
    struct span option, value = http_trim(raw);
    while (list_next(&value, &option))
        if (span_equal_nocase(option, SPAN("close")))
            h->facts |= HTTP_SAYS_CLOSE;
        else if (span_equal_nocase(option, SPAN("keep-alive")) && !has_tab(raw))
            h->facts |= HTTP_SAYS_KEEP_ALIVE;
        else if (span_equal_nocase(option, SPAN("upgrade")))
            h->facts |= HTTP_SAYS_UPGRADE;
}

/* No standard field, but Node reads it as it does Connection: the connection ends. */
static void note_proxy_connection(struct http_head *h, struct span value)
{
    if (list_has(value, SPAN("close")))
        h->facts |= HTTP_SAYS_CLOSE;
}

/* A request has to ask for websocket and for nothing beside it; of a response it is enough that it names it. */
static void note_upgrade(struct http_head *h, enum side side, struct span value)
{
    if (side == RESPONSE) {
        if (list_has(value, SPAN("websocket")))
            h->facts |= HTTP_NAMES_WEBSOCKET;
    } else if (h->facts & HTTP_HAS_UPGRADE) {
        h->facts &= (uint16_t)~HTTP_NAMES_WEBSOCKET;
    } else if (span_equal_nocase(value, SPAN("websocket"))) {
        h->facts |= HTTP_NAMES_WEBSOCKET;
    }
    h->facts |= HTTP_HAS_UPGRADE;
}

static void note_keep_alive(struct http_head *h, struct span value)
{
    struct span option, name = SPAN("timeout=");
    uint64_t seconds;
    while (list_next(&value, &option))
        if (option.len > name.len && span_equal_nocase(span_of(option.ptr, name.len), name) &&
            read_number(span_skip(option, name.len), INT64_MAX, &seconds))
            h->keep_alive_s = seconds < UINT16_MAX ? (uint16_t)seconds : UINT16_MAX;
}

/* Take what framing, routing and connection life need; every other field just passes. `raw` is the value with the
 * blanks around it. */
static enum reason note_field(struct http_head *h, enum side side, struct span buffer, struct span name,
                              struct span raw)
{
    struct span value = http_trim(raw);
    switch (name.len) {
    case 4:
        if (side == REQUEST && token_is(name, SPAN("host")))
            return note_host(h, buffer, value);
        break;
    case 6:
        if (token_is(name, SPAN("cookie")))
            h->facts |= HTTP_HAS_COOKIE;
        else if (token_is(name, SPAN("origin")))
            h->facts |= HTTP_HAS_ORIGIN;
        break;
    case 7:
        if (token_is(name, SPAN("upgrade")))
            note_upgrade(h, side, value);
        break;
    case 10:
        if (token_is(name, SPAN("connection")))
            note_connection(h, raw);
        else if (token_is(name, SPAN("set-cookie")))
            h->facts |= HTTP_HAS_SET_COOKIE;
        else if (side == RESPONSE && token_is(name, SPAN("keep-alive")))
            note_keep_alive(h, value);
        break;
    case 14:
        if (token_is(name, SPAN("content-length")))
            return note_content_length(h, raw);
        break;
    case 16:
        if (token_is(name, SPAN("content-encoding")))
            h->facts |= HTTP_HAS_CODING;
        else if (token_is(name, SPAN("proxy-connection")))
            note_proxy_connection(h, value);
        break;
    case 17:
        if (token_is(name, SPAN("transfer-encoding")))
            return note_transfer_encoding(h, raw);
        break;
    case 27:
        if (token_is(name, SPAN("access-control-allow-origin")))
            h->facts |= HTTP_GRANTS_ORIGIN;
        break;
    }
    return REASON_NONE;
}

/* name ":" OWS value OWS (RFC 9112 5) */
static enum reason judge_field(struct http_head *h, enum side side, struct span buffer, struct span line)
{
    if (h->fields == HTTP_FIELDS_MAX)
        return REASON_HEAD_TOO_LARGE;
    size_t n = token_length(line);
    if (n == 0 && h->fields && http_byte_is_blank(line.ptr[0]))
        return REASON_OBS_FOLD;
    if (n == 0 || n == line.len || line.ptr[n] != ':')
        return REASON_BAD_FIELD_NAME;
    h->fields++;
    return note_field(h, side, buffer, span_of(line.ptr, n), span_skip(line, n + 1));
}

/* ---- the whole head ---- */

static enum reason judge_transfer_encoding(const struct http_head *h)
{
    if (!(h->seen & SEEN_TRANSFER_ENCODING))
        return REASON_NONE;
    if (h->minor == 0) /* RFC 9112 6.1: to be treated as broken framing */
        return REASON_BAD_TRANSFER_ENCODING;
    return h->facts & HTTP_HAS_LENGTH ? REASON_LENGTH_AND_CODING : REASON_NONE;
}

/* The authority of the target and the Host field name the same server, or there is only one of them. */
static bool has_one_authority(const struct http_head *h, struct span buffer)
{
    struct span authority;
    if (!(h->seen & SEEN_HOST) || !find_authority(span_in(buffer, h->target), &authority))
        return true;
    return span_equal_nocase(authority, span_in(buffer, h->host));
}

/* RFC 9112 6.3, for a body that is told by fields or not at all */
static enum http_framing framing_by_fields(const struct http_head *h, enum http_framing untold)
{
    if (h->seen & SEEN_TRANSFER_ENCODING)
        return HTTP_CHUNKED;
    if (h->facts & HTTP_HAS_LENGTH)
        return h->length ? HTTP_LENGTH : HTTP_NO_BODY;
    return untold;
}

static enum http_framing response_framing(const struct http_head *h, enum http_method asked)
{
    if (asked == HTTP_HEAD || h->status < 200 || h->status == 204 || h->status == 304)
        return HTTP_NO_BODY;
    return framing_by_fields(h, HTTP_UNTIL_CLOSE);
}

/* A 1xx must not tell of a body (RFC 9110 8.6, RFC 9112 6.1). Where one does, somebody may take the length for the next
 * head's: Node does, with insecureHTTPParser and a `Connection: close`. The length of a 101 means nothing to anybody.
 */
static bool is_interim_with_body(const struct http_head *h)
{
    bool tells = h->seen & SEEN_TRANSFER_ENCODING || h->length;
    return h->status < 200 && h->status != 101 && tells;
}

/* ---- lines ---- */

static enum reason judge_line(struct http_head *h, enum side side, struct span buffer, struct span line)
{
    if (h->phase == PHASE_FIELDS)
        return judge_field(h, side, buffer, line);
    h->phase = PHASE_FIELDS;
    return side == REQUEST ? judge_request_line(h, buffer, line) : judge_status_line(h, line);
}

static enum parse bad(enum reason *why_out, enum reason why)
{
    *why_out = why;
    return PARSE_BAD;
}

/* Judge all lines that are whole; PARSE_OK at the empty one. */
static enum parse judge_lines(struct http_head *h, enum side side, struct span buffer, enum reason *why_out)
{
    for (;;) {
        size_t end = find_control(buffer, h->scanned);
        h->scanned = (uint32_t)end;
        if (end == buffer.len)
            return PARSE_MORE;
        if (buffer.ptr[end] != '\r')
            return bad(why_out, buffer.ptr[end] == '\n' ? REASON_BAD_LINE_END : REASON_BAD_BYTE);
        if (end + 1 == buffer.len)
            return PARSE_MORE;
        if (buffer.ptr[end + 1] != '\n')
            return bad(why_out, REASON_BAD_LINE_END);

        struct span line = span_of(buffer.ptr + h->line, end - h->line);
        h->line = h->scanned = (uint32_t)end + 2;
        if (line.len == 0 && h->phase == PHASE_FIELDS) {
            h->end = h->line;
            return PARSE_OK;
        }
        enum reason why = judge_line(h, side, buffer, line);
        if (why != REASON_NONE)
            return bad(why_out, why);
    }
}

/* [start, start + head_bytes_max) of what has arrived: a head that is not whole in there will not be. */
static struct span within_ceiling(const struct http_head *h, struct span buffer, uint32_t head_bytes_max)
{
    if (buffer.len - h->start > head_bytes_max)
        buffer.len = (size_t)h->start + head_bytes_max;
    return buffer;
}

/* ---- requests ---- */

/* Drop empty lines, and refuse what does not begin like a request: a TLS hello, garbage, HTTP/2 with prior knowledge.
 * PARSE_OK: the request line begins at `start`. */
static enum parse begin_request(struct http_head *h, struct span buffer, enum reason *why_out)
{
    struct span rest = span_skip(buffer, h->start);
    while (rest.len && rest.ptr[0] == '\r' && h->dropped + h->start < 2 * EMPTY_LINES_MAX) {
        if (rest.len == 1)
            return PARSE_MORE;
        if (rest.ptr[1] != '\n')
            return bad(why_out, REASON_BAD_LINE_END);
        h->start += 2;
        rest = span_skip(rest, 2);
    }
    if (rest.len == 0)
        return PARSE_MORE;
    if (!http_byte_is(rest.ptr[0], HTTP_BYTE_TOKEN))
        return bad(why_out, rest.ptr[0] == '\n' ? REASON_BAD_LINE_END : REASON_BAD_METHOD);

    struct span preface = SPAN("PRI "); /* RFC 9113 3.4 */
    if (rest.len < preface.len && span_starts_with(preface, rest))
        return PARSE_MORE;
    if (span_starts_with(rest, preface))
        return bad(why_out, REASON_BAD_VERSION);
    h->line = h->scanned = h->start;
    h->phase = PHASE_FIRST;
    return PARSE_OK;
}

/* Which part of a request took all the room? */
static enum reason what_is_too_large(const struct http_head *h, struct span buffer)
{
    if (h->phase != PHASE_FIRST)
        return REASON_HEAD_TOO_LARGE;
    struct span line = span_skip(buffer, h->start);
    const char *first = find_byte(line, ' ');
    if (!first)
        return REASON_HEAD_TOO_LARGE;
    struct span rest = span_skip(line, (size_t)(first - line.ptr) + 1);
    return find_byte(rest, ' ') ? REASON_HEAD_TOO_LARGE : REASON_TARGET_TOO_LONG;
}

enum parse http_request_parse(struct http_head *h, struct span buffer, uint32_t head_bytes_max, enum reason *why_out)
{
    if (h->phase == PHASE_BEFORE) {
        enum parse begun = begin_request(h, buffer, why_out);
        if (begun != PARSE_OK)
            return begun;
    }
    buffer = within_ceiling(h, buffer, head_bytes_max);
    enum parse parsed = judge_lines(h, REQUEST, buffer, why_out);
    if (parsed == PARSE_MORE && buffer.len - h->start == head_bytes_max)
        return bad(why_out, what_is_too_large(h, buffer));
    if (parsed != PARSE_OK)
        return parsed;

    enum reason why = judge_transfer_encoding(h);
    if (why != REASON_NONE)
        return bad(why_out, why);
    if (!has_one_authority(h, buffer))
        return bad(why_out, REASON_BAD_HOST);
    h->framing = (uint8_t)framing_by_fields(h, HTTP_NO_BODY);
    return PARSE_OK;
}

/* ---- responses ---- */

/* Refuse what is no HTTP/1 answer by its first bytes: a worker that speaks something else may never send a line end. */
static enum parse begin_response(struct http_head *h, struct span buffer, enum reason *why_out)
{
    struct span name = SPAN("HTTP/1.");
    if (!span_starts_with(buffer.len < name.len ? name : buffer, buffer.len < name.len ? buffer : name))
        return bad(why_out, REASON_BAD_RESPONSE);
    if (buffer.len < name.len)
        return PARSE_MORE;
    h->phase = PHASE_FIRST;
    return PARSE_OK;
}

enum parse http_response_parse(struct http_head *h, struct span buffer, enum http_method asked, uint32_t head_bytes_max,
                               enum reason *why_out)
{
    if (h->phase == PHASE_BEFORE) {
        enum parse begun = begin_response(h, buffer, why_out);
        if (begun != PARSE_OK)
            return begun;
    }
    buffer = within_ceiling(h, buffer, head_bytes_max);
    enum parse parsed = judge_lines(h, RESPONSE, buffer, why_out);
    if (parsed == PARSE_MORE && buffer.len == head_bytes_max)
        return bad(why_out, REASON_HEAD_TOO_LARGE);
    if (parsed != PARSE_OK)
        return parsed;

    enum reason why = judge_transfer_encoding(h);
    if (why != REASON_NONE)
        return bad(why_out, why);
    if (is_interim_with_body(h))
        return bad(why_out, REASON_BAD_RESPONSE);
    h->framing = (uint8_t)response_framing(h, asked);
    return PARSE_OK;
}

bool http_head_is_persistent(const struct http_head *h)
{
    if (h->facts & HTTP_SAYS_CLOSE || h->framing == HTTP_UNTIL_CLOSE)
        return false;
    return h->minor == 1 || h->facts & HTTP_SAYS_KEEP_ALIVE;
}

/* ---- a parsed head ---- */

/* The next line without its CRLF; false at the end. */
static bool line_next(struct span head, uint32_t *at, struct span *line_out)
{
    struct span rest = span_skip(head, *at);
    const char *feed = find_byte(rest, '\n');
    if (!feed)
        return false;
    size_t n = (size_t)(feed - rest.ptr);
    *line_out = span_of(rest.ptr, n && rest.ptr[n - 1] == '\r' ? n - 1 : n);
    *at += (uint32_t)n + 1;
    return true;
}

bool http_field_next(struct span head, uint32_t *at, struct span *name_out, struct span *value_out)
{
    struct span line;
    if (*at == 0 && !line_next(head, at, &line))
        return false;
    if (!line_next(head, at, &line))
        return false;
    const char *colon = find_byte(line, ':');
    if (!colon)
        return false;
    size_t n = (size_t)(colon - line.ptr);
    *name_out = span_of(line.ptr, n);
    *value_out = http_trim(span_skip(line, n + 1));
    return true;
}

bool http_field_find(struct span head, struct span name, struct span *value_out)
{
    uint32_t at = 0;
    struct span field;
    while (http_field_next(head, &at, &field, value_out))
        if (span_equal_nocase(field, name))
            return true;
    *value_out = span_of(NULL, 0);
    return false;
}

bool http_field_only(struct span head, struct span name, struct span *value_out)
{
    uint32_t at = 0;
    struct span field, value;
    size_t found = 0;
    *value_out = span_of(NULL, 0);
    while (http_field_next(head, &at, &field, &value))
        if (span_equal_nocase(field, name) && found++ == 0)
            *value_out = value;
    if (found != 1)
        *value_out = span_of(NULL, 0);
    return found == 1;
}

/* The next part of a cookie string, up to ';', as name and value; a part without '=' has an empty name, which nobody
 * looks for. False at the end. */
static bool cookie_next(struct span *cookies, struct span *name_out, struct span *value_out)
{
    if (cookies->len == 0)
        return false;
    const char *semicolon = find_byte(*cookies, ';');
    size_t n = semicolon ? (size_t)(semicolon - cookies->ptr) : cookies->len;
    struct span pair = span_of(cookies->ptr, n);
    *cookies = span_skip(*cookies, semicolon ? n + 1 : n);
    const char *equals = find_byte(pair, '=');
    size_t name_len = equals ? (size_t)(equals - pair.ptr) : 0;
    *name_out = http_trim(span_of(pair.ptr, name_len));
    *value_out = http_trim(span_skip(pair, equals ? name_len + 1 : 0));
    if (value_out->len >= 2 && value_out->ptr[0] == '"' && value_out->ptr[value_out->len - 1] == '"')
        *value_out = span_of(value_out->ptr + 1, value_out->len - 2);
    return true;
}

bool http_cookie_find(struct span head, struct span name, struct span *value_out)
{
    uint32_t at = 0;
    struct span field, cookies, cookie;
    while (http_field_next(head, &at, &field, &cookies)) {
        if (!span_equal_nocase(field, SPAN("cookie")))
            continue;
        while (cookie_next(&cookies, &cookie, value_out))
            if (span_equal(cookie, name))
                return true;
    }
    *value_out = span_of(NULL, 0);
    return false;
}

bool http_set_cookie_find(struct span head, struct span name, struct span *value_out)
{
    uint32_t at = 0;
    bool found = false;
    struct span field, cookies, cookie, value;
    *value_out = span_of(NULL, 0);
    while (http_field_next(head, &at, &field, &cookies))
        if (span_equal_nocase(field, SPAN("set-cookie")) && cookie_next(&cookies, &cookie, &value) &&
            span_equal(cookie, name)) {
            *value_out = value;
            found = true;
        }
    return found;
}
