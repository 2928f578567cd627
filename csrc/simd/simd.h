/* simd.h: what a vector register is. Kernels are written once in the vocabulary below and compiled once per
 * instruction set (the build defines one FNN_ISA_* macro) and per real type (FNN_REAL: 32 or 64).
 * The rule: the same call gives the same bits on every set (a NaN may differ in its sign and payload).
 * To add an instruction set: write one file like generic.h and choose it below; tests/c/vector_math_sweep.c checks it.
 *
 *   real, vf, vm              one number; VF_LANES of them in a register; a mask that selects some of its lanes
 *   vf_zero vf_set1           constants in every lane
 *   vf_load vf_store          VF_LANES numbers at any address
 *   vf_load_first             lanes in the mask (the others 0); memory of the other lanes is never touched
 *   vf_store_first            the same for writing; masks for both come from vm_first
 *   vf_add sub mul div sqrt   rounded to nearest, as IEEE 754 has it
 *   vf_fma(a, b, c)           a * b + c, rounded once
 *   vf_fnma(a, b, c)          c - a * b, rounded once
 *   vf_neg vf_abs             flip, clear the sign bit
 *   vf_copysign(a, s)         magnitude of a, sign of s
 *   vf_max(a, b)              a > b ? a : b, so b if one is NaN or both are zeros
 *   vf_min(a, b)              a < b ? a : b, likewise
 *   vf_round(a)               to the nearest integer, ties to even, -0.3 to -0; |a| < 2^22 (2^51)
 *   vf_pow2(n)                2^n for an integer n in -126..127 (-1022..1023)
 *   vf_ldexp(a, n)            a * 2^n for an integer n in -252..254 (-2044..2046): exact where the result is normal
 *   vf_split(a, &e)           a = m * 2^e for a positive, normal and finite; returns m, 0.75 <= m < 1.5
 *   vf_sum_lanes vf_max_lanes upper half of the lanes onto the lower half, until one is left
 *   vm_first(n)               the first n lanes: none for n <= 0, all for n >= VF_LANES
 *   vm_lt le gt ge eq (a, b)  comparisons; false where one is NaN
 *   vm_and vm_not vm_any
 *   vf_select(m, a, b)        m ? a : b
 *   v16                       16 lanes in as many registers as that takes: for sums over lanes
 *   real_fma(a, b, c)         vf_fma of one number
 *   VF_UNROLLED               steps of a product written one after the other, for a processor that is held up by how
 *                             much there is to do beside the multiply-adds; then
 *   vf_accumulate(a, b, c)    is vf_fma(a, b, c) that leaves its result in the register of c
 *   vf_three(p, to)           the three numbers at p to `to`, which has room for four; 0 if all are +0, 1 if one is not
 *                             zero, either where one is -0
 * Only where VF_FOURS is defined, registers as groups of four lanes:
 *   vf_fours(p, ld)           the four numbers at p in the first group, at p + ld in the next, and so on
 *   vf_same_fours(p, n)       the first n numbers at p (the others 0, and not touched) in each group
 *   vf_spread(v, i)           number i of each group in all its lanes; i is a constant
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#ifndef FASTNN_SIMD_SIMD_H
#define FASTNN_SIMD_SIMD_H

#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(_MSC_VER) && !defined(__clang__)
#define FNN_INLINE static __forceinline
#else
#define FNN_INLINE static inline __attribute__((always_inline))
#endif

/* Asks for the cache line at an address, which need not be valid: to read it, or to write it, for which no other
 * processor may keep a copy. */
#if defined(__GNUC__)
#define fnn_prefetch(address) __builtin_prefetch(address, 0, 3)
#define fnn_prefetch_to_write(address) __builtin_prefetch(address, 1, 3)
#elif defined(_MSC_VER) && defined(_M_X64)
#include <intrin.h>
#define fnn_prefetch(address) _mm_prefetch((const char *)(address), _MM_HINT_T0)
#define fnn_prefetch_to_write(address) _m_prefetchw(address)
#else
#define fnn_prefetch(address) ((void)(address))
#define fnn_prefetch_to_write(address) ((void)(address))
#endif

/* The compiler forgets what it knows of a pointer: it would keep the sums of pointers and offsets, which an address
 * takes for nothing, in registers that it does not have. */
#if defined(__GNUC__)
#define fnn_forget(pointer) __asm__("" : "+r"(pointer))
#else
#define fnn_forget(pointer) ((void)0)
#endif

#include "real.h"

#if FNN_REAL == 32
#define REAL(x) x##f
#else
#define REAL(x) x
#endif

#if defined(FNN_ISA_AVX512) + defined(FNN_ISA_AVX2) + defined(FNN_ISA_NEON) + defined(FNN_ISA_GENERIC) != 1
#error "define exactly one of FNN_ISA_AVX512, FNN_ISA_AVX2, FNN_ISA_NEON, FNN_ISA_GENERIC"
#endif

/* An integer n plus this has the exponent field of 2^n in its lowest bits: 1.5 * 2^23 (2^52) makes the unit in the
 * last place 1, and the bias of the exponent is added to it. */
