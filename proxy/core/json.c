/*
 * json - one flat machine: json_next() asks what the next byte that is no blank may be, until a member of the outermost
 * object is whole. Every token reader leaves r->at behind its token, and says PARSE_MORE when the text ends inside it.
 */
#include "json.h"

enum want {
    WANT_VALUE,
    WANT_FIRST, /* just behind '{' or '[': a key or value, or the closing bracket */
    WANT_KEY,
    WANT_NEXT /* behind a value: a comma or the closing bracket */
};

void json_begin(struct json_reader *r, struct span text)
{
    *r = (struct json_reader){.text = text, .want = WANT_VALUE};
}

static bool at_end(const struct json_reader *r)
{
    return r->at == r->text.len;
}

/* The four blanks of RFC 8259, 2. */
static void skip_blanks(struct json_reader *r)
{
    while (!at_end(r)) {
        char c = r->text.ptr[r->at];
        if (c != ' ' && c != '\t' && c != '\n' && c != '\r')
            return;
        r->at++;
    }
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Value of a hexadecimal digit, or -1. */
static int hex_value(char c)
{
    char lower = ascii_lower(c);
    if (is_digit(c))
        return c - '0';
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* --- strings --- */

/* Four hexadecimal digits at the start of `text`. */
static enum parse read_hex4(struct span text, uint32_t *unit_out)
{
    uint32_t unit = 0;
    for (size_t i = 0; i < 4; i++) {
        if (i == text.len)
            return PARSE_MORE;
        int digit = hex_value(text.ptr[i]);
        if (digit < 0)
            return PARSE_BAD;
        unit = unit << 4 | (uint32_t)digit;
    }
    *unit_out = unit;
    return PARSE_OK;
}

/* Length of the run of bytes that stand for themselves in a string. */
static size_t plain_run(struct span text)
{
    size_t n = 0;
    while (n < text.len && text.ptr[n] != '"' && text.ptr[n] != '\\' && (unsigned char)text.ptr[n] >= ' ')
        n++;
    return n;
}

static size_t put_utf8(uint32_t code, char out[4])
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xC0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3F));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xE0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3F));
        out[2] = (char)(0x80 | (code & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3F));
    out[2] = (char)(0x80 | (code >> 6 & 0x3F));
    out[3] = (char)(0x80 | (code & 0x3F));
    return 4;
}

static bool is_high_surrogate(uint32_t unit)
{
    return unit >= 0xD800 && unit < 0xDC00;
}

static bool is_low_surrogate(uint32_t unit)
{
    return unit >= 0xDC00 && unit < 0xE000;
}

/* The character of the \u escape at the start of `text`, and of the second one when the two are a surrogate pair. What
 * cannot be told before the next bytes are there is PARSE_MORE. */
static enum parse read_unicode(struct span text, uint32_t *code_out, size_t *len_out)
{
    uint32_t high, low;
    enum parse p = read_hex4(span_skip(text, 2), &high);
    if (p != PARSE_OK)
        return p;
    *len_out = 6;
    *code_out = is_high_surrogate(high) || is_low_surrogate(high) ? 0xFFFD : high;
    if (!is_high_surrogate(high))
        return PARSE_OK;

    struct span rest = span_skip(text, 6);
    if (rest.len < 2)
        return rest.len == 0 || rest.ptr[0] == '\\' ? PARSE_MORE : PARSE_OK;
    if (rest.ptr[0] != '\\' || rest.ptr[1] != 'u')
        return PARSE_OK;
    p = read_hex4(span_skip(rest, 2), &low);
    if (p != PARSE_OK)
        return p;
    if (is_low_surrogate(low)) {
        *len_out = 12;
        *code_out = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
    }
    return PARSE_OK;
}

/* The character of the escape at the start of `text`. */
static enum parse read_escape(struct span text, uint32_t *code_out, size_t *len_out)
{
    static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    if (text.len < 2)
        return PARSE_MORE;
    if (text.ptr[1] == 'u')
        return read_unicode(text, code_out, len_out);
    const char *letter = memchr(letters, text.ptr[1], sizeof(letters) - 1);
    if (!letter)
        return PARSE_BAD;
    *code_out = (uint32_t)meanings[letter - letters];
    *len_out = 2;
    return PARSE_OK;
}

