/*
 * listener - listening sockets: bind, accept, pause at the connection ceiling.
 *
 * Paused listeners leave the loop: connections wait in the kernel's queue and nothing spins. Accepted sockets inherit
 * TCP_NODELAY, keep-alive and the user time-out from the listener.
 */
#ifndef SIOLB_LISTENER_H
#define SIOLB_LISTENER_H

#include "ctx.h"

#include <event2/event_struct.h>

struct listener {
    struct event event;
    struct ctx *ctx;
    int fd;                                                        /* -1: closed */
    char name[128];                                                /* with the port that the kernel picked */
    char unlink_path[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* of a unix socket of ours, else "" */
    bool is_paused;
    bool takes_proxy;
    uint64_t warned_ms;                  /* when a pause was logged last */
    bool (*may_accept)(struct ctx *ctx); /* below the ceiling? */
};

/* Bind and listen, not accepting yet. False: `error_out` says why. */
bool listener_open(struct listener *l, struct ctx *ctx, const struct config_listen *where,
                   bool (*may_accept)(struct ctx *ctx), char *error_out, size_t error_size) MUST_CHECK;

/* Begin to accept, or go on after a pause; harmless when it accepts already or is closed. */
void listener_resume(struct listener *l);

void listener_close(struct listener *l);

#endif
