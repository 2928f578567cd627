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

enum { MOST_OPS = 12, MOST_SEGMENTS = 12 };

/* Points into itself: not to be copied. */
typedef struct {
    fnn_network network;
    fnn_op ops[MOST_OPS];
    ptrdiff_t widths[MOST_OPS + 1];
    fnn_segment segments[MOST_SEGMENTS];
} layers;

void layers_begin(layers *l, int real_type, ptrdiff_t inputs);
void layers_dense(layers *l, ptrdiff_t units, int with_bias);
/* In place, unless it reads buffer 0 or in_place is 0. */
void layers_activation(layers *l, const char *name, int in_place);

/* Networks that between them have both schedules, thin layers, layers without bias, activations that read the input
 * or stand alone, and rows of a multiple of 256 bytes. NULL past the last. */
const char *network_name(int index);
void network_build(layers *l, int index, int real_type);
/* The ones with few parameters, which are walked depth-first. */
int network_is_narrow(int index);

/* Parameters that keep activations of order 1. */
void *params_new(const layers *l, uint64_t seed);

/* ---- data ------------------------------------------------------------------------------------------------------ */

typedef struct {
    ptrdiff_t rows;
    fnn_array x;
    fnn_targets labels, values; /* the same rows as class numbers and as probabilities */
    double *weights;            /* multiples of 1/8 between 0 and 3: their sums are exact */
} dataset;

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
    size_t params_bytes, state_bytes;
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
/* Whether parameters, optimizer state, average and the counts of updates have equal bits. */
int run_same(const run *one, const run *other);

/* fnn_predict() likewise; outputs and objective may be NULL. */
fnn_prediction_result predict(const layers *l, const void *params, const fnn_array *x, void *outputs,
                              const fnn_objective *objective, const fnn_targets *y, const double *weights, int threads);

#endif
