/* optimizer.c: see optimizer.h. Compiled once per real type.
 *
 * The rules are listed in kernels/optimizers.h; here a segment's learning-rate factor, penalties and frozen flag meet
 * the constants of the step.
 */
/* SPDX-License-Identifier: BSD-3-Clause */
#include "optimizer.h"

#include <float.h>
#include <string.h>

#include "float_state.h"
#include "kernels/optimizers.h"

typedef FNN_TYPED(plan) plan_type;

double FNN_TYPED(network_penalty)(const fnn_network *network, const void *params);
double FNN_TYPED(gradient_norm)(const fnn_network *network, const void *grads);

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

double FNN_TYPED(penalty_factor)(const update_step *step) { return step->optimizer.penalizes_sums ? step->scale : 1; }

/* (1 - d) / (1 - d^n): how much of the n-th parameters is in their average. */
static real share_of_average(const fnn_optimizer *optimizer) {
    const double decay = optimizer->average_decay;
    return (real)((1 - decay) / (1 - fnn_power(decay, optimizer->averaged)));
}

/* The average of parameters that stay; they may have been changed by hand, and it may have just begun. */
static void average_frozen(ptrdiff_t n, const real *params, real share, real *average) {
    for (ptrdiff_t i = 0; i < n; i++) average[i] += share * (params[i] - average[i]);
}

/* n neighbouring parameters of a segment, from element `begin` of the flat vectors. */
static void prepare_rule(const update_step *step, double learning_rate, double *constants) {
    const fnn_optimizer *optimizer = &step->optimizer;
    const fnn_rule_step rule = {learning_rate, optimizer->hyper, optimizer->step, optimizer->product};
    prepare[optimizer->kind](&rule, constants);
}

void FNN_TYPED(prepare_update)(update_step *step) { prepare_rule(step, step->learning_rate, step->constants); }

static int update_elements(const fnn_network *network, const FNN_TYPED(fnn_kernels) * kernels, const update_step *step,
                           const fnn_segment *s, ptrdiff_t begin, ptrdiff_t n, real *params, const real *grads) {
    const fnn_optimizer *optimizer = &step->optimizer;
    real *average = optimizer->average ? (real *)optimizer->average + begin : NULL;
    const real share = average ? share_of_average(optimizer) : 0;
    if (s->frozen) {
        if (average) average_frozen(n, params + begin, share, average);
        return 0;
    }
    const double learning_rate = step->learning_rate * s->learning_rate_factor;
    const double penalties = FNN_TYPED(penalty_factor)(step);
    double own[8] = {0};
    if (s->learning_rate_factor != 1) prepare_rule(step, learning_rate, own);
    const double *constants = s->learning_rate_factor == 1 ? step->constants : own;
    FNN_TYPED(fnn_update_batch) batch = {
        .n = n,
        .params = params + begin,
        .grads = grads + begin,
        .average = average,
        .scale = (real)step->scale,
        .l1 = (real)(s->l1 * penalties),
        .l2 = (real)(s->l2 * penalties),
        .factor = (real)step->factor,
        .bound = (real)step->bound,
        .decay = s->decays ? (real)(learning_rate * optimizer->weight_decay) : 0,
        .share = share,
    };
    for (int i = 0; i < 8; i++) batch.constants[i] = (real)constants[i];
    for (int i = 0; i < fnn_optimizer_states(optimizer->kind); i++)
        batch.state[i] = (real *)optimizer->state + i * network->n_params + begin;
    return kernels->update[optimizer->kind](&batch);
}

int FNN_TYPED(update_segment)(const fnn_network *network, const FNN_TYPED(fnn_kernels) * kernels,
                              const update_step *step, int32_t segment, ptrdiff_t first, ptrdiff_t last, real *params,
                              const real *grads) {
    const fnn_segment *s = &network->segments[segment];
    if (first >= last) return 0;
    return update_elements(network, kernels, step, s, s->offset + first * s->columns, (last - first) * s->columns,
                           params, grads);
}

