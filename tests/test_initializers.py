# SPDX-License-Identifier: BSD-3-Clause
"""Every initializer of the registry: its range and spread, and that weights depend on seed, tensor and place alone."""

import hashlib
import math
import pickle
from statistics import NormalDist

import numpy as np
import pytest
from registries import check_row

import fastnn as fn
from fastnn import _core

# name -> standard deviation, as a function of (inputs, units).
UNIFORM = {
    "glorot_uniform": lambda i, o: math.sqrt(2 / (i + o)),
    "he_uniform": lambda i, o: math.sqrt(2 / i),
    "lecun_uniform": lambda i, o: math.sqrt(1 / i),
}
NORMAL = {name.replace("uniform", "normal"): deviation for name, deviation in UNIFORM.items()}
CONSTANT = {"zeros": 0.0, "ones": 1.0, "constant": 0.0}
WIDE, TALL = (300, 200), (1000, 50)


def draw(name, seed=0, segment=0, shape=WIDE, dtype="float64"):
    return fn.initializers[name].draw(seed=seed, segment=segment, shape=shape, dtype=dtype)


@pytest.mark.parametrize("name", fn.initializers)
def test_row_has_formula_and_running_example(name):
    row = fn.initializers[name]
    check_row(row, row.formula)
    assert row.name == name
    assert name in {*UNIFORM, *NORMAL, *CONSTANT, "orthogonal"}, "what distribution is it to have?"


@pytest.mark.parametrize("shape", [WIDE, TALL])
@pytest.mark.parametrize("name", [*UNIFORM, *NORMAL])
def test_mean_spread_and_distribution(name, shape):
    w = draw(name, shape=shape)
    deviation = (UNIFORM | NORMAL)[name](*shape)
    assert w.shape == shape
    # Five standard errors of the mean; the fourth moment, 1.8 and 3, bounds the error of the spread.
    assert abs(w.mean()) <= 5 * deviation / math.sqrt(w.size)
    assert abs(w.std() - deviation) <= 5 * deviation / math.sqrt(2 * w.size)
    # As many in each of 50 bins of equal chance, by chi-square: mean 49, standard deviation 9.9.
    inner = np.arange(1, 50) / 50
    if name in UNIFORM:
        limit = math.sqrt(3) * deviation
        assert 0.999 * limit < np.abs(w).max() <= limit
        edges = (2 * inner - 1) * limit
    else:
        assert 3.5 * deviation < np.abs(w).max() < 6.4 * deviation  # not truncated
        edges = np.array([NormalDist(0, deviation).inv_cdf(share) for share in inner])
    counts = np.bincount(np.searchsorted(edges, w.ravel()), minlength=50)
    assert ((counts - w.size / 50) ** 2 / (w.size / 50)).sum() < 49 + 6 * 9.9
    # Neighbours in a row and in a column know nothing of each other.
    for left, right in ((w[:, 1:], w[:, :-1]), (w[1:], w[:-1])):
        assert abs(np.corrcoef(left.ravel(), right.ravel())[0, 1]) < 5 / math.sqrt(w.size)


@pytest.mark.parametrize("name", CONSTANT)
def test_constants(name):
    np.testing.assert_array_equal(draw(name), np.full(WIDE, CONSTANT[name]))


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (31, 31), (32, 33), (33, 32), (200, 70), (70, 200)])
def test_orthogonal_rows_or_columns(shape):
    w = draw("orthogonal", shape=shape)
    gram = w.T @ w if shape[0] >= shape[1] else w @ w.T
    assert w.shape == shape
    np.testing.assert_allclose(gram, np.eye(min(shape)), rtol=0, atol=1e-14)


def test_orthogonal_favours_no_direction():
    """The entries of a uniform orthogonal matrix have mean 0 and variance 1/n; its determinant has either sign."""
    many = np.stack([draw("orthogonal", seed=seed, shape=(4, 4)) for seed in range(2000)])
    assert np.abs(many.mean(axis=0)).max() < 5 * 0.5 / math.sqrt(2000)
    assert np.abs((many**2).mean(axis=0) - 0.25).max() < 5 * 0.25 / math.sqrt(2000)
    assert abs(np.sign(np.linalg.det(many)).mean()) < 5 / math.sqrt(2000)


