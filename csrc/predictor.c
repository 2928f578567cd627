/* predictor.c: a frozen network for one row at a time.
 *
 * Compiled once per real type. The memory holds a copy of the description, dense weights in panels, all other numbers
 * as they are, and the plan of a tile; nothing in it is written after fnn_predictor_build(), so any number of threads
 * may share it. One row goes from step to step through a scratch small enough for the caller's stack; in a network with
 * other layers than dense ones and activations it is walked as a tile of one row.
 */
/* SPDX-License-Identifier: BSD-3-Clause */
#include "predictor.h"

#include <math.h>
#include <string.h>

#include "float_state.h"
#include "network.h"

typedef FNN_TYPED(plan) plan_type;

#define CALLERS_X (-1)
#define CALLERS_Y (-2)

/* One operation, with everything it needs to run on one row. */
typedef struct {
    ptrdiff_t k, n, panel_stride;
    const real *weight, *bias;
    FNN_TYPED(fnn_map) activation; /* NULL: a dense layer */
    real parameter;                /* of the activation */
    ptrdiff_t from, to;            /* places in the scratch, or CALLERS_X, CALLERS_Y */
} row_step;

typedef struct {
    struct fnn_predictor head;
    fnn_network network; /* points into this memory */
    plan_type plan;
    row_step *steps; /* NULL: walk */
    ptrdiff_t *row_at; /* by buffer: where its values lie in the scratch of one row */
    size_t row_scratch_bytes;
    ptrdiff_t work;
} predictor_type;

#define ALIGNMENT 64
static size_t aligned(size_t bytes) { return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT; }

/* Bytes of a copy of the description, and the copy itself when there is memory for it. */
static size_t copy_network(const fnn_network *network, char *memory, fnn_network *copy) {
    const size_t ops = (size_t)network->n_ops * sizeof *network->ops;
    const size_t widths = (size_t)network->n_buffers * sizeof *network->widths;
    const size_t segments = (size_t)network->n_segments * sizeof *network->segments;
    if (memory) {
        *copy = *network;
        copy->ops = memcpy(memory, network->ops, ops);
        copy->widths = memcpy(memory + aligned(ops), network->widths, widths);
        copy->segments = memcpy(memory + aligned(ops) + aligned(widths), network->segments, segments);
    }
    return aligned(ops) + aligned(widths) + aligned(segments);
}

/* Whether a row can go from step to step: every operation is a dense layer or an activation. */
static int is_plain(const fnn_network *network) {
    for (int32_t i = 0; i < network->n_ops; i++)
        if (network->ops[i].kind > FNN_ACTIVATION) return 0;
    return 1;
}

static size_t segment_bytes(const fnn_network *network, int32_t segment) {
    return aligned((size_t)network->segments[segment].rows * (size_t)network->segments[segment].columns * sizeof(real));
}

/* Bytes of all numbers that are not packed: biases, the weights of other layers, the state. */
static size_t numbers_size(const fnn_network *network) {
    size_t bytes = aligned((size_t)network->n_state * sizeof(real));
    for (int32_t i = 0; i < network->n_ops; i++) {
        const fnn_op *op = &network->ops[i];
        if (op->weight >= 0 && op->kind != FNN_DENSE) bytes += segment_bytes(network, op->weight);
        if (op->bias >= 0) bytes += segment_bytes(network, op->bias);
    }
    return bytes;
}

static real *copy_segment(const fnn_network *network, int32_t segment, const real *params, char **at) {
    const fnn_segment *s = &network->segments[segment];
    real *copy = memcpy(*at, params + s->offset, (size_t)s->rows * (size_t)s->columns * sizeof(real));
    *at += segment_bytes(network, segment);
    return copy;
}

static void copy_numbers(predictor_type *p, const real *params, char *at) {
    const fnn_network *network = &p->network;
    for (int32_t i = 0; i < network->n_ops; i++) {
        const fnn_op *op = &network->ops[i];
        if (op->weight >= 0 && op->kind != FNN_DENSE) p->plan.weight[i] = copy_segment(network, op->weight, params, &at);
        if (op->bias >= 0) p->plan.bias[i] = copy_segment(network, op->bias, params, &at);
    }
    if (network->n_state) p->plan.state = memcpy(at, params + network->n_params, (size_t)network->n_state * sizeof(real));
    FNN_TYPED(use_running)(&p->plan);
}

