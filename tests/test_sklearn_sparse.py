# SPDX-License-Identifier: BSD-3-Clause
"""Estimators with sparse X: the bits and curves of the dense array, and never dense as a whole."""

import sys
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn")

from processes import python
from scipy import sparse
from snapshot import digest

from fastnn.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

ROWS, INPUTS = 120, 31
GENERATOR = np.random.default_rng(5)
DENSE = np.where(GENERATOR.random((ROWS, INPUTS)) < 0.2, GENERATOR.normal(size=(ROWS, INPUTS)), 0.0)
DENSE[7] = 0  # a row without a number
SUMS = DENSE[:, :9].sum(axis=1)
W = np.linspace(0.1, 2.0, ROWS)
TASKS = {
    "numbers": (MLPRegressor, SUMS),
    "several numbers": (MLPRegressor, np.column_stack((SUMS, SUMS**2))),
    "yes or no": (MLPClassifier, SUMS > 0),
    "classes": (MLPClassifier, np.array(["low", "middle", "high"])[np.digitize(SUMS, [-0.5, 0.5])]),
    "questions": (MLPClassifier, (DENSE[:, :3] > 0).astype(int)),
}
WAYS = {
    "adam": {},
    "sgd": {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.1, "n_iter_no_change": 2},
    "lbfgs": {"solver": "lbfgs", "activation": "tanh"},
    "in order": {"shuffle": False, "batch_size": 50},
    "early stopping": {"early_stopping": True, "validation_fraction": 0.3, "n_iter_no_change": 3},
    "dropout": {"dropout": 0.3},
    "float32": {"dtype": "float32"},
}
FORMS = {
    "csr_matrix": sparse.csr_matrix,
    "csr_array": sparse.csr_array,
    "csc": sparse.csc_array,
    "coo": sparse.coo_array,
    "lil": sparse.lil_matrix,
}
CURVES = ("loss_", "best_loss_", "loss_curve_", "validation_scores_", "best_validation_score_", "n_iter_", "t_")


