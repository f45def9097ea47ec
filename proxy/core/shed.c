#include "shed.h"

/* Class of a size: four to each power of two, by its two bits behind the first one. */
static unsigned class_of(uint64_t bytes)
{
    if (bytes < 4)
        return (unsigned)bytes;
    unsigned top = 63 - (unsigned)__builtin_clzll(bytes);
    return 4 * (top - 1) + (unsigned)(bytes >> (top - 2) & 3);
}

/* The smallest size of a class. */
static uint64_t floor_of(unsigned class)
{
    if (class < 4)
        return class;
    unsigned top = class / 4 + 1;
    return (UINT64_C(4) | class % 4) << (top - 2);
}

void shed_weigh(struct shed *s, uint64_t bytes)
{
    s->bytes[class_of(bytes)] += bytes;
}

uint64_t shed_bytes_min(const struct shed *s, uint64_t excess)
{
    uint64_t held = 0;
    for (unsigned n = SHED_CLASSES - 1; n > 0; n--) {
        held += s->bytes[n];
        if (held >= excess)
            return floor_of(n);
    }
    return 1;
}

uint64_t shed_bytes_above(uint64_t bytes)
{
    unsigned class = class_of(bytes);
    return class < class_of(UINT64_MAX) ? floor_of(class + 1) : UINT64_MAX;
}
