/* optimizer.h: one step of an optimizer over some rows of one tensor.
 */
/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FASTNN_OPTIMIZER_H
#define FASTNN_OPTIMIZER_H

#include "plan.h"

/* What is the same for all parameters in one update. */
typedef struct {
    fnn_optimizer optimizer; /* as it is after the update: its step is the number of this one */
    double learning_rate;
    double scale;         /* gradient = grads . scale + penalties */
    double factor, bound; /* clipping: of the norm (1: none), of each element (0: none) */
} update_step;

/* The optimizer as it is after one more update, its vectors apart. */
fnn_optimizer FNN_TYPED(optimizer_after_update)(const fnn_optimizer *optimizer);

/* Rows [first, last) of a segment. Returns nonzero when a parameter became not finite. */
int FNN_TYPED(update_segment)(const fnn_network *network, const FNN_TYPED(fnn_kernels) * kernels,
                              const update_step *step, int32_t segment, ptrdiff_t first, ptrdiff_t last, real *params,
                              const real *grads);

#endif
