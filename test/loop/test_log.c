#include "../../proxy/log.h"

#include "loop.h"

#include <signal.h>
#include <sys/resource.h>

/* A log in a file of its own, and what is in it. */
struct scene {
    char file[64];
    struct log log;
    char text[64 * 1024];
};

static int scene_begin(void **state)
{
    struct scene *s = calloc(1, sizeof(*s));
    assert_non_null(s);
    snprintf(s->file, sizeof(s->file), "/tmp/test_log.XXXXXX");
    int fd = mkstemp(s->file);
    assert_true(fd >= 0);
    close(fd);
    assert_true(log_init(&s->log, s->file, LOG_INFO));
    *state = s;
    return 0;
}

static int scene_end(void **state)
{
    struct scene *s = *state;
    log_fini(&s->log);
    unlink(s->file);
    free(s);
    return 0;
}

static const char *text_of(struct scene *s, const char *file)
{
    FILE *f = fopen(file, "r");
    assert_non_null(f);
    s->text[fread(s->text, 1, sizeof(s->text) - 1, f)] = '\0';
    fclose(f);
    return s->text;
}

/* The line without its time, which is checked for its form. */
static const char *without_time(const char *line)
{
    static const char form[] = "dddd-dd-ddTdd:dd:dd.dddZ ";
    for (size_t i = 0; i < sizeof(form) - 1; i++) {
        bool fits = form[i] == 'd' ? line[i] >= '0' && line[i] <= '9' : line[i] == form[i];
        if (!fits)
            fail_msg("no time at the start of: %s", line);
    }
    return line + sizeof(form) - 1;
}

static void a_line_is_time_level_event_and_pairs(void **state)
{
    struct scene *s = *state;
    log_line(&s->log, LOG_WARN, "worker refused", "worker=%s n=%d", "127.0.0.1:3001", 7);
    assert_string_equal(without_time(text_of(s, s->file)), "warn worker refused worker=127.0.0.1:3001 n=7\n");
}

static void a_level_lets_through_what_is_as_urgent_or_more(void **state)
{
    static const char *const name[] = {"error", "warn", "info", "debug"};
    struct scene *s = *state;
    for (int level = LOG_ERROR; level <= LOG_DEBUG; level++) {
        s->log.level = level;
        assert_int_equal(ftruncate(s->log.fd, 0), 0);
        for (int l = LOG_ERROR; l <= LOG_DEBUG; l++)
            log_line(&s->log, (enum log_level)l, "event", "at=%d", l);
        const char *text = text_of(s, s->file);
        for (int l = LOG_ERROR; l <= LOG_DEBUG; l++)
            assert_int_equal(strstr(text, name[l]) != NULL, l <= level);
    }
}

static void what_was_asked_for_comes_at_every_level(void **state)
{
    struct scene *s = *state;
    s->log.level = LOG_ERROR;
    log_always(&s->log, "metrics", "clients=%d", 3);
    assert_string_equal(without_time(text_of(s, s->file)), "info metrics clients=3\n");
    assert_int_equal(ftruncate(s->log.fd, 0), 0);
    log_access(&s->log, "{\"status\":200}");
    assert_string_equal(text_of(s, s->file), "{\"status\":200}\n");
}

/* One write a line, so a line that is cut still ends where the next begins. */
static void a_line_that_is_too_long_is_cut_and_ended(void **state)
{
    struct scene *s = *state;
    for (size_t bytes = LOG_LINE_BYTES - 60; bytes < LOG_LINE_BYTES + 60; bytes++) {
        char *value = malloc(bytes + 1);
        assert_non_null(value);
        memset(value, 'v', bytes);
        value[bytes] = '\0';
        for (int how = 0; how < 3; how++) {
            assert_int_equal(ftruncate(s->log.fd, 0), 0);
            if (how == 0)
                log_line(&s->log, LOG_INFO, "event", "%s", value);
            else if (how == 1)
                log_line(&s->log, LOG_INFO, value, "n=%d", 1);
            else
                log_access(&s->log, value);
            log_access(&s->log, "next");
            const char *text = text_of(s, s->file);
            const char *end = strchr(text, '\n');
            assert_non_null(end);
            assert_true(end - text < LOG_LINE_BYTES);
            assert_string_equal(end, "\nnext\n");
        }
        free(value);
    }
}

