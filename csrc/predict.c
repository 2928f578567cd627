/* predict.c: outputs and losses of many rows.
 *
 * Compiled once per real type. Threads take ranges of rows, or, where losses are asked for, of blocks of them: sums of
 * losses are kept per block and added in the order of blocks.
 */
/* SPDX-License-Identifier: BSD-3-Clause */
#define _POSIX_C_SOURCE 200809L /* clock_gettime */
#include <stdatomic.h>

#include "clock.h"
#include "data.h"
#include "loss.h"
#include "network.h"

typedef FNN_TYPED(plan) plan_type;

typedef struct {
    const fnn_prediction *prediction;
    plan_type plan;
    comparison with;
    int32_t n_ops; /* run before the loss */
    atomic_int stop; /* FNN_STOPPED or FNN_BAD_INPUT: what is left is not worth doing */
    double next_poll; /* of thread 0 */
    int threads;
    int in_place; /* rows are read where the caller has them */
} predict_call;

/* Whether the first operation can read X itself: it is dense and the only reader, and rows are of this type, neither
 * backwards, nor a multiple of 1 KB apart: such rows would share a few sets of the first cache. */
static int is_readable_in_place(const fnn_prediction *p) {
    const fnn_network *network = p->network;
    const ptrdiff_t item = (ptrdiff_t)sizeof(real), stride = p->x.row_stride_bytes;
    if (network->n_ops == 0 || network->ops[0].kind != FNN_DENSE || network->ops[0].input != 0) return 0;
    for (int32_t i = 1; i < network->n_ops; i++)
        if (network->ops[i].input == 0 || (network->ops[i].kind == FNN_ADD && network->ops[i].other == 0)) return 0;
    return p->x.type == (FNN_REAL == 32 ? FNN_DATA_FLOAT32 : FNN_DATA_FLOAT64) &&
           (uintptr_t)p->x.data % sizeof(real) == 0 && stride > 0 && stride % item == 0 &&
           (p->x.rows == 1 || stride % 1024 != 0) && (p->x.column_stride_bytes == item || p->x.columns == 1);
}

/* Rows [first, first + rows), at most a chunk of them; the sums of their losses are those of a block. */
static void predict_rows(predict_call *call, ptrdiff_t first, ptrdiff_t rows, ptrdiff_t block, int thread) {
    const fnn_prediction *p = call->prediction;
    const plan_type *plan = &call->plan;
    const fnn_network *network = p->network;
    const ptrdiff_t n = network->widths[network->output], stride = plan->stride[network->output];
    real *set = plan->sets + thread * plan->set_size;
    FNN_TYPED(walk) walk = {.last = call->n_ops, .set = set, .rows = rows, .position = first, .batch = p->x.rows};
    if (call->in_place) {
        walk.x_stride = p->x.row_stride_bytes / (ptrdiff_t)sizeof(real);
        walk.x = (const real *)p->x.data + first * walk.x_stride;
    } else {
        FNN_TYPED(gather)(plan, set, 0, rows, &p->x, NULL, first);
    }
    /* Looked at here, rows are read from memory once, and by the thread that needs them. */
    const real *x = walk.x ? walk.x : FNN_TYPED(value)(plan, &walk, 0);
    if (p->checked && !plan->kernels->all_finite(rows, p->x.columns, x, walk.x ? walk.x_stride : plan->stride[0])) {
        atomic_store_explicit(&call->stop, FNN_BAD_INPUT, memory_order_relaxed);
        return;
    }
    FNN_TYPED(forward_rows)(plan, &walk);
    if (p->objective) {
        double loss = 0, weight = 0;
        FNN_TYPED(loss_rows)(plan, &call->with, first, thread, set, 0, rows, 0);
        FNN_TYPED(sum_losses)(plan, thread, 0, rows, &loss, &weight);
        plan->part_loss[block] = loss;
        plan->part_weight[block] = weight;
    }
    if (!p->outputs) return;
    walk.first = call->n_ops;
    walk.last = network->n_ops;
    FNN_TYPED(forward_rows)(plan, &walk);
    plan->kernels->copy(rows, n, FNN_TYPED(value)(plan, &walk, network->output), stride, 0,
                        (real *)p->outputs + first * n, n);
}

