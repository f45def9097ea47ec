/*
 * addresses - how many connections and how many handshakes a second come from one address (an IPv6 /64 counts as one).
 *
 * Pure: a table of fixed size that the caller's numbers go into; times are monotonic milliseconds from the caller.
 * Windows of ADDRESSES_WINDOW places, found by a keyed hash, so that nobody can choose addresses that share one. Where
 * a window is full, the address in it is forgotten that has no connection and whose last handshake is longest ago; if
 * all of them have connections, the newcomer is not counted (and says so): a table twice as large as what may be
 * connected makes that a rarity.
 */
#ifndef SIOLB_CORE_ADDRESSES_H
#define SIOLB_CORE_ADDRESSES_H

#include "bucket.h"
#include "ip.h"

#define ADDRESSES_WINDOW 16u
#define ADDRESSES_MAX    (1u << 21)

struct addresses;

/* A table for that many connected addresses, at most ADDRESSES_MAX / 2; its memory is touched as it is used. `key`
 * makes the hash. NULL: out of memory. */
struct addresses *addresses_new(uint64_t connected_max, const uint64_t key[2]);
void addresses_free(struct addresses *t); /* NULL is fine */

/* One connection more; how many there are now. 0: `a` has no address, or there is no place for it: not counted, and
 * addresses_leave() must not follow. */
uint32_t addresses_enter(struct addresses *t, const struct ip *a) MUST_CHECK;
void addresses_leave(struct addresses *t, const struct ip *a);

/* May `a` begin a session now? False: no, and *wait_ms_out is how long until it may. An address that cannot be counted
 * always may. */
bool addresses_take_handshake(struct addresses *t, const struct ip *a, uint64_t rate_per_s, uint64_t now_ms,
                              uint64_t *wait_ms_out) MUST_CHECK;

#endif
