# SPDX-License-Identifier: BSD-3-Clause
"""Schedules: the learning rate as a function of the step.

A schedule gives a factor of the optimizer's learning rate for each step 0, 1, ... of one call of ``fit``, and starts
anew with the next. The factors of an epoch are computed before it, many at a time. They are part of the promise that
results are the same on every machine: only additions, products and quotients in float64, which all machines round
alike. So there is a cosine of our own here, and powers are repeated products. To add one: a class with ``at``.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arguments import number, whole_number

Factors = NDArray[np.float64]


class Schedule:
    """What all schedules share: the base class. Call one as schedule(step, steps) for a single factor.

    In a loop of your own: ``optimizer.learning_rate = base * schedule(step, steps)`` before each ``train_step``.

    Examples
    --------
    >>> import fastnn as fn
    >>> schedule = fn.CosineSchedule(warmup=2)
    >>> [round(schedule(step, 6), 3) for step in range(6)]
    [0.5, 1.0, 1.0, 0.854, 0.5, 0.146]
    """

    def at(self, step: Factors, steps: int) -> Factors:
        """The factors of some steps.

        Parameters
        ----------
        step : ndarray (n,), float64
            Whole numbers, counted from 0.
        steps : int
            Steps in all.

        Returns
        -------
        ndarray (n,), float64
        """
        raise NotImplementedError

    def factors(self, first: int, count: int, steps: int) -> Factors:
        """The factors of steps first .. first + count - 1."""
        return self.at(np.arange(first, first + count, dtype=np.float64), steps)

    def remark(self, steps: int) -> str | None:
        """What is unusual about it in a ``fit`` of so many steps; it is warned of."""
        return None

    def __call__(self, step: int, steps: int) -> float:
        """The factor of one step.

        Parameters
        ----------
        step : int
            Counted from 0 within one ``fit``.
        steps : int
            Steps in all.

        Returns
        -------
        float
            What the optimizer's learning rate is multiplied by.

        Raises
        ------
        ValueError, TypeError
            If step is negative, steps is less than 1, or one of them is no integer.
        """
        return float(self.factors(whole_number(step, "step", least=0), 1, whole_number(steps, "steps"))[0])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


class ConstantSchedule(Schedule):
    """The same learning rate in every step, as without a schedule: factor 1.

    Examples
    --------
    >>> import fastnn as fn
    >>> fn.ConstantSchedule()(3, 10)
    1.0
    """

    def at(self, step: Factors, steps: int) -> Factors:
        return np.ones_like(step)


class StepSchedule(Schedule):
    """The learning rate is multiplied by a factor after every so many steps: factor^floor(step / every).

    Parameters
    ----------
    every : int
        Steps, not epochs; at least 1.
    factor : float, default 0.1
        Not negative and finite.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of its range, or no number.

    Examples
    --------
    >>> import fastnn as fn
    >>> schedule = fn.StepSchedule(every=2, factor=0.5)
    >>> [schedule(step, 5) for step in range(5)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    def __init__(self, every: int, factor: float = 0.1) -> None:
        self.every = whole_number(every, "every")
        self.factor = _factor(factor, "factor")

    def at(self, step: Factors, steps: int) -> Factors:
        return _power(self.factor, np.floor_divide(step, self.every))


class ExponentialSchedule(Schedule):
    """The learning rate shrinks by the same factor in every step: decay^step.

    Parameters
    ----------
    decay : float
        Not negative and finite; 0.999 halves the learning rate in some 700 steps.

    Raises
    ------
    ValueError, TypeError
        If decay is out of its range, or no number.

    Examples
    --------
    >>> import fastnn as fn
    >>> schedule = fn.ExponentialSchedule(0.5)
    >>> [schedule(step, 3) for step in range(3)]
    [1.0, 0.5, 0.25]
    """

    def __init__(self, decay: float) -> None:
        self.decay = _factor(decay, "decay")

    def at(self, step: Factors, steps: int) -> Factors:
        return _power(self.decay, step)


class CosineSchedule(Schedule):
    """A straight rise, then half a cosine down to the end of ``fit``.

    With t = (step - warmup) / (steps - warmup), the factor is (step + 1) / warmup before step `warmup`, and from there
    on final + (1 - final) (1 + cos(pi t)) / 2.

    Parameters
    ----------
    warmup : int, default 0
        Steps of the rise, not epochs; ``fit`` warns of one as long as the run.
    final : float, default 0.0
        What the factor would be one step after the last; not negative.

    Raises
    ------
    ValueError, TypeError
        If an argument is negative, or no number.

    References
    ----------
    Loshchilov & Hutter, SGDR: stochastic gradient descent with warm restarts, 2017, equation 5, without restarts.

    Examples
    --------
    >>> import fastnn as fn
    >>> schedule = fn.CosineSchedule(final=0.1)
    >>> [round(schedule(step, 4), 3) for step in range(4)]
    [1.0, 0.868, 0.55, 0.232]
    """

    def __init__(self, warmup: int = 0, final: float = 0.0) -> None:
        self.warmup = whole_number(warmup, "warmup", least=0)
        self.final = _factor(final, "final")

    def at(self, step: Factors, steps: int) -> Factors:
        down = _descent(1.0, self.final, (step - self.warmup) / max(steps - self.warmup, 1))
        return np.where(step < self.warmup, (step + 1) / max(self.warmup, 1), down)

    def remark(self, steps: int) -> str | None:
        """A warm-up as long as the run: the learning rate never falls."""
        if steps > self.warmup:
            return None
        return (
            f"the warm-up of the schedule takes {self.warmup:,} steps, and this fit has {steps:,}: the learning rate "
            f"only rises, to {100 * steps / self.warmup:.3g} % of the optimizer's. Try a shorter warmup= (steps are "
            "batches, not epochs), or more epochs"
        )


class OneCycleSchedule(Schedule):
    """Up along half a cosine to the optimizer's learning rate, and down along another, far below the start.

    With the last step of the rise at e = rise steps - 1, the factor goes from 1 / div_factor at step 0 to 1 at step e,
    and from there to 1 / (div_factor final_div_factor) at the last step. The momentum is left alone.

    Parameters
    ----------
    rise : float in (0, 1), default 0.3
        Share of the steps in which the rate rises.
    div_factor : float, default 25.0
        How many times smaller than the peak the rate begins; at least 1.
    final_div_factor : float, default 1e4
        How many times smaller than at the beginning it ends; at least 1.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of its range, or no number.

    References
    ----------
    Smith & Topin, Super-convergence: very fast training of neural networks using large learning rates, 2018; in the
    two phases of PyTorch's OneCycleLR, whose max_lr is the optimizer's learning rate here.

    Examples
    --------
    >>> import fastnn as fn
    >>> schedule = fn.OneCycleSchedule(rise=0.5)
    >>> [round(schedule(step, 6), 4) for step in range(6)]
    [0.04, 0.52, 1.0, 0.75, 0.25, 0.0]
    """

    def __init__(self, rise: float = 0.3, div_factor: float = 25.0, final_div_factor: float = 1e4) -> None:
        self.rise = number(rise, "rise")
        if not 0 < self.rise < 1:
            raise ValueError(f"rise must be between 0 and 1, not {rise}")
        self.div_factor = _divisor(div_factor, "div_factor")
        self.final_div_factor = _divisor(final_div_factor, "final_div_factor")

    def at(self, step: Factors, steps: int) -> Factors:
        peak, first = self.rise * steps - 1, 1 / self.div_factor
        share_up = np.minimum(step / peak, 1.0) if peak > 0 else np.ones_like(step)
        share_down = np.maximum(step - peak, 0.0) / (steps - 1 - peak)
        down = _descent(1.0, first / self.final_div_factor, share_down)
        return np.where(step <= peak, _descent(first, 1.0, share_up), down)


class FunctionSchedule(Schedule):
    """A user's function as schedule: f(step) or f(step, steps) -> factor.

    >>> FunctionSchedule(lambda step: 1 / (1 + step)).factors(0, 3, 3)
    array([1.        , 0.5       , 0.33333333])
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self._takes_steps = _takes_two(function)

    def factors(self, first: int, count: int, steps: int) -> Factors:
        arguments = ((step, steps) if self._takes_steps else (step,) for step in range(first, first + count))
        found = [_returned(self.function(*given), given[0]) for given in arguments]
        return np.array(found, np.float64)

    def __repr__(self) -> str:
        return getattr(self.function, "__name__", type(self.function).__name__)


def resolve_schedule(schedule: object) -> Schedule | None:
    """A schedule from an object, a function, or None for none."""
    if schedule is None or isinstance(schedule, Schedule):
        return schedule
    if isinstance(schedule, type) and issubclass(schedule, Schedule):
        raise TypeError(f"schedule is the class {schedule.__name__}: write {schedule.__name__}(...), with parentheses")
    if callable(schedule):
        return FunctionSchedule(schedule)
    raise TypeError(
        "schedule must be an object such as CosineSchedule(warmup=200), or a function f(step) or f(step, steps), "
        f"not {type(schedule).__name__}"
    )


def _takes_two(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function).bind(0, 1)
    except (TypeError, ValueError):  # it takes one; or nothing is known of it
        return False
    return True


def _returned(value: Any, step: int) -> float:
    """What a user's function returned for a step, checked."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    factor = number(value, f"what the schedule returned for step {step}")
    if not (math.isfinite(factor) and factor >= 0):
        raise ValueError(f"the schedule returned {value} for step {step}: factors must be finite and not negative")
    return factor


def _factor(value: object, argument: str) -> float:
    factor = number(value, argument)
    if not (math.isfinite(factor) and factor >= 0):
        raise ValueError(f"{argument} must be finite and not negative, not {value}")
    return factor


def _divisor(value: object, argument: str) -> float:
    divisor = number(value, argument)
    if not (math.isfinite(divisor) and divisor >= 1):
        raise ValueError(f"{argument} must be finite and at least 1, not {value}")
    return divisor


def _power(base: float, exponent: Factors) -> Factors:
    """base^exponent for whole exponents from 0 on, by squaring: products alone, so the same bits everywhere."""
    left, result, square = exponent.astype(np.int64), np.ones_like(exponent), base
    with np.errstate(over="ignore"):  # a learning rate that grows for ever ends in a DivergenceError
        while left.any():
            result = np.where(left & 1, result * square, result)
            left, square = left >> 1, square * square
    return result


def _descent(start: float, end: float, share: Factors) -> Factors:
    """From start (share 0) to end (share 1) along half a cosine: end + (start - end) (1 + cos(pi share)) / 2."""
    return end + (start - end) * (0.5 * (1.0 + _cos_pi(share)))


# 1/1!, -1/3!, 1/5! ... 1/25!: behind the last, (pi/2)^27 / 27! is 2e-23.
SINE_SERIES = [(-1) ** (n // 2) / math.factorial(n) for n in range(1, 26, 2)]


def _cos_pi(x: Factors) -> Factors:
    """cos(pi x) for x in 0..1, as sin(pi (1/2 - x)) by its Taylor series; error below 2^-52.

    A math library's cosine has different last bits on different systems.
    """
    z = math.pi * (0.5 - x)
    square, sine = z * z, np.zeros_like(z)
    for coefficient in reversed(SINE_SERIES):
        sine = sine * square + coefficient
    return np.clip(sine * z, -1.0, 1.0)
