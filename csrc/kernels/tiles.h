/* tiles.h: the register tile of the matrix products, and the loop over tiles.
 *
 * A tile is `height` rows by one or two vectors of columns; each step over k loads the vectors of b, broadcasts one
 * element of a per row, and fuses height x vectors multiply-adds into accumulators that never leave the registers.
 * Every size of the tile is a constant where the body is inlined: a variable index into the accumulators would make
 * the compiler keep them on the stack. Rows are shared out evenly over tiles (13 + 13 instead of 14 + 12), because a
 * low tile cannot hide the latency of its chains.
 */
/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FASTNN_KERNELS_TILES_H
#define FASTNN_KERNELS_TILES_H

#include "../simd/simd.h"
#include "kernels.h"

/* Pieces of memory that one tile may ask for. */
#define MOST_AHEAD 16

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
    /* Asked for early: n_ahead pieces one after the other, each over its part of the steps, an address for each step,
     * ahead_step bytes apart. */
    const char *ahead[MOST_AHEAD];
    ptrdiff_t n_ahead, ahead_step;
} tile_arguments;

/* Of memory that comes at once when one byte of it is asked for. */
#define SMALLEST_LINE 64

/* Chains shorter than this are over before anything asked for could arrive. */
#define SHORTEST_AHEAD 65

/* One step over k: sum[i] += element[i][at] . b. in_place: see vf_accumulate. */
FNN_INLINE void tile_step(const int height, const int vectors, const int masked, const int in_place,
                          const real *const *element, ptrdiff_t at, const real *b, vm mask, vf (*sum)[2]) {
    vf row[2];
#pragma GCC unroll 2
    for (int v = 0; v < vectors; v++) {
        const real *from = b + v * VF_LANES;
        row[v] = masked && v == vectors - 1 ? vf_load_first(from, mask) : vf_load(from);
    }
#pragma GCC unroll 16
    for (int i = 0; i < height; i++) {
        const vf x = vf_set1(element[i][at]);
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++)
            sum[i][v] = in_place ? vf_accumulate(x, row[v], sum[i][v]) : vf_fma(x, row[v], sum[i][v]);
    }
}

/* Where a tile reads in its next step, and what it asks for. */
typedef struct {
    const real *a, *b;
    const char *ahead;
} tile_place;

/* The next steps, at most so many, VF_UNROLLED at a time, which leaves little to do beside the multiply-adds; returns
 * how many are left. They ask for memory once each time: that must be enough. */
FNN_INLINE ptrdiff_t unrolled_steps(const int height, const int by_columns, const tile_arguments *t, ptrdiff_t left,
                                    tile_place *at, vf (*sum)[2]) {
    const ptrdiff_t lda = t->lda, ldb = t->ldb;
    const real *element[TILE_ROWS];
    if (VF_UNROLLED * t->ahead_step > SMALLEST_LINE) return left;
    if (!by_columns) {
#pragma GCC unroll 16
        for (int i = 0; i < height; i++) {
            element[i] = at->a + i * lda;
            fnn_forget(element[i]);
        }
    }
    ptrdiff_t l = 0;
    for (; left >= VF_UNROLLED; left -= VF_UNROLLED, l += VF_UNROLLED) {
#pragma GCC unroll 4
        for (int u = 0; u < VF_UNROLLED; u++) {
            if (by_columns) {
#pragma GCC unroll 16
                for (int i = 0; i < height; i++) element[i] = at->a + i;
                at->a += lda;
                fnn_forget(at->a);
            }
            tile_step(height, 2, 0, 1, element, by_columns ? 0 : l + u, at->b, vm_first(VF_LANES), sum);
            at->b += ldb;
            fnn_forget(at->b);
        }
        fnn_prefetch(at->ahead);
        at->ahead += VF_UNROLLED * t->ahead_step;
    }
    if (!by_columns) at->a += l;
    return left;
}

/* Steps first .. last - 1 over k, whose accumulators stay in registers. ahead: NULL, or what to ask for. */
FNN_INLINE void tile_steps(const int height, const int vectors, const int masked, const int by_columns,
                           const int unrolled, const int asks_ahead, const tile_arguments *t, ptrdiff_t first,
                           ptrdiff_t last, const char *ahead, vm mask, vf (*sum)[2]) {
    const ptrdiff_t lda = t->lda, ldb = t->ldb, ahead_step = t->ahead_step;
    tile_place at = {t->a + first * (by_columns ? lda : 1), t->b + first * ldb, ahead};
    ptrdiff_t left = last - first;
    if (unrolled) left = unrolled_steps(height, by_columns, t, left, &at, sum);
    for (; left > 0; left--) {
        const real *element[TILE_ROWS];
#pragma GCC unroll 16
        for (int i = 0; i < height; i++) element[i] = at.a + (by_columns ? i : i * lda);
        tile_step(height, vectors, masked, 0, element, 0, at.b, mask, sum);
        if (asks_ahead) {
            fnn_prefetch(at.ahead);
            at.ahead += ahead_step;
        }
        at.a += by_columns ? lda : 1;
        at.b += ldb;
    }
}

