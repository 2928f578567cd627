# SPDX-License-Identifier: BSD-3-Clause
"""Every activation of the registry: its formula on each instruction set, its derivative, its example.

An identity weight makes z what the test wants it to be: each product with 0 and 1 and each sum with 0 is exact.
"""

import numpy as np
import pytest
import reference
from registries import check_row

import fastnn as fn

SIZES = [1, 7, 8, 9, 15, 16, 17, 31, 33, 100]
ROWS = [0, 1, 7, 8, 9, 15, 16, 17, 31, 33, 100]
UNIT = {"float32": 2.0**-23, "float64": 2.0**-52}
# Allowed error: units of the result, plus for each output summed over.
ROUNDINGS = 6


def identity(n, *layers, dtype="float32"):
    """A network of n inputs whose first sums are its inputs."""
    first = fn.Dense(n, use_bias=False)
    net = fn.Sequential([first, *layers], inputs=n, seed=0, dtype=dtype)
    first.weight[...] = np.eye(n)
    return net


# What a result's error is relative to, where that is not the result: the terms of a sum that may cancel, and, in the
# tail of the normal distribution, what the rounding of z / sqrt(2) means for the oracle.
SIZE = {
    "gelu": lambda z, exact: np.abs(exact) * (1 + z * z),
    "hard_sigmoid": lambda z, exact: np.ones_like(exact),
    "hard_swish": lambda z, exact: np.abs(z),
}


def near(found, name, z, dtype):
    """Within some units of the formula's value; below the smallest normal number everything counts as 0."""
    z = np.asarray(z, np.float64)
    exact = fn.activations[name](z)
    size = SIZE.get(name, lambda z, exact: np.abs(exact))(z, exact) + np.finfo(dtype).smallest_normal / UNIT[dtype]
    assert (np.abs(found - exact) <= (ROUNDINGS + found.shape[1]) * UNIT[dtype] * size).all()


def away_from_0(z):
    """Where differences would see both sides of a corner."""
    return np.where(np.abs(z) < 0.01, 0.1, z)


@pytest.mark.parametrize("name", fn.activations)
def test_row_has_formula_derivative_and_running_example(name):
    row = fn.activations[name]
    check_row(row, row.formula, row.derivative)
    assert row.name == name and row.initializer in fn.initializers


@pytest.mark.parametrize("dtype", UNIT)
@pytest.mark.parametrize("name", fn.activations)
def test_formula(name, dtype, isa, rng):
    """Fused behind a product, and as an operation of its own (behind another activation)."""
    for n in SIZES:
        for rows in ROWS if n in (1, 17, 33) else (3,):
            z = rng.normal(scale=3, size=(rows, n)).astype(dtype)
            near(identity(n, fn.Activation(name), dtype=dtype).predict(z), name, z, dtype)
            behind = identity(n, fn.Activation("relu"), fn.Activation(name), dtype=dtype)
            near(behind.predict(z), name, np.maximum(z, 0), dtype)


@pytest.mark.parametrize("dtype", UNIT)
@pytest.mark.parametrize("name", fn.activations)
def test_derivative(name, dtype, isa, rng):
    """dL/dz by backward against the reference's: checked by differences below, or made by them."""
    for n in SIZES:
        for rows in (1, 5, 33):
            z, da = away_from_0(rng.normal(size=(2, rows, n))).astype(dtype)
            net = identity(n, fn.Activation(name), dtype=dtype)
            net.forward(z, training=True)
            exact = reference.activation_gradient(name, z.astype(np.float64), da.astype(np.float64))
            tolerance = max((ROUNDINGS + 2 * n) * UNIT[dtype], 0 if name in reference.DERIVATIVES else 1e-9)
            np.testing.assert_allclose(net.backward(da), exact, rtol=tolerance, atol=tolerance * np.abs(da).max())


@pytest.mark.parametrize("name", reference.DERIVATIVES)
def test_derivative_of_the_formula_by_differences(name, rng):
    z, da = away_from_0(rng.normal(size=(2, 5, 9)))
    expected = reference.by_differences(fn.activations[name], z, da, reference.to_corner(name, z))
    np.testing.assert_allclose(reference.activation_gradient(name, z, da), expected, rtol=1e-7, atol=1e-9)


