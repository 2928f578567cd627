# SPDX-License-Identifier: BSD-3-Clause
"""Every kind of layer in NumPy and float64, forward and backward: what csrc/layers.c computes, said once more.

``run(net, X, ...)`` walks a network's layers; random masks come from Philox as published. To add a layer: a function
(layer, x, walk) -> (y, back), where back(dy) returns dx and notes the gradients of the layer's tensors, and its name in
``KINDS``.
"""

from __future__ import annotations

import statistics

import numpy as np
import reference

DROPOUT, NOISE = 4, 5  # streams of random words: fnn_stream in csrc/fastnn.h
BLOCKS_OF_A_LAYER = 1 << 44
MASK = np.uint64(0xFFFFFFFF)


class Walk:
    """What one walk over the layers knows and finds."""

    def __init__(self, net, training, draw):
        self.training, self.seed, self.draw = training, net.seed, draw
        self.random_layers = 0
        self.grads = {}  # (layer, name of its tensor) -> sum over the rows
        self.running = {}  # (layer, name) -> statistics after this batch
        self.margin = np.inf  # how far all sums stayed away from corners of their activation

    def note(self, layer, name, gradient):
        self.grads[layer, name] = self.grads.get((layer, name), 0) + gradient

    def words(self, stream, per_group, elements):
        """The random word of each element of a layer of its own, whose groups of elements share 16 blocks."""
        group, place = elements // per_group, elements % per_group
        blocks = self.random_layers * BLOCKS_OF_A_LAYER + group * 16 + place % 16
        self.random_layers += 1
        return philox(self.seed, stream, self.draw, blocks)[place % 64 // 16, np.arange(elements.size)]


def philox(seed, stream, index, blocks):
    """Philox4x32-10 of many blocks of a stream: four words of each, (4, blocks)."""
    blocks = blocks.astype(np.uint64)
    c = [blocks & MASK, blocks >> np.uint64(32) | np.uint64(stream << 24)]
    c += [np.full_like(blocks, index & 0xFFFFFFFF), np.full_like(blocks, index >> 32)]
    k0, k1 = seed & 0xFFFFFFFF, seed >> 32
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        high0, high1 = p0 >> np.uint64(32), p1 >> np.uint64(32)
        c = [high1 ^ c[1] ^ np.uint64(k0), p1 & MASK, high0 ^ c[3] ^ np.uint64(k1), p0 & MASK]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.array(c)


# ---- layers that learn -----------------------------------------------------------------------------------------------


def dense(layer, x, walk):
    weight = double(layer.weight)
    y, through = activation(layer, x @ weight + (layer.bias if layer.use_bias else 0), walk)

    def back(dy):
        dz = through(dy)
        walk.note(layer, "weight", x.T @ dz)
        if layer.use_bias:
            walk.note(layer, "bias", dz.sum(axis=0))
        return dz @ weight.T

    return y, back


def activation(layer, x, walk):
    row = layer.activation
    walk.margin = min(walk.margin, reference.to_corner(row.name, x).min())
    return row(x), lambda dy: reference.activation_gradient(row.name, x, dy)


def prelu(layer, x, walk):
    slope = double(layer.slope)
    walk.margin = min(walk.margin, np.abs(x).min())

    def back(dy):
        walk.note(layer, "slope", (dy * np.minimum(x, 0)).sum(axis=0))
        return dy * np.where(x > 0, 1, slope)

    return np.where(x > 0, x, slope * x), back


def scaled(layer, h, walk):
    """y = h . weight + bias, and what goes back into h."""
    weight = double(layer.weight)

    def back(dy):
        walk.note(layer, "weight", (dy * h).sum(axis=0))
        if layer.use_bias:
            walk.note(layer, "bias", dy.sum(axis=0))
        return dy * weight

    return h * weight + (layer.bias if layer.use_bias else 0), back


def normal(x, axis, epsilon, centred=True):
    """h = (x - mean) / sqrt(variance + epsilon) along an axis, and what goes back into x; the moments."""
    mean = x.mean(axis=axis, keepdims=True) if centred else 0.0
    variance = ((x - mean) ** 2).mean(axis=axis, keepdims=True)
    scale = 1 / np.sqrt(variance + epsilon)
    h = (x - mean) * scale

    def back(dh):
        inner = dh - h * (dh * h).mean(axis=axis, keepdims=True)
        return scale * (inner - dh.mean(axis=axis, keepdims=True) if centred else inner)

    return h, back, mean, variance


def layer_norm(layer, x, walk, centred=True):
    h, into_x, _, _ = normal(x, 1, layer.epsilon, centred)
    y, into_h = scaled(layer, h, walk)
    return y, lambda dy: into_x(into_h(dy))


def rms_norm(layer, x, walk):
    return layer_norm(layer, x, walk, centred=False)


def batch_norm(layer, x, walk):
    if not walk.training:
        scale = 1 / np.sqrt(double(layer.running_variance) + layer.epsilon)
        y, into_h = scaled(layer, (x - layer.running_mean) * scale, walk)
        return y, lambda dy: into_h(dy) * scale
    h, into_x, mean, variance = normal(x, 0, layer.epsilon)
    rows, keep = len(x), layer.momentum
    unbiased = variance[0] * (rows / (rows - 1) if rows > 1 else 1)
    walk.running[layer, "running_mean"] = keep * layer.running_mean + (1 - keep) * mean[0]
    walk.running[layer, "running_variance"] = keep * layer.running_variance + (1 - keep) * unbiased
    y, into_h = scaled(layer, h, walk)
    return y, lambda dy: into_x(into_h(dy))


def embedding(layer, x, walk):
    """Each column's vectors side by side."""
    parts = [vectors(layer, "weight", layer.weight, x[:, j], walk) for j in range(x.shape[1])]

    def back(dy):
        for (_, into), part in zip(parts, np.split(dy, len(parts), axis=1), strict=True):
            into(part)
        return np.zeros_like(x)

    return np.hstack([y for y, _ in parts]), back


def vectors(layer, name, weight, codes, walk):
    """weight[code]; anything that is none of 0, 1 .. categories - 1 is the last row."""
    categories = len(weight) - 1
    known = (codes >= 0) & (codes < categories) & (codes == np.trunc(codes))
    rows = np.where(known, codes, categories).astype(int)

    def back(dy):
        gradient = np.zeros(weight.shape)
        np.add.at(gradient, rows, dy)
        walk.note(layer, name, gradient)

    return double(weight)[rows], back


def table(layer, x, walk):
    numeric = x[:, list(layer.numeric)]
    if layer.normalize and layer.numeric:
        numeric = (numeric - layer.mean) * layer.scale
    parts = [
        vectors(layer, f"weight[{column}]", layer.weight(column), x[:, column], walk) for column in layer.categories
    ]
    ends = np.cumsum([numeric.shape[1], *(y.shape[1] for y, _ in parts)])

    def back(dy):
        dx = np.zeros_like(x)
        dx[:, list(layer.numeric)] = dy[:, : ends[0]] * (layer.scale if layer.normalize and layer.numeric else 1)
        for (_, into), first, last in zip(parts, ends, ends[1:], strict=False):
            into(dy[:, first:last])
        return dx

    return np.hstack([numeric, *(y for y, _ in parts)]), back


# ---- layers that do not --------------------------------------------------------------------------------------------


def dropout(layer, x, walk):
    if not walk.training or layer.rate == 0:
        return x, lambda dy: dy
    keep = int((1 - layer.rate) * 65536 + 0.5)
    elements = np.arange(x.size)
    words = walk.words(DROPOUT, 128, elements)
    drawn = np.where(elements % 128 < 64, words & np.uint64(0xFFFF), words >> np.uint64(16))
    factors = np.where(drawn < keep, 65536 / keep, 0.0).reshape(x.shape)
    return x * factors, lambda dy: dy * factors


def gaussian_noise(layer, x, walk):
    if not walk.training or layer.stddev == 0:
        return x, lambda dy: dy
    words = walk.words(NOISE, 64, np.arange(x.size))
    quantile = np.vectorize(statistics.NormalDist().inv_cdf, otypes=[float])
    normals = quantile((words >> np.uint64(9)) * 2.0**-23 + 2.0**-24).reshape(x.shape)
    return x + layer.stddev * normals, lambda dy: dy


def normalization(layer, x, walk):
    return (x - layer.mean) * layer.scale, lambda dy: dy * layer.scale


# ---- layers made of layers -------------------------------------------------------------------------------------------


def through(layers, x, walk):
    """One after the other."""
    backs = []
    for layer in layers:
        x, back = KINDS[type(layer).__name__](layer, x, walk)
        backs.append(back)

    def back(dy):
        for one in reversed(backs):
            dy = one(dy)
        return dy

    return x, back


def residual(layer, x, walk):
    y, inner = through(layer.layers, x, walk)
    return x + y, lambda dy: dy + inner(dy)


def side_by_side(branches, parts, walk):
    """Branches, each with its own input; what comes back is a list of gradients."""
    done = [through(branch, part, walk) for branch, part in zip(branches, parts, strict=True)]
    cuts = np.cumsum([y.shape[1] for y, _ in done])[:-1]

    def back(dy):
        return [inner(part) for (_, inner), part in zip(done, np.split(dy, cuts, axis=1), strict=True)]

    return np.hstack([y for y, _ in done]), back


def concat(layer, x, walk):
    y, back = side_by_side(layer.branches, [x] * len(layer.branches), walk)
    return y, lambda dy: sum(back(dy))


def split(layer, x, walk):
    y, back = side_by_side(layer.branches, np.split(x, np.cumsum(layer.columns)[:-1], axis=1), walk)
    return y, lambda dy: np.hstack(back(dy))


KINDS = {
    "Dense": dense, "Activation": activation, "PReLU": prelu, "LayerNorm": layer_norm, "RMSNorm": rms_norm,
    "BatchNorm": batch_norm, "Embedding": embedding, "Table": table, "Dropout": dropout,
    "GaussianNoise": gaussian_noise, "Normalization": normalization, "Residual": residual, "Concat": concat,
    "Split": split,
}  # fmt: skip


def double(array):
    return np.asarray(array, np.float64)


def run(net, X, *, training=False, draw=0):
    """The outputs, back(doutputs) -> dX, and the walk, whose gradients are there after back()."""
    walk = Walk(net, training, draw)
    y, back = through(net.layers, double(X), walk)
    if net.scale_targets:
        start, n = net._parameters.graph.rescale, net.outputs
        scale, shift = net._parameters.state[start : start + 2 * n].reshape(2, n).astype(np.float64)
        y, inner = y * scale + shift, back

        def back(dy):
            return inner(dy * scale)

    return y, back, walk


def flat_gradient(net, walk):
    """The gradients of a walk in the order of net.grads."""
    parts = [np.ravel(walk.grads[s.layer, s.name]) for s in net._parameters.graph.segments]
    return np.concatenate(parts)
