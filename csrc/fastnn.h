/* fastnn.h: the interface of the C library; what the boundary (fastnn/_core.pyx) may call.
 *
 * A network is a flat list of operations over numbered buffers. The caller owns every byte: three flat dense vectors
 * (parameters, gradients, optimizer state) and one workspace whose size fnn_workspace_size() computes. Nothing here
 * allocates or knows Python; functions return what happened and never fail halfway. Sizes are counts of elements
 * unless a name says bytes. All matrices are row-major, one sample per row.
 */
#ifndef FASTNN_H
#define FASTNN_H

#include <stddef.h>
#include <stdint.h>

/* Changes whenever the bits of a result change; written into model files. */
#define FNN_NUMERICS_VERSION 2

/* ---- the network --------------------------------------------------------------------------------------------- */

typedef enum { FNN_FLOAT32 = 0, FNN_FLOAT64 = 1 } fnn_real_type;

/* What an operation computes; n is the number of columns of its output. */
typedef enum {
    FNN_DENSE = 0,       /* output = input . weight + bias */
    FNN_ACTIVATION = 1,  /* output = f(input), elementwise or by rows; in place where f allows it, but never on buffer 0 */
    FNN_PRELU = 2,       /* output = input where it is above 0, else weight (1, n) times it */
    FNN_DROPOUT = 3,     /* in training: 0 with probability `parameter`, else input / (1 - parameter) */
    FNN_NOISE = 4,       /* in training: output = input + parameter . normal number */
    FNN_LAYER_NORM = 5,  /* output = (input - mean) / sqrt(variance + parameter) . weight + bias, of each row */
    FNN_RMS_NORM = 6,    /* output = input / sqrt(mean of squares + parameter) . weight + bias, of each row */
    FNN_BATCH_NORM = 7,  /* as LAYER_NORM, of each column: over the batch in training, else running (in the state) */
    FNN_COPY = 8,        /* columns to.. of output = columns from.. of input, `count` of them */
    FNN_ADD = 9,         /* output = input + other */
    FNN_EMBEDDING = 10,  /* output = weight[code] for `count` columns of codes from column `from` of input on, side by
                          * side; weight (categories + 1, n / count), the last row for all but 0 .. categories - 1 */
    FNN_NORMALIZE = 11,  /* output = (input - mean) . scale, both (n) in the state */
    FNN_RESCALE = 12,    /* output = input . scale + shift; the last one, left out where a loss follows, which then
                          * compares with (target - mean) . factor: all four (n) in the state */
} fnn_op_kind;

typedef struct {
    int32_t kind;       /* fnn_op_kind */
    int32_t input;      /* number of the buffer it reads */
    int32_t output;     /* number of the buffer it writes; equal to input: in place */
    int32_t activation; /* ACTIVATION: index into fnn_activation_name() */
    int32_t weight;     /* segment of the weight: DENSE (inputs, units), others (1, n); -1: none */
    int32_t bias;       /* segment of the bias, (1, n); -1: none */
    int32_t other;      /* ADD: the second summand; LAYER_NORM, RMS_NORM: a buffer of two columns for mean and scale */
    int32_t adds;       /* COPY: its gradient adds to that of the input, because an operation further on reads it too */
    int32_t layer;      /* DROPOUT, NOISE: a number of its own, below FNN_MAX_RANDOM_LAYERS */
    ptrdiff_t from, to, count;
    ptrdiff_t state;    /* first element in the state: BATCH_NORM mean, variance; NORMALIZE mean, scale; RESCALE scale,
                         * shift, mean, factor */
    double parameter;   /* slope, alpha, probability, deviation or epsilon */
    double momentum;    /* BATCH_NORM: running = momentum . running + (1 - momentum) . batch */
} fnn_op;

#define FNN_MAX_RANDOM_LAYERS 4096

/* One tensor inside the flat parameter vector. */
typedef struct {
    ptrdiff_t offset;            /* first element */
    ptrdiff_t rows, columns;     /* row-major */
    double learning_rate_factor; /* multiplies the optimizer's learning rate */
    double l1, l2;               /* l1.|w| + l2.w^2 is added to the loss: l1.sign(w) + 2.l2.w to its gradient */
    int32_t decays;              /* decoupled weight decay applies (weights, not biases) */
    int32_t frozen;              /* never updated */
} fnn_segment;