size_t FNN_TYPED(predictor_size)(const fnn_network *network) {
    plan_type plan;
    const size_t planned = FNN_TYPED(plan_lay_out)(&plan, network, FNN_USE_PREDICTOR, FNN_TILE_ROWS, 1, NULL);
    if (planned == 0) return 0;
    return aligned(sizeof(predictor_type)) + copy_network(network, NULL, NULL) + numbers_size(network) +
           aligned((size_t)network->n_ops * sizeof(row_step)) +
           aligned((size_t)network->n_buffers * sizeof(ptrdiff_t)) + planned + ALIGNMENT;
}

/* The steps of one row: the values between them lie side by side in the scratch, and the last goes to the caller. */
static void build_steps(predictor_type *p) {
    const fnn_network *network = &p->network;
    ptrdiff_t at = 0;
    ptrdiff_t *place = p->row_at;
    for (int32_t b = 0; b < network->n_buffers; b++) {
        place[b] = b == 0 ? CALLERS_X : b == network->output ? CALLERS_Y : at;
        if (place[b] >= 0) at += p->plan.stride[b];
    }
    p->row_scratch_bytes = (size_t)at * sizeof(real) + ALIGNMENT;
    for (int32_t i = 0; i < network->n_ops; i++) {
        const fnn_op *op = &network->ops[i];
        row_step *step = &p->steps[i];
        memset(step, 0, sizeof *step);
        step->n = network->widths[op->output];
        step->from = place[op->input];
        step->to = place[op->output];
        if (op->kind == FNN_DENSE) {
            step->k = network->segments[op->weight].rows;
            step->weight = p->plan.packed[i];
            step->bias = p->plan.bias[i];
            step->panel_stride = step->k * p->plan.kernels->panel_columns;
        } else {
            step->activation = p->plan.kernels->activation_forward[op->activation];
            step->parameter = (real)op->parameter;
        }
    }
}

/* The values of a tile of one row, in the order of the buffers; what lies where another one does stays there. */
static void place_row(predictor_type *p) {
    ptrdiff_t at = 0;
    for (int32_t b = 0; b < p->network.n_buffers; b++) {
        p->row_at[b] = at;
        at += p->plan.stride[b];
        for (int32_t before = 0; before < b; before++)
            if (p->plan.value_at[before] == p->plan.value_at[b]) p->row_at[b] = p->row_at[before];
    }
    p->row_scratch_bytes = (size_t)at * sizeof(real) + ALIGNMENT;
}

void *FNN_TYPED(predictor_build)(const fnn_network *network, const void *params, void *memory) {
    char *at = memory;
    predictor_type *p = memory;
    memset(p, 0, sizeof *p);
    p->head.real_type = FNN_REAL_TYPE;
    at += aligned(sizeof *p);
    at += copy_network(network, at, &p->network);
    row_step *steps = (row_step *)at;
    at += aligned((size_t)network->n_ops * sizeof(row_step));
    p->row_at = (ptrdiff_t *)at;
    at += aligned((size_t)network->n_buffers * sizeof(ptrdiff_t));
    char *numbers = at;
    at += numbers_size(network);
    FNN_TYPED(plan_lay_out)(&p->plan, &p->network, FNN_USE_PREDICTOR, FNN_TILE_ROWS, 1, at);
    for (int32_t i = 0; i < p->network.n_segments; i++)
        FNN_TYPED(pack_segment)(&p->plan, params, i, 0, p->network.segments[i].rows);
    copy_numbers(p, params, numbers);
    p->work = (ptrdiff_t)FNN_TYPED(row_work)(&p->network);
    if (is_plain(&p->network)) {
        p->steps = steps;
        build_steps(p);
    } else {
        place_row(p);
    }
    return p;
}

size_t FNN_TYPED(predictor_scratch)(const void *predictor, ptrdiff_t rows) {
    const predictor_type *p = predictor;
    return rows == 1 ? p->row_scratch_bytes : (size_t)p->plan.set_size * sizeof(real) + ALIGNMENT;
}

