/* optimizer.h: one step of an optimizer over some rows of one tensor, and the sums over parameters that go with it.
 */
/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FASTNN_OPTIMIZER_H
#define FASTNN_OPTIMIZER_H

#include "plan.h"

/* What is the same for all parameters in one update. */
typedef struct {
    fnn_optimizer optimizer; /* as it is after the update: its step is the number of this one */
    double learning_rate;
    double scale;         /* gradient = grads . scale + penalties . penalty_factor */
    double factor, bound; /* clipping: of the norm (1: none), of each element (0: none) */
    double constants[8];  /* of the optimizer's rule, for segments without a learning rate of their own */
} update_step;

/* The optimizer as it is after one more update, its vectors apart. */
fnn_optimizer FNN_TYPED(optimizer_after_update)(const fnn_optimizer *optimizer);

/* Computes the constants; before any update, once the learning rate is known. */
void FNN_TYPED(prepare_update)(update_step *step);

/* Rows [first, last) of a segment. Returns nonzero when a parameter became not finite. */
int FNN_TYPED(update_segment)(const fnn_network *network, const FNN_TYPED(fnn_kernels) * kernels,
                              const update_step *step, int32_t segment, ptrdiff_t first, ptrdiff_t last, real *params,
                              const real *grads);

/* The same, leaving in the plan's block sums the squares of the update and of the old parameters. */
int FNN_TYPED(update_and_measure)(const FNN_TYPED(plan) * plan, const update_step *step, int32_t segment,
                                  ptrdiff_t first, ptrdiff_t last, real *params, const real *grads);

/* What l1 and l2 are multiplied by: 1, or for an optimizer that penalizes sums, 1 / (sum of the batch's weights). */
double FNN_TYPED(penalty_factor)(const update_step *step);

/* Block sums of rows [first, last): squares of the gradient with penalties; the penalty. */
void FNN_TYPED(measure_gradient)(const FNN_TYPED(plan) * plan, const update_step *step, int32_t segment,
                                 ptrdiff_t first, ptrdiff_t last, const real *params, const real *grads);
void FNN_TYPED(measure_penalty)(const FNN_TYPED(plan) * plan, int32_t segment, ptrdiff_t first, ptrdiff_t last,
                                const real *params);

/* One of the sums, over the blocks of one segment; in their order. */
double FNN_TYPED(sum_blocks)(const FNN_TYPED(plan) * plan, int32_t segment, int which);

/* Whether some segment has a penalty; and their sum over all that have one, from the block sums. */
int FNN_TYPED(is_penalized)(const fnn_network *network);
double FNN_TYPED(sum_penalties)(const FNN_TYPED(plan) * plan);

/* What the gradient is multiplied by, so that its norm is at most clip_norm: from the block sums, or from the vectors
 * themselves. Not a number when the norm is not finite. */
double FNN_TYPED(clipping_factor)(const FNN_TYPED(plan) * plan, double clip_norm);
double FNN_TYPED(clipping_factor_of)(const fnn_network *network, const FNN_TYPED(fnn_kernels) * kernels,
                                     const update_step *step, double clip_norm, const real *params,
                                     const real *grads);

#endif
