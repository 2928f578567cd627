/* data.h: reading a caller's matrix where it lies, one row at a time, as the network's real type.
 *
 * The only code that knows fnn_data_type and strides: whoever needs a row as float or double asks here. A new type is
 * a row in the list of data.c (and its number in fastnn.h). fnn_first_nonfinite() of fastnn.h is defined here too.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#ifndef FNN_DATA_H
#define FNN_DATA_H

#include "fastnn.h"
#include "kernels/soon.h"

/* out[j] = array[row, j] converted to real_type (fnn_real_type), j = 0..columns-1; out is aligned for that type.
 * Exact where the type can hold the value, else rounded in the rounding mode of the calling thread. */
void fnn_read_row(const fnn_array *array, ptrdiff_t row, int real_type, void *out);

/* The same for rows first .. first + rows - 1 of an order (NULL: as they are), `stride` elements apart in out. */
void fnn_read_rows(const fnn_array *array, const int64_t *order, ptrdiff_t first, ptrdiff_t rows, int real_type,
                   void *out, ptrdiff_t stride);

/* A hint that array[row, :] will be read soon. Does nothing for rows whose columns are not side by side. */
void fnn_prefetch_row(const fnn_array *array, ptrdiff_t row);

/* Rows first .. first + rows - 1 of an order, as memory that a product may ask for; none (n = 0) where that would not
 * help: without an order, for very short or long rows, and for columns that are not side by side. */
fnn_soon fnn_rows_soon(const fnn_array *array, const int64_t *order, ptrdiff_t first, ptrdiff_t rows);

#endif
