/* test_matmul.c: the matrix products in the three uses of training, their thin and one-row forms, and the panels they
 * read; every instruction set of this processor, sizes 0..70, guard pages on both sides.
 *
 * The oracle is the definition of the result in scalar code, one chain of fused multiply-adds per element: bits must
 * be equal. The definition itself is held against k.u.(|A| |B|) with a sum of twice the precision. Sizes form a Latin
 * square: k follows from m and n so that every pair of sizes of two dimensions occurs exactly once.
 * Compiled for float; test_matmul_f64.c compiles it for double.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#ifndef FNN_REAL
#define FNN_REAL 32
#endif

#include <float.h>
#include <math.h>
#include <string.h>

#include "check.h"
#include "dispatch.h"
#include "fastnn.h"
#include "guarded.h"
#include "kernels/activations.h"

enum { SIZES = 71, LARGEST = 320, MOST = LARGEST * LARGEST };
/* Of the Latin square, every so many: not a divisor of 71, so that all sizes are met. */
enum { STEP = SANITIZED ? 23 : 1 };

#if FNN_REAL == 32
typedef double exact;
static real fused(real a, real b, real c) { return fmaf(a, b, c); }
static const double unit_roundoff = 0x1p-24;
#else
typedef long double exact;
static real fused(real a, real b, real c) { return fma(a, b, c); }
static const double unit_roundoff = 0x1p-53;
#endif

typedef FNN_TYPED(fnn_kernels) kernel_table;

/* ---- operands -------------------------------------------------------------------------------------------------- */

/* A matrix in guarded memory: rows behind each other, ld apart, and nothing behind the last element. The gaps between
 * rows are NaN, so that they spoil what reads them, and are compared with the rest, so that writing them shows. */
typedef struct {
    guarded memory;
    real *at;
    ptrdiff_t rows, columns, ld;
} matrix;

static matrix matrix_new(void) { return (matrix){.memory = guarded_new(MOST * sizeof(real))}; }

static size_t extent(const matrix *a) {
    return a->rows && a->columns ? (size_t)((a->rows - 1) * a->ld + a->columns) * sizeof(real) : 0;
}

static void lay(matrix *a, ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t gap, int at_end) {
    a->rows = rows;
    a->columns = columns;
    a->ld = columns + gap;
    a->at = at_end ? guarded_last(a->memory, extent(a)) : guarded_first(a->memory);
    memset(a->at, 0xff, extent(a));
}

/* a = b, or b transposed. */
static void assign(matrix *a, const real *b, ptrdiff_t ldb, int transposed) {
    for (ptrdiff_t i = 0; i < a->rows; i++)
        for (ptrdiff_t j = 0; j < a->columns; j++) a->at[i * a->ld + j] = transposed ? b[j * ldb + i] : b[i * ldb + j];
}

/* Whether a matrix, gaps and all, has the bits of wanted (rows, columns), dense. */
static int holds(const matrix *a, const real *wanted) {
    for (ptrdiff_t i = 0; extent(a) && i < a->rows; i++) {
        const real *row = a->at + i * a->ld;
        if (memcmp(row, wanted + i * a->columns, (size_t)a->columns * sizeof(real)) != 0) return 0;
        if (i == a->rows - 1) break;
        for (ptrdiff_t j = a->columns; j < a->ld; j++)
            if (!isnan(row[j])) return 0;
    }
    return 1;
}

/* Numbers in (-1, 1), a third of them rounded to few bits, so that sums cancel. */
static real pool[MOST];

static void fill_pool(void) {
    uint32_t words[1024];
    for (ptrdiff_t i = 0; i < MOST; i++) {
        if (i % 1024 == 0) fnn_random_words(2, FNN_STREAM_INITIAL, (uint32_t)(i / 1024), 1024, words);
        const double x = (double)words[i % 1024] * 0x1p-31 - 1;
        pool[i] = (real)(i % 3 ? x : floor(x * 16) / 16);
    }
}

/* ---- the definition -------------------------------------------------------------------------------------------- */

