# SPDX-License-Identifier: BSD-3-Clause
"""The command line: the demo keeps its word on accuracy and width; errors are one line, not a trace."""

import importlib.util
import subprocess
import sys

import pytest

import fastnn as fn
from fastnn import __main__ as command_line
from fastnn import demo

HAS_MATPLOTLIB = importlib.util.find_spec("matplotlib") is not None


def run(*arguments):
    """The exit status of a command."""
    return command_line.main(list(arguments))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """One run of the demo for all tests that look at what it leaves: (file, what it printed)."""
    path = tmp_path_factory.mktemp("demo") / "digits.fnn"
    done = subprocess.run(
        [sys.executable, "-m", "fastnn", "demo", "--save", str(path), "--threads", "1"],
        capture_output=True, text=True, cwd=path.parent, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return path, done.stdout


# ---- the demo --------------------------------------------------------------------------------------------------------


def test_held_out_rows_are_not_trained_on():
    X_train, y_train, X_test, y_test = demo.split_digits()
    assert (len(X_train), len(X_test)) == (1348, 449) == (len(y_train), len(y_test))
    assert X_train.dtype == "float32" and X_train.min() == 0 and X_train.max() == 1
    trained = {row.tobytes() for row in X_train}
    assert not any(row.tobytes() in trained for row in X_test)


def test_the_saved_network_reads_97_percent_of_the_held_out_digits(saved):
    path, printed = saved
    _, _, X_test, y_test = demo.split_digits()
    accuracy = (fn.load(path).predict(X_test).argmax(1) == y_test).mean()
    assert accuracy >= 0.97
    assert f"held-out accuracy   {100 * accuracy:.2f} %" in printed


@pytest.mark.parametrize("said", [
    "1,348 to learn from", "dense", "held-out accuracy", "training time", "training speed", "images a second",
    "one prediction", "microseconds", "What to type next", "fastnn info",
])  # fmt: skip
def test_it_prints_what_was_measured_and_what_to_do_next(saved, said):
    assert said.lower() in saved[1].lower()


def test_it_fits_eighty_columns_of_ascii(saved):
    path, printed = saved
    printed = printed.replace(str(path), "digits.fnn")
    assert printed.isascii()
    assert max(map(len, printed.splitlines())) <= 80


def test_the_same_accuracy_on_any_number_of_threads(saved, capsys):
    accuracy = demo.run(threads=2)
    assert f"held-out accuracy   {100 * accuracy:.2f} %" in saved[1]
    capsys.readouterr()


def test_four_digits_are_drawn_with_what_was_read():
    _, _, X_test, y_test = demo.split_digits()
    predicted = y_test.copy()
    predicted[5] = (y_test[5] + 1) % 10
    lines = demo._drawings(X_test, y_test, predicted).splitlines()
    assert len(lines) == 9
    assert lines[-1].split() == (
        f"read as {y_test[0]} read as {y_test[1]} read as {y_test[2]} read as {predicted[5]}, is {y_test[5]}".split()
    )


@pytest.mark.skipif(not HAS_MATPLOTLIB, reason="needs matplotlib")
def test_plot(tmp_path, capsys):
    assert run("demo", "--plot", str(tmp_path / "digits.png")) == 0
    assert (tmp_path / "digits.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_plot_says_what_to_install_before_training(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # import now raises ImportError
    assert run("demo", "--plot", "digits.png") == 1
    streams = capsys.readouterr()
    assert "matplotlib" in streams.err and "pip install" in streams.err and streams.out == ""


def test_a_folder_that_is_not_there_is_noticed_before_training(tmp_path, capsys):
    assert run("demo", "--save", str(tmp_path / "nowhere" / "digits.fnn")) == 1
    streams = capsys.readouterr()
    assert "nowhere" in streams.err and streams.out == ""


# ---- the other commands ----------------------------------------------------------------------------------------------


def test_without_a_command_help_is_printed(capsys):
    assert run() == 0
    printed = capsys.readouterr().out
    assert "demo" in printed and "info" in printed


def test_info_shows_this_installation(capsys):
    assert run("info") == 0
    assert fn.__version__ in capsys.readouterr().out


def test_info_shows_the_network_in_a_file(saved, capsys):
    assert run("info", str(saved[0])) == 0
    printed = capsys.readouterr().out
    assert "256" in printed and "softmax" in printed


def test_info_of_a_file_that_is_missing_or_no_model_is_one_line(tmp_path, capsys):
    assert run("info", str(tmp_path / "nothing.fnn")) == 1
    (tmp_path / "other.fnn").write_bytes(b"not a model")
    assert run("info", str(tmp_path / "other.fnn")) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and all(line.startswith("fastnn: error: ") for line in lines)
    assert "nothing.fnn" in lines[0]


@pytest.mark.parametrize(
    "arguments", [["fly"], ["demo", "--threads", "0"], ["demo", "--threads", "two"], ["info", "a", "b"]]
)
def test_wrong_usage_is_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        run(*arguments)
    assert stopped.value.code == 2


def test_ctrl_c_is_status_130(monkeypatch, capsys):
    def interrupted(**_):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "run", interrupted)
    assert run("demo") == 130
