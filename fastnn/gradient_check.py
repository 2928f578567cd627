# SPDX-License-Identifier: BSD-3-Clause
"""``check_gradients``: the gradients that training uses, against differences of the loss, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import _core, inputs
from ._memory import allocate
from .arguments import number
from .frames import read_features, read_targets
from .layers import place_of
from .losses import Objective, resolve_loss
from .parameters import Parameters
from .python_loss import make_training

if TYPE_CHECKING:
    from .model import Sequential

STEPS = (1e-3, 1e-4, 1e-5, 1e-6)  # of the differences, relative; near the corner of a ReLU only a small one is right
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
    least to a thousandth of the tensor's largest gradient and a ten-thousandth of the network's.

    Parameters
    ----------
    net : Sequential
        Is not changed.
    X, y, loss
        As in ``Sequential.fit``; a few dozen rows are enough.
    sample_weight
        As in ``Sequential.fit``.
    tol : float, default 1e-7
        Errors above it raise; not negative. ``math.inf`` only measures.

    Returns
    -------
    float
        The largest relative error.

    Raises
    ------
    AssertionError
        Beyond `tol`, naming the parameter that is worst.
    ValueError, TypeError
        If an argument does not fit, or every layer is frozen.

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
    if not tol >= 0:
        raise ValueError(f"tol must be at least 0, not {tol!r}")
    double = np.dtype(np.float64)
    x = inputs.training_features(read_features(net, X)[0], net.inputs)
    rows = x.shape[0]
    graph = net._graph_for(x.shape[1])
    objective = resolve_loss(loss, graph.last_activation, graph.width, graph.rescale >= 0)
    targets = inputs.targets(read_targets(y), rows, objective, graph.width, double)
    weights = inputs.sample_weights(sample_weight, rows)
    inputs.check_finite(x, double, "X")

    copy = Parameters(graph, double)
    copy.numbers[...] = net._parameters_for(graph).numbers
    step = TrainingStep(copy, objective, x, targets, weights, net.seed)
    gradient = step.gradient()

    # A bias before a norm of columns has no effect: what is computed for it is rounding.
    least = 1e-4 * float(np.abs(gradient).max())
    if all(segment.frozen or segment.learning_rate_factor == 0 for segment in graph.segments):
        raise ValueError("check_gradients: every layer is frozen, so there is no gradient to check")
    worst, where = 0.0, ""
    for segment in graph.segments:
        if segment.frozen or segment.learning_rate_factor == 0:
            continue
        part = slice(segment.offset, segment.offset + segment.size)
        floor = max(1e-3 * float(np.abs(gradient[part]).max()), least)
        for position in np.unique(np.linspace(0, segment.size - 1, PER_TENSOR).astype(np.int64)):
            found = float(gradient[segment.offset + position])
            error = _error(step.loss, copy.params, segment.offset + int(position), found, floor, worst)
            if not error <= worst:
                at = divmod(int(position), segment.columns)
                worst, where = error, f"{segment.name}{list(at)} of {place_of(net.layers, segment.layer)}"
    if not worst <= tol:
        raise AssertionError(f"the gradient of {where} has a relative error of {worst:.3g}, more than {tol:g}")
    return worst


class TrainingStep:
    """A step of gradient descent that can be made again and again from the same place.

    The loss is that of training: with the same random masks each time, and norms over the batch.
    """

    def __init__(self, copy: Parameters, objective: Objective, x: Any, targets: Any, weights: Any, seed: int) -> None:
        self._copy = copy
        size, rows = copy.params.size, x.shape[0]
        states = _core.optimizer_states("sgd")
        state = _core.OptimizerState(copy.network, "sgd", allocate(states * size, copy.dtype, zero=True))
        self._native = make_training(objective, copy, state, rows, 1)
        self._native.bind(x, targets.labels, targets.values, weights, None, None, False, seed)

    def loss(self) -> float:
        """With the parameters as they are now."""
        return self._run(0.0)

    def gradient(self) -> NDArray[np.float64]:
        """w - (w after one step with learning rate 1)."""
        params = self._copy.params
        before = params.copy()
        self._run(1.0)
        gradient: NDArray[np.float64] = before - params
        params[...] = before
        for segment in self._copy.graph.segments:  # the step was learning_rate_factor times as long
            if segment.learning_rate_factor:
                gradient[segment.offset : segment.offset + segment.size] /= segment.learning_rate_factor
        return gradient

    def _run(self, rate: float) -> float:
        self._copy.draws[0] = 0
        _, _, _, loss_sum, weight_sum = self._native.run(0, 0, 1, rate)
        return loss_sum / weight_sum


def _error(
    loss: Callable[[], float], params: NDArray[np.float64], i: int, found: float, floor: float, enough: float
) -> float:
    """The relative error of one derivative, with the step of the differences that suits it best.

    Other steps are not tried after one whose error is at most `enough`: that of a parameter looked at before, so that
    the largest over all parameters is the same.
    """
    w = float(params[i])
    best = np.inf
    for step in STEPS:
        h = step * max(1.0, abs(w))
        near, far = (_difference(loss, params, i, distance) for distance in (h, 2 * h))
        expected = (8 * near - far) / (12 * h)
        scale = max(abs(found), abs(expected), floor)
        error = abs(found - expected) / scale if scale > 0 else 0.0
        best = min(best, error)
        if best <= enough:
            break
    return float(best)


def _difference(loss: Callable[[], float], params: NDArray[np.float64], i: int, h: float) -> float:
    """L(w + h) - L(w - h)."""
    w = params[i]
    params[i] = w + h
    above = loss()
    params[i] = w - h
    below = loss()
    params[i] = w
    return above - below
