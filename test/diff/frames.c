/*
 * frames - how siolb's parsers cut a byte stream into messages, told to test/diff: the harness of the differential
 * fuzz.
 *
 *   stdin    one input after the other: 'q' (requests of a client) or 'r' (answers of a worker); the first letter of
 * the method that was asked ('r' only); its bytes, as four bytes of length, lowest first, and themselves. 'f', another
 * byte and a length of 0: now tell all that is not told yet stdout   a line for each: its messages, each followed by a
 * blank, then the end of it
 *
 *   message  start:head:end:payload:fields:text:flags - where it begins, where its head ends, where it ends itself or
 *            how far it is good; bytes of its payload so far; fields, and the bytes of their names and values
 *            flags: w whole, p the connection may go on, u has an Upgrade field, c its body ends at the close
 *   end      more        what follows the last message may become one, or go on with it
 *            refused     nothing behind the last message is ever sent on
 *            over        the same, because the connection ends there or becomes a tunnel
 *
 * `--wrong=KIND` makes it lie like a laxer parser (see wrongs[]): the self-test has to notice.
 */
#include "../../proxy/core/http_body.h"

#include <stdio.h>
#include <stdlib.h>

#define HEAD_BYTES_MAX  (16u * 1024) /* limits.head_size, as Node's own default */
#define INTERIM_MAX     16
#define INPUT_BYTES_MAX (1u << 20)

struct message {
    struct http_head head;
    size_t start, end, payload;
    bool is_whole;
};

enum { WRONG_NONE, WRONG_LENGTH_BESIDE_CODING, WRONG_BARE_LF, WRONG_EARLY_END, WRONGS };

static const char *const wrongs[WRONGS] = {
    [WRONG_LENGTH_BESIDE_CODING] = "length-beside-coding", /* a Content-Length hides Transfer-Encoding */
    [WRONG_BARE_LF] = "bare-lf",                           /* a line feed without CR is a blank */
    [WRONG_EARLY_END] = "early-end",                       /* bodies end a byte before their end */
};

static int wrong;

/* --- telling --- */

static void tell(struct span bytes, const struct message *m)
{
    const struct http_head *h = &m->head;
    struct span head = span_of(bytes.ptr + m->start, h->end - h->start);
    struct span name, value;
    uint32_t at = 0;
    unsigned fields = 0;
    size_t text = 0;
    while (http_field_next(head, &at, &name, &value)) {
        fields++;
        text += name.len + value.len;
    }
    size_t end = m->end;
    if (wrong == WRONG_EARLY_END && m->is_whole && end > m->start + head.len)
        end--;
    printf("%zu:%zu:%zu:%zu:%u:%zu:%s%s%s%s ", m->start, m->start + head.len, end, m->payload, fields, text,
           m->is_whole ? "w" : "", http_head_is_persistent(h) ? "p" : "", h->facts & HTTP_HAS_UPGRADE ? "u" : "",
           h->framing == HTTP_UNTIL_CLOSE ? "c" : "");
}

/* Walk over the body that follows the head; PARSE_MORE also where it ends at the close. */
static enum parse take_body(struct message *m, struct span bytes)
{
    struct http_body body;
    http_body_init(&body, (enum http_framing)m->head.framing, m->head.length);
    while (m->end < bytes.len && !http_body_is_done(&body)) {
        size_t used;
        struct span data;
        enum parse result = http_body_next(&body, span_skip(bytes, m->end), &used, &data);
        m->end += used;
        m->payload += data.len;
        if (result == PARSE_BAD)
            return PARSE_BAD;
    }
    m->is_whole = http_body_is_done(&body);
    return m->is_whole ? PARSE_OK : PARSE_MORE;
}

/* --- requests --- */

/* As in exchange.c: after a 101 to such a one nothing is HTTP any more. */
static bool asks_for_tunnel(const struct http_head *h)
{
    return h->method == HTTP_GET && h->minor == 1 && (h->facts & HTTP_NAMES_WEBSOCKET) &&
           (h->facts & HTTP_SAYS_UPGRADE) && h->framing == HTTP_NO_BODY;
}

