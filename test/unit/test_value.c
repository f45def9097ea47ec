/* value.c: the text of one value to numbers and addresses, and back. */
#include "unit.h"

#include "../../config/value.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>

typedef bool read_number(struct span text, uint64_t *out, struct value_why *why);

struct number_row {
    const char *text;
    uint64_t number;
};

#define REFUSED (UINT64_MAX - 1) /* no row means this number */

static void check_numbers(read_number *read, const struct number_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct value_why why = {""};
        uint64_t n = 0;
        bool good = read(edge_copy(rows[i].text), &n, &why);
        if (good != (rows[i].number != REFUSED) || (good && n != rows[i].number))
            fail_msg("\"%s\": %d, %llu, %s", rows[i].text, good, (unsigned long long)n, why.text);
        if (!good)
            assert_non_null(strstr(why.text, rows[i].text));
    }
}

static void a_count_is_digits_and_nothing_else(void **state)
{
    (void)state;
    static const struct number_row rows[] = {
        {"0", 0},        {"200", 200},    {"007", 7},      {"", REFUSED},   {"-1", REFUSED},
        {"+1", REFUSED}, {"1k", REFUSED}, {" 1", REFUSED}, {"1 ", REFUSED}, {"0x10", REFUSED},
    };
    check_numbers(value_count, rows, COUNT_OF(rows));
}

static void a_number_beyond_64_bits_is_the_largest_and_never_wraps(void **state)
{
    (void)state;
    static const struct number_row counts[] = {{"18446744073709551615", UINT64_MAX},
                                               {"18446744073709551616", UINT64_MAX},
                                               {"99999999999999999999999999", UINT64_MAX}};
    static const struct number_row durations[] = {{"18446744073709551615ms", UINT64_MAX},
                                                  {"18446744073709551615s", UINT64_MAX},
                                                  {"5124095576030432h", UINT64_MAX}};
    static const struct number_row sizes[] = {{"17179869184g", UINT64_MAX}, {"99999999999999999999999g", UINT64_MAX}};
    check_numbers(value_count, counts, COUNT_OF(counts));
    check_numbers(value_duration, durations, COUNT_OF(durations));
    check_numbers(value_size, sizes, COUNT_OF(sizes));
}

static void a_duration_has_a_unit_and_only_zero_goes_without(void **state)
{
    (void)state;
    static const struct number_row rows[] = {
        {"0", 0},         {"500ms", 500},   {"2s", 2000},     {"5m", 300000},  {"1h", 3600000},    {"0s", 0},
        {"10", REFUSED},  {"", REFUSED},    {"s", REFUSED},   {"1d", REFUSED}, {"1S", REFUSED},    {"1.5s", REFUSED},
        {"1 s", REFUSED}, {"1ss", REFUSED}, {"-1s", REFUSED}, {"00", REFUSED}, {"1h30m", REFUSED},
    };
    check_numbers(value_duration, rows, COUNT_OF(rows));
}

static void a_size_is_bytes_or_binary_multiples(void **state)
{
    (void)state;
    static const struct number_row rows[] = {
        {"0", 0},         {"65536", 65536},  {"64k", 65536}, {"1m", 1 << 20},   {"2g", 1ull << 31}, {"", REFUSED},
        {"64K", REFUSED}, {"64kb", REFUSED}, {"k", REFUSED}, {"64 k", REFUSED}, {"1t", REFUSED},
    };
    check_numbers(value_size, rows, COUNT_OF(rows));
}

static void a_number_is_printed_with_the_largest_unit_that_keeps_it_exact(void **state)
{
    (void)state;
    static const struct {
        uint64_t n;
        const char *duration, *size;
    } rows[] = {{0, "0", "0"},
                {1, "1ms", "1"},
                {1000, "1s", "1000"},
                {1024, "1024ms", "1k"},
                {60000, "1m", "60000"},
                {90000, "90s", "90000"},
                {3600000, "1h", "3600000"},
                {1536 * 1024, "1572864ms", "1536k"},
                {1 << 20, "1048576ms", "1m"},
                {1 << 30, "1073741824ms", "1g"},
                {UINT64_MAX, "18446744073709551615ms", "18446744073709551615"}};
    FOR_EACH (row, rows) {
        char text[VALUE_TEXT_MAX];
        value_print_duration(rows[row_at].n, text);
        assert_string_equal(text, rows[row_at].duration);
        value_print_size(rows[row_at].n, text);
        assert_string_equal(text, rows[row_at].size);
    }
}

/* ---- texts ------------------------------------------------------------------------------------------------------- */

