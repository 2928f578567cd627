/* test_kernels.c: activations and their derivatives, losses and their gradients, update rules, packing and sums, on
 * every instruction set of this processor, at sizes that straddle the registers, between guard pages.
 *
 * Every row of the lists in csrc/kernels is tested: its derivative against central differences (in double), its bits
 * between sets, its memory. Rows whose formula stands in a table below are held against that, in twice the precision.
 * Compiled for float; test_kernels_f64.c compiles it for double.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#ifndef FNN_REAL
#define FNN_REAL 32
#endif

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "dispatch.h"
#include "fastnn.h"
#include "float_state.h"
#include "guarded.h"
#include "kernels/activations.h"
#include "kernels/losses.h"
#include "kernels/optimizers.h"

#if FNN_REAL == 32
typedef double exact;
#define EPSILON FLT_EPSILON
#define LARGEST FLT_MAX
#define SMALLEST FLT_MIN /* normal: below it, results are flushed */
#else
typedef long double exact;
#define EPSILON DBL_EPSILON
#define LARGEST DBL_MAX
#define SMALLEST DBL_MIN
#endif

typedef FNN_TYPED(fnn_kernels) kernel_table;

enum { MOST = 4096 };
static const ptrdiff_t sizes[] = {0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 100};
enum { N_SIZES = sizeof sizes / sizeof *sizes };

/* Activations and losses of whole rows want at least one number. */
static int is_whole(int activation) { return !fnn_activation_elementwise(activation); }

/* ---- memory and numbers ---------------------------------------------------------------------------------------- */

/* An array flush with a guard page, holding what from holds, or NaN. */
typedef struct {
    guarded memory;
    real *at;
} array;

static array array_new(void) { return (array){.memory = guarded_new(MOST * sizeof(real))}; }

static real *lay(array *a, const real *from, ptrdiff_t n, int at_end) {
    const size_t bytes = (size_t)n * sizeof(real);
    a->at = at_end ? guarded_last(a->memory, bytes) : guarded_first(a->memory);
    if (from)
        memcpy(a->at, from, bytes);
    else
        memset(a->at, 0xff, bytes);
    return a->at;
}

/* Elements of rows that lie ld apart, without the gap behind the last. */
static ptrdiff_t extent(ptrdiff_t rows, ptrdiff_t n, ptrdiff_t ld) { return rows && n ? (rows - 1) * ld + n : 0; }

static array first_array, second_array, third_array, fourth_array, fifth_array;

/* n numbers in (-scale, scale), the same for the same seed. */
static void fill(real *out, ptrdiff_t n, uint64_t seed, double scale) {
    uint32_t words[MOST];
    fnn_random_words(seed, FNN_STREAM_INITIAL, 0, n, words);
    for (ptrdiff_t i = 0; i < n; i++) out[i] = (real)(scale * ((double)words[i] * 0x1p-31 - 1));
}

/* Equal bits; any NaN equals any other: their signs differ between processors. */
static int same(const real *one, const real *other, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++)
        if (memcmp(one + i, other + i, sizeof(real)) != 0 && !(isnan(one[i]) && isnan(other[i]))) return 0;
    return 1;
}

static exact magnitude(exact x) { return x < 0 ? -x : x; }

static int close_to(double found, exact wanted, exact tolerance) {
    return magnitude((exact)found - wanted) <= tolerance || (exact)found == wanted ||
           (isnan(found) && wanted != wanted);
}

/* The sets of this processor one after the other; the first one's results are kept and the others' compared. */
static const kernel_table *next_set(int *isa) {
    while (fnn_isa_name(*isa))
        if (fnn_isa_select(fnn_isa_name((*isa)++)) == 0) return FNN_TYPED(fnn_kernels_in_use)();
    fnn_isa_select(NULL);
    return NULL;
}

static void agree(int good, const kernel_table *kernels, const char *name, ptrdiff_t n, const char *what) {
    if (!CHECK(good)) printf("    %s of %s float%d, n %td: %s\n", name, kernels->isa, FNN_REAL, n, what);
}

static void tables(void) {
    int isa = 0;
    for (const kernel_table *kernels; (kernels = next_set(&isa));) {
        CHECK(strcmp(kernels->isa, fnn_isa()) == 0);
        CHECK_EQUAL(kernels->panel_columns, 2 * kernels->lanes);
        CHECK(16 % kernels->lanes == 0 && kernels->tile_rows >= 1);
        CHECK(isfinite(kernels->fma_loop(10)));
        CHECK(fnn_fma_peak(FNN_REAL_TYPE, 1e-4) > 0);
    }
}

/* Kernels run with denormals flushed; see float_state.h. */
static void map(FNN_TYPED(fnn_map) f, ptrdiff_t rows, ptrdiff_t n, const real *in, ptrdiff_t ldin, real *out,
                ptrdiff_t ldout) {
    const fnn_float_state state = fnn_float_enter();
    f(rows, n, in, ldin, out, ldout, (real)0.25);
    fnn_float_leave(state);
}

/* ---- activations ----------------------------------------------------------------------------------------------- */

#if FNN_REAL == 32
#define EXACT(f) f
#else
#define EXACT(f) f##l
#endif

static exact linear(exact z) { return z; }
static exact relu(exact z) { return z > 0 ? z : z < 0 ? 0 : z; }
static exact sigmoid(exact z) { return 1 / (1 + EXACT(exp)(-z)); }
static exact tanh_of(exact z) { return EXACT(tanh)(z); }
static exact softsign(exact z) { return z / (1 + magnitude(z)); }
static exact one(exact y) { return y == y ? 1 : y; }
static exact relu_slope(exact y) { return y >= SMALLEST; } /* denormals are zero */
static exact sigmoid_slope(exact y) { return y * (1 - y); }
static exact tanh_slope(exact y) { return (1 - y) * (1 + y); }

static exact softsign_slope(exact y) { return (1 - magnitude(y)) * (1 - magnitude(y)); }

/* Elementwise; the derivative as a function of what the kernel is given, bounds in units in the last place. */
static const struct {
    const char *name;
    exact (*value)(exact z), (*slope)(exact in);
    double bound;
} formulas[] = {
    {"linear", linear, one, 0},
    {"relu", relu, relu_slope, 0},
    {"tanh", tanh_of, tanh_slope, 2},
    {"sigmoid", sigmoid, sigmoid_slope, 2},
    {"softsign", softsign, softsign_slope, 1},
};

