# SPDX-License-Identifier: BSD-3-Clause
"""The estimators: scikit-learn's own models are the oracle, step by step; then everything around a fit."""

import copy
import inspect
import io
import pickle
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn")

import joblib
from scipy import sparse
from sklearn import config_context, neural_network
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import make_classification, make_moons, make_multilabel_classification
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastnn as fn
from fastnn.datasets import load_digits
from fastnn.sklearn import MLPClassifier, MLPRegressor, from_sklearn

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
THEIRS = {MLPClassifier: neural_network.MLPClassifier, MLPRegressor: neural_network.MLPRegressor}


def numbers(rows=90, columns=1, dtype=np.float64):
    generator = np.random.default_rng(1)
    X = generator.normal(size=(rows, 5))
    y = np.sin(X[:, :columns]) + X[:, 1:2] ** 2 / 3
    return X.astype(dtype), (y[:, 0] if columns == 1 else y).astype(dtype)


def classes(n=3, rows=90):
    return make_classification(rows, 6, n_informative=4, n_classes=n, random_state=2)


def questions(rows=90):
    X, y = make_multilabel_classification(rows, 6, n_classes=3, random_state=3)
    return X / 16, y


TASKS = {
    "numbers": (MLPRegressor, numbers),
    "several numbers": (MLPRegressor, lambda: numbers(columns=3)),
    "two numbers": (MLPRegressor, lambda: numbers(columns=2)),
    "yes or no": (MLPClassifier, lambda: classes(2)),
    "classes": (MLPClassifier, classes),
    "questions": (MLPClassifier, questions),
}
SOLVERS = {
    "adam": {"solver": "adam", "learning_rate_init": 0.01},
    "sgd": {"solver": "sgd", "learning_rate_init": 0.05, "nesterovs_momentum": False},
    "nesterov": {"solver": "sgd", "learning_rate_init": 0.02},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.5, "power_t": 0.3},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.1, "tol": 0.05,
                 "n_iter_no_change": 2},
}  # fmt: skip


def both(kind, **parameters):
    """fastnn's estimator and scikit-learn's with the same parameters."""
    return kind(**parameters), THEIRS[kind](**parameters)


def same_weights(ours, theirs, rtol=1e-8):
    for own, their in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True):
        np.testing.assert_allclose(own, their, rtol=rtol, atol=rtol)


# ---- the same training as scikit-learn's -----------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_loss_curves_and_weights_follow_scikit_learn(task, solver):
    kind, data = TASKS[task]
    X, y = data()  # 90 rows in batches of 32: the last one is smaller, so alpha counts more in it
    ours, theirs = both(kind, hidden_layer_sizes=(9, 7), alpha=0.3, batch_size=32, max_iter=25, random_state=4,
                        **SOLVERS[solver])  # fmt: skip
    ours.fit(X, y)
    theirs.fit(X, y)
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-9)
    same_weights(ours, theirs)
    assert (ours.n_iter_, ours.t_, ours.n_layers_, ours.n_outputs_, ours.out_activation_) == (
        theirs.n_iter_, theirs.t_, theirs.n_layers_, theirs.n_outputs_, theirs.out_activation_)  # fmt: skip
    assert ours.best_loss_ == pytest.approx(theirs.best_loss_, rel=1e-9) and ours.loss_ == ours.loss_curve_[-1]
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-7)
    if kind is MLPClassifier:
        np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-7)
        np.testing.assert_array_equal(ours.classes_, theirs.classes_)


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("shuffle", [True, False])
def test_activations_and_order_of_rows(activation, shuffle):
    X, y = classes()
    ours, theirs = both(MLPClassifier, activation=activation, shuffle=shuffle, batch_size=20, max_iter=10,
                        random_state=0)  # fmt: skip
    np.testing.assert_allclose(ours.fit(X, y).loss_curve_, theirs.fit(X, y).loss_curve_, rtol=1e-10)


@pytest.mark.parametrize("parameters", [{"beta_1": 0.5}, {"beta_2": 0.9}, {"epsilon": 0.01}], ids=str)
def test_parameters_of_adam(parameters):
    X, y = classes()
    ours, theirs = both(MLPClassifier, max_iter=10, random_state=0, **parameters)
    np.testing.assert_allclose(ours.fit(X, y).loss_curve_, theirs.fit(X, y).loss_curve_, rtol=1e-10)
    assert ours.loss_curve_ != MLPClassifier(max_iter=10, random_state=0).fit(X, y).loss_curve_


@pytest.mark.parametrize("calls", [3, 7, 20])
def test_lbfgs_stops_after_so_many_calls(calls):
    X, y = numbers()
    ours, theirs = both(MLPRegressor, solver="lbfgs", max_fun=calls, max_iter=500, random_state=0, tol=1e-12)
    assert ours.fit(X, y).n_iter_ == theirs.fit(X, y).n_iter_ < 500
    assert ours.loss_ == pytest.approx(theirs.loss_, rel=1e-9)


@pytest.mark.parametrize("columns", [1, 2])
def test_poisson(columns):
    X, _ = numbers()
    y = np.random.default_rng(0).poisson(np.exp(X[:, :columns])).astype(float)
    ours, theirs = both(MLPRegressor, loss="poisson", max_iter=20, random_state=0)
    y = y[:, 0] if columns == 1 else y
    np.testing.assert_allclose(ours.fit(X, y).loss_curve_, theirs.fit(X, y).loss_curve_, rtol=1e-9)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-7)
    assert ours.out_activation_ == "exp"