/* ---- sums over parameters ------------------------------------------------------------------------------------ */

/* Where the sums of a segment's first block are. */
static double *sums_of(const plan_type *plan, int32_t segment) {
    ptrdiff_t blocks = 0;
    for (int32_t i = 0; i < segment; i++) blocks += fnn_blocks(&plan->network->segments[i]);
    return plan->block_sums + blocks * FNN_BLOCK_SUMS;
}

/* The elements of a block: where in the flat vector the first is, and how many. */
static ptrdiff_t begin_of_block(const fnn_segment *s, ptrdiff_t row) { return s->offset + row * s->columns; }
static ptrdiff_t size_of_block(const fnn_segment *s, ptrdiff_t row) {
    return (s->rows - row < FNN_BLOCK_ROWS ? s->rows - row : FNN_BLOCK_ROWS) * s->columns;
}

int FNN_TYPED(update_and_measure)(const plan_type *plan, const update_step *step, int32_t segment, ptrdiff_t first,
                                  ptrdiff_t last, real *params, const real *grads) {
    enum { PIECE = 512 }; /* of the old parameters, kept while they are replaced */
    real old[PIECE];
    const fnn_segment *s = &plan->network->segments[segment];
    int bad = 0;
    for (ptrdiff_t row = first; row < last; row += FNN_BLOCK_ROWS) {
        double *sums = sums_of(plan, segment) + row / FNN_BLOCK_ROWS * FNN_BLOCK_SUMS;
        const ptrdiff_t begin = begin_of_block(s, row), size = size_of_block(s, row);
        sums[FNN_SUM_UPDATE] = sums[FNN_SUM_WEIGHT] = 0;
        for (ptrdiff_t done = 0; done < size; done += PIECE) {
            const ptrdiff_t at = begin + done, n = size - done < PIECE ? size - done : PIECE;
            memcpy(old, params + at, (size_t)n * sizeof(real));
            bad |= update_elements(plan->network, plan->kernels, step, s, at, n, params, grads);
            sums[FNN_SUM_WEIGHT] += plan->kernels->squares(n, old, old, 1, 0, 0);
            sums[FNN_SUM_UPDATE] += plan->kernels->squares(n, old, params + at, 1, 0, -0.5); /* new - old */
        }
    }
    return bad;
}

void FNN_TYPED(measure_gradient)(const plan_type *plan, const update_step *step, int32_t segment, ptrdiff_t first,
                                 ptrdiff_t last, const real *params, const real *grads) {
    const fnn_segment *s = &plan->network->segments[segment];
    const double penalties = FNN_TYPED(penalty_factor)(step);
    double *sums = sums_of(plan, segment) + FNN_SUM_GRADIENT;
    for (ptrdiff_t row = first; row < last; row += FNN_BLOCK_ROWS) {
        const ptrdiff_t begin = begin_of_block(s, row);
        sums[row / FNN_BLOCK_ROWS * FNN_BLOCK_SUMS] =
            plan->kernels->squares(size_of_block(s, row), params + begin, grads + begin, step->scale, s->l1 * penalties,
                                   s->l2 * penalties);
    }
}

void FNN_TYPED(measure_penalty)(const plan_type *plan, int32_t segment, ptrdiff_t first, ptrdiff_t last,
                                const real *params) {
    const fnn_segment *s = &plan->network->segments[segment];
    double *sums = sums_of(plan, segment) + FNN_SUM_PENALTY;
    for (ptrdiff_t row = first; row < last; row += FNN_BLOCK_ROWS)
        sums[row / FNN_BLOCK_ROWS * FNN_BLOCK_SUMS] =
            plan->kernels->penalty(size_of_block(s, row), params + begin_of_block(s, row), s->l1, s->l2);
}

