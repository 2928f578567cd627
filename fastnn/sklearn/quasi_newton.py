# SPDX-License-Identifier: BSD-3-Clause
"""The solver "lbfgs": SciPy's L-BFGS-B over the loss and gradient of all rows, both from one native step of length 0.

A training step leaves the sum of gradients in ``grads``; with learning rate 0 it leaves the parameters as they are.
Rows go through in pieces, whatever their number, so memory does not grow with them.
"""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning

from .. import _core
from ..model import Sequential, one_at_a_time
from ..optimizers import SGD
from ..training import Fit, FitArguments
from .objectives import Aim

if TYPE_CHECKING:
    from .stochastic import Rows


class FullBatch:
    """Loss and gradient over all rows, as functions of the parameters.

    f = c (sum_i s_i l_i + l2 sum w^2) / S,  df/dp = c (sum_i s_i dl_i/dp + 2 l2 w) / S;  see ``objectives.py``.
    """

    def __init__(self, net: Sequential, asked: FitArguments, factor: float) -> None:
        self._fit = Fit(net, asked)
        self._fit.optimizer.prepare(self._fit.state)
        self._factor = factor
        self._parameters = self._fit.parameters
        self._penalties = np.zeros(self._parameters.params.size)
        for segment in self._parameters.graph.segments:
            self._penalties[segment.offset : segment.offset + segment.size] = 2 * segment.l2
        self.last = self.penalty = math.nan  # the loss computed last, and what alpha has added to it

    def __call__(self, params: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        return self._parameters.shared.write(self._evaluate, params)

    def set(self, params: NDArray[np.float64]) -> None:
        """Leave these parameters in the network."""
        self._parameters.shared.write(np.copyto, self._parameters.params, params, "same_kind")

    def _evaluate(self, params: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        own = self._parameters.params
        own[...] = params
        status, threads, _, loss_sum, weight_sum = self._fit.native.run(0, 0, 1, 0.0)
        self._fit.net.threads_used = threads
        scale = self._factor / weight_sum
        self.last = loss_sum * scale if status == _core.FINISHED else math.nan
        pull = self._penalties * own  # the gradient of the penalties
        self.penalty = 0.5 * scale * float(np.dot(pull, own))
        if status != _core.FINISHED:  # nothing of it may be left in the momentum
            self._fit.state.array[...] = 0
        return self.last, (self._parameters.grads + pull) * scale


@one_at_a_time
def minimized(net: Sequential, asked: FitArguments, estimator: Any, aim: Aim, constant: float) -> Any:
    """SciPy's result; the network has its parameters. `constant` is what the loss that is shown has beside this one."""
    batch = FullBatch(net, asked, aim.factor)

    def note(params: NDArray[np.float64]) -> None:
        loss = batch.last + constant
        if aim.shows_mean:
            loss -= (1 - 0.5 / aim.factor) * (batch.last - batch.penalty)
        estimator.loss_curve_.append(loss)
        if estimator.verbose:
            print(f"Iteration {len(estimator.loss_curve_)}, loss = {loss:.8f}")

    start = net.params.astype(np.float64)
    options = {"maxfun": estimator.max_fun, "maxiter": estimator.max_iter, "gtol": estimator.tol}
    result = minimize(batch, start, method="L-BFGS-B", jac=True, options=options, callback=note)
    batch.set(result.x)
    return result


def fit_quasi_newton(estimator: Any, net: Sequential, aim: Aim, rows: Rows) -> None:
    """Train until the gradient is small, or iterations run out."""
    from .stochastic import CALLER, arguments_of_fit, poisson_constant

    optimizer = SGD(0.0)
    optimizer._penalizes_sums = True
    asked = arguments_of_fit(
        X=rows.X,
        y=aim.targets(rows.y, net.dtype),
        loss=aim.loss,
        optimizer=optimizer,
        batch_size=None,
        shuffle=False,
        sample_weight=rows.weights,
        threads=estimator.threads,
        verbose=0,
    )
    constant = poisson_constant(rows) if aim.is_poisson else 0.0
    before = len(estimator.loss_curve_)
    result = minimized(net, asked, estimator, aim, constant)
    estimator.history_ = {"loss": estimator.loss_curve_[before:]}
    estimator.n_iter_ = min(int(result.nit), estimator.max_iter)
    estimator.loss_ = float(result.fun) + constant
    if aim.shows_mean:
        squares = ((net.predict(rows.X) - rows.y) ** 2).mean(axis=1)
        estimator.loss_ -= (aim.factor - 0.5) * float(np.average(squares, weights=rows.weights))
    estimator.best_loss_ = estimator.loss_
    if result.status != 0:
        warnings.warn(
            f"lbfgs failed to converge after {result.nit} iteration(s) (status={result.status}): {result.message}. "
            "You might also want to scale the data, or raise max_iter",
            ConvergenceWarning,
            stacklevel=CALLER,
        )
