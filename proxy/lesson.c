#include "lesson.h"

#include "core/cors.h"
#include "session.h"

#define ERROR_BODY_BYTES_MAX 512

static struct metrics *metrics_of(const struct lesson *l)
{
    return &l->ctx->metrics;
}

/* --- a new session's sid --- */

static void lesson_learned(struct lesson *l, struct span sid, uint16_t ttl_s)
{
    l->has_taught = true;
    (void)session_learn(l->ctx, l->worker, l->path, sid, ttl_s);
}

/* The session cookie of a handshake response: a second place to learn, and in time, since it comes before the body. */
static bool learn_cookie(struct lesson *l, const struct lesson_about *a)
{
    const char *name = a->config->cookie;
    char room[SID_BYTES_MAX];
    struct span value;
    size_t len;
    if (!*name || !(a->response->facts & HTTP_HAS_SET_COOKIE) ||
        !http_set_cookie_find(a->response_head, span_from_str(name), &value) ||
        !eio_cookie_decode(value, room, sizeof(room), &len) || len == 0)
        return false;
    lesson_learned(l, span_of(room, len), SESSION_TTL_S_DEFAULT);
    return true;
}

/* False: out of memory. */
static bool begin_learning(struct lesson *l, const struct lesson_about *a)
{
    struct span coding = span_of("", 0);
    if (!a->route->may_teach || a->response->status != 200)
        return true;
    if (a->response->facts & HTTP_HAS_CODING)
        (void)http_field_find(a->response_head, SPAN("Content-Encoding"), &coding);
    l->learned_cookie = learn_cookie(l, a);
    l->learn = learn_new(coding);
    return l->learn != NULL;
}

static void count_failure(const struct lesson *l)
{
    const char *why = learn_failure(l->learn);
    enum metric which = !strcmp(why, "encoded")    ? M_LEARN_FAILED_ENCODED
                        : !strcmp(why, "too-long") ? M_LEARN_FAILED_TOO_LONG
                                                   : M_LEARN_FAILED_NOT_OPEN;
    metrics_add(metrics_of(l), l->learned_cookie ? M_LEARNED_COOKIE : which, 1);
    if (!l->learned_cookie && metrics_of(l)->value[which] == 1)
        log_line(&l->ctx->log, LOG_WARN, "sid not learned",
                 "worker=%s reason=%s hint=\"the answer to a handshake could not be read; its client may meet a worker "
                 "that does not know it; this is said once\"",
                 l->worker->name, why);
}

/* All is known, or nothing more can become known. */
static void end_learning(struct lesson *l)
{
    static const enum metric counter[EIO_OPEN_FRAMINGS] = {
        [EIO_OPEN_PLAIN] = M_LEARNED_PLAIN,
        [EIO_OPEN_TEXT] = M_LEARNED_TEXT,
        [EIO_OPEN_BINARY] = M_LEARNED_BINARY,
        [EIO_OPEN_JSONP] = M_LEARNED_JSONP,
    };
    if (!l->learn)
        return;
    const struct eio_open *open = learn_open(l->learn);
    if (open->sid_len)
        metrics_add(metrics_of(l), counter[open->framing], 1);
    else
        count_failure(l);
    learn_free(l->learn);
    l->learn = NULL;
}

/* False: out of memory. */
static bool learn_from(struct lesson *l, struct span payload)
{
    if (!l->learn || payload.len == 0)
        return true;
    enum learn_state state = learn_feed(l->learn, payload);
    const struct eio_open *open = learn_open(l->learn);
    if (state == LEARN_SID || state == LEARN_DONE)
        lesson_learned(l, span_of(open->sid, open->sid_len), session_ttl_s(open));
    if (state == LEARN_FAILED && !l->learned_cookie && !strcmp(learn_failure(l->learn), "no-memory"))
        return false;
    if (state == LEARN_FAILED || state == LEARN_DONE)
        end_learning(l); /* else the sid, or its ping values, may follow */
    return true;
}

/* --- does the worker say that it does not know the sid that we sent it for? --- */

static void read_error(struct lesson *l, struct span payload)
{
    if (!l->reads_error)
        return;
    if (backlog_span(l->error_body).len + payload.len > ERROR_BODY_BYTES_MAX ||
        !ctx_keep(l->ctx, &l->error_body, payload)) {
        l->reads_error = false;
        backlog_free(&l->error_body, metrics_of(l));
    }
}

static void end_error(struct lesson *l, bool is_complete)
{
    if (is_complete && l->reads_error && eio_body_is_unknown_sid(backlog_span(l->error_body)))
        session_forget(l->ctx, l->key);
    l->reads_error = false;
    backlog_free(&l->error_body, metrics_of(l));
}

/* --- what an origin may read --- */

/* Only an Engine.IO request that was served can tell: an error says nothing, the client's script may be for everybody,
 * and what a preflight (OPTIONS) is told is what may be sent. */
static bool may_grant(const struct lesson_about *a)
{
    return a->target->path != EIO_NO_PATH && a->target->transport != EIO_TRANSPORT_NONE &&
           a->request->method != HTTP_OPTIONS && a->response->status >= 200 && a->response->status <= 299;
}

/* It is remembered for our own replies. A field that comes twice is no grant to a browser either; a client that names
 * two origins tells nothing about the first of them. */
static void note_cors(struct cors *cors, const struct lesson_about *a)
{
    struct span origin, granted = span_of("", 0), credentials;
    if (!(a->request->facts & HTTP_HAS_ORIGIN) || !may_grant(a) ||
        !http_field_only(a->request_head, SPAN("Origin"), &origin))
        return;
    if (a->response->facts & HTTP_GRANTS_ORIGIN)
        (void)http_field_only(a->response_head, SPAN("Access-Control-Allow-Origin"), &granted);
    bool with_credentials = http_field_only(a->response_head, SPAN("Access-Control-Allow-Credentials"), &credentials) &&
                            span_equal(credentials, SPAN("true"));
    cors_note(cors, a->target->path, origin, granted, with_credentials);
}

/* --- the whole --- */

bool lesson_begin(struct lesson *l, struct ctx *ctx, struct worker *w, const struct lesson_about *about)
{
    *l = (struct lesson){.ctx = ctx, .worker = w, .key = about->route->key};
    if (about->target->path != EIO_NO_PATH)
        l->path = about->config->paths[about->target->path];
    l->reads_error = about->response->status == 400 && about->route->route == ROUTE_KNOWN;
    note_cors(ctx->cors, about);
    return begin_learning(l, about);
}

bool lesson_feed(struct lesson *l, struct span payload)
{
    read_error(l, payload);
    return learn_from(l, payload);
}

void lesson_end(struct lesson *l, bool is_complete)
{
    if (!l->ctx)
        return;
    end_learning(l);
    end_error(l, is_complete);
}

void lesson_fini(struct lesson *l)
{
    learn_free(l->learn);
    if (l->ctx)
        backlog_free(&l->error_body, metrics_of(l));
}