@pytest.mark.parametrize("name", [name for name in fn.initializers if name not in CONSTANT])
def test_a_weight_is_a_function_of_seed_tensor_and_place(name):
    w = draw(name)
    np.testing.assert_array_equal(draw(name), w)
    np.testing.assert_array_equal(draw(name, dtype="float32"), w.astype(np.float32))
    for other in (draw(name, seed=1), draw(name, seed=2**63), draw(name, segment=1), draw(name, segment=2)):
        assert (other != w).mean() > 0.999
        assert abs(np.corrcoef(other.ravel(), w.ravel())[0, 1]) < 5 / math.sqrt(w.size)


def test_the_first_weights_are_these_everywhere():
    """Recorded: the generator's words by integer arithmetic, the rest rounded alike by every machine."""
    found = [value.hex() for value in draw("he_uniform", seed=7, segment=3, shape=(6, 1)).ravel()[:4].tolist()]
    words = np.empty(4, np.uint32)
    _core.random_words(7, _core.STREAM_INITIAL, 3, words)
    assert found == [((int(word) + 0.5) * 2.0**-31 - 1.0).hex() for word in words]  # sqrt(6 / 6) is 1


# The first four numbers of seed 7, tensor 3, shape (6, 4); and the hash of shape (50, 70) in float64.
RECORDED: dict[str, tuple[list[str], str]] = {
    "glorot_uniform": (
        ["0x1.e39318d59de9fp-2", "-0x1.3b0afb2a40a16p-1", "0x1.ac0b482460f8fp-3", "0x1.96808816e42eap-2"],
        "b38150905a1fe399",
    ),
    "he_uniform": (
        ["0x1.3825643a00000p-1", "-0x1.96b7f80a00000p-1", "0x1.144d1f4c00000p-2", "0x1.06655dc600000p-1"],
        "51ce35ff4253d7a3",
    ),
    "lecun_uniform": (
        ["0x1.b970f1fae2532p-2", "-0x1.1f97efa2263a3p-1", "0x1.86bfbda50de2ep-3", "0x1.73157c53e6d26p-2"],
        "aab886956b22e540",
    ),
    "glorot_normal": (
        ["0x1.89607be11160fp-2", "-0x1.21ce977a27f89p-1", "0x1.3be2b3c945bc4p-3", "0x1.3df13cbc83c58p-2"],
        "71d514fa00856c65",
    ),
    "he_normal": (
        ["0x1.fbd8edff9cec6p-2", "-0x1.7623a45cef4abp-1", "0x1.97ce76b7eaf06p-3", "0x1.9a7637ab37d75p-2"],
        "87827421338314be",
    ),
    "lecun_normal": (
        ["0x1.671a321f77c1dp-2", "-0x1.088e6f3411ef3p-1", "0x1.205cdc95aad7fp-3", "0x1.223d85267a2e5p-2"],
        "cf7ef23004f4c243",
    ),
    "orthogonal": (
        ["0x1.cc58cb23b5d7ap-2", "-0x1.61fbc1c2baa9dp-1", "0x1.816053355a5ddp-3", "0x1.a74aa04b80046p-2"],
        "59bc5e1596b5dd2b",
    ),
}


@pytest.mark.parametrize("name", [name for name in fn.initializers if name not in CONSTANT])
def test_the_same_numbers_everywhere(name, isa):
    first, digest = RECORDED[name]
    w = draw(name, seed=7, segment=3, shape=(6, 4))
    assert [value.hex() for value in w[0].tolist()] == first
    large = np.ascontiguousarray(draw(name, seed=7, segment=3, shape=(50, 70)).astype("<f8"))
    assert hashlib.sha256(large.tobytes()).hexdigest()[:16] == digest


