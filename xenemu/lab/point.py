"""Where a fault comes: one line of text names a run, and replays it.

    SCENARIO:LINK:SEED:KIND[+KIND...]:AT:INDEX[+INDEX...]

KIND is `app`, `kernel` or `backup`, also with how it dies: `app.SIGSEGV`, `kernel.hang`; or
`upgrade`, with the version that it is to (versions.py): `upgrade.deaf`; `none` for the run without
a fault. A service of SCENARIO/same-domain that fails is started again where it was. AT says what
the first index counts from the client's start: `events` of the machine, socket `calls` of the
primary's processes (each has a before and an after), `stores` of the log, or `turns`: of each
kernel's processes and of the VMM, many of them in one event. Each further index is a number of
events, or turns, after the fault before.
"""

import errno
from dataclasses import dataclass

from xenemu.boot import System, Upgrade, parse_crash
from xenemu.lab.scenarios import LINKS, Scenario, scenario_of
from xenemu.lab.versions import VERSIONS, request
from xenemu.machine import Machine

WHENS = ("events", "calls", "stores", "turns")
NONE, UPGRADE, SAME_DOMAIN = "none", "upgrade", "same-domain"
# What `--how any` draws from. A stall of 25 ms is found out, and over, while the backup recovers.
HOWS = {
    "app": ("SIGKILL", "SIGSEGV", "exit", "exception"),
    "kernel": ("panic", "hang", "stall", "stall=0.025"),
    "backup": ("panic", "hang"),
}


def can_stop_at_stores() -> bool:
    """The core was built to count the stores of the log."""
    try:
        Machine().core.stop_at_store(1, lambda: None)
    except OSError as e:
        if e.errno != errno.EOPNOTSUPP:
            raise
        return False
    return True


@dataclass(frozen=True, slots=True)
class Fault:
    """What dies, and how ("": as it does by default)."""

    what: str
    how: str = ""

    def __str__(self) -> str:
        return f"{self.what}.{self.how}" if self.how else self.what

    @classmethod
    def parse(cls, text: str) -> "Fault":
        """As it is shown; ValueError."""
        what, _, how = text.partition(".")
        if what == UPGRADE:
            if (how or VERSIONS[0]) not in VERSIONS:
                raise ValueError(f"not {', '.join(VERSIONS)}: {how!r}")
            return cls(what, how)
        parse_crash(what, how.replace("=", ":"))
        return cls(what, how)

    def inject(self, system: System) -> Upgrade | None:
        """At the current primary; an upgrade that began. OSError(ESRCH) when there is none to
        crash. In a step of the process that dies this may not return."""
        if self.what != UPGRADE:
            system.crash(self.what, self.how.replace("=", ":"))
            return None
        return self._upgrade(system)

    @property
    def version(self) -> str:
        """What an upgrade is to; "" for a fault."""
        return (self.how or VERSIONS[0]) if self.what == UPGRADE else ""

    def _upgrade(self, system: System) -> Upgrade:
        wanted = request(system, self.version)
        try:
            if wanted is None:
                raise OSError(errno.ENOENT, "no such version of this service")
            return system.upgrade(wanted)
        except OSError as error:  # a backup that boots, say
            raise ProcessLookupError(errno.ESRCH, f"no upgrade: {error.strerror}") from None


@dataclass(frozen=True, slots=True)
class Course:
    """A run, but for the faults: all points of a course share their past."""

    scenario: str
    link: str
    seed: int

    def __post_init__(self) -> None:
        """Raises ValueError."""
        scenario_of(self._name)
        if self.link not in LINKS:
            raise ValueError(f"no link {self.link!r}")

    @property
    def played(self) -> Scenario:
        """The scenario."""
        return scenario_of(self._name)

    @property
    def _name(self) -> str:
        return self.scenario.removesuffix(f"/{SAME_DOMAIN}")

    @property
    def same_domain(self) -> bool:
        """A service that fails is started again where it was."""
        return self.scenario.endswith(f"/{SAME_DOMAIN}")

    def __str__(self) -> str:
        return f"{self.scenario}:{self.link}:{self.seed}"


@dataclass(frozen=True, slots=True)
class Point:
    """The faults of one run."""

    faults: tuple[Fault, ...] = ()
    at: str = "events"
    indices: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        """Raises ValueError."""
        if self.at not in WHENS:
            raise ValueError(f"not one of {', '.join(WHENS)}: {self.at!r}")
        if self.faults and len(self.faults) != len(self.indices):
            raise ValueError("as many kinds as indices, or one kind")
        if any(index < 0 for index in self.indices):
            raise ValueError("an index is 0 or more")

    def __str__(self) -> str:
        kinds = list(dict.fromkeys(str(fault) for fault in self.faults)) or [NONE]
        if len(kinds) > 1:
            kinds = [str(fault) for fault in self.faults]
        return f"{'+'.join(kinds)}:{self.at}:{'+'.join(map(str, self.indices))}"


def parse(text: str) -> tuple[Course, Point]:
    """What `course:point` says; ValueError."""
    fields = text.rsplit(":", 5)
    if len(fields) != 6:
        raise ValueError(f"not SCENARIO:LINK:SEED:KIND:AT:INDEX: {text!r}")
    scenario, link, seed, kinds, at, places = fields
    indices = tuple(int(place) for place in places.split("+"))
    faults: tuple[Fault, ...] = ()
    if kinds != NONE:
        faults = tuple(Fault.parse(kind) for kind in kinds.split("+"))
        faults *= len(indices) if len(faults) == 1 else 1
    return Course(scenario, link, int(seed)), Point(faults, at, indices)