static void a_path_is_what_a_target_can_begin_with(void **state)
{
    (void)state;
    static char of_256_bytes[257] = "/";
    static char of_257_bytes[258] = "/";
    memset(of_256_bytes + 1, 'a', 255);
    memset(of_257_bytes + 1, 'a', 256);
    const struct {
        const char *text;
        bool good;
    } rows[] = {{"/", true},     {"/socket.io/", true}, {"/a;b,c/\xc3\xa9", true}, {of_256_bytes, true},
                {"", false},     {"socket.io/", false}, {"/a b", false},           {of_257_bytes, false},
                {"/a?b", false}, {"/a#b", false},       {"/a\tb", false},          {"/a\x7f", false}};
    FOR_EACH (row, rows) {
        struct value_why why;
        assert_int_equal(value_path(edge_copy(rows[row_at].text), &why), rows[row_at].good);
    }
}

static void a_cookie_name_is_a_token(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool good;
    } rows[] = {{"", true},     {"io", true},   {"__Host-io.1", true}, {"!#$%&'*+-.^_`|~", true}, {"i o", false},
                {"io=", false}, {"io;", false}, {"\"io\"", false},     {"(io)", false},           {"i\xc3\xb6", false}};
    FOR_EACH (row, rows) {
        struct value_why why;
        assert_int_equal(value_cookie_name(edge_copy(rows[row_at].text), &why), rows[row_at].good);
    }
}

/* ---- addresses --------------------------------------------------------------------------------------------------- */

static void a_listening_address_has_one_canonical_text(void **state)
{
    (void)state;
    static const struct {
        const char *text, *canonical;
        mode_t mode;
        bool takes_proxy;
    } rows[] = {
        {"0.0.0.0:8080", "0.0.0.0:8080", 0, false},
        {"0.0.0.0:8080 proxy", "0.0.0.0:8080", 0, true},
        {"unix:/x proxy mode=0660", "unix:/x", 0660, true},
        {"127.0.0.1:0", "127.0.0.1:0", 0, false},
        {"localhost:80", "127.0.0.1:80", 0, false},
        {"[::]:8080", "[::]:8080", 0, false},
        {"[0:0::0:1]:65535", "[::1]:65535", 0, false},
        {"[2001:DB8::1]:1", "[2001:db8::1]:1", 0, false},
        {"unix:/run/siolb/http.sock", "unix:/run/siolb/http.sock", 0, false},
        {"unix:/run/siolb/http.sock mode=0660", "unix:/run/siolb/http.sock", 0660, false},
        {"unix:/x \t mode=1", "unix:/x", 1, false},
        {"unix:/x mode=777", "unix:/x", 0777, false},
    };
    FOR_EACH (row, rows) {
        struct value_listen said;
        struct value_why why = {""};
        char name[VALUE_ADDRESS_TEXT_MAX];
        if (!value_listen(edge_copy(rows[row_at].text), &said, &why))
            fail_msg("\"%s\": %s", rows[row_at].text, why.text);
        value_print_address(&said.address, name);
        assert_string_equal(name, rows[row_at].canonical);
        assert_int_equal(said.unix_mode, rows[row_at].mode);
        assert_int_equal(said.takes_proxy, rows[row_at].takes_proxy);
    }
}

static void a_network_is_an_address_with_a_prefix_or_the_word_unix(void **state)
{
    (void)state;
    static const struct {
        const char *text, *canonical;
    } rows[] = {
        {"10.0.0.0/8", "10.0.0.0/8"},
        {"0.0.0.0/0", "0.0.0.0/0"},
        {"192.168.0.7", "192.168.0.7"},
        {"192.168.0.7/32", "192.168.0.7"},
        {"10.128.0.0/9", "10.128.0.0/9"},
        {"2001:DB8::/32", "2001:db8::/32"},
        {"::1", "::1"},
        {"::/0", "::/0"},
        {"fd00::/7", NULL},
        {"fc00::/7", "fc00::/7"},
        {"::ffff:10.0.0.7", "10.0.0.7"},
        {"unix", "unix"},
        {"10.0.0.7/8", NULL},
        {"10.0.0.0/33", NULL},
        {"10.0.0.0/", NULL},
        {"10.0.0.0/8/8", NULL},
        {"10.0.0.0/-1", NULL},
        {"10.0.0.0/8x", NULL},
        {"10.0.0.0:80", NULL},
        {"[::1]", NULL},
        {"::ffff:10.0.0.0/104", NULL},
        {"balancer.example", NULL},
        {"localhost", NULL},
        {"10.0.0", NULL},
        {"/8", NULL},
        {"unix:/x", NULL},
    };
    FOR_EACH (row, rows) {
        struct ip_network network;
        struct value_why why = {""};
        char text[VALUE_NETWORK_TEXT_MAX];
        bool read = value_network(edge_copy(rows[row_at].text), &network, &why);
        if (read != (rows[row_at].canonical != NULL) || read == (why.text[0] != '\0'))
            fail_msg("\"%s\": read=%d why=%s", rows[row_at].text, read, why.text);
        if (!read)
            continue;
        value_print_network(&network, text);
        assert_string_equal(text, rows[row_at].canonical);
    }
}

