/*
 * log - leveled lines: "2026-11-22T22:40:40.123Z info closed conn=812 client=10.0.0.7:51312 ...".
 *
 * One write(2) a line, to stderr or a file opened for appending, so that several processes can share it. A line over
 * LOG_LINE_BYTES is cut. A pipe that nobody reads, or a full disk, must not stop the proxy: lines are lost, and
 * counted. Nothing that came from outside goes into a line unescaped: see log_value().
 */
#ifndef SIOLB_LOG_H
#define SIOLB_LOG_H

#include "../config/config.h"
#include "core/span.h"

#define LOG_LINE_BYTES 4096

struct log {
    int fd;
    int level;        /* enum log_level: this and what is more urgent is written */
    const char *file; /* "" for stderr; the config's */
    bool may_block;   /* a pipe or socket: look before each write */
    bool is_torn;     /* the last line went in part */
    uint64_t lost;    /* lines since the last one that was written */
};

/* Begin to log to `file` ("" for stderr). False: it cannot be opened (errno); then stderr is used. */
bool log_init(struct log *l, const char *file, int level) MUST_CHECK;
void log_fini(struct log *l);

/* Open the file anew, after logrotate moved it. False: it cannot be opened, the old one stays in use. */
bool log_reopen(struct log *l) MUST_CHECK;

static inline bool log_wants(const struct log *l, enum log_level level)
{
    return (int)level <= l->level;
}

/* `event` is one or two words that a person greps for; `format` makes "key=value key=value". */
void log_line(struct log *l, enum log_level level, const char *event, const char *format, ...) PRINTF_LIKE(4, 5);

/* What somebody asked for: written as info whatever the level is. */
void log_always(struct log *l, const char *event, const char *format, ...) PRINTF_LIKE(3, 4);

/* A line without a level, written whatever the level is: the access log. */
void log_access(struct log *l, const char *line);

/* A value for a line, from bytes of unknown origin: blanks, controls, quotes, '\' and bytes over 0x7e become \xNN; cut
 * with "..." when it does not fit. Empty becomes "-". Returns `out`. */
const char *log_value(struct span bytes, char *out, size_t size);

/* The same for the inside of a JSON string. */
const char *log_json_value(struct span bytes, char *out, size_t size);

#endif
