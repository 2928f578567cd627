/* test_random.c: the generator against its authors' known answers, streams word by word, and permutations.
 *
 * Source of the known answers: kat_vectors of the Random123 distribution (D. E. Shaw Research), philox4x32 10.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "fastnn.h"
#include "random.h"

static void known_answers(void) {
    static const struct {
        uint32_t counter[4], key[2], answer[4];
    } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        uint32_t out[4];
        fnn_philox(known[i].counter, known[i].key, out);
        CHECK(memcmp(out, known[i].answer, sizeof out) == 0);
    }
}

/* Word i is word i % 4 of block i / 4, whatever n: the layout of the counter is part of the promise of equal bits. */
static void words(void) {
    const uint64_t seed = 0xa4093822299f31d0u;
    const uint32_t key[2] = {0x299f31d0, 0xa4093822}, index = 0xdeadbeef;
    static const ptrdiff_t sizes[] = {0, 1, 3, 4, 5, 63, 64, 65, 100, 1000};
    uint32_t out[1001];
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        ptrdiff_t n = sizes[s];
        out[n] = 0x12345678;
        fnn_random_words(seed, FNN_STREAM_INITIAL, index, n, out);
        CHECK_EQUAL(out[n], 0x12345678);
        int equal = 1;
        for (ptrdiff_t i = 0; i < n; i++) {
            const uint32_t counter[4] = {(uint32_t)(i / 4), (uint32_t)FNN_STREAM_INITIAL << 24, index, 0};
            uint32_t block[4];
            fnn_philox(counter, key, block);
            equal &= out[i] == block[i % 4];
        }
        CHECK(equal);
    }
}

static void streams_differ(void) {
    uint32_t base[64], other[64];
    fnn_random_words(1, FNN_STREAM_SHUFFLE, 0, 64, base);
    fnn_random_words(2, FNN_STREAM_SHUFFLE, 0, 64, other);
    CHECK(memcmp(base, other, sizeof base) != 0);
    fnn_random_words((uint64_t)1 << 32 | 1, FNN_STREAM_SHUFFLE, 0, 64, other);
    CHECK(memcmp(base, other, sizeof base) != 0);
    fnn_random_words(1, FNN_STREAM_SPLIT, 0, 64, other);
    CHECK(memcmp(base, other, sizeof base) != 0);
    fnn_random_words(1, FNN_STREAM_SHUFFLE, 1, 64, other);
    CHECK(memcmp(base, other, sizeof base) != 0);
}

static int is_permutation(const int64_t *order, ptrdiff_t n) {
    unsigned char *seen = calloc((size_t)n + 1, 1);
    int good = seen != NULL;
    for (ptrdiff_t i = 0; good && i < n; i++) {
        good = order[i] >= 0 && order[i] < n && !seen[order[i]];
        if (good) seen[order[i]] = 1;
    }
    free(seen);
    return good;
}

static void permutations(void) {
    static const ptrdiff_t sizes[] = {0, 1, 2, 3, 31, 32, 33, 100, 1797, 60000};
    int64_t *order = malloc(60001 * sizeof *order), *again = malloc(60001 * sizeof *again);
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        ptrdiff_t n = sizes[s];
        order[n] = -7;
        fnn_permutation(3, FNN_STREAM_SHUFFLE, 5, n, order);
        CHECK(is_permutation(order, n));
        CHECK_EQUAL(order[n], -7);
        fnn_permutation(3, FNN_STREAM_SHUFFLE, 5, n, again);
        CHECK(memcmp(order, again, (size_t)n * sizeof *order) == 0);
        if (n < 31) continue;
        fnn_permutation(3, FNN_STREAM_SHUFFLE, 6, n, again);
        CHECK(memcmp(order, again, (size_t)n * sizeof *order) != 0);
        fnn_permutation(3, FNN_STREAM_SHUFFLE, (uint64_t)1 << 32 | 5, n, again);
        CHECK(memcmp(order, again, (size_t)n * sizeof *order) != 0);
    }
    free(order);
    free(again);
}

/* The same by the formula, with exact arithmetic: floor(r.(i + 1) / 2^64) by long division in base 2^16. */
static void permutation_formula(void) {
    enum { N = 1000 };
    uint32_t random[2 * N];
    int64_t order[N], wanted[N];
    fnn_random_words(42, FNN_STREAM_SHUFFLE, 7, 2 * N, random);
    for (uint32_t i = 0; i < N; i++) {
        uint64_t carry = 0; /* of r.(i + 1), 16 bits of r at a time from below */
        for (int part = 0; part < 4; part++) {
            uint64_t digit = random[2 * i + (uint32_t)part / 2] >> (part % 2 * 16) & 0xffffu;
            carry = (digit * (i + 1) + carry) >> 16;
        }
        wanted[i] = i;
        wanted[i] = wanted[carry];
        wanted[carry] = i;
    }
    fnn_permutation(42, FNN_STREAM_SHUFFLE, 7, N, order);
    CHECK(memcmp(order, wanted, sizeof order) == 0);
}

/* All 24 orders of four things are equally frequent. Chi-squared with 23 degrees of freedom exceeds 49.7 once in a
 * thousand; the seed is fixed, so this passes always or never. */
static void permutation_uniform(void) {
    enum { DRAWS = 24000 };
    int counts[256] = {0};
    for (uint64_t epoch = 0; epoch < DRAWS; epoch++) {
        int64_t order[4];
        fnn_permutation(0, FNN_STREAM_SHUFFLE, epoch, 4, order);
        counts[order[0] * 64 + order[1] * 16 + order[2] * 4 + order[3]]++;
    }
    int orders = 0;
    double chi_squared = 0, expected = (double)DRAWS / 24;
    for (int i = 0; i < 256; i++) {
        if (counts[i] == 0) continue;
        orders++;
        chi_squared += (counts[i] - expected) * (counts[i] - expected) / expected;
    }
    CHECK_EQUAL(orders, 24);
    CHECK(chi_squared < 49.7);
}

void test_random(void) {
    known_answers();
    words();
    streams_differ();
    permutations();
    permutation_formula();
    permutation_uniform();
}