#if FNN_REAL == 32
#define VF_EXPONENT_MAGIC (12582912.0f + 127.0f)
#define VF_SIGNIFICAND_BITS 23 /* stored */
#else
#define VF_EXPONENT_MAGIC (6755399441055744.0 + 1023.0)
#define VF_SIGNIFICAND_BITS 52 /* stored */
#endif

#if defined(FNN_ISA_AVX512)
#include "avx512.h"
#elif defined(FNN_ISA_AVX2)
#include "avx2.h"
#elif defined(FNN_ISA_NEON)
#include "neon.h"
#else
#include "generic.h"
#endif

/* ---- the same on every set ----------------------------------------------------------------------------------- */

#if !defined(VF_UNROLLED)
#define VF_UNROLLED 1
#define vf_accumulate vf_fma
#endif

#if defined(__AVX2__) /* in 128 and 256 bits, whatever a register of the set has */
FNN_INLINE int vf_three(const real *p, real *to)
{
#if FNN_REAL == 32
    const __m128 x = _mm_maskload_ps(p, _mm_setr_epi32(-1, -1, -1, 0));
    const __m128i bits = _mm_castps_si128(x);
    _mm_storeu_ps(to, x);
    return !_mm_testz_si128(bits, bits);
#else
    const __m256d x = _mm256_maskload_pd(p, _mm256_setr_epi64x(-1, -1, -1, 0));
    const __m256i bits = _mm256_castpd_si256(x);
    _mm256_storeu_pd(to, x);
    return !_mm256_testz_si256(bits, bits);
#endif
}
#else
FNN_INLINE int vf_three(const real *p, real *to)
{
    for (int i = 0; i < 3; i++) to[i] = p[i];
    return (p[0] != 0) | (p[1] != 0) | (p[2] != 0);
}
#endif

/* Portable kernels ask for nothing ahead: one lane is too slow to wait for it. */
#define VF_ASKS_AHEAD (VF_LANES > 1)

#if FNN_REAL == 32
#define REAL_MAX FLT_MAX
#define REAL_MIN_NORMAL FLT_MIN
#else
#define REAL_MAX DBL_MAX
#define REAL_MIN_NORMAL DBL_MIN
#endif

/* Lane l of the 16 is lane l % VF_LANES of part l / VF_LANES. */
enum { V16_PARTS = 16 / VF_LANES };
typedef struct {
    vf part[V16_PARTS];
} v16;

FNN_INLINE v16 v16_zero(void)
{
    v16 v;
    for (int i = 0; i < V16_PARTS; i++) v.part[i] = vf_zero();
    return v;
}

FNN_INLINE v16 v16_set1(real x)
{
    v16 v;
    for (int i = 0; i < V16_PARTS; i++) v.part[i] = vf_set1(x);
    return v;
}

FNN_INLINE v16 v16_load(const real *p)
{
    v16 v;
    for (int i = 0; i < V16_PARTS; i++) v.part[i] = vf_load(p + i * VF_LANES);
    return v;
}

/* The first n of 16 numbers (0 <= n <= 16); the others are 0 and their memory is not touched. */
FNN_INLINE v16 v16_load_first(const real *p, ptrdiff_t n)
{
    v16 v;
    for (int i = 0; i < V16_PARTS; i++) {
        ptrdiff_t start = i * VF_LANES < n ? i * VF_LANES : n;
        v.part[i] = vf_load_first(p + start, vm_first(n - start));
    }
    return v;
}

/* The first n lanes (0 <= n), the others 0. */
FNN_INLINE v16 v16_first(v16 v, ptrdiff_t n)
{
    for (int i = 0; i < V16_PARTS; i++) v.part[i] = vf_select(vm_first(n - i * VF_LANES), v.part[i], vf_zero());
    return v;
}

FNN_INLINE v16 v16_fma(v16 a, v16 b, v16 c)
{
    for (int i = 0; i < V16_PARTS; i++) c.part[i] = vf_fma(a.part[i], b.part[i], c.part[i]);
    return c;
}

FNN_INLINE v16 v16_add(v16 a, v16 b)
{
    for (int i = 0; i < V16_PARTS; i++) a.part[i] = vf_add(a.part[i], b.part[i]);
    return a;
}

FNN_INLINE v16 v16_sub(v16 a, v16 b)
{
    for (int i = 0; i < V16_PARTS; i++) a.part[i] = vf_sub(a.part[i], b.part[i]);
    return a;
}

FNN_INLINE v16 v16_mul(v16 a, v16 b)
{
    for (int i = 0; i < V16_PARTS; i++) a.part[i] = vf_mul(a.part[i], b.part[i]);
    return a;
}

FNN_INLINE v16 v16_max(v16 a, v16 b)
{
    for (int i = 0; i < V16_PARTS; i++) a.part[i] = vf_max(a.part[i], b.part[i]);
    return a;
}

/* Sum and maximum over the lanes by one fixed tree: lane l with lane l + 8, then l + 4, l + 2, l + 1. */
FNN_INLINE real v16_sum(v16 v)
{
    for (int half = V16_PARTS / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) v.part[i] = vf_add(v.part[i], v.part[i + half]);
    return vf_sum_lanes(v.part[0]);
}

FNN_INLINE real v16_max_lanes(v16 v)
{
    for (int half = V16_PARTS / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) v.part[i] = vf_max(v.part[i], v.part[i + half]);
    return vf_max_lanes(v.part[0]);
}

#endif
