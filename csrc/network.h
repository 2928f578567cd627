/* network.h: the walks over a network's list of operations, which all ways in share.
 */
/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FASTNN_NETWORK_H
#define FASTNN_NETWORK_H

#include "parallel.h"
#include "plan.h"

/* Which operations, over which rows: rows [row, row + rows) of a set of buffers. Row `row` of the set is row
 * `position` of the batch, which has `batch` rows. */
typedef struct {
    int32_t first, last; /* operations first .. last - 1 */
    real *set;
    const real *x; /* rows of the input where the caller has them, x_stride apart, for the first operation; NULL: in set */
    ptrdiff_t x_stride;
    ptrdiff_t row, rows;
    ptrdiff_t position, batch;
    uint64_t draw; /* number of the batch: which random masks it gets */
    int training;  /* masks are drawn, and norms of columns are those of the batch */
    int want_dx;   /* backward: the gradient of the network's input as well */
    int32_t zeros_before; /* 1 + the product whose gradient is found without the zeros of its input; 0: none */
    const fnn_soon *soon; /* what products of layers may ask for meanwhile; NULL: nothing */
} FNN_TYPED(walk);

/* Where a walk finds rows of a buffer's values and gradients. */
static inline real *FNN_TYPED(value)(const FNN_TYPED(plan) * plan, const FNN_TYPED(walk) * walk, int32_t buffer) {
    return walk->set + plan->value_at[buffer] + walk->row * plan->stride[buffer];
}
static inline real *FNN_TYPED(gradient)(const FNN_TYPED(plan) * plan, const FNN_TYPED(walk) * walk, int32_t buffer) {
    return walk->set + plan->grad_at[buffer] + walk->row * plan->stride[buffer];
}
/* Whether the backward walk computes the gradient of a buffer. */
static inline int FNN_TYPED(wants)(const FNN_TYPED(plan) * plan, const FNN_TYPED(walk) * walk, int32_t buffer) {
    return walk->want_dx || plan->trains[buffer];
}

/* ---- network.c: operations in a row ---------------------------------------------------------------------------- */

/* Rows [row, row + rows) of a set's input: row i of it is row order[first + i] of x, or first + i without an order. */
void FNN_TYPED(gather)(const FNN_TYPED(plan) * plan, real *set, ptrdiff_t row, ptrdiff_t rows, const fnn_array *x,
                       const int64_t *order, ptrdiff_t first);

/* The same for the rows of a walk, and its first operations up to the end of the first product, where it pays to have
 * one block of rows multiplied while the next comes from memory, and behind the last one what the walk may ask for;
 * returns the first operation that is left. */
int32_t FNN_TYPED(gather_and_begin)(const FNN_TYPED(plan) * plan, const FNN_TYPED(walk) * walk, const fnn_array *x,
                                    const int64_t *order, ptrdiff_t first);
/* What the first block of so many rows will read, from row `first` of the order on. */
fnn_soon FNN_TYPED(first_rows_soon)(const FNN_TYPED(plan) * plan, const fnn_array *x, const int64_t *order,
                                    ptrdiff_t first, ptrdiff_t rows);

/* The operations of a walk in order; none but the first may need the whole batch, and that must be ready. */
void FNN_TYPED(forward_rows)(const FNN_TYPED(plan) * plan, const FNN_TYPED(walk) * walk);

/* The same backwards, from the gradient of the output of the last one to every input that needs one. */
void FNN_TYPED(backward_rows)(const FNN_TYPED(plan) * plan, const FNN_TYPED(walk) * walk);

/* Gradient of rows [first, last) of one segment over the rows of a walk, into grads (the flat vector). */
void FNN_TYPED(segment_gradient)(const FNN_TYPED(plan) * plan, const FNN_TYPED(walk) * walk, int32_t segment,
                                 ptrdiff_t first, ptrdiff_t last, int accumulate, real *grads);

/* 1 + the first product of the network's input, if its gradient is found faster without the zeros of that: so many rows
 * behind row `first` of the order tell. Else 0. Uses the first set of buffers. */
int32_t FNN_TYPED(product_of_zeros)(const FNN_TYPED(plan) * plan, const fnn_array *x, const int64_t *order,
                                    ptrdiff_t first, ptrdiff_t rows);

/* Rows [first, last) of one segment into the working copies. */
void FNN_TYPED(pack_segment)(const FNN_TYPED(plan) * plan, const real *params, int32_t segment, ptrdiff_t first,
                             ptrdiff_t last);

/* A thread's share of all segments into the working copies. */
void FNN_TYPED(pack_share)(const FNN_TYPED(plan) * plan, int thread, int threads);

/* The numbers the plan computes with, n_params + n_state of them; packs nothing. The state is written only where it
 * is updated. */
void FNN_TYPED(bind)(FNN_TYPED(plan) * plan, const real *params, uint64_t seed);

/* ---- layers.c: one operation that is neither dense nor an activation ------------------------------------------- */

void FNN_TYPED(layer_forward)(const FNN_TYPED(plan) * plan, const FNN_TYPED(walk) * walk, const fnn_op *op);
void FNN_TYPED(layer_backward)(const FNN_TYPED(plan) * plan, const FNN_TYPED(walk) * walk, const fnn_op *op);
/* Rows [first, last) of the gradient of its weight, or of its bias when is_bias. */
void FNN_TYPED(layer_gradient)(const FNN_TYPED(plan) * plan, const FNN_TYPED(walk) * walk, const fnn_op *op,
                               int is_bias, ptrdiff_t first, ptrdiff_t last, int accumulate, real *gradient);

/* ---- batch.c: whole batches, whose norms of columns need all rows ---------------------------------------------- */

/* The walk by all threads of a team, each with rows of its own; without a norm of columns no thread waits. */
void FNN_TYPED(forward_batch)(const FNN_TYPED(plan) * plan, const FNN_TYPED(walk) * walk, fnn_team *team, int thread,
                              int threads);
void FNN_TYPED(backward_batch)(const FNN_TYPED(plan) * plan, const FNN_TYPED(walk) * walk, fnn_team *team, int thread,
                               int threads);

/* running = momentum . running + (1 - momentum) . batch, of mean and variance (with rows - 1 in its denominator). */
void FNN_TYPED(update_running)(const FNN_TYPED(plan) * plan, ptrdiff_t batch);

/* The scale of every norm of columns from its running variance: before any walk that does not train. */
void FNN_TYPED(use_running)(const FNN_TYPED(plan) * plan);

#endif
