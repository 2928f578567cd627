/* vector_math.h: exp, log, log1p, tanh, sigmoid, the normal distribution and its inverse of each lane.
 *
 * The rule: written once in the vocabulary of simd.h, without branches or tables, so every instruction set gives the
 * same bits. NaN gives NaN. Meant to run with denormals flushed to zero; a result that would be subnormal may be 0.
 * Largest errors in units in the last place of the exact result, found by tests/c/vector_math_sweep.c (float32: all
 * 2^32 inputs; float64: 2^24 inputs), and promised:
 *
 *              vf_exp   vf_log   vf_log1p   vf_tanh   vf_sigmoid   vf_normal_quantile
 *   float32     0.97     0.80      0.80       1.34       1.67             6.03
 *   float64     0.92     0.91      0.81       1.29       1.67             4.98
 *   promised    1        1         1          2          2                7
 *
 * In float32 all but the quantile are monotone. exp(0) is 1; tanh is odd and within [-1, 1], sigmoid within [0, 1].
 *
 * To add a function: reduce its argument with vf_round or vf_split, fit the rest with Sollya's fpminimax, write the
 * command, the interval and the error beside the coefficients, and add it to the list of the sweep.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#ifndef FASTNN_SIMD_VECTOR_MATH_H
#define FASTNN_SIMD_VECTOR_MATH_H

#include "simd.h"

#define VF_COUNT(coefficients) ((int)(sizeof(coefficients) / sizeof *(coefficients)))

/* c[0] + c[1] x + ... + c[n-1] x^(n-1), by Horner's rule in x^2 over pairs: as many operations as Horner's rule in x
 * when x^2 is at hand, in a chain half as long. n >= 2. */
FNN_INLINE vf vf_polynomial(const real *c, int n, vf x, vf x2)
{
    int i = (n - 1) / 2 * 2;
    vf sum = i + 1 < n ? vf_fma(vf_set1(c[i + 1]), x, vf_set1(c[i])) : vf_set1(c[i]);
    for (i -= 2; i >= 0; i -= 2) sum = vf_fma(sum, x2, vf_fma(vf_set1(c[i + 1]), x, vf_set1(c[i])));
    return sum;
}

/* ---- exp ----------------------------------------------------------------------------------------------------- */

/* exp(x) - 1 = x + x^2 q(x) for log(3/4) <= x <= log(3/2). Sollya:
 *   fpminimax(expm1(x), [|2,...,6|], [|SG...|], [-0.2880; 0.4058], x, relative)    relative error 1.3e-8
 *   fpminimax(expm1(x), [|2,...,11|], [|D...|], [-0.2880; 0.4058], x, relative)    relative error 2.1e-17
 * LOG2_E is 1 / ln(2); LN2_HIGH + LN2_LOW is ln(2) to twice the precision. */
#if FNN_REAL == 32
static const real EXP_Q[] = {
    0x1.000004p-1f, 0x1.5554e6p-3f, 0x1.5546d2p-5f, 0x1.11e75ap-7f, 0x1.7e8db4p-10f,
};
#define LOG2_E 0x1.715476p0f
#define LN2_HIGH 0x1.62e43p-1f
#define LN2_LOW (-0x1.05c61p-29f)
#define EXP_LOWEST (-104.0f)
#define EXP_HIGHEST 89.0f
#define SIGMOID_LOWEST (-0x1.5d589ep6f)
#else
static const real EXP_Q[] = {
    0x1.fffffffffffffp-2,  0x1.5555555555645p-3,  0x1.5555555555c22p-5,  0x1.11111110b159ep-7,  0x1.6c16c16aec4e2p-10,
    0x1.a01a04aba796bp-13, 0x1.a019f6a7c1c9ap-16, 0x1.71d42fd8af99dp-19, 0x1.283ad02009cbfp-22, 0x1.c5f87affd9b2bp-26,
};
#define LOG2_E 0x1.71547652b82fep0
#define LN2_HIGH 0x1.62e42fefa39efp-1
#define LN2_LOW 0x1.abc9e3b39803fp-56
#define EXP_LOWEST (-746.0)
#define EXP_HIGHEST 710.0
#define SIGMOID_LOWEST (-0x1.6232bdd7abcd2p9)
#endif
#define EXP_BIAS REAL(-0.085)

