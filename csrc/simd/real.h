/* real.h: the real type a file is compiled for, float or double.
 *
 * Kernels and drivers are written once in `real` and compiled once per type (FNN_REAL is 32 or 64); what they export
 * carries the type in its name through FNN_TYPED.
 */
/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FASTNN_REAL_H
#define FASTNN_REAL_H

#if FNN_REAL == 32
typedef float real;
#define FNN_TYPED(name) name##_f32
#define FNN_REAL_TYPE FNN_FLOAT32
#elif FNN_REAL == 64
typedef double real;
#define FNN_TYPED(name) name##_f64
#define FNN_REAL_TYPE FNN_FLOAT64
#else
#error "FNN_REAL must be 32 or 64"
#endif

#define FNN_CONCAT2(a, b) a##b
#define FNN_CONCAT(a, b) FNN_CONCAT2(a, b)

#endif
