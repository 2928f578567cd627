/* layers.h: what layers other than dense ones and activations do to rows and columns, each beside its gradients.
 *
 * Sums over a row run in 16 chains and a fixed tree, sums over the rows of a column in the order of the rows (in blocks
 * of SUM_ROWS, for accuracy): no result depends on vector width. Random numbers are functions of the place they are
 * used at. To add a layer: its kernels here and in the table, and its cases in csrc/layers.c.
 */
/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FASTNN_KERNELS_LAYERS_H
#define FASTNN_KERNELS_LAYERS_H

#include "../simd/philox.h"
#include "../simd/vector_math.h"
#include "kernels.h"

/* ---- columns from here to there ------------------------------------------------------------------------------ */

/* to = from, or to += from */
static void copy(ptrdiff_t rows, ptrdiff_t n, const real *from, ptrdiff_t ldfrom, int adds, real *to, ptrdiff_t ldto) {
    for (ptrdiff_t i = 0; i < rows; i++, from += ldfrom, to += ldto) {
        for (ptrdiff_t j = 0; j < n; j += VF_LANES) {
            const vm mask = vm_first(n - j);
            const vf x = vf_load_first(from + j, mask);
            vf_store_first(to + j, adds ? vf_add(vf_load_first(to + j, mask), x) : x, mask);
        }
    }
}

/* c = a + b */
static void sum(ptrdiff_t rows, ptrdiff_t n, const real *a, ptrdiff_t lda, const real *b, ptrdiff_t ldb, real *c,
                ptrdiff_t ldc) {
    for (ptrdiff_t i = 0; i < rows; i++, a += lda, b += ldb, c += ldc) {
        for (ptrdiff_t j = 0; j < n; j += VF_LANES) {
            const vm mask = vm_first(n - j);
            vf_store_first(c + j, vf_add(vf_load_first(a + j, mask), vf_load_first(b + j, mask)), mask);
        }
    }
}

/* ---- PReLU: y = x where x > 0, else slope_j x   (He et al. 2015) ----------------------------------------------- */

static void prelu_forward(ptrdiff_t rows, ptrdiff_t n, const real *x, ptrdiff_t ldx, const real *slope, real *y,
                          ptrdiff_t ldy) {
    for (ptrdiff_t i = 0; i < rows; i++, x += ldx, y += ldy) {
        for (ptrdiff_t j = 0; j < n; j += VF_LANES) {
            const vm mask = vm_first(n - j);
            const vf z = vf_load_first(x + j, mask), below = vf_mul(vf_load_first(slope + j, mask), z);
            vf_store_first(y + j, vf_select(vm_gt(z, vf_zero()), z, below), mask);
        }
    }
}

/* dx = dy where x > 0, else slope_j dy */
static void prelu_backward(ptrdiff_t rows, ptrdiff_t n, const real *x, ptrdiff_t ldx, const real *slope,
                           const real *dy, ptrdiff_t lddy, real *dx, ptrdiff_t lddx) {
    for (ptrdiff_t i = 0; i < rows; i++, x += ldx, dy += lddy, dx += lddx) {
        for (ptrdiff_t j = 0; j < n; j += VF_LANES) {
            const vm mask = vm_first(n - j);
            const vf d = vf_load_first(dy + j, mask), below = vf_mul(vf_load_first(slope + j, mask), d);
            vf_store_first(dx + j, vf_select(vm_gt(vf_load_first(x + j, mask), vf_zero()), d, below), mask);
        }
    }
}

/* dslope_j = [dslope_j +] sum over rows of dy x where x <= 0 */
static void prelu_slope_gradient(ptrdiff_t rows, ptrdiff_t n, const real *x, ptrdiff_t ldx, const real *dy,
                                 ptrdiff_t lddy, int accumulate, real *dslope) {
    for (ptrdiff_t j = 0; j < n; j += VF_LANES) {
        const vm mask = vm_first(n - j);
        vf sums = accumulate ? vf_load_first(dslope + j, mask) : vf_zero();
        for (ptrdiff_t i = 0; i < rows; i++) {
            const vf below = vf_min(vf_load_first(x + i * ldx + j, mask), vf_zero());
            sums = vf_fma(vf_load_first(dy + i * lddy + j, mask), below, sums);
        }
        vf_store_first(dslope + j, sums, mask);
    }
}