static struct {
    ptrdiff_t m, n, k;
    const real *a, *b, *start; /* a (m, k), b (k, n), dense; start (n) or NULL */
    real chain[MOST];          /* start + a.b, one chain over k */
    real thin[MOST];           /* 16 chains and a tree, then start */
    real added[MOST];          /* the chain begun at c0 */
    const real *c0;            /* (m, n) */
    real rectified[MOST];      /* max(chain, 0) */
    real masked[MOST];         /* the chain without start, where c0 > 0, else 0 */
} wanted;

static real chain(const real *from, const real *by, real sum) {
    for (ptrdiff_t l = 0; l < wanted.k; l++) sum = fused(from[l], by[l * wanted.n], sum);
    return sum;
}

static real sixteen_chains(const real *from, const real *by) {
    real sum[16] = {0};
    for (ptrdiff_t l = 0; l < wanted.k; l++) sum[l % 16] = fused(from[l], by[l * wanted.n], sum[l % 16]);
    for (int half = 8; half > 0; half /= 2)
        for (int i = 0; i < half; i++) sum[i] += sum[i + half];
    return sum[0];
}

static void define(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k) {
    wanted.m = m, wanted.n = n, wanted.k = k;
    wanted.a = pool + (m * 37 + n) % 1000;
    wanted.b = pool + MOST / 4 + (n * 41 + k) % 1000;
    wanted.c0 = pool + MOST / 2 + (k * 43 + m) % 1000;
    wanted.start = (m + n) % 3 ? pool + 3 * (MOST / 4) : NULL;
    for (ptrdiff_t i = 0; i < m; i++) {
        for (ptrdiff_t j = 0; j < n; j++) {
            const ptrdiff_t at = i * n + j;
            const real *from = wanted.a + i * k, *by = wanted.b + j;
            const real first = wanted.start ? wanted.start[j] : 0, bare = chain(from, by, 0);
            wanted.chain[at] = wanted.start ? chain(from, by, first) : bare;
            wanted.added[at] = chain(from, by, wanted.c0[at]);
            wanted.rectified[at] = 0 > wanted.chain[at] ? 0 : wanted.chain[at];
            wanted.masked[at] = bare * (real)(wanted.c0[at] > 0);
            if (n <= FNN_THIN) wanted.thin[at] = sixteen_chains(from, by) + first;
        }
    }
}

/* Each element of the definition within k.u.(|start| + |A| |B|) of the exact sum. */
static void definition_is_a_product(void) {
    double worst = 0;
    for (ptrdiff_t i = 0; i < wanted.m; i++) {
        for (ptrdiff_t j = 0; j < wanted.n; j++) {
            const exact start = wanted.start ? (exact)wanted.start[j] : 0;
            exact sum = start, magnitude = start < 0 ? -start : start;
            for (ptrdiff_t l = 0; l < wanted.k; l++) {
                const exact term = (exact)wanted.a[i * wanted.k + l] * (exact)wanted.b[l * wanted.n + j];
                sum += term;
                magnitude += term < 0 ? -term : term;
            }
            const double bound = (double)wanted.k * unit_roundoff * (double)magnitude;
            const ptrdiff_t at = i * wanted.n + j;
            double error = (double)(sum - (exact)wanted.chain[at]);
            if (fabs(error) > bound) worst = fmax(worst, fabs(error) / (bound + DBL_MIN));
            /* The last addition of a thin product, of start, is one rounding more. */
            error = wanted.n <= FNN_THIN ? (double)(sum - (exact)wanted.thin[at]) : 0;
            if (fabs(error) > bound + unit_roundoff * (double)magnitude) worst = fmax(worst, fabs(error));
        }
    }
    CHECK_CLOSE(worst, 0, 0);
}

/* ---- the kernels ----------------------------------------------------------------------------------------------- */

static matrix a, a_transposed, b, b_raw, b_transposed, panels, panels_transposed, thin, start, c, derivative, row;

