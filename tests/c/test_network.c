/* test_network.c: gradients of whole networks, and training: what a run computes, that its bits do not depend on how
 * it is run, and what it leaves behind when it ends early.
 *
 * The oracles: central differences for gradients; for runs, the same steps made one by one through fnn_forward(),
 * fnn_backward() and fnn_update(), and runs of fewer steps.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#define _POSIX_C_SOURCE 200809L /* clock_gettime */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "clock.h"
#include "fastnn.h"
#include "guarded.h"
#include "networks.h"

static const int real_types[] = {FNN_FLOAT32, FNN_FLOAT64};
static const int team_sizes[] = {1, 3, 8, 2, 5};
/* Under sanitizers, which make the tests slow, the first ones have to do. */
enum { N_TEAM_SIZES = SANITIZED ? 2 : 5 };

static int agree(int good, const char *network, int real_type, ptrdiff_t batch, int threads, const char *what) {
    if (!CHECK(good))
        printf("    %s: %s, %s, float%d, batch %td, %d threads\n", what, network, fnn_isa(), real_type ? 64 : 32, batch,
               threads);
    return good;
}

/* ---- gradients ------------------------------------------------------------------------------------------------- */

/* The target a loss compares with, in the network's type: scaled where the network's last operation rescales. */
static double target_of(const run *r, ptrdiff_t row, ptrdiff_t j) {
    const fnn_network *network = &r->layers->network;
    const fnn_op *last = &network->ops[network->n_ops - 1];
    const ptrdiff_t n = network->widths[network->output], mean = network->n_params + last->state + 2 * n + j;
    const void *values = r->training.y.values.data, *params = r->training.params;
    if (last->kind != FNN_RESCALE) return number_get(values, network->real_type, row * n + j);
    if (network->real_type == FNN_FLOAT64)
        return (((const double *)values)[row * n + j] - ((const double *)params)[mean]) *
               ((const double *)params)[mean + n];
    return (double)((((const float *)values)[row * n + j] - ((const float *)params)[mean]) *
                    ((const float *)params)[mean + n]);
}

/* The sum over the rows of a run's next step of weight . squared error / n, with the masks and moments of training. */
static double loss_in_training(const run *r) {
    const int mark = guarded_mark();
    const fnn_network network = network_before_loss(r->layers);
    const ptrdiff_t n = network.widths[network.output], first = run_first_row(r), rows = run_rows(r);
    void *outputs = guarded_array((size_t)(rows * n) * number_size(network.real_type));
    run_forward(r, &network, outputs);
    double sum = 0;
    for (ptrdiff_t i = 0; i < rows; i++) {
        double loss = 0;
        for (ptrdiff_t j = 0; j < n; j++) {
            const double error = number_get(outputs, network.real_type, i * n + j) - target_of(r, first + i, j);
            loss += error * error / (double)n;
        }
        sum += (r->training.weights ? r->training.weights[first + i] : 1) * loss;
    }
    guarded_release(mark);
    return sum;
}

/* Sum over the rows of the next step of weight . loss, without penalties. */
static double loss_of(const run *r) {
    const fnn_training *t = &r->training;
    if (layers_train_apart(r->layers)) return loss_in_training(r);
    const ptrdiff_t first = run_first_row(r);
    const fnn_array x = rows_of(&t->x, first, run_rows(r));
    fnn_targets y = t->y;
    if (y.labels)
        y.labels += first;
    else
        y.values = rows_of(&y.values, first, x.rows);
    return predict(r->layers, t->params, &x, NULL, &t->objective, &y, t->weights ? t->weights + first : NULL, 1)
        .loss_sum;
}

/* The gradient a training step computes against central differences, parameter by parameter, every so many. */
static void gradient_of_loss(run *r, ptrdiff_t every, const char *what) {
    const double h = 1e-5;
    double *params = r->training.params;
    r->learning_rate = 0;
    run_train(r);
    CHECK_EQUAL(r->result.status, FNN_FINISHED);
    const double loss = loss_of(r);
    CHECK_CLOSE(r->result.loss_sum, loss, 1e-12 * fabs(loss));
    int good = 1;
    for (ptrdiff_t i = 0; i < r->layers->network.n_params; i += every) {
        const double at = params[i];
        params[i] = at + h;
        const double above = loss_of(r);
        params[i] = at - h;
        const double below = loss_of(r);
        params[i] = at;
        const double slope = (above - below) / (2 * h), found = ((double *)r->training.grads)[i];
        good &= fabs(found - slope) <= 1e-7 * fmax(1, fabs(slope));
    }
    agree(good, what, FNN_FLOAT64, r->training.batch, 1, "gradient");
}

/* Every activation, in place and not, in panels and thin, under every loss. */
static void gradients_of_losses(void) {
    static const double half = 0.5, two = 2;
    for (int f = 0; fnn_activation_name(f); f++) {
        for (int loss = 0; fnn_loss_name(loss); loss++) {
            const char *activation = fnn_activation_name(f), *name = fnn_loss_name(loss);
            const int on_logits = (strcmp(activation, "softmax") == 0 && strcmp(name, "cross_entropy") == 0) ||
                                  (strcmp(activation, "sigmoid") == 0 && strcmp(name, "binary_cross_entropy") == 0) ||
                                  (strcmp(activation, "softmax") == 0 && strcmp(name, "focal") == 0) ||
                                  (strcmp(activation, "sigmoid") == 0 && strcmp(name, "focal") == 0);
            const int takes_labels = strcmp(name, "cross_entropy") == 0 ||
                                     (strcmp(name, "focal") == 0 && strcmp(activation, "sigmoid") != 0);
            for (int how = 0; how < 16; how++) {
                const int joined = how & 1, by_label = how >> 1 & 1, weighted = how >> 2 & 1, apart = how >> 3;
                if ((joined && !on_logits) || (by_label && !takes_labels)) continue;
                /* Joined with softmax, a focal loss is one of labels. */
                if (joined && !by_label && takes_labels && strcmp(name, "focal") == 0) continue;
                const int mark = guarded_mark();
                layers l;
                layers_begin(&l, FNN_FLOAT64, 5);
                layers_dense(&l, 11, 1);
                layers_activation(&l, activation, 1);
                layers_dense(&l, 9, 0);
                layers_activation(&l, activation, 0);
                layers_dense(&l, 6, 1);
                layers_activation(&l, activation, !apart);
                const dataset data = dataset_new(&l, 13, 1);
                run r;
                run_begin(&r, &l, &data, data.rows);
                r.training.objective = (fnn_objective){loss, joined, strcmp(name, "focal") ? &half : &two, 1};
                r.training.y = by_label ? data.labels : data.values;
                if (weighted) r.training.weights = data.weights;
                gradient_of_loss(&r, 1, activation);
                guarded_release(mark);
            }
        }
    }
}

/* The same for networks of either schedule, with several slots and several chunks. */
static void gradients_of_networks(void) {
    for (int n = 0; network_name(n); n++) {
        const int mark = guarded_mark();
        layers l;
        network_build(&l, n, FNN_FLOAT64);
        const dataset data = dataset_new(&l, network_is_chunked(n) ? 700 : 150, 2);
        run r;
        run_begin(&r, &l, &data, data.rows);
        r.training.weights = data.weights;
        gradient_of_loss(&r, l.network.n_params / 40 + 1, network_name(n));
        guarded_release(mark);
    }
}

typedef struct {
    layers l;
    dataset data;
    void *params, *workspace, *outputs, *grads, *dx, *doutputs;
} pass;

