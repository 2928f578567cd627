/* optimizer.c: see optimizer.h. Compiled once per real type.
 *
 * The rules are listed in kernels/optimizers.h; here a segment's learning-rate factor, penalties and frozen flag meet
 * the constants of the step.
 */
/* SPDX-License-Identifier: BSD-3-Clause */
#include "optimizer.h"

#include "kernels/optimizers.h"

typedef void (*prepare_function)(double learning_rate, const double *hyper, int64_t step, double *constants);
#define PREPARE_ENTRY(name, states, ...) name##_prepare,
static const prepare_function prepare[] = {FNN_OPTIMIZERS(PREPARE_ENTRY)};

int FNN_TYPED(update_segment)(const fnn_network *network, const FNN_TYPED(fnn_kernels) * kernels,
                              const fnn_optimizer *optimizer, int64_t step, double learning_rate, double scale,
                              int32_t segment, ptrdiff_t first, ptrdiff_t last, real *params, const real *grads) {
    const fnn_segment *s = &network->segments[segment];
    if (s->frozen || first >= last) return 0;
    double constants[8] = {0};
    prepare[optimizer->kind](learning_rate * s->learning_rate_factor, optimizer->hyper, step, constants);
    const ptrdiff_t begin = s->offset + first * s->columns;
    FNN_TYPED(fnn_update_batch) batch = {
        .n = (last - first) * s->columns,
        .params = params + begin,
        .grads = grads + begin,
        .scale = (real)scale,
        .l1 = (real)s->l1,
        .l2 = (real)s->l2,
    };
    for (int i = 0; i < 8; i++) batch.constants[i] = (real)constants[i];
    for (int i = 0; i < fnn_optimizer_states(optimizer->kind); i++)
        batch.state[i] = (real *)optimizer->state + i * network->n_params + begin;
    return kernels->update[optimizer->kind](&batch);
}
