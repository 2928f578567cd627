/* matmul.h: the matrix products of any size, from tiles and thin pieces; and that of one row.
 */
/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FASTNN_KERNELS_MATMUL_H
#define FASTNN_KERNELS_MATMUL_H

#include "thin.h"
#include "tiles.h"
#if VF_LANES > 1
#include "zeros.h"
#endif

/* Steps after which a tile by columns lets the others catch up: so long, the lines it reads of a and a panel of b stay in
 * a first cache of 32 KB, which is what processors without AVX-512 have. Chains go on in c, with the same bits. */
#if VF_REGISTERS >= 32
#define MOST_STEPS PTRDIFF_MAX
#else
#define MOST_STEPS 200
#endif

/* Columns behind the last whole vector would take as long as all its lanes. A few have the lanes over the rows of c
 * instead, and the same chains. */
static ptrdiff_t columns_along_rows(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k) {
    const ptrdiff_t tail = n > VF_LANES ? n % VF_LANES : 0;
    if (tail > FNN_THIN || 2 * tail * ((m + VF_LANES - 1) / VF_LANES) > m) return 0; /* no less work */
    if (tail > VF_LANES / 4 && k < 2 * VF_LANES) return 0; /* what is saved goes into turning c */
    return tail;
}

static void matmul_transposed(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const real *a, ptrdiff_t lda, const real *b,
                              ptrdiff_t ldb, int accumulate, real *c, ptrdiff_t ldc, const fnn_soon *soon) {
    const ptrdiff_t tail = columns_along_rows(m, n, k), whole = n - tail;
    const ptrdiff_t n_parts = k > MOST_STEPS ? (k - 1) / MOST_STEPS + 1 : 1;
    for (ptrdiff_t part = 0; part < n_parts; part++) {
        const ptrdiff_t first = k * part / n_parts, last = k * (part + 1) / n_parts;
        product_by_columns(m, whole, last - first, a + first * lda, lda, b + first * ldb, ldb, accumulate || part > 0,
                           c, ldc, part == 0 ? soon : NULL);
    }
    if (tail) matmul_transposed_thin(m, tail, k, a, lda, b + whole, ldb, accumulate, c + whole, ldc);
}

#if VF_LANES > 1
static void matmul_transposed_zeros(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const real *a, ptrdiff_t lda, const real *b,
                                    ptrdiff_t ldb, int accumulate, real *c, ptrdiff_t ldc, const fnn_soon *soon) {
    if (m < THREE || n < 1 || k < 1 || ldb > FARTHEST_STEP) {
        matmul_transposed(m, n, k, a, lda, b, ldb, accumulate, c, ldc, soon);
        return;
    }
    const ptrdiff_t tail = columns_along_rows(m, n, k), whole = n - tail;
    const ptrdiff_t n_parts = (k - 1) / LISTED_STEPS + 1, n_blocks = (m - 1) / LISTED_ROWS + 1;
    asking next = asking_for(soon, tiles_of_threes(whole) * (m / THREE) * n_parts);
    for (ptrdiff_t block = 0; block < n_blocks; block++) {
        const ptrdiff_t row = m * block / n_blocks, rows = m * (block + 1) / n_blocks - row;
        for (ptrdiff_t part = 0; part < n_parts; part++) {
            const ptrdiff_t first = k * part / n_parts, last = k * (part + 1) / n_parts;
            block_of_threes(rows, whole, last - first, a + first * lda + row, lda, b + first * ldb, ldb,
                            accumulate || part > 0, c + row * ldc, ldc, &next);
        }
    }
    if (tail) matmul_transposed_thin(m, tail, k, a, lda, b + whole, ldb, accumulate, c + whole, ldc);
}
#endif

/* Of fewer rows, a low tile has chains that wait as long. */
#define FEWEST_ROWS_OF_FOUR 12

/* Up to four columns behind the last whole vector share a register with those of other rows. */
static ptrdiff_t columns_in_fours(ptrdiff_t m, ptrdiff_t n) {
#if defined(VF_FOURS)
    const ptrdiff_t tail = n % VF_LANES;
    return n > VF_LANES && tail <= FOUR && m >= FEWEST_ROWS_OF_FOUR ? tail : 0;
#else
    (void)m, (void)n;
    return 0;
#endif
}

