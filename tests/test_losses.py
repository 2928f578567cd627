# SPDX-License-Identifier: BSD-3-Clause
"""Every loss of the registry: its formula and gradient on each instruction set, and at the ends of the number range.

The network is one layer of n outputs without weights worth speaking of: its bias is the row of outputs z, and the
gradient of the bias is the loss's gradient.
"""

import pickle

import numpy as np
import pytest
import reference
from registries import check_row

import fastnn as fn
from fastnn import _core, inputs
from fastnn.losses import loss_from_config, resolve_loss

SIZES = [1, 7, 8, 9, 15, 16, 17, 31, 33, 100]
UNIT = {"float32": 2.0**-23, "float64": 2.0**-52}
EXTREMES = [0, 1e-45, -1e-45, 88, -88, 104, -104, 1e8, -1e8, 3.4028235e38, -3.4028235e38]


def quantiles(n):
    return fn.Quantile([(i + 1) / (n + 1) for i in range(n)])


# Name -> the loss for n outputs, and the last layer: each row of the registry, and others of its parameters.
CASES = {name: (lambda n, name=name: name, "linear") for name in fn.losses} | {
    "Huber(0.3)": (lambda n: fn.Huber(0.3), "linear"),
    "Huber(3)": (lambda n: fn.Huber(3), "linear"),
    "Quantile(0.05)": (lambda n: fn.Quantile(0.05), "linear"),
    "several quantiles": (quantiles, "linear"),
    "CrossEntropy(0.1)": (lambda n: fn.CrossEntropy(0.1), "linear"),
    "CrossEntropy(0.7)": (lambda n: fn.CrossEntropy(label_smoothing=0.7), "softmax"),
    "focal of questions": (lambda n: "focal", "sigmoid"),
    **{
        f"Focal({gamma}), {last}": (lambda n, gamma=gamma: fn.Focal(gamma), last)
        for gamma in (0, 1, 1.5, 5)
        for last in ("softmax", "sigmoid")
    },
}  # fmt: skip
CROSS_ENTROPIES = [name for name, (make, _) in CASES.items() if reference.row_of(make(2)).joins]
every_case = pytest.mark.parametrize("case", CASES)


def sizes(case):
    make, last = CASES[case]
    for n in SIZES:
        if reference.row_of(make(2)).name == "gaussian_nll":
            yield 2 * n
        elif n > 1 or reference.kind_of_targets(make(2), last) not in ("classes", "labels"):
            yield n


def biased(z, dtype, last="linear"):
    """A network whose output is z for the input 0; before its last activation."""
    net = fn.Sequential([fn.Dense(len(z), last)], inputs=1, seed=0, dtype=dtype)
    net.layers[0].bias[...] = z
    return net


def loss_and_gradient(loss, y, z, dtype, last="linear"):
    """Of one row."""
    net, x = biased(z, dtype, last), np.zeros((1, 1))
    found = net.train_step(x, y, loss, fn.SGD(1.0))
    assert found == loss_of(loss, y, z, dtype, last), "train_step and evaluate disagree"
    return found, np.asarray(z, dtype) - net.layers[0].bias


def loss_of(loss, y, z, dtype, last="linear"):
    return biased(z, dtype, last).evaluate(np.zeros((1, 1)), y, loss=loss)["loss"]


@pytest.mark.parametrize("name", fn.losses)
def test_row_has_formula_gradient_and_running_example(name):
    row = fn.losses[name]
    check_row(row, row.formula, row.gradient)
    assert row.name == name and all(last in fn.activations for last in row.joins)


def tolerance_of(loss, n, dtype):
    """A power takes a small error that many times."""
    return (8 + 2 * n) * (1 + reference.row_of(loss).parameters.get("gamma", 0)) * UNIT[dtype]