static const char *frame_requests(struct span bytes)
{
    size_t at = 0;
    for (;;) {
        struct message m = {.start = at};
        enum reason why;
        http_head_init(&m.head);
        enum parse result = http_request_parse(&m.head, span_skip(bytes, at), HEAD_BYTES_MAX, &why);
        if (result != PARSE_OK)
            return result == PARSE_MORE ? "more" : "refused";
        m.start = at + m.head.start;
        m.end = at + m.head.end;
        result = take_body(&m, bytes);
        tell(bytes, &m);
        if (result != PARSE_OK)
            return result == PARSE_MORE ? "more" : "refused";
        if (!http_head_is_persistent(&m.head) || asks_for_tunnel(&m.head))
            return "over";
        at = m.end;
    }
}

/* --- answers --- */

static enum http_method method_asked(int letter)
{
    switch (letter) {
    case 'G':
        return HTTP_GET;
    case 'H':
        return HTTP_HEAD;
    case 'P':
        return HTTP_POST;
    default:
        return HTTP_OPTIONS;
    }
}

static const char *frame_answer(struct span bytes, enum http_method asked)
{
    size_t at = 0;
    for (int interim = 0; interim <= INTERIM_MAX; interim++) {
        struct message m = {.start = at};
        enum reason why;
        http_head_init(&m.head);
        enum parse result = http_response_parse(&m.head, span_skip(bytes, at), asked, HEAD_BYTES_MAX, &why);
        if (result != PARSE_OK)
            return result == PARSE_MORE ? "more" : "refused";
        m.end = at + m.head.end;
        result = take_body(&m, bytes);
        tell(bytes, &m);
        if (m.head.status == 101 || m.head.status >= 200)
            return result == PARSE_MORE ? "more" : result == PARSE_OK ? "over" : "refused";
        at = m.end;
    }
    return "refused";
}

/* --- lying --- */

static char *find_nocase(char *bytes, size_t len, struct span word)
{
    for (size_t i = 0; i + word.len <= len; i++)
        if (span_equal_nocase(span_of(bytes + i, word.len), word))
            return bytes + i;
    return NULL;
}

/* What the wrong parser does not see is painted over, so that every place stays where it is. */
static void paint_over(char *bytes, size_t len)
{
    char *name;
    if (wrong == WRONG_LENGTH_BESIDE_CODING && find_nocase(bytes, len, SPAN("\nContent-Length:")))
        while ((name = find_nocase(bytes, len, SPAN("\nTransfer-Encoding:"))))
            memcpy(name + 1, "Untransferred", 13);
    for (size_t i = 1; wrong == WRONG_BARE_LF && i < len; i++)
        if (bytes[i] == '\n' && bytes[i - 1] != '\r')
            bytes[i] = ' ';
}

/* --- the loop --- */

static bool read_all(void *to, size_t len)
{
    return fread(to, 1, len, stdin) == len;
}

static bool answer_one(void)
{
    uint8_t head[6];
    if (!read_all(head, sizeof(head)))
        return false;
    if (head[0] == 'f')
        return fflush(stdout) == 0;
    size_t len = (size_t)head[2] | (size_t)head[3] << 8 | (size_t)head[4] << 16 | (size_t)head[5] << 24;
    char *bytes = len <= INPUT_BYTES_MAX ? malloc(len ? len : 1) : NULL;
    if (!bytes || !read_all(bytes, len))
        exit(1);
    paint_over(bytes, len);
    struct span in = span_of(bytes, len);
    puts(head[0] == 'q' ? frame_requests(in) : frame_answer(in, method_asked(head[1])));
    free(bytes);
    return true;
}

static bool choose_wrong(const char *arg)
{
    for (wrong = WRONGS - 1; wrong; wrong--)
        if (!strncmp(arg, "--wrong=", 8) && !strcmp(arg + 8, wrongs[wrong]))
            return true;
    return false;
}

int main(int argc, char **argv)
{
    if (argc > 1 && !choose_wrong(argv[1])) {
        fprintf(stderr, "usage: frames [--wrong=KIND]\n");
        return 2;
    }
    static char out[256 * 1024];
    setvbuf(stdout, out, _IOFBF, sizeof(out));
    while (answer_one())
        ;
    return 0;
}
