/* test_predictor.c: prediction of many rows and of one; a row has the same bits however it is predicted.
 *
 * The oracle is the network in plain loops of doubles; bits are those of the first way tried.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "fastnn.h"
#include "guarded.h"
#include "networks.h"
#include "parallel.h"

enum { ROWS = 200 };
static const int real_types[] = {FNN_FLOAT32, FNN_FLOAT64};

static int agree(int good, const char *network, int real_type, ptrdiff_t rows, int threads, const char *what) {
    if (!CHECK(good))
        printf("    %s: %s, %s, float%d, %td rows, %d threads\n", what, network, fnn_isa(), real_type ? 64 : 32, rows,
               threads);
    return good;
}

/* ---- one network, its data, and what it should say --------------------------------------------------------------- */

typedef struct {
    const char *name;
    int real_type;
    layers l;
    dataset data;
    void *params;
    ptrdiff_t n_inputs, n_outputs;
    size_t x_bytes, y_bytes; /* of one row */
    char *wanted;            /* (ROWS, n_outputs): the bits */
} subject;

static const char *row_of(const subject *s, ptrdiff_t row) {
    return (const char *)s->data.x.data + (size_t)row * s->x_bytes;
}

/* y = f(x) in place, by the formula. */
static void activate(const char *name, ptrdiff_t n, double *y) {
    double sum = 0, largest = y[0];
    for (ptrdiff_t j = 0; j < n; j++) largest = fmax(largest, y[j]);
    for (ptrdiff_t j = 0; j < n; j++) sum += exp(y[j] - largest);
    for (ptrdiff_t j = 0; j < n; j++) {
        if (strcmp(name, "relu") == 0) y[j] = fmax(y[j], 0);
        if (strcmp(name, "tanh") == 0) y[j] = tanh(y[j]);
        if (strcmp(name, "sigmoid") == 0) y[j] = 1 / (1 + exp(-y[j]));
        if (strcmp(name, "softmax") == 0) y[j] = exp(y[j] - largest) / sum;
    }
}

static double param(const subject *s, int32_t segment, ptrdiff_t i) {
    return number_get(s->params, s->real_type, s->l.segments[segment].offset + i);
}

static double state(const subject *s, const fnn_op *op, ptrdiff_t i) {
    return number_get(s->params, s->real_type, s->l.network.n_params + op->state + i);
}

/* y = (x - mean) / sqrt(variance + epsilon) . weight + bias of one row, with these moments, or with its own. */
static void normalize(const subject *s, const fnn_op *op, ptrdiff_t n, const double *x, double *y) {
    double mean = 0, variance = 0;
    for (ptrdiff_t j = 0; j < n; j++) mean += op->kind == FNN_LAYER_NORM ? x[j] / (double)n : 0;
    for (ptrdiff_t j = 0; j < n; j++) variance += (x[j] - mean) * (x[j] - mean) / (double)n;
    for (ptrdiff_t j = 0; j < n; j++) {
        if (op->kind == FNN_BATCH_NORM) mean = state(s, op, j), variance = state(s, op, n + j);
        const double bias = op->bias >= 0 ? param(s, op->bias, j) : 0;
        y[j] = (x[j] - mean) / sqrt(variance + op->parameter) * param(s, op->weight, j) + bias;
    }
}

