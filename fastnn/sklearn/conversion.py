# SPDX-License-Identifier: BSD-3-Clause
"""From scikit-learn's multilayer perceptrons to fastnn's."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.neural_network import MLPClassifier as TheirClassifier
from sklearn.neural_network import MLPRegressor as TheirRegressor
from sklearn.utils.validation import check_is_fitted

from ..arguments import finite_copy
from ..model import Sequential
from .classifier import MLPClassifier
from .estimator import dense_layers
from .labels import Labels
from .regressor import MLPRegressor

TAKEN = (
    "n_features_in_", "feature_names_in_", "n_iter_", "t_", "loss_", "loss_curve_", "best_loss_", "validation_scores_",
    "best_validation_score_",
)  # fmt: skip


def from_sklearn(model: Any) -> MLPClassifier | MLPRegressor:
    """A fitted model of scikit-learn's as one of fastnn's: the same parameters, weights and predictions.

    Parameters
    ----------
    model : sklearn.neural_network.MLPClassifier or MLPRegressor
        Fitted. It stays as it is.

    Returns
    -------
    MLPClassifier or MLPRegressor
        Of ``fastnn.sklearn``; it predicts the same to rounding. What an optimizer remembers does not come along:
        ``partial_fit`` goes on from the weights with a new one.

    Raises
    ------
    TypeError
        If the model is something else.
    sklearn.exceptions.NotFittedError
        If it is not fitted.
    ValueError
        If a weight is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.neural_network import MLPRegressor
    >>> from fastnn.sklearn import from_sklearn
    >>> X = np.linspace(-1, 1, 100)[:, None]
    >>> theirs = MLPRegressor(solver="lbfgs", random_state=0).fit(X, X[:, 0] ** 2)
    >>> bool(np.allclose(from_sklearn(theirs).predict(X), theirs.predict(X)))
    True
    """
    if not isinstance(model, (TheirClassifier, TheirRegressor)):
        raise TypeError(
            "model must be a MLPClassifier or MLPRegressor of sklearn.neural_network, not "
            f"{type(model).__module__}.{type(model).__name__}"
        )
    check_is_fitted(model, "coefs_")
    ours: Any = MLPClassifier() if isinstance(model, TheirClassifier) else MLPRegressor()
    ours.set_params(**model.get_params(deep=False))
    if isinstance(model, TheirClassifier):
        ours._labels = _labels(model)
        ours.classes_ = ours._labels.classes
        targets = np.empty((0, len(model.classes_)))
    else:
        targets = np.empty((0, model.n_outputs_))
    aim = ours._aim_for(targets)
    sizes = [weight.shape[0] for weight in model.coefs_] + [model.coefs_[-1].shape[1]]
    ours.hidden_layer_sizes, asked = tuple(sizes[1:-1]), ours.hidden_layer_sizes  # what it was fitted with
    dtype = np.result_type(*model.coefs_, np.float32)
    network = Sequential(ours._layers(aim), inputs=sizes[0], seed=0, dtype=dtype)
    ours.hidden_layer_sizes = asked
    layers = zip(dense_layers(network), model.coefs_, model.intercepts_, strict=True)
    for place, (layer, weight, bias) in enumerate(layers):
        layer.weight = finite_copy(weight, network.dtype, f"model.coefs_[{place}]")
        layer.bias = finite_copy(bias, network.dtype, f"model.intercepts_[{place}]")
    ours._adopt(network, aim)
    ours._no_improvement_count, ours._rate = 0, None
    ours.loss_curve_, ours.validation_scores_, ours.best_validation_score_, ours.best_loss_ = [], None, None, np.inf
    for name in TAKEN:
        if hasattr(model, name):
            value = getattr(model, name)
            setattr(ours, name, list(value) if isinstance(value, list) else value)
    return ours  # type: ignore[no-any-return]


def _labels(model: Any) -> Labels:
    """What its labels are: several logistic outputs are questions of their own."""
    if model.out_activation_ == "softmax":
        return Labels("multiclass", model.classes_)
    if model.n_outputs_ > 1:
        return Labels("multilabel", model.classes_, model._label_binarizer.sparse_input_)
    return Labels("binary", model.classes_)
