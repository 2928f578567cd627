/* avx2.h: the vocabulary of simd.h in 256-bit registers; needs AVX2 and FMA (-mavx2 -mfma).
 * A mask is a register whose lanes are all ones or all zeros.
 * The rule: what each word means is said in simd.h; masked loads and stores never touch the lanes left out.
 * An instruction spelled out has both orders of operands, {AT&T|Intel}: under -masm=intel the first would be assembled
 * too, and compute something else.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#ifndef FASTNN_SIMD_AVX2_H
#define FASTNN_SIMD_AVX2_H

#include <immintrin.h>

#define VF_REGISTERS 16
#define VF_UNROLLED 4

#if FNN_REAL == 32

#define VF_LANES 8
#define VF_ACCUMULATE "vfmadd231ps"
typedef __m256 vf;
typedef __m256 vm;

FNN_INLINE vf vf_zero(void) { return _mm256_setzero_ps(); }
FNN_INLINE vf vf_set1(real x) { return _mm256_set1_ps(x); }
FNN_INLINE vf vf_load(const real *p) { return _mm256_loadu_ps(p); }
FNN_INLINE void vf_store(real *p, vf v) { _mm256_storeu_ps(p, v); }
FNN_INLINE vf vf_load_first(const real *p, vm m) { return _mm256_maskload_ps(p, _mm256_castps_si256(m)); }
FNN_INLINE void vf_store_first(real *p, vf v, vm m) { _mm256_maskstore_ps(p, _mm256_castps_si256(m), v); }

FNN_INLINE vf vf_add(vf a, vf b) { return _mm256_add_ps(a, b); }
FNN_INLINE vf vf_sub(vf a, vf b) { return _mm256_sub_ps(a, b); }
FNN_INLINE vf vf_mul(vf a, vf b) { return _mm256_mul_ps(a, b); }
FNN_INLINE vf vf_div(vf a, vf b) { return _mm256_div_ps(a, b); }
FNN_INLINE vf vf_sqrt(vf a) { return _mm256_sqrt_ps(a); }
FNN_INLINE vf vf_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
FNN_INLINE vf vf_fnma(vf a, vf b, vf c) { return _mm256_fnmadd_ps(a, b, c); }
FNN_INLINE vf vf_max(vf a, vf b) { return _mm256_max_ps(a, b); }
FNN_INLINE vf vf_min(vf a, vf b) { return _mm256_min_ps(a, b); }
FNN_INLINE vf vf_neg(vf a) { return _mm256_xor_ps(a, _mm256_set1_ps(-0.0f)); }
FNN_INLINE vf vf_abs(vf a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
FNN_INLINE vf vf_round(vf a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }

FNN_INLINE vf vf_copysign(vf a, vf s)
{
    __m256 sign = _mm256_set1_ps(-0.0f);
    return _mm256_or_ps(_mm256_andnot_ps(sign, a), _mm256_and_ps(sign, s));
}

FNN_INLINE vf vf_pow2(vf n)
{
    __m256i sum = _mm256_castps_si256(_mm256_add_ps(n, _mm256_set1_ps(VF_EXPONENT_MAGIC)));
    return _mm256_castsi256_ps(_mm256_slli_epi32(sum, VF_SIGNIFICAND_BITS));
}

/* In units of the exponent field, e is how far a lies above 0.75. */
FNN_INLINE vf vf_split(vf a, vf *e)
{
    __m256i bits = _mm256_castps_si256(a);
    __m256i exponent = _mm256_srai_epi32(_mm256_sub_epi32(bits, _mm256_castps_si256(_mm256_set1_ps(0.75f))),
                                         VF_SIGNIFICAND_BITS);
    *e = _mm256_cvtepi32_ps(exponent);
    return _mm256_castsi256_ps(_mm256_sub_epi32(bits, _mm256_slli_epi32(exponent, VF_SIGNIFICAND_BITS)));
}

FNN_INLINE vm vm_first(ptrdiff_t n)
{
    int count = n <= 0 ? 0 : n >= VF_LANES ? VF_LANES : (int)n;
    return _mm256_castsi256_ps(
        _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)));
}