/* Operations other than dense layers and activations, as fastnn.h says. */
static void layer_by_the_formula(const subject *s, const fnn_op *op, const double *x, const double *other, double *y) {
    const ptrdiff_t n = s->l.widths[op->output];
    if (op->kind == FNN_LAYER_NORM || op->kind == FNN_RMS_NORM || op->kind == FNN_BATCH_NORM) {
        normalize(s, op, n, x, y);
    } else if (op->kind == FNN_COPY) {
        memcpy(y + op->to, x + op->from, (size_t)op->count * sizeof *y);
    } else if (op->kind == FNN_EMBEDDING) {
        const ptrdiff_t units = n / op->count, categories = s->l.segments[op->weight].rows - 1;
        for (ptrdiff_t j = 0; j < n; j++) {
            const double code = x[op->from + j / units];
            const int known = code >= 0 && code < (double)categories && floor(code) == code;
            y[j] = param(s, op->weight, (known ? (ptrdiff_t)code : categories) * units + j % units);
        }
    } else {
        for (ptrdiff_t j = 0; j < n; j++) {
            y[j] = x[j]; /* dropout and noise are for training */
            if (op->kind == FNN_PRELU && x[j] < 0) y[j] = param(s, op->weight, j) * x[j];
            if (op->kind == FNN_ADD) y[j] = x[j] + other[j];
            if (op->kind == FNN_NORMALIZE) y[j] = (x[j] - state(s, op, j)) * state(s, op, n + j);
            if (op->kind == FNN_RESCALE) y[j] = x[j] * state(s, op, j) + state(s, op, n + j);
        }
    }
}

/* The output of one row, operation by operation. */
static void by_the_formula(const subject *s, ptrdiff_t row, double *y) {
    static double values[MOST_BUFFERS][4096];
    const fnn_network *network = &s->l.network;
    for (ptrdiff_t j = 0; j < s->n_inputs; j++)
        values[0][j] = number_get(s->data.x.data, s->real_type, row * s->n_inputs + j);
    for (int32_t i = 0; i < network->n_ops; i++) {
        const fnn_op *op = &network->ops[i];
        const ptrdiff_t n = network->widths[op->output], k = network->widths[op->input];
        const double *in = values[op->input];
        double *out = values[op->output];
        if (op->kind == FNN_ACTIVATION) {
            if (out != in) memcpy(out, in, (size_t)n * sizeof *out);
            activate(fnn_activation_name(op->activation), n, out);
        } else if (op->kind != FNN_DENSE) {
            layer_by_the_formula(s, op, in, values[op->other], out);
        } else {
            for (ptrdiff_t j = 0; j < n; j++) {
                out[j] = op->bias >= 0 ? param(s, op->bias, j) : 0;
                for (ptrdiff_t l = 0; l < k; l++) out[j] += in[l] * param(s, op->weight, l * n + j);
            }
        }
    }
    memcpy(y, values[network->output], (size_t)s->n_outputs * sizeof *y);
}

static void subject_begin(subject *s, int network, int real_type) {
    s->name = network_name(network);
    s->real_type = real_type;
    network_build(&s->l, network, real_type);
    s->data = dataset_new(&s->l, ROWS, 21);
    s->params = params_new(&s->l, 22);
    s->n_inputs = s->l.widths[0];
    s->n_outputs = s->l.widths[s->l.network.output];
    s->x_bytes = (size_t)s->n_inputs * number_size(real_type);
    s->y_bytes = (size_t)s->n_outputs * number_size(real_type);
    s->wanted = guarded_array(ROWS * s->y_bytes);
    predict(&s->l, s->params, &s->data.x, s->wanted, NULL, NULL, NULL, 1);
    int good = 1;
    for (ptrdiff_t i = 0; i < ROWS; i++) {
        double y[4096];
        by_the_formula(s, i, y);
        const double tolerance = real_type == FNN_FLOAT32 ? 2e-5 : 1e-13;
        for (ptrdiff_t j = 0; j < s->n_outputs; j++)
            good &= fabs(number_get(s->wanted, real_type, i * s->n_outputs + j) - y[j]) <= tolerance * (1 + fabs(y[j]));
    }
    agree(good, s->name, real_type, ROWS, 1, "the formula");
}

/* Whether y (rows, n_outputs) are the outputs of rows from `first` on. */
static int is_right(const subject *s, const void *y, ptrdiff_t first, ptrdiff_t rows) {
    return memcmp(y, s->wanted + (size_t)first * s->y_bytes, (size_t)rows * s->y_bytes) == 0;
}

