# SPDX-License-Identifier: BSD-3-Clause
# The lists, the random numbers, and the settings of the process. Included by _core.pyx.

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


def threads_worth(double work, int limit, bint once=False):
    """Threads worth using for so many multiply-adds between two barriers, at most limit."""
    return fnn_threads_worth(work, limit, once)


def threads_backend():
    """"posix", "openmp" or "serial"."""
    return (<bytes>fnn_threads_backend()).decode("ascii")
