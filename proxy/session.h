/*
 * session - the shell's one door to the sidmap: what is learned, kept young, closed and lost, and with it the count of
 * live sessions of each worker.
 *
 * A session is live from the moment its sid is learned until its websocket has closed, or until its time to live has
 * passed without a request. A websocket without a sid in its request (a "lone" one) has no entry: tunnel.c counts it.
 */
#ifndef SIOLB_SESSION_H
#define SIOLB_SESSION_H

#include "core/eio_open.h"
#include "ctx.h"

/* Engine.IO's defaults, 25 s and 20 s, and the slack of DESIGN 2: used while an open packet has not told its own. */
#define SESSION_TTL_S_DEFAULT 55u

/* pingInterval + pingTimeout + 10 s, in seconds. */
uint16_t session_ttl_s(const struct eio_open *open);

/* `w` has minted `sid` under the path. Must happen before the bytes that complete the sid go to the client. Returns the
 * key. */
uint64_t session_learn(struct ctx *ctx, struct worker *w, struct span path, struct span sid, uint16_t ttl_s);

/* A request came for a known sid, or a tunnel or exchange of it is still open. */
void session_touch(struct ctx *ctx, uint64_t key);

/* A request came for a known sid that may have been counted out when a websocket of it closed (a failed upgrade goes on
 * polling): count it again. */
void session_revive(struct ctx *ctx, uint64_t key);

/* The websocket of this sid has closed. The entry stays for exact errors until it expires. */
void session_close(struct ctx *ctx, uint64_t key);

/* Its worker says that it does not know the sid (400 code 1). */
void session_forget(struct ctx *ctx, uint64_t key);

/* A connect to `w` was refused after it had been up: the process is gone, and all its sessions with it. */
void session_lose_worker(struct ctx *ctx, struct worker *w);

/* Once a second: look at a share of the map for entries whose time is over. Only at blocks that this process has
 * learned something in: an empty map stays untouched memory. */
void session_sweep(struct ctx *ctx);

/* Begin to keep count of such blocks; ctx->sidmap must be there. False: out of memory. */
bool session_init(struct ctx *ctx) MUST_CHECK;
void session_fini(struct ctx *ctx);

#endif