typedef struct {
    int32_t real_type; /* fnn_real_type of parameters, activations and outputs */
    int32_t n_ops, n_buffers, n_segments;
    int32_t output;          /* number of the buffer that holds the network's output; buffer 0 is its input */
    const fnn_op *ops;       /* [n_ops], in the order of the forward pass */
    const ptrdiff_t *widths; /* [n_buffers], columns of each buffer */
    const fnn_segment *segments;
    ptrdiff_t n_params;
    ptrdiff_t n_state;       /* numbers behind the parameters that are not trained: running statistics, scales */
} fnn_network;

/* ---- data ---------------------------------------------------------------------------------------------------- */

typedef enum {
    FNN_BOOL, FNN_INT8, FNN_UINT8, FNN_INT16, FNN_UINT16, FNN_INT32, FNN_UINT32, FNN_INT64, FNN_UINT64,
    FNN_DATA_FLOAT16, FNN_DATA_FLOAT32, FNN_DATA_FLOAT64,
    FNN_CSR /* of X only: most numbers are 0; data is a fnn_csr, and strides mean nothing */
} fnn_data_type;

/* A caller's matrix, read where it lies and converted row by row. Any strides (0, negative, unaligned), native byte
 * order. */
typedef struct {
    const void *data;
    int32_t type; /* fnn_data_type */
    ptrdiff_t rows, columns;
    ptrdiff_t row_stride_bytes, column_stride_bytes;
} fnn_array;

/* A matrix in compressed rows: the numbers of row i that are not 0 are values[starts[i]] .. values[starts[i + 1] - 1], and
 * their columns the indices at the same places, in any order, each once. They are dense only while a batch is worked
 * on. Rows and columns that are not there are passed over: nobody else may write here, but nothing is believed. */
typedef struct {
    const void *values;  /* [n], side by side */
    const void *indices; /* [n] */
    const void *starts;  /* [rows + 1] */
    ptrdiff_t n;
    int32_t type; /* fnn_data_type of values, but FNN_CSR */
    int32_t wide; /* nonzero: indices and starts are int64_t, else int32_t */
} fnn_csr;

/* What the outputs are compared with: labels (class numbers, already checked to lie in [0, outputs)) or values
 * (rows, outputs). Exactly one is given. */
typedef struct {
    const int32_t *labels; /* [rows] or NULL */
    fnn_array values;      /* data NULL when labels are given */
} fnn_targets;

/* Of these arrays none is FNN_CSR: its values are an array of their own.
 *
 * The first element, counted row by row, that is not finite once converted to real_type; -1 when all are. */
ptrdiff_t fnn_first_nonfinite(const fnn_array *array, int real_type);
/* The first element, counted row by row, outside [low, high] or not a number; -1 when there is none. */
ptrdiff_t fnn_first_outside(const fnn_array *array, double low, double high);
/* Copies class numbers; the first element that is not a whole number in [0, classes), or -1. */
ptrdiff_t fnn_read_labels(const fnn_array *array, int32_t classes, int32_t *labels);

/* ---- loss and optimizer -------------------------------------------------------------------------------------- */

typedef struct {
    int32_t loss; /* index into fnn_loss_name() */
    /* The last operation (softmax, sigmoid) is folded into the loss, which then reads the logits. */
    int32_t joined;
    const double *parameters; /* of the loss: label smoothing, delta, gamma, or the quantile of each output */
    ptrdiff_t n_parameters;
} fnn_objective;

