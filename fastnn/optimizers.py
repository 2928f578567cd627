# SPDX-License-Identifier: BSD-3-Clause
"""The optimizers: how a gradient changes the weights, with the paper's formula as NumPy code.

An object holds hyper-parameters only; what an optimizer remembers (momentum, step) belongs to the network it trains.
The code that runs is in ``csrc/kernels/optimizers.h``. To add one: a row there, and here a class whose attributes are
named like the hyper-parameters there, with its formula in ``update`` and a docstring that has a running example. Weight
decay and the average of the weights are the same for all: :class:`Optimizer`.
"""

from __future__ import annotations

import inspect
import math
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from . import _core
from ._memory import allocate
from .arguments import number, true_or_false
from .registry import Registry

if TYPE_CHECKING:
    from .model import Sequential

Vector = NDArray[np.float64]


@cache
def hyper_names(optimizer: str) -> tuple[str, ...]:
    """The hyper-parameters that are an optimizer's own, in the order of the C library."""
    return _core.optimizer_hyper_names(optimizer)


def forget_average(state: _core.OptimizerState) -> None:
    """Let the next average begin anew, from 0: what was there would take part in its rounding."""
    state.go_on_from(state.step, 0, state.product)
    if state.average is not None:
        state.average[...] = 0


class Optimizer:
    """What all optimizers share: the base class. Hyper-parameters are attributes, checked when they are set.

    Parameters
    ----------
    learning_rate : float, default 0.01
        Not negative: the size of a step.
    weight_decay : float, default 0 (AdamW: 0.01)
        Decoupled from the gradient: w -= learning_rate weight_decay w before each update. Weights decay, biases do not.
    average : float in [0, 1), default 0
        Keeps an exponential moving average of the weights too, ``net.averaged_params``: after update n it is s / (1 -
        average^n) with s = average s + (1 - average) w, which is the plain mean at first and remembers about 1 / (1 -
        average) updates later. 0.999 is usual. It costs nothing when 0; an update with 0 ends an average that was
        kept before.

    Attributes
    ----------
    name : str
        What it is called in ``fit``.
    formula : str
        The update of a weight w with gradient g at step t = 1, 2, ...

    Raises
    ------
    ValueError, TypeError
        If a hyper-parameter is out of its range, or no number; also when one is assigned later.

    References
    ----------
    Loshchilov & Hutter, Decoupled weight decay regularization, 2019. Kingma & Ba, Adam, 2015, section 7.2: the average.

    Examples
    --------
    >>> import fastnn as fn
    >>> optimizer = fn.optimizers["sgd"](learning_rate=0.1)
    >>> optimizer.formula, isinstance(optimizer, fn.Optimizer)
    ('m = momentum m + g; w -= learning_rate m', True)
    >>> optimizer.learning_rate = 0.01
    """

    name: ClassVar[str]
    formula: ClassVar[str]
    state_names: ClassVar[tuple[str, ...]]
    # Hyper-parameter -> (lowest, highest, whether highest itself is allowed).
    _ranges: ClassVar[dict[str, tuple[float, float, bool]]] = {}
    _flags: ClassVar[tuple[str, ...]] = ()  # those that are True or False
    _shared_ranges: ClassVar[dict[str, tuple[float, float, bool]]] = {
        "learning_rate": (0.0, math.inf, False),
        "weight_decay": (0.0, math.inf, False),
        "average": (0.0, 1.0, False),
    }

    learning_rate: float
    weight_decay: float
    average: float
    changes: int = 0  # counts assignments, so that a cached copy in C knows when it is old
    _penalizes_sums = False  # penalties belong to the sum over a batch: the estimators of fastnn.sklearn set it

    def __init__(self, learning_rate: float = 0.01, weight_decay: float = 0.0, average: float = 0.0) -> None:
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.average = average

    def __setattr__(self, name: str, value: Any) -> None:
        bounds = self._ranges.get(name) or self._shared_ranges.get(name)
        if bounds is not None:
            low, high, closed = bounds
            value = number(value, name)
            if not (low <= value and (value < high or (closed and value == high))):
                end = "finite" if high == math.inf else f"{'at most' if closed else 'below'} {high:g}"
                raise ValueError(f"{name} must be at least {low:g} and {end}, not {value}")
        elif name in self._flags:
            value = true_or_false(value, name)
        object.__setattr__(self, name, value)
        object.__setattr__(self, "changes", self.changes + 1)

    @property
    def hyper(self) -> tuple[float, ...]:
        """The hyper-parameters beside the learning rate, in the order of the C library."""
        return tuple([float(getattr(self, name)) for name in hyper_names(self.name)])

    def make_room(self, state: _core.OptimizerState) -> None:
        """Memory for the average, if there is none yet."""
        if state.average is None:
            state.keep_average(allocate(state.array.size // len(self.state_names), state.array.dtype, zero=True))

    def prepare(self, state: _core.OptimizerState) -> None:
        """Hand C the hyper-parameters as they are now."""
        if self.average:
            self.make_room(state)
        elif state.averaged:  # of weights that are being left behind
            forget_average(state)
        state.set_hyper(self.hyper, self.weight_decay, self.average, self._penalizes_sums)

    def config(self) -> dict[str, Any]:
        """The arguments that make an equal optimizer."""
        names = ("learning_rate", *hyper_names(self.name), "weight_decay", "average")
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
        RuntimeError
            If the network has no weights yet, or is being trained by another call.
        TypeError
            If `net` is no network.
        """
        try:
            apply = net._apply_optimizer
        except AttributeError:
            raise TypeError(f"net must be a Sequential, not {type(net).__name__}") from None
        apply(self)

    def update(self, w: Vector, g: Vector, states: list[Vector], t: int) -> tuple[Vector, list[Vector]]:
        """The formula in float64, for tests and for reading; without weight decay.

        Parameters
        ----------
        w, g : ndarray (n,), float64
            Weights and their gradients.
        states : list of ndarray (n,), float64
            What is remembered, in the order of ``state_names``; zeros before the first step.
        t : int
            The number of the step, from 1 on.

        Returns
        -------
        w : ndarray (n,), float64
            The new weights.
        states : list of ndarray (n,), float64
            What is remembered now.
        """
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, Optimizer) and self.config() == other.config()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        default = inspect.signature(type(self)).parameters
        shown = (
            f"{name}={value!r}"
            for name, value in self.config().items()
            if name not in ("weight_decay", "average") or value != default[name].default
        )
        return f"{type(self).__name__}({', '.join(shown)})"


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum and Nesterov's look ahead if wanted.

    With velocity m: m = momentum m + g; w -= learning_rate m, or with Nesterov w -= learning_rate (g + momentum m).

    Parameters
    ----------
    learning_rate : float, default 0.01
        Not negative; multiplies every step.
    momentum : float in [0, 1), default 0
        Share of the velocity that a step keeps.
    nesterov : bool, default False
        Nesterov's form of momentum, by the second formula.
    weight_decay, average : float, default 0
        See :class:`Optimizer`.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of its range, or of another type; also when one is assigned later.

    References
    ----------
    Polyak, Some methods of speeding up the convergence of iteration methods, 1964; Sutskever et al., On the importance
    of initialization and momentum in deep learning, 2013, in the form used by PyTorch.

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
    _flags = ("nesterov",)

    def __init__(
        self,
        learning_rate: float = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        *,
        weight_decay: float = 0.0,
        average: float = 0.0,
    ) -> None:
        super().__init__(learning_rate, weight_decay, average)
        self.momentum = momentum
        self.nesterov = nesterov

    def update(self, w: Vector, g: Vector, states: list[Vector], t: int) -> tuple[Vector, list[Vector]]:
        m = self.momentum * states[0] + g
        return w - self.learning_rate * (g + self.momentum * m if self.nesterov else m), [m]


class RMSprop(Optimizer):
    """Each weight's step is divided by the root of the mean square that its gradients had lately.

    v = decay v + (1 - decay) g^2; m = momentum m + g / (sqrt(v) + epsilon); w -= learning_rate m.

    Parameters
    ----------
    learning_rate : float, default 0.01
        Not negative; multiplies every step.
    decay : float in [0, 1), default 0.99
        How long the mean of g^2 remembers; PyTorch's alpha.
    epsilon : float, default 1e-8
        Keeps the step finite where gradients are zero.
    momentum : float in [0, 1), default 0
        Share of the velocity m that a step keeps.
    weight_decay, average : float, default 0
        See :class:`Optimizer`.

    Raises
    ------
    ValueError, TypeError
        If a hyper-parameter is out of its range, or no number; also when one is assigned later.

    References
    ----------
    Tieleman & Hinton, Neural networks for machine learning, lecture 6.5, 2012, in the form used by PyTorch.

    Examples
    --------
    >>> import fastnn as fn
    >>> fn.RMSprop(1e-3)
    RMSprop(learning_rate=0.001, decay=0.99, epsilon=1e-08, momentum=0.0)
    """

    name = "rmsprop"
    formula = "v = decay v + (1 - decay) g^2; m = momentum m + g / (sqrt(v) + epsilon); w -= learning_rate m"
    state_names = ("mean_square", "momentum")
    _ranges: ClassVar = {"decay": (0.0, 1.0, False), "epsilon": (0.0, math.inf, False), "momentum": (0.0, 1.0, False)}

    def __init__(
        self,
        learning_rate: float = 0.01,
        decay: float = 0.99,
        epsilon: float = 1e-8,
        momentum: float = 0.0,
        *,
        weight_decay: float = 0.0,
        average: float = 0.0,
    ) -> None:
        super().__init__(learning_rate, weight_decay, average)
        self.decay = decay
        self.epsilon = epsilon
        self.momentum = momentum

    def update(self, w: Vector, g: Vector, states: list[Vector], t: int) -> tuple[Vector, list[Vector]]:
        v = self.decay * states[0] + (1 - self.decay) * g**2
        m = self.momentum * states[1] + g / (np.sqrt(v) + self.epsilon)
        return w - self.learning_rate * m, [v, m]


class Adagrad(Optimizer):
    """Each weight's step is divided by the root of the sum of squares of all its gradients: rare ones count more.

    s = s + g^2; w -= learning_rate g / (sqrt(initial_accumulator + s) + epsilon).

    Parameters
    ----------
    learning_rate : float, default 0.01
        Not negative; multiplies every step.
    epsilon : float, default 1e-10
        Keeps the step finite where gradients are zero.
    initial_accumulator : float, default 0
        Not negative: damps the first steps.
    weight_decay, average : float, default 0
        See :class:`Optimizer`.

    Raises
    ------
    ValueError, TypeError
        If a hyper-parameter is out of its range, or no number; also when one is assigned later.

    References
    ----------
    Duchi, Hazan & Singer, Adaptive subgradient methods for online learning and stochastic optimization, 2011.

    Examples
    --------
    >>> import fastnn as fn
    >>> fn.Adagrad(0.1)
    Adagrad(learning_rate=0.1, epsilon=1e-10, initial_accumulator=0.0)
    """

    name = "adagrad"
    formula = "s = s + g^2; w -= learning_rate g / (sqrt(initial_accumulator + s) + epsilon)"
    state_names = ("sum_of_squares",)
    _ranges: ClassVar = {"epsilon": (0.0, math.inf, False), "initial_accumulator": (0.0, math.inf, False)}

    def __init__(
        self,
        learning_rate: float = 0.01,
        epsilon: float = 1e-10,
        initial_accumulator: float = 0.0,
        *,
        weight_decay: float = 0.0,
        average: float = 0.0,
    ) -> None:
        super().__init__(learning_rate, weight_decay, average)
        self.epsilon = epsilon
        self.initial_accumulator = initial_accumulator

    def update(self, w: Vector, g: Vector, states: list[Vector], t: int) -> tuple[Vector, list[Vector]]:
        s = states[0] + g**2
        return w - self.learning_rate * g / (np.sqrt(self.initial_accumulator + s) + self.epsilon), [s]


class Adam(Optimizer):
    """Adaptive moments: each weight's step is scaled by the size its gradients usually have.

    m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2;
    w -= learning_rate m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon).

    Parameters
    ----------
    learning_rate : float, default 0.001
        Not negative; multiplies every step.
    beta1, beta2 : float in [0, 1), default 0.9, 0.999
        How long the means of g and of g^2 remember.
    epsilon : float, default 1e-8
        Keeps the step finite where gradients are zero.
    weight_decay, average : float, default 0
        See :class:`Optimizer`.

    Raises
    ------
    ValueError, TypeError
        If a hyper-parameter is out of its range, or no number; also when one is assigned later.

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
        self,
        learning_rate: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        *,
        weight_decay: float = 0.0,
        average: float = 0.0,
    ) -> None:
        super().__init__(learning_rate, weight_decay, average)
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon

    def update(self, w: Vector, g: Vector, states: list[Vector], t: int) -> tuple[Vector, list[Vector]]:
        m = self.beta1 * states[0] + (1 - self.beta1) * g
        v = self.beta2 * states[1] + (1 - self.beta2) * g**2
        root = np.sqrt(v / (1 - self.beta2**t)) + self.epsilon
        return w - self.learning_rate * m / (1 - self.beta1**t) / root, [m, v]


