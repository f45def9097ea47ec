/*
 * list - intrusive doubly linked list: an object sits in at most one list through its `struct link`.
 *
 * Objects that the reaper frees have their link as the first member (see reaper.h).
 */
#ifndef SIOLB_LIST_H
#define SIOLB_LIST_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>

struct link {
    struct link *prev; /* NULL: in no list */
    struct link *next;
};

struct list {
    struct link head;
};

static inline void list_init(struct list *l)
{
    l->head.prev = l->head.next = &l->head;
}

static inline bool list_is_empty(const struct list *l)
{
    return l->head.next == &l->head;
}

static inline bool link_is_tied(const struct link *n)
{
    return n->prev != NULL;
}

static inline void list_tie(struct link *after, struct link *n)
{
    assert(after->next); /* a list that is not initialised */
    n->prev = after;
    n->next = after->next;
    after->next->prev = n;
    after->next = n;
}

static inline void list_add_first(struct list *l, struct link *n)
{
    list_tie(&l->head, n);
}

static inline void list_add_last(struct list *l, struct link *n)
{
    list_tie(l->head.prev, n);
}

/* Harmless when it is in no list. */
static inline void list_cut(struct link *n)
{
    if (!link_is_tied(n))
        return;
    n->prev->next = n->next;
    n->next->prev = n->prev;
    n->prev = n->next = NULL;
}

/* First and last, NULL when empty. */
static inline struct link *list_first(const struct list *l)
{
    return list_is_empty(l) ? NULL : l->head.next;
}

static inline struct link *list_last(const struct list *l)
{
    return list_is_empty(l) ? NULL : l->head.prev;
}

/* Walk a list whose current element may be cut on the way. */
#define LIST_EACH(n, l)                                                                                                \
    for (struct link *n = (l)->head.next, *n##_next = n->next; n != &(l)->head; n = n##_next, n##_next = n->next)

#define LINK_OWNER(n, type, member) ((type *)(void *)((char *)(n)-offsetof(type, member)))

#endif