/* x = n ln(2) + r; returns exp(r) - 1, and n. The first product and difference are exact: a multiple of LN2_HIGH's
 * last bit, shorter than a significand. EXP_BIAS, 1/2 - log2(1.5), moves exp(r) from sqrt(1/2)..sqrt(2) to 3/4..3/2,
 * where |exp(r) - 1| <= 1/2, so that its rounding weighs half as much. */
FNN_INLINE vf vf_expm1_reduced(vf x, vf *n)
{
    *n = vf_round(vf_fma(x, vf_set1(LOG2_E), vf_set1(EXP_BIAS)));
    vf r = vf_fnma(*n, vf_set1(LN2_LOW), vf_fnma(*n, vf_set1(LN2_HIGH), x));
    vf r2 = vf_mul(r, r);
    return vf_fma(vf_polynomial(EXP_Q, VF_COUNT(EXP_Q), r, r2), r2, r);
}

/* exp(x) = 2^n (1 + (exp(r) - 1)). The clamps lie where the result is infinite or rounds to 0 anyway; they keep n in
 * range, and let NaN through because vf_max and vf_min return their second operand then. */
FNN_INLINE vf vf_exp(vf x)
{
    vf n, clamped = vf_min(vf_set1(EXP_HIGHEST), vf_max(vf_set1(EXP_LOWEST), x));
    vf expm1 = vf_expm1_reduced(clamped, &n);
    return vf_ldexp(vf_add(vf_set1(1), expm1), n);
}

/* exp(x) - 1 for x <= 0: 2^n (exp(r) - 1) + (2^n - 1), whose parts have one sign where n < 0. From EXPM1_ONE down it
 * rounds to -1. */
#define EXPM1_ONE (FNN_REAL == 32 ? REAL(-20.0) : REAL(-40.0))
FNN_INLINE vf vf_expm1_below_zero(vf x)
{
    vf n, expm1 = vf_expm1_reduced(vf_max(vf_set1(EXPM1_ONE), x), &n);
    vf power = vf_pow2(n);
    return vf_fma(power, expm1, vf_sub(power, vf_set1(1)));
}

/* sigmoid(x) = 1 / (1 + exp(-x)). The sum is rounded once more only: (2^n + 1) + 2^n (exp(r) - 1), plus what 2^n + 1
 * lost. Below SIGMOID_LOWEST, ln of the smallest normal number, the result is subnormal: 0. */
FNN_INLINE vf vf_sigmoid(vf x)
{
    vf n, one = vf_set1(1), lowest = vf_set1(SIGMOID_LOWEST);
    vf expm1 = vf_expm1_reduced(vf_neg(vf_min(vf_neg(lowest), vf_max(lowest, x))), &n);
    vf power = vf_pow2(n), rest = vf_add(power, one);
    vf lost = vf_sub(one, vf_sub(rest, power));
    vf result = vf_div(one, vf_add(rest, vf_fma(power, expm1, lost)));
    return vf_select(vm_lt(x, lowest), vf_zero(), result);
}

/* tanh(x) = x + x^3 q(x^2) for |x| <= ln(3) / 2, where it is 1/2. Sollya, degree 5 in float32, 10 in float64:
 *   fpminimax(tanh(sqrt(x)) / sqrt(x), [|0,...,5|], [|1,SG...|], [1e-12; 0.3018], relative)    relative error 1.2e-9
 *   fpminimax(tanh(sqrt(x)) / sqrt(x), [|0,...,10|], [|1,D...|], [1e-12; 0.3018], relative)    relative error 2.1e-17
 * From TANH_ONE on, the result rounds to 1. */
