# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, embedsignature=False
# cython: freethreading_compatible=True
# SPDX-License-Identifier: BSD-3-Clause
"""The boundary between Python and the C library: it checks, releases the GIL, and makes one C call.

No arithmetic happens here, and no allocation: every array is handed in by Python, which owns all memory. Whatever is
handed in, nothing here may crash: types, shapes, sizes and indices are checked before C sees a pointer. Messages in
this file are for the package's authors; what users read is said in ``inputs.py``. To reach a new C function: declare it
in _capi.pxd, wrap it in the section it belongs to, and add its signature to ``_core.pyi``.
"""

cimport numpy as cnp
from cpython.exc cimport PyErr_CheckSignals
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.ref cimport Py_INCREF
from libc.float cimport DBL_MAX
from libc.stddef cimport ptrdiff_t, size_t
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from fastnn._capi cimport *

cnp.import_array()


numerics_version = FNN_NUMERICS_VERSION
DENSE, ACTIVATION = FNN_DENSE, FNN_ACTIVATION
FINISHED, STOPPED, DIVERGED, BAD_UPDATE = FNN_FINISHED, FNN_STOPPED, FNN_DIVERGED, FNN_BAD_UPDATE
USE_TRAIN, USE_PASS, USE_PREDICT = FNN_USE_TRAIN, FNN_USE_PASS, FNN_USE_PREDICT
EXP, LOG, TANH, SIGMOID = FNN_EXP, FNN_LOG, FNN_TANH, FNN_SIGMOID
MATMUL_FORWARD, MATMUL_INPUT, MATMUL_WEIGHT = FNN_MATMUL_FORWARD, FNN_MATMUL_INPUT, FNN_MATMUL_WEIGHT
STREAM_SHUFFLE, STREAM_INITIAL, STREAM_SPLIT = FNN_STREAM_SHUFFLE, FNN_STREAM_INITIAL, FNN_STREAM_SPLIT

# Ctrl-C is answered within this many seconds.
cdef double POLL_SECONDS = 0.03
# Below this many multiply-adds (about 20 us) a predictor keeps the GIL: giving it back may cost a wait of 5 ms.
cdef ptrdiff_t WORK_UNDER_GIL = 400000
# Scratch of a predictor up to this size lies on the C stack.
cdef enum:
    STACK_SCRATCH = 8192
    STACK_OUTPUTS = 128
    ALIGNMENT = 64


# ---- arrays ---------------------------------------------------------------------------------------------------------

cdef int data_type(int typenum) noexcept nogil:
    """The fnn_data_type of a NumPy type number; -1 where C cannot read it."""
    if typenum == cnp.NPY_FLOAT32: return FNN_DATA_FLOAT32
    if typenum == cnp.NPY_FLOAT64: return FNN_DATA_FLOAT64
    if typenum == cnp.NPY_FLOAT16: return FNN_DATA_FLOAT16
    if typenum == cnp.NPY_BOOL: return FNN_BOOL
    if typenum == cnp.NPY_BYTE: return FNN_INT8
    if typenum == cnp.NPY_UBYTE: return FNN_UINT8
    if typenum == cnp.NPY_SHORT: return FNN_INT16
    if typenum == cnp.NPY_USHORT: return FNN_UINT16
    if typenum == cnp.NPY_INT: return FNN_INT32
    if typenum == cnp.NPY_UINT: return FNN_UINT32
    if typenum == cnp.NPY_LONG: return FNN_INT64 if sizeof(long) == 8 else FNN_INT32
    if typenum == cnp.NPY_ULONG: return FNN_UINT64 if sizeof(long) == 8 else FNN_UINT32
    if typenum == cnp.NPY_LONGLONG: return FNN_INT64
    if typenum == cnp.NPY_ULONGLONG: return FNN_UINT64
    return -1


cdef bint describe(object x, fnn_array *out) noexcept:
    """Fill out from a matrix, or from a vector as one column; False if C cannot read it where it lies."""
    if not cnp.PyArray_Check(x):
        return False
    cdef cnp.ndarray a = <cnp.ndarray>x
    cdef int ndim = cnp.PyArray_NDIM(a)
    out.type = data_type(cnp.PyArray_TYPE(a))
    if out.type < 0 or ndim < 1 or ndim > 2 or not cnp.PyArray_ISNOTSWAPPED(a):
        return False
    out.data = cnp.PyArray_DATA(a)
    out.rows = cnp.PyArray_DIM(a, 0)
    out.row_stride_bytes = cnp.PyArray_STRIDE(a, 0)
    out.columns = cnp.PyArray_DIM(a, 1) if ndim == 2 else 1
    out.column_stride_bytes = cnp.PyArray_STRIDE(a, 1) if ndim == 2 else cnp.PyArray_ITEMSIZE(a)
    return True


cdef int describe_or_raise(object x, fnn_array *out) except -1:
    if not describe(x, out):
        raise TypeError("not an array of 1 or 2 dimensions that C can read")
    return 0


cdef inline bint plain(object x, int typenum) noexcept:
    """Whether x is exactly an array which C may read as it is."""
    return (cnp.PyArray_CheckExact(x) and cnp.PyArray_TYPE(<cnp.ndarray>x) == typenum
            and cnp.PyArray_IS_C_CONTIGUOUS(<cnp.ndarray>x) and cnp.PyArray_ISALIGNED(<cnp.ndarray>x)
            and cnp.PyArray_ISNOTSWAPPED(<cnp.ndarray>x))


def readable(x):
    """Whether C can read the array where it lies: bool, integers and floats in native byte order, 1-D or 2-D."""
    cdef fnn_array a
    return bool(describe(x, &a))


cdef void *vector(object x, int typenum, Py_ssize_t size, bint writeable, str name) except NULL:
    """The data of a C-contiguous array of one type with at least `size` elements."""
    if not cnp.PyArray_Check(x):
        raise TypeError(f"{name}: not an array")
    cdef cnp.ndarray a = <cnp.ndarray>x
    if cnp.PyArray_TYPE(a) != typenum or not cnp.PyArray_ISNOTSWAPPED(a):
        raise TypeError(f"{name}: wrong dtype {a.dtype}")
    if not cnp.PyArray_IS_C_CONTIGUOUS(a) or not cnp.PyArray_ISALIGNED(a):
        raise ValueError(f"{name}: not C-contiguous and aligned")
    if writeable and not cnp.PyArray_ISWRITEABLE(a):
        raise ValueError(f"{name}: read-only")
    if size < 0 or cnp.PyArray_SIZE(a) < size:
        raise ValueError(f"{name}: {a.size} elements where {size} are needed")
    return cnp.PyArray_DATA(a)


