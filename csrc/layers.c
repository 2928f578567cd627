/* layers.c: layers other than dense ones and activations: which kernel an operation calls, with which numbers.
 *
 * Compiled once per real type. For each kind there is a case in layer_forward(), one in layer_backward() and, if it
 * learns, one in layer_gradient(); the formulas are in kernels/layers.h. To add a layer: a kind in fastnn.h, its cases
 * here, and its check in fastnn/boundary/network.pxi.
 */
/* SPDX-License-Identifier: BSD-3-Clause */
#include "network.h"

typedef FNN_TYPED(plan) plan_type;
typedef FNN_TYPED(walk) walk_type;

/* Blocks of random words that one layer may use of a stream's 2^56. */
#define BLOCKS_OF_A_LAYER ((uint64_t)1 << 44)

static fnn_place place_of(const plan_type *plan, const walk_type *walk, const fnn_op *op, int stream) {
    return (fnn_place){.seed = plan->seed,
                       .draw = walk->draw,
                       .stream = stream,
                       .first_block = (uint64_t)op->layer * BLOCKS_OF_A_LAYER,
                       .row = walk->position};
}

/* How many of 65,536 elements a dropout keeps: at least one, and not all. */
static uint32_t kept(const fnn_op *op) {
    const double keep = (1 - op->parameter) * 65536 + 0.5;
    return keep < 1 ? 1 : keep > 65535 ? 65535 : (uint32_t)keep;
}

/* Row number `which` of what a norm of columns keeps of a batch. */
static real *columns_of(const plan_type *plan, const fnn_op *op, int which) {
    return plan->columns[op - plan->network->ops] + which * plan->network->widths[op->output];
}

/* In training the moments of the batch, else the running ones. */
static const real *mean_of(const plan_type *plan, const walk_type *walk, const fnn_op *op) {
    return walk->training ? columns_of(plan, op, FNN_MEAN) : plan->state + op->state;
}

void FNN_TYPED(layer_forward)(const plan_type *plan, const walk_type *walk, const fnn_op *op) {
    const FNN_TYPED(fnn_kernels) *kernels = plan->kernels;
    const ptrdiff_t rows = walk->rows, n = plan->network->widths[op->output];
    const real *x = FNN_TYPED(value)(plan, walk, op->input);
    real *y = FNN_TYPED(value)(plan, walk, op->output);
    const ptrdiff_t ldx = plan->stride[op->input], ldy = plan->stride[op->output];
    const real *weight = plan->weight[op - plan->network->ops], *bias = plan->bias[op - plan->network->ops];
    fnn_place place;
    switch (op->kind) {
    case FNN_PRELU:
        kernels->prelu_forward(rows, n, x, ldx, weight, y, ldy);
        break;
    case FNN_DROPOUT:
        if (!walk->training) break; /* the output lies where the input does */
        place = place_of(plan, walk, op, FNN_STREAM_DROPOUT);
        kernels->dropout(rows, n, x, ldx, &place, kept(op), y, ldy);
        break;
    case FNN_NOISE:
        if (!walk->training) break;
        place = place_of(plan, walk, op, FNN_STREAM_NOISE);
        kernels->noise(rows, n, x, ldx, &place, (real)op->parameter, y, ldy);
        break;
    case FNN_LAYER_NORM:
    case FNN_RMS_NORM:
        kernels->row_norm_forward(rows, n, x, ldx, op->kind == FNN_LAYER_NORM, (real)op->parameter, weight, bias,
                                  FNN_TYPED(value)(plan, walk, op->other), plan->stride[op->other], y, ldy);
        break;
    case FNN_BATCH_NORM:
        kernels->column_norm_forward(rows, n, x, ldx, mean_of(plan, walk, op), columns_of(plan, op, FNN_SCALE), weight,
                                     bias, y, ldy);
        break;
    case FNN_COPY:
        if (x != y) kernels->copy(rows, op->count, x + op->from, ldx, 0, y + op->to, ldy);
        break;
    case FNN_ADD:
        kernels->sum(rows, n, x, ldx, FNN_TYPED(value)(plan, walk, op->other), plan->stride[op->other], y, ldy);
        break;
    case FNN_EMBEDDING: {
        const fnn_segment *table = &plan->network->segments[op->weight];
        for (ptrdiff_t c = 0; c < op->count; c++)
            kernels->embedding_forward(rows, table->columns, x + op->from + c, ldx, table->rows - 1, weight,
                                       y + c * table->columns, ldy);
        break;
    }
    case FNN_NORMALIZE:
        kernels->column_norm_forward(rows, n, x, ldx, plan->state + op->state, plan->state + op->state + n, NULL, NULL,
                                     y, ldy);
        break;
    default: /* FNN_RESCALE */
        kernels->column_norm_forward(rows, n, x, ldx, NULL, plan->state + op->state, NULL, plan->state + op->state + n,
                                     y, ldy);
    }
}

