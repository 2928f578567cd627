/* test_layers_f64.c: test_layers.c for double.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#define FNN_REAL 64
#include "test_layers.c"
