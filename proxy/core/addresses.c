#include "addresses.h"

#include "siphash.h"

#include <assert.h>
#include <stdlib.h>

#define ENTRIES_MIN (4 * ADDRESSES_WINDOW)

struct entry {
    uint64_t household;   /* ip_household(); 0: a free place */
    uint32_t connections; /* open ones */
    struct bucket handshakes;
};

struct addresses {
    uint64_t key[2];
    uint64_t mask; /* places - 1, a power of two less one */
    struct entry entries[];
};

struct addresses *addresses_new(uint64_t connected_max, const uint64_t key[2])
{
    uint64_t places = ENTRIES_MIN;
    while (places / 2 < connected_max && places < ADDRESSES_MAX)
        places *= 2;
    /* calloc of so much is fresh memory of the kernel: nothing is touched before it is used */
    struct addresses *t = calloc(1, sizeof *t + places * sizeof t->entries[0]);
    if (!t)
        return NULL;
    t->key[0] = key[0];
    t->key[1] = key[1];
    t->mask = places - 1;
    return t;
}

void addresses_free(struct addresses *t)
{
    free(t);
}

/* Where the window of a household begins. */
static uint64_t home_of(const struct addresses *t, uint64_t household)
{
    return siphash(t->key, span_of((const char *)&household, sizeof household));
}

static struct entry *place_at(struct addresses *t, uint64_t home, uint64_t nth)
{
    return &t->entries[(home + nth) & t->mask];
}

static struct entry *find(struct addresses *t, uint64_t home, uint64_t household)
{
    for (uint64_t n = 0; n < ADDRESSES_WINDOW; n++) {
        struct entry *e = place_at(t, home, n);
        if (e->household == household)
            return e;
    }
    return NULL;
}

/* The place in the window that is missed least: a free one, else that without connections whose last handshake is
 * longest ago. NULL: all have connections. */
static struct entry *find_cheapest(struct addresses *t, uint64_t home)
{
    struct entry *cheapest = NULL;
    for (uint64_t n = 0; n < ADDRESSES_WINDOW; n++) {
        struct entry *e = place_at(t, home, n);
        if (e->household == 0)
            return e;
        if (e->connections == 0 && (!cheapest || e->handshakes.at_ms < cheapest->handshakes.at_ms))
            cheapest = e;
    }
    return cheapest;
}

static struct entry *claim(struct addresses *t, const struct ip *a)
{
    uint64_t household = ip_household(a);
    if (household == 0)
        return NULL;
    uint64_t home = home_of(t, household);
    struct entry *e = find(t, home, household);
    if (e)
        return e;
    e = find_cheapest(t, home);
    if (e)
        *e = (struct entry){.household = household};
    return e;
}

uint32_t addresses_enter(struct addresses *t, const struct ip *a)
{
    struct entry *e = claim(t, a);
    return e ? ++e->connections : 0;
}

void addresses_leave(struct addresses *t, const struct ip *a)
{
    uint64_t household = ip_household(a);
    struct entry *e = find(t, home_of(t, household), household);
    assert(e && e->connections > 0);
    e->connections--;
}

bool addresses_take_handshake(struct addresses *t, const struct ip *a, uint64_t rate_per_s, uint64_t now_ms,
                              uint64_t *wait_ms_out)
{
    struct entry *e = claim(t, a);
    *wait_ms_out = 0;
    return !e || bucket_take(&e->handshakes, rate_per_s, now_ms, wait_ms_out);
}
