#include "backlog.h"

#include <stdlib.h>

struct backlog {
    uint32_t at;  /* first byte that still waits */
    uint32_t len; /* bytes that wait: [at, at + len) */
    uint32_t cap;
    char bytes[];
};

static size_t memory_of(size_t cap)
{
    return sizeof(struct backlog) + cap;
}

size_t backlog_memory(const struct backlog *b)
{
    return b ? memory_of(b->cap) : 0;
}

static void move_to_front(struct backlog *b)
{
    memmove(b->bytes, b->bytes + b->at, b->len);
    b->at = 0;
}

/* Another size for its memory; what waits must fit and begin at 0. False: out of memory, nothing changed. */
static bool resize(struct backlog **b, struct metrics *m, size_t cap)
{
    size_t before = backlog_memory(*b);
    struct backlog *moved = realloc(*b, memory_of(cap));
    if (!moved)
        return false;
    if (!*b)
        moved->at = moved->len = 0;
    moved->cap = (uint32_t)cap;
    *b = moved;
    metrics_add(m, M_BUFFER_MEMORY, memory_of(cap));
    metrics_sub(m, M_BUFFER_MEMORY, before);
    return true;
}

/* Room for `bytes` more behind the last one. */
static bool make_room(struct backlog **b, struct metrics *m, size_t bytes)
{
    size_t len = *b ? (*b)->len : 0;
    size_t needs = len + bytes;
    if (*b && (*b)->at + needs <= (*b)->cap)
        return true;
    if (*b)
        move_to_front(*b);
    if (*b && needs <= (*b)->cap)
        return true;
    return resize(b, m, needs < 2 * len ? 2 * len : needs); /* doubled: a slow head must not cost a copy per byte */
}

bool backlog_add(struct backlog **b, struct metrics *m, struct span bytes)
{
    if (bytes.len == 0)
        return true;
    if (!make_room(b, m, bytes.len))
        return false;
    memcpy((*b)->bytes + (*b)->at + (*b)->len, bytes.ptr, bytes.len);
    (*b)->len += (uint32_t)bytes.len;
    metrics_add(m, M_BUFFERED_BYTES, bytes.len);
    return true;
}

struct span backlog_span(const struct backlog *b)
{
    return b ? span_of(b->bytes + b->at, b->len) : span_of("", 0);
}

void backlog_drop(struct backlog **b, struct metrics *m, size_t bytes)
{
    if (!*b)
        return;
    (*b)->at += (uint32_t)bytes;
    (*b)->len -= (uint32_t)bytes;
    metrics_sub(m, M_BUFFERED_BYTES, bytes);
    if ((*b)->len == 0) {
        backlog_free(b, m);
    } else if ((*b)->cap > BACKLOG_SMALL && (*b)->len < (*b)->cap / 4) {
        move_to_front(*b);
        (void)resize(b, m, 2 * (size_t)(*b)->len); /* if there is no memory for less memory, it stays as it is */
    }
}

void backlog_free(struct backlog **b, struct metrics *m)
{
    if (!*b)
        return;
    metrics_sub(m, M_BUFFERED_BYTES, (*b)->len);
    metrics_sub(m, M_BUFFER_MEMORY, backlog_memory(*b));
    free(*b);
    *b = NULL;
}
