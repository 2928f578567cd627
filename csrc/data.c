/* data.c: a caller's matrix, whatever its type and strides, read row by row as the network's real type.
 *
 * Two steps: elements that do not lie side by side are first gathered as they are, a chunk at a time; side by side,
 * each type has one loop that converts (unaligned loads go through memcpy, which compilers turn into plain ones).
 * Compressed rows are zeros, with the numbers scattered over them.
 * To add a type: a row in NUMBER_TYPES, or a case beside float16 when C has no such type.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include "data.h"

#include <stdbool.h>
#include <string.h>

#if defined(_MSC_VER) && defined(_M_X64)
#include <xmmintrin.h>
#endif

/* Types that C converts by itself. */
#define NUMBER_TYPES(TYPE)                                                                                            \
    TYPE(FNN_INT8, int8_t)                                                                                            \
    TYPE(FNN_UINT8, uint8_t)                                                                                          \
    TYPE(FNN_INT16, int16_t)                                                                                          \
    TYPE(FNN_UINT16, uint16_t)                                                                                        \
    TYPE(FNN_INT32, int32_t)                                                                                          \
    TYPE(FNN_UINT32, uint32_t)                                                                                        \
    TYPE(FNN_INT64, int64_t)                                                                                          \
    TYPE(FNN_UINT64, uint64_t)                                                                                        \
    TYPE(FNN_DATA_FLOAT32, float)                                                                                     \
    TYPE(FNN_DATA_FLOAT64, double)

static ptrdiff_t item_bytes(int type) {
    switch (type) {
#define SIZE(name, c_type) \
    case name: return (ptrdiff_t)sizeof(c_type);
        NUMBER_TYPES(SIZE)
#undef SIZE
    case FNN_DATA_FLOAT16: return 2;
    default: return 1; /* FNN_BOOL; FNN_CSR has no items */
    }
}

/* ---- gathering ------------------------------------------------------------------------------------------------ */

/* Gathered at a time; a multiple of every item's size, small enough to stay in the first-level cache. */
enum { CHUNK_BYTES = 2048 };

/* n items of `item` bytes, stride bytes apart -> side by side. A loop for each size, so that memcpy is a plain load. */
static void gather(const unsigned char *from, ptrdiff_t n, ptrdiff_t item, ptrdiff_t stride, unsigned char *out) {
    switch (item) {
    case 1:
        for (ptrdiff_t j = 0; j < n; j++) out[j] = from[j * stride];
        break;
    case 2:
        for (ptrdiff_t j = 0; j < n; j++) memcpy(out + 2 * j, from + j * stride, 2);
        break;
    case 4:
        for (ptrdiff_t j = 0; j < n; j++) memcpy(out + 4 * j, from + j * stride, 4);
        break;
    default:
        for (ptrdiff_t j = 0; j < n; j++) memcpy(out + 8 * j, from + j * stride, 8);
        break;
    }
}

static const unsigned char *element(const fnn_array *array, ptrdiff_t row, ptrdiff_t column) {
    return (const unsigned char *)array->data + row * array->row_stride_bytes + column * array->column_stride_bytes;
}

/* ---- converting ----------------------------------------------------------------------------------------------- */

/* IEEE 754 half to single precision, exact. Half: sign 1, exponent 5 (bias 15), fraction 10 bits; single: 1, 8
 * (bias 127), 23. Without branches, for the compiler to vectorize. */
static inline float float_from_half(const unsigned char *from) {
    uint16_t half;
    memcpy(&half, from, sizeof half);
    const uint32_t exponents = 0x7c00u << 13, smallest_normal = 113u << 23; /* 2^-14 */
    uint32_t sign = (half & 0x8000u) << 16;
    uint32_t bits = (half & 0x7fffu) << 13;
    uint32_t exponent = bits & exponents;

    /* Infinities and NaNs keep an exponent of ones; all others get the other bias. */
    uint32_t normal = bits + ((127u - 15u) << 23) + (exponent == exponents ? (128u - 16u) << 23 : 0);

    /* A subnormal half is fraction.2^-24: as (1 + fraction/1024).2^-14 it is a normal single, minus 2^-14. */
    uint32_t raised = bits + smallest_normal;
    float minuend, subtrahend, difference, result;
    memcpy(&minuend, &raised, sizeof minuend);
    memcpy(&subtrahend, &smallest_normal, sizeof subtrahend);
    difference = minuend - subtrahend;
    uint32_t subnormal;
    memcpy(&subnormal, &difference, sizeof subnormal);

    bits = sign | (exponent == 0 ? subnormal : normal);
    memcpy(&result, &bits, sizeof result);
    return result;
}

