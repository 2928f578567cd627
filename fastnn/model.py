# SPDX-License-Identifier: BSD-3-Clause
"""``Sequential``: a stack of layers that owns its numbers; its methods say what can be done with them.

What a method does is in the file named like it (``training.py``, ``stepping.py``, ``passes.py``, ``evaluation.py``,
``predictor.py``, ``derivatives.py``, ``averaging.py``, ``weights.py``, ``files.py``). Here is what they share: the
parameters, the optimizer's state, and the flag that lets one training call in at a time.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Sequence
from threading import Lock
from typing import Any, Concatenate, ParamSpec, TypeVar
from weakref import WeakMethod

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import (
    _core,
    averaging,
    derivatives,
    evaluation,
    files,
    inputs,
    learning_rate_finder,
    passes,
    predictor,
    stepping,
)
from ._memory import allocate
from .arguments import number, true_or_false, whole_number
from .batches import BATCH_SIZE, is_stream, is_stream_of_features
from .clipping import clip_gradients
from .composition import checked_layers
from .errors import DivergenceError
from .frames import read_features, read_targets, read_text, tables_in
from .graph import Graph, build
from .health import ROWS as HEALTH_ROWS
from .health import Health, examine
from .history import History
from .layers import Layer, all_parts, stack_needs_inputs
from .learning import forget_categories
from .losses import LossFunction, resolve_loss
from .metrics import resolve_metrics
from .optimizers import Optimizer
from .parameters import Parameters
from .snapshots import Snapshot
from .stream_evaluation import StreamEvaluation, predict_stream
from .streams import StreamFit
from .summary import summary
from .training import Fit, FitArguments
from .weights import get_weights, set_weights

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def one_at_a_time(
    method: Callable[Concatenate[Sequential, Arguments], Result],
) -> Callable[Concatenate[Sequential, Arguments], Result]:
    """Let a method run only while no other one so marked runs on the same network.

    Written so that a signal at any moment leaves the flag right: Python looks for signals at calls, and there is none
    between setting it and noting so, nor before it is taken back.
    """

    @functools.wraps(method)
    def alone(self: Sequential, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        mine = False
        try:
            with self._gate:
                if self._busy:
                    raise RuntimeError(
                        f"{method.__name__}: this network is being trained by another call; wait for it, or use a "
                        "network of its own for each thread"
                    )
                self._busy = mine = True
            return method(self, *args, **kwargs)
        finally:
            if mine:
                self._busy = False

    return alone


class Sequential:
    """A network: layers, one after the other.

    Parameters
    ----------
    layers : list of Layer
        From the first to the last; each may be in one network only.
    inputs : int, optional
        Columns of X. If not given, it is taken from the first ``fit``, ``train_step`` or ``forward(training=True)``.
    seed : int in [0, 2^64), optional
        Fixes initial weights, the order of the rows and the split for validation. If not given, one is drawn from the
        system and kept as ``net.seed``.
    dtype : {"float32", "float64"}, default "float32"
        Of parameters and outputs; data may have any.
    scale_targets : bool, default False
        For regression: the first ``fit`` learns mean and scale of y; training compares with scaled targets (so the
        loss is that of scaled ones), and outputs are in the units of y.

    Attributes
    ----------
    layers : tuple of Layer
        As given.
    feature_names : tuple of str or None
        Of the table the network was fitted to. They are saved; another table must have the same, in the same order.
    params, grads : ndarray (n_params,), the network's dtype
        Every parameter, and its gradient after ``backward``, as one flat view: writing changes the network.
    averaged_params : ndarray (n_params,), the network's dtype
        Their average over the updates of an optimizer such as ``Adam(average=0.999)``. An update by one without
        ``average`` ends it: the next average begins anew.
    history : History
        Of the last ``fit``.
    optimizer : Optimizer or None
        The last one used. What it remembers belongs to the network: training with the same class goes on from it.
    seed : int
        As given, or as drawn.
    threads_used : int
        Threads that took part in the last training call.
    stop_training : bool
        Set it in a callback to end ``fit``.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of its range, or of another type; if a layer is part of a network already, or layers do
        not fit together.

    Examples
    --------
    >>> import numpy as np, fastnn as fn
    >>> X = np.linspace(-1, 1, 256)[:, None]
    >>> net = fn.Sequential([fn.Dense(32, "tanh"), fn.Dense(1)], seed=0)
    >>> history = net.fit(X, X[:, 0] ** 2, optimizer=fn.Adam(0.01), epochs=50, verbose=0)
    >>> history.history["loss"][-1] < 0.01
    True
    >>> net.predict(X).shape
    (256, 1)
    """

    def __init__(
        self,
        layers: Iterable[Layer],
        inputs: int | None = None,
        seed: int | None = None,
        dtype: DTypeLike = "float32",
        scale_targets: bool = False,
    ) -> None:
        self.scale_targets = true_or_false(scale_targets, "scale_targets")
        self.layers = checked_layers(layers, "layers")
        if not self.layers:
            raise ValueError("layers is empty")
        self._tables = tables_in(self.layers)
        self.dtype: np.dtype[Any] = _checked_dtype(dtype)
        self.seed = _checked_seed(seed)
        self.history = History()
        self.stop_training = False
        self.threads_used = 0
        self._optimizer: Optimizer | None = None
        self._state: _core.OptimizerState | None = None
        self._loss: LossFunction | None = None
        self._feature_names: tuple[str, ...] | None = None
        self._targets_learned = False
        self._warned_of_unlearned = False
        self._epochs_done = 0  # over the network's life: the number of the next permutation
        self._parameters: Parameters | None = None
        self._step_plan: stepping.StepPlan | None = None
        self._pass: passes.Pass | None = None
        self._gate = Lock()  # around _busy, which is set while a call that changes the network runs
        self._busy = False
        if inputs is not None:
            self._adopt_parameters(self._parameters_for(self._graph_for(whole_number(inputs, "inputs"))))
        elif not stack_needs_inputs(self.layers):
            self._graph_for(1)  # shows what is impossible
        for layer in all_parts(self.layers):
            layer._owner = WeakMethod(self._layer_changed)

    # ---- training ---------------------------------------------------------------------------------------------------

    @one_at_a_time
    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        loss: Any = None,
        optimizer: Any = "adam",
        epochs: int = 10,
        batch_size: int | None = BATCH_SIZE,
        shuffle: bool = True,
        validation_data: Any = None,
        validation_fraction: float | None = None,
        metrics: Any = (),
        callbacks: Any = (),
        sample_weight: Any = None,
        class_weight: Any = None,
        threads: int | None = None,
        verbose: int = 1,
        schedule: Any = None,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        accumulate: int = 1,
        steps_per_epoch: int | None = None,
        checkpoint: Any = None,
        resume: bool = False,
    ) -> History:
        """Train on rows of X with targets y.

        Each step takes a batch of rows, computes the mean loss over them and its gradient by backpropagation, and lets
        the optimizer change the weights. An epoch is one native call, without the interpreter lock.

        Parameters
        ----------
        X : array-like (rows, inputs), SciPy sparse matrix, table, iterable of batches, or function that returns one
            An array of any real dtype and layout, also ``np.memmap``, is read where it lies, never copied as a whole.
            Of a sparse matrix only the rows of a batch are made dense. A table of pandas, polars or pyarrow becomes an
            array, and its names are kept (:attr:`feature_names`). A stream of batches, (X, y) or (X, y,
            sample_weight), comes without `y` and `batch_size`: batches are as they come, in their order, whatever
            `shuffle` says; see docs/data.md.
        y : array-like, or a column or table of numbers; of a stream None
            (rows, outputs), or (rows,) for one output; for "cross_entropy" class labels (rows,) or rows of
            probabilities; for several quantiles (rows,), for "gaussian_nll" (rows, outputs / 2).
        loss : str, row of ``fastnn.losses``, object such as ``fn.Huber(0.5)``, or function, optional
            Default by the last layer: softmax "cross_entropy", sigmoid "binary_cross_entropy", else "mse". A function
            f(y, output), both (rows, columns) in the network's dtype, returns the loss of each row, (rows,), and its
            gradient with respect to the output, (rows, outputs); it is not saved in files. It sees y and outputs in
            their own units, with ``scale_targets`` too.
        optimizer : str or Optimizer, default "adam"
            A name in ``fastnn.optimizers``, or an object such as ``fn.Adam(1e-3)``.
        epochs : int, default 10
            Further passes over the rows.
        batch_size : int or None, default 32
            Rows in a step; None for all of them. The last batch of an epoch takes what is left. Not with a stream.
        shuffle : bool, default True
            Rows in another order each epoch, by the seed.
        validation_data : (X, y) or (X, y, sample_weight), or stream of such batches, optional
            Measured after each epoch, as "val_loss" and so on. A stream must be one that can be iterated anew, or a
            function that returns one, which is called for each epoch.
        validation_fraction : float in (0, 1), optional
            Hold out this part of X instead, drawn by the seed, in proportion for classes.
        metrics : list of str, objects and functions, default ()
            Names in ``fastnn.metrics``, objects such as ``fn.TopK(3)``, or f(y, output) -> float with y (rows, columns)
            in the network's dtype. While training, they see the outputs each row had in its batch. Those of fastnn are
            weighted like the loss.
        callbacks : list, default ()
            ``fn.EarlyStopping()`` and so on, or objects with on_fit_begin(net), on_epoch_end(net, epoch, logs),
            on_batch_end(net, step, logs) or on_fit_end(net).
        sample_weight : array-like (rows,), optional
            The loss is the weighted mean. A batch of weight 0 is skipped.
        class_weight : dict of label to weight or "balanced", optional
            Multiplies sample_weight, in training only.
        threads : int, optional
            Exactly so many; default: as many as pay. Results do not depend on it.
        verbose : {0, 1, 2}, default 1
            Nothing, a progress bar, or a line per epoch.
        schedule : object such as ``fn.CosineSchedule(warmup=200)``, or function, optional
            Multiplies the optimizer's learning rate in each step: f(step) or f(step, steps) -> factor, where step
            counts from 0 in this call, and steps are all of this call. "learning_rate" in the history is that of the
            epoch's last step.
        clip_norm : float, optional
            A gradient whose norm is larger is shortened to it before an update: the gradient of the mean loss with its
            penalties, over all layers that are not frozen.
        clip_value : float, optional
            Each element of that gradient is kept within -clip_value..clip_value. Not both.
        accumulate : int, default 1
            Batches whose gradients are summed before an update. As all of a batch is never in memory at once, this is
            the same, bit for bit, as a `batch_size` so many times larger; in loops of your own,
            ``backward(accumulate=True)`` sums.
        steps_per_epoch : int, optional
            Batches of a stream in an epoch. Default: until it ends. What can be iterated anew begins anew when it has
            ended; an iterator must bring epochs . steps_per_epoch batches, or be one epoch.
        checkpoint : path or :class:`RunCheckpoint`, optional
            File to write down where training is: of a path every minute, at the end, and when an exception such as
            Ctrl-C ends it. The one before it is kept as well, with ".previous" behind the name.
        resume : bool, default False
            Go on from the checkpoint, to the same bits as if training had never been stopped; `epochs` is the total
            then. It must be of this very run: network, loss, optimizer, data, batch size and so on. Without a file,
            training starts from the beginning; a run that is finished returns at once. A stream must be one that can be
            begun anew, or have ``state_dict`` and ``load_state_dict``.

        Returns
        -------
        History
            What was measured in each epoch.

        Raises
        ------
        ValueError, TypeError
            If an argument does not fit; the network is as before. If a later batch of a stream does not: the network is
            as the batches before it made it.
        DivergenceError
            If the loss or a weight is no longer finite; the network has the weights of the last completed epoch.
        RuntimeError
            If this network is being trained already.

        Examples
        --------
        >>> import numpy as np, fastnn as fn
        >>> X, y = np.eye(4), np.arange(4)
        >>> net = fn.Sequential([fn.Dense(4, "softmax")], seed=0)
        >>> history = net.fit(X, y, epochs=3, validation_data=(X, y), metrics=["accuracy"], verbose=0)
        >>> sorted(history.history)
        ['accuracy', 'learning_rate', 'loss', 'seconds', 'val_accuracy', 'val_loss']

        A stream, with the same steps as above but for the order of the rows:

        >>> batches = [(X[:2], y[:2]), (X[2:], y[2:])]
        >>> net.fit(batches, epochs=2, verbose=0).epochs
        2
        >>> def endless():
        ...     while True:
        ...         yield from batches
        >>> net.fit(endless(), epochs=2, steps_per_epoch=5, verbose=0).epochs
        2
        >>> net.fit(X, y, epochs=2, validation_data=lambda: iter(batches), verbose=0).epochs    # a function
        2

        A sparse matrix, and a table, whose columns are remembered by name:

        >>> import pandas as pd, scipy.sparse
        >>> net.fit(scipy.sparse.csr_array(X), y, epochs=1, verbose=0).epochs
        1
        >>> net.fit(pd.DataFrame(X, columns=["a", "b", "c", "d"]), y, epochs=1, verbose=0).epochs
        1
        >>> net.feature_names
        ('a', 'b', 'c', 'd')
        """
        asked = FitArguments(
            X, y, loss, optimizer, epochs, batch_size, shuffle, validation_data, validation_fraction, metrics,
            callbacks, sample_weight, class_weight, threads, verbose, schedule, clip_norm, clip_value, accumulate,
            steps_per_epoch,
            checkpoint, resume,
        )  # fmt: skip
        streams = is_stream(X, y, "fit")
        if steps_per_epoch is not None and not streams:
            raise ValueError("steps_per_epoch is for streams, fit(batches): with arrays an epoch has every row once")
        kind = StreamFit if streams else Fit
        try:
            fit = kind(self, asked)
        except BaseException:
            forget_categories(self)
            raise
        return fit.run()

    @one_at_a_time
    def train_step(
        self,
        X: Any,
        y: Any,
        loss: Any = None,
        optimizer: Any = None,
        *,
        sample_weight: Any = None,
        threads: int | None = None,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ) -> float:
        """One update from one batch, in one native call.

        Parameters
        ----------
        X, y, loss
            As in :meth:`fit`; all rows of X are the batch.
        optimizer : str or Optimizer, optional
            Default: the one used last, else "adam".
        sample_weight, threads, clip_norm, clip_value
            As in :meth:`fit`.

        Returns
        -------
        float
            The loss of the batch with its penalties, before the update.

        Raises
        ------
        ValueError, TypeError
            If an argument does not fit; the network is as before.
        DivergenceError
            If the loss is not finite (the batch is not applied) or a weight is not (there is no way back).
        RuntimeError
            If this network is being trained already.

        Examples
        --------
        >>> import numpy as np, fastnn as fn
        >>> net, optimizer = fn.Sequential([fn.Dense(1)], seed=0), fn.SGD(0.1)
        >>> X, y = np.array([[0.0], [1.0]]), np.array([1.0, 2.0])
        >>> losses = [net.train_step(X, y, "mse", optimizer) for _ in range(100)]
        >>> losses[-1] < losses[0]
        True
        """
        self._pass = None
        return stepping.train_step(self, X, y, loss, optimizer, sample_weight, threads, clip_norm, clip_value)

    @one_at_a_time
    def find_learning_rate(
        self,
        X: Any,
        y: Any,
        *,
        loss: Any = None,
        optimizer: Any = "adam",
        batch_size: int | None = 32,
        start: float = 1e-7,
        end: float = 10.0,
        steps: int = 100,
        sample_weight: Any = None,
        class_weight: Any = None,
        threads: int | None = None,
    ) -> learning_rate_finder.RangeTest:
        """Train with a learning rate that grows from batch to batch: where does the loss fall, where does it explode?

        A range test. It is made with a copy of the network's numbers: weights, optimizer, running statistics and the
        random masks to come are afterwards what they were, bit for bit, even if training diverges or is interrupted.

        Parameters
        ----------
        X, y, loss
            As in :meth:`fit`; `X` is no stream.
        optimizer : str or Optimizer, default "adam"
            As in :meth:`fit`; its learning rate does not count.
        batch_size
            As in :meth:`fit`.
        start, end : float, default 1e-7 and 10
            The first and the last learning rate.
        steps : int, default 100
            Batches, at least 10; each multiplies the learning rate by (end / start)^(1 / (steps - 1)). They are
            measured without training first, because batches differ.
        sample_weight, class_weight, threads
            As in :meth:`fit`.

        Returns
        -------
        RangeTest
            With ``learning_rates``, ``losses``, ``suggestion`` and ``plot()``.

        Raises
        ------
        ValueError, TypeError
            If an argument does not fit.
        RuntimeError
            If this network is being trained already.

        References
        ----------
        Smith, Cyclical learning rates for training neural networks, 2017.

        Examples
        --------
        >>> import numpy as np, fastnn as fn
        >>> X = np.linspace(-1, 1, 256)[:, None]
        >>> net = fn.Sequential([fn.Dense(32, "tanh"), fn.Dense(1)], seed=0)
        >>> found = net.find_learning_rate(X, X**2)
        >>> 1e-5 < found.suggestion < 1
        True
        >>> history = net.fit(X, X**2, optimizer=fn.Adam(found.suggestion), epochs=50, verbose=0)
        """
        return learning_rate_finder.find_learning_rate(
            self, X, y, loss, optimizer, batch_size, start, end, steps, sample_weight, class_weight, threads
        )

    def forward(self, X: Any, training: bool = False, threads: int | None = None) -> NDArray[Any]:
        """The outputs of a batch; with ``training=True``, what :meth:`backward` needs is kept.

        Parameters
        ----------
        X : array-like (rows, inputs)
            As in :meth:`predict`, but no stream.
        training : bool, default False
            Without it the same as :meth:`predict`.
        threads : int, optional
            As in :meth:`fit`.

        Returns
        -------
        ndarray (rows, outputs), the network's dtype

        Raises
        ------
        ValueError, TypeError
            If an argument does not fit.
        RuntimeError
            If the network has no weights yet and training is False, or it is being trained by another call.

        Examples
        --------
        >>> import numpy as np, fastnn as fn
        >>> net = fn.Sequential([fn.Dense(1)], inputs=2, seed=0)
        >>> out = net.forward(np.ones((3, 2)), training=True)
        >>> net.backward(out - 1.0).shape    # of 1/2 (out - 1)^2
        (3, 2)
        >>> fn.SGD(0.1).step(net)
        """
        return self._forward(X, threads) if training else self.predict(X, threads=threads)

    @one_at_a_time
    def backward(self, doutput: Any, accumulate: bool = False, input_gradient: bool = True) -> NDArray[Any] | None:
        """Backpropagation of the last ``forward(X, training=True)``.

        Parameters
        ----------
        doutput : array-like (rows, outputs)
            dL/doutput, where L is a sum over the rows.
        accumulate : bool, default False
            Add to ``net.grads`` instead of overwriting.
        input_gradient : bool, default True
            Whether dL/dinput is wanted; without it the first layer is cheaper.

        Returns
        -------
        ndarray (rows, inputs), the network's dtype, or None
            dL/dinput.

        Raises
        ------
        ValueError, TypeError
            If an argument does not fit.
        RuntimeError
            Without a ``forward(X, training=True)`` before it, or if the weights have changed since.

        Examples
        --------
        >>> import numpy as np, fastnn as fn
        >>> net = fn.Sequential([fn.Dense(1)], inputs=2, seed=0)
        >>> out = net.forward(np.ones((3, 2)), training=True)
        >>> dx = net.backward(np.ones((3, 1)))
        >>> net.grads
        array([3., 3., 3.], dtype=float32)
        """
        return passes.backward(self, doutput, accumulate, input_gradient)

    @one_at_a_time
    def clip_gradients(self, norm: float | None = None, value: float | None = None) -> float:
        """Shorten ``grads`` between ``backward`` and ``optimizer.step``.

        Parameters
        ----------
        norm : float, optional
            A longer gradient is multiplied by norm / (its norm). If it is infinite or NaN, all of it becomes NaN, and
            the step says so.
        value : float, optional
            Each element is kept within -value..value. Not both; with neither, the norm is only measured.

        Returns
        -------
        float
            The norm before, over all layers that are not frozen. Penalties (l1, l2) come with the step, and are not in
            ``grads``.

        Raises
        ------
        ValueError, TypeError
            If both are given, or one is not above 0 and finite.
        RuntimeError
            If the network has no weights yet.

        References
        ----------
        Pascanu, Mikolov & Bengio, On the difficulty of training recurrent neural networks, 2013: by the norm.

        Examples
        --------
        >>> import numpy as np, fastnn as fn
        >>> net = fn.Sequential([fn.Dense(1)], inputs=3, seed=0)
        >>> net.grads[...] = 1.0
        >>> net.clip_gradients(norm=1.0), net.grads.tolist()
        (2.0, [0.5, 0.5, 0.5, 0.5])
        """
        return clip_gradients(self._built(), norm, value)

    @one_at_a_time
    def soft_update(self, net: Sequential, tau: float) -> None:
        """Move the parameters towards another network's: params = (1 - tau) params + tau net.params.

        All other numbers, such as running statistics, move along.

        Parameters
        ----------
        net : Sequential
            With the same layers and dtype.
        tau : float in 0..1
            1 makes them equal.

        Raises
        ------
        ValueError, TypeError
            If tau is out of its range, or the networks differ in layers or dtype.
        RuntimeError
            If one of them has no weights yet.

        References
        ----------
        Lillicrap et al., Continuous control with deep reinforcement learning, 2016, algorithm 1: target networks.

        Examples
        --------
        >>> import fastnn as fn
        >>> net = fn.Sequential([fn.Dense(2)], inputs=1, seed=0)
        >>> target = fn.Sequential([fn.Dense(2)], inputs=1, seed=1)
        >>> target.soft_update(net, tau=1.0)
        >>> bool((target.params == net.params).all())
        True
        """
        share = number(tau, "tau")
        if not 0 <= share <= 1:
            raise ValueError(f"tau must be in 0..1, not {tau}")
        if not isinstance(net, Sequential):
            raise TypeError(f"net must be a Sequential, not {type(net).__name__}")
        own, other = self._built(), net._built()
        if own.sizes != other.sizes or own.dtype != other.dtype:
            raise ValueError("soft_update needs two networks with the same layers and dtype")
        moved = allocate(own.numbers.shape, own.dtype)
        other.shared.read(lambda params: np.multiply(params, share, out=moved))
        self._pass = None
        own.shared.write(_move, own.numbers, 1 - share, moved)

    def averaged(self, X: Any = None) -> Sequential:
        """A copy of the network with the average of its weights (:attr:`averaged_params`), which often predicts better.

        The running statistics of :class:`BatchNorm` are not averaged: without `X` they are those of this network's own
        weights, with it they are measured anew.

        Parameters
        ----------
        X : array-like (rows, inputs), optional
            As in :meth:`fit`, but no stream. Rows like those that are trained on, at least 2: of what reaches each
            ``BatchNorm``, with the averaged weights and as the network predicts, mean and variance are taken over all
            of them.

        Returns
        -------
        Sequential
            Without an optimizer; this network stays as it is.

        Raises
        ------
        ValueError, TypeError
            If X does not fit: columns, type, or a number that is not finite.
        RuntimeError
            If no optimizer with ``average`` made the last update, or another thread is training the network.

        References
        ----------
        Polyak & Juditsky, Acceleration of stochastic approximation by averaging, 1992. Izmailov et al., Averaging
        weights leads to wider optima and better generalization, 2018: statistics measured anew.

        Examples
        --------
        >>> import numpy as np, fastnn as fn
        >>> X = np.linspace(-1, 1, 64)[:, None]
        >>> net = fn.Sequential([fn.Dense(8, "tanh"), fn.Dense(1)], seed=0)
        >>> history = net.fit(X, X**2, optimizer=fn.Adam(0.01, average=0.99), epochs=20, verbose=0)
        >>> net.averaged().evaluate(X, X**2)["loss"] < 0.2
        True
        """
        return averaging.averaged(self, X)

    # ---- use --------------------------------------------------------------------------------------------------------

    def predict(self, X: Any, threads: int | None = None) -> NDArray[Any]:
        """The outputs of the last layer.

        Parameters
        ----------
        X : array-like (rows, inputs), sparse matrix or table, (inputs,) for one row, or iterable of batches
            A stream brings X, or (X, y) and so on, of which only X is looked at; its rows may be more than memory
            holds, but the outputs of all of them are kept.
        threads : int, optional
            As in :meth:`fit`.

        Returns
        -------
        ndarray (rows, outputs), the network's dtype

        Raises
        ------
        ValueError, TypeError
            If X does not fit: columns, type, or a number that is not finite.
        RuntimeError
            If the network has no weights yet.

        Examples
        --------
        >>> import numpy as np, fastnn as fn
        >>> net = fn.Sequential([fn.Dense(3, "softmax")], inputs=2, seed=0)
        >>> net.predict([[0.0, 0.0], [1.0, 1.0]]).shape
        (2, 3)
        >>> net.predict(np.full((rows, 2), 0.5) for rows in (4, 4, 1)).shape    # a stream
        (9, 3)
        """
        parameters = self._built()
        if type(X) is not np.ndarray:
            if is_stream_of_features(X):
                return predict_stream(self, parameters, X, threads)
        elif threads is None and not (self._tables and read_text(self)):
            found = parameters.shared.read(lambda params: evaluation.predict_few(parameters, params, X))
            if found is not None:
                return found
        x = inputs.features(read_features(self, X)[0], parameters.inputs, "X", one_row=True)
        return parameters.shared.read(lambda params: evaluation.predict(parameters, params, x, threads))

    def evaluate(
        self,
        X: Any,
        y: Any = None,
        loss: Any = None,
        metrics: Any = (),
        *,
        sample_weight: Any = None,
        threads: int | None = None,
    ) -> dict[str, float]:
        """The mean loss over the rows, and metrics.

        Parameters
        ----------
        X, y
            As in :meth:`fit`. A stream comes without `y`, and is gone through once: metrics are of all its rows.
        loss : str, row of ``fastnn.losses``, object such as ``fn.Huber(0.5)``, or function, optional
            Default: the loss the network was trained with, else by the last layer.
        metrics, sample_weight, threads
            As in :meth:`fit`.

        Returns
        -------
        dict of str to float
            "loss" and each metric.

        Raises
        ------
        ValueError, TypeError
            If an argument does not fit.
        RuntimeError
            If the network has no weights yet.

        Examples
        --------
        >>> import numpy as np, fastnn as fn
        >>> net = fn.Sequential([fn.Dense(2, "softmax")], inputs=2, seed=0)
        >>> found = net.evaluate(np.eye(2), [0, 1], metrics=["accuracy"])
        >>> sorted(found)
        ['accuracy', 'loss']
        >>> found == net.evaluate([(np.eye(2)[:1], [0]), (np.eye(2)[1:], [1])], metrics=["accuracy"])    # a stream
        True
        """
        parameters = self._built()
        graph = parameters.graph
        chosen_loss = self._loss if loss is None else loss
        objective = resolve_loss(chosen_loss, graph.last_activation, graph.width, graph.rescale >= 0)
        chosen = resolve_metrics(metrics)
        if is_stream(X, y, "evaluate"):
            if sample_weight is not None:
                raise ValueError("sample_weight: a stream brings weights in its batches, as (X, y, sample_weight)")
            return StreamEvaluation(self, parameters, objective, chosen, X, threads).measure()
        x = inputs.training_features(read_features(self, X)[0], parameters.inputs)
        targets = inputs.targets(read_targets(y), x.shape[0], objective, graph.width, self.dtype)
        weights = inputs.sample_weights(sample_weight, x.shape[0])
        inputs.check_finite(x, self.dtype, "X")
        run = evaluation.Evaluation(parameters, objective, chosen, x, targets, weights, threads)
        return parameters.shared.read(run.run)

    def health(self, X: Any) -> Health:
        """Look at the outputs of every layer for rows of X: dead units, saturation, values that are not finite.

        Parameters
        ----------
        X : array-like (rows, inputs)
            Some hundred rows are enough; at most 256 are looked at, spread evenly.

        Returns
        -------
        Health
            Print it. What training says of gradients and updates is in ``History.report()``.

        Raises
        ------
        ValueError, TypeError
            If X does not fit: columns, type, or a number that is not finite.
        RuntimeError
            If the network has no weights yet.

        Examples
        --------
        >>> import numpy as np, fastnn as fn
        >>> net = fn.Sequential([fn.Dense(4, "tanh"), fn.Dense(1)], inputs=2, seed=0)
        >>> net.health(np.full((3, 2), 1000.0)).layers[0].saturated
        1.0
        """
        parameters = self._built()
        x = inputs.training_features(read_features(self, X)[0], parameters.inputs)
        x = np.ascontiguousarray(x[:: -(-x.shape[0] // HEALTH_ROWS)])
        inputs.check_finite(x, self.dtype, "X")
        return parameters.shared.read(lambda numbers: examine(parameters, numbers, self.layers, x))

    def jacobian(self, x: Any, threads: int | None = None) -> NDArray[Any]:
        """The derivative of every output with respect to every input, as the network predicts.

        Without dropout and noise, and with running statistics. A category has no derivative: it is 0 there.

        Parameters
        ----------
        x : array-like (rows, inputs), sparse matrix or table, or (inputs,) for one row
            As in :meth:`predict`, but no stream.
        threads : int, optional
            As in :meth:`fit`.

        Returns
        -------
        ndarray (rows, outputs, inputs), or (outputs, inputs) for one row; the network's dtype

        Raises
        ------
        ValueError, TypeError
            If x does not fit: columns, type, or a number that is not finite.
        RuntimeError
            If the network has no weights yet.

        Examples
        --------
        >>> import fastnn as fn
        >>> net = fn.Sequential([fn.Dense(2)], inputs=3, seed=0)
        >>> bool((net.jacobian([1.0, 2.0, 3.0]) == net.layers[0].weight.T).all())
        True
        """
        return derivatives.jacobian(self, x, threads)

    def input_gradient(self, X: Any, y: Any, loss: Any = None, threads: int | None = None) -> NDArray[Any]:
        """The gradient of each row's loss with respect to that row's inputs, as the network predicts.

        What would change the loss most: for sensitivity, saliency and adversarial examples.

        Parameters
        ----------
        X, y
            As in :meth:`fit`; `X` is no stream.
        loss : str, row of ``fastnn.losses``, object such as ``fn.Huber(0.5)``, or function, optional
            Default: the loss the network was trained with, else by the last layer.
        threads : int, optional
            As in :meth:`fit`.

        Returns
        -------
        ndarray (rows, inputs), the network's dtype
            Of the loss of the row alone, without penalties; nothing is divided by the number of rows.

        Raises
        ------
        ValueError, TypeError
            If an argument does not fit.
        RuntimeError
            If the network has no weights yet.

        References
        ----------
        Simonyan, Vedaldi & Zisserman, Deep inside convolutional networks, 2014: saliency. Goodfellow, Shlens & Szegedy,
        Explaining and harnessing adversarial examples, 2015.

        Examples
        --------
        >>> import numpy as np, fastnn as fn
        >>> net = fn.Sequential([fn.Dense(1)], inputs=2, seed=0)
        >>> net.layers[0].weight = [[1.0], [2.0]]
        >>> net.input_gradient([[1.0, 1.0]], [0.0], loss="mse")    # of (x0 + 2 x1 - y)^2
        array([[ 6., 12.]], dtype=float32)
        """
        return derivatives.input_gradient(self, X, y, loss, threads)

    def get_weights(self) -> list[NDArray[Any]]:
        """Copies of all numbers of the network, as Keras lists them.

        Layer after layer, those inside of other layers in their order. Of each layer what is trained, then what is not:
        weight, bias; ``BatchNorm`` weight, bias, running mean, running variance; ``Normalization`` mean, scale;
        ``Table`` the vectors of each categorical column, then mean, scale. At the end, with ``scale_targets``, scale
        and shift of the outputs, mean and factor of the targets. Weights are (inputs, units).

        Returns
        -------
        list of ndarray, the network's dtype

        Raises
        ------
        RuntimeError
            If the network has no weights yet.

        Examples
        --------
        >>> import fastnn as fn
        >>> net = fn.Sequential([fn.Dense(4), fn.BatchNorm(), fn.Dense(1)], inputs=2, seed=0)
        >>> [array.shape for array in net.get_weights()]
        [(2, 4), (4,), (4,), (4,), (4,), (4,), (4, 1), (1,)]
        """
        return get_weights(self)

    @one_at_a_time
    def set_weights(self, weights: Sequence[Any]) -> None:
        """Take over numbers in the order of :meth:`get_weights`.

        Parameters
        ----------
        weights : list of array-like
            As many as :meth:`get_weights` gives, of the same shapes. The optimizer's state stays.

        Raises
        ------
        ValueError, TypeError
            If one of them does not fit, or holds NaN, infinity, what is too large for the network's dtype or a negative
            variance; the network is as before.
        RuntimeError
            If the network has no weights yet, or is being trained by another call.

        Examples
        --------
        >>> import fastnn as fn
        >>> net = fn.Sequential([fn.Dense(1)], inputs=2, seed=0)
        >>> net.set_weights([[[1.0], [2.0]], [3.0]])
        >>> net.predict([1.0, 1.0])
        array([[6.]], dtype=float32)
        """
        set_weights(self, weights)

    def predictor(self) -> _core.Predictor:
        """A frozen copy of the weights, called as a function: the fastest way to the output of one row.

        Returns
        -------
        Predictor
            f(x) with x (inputs,) -> (outputs,), or (rows, inputs) -> (rows, outputs); f(x, out=y) writes into y;
            f.argmax(x) is the index of the largest output. Values of x are not checked; where a ``Table`` has learned
            texts, x has the place of each in ``Table.texts``, and -1 for an unknown or missing one.

        Raises
        ------
        RuntimeError
            If the network has no weights yet.

        Examples
        --------
        >>> import numpy as np, fastnn as fn
        >>> net = fn.Sequential([fn.Dense(3, "softmax")], inputs=2, seed=0)
        >>> f = net.predictor()
        >>> x = np.zeros(2, np.float32)
        >>> f(x).shape, f.argmax(x)
        ((3,), 0)
        """
        parameters = self._built()
        return parameters.shared.read(lambda params: predictor.make_predictor(parameters, params))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network, its optimizer's state and its seed to a file; :func:`fastnn.load` reads it.

        Parameters
        ----------
        path : str or path-like
            Holds the old file or the new one, whatever happens meanwhile.

        Raises
        ------
        RuntimeError
            If the network has no weights yet, or is being trained by another call.
        OSError
            If it cannot be written.
        ValueError, TypeError
            If there is something else than a file under that name, or `path` is no path.

        Examples
        --------
        >>> import fastnn as fn, os, tempfile
        >>> net = fn.Sequential([fn.Dense(2)], inputs=3, seed=0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     net.save(os.path.join(folder, "model.fnn"))
        ...     print(os.listdir(folder))
        ['model.fnn']
        """
        files.save(self, path)

    def to_onnx(self, path: str | os.PathLike[str]) -> None:
        """Write the network, as it predicts, to a file that ONNX Runtime and others run.

        One input, "input", (rows, inputs), and one output, "output", (rows, outputs), both of the network's dtype, with
        any number of rows. Opset 13. Every layer and activation can be written; see docs/interchange.md.

        Parameters
        ----------
        path : str or path-like
            Holds the old file or the new one, whatever happens meanwhile.

        Raises
        ------
        ModuleNotFoundError
            Without the package onnx: ``pip install onnx``, or ``pip install fastnn-cpu[onnx]``.
        ValueError, TypeError
            If the network is larger than the 2 GiB that the format allows, there is something else than a file under
            that name, or `path` is no path.
        RuntimeError
            If the network has no weights yet.
        OSError
            If it cannot be written.

        Examples
        --------
        >>> import fastnn as fn, os, tempfile
        >>> net = fn.Sequential([fn.Dense(2)], inputs=3, seed=0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     net.to_onnx(os.path.join(folder, "model.onnx"))    # doctest: +SKIP
        """
        from .onnx_export import to_onnx

        to_onnx(self, path)

    def summary(self) -> None:
        """Print a table of the layers.

        Examples
        --------
        >>> import fastnn as fn
        >>> fn.Sequential([fn.Dense(3, "relu"), fn.Dense(1)], inputs=2, seed=0).summary()
        layer   activation  output  parameters
        --------------------------------------
        inputs                   2
        Dense   relu             3           9
        Dense   linear           1           4
        parameters: 13; dtype float32; seed 0
        """
        print(summary(self))

    # ---- what it is -------------------------------------------------------------------------------------------------

    @property
    def inputs(self) -> int | None:
        """Columns of X; None before they are known."""
        return None if self._parameters is None else self._parameters.inputs

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """The columns of the table the network was fitted to; None if it was an array, whose columns have no names."""
        return self._feature_names

    @property
    def outputs(self) -> int:
        """Columns of the output; before the width of the input is known, only if they do not follow from it."""
        if self._parameters is None and not stack_needs_inputs(self.layers):
            width = self._graph_for(1).width
            if self._graph_for(2).width == width:
                return width
        return self._built().outputs

    @property
    def params(self) -> NDArray[Any]:
        """Every parameter, (n_params,), as one flat view."""
        return self._built().params

    @property
    def grads(self) -> NDArray[Any]:
        """The gradient of every parameter after ``backward``, (n_params,), as one flat view."""
        return self._built().grads

    @property
    def averaged_params(self) -> NDArray[Any]:
        """The average of the parameters that an optimizer with ``average`` keeps, (n_params,), as a read-only view."""
        state = self._state
        if state is None or state.average is None or not state.averaged:
            raise RuntimeError(
                "there is no average of the weights: the last update must be made by an optimizer such as "
                "Adam(average=0.999)"
            )
        view = state.average.view()
        view.flags.writeable = False
        return view

    @property
    def n_params(self) -> int:
        """How many numbers the network learns."""
        return self._built().graph.n_params

    @property
    def optimizer(self) -> Optimizer | None:
        """The optimizer used last; None before."""
        return self._optimizer

    def __repr__(self) -> str:
        known = "" if self.inputs is None else f", inputs={self.inputs}"
        scaled = ", scale_targets=True" if self.scale_targets else ""
        layers = ", ".join(map(repr, self.layers))
        return f"Sequential([{layers}]{known}, seed={self.seed}, dtype={self.dtype.name!r}{scaled})"

    def __reduce__(self) -> tuple[Any, ...]:
        if self._parameters is None:
            layers = [layer.__reduce__() for layer in self.layers]
            return _unbuilt, (layers, self.seed, self.dtype.name, self.scale_targets)
        return files.from_bytes, (files.to_bytes(self),)

    # ---- for the files that do the work -----------------------------------------------------------------------------

    @one_at_a_time
    def _forward(self, X: Any, threads: int | None) -> NDArray[Any]:
        return passes.forward(self, X, threads)

    def _built(self) -> Parameters:
        if self._parameters is None:
            raise RuntimeError(
                "the network has no weights before the width of its input is known: give inputs=, or train it first"
            )
        return self._parameters

    def _graph_for(self, width: int) -> Graph:
        if self._parameters is not None:
            return self._parameters.graph
        return build(self.layers, width, self.scale_targets)

    def _parameters_for(self, graph: Graph) -> Parameters:
        """The network's parameters; new ones, not yet its own, if it has none."""
        if self._parameters is not None:
            return self._parameters
        parameters = Parameters(graph, self.dtype)
        parameters.initialize(self.seed)
        return parameters

    def _state_for(self, optimizer: Optimizer, parameters: Parameters) -> _core.OptimizerState:
        """The state to go on from; a new one, not yet the network's own, for another class of optimizer."""
        state = self._state
        if state is None or state.name != optimizer.name:
            size = _core.optimizer_states(optimizer.name) * parameters.params.size
            state = _core.OptimizerState(parameters.network, optimizer.name, allocate(size, self.dtype, zero=True))
        if optimizer.average:
            optimizer.make_room(state)
        return state

    def _adopt_parameters(self, parameters: Parameters) -> None:
        if self._parameters is not parameters:
            parameters.show_in_layers()
            self._parameters = parameters

    def _adopt(
        self,
        parameters: Parameters,
        state: _core.OptimizerState,
        optimizer: Optimizer,
        loss: LossFunction,
        history: History | None = None,
    ) -> None:
        """From here on the network is changed: nothing that can fail comes before its end."""
        self._adopt_parameters(parameters)
        self._state, self._optimizer, self._loss, self._pass = state, optimizer, loss, None
        if history is not None:
            self.history = history

    def _snapshot(self, into: Snapshot) -> None:
        """Copy all that a step changes; for callbacks of fit."""
        assert self._state is not None
        into.take(self._built(), self._state)

    def _restore(self, snapshot: Snapshot) -> None:
        """Go back to it; for callbacks of fit."""
        assert self._state is not None
        snapshot.put(self._built(), self._state)

    @one_at_a_time
    def _apply_optimizer(self, optimizer: Optimizer) -> None:
        """Optimizer.step: one update from ``grads``."""
        parameters = self._built()
        state = self._state_for(optimizer, parameters)
        optimizer.prepare(state)
        self._state, self._optimizer, self._pass = state, optimizer, None
        rate, params, grads = optimizer.learning_rate, parameters.params, parameters.grads
        status = parameters.shared.write(_core.update, parameters.network, state, rate, 1.0, params, grads)
        if status != _core.FINISHED:
            raise DivergenceError(
                f"a weight became infinite or NaN in a step with learning rate {rate:g}: the gradients are not "
                "finite or far too large, and the network must be set back",
                epoch=None,
                batch=None,
                learning_rate=rate,
            )

    def _layer_changed(self) -> None:
        """A layer was frozen, or its learning rate changed: another table of segments, the same numbers."""
        if self._parameters is not None:
            self._parameters.replan(build(self.layers, self._parameters.inputs, self.scale_targets))