void FNN_TYPED(layer_backward)(const plan_type *plan, const walk_type *walk, const fnn_op *op) {
    const FNN_TYPED(fnn_kernels) *kernels = plan->kernels;
    const ptrdiff_t rows = walk->rows, n = plan->network->widths[op->output];
    const real *x = FNN_TYPED(value)(plan, walk, op->input);
    const real *dy = FNN_TYPED(gradient)(plan, walk, op->output);
    real *dx = FNN_TYPED(gradient)(plan, walk, op->input);
    const ptrdiff_t ldx = plan->stride[op->input], ldy = plan->stride[op->output];
    const real *weight = plan->weight[op - plan->network->ops];
    fnn_place place;
    if (op->kind == FNN_ADD) { /* either summand may be the network's input */
        if (FNN_TYPED(wants)(plan, walk, op->input)) kernels->copy(rows, n, dy, ldy, 0, dx, ldx);
        real *dother = FNN_TYPED(gradient)(plan, walk, op->other);
        if (FNN_TYPED(wants)(plan, walk, op->other) && dother != dy)
            kernels->copy(rows, n, dy, ldy, 0, dother, plan->stride[op->other]);
        return;
    }
    if (!FNN_TYPED(wants)(plan, walk, op->input)) return;
    switch (op->kind) {
    case FNN_PRELU:
        kernels->prelu_backward(rows, n, x, ldx, weight, dy, ldy, dx, ldx);
        break;
    case FNN_DROPOUT: /* the mask is drawn once more: that is cheaper than keeping it */
        place = place_of(plan, walk, op, FNN_STREAM_DROPOUT);
        kernels->dropout(rows, n, dy, ldy, &place, kept(op), dx, ldx);
        break;
    case FNN_NOISE:
        kernels->copy(rows, n, dy, ldy, 0, dx, ldx);
        break;
    case FNN_LAYER_NORM:
    case FNN_RMS_NORM:
        kernels->row_norm_backward(rows, n, x, ldx, op->kind == FNN_LAYER_NORM, weight,
                                   FNN_TYPED(value)(plan, walk, op->other), plan->stride[op->other], dy, ldy, dx, ldx);
        break;
    case FNN_BATCH_NORM:
        kernels->column_norm_backward(rows, n, x, ldx, columns_of(plan, op, FNN_MEAN), columns_of(plan, op, FNN_SCALE),
                                      weight, columns_of(plan, op, FNN_PLAIN), columns_of(plan, op, FNN_ALONG),
                                      walk->batch, dy, ldy, dx, ldx);
        break;
    case FNN_COPY:
        kernels->copy(rows, op->count, dy + op->to, ldy, op->adds, dx + op->from, ldx);
        break;
    case FNN_EMBEDDING: /* a code has no derivative */
        for (ptrdiff_t i = 0; i < rows; i++)
            for (ptrdiff_t c = 0; c < op->count; c++) dx[i * ldx + op->from + c] = 0;
        break;
    default: /* FNN_NORMALIZE, FNN_RESCALE */
        kernels->column_norm_forward(rows, n, dy, ldy, NULL,
                                     plan->state + op->state + (op->kind == FNN_NORMALIZE ? n : 0), NULL, NULL, dx,
                                     ldx);
    }
}

/* Column after column of codes, into the table they share. */
static void embedding_gradient(const plan_type *plan, const fnn_op *op, ptrdiff_t rows, const real *x, ptrdiff_t ldx,
                               ptrdiff_t first, ptrdiff_t last, const real *dy, ptrdiff_t lddy, int accumulate,
                               real *gradient) {
    const fnn_segment *table = &plan->network->segments[op->weight];
    for (ptrdiff_t c = 0; c < op->count; c++)
        plan->kernels->embedding_gradient(rows, table->columns, x + op->from + c, ldx, table->rows - 1, first, last,
                                          dy + c * table->columns, lddy, accumulate || c > 0, gradient);
}

void FNN_TYPED(layer_gradient)(const plan_type *plan, const walk_type *walk, const fnn_op *op, int is_bias,
                               ptrdiff_t first, ptrdiff_t last, int accumulate, real *gradient) {
    const FNN_TYPED(fnn_kernels) *kernels = plan->kernels;
    const ptrdiff_t rows = walk->rows, n = plan->network->widths[op->output];
    const real *x = FNN_TYPED(value)(plan, walk, op->input);
    const real *dy = FNN_TYPED(gradient)(plan, walk, op->output);
    const ptrdiff_t ldx = plan->stride[op->input], ldy = plan->stride[op->output];
    if (op->kind == FNN_BATCH_NORM) /* the backward walk needed these sums as well */
        kernels->copy(1, n, columns_of(plan, op, is_bias ? FNN_PLAIN : FNN_ALONG), n, accumulate, gradient, n);
    else if (is_bias)
        kernels->column_sums(rows, n, dy, ldy, accumulate, gradient);
    else if (op->kind == FNN_PRELU)
        kernels->prelu_slope_gradient(rows, n, x, ldx, dy, ldy, accumulate, gradient);
    else if (op->kind == FNN_EMBEDDING)
        embedding_gradient(plan, op, rows, x, ldx, first, last, dy, ldy, accumulate, gradient);
    else
        kernels->row_norm_weight_gradient(rows, n, x, ldx, FNN_TYPED(value)(plan, walk, op->other),
                                          plan->stride[op->other], dy, ldy, accumulate, gradient);
}
