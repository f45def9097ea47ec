/*
 * inih splits lines into section, key and value. Everything that it would pass over in silence (it gives its handler no
 * line number and reports only the first line that it does not understand) is found by our reader, which sees each
 * line before inih does: a mistaken line is complained about and reaches inih as an empty one.
 */
#include "load.h"

#include "options.h"

#include <assert.h>
#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stdlib.h>

#define SECTION_BYTES_MAX 50 /* inih keeps no more of a name */

/* Whose settings are read. */
enum place {
    PLACE_OUTSIDE, /* before the first section */
    PLACE_INSIDE,  /* of a section that is known */
    PLACE_SKIPPED  /* in one that was complained about: its keys are not looked at */
};

struct load {
    struct config *config; /* being made */
    const char *file;      /* as complaints call it */
    FILE *in;
    config_complain complain;
    void *arg;
    unsigned mistakes;
    unsigned line;  /* the one being read, from 1 */
    size_t bytes;   /* read so far */
    int read_error; /* errno; 0: none */
    bool is_cut;    /* the file went on, unread */
    enum place place;
    char section[SECTION_BYTES_MAX]; /* "" outside */
    unsigned *first_lines;           /* one for each row of `options`: where it was set first, 0: nowhere */
};

/* ---- complaints -------------------------------------------------------------------------------------------------- */

/* "siolb.ini:12: [workers] worker", or as much of it as there is. */
struct where {
    const char *file;
    unsigned line;       /* 0: none in particular */
    const char *section; /* NULL: none */
    const char *key;     /* NULL: none */
};

/* The line that is being read. */
static struct where here(const struct load *l, const char *key)
{
    return (struct where){l->file, l->line, l->place == PLACE_INSIDE ? l->section : NULL, key};
}

static void PRINTF_LIKE(3, 4) complain(struct load *l, struct where w, const char *format, ...)
{
    char *text = NULL;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    l->mistakes++;
    if (out) {
        va_list args;
        va_start(args, format);
        fputs(w.file, out);
        fprintf(out, w.line ? ":%u: " : ": ", w.line);
        if (w.section)
            fprintf(out, "[%s] ", w.section);
        if (w.key)
            fprintf(out, "%.*s: ", value_quoted(span_from_str(w.key)));
        vfprintf(out, format, args);
        va_end(args);
        (void)fclose(out);
    }
    l->complain(l->arg, text ? text : "out of memory");
    free(text);
}

/* ---- lines ------------------------------------------------------------------------------------------------------- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Nothing but a comment from here on. */
static bool is_idle(const char *text)
{
    text += strspn(text, " \t");
    return *text == '\0' || *text == ';' || *text == '#';
}

/* The next line into *line, without its end; what exceeds CONFIG_LINE_BYTES_MAX is read and dropped. *len_out is its
 * whole length. False: the stream has ended. */
static bool take_line(struct load *l, char line[CONFIG_LINE_BYTES_MAX + 1], size_t *len_out)
{
    size_t len = 0;
    int c = EOF;
    for (; l->bytes <= CONFIG_FILE_BYTES_MAX && (c = getc(l->in)) != EOF && c != '\n'; l->bytes++, len++)
        if (len < CONFIG_LINE_BYTES_MAX)
            line[len] = (char)c;
    if (c == EOF && ferror(l->in))
        l->read_error = errno;
    l->bytes += c == '\n';
    bool has_more = c == '\n' || len > 0;
    if (len > 0 && len <= CONFIG_LINE_BYTES_MAX && line[len - 1] == '\r')
        len--;
    line[len < CONFIG_LINE_BYTES_MAX ? len : CONFIG_LINE_BYTES_MAX] = '\0';
    l->line++;
    *len_out = len;
    return has_more;
}

/* Some editors begin a file with a byte order mark. */
static void drop_mark(char *line, size_t *len)
{
    static const struct span mark = {"\xef\xbb\xbf", 3};
    if (*len > CONFIG_LINE_BYTES_MAX || !span_starts_with(span_of(line, *len), mark))
        return;
    *len -= mark.len;
    memmove(line, line + mark.len, *len + 1);
}

