/*
 * deadline - one absolute point in time that an object waits for, moved often and reached seldom.
 *
 * Moving it later, or off, does not touch the loop's timer: the timer fires at the old time, sees that it is not due
 * yet and arms itself again. So a keep-alive connection that alternates between "next request" and "answer" pays for a
 * timer once in many requests.
 */
#ifndef SIOLB_DEADLINE_H
#define SIOLB_DEADLINE_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdint.h>

struct deadline {
    struct event event;
    uint64_t at_ms;    /* 0: none */
    uint64_t armed_ms; /* when the loop's timer fires; 0: not armed, or there was no memory for it */
    void (*due)(void *arg);
    void *arg;
};

void deadline_init(struct deadline *d, struct event_base *base, void (*due)(void *arg), void *arg);
void deadline_fini(struct deadline *d);

/* `due` is called at at_ms (clock_ms) or up to 10 ms later, unless the deadline is moved until then. 0: none. */
void deadline_set(struct deadline *d, uint64_t at_ms);

/* To be called now and then: if there was no memory for the timer, try again. */
void deadline_retry(struct deadline *d);

#endif
