# SPDX-License-Identifier: BSD-3-Clause
# fnn_train: many steps in one call, or one. Included by _core.pyx.

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
    cdef fnn_pace pace
    cdef Network network
    cdef OptimizerState optimizer
    cdef Objective objective
    cdef object params, grads, workspace, keep, label_buffer, segment_sums
    cdef size_t workspace_bytes
    cdef double learning_rate, least, most
    cdef bint check_order, is_shuffled, checks_range
    cdef ptrdiff_t n_rows
    cdef int64_t *draws
    cdef object draws_array
    cdef readonly int threads
    cdef public Py_ssize_t steps_done  # of the epoch, when run() was left, however that was
    cdef public double loss_sum, weight_sum  # of these steps

    def __init__(self, Network network not None, objective, OptimizerState optimizer not None, params, grads,
                 draws, workspace, Py_ssize_t batch, int threads):
        if batch < 1:
            raise ValueError("batch: fewer than 1 row")
        self.objective = Objective(*objective)
        self.objective.check(network)
        self.c.objective = self.objective.c
        if optimizer.network.n_params != network.n_params or optimizer.network.typenum != network.typenum:
            raise ValueError("optimizer: the state of another network")
        self.c.params = vector(params, network.typenum, network.n_numbers, True, "params")
        self.c.grads = vector(grads, network.typenum, network.n_params, True, "grads")
        self.draws = <int64_t *>vector(draws, cnp.NPY_INT64, 1, True, "draws")
        self.draws_array = draws
        self.threads = one_thread_or_more(threads)
        workspace_of(workspace, fnn_workspace_size(&network.c, FNN_USE_TRAIN, batch, threads))
        self.c.workspace = cnp.PyArray_DATA(<cnp.ndarray>workspace)
        self.c.network, self.c.optimizer, self.c.batch, self.c.threads = &network.c, &optimizer.c, batch, threads
        self.network, self.optimizer = network, optimizer
        self.params, self.grads, self.workspace = params, grads, workspace

    def set_clipping(self, double norm, double value):
        """The longest mean gradient, and the largest element of it; 0: any."""
        self.c.clip_norm, self.c.clip_value = norm, value

    def choose_pace(self):
        """From now on steps that are faster on one thread are made on one; else exactly `threads` take part."""
        self.c.pace = &self.pace

    def measure(self, segment_sums):
        """Where the last step of each call leaves sums of squares, (segments, 3) float64: of the mean gradient, of the
        update, of the old parameters. None: nowhere."""
        self.c.segment_sums = NULL
        if segment_sums is not None:
            self.c.segment_sums = <double *>vector(segment_sums, cnp.NPY_FLOAT64, 3 * self.network.c.n_segments, True,
                                                   "segment_sums")
        self.segment_sums = segment_sums

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
        set_targets(&y, labels, values, rows, self.network, self.objective)
        if weights is not None:
            weights_data = <double *>vector(weights, cnp.NPY_FLOAT64, rows, False, "weights")
        if outputs is not None:
            outputs_data = vector(outputs, self.network.typenum, product(rows, self.network.outputs), True, "outputs")
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
        self.check_order, self.is_shuffled = order is not None and not shuffle, False
        self.keep = (x, labels, values, weights, outputs, order)

    def run(self, uint64_t epoch, Py_ssize_t first_step, Py_ssize_t n_steps, learning_rate, bint poll=True,
            double loss_sum=0, double weight_sum=0):
        """Some steps of an epoch -> (status, threads, steps, loss_sum, weight_sum); raises what a signal raised.

        learning_rate is a number, or a float64 array with one for each of the steps. The sums go on from those given.
        """
        cdef fnn_training_result result
        cdef fnn_training c = self.c
        cdef ptrdiff_t i, steps
        cdef bint bad = False
        if self.keep is None:
            raise ValueError("no data bound")
        steps = (c.x.rows - 1) // c.batch + 1
        if first_step < 0 or n_steps < 0 or first_step > steps - n_steps:
            raise ValueError("no such steps")
        if c.shuffle and first_step > 0 and not self.is_shuffled:
            raise ValueError("order: the first step fills it")
        self.is_shuffled = True
        if self.check_order:
            with nogil:
                for i in range(c.x.rows):
                    bad = bad or c.order[i] < 0 or c.order[i] >= self.n_rows
            if bad:
                raise ValueError("order: no such row")
        c.shuffle = c.shuffle and first_step == 0  # later steps go on in the order of the first
        c.epoch, c.first_step, c.n_steps = epoch, first_step, n_steps
        c.loss_sum, c.weight_sum = loss_sum, weight_sum
        if cnp.PyArray_Check(learning_rate):
            c.learning_rates = <double *>vector(learning_rate, cnp.NPY_FLOAT64, n_steps, False, "learning_rate")
            c.n_learning_rates = n_steps
        else:
            self.learning_rate = learning_rate
            c.learning_rates, c.n_learning_rates = &self.learning_rate, 1
        if poll:
            c.poll, c.poll_context, c.poll_seconds = poll_signals, <void *>self, POLL_SECONDS
        c.draw = <uint64_t>self.draws[0]
        with nogil:
            fnn_train(&c, &result)
        self.draws[0] += result.steps
        self.steps_done, self.loss_sum, self.weight_sum = first_step + result.steps, result.loss_sum, result.weight_sum
        self.reraise()
        return result.status, result.threads, result.steps, result.loss_sum, result.weight_sum

    def release(self):
        """Let go of the data: nothing of the caller's is kept alive by a plan that waits for the next step."""
        self.keep = None

    def prepare_steps(self, label_buffer, tuple bounds):
        """How step() treats y: as labels (a buffer for them is given), or as values, within the bounds if given."""
        if label_buffer is not None:
            vector(label_buffer, cnp.NPY_INT32, self.c.batch, True, "labels")
        self.label_buffer, self.checks_range = label_buffer, bounds is not None
        if bounds is not None:
            self.least, self.most = bounds

    def step(self, x, y, weights, double learning_rate):
        """One update from one batch -> (status, loss), or None where x or y need the long way round."""
        cdef fnn_training c = self.c
        cdef fnn_training_result result
        cdef fnn_array y_array, weights_array
        cdef ptrdiff_t bad = -1
        cdef int32_t *labels = NULL
        if not (cnp.PyArray_CheckExact(x) and cnp.PyArray_CheckExact(y)):
            return None  # the numbers of a subclass may not be all it means: masks
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
        elif y_array.columns != self.objective.columns:
            return None
        c.y.labels, c.y.values, c.outputs, c.order, c.shuffle = labels, y_array, NULL, NULL, 0
        c.weights = <double *>weights_array.data if weights is not None else NULL
        if labels != NULL:
            c.y.values.data = NULL
        else:
            spread(&c.y.values, self.network)
        c.epoch, c.first_step, c.n_steps = 0, 0, 1
        c.learning_rates, c.n_learning_rates = &learning_rate, 1
        c.poll = NULL
        c.draw = <uint64_t>self.draws[0]
        with nogil:
            bad = fnn_first_nonfinite(&c.x, self.network.real_type)
            if bad < 0 and labels != NULL:
                bad = fnn_read_labels(&y_array, <int32_t>self.network.outputs, labels)
            elif bad < 0:
                bad = fnn_first_nonfinite(&y_array, self.network.real_type)
                if bad < 0 and self.checks_range:
                    bad = fnn_first_outside(&y_array, self.least, self.most)
            if bad < 0 and c.weights != NULL:
                bad = fnn_first_outside(&weights_array, 0, DBL_MAX)
            if bad < 0:
                fnn_train(&c, &result)
        if bad >= 0:
            return None
        self.draws[0] += result.steps
        return result.status, result.loss_sum / result.weight_sum if result.weight_sum else 0.0
