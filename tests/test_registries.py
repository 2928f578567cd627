# SPDX-License-Identifier: BSD-3-Clause
"""What every row of every registry owes: formula, docstring with a running example, gradient check, golden hash, and a
line in the documentation. Layers are walked in test_layer_kinds.py, with the same demands.
"""

import re
from pathlib import Path

import golden
import pytest
import reference
from registries import check_row
from test_gradients import away_from_kinks, stack

import fastnn as fn
from fastnn.callbacks import Callback
from fastnn.initializers import initializer
from fastnn.layers import LAYERS, Dense, all_parts
from fastnn.losses import resolve_loss

DOCS = Path(__file__).parents[1] / "docs"


def public(base):
    """The public classes below another: a registry without a table."""
    kinds = (kind for kind in map(vars(fn).get, fn.__all__) if isinstance(kind, type))
    return {kind.__name__: kind for kind in kinds if issubclass(kind, base) and kind is not base}


REGISTRIES = {
    "activations": fn.activations, "losses": fn.losses, "optimizers": fn.optimizers, "initializers": fn.initializers,
    "metrics": fn.metrics, "schedules": public(fn.Schedule), "callbacks": public(Callback), "layers": LAYERS,
}  # fmt: skip
FORMULAS = {
    "activations": ("formula", "derivative"), "losses": ("formula", "gradient"), "optimizers": ("formula",),
    "initializers": ("formula",), "metrics": ("formula",),
}  # fmt: skip
ROWS = [(registry, name) for registry, rows in REGISTRIES.items() for name in rows]
each_row = pytest.mark.parametrize(("registry", "name"), ROWS)


def listed(registry, page=None):
    """The names in the first column of a page's tables, or in its headings."""
    text = (DOCS / f"{registry}.md").read_text() if page is None else page
    return re.findall(r"^(?:\| |## )`(\w+)(?:\([^`]*\))?`", text, re.MULTILINE)


def hashed():
    """Registry -> names whose bits a golden hash holds."""
    promised = ("activations", "losses", "optimizers", "initializers", "schedules", "layers")
    found = {registry: set() for registry in promised}
    for configuration in golden.configurations().values():
        net = golden.network(configuration)
        for layer in all_parts(net.layers):
            found["layers"].add(type(layer).__name__)
            if hasattr(layer, "activation"):
                found["activations"].add(layer.activation.name)
            if isinstance(layer, Dense) and layer.initializer != "auto":
                found["initializers"].add(initializer(layer.initializer).name)
        graph = net._parameters.graph
        objective = resolve_loss(golden.loss_of(configuration[2]), graph.last_activation, graph.width)
        found["losses"].add(objective.loss.name)
        found["optimizers"].add(golden.OPTIMIZERS[configuration[3]]().name)
        if configuration[5] in golden.SCHEDULES:
            found["schedules"].add(type(golden.SCHEDULES[configuration[5]]()).__name__)
    return found


HASHED = hashed()


@each_row
def test_every_row_has_its_formula_and_an_example(registry, name):
    row = REGISTRIES[registry][name]
    check_row(row, *(getattr(row, attribute) for attribute in FORMULAS.get(registry, ())))


@each_row
def test_every_row_has_a_line_in_the_documentation(registry, name):
    assert name in listed(registry), f"docs/{registry}.md has no line of {name}"


@pytest.mark.parametrize("registry", REGISTRIES)
def test_the_documentation_has_no_others(registry):
    named = listed(registry)
    assert len(set(named)) == len(named)
    if registry == "callbacks":  # its page lists their methods as well
        named = [name for name in named if not name.startswith("on_") and name != "state_dict"]
    assert set(named) == set(REGISTRIES[registry])


@pytest.mark.parametrize("registry", HASHED)
def test_every_row_whose_bits_are_promised_has_a_golden_hash(registry):
    missing = set(REGISTRIES[registry]) - HASHED[registry]
    assert not missing, f"no configuration of golden.py has the {registry} {sorted(missing)}"
    assert HASHED[registry] <= set(REGISTRIES[registry])


@pytest.mark.parametrize("name", fn.activations)
def test_every_activation_has_a_gradient_check(name):
    net, _, X, y = away_from_kinks(stack(name, name), "mse")
    assert 0 < fn.check_gradients(net, X, y, "mse") <= 1e-7


@pytest.mark.parametrize("name", fn.losses)
def test_every_loss_has_a_gradient_check(name):
    for last in reference.lasts(name):
        net, _, X, y = away_from_kinks(stack("tanh", last), name)
        assert 0 < fn.check_gradients(net, X, y, name) <= 1e-7


def test_a_missing_line_is_noticed():
    page = "| name | a |\n|---|---|\n| `relu` | max |\n| `EarlyStopping(patience=5)` | ends |\n\n## `Dense`\n`tanh`\n"
    assert listed("activations", page) == ["relu", "EarlyStopping", "Dense"]


def test_the_front_page_leads_to_every_page():
    front = (DOCS.parent / "README.md").read_text()
    for page in DOCS.glob("*.md"):
        assert f"](docs/{page.name})" in front, f"README.md does not lead to docs/{page.name}"


@pytest.mark.parametrize("page", [*DOCS.glob("*.md"), DOCS.parent / "README.md", DOCS.parent / "CONTRIBUTING.md"],
                         ids=lambda page: page.name)  # fmt: skip
def test_links_between_pages_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert target.startswith("http") or (page.parent / target).exists(), f"{page.name} links to {target}"
