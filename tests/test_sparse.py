# SPDX-License-Identifier: BSD-3-Clause
"""SciPy's sparse matrices as X: the bits of the dense array, and never dense as a whole."""

import sys

import numpy as np
import pytest
from processes import python
from snapshot import digest, everything

import fastnn as fn
from fastnn import _core
from fastnn.normalization import mean_and_scale
from fastnn.sparse import SparseRows, compressed

sparse = pytest.importorskip("scipy.sparse")

ROWS, INPUTS = 70, 37
GENERATOR = np.random.default_rng(3)
DENSE = np.where(GENERATOR.random((ROWS, INPUTS)) < 0.15, GENERATOR.normal(size=(ROWS, INPUTS)), 0.0)
DENSE[5] = 0  # rows without a number, columns without one
DENSE[:, 7] = 0
DENSE[ROWS - 1] = 0
Y = np.arange(ROWS) % 3
V = np.cumsum(DENSE, axis=1)[:, :1]

FORMS = {
    "csr_matrix": sparse.csr_matrix,
    "csr_array": sparse.csr_array,
    "csc": sparse.csc_array,
    "coo": sparse.coo_array,
    "lil": sparse.lil_array,
    "dok": sparse.dok_array,
    "bsr": sparse.bsr_array,
}


def classifier(dtype="float32", first=()):
    layers = [*first, fn.Dense(8, "relu"), fn.Dense(3, "softmax")]
    return fn.Sequential(layers, inputs=None if first else INPUTS, seed=0, dtype=dtype)


def same(one, other):
    assert digest(one.params) == digest(other.params)
    assert digest(one._parameters.numbers) == digest(other._parameters.numbers)
    left, right = dict(one.history.history), dict(other.history.history)
    left.pop("seconds"), right.pop("seconds")
    assert left == right


def wide(matrix):
    """The same with 64-bit indices."""
    other = matrix.copy()
    other.indices, other.indptr = other.indices.astype(np.int64), other.indptr.astype(np.int64)
    return other


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["f4", "f8", "i1", "u2", "i4", "i8", "?"])
@pytest.mark.parametrize("is_wide", [False, True])
def test_all_that_reads_x_gives_the_bits_of_the_array(dtype, kind, is_wide):
    dense = (DENSE * 3).astype(kind) if kind[0] != "u" else np.abs(DENSE * 3).astype(kind)
    x = sparse.csr_array(dense)
    x = wide(x) if is_wide else x
    one, other = classifier(dtype), classifier(dtype)
    for net, given in ((one, dense), (other, x)):
        net.fit(given, Y, epochs=2, batch_size=16, metrics=["accuracy"], validation_data=(given, Y), verbose=0)
    same(one, other)
    assert digest(one.predict(dense)) == digest(other.predict(x))
    assert one.evaluate(dense, Y, metrics=["accuracy"]) == other.evaluate(x, Y, metrics=["accuracy"])
    assert one.train_step(dense, Y) == other.train_step(x, Y)
    assert digest(one.forward(dense, training=True)) == digest(other.forward(x, training=True))
    assert digest(one.backward(np.ones((ROWS, 3)))) == digest(other.backward(np.ones((ROWS, 3))))
    assert digest(one.grads) == digest(other.grads)
    assert str(one.health(dense)) == str(other.health(x))
    assert fn.check_gradients(other, x, Y) == fn.check_gradients(one, dense, Y)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_form(form):
    net = classifier()
    x = form(DENSE)
    assert digest(net.predict(x)) == digest(net.predict(DENSE))
    np.testing.assert_array_equal(x.toarray(), DENSE)  # it is as it was


@pytest.mark.parametrize("more", [
    {"shuffle": False},
    {"validation_fraction": 0.3},
    {"loss": lambda y, o: (((o - y) ** 2).mean(1), 2 * (o - y) / 3)},
    {"threads": 3},
    {"batch_size": None},
], ids=["in order", "held out", "python loss", "threads", "one batch"])  # fmt: skip
def test_other_ways_through_fit(more):
    y = np.eye(3)[Y]
    one, other = classifier(), classifier()
    one.fit(DENSE, y, epochs=3, verbose=0, **more)
    other.fit(sparse.csr_array(DENSE), y, epochs=3, verbose=0, **more)
    same(one, other)


BITS = """
    import hashlib, sys, numpy as np, scipy.sparse, fastnn as fn
    x = scipy.sparse.random(300, 90, 0.1, "csr", np.float64, np.random.default_rng(0))
    net = fn.Sequential([fn.Dense(150, "tanh"), fn.Dense(2)], seed=0)
    given = x if sys.argv[1] == "sparse" else x.toarray()
    net.fit(given, np.ones((300, 2)), epochs=2, threads=int(sys.argv[2]), verbose=0)
    print(hashlib.sha256(net.params.tobytes() + net.predict(given).tobytes()).hexdigest())
"""