@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
@pytest.mark.parametrize("dtype", UNIT)
@every_case
def test_formula_and_gradient(case, dtype, soft, isa, rng):
    make, last = CASES[case]
    for n in sizes(case):
        loss, z = make(n), rng.normal(size=n).astype(dtype)
        y = reference.targets_for(loss, 1, n, rng, soft=soft, last=last)
        y = y if y.dtype.kind == "i" else y.astype(dtype)  # what is seen of it
        rows = reference.as_rows(loss, y, n, last)
        found, gradient = loss_and_gradient(loss, y, z, dtype, last)
        tolerance = tolerance_of(loss, n, dtype)
        cancels = reference.row_of(loss).name in ("poisson", "gaussian_nll")  # its terms have both signs
        exact = reference.loss_rows(loss, rows, z[None].astype(np.float64), last)[0]
        np.testing.assert_allclose(found, exact, rtol=tolerance, atol=2 * tolerance if cancels else 0)
        exact = reference.loss_gradient(loss, rows, z[None].astype(np.float64), last)[0]
        if reference.row_of(loss).name not in reference.LOSS_GRADIENTS:
            tolerance = max(tolerance, 1e-9)  # of differences
        largest = max(1, np.abs(z).max(), np.abs(exact).max())
        np.testing.assert_allclose(gradient, exact, rtol=tolerance, atol=tolerance * largest)


