# SPDX-License-Identifier: BSD-3-Clause
"""One file per kind of workload: `run(settings, name) -> report.Table`, and what it stands for in its first lines.

To add one: a file here, a row in WORKLOADS. A network to train needs a row in problem.TRAINING only.
"""

from benchmarks.problem import TRAINING

# name on the command line -> module
WORKLOADS = {
    **dict.fromkeys(TRAINING, "benchmarks.workloads.training"),
    "predict": "benchmarks.workloads.predict",
    "predict_batches": "benchmarks.workloads.predict",
    "matmul": "benchmarks.workloads.matmul",
    "gemm": "benchmarks.workloads.gemm",
    "growth": "benchmarks.workloads.growth",
    "odd_sizes": "benchmarks.workloads.growth",
    "threads": "benchmarks.workloads.growth",
    "end_to_end": "benchmarks.workloads.end_to_end",
    "imports": "benchmarks.workloads.end_to_end",
    "memory": "benchmarks.workloads.memory",
    "company": "benchmarks.workloads.company",
    "limits": "benchmarks.workloads.limits",
    "python_loss": "benchmarks.workloads.python_loss",
    "estimators": "benchmarks.workloads.estimators",
    "features": "benchmarks.workloads.features",
}