cdef void *workspace_of(object x, size_t size) except NULL:
    cdef void *data = vector(x, cnp.NPY_UBYTE, 0, True, "workspace")
    if size == 0:
        raise MemoryError("the workspace would be larger than any memory")
    if <size_t>cnp.PyArray_SIZE(<cnp.ndarray>x) < size or <uintptr_t>data % ALIGNMENT:
        raise ValueError("workspace: too small or not aligned")
    return data


cdef int one_thread_or_more(int threads) except -1:
    if threads < 1:
        raise ValueError("threads: fewer than 1")
    return threads


def first_nonfinite(x, int real_type):
    """Index, counted row by row, of the first element that is not finite as float32 (0) or float64 (1); else -1."""
    cdef fnn_array a
    cdef ptrdiff_t index
    describe_or_raise(x, &a)
    with nogil:
        index = fnn_first_nonfinite(&a, real_type)
    return index


ctypedef fused number:
    int8_t
    uint8_t
    int16_t
    uint16_t
    int32_t
    uint32_t
    int64_t
    uint64_t
    float
    double


cdef ptrdiff_t scan(number kind, const fnn_array *a, double low, double high, int32_t *labels) noexcept nogil:
    """The first element outside [low, high], or, with labels, that is not an integer; else all are in labels."""
    cdef ptrdiff_t i, j
    cdef const char *row
    cdef number value = kind
    for i in range(a.rows):
        row = <const char *>a.data + i * a.row_stride_bytes
        for j in range(a.columns):
            memcpy(&value, row + j * a.column_stride_bytes, sizeof(number))
            if not (value >= low and value <= high):
                return i * a.columns + j
            if labels != NULL:
                labels[i * a.columns + j] = <int32_t>value
                if labels[i * a.columns + j] != value:
                    return i * a.columns + j
    return -1


cdef ptrdiff_t scan_any(const fnn_array *a, double low, double high, int32_t *labels) noexcept nogil:
    if a.type == FNN_BOOL or a.type == FNN_UINT8: return scan(<uint8_t>0, a, low, high, labels)
    if a.type == FNN_INT8: return scan(<int8_t>0, a, low, high, labels)
    if a.type == FNN_INT16: return scan(<int16_t>0, a, low, high, labels)
    if a.type == FNN_UINT16: return scan(<uint16_t>0, a, low, high, labels)
    if a.type == FNN_INT32: return scan(<int32_t>0, a, low, high, labels)
    if a.type == FNN_UINT32: return scan(<uint32_t>0, a, low, high, labels)
    if a.type == FNN_INT64: return scan(<int64_t>0, a, low, high, labels)
    if a.type == FNN_UINT64: return scan(<uint64_t>0, a, low, high, labels)
    if a.type == FNN_DATA_FLOAT32: return scan(<float>0, a, low, high, labels)
    if a.type == FNN_DATA_FLOAT64: return scan(<double>0, a, low, high, labels)
    return -2  # float16: the caller widens it first


def read_labels(y, int classes, int32_labels):
    """Copy class numbers into int32_labels; the index of the first that is no integer in [0, classes), or -1."""
    cdef fnn_array a
    cdef ptrdiff_t index
    describe_or_raise(y, &a)
    cdef int32_t *labels = <int32_t *>vector(int32_labels, cnp.NPY_INT32, a.rows * a.columns, True, "labels")
    with nogil:
        index = scan_any(&a, 0, classes - 1, labels)
    if index == -2:
        raise TypeError("float16 must be widened first")
    return index


def first_outside(y, double low, double high):
    """Index, counted row by row, of the first element outside [low, high]; -1 when there is none."""
    cdef fnn_array a
    cdef ptrdiff_t index
    describe_or_raise(y, &a)
    with nogil:
        index = scan_any(&a, low, high, NULL)
    if index == -2:
        raise TypeError("float16 must be widened first")
    return index


# ---- the network ----------------------------------------------------------------------------------------------------

