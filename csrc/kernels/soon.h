/* soon.h: memory that will be read soon, for the products to ask for while they compute.
 *
 * Rows in a random order come from memory, each from a page of its own whose address must be looked up first; both
 * take longer than a processor sees ahead, and as long as many steps of a product.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#ifndef FASTNN_KERNELS_SOON_H
#define FASTNN_KERNELS_SOON_H

#include <stddef.h>
#include <stdint.h>

/* n pieces of so many bytes; piece i begins at data + order[i] * stride. */
typedef struct {
    const char *data;
    ptrdiff_t stride; /* in bytes */
    const int64_t *order;
    ptrdiff_t n, bytes;
} fnn_soon;

#endif