static void elements_of_a_list_stand_apart_by_blanks_or_commas(void **state)
{
    (void)state;
    static const struct {
        const char *text, *elements;
    } rows[] = {
        {"", ""}, {" , ,", ""}, {"a", "a;"}, {"a,b", "a;b;"}, {"a b", "a;b;"}, {" a ,\tb , , c,", "a;b;c;"},
    };
    FOR_EACH (row, rows) {
        struct span list = edge_copy(rows[row_at].text), element;
        char all[64] = "";
        while (value_take_element(&list, &element)) {
            (void)strncat(all, element.ptr, element.len);
            (void)strcat(all, ";");
        }
        assert_string_equal(all, rows[row_at].elements);
    }
}

static void a_listening_address_that_is_not_understood_is_refused_with_a_reason(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
    } rows[] = {
        {"", "\"\" has no port"},
        {"8080", "\"8080\" has no port"},
        {"127.0.0.1", "\"127.0.0.1\" has no port"},
        {"127.0.0.1:", "\"\" is not a port"},
        {"127.0.0.1:http", "\"http\" is not a port"},
        {"127.0.0.1:-1", "\"-1\" is not a port"},
        {"127.0.0.1:80-81", "\"80-81\" is not a port"},
        {"127.0.0.1:65536", "port 65536 is outside 0 to 65535"},
        {"127.0.0.1:4294967297", "port 4294967297 is outside 0 to 65535"},
        {":80", "\"\" is not an IPv4 address"},
        {"*:80", "\"*\" is not an IPv4 address"},
        {"127.0.0.256:80", "\"127.0.0.256\" is not an IPv4 address"},
        {"127.0.1:80", "\"127.0.1\" is not an IPv4 address"},
        {"chat.example:80", "\"chat.example\": names other than localhost are not built yet, give its address"},
        {"::1:80", "\"::1:80\": an IPv6 address needs brackets: [::1]:8080"},
        {"[::1]", "\"[::1]\" is not of the form [::1]:8080"},
        {"[::1", "\"[::1\" is not of the form [::1]:8080"},
        {"[::1]80", "\"[::1]80\" is not of the form [::1]:8080"},
        {"[127.0.0.1]:80", "\"127.0.0.1\" is not an IPv6 address"},
        {"[]:80", "\"\" is not an IPv6 address"},
        {"unix:", "\"unix:\": the path of a socket begins with \"/\""},
        {"unix:run/x", "\"unix:run/x\": the path of a socket begins with \"/\""},
        {"127.0.0.1:80 mode=0660", "only a unix socket has a mode"},
        {"unix:/x mode=0660 mode=0660", "two modes"},
        {"unix:/x mode=", "mode \"\" is not an octal number from 0001 to 0777"},
        {"unix:/x mode=0", "mode \"0\" is not an octal number from 0001 to 0777"},
        {"unix:/x mode=1000", "mode \"1000\" is not an octal number from 0001 to 0777"},
        {"unix:/x mode=888", "mode \"888\" is not an octal number from 0001 to 0777"},
        {"unix:/x mode=40000000660", "mode \"40000000660\" is not an octal number from 0001 to 0777"},
        {"127.0.0.1:80 tls", "flag \"tls\" is not built yet"},
        {"127.0.0.1:80 redirect", "flag \"redirect\" is not built yet"},
        {"127.0.0.1:80 fast", "unknown flag \"fast\"; known: mode=0660, proxy"},
        {"127.0.0.1:80 proxy proxy", "\"proxy\" is there twice"},
    };
    FOR_EACH (row, rows) {
        struct value_listen said;
        struct value_why why = {""};
        assert_false(value_listen(edge_copy(rows[row_at].text), &said, &why));
        assert_string_equal(why.text, rows[row_at].why);
    }
}

