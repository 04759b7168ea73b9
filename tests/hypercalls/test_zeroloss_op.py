"""zeroloss_op: numbers, the argument, the grant, the primary's calls in each state of its pair."""

from __future__ import annotations

import ctypes
from errno import EBUSY, EEXIST, EFAULT, EINVAL, ENOENT, ENOMEM, ENOSYS, EPERM, ESRCH

import pytest
from hypercalls.pairs import PAGES, WAYS, refused_and_unchanged, world
from hypercalls.support import (
    ABSENT_DOMIDS,
    JUNK,
    NOWHERE,
    placed,
    read_only,
    refused,
    refused_without_effect,
    straddling,
)

from xenemu import Domain, Machine
from xenemu._abi import Hypercall, TcpFeature, ZlOp, ZlSignal
from xenemu.machine.work import VmmEvent
from xenemu.vmm.types import PairState
from xenemu.xen import DOMID_SELF
from xenemu.xen.structs.xen import zl_arg

NR = Hypercall.zeroloss_op
ALL = pytest.mark.parametrize("op", ZlOp, ids=lambda op: op.name)
PAIRS = 64

# the argument


def test_the_argument_has_32_bytes() -> None:
    assert ctypes.sizeof(zl_arg) == 32


@ALL
@NOWHERE
def test_no_argument(xen_machine: Machine, xen_domain: Domain, op: ZlOp, nowhere: int) -> None:
    with refused_without_effect(xen_machine, EFAULT):
        xen_domain.hypercall(NR, op, nowhere)


@ALL
def test_an_argument_that_could_not_be_answered_decides_nothing(
    xen_machine: Machine, xen_control: Domain, op: ZlOp
) -> None:
    half = straddling(xen_control, bytes(31), mapped=False, first=31)
    for at in (read_only(xen_control, zl_arg()), half):
        with refused_without_effect(xen_machine, EFAULT):
            xen_control.hypercall(NR, op, at)


def test_an_argument_across_two_pages(xen_domain: Domain) -> None:
    at = straddling(xen_domain, bytes(zl_arg(value=99, status=99)), first=12)
    assert xen_domain.hypercall(NR, ZlOp.GET_SIGNAL, at) == 0
    got = xen_domain.memory.read_struct(zl_arg, at)
    assert (got.value, got.status) == (0, 0)


@pytest.mark.parametrize("op", [19, 20, 255, 1 << 31, 1 << 32, JUNK | 17, (1 << 64) - 1], ids=hex)
def test_no_such_sub_operation(xen_machine: Machine, xen_domain: Domain, op: int) -> None:
    unknown = xen_machine.counters["unknown_hypercalls"]
    for at in (placed(xen_domain, zl_arg()), 0):
        with refused_without_effect(xen_machine, ENOSYS):
            xen_domain.hypercall(NR, op, at)
    assert xen_machine.counters["unknown_hypercalls"] == unknown + 2


@ALL
def test_the_dying_make_no_calls(xen_machine: Machine, zombie: Domain, op: ZlOp) -> None:
    with refused_without_effect(xen_machine, ESRCH):
        zombie.hypercall(NR, op, zombie.memory.base)


@pytest.mark.parametrize(
    "op",
    [op for op in ZlOp if op not in (ZlOp.GET_SIGNAL, ZlOp.REGISTER_HEARTBEAT)],
    ids=lambda op: op.name,
)
def test_an_ordinary_domain_has_no_right_to_it(
    xen_machine: Machine, xen_domain: Domain, op: ZlOp
) -> None:
    with refused_without_effect(xen_machine, EPERM):
        xen_domain.hypercall.zeroloss_op(op)


@pytest.mark.parametrize(
    "op",
    [o for o in ZlOp if o not in (ZlOp.INSTALL_GRANT, ZlOp.GET_SIGNAL, ZlOp.REGISTER_HEARTBEAT)],
    ids=lambda op: op.name,
)
def test_neither_has_the_control_domain(
    xen_machine: Machine, xen_control: Domain, op: ZlOp
) -> None:
    with refused_without_effect(xen_machine, EPERM):
        xen_control.hypercall.zeroloss_op(op, value=1)


# INSTALL_GRANT


def test_a_grant_makes_a_pair() -> None:
    w = world("none")
    assert w.pair() is None
    w.granted()
    pair = w.pair()
    assert pair is not None
    assert pair["state"] == PairState.GRANTED
    assert (pair["primary"], pair["backup"], pair["old_primary"]) == (w.primary.id, 0, 0)
    assert pair["ip"] == w.primary.state()["ip"]
    assert w.events() == [(VmmEvent.GRANT_INSTALLED, w.primary.id, 0)]


