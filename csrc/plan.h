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

typedef struct {
    const fnn_network *network;
    const FNN_TYPED(fnn_kernels) * kernels;

    /* Depth-first: every thread has buffers for one tile, and gradients add into slots. Otherwise layer by layer:
     * the buffers of a chunk of the batch are shared, and each block of a gradient has one owner. */
    int depth_first;
    ptrdiff_t slots;      /* parts of the batch whose gradients are summed apart, then in order */
    ptrdiff_t chunk_rows; /* rows in buffers at a time: a tile, or the chunk */

    const real *params; /* the flat vector, read where there is no working copy */
    /* By operation: the working copies of its weight (NULL: read params itself), and its bias. */
    real **packed, **transposed;
    const real **bias;
    int32_t *op_of_segment;

    /* By buffer: leading dimension, and where its values and gradients begin in a set of buffers. */
    ptrdiff_t *stride, *value_at, *grad_at;
    ptrdiff_t set_size; /* elements of one set */
    real *sets;         /* one set per thread (depth-first, predict) or one for all */

    real *slot_grads;   /* slots 1.., n_params each; slot 0 is the gradient vector itself */
    real *targets;      /* (rows of a set, outputs) per set: converted target values */
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

/* ---- the parts of a network that drivers walk (network.c) ---------------------------------------------------- */

/* Rows [row, row + rows) of a set's input: row i of it is row order[first + i] of x, or first + i without an order. */
void FNN_TYPED(gather)(const FNN_TYPED(plan) * plan, real *set, ptrdiff_t row, ptrdiff_t rows, const fnn_array *x,
                       const int64_t *order, ptrdiff_t first);

/* Operations 0 .. n_ops-1 over rows [row, row + rows) of a set. */
void FNN_TYPED(forward_rows)(const FNN_TYPED(plan) * plan, int32_t n_ops, real *set, ptrdiff_t row, ptrdiff_t rows);

/* From the gradient of the output of operation n_ops-1 down to every input that needs one (input 0 if wanted). */
void FNN_TYPED(backward_rows)(const FNN_TYPED(plan) * plan, int32_t n_ops, int want_dx, real *set, ptrdiff_t row,
                              ptrdiff_t rows);

/* Gradient of rows [first, last) of one segment over rows [row, row + rows) of a set, into grads (the flat vector). */
void FNN_TYPED(segment_gradient)(const FNN_TYPED(plan) * plan, int32_t segment, ptrdiff_t first, ptrdiff_t last,
                                 real *set, ptrdiff_t row, ptrdiff_t rows, int accumulate, real *grads);

/* Rows [first, last) of one segment into the working copies. */
void FNN_TYPED(pack_segment)(const FNN_TYPED(plan) * plan, const real *params, int32_t segment, ptrdiff_t first,
                             ptrdiff_t last);

/* A thread's share of all segments into the working copies. */
void FNN_TYPED(pack_share)(const FNN_TYPED(plan) * plan, int thread, int threads);

/* The rows of a segment that belong to one thread: shares of equal cost, cut where vectors begin. */
void FNN_TYPED(share_of_segment)(const FNN_TYPED(plan) * plan, int32_t segment, int thread, int threads,
                                 ptrdiff_t *first, ptrdiff_t *last);

/* The parameters the plan computes with; packs nothing. */
void FNN_TYPED(bind_params)(FNN_TYPED(plan) * plan, const real *params);

/* Multiply-adds of a forward pass over one row. */
double FNN_TYPED(row_work)(const fnn_network *network);

#endif
