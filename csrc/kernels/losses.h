/* losses.h: the list of losses; each gives a batch's losses per row and their gradient.
 *
 * A row's loss is the mean over its outputs (cross-entropy: the sum over classes); the gradient is multiplied by the
 * row's weight and not divided by anything: gradients are sums, the update divides. To add one: a row in the list, its
 * function, and a row in fastnn/losses.py. Cross-entropies always read logits: the softmax or sigmoid before them is
 * folded in.
 */
/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FASTNN_KERNELS_LOSSES_H
#define FASTNN_KERNELS_LOSSES_H

#define FNN_LOSSES(X)       \
    X(mse)                  \
    X(mae)                  \
    X(huber)                \
    X(log_cosh)             \
    X(quantile)             \
    X(poisson)              \
    X(hinge)                \
    X(binary_cross_entropy) \
    X(cross_entropy)        \
    X(focal)                \
    X(gaussian_nll)

#define FNN_LOSS_ENUM(name) FNN_LOSS_##name,
enum { FNN_LOSSES(FNN_LOSS_ENUM) FNN_N_LOSSES };
#undef FNN_LOSS_ENUM

#ifdef FNN_KERNELS
#include <float.h>

#include "activations.h"

typedef FNN_TYPED(fnn_loss_batch) loss_batch;

FNN_INLINE real row_weight(const loss_batch *b, ptrdiff_t i) { return b->weights ? (real)b->weights[i] : 1; }

/* A loss beyond the largest double is that double: finite logits always have a finite loss. NaN stays. */
FNN_INLINE double finite_loss(double loss) { return loss > DBL_MAX ? DBL_MAX : loss; }

/* ---- means over the outputs ----------------------------------------------------------------------------------- */

/* What a loss of one element may ask for: its parameter, the same for all columns or one for each. */
typedef struct {
    vf parameter;
} element;

/* loss = 1/n sum_j f(z_j, y_j);  dz_j = weight/n slope_j. f gives the slope beside the loss, and is a constant where
 * this is inlined. Returns nothing; sums are by 16 chains and the fixed tree. */
FNN_INLINE void mean_of_elements(const loss_batch *b, vf (*f)(vf z, vf y, const element *e, vf *slope)) {
    const int by_column = b->n_parameters > 1;
    element e = {vf_set1(b->n_parameters ? (real)b->parameters[0] : 0)};
    for (ptrdiff_t i = 0; i < b->rows; i++) {
        const real *z = b->z + i * b->ldz, *y = b->values + i * b->ldvalues;
        const vf factor = vf_set1(row_weight(b, i) / (real)b->n);
        v16 sum = v16_zero();
        for (ptrdiff_t j = 0; j < b->n; j += FNN_CHAINS) {
            for (int part = 0; part < FNN_CHAINS / VF_LANES; part++) {
                const ptrdiff_t at = j + part * VF_LANES;
                if (at >= b->n) break;
                const vm mask = vm_first(b->n - at);
                if (by_column) {
                    real lane[VF_LANES];
                    for (ptrdiff_t l = 0; l < VF_LANES; l++) lane[l] = at + l < b->n ? (real)b->parameters[at + l] : 0;
                    e.parameter = vf_load(lane);
                }
                vf slope;
                const vf loss = f(vf_load_first(z + at, mask), vf_load_first(y + at, mask), &e, &slope);
                sum.part[part] = vf_add(sum.part[part], vf_select(mask, loss, vf_zero()));
                if (b->dz) vf_store_first(b->dz + i * b->lddz + at, vf_mul(factor, slope), mask);
            }
        }
        b->row_loss[i] = (double)v16_sum(sum) / (double)b->n;
    }
}

/* (z - y)^2;  2 (z - y) */
FNN_INLINE vf squared_error(vf z, vf y, const element *e, vf *slope) {
    (void)e;
    const vf error = vf_sub(z, y);
    *slope = vf_add(error, error);
    return vf_mul(error, error);
}

