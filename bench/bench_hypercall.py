"""xen_version from C and from Python against a Cython no-op method and a system call.

From Python each is one method call with the same arguments; the loop is unrolled, so that
it hardly counts. `virtual` and `real` are the machine's clocks: under the virtual one each
hypercall also goes into the trace hash.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from itertools import repeat
from time import perf_counter_ns

import common

sys.path.insert(0, str(common.ROOT))
from xenemu._core._machine import Machine

XEN_VERSION = 17
C_CALLS = 100_000
UNROLLED = 50
ROUNDS = 400


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


def c_loop(function: Callable[..., int], *args: object) -> common.Timed:
    return lambda: function(*args, C_CALLS) / C_CALLS


def open_machine(*, real: bool) -> tuple[Machine, int]:
    machine = Machine(frames=4096, real=real)
    domid = machine.create_domain(pages=256, max_pages=256, window_pages=0, privileged=False, ip=0)
    machine.unpause(domid)
    return machine, domid


def main() -> None:
    args = common.arguments(__doc__).parse_args()
    ffi, lib = common.build_c("hypercall", ["**/*.c"])
    noop = common.build_cython("noop")
    results, judged = [], []

    for clock in ("virtual", "real"):
        host = lib.bench_host_open(clock == "real")
        if not host:
            raise OSError(ffi.errno, "no machine")
        machine, domid = open_machine(real=clock == "real")
        version = machine.hypercall(domid, XEN_VERSION, 0)
        if version != lib.bench_version(host) or version <= 0:
            raise RuntimeError(f"xen_version answers {version}")

        c_calls = {f"C xe_machine_hypercall, {clock}": lib.bench_machine_hypercall}
        if clock == "virtual":
            c_calls["C xe_hypercall"] = lib.bench_host_hypercall
        for name, function in c_calls.items():
            for against, other in (
                ("C no-op function", c_loop(lib.bench_noop, host)),
                ("C syscall(getppid)", c_loop(lib.bench_system_call)),
            ):
                common.progress(f"{name}, {against}")
                results.append(
                    common.compare(name, c_loop(function, host), against, other, pairs=args.pairs)
                )

        call = f"target.hypercall({domid}, {XEN_VERSION}, 0)"
        for against, other in (
            ("Cython no-op method", python_loop(call, noop.Noop(version))),
            ("os.getppid", python_loop("target.getppid()", os)),
        ):
            name = f"Python Machine.hypercall, {clock}"
            common.progress(f"{name}, {against}")
            results.append(
                common.compare(name, python_loop(call, machine), against, other, pairs=args.pairs)
            )
            if "no-op" in against:
                judged.append(results[-1])
        machine.close()
        lib.bench_host_close(host)

    aims = [common.aim("from Python within 3x of the no-op method", judged, most=3)]
    common.report("hypercall", results, aims, as_json=args.json)


if __name__ == "__main__":
    main()
