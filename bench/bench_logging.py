"""The log append against memcpy of the same bytes and against FT-TCP's logger process.

append   what SSW does for an in-order segment: xe_stream_reserve, xe_stream_write and the
         release store of rcv_logged.
memcpy   copies the same bytes, and walks a prefaulted destination of equal size and stride
         in the same mapping.
unix     the message goes over an AF_UNIX stream to another process, which reads it into its
         own log and answers; the next one waits for that answer (log before ack).
tcp      the same over loopback TCP.
window   unix, with 32 messages under way before the first answer is waited for.
ingress  the whole of xe_ssw_ingress for a data packet of 1460 B, checksum included.
"""

from __future__ import annotations

import common

SIZES = (64, 256, 1024, 1460, 4096, 16384, 65536)
MSS = 1460
WALKS = {"in cache": 256 << 10, "in memory": 64 << 20}
SAMPLE_BYTES = 8 << 20  # at least so much is copied in one sample
MESSAGES = 200
WINDOW = 32


class Logging:
    def __init__(self, ffi, lib, walk: int) -> None:
        self.lib = lib
        self.walk = walk
        self.log = lib.bench_log_open(walk)
        if not self.log:
            raise OSError(ffi.errno, "no log")
        self.passes = max(1, SAMPLE_BYTES // walk)

    def close(self) -> None:
        self.lib.bench_log_close(self.log)

    def _walker(self, function, size: int) -> common.Timed:
        operations = self.walk // size * self.passes

        def timed() -> float:
            spent = function(self.log, size, self.passes)
            if not spent:
                raise RuntimeError("the wrapper took not every packet")
            return spent / operations

        return timed

    def append(self, size: int) -> common.Timed:
        return self._walker(self.lib.bench_append, size)

    def memcpy(self, size: int) -> common.Timed:
        return self._walker(self.lib.bench_memcpy, size)

    def ingress(self, size: int) -> common.Timed:
        return self._walker(self.lib.bench_ingress, size)

    def check(self, size: int) -> None:
        if self.lib.bench_append_check(self.log, size):
            raise RuntimeError(f"appends of {size} bytes are not in the log")


class Logger:
    """FT-TCP's logger process for messages of one size."""

    def __init__(self, logging: Logging, kind: int, size: int, window: int) -> None:
        self.lib = logging.lib
        self.window = window
        self.logger = self.lib.bench_logger_open(logging.log, kind, size)
        if not self.logger:
            raise RuntimeError("no logger process")

    def __enter__(self) -> common.Timed:
        return self.send

    def __exit__(self, *_: object) -> None:
        self.lib.bench_logger_close(self.logger)

    def send(self) -> float:
        spent = self.lib.bench_logger_send(self.logger, MESSAGES, self.window)
        if not spent:
            raise RuntimeError("the logger process is gone")
        return spent / MESSAGES


def main() -> None:
    args = common.arguments(__doc__).parse_args()
    sources = ["base/crc32c.c", "net/*.c", "host/memory.c"]
    ffi, lib = common.build_c("logging", sources)
    copies, sockets, other = [], [], []
    for where, walk in WALKS.items():
        logging = Logging(ffi, lib, walk)
        for size in SIZES:
            common.progress(f"append {where}, {size} B")
            logging.check(size)
            copies.append(
                common.compare(
                    f"append {where}",
                    logging.append(size),
                    "memcpy",
                    logging.memcpy(size),
                    pairs=args.pairs,
                    size=size,
                )
            )
        other.append(
            common.compare(
                f"ingress {where}",
                logging.ingress(MSS),
                "memcpy",
                logging.memcpy(MSS),
                pairs=args.pairs,
                size=MSS,
            )
        )
        logging.close()

    logging = Logging(ffi, lib, WALKS["in memory"])
    ways = {"unix": (lib.BENCH_UNIX, 1), "tcp": (lib.BENCH_TCP, 1),
            "window": (lib.BENCH_UNIX, WINDOW)}  # fmt: skip
    for way, (kind, window) in ways.items():
        for size in SIZES:
            common.progress(f"{way}, {size} B")
            with Logger(logging, kind, size, window) as send:
                (sockets if window == 1 else other).append(
                    common.compare(
                        "append in memory",
                        logging.append(size),
                        way,
                        send,
                        pairs=args.pairs,
                        size=size,
                        inverse=True,
                    )
                )
    logging.close()

    aims = [
        common.aim(
            f"append within 1.3x of memcpy from {MSS} B up",
            [c for c in copies if (c.size or 0) >= MSS],
            most=1.3,
        ),
        *(
            common.aim(
                f"append at least 50x cheaper than the {way} logger, {low} to {high} B",
                [c for c in sockets if c.against == way and low <= (c.size or 0) <= high],
                least=50,
            )
            for way in ("unix", "tcp")
            for low, high in ((SIZES[0], MSS), (4096, SIZES[-1]))
        ),
    ]
    unix, copy = (
        next(c for c in of if c.against == against and c.size == SIZES[-1])
        for of, against in ((sockets, "unix"), ([*reversed(copies)], "memcpy"))
    )
    notes = [
        "append in cache walks 256 KiB, in memory 64 MiB. 1/x: the append is x times cheaper.",
        f"window ({WINDOW} messages under way) and ingress (whole wrapper): for information.",
        f"The wrapper appends a segment at a time, {MSS} B at most. Larger messages to a logger",
        "spread the fixed price of a message over bytes that both sides have to copy: a bare",
        f"memcpy of {unix.size} B is {unix.against_ns / copy.against_ns:.1f} times cheaper than"
        " the unix logger, and no append can beat it.",
    ]
    common.report("logging", [*copies, *sockets, *other], aims, notes=notes, as_json=args.json)


if __name__ == "__main__":
    main()