/* x's sign, and 0 for 0 */
FNN_INLINE vf sign_of(vf x) { return vf_select(vm_eq(x, vf_zero()), vf_zero(), vf_copysign(vf_set1(1), x)); }

/* |z - y|;  sign(z - y) */
FNN_INLINE vf absolute_error(vf z, vf y, const element *e, vf *slope) {
    (void)e;
    const vf error = vf_sub(z, y);
    *slope = sign_of(error);
    return vf_abs(error);
}

/* 1/2 (z - y)^2 where |z - y| <= delta, else delta (|z - y| - 1/2 delta);  z - y, clipped to -delta..delta (Huber 1964) */
FNN_INLINE vf huber_error(vf z, vf y, const element *e, vf *slope) {
    const vf error = vf_sub(z, y), delta = e->parameter, half = vf_set1(REAL(0.5));
    const vf clipped = vf_min(delta, vf_max(vf_neg(delta), error));
    *slope = clipped;
    return vf_mul(clipped, vf_fnma(half, clipped, error));
}

/* log cosh(z - y);  tanh(z - y). Near 0 as 1/2 log(1 + sinh^2), sinh^2 = t^2 / (1 - t^2) with t = tanh, without
 * cancellation; else |e| - log 2 + log(1 + exp(-2 |e|)). */
#define LOG_2 REAL(0.6931471805599453)
FNN_INLINE vf log_cosh_error(vf z, vf y, const element *e, vf *slope) {
    (void)e;
    const vf error = vf_sub(z, y), t = vf_tanh(error), size = vf_abs(error), square = vf_mul(t, t);
    const vf near = vf_min(vf_set1(1), vf_div(square, vf_sub(vf_set1(1), square)));
    const vf below = vf_mul(vf_set1(REAL(0.5)), vf_log1p(near));
    const vf tail = vf_log1p(vf_exp(vf_mul(vf_set1(-2), size)));
    const vf above = vf_add(vf_sub(size, vf_set1(LOG_2)), tail);
    *slope = t;
    return vf_select(vm_lt(size, vf_set1(REAL(0.75))), below, above);
}

/* q (y - z) where y > z, else (1 - q) (z - y);  -q or 1 - q, and 0 for y = z   (Koenker & Bassett 1978) */
FNN_INLINE vf quantile_error(vf z, vf y, const element *e, vf *slope) {
    const vf error = vf_sub(y, z), above = e->parameter, below = vf_sub(e->parameter, vf_set1(1));
    const vf rate = vf_select(vm_gt(error, vf_zero()), above, below);
    *slope = vf_select(vm_eq(error, vf_zero()), vf_zero(), vf_neg(rate));
    return vf_mul(rate, error);
}

/* exp(z) - y z with z the logarithm of the expected count;  exp(z) - y */
FNN_INLINE vf poisson_error(vf z, vf y, const element *e, vf *slope) {
    (void)e;
    const vf rate = vf_exp(z);
    *slope = vf_sub(rate, y);
    return vf_fnma(y, z, rate);
}

/* max(0, 1 - t z) with t = 1 where y > 0, else -1;  -t where that is positive */
FNN_INLINE vf hinge_error(vf z, vf y, const element *e, vf *slope) {
    (void)e;
    const vf t = vf_select(vm_gt(y, vf_zero()), vf_set1(1), vf_set1(-1));
    const vf margin = vf_fnma(t, z, vf_set1(1));
    *slope = vf_select(vm_gt(margin, vf_zero()), vf_neg(t), vf_zero());
    return vf_max(vf_zero(), margin);
}

/* With p = sigmoid(z): max(z, 0) - z y + log(1 + exp(-|z|));  p - y */
FNN_INLINE vf binary_error(vf z, vf y, const element *e, vf *slope) {
    (void)e;
    const vf tail = vf_log1p(vf_exp(vf_neg(vf_abs(z))));
    *slope = vf_sub(vf_sigmoid(z), y);
    return vf_add(vf_fnma(z, y, vf_max(z, vf_zero())), tail);
}