static const fnn_draw pass_draw = {.seed = 1, .draw = 2};

static void pass_begin(pass *p, int network, int real_type, ptrdiff_t rows) {
    network_build(&p->l, network, real_type);
    const ptrdiff_t n = p->l.widths[p->l.network.output];
    const size_t size = number_size(real_type);
    p->data = dataset_new(&p->l, rows, 3);
    p->params = params_new(&p->l, 7);
    p->outputs = guarded_array((size_t)(rows * n) * size);
    p->grads = guarded_array((size_t)p->l.network.n_params * size);
    p->dx = guarded_array((size_t)(rows * p->l.widths[0]) * size);
    p->doutputs = numbers_new(real_type, rows * n, 8, 1);
}

/* Forward and backward in a workspace of just the bytes asked for. */
static void pass_run(pass *p, int accumulate, int want_dx, int threads) {
    const int mark = guarded_mark();
    const ptrdiff_t rows = p->data.rows;
    void *workspace = guarded_array(fnn_workspace_size(&p->l.network, FNN_USE_PASS, rows, threads));
    fnn_forward(&p->l.network, p->params, &pass_draw, &p->data.x, workspace, p->outputs, threads);
    fnn_backward(&p->l.network, p->params, &pass_draw, rows, p->doutputs, workspace, p->grads, accumulate,
                 want_dx ? p->dx : NULL, threads);
    guarded_release(mark);
}

/* sum of doutputs . outputs */
static double pass_product(pass *p) {
    const ptrdiff_t n = p->data.rows * p->l.widths[p->l.network.output];
    if (layers_train_apart(&p->l)) {
        const int mark = guarded_mark();
        void *params = bytes_copy(p->params, params_size(&p->l)); /* its running statistics change */
        fnn_forward(&p->l.network, params, &pass_draw, &p->data.x,
                    guarded_array(fnn_workspace_size(&p->l.network, FNN_USE_PASS, p->data.rows, 1)), p->outputs, 1);
        guarded_release(mark);
    } else {
        predict(&p->l, p->params, &p->data.x, p->outputs, NULL, NULL, NULL, 1);
    }
    double sum = 0;
    for (ptrdiff_t i = 0; i < n; i++) sum += ((double *)p->doutputs)[i] * ((double *)p->outputs)[i];
    return sum;
}

/* Whether a number of x is a code, which has no derivative. */
static int is_code(const layers *l, ptrdiff_t i) {
    const ptrdiff_t column = i % l->widths[0];
    for (int32_t o = 0; o < l->network.n_ops; o++)
        if (l->ops[o].kind == FNN_EMBEDDING && column >= l->ops[o].from && column < l->ops[o].from + l->ops[o].count)
            return 1;
    return 0;
}

/* Every so many numbers of `at` against the gradient found. */
static int pass_slopes(pass *p, double *at, const double *found, ptrdiff_t n, ptrdiff_t every) {
    const double h = 1e-5;
    int good = 1;
    for (ptrdiff_t i = 0; i < n; i += every) {
        if (at == p->data.x.data && is_code(&p->l, i)) {
            good &= found[i] == 0;
            continue;
        }
        const double here = at[i];
        at[i] = here + h;
        const double above = pass_product(p);
        at[i] = here - h;
        const double below = pass_product(p);
        at[i] = here;
        const double slope = (above - below) / (2 * h);
        good &= fabs(found[i] - slope) <= 1e-7 * fmax(1, fabs(slope));
    }
    return good;
}

/* fnn_backward(): gradients of the parameters and of the input, and adding to what is there. */
static void gradients_of_passes(void) {
    for (int n = 0; network_name(n); n++) {
        const int mark = guarded_mark();
        pass p;
        pass_begin(&p, n, FNN_FLOAT64, 70);
        const ptrdiff_t n_params = p.l.network.n_params, n_inputs = p.data.rows * p.l.widths[0];
        pass_run(&p, 0, 1, 1);
        agree(pass_slopes(&p, p.params, p.grads, n_params, n_params / 60 + 1), network_name(n), FNN_FLOAT64, 70, 1,
              "fnn_backward, parameters");
        agree(pass_slopes(&p, (double *)(uintptr_t)p.data.x.data, p.dx, n_inputs, n_inputs / 60 + 1), network_name(n),
              FNN_FLOAT64, 70, 1, "fnn_backward, inputs");
        double *once = bytes_copy(p.grads, (size_t)n_params * sizeof(double));
        double *before = numbers_new(FNN_FLOAT64, n_params, 9, 1);
        memcpy(p.grads, before, (size_t)n_params * sizeof(double));
        pass_run(&p, 1, 0, 1);
        int good = 1;
        for (ptrdiff_t i = 0; i < n_params; i++)
            good &= fabs(((double *)p.grads)[i] - (before[i] + once[i])) <= 1e-13 * (1 + fabs(once[i]));
        agree(good, network_name(n), FNN_FLOAT64, 70, 1, "fnn_backward, accumulate");
        guarded_release(mark);
    }
}

/* The same bits whatever the set and the number of threads; also of one row, and of none. */
static void passes_agree(void) {
    static const ptrdiff_t sizes[] = {300, 1, 64, 63, 0};
    for (int n = 0; network_name(n); n++) {
        for (int t = 0; t < 2; t++) {
            for (size_t s = 0; s < (SANITIZED ? 2 : sizeof sizes / sizeof *sizes); s++) {
                const int mark = guarded_mark();
                pass p;
                pass_begin(&p, n, real_types[t], sizes[s]);
                const size_t size = number_size(real_types[t]);
                const size_t bytes = (size_t)p.l.network.n_params * size;
                const size_t dx_bytes = (size_t)(sizes[s] * p.l.widths[0]) * size;
                const size_t output_bytes = (size_t)(sizes[s] * p.l.widths[p.l.network.output]) * size;
                void *grads = NULL, *twice = NULL, *dx = NULL, *outputs = NULL, *params = NULL;
                const void *start = bytes_copy(p.params, params_size(&p.l));
                for (int isa = 0; next_isa(&isa);) {
                    for (int team = 0; team < N_TEAM_SIZES; team++) {
                        memset(p.grads, 0xff, bytes);
                        memcpy(p.params, start, params_size(&p.l));
                        pass_run(&p, 0, 1, team_sizes[team]);
                        const int first = grads == NULL;
                        if (first) {
                            grads = bytes_copy(p.grads, bytes);
                            dx = bytes_copy(p.dx, dx_bytes);
                            params = bytes_copy(p.params, params_size(&p.l));
                            outputs = bytes_copy(p.outputs, output_bytes);
                        }
                        agree(memcmp(grads, p.grads, bytes) == 0 && memcmp(dx, p.dx, dx_bytes) == 0 &&
                                  memcmp(outputs, p.outputs, output_bytes) == 0,
                              network_name(n), real_types[t], sizes[s], team_sizes[team], "bits of a pass");
                        agree(memcmp(params, p.params, params_size(&p.l)) == 0, network_name(n), real_types[t],
                              sizes[s], team_sizes[team], "bits of the state");
                        pass_run(&p, 1, 0, team_sizes[team]);
                        if (first) twice = bytes_copy(p.grads, bytes);
                        agree(memcmp(twice, p.grads, bytes) == 0, network_name(n), real_types[t], sizes[s],
                              team_sizes[team], "bits of a pass that adds");
                    }
                }
                /* The state is that of the rows there were. */
                const int moves = layers_have(&p.l, FNN_BATCH_NORM) && sizes[s] > 0;
                agree((memcmp(params, start, params_size(&p.l)) != 0) == moves &&
                          memcmp(params, start, bytes) == 0,
                      network_name(n), real_types[t], sizes[s], 1, "what a pass changes");
                guarded_release(mark);
            }
        }
    }
}

