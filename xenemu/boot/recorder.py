"""Records each recovery while it happens: its events, packets at the clients, use of the log.

The trace ring is read every 10 ms, so it needs to hold only that much; what it lost is counted.
A recording begins 20 ms before the crash and ends 50 ms after the service has a backup again and
a client its first byte, or after 10 s, or with the next fault.
"""

from collections import deque
from dataclasses import dataclass, field

from vzs import EventLog
from xenemu.boot.status import log_use
from xenemu.machine import Machine
from xenemu.vmm import Event

MS = 1_000_000
LEAD_NS = 20 * MS
STEP_NS = 10 * MS
TAIL_NS = 50 * MS
LIMIT_NS = 10_000 * MS
KEPT = 8
MAX_BYTES = 8 << 20  # of packets in one recording
ORIGIN, FAULT = "crash-injected", "fault"
LAST = frozenset({"first-byte", "protected"})
LOST = frozenset({"no-backup", "recovery-failed"})


@dataclass(slots=True)
class Recording:
    """One recovery. Times in ns, as the event log's; packets as core.trace_packets gives them."""

    number: int  # from 1
    origin: int
    events: list[Event] = field(default_factory=list)
    packets: bytearray = field(default_factory=bytearray)
    log: list[tuple[int, float]] = field(default_factory=list)  # time, percent in use
    overrun: int = 0  # trace records that were overwritten before they were read
    end: int | None = None  # no packets after that
    closed: bool = False

    @property
    def is_recovery(self) -> bool:
        """Somebody saw the fault."""
        return any(event.name == FAULT for event in self.events)


class Recorder:
    """Follows one machine's event log; `follow` is called after each instant."""

    def __init__(self, machine: Machine, log: EventLog) -> None:
        self._machine = machine
        self._log = log
        self._recordings: deque[Recording] = deque(maxlen=KEPT)
        self._seen = 0
        self._count = 0
        self._traced = 0
        self._due = 0

    def recordings(self) -> list[Recording]:
        """The last recoveries, oldest first; the last one may not be over."""
        self.follow(now=True)
        return [recording for recording in self._recordings if recording.is_recovery]

    def follow(self, *, now: bool = False) -> None:
        """Takes what happened since the last call, the packets when they are due or `now`."""
        if self._seen != self._log.count:
            events = self._log.since(self._seen)
            self._seen = self._log.count
            for event in events:
                self._event(event)
        current = self._current()
        if current is not None and (now or self._machine.core.clock >= self._due):
            self._take(current)

    def _current(self) -> Recording | None:
        last = self._recordings[-1] if self._recordings else None
        return None if last is None or last.closed else last

    def _event(self, event: Event) -> None:
        current = self._current()
        begins = event.name == ORIGIN or (
            event.name == FAULT and (current is None or current.is_recovery)
        )
        if begins:
            if current is not None:
                self._take(current)
                current.closed = True
            current = self._begin(event)
        if current is None:
            return
        current.events.append(event)
        names = {e.name for e in current.events}
        if current.end is None and (names >= LAST or names & LOST):
            current.end = event.time + TAIL_NS

    def _begin(self, event: Event) -> Recording:
        if self._recordings and not self._recordings[-1].is_recovery:
            self._recordings.pop()
        else:
            self._count += 1
        recording = Recording(self._count, event.time)
        self._recordings.append(recording)
        self._traced = 0
        self._take(recording)
        recording.overrun = 0  # of the time before the lead
        return recording

    def _take(self, recording: Recording) -> None:
        core = self._machine.core
        first, following, packets = core.trace_packets(self._traced)
        recording.overrun += first - self._traced
        self._traced = following
        room = MAX_BYTES - len(recording.packets)
        if len(packets) > room:
            recording.overrun += 1
        recording.packets += packets[: max(0, room)]
        domids = [event.domid for event in reversed(recording.events)]
        use = next((u for d in domids if (u := log_use(core, d)[1]) >= 0), None)
        if use is not None:
            recording.log.append((core.clock, use))
        over = recording.origin + LIMIT_NS if recording.end is None else recording.end
        recording.closed = core.clock >= over
        self._due = core.clock + STEP_NS
