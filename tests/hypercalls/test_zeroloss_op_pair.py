"""zeroloss_op: what a backup says, addresses, faults, heartbeats, signals, protected ports."""

from __future__ import annotations

from errno import EBUSY, EEXIST, EINVAL, ENOENT, ENOMEM, EPERM

import pytest
from hypercalls.pairs import WAYS, Guest, World, refused_and_unchanged, world
from hypercalls.support import refused

from xenemu._abi import FaultKind, ZlOp, ZlSignal
from xenemu.machine.work import VmmEvent
from xenemu.vmm.types import PairState

TICKS_NS = 10_000_000
PORTS = 64
PAIRED = [way for way in WAYS if way not in ("none", "granted")]
RECOVERING = ["recovering", "restarting", "trying"]


def others(w: World) -> list[Guest]:
    """The control domain and one that is in no pair."""
    return [w.control, w.create()]


# BOOT_DONE


def test_a_backup_says_once_that_it_has_booted() -> None:
    w = world("booting")
    w.backup.zl(ZlOp.BOOT_DONE, value=7)
    pair = w.pair()
    assert pair is not None
    assert pair["backup_booted"]
    assert w.status() == PairState.BOOTING  # until the VZS completes it
    assert w.events() == [(VmmEvent.BOOT_DONE, w.backup.id, 7)]
    with refused_and_unchanged(w, EINVAL):
        w.backup.zl(ZlOp.BOOT_DONE)


@pytest.mark.parametrize("way", PAIRED)
def test_only_a_backup_says_it(way: str) -> None:
    w = world(way)
    for guest in (w.primary, *others(w)):
        with refused_and_unchanged(w, EPERM):
            guest.zl(ZlOp.BOOT_DONE)


# GET_IP, IP_SET


@pytest.mark.parametrize("primarys", [0, 1])
def test_a_backup_takes_the_address_that_it_is_told(primarys: int) -> None:
    w = World()
    w.changing(primarys)
    own = w.backup.state()["ip"]
    expected = w.primary.state()["ip"] if primarys else own
    assert w.events()[-1] == (VmmEvent.CHANGE_IP, w.primary.id, w.backup.id)
    assert w.backup.zl(ZlOp.GET_IP).value == expected
    w.backup.zl(ZlOp.IP_SET, value=expected)
    assert w.backup.state()["ip"] == expected
    pair = w.pair()
    assert pair is not None
    assert pair["backup_has_primary_ip"] == bool(primarys)
    assert w.events() == [(VmmEvent.IP_SET, w.backup.id, expected)]
    assert w.status() == PairState.CHANGING_IP  # until the VZS completes it


def test_a_backup_that_is_told_nothing_has_its_own_address() -> None:
    w = world("booting")
    own = w.backup.state()["ip"]
    assert w.backup.zl(ZlOp.GET_IP).value == own
    w.backup.zl(ZlOp.IP_SET, value=own)


@pytest.mark.parametrize("wrong", [0, 1, 1 << 32, "primary's", "upper half"], ids=str)
def test_no_other_address_is_taken(wrong: int | str) -> None:
    w = world("booting")
    own = w.backup.state()["ip"]
    wrong = {"primary's": w.primary.state()["ip"], "upper half": own | 1 << 32}.get(wrong, wrong)  # type: ignore[call-overload]
    with refused_and_unchanged(w, EINVAL):
        w.backup.zl(ZlOp.IP_SET, value=wrong)


@pytest.mark.parametrize("way", PAIRED)
@pytest.mark.parametrize("op", [ZlOp.GET_IP, ZlOp.IP_SET], ids=lambda op: op.name)
def test_addresses_are_a_backups_affair(way: str, op: ZlOp) -> None:
    w = world(way)
    for guest in (w.primary, *others(w)):
        with refused_and_unchanged(w, EPERM):
            guest.zl(op, value=guest.state()["ip"])


def test_any_domain_may_be_given_another_address_by_the_vzs() -> None:
    w = world("none")
    w.core.vzs_set_next_ip(w.primary.id, 0x0A000063)
    assert w.primary.zl(ZlOp.GET_IP).value == 0x0A000063
    with refused_and_unchanged(w, EINVAL):
        w.primary.zl(ZlOp.IP_SET, value=w.primary.state()["ip"])
    w.primary.zl(ZlOp.IP_SET, value=0x0A000063)
    assert w.primary.state()["ip"] == 0x0A000063
    assert w.events() == [(VmmEvent.IP_SET, w.primary.id, 0x0A000063)]
    with refused_and_unchanged(w, EPERM):
        w.primary.zl(ZlOp.GET_IP)


# MIGRATE, QUIESCED


