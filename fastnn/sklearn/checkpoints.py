# SPDX-License-Identifier: BSD-3-Clause
"""Checkpoints of an estimator's fit: beside those of a network, what draws the order of rows, and what was noted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..packing import pack, unpack
from ..resume import Saver
from ..training import FitArguments

if TYPE_CHECKING:
    from .stochastic import ScikitFit

DECIDE = ("tol", "n_iter_no_change", "early_stopping", "learning_rate", "power_t")
"""Parameters that change what happens between epochs: a run with others is another one."""
NOTED = (
    "n_iter_", "t_", "loss_", "loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_",
    "_no_improvement_count", "_rate",
)  # fmt: skip


def check(estimator: Any, incremental: bool) -> None:
    """Refuse what has no epochs to stop between."""
    if estimator.checkpoint is None and not estimator.resume:
        return
    if estimator.solver == "lbfgs":
        raise ValueError(
            "checkpoint and resume need solver 'adam' or 'sgd': what 'lbfgs' remembers is inside SciPy, and cannot be "
            "written down"
        )
    if incremental:
        raise ValueError("checkpoint and resume are for fit: partial_fit is one epoch, so pickle the estimator instead")


def noted(estimator: Any) -> dict[str, Any]:
    """What an estimator knows of the fit under way."""
    return {name: getattr(estimator, name) for name in NOTED if hasattr(estimator, name)}


class ScikitSaver(Saver):
    """The checkpoints of one fit of an estimator."""

    _fit: ScikitFit

    def _identity(self, asked: FitArguments, epochs: int) -> dict[str, Any]:
        estimator = asked.callbacks[0].estimator
        decide = {name: getattr(estimator, name) for name in DECIDE}
        if decide["n_iter_no_change"] == np.inf:
            decide["n_iter_no_change"] = None
        return super()._identity(asked, epochs) | {"shuffle": self._fit.shuffling is not None, "estimator": decide}

    def go_on(self) -> None:
        """Bring the network, its optimizer and the fit to the place that was read."""
        super().go_on()
        fit, found = self._fit, self._found
        if found is not None and fit.shuffling is not None and fit.order is not None:
            fit.shuffling.set_state(unpack(found.run["shuffling"], found.tensors))
            fit.order[...] = found.tensors["run.order"]

    def _add(self, run: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> None:
        fit = self._fit
        if fit.shuffling is None or fit.order is None:
            return
        epoch, state, order = fit.before_draw
        if epoch != fit.place.epoch:  # for this one nothing was drawn yet
            state, order = fit.shuffling.get_state(legacy=False), fit.order
        run["shuffling"] = pack(state, tensors, "run.shuffling", "random_state")
        tensors["run.order"] = order