/* Of an unknown name: what it might have meant. */
static void complain_of_name(struct load *l, struct where w, const char *what, const char *nearest)
{
    if (nearest)
        complain(l, w, "unknown %s; did you mean \"%s\"?", what, nearest);
    else
        complain(l, w, "unknown %s", what);
}

/* "[proxy]": the keys that follow belong to it. False: complained about, and so its keys are passed over. */
static bool enter_section(struct load *l, const char *header)
{
    size_t len = strcspn(header + 1, "]");
    const char *behind = header + 1 + len;
    char name[SECTION_BYTES_MAX] = "";
    l->place = PLACE_SKIPPED;
    if (*behind != ']') {
        complain(l, here(l, NULL), "\"%.*s\" has no \"]\"", value_quoted(span_from_str(header)));
        return false;
    }
    if (!is_idle(behind + 1)) {
        complain(l, here(l, NULL), "\"%.*s\" behind a section's name", value_quoted(span_from_str(behind + 1)));
        return false;
    }
    if (len < sizeof name)
        memcpy(name, header + 1, len);
    struct where w = here(l, NULL);
    w.section = name;
    switch (option_section_find(name)) {
    case OPTION_UNKNOWN:
        complain_of_name(l, w, "section", option_section_nearest(name));
        return false;
    case OPTION_NOT_BUILT:
        complain(l, w, "this section is not built yet");
        return false;
    case OPTION_KNOWN:
        break;
    }
    l->place = PLACE_INSIDE;
    memcpy(l->section, name, sizeof name);
    return true;
}

/* Does `line` begin with a key as inih sees one? It would take ":" for "=" too, and a comment may begin before both. */
static bool check_setting(struct load *l, const char *line)
{
    const char *end = line;
    while (*end && !strchr("=:", *end) && !(*end == ';' && is_blank(end[-1])))
        end++;
    if (*end == '=' && end > line)
        return true;
    if (*end == '=')
        complain(l, here(l, NULL), "no key before \"=\"");
    else
        complain(l, here(l, NULL), "missing \"=\" behind the key in \"%.*s\"", value_quoted(span_from_str(line)));
    return false;
}

static bool check_bytes(struct load *l, const char *line, size_t len)
{
    if (len > CONFIG_LINE_BYTES_MAX) {
        complain(l, here(l, NULL), "a line of %zu bytes; at most %d are possible", len, CONFIG_LINE_BYTES_MAX);
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)line[i];
        if (c >= 0x20 || c == '\t')
            continue;
        complain(l, here(l, NULL), c ? "control byte 0x%02x" : "NUL byte", c);
        return false;
    }
    return true;
}

/* Is there something in this line that inih should see? Complains of what is wrong with its form. */
static bool check_line(struct load *l, const char *line, size_t len)
{
    if (!check_bytes(l, line, len)) {
        if (line[0] == '[')
            l->place = PLACE_SKIPPED;
        return false;
    }
    if (is_idle(line))
        return false;
    if (is_blank(line[0])) {
        complain(l, here(l, NULL), "an indented line; settings and sections begin in the first column");
        return false;
    }
    if (line[0] == '[')
        return enter_section(l, line);
    return l->place != PLACE_SKIPPED && check_setting(l, line);
}

/* An fgets for inih. */
static char *read_line(char *line, int size, void *stream)
{
    struct load *l = stream;
    size_t len;
    assert(size > CONFIG_LINE_BYTES_MAX);
    if (!take_line(l, line, &len))
        return NULL;
    if (l->bytes > CONFIG_FILE_BYTES_MAX) {
        l->is_cut = true;
        complain(l, (struct where){.file = l->file}, "more than %d bytes", CONFIG_FILE_BYTES_MAX);
        return NULL;
    }
    if (l->line == 1)
        drop_mark(line, &len);
    if (!check_line(l, line, len))
        line[0] = '\0';
    return line;
}

