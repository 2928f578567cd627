/* matmul.h: the matrix products, in one register tile.
 *
 * A tile is `height` rows by one or two vectors of columns; each step over k loads the vectors of b, broadcasts one
 * element of a per row, and fuses height x vectors multiply-adds into accumulators that never leave the registers.
 * Every size of the tile is a constant where the body is inlined: a variable index into the accumulators would make
 * the compiler keep them on the stack. Rows are shared out evenly over tiles (13 + 13 instead of 14 + 12), because a
 * low tile cannot hide the latency of its chains.
 */
/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FASTNN_KERNELS_MATMUL_H
#define FASTNN_KERNELS_MATMUL_H

#include "../simd/simd.h"
#include "kernels.h"

/* Two columns of accumulators, two registers for b, two for what is broadcast: 14 rows with 32 registers, 6 with 16. */
#define TILE_ROWS ((VF_REGISTERS - 4) / 2)
#define PANEL (2 * VF_LANES)

typedef struct {
    ptrdiff_t k;
    const real *a;
    ptrdiff_t lda;
    const real *b;
    ptrdiff_t ldb;
    const real *start; /* row of columns the chains start at; NULL: 0 or c */
    real *c;
    ptrdiff_t ldc;
    ptrdiff_t columns; /* of the last vector: its other lanes are masked */
    int accumulate;    /* the chains start at c */
    const char *ahead; /* asked for early, an address for each step over k, ahead_step bytes apart; NULL: nothing */
    ptrdiff_t ahead_step;
} tile_arguments;

/* Chains shorter than this are over before anything asked for could arrive. */
#define SHORTEST_AHEAD 65

/* The steps over k, whose accumulators stay in registers. */
FNN_INLINE void tile_steps(const int height, const int vectors, const int masked, const int by_columns,
                           const int asks_ahead, const tile_arguments *t, vm mask, vf (*sum)[2]) {
    const ptrdiff_t lda = t->lda, ldb = t->ldb, ahead_step = t->ahead_step;
    const real *a = t->a, *b = t->b;
    const char *ahead = t->ahead;
    for (ptrdiff_t l = t->k; l > 0; l--) {
        vf row[2];
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) {
            const real *from = b + v * VF_LANES;
            row[v] = masked && v == vectors - 1 ? vf_load_first(from, mask) : vf_load(from);
        }
#pragma GCC unroll 16
        for (int i = 0; i < height; i++) {
            const vf x = vf_set1(by_columns ? a[i] : a[i * lda]);
#pragma GCC unroll 2
            for (int v = 0; v < vectors; v++) sum[i][v] = vf_fma(x, row[v], sum[i][v]);
        }
        if (asks_ahead) {
            fnn_prefetch(ahead);
            ahead += ahead_step;
        }
        a += by_columns ? lda : 1;
        b += ldb;
    }
}

/* c (height, columns) = start + a.b; a is read by rows (a[i.lda + l]) or by columns (a[l.lda + i]). masked: the last
 * vector is partial. */
FNN_INLINE void tile(const int height, const int vectors, const int masked, const int by_columns,
                     const tile_arguments *t) {
    const ptrdiff_t ldc = t->ldc;
    real *c = t->c;
    const vm mask = vm_first(t->columns);
    vf sum[TILE_ROWS][2];
    if (t->accumulate) {
#pragma GCC unroll 16
        for (int i = 0; i < height; i++) {
#pragma GCC unroll 2
            for (int v = 0; v < vectors; v++) {
                const real *from = c + i * ldc + v * VF_LANES;
                sum[i][v] = masked && v == vectors - 1 ? vf_load_first(from, mask) : vf_load(from);
            }
        }
    } else {
        vf first[2];
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) {
            first[v] = vf_zero();
            if (t->start) {
                const real *from = t->start + v * VF_LANES;
                first[v] = masked && v == vectors - 1 ? vf_load_first(from, mask) : vf_load(from);
            }
        }
#pragma GCC unroll 16
        for (int i = 0; i < height; i++) {
#pragma GCC unroll 2
            for (int v = 0; v < vectors; v++) sum[i][v] = first[v];
        }
    }
    if (t->ahead)
        tile_steps(height, vectors, masked, by_columns, 1, t, mask, sum);
    else
        tile_steps(height, vectors, masked, by_columns, 0, t, mask, sum);
#pragma GCC unroll 16
    for (int i = 0; i < height; i++) {
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) {
            real *to = c + i * ldc + v * VF_LANES;
            if (masked && v == vectors - 1)
                vf_store_first(to, sum[i][v], mask);
            else
                vf_store(to, sum[i][v]);
        }
    }
}

typedef void (*tile_function)(const tile_arguments *);

