/* network.c: forward and backward over the list of operations, for some rows of a set of buffers.
 *
 * Compiled once per real type. Whoever calls decides which rows and which set (a tile of one thread, or a thread's
 * share of the batch): the same two walks serve both schedules, the caller's own loop, and prediction.
 */
/* SPDX-License-Identifier: BSD-3-Clause */
#include "network.h"

#include "data.h"
#include "dense.h"
#include "kernels/activations.h"

typedef FNN_TYPED(plan) plan_type;
typedef FNN_TYPED(walk) walk_type;
typedef FNN_TYPED(fnn_epilogue) epilogue_type;

/* Whether operation i is an activation that can be applied to a tile of its input as soon as that is computed. */
static int is_fusible(const fnn_network *network, int32_t i) {
    const fnn_op *op = &network->ops[i];
    return op->kind == FNN_ACTIVATION && fnn_activation_elementwise(op->activation);
}

/* Whether product i of a walk forward applies the activation behind it. */
static int takes_activation(const fnn_network *network, const walk_type *walk, int32_t i) {
    return i + 1 < walk->last && network->ops[i + 1].input == network->ops[i].output && is_fusible(network, i + 1);
}

/* The tensor an activation's derivative is a function of. */
static int32_t derivative_of(const fnn_op *op) {
    return fnn_activation_in_place(op->activation) ? op->output : op->input;
}

void FNN_TYPED(bind)(plan_type *plan, const real *params, uint64_t seed) {
    plan->params = params;
    plan->state = (real *)(uintptr_t)(params + plan->network->n_params);
    plan->seed = seed;
    for (int32_t i = 0; i < plan->network->n_ops; i++) {
        const fnn_op *op = &plan->network->ops[i];
        if (op->weight >= 0) plan->weight[i] = params + plan->network->segments[op->weight].offset;
        if (op->bias >= 0) plan->bias[i] = params + plan->network->segments[op->bias].offset;
    }
}

void FNN_TYPED(gather)(const plan_type *plan, real *set, ptrdiff_t row, ptrdiff_t rows, const fnn_array *x,
                       const int64_t *order, ptrdiff_t first) {
    fnn_read_rows(x, order, first + row, rows, FNN_REAL_TYPE, set + plan->value_at[0] + row * plan->stride[0],
                  plan->stride[0]);
}

/* An activation right behind a product: applied to each tile, in place or into its own buffer. */
static epilogue_type forward_epilogue(const plan_type *plan, const walk_type *walk, const fnn_op *op) {
    epilogue_type epilogue = {.f = plan->kernels->activation_forward[op->activation], .parameter = (real)op->parameter};
    if (op->output != op->input) {
        epilogue.out = FNN_TYPED(value)(plan, walk, op->output);
        epilogue.ldout = plan->stride[op->output];
    }
    return epilogue;
}

void FNN_TYPED(forward_rows)(const plan_type *plan, const walk_type *walk) {
    const fnn_network *network = plan->network;
    if (walk->rows <= 0) return;
    for (int32_t i = walk->first; i < walk->last; i++) {
        const fnn_op *op = &network->ops[i];
        const int from_caller = i == 0 && walk->x;
        const real *x = from_caller ? walk->x : FNN_TYPED(value)(plan, walk, op->input);
        real *y = FNN_TYPED(value)(plan, walk, op->output);
        const ptrdiff_t ldx = from_caller ? walk->x_stride : plan->stride[op->input], ldy = plan->stride[op->output];
        if (op->kind == FNN_DENSE) {
            epilogue_type epilogue = {0};
            if (takes_activation(network, walk, i))
                epilogue = forward_epilogue(plan, walk, &network->ops[++i]);
            FNN_TYPED(dense_forward)(plan, (int32_t)(op - network->ops), walk->rows, x, ldx, y, ldy, &epilogue,
                                     walk->soon);
        } else if (op->kind == FNN_ACTIVATION) {
            plan->kernels->activation_forward[op->activation](walk->rows, network->widths[op->output], x, ldx, y, ldy,
                                                              (real)op->parameter);
        } else {
            FNN_TYPED(layer_forward)(plan, walk, op);
        }
    }
}

/* ---- the first product, while rows come from memory ----------------------------------------------------------- */

/* Rows multiplied while as many are asked for: two tiles of 32 registers, few enough to be still near when they are
 * read. Weights are read once for each block, so they must come from the third-level cache at the latest. */
#define SOON_ROWS 28
#define MOST_WEIGHT_BYTES ((size_t)4 << 20)

