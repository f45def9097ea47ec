/*
 * shim - between siolb and its system calls (and its memory): lets a test say which call fails, and how.
 *
 *   siolb's objects, libevent, zlib -> the functions below -> the kernel, libc's heap
 *
 * Linked with siolb's own objects into build/fault/siolb: the names below win over libc's, also for the libraries.
 * Every call is counted. A plan for a call (struct plan) fails the n-th one, each n-th one, or one by chance, with one
 * of its errors, or lets it move a few bytes only. Plans come from the environment, from the start on:
 *
 *   SIOLB_FAULT="send:3:EPIPE"          the third send fails; ":2" behind it: two in a row
 *   SIOLB_FAULT="recv::1 send::1"       one byte at a time
 *   SIOLB_FAULT_FILE=f                  f is the table of plans, mapped: a test changes it as siolb runs
 *
 * What is faked is what a kernel could have done: a socket that "was reset" is shut down in earnest, and one that
 * "would block", or moved less than it could, reports its edge again, as if bytes or room had come a moment later.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ERRORS_MAX  8
#define WATCHED_MAX 4096 /* descriptors whose edges can be repeated: a test has few */

#define CALLS(X)                                                                                                       \
    X(accept4)                                                                                                         \
    X(bind)                                                                                                            \
    X(calloc)                                                                                                          \
    X(close)                                                                                                           \
    X(connect)                                                                                                         \
    X(epoll_create)                                                                                                    \
    X(epoll_ctl)                                                                                                       \
    X(epoll_wait)                                                                                                      \
    X(getsockname)                                                                                                     \
    X(getsockopt)                                                                                                      \
    X(ioctl)                                                                                                           \
    X(listen)                                                                                                          \
    X(malloc)                                                                                                          \
    X(mmap)                                                                                                            \
    X(open)                                                                                                            \
    X(pipe)                                                                                                            \
    X(realloc)                                                                                                         \
    X(recv)                                                                                                            \
    X(send)                                                                                                            \
    X(setsockopt)                                                                                                      \
    X(shutdown)                                                                                                        \
    X(socket)                                                                                                          \
    X(write)

#define CALL_ID(name) CALL_##name,
enum call { CALLS(CALL_ID) CALLS_COUNT };

/* One row of the file; faults.mjs knows the layout. */
struct plan {
    char name[16];
    uint32_t seen;              /* calls since the test set this to 0 */
    uint32_t hits;              /* ... of which so many failed */
    uint32_t at;                /* the first that fails, from 1; 0: none */
    uint32_t times;             /* ... and so many from there on */
    uint32_t every;             /* each so many-th fails; 0: none */
    uint32_t odds;              /* one in so many fails, by chance; 0: none */
    uint32_t limit;             /* bytes that one call moves at most; 0: all */
    int32_t errors[ERRORS_MAX]; /* one of them, by chance; 0: no further one */
    uint32_t reserved;
};

struct table {
    uint32_t calls;
    uint32_t chance; /* state of the generator; the test's seed */
    int64_t blocks;  /* of the heap, allocated and not freed */
    struct plan plans[CALLS_COUNT];
};

static_assert(sizeof(struct plan) == 80 && offsetof(struct table, plans) == 16, "faults.mjs has to be told");

static struct table unshared;
static struct table *table = &unshared;

/* --- plans --- */

#define CALL_NAME(name) #name,
static const char *const call_name[] = {CALLS(CALL_NAME)};

/* NAME:[AT]:ERROR[:TIMES] or NAME::LIMIT */
static bool read_plan(char *text)
{
    char *part[4] = {NULL};
    for (int i = 0; i < 4 && text; i++)
        part[i] = strsep(&text, ":");
    for (int i = 0; i < CALLS_COUNT && part[0] && part[1] && part[2]; i++) {
        struct plan *p = &table->plans[i];
        if (strcmp(p->name, part[0]) != 0)
            continue;
        if (!*part[1])
            return (p->limit = (uint32_t)strtoul(part[2], NULL, 10)) > 0;
        for (int error = 1; error < 134; error++) {
            const char *name = strerrorname_np(error);
            if (name && !strcmp(name, part[2]))
                p->errors[0] = error;
        }
        p->times = part[3] ? (uint32_t)strtoul(part[3], NULL, 10) : 1;
        p->at = (uint32_t)strtoul(part[1], NULL, 10);
        return p->at && p->errors[0];
    }
    return false;
}

static void die(const char *why)
{
    dprintf(STDERR_FILENO, "fault shim: %s\n", why);
    _exit(99);
}