/* n items side by side -> out, as REAL: one loop for each type. */
#define CONVERT(name, c_type)                                                                                         \
    case name:                                                                                                        \
        for (ptrdiff_t j = 0; j < n; j++) {                                                                           \
            c_type value;                                                                                             \
            memcpy(&value, from + j * (ptrdiff_t)sizeof value, sizeof value);                                         \
            out[j] = (REAL)value;                                                                                     \
        }                                                                                                             \
        break;

static void convert_to_float(const unsigned char *from, ptrdiff_t n, int type, float *out) {
    switch (type) {
#define REAL float
        NUMBER_TYPES(CONVERT)
#undef REAL
    case FNN_DATA_FLOAT16:
        for (ptrdiff_t j = 0; j < n; j++) out[j] = float_from_half(from + 2 * j);
        break;
    default: /* FNN_BOOL: any byte but 0 is true */
        for (ptrdiff_t j = 0; j < n; j++) out[j] = from[j] != 0 ? 1.0f : 0.0f;
    }
}

static void convert_to_double(const unsigned char *from, ptrdiff_t n, int type, double *out) {
    switch (type) {
#define REAL double
        NUMBER_TYPES(CONVERT)
#undef REAL
    case FNN_DATA_FLOAT16:
        for (ptrdiff_t j = 0; j < n; j++) out[j] = (double)float_from_half(from + 2 * j);
        break;
    default:
        for (ptrdiff_t j = 0; j < n; j++) out[j] = from[j] != 0 ? 1.0 : 0.0;
    }
}

/* n items side by side -> out[first ..]. */
static void convert(const unsigned char *from, ptrdiff_t n, int type, int real_type, void *out, ptrdiff_t first) {
    if (real_type == FNN_FLOAT64) {
        convert_to_double(from, n, type, (double *)out + first);
    } else {
        convert_to_float(from, n, type, (float *)out + first);
    }
}

/* ---- rows ----------------------------------------------------------------------------------------------------- */

/* Whether a row is one piece of memory. */
static bool is_one_piece(const fnn_array *array) {
    return array->type != FNN_CSR && array->column_stride_bytes == item_bytes(array->type);
}

/* Rows of up to 32 bytes are too short for a call of memcpy: two moves that may overlap. */
static inline void copy_bytes(unsigned char *out, const unsigned char *from, size_t bytes) {
    if (bytes > 32) {
        memcpy(out, from, bytes);
    } else if (bytes >= 16) {
        memcpy(out, from, 16);
        memcpy(out + bytes - 16, from + bytes - 16, 16);
    } else if (bytes >= 8) {
        memcpy(out, from, 8);
        memcpy(out + bytes - 8, from + bytes - 8, 8);
    } else { /* one number */
        memcpy(out, from, 4);
    }
}

static int64_t index_at(const fnn_csr *csr, const void *indices, ptrdiff_t place) {
    if (!csr->wide) {
        int32_t index;
        memcpy(&index, (const unsigned char *)indices + 4 * place, sizeof index);
        return index;
    }
    int64_t index;
    memcpy(&index, (const unsigned char *)indices + 8 * place, sizeof index);
    return index;
}

