/* test_layers.c: the kernels of csrc/kernels/layers.h, each against its formula in twice the precision, on every
 * instruction set of this processor, at sizes that straddle the registers, between guard pages.
 *
 * A row of the list below names a kernel, what it writes and its formula, element by element; everything else is done
 * for all rows alike: operands with gaps of NaN between their rows, flush with either guard page, that nothing but the
 * output changed, and that all sets agree to the bit. Masks and noise are tested for their distribution as well.
 * Compiled for float; test_layers_f64.c compiles it for double. To add a kernel: its row, a call and a formula.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#ifndef FNN_REAL
#define FNN_REAL 32
#endif

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "dispatch.h"
#include "fastnn.h"
#include "float_state.h"
#include "guarded.h"
#include "random.h"

#if FNN_REAL == 32
typedef double exact;
#define EPSILON FLT_EPSILON
#define SMALLEST FLT_MIN /* normal: below it, results are flushed */
#define LARGEST FLT_MAX
#define ROOT sqrt
#else
typedef long double exact;
#define EPSILON DBL_EPSILON
#define SMALLEST DBL_MIN
#define LARGEST DBL_MAX
#define ROOT sqrtl
#endif

typedef FNN_TYPED(fnn_kernels) kernel_table;

static const ptrdiff_t some_columns[] = {0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 100};
static const ptrdiff_t some_rows[] = {1, 70, 5, 0, 2, 63, 64, 65};
enum {
    N_COLUMNS = sizeof some_columns / sizeof *some_columns,
    N_ROWS = SANITIZED ? 4 : sizeof some_rows / sizeof *some_rows,
    MOST_ROWS = 70,
    MOST_COLUMNS = 100,
    MOST_GAP = 17,
    MOST = MOST_ROWS * (MOST_COLUMNS + MOST_GAP),
    CATEGORIES = 6,
};

/* ---- operands -------------------------------------------------------------------------------------------------- */

/* Matrices (rows, n), vectors (n), and what else a kernel may be given. The later ones are written. */
enum {
    X, DY, MEAN, SCALE, WEIGHT, BIAS, PLAIN, ALONG, /* */
    STATS,                                          /* (rows, 2): mean and scale of each row */
    CODES,                                          /* (rows, 3): the second column is read */
    TABLE,                                          /* (CATEGORIES + 1, n) */
    Y, FIRST, SECOND, ROW_STATS, DTABLE, N_OPERANDS
};

typedef struct {
    guarded memory;
    real *at;
    ptrdiff_t rows, columns, ld;
    real start[MOST]; /* what it is given, dense */
    real first[MOST]; /* what the first set made of it */
} matrix;
static matrix operand[N_OPERANDS];
static ptrdiff_t rows, n; /* of the call under test */

static void shape(int which) {
    matrix *a = &operand[which];
    const int is_table = which == TABLE || which == DTABLE;
    const int is_vector = (which >= MEAN && which <= ALONG) || which == FIRST || which == SECOND;
    a->rows = is_vector ? 1 : is_table ? CATEGORIES + 1 : rows;
    a->columns = which == STATS || which == ROW_STATS ? 2 : which == CODES ? 3 : n;
}

/* Elements of rows that lie ld apart, without the gap behind the last. */
static ptrdiff_t extent(const matrix *a) { return a->rows && a->columns ? (a->rows - 1) * a->ld + a->columns : 0; }

/* Numbers in (-scale, scale) with all their bits, the same for the same seed. */
static void fill(real *out, ptrdiff_t count, uint64_t seed, double scale) {
    static uint32_t high[MOST], low[MOST];
    fnn_random_words(seed, FNN_STREAM_INITIAL, 0, count, high);
    fnn_random_words(seed, FNN_STREAM_INITIAL, 1, count, low);
    for (ptrdiff_t i = 0; i < count; i++)
        out[i] = (real)(scale * ((double)high[i] * 0x1p-31 - 1 + (double)low[i] * 0x1p-63));
}

/* What stands in a column of codes: categories, and what is none. */
static real code(ptrdiff_t i) {
    static const double odd[] = {-1,  CATEGORIES, (double)NAN, 2.5,  (double)INFINITY, -0.0, -(double)INFINITY,
                                 1e9, LARGEST,    5,           1e-3, CATEGORIES - 0.5, 0,    -1e-3};
    return (real)(i % 3 == 1 ? odd[i / 3 % (ptrdiff_t)(sizeof odd / sizeof *odd)] : (double)(i * 7 % CATEGORIES));
}

