# SPDX-License-Identifier: BSD-3-Clause
"""A whole network in NumPy and float64: what fastnn computes, in as few lines as it can be said.

Activations, losses and optimizers are the formulas of fastnn's registries; derivatives are written down here once more,
and checked by differences. To add an activation or a loss: a row in DERIVATIVES or LOSS_GRADIENTS; without one, the
tests that walk the registries fail.
"""

from __future__ import annotations

import numpy as np

import fastnn as fn

# dL/dz from a = f(z) and dL/da, both (rows, units).
DERIVATIVES = {
    "linear": lambda a, da: da,
    "relu": lambda a, da: da * (a > 0),
    "tanh": lambda a, da: da * (1 - a**2),
    "sigmoid": lambda a, da: da * a * (1 - a),
    "softmax": lambda a, da: a * (da - (da * a).sum(axis=1, keepdims=True)),
}
# dloss/dz of each row, from y and z (rows, outputs).
LOSS_GRADIENTS = {
    "mse": lambda y, z: 2 * (z - y) / z.shape[1],
    "cross_entropy": lambda y, z: fn.activations["softmax"](z) * y.sum(axis=1, keepdims=True) - y,
    "binary_cross_entropy": lambda y, z: (fn.activations["sigmoid"](z) - y) / z.shape[1],
}
KINKED = ("relu",)  # activations with a corner at 0, where differences and derivatives disagree


def as_rows(loss, y, outputs):
    """Targets as the formulas take them, (rows, outputs): labels become one-hot rows."""
    y = np.asarray(y)
    labels = fn.losses[loss].targets == "classes" and (y.ndim == 1 or y.shape[1] == 1)
    return np.eye(outputs)[y.astype(int).reshape(-1)] if labels else y.reshape(len(y), -1).astype(np.float64)


class Network:
    """Weights, biases and activations of a stack of dense layers, copied from a fastnn network in float64."""

    def __init__(self, net, loss):
        self.weights = [layer.weight.astype(np.float64) for layer in net.layers]
        self.biases = [layer.bias.astype(np.float64) if layer.use_bias else None for layer in net.layers]
        self.activations = [layer.activation.name for layer in net.layers]
        self.loss_name = loss
        # A last softmax or sigmoid joined with its cross-entropy: the loss reads the logits before it.
        self.joined = loss is not None and self.activations[-1] == fn.losses[loss].joins
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
        zs, a = self.sums(x)
        rows = fn.losses[self.loss_name](as_rows(self.loss_name, y, a[-1].shape[1]), zs[-1] if self.joined else a[-1])
        return np.average(rows, weights=w)

    def backward(self, x, da):
        """dL/dparameters, flat, and dL/dx, from dL/doutput."""
        zs, a = self.sums(x)
        return self._down(a, DERIVATIVES[self.activations[-1]](a[-1], da))

    def _down(self, a, dz):
        grads = []
        for i in reversed(range(len(self.weights))):
            grads = [a[i].T @ dz] + ([] if self.biases[i] is None else [dz.sum(axis=0)]) + grads
            dx = dz @ self.weights[i].T
            dz = DERIVATIVES[self.activations[i - 1]](a[i], dx) if i else None
        return np.concatenate([grad.ravel() for grad in grads]), dx

    def gradient(self, x, y, w=None):
        """d(mean loss)/dparameters, flat, by backpropagation."""
        zs, a = self.sums(x)
        w = np.ones(len(x)) if w is None else np.asarray(w, np.float64)
        y = as_rows(self.loss_name, y, a[-1].shape[1])
        d = LOSS_GRADIENTS[self.loss_name](y, zs[-1] if self.joined else a[-1]) * (w / w.sum())[:, None]
        return self._down(a, d if self.joined else DERIVATIVES[self.activations[-1]](a[-1], d))[0]

    def differences(self, x, y, w=None, h=1e-3):
        """The same by central differences of fourth order in each parameter."""
        found = []
        for tensor in self.tensors:
            for i in np.ndindex(tensor.shape):
                start, losses = tensor[i], {}
                for k in (-2, -1, 1, 2):
                    tensor[i] = start + k * h
                    losses[k] = self.loss(x, y, w)
                tensor[i] = start
                found.append((8 * (losses[1] - losses[-1]) - (losses[2] - losses[-2])) / (12 * h))
        return np.array(found)

    def margin(self, x):
        """How far the sums of units with a kinked activation stay away from the kink."""
        kinked = [z for z, name in zip(self.sums(x)[0], self.activations, strict=True) if name in KINKED]
        return min((np.abs(z).min() for z in kinked), default=np.inf)

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


def outputs_of(loss):
    """A last activation the loss goes with, and so do logits or values."""
    return fn.losses[loss].joins or "linear"


def targets_for(loss, rows, outputs, rng, *, soft=False):
    """Targets of the kind a loss takes; a loss of an unknown kind has no tests, and fails here."""
    kind = fn.losses[loss].targets
    if kind == "values":
        return rng.normal(size=(rows, outputs))
    if kind == "unit":
        return rng.random((rows, outputs)) if soft else rng.integers(0, 2, (rows, outputs)).astype(np.float64)
    if kind == "classes":
        return rng.dirichlet(np.ones(outputs), rows) if soft else rng.integers(0, outputs, rows)
    raise KeyError(f"loss {loss!r} has targets of the kind {kind!r}, which no test knows")