static void a_log_that_was_moved_is_opened_anew(void **state)
{
    struct scene *s = *state;
    char moved[80];
    snprintf(moved, sizeof(moved), "%s.1", s->file);
    log_access(&s->log, "before");
    assert_int_equal(rename(s->file, moved), 0);
    log_access(&s->log, "still there");
    assert_true(log_reopen(&s->log));
    log_access(&s->log, "after");
    assert_string_equal(text_of(s, moved), "before\nstill there\n");
    assert_string_equal(text_of(s, s->file), "after\n");
    unlink(moved);
}

static void a_log_that_cannot_be_opened_anew_stays_as_it_is(void **state)
{
    struct scene *s = *state;
    s->log.file = "/tmp/no/such/folder/log";
    assert_false(log_reopen(&s->log));
    log_access(&s->log, "goes on");
    assert_string_equal(text_of(s, s->file), "goes on\n");
}

static void a_log_that_cannot_be_opened_goes_to_stderr(void **state)
{
    struct log log;
    (void)state;
    assert_false(log_init(&log, "/tmp/no/such/folder/log", LOG_INFO));
    assert_int_equal(errno, ENOENT);
    assert_int_equal(log.fd, STDERR_FILENO);
    log_fini(&log);
    assert_true(log_init(&log, "", LOG_INFO));
    assert_int_equal(log.fd, STDERR_FILENO);
    assert_true(log_reopen(&log)); /* nothing to open */
    log_fini(&log);
    assert_int_not_equal(fcntl(STDERR_FILENO, F_GETFD), -1);
}

static void lines_are_appended_by_several_writers(void **state)
{
    struct scene *s = *state;
    struct log other;
    assert_true(log_init(&other, s->file, LOG_INFO));
    log_access(&s->log, "one");
    log_access(&other, "two");
    log_access(&s->log, "three");
    log_fini(&other);
    assert_string_equal(text_of(s, s->file), "one\ntwo\nthree\n");
}

static void what_came_from_outside_cannot_forge_a_line_or_a_pair(void **state)
{
    static const struct {
        struct span bytes;
        const char *key_value, *json;
    } rows[] = {
        {{"plain/path", 10}, "plain/path", "plain/path"},
        {{"", 0}, "-", ""},
        {{"a b", 3}, "a\\x20b", "a b"},
        {{"a\nb", 3}, "a\\x0ab", "a\\u000ab"},
        {{"a\r\n", 3}, "a\\x0d\\x0a", "a\\u000d\\u000a"},
        {{"\"q\"", 3}, "\\x22q\\x22", "\\u0022q\\u0022"},
        {{"a\\b", 3}, "a\\x5cb", "a\\u005cb"},
        {{"\x1b[2J", 4}, "\\x1b[2J", "\\u001b[2J"},
        {{"a\0b", 3}, "a\\x00b", "a\\u0000b"},
        {{"\x7f\x80\xff", 3}, "\\x7f\\x80\\xff", "\\u007f\\u0080\\u00ff"},
    };
    (void)state;
    FOR_EACH (row, rows) {
        char out[64];
        struct span bytes = edge_copy_span(rows[row_at].bytes);
        assert_string_equal(log_value(bytes, out, sizeof(out)), rows[row_at].key_value);
        assert_string_equal(log_json_value(bytes, out, sizeof(out)), rows[row_at].json);
    }
}

static void a_value_that_does_not_fit_is_cut_with_dots_and_between_escapes(void **state)
{
    (void)state;
    for (size_t size = 8; size < 40; size++) {
        char *out = malloc(size); /* AddressSanitizer watches its end */
        assert_non_null(out);
        log_value(SPAN("abc\n\n\n\ndefghijklmnopqrstuvwxyz"), out, size);
        size_t len = strlen(out);
        assert_true(len < size);
        if (len < sizeof("abc\\x0a\\x0a\\x0a\\x0adefghijklmnopqrstuvwxyz") - 1)
            assert_string_equal(out + len - 3, "...");
        const char *escape = strrchr(out, '\\');
        if (escape)
            assert_memory_equal(escape, "\\x0a", 4);
        free(out);
    }
}

