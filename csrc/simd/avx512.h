/* avx512.h: the vocabulary of simd.h in 512-bit registers; needs AVX-512 F, BW, DQ and VL, and FMA
 * (-mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma). A mask is one bit per lane in a mask register.
 * The rule: one or two instructions per word; what each word means is said in simd.h.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#ifndef FASTNN_SIMD_AVX512_H
#define FASTNN_SIMD_AVX512_H

#include <immintrin.h>

#define VF_REGISTERS 32

#if FNN_REAL == 32

#define VF_LANES 16
typedef __m512 vf;
typedef __mmask16 vm;

FNN_INLINE vf vf_zero(void) { return _mm512_setzero_ps(); }
FNN_INLINE vf vf_set1(real x) { return _mm512_set1_ps(x); }
FNN_INLINE vf vf_load(const real *p) { return _mm512_loadu_ps(p); }
FNN_INLINE void vf_store(real *p, vf v) { _mm512_storeu_ps(p, v); }
FNN_INLINE vf vf_load_first(const real *p, vm m) { return _mm512_maskz_loadu_ps(m, p); }
FNN_INLINE void vf_store_first(real *p, vf v, vm m) { _mm512_mask_storeu_ps(p, m, v); }

FNN_INLINE vf vf_add(vf a, vf b) { return _mm512_add_ps(a, b); }
FNN_INLINE vf vf_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
FNN_INLINE vf vf_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
FNN_INLINE vf vf_div(vf a, vf b) { return _mm512_div_ps(a, b); }
FNN_INLINE vf vf_sqrt(vf a) { return _mm512_sqrt_ps(a); }
FNN_INLINE vf vf_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
FNN_INLINE vf vf_fnma(vf a, vf b, vf c) { return _mm512_fnmadd_ps(a, b, c); }
FNN_INLINE vf vf_max(vf a, vf b) { return _mm512_max_ps(a, b); }
FNN_INLINE vf vf_min(vf a, vf b) { return _mm512_min_ps(a, b); }
FNN_INLINE vf vf_neg(vf a) { return _mm512_xor_ps(a, _mm512_set1_ps(-0.0f)); }
FNN_INLINE vf vf_abs(vf a) { return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), a); }
FNN_INLINE vf vf_round(vf a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }

/* 0xCA selects bit by bit: first ? second : third. */
FNN_INLINE vf vf_copysign(vf a, vf s)
{
    return _mm512_castsi512_ps(_mm512_ternarylogic_epi32(_mm512_set1_epi32(0x7fffffff), _mm512_castps_si512(a),
                                                         _mm512_castps_si512(s), 0xCA));
}

FNN_INLINE vf vf_ldexp(vf a, vf n) { return _mm512_scalef_ps(a, n); }

FNN_INLINE vf vf_pow2(vf n)
{
    __m512i sum = _mm512_castps_si512(_mm512_add_ps(n, _mm512_set1_ps(VF_EXPONENT_MAGIC)));
    return _mm512_castsi512_ps(_mm512_slli_epi32(sum, VF_SIGNIFICAND_BITS));
}

/* In units of the exponent field, e is how far a lies above 0.75. */
FNN_INLINE vf vf_split(vf a, vf *e)
{
    __m512i bits = _mm512_castps_si512(a);
    __m512i exponent = _mm512_srai_epi32(_mm512_sub_epi32(bits, _mm512_castps_si512(_mm512_set1_ps(0.75f))),
                                         VF_SIGNIFICAND_BITS);
    *e = _mm512_cvtepi32_ps(exponent);
    return _mm512_castsi512_ps(_mm512_sub_epi32(bits, _mm512_slli_epi32(exponent, VF_SIGNIFICAND_BITS)));
}

