#include "fleet.h"

#include <stdlib.h>

bool fleet_init(struct fleet *f, uint16_t count)
{
    *f = (struct fleet){.count = count};
    /* calloc(0) may answer NULL: an empty fleet is no lack of memory */
    f->workers = calloc(count ? count : 1, sizeof(*f->workers));
    if (!f->workers)
        return false;
    for (uint16_t i = 0; i < count; i++)
        f->workers[i] = (struct worker){.index = i, .slot = SIDMAP_SLOT_NONE, .weight = 1, .state = WORKER_UP};
    return true;
}

void fleet_fini(struct fleet *f)
{
    free(f->workers);
    *f = (struct fleet){.workers = NULL};
}

/* An absent worker is one that was refused at start: a connect tries it now and then like any other. */
bool fleet_takes_newcomers(const struct worker *w, uint64_t now_ms)
{
    if (w->state != WORKER_UP && w->state != WORKER_ABSENT)
        return false;
    return !w->is_cooling || now_ms >= w->cooling_until_ms;
}

static bool is_period_running(const struct worker *w, uint64_t now_ms)
{
    return w->is_cooling && now_ms < w->cooling_until_ms;
}

static void start_period(struct worker *w, uint64_t now_ms)
{
    w->backoff_ms = w->is_cooling ? 2 * w->backoff_ms : REFUSED_BACKOFF_MS_MIN;
    if (w->backoff_ms > REFUSED_BACKOFF_MS_MAX)
        w->backoff_ms = REFUSED_BACKOFF_MS_MAX;
    w->is_cooling = true;
    w->cooling_until_ms = now_ms + w->backoff_ms;
}

/* A try before its time (a known sid, or the last resort of balance) does not lengthen the period. */
void fleet_note_trying(struct worker *w, uint64_t now_ms)
{
    if (w->is_cooling && !is_period_running(w, now_ms))
        start_period(w, now_ms);
}

/* Many connects may be refused at the same moment; they are one refusal, so only the first starts a period. */
bool fleet_note_refused(struct worker *w, bool timed_out, uint64_t now_ms)
{
    if (!is_period_running(w, now_ms))
        start_period(w, now_ms);
    w->timed_out = timed_out;
    if (timed_out)
        return false;
    bool has_lost_its_sessions = w->was_up;
    w->was_up = false;
    if (w->is_in_range && !w->was_ever_up && w->state == WORKER_UP)
        w->state = WORKER_ABSENT;
    return has_lost_its_sessions;
}

bool fleet_note_connected(struct worker *w)
{
    bool is_news = !w->was_up || w->is_cooling;
    w->was_up = true;
    w->was_ever_up = true;
    w->is_cooling = false;
    w->timed_out = false;
    if (w->state == WORKER_ABSENT)
        w->state = WORKER_UP;
    return is_news;
}

uint32_t fleet_load(const struct worker *w)
{
    return w->sessions + w->lone_tunnels + w->newcomers;
}

const char *worker_state_name(enum worker_state s)
{
    static const char *const names[WORKER_STATES] = {
        [WORKER_UP] = "up",
        [WORKER_DOWN] = "down",
        [WORKER_DRAINING] = "draining",
        [WORKER_ABSENT] = "absent",
    };
    return names[s];
}
