# SPDX-License-Identifier: BSD-3-Clause
"""scikit-learn's words: ``MLPClassifier`` and ``MLPRegressor`` with its parameters, trained by fastnn.

Needs scikit-learn (``pip install fastnn-cpu[sklearn]``), which nothing else in fastnn imports. Where what is:
``estimator.py`` holds what both estimators share, ``labels.py`` what stands between class labels and outputs,
``objectives.py`` which loss and last layer follow from the parameters, ``stochastic.py`` and ``quasi_newton.py`` the
solvers, ``conversion.py`` the way from scikit-learn's own models.
"""

try:
    import sklearn as _scikit_learn  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "sklearn":
        raise
    raise ImportError("fastnn.sklearn needs scikit-learn: pip install 'fastnn-cpu[sklearn]'") from None

from .classifier import MLPClassifier
from .conversion import from_sklearn
from .regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor", "from_sklearn"]
