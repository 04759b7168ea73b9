"""The event log and the timelines made from it."""

import json
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from xenemu.vmm import Event

# The steps of a recovery, in the order of fig. 10, and the events that mark them.
STEPS: tuple[tuple[str, str], ...] = (
    ("detection", "fault"),
    ("path switch", "path-switched"),
    ("wake-up", "backup-woken"),
    ("remap", "log-remapped"),
    ("replay", "replay-started"),
    ("recovered", "recovery-done"),
    ("first byte", "first-byte"),
)
ORIGIN = "crash-injected"


@dataclass(frozen=True, slots=True)
class Timeline:
    """One recovery: steps with nanoseconds since its origin (the crash, else its detection)."""

    origin: int
    steps: tuple[tuple[str, int], ...]

    def lines(self) -> list[str]:
        """One line a step, in milliseconds."""
        return [f"{name:<12} {offset / 1e6:9.3f} ms" for name, offset in self.steps]


class EventLog:
    """A bounded log of events, numbered from 0."""

    def __init__(self, capacity: int = 10_000) -> None:
        self._events: deque[Event] = deque(maxlen=capacity)
        self._count = 0

    @property
    def count(self) -> int:
        """Events ever logged: the index of the next one."""
        return self._count

    def append(self, event: Event) -> None:
        """Logs an event. May run inside a guest's step, so nobody else is told from here."""
        self._events.append(event)
        self._count += 1

    def since(self, index: int = 0) -> list[Event]:
        """Events from `index` on, as far as they are still kept."""
        first = self._count - len(self._events)
        return list(self._events)[max(0, index - first) :]


def as_dict(event: Event) -> dict[str, object]:
    """An event as JSON-ready values; `time` in nanoseconds."""
    return {
        "time": event.time,
        "name": event.name,
        "domain": event.domid,
        "details": dict(event.details),
    }


def as_line(event: Event) -> str:
    """An event for people: seconds, domain, name, details."""
    details = " ".join(
        f"{key}={value if isinstance(value, int) else json.dumps(value)}"
        for key, value in event.details.items()
    )
    return f"{event.time / 1e9:11.6f} d{event.domid} {event.name} {details}".rstrip()


def describe(event: Event) -> str:
    """An event's name and details in one line."""
    return " ".join([event.name, *(f"{key}={value}" for key, value in event.details.items())])


def timelines(events: Iterable[Event]) -> list[Timeline]:
    """A timeline for each recovery in the log: from its fault to its first byte."""
    names = {event_name: step for step, event_name in STEPS}
    result: list[Timeline] = []
    origin: int | None = None
    steps: dict[str, int] = {}

    def finish() -> None:
        if origin is not None and "detection" in steps:
            ordered = sorted(((s, t - origin) for s, t in steps.items()), key=lambda item: item[1])
            result.append(Timeline(origin, tuple(ordered)))

    for event in events:
        if event.name == ORIGIN:
            finish()
            origin, steps = event.time, {}
            continue
        step = names.get(event.name)
        if step is None:
            continue
        if step == "detection" and (origin is None or "detection" in steps):
            finish()
            origin, steps = event.time, {}
        if origin is not None:
            steps.setdefault(step, event.time)
    finish()
    return result
