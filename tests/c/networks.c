/* networks.c: see networks.h.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include "networks.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guarded.h"

/* ---- numbers of either type ------------------------------------------------------------------------------------ */

size_t number_size(int real_type) { return real_type == FNN_FLOAT32 ? sizeof(float) : sizeof(double); }

double number_get(const void *numbers, int real_type, ptrdiff_t i) {
    return real_type == FNN_FLOAT32 ? (double)((const float *)numbers)[i] : ((const double *)numbers)[i];
}

void number_set(void *numbers, int real_type, ptrdiff_t i, double value) {
    if (real_type == FNN_FLOAT32)
        ((float *)numbers)[i] = (float)value;
    else
        ((double *)numbers)[i] = value;
}

void numbers_fill(void *numbers, int real_type, ptrdiff_t n, uint64_t seed, double scale) {
    enum { BLOCK = 1024 };
    uint32_t words[BLOCK];
    for (ptrdiff_t i = 0; i < n; i++) {
        if (i % BLOCK == 0) fnn_random_words(seed, FNN_STREAM_INITIAL, (uint32_t)(i / BLOCK), BLOCK, words);
        number_set(numbers, real_type, i, scale * ((double)words[i % BLOCK] * 0x1p-31 - 1));
    }
}

void *numbers_new(int real_type, ptrdiff_t n, uint64_t seed, double scale) {
    void *numbers = guarded_array((size_t)n * number_size(real_type));
    numbers_fill(numbers, real_type, n, seed, scale);
    return numbers;
}

void *bytes_copy(const void *from, size_t bytes) { return memcpy(guarded_array(bytes), from, bytes); }

uint64_t bytes_hash(const void *from, size_t bytes) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < bytes; i++) hash = (hash ^ ((const unsigned char *)from)[i]) * 0x100000001b3u;
    return hash;
}

static int called(const char *name, const char *(*name_of)(int)) {
    for (int i = 0; name_of(i); i++)
        if (strcmp(name_of(i), name) == 0) return i;
    printf("nothing is called %s\n", name);
    exit(1);
}

int activation_called(const char *name) { return called(name, fnn_activation_name); }
int loss_called(const char *name) { return called(name, fnn_loss_name); }
int optimizer_called(const char *name) { return called(name, fnn_optimizer_name); }

int threads_wanted(int threads) { return strcmp(fnn_threads_backend(), "serial") == 0 ? 1 : threads; }

int next_isa(int *index) {
    while (fnn_isa_name(*index))
        if (fnn_isa_select(fnn_isa_name((*index)++)) == 0) return 1;
    fnn_isa_select(NULL);
    return 0;
}

/* ---- networks -------------------------------------------------------------------------------------------------- */

void layers_begin(layers *l, int real_type, ptrdiff_t inputs) {
    memset(l, 0, sizeof *l);
    l->network = (fnn_network){
        .real_type = real_type, .n_buffers = 1, .ops = l->ops, .widths = l->widths, .segments = l->segments};
    l->widths[0] = inputs;
}

static int32_t add_segment(layers *l, ptrdiff_t rows, ptrdiff_t columns) {
    l->segments[l->network.n_segments] = (fnn_segment){
        .offset = l->network.n_params, .rows = rows, .columns = columns, .learning_rate_factor = 1, .decays = rows > 1};
    l->network.n_params += rows * columns;
    return l->network.n_segments++;
}

/* The next operation reads what the last one wrote, and writes a buffer of its own. */
static fnn_op *add_op(layers *l, int kind, ptrdiff_t width) {
    fnn_op *op = &l->ops[l->network.n_ops++];
    *op = (fnn_op){.kind = kind, .input = l->network.output, .output = l->network.n_buffers, .weight = -1, .bias = -1};
    l->widths[l->network.n_buffers++] = width;
    l->network.output = op->output;
    return op;
}

void layers_dense(layers *l, ptrdiff_t units, int with_bias) {
    const ptrdiff_t inputs = l->widths[l->network.output];
    fnn_op *op = add_op(l, FNN_DENSE, units);
    op->weight = add_segment(l, inputs, units);
    if (with_bias) op->bias = add_segment(l, 1, units);
}

