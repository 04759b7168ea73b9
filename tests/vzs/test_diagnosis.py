"""What becomes of former primaries, on a VMM that only records."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from vzs import DiagnosisPolicy
from vzs.diagnosis import Diagnosis
from xenemu._abi import FaultKind, ZlSignal
from xenemu.vmm import VmmEvent

APP, KERNEL = FaultKind.APP, FaultKind.KERNEL
IP, SECOND, PAGES = 0x0A000001, 1_000_000_000, 100


class Host:
    """Domains 1 to 4, each of PAGES pages; of their pair, `primary` has no backup."""

    def __init__(self) -> None:
        self.now = 0
        self.free = 10 * PAGES
        self.generations = dict.fromkeys(range(1, 5), 1)
        self.gone: list[tuple[int, str]] = []
        self.signals: list[tuple[int, ZlSignal]] = []
        self.later: list[tuple[int, Callable[[], None]]] = []
        self.handlers: list[Callable[..., None]] = []
        self.paths: dict[int, int] = {}
        self.primary = 2

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args: None

    def subscribe(self, handler: Callable[..., None]) -> None:
        self.handlers.append(handler)

    def domain_ids(self) -> list[int]:
        return list(self.generations)

    def domain(self, domid: int) -> Any:
        return SimpleNamespace(
            generation=self.generations[domid], tot_pages=PAGES, pause_count=0,
            own_ip=IP if domid == 1 else IP + domid,
        )  # fmt: skip

    def pair(self, domid: int) -> Any:
        return SimpleNamespace(ip=IP, backup=0) if domid == self.primary else None

    def path_set(self, ip: int, domid: int) -> None:
        self.paths[ip] = domid

    def signal(self, domid: int, bits: ZlSignal) -> None:
        self.signals.append((domid, bits))

    def destroy(self, domid: int) -> None:
        del self.generations[domid]
        self.free += PAGES

    def emit(self, name: str, domid: int, **details: str) -> None:
        if name == "destroyed":
            self.gone.append((domid, details.get("reason", "")))

    def free_pages(self) -> int:
        return self.free

    def call_later(self, delay: int, callback: Callable[[], None]) -> None:
        self.later.append((self.now + delay, callback))

    def pass_time(self, until: int) -> None:
        while self.later and min(at for at, _ in self.later) <= until:
            self.later.sort(key=lambda each: each[0])
            self.now, callback = self.later.pop(0)
            callback()
        self.now = until

    def deliver(self, event: VmmEvent, node: int) -> None:
        for handler in self.handlers:
            handler(event, node, 0, 0)


@pytest.fixture
def host() -> Host:
    return Host()


def made(host: Host, keep: int | None = 10 * SECOND) -> Diagnosis:
    return Diagnosis(host, DiagnosisPolicy(keep_ns=keep))  # type: ignore[arg-type]


def test_a_faulty_one_is_readdressed_and_expires(host: Host) -> None:
    diagnosis = made(host)
    diagnosis.retire(1, 2, APP)
    assert host.paths == {0x0A000201: 1}
    assert host.signals == [(1, ZlSignal.READDRESS)]
    kept = diagnosis.find(1)
    assert kept is not None and (kept.faulty, kept.until) == (True, 10 * SECOND)
    host.pass_time(10 * SECOND - 1)
    assert host.gone == []
    host.pass_time(10 * SECOND)
    assert host.gone == [(1, "expired")]
    assert diagnosis.find(1) is None


def test_one_with_an_address_of_its_own_takes_that(host: Host) -> None:
    host.primary = 3
    made(host).retire(2, 3, APP)
    assert host.paths == {IP + 2: 2}


def test_a_dead_kernel_is_destroyed(host: Host) -> None:
    made(host).retire(1, 2, KERNEL)
    assert host.gone == [(1, "")] and host.later == []


def test_no_means_no_but_a_migrated_one_gets_its_answer(host: Host) -> None:
    diagnosis = made(host, keep=0)
    diagnosis.retire(1, 2, APP)
    assert host.gone == [(1, "")]
    diagnosis.retire(3, 2, None)
    assert host.signals == [(3, ZlSignal.READDRESS | ZlSignal.COMPLETE)]
    assert host.gone == [(1, "")]


def test_for_ever_is_until_the_next_one(host: Host) -> None:
    diagnosis = made(host, keep=None)
    diagnosis.retire(1, 2, APP)
    host.pass_time(10**6 * SECOND)
    assert host.gone == [] and host.later == []
    diagnosis.retire(2, 3, APP)
    assert host.gone == [(1, "superseded")]


def test_one_timer_however_many_faults(host: Host) -> None:
    diagnosis = made(host)
    for old in (1, 2, 3):
        host.pass_time(host.now + SECOND)
        diagnosis.retire(old, old + 1, APP)
        assert len(host.later) == 1
    host.pass_time(12 * SECOND)
    assert host.gone == [(1, "superseded"), (2, "superseded")]
    host.pass_time(13 * SECOND)
    assert host.gone[-1] == (3, "expired")


@pytest.mark.parametrize("order", [("answer", "protect"), ("protect", "answer")])
def test_a_migrated_one_goes_when_answered_and_relieved(host: Host, order: tuple[str, str]) -> None:
    diagnosis = made(host)
    diagnosis.retire(1, 2, None)
    kept = diagnosis.find(1)
    assert kept is not None and (kept.faulty, kept.until) == (False, None)
    for what in order:
        assert host.gone == []
        if what == "answer":
            host.deliver(VmmEvent.IP_SET, 1)
        else:
            host.deliver(VmmEvent.SUSPENDED, 2)
    assert host.gone == [(1, "done")]


@pytest.mark.parametrize("event", [VmmEvent.FAULT, VmmEvent.MIGRATE, VmmEvent.BACKUP_GONE])
def test_short_memory_ends_a_diagnosis_when_a_backup_is_wanted(host: Host, event: VmmEvent) -> None:
    diagnosis = made(host)
    diagnosis.retire(1, 2, APP)
    host.free = PAGES + 1
    host.deliver(event, 2)
    assert host.gone == []
    host.free = PAGES
    host.deliver(VmmEvent.WOKEN, 2)
    assert host.gone == []
    host.deliver(event, 2)
    assert host.gone == [(1, "memory")]


def test_without_memory_nothing_is_kept_and_a_migrated_one_is_answered_first(host: Host) -> None:
    diagnosis = made(host)
    host.free = -PAGES
    diagnosis.retire(3, 2, None)
    assert host.gone == [] and host.signals[0][0] == 3
    diagnosis.retire(1, 2, APP)
    assert host.gone == [(1, "memory")] and len(host.signals) == 1
    host.deliver(VmmEvent.IP_SET, 3)
    assert host.gone == [(1, "memory"), (3, "done")]


def test_a_domain_that_got_the_id_of_a_kept_one_is_left_alone(host: Host) -> None:
    diagnosis = made(host)
    diagnosis.retire(1, 2, APP)
    host.generations[1] = 2
    assert diagnosis.find(1) is None
    host.pass_time(20 * SECOND)
    assert host.gone == []


def test_one_that_is_gone_already(host: Host) -> None:
    diagnosis = made(host)
    del host.generations[1]
    diagnosis.retire(1, 2, APP)
    assert host.gone == [] and diagnosis.find(1) is None