/* ---- norms of rows ------------------------------------------------------------------------------------------- */

FNN_INLINE real reciprocal_root(real x) {
#if FNN_REAL == 32
    return 1 / sqrtf(x);
#else
    return 1 / sqrt(x);
#endif
}

/* Of a group of 16, as many as are left. */
#define FIRST(left) ((left) < FNN_CHAINS ? (left) : FNN_CHAINS)

/* mean_i = 1/n sum_j x_j (0 unless centred) and scale_i = 1 / sqrt(1/n sum_j (x_j - mean)^2 + epsilon) into stats (rows,
 * 2); y = (x - mean) scale weight_j + bias_j. LayerNorm (Ba, Kiros & Hinton 2016); not centred: RMSNorm (Zhang &
 * Sennrich 2019). bias may be NULL. */
static void row_norm_forward(ptrdiff_t rows, ptrdiff_t n, const real *x, ptrdiff_t ldx, int centred, real epsilon,
                             const real *weight, const real *bias, real *stats, ptrdiff_t ldstats, real *y,
                             ptrdiff_t ldy) {
    for (ptrdiff_t i = 0; i < rows; i++, x += ldx, y += ldy, stats += ldstats) {
        v16 sums = v16_zero(), squares = v16_zero();
        for (ptrdiff_t j = 0; centred && j < n; j += FNN_CHAINS) sums = v16_add(sums, v16_load_first(x + j, FIRST(n - j)));
        const real mean = centred ? v16_sum(sums) / (real)n : 0;
        for (ptrdiff_t j = 0; j < n; j += FNN_CHAINS) {
            const v16 d = v16_sub(v16_load_first(x + j, FIRST(n - j)), v16_set1(mean));
            const v16 inside = v16_first(d, n - j);
            squares = v16_fma(inside, inside, squares);
        }
        const real scale = reciprocal_root(v16_sum(squares) / (real)n + epsilon);
        stats[0] = mean;
        stats[1] = scale;
        const vf centre = vf_set1(mean), factor = vf_set1(scale);
        for (ptrdiff_t j = 0; j < n; j += VF_LANES) {
            const vm mask = vm_first(n - j);
            const vf normal = vf_mul(vf_sub(vf_load_first(x + j, mask), centre), factor);
            const vf start = bias ? vf_load_first(bias + j, mask) : vf_zero();
            vf_store_first(y + j, vf_fma(normal, vf_load_first(weight + j, mask), start), mask);
        }
    }
}

/* With h = (x - mean) scale and d = dy weight_j:  dx = scale (d - 1/n sum_j d_j - h 1/n sum_j d_j h_j), without the
 * middle term unless centred. */
static void row_norm_backward(ptrdiff_t rows, ptrdiff_t n, const real *x, ptrdiff_t ldx, int centred,
                              const real *weight, const real *stats, ptrdiff_t ldstats, const real *dy, ptrdiff_t lddy,
                              real *dx, ptrdiff_t lddx) {
    for (ptrdiff_t i = 0; i < rows; i++, x += ldx, dy += lddy, dx += lddx, stats += ldstats) {
        v16 plain = v16_zero(), along = v16_zero();
        for (ptrdiff_t j = 0; j < n; j += FNN_CHAINS) {
            const ptrdiff_t some = FIRST(n - j);
            const v16 d = v16_mul(v16_load_first(dy + j, some), v16_load_first(weight + j, some));
            const v16 h = v16_mul(v16_sub(v16_load_first(x + j, some), v16_set1(stats[0])), v16_set1(stats[1]));
            plain = v16_add(plain, d);
            along = v16_fma(d, h, along); /* d is 0 behind the end */
        }
        const vf centre = vf_set1(stats[0]), factor = vf_set1(stats[1]);
        const vf mean_plain = vf_set1(centred ? v16_sum(plain) / (real)n : 0);
        const vf mean_along = vf_set1(v16_sum(along) / (real)n);
        for (ptrdiff_t j = 0; j < n; j += VF_LANES) {
            const vm mask = vm_first(n - j);
            const vf d = vf_mul(vf_load_first(dy + j, mask), vf_load_first(weight + j, mask));
            const vf h = vf_mul(vf_sub(vf_load_first(x + j, mask), centre), factor);
            const vf inner = vf_fnma(h, mean_along, vf_sub(d, mean_plain));
            vf_store_first(dx + j, vf_mul(factor, inner), mask);
        }
    }
}

