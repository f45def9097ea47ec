#include "../../proxy/core/route.h"

#include "unit.h"

#include <stdlib.h>

enum { WORKERS = 4, NOW_S = 100, NOW_MS = 5000, TTL_S = 45 };

static const struct span paths[] = {{"/socket.io/", 11}, {"/chat/", 6}};

/* Four workers a b c d, whose slots are not their indexes; each owns the sid "sid-<letter>" under /socket.io/, and c
 * owns "other" under /chat/. */
struct house {
    struct fleet fleet;
    struct sidmap map;
    uint16_t slot_index[SIDMAP_SLOTS];
    void *region;
};

static void learn(struct house *h, struct span path, const char *sid, struct worker *w)
{
    struct sidmap_owner old;
    bool old_counted;
    uint64_t key = sidmap_key(&h->map, path, span_from_str(sid));
    assert_int_equal(sidmap_learn(&h->map, key, w->slot, TTL_S, NOW_S, &old, &old_counted), SIDMAP_NEW);
}

static void build(struct house *h)
{
    static const uint64_t hash_key[2] = {1, 2};
    static const uint8_t boot_id[16] = {3};
    size_t bytes = sidmap_region_bytes(SIDMAP_ENTRIES_MIN);
    bool fresh;
    h->region = calloc(1, bytes);
    assert_non_null(h->region);
    assert_true(sidmap_init(&h->map, h->region, bytes, SIDMAP_ENTRIES_MIN, hash_key, boot_id, &fresh));
    assert_true(fleet_init(&h->fleet, WORKERS));
    memset(h->slot_index, 0xff, sizeof(h->slot_index));
    for (uint16_t i = WORKERS; i-- > 0;) {
        struct worker *w = &h->fleet.workers[i];
        w->identity = 100u + i;
        w->slot = sidmap_slot(&h->map, w->identity);
        h->slot_index[w->slot] = i;
        const char sid[] = {'s', 'i', 'd', '-', (char)('a' + i), '\0'};
        learn(h, paths[0], sid, w);
    }
    learn(h, paths[1], "other", &h->fleet.workers[2]);
}

static void tear_down(struct house *h)
{
    fleet_fini(&h->fleet);
    free(h->region);
}

static struct eio_target target_of(int path, enum eio_transport transport, const char *sid)
{
    struct eio_target t = {.path = path, .transport = (uint8_t)transport, .has_eio = true};
    size_t len = strlen(sid);
    t.has_sid = len > 0;
    t.sid_is_too_long = len > SID_BYTES_MAX;
    t.sid_len = (uint16_t)(t.sid_is_too_long ? SID_BYTES_MAX : len);
    memcpy(t.sid, sid, t.sid_len);
    return t;
}

static struct route_ask ask_for(const struct eio_target *t)
{
    return (struct route_ask){
        .method = HTTP_GET,
        .target = t,
        .paths = paths,
        .path_count = COUNT_OF(paths),
        .balance = BALANCE_LEAST,
        .client = SPAN("\x7f\0\0\1"),
        .now_s = NOW_S,
        .now_ms = NOW_MS,
    };
}

static struct route_answer decide(struct house *h, const struct route_ask *ask)
{
    return route_decide(&h->fleet, &h->map, h->slot_index, ask);
}

static void cool(struct worker *w, bool timed_out)
{
    w->is_cooling = true;
    w->timed_out = timed_out;
    w->cooling_until_ms = NOW_MS + 1;
}

/* ---- known ---- */

static void a_known_sid_goes_to_its_worker_whatever_the_request(void **state)
{
    (void)state;
    static const enum http_method methods[] = {HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_OPTIONS, HTTP_METHOD_OTHER};
    static const enum eio_transport transports[] = {EIO_POLLING, EIO_WEBSOCKET, EIO_TRANSPORT_NONE,
                                                    EIO_TRANSPORT_OTHER};
    struct house h;
    build(&h);
    FOR_EACH (method, methods) {
        FOR_EACH (transport, transports) {
            struct eio_target t = target_of(0, transports[transport_at], "sid-c");
            struct route_ask ask = ask_for(&t);
            ask.method = methods[method_at];
            ask.cookie = SPAN("sid-a"); /* the query wins over the cookie */
            ask.cookie_handshakes = true;
            struct route_answer a = decide(&h, &ask);
            assert_int_equal(a.route, ROUTE_KNOWN);
            assert_int_equal(a.worker->index, 2);
            assert_true(a.key == sidmap_key(&h.map, paths[0], SPAN("sid-c")));
            assert_int_equal(a.ttl_s, TTL_S);
            assert_false(a.is_handshake);
            assert_false(a.may_teach);
        }
    }
    tear_down(&h);
}

