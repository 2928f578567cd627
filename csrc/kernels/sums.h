/* sums.h: sums over a piece of the parameters, in double: for norms and penalties.
 *
 * Element i is added to chain i % 16, and the chains by a fixed tree, so that bits depend on no instruction set.
 */
/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FASTNN_KERNELS_SUMS_H
#define FASTNN_KERNELS_SUMS_H

#include "kernels.h"

/* The three numbers a term is made from besides its element. */
typedef struct {
    double scale, l1, l2;
} sum_factors;

FNN_INLINE double sum_terms(ptrdiff_t n, const real *p, const real *g, const sum_factors factors,
                            double (*term)(double, double, sum_factors)) {
    double chain[FNN_CHAINS] = {0};
    ptrdiff_t i = 0;
    for (; i + FNN_CHAINS <= n; i += FNN_CHAINS)
        for (int j = 0; j < FNN_CHAINS; j++) chain[j] += term((double)p[i + j], (double)g[i + j], factors);
    for (int j = 0; i + j < n; j++) chain[j] += term((double)p[i + j], (double)g[i + j], factors);
    for (int half = FNN_CHAINS / 2; half > 0; half /= 2)
        for (int j = 0; j < half; j++) chain[j] += chain[j + half];
    return chain[0];
}

FNN_INLINE double square_term(double p, double g, sum_factors factors) {
    (void)p;
    return factors.scale * g * (factors.scale * g);
}

FNN_INLINE double penalized_square_term(double p, double g, sum_factors factors) {
    const double sign = p > 0 ? factors.l1 : p < 0 ? -factors.l1 : 0;
    const double sum = factors.scale * g + (sign + 2 * factors.l2 * p);
    return sum * sum;
}

FNN_INLINE double penalty_term(double p, double g, sum_factors factors) {
    (void)g;
    return factors.l1 * fabs(p) + factors.l2 * (p * p);
}

/* sum (scale g + l1 sign(p) + 2 l2 p)^2 */
static double squares(ptrdiff_t n, const real *p, const real *g, double scale, double l1, double l2) {
    const sum_factors factors = {scale, l1, l2};
    return l1 == 0 && l2 == 0 ? sum_terms(n, p, g, factors, square_term)
                              : sum_terms(n, p, g, factors, penalized_square_term);
}

/* sum (l1 |p| + l2 p^2) */
static double penalty(ptrdiff_t n, const real *p, double l1, double l2) {
    const sum_factors factors = {0, l1, l2};
    return sum_terms(n, p, p, factors, penalty_term);
}

#endif
