# SPDX-License-Identifier: BSD-3-Clause
"""Is the network well? Numbers per layer, and what they mean in plain words.

Two sources: the outputs of every layer for some rows (:func:`examine`), and what the last step of an epoch left behind,
sums of squares of gradient, update and weight (:class:`Checkup`). :class:`Checkup` measures during ``fit`` and looks
at so few rows that it costs well under a hundredth of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import _core
from ._memory import allocate
from .layers import Layer, place_of
from .parameters import Parameters

if TYPE_CHECKING:
    from .model import Sequential

ROWS = 256  # looked at, at most
FEWEST_ROWS = 16
BUDGET = 0.003  # of the multiply-adds of training, for looking at outputs
LOOK = 1e7  # multiply-adds as long as it takes to look at a layer at all: about 0.1 ms
STEPS_BETWEEN = 200  # measured steps: one costs up to half as much again
# 0, flat or nearly so below 0: a unit that is never above learns little. What helps then, by the activation.
CUT_OFF = {
    "relu": "leaky_relu",
    "leaky_relu": "a larger slope as in LeakyReLU(0.2)",
    "elu": "a BatchNorm before this activation",
    "selu": "a BatchNorm before this activation",
}
BOUNDED = {"tanh": (-1.0, 1.0), "sigmoid": (0.0, 1.0), "softsign": (-1.0, 1.0), "hard_sigmoid": (0.0, 1.0)}
NEAR = 0.02  # of the range: within it of an end, the slope is a fiftieth of the largest, or less

DEAD = 0.5  # shares and ratios from which on there is something to say
SATURATED = 0.5
VANISHING = 1e-3
LARGE_UPDATE = 0.1
SMALL_UPDATE = 1e-7


@dataclass(frozen=True)
class LayerHealth:
    """What was found out about one layer; None is what was not looked at. Made by ``Sequential.health`` and ``fit``.

    Attributes
    ----------
    layer : str
        Which one.
    activation : str
        Its name; of a layer without any, the name of the layer's class.
    dead : float or None
        Share, 0 to 1, of units that were above 0 for no row; of relu, leaky_relu, elu and selu.
    saturated : float or None
        Share, 0 to 1, of outputs at the ends of the range; of bounded activations.
    finite : bool or None
        Whether all outputs were finite numbers.
    gradient : float or None
        Norm of the gradient of its parameters, in the last step.
    gradient_size : float or None
        The same per parameter: the root of the mean square.
    update : float or None
        Norm of that step's update over the norm of the weights.

    Examples
    --------
    >>> import numpy as np, fastnn as fn
    >>> X = np.linspace(-1, 1, 640)[:, None]
    >>> net = fn.Sequential([fn.Dense(8, "tanh"), fn.Dense(1)], seed=0)
    >>> first = net.fit(X, X**2, epochs=20, verbose=0).health.layers[0]
    >>> first.layer, first.activation, 0 < first.update < 0.1
    ('layer 0', 'tanh', True)
    """

    layer: str
    activation: str
    dead: float | None = None
    saturated: float | None = None
    finite: bool | None = None
    gradient: float | None = None
    gradient_size: float | None = None
    update: float | None = None


@dataclass(frozen=True)
class Health:
    """What was found: print it, or look at its parts. Made by ``Sequential.health`` and ``fit``.

    Attributes
    ----------
    layers : tuple of LayerHealth
        In the order of the network; of ``fit`` only those that something was found out about.
    warnings : tuple of str
        In plain words, what is wrong and what to try; empty if nothing is.

    Examples
    --------
    >>> import numpy as np, fastnn as fn
    >>> net = fn.Sequential([fn.Dense(4, "relu"), fn.Dense(1)], inputs=2, seed=0)
    >>> net.layers[0].bias = np.full(4, -100.0)
    >>> print(net.health(np.eye(2)))
    layer    activation    dead  saturated
    layer 0  relu        100.0%          -
    layer 1  linear           -          -
    ! layer 0 (relu): 100 % of its units are 0 for every row, so they no longer learn (dying ReLUs). Try a lower \
    learning rate, inputs of about unit size, or leaky_relu
    """

    layers: tuple[LayerHealth, ...]
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        columns: list[tuple[str, list[str]]] = [
            ("layer", [found.layer for found in self.layers]),
            ("activation", [found.activation for found in self.layers]),
            ("dead", [_share(found.dead) for found in self.layers]),
            ("saturated", [_share(found.saturated) for found in self.layers]),
        ]
        if any(found.gradient is not None for found in self.layers):
            columns.append(("gradient", [_number(found.gradient) for found in self.layers]))
            columns.append(("update/weight", [_number(found.update) for found in self.layers]))
        widths = [max(map(len, (name, *values))) for name, values in columns]
        lines = []
        for row in range(-1, len(self.layers)):
            cells = [name if row < 0 else values[row] for name, values in columns]
            padded = [f"{cell:<{width}}" if place < 2 else f"{cell:>{width}}"
                      for place, (cell, width) in enumerate(zip(cells, widths, strict=True))]  # fmt: skip
            lines.append("  ".join(padded).rstrip())
        return "\n".join([*lines, *(f"! {warning}" for warning in self.warnings)])


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}%"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2g}"


# ---- outputs --------------------------------------------------------------------------------------------------------


def examine(parameters: Parameters, numbers: NDArray[Any], layers: tuple[Layer, ...], x: NDArray[Any]) -> Health:
    """Outputs of every layer for some rows, with these parameters."""
    found = []
    for place, (layer, buffer) in enumerate(parameters.graph.ends):
        activation = _kind(layer)
        outputs = _outputs(parameters, numbers, x, buffer)
        hidden = place < len(parameters.graph.ends) - 1
        with np.errstate(invalid="ignore"):
            dead = float((outputs <= 0).all(axis=0).mean()) if activation in CUT_OFF else None
            saturated = _saturated(outputs, activation) if hidden else None
        finite = bool(np.isfinite(outputs).all())
        found.append(LayerHealth(place_of(layers, layer), activation, dead, saturated, finite))
    return Health(tuple(found), tuple(_about_outputs(found)))


def _kind(layer: Layer) -> str:
    """Its activation; of a layer without one, what it is."""
    return str(getattr(getattr(layer, "activation", None), "name", type(layer).__name__))


def _outputs(parameters: Parameters, numbers: NDArray[Any], x: NDArray[Any], buffer: int) -> NDArray[Any]:
    """What a buffer holds after a prediction."""
    network = parameters.graph.compile(parameters.dtype, output=buffer)
    outputs = allocate((x.shape[0], network.outputs), parameters.dtype)
    workspace = allocate(network.workspace_size(_core.USE_PREDICT, x.shape[0], 1), np.uint8)
    _core.predict(network, numbers, x, outputs, workspace, 1)
    return outputs


def _saturated(outputs: NDArray[Any], activation: str) -> float | None:
    if activation not in BOUNDED:
        return None
    low, high = BOUNDED[activation]
    margin = NEAR * (high - low)
    return float(((outputs < low + margin) | (outputs > high - margin)).mean())


def _about_outputs(layers: list[LayerHealth]) -> list[str]:
    said = []
    for found in layers:
        if found.finite is False:
            said.append(f"{found.layer} ({found.activation}) is the first with outputs that are not finite numbers")
            break
    for found in layers:
        if found.dead is not None and found.dead >= DEAD:
            how = "0 for every row, so they no longer learn (dying ReLUs)"
            if found.activation != "relu":
                how = "below 0 for every row"
            said.append(
                f"{found.layer} ({found.activation}): {100 * found.dead:.0f} % of its units are {how}. Try a lower "
                f"learning rate, inputs of about unit size, or {CUT_OFF[found.activation]}"
            )
        if found.saturated is not None and found.saturated >= SATURATED:
            said.append(
                f"{found.layer} ({found.activation}): {100 * found.saturated:.0f} % of its outputs are at the ends of "
                "their range, where the slope is almost 0 (saturation). Try inputs of about unit size, a lower "
                "learning rate, or relu"
            )
    return said


# ---- steps ----------------------------------------------------------------------------------------------------------


def with_steps(
    health: Health, parameters: Parameters, layers: tuple[Layer, ...], sums: NDArray[np.float64], factor: float
) -> Health:
    """The same with gradients and updates, from the sums of squares (segments, 3) of a step.

    `factor` is what a schedule made of the learning rate: a step that was meant to be small is no illness.
    """
    totals: dict[str, list[float]] = {}
    kinds: dict[str, str] = {}
    for segment, (gradient, update, weight) in zip(parameters.graph.segments, sums.tolist(), strict=True):
        if segment.frozen:
            continue
        place = place_of(layers, segment.layer)
        kinds[place] = _kind(segment.layer)
        total = totals.setdefault(place, [0.0, 0.0, 0.0, 0.0])
        for i, value in enumerate((gradient, update, weight, float(segment.size))):
            total[i] += value
    found = []
    known = {layer.layer: layer for layer in health.layers}
    for name in [*known, *(name for name in totals if name not in known)]:
        layer = known[name] if name in known else LayerHealth(name, kinds[name])
        if name in totals:
            gradient, update, weight, size = totals[name]
            layer = replace(
                layer,
                gradient=math.sqrt(gradient),
                gradient_size=math.sqrt(gradient / size),
                update=math.sqrt(update / weight) if weight > 0 else None,
            )
        found.append(layer)
    return Health(tuple(found), (*health.warnings, *_about_steps(found, factor)))


def _about_steps(layers: list[LayerHealth], factor: float) -> list[str]:
    said = []
    trained = [layer for layer in layers if layer.gradient_size is not None]
    if len(trained) > 1:
        first, last = trained[0], trained[-1]
        instead = "relu instead of sigmoid or tanh, " if any(layer.activation in BOUNDED for layer in layers) else ""
        assert first.gradient_size is not None and last.gradient_size is not None
        if first.gradient_size < VANISHING * last.gradient_size:
            said.append(
                f"the gradient of {first.layer} is {first.gradient_size / last.gradient_size:.1g} times that of "
                f"{last.layer}: it vanishes on its way back. Try {instead}LayerNorm or BatchNorm, Residual, or fewer "
                "layers"
            )
        elif last.gradient_size < VANISHING * first.gradient_size:
            ratio = first.gradient_size / max(last.gradient_size, 1e-300)
            said.append(
                f"the gradient of {first.layer} is {ratio:.1g} times that of {last.layer}: it explodes on its way "
                "back. Try clip_norm=1.0, smaller initial weights, or LayerNorm"
            )
    for layer in trained:
        if layer.update is not None and layer.update > LARGE_UPDATE:
            said.append(
                f"{layer.layer}: one step changes its weights by {100 * layer.update:.0f} % (about 0.1 % is usual). "
                "Try a lower learning rate, or clip_norm=1.0"
            )
        elif layer.update is not None and 0 < layer.update < SMALL_UPDATE * min(factor, 1.0):
            said.append(
                f"{layer.layer}: one step changes its weights by {layer.update:.1g} of their size (about 1e-3 is "
                "usual), so it hardly learns. Try a higher learning rate"
            )
    return said


class Checkup:
    """What ``fit`` measures on its way, for ``History.report``.

    Steps that are measured every now and then, and the last step of all, are kept apart: in a run that is gone on with,
    for more epochs, there was no last step yet.
    """

    def __init__(self, net: Sequential, parameters: Parameters, x: NDArray[Any], rows: int) -> None:
        self._layers, self._parameters = net.layers, parameters
        # (now and then, the last), segments, (gradient, update, weight)
        self.sums: NDArray[np.float64] = allocate((2, len(parameters.graph.segments), 3), np.float64, zero=True)
        self._measured = [False, False]
        self.rows, self._rows = x, rows  # to look at; of an epoch
        self._steps = self._steps_before = 0  # since the last measured one; at the start of the epoch under way

    def due(self, epoch: int, epochs: int, steps: int) -> NDArray[np.float64] | None:
        """Where to put the sums of an epoch's last step: of the last epoch, and of some on the way to it."""
        self._steps_before = self._steps
        self._steps += steps
        if self._steps >= STEPS_BETWEEN:
            self._steps, which = 0, 0
        elif epoch == epochs - 1:
            which = 1
        else:
            return None
        self._measured[which] = True
        return self.sums[which]  # type: ignore[no-any-return]

    def state(self, in_epoch: bool) -> dict[str, Any]:
        """What a checkpoint keeps beside the sums; in the middle of an epoch, :meth:`due` is asked about it again."""
        steps = self._steps_before if in_epoch else self._steps
        return {"steps": steps, "measured": list(self._measured), "rows": self._rows}

    def go_on(self, state: dict[str, Any], sums: NDArray[np.float64], is_over: bool) -> None:
        """Where a checkpoint was."""
        self.sums[...] = sums
        self._steps, self._rows = int(state["steps"]), int(state["rows"])
        self._measured = [bool(state["measured"][0]), is_over and bool(state["measured"][1])]

    def saw(self, rows: int) -> None:
        """How many rows an epoch had, where that is not known before it."""
        self._rows = rows

    def finish(self, epochs: int, factor: float) -> Health | None:
        """At the end of a fit of so many epochs; None where nothing was trained."""
        if epochs == 0:
            return None
        # A training row costs three times the multiply-adds of a forward pass, and there is one pass per layer.
        layers, row = max(len(self._parameters.graph.ends), 1), max(self._parameters.graph.multiply_adds, 1)
        affordable = int((BUDGET * 3 * self._rows * epochs * row / layers - LOOK) / row)
        rows = min(affordable, ROWS, self.rows.shape[0])
        health = Health((), ())
        if rows >= FEWEST_ROWS:
            health = examine(self._parameters, self._parameters.numbers, self._layers, self.rows[:rows])
        if not any(self._measured):
            return health
        return with_steps(health, self._parameters, self._layers, self.sums[int(self._measured[1])], factor)


