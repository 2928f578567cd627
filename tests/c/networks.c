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

enum { NARROW, WIDE, LONG_ROWS, THIN, ALONE, CHUNKED, N_NETWORKS };
static const char *const network_names[N_NETWORKS] = {"narrow", "wide", "long rows", "thin", "alone", "chunked"};

const char *network_name(int index) { return index < N_NETWORKS ? network_names[index] : NULL; }

int network_is_narrow(int index) { return index == NARROW || index == THIN || index == ALONE; }

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
    default: /* CHUNKED: so wide that a large batch takes several chunks, with few parameters */
        layers_begin(l, real_type, 3);
        layers_dense(l, 2100, 1);
        layers_activation(l, "relu", 1);
        layers_dense(l, 2, 1);
    }
}

void *params_new(const layers *l, uint64_t seed) {
    const int real_type = l->network.real_type;
    const size_t size = number_size(real_type);
    char *params = guarded_array((size_t)l->network.n_params * size);
    for (int32_t s = 0; s < l->network.n_segments; s++) {
        const fnn_segment *segment = &l->segments[s];
        const double scale = segment->rows > 1 ? sqrt(3 / (double)segment->rows) : 0.3;
        numbers_fill(params + (size_t)segment->offset * size, real_type, segment->rows * segment->columns,
                     seed * 100 + (uint64_t)s, scale);
    }
    return params;
}

/* ---- data ------------------------------------------------------------------------------------------------------ */

static fnn_array array_of(void *data, int real_type, ptrdiff_t rows, ptrdiff_t columns) {
    const ptrdiff_t item = (ptrdiff_t)number_size(real_type);
    return (fnn_array){
        data, real_type == FNN_FLOAT32 ? FNN_DATA_FLOAT32 : FNN_DATA_FLOAT64, rows, columns, columns * item, item};
}

dataset dataset_new(const layers *l, ptrdiff_t rows, uint64_t seed) {
    const int real_type = l->network.real_type;
    const ptrdiff_t inputs = l->widths[0], outputs = l->widths[l->network.output];
    dataset data = {.rows = rows,
                    .x = array_of(numbers_new(real_type, rows * inputs, seed, 1.5), real_type, rows, inputs)};
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
    r->training = (fnn_training){
        .network = &l->network,
        .objective = {.loss = loss_called("mse")},
        .params = params_new(l, 5),
        .grads = guarded_array(r->params_bytes),
        .x = data->x,
        .y = data->values,
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

void run_copy(run *to, const run *from) {
    *to = *from;
    to->training.params = bytes_copy(from->training.params, from->params_bytes);
    to->training.grads = bytes_copy(from->training.grads, from->params_bytes);
    to->optimizer.state = bytes_copy(from->optimizer.state, from->state_bytes);
    if (from->optimizer.average) to->optimizer.average = bytes_copy(from->optimizer.average, from->params_bytes);
}

int run_same(const run *one, const run *other) {
    return memcmp(one->training.params, other->training.params, one->params_bytes) == 0 &&
           memcmp(one->optimizer.state, other->optimizer.state, one->state_bytes) == 0 &&
           one->optimizer.step == other->optimizer.step && one->optimizer.averaged == other->optimizer.averaged &&
           memcmp(&one->optimizer.product, &other->optimizer.product, sizeof(double)) == 0 &&
           (one->optimizer.average == NULL ||
            memcmp(one->optimizer.average, other->optimizer.average, one->params_bytes) == 0);
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
