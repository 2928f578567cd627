# SPDX-License-Identifier: BSD-3-Clause
"""What the documentation says: every public object has some, its examples run, and names are those agreed upon.

What its sections say, of parameters, errors and so on: ``test_docstring_sections.py``.
"""

import doctest
import importlib
import inspect
import pkgutil
import re

import pytest

import fastnn as fn

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(fn.__path__, "fastnn.")
    if not module.name.endswith(("_core", "__main__"))
)
PUBLIC = [name for name in fn.__all__ if name != "__version__"]
REGISTRIES = ["activations", "losses", "optimizers", "initializers", "metrics"]

# The public interface: arguments in their order, with their defaults. What is here stays; more may be added behind.
SIGNATURES = {
    "Sequential": "layers, inputs=None, seed=None, dtype='float32'",
    "Sequential.fit": (
        "X, y=None, loss=None, optimizer='adam', epochs=10, batch_size=32, shuffle=True, validation_data=None, "
        "validation_fraction=None, metrics=(), callbacks=(), sample_weight=None, class_weight=None, threads=None, "
        "verbose=1"
    ),
    "Sequential.train_step": "X, y, loss=None, optimizer=None",
    "Sequential.forward": "X, training=False",
    "Sequential.backward": "doutput, accumulate=False",
    "Sequential.clip_gradients": "norm=None, value=None",
    "Sequential.averaged": "X=None",
    "Sequential.soft_update": "net, tau",
    "Sequential.predict": "X",
    "Sequential.evaluate": "X, y=None, loss=None, metrics=()",
    "Sequential.predictor": "",
    "Sequential.save": "path",
    "Sequential.find_learning_rate": "X, y, loss=None, optimizer='adam', batch_size=32",
    "Sequential.jacobian": "x",
    "Sequential.input_gradient": "X, y, loss=None",
    "Sequential.get_weights": "",
    "Sequential.set_weights": "weights",
    "Sequential.to_onnx": "path",
    "from_torch": "state_dict, activations=None",
    "from_keras": "weights, activations=None",
    "Sequential.summary": "",
    "Dense": "units, activation=None",
    "Activation": "activation",
    "SGD": "learning_rate=0.01, momentum=0.0, nesterov=False",
    "Adam": "learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-08",
    "RMSprop": "learning_rate=0.01, decay=0.99, epsilon=1e-08, momentum=0.0",
    "Adagrad": "learning_rate=0.01, epsilon=1e-10, initial_accumulator=0.0",
    "AdamW": "learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-08, weight_decay=0.01",
    "NAdam": "learning_rate=0.002, beta1=0.9, beta2=0.999, epsilon=1e-08",
    "Lion": "learning_rate=0.0001, beta1=0.9, beta2=0.99",
    "SGD.step": "net",
    "load": "path",
    "check_gradients": "net, X, y, loss=None",
    "set_num_threads": "threads",
    "get_num_threads": "",
    "show_config": "",
    "EarlyStopping": "patience=5, monitor='val_loss', min_delta=0.0, mode='auto', restore_best=True",
    "ReduceOnPlateau": "factor=0.1, patience=5, monitor='val_loss', min_learning_rate=0.0, cooldown=0",
    "Checkpoint": "path, monitor=None, every=1, save_best_only=False",
    "RunCheckpoint": "path, epochs=None, seconds=None",
    "CSVLogger": "path, append=False",
    "JSONLogger": "path",
    "TimeLimit": "seconds",
    "LambdaCallback": "on_fit_begin=None, on_epoch_end=None, on_batch_end=None, on_fit_end=None",
    "TopK": "k=5",
    "Precision": "average=None",
    "Recall": "average=None",
    "F1": "average=None",
    "Callback.on_fit_begin": "net",
    "Callback.on_epoch_end": "net, epoch, logs",
    "Callback.on_fit_end": "net",
    "Callback.state_dict": "",
    "Callback.load_state_dict": "state",
}


def found(path):
    thing = fn
    for name in path.split("."):
        thing = getattr(thing, name)
    return thing


def run(docstring, name):
    """Run the examples where nothing is imported yet, as where a reader pastes them; how many there are."""
    test = doctest.DocTestParser().get_doctest(docstring or "", {}, name, name, 0)
    failed = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    runner.run(test, out=failed.append)
    assert runner.failures == 0, "".join(failed)
    return len(test.examples)


