/* predictor.c: a frozen network for one row at a time.
 *
 * Compiled once per real type. The memory holds a copy of the description, the weights in panels and the biases, all
 * aligned; nothing in it is written after fnn_predictor_build(), so any number of threads may share it. One row goes
 * from step to step through a scratch small enough for the caller's stack.
 */
/* SPDX-License-Identifier: BSD-3-Clause */
#include "predictor.h"

#include <math.h>
#include <string.h>

#include "float_state.h"
#include "plan.h"

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
    row_step *steps;
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

static size_t biases_size(const fnn_network *network) {
    size_t bytes = 0;
    for (int32_t i = 0; i < network->n_ops; i++) {
        const fnn_op *op = &network->ops[i];
        if (op->kind == FNN_DENSE && op->bias >= 0)
            bytes += aligned((size_t)network->segments[op->bias].columns * sizeof(real));
    }
    return bytes;
}

size_t FNN_TYPED(predictor_size)(const fnn_network *network) {
    plan_type plan;
    const size_t planned = FNN_TYPED(plan_lay_out)(&plan, network, FNN_USE_PREDICTOR, FNN_TILE_ROWS, 1, NULL);
    if (planned == 0) return 0;
    return aligned(sizeof(predictor_type)) + copy_network(network, NULL, NULL) + biases_size(network) +
           aligned((size_t)network->n_ops * sizeof(row_step)) + planned + ALIGNMENT;
}

/* The steps of one row: the values between them lie side by side in the scratch, and the last goes to the caller. */
static void build_steps(predictor_type *p) {
    const fnn_network *network = &p->network;
    ptrdiff_t at = 0;
    ptrdiff_t *place = p->plan.value_at; /* reused: places of one row instead of a tile */
    for (int32_t b = 0; b < network->n_buffers; b++) {
        place[b] = b == 0 ? CALLERS_X : b == network->output ? CALLERS_Y : at;
        if (place[b] >= 0) at += FNN_TYPED(padded_stride)(network->widths[b]);
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
            p->work += step->k * step->n;
        } else {
            step->activation = p->plan.kernels->activation_forward[op->activation];
            step->parameter = (real)op->parameter;
        }
    }
}

void *FNN_TYPED(predictor_build)(const fnn_network *network, const void *params, void *memory) {
    char *at = memory;
    predictor_type *p = memory;
    memset(p, 0, sizeof *p);
    p->head.real_type = FNN_REAL_TYPE;
    at += aligned(sizeof *p);
    at += copy_network(network, at, &p->network);
    p->steps = (row_step *)at;
    at += aligned((size_t)network->n_ops * sizeof(row_step));
    char *biases = at;
    at += biases_size(network);
    FNN_TYPED(plan_lay_out)(&p->plan, &p->network, FNN_USE_PREDICTOR, FNN_TILE_ROWS, 1, at);
    for (int32_t i = 0; i < p->network.n_segments; i++)
        FNN_TYPED(pack_segment)(&p->plan, params, i, 0, p->network.segments[i].rows);
    for (int32_t i = 0; i < p->network.n_ops; i++) {
        const fnn_op *op = &p->network.ops[i];
        if (op->kind != FNN_DENSE || op->bias < 0) continue;
        const fnn_segment *bias = &p->network.segments[op->bias];
        const size_t bytes = (size_t)bias->columns * sizeof(real);
        p->plan.bias[i] = memcpy(biases, (const real *)params + bias->offset, bytes);
        biases += aligned(bytes);
    }
    build_steps(p);
    /* The places of a tile again, which build_steps() borrowed for a row's. */
    ptrdiff_t set = 0;
    for (int32_t b = 0; b < p->network.n_buffers; b++) {
        p->plan.value_at[b] = set;
        set += p->plan.chunk_rows * p->plan.stride[b];
    }
    return p;
}

size_t FNN_TYPED(predictor_scratch)(const void *predictor, ptrdiff_t rows) {
    const predictor_type *p = predictor;
    return rows == 1 ? p->row_scratch_bytes : (size_t)p->plan.set_size * sizeof(real) + ALIGNMENT;
}

ptrdiff_t FNN_TYPED(predictor_work)(const void *predictor) { return ((const predictor_type *)predictor)->work; }

static void one_row(const predictor_type *p, const real *x, real *y, real *scratch) {
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
        FNN_TYPED(forward_rows)(&p->plan, network->n_ops, set, 0, some);
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
