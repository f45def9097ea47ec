#include "../../proxy/core/sidmap.h"

#include "unit.h"

#include <pthread.h>

enum { ENTRIES = 64, WINDOW = 16 };

/* Layout of the region, as another program would read it. */
enum { VERSION_AT = 8, HASH_KEY_AT = 32, BOOT_ID_AT = 48, WORKERS_AT = 128, ENTRIES_AT = 128 + 16 * SIDMAP_SLOTS };

static const uint64_t hash_key[2] = {0x1122334455667788u, 0x99aabbccddeeff00u};
static const uint8_t boot_id[16] = "this boot";
static const uint8_t other_boot_id[16] = "another boot";

/* ---- a region, and its raw words ---- */

static char *zero_region(uint32_t entries)
{
    static const char zeroes[64 * 1024];
    size_t bytes = sidmap_region_bytes(entries);
    assert_true(bytes <= sizeof(zeroes));
    return (char *)edge_copy_span(span_of(zeroes, bytes)).ptr;
}

static struct sidmap fresh_map(uint32_t entries)
{
    struct sidmap m;
    bool fresh = false;
    assert_true(
        sidmap_init(&m, zero_region(entries), sidmap_region_bytes(entries), entries, hash_key, boot_id, &fresh));
    assert_true(fresh);
    return m;
}

static uint64_t *raw_entry(const struct sidmap *m, uint32_t at)
{
    return (uint64_t *)(void *)((char *)m->header + ENTRIES_AT) + 3 * (size_t)at;
}

static uint64_t *raw_worker_state(const struct sidmap *m, uint16_t slot)
{
    return (uint64_t *)(void *)((char *)m->header + WORKERS_AT + 16 * slot + 8);
}

static uint64_t next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    uint64_t x = *seed;
    x = (x ^ (x >> 32)) * 0xd6e8feb86659fd93u;
    return x ^ (x >> 32);
}

/* ---- the usual calls, with what a test does not look at left out ---- */

static enum sidmap_learned learn(struct sidmap *m, uint64_t key, uint16_t slot, uint16_t ttl_s, uint32_t now_s)
{
    struct sidmap_owner old;
    bool old_counted;
    return sidmap_learn(m, key, slot, ttl_s, now_s, &old, &old_counted);
}

static bool is_known(const struct sidmap *m, uint64_t key, uint32_t now_s)
{
    struct sidmap_owner owner;
    return sidmap_find(m, key, now_s, &owner);
}

static uint16_t slot_of(const struct sidmap *m, uint64_t key, uint32_t now_s)
{
    struct sidmap_owner owner;
    return sidmap_find(m, key, now_s, &owner) ? owner.slot : SIDMAP_SLOT_NONE;
}

/* ---- the region ---- */

static void a_region_is_formatted_once_and_continued_after(void **state)
{
    (void)state;
    char *region = zero_region(ENTRIES);
    size_t bytes = sidmap_region_bytes(ENTRIES);
    struct sidmap first, second;
    bool fresh = false;
    assert_true(sidmap_init(&first, region, bytes, ENTRIES, hash_key, boot_id, &fresh));
    assert_true(fresh);
    uint16_t slot = sidmap_slot(&first, 77);
    uint64_t key = sidmap_key(&first, SPAN("/socket.io/"), SPAN("abc"));
    assert_int_equal(learn(&first, key, slot, 45, 100), SIDMAP_NEW);

    static const uint64_t not_used[2] = {1, 2};
    assert_true(sidmap_init(&second, region, bytes, ENTRIES, not_used, boot_id, &fresh));
    assert_false(fresh);
    assert_int_equal(sidmap_slot(&second, 77), slot);
    assert_true(sidmap_key(&second, SPAN("/socket.io/"), SPAN("abc")) == key);
    assert_int_equal(slot_of(&second, key, 100), slot);
}

static void formatting_touches_nothing_but_the_header(void **state)
{
    (void)state;
    char *region = zero_region(ENTRIES);
    struct sidmap m;
    bool fresh;
    memset(region + ENTRIES_AT, 0x5a, sidmap_region_bytes(ENTRIES) - ENTRIES_AT); /* only to see it untouched */
    assert_true(sidmap_init(&m, region, sidmap_region_bytes(ENTRIES), ENTRIES, hash_key, boot_id, &fresh));
    for (size_t i = ENTRIES_AT; i < sidmap_region_bytes(ENTRIES); i++)
        assert_int_equal(region[i], 0x5a);
}