@pytest.fixture(scope="module")
def dense_bits():
    return python(BITS, "dense", 1, FASTNN_ISA="generic")


@pytest.mark.parametrize("isa", [name for name in _core.isa_names() if _core.isa_supported(name)])
@pytest.mark.parametrize("threads", [1, 3])
def test_instruction_sets_and_threads(isa, threads, dense_bits):
    assert python(BITS, "sparse", threads, FASTNN_ISA=isa) == dense_bits


def test_normalization_and_scaled_targets():
    one, other = (fn.Sequential([fn.Normalization(), fn.Dense(1)], seed=0, scale_targets=True) for _ in range(2))
    one.fit(DENSE, V, epochs=2, verbose=0, validation_fraction=0.2)
    other.fit(sparse.csr_array(DENSE), V, epochs=2, verbose=0, validation_fraction=0.2)
    same(one, other)


def test_scales_come_in_pieces(monkeypatch):
    whole = mean_and_scale(DENSE, range(INPUTS), None)
    some = mean_and_scale(DENSE, [3, 9], np.arange(50))
    for elements in (1, 5 * INPUTS, 69 * INPUTS, 70 * INPUTS):
        monkeypatch.setattr("fastnn.normalization.ELEMENTS_AT_A_TIME", elements)
        for x in (DENSE, compressed(sparse.csr_array(DENSE), "X")):
            np.testing.assert_array_equal(mean_and_scale(x, range(INPUTS), None), whole)
            np.testing.assert_array_equal(mean_and_scale(x, [3, 9], np.arange(50)), some)


def test_a_stream_of_sparse_batches():
    one, other = classifier(), classifier()
    one.fit(DENSE, Y, batch_size=20, shuffle=False, epochs=2, verbose=0)
    x = sparse.csr_array(DENSE)
    other.fit([(x[i : i + 20], Y[i : i + 20]) for i in range(0, ROWS, 20)], epochs=2, verbose=0)
    same(one, other)


def test_numbers_that_are_given_twice_are_added():
    x = sparse.csr_array((np.array([1.0, 2.0, 4.0]), np.array([3, 3, 1]), np.array([0, 3])), (1, INPUTS))
    net = classifier()
    assert digest(net.predict(x)) == digest(net.predict(x.toarray()))
    assert x.nnz == 3  # it is as it was


def test_parts_of_rows():
    rows = compressed(sparse.csr_array(DENSE), "X")
    chosen = np.array([69, 5, 0, 0, 12])
    np.testing.assert_array_equal(rows[:], DENSE)
    np.testing.assert_array_equal(rows[3:60:7], DENSE[3:60:7])
    np.testing.assert_array_equal(rows[chosen], DENSE[chosen])
    np.testing.assert_array_equal(rows.take(chosen)[:], DENSE[chosen])
    np.testing.assert_array_equal(rows.take(chosen[:0])[:], DENSE[:0])


def test_no_copy_of_plain_csr():
    x = sparse.csr_array(DENSE)
    rows = compressed(x, "X")
    assert np.shares_memory(rows.values, x.data) and np.shares_memory(rows._indices, x.indices)


# ---- what is refused -------------------------------------------------------------------------------------------------


def bad(value):
    x = sparse.csr_array(DENSE)
    x.data[9] = value
    return x


def damaged(**parts):
    x = sparse.csr_array(DENSE)
    x.has_canonical_format = True
    for name, change in parts.items():
        array = getattr(x, name)
        change(array)
    return x


def at(place, value):
    def change(array):
        array[place] = value

    return change


