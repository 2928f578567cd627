/* activations.h: the list of activations, each beside its derivative.
 *
 * A row of the list names the functions below, says whether the function works element by element (ELEMENTWISE, or
 * ELEMENTWISE_WITH a parameter a) or needs a whole row, and which tensor its derivative is a function of: OUTPUT (then
 * it runs in place) or INPUT. To add one: a row here, its two functions (name_forward(z), name_derivative(y or z)), and
 * a row in fastnn/activations.py; names, numbers, loops, tails and tests follow.
 */
/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FASTNN_KERNELS_ACTIVATIONS_H
#define FASTNN_KERNELS_ACTIVATIONS_H

#define FNN_ACTIVATIONS(X)                  \
    X(linear, ELEMENTWISE, OUTPUT)          \
    X(relu, ELEMENTWISE, OUTPUT)            \
    X(tanh, ELEMENTWISE, OUTPUT)            \
    X(sigmoid, ELEMENTWISE, OUTPUT)         \
    X(softmax, ROWWISE, OUTPUT)             \
    X(softsign, ELEMENTWISE, OUTPUT)        \
    X(leaky_relu, ELEMENTWISE_WITH, OUTPUT) \
    X(elu, ELEMENTWISE_WITH, OUTPUT)        \
    X(selu, ELEMENTWISE, OUTPUT)            \
    X(gelu, ELEMENTWISE, INPUT)             \
    X(silu, ELEMENTWISE, INPUT)             \
    X(mish, ELEMENTWISE, INPUT)             \
    X(softplus, ELEMENTWISE, OUTPUT)        \
    X(hard_sigmoid, ELEMENTWISE, OUTPUT)    \
    X(hard_swish, ELEMENTWISE, INPUT)

#define FNN_ACTIVATION_ENUM(name, kind, needs) FNN_ACTIVATION_##name,
enum { FNN_ACTIVATIONS(FNN_ACTIVATION_ENUM) FNN_N_ACTIVATIONS };
#undef FNN_ACTIVATION_ENUM

#ifdef FNN_KERNELS
#include "../simd/vector_math.h"
#include "kernels.h"

/* y = z;  dy/dz = 1 */
FNN_INLINE vf linear_forward(vf z) { return z; }
FNN_INLINE vf linear_derivative(vf y) { (void)y; return vf_set1(1); }

/* y = max(z, 0), and NaN stays NaN;  dy/dz = 1 where y > 0, else 0. The sum flushes a denormal, which the maximum alone
 * does on some sets only, and leaves no -0. */
FNN_INLINE vf relu_forward(vf z) { return vf_add(vf_max(vf_zero(), z), vf_zero()); }
FNN_INLINE vf relu_derivative(vf y) { return vf_select(vm_gt(y, vf_zero()), vf_set1(1), vf_zero()); }

/* y = tanh z;  dy/dz = 1 - y^2 */
FNN_INLINE vf tanh_forward(vf z) { return vf_tanh(z); }
FNN_INLINE vf tanh_derivative(vf y) { return vf_fnma(y, y, vf_set1(1)); }

/* y = 1 / (1 + exp(-z));  dy/dz = y (1 - y) */
FNN_INLINE vf sigmoid_forward(vf z) { return vf_sigmoid(z); }
FNN_INLINE vf sigmoid_derivative(vf y) { return vf_fnma(y, y, y); }

/* y = z / (1 + |z|);  dy/dz = 1 / (1 + |z|)^2 = (1 - |y|)^2 */
FNN_INLINE vf softsign_forward(vf z) { return vf_div(z, vf_add(vf_set1(1), vf_abs(z))); }
FNN_INLINE vf softsign_derivative(vf y) {
    const vf slope = vf_sub(vf_set1(1), vf_abs(y));
    return vf_mul(slope, slope);
}

/* y = z where z > 0, else a z (a >= 0);  dy/dz = 1 or a */
FNN_INLINE vf leaky_relu_forward(vf z, vf a) { return vf_select(vm_gt(z, vf_zero()), z, vf_mul(a, z)); }
FNN_INLINE vf leaky_relu_derivative(vf y, vf a) { return vf_select(vm_gt(y, vf_zero()), vf_set1(1), a); }