def test_the_control_domain_may_be_a_primary() -> None:
    w = world("none")
    w.control.zl(ZlOp.INSTALL_GRANT, domid=DOMID_SELF)
    assert w.pair(w.control) is not None


def test_who_is_not_privileged_installs_nothing() -> None:
    w = world("none")
    for domid in (w.primary.id, DOMID_SELF, 77):
        with refused_and_unchanged(w, EPERM):
            w.primary.zl(ZlOp.INSTALL_GRANT, domid=domid)


@ABSENT_DOMIDS
def test_there_is_no_such_domain(absent: int) -> None:
    w = world("none")
    with refused_and_unchanged(w, ESRCH):
        w.control.zl(ZlOp.INSTALL_GRANT, domid=absent)
    with refused_and_unchanged(w, ESRCH):
        w.control.zl(ZlOp.INSTALL_GRANT, domid=absent | 1 << 16)


def test_a_dying_domain_gets_no_grant() -> None:
    w = world("none")
    entry = w.primary.mfn_at(w.primary.alloc_page()) << 12 | 0x67
    w.control.hypercall.update_va_mapping_otherdomain(
        w.control.alloc_page(), entry, domid=w.primary.id
    )
    w.core.destroy_domain(w.primary.id)
    with refused_and_unchanged(w, ESRCH):
        w.granted()


def test_a_domain_without_an_address_gets_no_grant() -> None:
    w = world("none")
    plain = w.create(ip=False)
    with refused_and_unchanged(w, EINVAL):
        w.control.zl(ZlOp.INSTALL_GRANT, domid=plain.id)


@pytest.mark.parametrize("way", [way for way in WAYS if way != "none"])
def test_a_domain_is_in_one_pair(way: str) -> None:
    w = world(way)
    with refused_and_unchanged(w, EEXIST):
        w.control.zl(ZlOp.INSTALL_GRANT, domid=w.primary.id)
    if way != "granted":
        with refused_and_unchanged(w, EEXIST):
            w.control.zl(ZlOp.INSTALL_GRANT, domid=w.backup.id)


def test_there_are_so_many_pairs() -> None:
    w = world("granted")
    for _ in range(PAIRS - 1):
        w.control.zl(ZlOp.INSTALL_GRANT, domid=w.create().id)
    w.events()
    last = w.create()
    with refused_and_unchanged(w, ENOMEM):
        w.control.zl(ZlOp.INSTALL_GRANT, domid=last.id)
    w.core.destroy_domain(w.primary.id)
    w.control.zl(ZlOp.INSTALL_GRANT, domid=last.id)


# the five calls of a primary: docs/errno.md

CALLS = (
    ZlOp.BOOT_BACKUP,
    ZlOp.CHANGE_BACKUP_IP,
    ZlOp.SUSPEND_BACKUP,
    ZlOp.WAKEUP_BACKUP,
    ZlOp.MIGRATE,
)
ANSWERS = {
    "none": (EPERM, EPERM, EPERM, EPERM, EPERM),
    "granted": (0, ENOENT, ENOENT, ENOENT, ENOENT),
    "booting": (EBUSY, EBUSY, EBUSY, EBUSY, EBUSY),
    "awake": (EEXIST, 0, 0, EINVAL, EINVAL),
    "ready": (EEXIST, 0, 0, EINVAL, 0),
    "changing": (EBUSY, EBUSY, EBUSY, EBUSY, EBUSY),
    "suspended": (EEXIST, EINVAL, EINVAL, 0, EINVAL),
    "migrating": (EBUSY, EBUSY, EBUSY, EBUSY, EBUSY),
    "recovering": (EBUSY, EBUSY, EBUSY, EBUSY, EBUSY),
    "restarting": (EBUSY, EBUSY, EBUSY, EBUSY, EBUSY),
    "trying": (EBUSY, EBUSY, EBUSY, EBUSY, EBUSY),
}
AFTER = {
    ZlOp.BOOT_BACKUP: PairState.BOOTING,
    ZlOp.CHANGE_BACKUP_IP: PairState.CHANGING_IP,
    ZlOp.SUSPEND_BACKUP: PairState.SUSPENDED,
    ZlOp.WAKEUP_BACKUP: PairState.AWAKE,
    ZlOp.MIGRATE: PairState.MIGRATING,
}


@pytest.mark.parametrize("way", ANSWERS)
@pytest.mark.parametrize("op", CALLS, ids=lambda op: op.name)
def test_the_answer_in_each_state(way: str, op: ZlOp) -> None:
    w = world(way)
    expected = ANSWERS[way][CALLS.index(op)]
    if expected:
        with refused_and_unchanged(w, expected):
            w.primary.zl(op, value=1)
        return
    assert w.primary.zl(op, value=1).result == 0
    assert w.status() == AFTER[op]