static void a_region_that_is_neither_ours_nor_zero_is_left_alone(void **state)
{
    (void)state;
    static const struct {
        const char *why;
        size_t flip_at; /* a byte to spoil; SIZE_MAX: none */
        uint32_t entries;
        size_t bytes_less;
        const uint8_t *boot_id;
        bool is_zero; /* a region that nobody formatted */
    } rows[] = {
        {"odd magic", 0, ENTRIES, 0, boot_id, false},
        {"odd version", VERSION_AT, ENTRIES, 0, boot_id, false},
        {"odd number of slots", 12, ENTRIES, 0, boot_id, false},
        {"odd size", 16, ENTRIES, 0, boot_id, false},
        {"odd capacity", 24, ENTRIES, 0, boot_id, false},
        {"another capacity", SIZE_MAX, 2 * ENTRIES, 0, boot_id, false},
        {"another boot", SIZE_MAX, ENTRIES, 0, other_boot_id, false},
        {"too small by a byte", SIZE_MAX, ENTRIES, 1, boot_id, false},
        {"zero and too small", SIZE_MAX, ENTRIES, 1, boot_id, true},
        {"zero and no room for a header", SIZE_MAX, ENTRIES, sizeof(uint64_t) * 2000, boot_id, true},
        {"zero and too few entries", SIZE_MAX, ENTRIES / 2, 0, boot_id, true},
        {"zero and no entries", SIZE_MAX, 0, 0, boot_id, true},
        {"zero and no power of two", SIZE_MAX, ENTRIES + 1, 0, boot_id, true},
        {"zero but for the first byte", 0, ENTRIES, 0, boot_id, true},
        {"zero but for the last worker", ENTRIES_AT - 1, ENTRIES, 0, boot_id, true},
    };
    FOR_EACH (row, rows) {
        size_t bytes = sidmap_region_bytes(2 * ENTRIES);
        char *region = zero_region(2 * ENTRIES);
        struct sidmap m;
        bool fresh = false;
        if (!rows[row_at].is_zero)
            assert_true(sidmap_init(&m, region, bytes, ENTRIES, hash_key, boot_id, &fresh));
        if (rows[row_at].flip_at != SIZE_MAX)
            region[rows[row_at].flip_at] ^= 0x40;
        char before[64 * 1024];
        memcpy(before, region, bytes);
        m = (struct sidmap){.header = NULL};
        fresh = false;
        size_t given = sidmap_region_bytes(rows[row_at].entries) - rows[row_at].bytes_less;
        bool taken = sidmap_init(&m, region, given, rows[row_at].entries, hash_key, rows[row_at].boot_id, &fresh);
        if (taken)
            print_error("%s\n", rows[row_at].why);
        assert_false(taken);
        assert_false(fresh);
        assert_null(m.header);
        assert_memory_equal(before, region, bytes);
    }
}

static void the_format_does_not_change(void **state)
{
    (void)state;
    /* a file of an older siolb is read by a newer one: change VERSION together with anything here */
    struct sidmap m = fresh_map(ENTRIES);
    const char *region = (const char *)m.header;
    assert_memory_equal(region, "siolbmap\1\0\0\0\0\4\0\0", 16);
    assert_memory_equal(region + HASH_KEY_AT, hash_key, sizeof(hash_key));
    assert_memory_equal(region + BOOT_ID_AT, boot_id, sizeof(boot_id));
    assert_int_equal(sidmap_region_bytes(ENTRIES), ENTRIES_AT + 24 * ENTRIES);
    uint16_t slot = 0;
    for (uint64_t identity = 1; identity <= 4; identity++)
        slot = sidmap_slot(&m, identity);
    assert_int_equal(slot, 3);
    sidmap_raise_generation(&m, slot);
    uint64_t key = 0xfeed0000000005u;
    assert_int_equal(learn(&m, key, slot, 85, 100), SIDMAP_NEW);
    const uint64_t *words = raw_entry(&m, 5);
    assert_true(words[0] == (key ^ 0xda3778a782233137u)); /* mix(value) */
    assert_true(words[1] == 0x8000000003000001u);
    assert_true(words[2] == 0x00010055000000b9u);
}

