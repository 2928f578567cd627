/* test_data.c: every type and layout against C's own conversion of one element, and the search for what is not finite
 * against looking at each element.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include <float.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "data.h"

enum { N_TYPES = FNN_DATA_FLOAT64 + 1 };
static const ptrdiff_t item_sizes[N_TYPES] = {1, 1, 1, 2, 2, 4, 4, 8, 8, 2, 4, 8};

/* sign . fraction . 2^exponent by the definition of the format. */
static double half_value(unsigned half) {
    int exponent = (int)(half >> 10 & 31);
    double fraction = half & 1023, sign = half >> 15 ? -1.0 : 1.0;
    if (exponent == 31) return fraction != 0 ? (double)NAN : sign * (double)INFINITY;
    return sign * (exponent == 0 ? ldexp(fraction, -24) : ldexp(1024 + fraction, exponent - 25));
}

/* One element, through a C object of its type. */
static double load(const unsigned char *from, int type, int real_type) {
    union {
        int8_t i8;
        uint8_t u8;
        int16_t i16;
        uint16_t u16;
        int32_t i32;
        uint32_t u32;
        int64_t i64;
        uint64_t u64;
        float f32;
        double f64;
    } value;
    memcpy(&value, from, (size_t)item_sizes[type]);
    int single = real_type == FNN_FLOAT32;
    switch (type) {
    case FNN_BOOL: return value.u8 != 0;
    case FNN_INT8: return value.i8;
    case FNN_UINT8: return value.u8;
    case FNN_INT16: return value.i16;
    case FNN_UINT16: return value.u16;
    case FNN_INT32: return single ? (double)(float)value.i32 : value.i32;
    case FNN_UINT32: return single ? (double)(float)value.u32 : value.u32;
    case FNN_INT64: return single ? (double)(float)value.i64 : (double)value.i64;
    case FNN_UINT64: return single ? (double)(float)value.u64 : (double)value.u64;
    case FNN_DATA_FLOAT16: return half_value(value.u16);
    case FNN_DATA_FLOAT32: return (double)value.f32;
    default: return single ? (double)(float)value.f64 : value.f64;
    }
}

static int same(double found, double wanted) {
    return (isnan(found) && isnan(wanted)) || (found == wanted && signbit(found) == signbit(wanted));
}

/* Reproducible bytes; for floats all kinds of values, NaN too. */
static void fill(unsigned char *bytes, ptrdiff_t n) {
    uint32_t state = 1;
    for (ptrdiff_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        bytes[i] = (unsigned char)(state >> 24);
    }
}

static void read_rows(const fnn_array *array, int real_type) {
    enum { MOST = 4200, GUARD = 0x5a };
    static double memory[MOST + 1]; /* aligned for both types */
    const size_t size = real_type == FNN_FLOAT64 ? sizeof(double) : sizeof(float);
    int equal = 1;
    for (ptrdiff_t row = 0; row < array->rows; row++) {
        unsigned char *end = (unsigned char *)memory + (size_t)array->columns * size;
        *end = GUARD;
        fnn_prefetch_row(array, row);
        fnn_read_row(array, row, real_type, memory);
        equal &= *end == GUARD;
        for (ptrdiff_t j = 0; j < array->columns; j++) {
            double wanted = load((const unsigned char *)array->data + row * array->row_stride_bytes +
                                     j * array->column_stride_bytes,
                                 array->type, real_type);
            double found = real_type == FNN_FLOAT64 ? memory[j] : (double)((float *)memory)[j];
            equal &= same(found, wanted);
        }
    }
    if (!CHECK(equal)) {
        printf("    type %d to %d, (%td, %td), strides %td, %td\n", array->type, real_type, array->rows,
               array->columns, array->row_stride_bytes, array->column_stride_bytes);
    }
}

/* Rows in C order, unaligned, with gaps, Fortran order, backwards, broadcast. The array fills its allocation exactly,
 * so that the address sanitizer sees a read outside. */