#define FNN_MAX_STATES 3
typedef struct {
    int32_t kind;        /* index into fnn_optimizer_name() */
    double hyper[8];     /* in the order of fnn_optimizer_hyper_name(); the learning rate is given per step */
    double weight_decay; /* w -= learning rate . weight_decay . w before each update, in segments that decay */
    /* Nonzero: penalties are added to the sum of the batch and not to its mean, so that they count less the larger the
     * batch is: l1 and l2 mean l1 / (sum of its weights) and l2 / (sum of its weights). */
    int32_t penalizes_sums;
    void *state;         /* (fnn_optimizer_states(kind), n_params), zeros at the start */
    /* The average of the parameters over updates, [n_params], or NULL: with s_n = average_decay s_(n-1) +
     * (1 - average_decay) p_n it is s_n / (1 - average_decay^n), which starts at the first p. */
    void *average;
    double average_decay;
    /* Raised by each update, never by one that was dropped: */
    int64_t step;     /* updates made so far */
    int64_t averaged; /* updates since the average was begun (0: begin it) */
    double product;   /* NAdam: of its momenta so far; means nothing at step 0 */
} fnn_optimizer;

/* ---- training ------------------------------------------------------------------------------------------------ */

typedef enum {
    FNN_FINISHED = 0,
    FNN_STOPPED = 1,     /* poll() asked to stop; the batch under way was dropped, parameters are those before it */
    FNN_DIVERGED = 2,    /* loss of the batch not finite: that batch's update was not applied */
    FNN_BAD_UPDATE = 3,  /* a parameter became not finite: the update of that batch stands in params */
    FNN_BAD_INPUT = 4,   /* prediction: an element of x is not finite; outputs and sums are unfinished */
} fnn_status;

/* What is known about the speed of steps on one thread and on all (pace.h); zeros at the start. */
typedef struct {
    double seconds[2]; /* of a step on all threads, and on one; 0: not known */
    int32_t alone;     /* the next steps are made on one */
    int32_t trial;     /* they are made so to find out */
    int32_t waking;    /* the next step finds threads asleep and caches cold: it is not counted */
    double spent;      /* in this period */
    ptrdiff_t steps;   /* in this period */
    double since_trial, next_trial; /* seconds since the last one, and how long after it the next is due */
} fnn_pace;

typedef struct {
    const fnn_network *network;
    fnn_objective objective;
    fnn_optimizer *optimizer;
    void *params, *grads;  /* [n_params + n_state], [n_params] */
    uint64_t draw;         /* number of the first step's batch: every batch has other random masks */
    void *workspace;       /* 64-byte aligned, fnn_workspace_size(network, FNN_USE_TRAIN, min(batch, x.rows), threads) bytes */
    fnn_array x;           /* (rows, widths[0]) */
    fnn_targets y;
    const double *weights; /* weight of each row; NULL: all 1 */
    void *outputs;         /* NULL, or (rows, outputs): gets each row's output as it was when its batch was trained */

    int32_t shuffle;       /* nonzero: order[] is filled with the permutation of (seed, epoch) first */
    uint64_t seed, epoch;
    int64_t *order;        /* [rows]; NULL: rows in order (then shuffle must be 0) */

    ptrdiff_t batch;       /* rows in a step; the last step of an epoch takes what is left */
    ptrdiff_t first_step, n_steps; /* which steps of the epoch to run */
    double loss_sum, weight_sum;   /* of the steps before, where the sums of the result go on: 0 at first */
    const double *learning_rates;  /* one for all (n_learning_rates 1) or one for each of the n_steps */
    ptrdiff_t n_learning_rates;

    /* Clipping of the mean gradient, penalties included: its norm over all segments that are not frozen, or each
     * element to [-clip_value, clip_value]. 0: none. */
    double clip_norm, clip_value;
    /* NULL, or [n_segments][3]: of the last step that first_step and n_steps ask for, the sums of squares of the mean
     * gradient (with penalties, not clipped), of the update (new - old), and of the old parameters. Zeros if that step
     * was not made. */
    double *segment_sums;

    int32_t threads;       /* exactly this many take part, if the system has them to give; results never depend on it */
    fnn_pace *pace;        /* not NULL: steps that are faster on one thread are made on one. Kept from call to call */
    int (*poll)(void *context); /* called by the calling thread at least every poll_seconds; nonzero: stop. May be NULL */
    void *poll_context;
    double poll_seconds;
} fnn_training;