def _unbuilt(layers: list[tuple[Any, ...]], seed: int, dtype: str, scale_targets: bool) -> Sequential:
    made = [make(*arguments) for make, arguments in layers]
    return Sequential(made, seed=seed, dtype=dtype, scale_targets=scale_targets)


def _move(params: NDArray[Any], keep: float, moved: NDArray[Any]) -> None:
    np.multiply(params, keep, out=params)
    np.add(params, moved, out=params)


def _checked_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    try:
        kind = np.dtype(... if dtype is None else dtype)  # NumPy takes None for float64
    except TypeError:
        raise TypeError(f"dtype must be 'float32' or 'float64', not {dtype!r}") from None
    if kind not in (np.float32, np.float64) or not kind.isnative:
        raise ValueError(f"dtype must be 'float32' or 'float64', not {kind}")
    return kind


def _checked_seed(seed: object) -> int:
    if seed is None:
        return int.from_bytes(os.urandom(6), "little")
    if isinstance(seed, (bool, np.bool_)) or not isinstance(seed, (int, np.integer)):
        raise TypeError(f"seed must be an integer or None, not {type(seed).__name__}")
    if not 0 <= seed < 2**64:
        raise ValueError(f"seed must be in 0..2**64 - 1, not {seed}")
    return int(seed)