static void every_type_and_layout(void) {
    static const ptrdiff_t widths[] = {0, 1, 7, 8, 9, 15, 16, 17, 31, 33, 100, 255, 256, 257, 2049, 4100};
    for (int type = 0; type < N_TYPES; type++) {
        for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
            const ptrdiff_t rows = 3, columns = widths[w], item = item_sizes[type], bytes = rows * columns * item;
            unsigned char *block = malloc((size_t)(3 * bytes) + 1);
            unsigned char *unaligned = malloc((size_t)bytes + 1);
            fill(block, 3 * bytes);
            fill(unaligned, bytes + 1);
            for (int real_type = FNN_FLOAT32; real_type <= FNN_FLOAT64; real_type++) {
                const ptrdiff_t last = bytes - item, row = columns * item;
                read_rows(&(fnn_array){block, type, rows, columns, row, item}, real_type);
                read_rows(&(fnn_array){unaligned + 1, type, rows, columns, row, item}, real_type);
                read_rows(&(fnn_array){block, type, rows, columns, 3 * row, 3 * item}, real_type);
                read_rows(&(fnn_array){block, type, rows, columns, item, rows * item}, real_type);
                if (columns == 0) continue;
                read_rows(&(fnn_array){block + last, type, rows, columns, -row, -item}, real_type);
                read_rows(&(fnn_array){block, type, rows, columns, 0, item}, real_type);
                read_rows(&(fnn_array){block, type, rows, columns, row, 0}, real_type);
                read_rows(&(fnn_array){block, type, 1000, columns, 0, 0}, real_type);
            }
            free(block);
            free(unaligned);
        }
    }
}

static void every_half(void) {
    static uint16_t halves[65536];
    static float singles[65536];
    for (unsigned i = 0; i < 65536; i++) halves[i] = (uint16_t)i;
    fnn_read_row(&(fnn_array){halves, FNN_DATA_FLOAT16, 1, 65536, 0, 2}, 0, FNN_FLOAT32, singles);
    int wrong = 0;
    for (unsigned i = 0; i < 65536; i++) wrong += !same((double)singles[i], half_value(i));
    CHECK_EQUAL(wrong, 0);
}

/* ---- fnn_first_nonfinite -------------------------------------------------------------------------------------- */

static ptrdiff_t search(const fnn_array *array, int real_type) {
    for (ptrdiff_t i = 0; i < array->rows * array->columns; i++) {
        ptrdiff_t row = i / array->columns, column = i % array->columns;
        const unsigned char *at = (const unsigned char *)array->data + row * array->row_stride_bytes +
                                  column * array->column_stride_bytes;
        if (!isfinite(load(at, array->type, real_type))) return i;
    }
    return -1;
}

static void store(unsigned char *at, int type, double value) {
    float single = (float)value;
    uint16_t half = isnan(value) ? 0x7e01 : value < 0 ? 0xfc00 : 0x7c00;
    if (type == FNN_DATA_FLOAT16) memcpy(at, &half, 2);
    if (type == FNN_DATA_FLOAT32) memcpy(at, &single, 4);
    if (type == FNN_DATA_FLOAT64) memcpy(at, &value, 8);
}

static void one_bad_element(int type, ptrdiff_t rows, ptrdiff_t columns, double bad) {
    const ptrdiff_t item = item_sizes[type], n = rows * columns;
    const fnn_array layouts[] = {
        {NULL, type, rows, columns, columns * item, item},      /* C order */
        {NULL, type, rows, columns, item, rows * item},         /* Fortran order */
        {NULL, type, rows, columns, columns * item * 2, item},  /* every second row */
        {NULL, type, rows, columns, columns * item * 2, 2 * item},
        {NULL, type, rows, columns, 0, item},
        {NULL, type, rows, columns, columns * item, 0},
    };
    unsigned char *block = calloc((size_t)(2 * n * item), 1);
    for (size_t l = 0; l < sizeof layouts / sizeof *layouts; l++) {
        fnn_array array = layouts[l];
        array.data = block;
        int right = fnn_first_nonfinite(&array, FNN_FLOAT32) == -1;
        for (ptrdiff_t i = 0; i < n; i += 1 + n / 97) { /* not every place of the larger ones */
            ptrdiff_t place = i / columns * array.row_stride_bytes + i % columns * array.column_stride_bytes;
            store(block + place, type, bad);
            for (int real_type = FNN_FLOAT32; real_type <= FNN_FLOAT64; real_type++) {
                right &= fnn_first_nonfinite(&array, real_type) == search(&array, real_type);
            }
            memset(block + place, 0, (size_t)item);
        }
        if (!CHECK(right)) printf("    type %d (%td, %td), layout %zu, %g\n", type, rows, columns, l, bad);
    }
    free(block);
}