def same(one, other, X, thin):
    """Two estimators, and what they say of X and of its sparse form."""
    assert digest(one.network_.params) == digest(other.network_.params)
    for name in CURVES:
        np.testing.assert_array_equal(getattr(one, name, None), getattr(other, name, None), err_msg=name)
    assert digest(one.predict(X)) == digest(other.predict(thin))
    if hasattr(one, "predict_proba"):
        assert digest(one.predict_proba(X)) == digest(other.predict_proba(thin))


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
@pytest.mark.parametrize("more", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("weights", [None, W], ids=["", "weighted"])
def test_sparse_rows_give_the_bits_of_dense_ones(task, more, weights):
    kind, y = task
    one, other = (kind(hidden_layer_sizes=(9, 5), max_iter=7, random_state=0, **more) for _ in range(2))
    thin = sparse.csr_array(DENSE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        one.fit(DENSE, y, sample_weight=weights)
        other.fit(thin, y, sample_weight=weights)
    same(one, other, DENSE, thin)
    np.testing.assert_array_equal(thin.toarray(), DENSE)  # it is as it was


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("kind", ["f4", "f8", "i2", "i8", "?"])
def test_every_form_and_type(form, kind):
    """float32 is computed in float32, anything else in float64, as for an array."""
    X = (DENSE * 3).astype(kind)
    thin = form(X)
    one, other = (MLPClassifier((6,), max_iter=4, random_state=0).fit(x, SUMS > 0) for x in (X, thin))
    assert other.network_.dtype == (np.float32 if kind == "f4" else np.float64)
    same(one, other, X, thin)


def test_one_epoch_after_another_and_a_warm_start():
    y = TASKS["classes"][1]
    thin = sparse.csr_matrix(DENSE)
    one, other = (MLPClassifier((6,), random_state=0) for _ in range(2))
    for first in range(0, ROWS, 40):
        rows = slice(first, first + 40)
        one.partial_fit(DENSE[rows], y[rows], classes=np.unique(y))
        other.partial_fit(thin[rows], y[rows], classes=np.unique(y))
    same(one, other, DENSE, thin)
    one, other = (MLPRegressor(hidden_layer_sizes=(6,), max_iter=3, warm_start=True, random_state=0) for _ in range(2))
    for _ in range(2):
        one.fit(DENSE, SUMS), other.fit(thin, SUMS)
    same(one, other, DENSE, thin)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_rows_to_measure_may_be_sparse_too(solver):
    thin = sparse.csc_matrix(DENSE)
    one, other = (MLPRegressor(hidden_layer_sizes=(6,), solver=solver, max_iter=5, random_state=0) for _ in range(2))
    one.fit(DENSE[:80], SUMS[:80], X_val=DENSE[80:], y_val=SUMS[80:])
    other.fit(thin[:80], SUMS[:80], X_val=thin[80:], y_val=SUMS[80:])
    same(one, other, DENSE, thin)
    if solver == "adam":
        assert one.history_["val_loss"] == other.history_["val_loss"]


def test_a_dense_fit_and_sparse_predictions():
    thin = sparse.csr_array(DENSE)
    model = MLPRegressor(hidden_layer_sizes=(6,), max_iter=5, random_state=0).fit(DENSE, SUMS)
    for rows in (1, 2, ROWS):
        assert digest(model.predict(thin[:rows])) == digest(model.predict(DENSE[:rows]))
    assert model.score(thin, SUMS) == model.score(DENSE, SUMS)


def test_refused():
    thin = sparse.csr_array(DENSE)
    model = MLPClassifier((4,), max_iter=2, random_state=0).fit(thin, SUMS > 0)
    bad = thin.copy()
    bad.data[3] = np.nan
    for call in (lambda: model.fit(bad, SUMS > 0), lambda: model.predict(bad)):
        with pytest.raises(ValueError, match="NaN"):
            call()
    with pytest.raises(ValueError, match="features"):
        model.predict(thin[:, :5])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a limit on memory")
@pytest.mark.parametrize("more", [
    "early_stopping=True, max_iter=2",
    "solver='sgd', max_iter=2, batch_size=5000, learning_rate_init=1e-4",
    "solver='lbfgs', max_iter=2",
], ids=["adam", "sgd", "lbfgs"])  # fmt: skip
def test_it_is_never_dense_as_a_whole(more):
    """20,000 rows of 10,000 columns would be 1.6 GB; a batch of 5,000 rows 400 MB."""
    python(
        f"""
        import resource, warnings, numpy as np, scipy.sparse
        from fastnn.sklearn import MLPClassifier, MLPRegressor
        warnings.simplefilter("ignore")
        generator = np.random.default_rng(0)
        rows, inputs, n = 20_000, 10_000, 200_000
        x = scipy.sparse.csr_array(
            (generator.normal(size=n), (generator.integers(0, rows, n), generator.integers(0, inputs, n))),
            (rows, inputs))
        y = np.arange(rows) % 2
        arguments = dict(hidden_layer_sizes=(3,), threads=2, random_state=0)
        MLPClassifier(max_iter=1, **arguments).fit(x[:100], y[:100])  # imports
        status = dict(line.split(":") for line in open("/proc/self/status"))
        taken = int(status["VmData"].split()[0]) * 1024
        resource.setrlimit(resource.RLIMIT_DATA, (taken + (200 << 20),) * 2)
        model = MLPClassifier(**arguments, {more}).fit(x, y)
        assert model.predict_proba(x).shape == (rows, 2)
        if model.solver != "lbfgs" and not model.early_stopping:
            model.partial_fit(x[:3000], y[:3000])
        MLPRegressor(**arguments, {more}).fit(x.tocsc(), np.column_stack((y, y)))
        """
    )