/* ---- fnn_predict ------------------------------------------------------------------------------------------------- */

/* Any number of rows, from anywhere, on any threads; below 64 rows the weights are read where they are. */
static void batches(const subject *s) {
    static const ptrdiff_t sizes[] = {0, 1, 2, 13, 63, 64, 65, 128, ROWS};
    static const int team_sizes[] = {1, 2, 3, 5, 8};
    for (size_t b = 0; b < sizeof sizes / sizeof *sizes; b += SANITIZED ? 2 : 1) {
        for (size_t team = SANITIZED; team < (SANITIZED ? 3 : sizeof team_sizes / sizeof *team_sizes); team++) {
            const int mark = guarded_mark(), threads = team_sizes[team];
            const ptrdiff_t rows = sizes[b], first = (ROWS - rows) / 2;
            const fnn_array x = rows_of(&s->data.x, first, rows);
            void *y = guarded_array((size_t)rows * s->y_bytes);
            const fnn_prediction_result result = predict(&s->l, s->params, &x, y, NULL, NULL, NULL, threads);
            agree(is_right(s, y, first, rows), s->name, s->real_type, rows, threads, "fnn_predict");
            CHECK_EQUAL(result.status, FNN_FINISHED);
            CHECK_EQUAL(result.threads, rows ? threads_wanted(threads) : 1);
            CHECK(result.loss_sum == 0 && result.weight_sum == 0);
            guarded_release(mark);
        }
    }
}

/* The loss beside the outputs or alone, joined with the last activation or not: the same outputs, the same sums. */
static void losses(const subject *s) {
    const fnn_op *last = &s->l.ops[s->l.network.n_ops - 1];
    const int can_join = last->kind == FNN_ACTIVATION && strcmp(fnn_activation_name(last->activation), "sigmoid") == 0;
    for (int joined = 0; joined <= can_join; joined++) {
        const fnn_objective objective = {loss_called(joined ? "binary_cross_entropy" : "mse"), joined, NULL, 0};
        double wanted = 0, weight = 0;
        const double *weights = s->data.weights;
        for (ptrdiff_t i = 0; i < ROWS; i++) {
            double loss = 0;
            for (ptrdiff_t j = 0; j < s->n_outputs; j++) {
                double p = number_get(s->wanted, s->real_type, i * s->n_outputs + j);
                double y = number_get(s->data.values.values.data, s->real_type, i * s->n_outputs + j);
                if (last->kind == FNN_RESCALE) { /* the loss is in the units before it */
                    p = (p - state(s, last, s->n_outputs + j)) / state(s, last, j);
                    y = (y - state(s, last, 2 * s->n_outputs + j)) * state(s, last, 3 * s->n_outputs + j);
                }
                loss += joined ? -y * log(p) - (1 - y) * log1p(-p) : (p - y) * (p - y);
            }
            wanted += weights[i] * loss / (double)s->n_outputs;
            weight += weights[i];
        }
        double first = 0;
        for (int threads = 1; threads <= (SANITIZED ? 3 : 5); threads += 2) {
            const int mark = guarded_mark();
            void *y = guarded_array(ROWS * s->y_bytes);
            fnn_prediction_result result = predict(&s->l, s->params, &s->data.x, y, &objective, &s->data.values,
                                                   weights, threads);
            if (threads == 1) first = result.loss_sum;
            agree(is_right(s, y, 0, ROWS), s->name, s->real_type, ROWS, threads, "outputs beside a loss");
            CHECK_CLOSE(result.loss_sum, wanted, (s->real_type == FNN_FLOAT32 ? 1e-5 : 1e-12) * wanted);
            CHECK_CLOSE(result.weight_sum, weight, 0);
            CHECK_CLOSE(result.loss_sum, first, 0);
            result = predict(&s->l, s->params, &s->data.x, NULL, &objective, &s->data.values, weights, threads);
            CHECK_CLOSE(result.loss_sum, first, 0);
            result = predict(&s->l, s->params, &s->data.x, NULL, &objective, &s->data.values, NULL, threads);
            CHECK_CLOSE(result.weight_sum, ROWS, 0);
            guarded_release(mark);
        }
    }
}

