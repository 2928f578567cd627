/* kernels.c: all kernels of one instruction set and one real type, behind one table.
 *
 * Compiled once per set (FNN_ISA, FNN_ISA_<SET>) and type (FNN_REAL) with that set's flags. Everything is static but
 * the table: nothing compiled for one set can be linked into another.
 */
/* SPDX-License-Identifier: BSD-3-Clause */
#define FNN_KERNELS 1
#include "kernels.h"

#include "../simd/simd.h"
#include "../simd/transpose.h"
#include "../simd/vector_math.h"
#include "activations.h"
#include "arrays.h"
#include "layers.h"
#include "losses.h"
#include "matmul.h"
#include "optimizers.h"
#include "sums.h"

#define STRING2(name) #name
#define STRING(name) STRING2(name)

#if FNN_REAL == 32
#define TABLE_NAME FNN_CONCAT(FNN_CONCAT(fnn_kernels_, FNN_ISA), _f32)
#else
#define TABLE_NAME FNN_CONCAT(FNN_CONCAT(fnn_kernels_, FNN_ISA), _f64)
#endif

extern const FNN_TYPED(fnn_kernels) TABLE_NAME;
const FNN_TYPED(fnn_kernels) TABLE_NAME = {
    .isa = STRING(FNN_ISA),
    .lanes = VF_LANES,
    .panel_columns = PANEL,
    .tile_rows = TILE_ROWS,
    .matmul = matmul,
    .matmul_transposed = matmul_transposed,
#if VF_LANES > 1
    .matmul_transposed_zeros = matmul_transposed_zeros,
#else /* one lane wins nothing that would be worth a larger library */
    .matmul_transposed_zeros = matmul_transposed,
#endif
    .matmul_transposed_thin = matmul_transposed_thin,
    .matmul_thin = matmul_thin,
    .matmul_row = matmul_row,
    .matmul_row_plain = matmul_row_plain,
    .column_sums = column_sums,
    .add = add,
    .pack = pack,
    .pack_transposed = pack_transposed,
    .copy = copy,
    .all_finite = all_finite,
    .sum = sum,
    .prelu_forward = prelu_forward,
    .prelu_backward = prelu_backward,
    .prelu_slope_gradient = prelu_slope_gradient,
    .row_norm_forward = row_norm_forward,
    .row_norm_backward = row_norm_backward,
    .row_norm_weight_gradient = row_norm_weight_gradient,
    .column_moments = column_moments,
    .column_norm_forward = column_norm_forward,
    .column_norm_sums = column_norm_sums,
    .column_norm_backward = column_norm_backward,
    .dropout = dropout,
    .noise = noise,
    .embedding_forward = embedding_forward,
    .embedding_gradient = embedding_gradient,
    .activation_forward = activation_forward,
    .activation_backward = activation_backward,
    .loss = loss_kernels,
    .update = update_kernels,
    .squares = squares,
    .penalty = penalty,
    .vector = vector_functions,
    .fma_loop = fma_loop,
};
