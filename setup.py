"""Builds xenemu._core._machine: the Cython binding and all of csrc in one extension.

Everything else about the distribution is in pyproject.toml. XENEMU_SANITIZE=1 builds
with AddressSanitizer and UndefinedBehaviorSanitizer; such an extension is loaded with
LD_PRELOAD="$(gcc -print-file-name=libasan.so)" and PYTHONMALLOC=malloc.
XENEMU_STORE_POINTS=1 builds with a stop point after each store of a log append.
"""

import os
import shutil
import subprocess
import sys
from glob import glob

from Cython.Build import cythonize
from setuptools import Extension, setup

if sys.platform != "linux":
    raise SystemExit("xenemu needs Linux (memfd, epoll)")

subprocess.run([sys.executable, "tools/gen_abi.py"], check=True)
os.makedirs("xenemu/include", exist_ok=True)
shutil.copyfile("csrc/net/ftapi.h", "xenemu/include/ftapi.h")  # for profiles in C

compile_args = ["-std=c11", "-O2", "-fvisibility=hidden"]
link_args: list[str] = []
if os.environ.get("XENEMU_SANITIZE", "0") not in ("", "0"):
    sanitize = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
    compile_args += [*sanitize, "-g", "-fno-omit-frame-pointer"]
    link_args += sanitize

macros: list[tuple[str, str | None]] = [("_GNU_SOURCE", None)]
if os.environ.get("XENEMU_STORE_POINTS", "0") not in ("", "0"):
    macros.append(("XE_STORE_POINTS", None))

machine = Extension(
    "xenemu._core._machine",
    sources=["xenemu/_core/_machine.pyx", *sorted(glob("csrc/**/*.c", recursive=True))],
    depends=sorted(glob("csrc/**/*.h", recursive=True) + glob("csrc/**/*.def", recursive=True)),
    include_dirs=["csrc"],
    define_macros=macros,
    extra_compile_args=compile_args,
    extra_link_args=link_args,
)

setup(ext_modules=cythonize([machine], language_level=3))