/* Zeros, and over them what the row has, converted a chunk at a time. */
static void read_compressed_row(const fnn_csr *csr, ptrdiff_t row, ptrdiff_t columns, int real_type, void *out) {
    enum { AT_A_TIME = 256 };
    double chunk[AT_A_TIME]; /* aligned for both types */
    const ptrdiff_t item = item_bytes(csr->type);
    const int64_t first = index_at(csr, csr->starts, row), last = index_at(csr, csr->starts, row + 1);
    memset(out, 0, (size_t)columns * (real_type == FNN_FLOAT64 ? sizeof(double) : sizeof(float)));
    if (first < 0 || last > csr->n) return;
    for (int64_t from = first; from < last; from += AT_A_TIME) {
        const ptrdiff_t place = (ptrdiff_t)from;
        const ptrdiff_t count = last - from < AT_A_TIME ? (ptrdiff_t)(last - from) : AT_A_TIME;
        convert((const unsigned char *)csr->values + place * item, count, csr->type, real_type, chunk, 0);
        for (ptrdiff_t j = 0; j < count; j++) {
            const int64_t column = index_at(csr, csr->indices, place + j);
            if (column < 0 || column >= columns) continue;
            if (real_type == FNN_FLOAT64)
                ((double *)out)[column] = chunk[j];
            else
                memcpy((float *)out + column, (const unsigned char *)chunk + 4 * j, sizeof(float));
        }
    }
}

void fnn_read_row(const fnn_array *array, ptrdiff_t row, int real_type, void *out) {
    const int type = array->type;
    const ptrdiff_t n = array->columns, item = item_bytes(type);
    if (n == 0) return;
    if (type == FNN_CSR) {
        read_compressed_row(array->data, row, n, real_type, out);
        return;
    }
    if (array->column_stride_bytes == item) {
        const unsigned char *from = element(array, row, 0);
        if (type == (real_type == FNN_FLOAT64 ? FNN_DATA_FLOAT64 : FNN_DATA_FLOAT32)) {
            copy_bytes(out, from, (size_t)(n * item));
        } else {
            convert(from, n, type, real_type, out, 0);
        }
        return;
    }
    unsigned char chunk[CHUNK_BYTES];
    const ptrdiff_t most = CHUNK_BYTES / item;
    for (ptrdiff_t first = 0; first < n; first += most) {
        ptrdiff_t count = n - first < most ? n - first : most;
        gather(element(array, row, first), count, item, array->column_stride_bytes, chunk);
        convert(chunk, count, type, real_type, out, first);
    }
}

static inline void prefetch(const unsigned char *address) {
#if defined(__GNUC__)
    __builtin_prefetch(address);
#elif defined(_MSC_VER) && defined(_M_X64)
    _mm_prefetch((const char *)address, _MM_HINT_T0);
#else
    (void)address;
#endif
}

/* One page: further on, what was asked for first would be driven out of the queue of loads, and the processor's own
 * prefetcher has long recognized the row. */
enum { PREFETCH_BYTES = 4096, PREFETCH_LINE = 64, AHEAD_BYTES = 1024 };

void fnn_read_rows(const fnn_array *array, const int64_t *order, ptrdiff_t first, ptrdiff_t rows, int real_type,
                   void *out, ptrdiff_t stride) {
    const ptrdiff_t item = item_bytes(array->type), real_bytes = real_type == FNN_FLOAT64 ? 8 : 4;
    const int plain = array->column_stride_bytes == item && item == real_bytes &&
                      array->type == (real_type == FNN_FLOAT64 ? FNN_DATA_FLOAT64 : FNN_DATA_FLOAT32);
    /* Rows in a random order come from memory: far enough ahead to hide its latency, near enough not to be lost. */
    const ptrdiff_t row_bytes = array->columns * item;
    const ptrdiff_t ahead = row_bytes >= AHEAD_BYTES ? 1 : row_bytes > AHEAD_BYTES / 16 ? AHEAD_BYTES / row_bytes : 16;
    unsigned char *to = out;
    for (ptrdiff_t i = 0; i < rows; i++, to += stride * real_bytes) {
        const ptrdiff_t from = order ? (ptrdiff_t)order[first + i] : first + i;
        if (order && i + ahead < rows) fnn_prefetch_row(array, (ptrdiff_t)order[first + i + ahead]);
        if (plain)
            copy_bytes(to, element(array, from, 0), (size_t)row_bytes);
        else
            fnn_read_row(array, from, real_type, to);
    }
}