void layers_activation(layers *l, const char *name, int in_place) {
    const int activation = activation_called(name);
    const int32_t before = l->network.output;
    if (in_place && before != 0 && fnn_activation_in_place(activation)) {
        fnn_op *op = &l->ops[l->network.n_ops++];
        *op = (fnn_op){.kind = FNN_ACTIVATION,
                       .input = before,
                       .output = before,
                       .activation = activation,
                       .weight = -1,
                       .bias = -1};
    } else {
        add_op(l, FNN_ACTIVATION, l->widths[before])->activation = activation;
    }
}

void layers_norm(layers *l, int kind, int with_bias) {
    const ptrdiff_t n = l->widths[l->network.output];
    fnn_op *op = add_op(l, kind, n);
    op->weight = add_segment(l, 1, n);
    if (with_bias) op->bias = add_segment(l, 1, n);
    op->parameter = 0x1p-10;
    if (kind == FNN_BATCH_NORM) {
        op->momentum = 0.75;
        op->state = l->network.n_state;
        l->network.n_state += 2 * n;
    } else if (kind != FNN_PRELU) {
        op->other = l->network.n_buffers;
        l->widths[l->network.n_buffers++] = 2;
    }
}

void layers_random(layers *l, int kind, double parameter) {
    fnn_op *op = add_op(l, kind, l->widths[l->network.output]);
    op->parameter = parameter;
    op->layer = l->network.n_ops;
}

void layers_branch(layers *l, int32_t buffer, ptrdiff_t from, ptrdiff_t count, int adds) {
    l->network.output = buffer;
    fnn_op *op = add_op(l, FNN_COPY, count);
    op->from = from;
    op->count = count;
    op->adds = adds;
}

void layers_add(layers *l, int32_t buffer) {
    const int32_t other = l->network.output;
    l->network.output = buffer;
    add_op(l, FNN_ADD, l->widths[buffer])->other = other;
}

void layers_embedding(layers *l, ptrdiff_t from, ptrdiff_t count, ptrdiff_t categories, ptrdiff_t units) {
    l->network.output = 0;
    fnn_op *op = add_op(l, FNN_EMBEDDING, count * units);
    op->from = from;
    op->count = count;
    op->weight = add_segment(l, categories + 1, units);
}

void layers_join(layers *l, const int32_t *buffers, int n) {
    ptrdiff_t width = 0, to = 0;
    for (int b = 0; b < n; b++) width += l->widths[buffers[b]];
    const int32_t joined = l->network.n_buffers++;
    l->widths[joined] = width;
    for (int b = 0; b < n; b++) {
        const ptrdiff_t count = l->widths[buffers[b]];
        l->ops[l->network.n_ops++] = (fnn_op){.kind = FNN_COPY,
                                              .input = buffers[b],
                                              .output = joined,
                                              .weight = -1,
                                              .bias = -1,
                                              .to = to,
                                              .count = count};
        to += count;
    }
    l->network.output = joined;
}

void layers_scale(layers *l, int kind) {
    const ptrdiff_t n = l->widths[l->network.output];
    add_op(l, kind, n)->state = l->network.n_state;
    l->network.n_state += n * (kind == FNN_NORMALIZE ? 2 : 4);
}

enum {
    NARROW, WIDE, LONG_ROWS, THIN, ALONE, CHUNKED, /* dense layers and activations */
    NORMS, RANDOM, COLUMNS, MIXED, RANDOM_CHUNKS, N_NETWORKS
};
static const char *const network_names[N_NETWORKS] = {
    "narrow", "wide", "long rows", "thin", "alone", "chunked", "norms", "random", "columns", "mixed", "random chunks"};

const char *network_name(int index) { return index < N_NETWORKS ? network_names[index] : NULL; }
int network_called(const char *name) { return called(name, network_name); }

int network_is_narrow(int index) {
    return index == NARROW || index == THIN || index == ALONE || index == NORMS || index == RANDOM;
}

int network_is_chunked(int index) { return index == CHUNKED || index == RANDOM_CHUNKS; }