static int formula_of(int activation) {
    for (int i = 0; i < (int)(sizeof formulas / sizeof *formulas); i++)
        if (strcmp(formulas[i].name, fnn_activation_name(activation)) == 0) return i;
    return -1;
}

/* What exp and its sums meet: nothing, the smallest, the ends of its range, the largest. */
static const double extremes[] = {0,    -0.0, 1e-45, -1e-45, 1e-30, -1e-30, 17,  -17,  88,      -88,
                                  88.7, -104, 104,   -709,   745,   -745,   1e8, -1e8, LARGEST, -LARGEST};
enum { N_EXTREMES = sizeof extremes / sizeof *extremes };

static void fill_with_extremes(real *z, ptrdiff_t n, uint64_t seed) {
    fill(z, n, seed, 4);
    for (ptrdiff_t i = 2; i < n; i += 3) z[i] = (real)extremes[i / 3 % N_EXTREMES];
}

static void elementwise_formula(const kernel_table *kernels, int activation, ptrdiff_t n, const real *z, const real *y,
                                const real *in, const real *dy, const real *dz) {
    const int f = formula_of(activation);
    if (f < 0) return;
    int good_forward = 1, good_backward = 1;
    for (ptrdiff_t i = 0; i < n; i++) {
        const exact value = formulas[f].value((exact)z[i]), slope = formulas[f].slope((exact)in[i]);
        const exact bound = (exact)formulas[f].bound * EPSILON * magnitude(value);
        good_forward &= close_to((double)y[i], value, bound + (value != (exact)y[i] ? SMALLEST : 0));
        /* The slope and its product are rounded once each. */
        good_backward &= close_to((double)dz[i], (exact)dy[i] * slope,
                                  2 * EPSILON * magnitude((exact)dy[i] * slope) + SMALLEST);
    }
    agree(good_forward, kernels, fnn_activation_name(activation), n, "the formula");
    agree(good_backward, kernels, fnn_activation_name(activation), n, "the derivative's formula");
}

/* p (n) is softmax(z), dz its transposed derivative times dy. Sums over n have rounding errors of about n / 16 + 4. */
static void softmax_formula(const kernel_table *kernels, ptrdiff_t n, const real *z, const real *p, const real *dy,
                            const real *dz) {
    exact largest = (exact)z[0], sum = 0, total = 0, mean = 0, spread = 0;
    const exact few = (exact)(n / 16 + 8) * EPSILON;
    for (ptrdiff_t j = 0; j < n; j++) largest = (exact)z[j] > largest ? (exact)z[j] : largest;
    for (ptrdiff_t j = 0; j < n; j++) sum += EXACT(exp)((exact)(real)(z[j] - (real)largest));
    for (ptrdiff_t j = 0; j < n; j++) mean += (exact)p[j] * (exact)dy[j];
    for (ptrdiff_t j = 0; j < n; j++) spread += magnitude((exact)p[j] * (exact)dy[j]);
    int good = 1, good_backward = 1;
    for (ptrdiff_t j = 0; j < n; j++) {
        const exact wanted = EXACT(exp)((exact)(real)(z[j] - (real)largest)) / sum;
        good &= close_to((double)p[j], wanted, few * wanted + SMALLEST) && p[j] >= 0 && p[j] <= 1;
        total += (exact)p[j];
        const exact dwanted = (exact)p[j] * ((exact)dy[j] - mean);
        good_backward &= close_to((double)dz[j], dwanted,
                                  few * (exact)p[j] * (magnitude((exact)dy[j]) + spread) + SMALLEST);
    }
    agree(good, kernels, "softmax", n, "the formula");
    agree(good_backward, kernels, "softmax", n, "the derivative's formula");
    agree(magnitude(total - 1) <= few, kernels, "softmax", n, "the sum of the probabilities");
}

/* One activation at one size: rows of z (gaps between them), in place and not, against the formula; returns y and dz
 * (rows, n) in what other sets are compared with. */
static void activation_at(const kernel_table *kernels, int activation, ptrdiff_t rows, ptrdiff_t n, int at_end,
                          real *y_of_first, real *dz_of_first, int is_first) {
    const ptrdiff_t ld = n + (at_end ? 3 : 0), size = extent(rows, n, ld);
    const char *name = fnn_activation_name(activation);
    real z[MOST], dy[MOST];
    fill_with_extremes(z, size, 7 + (uint64_t)n);
    fill(dy, size, 8, 2);
    for (ptrdiff_t i = 0; i < rows - 1; i++)
        for (ptrdiff_t j = n; j < ld; j++) z[i * ld + j] = dy[i * ld + j] = (real)NAN;
    const real *in = lay(&first_array, z, size, at_end);
    real *y = lay(&second_array, NULL, size, at_end), *d = lay(&third_array, dy, size, at_end);
    map(kernels->activation_forward[activation], rows, n, in, ld, y, ld);
    if (fnn_activation_in_place(activation)) in = y;
    map(kernels->activation_backward[activation], rows, n, in, ld, d, ld);
    int gaps = same(first_array.at, z, size);
    for (ptrdiff_t i = 0; size && i < rows - 1; i++)
        for (ptrdiff_t j = n; j < ld; j++) gaps &= isnan(y[i * ld + j]) && isnan(d[i * ld + j]);
    agree(gaps, kernels, name, n, "what is not its own changed");
    for (ptrdiff_t i = 0; i < rows; i++) {
        const ptrdiff_t at = i * ld;
        if (is_whole(activation)) {
            if (strcmp(name, "softmax") == 0) softmax_formula(kernels, n, z + at, y + at, dy + at, d + at);
        } else {
            elementwise_formula(kernels, activation, n, z + at, y + at, in + at, dy + at, d + at);
        }
    }
    if (is_first) {
        memcpy(y_of_first, y, (size_t)size * sizeof(real));
        memcpy(dz_of_first, d, (size_t)size * sizeof(real));
    }
    agree(same(y, y_of_first, size), kernels, name, n, "bits of another set");
    agree(same(d, dz_of_first, size), kernels, name, n, "bits of another set, backward");
    if (!fnn_activation_in_place(activation)) return;
    real *in_place = lay(&fourth_array, z, size, at_end);
    map(kernels->activation_forward[activation], rows, n, in_place, ld, in_place, ld);
    agree(same(in_place, y, size), kernels, name, n, "in place");
}

