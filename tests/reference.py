# SPDX-License-Identifier: BSD-3-Clause
"""A whole network in NumPy and float64: what fastnn computes, in as few lines as it can be said.

Activations, losses and optimizers are the formulas of fastnn's registries. Derivatives of some are written down here
once more; any other is differentiated numerically, so that a new row of a registry needs nothing here.
"""

from __future__ import annotations

import copy

import numpy as np

import fastnn as fn

H = 1e-3  # of differences of fourth order, whose error is about H^4
# dL/dz from z, a = f(z) and dL/da, all (rows, units).
DERIVATIVES = {
    "linear": lambda z, a, da: da,
    "relu": lambda z, a, da: da * (z > 0),
    "tanh": lambda z, a, da: da * (1 - a**2),
    "sigmoid": lambda z, a, da: da * a * (1 - a),
    "softmax": lambda z, a, da: a * (da - (da * a).sum(axis=1, keepdims=True)),
    "leaky_relu": lambda z, a, da: da * np.where(z > 0, 1, 0.01),
    "elu": lambda z, a, da: da * np.where(z > 0, 1, np.exp(np.minimum(z, 0))),
    "hard_sigmoid": lambda z, a, da: da * (np.abs(z) < 3) / 6,
    "hard_swish": lambda z, a, da: da * np.where(z >= 3, 1, np.where(z <= -3, 0, z / 3 + 0.5)),
    "silu": lambda z, a, da: da * (a + fn.activations["sigmoid"](z) * (1 - a)),
    "softplus": lambda z, a, da: da * fn.activations["sigmoid"](z),
}
# dloss/dz of each row, from y and z (rows, outputs), and the loss's parameters.
LOSS_GRADIENTS = {
    "mse": lambda y, z: 2 * (z - y) / z.shape[1],
    "mae": lambda y, z: np.sign(z - y) / z.shape[1],
    "huber": lambda y, z, delta: np.clip(z - y, -delta, delta) / z.shape[1],
    "log_cosh": lambda y, z: np.tanh(z - y) / z.shape[1],
    "quantile": lambda y, z, quantiles: (np.where(y > z, 0, 1.0) - np.asarray(quantiles)) / z.shape[1],
    "poisson": lambda y, z: (np.exp(z) - y) / z.shape[1],
    "hinge": lambda y, z: np.where(signs(y) * z < 1, -signs(y), 0) / z.shape[1],
    "cross_entropy": lambda y, z, label_smoothing: cross_entropy_gradient(
        (1 - label_smoothing) * y + label_smoothing / z.shape[1], z
    ),
    "binary_cross_entropy": lambda y, z: (fn.activations["sigmoid"](z) - y) / z.shape[1],
}


def signs(y):
    return np.where(y > 0, 1.0, -1.0)


def cross_entropy_gradient(t, z):
    return fn.activations["softmax"](z) * t.sum(axis=1, keepdims=True) - t


# Where an activation may have a corner; one not named here, at 0.
CORNERS = dict.fromkeys(("linear", "tanh", "sigmoid", "softmax", "gelu", "silu", "mish", "softplus"), ())
CORNERS |= dict.fromkeys(("hard_sigmoid", "hard_swish"), (-3, 3))


def to_corner(name, z):
    """How far each sum is from the nearest corner."""
    return np.min([np.full(z.shape, np.inf), *(np.abs(z - corner) for corner in CORNERS.get(name, (0,)))], axis=0)


def difference(f, h=H):
    """f'(0), by values at four points; h may be one for each row."""
    return (8 * (f(h) - f(-h)) - (f(2 * h) - f(-2 * h))) / (12 * h)


def by_differences(f, z, da, distance=None):
    """sum_j da_j df_j/dz_i in each row, one i at a time; f gives (rows, outputs), or (rows,) with da None.

    No difference reaches across a corner: distance says how far each z is from one (None: at 0).
    """
    dz = np.empty_like(z)
    distance = np.abs(z) if distance is None else distance
    steps = np.where(distance == 0, H, np.minimum(H, distance / 3))
    for i, unit in enumerate(np.eye(z.shape[1])):
        h = steps[:, i : i + 1]
        if da is None:
            dz[:, i] = difference(lambda by, unit=unit: f(z + by[:, None] * unit), h[:, 0])
        else:
            dz[:, i] = (difference(lambda by, unit=unit: f(z + by * unit), h) * da).sum(axis=1)
    return dz