WHERE = tuple(int(place[9]) for place in np.nonzero(DENSE))
REFUSED = {
    "NaN": (bad(np.nan), ValueError, ["X is nan", f"row {WHERE[0]}, column {WHERE[1]}", "finite"]),
    "infinity": (bad(np.inf), ValueError, ["X is inf", f"row {WHERE[0]}"]),
    "too large": (bad(1e300), ValueError, ["too large for float32"]),
    "columns": (sparse.csr_array(DENSE[:, :5]), ValueError, ["X has 5 columns", "37 inputs"]),
    "complex": (sparse.csr_array(DENSE.astype(complex)), TypeError, ["complex128", "real numbers"]),
    "an index too large": (damaged(indices=at(3, INPUTS)), ValueError, ["damaged sparse matrix", "70 x 37"]),
    "an index below 0": (damaged(indices=at(3, -1)), ValueError, ["damaged sparse matrix"]),
    "starts that go back": (damaged(indptr=at(3, 0)), ValueError, ["damaged sparse matrix"]),
    "a start too far": (damaged(indptr=at(-1, 10**6)), ValueError, ["damaged sparse matrix"]),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_refused(case):
    x, error, words = case
    net = classifier()
    net.fit(DENSE, Y, epochs=1, verbose=0)
    before = everything(net)
    for call in (lambda: net.fit(x, Y, verbose=0), lambda: net.predict(x), lambda: net.train_step(x, Y),
                 lambda: net.evaluate(x, Y)):  # fmt: skip
        with pytest.raises(error) as raised:
            call()
        assert all(word in str(raised.value) for word in words), str(raised.value)
        assert everything(net) == before


def test_no_rows_sparse_targets_and_codes():
    net = classifier()
    x = sparse.csr_array(DENSE)
    assert net.predict(x[:0]).shape == (0, 3)
    with pytest.raises(ValueError, match="no rows"):
        net.fit(x[:0], Y[:0])
    with pytest.raises(TypeError, match=r"y is a sparse matrix.*y\.toarray"):
        net.fit(x, x)
    with pytest.raises(TypeError, match="make it dense"):
        net.predictor()(x)
    for layer in (fn.Embedding(5), fn.Table(numeric=[0], categorical=[1])):
        with pytest.raises(TypeError, match=f"{type(layer).__name__} reads columns of categories"):
            fn.Sequential([layer, fn.Dense(1)], seed=0).fit(sparse.csr_array(np.eye(3)), V[:3], verbose=0)


def test_the_boundary_believes_nothing():
    """Arrays that do not fit are errors; indices that point elsewhere, as another thread may write them, are passed
    over."""
    values, indices, starts = np.ones(3, "f4"), np.array([0, 1, 2], "i4"), np.array([0, 2, 3], "i4")
    for wrong in (
        (values.reshape(1, -1), indices, starts, 5), (values, indices[:2], starts, 5), (values, indices, starts[:0], 5),
        (values, indices.astype("i8"), starts, 5), (values, indices, starts.astype("f4"), 5),
        (values[::2], indices, starts, 5), (values, indices, starts, -1), (values, None, starts, 5),
    ):  # fmt: skip
        with pytest.raises((ValueError, TypeError)):
            _core.CompressedRows(*wrong)
    net = fn.Sequential([fn.Dense(2)], inputs=5, seed=0)
    x = SparseRows(values, indices, starts, 5)
    parameters = net._parameters
    outputs = np.zeros((2, 2), "f4")

    def predict():
        workspace = parameters.workspace(_core.USE_PREDICT, 2, 1)
        _core.predict(parameters.network, parameters.numbers, x, outputs, workspace, 1)
        return outputs.copy()

    np.testing.assert_array_equal(predict(), net.predict([[1, 1, 0, 0, 0], [0, 0, 1, 0, 0]]))
    for array, place, value in ((indices, 0, 5), (indices, 0, -(2**31)), (indices, 1, 2**31 - 1), (starts, 0, -7),
                                (starts, 1, 2**31 - 1), (starts, 2, 4), (starts, 0, 3)):  # fmt: skip
        kept = array[place]
        array[place] = value
        assert np.isfinite(predict()).all()
        array[place] = kept
    with pytest.raises(ValueError, match="columns"):
        _core.predict(parameters.network, parameters.numbers, SparseRows(values, indices, starts, 4), outputs,
                      parameters.workspace(_core.USE_PREDICT, 2, 1), 1)  # fmt: skip


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a limit on memory")
def test_it_is_never_dense_as_a_whole():
    """20,000 rows of 20,000 columns would be 1.6 GB."""
    python(
        """
        import resource, numpy as np, scipy.sparse, fastnn as fn
        generator = np.random.default_rng(0)
        rows, inputs, n = 20_000, 20_000, 200_000
        x = scipy.sparse.csr_array(
            (np.ones(n, "f4"), (generator.integers(0, rows, n), generator.integers(0, inputs, n))), (rows, inputs))
        y = np.arange(rows) % 2
        net = fn.Sequential([fn.Dense(2, "softmax")], inputs=inputs, seed=0)
        net.fit(x[:100], y[:100], epochs=1, threads=2, verbose=0)
        status = dict(line.split(":") for line in open("/proc/self/status"))
        taken = int(status["VmData"].split()[0]) * 1024
        resource.setrlimit(resource.RLIMIT_DATA, (taken + (200 << 20),) * 2)
        net.fit(x, y, epochs=1, batch_size=64, threads=2, verbose=0, validation_fraction=0.1, metrics=["accuracy"])
        net.fit([(x[i : i + 64], y[i : i + 64]) for i in range(0, 1000, 64)], epochs=1, verbose=0)
        assert net.predict(x).shape == (rows, 2)
        """
    )
