/* transpose.h: a square block of VF_LANES by VF_LANES elements, turned over its diagonal in registers.
 *
 * to[j.ldto + i] = from[i.ldfrom + j]. Sets without a version of their own move element by element.
 */
/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FASTNN_SIMD_TRANSPOSE_H
#define FASTNN_SIMD_TRANSPOSE_H

#include "simd.h"

#if defined(FNN_ISA_AVX512) && FNN_REAL == 32
/* Four rounds of pairing: elements, pairs, quarters, halves. */
FNN_INLINE void vf_transpose(const real *from, ptrdiff_t ldfrom, real *to, ptrdiff_t ldto) {
    __m512 a[16], b[16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) a[i] = _mm512_loadu_ps(from + i * ldfrom);
#pragma GCC unroll 8
    for (int i = 0; i < 16; i += 2) {
        b[i] = _mm512_unpacklo_ps(a[i], a[i + 1]);
        b[i + 1] = _mm512_unpackhi_ps(a[i], a[i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4) {
#pragma GCC unroll 2
        for (int h = 0; h < 2; h++) {
            const __m512d low = _mm512_castps_pd(b[i + h]), high = _mm512_castps_pd(b[i + 2 + h]);
            a[i + 2 * h] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, high));
            a[i + 2 * h + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, high));
        }
    }
#pragma GCC unroll 4
    for (int c = 0; c < 4; c++) {
        const __m512 top_even = _mm512_shuffle_f32x4(a[c], a[4 + c], 0x88);
        const __m512 top_odd = _mm512_shuffle_f32x4(a[c], a[4 + c], 0xdd);
        const __m512 low_even = _mm512_shuffle_f32x4(a[8 + c], a[12 + c], 0x88);
        const __m512 low_odd = _mm512_shuffle_f32x4(a[8 + c], a[12 + c], 0xdd);
        _mm512_storeu_ps(to + c * ldto, _mm512_shuffle_f32x4(top_even, low_even, 0x88));
        _mm512_storeu_ps(to + (4 + c) * ldto, _mm512_shuffle_f32x4(top_odd, low_odd, 0x88));
        _mm512_storeu_ps(to + (8 + c) * ldto, _mm512_shuffle_f32x4(top_even, low_even, 0xdd));
        _mm512_storeu_ps(to + (12 + c) * ldto, _mm512_shuffle_f32x4(top_odd, low_odd, 0xdd));
    }
}
#elif defined(FNN_ISA_AVX2) && FNN_REAL == 32
FNN_INLINE void vf_transpose(const real *from, ptrdiff_t ldfrom, real *to, ptrdiff_t ldto) {
    __m256 a[8], b[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) a[i] = _mm256_loadu_ps(from + i * ldfrom);
#pragma GCC unroll 4
    for (int i = 0; i < 8; i += 2) {
        b[i] = _mm256_unpacklo_ps(a[i], a[i + 1]);
        b[i + 1] = _mm256_unpackhi_ps(a[i], a[i + 1]);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 8; i += 4) {
#pragma GCC unroll 2
        for (int h = 0; h < 2; h++) {
            const __m256d low = _mm256_castps_pd(b[i + h]), high = _mm256_castps_pd(b[i + 2 + h]);
            a[i + 2 * h] = _mm256_castpd_ps(_mm256_unpacklo_pd(low, high));
            a[i + 2 * h + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(low, high));
        }
    }
#pragma GCC unroll 4
    for (int c = 0; c < 4; c++) {
        _mm256_storeu_ps(to + c * ldto, _mm256_permute2f128_ps(a[c], a[4 + c], 0x20));
        _mm256_storeu_ps(to + (4 + c) * ldto, _mm256_permute2f128_ps(a[c], a[4 + c], 0x31));
    }
}
#else
FNN_INLINE void vf_transpose(const real *from, ptrdiff_t ldfrom, real *to, ptrdiff_t ldto) {
    for (ptrdiff_t i = 0; i < VF_LANES; i++)
        for (ptrdiff_t j = 0; j < VF_LANES; j++) to[j * ldto + i] = from[i * ldfrom + j];
}
#endif

#endif