/* ---- settings ---------------------------------------------------------------------------------------------------- */

static void complain_of_key(struct load *l, const char *key)
{
    const char *elsewhere = option_section_of(key);
    if (elsewhere)
        complain(l, here(l, key), "unknown key; it belongs to [%s]", elsewhere);
    else
        complain_of_name(l, here(l, key), "key", option_nearest(l->section, key));
}

/* A blank and "#" is no comment to inih, but everybody who writes it means one. */
static bool has_hash_comment(const char *value)
{
    for (const char *hash = strchr(value, '#'); hash; hash = strchr(hash + 1, '#'))
        if (hash == value || is_blank(hash[-1]))
            return true;
    return false;
}

static void set(struct load *l, const struct option *o, const char *value)
{
    struct value_why why;
    unsigned *first_line = &l->first_lines[o - options];
    if (*first_line && !option_is_repeatable(o)) {
        complain(l, here(l, o->key), "set in line %u already", *first_line);
        return;
    }
    if (!*first_line)
        *first_line = l->line;
    if (has_hash_comment(value))
        complain(l, here(l, o->key), "a comment behind a value begins with \" ;\", not with \"#\"");
    else if (!option_set(o, l->config, span_from_str(value), &why))
        complain(l, here(l, o->key), "%s", why.text);
}

/* inih calls it with each setting, right after read_line returned its line. */
static int on_setting(void *arg, const char *section, const char *key, const char *value)
{
    struct load *l = arg;
    const struct option *o;
    if (l->place == PLACE_OUTSIDE) {
        complain(l, here(l, key), "outside of a section");
        return 1;
    }
    switch (option_find(section, key, &o)) {
    case OPTION_UNKNOWN:
        complain_of_key(l, key);
        break;
    case OPTION_NOT_BUILT:
        complain(l, here(l, key), "not built yet");
        break;
    case OPTION_KNOWN:
        set(l, o, value);
        break;
    }
    return 1;
}

static void read_ini(struct load *l)
{
    /* inih as Debian builds it has these as variables. */
    ini_use_stack = false;
    ini_allow_realloc = false;
    ini_max_line = ini_initial_alloc = CONFIG_LINE_BYTES_MAX + 1;
    ini_allow_multiline = false;
    ini_allow_no_value = false;
    int mistaken_line = ini_parse_stream(read_line, l, on_setting, l);
    assert(mistaken_line <= 0); /* check_line lets nothing pass that inih does not understand */
    if (mistaken_line < 0)
        complain(l, (struct where){.file = l->file}, "out of memory");
    if (l->read_error) {
        l->is_cut = true;
        complain(l, (struct where){.file = l->file}, "%s", strerror(l->read_error));
    }
}

/* ---- what a file does not say ------------------------------------------------------------------------------------ */

static void set_defaults(struct load *l)
{
    struct value_why why;
    for (size_t i = 0; i < option_count; i++)
        if (l->first_lines[i] == 0 && options[i].def &&
            !option_set(&options[i], l->config, span_from_str(options[i].def), &why))
            complain(l, (struct where){.file = l->file, .section = options[i].section, .key = options[i].key}, "%s",
                     why.text);
}

typedef bool set_function(const struct option *o, struct config *c, struct span text, struct value_why *why);

static bool set_worker_or_ports(const struct option *o, struct config *c, struct span text, struct value_why *why)
{
    (void)o;
    struct value_worker said;
    return value_worker_or_ports(text, &said, why) && option_add_workers(c, &said, why);
}

/* What the command line says stands in the place of what the file says. */
static void take_flags(struct load *l, const char *flag, const struct option *o, const char *const *values,
                       set_function *set_value)
{
    if (!values || !*values)
        return;
    option_clear(o, l->config);
    for (; *values; values++) {
        struct value_why why;
        if (!set_value(o, l->config, span_from_str(*values), &why))
            complain(l, (struct where){.file = flag}, "%s", why.text);
    }
}

