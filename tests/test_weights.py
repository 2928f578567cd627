# SPDX-License-Identifier: BSD-3-Clause
"""All numbers of a network as a list: in order, as copies, and taken over as a whole or not at all."""

import numpy as np
import pytest
import stacks
from snapshot import everything
from stacks import NARROW, STACKS

import fastnn as fn


@pytest.mark.parametrize("name", STACKS)
def test_another_network_with_the_same_weights_is_the_same(name):
    net, other = stacks.network(name, NARROW), stacks.network(name, NARROW, seed=9)
    X, _ = stacks.table(20)
    assert (net.predict(X) != other.predict(X)).any()
    weights = net.get_weights()
    assert sum(array.size for array in weights) == net._parameters.numbers.size
    other.set_weights(weights)
    assert other._parameters.numbers.tobytes() == net._parameters.numbers.tobytes()
    assert other.predict(X).tobytes() == net.predict(X).tobytes()


def test_the_order_is_that_of_the_layers():
    layers = [
        fn.Normalization(), fn.Dense(4), fn.BatchNorm(), fn.Residual([fn.RMSNorm(), fn.Dense(4, use_bias=False)]),
        fn.Concat([[], [fn.LayerNorm(), fn.PReLU()]]), fn.Dense(1),
    ]  # fmt: skip
    net = fn.Sequential(layers, inputs=1, seed=0, scale_targets=True)
    norm, dense, batch, residual, concat, last = net.layers
    rms, inner = residual.layers
    layer, prelu = concat.parts
    expected = [
        norm.mean, norm.scale, dense.weight, dense.bias, batch.weight, batch.bias, batch.running_mean,
        batch.running_variance, rms.weight, inner.weight, layer.weight, layer.bias, prelu.slope, last.weight, last.bias,
    ]  # fmt: skip
    net._parameters.numbers[:] = np.arange(net._parameters.numbers.size)
    found = net.get_weights()
    assert len(found) == len(expected) + 4 and dense.weight.shape == (1, 4)
    for array, view in zip(found, expected, strict=False):
        np.testing.assert_array_equal(array, view, strict=True)
        assert not np.shares_memory(array, view)
    assert np.concatenate(found[-4:]).tolist() == net._parameters.state[-4:].tolist()


def test_what_does_not_fit_changes_nothing():
    net = fn.Sequential([fn.Dense(2), fn.Dense(1)], inputs=3, seed=0)
    good = [np.ones(array.shape) for array in net.get_weights()]
    before = net.params.copy()
    for weights, error, message in [
        (good[:3], ValueError, "weights has 3 arrays, but the network has 4: weight of layer 0, bias of layer 0"),
        ([*good, 1.0], ValueError, "weights has 5 arrays"),
        ([*good[:3], np.ones(2)], ValueError, r"weights\[3\] has shape \(2,\), but bias of layer 1 has \(1,\)"),
        ([good[0].T, *good[1:]], ValueError, r"weights\[0\] has shape \(2, 3\), but weight of layer 0 has \(3, 2\)"),
        ([*good[:3], ["a"]], TypeError, r"weights\[3\] must hold real numbers"),
        ([*good[:3], [[1], [2, 3]]], ValueError, r"weights\[3\] is not a regular array"),
        (np.ones(9), TypeError, "must be a list of arrays, not ndarray"),
        (dict(enumerate(good)), TypeError, "must be a list of arrays, not dict"),
        ([*good[:3], {"bias": [1.0]}], TypeError, r"weights\[3\] must be an array, not dict"),
        ([*good[:3], np.ma.masked_array([1.0], [True])], ValueError, r"weights\[3\] has masked \(missing\) values"),
        (
            [*good[:3], Tensor(np.ones(1), error=TypeError("it is sparse"))],
            TypeError,
            r"weights\[3\] cannot be made an array: it is sparse",
        ),
        (3, TypeError, "must be a list of arrays, not int"),
    ]:
        with pytest.raises(error, match=message):
            net.set_weights(weights)
        assert (net.params == before).all()
    net.set_weights(good)
    assert (net.params == 1).all()


@pytest.mark.parametrize(("bad", "message"), [
    ([np.nan, 1.0, np.nan], r"weights\[1\] \(bias of layer 0\) is nan at \[0\], but must be finite \(2 of its 3 "),
    ([1.0, 1.0, -np.inf], r"weights\[1\] \(bias of layer 0\) is -inf at \[2\], but must be finite \(1 of its 3 "),
    ([1.0, 1e39, np.nan], r"weights\[1\] .* is 1e\+39 at \[1\], which is too large for float32 \(2 of its 3 values"),
    ([0, 10**400, 0], r"weights\[1\] must hold real numbers"),
])  # fmt: skip
def test_what_is_not_finite_changes_nothing(bad, message):
    net = fn.Sequential([fn.Dense(3), fn.BatchNorm(), fn.Dense(1)], inputs=2, seed=0)
    before = everything(net)
    good = net.get_weights()
    with pytest.raises((ValueError, TypeError), match=message):
        net.set_weights([good[0] + 1, bad, *good[2:]])
    assert everything(net) == before


def test_where_it_is_in_a_matrix_is_said():
    net = fn.Sequential([fn.Dense(3), fn.BatchNorm(), fn.Dense(1)], inputs=2, seed=0, dtype="float64")
    weights = net.get_weights()
    weights[0][1, 2] = np.inf
    with pytest.raises(ValueError, match=r"weights\[0\] \(weight of layer 0\) is inf at \[1, 2\], .* \(1 of its 6 "):
        net.set_weights(weights)
    weights[0][1, 2] = 1e300  # which float64 holds
    weights[5][0] = np.nan
    with pytest.raises(ValueError, match=r"weights\[5\] \(running_variance of layer 1\) is nan at \[0\]"):
        net.set_weights(weights)
    weights[5][0] = 1.0
    net.set_weights(weights)
    assert net.layers[0].weight[1, 2] == 1e300