static void a_known_sid_goes_to_its_worker_whatever_state_that_is_in(void **state)
{
    (void)state;
    for (unsigned s = 0; s < WORKER_STATES; s++) {
        for (int cools = 0; cools < 3; cools++) {
            struct house h;
            build(&h);
            struct worker *w = &h.fleet.workers[1];
            w->state = (uint8_t)s;
            if (cools)
                cool(w, cools == 2);
            struct eio_target t = target_of(0, EIO_POLLING, "sid-b");
            struct route_ask ask = ask_for(&t);
            struct route_answer a = decide(&h, &ask);
            assert_int_equal(a.route, ROUTE_KNOWN);
            assert_ptr_equal(a.worker, w);
            tear_down(&h);
        }
    }
}

static void a_sid_is_known_under_its_path_only(void **state)
{
    (void)state;
    struct house h;
    build(&h);
    struct eio_target t = target_of(1, EIO_POLLING, "other");
    struct route_ask ask = ask_for(&t);
    assert_int_equal(decide(&h, &ask).route, ROUTE_KNOWN);
    t.path = 0;
    assert_int_equal(decide(&h, &ask).route, ROUTE_UNKNOWN);
    t.path = EIO_NO_PATH; /* plain HTTP, whatever its query says */
    struct route_answer a = decide(&h, &ask);
    assert_int_equal(a.route, ROUTE_NEW);
    assert_true(a.key == 0);
    assert_false(a.is_handshake);
    tear_down(&h);
}

/* ---- unknown ---- */

static void every_unknown_sid_goes_to_its_rendezvous(void **state)
{
    (void)state;
    enum { NOT_LEARNED, EXPIRED, OLDER_GENERATION, WORKER_LEFT, WORKER_OUTSIDE, TRIED, CASES };
    for (int c = 0; c < CASES; c++) {
        struct house h;
        build(&h);
        struct eio_target t = target_of(0, EIO_POLLING, c == NOT_LEARNED ? "sid-x" : "sid-b");
        struct route_ask ask = ask_for(&t);
        struct worker *owner = &h.fleet.workers[1];
        if (c == EXPIRED)
            ask.now_s = NOW_S + TTL_S + 1;
        else if (c == OLDER_GENERATION)
            sidmap_raise_generation(&h.map, owner->slot);
        else if (c == WORKER_LEFT)
            h.slot_index[owner->slot] = 0xffff;
        else if (c == WORKER_OUTSIDE)
            h.slot_index[owner->slot] = WORKERS; /* bounds hold even if the table is wrong */
        else if (c == TRIED)
            ask.not_this = owner;
        struct route_answer a = decide(&h, &ask);
        assert_int_equal(a.route, ROUTE_UNKNOWN);
        assert_ptr_equal(a.worker, balance_rendezvous(&h.fleet, eio_sid(&t), ask.not_this, NOW_MS));
        assert_true(a.key == sidmap_key(&h.map, paths[0], eio_sid(&t)));
        assert_int_equal(a.ttl_s, 0);
        assert_false(a.is_handshake);
        assert_false(a.may_teach);
        if (c == TRIED)
            assert_ptr_not_equal(a.worker, owner);
        tear_down(&h);
    }
}

static void deciding_never_teaches_the_map(void **state)
{
    (void)state;
    struct house h;
    build(&h);
    char before[64 * 1024];
    size_t bytes = sidmap_region_bytes(SIDMAP_ENTRIES_MIN);
    memcpy(before, h.region, bytes);
    static const char *const sids[] = {"sid-a", "unknown", ""};
    FOR_EACH (sid, sids) {
        struct eio_target t = target_of(0, EIO_POLLING, sids[sid_at]);
        struct route_ask ask = ask_for(&t);
        assert_non_null(decide(&h, &ask).worker);
    }
    assert_memory_equal(before, h.region, bytes);
    tear_down(&h);
}

