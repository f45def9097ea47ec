#include "reaper.h"

#include "pool.h"

static void reaper_run(struct reaper *r)
{
    while (r->dead) {
        struct link *n = r->dead;
        r->dead = n->next;
        pool_give_back(n);
    }
}

static void on_turn_end(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    reaper_run(arg);
}

void reaper_init(struct reaper *r, struct event_base *base)
{
    r->dead = NULL;
    event_assign(&r->event, base, -1, 0, on_turn_end, r);
}

void reaper_bury(struct reaper *r, struct link *object)
{
    if (!r->dead)
        event_active(&r->event, EV_TIMEOUT, 0); /* queued behind the callback that runs now */
    object->next = r->dead;
    r->dead = object;
}

void reaper_fini(struct reaper *r)
{
    event_del(&r->event);
    reaper_run(r);
}
