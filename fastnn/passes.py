# SPDX-License-Identifier: BSD-3-Clause
"""``forward`` and ``backward`` for the caller's own loop: what one leaves in the workspace, the other reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import _core, inputs
from ._memory import allocate
from .frames import read_features
from .learning import warn_of_unlearned
from .parameters import Parameters
from .runtime import choose_threads

if TYPE_CHECKING:
    from .model import Sequential


class Pass:
    """A batch on its way through the network and back: its size, its threads and what it left behind."""

    def __init__(self, parameters: Parameters, rows: int, threads: int) -> None:
        self.rows = rows
        self.threads = threads
        self.workspace = parameters.workspace(_core.USE_PASS, rows, threads)
        self.draw = 0  # which random masks the batch got
        self.ready = False  # forward has been run, and the parameters have not been stepped since


def forward(net: Sequential, X: Any, threads: int | None) -> NDArray[Any]:
    """The outputs, with what backward needs kept."""
    x = inputs.training_features(read_features(net, X)[0], net.inputs)
    inputs.check_finite(x, net.dtype, "X")
    parameters = net._parameters_for(net._graph_for(x.shape[1]))
    rows = x.shape[0]
    team = choose_threads(threads, parameters.prediction_work(rows))
    run = net._pass
    if run is None or run.rows != rows or run.threads != team:
        run = Pass(parameters, rows, team)
    outputs = allocate((rows, parameters.outputs), net.dtype)
    warn_of_unlearned(net, parameters, "forward(training=True)")
    net._adopt_parameters(parameters)
    net._pass = run
    run.draw = int(parameters.draws[0])
    parameters.draws[0] += 1
    arguments = (parameters.network, parameters.numbers, net.seed, run.draw, x, run.workspace, outputs, team)
    if parameters.state.size:  # running statistics change
        parameters.shared.write(_core.forward, *arguments)
    else:
        _core.forward(*arguments)
    run.ready = True
    return outputs


def backward(net: Sequential, doutput: Any, accumulate: bool, input_gradient: bool) -> NDArray[Any] | None:
    """dL/dinput; dL/dparameters goes to ``net.grads``."""
    run, parameters = net._pass, net._parameters
    if run is None or parameters is None or not run.ready:
        raise RuntimeError("backward needs a forward(X, training=True) before it, with the weights as they are now")
    given = inputs.numbers(doutput, "doutput")
    needed = (run.rows, parameters.outputs)
    if given.shape != needed and not (needed[1] == 1 and given.shape == needed[:1]):
        raise ValueError(f"doutput has shape {given.shape}, but the outputs of the last forward have {needed}")
    doutputs = np.ascontiguousarray(given, net.dtype).reshape(needed)
    if not doutputs.flags.aligned:
        doutputs = doutputs.copy()
    dx = allocate((run.rows, parameters.inputs), net.dtype) if input_gradient else None
    numbers, grads = parameters.numbers, parameters.grads
    _core.backward(
        parameters.network, numbers, net.seed, run.draw, run.rows, doutputs, run.workspace, grads, bool(accumulate),
        dx, run.threads,
    )  # fmt: skip
    return dx