static int stop(void *context) {
    ++*(int *)context;
    return 1;
}

static int go_on(void *context) {
    ++*(int *)context;
    return 0;
}

/* The calling thread asks, between the rows it has itself: of several threads the others may have them all. */
static void polling(const subject *s, int threads) {
    const int mark = guarded_mark();
    int polls = 0;
    fnn_prediction prediction = {
        .network = &s->l.network,
        .params = s->params,
        .workspace = guarded_array(fnn_workspace_size(&s->l.network, FNN_USE_PREDICT, ROWS, threads)),
        .x = s->data.x,
        .outputs = guarded_array(ROWS * s->y_bytes),
        .threads = threads,
        .poll = stop,
        .poll_context = &polls,
    };
    fnn_prediction_result result;
    fnn_predict(&prediction, &result);
    CHECK(polls == 1 || (polls == 0 && threads > 1));
    CHECK_EQUAL(result.status, polls == 1 ? FNN_STOPPED : FNN_FINISHED);
    polls = 0;
    prediction.poll = go_on;
    fnn_predict(&prediction, &result);
    CHECK_EQUAL(result.status, FNN_FINISHED);
    CHECK((polls > 0 || threads > 1) && is_right(s, prediction.outputs, 0, ROWS));
    polls = 0;
    prediction.poll_seconds = 1000;
    fnn_predict(&prediction, &result);
    CHECK_EQUAL(polls, 0);
    guarded_release(mark);
}

/* ---- the predictor ----------------------------------------------------------------------------------------------- */

typedef struct {
    const subject *s;
    const fnn_predictor *predictor;
    char *scratch[8]; /* of each thread */
    int wrong[8];
} shared;

/* Every thread predicts all rows, beginning elsewhere. */
static void predict_all(void *context, fnn_team *team, int thread, int threads) {
    shared *c = context;
    (void)team;
    char y[64 * sizeof(double)];
    for (ptrdiff_t i = 0; i < ROWS; i++) {
        const ptrdiff_t row = (i + thread * ROWS / threads) % ROWS;
        fnn_predictor_row(c->predictor, row_of(c->s, row), y, c->scratch[thread]);
        c->wrong[thread] += !is_right(c->s, y, row, 1);
    }
}

static void predictor_is_right(const subject *s, const fnn_predictor *predictor, const char *what) {
    static const ptrdiff_t sizes[] = {0, 1, 2, 63, 64, 65, 128, ROWS};
    const int mark = guarded_mark();
    void *x = guarded_array(s->x_bytes), *y = guarded_array(s->y_bytes);
    void *scratch = guarded_array(fnn_predictor_scratch(predictor, 1));
    int good = 1;
    for (ptrdiff_t i = 0; i < ROWS; i += SANITIZED ? 17 : 1) {
        memcpy(x, row_of(s, i), s->x_bytes);
        memset(y, 0xff, s->y_bytes);
        fnn_predictor_row(predictor, x, y, scratch);
        good &= is_right(s, y, i, 1);
    }
    agree(good, s->name, s->real_type, 1, 1, what);
    for (size_t b = 0; b < sizeof sizes / sizeof *sizes; b++) {
        const ptrdiff_t rows = sizes[b];
        void *all = guarded_array((size_t)rows * s->y_bytes);
        /* A copy, because only its end is guarded. */
        const void *from = bytes_copy(row_of(s, ROWS - rows), (size_t)rows * s->x_bytes);
        fnn_predictor_rows(predictor, rows, from, all, guarded_array(fnn_predictor_scratch(predictor, rows)));
        agree(is_right(s, all, ROWS - rows, rows), s->name, s->real_type, rows, 1, what);
    }
    guarded_release(mark);
}