def test_a_migration_is_the_vzs_to_carry_out() -> None:
    w = world("ready")
    w.primary.zl(ZlOp.MIGRATE)
    assert w.events() == [(VmmEvent.MIGRATE, w.primary.id, w.backup.id)]
    w.primary.zl(ZlOp.QUIESCED)
    assert w.events() == [(VmmEvent.QUIESCED, w.primary.id, 0)]
    assert w.status() == PairState.MIGRATING


@pytest.mark.parametrize("way", [way for way in WAYS if way not in ("none", "migrating")])
def test_what_does_not_migrate_is_not_quiet(way: str) -> None:
    w = world(way)
    with refused_and_unchanged(w, EINVAL):
        w.primary.zl(ZlOp.QUIESCED)


@pytest.mark.parametrize("way", ["migrating", "trying"])
def test_only_a_primary_is_quiet(way: str) -> None:
    w = world(way)
    for guest in (w.backup, *others(w)):
        with refused_and_unchanged(w, EPERM):
            guest.zl(ZlOp.QUIESCED)


# REPORT_FAULT


@pytest.mark.parametrize("kind", FaultKind, ids=lambda kind: kind.name)
@pytest.mark.parametrize("who", ["primary", "backup"])
def test_a_fault_is_told_once(who: str, kind: FaultKind) -> None:
    w = world("ready")
    guest: Guest = getattr(w, who)
    guest.zl(ZlOp.REPORT_FAULT, value=kind)
    assert w.events() == [(VmmEvent.FAULT, guest.id, kind)]
    guest.zl(ZlOp.REPORT_FAULT, value=kind)
    assert w.events() == []
    assert guest.state()["runnable"] == (kind == FaultKind.APP)


@pytest.mark.parametrize("kind", [0, 3, 1 << 32, 1 << 32 | 1, (1 << 64) - 1], ids=hex)
def test_there_is_no_such_fault(kind: int) -> None:
    w = world("ready")
    with refused_and_unchanged(w, EINVAL):
        w.primary.zl(ZlOp.REPORT_FAULT, value=kind)


def test_faults_of_others_are_nobodys() -> None:
    w = world("ready")
    for guest in others(w):
        for kind in (FaultKind.APP, 99):
            with refused_and_unchanged(w, EPERM):
                guest.zl(ZlOp.REPORT_FAULT, value=kind)


@pytest.mark.parametrize(
    ("way", "who", "told"),
    [
        ("recovering", "primary", False),
        ("recovering", "backup", True),
        ("trying", "primary", False),
        ("trying", "backup", True),
        ("restarting", "primary", True),
    ],
)
def test_a_fault_during_a_recovery(way: str, who: str, told: bool) -> None:
    w = world(way)
    guest: Guest = getattr(w, who)
    assert guest.zl(ZlOp.REPORT_FAULT, value=FaultKind.APP).result == 0
    assert w.events() == ([(VmmEvent.FAULT, guest.id, FaultKind.APP)] if told else [])


# REGISTER_HEARTBEAT


def beating(w: World) -> int:
    """The address of the primary's page, which is watched."""
    page = w.primary.alloc_page()
    w.primary.zl(ZlOp.REGISTER_HEARTBEAT, value=w.primary.mfn_at(page))
    w.core.heartbeat_arm(w.primary.id, True)
    return page


def count(w: World, mfn: int) -> int:
    """References of a frame."""
    return w.core.frame_info(mfn)[1] & 0xFFFF_FFFF


def run(w: World, ticks: int) -> None:
    until = w.core.now + ticks * TICKS_NS
    while w.core.run(until):
        pass


def test_a_page_is_held_as_long_as_it_is_watched() -> None:
    w = world("granted")
    page = beating(w)
    mfn = w.primary.mfn_at(page)
    assert count(w, mfn) == 3
    other = w.primary.mfn_at(beating(w))
    assert (count(w, mfn), count(w, other)) == (2, 3)
    w.core.destroy_domain(w.primary.id)
    assert count(w, other) == 0


def test_what_was_counted_is_seen() -> None:
    w = world("granted")
    page = beating(w)
    w.core.guest_add(w.primary.id, page, 5)
    assert w.primary.state()["heartbeats"] == 5


def test_a_heart_that_stops_is_a_fault_of_the_kernel() -> None:
    w = world("granted")
    beating(w)
    told = []
    until = w.core.now + 5 * TICKS_NS
    while work := w.core.run(until):
        told += [(item[1], item[4]) for item in work if item[0] == 5]
    assert told == [(w.primary.id, FaultKind.KERNEL)]
    assert w.primary.state()["crashed"]


def test_a_heart_that_beats_is_none() -> None:
    w = world("granted")
    page = beating(w)
    for _ in range(5):
        w.core.guest_add(w.primary.id, page, 1)
        run(w, 1)
    assert not w.primary.state()["crashed"]


