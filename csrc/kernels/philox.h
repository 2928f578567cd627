/* philox.h: sixteen blocks of random words side by side, for the compiler to put into vector lanes.
 *
 * Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel Random Numbers: As Easy as 1, 2, 3; SC 2011) maps a counter of
 * four words and a key of two to four random words. What the words of a counter mean is said in csrc/random.c.
 */
/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FASTNN_KERNELS_PHILOX_H
#define FASTNN_KERNELS_PHILOX_H

#include <stdint.h>

enum { PHILOX_LANES = 16, PHILOX_WORDS = 4 * PHILOX_LANES };

/* Constants of the paper's table 2, and the golden ratio and sqrt(3) - 1 that step the key. */
#define PHILOX_MULTIPLIER0 0xD2511F53u
#define PHILOX_MULTIPLIER1 0xCD9E8D57u
#define PHILOX_WEYL0 0x9E3779B9u
#define PHILOX_WEYL1 0xBB67AE85u

/* Counters, word by word, become blocks of random words. */
static inline void philox(uint32_t counter[4][PHILOX_LANES], uint32_t key0, uint32_t key1) {
    for (int round = 0; round < 10; round++) {
        for (int lane = 0; lane < PHILOX_LANES; lane++) {
            const uint64_t product0 = (uint64_t)PHILOX_MULTIPLIER0 * counter[0][lane];
            const uint64_t product1 = (uint64_t)PHILOX_MULTIPLIER1 * counter[2][lane];
            counter[0][lane] = (uint32_t)(product1 >> 32) ^ counter[1][lane] ^ key0;
            counter[1][lane] = (uint32_t)product1;
            counter[2][lane] = (uint32_t)(product0 >> 32) ^ counter[3][lane] ^ key1;
            counter[3][lane] = (uint32_t)product0;
        }
        key0 += PHILOX_WEYL0;
        key1 += PHILOX_WEYL1;
    }
}

/* words[w][lane] = word w of block `block + lane` of the stream (seed, stream, index). */
static inline void philox_blocks(uint64_t seed, int stream, uint64_t index, uint64_t block,
                                 uint32_t words[4][PHILOX_LANES]) {
    for (int lane = 0; lane < PHILOX_LANES; lane++) {
        words[0][lane] = (uint32_t)(block + (uint64_t)lane);
        words[1][lane] = (uint32_t)((block + (uint64_t)lane) >> 32) | (uint32_t)stream << 24;
        words[2][lane] = (uint32_t)index;
        words[3][lane] = (uint32_t)(index >> 32);
    }
    philox(words, (uint32_t)seed, (uint32_t)(seed >> 32));
}

#endif
