/*
 * fuzz_sidmap - the session map beside a model that knows everything.
 *
 * The input is a list of steps of four bytes: what, which key, which worker, how much. Again and again every key is
 * looked up: what the map says must be what the model says, and a key that the map does not know must be unknown to the
 * model too, or be the one that a full window just forgot. The counts of live sessions that a caller keeps from what
 * the map tells must come out at zero when everything has died.
 */
#include "../../proxy/core/sidmap.h"

#include <stdlib.h>

enum { ENTRIES = 64, KEYS = 96, SLOTS = 5, STEP_BYTES = 4, STEPS_PER_LOOK = 8 };

#define CHECK(condition)                                                                                               \
    do                                                                                                                 \
        if (!(condition))                                                                                              \
            __builtin_trap();                                                                                          \
    while (0)

struct fact { /* what the model knows of a key */
    bool is_there;
    struct sidmap_owner owner;
    uint64_t expiry_s;
};

struct world {
    struct sidmap map;
    struct fact facts[KEYS];
    uint32_t generation[SLOTS];
    int64_t counted[SLOTS]; /* live sessions, as a caller of the map counts them */
    uint32_t now_s;
    uint32_t cursor;
};

/* Keys crowd into a third of the region, so that windows overlap, fill up and wrap around its end. */
static uint64_t key_of(unsigned k)
{
    return (uint64_t)(k + 1) << 32 | (50 + k % 20) % ENTRIES;
}

static bool model_knows(const struct world *w, const struct fact *f)
{
    return f->is_there && w->now_s <= f->expiry_s && f->owner.generation == w->generation[f->owner.slot];
}

static void count_down(struct world *w, const struct sidmap_owner *owner)
{
    CHECK(owner->slot < SLOTS);
    if (owner->live)
        CHECK(--w->counted[owner->slot] >= 0);
}

static bool is_same_owner(const struct sidmap_owner *a, const struct sidmap_owner *b)
{
    return a->slot == b->slot && a->generation == b->generation && a->ttl_s == b->ttl_s && a->live == b->live;
}

/* The map against the model, key by key. Returns how many keys only the model knows; the last one is in *lost_out. */
static unsigned compare(const struct world *w, unsigned *lost_out)
{
    unsigned lost = 0;
    for (unsigned k = 0; k < KEYS; k++) {
        struct sidmap_owner owner;
        bool known = model_knows(w, &w->facts[k]);
        if (sidmap_find(&w->map, key_of(k), w->now_s, &owner)) {
            CHECK(known); /* neither invented nor raised from the dead */
            CHECK(is_same_owner(&owner, &w->facts[k].owner));
        } else if (known) {
            lost++;
            *lost_out = k;
        }
    }
    return lost;
}

/* A full window forgot somebody: exactly one, what the map said of it, and nobody within reach would have died before.
 */
static void check_evicted(struct world *w, unsigned learned, const struct sidmap_owner *old)
{
    unsigned lost = 0;
    CHECK(compare(w, &lost) == 1);
    CHECK(is_same_owner(old, &w->facts[lost].owner));
    unsigned home = (unsigned)key_of(learned) % ENTRIES;
    for (unsigned k = 0; k < KEYS; k++) {
        /* a key with the same home lies in the same window */
        if (k != learned && (unsigned)key_of(k) % ENTRIES == home && model_knows(w, &w->facts[k]))
            CHECK(w->facts[k].expiry_s >= w->facts[lost].expiry_s);
    }
    w->facts[lost].is_there = false;
}

static void step_learn(struct world *w, unsigned k, uint16_t slot, uint8_t amount)
{
    struct fact before = w->facts[k];
    bool was_known = model_knows(w, &before);
    struct sidmap_owner old;
    bool old_counted;
    uint16_t ttl_s = amount & 0x3f;
    enum sidmap_learned what = sidmap_learn(&w->map, key_of(k), slot, ttl_s, w->now_s, &old, &old_counted);
    w->facts[k] = (struct fact){
        .is_there = true, .owner = {slot, w->generation[slot], ttl_s, true}, .expiry_s = (uint64_t)w->now_s + ttl_s};
    if (what != SIDMAP_RENEWED && old_counted)
        count_down(w, &old);
    if (what != SIDMAP_RENEWED || !old_counted)
        w->counted[slot]++;
    CHECK(was_known == (what == SIDMAP_RENEWED || what == SIDMAP_REPLACED));
    if (was_known) {
        CHECK((what == SIDMAP_RENEWED) == (before.owner.slot == slot));
        CHECK(is_same_owner(&old, &before.owner));
    }
    if (what == SIDMAP_EVICTED)
        check_evicted(w, k, &old);
}