/* One function per height, so that each is compiled with constant sizes; the six kinds are the three column forms
 * (two vectors, two with the last masked, one masked) by the two ways to read a. */
#define TILE_KINDS(height)                                                                            \
    static void tile_rows_2_##height(const tile_arguments *t) { tile(height, 2, 0, 0, t); }           \
    static void tile_rows_2m_##height(const tile_arguments *t) { tile(height, 2, 1, 0, t); }          \
    static void tile_rows_1m_##height(const tile_arguments *t) { tile(height, 1, 1, 0, t); }          \
    static void tile_columns_2_##height(const tile_arguments *t) { tile(height, 2, 0, 1, t); }        \
    static void tile_columns_2m_##height(const tile_arguments *t) { tile(height, 2, 1, 1, t); }       \
    static void tile_columns_1m_##height(const tile_arguments *t) { tile(height, 1, 1, 1, t); }
#define LOW_HEIGHTS(X) X(1) X(2) X(3) X(4) X(5) X(6)
#if VF_REGISTERS >= 32
#define HEIGHTS(X) LOW_HEIGHTS(X) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14)
#else
#define HEIGHTS(X) LOW_HEIGHTS(X)
#endif
HEIGHTS(TILE_KINDS)

#define ENTRY_ROWS_2(height) tile_rows_2_##height,
#define ENTRY_ROWS_2M(height) tile_rows_2m_##height,
#define ENTRY_ROWS_1M(height) tile_rows_1m_##height,
#define ENTRY_COLUMNS_2(height) tile_columns_2_##height,
#define ENTRY_COLUMNS_2M(height) tile_columns_2m_##height,
#define ENTRY_COLUMNS_1M(height) tile_columns_1m_##height,
/* tiles[by_columns][form][height - 1] */
static const tile_function tiles[2][3][TILE_ROWS] = {
    {{HEIGHTS(ENTRY_ROWS_2)}, {HEIGHTS(ENTRY_ROWS_2M)}, {HEIGHTS(ENTRY_ROWS_1M)}},
    {{HEIGHTS(ENTRY_COLUMNS_2)}, {HEIGHTS(ENTRY_COLUMNS_2M)}, {HEIGHTS(ENTRY_COLUMNS_1M)}},
};

/* What tile number nth of a panel asks for ahead: other threads, perhaps on another part of the chip, have written much
 * of what a product reads, and a processor does not see far enough by itself. By rows, every tile asks for its share of
 * the next panel of b. By columns, tiles of the first panel ask for the next tile's columns of a, and the last two of
 * each panel for the next panel of b. What the tile will write is asked for as well. */
FNN_INLINE void ask_ahead(const int by_columns, tile_arguments *t, ptrdiff_t nth, ptrdiff_t n_tiles, ptrdiff_t height,
                          int is_first_panel, const real *next_panel) {
    for (ptrdiff_t i = 0; i < height; i++) {
        fnn_prefetch_to_write(t->c + i * t->ldc);
        fnn_prefetch_to_write(t->c + i * t->ldc + VF_LANES);
    }
    t->ahead = (const char *)t->b;
    t->ahead_step = 0;
    if (by_columns && is_first_panel && nth + 2 < n_tiles) {
        t->ahead = (const char *)(t->a + height);
        t->ahead_step = t->lda * (ptrdiff_t)sizeof(real);
    } else if (by_columns && next_panel && nth + 2 >= n_tiles) {
        t->ahead = (const char *)(next_panel + (nth + 1 < n_tiles ? 0 : VF_LANES));
        t->ahead_step = t->ldb * (ptrdiff_t)sizeof(real);
    } else if (!by_columns && next_panel && t->ldb != PANEL) { /* rows of b where the caller has them */
        t->ahead = (const char *)(next_panel + (nth % 2 ? VF_LANES : 0));
        t->ahead_step = t->ldb * (ptrdiff_t)sizeof(real);
    } else if (!by_columns && next_panel) {
        t->ahead_step = (PANEL * (ptrdiff_t)sizeof(real) + n_tiles - 1) / n_tiles;
        t->ahead = (const char *)next_panel + nth * t->k * t->ahead_step;
    }
}

