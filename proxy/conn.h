/*
 * conn - one client connection, from accept to close.
 *
 * Reads request heads, hands each to an exchange, and writes our own replies. A connection that was answered 101 lives
 * on as a tunnel; the conn is freed then.
 */
#ifndef SIOLB_CONN_H
#define SIOLB_CONN_H

#include "core/reason.h"
#include "core/shed.h"
#include "ctx.h"

size_t conn_bytes(void); /* of one, for its pool */

/* Take over an accepted, non-blocking descriptor; takes_proxy: a trusted peer begins with a PROXY header. False: out of
 * memory; the descriptor is closed. True does not say that it is still open: its address may have too many. */
bool conn_start(struct ctx *ctx, int fd, const struct sockaddr *from, bool takes_proxy) MUST_CHECK;

/* Once a second: keeps sessions with held polls young, looks behind short reads. */
void conn_sweep(struct ctx *ctx);

/* How much memory each connection holds in its buffers, into a histogram; then: close those that hold at least
 * `bytes_min` until *excess is freed. */
void conn_weigh_all(struct ctx *ctx, struct shed *shed);
void conn_shed(struct ctx *ctx, uint64_t bytes_min, uint64_t *excess);

/* Draining has begun (ctx->is_draining): close what is between two requests; the others close after their answer. */
void conn_drain_all(struct ctx *ctx);

/* End every connection now. */
void conn_close_all(struct ctx *ctx, enum reason why);

#endif