static ptrdiff_t blocks_of(const plan_type *plan, ptrdiff_t rows) {
    const ptrdiff_t tile = plan->kernels->tile_rows, most = tile < SOON_ROWS ? SOON_ROWS / tile * tile : tile;
    return (rows + most - 1) / most;
}

/* The operations from the first of a walk up to its first product and the activation applied to its tiles; 0 where
 * all rows must be read before, or the product has no tiles. */
static int32_t end_of_first_product(const fnn_network *network, const walk_type *walk) {
    for (int32_t i = walk->first; i < walk->last; i++) {
        const fnn_op *op = &network->ops[i];
        if (fnn_is_batch_norm(op)) return 0;
        if (op->kind != FNN_DENSE) continue;
        const fnn_segment *weight = &network->segments[op->weight];
        if (weight->columns <= FNN_THIN) return 0;
        if ((size_t)weight->rows * (size_t)weight->columns * sizeof(real) > MOST_WEIGHT_BYTES) return 0;
        return takes_activation(network, walk, i) ? i + 2 : i + 1;
    }
    return 0;
}

int32_t FNN_TYPED(gather_and_begin)(const plan_type *plan, const walk_type *walk, const fnn_array *x,
                                    const int64_t *order, ptrdiff_t first) {
    const ptrdiff_t rows = walk->rows, n_blocks = blocks_of(plan, rows);
    const int pays = (n_blocks > 1 || walk->soon) && fnn_rows_soon(x, order, first + walk->row, rows).n > 0;
    const int32_t end = pays ? end_of_first_product(plan->network, walk) : 0;
    if (end == 0) {
        FNN_TYPED(gather)(plan, walk->set, walk->row, rows, x, order, first);
        return walk->first;
    }
    walk_type block = *walk;
    block.last = end;
    for (ptrdiff_t b = 0; b < n_blocks; b++) {
        const ptrdiff_t begin = rows * b / n_blocks, next = rows * (b + 1) / n_blocks;
        const ptrdiff_t after = b + 1 < n_blocks ? rows * (b + 2) / n_blocks : rows;
        const fnn_soon soon = fnn_rows_soon(x, order, first + walk->row + next, after - next);
        block.row = walk->row + begin;
        block.position = walk->position + begin;
        block.rows = next - begin;
        block.soon = soon.n ? &soon : walk->soon;
        FNN_TYPED(gather)(plan, block.set, block.row, block.rows, x, order, first);
        FNN_TYPED(forward_rows)(plan, &block);
    }
    return end;
}

fnn_soon FNN_TYPED(first_rows_soon)(const plan_type *plan, const fnn_array *x, const int64_t *order, ptrdiff_t first,
                                    ptrdiff_t rows) {
    return fnn_rows_soon(x, order, first, rows > 0 ? rows / blocks_of(plan, rows) : 0);
}

/* dinput of an activation, in place: with the derivative a function of the output, or of the input. */
static void activation_backward(const plan_type *plan, const walk_type *walk, const fnn_op *op) {
    const ptrdiff_t n = plan->network->widths[op->output], ldx = plan->stride[op->input];
    const int32_t seen = derivative_of(op);
    real *dx = FNN_TYPED(gradient)(plan, walk, op->input);
    if (plan->grad_at[op->input] != plan->grad_at[op->output])
        plan->kernels->copy(walk->rows, n, FNN_TYPED(gradient)(plan, walk, op->output), plan->stride[op->output], 0,
                            dx, ldx);
    plan->kernels->activation_backward[op->activation](walk->rows, n, FNN_TYPED(value)(plan, walk, seen),
                                                       plan->stride[seen], dx, ldx, (real)op->parameter);
}

void FNN_TYPED(backward_rows)(const plan_type *plan, const walk_type *walk) {
    const fnn_network *network = plan->network;
    if (walk->rows <= 0) return;
    for (int32_t i = walk->last - 1; i >= walk->first; i--) {
        const fnn_op *op = &network->ops[i];
        if (op->kind > FNN_ACTIVATION) {
            FNN_TYPED(layer_backward)(plan, walk, op);
        } else if (!FNN_TYPED(wants)(plan, walk, op->input)) {
            continue;
        } else if (op->kind == FNN_DENSE) {
            /* The derivative of the activation before it is applied to each tile of dx while that is near. */
            epilogue_type epilogue = {0};
            const fnn_op *before = i > walk->first ? &network->ops[i - 1] : NULL;
            if (before && before->output == op->input && is_fusible(network, i - 1) &&
                plan->grad_at[before->input] == plan->grad_at[before->output]) {
                const int32_t seen = derivative_of(before);
                epilogue.f = plan->kernels->activation_backward[before->activation];
                epilogue.parameter = (real)before->parameter;
                epilogue.in = FNN_TYPED(value)(plan, walk, seen);
                epilogue.ldin = plan->stride[seen];
                i--;
            }
            FNN_TYPED(dense_backward_input)(plan, (int32_t)(op - network->ops), walk->rows,
                                            FNN_TYPED(gradient)(plan, walk, op->output), plan->stride[op->output],
                                            FNN_TYPED(gradient)(plan, walk, op->input), plan->stride[op->input],
                                            &epilogue);
        } else {
            activation_backward(plan, walk, op);
        }
    }
}