/* Says which case of which set failed, the first few times. */
static void agree(int good, const kernel_table *kernels, const char *what) {
    if (!CHECK(good))
        printf("    %s, %s float%d: m %td, n %td, k %td\n", what, kernels->isa, FNN_REAL, wanted.m, wanted.n, wanted.k);
}

/* All operands flush with the same guards. */
static void lay_operands(const kernel_table *kernels, int at_end) {
    const ptrdiff_t m = wanted.m, n = wanted.n, k = wanted.k, gap = (m + 2 * n) % 3 * 5;
    const ptrdiff_t panel = kernels->panel_columns, n_panels = (n + panel - 1) / panel;
    lay(&a, m, k, gap, at_end);
    assign(&a, wanted.a, k, 0);
    lay(&a_transposed, k, m, gap, at_end);
    assign(&a_transposed, wanted.a, k, 1);
    lay(&b, k, n, 0, at_end);
    assign(&b, wanted.b, n, 0);
    lay(&b_raw, k, n, gap, at_end);
    assign(&b_raw, wanted.b, n, 0);
    lay(&b_transposed, n, k, 0, at_end);
    assign(&b_transposed, wanted.b, n, 1);
    lay(&panels, 1, n_panels * panel * k, 0, at_end);
    lay(&panels_transposed, 1, n_panels * panel * k, 0, at_end);
    lay(&start, 1, wanted.start ? n : 0, 0, at_end);
    if (wanted.start) assign(&start, wanted.start, n, 0);
    lay(&derivative, m, n, gap, at_end);
    assign(&derivative, wanted.c0, n, 0);
    const ptrdiff_t padded = (k + FNN_CHAINS - 1) / FNN_CHAINS * FNN_CHAINS;
    lay(&thin, n <= FNN_THIN ? n : 0, padded, 0, at_end);
    for (ptrdiff_t j = 0; j < thin.rows; j++)
        for (ptrdiff_t l = 0; l < padded; l++) thin.at[j * padded + l] = l < k ? wanted.b[l * n + j] : 0;
}

static void panels_are_columns(const kernel_table *kernels) {
    const ptrdiff_t n = wanted.n, k = wanted.k, panel = kernels->panel_columns;
    kernels->pack(0, k, n, b.at, k * panel, panels.at);
    kernels->pack_transposed(0, n, n, k, b_transposed.at, k * panel, panels_transposed.at);
    int good = 1;
    for (ptrdiff_t at = 0; at < panels.columns; at++) {
        const ptrdiff_t j = at / (k * panel) * panel + at % panel, l = at / panel % k;
        good &= panels.at[at] == (j < n ? wanted.b[l * n + j] : 0);
    }
    agree(good, kernels, "pack");
    agree(memcmp(panels.at, panels_transposed.at, extent(&panels)) == 0, kernels, "pack_transposed");
}

/* What a product asks for meanwhile changes nothing: no piece, one, or more than there are tiles to ask for them. Hints
 * go to addresses that need not be valid, but the order must be, just as far as it is named. Short pieces are asked for
 * in so small steps that tiles stay unrolled. */
static fnn_soon pieces(ptrdiff_t number) {
    static const int64_t order[60] = {3, 0, (int64_t)1 << 40, -7};
    const ptrdiff_t n = number % 4 == 0 ? 0 : number % 4 == 1 ? 1 : number % 61;
    const ptrdiff_t bytes = 1 + (number % 2 ? number * 53 : number % 40);
    return (fnn_soon){(const char *)order, 1 + number * 97, order + 60 - n, n, bytes};
}

