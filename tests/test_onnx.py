# SPDX-License-Identifier: BSD-3-Clause
"""Networks as ONNX: ONNX Runtime gives what the network predicts, for every layer and activation."""

import doctest
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import stacks
from stacks import NARROW, STACKS

import fastnn as fn
from fastnn.onnx_activations import ACTIVATIONS
from fastnn.onnx_export import OPERATIONS

each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


def run(net, X, tmp_path):
    """The outputs of ONNX Runtime."""
    onnx = pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    path = tmp_path / "model.onnx"
    net.to_onnx(path)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(["output"], {"input": np.ascontiguousarray(X, net.dtype)})
    return found


def check(net, X, tmp_path):
    """To 1e-5; in float64 to 1e-12 where the error function has no part in it."""
    found, expected = run(net, X, tmp_path), net.predict(X)
    assert found.dtype == net.dtype and found.shape == expected.shape
    tolerance = 1e-5 if net.dtype == np.float32 or "gelu" in repr(net) else 1e-12
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * np.abs(expected).max(initial=1.0))


def test_the_example_runs():
    """It is marked to be skipped because the package onnx is optional; here it is not."""
    pytest.importorskip("onnx")
    example = doctest.DocTestParser().get_doctest(fn.Sequential.to_onnx.__doc__, {}, "to_onnx", None, 0)
    skipped = [part.options.pop(doctest.SKIP) for part in example.examples if doctest.SKIP in part.options]
    runner = doctest.DocTestRunner()
    runner.run(example, out=print)
    assert skipped and runner.failures == 0 and runner.tries == len(example.examples)


def test_every_operation_and_activation_can_be_written():
    header = (Path(__file__).parents[1] / "csrc" / "fastnn.h").read_text()
    kinds = re.search(r"typedef enum \{([^}]*)\} fnn_op_kind;", header).group(1)
    assert set(OPERATIONS) == {int(kind) for kind in re.findall(r"FNN_\w+ = (\d+)", kinds)}
    assert set(ACTIVATIONS) <= set(fn.activations) and len(ACTIVATIONS) >= 15


def test_an_activation_without_a_row_is_refused(monkeypatch, tmp_path):
    pytest.importorskip("onnx")
    monkeypatch.delitem(ACTIVATIONS, "mish")
    with pytest.raises(ValueError, match="activation 'mish' cannot be written to ONNX"):
        fn.Sequential([fn.Dense(1, "mish")], inputs=1, seed=0).to_onnx(tmp_path / "model.onnx")


@each_dtype
@pytest.mark.parametrize("name", STACKS)
def test_every_layer_is_the_same_in_onnx_runtime(name, dtype, tmp_path):
    net = stacks.network(name, NARROW, dtype=dtype)
    X, _ = stacks.table(50)
    check(net, X, tmp_path)


@each_dtype
@pytest.mark.parametrize("name", [*ACTIVATIONS, "leaky_relu(0.3)", "leaky_relu(2.0)", "leaky_relu(0.0)", "elu(0.3)"])
def test_every_activation_is_the_same_in_onnx_runtime(name, dtype, tmp_path):
    net = fn.Sequential([fn.Dense(6), fn.Activation(name)], inputs=6, seed=0, dtype=dtype)
    net.layers[0].weight = np.eye(6)
    X = np.r_[np.linspace(-4, 4, 60), np.linspace(-200, 200, 60), np.zeros(6)].reshape(-1, 6)
    check(net, X, tmp_path)


@each_dtype
def test_codes_that_are_no_category_are_the_unknown_one(dtype, tmp_path):
    net = fn.Sequential([fn.Embedding(3, units=2)], inputs=2, seed=0, dtype=dtype)
    net.layers[0].weight[3] = 9.0
    X = np.array([[0, 1], [2, 3], [-1, 99], [0.5, 1.5], [-0.5, 2.999], [1e9, -1e9], [-0.0, 2.0]])
    check(net, X, tmp_path)


@pytest.mark.parametrize("rows", [0, 1, 1000])
def test_any_number_of_rows(rows, tmp_path):
    net = stacks.network("table", NARROW, dtype="float32")
    check(net, stacks.table(rows)[0], tmp_path)


def test_a_trained_network(rng, tmp_path):
    X, y = rng.normal(size=(200, 4)) * [1, 10, 100, 1], rng.normal(size=200) * 50 + 1000
    layers = [fn.Normalization(), fn.Dense(32), fn.BatchNorm(), fn.Activation("relu"), fn.Dropout(0.1), fn.Dense(1)]
    net = fn.Sequential(layers, seed=0, scale_targets=True)
    net.fit(X, y, epochs=3, verbose=0)
    check(net, X, tmp_path)


def test_the_file_says_what_it_is(tmp_path):
    onnx = pytest.importorskip("onnx")
    net = fn.Sequential([fn.Dense(3, "relu"), fn.Dense(2)], inputs=4, seed=0)
    net.to_onnx(str(tmp_path / "model.onnx"))
    model = onnx.load(tmp_path / "model.onnx")
    assert (model.producer_name, model.producer_version) == ("fastnn", fn.__version__)
    assert [(one.domain, one.version) for one in model.opset_import] == [("", 13)] and model.ir_version == 7
    shapes = {
        value.name: [one.dim_param or one.dim_value for one in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {"input": ["rows", 4], "output": ["rows", 2]}
    assert [node.op_type for node in model.graph.node] == ["Gemm", "Relu", "Gemm", "Identity"]
    assert list(tmp_path.iterdir()) == [tmp_path / "model.onnx"]


def test_without_onnx_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnx", None)
    net = fn.Sequential([fn.Dense(1)], inputs=1, seed=0)
    with pytest.raises(ModuleNotFoundError, match="pip install onnx"):
        net.to_onnx(tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_network_too_large_for_the_format_is_refused(monkeypatch, tmp_path):
    pytest.importorskip("onnx")
    monkeypatch.setattr("fastnn.onnx_export.LARGEST", 7)
    net = fn.Sequential([fn.Dense(1)], inputs=1, seed=0)
    with pytest.raises(ValueError, match="8 bytes of numbers, but an ONNX file may have 7"):
        net.to_onnx(tmp_path / "model.onnx")
    with pytest.raises(RuntimeError, match="no weights"):
        fn.Sequential([fn.Dense(1)]).to_onnx(tmp_path / "model.onnx")


@each_dtype
def test_parameters_of_layers_are_in_the_file(dtype, tmp_path):
    layers = [fn.BatchNorm(epsilon=0.3), fn.Dense(5), fn.LayerNorm(epsilon=0.4), fn.RMSNorm(epsilon=0.5), fn.PReLU(0.7)]
    net = fn.Sequential(layers, inputs=6, seed=0, dtype=dtype)
    check(net, stacks.table(20)[0], tmp_path)


def test_a_missing_folder_is_named(tmp_path, monkeypatch):
    pytest.importorskip("onnx")
    monkeypatch.chdir(tmp_path)
    net = fn.Sequential([fn.Dense(1)], inputs=1, seed=0)
    with pytest.raises(FileNotFoundError, match=r"there is no folder '.*missing': 'missing/model.onnx'"):
        net.to_onnx("missing/model.onnx")
    with pytest.raises(TypeError, match="path must be a path, not bytes"):
        net.to_onnx(b"model.onnx")
