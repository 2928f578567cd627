/* epoch.c: the training loop; many steps in one call and one parallel region.
 *
 * Compiled once per real type. A step is two phases with a barrier after each. In the first every thread carries rows
 * from the gather through the forward pass and the loss down the backward pass. In the second it owns a share of the
 * parameters: it completes their gradient, updates them, and rewrites their working copies. Whoever is done helps the
 * others (pieces.h) in the first phase, unless they meet on the way, and layer by layer also in the second; what follows
 * a clipped norm is shared out for good. The schedules differ in who computes the gradient of the weights:
 *   depth-first (narrow networks): with the rows, tile by tile, into the slot of that part of the batch; the owner
 *     then sums the slots in order;
 *   layer by layer (wider ones): the owner, over all rows of the batch (in chunks, when it is large).
 * Neither slots nor chunks depend on threads, and every sum has one order, so results do not either.
 */
/* SPDX-License-Identifier: BSD-3-Clause */
#define _POSIX_C_SOURCE 200809L /* clock_gettime */
#include <float.h>
#include <stdatomic.h>

#include "clock.h"
#include "data.h"
#include "loss.h"
#include "network.h"
#include "optimizer.h"
#include "pace.h"

typedef FNN_TYPED(plan) plan_type;
typedef FNN_TYPED(walk) walk_type;

/* Multiply-adds between two looks at the clock: about 20 microseconds of work. */
#define WORK_PER_LOOK 2e6

/* How far a run has come; every thread keeps its own. */
typedef struct {
    fnn_optimizer optimizer;
    double loss_sum, weight_sum;
    ptrdiff_t steps;
    int status;
    int over;
} progress;

typedef struct {
    const fnn_training *training;
    plan_type plan;
    comparison with;
    int32_t n_ops; /* run before the loss */
    double row_work;
    int penalized;   /* some segment has a penalty */
    int whole_batches; /* a norm of columns needs all rows: threads meet on their way through the layers */
    atomic_int stop; /* poll() asked to; set in the first phase by thread 0, read by all after its barrier */
    atomic_int bad;  /* a parameter became not finite; set in the second phase */
    /* 1 + the product of which zeros of the input may be left out, or 0; and whether a gradient of its output was not
     * finite: then 0 times that is not 0. Set in the first phase. */
    int32_t product_of_zeros;
    atomic_int unbounded;
    /* Of the period under way, written by thread 0 before a barrier: */
    ptrdiff_t until;  /* which step */
    int alone;        /* thread 0 makes the steps, */
    progress reached; /* and leaves here how far it came */
    /* Of thread 0 alone: */
    double next_poll, work_since_look;
    double since; /* when the period under way began; the first one begins before the threads have woken */
    fnn_training_result *result;
} train_call;

/* What every thread knows of the step under way; each computes the same. */
typedef struct {
    ptrdiff_t first, rows; /* of the epoch's order */
    ptrdiff_t slots;
    uint64_t draw; /* of random masks */
    double loss_sum, weight_sum;
    update_step update; /* were it applied */
    int measured; /* its sums of squares are asked for */
} step_state;

/* Whether the batch under way is to be dropped; a hint before the barrier, the same for all after it. */
static int stopped(train_call *call) { return atomic_load_explicit(&call->stop, memory_order_relaxed); }

static void look_at_clock(train_call *call, double work) {
    const fnn_training *t = call->training;
    if (stopped(call)) return; /* once told, poll() is not asked again */
    call->work_since_look += work;
    if (!t->poll || call->work_since_look < WORK_PER_LOOK) return;
    call->work_since_look = 0;
    if (fnn_seconds() < call->next_poll) return;
    if (t->poll(t->poll_context)) atomic_store_explicit(&call->stop, 1, memory_order_relaxed);
    call->next_poll = fnn_seconds() + t->poll_seconds;
}