static void a_sid_that_is_too_long_is_nobodys(void **state)
{
    (void)state;
    struct house h;
    build(&h);
    char longest[SID_BYTES_MAX + 1], longer[SID_BYTES_MAX + 2];
    memset(longer, 'x', sizeof(longer));
    longer[SID_BYTES_MAX + 1] = '\0';
    memset(longest, 'x', sizeof(longest));
    longest[SID_BYTES_MAX] = '\0';
    learn(&h, paths[0], longest, &h.fleet.workers[3]);
    struct eio_target t = target_of(0, EIO_POLLING, longest);
    struct route_ask ask = ask_for(&t);
    assert_int_equal(decide(&h, &ask).route, ROUTE_KNOWN);
    t = target_of(0, EIO_POLLING, longer); /* its first 256 bytes are somebody's sid */
    struct route_answer a = decide(&h, &ask);
    assert_int_equal(a.route, ROUTE_UNKNOWN);
    assert_true(a.key == 0);
    tear_down(&h);
}

/* ---- cookie ---- */

static void a_session_cookie_leads_to_its_worker_where_it_may(void **state)
{
    (void)state;
    static const struct {
        const char *why;
        enum http_method method;
        int path;
        enum eio_transport transport;
        const char *cookie;
        bool handshakes;
        int worker; /* -1: balanced */
    } rows[] = {
        {"plain HTTP off the paths", HTTP_GET, EIO_NO_PATH, EIO_TRANSPORT_NONE, "sid-c", false, 2},
        {"... POST too", HTTP_POST, EIO_NO_PATH, EIO_TRANSPORT_NONE, "sid-c", false, 2},
        {"... under any path", HTTP_GET, EIO_NO_PATH, EIO_TRANSPORT_NONE, "other", false, 2},
        {"... not OPTIONS", HTTP_OPTIONS, EIO_NO_PATH, EIO_TRANSPORT_NONE, "sid-c", true, -1},
        {"... unknown is no error", HTTP_GET, EIO_NO_PATH, EIO_TRANSPORT_NONE, "sid-x", false, -1},
        {"socket.io.js", HTTP_GET, 0, EIO_TRANSPORT_NONE, "sid-c", false, 2},
        {"on a path, that path counts", HTTP_GET, 0, EIO_TRANSPORT_NONE, "other", false, -1},
        {"... its own", HTTP_GET, 1, EIO_TRANSPORT_NONE, "other", false, 2},
        {"POST without sid is no handshake", HTTP_POST, 0, EIO_POLLING, "sid-c", false, 2},
        {"handshake", HTTP_GET, 0, EIO_POLLING, "sid-c", false, -1},
        {"handshake, asked for", HTTP_GET, 0, EIO_POLLING, "sid-c", true, 2},
        {"websocket handshake", HTTP_GET, 0, EIO_WEBSOCKET, "sid-c", false, -1},
        {"websocket handshake, asked for", HTTP_GET, 0, EIO_WEBSOCKET, "sid-c", true, 2},
        {"preflight", HTTP_OPTIONS, 0, EIO_POLLING, "sid-c", true, -1},
        {"no cookie", HTTP_GET, EIO_NO_PATH, EIO_TRANSPORT_NONE, "", true, -1},
    };
    struct house h;
    build(&h);
    h.fleet.workers[2].sessions = 9; /* balance would not pick it */
    FOR_EACH (row, rows) {
        struct eio_target t = target_of(rows[row_at].path, rows[row_at].transport, "");
        struct route_ask ask = ask_for(&t);
        ask.method = rows[row_at].method;
        ask.cookie = edge_copy(rows[row_at].cookie);
        ask.cookie_handshakes = rows[row_at].handshakes;
        struct route_answer a = decide(&h, &ask);
        if ((a.route == ROUTE_COOKIE) != (rows[row_at].worker >= 0))
            print_error("%s\n", rows[row_at].why);
        assert_int_equal(a.route, rows[row_at].worker < 0 ? ROUTE_NEW : ROUTE_COOKIE);
        if (rows[row_at].worker >= 0)
            assert_int_equal(a.worker->index, rows[row_at].worker);
        else
            assert_int_not_equal(a.worker->index, 2);
        assert_true(a.key == 0);
        assert_int_equal(a.ttl_s, 0);
    }
    tear_down(&h);
}