static void activations(void) {
    static real y[MOST], dz[MOST];
    for (int f = 0; fnn_activation_name(f); f++) {
        for (int s = is_whole(f); s < N_SIZES; s++) {
            for (int at_end = 0; at_end < 2; at_end++) {
                int isa = 0, is_first = 1;
                for (const kernel_table *kernels; (kernels = next_set(&isa)); is_first = 0) {
                    activation_at(kernels, f, 3, sizes[s], at_end, y, dz, is_first);
                    activation_at(kernels, f, 0, sizes[s], at_end, y + MOST / 2, dz + MOST / 2, is_first);
                }
            }
        }
    }
}

/* A NaN in is a NaN out, and nobody else's; not a number either after infinities that have no value. */
static void nan_of_activations(void) {
    int isa = 0;
    for (const kernel_table *kernels; (kernels = next_set(&isa));) {
        for (int f = 0; fnn_activation_name(f); f++) {
            for (ptrdiff_t at = 0; at < 33; at++) {
                real z[33], y[33];
                fill(z, 33, 3, 4);
                z[at] = (real)NAN;
                map(kernels->activation_forward[f], 1, 33, z, 33, y, 33);
                int good = isnan(y[at]);
                for (ptrdiff_t j = 0; j < 33; j++)
                    if (j != at) good &= is_whole(f) ? isnan(y[j]) : isfinite(y[j]);
                agree(good, kernels, fnn_activation_name(f), at, "a NaN");
            }
        }
    }
}

#if FNN_REAL == 64
/* sum_i dy_i dy_i/dz_j for every j by central differences. */
static void slopes(void) {
    enum { N = 9 };
    const double h = 1e-6;
    int isa = 0;
    for (const kernel_table *kernels; (kernels = next_set(&isa));) {
        for (int f = 0; fnn_activation_name(f); f++) {
            for (uint64_t seed = 0; seed < 20; seed++) {
                real z[N], y[N], dz[N], dy[N];
                fill(z, N, seed, 3);
                fill(dy, N, seed + 100, 1);
                map(kernels->activation_forward[f], 1, N, z, N, y, N);
                memcpy(dz, dy, sizeof dz);
                map(kernels->activation_backward[f], 1, N, fnn_activation_in_place(f) ? y : z, N, dz, N);
                int good = 1;
                for (int j = 0; j < N; j++) {
                    real above[N], below[N];
                    memcpy(above, z, sizeof z);
                    memcpy(below, z, sizeof z);
                    above[j] += h;
                    below[j] -= h;
                    map(kernels->activation_forward[f], 1, N, above, N, above, N);
                    map(kernels->activation_forward[f], 1, N, below, N, below, N);
                    double slope = 0;
                    for (int i = 0; i < N; i++) slope += dy[i] * (above[i] - below[i]) / (2 * h);
                    good &= fabs(slope - dz[j]) <= 1e-8;
                }
                agree(good, kernels, fnn_activation_name(f), N, "central differences");
            }
        }
    }
}
#endif

/* ---- losses ---------------------------------------------------------------------------------------------------- */

typedef FNN_TYPED(fnn_loss_batch) loss_batch;


static void run_loss(const kernel_table *kernels, int loss, const loss_batch *batch) {
    const fnn_float_state state = fnn_float_enter();
    kernels->loss[loss](batch);
    fnn_float_leave(state);
}

static int is_loss(int loss, const char *name) { return strcmp(fnn_loss_name(loss), name) == 0; }

/* A focal loss's gamma is 0 or at least 1; cross-entropies have no smoothing here; other parameters are in 0..1. */
static const double *loss_parameters(int loss) {
    static const double parameters[] = {0.5, 2, 0};
    return &parameters[is_loss(loss, "focal") ? 1 : is_loss(loss, "cross_entropy") ? 2 : 0];
}

/* The loss of one row and its gradient by the formula; returns whether it is known. error: what rounding may do. */
static int loss_formula(int loss, ptrdiff_t n, const real *z, const real *y, int32_t label, exact *value,
                        exact *gradient, exact *error, exact *gradient_error) {
    const exact few = (exact)(n / 16 + 8) * EPSILON, count = (exact)n;
    *value = *error = 0;
    if (is_loss(loss, "mse")) {
        for (ptrdiff_t j = 0; j < n; j++) {
            const exact e = (exact)z[j] - (exact)y[j];
            *value += e * e / count;
            gradient[j] = 2 * e / count;
            gradient_error[j] = 3 * EPSILON * magnitude(gradient[j]);
        }
        *error = few * *value;
    } else if (is_loss(loss, "cross_entropy")) {
        exact largest = (exact)z[0], sum = 0, total = y ? 0 : 1;
        for (ptrdiff_t j = 0; j < n; j++) largest = (exact)z[j] > largest ? (exact)z[j] : largest;
        for (ptrdiff_t j = 0; j < n; j++) sum += EXACT(exp)((exact)z[j] - largest);
        for (ptrdiff_t j = 0; j < n && y; j++) total += (exact)y[j];
        for (ptrdiff_t j = 0; j < n; j++) {
            const exact target = y ? (exact)y[j] : j == label, p = EXACT(exp)((exact)z[j] - largest) / sum;
            const exact surprise = EXACT(log)(sum) + largest - (exact)z[j];
            *value += target * surprise;
            *error += target * (few * (1 + EXACT(log)(sum)) + EPSILON * magnitude(surprise));
            gradient[j] = p * total - target;
            /* p is computed from a rounded difference of logits. */
            gradient_error[j] = (few + EPSILON * (largest - (exact)z[j])) * p * total + 2 * EPSILON * target;
        }
    } else if (is_loss(loss, "binary_cross_entropy")) {
        for (ptrdiff_t j = 0; j < n; j++) {
            const exact x = (exact)z[j], t = (exact)y[j], p = 1 / (1 + EXACT(exp)(-x));
            const exact tail = EXACT(log1p)(EXACT(exp)(-magnitude(x)));
            *value += ((x > 0 ? x : 0) - x * t + tail) / count;
            *error += few * (magnitude(x) * (1 + t) + tail) / count;
            gradient[j] = (p - t) / count;
            gradient_error[j] = 4 * EPSILON * (p + t) / count;
        }
    } else {
        return 0;
    }
    return 1;
}