int layers_have(const layers *l, int kind) {
    for (int32_t i = 0; i < l->network.n_ops; i++)
        if (l->ops[i].kind == kind) return 1;
    return 0;
}

fnn_network network_before_loss(const layers *l) {
    fnn_network network = l->network;
    const fnn_op *last = &network.ops[network.n_ops - 1];
    if (last->kind == FNN_RESCALE) {
        network.n_ops--;
        network.output = last->input;
    }
    return network;
}

int layers_train_apart(const layers *l) {
    return layers_have(l, FNN_DROPOUT) || layers_have(l, FNN_NOISE) || layers_have(l, FNN_BATCH_NORM);
}

/* Residuals: one of the input, one with norms of rows whose sum an activation overwrites, and an empty one. */
static void build_norms(layers *l) {
    layers_branch(l, 0, 0, 6, 1);
    layers_dense(l, 19, 1);
    layers_activation(l, "tanh", 1);
    layers_dense(l, 6, 1);
    layers_add(l, 0);
    layers_dense(l, 33, 0);
    layers_norm(l, FNN_LAYER_NORM, 1);
    layers_norm(l, FNN_PRELU, 0);
    const int32_t around = l->network.output;
    layers_branch(l, around, 0, 33, 1);
    layers_norm(l, FNN_RMS_NORM, 0);
    layers_dense(l, 33, 1);
    layers_add(l, around);
    layers_activation(l, "sigmoid", 1);
    const int32_t again = l->network.output;
    layers_branch(l, again, 0, 33, 1);
    layers_add(l, again);
    layers_norm(l, FNN_LAYER_NORM, 0);
    layers_dense(l, 3, 1);
}

/* Codes of two columns, and of one; the columns between them normalized; targets in other units. */
static void build_mixed(layers *l) {
    layers_branch(l, 0, 2, 3, 0);
    layers_scale(l, FNN_NORMALIZE);
    int32_t parts[3] = {l->network.output};
    layers_embedding(l, 0, 2, 5, 4);
    parts[1] = l->network.output;
    layers_embedding(l, 5, 1, 37, 9);
    parts[2] = l->network.output;
    layers_join(l, parts, 3);
    /* Two halves apart, the first through norms of columns, the second as it is; and all of it once more. */
    const int32_t whole = l->network.output;
    layers_branch(l, whole, 0, 11, 1);
    layers_norm(l, FNN_BATCH_NORM, 1);
    layers_dense(l, 21, 1);
    parts[0] = l->network.output;
    layers_branch(l, whole, 11, 9, 1);
    parts[1] = l->network.output;
    layers_branch(l, whole, 0, 20, 0);
    layers_random(l, FNN_DROPOUT, 0.25);
    parts[2] = l->network.output;
    layers_join(l, parts, 3);
    layers_dense(l, 140, 1);
    layers_norm(l, FNN_PRELU, 0);
    layers_dense(l, 2, 1);
    layers_scale(l, FNN_RESCALE);
}