static void products_agree(const kernel_table *kernels, int at_end) {
    const ptrdiff_t m = wanted.m, n = wanted.n, k = wanted.k, gap = (2 * m + n) % 3 * 3;
    const ptrdiff_t panel = kernels->panel_columns;
    const real *from = wanted.start ? start.at : NULL;
    const fnn_soon soon = pieces(m), *asked = soon.n ? &soon : NULL;

    lay(&c, m, n, gap, at_end);
    kernels->matmul(m, n, k, a.at, a.ld, panels.at, panel, k * panel, from, c.at, c.ld, NULL, NULL);
    agree(holds(&c, wanted.chain), kernels, "matmul, panels");

    const FNN_TYPED(fnn_epilogue) rectify = {.f = kernels->activation_forward[FNN_ACTIVATION_relu]};
    lay(&c, m, n, gap, at_end);
    kernels->matmul(m, n, k, a.at, a.ld, b_raw.at, b_raw.ld, panel, from, c.at, c.ld, &rectify, asked);
    agree(holds(&c, wanted.rectified), kernels, "matmul, rows, relu");

    const FNN_TYPED(fnn_epilogue) mask = {
        .f = kernels->activation_backward[FNN_ACTIVATION_relu], .in = derivative.at, .ldin = derivative.ld};
    lay(&c, m, n, gap, at_end);
    kernels->matmul(m, n, k, a.at, a.ld, panels_transposed.at, panel, k * panel, NULL, c.at, c.ld, &mask, NULL);
    agree(holds(&c, wanted.masked), kernels, "matmul, panels of the transpose, derivative of relu");

    const FNN_TYPED(fnn_epilogue) beside = {
        .f = kernels->activation_forward[FNN_ACTIVATION_relu], .out = derivative.at, .ldout = derivative.ld};
    lay(&c, m, n, gap, at_end);
    kernels->matmul(m, n, k, a.at, a.ld, panels.at, panel, k * panel, from, c.at, c.ld, &beside, NULL);
    agree(holds(&c, wanted.chain) && holds(&derivative, wanted.rectified), kernels, "matmul, relu in another matrix");

    if (m > 0) {
        lay(&row, 1, n, 0, at_end);
        kernels->matmul_row(n, k, a.at, panels.at, k * panel, from, row.at);
        agree(holds(&row, wanted.chain), kernels, "matmul_row");
        lay(&row, 1, n, 0, at_end);
        kernels->matmul_row_plain(n, k, a.at, b_raw.at, b_raw.ld, from, row.at);
        agree(holds(&row, wanted.chain), kernels, "matmul_row_plain");
    }
    if (n <= FNN_THIN) {
        lay(&c, m, n, gap, at_end);
        kernels->matmul_thin(m, n, k, a.at, a.ld, thin.at, thin.ld, from, c.at, c.ld);
        agree(holds(&c, wanted.thin), kernels, "matmul_thin");
    }
}

enum { WHOLE, ZEROS, THIN, WAYS };
static const char *const way_names[WAYS] = {"matmul_transposed", "matmul_transposed_zeros", "matmul_transposed_thin"};

static void weight_product(const kernel_table *kernels, int way, int accumulate, const fnn_soon *asked) {
    const ptrdiff_t m = wanted.m, n = wanted.n, k = wanted.k, lda = a_transposed.ld, ldb = b_raw.ld;
    if (way == THIN)
        kernels->matmul_transposed_thin(m, n, k, a_transposed.at, lda, b_raw.at, ldb, accumulate, c.at, c.ld);
    else
        (way == ZEROS ? kernels->matmul_transposed_zeros : kernels->matmul_transposed)(
            m, n, k, a_transposed.at, lda, b_raw.at, ldb, accumulate, c.at, c.ld, asked);
}

static void weight_products_agree(const kernel_table *kernels, int at_end) {
    const ptrdiff_t m = wanted.m, n = wanted.n, k = wanted.k, gap = (m + n) % 3 * 3;
    for (int way = WHOLE; way < (n <= FNN_THIN ? WAYS : THIN); way++) {
        const fnn_soon soon = pieces(m + k), *asked = soon.n ? &soon : NULL;
        lay(&c, m, n, gap, at_end);
        if (!wanted.start) {
            weight_product(kernels, way, 0, asked);
            agree(holds(&c, wanted.chain), kernels, way_names[way]);
        }
        assign(&c, wanted.c0, n, 0);
        weight_product(kernels, way, 1, asked);
        agree(holds(&c, wanted.added), kernels, way_names[way]);
    }
}