static void the_path_of_a_unix_socket_fits_or_is_refused(void **state)
{
    (void)state;
    char text[sizeof "unix:" + 120];
    size_t most = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1;
    struct value_listen said;
    struct value_why why;
    memset(text, 'a', sizeof text);
    memcpy(text, "unix:/", 6);
    assert_true(value_listen(edge_copy_span(span_of(text, 5 + most)), &said, &why));
    assert_int_equal(strlen(said.address.addr.un.sun_path), most);
    assert_int_equal(said.address.bytes, sizeof(struct sockaddr_un));
    assert_false(value_listen(edge_copy_span(span_of(text, 5 + most + 1)), &said, &why));
    assert_string_equal(why.text, "the path of a socket has at most 107 bytes, this one 108");
}

static void a_worker_is_an_address_or_a_range_of_ports(void **state)
{
    (void)state;
    static const struct {
        const char *text, *first;
        uint16_t last_port;
        bool is_range;
        uint16_t weight;
    } rows[] = {
        {"127.0.0.1:3001", "127.0.0.1:3001", 3001, false, 1},
        {"127.0.0.1:3001-3004", "127.0.0.1:3001", 3004, true, 1},
        {"127.0.0.1:1-65535", "127.0.0.1:1", 65535, true, 1},
        {"localhost:3001-3001", "127.0.0.1:3001", 3001, true, 1},
        {"10.0.0.1:3001 weight=256", "10.0.0.1:3001", 3001, false, 256},
        {"[::1]:3001-3002  weight=2", "[::1]:3001", 3002, true, 2},
        {"[::ffff:127.0.0.1]:3001", "127.0.0.1:3001", 3001, false, 1},
        {"unix:/run/chat/1.sock weight=3", "unix:/run/chat/1.sock", 0, false, 3},
    };
    FOR_EACH (row, rows) {
        struct value_worker said;
        struct value_why why = {""};
        char name[VALUE_ADDRESS_TEXT_MAX];
        if (!value_worker(edge_copy(rows[row_at].text), &said, &why))
            fail_msg("\"%s\": %s", rows[row_at].text, why.text);
        value_print_address(&said.first, name);
        assert_string_equal(name, rows[row_at].first);
        assert_int_equal(said.last_port, rows[row_at].last_port);
        assert_int_equal(said.is_range, rows[row_at].is_range);
        assert_int_equal(said.weight, rows[row_at].weight);
    }
}

static void a_worker_that_cannot_be_reached_or_understood_is_refused_with_a_reason(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
    } rows[] = {
        {"127.0.0.1:3004-3001", "port range 3004-3001 runs backwards"},
        {"127.0.0.1:0", "port 0 is outside 1 to 65535"},
        {"127.0.0.1:0-5", "port 0 is outside 1 to 65535"},
        {"127.0.0.1:3001-65536", "port 65536 is outside 1 to 65535"},
        {"127.0.0.1:3001-", "\"\" is not a port"},
        {"127.0.0.1:-3001", "\"\" is not a port"},
        {"127.0.0.1:3001-3002-3003", "\"3002-3003\" is not a port"},
        {"3001-3004", "\"3001-3004\" has no port"},
        {"0.0.0.0:3001", "\"0.0.0.0:3001\": nobody can be reached at this address"},
        {"[::]:3001", "\"[::]:3001\": nobody can be reached at this address"},
        {"[::ffff:0.0.0.0]:3001", "\"[::ffff:0.0.0.0]:3001\": nobody can be reached at this address"},
        {"chat:3001", "\"chat\": names other than localhost are not built yet, give its address"},
        {"tls:10.0.0.1:443", "\"tls:10.0.0.1:443\": workers behind TLS are not built yet"},
        {"127.0.0.1:3001 weight=0", "weight 0 is outside 1 to 256"},
        {"127.0.0.1:3001 weight=257", "weight 257 is outside 1 to 256"},
        {"127.0.0.1:3001 weight=65537", "weight 65537 is outside 1 to 256"},
        {"127.0.0.1:3001 weight=two", "\"two\" is not a number"},
        {"127.0.0.1:3001 weight=2 weight=2", "two weights"},
        {"127.0.0.1:3001 wieght=2", "unknown flag \"wieght=2\"; known: weight=2"},
        {"127.0.0.1:3001, 127.0.0.1:3002", "\"3001,\" is not a port"},
    };
    FOR_EACH (row, rows) {
        struct value_worker said;
        struct value_why why = {""};
        assert_false(value_worker(edge_copy(rows[row_at].text), &said, &why));
        assert_string_equal(why.text, rows[row_at].why);
    }
}

