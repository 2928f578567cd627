/* neon.h: the vocabulary of simd.h in the 128-bit registers of AArch64.
 * A mask is a register of integers whose lanes are all ones or all zeros.
 * The rule: what each word means is said in simd.h; maximum and minimum are comparisons, because the processor's own
 * treat NaN and signed zeros unlike those of x86; masked loads and stores go lane by lane.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#ifndef FASTNN_SIMD_NEON_H
#define FASTNN_SIMD_NEON_H

#include <arm_neon.h>

#define VF_REGISTERS 32

#if FNN_REAL == 32

#define VF_LANES 4
typedef float32x4_t vf;
typedef uint32x4_t vm;
typedef uint32_t vm_lane;

FNN_INLINE vf vf_zero(void) { return vdupq_n_f32(0); }
FNN_INLINE vf vf_set1(real x) { return vdupq_n_f32(x); }
FNN_INLINE vf vf_load(const real *p) { return vld1q_f32(p); }
FNN_INLINE void vf_store(real *p, vf v) { vst1q_f32(p, v); }
FNN_INLINE void vm_store(vm_lane *p, vm m) { vst1q_u32(p, m); }

FNN_INLINE vf vf_add(vf a, vf b) { return vaddq_f32(a, b); }
FNN_INLINE vf vf_sub(vf a, vf b) { return vsubq_f32(a, b); }
FNN_INLINE vf vf_mul(vf a, vf b) { return vmulq_f32(a, b); }
FNN_INLINE vf vf_div(vf a, vf b) { return vdivq_f32(a, b); }
FNN_INLINE vf vf_sqrt(vf a) { return vsqrtq_f32(a); }
FNN_INLINE vf vf_fma(vf a, vf b, vf c) { return vfmaq_f32(c, a, b); }
FNN_INLINE vf vf_fnma(vf a, vf b, vf c) { return vfmsq_f32(c, a, b); }
FNN_INLINE vf vf_neg(vf a) { return vnegq_f32(a); }
FNN_INLINE vf vf_abs(vf a) { return vabsq_f32(a); }
FNN_INLINE vf vf_round(vf a) { return vrndnq_f32(a); }
FNN_INLINE vf vf_copysign(vf a, vf s) { return vbslq_f32(vdupq_n_u32(0x7fffffff), a, s); }

FNN_INLINE vm vm_lt(vf a, vf b) { return vcltq_f32(a, b); }
FNN_INLINE vm vm_le(vf a, vf b) { return vcleq_f32(a, b); }
FNN_INLINE vm vm_gt(vf a, vf b) { return vcgtq_f32(a, b); }
FNN_INLINE vm vm_ge(vf a, vf b) { return vcgeq_f32(a, b); }
FNN_INLINE vm vm_eq(vf a, vf b) { return vceqq_f32(a, b); }
FNN_INLINE vm vm_and(vm a, vm b) { return vandq_u32(a, b); }
FNN_INLINE vm vm_not(vm a) { return vmvnq_u32(a); }
FNN_INLINE int vm_any(vm m) { return vmaxvq_u32(m) != 0; }
FNN_INLINE vf vf_select(vm m, vf a, vf b) { return vbslq_f32(m, a, b); }

FNN_INLINE vm vm_first(ptrdiff_t n)
{
    static const int32_t lanes[VF_LANES] = {0, 1, 2, 3};
    int32_t count = n <= 0 ? 0 : n >= VF_LANES ? VF_LANES : (int32_t)n;
    return vcgtq_s32(vdupq_n_s32(count), vld1q_s32(lanes));
}

FNN_INLINE real real_fma(real a, real b, real c)
{
    return vget_lane_f32(vfma_f32(vdup_n_f32(c), vdup_n_f32(a), vdup_n_f32(b)), 0);
}

FNN_INLINE vf vf_pow2(vf n)
{
    uint32x4_t sum = vreinterpretq_u32_f32(vaddq_f32(n, vdupq_n_f32(VF_EXPONENT_MAGIC)));
    return vreinterpretq_f32_u32(vshlq_n_u32(sum, VF_SIGNIFICAND_BITS));
}

/* In units of the exponent field, e is how far a lies above 0.75. */
FNN_INLINE vf vf_split(vf a, vf *e)
{
    int32x4_t bits = vreinterpretq_s32_f32(a);
    int32x4_t below = vreinterpretq_s32_f32(vdupq_n_f32(0.75f));
    int32x4_t exponent = vshrq_n_s32(vsubq_s32(bits, below), VF_SIGNIFICAND_BITS);
    *e = vcvtq_f32_s32(exponent);
    return vreinterpretq_f32_s32(vsubq_s32(bits, vshlq_n_s32(exponent, VF_SIGNIFICAND_BITS)));
}

#else /* FNN_REAL == 64 */

#define VF_LANES 2
typedef float64x2_t vf;
typedef uint64x2_t vm;
typedef uint64_t vm_lane;

FNN_INLINE vf vf_zero(void) { return vdupq_n_f64(0); }
FNN_INLINE vf vf_set1(real x) { return vdupq_n_f64(x); }
FNN_INLINE vf vf_load(const real *p) { return vld1q_f64(p); }
FNN_INLINE void vf_store(real *p, vf v) { vst1q_f64(p, v); }
FNN_INLINE void vm_store(vm_lane *p, vm m) { vst1q_u64(p, m); }

