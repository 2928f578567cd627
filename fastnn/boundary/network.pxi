# SPDX-License-Identifier: BSD-3-Clause
# A network's description and an optimizer's state, copied and checked. Included by _core.pyx.

# ---- the network ----------------------------------------------------------------------------------------------------

cdef class Network:
    """A checked, immutable copy of a list of operations and its table of segments."""
    cdef fnn_network c
    cdef fnn_op *ops
    cdef ptrdiff_t *widths
    cdef fnn_segment *segments
    cdef int typenum
    cdef readonly int real_type
    cdef readonly Py_ssize_t inputs, outputs, n_params, n_state, itemsize
    cdef Py_ssize_t n_numbers  # parameters and state, which lie behind each other

    def __cinit__(self, int real_type, list ops, list widths, list segments, int output, Py_ssize_t n_state=0):
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
        if not 0 <= n_state <= <Py_ssize_t>((<size_t>-1 >> 1) // 64) - self.n_params:
            raise MemoryError("the state would be larger than any memory")
        self.n_state, self.n_numbers = n_state, self.n_params + n_state
        self.c.n_ops, self.c.n_buffers, self.c.n_segments = len(ops), len(widths), len(segments)
        self.c.n_params, self.c.n_state = self.n_params, n_state
        for i in range(len(ops)):
            self._copy_op(i, ops[i])
        self._check_owners()
        if not 0 <= output < len(widths):
            raise ValueError("output")
        self.real_type = real_type
        self.typenum = cnp.NPY_FLOAT32 if real_type == FNN_FLOAT32 else cnp.NPY_FLOAT64
        self.itemsize = 4 if real_type == FNN_FLOAT32 else 8
        self.inputs, self.outputs = self.widths[0], self.widths[output]
        self.c.real_type = real_type
        self.c.output = output
        self.c.ops, self.c.widths, self.c.segments = self.ops, self.widths, self.segments
        for i in range(len(ops)):
            if self.ops[i].kind == FNN_RESCALE and (i != len(ops) - 1 or self.ops[i].output != output):
                raise ValueError("only the last operation may rescale")

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

    cdef int _copy_op(self, Py_ssize_t i, tuple op) except -1:
        """One operation, which may only name what exists: C checks nothing."""
        cdef fnn_op *o = &self.ops[i]
        cdef ptrdiff_t n, k
        (o.kind, o.input, o.output, o.activation, o.weight, o.bias, o.other, o.adds, o.layer, o.start, o.to, o.count,
         o.state, o.parameter, o.momentum) = op
        if not (0 <= o.input < self.c.n_buffers and 1 <= o.output < self.c.n_buffers):
            raise ValueError("an operation names a buffer that does not exist, or writes the input")
        k, n = self.widths[o.input], self.widths[o.output]
        if o.kind == FNN_DENSE:
            self._check_weight(o, k, n)
        elif o.kind == FNN_ACTIVATION:
            if not 0 <= o.activation < len(activation_names()):
                raise ValueError("an operation names an activation that does not exist")
            if k != n:
                raise ValueError("an activation does not fit its buffers")
            if o.input == o.output and not fnn_activation_in_place(o.activation):
                raise ValueError("an activation cannot work in place")
            return self._check_no_weight(o)
        elif o.kind in (FNN_PRELU, FNN_LAYER_NORM, FNN_RMS_NORM, FNN_BATCH_NORM):
            self._check_weight(o, 1, n)
            self._check_norm(o, k, n)
        elif o.kind == FNN_EMBEDDING:
            if not (0 <= o.weight < self.c.n_segments and o.bias == -1 and 0 <= o.start
                    and 1 <= o.count <= k - o.start):
                raise ValueError("an embedding names what does not exist")
            if n % o.count or self.segments[o.weight].columns != n // o.count or self.segments[o.weight].rows < 2:
                raise ValueError("an embedding does not fit its buffer")
        else:
            self._check_no_weight(o)
            self._check_simple(o, k, n)
        if o.input == o.output:
            raise ValueError("an operation cannot work in place")
        return 0

    cdef int _check_weight(self, fnn_op *o, ptrdiff_t rows, ptrdiff_t columns) except -1:
        if not (0 <= o.weight < self.c.n_segments and -1 <= o.bias < self.c.n_segments):
            raise ValueError("an operation names a segment that does not exist")
        if self.segments[o.weight].rows != rows or self.segments[o.weight].columns != columns:
            raise ValueError("a weight does not fit its buffers")
        if o.bias >= 0 and self.segments[o.bias].rows * self.segments[o.bias].columns != columns:
            raise ValueError("a bias does not fit its weight")
        return 0

    cdef int _check_no_weight(self, fnn_op *o) except -1:
        if o.weight != -1 or o.bias != -1:
            raise ValueError("an operation names a weight that it has not")
        return 0

    cdef int _check_norm(self, fnn_op *o, ptrdiff_t k, ptrdiff_t n) except -1:
        if k != n or (o.kind == FNN_PRELU and o.bias != -1):
            raise ValueError("a norm does not fit its buffers")
        if o.kind in (FNN_LAYER_NORM, FNN_RMS_NORM):
            if not 1 <= o.other < self.c.n_buffers or o.other in (o.input, o.output) or self.widths[o.other] != 2:
                raise ValueError("a norm needs a buffer of two columns")
        if o.kind == FNN_BATCH_NORM:
            self._check_state(o, 2, n)
            if not 0 <= o.momentum <= 1:
                raise ValueError("momentum")
        if o.kind != FNN_PRELU and not 0 < o.parameter < DBL_MAX:
            raise ValueError("epsilon")
        return 0

    cdef int _check_state(self, fnn_op *o, ptrdiff_t rows, ptrdiff_t n) except -1:
        if not 0 <= o.state <= self.n_state or rows * n > self.n_state - o.state:
            raise ValueError("an operation names state that does not exist")
        return 0

    cdef int _check_simple(self, fnn_op *o, ptrdiff_t k, ptrdiff_t n) except -1:
        if o.kind == FNN_COPY:
            if o.start < 0 or o.to < 0 or o.count < 1 or o.start > k - o.count or o.to > n - o.count:
                raise ValueError("columns that do not exist")
        elif k != n:
            raise ValueError("an operation does not fit its buffers")
        if o.kind in (FNN_COPY, FNN_DROPOUT, FNN_NOISE) and o.output <= o.input:
            raise ValueError("what may lie where its input does must come behind it")
        if o.kind in (FNN_DROPOUT, FNN_NOISE):
            if not 0 <= o.layer < FNN_MAX_RANDOM_LAYERS or not 0 <= o.parameter < DBL_MAX:
                raise ValueError("layer or parameter")
            if o.kind == FNN_DROPOUT and not o.parameter < 1:
                raise ValueError("probability")
        elif o.kind == FNN_ADD:
            if not 0 <= o.other < self.c.n_buffers or self.widths[o.other] != n or o.other == o.output:
                raise ValueError("a summand does not fit")
        elif o.kind == FNN_NORMALIZE:
            self._check_state(o, 2, n)
        elif o.kind == FNN_RESCALE:
            self._check_state(o, 4, n)
        elif o.kind != FNN_COPY:
            raise ValueError("an operation of unknown kind")
        return 0

    cdef int _check_owners(self) except -1:
        """Every segment belongs to one operation."""
        cdef Py_ssize_t i
        named = [self.ops[i].weight for i in range(self.c.n_ops)] + [self.ops[i].bias for i in range(self.c.n_ops)]
        for i in range(self.c.n_segments):
            if named.count(i) != 1:
                raise ValueError("a segment must belong to one operation")
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
    if isinstance(x, CompressedRows):
        (<CompressedRows>x).describe(to)
    else:
        describe_or_raise(x, to)
    if to.columns != network.inputs:
        raise ValueError(f"x: {to.columns} columns where {network.inputs} are needed")
    return 0


cdef class Objective:
    """A loss as C takes it, (number of the loss, joined, parameters, columns of y); owns the parameters."""
    cdef fnn_objective c
    cdef double *parameters
    cdef ptrdiff_t columns

    def __cinit__(self, int loss, bint joined, tuple parameters not None, Py_ssize_t columns):
        cdef Py_ssize_t i
        if not 0 <= loss < len(loss_names()):
            raise ValueError("no such loss")
        self.parameters = <double *>PyMem_Calloc(len(parameters) + 1, sizeof(double))
        if self.parameters == NULL:
            raise MemoryError()
        for i in range(len(parameters)):
            self.parameters[i] = parameters[i]
        self.c.loss, self.c.joined = loss, joined
        self.c.parameters, self.c.n_parameters = self.parameters, len(parameters)
        self.columns = columns

    cdef int check(self, Network network) except -1:
        """C reads one parameter, or one for each output, and folds the last activation into a joined loss."""
        if self.c.joined and (network.c.n_ops < 1 or network.ops[network.c.n_ops - 1].kind != FNN_ACTIVATION
                              or network.ops[network.c.n_ops - 1].output != network.c.output):
            raise ValueError("objective: there is no last activation to join")
        if self.c.n_parameters > 1 and self.c.n_parameters != network.outputs:
            raise ValueError("one parameter, or one for each output")
        if not 1 <= self.columns <= network.outputs:
            raise ValueError("more columns of y than outputs")
        return 0

    def __dealloc__(self):
        PyMem_Free(self.parameters)


cdef int set_targets(fnn_targets *to, object labels, object values, Py_ssize_t rows, Network network,
                     Objective objective) except -1:
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
            index = fnn_first_outside(&check, 0, <double>(network.outputs - 1))
        if index != -1:
            raise ValueError("a label is out of range")
        return 0
    describe_or_raise(values, &to.values)
    if to.values.rows != rows or to.values.columns != objective.columns:
        raise ValueError("values: wrong shape")
    spread(&to.values, network)
    return 0


cdef inline void spread(fnn_array *values, Network network) noexcept:
    """A single column of y is read once for each output, where it lies."""
    if values.columns == 1 and network.outputs > 1:
        values.columns, values.column_stride_bytes = network.outputs, 0


# ---- the optimizer's state ------------------------------------------------------------------------------------------

cdef class OptimizerState:
    """What an optimizer remembers about one network: its state vectors, and how many updates made them."""
    cdef fnn_optimizer c
    cdef Network network
    cdef readonly object array, average
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

    @property
    def averaged(self):
        """Updates that the average holds."""
        return self.c.averaged

    @property
    def product(self):
        """NAdam's product of momenta."""
        return self.c.product

    @property
    def penalizes_sums(self):
        """Whether penalties are added to the sum of a batch and not to its mean."""
        return bool(self.c.penalizes_sums)

    def go_on_from(self, int64_t step, int64_t averaged, double product):
        """Take up the count where another state was; the vectors are the caller's to fill."""
        self.c.step, self.c.averaged, self.c.product = step, averaged, product

    def keep_average(self, average):
        """Room for the average of the parameters; none is taken before set_hyper asks for it."""
        vector(average, self.network.typenum, self.network.n_params, True, "average")
        self.c.average = NULL
        self.average = average

    def set_hyper(self, tuple values not None, double weight_decay, double average_decay, bint penalizes_sums=False):
        """The hyper-parameters in the order of optimizer_hyper_names. Without a decay no average is taken."""
        cdef Py_ssize_t i
        if len(values) > 8:
            raise ValueError("too many hyper-parameters")
        if average_decay != 0 and self.average is None:
            raise ValueError("no room for an average")
        for i in range(8):
            self.c.hyper[i] = values[i] if i < len(values) else 0
        self.c.weight_decay, self.c.average_decay = weight_decay, average_decay
        self.c.penalizes_sums = penalizes_sums
        self.c.average = cnp.PyArray_DATA(<cnp.ndarray>self.average) if average_decay != 0 else NULL