/* Targets a loss can take: probabilities, rows of which need not sum to 1. */
static void fill_targets(real *y, ptrdiff_t n, uint64_t seed) {
    fill(y, n, seed, 0.5);
    for (ptrdiff_t j = 0; j < n; j++) y[j] = j % 5 == 4 ? 0 : j % 7 == 6 ? 1 : y[j] + (real)0.5;
}

enum { LABELS, VALUES };

static int takes_labels(int loss) { return is_loss(loss, "cross_entropy") || is_loss(loss, "focal"); }

/* One loss at one size: three rows, of other weights, gaps between them. */
static void loss_at(const kernel_table *kernels, int loss, int form, ptrdiff_t n, int at_end, double *loss_of_first,
                    real *dz_of_first, int is_first) {
    enum { ROWS = 3 };
    const ptrdiff_t ldz = n + 2, ldy = n + 5, lddz = n + 3;
    const char *name = fnn_loss_name(loss);
    real z[MOST], y[MOST];
    double alone[ROWS];
    static const double weights[ROWS] = {0.75, 3, 0};
    int32_t labels[ROWS];
    for (int i = 0; i < ROWS; i++) labels[i] = (int32_t)((n - 1) * i / 2);
    fill(z, ROWS * ldz, 11 + (uint64_t)n, 6);
    fill_targets(y, ROWS * ldy, 12);
    const int by_label = form == LABELS;
    guarded losses = guarded_new(ROWS * sizeof(double));
    double *row_loss = at_end ? guarded_last(losses, ROWS * sizeof(double)) : guarded_first(losses);
    loss_batch batch = {
        .rows = ROWS,
        .n = n,
        .z = lay(&first_array, z, extent(ROWS, n, ldz), at_end),
        .ldz = ldz,
        .labels = by_label ? labels : NULL,
        .values = by_label ? NULL : lay(&second_array, y, extent(ROWS, n, ldy), at_end),
        .ldvalues = ldy,
        .row_loss = row_loss,
        .parameters = loss_parameters(loss),
        .n_parameters = 1,
    };
    run_loss(kernels, loss, &batch); /* without a gradient */
    memcpy(alone, row_loss, sizeof alone);
    for (int with_weights = 0; with_weights < 2; with_weights++) {
        batch.weights = with_weights ? weights : NULL;
        batch.dz = lay(&third_array, NULL, extent(ROWS, n, lddz), at_end);
        batch.lddz = lddz;
        memset(row_loss, 0xff, sizeof alone);
        run_loss(kernels, loss, &batch);
        agree(memcmp(alone, row_loss, sizeof alone) == 0, kernels, name, n, "the loss depends on what is asked for");
        int gaps = 1;
        for (ptrdiff_t i = 0; i < ROWS - 1; i++)
            for (ptrdiff_t j = n; j < lddz; j++) gaps &= isnan(batch.dz[i * lddz + j]);
        agree(gaps, kernels, name, n, "written between rows");
        int good = 1, good_gradient = 1;
        for (ptrdiff_t i = 0; i < ROWS; i++) {
            exact value, error, gradient[128], gradient_error[128];
            if (!loss_formula(loss, n, z + i * ldz, by_label ? NULL : y + i * ldy, labels[i], &value, gradient, &error,
                              gradient_error))
                break;
            good &= close_to(row_loss[i], value, error);
            const exact weight = with_weights ? (exact)weights[i] : 1;
            for (ptrdiff_t j = 0; j < n; j++)
                good_gradient &= close_to((double)batch.dz[i * lddz + j], weight * gradient[j],
                                          weight * (gradient_error[j] + EPSILON * magnitude(gradient[j])));
        }
        agree(good, kernels, name, n, "the formula");
        agree(good_gradient, kernels, name, n, "the gradient's formula");
    }
    const ptrdiff_t size = extent(ROWS, n, lddz);
    if (is_first) {
        memcpy(loss_of_first, row_loss, sizeof alone);
        memcpy(dz_of_first, batch.dz, (size_t)size * sizeof(real));
    }
    agree(memcmp(row_loss, loss_of_first, sizeof alone) == 0, kernels, name, n, "bits of another set");
    agree(same(batch.dz, dz_of_first, size), kernels, name, n, "bits of another set, gradient");
    guarded_delete(losses);
}

static void losses(void) {
    for (int loss = 0; fnn_loss_name(loss); loss++) {
        for (int form = takes_labels(loss) ? LABELS : VALUES; form <= VALUES; form++) {
            for (int s = 1; s < N_SIZES; s++) {
                for (int at_end = 0; at_end < 2; at_end++) {
                    double value[3];
                    static real dz[MOST];
                    int isa = 0, is_first = 1;
                    for (const kernel_table *kernels; (kernels = next_set(&isa)); is_first = 0)
                        loss_at(kernels, loss, form, sizes[s], at_end, value, dz, is_first);
                }
            }
        }
    }
}

/* The loss of one row of n logits. */
static double loss_of_row(const kernel_table *kernels, int loss, ptrdiff_t n, const real *z, const real *y,
                          int32_t label, real *dz) {
    double value = 0;
    const loss_batch batch = {.rows = 1, .n = n, .z = z, .ldz = n, .labels = y ? NULL : &label, .values = y,
                              .ldvalues = n, .row_loss = &value, .dz = dz, .lddz = n, .parameters = loss_parameters(loss), .n_parameters = 1};
    run_loss(kernels, loss, &batch);
    return value;
}

