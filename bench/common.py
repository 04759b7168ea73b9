"""What the benchmarks share: building their C, interleaved pairs, and the report.

A pair times two things one after the other; the order alternates from pair to pair, so
that drift of the machine's speed cancels. Only ratios within a pair are judged.
"""

from __future__ import annotations

import argparse
import fcntl
import importlib.util
import json
import math
import os
import platform
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any, TypeVar

import cffi
from Cython.Build import cythonize
from setuptools import Distribution, Extension

ROOT = Path(__file__).resolve().parent.parent
BENCH = ROOT / "bench"
BUILD = ROOT / "build" / "bench"
# As setup.py has them.
COMPILE_ARGS = ["-std=c11", "-O2", "-fvisibility=hidden"]

T = TypeVar("T")
Condition = Callable[[], bool]
Timed = Callable[[], float]
"""Runs what is timed once; nanoseconds of one operation."""


# ---- building ----


@contextmanager
def locked() -> Iterator[None]:
    BUILD.mkdir(parents=True, exist_ok=True)
    with open(BUILD / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def load(name: str, path: str | Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def build_c(name: str, patterns: Sequence[str]) -> Any:
    """bench/c/NAME.c with files of csrc, compiled as setup.py does; (ffi, lib)."""
    header = (BENCH / "c" / f"{name}.h").read_text()
    sources = sorted({p for pattern in patterns for p in (ROOT / "csrc").glob(pattern)})
    depends = [*(ROOT / "csrc").rglob("*.h"), *(ROOT / "csrc").rglob("*.def")]
    ffi = cffi.FFI()
    ffi.cdef(header)
    ffi.set_source(
        f"_bench_{name}",
        f"#include <stdint.h>\n#include <stddef.h>\n{header}",
        sources=[str(BENCH / "c" / f"{name}.c"), *map(str, sources)],
        depends=[str(p) for p in [*depends, *(BENCH / "c").glob("*.h")]],
        include_dirs=[str(ROOT / "csrc"), str(BENCH / "c")],
        define_macros=[("_GNU_SOURCE", None)],
        extra_compile_args=COMPILE_ARGS,
    )
    with locked():
        module = load(f"_bench_{name}", ffi.compile(tmpdir=str(BUILD), verbose=False))
    return module.ffi, module.lib


def build_cython(name: str) -> ModuleType:
    """bench/NAME.pyx, compiled as setup.py does."""
    with locked():
        extension = Extension(name, [str(BENCH / f"{name}.pyx")], extra_compile_args=COMPILE_ARGS)
        extensions = cythonize([extension], language_level=3, build_dir=str(BUILD), quiet=True)
        command = Distribution({"ext_modules": extensions}).get_command_obj("build_ext")
        command.build_lib = command.build_temp = str(BUILD)
        command.ensure_finalized()
        command.run()
        return load(name, BUILD / command.get_ext_filename(name))


# ---- timing ----


@dataclass(frozen=True)
class Spread:
    median: float
    q1: float
    q3: float
    min: float
    max: float
    low: float  # low to high: a 95 % interval of the median
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        q1, median, q3 = statistics.quantiles(values, n=4, method="inclusive")
        ordered = sorted(values)
        outside = outside_interval(len(values))
        low, high = ordered[outside], ordered[-1 - outside]
        return cls(median, q1, q3, ordered[0], ordered[-1], low, high)


def outside_interval(n: int, most: float = 0.05) -> int:
    """How many of n ordered values on either side the interval of the median leaves out.

    The number of values below the median is binomial, whatever their distribution is. Below
    six values there is no such interval: none is left out.
    """
    outside, tails = 0, 2 / 2**n
    while outside + 1 < n / 2:
        tails += 2 * math.comb(n, outside + 1) / 2**n
        if tails > most:
            break
        outside += 1
    return outside


@dataclass(frozen=True)
class Comparison:
    what: str
    against: str
    size: int | None
    what_ns: float
    against_ns: float
    ratio: Spread  # what / against, or its inverse where that reads better
    inverse: bool
    pairs: int


def interleaved(a: Callable[[], T], b: Callable[[], T], *, pairs: int) -> tuple[list[T], list[T]]:
    """`pairs` pairs of a and b after one that is not counted, every second one as b, a."""
    of_a, of_b = [], []
    a(), b()
    for i in range(pairs):
        if i % 2:
            y, x = b(), a()
        else:
            x, y = a(), b()
        of_a.append(x)
        of_b.append(y)
    return of_a, of_b


def compared(
    what: str,
    against: str,
    a_ns: Sequence[float],
    b_ns: Sequence[float],
    *,
    size: int | None = None,
    inverse: bool = False,
) -> Comparison:
    """The comparison that these pairs make. inverse: the ratio is b / a."""
    ratios = [y / x if inverse else x / y for x, y in zip(a_ns, b_ns, strict=True)]
    return Comparison(
        what,
        against,
        size,
        median(a_ns),
        median(b_ns),
        Spread.of(ratios),
        inverse,
        len(ratios),
    )


def compare(
    what: str,
    a: Timed,
    against: str,
    b: Timed,
    *,
    pairs: int,
    size: int | None = None,
    inverse: bool = False,
) -> Comparison:
    """Times and compares `pairs` interleaved pairs."""
    a_ns, b_ns = interleaved(a, b, pairs=pairs)
    return compared(what, against, a_ns, b_ns, size=size, inverse=inverse)


# ---- reporting ----


@dataclass(frozen=True)
class Aim:
    text: str
    measured: float
    met: bool
    worst: str  # which comparison decides


def aim(text: str, of: Sequence[Comparison], *, most: float = 0, least: float = 0) -> Aim:
    """Whether every median ratio is at most `most`, or at least `least`."""
    pick = max if most else min
    worst = pick(of, key=lambda c: c.ratio.median)
    measured = worst.ratio.median
    met = measured <= most if most else measured >= least
    at = f" of {worst.size} B" if worst.size else ""
    return Aim(text, measured, met, f"{worst.what} against {worst.against}{at}")


def duration(ns: float) -> str:
    if ns < 10:
        return f"{ns:.3f} ns"
    if ns < 10_000:
        return f"{ns:.1f} ns"
    return f"{ns / 1e3:.1f} us" if ns < 10_000_000 else f"{ns / 1e6:.1f} ms"


def figure(x: float) -> str:
    if 0.5 < x < 2:
        return f"{x:.3f}"
    return f"{x:.2f}" if x < 100 else f"{x:.0f}"


def table(results: Sequence[Comparison]) -> str:
    rows = [("what", "against", "bytes", "time", "its time", "ratio", "95 %", "quartiles")]
    for c in results:
        r = c.ratio
        rows.append(
            (
                c.what,
                c.against,
                str(c.size or ""),
                duration(c.what_ns),
                duration(c.against_ns),
                ("1/" if c.inverse else "") + figure(r.median),
                f"{figure(r.low)} - {figure(r.high)}",
                f"{figure(r.q1)} - {figure(r.q3)}",
            )
        )
    return aligned(rows, left={0, 1})


def aligned(rows: Sequence[Sequence[str]], left: set[int]) -> str:
    """Rows as columns; those of `left` are ranged left."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def host() -> dict[str, Any]:
    cpu = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.split(":", 1)[1].strip()
            break
    return {
        "cpu": cpu,
        "cpus": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def arguments(description: str | None, *, pairs: bool = True) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    if pairs:
        parser.add_argument("--pairs", type=pair_count, default=30, help="interleaved pairs (30)")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    return parser


def pair_count(text: str) -> int:
    n = int(text)
    if n < 2:
        raise argparse.ArgumentTypeError("at least 2")
    return n


def progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def report(
    bench: str,
    results: Sequence[Comparison],
    aims: Sequence[Aim],
    *,
    notes: Sequence[str] = (),
    extra: dict[str, Any] | None = None,
    as_json: bool,
) -> None:
    text = [
        f"{results[0].pairs} interleaved pairs each; times and ratios are medians,",
        "95 % is the interval of the median ratio\n",
        table(results) + "\n",
        *notes,
    ]
    rows = [asdict(c) for c in results]
    emit(bench, rows, aims, "\n".join(text), extra=extra, as_json=as_json)


def emit(
    bench: str,
    results: Sequence[dict[str, Any]],
    aims: Sequence[Aim],
    text: str,
    *,
    extra: dict[str, Any] | None = None,
    as_json: bool,
) -> None:
    """The results as one JSON object, or `text`; with the host and the aims."""
    progress("")
    if as_json:
        out = {
            "bench": bench,
            "host": host(),
            "results": results,
            "aims": [asdict(a) for a in aims],
            **(extra or {}),
        }
        print(json.dumps(out, indent=2))
        return
    h = host()
    print(f"{h['cpu']}, {h['cpus']} CPUs, load {h['load']:.2f}, Python {h['python']}")
    print(text)
    for a in aims:
        verdict = "met" if a.met else "MISSED"
        print(f"aim: {a.text}: {verdict}, worst {figure(a.measured)} ({a.worst})")