@pytest.mark.parametrize("path", SIGNATURES)
def test_arguments_have_their_agreed_names_order_and_defaults(path):
    parameters = [p for p in inspect.signature(found(path)).parameters.values() if p.name != "self"]
    shown = [p.name if p.default is p.empty else f"{p.name}={p.default!r}" for p in parameters]
    agreed = SIGNATURES[path].split(", ") if SIGNATURES[path] else []
    assert shown[: len(agreed)] == agreed
    for parameter in parameters[len(agreed) :]:
        optional = parameter.default is not parameter.empty or parameter.kind is parameter.VAR_KEYWORD
        assert optional, f"{parameter.name}: calls as agreed upon would fail"


@pytest.mark.parametrize("name", ["Predictor"])
def test_methods_of_compiled_types(name):
    net = fn.Sequential([fn.Dense(2)], inputs=3, seed=0)
    f = net.predictor()
    assert type(f) is fn.Predictor and {"argmax", "inputs", "outputs"} <= set(dir(f))
    assert fn.Predictor.__doc__ and fn.Predictor.argmax.__doc__


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_each_module_run(name):
    module = importlib.import_module(name)
    assert module.__doc__, f"{name} does not say what it is"
    failed = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for test in doctest.DocTestFinder(exclude_empty=True).find(module, name):
        runner.run(test, out=failed.append)
    assert runner.failures == 0, "".join(failed)


def test_the_example_of_the_package_runs():
    assert run(fn.__doc__, "fastnn")


@pytest.mark.parametrize("name", [name for name in PUBLIC if name not in REGISTRIES])
def test_every_public_object_is_documented_with_an_example(name):
    thing = found(name)
    doc = inspect.getdoc(thing)
    assert doc and len(doc.splitlines()[0]) > 15, f"{name} does not say what it is"
    assert run(doc, name), f"{name} has no example"


METHODS = [f"{name}.{method}" for name in ("Sequential", "Optimizer", "History", "Callback", "Dense")
           for method in vars(found(name)) if not method.startswith("_")]  # fmt: skip


@pytest.mark.parametrize("path", METHODS)
def test_every_public_method_is_documented(path):
    owner, name = path.split(".")
    method = inspect.getattr_static(found(owner), name)
    if not (callable(method) or isinstance(method, property)) or name in ("trainable", "learning_rate_factor"):
        return
    doc = inspect.getdoc(found(path) if callable(method) else method)
    # update() of an optimizer, add_to() and config() of a layer inherit theirs.
    assert doc, f"{path} does not say what it does"
    if owner == "Sequential" and callable(method) and name not in ("save",):
        assert run(doc, path), f"{path} has no example"


@pytest.mark.parametrize("kind", REGISTRIES)
def test_rows_of_registries_have_formulas_and_running_examples(kind):
    registry = getattr(fn, kind)
    assert len(registry) == len(list(registry)) > 1
    assert repr(registry) == f"<{kind}: {', '.join(registry)}>"
    for name, row in registry.items():
        assert row.name == name and row.formula and name in registry
        doc = inspect.getdoc(row)
        assert run(doc, f"{kind}[{name!r}]"), f"{kind}[{name!r}] has no example"
        if kind == "activations":
            assert row.derivative and row.initializer in fn.initializers
        if kind == "metrics":
            assert row.better in ("higher", "lower")
            assert row.needs in ("numbers", "classes", "decisions", "scores", "probabilities", "anything")
        if kind == "losses":
            assert row.gradient and row.targets in ("values", "unit", "classes", "labels", "counts", "signs")
            assert all(name in fn.activations for name in row.joins)
    assert "no such row" not in registry and registry.get("no such row") is None and registry.get("x", 3) == 3


def test_a_registry_cannot_be_written_to():
    with pytest.raises(TypeError):
        fn.activations["mine"] = len
    with pytest.raises(ValueError, match="'relu' exists already"):
        fn.activations.add("relu", fn.activations["relu"])


def test_the_version_is_one():
    assert re.fullmatch(r"\d+\.\d+\.\d+([abrc.]+\w+)?", fn.__version__)
