/*
 * The region:
 *
 *   header    what it is, whose boot, the key of the hash; written once, `magic` last
 *   workers   SIDMAP_SLOTS of { identity, state }; changed by compare-and-swap, never removed
 *   entries   a power of two of { check, value, life }; all zero: free
 *
 * A sid lies in one of the WINDOW places that start where its key points. A search looks at all of them, so that
 * forgetting needs no tombstones and no entry ever moves.
 *
 * Who owns a sid stands in `value` alone, and `check` = key XOR mix(value) binds it to the key: since mix is one to
 * one, a check written with one value never gives its key with another value. `life` is bound to nothing: mixed up with
 * a neighbour's it makes a right entry end sooner or later, never name another worker. So what changes often (expiry,
 * live) is one store, without an instant in which the sid is unknown.
 */
#include "sidmap.h"

#include "siphash.h"

#include <assert.h>
#include <stdatomic.h>

enum { WINDOW = SIDMAP_WINDOW, VERSION = 1 };

#define MAGIC 0x70616d626c6f6973u /* "siolbmap" */

/* state: bits 0-23 generation, 24-39 weight (0: as configured), 40 draining */
#define GENERATION_MASK 0xffffffu

/* value: bits 0-23 generation, 24-33 slot, 63 always */
#define VALUE_SLOT_AT 24
#define VALUE_IN_USE  (UINT64_C(1) << 63)

/* life: bits 0-31 expiry, 32-47 ttl, 48 live */
#define LIFE_EXPIRY_MASK UINT64_C(0xffffffff)
#define LIFE_TTL_AT      32
#define LIFE_LIVE        (UINT64_C(1) << 48)

struct sidmap_worker {
    _Atomic uint64_t identity; /* 0: free */
    _Atomic uint64_t state;
};

struct sidmap_header {
    _Atomic uint64_t magic;
    uint32_t version;
    uint32_t slots;
    uint64_t bytes; /* of the whole region */
    uint64_t capacity;
    uint64_t hash_key[2];
    uint8_t boot_id[16];
    uint64_t reserved[8]; /* zero */
    struct sidmap_worker workers[SIDMAP_SLOTS];
};

struct sidmap_entry {
    _Atomic uint64_t check; /* key XOR mix(value) */
    _Atomic uint64_t value; /* slot and generation; 0: free */
    _Atomic uint64_t life;  /* expiry in seconds, ttl, live */
};

/* Several processes, of other versions too, read the same bytes. */
static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "another process cannot take part in a lock");
static_assert(sizeof(_Atomic uint64_t) == 8, "a word is 8 bytes");
static_assert(offsetof(struct sidmap_header, bytes) == 16, "layout");
static_assert(offsetof(struct sidmap_header, hash_key) == 32, "layout");
static_assert(offsetof(struct sidmap_header, boot_id) == 48, "layout");
static_assert(offsetof(struct sidmap_header, workers) == 128, "layout");
static_assert(sizeof(struct sidmap_worker) == 16, "layout");
static_assert(sizeof(struct sidmap_header) == 128 + 16 * SIDMAP_SLOTS, "layout");
static_assert(sizeof(struct sidmap_header) % 64 == 0, "entries begin on a cache line");
static_assert(sizeof(struct sidmap_entry) == 24, "layout");
static_assert(SIDMAP_SLOTS == 1 << 10, "a slot has ten bits in a value, so that any value names one that exists");
static_assert(SIDMAP_ENTRIES_MIN >= WINDOW, "a window visits no entry twice");

/* An entry as read once; the three words may be of different writers. */
struct words {
    uint64_t check, value, life;
};

static inline uint64_t load(_Atomic uint64_t *word)
{
    return atomic_load_explicit(word, memory_order_relaxed);
}

static inline void store(_Atomic uint64_t *word, uint64_t to)
{
    atomic_store_explicit(word, to, memory_order_relaxed);
}

static inline bool swap(_Atomic uint64_t *word, uint64_t *expected, uint64_t to)
{
    return atomic_compare_exchange_strong_explicit(word, expected, to, memory_order_relaxed, memory_order_relaxed);
}

