/*
 * server - owns everything: listeners, loop, sidmap, fleet, connections. Its verbs are start, drain and stop; signals
 * call the verbs.
 *
 * SIGTERM, SIGINT: drain, that is accept no more, finish what is under way, close websockets spread over
 * timeouts.drain, exit; a second one ends at once.
 *
 * SIGUSR1: open the log file anew, write all metrics as one log line.
 */
#ifndef SIOLB_SERVER_H
#define SIOLB_SERVER_H

#include "../config/config.h"

/* Serve until drained. Takes over the caller's reference to `config`. Returns the exit status: 0 after a drain, 1 when
 * it could not start (the log says why). */
int server_run(struct config *config);

#endif