static void predictors(const subject *s) {
    const int mark = guarded_mark();
    const size_t size = fnn_predictor_size(&s->l.network);
    CHECK(size > 0 && size % 64 == 0);
    const guarded memory = guarded_new(size);
    void *params = bytes_copy(s->params, params_size(&s->l));
    layers *described = bytes_copy(&s->l, sizeof s->l);
    described->network.ops = described->ops;
    described->network.widths = described->widths;
    described->network.segments = described->segments;
    const fnn_predictor *predictor = fnn_predictor_build(&described->network, params, guarded_last(memory, size));
    guarded_protect(memory);
    memset(params, 0xff, params_size(&s->l)); /* it has copies of its own */
    memset(described, 0xff, sizeof *described);
    predictor_is_right(s, predictor, "a predictor");

    ptrdiff_t work = 0;
    for (int32_t i = 0; i < s->l.network.n_ops; i++)
        if (s->l.ops[i].kind == FNN_DENSE)
            work += s->l.segments[s->l.ops[i].weight].rows * s->l.segments[s->l.ops[i].weight].columns;
    CHECK_EQUAL(fnn_predictor_work(predictor), work);

    shared c = {.s = s, .predictor = predictor};
    for (int thread = 0; thread < 8; thread++) c.scratch[thread] = guarded_array(fnn_predictor_scratch(predictor, 1));
    const int threads = fnn_team_run(4, predict_all, &c);
    int wrong = 0;
    for (int thread = 0; thread < threads; thread++) wrong += c.wrong[thread];
    agree(wrong == 0, s->name, s->real_type, 1, threads, "a predictor that threads share");

    /* It keeps the kernels it was laid out for. */
    char isa[32];
    strcpy(isa, fnn_isa());
    for (int other = 0; next_isa(&other);) predictor_is_right(s, predictor, "a predictor built for another set");
    fnn_isa_select(isa);
    guarded_delete(memory);
    guarded_release(mark);
}

/* A network without a dense layer, of one number; and one beyond any memory. */
static void smallest(int real_type) {
    const int mark = guarded_mark();
    layers l;
    layers_begin(&l, real_type, 1);
    layers_activation(&l, "linear", 1);
    void *x = numbers_new(real_type, 1, 1, 1), *y = guarded_array(number_size(real_type));
    void *memory = guarded_array(fnn_predictor_size(&l.network));
    const fnn_predictor *predictor = fnn_predictor_build(&l.network, NULL, memory);
    fnn_predictor_row(predictor, x, y, guarded_array(fnn_predictor_scratch(predictor, 1)));
    CHECK(number_get(y, real_type, 0) == number_get(x, real_type, 0));
    CHECK_EQUAL(fnn_predictor_work(predictor), 0);
    layers huge;
    layers_begin(&huge, real_type, PTRDIFF_MAX / 2);
    layers_dense(&huge, 1, 0);
    CHECK_EQUAL(fnn_predictor_size(&huge.network), 0);
    guarded_release(mark);
}

void test_predictor(void);
void test_predictor(void) {
    for (int n = 0; network_name(n); n++) {
        for (int t = 0; t < 2; t++) {
            const int mark = guarded_mark();
            static subject s, of_set;
            subject_begin(&s, n, real_types[t]);
            for (int isa = 0; next_isa(&isa);) {
                const int inner_mark = guarded_mark();
                subject_begin(&of_set, n, real_types[t]);
                agree(is_right(&s, of_set.wanted, 0, ROWS), s.name, s.real_type, ROWS, 1, "bits of another set");
                batches(&s);
                losses(&s);
                for (int threads = 1; threads <= 2; threads++) polling(&s, threads);
                predictors(&s);
                guarded_release(inner_mark);
            }
            guarded_release(mark);
        }
    }
    smallest(FNN_FLOAT32);
    smallest(FNN_FLOAT64);
}