/* y = z where z > 0, else a (exp(z) - 1) (a > 0);  dy/dz = 1 or y + a   (Clevert, Unterthiner & Hochreiter 2016) */
FNN_INLINE vf elu_forward(vf z, vf a) {
    return vf_select(vm_gt(z, vf_zero()), z, vf_mul(a, vf_expm1_below_zero(vf_min(vf_zero(), z))));
}
FNN_INLINE vf elu_derivative(vf y, vf a) { return vf_select(vm_gt(y, vf_zero()), vf_set1(1), vf_add(y, a)); }

/* y = s z where z > 0, else s a (exp(z) - 1): the fixed point of mean 0 and variance 1 is at these s and a
 * (Klambauer et al. 2017, equation 14);  dy/dz = s or y + s a */
#define SELU_SCALE REAL(1.0507009873554805)
#define SELU_SCALED_ALPHA REAL(1.7580993408473768)
FNN_INLINE vf selu_forward(vf z) {
    return vf_select(vm_gt(z, vf_zero()), vf_mul(vf_set1(SELU_SCALE), z), elu_forward(z, vf_set1(SELU_SCALED_ALPHA)));
}
FNN_INLINE vf selu_derivative(vf y) {
    const vf below = vf_add(y, vf_set1(SELU_SCALED_ALPHA));
    return vf_select(vm_gt(y, vf_zero()), vf_set1(SELU_SCALE), below);
}

/* y = z P(z), where P(z) = 1/2 (1 + erf(z / sqrt 2)) is the normal distribution;  dy/dz = P(z) + z p(z), p its density
 * (Hendrycks & Gimpel 2016, the exact form) */
#define ONE_OVER_ROOT_2PI REAL(0.3989422804014327)
FNN_INLINE vf gelu_forward(vf z) { return vf_mul(z, vf_normal_cdf(z)); }
FNN_INLINE vf gelu_derivative(vf z) {
    const vf density = vf_mul(vf_set1(ONE_OVER_ROOT_2PI), vf_exp(vf_mul(vf_mul(z, z), vf_set1(REAL(-0.5)))));
    return vf_fma(z, density, vf_normal_cdf(z));
}

/* y = z s(z) with s the sigmoid;  dy/dz = s (1 + z (1 - s))   (Elfwing, Uchibe & Doya 2018) */
FNN_INLINE vf silu_forward(vf z) { return vf_mul(z, vf_sigmoid(z)); }
FNN_INLINE vf silu_derivative(vf z) {
    const vf s = vf_sigmoid(z);
    return vf_mul(s, vf_fma(z, vf_sub(vf_set1(1), s), vf_set1(1)));
}

/* tanh(log(1 + exp(z))) = n / (n + 2) with n = e (e + 2), e = exp(z); 1 from z = 20 (float64: 40), where n would
 * overflow later and the quotient has long been 1. */
#define MISH_ONE (FNN_REAL == 32 ? REAL(20.0) : REAL(40.0))
FNN_INLINE vf tanh_of_softplus(vf z) {
    const vf e = vf_exp(vf_min(vf_set1(MISH_ONE), z));
    const vf n = vf_mul(e, vf_add(e, vf_set1(2)));
    return vf_div(n, vf_add(n, vf_set1(2)));
}

/* y = z t with t = tanh(log(1 + exp(z)));  dy/dz = t + z s (1 - t^2), s the sigmoid   (Misra 2020) */
FNN_INLINE vf mish_forward(vf z) { return vf_mul(z, tanh_of_softplus(z)); }
FNN_INLINE vf mish_derivative(vf z) {
    const vf t = tanh_of_softplus(z);
    return vf_fma(vf_mul(z, vf_sigmoid(z)), vf_fnma(t, t, vf_set1(1)), t);
}

/* y = log(1 + exp(z));  dy/dz = 1 - exp(-y) */
FNN_INLINE vf softplus_forward(vf z) {
    return vf_add(vf_max(z, vf_zero()), vf_log1p(vf_exp(vf_neg(vf_abs(z)))));
}
FNN_INLINE vf softplus_derivative(vf y) { return vf_neg(vf_expm1_below_zero(vf_neg(y))); }