@pytest.mark.parametrize("which", ["none", "another's", "shared by no one", "beyond", "huge"])
def test_the_page_must_be_its_own(which: str) -> None:
    w = world("granted")
    mfn = {
        "none": 0,
        "another's": w.control.mfn_at(w.control.alloc_page()),
        "shared by no one": (1 << 15) - 1,
        "beyond": 1 << 15,
        "huge": (1 << 64) - 1,
    }[which]
    with refused_and_unchanged(w, EPERM):
        w.primary.zl(ZlOp.REGISTER_HEARTBEAT, value=mfn)


def test_a_refused_page_leaves_the_one_before() -> None:
    w = world("granted")
    mfn = w.primary.mfn_at(beating(w))
    with refused(EPERM):
        w.primary.zl(ZlOp.REGISTER_HEARTBEAT, value=0)
    assert count(w, mfn) == 3


# GET_SIGNAL


def test_signals_are_fetched_together_and_once() -> None:
    w = world("none")
    assert w.primary.signals() == (0, 0)
    w.core.vzs_signal(w.primary.id, ZlSignal.CHANGE_IP)
    w.core.vzs_signal(w.primary.id, ZlSignal.READDRESS)
    assert w.primary.signals() == (ZlSignal.CHANGE_IP | ZlSignal.READDRESS, 0)
    assert w.primary.signals() == (0, 0)


def test_signals_are_their_domains_own() -> None:
    w = world("none")
    w.core.vzs_signal(w.primary.id, ZlSignal.RECOVER)
    assert w.control.signals() == (0, 0)
    assert w.primary.signals() == (ZlSignal.RECOVER, 0)


# REGISTER_WRAPPER, UNREGISTER_WRAPPER

ADD, REMOVE = ZlOp.REGISTER_WRAPPER, ZlOp.UNREGISTER_WRAPPER


def test_ports_come_and_go() -> None:
    w = world("granted")
    for port in (1, 80, 65535):
        w.primary.zl(ADD, value=port)
        with refused_and_unchanged(w, EEXIST):
            w.primary.zl(ADD, value=port)
    w.primary.zl(REMOVE, value=80)
    with refused_and_unchanged(w, ENOENT):
        w.primary.zl(REMOVE, value=80)
    for port in (1, 65535):
        w.primary.zl(REMOVE, value=port)
    w.primary.zl(ADD, value=80)


def test_a_port_has_one_profile() -> None:
    w = world("granted")
    w.primary.zl(ADD, value=3 << 16 | 21)
    for profile in (0, 3, 63):
        with refused_and_unchanged(w, EEXIST):
            w.primary.zl(ADD, value=profile << 16 | 21)
    with refused_and_unchanged(w, EINVAL):
        w.primary.zl(REMOVE, value=3 << 16 | 21)
    w.primary.zl(REMOVE, value=21)
    w.primary.zl(ADD, value=63 << 16 | 21)


def test_there_are_so_many_ports() -> None:
    w = world("granted")
    for port in range(1, PORTS + 1):
        w.primary.zl(ADD, value=port)
    with refused_and_unchanged(w, ENOMEM):
        w.primary.zl(ADD, value=PORTS + 1)
    with refused_and_unchanged(w, EEXIST):
        w.primary.zl(ADD, value=PORTS)
    w.primary.zl(REMOVE, value=7)
    w.primary.zl(ADD, value=PORTS + 1)


@pytest.mark.parametrize("op", [ADD, REMOVE], ids=lambda op: op.name)
@pytest.mark.parametrize("port", [0, 65536, 64 << 16 | 80, 1 << 32 | 80, (1 << 64) - 1], ids=hex)
def test_there_is_no_such_port(op: ZlOp, port: int) -> None:
    w = world("granted")
    w.primary.zl(ADD, value=80)
    with refused_and_unchanged(w, EINVAL):
        w.primary.zl(op, value=port)


@pytest.mark.parametrize("op", [ADD, REMOVE], ids=lambda op: op.name)
@pytest.mark.parametrize("way", RECOVERING)
def test_not_while_it_recovers(op: ZlOp, way: str) -> None:
    w = world(way)
    with refused_and_unchanged(w, EBUSY):
        w.primary.zl(op, value=80)


@pytest.mark.parametrize("op", [ADD, REMOVE], ids=lambda op: op.name)
@pytest.mark.parametrize("way", PAIRED)
def test_ports_are_a_primarys_affair(op: ZlOp, way: str) -> None:
    w = world(way)
    for guest in (w.backup, *others(w)):
        with refused_and_unchanged(w, EPERM):
            guest.zl(op, value=80)