typedef struct {
    int32_t status;         /* fnn_status */
    int32_t threads;        /* how many took part */
    ptrdiff_t steps;        /* completed */
    /* What they were, plus the sum over rows of weight . loss, of the completed steps (and of the diverged one), and in
     * networks with penalties weight_sum times the penalty of the parameters before each step. Once the penalty
     * instead, if the optimizer penalizes sums. Added step by step, so that an epoch in several calls has the sums of
     * one call. */
    double loss_sum;
    double weight_sum;
} fnn_training_result;

/* Steps first_step .. first_step + n_steps - 1 of one epoch: shuffle, gather, forward, loss, backward, update. */
void fnn_train(const fnn_training *training, fnn_training_result *result);

/* ---- the same in parts: the caller's own loop ---------------------------------------------------------------- */

typedef enum { FNN_USE_TRAIN, FNN_USE_PASS, FNN_USE_PREDICT, FNN_USE_PREDICTOR } fnn_use;

/* Bytes of workspace; 0 when the product of the sizes does not fit. */
size_t fnn_workspace_size(const fnn_network *network, int use, ptrdiff_t batch, int threads);

/* Which random masks a batch gets. */
typedef struct {
    uint64_t seed, draw;
} fnn_draw;

/* A forward pass over one batch, as in training, which keeps in the workspace (FNN_USE_PASS) what fnn_backward needs,
 * and updates running statistics behind the parameters. */
void fnn_forward(const fnn_network *network, void *params, const fnn_draw *draw, const fnn_array *x, void *workspace,
                 void *outputs, int threads);

/* doutputs (rows, outputs) -> grads (sums over rows; added to what is there when accumulate) and dx (rows, inputs)
 * unless NULL. params, draw and workspace as fnn_forward had and left them. doutputs must be finite or not: no check. */
void fnn_backward(const fnn_network *network, const void *params, const fnn_draw *draw, ptrdiff_t rows,
                  const void *doutputs, void *workspace, void *grads, int accumulate, void *dx, int threads);

/* One update of params from grads: gradient = grads . scale with penalties, clipped as in fnn_training. Returns
 * FNN_FINISHED or FNN_BAD_UPDATE. */
int fnn_update(const fnn_network *network, fnn_optimizer *optimizer, double learning_rate, double scale,
               double clip_norm, double clip_value, void *params, const void *grads);

/* sum of l1.|w| + l2.w^2 over all segments: what is added to the mean loss of the rows. */
double fnn_penalty(const fnn_network *network, const void *params);

/* The norm of grads over all segments that are not frozen. */
double fnn_gradient_norm(const fnn_network *network, const void *grads);

/* ---- prediction ---------------------------------------------------------------------------------------------- */

typedef struct {
    const fnn_network *network;
    const void *params;    /* [n_params + n_state] */
    void *workspace;       /* FNN_USE_PREDICT, with batch = x.rows */
    fnn_array x;
    void *outputs;         /* (rows, outputs), network's type, C order; may be NULL when losses are asked for */
    /* With objective not NULL: loss_sum and weight_sum over the rows as well. */
    const fnn_objective *objective;
    fnn_targets y;
    const double *weights;
    int32_t threads;
    int32_t checked; /* x may hold what is not finite: it is looked at on the way */
    int (*poll)(void *context);
    void *poll_context;
    double poll_seconds;
} fnn_prediction;

typedef struct {
    int32_t status; /* FNN_FINISHED, FNN_STOPPED or FNN_BAD_INPUT */
    int32_t threads;
    double loss_sum, weight_sum;
} fnn_prediction_result;

void fnn_predict(const fnn_prediction *prediction, fnn_prediction_result *result);

/* A frozen copy of the weights, laid out for one row at a time. memory is 64-byte aligned and self-contained: it may
 * be read by any number of threads at once. */
size_t fnn_predictor_size(const fnn_network *network);
typedef struct fnn_predictor fnn_predictor;
fnn_predictor *fnn_predictor_build(const fnn_network *network, const void *params, void *memory);
/* Bytes of scratch for so many rows at a time; few for one row. */
size_t fnn_predictor_scratch(const fnn_predictor *predictor, ptrdiff_t rows);
/* One row; scratch is 64-byte aligned; x and y may not overlap it, nor each other. */
void fnn_predictor_row(const fnn_predictor *predictor, const void *x, void *y, void *scratch);
/* rows x inputs -> rows x outputs, both C order, on the calling thread. */
void fnn_predictor_rows(const fnn_predictor *predictor, ptrdiff_t rows, const void *x, void *y, void *scratch);
/* One row, and the index of its largest output (of its first NaN, if it has one). scratch: as for one row, and room for
 * the outputs behind it. */
