/* dense.h: the dense layer, forward and its three gradients, and the working copies of its weight.
 */
/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FASTNN_DENSE_H
#define FASTNN_DENSE_H

#include "plan.h"

/* y (rows, units) = x (rows, inputs) . weight (inputs, units) + bias; then the epilogue on y. params: the flat vector,
 * read where there is no working copy. soon: what to ask for meanwhile, or NULL. */
void FNN_TYPED(dense_forward)(const FNN_TYPED(plan) * plan, int32_t op, ptrdiff_t rows, const real *x, ptrdiff_t ldx,
                              real *y, ptrdiff_t ldy, const FNN_TYPED(fnn_epilogue) * epilogue,
                              const fnn_soon *soon);

/* dx (rows, inputs) = dy (rows, units) . weight^T; then the epilogue on dx. */
void FNN_TYPED(dense_backward_input)(const FNN_TYPED(plan) * plan, int32_t op, ptrdiff_t rows, const real *dy,
                                     ptrdiff_t lddy, real *dx, ptrdiff_t lddx,
                                     const FNN_TYPED(fnn_epilogue) * epilogue);

/* Rows [first, last) of dweight (inputs, units) = [dweight +] x^T . dy. zeros: x has many, and dy is finite. */
void FNN_TYPED(dense_backward_weight)(const FNN_TYPED(plan) * plan, int32_t op, ptrdiff_t first, ptrdiff_t last,
                                      ptrdiff_t rows, const real *x, ptrdiff_t ldx, const real *dy, ptrdiff_t lddy,
                                      int accumulate, real *dweight, int zeros, const fnn_soon *soon);

/* Rows [first, last) of the weight into its working copies. */
void FNN_TYPED(dense_pack)(const FNN_TYPED(plan) * plan, int32_t op, const real *weight, ptrdiff_t first,
                           ptrdiff_t last);

#endif