static void fill_operands(void) {
    for (int o = 0; o < N_OPERANDS; o++) {
        shape(o);
        matrix *a = &operand[o];
        const ptrdiff_t size = a->rows * a->columns;
        fill(a->start, size, (uint64_t)(100 + o), o == X ? 4 : 2);
        for (ptrdiff_t i = 0; i < size; i++) { /* zeros of both signs; scales in (0.5, 1.5) */
            if (o == X && i % 11 < 2) a->start[i] = i % 11 ? (real)-0.0 : 0;
            if (o == SCALE || (o == STATS && i % 2)) a->start[i] = a->start[i] / 4 + 1;
            if (o == CODES) a->start[i] = i % 3 == 1 ? code(i / 3) : (real)NAN;
        }
    }
}

/* Everything in its place: `layout` says whether rows have gaps, and which guard page they touch. Tables are dense. */
static void lay_operands(int layout, int outputs_hold_numbers) {
    for (int o = 0; o < N_OPERANDS; o++) {
        matrix *a = &operand[o];
        const ptrdiff_t gap = o == TABLE || o == DTABLE || !(layout & 2) ? 0 : 1 + o * 5 % MOST_GAP;
        a->ld = a->columns + gap;
        const size_t bytes = (size_t)extent(a) * sizeof(real);
        a->at = layout & 1 ? guarded_last(a->memory, bytes) : guarded_first(a->memory);
        memset(a->at, 0xff, bytes);
        if (o >= Y && !outputs_hold_numbers) continue;
        for (ptrdiff_t i = 0; bytes && i < a->rows; i++)
            memcpy(a->at + i * a->ld, a->start + i * a->columns, (size_t)a->columns * sizeof(real));
    }
}

static exact given(int which, ptrdiff_t i, ptrdiff_t j) {
    return (exact)operand[which].start[i * operand[which].columns + j];
}
static exact written(int which, ptrdiff_t i, ptrdiff_t j) {
    return (exact)operand[which].at[i * operand[which].ld + j];
}

static exact magnitude(exact x) { return x < 0 ? -x : x; }

/* Equal bits; any NaN equals any other: their signs differ between processors. */
static int same(const real *one, const real *other, ptrdiff_t count) {
    for (ptrdiff_t i = 0; i < count; i++)
        if (memcmp(one + i, other + i, sizeof(real)) != 0 && !(isnan(one[i]) && isnan(other[i]))) return 0;
    return 1;
}

/* What an element should be, and how far from that rounding may take it. */
typedef struct {
    exact value, bound;
} result;

static result rounded(exact value, exact size, double roundings) {
    return (result){value, roundings * EPSILON * size + SMALLEST};
}
static const result untouched = {(exact)NAN, 0}; /* as it was laid: NaN */

static int is_close(exact found, result wanted) {
    if (wanted.value != wanted.value) return found != found;
    return found == wanted.value || magnitude(found - wanted.value) <= wanted.bound;
}

/* ---- calls and formulas: what the comments in layers.h say ------------------------------------------------------- */

#define OPERAND(which) operand[which].at, operand[which].ld
#define IF(condition, which) ((condition) ? operand[which].at : NULL)

static void call_copy(const kernel_table *k, int adds) { k->copy(rows, n, OPERAND(X), adds, OPERAND(Y)); }
static result copied(int out, int adds, ptrdiff_t i, ptrdiff_t j) {
    const exact sum = given(X, i, j) + given(out, i, j);
    return adds ? rounded(sum, magnitude(sum), 1) : (result){given(X, i, j), 0};
}

static void call_sum(const kernel_table *k, int variant) {
    (void)variant;
    k->sum(rows, n, OPERAND(X), OPERAND(DY), OPERAND(Y));
}
static result summed(int out, int variant, ptrdiff_t i, ptrdiff_t j) {
    (void)out, (void)variant;
    return rounded(given(X, i, j) + given(DY, i, j), magnitude(given(X, i, j) + given(DY, i, j)), 1);
}

static void call_prelu_forward(const kernel_table *k, int variant) {
    (void)variant;
    k->prelu_forward(rows, n, OPERAND(X), operand[WEIGHT].at, OPERAND(Y));
}
static result prelu(int out, int variant, ptrdiff_t i, ptrdiff_t j) {
    (void)out, (void)variant;
    const exact x = given(X, i, j), below = given(WEIGHT, 0, j) * x;
    return x > 0 ? (result){x, 0} : rounded(below, magnitude(below), 1);
}

static void call_prelu_backward(const kernel_table *k, int variant) {
    (void)variant;
    k->prelu_backward(rows, n, OPERAND(X), operand[WEIGHT].at, OPERAND(DY), OPERAND(Y));
}
static result prelu_dx(int out, int variant, ptrdiff_t i, ptrdiff_t j) {
    (void)out, (void)variant;
    const exact dy = given(DY, i, j), below = given(WEIGHT, 0, j) * dy;
    return given(X, i, j) > 0 ? (result){dy, 0} : rounded(below, magnitude(below), 1);
}

