# SPDX-License-Identifier: BSD-3-Clause
"""scikit-learn's own checks of estimators: all of them, none expected to fail."""

import functools
import warnings

import pytest

pytest.importorskip("sklearn")

import sklearn  # noqa: E402
from sklearn.exceptions import ConvergenceWarning, SkipTestWarning  # noqa: E402
from sklearn.utils.estimator_checks import check_estimator, estimator_checks_generator  # noqa: E402
from sklearn.utils.fixes import parse_version  # noqa: E402

from fastnn.sklearn import MLPClassifier, MLPRegressor  # noqa: E402

CHECKS = {"MLPClassifier": 0, "MLPRegressor": 0}
"""How many scikit-learn 1.9 yields."""
SETTINGS = [
    MLPClassifier(),
    MLPRegressor(),
    MLPClassifier(solver="lbfgs"),
    MLPClassifier(dtype="float64", class_weight="balanced", early_stopping=True, max_iter=50),
]


@pytest.mark.parametrize("estimator", [MLPClassifier(), MLPRegressor()], ids=lambda estimator: type(estimator).__name__)
def test_every_check_passes(estimator):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("error", SkipTestWarning)
        results = check_estimator(estimator, on_skip=None, on_fail=None)
    failed = {result["check_name"]: str(result["exception"]) for result in results if result["status"] != "passed"}
    assert not failed
    assert len(results) == len(list(estimator_checks_generator(estimator)))
    if parse_version(sklearn.__version__).release[:2] == (1, 9):
        assert len(results) == CHECKS[type(estimator).__name__]


def name_of(check):
    return check.func.__name__ if isinstance(check, functools.partial) else check.__name__
