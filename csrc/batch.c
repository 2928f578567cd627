/* batch.c: walks over whole batches, stopping where an operation needs all rows at once.
 *
 * Compiled once per real type. A norm of columns cuts the list of operations: up to it every thread carries its rows;
 * then all wait, each takes some columns over all rows, and all wait again. Sums go down a column in the order of the
 * rows, so they do not depend on who takes it.
 */
/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>

#include "network.h"

typedef FNN_TYPED(plan) plan_type;
typedef FNN_TYPED(walk) walk_type;

static real *columns_of(const plan_type *plan, int32_t op, int which) {
    return plan->columns[op] + which * plan->network->widths[plan->network->ops[op].output];
}

/* The columns [*first, *last) of n that a thread takes: whole cache lines. */
static void share_of_columns(ptrdiff_t n, int thread, int threads, ptrdiff_t *first, ptrdiff_t *last) {
    const ptrdiff_t lines = (n + 15) / 16;
    *first = lines * thread / threads * 16;
    *last = lines * (thread + 1) / threads * 16;
    if (*last > n) *last = n;
}

/* scale = 1 / sqrt(variance + epsilon) of columns [first, last). */
static void find_scale(const plan_type *plan, int32_t op, const real *variance, ptrdiff_t first, ptrdiff_t last) {
    real *scale = columns_of(plan, op, FNN_SCALE);
    for (ptrdiff_t j = first; j < last; j++)
        scale[j] = (real)(1 / sqrt((double)variance[j] + plan->network->ops[op].parameter));
}

/* Moments of this thread's columns over the whole batch. */
static void measure_columns(const plan_type *plan, const walk_type *walk, int32_t i, int thread, int threads) {
    const fnn_op *op = &plan->network->ops[i];
    const real *x = walk->set + plan->value_at[op->input];
    ptrdiff_t first, last;
    share_of_columns(plan->network->widths[op->output], thread, threads, &first, &last);
    if (first >= last) return;
    real *variance = columns_of(plan, i, FNN_VARIANCE);
    plan->kernels->column_moments(walk->batch, last - first, x + first, plan->stride[op->input],
                                  columns_of(plan, i, FNN_MEAN) + first, variance + first);
    find_scale(plan, i, variance, first, last);
}

/* Sums of the gradient over this thread's columns. */
static void sum_columns(const plan_type *plan, const walk_type *walk, int32_t i, int thread, int threads) {
    const fnn_op *op = &plan->network->ops[i];
    ptrdiff_t first, last;
    share_of_columns(plan->network->widths[op->output], thread, threads, &first, &last);
    if (first >= last) return;
    plan->kernels->column_norm_sums(walk->batch, last - first, walk->set + plan->value_at[op->input] + first,
                                    plan->stride[op->input], columns_of(plan, i, FNN_MEAN) + first,
                                    columns_of(plan, i, FNN_SCALE) + first,
                                    walk->set + plan->grad_at[op->output] + first, plan->stride[op->output],
                                    columns_of(plan, i, FNN_PLAIN) + first, columns_of(plan, i, FNN_ALONG) + first);
}

void FNN_TYPED(forward_batch)(const plan_type *plan, const walk_type *walk, fnn_team *team, int thread, int threads) {
    walk_type part = *walk;
    for (int32_t i = walk->first; i < walk->last; i++) {
        if (!fnn_is_batch_norm(&plan->network->ops[i])) continue;
        part.last = i;
        FNN_TYPED(forward_rows)(plan, &part);
        fnn_team_barrier(team, thread);
        measure_columns(plan, walk, i, thread, threads);
        fnn_team_barrier(team, thread);
        part.first = i;
    }
    part.last = walk->last;
    FNN_TYPED(forward_rows)(plan, &part);
}

void FNN_TYPED(backward_batch)(const plan_type *plan, const walk_type *walk, fnn_team *team, int thread, int threads) {
    walk_type part = *walk;
    for (int32_t i = walk->last - 1; i >= walk->first; i--) {
        if (!fnn_is_batch_norm(&plan->network->ops[i])) continue;
        part.first = i + 1;
        FNN_TYPED(backward_rows)(plan, &part);
        fnn_team_barrier(team, thread);
        sum_columns(plan, walk, i, thread, threads);
        fnn_team_barrier(team, thread);
        part.last = i + 1;
    }
    part.first = walk->first;
    FNN_TYPED(backward_rows)(plan, &part);
}

void FNN_TYPED(update_running)(const plan_type *plan, ptrdiff_t batch) {
    if (batch < 1) return; /* no rows have no moments */
    for (int32_t i = 0; i < plan->network->n_ops; i++) {
        const fnn_op *op = &plan->network->ops[i];
        if (!fnn_is_batch_norm(op)) continue;
        const ptrdiff_t n = plan->network->widths[op->output];
        const real keep = (real)op->momentum, take = (real)(1 - op->momentum);
        const real correction = batch > 1 ? (real)((double)batch / (double)(batch - 1)) : 1;
        const real *mean = columns_of(plan, i, FNN_MEAN), *variance = columns_of(plan, i, FNN_VARIANCE);
        real *running_mean = plan->state + op->state, *running_variance = running_mean + n;
        for (ptrdiff_t j = 0; j < n; j++) {
            running_mean[j] = keep * running_mean[j] + take * mean[j];
            running_variance[j] = keep * running_variance[j] + take * (correction * variance[j]);
        }
    }
}

void FNN_TYPED(use_running)(const plan_type *plan) {
    for (int32_t i = 0; i < plan->network->n_ops; i++) {
        const fnn_op *op = &plan->network->ops[i];
        const ptrdiff_t n = plan->network->widths[op->output];
        if (fnn_is_batch_norm(op)) find_scale(plan, i, plan->state + op->state + n, 0, n);
    }
}