static void call_prelu_slope_gradient(const kernel_table *k, int adds) {
    k->prelu_slope_gradient(rows, n, OPERAND(X), OPERAND(DY), adds, operand[FIRST].at);
}
static result prelu_dslope(int out, int adds, ptrdiff_t zero, ptrdiff_t j) {
    exact sum = adds ? given(out, zero, j) : 0, size = magnitude(sum);
    for (ptrdiff_t i = 0; i < rows; i++) {
        const exact term = given(X, i, j) < 0 ? given(X, i, j) * given(DY, i, j) : 0;
        sum += term;
        size += magnitude(term);
    }
    return rounded(sum, size, (double)rows + 1);
}

/* Roundings of a sum over a row: in 16 chains, and a tree of four levels. */
static double of_a_row(void) { return (double)(n / 16) + 8; }

enum { CENTRED = 1, WITH_BIAS = 2 };
static const double row_epsilon = 0x1p-10;

static void call_row_norm_forward(const kernel_table *k, int variant) {
    k->row_norm_forward(rows, n, OPERAND(X), variant & CENTRED, (real)row_epsilon, operand[WEIGHT].at,
                        IF(variant & WITH_BIAS, BIAS), OPERAND(ROW_STATS), OPERAND(Y));
}
/* The scale is that of the mean as rounded, and y follows from both as rounded: so no error is counted twice. */
static result row_norm(int out, int variant, ptrdiff_t i, ptrdiff_t j) {
    const exact mean = written(ROW_STATS, i, 0), scale = written(ROW_STATS, i, 1);
    if (out == Y) {
        const exact normal = (given(X, i, j) - mean) * scale * given(WEIGHT, 0, j);
        const exact bias = variant & WITH_BIAS ? given(BIAS, 0, j) : 0;
        return rounded(normal + bias, magnitude(normal) + magnitude(bias), 3);
    }
    const exact count = (exact)n;
    exact sum = 0, size = 0, squares = 0;
    for (ptrdiff_t l = 0; l < n; l++) {
        sum += given(X, i, l);
        size += magnitude(given(X, i, l));
        squares += (given(X, i, l) - mean) * (given(X, i, l) - mean);
    }
    if (j == 0) return variant & CENTRED ? rounded(sum / count, size / count, of_a_row()) : (result){0, 0};
    const exact root = 1 / ROOT(squares / count + (exact)row_epsilon);
    return rounded(root, root, of_a_row());
}

static void call_row_norm_backward(const kernel_table *k, int variant) {
    k->row_norm_backward(rows, n, OPERAND(X), variant & CENTRED, operand[WEIGHT].at, OPERAND(STATS), OPERAND(DY),
                         OPERAND(Y));
}
static exact normal_of_row(ptrdiff_t i, ptrdiff_t j) {
    return (given(X, i, j) - given(STATS, i, 0)) * given(STATS, i, 1);
}
static result row_norm_dx(int out, int variant, ptrdiff_t i, ptrdiff_t j) {
    const exact count = (exact)n;
    exact plain = 0, along = 0, plain_size = 0, along_size = 0;
    (void)out;
    for (ptrdiff_t l = 0; l < n; l++) {
        const exact d = given(DY, i, l) * given(WEIGHT, 0, l), h = normal_of_row(i, l);
        plain += d / count;
        along += d * h / count;
        plain_size += magnitude(d) / count;
        along_size += magnitude(d * h) / count;
    }
    if (!(variant & CENTRED)) plain = plain_size = 0;
    const exact d = given(DY, i, j) * given(WEIGHT, 0, j), h = normal_of_row(i, j), scale = given(STATS, i, 1);
    return rounded(scale * (d - plain - h * along),
                   scale * (magnitude(d) + plain_size + magnitude(h) * along_size), of_a_row() + 4);
}

static void call_row_norm_weight_gradient(const kernel_table *k, int adds) {
    k->row_norm_weight_gradient(rows, n, OPERAND(X), OPERAND(STATS), OPERAND(DY), adds, operand[FIRST].at);
}
static result row_norm_dweight(int out, int adds, ptrdiff_t zero, ptrdiff_t j) {
    exact sum = adds ? given(out, zero, j) : 0, size = magnitude(sum);
    for (ptrdiff_t i = 0; i < rows; i++) {
        sum += given(DY, i, j) * normal_of_row(i, j);
        size += magnitude(given(DY, i, j) * normal_of_row(i, j));
    }
    return rounded(sum, size, (double)rows + 3);
}

static void call_column_moments(const kernel_table *k, int variant) {
    (void)variant;
    k->column_moments(rows, n, OPERAND(X), operand[FIRST].at, operand[SECOND].at);
}
static result moments(int out, int variant, ptrdiff_t zero, ptrdiff_t j) {
    const exact mean = written(FIRST, 0, j), count = (exact)rows;
    exact sum = 0, size = 0, squares = 0;
    (void)variant, (void)zero;
    for (ptrdiff_t i = 0; i < rows; i++) {
        sum += given(X, i, j);
        size += magnitude(given(X, i, j));
        squares += (given(X, i, j) - mean) * (given(X, i, j) - mean);
    }
    return out == FIRST ? rounded(sum / count, size / count, (double)rows + 1)
                        : rounded(squares / count, squares / count, (double)rows + 4);
}

