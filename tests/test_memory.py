# SPDX-License-Identifier: BSD-3-Clause
"""Running out of memory at any moment is a MemoryError and nothing else; and little is taken beyond the arrays.

All lasting arrays come from one function, which is made to fail at its first, second, third ... call, until the call of
fastnn goes through.
"""

import sys

import numpy as np
import pytest
from processes import python
from snapshot import digest, everything

import fastnn as fn
from fastnn import _memory, files

X = np.random.default_rng(1).normal(size=(60, 4)).astype(np.float32)
Y = np.arange(60) % 3
MORE = {"metrics": ["accuracy"], "class_weight": "balanced", "sample_weight": np.linspace(0.5, 2, 60), "verbose": 0}


class Scarce:
    """NumPy as fastnn._memory sees it, with memory for so many arrays only."""

    def __init__(self, arrays):
        self.arrays = arrays
        self.asked = 0

    def empty(self, *arguments):
        self.asked += 1
        if self.asked > self.arrays:
            raise MemoryError(f"on purpose, array {self.asked}")
        return np.empty(*arguments)

    def zeros(self, *arguments):
        return self.empty(*arguments) * np.uint8(0)

    def __getattr__(self, name):
        return getattr(np, name)


def unbuilt():
    return fn.Sequential([fn.Dense(5, "tanh"), fn.Dense(3, "softmax")], seed=0)


def built():
    return fn.Sequential([fn.Dense(5, "tanh"), fn.Dense(3, "softmax")], inputs=4, seed=0)


def trained():
    net = built()
    net.fit(X, Y, optimizer=fn.SGD(0.1), epochs=1, verbose=0)
    net.train_step(X, Y)
    net.forward(X, training=True)
    return net


def passed():
    net = trained()
    net.forward(X, training=True)  # a call of its own, which draws masks
    return net


CALLS = {
    "fit": lambda net: net.fit(X, Y, epochs=2, **MORE),
    "fit with a part held out": lambda net: net.fit(X, Y, epochs=2, validation_fraction=0.2, **MORE),
    "fit with validation data": lambda net: net.fit(
        X.astype(float), np.eye(3)[Y], epochs=2, validation_data=(X, Y, np.ones(60)), threads=3, verbose=0
    ),
    "fit, batch by batch": lambda net: net.fit(
        X, Y, epochs=2, callbacks=[type("Note", (), {"on_batch_end": lambda *_: None})()], verbose=0
    ),
    "fit, with the best weights kept": lambda net: net.fit(
        X, Y, epochs=3, callbacks=[fn.EarlyStopping(1), fn.ReduceOnPlateau()], verbose=0
    ),
    "train_step": lambda net: net.train_step(X, Y),
    "train_step, other rows": lambda net: net.train_step(X[:7], Y[:7], sample_weight=np.ones(7), optimizer="adam"),
    "forward": lambda net: net.forward(X[:9], training=True),
    "check_gradients": lambda net: fn.check_gradients(net, X[:8], Y[:8], tol=1e-6) and None,
}
BUILT = {
    "predict": lambda net: net.predict(X),
    "predict, converted": lambda net: net.predict(X.astype(">f8")[::2], threads=2),
    "evaluate": lambda net: sorted(net.evaluate(X, Y, metrics=["accuracy"], sample_weight=np.ones(60)).items()),
    "predictor": lambda net: net.predictor()(X),
    "step": lambda net: fn.Adam().step(net),
    "soft_update": lambda net: net.soft_update(fn.Sequential([fn.Dense(5), fn.Dense(3)], inputs=4, seed=1), 0.5),
    "copy": lambda net: digest(files.from_bytes(files.to_bytes(net)).params),
}
CASES = [(make, name, call) for make in (unbuilt, built, trained) for name, call in CALLS.items()]
CASES += [(make, name, call) for make in (built, trained) for name, call in BUILT.items()]
CASES += [(passed, "backward", lambda net: net.backward(np.ones((60, 3))))]


@pytest.mark.parametrize(
    ("make", "call"), [case[::2] for case in CASES], ids=[f"{c[1]}, {c[0].__name__}" for c in CASES]
)
def test_an_allocation_that_fails_changes_nothing(make, call, monkeypatch):
    net, lucky = make(), make()
    expected = call(lucky)
    failures = 0
    for arrays in range(200):
        before = everything(net)
        with monkeypatch.context() as patch:
            patch.setattr(_memory, "np", Scarce(arrays))
            try:
                found = call(net)
                break
            except MemoryError as error:
                assert "on purpose" in str(error)
        held = everything(net)
        # The first layer of a network that is not built yet may already have been: that is no training.
        assert held == before, {name: (before[name], held[name]) for name in held if held[name] != before.get(name)}
        failures += 1
    else:
        raise AssertionError("it never went through")
    assert failures > 0 or call is CALLS["train_step"] or call is BUILT["step"]
    assert digest(net.params) == digest(lucky.params) if net.inputs else lucky.inputs is None
    if isinstance(expected, np.ndarray):
        assert (found == expected).all()
    elif not isinstance(expected, fn.History):
        assert found == expected


