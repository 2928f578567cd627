/* random.c: counter-based random numbers; every value is a function of where it is, never of what was drawn before.
 *
 * Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel Random Numbers: As Easy as 1, 2, 3; SC 2011) maps a counter of
 * four words and a key of two to four random words; for one key it is a bijection of the counter. Here
 *
 *   key     = (seed low, seed high)
 *   counter = (block 0..31, block 32..55 | stream << 24, index low, index high)
 *
 * so streams (what the numbers are for, below 256), indices (epoch, tensor) and blocks (of four words) never meet.
 * To add a use of random numbers: a new fnn_stream in fastnn.h, nothing here.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include "random.h"

#include <string.h>

#include "fastnn.h"
#include "simd/philox.h"

enum { LANES = PHILOX_LANES, WORDS = PHILOX_WORDS };

void fnn_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
    uint32_t lanes[4][LANES] = {{counter[0]}, {counter[1]}, {counter[2]}, {counter[3]}};
    philox(lanes, key[0], key[1]);
    for (int word = 0; word < 4; word++) out[word] = lanes[word][0];
}

/* Words 4.block .. 4.block + WORDS - 1 of a stream. */
static void random_blocks(uint64_t seed, int stream, uint64_t index, uint64_t block, uint32_t out[WORDS]) {
    uint32_t words[4][LANES];
    philox_blocks(seed, stream, index, block, words);
    for (int lane = 0; lane < LANES; lane++)
        for (int word = 0; word < 4; word++) out[4 * lane + word] = words[word][lane];
}

void fnn_random_words(uint64_t seed, int stream, uint32_t index, ptrdiff_t n, uint32_t *out) {
    uint32_t words[WORDS];
    for (ptrdiff_t done = 0; done < n; done += WORDS) {
        ptrdiff_t count = n - done < WORDS ? n - done : WORDS;
        random_blocks(seed, stream, index, (uint64_t)done / 4, words);
        memcpy(out + done, words, (size_t)count * sizeof *out);
    }
}

/* floor(a.b / 2^64), in 32-bit halves: not every compiler has a 128-bit integer. */
static inline uint64_t high_product(uint64_t a, uint64_t b) {
    uint64_t a_low = (uint32_t)a, a_high = a >> 32, b_low = (uint32_t)b, b_high = b >> 32;
    uint64_t middle1 = a_high * b_low + (a_low * b_low >> 32);
    uint64_t middle2 = a_low * b_high + (uint32_t)middle1;
    return a_high * b_high + (middle1 >> 32) + (middle2 >> 32);
}

/* Fisher-Yates, inside out: element i goes to a random place j among the first i + 1, whose holder moves to place i.
 * j = floor(r.(i + 1) / 2^64) with r = words 2i and 2i + 1 (low, high) of the stream; no j is more probable than
 * another by more than (i + 1) / 2^64. */
void fnn_permutation(uint64_t seed, int stream, uint64_t index, ptrdiff_t n, int64_t *out) {
    uint32_t words[WORDS];
    ptrdiff_t place[WORDS / 2]; /* all found first: then reading there does not wait for the multiplications */
    for (ptrdiff_t first = 0; first < n; first += WORDS / 2) {
        ptrdiff_t count = n - first < WORDS / 2 ? n - first : WORDS / 2;
        random_blocks(seed, stream, index, (uint64_t)first / 2, words);
        for (ptrdiff_t k = 0; k < count; k++) {
            const uint64_t random = words[2 * k] | (uint64_t)words[2 * k + 1] << 32;
            place[k] = (ptrdiff_t)high_product(random, (uint64_t)(first + k) + 1);
        }
        for (ptrdiff_t k = 0; k < count; k++) {
            const ptrdiff_t i = first + k, j = place[k];
            out[i] = i;
            out[i] = out[j];
            out[j] = i;
        }
    }
}
