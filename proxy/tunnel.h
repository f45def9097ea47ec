/*
 * tunnel - bytes both ways after 101, with back-pressure and half-close. The hot path.
 *
 *      client --recv--> the one read buffer --send--> worker        and the other way
 *
 * A message costs one recv and one send: what was read goes out at once. What the kernel of a slow side does not take
 * is kept in a backlog that exists only as long as it holds bytes; until it is empty the other side is not read. Since
 * a read asks for at most limits.buffer, that is also the most that is ever kept for one direction.
 *
 * Ends pass as they are: a FIN ends one direction once all before it is delivered, a RST becomes a RST (a FIN, when the
 * other side has not got everything yet: a RST would throw that away). The tunnel closes when both directions ended.
 *
 * There is no timer and no clock in here: tunnel_sweep() is called once a second and counts how long a tunnel has been
 * quiet. An idle tunnel is this one struct and nothing else.
 */
#ifndef SIOLB_TUNNEL_H
#define SIOLB_TUNNEL_H

#include "address.h"
#include "backlog.h"
#include "core/route.h"
#include "core/shed.h"
#include "ctx.h"
#include "stream.h"

struct tunnel;

size_t tunnel_bytes(void); /* of one, for its pool */

struct tunnel_spec {
    int client_fd, worker_fd; /* the tunnel closes them, also when it cannot start */
    struct span to_client;    /* the 101 head and what came behind it */
    size_t head_bytes;        /* how much of it is the head */
    struct span to_worker;    /* what the client sent early */
    bool client_ended;        /* the client's FIN has been read */
    struct worker *worker;
    uint64_t key;           /* of the sid in the sidmap; 0: a lone tunnel */
    uint16_t ttl_s;         /* close when quiet for so long; 0: no limit */
    bool reads_first_frame; /* ttl_s comes from the worker's first frame */
    uint32_t id;            /* of the conn it grew from */
    uint32_t started_s;     /* when its request began, by ctx->now_s */
    struct ip client;
    bool is_counted; /* in ctx->addresses, by `client` */
    enum route route;
};

/* Pass bytes from now on. The tunnel owns itself: it ends when its peers end it, by tunnel_close() or by its time
 * limit. False: out of memory; the descriptors are closed. */
bool tunnel_start(struct ctx *ctx, const struct tunnel_spec *spec) MUST_CHECK;

/* Once a second: idle limits, the look behind short reads, and the sidmap's entries kept young. */
void tunnel_sweep(struct ctx *ctx);

/* As conn_weigh_all() and conn_shed(). */
void tunnel_weigh_all(struct ctx *ctx, struct shed *shed);
void tunnel_shed(struct ctx *ctx, uint64_t bytes_min, uint64_t *excess);

/* End the tunnel that has been open longest, FIN both ways; false: there is none. */
bool tunnel_close_oldest(struct ctx *ctx, enum reason why);

#endif