def test_a_network_too_large_is_a_memory_error_with_its_size():
    with pytest.raises(MemoryError):
        fn.Sequential([fn.Dense(2**44)], inputs=2**12)
    with pytest.raises(MemoryError, match=r"shape \(1152921504606846976,\)"):
        _memory.allocate(2**60, np.float64)


@pytest.mark.parametrize("shape", [0, 1, 7, (3, 5), (0, 4), (2, 3, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.int64, np.float64])
def test_arrays_begin_on_a_cache_line(shape, dtype):
    for zero in (False, True):
        array = _memory.allocate(shape, dtype, zero=zero)
        assert array.size == 0 or array.ctypes.data % 64 == 0
        assert array.flags.c_contiguous and array.flags.writeable
        assert array.shape == (shape if isinstance(shape, tuple) else (shape,)) and array.dtype == dtype
        assert not zero or not array.any()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a limit on address space")
def test_a_system_without_memory():
    """In earnest: an address space that has no room for the outputs, or for a workspace."""
    python(
        """
        import resource, numpy as np, fastnn as fn
        X = np.ones((20_000, 16), np.float32)
        net = fn.Sequential([fn.Dense(400, "tanh"), fn.Dense(400)], inputs=16, seed=0)
        net.predict(X[:100], threads=2)
        net.fit(X[:100], X[:100, :1] * np.ones(400), epochs=1, threads=2, verbose=0)
        params, state = net.params.copy(), net._state.array.copy()
        pages = int(open("/proc/self/statm").read().split()[0])
        room = pages * resource.getpagesize() + (20 << 20)
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (room, hard))
        for call in (lambda: net.predict(X), lambda: net.predictor()(X), lambda: net.forward(X, training=True),
                     lambda: net.fit(X, np.broadcast_to(X[:, :1], (20_000, 400)), metrics=["accuracy"], verbose=0)):
            try:
                call()
            except MemoryError:
                pass
            else:
                raise AssertionError
            assert (net.params == params).all() and (net._state.array == state).all()
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
        assert net.predict(X).shape == (20_000, 400)
        """
    )


# ---- how much is taken -----------------------------------------------------------------------------------------------

PEAK = """
    import resource, sys, numpy as np, fastnn as fn
    def peak():
        unit = 1024 if sys.platform.startswith("linux") else 1 << 20
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    def network():
        layers = [fn.Dense(256, "relu"), fn.Dense(128, "relu"), fn.Dense(10, "softmax")]
        return fn.Sequential(layers, inputs=784, seed=0)
    MODEL = 4 * 4 * network().n_params / 2**20  # float32: parameters, gradients, two states of Adam
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs getrusage")
@pytest.mark.parametrize(("kind", "order", "arguments"), [
    ("float32", "C", "threads=2"),
    ("float32", "C", "threads=1, validation_fraction=0.1, metrics=['accuracy'], sample_weight=np.ones(60000)"),
    ("uint8", "C", "threads=2"),
    ("float64", "F", "threads=2"),
])  # fmt: skip
def test_fit_takes_little_beyond_the_data(kind, order, arguments):
    """60,000 rows like Fashion-MNIST's: at most 16 MB beyond X, parameters, gradients and optimizer state."""
    printed = python(
        PEAK
        + f"""
    X = np.zeros((60000, 784), "{kind}", order="{order}")
    X += np.arange(784, dtype="{kind}") % 7  # in place: every page is there, and no more than that
    Y = np.arange(60000) % 10
    before = peak()
    network().fit(X, Y, epochs=1, batch_size=128, verbose=0, {arguments})
    print(peak() - before - MODEL)
    """,
        FASTNN_ISA="",
    )
    assert float(printed) <= 16


@pytest.mark.skipif(sys.platform == "win32", reason="needs getrusage")
def test_predict_and_evaluate_take_little_beyond_the_outputs():
    printed = python(
        PEAK
        + """
    X = np.zeros((60000, 784), "u1")
    X += 3
    Y = np.arange(60000) % 10
    net = network()
    before = peak()
    net.predict(X, threads=2), net.evaluate(X, Y, metrics=["accuracy"]), net.predict(X[::-1, ::-1])
    print(peak() - before)
    """,
        FASTNN_ISA="",
    )
    assert float(printed) <= 16
