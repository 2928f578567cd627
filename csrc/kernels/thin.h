/* thin.h: products with few columns, whose lanes would idle if they lay over columns.
 *
 * A layer of at most FNN_THIN units is summed along its inputs. Gradients of such weights, and the few columns of wider
 * products behind their last whole vector, have the lanes over the rows of c, and the chains of every other product.
 */
/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FASTNN_KERNELS_THIN_H
#define FASTNN_KERNELS_THIN_H

#include "../simd/simd.h"
#include "../simd/transpose.h"
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
    for (int i = 0; i < vectors * units; i++) vf_store(lanes[i], sum[i]);
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

/* Steps over k whose part of a is transposed at a time, and vectors of rows beside each other. */
enum { TAIL_STEPS = 2 * VF_LANES, TAIL_VECTORS = 4 };

/* piece (steps, rows) = a (rows, steps)^T, for whole vectors of rows. */
static void transpose_piece(ptrdiff_t vectors, ptrdiff_t steps, const real *a, ptrdiff_t lda, real *piece) {
    const ptrdiff_t ld = vectors * VF_LANES, whole = steps / VF_LANES * VF_LANES;
    for (ptrdiff_t i = 0; i < ld; i += VF_LANES) {
        for (ptrdiff_t l = 0; l < whole; l += VF_LANES) vf_transpose(a + i * lda + l, lda, piece + l * ld + i, ld);
        for (ptrdiff_t l = whole; l < steps; l++)
            for (ptrdiff_t r = i; r < i + VF_LANES; r++) piece[l * ld + r] = a[r * lda + l];
    }
}

/* c (vectors whole vectors of rows, units) = start + a.b, with a transposed piece by piece. */
FNN_INLINE void tail_block(const int units, const int vectors, ptrdiff_t k, const real *a, ptrdiff_t lda, const real *b,
                           ptrdiff_t ldb, const real *start, real *c, ptrdiff_t ldc) {
    real piece[TAIL_STEPS * TAIL_VECTORS * VF_LANES];
    thin_lanes lanes;
    vf sum[FNN_THIN];
#pragma GCC unroll 8
    for (int i = 0; i < vectors * units; i++) sum[i] = start ? vf_set1(start[i % units]) : vf_zero();
    for (ptrdiff_t first = 0; first < k; first += TAIL_STEPS) {
        const ptrdiff_t steps = k - first < TAIL_STEPS ? k - first : TAIL_STEPS;
        const ptrdiff_t ld = vectors * VF_LANES;
        transpose_piece(vectors, steps, a + first, lda, piece);
        for (ptrdiff_t l = 0; l < steps; l++, b += ldb) {
#pragma GCC unroll 8
            for (int j = 0; j < units; j++) {
                const vf bj = vf_set1(b[j]);
#pragma GCC unroll 8
                for (int v = 0; v < vectors; v++)
                    sum[v * units + j] = vf_fma(vf_load(piece + l * ld + v * VF_LANES), bj, sum[v * units + j]);
            }
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < vectors * units; i++) vf_store(lanes[i], sum[i]);
    store_thin(units, vectors * VF_LANES, lanes, c, ldc);
}

FNN_INLINE ptrdiff_t tail_rows(const int units, ptrdiff_t m, ptrdiff_t k, const real *a, ptrdiff_t lda, const real *b,
                               ptrdiff_t ldb, const real *start, real *c, ptrdiff_t ldc) {
    const int vectors = FNN_THIN / units < TAIL_VECTORS ? FNN_THIN / units : TAIL_VECTORS;
    ptrdiff_t i = 0;
    for (; i + vectors * VF_LANES <= m; i += vectors * VF_LANES)
        tail_block(units, vectors, k, a + i * lda, lda, b, ldb, start, c + i * ldc, ldc);
    for (; i + VF_LANES <= m; i += VF_LANES) tail_block(units, 1, k, a + i * lda, lda, b, ldb, start, c + i * ldc, ldc);
    return i;
}

/* c (m, units) = start + a.b for whole vectors of rows and at most four units; returns how many rows that are. */
static ptrdiff_t matmul_tail(ptrdiff_t m, ptrdiff_t units, ptrdiff_t k, const real *a, ptrdiff_t lda, const real *b,
                             ptrdiff_t ldb, const real *start, real *c, ptrdiff_t ldc) {
    switch (units) {
        case 1: return tail_rows(1, m, k, a, lda, b, ldb, start, c, ldc);
        case 2: return tail_rows(2, m, k, a, lda, b, ldb, start, c, ldc);
        case 3: return tail_rows(3, m, k, a, lda, b, ldb, start, c, ldc);
        case 4: return tail_rows(4, m, k, a, lda, b, ldb, start, c, ldc);
        default: return 0;
    }
}

#endif
