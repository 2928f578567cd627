# SPDX-License-Identifier: BSD-3-Clause
"""csrc/fastnn.h as Cython sees it: types, numbers and functions under their C names, for _core.pyx alone.

A declaration here is checked by the C compiler against the header, so the two cannot drift apart unnoticed.
"""

from libc.stddef cimport ptrdiff_t, size_t
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t


cdef extern from "fastnn.h" nogil:
    enum:
        FNN_NUMERICS_VERSION
        FNN_MAX_STATES
    enum:
        FNN_FLOAT32, FNN_FLOAT64
        FNN_DENSE, FNN_ACTIVATION, FNN_PRELU, FNN_DROPOUT, FNN_NOISE, FNN_LAYER_NORM, FNN_RMS_NORM, FNN_BATCH_NORM
        FNN_COPY, FNN_ADD, FNN_EMBEDDING, FNN_NORMALIZE, FNN_RESCALE
        FNN_MAX_RANDOM_LAYERS
        FNN_BOOL, FNN_INT8, FNN_UINT8, FNN_INT16, FNN_UINT16, FNN_INT32, FNN_UINT32, FNN_INT64, FNN_UINT64
        FNN_DATA_FLOAT16, FNN_DATA_FLOAT32, FNN_DATA_FLOAT64, FNN_CSR
        FNN_FINISHED, FNN_STOPPED, FNN_DIVERGED, FNN_BAD_UPDATE, FNN_BAD_INPUT
        FNN_USE_TRAIN, FNN_USE_PASS, FNN_USE_PREDICT
        FNN_EXP, FNN_LOG, FNN_TANH, FNN_SIGMOID, FNN_NORMAL_QUANTILE
        FNN_MATMUL_FORWARD, FNN_MATMUL_INPUT, FNN_MATMUL_WEIGHT
        FNN_STREAM_SHUFFLE, FNN_STREAM_INITIAL, FNN_STREAM_SPLIT, FNN_STREAM_DROPOUT, FNN_STREAM_NOISE

    ctypedef struct fnn_op:
        int32_t kind, input, output, activation, weight, bias, other, adds, layer
        ptrdiff_t start "from"
        ptrdiff_t to, count, state
        double parameter, momentum

    ctypedef struct fnn_segment:
        ptrdiff_t offset, rows, columns
        double learning_rate_factor, l1, l2
        int32_t decays, frozen

    ctypedef struct fnn_network:
        int32_t real_type, n_ops, n_buffers, n_segments, output
        const fnn_op *ops
        const ptrdiff_t *widths
        const fnn_segment *segments
        ptrdiff_t n_params, n_state

    ctypedef struct fnn_draw:
        uint64_t seed, draw

    ctypedef struct fnn_array:
        const void *data
        int32_t type
        ptrdiff_t rows, columns, row_stride_bytes, column_stride_bytes

    ctypedef struct fnn_csr:
        const void *values
        const void *indices
        const void *starts
        ptrdiff_t n
        int32_t type, wide

    ctypedef struct fnn_targets:
        const int32_t *labels
        fnn_array values

    ctypedef struct fnn_objective:
        int32_t loss, joined
        const double *parameters
        ptrdiff_t n_parameters

    ctypedef struct fnn_optimizer:
        int32_t kind
        double hyper[8]
        double weight_decay
        int32_t penalizes_sums
        void *state
        void *average
        double average_decay
        int64_t step, averaged
        double product

    ctypedef struct fnn_pace:
        int32_t alone

    ctypedef struct fnn_training:
        const fnn_network *network
        fnn_objective objective
        fnn_optimizer *optimizer
        void *params
        void *grads
        uint64_t draw
        void *workspace
        fnn_array x
        fnn_targets y
        const double *weights
        void *outputs
        int32_t shuffle
        uint64_t seed, epoch
        int64_t *order
        ptrdiff_t batch, first_step, n_steps
        double loss_sum, weight_sum
        const double *learning_rates
        ptrdiff_t n_learning_rates
        double clip_norm, clip_value
        double *segment_sums
        int32_t threads
        fnn_pace *pace
        int (*poll)(void *) noexcept
        void *poll_context
        double poll_seconds

    ctypedef struct fnn_training_result:
        int32_t status, threads
        ptrdiff_t steps
        double loss_sum, weight_sum

    ctypedef struct fnn_prediction:
        const fnn_network *network
        const void *params
        void *workspace
        fnn_array x
        void *outputs
        const fnn_objective *objective
        fnn_targets y
        const double *weights
        int32_t threads, checked
        int (*poll)(void *) noexcept
        void *poll_context
        double poll_seconds

    ctypedef struct fnn_prediction_result:
        int32_t status, threads
        double loss_sum, weight_sum

    ctypedef struct fnn_predictor:
        pass

    ptrdiff_t fnn_first_nonfinite(const fnn_array *array, int real_type)
    ptrdiff_t fnn_first_outside(const fnn_array *array, double low, double high)
    ptrdiff_t fnn_read_labels(const fnn_array *array, int32_t classes, int32_t *labels)
    void fnn_train(const fnn_training *training, fnn_training_result *result)
    size_t fnn_workspace_size(const fnn_network *network, int use, ptrdiff_t batch, int threads)
    void fnn_forward(const fnn_network *network, void *params, const fnn_draw *draw, const fnn_array *x,
                     void *workspace, void *outputs, int threads)
    void fnn_backward(const fnn_network *network, const void *params, const fnn_draw *draw, ptrdiff_t rows,
                      const void *doutputs, void *workspace, void *grads, int accumulate, void *dx, int threads)
    int fnn_update(const fnn_network *network, fnn_optimizer *optimizer, double learning_rate, double scale,
                   double clip_norm, double clip_value, void *params, const void *grads)
    double fnn_penalty(const fnn_network *network, const void *params)
    double fnn_gradient_norm(const fnn_network *network, const void *grads)
    void fnn_predict(const fnn_prediction *prediction, fnn_prediction_result *result)
    size_t fnn_predictor_size(const fnn_network *network)
    fnn_predictor *fnn_predictor_build(const fnn_network *network, const void *params, void *memory)
    size_t fnn_predictor_scratch(const fnn_predictor *predictor, ptrdiff_t rows)
    void fnn_predictor_row(const fnn_predictor *predictor, const void *x, void *y, void *scratch)
    void fnn_predictor_rows(const fnn_predictor *predictor, ptrdiff_t rows, const void *x, void *y, void *scratch)
    ptrdiff_t fnn_predictor_argmax(const fnn_predictor *predictor, const void *x, void *scratch)
    ptrdiff_t fnn_predictor_work(const fnn_predictor *predictor)
    const char *fnn_activation_name(int index)
    const char *fnn_loss_name(int index)
    const char *fnn_optimizer_name(int index)
    const char *fnn_optimizer_hyper_name(int kind, int index)
    int fnn_optimizer_states(int kind)
    int fnn_activation_in_place(int index)
    void fnn_random_words(uint64_t seed, int stream, uint32_t index, ptrdiff_t n, uint32_t *out)
    void fnn_permutation(uint64_t seed, int stream, uint64_t index, ptrdiff_t n, int64_t *out)
    const char *fnn_isa_name(int index)
    int fnn_isa_supported(int index)
    int fnn_isa_select(const char *name)
    const char *fnn_isa()
    int fnn_threads_worth(double work, int limit, int once)
    const char *fnn_threads_backend()
    void fnn_vector(int real_type, int function, ptrdiff_t n, const void *x, void *y)
    size_t fnn_matmul_workspace(int real_type, int use, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k)
    double fnn_matmul(int real_type, int use, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const void *a, const void *b,
                      const void *start, void *c, void *workspace, ptrdiff_t repeats)
    double fnn_fma_peak(int real_type, double seconds)