static void step_touch(struct world *w, unsigned k)
{
    struct fact *f = &w->facts[k];
    sidmap_touch(&w->map, key_of(k), w->now_s);
    if (model_knows(w, f))
        f->expiry_s = (uint64_t)w->now_s + f->owner.ttl_s;
}

static void step_set_live(struct world *w, unsigned k, bool live)
{
    struct fact *f = &w->facts[k];
    bool changed = sidmap_set_live(&w->map, key_of(k), w->now_s, live);
    CHECK(changed == (model_knows(w, f) && f->owner.live != live));
    if (!changed)
        return;
    f->owner.live = live;
    w->counted[f->owner.slot] += live ? 1 : -1;
    CHECK(w->counted[f->owner.slot] >= 0);
}

static void step_forget(struct world *w, unsigned k)
{
    struct sidmap_owner old;
    bool was_known = model_knows(w, &w->facts[k]);
    if (sidmap_forget(&w->map, key_of(k), &old))
        count_down(w, &old);
    else
        CHECK(!was_known);
    w->facts[k].is_there = false;
}

static void step_raise(struct world *w, uint16_t slot)
{
    sidmap_raise_generation(&w->map, slot);
    w->generation[slot]++;
    w->counted[slot] = 0;
    CHECK(sidmap_generation(&w->map, slot) == w->generation[slot]);
}

static void on_gone(void *arg, const struct sidmap_owner *owner)
{
    count_down(arg, owner);
}

static void step(struct world *w, const uint8_t bytes[STEP_BYTES])
{
    unsigned k = bytes[1] % KEYS;
    uint16_t slot = bytes[2] % SLOTS;
    uint8_t amount = bytes[3];
    switch (bytes[0] % 8) {
    case 0:
    case 1:
        step_learn(w, k, slot, amount);
        break;
    case 2:
        step_touch(w, k);
        break;
    case 3:
        step_set_live(w, k, amount & 1);
        break;
    case 4:
        step_forget(w, k);
        break;
    case 5:
        if (amount < 64) /* not so often that nothing lives long enough to fill a window */
            step_raise(w, slot);
        break;
    case 6:
        w->now_s += amount & 0x1f;
        break;
    case 7:
        sidmap_sweep(&w->map, &w->cursor, amount, w->now_s, on_gone, w);
        CHECK(w->cursor < ENTRIES);
        break;
    }
}

/* Everything dies: nothing is left, and nothing is counted. */
static void end(struct world *w)
{
    w->now_s += 1000;
    sidmap_sweep(&w->map, &w->cursor, ENTRIES, w->now_s, on_gone, w);
    for (unsigned slot = 0; slot < SLOTS; slot++)
        CHECK(w->counted[slot] == 0);
    struct sidmap_owner old;
    for (unsigned k = 0; k < KEYS; k++)
        CHECK(!sidmap_forget(&w->map, key_of(k), &old));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint64_t hash_key[2] = {1, 2};
    static const uint8_t boot_id[16] = {3};
    size_t bytes = sidmap_region_bytes(ENTRIES);
    void *region = calloc(1, bytes);
    struct world w = {.now_s = 100};
    bool fresh;
    CHECK(region && sidmap_init(&w.map, region, bytes, ENTRIES, hash_key, boot_id, &fresh) && fresh);
    for (unsigned slot = 0; slot < SLOTS; slot++)
        CHECK(sidmap_slot(&w.map, 7 + slot) == slot);
    unsigned lost;
    for (size_t at = 0; at + STEP_BYTES <= size; at += STEP_BYTES) {
        step(&w, data + at);
        if (at / STEP_BYTES % STEPS_PER_LOOK == 0)
            CHECK(compare(&w, &lost) == 0);
    }
    CHECK(compare(&w, &lost) == 0);
    end(&w);
    free(region);
    return 0;
}
