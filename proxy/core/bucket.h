/*
 * bucket - a token bucket: at most so many a second, and a burst of as many as one second brings (at least one).
 *
 * Pure: times are monotonic milliseconds from the caller. All zero is a full bucket. The rate belongs to the caller and
 * may differ from call to call: a bucket that was emptied at a higher rate is just empty at a lower one. Tokens are
 * kept in thousandths, so that slow rates lose nothing to rounding.
 */
#ifndef SIOLB_CORE_BUCKET_H
#define SIOLB_CORE_BUCKET_H

#include "span.h"

struct bucket {
    uint64_t spent; /* thousandths of a token that are missing; one second brings rate * 1000 of them back */
    uint64_t at_ms; /* when `spent` was reckoned */
};

#define BUCKET_RATE_MAX (UINT64_MAX / 1000)

/* Take a token; rate_per_s is 1 to BUCKET_RATE_MAX. False: there is none, and *wait_ms_out is how long until there will
 * be. */
bool bucket_take(struct bucket *b, uint64_t rate_per_s, uint64_t now_ms, uint64_t *wait_ms_out) MUST_CHECK;

#endif
