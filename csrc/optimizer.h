/* optimizer.h: one step of an optimizer over some rows of one tensor.
 */
/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FASTNN_OPTIMIZER_H
#define FASTNN_OPTIMIZER_H

#include "plan.h"

/* Rows [first, last) of a segment: params from grads . scale, as update number `step` (1 for the first). Returns
 * nonzero when a parameter became not finite. */
int FNN_TYPED(update_segment)(const fnn_network *network, const FNN_TYPED(fnn_kernels) * kernels,
                              const fnn_optimizer *optimizer, int64_t step, double learning_rate, double scale,
                              int32_t segment, ptrdiff_t first, ptrdiff_t last, real *params, const real *grads);

#endif