@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
@every_case
def test_gradient_of_the_formula_by_differences(case, soft):
    make, last = CASES[case]
    n = 8
    loss = make(n)
    for seed in range(100):
        rng = np.random.default_rng(seed)
        z = rng.normal(size=(3, n))
        y = reference.as_rows(loss, reference.targets_for(loss, 3, n, rng, soft=soft, last=last), n, last)
        if reference.loss_margin(loss, y, z) > 2.5 * reference.H:
            break
    else:
        raise AssertionError("no seed keeps away from the corners")
    expected = reference.by_differences(lambda outputs: reference.loss_rows(loss, y, outputs, last), z, None)
    np.testing.assert_allclose(reference.loss_gradient(loss, y, z, last), expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("weights", [False, True], ids=["plain", "weighted"])
@every_case
def test_gradient_of_training_by_differences(case, weights, rng):
    """Through a network, with weights: the code that trains against differences of the code that measures."""
    make, last = CASES[case]
    loss, rows, n = make(4), 12, 4
    net = fn.Sequential([fn.Dense(6, "tanh"), fn.Dense(n, last)], inputs=3, seed=7, dtype="float64")
    X, y = rng.normal(size=(rows, 3)), reference.targets_for(loss, rows, n, rng, last=last)
    w = rng.integers(0, 4, rows) / 2.0 if weights else None
    assert fn.check_gradients(net, X, y, loss, sample_weight=w) <= 1e-7


@every_case
def test_the_loss_of_many_rows_is_their_weighted_mean(case, isa, rng):
    make, last = CASES[case]
    n, rows = 10, 50
    loss = make(n)
    net = fn.Sequential([fn.Dense(n, last)], inputs=4, seed=3, dtype="float64")
    X, w = rng.normal(size=(rows, 4)), rng.random(rows)
    w[::7] = 0
    y = reference.targets_for(loss, rows, n, rng, last=last)
    z = reference.Network(net, loss).seen(X)
    each = reference.loss_rows(loss, reference.as_rows(loss, y, n, last), z, last)
    found = net.evaluate(X, y, loss=loss)["loss"], net.evaluate(X, y, loss=loss, sample_weight=w)["loss"]
    np.testing.assert_allclose(found, [each.mean(), (w * each).sum() / w.sum()], rtol=1e-12)


@pytest.mark.parametrize("dtype", UNIT)
@every_case
def test_every_instruction_set_trains_the_same_bits(case, dtype, rng):
    make, last = CASES[case]
    n, rows = 18, 70
    loss, X = make(n), rng.normal(size=(rows, 4))
    y = reference.targets_for(loss, rows, n, rng, last=last)
    found = []
    before = _core.isa()
    try:
        for name in filter(_core.isa_supported, _core.isa_names()):
            assert _core.isa_select(name)
            net = fn.Sequential([fn.Dense(9, "tanh"), fn.Dense(n, last)], inputs=4, seed=5, dtype=dtype)
            history = net.fit(X, y, loss=loss, epochs=2, batch_size=16, verbose=0).history["loss"]
            found.append((net.params.tobytes(), history, net.evaluate(X, y)))
    finally:
        _core.isa_select(before)
    assert all(one == found[0] for one in found)


@every_case
def test_train_step_and_fit_train_the_same_bits(case, rng):
    """The second step takes the short way, where C checks the batch."""
    make, last = CASES[case]
    n, rows = 6, 20
    loss, X = make(n), rng.normal(size=(rows, 4))
    y = reference.targets_for(loss, rows, n, rng, last=last)
    fitted, stepped = (fn.Sequential([fn.Dense(9, "tanh"), fn.Dense(n, last)], inputs=4, seed=5) for _ in range(2))
    history = fitted.fit(X, y, loss=loss, epochs=4, batch_size=None, shuffle=False, verbose=0).history["loss"]
    assert [stepped.train_step(X, y, loss) for _ in range(4)] == history
    np.testing.assert_array_equal(fitted.params, stepped.params)


@pytest.mark.parametrize("dtype", UNIT)
@pytest.mark.parametrize("case", CROSS_ENTROPIES)
def test_extreme_logits_have_a_finite_loss_and_gradient(case, dtype, isa):
    """Alone and together, right and wrong; and as far as a float64 can tell, the right ones."""
    make, last = CASES[case]
    n = len(EXTREMES)
    loss = make(n)
    for z in [EXTREMES, EXTREMES[::-1], *([e] + [0] * (n - 1) for e in EXTREMES), *([e] * n for e in EXTREMES)]:
        z = np.array(z, dtype)
        for right in (0, n - 2, n - 1):
            y = np.eye(n, dtype=dtype)[[right]]
            found, gradient = loss_and_gradient(loss, y, z, dtype, last)
            assert np.isfinite(found) and found >= 0 and np.isfinite(gradient).all()
            exact = reference.loss_rows(loss, y, z[None].astype(np.float64), last)[0]
            np.testing.assert_allclose(found, exact, rtol=100 * UNIT[dtype], atol=np.finfo(dtype).smallest_normal)
            if reference.kind_of_targets(loss, last) == "classes":
                labelled, its_gradient = loss_and_gradient(loss, np.array([right]), z, dtype, last)
                np.testing.assert_allclose(labelled, found, rtol=4 * UNIT[dtype])
                np.testing.assert_allclose(its_gradient, gradient, rtol=4 * UNIT[dtype], atol=UNIT[dtype])


@pytest.mark.parametrize("dtype", UNIT)
@pytest.mark.parametrize("case", CROSS_ENTROPIES)
def test_logits_at_both_ends_of_the_range(case, dtype, isa):
    """Their difference and their sum overflow; the loss is then the largest float64 at most, and training goes on."""
    make, last = CASES[case]
    big, loss = float(np.finfo(dtype).max), make(3)
    for z in ([-big, big, 0], [-big, big, big], [big, big, big], [-big, -big, -big]):
        for right in range(3):
            y = np.eye(3)[[right]]
            found, gradient = loss_and_gradient(loss, y, np.array(z, dtype), dtype, last)
            assert np.isfinite(found) and found >= 0 and np.isfinite(gradient).all()
            if reference.kind_of_targets(loss, last) == "unit":
                wrong = ((np.array(z) > 0) != y).any()
            else:
                wrong = z[right] < max(z)
            assert not wrong or found >= big / 10


@pytest.mark.parametrize("dtype", UNIT)
def test_cross_entropy_of_logits_at_both_ends_of_the_range(dtype, isa):
    """Their difference overflows; the loss is then the largest float64 at most, and training goes on."""
    big = float(np.finfo(dtype).max)
    for y in (np.array([0]), np.array([[1.0, 0, 0]])):
        loss, gradient = loss_and_gradient("cross_entropy", y, np.array([-big, big, 0], dtype), dtype)
        assert np.isfinite(loss) and loss >= big
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize(("name", "last"), [(name, last) for name, row in fn.losses.items() for last in row.joins])
@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
def test_joined_or_from_logits_trains_the_same_bits(name, last, soft, isa, rng):
    """A last activation that belongs to the loss is folded in: the network learns as one that ends in logits."""
    n, rows = 1 if last == "sigmoid" else 5, 70  # of several linear outputs, "focal" takes one as the right class
    X, y = rng.normal(size=(rows, 4)), reference.targets_for(name, rows, n, rng, soft=soft, last=last)
    joined = fn.Sequential([fn.Dense(9, "tanh"), fn.Dense(n, last)], inputs=4, seed=5)
    logits = fn.Sequential([fn.Dense(9, "tanh"), fn.Dense(n)], inputs=4, seed=5)
    losses = [net.fit(X, y, loss=name, epochs=3, batch_size=16, verbose=0).history["loss"] for net in (joined, logits)]
    assert losses[0] == losses[1]
    np.testing.assert_array_equal(joined.params, logits.params)
    exact = fn.activations[last](logits.predict(X))
    np.testing.assert_allclose(joined.predict(X), exact, rtol=1e-5)
    assert joined.evaluate(X, y, loss=name)["loss"] == logits.evaluate(X, y, loss=name)["loss"]


def test_labels_are_rows_with_a_one(isa, rng):
    """Labels in every form api.md names, and one-hot rows, lead to the same place."""
    X, y = rng.normal(size=(40, 4)), rng.integers(0, 3, 40)
    forms = [
        y,
        y[:, None],
        y.astype(np.int8),
        y.astype(np.uint64),
        y.astype(np.float32),
        y.astype(np.float16),
        y.tolist(),
    ]
    nets = []
    for form in [*forms, np.eye(3)[y], np.eye(3, dtype=bool)[y]]:
        net = fn.Sequential([fn.Dense(9, "relu"), fn.Dense(3, "softmax")], inputs=4, seed=5)
        net.fit(X, form, epochs=2, batch_size=7, verbose=0)
        nets.append(net)
    for net in nets[: len(forms)]:
        np.testing.assert_array_equal(net.params, nets[0].params)
    for net in nets[len(forms) :]:
        np.testing.assert_allclose(net.params, nets[0].params, rtol=2e-6, atol=1e-7)


def test_by_the_last_layer(rng):
    """Without a word, the loss that belongs to the last activation."""
    X = rng.normal(size=(8, 3))
    for last, name, y in [
        ("softmax", "cross_entropy", np.arange(8) % 2),
        ("sigmoid", "binary_cross_entropy", rng.random((8, 2))),
        ("linear", "mse", rng.random((8, 2))),
        ("tanh", "mse", rng.random((8, 2))),
    ]:
        net = fn.Sequential([fn.Dense(2, last)], seed=0)
        assert net.fit(X, y, epochs=1, verbose=0).loss == name


# ---- parameters and targets of each loss -----------------------------------------------------------------------------


def test_label_smoothing_is_the_loss_of_smoothed_rows(isa, rng):
    """As labels and as rows, and with every step of training."""
    X, y = rng.normal(size=(40, 4)), rng.integers(0, 5, 40)
    smoothed = 0.8 * np.eye(5)[y] + 0.2 / 5
    nets = []
    for loss, targets in [(fn.CrossEntropy(0.2), y), (fn.CrossEntropy(0.2), np.eye(5)[y]), ("cross_entropy", smoothed)]:
        net = fn.Sequential([fn.Dense(6, "tanh"), fn.Dense(5, "softmax")], inputs=4, seed=1, dtype="float64")
        net.fit(X, targets, loss=loss, epochs=3, batch_size=16, verbose=0)
        nets.append(net)
    for net in nets[1:]:
        np.testing.assert_allclose(net.params, nets[0].params, rtol=1e-9, atol=1e-12)


def test_parameters_of_no_effect_change_no_bit(rng):
    X, y = rng.normal(size=(40, 4)), rng.integers(0, 3, 40)
    nets = [fn.Sequential([fn.Dense(3, "softmax")], inputs=4, seed=1) for _ in range(2)]
    for net, loss in zip(nets, ["cross_entropy", fn.CrossEntropy()], strict=True):
        assert net.fit(X, y, loss=loss, epochs=2, verbose=0).loss == "cross_entropy"
    np.testing.assert_array_equal(nets[0].params, nets[1].params)


@pytest.mark.parametrize("last", ["softmax", "sigmoid"])
def test_focal_of_gamma_0_is_the_cross_entropy(last, rng):
    X = rng.normal(size=(40, 4))
    y = reference.targets_for("focal", 40, 3, rng, last=last)
    nets = [fn.Sequential([fn.Dense(3, last)], inputs=4, seed=1, dtype="float64") for _ in range(2)]
    for net, loss in zip(nets, [None, fn.Focal(0)], strict=True):
        net.fit(X, y, loss=loss, epochs=3, verbose=0)
    np.testing.assert_allclose(nets[0].params, nets[1].params, rtol=1e-10)


def test_several_quantiles_hold_their_share_of_the_rows(rng):
    X = rng.uniform(-1, 1, (4000, 1))
    y = X[:, 0] + rng.normal(size=4000)
    net = fn.Sequential([fn.Dense(3)], inputs=1, seed=0)
    net.fit(X, y, loss=fn.Quantile([0.1, 0.5, 0.9]), optimizer=fn.Adam(0.01), epochs=20, verbose=0)
    below = (y[:, None] < net.predict(X)).mean(axis=0)
    np.testing.assert_allclose(below, [0.1, 0.5, 0.9], atol=0.03)


def test_several_quantiles_read_one_column_where_it_lies(rng):
    X, y = rng.normal(size=(50, 2)), rng.normal(size=(50, 3))[:, 1]
    objective = resolve_loss(fn.Quantile([0.1, 0.9]), "linear", 2)
    seen = inputs.targets(y, 50, objective, 2, np.dtype(np.float32))
    assert np.shares_memory(seen.values, y) and seen.values.shape == (50, 1)
    nets = []
    for form in (y, y[:, None], y.copy(), y.tolist()):
        net = fn.Sequential([fn.Dense(2)], inputs=2, seed=0)
        net.fit(X, form, loss=fn.Quantile([0.1, 0.9]), validation_fraction=0.2, epochs=2, verbose=0)
        nets.append(net)
    assert all((net.params == nets[0].params).all() for net in nets)


def test_gaussian_nll_learns_mean_and_variance(rng):
    X = rng.integers(0, 2, (4000, 1))
    y = np.where(X == 1, 3 + 0.5 * rng.normal(size=X.shape), -1 + 2 * rng.normal(size=X.shape))
    net = fn.Sequential([fn.Dense(2)], inputs=1, seed=0)
    net.fit(X, y, loss="gaussian_nll", optimizer=fn.Adam(0.02), epochs=60, verbose=0)
    mean, log_variance = net.predict([[0], [1]]).T
    np.testing.assert_allclose(mean, [-1, 3], atol=0.15)
    np.testing.assert_allclose(np.exp(log_variance / 2), [2, 0.5], rtol=0.1)


def test_poisson_learns_the_logarithm_of_the_count(rng):
    X = rng.integers(0, 2, (4000, 1))
    net = fn.Sequential([fn.Dense(1)], inputs=1, seed=0)
    net.fit(X, rng.poisson(np.where(X == 1, 7.0, 2.0)), loss="poisson", optimizer=fn.Adam(0.02), epochs=30, verbose=0)
    np.testing.assert_allclose(np.exp(net.predict([[0], [1]])[:, 0]), [2, 7], rtol=0.08)


def test_hinge_takes_both_signs_for_no(rng):
    X = rng.normal(size=(200, 2))
    yes = X[:, 0] > 0.1
    nets, found = [], []
    for form in (yes, yes.astype(np.uint8), yes * 2.0 - 1, np.where(yes, 1, -1).astype(np.int8)):
        net = fn.Sequential([fn.Dense(1)], inputs=2, seed=0)
        options = {"metrics": ["accuracy"], "class_weight": "balanced", "optimizer": fn.Adam(0.05), "verbose": 0}
        history = net.fit(X, form, loss="hinge", epochs=30, **options)
        nets.append(net)
        found.append(net.evaluate(X, form, metrics=["accuracy"]))
        assert history.history["accuracy"][-1] > 0.9
    assert all((net.params == nets[0].params).all() for net in nets)
    right = ((nets[0].predict(X)[:, 0] > 0) == yes).mean()
    assert all(one == found[0] and one["accuracy"] == right for one in found)


@pytest.mark.parametrize("last", ["softmax", "sigmoid", "linear"])
def test_accuracy_beside_focal(last, rng):
    X = rng.normal(size=(300, 2))
    y, outputs = (X[:, 0] > 0).astype(int), 2 if last == "softmax" else 1
    net = fn.Sequential([fn.Dense(outputs, last)], inputs=2, seed=0)
    net.fit(X, y, loss="focal", optimizer=fn.Adam(0.05), epochs=30, class_weight={0: 1.0, 1: 1.0}, verbose=0)
    assert net.evaluate(X, y, metrics=["accuracy"])["accuracy"] > 0.95


OBJECTS = [fn.Huber(0.25), fn.Quantile(0.9), fn.Quantile([0.1, 0.9]), fn.CrossEntropy(0.1), fn.Focal(1.5)]


@pytest.mark.parametrize("loss", OBJECTS, ids=repr)
def test_a_file_remembers_the_loss_with_its_parameters(loss, tmp_path, rng):
    X, y = rng.normal(size=(20, 3)), reference.targets_for(loss, 20, 2, rng)
    net = fn.Sequential([fn.Dense(2)], inputs=3, seed=0)
    history = net.fit(X, y, loss=loss, epochs=1, verbose=0)
    assert history.loss == repr(loss) == str(loss)
    net.save(tmp_path / "net")
    for again in (fn.load(tmp_path / "net"), pickle.loads(pickle.dumps(net))):
        assert again._loss == loss
        assert again.evaluate(X, y) == net.evaluate(X, y) == net.evaluate(X, y, loss=loss)
    assert pickle.loads(pickle.dumps(loss)) == loss and hash(pickle.loads(pickle.dumps(loss))) == hash(loss)
    assert eval(repr(loss), vars(fn)) == loss and loss != fn.losses[loss.name]


def test_parameters_cannot_be_changed_behind_a_plan():
    loss = fn.Huber(0.5)
    loss.parameters["delta"] = 3.0
    assert loss.parameters == {"delta": 0.5}


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: fn.Huber(0), ValueError, "delta must be in"),
        (lambda: fn.Huber(-1), ValueError, "delta must be in"),
        (lambda: fn.Huber(np.nan), ValueError, "delta must be in"),
        (lambda: fn.Huber("1"), TypeError, "delta must be a number"),
        (lambda: fn.Quantile(0), ValueError, "quantiles must be between 0 and 1, not 0"),
        (lambda: fn.Quantile([0.5, 1]), ValueError, r"quantiles\[1\] must be between 0 and 1, not 1"),
        (lambda: fn.Quantile([]), ValueError, "quantiles is empty"),
        (lambda: fn.Quantile("0.5"), TypeError, "quantiles must be a number"),
        (lambda: fn.Quantile(True), TypeError, "quantiles must be a number"),
        (lambda: fn.CrossEntropy(1), ValueError, "label_smoothing must be at least 0 and less than 1"),
        (lambda: fn.CrossEntropy(-0.1), ValueError, "label_smoothing must be at least 0 and less than 1"),
        (lambda: fn.Focal(0.5), ValueError, "gamma must be 0 or in 1..1000, not 0.5"),
        (lambda: fn.Focal(-1), ValueError, "gamma must be 0 or in 1..1000"),
        (lambda: fn.Focal(np.inf), ValueError, "gamma must be 0 or in 1..1000"),
        (lambda: loss_from_config({"kind": "huber", "gamma": 1}), ValueError, "no such parameters"),
        (lambda: loss_from_config({"kind": "mse", "gamma": 1}), ValueError, "no such parameters"),
        (lambda: loss_from_config({"kind": "huber", "delta": -1}), ValueError, "delta"),
    ],
)
def test_bad_parameters_are_refused(make, error, says):
    with pytest.raises(error, match=says):
        make()