static void map_table(const char *file)
{
    int fd = (int)syscall(SYS_openat, AT_FDCWD, file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    void *map = MAP_FAILED;
    if (fd >= 0 && ftruncate(fd, sizeof(struct table)) == 0)
        map = (void *)syscall(SYS_mmap, NULL, sizeof(struct table), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        die("SIOLB_FAULT_FILE cannot be mapped");
    syscall(SYS_close, fd);
    memcpy(map, table, sizeof(struct table));
    table = map;
}

__attribute__((constructor)) static void begin(void)
{
    const char *file = getenv("SIOLB_FAULT_FILE"), *plans = getenv("SIOLB_FAULT");
    char text[1024], *rest = text;
    table->calls = CALLS_COUNT;
    table->chance = 1;
    table->blocks = 0;
    for (int i = 0; i < CALLS_COUNT; i++) {
        table->plans[i].seen = 0; /* what the loader and a sanitizer did is not counted */
        snprintf(table->plans[i].name, sizeof(table->plans[i].name), "%s", call_name[i]);
    }
    if (file)
        map_table(file);
    snprintf(text, sizeof(text), "%s", plans ? plans : "");
    for (char *plan; (plan = strsep(&rest, " ,"));)
        if (*plan && !read_plan(plan))
            die("SIOLB_FAULT is no list of NAME:AT:ERROR[:TIMES] or NAME::LIMIT");
}

static uint32_t by_chance(uint32_t below)
{
    uint32_t x = table->chance;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    table->chance = x;
    return x % below;
}

/* Counts the call; the error that it fails with, 0: none. */
static int fault_of(enum call call)
{
    struct plan *p = &table->plans[call];
    uint32_t n = ++p->seen, errors = 0;
    bool fails = (p->at && n >= p->at && n - p->at < p->times) || (p->every && n % p->every == 0) ||
                 (p->odds && by_chance(p->odds) == 0);
    if (!fails)
        return 0;
    while (errors < ERRORS_MAX && p->errors[errors])
        errors++;
    if (!errors)
        return 0;
    p->hits++;
    return p->errors[errors == 1 ? 0 : by_chance(errors)];
}

/* Is the caller siolb itself? What libevent sends itself about signals is none of the test's business. */
static bool is_siolb(const void *caller)
{
    extern const char __executable_start, etext;
    return (const char *)caller >= &__executable_start && (const char *)caller < &etext;
}

static bool fails(enum call call, const void *caller)
{
    int error = is_siolb(caller) ? fault_of(call) : 0;
    if (error)
        errno = error;
    return error != 0;
}

#define FAILS(name) fails(CALL_##name, __builtin_return_address(0))

/* --- what the kernel would have done besides --- */

static struct {
    int epoll;
    struct epoll_event as; /* events 0: not watched */
} watched[WATCHED_MAX];

/* Have the edges of `fd` reported again. */
static void repeat_edges(int fd)
{
    if (fd < WATCHED_MAX && watched[fd].as.events)
        syscall(SYS_epoll_ctl, watched[fd].epoll, EPOLL_CTL_MOD, fd, &watched[fd].as);
}

static ssize_t after_fault(int fd)
{
    int error = errno;
    if (error == EAGAIN || error == EINTR)
        repeat_edges(fd);
    else if (error != ENOMEM && error != ENOBUFS)
        syscall(SYS_shutdown, fd, SHUT_RDWR);
    errno = error;
    return -1;
}

static size_t limited(enum call call, const void *caller, size_t bytes)
{
    uint32_t limit = is_siolb(caller) ? table->plans[call].limit : 0;
    return limit && limit < bytes ? limit : bytes;
}

/* --- sockets --- */

ssize_t recv(int fd, void *to, size_t bytes, int flags)
{
    const void *caller = __builtin_return_address(0);
    if (fails(CALL_recv, caller))
        return after_fault(fd);
    size_t some = limited(CALL_recv, caller, bytes);
    ssize_t n = syscall(SYS_recvfrom, fd, to, some, flags, NULL, NULL);
    if (some < bytes && n > 0)
        repeat_edges(fd);
    return n;
}

ssize_t send(int fd, const void *from, size_t bytes, int flags)
{
    const void *caller = __builtin_return_address(0);
    if (fails(CALL_send, caller))
        return after_fault(fd);
    size_t some = limited(CALL_send, caller, bytes);
    ssize_t n = syscall(SYS_sendto, fd, from, some, flags, NULL, 0);
    if (some < bytes && n > 0)
        repeat_edges(fd);
    return n;
}

ssize_t write(int fd, const void *from, size_t bytes)
{
    const void *caller = __builtin_return_address(0);
    if (fails(CALL_write, caller))
        return -1;
    return syscall(SYS_write, fd, from, limited(CALL_write, caller, bytes));
}

int accept4(int fd, __SOCKADDR_ARG from, socklen_t *restrict bytes, int flags)
{
    return FAILS(accept4) ? -1 : (int)syscall(SYS_accept4, fd, from.__sockaddr__, bytes, flags);
}

int socket(int family, int type, int protocol)
{
    return FAILS(socket) ? -1 : (int)syscall(SYS_socket, family, type, protocol);
}

int connect(int fd, __CONST_SOCKADDR_ARG to, socklen_t bytes)
{
    return FAILS(connect) ? -1 : (int)syscall(SYS_connect, fd, to.__sockaddr__, bytes);
}

int bind(int fd, __CONST_SOCKADDR_ARG to, socklen_t bytes)
{
    return FAILS(bind) ? -1 : (int)syscall(SYS_bind, fd, to.__sockaddr__, bytes);
}

int listen(int fd, int length)
{
    return FAILS(listen) ? -1 : (int)syscall(SYS_listen, fd, length);
}

int shutdown(int fd, int how)
{
    return FAILS(shutdown) ? (int)after_fault(fd) : (int)syscall(SYS_shutdown, fd, how);
}

int getsockname(int fd, __SOCKADDR_ARG name, socklen_t *restrict bytes)
{
    return FAILS(getsockname) ? -1 : (int)syscall(SYS_getsockname, fd, name.__sockaddr__, bytes);
}

int getsockopt(int fd, int level, int option, void *restrict value, socklen_t *restrict bytes)
{
    return FAILS(getsockopt) ? -1 : (int)syscall(SYS_getsockopt, fd, level, option, value, bytes);
}

int setsockopt(int fd, int level, int option, const void *value, socklen_t bytes)
{
    return FAILS(setsockopt) ? -1 : (int)syscall(SYS_setsockopt, fd, level, option, value, bytes);
}

/* --- descriptors --- */

int ioctl(int fd, unsigned long request, ...)
{
    va_list args;
    va_start(args, request);
    void *value = va_arg(args, void *);
    va_end(args);
    return FAILS(ioctl) ? -1 : (int)syscall(SYS_ioctl, fd, request, value);
}

int open(const char *path, int flags, ...)
{
    int mode = 0;
    if (flags & O_CREAT) {
        va_list args;
        va_start(args, flags);
        mode = va_arg(args, int);
        va_end(args);
    }
    return FAILS(open) ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

/* Linux has closed the descriptor, whatever close says. */
int close(int fd)
{
    bool did_fail = FAILS(close);
    int error = errno;
    if (fd >= 0 && fd < WATCHED_MAX)
        watched[fd].as.events = 0;
    int result = (int)syscall(SYS_close, fd);
    if (!did_fail)
        return result;
    errno = error;
    return -1;
}

/* --- what libevent calls --- */

static bool fails_for_all(enum call call)
{
    int error = fault_of(call);
    if (error)
        errno = error;
    return error != 0;
}

int epoll_create1(int flags)
{
    return fails_for_all(CALL_epoll_create) ? -1 : (int)syscall(SYS_epoll_create1, flags);
}

/* libevent's second way, where the first one fails. */
int epoll_create(int size)
{
    (void)size;
    return fails_for_all(CALL_epoll_create) ? -1 : (int)syscall(SYS_epoll_create1, 0);
}

int pipe2(int fds[2], int flags)
{
    return fails_for_all(CALL_pipe) ? -1 : (int)syscall(SYS_pipe2, fds, flags);
}

int pipe(int fds[2])
{
    return fails_for_all(CALL_pipe) ? -1 : (int)syscall(SYS_pipe2, fds, 0);
}

int socketpair(int family, int type, int protocol, int fds[2])
{
    return fails_for_all(CALL_pipe) ? -1 : (int)syscall(SYS_socketpair, family, type, protocol, fds);
}

/* Only ADD and MOD need memory; DEL cannot fail. */
int epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
    if (operation != EPOLL_CTL_DEL && fails_for_all(CALL_epoll_ctl))
        return -1;
    int result = (int)syscall(SYS_epoll_ctl, epoll, operation, fd, event);
    if (result == 0 && fd < WATCHED_MAX) {
        watched[fd].epoll = epoll;
        watched[fd].as = operation == EPOLL_CTL_DEL ? (struct epoll_event){0} : *event;
    }
    return result;
}

int epoll_wait(int epoll, struct epoll_event *events, int count, int timeout_ms)
{
    return fails_for_all(CALL_epoll_wait) ? -1
                                          : (int)syscall(SYS_epoll_pwait, epoll, events, count, timeout_ms, NULL, 0);
}

/* --- memory --- */

/* libc's own heap, or AddressSanitizer's where that is linked in. */
#define HEAP(result, name, ...)                                                                                        \
    extern result __libc_##name(__VA_ARGS__);                                                                          \
    extern result __interceptor_##name(__VA_ARGS__) __attribute__((weak))
HEAP(void *, malloc, size_t);
HEAP(void *, calloc, size_t, size_t);
HEAP(void *, realloc, void *, size_t);
HEAP(void, free, void *);
#define REAL(name) (__interceptor_##name ? __interceptor_##name : __libc_##name)

static void *counted(void *block)
{
    if (block)
        table->blocks++;
    return block;
}

void *malloc(size_t bytes)
{
    return fails_for_all(CALL_malloc) ? NULL : counted(REAL(malloc)(bytes));
}

void *calloc(size_t count, size_t bytes)
{
    return fails_for_all(CALL_calloc) ? NULL : counted(REAL(calloc)(count, bytes));
}

void *realloc(void *block, size_t bytes)
{
    if (fails_for_all(CALL_realloc))
        return NULL;
    void *moved = REAL(realloc)(block, bytes);
    return block ? moved : counted(moved);
}

void free(void *block)
{
    if (block)
        table->blocks--;
    REAL(free)(block);
}

void *mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    return FAILS(mmap) ? MAP_FAILED : (void *)syscall(SYS_mmap, at, bytes, protection, flags, fd, offset);
}
