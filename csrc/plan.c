/* plan.c: sizes and places of everything a call works on; see plan.h.
 *
 * Compiled once per real type. plan_lay_out() walks the list of what is needed in a fixed order, taking aligned pieces
 * of the workspace; run without memory it only adds up.
 */
/* SPDX-License-Identifier: BSD-3-Clause */
#include "plan.h"

#include <string.h>

#define ALIGNMENT 64

/* Networks whose layers all have fewer units than this, and few parameters, are walked depth-first: their
 * activations stay in the first cache, and their gradients are small enough to keep in slots. */
#define NARROW_UNITS 128
#define NARROW_PARAMS 65536
#define MAX_SLOTS 16
/* Layer by layer, the buffers of a chunk of the batch take at most about this many bytes, or this many rows. */
#define CHUNK_BYTES ((size_t)8 << 20)
#define CHUNK_ROWS 512

typedef struct {
    char *memory; /* NULL: only count */
    size_t used;
    int overflow;
} cursor;

/* The next aligned piece of count elements of the given size; NULL when only counting. */
static void *take(cursor *at, size_t count, size_t size) {
    if (count && size > (SIZE_MAX / 4) / count) {
        at->overflow = 1;
        return NULL;
    }
    const size_t bytes = (count * size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (bytes > SIZE_MAX / 4 - at->used) {
        at->overflow = 1;
        return NULL;
    }
    void *piece = at->memory ? at->memory + at->used : NULL;
    at->used += bytes;
    return piece;
}

/* Rows begin at cache lines, but rows a multiple of 256 bytes apart would share a few sets of the first cache. */
ptrdiff_t FNN_TYPED(padded_stride)(ptrdiff_t columns) {
    const ptrdiff_t line = ALIGNMENT / (ptrdiff_t)sizeof(real), bad = 4 * line;
    if (columns > PTRDIFF_MAX / 2) return columns; /* take() refuses it */
    const ptrdiff_t stride = (columns + line - 1) / line * line;
    return stride > bad && stride % bad == 0 ? stride + line : stride;
}

double FNN_TYPED(row_work)(const fnn_network *network) {
    double work = 0;
    for (int32_t i = 0; i < network->n_ops; i++) {
        const fnn_op *op = &network->ops[i];
        if (op->kind != FNN_DENSE) continue;
        const fnn_segment *weight = &network->segments[op->weight];
        work += (double)weight->rows * (double)weight->columns;
    }
    return work;
}

static int is_narrow(const fnn_network *network) {
    if (network->n_params > NARROW_PARAMS || fnn_has_batch_norm(network)) return 0;
    for (int32_t b = 1; b < network->n_buffers; b++)
        if (network->widths[b] >= NARROW_UNITS) return 0;
    return 1;
}

/* A part of the batch costs one more pass over the parameters, so parts grow with the batch: two from 32 rows on (one
 * thread loses a tenth by it there, two gain half), then one per 128. */
ptrdiff_t FNN_TYPED(slots_of)(const fnn_network *network, ptrdiff_t batch) {
    if (!is_narrow(network) || batch < 32) return 1;
    const ptrdiff_t slots = batch / 128;
    return slots < 2 ? 2 : slots > MAX_SLOTS ? MAX_SLOTS : slots;
}

static ptrdiff_t rows_at_a_time(const fnn_network *network, int use, int depth_first, ptrdiff_t batch) {
    if (use == FNN_USE_PASS || (use == FNN_USE_TRAIN && fnn_has_batch_norm(network))) return batch > 0 ? batch : 1;
    ptrdiff_t most = FNN_TILE_ROWS;
    if (use == FNN_USE_TRAIN && !depth_first) {
        size_t row_bytes = 1;
        for (int32_t b = 0; b < network->n_buffers; b++)
            row_bytes += 2 * sizeof(real) * (size_t)FNN_TYPED(padded_stride)(network->widths[b]);
        most = (ptrdiff_t)(CHUNK_BYTES / row_bytes);
        if (most < CHUNK_ROWS) most = CHUNK_ROWS;
    }
    if (batch <= most) return batch > 0 ? batch : 1;
    /* Rounded up without the usual sum, which overflows for the largest batch. */
    const ptrdiff_t chunks = batch / most + (batch % most != 0);
    return batch / chunks + (batch % chunks != 0);
}

/* Rows of a weight that are no longer than this are read where they lie as fast as from panels; and so are all by one
 * thread, while there are few tiles to use a panel. Where a panel is as narrow as a cache line, its rows each lie in
 * two lines of a weight, which is too many unless the weight is small. */
#define SHORT_ROW_BYTES 512
#define FEW_ROWS 32
#define NARROW_PANEL_BYTES 64
#define SMALL_WEIGHT_BYTES (128 * 1024)

/* Whether a weight is packed before it is multiplied. Training does it anew after each update. A prediction packs once,
 * but a panel must be used by some tiles before it has earned its making, and that only where rows are so far apart
 * that those of a panel fall into few sets of the second cache, or into too many pages. Measured from 20 to 1000 units,
 * and for predictions to 3000. */
static int pays_to_pack(const FNN_TYPED(fnn_kernels) * kernels, const fnn_segment *weight, int use, ptrdiff_t batch,
                        int threads) {
    const ptrdiff_t row_bytes = weight->columns * (ptrdiff_t)sizeof(real);
    if (use == FNN_USE_PREDICTOR) return 1;
    if (use == FNN_USE_PREDICT)
        return batch >= 10 * kernels->tile_rows && row_bytes > 2048 && (row_bytes > 8192 || row_bytes % 2048 == 0);
    const int narrow = kernels->panel_columns * (ptrdiff_t)sizeof(real) <= NARROW_PANEL_BYTES;
    const int fast_as_it_is = row_bytes <= SHORT_ROW_BYTES &&
                              !(narrow && weight->rows > SMALL_WEIGHT_BYTES / row_bytes);
    return !fast_as_it_is && (batch > FEW_ROWS || threads > 1);
}

static int readers_of(const fnn_network *network, int32_t buffer) {
    int readers = 0;
    for (int32_t i = 0; i < network->n_ops; i++) {
        readers += network->ops[i].input == buffer;
        readers += network->ops[i].kind == FNN_ADD && network->ops[i].other == buffer;
    }
    return readers;
}

/* An activation's input, or a second summand, that nothing else reads has its gradient where the output has. From the
 * last operation on, so that a chain of them ends in one place. */
static void share_gradients(const fnn_network *network, ptrdiff_t *grad_at) {
    for (int32_t i = network->n_ops - 1; i >= 0; i--) {
        const fnn_op *op = &network->ops[i];
        const int32_t from = op->kind == FNN_ADD ? op->other : op->input;
        if ((op->kind == FNN_ACTIVATION || op->kind == FNN_ADD) && from != 0 && from != op->output &&
            readers_of(network, from) == 1)
            grad_at[from] = grad_at[op->output];
    }
}

/* Whether the output holds what the input holds. */
static int is_identity(const fnn_network *network, const fnn_op *op, int use) {
    const int predicts = use == FNN_USE_PREDICT || use == FNN_USE_PREDICTOR;
    if (op->kind == FNN_DROPOUT || op->kind == FNN_NOISE) return predicts;
    return op->kind == FNN_COPY && op->from == 0 && op->to == 0 && op->count == network->widths[op->input] &&
           op->count == network->widths[op->output];
}

static void share_values(const fnn_network *network, int use, ptrdiff_t *value_at) {
    for (int32_t i = 0; i < network->n_ops; i++)
        if (is_identity(network, &network->ops[i], use))
            value_at[network->ops[i].output] = value_at[network->ops[i].input];
}

/* Buffers downstream of a parameter: their gradient is needed even if nobody asks for that of the input. */
static void find_trained(const fnn_network *network, int32_t *trains) {
    for (int32_t b = 0; b < network->n_buffers; b++) trains[b] = 0;
    for (int32_t i = 0; i < network->n_ops; i++) {
        const fnn_op *op = &network->ops[i];
        if (op->weight >= 0 || trains[op->input] || (op->kind == FNN_ADD && trains[op->other])) trains[op->output] = 1;
    }
}

/* ---- who owns which parameters -------------------------------------------------------------------------------- */

static double elements_of(const fnn_segment *segment) { return (double)segment->rows * (double)segment->columns; }

/* Element counts are cut at whole vectors and tiles of rows, so that no vector is shared by two threads. */
static ptrdiff_t cut(const fnn_segment *segment, double begin, double cost) {
    const ptrdiff_t step = FNN_BLOCK_ROWS;
    if (cost <= begin) return 0;
    const double row = (cost - begin) / (double)segment->columns;
    if (row >= (double)segment->rows) return segment->rows;
    const ptrdiff_t rows = ((ptrdiff_t)row + step / 2) / step * step;
    return rows < segment->rows ? rows : segment->rows;
}

/* The rows of a segment with so many elements before it that lie between two places of all elements, in parts. */
static void share_of(const fnn_network *network, const fnn_segment *segment, double begin, int from, int to, int parts,
                     ptrdiff_t *first, ptrdiff_t *last) {
    const double total = (double)network->n_params;
    *first = from == 0 ? 0 : cut(segment, begin, total * from / parts);
    *last = to == parts ? segment->rows : cut(segment, begin, total * to / parts);
}

/* Threads of larger teams have so few elements each that the order does not matter. */
#define MOST_COMPARED 64

/* The elements of the thread that has most of them. */
static double largest_share(const fnn_network *network, int threads, int last_first) {
    double largest = 0;
    for (int thread = 0; thread < threads; thread++) {
        double begin = 0, own = 0;
        for (int32_t i = 0; i < network->n_segments; i++) {
            const fnn_segment *segment = &network->segments[last_first ? network->n_segments - 1 - i : i];
            ptrdiff_t first, last;
            share_of(network, segment, begin, thread, thread + 1, threads, &first, &last);
            own += (double)(last - first) * (double)segment->columns;
            begin += elements_of(segment);
        }
        if (own > largest) largest = own;
    }
    return largest;
}

static void find_before(const fnn_network *network, int last_first, double *before) {
    double begin = 0;
    for (int32_t i = 0; i < network->n_segments; i++) {
        const int32_t segment = last_first ? network->n_segments - 1 - i : i;
        before[segment] = begin;
        begin += elements_of(&network->segments[segment]);
    }
}

void FNN_TYPED(share_of_segment)(const FNN_TYPED(plan) * plan, int32_t segment, int thread, int threads,
                                 ptrdiff_t *first, ptrdiff_t *last) {
    share_of(plan->network, &plan->network->segments[segment], plan->before[segment], thread, thread + 1, threads,
             first, last);
}

void FNN_TYPED(piece_of_segment)(const FNN_TYPED(plan) * plan, int32_t segment, int thread, int piece, int threads,
                                 ptrdiff_t *first, ptrdiff_t *last) {
    const int share = FNN_SHARE * thread;
    share_of(plan->network, &plan->network->segments[segment], plan->before[segment],
             share + fnn_piece_begin(piece, threads), share + fnn_piece_begin(piece + 1, threads), FNN_SHARE * threads,
             first, last);
}

/* ---- the layout ----------------------------------------------------------------------------------------------- */

size_t FNN_TYPED(plan_lay_out)(FNN_TYPED(plan) * plan, const fnn_network *network, int use, ptrdiff_t batch,
                               int threads, void *memory) {
    const FNN_TYPED(fnn_kernels) *kernels = FNN_TYPED(fnn_kernels_in_use)();
    const ptrdiff_t panel = kernels->panel_columns;
    const size_t n_ops = (size_t)network->n_ops, n_buffers = (size_t)network->n_buffers;
    cursor at = {memory, 0, 0};
    memset(plan, 0, sizeof *plan);
    plan->network = network;
    plan->kernels = kernels;
    plan->slots = FNN_TYPED(slots_of)(network, batch);
    plan->depth_first = use == FNN_USE_TRAIN && is_narrow(network);
    plan->chunk_rows = rows_at_a_time(network, use, plan->depth_first, batch);
    plan->last_first = use == FNN_USE_TRAIN && threads > 1 && threads <= MOST_COMPARED &&
                       largest_share(network, threads, 1) < largest_share(network, threads, 0);
    const int sets = use == FNN_USE_PREDICTOR ? 0 : use == FNN_USE_PREDICT || plan->depth_first ? threads : 1;
    const size_t rows = (size_t)plan->chunk_rows;

    plan->packed = take(&at, n_ops, sizeof *plan->packed);
    plan->transposed = take(&at, n_ops, sizeof *plan->transposed);
    plan->weight = take(&at, n_ops, sizeof *plan->weight);
    plan->bias = take(&at, n_ops, sizeof *plan->bias);
    plan->op_of_segment = take(&at, (size_t)network->n_segments, sizeof *plan->op_of_segment);
    plan->before = take(&at, (size_t)network->n_segments, sizeof *plan->before);
    plan->stride = take(&at, n_buffers, sizeof *plan->stride);
    plan->value_at = take(&at, n_buffers, sizeof *plan->value_at);
    plan->grad_at = take(&at, n_buffers, sizeof *plan->grad_at);
    plan->trains = take(&at, n_buffers, sizeof *plan->trains);
    plan->columns = take(&at, n_ops, sizeof *plan->columns);
    if (plan->trains) find_trained(network, plan->trains);
    if (plan->before) find_before(network, plan->last_first, plan->before);

    /* Working copies of the weights. Thin weights are always copied, transposed. */
    for (int32_t i = 0; i < network->n_ops; i++) {
        const fnn_op *op = &network->ops[i];
        real *packed = NULL, *transposed = NULL;
        if (op->kind == FNN_DENSE) {
            const fnn_segment *weight = &network->segments[op->weight];
            const size_t k = (size_t)weight->rows, n = (size_t)weight->columns, width = (size_t)panel;
            const size_t k_padded = (k + FNN_CHAINS - 1) / FNN_CHAINS * FNN_CHAINS;
            if (n <= FNN_THIN) {
                packed = transposed = take(&at, n * k_padded, sizeof(real));
            } else {
                if (pays_to_pack(kernels, weight, use, batch, threads))
                    packed = take(&at, (n + width - 1) / width * width * k, sizeof(real));
                /* The gradient of what depends on no parameter is only wanted in a pass. While bytes are counted it is
                 * not known yet what does: then the larger number is right. */
                const int trains = plan->trains ? plan->trains[op->input] : op->input != 0;
                if (use == FNN_USE_PASS || (use == FNN_USE_TRAIN && trains))
                    transposed = take(&at, (k + width - 1) / width * width * n, sizeof(real));
            }
        }
        real *columns = NULL;
        if (fnn_is_batch_norm(op))
            columns = take(&at, (size_t)network->widths[op->output], FNN_COLUMN_ROWS * sizeof(real));
        if (plan->packed) {
            plan->packed[i] = packed;
            plan->transposed[i] = transposed;
            plan->columns[i] = columns;
            plan->weight[i] = plan->bias[i] = NULL;
            if (op->weight >= 0) plan->op_of_segment[op->weight] = i;
            if (op->bias >= 0) plan->op_of_segment[op->bias] = i;
        }
    }

    /* One set of buffers: values, and gradients unless only predicting. */
    size_t set = 0;
    for (int32_t b = 0; b < network->n_buffers; b++) {
        const size_t stride = (size_t)FNN_TYPED(padded_stride)(network->widths[b]);
        if (rows && stride > SIZE_MAX / 16 / sizeof(real) / rows) at.overflow = 1;
        const int has_grad = use == FNN_USE_PASS || (use == FNN_USE_TRAIN && b != 0);
        if (plan->stride) {
            plan->stride[b] = (ptrdiff_t)stride;
            plan->value_at[b] = (ptrdiff_t)set;
            plan->grad_at[b] = has_grad ? (ptrdiff_t)(set + rows * stride) : -1;
        }
        set += rows * stride * (has_grad ? 2 : 1);
        if (set > SIZE_MAX / 16) at.overflow = 1;
    }
    if (plan->stride) {
        share_values(network, use, plan->value_at);
        share_gradients(network, plan->grad_at);
    }
    plan->set_size = (ptrdiff_t)set;
    plan->sets = take(&at, set * sizeof(real), (size_t)sets);

    if (plan->slots > 1 && use == FNN_USE_TRAIN)
        plan->slot_grads = take(&at, (size_t)network->n_params * sizeof(real), (size_t)(plan->slots - 1));
    else if (use == FNN_USE_PASS) /* a part's gradient on its way into the sum */
        plan->slot_grads = take(&at, (size_t)network->n_params, sizeof(real));
    plan->targets_stride = FNN_TYPED(padded_stride)(network->widths[network->output]);
    plan->targets_size = (ptrdiff_t)(rows * (size_t)plan->targets_stride); /* wraps only where the sets overflow too */
    if (use == FNN_USE_TRAIN || use == FNN_USE_PREDICT) {
        plan->targets = take(&at, rows * (size_t)plan->targets_stride * sizeof(real), (size_t)sets);
        plan->row_loss = take(&at, rows * sizeof(double), (size_t)sets);
        plan->row_weight = take(&at, rows * sizeof(double), (size_t)sets);
        plan->row_label = take(&at, rows * sizeof(int32_t), (size_t)sets);
        const size_t parts = use == FNN_USE_TRAIN ? (size_t)plan->slots
                                                  : ((size_t)batch + FNN_TILE_ROWS - 1) / FNN_TILE_ROWS + 1;
        plan->part_loss = take(&at, parts, sizeof(double));
        plan->part_weight = take(&at, parts, sizeof(double));
    }
    if (use == FNN_USE_TRAIN) {
        size_t blocks = 0;
        for (int32_t i = 0; i < network->n_segments; i++) blocks += (size_t)fnn_blocks(&network->segments[i]);
        plan->block_sums = take(&at, blocks, FNN_BLOCK_SUMS * sizeof(double));
        plan->param_pieces = take(&at, (size_t)threads, sizeof *plan->param_pieces);
    }
    if (use == FNN_USE_TRAIN || use == FNN_USE_PREDICT)
        plan->row_pieces = take(&at, (size_t)threads, sizeof *plan->row_pieces);
    return at.overflow ? 0 : at.used + ALIGNMENT;
}

size_t FNN_TYPED(workspace_size)(const fnn_network *network, int use, ptrdiff_t batch, int threads);
size_t FNN_TYPED(workspace_size)(const fnn_network *network, int use, ptrdiff_t batch, int threads) {
    FNN_TYPED(plan) plan;
    return FNN_TYPED(plan_lay_out)(&plan, network, use, batch, threads, NULL);
}