/* dweight_j = [dweight_j +] sum over rows of dy h */
static void row_norm_weight_gradient(ptrdiff_t rows, ptrdiff_t n, const real *x, ptrdiff_t ldx, const real *stats,
                                     ptrdiff_t ldstats, const real *dy, ptrdiff_t lddy, int accumulate,
                                     real *dweight) {
    for (ptrdiff_t j = 0; j < n; j += VF_LANES) {
        const vm mask = vm_first(n - j);
        vf sums = accumulate ? vf_load_first(dweight + j, mask) : vf_zero();
        for (ptrdiff_t i = 0; i < rows; i++) {
            const vf centre = vf_set1(stats[i * ldstats]), factor = vf_set1(stats[i * ldstats + 1]);
            const vf h = vf_mul(vf_sub(vf_load_first(x + i * ldx + j, mask), centre), factor);
            sums = vf_fma(vf_load_first(dy + i * lddy + j, mask), h, sums);
        }
        vf_store_first(dweight + j, sums, mask);
    }
}

/* ---- norms of columns ---------------------------------------------------------------------------------------- */

#define SUM_ROWS 64

/* mean_j = 1/rows sum_i x_ij;  variance_j = 1/rows sum_i (x_ij - mean_j)^2 */
static void column_moments(ptrdiff_t rows, ptrdiff_t n, const real *x, ptrdiff_t ldx, real *mean, real *variance) {
    const vf count = vf_set1((real)rows);
    for (ptrdiff_t j = 0; j < n; j += VF_LANES) {
        const vm mask = vm_first(n - j);
        vf total = vf_zero(), squares = vf_zero();
        for (ptrdiff_t first = 0; first < rows; first += SUM_ROWS) {
            const ptrdiff_t end = rows - first < SUM_ROWS ? rows : first + SUM_ROWS;
            vf block = vf_zero();
            for (ptrdiff_t i = first; i < end; i++) block = vf_add(block, vf_load_first(x + i * ldx + j, mask));
            total = vf_add(total, block);
        }
        const vf centre = vf_div(total, count);
        for (ptrdiff_t first = 0; first < rows; first += SUM_ROWS) {
            const ptrdiff_t end = rows - first < SUM_ROWS ? rows : first + SUM_ROWS;
            vf block = vf_zero();
            for (ptrdiff_t i = first; i < end; i++) {
                const vf d = vf_sub(vf_load_first(x + i * ldx + j, mask), centre);
                block = vf_fma(d, d, block);
            }
            squares = vf_add(squares, block);
        }
        vf_store_first(mean + j, centre, mask);
        vf_store_first(variance + j, vf_div(squares, count), mask);
    }
}

/* y = (x - mean_j) scale_j weight_j + bias_j; NULL: mean 0, weight 1, bias 0. In place allowed. */
static void column_norm_forward(ptrdiff_t rows, ptrdiff_t n, const real *x, ptrdiff_t ldx, const real *mean,
                                const real *scale, const real *weight, const real *bias, real *y, ptrdiff_t ldy) {
    for (ptrdiff_t i = 0; i < rows; i++, x += ldx, y += ldy) {
        for (ptrdiff_t j = 0; j < n; j += VF_LANES) {
            const vm mask = vm_first(n - j);
            vf z = vf_load_first(x + j, mask);
            if (mean) z = vf_sub(z, vf_load_first(mean + j, mask));
            z = vf_mul(z, vf_load_first(scale + j, mask));
            if (weight) z = vf_mul(z, vf_load_first(weight + j, mask));
            if (bias) z = vf_add(z, vf_load_first(bias + j, mask));
            vf_store_first(y + j, z, mask);
        }
    }
}