static void ports_alone_are_those_of_this_host_on_the_command_line(void **state)
{
    (void)state;
    static const struct {
        const char *text, *first, *why;
        uint16_t last_port, weight;
    } rows[] = {
        {"3001", "127.0.0.1:3001", NULL, 3001, 1},
        {"3001-3004", "127.0.0.1:3001", NULL, 3004, 1},
        {"3001-3004 weight=2", "127.0.0.1:3001", NULL, 3004, 2},
        {"[::1]:3001", "[::1]:3001", NULL, 3001, 1},
        {"unix:/x", "unix:/x", NULL, 0, 1},
        {"3004-3001", NULL, "port range 3004-3001 runs backwards", 0, 0},
        {"", NULL, "\"\" is not a port", 0, 0},
        {"chat", NULL, "\"chat\" has no port", 0, 0},
    };
    FOR_EACH (row, rows) {
        struct value_worker said;
        struct value_why why = {""};
        char name[VALUE_ADDRESS_TEXT_MAX];
        bool good = value_worker_or_ports(edge_copy(rows[row_at].text), &said, &why);
        assert_int_equal(good, rows[row_at].first != NULL);
        if (!good) {
            assert_string_equal(why.text, rows[row_at].why);
            continue;
        }
        value_print_address(&said.first, name);
        assert_string_equal(name, rows[row_at].first);
        assert_int_equal(said.last_port, rows[row_at].last_port);
        assert_int_equal(said.weight, rows[row_at].weight);
    }
}

static void nothing_is_read_behind_the_end_of_a_text(void **state)
{
    (void)state;
    static const char *const texts[] = {"127.0.0.1:3001-3004 weight=2",
                                        "[2001:db8::1]:3001 weight=2",
                                        "unix:/run/siolb/http.sock mode=0660",
                                        "localhost:8080 redirect",
                                        "3600000ms",
                                        "/socket.io/"};
    FOR_EACH (text, texts)
        for (size_t len = 0; len <= strlen(texts[text_at]); len++) {
            struct span cut = edge_copy_span(span_of(texts[text_at], len));
            struct value_listen listen;
            struct value_worker worker;
            struct value_why why;
            uint64_t n;
            (void)!value_listen(cut, &listen, &why);
            (void)!value_worker(cut, &worker, &why);
            (void)!value_worker_or_ports(cut, &worker, &why);
            (void)!value_duration(cut, &n, &why);
            (void)!value_size(cut, &n, &why);
            (void)!value_count(cut, &n, &why);
            (void)!value_path(cut, &why);
            (void)!value_cookie_name(cut, &why);
            (void)!value_file_name(cut, &why);
        }
}

static void a_long_text_is_quoted_in_part(void **state)
{
    (void)state;
    char text[4096];
    struct value_why why;
    uint64_t n;
    memset(text, 'x', sizeof text);
    assert_false(value_count(edge_copy_span(span_of(text, sizeof text)), &n, &why));
    assert_int_equal(strlen(why.text), VALUE_QUOTED_MAX + strlen("\"\" is not a number"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_count_is_digits_and_nothing_else),
        cmocka_unit_test(a_number_beyond_64_bits_is_the_largest_and_never_wraps),
        cmocka_unit_test(a_duration_has_a_unit_and_only_zero_goes_without),
        cmocka_unit_test(a_size_is_bytes_or_binary_multiples),
        cmocka_unit_test(a_number_is_printed_with_the_largest_unit_that_keeps_it_exact),
        cmocka_unit_test(a_path_is_what_a_target_can_begin_with),
        cmocka_unit_test(a_cookie_name_is_a_token),
        cmocka_unit_test(a_listening_address_has_one_canonical_text),
        cmocka_unit_test(a_network_is_an_address_with_a_prefix_or_the_word_unix),
        cmocka_unit_test(elements_of_a_list_stand_apart_by_blanks_or_commas),
        cmocka_unit_test(a_listening_address_that_is_not_understood_is_refused_with_a_reason),
        cmocka_unit_test(the_path_of_a_unix_socket_fits_or_is_refused),
        cmocka_unit_test(a_worker_is_an_address_or_a_range_of_ports),
        cmocka_unit_test(a_worker_that_cannot_be_reached_or_understood_is_refused_with_a_reason),
        cmocka_unit_test(ports_alone_are_those_of_this_host_on_the_command_line),
        cmocka_unit_test(nothing_is_read_behind_the_end_of_a_text),
        cmocka_unit_test(a_long_text_is_quoted_in_part),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
