# SPDX-License-Identifier: BSD-3-Clause
"""``MLPRegressor``: numbers, one or several for each row."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from .estimator import Perceptron
from .objectives import Aim, regressor_aim


class MLPRegressor(RegressorMixin, Perceptron):
    """scikit-learn's multilayer perceptron for numbers, trained by fastnn.

    Parameters, attributes and methods are those of ``sklearn.neural_network.MLPRegressor`` (version 1.9), in its order
    and with its meanings; from the same ``random_state`` come the same initial weights and batches.

    Parameters
    ----------
    loss : {"squared_error", "poisson"}, or any loss of fastnn for numbers, default "squared_error"
        Half the squared error, summed over the columns of y; or half the Poisson deviance, whose predictions are
        exponentials of the outputs. Also names in ``fastnn.losses`` ("mae", "huber" ...), objects
        (``fastnn.Quantile([0.05, 0.5, 0.95])``: a prediction for each quantile), or a function of (y, output) as in
        ``Sequential.fit``.
    hidden_layer_sizes : int or array-like of int, default (100,)
        Units of each hidden layer.
    activation : {"identity", "logistic", "tanh", "relu"}, or any of ``fastnn.activations``, default "relu"
        Of the hidden layers.
    solver, alpha, batch_size, learning_rate, learning_rate_init, power_t, max_iter, shuffle, random_state
        As in :class:`MLPClassifier`, with the same defaults.
    tol, verbose, warm_start, momentum, nesterovs_momentum
        As in :class:`MLPClassifier`, with the same defaults.
    early_stopping, validation_fraction : bool, float, default False, 0.1
        Hold out this share of the rows, stop when their R^2 has not improved for n_iter_no_change epochs, and keep the
        best weights.
    beta_1, beta_2, epsilon, n_iter_no_change, max_fun
        As in :class:`MLPClassifier`, with the same defaults.
    dropout, callbacks, schedule, metrics, dtype, threads, checkpoint, resume
        As in :class:`MLPClassifier`, with the same defaults.

    Attributes
    ----------
    coefs_, intercepts_, loss_, best_loss_, loss_curve_, n_iter_, t_, n_layers_, n_outputs_, out_activation_
        As of :class:`MLPClassifier`.
    validation_scores_, best_validation_score_ : list of float, float
        R^2 of the rows held out; None without any.
    n_features_in_, feature_names_in_, history_, network_
        As of :class:`MLPClassifier`.

    See Also
    --------
    MLPClassifier, from_sklearn

    Notes
    -----
    Of several columns of y, scikit-learn minimizes the sum of half the squared errors, and shows their mean as
    ``loss_``; so does this. "lbfgs", too, minimizes that sum here, where scikit-learn gives SciPy the value of one and
    the gradient of the other.

    References
    ----------
    As of :class:`MLPClassifier`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.sklearn import MLPRegressor
    >>> X = np.linspace(-1, 1, 200)[:, None]
    >>> model = MLPRegressor(hidden_layer_sizes=(32,), solver="lbfgs", random_state=0).fit(X, X[:, 0] ** 2)
    >>> bool(model.score(X, X[:, 0] ** 2) > 0.99)
    True
    >>> model.coefs_[0].shape, model.out_activation_
    ((1, 32), 'identity')

    A table has named columns, which a later one must have, too:

    >>> import pandas as pd
    >>> table = pd.DataFrame({"x": X[:, 0]})
    >>> model.fit(table, X[:, 0] ** 2).feature_names_in_.tolist()
    ['x']
    """

    _y_numeric = True

    def __init__(
        self,
        loss: Any = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: Any = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        dropout: float = 0.0,
        callbacks: Any = None,
        schedule: Any = None,
        metrics: Any = (),
        dtype: Any = None,
        threads: int | None = None,
        checkpoint: Any = None,
        resume: bool = False,
    ) -> None:
        self.loss = loss
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.dropout = dropout
        self.callbacks = callbacks
        self.schedule = schedule
        self.metrics = metrics
        self.dtype = dtype
        self.threads = threads
        self.checkpoint = checkpoint
        self.resume = resume

    # ---- training -----------------------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None) -> MLPRegressor:
        """Train on rows of X with numbers y.

        Parameters
        ----------
        X : array-like or sparse matrix (rows, features)
            One row for each example.
        y : array-like (rows,) or (rows, outputs)
            Numbers.
        sample_weight : array-like (rows,), optional
            The loss is the weighted mean.
        X_val, y_val : array-like, optional
            Rows to measure after each epoch: ``validation_scores_`` is their R^2, ``history_`` has "val_loss". With
            early_stopping they decide, and no rows are held out.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            If a parameter or an argument does not fit, or training diverges.
        """
        return self._fit(X, y, sample_weight, X_val, y_val)  # type: ignore[no-any-return]

    @available_if(lambda estimator: estimator._has_partial_fit())
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> MLPRegressor:
        """One epoch over some rows, going on from what is there.

        Parameters
        ----------
        X, y, sample_weight
            As in :meth:`fit`.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            If a parameter or an argument does not fit.
        AttributeError
            With solver "lbfgs", which has no such method.
        """
        return self._fit(X, y, sample_weight, incremental=True)  # type: ignore[no-any-return]

    def _read_targets(self, y: NDArray[Any], known: bool, name: str = "y") -> NDArray[Any]:
        if hasattr(y, "toarray"):
            raise TypeError(f"{name} is a sparse matrix, but MLPRegressor needs an array: {name}.toarray()")
        if y.dtype.kind not in "biuf":
            raise TypeError(f"{name} has dtype {y.dtype}, but MLPRegressor needs real numbers")
        return y.reshape(len(y), -1)

    def _aim_for(self, y: NDArray[Any]) -> Aim:
        self.n_outputs_ = y.shape[1]
        aim = regressor_aim(self.loss, self.n_outputs_)
        if self.early_stopping and self.solver != "lbfgs" and aim.is_quantiles:
            raise ValueError(
                "early_stopping needs one prediction for each column of y, not several quantiles: give X_val, y_val "
                "and callbacks=[fastnn.EarlyStopping()] instead"
            )
        return aim

    def _score_outputs(self, outputs: NDArray[Any], y: NDArray[Any], weights: NDArray[Any] | None) -> float:
        """R^2, the mean over the columns; NaN of several quantiles."""
        found = self._aim.predictions(outputs).astype(np.float64)
        if found.shape != y.shape:
            return np.nan
        mean = np.average(y, axis=0, weights=weights)
        with np.errstate(over="ignore"):  # of a fit that is about to diverge
            errors, spread = (np.average(part**2, axis=0, weights=weights) for part in (y - found, y - mean))
        explained = np.where(errors > 0, 0.0, 1.0)  # of a column that is constant
        np.divide(spread - errors, spread, out=explained, where=spread > 0)
        return float(explained.mean())

    # ---- use ----------------------------------------------------------------------------------------------------

    def predict(self, X: Any) -> NDArray[Any]:
        """The predicted numbers.

        Parameters
        ----------
        X : array-like or sparse matrix (rows, features)
            With as many features as in ``fit``.

        Returns
        -------
        ndarray (rows,), or (rows, outputs) of several; (rows, quantiles) of several quantiles; float32 or float64
            With loss "gaussian_nll" the means; with "poisson" the expected numbers.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If X does not fit: columns, type, or a number that is not finite.
        """
        outputs = self._outputs(X)
        found = self._aim.predictions(outputs)
        return found[:, 0] if found.shape[1] == 1 else found

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The coefficient of determination R² of ``predict(X)``, at most 1; 0 for a model that says the mean.

        Parameters
        ----------
        X : array-like or sparse matrix (rows, features)
            With as many features as in ``fit``.
        y : array-like (rows,) or (rows, outputs)
            The true numbers; of several outputs the mean of their R² is taken.
        sample_weight : array-like (rows,), optional
            The weight of each row.

        Returns
        -------
        float

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If X or y does not fit, or the model predicts several quantiles.
        """
        check_is_fitted(self)
        if self._aim.is_quantiles:
            raise ValueError(
                "score needs one prediction for each column of y, not several quantiles: give "
                "sklearn.metrics.mean_pinball_loss(y, predictions[:, i], alpha=...) each of them"
            )
        return float(super().score(X, y, sample_weight))