/* ---- the workers ---- */

static void a_worker_keeps_its_slot_and_shares_it_with_nobody(void **state)
{
    (void)state;
    struct sidmap m = fresh_map(ENTRIES);
    bool taken[SIDMAP_SLOTS] = {false};
    for (uint64_t identity = 0; identity < SIDMAP_SLOTS; identity++) {
        uint16_t slot = sidmap_slot(&m, identity * 1000);
        assert_true(slot < SIDMAP_SLOTS);
        assert_false(taken[slot]);
        taken[slot] = true;
        assert_int_equal(sidmap_slot(&m, identity * 1000), slot);
    }
    assert_int_equal(sidmap_slot(&m, 5), SIDMAP_SLOT_NONE); /* full */
    assert_int_equal(sidmap_slot(&m, 7000), 7);
}

static void a_raised_generation_makes_its_workers_sids_unknown_at_once(void **state)
{
    (void)state;
    struct sidmap m = fresh_map(ENTRIES);
    uint16_t restarted = sidmap_slot(&m, 1), other = sidmap_slot(&m, 2);
    assert_int_equal(learn(&m, 10, restarted, 45, 100), SIDMAP_NEW);
    assert_int_equal(learn(&m, 11, other, 45, 100), SIDMAP_NEW);
    uint32_t before = sidmap_generation(&m, restarted);
    sidmap_raise_generation(&m, restarted);
    assert_int_equal(sidmap_generation(&m, restarted), before + 1);
    assert_false(is_known(&m, 10, 100));
    assert_true(is_known(&m, 11, 100));
    sidmap_touch(&m, 10, 100);
    assert_false(is_known(&m, 10, 100));
    assert_int_equal(learn(&m, 10, restarted, 45, 100), SIDMAP_NEW); /* a new session of the new process */
    assert_true(is_known(&m, 10, 100));
}

static void a_generation_has_24_bits_and_leaves_its_neighbours_alone(void **state)
{
    (void)state;
    struct sidmap m = fresh_map(ENTRIES);
    uint16_t slot = sidmap_slot(&m, 1);
    *raw_worker_state(&m, slot) = 0x0000010203ffffffu; /* draining, weight 0x0203, the last generation */
    assert_int_equal(sidmap_generation(&m, slot), 0xffffff);
    sidmap_raise_generation(&m, slot);
    assert_int_equal(sidmap_generation(&m, slot), 0);
    assert_true(*raw_worker_state(&m, slot) == 0x0000010203000000u);
}

/* ---- the entries ---- */

static void a_key_is_of_path_and_sid_together(void **state)
{
    (void)state;
    struct sidmap m = fresh_map(ENTRIES);
    uint64_t key = sidmap_key(&m, edge_copy("/socket.io/"), edge_copy("abc"));
    assert_true(key != 0);
    assert_true(key == sidmap_key(&m, SPAN("/socket.io/"), SPAN("abc")));
    assert_true(key != sidmap_key(&m, SPAN("/chat/"), SPAN("abc")));
    assert_true(key != sidmap_key(&m, SPAN("/socket.io/a"), SPAN("bc")));
    assert_true(key != sidmap_key(&m, SPAN("/socket.io/"), SPAN("abd")));
}

static void what_was_learned_is_found_until_its_time_is_over(void **state)
{
    (void)state;
    static const struct {
        uint16_t ttl_s;
        uint32_t learned_s, asked_s;
        bool is_known;
    } rows[] = {
        {45, 100, 100, true},
        {45, 100, 145, true},
        {45, 100, 146, false},
        {0, 100, 100, true},
        {0, 100, 101, false},
        {SIDMAP_TTL_S_MAX, 0, SIDMAP_TTL_S_MAX, true},
        {SIDMAP_TTL_S_MAX, 0, SIDMAP_TTL_S_MAX + 1, false},
        {45, UINT32_MAX - 1, UINT32_MAX, true},
    };
    FOR_EACH (row, rows) {
        struct sidmap m = fresh_map(ENTRIES);
        uint16_t slot = sidmap_slot(&m, 1);
        assert_false(is_known(&m, 10, rows[row_at].learned_s));
        assert_int_equal(learn(&m, 10, slot, rows[row_at].ttl_s, rows[row_at].learned_s), SIDMAP_NEW);
        assert_int_equal(is_known(&m, 10, rows[row_at].asked_s), rows[row_at].is_known);
        assert_false(is_known(&m, 10 + ENTRIES, rows[row_at].learned_s)); /* another key, the same place */
    }
}

