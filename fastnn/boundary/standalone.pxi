# SPDX-License-Identifier: BSD-3-Clause
# Kernels by themselves, for tests and benchmarks. Included by _core.pyx.

cdef int real_type_of(object x) except -1:
    if cnp.PyArray_Check(x) and cnp.PyArray_TYPE(<cnp.ndarray>x) == cnp.NPY_FLOAT32:
        return FNN_FLOAT32
    if cnp.PyArray_Check(x) and cnp.PyArray_TYPE(<cnp.ndarray>x) == cnp.NPY_FLOAT64:
        return FNN_FLOAT64
    raise TypeError("not a float32 or float64 array")


def vector_function(int function, x, y):
    """y = f(x) elementwise; f is EXP, LOG, TANH, SIGMOID or NORMAL_QUANTILE."""
    cdef int real_type = real_type_of(x)
    cdef int typenum = cnp.PyArray_TYPE(<cnp.ndarray>x)
    if not FNN_EXP <= function <= FNN_NORMAL_QUANTILE:
        raise ValueError("function")
    cdef ptrdiff_t n = x.size
    cdef void *from_ = vector(x, typenum, n, False, "x")
    cdef void *to = vector(y, typenum, n, True, "y")
    with nogil:
        fnn_vector(real_type, function, n, from_, to)


def matmul_workspace(int real_type, int use, Py_ssize_t m, Py_ssize_t n, Py_ssize_t k):
    """Bytes of workspace of matmul, for sizes up to 2^20."""
    if real_type not in (FNN_FLOAT32, FNN_FLOAT64):
        raise ValueError("real_type")
    if use not in (FNN_MATMUL_FORWARD, FNN_MATMUL_INPUT, FNN_MATMUL_WEIGHT):
        raise ValueError("use")
    if not (0 <= m <= 1 << 20 and 0 <= n <= 1 << 20 and 0 <= k <= 1 << 20):
        raise ValueError("m, n and k must be in 0..2^20")
    return fnn_matmul_workspace(real_type, use, m, n, k)


def matmul(int use, a, b, start, c, workspace, Py_ssize_t repeats=1):
    """c = start + a.b, a.b^T or a^T.b, as training uses them (shapes as in fastnn.h) -> seconds of the products."""
    cdef int real_type = real_type_of(a)
    cdef int typenum = cnp.PyArray_TYPE(<cnp.ndarray>a)
    cdef Py_ssize_t m, n, k
    cdef size_t size
    cdef double seconds
    if a.ndim != 2 or b.ndim != 2 or c.ndim != 2:
        raise ValueError("a, b and c must have two dimensions")
    m, n = c.shape
    k = a.shape[0] if use == FNN_MATMUL_WEIGHT else a.shape[1]
    if a.shape != ((k, m) if use == FNN_MATMUL_WEIGHT else (m, k)):
        raise ValueError("a: wrong shape")
    if b.shape != ((n, k) if use == FNN_MATMUL_INPUT else (k, n)):
        raise ValueError("b: wrong shape")
    size = matmul_workspace(real_type, use, m, n, k)
    cdef void *a_data = vector(a, typenum, product(m, k), False, "a")
    cdef void *b_data = vector(b, typenum, product(n, k), False, "b")
    cdef void *c_data = vector(c, typenum, product(m, n), True, "c")
    cdef void *start_data = NULL
    cdef void *work = NULL
    if start is not None:
        start_data = vector(start, typenum, n, False, "start")
    if size:
        work = workspace_of(workspace, size)
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