enum { WITH_MEAN = 1, WITH_WEIGHT = 4, IN_PLACE = 8 };
static void call_column_norm_forward(const kernel_table *k, int variant) {
    const matrix *x = &operand[X], *y = &operand[Y];
    for (ptrdiff_t i = 0; n && variant & IN_PLACE && i < rows; i++)
        memcpy(y->at + i * y->ld, x->at + i * x->ld, (size_t)n * sizeof(real));
    if (variant & IN_PLACE) x = y;
    k->column_norm_forward(rows, n, x->at, x->ld, IF(variant & WITH_MEAN, MEAN), operand[SCALE].at,
                           IF(variant & WITH_WEIGHT, WEIGHT), IF(variant & WITH_BIAS, BIAS), y->at, y->ld);
}
static result column_norm(int out, int variant, ptrdiff_t i, ptrdiff_t j) {
    const exact mean = variant & WITH_MEAN ? given(MEAN, 0, j) : 0, bias = variant & WITH_BIAS ? given(BIAS, 0, j) : 0;
    const exact weight = variant & WITH_WEIGHT ? given(WEIGHT, 0, j) : 1;
    const exact normal = (given(X, i, j) - mean) * given(SCALE, 0, j) * weight;
    (void)out;
    return rounded(normal + bias, magnitude(normal) + magnitude(bias), 3);
}

static exact normal_of_column(ptrdiff_t i, ptrdiff_t j) {
    return (given(X, i, j) - given(MEAN, 0, j)) * given(SCALE, 0, j);
}
static void call_column_norm_sums(const kernel_table *k, int variant) {
    (void)variant;
    k->column_norm_sums(rows, n, OPERAND(X), operand[MEAN].at, operand[SCALE].at, OPERAND(DY), operand[FIRST].at,
                        operand[SECOND].at);
}
static result column_sums_of_gradient(int out, int variant, ptrdiff_t zero, ptrdiff_t j) {
    exact sum = 0, size = 0;
    (void)variant, (void)zero;
    for (ptrdiff_t i = 0; i < rows; i++) {
        const exact term = given(DY, i, j) * (out == FIRST ? 1 : normal_of_column(i, j));
        sum += term;
        size += magnitude(term);
    }
    return rounded(sum, size, (double)rows + 3);
}

/* The rows are some of a batch that has more. */
static ptrdiff_t count_of_batch(void) { return 2 * rows + 3; }
static void call_column_norm_backward(const kernel_table *k, int variant) {
    (void)variant;
    k->column_norm_backward(rows, n, OPERAND(X), operand[MEAN].at, operand[SCALE].at, operand[WEIGHT].at,
                            operand[PLAIN].at, operand[ALONG].at, count_of_batch(), OPERAND(DY), OPERAND(Y));
}
static result column_norm_dx(int out, int variant, ptrdiff_t i, ptrdiff_t j) {
    const exact count = (exact)count_of_batch(), outer = given(WEIGHT, 0, j) * given(SCALE, 0, j);
    const exact d = given(DY, i, j), plain = given(PLAIN, 0, j) / count;
    const exact along = normal_of_column(i, j) * given(ALONG, 0, j) / count;
    (void)out, (void)variant;
    return rounded(outer * (d - plain - along),
                   magnitude(outer) * (magnitude(d) + magnitude(plain) + magnitude(along)), 7);
}

/* The row of a table that belongs to a code. */
static ptrdiff_t row_of(ptrdiff_t i) {
    const exact x = given(CODES, i, 1);
    for (ptrdiff_t c = 0; c < CATEGORIES; c++)
        if (x == (exact)c) return c;
    return CATEGORIES;
}
static void call_embedding_forward(const kernel_table *k, int variant) {
    (void)variant;
    k->embedding_forward(rows, n, operand[CODES].at + 1, operand[CODES].ld, CATEGORIES, operand[TABLE].at, OPERAND(Y));
}
static result embedded(int out, int variant, ptrdiff_t i, ptrdiff_t j) {
    (void)out, (void)variant;
    return (result){given(TABLE, row_of(i), j), 0};
}

