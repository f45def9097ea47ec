#include "session.h"

#include <stdlib.h>

#define SWEEP_TURNS   8    /* the whole map is looked through once in so many seconds */
#define BLOCK_ENTRIES 128u /* 3 KiB of it */

uint16_t session_ttl_s(const struct eio_open *open)
{
    if (!open->ping_interval_ms && !open->ping_timeout_ms)
        return SESSION_TTL_S_DEFAULT;
    uint64_t ms = (uint64_t)open->ping_interval_ms + open->ping_timeout_ms + 10000;
    uint64_t s = (ms + 999) / 1000;
    return (uint16_t)(s < SIDMAP_TTL_S_MAX ? s : SIDMAP_TTL_S_MAX);
}

/* Entries of an older generation are not live: they were counted out when the generation rose. */
static void session_count_out(struct ctx *ctx, const struct sidmap_owner *owner)
{
    uint16_t index = ctx->slot_index[owner->slot];
    if (!owner->live || index >= ctx->fleet.count)
        return;
    struct worker *w = &ctx->fleet.workers[index];

    w->sessions--;
    metrics_sub(&ctx->metrics, M_SESSIONS, 1);
}

static void session_count_in(struct ctx *ctx, struct worker *w)
{
    w->sessions++;
    metrics_add(&ctx->metrics, M_SESSIONS, 1);
}

static uint32_t session_block_count(const struct ctx *ctx)
{
    return ctx->sidmap.mask / BLOCK_ENTRIES + 1;
}

/* A window may lie across two blocks. */
static void session_mark(struct ctx *ctx, uint64_t key)
{
    uint32_t home = sidmap_home(&ctx->sidmap, key);
    ctx->session_blocks[home / BLOCK_ENTRIES] = 1;
    ctx->session_blocks[((home + SIDMAP_WINDOW - 1) & ctx->sidmap.mask) / BLOCK_ENTRIES] = 1;
}

uint64_t session_learn(struct ctx *ctx, struct worker *w, struct span path, struct span sid, uint16_t ttl_s)
{
    struct sidmap_owner old;
    bool old_counted = false;
    uint64_t key = sidmap_key(&ctx->sidmap, path, sid);
    session_mark(ctx, key);
    switch (sidmap_learn(&ctx->sidmap, key, w->slot, ttl_s, ctx->now_s, &old, &old_counted)) {
    case SIDMAP_RENEWED:
        if (!old_counted)
            session_count_in(ctx, w);
        return key;
    case SIDMAP_REPLACED: {
        char shown[SID_SHOWN_BYTES];
        eio_sid_shown(sid, shown);
        metrics_add(&ctx->metrics, M_SID_COLLISIONS, 1);
        log_line(&ctx->log, LOG_ERROR, "sid collision",
                 "sid=%s worker=%s hint=\"two workers minted the same sid: generateId must be unique in the fleet\"",
                 shown, w->name);
        break;
    }
    case SIDMAP_EVICTED:
        metrics_add(&ctx->metrics, M_SIDS_EVICTED, 1);
        break;
    case SIDMAP_NEW:
        break;
    }
    if (old_counted)
        session_count_out(ctx, &old);
    session_count_in(ctx, w);
    return key;
}

void session_touch(struct ctx *ctx, uint64_t key)
{
    sidmap_touch(&ctx->sidmap, key, ctx->now_s);
}

void session_revive(struct ctx *ctx, uint64_t key)
{
    struct sidmap_owner owner;
    if (!sidmap_find(&ctx->sidmap, key, ctx->now_s, &owner) || owner.live)
        return;
    uint16_t index = ctx->slot_index[owner.slot];
    if (index < ctx->fleet.count && sidmap_set_live(&ctx->sidmap, key, ctx->now_s, true))
        session_count_in(ctx, &ctx->fleet.workers[index]);
}

void session_close(struct ctx *ctx, uint64_t key)
{
    struct sidmap_owner owner;
    if (!sidmap_find(&ctx->sidmap, key, ctx->now_s, &owner))
        return;
    if (sidmap_set_live(&ctx->sidmap, key, ctx->now_s, false))
        session_count_out(ctx, &owner);
}

void session_forget(struct ctx *ctx, uint64_t key)
{
    struct sidmap_owner owner;
    if (!sidmap_forget(&ctx->sidmap, key, &owner))
        return;
    session_count_out(ctx, &owner);
    metrics_add(&ctx->metrics, M_SESSIONS_GONE, 1);
}

void session_lose_worker(struct ctx *ctx, struct worker *w)
{
    sidmap_raise_generation(&ctx->sidmap, w->slot);
    metrics_add(&ctx->metrics, M_SESSIONS_LOST, w->sessions);
    metrics_sub(&ctx->metrics, M_SESSIONS, w->sessions);
    w->sessions = 0;
}

static void on_entry_gone(void *arg, const struct sidmap_owner *owner)
{
    session_count_out(arg, owner);
}

void session_sweep(struct ctx *ctx)
{
    uint32_t blocks = session_block_count(ctx);
    uint32_t share = (blocks + SWEEP_TURNS - 1) / SWEEP_TURNS;
    for (uint32_t i = 0; i < share; i++) {
        uint32_t block = ctx->session_cursor;
        uint32_t at = block * BLOCK_ENTRIES;
        ctx->session_cursor = (block + 1) % blocks;
        if (ctx->session_blocks[block])
            ctx->session_blocks[block] =
                sidmap_sweep(&ctx->sidmap, &at, BLOCK_ENTRIES, ctx->now_s, on_entry_gone, ctx) > 0;
    }
}

bool session_init(struct ctx *ctx)
{
    ctx->session_blocks = calloc(session_block_count(ctx), 1);
    return ctx->session_blocks != NULL;
}

void session_fini(struct ctx *ctx)
{
    free(ctx->session_blocks);
    ctx->session_blocks = NULL;
}