void fnn_prefetch_row(const fnn_array *array, ptrdiff_t row) {
    const ptrdiff_t item = item_bytes(array->type);
    if (array->columns == 0 || !is_one_piece(array)) return;
    const ptrdiff_t most = PREFETCH_BYTES / item;
    const ptrdiff_t bytes = (array->columns < most ? array->columns : most) * item;
    const unsigned char *from = element(array, row, 0);
    for (ptrdiff_t offset = 0; offset < bytes; offset += PREFETCH_LINE) prefetch(from + offset);
    prefetch(from + bytes - 1); /* the last line, when the row does not start a line */
}

/* Shorter rows are asked for soon enough when they are read. The processor's own prefetcher follows longer ones, and a
 * block of them would drive out of the second cache what is being multiplied. */
enum { SHORTEST_SOON = 8 * PREFETCH_LINE, LONGEST_SOON = 16384 };

fnn_soon fnn_rows_soon(const fnn_array *array, const int64_t *order, ptrdiff_t first, ptrdiff_t rows) {
    const ptrdiff_t bytes = array->columns * item_bytes(array->type);
    fnn_soon soon = {0};
    if (!order || rows <= 0 || !is_one_piece(array)) return soon;
    if (bytes < SHORTEST_SOON || bytes > LONGEST_SOON) return soon;
    soon.data = (const char *)array->data;
    soon.stride = array->row_stride_bytes;
    soon.order = order + first;
    soon.n = rows;
    soon.bytes = bytes;
    return soon;
}

/* ---- the search for what is not finite ------------------------------------------------------------------------ */

/* Whether any of n magnitudes (the bits without the sign) is at least limit. The sum has its top bit set just then,
 * and never overflows; as integer arithmetic without a branch it runs many lanes wide, and raises no flag. */
static bool any_reaches_16(const unsigned char *from, ptrdiff_t n, uint16_t limit) {
    uint16_t tops = 0;
    for (ptrdiff_t j = 0; j < n; j++) {
        uint16_t bits;
        memcpy(&bits, from + 2 * j, sizeof bits);
        tops = (uint16_t)(tops | ((bits & 0x7fffu) + (0x8000u - limit)));
    }
    return tops >> 15;
}

static bool any_reaches_32(const unsigned char *from, ptrdiff_t n, uint32_t limit) {
    uint32_t tops = 0;
    for (ptrdiff_t j = 0; j < n; j++) {
        uint32_t bits;
        memcpy(&bits, from + 4 * j, sizeof bits);
        tops |= (bits & 0x7fffffffu) + (0x80000000u - limit);
    }
    return tops >> 31;
}

static bool any_reaches_64(const unsigned char *from, ptrdiff_t n, uint64_t limit) {
    const uint64_t top = (uint64_t)1 << 63;
    uint64_t tops = 0;
    for (ptrdiff_t j = 0; j < n; j++) {
        uint64_t bits;
        memcpy(&bits, from + 8 * j, sizeof bits);
        tops |= (bits & (top - 1)) + (top - limit);
    }
    return tops >> 63;
}

/* The smallest magnitude that is an infinity or a NaN: an exponent of ones. For a double that becomes a float, what
 * rounds to infinity: the largest float and half a unit in its last place, (2 - 2^-24).2^127. */
static bool any_nonfinite(const unsigned char *from, ptrdiff_t n, int type, int real_type) {
    switch (type) {
    case FNN_DATA_FLOAT16: return any_reaches_16(from, n, 0x7c00u);
    case FNN_DATA_FLOAT32: return any_reaches_32(from, n, 0x7f800000u);
    case FNN_DATA_FLOAT64:
        return any_reaches_64(from, n, real_type == FNN_FLOAT64 ? 0x7ff0000000000000u : 0x47effffff0000000u);
    default: return false; /* every integer is far below the largest float */
    }
}