/* ---- training, step by step ------------------------------------------------------------------------------------ */

/* dz = 2 w / n (z - y) in the network's type, as the loss has it, for the rows of the next step. */
static void mse_gradient(const run *r, void *outputs) {
    const fnn_training *t = &r->training;
    const int real_type = t->network->real_type;
    const ptrdiff_t n = t->network->widths[t->network->output], first = run_first_row(r);
    for (ptrdiff_t i = 0; i < run_rows(r); i++) {
        const double weight = t->weights ? t->weights[first + i] : 1;
        for (ptrdiff_t j = 0; j < n; j++) {
            const double y = target_of(r, first + i, j);
            if (real_type == FNN_FLOAT32) {
                float *z = (float *)outputs + i * n + j;
                *z = 2 * (float)weight / (float)n * (*z - (float)y);
            } else {
                double *z = (double *)outputs + i * n + j;
                *z = 2 * weight / (double)n * (*z - y);
            }
        }
    }
}

/* The steps of a run with mse, rows in order, through the functions for the caller's own loop. */
static void train_by_hand(run *r) {
    fnn_training *t = &r->training;
    const fnn_network network = network_before_loss(r->layers);
    const ptrdiff_t n = network.widths[network.output], size = (ptrdiff_t)number_size(network.real_type);
    for (ptrdiff_t steps = t->n_steps; steps > 0; steps--) {
        const int mark = guarded_mark();
        const ptrdiff_t first = run_first_row(r), rows = run_rows(r);
        const fnn_array x = rows_of(&t->x, first, rows);
        void *workspace = guarded_array(fnn_workspace_size(&network, FNN_USE_PASS, rows, 2));
        void *outputs = guarded_array((size_t)(rows * n * size));
        const void *start = bytes_copy(t->params, r->numbers_bytes);
        const fnn_draw draw = {.seed = t->seed, .draw = t->draw};
        fnn_forward(&network, t->params, &draw, &x, workspace, outputs, 2);
        mse_gradient(r, outputs);
        fnn_backward(&network, t->params, &draw, rows, outputs, workspace, t->grads, 0, NULL, 2);
        double weight_sum = 0;
        for (ptrdiff_t i = first; i < first + rows; i++) weight_sum += t->weights ? t->weights[i] : 1;
        if (weight_sum > 0)
            fnn_update(&network, &r->optimizer, r->learning_rate, 1 / weight_sum, t->clip_norm, t->clip_value, t->params,
                       t->grads);
        else /* a batch without weight changes nothing */
            memcpy(t->params, start, r->numbers_bytes);
        run_skip(r, 1);
        guarded_release(mark);
    }
}

/* A pace that takes its first step on all threads (or on one), then tries the other way, a step at a time. */
static fnn_pace changing_pace(int alone) {
    return (fnn_pace){.seconds = {1, 1}, .alone = alone, .spent = 0.006, .steps = 1000, .since_trial = 1};
}

/* fnn_train() against the steps by hand, and over threads and sets: one and the same bits. */
static void runs_agree_on(const layers *l, const dataset *data, const char *name, ptrdiff_t batch, ptrdiff_t n_steps) {
    const int mark = guarded_mark(), real_type = l->network.real_type;
    run start, by_hand;
    run_begin(&start, l, data, batch);
    if (batch % 2) run_optimizer(&start, "adam", 0.01);
    if (batch % 3) start.training.weights = data->weights;
    start.training.clip_norm = batch % 7 ? 0.5 : 0; /* of gradients around 1 */
    if (start.training.n_steps > n_steps) start.training.n_steps = n_steps;
    run_copy(&by_hand, &start);
    train_by_hand(&by_hand);
    double loss = 0;
    int is_first = 1;
    for (int isa = 0; next_isa(&isa);) {
        for (int team = 0; team < N_TEAM_SIZES; team++) {
            const int inner_mark = guarded_mark();
            const int threads = team_sizes[team];
            run r;
            run_copy(&r, &start);
            r.training.threads = threads;
            fnn_pace pace = changing_pace(team % 2);
            if (isa % 2) r.training.pace = &pace;
            run_train(&r);
            if (is_first) loss = r.result.loss_sum;
            is_first = 0;
            agree(run_same(&r, &by_hand), name, real_type, batch, threads, "bits of a run");
            agree(memcmp(&loss, &r.result.loss_sum, sizeof loss) == 0, name, real_type, batch, threads,
                  "bits of the loss");
            agree(memcmp(r.training.grads, by_hand.training.grads, r.params_bytes) == 0, name, real_type, batch, threads,
                  "bits of the last gradient");
            if (r.training.pace) /* one that begins alone does not wake the others for its last step */
                CHECK(r.result.threads == 1 || r.result.threads == threads_wanted(threads));
            else
                CHECK_EQUAL(r.result.threads, threads_wanted(threads));
            CHECK_EQUAL(r.result.status, FNN_FINISHED);
            CHECK_EQUAL(r.result.steps, start.training.n_steps);
            guarded_release(inner_mark);
        }
    }
    guarded_release(mark);
}

static void runs_agree(int n, int real_type, ptrdiff_t rows, ptrdiff_t batch, ptrdiff_t n_steps) {
    const int mark = guarded_mark();
    layers l;
    network_build(&l, n, real_type);
    const dataset data = dataset_new(&l, rows, 4);
    runs_agree_on(&l, &data, network_name(n), batch, n_steps);
    guarded_release(mark);
}

/* Inputs of which the gradient of the first weight leaves zeros out: depth-first, by layers, without a bias, with a norm
 * of columns. */
static const char *const zeros_in[] = {"zeros, depth-first", "zeros, by layers", "zeros, no bias", "zeros, norm"};
enum { N_ZEROS_IN = sizeof zeros_in / sizeof *zeros_in };

static void build_for_zeros(layers *l, int which, int real_type) {
    layers_begin(l, real_type, 150);
    layers_dense(l, which == 0 ? 80 : 130, which != 2);
    if (which == 3) layers_norm(l, FNN_BATCH_NORM, 1);
    layers_activation(l, "relu", which != 1);
    layers_dense(l, 9, 1);
}

/* Three of four inputs of a row, six neighbours at a time, and inputs 72 to 83 in all rows. */
static void make_zeros(const dataset *data, int real_type) {
    const ptrdiff_t inputs = data->x.columns;
    for (ptrdiff_t i = 0; i < data->rows; i++) {
        for (ptrdiff_t j = 0; j < inputs; j++) {
            const int never = j / 12 == 6;
            const double zero = never || (i + j) % 9 ? 0.0 : -0.0;
            if ((i * 5 + j / 6 * 3) % 8 >= 6 && !never) continue;
            if (real_type == FNN_FLOAT32)
                ((float *)(uintptr_t)data->x.data)[i * inputs + j] = (float)zero;
            else
                ((double *)(uintptr_t)data->x.data)[i * inputs + j] = zero;
        }
    }
}

static void zeros_are_left_out(void) {
    static const ptrdiff_t batches[] = {1, 64, 100, 250, 700};
    for (int which = 0; which < N_ZEROS_IN; which++) {
        for (int t = 0; t < 2; t++) {
            const int mark = guarded_mark();
            layers l;
            build_for_zeros(&l, which, real_types[t]);
            const dataset data = dataset_new(&l, 700, 4);
            make_zeros(&data, real_types[t]);
            for (size_t b = 0; b < sizeof batches / sizeof *batches; b++)
                if (!SANITIZED || b % 2) runs_agree_on(&l, &data, zeros_in[which], batches[b], 3);
            guarded_release(mark);
        }
    }
}