/* c (height, columns) = start + a.b; a is read by rows (a[i.lda + l]) or by columns (a[l.lda + i]). masked: the last
 * vector is partial. */
FNN_INLINE void tile(const int height, const int vectors, const int masked, const int by_columns, const int unrolled,
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
    const ptrdiff_t n_ahead = t->n_ahead;
    if (!VF_ASKS_AHEAD || n_ahead == 0) {
        tile_steps(height, vectors, masked, by_columns, 0, 0, t, 0, t->k, NULL, mask, sum);
    } else {
        for (ptrdiff_t p = 0, first = 0; p < n_ahead; p++) {
            const ptrdiff_t last = p + 1 < n_ahead ? t->k * (p + 1) / n_ahead : t->k;
            tile_steps(height, vectors, masked, by_columns, unrolled, 1, t, first, last, t->ahead[p], mask, sum);
            first = last;
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < height; i++) {
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) {
            real *to = c + i * ldc + v * VF_LANES;
            /* A product that underflows can leave -0, which a later product of 0 would end: with +0 for both, gradients
             * are the same where these are left out (zeros.h). */
            const vf all = by_columns ? vf_add(sum[i][v], vf_zero()) : sum[i][v];
            if (masked && v == vectors - 1)
                vf_store_first(to, all, mask);
            else
                vf_store(to, all);
        }
    }
}

typedef void (*tile_function)(const tile_arguments *);

/* One function per height, so that each is compiled with constant sizes; the six kinds are the three column forms
 * (two vectors, two with the last masked, one masked) by the two ways to read a. */
#define TILE_KINDS(height)                                                                         \
    static void tile_rows_2_##height(const tile_arguments *t) { tile(height, 2, 0, 0, 0, t); }     \
    static void tile_rows_2m_##height(const tile_arguments *t) { tile(height, 2, 1, 0, 0, t); }    \
    static void tile_rows_1m_##height(const tile_arguments *t) { tile(height, 1, 1, 0, 0, t); }    \
    static void tile_columns_2_##height(const tile_arguments *t) { tile(height, 2, 0, 1, 0, t); }  \
    static void tile_columns_2m_##height(const tile_arguments *t) { tile(height, 2, 1, 1, 0, t); } \
    static void tile_columns_1m_##height(const tile_arguments *t) { tile(height, 1, 1, 1, 0, t); }
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

#if VF_UNROLLED > 1
/* High whole tiles of long chains, as functions of their own, so that short chains do not pay for them:
 * unrolled_tiles[by_columns][height - LOWEST_UNROLLED] */
#define LOWEST_UNROLLED 4
#define UNROLLED_TILES(height)                                                                   \
    static void unrolled_rows_##height(const tile_arguments *t) { tile(height, 2, 0, 0, 1, t); } \
    static void unrolled_columns_##height(const tile_arguments *t) { tile(height, 2, 0, 1, 1, t); }
UNROLLED_TILES(4)
UNROLLED_TILES(5)
UNROLLED_TILES(6)
static const tile_function unrolled_tiles[2][TILE_ROWS - LOWEST_UNROLLED + 1] = {
    {unrolled_rows_4, unrolled_rows_5, unrolled_rows_6},
    {unrolled_columns_4, unrolled_columns_5, unrolled_columns_6},
};
#endif

static tile_function tile_for(const int by_columns, int form, ptrdiff_t height, ptrdiff_t k) {
#if VF_UNROLLED > 1
    if (form == 0 && height >= LOWEST_UNROLLED && k >= SHORTEST_AHEAD)
        return unrolled_tiles[by_columns][height - LOWEST_UNROLLED];
#else
    (void)k;
#endif
    return tiles[by_columns][form][height - 1];
}

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
    t->n_ahead = 1;
    t->ahead[0] = (const char *)t->b;
    t->ahead_step = 0;
    if (by_columns && is_first_panel && nth + 2 < n_tiles) {
        t->ahead[0] = (const char *)(t->a + height);
        t->ahead_step = t->lda * (ptrdiff_t)sizeof(real);
    } else if (by_columns && next_panel && nth + 2 >= n_tiles) {
        t->ahead[0] = (const char *)(next_panel + (nth + 1 < n_tiles ? 0 : VF_LANES));
        t->ahead_step = t->ldb * (ptrdiff_t)sizeof(real);
    } else if (!by_columns && next_panel && t->ldb != PANEL) { /* rows of b where the caller has them */
        t->ahead[0] = (const char *)(next_panel + (nth % 2 ? VF_LANES : 0));
        t->ahead_step = t->ldb * (ptrdiff_t)sizeof(real);
    } else if (!by_columns && next_panel) {
        t->ahead_step = (PANEL * (ptrdiff_t)sizeof(real) + n_tiles - 1) / n_tiles;
        t->ahead[0] = (const char *)next_panel + nth * t->k * t->ahead_step;
    }
}

