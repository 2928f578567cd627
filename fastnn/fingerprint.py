# SPDX-License-Identifier: BSD-3-Clause
"""What a run is, in short: network, loss, optimizer, data. Two runs with the same fingerprint have the same bits.

Numbers of data are known by the digest of a sample of rows, code (a loss, a metric, a callback) by its name. Threads
are not in it: results do not depend on them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .composition import described
from .schedules import Schedule
from .stream_evaluation import StreamEvaluation

if TYPE_CHECKING:
    from .training import Fit, FitArguments

SAMPLE = 1 << 20  # numbers of an array that are looked at: some milliseconds
FEWEST_ROWS = 16
STEPS_LOOKED_AT = 32  # of a schedule


def fingerprint(fit: Fit, asked: FitArguments, epochs: int) -> dict[str, Any]:
    """Of a fit over so many epochs, in what JSON has words for."""
    import json

    net, loss, dtype = fit.net, fit.objective.loss, fit.net.dtype
    found = {
        "network": {
            "layers": described(net.layers),
            "inputs": fit.parameters.inputs,
            "dtype": dtype.name,
            "scale_targets": net.scale_targets,
        },
        "seed": net.seed,
        "loss": loss.config() or loss.name,
        "optimizer": {"kind": fit.optimizer.name, **fit.optimizer.config()},
        "batch_size": fit.batch,
        "shuffle": fit.shuffle,
        "clip_norm": asked.clip_norm,
        "clip_value": asked.clip_value,
        "schedule": _of_schedule(fit.schedule, epochs * fit.steps),
        "metrics": [metric.name for metric in fit.metrics],
        "callbacks": [type(callback).__name__ for callback in fit.callbacks.with_state],
        "X": of_array(fit.x, dtype),
        "y": of_array(fit.y.y, np.int32 if fit.y.values is None else dtype),
        "sample_weight": of_array(fit.weights, np.float64),
        "validation_fraction": asked.validation_fraction,
        "validation_data": None,
    }
    if isinstance(fit.validation, StreamEvaluation):
        found["validation_data"] = "a stream"
    elif fit.validation is not None and asked.validation_data is not None:
        x, y, weights = fit.validation.data
        y_type = np.int32 if y.values is None else dtype
        arrays = of_array(x, dtype), of_array(y.y, y_type), of_array(weights, np.float64)
        found["validation_data"] = dict(zip(("X", "y", "sample_weight"), arrays, strict=True))
    plain: dict[str, Any] = _without_learned(json.loads(json.dumps(found, default=float)))
    return plain


def _without_learned(found: Any) -> Any:
    """A layer may have learned its scales already or be about to: it is the same run."""
    if isinstance(found, dict):
        return {name: _without_learned(value) for name, value in found.items() if name != "learned"}
    return [_without_learned(value) for value in found] if isinstance(found, list) else found


def of_array(values: NDArray[Any] | None, dtype: DTypeLike) -> dict[str, Any] | None:
    """Shape and digest of rows spread evenly, as training reads them."""
    if values is None:
        return None
    rows = values.shape[0]
    some = min(rows, max(FEWEST_ROWS, SAMPLE // max(math.prod(values.shape[1:]), 1)))
    sample = values[np.linspace(0, rows - 1, some).astype(np.int64)]
    return {"shape": list(values.shape), "numbers": _digest(sample, dtype)}


def _digest(values: NDArray[Any], dtype: DTypeLike) -> str:
    from hashlib import sha256

    return sha256(np.ascontiguousarray(values, np.dtype(dtype).newbyteorder("<")).tobytes()).hexdigest()[:32]


def _some(steps: int) -> list[int]:
    return [int(step) for step in np.unique(np.linspace(0, max(steps - 1, 0), STEPS_LOOKED_AT).astype(np.int64))]


def _factors(schedule: Schedule, some: list[int], steps: int) -> NDArray[np.float64]:
    return np.array([schedule.factors(step, 1, max(steps, 1))[0] for step in some])


def _of_schedule(schedule: Schedule | None, steps: int) -> dict[str, Any] | None:
    """What it calls itself, and factors of some steps: a function may call itself as it likes."""
    if schedule is None:
        return None
    return {"kind": repr(schedule), "numbers": _digest(_factors(schedule, _some(steps), steps), np.float64)}


def same_so_far(schedule: Schedule | None, done: int, steps: int, steps_now: int) -> bool:
    """Whether steps that are done had the learning rates they would have had in a run of so many steps."""
    if schedule is None or steps == steps_now or done == 0:
        return True
    some = _some(done)
    return bool((_factors(schedule, some, steps) == _factors(schedule, some, steps_now)).all())


def differences(old: Any, new: Any, name: str = "") -> Iterator[str]:
    """What differs between two fingerprints, in words."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in {**old, **new}:
            yield from differences(old.get(key), new.get(key), f"{name}.{key}" if name else key)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for place, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from differences(one, other, f"{name}[{place}]")
    elif old != new:
        what, _, part = name.rpartition(".")
        yield f"{what} has other numbers" if part == "numbers" else f"{name} was {_short(old)} and is {_short(new)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