/* Losses that read logits have a finite loss and gradient wherever the logits are finite. */
static void never_overflow(void) {
    enum { N = 17 };
    int isa = 0;
    for (const kernel_table *kernels; (kernels = next_set(&isa));) {
        for (int loss = 0; fnn_loss_name(loss); loss++) {
            const int binary = is_loss(loss, "binary_cross_entropy"), is_focal = is_loss(loss, "focal");
            if (!binary && !is_focal && !is_loss(loss, "cross_entropy")) continue;
            for (int pair = 0; pair < N_EXTREMES * N_EXTREMES; pair++) {
                const double one_of = extremes[pair / N_EXTREMES], other = extremes[pair % N_EXTREMES];
                for (ptrdiff_t n = 2; n <= N; n += N - 2) {
                    real z[N], y[N], dz[N];
                    for (ptrdiff_t j = 0; j < n; j++) z[j] = (real)(j % 2 ? one_of : other);
                    for (int form = binary ? 2 : 0; form < 5; form++) {
                        for (ptrdiff_t j = 0; j < n; j++) y[j] = (real)(form == 4 ? 0.5 : j % 2 == form - 2);
                        const double value = loss_of_row(kernels, loss, n, z, form < 2 ? NULL : y, form, dz);
                        int good = isfinite(value) && value >= 0;
                        exact sum = 0;
                        for (ptrdiff_t j = 0; j < n; j++) {
                            good &= isfinite(dz[j]) && dz[j] >= -(real)n && dz[j] <= (real)n;
                            sum += (exact)dz[j];
                        }
                        agree(good, kernels, fnn_loss_name(loss), n, "logits without end");
                        /* The probabilities sum to 1, so the gradient of a cross-entropy sums to 0. */
                        if (!binary && (!is_focal || form < 2))
                            agree(magnitude(sum) <= 16 * EPSILON * (exact)n, kernels, fnn_loss_name(loss), n,
                                  "the gradient's sum");
                    }
                }
            }
        }
    }
}

/* A NaN in logits or targets is a NaN in that row's loss, and in no other's. */
static void nan_of_losses(void) {
    enum { N = 18 };
    int isa = 0;
    for (const kernel_table *kernels; (kernels = next_set(&isa));) {
        for (int loss = 0; fnn_loss_name(loss); loss++) {
            for (int form = takes_labels(loss) ? LABELS : VALUES; form <= VALUES; form++) {
                for (ptrdiff_t at = 0; at < N; at++) {
                    real z[2 * N], y[2 * N], dz[2 * N];
                    double value[2];
                    const int32_t labels[2] = {3, 3};
                    fill(z, 2 * N, 21, 4);
                    fill(y, 2 * N, 22, 0.4);
                    for (int j = 0; j < 2 * N; j++) y[j] += (real)0.5;
                    loss_batch batch = {.rows = 2, .n = N, .z = z, .ldz = N, .labels = form == LABELS ? labels : NULL,
                                        .values = y, .ldvalues = N, .row_loss = value, .dz = dz, .lddz = N,
                                        .parameters = loss_parameters(loss), .n_parameters = 1};
                    z[N + at] = (real)NAN;
                    run_loss(kernels, loss, &batch);
                    agree(isfinite(value[0]) && isnan(value[1]), kernels, fnn_loss_name(loss), at, "a NaN");
                    batch.dz = NULL;
                    run_loss(kernels, loss, &batch);
                    agree(isfinite(value[0]) && isnan(value[1]), kernels, fnn_loss_name(loss), at, "a NaN, loss alone");
                    z[N + at] = 1;
                    y[at] = (real)NAN;
                    run_loss(kernels, loss, &batch);
                    /* Pairs of outputs have half as many targets, and a NaN is no yes. */
                    const int is_read = !is_loss(loss, "hinge") && (at < N / 2 || !is_loss(loss, "gaussian_nll"));
                    if (form == VALUES && is_read)
                        agree(isnan(value[0]) && isfinite(value[1]), kernels, fnn_loss_name(loss), at, "a NaN target");
                }
            }
        }
    }
}

#if FNN_REAL == 64
/* The gradient of every loss by central differences. */
static void loss_slopes(void) {
    enum { N = 12 };
    const double h = 1e-6;
    int isa = 0;
    for (const kernel_table *kernels; (kernels = next_set(&isa));) {
        for (int loss = 0; fnn_loss_name(loss); loss++) {
            for (int form = takes_labels(loss) ? LABELS : VALUES; form <= VALUES; form++) {
                real z[N], y[N], dz[N];
                const real *targets = form == LABELS ? NULL : y;
                fill(z, N, 31, 3);
                fill_targets(y, N, 32);
                loss_of_row(kernels, loss, N, z, targets, 4, dz);
                int good = 1;
                for (int j = 0; j < N; j++) {
                    real above[N], below[N];
                    memcpy(above, z, sizeof z);
                    memcpy(below, z, sizeof z);
                    above[j] += h;
                    below[j] -= h;
                    const double slope = (loss_of_row(kernels, loss, N, above, targets, 4, NULL) -
                                          loss_of_row(kernels, loss, N, below, targets, 4, NULL)) /
                                         (2 * h);
                    good &= fabs(slope - dz[j]) <= 1e-8;
                }
                agree(good, kernels, fnn_loss_name(loss), N, "central differences");
            }
        }
    }
}
#endif

/* ---- update rules ---------------------------------------------------------------------------------------------- */

typedef FNN_TYPED(fnn_update_batch) update_batch;

static int run_update(const kernel_table *kernels, int kind, const update_batch *batch) {
    const fnn_float_state state = fnn_float_enter();
    const int bad = kernels->update[kind](batch);
    fnn_float_leave(state);
    return bad;
}

typedef struct {
    int kind;
    double hyper[8], learning_rate, l1, l2, scale;
    double factor, bound, decay, average; /* what all rules share; factor 0 stands for 1 */
} rule;

