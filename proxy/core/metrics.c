#include "metrics.h"

#include <inttypes.h>
#include <stdio.h>

static const char *const names[METRICS] = {
#define COUNTER(name, word, help) word,
#define GAUGE(name, word, help)   word,
#include "metrics.def"
#undef COUNTER
#undef GAUGE
};

const char *metric_name(enum metric which)
{
    return names[which];
}

size_t metrics_line(const struct metrics *m, char *out, size_t size)
{
    size_t whole = 0; /* length of the line so far, as if there were room for it: once past the end, nothing fits */
    if (size)
        out[0] = '\0';
    for (size_t i = 0; i < METRICS; i++) {
        char item[128];
        int len = snprintf(item, sizeof(item), "%s%s=%" PRIu64, i ? " " : "", names[i], m->value[i]);
        if (whole + (size_t)len < size)
            memcpy(out + whole, item, (size_t)len + 1);
        whole += (size_t)len;
    }
    return whole;
}