cdef class Network:
    """A checked, immutable copy of a list of operations and its table of segments."""
    cdef fnn_network c
    cdef fnn_op *ops
    cdef ptrdiff_t *widths
    cdef fnn_segment *segments
    cdef int typenum
    cdef readonly int real_type
    cdef readonly Py_ssize_t inputs, outputs, n_params, itemsize

    def __cinit__(self, int real_type, list ops, list widths, list segments, int output):
        cdef Py_ssize_t i
        if real_type not in (FNN_FLOAT32, FNN_FLOAT64):
            raise ValueError("real_type")
        self.ops = <fnn_op *>PyMem_Calloc(len(ops) + 1, sizeof(fnn_op))
        self.widths = <ptrdiff_t *>PyMem_Calloc(len(widths) + 1, sizeof(ptrdiff_t))
        self.segments = <fnn_segment *>PyMem_Calloc(len(segments) + 1, sizeof(fnn_segment))
        if self.ops == NULL or self.widths == NULL or self.segments == NULL:
            raise MemoryError()
        for i in range(len(widths)):
            self.widths[i] = widths[i]
            if self.widths[i] < 1:
                raise ValueError("a buffer has no columns")
        self.n_params = self._copy_segments(segments)
        for i in range(len(ops)):
            self._copy_op(i, ops[i], len(widths), len(segments))
        if not 0 <= output < len(widths):
            raise ValueError("output")
        self.real_type = real_type
        self.typenum = cnp.NPY_FLOAT32 if real_type == FNN_FLOAT32 else cnp.NPY_FLOAT64
        self.itemsize = 4 if real_type == FNN_FLOAT32 else 8
        self.inputs, self.outputs = self.widths[0], self.widths[output]
        self.c.real_type = real_type
        self.c.n_ops, self.c.n_buffers, self.c.n_segments = len(ops), len(widths), len(segments)
        self.c.output = output
        self.c.ops, self.c.widths, self.c.segments = self.ops, self.widths, self.segments
        self.c.n_params = self.n_params

    cdef Py_ssize_t _copy_segments(self, list segments) except -1:
        cdef Py_ssize_t i, total = 0
        cdef fnn_segment *s
        for i in range(len(segments)):
            s = &self.segments[i]
            s.offset, s.rows, s.columns, s.learning_rate_factor, s.l1, s.l2, s.decays, s.frozen = segments[i]
            if s.offset != total or s.rows < 1 or s.columns < 1:
                raise ValueError("segments must follow each other without gaps")
            if s.rows > (<size_t>-1 >> 1) // 64 // s.columns - total // s.columns:
                raise MemoryError("the parameters would be larger than any memory")
            total += s.rows * s.columns
        return total

    cdef int _copy_op(self, Py_ssize_t i, tuple op, Py_ssize_t n_buffers, Py_ssize_t n_segments) except -1:
        cdef fnn_op *o = &self.ops[i]
        cdef fnn_segment *w
        o.kind, o.input, o.output, o.activation, o.weight, o.bias = op
        if not (0 <= o.input < n_buffers and 0 <= o.output < n_buffers):
            raise ValueError("an operation names a buffer that does not exist")
        if o.kind == FNN_DENSE:
            if not (0 <= o.weight < n_segments and -1 <= o.bias < n_segments):
                raise ValueError("an operation names a segment that does not exist")
            w = &self.segments[o.weight]
            if w.rows != self.widths[o.input] or w.columns != self.widths[o.output] or o.input == o.output:
                raise ValueError("a weight does not fit its buffers")
            if o.bias >= 0 and self.segments[o.bias].rows * self.segments[o.bias].columns != w.columns:
                raise ValueError("a bias does not fit its weight")
        elif o.kind == FNN_ACTIVATION:
            if not 0 <= o.activation < len(activation_names()):
                raise ValueError("an operation names an activation that does not exist")
            if self.widths[o.input] != self.widths[o.output] or o.output == 0:
                raise ValueError("an activation does not fit its buffers")
            if o.input == o.output and not fnn_activation_in_place(o.activation):
                raise ValueError("an activation cannot work in place")
        else:
            raise ValueError("an operation of unknown kind")
        return 0

    def __dealloc__(self):
        PyMem_Free(self.ops)
        PyMem_Free(self.widths)
        PyMem_Free(self.segments)

    def workspace_size(self, int use, Py_ssize_t batch, int threads):
        """Bytes of workspace for a use; 0 when no memory is large enough."""
        if batch < 1 or threads < 1:
            raise ValueError("batch and threads must be at least 1")
        return fnn_workspace_size(&self.c, use, batch, threads)

    def predictor_size(self):
        """Bytes of a predictor's memory."""
        return fnn_predictor_size(&self.c)


cdef int set_x(fnn_array *to, object x, Network network) except -1:
    describe_or_raise(x, to)
    if to.columns != network.inputs:
        raise ValueError(f"x: {to.columns} columns where {network.inputs} are needed")
    return 0


cdef int set_targets(fnn_targets *to, object labels, object values, Py_ssize_t rows, Network network) except -1:
    """Exactly one of labels and values, for as many rows as x has. Labels are trusted to be in range by their maker."""
    cdef ptrdiff_t index
    cdef fnn_array check
    to.labels = NULL
    to.values.data = NULL
    if (labels is None) == (values is None):
        raise ValueError("exactly one of labels and values must be given")
    if labels is not None:
        to.labels = <const int32_t *>vector(labels, cnp.NPY_INT32, rows, False, "labels")
        describe_or_raise(labels, &check)
        with nogil:
            index = scan_any(&check, 0, <double>(network.outputs - 1), NULL)
        if index != -1:
            raise ValueError("a label is out of range")
        return 0
    describe_or_raise(values, &to.values)
    if to.values.rows != rows or to.values.columns != network.outputs:
        raise ValueError("values: wrong shape")
    return 0


cdef int set_objective(fnn_objective *to, object objective) except -1:
    """objective: (number of the loss, joined, parameters)."""
    cdef int i
    cdef tuple parameters
    to.loss, to.joined, parameters = objective
    if not 0 <= to.loss < len(loss_names()) or len(parameters) > 4:
        raise ValueError("objective")
    for i in range(4):
        to.parameters[i] = parameters[i] if i < len(parameters) else 0.0
    return 0


# ---- the optimizer's state ------------------------------------------------------------------------------------------

cdef class OptimizerState:
    """What an optimizer remembers about one network: its state vectors and the number of updates made."""
    cdef fnn_optimizer c
    cdef Network network
    cdef readonly object array
    cdef readonly str name

    def __init__(self, Network network not None, str name not None, array):
        cdef int kind = optimizer_names().index(name)
        if fnn_optimizer_states(kind) > FNN_MAX_STATES:
            raise ValueError("too many states")
        self.c.state = vector(array, network.typenum, fnn_optimizer_states(kind) * network.n_params, True, "state")
        self.c.kind = kind
        self.network, self.array, self.name = network, array, name

    @property
    def step(self):
        """Updates made so far."""
        return self.c.step

    @step.setter
    def step(self, int64_t value):
        self.c.step = value

    def set_hyper(self, tuple values not None):
        """The hyper-parameters in the order of optimizer_hyper_names."""
        cdef Py_ssize_t i
        if len(values) > 8:
            raise ValueError("too many hyper-parameters")
        for i in range(len(values)):
            self.c.hyper[i] = values[i]


# ---- training -------------------------------------------------------------------------------------------------------

cdef class Interruptible:
    """The context of a poll: remembers the exception a signal handler raised while C was at work."""
    cdef object error

    cdef int reraise(self) except -1:
        cdef object error = self.error
        if error is not None:
            self.error = None
            raise error
        return 0


cdef int poll_signals(void *context) noexcept with gil:
    cdef Interruptible call = <Interruptible>context
    try:
        PyErr_CheckSignals()
        return 0
    except BaseException as error:
        call.error = error
        return 1


