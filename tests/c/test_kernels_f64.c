/* test_kernels_f64.c: test_kernels.c for double.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#define FNN_REAL 64
#include "test_kernels.c"
