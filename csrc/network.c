/* network.c: forward and backward over the list of operations, for some rows of a set of buffers.
 *
 * Compiled once per real type. Whoever calls decides which rows and which set (a tile of one thread, or a thread's
 * share of the batch): the same two walks serve both schedules, the caller's own loop, and prediction.
 */
/* SPDX-License-Identifier: BSD-3-Clause */
#include "data.h"
#include "dense.h"
#include "kernels/activations.h"

typedef FNN_TYPED(plan) plan_type;
typedef FNN_TYPED(fnn_epilogue) epilogue_type;

static real *value(const plan_type *plan, real *set, int32_t buffer, ptrdiff_t row) {
    return set + plan->value_at[buffer] + row * plan->stride[buffer];
}

static real *gradient(const plan_type *plan, real *set, int32_t buffer, ptrdiff_t row) {
    return set + plan->grad_at[buffer] + row * plan->stride[buffer];
}

/* Whether operation i is an activation that can be applied to a tile of its input as soon as that is computed. */
static int is_fusible(const fnn_network *network, int32_t i) {
    const fnn_op *op = &network->ops[i];
    return op->kind == FNN_ACTIVATION && fnn_activation_elementwise(op->activation);
}

/* The tensor an activation's derivative is a function of. */
static int32_t derivative_of(const fnn_op *op) {
    return fnn_activation_in_place(op->activation) ? op->output : op->input;
}

void FNN_TYPED(bind_params)(plan_type *plan, const real *params) {
    plan->params = params;
    for (int32_t i = 0; i < plan->network->n_ops; i++) {
        const fnn_op *op = &plan->network->ops[i];
        if (op->kind == FNN_DENSE && op->bias >= 0)
            plan->bias[i] = params + plan->network->segments[op->bias].offset;
    }
}

void FNN_TYPED(gather)(const plan_type *plan, real *set, ptrdiff_t row, ptrdiff_t rows, const fnn_array *x,
                       const int64_t *order, ptrdiff_t first) {
    for (ptrdiff_t i = row; i < row + rows; i++) {
        const ptrdiff_t from = order ? (ptrdiff_t)order[first + i] : first + i;
        if (order && i + 1 < row + rows) fnn_prefetch_row(x, (ptrdiff_t)order[first + i + 1]);
        fnn_read_row(x, from, FNN_REAL_TYPE, value(plan, set, 0, i));
    }
}

/* An activation right behind a product: applied to each tile, in place or into its own buffer. */
static epilogue_type forward_epilogue(const plan_type *plan, const fnn_op *op, real *set, ptrdiff_t row) {
    epilogue_type epilogue = {.f = plan->kernels->activation_forward[op->activation], .parameter = (real)op->parameter};
    if (op->output != op->input) {
        epilogue.out = value(plan, set, op->output, row);
        epilogue.ldout = plan->stride[op->output];
    }
    return epilogue;
}

void FNN_TYPED(forward_rows)(const plan_type *plan, int32_t n_ops, real *set, ptrdiff_t row, ptrdiff_t rows) {
    const fnn_network *network = plan->network;
    for (int32_t i = 0; i < n_ops; i++) {
        const fnn_op *op = &network->ops[i];
        const real *x = value(plan, set, op->input, row);
        real *y = value(plan, set, op->output, row);
        const ptrdiff_t ldx = plan->stride[op->input], ldy = plan->stride[op->output];
        if (op->kind == FNN_DENSE) {
            epilogue_type epilogue = {0};
            if (i + 1 < n_ops && network->ops[i + 1].input == op->output && is_fusible(network, i + 1))
                epilogue = forward_epilogue(plan, &network->ops[++i], set, row);
            FNN_TYPED(dense_forward)(plan, (int32_t)(op - network->ops), rows, x, ldx, y, ldy, &epilogue);
        } else {
            plan->kernels->activation_forward[op->activation](rows, network->widths[op->output], x, ldx, y, ldy,
                                                              (real)op->parameter);
        }
    }
}