#define HALF_LN_3 REAL(0.549306)
#if FNN_REAL == 32
static const real TANH_Q[] = {
    -0x1.55554ap-2f, 0x1.110dp-3f, -0x1.b92374p-5f, 0x1.591aaap-6f, -0x1.9a8bb8p-8f,
};
#define TANH_ONE 10.0f
#else
static const real TANH_Q[] = {
    -0x1.555555555549bp-2, 0x1.1111111102882p-3,   -0x1.ba1ba1ad73d69p-5, 0x1.664f45c501b1p-6,  -0x1.226ddda2c4dbfp-7,
    0x1.d6c62c4e87e16p-9,  -0x1.7cf46737378a5p-10, 0x1.2fa6f441f0a32p-11, -0x1.b929569c3e11fp-13, 0x1.ac5f18727929ap-15,
};
#define TANH_ONE 20.0
#endif

/* Above ln(3) / 2, tanh(x) = 1 - 2 / (exp(2 x) + 1); both sides are computed for |x| in every lane. */
FNN_INLINE vf vf_tanh(vf x)
{
    vf n, one = vf_set1(1), two = vf_set1(2), magnitude = vf_min(vf_set1(TANH_ONE), vf_abs(x));
    vf expm1 = vf_expm1_reduced(vf_mul(magnitude, two), &n);
    vf power = vf_pow2(n);
    vf upper = vf_sub(one, vf_div(two, vf_fma(power, expm1, vf_add(power, one))));

    vf square = vf_mul(magnitude, magnitude);
    vf q = vf_polynomial(TANH_Q, VF_COUNT(TANH_Q), square, vf_mul(square, square));
    vf lower = vf_fma(vf_mul(magnitude, square), q, magnitude);

    return vf_copysign(vf_select(vm_gt(magnitude, vf_set1(HALF_LN_3)), upper, lower), x);
}

/* ---- log ----------------------------------------------------------------------------------------------------- */

/* rest + (log(1 + f) - f) for -0.25 <= f <= 0.5.
 * float32: log(1 + f) - f = f^3 q(f) - f^2/2, the square not rounded before it is added. Sollya:
 *   fpminimax(log1p(x), [|2,...,10|], [|SG...|], [-0.25; 0.5], x, relative)    relative error 5.1e-9
 *   (the coefficient of x^2 comes out as -1/2)
 * float64: with s = f / (2 + f), log(1 + f) = 2 atanh(s) = 2 s + s R(s^2), and 2 s = f - s f, s f = f^2/2 - s f^2/2:
 * so log(1 + f) - f = s (f^2/2 + R(s^2)) - f^2/2, whose large term is a single product. Sollya:
 *   fpminimax(2 * atanh(sqrt(x)) / sqrt(x) - 2, [|1,...,8|], [|D...|], [1e-30; 0.0401], relative)
 *   error relative to log(1 + f) 4.9e-19 */
#if FNN_REAL == 32
static const real LOG_Q[] = {
    0x1.5555a6p-2f, -0x1.00004ep-2f, 0x1.9968fp-3f,  -0x1.54eb54p-3f,
    0x1.28852ep-3f, -0x1.0db586p-3f, 0x1.ad4188p-4f, -0x1.721d3ep-5f,
};
FNN_INLINE vf vf_log1p_tail(vf f, vf rest)
{
    vf f2 = vf_mul(f, f);
    vf cube = vf_fma(vf_mul(f, f2), vf_polynomial(LOG_Q, VF_COUNT(LOG_Q), f, f2), rest);
    return vf_fma(vf_mul(f, vf_set1(-0.5f)), f, cube);
}
#else
static const real LOG_R[] = {
    0x1.5555555555555p-1, 0x1.999999999ap-2,    0x1.24924923cdbe1p-2, 0x1.c71c72f00d137p-3,
    0x1.745ca8007b58dp-3, 0x1.3b2a64928ed99p-3, 0x1.0e821e3e47633p-3, 0x1.16e404dbfea69p-3,
};
FNN_INLINE vf vf_log1p_tail(vf f, vf rest)
{
    vf s = vf_div(f, vf_add(vf_set1(2), f));
    vf s2 = vf_mul(s, s);
    vf half_f2 = vf_mul(vf_mul(f, f), vf_set1(0.5));
    vf q = vf_polynomial(LOG_R, VF_COUNT(LOG_R), s2, vf_mul(s2, s2));
    return vf_fma(s, vf_fma(s2, q, half_f2), vf_sub(rest, half_f2));
}
#endif

