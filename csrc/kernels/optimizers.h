/* optimizers.h: the list of optimizers; each is one update rule over neighbouring parameters.
 *
 * A row names the rule, how many state vectors it keeps beside the parameters, and its hyper-parameters in the order
 * of fnn_optimizer.hyper. Before each step `name_prepare` turns them, the learning rate and the number of the step
 * into the constants of the rule, in double; then `name_rule` runs over the vectors. What all rules share (penalties,
 * clipping, weight decay, the average of the weights) is in the loop around them. To add one: a row, the two
 * functions, and a row in fastnn/optimizers.py.
 */
/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FASTNN_KERNELS_OPTIMIZERS_H
#define FASTNN_KERNELS_OPTIMIZERS_H

#include <math.h>
#include <stdint.h>

/* name, state vectors, hyper-parameters */
#define FNN_OPTIMIZERS(X)                                        \
    X(sgd, 1, "momentum", "nesterov", NULL)                      \
    X(rmsprop, 2, "decay", "epsilon", "momentum", NULL)          \
    X(adagrad, 1, "epsilon", "initial_accumulator", NULL)        \
    X(adam, 2, "beta1", "beta2", "epsilon", NULL)                \
    X(adamw, 2, "beta1", "beta2", "epsilon", NULL)               \
    X(nadam, 2, "beta1", "beta2", "epsilon", NULL)               \
    X(lion, 1, "beta1", "beta2", NULL)

#define FNN_OPTIMIZER_ENUM(name, states, ...) FNN_OPTIMIZER_##name,
enum { FNN_OPTIMIZERS(FNN_OPTIMIZER_ENUM) FNN_N_OPTIMIZERS };
#undef FNN_OPTIMIZER_ENUM

/* What the constants of one step are made from. */
typedef struct {
    double learning_rate;
    const double *hyper;
    int64_t number; /* of the step, 1 for the first */
    double product; /* NAdam: of its momenta, up to this step's */
} fnn_rule_step;

/* x^n by squaring: the same bits on every machine, which a library's pow does not promise. */
static inline double fnn_power(double x, int64_t n) {
    double result = 1;
    for (; n > 0; n >>= 1, x *= x)
        if (n & 1) result *= x;
    return result;
}

/* constants: learning rate, momentum, 1 for Nesterov */
static inline void sgd_prepare(const fnn_rule_step *step, double *constants) {
    constants[0] = step->learning_rate;
    constants[1] = step->hyper[0];
    constants[2] = step->hyper[1];
}

/* constants: decay, 1 - decay, epsilon, momentum, learning rate */
static inline void rmsprop_prepare(const fnn_rule_step *step, double *constants) {
    constants[0] = step->hyper[0];
    constants[1] = 1 - step->hyper[0];
    constants[2] = step->hyper[1];
    constants[3] = step->hyper[2];
    constants[4] = step->learning_rate;
}

/* constants: learning rate, epsilon, initial accumulator */
static inline void adagrad_prepare(const fnn_rule_step *step, double *constants) {
    constants[0] = step->learning_rate;
    constants[1] = step->hyper[0];
    constants[2] = step->hyper[1];
}

/* constants: beta1, 1 - beta1, beta2, 1 - beta2, learning rate / (1 - beta1^t), 1 / sqrt(1 - beta2^t), epsilon.
 * hyper[3], which has no name, is 0 in algorithm 1; else epsilon is added to sqrt(v) before its correction, as in the
 * faster form at the end of section 2 of the paper, which scikit-learn has. */
static inline void adam_prepare(const fnn_rule_step *step, double *constants) {
    const double *hyper = step->hyper;
    constants[0] = hyper[0];
    constants[1] = 1 - hyper[0];
    constants[2] = hyper[1];
    constants[3] = 1 - hyper[1];
    constants[4] = step->learning_rate / (1 - fnn_power(hyper[0], step->number));
    constants[5] = 1 / sqrt(1 - fnn_power(hyper[1], step->number));
    constants[6] = hyper[3] != 0 ? hyper[2] * constants[5] : hyper[2];
}

static inline void adamw_prepare(const fnn_rule_step *step, double *constants) { adam_prepare(step, constants); }

/* mu_t = beta1 (1 - 0.96^(0.004 t) / 2): Dozat's warming-up momentum, with the numbers of his report, PyTorch and Keras.
 * 0.96^0.004 to double precision: computed with 40 decimal digits. */
static inline double nadam_momentum(const double *hyper, int64_t number) {
    return hyper[0] * (1 - 0.5 * fnn_power(0.99983672535267527842, number));
}

/* constants: beta1, 1 - beta1, beta2, 1 - beta2, with P_t = mu_1 ... mu_t: learning rate (1 - mu_t) / (1 - P_t),
 * learning rate mu_(t+1) / (1 - P_(t+1)), 1 / sqrt(1 - beta2^t), epsilon */