@pytest.mark.parametrize("task", TASKS)
def test_sample_weights(task):
    kind, data = TASKS[task]
    X, y = data()
    weights = np.random.default_rng(5).uniform(0, 3, len(X))
    ours, theirs = both(kind, alpha=0.5, batch_size=32, max_iter=8, random_state=1)
    ours.fit(X, y, sample_weight=weights)
    theirs.fit(X, y, sample_weight=weights)
    same_weights(ours, theirs)
    whole, their_whole = both(kind, alpha=0.5, max_iter=8, random_state=1)  # one batch: the same mean loss, too
    whole.fit(X, y, weights)
    np.testing.assert_allclose(whole.loss_curve_, their_whole.fit(X, y, weights).loss_curve_, rtol=1e-10)


@pytest.mark.parametrize("task", TASKS)
def test_early_stopping(task):
    kind, data = TASKS[task]
    X, y = data()
    ours, theirs = both(kind, early_stopping=True, validation_fraction=0.3, n_iter_no_change=3, tol=1e-3,
                        learning_rate_init=0.02, max_iter=60, random_state=1)  # fmt: skip
    ours.fit(X, y)
    theirs.fit(X, y)
    np.testing.assert_allclose(ours.validation_scores_, theirs.validation_scores_, rtol=1e-8)
    assert ours.best_validation_score_ == pytest.approx(theirs.best_validation_score_)
    assert ours.best_loss_ is None and ours.n_iter_ == theirs.n_iter_ < 60
    same_weights(ours, theirs, 1e-7)  # those of the best epoch


@pytest.mark.parametrize("solver", ["adam", "invscaling"])
def test_partial_fit_goes_on(solver):
    X, y = classes()
    ours, theirs = both(MLPClassifier, batch_size=25, random_state=0, **SOLVERS[solver])
    for part in (slice(0, 40), slice(40, 90), slice(0, 90)):
        ours.partial_fit(X[part], y[part], classes=[0, 1, 2])
        theirs.partial_fit(X[part], y[part], classes=[0, 1, 2])
    same_weights(ours, theirs)
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-9)
    assert (ours.n_iter_, ours.t_) == (theirs.n_iter_, theirs.t_)


def test_warm_start_goes_on_and_fit_starts_anew():
    X, y = numbers()
    ours, theirs = both(MLPRegressor, warm_start=True, max_iter=7, random_state=0)
    for alpha in (0.01, 1.0):
        ours.set_params(alpha=alpha).fit(X, y)
        theirs.set_params(alpha=alpha).fit(X, y)
    same_weights(ours, theirs)
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-9)
    cold = MLPRegressor(max_iter=7, random_state=0)
    first = cold.fit(X, y).loss_curve_
    assert cold.fit(X, y).loss_curve_ == first


def test_lbfgs_finds_the_same_minimum():
    X, y = classes()
    parameters = {"hidden_layer_sizes": (), "solver": "lbfgs", "alpha": 1.0, "tol": 1e-9, "max_iter": 1000}
    ours, theirs = both(MLPClassifier, random_state=0, **parameters)  # without hidden layers there is one minimum
    ours.fit(X, y, sample_weight=np.arange(90))
    theirs.fit(X, y, sample_weight=np.arange(90))
    assert ours.loss_ == pytest.approx(theirs.loss_, rel=1e-8)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-4)
    assert ours.loss_curve_[-1] == pytest.approx(ours.loss_) and len(ours.loss_curve_) == ours.n_iter_


@pytest.mark.parametrize("task", TASKS)
def test_lbfgs_starts_like_scikit_learn(task):
    kind, data = TASKS[task]
    X, y = data()
    ours, theirs = both(kind, solver="lbfgs", alpha=0.1, max_iter=5, random_state=0)
    ours.fit(X, y)
    theirs.fit(X, y)
    if task not in ("several numbers", "two numbers"):  # scikit-learn's gradient there is not that of its loss
        assert ours.loss_ == pytest.approx(theirs.loss_, rel=1e-7)
        same_weights(ours, theirs, 1e-6)
    loss = 0.5 * np.mean((ours.predict(X) - y) ** 2) if kind is MLPRegressor else None
    if loss is not None:
        penalty = 0.5 * 0.1 * sum(np.sum(w**2) for w in ours.coefs_) / len(X)
        assert ours.loss_ == pytest.approx(loss + penalty, rel=1e-9)


def test_parameters_are_scikit_learns_in_its_order():
    for ours, theirs in THEIRS.items():
        own, their = (list(inspect.signature(kind).parameters.values()) for kind in (ours, theirs))
        found = [(p.name, p.default, p.kind) for p in own[: len(their)]]
        assert found == [(p.name, p.default, p.kind) for p in their]
        assert all(p.kind is p.KEYWORD_ONLY for p in own[len(their) :])


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_from_sklearn_predicts_the_same(task, dtype):
    kind, data = TASKS[task]
    X, y = data()
    X = X.astype(dtype)
    theirs = THEIRS[kind](hidden_layer_sizes=(8, 6), activation="tanh", max_iter=30, random_state=0).fit(X, y)
    ours = from_sklearn(theirs)
    assert type(ours) is kind and ours.coefs_[0].dtype == dtype
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-5, atol=1e-6)
    if kind is MLPClassifier:
        np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-5, atol=1e-6)
    assert ours.loss_curve_ == theirs.loss_curve_ and ours.n_iter_ == theirs.n_iter_
    assert ours.get_params().items() >= theirs.get_params().items()
    assert ours.set_params(warm_start=True).fit(X, y).loss_curve_[30] < theirs.loss_curve_[5]