/* e ln(2) + log(1 + f). LOG_LN2_HIGH is so short that e times it is exact; what its sum with f loses is had back.
 * LOG_LN2_HIGH + LOG_LN2_LOW is ln(2). */
#if FNN_REAL == 32
#define LOG_LN2_HIGH 0x1.62e4p-1f
#define LOG_LN2_LOW 0x1.7f7d1cp-20f
#else
#define LOG_LN2_HIGH 0x1.62e42fefa4p-1
#define LOG_LN2_LOW (-0x1.8432a1b0e2634p-43)
#endif
FNN_INLINE vf vf_log_sum(vf e, vf f)
{
    vf high = vf_set1(LOG_LN2_HIGH);
    vf sum = vf_fma(e, high, f);
    vf lost = vf_sub(f, vf_fnma(e, high, sum));
    return vf_add(sum, vf_log1p_tail(f, vf_fma(e, vf_set1(LOG_LN2_LOW), lost)));
}

/* log(m 2^e) = e ln(2) + log(1 + (m - 1)); the exceptions (0: -inf; negative: NaN; inf; NaN) are put in afterwards.
 * Subnormal numbers count as 0, whether or not the processor flushes them. */
FNN_INLINE vf vf_log(vf x)
{
    vf e, m = vf_split(x, &e);
    vf result = vf_log_sum(e, vf_sub(m, vf_set1(1)));
    vf smallest = vf_set1(REAL_MIN_NORMAL), infinity = vf_set1((real)INFINITY);
    result = vf_select(vm_le(x, vf_set1(REAL_MAX)), result, x); /* inf and NaN are their own logarithms */
    result = vf_select(vm_lt(x, smallest), vf_neg(infinity), result);
    return vf_select(vm_le(x, vf_neg(smallest)), vf_set1((real)NAN), result);
}

/* log(1 + x) for 0 <= x <= 1: from 1/2 on, 1 + x = 2 (1 + (x - 1) / 2), without rounding. */
FNN_INLINE vf vf_log1p(vf x)
{
    vm upper = vm_ge(x, vf_set1(REAL(0.5)));
    vf f = vf_select(upper, vf_fma(x, vf_set1(REAL(0.5)), vf_set1(REAL(-0.5))), x);
    return vf_log_sum(vf_select(upper, vf_set1(1), vf_zero()), f);
}

/* ---- the normal distribution ---------------------------------------------------------------------------------- */

/* P(-t) = exp(-t^2 / 2) q(u) / (1 + 2 t) for t >= 0, with u = (t - NORMAL_K) / (t + NORMAL_K) in [-1, 1): the factor
 * 1 + 2 t takes away the decay of 1 / t (the scaling of Shepherd & Laframboise 1981). Sollya, with t = k (1 + x) / (1 - x):
 *   fpminimax(erfc(t / sqrt(2)) / 2 * exp(t^2 / 2) * (1 + 2 t), 10, [|SG...|], [-1; (14 - 3) / (14 + 3)], relative)
 *     relative error 2.7e-8
 *   fpminimax(the same, 22, [|D...|], [-1; (39 - 5) / (39 + 5)], relative)    relative error 4.9e-17 */