/* dinput of an activation, in place: with the derivative a function of the output, or of the input. */
static void activation_backward(const plan_type *plan, const fnn_op *op, real *set, ptrdiff_t row, ptrdiff_t rows) {
    const ptrdiff_t n = plan->network->widths[op->output];
    const int32_t seen = derivative_of(op);
    real *dy = gradient(plan, set, op->output, row);
    if (plan->grad_at[op->input] != plan->grad_at[op->output]) {
        real *dx = gradient(plan, set, op->input, row);
        const ptrdiff_t ld = plan->stride[op->output];
        for (ptrdiff_t i = 0; i < rows; i++)
            for (ptrdiff_t j = 0; j < n; j++) dx[i * plan->stride[op->input] + j] = dy[i * ld + j];
        dy = dx;
    }
    plan->kernels->activation_backward[op->activation](rows, n, value(plan, set, seen, row), plan->stride[seen], dy,
                                                       plan->stride[op->input], (real)op->parameter);
}

void FNN_TYPED(backward_rows)(const plan_type *plan, int32_t n_ops, int want_dx, real *set, ptrdiff_t row,
                              ptrdiff_t rows) {
    const fnn_network *network = plan->network;
    for (int32_t i = n_ops - 1; i >= 0; i--) {
        const fnn_op *op = &network->ops[i];
        if (op->input == 0 && !want_dx) continue;
        if (op->kind == FNN_DENSE) {
            /* The derivative of the activation before it is applied to each tile of dx while that is near. */
            epilogue_type epilogue = {0};
            const fnn_op *before = i > 0 ? &network->ops[i - 1] : NULL;
            if (before && before->output == op->input && is_fusible(network, i - 1) &&
                plan->grad_at[before->input] == plan->grad_at[before->output]) {
                const int32_t seen = derivative_of(before);
                epilogue.f = plan->kernels->activation_backward[before->activation];
                epilogue.parameter = (real)before->parameter;
                epilogue.in = value(plan, set, seen, row);
                epilogue.ldin = plan->stride[seen];
                i--;
            }
            FNN_TYPED(dense_backward_input)(plan, (int32_t)(op - network->ops), rows,
                                            gradient(plan, set, op->output, row), plan->stride[op->output],
                                            gradient(plan, set, op->input, row), plan->stride[op->input], &epilogue);
        } else {
            activation_backward(plan, op, set, row, rows);
        }
    }
}

void FNN_TYPED(segment_gradient)(const plan_type *plan, int32_t segment, ptrdiff_t first, ptrdiff_t last, real *set,
                                 ptrdiff_t row, ptrdiff_t rows, int accumulate, real *grads) {
    const fnn_network *network = plan->network;
    const fnn_segment *s = &network->segments[segment];
    const int32_t i = plan->op_of_segment[segment];
    const fnn_op *op = &network->ops[i];
    if (first >= last) return;
    const real *dy = gradient(plan, set, op->output, row);
    const ptrdiff_t lddy = plan->stride[op->output];
    if (segment == op->bias)
        plan->kernels->column_sums(rows, s->columns, dy, lddy, accumulate, grads + s->offset);
    else
        FNN_TYPED(dense_backward_weight)(plan, i, first, last, rows, value(plan, set, op->input, row),
                                         plan->stride[op->input], dy, lddy, accumulate, grads + s->offset);
}

void FNN_TYPED(pack_segment)(const plan_type *plan, const real *params, int32_t segment, ptrdiff_t first,
                             ptrdiff_t last) {
    const int32_t i = plan->op_of_segment[segment];
    if (first < last && plan->network->ops[i].weight == segment)
        FNN_TYPED(dense_pack)(plan, i, params + plan->network->segments[segment].offset, first, last);
}

void FNN_TYPED(pack_share)(const plan_type *plan, int thread, int threads) {
    for (int32_t i = 0; i < plan->network->n_segments; i++) {
        ptrdiff_t first, last;
        FNN_TYPED(share_of_segment)(plan, i, thread, threads, &first, &last);
        FNN_TYPED(pack_segment)(plan, plan->params, i, first, last);
    }
}
