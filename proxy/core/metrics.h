/*
 * metrics - counters and gauges: one row each in metrics.def. Plain numbers of one process; nothing is locked.
 */
#ifndef SIOLB_CORE_METRICS_H
#define SIOLB_CORE_METRICS_H

#include "span.h"

enum metric {
#define COUNTER(name, word, help) M_##name,
#define GAUGE(name, word, help)   M_##name,
#include "metrics.def"
#undef COUNTER
#undef GAUGE
    METRICS
};

struct metrics {
    uint64_t value[METRICS];
};

static inline void metrics_add(struct metrics *m, enum metric which, uint64_t n)
{
    m->value[which] += n;
}

static inline void metrics_sub(struct metrics *m, enum metric which, uint64_t n)
{
    m->value[which] -= n;
}

const char *metric_name(enum metric which);

/* "clients=3 exchanges=0 ..." as a C string; returns its length, or what it would be when `size` is too small (then the
 * string ends at the last metric that fits). */
size_t metrics_line(const struct metrics *m, char *out, size_t size);

#endif
