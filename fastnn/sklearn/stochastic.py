# SPDX-License-Identifier: BSD-3-Clause
"""The solvers "adam" and "sgd": native epochs, with scikit-learn's rules between them.

Each epoch is one native call, as in ``Sequential.fit``. Between epochs Python draws the order of the rows, from
``random_state`` as scikit-learn does, notes the loss, and decides whether to go on (:class:`Rule`).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cache
from inspect import signature
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from .._memory import allocate
from ..callbacks import Callback
from ..errors import DivergenceError
from ..history import History
from ..model import Sequential, one_at_a_time
from ..optimizers import SGD, Adam, Optimizer
from ..sparse import is_sparse
from ..training import Fit, FitArguments
from .checkpoints import ScikitSaver, noted
from .objectives import Aim

SMALLEST_RATE = 1e-6  # "adaptive" ends there
NOT_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and need to be preprocessed."
)
CALLER = 5  # frames from a solver's function to the line that called fit: _train, _fit and fit are between
ALMOST_ONE = float(np.nextafter(1.0, 0.0))  # momentum must be less than 1


@dataclass(frozen=True)
class Rows:
    """Rows to learn from or to measure with: X, y as numbers, and weights."""

    X: Any  # an array, or a sparse matrix in CSR form
    y: NDArray[Any]
    weights: NDArray[Any] | None


class LateCorrection(Adam):
    """Adam with epsilon beside the uncorrected root, as scikit-learn has it (Kingma & Ba, end of section 2).

    >>> LateCorrection(0.01).hyper
    (0.9, 0.999, 1e-08, 1.0)
    """

    @property
    def hyper(self) -> tuple[float, ...]:
        return (*super().hyper, 1.0)  # kernels/optimizers.h: adam_prepare


class ScikitFit(Fit):
    """A fit whose order of the rows is scikit-learn's; None: as they lie."""

    saver_kind = ScikitSaver

    def __init__(self, net: Sequential, asked: FitArguments, shuffling: np.random.RandomState | None) -> None:
        self.shuffling = shuffling
        self.before_draw: tuple[int, Any, Any] = (-1, None, None)  # epoch, state of `shuffling`, order; of checkpoints
        super().__init__(net, asked)

    def _check_features(self) -> None:
        if is_sparse(self.x):  # two entries of one place may have become an infinite sum
            super()._check_features()

    def _order(self) -> NDArray[np.int64] | None:
        if self.shuffling is None:
            return None
        order: NDArray[np.int64] = allocate(self.rows, np.int64)
        order[...] = np.arange(self.rows)
        return order

    def _remarks(self) -> list[str]:
        return []  # scikit-learn's users scale in a pipeline, and warnings of theirs are errors elsewhere

    def _epoch(self, epoch: int, before: NDArray[Any]) -> dict[str, float]:
        if self.shuffling is not None and self.order is not None:
            if self.saver is not None:
                self.before_draw = epoch, self.shuffling.get_state(legacy=False), self.order.copy()
            self.shuffling.shuffle(self.order)
        return super()._epoch(epoch, before)


@one_at_a_time
def train(net: Sequential, asked: FitArguments, shuffling: np.random.RandomState | None) -> History:
    """Like ``Sequential.fit``, with rows in scikit-learn's order."""
    return ScikitFit(net, asked, shuffling).run()


def arguments_of_fit(**given: Any) -> FitArguments:
    """The arguments of ``Sequential.fit``: those given, and the defaults."""
    return FitArguments(**(_defaults_of_fit() | given))


@cache
def _defaults_of_fit() -> dict[str, Any]:
    known = signature(Sequential.fit).parameters
    return {field.name: known[field.name].default for field in fields(FitArguments)}


