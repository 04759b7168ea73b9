"""How a run that began an upgrade is judged: how that ended, and who answered what."""

import re
from collections.abc import Iterable, Sequence

from xenemu.boot import Event, Outcome, Profile, System, Upgrade
from xenemu.lab.versions import BAD, GOOD, HERE
from xenemu.lab.witness import Connection

UNDONE, TRIED, ACCEPTED = "rolled-back", "quiet", "replayed"
LENGTH = re.compile(rb"\r\nContent-Length: (\d+)", re.IGNORECASE)
METHOD = re.compile(rb"([A-Z]+) /\S* HTTP/1\.1\r\n")
LINK_NS = 2_000_000  # of the scenarios' links: what was sent before comes until then
REPLAY, DIVERGED = "replay-started", "connection-diverged"
# What clients may complain about when the service answers otherwise than they expect: they leave.
THEIRS = ("the client sent a reset", "bytes up to", "no handshake")


class Upgraded:
    """The last upgrade of a run; `version` is what it was to."""

    def __init__(self, system: System, upgrade: Upgrade, version: str) -> None:
        self._system = system
        self._version = version
        self.upgrade = upgrade

    @property
    def answers_otherwise(self) -> bool:
        """Who serves now, if anybody does, answers otherwise than the first version."""
        if self._version in GOOD + BAD:
            return False
        try:
            primary = self._system.primary().domid
        except OSError:
            return self._accepted_at() is not None
        return self._system.versions.of(primary).service.program.startswith(HERE)

    def failures(self, alone: bool) -> list[str]:
        """How it may not end; `alone`: there were no faults beside it."""
        result = self.upgrade.result
        if result is None:
            return ["the upgrade does not end"]
        done = result.outcome is Outcome.UPGRADED
        text = f"upgrade ({self._version}): {result.outcome}: {result.reason}"
        if done if self._version in BAD else alone and not done and self._version in GOOD:
            return [text]
        return [f"{text}; not protected again"] if alone and not result.backup else []

    def mixtures(self, connections: Iterable[Connection]) -> list[str]:
        """Connections that got the beginning of an answer of the one version, and its end of the
        other. Where answers are not told apart, a connection's are one; under the HTTP profile what
        is answered is forgotten, and the next answer may be another one."""
        accepted = self._accepted_at()
        if accepted is None or not self.answers_otherwise:
            return []
        apart = self._system.config.services[0].profile == Profile.HTTP
        return [
            f"{c.name}: answered by two versions"
            for c in connections
            if c.first_byte is not None and c.first_byte < accepted < c.last_byte
            if not apart or not whole_answers(bytes(c.sent.data), c.received_by(accepted + LINK_NS))
        ]

    def still_broken(self, broken: Sequence[str]) -> list[str]:
        """Of what is wrong with connections, what no other answer explains."""
        return [line for line in broken if not any(text in line for text in THEIRS)]

    def _accepted_at(self) -> int | None:
        """When a trial was decided in favour of the new version."""
        times = [event.time for event in self._system.log.since() if event.name == ACCEPTED]
        return times[-1] if times else None


def whole_answers(requests: bytes, data: bytes) -> bool:
    """Nothing but whole HTTP answers to requests, of which each says how long it is."""
    for method in METHOD.findall(requests):
        if not data:
            break
        head, end, rest = data.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        size = int(length[1]) if length and method != b"HEAD" else 0
        if not (end and length) or len(rest) < size:
            return False
        data = rest[size:]
    return not data


def loud(events: Iterable[Event], names: Sequence[str]) -> list[str]:
    """Those of `names` that are among the events; a connection that diverges in a trial that is
    then rolled back is none: the clients have seen nothing of it."""
    found: dict[str, None] = {}
    diverged = before = trial = False
    undone = -1
    for event in events:
        if event.name == TRIED:
            trial, before = True, diverged
        elif event.name == UNDONE and trial:
            trial, diverged, undone = False, before, event.time
        elif event.name == REPLAY:
            undone = -1
        elif event.name == DIVERGED:
            diverged = diverged or event.time != undone
        elif event.name in names:
            found[event.name] = None
    return [*found, *([DIVERGED] if diverged else [])]