/* -(1 - p)^gamma log p and its derivative in z, for p = sigmoid(z), through logarithms: log p = -log(1 + exp(-z)).
 * d/dz = gamma p (1 - p)^gamma log p - (1 - p)^(gamma + 1) */
FNN_INLINE vf focal_term(vf z, vf gamma, vf *slope) {
    const vf log_p = vf_neg(softplus_forward(vf_neg(z))), p = vf_sigmoid(z), miss = vf_sigmoid(vf_neg(z));
    const vf power = vf_exp(vf_neg(vf_mul(gamma, softplus_forward(z)))); /* (1 - p)^gamma */
    *slope = vf_mul(power, vf_sub(vf_mul(vf_mul(gamma, p), log_p), miss));
    return vf_neg(vf_mul(power, log_p));
}

/* y focal(z) + (1 - y) focal(-z)   (Lin et al. 2017) */
FNN_INLINE vf focal_error(vf z, vf y, const element *e, vf *slope) {
    vf slope_yes, slope_no;
    const vf yes = focal_term(z, e->parameter, &slope_yes), no = focal_term(vf_neg(z), e->parameter, &slope_no);
    const vf rest = vf_sub(vf_set1(1), y);
    *slope = vf_fnma(rest, slope_no, vf_mul(y, slope_yes));
    return vf_fma(rest, no, vf_mul(y, yes));
}

static void mse(const loss_batch *b) { mean_of_elements(b, squared_error); }
static void mae(const loss_batch *b) { mean_of_elements(b, absolute_error); }
static void huber(const loss_batch *b) { mean_of_elements(b, huber_error); }
static void log_cosh(const loss_batch *b) { mean_of_elements(b, log_cosh_error); }
static void quantile(const loss_batch *b) { mean_of_elements(b, quantile_error); }
static void poisson(const loss_batch *b) { mean_of_elements(b, poisson_error); }
static void hinge(const loss_batch *b) { mean_of_elements(b, hinge_error); }

/* ---- probabilities of classes ----------------------------------------------------------------------------------- */

/* sum_j y_j (shift - z_j) and sum_j y_j of a row of probabilities, in double: differences of logits may overflow. */
static double soft_label_loss(ptrdiff_t n, const real *z, const real *y, real shift, double log_sum, double *total) {
    double loss = 0, sum = 0;
    for (ptrdiff_t j = 0; j < n; j++) {
        const double distance = finite_loss((double)shift - (double)z[j]);
        if (y[j] != 0) loss += (double)y[j] * (distance + log_sum);
        sum += (double)y[j];
    }
    *total = sum;
    return loss;
}

/* sum_j (shift - z_j) / n in double */
static double mean_distance(ptrdiff_t n, const real *z, real shift) {
    double sum = 0;
    for (ptrdiff_t j = 0; j < n; j++) sum += finite_loss((double)shift - (double)z[j]) / (double)n;
    return sum;
}

/* log of a positive number, by the vector function: the same bits everywhere */
static double log_of(real x) {
    real lane[VF_LANES];
    vf_store(lane, vf_log(vf_set1(x)));
    return (double)lane[0];
}

/* p = softmax(z), t the probabilities y or 1 for the label; smoothing s mixes them with 1/n: t = (1 - s) t + s / n;
 * loss = -sum_j t_j log p_j;  dz_j = p_j sum_i t_i - t_j */