/* r->at is on the opening quote. */
static enum parse skip_string(struct json_reader *r)
{
    r->at++;
    for (;;) {
        struct span rest = span_skip(r->text, r->at);
        size_t run = plain_run(rest), escape;
        uint32_t code;
        r->at += run;
        rest = span_skip(rest, run);
        if (rest.len == 0)
            return PARSE_MORE;
        if (rest.ptr[0] == '"') {
            r->at++;
            return PARSE_OK;
        }
        if (rest.ptr[0] != '\\')
            return PARSE_BAD; /* a raw control: RFC 8259, 7 */
        enum parse p = read_escape(rest, &code, &escape);
        if (p != PARSE_OK)
            return p;
        r->at += escape;
    }
}

enum parse json_unescape(struct span text, char *out, size_t size, size_t *len_out)
{
    for (*len_out = 0;;) {
        size_t run = plain_run(text), escape = 0, encoded;
        if (run > size - *len_out)
            return PARSE_BAD;
        if (run)
            memcpy(out + *len_out, text.ptr, run);
        *len_out += run;
        text = span_skip(text, run);
        if (text.len == 0)
            return PARSE_MORE;
        if (text.ptr[0] != '\\')
            return text.ptr[0] == '"' ? PARSE_OK : PARSE_BAD;

        uint32_t code = 0;
        char utf8[4];
        enum parse p = read_escape(text, &code, &escape);
        if (p != PARSE_OK)
            return p;
        encoded = put_utf8(code, utf8);
        if (encoded > size - *len_out)
            return PARSE_BAD;
        memcpy(out + *len_out, utf8, encoded);
        *len_out += encoded;
        text = span_skip(text, escape);
    }
}

bool json_string(struct span raw, char *out, size_t size, size_t *len_out)
{
    *len_out = 0;
    return raw.len && raw.ptr[0] == '"' && json_unescape(span_skip(raw, 1), out, size, len_out) == PARSE_OK;
}

bool json_string_is(struct span raw, struct span expected)
{
    char text[32];
    size_t len;
    return json_string(raw, text, sizeof(text), &len) && span_equal(span_of(text, len), expected);
}

/* --- numbers and literals --- */

static enum parse skip_digits(struct json_reader *r)
{
    if (at_end(r))
        return PARSE_MORE;
    if (!is_digit(r->text.ptr[r->at]))
        return PARSE_BAD;
    while (!at_end(r) && is_digit(r->text.ptr[r->at]))
        r->at++;
    return PARSE_OK;
}

/* Step over the byte if it is one of the two. */
static bool skip_either(struct json_reader *r, char a, char b)
{
    if (at_end(r) || (r->text.ptr[r->at] != a && r->text.ptr[r->at] != b))
        return false;
    r->at++;
    return true;
}

/* RFC 8259, 6. Inside an object a number is never the last thing, so a number at the end of the text is cut. */
static enum parse skip_number(struct json_reader *r)
{
    enum parse p = PARSE_OK;
    skip_either(r, '-', '-');
    if (!skip_either(r, '0', '0'))
        p = skip_digits(r);
    if (p == PARSE_OK && skip_either(r, '.', '.'))
        p = skip_digits(r);
    if (p == PARSE_OK && skip_either(r, 'e', 'E')) {
        skip_either(r, '-', '+');
        p = skip_digits(r);
    }
    return p == PARSE_OK && at_end(r) ? PARSE_MORE : p;
}

static enum parse skip_literal(struct json_reader *r)
{
    static const struct span literals[] = {{"true", 4}, {"false", 5}, {"null", 4}};
    struct span rest = span_skip(r->text, r->at);
    FOR_EACH (row, literals) {
        struct span literal = literals[row_at];
        if (span_starts_with(rest, literal)) {
            r->at += literal.len;
            return PARSE_OK;
        }
        if (span_starts_with(literal, rest))
            return PARSE_MORE;
    }
    return PARSE_BAD;
}

static enum parse skip_scalar(struct json_reader *r)
{
    char c = r->text.ptr[r->at];
    if (c == '"')
        return skip_string(r);
    return c == '-' || is_digit(c) ? skip_number(r) : skip_literal(r);
}

/* The power of ten that stands behind the 'e', if there is one; far beyond any number it no longer grows. */
static long read_exponent(struct span text)
{
    enum { FAR_BEYOND = 100000 };
    long exponent = 0;
    if (text.len == 0)
        return 0;
    bool is_negative = text.ptr[1] == '-';
    for (size_t i = 1; i < text.len; i++)
        if (is_digit(text.ptr[i]) && exponent < FAR_BEYOND)
            exponent = exponent * 10 + (text.ptr[i] - '0');
    return is_negative ? -exponent : exponent;
}