cdef class Training(Interruptible):
    """Everything fnn_train needs; bound to data by bind(), run by run(), or both for one batch by step()."""
    cdef fnn_training c
    cdef Network network
    cdef OptimizerState optimizer
    cdef object params, grads, workspace, keep, label_buffer
    cdef size_t workspace_bytes
    cdef double learning_rate, unit_low, unit_high
    cdef bint check_order, takes_labels, checks_range
    cdef ptrdiff_t n_rows
    cdef readonly int threads

    def __init__(self, Network network not None, objective, OptimizerState optimizer not None, params, grads,
                 workspace, Py_ssize_t batch, int threads):
        if batch < 1:
            raise ValueError("batch: fewer than 1 row")
        set_objective(&self.c.objective, objective)
        if optimizer.network.n_params != network.n_params or optimizer.network.typenum != network.typenum:
            raise ValueError("optimizer: the state of another network")
        self.c.params = vector(params, network.typenum, network.n_params, True, "params")
        self.c.grads = vector(grads, network.typenum, network.n_params, True, "grads")
        self.threads = one_thread_or_more(threads)
        workspace_of(workspace, fnn_workspace_size(&network.c, FNN_USE_TRAIN, batch, threads))
        self.c.workspace = cnp.PyArray_DATA(<cnp.ndarray>workspace)
        self.c.network, self.c.optimizer, self.c.batch, self.c.threads = &network.c, &optimizer.c, batch, threads
        self.network, self.optimizer = network, optimizer
        self.params, self.grads, self.workspace = params, grads, workspace

    def bind(self, x, labels, values, weights, outputs, order, bint shuffle, uint64_t seed):
        """The data of an epoch. An order that is not shuffled here may name some of the rows of x only."""
        cdef fnn_array x_array
        cdef fnn_targets y
        cdef double *weights_data = NULL
        cdef void *outputs_data = NULL
        cdef int64_t *order_data = NULL
        cdef ptrdiff_t rows
        set_x(&x_array, x, self.network)
        rows = x_array.rows
        if rows < 1:
            raise ValueError("x: no rows")
        set_targets(&y, labels, values, rows, self.network)
        if weights is not None:
            weights_data = <double *>vector(weights, cnp.NPY_FLOAT64, rows, False, "weights")
        if outputs is not None:
            outputs_data = vector(outputs, self.network.typenum, rows * self.network.outputs, True, "outputs")
        if order is not None:
            order_data = <int64_t *>vector(order, cnp.NPY_INT64, 1, True, "order")
            if order.size > rows or (shuffle and order.size != rows):
                raise ValueError("order: wrong size")
        elif shuffle:
            raise ValueError("shuffle needs an order")
        self.n_rows = rows
        x_array.rows = rows if order is None else order.size
        self.c.x, self.c.y, self.c.weights, self.c.outputs = x_array, y, weights_data, outputs_data
        self.c.order, self.c.shuffle, self.c.seed = order_data, shuffle, seed
        self.check_order = order is not None and not shuffle
        self.keep = (x, labels, values, weights, outputs, order)

    def run(self, uint64_t epoch, Py_ssize_t first_step, Py_ssize_t n_steps, double learning_rate, bint poll=True):
        """Some steps of an epoch -> (status, threads, steps, loss_sum, weight_sum); raises what a signal raised."""
        cdef fnn_training_result result
        cdef fnn_training c = self.c
        cdef ptrdiff_t i
        cdef bint bad = False
        if self.keep is None:
            raise ValueError("no data bound")
        if first_step < 0 or n_steps < 0 or (first_step + n_steps - 1) * c.batch >= c.x.rows:
            raise ValueError("no such steps")
        if self.check_order:
            with nogil:
                for i in range(c.x.rows):
                    bad = bad or c.order[i] < 0 or c.order[i] >= self.n_rows
            if bad:
                raise ValueError("order: no such row")
        c.shuffle = c.shuffle and first_step == 0  # later steps go on in the order of the first
        c.epoch, c.first_step, c.n_steps = epoch, first_step, n_steps
        self.learning_rate = learning_rate
        c.learning_rates, c.n_learning_rates = &self.learning_rate, 1
        if poll:
            c.poll, c.poll_context, c.poll_seconds = poll_signals, <void *>self, POLL_SECONDS
        with nogil:
            fnn_train(&c, &result)
        self.reraise()
        return result.status, result.threads, result.steps, result.loss_sum, result.weight_sum

    def release(self):
        """Let go of the data: nothing of the caller's is kept alive by a plan that waits for the next step."""
        self.keep = None

    def prepare_steps(self, label_buffer, bint checks_range):
        """How step() treats y: as labels (a buffer for them is given), or as values, in [0, 1] if that is checked."""
        if label_buffer is not None:
            vector(label_buffer, cnp.NPY_INT32, self.c.batch, True, "labels")
        self.label_buffer, self.checks_range = label_buffer, checks_range

    def step(self, x, y, weights, double learning_rate):
        """One update from one batch -> (status, loss), or None where x or y need the long way round."""
        cdef fnn_training c = self.c
        cdef fnn_training_result result
        cdef fnn_array y_array, weights_array
        cdef ptrdiff_t bad = -1
        cdef int32_t *labels = NULL
        if not describe(x, &c.x) or not describe(y, &y_array):
            return None
        if c.x.rows != c.batch or c.x.columns != self.network.inputs or cnp.PyArray_NDIM(<cnp.ndarray>x) != 2:
            return None
        if y_array.rows != c.batch:
            return None
        if weights is not None and not (plain(weights, cnp.NPY_FLOAT64) and describe(weights, &weights_array)
                                        and weights_array.rows == c.batch
                                        and cnp.PyArray_NDIM(<cnp.ndarray>weights) == 1):
            return None
        if self.label_buffer is not None:
            if y_array.columns != 1:
                return None
            labels = <int32_t *>cnp.PyArray_DATA(<cnp.ndarray>self.label_buffer)
        elif y_array.columns != self.network.outputs:
            return None
        c.y.labels, c.y.values, c.outputs, c.order, c.shuffle = labels, y_array, NULL, NULL, 0
        c.weights = <double *>weights_array.data if weights is not None else NULL
        if labels != NULL:
            c.y.values.data = NULL
        c.epoch, c.first_step, c.n_steps = 0, 0, 1
        c.learning_rates, c.n_learning_rates = &learning_rate, 1
        c.poll = NULL
        with nogil:
            bad = fnn_first_nonfinite(&c.x, self.network.real_type)
            if bad < 0 and labels != NULL:
                bad = 0 if scan_any(&y_array, 0, <double>(self.network.outputs - 1), labels) != -1 else -1
            elif bad < 0:
                bad = fnn_first_nonfinite(&y_array, self.network.real_type)
                if bad < 0 and self.checks_range:
                    bad = 0 if scan_any(&y_array, 0, 1, NULL) != -1 else -1
            if bad < 0 and c.weights != NULL:
                bad = 0 if scan_any(&weights_array, 0, DBL_MAX, NULL) != -1 else -1
            if bad < 0:
                fnn_train(&c, &result)
        if bad >= 0:
            return None
        return result.status, result.loss_sum / result.weight_sum if result.weight_sum else 0.0