static void an_owner_is_told_in_full(void **state)
{
    (void)state;
    struct sidmap m = fresh_map(ENTRIES);
    assert_int_equal(sidmap_slot(&m, 1), 0);
    uint16_t slot = sidmap_slot(&m, 2);
    sidmap_raise_generation(&m, slot);
    assert_int_equal(learn(&m, 10, slot, 55, 100), SIDMAP_NEW);
    struct sidmap_owner owner;
    assert_true(sidmap_find(&m, 10, 100, &owner));
    assert_int_equal(owner.slot, slot);
    assert_int_equal(owner.generation, 1);
    assert_int_equal(owner.ttl_s, 55);
    assert_true(owner.live);
}

static void a_touch_keeps_an_entry_young_and_does_not_raise_the_dead(void **state)
{
    (void)state;
    struct sidmap m = fresh_map(ENTRIES);
    uint16_t slot = sidmap_slot(&m, 1);
    sidmap_touch(&m, 10, 100);
    assert_false(is_known(&m, 10, 100));
    assert_int_equal(learn(&m, 10, slot, 45, 100), SIDMAP_NEW);
    sidmap_touch(&m, 10, 145);
    assert_true(is_known(&m, 10, 190));
    assert_false(is_known(&m, 10, 191));
    sidmap_touch(&m, 10, 191);
    assert_false(is_known(&m, 10, 191));
}

static void a_touch_keeps_ttl_and_live_as_they_are(void **state)
{
    (void)state;
    struct sidmap m = fresh_map(ENTRIES);
    uint16_t slot = sidmap_slot(&m, 1);
    struct sidmap_owner owner;
    assert_int_equal(learn(&m, 10, slot, 45, 100), SIDMAP_NEW);
    sidmap_touch(&m, 10, 110);
    assert_true(sidmap_find(&m, 10, 110, &owner));
    assert_int_equal(owner.ttl_s, 45);
    assert_true(owner.live);
    assert_true(sidmap_set_live(&m, 10, 110, false));
    sidmap_touch(&m, 10, 120);
    assert_true(sidmap_find(&m, 10, 165, &owner));
    assert_int_equal(owner.ttl_s, 45);
    assert_false(owner.live);
}

static void live_changes_once(void **state)
{
    (void)state;
    struct sidmap m = fresh_map(ENTRIES);
    uint16_t slot = sidmap_slot(&m, 1);
    assert_false(sidmap_set_live(&m, 10, 100, false));
    assert_int_equal(learn(&m, 10, slot, 45, 100), SIDMAP_NEW);
    assert_false(sidmap_set_live(&m, 10, 100, true));
    assert_true(sidmap_set_live(&m, 10, 100, false));
    assert_false(sidmap_set_live(&m, 10, 100, false));
    assert_true(is_known(&m, 10, 145));
    assert_true(sidmap_set_live(&m, 10, 145, true));
    assert_false(sidmap_set_live(&m, 10, 146, false)); /* expired: nothing to find */
    struct sidmap_owner owner;
    assert_true(sidmap_forget(&m, 10, &owner));
    assert_true(owner.live); /* expired and still to be counted down */
}

