"""xen_version."""

from __future__ import annotations

import ctypes
from errno import EFAULT, EINVAL, ENOBUFS, ENOSYS, EPERM, ESRCH
from typing import Any

import pytest
from hypercalls.support import (
    JUNK,
    NOWHERE,
    back,
    placed,
    read_only,
    refused,
    refused_without_effect,
    straddling,
)

from xenemu import Domain, Machine
from xenemu._abi import Hypercall, XenVersionOp
from xenemu.xen import Feature, structs
from xenemu.xen.structs import version as h

NR = Hypercall.xen_version
VERSION = 4 << 16 | 17
ASSIST_HIGH_PGDIR = 3
SIZES: dict[XenVersionOp, int] = {  # of what is written
    XenVersionOp.extraversion: h.EXTRAVERSION_BYTES,
    XenVersionOp.compile_info: ctypes.sizeof(h.xen_compile_info),
    XenVersionOp.capabilities: h.CAPABILITIES_BYTES,
    XenVersionOp.changeset: h.CHANGESET_BYTES,
    XenVersionOp.platform_parameters: 8,
    XenVersionOp.get_features: 8,
    XenVersionOp.guest_handle: 16,
    XenVersionOp.commandline: h.COMMANDLINE_BYTES,
}
WRITES = pytest.mark.parametrize("op", SIZES, ids=lambda op: op.name)


def test_the_version(xen_domain: Domain) -> None:
    assert xen_domain.hypercall.xen_version.version() == (4, 17)


@NOWHERE
def test_the_version_needs_no_argument(xen_domain: Domain, nowhere: int) -> None:
    assert xen_domain.hypercall.raw(NR, XenVersionOp.version, nowhere) == VERSION


def test_the_texts(xen_domain: Domain) -> None:
    call = xen_domain.hypercall.xen_version
    assert call.extraversion() == ".7"
    assert call.capabilities() == "xen-3.0-x86_64 "
    assert call.changeset() == "xenemu"
    assert call.compile_info().compile_by == "xenemu"


def test_where_xen_begins(xen_domain: Domain) -> None:
    assert xen_domain.hypercall.xen_version.platform_parameters() == 0xFFFF_8000_0000_0000


def test_a_page(xen_domain: Domain) -> None:
    call = xen_domain.hypercall.xen_version
    assert call.pagesize() == 4096
    with refused(EINVAL):
        call(XenVersionOp.pagesize, xen_domain.memory.base)


def features(domain: Domain) -> set[int]:
    bits = domain.hypercall.xen_version.get_features()
    return {i for i in range(32) if bits >> i & 1}


def test_features_of_a_guest(xen_domain: Domain) -> None:
    assert features(xen_domain) == {5, 6, 7, 13, 17}


def test_features_of_the_control_domain(xen_control: Domain, xen_domain: Domain) -> None:
    assert features(xen_control) - features(xen_domain) == {Feature.dom0}


def test_features_of_a_privileged_guest_are_a_guests(
    xen_machine: Machine, xen_domain: Domain
) -> None:
    assert features(xen_machine.create_domain(privileged=True)) == features(xen_domain)


def test_an_assist_is_a_feature(xen_domain: Domain) -> None:
    before = features(xen_domain)
    xen_domain.hypercall.vm_assist.enable(type=ASSIST_HIGH_PGDIR)
    assert features(xen_domain) - before == {4}
    xen_domain.hypercall.vm_assist.disable(type=ASSIST_HIGH_PGDIR)
    assert features(xen_domain) == before


@pytest.mark.parametrize("index", [1, 2, 0xFFFF_FFFF])
def test_there_is_one_map_of_features(xen_domain: Domain, index: int) -> None:
    with refused(EINVAL):
        xen_domain.hypercall.xen_version.get_features(submap_idx=index)


def test_the_handle_is_the_creators(xen_control: Domain, xen_domain: Domain) -> None:
    handle = bytes(range(16))
    xen_control.hypercall.domctl.setdomainhandle(domain=xen_domain.id, handle=handle)
    assert xen_domain.hypercall.xen_version.guest_handle() == handle


def test_the_command_line_is_not_everyones(xen_control: Domain, xen_domain: Domain) -> None:
    assert xen_control.hypercall.xen_version.commandline() == ""
    assert xen_domain.hypercall.xen_version.commandline() == "<denied>"


def test_a_denial_writes_its_text_only(xen_domain: Domain) -> None:
    at = placed(xen_domain, b"\xff" * 16)
    assert xen_domain.hypercall.xen_version(XenVersionOp.commandline, at) == 0
    assert xen_domain.read(at, 16) == b"<denied>\0" + b"\xff" * 7


# build_id


def test_the_build_id(xen_control: Domain) -> None:
    assert len(xen_control.hypercall.xen_version.build_id()) == 20


