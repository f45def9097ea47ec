#include "bucket.h"

#define TOKEN 1000u /* thousandths */

static uint64_t spent_at(const struct bucket *b, uint64_t rate_per_s, uint64_t now_ms)
{
    uint64_t elapsed_ms = now_ms > b->at_ms ? now_ms - b->at_ms : 0;
    if (b->spent == 0 || elapsed_ms > b->spent / rate_per_s) /* a millisecond brings `rate` thousandths */
        return 0;
    return b->spent - elapsed_ms * rate_per_s;
}

bool bucket_take(struct bucket *b, uint64_t rate_per_s, uint64_t now_ms, uint64_t *wait_ms_out)
{
    uint64_t spent = spent_at(b, rate_per_s, now_ms);
    uint64_t burst = rate_per_s * TOKEN;
    *wait_ms_out = 0;
    b->spent = spent;
    b->at_ms = now_ms;
    if (spent + TOKEN > burst) {
        *wait_ms_out = (spent + TOKEN - burst + rate_per_s - 1) / rate_per_s;
        return false;
    }
    b->spent += TOKEN;
    return true;
}
