# SPDX-License-Identifier: BSD-3-Clause
"""One file per library, each the main program of a worker process (see benchmarks/process.py).

What a worker answers, by what PEERS says the library can do:

- train: load(folder, activation, loss, batch), reset(), train(epochs, rows, shuffle), weights(folder)
- predict: load_network(folder, activation), predict(), time_predict(rows, seconds)
- gemm: gemm(shape, pieces)

To add a library: a file here that serves these, a row in PEERS. Peers import NumPy, benchmarks and their own library
only.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Peer:
    """`environment` chooses between ways of using one library; `slow_start` is left out of quick runs."""

    module: str
    can: frozenset[str]
    package: str  # what an import of it is timed with
    environment: dict[str, str] = field(default_factory=dict)
    slow_start: bool = False


def _way(name: str) -> dict[str, str]:
    return {"BENCHMARKS_WAY": name}


# name in tables -> how it is asked
PEERS = {
    "PyTorch": Peer("benchmarks.peers.pytorch", frozenset({"train", "predict", "fit", "gemm"}), "torch"),
    "PyTorch, DataLoader": Peer("benchmarks.peers.pytorch", frozenset({"fit"}), "torch", _way("loader")),
    "torch.compile": Peer(
        "benchmarks.peers.pytorch", frozenset({"train", "predict"}), "torch", _way("compile"), slow_start=True
    ),
    "JAX, jit a step": Peer("benchmarks.peers.jax_jit", frozenset({"train", "predict"}), "jax", _way("step")),
    "JAX, lax.scan": Peer("benchmarks.peers.jax_jit", frozenset({"train", "fit"}), "jax", _way("scan")),
    "scikit-learn": Peer("benchmarks.peers.scikit_learn", frozenset({"train", "predict", "fit"}), "sklearn"),
    "NumPy": Peer("benchmarks.peers.by_hand", frozenset({"train", "predict", "gemm"}), "numpy"),
    "ONNX Runtime": Peer("benchmarks.peers.onnx_runtime", frozenset({"predict"}), "onnxruntime"),
}
OWN_NAME = "fastnn"
OWN = "benchmarks.peers.own"
INSTRUMENTS = "benchmarks.peers.instruments"  # what the processor can do, through fastnn's own loops


def peers_that(can: str) -> dict[str, Peer]:
    return {name: peer for name, peer in PEERS.items() if can in peer.can}
