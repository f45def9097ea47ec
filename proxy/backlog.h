/*
 * backlog - bytes that cannot move on yet: what the kernel did not take for a slow peer, an incomplete head, requests
 * that wait behind the present one.
 *
 * A queue in one piece of memory that exists only as long as it holds bytes: an idle connection has none. The owner
 * bounds it (config: buffer, head_size). The bytes are counted in the gauge buffered_bytes, the memory that they take
 * in buffer_memory; that is at most four times as much, or BACKLOG_SMALL: a queue that has shrunk gives memory back.
 */
#ifndef SIOLB_BACKLOG_H
#define SIOLB_BACKLOG_H

#include "core/metrics.h"
#include "core/span.h"

#define BACKLOG_SMALL 4096u

struct backlog; /* NULL is an empty one */

/* Append a copy of `bytes`. False: out of memory, nothing appended. */
bool backlog_add(struct backlog **b, struct metrics *m, struct span bytes) MUST_CHECK;

/* What it holds, valid until the next call; len 0 when empty. */
struct span backlog_span(const struct backlog *b);

/* Memory that it takes, as the gauge counts it. */
size_t backlog_memory(const struct backlog *b);

/* Forget the first `bytes`; an empty backlog is freed. */
void backlog_drop(struct backlog **b, struct metrics *m, size_t bytes);

void backlog_free(struct backlog **b, struct metrics *m);

#endif
