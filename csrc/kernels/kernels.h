/* kernels.h: the table of kernels, one per instruction set and real type, and each kernel's formula.
 *
 * Kernels are leaves: one thread, no memory of their own, no knowledge of layers. They read and write exactly the
 * elements their sizes name: the end of a row is masked. Matrices are row-major with a leading dimension (ld...) in
 * elements. Every element of a product is one ordered chain of fused multiply-adds over k, so its bits depend neither
 * on tiles nor on vector width; only thin products (at most FNN_THIN units) sum 16 interleaved chains by a fixed tree.
 * To add a kernel: declare it here, write it in one of the files beside, name it in kernels.c.
 */
/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FASTNN_KERNELS_H
#define FASTNN_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "../simd/real.h"
#include "soon.h"

/* Layers of at most this many units are summed along their inputs, in 16 chains: lanes over 2 columns would idle. */
#define FNN_THIN 8
/* Rows of working copies of thin weights are padded with zeros to a multiple of this many elements. */
#define FNN_CHAINS 16
static inline ptrdiff_t fnn_padded_chains(ptrdiff_t k) { return (k + FNN_CHAINS - 1) / FNN_CHAINS * FNN_CHAINS; }

/* f(rows, n, in, ldin, out, ldout, parameter). forward: out = f(in), in may be out. backward: out = out . f'(in), where
 * in holds the function's output or its input, whichever its row in the list asks for. */
typedef void (*FNN_TYPED(fnn_map))(ptrdiff_t rows, ptrdiff_t n, const real *in, ptrdiff_t ldin, real *out,
                                   ptrdiff_t ldout, real parameter);

/* Applied to each finished tile of a product while it is in the first-level cache: f(tile of in, tile of out). NULL for
 * in or out: the product itself. f NULL: nothing. Elementwise functions only. */
typedef struct {
    FNN_TYPED(fnn_map) f;
    real parameter;
    const real *in;
    ptrdiff_t ldin;
    real *out;
    ptrdiff_t ldout;
} FNN_TYPED(fnn_epilogue);

/* A batch seen by a loss: what it compares and where its results go. */
typedef struct {
    ptrdiff_t rows, n;
    const real *z; /* (rows, n) outputs or logits */
    ptrdiff_t ldz;
    const int32_t *labels; /* [rows], or NULL and then values (rows, n) */
    const real *values;
    ptrdiff_t ldvalues;
    const double *weights; /* [rows] factor of each row's gradient; NULL: 1 */
    double *row_loss;      /* [rows] out, not weighted */
    real *dz;              /* (rows, n) out, weight . dloss/dz; NULL: not wanted */
    ptrdiff_t lddz;
    const double *parameters; /* of the loss, n_parameters of them */
    ptrdiff_t n_parameters;
} FNN_TYPED(fnn_loss_batch);
typedef void (*FNN_TYPED(fnn_loss_kernel))(const FNN_TYPED(fnn_loss_batch) * batch);

/* One optimizer step on n neighbouring parameters p: g = factor (grads.scale + l1.sign(p) + 2.l2.p), each element within
 * bound; p = rule(p - decay p, g); average += share (p - average). */
typedef struct {
    ptrdiff_t n;
    real *params;
    const real *grads;
    real *state[3];
    real *average; /* NULL: none is kept */
    real scale, l1, l2;
    real factor; /* 1 where no norm is clipped */
    real bound;  /* 0: none */
    real decay;  /* learning rate . weight decay */
    real share;  /* of the new parameters in their average */
    real constants[8]; /* prepared once per step by the optimizer's row: learning rate, betas, bias corrections */
} FNN_TYPED(fnn_update_batch);
/* Returns nonzero when a new parameter is not finite. */
typedef int (*FNN_TYPED(fnn_update_kernel))(const FNN_TYPED(fnn_update_batch) * batch);

/* Where the random numbers of some rows of a layer are: functions of seed, draw (the number of the batch), layer and
 * place in the batch. */
typedef struct {
    uint64_t seed, draw;
    int stream;           /* fnn_stream */
    uint64_t first_block; /* of the layer */
    ptrdiff_t row;        /* of the batch */
} fnn_place;