static void a_pipe_that_nobody_reads_loses_lines_and_stops_nothing(void **state)
{
    static char all[1 << 20];
    struct scene *s = *state;
    int ends[2], before = s->log.fd;
    assert_int_equal(pipe(ends), 0);
    s->log.fd = ends[1];
    s->log.may_block = true;
    for (int i = 0; i < 5000; i++) /* far more than a pipe holds */
        log_line(&s->log, LOG_WARN, "line", "n=%d text=%0100d", i, 0);
    uint64_t lost = s->log.lost;
    assert_in_range(lost, 1, 4999);
    size_t got = (size_t)read(ends[0], all, sizeof(all) - 1);
    log_line(&s->log, LOG_WARN, "after", "n=1");
    got += (size_t)read(ends[0], all + got, sizeof(all) - 1 - got);
    all[got] = '\0';
    char said[64];
    snprintf(said, sizeof(said), "warn log lost lines=%llu ", (unsigned long long)lost);
    assert_non_null(strstr(all, " warn after n=1\n"));
    assert_non_null(strstr(all, said));
    assert_int_equal(s->log.lost, 0);
    s->log.fd = before;
    close(ends[0]);
    close(ends[1]);
}

/* RLIMIT_FSIZE stands for a disk that is full in the middle of a line. */
static void a_line_that_went_in_part_is_ended_before_the_next_one_and_counted(void **state)
{
    struct scene *s = *state;
    struct rlimit before, full = {.rlim_cur = 20, .rlim_max = RLIM_INFINITY};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    full.rlim_max = before.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &full), 0);
    log_line(&s->log, LOG_WARN, "first", "n=1");
    log_line(&s->log, LOG_WARN, "second", "n=2");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    log_line(&s->log, LOG_WARN, "third", "n=3");
    log_line(&s->log, LOG_WARN, "fourth", "n=4");
    const char *text = text_of(s, s->file);
    assert_null(strstr(text, "first"));
    assert_null(strstr(text, "second"));
    assert_int_equal(text[20], '\n'); /* what there was room for */
    assert_non_null(strstr(text + 21, "Z warn third n=3\n"));
    assert_non_null(strstr(text + 21, " warn log lost lines=2 "));
    assert_non_null(strstr(text + 21, "Z warn fourth n=4\n"));
    assert_null(strstr(text, "\n\n"));
}

static void whether_a_log_may_block_is_seen_when_it_is_opened(void **state)
{
    struct scene *s = *state;
    int ends[2], before = dup(STDERR_FILENO);
    struct log piped;
    assert_false(s->log.may_block); /* a file */
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
    bool is_open = log_init(&piped, "", LOG_INFO);
    assert_int_equal(dup2(before, STDERR_FILENO), STDERR_FILENO);
    assert_true(is_open);
    assert_true(piped.may_block);
    close(before);
    close(ends[0]);
    close(ends[1]);
}

int main(void)
{
#define SCENE_TEST(f) cmocka_unit_test_setup_teardown(f, scene_begin, scene_end)
    const struct CMUnitTest tests[] = {
        SCENE_TEST(a_pipe_that_nobody_reads_loses_lines_and_stops_nothing),
        SCENE_TEST(a_line_that_went_in_part_is_ended_before_the_next_one_and_counted),
        SCENE_TEST(whether_a_log_may_block_is_seen_when_it_is_opened),
        SCENE_TEST(a_line_is_time_level_event_and_pairs),
        SCENE_TEST(a_level_lets_through_what_is_as_urgent_or_more),
        SCENE_TEST(what_was_asked_for_comes_at_every_level),
        SCENE_TEST(a_line_that_is_too_long_is_cut_and_ended),
        SCENE_TEST(a_log_that_was_moved_is_opened_anew),
        SCENE_TEST(a_log_that_cannot_be_opened_anew_stays_as_it_is),
        cmocka_unit_test(a_log_that_cannot_be_opened_goes_to_stderr),
        SCENE_TEST(lines_are_appended_by_several_writers),
        cmocka_unit_test(what_came_from_outside_cannot_forge_a_line_or_a_pair),
        cmocka_unit_test(a_value_that_does_not_fit_is_cut_with_dots_and_between_escapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
