"""What protection costs: two TCPs in one process, the wrappers between them on against off.

memory   no link: packets go at once from one TCP into the other. The worst case, since
         nothing else takes time; CPU time per byte, with its parts.
1 and 10 Gbit/s
         packets wait for their arrival against the real clock, which stands still while
         another process has the CPU. Compared is how long the bytes took (goodput) and, in
         lines with `cpu`, the time in which either end or a wrapper had work to do.
upload   the service reads: payload is copied into the log before TCP may see it, the size
         of each read is recorded.
download the service writes: a copy of what is under way is kept, a CRC-32C of what the peer
         has acked.

Both ends share one CPU, so `cpu` is that of client, server and wrappers together. For
instructions where the host counts none: valgrind --tool=callgrind with --pairs 2.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import common

LOG_BYTES = 64 << 20
PART_BYTES = 1448
PART_COUNT = 80 * 256
READ_BYTES = 65536
RATES = {"1 Gbit/s": 10**9, "10 Gbit/s": 10**10}
SIZES = {0: 64 << 20, 10**9: 12 << 20, 10**10: 64 << 20}  # bytes of one transfer, by rate
GOODPUT_MOST = 1.01
# An endpoint that fills a link loses this much to the headers and to ramping up.
FULL = 0.9


@dataclass(frozen=True, slots=True)
class Cost:
    """One transfer, per byte."""

    link_ns: float
    busy_ns: float
    instructions: float


class Pair:
    """Two endpoints that stay; each transfer has a connection of its own."""

    def __init__(self, ffi: Any, lib: Any, protect: bool, rate: int) -> None:
        self.ffi, self.lib, self.rate = ffi, lib, rate
        self.pair = lib.bench_pair_open(protect, LOG_BYTES, rate)
        if self.pair == ffi.NULL:
            raise OSError(ffi.errno, os.strerror(ffi.errno))

    def close(self) -> None:
        self.lib.bench_pair_close(self.pair)

    def run(self, upload: bool, size: int, check: bool = False) -> Cost:
        cost = self.ffi.new("struct bench_cost *")
        rc = self.lib.bench_pair_run(self.pair, upload, size, check, cost)
        if rc:
            raise OSError(-rc, f"transfer failed: {os.strerror(-rc)}")
        return Cost(cost.link_ns / size, cost.busy_ns / size, cost.instructions / size)

    def part(self, name: str) -> float:
        """Nanoseconds of one operation."""
        spent = self.lib.bench_part(self.pair, getattr(self.lib, f"BENCH_{name}"), PART_COUNT)
        if not spent:
            raise RuntimeError(f"{name}: refused")
        return float(spent / PART_COUNT)


PARTS = {
    "copy": "COPY",
    "checksum": "CHECKSUM",
    "crc32c": "CRC",
    "crc32c and copy": "CRC_COPY",
    "ssw, data in": "INGRESS",
    "ssw, ack out": "ACK_OUT",
    "ssw, data out": "EGRESS",
    "ssw, ack in": "ACK_IN",
    "nsw, record of a read": "RECORD",
}


@dataclass(frozen=True, slots=True)
class Samples:
    """Interleaved pairs of one direction and rate: protection on, off."""

    on: list[Cost]
    off: list[Cost]

    def comparison(self, what: str, of: Callable[[Cost], float], size: int) -> common.Comparison:
        return common.compared(what, "off", [*map(of, self.on)], [*map(of, self.off)], size=size)

    def added(self) -> list[float]:
        """Nanoseconds per byte that protection added, pair by pair."""
        return [x.busy_ns - y.busy_ns for x, y in zip(self.on, self.off, strict=True)]


def sample(on: Pair, off: Pair, upload: bool, size: int, pairs: int) -> Samples:
    for pair in (on, off):
        pair.run(upload, size, check=True)
    samples = common.interleaved(
        lambda: on.run(upload, size), lambda: off.run(upload, size), pairs=pairs
    )
    return Samples(*samples)


def measure_parts(pair: Pair, pairs: int) -> dict[str, tuple[list[float], list[float]]]:
    """Each part interleaved with the copy of the same bytes: (it, the copy)."""
    out = {}
    for name, part in PARTS.items():
        common.progress(f"part: {name}")
        out[name] = common.interleaved(
            lambda part=part: pair.part(part),  # type: ignore[misc]
            lambda: pair.part("COPY"),
            pairs=pairs,
        )
    return out


def per_byte(ns: float) -> str:
    return f"{ns:.3f} ns/B"


def describe(name: str, samples: Samples) -> str:
    """A transfer as bytes per second and instructions."""
    on, off = (common.median([c.link_ns for c in side]) for side in (samples.on, samples.off))
    text = f"{name}: off {1 / off:.2f} GB/s, {per_byte(off)}; on {1 / on:.2f} GB/s, {per_byte(on)}"
    counted = [common.median([c.instructions for c in side]) for side in (samples.off, samples.on)]
    if all(counted):
        return f"{text}; instructions per byte {counted[0]:.2f}, {counted[1]:.2f}"
    return f"{text}; instructions: not counted"


def added_per_byte(ns: dict[str, float], upload: bool) -> list[tuple[str, float]]:
    """What protection does per byte; an ack goes with every second segment."""
    checksum, segment, ack = ns["checksum"], PART_BYTES, 2 * PART_BYTES
    if upload:
        return [
            (
                "wrapper around data in, the copy included, the checksum not",
                (ns["ssw, data in"] - checksum) / segment,
            ),
            ("wrapper around ack out", ns["ssw, ack out"] / ack),
            ("read records", ns["nsw, record of a read"] / READ_BYTES),
        ]
    return [
        ("wrapper around data out, the copy included", ns["ssw, data out"] / segment),
        ("crc32c of what is acked", ns["crc32c"] / segment),
        ("wrapper around ack in, without it", ns["ssw, ack in"] / ack),
    ]


def aims(
    memory: dict[str, Samples],
    linked: Sequence[tuple[str, common.Comparison, float]],
    bound: Sequence[float],
) -> list[common.Aim]:
    out = []
    for rate, bits in RATES.items():
        of = [c for name, c, _ in linked if name == rate]
        reached = min(8 / off for name, _, off in linked if name == rate)
        text = f"goodput at {rate} within 1 %"
        if reached * 1e9 < FULL * bits:
            text += f" (this host reaches {reached:.2f} Gbit/s without protection)"
        out.append(common.aim(text, of, most=GOODPUT_MOST))
    for direction, samples in memory.items():
        added = samples.added()
        spread = common.Spread.of([a / b for a, b in zip(added, bound, strict=True)])
        text = (
            f"{direction} in memory adds no more than one CRC-32C and one copy"
            f" ({per_byte(common.median(added))} of {per_byte(common.median(bound))})"
        )
        out.append(common.Aim(text, spread.median, spread.median <= 1, f"{direction}, added"))
    return out


def main() -> None:
    parser = common.arguments(__doc__)
    parser.add_argument(
        "--scale", type=float, default=1, metavar="X", help="size of each transfer, times X (1)"
    )
    args = parser.parse_args()
    if not 0 < args.scale <= 1:
        parser.error("--scale: above 0, at most 1")
    ffi, lib = common.build_c("protection", ["base/crc32c.c", "net/*.c", "host/memory.c"])
    results: list[common.Comparison] = []
    linked: list[tuple[str, common.Comparison, float]] = []
    memory: dict[str, Samples] = {}
    notes: list[str] = []
    parts: dict[str, tuple[list[float], list[float]]] = {}
    for name, rate in {"memory": 0, **RATES}.items():
        size = int(SIZES[rate] * args.scale)
        on, off = Pair(ffi, lib, True, rate), Pair(ffi, lib, False, rate)
        for upload, direction in ((True, "upload"), (False, "download")):
            common.progress(f"{direction}, {name}")
            samples = sample(on, off, upload, size, args.pairs)
            notes.append(describe(f"{direction}, {name}", samples))
            if not rate:
                memory[direction] = samples
                memory_cost = samples.comparison(f"{direction}, {name}", lambda c: c.link_ns, size)
                results.append(memory_cost)
                continue
            goodput = samples.comparison(f"{direction}, {name}", lambda c: c.link_ns, size)
            cpu = samples.comparison(f"{direction}, {name}, cpu", lambda c: c.busy_ns, size)
            results += [goodput, cpu]
            linked.append((name, goodput, goodput.against_ns))
        if not rate:
            parts = measure_parts(on, args.pairs)
        on.close()
        off.close()

    ns = {name: common.median(it) for name, (it, _) in parts.items()}
    for name, (it, copy) in parts.items():
        if name != "copy":
            results.append(common.compared(name, "copy", it, copy, size=PART_BYTES))
    for upload, direction in ((True, "upload"), (False, "download")):
        of = ", ".join(f"{what} {per_byte(x)}" for what, x in added_per_byte(ns, upload))
        notes.append(f"{direction} adds, by its parts: {of}")
    bound = [
        (crc + copy) / PART_BYTES
        for crc, copy in zip(parts["crc32c"][0], parts["copy"][0], strict=True)
    ]
    common.report(
        "protection",
        results,
        aims(memory, linked, bound),
        notes=notes,
        as_json=args.json,
        extra={
            "instructions_counted": bool(lib.bench_counts_instructions()),
            "per_byte_ns": {
                "added": {d: common.median(s.added()) for d, s in memory.items()},
                "parts": {
                    d: dict(added_per_byte(ns, d == "upload")) for d in ("upload", "download")
                },
                "crc32c and copy": common.median(bound),
            },
        },
    )


if __name__ == "__main__":
    main()