static const rule rules[] = {
    {.kind = FNN_OPTIMIZER_sgd, .hyper = {0, 0}, .learning_rate = 0.125, .scale = 1},
    {.kind = FNN_OPTIMIZER_sgd, .hyper = {0.9, 0}, .learning_rate = 0.01, .scale = 0.0078125},
    {.kind = FNN_OPTIMIZER_sgd, .hyper = {0.9, 1}, .learning_rate = 0.01, .l1 = 0.25, .scale = 0.01},
    {.kind = FNN_OPTIMIZER_sgd, .hyper = {0, 0}, .learning_rate = 0.01, .l2 = 0.125, .scale = 3},
    {.kind = FNN_OPTIMIZER_rmsprop, .hyper = {0.99, 1e-8, 0}, .learning_rate = 0.01, .scale = 0.03},
    {.kind = FNN_OPTIMIZER_rmsprop, .hyper = {0.5, 1e-3, 0.9}, .learning_rate = 0.01, .scale = 1, .decay = 0.01},
    {.kind = FNN_OPTIMIZER_adagrad, .hyper = {1e-10, 0}, .learning_rate = 0.01, .scale = 0.03},
    {.kind = FNN_OPTIMIZER_adagrad, .hyper = {1e-3, 0.5}, .learning_rate = 0.1, .scale = 1, .bound = 0.25},
    {.kind = FNN_OPTIMIZER_adam, .hyper = {0.9, 0.999, 1e-8}, .learning_rate = 1e-3, .scale = 0.03},
    {.kind = FNN_OPTIMIZER_adam, .hyper = {0.5, 0.75, 1e-3}, .learning_rate = 0.1, .l1 = 0.01, .l2 = 0.02, .scale = 1},
    {.kind = FNN_OPTIMIZER_adamw, .hyper = {0.9, 0.999, 1e-8}, .learning_rate = 1e-3, .scale = 0.5, .decay = 0.125},
    {.kind = FNN_OPTIMIZER_adamw, .hyper = {0.9, 0.99, 1e-8}, .learning_rate = 1e-3, .scale = 1, .average = 0.75},
    {.kind = FNN_OPTIMIZER_nadam, .hyper = {0.9, 0.999, 1e-8}, .learning_rate = 1e-3, .scale = 0.03},
    {.kind = FNN_OPTIMIZER_nadam, .hyper = {0.5, 0.75, 1e-3}, .learning_rate = 0.1, .scale = 1, .factor = 0.375},
    {.kind = FNN_OPTIMIZER_lion, .hyper = {0.9, 0.99}, .learning_rate = 1e-3, .scale = 0.03},
    {.kind = FNN_OPTIMIZER_lion, .hyper = {0.5, 0.75}, .learning_rate = 0.1, .l2 = 0.01, .scale = 1, .decay = 0.01,
     .average = 0.5},
};

static exact clipped(exact g, exact bound) { return bound <= 0 ? g : g > bound ? bound : g < -bound ? -bound : g; }

/* mu_t of NAdam, and the product of mu_1 .. mu_t. */
static exact momentum_of(const rule *r, int64_t t) {
    return (exact)r->hyper[0] * (1 - EXACT(pow)((exact)0.96L, (exact)0.004L * (exact)t) / 2);
}
static exact product_of(const rule *r, int64_t t) {
    exact product = 1;
    for (int64_t i = 1; i <= t; i++) product *= momentum_of(r, i);
    return product;
}

/* Moments as Adam's, and the root of the second, all of step t. */
static exact moments_of(const rule *r, int64_t t, exact g, exact *state) {
    const exact beta1 = (exact)r->hyper[0], beta2 = (exact)r->hyper[1];
    state[0] = beta1 * state[0] + (1 - beta1) * g;
    state[1] = beta2 * state[1] + (1 - beta2) * g * g;
    return EXACT(sqrt)(state[1] / (1 - EXACT(pow)(beta2, (exact)t))) + (exact)r->hyper[2];
}

/* The papers' formulas for one parameter, on the kernel's own old state. error: what rounding may do to the step. */
static exact step_of(const rule *r, int64_t t, exact p, exact g, exact *state, exact *error) {
    const exact rate = (exact)r->learning_rate, first = (exact)r->hyper[0];
    const exact old = magnitude(state[0]);
    exact direction = 0;
    *error = 0;
    g = g * (exact)r->scale + (exact)r->l1 * (exact)((p > 0) - (p < 0)) + 2 * (exact)r->l2 * p;
    g = clipped(g * (r->factor > 0 ? (exact)r->factor : 1), (exact)r->bound);
    p -= (exact)r->decay * p;
    /* The corrections of Adam and its kin are differences of doubles near 1. */
    const exact in_doubles = (exact)(DBL_EPSILON / EPSILON);
    switch (r->kind) {
    case FNN_OPTIMIZER_sgd:
        state[0] = first * state[0] + g;
        direction = r->hyper[1] != 0 ? g + first * state[0] : state[0];
        *error = magnitude(g) + first * old + magnitude(direction);
        break;
    case FNN_OPTIMIZER_rmsprop:
        state[0] = first * state[0] + (1 - first) * g * g;
        direction = g / (EXACT(sqrt)(state[0]) + (exact)r->hyper[1]);
        *error = magnitude(direction) + (exact)r->hyper[2] * magnitude(state[1]);
        state[1] = direction = (exact)r->hyper[2] * state[1] + direction;
        break;
    case FNN_OPTIMIZER_adagrad:
        state[0] += g * g;
        direction = g / (EXACT(sqrt)((exact)r->hyper[1] + state[0]) + first);
        *error = magnitude(direction);
        break;
    case FNN_OPTIMIZER_adam:
    case FNN_OPTIMIZER_adamw: {
        const exact root = moments_of(r, t, g, state), correction = 1 - EXACT(pow)(first, (exact)t);
        const exact second = 1 - EXACT(pow)((exact)r->hyper[1], (exact)t);
        direction = state[0] / correction / root;
        *error = (first * old + (1 - first) * magnitude(g)) / correction / root *
                 (1 + in_doubles * (1 / correction + 1 / second));
        break;
    }
    case FNN_OPTIMIZER_nadam: {
        const exact root = moments_of(r, t, g, state), second = 1 - EXACT(pow)((exact)r->hyper[1], (exact)t);
        const exact of_mean = momentum_of(r, t + 1) / (1 - product_of(r, t + 1));
        const exact of_gradient = (1 - momentum_of(r, t)) / (1 - product_of(r, t));
        direction = (of_mean * state[0] + of_gradient * g) / root;
        *error = (of_mean * (first * old + (1 - first) * magnitude(g)) + of_gradient * magnitude(g)) / root *
                 (1 + in_doubles * (1 / (1 - product_of(r, t)) + 1 / second));
        break;
    }
    case FNN_OPTIMIZER_lion: {
        const exact mixed = first * state[0] + (1 - first) * g;
        direction = (exact)((mixed > 0) - (mixed < 0));
        *error = 1;
        state[0] = (exact)r->hyper[1] * state[0] + (1 - (exact)r->hyper[1]) * g;
        break;
    }
    default:
        agree(0, NULL, fnn_optimizer_name(r->kind), 0, "a formula is missing here");
    }
    *error *= rate;
    return p - rate * direction;
}