class Rule(Callback):
    """What happens after each epoch: note, decide, and change the learning rate."""

    def __init__(self, estimator: Any, aim: Aim, rows: int, held_out: Rows | None, incremental: bool) -> None:
        self.estimator, self.aim, self.rows, self.held_out = estimator, aim, rows, held_out
        self.early = estimator.early_stopping and held_out is not None
        self.incremental = incremental
        self.constant = 0.0  # of the loss that scikit-learn shows
        self.best: NDArray[Any] | None = None  # the parameters with the best score
        self.converged = False

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: what the estimator knows, and the best weights."""
        best = {} if self.best is None else {"best": self.best}
        return {"noted": noted(self.estimator), "converged": self.converged, **best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        for name, value in state["noted"].items():
            setattr(self.estimator, name, value)
        self.converged = state["converged"]
        self.best = state["best"].copy() if "best" in state else None  # to be written into

    def on_epoch_end(self, net: Sequential, epoch: int, logs: dict[str, float]) -> None:
        """scikit-learn's bookkeeping, in its order."""
        estimator = self.estimator
        estimator.n_iter_ += 1
        estimator.loss_ = self.aim.factor * logs["loss"] + self.constant
        if self.aim.shows_mean:
            estimator.loss_ -= (self.aim.factor - 0.5) * logs["mse"]
        estimator.t_ += self.rows
        estimator.loss_curve_.append(estimator.loss_)
        if estimator.verbose:
            print(f"Iteration {estimator.n_iter_}, loss = {estimator.loss_:.8f}")
        if self.held_out is not None:
            self._score(net)
        self._count()
        if estimator.solver == "sgd" and estimator.learning_rate == "invscaling":
            self._set_rate(net, estimator.learning_rate_init / (estimator.t_ + 1) ** estimator.power_t)
        if estimator._no_improvement_count > estimator.n_iter_no_change:
            self._stop_or_slow_down(net)

    def _score(self, net: Sequential) -> None:
        """Measure the rows held out, and keep the best weights."""
        estimator, held_out = self.estimator, self.held_out
        assert held_out is not None
        outputs = net.predict(held_out.X, threads=estimator.threads)
        score = estimator._score_outputs(outputs, held_out.y, held_out.weights)
        estimator.validation_scores_.append(score)
        if estimator.verbose:
            print(f"Validation score: {score:f}")
        if self.early:
            worse = score < estimator.best_validation_score_ + estimator.tol
            estimator._no_improvement_count = estimator._no_improvement_count + 1 if worse else 0
        if score > estimator.best_validation_score_:
            estimator.best_validation_score_ = score
            if self.early:
                self.best = net.params.copy() if self.best is None else self.best
                self.best[...] = net.params

    def _count(self) -> None:
        """Epochs in which the loss did not fall by tol."""
        estimator = self.estimator
        if self.early:
            return
        best = np.inf if estimator.best_loss_ is None else estimator.best_loss_
        worse = estimator.loss_ > best - estimator.tol
        estimator._no_improvement_count = estimator._no_improvement_count + 1 if worse else 0
        estimator.best_loss_ = min(best, estimator.loss_)

    def _stop_or_slow_down(self, net: Sequential) -> None:
        estimator = self.estimator
        what = "Validation score" if self.early else "Training loss"
        said = (
            f"{what} did not improve more than tol={estimator.tol:f} for {estimator.n_iter_no_change} consecutive "
            "epochs."
        )
        if estimator.solver == "sgd" and estimator.learning_rate == "adaptive":
            if estimator._rate > SMALLEST_RATE:
                self._set_rate(net, estimator._rate / 5.0)
                estimator._no_improvement_count = 0
                if estimator.verbose:
                    print(f"{said} Setting learning rate to {estimator._rate:f}")
                return
            said += " Learning rate too small."
        if estimator.verbose:
            print(f"{said} Stopping.")
        self.converged = net.stop_training = True

    def _set_rate(self, net: Sequential, rate: float) -> None:
        """scikit-learn's velocity is a step, with the learning rate in it; fastnn's is a sum of gradients."""
        old, state, optimizer = self.estimator._rate, net._state, net.optimizer
        assert state is not None and optimizer is not None
        state.array[...] *= old / rate
        self.estimator._rate = rate
        optimizer.learning_rate = rate * self.aim.factor