/* a where so many in eight of the places are zero, four neighbouring rows at a time, in some steps all of them, and now
 * and then -0 or so small that products with it underflow; the other operands as they were. */
static void define_with_zeros(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, ptrdiff_t in_eight) {
    static real some[MOST];
    const real tiny = FNN_REAL == 32 ? (real)0x1p-149 : (real)0x1p-1074;
    define(m, n, k);
    for (ptrdiff_t i = 0; i < m; i++) {
        for (ptrdiff_t l = 0; l < k; l++) {
            const ptrdiff_t place = (i / 4 * 29 + l * 13) % 31;
            const int zero = place % 8 < in_eight || l % 17 == 5;
            const real x = place % 5 == 1 ? -tiny : place % 5 == 2 ? tiny : wanted.a[i * k + l];
            some[i * k + l] = zero ? (i + l) % 3 ? (real)0 : -(real)0 : x;
        }
    }
    wanted.a = some;
    wanted.start = NULL;
    /* Where all products underflow, -0 can be left: the definition of a gradient has none. */
    for (ptrdiff_t i = 0; i < m; i++) {
        for (ptrdiff_t j = 0; j < n; j++) {
            wanted.chain[i * n + j] = chain(some + i * k, wanted.b + j, 0) + 0;
            wanted.added[i * n + j] = chain(some + i * k, wanted.b + j, wanted.c0[i * n + j]) + 0;
        }
    }
}

/* Sizes at which lists and tiles of threes begin and end, from none to all zeros. */
static void zeros_are_left_out(void) {
    static const ptrdiff_t ms[] = {1, 2, 3, 4, 5, 47, 48, 49, 50, 95, 97, 150};
    static const ptrdiff_t ns[] = {1, 7, 8, 9, 16, 31, 33, 63, 64, 65, 100, 129};
    static const ptrdiff_t ks[] = {0, 1, 49, 50, 51, 99, 100, 101, 201};
    enum { MS = sizeof ms / sizeof *ms, NS = sizeof ns / sizeof *ns, KS = sizeof ks / sizeof *ks };
    for (ptrdiff_t nth = 0; nth < MS * NS * KS; nth += SANITIZED ? 11 : 1) {
        const ptrdiff_t m = ms[nth % MS], n = ns[nth / MS % NS], k = ks[nth / MS / NS];
        define_with_zeros(m, n, k, nth * 5 % 9);
        for (int isa = 0; fnn_isa_name(isa); isa++) {
            if (fnn_isa_select(fnn_isa_name(isa))) continue;
            const kernel_table *kernels = FNN_TYPED(fnn_kernels_in_use)();
            lay_operands(kernels, nth % 2 == 0);
            weight_products_agree(kernels, nth % 2 == 0);
        }
    }
}

static void every_set(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k) {
    define(m, n, k);
    definition_is_a_product();
    for (int isa = 0; fnn_isa_name(isa); isa++) {
        if (fnn_isa_select(fnn_isa_name(isa))) continue;
        const kernel_table *kernels = FNN_TYPED(fnn_kernels_in_use)();
        for (int at_end = 0; at_end < 2; at_end++) {
            /* The portable kernels move one element at a time, and slowly: one side for each size is enough. */
            if (kernels->lanes == 1 && at_end != (m + n) % 2) continue;
            lay_operands(kernels, at_end);
            panels_are_columns(kernels);
            products_agree(kernels, at_end);
            weight_products_agree(kernels, at_end);
        }
    }
}

/* ---- the same through fastnn.h --------------------------------------------------------------------------------- */

