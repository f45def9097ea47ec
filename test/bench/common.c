#include "common.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

_Noreturn void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%s: ", program_invocation_short_name);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

unsigned long number_from(const char *text, const char *what, unsigned long max)
{
    char *end;
    errno = 0;
    const unsigned long value = strtoul(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || value > max)
        die("%s: \"%s\" is no number up to %lu", what, text, max);
    return value;
}

int loop_new(void)
{
    const int loop = epoll_create1(EPOLL_CLOEXEC);
    if (loop < 0)
        die("epoll_create1: %s", strerror(errno));
    return loop;
}

void loop_add(int loop, int fd, void *data)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.ptr = data};
    if (epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event) != 0)
        die("epoll_ctl: %s", strerror(errno));
}

static struct sockaddr_in loopback(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
}

static void set_no_delay(int fd)
{
    const int on = 1;
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0)
        die("TCP_NODELAY: %s", strerror(errno));
}

int listen_open(uint16_t port)
{
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die("socket: %s", strerror(errno));
    const int on = 1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0)
        die("SO_REUSEADDR: %s", strerror(errno));
    set_no_delay(fd);
    const struct sockaddr_in address = loopback(port);
    if (bind(fd, (const struct sockaddr *)&address, sizeof address) != 0 || listen(fd, SOMAXCONN) != 0)
        die("listen on 127.0.0.1:%u: %s", port, strerror(errno));
    return fd;
}

uint16_t listen_port(int fd)
{
    struct sockaddr_in address = {0};
    socklen_t bytes = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &bytes) != 0)
        die("getsockname: %s", strerror(errno));
    return ntohs(address.sin_port);
}

int listen_accept(int listener)
{
    const int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0 && errno != EAGAIN && errno != ECONNABORTED)
        die("accept4: %s", strerror(errno));
    return fd;
}

int connect_open(uint16_t port)
{
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die("socket: %s", strerror(errno));
    set_no_delay(fd);
    const struct sockaddr_in address = loopback(port);
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0)
        die("connect to 127.0.0.1:%u: %s", port, strerror(errno));
    return fd;
}

void set_nonblocking(int fd)
{
    const int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0)
        die("fcntl: %s", strerror(errno));
}

ssize_t recv_some(int fd, void *buffer, size_t size)
{
    const ssize_t got = recv(fd, buffer, size, 0);
    if (got >= 0)
        return got;
    return errno == EAGAIN ? -1 : 0;
}

void send_all(int fd, const void *bytes, size_t count)
{
    const ssize_t sent = send(fd, bytes, count, MSG_NOSIGNAL);
    if (sent < 0 && (errno == EPIPE || errno == ECONNRESET))
        return; /* the reader of this connection is told so, too, and decides what it means */
    if (sent != (ssize_t)count)
        die("send took %zd of %zu bytes: %s", sent, count, strerror(errno));
}

uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}