class AdamW(Adam):
    """Adam with weight decay: what Adam is called when weights decay by default.

    w -= learning_rate weight_decay w, then as :class:`Adam`. Biases do not decay.

    Parameters
    ----------
    learning_rate : float, default 0.001
        Not negative; multiplies every step.
    beta1, beta2 : float in [0, 1), default 0.9, 0.999
        How long the means of g and of g^2 remember.
    epsilon : float, default 1e-8
        Keeps the step finite where gradients are zero.
    weight_decay : float, default 0.01
        Share of a weight, times the learning rate, that a step takes away.
    average : float, default 0
        See :class:`Optimizer`.

    Raises
    ------
    ValueError, TypeError
        If a hyper-parameter is out of its range, or no number; also when one is assigned later.

    References
    ----------
    Loshchilov & Hutter, Decoupled weight decay regularization, 2019, algorithm 2, in the form used by PyTorch:
    the learning rate multiplies the decay.

    Examples
    --------
    >>> import fastnn as fn
    >>> fn.AdamW(weight_decay=0.1)
    AdamW(learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-08, weight_decay=0.1)
    """

    name = "adamw"
    formula = "w -= learning_rate weight_decay w; " + Adam.formula

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        *,
        weight_decay: float = 0.01,
        average: float = 0.0,
    ) -> None:
        super().__init__(learning_rate, beta1, beta2, epsilon, weight_decay=weight_decay, average=average)