static inline void nadam_prepare(const fnn_rule_step *step, double *constants) {
    const double *hyper = step->hyper, rate = step->learning_rate, product = step->product;
    const double now = nadam_momentum(hyper, step->number), next = nadam_momentum(hyper, step->number + 1);
    constants[0] = hyper[0];
    constants[1] = 1 - hyper[0];
    constants[2] = hyper[1];
    constants[3] = 1 - hyper[1];
    constants[4] = rate * (1 - now) / (1 - product);
    constants[5] = rate * next / (1 - product * next);
    constants[6] = 1 / sqrt(1 - fnn_power(hyper[1], step->number));
    constants[7] = hyper[2];
}

/* constants: beta1, 1 - beta1, beta2, 1 - beta2, learning rate */
static inline void lion_prepare(const fnn_rule_step *step, double *constants) {
    const double *hyper = step->hyper;
    constants[0] = hyper[0];
    constants[1] = 1 - hyper[0];
    constants[2] = hyper[1];
    constants[3] = 1 - hyper[1];
    constants[4] = step->learning_rate;
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

/* v = decay v + (1 - decay) g^2;  m = momentum m + g / (sqrt(v) + epsilon);  p -= learning_rate m
 * (Tieleman & Hinton 2012, with momentum as PyTorch has it) */
FNN_INLINE vf rmsprop_rule(vf p, rule_input *r) {
    r->state[0] = vf_fma(r->constant[0], r->state[0], vf_mul(r->constant[1], vf_mul(r->g, r->g)));
    const vf direction = vf_div(r->g, vf_add(vf_sqrt(r->state[0]), r->constant[2]));
    r->state[1] = vf_fma(r->constant[3], r->state[1], direction);
    return vf_fnma(r->constant[4], r->state[1], p);
}

/* s = s + g^2;  p -= learning_rate g / (sqrt(initial_accumulator + s) + epsilon)   (Duchi et al. 2011) */
FNN_INLINE vf adagrad_rule(vf p, rule_input *r) {
    r->state[0] = vf_fma(r->g, r->g, r->state[0]);
    const vf root = vf_add(vf_sqrt(vf_add(r->constant[2], r->state[0])), r->constant[1]);
    return vf_sub(p, vf_div(vf_mul(r->constant[0], r->g), root));
}

/* m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2;
 * p -= learning_rate / (1 - beta1^t) m / (sqrt(v / (1 - beta2^t)) + epsilon)   (Kingma & Ba 2015, algorithm 1) */
FNN_INLINE vf adam_rule(vf p, rule_input *r) {
    r->state[0] = vf_fma(r->constant[0], r->state[0], vf_mul(r->constant[1], r->g));
    r->state[1] = vf_fma(r->constant[2], r->state[1], vf_mul(r->constant[3], vf_mul(r->g, r->g)));
    const vf root = vf_fma(vf_sqrt(r->state[1]), r->constant[5], r->constant[6]);
    return vf_sub(p, vf_div(vf_mul(r->constant[4], r->state[0]), root));
}

/* Adam, but weight decay is applied to the weights and not to the gradient (Loshchilov & Hutter 2019): as all rules
 * here have it. */
FNN_INLINE vf adamw_rule(vf p, rule_input *r) { return adam_rule(p, r); }

/* m and v as Adam's; with mu_t and P_t of nadam_prepare: p -= learning_rate (mu_(t+1) / (1 - P_(t+1)) m +
 * (1 - mu_t) / (1 - P_t) g) / (sqrt(v / (1 - beta2^t)) + epsilon)   (Dozat 2016) */
FNN_INLINE vf nadam_rule(vf p, rule_input *r) {
    r->state[0] = vf_fma(r->constant[0], r->state[0], vf_mul(r->constant[1], r->g));
    r->state[1] = vf_fma(r->constant[2], r->state[1], vf_mul(r->constant[3], vf_mul(r->g, r->g)));
    const vf root = vf_fma(vf_sqrt(r->state[1]), r->constant[6], r->constant[7]);
    return vf_sub(p, vf_div(vf_fma(r->constant[5], r->state[0], vf_mul(r->constant[4], r->g)), root));
}

/* p -= learning_rate sign(beta1 m + (1 - beta1) g);  m = beta2 m + (1 - beta2) g   (Chen et al. 2023, algorithm 2).
 * sign(0) = 0; what is not finite has no sign, and shows. */
FNN_INLINE vf lion_rule(vf p, rule_input *r) {
    const vf mixed = vf_fma(r->constant[0], r->state[0], vf_mul(r->constant[1], r->g));
    const vf move = vf_select(vm_eq(mixed, vf_zero()), vf_zero(), vf_copysign(r->constant[4], mixed));
    r->state[0] = vf_fma(r->constant[2], r->state[0], vf_mul(r->constant[3], r->g));
    return vf_sub(p, vf_fma(mixed, vf_zero(), move));
}

/* l1 sign(p) + 2 l2 p added to the gradient; its norm clipped by a factor, or each element to [-bound, bound]: written
 * so that NaN stays NaN. */
FNN_INLINE vf penalize_and_clip(const update_batch *b, vf p, vf g) {
    if (b->l1 != 0 || b->l2 != 0) {
        const vf sign = vf_select(vm_eq(p, vf_zero()), vf_zero(), vf_copysign(vf_set1(b->l1), p));
        g = vf_add(g, vf_fma(vf_set1(2 * b->l2), p, sign));
    }
    g = vf_mul(g, vf_set1(b->factor));
    if (b->bound > 0) g = vf_min(vf_set1(b->bound), vf_max(vf_set1(-b->bound), g));
    return g;
}

/* The first n lanes of a vector in memory; `whole`, a constant where it is inlined: all of them. */
FNN_INLINE vf load_lanes(const int whole, const real *p, ptrdiff_t n) {
    return whole ? vf_load(p) : vf_load_first(p, vm_first(n));
}
FNN_INLINE void store_lanes(const int whole, real *p, vf v, ptrdiff_t n) {
    if (whole)
        vf_store(p, v);
    else
        vf_store_first(p, v, vm_first(n));
}

/* The vector of parameters at i. Returns check, which is NaN once a new parameter is not finite. What is constant where
 * it is inlined: `whole` (all its lanes exist), `special` (whether there is more than the rule), `states`, `rule`. */
FNN_INLINE vf update_vector(const update_batch *b, rule_input *r, ptrdiff_t i, const int whole, const int special,
                            const int states, vf (*rule)(vf, rule_input *), vf check) {
    const ptrdiff_t left = b->n - i;
    vf p = load_lanes(whole, b->params + i, left);
    r->g = vf_mul(load_lanes(whole, b->grads + i, left), vf_set1(b->scale));
    if (special) {
        r->g = penalize_and_clip(b, p, r->g);
        p = vf_fnma(vf_set1(b->decay), p, p);
    }
    for (int s = 0; s < states; s++) r->state[s] = load_lanes(whole, b->state[s] + i, left);
    vf updated = rule(p, r);
    /* Lanes behind the last parameter hold the rule's value at zeros, which may be 0 / 0. */
    if (!whole) updated = vf_select(vm_first(left), updated, vf_zero());
    store_lanes(whole, b->params + i, updated, left);
    for (int s = 0; s < states; s++) store_lanes(whole, b->state[s] + i, r->state[s], left);
    if (special && b->average) {
        const vf average = load_lanes(whole, b->average + i, left);
        store_lanes(whole, b->average + i, vf_fma(vf_set1(b->share), vf_sub(updated, average), average), left);
    }
    return vf_fma(updated, vf_zero(), check);
}

/* Vectors between a parameter and the one asked for, to be written: other threads may have read it where it lies. */
#define UPDATE_AHEAD 16

/* The loop of every rule. The batch is copied, so that its pointers and factors stay in registers: as far as the
 * compiler knows, a store into the parameters might change them. */
FNN_INLINE int update(const update_batch *batch, const int special, const int states, vf (*rule)(vf, rule_input *)) {
    const update_batch b = *batch;
    rule_input r;
    for (int i = 0; i < 8; i++) r.constant[i] = vf_set1(b.constants[i]);
    vf check = vf_zero();
    ptrdiff_t i = 0;
    for (; i + VF_LANES <= b.n; i += VF_LANES) {
        if (VF_ASKS_AHEAD) fnn_prefetch_to_write(b.params + i + UPDATE_AHEAD * VF_LANES);
        check = update_vector(&b, &r, i, 1, special, states, rule, check);
    }
    if (i < b.n) check = update_vector(&b, &r, i, 0, special, states, rule, check);
    return vm_any(vm_not(vm_eq(check, vf_zero())));
}

static int is_special(const update_batch *b) {
    return b->l1 != 0 || b->l2 != 0 || b->factor != 1 || b->bound > 0 || b->decay != 0 || b->average;
}

#define UPDATE(name, states, ...)                                                                                   \
    static int name##_update(const update_batch *b) {                                                               \
        return is_special(b) ? update(b, 1, states, name##_rule) : update(b, 0, states, name##_rule);                \
    }
FNN_OPTIMIZERS(UPDATE)

#define UPDATE_ENTRY(name, states, ...) name##_update,
static const FNN_TYPED(fnn_update_kernel) update_kernels[] = {FNN_OPTIMIZERS(UPDATE_ENTRY)};
#endif

#endif
