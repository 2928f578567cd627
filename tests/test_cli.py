# SPDX-License-Identifier: BSD-3-Clause
"""The command line as a program: its two names, its help, and how it ends. What commands do is in test_demo.py."""

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import fastnn as fn

MODULE = [sys.executable, "-P", "-m", "fastnn"]
SCRIPT = shutil.which("fastnn", path=sysconfig.get_path("scripts"))


def run(*command, folder):
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False, timeout=120)


@pytest.fixture
def model(tmp_path):
    fn.Sequential([fn.Dense(2, "tanh")], inputs=3, seed=7).save(tmp_path / "net.fnn")
    return tmp_path


@pytest.mark.skipif(SCRIPT is None, reason="fastnn is not installed with its script")
def test_both_names_do_the_same(model):
    for arguments in ([], ["--help"], ["info", "net.fnn"], ["info", "nothing"], ["fly"]):
        by_script, by_module = run(SCRIPT, *arguments, folder=model), run(*MODULE, *arguments, folder=model)
        assert (by_script.returncode, by_script.stdout, by_script.stderr) == (
            by_module.returncode, by_module.stdout, by_module.stderr,
        )  # fmt: skip


@pytest.mark.parametrize("command", ["", "demo", "info", "bench"])
def test_help_of_each_command(command, tmp_path):
    shown = run(*MODULE, *command.split(), "--help", folder=tmp_path)
    assert shown.returncode == 0 and shown.stderr == ""
    assert shown.stdout.startswith("usage: fastnn") and max(map(len, shown.stdout.splitlines())) <= 80
    words = {
        "": ["demo", "info", "bench"], "demo": ["--save", "--plot", "--threads"], "info": ["MODEL"],
        "bench": ["--quick", "WORKLOAD"],
    }  # fmt: skip
    for word in words[command]:
        assert word in shown.stdout


def test_info_of_a_file(model):
    shown = run(*MODULE, "info", "net.fnn", folder=model)
    assert shown.returncode == 0 and "parameters: 8; dtype float32; seed 7" in shown.stdout


@pytest.mark.parametrize(
    ("content", "said"), [(b"no model", "is no model"), (b"", "is no model"), (None, "No such file")]
)
def test_errors_are_one_line_and_status_1(content, said, tmp_path):
    if content is not None:
        (tmp_path / "net.fnn").write_bytes(content)
    shown = run(*MODULE, "info", "net.fnn", folder=tmp_path)
    assert shown.returncode == 1 and shown.stdout == ""
    assert shown.stderr.startswith("fastnn: error: ") and said in shown.stderr and len(shown.stderr.splitlines()) == 1


def test_a_damaged_file_is_named(model):
    content = bytearray(Path(model / "net.fnn").read_bytes())
    content[-40] ^= 1
    Path(model / "net.fnn").write_bytes(content)
    shown = run(*MODULE, "info", "net.fnn", folder=model)
    assert shown.returncode == 1 and "net.fnn is damaged" in shown.stderr


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_ctrl_c_ends_the_demo_without_a_trace_back(tmp_path):
    with subprocess.Popen(
        [*MODULE, "demo"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    ) as child:  # fmt: skip
        assert child.stdout.readline()  # it has begun
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=60)
    assert child.returncode == 130 and "Traceback" not in err and "stopped" in err
