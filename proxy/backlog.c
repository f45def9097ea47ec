#include "backlog.h"

#include <stdlib.h>

struct backlog {
    uint32_t at;  /* first byte that still waits */
    uint32_t len; /* bytes that wait: [at, at + len) */
    uint32_t cap;
    char bytes[];
};

char *backlog_room(struct backlog **b, size_t bytes)
{
    size_t len = *b ? (*b)->len : 0;
    size_t needs = len + bytes;
    if (*b && (*b)->at && (*b)->at + needs > (*b)->cap) {
        memmove((*b)->bytes, (*b)->bytes + (*b)->at, len);
        (*b)->at = 0;
    }
    if (!*b || (*b)->at + needs > (*b)->cap) {
        size_t cap = needs < 2 * len ? 2 * len : needs; /* doubled: a slow head must not cost a copy per byte */
        struct backlog *grown = realloc(*b, sizeof(*grown) + cap);
        if (!grown)
            return NULL;
        if (!*b)
            grown->at = grown->len = 0;
        grown->cap = (uint32_t)cap;
        *b = grown;
    }
    return (*b)->bytes + (*b)->at + (*b)->len;
}

void backlog_grew(struct backlog **b, struct metrics *m, size_t bytes)
{
    (*b)->len += (uint32_t)bytes;
    metrics_add(m, M_BUFFERED_BYTES, bytes);
    if ((*b)->len == 0)
        backlog_free(b, m);
}

bool backlog_add(struct backlog **b, struct metrics *m, struct span bytes)
{
    if (bytes.len == 0)
        return true;
    char *room = backlog_room(b, bytes.len);
    if (!room)
        return false;
    memcpy(room, bytes.ptr, bytes.len);
    backlog_grew(b, m, bytes.len);
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
    if ((*b)->len == 0)
        backlog_free(b, m);
}

void backlog_free(struct backlog **b, struct metrics *m)
{
    if (!*b)
        return;
    metrics_sub(m, M_BUFFERED_BYTES, (*b)->len);
    free(*b);
    *b = NULL;
}