static void take_command_line(struct load *l, const char *const *listens, const char *const *workers)
{
    const struct option *listen;
    const struct option *worker;
    (void)option_find("proxy", "listen", &listen);
    (void)option_find("workers", "worker", &worker);
    take_flags(l, "-l", listen, listens, option_set);
    take_flags(l, "-w", worker, workers, set_worker_or_ports);

    if (l->first_lines[worker - options] != 0 || l->is_cut || (workers && *workers))
        return;
    if (l->file)
        complain(l, (struct where){l->file, 0, worker->section, worker->key}, "at least one is needed");
    else
        complain(l, (struct where){.file = "-w"}, "at least one worker is needed");
}

/* Where a setting was made, to complain about what it says together with others. */
static struct where place_of(const struct load *l, const char *section, const char *key, const char *flag)
{
    const struct option *o;
    (void)option_find(section, key, &o);
    return (struct where){l->file ? l->file : flag, l->first_lines[o - options], section, key};
}

/* Is anybody trusted who can be the peer of this address? */
static bool is_peer_trusted(const struct config *c, const struct config_listen *listen)
{
    int family = listen->address.addr.any.sa_family; /* [::] takes IPv6 only */
    uint8_t peers = family == AF_UNIX ? IP_NONE : family == AF_INET ? IP_V4 : IP_V6;
    for (size_t i = 0; i < c->trust_count; i++)
        if (c->trust[i].base.family == peers)
            return true;
    return false;
}

/* What settings say together. */
static void check_together(struct load *l)
{
    const struct config *c = l->config;
    for (size_t i = 0; i < c->listen_count; i++)
        if (c->listens[i].takes_proxy && !is_peer_trusted(c, &c->listens[i]))
            complain(
                l, place_of(l, "proxy", "listen", "-l"),
                "%s proxy: nobody who could connect there is trusted to send a PROXY header; name the balancers in "
                "[forward] trust",
                c->listens[i].name);
    if (c->memory_bytes && c->memory_bytes < c->buffer_bytes)
        complain(l, place_of(l, "limits", "memory", "siolb"), "less than one buffer (%llu bytes)",
                 (unsigned long long)c->buffer_bytes);
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

struct config *config_load_stream(FILE *in, const char *name, const char *const *listens, const char *const *workers,
                                  config_complain complain_to, void *arg)
{
    struct load l = {.file = name, .in = in, .complain = complain_to, .arg = arg};
    l.config = calloc(1, sizeof *l.config);
    l.first_lines = calloc(option_count, sizeof *l.first_lines);
    if (l.config)
        l.config->references = 1;
    if (l.config && l.first_lines) {
        if (in)
            read_ini(&l);
        set_defaults(&l);
        take_command_line(&l, listens, workers);
        check_together(&l);
    } else {
        complain(&l, (struct where){.file = "siolb"}, "out of memory");
    }
    free(l.first_lines);
    if (l.mistakes == 0)
        return l.config;
    if (l.config)
        config_release(l.config);
    return NULL;
}

struct config *config_load(const char *file, const char *const *listens, const char *const *workers,
                           config_complain complain_to, void *arg)
{
    if (!file)
        return config_load_stream(NULL, NULL, listens, workers, complain_to, arg);
    FILE *in = fopen(file, "re");
    if (!in) {
        struct load l = {.complain = complain_to, .arg = arg};
        complain(&l, (struct where){.file = file}, "%s", strerror(errno));
        return NULL;
    }
    struct config *c = config_load_stream(in, file, listens, workers, complain_to, arg);
    (void)fclose(in);
    return c;
}

struct config *config_hold(struct config *c)
{
    c->references++;
    return c;
}

void config_release(struct config *c)
{
    if (--c->references > 0)
        return;
    for (size_t i = 0; i < option_count; i++)
        option_clear(&options[i], c);
    free(c);
}