/* Of the table's rows all, some or none. */
static void share_of_table(int variant, ptrdiff_t *first, ptrdiff_t *last) {
    *first = variant & 2 ? 2 : 0;
    *last = variant & 4 ? *first : variant & 2 ? CATEGORIES - 1 : CATEGORIES + 1;
}
static void call_embedding_gradient(const kernel_table *k, int variant) {
    ptrdiff_t first, last;
    share_of_table(variant, &first, &last);
    k->embedding_gradient(rows, n, operand[CODES].at + 1, operand[CODES].ld, CATEGORIES, first, last, OPERAND(DY),
                          variant & 1, operand[DTABLE].at);
}
static result embedding_dtable(int out, int variant, ptrdiff_t row, ptrdiff_t j) {
    ptrdiff_t first, last;
    share_of_table(variant, &first, &last);
    const exact start = variant & 1 ? given(out, row, j) : 0;
    if (row < first || row >= last) return variant & 1 ? (result){start, 0} : untouched;
    exact sum = start, size = magnitude(start);
    for (ptrdiff_t i = 0; i < rows; i++) {
        if (row_of(i) != row) continue;
        sum += given(DY, i, j);
        size += magnitude(given(DY, i, j));
    }
    return rounded(sum, size, (double)rows);
}

/* ---- random numbers: what random.c says of the counter, and layers.h of its blocks ------------------------------- */

/* The beginning of a batch; and rows far behind it, of a later layer. */
static const fnn_place places[] = {
    {.seed = 5, .draw = 3, .stream = FNN_STREAM_DROPOUT},
    {.seed = 0x123456789abcdef0, .draw = (uint64_t)7 << 40, .stream = FNN_STREAM_NOISE,
     .first_block = (uint64_t)3 << 44, .row = 1000003},
};

static uint32_t word_of_block(const fnn_place *place, uint64_t block, int word) {
    block += place->first_block;
    const uint32_t counter[] = {(uint32_t)block, (uint32_t)(block >> 32) | (uint32_t)place->stream << 24,
                                (uint32_t)place->draw, (uint32_t)(place->draw >> 32)};
    const uint32_t key[] = {(uint32_t)place->seed, (uint32_t)(place->seed >> 32)};
    uint32_t words[4];
    fnn_philox(counter, key, words);
    return words[word];
}

/* Sixteen blocks hold 64 words, or 128 halves: word by word of all blocks, first the lower halves. */
static uint32_t word_of(const fnn_place *place, uint64_t element) {
    return word_of_block(place, element / 64 * 16 + element % 16, (int)(element / 16 % 4));
}
static uint32_t half_of(const fnn_place *place, uint64_t element) {
    const uint32_t word = word_of_block(place, element / 128 * 16 + element % 16, (int)(element / 16 % 4));
    return element / 64 % 2 ? word >> 16 : word & 0xffff;
}

static uint64_t element_of(const fnn_place *place, ptrdiff_t i, ptrdiff_t j) {
    return ((uint64_t)place->row + (uint64_t)i) * (uint64_t)n + (uint64_t)j;
}

static const uint32_t keeps[] = {32768, 60000};
static void call_dropout(const kernel_table *k, int variant) {
    k->dropout(rows, n, OPERAND(X), &places[variant], keeps[variant], OPERAND(Y));
}
static result dropped_out(int out, int variant, ptrdiff_t i, ptrdiff_t j) {
    const exact scaled = given(X, i, j) * 65536 / (exact)keeps[variant];
    (void)out;
    if (half_of(&places[variant], element_of(&places[variant], i, j)) >= keeps[variant]) return (result){0, 0};
    return rounded(scaled, magnitude(scaled), 2);
}

static const double deviations[] = {1, 0.125};
static void call_noise(const kernel_table *k, int variant) {
    k->noise(rows, n, OPERAND(X), &places[variant], (real)deviations[variant], OPERAND(Y));
}
static result noisy(int out, int variant, ptrdiff_t i, ptrdiff_t j) {
    const uint32_t word = word_of(&places[variant], element_of(&places[variant], i, j));
    const real uniform = (real)((2 * (double)(word >> 9) + 1) * 0x1p-24);
    real normal;
    (void)out;
    fnn_vector(FNN_REAL_TYPE, FNN_NORMAL_QUANTILE, 1, &uniform, &normal);
    const exact added = (exact)normal * (exact)deviations[variant];
    return rounded(given(X, i, j) + added, magnitude(given(X, i, j) + added), 1);
}