static void a_cookie_does_not_lead_to_a_worker_that_takes_no_newcomers(void **state)
{
    (void)state;
    enum { DRAINING, DOWN, COOLING, TRIED, LEFT, CASES };
    for (int c = 0; c < CASES; c++) {
        struct house h;
        build(&h);
        struct worker *w = &h.fleet.workers[2];
        struct eio_target t = target_of(EIO_NO_PATH, EIO_TRANSPORT_NONE, "");
        struct route_ask ask = ask_for(&t);
        ask.cookie = SPAN("sid-c");
        if (c == DRAINING)
            w->state = WORKER_DRAINING;
        else if (c == DOWN)
            w->state = WORKER_DOWN;
        else if (c == COOLING)
            cool(w, false);
        else if (c == TRIED)
            ask.not_this = w;
        else
            h.slot_index[w->slot] = 0xffff;
        w->sessions = 9;
        struct route_answer a = decide(&h, &ask);
        assert_int_equal(a.route, ROUTE_NEW);
        assert_ptr_not_equal(a.worker, w);
        tear_down(&h);
    }
}

/* ---- new ---- */

static void only_a_get_with_a_transport_on_a_path_is_a_handshake(void **state)
{
    (void)state;
    static const struct {
        enum http_method method;
        int path;
        enum eio_transport transport;
        bool is_handshake, may_teach;
    } rows[] = {
        {HTTP_GET, 0, EIO_POLLING, true, true},           {HTTP_GET, 1, EIO_POLLING, true, true},
        {HTTP_GET, 0, EIO_WEBSOCKET, true, false},        {HTTP_GET, 0, EIO_TRANSPORT_NONE, false, false},
        {HTTP_GET, 0, EIO_TRANSPORT_OTHER, false, false}, {HTTP_GET, EIO_NO_PATH, EIO_POLLING, false, false},
        {HTTP_HEAD, 0, EIO_POLLING, false, false},        {HTTP_POST, 0, EIO_POLLING, false, false},
        {HTTP_OPTIONS, 0, EIO_POLLING, false, false},     {HTTP_METHOD_OTHER, 0, EIO_WEBSOCKET, false, false},
    };
    struct house h;
    build(&h);
    FOR_EACH (row, rows) {
        struct eio_target t = target_of(rows[row_at].path, rows[row_at].transport, "");
        struct route_ask ask = ask_for(&t);
        ask.method = rows[row_at].method;
        struct route_answer a = decide(&h, &ask);
        assert_int_equal(a.route, ROUTE_NEW);
        assert_int_equal(a.is_handshake, rows[row_at].is_handshake);
        assert_int_equal(route_is_handshake(ask.method, &t), rows[row_at].is_handshake);
        assert_int_equal(a.may_teach, rows[row_at].may_teach);
        assert_true(a.key == 0);
    }
    tear_down(&h);
}

/* A limit of handshakes never holds up a session that there is, known or not. */
static void a_request_with_a_sid_is_no_handshake(void **state)
{
    (void)state;
    static char too_long[SID_BYTES_MAX + 2];
    memset(too_long, 'x', sizeof too_long - 1);
    const char *const sids[] = {"sid-a", "sid-x", too_long};
    static const enum http_method methods[] = {HTTP_GET, HTTP_POST, HTTP_OPTIONS};
    static const enum eio_transport transports[] = {EIO_POLLING, EIO_WEBSOCKET};
    struct house h;
    build(&h);
    FOR_EACH (sid, sids) {
        FOR_EACH (method, methods) {
            FOR_EACH (transport, transports) {
                struct eio_target t = target_of(0, transports[transport_at], sids[sid_at]);
                struct route_ask ask = ask_for(&t);
                ask.method = methods[method_at];
                assert_false(route_is_handshake(ask.method, &t));
                assert_false(decide(&h, &ask).is_handshake);
            }
        }
    }
    tear_down(&h);
}

static void newcomers_are_balanced_as_asked(void **state)
{
    (void)state;
    struct house h;
    build(&h);
    struct eio_target t = target_of(0, EIO_POLLING, "");
    struct route_ask ask = ask_for(&t);
    h.fleet.workers[0].sessions = h.fleet.workers[1].sessions = h.fleet.workers[2].sessions = 5;
    assert_int_equal(decide(&h, &ask).worker->index, 3);
    ask.not_this = &h.fleet.workers[3];
    assert_int_not_equal(decide(&h, &ask).worker->index, 3);
    ask.not_this = NULL;
    ask.balance = BALANCE_SOURCE;
    assert_ptr_equal(decide(&h, &ask).worker, balance_rendezvous(&h.fleet, ask.client, NULL, NOW_MS));
    ask.balance = BALANCE_RANDOM;
    ask.random = UINT64_MAX;
    assert_int_equal(decide(&h, &ask).worker->index, 3);
    ask.random = 0;
    assert_int_equal(decide(&h, &ask).worker->index, 0);
    tear_down(&h);
}

