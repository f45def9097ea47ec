#include "../../proxy/core/fleet.h"

#include "unit.h"

static struct worker *one_worker(struct fleet *f)
{
    assert_true(fleet_init(f, 1));
    return &f->workers[0];
}

static void a_new_fleet_is_up_and_knows_nothing_yet(void **state)
{
    (void)state;
    struct fleet f;
    assert_true(fleet_init(&f, 3));
    assert_int_equal(f.count, 3);
    for (uint16_t i = 0; i < 3; i++) {
        const struct worker *w = &f.workers[i];
        assert_int_equal(w->index, i);
        assert_int_equal(w->slot, SIDMAP_SLOT_NONE);
        assert_int_equal(w->weight, 1);
        assert_int_equal(w->state, WORKER_UP);
        assert_false(w->was_up);
        assert_int_equal(fleet_load(w), 0);
        assert_true(fleet_takes_newcomers(w, 0));
    }
    fleet_fini(&f);
    assert_null(f.workers);
    assert_true(fleet_init(&f, 0));
    fleet_fini(&f);
}

static void newcomers_go_to_workers_that_are_up_or_absent_and_not_cooling(void **state)
{
    (void)state;
    static const struct {
        enum worker_state state;
        bool is_cooling;
        uint64_t now_ms;
        bool takes;
    } rows[] = {
        {WORKER_UP, false, 0, true},        {WORKER_UP, true, 4999, false},        {WORKER_UP, true, 5000, true},
        {WORKER_ABSENT, true, 4999, false}, {WORKER_ABSENT, true, 5000, true},     {WORKER_DOWN, false, 9999, false},
        {WORKER_DOWN, true, 9999, false},   {WORKER_DRAINING, false, 9999, false}, {WORKER_DRAINING, true, 9999, false},
    };
    FOR_EACH (row, rows) {
        struct worker w = {
            .state = (uint8_t)rows[row_at].state, .is_cooling = rows[row_at].is_cooling, .cooling_until_ms = 5000};
        assert_int_equal(fleet_takes_newcomers(&w, rows[row_at].now_ms), rows[row_at].takes);
    }
}

static void each_failed_try_doubles_the_cooling_up_to_eight_seconds(void **state)
{
    (void)state;
    struct fleet f;
    struct worker *w = one_worker(&f);
    static const uint32_t periods_ms[] = {1000, 2000, 4000, 8000, 8000, 8000};
    uint64_t now_ms = 100;
    assert_false(fleet_note_refused(w, false, now_ms));
    FOR_EACH (period, periods_ms) {
        uint32_t ms = periods_ms[period_at];
        assert_int_equal(w->backoff_ms, ms);
        assert_false(fleet_takes_newcomers(w, now_ms + ms - 1));
        assert_true(fleet_takes_newcomers(w, now_ms + ms));
        now_ms += ms;
        assert_false(fleet_note_refused(w, false, now_ms));
    }
    fleet_fini(&f);
}

static void one_connect_tries_a_worker_whose_cooling_is_over(void **state)
{
    (void)state;
    struct fleet f;
    struct worker *w = one_worker(&f);
    fleet_note_trying(w, 0); /* does not cool: nothing to reserve */
    assert_true(fleet_takes_newcomers(w, 0));
    assert_false(fleet_note_refused(w, false, 0));
    assert_true(fleet_takes_newcomers(w, 1000));
    fleet_note_trying(w, 1000);
    assert_false(fleet_takes_newcomers(w, 1000));
    assert_false(fleet_takes_newcomers(w, 2999));
    /* its refusal belongs to the period that began with the try */
    assert_false(fleet_note_refused(w, false, 1001));
    assert_int_equal(w->backoff_ms, 2000);
    assert_true(fleet_takes_newcomers(w, 3000));
    fleet_fini(&f);
}

static void failures_while_a_period_runs_do_not_lengthen_it(void **state)
{
    (void)state;
    struct fleet f;
    struct worker *w = one_worker(&f);
    for (uint64_t now_ms = 0; now_ms < 1000; now_ms += 100) {
        fleet_note_trying(w, now_ms); /* known sids and last resorts go there all the same */
        assert_false(fleet_note_refused(w, false, now_ms));
    }
    assert_int_equal(w->backoff_ms, 1000);
    assert_true(fleet_takes_newcomers(w, 1000));
    fleet_fini(&f);
}

static void a_generation_ends_at_the_first_refusal_after_a_connect(void **state)
{
    (void)state;
    static const struct {
        const char *events; /* c connect succeeded, r refused, t timed out */
        bool rises;         /* at the last event */
    } rows[] = {
        {"r", false},  {"t", false},   {"rr", false},  {"cr", true},   {"crr", false},  {"crcr", true}, {"ct", false},
        {"ctr", true}, {"ctt", false}, {"cttr", true}, {"crt", false}, {"crtr", false}, {"tr", false},  {"trcr", true},
    };
    FOR_EACH (row, rows) {
        struct fleet f;
        struct worker *w = one_worker(&f);
        bool rises = false;
        for (const char *e = rows[row_at].events; *e; e++) {
            rises = false;
            if (*e == 'c')
                (void)fleet_note_connected(w);
            else
                rises = fleet_note_refused(w, *e == 't', 0);
        }
        if (rises != rows[row_at].rises)
            print_error("events %s\n", rows[row_at].events);
        assert_int_equal(rises, rows[row_at].rises);
        fleet_fini(&f);
    }
}