/* The outputs of trained rows, for metrics: the operation left out before the loss is made up for. */
static void keep_outputs(const train_call *call, ptrdiff_t first, const walk_type *walk) {
    const fnn_training *t = call->training;
    const plan_type *plan = &call->plan;
    const fnn_network *network = t->network;
    const ptrdiff_t n = network->widths[network->output], stride = plan->stride[network->output];
    const real *y = FNN_TYPED(value)(plan, walk, network->output);
    walk_type rest = *walk;
    rest.first = walk->last;
    rest.last = network->n_ops;
    FNN_TYPED(forward_rows)(plan, &rest);
    for (ptrdiff_t i = 0; i < walk->rows; i++) {
        const ptrdiff_t at = first + walk->row + i, to = t->order ? (ptrdiff_t)t->order[at] : at;
        plan->kernels->copy(1, n, y + i * stride, stride, 0, (real *)t->outputs + to * n, n);
    }
}

/* Whose gradient is found without zeros of the input. */
static int32_t zeros_before(train_call *call) {
    return atomic_load_explicit(&call->unbounded, memory_order_relaxed) ? 0 : call->product_of_zeros;
}

/* Looks at the gradient of some rows, behind which zeros may be left out. */
static void see_bounds(train_call *call, const walk_type *walk) {
    const plan_type *plan = &call->plan;
    if (walk->rows <= 0 || zeros_before(call) == 0) return;
    const int32_t output = plan->network->ops[call->product_of_zeros - 1].output;
    if (!plan->kernels->all_finite(walk->rows, plan->network->widths[output], FNN_TYPED(gradient)(plan, walk, output),
                                   plan->stride[output]))
        atomic_store_explicit(&call->unbounded, 1, memory_order_relaxed);
}

/* First phase for the rows of a walk in set number nth, whose row 0 is row `first` of the epoch. With a team: all of
 * it together has the rows of a batch. */
static void carry_rows(train_call *call, ptrdiff_t first, int nth, const walk_type *walk, fnn_team *team,
                       int thread, int threads) {
    const fnn_training *t = call->training;
    const plan_type *plan = &call->plan;
    walk_type rest = *walk;
    rest.first = FNN_TYPED(gather_and_begin)(plan, walk, &t->x, t->order, first);
    rest.soon = NULL;
    if (team)
        FNN_TYPED(forward_batch)(plan, &rest, team, thread, threads);
    else
        FNN_TYPED(forward_rows)(plan, &rest);
    if (walk->rows > 0) {
        FNN_TYPED(loss_rows)(plan, &call->with, first, nth, walk->set, walk->row, walk->rows, 1);
        if (t->outputs) keep_outputs(call, first, walk);
    }
    if (team)
        FNN_TYPED(backward_batch)(plan, walk, team, thread, threads);
    else
        FNN_TYPED(backward_rows)(plan, walk);
    see_bounds(call, walk);
}

static walk_type walk_of(const train_call *call, const step_state *step, real *set, ptrdiff_t row, ptrdiff_t rows,
                         ptrdiff_t position) {
    return (walk_type){.last = call->n_ops,
                       .set = set,
                       .row = row,
                       .rows = rows,
                       .position = position,
                       .batch = step->rows,
                       .draw = step->draw,
                       .training = 1};
}

/* The gradient vector of a slot: the first is the caller's own. */
static real *slot(const train_call *call, ptrdiff_t nth) {
    return nth == 0 ? call->training->grads : call->plan.slot_grads + (nth - 1) * call->training->network->n_params;
}

