#include "../../proxy/core/siphash.h"

#include "unit.h"

/* The key of the reference vectors: bytes 00 01 .. 0f; their input is 00 01 02 ... */
static const uint64_t reference_key[2] = {0x0706050403020100u, 0x0f0e0d0c0b0a0908u};

static struct span counting_bytes(size_t count)
{
    static char bytes[64];
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (char)i;
    return edge_copy_span(span_of(bytes, count));
}

static void hashes_are_those_of_the_reference_implementation(void **state)
{
    (void)state;
    static const struct {
        size_t length;
        uint64_t hash;
    } rows[] = {
        {0, 0x726fdb47dd0e0e31u},  {1, 0x74f839c593dc67fdu},  {2, 0x0d6c8009d9a94f5au},  {3, 0x85676696d7fb7e2du},
        {4, 0xcf2794e0277187b7u},  {5, 0x18765564cd99a68du},  {6, 0xcbc9466e58fee3ceu},  {7, 0xab0200f58b01d137u},
        {8, 0x93f5f5799a932462u},  {9, 0x9e0082df0ba9e4b0u},  {15, 0xa129ca6149be45e5u}, {16, 0x3f2acc7f57c29bdbu},
        {17, 0x699ae9f52cbe4794u}, {24, 0xb8ad50c6f649af94u}, {63, 0x958a324ceb064572u},
    };
    FOR_EACH (row, rows) {
        assert_true(siphash(reference_key, counting_bytes(rows[row_at].length)) == rows[row_at].hash);
    }
}

static void a_pair_is_the_hash_of_length_padded_first_and_second(void **state)
{
    (void)state;
    /* the same on every machine and in every version: a map in a file depends on it */
    assert_true(siphash_pair(reference_key, edge_copy("/socket.io/"), edge_copy("aB3dE5gH7jK9mN1pAAAB")) ==
                0xf1e6b1b691d0ed6au);
}

static void no_two_pairs_share_a_hash(void **state)
{
    (void)state;
    static const struct {
        struct span first, second;
    } rows[] = {
        {{"a", 1}, {"bc", 2}},
        {{"ab", 2}, {"c", 1}},
        {{"abc", 3}, {"", 0}},
        {{"", 0}, {"abc", 3}},
        {{"a\0", 2}, {"bc", 2}},
        {{"a", 1}, {"\0bc", 3}},
        {{"a\0\0\0\0\0\0\0", 8}, {"bc", 2}},
        {{"a", 1}, {"\0\0\0\0\0\0\0bc", 9}},
        {{"a", 1}, {"bc\0", 3}},
        {{"", 0}, {"", 0}},
        {{"12345678", 8}, {"", 0}},
        {{"", 0}, {"12345678", 8}},
        {{"1234567", 7}, {"8", 1}},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        uint64_t mine = siphash_pair(reference_key, edge_copy_span(rows[i].first), edge_copy_span(rows[i].second));
        for (size_t j = 0; j < i; j++)
            assert_true(mine != siphash_pair(reference_key, rows[j].first, rows[j].second));
    }
}

static void another_key_gives_another_hash(void **state)
{
    (void)state;
    const uint64_t other_key[2] = {reference_key[0], reference_key[1] ^ 1};
    assert_true(siphash(reference_key, SPAN("sid")) != siphash(other_key, SPAN("sid")));
    assert_true(siphash_pair(reference_key, SPAN("/"), SPAN("sid")) != siphash_pair(other_key, SPAN("/"), SPAN("sid")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hashes_are_those_of_the_reference_implementation),
        cmocka_unit_test(a_pair_is_the_hash_of_length_padded_first_and_second),
        cmocka_unit_test(no_two_pairs_share_a_hash),
        cmocka_unit_test(another_key_gives_another_hash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