FNN_INLINE vm vm_lt(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
FNN_INLINE vm vm_le(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_LE_OQ); }
FNN_INLINE vm vm_gt(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_GT_OQ); }
FNN_INLINE vm vm_ge(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_GE_OQ); }
FNN_INLINE vm vm_eq(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
FNN_INLINE vm vm_and(vm a, vm b) { return _mm256_and_ps(a, b); }
FNN_INLINE vm vm_not(vm a) { return _mm256_xor_ps(a, _mm256_castsi256_ps(_mm256_set1_epi32(-1))); }
FNN_INLINE int vm_any(vm m) { return _mm256_movemask_ps(m) != 0; }
FNN_INLINE vf vf_select(vm m, vf a, vf b) { return _mm256_blendv_ps(b, a, m); }

FNN_INLINE real vf_sum_lanes(vf v)
{
    __m128 v4 = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    __m128 v2 = _mm_add_ps(v4, _mm_movehl_ps(v4, v4));
    return _mm_cvtss_f32(_mm_add_ss(v2, _mm_movehdup_ps(v2)));
}

FNN_INLINE real vf_max_lanes(vf v)
{
    __m128 v4 = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    __m128 v2 = _mm_max_ps(v4, _mm_movehl_ps(v4, v4));
    return _mm_cvtss_f32(_mm_max_ss(v2, _mm_movehdup_ps(v2)));
}

FNN_INLINE real real_fma(real a, real b, real c)
{
    return _mm_cvtss_f32(_mm_fmadd_ss(_mm_set_ss(a), _mm_set_ss(b), _mm_set_ss(c)));
}

#define VF_FOURS
FNN_INLINE vf vf_fours(const real *p, ptrdiff_t ld)
{
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p)), _mm_loadu_ps(p + ld), 1);
}
FNN_INLINE vf vf_same_fours(const real *p, ptrdiff_t n)
{
    __m128i first = _mm_cmpgt_epi32(_mm_set1_epi32((int)n), _mm_setr_epi32(0, 1, 2, 3));
    __m128 four = n >= 4 ? _mm_loadu_ps(p) : _mm_maskload_ps(p, first);
    return _mm256_set_m128(four, four);
}
#define vf_spread(v, i) _mm256_permute_ps(v, (i) * 0x55)

#else /* FNN_REAL == 64 */

#define VF_LANES 4
#define VF_ACCUMULATE "vfmadd231pd"
typedef __m256d vf;
typedef __m256d vm;

FNN_INLINE vf vf_zero(void) { return _mm256_setzero_pd(); }
FNN_INLINE vf vf_set1(real x) { return _mm256_set1_pd(x); }
FNN_INLINE vf vf_load(const real *p) { return _mm256_loadu_pd(p); }
FNN_INLINE void vf_store(real *p, vf v) { _mm256_storeu_pd(p, v); }
FNN_INLINE vf vf_load_first(const real *p, vm m) { return _mm256_maskload_pd(p, _mm256_castpd_si256(m)); }
FNN_INLINE void vf_store_first(real *p, vf v, vm m) { _mm256_maskstore_pd(p, _mm256_castpd_si256(m), v); }

