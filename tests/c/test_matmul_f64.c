/* test_matmul_f64.c: test_matmul.c for double.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#define FNN_REAL 64
#include "test_matmul.c"
