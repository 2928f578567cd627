# SPDX-License-Identifier: BSD-3-Clause
"""``check_gradients``: the gradients that training uses, against differences of the loss, in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import _core, inputs
from ._memory import allocate
from .arguments import number
from .evaluation import Evaluation
from .losses import Objective, resolve_loss
from .parameters import Parameters
from .python_loss import make_training

if TYPE_CHECKING:
    from .model import Sequential

STEPS = (1e-3, 1e-4, 1e-5)  # of the differences, relative; near the corner of a ReLU only a small one is right
PER_TENSOR = 64  # parameters looked at in each tensor


def check_gradients(
    net: Sequential,
    X: Any,
    y: Any,
    loss: Any = None,
    *,
    sample_weight: Any = None,
    tol: float = 1e-7,
) -> float:
    """Compare the gradients of training with central differences of the loss.

    The very code that trains is run, in float64, on a copy of the network: one step of gradient descent with learning
    rate 1 is w - g. Of each tensor up to 64 parameters, spread evenly, are compared with
    (8 (L(w + h) - L(w - h)) - (L(w + 2h) - L(w - 2h))) / 12h. The error is relative to the larger of the two, and at
    least to a thousandth of the tensor's largest gradient.

    Parameters
    ----------
    net : Sequential
        Is not changed.
    X, y, loss, sample_weight
        As in ``Sequential.fit``; a few dozen rows are enough.
    tol : float, default 1e-7
        Errors above it raise.

    Returns
    -------
    float
        The largest relative error.

    Raises
    ------
    AssertionError
        Beyond `tol`, naming the parameter that is worst.

    Examples
    --------
    >>> import numpy as np, fastnn as fn
    >>> net = fn.Sequential([fn.Dense(5, "tanh"), fn.Dense(2)], inputs=3, seed=0)
    >>> fn.check_gradients(net, np.eye(3), np.ones((3, 2)), loss="mse") < 1e-7
    True
    """
    if not hasattr(net, "_graph_for"):
        raise TypeError(f"net must be a Sequential, not {type(net).__name__}")
    tol = number(tol, "tol")
    double = np.dtype(np.float64)
    x = inputs.training_features(X, net.inputs)
    rows = x.shape[0]
    graph = net._graph_for(x.shape[1])
    objective = resolve_loss(loss, graph.last_activation, graph.width)
    targets = inputs.targets(y, rows, objective, graph.width, double)
    weights = inputs.sample_weights(sample_weight, rows)
    inputs.check_finite(x, double, "X")

    copy = Parameters(graph, double)
    copy.params[...] = net._parameters_for(graph).params
    evaluation = Evaluation(copy, objective, (), x, targets, weights, 1)
    gradient = _gradient(copy, objective, x, targets, weights)

    worst, where = 0.0, ""
    for segment in graph.segments:
        if segment.frozen or segment.learning_rate_factor == 0:
            continue
        part = slice(segment.offset, segment.offset + segment.size)
        floor = 1e-3 * float(np.abs(gradient[part]).max())
        for position in np.unique(np.linspace(0, segment.size - 1, PER_TENSOR).astype(np.int64)):
            found = float(gradient[segment.offset + position])
            error = _error(evaluation, copy.params, segment.offset + int(position), found, floor)
            if not error <= worst:
                at = divmod(int(position), segment.columns)
                worst, where = error, f"{segment.name}{list(at)} of layer {net.layers.index(segment.layer)}"
    if not worst <= tol:
        raise AssertionError(f"the gradient of {where} has a relative error of {worst:.3g}, more than {tol:g}")
    return worst


def _gradient(copy: Parameters, objective: Objective, x: Any, targets: Any, weights: Any) -> NDArray[np.float64]:
    """w - (w after one step with learning rate 1)."""
    size, rows = copy.params.size, x.shape[0]
    states = _core.optimizer_states("sgd")
    state = _core.OptimizerState(copy.network, "sgd", allocate(states * size, copy.dtype, zero=True))
    before = copy.params.copy()
    native = make_training(objective, copy, state, rows, 1)
    native.bind(x, targets.labels, targets.values, weights, None, None, False, 0)
    native.run(0, 0, 1, 1.0)
    gradient: NDArray[np.float64] = before - copy.params
    copy.params[...] = before
    for segment in copy.graph.segments:  # the step was learning_rate_factor times as long
        if segment.learning_rate_factor:
            gradient[segment.offset : segment.offset + segment.size] /= segment.learning_rate_factor
    return gradient


def _error(evaluation: Evaluation, params: NDArray[np.float64], i: int, found: float, floor: float) -> float:
    """The relative error of one derivative, with the step of the differences that suits it best."""
    w = float(params[i])
    best = np.inf
    for step in STEPS:
        h = step * max(1.0, abs(w))
        near, far = (_difference(evaluation, params, i, distance) for distance in (h, 2 * h))
        expected = (8 * near - far) / (12 * h)
        scale = max(abs(found), abs(expected), floor)
        error = abs(found - expected) / scale if scale > 0 else 0.0
        best = min(best, error)
    return float(best)


def _difference(evaluation: Evaluation, params: NDArray[np.float64], i: int, h: float) -> float:
    """L(w + h) - L(w - h)."""
    w = params[i]
    params[i] = w + h
    above = evaluation.run(params)["loss"]
    params[i] = w - h
    below = evaluation.run(params)["loss"]
    params[i] = w
    return above - below
