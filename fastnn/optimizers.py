# SPDX-License-Identifier: BSD-3-Clause
"""The optimizers: how a gradient changes the weights, with the paper's formula as NumPy code.

An object holds hyper-parameters only; what an optimizer remembers (momentum, step) belongs to the network it trains.
The code that runs is in ``csrc/kernels/optimizers.h``. To add one: a row there, and here a class whose attributes are
named like the hyper-parameters there, with its formula in ``update`` and a docstring that has a running example.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from . import _core
from .arguments import number, true_or_false
from .registry import Registry

if TYPE_CHECKING:
    from .model import Sequential

Vector = NDArray[np.float64]


class Optimizer:
    """What all optimizers share. Hyper-parameters are attributes, checked when they are set.

    Attributes
    ----------
    name : str
        What it is called in ``fit``.
    formula : str
        The update of a weight w with gradient g at step t = 1, 2, ...
    learning_rate : float
    """

    name: ClassVar[str]
    formula: ClassVar[str]
    state_names: ClassVar[tuple[str, ...]]
    # Hyper-parameter -> (lowest, highest, whether highest itself is allowed).
    _ranges: ClassVar[dict[str, tuple[float, float, bool]]] = {}

    learning_rate: float
    changes: int = 0  # counts assignments, so that a cached copy in C knows when it is old

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "learning_rate" or name in self._ranges:
            low, high, closed = self._ranges.get(name, (0.0, math.inf, False))
            value = number(value, name)
            if not (low <= value and (value < high or (closed and value == high))):
                end = "finite" if high == math.inf else f"{'at most' if closed else 'below'} {high:g}"
                raise ValueError(f"{name} must be at least {low:g} and {end}, not {value}")
        object.__setattr__(self, name, value)
        object.__setattr__(self, "changes", self.changes + 1)

    @property
    def hyper(self) -> tuple[float, ...]:
        """The hyper-parameters beside the learning rate, in the order of the C library."""
        return tuple(float(getattr(self, name)) for name in _core.optimizer_hyper_names(self.name))

    def config(self) -> dict[str, Any]:
        """The arguments that make an equal optimizer."""
        names = ("learning_rate", *_core.optimizer_hyper_names(self.name))
        return {name: getattr(self, name) for name in names}

    def step(self, net: Sequential) -> None:
        """One update of ``net`` from ``net.grads``, after ``forward`` and ``backward``.

        Parameters
        ----------
        net : Sequential
            The network; its optimizer state goes on if it was made by this class of optimizer.

        Raises
        ------
        DivergenceError
            If a weight is no longer finite.
        """
        try:
            apply = net._apply_optimizer
        except AttributeError:
            raise TypeError(f"net must be a Sequential, not {type(net).__name__}") from None
        apply(self)

    def update(self, w: Vector, g: Vector, states: list[Vector], t: int) -> tuple[Vector, list[Vector]]:
        """The formula in float64: new weights and new state vectors from step t = 1 on. For tests and for reading."""
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, Optimizer) and self.config() == other.config()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.config().items())})"


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum and Nesterov's look ahead if wanted.

    With velocity m: m = momentum m + g; w -= learning_rate m, or with Nesterov w -= learning_rate (g + momentum m).

    Parameters
    ----------
    learning_rate : float, default 0.01
    momentum : float in [0, 1), default 0
    nesterov : bool, default False

    References
    ----------
    Polyak 1964; Sutskever et al. 2013, in the form used by PyTorch.

    Examples
    --------
    >>> import fastnn as fn
    >>> fn.SGD(0.1, momentum=0.9)
    SGD(learning_rate=0.1, momentum=0.9, nesterov=False)
    """

    name = "sgd"
    formula = "m = momentum m + g; w -= learning_rate m"
    state_names = ("momentum",)
    _ranges: ClassVar = {"momentum": (0.0, 1.0, False)}

    def __init__(self, learning_rate: float = 0.01, momentum: float = 0.0, nesterov: bool = False) -> None:
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.nesterov = true_or_false(nesterov, "nesterov")

    def update(self, w: Vector, g: Vector, states: list[Vector], t: int) -> tuple[Vector, list[Vector]]:
        m = self.momentum * states[0] + g
        return w - self.learning_rate * (g + self.momentum * m if self.nesterov else m), [m]


class Adam(Optimizer):
    """Adaptive moments: each weight's step is scaled by the size its gradients usually have.

    m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2;
    w -= learning_rate m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon).

    Parameters
    ----------
    learning_rate : float, default 0.001
    beta1, beta2 : float in [0, 1), default 0.9, 0.999
        How long the means of g and of g^2 remember.
    epsilon : float, default 1e-8
        Keeps the step finite where gradients are zero.

    References
    ----------
    Kingma & Ba, Adam: a method for stochastic optimization, 2015, algorithm 1.

    Examples
    --------
    >>> import fastnn as fn
    >>> fn.Adam(3e-4)
    Adam(learning_rate=0.0003, beta1=0.9, beta2=0.999, epsilon=1e-08)
    """

    name = "adam"
    formula = (
        "m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2; "
        "w -= learning_rate m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon)"
    )
    state_names = ("mean", "variance")
    _ranges: ClassVar = {"beta1": (0.0, 1.0, False), "beta2": (0.0, 1.0, False), "epsilon": (0.0, math.inf, False)}

    def __init__(
        self, learning_rate: float = 0.001, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8
    ) -> None:
        self.learning_rate = learning_rate
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon

    def update(self, w: Vector, g: Vector, states: list[Vector], t: int) -> tuple[Vector, list[Vector]]:
        m = self.beta1 * states[0] + (1 - self.beta1) * g
        v = self.beta2 * states[1] + (1 - self.beta2) * g**2
        root = np.sqrt(v / (1 - self.beta2**t)) + self.epsilon
        return w - self.learning_rate * m / (1 - self.beta1**t) / root, [m, v]


optimizers: Registry[type[Optimizer]] = Registry("optimizer")
for _class in (SGD, Adam):
    optimizers.add(_class.name, _class)
    if _class.name in _core.optimizer_names() and not (
        all(hasattr(_class(), hyper) for hyper in _core.optimizer_hyper_names(_class.name))
        and len(_class.state_names) == _core.optimizer_states(_class.name)
    ):
        raise ImportError(f"the compiled part of fastnn has another {_class.__name__}: build fastnn again")
optimizers.check(_core.optimizer_names())


def resolve_optimizer(optimizer: object) -> Optimizer:
    """An optimizer from a name or an object."""
    if isinstance(optimizer, Optimizer):
        return optimizer
    if isinstance(optimizer, str):
        return optimizers[optimizer]()
    if isinstance(optimizer, type) and issubclass(optimizer, Optimizer):
        raise TypeError(f"optimizer is the class {optimizer.__name__}: write {optimizer.__name__}(), with parentheses")
    raise TypeError(f"optimizer must be a name or an object such as Adam(1e-3), not {type(optimizer).__name__}")
