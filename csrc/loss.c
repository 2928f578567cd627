/* loss.c: see loss.h. Compiled once per real type.
 */
/* SPDX-License-Identifier: BSD-3-Clause */
#include "loss.h"

#include "data.h"

typedef FNN_TYPED(plan) plan_type;

/* Whether the last operation brings outputs into the units of the targets. */
static int rescales(const fnn_network *network) {
    return network->n_ops > 0 && network->ops[network->n_ops - 1].kind == FNN_RESCALE;
}

int32_t FNN_TYPED(ops_before_loss)(const fnn_network *network, const fnn_objective *objective) {
    return objective->joined || rescales(network) ? network->n_ops - 1 : network->n_ops;
}

int32_t FNN_TYPED(buffer_before_loss)(const fnn_network *network, const fnn_objective *objective) {
    const int32_t n_ops = FNN_TYPED(ops_before_loss)(network, objective);
    return n_ops < network->n_ops ? network->ops[n_ops].input : network->output;
}

/* Targets in the units of what the last operation reads: (target - mean) . factor. */
static void scale_targets(const plan_type *plan, ptrdiff_t rows, real *targets) {
    const fnn_op *last = &plan->network->ops[plan->network->n_ops - 1];
    const ptrdiff_t n = plan->network->widths[last->output], stride = plan->targets_stride;
    const real *mean = plan->state + last->state + 2 * n;
    plan->kernels->column_norm_forward(rows, n, targets, stride, mean, mean + n, NULL, NULL, targets, stride);
}

void FNN_TYPED(loss_rows)(const plan_type *plan, const comparison *with, ptrdiff_t first, int nth, real *set,
                          ptrdiff_t row, ptrdiff_t rows, int with_gradient) {
    const int32_t output = FNN_TYPED(buffer_before_loss)(plan->network, with->objective);
    const ptrdiff_t at = nth * plan->chunk_rows + row, stride = plan->targets_stride;
    const int labels = with->y->labels != NULL;
    real *targets = plan->targets + nth * plan->targets_size + row * stride;
    for (ptrdiff_t i = 0; i < rows; i++) {
        const ptrdiff_t from = with->order ? (ptrdiff_t)with->order[first + row + i] : first + row + i;
        plan->row_weight[at + i] = with->weights ? with->weights[from] : 1;
        if (labels) plan->row_label[at + i] = with->y->labels[from];
    }
    if (!labels)
        fnn_read_rows(&with->y->values, with->order, first + row, rows, FNN_REAL_TYPE, targets, stride);
    if (!labels && rescales(plan->network)) scale_targets(plan, rows, targets);
    const FNN_TYPED(fnn_loss_batch) batch = {
        .rows = rows,
        .n = plan->network->widths[output],
        .z = set + plan->value_at[output] + row * plan->stride[output],
        .ldz = plan->stride[output],
        .labels = labels ? plan->row_label + at : NULL,
        .values = targets,
        .ldvalues = stride,
        .weights = with->weights ? plan->row_weight + at : NULL,
        .row_loss = plan->row_loss + at,
        .dz = with_gradient ? set + plan->grad_at[output] + row * plan->stride[output] : NULL,
        .lddz = plan->stride[output],
        .parameters = with->objective->parameters,
        .n_parameters = with->objective->n_parameters,
    };
    plan->kernels->loss[with->objective->loss](&batch);
}

void FNN_TYPED(sum_losses)(const plan_type *plan, int nth, ptrdiff_t row, ptrdiff_t rows, double *loss,
                           double *weight) {
    const ptrdiff_t at = nth * plan->chunk_rows + row;
    for (ptrdiff_t i = at; i < at + rows; i++) {
        if (plan->row_weight[i] == 0) continue; /* a row left out may have any loss */
        *loss += plan->row_weight[i] * plan->row_loss[i];
        *weight += plan->row_weight[i];
    }
}