/* A gradient that is not finite times zero is not zero: there, too, the bits are those of the step by hand. The loss of
 * outputs around 1e17 is finite, but not the product of its gradient with a weight around 1e25. */
static void zeros_times_infinity(void) {
    for (int which = 0; which < N_ZEROS_IN - 1; which++) {
        for (int isa = 0; next_isa(&isa);) {
            for (int team = 0; team < N_TEAM_SIZES; team++) {
                const int mark = guarded_mark();
                layers l;
                build_for_zeros(&l, which, FNN_FLOAT32);
                const dataset data = dataset_new(&l, 100, 4);
                make_zeros(&data, FNN_FLOAT32);
                run r, by_hand;
                run_begin(&r, &l, &data, 100);
                r.training.threads = team_sizes[team];
                r.learning_rate = 1e-3;
                float *params = r.training.params;
                const fnn_segment *last = &l.segments[l.network.n_segments - 2];
                for (ptrdiff_t i = 0; i < last->offset; i++) params[i] *= 1e-8f;
                for (ptrdiff_t i = 0; i < last->rows * last->columns; i++) params[last->offset + i] *= 1e25f;
                run_copy(&by_hand, &r);
                train_by_hand(&by_hand);
                run_train(&r);
                CHECK_EQUAL(r.result.status, FNN_BAD_UPDATE);
                const float *gradient = r.training.grads;
                CHECK(isnan(gradient[77 * l.segments[0].columns])); /* of the input that is always zero */
                agree(memcmp(gradient, by_hand.training.grads, r.params_bytes) == 0, zeros_in[which], FNN_FLOAT32, 100,
                      team_sizes[team], "bits of a gradient that is not finite");
                guarded_release(mark);
            }
        }
    }
}

static void runs(void) {
    static const ptrdiff_t batches[] = {1, 7, 64, 100, 130, 250, 1000}; /* ragged, full, and more than there are */
    for (int n = 0; network_name(n); n++) {
        const int is_chunked = network_is_chunked(n);
        for (int t = 0; t < 2; t++) {
            for (size_t b = 0; b < sizeof batches / sizeof *batches && !is_chunked; b++) {
                if (SANITIZED && b % 3) continue;
                runs_agree(n, real_types[t], 250, batches[b], 6);
            }
            /* Three chunks of 400 rows; a last batch of 100, which is one. */
            if (is_chunked) runs_agree(n, real_types[t], 1300, 1200, 2);
            /* Slots grow with the batch. */
            if (network_is_narrow(n)) runs_agree(n, real_types[t], 1500, 1100, 2);
        }
    }
}

/* Cross-entropies joined with the last activation, labels or probabilities, in a shuffled order: bits over threads
 * and sets, and the recorded bits of a run of each type. When the last change, results change: raise
 * FNN_NUMERICS_VERSION, and record them anew. */
static void joined_runs(void) {
    static const uint64_t recorded[2][2] = {{0x31569559657d3dad, 0xdfb0f915c8386952},
                                            {0x526ec56a65d78a9b, 0x6c8a088417544cf6}};
    for (int t = 0; t < 2; t++) {
        for (int wide = 0; wide < 2; wide++) {
            const int mark = guarded_mark();
            const int real_type = real_types[t];
            layers l;
            network_build(&l, wide, real_type);
            layers_activation(&l, wide ? "sigmoid" : "softmax", 1);
            const dataset data = dataset_new(&l, 300, 6);
            run start;
            run_begin(&start, &l, &data, 128);
            run_optimizer(&start, "adam", 0.01);
            start.training.objective.loss = loss_called(wide ? "binary_cross_entropy" : "cross_entropy");
            start.training.objective.joined = 1;
            start.training.y = wide ? data.values : data.labels;
            start.training.weights = data.weights;
            start.training.shuffle = 1;
            start.training.seed = 12;
            start.training.epoch = 3;
            start.training.order = guarded_array(300 * sizeof(int64_t));
            int64_t *order = guarded_array(300 * sizeof(int64_t));
            fnn_permutation(12, FNN_STREAM_SHUFFLE, 3, 300, order);
            run first = start;
            int is_first = 1;
            for (int isa = 0; next_isa(&isa);) {
                for (int team = 0; team < N_TEAM_SIZES; team++) {
                    run r;
                    run_copy(&r, &start);
                    r.training.threads = team_sizes[team];
                    run_train(&r);
                    if (is_first) first = r;
                    is_first = 0;
                    agree(run_same(&r, &first) && r.result.loss_sum == first.result.loss_sum,
                          fnn_loss_name(r.training.objective.loss), real_type, 128, team_sizes[team], "bits of a run");
                    CHECK_EQUAL(r.result.threads, threads_wanted(team_sizes[team]));
                }
            }
            CHECK(memcmp(order, start.training.order, 300 * sizeof(int64_t)) == 0);
            const uint64_t hash = bytes_hash(first.training.params, first.params_bytes);
            if (!CHECK(hash == recorded[t][wide]))
                printf("    float%d: 0x%016llx\n", t ? 64 : 32, (unsigned long long)hash);
            guarded_release(mark);
        }
    }
}

/* It learns: the loss falls by more than a fifth, even of the network that ends in a sigmoid after a softmax. */
static void learning(void) {
    for (int n = 0; network_name(n); n++) {
        const int mark = guarded_mark();
        layers l;
        network_build(&l, n, FNN_FLOAT32);
        const dataset data = dataset_new(&l, 60, 7);
        run r;
        run_begin(&r, &l, &data, 20);
        run_optimizer(&r, "adam", 0.01);
        run_train(&r);
        const double before = r.result.loss_sum;
        for (int epoch = 0; epoch < 150; epoch++) run_train(&r);
        CHECK(r.result.loss_sum < 0.8 * before);
        guarded_release(mark);
    }
}

/* ---- what a run is told ---------------------------------------------------------------------------------------- */

/* Networks of inputs wide enough to be asked for while those before are multiplied, depth-first and by layers; with
 * operations before the first product, and with one that all rows must be read for. */
static const char *const wide_inputs[] = {"depth-first", "by layers", "random", "norm", "thin"};
enum { N_WIDE_INPUTS = sizeof wide_inputs / sizeof *wide_inputs };
static void build_wide_inputs(layers *l, int which, int real_type) {
    layers_begin(l, real_type, 150);
    if (which == 2) layers_random(l, FNN_DROPOUT, 0.25);
    if (which == 2) layers_random(l, FNN_NOISE, 0.5);
    if (which == 3) layers_norm(l, FNN_BATCH_NORM, 1);
    layers_dense(l, which == 0 ? 20 : which == 4 ? 3 : 130, 1);
    layers_activation(l, "relu", which != 1);
    layers_dense(l, which == 0 ? 9 : 131, 1);
}