/* Depth-first, first phase: one slot, tile by tile. */
static void carry_slot(train_call *call, const step_state *step, ptrdiff_t s, int thread, int threads) {
    const plan_type *plan = &call->plan;
    real *set = plan->sets + thread * plan->set_size;
    const ptrdiff_t begin = step->rows * s / step->slots, end = step->rows * (s + 1) / step->slots;
    double loss = 0, weight = 0;
    for (ptrdiff_t row = begin; row < end; row += plan->chunk_rows) {
        const ptrdiff_t rows = end - row < plan->chunk_rows ? end - row : plan->chunk_rows;
        if (thread == 0) look_at_clock(call, 3 * call->row_work * (double)rows);
        if (stopped(call)) return;
        walk_type walk = walk_of(call, step, set, 0, rows, row);
        carry_rows(call, step->first + row, thread, &walk, NULL, thread, threads);
        walk.zeros_before = zeros_before(call);
        FNN_TYPED(sum_losses)(plan, thread, 0, rows, &loss, &weight);
        for (int32_t i = 0; i < plan->network->n_segments; i++)
            FNN_TYPED(segment_gradient)(plan, &walk, i, 0, plan->network->segments[i].rows, row > begin, slot(call, s));
    }
    plan->part_loss[s] = loss;
    plan->part_weight[s] = weight;
}

/* The first slot of a thread's share. */
static ptrdiff_t first_slot(const step_state *step, int thread, int threads) {
    return (step->slots * thread + threads - 1) / threads;
}

/* All slots. Where there are no more than threads, they are shared out for good: nobody has one to give away. */
static void carry_slots(train_call *call, const step_state *step, int thread, int threads) {
    const int fixed = step->slots <= threads;
    ptrdiff_t due = first_slot(step, thread + 1, threads) - first_slot(step, thread, threads);
    int owner = thread;
    ptrdiff_t piece = fixed ? 0 : fnn_pieces_take(call->plan.row_pieces, thread, threads, &owner);
    while (piece >= 0) {
        const ptrdiff_t s = first_slot(step, owner, threads) + piece;
        if (s < first_slot(step, owner + 1, threads)) {
            carry_slot(call, step, s, thread, threads);
            due--;
        }
        piece = fixed ? -1 : fnn_pieces_take(call->plan.row_pieces, thread, threads, &owner);
    }
    /* Ctrl-C is let in as often where the others were faster and did what was due here. */
    if (thread == 0 && due > 0)
        look_at_clock(call, 3 * call->row_work * (double)(step->rows / step->slots * due));
}

static int is_finite(double x) { return x >= -DBL_MAX && x <= DBL_MAX; }

/* Whether the step's sums allow an update: a batch without weight is skipped, one without a finite loss ends the run. */
static int updates(const step_state *step) { return step->weight_sum > 0 && is_finite(step->loss_sum); }

/* Second phase for this thread's rows of one segment, its gradient being complete and its clipping known. */
static void apply_update(train_call *call, const step_state *step, int32_t segment, ptrdiff_t first, ptrdiff_t last) {
    const fnn_training *t = call->training;
    const plan_type *plan = &call->plan;
    int bad;
    if (call->penalized) FNN_TYPED(measure_penalty)(plan, segment, first, last, t->params);
    if (step->measured) {
        if (t->clip_norm <= 0) /* else they are there, and others may be reading them */
            FNN_TYPED(measure_gradient)(plan, &step->update, segment, first, last, t->params, t->grads);
        bad = FNN_TYPED(update_and_measure)(plan, &step->update, segment, first, last, t->params, t->grads);
    } else {
        bad = FNN_TYPED(update_segment)(t->network, plan->kernels, &step->update, segment, first, last, t->params,
                                        t->grads);
    }
    if (bad) atomic_store_explicit(&call->bad, 1, memory_order_relaxed);
    FNN_TYPED(pack_segment)(plan, t->params, segment, first, last);
}

/* The same where nothing may be known of the clipping yet: then clip_and_update follows. */
static void use_gradient(train_call *call, step_state *step, int32_t segment, ptrdiff_t first, ptrdiff_t last) {
    const fnn_training *t = call->training;
    step->update.scale = 1 / step->weight_sum;
    if (t->clip_norm > 0)
        FNN_TYPED(measure_gradient)(&call->plan, &step->update, segment, first, last, t->params, t->grads);
    else
        apply_update(call, step, segment, first, last);
}

