#include "bucket.h"

#define TOKEN 1000u /* thousandths */

/* Of a bucket that holds `burst`, all in thousandths. */
static uint64_t spent_at(const struct bucket *b, uint64_t rate_per_s, uint64_t burst, uint64_t now_ms)
{
    uint64_t spent = b->spent < burst ? b->spent : burst;
    uint64_t elapsed_ms = now_ms > b->at_ms ? now_ms - b->at_ms : 0;
    if (elapsed_ms > spent / rate_per_s) /* a millisecond brings `rate` thousandths */
        return 0;
    return spent - elapsed_ms * rate_per_s;
}

bool bucket_take(struct bucket *b, uint64_t rate_per_s, uint64_t now_ms, uint64_t *wait_ms_out)
{
    uint64_t burst = rate_per_s * TOKEN;
    b->spent = spent_at(b, rate_per_s, burst, now_ms);
    b->at_ms = now_ms;
    *wait_ms_out = 0;
    uint64_t left = burst - b->spent;
    if (left < TOKEN) {
        *wait_ms_out = (TOKEN - left + rate_per_s - 1) / rate_per_s;
        return false;
    }
    b->spent += TOKEN;
    return true;
}