/* One to one on 64 bits, each bit of the input changes half of the output (the finaliser of splitmix64). */
static inline uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static inline uint64_t value_of(uint16_t slot, uint32_t generation)
{
    return VALUE_IN_USE | (uint64_t)slot << VALUE_SLOT_AT | generation;
}

static inline uint16_t value_slot(uint64_t value)
{
    return (uint16_t)(value >> VALUE_SLOT_AT & (SIDMAP_SLOTS - 1));
}

static inline uint64_t life_of(uint32_t now_s, uint16_t ttl_s, bool live)
{
    uint64_t expiry = (uint64_t)now_s + ttl_s;
    if (expiry > LIFE_EXPIRY_MASK)
        expiry = LIFE_EXPIRY_MASK;
    return expiry | (uint64_t)ttl_s << LIFE_TTL_AT | (live ? LIFE_LIVE : 0);
}

static inline uint16_t life_ttl(uint64_t life)
{
    return (uint16_t)(life >> LIFE_TTL_AT);
}

static inline struct words entry_load(struct sidmap_entry *e)
{
    return (struct words){load(&e->check), load(&e->value), load(&e->life)};
}

/* A crash between two of these stores leaves an entry whose key nobody has; it is swept away when it expires. */
static void entry_store(struct sidmap_entry *e, uint64_t key, uint64_t value, uint64_t life)
{
    store(&e->life, life);
    store(&e->value, value);
    store(&e->check, key ^ mix(value));
}

static void entry_clear(struct sidmap_entry *e)
{
    store(&e->value, 0);
    store(&e->check, 0);
    store(&e->life, 0);
}

uint32_t sidmap_home(const struct sidmap *m, uint64_t key)
{
    return (uint32_t)key & m->mask;
}

static inline struct sidmap_entry *entry_in_window(const struct sidmap *m, uint64_t key, uint32_t i)
{
    return &m->entries[((uint32_t)key + i) & m->mask];
}

static inline bool is_of_key(struct words w, uint64_t key)
{
    return w.value && (w.check ^ mix(w.value)) == key;
}

static inline bool is_of_this_generation(const struct sidmap *m, struct words w)
{
    return (w.value & GENERATION_MASK) == sidmap_generation(m, value_slot(w.value));
}

static inline bool is_known(const struct sidmap *m, struct words w, uint32_t now_s)
{
    return now_s <= (w.life & LIFE_EXPIRY_MASK) && is_of_this_generation(m, w);
}

static struct sidmap_owner owner_of(const struct sidmap *m, struct words w)
{
    return (struct sidmap_owner){
        .slot = value_slot(w.value),
        .generation = (uint32_t)(w.value & GENERATION_MASK),
        .ttl_s = life_ttl(w.life),
        .live = (w.life & LIFE_LIVE) && is_of_this_generation(m, w),
    };
}

/* The entry of `key` that counts, or NULL; what it said is in *was_out. */
static struct sidmap_entry *find_known(const struct sidmap *m, uint64_t key, uint32_t now_s, struct words *was_out)
{
    for (uint32_t i = 0; i < WINDOW; i++) {
        struct sidmap_entry *e = entry_in_window(m, key, i);
        struct words w = entry_load(e);
        if (is_of_key(w, key) && is_known(m, w, now_s)) {
            *was_out = w;
            return e;
        }
    }
    return NULL;
}

/* ---- the region ---- */

size_t sidmap_region_bytes(uint32_t entries)
{
    return sizeof(struct sidmap_header) + sizeof(struct sidmap_entry) * (size_t)entries;
}

static bool is_capacity(uint32_t entries)
{
    return entries >= SIDMAP_ENTRIES_MIN && (entries & (entries - 1)) == 0;
}