FNN_INLINE vf vf_add(vf a, vf b) { return _mm256_add_pd(a, b); }
FNN_INLINE vf vf_sub(vf a, vf b) { return _mm256_sub_pd(a, b); }
FNN_INLINE vf vf_mul(vf a, vf b) { return _mm256_mul_pd(a, b); }
FNN_INLINE vf vf_div(vf a, vf b) { return _mm256_div_pd(a, b); }
FNN_INLINE vf vf_sqrt(vf a) { return _mm256_sqrt_pd(a); }
FNN_INLINE vf vf_fma(vf a, vf b, vf c) { return _mm256_fmadd_pd(a, b, c); }
FNN_INLINE vf vf_fnma(vf a, vf b, vf c) { return _mm256_fnmadd_pd(a, b, c); }
FNN_INLINE vf vf_max(vf a, vf b) { return _mm256_max_pd(a, b); }
FNN_INLINE vf vf_min(vf a, vf b) { return _mm256_min_pd(a, b); }
FNN_INLINE vf vf_neg(vf a) { return _mm256_xor_pd(a, _mm256_set1_pd(-0.0)); }
FNN_INLINE vf vf_abs(vf a) { return _mm256_andnot_pd(_mm256_set1_pd(-0.0), a); }
FNN_INLINE vf vf_round(vf a) { return _mm256_round_pd(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }

FNN_INLINE vf vf_copysign(vf a, vf s)
{
    __m256d sign = _mm256_set1_pd(-0.0);
    return _mm256_or_pd(_mm256_andnot_pd(sign, a), _mm256_and_pd(sign, s));
}

FNN_INLINE vf vf_pow2(vf n)
{
    __m256i sum = _mm256_castpd_si256(_mm256_add_pd(n, _mm256_set1_pd(VF_EXPONENT_MAGIC)));
    return _mm256_castsi256_pd(_mm256_slli_epi64(sum, VF_SIGNIFICAND_BITS));
}

/* AVX2 neither shifts 64-bit integers with their sign nor converts them. So 1024 is added to e to keep it positive,
 * and it becomes a double by being put into the significand of 2^52. */
FNN_INLINE vf vf_split(vf a, vf *e)
{
    __m256d two52 = _mm256_set1_pd(4503599627370496.0);
    __m256i bits = _mm256_castpd_si256(a);
    __m256i offset = _mm256_sub_epi64(_mm256_set1_epi64x((int64_t)1024 << VF_SIGNIFICAND_BITS),
                                      _mm256_castpd_si256(_mm256_set1_pd(0.75)));
    __m256i exponent = _mm256_srli_epi64(_mm256_add_epi64(bits, offset), VF_SIGNIFICAND_BITS);
    __m256d shifted = _mm256_or_pd(_mm256_castsi256_pd(exponent), two52);
    *e = _mm256_sub_pd(shifted, _mm256_set1_pd(4503599627370496.0 + 1024.0));
    __m256i unshifted = _mm256_sub_epi64(exponent, _mm256_set1_epi64x(1024));
    return _mm256_castsi256_pd(_mm256_sub_epi64(bits, _mm256_slli_epi64(unshifted, VF_SIGNIFICAND_BITS)));
}

FNN_INLINE vm vm_first(ptrdiff_t n)
{
    return _mm256_castsi256_pd(_mm256_cmpgt_epi64(_mm256_set1_epi64x((int64_t)n), _mm256_setr_epi64x(0, 1, 2, 3)));
}

FNN_INLINE vm vm_lt(vf a, vf b) { return _mm256_cmp_pd(a, b, _CMP_LT_OQ); }
FNN_INLINE vm vm_le(vf a, vf b) { return _mm256_cmp_pd(a, b, _CMP_LE_OQ); }
FNN_INLINE vm vm_gt(vf a, vf b) { return _mm256_cmp_pd(a, b, _CMP_GT_OQ); }
FNN_INLINE vm vm_ge(vf a, vf b) { return _mm256_cmp_pd(a, b, _CMP_GE_OQ); }
FNN_INLINE vm vm_eq(vf a, vf b) { return _mm256_cmp_pd(a, b, _CMP_EQ_OQ); }
FNN_INLINE vm vm_and(vm a, vm b) { return _mm256_and_pd(a, b); }
FNN_INLINE vm vm_not(vm a) { return _mm256_xor_pd(a, _mm256_castsi256_pd(_mm256_set1_epi64x(-1))); }
FNN_INLINE int vm_any(vm m) { return _mm256_movemask_pd(m) != 0; }
FNN_INLINE vf vf_select(vm m, vf a, vf b) { return _mm256_blendv_pd(b, a, m); }

FNN_INLINE real vf_sum_lanes(vf v)
{
    __m128d v2 = _mm_add_pd(_mm256_castpd256_pd128(v), _mm256_extractf128_pd(v, 1));
    return _mm_cvtsd_f64(_mm_add_sd(v2, _mm_unpackhi_pd(v2, v2)));
}

FNN_INLINE real vf_max_lanes(vf v)
{
    __m128d v2 = _mm_max_pd(_mm256_castpd256_pd128(v), _mm256_extractf128_pd(v, 1));
    return _mm_cvtsd_f64(_mm_max_sd(v2, _mm_unpackhi_pd(v2, v2)));
}

FNN_INLINE real real_fma(real a, real b, real c)
{
    return _mm_cvtsd_f64(_mm_fmadd_sd(_mm_set_sd(a), _mm_set_sd(b), _mm_set_sd(c)));
}

#endif

/* Left to itself, gcc sends accumulators from register to register and to the stack; and what is loaded for a
 * multiply-add must stay beside it ("memory"), or it takes the registers that they need. */
FNN_INLINE vf vf_accumulate(vf a, vf b, vf c)
{
#if defined(__GNUC__)
    __asm__ volatile(VF_ACCUMULATE " {%2, %1, %0|%0, %1, %2}" : "+x"(c) : "x"(a), "x"(b) : "memory");
    return c;
#else
    return vf_fma(a, b, c);
#endif
}

/* Two factors, because 2^n itself may not be representable; the first product is exact, or what it overflows or
 * flushes to is what the result would be. */
FNN_INLINE vf vf_ldexp(vf a, vf n)
{
    vf half = vf_round(vf_mul(n, vf_set1(REAL(0.5))));
    return vf_mul(vf_mul(a, vf_pow2(half)), vf_pow2(vf_sub(n, half)));
}

#endif