/* The norm of a gradient is known when all threads have completed their shares. */
static void clip_and_update(train_call *call, step_state *step, fnn_team *team, int thread, int threads) {
    const fnn_training *t = call->training;
    if (t->clip_norm <= 0) return;
    fnn_team_barrier(team, thread);
    step->update.scale = 1 / step->weight_sum;
    step->update.factor = FNN_TYPED(clipping_factor)(&call->plan, t->clip_norm);
    for (int32_t i = 0; i < t->network->n_segments; i++) {
        ptrdiff_t first, last;
        FNN_TYPED(share_of_segment)(&call->plan, i, thread, threads, &first, &last);
        if (first < last) apply_update(call, step, i, first, last);
    }
}

/* Rows of a segment whose gradient is made and used at a time: it is updated and packed while it is in the second-level
 * cache. A multiple of 32 rows, as shares are. */
#define BLOCK_BYTES 262144
static ptrdiff_t block_rows(const fnn_segment *segment) {
    const ptrdiff_t rows = BLOCK_BYTES / (ptrdiff_t)sizeof(real) / segment->columns / 32 * 32;
    return rows > 32 ? rows : 32;
}

/* A thread's share of the rows of the next step or chunk: of slots as many as there may be. */
static void begin_rows(const train_call *call, int thread) {
    const plan_type *plan = &call->plan;
    fnn_pieces_begin(plan->row_pieces, thread, plan->depth_first ? (int)plan->slots : FNN_PIECES);
}

/* Both schedules return whether the batch was dropped: one reading of `stop` between the two barriers, because after
 * the second thread 0 may already be setting it in the next step. */
static int step_depth_first(train_call *call, step_state *step, fnn_team *team, int thread, int threads) {
    const fnn_network *network = call->training->network;
    carry_slots(call, step, thread, threads);
    fnn_team_barrier(team, thread);
    if (stopped(call)) return 1;
    begin_rows(call, thread);
    for (ptrdiff_t s = 0; s < step->slots; s++) {
        step->loss_sum += call->plan.part_loss[s];
        step->weight_sum += call->plan.part_weight[s];
    }
    if (updates(step)) {
        for (int32_t i = 0; i < network->n_segments; i++) {
            ptrdiff_t first, last;
            FNN_TYPED(share_of_segment)(&call->plan, i, thread, threads, &first, &last);
            if (first >= last) continue;
            const fnn_segment *segment = &network->segments[i];
            const ptrdiff_t begin = segment->offset + first * segment->columns;
            for (ptrdiff_t s = 1; s < step->slots; s++)
                call->plan.kernels->add((last - first) * segment->columns, slot(call, 0) + begin,
                                        slot(call, s) + begin);
            use_gradient(call, step, i, first, last);
        }
        clip_and_update(call, step, team, thread, threads);
    }
    fnn_team_barrier(team, thread);
    return 0;
}

/* Rows that are walked apart: whole tiles, and not so few that reading the weights once more is felt. */
#define FEWEST_ROWS_APART 12

/* Of the rows of a chunk, those of a piece of a thread's share. */
static void piece_of_rows(const plan_type *plan, ptrdiff_t rows, int owner, int piece, int threads, ptrdiff_t *begin,
                          ptrdiff_t *end) {
    const ptrdiff_t tile = plan->kernels->tile_rows, unit = (FEWEST_ROWS_APART + tile - 1) / tile * tile;
    fnn_piece_of(rows, unit, owner, piece, threads, begin, end);
}

/* What will be read first of a piece of a thread's share of so many rows, from row `first` of the epoch on. */
static fnn_soon soon_in_piece(const train_call *call, ptrdiff_t first, ptrdiff_t rows, int thread, int piece,
                              int threads) {
    const fnn_training *t = call->training;
    ptrdiff_t begin, end;
    piece_of_rows(&call->plan, rows, thread, piece, threads, &begin, &end);
    return FNN_TYPED(first_rows_soon)(&call->plan, &t->x, t->order, first + begin, end - begin);
}