void network_build(layers *l, int index, int real_type) {
    switch (index) {
    case NARROW:
        layers_begin(l, real_type, 5);
        layers_dense(l, 33, 1);
        layers_activation(l, "relu", 1);
        layers_dense(l, 17, 0);
        layers_activation(l, "tanh", 0);
        layers_dense(l, 10, 1);
        break;
    case WIDE:
        layers_begin(l, real_type, 21);
        layers_dense(l, 130, 1);
        layers_activation(l, "relu", 1);
        layers_dense(l, 71, 1);
        layers_activation(l, "sigmoid", 1);
        layers_dense(l, 3, 1);
        break;
    case LONG_ROWS:
        layers_begin(l, real_type, 256);
        layers_dense(l, 128, 0);
        layers_activation(l, "tanh", 1);
        layers_dense(l, 9, 1);
        break;
    case THIN: /* every layer is summed in sixteen chains */
        layers_begin(l, real_type, 19);
        layers_dense(l, 8, 1);
        layers_activation(l, "tanh", 1);
        layers_activation(l, "relu", 0);
        layers_dense(l, 1, 0);
        layers_dense(l, 2, 1);
        break;
    case ALONE: /* activations on the input, and on each other */
        layers_begin(l, real_type, 12);
        layers_activation(l, "tanh", 1);
        layers_activation(l, "sigmoid", 0);
        layers_dense(l, 40, 1);
        layers_activation(l, "softmax", 1);
        layers_dense(l, 4, 1);
        layers_activation(l, "sigmoid", 1);
        break;
    case NORMS:
        layers_begin(l, real_type, 6);
        build_norms(l);
        break;
    case RANDOM:
        layers_begin(l, real_type, 5);
        layers_random(l, FNN_NOISE, 0.125);
        layers_dense(l, 40, 1);
        layers_activation(l, "relu", 1);
        layers_random(l, FNN_DROPOUT, 0.3);
        layers_dense(l, 17, 1);
        layers_random(l, FNN_DROPOUT, 0.1);
        layers_activation(l, "tanh", 0);
        layers_random(l, FNN_NOISE, 0.25);
        layers_dense(l, 4, 0);
        break;
    case COLUMNS: /* the first one has the network's input, the second an activation in place, the last no bias */
        layers_begin(l, real_type, 9);
        layers_norm(l, FNN_BATCH_NORM, 1);
        layers_dense(l, 33, 0);
        layers_norm(l, FNN_BATCH_NORM, 1);
        layers_activation(l, "tanh", 1);
        layers_dense(l, 17, 1);
        layers_norm(l, FNN_BATCH_NORM, 0);
        layers_dense(l, 3, 1);
        break;
    case MIXED:
        layers_begin(l, real_type, 6);
        build_mixed(l);
        break;
    default: /* CHUNKED, RANDOM_CHUNKS: so wide that a large batch takes several chunks, with few parameters */
        layers_begin(l, real_type, 3);
        if (index == RANDOM_CHUNKS) layers_random(l, FNN_NOISE, 0.125);
        layers_dense(l, 2100, 1);
        layers_activation(l, "relu", 1);
        if (index == RANDOM_CHUNKS) layers_random(l, FNN_DROPOUT, 0.5);
        layers_dense(l, 2, 1);
    }
}

/* What keeps outputs of order 1: means and shifts near 0, variances and scales near 1. */
static void fill_state(const layers *l, char *state, uint64_t seed) {
    const int real_type = l->network.real_type;
    numbers_fill(state, real_type, l->network.n_state, seed, 0.5);
    for (int32_t i = 0; i < l->network.n_ops; i++) {
        const fnn_op *op = &l->ops[i];
        const ptrdiff_t n = l->widths[op->output];
        for (ptrdiff_t j = 0; j < n; j++) {
            const ptrdiff_t mean = op->state + j, scale = mean + n, factor = mean + 3 * n;
            if (op->kind == FNN_BATCH_NORM || op->kind == FNN_NORMALIZE)
                number_set(state, real_type, scale, number_get(state, real_type, scale) + 1);
            if (op->kind != FNN_RESCALE) continue;
            number_set(state, real_type, mean, number_get(state, real_type, mean) + 1); /* the scale comes first here */
            number_set(state, real_type, factor, number_get(state, real_type, factor) + 1);
        }
    }
}

size_t params_size(const layers *l) {
    return (size_t)(l->network.n_params + l->network.n_state) * number_size(l->network.real_type);
}

void *params_new(const layers *l, uint64_t seed) {
    const int real_type = l->network.real_type;
    const size_t size = number_size(real_type);
    char *params = guarded_array(params_size(l));
    for (int32_t s = 0; s < l->network.n_segments; s++) {
        const fnn_segment *segment = &l->segments[s];
        const double scale = segment->rows > 1 ? sqrt(3 / (double)segment->rows) : 0.3;
        numbers_fill(params + (size_t)segment->offset * size, real_type, segment->rows * segment->columns,
                     seed * 100 + (uint64_t)s, scale);
    }
    /* Weights of norms are near 1, so that no layer is lost. */
    for (int32_t i = 0; i < l->network.n_ops; i++) {
        const fnn_op *op = &l->ops[i];
        if (op->kind != FNN_LAYER_NORM && op->kind != FNN_RMS_NORM && op->kind != FNN_BATCH_NORM) continue;
        for (ptrdiff_t j = 0; j < l->widths[op->output]; j++) {
            const ptrdiff_t at = l->segments[op->weight].offset + j;
            number_set(params, real_type, at, number_get(params, real_type, at) + 1);
        }
    }
    fill_state(l, params + (size_t)l->network.n_params * size, seed * 100 + 99);
    return params;
}

