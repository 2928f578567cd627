/* optimizers.h: the list of optimizers; each is one update rule over neighbouring parameters.
 *
 * A row names the rule, how many state vectors it keeps beside the parameters, and its hyper-parameters in the order
 * of fnn_optimizer.hyper. Before each step `name_prepare` turns them, the learning rate and the number of the step
 * into the constants of the rule, in double; then `name_rule` runs over the vectors. To add one: a row, the two
 * functions, and a row in fastnn/optimizers.py.
 */
/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FASTNN_KERNELS_OPTIMIZERS_H
#define FASTNN_KERNELS_OPTIMIZERS_H

#include <math.h>
#include <stdint.h>

/* name, state vectors, hyper-parameters */
#define FNN_OPTIMIZERS(X)                         \
    X(sgd, 1, "momentum", "nesterov", NULL)       \
    X(adam, 2, "beta1", "beta2", "epsilon", NULL)

#define FNN_OPTIMIZER_ENUM(name, states, ...) FNN_OPTIMIZER_##name,
enum { FNN_OPTIMIZERS(FNN_OPTIMIZER_ENUM) FNN_N_OPTIMIZERS };
#undef FNN_OPTIMIZER_ENUM

/* x^n by squaring: the same bits on every machine, which a library's pow does not promise. */
static inline double fnn_power(double x, int64_t n) {
    double result = 1;
    for (; n > 0; n >>= 1, x *= x)
        if (n & 1) result *= x;
    return result;
}

/* constants: learning rate, momentum, 1 for Nesterov */
static inline void sgd_prepare(double learning_rate, const double *hyper, int64_t step, double *constants) {
    (void)step;
    constants[0] = learning_rate;
    constants[1] = hyper[0];
    constants[2] = hyper[1];
}

/* constants: beta1, 1 - beta1, beta2, 1 - beta2, learning rate / (1 - beta1^t), 1 / sqrt(1 - beta2^t), epsilon */
static inline void adam_prepare(double learning_rate, const double *hyper, int64_t step, double *constants) {
    constants[0] = hyper[0];
    constants[1] = 1 - hyper[0];
    constants[2] = hyper[1];
    constants[3] = 1 - hyper[1];
    constants[4] = learning_rate / (1 - fnn_power(hyper[0], step));
    constants[5] = 1 / sqrt(1 - fnn_power(hyper[1], step));
    constants[6] = hyper[2];
}

#ifdef FNN_KERNELS
#include "activations.h"

typedef FNN_TYPED(fnn_update_batch) update_batch;

/* The constants of one step in registers, and the vectors a rule reads and writes. */
typedef struct {
    vf constant[8];
    vf g, state[2];
} rule_input;

/* m = momentum m + g;  p -= learning_rate m, or with Nesterov learning_rate (g + momentum m)
 * (Polyak 1964; Sutskever et al. 2013, in the form of PyTorch). */
FNN_INLINE vf sgd_rule(vf p, rule_input *r) {
    r->state[0] = vf_fma(r->constant[1], r->state[0], r->g);
    const vf ahead = vf_fma(r->constant[1], r->state[0], r->g);
    const vf direction = vf_select(vm_gt(r->constant[2], vf_zero()), ahead, r->state[0]);
    return vf_fnma(r->constant[0], direction, p);
}

/* m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2;
 * p -= learning_rate / (1 - beta1^t) m / (sqrt(v / (1 - beta2^t)) + epsilon)   (Kingma & Ba 2015, algorithm 1) */
FNN_INLINE vf adam_rule(vf p, rule_input *r) {
    r->state[0] = vf_fma(r->constant[0], r->state[0], vf_mul(r->constant[1], r->g));
    r->state[1] = vf_fma(r->constant[2], r->state[1], vf_mul(r->constant[3], vf_mul(r->g, r->g)));
    const vf root = vf_fma(vf_sqrt(r->state[1]), r->constant[5], r->constant[6]);
    return vf_sub(p, vf_div(vf_mul(r->constant[4], r->state[0]), root));
}

/* The loop of every rule; `rule` and `states` are constants where it is inlined. */
FNN_INLINE int update(const update_batch *b, const int states, vf (*rule)(vf, rule_input *)) {
    rule_input r;
    for (int i = 0; i < 8; i++) r.constant[i] = vf_set1(b->constants[i]);
    const vf scale = vf_set1(b->scale), l1 = vf_set1(b->l1), l2 = vf_set1(2 * b->l2);
    const int penalized = b->l1 != 0 || b->l2 != 0;
    vm finite = vm_first(VF_LANES);
    for (ptrdiff_t i = 0; i < b->n; i += VF_LANES) {
        const vm mask = vm_first(b->n - i);
        const vf p = vf_load_first(b->params + i, mask);
        r.g = vf_mul(vf_load_first(b->grads + i, mask), scale);
        if (penalized) {
            const vf sign = vf_select(vm_eq(p, vf_zero()), vf_zero(), vf_copysign(l1, p));
            r.g = vf_add(r.g, vf_fma(l2, p, sign));
        }
        for (int s = 0; s < states; s++) r.state[s] = vf_load_first(b->state[s] + i, mask);
        const vf updated = rule(p, &r);
        /* Lanes behind the last parameter hold the rule's value at zeros, which may be 0 / 0. */
        finite = vm_and(finite, vm_or(vm_finite(updated), vm_not(mask)));
        vf_store_first(b->params + i, updated, mask);
        for (int s = 0; s < states; s++) vf_store_first(b->state[s] + i, r.state[s], mask);
    }
    return vm_any(vm_not(finite));
}

#define UPDATE(name, states, ...) \
    static int name##_update(const update_batch *b) { return update(b, states, name##_rule); }
FNN_OPTIMIZERS(UPDATE)

#define UPDATE_ENTRY(name, states, ...) name##_update,
static const FNN_TYPED(fnn_update_kernel) update_kernels[] = {FNN_OPTIMIZERS(UPDATE_ENTRY)};
#endif

#endif