def test_from_sklearn_says_what_it_needs():
    with pytest.raises(TypeError, match=r"not sklearn\.preprocessing"):
        from_sklearn(StandardScaler())
    with pytest.raises(NotFittedError):
        from_sklearn(neural_network.MLPClassifier())
    theirs = neural_network.MLPRegressor(loss="poisson", max_iter=5).fit(np.eye(4), [1, 2, 3, 4])
    broken = copy.deepcopy(theirs)
    broken.coefs_[1][7] = np.nan
    with pytest.raises(ValueError, match=r"model\.coefs_\[1\] is nan at \[7, 0\], but must be finite \(1 of its 100"):
        from_sklearn(broken)
    np.testing.assert_allclose(from_sklearn(theirs).predict(np.eye(4)), theirs.predict(np.eye(4)), rtol=1e-6)


# ---- what comes in ---------------------------------------------------------------------------------------------------


def test_labels_may_be_strings():
    X, y = classes()
    names = np.array(["zebra", "ape", "owl"])[y]
    model = MLPClassifier(max_iter=200, learning_rate_init=0.02, random_state=0).fit(X, names)
    assert model.classes_.tolist() == ["ape", "owl", "zebra"] and model.score(X, names) > 0.85
    assert model.predict(X[:3]).dtype == names.dtype
    np.testing.assert_allclose(model.predict_log_proba(X), np.log(model.predict_proba(X)))


def test_sparse_rows_are_the_same_as_dense_ones():
    X, y = classes(rows=1500)
    X[X < 0.5] = 0
    dense = MLPClassifier(max_iter=3, random_state=0).fit(X, y)
    for kind in (sparse.csr_matrix, sparse.csc_array):
        model = MLPClassifier(max_iter=3, random_state=0).fit(kind(X), y)
        assert model.loss_curve_ == dense.loss_curve_
        np.testing.assert_array_equal(model.predict_proba(kind(X)), dense.predict_proba(X))


@pytest.mark.parametrize("given, asked, found", [
    ("float32", None, "float32"), ("float64", None, "float64"), ("int64", None, "float64"),
    ("float64", "float32", "float32"), ("float32", "float64", "float64"), ("uint8", np.float32, "float32"),
])  # fmt: skip
def test_it_computes_in_the_dtype_of_X(given, asked, found):
    X = (np.random.default_rng(0).random((20, 3)) * 10).astype(given)
    model = MLPRegressor(dtype=asked, max_iter=2).fit(X, np.arange(20))
    assert model.coefs_[0].dtype == model.intercepts_[1].dtype == model.predict(X).dtype == found


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize("asked", [
    "float16", np.float16, int, complex, object, "single precision", 32, [], np.dtype(">f4"),
])  # fmt: skip
def test_a_dtype_that_networks_do_not_have_is_said(kind, asked):
    model = kind(dtype=asked)
    with pytest.raises(ValueError) as raised:
        model.fit(np.eye(4), [0, 1, 0, 1])
    said = str(raised.value)
    assert said == (
        f"The 'dtype' parameter of {kind.__name__} must be 'float32', 'float64', the type of that name or None. "
        f"Got {asked!r} instead."
    )
    assert not hasattr(model, "n_features_in_")


def test_multi_label_targets_may_be_sparse():
    X, y = questions()
    dense, thin = (MLPClassifier(max_iter=5, random_state=0).fit(X, part) for part in (y, sparse.csr_matrix(y)))
    assert dense.loss_curve_ == thin.loss_curve_ and dense.n_outputs_ == 3
    assert set(np.unique(dense.predict(X))) <= {0, 1}


def test_one_class_alone_is_always_right():
    model = MLPClassifier(max_iter=3).fit(np.eye(4), ["only"] * 4)
    assert model.predict(np.eye(4)).tolist() == ["only"] * 4
    assert model.predict_proba(np.eye(4)).tolist() == [[1.0]] * 4


def test_what_is_wrong_is_said():
    X, y = classes()
    for parameters, words in {
        "hidden": ({"hidden_layer_sizes": (3, 0)}, "hidden_layer_sizes must be > 0"),
        "loss": ({"loss": "mse"}, "'mse' is none for classes"),
        "dropout": ({"solver": "lbfgs", "dropout": 0.5}, "dropout needs solver"),
        "weights": ({"class_weight": {7: 1.0}}, r"class_weight has the labels \[7\]"),
        "activation": ({"activation": "rleu"}, "Did you mean 'relu'"),
        "softmax": ({"activation": "softmax"}, "last layers"),
        "solver": ({"solver": "newton"}, "'solver' parameter"),
    }.values():
        with pytest.raises(ValueError, match=words):
            MLPClassifier(**parameters).fit(X, y)
    with pytest.raises(ValueError, match="belong together"):
        MLPClassifier().fit(X, y, X_val=X)
    with pytest.raises(ValueError, match="multi-label"):
        MLPClassifier(class_weight="balanced").fit(*questions())
    with pytest.raises(ValueError, match="classes must be passed"):
        MLPClassifier().partial_fit(X, y)
    with pytest.raises(ValueError, match="early_stopping"):
        MLPClassifier(early_stopping=True).partial_fit(X, y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="not among the known classes"):
        MLPClassifier().partial_fit(X, y, classes=[0, 1])
    with pytest.raises(ValueError, match="weight"):
        MLPRegressor().fit(X, y, sample_weight=np.full(90, -1.0))
    with pytest.raises(ValueError, match="negative"):
        MLPRegressor("poisson").fit(X, y - 5)
    with pytest.raises(ValueError, match="for numbers"):
        MLPRegressor("focal").fit(X, y)
    with pytest.raises(AttributeError, match="partial_fit"):
        MLPRegressor(solver="lbfgs").partial_fit(X, y)
    assert not hasattr(MLPClassifier(solver="lbfgs"), "partial_fit")
    for name in ("coefs_", "intercepts_", "network_"):
        assert not hasattr(MLPRegressor(), name)
    model = MLPClassifier(warm_start=True, max_iter=2).fit(X, y)
    with pytest.raises(ValueError, match="same classes"):
        model.fit(X, np.minimum(y, 1))
    with pytest.raises(ValueError, match="start anew"):
        model.set_params(hidden_layer_sizes=(3,)).fit(X, y)