#define PREPARE_ENTRY(name, states, ...) name##_prepare,
static void prepare_rule(const rule *r, int64_t t, double *constants) {
    static void (*const prepare[])(const fnn_rule_step *, double *) = {FNN_OPTIMIZERS(PREPARE_ENTRY)};
    const fnn_rule_step step = {r->learning_rate, r->hyper, t, (double)product_of(r, t)};
    prepare[r->kind](&step, constants);
}

static void steps_of_rule(const kernel_table *kernels, const rule *r, ptrdiff_t n, int at_end, real *first,
                          int is_first) {
    real start[MOST], grads[MOST];
    const char *name = fnn_optimizer_name(r->kind);
    fill(start, n, 41, 1);
    for (ptrdiff_t i = 3; i < n; i += 5) start[i] = 0; /* where a penalty has no direction */
    real *states[2] = {lay(&third_array, NULL, n, at_end), lay(&fourth_array, NULL, n, at_end)};
    for (int s = 0; s < 2; s++)
        for (ptrdiff_t i = 0; i < n; i++) states[s][i] = 0;
    real *params = lay(&first_array, start, n, at_end);
    real average[MOST] = {0};
    for (int64_t t = 1; t <= 4; t++) {
        fill(grads, n, 50 + (uint64_t)t, 2);
        double constants[8] = {0};
        prepare_rule(r, t, constants);
        update_batch batch = {.n = n,
                              .params = params,
                              .grads = lay(&second_array, grads, n, at_end),
                              .state = {states[0], states[1], NULL},
                              .scale = (real)r->scale,
                              .average = r->average > 0 ? average : NULL,
                              .l1 = (real)r->l1,
                              .l2 = (real)r->l2,
                              .factor = r->factor > 0 ? (real)r->factor : 1,
                              .bound = (real)r->bound,
                              .decay = (real)r->decay,
                              .share = (real)r->average};
        for (int i = 0; i < 8; i++) batch.constants[i] = (real)constants[i];
        real before[MOST], state_before[2][MOST], average_before[MOST];
        memcpy(before, params, (size_t)n * sizeof(real));
        memcpy(average_before, average, sizeof average);
        for (int s = 0; s < 2; s++) memcpy(state_before[s], states[s], (size_t)n * sizeof(real));
        agree(run_update(kernels, r->kind, &batch) == 0, kernels, name, n, "a finite update is not");
        int good = same(batch.grads, grads, n);
        for (ptrdiff_t i = 0; i < n; i++) {
            exact state[2] = {(exact)state_before[0][i], (exact)state_before[1][i]}, error;
            const exact wanted = step_of(r, t, (exact)before[i], (exact)grads[i], state, &error);
            good &= close_to((double)params[i], wanted, 8 * EPSILON * error + EPSILON * magnitude(wanted));
            for (int s = 0; s < fnn_optimizer_states(r->kind); s++)
                good &= close_to((double)states[s][i], state[s],
                                 8 * EPSILON *
                                     (magnitude(state[s]) + magnitude((exact)grads[i]) + magnitude((exact)before[i])));
            const exact old = (exact)average_before[i], moved = (exact)params[i] - old;
            good &= close_to((double)average[i], old + (exact)r->average * moved,
                             2 * EPSILON * (magnitude(old) + magnitude(moved)));
        }
        agree(good, kernels, name, n, "the formula");
    }
    if (is_first) memcpy(first, params, (size_t)n * sizeof(real));
    agree(same(first, params, n), kernels, name, n, "bits of another set");
}

static void updates(void) {
    static real first[MOST];
    for (size_t r = 0; r < sizeof rules / sizeof *rules; r++) {
        for (int s = 0; s < N_SIZES; s++) {
            for (int at_end = 0; at_end < 2; at_end++) {
                int isa = 0, is_first = 1;
                for (const kernel_table *kernels; (kernels = next_set(&isa)); is_first = 0)
                    steps_of_rule(kernels, &rules[r], sizes[s], at_end, first, is_first);
            }
        }
    }
}

/* An infinity or a NaN anywhere is told; what lies behind the last parameter is nobody's business, even where the
 * rule has no value for zeros (Adam with epsilon 0). */
static void bad_updates_are_told(void) {
    int isa = 0;
    for (const kernel_table *kernels; (kernels = next_set(&isa));) {
        for (int kind = 0; fnn_optimizer_name(kind); kind++) {
            for (ptrdiff_t n = 1; n <= 33; n++) {
                real params[33], grads[33], state[3][33];
                double constants[8] = {0};
                const int plain = kind == FNN_OPTIMIZER_sgd || kind == FNN_OPTIMIZER_adagrad;
                const rule r = {.kind = kind, .hyper = {plain ? 0 : 0.9, plain ? 0 : 0.99, 0}, .learning_rate = 0.1};
                prepare_rule(&r, 1, constants);
                update_batch batch = {.n = n,
                                      .params = params,
                                      .grads = grads,
                                      .state = {state[0], state[1], state[2]},
                                      .scale = 1,
                                      .factor = 1,
                                      .bound = (real)(n % 2)};
                for (int i = 0; i < 8; i++) batch.constants[i] = (real)constants[i];
                for (ptrdiff_t at = -1; at < n; at++) {
                    for (int i = 0; i < 33; i++) params[i] = grads[i] = 1;
                    memset(state, 0, sizeof state);
                    if (at >= 0 && n % 3) params[at] = at % 2 ? (real)NAN : (real)INFINITY;
                    if (at >= 0 && n % 3 == 0) grads[at] = (real)NAN; /* also where infinity would be clipped */
                    agree((run_update(kernels, kind, &batch) != 0) == (at >= 0), kernels, fnn_optimizer_name(kind), n,
                          "what is not finite");
                }
            }
        }
    }
}

/* ---- panels and sums ------------------------------------------------------------------------------------------- */

