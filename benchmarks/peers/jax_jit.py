# SPDX-License-Identifier: BSD-3-Clause
"""JAX, in two ways: a step is one compiled function, called for every batch; or a whole epoch is one compiled
`lax.scan` over the batches, so that Python takes no part in a step.

Batches lie on the device, cut before the clock starts. A last batch that is smaller is one more compiled step. Adam is
written out: optax is not needed for it.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import problem, timer
from benchmarks.process import serve

WAY = os.environ.get("BENCHMARKS_WAY", "scan")


def load_library(threads: int) -> tuple[dict[str, str], dict[str, Any]]:
    import jax
    import jax.numpy as jnp
    from jax import lax

    state: dict[str, Any] = {}

    def network(params: Any, x: Any, activation: str) -> Any:
        for weight, bias in params[:-1]:
            z = x @ weight + bias
            x = jnp.maximum(z, 0) if activation == "relu" else jnp.tanh(z)
        return x @ params[-1][0] + params[-1][1]

    def make_step(activation: str, loss: str) -> Any:
        def loss_of(params: Any, x: Any, y: Any) -> Any:
            z = network(params, x, activation)
            if loss == "mse":
                return jnp.mean((z - y) ** 2)
            return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(z), y[:, None], axis=1))

        def step(carry: Any, batch: Any) -> Any:
            params, m, v, t = carry
            loss, grads = jax.value_and_grad(loss_of)(params, *batch)
            t = t + 1
            m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, grads)
            v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, grads)
            c1, c2 = 1 / (1 - 0.9**t), 1 / (1 - 0.999**t)
            params = jax.tree.map(lambda p, m, v: p - 1e-3 * (m * c1) / (jnp.sqrt(v * c2) + 1e-8), params, m, v)
            return (params, m, v, t), loss

        return step

    def load(folder: str, activation: str, loss: str, batch: int) -> None:
        step = make_step(activation, loss)

        def whole_epoch(carry: Any, X: Any, y: Any) -> Any:
            return lax.scan(step, carry, (X, y))

        def shuffled_epoch(carry: Any, X: Any, y: Any, order: Any) -> Any:
            return lax.scan(lambda carry, chosen: step(carry, (X[chosen], y[chosen])), carry, order)

        y = np.load(f"{folder}/y.npy")
        state.update(
            folder=Path(folder),
            batch=batch,
            X=np.load(f"{folder}/X.npy"),
            y=y.astype(np.int32) if loss == "cross_entropy" else y,
            on_device={},
            generator=np.random.default_rng(0),
            step=jax.jit(step, donate_argnums=0),
            epoch=jax.jit(whole_epoch, donate_argnums=0),
            shuffled_epoch=jax.jit(shuffled_epoch, donate_argnums=0),
        )

    def batches(rows: int, kind: str) -> Any:
        """Put on the device once: "rows" as they are; "cut" into a list of batches; "stacked": whole ones, the rest."""
        if (rows, kind) not in state["on_device"]:
            batch = state["batch"]
            X, y = state["X"][:rows], state["y"][:rows]
            if kind == "rows":
                arrays = jnp.asarray(X), jnp.asarray(y)
            elif kind == "cut":
                cuts = range(0, rows, batch)
                arrays = tuple((jnp.asarray(X[i : i + batch]), jnp.asarray(y[i : i + batch])) for i in cuts)
            else:
                whole = rows // batch * batch
                stacked = X[:whole].reshape(-1, batch, X.shape[1]), y[:whole].reshape(-1, batch, *y.shape[1:])
                arrays = tuple(jnp.asarray(array) for array in (*stacked, X[whole:], y[whole:]))
            state["on_device"] = {(rows, kind): arrays}
        return state["on_device"][rows, kind]

    def reset() -> None:
        params = [(jnp.array(weight), jnp.array(bias)) for weight, bias in problem.load_weights(state["folder"])]
        zeros = [jax.tree.map(jnp.zeros_like, params) for _ in range(2)]
        state["carry"] = (params, *zeros, jnp.float32(0))

    def train_steps(carry: Any, cut: Any) -> Any:
        step = state["step"]
        for xy in cut:
            carry, _ = step(carry, xy)
        return carry

    def train_scan(carry: Any, X: Any, y: Any, X_left: Any, y_left: Any) -> Any:
        carry, _ = state["epoch"](carry, X, y)
        return state["step"](carry, (X_left, y_left))[0] if len(X_left) else carry

    def train_shuffled(carry: Any, X: Any, y: Any) -> Any:
        order = state["generator"].permutation(len(X)).astype(np.int32)
        whole = len(X) // state["batch"] * state["batch"]
        carry, _ = state["shuffled_epoch"](carry, X, y, order[:whole].reshape(-1, state["batch"]))
        left = order[whole:]
        return state["step"](carry, (X[left], y[left]))[0] if len(left) else carry

    def train(epochs: int, rows: int, shuffle: bool = False) -> dict[str, float]:
        one_epoch, kind = (train_steps, "cut") if WAY == "step" else (train_scan, "stacked")
        if shuffle:
            one_epoch, kind = train_shuffled, "rows"
        data = batches(rows, kind)
        carry = jax.block_until_ready(state["carry"])
        start = time.perf_counter()
        for _ in range(epochs):
            carry = one_epoch(carry, data) if kind == "cut" else one_epoch(carry, *data)
        state["carry"] = jax.block_until_ready(carry)
        return {"seconds": time.perf_counter() - start}

    def weights(folder: str) -> None:
        problem.save_weights(
            Path(folder), [(np.asarray(weight), np.asarray(bias)) for weight, bias in state["carry"][0]]
        )

    def load_network(folder: str, activation: str) -> None:
        params = [(jnp.asarray(weight), jnp.asarray(bias)) for weight, bias in problem.load_weights(Path(folder))]
        compiled = jax.jit(lambda x: network(params, x, activation))
        state["x"] = np.load(f"{folder}/x.npy", mmap_mode="r")
        # From NumPy to NumPy, as a loop in Python would use it.
        state["call"] = lambda x: np.asarray(compiled(x))

    def predict() -> list[list[float]]:
        return state["call"](np.array(state["x"][:4])).tolist()

    def time_predict(rows: int, seconds: float) -> float:
        x, call = np.array(state["x"][:rows]), state["call"]
        return timer.seconds_per_call(lambda: call(x), seconds)

    return {"jax": jax.__version__}, {
        "load": load,
        "reset": reset,
        "train": train,
        "weights": weights,
        "load_network": load_network,
        "predict": predict,
        "time_predict": time_predict,
    }


if __name__ == "__main__":
    serve(load_library)
