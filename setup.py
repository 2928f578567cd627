# SPDX-License-Identifier: BSD-3-Clause
"""Builds ``fastnn._core``: the units of ``build_plan.py``, linked with the Cython module. The rest is pyproject.toml.

Environment variables, for developers and packagers:

    FASTNN_LIMITED_API=0          a module for this version of Python alone, instead of one for 3.11 and later
    FASTNN_THREADS=posix|openmp|serial   how the library makes threads
    FASTNN_SANITIZE=address,undefined    a debug build under these sanitizers
"""

import os
import platform
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext as _build_ext

sys.path.insert(0, str(Path(__file__).resolve().parent))  # a build backend does not put it there
import build_plan

SANITIZE = os.environ.get("FASTNN_SANITIZE", "")
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
LIMITED_API = not FREE_THREADED and os.environ.get("FASTNN_LIMITED_API", "1") != "0"


def one_mac_architecture() -> None:
    """Choose one architecture when Python was built for two: the flags of the kernels are those of one processor."""
    if sys.platform != "darwin" or not sysconfig.get_platform().endswith("universal2"):
        return
    wanted = os.environ.get("ARCHFLAGS", "").replace("-arch", "").split() or [platform.machine()]
    if len(wanted) > 1:
        raise SystemExit("fastnn is built for one architecture at a time: set ARCHFLAGS='-arch arm64'")
    os.environ["ARCHFLAGS"] = f"-arch {wanted[0]}"
    os.environ["_PYTHON_HOST_PLATFORM"] = sysconfig.get_platform().replace("universal2", wanted[0])


def threads_backend(msvc: bool) -> build_plan.Threads:
    name = os.environ.get("FASTNN_THREADS") or build_plan.default_threads(sysconfig.get_platform(), msvc)
    if name not in build_plan.THREADS:
        raise SystemExit(f"FASTNN_THREADS={name}: must be one of {', '.join(build_plan.THREADS)}")
    return build_plan.THREADS[name]


class build_ext(_build_ext):
    """Compiles the C library unit by unit, each with its own flags, and hands the objects to the extension."""

    def build_extension(self, ext: Extension) -> None:
        self.msvc = self.compiler.compiler_type == "msvc"
        if self.msvc and not self.compiler.initialized:
            self.compiler.initialize()
        for name in ("compiler", "compiler_so", "linker_so"):  # a user's CFLAGS reach all three
            command = getattr(self.compiler, name, None)
            if isinstance(command, list):
                setattr(self.compiler, name, [word for word in command if word not in build_plan.FAST_MATH])

        # The generated C stays in the build folder: it belongs neither in the tree, nor in the sdist, nor in the wheel.
        (cythonized,) = cythonize([ext], build_dir=os.path.join(self.build_temp, "cython"), force=self.force)
        ext.sources = cythonized.sources
        ext.extra_objects = self.library_objects()
        ext.depends = [*ext.depends, *ext.extra_objects]
        ext.extra_compile_args = self.flags(build_plan.GNU_BOUNDARY_FLAGS, ("/O2",))
        ext.extra_link_args = self.link_flags()
        super().build_extension(ext)

    def library_objects(self) -> list[str]:
        """Compile what has changed, in parallel; return the objects of all units, in the order of the plan."""
        units = build_plan.units(build_plan.architecture(sysconfig.get_platform()))
        newest_header = max(path.stat().st_mtime for path in build_plan.headers())
        processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        with ThreadPoolExecutor(processors) as pool:
            return list(pool.map(lambda unit: self.unit_object(unit, newest_header), units))

    def unit_object(self, unit: build_plan.Unit, newest_header: float) -> str:
        folder = os.path.join(self.build_temp, "csrc", unit.name)
        (output,) = self.compiler.object_filenames([unit.source], output_dir=folder)
        threads = threads_backend(self.msvc)
        defines = [*unit.defines, (threads.define, "1")]
        flags = self.flags(
            (*build_plan.GNU_FLAGS, *unit.isa.gnu, *threads.gnu),
            (*build_plan.MSVC_FLAGS, *unit.isa.msvc, *threads.msvc),
        )
        # An object is good as long as its command is the same and neither its source nor any header is younger.
        command = repr((getattr(self.compiler, "compiler_so", "cl"), defines, flags))
        record = Path(output + ".command")
        if not self.force and record.exists() and os.path.exists(output) and record.read_text() == command:
            if os.path.getmtime(output) >= max(newest_header, os.path.getmtime(unit.source)):
                return output
        record.parent.mkdir(parents=True, exist_ok=True)
        self.compiler.compile(
            [unit.source], output_dir=folder, macros=defines, include_dirs=["csrc"], extra_postargs=flags
        )
        record.write_text(command)
        return output

    def flags(self, gnu: tuple[str, ...], msvc: tuple[str, ...]) -> list[str]:
        """The last flags of a compiler command, which win over those Python itself was built with."""
        if self.msvc:
            return list(msvc)
        if SANITIZE:
            return [*gnu, *build_plan.sanitizer_flags(SANITIZE)]
        return [*gnu, *(build_plan.HARDENING if sys.platform == "linux" else ())]

    def link_flags(self) -> list[str]:
        if self.msvc:
            return []
        flags = [*threads_backend(self.msvc).gnu]
        if SANITIZE:
            flags += build_plan.sanitizer_flags(SANITIZE)
        elif sys.platform == "linux":
            flags += build_plan.HARDENING_LINK
        return flags


# NumPy is met through its C macros, for the one-row call; built with the headers of NumPy 2, it runs with 1.26 too
# (which has the interface of 1.25).
macros = [("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION"), ("NPY_TARGET_VERSION", "NPY_1_25_API_VERSION")]
if LIMITED_API:
    macros.append(("Py_LIMITED_API", "0x030B0000"))

one_mac_architecture()
setup(
    ext_modules=[
        Extension(
            "fastnn._core",
            sources=["fastnn/_core.pyx"],
            include_dirs=["csrc", numpy.get_include()],
            define_macros=macros,
            libraries=[] if sys.platform == "win32" else ["m"],
            py_limited_api=LIMITED_API,
        )
    ],
    cmdclass={"build_ext": build_ext},
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if LIMITED_API else {},
)