static void learning_tells_what_it_met(void **state)
{
    (void)state;
    static const struct {
        const char *before; /* l learned, n not live, x expired, g generation raised */
        bool by_another;    /* the worker that learns now is not the one before */
        enum sidmap_learned what;
        bool old_counted;
    } rows[] = {
        {"", false, SIDMAP_NEW, false},     {"l", false, SIDMAP_RENEWED, true},   {"ln", false, SIDMAP_RENEWED, false},
        {"l", true, SIDMAP_REPLACED, true}, {"ln", true, SIDMAP_REPLACED, false}, {"lx", false, SIDMAP_NEW, true},
        {"lx", true, SIDMAP_NEW, true},     {"lnx", true, SIDMAP_NEW, false},     {"lg", false, SIDMAP_NEW, false},
        {"lg", true, SIDMAP_NEW, false},    {"lgx", true, SIDMAP_NEW, false},
    };
    FOR_EACH (row, rows) {
        struct sidmap m = fresh_map(ENTRIES);
        uint16_t first = sidmap_slot(&m, 1), second = sidmap_slot(&m, 2);
        uint32_t now_s = 100;
        for (const char *b = rows[row_at].before; *b; b++) {
            if (*b == 'l')
                assert_int_equal(learn(&m, 10, first, 45, now_s), SIDMAP_NEW);
            else if (*b == 'n')
                assert_true(sidmap_set_live(&m, 10, now_s, false));
            else if (*b == 'x')
                now_s += 46;
            else
                sidmap_raise_generation(&m, first);
        }
        uint16_t slot = rows[row_at].by_another ? second : first;
        struct sidmap_owner old, now;
        bool old_counted;
        assert_int_equal(sidmap_learn(&m, 10, slot, 60, now_s, &old, &old_counted), rows[row_at].what);
        assert_int_equal(old_counted, rows[row_at].old_counted);
        if (old_counted)
            assert_int_equal(old.slot, first);
        assert_true(sidmap_find(&m, 10, now_s, &now));
        assert_int_equal(now.slot, slot);
        assert_int_equal(now.ttl_s, 60);
        assert_true(now.live);
        /* and nothing else is left of the old one */
        assert_true(sidmap_forget(&m, 10, &old));
        assert_false(sidmap_forget(&m, 10, &old));
    }
}

/* Keys that all want the same place. */
static uint64_t rival(uint32_t home, uint64_t i)
{
    return (i + 1) << 32 | home;
}

static void a_full_window_forgets_what_expires_first_and_nothing_else(void **state)
{
    (void)state;
    static const uint32_t homes[] = {0, 20, ENTRIES - 1}; /* the last one wraps around */
    FOR_EACH (home, homes) {
        for (uint32_t victim = 0; victim < WINDOW; victim++) {
            struct sidmap m = fresh_map(ENTRIES);
            uint16_t slot = sidmap_slot(&m, 1), late = sidmap_slot(&m, 2);
            for (uint32_t i = 0; i < WINDOW; i++) {
                uint16_t ttl_s = (uint16_t)(i == victim ? 50 : 60 + i);
                assert_int_equal(learn(&m, rival(homes[home_at], i), slot, ttl_s, 100), SIDMAP_NEW);
            }
            struct sidmap_owner old;
            bool old_counted;
            uint64_t key = rival(homes[home_at], WINDOW);
            assert_int_equal(sidmap_learn(&m, key, late, 10, 100, &old, &old_counted), SIDMAP_EVICTED);
            assert_true(old_counted);
            assert_int_equal(old.slot, slot);
            assert_int_equal(old.ttl_s, 50);
            assert_int_equal(slot_of(&m, key, 100), late);
            for (uint32_t i = 0; i < WINDOW; i++)
                assert_int_equal(is_known(&m, rival(homes[home_at], i), 100), i != victim);
        }
    }
}

static void a_dead_entry_goes_before_a_living_one_and_an_own_one_before_both(void **state)
{
    (void)state;
    for (uint32_t dead = 0; dead < WINDOW; dead++) {
        for (int by_generation = 0; by_generation < 2; by_generation++) {
            struct sidmap m = fresh_map(ENTRIES);
            uint16_t slot = sidmap_slot(&m, 1), dying = sidmap_slot(&m, 2);
            for (uint32_t i = 0; i < WINDOW; i++)
                assert_int_equal(learn(&m, rival(7, i), i == dead ? dying : slot, i == dead ? 20 : 10, 100),
                                 SIDMAP_NEW);
            uint32_t now_s = 100;
            if (by_generation) {
                sidmap_raise_generation(&m, dying);
            } else {
                for (uint32_t i = 0; i < WINDOW; i++)
                    if (i != dead)
                        assert_int_equal(learn(&m, rival(7, i), slot, 60, 100), SIDMAP_RENEWED);
                now_s = 121;
            }
            assert_int_equal(learn(&m, rival(7, (dead + 1) % WINDOW), slot, 60, now_s), SIDMAP_RENEWED);
            struct sidmap_owner old;
            bool old_counted;
            assert_int_equal(sidmap_learn(&m, rival(7, WINDOW), slot, 60, now_s, &old, &old_counted), SIDMAP_NEW);
            assert_int_equal(old_counted, !by_generation); /* those of an older generation count no more */
            assert_int_equal(old.slot, dying);
            for (uint32_t i = 0; i <= WINDOW; i++)
                assert_int_equal(is_known(&m, rival(7, i), by_generation ? 110 : now_s), i != dead);
        }
    }
}

