/*
 * shed - who has to go when all buffers together are too large: those who hold most.
 *
 * Pure. A histogram of what each connection holds, in classes a quarter of an octave wide; so the order within a fifth
 * of the size is left to chance, and a whole round is two walks over all connections, however many have to go.
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

#endif