static void bad_elements(void) {
    static const ptrdiff_t shapes[][2] = {{1, 1}, {1, 17}, {17, 1}, {3, 33}, {33, 3}, {5, 1100}, {1100, 5}};
    for (int type = FNN_DATA_FLOAT16; type < N_TYPES; type++) {
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
            one_bad_element(type, shapes[s][0], shapes[s][1], (double)NAN);
            one_bad_element(type, shapes[s][0], shapes[s][1], (double)INFINITY);
            one_bad_element(type, shapes[s][0], shapes[s][1], -(double)INFINITY);
        }
    }
    one_bad_element(FNN_DATA_FLOAT64, 3, 33, 1e39);
}

/* The first of several counts, in row order, whatever lies first in memory. */
static void first_of_several(void) {
    float values[6] = {0, 1, NAN, 3, INFINITY, 5}; /* Fortran order (2, 3): row 0 is 0, NaN, infinity */
    CHECK_EQUAL(fnn_first_nonfinite(&(fnn_array){values, FNN_DATA_FLOAT32, 2, 3, 4, 8}, FNN_FLOAT32), 1);
    float other[6] = {0, NAN, 2, 3, INFINITY, 5}; /* row 0: 0, 2, infinity; row 1: NaN, 3, 5 */
    CHECK_EQUAL(fnn_first_nonfinite(&(fnn_array){other, FNN_DATA_FLOAT32, 2, 3, 4, 8}, FNN_FLOAT32), 2);
}

static ptrdiff_t first_of_double(double value, int real_type) {
    return fnn_first_nonfinite(&(fnn_array){&value, FNN_DATA_FLOAT64, 1, 1, 8, 8}, real_type);
}

static void edges(void) {
    const double half_unit = ldexp(1, 103); /* of the largest float */
    CHECK_EQUAL(first_of_double((double)FLT_MAX, FNN_FLOAT32), -1);
    CHECK_EQUAL(first_of_double(nextafter((double)FLT_MAX + half_unit, 0), FNN_FLOAT32), -1);
    CHECK_EQUAL(first_of_double((double)FLT_MAX + half_unit, FNN_FLOAT32), 0);
    CHECK_EQUAL(first_of_double(-(double)FLT_MAX - half_unit, FNN_FLOAT32), 0);
    CHECK_EQUAL(first_of_double((double)FLT_MAX + half_unit, FNN_FLOAT64), -1);
    CHECK_EQUAL(first_of_double(DBL_MAX, FNN_FLOAT64), -1);
    CHECK_EQUAL(first_of_double(-DBL_MAX, FNN_FLOAT64), -1);
    CHECK_EQUAL(first_of_double(-(double)INFINITY, FNN_FLOAT64), 0);
    float largest = -FLT_MAX;
    CHECK_EQUAL(fnn_first_nonfinite(&(fnn_array){&largest, FNN_DATA_FLOAT32, 1, 1, 4, 4}, FNN_FLOAT32), -1);
    uint16_t half = 0x7bff;
    CHECK_EQUAL(fnn_first_nonfinite(&(fnn_array){&half, FNN_DATA_FLOAT16, 1, 1, 2, 2}, FNN_FLOAT32), -1);

    /* Integers: at once, without reading. Nothing to read: nothing found. */
    const ptrdiff_t huge = PTRDIFF_MAX / 16;
    CHECK_EQUAL(fnn_first_nonfinite(&(fnn_array){NULL, FNN_UINT64, huge, 1, 8, 8}, FNN_FLOAT32), -1);
    CHECK_EQUAL(fnn_first_nonfinite(&(fnn_array){NULL, FNN_DATA_FLOAT32, 0, huge, 8, 4}, FNN_FLOAT32), -1);
    CHECK_EQUAL(fnn_first_nonfinite(&(fnn_array){NULL, FNN_DATA_FLOAT32, huge, 0, 0, 4}, FNN_FLOAT32), -1);

    /* Broadcast to more elements than memory holds: each is read once. */
    float row[3] = {1, 2, NAN};
    const ptrdiff_t wide = (ptrdiff_t)1 << 40;
    CHECK_EQUAL(fnn_first_nonfinite(&(fnn_array){row, FNN_DATA_FLOAT32, wide, 2, 0, 4}, FNN_FLOAT32), -1);
    CHECK_EQUAL(fnn_first_nonfinite(&(fnn_array){row, FNN_DATA_FLOAT32, wide, 3, 0, 4}, FNN_FLOAT32), 2);
    CHECK_EQUAL(fnn_first_nonfinite(&(fnn_array){row, FNN_DATA_FLOAT32, 3, wide, 4, 0}, FNN_FLOAT32), 2 * wide);
    CHECK_EQUAL(fnn_first_nonfinite(&(fnn_array){row, FNN_DATA_FLOAT32, wide, wide / 4096, 0, 0}, FNN_FLOAT32), -1);
}

