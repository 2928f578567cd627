# SPDX-License-Identifier: BSD-3-Clause
"""fastnn itself, in a worker like every peer, and what only it is asked: memory, a Python loss, curves of growth."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import problem, timer
from benchmarks.process import serve


def status_bytes(name: str) -> int:
    """One of the sizes in /proc/self/status, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return 1024 * int(line.split()[1])
    raise KeyError(name)


def resident_bytes() -> int:
    """The resident size now. The largest so far is forgotten: what loading took must not hide what fit takes."""
    Path("/proc/self/clear_refs").write_text("5")
    return status_bytes("VmRSS")


def peak_resident_bytes() -> int:
    return status_bytes("VmHWM")


def mse(y: Any, output: Any) -> tuple[Any, Any]:
    """A loss in Python as a user would write it."""
    e = output - y
    return (e * e).mean(1), 2 * e / e.shape[1]


def load_library(threads: int) -> tuple[dict[str, str], dict[str, Any]]:
    import fastnn as fn
    from fastnn import _core

    fn.set_num_threads(threads)  # a limit, as it is for users: how many take part fastnn decides
    state: dict[str, Any] = {}

    def dense(sizes: Any, activation: str, last: str) -> Any:
        layers = [fn.Dense(n, activation) for n in sizes[1:-1]] + [fn.Dense(sizes[-1], last)]
        return fn.Sequential(layers, inputs=sizes[0], seed=0)

    def build(weights: problem.Weights, activation: str, last: str) -> Any:
        net = dense([len(weights[0][0])] + [bias.size for _, bias in weights], activation, last)
        for layer, (weight, bias) in zip(net.layers, weights, strict=True):
            layer.weight[...] = weight
            layer.bias[...] = bias
        return net

    # ---- training ----

    def load(folder: str, activation: str, loss: str, batch: int) -> None:
        state.update(folder=Path(folder), activation=activation, loss=loss, batch=batch)
        state.update(X=np.load(f"{folder}/X.npy"), y=np.load(f"{folder}/y.npy"))

    def reset() -> None:
        last = "softmax" if state["loss"] == "cross_entropy" else "linear"
        state["net"] = build(problem.load_weights(state["folder"]), state["activation"], last)

    def train(epochs: int, rows: int, shuffle: bool = False) -> dict[str, float]:
        """The whole call of fit, its checks of the data included."""
        X, y = state["X"][:rows], state["y"][:rows]
        start = time.perf_counter()
        history = state["net"].fit(
            X,
            y,
            loss=state["loss"],
            optimizer=fn.Adam(1e-3),
            epochs=epochs,
            batch_size=state["batch"],
            shuffle=shuffle,
            verbose=0,
        )
        return {"seconds": time.perf_counter() - start, "in_epochs": float(sum(history.history["seconds"]))}

    def train_steps(rows: int) -> dict[str, float]:
        """A loop in Python over train_step, the slices of X and y included."""
        X, y, batch, loss = state["X"], state["y"], state["batch"], state["loss"]
        step, optimizer = state["net"].train_step, fn.Adam(1e-3)
        start = time.perf_counter()
        for i in range(0, rows - batch + 1, batch):
            step(X[i : i + batch], y[i : i + batch], loss, optimizer)
        return {"seconds": time.perf_counter() - start, "steps": rows // batch}

    def weights(folder: str) -> None:
        problem.save_weights(Path(folder), [(layer.weight, layer.bias) for layer in state["net"].layers])

    def memory(epochs: int, rows: int) -> dict[str, int]:
        """How far the largest resident size during fit lies above the size before the network was made."""
        before = resident_bytes()
        reset()
        train(epochs, rows, shuffle=True)
        return {"grown": peak_resident_bytes() - before}

    def fit_time(
        sizes: list[int], batch: int, rows: int, activation: str = "relu", python: bool = False, auto: bool = False
    ) -> float:
        """Seconds of an epoch of fit on made-up rows, the second call for a network; auto: it chooses its threads."""
        key = (tuple(sizes), rows)
        if state.get("fit_key") != key:
            generator = np.random.default_rng(0)
            X = generator.standard_normal((rows, sizes[0]), np.float32)
            state.update(fit_key=key, fit_data=(X, generator.standard_normal((rows, sizes[-1]), np.float32)))
        X, y = state["fit_data"]
        net = dense(sizes, activation, "linear")
        options: dict[str, Any] = {"loss": mse if python else "mse", "epochs": 1, "batch_size": batch, "verbose": 0}
        options["threads"] = None if auto else threads
        net.fit(X[: 2 * batch], y[: 2 * batch], **options)
        start = time.perf_counter()
        net.fit(X, y, **options)
        return time.perf_counter() - start

    def rest(seconds: float, **fit: Any) -> float:
        """Processor time of this process in the time after a fit."""
        fit_time(**fit)
        before = time.process_time()
        time.sleep(seconds)
        return time.process_time() - before

    # ---- prediction ----

    def load_network(folder: str, activation: str) -> None:
        net = build(problem.load_weights(Path(folder)), activation, "linear")
        state.update(net=net, predictor=net.predictor(), x=np.load(f"{folder}/x.npy", mmap_mode="r"))

    def predict() -> list[list[float]]:
        rows = np.array(state["x"][:4])
        found = np.array([state["predictor"](row) for row in rows])
        assert np.array_equal(found, state["net"].predict(rows)), "the predictor and predict differ"
        return found.tolist()

    def time_predict(rows: int, seconds: float, way: str = "predict") -> float:
        """predict(X); or, of one row, f(x) or f(x, out=y) with f the predictor."""
        f, predict_rows = state["predictor"], state["net"].predict
        if way == "predict":
            X = np.array(state["x"][:rows])
            return timer.seconds_per_call(lambda: predict_rows(X), seconds)
        x = np.array(state["x"][0])
        out = np.empty_like(f(x))
        return timer.seconds_per_call((lambda: f(x, out=out)) if way == "out" else (lambda: f(x)), seconds)

    return {"fastnn": fn.__version__, "instruction set": _core.isa()}, {
        "load": load,
        "reset": reset,
        "train": train,
        "train_steps": train_steps,
        "weights": weights,
        "memory": memory,
        "fit_time": fit_time,
        "rest": rest,
        "load_network": load_network,
        "predict": predict,
        "time_predict": time_predict,
    }


if __name__ == "__main__":
    serve(load_library)
