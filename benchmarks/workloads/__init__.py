# SPDX-License-Identifier: BSD-3-Clause
"""One file per workload: `run(settings) -> report.Table`, and what it stands for in its first lines.

To add one: a file here, a row in WORKLOADS.
"""

# name on the command line -> module
WORKLOADS = {
    "matmul": "benchmarks.workloads.matmul",
    "fashion": "benchmarks.workloads.fashion",
    "predict": "benchmarks.workloads.predict",
    "memory": "benchmarks.workloads.memory",
    "python_loss": "benchmarks.workloads.python_loss",
}
