/* dense.c: y = x.W + b and its gradients, by way of the kernels; see dense.h.
 *
 * Compiled once per real type. The weight's working copies (plan.h) are panels of columns, W for the forward pass and
 * W^T for the gradient of the input; a thin layer has one copy for both, (units, inputs) padded with zeros.
 */
/* SPDX-License-Identifier: BSD-3-Clause */
#include "dense.h"

typedef FNN_TYPED(plan) plan_type;
typedef FNN_TYPED(fnn_epilogue) epilogue_type;

static const fnn_segment *weight_of(const plan_type *plan, int32_t op) {
    return &plan->network->segments[plan->network->ops[op].weight];
}

/* Where a kernel does not take the epilogue along. */
static void apply_epilogue(const epilogue_type *e, ptrdiff_t rows, ptrdiff_t n, real *y, ptrdiff_t ldy) {
    if (!e || !e->f) return;
    e->f(rows, n, e->in ? e->in : y, e->in ? e->ldin : ldy, e->out ? e->out : y, e->out ? e->ldout : ldy, e->parameter);
}

void FNN_TYPED(dense_forward)(const plan_type *plan, int32_t op, ptrdiff_t rows, const real *x, ptrdiff_t ldx, real *y,
                              ptrdiff_t ldy, const epilogue_type *epilogue, const fnn_soon *soon) {
    const fnn_segment *weight = weight_of(plan, op);
    const ptrdiff_t k = weight->rows, n = weight->columns, panel = plan->kernels->panel_columns;
    const real *packed = plan->packed[op], *bias = plan->bias[op];
    if (n <= FNN_THIN) {
        plan->kernels->matmul_thin(rows, n, k, x, ldx, packed, fnn_padded_chains(k), bias, y, ldy);
        apply_epilogue(epilogue, rows, n, y, ldy);
    } else if (packed) {
        plan->kernels->matmul(rows, n, k, x, ldx, packed, panel, k * panel, bias, y, ldy, epilogue, soon);
    } else {
        const real *raw = plan->params + weight->offset;
        if (rows == 1) { /* a tile of one row would wait for its few chains */
            plan->kernels->matmul_row_plain(n, k, x, raw, n, bias, y);
            apply_epilogue(epilogue, rows, n, y, ldy);
            return;
        }
        plan->kernels->matmul(rows, n, k, x, ldx, raw, n, panel, bias, y, ldy, epilogue, soon);
    }
}

void FNN_TYPED(dense_backward_input)(const plan_type *plan, int32_t op, ptrdiff_t rows, const real *dy, ptrdiff_t lddy,
                                     real *dx, ptrdiff_t lddx, const epilogue_type *epilogue) {
    const fnn_segment *weight = weight_of(plan, op);
    const ptrdiff_t k = weight->rows, n = weight->columns, panel = plan->kernels->panel_columns;
    const int thin = n <= FNN_THIN;
    plan->kernels->matmul(rows, k, n, dy, lddy, plan->transposed[op], thin ? fnn_padded_chains(k) : panel,
                          thin ? panel : n * panel, NULL, dx, lddx, epilogue, NULL);
}

void FNN_TYPED(dense_backward_weight)(const plan_type *plan, int32_t op, ptrdiff_t first, ptrdiff_t last,
                                      ptrdiff_t rows, const real *x, ptrdiff_t ldx, const real *dy, ptrdiff_t lddy,
                                      int accumulate, real *dweight, int zeros, const fnn_soon *soon) {
    const ptrdiff_t n = weight_of(plan, op)->columns;
    if (n <= FNN_THIN)
        plan->kernels->matmul_transposed_thin(last - first, n, rows, x + first, ldx, dy, lddy, accumulate,
                                              dweight + first * n, n);
    else
        (zeros ? plan->kernels->matmul_transposed_zeros : plan->kernels->matmul_transposed)(
            last - first, n, rows, x + first, ldx, dy, lddy, accumulate, dweight + first * n, n, soon);
}

void FNN_TYPED(dense_pack)(const plan_type *plan, int32_t op, const real *weight, ptrdiff_t first, ptrdiff_t last) {
    const ptrdiff_t k = weight_of(plan, op)->rows, n = weight_of(plan, op)->columns;
    const ptrdiff_t panel = plan->kernels->panel_columns;
    if (n <= FNN_THIN) {
        real *to = plan->packed[op];
        const ptrdiff_t ld = fnn_padded_chains(k);
        for (ptrdiff_t j = 0; j < n; j++) {
            for (ptrdiff_t i = first; i < last; i++) to[j * ld + i] = weight[i * n + j];
            if (last == k)
                for (ptrdiff_t i = k; i < ld; i++) to[j * ld + i] = 0;
        }
        return;
    }
    if (plan->packed[op])
        plan->kernels->pack(first, last - first, n, weight, k * panel, plan->packed[op]);
    if (plan->transposed[op])
        plan->kernels->pack_transposed(first, last - first, k, n, weight, n * panel, plan->transposed[op]);
}