/* An order is nothing else than other rows: data, targets, weights and outputs follow it. */
static void order_is_a_view(void) {
    enum { ROWS = 230 };
    for (int n = 0; n < 2 + N_WIDE_INPUTS; n++) {
        const int mark = guarded_mark();
        layers l;
        if (n < 2)
            network_build(&l, n, FNN_FLOAT64);
        else
            build_wide_inputs(&l, n - 2, FNN_FLOAT64);
        const ptrdiff_t inputs = l.widths[0], outputs = l.widths[l.network.output];
        const dataset data = dataset_new(&l, ROWS, 8);
        dataset moved = dataset_new(&l, ROWS, 8);
        int64_t *order = guarded_array(ROWS * sizeof *order);
        fnn_permutation(1, FNN_STREAM_SHUFFLE, 1, ROWS, order);
        for (ptrdiff_t i = 0; i < ROWS; i++) {
            memcpy((double *)(uintptr_t)moved.x.data + i * inputs, (const double *)data.x.data + order[i] * inputs,
                   (size_t)inputs * sizeof(double));
            memcpy((double *)(uintptr_t)moved.values.values.data + i * outputs,
                   (const double *)data.values.values.data + order[i] * outputs, (size_t)outputs * sizeof(double));
            moved.weights[i] = data.weights[order[i]];
        }
        run by_order, by_hand;
        run_begin(&by_order, &l, &data, 90);
        run_begin(&by_hand, &l, &moved, 90);
        by_order.training.order = order;
        by_order.training.weights = data.weights;
        by_hand.training.weights = moved.weights;
        const size_t bytes = (size_t)(ROWS * outputs) * sizeof(double);
        double *kept = by_order.training.outputs = guarded_array(bytes);
        double *kept_by_hand = by_hand.training.outputs = guarded_array(bytes);
        run start;
        run_copy(&start, &by_order);
        run_train(&by_order);
        run_train(&by_hand);
        CHECK(run_same(&by_order, &by_hand));
        for (int isa = 0; next_isa(&isa);) {
            for (int team = 0; team < N_TEAM_SIZES; team++) {
                const int inner_mark = guarded_mark();
                run r;
                run_copy(&r, &start);
                r.training.threads = team_sizes[team];
                run_train(&r);
                agree(run_same(&r, &by_hand), n < 2 ? network_name(n) : wide_inputs[n - 2], FNN_FLOAT64, 90,
                      team_sizes[team], "bits of a run in an order");
                guarded_release(inner_mark);
            }
        }
        int good = 1;
        for (ptrdiff_t i = 0; i < ROWS; i++)
            good &= memcmp(kept + order[i] * outputs, kept_by_hand + i * outputs, (size_t)outputs * sizeof(double)) ==
                    0;
        CHECK(good);
        guarded_release(mark);
    }
}

/* Numbers of another type and layout are converted as they are read. */
static void other_data(void) {
    enum { ROWS = 150 };
    for (int n = 0; n < 2; n++) {
        const int mark = guarded_mark();
        layers l;
        network_build(&l, n, FNN_FLOAT32);
        const ptrdiff_t inputs = l.widths[0];
        const dataset data = dataset_new(&l, ROWS, 9);
        dataset converted = data;
        uint8_t *bytes = guarded_array((size_t)(ROWS * inputs)); /* (inputs, ROWS): columns lie together */
        float *floats = (float *)(uintptr_t)data.x.data;
        for (ptrdiff_t i = 0; i < ROWS; i++)
            for (ptrdiff_t j = 0; j < inputs; j++) {
                bytes[j * ROWS + i] = (uint8_t)(i * 3 + j * 5);
                floats[i * inputs + j] = (float)bytes[j * ROWS + i];
            }
        converted.x = (fnn_array){bytes, FNN_UINT8, ROWS, inputs, 1, ROWS};
        run r, from_bytes;
        run_begin(&r, &l, &data, 64);
        run_begin(&from_bytes, &l, &converted, 64);
        r.learning_rate = from_bytes.learning_rate = 1e-5;
        run_train(&r);
        run_train(&from_bytes);
        CHECK(run_same(&r, &from_bytes));
        CHECK_EQUAL(r.result.status, FNN_FINISHED);
        guarded_release(mark);
    }
}

/* A batch whose weights are all 0 changes nothing and is no update; a row of weight 0 might as well not be there. */
static void weights_of_zero(void) {
    for (int n = 0; network_name(n); n++) {
        for (int team = 0; team < 2; team++) {
            const int mark = guarded_mark();
            layers l;
            network_build(&l, n, FNN_FLOAT32);
            const dataset data = dataset_new(&l, 200, 10);
            for (ptrdiff_t i = 80; i < 160; i++) data.weights[i] = 0;
            run r, start, without;
            run_begin(&start, &l, &data, 80);
            run_optimizer(&start, "nadam", 0.01);
            run_average(&start, 0.5);
            start.training.weights = data.weights;
            start.training.threads = 1 + 2 * team;
            run_copy(&r, &start);
            run_copy(&without, &start);
            run_train(&r);
            CHECK_EQUAL(r.result.status, FNN_FINISHED);
            CHECK_EQUAL(r.result.steps, 3);
            CHECK_EQUAL(r.optimizer.step, 2);
            without.training.n_steps = 1;
            run_train(&without);
            const double loss = without.result.loss_sum, weight = without.result.weight_sum;
            run_skip(&without, 2);
            run_train(&without);
            CHECK(run_same(&r, &without));
            CHECK_CLOSE(r.result.loss_sum, loss + without.result.loss_sum, 1e-12 * loss);
            CHECK_CLOSE(r.result.weight_sum, weight + without.result.weight_sum, 0);
            guarded_release(mark);
        }
    }
}

static double param(const run *r, ptrdiff_t i) {
    return number_get(r->training.params, r->layers->network.real_type, i);
}

/* Frozen segments stay; a factor scales the rate; penalties add their derivative; the rest does not notice. */
static void segments_have_their_own_rates(void) {
    for (int n = 0; n < 2; n++) {
        const int mark = guarded_mark();
        layers l;
        network_build(&l, n, FNN_FLOAT64);
        const dataset data = dataset_new(&l, 70, 11);
        run start, plain, special, half;
        run_begin(&start, &l, &data, 70);
        start.learning_rate = 0.125;
        run_copy(&plain, &start);
        run_copy(&special, &start);
        run_copy(&half, &start);
        run_train(&plain);
        half.learning_rate = 0.0625;
        run_train(&half);
        l.segments[0].frozen = 1;
        l.segments[1].learning_rate_factor = 0.5;
        l.segments[2].l1 = 0.25;
        l.segments[2].l2 = 0.75;
        special.training.threads = 3;
        run_train(&special);
        int frozen = 1, halved = 1, penalized = 1, others = 1;
        for (ptrdiff_t i = 0; i < l.network.n_params; i++) {
            const double p = param(&start, i), found = param(&special, i);
            if (i < l.segments[1].offset) {
                frozen &= found == p;
            } else if (i < l.segments[2].offset) {
                halved &= found == param(&half, i);
            } else if (i < l.segments[3].offset) {
                const double sign = (p > 0) - (p < 0);
                penalized &= fabs(found - (param(&plain, i) - 0.125 * (0.25 * sign + 2 * 0.75 * p))) < 1e-14;
            } else {
                others &= found == param(&plain, i);
            }
        }
        agree(frozen, network_name(n), FNN_FLOAT64, 70, 3, "a frozen segment");
        agree(halved, network_name(n), FNN_FLOAT64, 70, 3, "a learning-rate factor");
        agree(penalized, network_name(n), FNN_FLOAT64, 70, 3, "penalties");
        agree(others, network_name(n), FNN_FLOAT64, 70, 3, "other segments");
        guarded_release(mark);
    }
}

/* Penalties, a clipped norm or clipped elements, decay, an average, and sums of squares: bits over threads and sets; and
 * against plain sums over the parameters. */
