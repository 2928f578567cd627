# SPDX-License-Identifier: BSD-3-Clause
"""Types of the compiled boundary; what each function does is said in _core.pyx."""

from collections.abc import Callable
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

numerics_version: int
DENSE: int
ACTIVATION: int
PRELU: int
DROPOUT: int
NOISE: int
LAYER_NORM: int
RMS_NORM: int
BATCH_NORM: int
COPY: int
ADD: int
EMBEDDING: int
NORMALIZE: int
RESCALE: int
MAX_RANDOM_LAYERS: int
FINISHED: int
STOPPED: int
DIVERGED: int
BAD_UPDATE: int
USE_TRAIN: int
USE_PASS: int
USE_PREDICT: int
EXP: int
LOG: int
TANH: int
SIGMOID: int
NORMAL_QUANTILE: int
MATMUL_FORWARD: int
MATMUL_INPUT: int
MATMUL_WEIGHT: int
STREAM_SHUFFLE: int
STREAM_INITIAL: int
STREAM_SPLIT: int

_Array = NDArray[Any]
_Objective = tuple[int, bool, tuple[float, ...], int]
_Operation = tuple[int, int, int, int, int, int, int, int, int, int, int, int, int, float, float]
_Segment = tuple[int, int, int, float, float, float, int, int]

def readable(x: object) -> bool: ...
def address(x: _Array) -> int: ...
def first_nonfinite(x: _Array, real_type: int) -> int: ...
def read_labels(y: _Array, classes: int, int32_labels: NDArray[np.int32]) -> int: ...

class CompressedRows:
    def __init__(self, values: _Array, indices: _Array, starts: _Array, columns: int) -> None: ...

def first_outside(y: _Array, low: float, high: float) -> int: ...

class Network:
    real_type: int
    inputs: int
    outputs: int
    n_params: int
    n_state: int
    itemsize: int
    def __init__(
        self,
        real_type: int,
        ops: list[_Operation],
        widths: list[int],
        segments: list[_Segment],
        output: int,
        n_state: int = 0,
    ) -> None: ...
    def workspace_size(self, use: int, batch: int, threads: int) -> int: ...
    def predictor_size(self) -> int: ...

class OptimizerState:
    array: _Array
    average: _Array | None
    name: str
    step: int
    averaged: int
    product: float
    penalizes_sums: bool
    def __init__(self, network: Network, name: str, array: _Array) -> None: ...
    def go_on_from(self, step: int, averaged: int, product: float) -> None: ...
    def keep_average(self, average: _Array) -> None: ...
    def set_hyper(
        self, values: tuple[float, ...], weight_decay: float, average_decay: float, penalizes_sums: bool = False
    ) -> None: ...

class Training:
    threads: int
    steps_done: int
    loss_sum: float
    weight_sum: float
    def __init__(
        self,
        network: Network,
        objective: _Objective,
        optimizer: OptimizerState,
        params: _Array,
        grads: _Array,
        draws: NDArray[np.int64],
        workspace: NDArray[np.uint8],
        batch: int,
        threads: int,
    ) -> None: ...
    def set_clipping(self, norm: float, value: float) -> None: ...
    def choose_pace(self) -> None: ...
    def measure(self, segment_sums: NDArray[np.float64] | None) -> None: ...
    def bind(
        self,
        x: _Array,
        labels: NDArray[np.int32] | None,
        values: _Array | None,
        weights: NDArray[np.float64] | None,
        outputs: _Array | None,
        order: NDArray[np.int64] | None,
        shuffle: bool,
        seed: int,
    ) -> None: ...
    def run(
        self,
        epoch: int,
        first_step: int,
        n_steps: int,
        learning_rate: float | _Array,
        poll: bool = True,
        loss_sum: float = 0.0,
        weight_sum: float = 0.0,
    ) -> tuple[int, int, int, float, float]: ...
    def release(self) -> None: ...
    def prepare_steps(self, label_buffer: NDArray[np.int32] | None, bounds: tuple[float, float] | None) -> None: ...
    def step(self, x: object, y: object, weights: object, learning_rate: float) -> tuple[int, float] | None: ...

def forward(
    network: Network,
    params: _Array,
    seed: int,
    draw: int,
    x: _Array,
    workspace: NDArray[np.uint8],
    outputs: _Array,
    threads: int,
) -> None: ...
def backward(
    network: Network,
    params: _Array,
    seed: int,
    draw: int,
    rows: int,
    doutputs: _Array,
    workspace: NDArray[np.uint8],
    grads: _Array,
    accumulate: bool,
    dx: _Array | None,
    threads: int,
) -> None: ...
def update(
    network: Network,
    optimizer: OptimizerState,
    learning_rate: float,
    scale: float,
    params: _Array,
    grads: _Array,
    clip_norm: float = 0.0,
    clip_value: float = 0.0,
) -> int: ...
def penalty(network: Network, params: _Array) -> float: ...
def gradient_norm(network: Network, grads: _Array) -> float: ...
def predict(
    network: Network,
    params: _Array,
    x: _Array,
    outputs: _Array | None,
    workspace: NDArray[np.uint8],
    threads: int,
    objective: _Objective | None = None,
    labels: NDArray[np.int32] | None = None,
    values: _Array | None = None,
    weights: NDArray[np.float64] | None = None,
    checked: bool = False,
) -> tuple[int, float, float]: ...
def predict_few(
    network: Network, params: _Array, x: object, work: float, spare: dict[int, list[NDArray[np.uint8]]]
) -> _Array | None: ...

@final
class Predictor:
    @property
    def inputs(self) -> int: ...
    @property
    def outputs(self) -> int: ...
    def __call__(self, x: ArrayLike, out: _Array | None = None) -> _Array: ...
    def argmax(self, x: ArrayLike, /) -> Any: ...

def make_predictor(
    network: Network,
    params: _Array,
    memory: NDArray[np.uint8],
    convert: Callable[[object], _Array],
    many_rows: Callable[[_Array, _Array], None],
    many_work: int,
) -> Predictor: ...
def activation_names() -> tuple[str, ...]: ...
def loss_names() -> tuple[str, ...]: ...
def optimizer_names() -> tuple[str, ...]: ...
def optimizer_hyper_names(name: str) -> tuple[str, ...]: ...
def optimizer_states(name: str) -> int: ...
def activation_in_place(index: int) -> bool: ...
def random_words(seed: int, stream: int, index: int, out: NDArray[np.uint32]) -> None: ...
def permutation(seed: int, stream: int, index: int, out: NDArray[np.int64]) -> None: ...
def isa_names() -> tuple[str, ...]: ...
def isa_supported(name: str) -> bool: ...
def isa_select(name: str | None = None) -> bool: ...
def isa() -> str: ...
def threads_worth(work: float, limit: int, once: bool = False) -> int: ...
def threads_backend() -> str: ...
def vector_function(function: int, x: _Array, y: _Array) -> None: ...
def matmul_workspace(real_type: int, use: int, m: int, n: int, k: int) -> int: ...
def matmul(
    use: int,
    a: _Array,
    b: _Array,
    start: _Array | None,
    c: _Array,
    workspace: NDArray[np.uint8] | None,
    repeats: int = 1,
) -> float: ...
def fma_peak(real_type: int, seconds: float) -> float: ...
