# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, embedsignature=False
# cython: freethreading_compatible=True
# SPDX-License-Identifier: BSD-3-Clause
"""The boundary between Python and the C library: it checks, releases the GIL, and makes one C call.

No arithmetic happens here, and no allocation: every array is handed in by Python, which owns all memory. Whatever is
handed in, nothing here may crash: types, shapes, sizes and indices are checked before C sees a pointer. Messages in
this file are for the package's authors; what users read is said in ``inputs.py``. To reach a new C function: declare it
in _capi.pxd, wrap it in the part of boundary/ it belongs to, and add its signature to ``_core.pyi``.
"""

cimport numpy as cnp
from cpython.exc cimport PyErr_CheckSignals
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.ref cimport Py_INCREF
from libc.float cimport DBL_MAX
from libc.stddef cimport ptrdiff_t, size_t
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport free, malloc

from fastnn._capi cimport *

cnp.import_array()


numerics_version = FNN_NUMERICS_VERSION
DENSE, ACTIVATION, PRELU, DROPOUT, NOISE = FNN_DENSE, FNN_ACTIVATION, FNN_PRELU, FNN_DROPOUT, FNN_NOISE
LAYER_NORM, RMS_NORM, BATCH_NORM, COPY, ADD = FNN_LAYER_NORM, FNN_RMS_NORM, FNN_BATCH_NORM, FNN_COPY, FNN_ADD
EMBEDDING, NORMALIZE, RESCALE, MAX_RANDOM_LAYERS = FNN_EMBEDDING, FNN_NORMALIZE, FNN_RESCALE, FNN_MAX_RANDOM_LAYERS
FINISHED, STOPPED, DIVERGED, BAD_UPDATE = FNN_FINISHED, FNN_STOPPED, FNN_DIVERGED, FNN_BAD_UPDATE
USE_TRAIN, USE_PASS, USE_PREDICT = FNN_USE_TRAIN, FNN_USE_PASS, FNN_USE_PREDICT
EXP, LOG, TANH, SIGMOID, NORMAL_QUANTILE = FNN_EXP, FNN_LOG, FNN_TANH, FNN_SIGMOID, FNN_NORMAL_QUANTILE
MATMUL_FORWARD, MATMUL_INPUT, MATMUL_WEIGHT = FNN_MATMUL_FORWARD, FNN_MATMUL_INPUT, FNN_MATMUL_WEIGHT
STREAM_SHUFFLE, STREAM_INITIAL, STREAM_SPLIT = FNN_STREAM_SHUFFLE, FNN_STREAM_INITIAL, FNN_STREAM_SPLIT

# Ctrl-C is answered within this many seconds.
cdef double POLL_SECONDS = 0.03
# Below this many multiply-adds (about 20 us) a predictor keeps the GIL: giving it back may cost a wait of 5 ms.
cdef ptrdiff_t WORK_UNDER_GIL = 400000
# Scratch of a predictor up to this size lies on the C stack.
cdef enum:
    STACK_SCRATCH = 8192
    ALIGNMENT = 64

# Parts of this one module, in an order in which each needs only those before it.
include "boundary/arrays.pxi"
include "boundary/network.pxi"
include "boundary/training.pxi"
include "boundary/prediction.pxi"
include "boundary/predictor.pxi"
include "boundary/library.pxi"
include "boundary/standalone.pxi"