/* What this thread will read first when `done` rows of the step are behind it: of the next chunk or the next step. */
static fnn_soon soon_after(const train_call *call, const step_state *step, ptrdiff_t done, int thread, int threads) {
    const fnn_training *t = call->training;
    const ptrdiff_t first = step->first + done, left = t->x.rows - first;
    const ptrdiff_t most = done < step->rows ? step->rows - done : t->batch < left ? t->batch : left;
    const ptrdiff_t rows = most < call->plan.chunk_rows ? most : call->plan.chunk_rows;
    return soon_in_piece(call, first, rows, thread, 0, threads);
}

/* Layer by layer, first phase: so many rows of the step behind those that are done. */
static void carry_chunk(train_call *call, const step_state *step, ptrdiff_t done, ptrdiff_t rows, fnn_team *team,
                        int thread, int threads) {
    const plan_type *plan = &call->plan;
    if (call->whole_batches) {
        const ptrdiff_t begin = rows * thread / threads, end = rows * (thread + 1) / threads;
        walk_type own = walk_of(call, step, plan->sets, begin, end - begin, done + begin);
        if (stopped(call)) own.rows = 0;
        carry_rows(call, step->first + done, 0, &own, team, thread, threads);
        return;
    }
    int owner, piece;
    while ((piece = fnn_pieces_take(plan->row_pieces, thread, threads, &owner)) >= 0) {
        ptrdiff_t begin, end;
        piece_of_rows(plan, rows, owner, piece, threads, &begin, &end);
        if (begin >= end || stopped(call)) continue;
        walk_type part = walk_of(call, step, plan->sets, begin, end - begin, done + begin);
        fnn_soon soon = {0};
        if (owner == thread && piece + 1 < FNN_PIECES)
            soon = soon_in_piece(call, step->first + done, rows, thread, piece + 1, threads);
        part.soon = soon.n ? &soon : NULL;
        carry_rows(call, step->first + done, 0, &part, NULL, thread, threads);
    }
}

/* Second phase: gradients of the parameters over these rows, and what follows once they are complete. */
static void use_chunk(train_call *call, step_state *step, walk_type *rows, int accumulate, int complete, int thread,
                      int threads) {
    const fnn_network *network = call->training->network;
    const plan_type *plan = &call->plan;
    int owner, piece;
    while ((piece = fnn_pieces_take(plan->param_pieces, thread, threads, &owner)) >= 0) {
        for (int32_t i = 0; i < network->n_segments; i++) {
            ptrdiff_t first, last;
            FNN_TYPED(piece_of_segment)(plan, i, owner, piece, threads, &first, &last);
            const ptrdiff_t block = block_rows(&network->segments[i]);
            for (ptrdiff_t row = first; row < last; row += block) {
                const ptrdiff_t block_end = last - row < block ? last : row + block;
                FNN_TYPED(segment_gradient)(plan, rows, i, row, block_end, accumulate, call->training->grads);
                rows->soon = NULL;
                if (complete) use_gradient(call, step, i, row, block_end);
            }
        }
    }
}

