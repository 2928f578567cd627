# SPDX-License-Identifier: BSD-3-Clause
"""ONNX Runtime: prediction only. The model file is written here by hand, which spares the `onnx` package.

Numbers of fields are those of onnx.proto (ModelProto, GraphProto, NodeProto, TensorProto, ValueInfoProto).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import problem, timer
from benchmarks.process import serve

FLOAT = 1  # TensorProto.DataType


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number: int, value: int | str | bytes) -> bytes:
    """One field of a protocol buffer: a number, or a text or message with its length before it."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def tensor(name: str, array: np.ndarray[Any, Any]) -> bytes:
    dims = b"".join(field(1, size) for size in array.shape)
    return dims + field(2, FLOAT) + field(8, name) + field(9, np.ascontiguousarray(array, "<f4").tobytes())


def value_info(name: str, shape: tuple[int | str, ...]) -> bytes:
    """A size is a number, or the name of one that varies."""
    dims = b"".join(field(1, field(1 if isinstance(size, int) else 2, size)) for size in shape)
    return field(1, name) + field(2, field(1, field(1, FLOAT) + field(2, dims)))


def node(operator: str, inputs: list[str], output: str) -> bytes:
    return b"".join(field(1, name) for name in inputs) + field(2, output) + field(4, operator)


def model_file(weights: problem.Weights, activation: str) -> bytes:
    """(rows, inputs) -> Gemm, Tanh or Relu, ..., Gemm -> (rows, outputs), operator set 13."""
    graph, current = b"", "x"
    for i, (weight, bias) in enumerate(weights):
        last = i == len(weights) - 1
        graph += field(5, tensor(f"w{i}", weight)) + field(5, tensor(f"b{i}", bias))
        graph += field(1, node("Gemm", [current, f"w{i}", f"b{i}"], "y" if last else f"z{i}"))
        if not last:
            graph += field(1, node({"tanh": "Tanh", "relu": "Relu"}[activation], [f"z{i}"], f"a{i}"))
            current = f"a{i}"
    graph += field(2, "network") + field(11, value_info("x", ("rows", weights[0][0].shape[0])))
    graph += field(12, value_info("y", ("rows", weights[-1][0].shape[1])))
    return field(1, 8) + field(8, field(2, 13)) + field(7, graph)


def load_library(threads: int) -> tuple[dict[str, str], dict[str, Any]]:
    import onnxruntime

    state: dict[str, Any] = {}

    def load_network(folder: str, activation: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(
            model_file(problem.load_weights(Path(folder)), activation), options, providers=["CPUExecutionProvider"]
        )
        outputs = ["y"]
        state["call"] = lambda inputs: session.run(outputs, inputs)
        state["x"] = np.load(f"{folder}/x.npy", mmap_mode="r")

    def predict() -> list[list[float]]:
        return state["call"]({"x": np.array(state["x"][:4])})[0].tolist()

    def time_predict(rows: int, seconds: float) -> float:
        inputs, call = {"x": np.array(state["x"][:rows])}, state["call"]
        return timer.seconds_per_call(lambda: call(inputs), seconds)

    return {"onnxruntime": onnxruntime.__version__}, {
        "load_network": load_network,
        "predict": predict,
        "time_predict": time_predict,
    }


if __name__ == "__main__":
    serve(load_library)