static void a_timed_out_connect_is_remembered_as_such_until_the_next_outcome(void **state)
{
    (void)state;
    struct fleet f;
    struct worker *w = one_worker(&f);
    assert_false(fleet_note_refused(w, true, 0));
    assert_true(w->timed_out);
    assert_false(fleet_note_refused(w, false, 1));
    assert_false(w->timed_out);
    assert_false(fleet_note_refused(w, true, 2));
    assert_true(w->timed_out);
    assert_true(fleet_note_connected(w));
    assert_false(w->timed_out);
    fleet_fini(&f);
}

static void a_connect_ends_the_cooling_and_is_news_once(void **state)
{
    (void)state;
    struct fleet f;
    struct worker *w = one_worker(&f);
    assert_true(fleet_note_connected(w)); /* the first one ever */
    assert_false(fleet_note_connected(w));
    assert_true(fleet_note_refused(w, false, 0));
    assert_false(fleet_note_refused(w, false, 1000));
    assert_true(fleet_note_connected(w));
    assert_true(fleet_takes_newcomers(w, 1001));
    assert_false(fleet_note_connected(w));
    /* the doubling begins anew */
    assert_true(fleet_note_refused(w, false, 2000));
    assert_int_equal(w->backoff_ms, 1000);
    /* up before and never refused, but timed out: back is news too */
    assert_true(fleet_note_connected(w));
    assert_false(fleet_note_refused(w, true, 9000));
    assert_true(fleet_note_connected(w));
    fleet_fini(&f);
}

static void a_port_of_a_range_where_nobody_ever_listened_is_absent(void **state)
{
    (void)state;
    static const struct {
        bool is_in_range;
        const char *events;
        enum worker_state state;
    } rows[] = {
        {true, "r", WORKER_ABSENT},  {true, "rr", WORKER_ABSENT}, {true, "rc", WORKER_UP},
        {true, "rcr", WORKER_UP},    {true, "crr", WORKER_UP},    {true, "t", WORKER_UP},
        {true, "tr", WORKER_ABSENT}, {false, "r", WORKER_UP},     {false, "rr", WORKER_UP},
    };
    FOR_EACH (row, rows) {
        struct fleet f;
        struct worker *w = one_worker(&f);
        w->is_in_range = rows[row_at].is_in_range;
        for (const char *e = rows[row_at].events; *e; e++) {
            if (*e == 'c')
                (void)fleet_note_connected(w);
            else
                (void)!fleet_note_refused(w, *e == 't', 0);
        }
        assert_int_equal(w->state, rows[row_at].state);
        fleet_fini(&f);
    }
}

static void connects_do_not_change_what_checks_and_operators_said(void **state)
{
    (void)state;
    static const enum worker_state states[] = {WORKER_DOWN, WORKER_DRAINING};
    FOR_EACH (s, states) {
        struct fleet f;
        struct worker *w = one_worker(&f);
        w->is_in_range = true;
        w->state = (uint8_t)states[s_at];
        assert_false(fleet_note_refused(w, false, 0));
        assert_int_equal(w->state, states[s_at]);
        assert_true(fleet_note_connected(w));
        assert_int_equal(w->state, states[s_at]);
        fleet_fini(&f);
    }
}

static void load_is_sessions_lone_tunnels_and_newcomers(void **state)
{
    (void)state;
    struct worker w = {.sessions = 1, .lone_tunnels = 20, .tunnels = 3000, .exchanges = 40000, .newcomers = 500};
    assert_int_equal(fleet_load(&w), 521);
}

static void states_have_the_names_of_the_design(void **state)
{
    (void)state;
    assert_string_equal(worker_state_name(WORKER_UP), "up");
    assert_string_equal(worker_state_name(WORKER_DOWN), "down");
    assert_string_equal(worker_state_name(WORKER_DRAINING), "draining");
    assert_string_equal(worker_state_name(WORKER_ABSENT), "absent");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_fleet_is_up_and_knows_nothing_yet),
        cmocka_unit_test(newcomers_go_to_workers_that_are_up_or_absent_and_not_cooling),
        cmocka_unit_test(each_failed_try_doubles_the_cooling_up_to_eight_seconds),
        cmocka_unit_test(one_connect_tries_a_worker_whose_cooling_is_over),
        cmocka_unit_test(failures_while_a_period_runs_do_not_lengthen_it),
        cmocka_unit_test(a_generation_ends_at_the_first_refusal_after_a_connect),
        cmocka_unit_test(a_timed_out_connect_is_remembered_as_such_until_the_next_outcome),
        cmocka_unit_test(a_connect_ends_the_cooling_and_is_news_once),
        cmocka_unit_test(a_port_of_a_range_where_nobody_ever_listened_is_absent),
        cmocka_unit_test(connects_do_not_change_what_checks_and_operators_said),
        cmocka_unit_test(load_is_sessions_lone_tunnels_and_newcomers),
        cmocka_unit_test(states_have_the_names_of_the_design),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
