"""FTP clients of emulated hosts that download at the same time, and a fault in the middle.

Each client: six commands (USER, PASS, SYST, PWD, CWD, TYPE), some small files that are complete
before the fault, then, when all have come so far, PASV and RETR of the file. Every byte is checked.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import BENCH, Condition

from ozs import Profile
from xenemu.boot import BootConfig, Forward, Link, ServiceSpec, System, add_client, small_config
from xenemu.lab.clients import SERVICE, Report
from xenemu.lab.ftp_clients import Ftp
from xenemu.vmm import Event

MIB = 1 << 20
LARGE, SMALL = "large", "small"
SMALL_SIZE = 10_000
PORT = 21
PER_HOST = 250
LOG = 256 * MIB  # a session that starts needs up to seven blocks of records of 1 KiB
AT_ONCE = 32  # logging in: fewer than the service's backlog
CHUNK = 256 * 1024
PAUSE = 0.001  # seconds, for each client: all read at the same time, a dozen segments each
RECORD = struct.Struct("<QIHH")  # of the packet capture
SECONDS = 100_000.0  # of machine time
LOGIN = (
    ("USER anonymous", 331),
    ("PASS guest@", 230),
    ("SYST", 215),
    ("PWD", 257),
    ("CWD /", 250),
    ("TYPE I", 200),
)
Program = Callable[[list[str]], Coroutine[Any, Any, int]]
LOOK_BYTES = 16 * MIB
TOGETHER = 0.005  # seconds
SETTLED_NS = 50_000_000
SURELY_NEW = MIB  # more than what the dead primary had sent and the client had not read


def power_of_two(n: int) -> int:
    """Not below n."""
    return 1 << max(4, (n - 1).bit_length())


@dataclass(slots=True)
class Fetch:
    """One client's large file."""

    got: int = 0
    asked: bool = False
    done: bool = False  # the last reply is there
    over_at: int = -1  # ns; a moment later the service has the ends of all that, too
    pending: bool = False  # at the fault
    new_from: int = 0  # bytes after which all are surely new ones
    data_port: int = 0


@dataclass(frozen=True, slots=True)
class Fault:
    """What came of a fault; milliseconds. `fed`: data commands that the service began again."""

    pending: int
    fed: int
    resumed: float  # the last of them: the first segment with payload
    recovered: float


class Resumed:
    """When the TCP of a domain sent its first payload from each of these ports: from the capture,
    which is looked at now and then only, since that takes time."""

    def __init__(self, domid: int, origin: int, ports: set[int]) -> None:
        self.times: dict[int, int] = {}
        self._domid, self._origin, self._ports = domid, origin, ports
        self._records: list[bytes] = []
        self._size = 0

    def follow(self, records: bytes, surely: bool) -> bool:
        """Whether all have; `surely`: they must have by now."""
        if records:
            self._records.append(records)
            self._size += len(records)
        if surely or self._size > LOOK_BYTES:
            self._look(b"".join(self._records))
            self._records.clear()
            self._size = 0
        return surely or len(self.times) == len(self._ports)

    def _look(self, records: bytes) -> None:
        at = 0
        while at < len(records):
            time, node, sent, length = RECORD.unpack_from(records, at)
            at += RECORD.size
            if node == self._domid and sent and time >= self._origin:
                tcp = at + (records[at] & 15) * 4
                payload = tcp + (records[tcp + 12] >> 4) * 4
                port = int.from_bytes(records[tcp : tcp + 2], "big")
                if payload < at + length and port in self._ports:
                    self.times.setdefault(port, time)
            at += length


