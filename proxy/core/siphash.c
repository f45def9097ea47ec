#include "siphash.h"

struct state {
    uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotate_left(uint64_t x, unsigned bits)
{
    return (x << bits) | (x >> (64 - bits));
}

static inline void round_once(struct state *s)
{
    s->v0 += s->v1;
    s->v1 = rotate_left(s->v1, 13) ^ s->v0;
    s->v0 = rotate_left(s->v0, 32);
    s->v2 += s->v3;
    s->v3 = rotate_left(s->v3, 16) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = rotate_left(s->v3, 21) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = rotate_left(s->v1, 17) ^ s->v2;
    s->v2 = rotate_left(s->v2, 32);
}

static struct state start(const uint64_t key[2])
{
    return (struct state){
        .v0 = key[0] ^ 0x736f6d6570736575u, /* "somepseudorandomlygeneratedbytes" */
        .v1 = key[1] ^ 0x646f72616e646f6du,
        .v2 = key[0] ^ 0x6c7967656e657261u,
        .v3 = key[1] ^ 0x7465646279746573u,
    };
}

static inline void absorb(struct state *s, uint64_t word)
{
    s->v3 ^= word;
    round_once(s);
    round_once(s);
    s->v0 ^= word;
}

/* Up to eight bytes as a little-endian word, zeroes behind them. Byte by byte, so that every machine agrees; compilers
 * make one load of a constant eight. */
static inline uint64_t word_at(const char *bytes, size_t count)
{
    uint64_t word = 0;
    for (size_t i = 0; i < count; i++)
        word |= (uint64_t)(unsigned char)bytes[i] << (8 * i);
    return word;
}

/* Absorbs the whole words of `bytes`; what is left is shorter than one. */
static struct span absorb_words(struct state *s, struct span bytes)
{
    for (; bytes.len >= 8; bytes = span_skip(bytes, 8))
        absorb(s, word_at(bytes.ptr, 8));
    return bytes;
}

/* The last word holds the rest and, in its top byte, the length of all that was hashed. */
static uint64_t finish(struct state *s, struct span rest, size_t total)
{
    absorb(s, word_at(rest.ptr, rest.len) | (uint64_t)total << 56);
    s->v2 ^= 0xff;
    for (int i = 0; i < 4; i++)
        round_once(s);
    return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

uint64_t siphash(const uint64_t key[2], struct span bytes)
{
    struct state s = start(key);
    struct span rest = absorb_words(&s, bytes);
    return finish(&s, rest, bytes.len);
}

/* SipHash of: length of `first` as a word, `first` filled up with zeroes to whole words, `second`. */
uint64_t siphash_pair(const uint64_t key[2], struct span first, struct span second)
{
    struct state s = start(key);
    absorb(&s, first.len);
    struct span rest = absorb_words(&s, first);
    if (rest.len)
        absorb(&s, word_at(rest.ptr, rest.len));
    size_t first_words = (first.len + 7) / 8;
    rest = absorb_words(&s, second);
    return finish(&s, rest, 8 + 8 * first_words + second.len);
}
