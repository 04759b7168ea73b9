"""Writes first inputs for the fuzzers, and the dictionary of fuzz_wrappers, into a folder.

The operation numbers are read from the enums of the fuzzers, so they cannot drift.
"""

from __future__ import annotations

import argparse
import random
import re
import struct
from pathlib import Path

HERE = Path(__file__).parent
SHAPES = (0, 1, 2, 3, 4, 20, 36, 55)
SIZES = (0b11_110_110, 0, 0b10_010_010, 0b11_100_001)
KINDS = ("flight", "fault", "stages", "segment", "egress", "scribble", "trial", "trial")


def operations(source: Path) -> dict[str, int]:
    """Name -> byte of each operation of a fuzzer."""
    found = re.search(r"enum operation \{([^}]*)\}", source.read_text(encoding="utf-8"))
    if not found:
        raise SystemExit(f"{source}: no enum operation")
    names = [name.strip() for name in found[1].split(",") if name.strip()]
    return {name: number for number, name in enumerate(names)}


class Script:
    """A list of operations of fuzz_wrappers as bytes."""

    def __init__(self, rng: random.Random) -> None:
        self.op = operations(HERE / "fuzz_wrappers.c")
        self.rng = rng
        self.bytes = bytearray((rng.choice(SHAPES), rng.choice(SIZES)))

    def do(self, name: str, *args: int) -> None:
        """Appends an operation."""
        self.bytes += bytes((self.op[name], *args))

    def settle(self, rounds: int = 3) -> None:
        """Packets arrive, the service runs, the clients read."""
        for _ in range(rounds):
            self.do("DELIVER_SOME", 31)
            self.do("SERVE_ALL")
            self.do("DELIVER_SOME", 31)
            self.do("READ", self.rng.randrange(3))

    def begin(self, clients: int) -> None:
        """Clients that are connected and have sent something."""
        for i in range(clients):
            self.do("OPEN", i)
        self.settle(2)
        for i in range(clients):
            self.do("WRITE", i + 63, self.rng.randrange(256))

    def trouble(self) -> None:
        """One thing that goes wrong."""
        kind = self.rng.choice(KINDS)
        draw = self.rng.randrange
        if kind == "flight":
            for name in ("DROP", "DUPLICATE", "DELIVER"):
                self.do(name, draw(256))
        elif kind == "fault":
            self.do("FAIL_OVER")
        elif kind == "trial":
            self.do("TRY", draw(256))
            self.settle(draw(3))
            if self.rng.random() < 0.5:
                self.do("WRITE", draw(128), draw(256))
                self.settle(draw(3))
            self.do("END_TRIAL", draw(256))
        elif kind == "stages":
            for _ in range(3):
                self.do("STAGE", draw(2))
                self.do("DELIVER_SOME", draw(32))
        elif kind == "segment":
            fields = self.rng.choice((0, 1, 2, 3, 4, 16, 32, 64, 5, 17))
            self.do("SEGMENT", draw(32), fields, draw(256), draw(256), *self.rng.randbytes(6))
        elif kind == "egress":
            self.do("EGRESS", draw(32), draw(256), *self.rng.randbytes(8))
        else:
            self.do("SCRIBBLE", *self.rng.randbytes(4))


def wrappers(rng: random.Random) -> bytes:
    """A run with a few faults and a little malice."""
    script = Script(rng)
    script.begin(rng.randrange(1, 4))
    for _ in range(rng.randrange(1, 6)):
        script.trouble()
        script.settle(rng.randrange(3))
        if rng.random() < 0.4:
            script.do("WRITE", rng.randrange(128), rng.randrange(256))
        if rng.random() < 0.2:
            script.do("COMMAND", rng.randrange(256), rng.randrange(256))
        if rng.random() < 0.3:
            script.do("TIME", rng.randrange(8))
    script.do("END", rng.randrange(3))
    script.settle()
    return bytes(script.bytes)


def checksum(data: bytes) -> int:
    """The internet checksum."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


OPTIONS = (
    b"",
    bytes.fromhex("020405b4"),
    bytes.fromhex("0101080a0000000100000002"),
    bytes.fromhex("020405b40402080afffffff00000000001030307"),
    bytes.fromhex("0000000000000000"),
    bytes.fromhex("08000101"),  # length 0
    bytes.fromhex("050a0000000100000002010105120000"),  # SACK, cut off
    bytes.fromhex("22020101fe04f989"),  # Fast Open, an experiment
)


def packet(rng: random.Random) -> bytes:
    """An IPv4/TCP packet, right but for its options."""
    options = rng.choice(OPTIONS)
    payload = rng.randbytes(rng.choice((0, 1, 7, 64)))
    flags = rng.choice((0x02, 0x12, 0x10, 0x18, 0x11, 0x04, 0x14, 0xC2))
    tcp = struct.pack(
        ">HHIIBBHHH",
        5000,
        80,
        rng.getrandbits(32),
        rng.getrandbits(32),
        (5 + len(options) // 4) << 4,
        flags,
        8000,
        0,
        0,
    )
    tcp += options + payload
    addresses = bytes((10, 0, 1, 1, 10, 0, 0, 1))
    tcp = (
        tcp[:16]
        + struct.pack(">H", checksum(addresses + struct.pack(">HH", 6, len(tcp)) + tcp))
        + tcp[18:]
    )
    ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0x4000, 64, 6, 0) + addresses
    return ip[:10] + struct.pack(">H", checksum(ip)) + ip[12:] + tcp


def wire(rng: random.Random) -> bytes:
    """A few edits, then a packet."""
    return rng.randbytes(16) + packet(rng)


def tcp(rng: random.Random) -> bytes:
    """Calls and segments: the fuzzer's own encoding is dense, any bytes do."""
    return rng.randbytes(rng.randrange(40, 300))


