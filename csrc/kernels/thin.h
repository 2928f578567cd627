/* thin.h: products with few columns, whose lanes would idle if they lay over columns.
 *
 * A layer of at most FNN_THIN units is summed along its inputs. Gradients of such weights, and the few columns of wider
 * products behind their last whole vector, have the lanes over the rows of c or over rows and columns, and the chains of
 * every other product.
 */
/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FASTNN_KERNELS_THIN_H
#define FASTNN_KERNELS_THIN_H

#include "../simd/simd.h"
#include "kernels.h"

/* ---- lanes over the inputs ----------------------------------------------------------------------------------- */

/* c[j] = tree(16 chains of a . bt[j]) + start[j] for one row and a constant number of units. */
FNN_INLINE void thin_row(const int units, ptrdiff_t k, const real *a, const real *bt, ptrdiff_t ldbt,
                         const real *start, real *c) {
    v16 sum[FNN_THIN];
#pragma GCC unroll 8
    for (int j = 0; j < units; j++) sum[j] = v16_zero();
    ptrdiff_t l = 0;
    for (; l + FNN_CHAINS <= k; l += FNN_CHAINS) {
        const v16 x = v16_load(a + l);
#pragma GCC unroll 8
        for (int j = 0; j < units; j++) sum[j] = v16_fma(x, v16_load(bt + j * ldbt + l), sum[j]);
    }
    if (l < k) {
        const v16 x = v16_load_first(a + l, k - l);
#pragma GCC unroll 8
        for (int j = 0; j < units; j++) sum[j] = v16_fma(x, v16_load(bt + j * ldbt + l), sum[j]);
    }
#pragma GCC unroll 8
    for (int j = 0; j < units; j++) c[j] = v16_sum(sum[j]) + (start ? start[j] : 0);
}

static void matmul_thin(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const real *a, ptrdiff_t lda, const real *bt,
                        ptrdiff_t ldbt, const real *start, real *c, ptrdiff_t ldc) {
#define THIN_CASE(units) \
    case units:          \
        for (ptrdiff_t i = 0; i < m; i++) thin_row(units, k, a + i * lda, bt, ldbt, start, c + i * ldc); \
        break;
    switch (n) {
        THIN_CASE(1) THIN_CASE(2) THIN_CASE(3) THIN_CASE(4)
        THIN_CASE(5) THIN_CASE(6) THIN_CASE(7) THIN_CASE(8)
        default: break;
    }
#undef THIN_CASE
}

/* ---- lanes over the rows -------------------------------------------------------------------------------------- */

/* A block of c (rows, units) with its rows along the lanes: unit j of row i is lane i % VF_LANES of vector
 * i / VF_LANES * units + j. */
typedef real thin_lanes[FNN_THIN][VF_LANES];
static void load_thin(ptrdiff_t units, ptrdiff_t rows, const real *c, ptrdiff_t ldc, thin_lanes lanes) {
    for (ptrdiff_t i = 0; i < rows; i++)
        for (ptrdiff_t j = 0; j < units; j++) lanes[i / VF_LANES * units + j][i % VF_LANES] = c[i * ldc + j];
}
static void store_thin(ptrdiff_t units, ptrdiff_t rows, thin_lanes lanes, real *c, ptrdiff_t ldc) {
    for (ptrdiff_t i = 0; i < rows; i++)
        for (ptrdiff_t j = 0; j < units; j++) c[i * ldc + j] = lanes[i / VF_LANES * units + j][i % VF_LANES];
}

/* c (rows, units) = [c +] sum over the k rows of a[l] . b[l, j]: the chains of matmul_transposed, but with the lanes
 * over the rows. So many vectors of them at once that there are chains to hide each other's latency. */
