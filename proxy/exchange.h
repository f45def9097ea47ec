/*
 * exchange - one request and its response through one worker.
 *
 *      client --head, body--> worker          up:    CONNECT BODY DONE CUT
 *      client <--1xx, head, body-- worker     down:  HEAD BODY DONE
 *
 * conn owns it, starts it with a whole request head, and calls exchange_step() whenever one of the two sides may move;
 * nothing in here calls back. It is over when `end` is no longer EXCHANGE_RUNS: conn reads there how to go on, and
 * frees it. Bytes pass as they come; nothing is kept but what a slow peer leaves (limits.buffer a direction), an
 * incomplete response head, and a copy of the request as long as it might have to be sent again.
 */
#ifndef SIOLB_EXCHANGE_H
#define SIOLB_EXCHANGE_H

#include "client.h"
#include "core/http_body.h"
#include "core/route.h"
#include "deadline.h"
#include "lesson.h"
#include "upstream.h"

enum exchange_end {
    EXCHANGE_RUNS,
    EXCHANGE_KEEP,  /* complete; the connection may carry another request */
    EXCHANGE_CLOSE, /* the client's connection ends with FIN, behind what waits for it */
    EXCHANGE_RESET, /* it ends with RST, unless something waits for the client */
    EXCHANGE_REPLY, /* nothing of a response has gone out: send our own, for `why` */
    EXCHANGE_TUNNEL /* it became a tunnel, which has both descriptors */
};

enum exchange_up { UP_CONNECT, UP_BODY, UP_DONE, UP_CUT, EXCHANGE_UPS };
enum exchange_down { DOWN_HEAD, DOWN_BODY, DOWN_DONE, EXCHANGE_DOWNS };

struct exchange {
    /* what conn reads */
    enum exchange_end end;
    enum reason why;
    const char *ended_by;  /* "client", "worker", "siolb": whose doing it was */
    struct worker *worker; /* the last one tried; NULL: none was available */
    struct route_answer route;
    uint16_t status;     /* of the final response, 0: none */
    uint64_t bytes_up;   /* of this request, head and body */
    uint64_t bytes_down; /* of this response */
    uint64_t started_ms;
    struct http_head request; /* slices up to the target count as if the head in `copy` began with request.start */
    struct eio_target target;
    struct ip from;         /* the client, as far as it is believed who that is */
    uint32_t retry_after_s; /* what our own reply says; 0: nothing */
    /* its own */
    struct client *client;
    struct deadline *deadline; /* conn's; the exchange sets it */
    void (*on_event)(void *user, short what);
    void *user;
    struct upstream *up; /* on loan; NULL: none (any more) */
    struct http_head response;
    struct http_body body_up;
    struct http_body body_down;
    struct backlog *to_worker; /* what the worker's kernel did not take */
    struct backlog *head_down; /* an incomplete response head */
    struct lesson lesson;      /* what the answer teaches */
    char *copy;                /* what the worker gets, from its first byte on: [PROXY header,] head, body */
    uint32_t copy_bytes;
    uint32_t head_at; /* where the head begins in it, */
    uint32_t head_bytes;
    uint8_t state_up;   /* enum exchange_up */
    uint8_t state_down; /* enum exchange_down */
    uint8_t interim;    /* 1xx so far */
    uint16_t connects_failed;
    bool copy_is_whole : 1; /* all that was sent so far is in the copy */
    bool has_retried : 1;
    bool is_answered : 1;  /* a byte of a response has come */
    bool is_early : 1;     /* the final response began before the request was complete */
    bool wants_tunnel : 1; /* a websocket upgrade by the rules of DESIGN 8 */
    bool has_surplus : 1;  /* bytes followed the response */
    bool fin_passed : 1;   /* the client's FIN went on to the worker */
    bool worker_ended : 1; /* the worker's FIN was read */
    bool is_newcomer : 1;  /* counted in worker->newcomers */
    bool is_counted : 1;   /* in ctx->addresses, by `from` */
};

/* Begin: `bytes` starts with the parsed `head` and may hold body and later requests behind it; *used_out is how much of
 * it belongs to this request. `on_event(user)` is called when the worker's side may move (never from in here). NULL:
 * out of memory. The result may be over already. */
struct exchange *exchange_start(struct client *client, const struct http_head *head, struct span bytes,
                                struct deadline *deadline, void (*on_event)(void *user, short what), void *user,
                                size_t *used_out) MUST_CHECK;

/* Move what can be moved. True: something moved or ended, call again. */
bool exchange_step(struct exchange *x);

/* The deadline that the exchange set has come. */
void exchange_note_deadline(struct exchange *x);

/* Once a second: keeps the session young; `quiet`: nothing has happened for a while, look behind short reads once.
 * True: there is something to step. */
bool exchange_sweep(struct exchange *x, bool quiet);

/* Bytes in its buffers. */
size_t exchange_holds(const struct exchange *x);

/* The request head, for those who need a field of it. */
struct span exchange_head(const struct exchange *x);
struct span exchange_target(const struct exchange *x);

/* Give everything back. An upstream that is still on loan is closed. The memory goes at once: nobody else points to it.
 */
void exchange_free(struct exchange *x);

#endif
