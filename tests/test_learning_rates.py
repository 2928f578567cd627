# SPDX-License-Identifier: BSD-3-Clause
"""Schedules of the learning rate: against their formulas and PyTorch's, and in fit, step by step."""

import json
import math
import warnings

import numpy as np
import pytest
import record_torch_schedules

import fastnn as fn
from fastnn import _core, schedules

EVERY = [
    fn.ConstantSchedule(),
    fn.StepSchedule(7, 0.3),
    fn.ExponentialSchedule(0.97),
    fn.CosineSchedule(),
    fn.CosineSchedule(warmup=5, final=0.1),
    fn.OneCycleSchedule(),
    fn.OneCycleSchedule(rise=0.5, div_factor=4, final_div_factor=10),
]
ROWS, BATCH, EPOCHS = 50, 16, 3  # 4 steps an epoch
STEPS = EPOCHS * 4


def problem(rng):
    return rng.normal(size=(ROWS, 3)), rng.normal(size=(ROWS, 2))


def network(dtype="float64"):
    return fn.Sequential([fn.Dense(8, "tanh"), fn.Dense(2)], inputs=3, seed=2, dtype=dtype)


# ---- the factors -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("run", record_torch_schedules.RUNS)
def test_factors_are_those_of_pytorch(run):
    expected = json.loads(record_torch_schedules.FILE.read_text())["rates"][run]
    steps, _, _, name, arguments = record_torch_schedules.RUNS[run]
    found = getattr(fn, name)(**arguments).factors(0, steps, steps)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("steps", [1, 2, 3, 10, 101])