static void forgetting_one_hides_no_other(void **state)
{
    (void)state;
    for (uint32_t out = 0; out < WINDOW; out++) {
        struct sidmap m = fresh_map(ENTRIES);
        uint16_t slot = sidmap_slot(&m, 1);
        for (uint32_t i = 0; i < WINDOW; i++)
            assert_int_equal(learn(&m, rival(60, i), slot, 45, 100), SIDMAP_NEW);
        struct sidmap_owner old;
        assert_true(sidmap_forget(&m, rival(60, out), &old));
        assert_int_equal(old.slot, slot);
        assert_true(old.live);
        assert_false(sidmap_forget(&m, rival(60, out), &old));
        for (uint32_t i = 0; i < WINDOW; i++)
            assert_int_equal(is_known(&m, rival(60, i), 100), i != out);
        /* a renewal finds its own entry behind the hole, and the hole is used again */
        assert_int_equal(learn(&m, rival(60, (out + 1) % WINDOW), slot, 45, 100), SIDMAP_RENEWED);
        assert_int_equal(learn(&m, rival(60, WINDOW), slot, 45, 100), SIDMAP_NEW);
    }
}

static void forgetting_tells_whether_the_session_still_counted(void **state)
{
    (void)state;
    struct sidmap m = fresh_map(ENTRIES);
    uint16_t slot = sidmap_slot(&m, 1);
    struct sidmap_owner old;
    assert_int_equal(learn(&m, 10, slot, 45, 100), SIDMAP_NEW);
    assert_true(sidmap_set_live(&m, 10, 100, false));
    assert_true(sidmap_forget(&m, 10, &old));
    assert_false(old.live);
    assert_int_equal(learn(&m, 10, slot, 45, 100), SIDMAP_NEW);
    sidmap_raise_generation(&m, slot);
    assert_true(sidmap_forget(&m, 10, &old)); /* it is gone all the same */
    assert_false(old.live);
    assert_int_equal(old.generation, 0);
}

struct gone {
    unsigned count, live;
};

static void on_gone(void *arg, const struct sidmap_owner *owner)
{
    struct gone *g = arg;
    g->count++;
    g->live += owner->live;
}

static void a_sweep_forgets_the_dead_and_tells_of_each(void **state)
{
    (void)state;
    struct sidmap m = fresh_map(ENTRIES);
    uint16_t slot = sidmap_slot(&m, 1), restarted = sidmap_slot(&m, 2);
    assert_int_equal(learn(&m, 10, slot, 10, 100), SIDMAP_NEW);
    assert_int_equal(learn(&m, 20, slot, 10, 100), SIDMAP_NEW);
    assert_true(sidmap_set_live(&m, 20, 100, false));
    assert_int_equal(learn(&m, 30, slot, 60, 100), SIDMAP_NEW);
    assert_int_equal(learn(&m, 40, restarted, 60, 100), SIDMAP_NEW);
    sidmap_raise_generation(&m, restarted);
    struct gone g = {0, 0};
    uint32_t cursor = 5;
    sidmap_sweep(&m, &cursor, 10, 111, on_gone, &g); /* places 5 .. 14 */
    assert_int_equal(cursor, 15);
    assert_int_equal(g.count, 1);
    assert_int_equal(g.live, 1);
    sidmap_sweep(&m, &cursor, UINT32_MAX, 111, on_gone, &g); /* all, once */
    assert_int_equal(cursor, 15);
    assert_int_equal(g.count, 3);
    assert_int_equal(g.live, 1);
    assert_true(is_known(&m, 30, 111));
    struct sidmap_owner old;
    assert_false(sidmap_forget(&m, 10, &old));
    assert_false(sidmap_forget(&m, 20, &old));
    assert_false(sidmap_forget(&m, 40, &old));
    cursor = UINT32_MAX; /* from anywhere: an odd cursor reads nothing outside */
    sidmap_sweep(&m, &cursor, 40, 200, on_gone, &g);
    assert_int_equal(cursor, 39);
    assert_int_equal(g.count, 4);
}

