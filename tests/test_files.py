# SPDX-License-Identifier: BSD-3-Clause
"""Model files: what comes back, what is noticed, and what is never lost."""

import errno
import json
import os
import stat
import subprocess
import sys
import time
from hashlib import sha256
from textwrap import dedent

import numpy as np
import pytest
import safetensors.numpy
from processes import python
from snapshot import everything

import fastnn as fn
from fastnn import files

X = np.random.default_rng(1).normal(size=(60, 4)).astype(np.float32)
Y = np.arange(60) % 3


def trained(dtype="float32", optimizer="adam", **arguments):
    layers = [fn.Dense(5, "relu", name="first", learning_rate_factor=0.5), fn.Dense(3), fn.Activation("softmax")]
    net = fn.Sequential(layers, inputs=4, seed=2**63 + 1, dtype=dtype)
    net.fit(X, Y, epochs=2, optimizer=optimizer, verbose=0, **arguments)
    return net


@pytest.fixture(scope="module")
def content():
    """A small file, as bytes."""
    return files.to_bytes(fn.Sequential([fn.Dense(2, "tanh")], inputs=3, seed=0))


def signed(header, data=b""):
    """A file of our own making, with a digest that is right."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    body = len(text).to_bytes(8, "little") + text + data
    return body + sha256(body).digest()


def parts(content):
    """The header and the numbers of a file."""
    size = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + size]), content[8 + size : -32]


# ---- what comes back -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", ["adam", fn.SGD(0.1, momentum=0.9, nesterov=True), fn.SGD(0.1),
                                       fn.NAdam(average=0.9), fn.AdamW(weight_decay=0.5)])  # fmt: skip
def test_everything_comes_back_and_training_goes_on_with_the_same_bits(dtype, optimizer, tmp_path):
    net = trained(dtype, optimizer)
    net.save(tmp_path / "net.fnn")
    again = fn.load(tmp_path / "net.fnn")
    assert (again.params == net.params).all() and again.dtype == net.dtype
    assert repr(again) == repr(net) and again.seed == net.seed
    assert again.optimizer == net.optimizer and again._state.step == net._state.step
    assert (again._state.array == net._state.array).all()
    assert again.evaluate(X, Y) == net.evaluate(X, Y)
    for one in (net, again):
        one.fit(X, Y, epochs=2, optimizer=optimizer, verbose=0)
        one.train_step(X, Y)
    assert (again.params == net.params).all()


def test_a_loss_is_remembered(tmp_path):
    net = fn.Sequential([fn.Dense(3)], inputs=4, seed=0)
    net.fit(X, Y, loss="cross_entropy", epochs=1, verbose=0)
    net.save(tmp_path / "net")
    assert fn.load(tmp_path / "net").evaluate(X, Y) == net.evaluate(X, Y)


def test_a_network_that_was_never_trained(tmp_path):
    net = fn.Sequential([fn.Dense(3, "softmax", use_bias=False, trainable=False)], inputs=4, seed=0)
    net.save(tmp_path / "net")
    again = fn.load(tmp_path / "net")
    assert again.optimizer is None and (again.predict(X) == net.predict(X)).all() and repr(again) == repr(net)


def test_the_bits_of_weights_that_are_no_numbers_come_back(tmp_path):
    net = fn.Sequential([fn.Dense(2)], inputs=2, seed=0)
    net.params[...] = [np.nan, -np.nan, np.inf, -0.0, 1e-45, 3e38]
    net.save(tmp_path / "net")
    assert fn.load(tmp_path / "net").params.tobytes() == net.params.tobytes()


def test_the_same_network_makes_the_same_file(tmp_path):
    assert files.to_bytes(trained()) == files.to_bytes(trained())


def test_safetensors_reads_it(tmp_path):
    net = trained()
    net.save(tmp_path / "net.safetensors")
    tensors = safetensors.numpy.load_file(tmp_path / "net.safetensors")
    assert sorted(tensors) == ["optimizer.mean", "optimizer.variance", "params", "~sha256"]
    assert (tensors["params"] == net.params).all()
    header, _ = parts((tmp_path / "net.safetensors").read_bytes())
    config = json.loads(header["__metadata__"]["fastnn"])
    assert config["format"] == files.FORMAT and config["numerics_version"] >= 1


@pytest.mark.parametrize("kind", [str, lambda path: path])
def test_paths_may_be_text_or_objects(kind, tmp_path):
    path = kind(tmp_path / "réseau 网络.fnn")
    net = trained()
    net.save(path)
    assert (fn.load(path).params == net.params).all()


def test_what_is_no_path_is_refused(tmp_path):
    net = trained()
    for wrong in (os.fsencode(tmp_path / "net"), 5, None):
        for call in (net.save, fn.load):
            with pytest.raises(TypeError, match=f"path must be a path, not {type(wrong).__name__}"):
                call(wrong)
    nothing_left(tmp_path)


def test_a_long_name_is_no_problem(tmp_path):
    net = trained()
    net.save(tmp_path / ("n" * 250))
    assert (fn.load(tmp_path / ("n" * 250)).params == net.params).all()


def test_a_relative_path_and_a_link(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    net = trained()
    net.save("folder/real.fnn")
    os.symlink("folder/real.fnn", "link.fnn")
    net.train_step(X, Y)
    net.save("link.fnn")
    assert os.path.islink("link.fnn") and (fn.load("folder/real.fnn").params == net.params).all()


def test_permissions_stay(tmp_path):
    path = tmp_path / "net.fnn"
    mask = os.umask(0o027)
    try:
        trained().save(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        path.chmod(0o604)
        trained().save(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o604
    finally:
        os.umask(mask)


# ---- what is noticed -------------------------------------------------------------------------------------------------


def test_every_flipped_byte_is_noticed(content, tmp_path):
    assert len(content) < 2000
    for place in range(len(content)):
        for flip in (0x01, 0x80, 0xFF):
            bad = bytearray(content)
            bad[place] ^= flip
            with pytest.raises(ValueError, match=r"^some file (is damaged|is no model)"):
                files.from_bytes(bytes(bad), "some file")
    (tmp_path / "net").write_bytes(bytes(bad))
    with pytest.raises(ValueError, match=r"net is damaged.*SHA-256"):
        fn.load(tmp_path / "net")


def test_every_truncation_is_noticed(content, tmp_path):
    path = tmp_path / "net"
    for size in range(len(content)):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match=r"net is (damaged|no model)"):
            fn.load(path)
    for more in (b"\0", b"\n", content):
        path.write_bytes(content + more)
        with pytest.raises(ValueError, match=r"net is (damaged|no model)"):
            fn.load(path)


def test_exchanged_and_repeated_parts_are_noticed(content):
    half = len(content) // 2
    for bad in (content[half:] + content[:half], content[:half] + content[:half], content[::-1], content * 2):
        with pytest.raises(ValueError, match=r"is damaged|is no model"):
            files.from_bytes(bad)


@pytest.mark.parametrize("bad", [
    b"", b"{", b"\x80\x04K\x01.", b"PK\x03\x04" + bytes(100), b"\x89PNG\r\n\x1a\n" + bytes(100),
    (2**63).to_bytes(8, "little") + b"{" + bytes(100), b"\xff" * 200, bytes(200),
    (100 << 20).to_bytes(8, "little") + b"{" + bytes(100), (150).to_bytes(8, "little") + b"{" + bytes(100),
    signed(b"{}"), signed(b"{"), signed({"__metadata__": {}}), signed({"__metadata__": {"fastnn": "{}"}}),
    signed({"__metadata__": {"fastnn": "[]"}}), signed({"__metadata__": {"fastnn": "x"}}), signed({"__metadata__": 1}),
    signed({"__metadata__": {"fastnn": "[" * 100000}}), signed(b"{" + b'"a":{' * 50000),
    signed(b'{"__metadata__": {"fastnn": "\xff"}}'),
])  # fmt: skip
def test_what_is_no_model_is_said_to_be_none(bad, tmp_path):
    (tmp_path / "thing").write_bytes(bad)
    with pytest.raises(ValueError, match=r"thing is (no model of fastnn|damaged)"):
        fn.load(tmp_path / "thing")


def changed(content, **config):
    """A file with another configuration, and a digest that is right."""
    header, data = parts(content)
    old = json.loads(header["__metadata__"]["fastnn"])
    header["__metadata__"]["fastnn"] = json.dumps(
        {name: value for name, value in (old | config).items() if value != ...}
    )
    return signed(header, data)


DENSE = {"kind": "Dense", "units": 2, "activation": "tanh"}


def test_changed_makes_a_file_that_loads(content):
    assert files.from_bytes(changed(content)).n_params == 8
    assert files.from_bytes(changed(content, layers=[DENSE])).n_params == 8


@pytest.mark.parametrize("config", [
    {"inputs": 4}, {"inputs": 2**60}, {"inputs": 2**70}, {"inputs": -3}, {"inputs": "3"}, {"inputs": None},
    {"inputs": ...}, {"inputs": 1e300},
    {"dtype": "float64"}, {"dtype": "object"}, {"dtype": "float16"}, {"dtype": None},
    {"seed": None}, {"seed": -1}, {"seed": 2**64}, {"seed": "0"}, {"seed": ...}, {"layers": ...}, {"layers": []},
    {"layers": 3}, {"layers": [3]}, {"layers": ["Dense"]}, {"layers": [{}]}, {"layers": [{"kind": "Convolution"}]},
    {"layers": [DENSE | {"units": 3}]}, {"layers": [DENSE | {"units": 2**62}]}, {"layers": [DENSE | {"units": 1e9}]},
    {"layers": [DENSE | {"activation": "os.system"}]}, {"layers": [DENSE | {"bogus": 1}]},
    {"layers": [DENSE | {"kind": ["Dense"]}]}, {"layers": [DENSE] * 2}, {"layers": [DENSE] * 500},
    {"layers": [DENSE | {"learning_rate_factor": float("nan")}]}, {"layers": [DENSE | {"initializer": "__import__"}]},
    {"epochs_done": -1}, {"epochs_done": 2**64}, {"epochs_done": float("inf")}, {"epochs_done": "x"},
    {"epochs_done": ...}, {"loss": "unheard of"}, {"loss": 3}, {"loss": ...}, {"optimizer": 3},
    {"loss": {}}, {"loss": []}, {"loss": {"kind": "huber"}}, {"loss": {"kind": "huber", "delta": -1}},
    {"loss": {"kind": "mse", "delta": 1}}, {"loss": {"kind": "quantile", "quantiles": "0.5"}},
    {"optimizer": {"kind": "adam", "step": 1}}, {"optimizer": {"kind": "adam"}},
    {"optimizer": {"kind": "x", "step": 1}},
    {"optimizer": {"kind": "sgd", "step": -1}}, {"optimizer": {"kind": "sgd", "step": 2**63}},
    {"format": "1"}, {"format": None},
])  # fmt: skip
def test_a_signed_file_that_makes_no_sense_is_refused(config, content):
    with pytest.raises(ValueError, match=r"^some file (is no model of fastnn|has format)"):
        files.from_bytes(changed(content, **config), "some file")


@pytest.mark.parametrize("bad", [
    {"averaged": 3}, {"averaged": -1}, {"averaged": None}, {"product": 2.0}, {"product": float("nan")},
    {"product": "1"},
    {"average": 1.0}, {"weight_decay": -1}, {"momentum": 1.0}, {"step": 0.5},
])  # fmt: skip
def test_an_optimizer_that_makes_no_sense_is_refused(bad):
    """Of a file whose vectors are all there; without its average, "averaged" is wrong."""
    content = files.to_bytes(trained(optimizer=fn.SGD(0.1)))
    config = json.loads(parts(content)[0]["__metadata__"]["fastnn"])["optimizer"]
    assert files.from_bytes(changed(content, optimizer=config))._state.step == config["step"]
    with pytest.raises(ValueError, match=r"^some file is no model of fastnn"):
        files.from_bytes(changed(content, optimizer=config | bad), "some file")


def test_a_file_of_a_later_format_says_what_to_do(content):
    with pytest.raises(ValueError, match=r"format 2, this fastnn reads 1: install a newer fastnn"):
        files.from_bytes(changed(content, format=2))


def test_what_cannot_be_read_is_an_os_error_or_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.fnn"):
        fn.load(tmp_path / "nothing.fnn")
    with pytest.raises(ValueError, match=r"is no file"):
        fn.load(tmp_path)
    with pytest.raises(TypeError):
        fn.load(5)
    for call in (fn.load, fn.Sequential([fn.Dense(1)], inputs=1).save):
        with pytest.raises(ValueError, match="path is empty"):
            call("")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(ValueError, match=r"pipe is no file"):  # and does not wait for a writer
            fn.load(tmp_path / "pipe")


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs Linux's /proc")
def test_absurd_files_do_not_cost_memory(tmp_path):
    """A terabyte of another kind, and headers that promise a lot."""
    with open(tmp_path / "huge", "wb") as file:
        file.truncate(1 << 40)
    with open(tmp_path / "promising", "wb") as file:
        file.write((16 << 20).to_bytes(8, "little") + b"{")
        file.truncate(1 << 20)
    python(
        """
        import resource, sys, fastnn as fn, safetensors.numpy, json, hashlib
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for path in sys.argv[1:]:
            try:
                fn.load(path)
            except ValueError as error:
                assert "is no model" in str(error) or "is damaged" in str(error), error
            else:
                raise AssertionError
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000
        """,
        tmp_path / "huge", tmp_path / "promising",
    )  # fmt: skip


def test_loading_runs_no_code(tmp_path):
    trained().save(tmp_path / "net.fnn")
    seen = python(
        """
        import sys, fastnn as fn
        fn.load(sys.argv[1])  # imports what reading needs: json, hashlib, safetensors
        seen = []
        sys.addaudithook(lambda event, arguments: seen.append(event))
        fn.load(sys.argv[1])
        print(*sorted(set(seen)))
        """,
        tmp_path / "net.fnn",
    )
    assert "open" in seen.split()
    harmless = {"open", "os.stat", "os.fstat", "object.__getattr__"}
    assert set(seen.split()) <= harmless, seen


# ---- what is never lost ----------------------------------------------------------------------------------------------


def nothing_left(folder, *names):
    assert sorted(os.listdir(folder)) == sorted(names)


FAILING = {
    "the temporary file cannot be made": ("open", errno.EACCES),
    "writing finds the disk full": ("write", errno.ENOSPC),
    "the disk fails": ("fsync", errno.EIO),
    "renaming fails": ("replace", errno.EPERM),
}


class HalfWritten:
    """A file on a disk that has room for half of what is written."""

    def __init__(self, path, mode, fail):
        self.file, self.fail = open(path, mode), fail  # noqa: SIM115

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def write(self, content):
        self.file.write(content[: len(content) // 2])
        self.fail()


@pytest.mark.parametrize(("call", "code"), FAILING.values(), ids=FAILING.keys())
@pytest.mark.parametrize("old", [True, False])
def test_a_failing_save_leaves_the_old_file(call, code, old, tmp_path, monkeypatch):
    path = tmp_path / "net.fnn"
    net = trained()
    if old:
        net.save(path)
        before = path.read_bytes()
    net.train_step(X, Y)
    held = everything(net)

    def fail(*_, **__):
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        if call == "open":
            patch.setattr(files, "open", fail, raising=False)
        elif call == "write":
            patch.setattr(files, "open", lambda *arguments: HalfWritten(*arguments, fail), raising=False)
        else:
            patch.setattr(files.os, call, fail)
        with pytest.raises(OSError, match=os.strerror(code)) as caught:
            net.save(path)
    assert (caught.value.errno, caught.value.filename) == (code, str(path)), "the name of a temporary file"
    nothing_left(tmp_path, *(["net.fnn"] if old else []))
    if old:
        assert path.read_bytes() == before
    assert everything(net) == held
    net.save(path)
    assert (fn.load(path).params == net.params).all()


def test_a_missing_folder_is_named_and_so_is_the_path_that_was_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.symlink("nowhere/net.fnn", "link.fnn")
    for path in ("missing/net.fnn", "link.fnn"):
        folder = os.path.dirname(os.path.realpath(path))
        with pytest.raises(FileNotFoundError) as caught:
            trained().save(path)
        assert caught.value.filename == path and caught.value.errno == errno.ENOENT
        assert f"there is no folder {folder!r}: {path!r}" in str(caught.value)
    nothing_left(tmp_path, "link.fnn")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="whoever may write anywhere")
def test_a_folder_that_is_closed_is_named_by_the_path_that_was_given(tmp_path):
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o400)
    try:
        with pytest.raises(PermissionError) as caught:
            trained().save(folder / "net.fnn")
        assert caught.value.filename == str(folder / "net.fnn")
    finally:
        folder.chmod(0o700)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a file system of its own")
def test_a_full_disk_in_earnest(tmp_path):
    """The largest file a process may write stands for the disk."""
    net = fn.Sequential([fn.Dense(300)], inputs=300, seed=0)
    net.save(tmp_path / "net.fnn")
    python(
        """
        import os, resource, signal, sys, fastnn as fn
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        net = fn.load(sys.argv[1])
        expected = net.params.copy()
        net.params[...] = 1
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            net.save(sys.argv[1])
        except OSError:
            pass
        else:
            raise AssertionError
        assert (fn.load(sys.argv[1]).params == expected).all()
        """,
        tmp_path / "net.fnn",
    )
    nothing_left(tmp_path, "net.fnn")


def test_a_save_is_on_the_disk_before_the_name_changes(tmp_path, monkeypatch):
    order = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(files.os, name, lambda *a, name=name, real=real: (order.append(name), real(*a))[1])
    trained().save(tmp_path / "net.fnn")
    assert order[:2] == ["fsync", "replace"]
    assert order[2:] == (["fsync"] if os.name == "posix" else [])  # of the folder


def test_killed_at_any_moment_there_is_the_old_file_or_a_new_one(tmp_path):
    path = tmp_path / "net.fnn"
    net = fn.Sequential([fn.Dense(200)], inputs=200, seed=0)
    net.params[...] = -1
    net.save(path)
    script = """
        import sys, fastnn as fn
        net = fn.Sequential([fn.Dense(200)], inputs=200, seed=0)
        print("ready", flush=True)
        for number in range(1_000_000):
            net.params[...] = number
            net.save(sys.argv[1])
    """
    for moment in np.random.default_rng().uniform(0.002, 0.05, 10):
        with subprocess.Popen([sys.executable, "-P", "-c", dedent(script), str(path)], stdout=subprocess.PIPE) as child:
            child.stdout.readline()
            time.sleep(moment)
            child.kill()
        params = fn.load(path).params
        assert (params == params[0]).all()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_what_is_no_file_is_not_replaced_by_one(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises((OSError, ValueError), match=name):
            trained().save(tmp_path / name)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    nothing_left(tmp_path, "pipe", "folder")


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        trained().save(tmp_path / "nowhere" / "net.fnn")