static bool header_is_ours(struct sidmap_header *h, uint32_t entries, const uint8_t boot_id[16])
{
    return atomic_load_explicit(&h->magic, memory_order_acquire) == MAGIC && h->version == VERSION &&
           h->slots == SIDMAP_SLOTS && h->capacity == entries && h->bytes == sidmap_region_bytes(entries) &&
           memcmp(h->boot_id, boot_id, sizeof(h->boot_id)) == 0;
}

static bool header_is_zero(const struct sidmap_header *h)
{
    const char *bytes = (const char *)h;
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, sizeof(*h) - 1) == 0;
}

static void header_format(struct sidmap_header *h, uint32_t entries, const uint64_t hash_key[2],
                          const uint8_t boot_id[16])
{
    h->version = VERSION;
    h->slots = SIDMAP_SLOTS;
    h->bytes = sidmap_region_bytes(entries);
    h->capacity = entries;
    memcpy(h->hash_key, hash_key, sizeof(h->hash_key));
    memcpy(h->boot_id, boot_id, sizeof(h->boot_id));
    /* last: whoever sees it sees the rest, and a crash before it leaves a header that nobody takes for ours */
    atomic_store_explicit(&h->magic, MAGIC, memory_order_release);
}

bool sidmap_init(struct sidmap *m, void *region, size_t bytes, uint32_t entries, const uint64_t hash_key[2],
                 const uint8_t boot_id[16], bool *fresh_out)
{
    assert((uintptr_t)region % sizeof(uint64_t) == 0);
    struct sidmap_header *h = region;
    if (!is_capacity(entries) || bytes < sidmap_region_bytes(entries))
        return false;
    bool ours = header_is_ours(h, entries, boot_id);
    if (!ours && !header_is_zero(h))
        return false;
    if (!ours)
        header_format(h, entries, hash_key, boot_id);
    m->header = h;
    m->entries = (struct sidmap_entry *)(h + 1);
    m->mask = entries - 1;
    *fresh_out = !ours;
    return true;
}

/* ---- the workers ---- */

uint16_t sidmap_slot(struct sidmap *m, uint64_t identity)
{
    if (identity == 0) /* means a free slot */
        identity = 1;
    for (uint16_t slot = 0; slot < SIDMAP_SLOTS; slot++) {
        struct sidmap_worker *w = &m->header->workers[slot];
        uint64_t seen = load(&w->identity);
        /* swap() updates `seen`: another process may have taken the slot for the same worker */
        if (seen == identity || (seen == 0 && swap(&w->identity, &seen, identity)) || seen == identity)
            return slot;
    }
    return SIDMAP_SLOT_NONE;
}

uint32_t sidmap_generation(const struct sidmap *m, uint16_t slot)
{
    assert(slot < SIDMAP_SLOTS);
    return (uint32_t)(load(&m->header->workers[slot].state) & GENERATION_MASK);
}

void sidmap_raise_generation(struct sidmap *m, uint16_t slot)
{
    assert(slot < SIDMAP_SLOTS);
    _Atomic uint64_t *state = &m->header->workers[slot].state;
    uint64_t seen = load(state), raised;
    do
        raised = (seen & ~(uint64_t)GENERATION_MASK) | ((seen + 1) & GENERATION_MASK);
    while (!swap(state, &seen, raised));
}

/* ---- the entries ---- */

uint64_t sidmap_key(const struct sidmap *m, struct span path, struct span sid)
{
    uint64_t key = siphash_pair(m->header->hash_key, path, sid);
    return key ? key : 1;
}

bool sidmap_find(const struct sidmap *m, uint64_t key, uint32_t now_s, struct sidmap_owner *owner_out)
{
    struct words was;
    if (!find_known(m, key, now_s, &was))
        return false;
    *owner_out = owner_of(m, was);
    return true;
}

/* A place for a key, and what lies there. */
struct place {
    struct sidmap_entry *entry;
    struct words was;
    enum { PLACE_FULL, PLACE_FREE, PLACE_SAME_KEY } kind;
};

