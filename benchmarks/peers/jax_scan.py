# SPDX-License-Identifier: BSD-3-Clause
"""JAX: a whole epoch is one compiled `lax.scan` over the batches, so that Python takes no part in a step.

The last batch, smaller than the others, is one more compiled step. Adam is written out: optax is not needed for it.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import problem, timer
from benchmarks.process import serve


def load_library(threads: int) -> tuple[dict[str, str], dict[str, Any]]:
    import jax
    import jax.numpy as jnp
    from jax import lax

    state: dict[str, Any] = {}

    def loss_of(params: Any, x: Any, y: Any) -> Any:
        for weight, bias in params[:-1]:
            x = jnp.maximum(x @ weight + bias, 0)
        weight, bias = params[-1]
        log_probabilities = jax.nn.log_softmax(x @ weight + bias)
        return -jnp.mean(jnp.take_along_axis(log_probabilities, y[:, None], axis=1))

    def step(carry: Any, batch: Any) -> Any:
        params, m, v, t = carry
        loss, grads = jax.value_and_grad(loss_of)(params, *batch)
        t = t + 1
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, grads)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, grads)
        unbias1, unbias2 = 1 / (1 - 0.9**t), 1 / (1 - 0.999**t)
        params = jax.tree.map(lambda p, m, v: p - 1e-3 * (m * unbias1) / (jnp.sqrt(v * unbias2) + 1e-8), params, m, v)
        return (params, m, v, t), loss

    epoch = jax.jit(lambda carry, X, y: lax.scan(step, carry, (X, y)), donate_argnums=0)
    one_step = jax.jit(step, donate_argnums=0)

    def load(folder: str, batch: int) -> None:
        state.update(
            folder=Path(folder), batch=batch, X=np.load(f"{folder}/X.npy"), y=np.load(f"{folder}/y.npy"), on_device={}
        )

    def batches(rows: int) -> tuple[Any, Any, Any, Any]:
        """Whole batches stacked, and what is left; put on the device once."""
        if rows not in state["on_device"]:
            batch = state["batch"]
            whole = rows // batch * batch
            X, y = state["X"][:rows], state["y"][:rows].astype(np.int32)
            arrays = X[:whole].reshape(-1, batch, X.shape[1]), y[:whole].reshape(-1, batch), X[whole:], y[whole:]
            state["on_device"][rows] = tuple(jnp.asarray(array) for array in arrays)
        return state["on_device"][rows]

    def reset() -> None:
        params = [(jnp.array(weight), jnp.array(bias)) for weight, bias in problem.load_weights(state["folder"])]
        zeros = [jax.tree.map(jnp.zeros_like, params) for _ in range(2)]
        state["carry"] = (params, *zeros, jnp.float32(0))

    def train(epochs: int, rows: int) -> dict[str, float]:
        X, y, X_left, y_left = batches(rows)
        carry = jax.block_until_ready(state["carry"])
        start = time.perf_counter()
        for _ in range(epochs):
            carry, _ = epoch(carry, X, y)
            if len(X_left):
                carry, _ = one_step(carry, (X_left, y_left))
        state["carry"] = jax.block_until_ready(carry)
        return {"seconds": time.perf_counter() - start}

    def weights(folder: str) -> None:
        problem.save_weights(
            Path(folder), [(np.asarray(weight), np.asarray(bias)) for weight, bias in state["carry"][0]]
        )

    def load_policy(folder: str) -> None:
        params = [(jnp.asarray(weight), jnp.asarray(bias)) for weight, bias in problem.load_weights(Path(folder))]
        x = np.load(f"{folder}/x.npy")

        @jax.jit
        def network(x: Any) -> Any:
            for weight, bias in params[:-1]:
                x = jnp.tanh(x @ weight + bias)
            return x @ params[-1][0] + params[-1][1]

        # From NumPy to NumPy, as a loop in Python would use it.
        state["call"] = lambda: np.asarray(network(x))

    def predict() -> list[float]:
        return state["call"]().tolist()

    def time_predict(seconds: float) -> dict[str, float]:
        return {"seconds": timer.seconds_per_call(state["call"], seconds)}

    return {"jax": jax.__version__}, {
        "load": load,
        "reset": reset,
        "train": train,
        "weights": weights,
        "load_policy": load_policy,
        "predict": predict,
        "time_predict": time_predict,
    }


if __name__ == "__main__":
    serve(load_library)