/* Dense operands, and a workspace of just the bytes asked for. */
static void by_the_interface(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k) {
    define(m, n, k);
    for (int isa = 0; fnn_isa_name(isa); isa++) {
        if (fnn_isa_select(fnn_isa_name(isa))) continue;
        const kernel_table *kernels = FNN_TYPED(fnn_kernels_in_use)();
        lay(&a, m, k, 0, 1);
        assign(&a, wanted.a, k, 0);
        lay(&a_transposed, k, m, 0, 1);
        assign(&a_transposed, wanted.a, k, 1);
        lay(&b, k, n, 0, 1);
        assign(&b, wanted.b, n, 0);
        lay(&b_transposed, n, k, 0, 1);
        assign(&b_transposed, wanted.b, n, 1);
        for (int use = FNN_MATMUL_FORWARD; use <= FNN_MATMUL_WEIGHT; use++) {
            const int mark = guarded_mark();
            void *workspace = guarded_array(fnn_matmul_workspace(FNN_REAL_TYPE, use, m, n, k));
            const real *left = use == FNN_MATMUL_WEIGHT ? a_transposed.at : a.at;
            const real *right = use == FNN_MATMUL_INPUT ? b_transposed.at : b.at;
            const real *from = use == FNN_MATMUL_FORWARD ? wanted.start : NULL;
            lay(&c, m, n, 0, 1);
            const double seconds = fnn_matmul(FNN_REAL_TYPE, use, m, n, k, left, right, from, c.at, workspace, 2);
            CHECK(seconds >= 0);
            if (use == FNN_MATMUL_FORWARD)
                agree(holds(&c, n <= FNN_THIN ? wanted.thin : wanted.chain), kernels, "fnn_matmul forward");
            else if (!wanted.start)
                agree(holds(&c, wanted.chain), kernels, "fnn_matmul");
            guarded_release(mark);
        }
    }
}

/* What the squares above meet in part only, or not under sanitizers. */
static void every_form(void) {
    /* Registers of a few rows and four columns: each number of them, each width, and what is left of k. 16: the most
     * lanes there are, so that on each set the same columns are behind a whole vector. */
    for (ptrdiff_t m = 12; m <= 20; m++)
        for (ptrdiff_t tail = 1; tail <= 4; tail++)
            for (ptrdiff_t k = 5; k <= 8; k++) every_set(m, 16 + tail, k);
    /* Unrolled tiles: each height, from the shortest of long chains on, and what is left of k; of the panels, some ask
     * for the next and some do not, and those of them that are asked for short pieces have several parts. */
    for (ptrdiff_t m = 4; m <= 6; m++)
        for (ptrdiff_t k = 64; k <= 70; k++) every_set(m, 32, k);
}

void FNN_TYPED(test_matmul)(void);
void FNN_TYPED(test_matmul)(void) {
    matrix *all[] = {&a,    &a_transposed, &b, &b_raw,      &b_transposed, &panels, &panels_transposed,
                     &thin, &start,        &c, &derivative, &row};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) *all[i] = matrix_new();
    fill_pool();
    for (ptrdiff_t mn = 0; mn < SIZES * SIZES; mn += STEP) {
        const ptrdiff_t m = mn / SIZES, n = mn % SIZES;
        every_set(m, n, (7 * m + 29 * n) % SIZES);
    }
    /* More columns than a row is computed in at a time, more rows than are in a tile. */
    static const ptrdiff_t larger[][3] = {{1, 127, 33}, {1, 128, 17},  {2, 129, 20},
                                          {3, 300, 40}, {29, 257, 90}, {150, 130, 20},
                                          /* Few columns behind the last whole vector, and long chains. */
                                          {89, 33, 149},  {75, 34, 101}, {71, 35, 139}, {83, 36, 90},
                                          /* Chains that gradients are made of in parts. */
                                          {14, 35, 200}, {17, 49, 201}, {23, 33, 401}, {9, 20, 650}};
    for (size_t i = 0; i < sizeof larger / sizeof *larger; i++) every_set(larger[i][0], larger[i][1], larger[i][2]);
    every_form();
    zeros_are_left_out();
    for (ptrdiff_t mn = 0; mn < SIZES * SIZES; mn += 113) by_the_interface(mn / SIZES, mn % SIZES, 5 * mn % SIZES);
    by_the_interface(70, 256, 64); /* rows of a multiple of 256 bytes are padded */
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) guarded_delete(all[i]->memory);
    fnn_isa_select(NULL);
}
