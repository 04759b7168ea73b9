"""zeroloss_op: the log as memory, who may have it when, replay and the end of a recovery."""

from __future__ import annotations

from errno import EBUSY, EEXIST, EFAULT, EINVAL, ENOENT, EPERM

import pytest
from hypercalls.grants import HOST
from hypercalls.pairs import ACCESS, EXTENT, PAGES, WAYS, Guest, World, world
from hypercalls.pairs import refused_and_unchanged as refused_still
from hypercalls.support import NOWHERE, PRESENT_RO, PRESENT_RW, refused, straddling

from xenemu import GrantError
from xenemu._abi import ZlOp
from xenemu.machine.work import VmmEvent
from xenemu.vmm.types import PairState
from xenemu.xen import GrantStatus
from xenemu.xen.structs.grant_table import grant_entry_v1
from xenemu.xen.structs.xen import zl_arg

MOST = 4096  # extents
REGISTER, GET = ZlOp.REGISTER_LOG, ZlOp.GET_LOG


@pytest.fixture
def w() -> World:
    """A primary that has registered a log of 2 extents."""
    made = world("granted")
    made.protect(2)
    made.events()
    return made


def count(w: World, mfn: int) -> int:
    return w.core.frame_info(mfn)[1] & 0xFFFF_FFFF


def owner(w: World, mfn: int) -> int:
    return w.core.frame_info(mfn)[0]


def fail(w: World) -> None:
    """The pair with a log comes to recover, and the backup is awake."""
    w.backup = Guest(w.host, w.primary.zl(ZlOp.BOOT_BACKUP).domid)
    w.backup.zl(ZlOp.BOOT_DONE)
    w.core.vzs_complete(w.primary.id, 0)
    w.core.vzs_fence(w.primary.id)
    w.events()


def map_errno(guest: Guest, mfn: int, flags: int = PRESENT_RW) -> int:
    """Of a map of a frame of the log."""
    at = guest.alloc_page()
    return -guest.hypercall.raw(14, at, mfn << 12 | flags, 2)


# REGISTER_LOG


def test_a_registered_frame_is_referenced(w: World) -> None:
    pair = w.pair()
    assert pair is not None
    assert pair["extents"] == 2
    log = w.log
    assert len(log) == 2
    for mfn in log:
        for frame in (mfn, mfn + EXTENT - 1):
            assert (owner(w, frame), count(w, frame)) == (w.primary.id, 2)


def test_the_vzs_is_told() -> None:
    w = world("granted")
    w.primary.zl(REGISTER, mfns=w.primary.more(3))
    assert w.events() == [(VmmEvent.LOG_REGISTERED, w.primary.id, 3)]


def test_there_is_one_log(w: World) -> None:
    more = w.primary.more(1)
    for mfns in (more, w.log, ()):
        with refused_still(w, EEXIST):
            w.primary.zl(REGISTER, mfns=mfns)


@pytest.mark.parametrize("way", ["recovering", "restarting", "trying"])
def test_no_log_while_it_recovers(way: str) -> None:
    w = world(way)
    with refused_still(w, EBUSY):
        w.primary.zl(REGISTER, mfns=(512,))


@pytest.mark.parametrize("way", [way for way in WAYS if way not in ("none", "granted")])
def test_a_log_is_a_primarys(way: str) -> None:
    w = world(way)
    for guest in (w.backup, w.control, w.create()):
        with refused_still(w, EPERM):
            guest.zl(REGISTER, mfns=(512,))


@pytest.mark.parametrize("n", [0, MOST + 1, 1 << 31, 0xFFFF_FFFF])
def test_a_log_has_some_extents(n: int) -> None:
    w = world("granted")
    arg = zl_arg(addr=w.primary.memory.base, count=n)
    with refused_still(w, EINVAL), w.primary.memory.argument(arg) as at:
        w.primary.hypercall(55, REGISTER, at)


@NOWHERE
def test_the_list_can_not_be_read(nowhere: int) -> None:
    w = world("granted")
    with refused_still(w, EFAULT), w.primary.memory.argument(zl_arg(addr=nowhere, count=1)) as at:
        w.primary.hypercall(55, REGISTER, at)


def test_the_end_of_the_list_can_not_be_read() -> None:
    w = world("granted")
    mfns = w.primary.more(2)
    listed = b"".join(mfn.to_bytes(8, "little") for mfn in mfns)
    at = straddling(w.primary, listed[:8], mapped=False, first=8)
    with refused_still(w, EFAULT), w.primary.memory.argument(zl_arg(addr=at, count=2)) as gva:
        w.primary.hypercall(55, REGISTER, gva)


BAD = {
    "crooked": (lambda w, x: x + 1, EINVAL),
    "beyond": (lambda w, x: 1 << 15, EINVAL),
    "huge": (lambda w, x: (1 << 64) - EXTENT, EINVAL),
    "twice": (lambda w, x: x, EINVAL),
    "another's": (lambda w, x: w.control.more(1)[0], EPERM),
    "free": (lambda w, x: 1 << 14, EPERM),
    "low": (lambda w, x: 0, EPERM),
}


