/*
 * siphash - keyed 64-bit hash (SipHash-2-4, Aumasson and Bernstein 2012) for anything keyed by what a client sent.
 */
#ifndef SIOLB_CORE_SIPHASH_H
#define SIOLB_CORE_SIPHASH_H

#include "span.h"

uint64_t siphash(const uint64_t key[2], struct span bytes);

/* Hash of two byte strings that no other pair shares: ("a", "bc") differs from ("ab", "c"). */
uint64_t siphash_pair(const uint64_t key[2], struct span first, struct span second);

#endif
