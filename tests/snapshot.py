# SPDX-License-Identifier: BSD-3-Clause
"""Everything a network holds, as values that compare: what must be the same after a call that was refused.

Not a test. ``everything(net)`` before and after; ``==`` is bit by bit, also where there are NaNs.
"""

from __future__ import annotations

import copy
import hashlib
from typing import Any

import fastnn as fn
from fastnn.layers import all_parts


def digest(array: Any) -> str:
    """The bits of an array, in short."""
    return hashlib.sha256(array.tobytes()).hexdigest()[:16]


def everything(net: fn.Sequential) -> dict[str, Any]:
    """Weights and what lies behind them, gradients, optimizer state, history and settings."""
    held: dict[str, Any] = {
        "inputs": net.inputs,
        "history": copy.deepcopy(net.history.history),
        "history object": id(net.history),
        "optimizer": repr(net.optimizer),
        "epochs done": net._epochs_done,
        "loss": net._loss,
        "layers": repr(net.layers),
        "stop": net.stop_training,
        "seed": net.seed,
        "learned": [getattr(layer, "learned", None) for layer in all_parts(net.layers)],
        "targets learned": net._targets_learned,
    }
    if net.inputs is not None:
        held |= {"numbers": digest(net._parameters.numbers), "grads": digest(net.grads)}
        held |= {"draws": int(net._parameters.draws[0])}
    if net._state is not None:
        held |= {"state": digest(net._state.array), "step": net._state.step}
        held |= {"averaged": net._state.averaged, "product": net._state.product}
        if net._state.averaged:
            held["average"] = digest(net._state.average)
    return held