/* ---- all of them ------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    void (*call)(const kernel_table *kernels, int variant);
    result (*formula)(int out, int variant, ptrdiff_t i, ptrdiff_t j);
    int variants;
    int adds; /* odd variants add to what is there */
    ptrdiff_t least_rows, least_columns;
    int out, and_out; /* what it writes; 0: nothing else */
} kernels_of_layers[] = {
    {"copy", call_copy, copied, 2, 1, 0, 0, Y, 0},
    {"sum", call_sum, summed, 1, 0, 0, 0, Y, 0},
    {"prelu_forward", call_prelu_forward, prelu, 1, 0, 0, 0, Y, 0},
    {"prelu_backward", call_prelu_backward, prelu_dx, 1, 0, 0, 0, Y, 0},
    {"prelu_slope_gradient", call_prelu_slope_gradient, prelu_dslope, 2, 1, 0, 0, FIRST, 0},
    {"row_norm_forward", call_row_norm_forward, row_norm, 4, 0, 0, 1, Y, ROW_STATS},
    {"row_norm_backward", call_row_norm_backward, row_norm_dx, 2, 0, 0, 1, Y, 0},
    {"row_norm_weight_gradient", call_row_norm_weight_gradient, row_norm_dweight, 2, 1, 0, 0, FIRST, 0},
    {"column_moments", call_column_moments, moments, 1, 0, 1, 0, FIRST, SECOND},
    {"column_norm_forward", call_column_norm_forward, column_norm, 16, 0, 0, 0, Y, 0},
    {"column_norm_sums", call_column_norm_sums, column_sums_of_gradient, 1, 0, 0, 0, FIRST, SECOND},
    {"column_norm_backward", call_column_norm_backward, column_norm_dx, 1, 0, 0, 0, Y, 0},
    {"embedding_forward", call_embedding_forward, embedded, 1, 0, 0, 0, Y, 0},
    {"embedding_gradient", call_embedding_gradient, embedding_dtable, 8, 1, 0, 0, DTABLE, 0},
    {"dropout", call_dropout, dropped_out, 2, 0, 0, 0, Y, 0},
    {"noise", call_noise, noisy, 2, 0, 0, 0, Y, 0},
};
enum { N_KERNELS = sizeof kernels_of_layers / sizeof *kernels_of_layers };

static const kernel_table *next_set(int *isa) {
    while (fnn_isa_name(*isa))
        if (fnn_isa_select(fnn_isa_name((*isa)++)) == 0) return FNN_TYPED(fnn_kernels_in_use)();
    fnn_isa_select(NULL);
    return NULL;
}

static void agree(int good, const kernel_table *kernels, const char *name, int variant, const char *what) {
    if (!CHECK(good))
        printf("    %s %d of %s float%d, (%td, %td): %s\n", name, variant, kernels->isa, FNN_REAL, rows, n, what);
}

/* An output element by element; its gaps; the bits of other sets. */
static void check_output(const kernel_table *kernels, int which, int variant, int out, int is_first) {
    matrix *a = &operand[out];
    int good = 1, gaps = 1, bits = 1;
    for (ptrdiff_t i = 0; a->columns && i < a->rows; i++) {
        real *row = a->at + i * a->ld;
        for (ptrdiff_t j = 0; j < a->columns; j++)
            good &= is_close((exact)row[j], kernels_of_layers[which].formula(out, variant, i, j));
        for (ptrdiff_t j = a->columns; i < a->rows - 1 && j < a->ld; j++) gaps &= isnan(row[j]);
        if (is_first) memcpy(a->first + i * a->columns, row, (size_t)a->columns * sizeof(real));
        bits &= same(a->first + i * a->columns, row, a->columns);
    }
    agree(good, kernels, kernels_of_layers[which].name, variant, "the formula");
    agree(gaps, kernels, kernels_of_layers[which].name, variant, "between the rows");
    agree(bits, kernels, kernels_of_layers[which].name, variant, "bits of another set or layout");
}

/* What is not written is as it was, gaps and all. */
static int is_unchanged(const matrix *a) {
    int good = 1;
    for (ptrdiff_t i = 0; a->columns && i < a->rows; i++) {
        good &= same(a->at + i * a->ld, a->start + i * a->columns, a->columns);
        for (ptrdiff_t j = a->columns; i < a->rows - 1 && j < a->ld; j++) good &= isnan(a->at[i * a->ld + j]);
    }
    return good;
}

static void one_call(const kernel_table *kernels, int which, int variant, int layout, int is_first) {
    const int out = kernels_of_layers[which].out, and_out = kernels_of_layers[which].and_out;
    lay_operands(layout, kernels_of_layers[which].adds && variant & 1);
    const fnn_float_state state = fnn_float_enter();
    kernels_of_layers[which].call(kernels, variant);
    fnn_float_leave(state);
    check_output(kernels, which, variant, out, is_first);
    if (and_out) check_output(kernels, which, variant, and_out, is_first);
    int good = 1;
    for (int o = 0; o < Y; o++) good &= is_unchanged(&operand[o]);
    agree(good, kernels, kernels_of_layers[which].name, variant, "what it only reads");
}

static void formulas(void) {
    for (int r = 0; r < N_ROWS; r++) {
        for (int c = 0; c < N_COLUMNS; c++) {
            rows = some_rows[r];
            n = some_columns[c];
            fill_operands();
            for (int which = 0; which < N_KERNELS; which++) {
                if (rows < kernels_of_layers[which].least_rows || n < kernels_of_layers[which].least_columns) continue;
                for (int variant = 0; variant < kernels_of_layers[which].variants; variant++) {
                    int isa = 0, is_first = 1;
                    for (const kernel_table *kernels; (kernels = next_set(&isa));) {
                        for (int layout = 0; layout < 4; layout++, is_first = 0)
                            one_call(kernels, which, variant, layout, is_first);
                    }
                }
            }
        }
    }
}