double FNN_TYPED(sum_blocks)(const plan_type *plan, int32_t segment, int which) {
    const double *sums = sums_of(plan, segment) + which;
    double sum = 0;
    for (ptrdiff_t i = 0; i < fnn_blocks(&plan->network->segments[segment]); i++) sum += sums[i * FNN_BLOCK_SUMS];
    return sum;
}

static int has_penalty(const fnn_segment *segment) { return segment->l1 != 0 || segment->l2 != 0; }

int FNN_TYPED(is_penalized)(const fnn_network *network) {
    int found = 0;
    for (int32_t i = 0; i < network->n_segments; i++) found |= has_penalty(&network->segments[i]);
    return found;
}

double FNN_TYPED(sum_penalties)(const plan_type *plan) {
    double sum = 0;
    for (int32_t i = 0; i < plan->network->n_segments; i++)
        if (has_penalty(&plan->network->segments[i])) sum += FNN_TYPED(sum_blocks)(plan, i, FNN_SUM_PENALTY);
    return sum;
}

static double factor_for(double norm, double clip_norm) {
    if (!(norm <= DBL_MAX)) return NAN;
    return norm > clip_norm ? clip_norm / norm : 1;
}

double FNN_TYPED(clipping_factor)(const plan_type *plan, double clip_norm) {
    double sum = 0;
    for (int32_t i = 0; i < plan->network->n_segments; i++)
        if (!plan->network->segments[i].frozen) sum += FNN_TYPED(sum_blocks)(plan, i, FNN_SUM_GRADIENT);
    return factor_for(sqrt(sum), clip_norm);
}

/* ---- the same outside of training ---------------------------------------------------------------------------- */

/* Blocks in the same order, segment by segment. */
double FNN_TYPED(network_penalty)(const fnn_network *network, const void *params) {
    const FNN_TYPED(fnn_kernels) *kernels = FNN_TYPED(fnn_kernels_in_use)();
    const fnn_float_state state = fnn_float_enter();
    double sum = 0;
    for (int32_t i = 0; i < network->n_segments; i++) {
        const fnn_segment *s = &network->segments[i];
        double of_segment = 0;
        if (!has_penalty(s)) continue;
        for (ptrdiff_t row = 0; row < s->rows; row += FNN_BLOCK_ROWS)
            of_segment += kernels->penalty(size_of_block(s, row), (const real *)params + begin_of_block(s, row), s->l1,
                                           s->l2);
        sum += of_segment;
    }
    fnn_float_leave(state);
    return sum;
}

/* Squares of grads.scale with penalties times a factor (0: without), over what is not frozen. */
static double gradient_squares(const fnn_network *network, const FNN_TYPED(fnn_kernels) * kernels, double scale,
                               double penalties, const real *params, const real *grads) {
    double sum = 0;
    for (int32_t i = 0; i < network->n_segments; i++) {
        const fnn_segment *s = &network->segments[i];
        double of_segment = 0;
        if (s->frozen) continue;
        for (ptrdiff_t row = 0; row < s->rows; row += FNN_BLOCK_ROWS) {
            const real *g = grads + begin_of_block(s, row), *p = params + begin_of_block(s, row);
            of_segment +=
                kernels->squares(size_of_block(s, row), p, g, scale, s->l1 * penalties, s->l2 * penalties);
        }
        sum += of_segment;
    }
    return sum;
}

double FNN_TYPED(clipping_factor_of)(const fnn_network *network, const FNN_TYPED(fnn_kernels) * kernels,
                                     const update_step *step, double clip_norm, const real *params,
                                     const real *grads) {
    const double penalties = FNN_TYPED(penalty_factor)(step);
    return factor_for(sqrt(gradient_squares(network, kernels, step->scale, penalties, params, grads)), clip_norm);
}

double FNN_TYPED(gradient_norm)(const fnn_network *network, const void *grads) {
    const fnn_float_state state = fnn_float_enter();
    const double norm = sqrt(gradient_squares(network, FNN_TYPED(fnn_kernels_in_use)(), 1, 0, grads, grads));
    fnn_float_leave(state);
    return norm;
}
