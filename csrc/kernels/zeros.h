/* zeros.h: the gradient of a weight whose inputs are often zero, as pixels of a background are and the columns of a
 * category: the multiply-adds of zeros, which change nothing, are left out.
 *
 * A tile has three rows, because three neighbouring inputs are zero together far more often than the six or fourteen of
 * a whole tile; it is wider instead. What is left of the chains of three rows is listed first, numbers and place, and
 * the list serves all columns. A sum that is zero is +0 with either way, see `tile`.
 */
/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FASTNN_KERNELS_ZEROS_H
#define FASTNN_KERNELS_ZEROS_H

#include "thin.h"
#include "tiles.h"

/* Vectors of a tile: with three broadcast numbers and one vector of b, as many as 16 registers hold. */
enum { THREE = 3, MOST_WIDE = 4 };

/* Lists are made for so many rows of c and steps of their chains at a time: what they take, and what a tile reads of b,
 * stay in a first cache of 32 KB. */
enum { LISTED_ROWS = 48, LISTED_STEPS = 100 * sizeof(float) / sizeof(real), LISTS = LISTED_ROWS / THREE };

/* Offsets in b are as wide as a number. */
#if FNN_REAL == 32
typedef int32_t three_offset;
#else
typedef int64_t three_offset;
#endif
#define FARTHEST_STEP ((ptrdiff_t)1 << 20) /* elements from row to row of b, so that they fit */

/* One step of the chains of three rows: their numbers, and where its row of b is. */
typedef struct {
    real x[THREE];
    three_offset offset; /* elements */
} three;

typedef struct {
    ptrdiff_t n;
    three step[LISTED_STEPS + 1]; /* the one behind the last is written, too */
} three_list;

/* The steps of a (k, .) whose numbers in columns 0 to 2 are not all zero. Without a branch, which nothing foretells. */
static void list_threes(ptrdiff_t k, const real *a, ptrdiff_t lda, ptrdiff_t ldb, three_list *list) {
    three *to = list->step;
    for (ptrdiff_t l = 0; l < k; l++, a += lda) {
        three *next = to + 1;
        const int any = vf_three(a, to->x); /* and what offset holds is lost */
        to->offset = (three_offset)(l * ldb);
        to = any ? next : to;
    }
    list->n = to - list->step;
}

/* Rows first .. 2 of c (3, columns) += the listed steps; those before are left alone. */
FNN_INLINE void three_rows(const int vectors, const int masked, const three_list *list, const real *b, int accumulate,
                           ptrdiff_t first, real *c, ptrdiff_t ldc, ptrdiff_t columns) {
    const vm mask = vm_first(columns - (vectors - 1) * VF_LANES);
    vf sum[THREE][MOST_WIDE];
#pragma GCC unroll 3
    for (int i = 0; i < THREE; i++) {
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            const real *from = c + i * ldc + v * VF_LANES;
            sum[i][v] = vf_zero();
            if (accumulate) sum[i][v] = masked && v == vectors - 1 ? vf_load_first(from, mask) : vf_load(from);
        }
    }
    const three *end = list->step + list->n;
    for (const three *step = list->step; step < end; step++) {
        const real *from = b + step->offset;
        vf x[THREE];
#pragma GCC unroll 3
        for (int i = 0; i < THREE; i++) x[i] = vf_set1(step->x[i]);
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            const real *at = from + v * VF_LANES;
            const vf row = masked && v == vectors - 1 ? vf_load_first(at, mask) : vf_load(at);
#pragma GCC unroll 3
            for (int i = 0; i < THREE; i++) sum[i][v] = vf_accumulate(x[i], row, sum[i][v]);
        }
    }
#pragma GCC unroll 3
    for (int i = 0; i < THREE; i++) {
        if (i < first) continue;
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            real *to = c + i * ldc + v * VF_LANES;
            const vf all = vf_add(sum[i][v], vf_zero());
            if (masked && v == vectors - 1)
                vf_store_first(to, all, mask);
            else
                vf_store(to, all);
        }
    }
}

typedef void (*three_function)(const three_list *list, const real *b, int accumulate, ptrdiff_t first, real *c,
                               ptrdiff_t ldc, ptrdiff_t columns);
