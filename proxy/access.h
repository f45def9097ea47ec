/*
 * access - the access log: one line a request, as key=value or as JSON. No query and no more of a sid than
 * eio_sid_shown() gives: sids are credentials, and applications put tokens into queries.
 */
#ifndef SIOLB_ACCESS_H
#define SIOLB_ACCESS_H

#include "exchange.h"

/* Write the line for an exchange that is over, answered with `status` (0: not at all). */
void access_log(const struct exchange *x, unsigned status);

#endif