/* A NaN in is a NaN out, and nobody else's; what is left out of a gradient is left out alike by all sets. */
static void nan_of_prelu(void) {
    int isa = 0;
    rows = 1, n = 33;
    for (const kernel_table *kernels; (kernels = next_set(&isa));) {
        for (ptrdiff_t at = 0; at < n; at++) {
            real x[33], slope[33], y[33], dslope[33];
            fill(x, n, 1, 1);
            fill(slope, n, 2, 1);
            x[at] = (real)NAN;
            kernels->prelu_forward(1, n, x, n, slope, y, n);
            kernels->prelu_slope_gradient(1, n, x, n, slope, n, 0, dslope);
            int good = isnan(y[at]) && dslope[at] == 0;
            for (ptrdiff_t j = 0; j < n; j++) good &= j == at || (isfinite(y[j]) && isfinite(dslope[j]));
            agree(good, kernels, "prelu", (int)at, "a NaN");
        }
    }
}

/* ---- masks and noise as random numbers --------------------------------------------------------------------------- */

enum { BATCH = 500, WIDTH = 201, ELEMENTS = BATCH * WIDTH };
static real ones[ELEMENTS], zeros[ELEMENTS], drawn[ELEMENTS], again[ELEMENTS];

static void draw_dropout(const kernel_table *kernels, const fnn_place *place, uint32_t keep, real *y) {
    kernels->dropout(BATCH, WIDTH, ones, WIDTH, place, keep, y, WIDTH);
}

static void draw_noise(const kernel_table *kernels, const fnn_place *place, real *y) {
    kernels->noise(BATCH, WIDTH, zeros, WIDTH, place, 1, y, WIDTH);
}

/* Numbers of two draws that are equal: none but by chance. */
static double share_of_equals(const real *one, const real *other) {
    double equal = 0;
    for (ptrdiff_t i = 0; i < ELEMENTS; i++) equal += one[i] == other[i];
    return equal / ELEMENTS;
}

/* Of N independent numbers of probability p, N p +- 5 sqrt(N p (1 - p)): once in two million draws it is more, and this
 * draw is always the same. */
static int is_probable(double share, double p) { return fabs(share - p) <= 5 * sqrt(p * (1 - p) / ELEMENTS); }

static void kept_shares(const kernel_table *kernels) {
    static const uint32_t some[] = {1, 655, 13107, 32768, 52429, 65535};
    for (size_t s = 0; s < sizeof some / sizeof *some; s++) {
        const fnn_place place = {.seed = s, .draw = 9, .stream = FNN_STREAM_DROPOUT};
        const double p = some[s] / 65536.0;
        double kept = 0, sum = 0;
        int good = 1;
        draw_dropout(kernels, &place, some[s], drawn);
        for (ptrdiff_t i = 0; i < ELEMENTS; i++) {
            good &= drawn[i] == 0 || drawn[i] == (real)(1 / p);
            kept += drawn[i] != 0;
            sum += (double)drawn[i];
        }
        agree(good, kernels, "dropout", (int)some[s], "0 or 1 / p");
        agree(is_probable(kept / ELEMENTS, p), kernels, "dropout", (int)some[s], "the share that is kept");
        agree(fabs(sum / ELEMENTS - 1) <= 5 * sqrt((1 - p) / p / ELEMENTS) + EPSILON, kernels, "dropout",
              (int)some[s], "the mean");
    }
}

/* Mean, variance, and the third and fourth moments of a normal number: 0, 1, 0, 3, whose estimates from N numbers have
 * deviations of sqrt(1, 2, 15, 96 / N). */
static void moments_of_noise(const kernel_table *kernels) {
    const fnn_place place = {.seed = 4, .draw = 1, .stream = FNN_STREAM_NOISE};
    const double wanted[] = {0, 1, 0, 3}, variances[] = {1, 2, 15, 96};
    double sums[4] = {0};
    draw_noise(kernels, &place, drawn);
    for (ptrdiff_t i = 0; i < ELEMENTS; i++) {
        double power = 1;
        for (int m = 0; m < 4; m++) sums[m] += power *= (double)drawn[i];
    }
    for (int m = 0; m < 4; m++)
        agree(fabs(sums[m] / ELEMENTS - wanted[m]) <= 5 * sqrt(variances[m] / ELEMENTS), kernels, "noise", m + 1,
              "a moment");
    int beyond = 0;
    for (ptrdiff_t i = 0; i < ELEMENTS; i++) beyond += fabs((double)drawn[i]) > 1.959963984540054;
    agree(is_probable((double)beyond / ELEMENTS, 0.05), kernels, "noise", 0, "the share beyond two deviations");
}

