/*
 * learn - reads a handshake's response on its way past and finds the sid in it (PROTOCOL 16, 17).
 *
 * Pure (zlib inflates on the side). The client gets the original bytes; this looks at payload with chunk framing
 * already undone. One per handshake exchange, freed with it. Ceiling: EIO_OPEN_BYTES_MAX payload bytes after inflating.
 */
#ifndef SIOLB_CORE_LEARN_H
#define SIOLB_CORE_LEARN_H

#include "eio_open.h"

enum learn_state {
    LEARN_MORE,  /* nothing known yet */
    LEARN_SID,   /* open->sid is known, ping values may follow */
    LEARN_DONE,  /* all is known; or the ceiling is reached, and the sid is known */
    LEARN_FAILED /* there is no open packet that can be read; learn_failure() says why */
};

struct learn;

/* A learner for a response with this Content-Encoding (empty or identity: none; gzip, x-gzip, deflate: inflated;
 * anything else fails at the first byte). NULL: out of memory. */
struct learn *learn_new(struct span content_encoding) MUST_CHECK;
void learn_free(struct learn *l); /* NULL is fine */

/* Feed the next payload bytes, before they go on to the client. LEARN_DONE and LEARN_FAILED are final. */
enum learn_state learn_feed(struct learn *l, struct span payload);

/* What is known so far (after LEARN_FAILED: no sid); valid until learn_free. */
const struct eio_open *learn_open(const struct learn *l);

/* Why it failed: "encoded" (a coding we cannot undo, or a broken stream), "not-open" (no open packet; also when asked
 * while it was not decided: the body ended too early), "too-long", "no-memory" (inflate asks for more on its way). */
const char *learn_failure(const struct learn *l);

#endif