/* Where piece i begins. */
FNN_INLINE const char *soon_piece(const fnn_soon *soon, ptrdiff_t i) {
    return soon->data + soon->order[i] * soon->stride;
}

/* A tile's share of what is needed soon, from piece `first` on, instead of what it would ask for; returns how many
 * pieces that are. A tile asks once in each of its k steps, so short chains leave out lines of long pieces. */
FNN_INLINE ptrdiff_t ask_soon(tile_arguments *t, const fnn_soon *soon, ptrdiff_t first, ptrdiff_t tiles_left) {
    const ptrdiff_t share = (soon->n - first + tiles_left - 1) / tiles_left;
    const ptrdiff_t n = share < MOST_AHEAD ? share : MOST_AHEAD;
    if (n == 0 || t->k == 0) return 0;
    for (ptrdiff_t i = 0; i < n; i++) t->ahead[i] = soon_piece(soon, first + i);
    t->n_ahead = n;
    t->ahead_step = (soon->bytes * n + t->k - 1) / t->k;
    return n;
}

/* The look-up of an address holds up what is asked for behind it, but several can be under way: so that each page of
 * all pieces is touched first. */
#define SMALLEST_PAGE 4096
static void touch_pages(const fnn_soon *soon) {
    for (ptrdiff_t i = 0; i < soon->n; i++) {
        const char *piece = soon_piece(soon, i);
        for (ptrdiff_t at = 0; at < soon->bytes; at += SMALLEST_PAGE) fnn_prefetch(piece + at);
        fnn_prefetch(piece + soon->bytes - 1);
    }
}

/* The epilogue on a finished block of c that begins at row i and column j. */
FNN_INLINE void apply_to(const FNN_TYPED(fnn_epilogue) * e, ptrdiff_t i, ptrdiff_t j, ptrdiff_t rows, ptrdiff_t columns,
                         real *c, ptrdiff_t ldc) {
    if (!e || !e->f) return;
    const real *in = e->in ? e->in + i * e->ldin + j : c;
    real *out = e->out ? e->out + i * e->ldout + j : c;
    e->f(rows, columns, in, e->in ? e->ldin : ldc, out, e->out ? e->ldout : ldc, e->parameter);
}

/* All tiles of one product: panels outside, so that a panel of b stays near while the rows of a pass by. */
FNN_INLINE void product(const int by_columns, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const real *a, ptrdiff_t lda,
                        const real *b, ptrdiff_t ldb, ptrdiff_t panel_stride, const real *start, int accumulate,
                        real *c, ptrdiff_t ldc, const FNN_TYPED(fnn_epilogue) * epilogue, const fnn_soon *soon) {
    if (m <= 0) return;
    const ptrdiff_t n_tiles = (m + TILE_ROWS - 1) / TILE_ROWS;
    const ptrdiff_t low = m / n_tiles, n_high = m % n_tiles; /* n_high tiles have low + 1 rows */
    tile_arguments t = {.k = k, .lda = lda, .ldb = ldb, .ldc = ldc, .accumulate = accumulate};
    ptrdiff_t asked = 0, tiles_left = n_tiles * ((n + PANEL - 1) / PANEL); /* of soon */
    if (VF_ASKS_AHEAD && soon) touch_pages(soon);
    for (ptrdiff_t j = 0; j < n; j += PANEL) {
        const ptrdiff_t left = n - j, columns = left < PANEL ? left : PANEL;
        const int form = left >= PANEL ? 0 : left > VF_LANES ? 1 : 2;
        const tile_function low_tile = tile_for(by_columns, form, low, k);
        const tile_function high_tile = n_high ? tile_for(by_columns, form, low + 1, k) : low_tile;
        t.b = b + j / PANEL * panel_stride;
        t.start = start ? start + j : NULL;
        t.columns = form == 2 ? columns : columns - VF_LANES;
        for (ptrdiff_t i = 0, nth = 0; i < m; nth++) {
            const ptrdiff_t height = low + (nth < n_high);
            t.a = by_columns ? a + i : a + i * lda;
            t.c = c + i * ldc + j;
            t.n_ahead = 0;
            if (VF_ASKS_AHEAD && k >= SHORTEST_AHEAD)
                ask_ahead(by_columns, &t, nth, n_tiles, height, j == 0, left > PANEL ? t.b + panel_stride : NULL);
            if (VF_ASKS_AHEAD && soon) asked += ask_soon(&t, soon, asked, tiles_left--);
            (nth < n_high ? high_tile : low_tile)(&t);
            apply_to(epilogue, i, j, height, columns, t.c, ldc);
            i += height;
        }
    }
}

/* c (m, n) = [c +] a (k, m)^T . b (k, n), row-major. */
static void product_by_columns(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const real *a, ptrdiff_t lda, const real *b,
                               ptrdiff_t ldb, int accumulate, real *c, ptrdiff_t ldc, const fnn_soon *soon) {
    product(1, m, n, k, a, lda, b, ldb, PANEL, NULL, accumulate, c, ldc, NULL, soon);
}

#endif
