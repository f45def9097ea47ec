#include "stream.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static void set_option(int fd, int level, int option, int value)
{
    setsockopt(fd, level, option, &value, sizeof(value)); /* none of them is vital */
}

void stream_tune(int fd, uint64_t stall_ms)
{
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (!stall_ms)
        return;
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 60);
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 15);
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 4);
    set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, (int)stall_ms);
}

bool stream_start(struct stream *s, struct event_base *base, int fd, event_callback_fn on_event, void *arg)
{
    s->flags = STREAM_WRITABLE;
    event_assign(&s->event, base, fd, EV_READ | EV_WRITE | EV_CLOSED | EV_ET | EV_PERSIST, on_event, arg);
    if (event_add(&s->event, NULL) == 0)
        return true;
    s->event.ev_fd = -1;
    return false;
}

int stream_detach(struct stream *s)
{
    int fd = stream_fd(s);
    event_del(&s->event);
    s->event.ev_fd = -1;
    return fd;
}

void stream_note(struct stream *s, short what)
{
    if (what & EV_CLOSED)
        s->flags |= STREAM_HUNG_UP | STREAM_READABLE;
    if (what & EV_READ)
        s->flags |= STREAM_READABLE;
    if (what & EV_WRITE)
        s->flags |= STREAM_WRITABLE;
    if ((what & (EV_READ | EV_WRITE | EV_CLOSED)) == (EV_READ | EV_WRITE))
        s->flags |= STREAM_LOOK_AGAIN;
}

void stream_again(struct stream *s)
{
    event_active(&s->event, 0, 0);
}

bool stream_look_again(struct stream *s)
{
    if (!(s->flags & STREAM_LOOK_AGAIN))
        return false;
    s->flags = (uint8_t)((s->flags | STREAM_READABLE) & ~STREAM_LOOK_AGAIN);
    return true;
}

static enum stream_result stream_stopped(struct stream *s, uint8_t flag)
{
    if (errno != EAGAIN)
        return STREAM_FAILED;
    s->flags &= (uint8_t)~flag;
    return STREAM_BLOCKED;
}

enum stream_result stream_read(struct stream *s, void *buffer, size_t size, size_t *got_out)
{
    ssize_t n;
    *got_out = 0;
    do
        n = recv(stream_fd(s), buffer, size, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return stream_stopped(s, STREAM_READABLE);
    if (n == 0 && (s->flags & STREAM_BROKEN)) {
        errno = ECONNRESET;
        return STREAM_FAILED;
    }
    if (n == 0) {
        s->flags = (uint8_t)((s->flags | STREAM_ENDED) & ~STREAM_READABLE);
        return STREAM_EOF;
    }
    if ((size_t)n < size && !(s->flags & STREAM_HUNG_UP))
        s->flags &= (uint8_t)~STREAM_READABLE;
    *got_out = (size_t)n;
    return STREAM_OK;
}

enum stream_result stream_write(struct stream *s, struct span bytes, size_t *sent_out)
{
    ssize_t n;
    *sent_out = 0;
    do
        n = send(stream_fd(s), bytes.ptr, bytes.len, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno == ENOBUFS)
        errno = ENOMEM;
    if (n < 0 && errno != EAGAIN && errno != ENOMEM && errno != EPIPE) /* EPIPE: a RST behind the peer's FIN: the end */
        s->flags |= STREAM_BROKEN;
    if (n < 0)
        return stream_stopped(s, STREAM_WRITABLE);
    if ((size_t)n < bytes.len)
        s->flags &= (uint8_t)~STREAM_WRITABLE;
    *sent_out = (size_t)n;
    return STREAM_OK;
}

void stream_shut(struct stream *s)
{
    if (s->flags & STREAM_SHUT)
        return;
    s->flags |= STREAM_SHUT;
    shutdown(stream_fd(s), SHUT_WR);
}

bool stream_has_unsent(const struct stream *s)
{
    int bytes = 0;
    return ioctl(stream_fd(s), SIOCOUTQ, &bytes) == 0 && bytes > 0;
}

int stream_error(const struct stream *s)
{
    int error = 0;
    socklen_t bytes = sizeof(error);
    return getsockopt(stream_fd(s), SOL_SOCKET, SO_ERROR, &error, &bytes) == 0 ? error : 0;
}

void stream_close(struct stream *s, bool reset)
{
    if (!stream_is_open(s))
        return;
    int fd = stream_detach(s);
    if (reset) {
        struct linger now = {.l_onoff = 1, .l_linger = 0};
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    }
    close(fd);
}
