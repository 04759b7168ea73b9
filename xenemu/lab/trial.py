"""One run of a scenario: boots the host, starts the client, meets its faults, and is judged.

`advance` runs up to chosen instants and asks at each, in the middle of whatever happens there,
whether this process is the one to die: a fork server answers in one of two processes. A fault
inside a socket call comes inside that call.
"""

import os
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from xenemu.boot import System, add_client, small_config
from xenemu.boot.config import CONTROL_IP, MIB, SERVICE_IP
from xenemu.guest import Process
from xenemu.lab.clients import Report
from xenemu.lab.end_witness import BothWays, EndWitness
from xenemu.lab.point import Course, Point
from xenemu.lab.scenarios import LINKS
from xenemu.lab.upgraded import DIVERGED, Upgraded, loud

NS = 1_000_000_000
PACKET_OUT, FENCE, PATH = 2, 5, 7  # enum xe_trace_kind
BOUND_SECONDS = 60.0  # of machine time, after the last fault
LOSSY_BOUND_SECONDS = 240.0
LAST_SECONDS = 30.0  # a FIN that is lost comes again
PROTECTED_SECONDS = 60.0
QUIET_SECONDS = 130  # TIME_WAIT and tombstones are over
CLEANUP_EVERY = 50  # runs of which one is followed until nothing is left of it
MTIME = 1_100_000_000  # of the files that are served: it is in their answers
FIRST_SERVER = 16  # number of a scenario's first end server among the hosts
LOUD = ("connection-unprotected", "connection-reset", DIVERGED)
LOST = ("no-backup", "recovery-failed")
UPGRADE_SECONDS = 300.0
START_SECONDS = 0.05  # of a service that is started again

Arrive = Callable[[Point], bool]
Record = tuple[int, int, int, int, int, int, tuple[int, ...]]  # as core.trace gives them