#if FNN_REAL == 32
#define NORMAL_K 3.0f
#define NORMAL_FAR 14.0f /* beyond, P(-t) is subnormal */
static const real NORMAL_Q[] = {
    0x1.b38188p-1f, 0x1.b56b9p-7f, -0x1.3fab9ep-3f, 0x1.17a46cp-3f,
    -0x1.a6a1f6p-5f, -0x1.3e4adcp-11f, 0x1.c96e56p-8f, -0x1.3b5a3ap-12f,
    -0x1.14e4f6p-10f, -0x1.30e7d8p-14f, 0x1.2b1a4ap-14f,
};
#else
#define NORMAL_K 5.0
#define NORMAL_FAR 38.0
static const real NORMAL_Q[] = {
    0x1.b135a378924a6p-1, -0x1.44c9cd8f5795bp-5, -0x1.ba6f247fb8a6bp-5, 0x1.9d3d58860cec7p-4,
    -0x1.9c4af953d5a0fp-4, 0x1.28e8fee38fee2p-4, -0x1.42359ad0421cbp-5, 0x1.f96034e139f2bp-7,
    -0x1.d426361467204p-9, -0x1.f1d6214873495p-14, 0x1.bdbecbac49cdep-12, -0x1.c5ba9a3992bd7p-14,
    -0x1.bb8b037219b5p-16, 0x1.455a719688e31p-16, 0x1.2042e4b213f6ep-21, -0x1.8056af455ca56p-19,
    0x1.72950b9cc844fp-23, 0x1.d59558f9c3daap-22, -0x1.1bd8f88f1eff1p-25, -0x1.2cccf8160101p-24,
    -0x1.32c812172f843p-30, 0x1.2ae048315df9dp-27, 0x1.ec3ad26f06cd3p-30,
};
#endif

/* P(x) = (1 + erf(x / sqrt 2)) / 2; above 0 by 1 - P(-x). The rounding of x^2 would weigh x^2 / 2 units: what it lost is
 * had back. */
FNN_INLINE vf vf_normal_cdf(vf x)
{
    vf one = vf_set1(1), t = vf_min(vf_set1(NORMAL_FAR), vf_abs(x)), k = vf_set1(NORMAL_K);
    vf square = vf_mul(t, t), lost = vf_fma(t, t, vf_neg(square)), half = vf_set1(REAL(-0.5));
    vf power = vf_exp(vf_mul(half, square));
    vf u = vf_div(vf_sub(t, k), vf_add(t, k));
    vf q = vf_polynomial(NORMAL_Q, VF_COUNT(NORMAL_Q), u, vf_mul(u, u));
    vf tail = vf_div(vf_mul(vf_fma(power, vf_mul(half, lost), power), q), vf_fma(vf_set1(2), t, one));
    return vf_select(vm_gt(x, vf_zero()), vf_sub(one, tail), tail);
}

/* The x with P(x) = u: Wichura 1988, "Algorithm AS 241: the percentage points of the normal distribution", whose
 * coefficients these are (PPND7 in float32, PPND16 in float64). With q = u - 1/2 and s = sqrt(-log(min(u, 1 - u))):
 *   |q| <= 0.425      x = q A(r) / B(r),             r = 0.425^2 - q^2
 *   otherwise         x = sign(q) C(r) / D(r),       r = s - 1.6
 *   where s > 5       x = sign(q) E(r) / F(r),       r = s - 5
 * Stated errors of the approximation: 1e-7 and 1e-16, relative. */