def fit_stochastic(
    estimator: Any,
    net: Sequential,
    aim: Aim,
    rows: Rows,
    held_out: Rows | None,
    random_state: np.random.RandomState,
    incremental: bool,
) -> None:
    """Train until the rule says stop, or for one epoch."""
    measured = held_out  # for val_loss and metrics
    if estimator.early_stopping and held_out is None:
        rows, held_out = _hold_out(estimator, aim, rows, random_state)
    if held_out is not None and estimator.validation_scores_ is None:
        estimator.validation_scores_, estimator.best_validation_score_ = [], -np.inf
    rule = Rule(estimator, aim, len(rows.y), held_out, incremental)
    if aim.is_poisson:
        rule.constant = poisson_constant(rows)
    metrics = list(_as_list(estimator.metrics))
    shown = [getattr(metric, "name", metric) for metric in metrics]
    asked = arguments_of_fit(
        X=rows.X,
        y=aim.targets(rows.y, net.dtype),
        loss=aim.loss,
        optimizer=_optimizer(estimator, aim, incremental),
        epochs=1 if incremental else int(estimator.max_iter),  # True is 1 to scikit-learn
        batch_size=_batch_size(estimator, len(rows.y)),
        shuffle=False,  # ScikitFit brings an order of its own
        validation_data=None if measured is None else (measured.X, aim.targets(measured.y, net.dtype)),
        metrics=[*metrics, "mse"] if aim.shows_mean and "mse" not in shown else metrics,
        callbacks=[rule, *_as_list(estimator.callbacks)],
        sample_weight=rows.weights,
        schedule=estimator.schedule,
        threads=estimator.threads,
        verbose=0,
        checkpoint=estimator.checkpoint,
        resume=estimator.resume,
    )
    estimator.n_iter_ = 0
    try:
        train(net, asked, random_state if estimator.shuffle else None)
    except DivergenceError as error:
        if rule.best is None:
            raise ValueError(f"{NOT_FINITE} {error}") from error
        estimator.validation_scores_.append(np.nan)
        warnings.warn(f"The weights with the best score are kept: {error}", ConvergenceWarning, stacklevel=CALLER)
    except KeyboardInterrupt:
        warnings.warn("Training interrupted by user.", stacklevel=CALLER)
    else:
        if estimator.n_iter_ == estimator.max_iter and not (rule.converged or incremental or net.stop_training):
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({estimator.max_iter:d}) reached and the optimization "
                "hasn't converged yet.",
                ConvergenceWarning,
                stacklevel=CALLER,
            )
    finally:
        estimator.history_ = net.history.history
    if rule.best is not None:
        net.params[...] = rule.best


def _optimizer(estimator: Any, aim: Aim, incremental: bool) -> Optimizer:
    """Its learning rate goes on in partial_fit; so does what it remembers, which belongs to the network."""
    if not incremental or estimator._rate is None:
        estimator._rate = float(estimator.learning_rate_init)
    optimizer: Optimizer
    if estimator.solver == "sgd":
        momentum = min(float(estimator.momentum), ALMOST_ONE)
        nesterov = bool(estimator.nesterovs_momentum)
        optimizer = SGD(estimator._rate * aim.factor, momentum=momentum, nesterov=nesterov)
    else:
        beta1, beta2, epsilon = estimator.beta_1, estimator.beta_2, estimator.epsilon / aim.factor
        optimizer = LateCorrection(estimator._rate, beta1, beta2, epsilon)
    optimizer._penalizes_sums = True
    return optimizer


def _batch_size(estimator: Any, rows: int) -> int:
    if estimator.batch_size == "auto":
        return min(200, rows)
    if estimator.batch_size > rows:
        warnings.warn(f"batch_size={estimator.batch_size} is more than the {rows} rows: clipped", stacklevel=CALLER + 1)
    return min(int(estimator.batch_size), rows)


def _hold_out(estimator: Any, aim: Aim, rows: Rows, random_state: np.random.RandomState) -> tuple[Rows, Rows]:
    """Rows to train on and rows to score, divided as scikit-learn does: by class if there are two."""
    stratify = rows.y.astype(bool) if aim.shown == "logistic" and rows.y.ndim == 1 else None
    parts = [rows.X, rows.y] if rows.weights is None else [rows.X, rows.y, rows.weights]
    fraction = estimator.validation_fraction
    if not fraction:
        raise ValueError("validation_fraction is 0: early_stopping=True needs rows to score, or X_val and y_val")
    X, X_val, y, y_val, *weights = train_test_split(
        *parts, random_state=random_state, test_size=fraction, stratify=stratify
    )
    if len(y_val) < 2:
        raise ValueError("The validation set is too small. Increase 'validation_fraction' or the size of your dataset.")
    train_weights, val_weights = weights or (None, None)
    for part, kind in ((train_weights, "to train on"), (val_weights, "held out by early_stopping")):
        if part is not None and not part.any():
            raise ValueError(
                f"sample_weight is zero for all {len(part)} rows {kind}: give X_val and y_val, or more rows"
            )
    return Rows(X, y, train_weights), Rows(X_val, y_val, val_weights)


def poisson_constant(rows: Rows) -> float:
    """What half the deviance has beside  exp(z) - y z:  the weighted mean of  sum_j y_j log y_j - y_j."""
    y = rows.y.reshape(len(rows.y), -1).astype(np.float64)
    logarithm = np.log(y, out=np.zeros_like(y), where=y > 0)
    return float(np.average((y * logarithm - y).sum(axis=1), weights=rows.weights))


def _as_list(given: Any) -> list[Any]:
    if given is None:
        return []
    return list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [given]
