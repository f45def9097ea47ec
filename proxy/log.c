#include "log.h"

#include "clock.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const level_name[] = {
    [LOG_ERROR] = "error", [LOG_WARN] = "warn", [LOG_INFO] = "info", [LOG_DEBUG] = "debug"};

static int log_open_file(const char *file)
{
    return open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
}

static void log_set_fd(struct log *l, int fd)
{
    struct stat st;
    l->fd = fd;
    l->is_torn = false;
    l->may_block = fstat(fd, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode));
}

bool log_init(struct log *l, const char *file, int level)
{
    int fd = *file ? log_open_file(file) : STDERR_FILENO;
    *l = (struct log){.level = level, .file = file};
    log_set_fd(l, fd < 0 ? STDERR_FILENO : fd);
    return fd >= 0;
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
    log_set_fd(l, fd);
    return true;
}

/* Pipes promise room for one PIPE_BUF when they are writable, and a line is not longer. */
static_assert(LOG_LINE_BYTES <= PIPE_BUF, "a line has to fit into a pipe at once");

static bool log_has_room(const struct log *l)
{
    struct pollfd p = {.fd = l->fd, .events = POLLOUT};
    return !l->may_block || (poll(&p, 1, 0) == 1 && (p.revents & POLLOUT));
}

/* How many of the bytes went out. */
static size_t log_put(const struct log *l, const char *bytes, size_t count)
{
    size_t at = 0;
    while (at < count) {
        ssize_t n = write(l->fd, bytes + at, count - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        at += (size_t)n;
    }
    return at;
}

/* A log that cannot be written (full disk, closed pipe) must not stop the proxy: what does not go is lost, and a line
 * that went in part is ended before the next one. */
static bool log_put_line(struct log *l, const char *line, size_t bytes)
{
    if (!log_has_room(l) || (l->is_torn && log_put(l, "\n", 1) == 0))
        return false;
    size_t put = log_put(l, line, bytes);
    l->is_torn = put > 0 && put < bytes;
    return put == bytes;
}

static void log_write(struct log *l, const char *line, size_t bytes)
{
    if (!log_put_line(l, line, bytes)) {
        l->lost++;
        return;
    }
    if (!l->lost)
        return;
    char gap[128], when[CLOCK_TEXT_BYTES];
    clock_text(when);
    int len = snprintf(gap, sizeof(gap), "%s warn log lost lines=%llu hint=\"the log could not be written\"\n", when,
                       (unsigned long long)l->lost);
    if (log_put_line(l, gap, (size_t)len))
        l->lost = 0;
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