/* ---- what a crash, another writer or a foreign hand left ---- */

static void words_of_different_writers_never_name_another_worker(void **state)
{
    (void)state;
    /* three contents of one place: free, one sid, another sid; then every mixture of their words */
    struct sidmap m = fresh_map(ENTRIES);
    uint16_t slots[3] = {SIDMAP_SLOT_NONE, sidmap_slot(&m, 1), sidmap_slot(&m, 2)};
    const uint64_t keys[3] = {1, rival(5, 1), rival(5, 2)};
    uint64_t words[3][3] = {{0}};
    for (int i = 1; i < 3; i++) {
        struct sidmap_owner old;
        assert_int_equal(learn(&m, keys[i], slots[i], (uint16_t)(40 + i), 100), SIDMAP_NEW);
        memcpy(words[i], raw_entry(&m, 5), sizeof(words[i]));
        assert_true(sidmap_forget(&m, keys[i], &old));
    }
    for (int mixture = 0; mixture < 27; mixture++) {
        int from[3] = {mixture % 3, mixture / 3 % 3, mixture / 9};
        for (int w = 0; w < 3; w++)
            raw_entry(&m, 5)[w] = words[from[w]][w];
        for (int i = 1; i < 3; i++) {
            struct sidmap_owner owner;
            bool whole = from[0] == i && from[1] == i;
            bool found = sidmap_find(&m, keys[i], 100, &owner);
            assert_int_equal(found, whole && from[2] != 0); /* without its life it has expired */
            if (found)
                assert_int_equal(owner.slot, slots[i]);
        }
    }
}

static void a_half_cleared_place_counts_for_nobody(void **state)
{
    (void)state;
    struct sidmap m = fresh_map(ENTRIES);
    uint16_t slot = sidmap_slot(&m, 1);
    assert_int_equal(learn(&m, 5, slot, 45, 100), SIDMAP_NEW);
    raw_entry(&m, 5)[1] = 0; /* the writer died between two stores of forgetting */
    assert_false(is_known(&m, 5, 100));
    struct gone g = {0, 0};
    uint32_t cursor = 0;
    sidmap_sweep(&m, &cursor, ENTRIES, 200, on_gone, &g);
    assert_int_equal(g.count, 0);
    struct sidmap_owner old;
    bool old_counted;
    assert_int_equal(sidmap_learn(&m, 5, slot, 45, 100, &old, &old_counted), SIDMAP_NEW);
    assert_false(old_counted);
    assert_int_equal(slot_of(&m, 5, 100), slot);
}

static void a_region_of_noise_names_no_worker_and_no_place_outside(void **state)
{
    (void)state;
    struct sidmap m = fresh_map(1024);
    uint16_t slot = sidmap_slot(&m, 1);
    uint64_t seed = 4711;
    for (uint32_t i = 0; i < 3 * 1024; i++)
        raw_entry(&m, 0)[i] = next_random(&seed);
    for (uint32_t i = 0; i < 20000; i++)
        assert_false(is_known(&m, next_random(&seed), 100));
    for (uint32_t i = 0; i < 1024; i++) {
        uint64_t key = next_random(&seed);
        struct sidmap_owner old;
        bool old_counted;
        (void)!sidmap_learn(&m, key, slot, 45, 100, &old, &old_counted);
        assert_true(old.slot < SIDMAP_SLOTS);
        assert_int_equal(slot_of(&m, key, 100), slot);
        sidmap_touch(&m, next_random(&seed), 100);
    }
    struct gone g = {0, 0};
    uint32_t cursor = 0;
    sidmap_sweep(&m, &cursor, 1024, UINT32_MAX, on_gone, &g);
    struct gone again = {0, 0};
    sidmap_sweep(&m, &cursor, 1024, 146, on_gone, &again);
    assert_true(g.count + again.count <= 1024);
}

/* ---- two writers at once ---- */

enum { RACE_KEYS = 200, RACE_SLOTS = 7, RACE_STEPS = 60000 };

struct racer {
    struct sidmap m;
    uint64_t seed;
    unsigned found, wrong;
};