static void a_draining_worker_keeps_its_sessions_and_gets_no_others(void **state)
{
    (void)state;
    struct house h;
    build(&h);
    h.fleet.workers[0].state = WORKER_DRAINING;
    for (int i = 0; i < 20; i++) {
        struct eio_target t = target_of(0, EIO_POLLING, "");
        struct route_ask ask = ask_for(&t);
        assert_int_not_equal(decide(&h, &ask).worker->index, 0);
        const char sid[] = {'n', (char)('a' + i), '\0'};
        t = target_of(0, EIO_POLLING, sid);
        assert_int_not_equal(decide(&h, &ask).worker->index, 0);
        t = target_of(0, EIO_POLLING, "sid-a");
        assert_int_equal(decide(&h, &ask).worker->index, 0);
    }
    tear_down(&h);
}

/* ---- nobody ---- */

static void when_nobody_is_up_a_refused_worker_is_tried_and_else_nobody(void **state)
{
    (void)state;
    static const struct {
        const char *sid;
        bool timed_out;
        enum route route;
    } rows[] = {
        {"", false, ROUTE_NEW},      {"", true, ROUTE_NONE},        {"sid-x", false, ROUTE_UNKNOWN},
        {"sid-x", true, ROUTE_NONE}, {"sid-b", false, ROUTE_KNOWN}, {"sid-b", true, ROUTE_KNOWN},
    };
    FOR_EACH (row, rows) {
        struct house h;
        build(&h);
        for (int i = 0; i < WORKERS; i++)
            cool(&h.fleet.workers[i], rows[row_at].timed_out);
        struct eio_target t = target_of(0, EIO_POLLING, rows[row_at].sid);
        struct route_ask ask = ask_for(&t);
        struct route_answer a = decide(&h, &ask);
        assert_int_equal(a.route, rows[row_at].route);
        assert_int_equal(a.worker == NULL, a.route == ROUTE_NONE);
        tear_down(&h);
    }
}

static void the_only_worker_when_tried_already_leaves_nobody(void **state)
{
    (void)state;
    static const char *const sids[] = {"", "sid-a", "sid-x"};
    FOR_EACH (sid, sids) {
        struct house h;
        build(&h);
        h.fleet.count = 1;
        struct eio_target t = target_of(0, EIO_POLLING, sids[sid_at]);
        struct route_ask ask = ask_for(&t);
        ask.not_this = &h.fleet.workers[0];
        struct route_answer a = decide(&h, &ask);
        assert_int_equal(a.route, ROUTE_NONE);
        assert_null(a.worker);
        tear_down(&h);
    }
}

static void routes_have_the_names_of_the_design(void **state)
{
    (void)state;
    static const char *const names[] = {"none", "known", "cookie", "unknown", "new"};
    assert_int_equal(COUNT_OF(names), ROUTES);
    FOR_EACH (name, names) {
        assert_string_equal(route_name((enum route)name_at), names[name_at]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_known_sid_goes_to_its_worker_whatever_the_request),
        cmocka_unit_test(a_known_sid_goes_to_its_worker_whatever_state_that_is_in),
        cmocka_unit_test(a_sid_is_known_under_its_path_only),
        cmocka_unit_test(every_unknown_sid_goes_to_its_rendezvous),
        cmocka_unit_test(deciding_never_teaches_the_map),
        cmocka_unit_test(a_sid_that_is_too_long_is_nobodys),
        cmocka_unit_test(a_session_cookie_leads_to_its_worker_where_it_may),
        cmocka_unit_test(a_cookie_does_not_lead_to_a_worker_that_takes_no_newcomers),
        cmocka_unit_test(only_a_get_with_a_transport_on_a_path_is_a_handshake),
        cmocka_unit_test(a_request_with_a_sid_is_no_handshake),
        cmocka_unit_test(newcomers_are_balanced_as_asked),
        cmocka_unit_test(a_draining_worker_keeps_its_sessions_and_gets_no_others),
        cmocka_unit_test(when_nobody_is_up_a_refused_worker_is_tried_and_else_nobody),
        cmocka_unit_test(the_only_worker_when_tried_already_leaves_nobody),
        cmocka_unit_test(routes_have_the_names_of_the_design),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