/* ---- data ------------------------------------------------------------------------------------------------------ */

static fnn_array array_of(void *data, int real_type, ptrdiff_t rows, ptrdiff_t columns) {
    const ptrdiff_t item = (ptrdiff_t)number_size(real_type);
    return (fnn_array){
        data, real_type == FNN_FLOAT32 ? FNN_DATA_FLOAT32 : FNN_DATA_FLOAT64, rows, columns, columns * item, item};
}

/* Codes for an embedding that reads the input: mostly categories, else below, beyond or between them. */
static void fill_codes(const layers *l, const fnn_op *op, const fnn_array *x) {
    const ptrdiff_t categories = l->segments[op->weight].rows - 1;
    const double odd[] = {-1, (double)categories, 0.5, (double)categories + 1000};
    for (ptrdiff_t i = 0; i < x->rows; i++)
        for (ptrdiff_t j = op->from; j < op->from + op->count; j++) {
            const ptrdiff_t which = i * 5 + i / 7 + j * 3;
            number_set((void *)(uintptr_t)x->data, l->network.real_type, i * x->columns + j,
                       i % 6 == 5 ? odd[which % 4] : (double)(which % categories));
        }
}

dataset dataset_new(const layers *l, ptrdiff_t rows, uint64_t seed) {
    const int real_type = l->network.real_type;
    const ptrdiff_t inputs = l->widths[0], outputs = l->widths[l->network.output];
    dataset data = {.rows = rows,
                    .x = array_of(numbers_new(real_type, rows * inputs, seed, 1.5), real_type, rows, inputs)};
    for (int32_t i = 0; i < l->network.n_ops; i++)
        if (l->ops[i].kind == FNN_EMBEDDING) fill_codes(l, &l->ops[i], &data.x);
    void *values = numbers_new(real_type, rows * outputs, seed + 1, 0.5);
    for (ptrdiff_t i = 0; i < rows * outputs; i++)
        number_set(values, real_type, i, number_get(values, real_type, i) + 0.5);
    data.values.values = array_of(values, real_type, rows, outputs);
    int32_t *labels = guarded_array((size_t)rows * sizeof *labels);
    data.weights = guarded_array((size_t)rows * sizeof *data.weights);
    for (ptrdiff_t i = 0; i < rows; i++) {
        labels[i] = (int32_t)((i * 7 + i / 3) % outputs);
        data.weights[i] = (double)((i * 11 + i / 5) % 25) / 8;
    }
    data.labels.labels = labels;
    return data;
}

fnn_array rows_of(const fnn_array *array, ptrdiff_t first, ptrdiff_t rows) {
    fnn_array some = *array;
    some.data = (const char *)array->data + first * array->row_stride_bytes;
    some.rows = rows;
    return some;
}

/* ---- training -------------------------------------------------------------------------------------------------- */

void run_optimizer(run *r, const char *name, double learning_rate) {
    const int kind = optimizer_called(name);
    r->optimizer = (fnn_optimizer){.kind = kind};
    if (strcmp(name, "sgd") == 0) {
        r->optimizer.hyper[0] = 0.9;
    } else {
        const double adam[] = {0.9, 0.99, 1e-6};
        memcpy(r->optimizer.hyper, adam, sizeof adam);
    }
    r->state_bytes = (size_t)fnn_optimizer_states(kind) * r->params_bytes;
    r->optimizer.state = guarded_array(r->state_bytes);
    memset(r->optimizer.state, 0, r->state_bytes);
    r->learning_rate = learning_rate;
}

void run_average(run *r, double decay) {
    r->optimizer.average = guarded_array(r->params_bytes);
    memset(r->optimizer.average, 0, r->params_bytes);
    r->optimizer.average_decay = decay;
}

