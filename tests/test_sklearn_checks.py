# SPDX-License-Identifier: BSD-3-Clause
"""scikit-learn's own checks of estimators: all of them, none expected to fail."""

import warnings

import pytest

pytest.importorskip("sklearn")

import sklearn
from sklearn.utils.estimator_checks import check_estimator, estimator_checks_generator

from fastnn.sklearn import MLPClassifier, MLPRegressor

CHECKS = {"MLPClassifier": 68, "MLPRegressor": 60}
"""How many scikit-learn 1.9 yields; the classifier's class_weight has one of its own."""
MAY_BE_SKIPPED = ("is not installed", "SCIPY_ARRAY_API is not set", "does not have a decision_function")
"""What a check says when it is about another package, or about a method that scikit-learn's has not either."""


@pytest.mark.parametrize(
    "estimator",
    [
        MLPClassifier(),
        MLPRegressor(),
        MLPClassifier(
            solver="lbfgs", activation="tanh", alpha=1.0
        ),  # else probabilities come out as 1, as scikit-learn's do
        MLPRegressor(solver="sgd", hidden_layer_sizes=(10, 10), dtype="float64"),
    ],
    ids=str,
)
def test_every_check_passes(estimator):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of convergence, mostly
        results = check_estimator(estimator, on_skip=None, on_fail=None)
    bad = {}
    for result in results:
        skipped = result["status"] == "skipped" and any(words in str(result["exception"]) for words in MAY_BE_SKIPPED)
        if result["status"] != "passed" and not skipped:
            bad[result["check_name"]] = f"{result['status']}: {result['exception']!r}"
    assert not bad
    assert not any(result["expected_to_fail"] for result in results)
    assert len(results) == len(list(estimator_checks_generator(estimator)))
    if sklearn.__version__.startswith("1.9."):
        assert len(results) == CHECKS[type(estimator).__name__]
