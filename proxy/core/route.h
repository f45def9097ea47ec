/*
 * route - the decision, made per request: which worker (DESIGN 2).
 *
 *   known   the query's sid is in the sidmap                    -> its worker
 *   cookie  no sid in the query, a session cookie in the sidmap  -> its worker
 *   unknown a sid that nobody taught us                          -> rendezvous hash: that worker answers 400 code 1
 *   new     a handshake or plain HTTP                            -> balance
 */
#ifndef SIOLB_CORE_ROUTE_H
#define SIOLB_CORE_ROUTE_H

#include "balance.h"
#include "eio.h"
#include "http_head.h"

enum route { ROUTE_NONE, ROUTE_KNOWN, ROUTE_COOKIE, ROUTE_UNKNOWN, ROUTE_NEW, ROUTES };

struct route_ask {
    enum http_method method;
    const struct eio_target *target;
    const struct span *paths; /* the configured ones, indexed by target->path */
    size_t path_count;
    struct span cookie;     /* decoded value of the session cookie, empty: none */
    bool cookie_handshakes; /* follow the cookie for new handshakes too */
    enum balance balance;
    uint64_t random;
    struct span client;            /* address bytes */
    uint32_t now_s;                /* CLOCK_BOOTTIME, for the sidmap */
    uint64_t now_ms;               /* monotonic, for the fleet */
    const struct worker *not_this; /* tried already, or known to refuse */
};

struct route_answer {
    enum route route;
    struct worker *worker; /* NULL: none is available (ROUTE_NONE) */
    uint64_t key;          /* of the query's sid in the sidmap; 0: the query has none, or one over SID_BYTES_MAX */
    uint16_t ttl_s;        /* of the session when known, else 0 */
    bool is_handshake;     /* GET on a path, no sid, polling or websocket: a new session is to come */
    bool may_teach;        /* ... by polling: its response is to be read (PROTOCOL 17.1) */
};

/* Would this request begin a session: what route_answer.is_handshake says, known before a worker is? */
bool route_is_handshake(enum http_method method, const struct eio_target *target);

/* slot_index[slot] = index of the worker in the fleet, or 0xffff. */
struct route_answer route_decide(struct fleet *f, const struct sidmap *m, const uint16_t slot_index[SIDMAP_SLOTS],
                                 const struct route_ask *ask);

const char *route_name(enum route r);

#endif