def activation_gradient(name, z, da):
    """dL/dz of an activation."""
    f = fn.activations[name]
    return DERIVATIVES[name](z, f(z), da) if name in DERIVATIVES else by_differences(f, z, da, to_corner(name, z))


def row_of(loss):
    """A loss by name, or as an object with parameters of its own."""
    return fn.losses[loss] if isinstance(loss, str) else loss


def lasts(loss):
    """Every activation of a last layer that the loss can follow."""
    row = row_of(loss)
    return [*row.joins, "linear"] if row.linear else list(fn.activations)


def kind_of_targets(loss, last=None):
    """What y holds: of focal, by the last layer."""
    kind = row_of(loss).targets
    return "unit" if kind == "labels" and last == "sigmoid" else kind


def loss_rows(loss, y, z, last=None):
    """The formula: the loss of each row, by the kind of last layer."""
    row = row_of(loss)
    if row.targets == "labels" and last == "sigmoid":
        return row.of_questions(y, z)
    return row(y, z)


def loss_gradient(loss, y, z, last=None):
    """dloss/dz of each row."""
    row = row_of(loss)
    if row.name in LOSS_GRADIENTS:
        return LOSS_GRADIENTS[row.name](y, z, **row.parameters)
    return by_differences(lambda outputs: loss_rows(loss, y, outputs, last), z, None)


def loss_margin(loss, y, z):
    """How far the outputs stay away from corners of the loss."""
    row = row_of(loss)
    if row.name in ("mae", "quantile"):
        return np.abs(z - y).min()
    if row.name == "huber":
        return np.abs(np.abs(z - y) - row.parameters["delta"]).min()
    if row.name == "hinge":
        return np.abs(1 - signs(y) * z).min()
    return np.inf


def as_rows(loss, y, outputs, last=None):
    """Targets as the formulas take them, (rows, outputs): labels become one-hot rows."""
    y = np.asarray(y)
    of_classes = kind_of_targets(loss, last) in ("classes", "labels")
    labels = of_classes and (y.ndim == 1 or y.shape[1] == 1)
    return np.eye(outputs)[y.astype(int).reshape(-1)] if labels else y.reshape(len(y), -1).astype(np.float64)