def test_divergence_is_an_error_of_values():
    X, y = numbers()
    with pytest.raises(ValueError, match="non-finite"):
        MLPRegressor(solver="sgd", learning_rate_init=1e3, random_state=0).fit(1e3 * X, 1e3 * y)
    early = MLPRegressor(activation="identity", solver="sgd", learning_rate_init=1, early_stopping=True, random_state=0)
    with pytest.warns(ConvergenceWarning, match="best score are kept"):
        early.fit(X, y)
    assert np.isnan(early.validation_scores_[-1]) and np.isfinite(early.predict(X)).all()


# ---- stopping, and what is said meanwhile ----------------------------------------------------------------------------


def test_convergence_warnings():
    X, y = numbers()
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(2\)"):
        MLPRegressor(max_iter=2).fit(X, y)
    with pytest.warns(ConvergenceWarning, match="lbfgs failed to converge"):
        MLPRegressor(solver="lbfgs", max_iter=2).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = MLPRegressor(tol=1e9, n_iter_no_change=2, max_iter=100).fit(1e4 * X, y)  # no word about unscaled X
        MLPRegressor(max_iter=2).partial_fit(X, y)
    assert model.n_iter_ < 100


def test_verbose_prints_what_scikit_learn_prints(capsys):
    X, y = classes(2)
    parameters = {"verbose": True, "early_stopping": True, "max_iter": 40, "n_iter_no_change": 2, "random_state": 0}
    printed = []
    for model in both(MLPClassifier, **parameters):
        model.fit(X, y)
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1] and "Validation score" in printed[0] and "Stopping." in printed[0]


def test_an_interrupt_ends_the_fit_and_keeps_what_was_learned():
    class Interrupt(fn.Callback):
        def on_epoch_end(self, net, epoch, logs):
            if epoch == 3:
                raise KeyboardInterrupt

    X, y = numbers()
    model = MLPRegressor(callbacks=[Interrupt()], random_state=0)
    with pytest.warns(UserWarning, match="interrupted by user"):
        model.fit(X, y)
    assert model.n_iter_ == 4 and model.predict(X).shape == (90,)


# ---- beyond scikit-learn ---------------------------------------------------------------------------------------------


def test_validation_data_of_ones_own():
    X, y = classes(rows=150)
    model = MLPClassifier(max_iter=5, metrics=["f1"], random_state=0).fit(X[:90], y[:90], X_val=X[90:], y_val=y[90:])
    assert len(model.validation_scores_) == 5 == len(model.history_["val_loss"]) == len(model.history_["val_f1"])
    assert model.validation_scores_[-1] == model.score(X[90:], y[90:])
    assert model.best_validation_score_ == max(model.validation_scores_) and model.best_loss_ is not None
    early = MLPClassifier(early_stopping=True, learning_rate_init=0.02, n_iter_no_change=3, random_state=0)
    early.fit(X[:90], y[:90], X_val=X[90:], y_val=y[90:])
    assert early.score(X[90:], y[90:]) == early.best_validation_score_ and early.t_ == 90 * early.n_iter_


def test_class_weights_are_sample_weights():
    X, y = classes()
    names = np.array(["a", "b", "c"])[y]
    wanted = {"a": 3.0, "c": 0.5}
    weights = np.where(y == 0, 3.0, np.where(y == 2, 0.5, 1.0))
    by_class = MLPClassifier(class_weight=wanted, max_iter=4, random_state=0).fit(X, names)
    by_row = MLPClassifier(max_iter=4, random_state=0).fit(X, names, sample_weight=weights)
    assert by_class.loss_curve_ == by_row.loss_curve_
    skewed = np.r_[np.flatnonzero(y == 0)[:4], np.flatnonzero(y > 0)]
    balanced = MLPClassifier(class_weight="balanced", max_iter=300, random_state=0).fit(X[skewed], y[skewed])
    plain = MLPClassifier(max_iter=300, random_state=0).fit(X[skewed], y[skewed])
    assert balanced.predict_proba(X)[:, 0].mean() > plain.predict_proba(X)[:, 0].mean()


def test_dropout_leaves_out_in_training_only():
    X, y = classes()
    model = MLPClassifier(dropout=0.5, max_iter=5, random_state=0).fit(X, y)
    assert model.loss_curve_ == clone(model).fit(X, y).loss_curve_
    assert model.loss_curve_ != MLPClassifier(max_iter=5, random_state=0).fit(X, y).loss_curve_
    np.testing.assert_array_equal(model.predict_proba(X), model.predict_proba(X))
    assert [type(layer).__name__ for layer in model.network_.layers] == ["Dense", "Dropout", "Dense"]


@pytest.mark.parametrize("activation", ["silu", "elu(0.5)", fn.LeakyReLU(0.1), "sigmoid", "linear"])
def test_more_activations(activation):
    X, y = numbers()
    model = MLPRegressor(activation=activation, max_iter=30, random_state=0).fit(X, y)
    assert model.loss_curve_[-1] < model.loss_curve_[0]


