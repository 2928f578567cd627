# SPDX-License-Identifier: BSD-3-Clause
"""Docstrings say what there is: parameters with their defaults, errors that are raised, sections of numpydoc.

Every public callable is looked at; a new one is found by itself. (That the examples run: ``test_docstrings.py``.)
"""

import inspect
import re

import docstrings
import pytest

import fastnn as fn
import fastnn.datasets
import fastnn.sklearn

REGISTRIES = ("activations", "losses", "optimizers", "initializers", "metrics")
PUBLIC = {
    **{name: getattr(fn, name) for name in fn.__all__ if name not in (*REGISTRIES, "__version__")},
    **{f"sklearn.{name}": getattr(fastnn.sklearn, name) for name in fastnn.sklearn.__all__},
    **{
        f"datasets.{name}": thing
        for name, thing in vars(fastnn.datasets).items()
        if not name.startswith("_") and inspect.isfunction(thing) and thing.__module__ == "fastnn.datasets"
    },
}
# Of their attributes only is there something to say: they are made by fastnn.
MADE_BY_FASTNN = (
    "ActivationFunction", "DivergenceError", "Health", "History", "Initializer", "LayerHealth", "LossFunction",
    "MetricFunction", "Predictor", "RangeTest",
)  # fmt: skip
CALLED = {name: thing for name, thing in PUBLIC.items() if name not in MADE_BY_FASTNN}


def methods():
    """The public methods of public classes, each where it is written, by name."""
    found = {}
    for owner, kind in PUBLIC.items():
        for base in kind.__mro__ if isinstance(kind, type) else ():
            for name in vars(base):
                method = getattr(base, name)
                public = (name == "__call__" or not name.startswith("_")) and inspect.isroutine(method)
                if public and (getattr(method, "__module__", None) or "").startswith("fastnn"):
                    found.setdefault(method, f"{owner}.{name}")
    return {name: method for method, name in found.items()}


METHODS = methods()
# One line is enough for what only fastnn calls, and for what does what its class says. What is told of a method in
# sections is told in full, and of these all is told:
TOLD = [
    name
    for name, method in METHODS.items()
    if name.startswith("Sequential.") or len(docstrings.sections(method)) > 1
]  # fmt: skip


def test_the_walk_finds_what_there_is():
    assert {"Dense", "load", "sklearn.MLPClassifier", "datasets.read_idx"} <= CALLED.keys()
    assert {"Sequential.fit", "Optimizer.step", "Callback.on_epoch_end", "MetricFunction.__call__"} <= {
        f"{method.__qualname__}" for method in METHODS.values()
    }
    assert {"sklearn.MLPClassifier.partial_fit", "Table.weight"} <= set(TOLD)


@pytest.mark.parametrize("name", [*PUBLIC, *METHODS])
def test_sections_are_numpydocs_in_its_order(name):
    thing = PUBLIC.get(name) or METHODS[name]
    found = [title for title in docstrings.sections(thing) if title]
    if name == "Sequential.summary":
        found = [title for title in found if not title.startswith("layer ")]  # the table it prints
    assert found == sorted(found, key=docstrings.SECTIONS.index)


@pytest.mark.parametrize("name", [*CALLED, *TOLD])
def test_documented_parameters_are_those_there_are(name):
    thing = CALLED.get(name) or METHODS[name]
    told = docstrings.entries(docstrings.sections(thing).get("Parameters", ""))
    documented = [parameter for entry in told for parameter in entry.names if parameter]
    there = docstrings.accepted(thing)
    assert sorted(documented) == sorted(there)
    own = [parameter for parameter in inspect.signature(thing).parameters if parameter in documented]
    if len(own) == len(there):  # else some are those of a base class
        assert documented == own, "in the order of the signature"


@pytest.mark.parametrize("name", [*CALLED, *TOLD])
def test_documented_defaults_are_those_there_are(name):
    thing = CALLED.get(name) or METHODS[name]
    there = docstrings.accepted(thing)
    for entry in docstrings.entries(docstrings.sections(thing).get("Parameters", "")):
        if docstrings.AS_ELSEWHERE.match(entry.text) and not entry.kind:
            continue
        for place, parameter in enumerate(filter(None, entry.names)):
            assert entry.kind and entry.text, f"{parameter} has no type, or nothing is said of it"
            default = there[parameter].default
            if default is inspect.Parameter.empty:
                assert not entry.optional, f"{parameter} must be given"
            elif default is None:
                assert "optional" in entry.kind or "None" in entry.kind, f"{parameter} need not be given"
            else:
                assert entry.defaults and entry.defaults[place] == default, f"{parameter} is {default!r} by default"


@pytest.mark.parametrize("name", CALLED)
def test_there_is_a_section_of_examples(name):
    assert ">>> " in docstrings.sections(CALLED[name]).get("Examples", "")


@pytest.mark.parametrize("name", MADE_BY_FASTNN)
def test_what_fastnn_makes_says_so(name):
    told = docstrings.sections(PUBLIC[name])
    assert "Parameters" not in told and re.search(r"[Mm]ade by|raised by", told[""])
    assert docstrings.entries(told["Attributes"])


@pytest.mark.parametrize("name", TOLD)
def test_what_a_method_returns_is_said(name):
    returned = inspect.signature(METHODS[name]).return_annotation
    if returned not in ("None", None):
        told = docstrings.sections(METHODS[name]).get("Returns", "")
        assert docstrings.entries(told)
        if "NDArray" in returned:
            assert re.search(r"ndarray.*(\(|shape|dtype)", told), "neither shape nor dtype is said"


def ready(name):
    """What is called: a class or a function, or a method of an object made here."""
    owner, _, method = name.rpartition(".")
    if owner == "Sequential":
        return getattr(fn.Sequential([fn.Dense(1)], inputs=1, seed=0), method)
    if name in METHODS:
        return getattr(PUBLIC[owner](), method)
    return CALLED[name]


@pytest.mark.parametrize("name", [*CALLED, *(name for name in TOLD if "Sequential." in name or "sklearn." in name)])
def test_errors_are_documented(name):
    """For each argument in turn, and for those that are needed, an object that nobody expects."""
    thing = ready(name)
    there = [p for p in inspect.signature(thing).parameters.values() if p.kind is not p.VAR_KEYWORD]
    needed = [p.name for p in there if p.default is p.empty]
    documented = docstrings.raised(METHODS.get(name) or thing)
    for argument in there:
        try:
            thing(**dict.fromkeys({*needed, argument.name}, object()))
        except Exception as error:
            kinds = {kind.__name__ for kind in type(error).__mro__}
            assert kinds & documented, f"{argument.name}: {error!r}"
