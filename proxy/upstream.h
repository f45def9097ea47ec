/*
 * upstream - connections to workers: connect, idle pool, take and give back.
 *
 * An upstream is lent to one exchange at a time; while nobody has it, it lies in the pool of its worker (most recent
 * first), where any byte or FIN from the worker closes it. On reuse it is looked at first: unasked bytes must not
 * become the answer to somebody's next request. An idle one is retired a second before the worker's own keep-alive time
 * is over (`Keep-Alive: timeout=`, 5 s for Node unless it says otherwise), so that no request races with the worker's
 * close.
 *
 * Whether a worker is up is known from what connects do: upstream_note_connected() and upstream_note_failed() are the
 * places where the fleet, the sidmap's generations and the log hear of it.
 */
#ifndef SIOLB_UPSTREAM_H
#define SIOLB_UPSTREAM_H

#include "ctx.h"
#include "stream.h"

#define KEEP_ALIVE_S_UNSAID 5u

struct upstream_pool {
    const struct config_worker *config; /* address and name */
    struct list idle;                   /* most recent first */
    uint16_t keep_alive_s;              /* what the worker said last; 0: nothing */
    uint32_t source;                    /* last byte of 127.0.0.x to connect from, once a destination is out of ports */
};

struct upstream {
    struct link link; /* first: the reaper's; in the pool while idle */
    struct stream stream;
    struct ctx *ctx;
    struct worker *worker;
    void (*on_event)(void *user, short what); /* NULL while idle */
    void *user;
    uint64_t sent;          /* bytes written since it was connected */
    uint64_t sent_before;   /* ... when the present request began */
    uint64_t idle_until_ms; /* not to be used later */
    bool is_connected;
    bool is_reused; /* has served a request before */
    bool is_closed;
};

enum upstream_failure { UPSTREAM_FINE, UPSTREAM_REFUSED, UPSTREAM_UNREACHABLE, UPSTREAM_NOT_TRIED };

/* Pools for all workers of ctx->config. False: out of memory. */
bool upstream_pools_init(struct ctx *ctx) MUST_CHECK;
void upstream_pools_fini(struct ctx *ctx); /* closes what is idle */

/* An upstream for one request: an idle one that still is quiet, or (none there, or `fresh`) a new connection that is
 * under way: write to it at once, the first write that works means it is connected. Events come by `on_event`, never
 * before this returned. NULL: *failure_out says why; REFUSED and UNREACHABLE have been noted. */
struct upstream *upstream_take(struct ctx *ctx, struct worker *w, bool fresh, void (*on_event)(void *, short),
                               void *user, enum upstream_failure *failure_out) MUST_CHECK;

/* The first write worked, or the connect event came without an error. */
void upstream_note_connected(struct upstream *u);

/* The connect failed with `error` (an errno; ETIMEDOUT also for our own deadline). Tells fleet and sidmap. Returns what
 * it was; the caller closes it. */
enum upstream_failure upstream_note_failed(struct ctx *ctx, struct worker *w, int error);

/* Has the worker's kernel acknowledged nothing of the present request? Then it has not been read, and may be sent
 * again. False when it cannot be known. */
bool upstream_is_request_unseen(const struct upstream *u);

/* Back to the pool, free for the next request. The caller has checked that DESIGN 8 allows it. */
void upstream_give_back(struct upstream *u);

/* Close it; `reset`: with RST. The memory goes to the reaper. */
void upstream_close(struct upstream *u, bool reset);

/* Give its descriptor away (to a tunnel), the rest to the reaper. */
int upstream_release(struct upstream *u);

/* Once a second: close what has been idle for too long. */
void upstream_sweep(struct ctx *ctx);

/* Close one idle upstream to get its descriptor; false: none is idle. */
bool upstream_evict(struct ctx *ctx);

#endif
