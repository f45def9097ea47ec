#include "pool.h"

#include <event2/event.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#define POOL_IS_MALLOC 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POOL_IS_MALLOC 1
#endif
#endif
#ifndef POOL_IS_MALLOC
#define POOL_IS_MALLOC 0
#endif

#define SLAB_BYTES (64u * 1024) /* also their alignment: an object finds its slab by its address */
#define ALIGN      16u

/* A free place holds the next free one. */
struct place {
    struct place *next;
};

struct slab {
    struct link link; /* in pool->slabs */
    struct pool *pool;
    struct place *free;
    uint32_t used;  /* objects that are out */
    uint32_t fresh; /* places that were never out: [fresh, places) */
    uint32_t places;
};

#define SLAB_HEAD_BYTES ((sizeof(struct slab) + ALIGN - 1) / ALIGN * ALIGN)

void pool_init(struct pool *p, size_t object_bytes)
{
    list_init(&p->slabs);
    p->object_bytes = (object_bytes + ALIGN - 1) / ALIGN * ALIGN;
    p->empty_slabs = 0;
}

static struct slab *slab_of(void *object)
{
    return (struct slab *)(void *)((char *)object - (uintptr_t)object % SLAB_BYTES);
}

static bool slab_is_full(const struct slab *s)
{
    return s->used == s->places;
}

/* mmap promises page alignment only: map twice as much and cut off what is too much. */
static char *map_aligned(void)
{
    char *raw = mmap(NULL, 2 * SLAB_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (raw == MAP_FAILED)
        return NULL;
    size_t before = (SLAB_BYTES - (uintptr_t)raw % SLAB_BYTES) % SLAB_BYTES;
    if (before)
        munmap(raw, before);
    munmap(raw + before + SLAB_BYTES, SLAB_BYTES - before);
    return raw + before;
}

static struct slab *slab_new(struct pool *p)
{
    struct slab *s = (struct slab *)(void *)map_aligned();
    if (!s)
        return NULL;
    s->pool = p;
    s->places = (uint32_t)((SLAB_BYTES - SLAB_HEAD_BYTES) / p->object_bytes);
    list_add_first(&p->slabs, &s->link);
    p->empty_slabs++;
    return s;
}

static void slab_free(struct slab *s)
{
    list_cut(&s->link);
    s->pool->empty_slabs--;
    munmap(s, SLAB_BYTES);
}

void pool_fini(struct pool *p)
{
    struct link *n;
    while ((n = list_first(&p->slabs)))
        slab_free(LINK_OWNER(n, struct slab, link));
}

static void *slab_take(struct slab *s)
{
    size_t object_bytes = s->pool->object_bytes;
    struct place *place = s->free;
    if (!s->used++)
        s->pool->empty_slabs--;
    if (!place)
        return (char *)s + SLAB_HEAD_BYTES + s->fresh++ * object_bytes; /* still zero */
    s->free = place->next;
    return memset(place, 0, object_bytes);
}

void *pool_take(struct pool *p)
{
    if (POOL_IS_MALLOC)
        return calloc(1, p->object_bytes);
    struct link *first = list_first(&p->slabs);
    struct slab *s = first ? LINK_OWNER(first, struct slab, link) : NULL;
    if (!s || slab_is_full(s))
        s = slab_new(p);
    if (!s)
        return NULL;
    void *object = slab_take(s);
    if (slab_is_full(s)) {
        list_cut(&s->link);
        list_add_last(&p->slabs, &s->link);
    }
    return object;
}

void pool_give_back(void *object)
{
    if (POOL_IS_MALLOC) {
        free(object);
        return;
    }
    if (!object)
        return;
    struct slab *s = slab_of(object);
    struct place *place = object;
    if (slab_is_full(s)) {
        list_cut(&s->link);
        list_add_first(&s->pool->slabs, &s->link);
    }
    place->next = s->free;
    s->free = place;
    if (--s->used)
        return;
    s->pool->empty_slabs++;
    if (s->pool->empty_slabs > 1)
        slab_free(s);
}

/* --- libevent's 16 bytes for each descriptor (struct evmap_io) --- */

#define SMALL_BYTES 16u

/* libevent's hooks take no argument, so this is the one place with state of the process. */
static struct {
    char *start, *next, *end;
    struct place *free;
} small;

static bool is_small(const void *p)
{
    return (const char *)p >= small.start && (const char *)p < small.end;
}

static void *libevent_malloc(size_t bytes)
{
    struct place *place = small.free;
    if (bytes > SMALL_BYTES || (!place && small.next == small.end))
        return malloc(bytes);
    if (place) {
        small.free = place->next;
        return place;
    }
    void *fresh = small.next;
    small.next += SMALL_BYTES;
    return fresh;
}

static void libevent_free(void *p)
{
    if (!is_small(p)) {
        free(p);
        return;
    }
    struct place *place = p;
    place->next = small.free;
    small.free = place;
}

static void *libevent_realloc(void *p, size_t bytes)
{
    if (!p || !is_small(p))
        return realloc(p, bytes);
    void *grown = libevent_malloc(bytes);
    if (!grown)
        return NULL;
    memcpy(grown, p, bytes < SMALL_BYTES ? bytes : SMALL_BYTES);
    libevent_free(p);
    return grown;
}

void pool_serve_libevent(size_t descriptors)
{
    size_t bytes = descriptors * SMALL_BYTES;
    if (POOL_IS_MALLOC || small.start)
        return;
    char *region = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (region == MAP_FAILED)
        return; /* malloc does as well, only less densely */
    small.start = small.next = region;
    small.end = region + bytes;
    event_set_mem_functions(libevent_malloc, libevent_realloc, libevent_free);
}