/* Another seed, batch, layer, stream or row gives other numbers; the same gives the same. */
static void places_differ(const kernel_table *kernels) {
    const fnn_place here = {
        .seed = 1, .draw = 2, .stream = FNN_STREAM_DROPOUT, .first_block = (uint64_t)1 << 44, .row = 3};
    fnn_place others[8];
    for (int o = 0; o < 8; o++) others[o] = here;
    others[1].seed += 1;
    others[2].seed += (uint64_t)1 << 32;
    others[3].draw += 1;
    others[4].draw += (uint64_t)1 << 32;
    others[5].first_block += (uint64_t)1 << 44;
    others[6].stream = FNN_STREAM_NOISE;
    others[7].row += 1;
    for (int o = 0; o < 8; o++) {
        draw_dropout(kernels, &here, 32768, drawn);
        draw_dropout(kernels, &others[o], 32768, again);
        const double masks = share_of_equals(drawn, again);
        draw_noise(kernels, &here, drawn);
        draw_noise(kernels, &others[o], again);
        const double noises = share_of_equals(drawn, again);
        if (o == 0)
            agree(masks == 1 && noises == 1, kernels, "dropout, noise", o, "the same place");
        else
            agree(is_probable(masks, 0.5) && noises < 1e-3, kernels, "dropout, noise", o, "another place");
    }
}

/* However a batch is cut into calls, an element has the number of its row and column. */
static void cuts(const kernel_table *kernels) {
    static const ptrdiff_t heights[] = {1, 2, 7, 64, 499};
    fnn_place place = {.seed = 8, .draw = 8, .stream = FNN_STREAM_DROPOUT, .first_block = 0};
    for (int is_noise = 0; is_noise < 2; is_noise++) {
        place.row = 0;
        if (is_noise)
            draw_noise(kernels, &place, drawn);
        else
            draw_dropout(kernels, &place, 20000, drawn);
        for (size_t h = 0; h < sizeof heights / sizeof *heights; h++) {
            memset(again, 0xff, sizeof again);
            for (ptrdiff_t first = 0; first < BATCH; first += heights[h]) {
                const ptrdiff_t some = BATCH - first < heights[h] ? BATCH - first : heights[h], at = first * WIDTH;
                place.row = first;
                if (is_noise)
                    kernels->noise(some, WIDTH, zeros, WIDTH, &place, 1, again + at, WIDTH);
                else
                    kernels->dropout(some, WIDTH, ones, WIDTH, &place, 20000, again + at, WIDTH);
            }
            agree(same(drawn, again, ELEMENTS), kernels, is_noise ? "noise" : "dropout", (int)heights[h],
                  "rows in several calls");
        }
    }
}

/* The first layer's numbers are the words of fnn_random_words(), whose order is block by block. */
static void words_of_the_stream(const kernel_table *kernels) {
    static uint32_t words[ELEMENTS + 64];
    const fnn_place mask = {.seed = 77, .draw = 5, .stream = FNN_STREAM_DROPOUT};
    const fnn_place noise = {.seed = 77, .draw = 5, .stream = FNN_STREAM_NOISE};
    draw_dropout(kernels, &mask, 40000, drawn);
    draw_noise(kernels, &noise, again);
    int good = 1;
    fnn_random_words(77, FNN_STREAM_DROPOUT, 5, ELEMENTS + 64, words);
    for (ptrdiff_t i = 0; i < ELEMENTS; i++) {
        const uint32_t word = words[i / 128 * 64 + i % 16 * 4 + i / 16 % 4];
        good &= (drawn[i] != 0) == ((i / 64 % 2 ? word >> 16 : word & 0xffff) < 40000);
    }
    agree(good, kernels, "dropout", 0, "the words of its stream");
    fnn_random_words(77, FNN_STREAM_NOISE, 5, ELEMENTS + 64, words);
    for (ptrdiff_t i = 0; i < ELEMENTS; i++) {
        const uint32_t word = words[i / 64 * 64 + i % 16 * 4 + i / 16 % 4];
        good &= (again[i] > 0) == (word >> 31);
    }
    agree(good, kernels, "noise", 0, "the words of its stream");
}

static void random_numbers(void) {
    int isa = 0;
    for (ptrdiff_t i = 0; i < ELEMENTS; i++) ones[i] = 1;
    rows = BATCH, n = WIDTH;
    for (const kernel_table *kernels; (kernels = next_set(&isa));) {
        kept_shares(kernels);
        moments_of_noise(kernels);
        places_differ(kernels);
        cuts(kernels);
        words_of_the_stream(kernels);
    }
}

void FNN_TYPED(test_layers)(void);
void FNN_TYPED(test_layers)(void) {
    for (int o = 0; o < N_OPERANDS; o++) operand[o].memory = guarded_new(MOST * sizeof(real));
    formulas();
    nan_of_prelu();
    random_numbers();
    for (int o = 0; o < N_OPERANDS; o++) guarded_delete(operand[o].memory);
}
