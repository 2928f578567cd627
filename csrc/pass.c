/* pass.c: forward, backward and update as separate calls, for the caller's own training loop.
 *
 * Compiled once per real type. A pass keeps the activations of the whole batch in its workspace; the gradient is cut
 * into the same parts of the batch as in epoch.c, so that both loops give the same bits.
 */
/* SPDX-License-Identifier: BSD-3-Clause */
#include "data.h"
#include "float_state.h"
#include "network.h"
#include "optimizer.h"

typedef FNN_TYPED(plan) plan_type;
typedef FNN_TYPED(walk) walk_type;

typedef struct {
    plan_type plan;
    const fnn_draw *draw;
    const fnn_array *x;
    ptrdiff_t rows;
    real *outputs; /* forward: out; backward: dx, or NULL */
    const real *doutputs;
    real *grads;
    int accumulate;
} pass_call;

/* Some rows of the batch, through all operations. */
static walk_type walk_of(const pass_call *call, ptrdiff_t begin, ptrdiff_t end) {
    return (walk_type){.last = call->plan.network->n_ops,
                       .set = call->plan.sets,
                       .row = begin,
                       .rows = end - begin,
                       .position = begin,
                       .batch = call->rows,
                       .draw = call->draw->draw,
                       .training = 1};
}

static void forward_share(void *context, fnn_team *team, int thread, int threads) {
    const pass_call *call = context;
    const plan_type *plan = &call->plan;
    const fnn_network *network = plan->network;
    const walk_type walk = walk_of(call, call->rows * thread / threads, call->rows * (thread + 1) / threads);
    const ptrdiff_t n = network->widths[network->output];
    FNN_TYPED(pack_share)(plan, thread, threads);
    fnn_team_barrier(team, thread);
    FNN_TYPED(gather)(plan, plan->sets, walk.row, walk.rows, call->x, NULL, 0);
    FNN_TYPED(forward_batch)(plan, &walk, team, thread, threads);
    plan->kernels->copy(walk.rows, n, FNN_TYPED(value)(plan, &walk, network->output), plan->stride[network->output], 0,
                        call->outputs + walk.row * n, n);
    if (thread == 0) FNN_TYPED(update_running)(plan, call->rows);
}

void FNN_TYPED(forward)(const fnn_network *network, void *params, const fnn_draw *draw, const fnn_array *x, void *workspace,
                        void *outputs, int threads) {
    pass_call call = {.draw = draw, .x = x, .rows = x->rows, .outputs = outputs};
    FNN_TYPED(plan_lay_out)(&call.plan, network, FNN_USE_PASS, x->rows, threads, workspace);
    FNN_TYPED(bind)(&call.plan, params, draw->seed);
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
        const walk_type all = walk_of(call, 0, call->rows);
        FNN_TYPED(segment_gradient)(plan, &all, segment, first, last, 0, call->grads);
        return;
    }
    if (!call->accumulate) {
        const walk_type part = walk_of(call, 0, end_of_first);
        FNN_TYPED(segment_gradient)(plan, &part, segment, first, last, 0, call->grads);
    }
    for (ptrdiff_t part = call->accumulate ? 0 : 1; part < plan->slots; part++) {
        const ptrdiff_t row = call->rows * part / plan->slots, end = call->rows * (part + 1) / plan->slots;
        const walk_type walk = walk_of(call, row, end);
        FNN_TYPED(segment_gradient)(plan, &walk, segment, first, last, 0, plan->slot_grads);
        plan->kernels->add(n, call->grads + begin, plan->slot_grads + begin);
    }
}

static void backward_share(void *context, fnn_team *team, int thread, int threads) {
    const pass_call *call = context;
    const plan_type *plan = &call->plan;
    const fnn_network *network = plan->network;
    const FNN_TYPED(fnn_kernels) *kernels = plan->kernels;
    const ptrdiff_t k = network->widths[0], n = network->widths[network->output];
    walk_type walk = walk_of(call, call->rows * thread / threads, call->rows * (thread + 1) / threads);
    walk.want_dx = call->outputs != NULL;
    kernels->copy(walk.rows, n, call->doutputs + walk.row * n, n, 0, FNN_TYPED(gradient)(plan, &walk, network->output),
                  plan->stride[network->output]);
    real *dx = FNN_TYPED(gradient)(plan, &walk, 0);
    if (walk.want_dx) /* columns that nothing reads have none */
        for (ptrdiff_t i = 0; i < walk.rows; i++)
            for (ptrdiff_t j = 0; j < k; j++) dx[i * plan->stride[0] + j] = 0;
    FNN_TYPED(backward_batch)(plan, &walk, team, thread, threads);
    if (walk.want_dx) kernels->copy(walk.rows, k, dx, plan->stride[0], 0, call->outputs + walk.row * k, k);
    fnn_team_barrier(team, thread);
    for (int32_t i = 0; i < network->n_segments; i++) {
        ptrdiff_t first, last;
        FNN_TYPED(share_of_segment)(plan, i, thread, threads, &first, &last);
        if (first < last) segment_share(call, i, first, last);
    }
}

void FNN_TYPED(backward)(const fnn_network *network, const void *params, const fnn_draw *draw, ptrdiff_t rows,
                         const void *doutputs, void *workspace, void *grads, int accumulate, void *dx, int threads) {
    pass_call call = {.draw = draw,
                      .rows = rows,
                      .outputs = dx,
                      .doutputs = doutputs,
                      .grads = grads,
                      .accumulate = accumulate};
    FNN_TYPED(plan_lay_out)(&call.plan, network, FNN_USE_PASS, rows, threads, workspace);
    FNN_TYPED(bind)(&call.plan, params, draw->seed);
    fnn_team_run(threads, backward_share, &call);
}

typedef struct {
    const fnn_network *network;
    update_step step;
    double clip_norm;
    real *params;
    const real *grads;
    int bad;
} update_call;

static void update_all(void *context, fnn_team *team, int thread, int threads) {
    update_call *call = context;
    const FNN_TYPED(fnn_kernels) *kernels = FNN_TYPED(fnn_kernels_in_use)();
    (void)team, (void)thread, (void)threads;
    FNN_TYPED(prepare_update)(&call->step);
    if (call->clip_norm > 0)
        call->step.factor = FNN_TYPED(clipping_factor_of)(call->network, kernels, &call->step, call->clip_norm,
                                                          call->params, call->grads);
    for (int32_t i = 0; i < call->network->n_segments; i++)
        call->bad |= FNN_TYPED(update_segment)(call->network, kernels, &call->step, i, 0,
                                               call->network->segments[i].rows, call->params, call->grads);
}

int FNN_TYPED(update)(const fnn_network *network, fnn_optimizer *optimizer, double learning_rate, double scale,
                      double clip_norm, double clip_value, void *params, const void *grads) {
    update_call call = {
        .network = network,
        .step = {FNN_TYPED(optimizer_after_update)(optimizer), learning_rate, scale, 1, clip_value, {0}},
        .clip_norm = clip_norm,
        .params = params,
        .grads = grads,
    };
    fnn_team_run(1, update_all, &call);
    *optimizer = call.step.optimizer;
    return call.bad ? FNN_BAD_UPDATE : FNN_FINISHED;
}
