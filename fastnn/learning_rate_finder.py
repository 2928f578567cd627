# SPDX-License-Identifier: BSD-3-Clause
"""``find_learning_rate``: Smith's range test, made with a copy of the network's numbers.

Training goes on as in ``fit``, batch after batch, while the learning rate grows by the same factor each time. The
network itself takes no part, so nothing of it changes, whatever happens.

Batches differ, small ones by more than training changes. So each is measured with a learning rate of 0 first, and what
decides is the difference that training made to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import _core, inputs
from ._memory import allocate
from .arguments import positive, whole_number
from .frames import read_features, read_targets
from .learning import find_categories, forget_categories, learn
from .losses import resolve_loss
from .optimizers import Optimizer, resolve_optimizer
from .parameters import Parameters
from .python_loss import make_training
from .runtime import choose_threads

if TYPE_CHECKING:
    from .model import Sequential

FEWEST_STEPS = 10
SMOOTHED_SHARE = 20  # a loss is smoothed over its neighbours up to a twentieth of the steps away
TIMES_THE_LOWEST = 4.0  # a loss that has diverged; as in fast.ai's finder
SAFETY = 10.0  # how far below the rate of divergence a suggestion stays


@dataclass(frozen=True)
class RangeTest:
    """What ``Sequential.find_learning_rate`` found; made by it.

    Attributes
    ----------
    learning_rates, losses : ndarray (steps,), float64
        Of each batch that was trained; fewer than asked for if the loss diverged.
    smoothed : ndarray (steps,), float64
        What training changed: each loss less that of the same batch without training, averaged with its neighbours,
        plus the mean of the losses without training.
    suggestion : float or None
        Where the smoothed loss falls fastest, and at most a tenth of where it diverged. None if it did neither, or if
        the first batch alone was too much.
    diverged : float or None
        The learning rate at which the loss, or a weight, was no longer finite, or the loss had risen to four times its
        lowest value and above its first one.

    Examples
    --------
    >>> import numpy as np, fastnn as fn
    >>> X = np.linspace(-1, 1, 256)[:, None]
    >>> found = fn.Sequential([fn.Dense(16, "tanh"), fn.Dense(1)], seed=0).find_learning_rate(X, X**2, optimizer="sgd")
    >>> 1e-7 < found.suggestion < found.diverged
    True
    """

    learning_rates: NDArray[np.float64]
    losses: NDArray[np.float64]
    smoothed: NDArray[np.float64]
    suggestion: float | None
    diverged: float | None

    def plot(self, ax: Any = None) -> Any:
        """Draw the losses over the learning rates, with the suggestion.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where; default: a figure of its own.

        Returns
        -------
        matplotlib Axes
            `ax`, or the new one.

        Raises
        ------
        ModuleNotFoundError
            Without matplotlib: ``pip install matplotlib``.
        """
        if ax is None:
            try:
                from matplotlib import pyplot
            except ModuleNotFoundError:
                raise ModuleNotFoundError("plot needs matplotlib: pip install matplotlib") from None
            _, ax = pyplot.subplots()
        ax.plot(self.learning_rates, self.losses, alpha=0.3, label="loss of a batch")
        ax.plot(self.learning_rates, self.smoothed, label="smoothed")
        if self.suggestion is not None:
            ax.axvline(self.suggestion, linestyle="--", color="gray", label=f"suggestion {self.suggestion:.2g}")
        ax.set_xscale("log")
        ax.set_xlabel("learning rate")
        ax.set_ylabel("loss")
        ax.legend()
        return ax

    def __repr__(self) -> str:
        said = "no suggestion" if self.suggestion is None else f"suggestion {self.suggestion:.3g}"
        end = "" if self.diverged is None else f"; diverged at {self.diverged:.3g}"
        return f"<RangeTest: {said}; {len(self.losses)} batches{end}>"


def find_learning_rate(
    net: Sequential,
    X: Any,
    y: Any,
    loss: Any,
    optimizer: Any,
    batch_size: Any,
    start: Any,
    end: Any,
    steps: Any,
    sample_weight: Any,
    class_weight: Any,
    threads: int | None,
) -> RangeTest:
    """See ``Sequential.find_learning_rate``; the network is the caller's alone meanwhile."""
    low, high = positive(start, "start"), positive(end, "end")
    if high <= low:
        raise ValueError(f"end must be above start, {low:g}, not {high:g}")
    rates = np.geomspace(low, high, whole_number(steps, "steps", least=FEWEST_STEPS))
    chosen = resolve_optimizer(optimizer)
    try:
        x = inputs.training_features(read_features(net, X, learn=True)[0], net.inputs)
        find_categories(net, x)
        graph = net._graph_for(x.shape[1])
        objective = resolve_loss(loss, graph.last_activation, graph.width, graph.rescale >= 0)
        targets = inputs.targets(read_targets(y), len(x), objective, graph.width, net.dtype)
        weights = inputs.sample_weights(sample_weight, len(x))
        weights = inputs.class_weights(class_weight, targets, objective, graph.width, weights)
        inputs.check_finite(x, net.dtype, "X")
        batch = len(x) if batch_size is None else min(whole_number(batch_size, "batch_size"), len(x))

        copy = _copy_of(net, Parameters(graph, net.dtype))
        learn(net, copy, x, targets, None).write()
        state = _state_of(net, copy, chosen)
        team = choose_threads(threads, copy.training_work(batch))
        native = make_training(objective, copy, state, batch, team)
        order = np.arange(len(x), dtype=np.int64)
        native.bind(x, targets.labels, targets.values, weights, None, order, True, net.seed)
        steps = [divmod(i, -(-len(x) // batch)) for i in range(len(rates))]
        places = [(net._epochs_done + passed, step) for passed, step in steps]
        begin = _remember(copy, state)
        still = _losses_at_rest(native, places)
        begin()
        return _raise_rate(native, rates, places, still)
    finally:
        forget_categories(net)


def _copy_of(net: Sequential, copy: Parameters) -> Parameters:
    """The network's numbers, or those it would start with."""
    if net._parameters is None:
        copy.initialize(net.seed)
    else:
        copy.numbers[...] = net._parameters.numbers
        copy.draws[...] = net._parameters.draws
    return copy


def _state_of(net: Sequential, copy: Parameters, optimizer: Optimizer) -> _core.OptimizerState:
    """What the optimizer remembers, for it goes on in ``fit`` too; averages of the weights are of no use here."""
    size = _core.optimizer_states(optimizer.name) * copy.params.size
    state = _core.OptimizerState(copy.network, optimizer.name, allocate(size, copy.dtype, zero=True))
    known = net._state
    if known is not None and known.name == optimizer.name:
        state.array[...] = known.array
        state.go_on_from(known.step, 0, known.product)
    state.set_hyper(optimizer.hyper, optimizer.weight_decay, 0.0)
    return state


def _remember(copy: Parameters, state: _core.OptimizerState) -> Callable[[], None]:
    """A function that puts all numbers back where they are now."""
    vectors = copy.numbers, copy.draws, state.array
    values, counts = [vector.copy() for vector in vectors], (state.step, state.averaged, state.product)

    def put_back() -> None:
        for vector, value in zip(vectors, values, strict=True):
            vector[...] = value
        state.go_on_from(*counts)

    return put_back


def _losses_at_rest(native: Any, places: list[tuple[int, int]]) -> list[float]:
    """The loss of each batch with a learning rate of 0; nan without weight, or when it is not finite."""
    losses = [np.nan] * len(places)
    for i, (epoch, step) in enumerate(places):
        status, _, _, loss, weight = native.run(epoch, step, 1, 0.0)
        if status != _core.FINISHED:
            break
        losses[i] = loss / weight if weight else np.nan
    return losses


def _raise_rate(
    native: Any, rates: NDArray[np.float64], places: list[tuple[int, int]], still: list[float]
) -> RangeTest:
    """Train batch after batch, each with the next rate, until they end or the loss diverges."""
    window = max(1, len(rates) // SMOOTHED_SHARE)
    level = float(np.nanmean(still)) if np.isfinite(still).any() else 0.0
    used: list[float] = []
    losses: list[float] = []
    changed: list[float] = []  # of each batch, by training, above the level without
    recent: list[float] = []  # means over so many batches
    diverged = None
    for rate, (epoch, step), rest in zip(rates.tolist(), places, still, strict=True):
        status, _, _, loss, weight = native.run(epoch, step, 1, rate)
        if status != _core.DIVERGED and weight:
            used.append(rate)
            losses.append(loss / weight)
            changed.append(losses[-1] - (rest if np.isfinite(rest) else level) + level)
            recent.append(float(np.mean(changed[-window:])))
        if status != _core.FINISHED or _has_risen(recent, window):
            diverged = rate
            break
    found, smooth = np.array(used), smoothed(np.array(changed), window)
    return RangeTest(found, np.array(losses), smooth, suggest(found, smooth, diverged, 2 * window), diverged)


def _has_risen(recent: list[float], window: int) -> bool:
    """Whether the loss is above its first value and four times its lowest (which may be below 0, or nearly 0)."""
    if len(recent) <= window:
        return False
    first, lowest = recent[window - 1], min(recent[window - 1 :])
    return recent[-1] > lowest + max((TIMES_THE_LOWEST - 1) * abs(lowest), first - lowest)


def smoothed(losses: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Each loss with its neighbours, weighted by 1 - distance / (window + 1): s_i = sum_j w_ij l_j / sum_j w_ij.

    Unlike a running average it does not lag behind, which would move what it shows to larger rates.

    >>> smoothed(np.array([0.0, 0.0, 4.0, 0.0]), 1)
    array([0.        , 1.        , 2.        , 1.33333333])
    """
    distance = np.abs(np.subtract.outer(np.arange(len(losses)), np.arange(len(losses))))
    weights = np.maximum(1.0 - distance / (window + 1), 0.0)
    result: NDArray[np.float64] = weights @ losses / weights.sum(axis=1)
    return result


def suggest(
    rates: NDArray[np.float64], losses: NDArray[np.float64], diverged: float | None, reach: int
) -> float | None:
    """Where losses fall fastest over the logarithm of the rate, and at most a tenth of where they diverged.

    The slope at i is that between i - reach and i + reach: batches differ, and small differences are mostly theirs.

    >>> suggest(np.array([0.01, 0.1, 1.0, 10.0]), np.array([5.0, 4.0, 1.0, 0.5]), 12.0, 1)
    0.1
    """
    if not len(losses):  # not a batch could be trained: that says nothing of learning rates
        return None
    bound = np.inf if diverged is None else diverged / SAFETY
    lowest = int(losses.argmin())
    if lowest:
        place = np.arange(len(losses))
        before, after = np.maximum(place - reach, 0), np.minimum(place + reach, len(losses) - 1)
        slopes = (losses[after] - losses[before]) / np.log(rates[after] / rates[before])
        bound = min(bound, float(rates[slopes[: lowest + 1].argmin()]))
    return float(bound) if np.isfinite(bound) else None