# ---- the same in parts ----------------------------------------------------------------------------------------------

def forward(Network network not None, params, x, workspace, outputs, int threads):
    """A forward pass that keeps in the workspace what backward needs."""
    cdef fnn_array x_array
    set_x(&x_array, x, network)
    if x_array.rows < 1:
        raise ValueError("x: no rows")
    one_thread_or_more(threads)
    cdef void *p = vector(params, network.typenum, network.n_params, False, "params")
    cdef void *y = vector(outputs, network.typenum, x_array.rows * network.outputs, True, "outputs")
    cdef void *w = workspace_of(workspace, fnn_workspace_size(&network.c, FNN_USE_PASS, x_array.rows, threads))
    with nogil:
        fnn_forward(&network.c, p, &x_array, w, y, threads)


def backward(Network network not None, params, Py_ssize_t rows, doutputs, workspace, grads, bint accumulate, dx,
             int threads):
    """The gradients of the pass that forward left in the workspace, with the same rows and threads."""
    if rows < 1:
        raise ValueError("rows")
    one_thread_or_more(threads)
    cdef void *p = vector(params, network.typenum, network.n_params, False, "params")
    cdef void *d = vector(doutputs, network.typenum, rows * network.outputs, False, "doutputs")
    cdef void *g = vector(grads, network.typenum, network.n_params, True, "grads")
    cdef void *to = NULL
    if dx is not None:
        to = vector(dx, network.typenum, rows * network.inputs, True, "dx")
    cdef void *w = workspace_of(workspace, fnn_workspace_size(&network.c, FNN_USE_PASS, rows, threads))
    with nogil:
        fnn_backward(&network.c, p, rows, d, w, g, accumulate, to, threads)


def update(Network network not None, OptimizerState optimizer not None, double learning_rate, double scale, params,
           grads):
    """One optimizer step with gradient = grads * scale -> status."""
    cdef int status
    if optimizer.network.n_params != network.n_params or optimizer.network.typenum != network.typenum:
        raise ValueError("optimizer: the state of another network")
    cdef void *p = vector(params, network.typenum, network.n_params, True, "params")
    cdef void *g = vector(grads, network.typenum, network.n_params, False, "grads")
    with nogil:
        status = fnn_update(&network.c, &optimizer.c, learning_rate, scale, p, g)
    return status


# ---- prediction -----------------------------------------------------------------------------------------------------

def predict(Network network not None, params, x, outputs, workspace, int threads, objective=None, labels=None,
            values=None, weights=None):
    """Outputs of all rows, and with an objective their loss -> (threads, loss_sum, weight_sum)."""
    cdef fnn_prediction c
    cdef fnn_prediction_result result
    cdef fnn_objective asked
    cdef Interruptible call = Interruptible()
    set_x(&c.x, x, network)
    c.network = &network.c
    c.params = vector(params, network.typenum, network.n_params, False, "params")
    c.threads = one_thread_or_more(threads)
    if c.x.rows < 1:
        raise ValueError("x: no rows")
    c.workspace = workspace_of(workspace, fnn_workspace_size(&network.c, FNN_USE_PREDICT, c.x.rows, threads))
    c.outputs = NULL
    if outputs is not None:
        c.outputs = vector(outputs, network.typenum, c.x.rows * network.outputs, True, "outputs")
    c.objective, c.y.labels, c.y.values.data, c.weights = NULL, NULL, NULL, NULL
    if objective is not None:
        set_objective(&asked, objective)
        c.objective = &asked
        set_targets(&c.y, labels, values, c.x.rows, network)
        if weights is not None:
            c.weights = <double *>vector(weights, cnp.NPY_FLOAT64, c.x.rows, False, "weights")
    elif outputs is None:
        raise ValueError("nothing asked for")
    c.poll, c.poll_context, c.poll_seconds = poll_signals, <void *>call, POLL_SECONDS
    with nogil:
        fnn_predict(&c, &result)
    call.reraise()
    return result.threads, result.loss_sum, result.weight_sum


# ---- the predictor: one row, as fast as the machine allows ----------------------------------------------------------
# A type of our own, made by hand, because Cython's classes are not called through vectorcall under the limited API: a
# call costs 13 ns instead of 30, and 17 instead of 80 with out=. Arrays are read by NumPy's macros (2 ns) and not as
# memoryviews (100 ns). Nothing is written per call except the result, so any number of threads may call at once.

cdef extern from *:
    """
    #include "structmember.h"
    typedef struct {
        PyObject_HEAD
        void *vectorcall;
        PyObject *weights;
    } FastnnPredictor;
    #ifndef Py_TPFLAGS_HAVE_VECTORCALL /* in the limited API from 3.12 on, in every interpreter since 3.8 */
    #define Py_TPFLAGS_HAVE_VECTORCALL (1UL << 11)
    #endif
    #define FASTNN_VECTORCALL_OFFSET ((Py_ssize_t)offsetof(FastnnPredictor, vectorcall))
    #define FASTNN_NARGS(n) ((n) & ~((size_t)1 << (8 * sizeof(size_t) - 1)))
    """
    ctypedef struct FastnnPredictor:
        void *vectorcall
        void *weights
    const unsigned int Py_TPFLAGS_HAVE_VECTORCALL
    const Py_ssize_t FASTNN_VECTORCALL_OFFSET
    size_t FASTNN_NARGS(size_t nargsf) noexcept

cdef extern from "Python.h":
    ctypedef struct PyObject:
        pass
    ctypedef struct PyTypeObject:
        pass
    ctypedef struct PyMemberDef:
        const char *name
        int type
        Py_ssize_t offset
        int flags
        const char *doc
    ctypedef struct PyMethodDef:
        const char *ml_name
        void *ml_meth
        int ml_flags
        const char *ml_doc
    ctypedef struct PyGetSetDef:
        const char *name
        void *get
        void *set
        const char *doc
        void *closure
    ctypedef struct PyType_Slot:
        int slot
        void *pfunc
    ctypedef struct PyType_Spec:
        const char *name
        int basicsize
        int itemsize
        unsigned int flags
        PyType_Slot *slots
    int Py_tp_call, Py_tp_dealloc, Py_tp_doc, Py_tp_getset, Py_tp_members, Py_tp_methods, Py_tp_repr
    int T_PYSSIZET, READONLY, METH_O
    unsigned int Py_TPFLAGS_DEFAULT, Py_TPFLAGS_DISALLOW_INSTANTIATION, Py_TPFLAGS_IMMUTABLETYPE
    object PyType_FromSpec(PyType_Spec *spec)
    PyObject *PyType_GenericAlloc(PyTypeObject *type, Py_ssize_t n) except NULL
    void PyObject_Free(void *memory)
    PyTypeObject *Py_TYPE(PyObject *o)
    void Py_DECREF(PyObject *o)
    void Py_XDECREF(PyObject *o)


