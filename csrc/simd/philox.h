/* philox.h: sixteen blocks of random words side by side, in vector lanes.
 *
 * Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel Random Numbers: As Easy as 1, 2, 3; SC 2011) maps a counter of
 * four words and a key of two to four random words. What the words of a counter mean is said in csrc/random.c.
 */
/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FASTNN_SIMD_PHILOX_H
#define FASTNN_SIMD_PHILOX_H

#include <stdint.h>

enum { PHILOX_LANES = 16, PHILOX_WORDS = 4 * PHILOX_LANES };

/* Constants of the paper's table 2, and the golden ratio and sqrt(3) - 1 that step the key. */
#define PHILOX_MULTIPLIER0 0xD2511F53u
#define PHILOX_MULTIPLIER1 0xCD9E8D57u
#define PHILOX_WEYL0 0x9E3779B9u
#define PHILOX_WEYL1 0xBB67AE85u

/* Vectors of 64-bit lanes whose low halves are multiplied. Compilers find the product of 32-bit lanes, whose halves go
 * to different words, but at twice the instructions. */
#if defined(FNN_ISA_AVX512)
#include <immintrin.h>
typedef __m512i philox_vector;
#define PHILOX_OP(name) _mm512_##name
#define PHILOX_BITWISE(name) _mm512_##name##_si512
#elif defined(FNN_ISA_AVX2)
#include <immintrin.h>
typedef __m256i philox_vector;
#define PHILOX_OP(name) _mm256_##name
#define PHILOX_BITWISE(name) _mm256_##name##_si256
#elif (defined(__SSE2__) || defined(_M_X64)) && !defined(FNN_ISA_GENERIC)
#include <emmintrin.h>
typedef __m128i philox_vector;
#define PHILOX_OP(name) _mm_##name
#define PHILOX_BITWISE(name) _mm_##name##_si128
#endif

#if defined(PHILOX_OP)

/* One round of the blocks in the low halves of c; the high halves hold anything. */
static inline void philox_round(philox_vector c[4], philox_vector key0, philox_vector key1) {
    const philox_vector product0 = PHILOX_OP(mul_epu32)(c[0], PHILOX_OP(set1_epi32)((int)PHILOX_MULTIPLIER0));
    const philox_vector product1 = PHILOX_OP(mul_epu32)(c[2], PHILOX_OP(set1_epi32)((int)PHILOX_MULTIPLIER1));
    const philox_vector mixed0 = PHILOX_BITWISE(xor)(c[1], key0), mixed1 = PHILOX_BITWISE(xor)(c[3], key1);
    c[0] = PHILOX_BITWISE(xor)(PHILOX_OP(srli_epi64)(product1, 32), mixed0);
    c[1] = product1;
    c[2] = PHILOX_BITWISE(xor)(PHILOX_OP(srli_epi64)(product0, 32), mixed1);
    c[3] = product0;
}

/* Counters, word by word, become blocks of random words. */
static inline void philox(uint32_t counter[4][PHILOX_LANES], uint32_t key0, uint32_t key1) {
    enum { LANES = sizeof(philox_vector) / 4, PARTS = PHILOX_LANES / LANES };
    philox_vector even[PARTS][4], odd[PARTS][4];
    for (int part = 0; part < PARTS; part++) {
        for (int w = 0; w < 4; w++) {
            const void *from = counter[w] + part * LANES;
            even[part][w] = PHILOX_BITWISE(loadu)(from);
            odd[part][w] = PHILOX_OP(srli_epi64)(even[part][w], 32);
        }
    }
    for (int round = 0; round < 10; round++) {
        const philox_vector k0 = PHILOX_OP(set1_epi32)((int)key0), k1 = PHILOX_OP(set1_epi32)((int)key1);
        for (int part = 0; part < PARTS; part++) {
            philox_round(even[part], k0, k1);
            philox_round(odd[part], k0, k1);
        }
        key0 += PHILOX_WEYL0;
        key1 += PHILOX_WEYL1;
    }
    for (int part = 0; part < PARTS; part++) {
        for (int w = 0; w < 4; w++) {
            const philox_vector low = PHILOX_OP(srli_epi64)(PHILOX_OP(slli_epi64)(even[part][w], 32), 32);
            const philox_vector high = PHILOX_OP(slli_epi64)(odd[part][w], 32);
            void *to = counter[w] + part * LANES;
            PHILOX_BITWISE(storeu)(to, PHILOX_BITWISE(or)(low, high));
        }
    }
}

#else

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

#endif

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
