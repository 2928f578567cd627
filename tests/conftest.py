# SPDX-License-Identifier: BSD-3-Clause
"""What all tests share: kernels of each instruction set, teams of each size, and a watch on the caller's floats."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parent))  # for the modules here that are not tests: float_state, reference, golden

import float_state

import fastnn as fn
from fastnn import _core

ISAS = [name for name in _core.isa_names() if _core.isa_supported(name)]
TEAMS = [1, 2, 3, 5, 8]


@pytest.fixture(autouse=True)
def caller_floats():
    """Around every test: rounding, traps and denormals of the caller are as they were."""
    before = float_state.control()
    yield
    after = float_state.control()
    float_state.set_control(before)
    assert after == before, f"the caller's floating-point state was {before:#x} and is {after:#x}"
    assert np.nextafter(np.float32(0), np.float32(1)) * np.float32(1) > 0, "denormals became zero for the caller"


@pytest.fixture(params=ISAS)
def isa(request):
    """Each instruction set of this processor in turn; the network must be made inside the test."""
    before = _core.isa()
    assert _core.isa_select(request.param)
    yield request.param
    assert _core.isa_select(before)


@pytest.fixture(params=TEAMS, ids=lambda threads: f"{threads}threads")
def threads(request):
    """Sizes of a forced team, beyond the processors of most machines too."""
    return request.param


@pytest.fixture
def rng():
    """Random numbers, the same in each test and run."""
    return np.random.default_rng(20240607)


@pytest.fixture(autouse=True)
def default_threads():
    """No test leaves its limit of threads to the next."""
    yield
    fn.set_num_threads(None)
