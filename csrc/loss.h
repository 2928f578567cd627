/* loss.h: losses of some rows of a batch, and the gradient they hand to the backward walk.
 */
/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FASTNN_LOSS_H
#define FASTNN_LOSS_H

#include "plan.h"

/* What the outputs of a call are compared with. */
typedef struct {
    const fnn_objective *objective;
    const fnn_targets *y;
    const double *weights; /* by row of the data; NULL: all 1 */
    const int64_t *order;  /* row i of the batch is row order[first + i] of the data, or first + i */
} comparison;

/* Operations to run before the loss: without the last one when that is folded into the loss, or only changes units. */
int32_t FNN_TYPED(ops_before_loss)(const fnn_network *network, const fnn_objective *objective);

/* The buffer the loss reads, and whose gradient it gives: the output, or what the operation left out would read. */
int32_t FNN_TYPED(buffer_before_loss)(const fnn_network *network, const fnn_objective *objective);

/* Losses of rows [row, row + rows) of set number nth into row_loss and row_weight of that set; with_gradient: their
 * weighted gradient into the gradient of the buffer the loss reads. */
void FNN_TYPED(loss_rows)(const FNN_TYPED(plan) * plan, const comparison *with, ptrdiff_t first, int nth, real *set,
                          ptrdiff_t row, ptrdiff_t rows, int with_gradient);

/* *loss += weight . loss and *weight += weight, row after row: the sum does not depend on how rows were shared out. */
void FNN_TYPED(sum_losses)(const FNN_TYPED(plan) * plan, int nth, ptrdiff_t row, ptrdiff_t rows, double *loss,
                           double *weight);

#endif
