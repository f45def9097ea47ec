#include "../../proxy/core/ip.h"

#include "unit.h"

static struct ip ip(const char *text)
{
    struct ip a;
    if (!ip_parse(edge_copy(text), &a))
        fail_msg("\"%s\" is no address", text);
    return a;
}

static struct ip flip_bit(struct ip a, unsigned bit)
{
    a.bytes[bit / 8] ^= (uint8_t)(0x80 >> bit % 8);
    return a;
}

/* ---- text ---- */

static const struct {
    const char *text, *host;
    uint16_t port;
} good[] = {
    {"10.0.0.7", "10.0.0.7", 0},
    {"0.0.0.0", "0.0.0.0", 0},
    {"255.255.255.255", "255.255.255.255", 0},
    {"10.0.0.7:51312", "10.0.0.7", 51312},
    {"10.0.0.7:0", "10.0.0.7", 0},
    {"255.255.255.255:65535", "255.255.255.255", 65535},
    {"::", "::", 0},
    {"::1", "::1", 0},
    {"1::", "1::", 0},
    {"2001:db8::1", "2001:db8::1", 0},
    {"2001:DB8:0:0:0:0:0:A", "2001:db8::a", 0},
    {"[2001:db8::1]", "2001:db8::1", 0},
    {"[2001:db8::1]:51312", "2001:db8::1", 51312},
    {"[::]:1", "::", 1},
    {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 0},
    {"[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535},
    {"ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 0},
    {"::ffff:10.0.0.7", "10.0.0.7", 0},
    {"[::ffff:10.0.0.7]:80", "10.0.0.7", 80},
    {"0:0:0:0:0:FFFF:a00:7", "10.0.0.7", 0},
    {"::10.0.0.7", "::10.0.0.7", 0}, /* IPv4-compatible, not mapped: given up long ago, and IPv6 */
    {"64:ff9b::10.0.0.7", "64:ff9b::a00:7", 0},
};

static void every_form_of_an_address_is_read(void **state)
{
    (void)state;
    FOR_EACH (row, good) {
        struct ip a = ip(good[row_at].text);
        char text[IP_TEXT_BYTES];
        assert_string_equal(ip_host_text(&a, text), good[row_at].host);
        assert_int_equal(a.port, good[row_at].port);
    }
}

#define TEXT(literal)                                                                                                  \
    {                                                                                                                  \
        (literal), sizeof(literal) - 1                                                                                 \
    }

static void what_is_no_address_is_refused_and_leaves_none(void **state)
{
    (void)state;
    static const struct span rows[] = {
        TEXT(""),
        TEXT(" "),
        TEXT("unknown"),
        TEXT("_hidden"),
        TEXT("localhost"),
        TEXT("client.example"),
        TEXT("unix"),
        TEXT("unix:/run/x"),
        TEXT("\"10.0.0.7\""),
        TEXT(" 10.0.0.7"),
        TEXT("10.0.0.7 "),
        TEXT("10.0.0.7\t"),
        TEXT("10.0.0"),
        TEXT("10.0.0."),
        TEXT("10.0.0.7.8"),
        TEXT("10.0.0.256"),
        TEXT("10.0.0.-1"),
        TEXT("010.0.0.7"), /* 8 to some */
        TEXT("0x0a.0.0.7"),
        TEXT("167772167"),
        TEXT("10.7"),
        TEXT("10.0.0.7/8"),
        TEXT("10.0.0.7:"),
        TEXT("10.0.0.7:65536"),
        TEXT("10.0.0.7:99999"),
        TEXT("10.0.0.7:123456"),
        TEXT("10.0.0.7:4294967376"),
        TEXT("10.0.0.7:+80"),
        TEXT("10.0.0.7:-1"),
        TEXT("10.0.0.7: 80"),
        TEXT("10.0.0.7:80 "),
        TEXT("10.0.0.7:80x"),
        TEXT("10.0.0.7:80:80"),
        TEXT("10.0.0.7\0"),
        TEXT("10.0.0.7\0.8"),
        TEXT("10.0.0.7:80\0"),
        TEXT("[10.0.0.7]"),
        TEXT("[10.0.0.7]:80"),
        TEXT(":80"),
        TEXT(":"),
        TEXT(":::"),
        TEXT("::1::"),
        TEXT("1:2:3:4:5:6:7"),
        TEXT("1:2:3:4:5:6:7:8:9"),
        TEXT("12345::"),
        TEXT("::g"),
        TEXT("::1 "),
        TEXT("::1\0"),
        TEXT("fe80::1%eth0"), /* a zone means something on the sender's machine only */
        TEXT("[fe80::1%25eth0]:80"),
        TEXT("::ffff:10.0.0.256"),
        TEXT("["),
        TEXT("[]"),
        TEXT("[]:80"),
        TEXT("[::1"),
        TEXT("::1]"),
        TEXT("[::1]:"),
        TEXT("[::1]80"),
        TEXT("[::1]:65536"),
        TEXT("[::1]]"),
        TEXT("[[::1]]"),
        TEXT("[::1]:80:"),
        TEXT(" [::1]"),
        TEXT("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.2555"),
        TEXT("00000000000000000000000000000000000000000000010.0.0.7"),
    };
    FOR_EACH (row, rows) {
        struct ip a;
        memset(&a, 0xa5, sizeof a);
        if (ip_parse(edge_copy_span(rows[row_at]), &a))
            fail_msg("\"%.*s\" was read", (int)rows[row_at].len, rows[row_at].ptr);
        assert_int_equal(a.family, IP_UNKNOWN);
        assert_int_equal(a.port, 0);
        assert_int_equal(ip_household(&a), 0);
    }
}

/* Whatever is read of a cut text: its own text means the same. */
static void a_text_that_is_cut_is_an_address_of_its_own_or_none(void **state)
{
    (void)state;
    FOR_EACH (row, good) {
        struct span whole = span_from_str(good[row_at].text);
        for (size_t cut = 0; cut <= whole.len; cut++) {
            struct ip a;
            char text[IP_TEXT_BYTES];
            if (!ip_parse(edge_copy_span(span_of(whole.ptr, cut)), &a))
                continue;
            struct ip again = ip(ip_text(&a, text));
            assert_true(ip_equal(&again, &a));
            assert_int_equal(again.port, a.port);
        }
    }
}

static void the_text_of_an_address_has_its_port_where_it_has_one(void **state)
{
    (void)state;
    static const struct {
        const char *address, *text, *host;
    } rows[] = {
        {"10.0.0.7:51312", "10.0.0.7:51312", "10.0.0.7"},
        {"10.0.0.7", "10.0.0.7", "10.0.0.7"},
        {"[::1]:8080", "[::1]:8080", "::1"},
        {"::1", "::1", "::1"},
        {"[::ffff:10.0.0.7]:80", "10.0.0.7:80", "10.0.0.7"},
        {"[fff0:fff1:fff2:fff3:fff4:fff5:fff6:fff7]:65535", "[fff0:fff1:fff2:fff3:fff4:fff5:fff6:fff7]:65535",
         "fff0:fff1:fff2:fff3:fff4:fff5:fff6:fff7"},
    };
    char text[IP_TEXT_BYTES];
    FOR_EACH (row, rows) {
        struct ip a = ip(rows[row_at].address);
        assert_string_equal(ip_text(&a, text), rows[row_at].text);
        assert_string_equal(ip_host_text(&a, text), rows[row_at].host);
    }
    struct ip none = {.family = IP_NONE, .port = 80};
    assert_string_equal(ip_text(&none, text), "unix");
    assert_string_equal(ip_host_text(&none, text), "");
}

/* ---- bytes ---- */

static void an_address_is_made_of_the_bytes_of_its_family(void **state)
{
    (void)state;
    static const char v6[] = "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1";
    char text[IP_TEXT_BYTES];
    struct ip a = ip_of(IP_V4, edge_copy_span(span_of("\x0a\0\0\7", 4)).ptr, 80);
    assert_string_equal(ip_text(&a, text), "10.0.0.7:80");
    assert_span_equal(ip_bytes(&a), span_of("\x0a\0\0\7", 4));
    a = ip_of(IP_V6, edge_copy_span(span_of(v6, 16)).ptr, 0);
    assert_string_equal(ip_text(&a, text), "2001:db8::1");
    assert_span_equal(ip_bytes(&a), span_of(v6, 16));
    a = ip_of(IP_NONE, NULL, 0);
    assert_int_equal(ip_bytes(&a).len, 0);
}

static void an_ipv4_address_has_one_form(void **state)
{
    (void)state;
    static const char *const forms[] = {"10.0.0.7", "::ffff:10.0.0.7", "::FFFF:a00:7", "[0:0:0:0:0:ffff:10.0.0.7]:80"};
    static const struct ip_network ten = {{.bytes = {10}, .family = IP_V4}, 8};
    struct ip plain = ip("10.0.0.7:1");
    struct ip received = ip_of(IP_V6, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0\0\7", 9);
    assert_int_equal(received.port, 9);
    assert_true(ip_equal(&received, &plain));
    FOR_EACH (form, forms) {
        struct ip a = ip(forms[form_at]);
        assert_int_equal(a.family, IP_V4);
        assert_true(ip_equal(&a, &plain));
        assert_span_equal(ip_bytes(&a), ip_bytes(&plain));
        assert_int_equal(ip_household(&a), ip_household(&plain));
        assert_true(ip_is_in(&a, &ten, 1));
    }
}

static void addresses_are_equal_by_family_and_bytes_whatever_the_port(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        bool is_equal;
    } rows[] = {
        {"10.0.0.7", "10.0.0.7:80", true},  {"10.0.0.7:79", "10.0.0.7:80", true},
        {"10.0.0.7", "10.0.0.8", false},    {"10.0.0.7", "11.0.0.7", false},
        {"[::1]:1", "::1", true},           {"::1", "::2", false},
        {"1:2:3:4::", "1:2:3:4::1", false}, {"0.0.0.0", "::", false},
        {"10.0.0.0", "a00::", false},       {"2001:db8::", "32.1.13.184", false},
    };
    FOR_EACH (row, rows) {
        struct ip a = ip(rows[row_at].a), b = ip(rows[row_at].b);
        assert_int_equal(ip_equal(&a, &b), rows[row_at].is_equal);
        assert_int_equal(ip_equal(&b, &a), rows[row_at].is_equal);
    }
    struct ip none = {.family = IP_NONE}, zero = ip("0.0.0.0");
    assert_true(ip_equal(&none, &none));
    assert_false(ip_equal(&none, &zero));
}

/* ---- networks ---- */

static struct ip_network network(const char *base, uint8_t prefix)
{
    return (struct ip_network){ip(base), prefix};
}

static void a_network_has_the_addresses_that_begin_with_its_bits(void **state)
{
    (void)state;
    static const struct {
        const char *base;
        uint8_t prefix;
        const char *address;
        bool is_in;
    } rows[] = {
        {"0.0.0.0", 0, "0.0.0.0", true},
        {"0.0.0.0", 0, "255.255.255.255", true},
        {"128.0.0.0", 1, "128.0.0.0", true},
        {"128.0.0.0", 1, "255.255.255.255", true},
        {"128.0.0.0", 1, "127.255.255.255", false},
        {"10.0.0.0", 7, "11.255.255.255", true},
        {"10.0.0.0", 7, "9.255.255.255", false},
        {"10.0.0.0", 7, "12.0.0.0", false},
        {"10.0.0.0", 8, "10.255.255.255", true},
        {"10.0.0.0", 8, "11.0.0.0", false},
        {"10.128.0.0", 9, "10.128.0.0", true},
        {"10.128.0.0", 9, "10.255.255.255", true},
        {"10.128.0.0", 9, "10.127.255.255", false},
        {"10.128.0.0", 9, "11.128.0.0", false},
        {"10.0.0.6", 31, "10.0.0.6", true},
        {"10.0.0.6", 31, "10.0.0.7", true},
        {"10.0.0.6", 31, "10.0.0.8", false},
        {"10.0.0.6", 31, "10.0.0.5", false},
        {"10.0.0.7", 32, "10.0.0.7", true},
        {"10.0.0.7", 32, "10.0.0.6", false},
        {"10.0.0.7", 32, "10.0.0.7:80", true},
        {"::", 0, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true},
        {"2001:db8:0:2::", 63, "2001:db8:0:3:ffff:ffff:ffff:ffff", true},
        {"2001:db8:0:2::", 63, "2001:db8:0:4::", false},
        {"2001:db8:0:2::", 64, "2001:db8:0:2:ffff:ffff:ffff:ffff", true},
        {"2001:db8:0:2::", 64, "2001:db8:0:3::", false},
        {"2001:db8:0:2:8000::", 65, "2001:db8:0:2:8000::", true},
        {"2001:db8:0:2:8000::", 65, "2001:db8:0:2:7fff:ffff:ffff:ffff", false},
        {"::1", 128, "::1", true},
        {"::1", 128, "::", false},
        /* families stand apart: all of IPv6 is none of IPv4 */
        {"::", 0, "10.0.0.7", false},
        {"0.0.0.0", 0, "::1", false},
        {"0.0.0.0", 0, "::10.0.0.7", false},
        {"a00::", 8, "10.0.0.7", false},
        {"10.0.0.0", 8, "::ffff:10.0.0.7", true},
    };
    FOR_EACH (row, rows) {
        struct ip_network n = network(rows[row_at].base, rows[row_at].prefix);
        struct ip a = ip(rows[row_at].address);
        if (ip_is_in(&a, &n, 1) != rows[row_at].is_in)
            fail_msg("%s in %s/%d", rows[row_at].address, rows[row_at].base, rows[row_at].prefix);
    }
}

/* For every prefix: the bits of the prefix count, each of them, and no bit behind it does. */
static void every_bit_of_a_prefix_counts_and_none_behind_it(void **state)
{
    (void)state;
    static const char *const addresses[] = {"10.85.170.7", "2001:db8:5555:aaaa:5a5a:a5a5:1234:fedc"};
    FOR_EACH (address, addresses) {
        struct ip a = ip(addresses[address_at]);
        unsigned bits = 8 * (unsigned)ip_bytes(&a).len;
        for (unsigned prefix = 0; prefix <= bits; prefix++) {
            struct ip_network n = {a, (uint8_t)prefix};
            for (unsigned bit = prefix; bit < bits; bit++)
                n.base.bytes[bit / 8] &= (uint8_t) ~(0x80 >> bit % 8);
            assert_true(ip_is_in(&a, &n, 1));
            for (unsigned bit = 0; bit < bits; bit++) {
                struct ip other = flip_bit(a, bit);
                assert_int_equal(ip_is_in(&other, &n, 1), bit >= prefix);
            }
        }
    }
}

static void an_address_is_in_a_list_when_it_is_in_one_of_its_networks(void **state)
{
    (void)state;
    const struct ip_network list[] = {network("10.0.0.0", 8), network("fd00::", 8), network("192.168.7.0", 24)};
    struct ip last = ip("192.168.7.9"), first = ip("10.1.2.3"), none = ip("192.168.8.9");
    assert_true(ip_is_in(&first, list, COUNT_OF(list)));
    assert_true(ip_is_in(&last, list, COUNT_OF(list)));
    assert_false(ip_is_in(&last, list, COUNT_OF(list) - 1));
    assert_false(ip_is_in(&none, list, COUNT_OF(list)));
    assert_false(ip_is_in(&first, NULL, 0));
}

static void the_peers_of_unix_sockets_are_a_network_of_their_own(void **state)
{
    (void)state;
    const struct ip_network unix_peers = {{.family = IP_NONE}, 0};
    const struct ip_network everybody[] = {network("0.0.0.0", 0), network("::", 0)};
    struct ip none = {.family = IP_NONE}, v4 = ip("0.0.0.0"), v6 = ip("::");
    assert_true(ip_is_in(&none, &unix_peers, 1));
    assert_false(ip_is_in(&v4, &unix_peers, 1));
    assert_false(ip_is_in(&v6, &unix_peers, 1));
    assert_false(ip_is_in(&none, everybody, COUNT_OF(everybody)));
}

/* ---- households ---- */

static void a_household_is_an_ipv4_address_or_a_64_of_ipv6(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        bool is_same;
    } rows[] = {
        {"10.0.0.7", "10.0.0.7:80", true},
        {"10.0.0.7", "10.0.0.6", false},
        {"10.0.0.7", "138.0.0.7", false},
        {"10.0.0.7", "::ffff:10.0.0.7", true},
        {"0.0.0.0", "0.0.0.1", false},
        {"2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true},
        {"2001:db8::1", "2001:db8:0:1::1", false},
        {"2001:db8::1", "a001:db8::1", false},
        {"[2001:db8::1]:1", "[2001:db8::1]:2", true},
        {"::1", "::2", true},
        {"::1", "2001:db8::1", false},
        {"fe80::1", "fe80:0:0:1::1", false},
        {"64:ff9b::10.0.0.7", "10.0.0.7", false},
        {"::10.0.0.7", "10.0.0.7", false},
    };
    FOR_EACH (row, rows) {
        struct ip a = ip(rows[row_at].a), b = ip(rows[row_at].b);
        if ((ip_household(&a) == ip_household(&b)) != rows[row_at].is_same)
            fail_msg("%s and %s", rows[row_at].a, rows[row_at].b);
        assert_true(ip_household(&a) != 0 && ip_household(&b) != 0);
    }
}

static void every_bit_of_a_household_counts_and_none_behind_it(void **state)
{
    (void)state;
    static const struct {
        const char *address;
        unsigned bits, household_bits;
    } rows[] = {{"10.85.170.7", 32, 32}, {"0.0.0.0", 32, 32}, {"2001:db8:5555:aaaa:5a5a:a5a5:1234:fedc", 128, 64}};
    FOR_EACH (row, rows) {
        struct ip a = ip(rows[row_at].address);
        for (unsigned bit = 0; bit < rows[row_at].bits; bit++) {
            struct ip other = flip_bit(a, bit);
            assert_int_equal(ip_household(&other) == ip_household(&a), bit >= rows[row_at].household_bits);
        }
    }
}

/* Not even of an IPv6 address that was made up for it. */
static void no_household_of_ipv4_is_one_of_ipv6(void **state)
{
    (void)state;
    static const char *const addresses[] = {"0.0.0.0", "0.0.0.1", "10.0.0.7", "127.0.0.1", "255.255.255.255"};
    FOR_EACH (address, addresses) {
        struct ip v4 = ip(addresses[address_at]);
        uint64_t household = ip_household(&v4);
        uint8_t bytes[16] = {[15] = 1};
        for (size_t i = 0; i < 8; i++)
            bytes[i] = (uint8_t)(household >> (56 - 8 * i));
        struct ip v6 = ip_of(IP_V6, bytes, 0);
        assert_int_equal(v6.family, IP_V6);
        assert_true(ip_household(&v6) != household);
        assert_true(ip_household(&v6) != 0);
    }
}

static void a_peer_without_an_address_has_no_household(void **state)
{
    (void)state;
    struct ip none = {.family = IP_NONE}, all_zero = ip("::");
    assert_int_equal(ip_household(&none), 0);
    assert_true(ip_household(&all_zero) != 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_of_an_address_is_read),
        cmocka_unit_test(what_is_no_address_is_refused_and_leaves_none),
        cmocka_unit_test(a_text_that_is_cut_is_an_address_of_its_own_or_none),
        cmocka_unit_test(the_text_of_an_address_has_its_port_where_it_has_one),
        cmocka_unit_test(an_address_is_made_of_the_bytes_of_its_family),
        cmocka_unit_test(an_ipv4_address_has_one_form),
        cmocka_unit_test(addresses_are_equal_by_family_and_bytes_whatever_the_port),
        cmocka_unit_test(a_network_has_the_addresses_that_begin_with_its_bits),
        cmocka_unit_test(every_bit_of_a_prefix_counts_and_none_behind_it),
        cmocka_unit_test(an_address_is_in_a_list_when_it_is_in_one_of_its_networks),
        cmocka_unit_test(the_peers_of_unix_sockets_are_a_network_of_their_own),
        cmocka_unit_test(a_household_is_an_ipv4_address_or_a_64_of_ipv6),
        cmocka_unit_test(every_bit_of_a_household_counts_and_none_behind_it),
        cmocka_unit_test(no_household_of_ipv4_is_one_of_ipv6),
        cmocka_unit_test(a_peer_without_an_address_has_no_household),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