/* All tiles of one product: panels outside, so that a panel of b stays near while the rows of a pass by. */
FNN_INLINE void product(const int by_columns, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const real *a, ptrdiff_t lda,
                        const real *b, ptrdiff_t ldb, ptrdiff_t panel_stride, const real *start, int accumulate,
                        real *c, ptrdiff_t ldc, const FNN_TYPED(fnn_epilogue) * epilogue) {
    if (m <= 0) return;
    const ptrdiff_t n_tiles = (m + TILE_ROWS - 1) / TILE_ROWS;
    const ptrdiff_t low = m / n_tiles, n_high = m % n_tiles; /* n_high tiles have low + 1 rows */
    tile_arguments t = {.k = k, .lda = lda, .ldb = ldb, .ldc = ldc, .accumulate = accumulate};
    for (ptrdiff_t j = 0; j < n; j += PANEL) {
        const ptrdiff_t left = n - j, columns = left < PANEL ? left : PANEL;
        const int form = left >= PANEL ? 0 : left > VF_LANES ? 1 : 2;
        t.b = b + j / PANEL * panel_stride;
        t.start = start ? start + j : NULL;
        t.columns = form == 2 ? columns : columns - VF_LANES;
        for (ptrdiff_t i = 0, nth = 0; i < m; nth++) {
            const ptrdiff_t height = low + (nth < n_high);
            t.a = by_columns ? a + i : a + i * lda;
            t.c = c + i * ldc + j;
            if (k >= SHORTEST_AHEAD)
                ask_ahead(by_columns, &t, nth, n_tiles, height, j == 0, left > PANEL ? t.b + panel_stride : NULL);
            tiles[by_columns][form][height - 1](&t);
            if (epilogue && epilogue->f) {
                const FNN_TYPED(fnn_epilogue) *e = epilogue;
                const real *in = e->in ? e->in + i * e->ldin + j : t.c;
                real *out = e->out ? e->out + i * e->ldout + j : t.c;
                e->f(height, columns, in, e->in ? e->ldin : ldc, out, e->out ? e->ldout : ldc, e->parameter);
            }
            i += height;
        }
    }
}

static void matmul(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const real *a, ptrdiff_t lda, const real *b, ptrdiff_t ldb,
                   ptrdiff_t panel_stride, const real *start, real *c, ptrdiff_t ldc,
                   const FNN_TYPED(fnn_epilogue) * epilogue) {
    product(0, m, n, k, a, lda, b, ldb, panel_stride, start, 0, c, ldc, epilogue);
}

static void matmul_transposed(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const real *a, ptrdiff_t lda, const real *b,
                              ptrdiff_t ldb, int accumulate, real *c, ptrdiff_t ldc) {
    product(1, m, n, k, a, lda, b, ldb, PANEL, NULL, accumulate, c, ldc, NULL);
}

/* ---- thin products: at most FNN_THIN units ------------------------------------------------------------------- */

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

/* c (lanes of m, units) = [c +] sum over the k rows of a[l] . b[l, j]: the chains of matmul_transposed, but with the
 * lanes over m. */
FNN_INLINE void thin_columns(const int units, ptrdiff_t columns, ptrdiff_t k, const real *a, ptrdiff_t lda,
                             const real *b, ptrdiff_t ldb, int accumulate, real *c, ptrdiff_t ldc) {
    const vm mask = vm_first(columns);
    vf sum[FNN_THIN];
    real lane[VF_LANES];
#pragma GCC unroll 8
    for (int j = 0; j < units; j++) {
        sum[j] = vf_zero();
        if (accumulate) {
            for (ptrdiff_t i = 0; i < VF_LANES; i++) lane[i] = i < columns ? c[i * ldc + j] : 0;
            sum[j] = vf_load(lane);
        }
    }
    for (ptrdiff_t l = 0; l < k; l++) {
        const vf x = columns == VF_LANES ? vf_load(a + l * lda) : vf_load_first(a + l * lda, mask);
#pragma GCC unroll 8
        for (int j = 0; j < units; j++) sum[j] = vf_fma(x, vf_set1(b[l * ldb + j]), sum[j]);
    }
#pragma GCC unroll 8
    for (int j = 0; j < units; j++) {
        vf_store(lane, sum[j]);
        for (ptrdiff_t i = 0; i < columns; i++) c[i * ldc + j] = lane[i];
    }
}

static void matmul_transposed_thin(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const real *a, ptrdiff_t lda, const real *b,
                                   ptrdiff_t ldb, int accumulate, real *c, ptrdiff_t ldc) {
    for (ptrdiff_t i = 0; i < m; i += VF_LANES) {
        const ptrdiff_t columns = m - i < VF_LANES ? m - i : VF_LANES;
#define THIN_CASE(units) \
    case units: thin_columns(units, columns, k, a + i, lda, b, ldb, accumulate, c + i * ldc, ldc); break;
        switch (n) {
            THIN_CASE(1) THIN_CASE(2) THIN_CASE(3) THIN_CASE(4)
            THIN_CASE(5) THIN_CASE(6) THIN_CASE(7) THIN_CASE(8)
            default: break;
        }
#undef THIN_CASE
    }
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
