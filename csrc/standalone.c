/* standalone.c: kernels by themselves, for tests, benchmarks and whoever wants them.
 *
 * Compiled once per real type.
 */
/* SPDX-License-Identifier: BSD-3-Clause */
#define _POSIX_C_SOURCE 200809L /* clock_gettime */
#include "clock.h"
#include "float_state.h"
#include "plan.h"

#define ALIGNMENT 64

/* Elements of a piece of workspace, so that the next begins aligned too; 0 elements: beyond any memory. */
static size_t piece(ptrdiff_t rows, ptrdiff_t stride) {
    const size_t line = ALIGNMENT / sizeof(real);
    return ((size_t)rows * (size_t)stride + line - 1) / line * line;
}

/* Elements of B's working copy. */
static size_t packed_size(int use, ptrdiff_t n, ptrdiff_t k) {
    const ptrdiff_t panel = FNN_TYPED(fnn_kernels_in_use)()->panel_columns;
    if (use == FNN_MATMUL_WEIGHT) return piece(k, FNN_TYPED(padded_stride)(n));
    if (use == FNN_MATMUL_FORWARD && n <= FNN_THIN) return piece(n, fnn_padded_chains(k));
    return piece(k, (n + panel - 1) / panel * panel);
}

size_t FNN_TYPED(matmul_workspace)(int use, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k) {
    const ptrdiff_t a_rows = use == FNN_MATMUL_WEIGHT ? k : m, a_columns = use == FNN_MATMUL_WEIGHT ? m : k;
    return sizeof(real) * (piece(a_rows, FNN_TYPED(padded_stride)(a_columns)) + packed_size(use, n, k) +
                           piece(m, FNN_TYPED(padded_stride)(n)) + 2 * ALIGNMENT);
}

static void copy_rows(ptrdiff_t rows, ptrdiff_t n, const real *from, ptrdiff_t ldfrom, real *to, ptrdiff_t ldto) {
    for (ptrdiff_t i = 0; i < rows; i++)
        for (ptrdiff_t j = 0; j < n; j++) to[i * ldto + j] = from[i * ldfrom + j];
}

static double run_matmul(int use, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const real *a, const real *b,
                         const real *start, real *c, real *workspace, ptrdiff_t repeats) {
    const FNN_TYPED(fnn_kernels) *kernels = FNN_TYPED(fnn_kernels_in_use)();
    const ptrdiff_t panel = kernels->panel_columns;
    const ptrdiff_t a_rows = use == FNN_MATMUL_WEIGHT ? k : m, a_columns = use == FNN_MATMUL_WEIGHT ? m : k;
    const ptrdiff_t lda = FNN_TYPED(padded_stride)(a_columns), ldc = FNN_TYPED(padded_stride)(n);
    real *a_copy = workspace, *b_copy = a_copy + piece(a_rows, lda), *c_copy = b_copy + packed_size(use, n, k);
    const int thin = use != FNN_MATMUL_INPUT && n <= FNN_THIN;
    const ptrdiff_t ldb = use == FNN_MATMUL_WEIGHT ? ldc : fnn_padded_chains(k);
    copy_rows(a_rows, a_columns, a, a_columns, a_copy, lda);
    if (use == FNN_MATMUL_WEIGHT) {
        copy_rows(k, n, b, n, b_copy, ldb);
    } else if (thin) {
        for (ptrdiff_t j = 0; j < n; j++)
            for (ptrdiff_t l = 0; l < ldb; l++) b_copy[j * ldb + l] = l < k ? b[l * n + j] : 0;
    } else if (use == FNN_MATMUL_FORWARD) {
        kernels->pack(0, k, n, b, k * panel, b_copy);
    } else {
        kernels->pack_transposed(0, n, n, k, b, k * panel, b_copy);
    }
    const double begin = fnn_seconds();
    for (ptrdiff_t r = 0; r < repeats; r++) {
        if (use == FNN_MATMUL_WEIGHT && thin)
            kernels->matmul_transposed_thin(m, n, k, a_copy, lda, b_copy, ldb, 0, c_copy, ldc);
        else if (use == FNN_MATMUL_WEIGHT)
            kernels->matmul_transposed(m, n, k, a_copy, lda, b_copy, ldb, 0, c_copy, ldc, NULL);
        else if (thin)
            kernels->matmul_thin(m, n, k, a_copy, lda, b_copy, ldb, start, c_copy, ldc);
        else
            kernels->matmul(m, n, k, a_copy, lda, b_copy, panel, k * panel, start, c_copy, ldc, NULL, NULL);
    }
    const double seconds = fnn_seconds() - begin;
    copy_rows(m, n, c_copy, ldc, c, n);
    return seconds;
}

double FNN_TYPED(matmul_standalone)(int use, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const void *a, const void *b,
                                    const void *start, void *c, void *workspace, ptrdiff_t repeats) {
    const fnn_float_state state = fnn_float_enter();
    const double seconds = run_matmul(use, m, n, k, a, b, start, c, workspace, repeats);
    fnn_float_leave(state);
    return seconds;
}

void FNN_TYPED(vector_standalone)(int function, ptrdiff_t n, const void *x, void *y) {
    const fnn_float_state state = fnn_float_enter();
    FNN_TYPED(fnn_kernels_in_use)()->vector[function](n, x, y);
    fnn_float_leave(state);
}

double FNN_TYPED(fma_peak)(double seconds) {
    const FNN_TYPED(fnn_kernels) *kernels = FNN_TYPED(fnn_kernels_in_use)();
    const ptrdiff_t rounds = 20000;
    const double flops = 2.0 * FNN_FMA_LOOP_CHAINS * kernels->lanes * (double)rounds;
    volatile real sink;
    double best = 0;
    for (double end = fnn_seconds() + seconds, begin = fnn_seconds(); begin < end;) {
        sink = kernels->fma_loop(rounds);
        const double now = fnn_seconds();
        if (flops / (now - begin) > best) best = flops / (now - begin);
        begin = now;
    }
    (void)sink;
    return best / 1e9;
}
