/*
 * ctx - what server lends to all below it. One per process, owned by server.
 */
#ifndef SIOLB_CTX_H
#define SIOLB_CTX_H

#include "../config/config.h"
#include "backlog.h"
#include "core/addresses.h"
#include "core/cors.h"
#include "core/fleet.h"
#include "core/metrics.h"
#include "core/sidmap.h"
#include "list.h"
#include "log.h"
#include "pool.h"
#include "reaper.h"

#include <event2/event.h>
#include <event2/event_struct.h>

#define READ_BYTES (256u * 1024) /* the one read buffer; a read asks for at most limits.buffer of it */

struct upstream_pool;

/* What the operator should hear of, but not for each connection of a flood. */
enum hint { HINT_PROXY_REFUSED, HINT_PROXY_BAD, HINT_PER_ADDRESS, HINT_HANDSHAKES, HINT_MEMORY, HINTS };
#define HINT_EVERY_S 10u

struct ctx {
    struct event_base *base;
    struct config *config; /* the newest; a conn keeps the one it was born with */
    struct log log;
    struct metrics metrics;
    struct sidmap sidmap;
    uint8_t *session_blocks;           /* session.c: which blocks of the map hold something */
    uint32_t session_cursor;           /* ... and which is swept next */
    uint16_t slot_index[SIDMAP_SLOTS]; /* slot in the sidmap -> index in the fleet, 0xffff: none */
    struct fleet fleet;
    struct upstream_pool *pools; /* beside fleet.workers, by index */
    struct cors *cors;
    struct addresses *addresses; /* NULL: no limit counts by address */
    struct reaper reaper;
    struct pool conn_pool;
    struct pool exchange_pool;
    struct pool upstream_pool;
    struct pool tunnel_pool;
    struct list conns;
    struct list tunnels;
    char *read_buffer;
    size_t read_bytes;   /* what one read may ask for: at most limits.buffer, so that what a slow peer leaves fits */
    uint64_t random[2];  /* state of ctx_random */
    uint32_t now_s;      /* CLOCK_BOOTTIME, set once a second */
    uint32_t ticks;      /* seconds that server.c has counted */
    uint32_t next_id;    /* of the next conn */
    uint64_t memory_max; /* of all buffers together; 0: no ceiling */
    struct event shed;   /* made active when they hold more */
    uint32_t told_at[HINTS]; /* ctx_may_tell(): ticks + 1; 0: never */
    bool is_draining;
    void (*on_client_gone)(struct ctx *ctx);                 /* a conn or tunnel has closed: its descriptors are free */
    void (*on_misplaced)(struct ctx *ctx, struct span path); /* Engine.IO on a path that is not configured */
};

/* Memory that all buffers take. */
static inline uint64_t ctx_buffered(const struct ctx *ctx)
{
    return ctx->metrics.value[M_BUFFER_MEMORY] + ctx->metrics.value[M_COPIED_BYTES];
}

/* Buffers have grown. Over the ceiling, something has to go: not now, when somebody is in the middle of something. */
static inline void ctx_note_growth(struct ctx *ctx)
{
    if (ctx->memory_max && ctx_buffered(ctx) > ctx->memory_max)
        event_active(&ctx->shed, 0, 0);
}

/* backlog_add() under the ceiling of limits.memory. */
static inline bool ctx_keep(struct ctx *ctx, struct backlog **b, struct span bytes)
{
    bool kept = backlog_add(b, &ctx->metrics, bytes);
    ctx_note_growth(ctx);
    return kept;
}

/* Has it not been told of for HINT_EVERY_S? Then it may be now. */
static inline bool ctx_may_tell(struct ctx *ctx, enum hint hint)
{
    uint32_t told_at = ctx->told_at[hint];
    if (told_at && ctx->ticks + 1 - told_at < HINT_EVERY_S)
        return false;
    ctx->told_at[hint] = ctx->ticks + 1;
    return true;
}

/* xorshift128+: spreads load, guards nothing. */
static inline uint64_t ctx_random(struct ctx *ctx)
{
    uint64_t a = ctx->random[0], b = ctx->random[1];
    ctx->random[0] = b;
    a ^= a << 23;
    a ^= a >> 17;
    a ^= b ^ (b >> 26);
    ctx->random[1] = a;
    return a + b;
}

#endif