static void matmul(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const real *a, ptrdiff_t lda, const real *b, ptrdiff_t ldb,
                   ptrdiff_t panel_stride, const real *start, real *c, ptrdiff_t ldc,
                   const FNN_TYPED(fnn_epilogue) * epilogue, const fnn_soon *soon) {
    const ptrdiff_t tail = columns_in_fours(m, n), whole = n - tail;
    product(0, m, whole, k, a, lda, b, ldb, panel_stride, start, 0, c, ldc, epilogue, soon);
#if defined(VF_FOURS)
    if (!tail) return;
    matmul_fours(m, tail, k, a, lda, b + whole / PANEL * panel_stride + whole % PANEL, ldb,
                 start ? start + whole : NULL, c + whole, ldc);
    apply_to(epilogue, 0, whole, m, tail, c + whole, ldc);
#endif
}

/* ---- one row ------------------------------------------------------------------------------------------------- */

/* Up to four panels of one row in one pass over k: eight chains hide each other's latency, one or two would not.
 * masked: b ends with its last column, as row-major b does, while panels are padded. */
FNN_INLINE void row_panels(const int vectors, const int masked, ptrdiff_t columns, ptrdiff_t k, const real *x,
                           const real *b, ptrdiff_t ldb, ptrdiff_t panel_stride, const real *start, real *y) {
    const vm mask = vm_first(columns - (vectors - 1) * VF_LANES);
    vf sum[8];
#pragma GCC unroll 8
    for (int v = 0; v < vectors; v++) {
        sum[v] = vf_zero();
        if (!start) continue;
        const real *from = start + v * VF_LANES;
        sum[v] = v == vectors - 1 ? vf_load_first(from, mask) : vf_load(from);
    }
    for (ptrdiff_t l = 0; l < k; l++) {
        const vf xl = vf_set1(x[l]);
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++) {
            const real *from = b + v / 2 * panel_stride + l * ldb + v % 2 * VF_LANES;
            sum[v] = vf_fma(xl, masked && v == vectors - 1 ? vf_load_first(from, mask) : vf_load(from), sum[v]);
        }
    }
#pragma GCC unroll 8
    for (int v = 0; v < vectors - 1; v++) vf_store(y + v * VF_LANES, sum[v]);
    vf_store_first(y + (vectors - 1) * VF_LANES, sum[vectors - 1], mask);
}

FNN_INLINE void row(const int masked, ptrdiff_t n, ptrdiff_t k, const real *x, const real *b, ptrdiff_t ldb,
                    ptrdiff_t panel_stride, const real *start, real *y) {
    for (ptrdiff_t j = 0; j < n; j += 8 * VF_LANES) {
        const ptrdiff_t columns = n - j < 8 * VF_LANES ? n - j : 8 * VF_LANES;
        const real *from = b + j / PANEL * panel_stride, *begin = start ? start + j : NULL;
#define ROW_CASE(vectors) \
    case vectors: row_panels(vectors, masked, columns, k, x, from, ldb, panel_stride, begin, y + j); break;
        switch ((columns + VF_LANES - 1) / VF_LANES) {
            ROW_CASE(1) ROW_CASE(2) ROW_CASE(3) ROW_CASE(4)
            ROW_CASE(5) ROW_CASE(6) ROW_CASE(7) ROW_CASE(8)
            default: break;
        }
#undef ROW_CASE
    }
}

static void matmul_row(ptrdiff_t n, ptrdiff_t k, const real *x, const real *b, ptrdiff_t panel_stride,
                       const real *start, real *y) {
    row(0, n, k, x, b, PANEL, panel_stride, start, y);
}

static void matmul_row_plain(ptrdiff_t n, ptrdiff_t k, const real *x, const real *b, ptrdiff_t ldb, const real *start,
                             real *y) {
    row(1, n, k, x, b, ldb, PANEL, start, y);
}

#endif