FNN_INLINE void thin_columns(const int units, const int vectors, ptrdiff_t rows, ptrdiff_t k, const real *a,
                             ptrdiff_t lda, const real *b, ptrdiff_t ldb, int accumulate, real *c, ptrdiff_t ldc) {
    const vm last = vm_first(rows - (vectors - 1) * VF_LANES);
    thin_lanes lanes = {{0}};
    vf sum[FNN_THIN];
    if (accumulate) load_thin(units, rows, c, ldc, lanes);
#pragma GCC unroll 8
    for (int i = 0; i < vectors * units; i++) sum[i] = vf_load(lanes[i]);
    for (ptrdiff_t l = 0; l < k; l++) {
        vf x[FNN_THIN];
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++) {
            const real *from = a + l * lda + v * VF_LANES;
            x[v] = v < vectors - 1 ? vf_load(from) : vf_load_first(from, last);
        }
#pragma GCC unroll 8
        for (int j = 0; j < units; j++) {
            const vf bj = vf_set1(b[l * ldb + j]);
#pragma GCC unroll 8
            for (int v = 0; v < vectors; v++) sum[v * units + j] = vf_fma(x[v], bj, sum[v * units + j]);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < vectors * units; i++) vf_store(lanes[i], vf_add(sum[i], vf_zero())); /* no -0, as in `tile` */
    store_thin(units, rows, lanes, c, ldc);
}

/* All of m, eight chains at a time where there are as many. */
FNN_INLINE void thin_blocks(const int units, ptrdiff_t m, ptrdiff_t k, const real *a, ptrdiff_t lda, const real *b,
                            ptrdiff_t ldb, int accumulate, real *c, ptrdiff_t ldc) {
    const ptrdiff_t most = FNN_THIN / units * VF_LANES;
    for (ptrdiff_t i = 0; i < m; i += most) {
        const ptrdiff_t rows = m - i < most ? m - i : most, vectors = (rows + VF_LANES - 1) / VF_LANES;
#define VECTORS_CASE(n)                                                                                      \
    case n:                                                                                                  \
        if (n * units <= FNN_THIN)                                                                           \
            thin_columns(units, n, rows, k, a + i, lda, b, ldb, accumulate, c + i * ldc, ldc);               \
        break;
        switch (vectors) {
            VECTORS_CASE(1) VECTORS_CASE(2) VECTORS_CASE(3) VECTORS_CASE(4)
            VECTORS_CASE(5) VECTORS_CASE(6) VECTORS_CASE(7) VECTORS_CASE(8)
            default: break;
        }
#undef VECTORS_CASE
    }
}

static void matmul_transposed_thin(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const real *a, ptrdiff_t lda, const real *b,
                                   ptrdiff_t ldb, int accumulate, real *c, ptrdiff_t ldc) {
#define THIN_CASE(units) \
    case units: thin_blocks(units, m, k, a, lda, b, ldb, accumulate, c, ldc); break;
    switch (n) {
        THIN_CASE(1) THIN_CASE(2) THIN_CASE(3) THIN_CASE(4)
        THIN_CASE(5) THIN_CASE(6) THIN_CASE(7) THIN_CASE(8)
        default: break;
    }
#undef THIN_CASE
}

#if defined(VF_FOURS)

/* ---- lanes over a few rows and four columns ------------------------------------------------------------------- */

enum { FOUR = 4, ROWS_TOGETHER = VF_LANES / FOUR, MOST_REGISTERS = 8 };

/* c (rows, units) = start + a.b for up to four units: a register has ROWS_TOGETHER rows, and so has each in turn. The
 * rows of the last may overlap those of the one before: both find the same. masked: fewer units, behind which b may
 * end. */