class NAdam(Adam):
    """Adam with Nesterov's look ahead, and a momentum that warms up.

    m and v as in :class:`Adam`; mu_t = beta1 (1 - 0.96^(0.004 t) / 2); P_t = mu_1 mu_2 ... mu_t;
    w -= learning_rate (mu_(t+1) m / (1 - P_(t+1)) + (1 - mu_t) g / (1 - P_t)) / (sqrt(v / (1 - beta2^t)) + epsilon).

    Parameters
    ----------
    learning_rate : float, default 0.002
        Not negative; multiplies every step.
    beta1, beta2 : float in [0, 1), default 0.9, 0.999
        How long the means of g and of g^2 remember.
    epsilon : float, default 1e-8
        Keeps the step finite where gradients are zero.
    weight_decay, average : float, default 0
        See :class:`Optimizer`.

    Raises
    ------
    ValueError, TypeError
        If a hyper-parameter is out of its range, or no number; also when one is assigned later.

    References
    ----------
    Dozat, Incorporating Nesterov momentum into Adam, 2016; 0.96 and 0.004 are its numbers, PyTorch's and Keras's.

    Examples
    --------
    >>> import fastnn as fn
    >>> fn.NAdam()
    NAdam(learning_rate=0.002, beta1=0.9, beta2=0.999, epsilon=1e-08)
    """

    name = "nadam"
    formula = (
        "m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2; mu_t = beta1 (1 - 0.96^(0.004 t) / 2); "
        "P_t = mu_1 ... mu_t; w -= learning_rate (mu_(t+1) m / (1 - P_(t+1)) + (1 - mu_t) g / (1 - P_t)) "
        "/ (sqrt(v / (1 - beta2^t)) + epsilon)"
    )

    def __init__(
        self,
        learning_rate: float = 0.002,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        *,
        weight_decay: float = 0.0,
        average: float = 0.0,
    ) -> None:
        super().__init__(learning_rate, beta1, beta2, epsilon, weight_decay=weight_decay, average=average)

    def update(self, w: Vector, g: Vector, states: list[Vector], t: int) -> tuple[Vector, list[Vector]]:
        m = self.beta1 * states[0] + (1 - self.beta1) * g
        v = self.beta2 * states[1] + (1 - self.beta2) * g**2
        mu = self.beta1 * (1 - 0.5 * 0.96 ** (0.004 * np.arange(1, t + 2)))  # mu[-2] is mu_t
        ahead = mu[-1] / (1 - mu.prod()) * m + (1 - mu[-2]) / (1 - mu[:-1].prod()) * g
        return w - self.learning_rate * ahead / (np.sqrt(v / (1 - self.beta2**t)) + self.epsilon), [m, v]