/* plain_j = sum over rows of dy;  along_j = sum over rows of dy h with h = (x - mean_j) scale_j */
static void column_norm_sums(ptrdiff_t rows, ptrdiff_t n, const real *x, ptrdiff_t ldx, const real *mean,
                             const real *scale, const real *dy, ptrdiff_t lddy, real *plain, real *along) {
    for (ptrdiff_t j = 0; j < n; j += VF_LANES) {
        const vm mask = vm_first(n - j);
        const vf centre = vf_load_first(mean + j, mask), factor = vf_load_first(scale + j, mask);
        vf total_plain = vf_zero(), total_along = vf_zero();
        for (ptrdiff_t first = 0; first < rows; first += SUM_ROWS) {
            const ptrdiff_t end = rows - first < SUM_ROWS ? rows : first + SUM_ROWS;
            vf block_plain = vf_zero(), block_along = vf_zero();
            for (ptrdiff_t i = first; i < end; i++) {
                const vf d = vf_load_first(dy + i * lddy + j, mask);
                const vf h = vf_mul(vf_sub(vf_load_first(x + i * ldx + j, mask), centre), factor);
                block_plain = vf_add(block_plain, d);
                block_along = vf_fma(d, h, block_along);
            }
            total_plain = vf_add(total_plain, block_plain);
            total_along = vf_add(total_along, block_along);
        }
        vf_store_first(plain + j, total_plain, mask);
        vf_store_first(along + j, total_along, mask);
    }
}

/* dx = weight_j scale_j (dy - plain_j / count - h along_j / count), count being the rows of the whole batch. */
static void column_norm_backward(ptrdiff_t rows, ptrdiff_t n, const real *x, ptrdiff_t ldx, const real *mean,
                                 const real *scale, const real *weight, const real *plain, const real *along,
                                 ptrdiff_t count, const real *dy, ptrdiff_t lddy, real *dx, ptrdiff_t lddx) {
    const vf all = vf_set1((real)count);
    for (ptrdiff_t i = 0; i < rows; i++, x += ldx, dy += lddy, dx += lddx) {
        for (ptrdiff_t j = 0; j < n; j += VF_LANES) {
            const vm mask = vm_first(n - j);
            const vf factor = vf_load_first(scale + j, mask);
            const vf h = vf_mul(vf_sub(vf_load_first(x + j, mask), vf_load_first(mean + j, mask)), factor);
            const vf d = vf_sub(vf_load_first(dy + j, mask), vf_div(vf_load_first(plain + j, mask), all));
            const vf inner = vf_fnma(h, vf_div(vf_load_first(along + j, mask), all), d);
            const vf outer = vf_mul(vf_load_first(weight + j, mask), factor);
            vf_store_first(dx + j, vf_mul(outer, inner), mask);
        }
    }
}

/* ---- random masks and noise ---------------------------------------------------------------------------------- */

/* The numbers of a layer lie in one row after the other, as elements row.n + column of the batch: 16 Philox blocks
 * give DECISIONS decisions of 16 bits, or half as many words. */
enum { DECISIONS = 8 * PHILOX_LANES, NORMALS = 4 * PHILOX_LANES };

/* y = x scale where the element is kept, else 0, with probability keep / 65536 and scale its inverse: exactly unbiased.
 * The same call on dy gives dx. */
static void dropout(ptrdiff_t rows, ptrdiff_t n, const real *x, ptrdiff_t ldx, const fnn_place *place, uint32_t keep,
                    real *y, ptrdiff_t ldy) {
    const real scale = (real)(65536.0 / keep);
    real factors[DECISIONS];
    uint64_t made = UINT64_MAX; /* which group lies in factors */
    for (ptrdiff_t i = 0; i < rows; i++, x += ldx, y += ldy) {
        for (ptrdiff_t j = 0; j < n;) {
            const uint64_t element = ((uint64_t)place->row + (uint64_t)i) * (uint64_t)n + (uint64_t)j;
            const uint64_t group = element / DECISIONS;
            const ptrdiff_t in_group = (ptrdiff_t)(element % DECISIONS);
            if (group != made) {
                uint32_t words[4][PHILOX_LANES];
                philox_blocks(place->seed, place->stream, place->draw, place->first_block + group * PHILOX_LANES,
                              words);
                for (int w = 0; w < 4; w++) {
                    for (int lane = 0; lane < PHILOX_LANES; lane++) {
                        const int32_t low = (int32_t)(words[w][lane] & 0xffff), high = (int32_t)(words[w][lane] >> 16);
                        factors[w * PHILOX_LANES + lane] = low < (int32_t)keep ? scale : 0;
                        factors[DECISIONS / 2 + w * PHILOX_LANES + lane] = high < (int32_t)keep ? scale : 0;
                    }
                }
                made = group;
            }
            const ptrdiff_t left = n - j, some = left < DECISIONS - in_group ? left : DECISIONS - in_group;
            for (ptrdiff_t l = 0; l < some; l += VF_LANES) {
                const vm mask = vm_first(some - l);
                const vf factor = vf_load_first(factors + in_group + l, mask);
                vf_store_first(y + j + l, vf_mul(vf_load_first(x + j + l, mask), factor), mask);
            }
            j += some;
        }
    }
}