FNN_INLINE vf vf_add(vf a, vf b) { return vaddq_f64(a, b); }
FNN_INLINE vf vf_sub(vf a, vf b) { return vsubq_f64(a, b); }
FNN_INLINE vf vf_mul(vf a, vf b) { return vmulq_f64(a, b); }
FNN_INLINE vf vf_div(vf a, vf b) { return vdivq_f64(a, b); }
FNN_INLINE vf vf_sqrt(vf a) { return vsqrtq_f64(a); }
FNN_INLINE vf vf_fma(vf a, vf b, vf c) { return vfmaq_f64(c, a, b); }
FNN_INLINE vf vf_fnma(vf a, vf b, vf c) { return vfmsq_f64(c, a, b); }
FNN_INLINE vf vf_neg(vf a) { return vnegq_f64(a); }
FNN_INLINE vf vf_abs(vf a) { return vabsq_f64(a); }
FNN_INLINE vf vf_round(vf a) { return vrndnq_f64(a); }
FNN_INLINE vf vf_copysign(vf a, vf s) { return vbslq_f64(vdupq_n_u64(INT64_MAX), a, s); }

FNN_INLINE vm vm_lt(vf a, vf b) { return vcltq_f64(a, b); }
FNN_INLINE vm vm_le(vf a, vf b) { return vcleq_f64(a, b); }
FNN_INLINE vm vm_gt(vf a, vf b) { return vcgtq_f64(a, b); }
FNN_INLINE vm vm_ge(vf a, vf b) { return vcgeq_f64(a, b); }
FNN_INLINE vm vm_eq(vf a, vf b) { return vceqq_f64(a, b); }
FNN_INLINE vm vm_and(vm a, vm b) { return vandq_u64(a, b); }
FNN_INLINE vm vm_not(vm a) { return vreinterpretq_u64_u32(vmvnq_u32(vreinterpretq_u32_u64(a))); }
FNN_INLINE int vm_any(vm m) { return vmaxvq_u32(vreinterpretq_u32_u64(m)) != 0; }
FNN_INLINE vf vf_select(vm m, vf a, vf b) { return vbslq_f64(m, a, b); }

FNN_INLINE vm vm_first(ptrdiff_t n)
{
    static const int64_t lanes[VF_LANES] = {0, 1};
    return vcgtq_s64(vdupq_n_s64((int64_t)n), vld1q_s64(lanes));
}

FNN_INLINE real real_fma(real a, real b, real c)
{
    return vget_lane_f64(vfma_f64(vdup_n_f64(c), vdup_n_f64(a), vdup_n_f64(b)), 0);
}

FNN_INLINE vf vf_pow2(vf n)
{
    uint64x2_t sum = vreinterpretq_u64_f64(vaddq_f64(n, vdupq_n_f64(VF_EXPONENT_MAGIC)));
    return vreinterpretq_f64_u64(vshlq_n_u64(sum, VF_SIGNIFICAND_BITS));
}

FNN_INLINE vf vf_split(vf a, vf *e)
{
    int64x2_t bits = vreinterpretq_s64_f64(a);
    int64x2_t below = vreinterpretq_s64_f64(vdupq_n_f64(0.75));
    int64x2_t exponent = vshrq_n_s64(vsubq_s64(bits, below), VF_SIGNIFICAND_BITS);
    *e = vcvtq_f64_s64(exponent);
    return vreinterpretq_f64_s64(vsubq_s64(bits, vshlq_n_s64(exponent, VF_SIGNIFICAND_BITS)));
}

#endif

FNN_INLINE vf vf_max(vf a, vf b) { return vf_select(vm_gt(a, b), a, b); }
FNN_INLINE vf vf_min(vf a, vf b) { return vf_select(vm_lt(a, b), a, b); }

FNN_INLINE vf vf_load_first(const real *p, vm m)
{
    vm_lane wanted[VF_LANES];
    real lanes[VF_LANES];
    vm_store(wanted, m);
    for (int i = 0; i < VF_LANES; i++) lanes[i] = wanted[i] ? p[i] : 0;
    return vf_load(lanes);
}

FNN_INLINE void vf_store_first(real *p, vf v, vm m)
{
    vm_lane wanted[VF_LANES];
    real lanes[VF_LANES];
    vm_store(wanted, m);
    vf_store(lanes, v);
    for (int i = 0; i < VF_LANES; i++)
        if (wanted[i]) p[i] = lanes[i];
}

/* Two factors, because 2^n itself may not be representable; the first product is exact, or what it overflows or
 * flushes to is what the result would be. */
FNN_INLINE vf vf_ldexp(vf a, vf n)
{
    vf half = vf_round(vf_mul(n, vf_set1(REAL(0.5))));
    return vf_mul(vf_mul(a, vf_pow2(half)), vf_pow2(vf_sub(n, half)));
}

FNN_INLINE real vf_sum_lanes(vf v)
{
    real lanes[VF_LANES];
    vf_store(lanes, v);
    for (int half = VF_LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) lanes[i] += lanes[i + half];
    return lanes[0];
}

FNN_INLINE real vf_max_lanes(vf v)
{
    real lanes[VF_LANES];
    vf_store(lanes, v);
    for (int half = VF_LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) lanes[i] = lanes[i] > lanes[i + half] ? lanes[i] : lanes[i + half];
    return lanes[0];
}

#endif