def test_views_of_the_network_itself_may_be_given():
    net = fn.Sequential([fn.Dense(2, use_bias=False), fn.Dense(2, use_bias=False)], inputs=2, seed=0)
    first, second = net.get_weights()
    net.set_weights([net.layers[1].weight, net.layers[0].weight])
    np.testing.assert_array_equal(net.layers[0].weight, second)
    np.testing.assert_array_equal(net.layers[1].weight, first)


class Tensor:
    """As PyTorch's: no array before it is detached; its types may be none of NumPy's."""

    def __init__(self, values, grad=True, error=None):
        self.values, self.grad, self.error = values, grad, error

    def detach(self):
        return Tensor(self.values, grad=False, error=self.error)

    def cpu(self):
        return self

    def numpy(self):
        assert not self.grad
        if self.error is not None:
            raise self.error
        return self.values

    def __array__(self, *args, **kwargs):
        raise RuntimeError("call detach() first")


class BFloat16(Tensor):
    """As PyTorch's of that type."""

    def __init__(self, values):
        super().__init__(values, grad=False, error=TypeError("Got unsupported ScalarType BFloat16"))

    def detach(self):
        return self

    def float(self):
        return Tensor(self.values, grad=False)


def test_tensors_are_taken():
    net = fn.Sequential([fn.Dense(1)], inputs=2, seed=0)
    net.set_weights([Tensor(np.array([[1.0], [2.0]])), Tensor(np.array([3.0]))])
    assert net.params.tolist() == [1.0, 2.0, 3.0]
    net.set_weights([Tensor(np.array([[1.0], [2.0]])), BFloat16(np.array([4.0]))])
    assert net.params.tolist() == [1.0, 2.0, 4.0]


def test_a_negative_variance_is_refused():
    """Predictions would be NaN; it happens where the order of another library is another one."""
    net = fn.Sequential([fn.Dense(3), fn.BatchNorm()], inputs=2, seed=0)
    before = everything(net)
    *others, mean, variance = net.get_weights()
    with pytest.raises(ValueError, match=r"weights\[5\] \(running_variance of layer 1\) is -2.0 at \[1\], but a var"):
        net.set_weights([*others, variance, np.array([1.0, -2.0, 0.0])])
    assert everything(net) == before
    net.set_weights([*others, variance, mean])  # 0 is what a column that never changed has


def test_scales_that_are_set_are_not_learned_again(rng):
    def made():
        return fn.Sequential([fn.Normalization(), fn.Dense(1)], inputs=2, seed=0, scale_targets=True)

    X, y = rng.normal(5, 3, (50, 2)), rng.normal(100, 9, 50)
    net, other = made(), made()
    start = net.get_weights()
    net.fit(X, y, epochs=1, verbose=0)
    other.set_weights(net.get_weights())
    other.fit(X + 1000, y, epochs=1, verbose=0)
    np.testing.assert_array_equal(other.layers[0].mean, net.layers[0].mean)
    assert other._targets_learned
    other.set_weights(start)  # those of a network that has seen nothing: back to the beginning
    assert not other.layers[0].learned and not other._targets_learned
    other.fit(X, y, epochs=1, verbose=0)
    np.testing.assert_array_equal(other.layers[0].mean, net.layers[0].mean)


def test_training_goes_on_from_weights_that_were_set(rng):
    X, y = rng.normal(size=(64, 3)), rng.normal(size=(64, 1))
    net = fn.Sequential([fn.Dense(4, "tanh"), fn.Dense(1)], inputs=3, seed=0)
    other = fn.Sequential([fn.Dense(4, "tanh"), fn.Dense(1)], inputs=3, seed=0)
    optimizer = fn.SGD(0.1)
    for n in (net, other):
        n.train_step(X, y, "mse", optimizer)
    weights = net.get_weights()
    weights[0] *= 2
    net.set_weights(weights)
    other.layers[0].weight *= 2
    for n in (net, other):
        n.train_step(X, y, "mse", optimizer)
    assert net.params.tobytes() == other.params.tobytes()
    out = net.forward(X, training=True)
    net.set_weights(weights)
    with pytest.raises(RuntimeError, match="backward needs a forward"):
        net.backward(out)


def test_permutation_importance_of_scikit_learn(rng):
    """It asks for an object with fit; a network is one, and a function that measures it is all it needs besides."""
    inspection = pytest.importorskip("sklearn.inspection")
    X = rng.normal(size=(400, 3))
    y = 3 * X[:, 0] + X[:, 2]
    net = fn.Sequential([fn.Dense(16, "tanh"), fn.Dense(1)], seed=0)
    net.fit(X, y, optimizer=fn.Adam(0.01), epochs=40, verbose=0)
    before = net.params.copy()

    def minus_loss(net, X, y, sample_weight=None):
        return -net.evaluate(X, y, sample_weight=sample_weight)["loss"]

    found = inspection.permutation_importance(net, X, y, scoring=minus_loss, n_repeats=5, random_state=0)
    assert found.importances.shape == (3, 5) and (net.params == before).all()
    first, second, third = found.importances_mean
    assert first > 5 * third and third > 0.5 and abs(second) < 0.1
    weighted = inspection.permutation_importance(
        net, X, y, scoring=minus_loss, n_repeats=2, random_state=0, sample_weight=np.r_[np.ones(200), np.zeros(200)]
    )
    assert weighted.importances_mean[0] > 1