EXTREMES = [0, 1e-45, -1e-45, 1, -1, 88, -88, 104, -104, 1e8, -1e8, 3.4028235e38, -3.4028235e38]


@pytest.mark.parametrize("dtype", UNIT)
@pytest.mark.parametrize("name", fn.activations)
def test_extreme_sums_give_finite_values(name, dtype, isa):
    z = np.array([EXTREMES, EXTREMES[::-1], *([e] * len(EXTREMES) for e in EXTREMES)], dtype)
    found = identity(z.shape[1], fn.Activation(name), dtype=dtype).predict(z)
    with np.errstate(over="ignore"):
        held = np.abs(fn.activations[name](z)) <= np.finfo(dtype).max  # selu alone goes beyond the largest number
    assert np.isfinite(found[held]).all() and (held.all() or name == "selu")
    if name in ("softmax", "sigmoid"):
        assert found.min() >= 0 and found.max() <= 1
    if name == "softmax":
        np.testing.assert_allclose(found.sum(axis=1, dtype=np.float64), 1, rtol=20 * UNIT[dtype])
    # Denormals are zero, in and out.
    tiny = np.finfo(dtype).smallest_normal
    exact = fn.activations[name](np.where(np.abs(z) < tiny, 0, z))
    # A factor below the smallest normal number is 0, whatever it multiplies.
    near_enough = np.abs(found - exact) <= 40 * UNIT[dtype] * np.abs(exact) + tiny * np.maximum(1, np.abs(z))
    assert near_enough[held].all()


@pytest.mark.parametrize("name", fn.activations)
def test_not_a_number_stays_visible(name, isa):
    """A NaN in the weights is never turned into a number: predict shows it."""
    net = fn.Sequential([fn.Dense(9, name)], inputs=3, seed=0)
    net.layers[0].bias[4] = np.nan
    found = net.predict(np.ones((2, 3)))
    assert np.isnan(found[:, 4]).all()


@pytest.mark.parametrize("name", fn.activations)
def test_behind_a_layer_or_as_a_layer_is_the_same(name, rng):
    X = rng.normal(size=(20, 5)).astype(np.float32)
    joint = fn.Sequential([fn.Dense(9, name)], inputs=5, seed=1)
    apart = fn.Sequential(
        [fn.Dense(9, initializer=fn.activations[name].initializer), fn.Activation(name)], inputs=5, seed=1
    )
    np.testing.assert_array_equal(joint.predict(X), apart.predict(X))


def test_a_parameter_is_checked_wherever_it_comes_from():
    assert fn.activations["elu"].with_parameter(2) == fn.ELU(2.0)
    assert fn.activations["leaky_relu"].with_parameter(0).parameter == 0.0
    for name, wrong, error in [
        ("elu", -0.5, ValueError), ("elu", 0, ValueError), ("elu", np.inf, ValueError), ("elu", "1", TypeError),
        ("leaky_relu", -0.1, ValueError), ("leaky_relu", np.nan, ValueError), ("leaky_relu", True, TypeError),
    ]:  # fmt: skip
        with pytest.raises(error, match=f"the parameter of {name}"):
            fn.activations[name].with_parameter(wrong)
    with pytest.raises(ValueError, match="the activation relu has no parameter"):
        fn.activations["relu"].with_parameter(3)


class Row:
    """Multiply by two."""

    name = "double"


@pytest.mark.parametrize(
    "doc, formula, complaint",
    [
        (None, "2 z", "no docstring"),
        ("Twice.", "2 z", "no example"),
        ("Twice.\n\n    >>> 2 * 2\n    5\n", "2 z", "Expected"),
        ("Twice.\n\n    >>> 2 * 2\n    4\n", " ", "lacks a formula"),
    ],
)
def test_the_walk_over_the_registries_sees_what_is_missing(doc, formula, complaint):
    row = Row()
    row.__doc__ = "Twice.\n\n    >>> 2 * 2\n    4\n"
    check_row(row, "2 z")
    row.__doc__ = doc
    with pytest.raises(AssertionError, match=complaint):
        check_row(row, formula)