# ---- data and curves ------------------------------------------------------------------------------------------------

FAR = 100.0  # from unit size, as a factor
ROWS_FOR_SIZE = 128  # at most, spread evenly


def about_size(values: NDArray[Any], what: str, remedy: str) -> str | None:
    """Whether numbers are far from unit size, by some of the rows."""
    step = -(-values.shape[0] // ROWS_FOR_SIZE)
    some = np.asarray(values[::step], np.float64)
    if some.ndim == 1:
        some = some[:, np.newaxis]
    with np.errstate(over="ignore"):
        size = np.sqrt((some * some).mean(axis=0))
    largest = int(size.argmax())
    if size[largest] > FAR:
        where = f" in column {largest}" if size.size > 1 else ""
        found = f"{size[largest]:.3g}{where}"
    elif 0 < size[largest] < 1 / FAR:
        found = f"{size[largest]:.3g} at most"
    else:
        return None
    return f"{what} has numbers of about {found}, far from unit size: training may be slow or diverge. {remedy}"


def about_curves(history: dict[str, list[float]]) -> list[str]:
    """Overfitting, as the losses show it."""
    loss, held_out = history.get("loss", []), history.get("val_loss", [])
    if len(held_out) < 3:
        return []
    best = int(np.argmin(held_out))
    if held_out[-1] > 1.05 * held_out[best] and loss[-1] < loss[best] and best < len(held_out) - 1:
        return [
            f"val_loss was lowest after epoch {best + 1} ({held_out[best]:.4g}) and is now {held_out[-1]:.4g}, while "
            f"the training loss went on from {loss[best]:.4g} to {loss[-1]:.4g}: overfitting. Try EarlyStopping, "
            "Dropout, Dense(l2=...), weight_decay, a smaller network, or more data"
        ]
    return []