class Network:
    """Weights, biases and activations of a stack of dense layers, copied from a fastnn network in float64."""

    def __init__(self, net, loss):
        self.weights = [layer.weight.astype(np.float64) for layer in net.layers]
        self.biases = [layer.bias.astype(np.float64) if layer.use_bias else None for layer in net.layers]
        self.activations = [layer.activation.name for layer in net.layers]
        self.loss_asked = loss
        # A last softmax or sigmoid joined with its cross-entropy: the loss reads the logits before it.
        self.joined = loss is not None and self.activations[-1] in row_of(loss).joins
        self.states, self.steps = None, 0

    @property
    def tensors(self):
        """Every tensor, in the order of net.params."""
        return [t for pair in zip(self.weights, self.biases, strict=True) for t in pair if t is not None]

    @property
    def params(self):
        return np.concatenate([tensor.ravel() for tensor in self.tensors])

    def sums(self, x):
        """z = a W + b of each layer; and x, then a = f(z) of each layer."""
        zs, a = [], [np.asarray(x, np.float64)]
        for weight, bias, name in zip(self.weights, self.biases, self.activations, strict=True):
            zs.append(a[-1] @ weight + (0 if bias is None else bias))
            a.append(fn.activations[name](zs[-1]))
        return zs, a

    def predict(self, x):
        return self.sums(x)[1][-1]

    def loss(self, x, y, w=None):
        """The mean loss over rows of weight w."""
        outputs, last = self.seen(x), self.activations[-1]
        rows = loss_rows(self.loss_asked, as_rows(self.loss_asked, y, outputs.shape[1], last), outputs, last)
        return np.average(rows, weights=w)

    def seen(self, x):
        """What the loss reads: outputs, or the logits before them."""
        zs, a = self.sums(x)
        return zs[-1] if self.joined else a[-1]

    def backward(self, x, da):
        """dL/dparameters, flat, and dL/dx, from dL/doutput."""
        zs, a = self.sums(x)
        return self._down(zs, a, activation_gradient(self.activations[-1], zs[-1], da))

    def _down(self, zs, a, dz):
        grads = []
        for i in reversed(range(len(self.weights))):
            grads = [a[i].T @ dz] + ([] if self.biases[i] is None else [dz.sum(axis=0)]) + grads
            dx = dz @ self.weights[i].T
            dz = activation_gradient(self.activations[i - 1], zs[i - 1], dx) if i else None
        return np.concatenate([grad.ravel() for grad in grads]), dx

    def gradient(self, x, y, w=None):
        """d(mean loss)/dparameters, flat, by backpropagation."""
        zs, a = self.sums(x)
        w = np.ones(len(x)) if w is None else np.asarray(w, np.float64)
        outputs, last = self.seen(x), self.activations[-1]
        d = loss_gradient(self.loss_asked, as_rows(self.loss_asked, y, outputs.shape[1], last), outputs, last)
        d = d * (w / w.sum())[:, None]
        return self._down(zs, a, d if self.joined else activation_gradient(self.activations[-1], zs[-1], d))[0]

    def differences(self, x, y, w=None):
        """The same by differences of the loss in each parameter.

        Every parameter at each of four places is a network of its own; all of them are computed at once.
        """
        start, moves = self.params, np.eye(self.params.size)
        y = as_rows(self.loss_asked, y, self.seen(x).shape[1], self.activations[-1])

        def losses(h):
            """Of one network for each parameter, with that one moved by h."""
            outputs = self.with_params(start + h * moves).seen(x)
            rows = loss_rows(self.loss_asked, y, outputs, self.activations[-1])
            return np.average(rows, axis=1, weights=w)

        return difference(losses)

    def with_params(self, params):
        """A network for each row of params; what they compute has an axis for them before all others."""
        many, at = copy.copy(self), 0
        many.weights, many.biases = [], []
        for weight, bias in zip(self.weights, self.biases, strict=True):
            many.weights.append(params[:, at : at + weight.size].reshape(-1, *weight.shape))
            at += weight.size
            many.biases.append(None if bias is None else params[:, None, at : at + bias.size])
            at += 0 if bias is None else bias.size
        return many

    def margin(self, x):
        """How far the sums of units stay away from corners of their activation."""
        return min(to_corner(name, z).min() for z, name in zip(self.sums(x)[0], self.activations, strict=True))

    def loss_margin(self, x, y):
        """How far the outputs stay away from corners of the loss."""
        outputs = self.seen(x)
        rows = as_rows(self.loss_asked, y, outputs.shape[1], self.activations[-1])
        return loss_margin(self.loss_asked, rows, outputs)

    def step(self, optimizer, x, y, w=None):
        """One update by the optimizer's formula -> the loss before it."""
        before, gradient, p = self.loss(x, y, w), self.gradient(x, y, w), self.params
        if self.states is None:
            self.states = [np.zeros_like(p) for _ in optimizer.state_names]
        self.steps += 1
        p, self.states = optimizer.update(p, gradient, self.states, self.steps)
        for tensor in self.tensors:
            tensor[...] = p[: tensor.size].reshape(tensor.shape)
            p = p[tensor.size :]
        return before


def targets_for(loss, rows, outputs, rng, *, soft=False, last=None):
    """Targets of the kind a loss takes; a loss of an unknown kind has no tests, and fails here."""
    row = row_of(loss)
    kind, columns = kind_of_targets(loss, last), row.columns(outputs)
    if kind == "values":
        return rng.normal(size=(rows, columns))
    if kind == "counts":
        return rng.gamma(2.0, size=(rows, columns)) if soft else rng.poisson(2.0, (rows, columns)).astype(np.float64)
    if kind == "signs":
        return rng.integers(0, 2, (rows, columns)) * (2.0 if soft else 1.0) - (1.0 if soft else 0.0)
    if kind == "unit":
        return rng.random((rows, columns)) if soft else rng.integers(0, 2, (rows, columns)).astype(np.float64)
    if kind == "classes":
        return rng.dirichlet(np.ones(outputs), rows) if soft else rng.integers(0, outputs, rows)
    if kind == "labels":
        return np.eye(outputs)[rng.integers(0, outputs, rows)] if soft else rng.integers(0, outputs, rows)
    raise KeyError(f"loss {loss!r} has targets of the kind {kind!r}, which no test knows")