static ptrdiff_t blocks_of(const predict_call *call) {
    return (call->prediction->x.rows + call->plan.chunk_rows - 1) / call->plan.chunk_rows;
}

/* So many rows from `first` on, a block or less at a time; returns whether to go on. */
static int predict_piece(predict_call *call, ptrdiff_t first, ptrdiff_t end, int thread) {
    const fnn_prediction *p = call->prediction;
    const ptrdiff_t most = call->plan.chunk_rows;
    for (; first < end; first += most) {
        if (thread == 0 && p->poll && fnn_seconds() >= call->next_poll) {
            if (p->poll(p->poll_context)) atomic_store_explicit(&call->stop, FNN_STOPPED, memory_order_relaxed);
            call->next_poll = fnn_seconds() + p->poll_seconds;
        }
        if (atomic_load_explicit(&call->stop, memory_order_relaxed)) return 0;
        predict_rows(call, first, end - first < most ? end - first : most, first / most, thread);
    }
    return 1;
}

static void predict_share(void *context, fnn_team *team, int thread, int threads) {
    predict_call *call = context;
    const fnn_prediction *p = call->prediction;
    const plan_type *plan = &call->plan;
    const ptrdiff_t most = plan->chunk_rows;
    FNN_TYPED(pack_share)(plan, thread, threads);
    if (thread == 0) FNN_TYPED(use_running)(plan);
    fnn_pieces_begin(plan->row_pieces, thread, FNN_PIECES);
    fnn_team_barrier(team, thread);
    if (thread == 0) call->threads = threads;
    int owner, piece;
    while ((piece = fnn_pieces_take(plan->row_pieces, thread, threads, &owner)) >= 0) {
        ptrdiff_t first, end;
        if (p->objective) { /* whole blocks, whose losses are summed apart */
            fnn_piece_of(blocks_of(call), 1, owner, piece, threads, &first, &end);
            first *= most;
            end = end * most < p->x.rows ? end * most : p->x.rows;
        } else { /* then even one block can be shared */
            fnn_piece_of(p->x.rows, most, owner, piece, threads, &first, &end);
        }
        if (!predict_piece(call, first, end, thread)) return;
    }
}

void FNN_TYPED(predict)(const fnn_prediction *prediction, fnn_prediction_result *result) {
    const fnn_network *network = prediction->network;
    predict_call call = {
        .prediction = prediction,
        .with = {prediction->objective, &prediction->y, prediction->weights, NULL},
        .n_ops = prediction->objective ? FNN_TYPED(ops_before_loss)(network, prediction->objective) : network->n_ops,
        .next_poll = fnn_seconds() + prediction->poll_seconds,
        .threads = 1,
    };
    *result = (fnn_prediction_result){FNN_FINISHED, 1, 0, 0};
    if (prediction->x.rows <= 0) return;
    FNN_TYPED(plan_lay_out)(&call.plan, network, FNN_USE_PREDICT, prediction->x.rows, prediction->threads,
                            prediction->workspace);
    FNN_TYPED(bind)(&call.plan, prediction->params, 0);
    call.in_place = is_readable_in_place(prediction);
    fnn_team_run(prediction->threads, predict_share, &call);
    result->threads = call.threads;
    result->status = atomic_load_explicit(&call.stop, memory_order_relaxed);
    if (result->status != FNN_FINISHED) return;
    for (ptrdiff_t block = 0; prediction->objective && block < blocks_of(&call); block++) {
        result->loss_sum += call.plan.part_loss[block];
        result->weight_sum += call.plan.part_weight[block];
    }
}
