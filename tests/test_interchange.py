# SPDX-License-Identifier: BSD-3-Clause
"""Networks from PyTorch's and Keras's arrays predict what those libraries do; what does not fit is said."""

import json

import numpy as np
import pytest
import record_torch_modules as recorded

import fastnn as fn

MODULES = json.loads(recorded.FILE.read_text())
NAMES = list(recorded.MODULES)


def state_dict(name):
    shapes = MODULES[name]["shapes"].items()
    return {key: recorded.values(i, key, shape) if shape else np.array(7) for i, (key, shape) in enumerate(shapes)}


def rows(name):
    return recorded.rows(name, recorded.MODULES[name][1])


# ---- PyTorch ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("float64", 1e-12)])
def test_recorded_modules_predict_the_same(name, dtype, tolerance):
    net = fn.from_torch(state_dict(name), recorded.MODULES[name][2], dtype=dtype)
    assert net.dtype == dtype
    np.testing.assert_allclose(net.predict(rows(name)), MODULES[name]["outputs"], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", NAMES)
def test_modules_of_torch_predict_the_same(name):
    torch = pytest.importorskip("torch")
    make, _, activations = recorded.MODULES[name]
    torch.manual_seed(0)
    module = make(torch.nn)
    X = torch.from_numpy(rows(name)).float()
    X = X.long() if name == "embedding" else X
    with torch.no_grad():
        module(X)  # running statistics move
        expected = module.eval()(X).numpy()
    np.testing.assert_allclose(
        fn.from_torch(module.state_dict(), activations).predict(X), expected, rtol=1e-5, atol=1e-5
    )


def test_layers_are_those_of_the_module():
    def kinds(name):
        layers = fn.from_torch(state_dict(name), recorded.MODULES[name][2]).layers
        return [type(layer).__name__ for layer in layers]

    assert kinds("mlp") == ["Dense", "Dense", "Dense"]
    assert kinds("norms") == ["Dense", "BatchNorm", "Activation", "Dense", "LayerNorm", "Activation", "Dense"]
    assert kinds("slopes") == ["Dense", "PReLU", "Dense", "PReLU", "Dense"]
    assert kinds("norm first") == ["BatchNorm", "Dense"]
    net = fn.from_torch(state_dict("embedding"), "silu")
    assert (net.inputs, net.layers[0].categories, net.layers[0].units) == (3, 7, 2)
    assert (net.layers[0].weight[7] == 0).all()
    single = fn.from_torch(state_dict("mlp"), "relu").layers
    assert [layer.activation.name for layer in single] == ["relu", "relu", "linear"]


def test_a_network_that_is_there_is_filled():
    """What has no numbers may stand anywhere: dropout, activations before a norm, a way around."""
    weights = state_dict("norms")
    net = fn.Sequential(
        [
            fn.Normalization(), fn.Dense(5, "relu", use_bias=False), fn.Dropout(0.5), fn.BatchNorm(), fn.Dense(4),
            fn.Residual([fn.LayerNorm(), fn.Activation("gelu")]), fn.Dense(2),
        ],
        inputs=3, dtype="float64",
    )  # fmt: skip
    net.layers[0].mean = [1.0, 2.0, 3.0]
    assert fn.from_torch(weights, into=net) is net
    x = rows("norms") - [1.0, 2.0, 3.0]
    x = np.maximum(x @ weights["0.weight"].T, 0)
    x = (x - weights["1.running_mean"]) / np.sqrt(weights["1.running_var"] + 1e-5)
    x = (x * weights["1.weight"] + weights["1.bias"]) @ weights["3.weight"].T + weights["3.bias"]
    normal = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
    x = x + fn.activations["gelu"](normal * weights["4.weight"] + weights["4.bias"])
    np.testing.assert_allclose(net.predict(rows("norms")), x @ weights["6.weight"].T + weights["6.bias"], rtol=1e-12)
    assert net.layers[0].mean.tolist() == [1.0, 2.0, 3.0]


def test_a_table_takes_one_embedding_for_each_column(rng):
    weights = {
        "a.weight": rng.normal(size=(4, 2)),
        "b.weight": rng.normal(size=(3, 2)),
        "out.weight": rng.normal(size=(1, 5)),
    }
    layers = [fn.Table([0], {1: 4, 2: 3}, units=2, normalize=False), fn.Dense(1, use_bias=False)]
    net = fn.from_torch(weights, into=fn.Sequential(layers, inputs=3, dtype="float64"))
    x = np.r_[0.5, weights["a.weight"][3], weights["b.weight"][0]]
    np.testing.assert_allclose(net.predict([0.5, 3, 0])[0], weights["out.weight"] @ x)
    np.testing.assert_allclose(net.predict([0.5, 9, 0])[0], weights["out.weight"] @ np.r_[0.5, 0, 0, x[3:]])


def test_slopes_of_columns_need_a_network_that_has_them(rng):
    """A vector without a bias may be a norm as well: nothing is guessed."""
    weights = {"0.weight": rng.normal(size=(4, 3)), "1.weight": rng.normal(size=4), "2.weight": rng.normal(size=(1, 4))}
    with pytest.raises(
        ValueError, match="1 has a weight of 4 numbers and no bias: that may be a PReLU, a LayerNorm or"
    ):
        fn.from_torch(weights, [None, None])
    X = rng.normal(size=(5, 3))
    z = X @ weights["0.weight"].T
    normal = z / np.sqrt((z**2).mean(1, keepdims=True) + 1e-6) * weights["1.weight"]
    for layer, expected in [(fn.PReLU(), np.where(z > 0, z, weights["1.weight"] * z)), (fn.RMSNorm(), normal)]:
        layers = [fn.Dense(4, use_bias=False), layer, fn.Dense(1, use_bias=False)]
        net = fn.from_torch(weights, into=fn.Sequential(layers, inputs=3, dtype="float64"))
        np.testing.assert_allclose(net.predict(X), expected @ weights["2.weight"].T, rtol=1e-10)


def test_what_does_not_fit_is_named():
    good = state_dict("mlp")
    for weights, activations, message in [
        (good, None, r"activations are needed, one for each of 0, 3, 5: such as \['relu', 'relu', None\]"),
        (good, ["relu"], "activations has 1 entries, but there are 3: 0, 3, 5"),
        (good, ["relu", "rel", None], "unknown activation 'rel'"),
        ({}, "relu", "state_dict is empty"),
        ({**good, "3.weight": np.ones((4, 6))}, "relu", "3 reads 6 columns, but the layer before it has 5 units"),
        ({**good, "6.weight_ih": np.ones((4, 6))}, "relu", r"'6.weight_ih'\] with shape \(4, 6\) belongs to no layer"),
        ({**good, "6.weight": np.ones((4, 6, 2))}, "relu", "belongs to no layer that fastnn knows"),
        ({**good, "0.bias": np.ones(4)}, "relu", r"bias of 0 has shape \(4,\), but that of layer 0"),
        (state_dict("slopes"), "relu", "1 is a PReLU: the activation before it must be None, not 'relu'"),
        (
            {**good, "6.weight": np.ones(3), "6.bias": np.ones(3)},
            "relu",
            "6 has 3 numbers, but the layer before it has 2",
        ),
        ({"0.weight": np.ones((9, 4)), "1.weight": np.ones((2, 3))}, [None], "no multiple of 4"),
    ]:
        with pytest.raises(ValueError, match=message):
            fn.from_torch(weights, activations)
    with pytest.raises(TypeError, match=r"state_dict must be a dict of arrays, not list: module.state_dict\(\)"):
        fn.from_torch([1, 2], "relu")
    with pytest.raises(TypeError, match=r"state_dict\['0.weight'\] must hold real numbers"):
        fn.from_torch({"0.weight": np.array([["a"]])}, "relu")
    with pytest.raises(TypeError, match=r"state_dict\['model'\] must be an array, not dict: is that what"):
        fn.from_torch({"model": good, "epoch": 3}, "relu")


def test_a_network_that_cannot_be_filled_stays_as_it_was():
    net = fn.Sequential([fn.Dense(5), fn.Dense(4), fn.Dense(2)], inputs=3, seed=0)
    before = net.params.copy()
    good = state_dict("mlp")
    for weights, message in [
        ({**good, "5.weight": np.ones((2, 5))}, r"weight of 5 has shape \(5, 2\), but that of layer 2"),
        (
            {key: good[key] for key in list(good)[:4]},
            r"there are 2 modules, 0, 3, but 3 layers with numbers: Dense \(layer 0\)",
        ),
        ({key: value for key, value in good.items() if key != "3.bias"}, "3 has no bias, but layer 1, Dense"),
        ({**good, "5.running_mean": np.ones(2)}, "5 has running_mean, but layer 2, Dense"),
    ]:
        with pytest.raises(ValueError, match=message):
            fn.from_torch(weights, into=net)
        assert (net.params == before).all()
    with pytest.raises(ValueError, match="both given"):
        fn.from_torch(good, "relu", into=net)
    with pytest.raises(TypeError, match="into must be a Sequential, not list"):
        fn.from_torch(good, into=[])


def test_what_is_not_finite_is_named():
    good = state_dict("mlp")
    bad = good["3.weight"].copy()
    bad[1, 4] = bad[2, 0] = np.nan  # (units, inputs), as they were given
    net = fn.Sequential([fn.Dense(5), fn.Dense(4), fn.Dense(2)], inputs=3, seed=0)
    before = net.params.copy()
    for how in ({"activations": "relu"}, {"into": net}):
        with pytest.raises(ValueError, match=r"weight of 3 is nan at \[1, 4\], but must be finite \(2 of its 20 "):
            fn.from_torch({**good, "3.weight": bad}, **how)
        with pytest.raises(ValueError, match=r"bias of 5 is 1e\+39 at \[1\], which is too large for float32"):
            fn.from_torch({**good, "5.bias": np.array([0.0, 1e39])}, **how)
        assert (net.params == before).all()
    large = fn.from_torch({**good, "5.bias": np.array([0.0, 1e39])}, "relu", dtype="float64")
    assert large.layers[2].bias[1] == 1e39


# ---- Keras -----------------------------------------------------------------------------------------------------------


def dense(x, kernel, bias=0.0):
    return x @ kernel + bias


def batch_norm(x, gamma, beta, mean, variance):
    """Keras's BatchNormalization in inference; its epsilon is 1e-3."""
    return gamma * (x - mean) / np.sqrt(variance + 1e-3) + beta


def layer_norm(x, gamma, beta):
    """Keras's LayerNormalization; its epsilon is 1e-3."""
    return gamma * (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-3) + beta


def vectors(rng, n, count):
    return [rng.uniform(0.5, 1.5, n) for _ in range(count)]


@pytest.mark.parametrize("named", [False, True])
def test_a_list_of_keras_predicts_what_its_layers_do(named, rng):
    k1, k2, k3 = rng.normal(size=(3, 5)), rng.normal(size=(5, 4)), rng.normal(size=(4, 2))
    (b1, *norm1), (b2, *norm2), (b3,) = vectors(rng, 5, 5), vectors(rng, 4, 3), vectors(rng, 2, 1)
    weights = [k1, b1, *norm1, k2, b2, *norm2, k3, b3]
    if named:
        names = ["d1/kernel", "d1/bias", "bn/gamma", "bn/beta", "bn/moving_mean", "bn/moving_variance", "d2/kernel",
                 "d2/bias", "ln/gamma", "ln/beta", "d3/kernel", "d3/bias"]  # fmt: skip
        weights = {f"model/{name}": array for name, array in zip(names, weights, strict=True)}
    net = fn.from_keras(weights, ["relu", "tanh", "softmax"], dtype="float64")
    X = rng.normal(size=(7, 3))
    x = np.maximum(batch_norm(dense(X, k1, b1), *norm1), 0)
    x = np.tanh(layer_norm(dense(x, k2, b2), *norm2))
    np.testing.assert_allclose(net.predict(X), fn.activations["softmax"](dense(x, k3, b3)), rtol=1e-11)


def test_names_tell_what_shapes_do_not(rng):
    k, (gamma, beta, mean, variance), last = rng.normal(size=(3, 4)), vectors(rng, 4, 4), rng.normal(size=(4, 1))
    with pytest.raises(ValueError, match=r"weights\[0\], a kernel of shape \(3, 4\), is followed by 4 vectors"):
        fn.from_keras([k, gamma, beta, mean, variance, last], "relu")
    named = {"a/kernel": k, "b/gamma": gamma, "b/beta": beta, "b/moving_mean": mean, "b/moving_variance": variance,
             "c/kernel": last}  # fmt: skip
    X = rng.normal(size=(5, 3))
    expected = np.maximum(batch_norm(X @ k, gamma, beta, mean, variance), 0) @ last
    np.testing.assert_allclose(fn.from_keras(named, "relu", dtype="float64").predict(X), expected, rtol=1e-12)
    layers = [
        fn.Dense(4, use_bias=False),
        fn.BatchNorm(epsilon=1e-3),
        fn.Activation("relu"),
        fn.Dense(1, use_bias=False),
    ]
    net = fn.Sequential(layers, inputs=3, dtype="float64")
    fn.from_keras(list(named.values()), into=net)
    np.testing.assert_allclose(net.predict(X), expected, rtol=1e-12)


@pytest.mark.parametrize("kept", ["gamma", "beta"])
def test_a_layer_norm_may_have_one_vector(kept, rng):
    k, vector, last = rng.normal(size=(3, 4)), *vectors(rng, 4, 1), rng.normal(size=(4, 1))
    net = fn.from_keras({"a/kernel": k, f"b/{kept}": vector, "c/kernel": last}, [None, None], dtype="float64")
    X = rng.normal(size=(5, 3))
    gamma, beta = (vector, 0.0) if kept == "gamma" else (1.0, vector)
    np.testing.assert_allclose(net.predict(X), layer_norm(X @ k, gamma, beta) @ last, rtol=1e-11)


def test_the_name_that_means_something_else_in_keras_needs_its_slope(rng):
    weights = [rng.normal(size=(3, 4)), np.ones(4), rng.normal(size=(4, 2)), np.ones(2)]
    for activations in ("leaky_relu", ["leaky_relu", None], ("relu", "leaky_relu")):
        with pytest.raises(ValueError, match=r"'leaky_relu' has slope 0.2 .* as in 'leaky_relu\(0.2\)'"):
            fn.from_keras(weights, activations)
    X = rng.normal(size=(5, 3))
    z = X @ weights[0] + 1
    expected = np.where(z > 0, z, 0.2 * z) @ weights[2] + 1
    for activation in ("leaky_relu(0.2)", fn.LeakyReLU(0.2)):
        net = fn.from_keras(weights, iter([activation, None]), dtype="float64")
        np.testing.assert_allclose(net.predict(X), expected, rtol=1e-12)


def test_slopes_and_embeddings_of_keras(rng):
    table, k, b, alpha = rng.normal(size=(6, 2)), rng.normal(size=(4, 3)), *vectors(rng, 3, 2)
    last = rng.normal(size=(3, 1))
    named = {"e/embeddings": table, "d/kernel": k, "d/bias": b, "p/alpha": alpha, "o/kernel": last}
    X = rng.integers(0, 6, (8, 2))
    z = table[X].reshape(8, 4) @ k + b
    expected = np.where(z > 0, z, alpha * z) @ last
    np.testing.assert_allclose(fn.from_keras(named, [None, None], dtype="float64").predict(X), expected, rtol=1e-12)
    layers = [fn.Embedding(6, 2), fn.Dense(3), fn.PReLU(), fn.Dense(1, use_bias=False)]
    net = fn.from_keras(list(named.values()), into=fn.Sequential(layers, inputs=2, dtype="float64"))
    np.testing.assert_allclose(net.predict(X), expected, rtol=1e-12)


def test_what_keras_has_given_wrongly_is_named(rng):
    k, b = rng.normal(size=(3, 4)), np.ones(4)
    net = fn.Sequential([fn.Dense(4)], inputs=3, seed=0)
    for weights, arguments, message in [
        ([], {"activations": "relu"}, "weights is empty"),
        ([b, k], {"activations": "relu"}, r"weights\[0\] has shape \(4,\), where a kernel"),
        ([k, b, b], {"activations": "relu"}, "followed by 2 vectors, which may mean several layers"),
        ([k], {"into": net}, r"weights has 1 arrays, too few: layer 0 needs weight, bias \(for norms .* give names"),
        ([k, b, b], {"into": net}, "weights has 3 arrays, but the layers of the network need 2"),
        (
            {"a/kernel": k, "a/seed": b},
            {"activations": "relu"},
            r"'a/seed'\] with shape \(4,\) belongs to no layer",
        ),
        ([k, b], {"activations": [None], "epsilon": 0.0}, "epsilon must be finite and above 0"),
        ([k, b * np.inf], {"activations": [None]}, r"bias of weights\[0\] is inf at \[0\], but must be finite \(4 of"),
        ([k, b * np.inf], {"into": net}, r"bias of weights\[0\] is inf at \[0\], but must be finite \(4 of its 4"),
        ({"a/kernel": k, "a/bias": b * np.nan}, {"into": net}, r"bias of a is nan at \[0\]"),
        (
            [k, b, b, b, -b, -b],
            {"activations": [None]},
            r"running_variance of weights\[2\] is -1.0 at \[0\], but",
        ),
    ]:
        with pytest.raises(ValueError, match=message):
            fn.from_keras(weights, **arguments)
    with pytest.raises(TypeError, match=r"must be a list of arrays, not ndarray: model.get_weights\(\)"):
        fn.from_keras(k, "relu")


def test_it_goes_round(rng):
    """What fastnn lists as Keras does, comes back from the list."""
    net = fn.Sequential([fn.Dense(6, "tanh"), fn.Dense(2)], inputs=3, seed=0)
    X = rng.normal(size=(5, 3))
    again = fn.from_keras(net.get_weights(), ["tanh", None])
    assert again.predict(X).tobytes() == net.predict(X).tobytes()
    into = fn.Sequential([fn.Dense(6, "tanh"), fn.Dense(2)], inputs=3, seed=1)
    into.set_weights(net.get_weights())
    assert into.params.tobytes() == net.params.tobytes()