ptrdiff_t FNN_TYPED(predictor_work)(const void *predictor) { return ((const predictor_type *)predictor)->work; }

/* A tile of one row, with its own places. */
static void walk_row(const predictor_type *p, const real *x, real *y, real *scratch) {
    const fnn_network *network = &p->network;
    FNN_TYPED(plan) plan = p->plan;
    plan.value_at = p->row_at;
    memcpy(scratch + plan.value_at[0], x, (size_t)network->widths[0] * sizeof(real));
    FNN_TYPED(forward_rows)(&plan, &(FNN_TYPED(walk)){.last = network->n_ops, .set = scratch, .rows = 1});
    memcpy(y, scratch + plan.value_at[network->output], (size_t)network->widths[network->output] * sizeof(real));
}

static void one_row(const predictor_type *p, const real *x, real *y, real *scratch) {
    if (!p->steps) {
        walk_row(p, x, y, scratch);
        return;
    }
    const FNN_TYPED(fnn_kernels) *kernels = p->plan.kernels;
    const row_step *end = p->steps + p->network.n_ops;
    for (const row_step *step = p->steps; step < end; step++) {
        real *to = step->to == CALLERS_Y ? y : scratch + step->to;
        const real *from = step->from == CALLERS_X ? x : step->from == CALLERS_Y ? y : scratch + step->from;
        if (step->activation)
            step->activation(1, step->n, from, step->n, to, step->n, step->parameter);
        else if (step->n <= FNN_THIN)
            kernels->matmul_thin(1, step->n, step->k, from, step->k, step->weight,
                                 fnn_padded_chains(step->k), step->bias, to, step->n);
        else
            kernels->matmul_row(step->n, step->k, from, step->weight, step->panel_stride, step->bias, to);
    }
}

void FNN_TYPED(predictor_row)(const void *predictor, const void *x, void *y, void *scratch) {
    const fnn_float_state state = fnn_float_enter();
    one_row(predictor, x, y, scratch);
    fnn_float_leave(state);
}

ptrdiff_t FNN_TYPED(predictor_argmax)(const void *predictor, const void *x, void *scratch) {
    const predictor_type *p = predictor;
    const ptrdiff_t n = p->network.widths[p->network.output];
    real *y = (real *)((char *)scratch + p->row_scratch_bytes);
    FNN_TYPED(predictor_row)(predictor, x, y, scratch);
    ptrdiff_t best = 0;
    for (ptrdiff_t j = 0; j < n; j++) {
        if (isnan(y[j])) return j;
        if (y[j] > y[best]) best = j;
    }
    return best;
}

static void all_rows(const predictor_type *p, ptrdiff_t rows, const real *x, real *y, real *set) {
    const fnn_network *network = &p->network;
    const ptrdiff_t k = network->widths[0], n = network->widths[network->output];
    const ptrdiff_t ldx = p->plan.stride[0], ldy = p->plan.stride[network->output];
    for (ptrdiff_t first = 0; first < rows; first += p->plan.chunk_rows) {
        const ptrdiff_t left = rows - first, some = left < p->plan.chunk_rows ? left : p->plan.chunk_rows;
        real *in = set + p->plan.value_at[0], *out = set + p->plan.value_at[network->output];
        for (ptrdiff_t i = 0; i < some; i++) memcpy(in + i * ldx, x + (first + i) * k, (size_t)k * sizeof(real));
        FNN_TYPED(forward_rows)(&p->plan, &(FNN_TYPED(walk)){.last = network->n_ops, .set = set, .rows = some});
        for (ptrdiff_t i = 0; i < some; i++) memcpy(y + (first + i) * n, out + i * ldy, (size_t)n * sizeof(real));
    }
}

void FNN_TYPED(predictor_rows)(const void *predictor, ptrdiff_t rows, const void *x, void *y, void *scratch) {
    const fnn_float_state state = fnn_float_enter();
    if (rows == 1) /* the scratch of one row is smaller than a tile's */
        one_row(predictor, x, y, scratch);
    else
        all_rows(predictor, rows, x, y, scratch);
    fnn_float_leave(state);
}