/* y = z / 6 + 1/2, clipped to 0..1;  dy/dz = 1/6 where it is not clipped */
FNN_INLINE vf hard_sigmoid_forward(vf z) {
    const vf y = vf_fma(z, vf_set1((real)1 / 6), vf_set1(REAL(0.5)));
    return vf_min(vf_set1(1), vf_max(vf_zero(), y)); /* in this order NaN stays NaN */
}
FNN_INLINE vf hard_sigmoid_derivative(vf y) {
    return vf_select(vm_and(vm_gt(y, vf_zero()), vm_lt(y, vf_set1(1))), vf_set1((real)1 / 6), vf_zero());
}

/* y = z h(z) with h the hard sigmoid;  dy/dz = 0 below -3, 1 above 3, else z / 3 + 1/2   (Howard et al. 2019) */
FNN_INLINE vf hard_swish_forward(vf z) { return vf_mul(z, hard_sigmoid_forward(z)); }
FNN_INLINE vf hard_swish_derivative(vf z) {
    const vf inside = vf_fma(z, vf_set1((real)1 / 3), vf_set1(REAL(0.5)));
    const vf above = vf_select(vm_ge(z, vf_set1(3)), vf_set1(1), inside);
    return vf_select(vm_le(z, vf_set1(-3)), vf_zero(), above);
}

/* The largest of n numbers (NaN may be passed over: it shows up in the exponentials). */
FNN_INLINE real row_max(ptrdiff_t n, const real *z) {
    vf most = vf_set1(z[0]);
    for (ptrdiff_t j = 0; j < n; j += VF_LANES) {
        const vm mask = vm_first(n - j);
        most = vf_max(vf_select(mask, vf_load_first(z + j, mask), most), most);
    }
    real lane[VF_LANES], largest;
    vf_store(lane, most);
    largest = lane[0];
    for (int i = 1; i < VF_LANES; i++) largest = lane[i] > largest ? lane[i] : largest;
    return largest;
}

/* e[j] = exp(z[j] - shift) and their sum, by 16 chains and the fixed tree. e may be z or NULL. */
FNN_INLINE real exp_sum(ptrdiff_t n, const real *z, real shift, real *e) {
    v16 sum = v16_zero();
    const vf by = vf_set1(shift);
    for (ptrdiff_t j = 0; j < n; j += FNN_CHAINS) {
        for (int part = 0; part < FNN_CHAINS / VF_LANES; part++) {
            const ptrdiff_t at = j + part * VF_LANES;
            if (at >= n) break;
            const vm mask = vm_first(n - at);
            const vf x = vf_select(mask, vf_exp(vf_sub(vf_load_first(z + at, mask), by)), vf_zero());
            sum.part[part] = vf_add(sum.part[part], x);
            if (e) vf_store_first(e + at, x, mask);
        }
    }
    return v16_sum(sum);
}

/* a[j] = b[j] / divisor; in place allowed. */
FNN_INLINE void divide_row(ptrdiff_t n, const real *b, real divisor, real *a) {
    const vf by = vf_set1(divisor);
    for (ptrdiff_t j = 0; j < n; j += VF_LANES) {
        const vm mask = vm_first(n - j);
        vf_store_first(a + j, vf_div(vf_load_first(b + j, mask), by), mask);
    }
}

/* y_j = exp(z_j) / sum_i exp(z_i) for each row, shifted by the largest so that nothing overflows. */
static void softmax_forward_rows(ptrdiff_t rows, ptrdiff_t n, const real *z, ptrdiff_t ldz, real *y, ptrdiff_t ldy,
                                 real a) {
    (void)a;
    for (ptrdiff_t i = 0; i < rows; i++, z += ldz, y += ldy) {
        const real sum = exp_sum(n, z, row_max(n, z), y);
        divide_row(n, y, sum, y);
    }
}

/* dz_j = y_j (dy_j - sum_i dy_i y_i) */
static void softmax_backward_rows(ptrdiff_t rows, ptrdiff_t n, const real *y, ptrdiff_t ldy, real *dy,
                                  ptrdiff_t lddy, real a) {
    (void)a;
    for (ptrdiff_t i = 0; i < rows; i++, y += ldy, dy += lddy) {
        v16 sum = v16_zero();
        for (ptrdiff_t j = 0; j < n; j += FNN_CHAINS)
            sum = v16_fma(v16_load_first(y + j, n - j), v16_load_first(dy + j, n - j), sum);
        const vf mean = vf_set1(v16_sum(sum));
        for (ptrdiff_t j = 0; j < n; j += VF_LANES) {
            const vm mask = vm_first(n - j);
            const vf d = vf_sub(vf_load_first(dy + j, mask), mean);
            vf_store_first(dy + j, vf_mul(vf_load_first(y + j, mask), d), mask);
        }
    }
}

