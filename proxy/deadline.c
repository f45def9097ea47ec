#include "deadline.h"

#include "clock.h"

static void deadline_arm(struct deadline *d)
{
    uint64_t now_ms = clock_ms();
    uint64_t wait_ms = d->at_ms > now_ms ? d->at_ms - now_ms : 0;
    /* one step of the coarse clock more, so that it is not found a little too early when the timer fires */
    struct timeval wait = {(time_t)(wait_ms / 1000), (suseconds_t)(wait_ms % 1000) * 1000 + 4000};
    if (wait.tv_usec >= 1000000) {
        wait.tv_sec++;
        wait.tv_usec -= 1000000;
    }
    d->armed_ms = event_add(&d->event, &wait) == 0 ? d->at_ms : 0;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct deadline *d = arg;
    (void)fd;
    (void)what;
    d->armed_ms = 0;
    if (!d->at_ms)
        return;
    if (clock_ms() < d->at_ms) {
        deadline_arm(d);
        return;
    }
    d->at_ms = 0;
    d->due(d->arg);
}

void deadline_init(struct deadline *d, struct event_base *base, void (*due)(void *arg), void *arg)
{
    event_assign(&d->event, base, -1, 0, on_timer, d);
    d->at_ms = d->armed_ms = 0;
    d->due = due;
    d->arg = arg;
}

void deadline_fini(struct deadline *d)
{
    event_del(&d->event);
    d->at_ms = d->armed_ms = 0;
}

void deadline_set(struct deadline *d, uint64_t at_ms)
{
    d->at_ms = at_ms;
    if (at_ms && (!d->armed_ms || at_ms < d->armed_ms))
        deadline_arm(d);
}

void deadline_retry(struct deadline *d)
{
    if (d->at_ms && !d->armed_ms)
        deadline_arm(d);
}
