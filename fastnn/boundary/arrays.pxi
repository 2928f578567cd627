# SPDX-License-Identifier: BSD-3-Clause
# Arrays as C reads them: checked once, handed over as pointers, strides and types. Included by _core.pyx.

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


cdef class CompressedRows:
    """A sparse matrix in compressed rows (CSR) as C reads it; keeps its arrays alive.

    values (n,) may have any type C can read; indices (n,) and starts (rows + 1,) are both int32 or both int64. What
    they hold is not checked here: C passes over what is not there.
    """
    cdef fnn_csr c
    cdef ptrdiff_t rows, columns
    cdef object keep

    def __init__(self, values, indices, starts, Py_ssize_t columns):
        cdef fnn_array of_values
        cdef int wide = cnp.PyArray_Check(indices) and cnp.PyArray_TYPE(<cnp.ndarray>indices) == cnp.NPY_INT64
        cdef int typenum = cnp.NPY_INT64 if wide else cnp.NPY_INT32
        describe_or_raise(values, &of_values)
        if (cnp.PyArray_NDIM(<cnp.ndarray>values) != 1 or not cnp.PyArray_IS_C_CONTIGUOUS(<cnp.ndarray>values)
                or columns < 0):
            raise ValueError("no matrix in compressed rows")
        self.c.indices = vector(indices, typenum, of_values.rows, False, "indices")
        self.c.starts = vector(starts, typenum, 1, False, "starts")
        self.c.values, self.c.type, self.c.n, self.c.wide = of_values.data, of_values.type, of_values.rows, wide
        self.rows, self.columns = cnp.PyArray_SIZE(<cnp.ndarray>starts) - 1, columns
        self.keep = (values, indices, starts)

    cdef void describe(self, fnn_array *out) noexcept:
        out.data, out.type, out.rows, out.columns = &self.c, FNN_CSR, self.rows, self.columns
        out.row_stride_bytes = out.column_stride_bytes = 0


cdef inline bint plain(object x, int typenum) noexcept:
    """Whether x is exactly an array which C may read as it is."""
    return (cnp.PyArray_CheckExact(x) and cnp.PyArray_TYPE(<cnp.ndarray>x) == typenum
            and cnp.PyArray_IS_C_CONTIGUOUS(<cnp.ndarray>x) and cnp.PyArray_ISALIGNED(<cnp.ndarray>x)
            and cnp.PyArray_ISNOTSWAPPED(<cnp.ndarray>x))


def readable(x):
    """Whether C can read the array where it lies: bool, integers and floats in native byte order, 1-D or 2-D."""
    cdef fnn_array a
    return bool(describe(x, &a))


cdef Py_ssize_t product(Py_ssize_t rows, Py_ssize_t columns) except -1:
    """rows * columns, if memory can hold so many elements."""
    if rows < 0 or columns < 0 or (columns > 0 and rows > <Py_ssize_t>(<size_t>-1 >> 1) // columns):
        raise ValueError("more elements than memory can hold")
    return rows * columns


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


def address(x):
    """Where an array's first element lies; NumPy's own way takes a microsecond."""
    if not cnp.PyArray_Check(x):
        raise TypeError("not an array")
    return <uintptr_t>cnp.PyArray_DATA(<cnp.ndarray>x)


def first_nonfinite(x, int real_type):
    """Index, counted row by row, of the first element that is not finite as float32 (0) or float64 (1); else -1."""
    cdef fnn_array a
    cdef ptrdiff_t index
    describe_or_raise(x, &a)
    with nogil:
        index = fnn_first_nonfinite(&a, real_type)
    return index


def read_labels(y, int classes, int32_labels):
    """Copy class numbers into int32_labels; the index of the first that is no integer in [0, classes), or -1."""
    cdef fnn_array a
    cdef ptrdiff_t index
    describe_or_raise(y, &a)
    cdef int32_t *labels = <int32_t *>vector(int32_labels, cnp.NPY_INT32, product(a.rows, a.columns), True, "labels")
    with nogil:
        index = fnn_read_labels(&a, classes, labels)
    return index


def first_outside(y, double low, double high):
    """Index, counted row by row, of the first element outside [low, high]; -1 when there is none."""
    cdef fnn_array a
    cdef ptrdiff_t index
    describe_or_raise(y, &a)
    with nogil:
        index = fnn_first_outside(&a, low, high)
    return index