/* The loops of elementwise activations; f is a constant where they are inlined. */
FNN_INLINE void map_forward(ptrdiff_t rows, ptrdiff_t n, const real *z, ptrdiff_t ldz, real *y, ptrdiff_t ldy, real a,
                            vf (*f)(vf, vf)) {
    const vf parameter = vf_set1(a);
    for (ptrdiff_t i = 0; i < rows; i++, z += ldz, y += ldy) {
        ptrdiff_t j = 0;
        for (; j + VF_LANES <= n; j += VF_LANES) vf_store(y + j, f(vf_load(z + j), parameter));
        if (j < n) {
            const vm mask = vm_first(n - j);
            vf_store_first(y + j, f(vf_load_first(z + j, mask), parameter), mask);
        }
    }
}

FNN_INLINE void map_backward(ptrdiff_t rows, ptrdiff_t n, const real *in, ptrdiff_t ldin, real *dy, ptrdiff_t lddy,
                             real a, vf (*derivative)(vf, vf)) {
    const vf parameter = vf_set1(a);
    for (ptrdiff_t i = 0; i < rows; i++, in += ldin, dy += lddy) {
        ptrdiff_t j = 0;
        for (; j + VF_LANES <= n; j += VF_LANES)
            vf_store(dy + j, vf_mul(vf_load(dy + j), derivative(vf_load(in + j), parameter)));
        if (j < n) {
            const vm mask = vm_first(n - j);
            const vf d = vf_mul(vf_load_first(dy + j, mask), derivative(vf_load_first(in + j, mask), parameter));
            vf_store_first(dy + j, d, mask);
        }
    }
}

/* Functions without a parameter as functions with one. */
#define WITHOUT_PARAMETER(name)                                                                 \
    FNN_INLINE vf name##_forward_with(vf z, vf a) { (void)a; return name##_forward(z); }        \
    FNN_INLINE vf name##_derivative_with(vf in, vf a) { (void)a; return name##_derivative(in); }
#define WITH_PARAMETER(name)                                                                    \
    FNN_INLINE vf name##_forward_with(vf z, vf a) { return name##_forward(z, a); }              \
    FNN_INLINE vf name##_derivative_with(vf in, vf a) { return name##_derivative(in, a); }
#define LOOPS(name)                                                                                           \
    static void name##_forward_rows(ptrdiff_t rows, ptrdiff_t n, const real *z, ptrdiff_t ldz, real *y,       \
                                    ptrdiff_t ldy, real a) {                                                  \
        map_forward(rows, n, z, ldz, y, ldy, a, name##_forward_with);                                         \
    }                                                                                                         \
    static void name##_backward_rows(ptrdiff_t rows, ptrdiff_t n, const real *in, ptrdiff_t ldin, real *dy,   \
                                     ptrdiff_t lddy, real a) {                                                \
        map_backward(rows, n, in, ldin, dy, lddy, a, name##_derivative_with);                                 \
    }
#define ROWS_ELEMENTWISE(name) WITHOUT_PARAMETER(name) LOOPS(name)
#define ROWS_ELEMENTWISE_WITH(name) WITH_PARAMETER(name) LOOPS(name)
#define ROWS_ROWWISE(name)
#define ROWS(name, kind, needs) ROWS_##kind(name)
FNN_ACTIVATIONS(ROWS)

#define FORWARD_ENTRY(name, kind, needs) name##_forward_rows,
#define BACKWARD_ENTRY(name, kind, needs) name##_backward_rows,
static const FNN_TYPED(fnn_map) activation_forward[] = {FNN_ACTIVATIONS(FORWARD_ENTRY)};
static const FNN_TYPED(fnn_map) activation_backward[] = {FNN_ACTIVATIONS(BACKWARD_ENTRY)};
#endif

#endif
