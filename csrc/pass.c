/* pass.c: forward, backward and update as separate calls, for the caller's own training loop.
 *
 * Compiled once per real type. A pass keeps the activations of the whole batch in its workspace; the gradient is cut
 * into the same parts of the batch as in epoch.c, so that both loops give the same bits.
 */
/* SPDX-License-Identifier: BSD-3-Clause */
#include "data.h"
#include "float_state.h"
#include "optimizer.h"
#include "parallel.h"

typedef FNN_TYPED(plan) plan_type;

typedef struct {
    plan_type plan;
    const real *params;
    const fnn_array *x;
    ptrdiff_t rows;
    real *outputs; /* forward: out; backward: dx, or NULL */
    const real *doutputs;
    real *grads;
    int accumulate;
} pass_call;

/* rows of a working matrix to or from a dense one */
static void copy_rows(ptrdiff_t rows, ptrdiff_t n, const real *from, ptrdiff_t ldfrom, real *to, ptrdiff_t ldto) {
    for (ptrdiff_t i = 0; i < rows; i++)
        for (ptrdiff_t j = 0; j < n; j++) to[i * ldto + j] = from[i * ldfrom + j];
}

static void forward_share(void *context, fnn_team *team, int thread, int threads) {
    const pass_call *call = context;
    const plan_type *plan = &call->plan;
    const fnn_network *network = plan->network;
    const ptrdiff_t begin = call->rows * thread / threads, rows = call->rows * (thread + 1) / threads - begin;
    const ptrdiff_t n = network->widths[network->output], stride = plan->stride[network->output];
    FNN_TYPED(pack_share)(plan, thread, threads);
    fnn_team_barrier(team, thread);
    FNN_TYPED(gather)(plan, plan->sets, begin, rows, call->x, NULL, 0);
    FNN_TYPED(forward_rows)(plan, network->n_ops, plan->sets, begin, rows);
    copy_rows(rows, n, plan->sets + plan->value_at[network->output] + begin * stride, stride,
              call->outputs + begin * n, n);
}

void FNN_TYPED(forward)(const fnn_network *network, const void *params, const fnn_array *x, void *workspace,
                        void *outputs, int threads) {
    pass_call call = {.params = params, .x = x, .rows = x->rows, .outputs = outputs};
    FNN_TYPED(plan_lay_out)(&call.plan, network, FNN_USE_PASS, x->rows, threads, workspace);
    FNN_TYPED(bind_params)(&call.plan, params);
    fnn_team_run(threads, forward_share, &call);
}

/* This thread's rows of one segment's gradient: the parts of the batch one after the other, summed in order. */
static void segment_share(const pass_call *call, int32_t segment, ptrdiff_t first, ptrdiff_t last) {
    const plan_type *plan = &call->plan;
    const fnn_segment *s = &plan->network->segments[segment];
    const ptrdiff_t begin = s->offset + first * s->columns, n = (last - first) * s->columns;
    const ptrdiff_t end_of_first = call->rows / plan->slots;
    /* With one part and nothing to add to, the chain goes straight into the gradient. */
    if (plan->slots == 1 && !call->accumulate) {
        FNN_TYPED(segment_gradient)(plan, segment, first, last, plan->sets, 0, call->rows, 0, call->grads);
        return;
    }
    if (!call->accumulate)
        FNN_TYPED(segment_gradient)(plan, segment, first, last, plan->sets, 0, end_of_first, 0, call->grads);
    for (ptrdiff_t part = call->accumulate ? 0 : 1; part < plan->slots; part++) {
        const ptrdiff_t row = call->rows * part / plan->slots, end = call->rows * (part + 1) / plan->slots;
        FNN_TYPED(segment_gradient)(plan, segment, first, last, plan->sets, row, end - row, 0, plan->slot_grads);
        plan->kernels->add(n, call->grads + begin, plan->slot_grads + begin);
    }
}

static void backward_share(void *context, fnn_team *team, int thread, int threads) {
    const pass_call *call = context;
    const plan_type *plan = &call->plan;
    const fnn_network *network = plan->network;
    const ptrdiff_t begin = call->rows * thread / threads, rows = call->rows * (thread + 1) / threads - begin;
    const ptrdiff_t n = network->widths[network->output], stride = plan->stride[network->output];
    copy_rows(rows, n, call->doutputs + begin * n, n, plan->sets + plan->grad_at[network->output] + begin * stride,
              stride);
    FNN_TYPED(backward_rows)(plan, network->n_ops, call->outputs != NULL, plan->sets, begin, rows);
    if (call->outputs)
        copy_rows(rows, network->widths[0], plan->sets + plan->grad_at[0] + begin * plan->stride[0], plan->stride[0],
                  call->outputs + begin * network->widths[0], network->widths[0]);
    fnn_team_barrier(team, thread);
    for (int32_t i = 0; i < network->n_segments; i++) {
        ptrdiff_t first, last;
        FNN_TYPED(share_of_segment)(plan, i, thread, threads, &first, &last);
        if (first < last) segment_share(call, i, first, last);
    }
}

void FNN_TYPED(backward)(const fnn_network *network, const void *params, ptrdiff_t rows, const void *doutputs,
                         void *workspace, void *grads, int accumulate, void *dx, int threads) {
    pass_call call = {.params = params,
                      .rows = rows,
                      .outputs = dx,
                      .doutputs = doutputs,
                      .grads = grads,
                      .accumulate = accumulate};
    FNN_TYPED(plan_lay_out)(&call.plan, network, FNN_USE_PASS, rows, threads, workspace);
    FNN_TYPED(bind_params)(&call.plan, params);
    fnn_team_run(threads, backward_share, &call);
}

typedef struct {
    const fnn_network *network;
    update_step step;
    real *params;
    const real *grads;
    int bad;
} update_call;

static void update_all(void *context, fnn_team *team, int thread, int threads) {
    update_call *call = context;
    (void)team, (void)thread, (void)threads;
    for (int32_t i = 0; i < call->network->n_segments; i++)
        call->bad |= FNN_TYPED(update_segment)(call->network, FNN_TYPED(fnn_kernels_in_use)(), &call->step, i, 0,
                                               call->network->segments[i].rows, call->params, call->grads);
}

int FNN_TYPED(update)(const fnn_network *network, fnn_optimizer *optimizer, double learning_rate, double scale,
                      void *params, const void *grads) {
    update_call call = {network, {FNN_TYPED(optimizer_after_update)(optimizer), learning_rate, scale, 1, 0}, params,
                        grads, 0};
    fnn_team_run(1, update_all, &call);
    *optimizer = call.step.optimizer;
    return call.bad ? FNN_BAD_UPDATE : FNN_FINISHED;
}
