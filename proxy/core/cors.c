/*
 * Grants lie in a fixed array; `order` holds their places, most recently used first, and is searched from the front: a
 * fleet has a handful of origins, so the first look nearly always hits. `*` is kept as a flag, not as a copy.
 */
#include "cors.h"

#include <stdlib.h>

#define ORIGIN_BYTES_MAX 256

struct grant {
    int path;
    uint16_t origin_len;
    bool to_anyone; /* the worker said "*" */
    bool allow_credentials;
    char origin[ORIGIN_BYTES_MAX];
};

struct cors {
    uint16_t count;                  /* places in use: order[0..count) */
    uint16_t order[CORS_GRANTS_MAX]; /* a permutation: behind `count` are the free places */
    struct grant grants[CORS_GRANTS_MAX];
};

struct cors *cors_new(void)
{
    struct cors *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    for (uint16_t i = 0; i < CORS_GRANTS_MAX; i++)
        c->order[i] = i;
    return c;
}

void cors_free(struct cors *c)
{
    free(c);
}

static bool is_grant_of(const struct grant *g, int path, struct span origin)
{
    return g->path == path && span_equal(span_of(g->origin, g->origin_len), origin);
}

/* Rank of the pair in `order`, or `count` when it is not there. */
static uint16_t rank_of(const struct cors *c, int path, struct span origin)
{
    uint16_t rank = 0;
    while (rank < c->count && !is_grant_of(&c->grants[c->order[rank]], path, origin))
        rank++;
    return rank;
}

/* Take the place at `from` out of the order and put it in at `to`, others close up or make room. */
static void move_rank(struct cors *c, uint16_t from, uint16_t to)
{
    uint16_t place = c->order[from];
    if (from > to)
        memmove(&c->order[to + 1], &c->order[to], (size_t)(from - to) * sizeof c->order[0]);
    else
        memmove(&c->order[from], &c->order[from + 1], (size_t)(to - from) * sizeof c->order[0]);
    c->order[to] = place;
}

static void forget(struct cors *c, uint16_t rank)
{
    move_rank(c, rank, (uint16_t)(c->count - 1));
    c->count--;
}

/* The grant at `rank` moved to the front; a rank of `count` claims a free place, or the least recently used one. */
static struct grant *claim(struct cors *c, uint16_t rank)
{
    if (rank == CORS_GRANTS_MAX)
        rank--;
    else if (rank == c->count)
        c->count++;
    move_rank(c, rank, 0);
    return &c->grants[c->order[0]];
}

void cors_note(struct cors *c, int path, struct span origin, struct span allow_origin, bool allow_credentials)
{
    if (origin.len == 0 || origin.len > ORIGIN_BYTES_MAX)
        return;
    uint16_t rank = rank_of(c, path, origin);
    bool to_anyone = span_equal(allow_origin, SPAN("*"));
    if (!to_anyone && !span_equal(allow_origin, origin)) {
        if (rank < c->count)
            forget(c, rank);
        return;
    }
    struct grant *g = claim(c, rank);
    g->path = path;
    g->origin_len = (uint16_t)origin.len;
    memcpy(g->origin, origin.ptr, origin.len);
    g->to_anyone = to_anyone;
    g->allow_credentials = allow_credentials;
}

bool cors_find(struct cors *c, int path, struct span origin, struct cors_grant *out)
{
    uint16_t rank = rank_of(c, path, origin);
    if (rank == c->count)
        return false;
    const struct grant *g = claim(c, rank);
    out->allow_origin = g->to_anyone ? SPAN("*") : span_of(g->origin, g->origin_len);
    out->allow_credentials = g->allow_credentials;
    return true;
}