static int step_by_layers(train_call *call, step_state *step, fnn_team *team, int thread, int threads) {
    const plan_type *plan = &call->plan;
    for (ptrdiff_t done = 0; done < step->rows; done += plan->chunk_rows) {
        const ptrdiff_t left = step->rows - done, rows = left < plan->chunk_rows ? left : plan->chunk_rows;
        if (thread == 0) look_at_clock(call, 3 * call->row_work * (double)rows);
        fnn_pieces_begin(plan->param_pieces, thread, FNN_PIECES);
        carry_chunk(call, step, done, rows, team, thread, threads);
        fnn_team_barrier(team, thread);
        if (stopped(call)) return 1;
        begin_rows(call, thread);
        FNN_TYPED(sum_losses)(plan, 0, 0, rows, &step->loss_sum, &step->weight_sum);
        const int complete = left <= plan->chunk_rows && updates(step);
        if (thread == 0 && complete) FNN_TYPED(update_running)(plan, step->rows);
        const fnn_soon soon = soon_after(call, step, done + rows, thread, threads);
        walk_type all = walk_of(call, step, plan->sets, 0, rows, done);
        all.soon = soon.n ? &soon : NULL; /* asked for by the first gradient, if that is a product */
        all.zeros_before = zeros_before(call);
        use_chunk(call, step, &all, done > 0, complete, thread, threads);
        if (complete) clip_and_update(call, step, team, thread, threads);
        fnn_team_barrier(team, thread);
    }
    return 0;
}

/* Of the segments, in the order of fastnn.h. */
static void report_sums(const train_call *call) {
    const fnn_training *t = call->training;
    for (int32_t i = 0; i < t->network->n_segments; i++)
        for (int which = FNN_SUM_GRADIENT; which <= FNN_SUM_WEIGHT; which++)
            t->segment_sums[3 * i + which] = FNN_TYPED(sum_blocks)(&call->plan, i, which);
}

/* The next steps, up to number `until` of the run, on these threads. */
static void run_some(train_call *call, progress *at, ptrdiff_t until, fnn_team *team, int thread, int threads) {
    const fnn_training *t = call->training;
    const ptrdiff_t n = t->x.rows;
    while (at->steps < until) {
        step_state step = {.first = (t->first_step + at->steps) * t->batch,
                           .update = {.optimizer = FNN_TYPED(optimizer_after_update)(&at->optimizer),
                                      .factor = 1,
                                      .bound = t->clip_value}};
        at->over = 1; /* unless the step ends well */
        step.rows = n - step.first < t->batch ? n - step.first : t->batch;
        if (step.rows <= 0) return;
        step.measured = t->segment_sums && (at->steps + 1 == t->n_steps || n - step.first <= t->batch);
        step.slots = FNN_TYPED(slots_of)(t->network, step.rows);
        step.draw = t->draw + (uint64_t)at->steps;
        step.update.learning_rate = t->learning_rates[t->n_learning_rates > 1 ? at->steps : 0];
        FNN_TYPED(prepare_update)(&step.update);
        const int dropped = call->plan.depth_first ? step_depth_first(call, &step, team, thread, threads)
                                                   : step_by_layers(call, &step, team, thread, threads);
        if (dropped) {
            at->status = FNN_STOPPED;
            return;
        }
        const double penalty = call->penalized && updates(&step) ? FNN_TYPED(sum_penalties)(&call->plan) : 0;
        at->loss_sum += step.loss_sum + (at->optimizer.penalizes_sums ? 1 : step.weight_sum) * penalty;
        at->weight_sum += step.weight_sum;
        if (!is_finite(step.loss_sum)) {
            at->status = FNN_DIVERGED;
            return;
        }
        at->steps++;
        if (updates(&step)) at->optimizer = step.update.optimizer;
        if (thread == 0 && step.measured && updates(&step)) report_sums(call);
        if (atomic_load_explicit(&call->bad, memory_order_relaxed) || !is_finite(penalty)) {
            at->status = FNN_BAD_UPDATE;
            return;
        }
        at->over = at->steps == t->n_steps;
    }
}

/* The step that ends the period which begins at step `from`. */
static ptrdiff_t end_of_period(const train_call *call, ptrdiff_t from) {
    const fnn_training *t = call->training;
    const double guess = 3 * call->row_work * (double)t->batch / FNN_MULTIPLY_ADDS_PER_SECOND;
    const ptrdiff_t steps = fnn_pace_steps(t->pace, guess);
    return steps < t->n_steps - from ? from + steps : t->n_steps;
}