def test_more_losses_for_numbers():
    X, y = numbers(rows=400)
    for loss in (
        "mae",
        "huber",
        fn.Huber(0.5),
        "log_cosh",
        fn.Quantile(0.9),
        lambda y, z: (((z - y) ** 2)[:, 0], 2 * (z - y)),
    ):
        model = MLPRegressor(loss, max_iter=40, learning_rate_init=0.01, random_state=0).fit(X, y)
        assert model.loss_curve_[-1] < 0.5 * model.loss_curve_[0] and model.predict(X).shape == y.shape
    three = MLPRegressor(fn.Quantile([0.1, 0.5, 0.9]), max_iter=100, learning_rate_init=0.01, random_state=0).fit(X, y)
    assert three.predict(X).shape == (400, 3) and np.mean(three.predict(X)[:, 0] < y) > 0.7
    with pytest.raises(ValueError, match="score needs one prediction for each column of y, not several quantiles"):
        three.score(X, y)
    normal = MLPRegressor("gaussian_nll", max_iter=40, learning_rate_init=0.01, random_state=0).fit(X, y)
    assert normal.predict(X).shape == y.shape and normal.score(X, y) > 0.3


def test_more_losses_for_classes():
    for X, y in (classes(), classes(2), questions()):
        for loss in (fn.CrossEntropy(label_smoothing=0.2), "focal", fn.Focal(1.5)):
            model = MLPClassifier(loss=loss, max_iter=60, learning_rate_init=0.02, random_state=0).fit(X, y)
            assert model.loss_curve_[-1] < model.loss_curve_[0] and model.score(X, y) > 0.5

        def squares(y, p):
            return ((p - y) ** 2).sum(1), 2 * (p - y)

        model = MLPClassifier(loss=squares, max_iter=60, learning_rate_init=0.02, random_state=0).fit(X, y)
        assert model.loss_curve_[-1] < model.loss_curve_[0]
    X, y = classes(2)  # smoothing of two classes is the same with one output as with two
    smooth = MLPClassifier((), loss=fn.CrossEntropy(label_smoothing=0.4), solver="lbfgs", alpha=0).fit(X, y)
    assert smooth.predict_proba(X).mean() == pytest.approx(0.5)


def test_a_python_loss_trains_like_the_native_one():
    X, y = numbers()

    def half_squares(y, z):
        return 0.5 * ((z - y) ** 2).sum(1), z - y

    parameters = {"alpha": 0.7, "batch_size": 32, "max_iter": 6, "random_state": 0}
    native, python = (MLPRegressor(loss, **parameters).fit(X, y) for loss in ("squared_error", half_squares))
    np.testing.assert_allclose(python.loss_curve_, native.loss_curve_, rtol=1e-12)


def test_schedules_callbacks_and_metrics():
    X, y = classes()
    seen = []
    note = fn.LambdaCallback(on_epoch_end=lambda net, epoch, logs: seen.append(logs["learning_rate"]))
    model = MLPClassifier(schedule=lambda step: 1 / (1 + step), callbacks=note, metrics=["accuracy"], max_iter=3,
                          random_state=0).fit(X, y)  # fmt: skip
    np.testing.assert_allclose(seen, [0.001, 0.0005, 0.001 / 3])
    assert len(model.history_["accuracy"]) == 3
    stopped = MLPClassifier(
        callbacks=[fn.LambdaCallback(on_epoch_end=lambda net, *_: setattr(net, "stop_training", True))]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert stopped.fit(X, y).n_iter_ == 1


def test_threads_change_no_bit():
    X, y = load_digits()
    one, two = (MLPClassifier((128,), max_iter=2, random_state=0, threads=n).fit(X, y) for n in (1, 2))
    assert one.network_.params.tobytes() == two.network_.params.tobytes()


def test_attributes_are_views_of_the_network():
    X, y = numbers()
    model = MLPRegressor(hidden_layer_sizes=(4,), max_iter=2).fit(X, y)
    before = model.predict(X)
    model.intercepts_[-1][...] += 1
    np.testing.assert_allclose(model.predict(X), before + 1)
    np.testing.assert_array_equal(model.network_.predict(X)[:, 0], model.predict(X))


# ---- scikit-learn around it ------------------------------------------------------------------------------------------


def test_copies_and_pickles():
    X, y = classes()
    model = MLPClassifier(batch_size=20, max_iter=5, dropout=0.2, random_state=np.random.RandomState(0)).fit(X, y)
    file = io.BytesIO()
    joblib.dump(model, file)
    file.seek(0)
    copies = [pickle.loads(pickle.dumps(model)), copy.deepcopy(model), joblib.load(file)]
    expected = model.predict_proba(X)
    for other in copies:
        np.testing.assert_array_equal(other.predict_proba(X), expected)
        assert other.loss_curve_ == model.loss_curve_
    model.partial_fit(X, y)
    for other in copies:  # with all that the optimizer remembers
        np.testing.assert_array_equal(other.partial_fit(X, y).predict_proba(X), model.predict_proba(X))
    assert not hasattr(clone(model), "network_")


def test_a_pickle_of_a_changed_file_is_refused():
    X, y = numbers()
    content = pickle.dumps(MLPRegressor(max_iter=2).fit(X, y))
    place = content.index(b"~sha256") + 2000
    with pytest.raises(ValueError, match="damaged"):
        pickle.loads(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_grid_search(backend):
    X, y = classes()
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(max_iter=20, random_state=0))
    search = GridSearchCV(pipeline, {"mlpclassifier__alpha": [1e-4, 10.0], "mlpclassifier__dropout": [0.0, 0.1]}, cv=2)
    serial = clone(search).fit(X, y)
    with joblib.parallel_backend(backend, n_jobs=2):
        search.fit(X, y)
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], serial.cv_results_["mean_test_score"])
    assert search.score(X, y) > 0.5