bool json_number(struct span raw, uint64_t *number_out)
{
    static const uint64_t precise_max = UINT64_MAX / 10 - 1; /* digits behind that only count as places */
    uint64_t number = 0;
    long scale = 0; /* the value is number * 10^scale */
    bool in_fraction = false;
    if (raw.len == 0 || (raw.ptr[0] != '-' && !is_digit(raw.ptr[0])))
        return false;

    size_t i = raw.ptr[0] == '-';
    for (; i < raw.len && ascii_lower(raw.ptr[i]) != 'e'; i++) {
        if (raw.ptr[i] == '.') {
            in_fraction = true;
        } else if (number <= precise_max) {
            number = number * 10 + (uint64_t)(raw.ptr[i] - '0');
            scale -= in_fraction;
        } else {
            scale += !in_fraction;
        }
    }
    scale += read_exponent(span_skip(raw, i));
    for (; scale > 0 && number != 0 && number != UINT64_MAX; scale--)
        number = number > UINT64_MAX / 10 ? UINT64_MAX : number * 10;
    for (; scale < 0 && number != 0; scale++)
        number /= 10;
    *number_out = raw.ptr[0] == '-' ? 0 : number;
    return true;
}

/* --- the machine --- */

static bool in_object(const struct json_reader *r)
{
    return r->objects >> (r->depth - 1) & 1;
}

static bool closes(const struct json_reader *r, char c)
{
    return c == (in_object(r) ? '}' : ']');
}

static enum parse open_level(struct json_reader *r, bool is_object)
{
    if (r->depth == JSON_DEPTH_MAX)
        return PARSE_BAD;
    uint64_t bit = UINT64_C(1) << r->depth++;
    r->objects = is_object ? r->objects | bit : r->objects & ~bit;
    r->at++;
    r->want = WANT_FIRST;
    return PARSE_OK;
}

static void close_level(struct json_reader *r)
{
    r->depth--;
    r->at++;
    r->want = WANT_NEXT;
}

static enum parse read_value(struct json_reader *r, char c)
{
    if (c == '{' || c == '[')
        return open_level(r, c == '{');
    r->want = WANT_NEXT;
    return skip_scalar(r);
}

/* A key and its colon. */
static enum parse read_key(struct json_reader *r, char c, struct span *key_out)
{
    size_t start = r->at;
    if (c != '"')
        return PARSE_BAD;
    enum parse p = skip_string(r);
    if (p != PARSE_OK)
        return p;
    *key_out = span_of(r->text.ptr + start, r->at - start);
    skip_blanks(r);
    if (at_end(r))
        return PARSE_MORE;
    r->want = WANT_VALUE;
    return r->text.ptr[r->at++] == ':' ? PARSE_OK : PARSE_BAD;
}

/* Comma or closing bracket. */
static enum parse read_next(struct json_reader *r, char c)
{
    if (closes(r, c)) {
        close_level(r);
        return PARSE_OK;
    }
    r->want = in_object(r) ? WANT_KEY : WANT_VALUE;
    r->at++;
    return c == ',' ? PARSE_OK : PARSE_BAD;
}

static enum parse read_first(struct json_reader *r, char c)
{
    if (closes(r, c))
        close_level(r);
    else
        r->want = in_object(r) ? WANT_KEY : WANT_VALUE;
    return PARSE_OK;
}

static enum parse read_step(struct json_reader *r, char c, struct span *key_out)
{
    switch (r->want) {
    case WANT_FIRST:
        return read_first(r, c);
    case WANT_KEY:
        return read_key(r, c, key_out);
    case WANT_VALUE:
        return read_value(r, c);
    default:
        return read_next(r, c);
    }
}

enum json_step json_next(struct json_reader *r, struct json_member *out)
{
    size_t value_at = 0;
    for (;;) {
        struct span key;
        skip_blanks(r);
        if (at_end(r))
            return JSON_MORE;
        char c = r->text.ptr[r->at];
        if (r->depth == 0 && c != '{')
            return JSON_BAD;
        bool member_starts = r->depth == 1 && r->want == WANT_VALUE;
        bool key_starts = r->depth == 1 && r->want == WANT_KEY;
        bool in_member = member_starts || r->depth > 1;
        if (member_starts)
            value_at = r->at;

        enum parse p = read_step(r, c, &key);
        if (p != PARSE_OK)
            return p == PARSE_MORE ? JSON_MORE : JSON_BAD;
        if (key_starts)
            out->key = key;
        if (r->depth == 0)
            return JSON_END;
        if (in_member && r->depth == 1) {
            out->value = span_of(r->text.ptr + value_at, r->at - value_at);
            return JSON_MEMBER;
        }
    }
}

bool json_is_over(struct json_reader *r)
{
    skip_blanks(r);
    return at_end(r);
}