/* ---- compressed rows ------------------------------------------------------------------------------------------ */

enum { CSR_ROWS = 6, CSR_COLUMNS = 700 };

/* Rows of 0, 1, 255, 256, 257 and 600 numbers, of every type, in both widths of indices, compared with each element;
 * arrays fill their allocations exactly, for the address sanitizer. */
static void compressed_rows(void) {
    static const int32_t counts[CSR_ROWS] = {0, 1, 255, 256, 257, 600};
    int32_t starts[CSR_ROWS + 1] = {0};
    int64_t wide_starts[CSR_ROWS + 1] = {0};
    for (int row = 0; row < CSR_ROWS; row++) wide_starts[row + 1] = starts[row + 1] = starts[row] + counts[row];
    const ptrdiff_t n = starts[CSR_ROWS];
    int32_t *indices = malloc((size_t)n * sizeof *indices);
    int64_t *wide_indices = malloc((size_t)n * sizeof *wide_indices);
    for (ptrdiff_t row = 0; row < CSR_ROWS; row++) /* every column once: 701 is a prime, 0 is left out */
        for (ptrdiff_t j = 0; j < counts[row]; j++)
            wide_indices[starts[row] + j] = indices[starts[row] + j] = (int32_t)((j + 1) * (row + 3) % 701 - 1);
    for (int type = 0; type < N_TYPES; type++) {
        unsigned char *values = malloc((size_t)(n * item_sizes[type]));
        fill(values, n * item_sizes[type]);
        for (int variant = 0; variant < 4; variant++) {
            const int real_type = variant & 1 ? FNN_FLOAT64 : FNN_FLOAT32, wide = variant >> 1;
            const fnn_csr csr = {values, wide ? (const void *)wide_indices : indices,
                                 wide ? (const void *)wide_starts : starts, n, type, wide};
            const fnn_array array = {&csr, FNN_CSR, CSR_ROWS, CSR_COLUMNS, 0, 0};
            static double memory[CSR_COLUMNS], wanted[CSR_COLUMNS];
            int equal = 1;
            for (ptrdiff_t row = 0; row < CSR_ROWS; row++) {
                memset(wanted, 0, sizeof wanted);
                for (ptrdiff_t j = starts[row]; j < starts[row + 1]; j++)
                    wanted[indices[j]] = load(values + j * item_sizes[type], type, real_type);
                memset(memory, 0x5a, sizeof memory);
                fnn_prefetch_row(&array, row);
                fnn_read_row(&array, row, real_type, memory);
                for (ptrdiff_t j = 0; j < CSR_COLUMNS; j++)
                    equal &= same(real_type == FNN_FLOAT64 ? memory[j] : (double)((float *)memory)[j], wanted[j]);
            }
            CHECK(equal);
        }
        free(values);
    }
    free(indices);
    free(wide_indices);
}

