/*
 * reaper - frees closed objects at the end of the loop turn.
 *
 * A closed object stays in memory until the callbacks that are on the stack have returned, so that they find it CLOSED
 * and not freed. Its `struct link` must be its first member, in no list, and its memory from a pool.
 */
#ifndef SIOLB_REAPER_H
#define SIOLB_REAPER_H

#include "list.h"

#include <event2/event.h>
#include <event2/event_struct.h>

struct reaper {
    struct event event;
    struct link *dead; /* chained by next */
};

void reaper_init(struct reaper *r, struct event_base *base);

/* Free `object` once the running callback has returned. */
void reaper_bury(struct reaper *r, struct link *object);

/* Free everything now: at the end, when no callback runs. */
void reaper_fini(struct reaper *r);

#endif
