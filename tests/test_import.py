# SPDX-License-Identifier: BSD-3-Clause
"""What ``import fastnn`` brings along, and what it leaves alone."""

from processes import python

import fastnn as fn


def test_what_is_not_needed_is_not_imported():
    loaded = python("import sys, numpy; before = set(sys.modules); import fastnn; print(*set(sys.modules) - before)")
    for name in ("tqdm", "safetensors", "importlib.metadata", "concurrent.futures", "argparse", "difflib", "pickle",
                 "json", "multiprocessing", "ctypes", "asyncio", "matplotlib", "sklearn", "fastnn.demo"):  # fmt: skip
        assert not [module for module in loaded.split() if module == name or module.startswith(name + ".")], name


def test_training_without_a_bar_does_not_import_one():
    python(
        """
        import sys, numpy as np, fastnn as fn
        net = fn.Sequential([fn.Dense(2)], seed=0)
        net.fit(np.ones((9, 3)), np.ones((9, 2)), epochs=2, verbose=0)
        net.predict(np.ones(3)), net.evaluate(np.ones((9, 3)), np.ones((9, 2))), net.predictor()(np.ones(3))
        assert "tqdm" not in sys.modules and "safetensors" not in sys.modules
        """
    )


def test_the_process_is_left_as_it_was():
    python(
        """
        import locale, os, random, signal, sys, threading, warnings
        import numpy as np
        def state():
            return (
                dict(os.environ), sys.getrecursionlimit(), signal.getsignal(signal.SIGINT), threading.active_count(),
                np.geterr(), warnings.filters[:], locale.getlocale(), np.random.get_state()[1].tobytes(),
                random.getstate(), sys.excepthook, np.get_printoptions()["precision"],
            )
        before = state()
        import fastnn as fn
        assert state() == before
        net = fn.Sequential([fn.Dense(200, "tanh"), fn.Dense(2)], seed=0)
        net.fit(np.ones((900, 3)), np.ones((900, 2)), epochs=2, threads=2, verbose=0)
        assert state() == before
        """
    )


def test_importing_again_and_from_a_thread():
    python(
        """
        import importlib, threading
        def use():
            import fastnn as fn, numpy as np
            fn.Sequential([fn.Dense(2)], seed=0).fit(np.ones((9, 3)), np.ones((9, 2)), epochs=1, threads=2, verbose=0)
        thread = threading.Thread(target=use)
        thread.start(); thread.join()
        use()
        """
    )


def test_all_that_is_public_is_there_and_nothing_else():
    assert all(hasattr(fn, name) for name in fn.__all__)
    modules = {name for name in vars(fn) if type(vars(fn)[name]) is type(fn)}
    assert {name for name in vars(fn) if not name.startswith("_")} - modules == set(fn.__all__) - {"__version__"}
