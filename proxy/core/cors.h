/*
 * cors - what workers granted to which origin, to be mirrored on our own replies and never widened (PROTOCOL 12).
 *
 * Pure. Remembers CORS_GRANTS_MAX (path, origin) pairs, the least recently used goes first; origins over 256 bytes are
 * not remembered.
 */
#ifndef SIOLB_CORE_CORS_H
#define SIOLB_CORE_CORS_H

#include "span.h"

#define CORS_GRANTS_MAX 256

struct cors;

struct cors_grant {
    struct span allow_origin; /* the worker's Access-Control-Allow-Origin: the origin itself or "*"; valid until the
                                 next call */
    bool allow_credentials;
};

struct cors *cors_new(void) MUST_CHECK; /* NULL: out of memory */
void cors_free(struct cors *c);

/* A worker answered an Engine.IO request (no preflight) of `origin` under path number `path` successfully, with this
 * Access-Control-Allow-Origin. A value that is neither `origin` nor "*" grants nothing and removes what was remembered,
 * as does an empty one. */
void cors_note(struct cors *c, int path, struct span origin, struct span allow_origin, bool allow_credentials);

/* What to mirror for `origin`; false: nothing was granted. */
bool cors_find(struct cors *c, int path, struct span origin, struct cors_grant *out);

#endif