def fenced_that_spoke(trace: Iterable[Record]) -> list[str]:
    """Domains of which a packet of the services got onto the LAN after they were fenced, and before
    the services' address was theirs again: of any connection, but those with who checks a backup at
    another address."""
    fenced: set[int] = set()
    spoke: dict[int, None] = {}
    for _, _, kind, node, _, _, (a, _, c, *_) in trace:
        if kind == FENCE:
            fenced.add(node)
        elif kind == PATH and a == SERVICE_IP:
            fenced.discard(node)
        elif kind == PACKET_OUT and node in fenced and c >> 32 != CONTROL_IP:
            spoke[node] = None
    return [f"d{node} was fenced, and sent a packet of the service after that" for node in spoke]


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a run ended; times in ns of machine time since the client's start. `lost`: there was
    nobody to take over, and the host said so; then only wrong bytes are failures."""

    failures: tuple[str, ...]
    events: int
    calls: int  # hooks of them: one before, one after
    stores: int
    turns: int
    time: int
    trace_hash: int
    faults: int
    lost: bool = False

    def instants(self, at: str) -> int:
        """How many there were of those that an index may count (WHENS)."""
        count: int = getattr(self, at)
        return count


@dataclass(slots=True)
class Base:
    """What is in use while nobody is connected."""

    free_pages: int
    refs: int
    pages: int
    blocks: int

    @classmethod
    def of(cls, system: System) -> "Base":
        """Now."""
        core, primary = system.machine.core, system.primary().domid
        info = core.domain_info(primary)
        blocks = core.log_info(primary)["blocks_free"]
        return cls(core.free_pages(), info["refs"], info["tot_pages"], blocks)


class Trial:
    """A run of a course; close it, or use it as a context manager."""

    def __init__(self, course: Course, root: Path) -> None:
        """Boots, and starts the client, which has done nothing yet. OSError."""
        self.course, self._root = course, root
        self.scenario = course.played
        link = LINKS[course.link]
        self.in_order = not (link.loss_ppm or link.reorder_ppm or link.duplicate_ppm)
        self._report = Report()
        self._write_files()
        self.system = System(
            small_config(
                root=root, seed=course.seed, log=8 * MIB,
                specs=self.scenario.specs,
                same_domain=course.same_domain, start_seconds=START_SECONDS,
            )
        )  # fmt: skip
        self._stops: list[Point] = []
        self._calls = 0
        self._call_stop = -1
        self._arrive: Arrive = lambda point: False
        self._fated: Point | None = None
        self.faults = 0
        self._first_trace = 1 << 62
        self._error: Exception | None = None
        self._left: Exception | None = None
        self._upgraded: Upgraded | None = None
        self._turns = 0
        self._turn_stop = -1
        self._at_turn = self._turn_reached
        self._start()

    def _write_files(self) -> None:
        for name, data in self.scenario.files(self.course.seed).items():
            path = self._root / name
            path.write_bytes(data)
            os.utime(path, (MTIME, MTIME))

    def _start(self) -> None:
        system = self.system
        system.boot()
        kernel = add_client(system, link=LINKS[self.course.link])
        self._base = Base.of(system)
        self._core = system.machine.core
        self._core.capture(True)
        self.witness = BothWays(kernel.node.id, self.in_order)
        self.end_witnesses = [self._add_server(n) for n in range(len(self.scenario.servers))]
        self._first_event, self._began = self._core.event_index, system.now
        self._first_store = self._core.stores
        system.primary().kernel.socket_call_hook = self._socket_call
        system.machine.turn_hook = self._turn
        program = self.scenario.program_of(self.course.seed, self._report)
        self._client: Process = kernel.spawn(program)

    def _add_server(self, number: int) -> EndWitness:
        kernel = add_client(self.system, FIRST_SERVER + number, LINKS[self.course.link])
        kernel.spawn(self.scenario.servers[number](self._report))
        return EndWitness(kernel.node.id, self.in_order)

    def __enter__(self) -> "Trial":
        return self

    def __exit__(self, *exc: object) -> None:
        self.system.close()

    @property
    def events(self) -> int:
        """Events of the machine since the client's start."""
        return self._core.event_index - self._first_event

    def advance(self, points: Sequence[Point], arrive: Arrive) -> None:
        """Runs to the first index of each of the points (of one kind, in order), and calls
        `arrive` there; if that is true, the point's first fault comes, and this returns.
        Points behind the client's end are not met. What `arrive` raises comes from here."""
        self._stops, self._arrive = list(reversed(points)), arrive
        if points and points[0].at == "events":
            self._advance_by_events()
        elif points:
            ways = {
                "calls": self._await_call,
                "stores": self._await_store,
                "turns": self._await_turn,
            }
            ways[points[0].at]()
            while self._stops and not self._client.exited and self._fated is None:
                self.system.step(self.system.now + NS)
            self._call_stop = -1
            if self._fated is None:
                self._turn_stop = -1
        if self._left is not None:
            raise self._left

    def _advance_by_events(self) -> None:
        while self._stops and not self._client.exited and self._fated is None:
            if self._run_events(self._stops[-1].indices[0] - self.events):
                self._stop_here()

    def _run_events(self, count: int) -> bool:
        """That many events more; False when the client ended before."""
        until = self.events + count
        while self.events < until and not self._client.exited:
            self.system.step(self.system.now + NS, until - self.events)
        return not self._client.exited

    def _await_call(self) -> None:
        self._call_stop = self._stops[-1].indices[0]

    def _socket_call(self, process: Process, name: str, before: bool) -> None:
        while self._calls == self._call_stop and self._fated is None:
            self._stop_here()
            self._call_stop = self._stops[-1].indices[0] if self._stops else -1
        self._calls += 1

    def _await_store(self) -> None:
        self._core.stop_at_store(
            self._first_store + self._stops[-1].indices[0] + 1, self._store_reached
        )

    def _store_reached(self) -> None:
        index = self._stops[-1].indices[0]
        while self._stops and self._stops[-1].indices[0] == index and self._fated is None:
            self._stop_here()
        if self._stops and self._fated is None:
            self._await_store()

    def _await_turn(self) -> None:
        self._turn_stop = self._stops[-1].indices[0]

    def _turn(self) -> None:
        while self._turns == self._turn_stop:
            self._turn_stop = -1
            self._at_turn()
        self._turns += 1

    def _turn_reached(self) -> None:
        self._stop_here()
        if self._stops and self._fated is None:
            self._await_turn()

    def _await_next(self, number: int) -> None:
        """The next fault comes so many turns after the one before: while other work goes on."""
        point = self._fated
        if point is not None and point.at == "turns" and number < len(point.indices):
            self._turn_stop = self._turns + point.indices[number]
            self._at_turn = lambda: self._inject(number)

    def _stores(self) -> int:
        """Stores of the log since the client's start; 0 where the core does not count them."""
        return self._core.stores - self._first_store

    def _stop_here(self) -> None:
        point = self._stops.pop()
        try:
            arrived = self._arrive(point)
        except Exception as error:  # noqa: BLE001 - not into the guest's step that we are in
            self._left = error
            self._stops.clear()
            return
        if arrived:
            self._fated = point
            if point.faults:
                self._inject(0)

    def _inject(self, number: int) -> None:
        assert self._fated is not None
        self.faults += 1
        if self.faults == 1:
            self._first_trace = self._core.trace_index
        try:
            upgrade = self._fated.faults[number].inject(self.system)
            if upgrade is not None:
                version = self._fated.faults[number].version
                self._upgraded = Upgraded(self.system, upgrade, version)
        except ProcessLookupError:
            self.faults -= 1  # nothing was left to crash
        except Exception as error:  # noqa: BLE001 - not into the guest's step that we are in
            self._error = error
        self._await_next(number + 1)

    def _meet_the_rest(self, point: Point) -> None:
        if point.at == "turns":
            while self._turn_stop >= 0 and not self._client.exited:
                self.system.step(self.system.now + NS)
            self._turn_stop = -1
            return
        for number, count in enumerate(point.indices[1:], start=1):
            if not self._run_events(count):
                break
            self._inject(number)

    def finish(self) -> Verdict:
        """The rest of the point's faults, the rest of the run, and what the witness says.
        Raises what went wrong with a fault."""
        if self._fated is not None:
            self._meet_the_rest(self._fated)
        if self._error is not None:
            raise self._error
        bound = BOUND_SECONDS if self.in_order else LOSSY_BOUND_SECONDS
        ended = self.system.run_until(lambda: self._client.exited, bound)
        if self._upgraded is not None:
            upgrade = self._upgraded.upgrade
            self.system.run_until(lambda: upgrade.result is not None, UPGRADE_SECONDS)
        return self._judge(ended, bound)

    def _judge(self, ended: bool, bound: float) -> Verdict:
        system, core, report, upgraded = self.system, self._core, self._report, self._upgraded
        events, turns, trace_hash = self.events, self._turns, core.trace_hash
        time = system.now - self._began
        if ended:
            system.run_for(0.02)  # the last acks
            system.run_until(self._all_over, LAST_SECONDS)
        wrong, broken = self._witnessed()
        names = [event.name for event in system.log.since()]
        lost = self.faults > 1 and any(name in LOST for name in names)
        heard = loud(system.log.since(), LOUD + LOST)
        otherwise = upgraded is not None and upgraded.answers_otherwise
        if upgraded is not None and otherwise:
            wrong += upgraded.mixtures(self.witness.connections)
            broken = upgraded.still_broken(broken)
        else:
            wrong, broken = report.wrong + wrong, report.broken + broken
        broken += [f"event {name}" for name in heard]
        if self.scenario.diverges and DIVERGED in heard:
            broken = []
        if not ended:
            broken.append(f"the client hangs: not done {bound:g} s after the fault")
        if upgraded is not None and not (self.scenario.diverges and DIVERGED in names):
            broken += upgraded.failures(self.faults == 1)
        wrong += fenced_that_spoke(core.trace(self._first_trace))
        if ended and not (broken or wrong or heard or otherwise):
            wrong += self._stored() + self._cleaned_up()
        return Verdict(
            failures=tuple(wrong if lost else wrong + broken),
            events=events, calls=self._calls, stores=self._stores(),
            turns=turns, time=time, trace_hash=trace_hash, faults=self.faults, lost=lost,
        )  # fmt: skip

    def _feed(self) -> list[BothWays]:
        """The witnesses, who know what has happened until now."""
        records = self._core.captured()
        witnesses = [self.witness, *self.end_witnesses]
        for witness in witnesses:
            witness.feed(records)
        return witnesses

    def _all_over(self) -> bool:
        return all(witness.over for witness in self._feed())

    def _witnessed(self) -> tuple[list[str], list[str]]:
        """What the packets at the client and at the end servers say."""
        wrong: list[str] = []
        broken: list[str] = []
        for witness in self._feed():
            more_wrong, more_broken = witness.verdict()
            wrong += more_wrong
            broken += more_broken
        return wrong, broken

    def _stored(self) -> list[str]:
        """Uploads that are not on the disk as they were sent."""
        problems = []
        for name, data in self.scenario.stored(self.course.seed).items():
            path = self._root / name
            if not path.exists() or path.read_bytes() != data:
                problems.append(f"the stored {name} is not what was sent")
        return problems

    def _cleaned_up(self) -> list[str]:
        """What is still in use when all is over; of some runs, always the same ones."""
        name = f"{self.course}:{self._fated}"
        if zlib.crc32(name.encode()) % CLEANUP_EVERY:
            return []
        system, core = self.system, self._core
        if not system.run_until(system.protected, PROTECTED_SECONDS):
            return ["not protected again"]
        system.run_for(QUIET_SECONDS)
        for status in system.list():
            if status.role == "retired":
                core.destroy_domain(status.id)
        now = Base.of(system)
        return [] if now == self._base else [f"in use at the end: {now}, before: {self._base}"]
