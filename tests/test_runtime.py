# SPDX-License-Identifier: BSD-3-Clause
"""The process: how many threads may work and do, which instruction set, and what is left behind after a call."""

import importlib.util
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from processes import python
from snapshot import digest

import fastnn as fn
from fastnn import _core, runtime

LINUX = sys.platform.startswith("linux")
SERIAL = _core.threads_backend() == "serial"
ISAS = [name for name in _core.isa_names() if _core.isa_supported(name)]

X = np.random.default_rng(1).normal(size=(256, 64)).astype(np.float32)
Y = np.arange(256) % 3


def wide():
    """Large enough for several threads to pay."""
    return fn.Sequential([fn.Dense(512, "tanh"), fn.Dense(3, "softmax")], inputs=64, seed=0)


@pytest.fixture
def environment(monkeypatch):
    for name in ("FASTNN_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


# ---- how many threads may work ---------------------------------------------------------------------------------------


def test_who_is_asked_first(environment):
    assert fn.get_num_threads() == runtime.available_processors()
    environment.setenv("OMP_NUM_THREADS", "7")
    assert fn.get_num_threads() == 7
    environment.setenv("FASTNN_NUM_THREADS", "5")
    assert fn.get_num_threads() == 5
    fn.set_num_threads(3)
    assert fn.get_num_threads() == 3
    fn.set_num_threads(None)
    assert fn.get_num_threads() == 5


def test_threadpoolctl_limits_our_threads():
    threadpoolctl = pytest.importorskip("threadpoolctl")
    fn.get_num_threads()  # by now threadpoolctl has been told
    before = fn.get_num_threads()
    with threadpoolctl.threadpool_limits(3):
        assert fn.get_num_threads() == 3
        with threadpoolctl.threadpool_limits(1, user_api="fastnn"):
            assert fn.get_num_threads() == 1
        assert fn.get_num_threads() == 3
        with threadpoolctl.threadpool_limits(1, user_api="blas"):
            assert fn.get_num_threads() == 3
    assert fn.get_num_threads() == before
    assert runtime._limit is None, "what was the default is the default again"
    (ours,) = (pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "fastnn")
    assert ours["version"] == fn.__version__ and ours["num_threads"] == before


@pytest.mark.parametrize(("value", "threads"), [(" 3 ", 3), ("4,2", 4), ("100000", 1024)])
def test_omp_num_threads_as_openmp_reads_it(environment, value, threads):
    environment.setenv("OMP_NUM_THREADS", value)
    assert fn.get_num_threads() == threads


@pytest.mark.parametrize("value", ["", "0", "-3", "many", "1.5"])
def test_nonsense_in_a_variable_of_others_is_passed_over(environment, value):
    environment.setenv("OMP_NUM_THREADS", value)
    assert fn.get_num_threads() == runtime.available_processors()


@pytest.mark.parametrize("value", ["0", "-3", "many", "1.5", "1025"])
def test_nonsense_in_our_own_is_an_error(environment, value):
    environment.setenv("FASTNN_NUM_THREADS", value)
    with pytest.raises(ValueError, match=rf"FASTNN_NUM_THREADS must be in 1\.\.1024, not '{value}'"):
        fn.get_num_threads()
    net = wide()
    before = digest(net.params)
    with pytest.raises(ValueError, match="FASTNN_NUM_THREADS"):
        net.fit(X, Y, verbose=0)
    assert digest(net.params) == before
    net.fit(X, Y, epochs=1, threads=1, verbose=0)


@pytest.mark.skipif(SERIAL, reason="built for one thread")
def test_an_argument_is_taken_literally_and_a_limit_is_not_exceeded(environment):
    counts = {}
    for threads in (1, 2, 3, 8):
        net = wide()
        assert net.fit(X, Y, epochs=1, threads=threads, verbose=0).threads == net.threads_used == threads
        counts[threads] = digest(net.params)
        fn.set_num_threads(threads)
        net = wide()
        assert net.fit(X, Y, epochs=1, batch_size=None, verbose=0).threads <= threads
    assert len(set(counts.values())) == 1


def test_small_networks_take_one_thread():
    fn.set_num_threads(8)
    net = fn.Sequential([fn.Dense(8, "tanh"), fn.Dense(3, "softmax")], inputs=64, seed=0)
    assert net.fit(X, Y, epochs=1, verbose=0).threads == 1
    assert _core.threads_worth(1e3, 8) == 1 and (SERIAL or _core.threads_worth(1e9, 8) == 8)
    assert [_core.threads_worth(work, 1) for work in (0, 1e12, 1e300)] == [1, 1, 1]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs affinity")
def test_affinity_is_a_limit():
    printed = python(
        """
        import os, numpy as np, fastnn as fn
        from fastnn import runtime
        runtime._quota.cache_clear()
        before = fn.get_num_threads()
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        print(fn.get_num_threads())
        net = fn.Sequential([fn.Dense(512, "tanh"), fn.Dense(512)], inputs=512, seed=0)
        net.fit(np.ones((256, 512)), np.ones((256, 512)), batch_size=None, epochs=1, verbose=0)
        print(net.threads_used)
        """
    )
    assert printed.split() == ["1", "1"]


def quota(tmp_path, membership, **files):
    (tmp_path / "membership").write_text(membership)
    for path, text in files.items():
        path = tmp_path / "root" / path.replace("__", "/").replace("cpu_max", "cpu.max").replace("cfs_", "cpu.cfs_")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    runtime._quota.cache_clear()
    try:
        return runtime._quota(str(tmp_path / "root"), str(tmp_path / "membership"))
    finally:
        runtime._quota.cache_clear()


@pytest.mark.skipif(not LINUX, reason="control groups are Linux's")
def test_the_quota_of_a_container_is_a_limit(tmp_path):
    def case(number):
        (tmp_path / str(number)).mkdir()
        return tmp_path / str(number)

    assert quota(case(0), "0::/\n", cpu_max="200000 100000\n") == 2.0
    assert quota(case(1), "0::/\n", cpu_max="max 100000\n") is None
    assert (
        quota(case(2), "0::/a/b\n", cpu_max="max 100000\n", a__cpu_max="150000 100000\n", a__b__cpu_max="300000 1\n")
        == 1.5
    )
    assert quota(case(3), "0::/gone\n") is None
    assert quota(case(4), "3:cpuset:/\n2:cpu,cpuacct:/x\n", cpu__cfs_quota_us="-1\n", cpu__cfs_period_us="100000\n",
                 cpu__x__cfs_quota_us="50000\n", cpu__x__cfs_period_us="100000\n") == 0.5  # fmt: skip
    assert quota(case(5), "0::/\n", cpu_max="nonsense\n") is None
    assert quota(case(6), "") is None


def test_half_a_processor_is_one_thread(monkeypatch):
    monkeypatch.setattr(runtime, "_quota", lambda: 0.5)
    assert runtime.available_processors() == 1


@pytest.mark.skipif(not LINUX or SERIAL, reason="needs a limit on address space")
def test_without_threads_to_be_had_it_is_slower_with_the_same_bits():
    printed = python(
        """
        import hashlib, resource, numpy as np, fastnn as fn
        X, Y = np.random.default_rng(0).normal(size=(256, 16)), np.arange(256) % 3
        def train(threads):
            net = fn.Sequential([fn.Dense(32, "tanh"), fn.Dense(3, "softmax")], inputs=16, seed=0)
            net.fit(X, Y, epochs=2, batch_size=128, threads=threads, verbose=0)
            return net.threads_used, hashlib.sha256(net.params.tobytes()).hexdigest()
        used, expected = train(1)
        pages = int(open("/proc/self/statm").read().split()[0])
        room = pages * resource.getpagesize() + (6 << 20)  # for a few stacks of 512 KB
        resource.setrlimit(resource.RLIMIT_AS, (room, room))
        used, found = train(64)
        assert found == expected
        print(used)
        """
    )
    assert 1 <= int(printed) < 64


# ---- after a call ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 4])
def test_nothing_keeps_the_processor_busy_after_a_call(threads):
    net = wide()
    net.fit(X, Y, epochs=3, threads=threads, verbose=0)
    net.predict(X, threads=threads)
    used = []
    for _ in range(3):  # a garbage collection of somebody else's may fall into one of them
        before = time.process_time()
        time.sleep(0.2)
        used.append(time.process_time() - before)
    assert min(used) < 0.02


@pytest.mark.skipif(not LINUX or SERIAL, reason="counts threads in /proc")
def test_threads_do_not_pile_up():
    def alive():
        return len(os.listdir("/proc/self/task"))

    net = wide()
    net.fit(X, Y, epochs=1, threads=4, verbose=0)
    after_one = alive()
    for _ in range(20):
        net.fit(X, Y, epochs=1, threads=4, verbose=0)
        net.predict(X, threads=3)
    assert alive() == after_one


# ---- instruction sets and what was built -----------------------------------------------------------------------------


SHOW = """
    import warnings
    warnings.simplefilter("error")
    import fastnn as fn
    print(fn.show_config("dicts")["instruction set"])
"""


@pytest.mark.parametrize("name", [*ISAS, ISAS[-1].upper() + " "])
def test_the_instruction_set_may_be_chosen(name):
    assert python(SHOW, FASTNN_ISA=name).strip() == name.strip().lower()


def test_without_a_choice_it_is_the_best():
    assert python(SHOW, FASTNN_ISA="").strip() == ISAS[0]


@pytest.mark.skipif(not LINUX, reason="other systems do not list the processor's features as a file")
def test_the_tools_know_the_instruction_sets_of_this_processor(monkeypatch):
    """Else the C tests would leave one out and say nothing."""
    monkeypatch.setattr(sys, "path", sys.path.copy())  # the script puts the sources first
    script = Path(__file__).parents[1] / "tools" / "c_tests.py"
    spec = importlib.util.spec_from_file_location("c_tests", script)
    c_tests = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(c_tests)
    sets = c_tests.build_plan.INSTRUCTION_SETS[c_tests.ARCHITECTURE]
    assert {isa.name for isa in sets if c_tests.runs_here(isa)} == set(ISAS)


def test_an_unknown_instruction_set_is_an_error_at_import():
    said = python("import fastnn", FASTNN_ISA="avx3", fails=True).strip().splitlines()[-1]
    for word in ("ValueError", "FASTNN_ISA", "'avx3'", "avx2" if "avx2" in _core.isa_names() else "generic"):
        assert word in said
    assert "Did you mean" in said or "avx2" not in _core.isa_names()


def test_an_instruction_set_this_processor_lacks_is_a_warning(monkeypatch):
    """One variable for many machines shall not stop the older of them."""

    class OldProcessor:
        isa = staticmethod(lambda: "generic")
        isa_names = staticmethod(lambda: ("avx512", "generic"))
        isa_supported = staticmethod(lambda name: name == "generic")
        isa_select = staticmethod(lambda name: False)

    monkeypatch.setattr(runtime, "_core", OldProcessor)
    monkeypatch.setenv("FASTNN_ISA", "avx512")
    with pytest.warns(RuntimeWarning, match=r"FASTNN_ISA is 'avx512', but this processor has generic; using generic"):
        runtime._select_instruction_set()


def test_an_unknown_name_changes_nothing():
    before = _core.isa()
    assert not _core.isa_select("avx3") and _core.isa() == before
    assert not _core.isa_select("é") and _core.isa() == before


def test_show_config_says_what_is_here(capsys):
    config = fn.show_config("dicts")
    assert capsys.readouterr().out == ""
    assert config["fastnn"] == fn.__version__ and config["numpy"] == np.__version__
    assert config["instruction set"] == _core.isa() and config["threads"] == fn.get_num_threads()
    assert config["instruction sets of this processor"] == ISAS and ISAS[-1] == "generic"
    assert fn.show_config() is None
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) == len(config)
    for key, value in config.items():
        assert f"{key}:" in printed and (", ".join(value) if isinstance(value, list) else str(value)) in printed
