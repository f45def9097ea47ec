/*
 * sidmap - which worker owns which Engine.IO session id (sid).
 *
 * Pure: lives in a flat region that the caller gives (anonymous zeroed memory, later a file mapped by several
 * processes) and takes the time from the caller (CLOCK_BOOTTIME seconds: entries outlive a process). A region of zeroes
 * is an empty table: nothing is formatted but the header. Stores keyed hashes, never sids: they are credentials.
 *
 * Every field of an entry is one relaxed atomic store of 64 bits, and `check` = key XOR mix(value): a reader that meets
 * half-written entries (another writer, a crash between two stores) sees "absent", never another worker. When a probe
 * window is full, learning a sid forgets the entry nearest to its expiry. Counts of live sessions are the caller's: two
 * writers at the same instant may cost or add one, so it never counts below zero.
 *
 * The header holds the worker table (identity, generation, drain, weight) so that several processes agree on slots; an
 * entry names a slot and the generation of the worker when it learned, and counts only while that is still so.
 */
#ifndef SIOLB_CORE_SIDMAP_H
#define SIOLB_CORE_SIDMAP_H

#include "span.h"

#define SIDMAP_SLOTS       1024 /* workers that a region can know at the same time */
#define SIDMAP_SLOT_NONE   0xffffu
#define SIDMAP_TTL_S_MAX   65535u
#define SIDMAP_ENTRIES_MIN 64u
#define SIDMAP_WINDOW      16u /* places in a row where one key may lie */

struct sidmap_header;
struct sidmap_entry;

struct sidmap { /* a view; copying it is fine */
    struct sidmap_header *header;
    struct sidmap_entry *entries;
    uint32_t mask;
};

/* What an entry says. */
struct sidmap_owner {
    uint16_t slot;       /* of the worker table */
    uint32_t generation; /* of the worker; 24 bits are kept */
    uint16_t ttl_s;      /* lives this long without a request */
    bool live;           /* counted as a live session; false: its websocket has closed, kept for exactness; or it
                            is of an older generation, whose sessions count no more since it was raised */
};

/* Bytes of a region for `entries` entries (a power of two, at least SIDMAP_ENTRIES_MIN). */
size_t sidmap_region_bytes(uint32_t entries);

/* Adopt `region` for `entries` entries: continue what it holds if it is ours, of the same size and boot, else format a
 * region of zeroes (*fresh_out = true; only the header is looked at and written, so that untouched memory stays so).
 * False: a region that is neither, too small, or `entries` is no power of two >= SIDMAP_ENTRIES_MIN; nothing touched.
 * The region stays the caller's and must be 8-byte aligned. `hash_key` is used for a fresh region only. */
bool sidmap_init(struct sidmap *m, void *region, size_t bytes, uint32_t entries, const uint64_t hash_key[2],
                 const uint8_t boot_id[16], bool *fresh_out) MUST_CHECK;

/* Slot of the worker with this identity hash, a new one when it is not known yet. SIDMAP_SLOT_NONE: table full. */
uint16_t sidmap_slot(struct sidmap *m, uint64_t identity);

/* Generation of a slot: what entries are compared with. Raising it makes every older entry of the slot unknown. */
uint32_t sidmap_generation(const struct sidmap *m, uint16_t slot);
void sidmap_raise_generation(struct sidmap *m, uint16_t slot);

/* Key of a sid under a path; never 0. */
uint64_t sidmap_key(const struct sidmap *m, struct span path, struct span sid);

/* What is known of `key`; an entry is known up to and including the second in which it expires. owner_out->slot is
 * always below SIDMAP_SLOTS. False: unknown, expired, or of an older generation. Does not touch the entry. */
bool sidmap_find(const struct sidmap *m, uint64_t key, uint32_t now_s, struct sidmap_owner *owner_out);

/* What learning pushed out or met. */
enum sidmap_learned {
    SIDMAP_NEW,      /* a free or expired place */
    SIDMAP_RENEWED,  /* the same worker said it again */
    SIDMAP_REPLACED, /* another live worker had it: a collision, to be reported; *old_out is what was */
    SIDMAP_EVICTED   /* the window was full; *old_out is what was forgotten */
};

/* Remember key -> owner, live; the generation is taken from the slot (< SIDMAP_SLOTS). *old_out is set for REPLACED and
 * EVICTED, and for NEW when an expired entry that was still counted (`live`) lay in its place: *old_counted_out is true
 * when *old_out was live, so that the caller can count it down. For RENEWED *old_counted_out tells whether the entry
 * was live before. */
enum sidmap_learned sidmap_learn(struct sidmap *m, uint64_t key, uint16_t slot, uint16_t ttl_s, uint32_t now_s,
                                 struct sidmap_owner *old_out, bool *old_counted_out) MUST_CHECK;

/* Keep an entry young: its expiry becomes now + its ttl. Unknown key: nothing. */
void sidmap_touch(struct sidmap *m, uint64_t key, uint32_t now_s);

/* Change `live` of an entry; true when it was found and changed. */
bool sidmap_set_live(struct sidmap *m, uint64_t key, uint32_t now_s, bool live);

/* Forget an entry; true when there was one, *old_out is what it said (also an expired one or one of an older
 * generation: old_out->live tells whether it is to be counted down). */
bool sidmap_forget(struct sidmap *m, uint64_t key, struct sidmap_owner *old_out);

/* Look at `count` entries from *cursor on (wraps), forget those that are expired or of an older generation and tell
 * `gone` of each. *cursor moves on. Returns how many of them hold a known sid. */
uint32_t sidmap_sweep(struct sidmap *m, uint32_t *cursor, uint32_t count, uint32_t now_s,
                      void (*gone)(void *arg, const struct sidmap_owner *owner), void *arg);

/* Where the window of `key` begins: an index in [0, mask]. */
uint32_t sidmap_home(const struct sidmap *m, uint64_t key);

#endif
