"""What `list` shows."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Protocol

from vzs import Kept

NS = 1_000_000_000
PAGE = 4096


class Source(Protocol):
    """The part of the core that this reads."""

    def domain_ids(self) -> list[int]: ...
    def domain_info(self, domid: int) -> dict[str, int]: ...
    def log_info(self, domid: int) -> dict[str, int]: ...


@dataclass(frozen=True, slots=True)
class DomainStatus:
    """One line of `list`. Memory in bytes; log use in percent, -1 without a log.

    `kept`: why a retired domain still lives, "faulty" or "migrated", else empty; `kept_seconds`:
    for how long, None without a limit. `services`: by name, those that do not listen in brackets.
    """

    id: int
    name: str
    role: str
    state: str
    memory: int
    ip: str
    heartbeats: int
    connections: int
    log_percent: float
    kept: str
    kept_seconds: float | None
    services: list[str]

    def as_dict(self) -> dict[str, object]:
        """JSON-ready."""
        return asdict(self)


def state_of(info: dict[str, int]) -> str:
    """In one word, the worst that is true."""
    for name, key in (("dying", "dying"), ("crashed", "crashed"), ("paused", "pause_count")):
        if info[key]:
            return name
    return "running"


def collect(
    source: Source,
    role: Callable[[int], str],
    kept: Callable[[int], Kept | None],
    services: Mapping[int, list[str]],
    now: int,
) -> list[DomainStatus]:
    """All domains, by id. `now`: machine time, ns."""
    result = []
    for domid in source.domain_ids():
        info = source.domain_info(domid)
        kind, keeping = role(domid), kept(domid)
        connections, percent = log_use(source, domid) if kind == "primary" else (0, -1.0)
        result.append(
            DomainStatus(
                id=domid,
                name=f"d{domid}",
                role=kind,
                state=state_of(info),
                memory=info["tot_pages"] * PAGE,
                ip=".".join(str(info["ip"] >> shift & 255) for shift in (24, 16, 8, 0)),
                heartbeats=info["heartbeats"],
                connections=connections,
                log_percent=percent,
                kept=reason(keeping),
                kept_seconds=remaining(keeping, now),
                services=services.get(domid, []),
            )
        )
    return result


def reason(kept: Kept | None) -> str:
    """Why it is kept, in one word."""
    if kept is None:
        return ""
    return "faulty" if kept.faulty else "migrated"


def remaining(kept: Kept | None, now: int) -> float | None:
    """Seconds that it will still be kept; None: no limit, or not kept."""
    return None if kept is None or kept.until is None else round((kept.until - now) / NS, 3)


def log_use(source: Source, domid: int) -> tuple[int, float]:
    """Protected connections, and percent of the log in use (-1: no log)."""
    try:
        log = source.log_info(domid)
    except OSError:
        return 0, -1.0
    used = log["blocks"] - log["blocks_free"]
    percent = 100.0 * used / log["blocks"] if log["blocks"] else 0.0
    return log["connections"] - log["unprotected"], round(percent, 2)
