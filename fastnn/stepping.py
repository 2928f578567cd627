# SPDX-License-Identifier: BSD-3-Clause
"""``train_step``: one update from one batch, with as little Python around it as can be.

What the last step needed (workspace, threads, checks) is kept for the next one, which mostly looks the same: such a
step goes to C at once, where the batch is checked as well. Whatever looks different takes the long way: the checks of
``inputs.py``, with their messages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import _core, inputs
from ._memory import allocate
from .clipping import clipping
from .errors import DivergenceError
from .frames import read_features, read_targets
from .learning import warn_of_unlearned
from .losses import resolve_loss
from .optimizers import Optimizer, resolve_optimizer
from .python_loss import make_training
from .runtime import choose_threads

if TYPE_CHECKING:
    from .model import Sequential

# From this many multiply-adds (about 10 ms) a step listens to Ctrl-C, and leaves a snapshot to readers.
HEAVY = 1e9


class StepPlan:
    """What one shape of training step needs; valid as long as the network's plan is the same."""

    def __init__(
        self,
        net: Sequential,
        rows: int,
        width: int,
        loss: Any,
        optimizer: Any,
        threads: int | None,
        clip_norm: Any,
        clip_value: Any,
    ) -> None:
        graph = net._graph_for(width)
        self.asked = (loss, optimizer, threads, clip_norm, clip_value)
        bounds = clipping(clip_norm, clip_value)
        self.objective = resolve_loss(loss, graph.last_activation, graph.width, graph.rescale >= 0)
        self.optimizer = self._optimizer(net, optimizer)
        self.parameters = parameters = net._parameters_for(graph)
        self.network = parameters.network
        self.rows = rows
        self.state = net._state_for(self.optimizer, parameters)
        work = parameters.training_work(rows)
        self.native = make_training(self.objective, parameters, self.state, rows, choose_threads(threads, work))
        self.native.set_clipping(*bounds)
        if threads is None:
            self.native.choose_pace()
        targets = self.objective.targets
        # A Python function takes its time, and may run anything: readers get a snapshot meanwhile.
        self.heavy = work > HEAVY or not isinstance(self.native, _core.Training)
        self.direct: _core.Training | None = None  # what may be handed a batch unseen
        if isinstance(self.native, _core.Training):
            labels = allocate(rows, np.int32) if targets in ("classes", "labels") else None
            self.native.prepare_steps(labels, inputs.BOUNDS.get(targets))
            if not self.heavy and targets != "signs":  # which are no interval
                self.direct = self.native
        self._hyper_changes = -1

    @staticmethod
    def _optimizer(net: Sequential, optimizer: Any) -> Optimizer:
        """Without a word, or with the name of the one in use, the same object as before."""
        current = net.optimizer
        if optimizer is None:
            return current if current is not None else resolve_optimizer("adam")
        if isinstance(optimizer, str) and current is not None and current.name == optimizer:
            return current
        return resolve_optimizer(optimizer)

    def fits(
        self, net: Sequential, loss: Any, optimizer: Any, threads: int | None, clip_norm: Any, clip_value: Any
    ) -> bool:
        """Whether a step that is asked for in these words is this one, apart from its data."""
        asked_loss, asked_optimizer, asked_threads, asked_norm, asked_value = self.asked
        return (
            (optimizer is asked_optimizer or (type(optimizer) is str and optimizer == asked_optimizer))
            and (loss is asked_loss or (type(loss) is str and loss == asked_loss))
            and threads == asked_threads
            and clip_norm == asked_norm
            and clip_value == asked_value
            and net._state is self.state
            and net.optimizer is self.optimizer
            and self.parameters.network is self.network
        )

    def set_hyper(self) -> None:
        """Take over what was assigned to the optimizer since."""
        if self.optimizer.changes != self._hyper_changes:
            self.optimizer.prepare(self.state)
            self._hyper_changes = self.optimizer.changes


def train_step(
    net: Sequential,
    X: Any,
    y: Any,
    loss: Any,
    optimizer: Any,
    sample_weight: Any,
    threads: int | None,
    clip_norm: Any,
    clip_value: Any,
) -> float:
    """See ``Sequential.train_step``; the network is the caller's alone meanwhile."""
    plan = net._step_plan
    known = plan is not None and plan.fits(net, loss, optimizer, threads, clip_norm, clip_value)
    if plan is not None and known and plan.direct is not None:
        plan.set_hyper()
        rate = plan.optimizer.learning_rate
        result = plan.parameters.shared.write(plan.direct.step, X, y, sample_weight, rate)
        if result is not None:
            if result[0] != _core.FINISHED:
                raise _divergence(plan, result[0], rate)
            return result[1]
    words = (loss, optimizer, threads, clip_norm, clip_value)
    return _long_way(net, X, y, sample_weight, words, plan if known else None)


def _long_way(net: Sequential, X: Any, y: Any, sample_weight: Any, words: tuple[Any, ...], plan: Any) -> float:
    x = inputs.training_features(read_features(net, X)[0], net.inputs)
    rows, width = x.shape
    if plan is None or plan.rows != rows:
        plan = StepPlan(net, rows, width, *words)
    targets = inputs.targets(read_targets(y), rows, plan.objective, plan.parameters.outputs, net.dtype)
    weights = inputs.sample_weights(sample_weight, rows, all_zero_is_fine=True)
    inputs.check_finite(x, net.dtype, "X")
    warn_of_unlearned(net, plan.parameters, "train_step")
    shared = plan.parameters.shared
    native, rate = plan.native, plan.optimizer.learning_rate
    snapshot = allocate(plan.parameters.numbers.size, net.dtype) if plan.heavy else None
    native.bind(x, targets.labels, targets.values, weights, None, None, False, net.seed)
    net._adopt(plan.parameters, plan.state, plan.optimizer, plan.objective.loss)
    net._step_plan = plan
    plan.set_hyper()
    try:
        if snapshot is not None:
            shared.begin(snapshot)
            result = native.run(0, 0, 1, rate)
        else:
            result = shared.write(native.run, 0, 0, 1, rate, False)
    finally:
        shared.token = (plan.parameters.numbers,)
        native.release()
    status, net.threads_used, _, loss_sum, weight_sum = result
    if status != _core.FINISHED:
        raise _divergence(plan, status, rate)
    return loss_sum / weight_sum if weight_sum else 0.0


def _divergence(plan: StepPlan, status: int, rate: float) -> DivergenceError:
    what = (
        "the loss of this batch became infinite or NaN; the batch was not applied"
        if status == _core.DIVERGED
        else "a weight became infinite or NaN, and the network must be set back: keep copies of net.params"
    )
    return DivergenceError(
        f"training diverged: {what}. The learning rate is {rate:g}; try a tenth of it, and inputs and targets scaled "
        "to about unit size",
        epoch=None,
        batch=None,
        learning_rate=rate,
    )
