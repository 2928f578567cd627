# SPDX-License-Identifier: BSD-3-Clause
"""fastnn: train and run dense neural networks on a CPU, fast.

    >>> import numpy as np
    >>> import fastnn as fn
    >>> X = np.random.default_rng(0).normal(size=(1000, 4))
    >>> net = fn.Sequential([fn.Dense(32, "relu"), fn.Dense(2, "softmax")], seed=0)
    >>> history = net.fit(X, X[:, 0] > 0, epochs=20, verbose=0)
    >>> net.evaluate(X, X[:, 0] > 0, metrics=["accuracy"])["accuracy"] > 0.95
    True

The public names are those below; everything else in the package is its own business.
"""

try:
    from ._core import Predictor
except ModuleNotFoundError as error:
    if error.name != "fastnn._core":
        raise
    raise ImportError(
        f"fastnn is not built in {__path__[0]}: `pip install -e .` builds it there; to use an installed fastnn, call "
        "Python from another folder"
    ) from None
from .activations import ELU, ActivationFunction, LeakyReLU, activations
from .callbacks import Callback, LambdaCallback, TimeLimit
from .checkpoint import RunCheckpoint
from .composition import Concat, Residual, Split
from .decision_metrics import F1, Precision, Recall
from .errors import DivergenceError
from .files import load
from .gradient_check import check_gradients
from .health import Health, LayerHealth
from .history import History
from .initializers import Constant, Initializer, initializers
from .interchange import from_keras, from_torch
from .layers import Activation, Dense, Layer, PReLU
from .learning_rate_finder import RangeTest
from .losses import CrossEntropy, Focal, Huber, LossFunction, Quantile, losses
from .metric_function import MetricFunction
from .metrics import metrics
from .model import Sequential
from .monitoring import EarlyStopping, ReduceOnPlateau
from .normalization import BatchNorm, LayerNorm, Normalization, RMSNorm
from .optimizers import SGD, Adagrad, Adam, AdamW, Lion, NAdam, Optimizer, RMSprop, optimizers
from .recording import Checkpoint, CSVLogger, JSONLogger
from .regularization import Dropout, GaussianNoise
from .runtime import get_num_threads, set_num_threads, show_config
from .schedules import ConstantSchedule, CosineSchedule, ExponentialSchedule, OneCycleSchedule, Schedule, StepSchedule
from .score_metrics import TopK
from .tables import Embedding, Table

__version__ = "0.1.0"

__all__ = [
    "ELU",
    "F1",
    "SGD",
    "Activation",
    "ActivationFunction",
    "Adagrad",
    "Adam",
    "AdamW",
    "BatchNorm",
    "CSVLogger",
    "Callback",
    "Checkpoint",
    "Concat",
    "Constant",
    "ConstantSchedule",
    "CosineSchedule",
    "CrossEntropy",
    "Dense",
    "DivergenceError",
    "Dropout",
    "EarlyStopping",
    "Embedding",
    "ExponentialSchedule",
    "Focal",
    "GaussianNoise",
    "Health",
    "History",
    "Huber",
    "Initializer",
    "JSONLogger",
    "LambdaCallback",
    "Layer",
    "LayerHealth",
    "LayerNorm",
    "LeakyReLU",
    "Lion",
    "LossFunction",
    "MetricFunction",
    "NAdam",
    "Normalization",
    "OneCycleSchedule",
    "Optimizer",
    "PReLU",
    "Precision",
    "Predictor",
    "Quantile",
    "RMSNorm",
    "RMSprop",
    "RangeTest",
    "Recall",
    "ReduceOnPlateau",
    "Residual",
    "RunCheckpoint",
    "Schedule",
    "Sequential",
    "Split",
    "StepSchedule",
    "Table",
    "TimeLimit",
    "TopK",
    "__version__",
    "activations",
    "check_gradients",
    "from_keras",
    "from_torch",
    "get_num_threads",
    "initializers",
    "load",
    "losses",
    "metrics",
    "optimizers",
    "set_num_threads",
    "show_config",
]
