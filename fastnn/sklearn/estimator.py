# SPDX-License-Identifier: BSD-3-Clause
"""What the two estimators share: parameters and their checks, the life of the network, and predictions.

An estimator owns one ``Sequential``. Everything scikit-learn shows of a fitted model (``coefs_`` ...) is a view of its
numbers or a plain attribute, so that copies and pickles hold it once: a network is pickled as the bytes of a model
file, which no code is run to read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn import config_context
from sklearn.base import BaseEstimator
from sklearn.utils import assert_all_finite, check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, column_or_1d, validate_data

from ..activations import ActivationFunction
from ..arguments import finite_copy
from ..graph import known_activation
from ..inputs import check_finite
from ..layers import Dense, Layer
from ..losses import LossFunction, losses
from ..model import Sequential
from ..regularization import Dropout
from .checkpoints import check as check_checkpoints
from .objectives import Aim
from .quasi_newton import fit_quasi_newton
from .stochastic import NOT_FINITE, Rows, fit_stochastic

ACTIVATIONS = {"identity": "linear", "logistic": "sigmoid"}
"""scikit-learn's names for fastnn's; others are the same in both."""
SPARSE = ("csr", "csc")


class FloatType(Options):
    """A type that networks compute in, as NumPy takes it."""

    def __init__(self) -> None:
        super().__init__(object, {"float32", "float64"})

    def is_satisfied_by(self, val: Any) -> bool:
        try:
            kind = np.dtype(val)
        except (TypeError, ValueError):
            return False
        return kind.isnative and kind in (np.float32, np.float64)

    def __str__(self) -> str:
        return "'float32', 'float64', the type of that name"


class Perceptron(BaseEstimator):
    """The base of both estimators."""

    validation_scores_: list[float] | None
    best_validation_score_: float | None

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [str, ActivationFunction],
        "solver": [StrOptions({"lbfgs", "sgd", "adam"})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "loss": [StrOptions({"log_loss", "squared_error", *losses}), LossFunction, callable],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "callbacks": "no_validation",
        "schedule": "no_validation",
        "metrics": "no_validation",
        "dtype": [FloatType(), None],
        "threads": [Interval(Integral, 1, None, closed="left"), None],
        "checkpoint": "no_validation",
        "resume": ["boolean"],
    }

    # ---- for the two estimators to say --------------------------------------------------------------------------

    def _read_targets(self, y: NDArray[Any], known: bool, name: str = "y") -> NDArray[Any]:
        """y as numbers; `known`: the classes are those of an earlier call; `name`: what errors call it."""
        raise NotImplementedError

    def _aim_for(self, y: NDArray[Any]) -> Aim:
        """What to train for."""
        raise NotImplementedError

    def _check_classes(self, y: NDArray[Any]) -> None:
        """That a warm start has the classes of the first fit."""

    def _class_weights(self, y: NDArray[Any], weights: NDArray[Any] | None, incremental: bool) -> NDArray[Any] | None:
        """Sample weights times class weights."""
        return weights

    def _score_outputs(self, outputs: NDArray[Any], y: NDArray[Any], weights: NDArray[Any] | None) -> float:
        """The score of early stopping."""
        raise NotImplementedError

    # ---- training -----------------------------------------------------------------------------------------------

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, X_val: Any = None, y_val: Any = None, incremental: bool = False
    ) -> Any:
        """fit and partial_fit."""
        with self._unless_refused(incremental):
            return self._train(X, y, sample_weight, X_val, y_val, incremental)

    @contextmanager
    def _unless_refused(self, incremental: bool) -> Iterator[None]:
        """What goes wrong before anything is learned leaves the estimator as it was: fitted by an earlier call or not
        at all."""
        before = dict(self.__dict__)
        going_on = self._goes_on(incremental)
        try:
            yield
        except Exception:
            anew = not going_on and getattr(self, "_network", None) is not before.get("_network")
            seen_before = 0 if anew else before.get("t_", 0)
            if self.__dict__.get("t_", 0) == seen_before:
                self.__dict__.clear()
                self.__dict__.update(before)
            raise

    def _train(self, X: Any, y: Any, sample_weight: Any, X_val: Any, y_val: Any, incremental: bool) -> Any:
        self._validate_params()
        if self.solver == "lbfgs" and self.dropout:
            raise ValueError("dropout needs solver 'adam' or 'sgd': 'lbfgs' needs the same loss at the same weights")
        for name in ("callbacks", "schedule", "metrics"):
            if self.solver == "lbfgs" and getattr(self, name) not in (None, (), []):
                raise ValueError(f"{name} needs solver 'adam' or 'sgd': 'lbfgs' has no epochs")
        check_checkpoints(self, incremental)
        if incremental and self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val and y_val belong together: give both or neither")
        going_on = self._goes_on(incremental)
        X, y = self._read(X, y, reset=not going_on)
        if going_on and not incremental:
            self._check_classes(y)
        numbers = self._read_targets(y, known=going_on or incremental)
        weights = self._read_weights(sample_weight, X, y, incremental)
        random_state = check_random_state(self.random_state)
        aim = self._aim_for(numbers)
        if not going_on:
            self._begin(X, aim, random_state)
        else:
            self._go_on(X, aim, rebuild=not incremental)
        self._aim = aim
        held_out = None
        if X_val is not None:
            X_val, y_val = self._read(X_val, y_val, reset=False, names=("X_val", "y_val"))
            held_out = Rows(X_val, self._read_targets(y_val, known=True, name="y_val"), None)
            if held_out.y.shape[1:] != numbers.shape[1:]:
                raise ValueError(f"y_val has {held_out.y.shape[1]} columns, but y has {numbers.shape[1]}")
        rows = Rows(X, numbers, weights)
        if self.solver == "lbfgs":
            fit_quasi_newton(self, self._network, aim, rows)
            if held_out is not None:
                outputs = self._network.predict(held_out.X, threads=self.threads)
                self.best_validation_score_ = self._score_outputs(outputs, held_out.y, None)
                self.validation_scores_ = [self.best_validation_score_]
        else:
            fit_stochastic(self, self._network, aim, rows, held_out, random_state, incremental)
        if not np.isfinite(self._network.params).all():
            raise ValueError(NOT_FINITE)
        return self

    def _goes_on(self, incremental: bool) -> bool:
        return hasattr(self, "_network") and (self.warm_start or incremental)

    def _read(self, X: Any, y: Any, reset: bool, names: tuple[str, str] = ("X", "y")) -> tuple[Any, Any]:
        """X in the dtype to compute in, by rows (CSR) if it is sparse; y as an array; `names` of both for errors."""
        dtype = (np.float64, np.float32) if self.dtype is None else np.dtype(self.dtype)
        with config_context(assume_finite=True):  # both are looked through below
            X, y = validate_data(
                self, X, y, accept_sparse=SPARSE, multi_output=True, y_numeric=self._y_numeric, dtype=dtype, reset=reset
            )
        self._check_finite(X, names[0])
        assert_all_finite(y, input_name=names[1])
        if y.ndim == 2 and y.shape[1] == 1 and not hasattr(y, "nnz"):
            y = column_or_1d(y, warn=True)
        return _by_rows(X), y

    def _check_finite(self, X: Any, name: str = "X") -> None:
        """An error in scikit-learn's words. Dense rows are looked through natively, which takes half as long."""
        try:
            if not hasattr(X, "tocsr"):
                check_finite(X, X.dtype, name)
                return
        except ValueError:
            pass
        with config_context(assume_finite=False):
            assert_all_finite(X, estimator_name=type(self).__name__, input_name=name)

    def _read_weights(self, sample_weight: Any, X: Any, y: Any, incremental: bool) -> NDArray[Any] | None:
        weights = sample_weight
        if sample_weight is not None:
            weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        weights = self._class_weights(y, weights, incremental)
        if weights is not None and not weights.any():
            raise ValueError("sample_weight is zero for every row (with class weights): nothing could be learned")
        return weights

    def _hidden_units(self) -> list[int]:
        sizes = self.hidden_layer_sizes
        units = list(sizes) if isinstance(sizes, Iterable) else [sizes]
        for size in units:
            if isinstance(size, bool) or not isinstance(size, Integral):
                raise TypeError(f"hidden_layer_sizes must be whole numbers, got {size!r} in {sizes!r}")
            if size <= 0:
                raise ValueError(f"hidden_layer_sizes must be > 0, got {units}.")
        return [int(size) for size in units]

    def _layers(self, aim: Aim) -> list[Layer]:
        name = self.activation
        activation = known_activation(ACTIVATIONS.get(name, name) if isinstance(name, str) else name)
        if activation.name == "softmax":
            raise ValueError("activation 'softmax' is for last layers")
        layers: list[Layer] = []
        for units in self._hidden_units():
            layers.append(Dense(units, activation, l2=aim.l2(self.alpha)))
            if self.dropout:
                layers.append(Dropout(self.dropout))
        return [*layers, Dense(aim.outputs, aim.activation, l2=aim.l2(self.alpha))]

    def _begin(self, X: Any, aim: Aim, random_state: np.random.RandomState) -> None:
        """A new network, with the weights scikit-learn would draw."""
        network = Sequential(self._layers(aim), inputs=X.shape[1], seed=0, dtype=X.dtype)
        factor = 2.0 if self.activation == "logistic" else 6.0  # Glorot and Bengio
        for layer in dense_layers(network):
            bound = np.sqrt(factor / sum(layer.weight.shape))
            layer.weight = random_state.uniform(-bound, bound, layer.weight.shape).astype(X.dtype)
            layer.bias = random_state.uniform(-bound, bound, layer.bias.shape).astype(X.dtype)
        if self.dropout:  # the seed of its masks
            network.seed = int(random_state.randint(2**31 - 1))
        self._adopt(network, aim)
        self.n_iter_ = 0
        self.t_ = 0
        self.loss_curve_: list[float] = []
        self._no_improvement_count = 0
        self._rate: float | None = None
        self.validation_scores_ = None
        self.best_validation_score_ = None
        self.best_loss_: float | None = None if self.early_stopping else np.inf

    def _adopt(self, network: Sequential, aim: Aim) -> None:
        """Everything that follows from a network."""
        self._network, self._aim = network, aim
        self.n_layers_ = len(list(dense_layers(network))) + 1
        self.out_activation_ = aim.shown

    def _go_on(self, X: Any, aim: Aim, rebuild: bool) -> None:
        """The network of an earlier call, with today's parameters; a new start for its optimizer if rebuilt."""
        old = self._network
        units = [X.shape[1], *self._hidden_units(), aim.outputs]
        shapes = [layer.weight.shape for layer in dense_layers(old)]
        if shapes != list(pairwise(units)):
            raise ValueError(
                f"the network was made with weights of shapes {shapes}, but hidden_layer_sizes and y now ask for "
                f"{list(pairwise(units))}: start anew with warm_start=False"
            )
        if rebuild:
            network = Sequential(self._layers(aim), inputs=units[0], seed=old.seed, dtype=old.dtype)
            network.params[...] = old.params
            self._adopt(network, aim)
            return
        for layer in dense_layers(old):
            if layer.l2 != aim.l2(self.alpha):
                layer.l2 = aim.l2(self.alpha)

    # ---- use ----------------------------------------------------------------------------------------------------

    def _outputs(self, X: Any) -> NDArray[Any]:
        """Of the last layer, (rows, outputs)."""
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse=SPARSE, reset=False)
        return self._network.predict(X, threads=self.threads)

    @property
    def network_(self) -> Sequential:
        """The network, to be used like any other: ``predictor()``, ``save()``, ``summary()``, ``health()``."""
        return self._fitted_network("network_")

    @property
    def coefs_(self) -> list[NDArray[Any]]:
        """The weights of each layer, (inputs, units), as views; others may be assigned, one or all of them."""
        self._fitted_network("coefs_")
        return Views(self, "coefs_", "weight")

    @coefs_.setter
    def coefs_(self, weights: Iterable[NDArray[Any]]) -> None:
        self._assign("coefs_", "weight", list(weights))

    @property
    def intercepts_(self) -> list[NDArray[Any]]:
        """The biases of each layer, (units,), as views; others may be assigned, one or all of them."""
        self._fitted_network("intercepts_")
        return Views(self, "intercepts_", "bias")

    @intercepts_.setter
    def intercepts_(self, biases: Iterable[NDArray[Any]]) -> None:
        self._assign("intercepts_", "bias", list(biases))

    def _assign(self, name: str, tensor: str, arrays: list[NDArray[Any]]) -> None:
        """All of them or, if one does not fit, none."""
        layers = list(dense_layers(self._fitted_network(name)))
        shapes = [getattr(layer, tensor).shape for layer in layers]
        if (found := [np.shape(array) for array in arrays]) != shapes:
            raise ValueError(f"{name} has arrays of shapes {shapes}, but the new ones have {found}")
        dtype = self._network.dtype
        numbers = [finite_copy(np.asarray(array), dtype, f"{name}[{i}]") for i, array in enumerate(arrays)]
        for layer, array in zip(layers, numbers, strict=True):
            setattr(layer, tensor, array)

    def _fitted_network(self, name: str) -> Sequential:
        if not hasattr(self, "_network"):
            raise AttributeError(f"{type(self).__name__} has no {name} before fit")
        return self._network

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_network")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _has_partial_fit(self) -> bool:
        if self.solver == "lbfgs":
            raise AttributeError("partial_fit needs solver 'adam' or 'sgd': 'lbfgs' needs all rows at once")
        return True


class Views(list[NDArray[Any]]):
    """A tensor of each layer; an array that is put into the list goes into the network."""

    def __init__(self, estimator: Perceptron, name: str, tensor: str) -> None:
        super().__init__(getattr(layer, tensor) for layer in dense_layers(estimator._network))
        self._assign = partial(estimator._assign, name, tensor)

    def __setitem__(self, place: Any, arrays: Any) -> None:
        changed = list(self)
        changed[place] = arrays
        self._assign(changed)

    def __reduce__(self) -> Any:  # a copy or a pickle is a list of its own
        return list, (list(self),)


def dense_layers(network: Sequential) -> Iterable[Dense]:
    """The layers with weights."""
    return (layer for layer in network.layers if isinstance(layer, Dense))


def _by_rows(X: Any) -> Any:
    """A sparse matrix in CSR form, from which native code reads the rows of a batch; an array as it is."""
    return X.tocsr() if hasattr(X, "tocsr") else X