def test_calibration_importance_and_cross_validation():
    X, y = classes(2, rows=1000)
    X = np.column_stack((X, np.random.default_rng(0).normal(size=1000)))  # the last column says nothing
    model = MLPClassifier(max_iter=100, learning_rate_init=0.01, random_state=0)
    calibrated = CalibratedClassifierCV(model, cv=2).fit(X, y)
    np.testing.assert_allclose(calibrated.predict_proba(X).sum(1), 1)
    importance = permutation_importance(model.fit(X[:500], y[:500]), X[500:], y[500:], random_state=0).importances_mean
    assert importance[-1] < importance.max() / 4
    assert cross_val_predict(model, X, y, cv=2, method="predict_proba").shape == (1000, 2)


def test_names_of_columns_are_kept_and_checked():
    pandas = pytest.importorskip("pandas")
    X, y = numbers()
    table = pandas.DataFrame(X, columns=list("abcde"))
    pipeline = make_pipeline(StandardScaler().set_output(transform="pandas"), MLPRegressor(max_iter=3))
    assert pipeline.fit(table, y)[-1].feature_names_in_.tolist() == list("abcde")
    with pytest.raises(ValueError, match="feature names should match"):
        pipeline[-1].predict(table[list("edcba")])


# ---- scikit-learn's examples, in small -------------------------------------------------------------------------------


def test_alpha_smooths_the_boundary():
    """What plot_mlp_alpha shows: a larger alpha, smaller weights and a plainer boundary."""
    X, y = make_moons(noise=0.3, random_state=0)
    sizes, scores = [], []
    for alpha in np.logspace(-1, 1, 3):
        model = make_pipeline(
            StandardScaler(),
            MLPClassifier(solver="lbfgs", alpha=alpha, random_state=1, max_iter=2000, early_stopping=True,
                          hidden_layer_sizes=[10, 10]),
        ).fit(X, y)  # fmt: skip
        sizes.append(sum(np.sum(weight**2) for weight in model[-1].coefs_))
        scores.append(model.score(X, y))
    assert sizes == sorted(sizes, reverse=True) and scores[0] >= scores[2] > 0.8


def test_training_curves_of_all_strategies():
    """What plot_mlp_training_curves shows: Adam and momentum learn fast, plain falling rates slowly."""
    strategies = {
        "constant": {"solver": "sgd", "momentum": 0, "learning_rate_init": 0.2},
        "momentum": {"solver": "sgd", "momentum": 0.9, "nesterovs_momentum": False, "learning_rate_init": 0.2},
        "nesterov": {"solver": "sgd", "momentum": 0.9, "learning_rate_init": 0.2},
        "inv-scaling": {"solver": "sgd", "learning_rate": "invscaling", "momentum": 0, "learning_rate_init": 0.2},
        "adam": {"solver": "adam", "learning_rate_init": 0.01},
    }
    X, y = load_digits()
    loss = {}
    for name, parameters in strategies.items():
        model = MLPClassifier(random_state=0, max_iter=15, **parameters).fit(X / 16, y)
        assert model.loss_ == model.loss_curve_[-1] and len(model.loss_curve_) == 15
        loss[name] = model.loss_
    assert max(loss["adam"], loss["momentum"], loss["nesterov"]) < loss["constant"] < loss["inv-scaling"]


@pytest.mark.parametrize(
    ("estimator", "parameters", "said"),
    [
        (MLPClassifier, {"hidden_layer_sizes": (5.5,)}, r"hidden_layer_sizes must be whole numbers, got 5.5"),
        (MLPClassifier, {"hidden_layer_sizes": ["5"]}, r"hidden_layer_sizes must be whole numbers, got '5'"),
        (MLPClassifier, {"class_weight": {0: -1, 1: 2}}, r"class_weight\[0\] is -1"),
        (MLPClassifier, {"class_weight": {0: 1, 1: np.nan}}, r"class_weight\[1\] is nan"),
        (MLPClassifier, {"class_weight": {0: "1"}}, r"class_weight\[0\] is '1'"),
        (MLPClassifier, {"early_stopping": True, "validation_fraction": 0.0}, "validation_fraction is 0"),
        (MLPClassifier, {"loss": "squared_error"}, "'squared_error' is for numbers"),
        (MLPRegressor, {"loss": "log_loss"}, "'log_loss' is for classes"),
    ],
)
def test_a_wrong_parameter_is_named_as_it_was_given(estimator, parameters, said):
    X, _ = numbers()
    with pytest.raises((TypeError, ValueError), match=said):
        estimator(**parameters).fit(X, (X[:, 0] > 0).astype(int))


def test_a_fit_that_fails_before_it_learns_leaves_the_estimator_as_it_was():
    X, _ = numbers()
    y = (X[:, 0] > 0).astype(int)
    model = MLPClassifier((5,), max_iter=2, random_state=0)
    with pytest.raises(ValueError, match="2 features"):
        model.fit(X, y, X_val=X[:, :2], y_val=y)
    with pytest.raises(NotFittedError):
        model.predict(X)
    expected = model.fit(X, y).predict_proba(X)
    with pytest.raises(ValueError, match="features"):
        model.fit(X[:, :3], y + 7, X_val=X[:, :2], y_val=y)
    assert model.classes_.tolist() == [0, 1] and model.n_features_in_ == 5
    assert np.array_equal(model.predict_proba(X), expected)


