# SPDX-License-Identifier: BSD-3-Clause
"""Each library runs in a process of its own, because thread pools that share a process fight.

A worker reads one JSON object a line from its standard input, calls the handler it names, and answers with one line.
Between two questions it sleeps. The parent's side is `Worker`; a worker's main program is `serve(handlers)`.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

# Settings that would hold a library back, or pin it to another processor's code, are not passed on.
_NOT_INHERITED = (
    "OPENBLAS_CORETYPE",
    "OPENBLAS_L2_SIZE",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "FASTNN_NUM_THREADS",
    "FASTNN_ISA",
    "XLA_FLAGS",
    "NPROC",
)

# A worker's first words. The top of the repository goes last on its path: an installed fastnn is to be found before
# the sources in the repository, which hold no compiled core.
_START = """
import runpy, sys
root, module = sys.argv[1:3]
sys.path.append(root)
del sys.argv[1:3]
try:
    runpy.run_module(module, run_name="__main__", alter_sys=True)
except ModuleNotFoundError as error:
    if error.name.startswith("benchmarks"):
        raise
    print('{"missing": "%s"}' % error.name)
"""


class NotInstalled(Exception):
    """The library that a worker is about cannot be imported by its Python."""


class WorkerFailed(Exception):
    """A handler raised, or the process ended; the message is what it last said."""


class Worker:
    """A process that runs `module` with `threads` processors to itself; a context manager."""

    def __init__(
        self, module: str, threads: int, python: str = sys.executable, environment: Mapping[str, str] | None = None
    ) -> None:
        self.module, self.threads = module, threads
        variables = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
        variables |= {"OMP_NUM_THREADS": str(threads), **(environment or {})}
        # A file, because a pipe that nobody reads would block the worker.
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [python, "-P", "-c", _START, str(ROOT), module, str(threads)],
            text=True,
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        try:
            self.versions: dict[str, str] = self._answer()
        except BaseException:
            self.close()
            raise

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, handler: str, **arguments: Any) -> Any:
        """Call a handler in the worker and return what it returns."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"handler": handler, "arguments": arguments}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended: reading its answer says so
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            raise WorkerFailed(f"{self.module} ended with status {self._process.returncode}: {self._last_words()}")
        answer = json.loads(line)
        if "missing" in answer:
            raise NotInstalled(answer["missing"])
        if "error" in answer:
            raise WorkerFailed(f"{self.module}: {answer['error']}")
        return answer["result"]

    def _last_words(self) -> str:
        self._errors.seek(0)
        return self._errors.read().strip()[-500:]

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()  # the end of its input ends it
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Pool:
    """Workers that go on living from one workload to the next, because some libraries take seconds to start.

    A library that is missing or does not start is noted once and not tried again.
    """

    def __init__(self, python_for: Callable[[str], str]) -> None:
        self._python_for = python_for
        self._workers: dict[tuple[Any, ...], Worker] = {}
        self._missing: dict[tuple[Any, ...], NotInstalled | WorkerFailed] = {}

    def get(self, name: str, module: str, threads: int, environment: Mapping[str, str] | None = None) -> Worker:
        """The worker for a library, started if need be; raises NotInstalled or WorkerFailed."""
        environment = environment or {}
        key = (name, module, threads, *sorted(environment.items()))
        if key in self._missing:
            raise self._missing[key]
        worker = self._workers.get(key)
        if worker is None or not worker.alive:
            try:
                worker = Worker(module, threads, self._python_for(name), environment)
            except (NotInstalled, WorkerFailed) as error:
                self._missing[key] = error
                raise
            self._workers[key] = worker
        return worker

    def forget(self) -> None:
        """End all workers: what the next ones take of memory and processor is theirs alone."""
        while self._workers:
            self._workers.popitem()[1].close()

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.forget()


def use_processors(threads: int) -> None:
    """Keep this process on `threads` processors: the only limit that every library's thread pool obeys."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def serve(load: Callable[[int], tuple[dict[str, str], Mapping[str, Callable[..., Any]]]]) -> None:
    """The main program of a worker. load(threads) imports the library and returns versions and handlers."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints must not be taken for an answer
    threads = int(sys.argv[1])
    use_processors(threads)
    try:
        versions, handlers = load(threads)
    except ModuleNotFoundError as error:
        answers.write(json.dumps({"missing": error.name}) + "\n")
        return
    answers.write(json.dumps({"result": versions}) + "\n")
    for line in sys.stdin:
        question = json.loads(line)
        try:
            answer = {"result": handlers[question["handler"]](**question["arguments"])}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