@pytest.mark.parametrize("which", BAD)
def test_an_extent_that_can_not_be_part_of_it(which: str) -> None:
    """The good one before it is not kept."""
    w = world("granted")
    (good,) = w.primary.more(1)
    make, code = BAD[which]
    bad = make(w, good)
    with refused_still(w, code):
        w.primary.zl(REGISTER, mfns=(good, bad))
    assert count(w, good) == 1
    w.primary.zl(REGISTER, mfns=(good,))


@pytest.mark.parametrize("which", ["part given back", "page table", "granted"])
def test_an_extent_of_which_a_frame_is_something_else(which: str) -> None:
    w = world("granted")
    (mfn,) = w.primary.more(1)
    frame = mfn + 300
    if which == "part given back":
        w.primary.hypercall.memory_op.decrease_reservation([frame])
    elif which == "page table":
        w.primary.hypercall.mmuext_op.pin_table(1, mfn=frame)
    else:
        grant(w.primary, w.control, frame)
        handle = take(w.control, w.primary)
        give_back(w.control, *handle)
    with refused_still(w, EPERM):
        w.primary.zl(REGISTER, mfns=(mfn,))
    assert count(w, mfn) == 1


# the right to map it


def grant(guest: Guest, to: Guest, mfn: int) -> None:
    (table,) = guest.hypercall.grant_table_op.setup_table(nr_frames=1)
    at = guest.map(table)
    guest.memory.write(at + 8 * 8, grant_entry_v1(flags=ACCESS, domid=to.id, frame=mfn))


def take(guest: Guest, granter: Guest) -> tuple[int, int]:
    """Maps what `grant` granted: address and handle."""
    at = guest.alloc_page()
    op = guest.hypercall.grant_table_op
    mapping = op.map_grant_ref(host_addr=at, flags=HOST, ref=8, dom=granter.id)
    return at, mapping.handle


def give_back(guest: Guest, at: int, handle: int) -> None:
    guest.hypercall.grant_table_op.unmap_grant_ref(host_addr=at, handle=handle)


def test_its_owner_may_map_it_and_nobody_else(w: World) -> None:
    one = w.log[0]
    assert map_errno(w.primary, one) == 0
    assert map_errno(w.create(), one) == EBUSY


def test_neither_may_the_privileged(w: World) -> None:
    one = w.log[0]
    for flags in (PRESENT_RW, PRESENT_RO):
        with refused(EBUSY):
            w.control.hypercall.update_va_mapping_otherdomain(
                w.control.alloc_page(), one << 12 | flags, domid=w.primary.id
            )


def test_it_can_not_be_granted(w: World) -> None:
    one = w.log[0]
    grant(w.primary, w.control, one)
    with pytest.raises(GrantError) as caught:
        take(w.control, w.primary)
    assert caught.value.status == GrantStatus.bad_page
    with pytest.raises(GrantError):
        w.control.hypercall.grant_table_op.copy(
            source_domid=w.primary.id,
            source_ref=8,
            dest_gmfn=w.control.mfn_at(w.control.memory.base),
            len=8,
        )
    assert count(w, one) == 2


def test_it_can_not_be_given_away(w: World) -> None:
    one = w.log[0]
    with pytest.raises(GrantError) as caught:
        w.primary.hypercall.grant_table_op.transfer(mfn=one, domid=w.control.id, ref=8)
    assert caught.value.status == GrantStatus.bad_page
    with refused(EINVAL):
        w.primary.hypercall.memory_op.exchange([one], [5])
    assert w.primary.hypercall.memory_op.decrease_reservation([one]) == 0
    assert (owner(w, one), count(w, one)) == (w.primary.id, 2)


def test_a_fence_takes_it_from_the_primary(w: World) -> None:
    one = w.log[0]
    at = w.primary.map(one)
    fail(w)
    with pytest.raises(OSError, match="Bad address"):
        w.primary.memory.read(at, 1)
    assert map_errno(w.primary, one) == EBUSY
    assert map_errno(w.backup, one) == EBUSY  # it has not asked yet


# GET_LOG


def test_a_recovering_backup_gets_it(w: World) -> None:
    log = w.log
    fail(w)
    got = w.backup.zl(GET, room=2)
    assert (got.count, got.mfns) == (2, log)
    at = w.backup.map(log[0])
    w.backup.memory.write(at, b"replayed")
    assert map_errno(w.primary, log[0]) == EBUSY


@pytest.mark.parametrize("room", [0, 1])
def test_with_too_little_room_it_hears_how_much_there_is(w: World, room: int) -> None:
    fail(w)
    arg = zl_arg(addr=w.backup.memory.base, count=room)
    with w.backup.memory.argument(arg) as at:
        assert w.backup.hypercall.raw(55, GET, at) == -EINVAL
    assert arg.count == 2
    assert map_errno(w.backup, w.log[0]) == EBUSY


