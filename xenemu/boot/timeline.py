"""The timeline of one recovery, made from its recording: phases, marks, and a client's packets.

Four lanes: the clients, the VMM, the primary that failed and the backup that took over. Times
are nanoseconds since the crash (since its detection when nobody injected it).
"""

import errno
import struct
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from itertools import pairwise
from typing import Any

from vzs import describe, timelines
from xenemu.boot.recorder import LEAD_NS, Recording
from xenemu.boot.system import System
from xenemu.vmm import Event

LANES = ("client", "VMM", "primary", "backup")
RECORD = struct.Struct("=QIBBH6Q")  # struct xe_trace_record
SENT = 2  # XE_TRACE_PACKET_OUT
MAX_PACKETS = 20_000
# phase, lane, the events that begin it (the last of them counts), the event that ends it
PHASES = (
    ("detection", "VMM", ("crash-injected",), "fault"),
    ("fence + switch", "VMM", ("fault", "waiting-for-backup", "backup-booted"), "backup-woken"),
    ("remap", "backup", ("backup-woken",), "log-remapped"),
    ("replay", "backup", ("log-remapped",), "recovery-done"),
    ("first byte", "backup", ("replay-started",), "first-byte"),
    ("renewal", "backup", ("recovery-done",), "protected"),
)


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of the recovery."""

    name: str
    lane: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Mark:
    """An event."""

    name: str
    lane: str
    time: int
    text: str


@dataclass(frozen=True, slots=True)
class Packet:
    """A TCP segment at a client's own interface."""

    time: int
    sent: bool  # by the client
    payload: int
    flags: int
    new: bool  # brought the other end something new: bytes, or an ack of bytes
    connection: str


