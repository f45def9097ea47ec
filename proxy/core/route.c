#include "route.h"

static struct worker *worker_of_slot(const struct fleet *f, const uint16_t slot_index[SIDMAP_SLOTS], uint16_t slot)
{
    uint16_t index = slot_index[slot];
    return index < f->count ? &f->workers[index] : NULL;
}

static struct worker *pick(struct fleet *f, const struct route_ask *ask)
{
    struct balance_ask newcomer = {
        .policy = ask->balance,
        .now_ms = ask->now_ms,
        .random = ask->random,
        .client = ask->client,
        .not_this = ask->not_this,
    };
    return balance_pick(f, &newcomer);
}

static void answer(struct route_answer *a, enum route route, struct worker *w)
{
    a->route = w ? route : ROUTE_NONE;
    a->worker = w;
}

/* The owner, whatever state it is in: only it can have the session. */
static struct worker *owner_of_sid(struct fleet *f, const struct sidmap *m, const uint16_t slot_index[SIDMAP_SLOTS],
                                   const struct route_ask *ask, struct route_answer *a)
{
    const struct eio_target *t = ask->target;
    struct sidmap_owner owner;
    if (t->sid_is_too_long) /* never learned, and its first bytes may be another's sid */
        return NULL;
    a->key = sidmap_key(m, ask->paths[t->path], eio_sid(t));
    if (!sidmap_find(m, a->key, ask->now_s, &owner))
        return NULL;
    struct worker *w = worker_of_slot(f, slot_index, owner.slot);
    if (!w || w == ask->not_this)
        return NULL;
    a->ttl_s = owner.ttl_s;
    return w;
}

static void decide_by_sid(struct fleet *f, const struct sidmap *m, const uint16_t slot_index[SIDMAP_SLOTS],
                          const struct route_ask *ask, struct route_answer *a)
{
    struct worker *w = owner_of_sid(f, m, slot_index, ask, a);
    if (w) {
        answer(a, ROUTE_KNOWN, w);
        return;
    }
    w = balance_rendezvous(f, eio_sid(ask->target), ask->not_this, ask->now_ms);
    answer(a, ROUTE_UNKNOWN, w ? w : pick(f, ask));
}

static struct worker *owner_of_cookie(struct fleet *f, const struct sidmap *m, const uint16_t slot_index[SIDMAP_SLOTS],
                                      const struct route_ask *ask, struct span path)
{
    struct sidmap_owner owner;
    if (!sidmap_find(m, sidmap_key(m, path, ask->cookie), ask->now_s, &owner))
        return NULL;
    struct worker *w = worker_of_slot(f, slot_index, owner.slot);
    /* a cookie is a wish: it is not worth a worker that drains or does not answer */
    return w && w != ask->not_this && fleet_takes_newcomers(w, ask->now_ms) ? w : NULL;
}

static struct worker *worker_by_cookie(struct fleet *f, const struct sidmap *m, const uint16_t slot_index[SIDMAP_SLOTS],
                                       const struct route_ask *ask, bool is_handshake)
{
    /* a preflight carries no cookies (PROTOCOL 12): one that does is none of a browser's */
    if (ask->cookie.len == 0 || ask->method == HTTP_OPTIONS || (is_handshake && !ask->cookie_handshakes))
        return NULL;
    if (ask->target->path != EIO_NO_PATH)
        return owner_of_cookie(f, m, slot_index, ask, ask->paths[ask->target->path]);
    struct worker *w = NULL;
    for (size_t i = 0; i < ask->path_count && !w; i++)
        w = owner_of_cookie(f, m, slot_index, ask, ask->paths[i]);
    return w;
}

/* PROTOCOL 3, 6, 14: only a GET can begin a session; `socket.io.js` lies on the path but names no transport. */
bool route_is_handshake(enum http_method method, const struct eio_target *t)
{
    return t->path != EIO_NO_PATH && !t->has_sid && method == HTTP_GET &&
           (t->transport == EIO_POLLING || t->transport == EIO_WEBSOCKET);
}

struct route_answer route_decide(struct fleet *f, const struct sidmap *m, const uint16_t slot_index[SIDMAP_SLOTS],
                                 const struct route_ask *ask)
{
    struct route_answer a = {.route = ROUTE_NONE};
    if (ask->target->path != EIO_NO_PATH && ask->target->has_sid) {
        decide_by_sid(f, m, slot_index, ask, &a);
        return a;
    }
    a.is_handshake = route_is_handshake(ask->method, ask->target);
    a.may_teach = a.is_handshake && ask->target->transport == EIO_POLLING;
    struct worker *w = worker_by_cookie(f, m, slot_index, ask, a.is_handshake);
    if (w)
        answer(&a, ROUTE_COOKIE, w);
    else
        answer(&a, ROUTE_NEW, pick(f, ask));
    return a;
}

const char *route_name(enum route r)
{
    static const char *const names[ROUTES] = {
        [ROUTE_NONE] = "none",       [ROUTE_KNOWN] = "known", [ROUTE_COOKIE] = "cookie",
        [ROUTE_UNKNOWN] = "unknown", [ROUTE_NEW] = "new",
    };
    return names[r];
}