/* The key's own entry if there is one, else the first that holds nothing known, else the one nearest to its expiry. */
static struct place place_for(const struct sidmap *m, uint64_t key, uint32_t now_s)
{
    struct place best = {.entry = NULL};
    for (uint32_t i = 0; i < WINDOW; i++) {
        struct place p = {.entry = entry_in_window(m, key, i)};
        p.was = entry_load(p.entry);
        if (is_of_key(p.was, key)) {
            p.kind = PLACE_SAME_KEY;
            return p;
        }
        p.kind = p.was.value && is_known(m, p.was, now_s) ? PLACE_FULL : PLACE_FREE;
        bool sooner = (p.was.life & LIFE_EXPIRY_MASK) < (best.was.life & LIFE_EXPIRY_MASK);
        if (!best.entry || p.kind > best.kind || (p.kind == PLACE_FULL && best.kind == PLACE_FULL && sooner))
            best = p;
    }
    return best;
}

static enum sidmap_learned learned(const struct sidmap *m, const struct place *p, uint16_t slot, uint32_t now_s)
{
    if (p->kind == PLACE_FULL)
        return SIDMAP_EVICTED;
    if (p->kind == PLACE_FREE || !is_known(m, p->was, now_s))
        return SIDMAP_NEW;
    return value_slot(p->was.value) == slot ? SIDMAP_RENEWED : SIDMAP_REPLACED;
}

enum sidmap_learned sidmap_learn(struct sidmap *m, uint64_t key, uint16_t slot, uint16_t ttl_s, uint32_t now_s,
                                 struct sidmap_owner *old_out, bool *old_counted_out)
{
    struct place p = place_for(m, key, now_s);
    enum sidmap_learned what = learned(m, &p, slot, now_s);
    *old_out = owner_of(m, p.was);
    *old_counted_out = p.was.value && old_out->live;
    uint64_t life = life_of(now_s, ttl_s, true);
    if (what == SIDMAP_RENEWED)
        store(&p.entry->life, life);
    else
        entry_store(p.entry, key, value_of(slot, sidmap_generation(m, slot)), life);
    return what;
}

void sidmap_touch(struct sidmap *m, uint64_t key, uint32_t now_s)
{
    struct words was;
    struct sidmap_entry *e = find_known(m, key, now_s, &was);
    if (!e)
        return;
    uint64_t life = life_of(now_s, life_ttl(was.life), was.life & LIFE_LIVE);
    if (life != was.life) /* within the same second nothing changes, and the cache line stays clean */
        swap(&e->life, &was.life, life);
}

bool sidmap_set_live(struct sidmap *m, uint64_t key, uint32_t now_s, bool live)
{
    struct words was;
    struct sidmap_entry *e = find_known(m, key, now_s, &was);
    if (!e)
        return false;
    do {
        if (!!(was.life & LIFE_LIVE) == live)
            return false;
    } while (!swap(&e->life, &was.life, was.life ^ LIFE_LIVE));
    return true;
}

bool sidmap_forget(struct sidmap *m, uint64_t key, struct sidmap_owner *old_out)
{
    for (uint32_t i = 0; i < WINDOW; i++) {
        struct sidmap_entry *e = entry_in_window(m, key, i);
        struct words w = entry_load(e);
        if (is_of_key(w, key)) {
            *old_out = owner_of(m, w);
            entry_clear(e);
            return true;
        }
    }
    return false;
}

uint32_t sidmap_sweep(struct sidmap *m, uint32_t *cursor, uint32_t count, uint32_t now_s,
                      void (*gone)(void *arg, const struct sidmap_owner *owner), void *arg)
{
    uint32_t held = 0;
    if (count > m->mask)
        count = m->mask + 1;
    for (uint32_t i = 0; i < count; i++) {
        struct sidmap_entry *e = &m->entries[(*cursor)++ & m->mask];
        struct words w = entry_load(e);
        if (w.value == 0)
            continue;
        if (is_known(m, w, now_s)) {
            held++;
            continue;
        }
        struct sidmap_owner owner = owner_of(m, w);
        entry_clear(e);
        gone(arg, &owner);
    }
    *cursor &= m->mask;
    return held;
}