cdef class PredictorWeights:
    """What a predictor reads: the frozen weights, and what to call for input that needs a longer way."""
    cdef Network network
    cdef fnn_predictor *built
    cdef object memory, convert, many_rows
    cdef size_t scratch_of_one
    cdef ptrdiff_t work, inputs, outputs, many_work
    cdef int typenum


cdef inline ptrdiff_t rows_of(PredictorWeights w, object x) noexcept:
    """Rows of an array (1 for a vector); -1 where its shape does not fit."""
    cdef int ndim = cnp.PyArray_NDIM(<cnp.ndarray>x)
    if ndim == 1:
        return 1 if cnp.PyArray_DIM(<cnp.ndarray>x, 0) == w.inputs else -1
    if ndim == 2:
        return cnp.PyArray_DIM(<cnp.ndarray>x, 0) if cnp.PyArray_DIM(<cnp.ndarray>x, 1) == w.inputs else -1
    return -1


cdef int compute(PredictorWeights w, ptrdiff_t rows, const void *x, void *y) except -1:
    """y (rows, outputs) from x (rows, inputs), with scratch from the stack when it is small."""
    cdef char on_stack[STACK_SCRATCH + ALIGNMENT]
    cdef char *memory = on_stack
    cdef void *scratch
    cdef size_t size = w.scratch_of_one if rows == 1 else fnn_predictor_scratch(w.built, rows)
    if size > STACK_SCRATCH:
        memory = <char *>malloc(size + ALIGNMENT)
        if memory == NULL:
            raise MemoryError()
    scratch = <void *>(<uintptr_t>(memory + ALIGNMENT - 1) & ~<uintptr_t>(ALIGNMENT - 1))
    if rows == 1 and w.work < WORK_UNDER_GIL:
        fnn_predictor_row(w.built, x, y, scratch)
    elif rows < WORK_UNDER_GIL // (w.work + 1):
        fnn_predictor_rows(w.built, rows, x, y, scratch)
    else:
        with nogil:
            fnn_predictor_rows(w.built, rows, x, y, scratch)
    if memory != on_stack:
        free(memory)
    return 0


cdef int check_out(PredictorWeights w, object out, int ndim, ptrdiff_t rows) except -1:
    cdef bint fits
    if not cnp.PyArray_Check(out) or not cnp.PyArray_TYPE(<cnp.ndarray>out) == w.typenum:
        raise TypeError(f"out must be an array of dtype {'float32' if w.network.itemsize == 4 else 'float64'}")
    fits = cnp.PyArray_NDIM(<cnp.ndarray>out) == ndim
    fits = fits and cnp.PyArray_DIM(<cnp.ndarray>out, ndim - 1) == w.outputs
    fits = fits and (ndim == 1 or cnp.PyArray_DIM(<cnp.ndarray>out, 0) == rows)
    if not fits:
        needed = f"({w.outputs},)" if ndim == 1 else f"({rows}, {w.outputs})"
        raise ValueError(f"out has shape {out.shape}, the result has shape {needed}")
    if not (cnp.PyArray_IS_C_CONTIGUOUS(<cnp.ndarray>out) and cnp.PyArray_ISALIGNED(<cnp.ndarray>out)
            and cnp.PyArray_ISNOTSWAPPED(<cnp.ndarray>out) and cnp.PyArray_ISWRITEABLE(<cnp.ndarray>out)):
        raise ValueError("out must be C-contiguous, aligned, in native byte order and writeable")
    return 0


cdef inline bint overlap(object a, object b) noexcept:
    cdef uintptr_t first = <uintptr_t>cnp.PyArray_DATA(<cnp.ndarray>a)
    cdef uintptr_t second = <uintptr_t>cnp.PyArray_DATA(<cnp.ndarray>b)
    return (first < second + <uintptr_t>cnp.PyArray_NBYTES(<cnp.ndarray>b)
            and second < first + <uintptr_t>cnp.PyArray_NBYTES(<cnp.ndarray>a))


cdef object run_predictor(PredictorWeights w, object x, object out):
    cdef cnp.npy_intp shape[2]
    cdef ptrdiff_t rows = -1
    cdef int ndim
    if plain(x, w.typenum):
        rows = rows_of(w, x)
    if rows < 0:
        x = w.convert(x)  # raises where x cannot be made to fit
        if not plain(x, w.typenum) or rows_of(w, x) < 0:
            raise TypeError("x was not converted")
        rows = rows_of(w, x)
    ndim = cnp.PyArray_NDIM(<cnp.ndarray>x)
    if out is not None:
        check_out(w, out, ndim, rows)
        if overlap(x, out):
            x = x.copy()
    elif ndim == 1:
        shape[0] = w.outputs
        out = cnp.PyArray_SimpleNew(1, shape, w.typenum)
    else:
        shape[0], shape[1] = rows, w.outputs
        out = cnp.PyArray_SimpleNew(2, shape, w.typenum)
    if ndim == 2 and rows > w.many_work // (w.work + 1):
        w.many_rows(x, out)
    elif rows > 0:
        compute(w, rows, cnp.PyArray_DATA(<cnp.ndarray>x), cnp.PyArray_DATA(<cnp.ndarray>out))
    return out


cdef object predictor_call(PyObject *self, PyObject **args, size_t nargsf, PyObject *kwnames):
    """f(x), f(x, out), f(x, out=out): the vectorcall entry."""
    cdef PredictorWeights w = <PredictorWeights>(<FastnnPredictor *>self).weights
    cdef size_t n = FASTNN_NARGS(nargsf)
    if kwnames == NULL:
        if n == 1:
            return run_predictor(w, <object>args[0], None)
        if n == 2:
            return run_predictor(w, <object>args[0], <object>args[1])
    elif n == 1 and <tuple>kwnames == ("out",):
        return run_predictor(w, <object>args[0], <object>args[1])
    raise TypeError("a predictor takes an array and, optionally, out=: f(x) or f(x, out=y)")


