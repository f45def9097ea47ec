/*
 * fleet - the workers as siolb knows them: up, down, draining, absent; generation; load (DESIGN 4).
 *
 * Pure: no sockets; the shell keeps addresses and connections in its own array beside it, by the same index. Times are
 * monotonic milliseconds from the caller. A worker's `index` is its place in the fleet; `slot` its place in the sidmap.
 */
#ifndef SIOLB_CORE_FLEET_H
#define SIOLB_CORE_FLEET_H

#include "sidmap.h"
#include "span.h"

#define WORKERS_MAX            1000
#define REFUSED_BACKOFF_MS_MIN 1000u
#define REFUSED_BACKOFF_MS_MAX 8000u

enum worker_state { WORKER_UP, WORKER_DOWN, WORKER_DRAINING, WORKER_ABSENT, WORKER_STATES };

struct worker {
    const char *name;  /* as configured; borrowed from the config */
    uint64_t identity; /* hash of the canonical address, the same in every siolb */
    uint16_t index;
    uint16_t slot;
    uint16_t weight;     /* 1..256 */
    uint8_t state;       /* enum worker_state */
    bool is_in_range;    /* named by a range: refused at start means absent, no alarm */
    bool was_up;         /* a connect succeeded since the last refusal */
    bool was_ever_up;    /* a connect succeeded at any time: a refused port of a range is no longer just absent */
    bool is_cooling;     /* refused or timed out; newcomers wait until cooling_until_ms */
    bool timed_out;      /* ... because a connect timed out, rather than being refused */
    uint32_t backoff_ms; /* the last cooling period */
    uint64_t cooling_until_ms;
    uint32_t sessions;     /* live, in the sidmap, of the present generation (0 when the generation rises) */
    uint32_t lone_tunnels; /* sessions that are websocket-only: no entry in the sidmap */
    uint32_t tunnels;      /* all */
    uint32_t exchanges;    /* in flight */
    uint32_t newcomers;    /* handshakes sent whose sid is not learned yet: they weigh as sessions for `least` */
    int32_t credit;        /* of smooth round-robin: what it is owed, in weights; written by balance only */
};

struct fleet {
    struct worker *workers; /* owned */
    uint16_t count;
    uint16_t turn; /* round-robin and ties of `least`: where to look first */
};

/* Room for `count` workers, all zero but their index, state up, slot none, weight 1. False: out of memory. */
bool fleet_init(struct fleet *f, uint16_t count) MUST_CHECK;
void fleet_fini(struct fleet *f);

/* May a newcomer be sent there now? True for a worker that is up and not cooling, or whose cooling is over (then one
 * connect tries it: fleet_note_trying starts the next period so that only one does). */
bool fleet_takes_newcomers(const struct worker *w, uint64_t now_ms);

/* A connect to a worker is under way: if its cooling is over, the next period (twice as long) starts, so that nobody
 * else tries it meanwhile. Without effect on a worker that does not cool, or whose period still runs. */
void fleet_note_trying(struct worker *w, uint64_t now_ms);

/* A connect was refused or timed out: cools for 1 s, doubled up to 8 s; while a period runs further failures do not
 * lengthen it. A port of a range that was never up becomes absent. True: the worker was up until now, so that its
 * generation has to rise (refused only: a timed-out one may come back with all its sessions). */
bool fleet_note_refused(struct worker *w, bool timed_out, uint64_t now_ms) MUST_CHECK;

/* A connect succeeded: the cooling is over, an absent worker is up. True: it was not known to be up before (worth a log
 * line). Down by checks and draining stay as they are. */
bool fleet_note_connected(struct worker *w);

/* What `least` and `p2c` compare, by weight: sessions + lone_tunnels + newcomers. */
uint32_t fleet_load(const struct worker *w);

const char *worker_state_name(enum worker_state s);

#endif