@pytest.mark.parametrize("way", [way for way in WAYS if way not in ("none", "granted")])
@pytest.mark.parametrize("op", CALLS, ids=lambda op: op.name)
def test_they_are_not_the_backups(way: str, op: ZlOp) -> None:
    w = world(way)
    with refused_and_unchanged(w, EPERM):
        w.backup.zl(op, value=1)


@pytest.mark.parametrize("value", [2, 1 << 32, (1 << 64) - 1], ids=hex)
def test_an_address_is_its_own_or_the_primarys(value: int) -> None:
    w = world("awake")
    with refused_and_unchanged(w, EINVAL):
        w.primary.zl(ZlOp.CHANGE_BACKUP_IP, value=value)
    w = world("granted")
    with refused_and_unchanged(w, ENOENT):
        w.primary.zl(ZlOp.CHANGE_BACKUP_IP, value=value)
    w = world("booting")
    with refused_and_unchanged(w, EBUSY):
        w.primary.zl(ZlOp.CHANGE_BACKUP_IP, value=value)


# what they do


def test_a_backup_is_built_like_the_primary() -> None:
    w = world("granted")
    before = w.core.free_pages()
    done = w.primary.zl(ZlOp.BOOT_BACKUP, value=TcpFeature.TIMESTAMPS)
    pair, built = w.pair(), w.core.domain_info(done.domid)
    assert pair is not None
    assert (pair["state"], pair["backup"]) == (PairState.BOOTING, done.domid)
    assert (pair["features"], pair["backup_booted"]) == (TcpFeature.TIMESTAMPS, False)
    assert built["tot_pages"] == PAGES
    assert built["runnable"]
    assert built["ip"] not in (0, w.primary.state()["ip"])
    assert before - w.core.free_pages() >= PAGES
    assert w.events() == [(VmmEvent.BOOT_BACKUP, w.primary.id, done.domid)]


def test_there_is_no_memory_for_a_backup() -> None:
    w = world("granted")
    hog = w.create()
    w.control.hypercall.domctl.max_mem(domain=hog.id, max_memkb=1 << 30)
    hog.hypercall.memory_op.increase_reservation(nr_extents=w.core.free_pages() - PAGES)
    with refused_and_unchanged(w, ENOMEM):
        w.primary.zl(ZlOp.BOOT_BACKUP)


@pytest.mark.parametrize("way", ["awake", "ready"])
def test_a_suspended_backup_is_paused_until_it_is_woken(way: str) -> None:
    w = world(way)
    w.primary.zl(ZlOp.SUSPEND_BACKUP)
    assert not w.backup.state()["runnable"]
    assert w.events() == [(VmmEvent.SUSPENDED, w.backup.id, 0)]
    w.primary.zl(ZlOp.WAKEUP_BACKUP)
    assert w.backup.state()["runnable"]
    assert w.events() == [(VmmEvent.WOKEN, w.backup.id, 0)]


def test_a_backup_that_was_woken_by_other_means_is_woken_all_the_same() -> None:
    w = world("suspended")
    w.control.hypercall.domctl.unpausedomain(domain=w.backup.id)
    w.primary.zl(ZlOp.WAKEUP_BACKUP)
    assert w.status() == PairState.AWAKE
    assert w.backup.state()["pause_count"] == 0


@pytest.mark.parametrize("status", [0, -5])
@pytest.mark.parametrize("way", ["booting", "changing", "migrating"])
def test_what_takes_time_is_completed_with_a_signal(way: str, status: int) -> None:
    w = world(way)
    w.core.vzs_complete(w.primary.id, status)
    lost = way == "booting" and status
    assert w.status() == (PairState.GRANTED if lost else PairState.AWAKE)
    expected = ZlSignal.FAILED if status else ZlSignal.COMPLETE
    assert w.primary.signals() == (expected, status)
    assert w.primary.signals() == (0, 0)


def test_a_signal_is_sent_as_a_virq() -> None:
    w = world("booting")
    port = w.primary.hypercall.event_channel_op.bind_virq(virq=23, vcpu=0)
    w.core.vzs_complete(w.primary.id, 0)
    assert w.core.next_pending_port(w.primary.id) == port


def test_a_destroyed_primary_ends_the_pair() -> None:
    w = world("suspended")
    w.core.destroy_domain(w.primary.id)
    assert w.pair(w.backup) is None
    with refused(EPERM):
        w.backup.zl(ZlOp.GET_IP)


def test_a_destroyed_backup_is_forgotten() -> None:
    w = world("suspended")
    w.core.destroy_domain(w.backup.id)
    assert w.status() == PairState.GRANTED
    assert w.events() == [(VmmEvent.BACKUP_GONE, w.primary.id, w.backup.id)]
