/*
 * options - the table of settings: one row is the whole story of one.
 *
 * From its row a setting gets its parsing, range, default, help, its place in siolb.ini.example and docs/CONFIG.md
 * (print.c), and its line in the effective config. Rows stand in the order in which they are shown. A new setting is a
 * row here and a field in config.h.
 */
#ifndef SIOLB_CONFIG_OPTIONS_H
#define SIOLB_CONFIG_OPTIONS_H

#include "value.h"

enum option_kind {
    OPT_LISTEN,   /* repeatable: struct config_listen */
    OPT_PATH,     /* repeatable: struct span */
    OPT_WORKER,   /* repeatable: struct config_worker, several for a range */
    OPT_NETWORK,  /* repeatable: struct ip_network, several in one line */
    OPT_CHOICE,   /* int: index into `choices` */
    OPT_SWITCH,   /* bool: on, off */
    OPT_COUNT,    /* uint64_t */
    OPT_ENTRIES,  /* uint64_t, rounded up to a power of two */
    OPT_DURATION, /* uint64_t, milliseconds */
    OPT_SIZE,     /* uint64_t, bytes */
    OPT_COOKIE,   /* char *, "" for none */
    OPT_FILE,     /* char *, "" for none */
    OPT_KINDS
};

struct option {
    const char *section;
    const char *key;
    enum option_kind kind;
    size_t field;                /* offset in struct config; unused by the repeatable kinds */
    const char *def;             /* as it would be written; "" where empty; NULL: there is none, one has to be given */
    uint64_t min, max;           /* of numbers; 0 is allowed besides when zero_is_special */
    bool zero_is_special;        /* 0 has a meaning of its own, told in `help` */
    const char *const *choices;  /* OPT_CHOICE: ends with NULL; the index is the value */
    const char *choice_to_build; /* one of them that is not built yet; NULL: all are */
    const char *help;            /* whole sentences */
    const char *const *examples; /* other values worth showing, ends with NULL; NULL: none */
};

/* The sections in their order, each with one sentence on what it is about. */
struct option_section {
    const char *name;
    const char *help;
};

extern const struct option_section option_sections[];
extern const size_t option_section_count;
extern const struct option options[];
extern const size_t option_count;

/* What a name from a file means to this siolb. */
enum option_known { OPTION_UNKNOWN, OPTION_NOT_BUILT, OPTION_KNOWN };

enum option_known option_section_find(const char *section);

/* *out is set when it is known. */
enum option_known option_find(const char *section, const char *key, const struct option **out);

/* The known name nearest to a misspelt one, built or not; NULL when none is near. */
const char *option_section_nearest(const char *section);
const char *option_nearest(const char *section, const char *key);

/* Another section in which `key` is known; NULL: none. */
const char *option_section_of(const char *key);

bool option_is_repeatable(const struct option *o);

/* Set a field of *c, or add to a list of it. False: refused, nothing changed, *why is set. */
bool option_set(const struct option *o, struct config *c, struct span text, struct value_why *why) MUST_CHECK;

/* One more worker, or a range of them: also what -w says, where ports alone are enough. */
bool option_add_workers(struct config *c, const struct value_worker *w, struct value_why *why) MUST_CHECK;

/* Empty a list or a text, freeing what it held; numbers stay. */
void option_clear(const struct option *o, struct config *c);

/* Its value in *c as lines "key = value", one for each element of a list. */
void option_print(const struct option *o, const struct config *c, FILE *out);

/* What may be written, in words: "1ms to 5m", "0, or 64 to 67108864", "least, p2c, source". */
#define OPTION_RANGE_TEXT_MAX 80
void option_range_text(const struct option *o, char out[OPTION_RANGE_TEXT_MAX]);

#endif