FNN_INLINE vm vm_lt(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
FNN_INLINE vm vm_le(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ); }
FNN_INLINE vm vm_gt(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
FNN_INLINE vm vm_ge(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ); }
FNN_INLINE vm vm_eq(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
FNN_INLINE vf vf_select(vm m, vf a, vf b) { return _mm512_mask_blend_ps(m, b, a); }

FNN_INLINE real vf_sum_lanes(vf v)
{
    __m256 v8 = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 v4 = _mm_add_ps(_mm256_castps256_ps128(v8), _mm256_extractf128_ps(v8, 1));
    __m128 v2 = _mm_add_ps(v4, _mm_movehl_ps(v4, v4));
    return _mm_cvtss_f32(_mm_add_ss(v2, _mm_movehdup_ps(v2)));
}

FNN_INLINE real vf_max_lanes(vf v)
{
    __m256 v8 = _mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 v4 = _mm_max_ps(_mm256_castps256_ps128(v8), _mm256_extractf128_ps(v8, 1));
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
    vf v = _mm512_castps128_ps512(_mm_loadu_ps(p));
    v = _mm512_insertf32x4(v, _mm_loadu_ps(p + ld), 1);
    v = _mm512_insertf32x4(v, _mm_loadu_ps(p + 2 * ld), 2);
    return _mm512_insertf32x4(v, _mm_loadu_ps(p + 3 * ld), 3);
}
FNN_INLINE vf vf_same_fours(const real *p, ptrdiff_t n)
{
    if (n >= 4) return _mm512_broadcast_f32x4(_mm_loadu_ps(p));
    return _mm512_broadcast_f32x4(_mm_maskz_loadu_ps((__mmask8)((1 << n) - 1), p));
}
#define vf_spread(v, i) _mm512_permute_ps(v, (i) * 0x55)

#else /* FNN_REAL == 64 */

#define VF_LANES 8
typedef __m512d vf;
typedef __mmask8 vm;

FNN_INLINE vf vf_zero(void) { return _mm512_setzero_pd(); }
FNN_INLINE vf vf_set1(real x) { return _mm512_set1_pd(x); }
FNN_INLINE vf vf_load(const real *p) { return _mm512_loadu_pd(p); }
FNN_INLINE void vf_store(real *p, vf v) { _mm512_storeu_pd(p, v); }
FNN_INLINE vf vf_load_first(const real *p, vm m) { return _mm512_maskz_loadu_pd(m, p); }
FNN_INLINE void vf_store_first(real *p, vf v, vm m) { _mm512_mask_storeu_pd(p, m, v); }

FNN_INLINE vf vf_add(vf a, vf b) { return _mm512_add_pd(a, b); }
FNN_INLINE vf vf_sub(vf a, vf b) { return _mm512_sub_pd(a, b); }
FNN_INLINE vf vf_mul(vf a, vf b) { return _mm512_mul_pd(a, b); }
FNN_INLINE vf vf_div(vf a, vf b) { return _mm512_div_pd(a, b); }
FNN_INLINE vf vf_sqrt(vf a) { return _mm512_sqrt_pd(a); }
FNN_INLINE vf vf_fma(vf a, vf b, vf c) { return _mm512_fmadd_pd(a, b, c); }
FNN_INLINE vf vf_fnma(vf a, vf b, vf c) { return _mm512_fnmadd_pd(a, b, c); }
FNN_INLINE vf vf_max(vf a, vf b) { return _mm512_max_pd(a, b); }
FNN_INLINE vf vf_min(vf a, vf b) { return _mm512_min_pd(a, b); }
FNN_INLINE vf vf_neg(vf a) { return _mm512_xor_pd(a, _mm512_set1_pd(-0.0)); }
FNN_INLINE vf vf_abs(vf a) { return _mm512_andnot_pd(_mm512_set1_pd(-0.0), a); }
FNN_INLINE vf vf_round(vf a) { return _mm512_roundscale_pd(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }

FNN_INLINE vf vf_copysign(vf a, vf s)
{
    return _mm512_castsi512_pd(_mm512_ternarylogic_epi64(_mm512_set1_epi64(INT64_MAX), _mm512_castpd_si512(a),
                                                         _mm512_castpd_si512(s), 0xCA));
}

FNN_INLINE vf vf_ldexp(vf a, vf n) { return _mm512_scalef_pd(a, n); }

FNN_INLINE vf vf_pow2(vf n)
{
    __m512i sum = _mm512_castpd_si512(_mm512_add_pd(n, _mm512_set1_pd(VF_EXPONENT_MAGIC)));
    return _mm512_castsi512_pd(_mm512_slli_epi64(sum, VF_SIGNIFICAND_BITS));
}

FNN_INLINE vf vf_split(vf a, vf *e)
{
    __m512i bits = _mm512_castpd_si512(a);
    __m512i exponent = _mm512_srai_epi64(_mm512_sub_epi64(bits, _mm512_castpd_si512(_mm512_set1_pd(0.75))),
                                         VF_SIGNIFICAND_BITS);
    *e = _mm512_cvtepi64_pd(exponent);
    return _mm512_castsi512_pd(_mm512_sub_epi64(bits, _mm512_slli_epi64(exponent, VF_SIGNIFICAND_BITS)));
}

FNN_INLINE vm vm_lt(vf a, vf b) { return _mm512_cmp_pd_mask(a, b, _CMP_LT_OQ); }
FNN_INLINE vm vm_le(vf a, vf b) { return _mm512_cmp_pd_mask(a, b, _CMP_LE_OQ); }
FNN_INLINE vm vm_gt(vf a, vf b) { return _mm512_cmp_pd_mask(a, b, _CMP_GT_OQ); }
FNN_INLINE vm vm_ge(vf a, vf b) { return _mm512_cmp_pd_mask(a, b, _CMP_GE_OQ); }
FNN_INLINE vm vm_eq(vf a, vf b) { return _mm512_cmp_pd_mask(a, b, _CMP_EQ_OQ); }
FNN_INLINE vf vf_select(vm m, vf a, vf b) { return _mm512_mask_blend_pd(m, b, a); }

FNN_INLINE real vf_sum_lanes(vf v)
{
    __m256d v4 = _mm256_add_pd(_mm512_castpd512_pd256(v), _mm512_extractf64x4_pd(v, 1));
    __m128d v2 = _mm_add_pd(_mm256_castpd256_pd128(v4), _mm256_extractf128_pd(v4, 1));
    return _mm_cvtsd_f64(_mm_add_sd(v2, _mm_unpackhi_pd(v2, v2)));
}

FNN_INLINE real vf_max_lanes(vf v)
{
    __m256d v4 = _mm256_max_pd(_mm512_castpd512_pd256(v), _mm512_extractf64x4_pd(v, 1));
    __m128d v2 = _mm_max_pd(_mm256_castpd256_pd128(v4), _mm256_extractf128_pd(v4, 1));
    return _mm_cvtsd_f64(_mm_max_sd(v2, _mm_unpackhi_pd(v2, v2)));
}

FNN_INLINE real real_fma(real a, real b, real c)
{
    return _mm_cvtsd_f64(_mm_fmadd_sd(_mm_set_sd(a), _mm_set_sd(b), _mm_set_sd(c)));
}

#endif

FNN_INLINE vm vm_first(ptrdiff_t n)
{
    unsigned count = n <= 0 ? 0 : n >= VF_LANES ? VF_LANES : (unsigned)n;
    return (vm)((1u << count) - 1u);
}

FNN_INLINE vm vm_and(vm a, vm b) { return (vm)(a & b); }
FNN_INLINE vm vm_not(vm a) { return (vm)~a; }
FNN_INLINE int vm_any(vm m) { return m != 0; }

#endif