static void cross_entropy(const loss_batch *b) {
    const double smoothing = b->n_parameters ? b->parameters[0] : 0, rest = 1 - smoothing;
    for (ptrdiff_t i = 0; i < b->rows; i++) {
        const real *z = b->z + i * b->ldz, *y = b->labels ? NULL : b->values + i * b->ldvalues;
        real *dz = b->dz ? b->dz + i * b->lddz : NULL;
        const real largest = row_max(b->n, z), sum = exp_sum(b->n, z, largest, dz);
        const double log_sum = log_of(sum);
        double total = 1, loss;
        if (b->labels)
            loss = log_sum + ((double)largest - (double)z[b->labels[i]]);
        else
            loss = soft_label_loss(b->n, z, y, largest, log_sum, &total);
        if (smoothing > 0) {
            loss = rest * finite_loss(loss) + smoothing * (log_sum + mean_distance(b->n, z, largest));
            total = rest * total + smoothing;
        }
        b->row_loss[i] = finite_loss(loss);
        if (!dz) continue;
        divide_row(b->n, dz, sum, dz);
        const real weight = row_weight(b, i);
        const vf factor = vf_set1(weight), scale = vf_set1((real)total);
        const vf kept = vf_set1((real)rest), share = vf_set1((real)(smoothing / (double)b->n));
        for (ptrdiff_t j = 0; j < b->n; j += VF_LANES) {
            const vm mask = vm_first(b->n - j);
            vf p = vf_load_first(dz + j, mask);
            if (y) p = vf_sub(vf_mul(p, scale), vf_mul(kept, vf_load_first(y + j, mask)));
            if (smoothing > 0) p = vf_sub(p, share);
            vf_store_first(dz + j, vf_mul(factor, p), mask);
        }
        if (b->labels) dz[b->labels[i]] -= weight * (real)rest;
    }
}

/* sum_j max(z_j, 0) - z_j y_j in double, for logits whose sum is beyond a real: beside them the logarithms are nothing,
 * and so is what makes a focal loss another. */
static double huge_logits_loss(ptrdiff_t n, const real *z, const real *y) {
    double loss = 0;
    for (ptrdiff_t j = 0; j < n; j++) loss += (z[j] > 0 ? (double)z[j] : 0) - (double)z[j] * (double)y[j];
    return loss;
}

/* The mean over outputs of a cross-entropy of yes or no, where its sum was too much for a real. */
static void keep_finite(const loss_batch *b) {
    for (ptrdiff_t i = 0; i < b->rows; i++) {
        if (b->row_loss[i] * (double)b->n > REAL_MAX)
            b->row_loss[i] = huge_logits_loss(b->n, b->z + i * b->ldz, b->values + i * b->ldvalues) / (double)b->n;
        b->row_loss[i] = finite_loss(b->row_loss[i]);
    }
}

/* With labels, p = softmax(z) and p_t that of the label: loss = -(1 - p_t)^gamma log p_t;
 * dz_j = ((1 - p_t)^gamma - gamma p_t (1 - p_t)^(gamma - 1) log p_t) (p_j - (j = t)).
 * With values, the same of each output as a class of its own: focal_error. */
static void focal(const loss_batch *b) {
    if (!b->labels) {
        mean_of_elements(b, focal_error);
        keep_finite(b);
        return;
    }
    const real gamma = (real)b->parameters[0];
    for (ptrdiff_t i = 0; i < b->rows; i++) {
        const real *z = b->z + i * b->ldz;
        const int32_t label = b->labels[i];
        real *dz = b->dz ? b->dz + i * b->lddz : NULL;
        const real largest = row_max(b->n, z), sum = exp_sum(b->n, z, largest, dz);
        /* The others' share, 1 - p_t, summed by itself: the difference would lose it where p_t is near 1. */
        const real own = exp_sum(1, z + label, largest, NULL);
        const real others = exp_sum(label, z, largest, NULL) +
                            exp_sum(b->n - label - 1, z + label + 1, largest, NULL);
        const double log_p = -finite_loss(log_of(sum) + ((double)largest - (double)z[label]));
        const real miss = others / sum, p = own / sum;
        real lane[VF_LANES] = {0};
        if (miss > 0) vf_store(lane, vf_exp(vf_mul(vf_set1(gamma), vf_log(vf_set1(miss)))));
        const real power = gamma == 0 ? 1 : lane[0]; /* (1 - p_t)^gamma */
        b->row_loss[i] = finite_loss(-(double)power * log_p);
        if (sum != sum) b->row_loss[i] = (double)sum;
        if (!dz) continue;
        divide_row(b->n, dz, sum, dz);
        /* Where p is 0 its product with log p is 0, too, and beside a miss of 0 nothing is left to learn. */
        const real pull = p > 0 && miss > 0 ? gamma * p * (power / miss) * (real)log_p : 0;
        const real slope = miss > 0 ? power - pull : 0;
        const vf factor = vf_set1(row_weight(b, i) * slope);
        dz[label] = -miss;
        for (ptrdiff_t j = 0; j < b->n; j += VF_LANES) {
            const vm mask = vm_first(b->n - j);
            vf_store_first(dz + j, vf_mul(factor, vf_load_first(dz + j, mask)), mask);
        }
    }
}

