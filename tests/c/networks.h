/* networks.h: networks, data and training runs for the tests of the drivers, in either real type.
 *
 * All arrays come from guarded_array(), so whoever builds something releases it by guarded_mark().
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#ifndef NETWORKS_H
#define NETWORKS_H

#include "fastnn.h"

/* ---- numbers of either type ------------------------------------------------------------------------------------ */

size_t number_size(int real_type);
double number_get(const void *numbers, int real_type, ptrdiff_t i);
void number_set(void *numbers, int real_type, ptrdiff_t i, double value);
/* n numbers in (-scale, scale) that follow from the seed. */
void numbers_fill(void *numbers, int real_type, ptrdiff_t n, uint64_t seed, double scale);
void *numbers_new(int real_type, ptrdiff_t n, uint64_t seed, double scale);
void *bytes_copy(const void *from, size_t bytes);
/* FNV-1a of some bytes. */
uint64_t bytes_hash(const void *from, size_t bytes);

int activation_called(const char *name);
int loss_called(const char *name);
int optimizer_called(const char *name);

/* How many take part when so many are asked for. */
int threads_wanted(int threads);

/* Chooses the next instruction set that this processor has; 0 past the last (then the best is chosen again). Begin
 * with *index 0. */
int next_isa(int *index);

/* ---- networks -------------------------------------------------------------------------------------------------- */

enum { MOST_OPS = 24, MOST_BUFFERS = 32, MOST_SEGMENTS = 16 };

/* Points into itself: not to be copied. */
typedef struct {
    fnn_network network;
    fnn_op ops[MOST_OPS];
    ptrdiff_t widths[MOST_BUFFERS];
    fnn_segment segments[MOST_SEGMENTS];
} layers;

void layers_begin(layers *l, int real_type, ptrdiff_t inputs);
void layers_dense(layers *l, ptrdiff_t units, int with_bias);
/* In place, unless it reads buffer 0 or in_place is 0. */
void layers_activation(layers *l, const char *name, int in_place);

/* PReLU, or a norm of rows or columns: a weight, and maybe a bias. */
void layers_norm(layers *l, int kind, int with_bias);
/* Dropout or noise, with random numbers of its own. */
void layers_random(layers *l, int kind, double parameter);
/* What follows reads a copy of some columns of a buffer; adds: as does an operation further on. */
void layers_branch(layers *l, int32_t buffer, ptrdiff_t from, ptrdiff_t count, int adds);
/* What was computed last is added to a buffer. */
void layers_add(layers *l, int32_t buffer);
/* Columns [from, from + count) of the input are codes of so many categories. */
void layers_embedding(layers *l, ptrdiff_t from, ptrdiff_t count, ptrdiff_t categories, ptrdiff_t units);
/* Buffers side by side. */
void layers_join(layers *l, const int32_t *buffers, int n);
/* Inputs, or with RESCALE outputs, in other units. */
void layers_scale(layers *l, int kind);

/* Networks that between them have both schedules, thin layers, layers without bias, activations that read the input
 * or stand alone, rows of a multiple of 256 bytes, and every kind of operation. NULL past the last. */
const char *network_name(int index);
int network_called(const char *name);
void network_build(layers *l, int index, int real_type);
/* The ones with few parameters, which are walked depth-first. */
int network_is_narrow(int index);
/* The ones so wide that a large batch takes several chunks. */
int network_is_chunked(int index);
/* Whether an operation of this kind is in it. */
int layers_have(const layers *l, int kind);
/* Without a last operation that brings outputs into other units: what a loss sees. */
fnn_network network_before_loss(const layers *l);
/* Whether it computes something else in training than in prediction. */
int layers_train_apart(const layers *l);

/* Parameters that keep activations of order 1, and behind them the state. */
void *params_new(const layers *l, uint64_t seed);
size_t params_size(const layers *l); /* bytes, with the state */

/* ---- data ------------------------------------------------------------------------------------------------------ */

typedef struct {
    ptrdiff_t rows;
    fnn_array x;
    fnn_targets labels, values; /* the same rows as class numbers and as probabilities */
    double *weights;            /* multiples of 1/8 between 0 and 3: their sums are exact */
} dataset;

/* Columns that an embedding reads hold categories, and here and there what is none. */
dataset dataset_new(const layers *l, ptrdiff_t rows, uint64_t seed);
/* Rows [first, first + rows) of a C-ordered array. */
fnn_array rows_of(const fnn_array *array, ptrdiff_t first, ptrdiff_t rows);

/* ---- training -------------------------------------------------------------------------------------------------- */

/* A training call with everything it writes, and a copy of where it began. */
typedef struct {
    const layers *layers;
    fnn_training training;
    fnn_training_result result;
    fnn_optimizer optimizer;
    double learning_rate;
    size_t params_bytes, numbers_bytes, state_bytes; /* of parameters, with the network's state, of the optimizer's */
} run;

/* All rows in order, batches of so many, mse, SGD with momentum, one thread, an epoch, no weights. */
void run_begin(run *r, const layers *l, const dataset *data, ptrdiff_t batch);
void run_optimizer(run *r, const char *name, double learning_rate);
/* Keeps the average of the parameters as well. */
void run_average(run *r, double decay);
/* Calls fnn_train() with a workspace of just the bytes it asks for, full of NaN. */
void run_train(run *r);
/* A run which stands where the other stands, in memory of its own. */
void run_copy(run *to, const run *from);
/* The run goes on after so many more steps: with the masks that are due there. */
void run_skip(run *r, ptrdiff_t steps);
/* Whether parameters and state, optimizer state, average and the counts of updates have equal bits. */
int run_same(const run *one, const run *other);

/* Where the next step of a run begins, and how many rows it has. */
ptrdiff_t run_first_row(const run *r);
ptrdiff_t run_rows(const run *r);
/* fnn_forward() of that step's rows with its masks, of this network (or network_before_loss()); the run does not
 * change. */
void run_forward(const run *r, const fnn_network *network, void *outputs);

/* fnn_predict() likewise; outputs and objective may be NULL. */
fnn_prediction_result predict(const layers *l, const void *params, const fnn_array *x, void *outputs,
                              const fnn_objective *objective, const fnn_targets *y, const double *weights, int threads);

#endif