typedef struct {
    const char *isa;
    int lanes;         /* elements of a vector register */
    int panel_columns; /* columns of a packed panel, two registers */
    int tile_rows;     /* rows of the register tile */

    /* c (m, n) = start (n) + a (m, k) . b (k, n), chains starting at start[j] (NULL: 0).
     * b lies in panels of panel_columns columns: element (l, j) is b[j / panel * panel_stride + l * ldb + j % panel].
     * Row-major b: ldb = its leading dimension, panel_stride = panel_columns. soon: asked for meanwhile; NULL: nothing. */
    void (*matmul)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const real *a, ptrdiff_t lda, const real *b, ptrdiff_t ldb,
                   ptrdiff_t panel_stride, const real *start, real *c, ptrdiff_t ldc,
                   const FNN_TYPED(fnn_epilogue) * epilogue, const fnn_soon *soon);
    /* c (m, n) = [c +] a (k, m)^T . b (k, n): chains over the k rows, starting at c (accumulate) or 0. */
    void (*matmul_transposed)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const real *a, ptrdiff_t lda, const real *b,
                              ptrdiff_t ldb, int accumulate, real *c, ptrdiff_t ldc, const fnn_soon *soon);
    /* The same bits where b is finite, faster where many of a are zero and slower where few are (zeros.h). */
    void (*matmul_transposed_zeros)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const real *a, ptrdiff_t lda, const real *b,
                                    ptrdiff_t ldb, int accumulate, real *c, ptrdiff_t ldc, const fnn_soon *soon);
    /* matmul_transposed for n <= FNN_THIN, lanes over m. */
    void (*matmul_transposed_thin)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const real *a, ptrdiff_t lda, const real *b,
                                   ptrdiff_t ldb, int accumulate, real *c, ptrdiff_t ldc);
    /* c (m, n) = a (m, k) . bt (n, ldbt)^T + start (n), n <= FNN_THIN: 16 chains over k and a fixed tree, then start.
     * Rows of bt are padded with zeros to a multiple of FNN_CHAINS. */
    void (*matmul_thin)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const real *a, ptrdiff_t lda, const real *bt,
                        ptrdiff_t ldbt, const real *start, real *c, ptrdiff_t ldc);
    /* y (n) = start (n) + x (k) . b in panels (ldb = panel_columns): the product of one row. */
    void (*matmul_row)(ptrdiff_t n, ptrdiff_t k, const real *x, const real *b, ptrdiff_t panel_stride,
                       const real *start, real *y);
    /* The same with b (k, ldb) row-major. */
    void (*matmul_row_plain)(ptrdiff_t n, ptrdiff_t k, const real *x, const real *b, ptrdiff_t ldb, const real *start,
                             real *y);
    /* sums (n) = [sums +] column sums of a (rows, n): one chain over the rows each. */
    void (*column_sums)(ptrdiff_t rows, ptrdiff_t n, const real *a, ptrdiff_t lda, int accumulate, real *sums);
    /* a (n) += b (n). */
    void (*add)(ptrdiff_t n, real *a, const real *b);
    /* Rows first..first+rows-1 of w (., n) into panels of panel_stride elements, tails zero. */
    void (*pack)(ptrdiff_t first, ptrdiff_t rows, ptrdiff_t n, const real *w, ptrdiff_t panel_stride, real *panels);
    /* The same rows as columns first.. of w^T (n, .) in panels; first is a multiple of panel_columns / 2, and total is
     * the number of rows of w, behind which the last panel is filled with zeros. */
    void (*pack_transposed)(ptrdiff_t first, ptrdiff_t rows, ptrdiff_t total, ptrdiff_t n, const real *w,
                            ptrdiff_t panel_stride, real *panels);

    /* Layers (layers.h), each with its formula there. */
    void (*copy)(ptrdiff_t rows, ptrdiff_t n, const real *from, ptrdiff_t ldfrom, int adds, real *to, ptrdiff_t ldto);
    int (*all_finite)(ptrdiff_t rows, ptrdiff_t n, const real *x, ptrdiff_t ldx);
    void (*sum)(ptrdiff_t rows, ptrdiff_t n, const real *a, ptrdiff_t lda, const real *b, ptrdiff_t ldb, real *c,
                ptrdiff_t ldc);
    void (*prelu_forward)(ptrdiff_t rows, ptrdiff_t n, const real *x, ptrdiff_t ldx, const real *slope, real *y,
                          ptrdiff_t ldy);
    void (*prelu_backward)(ptrdiff_t rows, ptrdiff_t n, const real *x, ptrdiff_t ldx, const real *slope,
                           const real *dy, ptrdiff_t lddy, real *dx, ptrdiff_t lddx);
    void (*prelu_slope_gradient)(ptrdiff_t rows, ptrdiff_t n, const real *x, ptrdiff_t ldx, const real *dy,
                                 ptrdiff_t lddy, int accumulate, real *dslope);
    void (*row_norm_forward)(ptrdiff_t rows, ptrdiff_t n, const real *x, ptrdiff_t ldx, int centred, real epsilon,
                             const real *weight, const real *bias, real *stats, ptrdiff_t ldstats, real *y,
                             ptrdiff_t ldy);
    void (*row_norm_backward)(ptrdiff_t rows, ptrdiff_t n, const real *x, ptrdiff_t ldx, int centred,
                              const real *weight, const real *stats, ptrdiff_t ldstats, const real *dy, ptrdiff_t lddy,
                              real *dx, ptrdiff_t lddx);
    void (*row_norm_weight_gradient)(ptrdiff_t rows, ptrdiff_t n, const real *x, ptrdiff_t ldx, const real *stats,
                                     ptrdiff_t ldstats, const real *dy, ptrdiff_t lddy, int accumulate, real *dweight);
    void (*column_moments)(ptrdiff_t rows, ptrdiff_t n, const real *x, ptrdiff_t ldx, real *mean, real *variance);
    void (*column_norm_forward)(ptrdiff_t rows, ptrdiff_t n, const real *x, ptrdiff_t ldx, const real *mean,
                                const real *scale, const real *weight, const real *bias, real *y, ptrdiff_t ldy);
    void (*column_norm_sums)(ptrdiff_t rows, ptrdiff_t n, const real *x, ptrdiff_t ldx, const real *mean,
                             const real *scale, const real *dy, ptrdiff_t lddy, real *plain, real *along);
    void (*column_norm_backward)(ptrdiff_t rows, ptrdiff_t n, const real *x, ptrdiff_t ldx, const real *mean,
                                 const real *scale, const real *weight, const real *plain, const real *along,
                                 ptrdiff_t count, const real *dy, ptrdiff_t lddy, real *dx, ptrdiff_t lddx);
    void (*dropout)(ptrdiff_t rows, ptrdiff_t n, const real *x, ptrdiff_t ldx, const fnn_place *place, uint32_t keep,
                    real *y, ptrdiff_t ldy);
    void (*noise)(ptrdiff_t rows, ptrdiff_t n, const real *x, ptrdiff_t ldx, const fnn_place *place, real deviation,
                  real *y, ptrdiff_t ldy);
    void (*embedding_forward)(ptrdiff_t rows, ptrdiff_t n, const real *codes, ptrdiff_t ldcodes, ptrdiff_t categories,
                              const real *table, real *y, ptrdiff_t ldy);
    void (*embedding_gradient)(ptrdiff_t rows, ptrdiff_t n, const real *codes, ptrdiff_t ldcodes, ptrdiff_t categories,
                               ptrdiff_t first, ptrdiff_t last, const real *dy, ptrdiff_t lddy, int accumulate,
                               real *dtable);

    const FNN_TYPED(fnn_map) * activation_forward; /* by index in the list of activations.h */
    const FNN_TYPED(fnn_map) * activation_backward;
    const FNN_TYPED(fnn_loss_kernel) * loss;       /* losses.h */
    const FNN_TYPED(fnn_update_kernel) * update;   /* optimizers.h */
    /* sum over n elements of (scale.g + l1.sign(p) + 2.l2.p)^2, and of l1.|p| + l2.p^2, in double (sums.h). */
    double (*squares)(ptrdiff_t n, const real *p, const real *g, double scale, double l1, double l2);
    double (*penalty)(ptrdiff_t n, const real *p, double l1, double l2);

    void (*const *vector)(ptrdiff_t n, const real *x, real *y); /* fnn_vector_function */
    /* rounds x 24 independent FMAs per lane in registers; returns a value that depends on all of them. */
    real (*fma_loop)(ptrdiff_t rounds);
} FNN_TYPED(fnn_kernels);

#define FNN_FMA_LOOP_CHAINS 24

#endif
