/* optimizer.c: see optimizer.h. Compiled once per real type.
 *
 * The rules are listed in kernels/optimizers.h; here a segment's learning-rate factor, penalties and frozen flag meet
 * the constants of the step.
 */
/* SPDX-License-Identifier: BSD-3-Clause */
#include "optimizer.h"

#include "kernels/optimizers.h"

typedef void (*prepare_function)(const fnn_rule_step *step, double *constants);
#define PREPARE_ENTRY(name, states, ...) name##_prepare,
static const prepare_function prepare[] = {FNN_OPTIMIZERS(PREPARE_ENTRY)};

fnn_optimizer FNN_TYPED(optimizer_after_update)(const fnn_optimizer *optimizer) {
    fnn_optimizer after = *optimizer;
    after.step++;
    if (after.average) after.averaged++;
    if (after.kind == FNN_OPTIMIZER_nadam)
        after.product = (optimizer->step == 0 ? 1 : optimizer->product) * nadam_momentum(after.hyper, after.step);
    return after;
}

/* (1 - d) / (1 - d^n): how much of the n-th parameters is in their average. */
static real share_of_average(const fnn_optimizer *optimizer) {
    const double decay = optimizer->average_decay;
    return (real)((1 - decay) / (1 - fnn_power(decay, optimizer->averaged)));
}

/* The average of parameters that stay; they may have been changed by hand, and it may have just begun. */
static void average_frozen(ptrdiff_t n, const real *params, real share, real *average) {
    for (ptrdiff_t i = 0; i < n; i++) average[i] += share * (params[i] - average[i]);
}

int FNN_TYPED(update_segment)(const fnn_network *network, const FNN_TYPED(fnn_kernels) * kernels,
                              const update_step *step, int32_t segment, ptrdiff_t first, ptrdiff_t last, real *params,
                              const real *grads) {
    const fnn_segment *s = &network->segments[segment];
    const fnn_optimizer *optimizer = &step->optimizer;
    const ptrdiff_t begin = s->offset + first * s->columns, n = (last - first) * s->columns;
    if (n <= 0) return 0;
    real *average = optimizer->average ? (real *)optimizer->average + begin : NULL;
    const real share = average ? share_of_average(optimizer) : 0;
    if (s->frozen) {
        if (average) average_frozen(n, params + begin, share, average);
        return 0;
    }
    const fnn_rule_step rule = {step->learning_rate * s->learning_rate_factor, optimizer->hyper, optimizer->step,
                                optimizer->product};
    double constants[8] = {0};
    prepare[optimizer->kind](&rule, constants);
    FNN_TYPED(fnn_update_batch) batch = {
        .n = n,
        .params = params + begin,
        .grads = grads + begin,
        .average = average,
        .scale = (real)step->scale,
        .l1 = (real)s->l1,
        .l2 = (real)s->l2,
        .factor = (real)step->factor,
        .bound = (real)step->bound,
        .decay = s->decays ? (real)(rule.learning_rate * optimizer->weight_decay) : 0,
        .share = share,
    };
    for (int i = 0; i < 8; i++) batch.constants[i] = (real)constants[i];
    for (int i = 0; i < fnn_optimizer_states(optimizer->kind); i++)
        batch.state[i] = (real *)optimizer->state + i * network->n_params + begin;
    return kernels->update[optimizer->kind](&batch);
}