@pytest.mark.parametrize("name", fn.activations)
def test_auto_follows_the_activation(name):
    row = fn.activations[name]
    net = fn.Sequential([fn.Dense(5, name), fn.Dense(3)], inputs=4, seed=9)
    expected = fn.initializers[row.initializer].draw(seed=9, segment=0, shape=(4, 5), dtype="float32")
    np.testing.assert_array_equal(net.layers[0].weight, expected)
    expected = fn.initializers["glorot_uniform"].draw(seed=9, segment=2, shape=(5, 3), dtype="float32")
    np.testing.assert_array_equal(net.layers[1].weight, expected)
    assert (net.layers[0].bias == 0).all() and (net.layers[1].bias == 0).all()


@pytest.mark.parametrize("name", fn.initializers)
def test_by_name_or_by_row(name):
    nets = [fn.Sequential([fn.Dense(3, initializer=kind)], inputs=4, seed=1) for kind in (name, fn.initializers[name])]
    expected = draw(name, seed=1, shape=(4, 3), dtype="float32")
    for net in nets:
        np.testing.assert_array_equal(net.layers[0].weight, expected)


@pytest.mark.parametrize(
    "alias, name", {"glorot": "glorot_uniform", "he": "he_uniform", "lecun": "lecun_uniform"}.items()
)
def test_short_names_are_the_uniform_ones(alias, name):
    assert fn.initializers[alias] is fn.initializers[name] and alias in fn.initializers
    assert alias not in list(fn.initializers)
    assert fn.Dense(3, initializer=alias).initializer == name
    with pytest.raises(ValueError, match="cannot be another name"):
        fn.initializers.alias(name, "zeros")


def test_constants_of_ones_own():
    layers = [fn.Dense(3, initializer=fn.Constant(0.25), bias_initializer="constant(-1)"), fn.Dense(1)]
    net = fn.Sequential(layers, inputs=2, seed=0)
    assert (net.layers[0].weight == 0.25).all() and (net.layers[0].bias == -1).all()
    assert (net.layers[1].bias == 0).all()
    again = pickle.loads(pickle.dumps(fn.Dense(3, initializer=fn.Constant(0.25), bias_initializer="constant(-1)")))
    assert (again.initializer, again.bias_initializer) == ("constant(0.25)", "constant(-1.0)")
    assert pickle.loads(pickle.dumps(fn.Constant(0.25))) == fn.Constant(0.25) != fn.Constant(0.5)


@pytest.mark.parametrize(
    "wrong", ["constant(", "constant(x)", "constant(0.1", "constant(nan)", "constant(inf)", "zeros(1)", "he_unifrom"]
)
def test_a_wrong_initializer_is_refused(wrong):
    for argument in ("initializer", "bias_initializer"):
        with pytest.raises(ValueError, match=r"initializer|constant"):
            fn.Dense(3, **{argument: wrong})
        with pytest.raises(TypeError, match=argument):
            fn.Dense(3, **{argument: 0.1})
    with pytest.raises(ValueError, match="finite"):
        fn.Constant(math.inf)


def test_a_parameter_is_checked_wherever_it_comes_from():
    constant = fn.initializers["constant"]
    assert constant.with_parameter(2) == fn.Constant(2.0)
    for wrong, error in ((math.nan, ValueError), (math.inf, ValueError), ("1", TypeError), (True, TypeError)):
        with pytest.raises(error, match="value"):
            constant.with_parameter(wrong)
    with pytest.raises(ValueError, match="the initializer zeros has no parameter"):
        fn.initializers["zeros"].with_parameter(1.0)
    with pytest.raises(TypeError, match="value"):
        fn.Constant("0.1")


def test_when_the_inputs_become_known_makes_no_difference(rng):
    X = rng.normal(size=(4, 6))
    early = fn.Sequential([fn.Dense(5, "relu"), fn.Dense(1)], inputs=6, seed=3)
    late = fn.Sequential([fn.Dense(5, "relu"), fn.Dense(1)], seed=3)
    late.fit(X, X[:, 0], epochs=0, verbose=0)
    np.testing.assert_array_equal(late.params, early.params)


def test_a_seed_of_its_own_is_drawn_and_recorded():
    a, b = (fn.Sequential([fn.Dense(3)], inputs=4) for _ in range(2))
    assert a.seed != b.seed and (a.params != b.params).any()
    np.testing.assert_array_equal(fn.Sequential([fn.Dense(3)], inputs=4, seed=a.seed).params, a.params)
