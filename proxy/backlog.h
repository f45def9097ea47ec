/*
 * backlog - bytes that cannot move on yet: what the kernel did not take for a slow peer, an incomplete head, requests
 * that wait behind the present one.
 *
 * A queue in one piece of memory that exists only as long as it holds bytes: an idle connection has none. The owner
 * bounds it (config: buffer, head_size). All of it is counted in the gauge buffered_bytes.
 */
#ifndef SIOLB_BACKLOG_H
#define SIOLB_BACKLOG_H

#include "core/metrics.h"
#include "core/span.h"

struct backlog; /* NULL is an empty one */

/* Append a copy of `bytes`. False: out of memory, nothing appended. */
bool backlog_add(struct backlog **b, struct metrics *m, struct span bytes) MUST_CHECK;

/* Room to read up to `bytes` more directly: a pointer behind the last byte; then backlog_grew() must tell how many came
 * (0 too). NULL: out of memory. */
char *backlog_room(struct backlog **b, size_t bytes) MUST_CHECK;
void backlog_grew(struct backlog **b, struct metrics *m, size_t bytes);

/* What it holds, valid until the next call; len 0 when empty. */
struct span backlog_span(const struct backlog *b);

/* Forget the first `bytes`; an empty backlog is freed. */
void backlog_drop(struct backlog **b, struct metrics *m, size_t bytes);

void backlog_free(struct backlog **b, struct metrics *m);

#endif