cdef object predictor_tp_call(PyObject *self, PyObject *args, PyObject *kwargs):
    """The same for callers that come with a tuple and a dictionary."""
    cdef PredictorWeights w = <PredictorWeights>(<FastnnPredictor *>self).weights
    cdef tuple positional = <tuple>args
    cdef dict named = {} if kwargs == NULL else <dict>kwargs
    if len(positional) == 2 and not named:
        return run_predictor(w, positional[0], positional[1])
    if len(positional) == 1 and (not named or list(named) == ["out"]):
        return run_predictor(w, positional[0], named.get("out"))
    raise TypeError("a predictor takes an array and, optionally, out=: f(x) or f(x, out=y)")


ctypedef fused real:
    float
    double


cdef ptrdiff_t largest(const real *y, ptrdiff_t n) noexcept:
    """The index of the first largest element; of the first NaN, as numpy.argmax."""
    cdef ptrdiff_t i, best = 0
    for i in range(n):
        if y[i] != y[i]:
            return i
        if y[i] > y[best]:
            best = i
    return best


cdef object predictor_argmax(PyObject *self, PyObject *x):
    """f.argmax(x): without an array for the outputs."""
    cdef PredictorWeights w = <PredictorWeights>(<FastnnPredictor *>self).weights
    cdef double y[STACK_OUTPUTS]
    if (w.outputs > STACK_OUTPUTS or not plain(<object>x, w.typenum) or cnp.PyArray_NDIM(<cnp.ndarray>x) != 1
            or rows_of(w, <object>x) < 0):
        outputs = run_predictor(w, <object>x, None)
        return int(outputs.argmax()) if outputs.ndim == 1 else outputs.argmax(axis=1)
    compute(w, 1, cnp.PyArray_DATA(<cnp.ndarray>x), y)
    if w.typenum == cnp.NPY_FLOAT32:
        return largest(<const float *>y, w.outputs)
    return largest(<const double *>y, w.outputs)


cdef object predictor_inputs(PyObject *self, void *closure):
    return (<PredictorWeights>(<FastnnPredictor *>self).weights).inputs


cdef object predictor_outputs(PyObject *self, void *closure):
    return (<PredictorWeights>(<FastnnPredictor *>self).weights).outputs


cdef object predictor_repr(PyObject *self):
    cdef PredictorWeights w = <PredictorWeights>(<FastnnPredictor *>self).weights
    return f"<fastnn predictor: {w.inputs} inputs, {w.outputs} outputs, float{8 * w.network.itemsize}>"


cdef void predictor_dealloc(PyObject *self) noexcept:
    cdef PyTypeObject *type = Py_TYPE(self)
    Py_XDECREF(<PyObject *>(<FastnnPredictor *>self).weights)
    PyObject_Free(self)
    Py_DECREF(<PyObject *>type)


cdef PyMemberDef predictor_members[2]
predictor_members[0] = PyMemberDef(b"__vectorcalloffset__", T_PYSSIZET, FASTNN_VECTORCALL_OFFSET, READONLY, NULL)
cdef PyMethodDef predictor_methods[2]
predictor_methods[0] = PyMethodDef(b"argmax", <void *>predictor_argmax, METH_O,
                                   b"argmax($self, x, /)\n--\n\n"
                                   b"The index of the largest output of one row, as an int; of many rows, an array.")
cdef PyGetSetDef predictor_getset[3]
predictor_getset[0] = PyGetSetDef(b"inputs", <void *>predictor_inputs, NULL, b"Numbers in a row of input.", NULL)
predictor_getset[1] = PyGetSetDef(b"outputs", <void *>predictor_outputs, NULL, b"Numbers in a row of output.", NULL)
cdef PyType_Slot predictor_slots[8]
predictor_slots[0] = PyType_Slot(Py_tp_call, <void *>predictor_tp_call)
predictor_slots[1] = PyType_Slot(Py_tp_dealloc, <void *>predictor_dealloc)
predictor_slots[2] = PyType_Slot(Py_tp_members, <void *>predictor_members)
predictor_slots[3] = PyType_Slot(Py_tp_methods, <void *>predictor_methods)
predictor_slots[4] = PyType_Slot(Py_tp_getset, <void *>predictor_getset)
predictor_slots[5] = PyType_Slot(Py_tp_repr, <void *>predictor_repr)
predictor_slots[6] = PyType_Slot(Py_tp_doc, <void *>(<const char *>(
    b"A frozen copy of a network's weights: f(x) or f(x, out=y). Made by Sequential.predictor().")))
cdef PyType_Spec predictor_spec
predictor_spec.name = b"fastnn._core.Predictor"
predictor_spec.basicsize = sizeof(FastnnPredictor)
predictor_spec.itemsize = 0
predictor_spec.flags = (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_DISALLOW_INSTANTIATION
                        | Py_TPFLAGS_IMMUTABLETYPE)
predictor_spec.slots = predictor_slots
Predictor = PyType_FromSpec(&predictor_spec)


def make_predictor(Network network not None, params, memory, convert, many_rows, Py_ssize_t many_work):
    """A predictor over its own copy of params in memory.

    convert(x) makes an array of the network's dtype, (inputs,) or (rows, inputs), or raises; many_rows(x, out) is
    called for inputs of more than many_work multiply-adds.
    """
    cdef PredictorWeights w = PredictorWeights()
    cdef FastnnPredictor *predictor
    cdef void *p = vector(params, network.typenum, network.n_params, False, "params")
    cdef void *m = workspace_of(memory, fnn_predictor_size(&network.c))
    with nogil:
        w.built = fnn_predictor_build(&network.c, p, m)
    w.network, w.memory, w.convert, w.many_rows = network, memory, convert, many_rows
    w.scratch_of_one, w.work = fnn_predictor_scratch(w.built, 1), fnn_predictor_work(w.built)
    w.inputs, w.outputs, w.typenum, w.many_work = network.inputs, network.outputs, network.typenum, many_work
    predictor = <FastnnPredictor *>PyType_GenericAlloc(<PyTypeObject *>Predictor, 0)
    predictor.vectorcall = <void *>predictor_call
    Py_INCREF(w)
    predictor.weights = <void *>w
    result = <object>predictor  # a new reference beside the one the allocation gave
    Py_DECREF(<PyObject *>predictor)
    return result


# ---- the lists ------------------------------------------------------------------------------------------------------

cdef tuple names_of(const char *(*name)(int) noexcept nogil):
    cdef list names = []
    while name(len(names)) != NULL:
        names.append((<bytes>name(len(names))).decode("ascii"))
    return tuple(names)