@pytest.mark.parametrize("schedule", EVERY, ids=repr)
def test_one_factor_or_many_at_a_time(schedule, steps):
    """The same bits, whatever part of the steps is asked for; within what can be a factor of a learning rate."""
    whole = schedule.factors(0, steps, steps)
    assert whole.shape == (steps,) and whole.dtype == np.float64 and (whole >= 0).all() and (whole <= 1).all()
    assert [schedule(step, steps) for step in range(steps)] == whole.tolist()
    half = steps // 2
    parts = [schedule.factors(0, half, steps), schedule.factors(half, steps - half, steps)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("schedule", EVERY, ids=repr)
def test_what_is_printed_makes_an_equal_one(schedule):
    again = eval(repr(schedule), {}, vars(fn))
    np.testing.assert_array_equal(again.factors(0, 20, 20), schedule.factors(0, 20, 20))


def test_warmup_rises_in_a_straight_line_and_reaches_the_top():
    schedule = fn.CosineSchedule(warmup=4, final=0.2)
    np.testing.assert_allclose(schedule.factors(0, 5, 20), [0.25, 0.5, 0.75, 1, 1], rtol=0, atol=1e-15)
    expected = [0.2 + 0.8 * (1 + math.cos(math.pi * t / 16)) / 2 for t in range(16)]
    np.testing.assert_allclose(schedule.factors(4, 16, 20), expected, rtol=0, atol=1e-15)
    # More warm-up than steps: the rise alone.
    np.testing.assert_array_equal(fn.CosineSchedule(warmup=10).factors(0, 5, 5), np.arange(1, 6) / 10)


def test_one_cycle_begins_peaks_and_ends_where_it_should():
    found = fn.OneCycleSchedule(rise=0.3, div_factor=20, final_div_factor=100).factors(0, 100, 100)
    np.testing.assert_allclose(found[[0, 29, 99]], [1 / 20, 1, 1 / 2000], rtol=1e-12)
    assert found.argmax() == 29 and (np.diff(found[:30]) > 0).all() and (np.diff(found[29:]) < 0).all()


def test_our_cosine_is_the_cosine():
    x = np.linspace(0, 1, 100_001)
    exact = np.cos(np.pi * x.astype(np.longdouble)) if np.finfo(np.longdouble).nmant > 52 else np.cos(np.pi * x)
    assert np.abs(schedules._cos_pi(x) - exact).max() < 3e-16
    assert schedules._cos_pi(np.array([0.0, 0.5, 1.0])).tolist() == [1, 0, -1]


def test_our_powers_are_powers():
    exponents = np.arange(2000, dtype=np.float64)
    for base in (0.0, 0.5, 0.999, 1.0, 1.001):
        np.testing.assert_allclose(schedules._power(base, exponents), base**exponents, rtol=1e-12, atol=1e-300)


def test_the_bits_are_these_everywhere():
    """Recorded; by additions, products and quotients alone."""
    kinds = [
        fn.StepSchedule(100, 0.7),
        fn.ExponentialSchedule(0.999),
        fn.CosineSchedule(10, 0.05),
        fn.OneCycleSchedule(),
    ]
    found = {type(schedule).__name__: schedule(777, 1000).hex() for schedule in kinds}
    assert found == RECORDED


RECORDED = {
    "StepSchedule": "0x1.5152be12f5a5dp-4",
    "ExponentialSchedule": "0x1.d6a2958545178p-2",
    "CosineSchedule": "0x1.4ffa8078183c4p-3",
    "OneCycleSchedule": "0x1.d394d2414d99dp-3",
}


@pytest.mark.parametrize(
    "make, error, word",
    [
        (lambda: fn.StepSchedule(0), ValueError, "every"),
        (lambda: fn.StepSchedule(2.5), TypeError, "every"),
        (lambda: fn.StepSchedule(2, -1), ValueError, "factor"),
        (lambda: fn.ExponentialSchedule(math.nan), ValueError, "decay"),
        (lambda: fn.ExponentialSchedule("0.9"), TypeError, "decay"),
        (lambda: fn.CosineSchedule(-1), ValueError, "warmup"),
        (lambda: fn.CosineSchedule(final=math.inf), ValueError, "final"),
        (lambda: fn.OneCycleSchedule(0), ValueError, "rise"),
        (lambda: fn.OneCycleSchedule(1.0), ValueError, "rise"),
        (lambda: fn.OneCycleSchedule(div_factor=0.5), ValueError, "div_factor"),
        (lambda: fn.OneCycleSchedule(final_div_factor=0), ValueError, "final_div_factor"),
        (lambda: fn.CosineSchedule()(-1, 3), ValueError, "step"),
        (lambda: fn.CosineSchedule()(0, 0), ValueError, "steps"),
    ],
)
def test_wrong_arguments_are_named(make, error, word):
    with pytest.raises(error, match=word):
        make()


# ---- in fit ----------------------------------------------------------------------------------------------------------


def step_by_step(net, X, y, rates):
    """The same training by train_step, with these learning rates."""
    order, optimizer, steps = np.empty(ROWS, np.int64), fn.Adam(0.01), iter(rates)
    for epoch in range(EPOCHS):
        _core.permutation(net.seed, _core.STREAM_SHUFFLE, epoch, order)
        for first in range(0, ROWS, BATCH):
            optimizer.learning_rate = next(steps)
            rows = order[first : first + BATCH]
            net.train_step(X[rows], y[rows], "mse", optimizer)


class EveryBatch(fn.Callback):
    def __init__(self):
        self.rates = []

    def on_batch_end(self, net, step, logs):
        self.rates.append(logs["learning_rate"])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("schedule", EVERY, ids=repr)
def test_fit_takes_each_step_with_its_rate(schedule, dtype, isa, rng):
    X, y = problem(rng)
    expected, net, watched = network(dtype), network(dtype), network(dtype)
    rates = [0.01 * schedule(step, STEPS) for step in range(STEPS)]
    step_by_step(expected, X, y, rates)
    arguments = {"optimizer": fn.Adam(0.01), "epochs": EPOCHS, "batch_size": BATCH, "verbose": 0}
    history = net.fit(X, y, schedule=schedule, threads=2, **arguments)
    np.testing.assert_array_equal(net.params, expected.params)
    assert history.history["learning_rate"] == [rates[3], rates[7], rates[11]]
    every = EveryBatch()
    assert (
        watched.fit(X, y, schedule=schedule, callbacks=[every], **arguments).history["loss"] == history.history["loss"]
    )
    np.testing.assert_array_equal(watched.params, expected.params)
    assert every.rates == rates
    assert net.optimizer.learning_rate == 0.01  # the optimizer is not changed


def test_a_constant_schedule_changes_nothing(rng):
    X, y = problem(rng)
    plain, scheduled = network("float32"), network("float32")
    plain.fit(X, y, epochs=2, verbose=0)
    scheduled.fit(X, y, epochs=2, verbose=0, schedule=fn.ConstantSchedule())
    np.testing.assert_array_equal(scheduled.params, plain.params)
    assert scheduled.history.history["learning_rate"] == plain.history.history["learning_rate"]


@pytest.mark.parametrize("takes", ["a step", "step and steps"])
def test_a_function_as_schedule(takes, rng):
    X, y = problem(rng)
    seen = []

    def of_step(step):
        seen.append(step)
        return 1 / (1 + step)

    def of_both(step, steps):
        assert steps == STEPS
        return of_step(step)

    function = of_step if takes == "a step" else of_both
    net, expected = network(), network()
    step_by_step(expected, X, y, [0.01 * (1 / (1 + step)) for step in range(STEPS)])
    net.fit(X, y, optimizer=fn.Adam(0.01), schedule=function, epochs=EPOCHS, batch_size=BATCH, verbose=0)
    np.testing.assert_array_equal(net.params, expected.params)
    assert seen == list(range(STEPS))


def test_a_schedule_starts_anew_with_each_fit(rng):
    X, y = problem(rng)
    net = network()
    for _ in range(2):
        history = net.fit(X, y, schedule=fn.ExponentialSchedule(0.5), epochs=1, batch_size=BATCH, verbose=0)
        assert history.history["learning_rate"] == [0.001 / 8]


def test_callbacks_may_change_the_rate_that_is_multiplied(rng):
    X, y = problem(rng)

    class Halve(fn.Callback):
        def on_epoch_end(self, net, epoch, logs):
            net.optimizer.learning_rate *= 0.5

    net = network()
    history = net.fit(
        X, y, optimizer=fn.SGD(0.1), schedule=lambda step: 1 + step, callbacks=[Halve()],
        epochs=EPOCHS, batch_size=BATCH, verbose=0,
    )  # fmt: skip
    assert history.history["learning_rate"] == [0.1 * 4, 0.05 * 8, 0.025 * 12]


def test_the_boundary_checks_the_rates(rng):
    """C reads one for each step: never more than there are."""
    X, y = problem(rng)
    net = network()
    net.train_step(X, y, "mse")
    plan = net._step_plan
    plan.native.bind(X, None, y, None, None, None, False, 0)
    for rates in (np.ones(0), np.ones(1, np.float32), np.ones(16, np.uint8)[1:9].view(float)):
        with pytest.raises((ValueError, TypeError), match="learning_rate"):
            plan.native.run(0, 0, 1, rates)
    with pytest.raises(TypeError):
        plan.native.run(0, 0, 1, "0.1")


def test_a_rate_of_zero_changes_no_weight(rng):
    X, y = problem(rng)
    net = network()
    before = net.params.copy()
    net.fit(X, y, optimizer="sgd", schedule=lambda step: 0, epochs=1, verbose=0)
    np.testing.assert_array_equal(net.params, before)


@pytest.mark.parametrize(
    "schedule, error, word",
    [
        (fn.CosineSchedule, TypeError, "parentheses"),
        ("cosine", TypeError, "schedule"),
        (3, TypeError, "schedule"),
        (lambda step: "1", TypeError, "step 0"),
        (lambda step: None, TypeError, "step 0"),
        (lambda step: math.nan, ValueError, "step 0"),
        (lambda step: -1.0, ValueError, "step 0"),
    ],
)
def test_a_wrong_schedule_is_refused_before_anything_changes(schedule, error, word, rng):
    X, y = problem(rng)
    net = network()
    before = net.params.copy()
    with pytest.raises(error, match=word):
        net.fit(X, y, schedule=schedule, epochs=1, verbose=0)
    np.testing.assert_array_equal(net.params, before)
    assert net.optimizer is None


def test_an_error_in_a_later_epoch_leaves_the_last_completed_one(rng):
    X, y = problem(rng)
    net, expected = network(), network()
    with pytest.raises(ValueError, match="step 5"):
        net.fit(X, y, schedule=lambda step: math.inf if step == 5 else 1, epochs=3, batch_size=BATCH, verbose=0)
    expected.fit(X, y, epochs=1, batch_size=BATCH, verbose=0)
    np.testing.assert_array_equal(net.params, expected.params)
    assert net.history.epochs == 1
    net.fit(X, y, epochs=1, verbose=0)


def test_divergence_names_the_rate_of_its_step(rng):
    X, y = problem(rng)
    for callbacks in ([], [EveryBatch()]):
        net = network("float32")
        with pytest.raises(fn.DivergenceError) as caught:
            net.fit(
                X, y, optimizer=fn.SGD(0.01), schedule=lambda step: 1e30 if step >= 2 else 1, callbacks=callbacks,
                epochs=2, batch_size=BATCH, verbose=0,
            )  # fmt: skip
        assert caught.value.batch in (2, 3) and caught.value.learning_rate == 0.01 * 1e30


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("warmup", "epochs", "share"), [(100, 5, "20 %"), (20, 5, "100 %"), (19, 5, None), (1, 0, None)]
)
def test_a_warm_up_as_long_as_the_run_is_said(warmup, epochs, share, stream):
    X = np.linspace(-1, 1, 64)[:, None]
    net = fn.Sequential([fn.Dense(1)], seed=0)
    more = {"epochs": epochs, "schedule": fn.CosineSchedule(warmup=warmup), "verbose": 0}
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        if stream:
            history = net.fit([(X[i : i + 16], X[i : i + 16]) for i in range(0, 64, 16)], steps_per_epoch=4, **more)
        else:
            history = net.fit(X, X, batch_size=16, **more)
    assert [str(one.message) for one in warned] == history.remarks and len(warned) == (share is not None)
    if share is not None:
        assert (
            f"takes {warmup} steps, and this fit has 20: the learning rate only rises, to {share}"
            in warned[0].message.args[0]
        )
        assert warned[0].filename == __file__ and history.remarks[0] in history.report()