void run_begin(run *r, const layers *l, const dataset *data, ptrdiff_t batch) {
    memset(r, 0, sizeof *r);
    r->layers = l;
    r->params_bytes = (size_t)l->network.n_params * number_size(l->network.real_type);
    r->numbers_bytes = params_size(l);
    r->training = (fnn_training){
        .network = &l->network,
        .objective = {.loss = loss_called("mse")},
        .params = params_new(l, 5),
        .grads = guarded_array(r->params_bytes),
        .x = data->x,
        .y = data->values,
        .seed = 3,
        .draw = 11,
        .batch = batch,
        .n_steps = (data->rows + batch - 1) / batch,
        .n_learning_rates = 1,
        .threads = 1,
    };
    run_optimizer(r, "sgd", 0.05);
}

void run_train(run *r) {
    const int mark = guarded_mark();
    const ptrdiff_t batch = r->training.batch < r->training.x.rows ? r->training.batch : r->training.x.rows;
    r->training.optimizer = &r->optimizer;
    if (r->training.n_learning_rates == 1) r->training.learning_rates = &r->learning_rate;
    r->training.workspace = guarded_array(
        fnn_workspace_size(&r->layers->network, FNN_USE_TRAIN, batch, r->training.threads));
    fnn_train(&r->training, &r->result);
    guarded_release(mark);
}

void run_skip(run *r, ptrdiff_t steps) {
    r->training.first_step += steps;
    r->training.draw += (uint64_t)steps;
}

void run_copy(run *to, const run *from) {
    *to = *from;
    to->training.params = bytes_copy(from->training.params, from->numbers_bytes);
    to->training.grads = bytes_copy(from->training.grads, from->params_bytes);
    to->optimizer.state = bytes_copy(from->optimizer.state, from->state_bytes);
    if (from->optimizer.average) to->optimizer.average = bytes_copy(from->optimizer.average, from->params_bytes);
}

int run_same(const run *one, const run *other) {
    return memcmp(one->training.params, other->training.params, one->numbers_bytes) == 0 &&
           memcmp(one->optimizer.state, other->optimizer.state, one->state_bytes) == 0 &&
           one->optimizer.step == other->optimizer.step && one->optimizer.averaged == other->optimizer.averaged &&
           memcmp(&one->optimizer.product, &other->optimizer.product, sizeof(double)) == 0 &&
           (one->optimizer.average == NULL ||
            memcmp(one->optimizer.average, other->optimizer.average, one->params_bytes) == 0);
}

ptrdiff_t run_first_row(const run *r) { return r->training.first_step * r->training.batch; }

ptrdiff_t run_rows(const run *r) {
    const ptrdiff_t left = r->training.x.rows - run_first_row(r);
    return left < r->training.batch ? left : r->training.batch;
}

void run_forward(const run *r, const fnn_network *network, void *outputs) {
    const int mark = guarded_mark();
    const fnn_draw draw = {.seed = r->training.seed, .draw = r->training.draw};
    const fnn_array x = rows_of(&r->training.x, run_first_row(r), run_rows(r));
    void *params = bytes_copy(r->training.params, r->numbers_bytes); /* its running statistics change */
    void *workspace = guarded_array(fnn_workspace_size(network, FNN_USE_PASS, x.rows, 1));
    fnn_forward(network, params, &draw, &x, workspace, outputs, 1);
    guarded_release(mark);
}

fnn_prediction_result predict(const layers *l, const void *params, const fnn_array *x, void *outputs,
                              const fnn_objective *objective, const fnn_targets *y, const double *weights,
                              int threads) {
    const int mark = guarded_mark();
    fnn_prediction prediction = {.network = &l->network,
                                 .params = params,
                                 .x = *x,
                                 .outputs = outputs,
                                 .objective = objective,
                                 .weights = weights,
                                 .threads = threads};
    if (y) prediction.y = *y;
    prediction.workspace = guarded_array(fnn_workspace_size(&l->network, FNN_USE_PREDICT, x->rows, threads));
    fnn_prediction_result result;
    fnn_predict(&prediction, &result);
    guarded_release(mark);
    return result;
}
