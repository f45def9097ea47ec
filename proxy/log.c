#include "log.h"

#include "clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

static const char *const level_name[] = {
    [LOG_ERROR] = "error", [LOG_WARN] = "warn", [LOG_INFO] = "info", [LOG_DEBUG] = "debug"};

static int log_open_file(const char *file)
{
    return open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
}

bool log_init(struct log *l, const char *file, int level)
{
    *l = (struct log){.fd = STDERR_FILENO, .level = level, .file = file};
    if (!*file)
        return true;
    int fd = log_open_file(file);
    if (fd < 0)
        return false;
    l->fd = fd;
    return true;
}

void log_fini(struct log *l)
{
    if (l->fd != STDERR_FILENO)
        close(l->fd);
    l->fd = STDERR_FILENO;
}

bool log_reopen(struct log *l)
{
    if (!*l->file)
        return true;
    int fd = log_open_file(l->file);
    if (fd < 0)
        return false;
    if (l->fd != STDERR_FILENO)
        close(l->fd);
    l->fd = fd;
    return true;
}

/* A log that cannot be written (full disk, closed pipe) must not stop the proxy: what does not go is lost. */
static void log_write(const struct log *l, const char *line, size_t bytes)
{
    while (bytes) {
        ssize_t n = write(l->fd, line, bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        line += n;
        bytes -= (size_t)n;
    }
}

/* Room is left for the line end: what snprintf would have written beyond it is cut. */
static size_t log_clip(int wanted, size_t room)
{
    if (wanted < 0)
        return 0;
    return (size_t)wanted < room ? (size_t)wanted : room - 1;
}

static void log_format(struct log *l, enum log_level level, const char *event, const char *format, va_list args)
{
    char line[LOG_LINE_BYTES];
    char when[CLOCK_TEXT_BYTES];
    size_t room = sizeof(line) - 1;
    clock_text(when);
    size_t len = log_clip(snprintf(line, room, "%s %s %s ", when, level_name[level], event), room);
    len += log_clip(vsnprintf(line + len, room - len, format, args), room - len);
    line[len++] = '\n';
    log_write(l, line, len);
}

void log_line(struct log *l, enum log_level level, const char *event, const char *format, ...)
{
    va_list args;
    if (!log_wants(l, level))
        return;
    va_start(args, format);
    log_format(l, level, event, format, args);
    va_end(args);
}

void log_always(struct log *l, const char *event, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    log_format(l, LOG_INFO, event, format, args);
    va_end(args);
}

void log_access(struct log *l, const char *line)
{
    char whole[LOG_LINE_BYTES];
    size_t room = sizeof(whole) - 1;
    size_t len = log_clip(snprintf(whole, room, "%s", line), room);
    whole[len++] = '\n';
    log_write(l, whole, len);
}

/* Write `bytes` to `out`, each as itself or as \xNN (\u00NN in JSON). */
static const char *log_escape(struct span bytes, char *out, size_t size, const char *special, const char *escape)
{
    size_t at = 0;
    for (size_t i = 0; i < bytes.len; i++) {
        unsigned char c = (unsigned char)bytes.ptr[i];
        bool plain = c > 0x1f && c < 0x7f && !strchr(special, c);
        size_t needs = plain ? 1 : strlen(escape) + 2;
        if (at + needs + 4 > size) { /* "..." and the terminator have to fit too */
            memcpy(out + at, "...", 3);
            at += 3;
            break;
        }
        if (plain)
            out[at++] = (char)c;
        else
            at += (size_t)snprintf(out + at, size - at, "%s%02x", escape, c);
    }
    out[at] = '\0';
    return out;
}

const char *log_value(struct span bytes, char *out, size_t size)
{
    if (bytes.len == 0)
        bytes = SPAN("-");
    return log_escape(bytes, out, size, " \"\\", "\\x");
}

const char *log_json_value(struct span bytes, char *out, size_t size)
{
    return log_escape(bytes, out, size, "\"\\", "\\u00");
}
