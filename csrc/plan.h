/* plan.h: how the workspace of a call is carved, and what is derived from a network's list of operations.
 *
 * A plan is laid out twice by the same code: once to count bytes, once to hand out pointers. Everything in it that
 * results depend on (slots, chunks, tiles) is a function of layer sizes, batch and type alone, never of threads or
 * instruction set.
 */
/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FASTNN_PLAN_H
#define FASTNN_PLAN_H

#include "dispatch.h"
#include "fastnn.h"
#include "pieces.h"
#include "simd/real.h"

/* Rows a thread carries from the first layer to the last when a network is walked depth-first. */
#define FNN_TILE_ROWS 64
/* Rows of a segment that one thread owns together; sums over parameters are made from sums over such blocks, in order:
 * so they do not depend on threads. */
#define FNN_BLOCK_ROWS 32
static inline ptrdiff_t fnn_blocks(const fnn_segment *segment) {
    return segment->rows / FNN_BLOCK_ROWS + (segment->rows % FNN_BLOCK_ROWS != 0);
}

/* What is summed over a block: squares of gradient, update and weight, and the penalty. */
enum { FNN_SUM_GRADIENT, FNN_SUM_UPDATE, FNN_SUM_WEIGHT, FNN_SUM_PENALTY, FNN_BLOCK_SUMS };

/* What a norm of columns keeps of a batch: mean, variance, 1 / sqrt(variance + epsilon), sum of dy, sum of dy h. */
enum { FNN_MEAN, FNN_VARIANCE, FNN_SCALE, FNN_PLAIN, FNN_ALONG, FNN_COLUMN_ROWS };

typedef struct {
    const fnn_network *network;
    const FNN_TYPED(fnn_kernels) * kernels;

    /* Depth-first: every thread has buffers for one tile, and gradients add into slots. Otherwise layer by layer:
     * the buffers of a chunk of the batch are shared, and each block of a gradient has one owner. */
    int depth_first;
    ptrdiff_t slots;      /* parts of the batch whose gradients are summed apart, then in order */
    ptrdiff_t chunk_rows; /* rows in buffers at a time: a tile, or the chunk */
    int last_first;       /* parameters are shared out from the last segment to the first */
    double *before;       /* by segment: parameters that are shared out before it */
    fnn_pieces *row_pieces, *param_pieces; /* of each thread's share of the rows, and of the parameters */

    const real *params; /* the flat vector, read where there is no working copy */
    /* By operation: the working copies of a dense weight (NULL: read params itself), and weight and bias as they are. */
    real **packed, **transposed;
    const real **weight, **bias;
    int32_t *op_of_segment;

    /* By buffer: leading dimension, where its values and gradients begin in a set of buffers, and whether it depends on
     * a parameter. What a buffer holds unchanged from another one lies there. */
    ptrdiff_t *stride, *value_at, *grad_at;
    int32_t *trains;
    ptrdiff_t set_size; /* elements of one set */
    real *sets; /* one set per thread (depth-first, predict) or one for all */

    real *state; /* of the network, not trained */
    uint64_t seed; /* of random masks */
    /* By operation: what a norm of columns keeps of the batch, FNN_COLUMN_ROWS rows of n numbers. */
    real **columns;

    real *slot_grads; /* slots 1.., n_params each; slot 0 is the gradient vector itself */
    real *targets; /* (rows of a set, outputs) per set: converted target values */
    ptrdiff_t targets_stride, targets_size;
    double *row_loss, *row_weight; /* per row of a set, per set */
    int32_t *row_label;
    double *part_loss, *part_weight; /* sums per slot (train) or per block of rows (predict) */
    double *block_sums; /* (blocks of all segments, FNN_BLOCK_SUMS) */
} FNN_TYPED(plan);

/* Lays the plan out in memory (NULL: only counts) and returns the bytes, 0 when they do not fit a size_t. */
size_t FNN_TYPED(plan_lay_out)(FNN_TYPED(plan) * plan, const fnn_network *network, int use, ptrdiff_t batch,
                               int threads, void *memory);

/* Parts of a batch of so many rows whose gradients are summed apart. */
ptrdiff_t FNN_TYPED(slots_of)(const fnn_network *network, ptrdiff_t rows);

/* The leading dimension of a working matrix with so many columns. */
ptrdiff_t FNN_TYPED(padded_stride)(ptrdiff_t columns);

/* The rows of a segment that belong to one thread: shares of equal cost, cut where vectors begin. */
void FNN_TYPED(share_of_segment)(const FNN_TYPED(plan) * plan, int32_t segment, int thread, int threads,
                                 ptrdiff_t *first, ptrdiff_t *last);

/* The same for one piece of that share (pieces.h). */
void FNN_TYPED(piece_of_segment)(const FNN_TYPED(plan) * plan, int32_t segment, int thread, int piece, int threads,
                                 ptrdiff_t *first, ptrdiff_t *last);

/* Whether an operation, or one of a network, needs all rows of the batch at once. */
static inline int fnn_is_batch_norm(const fnn_op *op) { return op->kind == FNN_BATCH_NORM; }
static inline int fnn_has_batch_norm(const fnn_network *network) {
    for (int32_t i = 0; i < network->n_ops; i++)
        if (fnn_is_batch_norm(&network->ops[i])) return 1;
    return 0;
}

/* Multiply-adds of a forward pass over one row. */
double FNN_TYPED(row_work)(const fnn_network *network);

#endif
