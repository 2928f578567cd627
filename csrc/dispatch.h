/* dispatch.h: the kernel tables in use; how drivers reach kernels.
 */
/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FASTNN_DISPATCH_H
#define FASTNN_DISPATCH_H

#include "kernels/kernels.h"

/* The table of the instruction set chosen last. */
const FNN_TYPED(fnn_kernels) * FNN_TYPED(fnn_kernels_in_use)(void);

#endif