static void regularized_runs(int n, int real_type) {
    const int mark = guarded_mark();
    const double tolerance = real_type == FNN_FLOAT32 ? 1e-5 : 1e-12;
    layers l;
    network_build(&l, n, real_type);
    const int32_t n_segments = l.network.n_segments;
    for (int32_t i = 0; i < n_segments; i += 2) l.segments[i].l1 = 0.001 * i, l.segments[i].l2 = 0.01;
    if (n_segments > 1) l.segments[n_segments - 1].frozen = 1;
    const dataset data = dataset_new(&l, 150, 13);
    for (int clip = 0; clip < 4; clip++) { /* 3: the norm, with penalties of sums */
        const int inner_mark = guarded_mark();
        const size_t sums_bytes = (size_t)n_segments * 3 * sizeof(double);
        double *sums = guarded_array(sums_bytes), *first_sums = guarded_array(sums_bytes);
        run start, first = {0};
        run_begin(&start, &l, &data, 70);
        run_optimizer(&start, "nadam", 0.01);
        run_average(&start, 0.75);
        start.optimizer.weight_decay = 0.5;
        start.optimizer.penalizes_sums = clip == 3;
        start.training.clip_norm = clip == 1 || clip == 3 ? 0.125 : 0;
        start.training.clip_value = clip == 2 ? 0.001 : 0;
        start.training.segment_sums = sums;
        for (int isa = 0; next_isa(&isa);) {
            for (int team = 0; team < N_TEAM_SIZES; team++) {
                run r;
                run_copy(&r, &start);
                r.training.threads = team_sizes[team];
                run_train(&r);
                CHECK_EQUAL(r.result.status, FNN_FINISHED);
                CHECK_EQUAL(r.optimizer.averaged, 3);
                if (first.layers == NULL) {
                    first = r;
                    memcpy(first_sums, sums, sums_bytes);
                }
                agree(run_same(&r, &first) && r.result.loss_sum == first.result.loss_sum, network_name(n), real_type,
                      clip, r.training.threads, "bits of a regularized run");
                agree(memcmp(sums, first_sums, sums_bytes) == 0, network_name(n), real_type, clip,
                      r.training.threads, "bits of the sums of squares");
            }
        }
        /* The last step alone, from where the first two end: its sums over elements, its loss and its clipping. */
        run last;
        run_copy(&last, &start);
        last.training.n_steps = 2;
        run_train(&last);
        run before;
        run_copy(&before, &last);
        const double penalty = fnn_penalty(&l.network, before.training.params);
        run_skip(&before, 2);
        const double data_term = loss_of(&before);
        run_skip(&last, 2);
        last.training.n_steps = 1;
        run_train(&last);
        CHECK(run_same(&last, &first) && memcmp(sums, first_sums, sums_bytes) == 0);
        const double share = clip == 3 ? 0.1 : 1; /* of the penalties, in the mean over 10 rows */
        CHECK_CLOSE(last.result.loss_sum, data_term + 10 * share * penalty, tolerance * 10);
        double of_penalties = 0, squares = 0;
        for (int32_t i = 0; i < n_segments; i++) {
            const fnn_segment *s = &l.segments[i];
            double gradient = 0, update = 0, weight = 0;
            for (ptrdiff_t at = s->offset; at < s->offset + s->rows * s->columns; at++) {
                const double p = param(&before, at), g = number_get(last.training.grads, real_type, at) / 10 +
                                                         share * (s->l1 * ((p > 0) - (p < 0)) + 2 * s->l2 * p);
                gradient += g * g;
                update += (param(&last, at) - p) * (param(&last, at) - p);
                weight += p * p;
                of_penalties += s->l1 * fabs(p) + s->l2 * p * p;
            }
            CHECK_CLOSE(sums[3 * i], gradient, tolerance * gradient);
            CHECK_CLOSE(sums[3 * i + 1], update, tolerance * update);
            CHECK_CLOSE(sums[3 * i + 2], weight, tolerance * weight);
            CHECK((sums[3 * i + 1] == 0) == s->frozen);
            if (!s->frozen) squares += gradient;
        }
        CHECK(of_penalties > 0);
        CHECK_CLOSE(penalty, of_penalties, 1e-12 * of_penalties);
        /* With SGD a clipped step is as long as the bound. */
        if (clip == 1) {
            run sgd;
            run_copy(&sgd, &before);
            run_optimizer(&sgd, "sgd", 1);
            sgd.training.n_steps = 1;
            run_train(&sgd);
            double length = 0;
            for (int32_t i = 0; i < n_segments; i++) length += sums[3 * i + 1];
            CHECK(sqrt(squares) > 0.125);
            CHECK_CLOSE(sqrt(length), 0.125, 0.125 * tolerance);
        }
        guarded_release(inner_mark);
    }
    guarded_release(mark);
}

static void regularized(void) {
    for (int n = 0; network_name(n); n++)
        for (int t = 0; t < 2; t++)
            if (!SANITIZED || n < 3) regularized_runs(n, real_types[t]);
}

/* Norms of columns: running = momentum . running + (1 - momentum) . moment after each step, of the mean and of the
 * variance with rows - 1 in its denominator (of one row: 0); the first such norm sees the input. */
static void running_statistics(void) {
    static const ptrdiff_t batches[] = {40, 130, 1, 700};
    for (int t = 0; t < 2; t++) {
        for (size_t b = 0; b < sizeof batches / sizeof *batches; b++) {
            const int mark = guarded_mark();
            layers l;
            network_build(&l, network_called("columns"), real_types[t]);
            const dataset data = dataset_new(&l, 130, 17);
            const ptrdiff_t n = l.widths[0];
            run r;
            run_begin(&r, &l, &data, batches[b]);
            r.training.threads = 2;
            r.training.n_steps = 1;
            for (int step = 0; step < 3 && run_rows(&r) > 0; step++) {
                const ptrdiff_t first = run_first_row(&r), rows = run_rows(&r);
                run before;
                run_copy(&before, &r);
                run_train(&r);
                CHECK_EQUAL(r.result.status, FNN_FINISHED);
                for (ptrdiff_t j = 0; j < n; j++) {
                    double mean = 0, variance = 0;
                    for (ptrdiff_t i = first; i < first + rows; i++)
                        mean += number_get(data.x.data, real_types[t], i * n + j) / (double)rows;
                    for (ptrdiff_t i = first; i < first + rows; i++) {
                        const double d = number_get(data.x.data, real_types[t], i * n + j) - mean;
                        variance += d * d / (double)(rows > 1 ? rows - 1 : 1);
                    }
                    const ptrdiff_t at = l.network.n_params + l.ops[0].state + j;
                    const double momentum = l.ops[0].momentum, tolerance = t ? 1e-14 : 1e-6;
                    CHECK_CLOSE(param(&r, at), momentum * param(&before, at) + (1 - momentum) * mean, tolerance);
                    CHECK_CLOSE(param(&r, at + n), momentum * param(&before, at + n) + (1 - momentum) * variance,
                                tolerance);
                }
                run_skip(&r, 1);
            }
            guarded_release(mark);
        }
    }
}