@dataclass(frozen=True, slots=True)
class Gap:
    """The longest time across the crash in which a client got nothing new."""

    connection: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class RecoveryTimeline:
    """One recovery. `of` were recorded; `overrun` trace records were lost."""

    number: int
    of: int
    title: str
    origin: int
    steps: tuple[tuple[str, int], ...]
    phases: tuple[Phase, ...]
    marks: tuple[Mark, ...]
    packets: tuple[Packet, ...]
    gap: Gap | None
    log: tuple[tuple[int, float], ...]  # time, percent in use
    overrun: int
    left_out: int  # packets beyond the first MAX_PACKETS

    @property
    def start(self) -> int:
        """Where a drawing of it begins."""
        return -LEAD_NS

    @property
    def end(self) -> int:
        """Where a drawing of it ends: a little after its last phase and the gap."""
        ends = [phase.end for phase in self.phases] + ([self.gap.end] if self.gap else [])
        last = max(ends, default=0) or max((mark.time for mark in self.marks), default=0)
        return last + max(last // 20, LEAD_NS // 4)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "packets"}
        values["phases"] = [asdict(phase) for phase in self.phases]
        values["marks"] = [asdict(mark) for mark in self.marks]
        values["gap"] = self.gap and asdict(self.gap)
        names = [f.name for f in fields(Packet)]
        values["packets"] = [{name: getattr(p, name) for name in names} for p in self.packets]
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "RecoveryTimeline":
        """Of as_dict; KeyError, TypeError."""
        gap = values["gap"]
        return cls(
            **values
            | {
                "steps": tuple((name, time) for name, time in values["steps"]),
                "phases": tuple(Phase(**item) for item in values["phases"]),
                "marks": tuple(Mark(**item) for item in values["marks"]),
                "packets": tuple(Packet(**item) for item in values["packets"]),
                "gap": None if gap is None else Gap(**gap),
                "log": tuple((time, percent) for time, percent in values["log"]),
            }
        )

    def lines(self) -> list[str]:
        """For people."""
        result = [f"recovery {self.number} of {self.of}: {self.title}"]
        result += [f"  {name:<16}{time / 1e6:10.3f} ms" for name, time in self.steps]
        renewal = [phase.end for phase in self.phases if phase.name == "renewal"]
        result += [f"  {'protected again':<16}{time / 1e6:10.3f} ms" for time in renewal]
        if self.gap:
            length = (self.gap.end - self.gap.start) / 1e6
            result.append(f"  {'longest gap':<16}{length:10.3f} ms  {self.gap.connection}")
        if self.overrun:
            result.append(f"  incomplete: {self.overrun} trace records were overwritten")
        if self.left_out:
            result.append(f"  incomplete: {self.left_out} packets are left out")
        return result


def timeline_of(system: System, number: int | None = None) -> RecoveryTimeline:
    """Of a recovery by its number, the last one without. OSError(ENOENT)."""
    recordings = system.recorder.recordings()
    if not recordings:
        raise OSError(errno.ENOENT, "no recovery yet")
    last = recordings[-1].number
    wanted = last if number is None else number
    for recording in recordings:
        if recording.number == wanted:
            return build(recording, last, system)
    kept = f"{recordings[0].number} to {last} are kept"
    raise OSError(errno.ENOENT, f"no recovery {wanted}: {kept}")


def build(recording: Recording, of: int, system: System) -> RecoveryTimeline:
    """The timeline of a recording."""
    events = recording.events
    old = next(event.domid for event in events if event.name == "fault")
    new = next((event.domid for event in events if event.name == "path-switched"), None)
    phases = tuple(_phases(events, recording.origin))
    over = max((p.end for p in phases if p.name in ("replay", "first byte")), default=0)
    every = list(_packets(recording, system))
    return RecoveryTimeline(
        number=recording.number,
        of=of,
        title=_title(events, old, new),
        origin=recording.origin,
        steps=next((line.steps for line in timelines(events)), ()),
        phases=phases,
        marks=tuple(_mark(event, recording.origin, old, new) for event in events),
        packets=tuple(every[:MAX_PACKETS]),
        gap=max(_gaps(every, over + LEAD_NS), key=lambda gap: gap.end - gap.start, default=None),
        log=tuple((time - recording.origin, percent) for time, percent in recording.log),
        overrun=recording.overrun,
        left_out=max(0, len(every) - MAX_PACKETS),
    )


def _title(events: list[Event], old: int, new: int | None) -> str:
    kind = next(str(event.details.get("kind", "")) for event in events if event.name == "fault")
    after = f"d{new} takes over" if new is not None else "nobody takes over"
    return f"{kind} fault of d{old}, {after}"


def _phases(events: list[Event], origin: int) -> Iterable[Phase]:
    for name, lane, begins, ends in PHASES:
        end = next((event.time for event in events if event.name == ends), None)
        if end is None:
            continue
        starts = [event.time for event in events if event.name in begins and event.time <= end]
        if starts:
            yield Phase(name, lane, max(starts) - origin, end - origin)


def _mark(event: Event, origin: int, old: int, new: int | None) -> Mark:
    vmm = event.name in ("fault", "fenced", "path-switched", "connections-reestablished")
    if event.domid == old and not vmm:
        lane = "primary"
    elif event.domid == new and not vmm:
        lane = "backup"
    else:
        lane = "VMM"
    # a and b are a wrapper's own numbers
    details = {key: value for key, value in event.details.items() if key not in ("a", "b")}
    text = f"d{event.domid} {describe(replace(event, details=details))}"
    return Mark(event.name, lane, event.time - origin, text)


def _packets(recording: Recording, system: System) -> Iterable[Packet]:
    first, last = recording.origin - LEAD_NS, recording.end
    ends: dict[tuple[int, int, bool], int] = {}  # of what was sent, or received, so far
    acked: dict[tuple[int, int, bool], int] = {}
    for time, node, kind, _, _, a, b, c, *_ in RECORD.iter_unpack(bytes(recording.packets)):
        sent = kind == SENT
        port = (c >> 16 if sent else c) & 0xFFFF
        way, back = (node, port, sent), (node, port, not sent)
        payload, ack = a & 0xFFFFFFFF, b & 0xFFFFFFFF
        end = (b >> 32) + payload & 0xFFFFFFFF
        newer = way not in ends or _after(end, ends[way])
        acks = way not in acked or _after(ack, acked[way])
        acks_bytes = acks and way in acked and back in ends and _after(ends[back], acked[way])
        if newer:
            ends[way] = end
        if acks:
            acked[way] = ack
        if first <= time and (last is None or time <= last):
            new = (payload > 0 and newer) or acks_bytes
            name = f"{system.node_name(node)}:{port}"
            yield Packet(time - recording.origin, sent, payload, a >> 32, new, name)


def _after(one: int, other: int) -> bool:
    return 0 < (one - other & 0xFFFFFFFF) < 1 << 31


def _gaps(packets: list[Packet], until: int) -> Iterable[Gap]:
    """Of each connection: its longest silence that reaches beyond the crash.

    It begins before `until`, later than the recovery's end: what was under way at the crash
    still arrives. One that was idle at the crash is taken to be silent since then.
    """
    heard: dict[str, list[int]] = {}
    for packet in packets:
        if not packet.sent and packet.new:
            heard.setdefault(packet.connection, []).append(packet.time)
    for connection, times in heard.items():
        if times[0] > 0:
            times.insert(0, 0)
        pairs = [(start, end) for start, end in pairwise(times) if end > 0 and start <= until]
        if pairs:
            start, end = max(pairs, key=lambda pair: pair[1] - pair[0])
            yield Gap(connection, start, end)
