"""Recoveries of one connection, or session, with a long history behind it.

An FTP session that has fetched so many files, and an HTTP connection that has had so many answers:
what was completed is removed from the replay, so a long one recovers as fast as a short one. The
same HTTP connection under the plain wrapper, which removes nothing, for comparison.
"""

from __future__ import annotations

import asyncio
import gc
import tempfile
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import common

from ozs import Profile
from xenemu.boot import BootConfig, Forward, ServiceSpec, System, add_client
from xenemu.lab import ftp_clients
from xenemu.lab.clients import Http, Report
from xenemu.lab.services import content
from xenemu.vmm import Event

MIB = 1 << 20
SIZE = 1000
SECONDS = 600.0
CAUGHT_UP_NS = 1_000_000
POLL = 0.0005  # seconds: how late a client hears that it is to ask
SOCKETS = 4096  # those of closed data connections stay for a while
Exchange = Callable[[], Coroutine[Any, Any, None]]
Steps = Callable[[Sequence[Event], int, int], dict[str, float]]


async def ftp(report: Report, body: bytes) -> tuple[Exchange, Exchange]:
    """A session: how to fetch a file, and what to ask after the fault."""
    session = await ftp_clients.login(report)

    async def fetch() -> None:
        await session.check("file", body)

    async def ask() -> None:
        await session.command("NOOP", 200, "")

    return fetch, ask


async def http(report: Report, body: bytes) -> tuple[Exchange, Exchange]:
    """A connection: a request."""
    session = Http(await asyncio.open_connection("10.0.0.1", 80), report)

    async def fetch() -> None:
        await session.get("file", body)

    return fetch, fetch


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of history."""

    name: str
    service: str
    port: int
    profile: Profile
    begin: Callable[[Report, bytes], Coroutine[Any, Any, tuple[Exchange, Exchange]]]


FILES = Kind("files", "ftp", 21, Profile.FTP, ftp)
REQUESTS = Kind("requests", "httpd", 80, Profile.HTTP, http)
PLAIN = Kind("requests, plain", "httpd", 80, Profile.PLAIN, http)


@dataclass(frozen=True, slots=True)
class Result:
    """Recoveries of one kind of history; times in milliseconds. `ratio`: of `answered`, against
    that of the shortest history, run by run."""

    history: str
    length: int
    kind: str
    runs: int
    steps: dict[str, common.Spread]
    ratio: common.Spread


class Scene:
    """A protected system whose one client has a history of `length` exchanges."""

    def __init__(self, root: Path, kind: Kind, length: int) -> None:
        self._kind, self._length = kind, length
        self._body = (root / "file").read_bytes()
        self._report = Report()
        self._ready = self._asked = False
        self._answered = 0
        self.system = System(
            BootConfig(
                root=root,
                forwards=(Forward(0, kind.port),),  # the real clock waits for a forwarded port
                log=64 * MIB,
                specs=(ServiceSpec(kind.service, port=kind.port, profile=kind.profile),),
                max_socks=SOCKETS,
            )
        )
        try:
            self.system.boot()
            self._client = add_client(self.system).spawn(self._run)
            self._wait(lambda: self._ready, f"{length} {kind.name} take too long")
        except BaseException:
            self.system.close()
            raise

    async def _run(self, argv: list[str]) -> int:
        fetch, ask = await self._kind.begin(self._report, self._body)
        for _ in range(self._length):
            await fetch()
        self._ready = True
        while True:
            while not self._asked:
                await asyncio.sleep(POLL)
            self._asked = False
            await ask()
            self._answered += 1

    def _wait(self, condition: common.Condition, otherwise: str) -> None:
        client = self._client
        met = self.system.run_until(lambda: condition() or client.exited, SECONDS)
        if not met or client.exited or self._report.wrong:
            raise RuntimeError(self._report.wrong[0] if self._report.wrong else otherwise)

    def crash(self, kind: str, steps: Steps) -> dict[str, float]:
        """One fault and its recovery; milliseconds of each step."""
        system, core = self.system, self.system.machine.core
        self._wait(system.protected, "no backup comes up")
        gc.collect()
        self._wait(lambda: core.clock - core.now < CAUGHT_UP_NS, "the machine lags behind")
        since, origin, before = system.log.count, core.clock, self._answered
        system.crash(kind)
        self._asked = True
        self._wait(lambda: self._answered > before, "no answer")
        answered = core.clock - origin
        self._wait(
            lambda: any(event.name == "recovery-done" for event in system.log.since(since)),
            "the recovery is not done",
        )
        return steps(system.log.since(since), origin, answered)

    def close(self) -> None:
        self.system.close()


def measure(
    kind: Kind, lengths: Sequence[int], runs: int, faults: Sequence[str], steps: Steps
) -> list[Result]:
    """Histories of all lengths side by side: in each run, each of them has each kind of fault."""
    samples: dict[tuple[int, str], list[dict[str, float]]] = {}
    scenes: list[tuple[int, Scene]] = []
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "file").write_bytes(content(1, SIZE))
        try:
            for length in lengths:
                common.progress(f"{length} {kind.name}")
                scenes.append((length, Scene(Path(name), kind, length)))
            for run in range(runs):
                for fault in faults:
                    for length, scene in scenes:
                        common.progress(f"{length} {kind.name}, run {run + 1}, {fault}")
                        samples.setdefault((length, fault), []).append(scene.crash(fault, steps))
        finally:
            for _, scene in scenes:
                scene.close()
    return [
        Result(
            kind.name, length, fault, runs,
            {step: common.Spread.of([one[step] for one in of]) for step in of[0]},
            common.Spread.of(
                [
                    one["answered"] / short["answered"]
                    for one, short in zip(of, samples[lengths[0], fault], strict=True)
                ]
            ),
        )
        for (length, fault), of in samples.items()
    ]  # fmt: skip