/* Some periods of the run (pace.h): one on all threads, or those that thread 0 makes alone while the others wait. */
static void run_periods(train_call *call, progress *at, fnn_team *team, int thread, int threads) {
    fnn_pace *pace = call->training->pace;
    if (thread == 0) {
        call->alone = pace->alone || threads == 1;
        call->until = end_of_period(call, at->steps);
    }
    fnn_team_barrier(team, thread);
    const int alone = call->alone;
    ptrdiff_t before = at->steps;
    if (!alone) run_some(call, at, call->until, team, thread, threads);
    while (thread == 0) {
        if (alone) run_some(call, at, call->until, fnn_team_alone(), 0, 1);
        const double now = fnn_seconds();
        fnn_pace_add(pace, alone, now - call->since, at->steps - before);
        call->since = now;
        if (!alone || at->over || (threads > 1 && !pace->alone)) break;
        before = at->steps;
        call->until = end_of_period(call, before);
    }
    if (alone && thread == 0) call->reached = *at;
    fnn_team_barrier(team, thread);
    if (alone) *at = call->reached;
}

static void run_steps(void *context, fnn_team *team, int thread, int threads) {
    train_call *call = context;
    const fnn_training *t = call->training;
    progress at = {.optimizer = *t->optimizer,
                   .loss_sum = t->loss_sum,
                   .weight_sum = t->weight_sum,
                   .status = FNN_FINISHED,
                   .over = t->n_steps <= 0};
    FNN_TYPED(pack_share)(&call->plan, thread, threads);
    begin_rows(call, thread);
    if (thread == 0) {
        const ptrdiff_t first = t->first_step * t->batch, left = t->x.rows - first;
        if (left > 0)
            call->product_of_zeros = FNN_TYPED(product_of_zeros)(&call->plan, &t->x, t->order, first,
                                                                 left < t->batch ? left : t->batch);
    }
    fnn_team_barrier(team, thread);
    while (!at.over) {
        if (t->pace)
            run_periods(call, &at, team, thread, threads);
        else
            run_some(call, &at, t->n_steps, team, thread, threads);
    }
    if (thread != 0) return;
    *t->optimizer = at.optimizer;
    *call->result = (fnn_training_result){at.status, threads, at.steps, at.loss_sum, at.weight_sum};
}

void FNN_TYPED(train)(const fnn_training *training, fnn_training_result *result) {
    const ptrdiff_t n = training->x.rows, batch = training->batch < n ? training->batch : n;
    train_call call = {
        .training = training,
        .with = {&training->objective, &training->y, training->weights, training->order},
        .n_ops = FNN_TYPED(ops_before_loss)(training->network, &training->objective),
        .row_work = FNN_TYPED(row_work)(training->network),
        .penalized = FNN_TYPED(is_penalized)(training->network),
        .whole_batches = fnn_has_batch_norm(training->network),
        .next_poll = fnn_seconds() + training->poll_seconds,
        .result = result,
    };
    *result = (fnn_training_result){FNN_FINISHED, 1, 0, training->loss_sum, training->weight_sum};
    FNN_TYPED(plan_lay_out)(&call.plan, training->network, FNN_USE_TRAIN, batch, training->threads,
                            training->workspace);
    FNN_TYPED(bind)(&call.plan, training->params, training->seed);
    for (int32_t i = 0; training->segment_sums && i < 3 * training->network->n_segments; i++)
        training->segment_sums[i] = 0;
    if (training->shuffle)
        fnn_permutation(training->seed, FNN_STREAM_SHUFFLE, training->epoch, n, training->order);
    if (training->pace) call.since = fnn_seconds(); /* shuffling is done by one thread in either way */
    /* A call that is over before all threads could be of use does not wake them. */
    const int alone = training->pace && training->pace->alone && training->n_steps <= fnn_pace_steps(training->pace, 1);
    fnn_team_run(alone ? 1 : training->threads, run_steps, &call);
}
