/*
 * pool - memory for many objects of one size, apart from everything else.
 *
 * Why not malloc: a burst of clients makes conns, exchanges and request copies by the thousand, and a small tunnel
 * remains of each. On one heap the tunnels would lie scattered among what was freed and keep all of its pages resident.
 * Here each kind lies close together, and a slab (64 KiB) without objects goes back to the kernel, but for one that is
 * kept.
 *
 * Under AddressSanitizer it is malloc, which sees a use after free.
 */
#ifndef SIOLB_POOL_H
#define SIOLB_POOL_H

#include "list.h"

struct pool {
    struct list slabs; /* those with a free place come first */
    size_t object_bytes;
    size_t empty_slabs; /* 0 or 1 */
};

/* `object_bytes`: at most a few KiB, rounded up to a multiple of 16. */
void pool_init(struct pool *p, size_t object_bytes);

/* All objects must have been given back. */
void pool_fini(struct pool *p);

/* Zeroed memory for one object; NULL: none is to be had. */
void *pool_take(struct pool *p);

/* To the pool that it came from; NULL is fine. */
void pool_give_back(void *object);

/* Give libevent small memory of its own: its 16 bytes for each descriptor are never freed, and would lie scattered in
 * the heap. Before anything else of libevent is called; room for that many descriptors, more than that go to malloc. */
void pool_serve_libevent(size_t descriptors);

#endif
