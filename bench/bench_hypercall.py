"""Hypercalls from C and from Python against functions and system calls; 3 and 1,000 domains.

The trace is on. From Python each is one method call with the same arguments; the loop is
unrolled, so that it hardly counts. `virtual` and `real` are the machine's clocks: under the virtual
one each record also goes into the trace hash.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import repeat
from time import perf_counter_ns
from typing import Any

import common

sys.path.insert(0, str(common.ROOT))
from xenemu._core._machine import Machine

XEN_VERSION = 17
C_CALLS = 64_000
UNROLLED = 50
ROUNDS = 400
FEW, MANY = 3, 1000
# name, function, fewer rounds
WORK = (
    ("xen_version", "bench_machine_hypercall", 1),
    ("event, send to delivery", "bench_event", 2),
    ("grant, map and unmap", "bench_grant", 8),
    ("multicall, of 64, an entry", "bench_multicall", 1),
    ("update_va_mapping", "bench_map", 2),
    ("domain, create and destroy", "bench_create", 500),
)


@dataclass
class Bench:
    """What all parts of it use."""

    ffi: Any
    lib: Any
    pairs: int
    results: list[common.Comparison]

    def compare(
        self, name: str, timed: common.Timed, against: str, other: common.Timed
    ) -> common.Comparison:
        """Times the two, and keeps the comparison."""
        common.progress(f"{name}, {against}")
        result = common.compare(name, timed, against, other, pairs=self.pairs)
        self.results.append(result)
        return result

    def open(self, *, real: bool = False, domains: int = FEW) -> Any:
        """A machine in C."""
        host = self.lib.bench_host_open(real, domains)
        if not host:
            raise OSError(self.ffi.errno, "no machine")
        return host


def python_loop(call: str, target: object) -> common.Timed:
    """Times the expression `call` on `target`."""
    source = f"def loop(target, rounds):\n for _ in rounds:\n  {'; '.join([call] * UNROLLED)}\n"
    names: dict[str, Callable[..., None]] = {}
    exec(source, names)
    loop = names["loop"]

    def timed() -> float:
        start = perf_counter_ns()
        loop(target, repeat(None, ROUNDS))
        return (perf_counter_ns() - start) / (UNROLLED * ROUNDS)

    return timed


def c_loop(function: Callable[..., int], *args: object, fewer: int = 1) -> common.Timed:
    """Times `count` operations of a C function that returns their nanoseconds."""
    count = C_CALLS // fewer

    def timed() -> float:
        total = function(*args, count)
        if not total:
            raise RuntimeError(f"{function} failed")
        return total / count

    return timed


def open_machine(*, real: bool) -> tuple[Machine, int]:
    machine = Machine(frames=4096, real=real)
    domid = machine.create_domain(pages=256, max_pages=256, window_pages=0, privileged=False, ip=0)
    machine.unpause(domid)
    return machine, domid


def from_c(bench: Bench, host: Any) -> list[common.Comparison]:
    """xen_version and the host half alone against calls in C; those that the aim is about."""
    lib = bench.lib
    version = c_loop(lib.bench_machine_hypercall, host)
    bench.compare("C xe_hypercall", c_loop(lib.bench_host_hypercall, host),
                  "C syscall(getppid)", c_loop(lib.bench_system_call))  # fmt: skip
    judged = []
    for against, other in (
        ("C indirect call", lib.bench_call),
        ("C indirect call, struct of 64 bytes", lib.bench_struct_call),
        ("C indirect call, struct filled", lib.bench_filled_call),
        ("C syscall(getppid)", lib.bench_system_call),
    ):
        result = bench.compare("C xen_version, virtual", version, against, c_loop(other))
        if "struct" in against:
            judged.append(result)
    return judged


def work(bench: Bench, few: Any, many: Any) -> list[common.Comparison]:
    """Each kind of work against a system call, and among many domains against few."""
    judged = []
    for name, function, fewer in WORK:
        if "grant" in name and bench.lib.bench_can_grant(few):
            continue
        timed = c_loop(getattr(bench.lib, function), few, fewer=fewer)
        if function != "bench_machine_hypercall":
            bench.compare(f"C {name}", timed, "C syscall(getppid)",
                          c_loop(bench.lib.bench_system_call))  # fmt: skip
        among = c_loop(getattr(bench.lib, function), many, fewer=fewer)
        judged.append(bench.compare(f"C {name}, {MANY} domains", among, f"{FEW} domains", timed))
    return judged


def from_python(bench: Bench, noop: Any, clock: str) -> common.Comparison:
    """xen_version from Python under a clock; the comparison with the no-op method."""
    machine, domid = open_machine(real=clock == "real")
    version = machine.hypercall(domid, XEN_VERSION, 0)
    call = f"target.hypercall({domid}, {XEN_VERSION}, 0)"
    name = f"Python Machine.hypercall, {clock}"
    timed = python_loop(call, machine)
    judged = bench.compare(
        name, timed, "Cython no-op method", python_loop(call, noop.Noop(version))
    )
    cffi = python_loop(f"target.bench_nothing({domid}, {XEN_VERSION}, 0)", bench.lib)
    bench.compare(name, timed, "cffi call", cffi)
    bench.compare(name, timed, "os.getppid", python_loop("target.getppid()", os))
    machine.close()
    return judged


def main() -> None:
    args = common.arguments(__doc__).parse_args()
    ffi, lib = common.build_c("hypercall", ["**/*.c"])
    noop = common.build_cython("noop")
    bench = Bench(ffi, lib, args.pairs, [])
    few, many = bench.open(), bench.open(domains=MANY)
    real = bench.open(real=True)
    if lib.bench_version(few) <= 0:
        raise RuntimeError(f"xen_version answers {lib.bench_version(few)}")

    calls = from_c(bench, few)
    bench.compare("C xen_version, real", c_loop(lib.bench_machine_hypercall, real),
                  "C indirect call, struct of 64 bytes", c_loop(lib.bench_struct_call))  # fmt: skip
    flat = work(bench, few, many)
    bench.compare("C machine, create and destroy", c_loop(lib.bench_machines, fewer=2000),
                  "C syscall(getppid)", c_loop(lib.bench_system_call))  # fmt: skip
    python = [from_python(bench, noop, clock) for clock in ("virtual", "real")]
    for host in (few, many, real):
        lib.bench_host_close(host)

    aims = [
        common.aim("from C under 3x an indirect call with a struct", calls, most=3),
        common.aim("from Python within 3x of the no-op method", python, most=3),
        common.aim(f"as fast among {MANY} domains as among {FEW}", flat, most=1.5),
    ]
    common.report("hypercall", bench.results, aims, as_json=args.json)


if __name__ == "__main__":
    main()