/* y = x + deviation times a normal number, the quantile of a uniform one in (0, 1). */
static void noise(ptrdiff_t rows, ptrdiff_t n, const real *x, ptrdiff_t ldx, const fnn_place *place, real deviation,
                  real *y, ptrdiff_t ldy) {
    const vf by = vf_set1(deviation);
    real normals[NORMALS];
    uint64_t made = UINT64_MAX;
    for (ptrdiff_t i = 0; i < rows; i++, x += ldx, y += ldy) {
        for (ptrdiff_t j = 0; j < n;) {
            const uint64_t element = ((uint64_t)place->row + (uint64_t)i) * (uint64_t)n + (uint64_t)j;
            const uint64_t group = element / NORMALS;
            const ptrdiff_t in_group = (ptrdiff_t)(element % NORMALS);
            if (group != made) {
                uint32_t words[4][PHILOX_LANES];
                philox_blocks(place->seed, place->stream, place->draw, place->first_block + group * PHILOX_LANES,
                              words);
                /* Odd multiples of 2^-24: exact in both types, and never 0 or 1. */
                for (int w = 0; w < 4; w++)
                    for (int lane = 0; lane < PHILOX_LANES; lane++)
                        normals[w * PHILOX_LANES + lane] =
                            (real)(int32_t)(words[w][lane] >> 9 << 1 | 1) * REAL(5.9604644775390625e-8);
                for (ptrdiff_t l = 0; l < NORMALS; l += VF_LANES)
                    vf_store(normals + l, vf_normal_quantile(vf_load(normals + l)));
                made = group;
            }
            const ptrdiff_t left = n - j, some = left < NORMALS - in_group ? left : NORMALS - in_group;
            for (ptrdiff_t l = 0; l < some; l += VF_LANES) {
                const vm mask = vm_first(some - l);
                const vf normal = vf_load_first(normals + in_group + l, mask);
                vf_store_first(y + j + l, vf_fma(normal, by, vf_load_first(x + j + l, mask)), mask);
            }
            j += some;
        }
    }
}

/* ---- embeddings: a row of a table for each category ------------------------------------------------------------ */

/* The row of a code; the last row is for every number that is none of 0, 1 .. categories - 1. */
FNN_INLINE ptrdiff_t row_of_code(real code, ptrdiff_t categories) {
    if (!(code >= 0 && code < (real)categories)) return categories;
    const ptrdiff_t row = (ptrdiff_t)code;
    return (real)row == code ? row : categories;
}

/* y_i = table[codes_i]; table (categories + 1, n) */
static void embedding_forward(ptrdiff_t rows, ptrdiff_t n, const real *codes, ptrdiff_t ldcodes, ptrdiff_t categories,
                              const real *table, real *y, ptrdiff_t ldy) {
    for (ptrdiff_t i = 0; i < rows; i++)
        copy(1, n, table + row_of_code(codes[i * ldcodes], categories) * n, n, 0, y + i * ldy, ldy);
}

/* Rows [first, last) of dtable = [dtable +] sum over the rows with that code of dy, in the order of the rows. */
static void embedding_gradient(ptrdiff_t rows, ptrdiff_t n, const real *codes, ptrdiff_t ldcodes, ptrdiff_t categories,
                               ptrdiff_t first, ptrdiff_t last, const real *dy, ptrdiff_t lddy, int accumulate,
                               real *dtable) {
    if (!accumulate)
        for (ptrdiff_t l = first * n; l < last * n; l++) dtable[l] = 0;
    for (ptrdiff_t i = 0; i < rows; i++) {
        const ptrdiff_t row = row_of_code(codes[i * ldcodes], categories);
        if (row >= first && row < last) copy(1, n, dy + i * lddy, lddy, 1, dtable + row * n, n);
    }
}

#endif