void FNN_TYPED(segment_gradient)(const plan_type *plan, const walk_type *walk, int32_t segment, ptrdiff_t first,
                                 ptrdiff_t last, int accumulate, real *grads) {
    const fnn_network *network = plan->network;
    const fnn_segment *s = &network->segments[segment];
    const int32_t i = plan->op_of_segment[segment];
    const fnn_op *op = &network->ops[i];
    real *gradient = grads + s->offset;
    if (first >= last) return;
    if (op->kind != FNN_DENSE) {
        FNN_TYPED(layer_gradient)(plan, walk, op, segment == op->bias, first, last, accumulate, gradient);
        return;
    }
    const real *dy = FNN_TYPED(gradient)(plan, walk, op->output);
    const ptrdiff_t lddy = plan->stride[op->output];
    if (segment == op->bias)
        plan->kernels->column_sums(walk->rows, s->columns, dy, lddy, accumulate, gradient);
    else
        FNN_TYPED(dense_backward_weight)(plan, i, first, last, walk->rows, FNN_TYPED(value)(plan, walk, op->input),
                                         plan->stride[op->input], dy, lddy, accumulate, gradient,
                                         walk->zeros_before == i + 1, walk->soon);
}

/* ---- zeros of the input ----------------------------------------------------------------------------------------- */

/* Neighbouring inputs that are zero together are left out by so many (zeros.h). To find them takes as long as so many
 * columns of their product for each lane of a vector; a product over fewer inputs is over soon. */
enum { NEIGHBOURS = 3, FEWEST_INPUTS = 32, ROWS_LOOKED_AT = 8 };
#define COLUMNS_PER_LANE 2.0

int32_t FNN_TYPED(product_of_zeros)(const plan_type *plan, const fnn_array *x, const int64_t *order, ptrdiff_t first,
                                    ptrdiff_t rows) {
    const fnn_network *network = plan->network;
    int32_t i = 0;
    while (i < network->n_ops && (network->ops[i].kind != FNN_DENSE ||
                                  plan->value_at[network->ops[i].input] != plan->value_at[0])) i++;
    if (i == network->n_ops) return 0;
    const fnn_segment *weight = &network->segments[network->ops[i].weight];
    if (weight->rows < FEWEST_INPUTS || weight->columns <= FNN_THIN) return 0;
    const ptrdiff_t looked_at = rows < ROWS_LOOKED_AT ? rows : ROWS_LOOKED_AT, threes = weight->rows / NEIGHBOURS;
    FNN_TYPED(gather)(plan, plan->sets, 0, looked_at, x, order, first);
    const real *row = plan->sets + plan->value_at[0];
    ptrdiff_t zeros = 0;
    for (ptrdiff_t r = 0; r < looked_at; r++, row += plan->stride[0])
        for (ptrdiff_t j = 0; j < threes; j++)
            zeros += row[NEIGHBOURS * j] == 0 && row[NEIGHBOURS * j + 1] == 0 && row[NEIGHBOURS * j + 2] == 0;
    const double saved = (double)(zeros * weight->columns) / (double)(looked_at * threes);
    return saved > COLUMNS_PER_LANE * (double)plan->kernels->lanes ? i + 1 : 0;
}

void FNN_TYPED(pack_segment)(const plan_type *plan, const real *params, int32_t segment, ptrdiff_t first,
                             ptrdiff_t last) {
    const int32_t i = plan->op_of_segment[segment];
    const fnn_op *op = &plan->network->ops[i];
    if (first < last && op->kind == FNN_DENSE && op->weight == segment)
        FNN_TYPED(dense_pack)(plan, i, params + plan->network->segments[segment].offset, first, last);
}

void FNN_TYPED(pack_share)(const plan_type *plan, int thread, int threads) {
    for (int32_t i = 0; i < plan->network->n_segments; i++) {
        ptrdiff_t first, last;
        FNN_TYPED(share_of_segment)(plan, i, thread, threads, &first, &last);
        FNN_TYPED(pack_segment)(plan, plan->params, i, first, last);
    }
}
