/* generic.h: the vocabulary of simd.h in plain C, for any processor: a vector of one lane, a mask of 0 or 1.
 * The rule: the bits of processors with a fused multiply-add, also on those without one.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#ifndef FASTNN_SIMD_GENERIC_H
#define FASTNN_SIMD_GENERIC_H

#define VF_REGISTERS 16
#define VF_LANES 1
typedef real vf;
typedef int vm;

/* ---- bits ---------------------------------------------------------------------------------------------------- */

FNN_INLINE uint64_t bits_of_double(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

FNN_INLINE double double_of_bits(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

#if FNN_REAL == 32
typedef uint32_t real_bits;
#else
typedef uint64_t real_bits;
#endif

FNN_INLINE real_bits bits_of_real(real x)
{
    real_bits bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

FNN_INLINE real real_of_bits(real_bits bits)
{
    real x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* ---- fused multiply-add -------------------------------------------------------------------------------------- */

#if FNN_REAL == 64
#if defined(__GNUC__) && (defined(__FMA__) || defined(__aarch64__) || defined(FP_FAST_FMA))
FNN_INLINE real real_fma(real a, real b, real c) { return __builtin_fma(a, b, c); }
#else
FNN_INLINE real real_fma(real a, real b, real c) { return fma(a, b, c); }
#endif

#elif defined(__GNUC__) && (defined(__FMA__) || defined(__aarch64__) || defined(FP_FAST_FMAF))
FNN_INLINE real real_fma(real a, real b, real c) { return __builtin_fmaf(a, b, c); }
#else
/* The product of two floats is exact in double, and rounding its sum with c to double first changes nothing, unless
 * that lands just between two floats: the 29 bits a float drops are then 100...0. Only then (so rarely that a branch is
 * three times faster than none) the sum is moved to the side where the exact one lies: the rounding to odd of Boldo and
 * Melquiond, "Emulation of FMA and correctly rounded sums", IEEE Trans. Computers 57, 2008, where it matters.
 * Subnormal results drop more bits and may be off by one where the processor does not flush them. */
FNN_INLINE real real_fma(real a, real b, real c)
{
    double product = (double)a * (double)b, addend = (double)c, sum = product + addend;
    uint64_t bits = bits_of_double(sum);
    if ((bits & 0x1fffffff) == 0x10000000) {
        double addend_part = sum - product;
        double error = (product - (sum - addend_part)) + (addend - addend_part); /* Knuth's two-sum: exact */
        if (error > 0) bits += sum > 0 ? 1 : (uint64_t)-1;
        if (error < 0) bits += sum > 0 ? (uint64_t)-1 : 1;
        sum = double_of_bits(bits);
    }
    return (real)sum;
}
#endif

/* ---- the vocabulary ------------------------------------------------------------------------------------------ */

FNN_INLINE vf vf_zero(void) { return 0; }
FNN_INLINE vf vf_set1(real x) { return x; }
FNN_INLINE vf vf_load(const real *p) { return *p; }
FNN_INLINE void vf_store(real *p, vf v) { *p = v; }
FNN_INLINE vf vf_load_first(const real *p, vm m) { return m ? *p : 0; }
FNN_INLINE void vf_store_first(real *p, vf v, vm m)
{
    if (m) *p = v;
}

FNN_INLINE vf vf_add(vf a, vf b) { return a + b; }
FNN_INLINE vf vf_sub(vf a, vf b) { return a - b; }
FNN_INLINE vf vf_mul(vf a, vf b) { return a * b; }
FNN_INLINE vf vf_div(vf a, vf b) { return a / b; }
FNN_INLINE vf vf_fma(vf a, vf b, vf c) { return real_fma(a, b, c); }
FNN_INLINE vf vf_fnma(vf a, vf b, vf c) { return real_fma(-a, b, c); }
FNN_INLINE vf vf_max(vf a, vf b) { return a > b ? a : b; }
FNN_INLINE vf vf_min(vf a, vf b) { return a < b ? a : b; }
FNN_INLINE vf vf_neg(vf a) { return -a; }

#if FNN_REAL == 32
FNN_INLINE vf vf_sqrt(vf a) { return sqrtf(a); }
FNN_INLINE vf vf_abs(vf a) { return fabsf(a); }
FNN_INLINE vf vf_copysign(vf a, vf s) { return copysignf(a, s); }
#else
FNN_INLINE vf vf_sqrt(vf a) { return sqrt(a); }
FNN_INLINE vf vf_abs(vf a) { return fabs(a); }
FNN_INLINE vf vf_copysign(vf a, vf s) { return copysign(a, s); }
#endif

/* 1 is the unit in the last place of 2^23 (2^52), so adding that rounds. */
FNN_INLINE vf vf_round(vf a)
{
    const real unit_one = (real)((real_bits)1 << VF_SIGNIFICAND_BITS);
    return vf_copysign((vf_abs(a) + unit_one) - unit_one, a);
}

FNN_INLINE vf vf_pow2(vf n) { return real_of_bits(bits_of_real(n + VF_EXPONENT_MAGIC) << VF_SIGNIFICAND_BITS); }

/* Two factors, because 2^n itself may not be representable; the first product is exact, or what it overflows or
 * flushes to is what the result would be. */
FNN_INLINE vf vf_ldexp(vf a, vf n)
{
    vf half = vf_round(n * REAL(0.5));
    return a * vf_pow2(half) * vf_pow2(n - half);
}

/* In units of the exponent field, e is how far a lies above 0.75; the offset keeps it positive. */
FNN_INLINE vf vf_split(vf a, vf *e)
{
    const real_bits offset = (real_bits)1 << (sizeof(real) * 8 - VF_SIGNIFICAND_BITS - 2);
    real_bits bits = bits_of_real(a);
    real_bits exponent = (bits + (offset << VF_SIGNIFICAND_BITS) - bits_of_real(REAL(0.75))) >> VF_SIGNIFICAND_BITS;
    *e = (real)exponent - (real)offset;
    return real_of_bits(bits - ((exponent - offset) << VF_SIGNIFICAND_BITS));
}

FNN_INLINE vm vm_first(ptrdiff_t n) { return n > 0; }
FNN_INLINE vm vm_lt(vf a, vf b) { return a < b; }
FNN_INLINE vm vm_le(vf a, vf b) { return a <= b; }
FNN_INLINE vm vm_gt(vf a, vf b) { return a > b; }
FNN_INLINE vm vm_ge(vf a, vf b) { return a >= b; }
FNN_INLINE vm vm_eq(vf a, vf b) { return a == b; }
FNN_INLINE vm vm_and(vm a, vm b) { return a & b; }
FNN_INLINE vm vm_not(vm a) { return !a; }
FNN_INLINE int vm_any(vm m) { return m; }
FNN_INLINE vf vf_select(vm m, vf a, vf b) { return m ? a : b; }
FNN_INLINE real vf_sum_lanes(vf v) { return v; }
FNN_INLINE real vf_max_lanes(vf v) { return v; }

#endif