@pytest.mark.parametrize(
    ("loss", "outputs", "last", "y", "says"),
    [
        (fn.Quantile([0.1, 0.9]), 3, "linear", np.zeros(4), "as many outputs as quantiles, 2; the last layer has 3"),
        (fn.Quantile([0.1, 0.9]), 2, "linear", np.zeros((4, 2)), r"needs \(4, 1\)"),
        ("quantile", 2, "linear", np.zeros(4), r"needs \(4, 2\)"),
        ("gaussian_nll", 3, "linear", np.zeros(4), "two outputs for each column of y.*has 3"),
        ("gaussian_nll", 4, "linear", np.zeros(4), r"needs \(4, 2\)"),
        ("gaussian_nll", 2, "tanh", np.zeros(4), "needs a last layer with activation 'linear'"),
        ("poisson", 1, "linear", np.array([1, 2, -1, 3]), "y is -1 in row 2, column 0.*not negative"),
        ("poisson", 1, "relu", np.zeros(4), "needs a last layer with activation 'linear'"),
        ("hinge", 1, "linear", np.array([1, 0, -1, 1]), "y is -1 in row 2, column 0.*0 or -1 for no"),
        ("hinge", 1, "linear", np.array([1, 0, 2, 1]), "y is 2 in row 2"),
        ("hinge", 2, "linear", np.array([[1, 1], [1, 0.5], [0, 0], [0, 0]]), "y is 0.5 in row 1, column 1"),
        ("hinge", 1, "sigmoid", np.zeros(4), "needs a last layer with activation 'linear'"),
        ("focal", 1, "softmax", np.zeros(4), "at least 2 outputs"),
        ("focal", 2, "softmax", np.array([0, 1, 2, 0]), r"y\[2\] is 2"),
        ("focal", 2, "softmax", np.full((4, 2), 0.5), "probabilities in row 0.*class labels"),
        ("focal", 2, "sigmoid", np.full((4, 2), 1.5), "needs numbers in 0..1"),
        ("focal", 2, "tanh", np.zeros(4), "'softmax' or 'sigmoid', or 'linear'"),
        ("binary_cross_entropy", 2, "sigmoid", np.full((4, 2), -1), "needs numbers in 0..1"),
        (fn.Huber, 1, "linear", np.zeros(4), "loss must be a name"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(loss, outputs, last, y, says):
    net = fn.Sequential([fn.Dense(outputs, last)], inputs=2, seed=0)
    before = net.params.copy()
    for call in (
        lambda: net.fit(np.zeros((4, 2)), y, loss=loss, verbose=0),
        lambda: net.train_step(np.zeros((4, 2)), y, loss),
        lambda: net.evaluate(np.zeros((4, 2)), y, loss=loss),
    ):
        with pytest.raises((ValueError, TypeError), match=says):
            call()
    np.testing.assert_array_equal(net.params, before)


@pytest.mark.parametrize(("loss", "good", "bad"), [("hinge", 1.0, 0.5), ("poisson", 3.0, -1.0), ("focal", 1.0, 1.5)])
def test_every_step_checks_its_batch(loss, good, bad):
    net = fn.Sequential([fn.Dense(1)], inputs=2, seed=0)
    X, y = np.ones((4, 2)), np.full((4, 1), good)
    for _ in range(3):
        net.train_step(X, y, loss)
    before = net.params.copy()
    y[2] = bad
    with pytest.raises(ValueError, match=f"y is {bad} in row 2"):
        net.train_step(X, y, loss)
    np.testing.assert_array_equal(net.params, before)


def test_the_boundary_checks_what_c_reads():
    """C reads one parameter for each output, and as many columns of y as are announced."""
    net = fn.Sequential([fn.Dense(3)], inputs=2, seed=0)
    network, x, out = net._parameters.network, np.zeros((4, 2)), np.zeros((4, 3), np.float32)
    workspace = net._parameters.workspace(_core.USE_PREDICT, 4, 1)
    quantile = _core.loss_names().index("quantile")
    for number, parameters, columns in [(quantile, (0.1, 0.9), 1), (quantile, (), 4), (quantile, (), 0), (99, (), 1)]:
        objective = (number, False, parameters, columns)
        with pytest.raises(ValueError):
            _core.predict(network, net.params, x, out, workspace, 1, objective, None, np.zeros((4, 1)))
    with pytest.raises(ValueError):
        _core.predict(network, net.params, x, out, workspace, 1, (quantile, False, (0.5,), 3), None, np.zeros((4, 1)))
