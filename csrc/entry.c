/* entry.c: the functions of fastnn.h that choose between the two real types, and the names of the lists.
 */
/* SPDX-License-Identifier: BSD-3-Clause */
#include "fastnn.h"
#include "kernels/activations.h"
#include "kernels/losses.h"
#include "kernels/optimizers.h"
#include "predictor.h"

/* One per real type: X(return type, name, arguments). */
#define FNN_TYPED_FUNCTIONS(X)                                                                                        \
    X(size_t, workspace_size, (const fnn_network *, int, ptrdiff_t, int))                                             \
    X(void, train, (const fnn_training *, fnn_training_result *))                                                     \
    X(void, forward, (const fnn_network *, void *, const fnn_draw *, const fnn_array *, void *, void *, int))          \
    X(void, backward, (const fnn_network *, const void *, const fnn_draw *, ptrdiff_t, const void *, void *,          \
                       void *, int, void *, int))                                                                     \
    X(int, update, (const fnn_network *, fnn_optimizer *, double, double, double, double, void *, const void *))      \
    X(double, network_penalty, (const fnn_network *, const void *))                                                   \
    X(double, gradient_norm, (const fnn_network *, const void *))                                                     \
    X(void, predict, (const fnn_prediction *, fnn_prediction_result *))                                               \
    X(size_t, predictor_size, (const fnn_network *))                                                                  \
    X(fnn_predictor *, predictor_build, (const fnn_network *, const void *, void *))                                  \
    X(size_t, predictor_scratch, (const fnn_predictor *, ptrdiff_t))                                                  \
    X(void, predictor_row, (const fnn_predictor *, const void *, void *, void *))                                     \
    X(void, predictor_rows, (const fnn_predictor *, ptrdiff_t, const void *, void *, void *))                         \
    X(ptrdiff_t, predictor_argmax, (const fnn_predictor *, const void *, void *))                                     \
    X(ptrdiff_t, predictor_work, (const fnn_predictor *))                                                             \
    X(size_t, matmul_workspace, (int, ptrdiff_t, ptrdiff_t, ptrdiff_t))                                               \
    X(double, matmul_standalone, (int, ptrdiff_t, ptrdiff_t, ptrdiff_t, const void *, const void *, const void *,     \
                                  void *, void *, ptrdiff_t))                                                         \
    X(void, vector_standalone, (int, ptrdiff_t, const void *, void *))                                                \
    X(double, fma_peak, (double))
#define DECLARE(type, name, arguments) \
    type name##_f32 arguments;         \
    type name##_f64 arguments;
FNN_TYPED_FUNCTIONS(DECLARE)

static int is_single(int real_type) { return real_type == FNN_FLOAT32; }

size_t fnn_workspace_size(const fnn_network *network, int use, ptrdiff_t batch, int threads) {
    return is_single(network->real_type) ? workspace_size_f32(network, use, batch, threads)
        : workspace_size_f64(network, use, batch, threads);
}

void fnn_train(const fnn_training *training, fnn_training_result *result) {
    if (is_single(training->network->real_type))
        train_f32(training, result);
    else
        train_f64(training, result);
}

void fnn_forward(const fnn_network *network, void *params, const fnn_draw *draw, const fnn_array *x, void *workspace,
                 void *outputs, int threads) {
    if (is_single(network->real_type))
        forward_f32(network, params, draw, x, workspace, outputs, threads);
    else
        forward_f64(network, params, draw, x, workspace, outputs, threads);
}

void fnn_backward(const fnn_network *network, const void *params, const fnn_draw *draw, ptrdiff_t rows,
                  const void *doutputs, void *workspace, void *grads, int accumulate, void *dx, int threads) {
    if (is_single(network->real_type))
        backward_f32(network, params, draw, rows, doutputs, workspace, grads, accumulate, dx, threads);
    else
        backward_f64(network, params, draw, rows, doutputs, workspace, grads, accumulate, dx, threads);
}

int fnn_update(const fnn_network *network, fnn_optimizer *optimizer, double learning_rate, double scale,
               double clip_norm, double clip_value, void *params, const void *grads) {
    return is_single(network->real_type)
        ? update_f32(network, optimizer, learning_rate, scale, clip_norm, clip_value, params, grads)
        : update_f64(network, optimizer, learning_rate, scale, clip_norm, clip_value, params, grads);
}

double fnn_penalty(const fnn_network *network, const void *params) {
    return is_single(network->real_type) ? network_penalty_f32(network, params)
        : network_penalty_f64(network, params);
}

double fnn_gradient_norm(const fnn_network *network, const void *grads) {
    return is_single(network->real_type) ? gradient_norm_f32(network, grads)
        : gradient_norm_f64(network, grads);
}

void fnn_predict(const fnn_prediction *prediction, fnn_prediction_result *result) {
    if (is_single(prediction->network->real_type))
        predict_f32(prediction, result);
    else
        predict_f64(prediction, result);
}