/* p = sigmoid(z);  loss = 1/n sum_j -(y_j log p_j + (1 - y_j) log(1 - p_j)) */
static void binary_cross_entropy(const loss_batch *b) {
    mean_of_elements(b, binary_error);
    keep_finite(b);
}

/* ---- a distribution --------------------------------------------------------------------------------------------- */

/* Outputs are pairs (m, s): the mean and the logarithm of the variance of each of n/2 targets y;
 * loss = 2/n sum 1/2 (s + (y - m)^2 exp(-s)), the constant left out;
 * dm = 2/n (m - y) exp(-s);  ds = 1/n (1 - (y - m)^2 exp(-s))   (Nix & Weigend 1994) */
static void gaussian_nll(const loss_batch *b) {
    const ptrdiff_t targets = b->n / 2;
    for (ptrdiff_t i = 0; i < b->rows; i++) {
        const real *z = b->z + i * b->ldz, *y = b->values + i * b->ldvalues;
        const real factor = row_weight(b, i) / (real)targets;
        v16 sum = v16_zero();
        for (ptrdiff_t j = 0; j < targets; j += FNN_CHAINS) {
            for (int part = 0; part < FNN_CHAINS / VF_LANES; part++) {
                const ptrdiff_t at = j + part * VF_LANES, left = targets - at < VF_LANES ? targets - at : VF_LANES;
                if (left <= 0) break;
                real mean[VF_LANES] = {0}, log_variance[VF_LANES] = {0};
                for (ptrdiff_t l = 0; l < left; l++) {
                    mean[l] = z[2 * (at + l)];
                    log_variance[l] = z[2 * (at + l) + 1];
                }
                const vm mask = vm_first(left);
                const vf s = vf_load(log_variance), error = vf_sub(vf_load(mean), vf_load_first(y + at, mask));
                const vf precision = vf_exp(vf_neg(s)), scaled = vf_mul(error, precision);
                const vf square = vf_mul(error, scaled), half = vf_set1(REAL(0.5));
                sum.part[part] = vf_add(sum.part[part], vf_select(mask, vf_mul(half, vf_add(s, square)), vf_zero()));
                if (!b->dz) continue;
                vf_store(mean, vf_mul(vf_set1(factor), scaled));
                vf_store(log_variance, vf_mul(vf_set1(factor), vf_mul(half, vf_sub(vf_set1(1), square))));
                for (ptrdiff_t l = 0; l < left; l++) {
                    b->dz[i * b->lddz + 2 * (at + l)] = mean[l];
                    b->dz[i * b->lddz + 2 * (at + l) + 1] = log_variance[l];
                }
            }
        }
        b->row_loss[i] = (double)v16_sum(sum) / (double)targets;
    }
}

#define LOSS_ENTRY(name) name,
static const FNN_TYPED(fnn_loss_kernel) loss_kernels[] = {FNN_LOSSES(LOSS_ENTRY)};
#endif

#endif
