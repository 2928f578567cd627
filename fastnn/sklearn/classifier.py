# SPDX-License-Identifier: BSD-3-Clause
"""``MLPClassifier``: classes, yes or no, and several such questions at once."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import type_of_target, unique_labels

from .estimator import Perceptron
from .labels import Labels
from .objectives import Aim, classifier_aim


class MLPClassifier(ClassifierMixin, Perceptron):
    """scikit-learn's multilayer perceptron for classes, trained by fastnn.

    Parameters, attributes and methods are those of ``sklearn.neural_network.MLPClassifier`` (version 1.9), in its order
    and with its meanings; from the same ``random_state`` come the same initial weights and batches. Labels may be of
    any kind: numbers, strings, two or many of them, or columns of 0 and 1 (multi-label).

    Parameters
    ----------
    hidden_layer_sizes : int or array-like of int, default (100,)
        Units of each hidden layer.
    activation : {"identity", "logistic", "tanh", "relu"}, or any of ``fastnn.activations``, default "relu"
        Of the hidden layers.
    solver : {"adam", "sgd", "lbfgs"}, default "adam"
        "lbfgs" takes all rows at once, through SciPy.
    alpha : float, default 0.0001
        The loss of a batch is its mean plus alpha / 2 times the sum of squared weights, divided by its sum of sample
        weights (of rows, without any).
    batch_size : int or "auto", default "auto"
        Rows in a step; "auto" is min(200, rows).
    learning_rate : {"constant", "invscaling", "adaptive"}, default "constant"
        Of "sgd": as it is; learning_rate_init / t^power_t after each epoch, where t counts rows; or divided by 5 each
        time the loss has not fallen for n_iter_no_change epochs.
    learning_rate_init : float, default 0.001
        The learning rate; not of "lbfgs".
    power_t : float, default 0.5
        The exponent of "invscaling".
    max_iter : int, default 200
        Epochs, or iterations of "lbfgs".
    shuffle : bool, default True
        Rows in another order each epoch.
    random_state : int, RandomState or None, default None
        Fixes initial weights, the rows held out and the order of rows.
    tol : float, default 1e-4
        What counts as an improvement; for "lbfgs" the largest gradient to stop at.
    verbose : bool, default False
        Print the loss of each epoch.
    warm_start : bool, default False
        Go on from the weights of the last fit.
    momentum : float, default 0.9
        Of "sgd": the share of the last step that is kept.
    nesterovs_momentum : bool, default True
        Of "sgd": Nesterov's form of momentum.
    early_stopping : bool, default False
        Hold out rows, stop when their accuracy has not improved for n_iter_no_change epochs, and keep the best weights.
    validation_fraction : float, default 0.1
        The share to hold out.
    beta_1, beta_2, epsilon : float, default 0.9, 0.999, 1e-8
        Of "adam".
    n_iter_no_change : int, default 10
        Training stops after more than so many epochs in a row without improvement.
    max_fun : int, default 15000
        Calls of the loss that "lbfgs" may make.
    loss : str, object or function, default "log_loss"
        Also "focal", ``fastnn.Focal(gamma=1.5)``, ``fastnn.CrossEntropy(label_smoothing=0.1)``, or a function of
        (y, output) as in ``Sequential.fit``, which sees a column for each class, or for each question.
    dropout : float, default 0.0
        Share of the outputs of each hidden layer that is left out in training; not with "lbfgs".
    class_weight : dict of label to weight, "balanced" or None, default None
        Multiplies the sample weights; not for multi-label targets.
    callbacks : list or None, default None
        As in ``Sequential.fit``; like schedule and metrics, not with "lbfgs".
    schedule : object or function, default None
        Multiplies the learning rate of each step, as in ``Sequential.fit``; its last step is that of epoch max_iter.
    metrics : list, default ()
        Measured in each epoch; they are in ``history_``.
    dtype : {"float32", "float64"} or None, default None
        To compute in; None: that of X, if it is one of these, else float64.
    threads : int or None, default None
        As in ``Sequential.fit``. Results do not depend on it.
    checkpoint : path, ``fastnn.RunCheckpoint`` or None, default None
        Where ``fit`` writes down where it is, every minute and when it ends; not with "lbfgs", nor in partial_fit.
    resume : bool, default False
        Go on from the checkpoint, if there is one, to the same bits as if ``fit`` had never been stopped.

    Attributes
    ----------
    classes_ : ndarray (n_classes,), the labels' dtype
        The labels, sorted; of multi-label targets the columns' numbers.
    coefs_, intercepts_ : list of ndarray
        Weights and biases of each layer, as views of the network's.
    loss_, best_loss_ : float
        The last loss, and the smallest; best_loss_ is None with early_stopping.
    loss_curve_ : list of float
        The loss of each epoch, or iteration of "lbfgs".
    validation_scores_, best_validation_score_ : list of float, float
        Accuracy on the rows held out; None without any.
    n_iter_, t_ : int
        Epochs of the last fit; rows seen in all.
    n_layers_, n_outputs_, out_activation_ : int, int, str
        Layers, input and output among them; columns of the output; its activation.
    n_features_in_, feature_names_in_ : int, ndarray
        Columns of X, and their names: these only if X had some.
    history_ : dict of str to list of float
        Of the last fit: as ``History.history`` of the network, with "val_loss" for X_val, and metrics.
    network_ : Sequential
        The network.

    See Also
    --------
    MLPRegressor, from_sklearn

    References
    ----------
    Pedregosa et al., Scikit-learn: machine learning in Python, 2011: the interface. Glorot & Bengio, Understanding the
    difficulty of training deep feedforward neural networks, 2010: the initial weights. Kingma & Ba, Adam: a method for
    stochastic optimization, 2015.

    Examples
    --------
    >>> from fastnn.datasets import load_digits
    >>> from fastnn.sklearn import MLPClassifier
    >>> X, y = load_digits()
    >>> model = MLPClassifier((64,), dropout=0.1, tol=0.001, random_state=0)
    >>> bool(model.fit(X[:1500] / 16, y[:1500]).score(X[1500:] / 16, y[1500:]) > 0.88)
    True
    >>> model.predict_proba(X[:2] / 16).shape
    (2, 10)

    Sparse rows give the same, and are never dense as a whole:

    >>> import scipy.sparse, sklearn.base
    >>> sparse = scipy.sparse.csr_array(X / 16)
    >>> other = sklearn.base.clone(model).fit(sparse[:1500], y[:1500])
    >>> bool((other.predict_proba(sparse) == model.predict_proba(X / 16)).all())
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **Perceptron._parameter_constraints,
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }
    _y_numeric = False

    def __init__(
        self,
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
        loss: Any = "log_loss",
        dropout: float = 0.0,
        class_weight: Any = None,
        callbacks: Any = None,
        schedule: Any = None,
        metrics: Any = (),
        dtype: Any = None,
        threads: int | None = None,
        checkpoint: Any = None,
        resume: bool = False,
    ) -> None:
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
        self.loss = loss
        self.dropout = dropout
        self.class_weight = class_weight
        self.callbacks = callbacks
        self.schedule = schedule
        self.metrics = metrics
        self.dtype = dtype
        self.threads = threads
        self.checkpoint = checkpoint
        self.resume = resume

    # ---- training -----------------------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None) -> MLPClassifier:
        """Train on rows of X with labels y.

        Parameters
        ----------
        X : array-like or sparse matrix (rows, features)
            One row for each example.
        y : array-like (rows,), or (rows, questions) of 0 and 1
            Labels of any kind; several columns are multi-label.
        sample_weight : array-like (rows,), optional
            The loss is the weighted mean.
        X_val, y_val : array-like, optional
            Rows to measure after each epoch: ``validation_scores_`` is their accuracy, ``history_`` has "val_loss".
            With early_stopping they decide, and no rows are held out.

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
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> MLPClassifier:
        """One epoch over some rows, going on from what is there.

        Parameters
        ----------
        X, y, sample_weight
            As in :meth:`fit`.
        classes : array-like, optional
            All labels there will ever be; needed in the first call.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            If a parameter or an argument does not fit; if classes are missing in the first call, or others later.
        AttributeError
            With solver "lbfgs", which has no such method.

        Examples
        --------
        >>> from fastnn.datasets import load_digits
        >>> from fastnn.sklearn import MLPClassifier
        >>> X, y = load_digits()
        >>> model = MLPClassifier(learning_rate_init=0.01, random_state=0)
        >>> for first in range(0, 1500, 100):
        ...     part = slice(first, first + 100)
        ...     model = model.partial_fit(X[part] / 16, y[part], classes=range(10))
        >>> bool(model.score(X[1500:] / 16, y[1500:]) > 0.6)
        True
        """
        with self._unless_refused(incremental=True):  # then other classes may be named
            if not hasattr(self, "classes_"):
                if classes is None:
                    raise ValueError("classes must be passed on the first call to partial_fit.")
                known = unique_labels(classes)
                if not known.size:
                    raise ValueError("classes is empty, but must have all labels there will ever be")
                self._labels = Labels.of(_matrix(y) if _is_multilabel(y) else known)
                self.classes_ = self._labels.classes
            elif classes is not None and not np.array_equal(self.classes_, unique_labels(classes)):
                raise ValueError(
                    f"classes={classes} is not the same as in the first call to partial_fit: {self.classes_}"
                )
            return self._fit(X, y, sample_weight, incremental=True)  # type: ignore[no-any-return]

    def _check_classes(self, y: NDArray[Any]) -> None:
        classes = unique_labels(y)
        if not np.array_equal(classes, self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous call to fit. Previously "
                f"got {self.classes_}, `y` has {classes}"
            )

    def _read_targets(self, y: NDArray[Any], known: bool, name: str = "y") -> NDArray[Any]:
        if not known:
            self._labels = Labels.of(y)
            self.classes_ = self._labels.classes
        return self._labels.numbers(y, name)

    def _aim_for(self, y: NDArray[Any]) -> Aim:
        self.n_outputs_ = self._labels.outputs
        return classifier_aim(self.loss, self._labels)

    def _class_weights(self, y: NDArray[Any], weights: NDArray[Any] | None, incremental: bool) -> NDArray[Any] | None:
        if self.class_weight is None:
            return weights
        if incremental and isinstance(self.class_weight, str):
            raise ValueError("class_weight='balanced' needs all rows at once: give partial_fit a dict of weights")
        found = self._labels.weights(self.class_weight, y)
        return found if weights is None else weights * found

    def _score_outputs(self, outputs: NDArray[Any], y: NDArray[Any], weights: NDArray[Any] | None) -> float:
        """Accuracy; of several questions, the share of rows with every answer right."""
        return self._labels.accuracy(outputs, y, weights)

    # ---- use ----------------------------------------------------------------------------------------------------

    def predict(self, X: Any) -> Any:
        """The likeliest label of each row.

        Parameters
        ----------
        X : array-like or sparse matrix (rows, features)
            With as many features as in ``fit``.

        Returns
        -------
        ndarray (rows,), the labels' dtype; of multi-label targets (rows, questions), sparse if y was in ``fit``

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If X does not fit: columns, type, or a number that is not finite.
        """
        outputs = self._outputs(X)
        return self._labels.named(outputs)

    def predict_proba(self, X: Any) -> NDArray[Any]:
        """The probability of each class, in the order of ``classes_``.

        Parameters
        ----------
        X : array-like or sparse matrix (rows, features)
            With as many features as in ``fit``.

        Returns
        -------
        ndarray (rows, n_classes), float32 or float64 as computed in

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If X does not fit: columns, type, or a number that is not finite.
        """
        outputs = self._outputs(X)
        return self._labels.probabilities(outputs)

    def predict_log_proba(self, X: Any) -> NDArray[Any]:
        """The logarithm of :meth:`predict_proba`.

        Parameters
        ----------
        X : array-like or sparse matrix (rows, features)
            With as many features as in ``fit``.

        Returns
        -------
        ndarray (rows, n_classes), float32 or float64 as computed in

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If X does not fit: columns, type, or a number that is not finite.
        """
        with np.errstate(divide="ignore"):
            logarithms: NDArray[Any] = np.log(self.predict_proba(X))
        return logarithms

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


def _matrix(y: Any) -> Any:
    return y if hasattr(y, "toarray") else np.asarray(y)


def _is_multilabel(y: Any) -> bool:
    return bool(type_of_target(y).startswith("multilabel"))