@pytest.mark.parametrize("estimator", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("form", [np.asarray, np.float32, sparse.csr_matrix, sparse.csc_array, np.ndarray.tolist])
def test_what_is_not_finite_is_refused_in_their_words(estimator, value, form):
    X, y = numbers()
    y = y if estimator is MLPRegressor else (y > 0).astype(int)
    bad_X, bad_y = X.copy(), y.astype(float)
    bad_X[7, 2] = bad_y[3] = value
    model = estimator(hidden_layer_sizes=(4,), max_iter=2, random_state=0, warm_start=True).fit(X, y)
    expected = model.predict(X)
    for arguments in ((form(bad_X), y), (form(X), bad_y)):
        with pytest.raises(ValueError) as theirs:
            THEIRS[estimator](hidden_layer_sizes=(4,), max_iter=2).fit(*arguments)
        for call in (model.fit, model.partial_fit):
            with pytest.raises(ValueError) as own:
                call(*arguments)
            assert str(own.value) == str(theirs.value) and "contains" in str(own.value)
            with config_context(assume_finite=True), pytest.raises(ValueError):
                call(form(bad_X), y)
    assert model.n_iter_ == 2 and np.array_equal(model.predict(X), expected)


def test_new_coefs_are_taken_all_or_not_at_all():
    X, y = numbers()
    model = MLPRegressor(hidden_layer_sizes=(4,), max_iter=2, random_state=0).fit(X, y)
    before = [weight.copy() for weight in model.coefs_]
    for wrong in ([np.zeros((5, 4))], [np.zeros((5, 4)), np.zeros((2, 1))], [np.zeros((5, 4)), [["a"]] * 4]):
        with pytest.raises(ValueError, match=r"coefs_ has arrays of shapes|could not convert"):
            model.coefs_ = wrong
        assert all(map(np.array_equal, model.coefs_, before))
    with pytest.raises(ValueError, match=r"coefs_\[1\] is inf at \[2, 0\], but must be finite"):
        model.coefs_ = [np.zeros((5, 4)), [[0], [0], [np.inf], [0]]]
    assert all(map(np.array_equal, model.coefs_, before))


@pytest.mark.parametrize("kind", ["<U10", object, ">i4", np.int8, np.float16, bool, "pandas"])
def test_classes_have_scikit_learns_type(kind):
    X, y = classes(2)
    if kind == "pandas":
        y = pytest.importorskip("pandas").Series(np.array(["no", "yes"])[y])
    else:
        y = (np.array(["no", "yes"])[y] if kind in ("<U10", object) else y).astype(kind)
    ours, theirs = both(MLPClassifier, hidden_layer_sizes=(4,), max_iter=2, random_state=0)
    for found, wanted in (
        (ours.fit(X, y), theirs.fit(X, y)),
        (clone(ours).partial_fit(X, y, classes=np.unique(y)), clone(theirs).partial_fit(X, y, classes=np.unique(y))),
    ):
        assert found.classes_.dtype == wanted.classes_.dtype and found.classes_.tolist() == wanted.classes_.tolist()
        np.testing.assert_array_equal(found.predict(X), wanted.predict(X), strict=True)


@pytest.mark.parametrize("form", [sparse.csr_matrix, sparse.coo_array])
def test_sparse_questions_have_sparse_answers(form):
    X, y = questions()
    ours, theirs = both(MLPClassifier, max_iter=5, random_state=0)
    theirs.fit(X, form(y))
    for model in (ours.fit(X, form(y)), from_sklearn(theirs)):
        found, wanted = model.predict(X), theirs.predict(X)
        assert type(found) is type(wanted) and found.dtype == wanted.dtype and (found != wanted).nnz == 0
        assert model.score(X, y) == model.score(X, form(y)) == theirs.score(X, y)
    part = MLPClassifier(random_state=0).partial_fit(X, form(y), classes=[0, 1, 2])
    assert sparse.issparse(part.predict(X)) and not sparse.issparse(MLPClassifier(max_iter=2).fit(X, y).predict(X))


def test_targets_that_do_not_fit_are_named():
    X, y = classes(rows=120)
    named = {
        "an array of Python objects, the first a int": lambda: MLPClassifier().fit(X, y.astype(object)),
        "which must be of 0 and 1 .* but has -1": lambda: MLPClassifier().fit(
            X, np.column_stack((y % 2, y % 2)) * 2 - 1
        ),
        "Expected array-like": lambda: MLPClassifier().partial_fit(X, y, classes=3),
        "classes is empty": lambda: MLPClassifier().partial_fit(X, y, classes=[]),
        "y_val has 2 columns, but y has 1": lambda: MLPRegressor().fit(X, y, X_val=X, y_val=np.column_stack((y, y))),
        "y_val has 1 columns, but y has 2": lambda: MLPRegressor(solver="lbfgs").fit(
            X, np.column_stack((y, y)), X_val=X, y_val=y
        ),
        r"y_val has classes \[9\] that are not among": lambda: MLPClassifier().fit(X, y, X_val=X, y_val=y * 0 + 9),
        "y_val has 3 columns, but": lambda: MLPClassifier().fit(X, y, X_val=X, y_val=np.eye(3, dtype=int)[y]),
        "Input y_val contains NaN": lambda: MLPRegressor().fit(X, y, X_val=X, y_val=np.where(y == 1, np.nan, y)),
        "Input X_val contains NaN": lambda: MLPRegressor().fit(X, y, X_val=np.where(X > 1, np.nan, X), y_val=y),
    }
    for said, call in named.items():
        with pytest.raises(ValueError, match=said):
            call()
    with pytest.raises(ValueError, match="3 columns, but the labels of the first fit were one column"):
        MLPClassifier(max_iter=2, warm_start=True).fit(X, y).fit(X, np.eye(3, dtype=int)[y])
    for wrong, said in (
        (y.astype("M8[D]"), r"y has dtype datetime64\[D\], but MLPRegressor needs real numbers"),
        (y.astype(str), "y has dtype <U"),
        (sparse.csr_matrix(np.column_stack((y, y))), r"y is a sparse matrix.*y\.toarray\(\)"),
    ):
        with pytest.raises(TypeError, match=said):
            MLPRegressor().fit(X, wrong)


@pytest.mark.parametrize("estimator", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize("warm_start", [False, True])
@pytest.mark.parametrize("refused", [
    {"sample_weight": np.full(90, -1.0)}, {"sample_weight": np.zeros(90)}, {"y_val": 3},
    {"X_val": np.ones((3, 2)), "y_val": [0, 1, 0]}, {"y": np.full(90, "a"), "sample_weight": [1.0]},
    {"X": np.ones((90, 3)), "sample_weight": [1.0]},
], ids=lambda refused: " ".join(refused))  # fmt: skip
def test_a_refused_fit_changes_nothing(estimator, warm_start, refused):
    X, _ = numbers()
    y = (X[:, 0] > 0).astype(int)
    model = estimator(hidden_layer_sizes=(5,), max_iter=3, random_state=0, warm_start=warm_start).fit(X, y)
    expected, before = model.predict(X), dict(model.__dict__)
    with pytest.raises((TypeError, ValueError)):
        model.fit(**{"X": X, "y": y + 7 * (not warm_start)} | refused)
    assert model.__dict__.keys() == before.keys()
    assert all(value is before[name] for name, value in model.__dict__.items())
    np.testing.assert_array_equal(model.predict(X), expected)


def test_classes_of_a_refused_first_call_are_forgotten():
    X, y = classes()
    model = MLPClassifier(random_state=0)
    with pytest.raises(ValueError, match="not among the known classes"):
        model.partial_fit(X, y, classes=["a"])
    assert not hasattr(model, "classes_")
    assert model.partial_fit(X, y, classes=[0, 1, 2]).classes_.tolist() == [0, 1, 2]


def test_rows_without_any_weight_are_said():
    """One row has all the weight: it is either held out or trained on, and the others say nothing."""
    X, y = numbers()
    said = []
    for row in range(90):
        with pytest.raises(ValueError, match="sample_weight is zero for all") as raised:
            MLPRegressor(early_stopping=True, random_state=0).fit(X, y, sample_weight=np.arange(90) == row)
        said.append(str(raised.value).split(": ")[0].removeprefix("sample_weight is zero for all "))
    assert said.count("9 rows held out by early_stopping") == 81 and said.count("81 rows to train on") == 9


@pytest.mark.parametrize("fit, parameters, warned", [
    ("fit", {}, 1), ("fit", {"solver": "lbfgs"}, 1), ("fit", {"batch_size": 100}, 2),
    ("partial_fit", {"batch_size": 100}, 1),
])  # fmt: skip
def test_warnings_point_to_the_line_that_called(fit, parameters, warned):
    X, y = numbers()
    model = MLPRegressor(max_iter=2, **parameters)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        getattr(model, fit)(X, y)
    assert len(caught) == warned and {warning.filename for warning in caught} == {__file__}


def test_one_array_of_coefs_may_be_replaced():
    X, y = numbers()
    model = MLPRegressor(hidden_layer_sizes=(4,), max_iter=2, random_state=0).fit(X, y)
    before = model.predict(X)
    model.intercepts_[1] = model.intercepts_[1] + 1
    np.testing.assert_allclose(model.predict(X), before + 1)
    model.coefs_[-1] = np.zeros((4, 1))
    np.testing.assert_array_equal(model.predict(X), np.full(90, model.intercepts_[1][0]))
    model.intercepts_[:] = [np.zeros(4), [3.0]]
    np.testing.assert_array_equal(model.predict(X), np.full(90, 3.0))
    with pytest.raises(ValueError, match="shapes"):
        model.coefs_[0] = np.zeros((3, 4))
    kept = copy.deepcopy(model.coefs_)
    kept[1] = np.ones((4, 1))
    assert type(kept) is list and type(pickle.loads(pickle.dumps(model.coefs_))) is list and not model.coefs_[1].any()


def test_whole_numbers_and_bools():
    X, y = numbers()
    for sizes in (True, (True,), (3, True)):
        with pytest.raises(TypeError, match="hidden_layer_sizes must be whole numbers, got True"):
            MLPRegressor(hidden_layer_sizes=sizes).fit(X, y)
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(1\)"):  # as with scikit-learn
        assert MLPRegressor(max_iter=True).fit(X, y).n_iter_ == 1


@pytest.mark.parametrize("name, value", [
    ("callbacks", [fn.EarlyStopping()]), ("schedule", fn.CosineSchedule()), ("metrics", ["r2"]), ("metrics", "r2"),
])  # fmt: skip
def test_what_needs_epochs_is_refused_by_lbfgs(name, value):
    with pytest.raises(ValueError, match=f"{name} needs solver 'adam' or 'sgd'"):
        MLPRegressor(solver="lbfgs", **{name: value}).fit(*numbers())


@pytest.mark.parametrize("columns", [1, 2, 3])
@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
def test_the_curve_of_lbfgs_ends_with_its_loss(loss, columns, capsys):
    X, y = numbers(columns=columns)
    model = MLPRegressor(loss, alpha=2.0, max_iter=4, random_state=0, metrics=["mae"]).fit(X, np.abs(y))
    model.set_params(solver="lbfgs", metrics=(), verbose=True).fit(X, np.abs(y), sample_weight=np.arange(90))
    assert model.loss_curve_[-1] == pytest.approx(model.loss_, rel=1e-12)
    assert model.history_ == {"loss": model.loss_curve_}  # not that of the first fit
    assert f"loss = {model.loss_:.8f}" in capsys.readouterr().out