class Load:
    """A protected FTP service and its clients, one host for every few."""

    def __init__(
        self, root: Path, clients: int, size: int, before: int, link: Link, real: bool, seed: int
    ) -> None:
        self.fetches = [Fetch() for _ in range(clients)]
        self.finished = 0
        self._expected = memoryview((root / LARGE).read_bytes())
        self._small = (root / SMALL).read_bytes()
        self._before = before
        self._pause = 0.0 if real else PAUSE * clients
        self._waiting = 0  # for all others, to begin the large file together
        self._early = clients  # have less than `enough`
        self._old = 0  # have nothing new since the fault
        self.enough = min(MIB, size // 10)
        self.report = Report()
        self.system = System(config(root, clients, real, seed))
        try:
            self.system.boot()
            hosts = -(-clients // PER_HOST)
            for number in range(hosts):
                kernel = add_client(self.system, number, link)
                kernel.spawn(self._program(self.fetches[number::hosts], AT_ONCE // hosts))
        except BaseException:
            self.system.close()
            raise

    def __enter__(self) -> Load:
        return self

    def __exit__(self, *exc: object) -> None:
        self.system.close()

    # the clients

    def _program(self, fetches: list[Fetch], at_once: int) -> Program:
        logins = asyncio.Semaphore(at_once)

        async def program(argv: list[str]) -> int:
            await asyncio.gather(*(self._client(fetch, logins) for fetch in fetches))
            return 0

        return program

    async def _client(self, fetch: Fetch, logins: asyncio.Semaphore) -> None:
        try:
            async with logins:
                ftp = await self._login()
            for _ in range(self._before):
                await ftp.check(SMALL, self._small)
            self._waiting += 1
            while self._waiting < len(self.fetches):
                await asyncio.sleep(TOGETHER)
            await self._large(ftp, fetch)
            await ftp.quit()
        except (OSError, asyncio.IncompleteReadError) as error:
            self.report.broken.append(f"{type(error).__name__}: {error}")

    async def _login(self) -> Ftp:
        ftp = Ftp(await asyncio.open_connection(SERVICE, PORT), self.report)
        await ftp.reply(220)
        for line, code in LOGIN:
            await ftp.command(line, code, "")
        return ftp

    async def _large(self, ftp: Ftp, fetch: Fetch) -> None:
        loop = asyncio.get_running_loop()
        line = await ftp.command("PASV", 227, "")
        high, low = line[line.index("(") + 1 : line.index(")")].split(",")[4:]
        fetch.data_port = int(high) << 8 | int(low)
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as data:
            data.setblocking(False)
            await loop.sock_connect(data, (SERVICE, fetch.data_port))
            fetch.asked = True
            await ftp.command(f"RETR {LARGE}", 150)
            while piece := await loop.sock_recv(data, CHUNK):
                if piece != self._expected[fetch.got : fetch.got + len(piece)]:
                    self.report.wrong.append(f"a wrong byte after {fetch.got}")
                self._count(fetch, fetch.got + len(piece))
                await asyncio.sleep(self._pause and self._pause - loop.time() % self._pause)
        await ftp.reply(226)
        fetch.done = True
        fetch.over_at = self.system.now + SETTLED_NS
        self.finished += 1

    def _count(self, fetch: Fetch, got: int) -> None:
        self._early -= fetch.got < self.enough <= got
        self._old -= fetch.pending and fetch.got < fetch.new_from <= got
        fetch.got = got

    # the run

    def until(self, condition: Condition, what: str) -> None:
        """Runs until the condition holds. RuntimeError."""
        met = self.system.run_until(condition, SECONDS)
        problems = self.report.wrong + self.report.broken
        if problems:
            raise RuntimeError(f"{what}: {len(problems)} problems: {problems[0]}")
        if not met:
            raise RuntimeError(f"{what}: not after {SECONDS:g} s")

    def all_have_enough(self) -> None:
        """Runs until the last client has `enough`."""
        self.until(lambda: not self._early, "downloads begin")

    def all_done(self) -> None:
        """Runs until all files are whole."""
        self.until(lambda: self.finished == len(self.fetches), "downloads end")
        if any(fetch.got != len(self._expected) for fetch in self.fetches):
            raise RuntimeError("a download is not whole")

    def pending(self) -> list[Fetch]:
        """Downloads whose last reply is not there, or only just."""
        now = self.system.now
        return [f for f in self.fetches if f.asked and not (f.done and f.over_at <= now)]

    def crash(self, kind: str) -> Fault:
        """A fault now; runs until all that are pending go on."""
        system, core = self.system, self.system.machine.core
        since, pending = system.log.count, self.pending()
        if not pending:
            raise RuntimeError("all downloads were done before the fault: larger ones are needed")
        for fetch in pending:
            fetch.pending = True
            fetch.new_from = min(len(self._expected), fetch.got + SURELY_NEW)
        self._old = sum(fetch.got < fetch.new_from for fetch in pending)
        core.capture(True)
        origin = core.clock
        ports = {fetch.data_port for fetch in pending}
        resumed = Resumed(system.backup().domid, origin, ports)
        system.crash(kind)
        self.until(
            lambda: (
                resumed.follow(core.captured(), not self._old)
                and happened(system, since, "recovery-done")
            ),
            "downloads go on",
        )
        if core.capture_dropped:
            raise RuntimeError("the packet capture is too small")
        core.capture(False)
        events, times = system.log.since(since), resumed.times
        if not times:  # a few may be as good as done
            raise RuntimeError("no download went on")
        last = max(times.get(fetch.data_port, origin) for fetch in pending) - origin
        done = next(event.time for event in events if event.name == "recovery-done") - origin
        return Fault(len(pending), retrs(events), last / 1e6, done / 1e6)


def config(root: Path, clients: int, real: bool, seed: int) -> BootConfig:
    """Of a host with the FTP service; memory and log for so many clients."""
    spec = ServiceSpec(
        str(BENCH / "programs" / "ftpd_said.py"),
        ("--port", str(PORT), str(root)),
        port=PORT,
        profile=Profile.FTP,
        name="ftp",
    )
    socks = power_of_two(8 * clients)
    if not real:
        return small_config(root=root, seed=seed, specs=(spec,), max_socks=socks, log=LOG)
    forwards = (Forward(0, PORT),)  # the real clock waits for a forwarded port
    return BootConfig(
        root=root, seed=seed, specs=(spec,), max_socks=socks, forwards=forwards, log=LOG
    )


def happened(system: System, since: int, name: str) -> bool:
    """There was such an event."""
    return any(event.name == name for event in system.log.since(since))


def retrs(events: Sequence[Event]) -> int:
    """Downloads of the large file, or of a small one, that services have begun."""
    lines = [str(event.details["line"]) for event in events if event.name == "console"]
    return sum(": RETR " in line for line in lines)
