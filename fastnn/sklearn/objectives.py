# SPDX-License-Identifier: BSD-3-Clause
"""Which loss and last layer follow from an estimator's parameters, and how scikit-learn's numbers come from fastnn's.

scikit-learn minimizes, per batch,  sum_i s_i L_i / S + alpha/2 sum w^2 / S,  where s are the sample weights, S is their
sum, and L_i is the loss of row i summed over the outputs. fastnn's losses are means over the outputs, without the half
of "squared_error": L_i = c l_i. So fastnn minimizes  sum_i s_i l_i / S + l2 sum w^2 / S  with l2 = alpha / (2 c), which
is scikit-learn's divided by c; the learning rate of SGD is multiplied by c, Adam's epsilon divided by it, and the
weights go the same way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..losses import CrossEntropy, LossFunction, PythonLoss, losses
from .labels import Labels


@dataclass(frozen=True)
class Aim:
    """What a network is trained for.

    Attributes
    ----------
    loss : LossFunction
        fastnn's.
    activation, outputs : str, int
        Of the last layer.
    shown : str
        ``out_activation_``, in scikit-learn's words.
    factor : float
        The c above.
    smoothing : float
        Share of the certainty of a yes-or-no question that is spread over both answers.
    numbers : bool
        Whether the targets are class numbers.
    shows_mean : bool
        Of "squared_error" with several outputs scikit-learn shows the mean over them, though it minimizes the sum.
    """

    loss: LossFunction
    activation: str
    outputs: int
    shown: str
    factor: float = 1.0
    smoothing: float = 0.0
    numbers: bool = False
    shows_mean: bool = False

    @property
    def is_poisson(self) -> bool:
        """Whether outputs are logarithms of what is predicted."""
        return self.loss.name == "poisson"

    @property
    def is_quantiles(self) -> bool:
        """Whether there are several predictions of one number."""
        return self.loss.name == "quantile" and isinstance(self.loss.parameters["quantiles"], tuple)

    def predictions(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """The predicted numbers, of the outputs of a network for numbers."""
        if self.is_poisson:
            expected: NDArray[Any] = np.exp(outputs)
            return expected
        return outputs[:, 0::2] if self.loss.name == "gaussian_nll" else outputs

    def l2(self, alpha: float) -> float:
        """What alpha is to fastnn, together with ``Optimizer._penalizes_sums``."""
        return 0.5 * alpha / self.factor

    def targets(self, y: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
        """y as the loss wants it: class numbers (rows,), or values (rows, columns)."""
        if self.numbers:
            return y
        if self.activation == "softmax":  # a function as loss sees a column for each class
            indicators: NDArray[Any] = np.eye(self.outputs, dtype=dtype)[y]
            return indicators
        values = y.reshape(len(y), -1)
        if self.smoothing:
            values = (1 - self.smoothing) * values + self.smoothing / 2
        return values.astype(dtype, copy=False)


def classifier_aim(loss: Any, labels: Labels) -> Aim:
    """For classes: softmax over them, or a sigmoid for each yes-or-no question."""
    several = labels.kind == "multiclass"
    if isinstance(loss, str) and loss == "squared_error":
        raise ValueError("loss 'squared_error' is for numbers, MLPRegressor's: classes need 'log_loss' or 'focal'")
    chosen = losses["cross_entropy" if loss == "log_loss" else loss] if isinstance(loss, str) else _resolved(loss)
    last = ("softmax" if several else "sigmoid", labels.outputs, "softmax" if several else "logistic")
    factor = 1.0 if several else float(labels.outputs)
    if isinstance(chosen, PythonLoss):
        return Aim(chosen, *last)
    if isinstance(chosen, CrossEntropy):
        if several:
            return Aim(chosen, *last, numbers=True)
        smoothing = chosen.parameters["label_smoothing"]
        return Aim(losses["binary_cross_entropy"], *last, factor=factor, smoothing=smoothing)
    if chosen.name == "focal" or (chosen.name == "binary_cross_entropy" and not several):
        return Aim(chosen, *last, factor=factor, numbers=several)
    raise ValueError(
        f"loss {chosen.name!r} is none for {'classes' if several else 'yes or no'}: use 'log_loss', 'focal', an object "
        "such as fastnn.CrossEntropy(label_smoothing=0.1), or a function"
    )


def regressor_aim(loss: Any, columns: int) -> Aim:
    """For numbers: linear outputs, whose exponentials are predicted with "poisson"."""
    if isinstance(loss, str) and loss == "squared_error":
        return Aim(losses["mse"], "linear", columns, "identity", factor=columns / 2, shows_mean=columns > 1)
    if isinstance(loss, str) and loss == "log_loss":
        raise ValueError("loss 'log_loss' is for classes, MLPClassifier's: numbers need 'squared_error', 'mae' ...")
    chosen = losses[loss] if isinstance(loss, str) else _resolved(loss)
    if chosen.name == "poisson":
        return Aim(chosen, "linear", columns, "exp", factor=float(columns))
    if chosen.targets != "values":
        raise ValueError(
            f"loss {chosen.name!r} is none for numbers: use 'squared_error', 'poisson', 'mae', 'huber' ..."
        )
    outputs = columns
    if chosen.name == "gaussian_nll":
        outputs = 2 * columns
    elif chosen.name == "quantile" and isinstance(chosen.parameters["quantiles"], tuple):
        if columns != 1:
            raise ValueError(f"several quantiles need one column of y, not {columns}")
        outputs = len(chosen.core)
    return Aim(chosen, "linear", outputs, "identity")


def _resolved(loss: Any) -> LossFunction:
    return loss if isinstance(loss, LossFunction) else PythonLoss(loss)
