/*
 * reason - why a thing ended or was refused: one row each in reason.def, one word in logs, metrics and docs.
 */
#ifndef SIOLB_CORE_REASON_H
#define SIOLB_CORE_REASON_H

enum reason {
#define REASON(name, word, http, who, text) REASON_##name,
#include "reason.def"
#undef REASON
    REASONS
};

/* The word of logs and metrics, "bad-host". */
const char *reason_word(enum reason r);

/* Status of the reply that siolb makes itself, 0 when none is sent. */
int reason_http_status(enum reason r);

/* Whose doing it is, unless the place that logs it knows better: "client", "worker", "siolb", "operator". */
const char *reason_who(enum reason r);

/* One line for people: the message of the reply. */
const char *reason_text(enum reason r);

#endif