def test_the_build_id_is_not_everyones(xen_machine: Machine, xen_domain: Domain) -> None:
    with refused_without_effect(xen_machine, EPERM):
        xen_domain.hypercall.xen_version.build_id()


@pytest.mark.parametrize(("room", "code"), [(0, EINVAL), (1, ENOBUFS), (19, ENOBUFS)])
def test_too_little_room_for_the_build_id(xen_control: Domain, room: int, code: int) -> None:
    at = placed(xen_control, room.to_bytes(4, "little") + b"\xff" * 20)
    with refused(code):
        xen_control.hypercall.xen_version(XenVersionOp.build_id, at)
    assert xen_control.read(at + 4, 20) == b"\xff" * 20


@pytest.mark.parametrize("room", [20, 21, 0xFFFF_FFFF])
def test_more_room_than_the_build_id_needs(xen_control: Domain, room: int) -> None:
    at = placed(xen_control, room.to_bytes(4, "little") + b"\xff" * 21)
    assert xen_control.hypercall.xen_version(XenVersionOp.build_id, at) == 20
    assert xen_control.read(at, 4) == room.to_bytes(4, "little")
    got = xen_control.read(at + 4, 21)
    assert got == xen_control.hypercall.xen_version.build_id() + b"\xff"


def test_the_build_id_can_not_be_read_or_written(xen_control: Domain) -> None:
    for at in (
        0xDEAD_BEEF_000,
        0xFFFF_8300_0000_0000,
        straddling(xen_control, b"\x14\0\0\0", mapped=False, first=4),
        straddling(xen_control, b"\x14\0\0\0", mapped=False, first=3),
        read_only(xen_control, b"\x14\0\0\0"),
    ):
        with refused(EFAULT):
            xen_control.hypercall.xen_version(XenVersionOp.build_id, at)


# places, numbers


@WRITES
@NOWHERE
def test_no_place(xen_machine: Machine, xen_domain: Domain, op: XenVersionOp, nowhere: int) -> None:
    with refused_without_effect(xen_machine, EFAULT):
        xen_domain.hypercall.xen_version(op, nowhere)


@WRITES
def test_a_read_only_place(xen_domain: Domain, op: XenVersionOp) -> None:
    at = read_only(xen_domain, bytes(2048))
    with refused(EFAULT):
        xen_domain.hypercall.xen_version(op, at)
    assert xen_domain.read(at, 2048) == bytes(2048)


@WRITES
def test_a_place_that_is_not_all_mapped(xen_control: Domain, op: XenVersionOp) -> None:
    at = straddling(xen_control, bytes(4), mapped=False, first=SIZES[op] - 1)
    with refused(EFAULT):
        xen_control.hypercall.xen_version(op, at)


@WRITES
def test_a_place_across_two_pages(xen_control: Domain, op: XenVersionOp) -> None:
    kind: Any = ctypes.c_uint8 * SIZES[op]
    whole, split = (
        placed(xen_control, bytes(SIZES[op])),
        straddling(xen_control, bytes(SIZES[op]), first=SIZES[op] // 2),
    )
    for at in (whole, split):
        assert xen_control.hypercall.xen_version(op, at) == 0
    got = bytes(back(xen_control, kind(), split))
    assert got == bytes(back(xen_control, kind(), whole))


@WRITES
def test_not_a_byte_more_is_written(xen_control: Domain, op: XenVersionOp) -> None:
    n = SIZES[op]
    at = placed(xen_control, bytes(n) + b"\xee" * 8)
    assert xen_control.hypercall.xen_version(op, at) == 0
    assert xen_control.read(at + n, 8) == b"\xee" * 8


@WRITES
def test_upper_halves_of_registers_do_not_count(xen_domain: Domain, op: XenVersionOp) -> None:
    at = xen_domain.alloc_page()
    assert xen_domain.hypercall.raw(NR, JUNK | op, at, JUNK, JUNK) == 0


@pytest.mark.parametrize("op", [11, 12, 255, 0x7FFF_FFFF, 0xFFFF_FFFF])
def test_no_such_sub_operation(xen_machine: Machine, xen_domain: Domain, op: int) -> None:
    unknown = xen_machine.counters["unknown_hypercalls"]
    with refused_without_effect(xen_machine, ENOSYS):
        xen_domain.hypercall.xen_version(op, xen_domain.memory.base)
    assert xen_machine.counters["unknown_hypercalls"] == unknown + 1


def test_the_dying_ask_nothing(zombie: Domain) -> None:
    with refused(ESRCH):
        zombie.hypercall.xen_version.version()


def test_structs_are_xens() -> None:
    assert ctypes.sizeof(structs.version.xen_compile_info) == 144