/* As fnn_first_nonfinite, in the order in which the array is given. */
static ptrdiff_t scan(fnn_array view, int real_type) {
    const ptrdiff_t item = item_bytes(view.type), most = CHUNK_BYTES / item;
    const bool side_by_side = view.column_stride_bytes == item;
    if (side_by_side && view.row_stride_bytes == view.columns * item) { /* all rows are one */
        view.columns *= view.rows;
        view.rows = 1;
    }
    unsigned char chunk[CHUNK_BYTES];
    for (ptrdiff_t row = 0; row < view.rows; row++) {
        for (ptrdiff_t first = 0; first < view.columns; first += most) {
            ptrdiff_t count = view.columns - first < most ? view.columns - first : most;
            const unsigned char *from = element(&view, row, first);
            if (!side_by_side) {
                gather(from, count, item, view.column_stride_bytes, chunk);
                from = chunk;
            }
            if (!any_nonfinite(from, count, view.type, real_type)) continue;
            ptrdiff_t j = 0;
            while (!any_nonfinite(from + j * item, 1, view.type, real_type)) j++;
            return row * view.columns + first + j;
        }
    }
    return -1;
}

static ptrdiff_t distance(ptrdiff_t stride) { return stride < 0 ? -stride : stride; }

ptrdiff_t fnn_first_nonfinite(const fnn_array *array, int real_type) {
    fnn_array view = *array;
    if (view.type < FNN_DATA_FLOAT16 || view.rows == 0 || view.columns == 0) return -1;
    /* What is repeated is read once: a broadcast array can be larger than any memory. */
    if (view.row_stride_bytes == 0) view.rows = 1;
    if (view.column_stride_bytes == 0) view.columns = 1;
    /* Where columns are what lies together, they are searched first: mostly nothing is found, and that is all. */
    const ptrdiff_t down = view.row_stride_bytes, across = view.column_stride_bytes;
    if (view.columns == 1 || (view.rows > 1 && distance(down) < distance(across))) {
        fnn_array transposed = {view.data, view.type, view.columns, view.rows, across, down};
        if (scan(transposed, real_type) < 0) return -1;
    }
    ptrdiff_t found = scan(view, real_type);
    return found < 0 ? -1 : found / view.columns * array->columns + found % view.columns;
}

/* ---- ranges and labels ---------------------------------------------------------------------------------------- */

/* n items side by side, all within [low, high], and with labels whole: copied there. The first that is not, or -1. */
static ptrdiff_t first_wrong(const double *values, ptrdiff_t n, double low, double high, int32_t *labels) {
    for (ptrdiff_t j = 0; j < n; j++) {
        if (!(values[j] >= low && values[j] <= high)) return j; /* nor is a NaN */
        if (!labels) continue;
        labels[j] = (int32_t)values[j];
        if ((double)labels[j] != values[j]) return j;
    }
    return -1;
}

static ptrdiff_t check_values(const fnn_array *array, double low, double high, int32_t *labels) {
    enum { AT_A_TIME = 256 };
    const ptrdiff_t item = item_bytes(array->type);
    unsigned char chunk[AT_A_TIME * 8];
    double values[AT_A_TIME];
    /* A single column is read downwards, as if it were a row. */
    const bool column = array->columns == 1;
    const ptrdiff_t rows = column ? 1 : array->rows, n = column ? array->rows : array->columns;
    const ptrdiff_t stride = column ? array->row_stride_bytes : array->column_stride_bytes;
    for (ptrdiff_t row = 0; row < rows; row++) {
        for (ptrdiff_t first = 0; first < n; first += AT_A_TIME) {
            const ptrdiff_t count = n - first < AT_A_TIME ? n - first : AT_A_TIME, at = row * n + first;
            const unsigned char *from = column ? element(array, first, 0) : element(array, row, first);
            gather(from, count, item, stride, chunk);
            convert(chunk, count, array->type, FNN_FLOAT64, values, 0);
            const ptrdiff_t wrong = first_wrong(values, count, low, high, labels ? labels + at : NULL);
            if (wrong >= 0) return at + wrong;
        }
    }
    return -1;
}

ptrdiff_t fnn_first_outside(const fnn_array *array, double low, double high) {
    return check_values(array, low, high, NULL);
}

ptrdiff_t fnn_read_labels(const fnn_array *array, int32_t classes, int32_t *labels) {
    return check_values(array, 0, (double)classes - 1, labels);
}