class Calls:
    """A list of operations of fuzz_hypercall as bytes. A value below 104 is itself."""

    def __init__(self, rng: random.Random) -> None:
        source = HERE / "fuzz_hypercall.c"
        self.op = operations(source)
        found = re.findall(r"\{XE_ABI_hypercall_(\w+), (\w+), (\d+), (\d+)\}", source.read_text())
        self.calls = {name: (form, int(ops), int(words)) for name, form, ops, words in found}
        self.rng = rng
        self.bytes = bytearray()

    def do(self, name: str, *args: int) -> None:
        """Appends an operation."""
        self.bytes += bytes((self.op[name], *args))

    def value(self) -> bytes:
        """One that some_value reads: a small number, or what means something, with its bytes."""
        if self.rng.random() < 0.4:
            return bytes((self.rng.randrange(8),))
        return bytes((self.rng.randrange(104, 240), *(self.rng.randrange(64) for _ in range(2))))

    def call(self, name: str, op: int | None = None, words: bytes = b"") -> None:
        """A call with its argument; words that are not given are drawn."""
        form, ops, count = self.calls[name]
        draw = self.rng.randrange
        which = list(self.calls).index(name)
        number = draw(ops or 1) if op is None else op
        self.do("CALL_TYPED", which, draw(200), draw(3), number)
        if name == "domctl":
            self.bytes += bytes((self.rng.choice((1, 2, 3, 4, 5, 11, 15, 17, 27)), draw(6)))
            count = 6
        for _ in range(0 if words else count):
            self.bytes += bytes((draw(256),)) + self.value()
        self.bytes += words
        if form == "REGISTERS":
            for _ in range(4):
                self.bytes += self.value()
        elif form == "OP_ID_ARG":
            self.bytes.append(draw(3))
        elif form == "LIST":
            self.bytes += bytes((draw(2), 0, 0, 0))


def hypercall(rng: random.Random) -> bytes:
    """A dozen calls, some time, and the toolstack now and then."""
    calls = Calls(rng)
    favourite = rng.choice(list(calls.calls))
    for _ in range(rng.randrange(4, 16)):
        calls.call(favourite if rng.random() < 0.5 else rng.choice(list(calls.calls)))
        kind = rng.choice(
            ("TIME", "PAUSE", "UNPAUSE", "POKE", "GRANT", "CONNECT", "PROTECT", "UPCALL", "VZS", "")
        )
        if kind and rng.random() < 0.5:
            calls.do(kind, *(rng.randrange(256) for _ in range(4)))
    return bytes(calls.bytes)


MAKERS = {"wrappers": wrappers, "wire": wire, "tcp": tcp, "hypercall": hypercall}


def dictionary() -> str:
    """Operations that belong together."""
    op = operations(HERE / "fuzz_wrappers.c")
    words = {
        "connect": (op["OPEN"], 0, op["DELIVER_SOME"], 31, op["SERVE_ALL"]),
        "request": (op["WRITE"], 0, 200, op["DELIVER_SOME"], 31, op["SERVE_ALL"]),
        "fault": (op["FAIL_OVER"], op["DELIVER_SOME"], 31, op["SERVE_ALL"]),
        "fence": (op["STAGE"], 0, op["DELIVER_SOME"], 31, op["STAGE"], 0),
        "try": (op["TRY"], 1, op["DELIVER_SOME"], 31, op["SERVE_ALL"]),
        "accept": (op["DELIVER_SOME"], 31, op["SERVE_ALL"], op["END_TRIAL"], 1),
        "roll back": (op["END_TRIAL"], 0, op["DELIVER_SOME"], 31, op["SERVE_ALL"]),
        "more": (op["COMMAND"], 0, 0, op["DELIVER_SOME"], 31, op["SERVE_ALL"]),
        "shut": (op["COMMAND"], 4, 0, op["DELIVER_SOME"], 31, op["SERVE_ALL"]),
        "payload": (op["SEGMENT"], 0, 0, 1),
        "fin": (op["SEGMENT"], 0, 4, 0, 0, 0x11),
        "reset": (op["SEGMENT"], 0, 5, 0, 0, 64, 0x04),
        "raw": (op["SEGMENT"], 16, 0, 0, 0),
    }
    lines = []
    for name, word in words.items():
        escaped = "".join(f"\\x{byte:02x}" for byte in word)
        lines.append(f'{name}="{escaped}"\n')
    return "".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="first inputs of a fuzzer")
    parser.add_argument("fuzzer", choices=sorted(MAKERS))
    parser.add_argument("folder", type=Path, help="is made; the dictionary goes beside it")
    parser.add_argument("--count", type=int, default=64)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    for i in range(args.count):
        make = MAKERS[args.fuzzer]
        (args.folder / f"seed-{i:03}").write_bytes(make(random.Random(i)))
    if args.fuzzer == "wrappers":
        (args.folder.parent / "wrappers.dict").write_text(dictionary(), encoding="utf-8")


if __name__ == "__main__":
    main()