def activation_names():
    """The activations of the C library, in its order."""
    return names_of(fnn_activation_name)


def loss_names():
    """The losses of the C library, in its order."""
    return names_of(fnn_loss_name)


def optimizer_names():
    """The optimizers of the C library, in its order."""
    return names_of(fnn_optimizer_name)


def optimizer_hyper_names(str name not None):
    """The hyper-parameters of an optimizer, beside the learning rate, in the order C reads them."""
    cdef int kind = optimizer_names().index(name)
    cdef list names = []
    while fnn_optimizer_hyper_name(kind, len(names)) != NULL:
        names.append((<bytes>fnn_optimizer_hyper_name(kind, len(names))).decode("ascii"))
    return tuple(names)


def optimizer_states(str name not None):
    """How many state vectors, each as long as the parameters, an optimizer keeps."""
    return fnn_optimizer_states(optimizer_names().index(name))


def activation_in_place(int index):
    """Whether an activation may overwrite its input."""
    return 0 <= index < len(activation_names()) and fnn_activation_in_place(index) != 0


# ---- random numbers -------------------------------------------------------------------------------------------------

def random_words(uint64_t seed, int stream, uint32_t index, out):
    """Fill a uint32 array with the first words of the stream (seed, stream, index)."""
    cdef ptrdiff_t n
    cdef uint32_t *data = <uint32_t *>vector(out, cnp.NPY_UINT32, 0, True, "out")
    n = out.size
    with nogil:
        fnn_random_words(seed, stream, index, n, data)


def permutation(uint64_t seed, int stream, uint64_t index, out):
    """Fill an int64 array of n elements with a permutation of 0..n-1."""
    cdef ptrdiff_t n
    cdef int64_t *data = <int64_t *>vector(out, cnp.NPY_INT64, 0, True, "out")
    n = out.size
    with nogil:
        fnn_permutation(seed, stream, index, n, data)


# ---- the process ----------------------------------------------------------------------------------------------------

def isa_names():
    """The instruction sets compiled in, best first."""
    return names_of(fnn_isa_name)


def isa_supported(str name not None):
    """Whether this processor has the instruction set."""
    return fnn_isa_supported(isa_names().index(name)) != 0


def isa_select(str name=None):
    """Choose the kernels of all later calls; None is the best this processor has. True when that was possible."""
    cdef bytes encoded
    if name is None:
        return fnn_isa_select(NULL) == 0
    encoded = name.encode("utf-8")
    return fnn_isa_select(encoded) == 0


def isa():
    """The instruction set in use."""
    return (<bytes>fnn_isa()).decode("ascii")


def threads_worth(double work, int limit):
    """Threads worth using for so many multiply-adds between two barriers, at most limit."""
    return fnn_threads_worth(work, limit)


def threads_backend():
    """"posix", "openmp" or "serial"."""
    return (<bytes>fnn_threads_backend()).decode("ascii")


# ---- kernels by themselves, for tests and benchmarks ----------------------------------------------------------------

cdef int real_type_of(object x) except -1:
    if cnp.PyArray_Check(x) and cnp.PyArray_TYPE(<cnp.ndarray>x) == cnp.NPY_FLOAT32:
        return FNN_FLOAT32
    if cnp.PyArray_Check(x) and cnp.PyArray_TYPE(<cnp.ndarray>x) == cnp.NPY_FLOAT64:
        return FNN_FLOAT64
    raise TypeError("not a float32 or float64 array")


def vector_function(int function, x, y):
    """y = f(x) elementwise; f is EXP, LOG, TANH or SIGMOID."""
    cdef int real_type = real_type_of(x)
    cdef int typenum = cnp.PyArray_TYPE(<cnp.ndarray>x)
    if not FNN_EXP <= function <= FNN_SIGMOID:
        raise ValueError("function")
    cdef ptrdiff_t n = x.size
    cdef void *from_ = vector(x, typenum, n, False, "x")
    cdef void *to = vector(y, typenum, n, True, "y")
    with nogil:
        fnn_vector(real_type, function, n, from_, to)


def matmul_workspace(int real_type, int use, Py_ssize_t m, Py_ssize_t n, Py_ssize_t k):
    """Bytes of workspace of matmul."""
    return fnn_matmul_workspace(real_type, use, m, n, k)


def matmul(int use, a, b, start, c, workspace, Py_ssize_t repeats=1):
    """c = start + a.b, a.b^T or a^T.b, as training uses them (shapes as in fastnn.h) -> seconds of the products."""
    cdef int real_type = real_type_of(a)
    cdef int typenum = cnp.PyArray_TYPE(<cnp.ndarray>a)
    cdef Py_ssize_t m, n, k
    cdef double seconds
    if use not in (FNN_MATMUL_FORWARD, FNN_MATMUL_INPUT, FNN_MATMUL_WEIGHT):
        raise ValueError("use")
    if a.ndim != 2 or b.ndim != 2 or c.ndim != 2:
        raise ValueError("a, b and c must have two dimensions")
    m, n = c.shape
    k = a.shape[0] if use == FNN_MATMUL_WEIGHT else a.shape[1]
    if a.shape != ((k, m) if use == FNN_MATMUL_WEIGHT else (m, k)):
        raise ValueError("a: wrong shape")
    if b.shape != ((n, k) if use == FNN_MATMUL_INPUT else (k, n)):
        raise ValueError("b: wrong shape")
    cdef void *a_data = vector(a, typenum, m * k, False, "a")
    cdef void *b_data = vector(b, typenum, n * k, False, "b")
    cdef void *c_data = vector(c, typenum, m * n, True, "c")
    cdef void *start_data = NULL
    cdef void *work = NULL
    if start is not None:
        start_data = vector(start, typenum, n, False, "start")
    if fnn_matmul_workspace(real_type, use, m, n, k):
        work = workspace_of(workspace, fnn_matmul_workspace(real_type, use, m, n, k))
    if repeats < 1:
        raise ValueError("repeats")
    with nogil:
        seconds = fnn_matmul(real_type, use, m, n, k, a_data, b_data, start_data, c_data, work, repeats)
    return seconds


def fma_peak(int real_type, double seconds):
    """GFLOP/s of one core in a loop of fused multiply-adds on registers."""
    cdef double peak
    with nogil:
        peak = fnn_fma_peak(real_type, seconds)
    return peak