def test_a_list_that_can_not_be_written_gives_no_right(w: World) -> None:
    fail(w)
    with refused_still(w, EFAULT):
        with w.backup.memory.argument(zl_arg(addr=0xDEAD_BEEF_000, count=2)) as at:
            w.backup.hypercall(55, GET, at)
    assert map_errno(w.backup, w.log[0]) == EBUSY


def test_there_may_be_none() -> None:
    w = world("recovering")
    with refused_still(w, ENOENT):
        w.backup.zl(GET, room=1)


@pytest.mark.parametrize("op", [GET, ZlOp.START_REPLAY, ZlOp.RECOVERY_DONE], ids=lambda o: o.name)
@pytest.mark.parametrize("way", [way for way in WAYS if way not in ("none", "granted")])
def test_a_recovery_is_the_affair_of_who_recovers(op: ZlOp, way: str) -> None:
    w = world(way)
    guests = [w.control, w.create()]
    if way != "restarting" or op == GET:
        guests.append(w.primary)
    if way not in ("recovering", "trying"):
        guests.append(w.backup)
    for guest in guests:
        with refused_still(w, EPERM):
            guest.zl(op, room=8)


# START_REPLAY, RECOVERY_DONE


def test_a_replay_begins(w: World) -> None:
    fail(w)
    w.backup.zl(GET, room=2)
    w.backup.zl(ZlOp.START_REPLAY, value=3)
    assert w.events() == [(VmmEvent.REPLAY_STARTED, w.backup.id, 3)]


def test_who_has_recovered_is_the_primary(w: World) -> None:
    log, old, ip = w.log, w.primary, w.primary.state()["ip"]
    fail(w)
    w.backup.zl(GET, room=2)
    at = w.backup.map(log[0])
    w.backup.zl(ZlOp.RECOVERY_DONE)
    assert w.events() == [(VmmEvent.RECOVERY_DONE, w.backup.id, old.id)]
    pair = w.pair(w.backup)
    assert pair is not None
    assert (pair["state"], pair["primary"], pair["backup"]) == (PairState.GRANTED, w.backup.id, 0)
    assert (pair["extents"], pair["ip"], pair["old_primary"]) == (2, ip, 0)
    assert w.backup.state()["ip"] == ip
    assert w.pair(old) is None
    assert {owner(w, mfn + i) for mfn in log for i in (0, EXTENT - 1)} == {w.backup.id}
    assert w.backup.state()["tot_pages"] == PAGES + 2 * EXTENT
    assert old.state()["tot_pages"] == PAGES
    w.backup.memory.write(at, b"still mapped")
    with refused_still(w, EPERM):
        w.backup.zl(ZlOp.RECOVERY_DONE)
    with refused_still(w, EPERM):
        old.zl(ZlOp.BOOT_BACKUP)


def test_a_destroyed_primary_keeps_the_log_for_the_backup(w: World) -> None:
    log = w.log
    fail(w)
    w.core.destroy_domain(w.primary.id)
    assert w.primary.state()["dying"]
    assert w.primary.state()["tot_pages"] == 2 * EXTENT
    assert w.backup.zl(GET, room=2).mfns == log
    w.backup.zl(ZlOp.RECOVERY_DONE)
    assert w.primary.id not in w.core.domain_ids()
    assert {owner(w, mfn) for mfn in log} == {w.backup.id}


def test_a_recovery_in_the_same_domain() -> None:
    w = world("restarting")
    w.primary.zl(ZlOp.START_REPLAY, value=1)
    w.primary.zl(ZlOp.RECOVERY_DONE)
    assert w.status() == PairState.SUSPENDED  # as before
    assert w.events()[-1] == (VmmEvent.RECOVERY_DONE, w.primary.id, w.primary.id)


def test_a_trial_is_not_over_until_the_vzs_says_so() -> None:
    w = world("trying")
    w.backup.zl(GET, room=8)
    with refused_still(w, EBUSY):
        w.backup.zl(ZlOp.RECOVERY_DONE)
    w.core.vzs_accept(w.primary.id)
    w.backup.zl(ZlOp.RECOVERY_DONE)
    assert w.status() == PairState.NONE
    assert w.pair(w.backup) is not None


def test_a_trial_that_is_rolled_back() -> None:
    w = world("trying")
    w.backup.zl(GET, room=8)
    w.core.vzs_roll_back(w.primary.id, -125)
    assert w.status() == PairState.GRANTED
    assert w.primary.signals() == (32, -125)
    with refused_still(w, EPERM):
        w.backup.zl(GET, room=8)


def test_a_log_that_is_released_is_memory_again(w: World) -> None:
    log = w.log
    w.core.destroy_domain(w.primary.id)
    assert w.primary.id not in w.core.domain_ids()
    assert {owner(w, mfn) for mfn in log} == {0xFFFF}