FNN_INLINE void rows_of_fours(const int registers, const int masked, ptrdiff_t rows, ptrdiff_t units, ptrdiff_t k,
                              const real *a, ptrdiff_t lda, const real *b, ptrdiff_t ldb, const real *start, real *c,
                              ptrdiff_t ldc) {
    const real *from[MOST_REGISTERS];
    vf sum[MOST_REGISTERS];
    const vf first = start ? vf_same_fours(start, units) : vf_zero();
#pragma GCC unroll 8
    for (int r = 0; r < registers; r++) {
        from[r] = a + (r < registers - 1 ? ROWS_TOGETHER * r : rows - ROWS_TOGETHER) * lda;
        sum[r] = first;
    }
    ptrdiff_t l = 0;
    for (; l + FOUR <= k; l += FOUR) {
        vf row[FOUR];
#pragma GCC unroll 4
        for (int e = 0; e < FOUR; e++) row[e] = vf_same_fours(b + (l + e) * ldb, masked ? units : FOUR);
#pragma GCC unroll 8
        for (int r = 0; r < registers; r++) {
            const vf x = vf_fours(from[r] + l, lda);
            sum[r] = vf_fma(vf_spread(x, 0), row[0], sum[r]);
            sum[r] = vf_fma(vf_spread(x, 1), row[1], sum[r]);
            sum[r] = vf_fma(vf_spread(x, 2), row[2], sum[r]);
            sum[r] = vf_fma(vf_spread(x, 3), row[3], sum[r]);
        }
    }
    for (; l < k; l++) {
        const vf row = vf_same_fours(b + l * ldb, masked ? units : FOUR);
#pragma GCC unroll 8
        for (int r = 0; r < registers; r++) {
            real x[VF_LANES];
            for (int i = 0; i < VF_LANES; i++) x[i] = from[r][i / FOUR * lda + l];
            sum[r] = vf_fma(vf_load(x), row, sum[r]);
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < registers; r++) {
        real lanes[VF_LANES];
        real *to = c + (r < registers - 1 ? ROWS_TOGETHER * r : rows - ROWS_TOGETHER) * ldc;
        vf_store(lanes, sum[r]);
        for (ptrdiff_t i = 0; i < ROWS_TOGETHER; i++)
            for (ptrdiff_t j = 0; j < units; j++) to[i * ldc + j] = lanes[i * FOUR + j];
    }
}

FNN_INLINE void blocks_of_fours(const int masked, ptrdiff_t m, ptrdiff_t units, ptrdiff_t k, const real *a,
                                ptrdiff_t lda, const real *b, ptrdiff_t ldb, const real *start, real *c,
                                ptrdiff_t ldc) {
    const ptrdiff_t most = ROWS_TOGETHER * MOST_REGISTERS, n_blocks = (m + most - 1) / most;
    for (ptrdiff_t block = 0; block < n_blocks; block++) {
        const ptrdiff_t begin = m * block / n_blocks, rows = m * (block + 1) / n_blocks - begin;
#define REGISTERS_CASE(n)                                                                                    \
    case n:                                                                                                  \
        rows_of_fours(n, masked, rows, units, k, a + begin * lda, lda, b, ldb, start, c + begin * ldc, ldc); \
        break;
        switch ((rows + ROWS_TOGETHER - 1) / ROWS_TOGETHER) {
            REGISTERS_CASE(1) REGISTERS_CASE(2) REGISTERS_CASE(3) REGISTERS_CASE(4)
            REGISTERS_CASE(5) REGISTERS_CASE(6) REGISTERS_CASE(7) REGISTERS_CASE(8)
            default: break;
        }
#undef REGISTERS_CASE
    }
}

/* c (m, units) = start + a.b for at least ROWS_TOGETHER rows and at most four units: the chains of matmul. */
static void matmul_fours(ptrdiff_t m, ptrdiff_t units, ptrdiff_t k, const real *a, ptrdiff_t lda, const real *b,
                         ptrdiff_t ldb, const real *start, real *c, ptrdiff_t ldc) {
    if (units == FOUR)
        blocks_of_fours(0, m, units, k, a, lda, b, ldb, start, c, ldc);
    else
        blocks_of_fours(1, m, units, k, a, lda, b, ldb, start, c, ldc);
}

#endif

#endif