/* One rate for each step, and the same steps in as many calls. */
static void rates_by_step(void) {
    const double rates[] = {0.1, 0.02, 0.3, 0.004};
    for (int n = 0; network_name(n); n++) {
        if (network_is_chunked(n)) continue; /* these rates are too large for them */
        const int mark = guarded_mark();
        layers l;
        network_build(&l, n, FNN_FLOAT32);
        const dataset data = dataset_new(&l, 100, 12);
        run at_once, apart;
        run_begin(&at_once, &l, &data, 30);
        run_copy(&apart, &at_once);
        at_once.training.learning_rates = rates;
        at_once.training.n_learning_rates = 4;
        run_train(&at_once);
        apart.training.n_steps = 1;
        for (int step = 0; step < 4; step++) {
            apart.learning_rate = rates[step];
            run_train(&apart);
            run_skip(&apart, 1);
        }
        CHECK(run_same(&at_once, &apart));
        CHECK_EQUAL(at_once.result.steps, 4);
        at_once.training.n_steps = 9; /* steps that the epoch does not have are not made */
        at_once.training.n_learning_rates = 1;
        run_train(&at_once);
        CHECK_EQUAL(at_once.result.steps, 4);
        guarded_release(mark);
    }
}

/* Each row's output is kept as it was before its batch was learned, joined activation and all, be it in place or not;
 * and a loss beside a prediction does not change it. */
static void outputs_are_those_before(void) {
    for (int n = 0; network_name(n); n++) {
        for (int how = 0; how < 4; how++) {
            const int joined = how & 1;
            layers l;
            network_build(&l, n, FNN_FLOAT32);
            const int rescales = layers_have(&l, FNN_RESCALE); /* which nothing may follow */
            if (rescales && how > 0) continue;
            if (!rescales) layers_activation(&l, "softmax", how >> 1);
            const int mark = guarded_mark();
            const ptrdiff_t rows = network_is_chunked(n) ? 900 : 150, outputs = l.widths[l.network.output];
            const dataset data = dataset_new(&l, rows, 13);
            run r;
            run_begin(&r, &l, &data, rows / 2 + 10);
            if (joined) r.training.objective = (fnn_objective){loss_called("cross_entropy"), 1, NULL, 0};
            if (joined) r.training.y = data.labels;
            const size_t bytes = (size_t)(rows * outputs) * sizeof(float);
            float *kept = r.training.outputs = guarded_array(bytes), *wanted = guarded_array(bytes);
            float *beside = guarded_array(bytes);
            r.training.n_steps = 1;
            r.training.threads = 2;
            for (int step = 0; step < 2; step++) {
                const ptrdiff_t first = step * r.training.batch, count = step ? rows - first : r.training.batch;
                predict(&l, r.training.params, &data.x, wanted, NULL, NULL, NULL, 1);
                predict(&l, r.training.params, &data.x, beside, &r.training.objective, &r.training.y, NULL, 2);
                agree(memcmp(beside, wanted, bytes) == 0, network_name(n), FNN_FLOAT32, rows, 2,
                      "outputs beside a loss");
                if (layers_train_apart(&l)) run_forward(&r, &l.network, wanted + first * outputs);
                run_train(&r);
                run_skip(&r, 1);
                agree(memcmp(kept + first * outputs, wanted + first * outputs,
                             (size_t)(count * outputs) * sizeof(float)) == 0,
                      network_name(n), FNN_FLOAT32, count, 2, "outputs kept");
                if (step == 0)
                    agree(isnan(kept[first + count * outputs]), network_name(n), FNN_FLOAT32, count, 2,
                          "outputs of other batches");
            }
            guarded_release(mark);
        }
    }
}

/* ---- runs that end early --------------------------------------------------------------------------------------- */

/* A loss that is not finite: the step is not made. A parameter that is not: it is told. */
static void divergence(void) {
    for (int n = 0; network_name(n); n++) {
        for (int threads = 1; threads < 4; threads += 2) {
            const int mark = guarded_mark();
            layers l;
            network_build(&l, n, FNN_FLOAT32);
            const dataset data = dataset_new(&l, 400, 14);
            float *target = (float *)(uintptr_t)data.values.values.data;
            target[(3 * 70 + 66) * l.widths[l.network.output]] = 1e30f; /* its square is beyond floats */
            run r, before;
            run_begin(&r, &l, &data, 70);
            r.training.threads = threads;
            run_copy(&before, &r);
            before.training.n_steps = 3;
            run_train(&r);
            run_train(&before);
            CHECK_EQUAL(r.result.status, FNN_DIVERGED);
            CHECK_EQUAL(r.result.steps, 3);
            CHECK(!isfinite(r.result.loss_sum));
            agree(run_same(&r, &before), network_name(n), FNN_FLOAT32, 70, threads,
                  "parameters of a run that diverged");
            CHECK_EQUAL(before.result.status, FNN_FINISHED);

            before.training.first_step = 4;
            before.learning_rate = 1e38;
            ((float *)before.optimizer.state)[l.network.n_params - 1] = 1e10f;
            run_train(&before);
            CHECK_EQUAL(before.result.status, FNN_BAD_UPDATE);
            CHECK_EQUAL(before.result.steps, 1);
            CHECK_EQUAL(before.result.threads, threads_wanted(threads));
            CHECK_EQUAL(before.optimizer.step, 4);
            guarded_release(mark);
        }
    }
    const int mark = guarded_mark();
    layers l;
    network_build(&l, 0, FNN_FLOAT64);
    const dataset data = dataset_new(&l, 10, 15);
    run r;
    run_begin(&r, &l, &data, 10);
    numbers_fill(r.training.grads, FNN_FLOAT64, l.network.n_params, 1, 1);
    CHECK_EQUAL(fnn_update(&l.network, &r.optimizer, 0.1, 1, 0, 0, r.training.params, r.training.grads), FNN_FINISHED);
    ((double *)r.training.grads)[l.network.n_params - 1] = (double)INFINITY;
    CHECK_EQUAL(fnn_update(&l.network, &r.optimizer, 0.1, 1, 0, 0, r.training.params, r.training.grads), FNN_BAD_UPDATE);
    CHECK_EQUAL(r.optimizer.step, 2);
    guarded_release(mark);
}

typedef struct {
    int polls, stop_at;
} poller;

static int stop_when_told(void *context) {
    poller *p = context;
    return ++p->polls == p->stop_at;
}

/* Stopped at every look a run takes: the parameters are those after the steps counted, and going on from there gives
 * the bits of a run that was never stopped. */
static void stops_on(const layers *l, const char *name, ptrdiff_t rows, ptrdiff_t batch, int threads) {
    const int mark = guarded_mark(), real_type = l->network.real_type;
    const dataset data = dataset_new(l, rows, 16);
    run start, whole, after[64];
    run_begin(&start, l, &data, batch);
    run_optimizer(&start, "adam", 0.01);
    start.training.threads = threads;
    const ptrdiff_t n_steps = start.training.n_steps;
    run_copy(&whole, &start);
    run_train(&whole);
    for (ptrdiff_t steps = 0; steps <= n_steps; steps++) { /* where a run of so many steps ends */
        run_copy(&after[steps], &start);
        after[steps].training.n_steps = steps;
        run_train(&after[steps]);
    }
    int n_stopped = 0, is_done = 0;
    for (int stop_at = 1; !is_done; stop_at++) {
        const int inner_mark = guarded_mark();
        poller p = {0, stop_at};
        run r;
        run_copy(&r, &start);
        r.training.poll = stop_when_told;
        r.training.poll_context = &p;
        run_train(&r);
        is_done = r.result.status != FNN_STOPPED;
        if (is_done) {
            CHECK_EQUAL(r.result.status, FNN_FINISHED);
            CHECK(p.polls < stop_at);
            agree(run_same(&r, &whole), name, real_type, batch, threads, "bits of a run that is watched");
        } else {
            n_stopped++;
            CHECK_EQUAL(p.polls, stop_at); /* not asked again */
            CHECK(r.result.steps < n_steps);
            const run *wanted = &after[r.result.steps];
            agree(run_same(&r, wanted) && r.result.loss_sum == wanted->result.loss_sum &&
                      r.result.weight_sum == wanted->result.weight_sum,
                  name, real_type, batch, threads, "a run that was stopped");
            r.training.poll = NULL;
            run_skip(&r, r.result.steps);
            r.training.n_steps = n_steps - r.result.steps;
            r.training.loss_sum = r.result.loss_sum;
            r.training.weight_sum = r.result.weight_sum;
            r.training.threads = 1 + stop_at % 3;
            run_train(&r);
            agree(run_same(&r, &whole) && r.result.loss_sum == whole.result.loss_sum &&
                      r.result.weight_sum == whole.result.weight_sum,
                  name, real_type, batch, threads, "a run that went on");
        }
        guarded_release(inner_mark);
    }
    CHECK(n_stopped >= n_steps / 2 && n_stopped > 0);
    poller p = {0, 1};
    start.training.poll = stop_when_told;
    start.training.poll_context = &p;
    start.training.poll_seconds = 1000; /* before then, nobody is asked */
    run_train(&start);
    CHECK_EQUAL(p.polls, 0);
    agree(run_same(&start, &whole), name, real_type, batch, threads, "bits of a run that could be watched");
    guarded_release(mark);
}