/* Panels written piece by piece, as threads do, in any order: every element, and nothing but zeros in the tails. */
static void pieces_of_panels(void) {
    static const ptrdiff_t shapes[][2] = {{1, 9}, {31, 17}, {32, 33}, {33, 9}, {64, 16}, {65, 31}, {100, 40}, {70, 10}};
    int isa = 0;
    for (const kernel_table *kernels; (kernels = next_set(&isa));) {
        const ptrdiff_t panel = kernels->panel_columns;
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
            const ptrdiff_t k = shapes[s][0], n = shapes[s][1];
            real w[MOST];
            fill(w, k * n, 61, 1);
            const real *from = lay(&first_array, w, k * n, 1);
            const int mark = guarded_mark();
            const ptrdiff_t size = (n + panel - 1) / panel * panel * k;
            const ptrdiff_t size_transposed = (k + panel - 1) / panel * panel * n;
            real *panels = guarded_array((size_t)size * sizeof(real));
            real *transposed = guarded_array((size_t)size_transposed * sizeof(real));
            for (ptrdiff_t first = (k - 1) / 32 * 32; first >= 0; first -= 32) {
                const ptrdiff_t rows = k - first < 32 ? k - first : 32;
                kernels->pack(first, rows, n, from, k * panel, panels);
                kernels->pack_transposed(first, rows, k, n, from, n * panel, transposed);
            }
            int good = 1, good_transposed = 1;
            for (ptrdiff_t at = 0; at < size; at++) {
                const ptrdiff_t j = at / (k * panel) * panel + at % panel, i = at / panel % k;
                good &= panels[at] == (j < n ? w[i * n + j] : 0);
            }
            for (ptrdiff_t at = 0; at < size_transposed; at++) {
                const ptrdiff_t i = at / (n * panel) * panel + at % panel, j = at / panel % n;
                good_transposed &= transposed[at] == (i < k ? w[i * n + j] : 0);
            }
            agree(good, kernels, "pack", k, "an element");
            agree(good_transposed, kernels, "pack_transposed", k, "an element");
            guarded_release(mark);
        }
    }
}

/* Column sums are one chain over the rows each; add is one addition each: the bits of scalar code. */
static void sums(void) {
    int isa = 0;
    for (const kernel_table *kernels; (kernels = next_set(&isa));) {
        for (int s = 0; s < N_SIZES; s++) {
            for (ptrdiff_t rows = 0; rows <= 6; rows += 3) {
                for (int how = 0; how < 4; how++) {
                    const int at_end = how % 2, accumulate = how / 2;
                    const ptrdiff_t n = sizes[s], ld = n + 4;
                    real a[MOST], before[MOST];
                    fill(a, rows * ld, 71, 1);
                    fill(before, n, 72, 1);
                    const real *from = lay(&first_array, a, extent(rows, n, ld), at_end);
                    real *out = lay(&second_array, accumulate ? before : NULL, n, at_end);
                    kernels->column_sums(rows, n, from, ld, accumulate, out);
                    int good = 1;
                    for (ptrdiff_t j = 0; j < n; j++) {
                        real sum = accumulate ? before[j] : 0;
                        for (ptrdiff_t i = 0; i < rows; i++) sum += a[i * ld + j];
                        good &= out[j] == sum;
                    }
                    agree(good, kernels, "column_sums", n, "a sum");
                    if (rows == 0) continue;
                    out = lay(&third_array, before, n, at_end);
                    kernels->add(n, out, lay(&fifth_array, a, n, at_end));
                    good = 1;
                    for (ptrdiff_t j = 0; j < n; j++) good &= out[j] == before[j] + a[j];
                    agree(good, kernels, "add", n, "a sum");
                }
            }
        }
    }
}

/* The x with P(x) = u for 0.01 < u < 0.99, by Newton's method. */
static exact normal_quantile(exact u) {
    exact x = 0;
    for (int i = 0; i < 30; i++) {
        const exact half = (EXACT(erf)(x * EXACT(sqrt)((exact)0.5))) / 2;
        x += (u - (exact)0.5 - half) * EXACT(sqrt)(2 * (exact)3.14159265358979323846L) * EXACT(exp)(x * x / 2);
    }
    return x;
}

/* The functions on vectors, at all sizes; all their inputs are the business of vector_math_sweep.c. */
static void vectors(void) {
    static const struct {
        exact (*value)(exact);
        double bound;
    } functions[] = {{EXACT(exp), 1}, {EXACT(log), 1}, {EXACT(tanh), 2}, {sigmoid, 2}, {normal_quantile, 7}};
    for (int function = FNN_EXP; function <= FNN_NORMAL_QUANTILE; function++) {
        for (int s = 0; s < N_SIZES; s++) {
            for (int at_end = 0; at_end < 2; at_end++) {
                const ptrdiff_t n = sizes[s];
                real x[MOST], first[MOST];
                fill(x, n, 81, 9);
                for (ptrdiff_t i = 0; i < n && function == FNN_LOG; i++) x[i] = (real)fabs((double)x[i]);
                for (ptrdiff_t i = 0; i < n && function == FNN_NORMAL_QUANTILE; i++)
                    x[i] = (real)(0.5 + (double)x[i] / 20); /* 0.05..0.95 */
                int isa = 0, is_first = 1;
                for (const kernel_table *kernels; (kernels = next_set(&isa)); is_first = 0) {
                    real *y = lay(&second_array, NULL, n, at_end);
                    fnn_vector(FNN_REAL_TYPE, function, n, lay(&first_array, x, n, at_end), y);
                    int good = 1;
                    for (ptrdiff_t i = 0; i < n; i++) {
                        const exact wanted = functions[function].value((exact)x[i]);
                        good &= close_to((double)y[i], wanted,
                                         (exact)functions[function].bound * EPSILON * magnitude(wanted));
                    }
                    agree(good, kernels, "fnn_vector", n, "the function");
                    if (is_first) memcpy(first, y, (size_t)n * sizeof(real));
                    agree(same(first, y, n), kernels, "fnn_vector", n, "bits of another set");
                }
            }
        }
    }
}

void FNN_TYPED(test_kernels)(void);
void FNN_TYPED(test_kernels)(void) {
    array *all[] = {&first_array, &second_array, &third_array, &fourth_array, &fifth_array};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) *all[i] = array_new();
    tables();
    activations();
    nan_of_activations();
    losses();
    never_overflow();
    nan_of_losses();
#if FNN_REAL == 64
    slopes();
    loss_slopes();
#endif
    updates();
    bad_updates_are_told();
    pieces_of_panels();
    sums();
    vectors();
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) guarded_delete(all[i]->memory);
}
