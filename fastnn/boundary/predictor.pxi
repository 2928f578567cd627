# SPDX-License-Identifier: BSD-3-Clause
# The predictor: one row, as fast as the machine allows. Included by _core.pyx.

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


cdef inline void *aligned(char *memory) noexcept:
    return <void *>(<uintptr_t>(memory + ALIGNMENT - 1) & ~<uintptr_t>(ALIGNMENT - 1))


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
    scratch = aligned(memory)
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


cdef object predictor_argmax(PyObject *self, PyObject *x):
    """f.argmax(x): without an array for the outputs."""
    cdef PredictorWeights w = <PredictorWeights>(<FastnnPredictor *>self).weights
    cdef char on_stack[STACK_SCRATCH + ALIGNMENT]
    cdef size_t size = w.scratch_of_one + <size_t>w.outputs * sizeof(double)
    if (size > STACK_SCRATCH or w.work >= WORK_UNDER_GIL or not plain(<object>x, w.typenum)
            or cnp.PyArray_NDIM(<cnp.ndarray>x) != 1 or rows_of(w, <object>x) < 0):
        outputs = run_predictor(w, <object>x, None)
        return int(outputs.argmax()) if outputs.ndim == 1 else outputs.argmax(axis=1)
    return fnn_predictor_argmax(w.built, cnp.PyArray_DATA(<cnp.ndarray>x), aligned(on_stack))


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
                                   b"The index of the largest output.\n\n"
                                   b"Parameters\n----------\n"
                                   b"x : array-like (inputs,) or (rows, inputs)\n"
                                   b"    One row, or many; values are not checked.\n\n"
                                   b"Returns\n-------\n"
                                   b"int, or ndarray (rows,), int64\n\n"
                                   b"Raises\n------\n"
                                   b"ValueError, TypeError\n    If x does not fit.")
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
    b"A frozen copy of a network's weights, called as a function. Made by ``Sequential.predictor``.\n\n"
    b"f(x) returns the outputs: (outputs,) of one row (inputs,), (rows, outputs) of many (rows, inputs), in the\n"
    b"network's dtype. f(x, out=y) writes them into y, of that shape and dtype, and returns it. Values of x are not\n"
    b"checked. Any number of threads may call it at once.\n\n"
    b"Attributes\n----------\n"
    b"inputs, outputs : int\n"
    b"    Numbers in a row of input and of output.\n\n"
    b"Raises\n------\n"
    b"ValueError, TypeError\n"
    b"    In a call, if x or out does not fit.\n\n"
    b"Examples\n--------\n"
    b">>> import numpy as np, fastnn as fn\n"
    b">>> f = fn.Sequential([fn.Dense(3, 'softmax')], inputs=2, seed=0).predictor()\n"
    b">>> x, y = np.zeros(2, np.float32), np.empty(3, np.float32)\n"
    b">>> f(x).shape, f(x, out=y) is y, f.argmax(x), f.inputs, f.outputs\n"
    b"((3,), True, 0, 2, 3)")))
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
    cdef void *p = vector(params, network.typenum, network.n_numbers, False, "params")
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