/* In another order, a stride apart. */
static void compressed_rows_in_order(void) {
    static const float values[3] = {1, 2, 3};
    static const int32_t indices[3] = {1, 0, 2}, starts[4] = {0, 1, 1, 3};
    static const int64_t order[3] = {2, 0, 1};
    const fnn_csr csr = {values, indices, starts, 3, FNN_DATA_FLOAT32, 0};
    float found[3][4];
    memset(found, 0x5a, sizeof found);
    fnn_read_rows(&(fnn_array){&csr, FNN_CSR, 3, 3, 0, 0}, order, 0, 3, FNN_FLOAT32, found, 4);
    CHECK(found[0][0] == 2 && found[0][1] == 0 && found[0][2] == 3);
    CHECK(found[1][0] == 0 && found[1][1] == 1 && found[1][2] == 0);
    CHECK(found[2][0] == 0 && found[2][1] == 0 && found[2][2] == 0);
}

/* Rows of an order as memory to ask for, where that helps. */
static void rows_soon(void) {
    static const float rows[4][128];
    static const int64_t order[4] = {2, 0, 3, 1};
    const fnn_array array = {rows, FNN_DATA_FLOAT32, 4, 128, sizeof rows[0], sizeof(float)};
    const fnn_soon soon = fnn_rows_soon(&array, order, 1, 3);
    CHECK(soon.data == (const char *)rows && soon.stride == sizeof rows[0] && soon.bytes == sizeof rows[0]);
    CHECK(soon.n == 3 && soon.order == order + 1);
    CHECK_EQUAL(fnn_rows_soon(&array, NULL, 1, 3).n, 0);
    CHECK_EQUAL(fnn_rows_soon(&array, order, 4, 0).n, 0);
    CHECK_EQUAL(fnn_rows_soon(&array, order, 5, -1).n, 0);
    fnn_array other = array;
    other.columns = 127; /* short */
    CHECK_EQUAL(fnn_rows_soon(&other, order, 0, 4).n, 0);
    other.columns = 4096;
    CHECK_EQUAL(fnn_rows_soon(&other, order, 0, 4).n, 4);
    other.columns = 4097; /* long */
    CHECK_EQUAL(fnn_rows_soon(&other, order, 0, 4).n, 0);
    other = array;
    other.column_stride_bytes = 2 * sizeof(float);
    CHECK_EQUAL(fnn_rows_soon(&other, order, 0, 4).n, 0);
    const fnn_csr csr = {0};
    CHECK_EQUAL(fnn_rows_soon(&(fnn_array){&csr, FNN_CSR, 4, 1000, 0, 0}, order, 0, 4).n, 0);
}

/* What points elsewhere is passed over, and nothing is written beside the row. */
static void compressed_rows_that_are_damaged(void) {
    static const float values[2] = {1, 2};
    static const int64_t columns[] = {-1, 3, INT64_MAX, INT64_MIN, (int64_t)1 << 32};
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
        const int64_t indices[2] = {columns[i], 1}, starts[2] = {0, 2};
        const fnn_csr csr = {values, indices, starts, 2, FNN_DATA_FLOAT32, 1};
        float *row = malloc(3 * sizeof *row);
        fnn_read_row(&(fnn_array){&csr, FNN_CSR, 1, 3, 0, 0}, 0, FNN_FLOAT32, row);
        CHECK(row[0] == 0 && row[1] == 2 && row[2] == 0);
        free(row);
    }
    static const int64_t ranges[][2] = {{-1, 1}, {0, 3}, {2, 1}, {INT64_MIN, INT64_MAX}, {5, 7}};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        const int64_t indices[2] = {0, 1};
        const fnn_csr csr = {values, indices, ranges[i], 2, FNN_DATA_FLOAT32, 1};
        float row[3];
        fnn_read_row(&(fnn_array){&csr, FNN_CSR, 1, 3, 0, 0}, 0, FNN_FLOAT32, row);
        CHECK(row[0] == 0 && row[1] == 0 && row[2] == 0);
    }
}

void test_data(void) {
    every_type_and_layout();
    every_half();
    bad_elements();
    first_of_several();
    edges();
    compressed_rows();
    compressed_rows_in_order();
    rows_soon();
    compressed_rows_that_are_damaged();
}