ptrdiff_t fnn_predictor_argmax(const fnn_predictor *predictor, const void *x, void *scratch);
/* Multiply-adds of one row: what the boundary decides by whether to keep the GIL. */
ptrdiff_t fnn_predictor_work(const fnn_predictor *predictor);

/* ---- the lists ----------------------------------------------------------------------------------------------- */

/* Names by index, NULL past the end. */
const char *fnn_activation_name(int index);
const char *fnn_loss_name(int index);
const char *fnn_optimizer_name(int index);
const char *fnn_optimizer_hyper_name(int kind, int index);
int fnn_optimizer_states(int kind);
/* The derivative is a function of the output (in place is allowed) and not of the input. */
int fnn_activation_in_place(int index);
/* It works element by element, not on whole rows. */
int fnn_activation_elementwise(int index);
/* It has a parameter, a slope or alpha. */
int fnn_activation_has_parameter(int index);

/* ---- random numbers (Philox 4x32-10) ------------------------------------------------------------------------- */

/* What a stream of numbers is for: part of the counter, so that streams never meet. */
typedef enum { FNN_STREAM_SHUFFLE = 1, FNN_STREAM_INITIAL = 2, FNN_STREAM_SPLIT = 3, FNN_STREAM_DROPOUT = 4,
               FNN_STREAM_NOISE = 5 } fnn_stream;

/* out[i] = word i of the stream (seed, stream, index), i = 0..n-1. */
void fnn_random_words(uint64_t seed, int stream, uint32_t index, ptrdiff_t n, uint32_t *out);
/* A permutation of 0..n-1: Fisher-Yates over the words of (seed, stream, index). */
void fnn_permutation(uint64_t seed, int stream, uint64_t index, ptrdiff_t n, int64_t *out);

/* ---- the process --------------------------------------------------------------------------------------------- */

/* Instruction sets compiled into this library, best first, NULL past the end; whether this processor runs them. */
const char *fnn_isa_name(int index);
int fnn_isa_supported(int index);
/* Chooses the kernels for all later calls; 0, or -1 for an unknown or unsupported name (nothing changed). NULL: best. */
int fnn_isa_select(const char *name);
const char *fnn_isa(void);

/* Threads worth using for work multiply-adds between two barriers, at most limit; once: all that a call does, so that
 * they must be woken for it. */
int fnn_threads_worth(double work, int limit, int once);
/* "posix", "openmp" or "serial". */
const char *fnn_threads_backend(void);

/* Stand-alone kernels, for tests and for whoever wants them: y[i] = f(x[i]). */
typedef enum { FNN_EXP, FNN_LOG, FNN_TANH, FNN_SIGMOID, FNN_NORMAL_QUANTILE } fnn_vector_function;
void fnn_vector(int real_type, int function, ptrdiff_t n, const void *x, void *y);

/* C (m, n) = start + A.B in the three uses of training, on the calling thread, for tests and benchmarks. All C order.
 * forward: A (m, k), B (k, n), start (n) or NULL; input: A (m, k), B (n, k): A.B^T; weight: A (k, m), B (k, n): A^T.B.
 * Operands are first brought into the layout they have in training (workspace: fnn_matmul_workspace() bytes, 64-byte
 * aligned), then the product runs `repeats` times; returns the seconds of the products alone. */
typedef enum { FNN_MATMUL_FORWARD, FNN_MATMUL_INPUT, FNN_MATMUL_WEIGHT } fnn_matmul_use;
size_t fnn_matmul_workspace(int real_type, int use, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k);
double fnn_matmul(int real_type, int use, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const void *a, const void *b,
                  const void *start, void *c, void *workspace, ptrdiff_t repeats);

/* GFLOP/s of a register-only loop of FMAs on the calling thread with the selected kernels, over about `seconds`. */
double fnn_fma_peak(int real_type, double seconds);

#endif