#if FNN_REAL == 32
static const real QUANTILE_A[] = {3.3871327179f, 50.434271938f, 159.29113202f, 59.109374720f};
static const real QUANTILE_B[] = {1.0f, 17.895169469f, 78.757757664f, 67.187563600f};
static const real QUANTILE_C[] = {1.4234372777f, 2.7568153900f, 1.3067284816f, 0.17023821103f};
static const real QUANTILE_D[] = {1.0f, 0.73700164250f, 0.12021132975f};
static const real QUANTILE_E[] = {6.6579051150f, 3.0812263860f, 0.42868294337f, 0.017337203997f};
static const real QUANTILE_F[] = {1.0f, 0.24197894225f, 0.012258202635f};
#else
static const real QUANTILE_A[] = {
    3.3871328727963666080, 1.3314166789178437745e+2, 1.9715909503065514427e+3, 1.3731693765509461125e+4,
    4.5921953931549871457e+4, 6.7265770927008700853e+4, 3.3430575583588128105e+4, 2.5090809287301226727e+3,
};
static const real QUANTILE_B[] = {
    1.0, 4.2313330701600911252e+1, 6.8718700749205790830e+2, 5.3941960214247511077e+3,
    2.1213794301586595867e+4, 3.9307895800092710610e+4, 2.8729085735721942674e+4, 5.2264952788528545610e+3,
};
static const real QUANTILE_C[] = {
    1.42343711074968357734, 4.63033784615654529590, 5.76949722146069140550, 3.64784832476320460504,
    1.27045825245236838258, 2.41780725177450611770e-1, 2.27238449892691845833e-2, 7.74545014278341407640e-4,
};
static const real QUANTILE_D[] = {
    1.0, 2.05319162663775882187, 1.67638483018380384940, 6.89767334985100004550e-1,
    1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4, 1.05075007164441684324e-9,
};
static const real QUANTILE_E[] = {
    6.65790464350110377720, 5.46378491116411436990, 1.78482653991729133580, 2.96560571828504891230e-1,
    2.65321895265761230930e-2, 1.24266094738807843860e-3, 2.71155556874348757815e-5, 2.01033439929228813265e-7,
};
static const real QUANTILE_F[] = {
    1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
    7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7, 2.04426310338993978564e-15,
};
#endif

/* Where 1 - u is exact, x(1 - u) is -x(u) to the bit. 0 and 1 give -inf and inf (subnormal
 * numbers count as 0), what lies outside gives NaN. */
FNN_INLINE vf vf_normal_quantile(vf u)
{
    vf one = vf_set1(1), q = vf_sub(u, vf_set1(REAL(0.5)));
    vf r = vf_fnma(q, q, vf_set1(REAL(0.180625))), r2 = vf_mul(r, r);
    vf middle = vf_div(vf_mul(q, vf_polynomial(QUANTILE_A, VF_COUNT(QUANTILE_A), r, r2)),
                       vf_polynomial(QUANTILE_B, VF_COUNT(QUANTILE_B), r, r2));

    vf tail = vf_min(u, vf_sub(one, u));
    vf s = vf_sqrt(vf_neg(vf_log(tail)));
    r = vf_sub(s, vf_set1(REAL(1.6))), r2 = vf_mul(r, r);
    vf outer = vf_div(vf_polynomial(QUANTILE_C, VF_COUNT(QUANTILE_C), r, r2),
                      vf_polynomial(QUANTILE_D, VF_COUNT(QUANTILE_D), r, r2));
    vm far = vm_gt(s, vf_set1(5));
    if (vm_any(far)) { /* beyond exp(-25): one number in 10^11 */
        r = vf_sub(s, vf_set1(5)), r2 = vf_mul(r, r);
        vf outermost = vf_div(vf_polynomial(QUANTILE_E, VF_COUNT(QUANTILE_E), r, r2),
                              vf_polynomial(QUANTILE_F, VF_COUNT(QUANTILE_F), r, r2));
        outer = vf_select(far, outermost, outer);
    }
    outer = vf_select(vm_lt(tail, vf_set1(REAL_MIN_NORMAL)), vf_set1((real)INFINITY), outer);
    outer = vf_select(vm_le(tail, vf_neg(vf_set1(REAL_MIN_NORMAL))), vf_set1((real)NAN), outer);
    vf result = vf_select(vm_le(vf_abs(q), vf_set1(REAL(0.425))), middle, vf_copysign(outer, q));
    return vf_select(vm_eq(u, u), result, u);
}

#endif
