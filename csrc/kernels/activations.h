/* activations.h: the list of activations, each beside its derivative.
 *
 * A row of the list names the functions below, says whether the function works element by element or needs a whole
 * row, and which tensor its derivative is a function of: OUTPUT (then it runs in place) or INPUT. To add one: a row
 * here, its two functions (name_forward(z), name_derivative(y or z)), and a row in fastnn/activations.py; names,
 * numbers, loops, tails and tests follow.
 */
/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FASTNN_KERNELS_ACTIVATIONS_H
#define FASTNN_KERNELS_ACTIVATIONS_H

#define FNN_ACTIVATIONS(X)          \
    X(linear, ELEMENTWISE, OUTPUT)  \
    X(relu, ELEMENTWISE, OUTPUT)    \
    X(tanh, ELEMENTWISE, OUTPUT)    \
    X(sigmoid, ELEMENTWISE, OUTPUT) \
    X(softmax, ROWWISE, OUTPUT)     \
    X(softsign, ELEMENTWISE, OUTPUT)

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
static void softmax_forward_rows(ptrdiff_t rows, ptrdiff_t n, const real *z, ptrdiff_t ldz, real *y, ptrdiff_t ldy) {
    for (ptrdiff_t i = 0; i < rows; i++, z += ldz, y += ldy) {
        const real sum = exp_sum(n, z, row_max(n, z), y);
        divide_row(n, y, sum, y);
    }
}

/* dz_j = y_j (dy_j - sum_i dy_i y_i) */
static void softmax_backward_rows(ptrdiff_t rows, ptrdiff_t n, const real *y, ptrdiff_t ldy, real *dy,
                                  ptrdiff_t lddy) {
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
FNN_INLINE void map_forward(ptrdiff_t rows, ptrdiff_t n, const real *z, ptrdiff_t ldz, real *y, ptrdiff_t ldy,
                            vf (*f)(vf)) {
    for (ptrdiff_t i = 0; i < rows; i++, z += ldz, y += ldy) {
        ptrdiff_t j = 0;
        for (; j + VF_LANES <= n; j += VF_LANES) vf_store(y + j, f(vf_load(z + j)));
        if (j < n) {
            const vm mask = vm_first(n - j);
            vf_store_first(y + j, f(vf_load_first(z + j, mask)), mask);
        }
    }
}

FNN_INLINE void map_backward(ptrdiff_t rows, ptrdiff_t n, const real *in, ptrdiff_t ldin, real *dy, ptrdiff_t lddy,
                             vf (*derivative)(vf)) {
    for (ptrdiff_t i = 0; i < rows; i++, in += ldin, dy += lddy) {
        ptrdiff_t j = 0;
        for (; j + VF_LANES <= n; j += VF_LANES)
            vf_store(dy + j, vf_mul(vf_load(dy + j), derivative(vf_load(in + j))));
        if (j < n) {
            const vm mask = vm_first(n - j);
            const vf d = vf_mul(vf_load_first(dy + j, mask), derivative(vf_load_first(in + j, mask)));
            vf_store_first(dy + j, d, mask);
        }
    }
}

#define ROWS_ELEMENTWISE(name)                                                                                      \
    static void name##_forward_rows(ptrdiff_t rows, ptrdiff_t n, const real *z, ptrdiff_t ldz, real *y,             \
                                    ptrdiff_t ldy) { map_forward(rows, n, z, ldz, y, ldy, name##_forward); }        \
    static void name##_backward_rows(ptrdiff_t rows, ptrdiff_t n, const real *in, ptrdiff_t ldin, real *dy,         \
                                     ptrdiff_t lddy) { map_backward(rows, n, in, ldin, dy, lddy, name##_derivative); }
#define ROWS_ROWWISE(name)
#define ROWS(name, kind, needs) ROWS_##kind(name)
FNN_ACTIVATIONS(ROWS)

#define FORWARD_ENTRY(name, kind, needs) name##_forward_rows,
#define BACKWARD_ENTRY(name, kind, needs) name##_backward_rows,
static const FNN_TYPED(fnn_map) activation_forward[] = {FNN_ACTIVATIONS(FORWARD_ENTRY)};
static const FNN_TYPED(fnn_map) activation_backward[] = {FNN_ACTIVATIONS(BACKWARD_ENTRY)};
#endif

#endif
