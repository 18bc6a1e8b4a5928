"""The table of compiled modules; all else about the distribution stands in pyproject.toml.

`FLOODGATE_PURE=1` installs without them, for a machine that has no C compiler.  What was installed
so also runs only so.
"""

import os
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import BaseError, CCompilerError, ExecError

COMPILED = os.environ.get("FLOODGATE_PURE") != "1"
BENCH = "bench.load._brisk_c"
HAS_BENCH = sys.platform == "linux" and Path("bench").is_dir()


class Build(build_ext):
    """What only load runs need is built where the sources are, and not handed out."""

    def run(self) -> None:
        """Build."""
        if not (self.inplace or self.editable_mode):
            self.extensions = [each for each in self.extensions if each.name != BENCH]
        try:
            super().run()
        except (CCompilerError, ExecError, OSError) as problem:
            raise BaseError(
                f"{problem}; a C compiler and Python's headers are needed, or FLOODGATE_PURE=1 "
                "to install, and then to run, plain Python, which is slower"
            ) from problem

    def get_source_files(self) -> list[str]:
        """Give what a source distribution holds of the extensions."""
        return [each for each in super().get_source_files() if not each.startswith("bench/")]


setup(
    cmdclass={"build_ext": Build},
    ext_modules=cythonize(
        [
            Extension("native._signature_c", ["native/_signature_c.pyx"]),
            Extension("native._routes_c", ["native/_routes_c.pyx"]),
            Extension("native._arrays_c", ["native/_arrays_c.pyx"]),
            Extension("native._names_c", ["native/_names_c.pyx"]),
            Extension("native._exchange_c", ["native/_exchange_c.pyx"]),
            Extension("native._laps_c", ["native/_laps_c.pyx"]),
            Extension("native._times_c", ["native/_times_c.pyx"]),
            Extension("native._heads_c", ["native/_heads_c.pyx"]),
            # It asks Linux for what happens on its sockets; elsewhere aiohttp serves everything.
            *[Extension("native._front_c", ["native/_front_c.pyx"])][: sys.platform == "linux"],
            *[Extension(BENCH, ["bench/load/_brisk_c.pyx"])][:HAS_BENCH],
        ],
        compiler_directives={"language_level": "3", "binding": True, "autotestdict": False},
    )
    if COMPILED
    else [],
)
