# SPDX-License-Identifier: BSD-3-Clause
"""What ``fastnn bench`` asks of each library: the tasks, and how a library trains and predicts.

To add a library: a function here that takes a task, its data and a number of threads and returns (train an epoch,
outputs of rows before any softmax), and a row in LIBRARIES. To add a workload: a row in TASKS.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Weights = list[tuple[Array, Array]]
Ways = tuple[Callable[[], object], Callable[[Array], Any]]  # train an epoch; rows -> outputs


@dataclass(frozen=True)
class Task:
    """A network, and how it is trained with Adam 1e-3; steps=0: one row is predicted instead."""

    sizes: tuple[int, ...]
    activation: str
    loss: str = "mse"
    batch: int = 1
    steps: int = 0

    @property
    def words(self) -> str:
        words = f"{'-'.join(map(str, self.sizes))} {self.activation}"
        return f"a training step of {words}, batch {self.batch}" if self.steps else f"one prediction of {words}"

    @property
    def flops(self) -> int:
        """Of a step: 6 per weight and row, 4 in the first layer, which needs no gradient of its input."""
        weights = [a * b for a, b in pairwise(self.sizes)]
        return self.batch * (6 * sum(weights) - 2 * weights[0])


TASKS = {
    "rl": Task((4, 64, 64, 2), "tanh", "mse", 64, 300),
    "pinn": Task((2, 50, 50, 50, 50, 1), "tanh", "mse", 1024, 20),
    "table": Task((54, 256, 256, 7), "relu", "cross_entropy", 256, 30),
    "fashion": Task((784, 256, 128, 10), "relu", "cross_entropy", 128, 30),
    "predict": Task((4, 64, 64, 2), "tanh"),
    "predict_table": Task((54, 256, 256, 7), "relu"),
}


def make_data(task: Task) -> tuple[Weights, Array, Array]:
    """Initial weights (inputs, units) with variance 2 / inputs or, for tanh, 1 / inputs; X; labels or targets."""
    generator = np.random.default_rng(0)
    weights = []
    for inputs, units in pairwise(task.sizes):
        limit = np.sqrt((6 if task.activation == "relu" else 3) / inputs)
        weight = generator.uniform(-limit, limit, (inputs, units)).astype(np.float32)
        weights.append((weight, np.zeros(units, np.float32)))
    X = generator.standard_normal((max(task.batch * task.steps, 1), task.sizes[0]), np.float32)
    z = X @ generator.standard_normal((task.sizes[0], task.sizes[-1]), np.float32)
    return weights, X, z.argmax(1) if task.loss == "cross_entropy" else np.sin(z)


def loss_of(task: Task, z: Array, y: Array) -> float:
    """The mean of (z - y)^2, or of -log softmax(z)[label], in float64."""
    z = np.asarray(z, np.float64).reshape(len(y), -1)
    if task.loss == "mse":
        return float(np.mean((z - y) ** 2))
    z = z - z.max(1, keepdims=True)
    return float(np.mean(np.log(np.exp(z).sum(1)) - z[np.arange(len(y)), y]))


def with_fastnn(task: Task, weights: Weights, X: Array, y: Array, threads: int) -> Ways:
    """The whole call of fit, its checks included; the predictor, or predict for many rows."""
    import fastnn as fn

    layers = [fn.Dense(n, task.activation) for n in task.sizes[1:-1]] + [fn.Dense(task.sizes[-1])]
    net = fn.Sequential(layers, inputs=task.sizes[0], seed=0)
    for layer, (weight, bias) in zip(net.layers, weights, strict=True):
        layer.weight[...], layer.bias[...] = weight, bias  # type: ignore[attr-defined]
    if not task.steps:
        return lambda: None, net.predictor()
    optimizer = fn.Adam(1e-3)

    def train() -> None:
        net.fit(
            X,
            y,
            loss=task.loss,
            optimizer=optimizer,
            epochs=1,
            batch_size=task.batch,
            shuffle=False,
            threads=threads,
            verbose=0,
        )

    return train, net.predict


def with_torch(task: Task, weights: Weights, X: Array, y: Array, threads: int) -> Ways:
    """Eager, slices of a tensor, the fused Adam."""
    torch = import_module("torch")
    torch.set_num_threads(threads)
    layers = []
    for weight, bias in weights:
        layers += [torch.nn.Linear(*weight.shape), torch.nn.ReLU() if task.activation == "relu" else torch.nn.Tanh()]
        with torch.no_grad():
            layers[-2].weight.copy_(torch.from_numpy(weight.T.copy()))
            layers[-2].bias.copy_(torch.from_numpy(bias))
    net = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)
    function = getattr(torch.nn.functional, {"mse": "mse_loss"}.get(task.loss, task.loss))
    X_all, y_all = torch.from_numpy(X), torch.from_numpy(y)

    def train() -> None:
        for i in range(0, len(X), task.batch):
            loss = function(net(X_all[i : i + task.batch]), y_all[i : i + task.batch])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    def outputs(x: Array) -> Any:
        with torch.inference_mode():
            return net(torch.from_numpy(x)).numpy()

    return train, outputs


def with_jax(task: Task, weights: Weights, X: Array, y: Array, threads: int) -> Ways:
    """An epoch is one compiled scan over the batches."""
    jax, jnp = import_module("jax"), import_module("jax.numpy")

    def network(params: Any, x: Any) -> Any:
        for weight, bias in params[:-1]:
            z = x @ weight + bias
            x = jnp.maximum(z, 0) if task.activation == "relu" else jnp.tanh(z)
        return x @ params[-1][0] + params[-1][1]

    def loss(params: Any, x: Any, y: Any) -> Any:
        z = network(params, x)
        if task.loss == "mse":
            return jnp.mean((z - y) ** 2)
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(z), y[:, None], axis=1))

    def step(carry: Any, batch: Any) -> Any:
        p, m, v, t = carry
        g = jax.grad(loss)(p, *batch)
        t = t + 1
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        a, b = 1e-3 / (1 - 0.9**t), 1 / (1 - 0.999**t)
        return (jax.tree.map(lambda p, m, v: p - a * m / (jnp.sqrt(v * b) + 1e-8), p, m, v), m, v, t), None

    epoch = jax.jit(lambda carry, X, y: jax.lax.scan(step, carry, (X, y))[0])
    params = [(jnp.array(weight), jnp.array(bias)) for weight, bias in weights]
    zeros = jax.tree.map(jnp.zeros_like, params)
    state = [(params, zeros, zeros, jnp.float32(0))]
    stacked = []
    if task.steps:
        stacked = [jnp.asarray(a.reshape(task.steps, task.batch, *a.shape[1:])) for a in (X, y)]
    compiled = jax.jit(network)

    def train() -> None:
        state[0] = jax.block_until_ready(epoch(state[0], *stacked))

    return train, lambda x: np.asarray(compiled(state[0][0], x))


def with_sklearn(task: Task, weights: Weights, X: Array, y: Array, threads: int) -> Ways:
    """MLPRegressor or MLPClassifier; epsilon such that the first step of its Adam is that of the others."""
    sklearn, warnings = import_module("sklearn.neural_network"), import_module("warnings")
    warnings.simplefilter("ignore")
    hidden, labels = task.sizes[1:-1], task.loss == "cross_entropy"
    kind = sklearn.MLPClassifier if labels else sklearn.MLPRegressor
    model = kind(
        hidden_layer_sizes=hidden,
        activation=task.activation,
        alpha=0,
        batch_size=task.batch,
        shuffle=False,
        epsilon=3.16e-10,
    )
    y = y if labels or y.shape[1] > 1 else y.ravel()
    first = {"classes": np.arange(task.sizes[-1])} if labels else {}
    model.partial_fit(X[: task.batch], y[: task.batch], **first)
    model.coefs_, model.intercepts_ = [list(part) for part in zip(*weights, strict=True)]
    del model._optimizer  # the next step makes one for these arrays
    return lambda: model.partial_fit(X, y), lambda x: _log(model.predict_proba(x)) if labels else model.predict(x)


def _log(probabilities: Array) -> Array:
    return np.log(np.maximum(probabilities, 1e-30))


def with_numpy(task: Task, weights: Weights, X: Array, y: Array, threads: int) -> Ways:
    """By hand: prediction only, which takes a few lines."""

    def outputs(x: Array) -> Any:
        for weight, bias in weights[:-1]:
            z = x @ weight + bias
            x = np.maximum(z, 0) if task.activation == "relu" else np.tanh(z)
        return x @ weights[-1][0] + weights[-1][1]

    return lambda: None, outputs


def with_onnxruntime(task: Task, weights: Weights, X: Array, y: Array, threads: int) -> Ways:
    """Prediction only. The model is a file of protocol buffers, whose field numbers are those of onnx.proto."""
    onnxruntime = import_module("onnxruntime")

    def field(number: int, value: int | str | bytes) -> bytes:
        """A number, or a text or message with its length before it."""
        if isinstance(value, int):
            return _varint(number << 3) + _varint(value)
        data = value.encode() if isinstance(value, str) else value
        return _varint(number << 3 | 2) + _varint(len(data)) + data

    def tensor(name: str, array: Array) -> bytes:
        dims = b"".join(field(1, size) for size in array.shape)
        return field(5, dims + field(2, 1) + field(8, name) + field(9, array.astype("<f4").tobytes()))

    def node(operator: str, inputs: list[str], output: str) -> bytes:
        return field(1, b"".join(field(1, name) for name in inputs) + field(2, output) + field(4, operator))

    def rows_of(name: str, width: int) -> bytes:
        shape = field(1, field(2, "rows")) + field(1, field(1, width))
        return field(1, name) + field(2, field(1, field(1, 1) + field(2, shape)))

    graph, value = b"", "x"
    for i, (weight, bias) in enumerate(weights):
        last = i == len(weights) - 1
        graph += tensor(f"w{i}", weight) + tensor(f"b{i}", bias)
        graph += node("Gemm", [value, f"w{i}", f"b{i}"], "y" if last else f"z{i}")
        if not last:
            graph += node(task.activation.capitalize(), [f"z{i}"], value := f"a{i}")
    graph += field(2, "network") + field(11, rows_of("x", task.sizes[0])) + field(12, rows_of("y", task.sizes[-1]))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    model = field(1, 8) + field(8, field(2, 13)) + field(7, graph)  # IR version 8, operator set 13
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = ["y"]
    return lambda: None, lambda x: session.run(names, {"x": x})[0]


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; the eighth bit says that more follow."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


# name in tables -> (its package, how it works, whether it trains here)
LIBRARIES: dict[str, tuple[str, Callable[[Task, Weights, Array, Array, int], Ways], bool]] = {
    "fastnn": ("fastnn", with_fastnn, True),
    "PyTorch": ("torch", with_torch, True),
    "JAX": ("jax", with_jax, True),
    "scikit-learn": ("sklearn", with_sklearn, True),
    "NumPy": ("numpy", with_numpy, False),
    "ONNX Runtime": ("onnxruntime", with_onnxruntime, False),
}
