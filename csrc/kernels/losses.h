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

#define FNN_LOSSES(X)        \
    X(mse)                   \
    X(cross_entropy)         \
    X(binary_cross_entropy)

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

/* loss = 1/n sum_j (z_j - y_j)^2;  dz_j = 2/n (z_j - y_j) */
static void mse(const loss_batch *b) {
    for (ptrdiff_t i = 0; i < b->rows; i++) {
        const real *z = b->z + i * b->ldz, *y = b->values + i * b->ldvalues;
        const vf factor = vf_set1(2 * row_weight(b, i) / (real)b->n);
        v16 sum = v16_zero();
        for (ptrdiff_t j = 0; j < b->n; j += FNN_CHAINS) {
            for (int part = 0; part < FNN_CHAINS / VF_LANES; part++) {
                const ptrdiff_t at = j + part * VF_LANES;
                if (at >= b->n) break;
                const vm mask = vm_first(b->n - at);
                const vf e = vf_sub(vf_load_first(z + at, mask), vf_load_first(y + at, mask));
                sum.part[part] = vf_fma(e, e, sum.part[part]);
                if (b->dz) vf_store_first(b->dz + i * b->lddz + at, vf_mul(factor, e), mask);
            }
        }
        b->row_loss[i] = (double)v16_sum(sum) / (double)b->n;
    }
}

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

/* p = softmax(z);  loss = -log p_label, or -sum_j y_j log p_j;  dz_j = p_j sum_i y_i - y_j */
static void cross_entropy(const loss_batch *b) {
    for (ptrdiff_t i = 0; i < b->rows; i++) {
        const real *z = b->z + i * b->ldz, *y = b->labels ? NULL : b->values + i * b->ldvalues;
        real *dz = b->dz ? b->dz + i * b->lddz : NULL;
        const real largest = row_max(b->n, z), sum = exp_sum(b->n, z, largest, dz);
        real lane[VF_LANES];
        vf_store(lane, vf_log(vf_set1(sum)));
        const double log_sum = (double)lane[0];
        double total = 1;
        if (b->labels)
            b->row_loss[i] = finite_loss(log_sum + ((double)largest - (double)z[b->labels[i]]));
        else
            b->row_loss[i] = finite_loss(soft_label_loss(b->n, z, y, largest, log_sum, &total));
        if (!dz) continue;
        divide_row(b->n, dz, sum, dz);
        const real weight = row_weight(b, i);
        const vf factor = vf_set1(weight), scale = vf_set1((real)total);
        for (ptrdiff_t j = 0; j < b->n; j += VF_LANES) {
            const vm mask = vm_first(b->n - j);
            vf p = vf_load_first(dz + j, mask);
            if (y) p = vf_sub(vf_mul(p, scale), vf_load_first(y + j, mask));
            vf_store_first(dz + j, vf_mul(factor, p), mask);
        }
        if (b->labels) dz[b->labels[i]] -= weight;
    }
}

/* sum_j max(z_j, 0) - z_j y_j in double, for logits whose sum is beyond a real: beside them the logarithms are nothing. */
static double huge_logits_loss(ptrdiff_t n, const real *z, const real *y) {
    double loss = 0;
    for (ptrdiff_t j = 0; j < n; j++) loss += (z[j] > 0 ? (double)z[j] : 0) - (double)z[j] * (double)y[j];
    return loss;
}

/* p = sigmoid(z);  loss = 1/n sum_j max(z_j, 0) - z_j y_j + log(1 + exp(-|z_j|));  dz_j = 1/n (p_j - y_j) */
static void binary_cross_entropy(const loss_batch *b) {
    for (ptrdiff_t i = 0; i < b->rows; i++) {
        const real *z = b->z + i * b->ldz, *y = b->values + i * b->ldvalues;
        const vf factor = vf_set1(row_weight(b, i) / (real)b->n);
        v16 sum = v16_zero();
        for (ptrdiff_t j = 0; j < b->n; j += FNN_CHAINS) {
            for (int part = 0; part < FNN_CHAINS / VF_LANES; part++) {
                const ptrdiff_t at = j + part * VF_LANES;
                if (at >= b->n) break;
                const vm mask = vm_first(b->n - at);
                const vf x = vf_load_first(z + at, mask), t = vf_load_first(y + at, mask);
                const vf tail = vf_log1p(vf_exp(vf_neg(vf_abs(x))));
                const vf loss = vf_add(vf_fnma(x, t, vf_max(x, vf_zero())), tail);
                sum.part[part] = vf_add(sum.part[part], vf_select(mask, loss, vf_zero()));
                const vf p = vf_sigmoid(x);
                if (b->dz) vf_store_first(b->dz + i * b->lddz + at, vf_mul(factor, vf_sub(p, t)), mask);
            }
        }
        const real total = v16_sum(sum);
        b->row_loss[i] = finite_loss((total <= REAL_MAX ? (double)total : huge_logits_loss(b->n, z, y)) / (double)b->n);
    }
}

#define LOSS_ENTRY(name) name,
static const FNN_TYPED(fnn_loss_kernel) loss_kernels[] = {FNN_LOSSES(LOSS_ENTRY)};
#endif

#endif
