# SPDX-License-Identifier: BSD-3-Clause
"""How tests/data/torch_schedules.json was made: the learning rate of each step by PyTorch's schedulers.

    python tests/record_torch_schedules.py        # in an environment with torch; recorded with PyTorch 2.13.0+cpu

The optimizer's learning rate is 1, so that the rates are factors; tests/test_learning_rates.py compares.
"""

from __future__ import annotations

import json
from pathlib import Path

FILE = Path(__file__).parent / "data" / "torch_schedules.json"
# Name -> steps; PyTorch's scheduler and its arguments; fastnn's.
RUNS = {
    "cosine": (50, "CosineAnnealingLR", {"T_max": 50}, "CosineSchedule", {}),
    "cosine to a tenth": (37, "CosineAnnealingLR", {"T_max": 37, "eta_min": 0.1}, "CosineSchedule", {"final": 0.1}),
    "one cycle": (60, "OneCycleLR", {"max_lr": 1.0, "total_steps": 60}, "OneCycleSchedule", {}),
    "one cycle with other shares": (
        47,
        "OneCycleLR",
        {"max_lr": 1.0, "total_steps": 47, "pct_start": 0.45, "div_factor": 10.0, "final_div_factor": 50.0},
        "OneCycleSchedule",
        {"rise": 0.45, "div_factor": 10.0, "final_div_factor": 50.0},
    ),
    "steps": (40, "StepLR", {"step_size": 7, "gamma": 0.3}, "StepSchedule", {"every": 7, "factor": 0.3}),
    "exponential": (80, "ExponentialLR", {"gamma": 0.97}, "ExponentialSchedule", {"decay": 0.97}),
}


def rates(steps, name, arguments):
    import torch

    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = getattr(torch.optim.lr_scheduler, name)(optimizer, **arguments)
    found = []
    for step in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step < steps - 1:
            scheduler.step()
    return found


def main():
    import torch

    recorded = {name: rates(*run[:3]) for name, run in RUNS.items()}
    text = json.dumps({"library": f"PyTorch {torch.__version__}", "rates": recorded}, indent=0)
    FILE.write_text(text + "\n")


if __name__ == "__main__":
    main()
