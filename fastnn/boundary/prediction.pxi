# SPDX-License-Identifier: BSD-3-Clause
# Forward, backward, update, and prediction of many rows. Included by _core.pyx.

# ---- the same in parts ----------------------------------------------------------------------------------------------

def forward(Network network not None, params, uint64_t seed, uint64_t draw, x, workspace, outputs, int threads):
    """A forward pass that keeps in the workspace what backward needs."""
    cdef fnn_array x_array
    cdef fnn_draw masks
    set_x(&x_array, x, network)
    if x_array.rows < 1:
        raise ValueError("x: no rows")
    one_thread_or_more(threads)
    masks.seed, masks.draw = seed, draw
    cdef void *p = vector(params, network.typenum, network.n_numbers, True, "params")
    cdef void *y = vector(outputs, network.typenum, product(x_array.rows, network.outputs), True, "outputs")
    cdef void *w = workspace_of(workspace, fnn_workspace_size(&network.c, FNN_USE_PASS, x_array.rows, threads))
    with nogil:
        fnn_forward(&network.c, p, &masks, &x_array, w, y, threads)


def backward(Network network not None, params, uint64_t seed, uint64_t draw, Py_ssize_t rows, doutputs, workspace,
             grads, bint accumulate, dx, int threads):
    """The gradients of the pass that forward left in the workspace, with the same draw, rows and threads."""
    cdef fnn_draw masks
    if rows < 1:
        raise ValueError("rows")
    one_thread_or_more(threads)
    masks.seed, masks.draw = seed, draw
    cdef void *p = vector(params, network.typenum, network.n_numbers, False, "params")
    cdef void *d = vector(doutputs, network.typenum, product(rows, network.outputs), False, "doutputs")
    cdef void *g = vector(grads, network.typenum, network.n_params, True, "grads")
    cdef void *to = NULL
    if dx is not None:
        to = vector(dx, network.typenum, product(rows, network.inputs), True, "dx")
    cdef void *w = workspace_of(workspace, fnn_workspace_size(&network.c, FNN_USE_PASS, rows, threads))
    with nogil:
        fnn_backward(&network.c, p, &masks, rows, d, w, g, accumulate, to, threads)


def update(Network network not None, OptimizerState optimizer not None, double learning_rate, double scale, params,
           grads, double clip_norm=0, double clip_value=0):
    """One optimizer step with gradient = grads * scale, and penalties, clipped -> status."""
    cdef int status
    if optimizer.network.n_params != network.n_params or optimizer.network.typenum != network.typenum:
        raise ValueError("optimizer: the state of another network")
    cdef void *p = vector(params, network.typenum, network.n_params, True, "params")
    cdef void *g = vector(grads, network.typenum, network.n_params, False, "grads")
    with nogil:
        status = fnn_update(&network.c, &optimizer.c, learning_rate, scale, clip_norm, clip_value, p, g)
    return status


def penalty(Network network not None, params):
    """What penalties add to the mean loss: the sum of l1 |w| + l2 w^2."""
    cdef double result
    cdef void *p = vector(params, network.typenum, network.n_params, False, "params")
    with nogil:
        result = fnn_penalty(&network.c, p)
    return result


def gradient_norm(Network network not None, grads):
    """The norm of the gradient of all segments that are not frozen."""
    cdef double result
    cdef void *g = vector(grads, network.typenum, network.n_params, False, "grads")
    with nogil:
        result = fnn_gradient_norm(&network.c, g)
    return result


# ---- prediction -----------------------------------------------------------------------------------------------------

def predict(Network network not None, params, x, outputs, workspace, int threads, objective=None, labels=None,
            values=None, weights=None, bint checked=False):
    """Outputs of all rows, and with an objective their loss -> (threads, loss_sum, weight_sum).

    With `checked` the threads are 0, and the outputs mean nothing, if an element of x is not finite.
    """
    cdef fnn_prediction c
    cdef fnn_prediction_result result
    cdef Objective asked
    cdef Interruptible call = Interruptible()
    set_x(&c.x, x, network)
    c.network = &network.c
    c.params = vector(params, network.typenum, network.n_numbers, False, "params")
    c.threads, c.checked = one_thread_or_more(threads), checked
    if c.x.rows < 1:
        raise ValueError("x: no rows")
    c.workspace = workspace_of(workspace, fnn_workspace_size(&network.c, FNN_USE_PREDICT, c.x.rows, threads))
    c.outputs = NULL
    if outputs is not None:
        c.outputs = vector(outputs, network.typenum, product(c.x.rows, network.outputs), True, "outputs")
    c.objective, c.y.labels, c.y.values.data, c.weights = NULL, NULL, NULL, NULL
    if objective is not None:
        asked = Objective(*objective)
        asked.check(network)
        c.objective = &asked.c
        set_targets(&c.y, labels, values, c.x.rows, network, asked)
        if weights is not None:
            c.weights = <double *>vector(weights, cnp.NPY_FLOAT64, c.x.rows, False, "weights")
    elif outputs is None:
        raise ValueError("nothing asked for")
    c.poll, c.poll_context, c.poll_seconds = poll_signals, <void *>call, POLL_SECONDS
    with nogil:
        fnn_predict(&c, &result)
    call.reraise()
    return 0 if result.status == FNN_BAD_INPUT else result.threads, result.loss_sum, result.weight_sum


def predict_few(Network network not None, params, x, double work, dict spare):
    """Outputs of a few rows, on this thread, with a workspace that `spare` keeps for so many; `work`: of a row.

    None where there is no such workspace, where C cannot read x as it is, where more threads would pay, and where an
    element of x is not finite.
    """
    cdef fnn_prediction c
    cdef fnn_prediction_result result
    cdef cnp.npy_intp shape[2]
    cdef list kept
    if not plain(x, network.typenum) or cnp.PyArray_NDIM(<cnp.ndarray>x) != 2:
        return None
    describe_or_raise(x, &c.x)
    if c.x.columns != network.inputs or fnn_threads_worth(work * c.x.rows, 2, True) > 1:
        return None
    kept = spare.get(c.x.rows)
    if not kept:
        return None
    workspace = kept.pop()  # nobody else can get hold of it
    if <size_t>cnp.PyArray_SIZE(<cnp.ndarray>workspace) < fnn_workspace_size(&network.c, FNN_USE_PREDICT, c.x.rows, 1):
        return None
    shape[0], shape[1] = c.x.rows, network.outputs
    outputs = cnp.PyArray_SimpleNew(2, shape, network.typenum)
    c.network, c.threads, c.checked = &network.c, 1, True
    c.params = vector(params, network.typenum, network.n_numbers, False, "params")
    c.workspace = workspace_of(workspace, <size_t>cnp.PyArray_SIZE(<cnp.ndarray>workspace))
    c.outputs = cnp.PyArray_DATA(<cnp.ndarray>outputs)
    c.objective, c.weights, c.y.labels, c.y.values.data, c.poll, c.poll_seconds = NULL, NULL, NULL, NULL, NULL, 0
    with nogil:
        fnn_predict(&c, &result)
    kept.append(workspace)
    return outputs if result.status == FNN_FINISHED else None
