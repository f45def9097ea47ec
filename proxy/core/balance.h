/*
 * balance - picks a worker for a newcomer: one function per policy, in a table. And the rendezvous hash by which every
 * siolb sends the same unknown sid, or the same client address, to the same worker.
 */
#ifndef SIOLB_CORE_BALANCE_H
#define SIOLB_CORE_BALANCE_H

#include "fleet.h"

enum balance { BALANCE_LEAST, BALANCE_P2C, BALANCE_ROUND_ROBIN, BALANCE_RANDOM, BALANCE_SOURCE, BALANCE_POLICIES };

struct balance_ask {
    enum balance policy;
    uint64_t now_ms;
    uint64_t random;               /* fresh random bits for p2c and random */
    struct span client;            /* address bytes, for source */
    const struct worker *not_this; /* already tried for this exchange; NULL: none */
};

/* The worker for a newcomer, or NULL when nobody takes newcomers. When everybody who could is cooling after a *refused*
 * connect, the one whose cooling ends first is tried all the same (an absent one last): a refusal costs nothing, and a
 * fleet of one that restarts must not be shut out for seconds after it came back. */
struct worker *balance_pick(struct fleet *f, const struct balance_ask *ask);

/* Rendezvous (highest random weight) hash of `bytes` over the workers that are up and not cooling, weights honoured;
 * the same in every siolb. `not_this` as above. NULL: nobody is up. */
struct worker *balance_rendezvous(struct fleet *f, struct span bytes, const struct worker *not_this, uint64_t now_ms);

#endif
