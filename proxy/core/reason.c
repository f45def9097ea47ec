#include "reason.h"

#include <assert.h>
#include <stddef.h>

static const struct reason_row {
    const char *word;
    int http_status;
    const char *who;
    const char *text;
} rows[REASONS] = {
#define REASON(name, word, http, who, text) [REASON_##name] = {word, http, who, text},
#include "reason.def"
#undef REASON
};

static const struct reason_row *row_of(enum reason r)
{
    assert((size_t)r < REASONS);
    return &rows[r];
}

const char *reason_word(enum reason r)
{
    return row_of(r)->word;
}

int reason_http_status(enum reason r)
{
    return row_of(r)->http_status;
}

const char *reason_who(enum reason r)
{
    return row_of(r)->who;
}

const char *reason_text(enum reason r)
{
    return row_of(r)->text;
}