static void stops(int n, int real_type, ptrdiff_t rows, ptrdiff_t batch, int threads) {
    layers l;
    network_build(&l, n, real_type);
    stops_on(&l, network_name(n), rows, batch, threads);
}

static void stopping(void) {
    layers slots;
    build_for_zeros(&slots, 0, FNN_FLOAT32); /* depth-first, and asked for each tile of a slot */
    for (int threads = 1; threads <= (SANITIZED ? 3 : 5); threads += 2) {
        stops_on(&slots, zeros_in[0], 3000, 2000, threads);
        stops(0, FNN_FLOAT32, 3000, 1000, threads);
        stops(1, FNN_FLOAT64, 600, 100, threads);
        stops(2, FNN_FLOAT32, 200, 33, threads);
        stops(5, FNN_FLOAT32, 2500, 1200, threads); /* between the chunks of a batch as well */
        stops(network_called("random"), FNN_FLOAT32, 3000, 1000, threads);
        stops(network_called("mixed"), FNN_FLOAT64, 600, 150, threads);
    }
}

/* Thread 0 dawdles at every look at the clock, so the others take over what it has not begun: same bits. */
static int dawdle(void *context) {
    int *polls = context;
    const double until = fnn_seconds() + 2e-4;
    while (fnn_seconds() < until) continue;
    ++*polls;
    return 0;
}

static void dawdling(void) {
    static const struct {
        int network;
        ptrdiff_t rows, batch;
    } cases[] = {{0, 3000, 1500}, {1, 600, 200}, {2, 600, 200}, {5, 2500, 1200}};
    int polls = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const int mark = guarded_mark();
        layers l;
        network_build(&l, cases[i].network, FNN_FLOAT32);
        const dataset data = dataset_new(&l, cases[i].rows, 16);
        run alone, r;
        run_begin(&alone, &l, &data, cases[i].batch);
        run_optimizer(&alone, "adam", 0.01);
        run_copy(&r, &alone);
        run_train(&alone);
        r.training.threads = 3;
        r.training.poll = dawdle;
        r.training.poll_context = &polls;
        run_train(&r);
        agree(run_same(&r, &alone) && r.result.loss_sum == alone.result.loss_sum, network_name(cases[i].network),
              FNN_FLOAT32, cases[i].batch, 3, "bits of a run with a slow thread");
        guarded_release(mark);
    }
    CHECK(polls > 0);
}

/* Of two threads, the one that dawdles is asked at every tile it has. Were nobody helped, it had 8 of 15 slots of every
 * batch; once in many runs, at least, the other must have had time to take some. */
static void helping(void) {
    enum { ATTEMPTS = 50 };
    const int mark = guarded_mark();
    layers l;
    build_for_zeros(&l, 0, FNN_FLOAT32);
    const dataset data = dataset_new(&l, 6000, 16);
    run start;
    run_begin(&start, &l, &data, 2000);
    start.training.poll = dawdle;
    int all = 0, some = 0;
    for (int attempt = 0; attempt <= ATTEMPTS && (attempt < 2 || 20 * some > 9 * all); attempt++) {
        const int inner_mark = guarded_mark();
        int polls = 0;
        run r;
        run_copy(&r, &start);
        r.training.poll_context = &polls;
        r.training.threads = attempt == 0 ? 1 : 2;
        run_train(&r);
        *(attempt == 0 ? &all : &some) = polls;
        guarded_release(inner_mark);
    }
    CHECK(all >= 3 * 15);
    if (!CHECK(20 * some <= 9 * all)) printf("    %d of %d looks\n", some, all);
    guarded_release(mark);
}

/* What does not fit is told by a size of 0, and never computed wrong. */
static void sizes(void) {
    for (int t = 0; t < 2; t++) {
        for (int n = 0; network_name(n); n++) {
            layers l;
            network_build(&l, n, real_types[t]);
            CHECK_EQUAL(fnn_workspace_size(&l.network, FNN_USE_PASS, PTRDIFF_MAX, 1), 0);
            CHECK_EQUAL(fnn_workspace_size(&l.network, FNN_USE_PASS, PTRDIFF_MAX / 8, 1), 0);
            CHECK_EQUAL(fnn_workspace_size(&l.network, FNN_USE_PASS, (ptrdiff_t)1 << 58, 4), 0);
            /* Training works on some rows at a time, but for norms of columns; a prediction keeps a sum per block. */
            const size_t training = fnn_workspace_size(&l.network, FNN_USE_TRAIN, PTRDIFF_MAX, 1);
            CHECK(layers_have(&l, FNN_BATCH_NORM) ? training == 0 : training < (size_t)1 << 30);
            const size_t size = fnn_workspace_size(&l.network, FNN_USE_PREDICT, PTRDIFF_MAX, 1);
            CHECK(size == 0 || size > (size_t)PTRDIFF_MAX / 64 * 16);
            for (int use = FNN_USE_TRAIN; use <= FNN_USE_PREDICT; use++) {
                const size_t one = fnn_workspace_size(&l.network, use, 100, 1);
                CHECK(one > 0 && one < (size_t)100 << 20);
                CHECK(fnn_workspace_size(&l.network, use, 100, 8) >= one);
            }
        }
        layers l;
        layers_begin(&l, real_types[t], PTRDIFF_MAX / 2);
        layers_dense(&l, 1, 0);
        for (int use = FNN_USE_TRAIN; use <= FNN_USE_PREDICTOR; use++)
            CHECK_EQUAL(fnn_workspace_size(&l.network, use, 100, 1), 0);
    }
}

/* All on one thread: these need no processors to themselves, as the others do. */
void test_gradients(void);
void test_gradients(void) {
    gradients_of_losses();
    gradients_of_networks();
    gradients_of_passes();
}

void test_network(void);
void test_network(void) {
    sizes();
    passes_agree();
    runs();
    zeros_are_left_out();
    zeros_times_infinity();
    joined_runs();
    learning();
    order_is_a_view();
    other_data();
    weights_of_zero();
    segments_have_their_own_rates();
    regularized();
    running_statistics();
    rates_by_step();
    outputs_are_those_before();
    divergence();
    stopping();
    dawdling();
    helping();
}
