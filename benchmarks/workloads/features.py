# SPDX-License-Identifier: BSD-3-Clause
"""What each feature costs where it is asked for: the same fit with and without it.

Whole calls of `fit`, in turns, a process for each feature and one for none, 32-128-128-4 ReLU, batch 128, one thread.
The row "none" is the plain fit in a second process, beside the first: how far apart two equal things are measured.
"""

from __future__ import annotations

from benchmarks import timer
from benchmarks.peers import OWN_NAME
from benchmarks.report import Settings, Table

MODULE = "benchmarks.peers.features"
PLAIN = "plain"
FEATURES = (
    "none",
    "sample_weight",
    "class_weight",
    "Normalization",
    "Table, an embedding",
    "BatchNorm",
    "LayerNorm",
    "RMSNorm",
    "Dropout(0.2)",
    "GaussianNoise(0.1)",
    "Residual",
    "a callback, epochs",
    "a callback, batches",
    "metrics",
    "validation, a tenth",
    "schedule",
    "clip_norm",
    "average",
)
BATCH = 128


def run(settings: Settings, name: str) -> Table:
    table = Table(
        name,
        "What a feature costs, 32-128-128-4 ReLU, batch 128, Adam, one thread: microseconds a step of fit",
        ["feature", "without", "with", "ratio", "min", "max"],
    )
    steps = settings.choose(usual=500, quick=10)
    rounds = settings.choose(usual=9, quick=2)
    for feature in FEATURES:
        # Two processes at a time, new ones for each feature; to see that it works, the same two do.
        if not settings.quick or feature == FEATURES[0]:
            settings.pool.forget()
        other = "another" if settings.quick else feature

        def reading(what: str, process: str) -> float:
            worker = settings.pool.get(OWN_NAME, MODULE, 1, {"BENCHMARKS_WAY": process})
            return float(worker.ask("seconds", feature=what, rows=BATCH * steps)) / steps

        samplers = {
            "without": lambda: reading(PLAIN, PLAIN),
            "with": lambda feature=feature, other=other: reading(feature, other),  # type: ignore[misc]
        }
        readings = timer.interleave(samplers, rounds)
        ratio = timer.ratio(readings["with"], readings["without"])
        cells = [f"{1e6 * timer.summary(readings[kind])['median']:.1f}" for kind in samplers]
        cells += [f"{ratio[key]:.2f}" for key in ("median", "min", "max")]
        table.rows.append([feature, *cells])
        table.data[feature] = dict(readings)
    return table
