/* arrays.h: sums, copies into panels, and other passes over plain arrays.
 */
/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FASTNN_KERNELS_ARRAYS_H
#define FASTNN_KERNELS_ARRAYS_H

#include "matmul.h"

/* sums[j] = [sums[j] +] sum over rows of a[., j], in the order of the rows. */
static void column_sums(ptrdiff_t rows, ptrdiff_t n, const real *a, ptrdiff_t lda, int accumulate, real *sums) {
    for (ptrdiff_t j = 0; j < n; j += VF_LANES) {
        const vm mask = vm_first(n - j);
        vf sum = accumulate ? vf_load_first(sums + j, mask) : vf_zero();
        for (ptrdiff_t i = 0; i < rows; i++) sum = vf_add(sum, vf_load_first(a + i * lda + j, mask));
        vf_store_first(sums + j, sum, mask);
    }
}

/* a[i] += b[i] */
static void add(ptrdiff_t n, real *a, const real *b) {
    ptrdiff_t i = 0;
    for (; i + VF_LANES <= n; i += VF_LANES) vf_store(a + i, vf_add(vf_load(a + i), vf_load(b + i)));
    if (i < n) {
        const vm mask = vm_first(n - i);
        vf_store_first(a + i, vf_add(vf_load_first(a + i, mask), vf_load_first(b + i, mask)), mask);
    }
}

/* Whether all of (rows, n) is finite: then every x.0 is 0, and so is the sum of them; else that is NaN. */
static int all_finite(ptrdiff_t rows, ptrdiff_t n, const real *x, ptrdiff_t ldx) {
    enum { CHAINS = 4 };
    const vf zero = vf_zero();
    vf sum[CHAINS] = {zero, zero, zero, zero};
    for (ptrdiff_t i = 0; i < rows; i++, x += ldx) {
        ptrdiff_t j = 0;
        for (; j + CHAINS * VF_LANES <= n; j += CHAINS * VF_LANES)
            for (int c = 0; c < CHAINS; c++) sum[c] = vf_add(sum[c], vf_mul(vf_load(x + j + c * VF_LANES), zero));
        for (; j < n; j += VF_LANES) sum[0] = vf_add(sum[0], vf_mul(vf_load_first(x + j, vm_first(n - j)), zero));
    }
    const vf all = vf_add(vf_add(sum[0], sum[1]), vf_add(sum[2], sum[3]));
    return !vm_any(vm_not(vm_eq(all, zero)));
}

/* Rows asked for before they are written: other threads have read what lies there. */
enum { PACK_AHEAD = 24 };

static void pack(ptrdiff_t first, ptrdiff_t rows, ptrdiff_t n, const real *w, ptrdiff_t panel_stride, real *panels) {
    for (ptrdiff_t j = 0; j < n; j += PANEL) {
        const vm low = vm_first(n - j), high = vm_first(n - j - VF_LANES);
        const real *from = w + first * n + j;
        real *to = panels + j / PANEL * panel_stride + first * PANEL;
        for (ptrdiff_t i = 0; i < rows; i++, from += n, to += PANEL) {
            const real *ahead = to + PACK_AHEAD * PANEL + (i + PACK_AHEAD < rows ? 0 : panel_stride - rows * PANEL);
            fnn_prefetch_to_write(ahead);
            fnn_prefetch_to_write(ahead + VF_LANES);
            vf_store(to, vf_load_first(from, low));
            vf_store(to + VF_LANES, vf_load_first(from + VF_LANES, high));
        }
    }
}

/* Column i of a panel is row i of w. Blocks of VF_LANES rows by VF_LANES columns are transposed in registers. */
static void pack_transposed(ptrdiff_t first, ptrdiff_t rows, ptrdiff_t total, ptrdiff_t n, const real *w,
                            ptrdiff_t panel_stride, real *panels) {
    const ptrdiff_t end = first + rows;
    for (ptrdiff_t i = first; i < end; i += VF_LANES) {
        const ptrdiff_t height = end - i < VF_LANES ? end - i : VF_LANES;
        real *to = panels + i / PANEL * panel_stride + i % PANEL;
        const real *from = w + i * n;
        ptrdiff_t j = 0;
        if (height == VF_LANES)
            for (; j + VF_LANES <= n; j += VF_LANES) vf_transpose(from + j, n, to + j * PANEL, PANEL);
        for (; j < n; j++) {
            for (ptrdiff_t l = 0; l < height; l++) to[j * PANEL + l] = from[l * n + j];
            for (ptrdiff_t l = height; l < VF_LANES; l++) to[j * PANEL + l] = 0;
        }
    }
    /* The half panel behind the last row, when there is one. */
    const ptrdiff_t padded = (total + VF_LANES - 1) / VF_LANES * VF_LANES;
    if (end == total && padded % PANEL) {
        real *to = panels + padded / PANEL * panel_stride + VF_LANES;
        for (ptrdiff_t j = 0; j < n; j++) vf_store(to + j * PANEL, vf_zero());
    }
}

/* ---- stand-alone functions ----------------------------------------------------------------------------------- */

FNN_INLINE void apply(ptrdiff_t n, const real *x, real *y, vf (*f)(vf)) {
    for (ptrdiff_t i = 0; i < n; i += VF_LANES) {
        const vm mask = vm_first(n - i);
        vf_store_first(y + i, f(vf_load_first(x + i, mask)), mask);
    }
}
static void exp_array(ptrdiff_t n, const real *x, real *y) { apply(n, x, y, vf_exp); }
static void log_array(ptrdiff_t n, const real *x, real *y) { apply(n, x, y, vf_log); }
static void tanh_array(ptrdiff_t n, const real *x, real *y) { apply(n, x, y, vf_tanh); }
static void sigmoid_array(ptrdiff_t n, const real *x, real *y) { apply(n, x, y, vf_sigmoid); }
static void normal_quantile_array(ptrdiff_t n, const real *x, real *y) { apply(n, x, y, vf_normal_quantile); }
static void (*const vector_functions[])(ptrdiff_t, const real *, real *) = {exp_array, log_array, tanh_array,
                                                                           sigmoid_array, normal_quantile_array};

/* The most multiply-adds a core can do: chains enough to hide the latency, and no memory at all. */
static real fma_loop(ptrdiff_t rounds) {
    enum { CHAINS = VF_REGISTERS >= 32 ? FNN_FMA_LOOP_CHAINS : FNN_FMA_LOOP_CHAINS / 2 };
    const vf factor = vf_set1((real)0.999), term = vf_set1((real)0.001);
    vf sum[CHAINS];
#pragma GCC unroll 24
    for (int i = 0; i < CHAINS; i++) sum[i] = vf_set1((real)i);
    for (ptrdiff_t l = 0; l < rounds * FNN_FMA_LOOP_CHAINS / CHAINS; l++) {
#pragma GCC unroll 24
        for (int i = 0; i < CHAINS; i++) sum[i] = vf_fma(sum[i], factor, term);
    }
    vf all = sum[0];
#pragma GCC unroll 24
    for (int i = 1; i < CHAINS; i++) all = vf_add(all, sum[i]);
    real lane[VF_LANES];
    vf_store(lane, all);
    return lane[0];
}

#endif