#define THREE_ROWS(vectors, masked)                                                                                    \
    static void three_rows_##vectors##_##masked(const three_list *list, const real *b, int accumulate,                 \
                                                ptrdiff_t first, real *c, ptrdiff_t ldc, ptrdiff_t columns) {          \
        three_rows(vectors, masked, list, b, accumulate, first, c, ldc, columns);                                      \
    }
THREE_ROWS(1, 1)
THREE_ROWS(2, 1)
THREE_ROWS(3, 1)
THREE_ROWS(4, 1)
THREE_ROWS(4, 0)

static three_function three_function_for(ptrdiff_t columns) {
    static const three_function masked[MOST_WIDE] = {three_rows_1_1, three_rows_2_1, three_rows_3_1, three_rows_4_1};
    return columns == MOST_WIDE * VF_LANES ? three_rows_4_0 : masked[(columns - 1) / VF_LANES];
}

/* Where more than this share of the steps is left, tiles that leave out nothing are as fast. */
#define MOST_LEFT 0.85

/* What a product has still to ask for (soon.h), a few lines before each tile. */
typedef struct {
    const fnn_soon *soon;
    ptrdiff_t piece, at;       /* the next line */
    ptrdiff_t lines_at_a_time; /* 0: nothing */
} asking;

static asking asking_for(const fnn_soon *soon, ptrdiff_t n_tiles) {
    asking next = {.soon = soon};
    if (!VF_ASKS_AHEAD || !soon) return next;
    touch_pages(soon);
    next.lines_at_a_time = (soon->n * (soon->bytes / SMALLEST_LINE + 1) + n_tiles - 1) / n_tiles;
    return next;
}

static void ask_lines(asking *next, ptrdiff_t n_tiles) {
    for (ptrdiff_t line = n_tiles * next->lines_at_a_time; line > 0 && next->piece < next->soon->n; line--) {
        fnn_prefetch(soon_piece(next->soon, next->piece) + next->at);
        next->at += SMALLEST_LINE;
        if (next->at < next->soon->bytes) continue;
        next->at = 0;
        next->piece++;
    }
}

static ptrdiff_t tiles_of_threes(ptrdiff_t n) { return (n + MOST_WIDE * VF_LANES - 1) / (MOST_WIDE * VF_LANES); }

/* Rows of c, at most LISTED_ROWS and at least three, and at most LISTED_STEPS steps. */
static void block_of_threes(ptrdiff_t rows, ptrdiff_t n, ptrdiff_t k, const real *a, ptrdiff_t lda, const real *b,
                            ptrdiff_t ldb, int accumulate, real *c, ptrdiff_t ldc, asking *next) {
    three_list lists[LISTS];
    const ptrdiff_t vectors = (n + VF_LANES - 1) / VF_LANES, n_tiles = tiles_of_threes(n);
    const ptrdiff_t n_lists = (rows + THREE - 1) / THREE;
    ptrdiff_t left = 0;
    for (ptrdiff_t i = 0; i < n_lists; i++) {
        const ptrdiff_t row = THREE * i + THREE <= rows ? THREE * i : rows - THREE;
        list_threes(k, a + row, lda, ldb, &lists[i]);
        left += lists[i].n;
    }
    if ((double)left > MOST_LEFT * (double)(n_lists * k)) {
        ask_lines(next, n_tiles * n_lists);
        product_by_columns(rows, n, k, a, lda, b, ldb, accumulate, c, ldc, NULL);
        return;
    }
    for (ptrdiff_t tile = 0; tile < n_tiles; tile++) {
        const ptrdiff_t begin = vectors * tile / n_tiles * VF_LANES, end = vectors * (tile + 1) / n_tiles * VF_LANES;
        const ptrdiff_t columns = (end < n ? end : n) - begin;
        const three_function f = three_function_for(columns);
        for (ptrdiff_t i = 0; i < n_lists; i++) {
            const ptrdiff_t row = THREE * i, beyond = row + THREE > rows ? row + THREE - rows : 0;
            ask_lines(next, 1);
            f(&lists[i], b + begin, accumulate, beyond, c + (row - beyond) * ldc + begin, ldc, columns);
        }
    }
}

#endif
