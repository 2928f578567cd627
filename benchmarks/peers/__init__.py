# SPDX-License-Identifier: BSD-3-Clause
"""One file per library, each the main program of a worker process (see benchmarks/process.py).

A training peer answers load, reset, train and weights; a predicting peer load_policy, predict and time_predict. To add
one: a file here that serves those handlers, a row in PEERS. Peers import NumPy, benchmarks and their own library only.
"""

# name in tables -> (module, what it can do)
PEERS: dict[str, tuple[str, frozenset[str]]] = {
    "PyTorch": ("benchmarks.peers.pytorch", frozenset({"train", "predict"})),
    "JAX": ("benchmarks.peers.jax_scan", frozenset({"train", "predict"})),
    "scikit-learn": ("benchmarks.peers.scikit_learn", frozenset({"train", "predict"})),
    "ONNX Runtime": ("benchmarks.peers.onnx_runtime", frozenset({"predict"})),
}
OWN = "benchmarks.peers.own"
