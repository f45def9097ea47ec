/*
 * lesson - what the answer to one request teaches, read on its way past: the sid of a new session (PROTOCOL 17), that a
 * known one is unknown to its worker (400 code 1), what an origin may read (PROTOCOL 12).
 *
 * Embedded in the exchange, which shows it the final head and then the payload, each before the bytes go on to the
 * client: so the session map has a sid before its client can use it. All zero is a lesson that has not begun.
 */
#ifndef SIOLB_LESSON_H
#define SIOLB_LESSON_H

#include "core/http_head.h"
#include "core/learn.h"
#include "core/route.h"
#include "ctx.h"

struct lesson {
    bool has_taught; /* a sid was learned; read by the exchange */
    /* its own */
    struct ctx *ctx; /* NULL: has not begun */
    struct worker *worker;
    struct learn *learn;        /* NULL: nothing is to be learned any more */
    struct backlog *error_body; /* of a 400 to a known sid */
    struct span path;           /* the configured one that the request lies on */
    uint64_t key;               /* of its sid */
    bool reads_error;           /* error_body is being filled */
    bool learned_cookie;        /* the sid is known from Set-Cookie */
};

/* The request and the head of its final answer; looked at by lesson_begin() only. */
struct lesson_about {
    const struct config *config;
    const struct http_head *request, *response;
    struct span request_head, response_head;
    const struct eio_target *target;
    const struct route_answer *route;
};

/* The final head is there. False: out of memory for what would have to be learned: better no session than one that
 * would be routed by guess. */
bool lesson_begin(struct lesson *l, struct ctx *ctx, struct worker *w, const struct lesson_about *about) MUST_CHECK;

/* More payload; false as above. Harmless for a lesson that has nothing to learn. */
bool lesson_feed(struct lesson *l, struct span payload) MUST_CHECK;

/* The answer is complete, or was broken off (then its error is no error). */
void lesson_end(struct lesson *l, bool is_complete);

/* Free what it holds, whether it has begun, ended or neither. */
void lesson_fini(struct lesson *l);

#endif
