/*
 * shed - who has to go when all buffers together are too large: those who hold most.
 *
 * Pure. A histogram of what each connection holds, in classes a quarter of an octave wide; so the order within a fifth
 * of the size is left to chance, and a whole round is three walks over all connections, however many have to go: one to
 * weigh, one for those in the classes above the last one, which go entirely, and one for as many of the last as it
 * takes.
 */
#ifndef SIOLB_CORE_SHED_H
#define SIOLB_CORE_SHED_H

#include "span.h"

#define SHED_CLASSES 256

struct shed {                     /* all zero: empty */
    uint64_t bytes[SHED_CLASSES]; /* held by the connections of a class */
};

/* One connection holds that many bytes. */
void shed_weigh(struct shed *s, uint64_t bytes);

/* The largest size (of a class the smallest) such that those of at least this size hold `excess` bytes together, if all
 * together do: else 1. */
uint64_t shed_bytes_min(const struct shed *s, uint64_t excess);

/* The smallest size of the class above that of `bytes`; UINT64_MAX: there is none. */
uint64_t shed_bytes_above(uint64_t bytes);

#endif