/* Keys crowd together, so that both threads write the same places all the time; each key has one owner for ever. */
static uint64_t race_key(uint64_t i)
{
    return (i + 1) * 0x9e3779b97f4a7c15u << 8 | i % 24;
}

static void race_find(struct racer *r, uint64_t i)
{
    struct sidmap_owner owner;
    if (!sidmap_find(&r->m, race_key(i), 100, &owner))
        return;
    r->found++;
    r->wrong += owner.slot != i % RACE_SLOTS;
}

static void *race(void *arg)
{
    struct racer *r = arg;
    struct sidmap_owner old;
    struct gone g = {0, 0};
    bool old_counted;
    uint32_t cursor = 0;
    for (int step = 0; step < RACE_STEPS; step++) {
        uint64_t random = next_random(&r->seed);
        uint64_t i = (random >> 8) % RACE_KEYS;
        uint16_t slot = (uint16_t)(i % RACE_SLOTS);
        switch (random % 16) {
        case 0:
            sidmap_touch(&r->m, race_key(i), 100);
            break;
        case 1:
            (void)sidmap_forget(&r->m, race_key(i), &old);
            break;
        case 2:
            (void)sidmap_set_live(&r->m, race_key(i), 100, random >> 63);
            break;
        case 3:
            sidmap_sweep(&r->m, &cursor, 8, 100, on_gone, &g);
            break;
        case 4:
            if (random >> 58 == 0)
                sidmap_raise_generation(&r->m, slot);
            break;
        case 5:
        case 6:
        case 7:
        case 8:
            (void)!sidmap_learn(&r->m, race_key(i), slot, (uint16_t)(random >> 48), 100, &old, &old_counted);
            break;
        default:
            race_find(r, i);
        }
    }
    return NULL;
}

static void two_threads_on_one_region_never_see_a_wrong_owner(void **state)
{
    (void)state;
    struct sidmap m = fresh_map(ENTRIES);
    for (uint64_t identity = 1; identity <= RACE_SLOTS; identity++)
        assert_int_equal(sidmap_slot(&m, identity), identity - 1);
    struct racer racers[2] = {{.m = m, .seed = 1}, {.m = m, .seed = 2}};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, race, &racers[1]), 0);
    race(&racers[0]);
    assert_int_equal(pthread_join(thread, NULL), 0);
    FOR_EACH (r, racers) {
        assert_int_equal(racers[r_at].wrong, 0);
        assert_true(racers[r_at].found > RACE_STEPS / 100); /* else it proved nothing */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_region_is_formatted_once_and_continued_after),
        cmocka_unit_test(formatting_touches_nothing_but_the_header),
        cmocka_unit_test(a_region_that_is_neither_ours_nor_zero_is_left_alone),
        cmocka_unit_test(the_format_does_not_change),
        cmocka_unit_test(a_worker_keeps_its_slot_and_shares_it_with_nobody),
        cmocka_unit_test(a_raised_generation_makes_its_workers_sids_unknown_at_once),
        cmocka_unit_test(a_generation_has_24_bits_and_leaves_its_neighbours_alone),
        cmocka_unit_test(a_key_is_of_path_and_sid_together),
        cmocka_unit_test(what_was_learned_is_found_until_its_time_is_over),
        cmocka_unit_test(an_owner_is_told_in_full),
        cmocka_unit_test(a_touch_keeps_an_entry_young_and_does_not_raise_the_dead),
        cmocka_unit_test(a_touch_keeps_ttl_and_live_as_they_are),
        cmocka_unit_test(live_changes_once),
        cmocka_unit_test(learning_tells_what_it_met),
        cmocka_unit_test(a_full_window_forgets_what_expires_first_and_nothing_else),
        cmocka_unit_test(a_dead_entry_goes_before_a_living_one_and_an_own_one_before_both),
        cmocka_unit_test(forgetting_one_hides_no_other),
        cmocka_unit_test(forgetting_tells_whether_the_session_still_counted),
        cmocka_unit_test(a_sweep_forgets_the_dead_and_tells_of_each),
        cmocka_unit_test(words_of_different_writers_never_name_another_worker),
        cmocka_unit_test(a_half_cleared_place_counts_for_nobody),
        cmocka_unit_test(a_region_of_noise_names_no_worker_and_no_place_outside),
        cmocka_unit_test(two_threads_on_one_region_never_see_a_wrong_owner),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
