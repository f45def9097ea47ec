#include "balance.h"

#include "siphash.h"

#define RENDEZVOUS_LOG_BITS 32

/* Fixed, not secret: every siolb has to agree on where a sid or a client belongs. Changing it moves them all. */
static const uint64_t rendezvous_key[2] = {0x73696f6c622d7265u, 0x6e64657a766f7573u};

static bool is_candidate(const struct worker *w, const struct balance_ask *ask)
{
    return w != ask->not_this && fleet_takes_newcomers(w, ask->now_ms);
}

/* Is a's load a smaller part of its weight than b's of its own? */
static bool is_less_loaded(const struct worker *a, const struct worker *b)
{
    return (uint64_t)fleet_load(a) * b->weight < (uint64_t)fleet_load(b) * a->weight;
}

/* ---- the policies ---- */

static struct worker *pick_least(struct fleet *f, const struct balance_ask *ask)
{
    struct worker *best = NULL;
    for (uint32_t i = 0; i < f->count; i++) {
        struct worker *w = &f->workers[(f->turn + i) % f->count];
        if (is_candidate(w, ask) && (!best || is_less_loaded(w, best)))
            best = w;
    }
    if (best)
        f->turn = (uint16_t)(best->index + 1); /* ties in turn: the next search starts behind it */
    return best;
}

/* One candidate other than `but`, each as likely as its weight says. */
static struct worker *pick_by_weight(struct fleet *f, const struct balance_ask *ask, uint32_t random,
                                     const struct worker *but)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < f->count; i++)
        if (is_candidate(&f->workers[i], ask) && &f->workers[i] != but)
            total += f->workers[i].weight;
    uint64_t mark = random * total >> 32; /* 0 .. total - 1, without a division and its bias */
    for (uint32_t i = 0; i < f->count; i++) {
        struct worker *w = &f->workers[i];
        if (!is_candidate(w, ask) || w == but)
            continue;
        if (mark < w->weight)
            return w;
        mark -= w->weight;
    }
    return NULL;
}

/* The less loaded of two candidates taken at random: nearly as even as `least`, and several siolb that do not know each
 * other's load do not all run to the same worker. */
static struct worker *pick_p2c(struct fleet *f, const struct balance_ask *ask)
{
    struct worker *first = pick_by_weight(f, ask, (uint32_t)ask->random, NULL);
    struct worker *second = pick_by_weight(f, ask, (uint32_t)(ask->random >> 32), first);
    return second && is_less_loaded(second, first) ? second : first;
}

/* Smooth: everybody earns his weight each time, the richest is picked and pays what all earned together. With weights 3
 * and 1 that gives a a b a, not a a a b. */
static struct worker *pick_round_robin(struct fleet *f, const struct balance_ask *ask)
{
    struct worker *best = NULL;
    int32_t earned = 0;
    for (uint32_t i = 0; i < f->count; i++) {
        struct worker *w = &f->workers[i];
        if (!is_candidate(w, ask))
            continue;
        w->credit += w->weight;
        earned += w->weight;
        if (!best || w->credit > best->credit)
            best = w;
    }
    if (best)
        best->credit -= earned;
    return best;
}

static struct worker *pick_random(struct fleet *f, const struct balance_ask *ask)
{
    return pick_by_weight(f, ask, (uint32_t)(ask->random >> 32), NULL);
}

static struct worker *pick_source(struct fleet *f, const struct balance_ask *ask)
{
    return balance_rendezvous(f, ask->client, ask->not_this, ask->now_ms);
}

/* Their names are in the table of settings. */
static struct worker *(*const policies[BALANCE_POLICIES])(struct fleet *f, const struct balance_ask *ask) = {
    [BALANCE_LEAST] = pick_least,   [BALANCE_P2C] = pick_p2c,       [BALANCE_ROUND_ROBIN] = pick_round_robin,
    [BALANCE_RANDOM] = pick_random, [BALANCE_SOURCE] = pick_source,
};

/* ---- picking ---- */

/* Of two refused workers, the one to try before its time: first one that was there once, then the one due first. */
static bool is_due_before(const struct worker *a, const struct worker *b)
{
    if (a->state != b->state)
        return a->state == WORKER_UP;
    return a->cooling_until_ms < b->cooling_until_ms;
}

static struct worker *last_resort(struct fleet *f, const struct balance_ask *ask)
{
    struct worker *best = NULL;
    for (uint32_t i = 0; i < f->count; i++) {
        struct worker *w = &f->workers[i];
        bool may_try = w->state == WORKER_UP || w->state == WORKER_ABSENT;
        /* a connect that is not answered would hold the client for seconds: not before its time */
        if (w != ask->not_this && may_try && !w->timed_out && (!best || is_due_before(w, best)))
            best = w;
    }
    return best;
}

struct worker *balance_pick(struct fleet *f, const struct balance_ask *ask)
{
    struct worker *w = policies[ask->policy](f, ask);
    return w ? w : last_resort(f, ask);
}

/* ---- rendezvous ---- */

/* -log2(x / 2^64) as a fixed-point number. Integers only, so that every machine gets the same bits: the places before
 * the point are the leading zeroes; each one behind it comes of squaring what remains. */
static uint64_t minus_log2(uint64_t x)
{
    x |= 1; /* 0 has no logarithm */
    unsigned zeroes = (unsigned)__builtin_clzll(x);
    uint64_t mantissa = x << zeroes >> 32; /* in [2^31, 2^32), for [1, 2) */
    uint64_t fraction = 0;
    for (int i = 0; i < RENDEZVOUS_LOG_BITS; i++) {
        mantissa = mantissa * mantissa >> 31;
        uint64_t is_two_or_more = mantissa >> 32;
        mantissa >>= is_two_or_more;
        fraction = fraction << 1 | is_two_or_more;
    }
    return ((uint64_t)(zeroes + 1) << RENDEZVOUS_LOG_BITS) - fraction;
}

/* Weighted rendezvous: the worker with the least -log(h) / weight, h being the hash of bytes and worker, gets the share
 * of all bytes that its weight says; when it goes, only its own share moves. */
struct worker *balance_rendezvous(struct fleet *f, struct span bytes, const struct worker *not_this, uint64_t now_ms)
{
    uint64_t hash = siphash(rendezvous_key, bytes);
    struct worker *best = NULL;
    uint64_t best_log = 0;
    for (uint32_t i = 0; i < f->count; i++) {
        struct worker *w = &f->workers[i];
        if (w == not_this || !fleet_takes_newcomers(w, now_ms))
            continue;
        const uint64_t both[2] = {hash, w->identity};
        uint64_t log = minus_log2(siphash(both, SPAN("")));
        /* 39 bits times 9: no overflow */
        uint64_t mine = best ? log * best->weight : 0, its = best_log * w->weight;
        /* of equals the smaller identity: the order in the config must not matter */
        if (!best || mine < its || (mine == its && w->identity < best->identity)) {
            best = w;
            best_log = log;
        }
    }
    return best;
}