class Lion(Optimizer):
    """Only the sign of the momentum counts: every weight moves by the learning rate, up or down.

    w -= learning_rate sign(beta1 m + (1 - beta1) g); m = beta2 m + (1 - beta2) g. The authors advise a learning rate 3
    to 10 times smaller than Adam's, and a weight decay as many times larger.

    Parameters
    ----------
    learning_rate : float, default 0.0001
        Not negative: how far a weight moves in a step.
    beta1, beta2 : float in [0, 1), default 0.9, 0.99
        The share of m in the sign, and how long m remembers.
    weight_decay, average : float, default 0
        See :class:`Optimizer`.

    Raises
    ------
    ValueError, TypeError
        If a hyper-parameter is out of its range, or no number; also when one is assigned later.

    References
    ----------
    Chen et al., Symbolic discovery of optimization algorithms, 2023, algorithm 2.

    Examples
    --------
    >>> import fastnn as fn
    >>> fn.Lion(weight_decay=0.1)
    Lion(learning_rate=0.0001, beta1=0.9, beta2=0.99, weight_decay=0.1)
    """

    name = "lion"
    formula = "w -= learning_rate sign(beta1 m + (1 - beta1) g); m = beta2 m + (1 - beta2) g"
    state_names = ("momentum",)
    _ranges: ClassVar = {"beta1": (0.0, 1.0, False), "beta2": (0.0, 1.0, False)}

    def __init__(
        self,
        learning_rate: float = 0.0001,
        beta1: float = 0.9,
        beta2: float = 0.99,
        *,
        weight_decay: float = 0.0,
        average: float = 0.0,
    ) -> None:
        super().__init__(learning_rate, weight_decay, average)
        self.beta1 = beta1
        self.beta2 = beta2

    def update(self, w: Vector, g: Vector, states: list[Vector], t: int) -> tuple[Vector, list[Vector]]:
        mixed = self.beta1 * states[0] + (1 - self.beta1) * g
        return w - self.learning_rate * np.sign(mixed), [self.beta2 * states[0] + (1 - self.beta2) * g]


optimizers: Registry[type[Optimizer]] = Registry("optimizer")
for _class in (SGD, RMSprop, Adagrad, Adam, AdamW, NAdam, Lion):
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