size_t fnn_predictor_size(const fnn_network *network) {
    return is_single(network->real_type) ? predictor_size_f32(network)
        : predictor_size_f64(network);
}

fnn_predictor *fnn_predictor_build(const fnn_network *network, const void *params, void *memory) {
    return is_single(network->real_type) ? predictor_build_f32(network, params, memory)
        : predictor_build_f64(network, params, memory);
}

size_t fnn_predictor_scratch(const fnn_predictor *predictor, ptrdiff_t rows) {
    return is_single(predictor->real_type) ? predictor_scratch_f32(predictor, rows)
        : predictor_scratch_f64(predictor, rows);
}

void fnn_predictor_row(const fnn_predictor *predictor, const void *x, void *y, void *scratch) {
    if (is_single(predictor->real_type))
        predictor_row_f32(predictor, x, y, scratch);
    else
        predictor_row_f64(predictor, x, y, scratch);
}

void fnn_predictor_rows(const fnn_predictor *predictor, ptrdiff_t rows, const void *x, void *y, void *scratch) {
    if (is_single(predictor->real_type))
        predictor_rows_f32(predictor, rows, x, y, scratch);
    else
        predictor_rows_f64(predictor, rows, x, y, scratch);
}

ptrdiff_t fnn_predictor_argmax(const fnn_predictor *predictor, const void *x, void *scratch) {
    return is_single(predictor->real_type) ? predictor_argmax_f32(predictor, x, scratch)
        : predictor_argmax_f64(predictor, x, scratch);
}

ptrdiff_t fnn_predictor_work(const fnn_predictor *predictor) {
    return is_single(predictor->real_type) ? predictor_work_f32(predictor)
        : predictor_work_f64(predictor);
}

size_t fnn_matmul_workspace(int real_type, int use, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k) {
    return is_single(real_type) ? matmul_workspace_f32(use, m, n, k)
        : matmul_workspace_f64(use, m, n, k);
}

double fnn_matmul(int real_type, int use, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const void *a, const void *b,
                  const void *start, void *c, void *workspace, ptrdiff_t repeats) {
    return is_single(real_type) ? matmul_standalone_f32(use, m, n, k, a, b, start, c, workspace, repeats)
        : matmul_standalone_f64(use, m, n, k, a, b, start, c, workspace, repeats);
}

void fnn_vector(int real_type, int function, ptrdiff_t n, const void *x, void *y) {
    if (is_single(real_type))
        vector_standalone_f32(function, n, x, y);
    else
        vector_standalone_f64(function, n, x, y);
}

double fnn_fma_peak(int real_type, double seconds) {
    return is_single(real_type) ? fma_peak_f32(seconds)
        : fma_peak_f64(seconds);
}

/* ---- the lists ----------------------------------------------------------------------------------------------- */

/* What the lists of kernels/ say of their rows. */
enum { ELEMENTWISE, ELEMENTWISE_WITH, ROWWISE };
enum { OUTPUT, INPUT };
static const struct {
    const char *name;
    int kind, needs;
} activations[] = {
#define ACTIVATION_ENTRY(name, kind, needs) {#name, kind, needs},
    FNN_ACTIVATIONS(ACTIVATION_ENTRY)};

static const char *const losses[] = {
#define LOSS_ENTRY(name) #name,
    FNN_LOSSES(LOSS_ENTRY)};

#define MAX_HYPER 8
static const struct {
    const char *name;
    int states;
    const char *hyper[MAX_HYPER + 1];
} optimizers[] = {
#define OPTIMIZER_ENTRY(name, states, ...) {#name, states, {__VA_ARGS__}},
    FNN_OPTIMIZERS(OPTIMIZER_ENTRY)};

const char *fnn_activation_name(int index) {
    return index >= 0 && index < FNN_N_ACTIVATIONS ? activations[index].name : NULL;
}

int fnn_activation_in_place(int index) { return activations[index].needs == OUTPUT; }

int fnn_activation_has_parameter(int index) { return activations[index].kind == ELEMENTWISE_WITH; }

int fnn_activation_elementwise(int index) { return activations[index].kind != ROWWISE; }

const char *fnn_loss_name(int index) { return index >= 0 && index < FNN_N_LOSSES ? losses[index] : NULL; }

const char *fnn_optimizer_name(int index) {
    return index >= 0 && index < FNN_N_OPTIMIZERS ? optimizers[index].name : NULL;
}

const char *fnn_optimizer_hyper_name(int kind, int index) {
    return kind >= 0 && kind < FNN_N_OPTIMIZERS && index >= 0 && index < MAX_HYPER ? optimizers[kind].hyper[index]
                                                                                    : NULL;
}

int fnn_optimizer_states(int kind) { return optimizers[kind].states; }
