#include "../../proxy/core/reason.h"
#include "unit.h"

#include <ctype.h>

static void a_reason_says_word_status_doer_and_text(void **state)
{
    (void)state;
    static const struct {
        enum reason reason;
        const char *word;
        int http_status;
        const char *who, *text;
    } rows[] = {
        {REASON_BAD_HOST, "bad-host", 400, "client", "Bad Host"},
        {REASON_BAD_PROXY_HEADER, "bad-proxy-header", 400, "client", "Bad PROXY header"},
        {REASON_TOO_MANY_CONNECTIONS, "too-many-connections", 429, "client", "Too many connections from your address"},
        {REASON_TOO_MANY_HANDSHAKES, "too-many-handshakes", 429, "client", "Too many new sessions from your address"},
        {REASON_SHED, "shed", 0, "siolb", "its buffers were among the largest when limits.memory was reached"},
    };
    FOR_EACH (row, rows) {
        assert_string_equal(reason_word(rows[row_at].reason), rows[row_at].word);
        assert_int_equal(reason_http_status(rows[row_at].reason), rows[row_at].http_status);
        assert_string_equal(reason_who(rows[row_at].reason), rows[row_at].who);
        assert_string_equal(reason_text(rows[row_at].reason), rows[row_at].text);
    }
    assert_int_equal(REASON_NONE, 0);
    assert_int_equal(reason_http_status(REASON_NONE), 0);
}

static void every_word_can_be_a_label_and_is_its_own(void **state)
{
    (void)state;
    for (int r = 0; r < REASONS; r++) {
        const char *word = reason_word((enum reason)r);
        assert_true(*word);
        for (const char *c = word; *c; c++)
            assert_true(islower((unsigned char)*c) || isdigit((unsigned char)*c) || *c == '-' || *c == '.');
        for (int other = 0; other < r; other++)
            assert_string_not_equal(word, reason_word((enum reason)other));
    }
}

static void every_reason_is_somebodys_doing(void **state)
{
    (void)state;
    static const char *const doers[] = {"client", "worker", "siolb", "operator"};
    for (int r = 0; r < REASONS; r++) {
        bool known = false;
        FOR_EACH (doer, doers)
            known = known || strcmp(reason_who((enum reason)r), doers[doer_at]) == 0;
        assert_true(known);
    }
}

/* it goes between quotes into a JSON reply as it stands */
static void every_text_needs_no_escape(void **state)
{
    (void)state;
    for (int r = 0; r < REASONS; r++) {
        const char *text = reason_text((enum reason)r);
        assert_true(*text);
        for (const char *c = text; *c; c++)
            assert_true(*c >= ' ' && *c < 0x7f && *c != '"' && *c != '\\');
    }
}

static void a_reply_is_an_error_or_none_at_all(void **state)
{
    (void)state;
    for (int r = 0; r < REASONS; r++) {
        int status = reason_http_status((enum reason)r);
        assert_true(status == 0 || (status >= 400 && status <= 599));
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reason_says_word_status_doer_and_text),
        cmocka_unit_test(every_word_can_be_a_label_and_is_its_own),
        cmocka_unit_test(every_reason_is_somebodys_doing),
        cmocka_unit_test(every_text_needs_no_escape),
        cmocka_unit_test(a_reply_is_an_error_or_none_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
