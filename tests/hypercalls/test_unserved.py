"""All numbers of hypercalls that Xen does not have, or that xenemu knows only to refuse them.

What real Xen answers to the control domain is in tests/data/unserved.xen; here are the callers.
"""

from __future__ import annotations

from errno import (
    E2BIG,
    EACCES,
    EFAULT,
    EINVAL,
    ENOENT,
    ENOSYS,
    EOPNOTSUPP,
    EPERM,
    ESRCH,
)

import pytest
from hypercalls.support import (
    ABSENT,
    JUNK,
    UNMAPPED,
    XEN_VA,
    placed,
    read_only,
    refused_without_effect,
    straddling,
)

from xenemu import Domain, Machine
from xenemu._abi import Hypercall
from xenemu.xen import DOMID_SELF
from xenemu.xen.hypercalls import CALLS

Nr = Hypercall
OLD = {Nr.stack_switch, Nr.set_callbacks, Nr.fpu_taskswitch, Nr.sched_op_compat,
       Nr.event_channel_op_compat, Nr.update_descriptor, Nr.set_segment_base, Nr.nmi_op,
       Nr.iret}  # fmt: skip
REFUSED = {Nr.platform_op, Nr.physdev_op_compat, Nr.xenoprof_op, Nr.physdev_op, Nr.hvm_op,
           Nr.sysctl, Nr.kexec_op, Nr.xenpmu_op, Nr.dm_op, Nr.hypfs_op, Nr.mca,
           Nr.paging_domctl_cont}  # fmt: skip
SERVED = {call.nr for call in CALLS} | OLD
NONE = sorted(set(range(64)) - SERVED - REFUSED)
PLATFORM, SYSCTL, MCA, DOMCTL = 0x0300_0001, 0x15, 0x01EC_C003, 0x15
SHADOW_OP = 10


def words(*values: int) -> bytes:
    """32-bit words, and what may follow."""
    return b"".join(v.to_bytes(4, "little") for v in values) + bytes(144)


def test_each_number_is_one_or_the_other() -> None:
    assert not SERVED & REFUSED
    assert len(SERVED) + len(REFUSED) + len(NONE) == 64
    assert NONE == [11, 27, 38, 39, 43, 44, 45, 46, 47, 50, 51, 52, 53, 54, *range(56, 64)]


@pytest.mark.parametrize("nr", [*NONE, 64, 1000, 1 << 31, 0xFFFF_FFFF, 1 << 32, 1 << 63])
def test_there_is_no_such_hypercall(
    xen_machine: Machine, xen_control: Domain, xen_domain: Domain, nr: int
) -> None:
    before = xen_machine.counters
    for caller in (xen_control, xen_domain):
        with refused_without_effect(xen_machine, ENOSYS):
            caller.hypercall(nr, 1, caller.memory.base, 1, 1, 1)
    after = xen_machine.counters
    assert after["unknown_hypercalls"] == before["unknown_hypercalls"] + 2


@pytest.mark.parametrize("nr", [JUNK | 17, JUNK | 32, 1 << 32 | 36])
def test_the_upper_half_of_the_number_counts(
    xen_machine: Machine, xen_control: Domain, nr: int
) -> None:
    with refused_without_effect(xen_machine, ENOSYS):
        xen_control.hypercall(nr, 0, 0)


# each as (number, arguments with the address of a struct in place of HERE, the struct, the answer
# to the control domain, and to others)

HERE = -1
CASES = [
    (Nr.platform_op, (HERE,), words(0, PLATFORM - 1), EACCES, EACCES),
    (Nr.platform_op, (HERE,), words(0, PLATFORM), ENOSYS, EPERM),
    (Nr.sysctl, (HERE,), words(3, SYSCTL + 1), EACCES, EACCES),
    (Nr.sysctl, (HERE,), words(3, SYSCTL), ENOSYS, EPERM),
    (Nr.mca, (HERE,), words(1, MCA), EINVAL, EPERM),
    (Nr.mca, (HERE,), words(1, 0), EACCES, EPERM),
    (Nr.mca, (UNMAPPED,), b"", EFAULT, EPERM),
    (Nr.kexec_op, (0, HERE), words(0), ENOSYS, EPERM),
    (Nr.kexec_op, (6, HERE), words(0), ENOSYS, EPERM),
    (Nr.kexec_op, (6, UNMAPPED), b"", EFAULT, EPERM),
    (Nr.kexec_op, (7, UNMAPPED), b"", 0, EPERM),
    (Nr.kexec_op, (JUNK, UNMAPPED), b"", 0, EPERM),
    (Nr.xenpmu_op, (0, UNMAPPED), b"", EOPNOTSUPP, EOPNOTSUPP),
    (Nr.xenpmu_op, (99, 0), b"", EOPNOTSUPP, EOPNOTSUPP),
    (Nr.xenoprof_op, (0, HERE), words(0), ENOSYS, ENOSYS),
    (Nr.xenoprof_op, (14, HERE), words(0), ENOSYS, ENOSYS),
    (Nr.xenoprof_op, (1, UNMAPPED), b"", EPERM, EPERM),
    (Nr.xenoprof_op, (17, UNMAPPED), b"", EPERM, EPERM),
    (Nr.xenoprof_op, (18, UNMAPPED), b"", EINVAL, EINVAL),
    (Nr.xenoprof_op, (1 << 31, 0), b"", EINVAL, EINVAL),
    (Nr.hypfs_op, (1, HERE, 2), b"/\0", EINVAL, EPERM),
    (Nr.hypfs_op, (1, HERE, 2, HERE, 64), b"/\0", ENOSYS, EPERM),
    (Nr.hypfs_op, (2, HERE, 2), b"/\0", EACCES, EPERM),
    (Nr.hypfs_op, (3, HERE, 2), b"/\0", EOPNOTSUPP, EPERM),
    (Nr.hypfs_op, (1, HERE, 5), b"/abc\0", ENOENT, EPERM),
    (Nr.hypfs_op, (1, HERE, 4), b"/abc\0", EINVAL, EPERM),
    (Nr.hypfs_op, (1, HERE, 4), b"abc\0", EINVAL, EPERM),
    (Nr.hypfs_op, (1, HERE, 4), b"/\0a\0", EINVAL, EPERM),
    (Nr.hypfs_op, (1, UNMAPPED, 4), b"", EFAULT, EPERM),
    (Nr.hypfs_op, (1, UNMAPPED, 1025), b"", EINVAL, EPERM),
    (Nr.hypfs_op, (0, 0, 0, 0, 1), b"", EINVAL, EPERM),
    (Nr.physdev_op, (0, UNMAPPED), b"", ENOSYS, ENOSYS),
    (Nr.physdev_op, (32, UNMAPPED), b"", ENOSYS, ENOSYS),
    (Nr.physdev_op, (4, UNMAPPED), b"", 0, 0),
    (Nr.physdev_op, (6, HERE), words(3), 0, 0),
    (Nr.physdev_op, (6, HERE), words(4), EINVAL, EINVAL),
    (Nr.physdev_op, (7, HERE), words(0, 0, 65536), 0, 0),
    (Nr.physdev_op, (7, HERE), words(0, 0, 65537), EINVAL, EINVAL),
    (Nr.physdev_op, (7, HERE), XEN_VA.to_bytes(8, "little") + words(1), EINVAL, EINVAL),
    (Nr.physdev_op, (13, HERE), words(0), ENOSYS, ENOSYS),
    (Nr.physdev_op_compat, (HERE,), words(6, 0, 3), 0, 0),
    (Nr.physdev_op_compat, (HERE,), words(6, 0, 4), EINVAL, EINVAL),
    (Nr.physdev_op_compat, (HERE,), words(99), ENOSYS, ENOSYS),
    (Nr.hvm_op, (2, UNMAPPED), b"", ENOSYS, ENOSYS),
    (Nr.hvm_op, (JUNK, UNMAPPED), b"", ENOSYS, ENOSYS),
    (Nr.hvm_op, (0, HERE), words(DOMID_SELF, 0), EINVAL, EINVAL),
    (Nr.hvm_op, (1, HERE), words(ABSENT, 0), ESRCH, ESRCH),
    (Nr.hvm_op, (1, HERE), words(ABSENT, 38), ESRCH, ESRCH),
    (Nr.hvm_op, (1, HERE), words(ABSENT, 39), EINVAL, EINVAL),
    (Nr.hvm_op, (5, 0), b"", EINVAL, EINVAL),
    (Nr.hvm_op, (9, HERE), words(DOMID_SELF), EINVAL, EINVAL),
    (Nr.hvm_op, (9, HERE), words(ABSENT), ESRCH, ESRCH),
    (Nr.hvm_op, (11, HERE), words(0xFFF | 28 << 16), 0, 0),
    (Nr.hvm_op, (11, HERE), words(0xFFF | 29 << 16), EINVAL, EINVAL),
    (Nr.hvm_op, (11, HERE), words(0x1000), EINVAL, EINVAL),
    (Nr.hvm_op, (15, HERE), words(ABSENT), ESRCH, ESRCH),
    (Nr.hvm_op, (23, UNMAPPED), b"", EINVAL, EINVAL),
    (Nr.hvm_op, (24, 0), b"", 0, 0),
    (Nr.hvm_op, (24, 8), b"", EINVAL, EINVAL),
    (Nr.hvm_op, (25, UNMAPPED), b"", EOPNOTSUPP, EOPNOTSUPP),
    (Nr.dm_op, (0, 3, UNMAPPED), b"", E2BIG, E2BIG),
    (Nr.dm_op, (0, 0xFFFF_FFFF, UNMAPPED), b"", E2BIG, E2BIG),
    (Nr.dm_op, (ABSENT, 2, HERE), words(0), ESRCH, ESRCH),
    (Nr.dm_op, (DOMID_SELF, 2, HERE), words(0), ESRCH, ESRCH),
    (Nr.dm_op, (ABSENT, 0, UNMAPPED), b"", ESRCH, ESRCH),
    (Nr.paging_domctl_cont, (HERE,), words(SHADOW_OP, DOMCTL + 1), EOPNOTSUPP, EOPNOTSUPP),
    (Nr.paging_domctl_cont, (HERE,), words(1, DOMCTL), EOPNOTSUPP, EOPNOTSUPP),
    (Nr.paging_domctl_cont, (HERE,), words(SHADOW_OP, DOMCTL, 0), EINVAL, EPERM),
    (Nr.paging_domctl_cont, (HERE,), words(SHADOW_OP, DOMCTL, ABSENT), ESRCH, ESRCH),
]  # fmt: skip


@pytest.mark.parametrize(
    ("nr", "args", "struct", "control", "other"),
    CASES,
    ids=[f"{nr.name}-{i}" for i, (nr, *_) in enumerate(CASES)],
)
def test_the_answer_by_caller(
    xen_machine: Machine,
    xen_domain: Domain,
    nr: int,
    args: tuple[int, ...],
    struct: bytes,
    control: int,
    other: int,
) -> None:
    for caller, expected in ((xen_machine.control, control), (xen_domain, other)):
        at = placed(caller, struct)
        got = caller.hypercall.raw(nr, *(at if arg == HERE else arg for arg in args))
        assert got == -expected, caller
        assert caller.read(at, len(struct)) == struct


EFAULTS = [
    (Nr.platform_op, ()),
    (Nr.sysctl, ()),
    (Nr.mca, ()),
    (Nr.kexec_op, (1,)),
    (Nr.xenoprof_op, (0,)),
    (Nr.xenoprof_op, (14,)),
    (Nr.physdev_op, (5,)),
    (Nr.physdev_op, (6,)),
    (Nr.physdev_op, (31,)),
    (Nr.physdev_op_compat, ()),
    (Nr.hvm_op, (0,)),
    (Nr.hvm_op, (1,)),
    (Nr.hvm_op, (9,)),
    (Nr.hvm_op, (10,)),
    (Nr.hvm_op, (11,)),
    (Nr.hvm_op, (15,)),
    (Nr.dm_op, (0, 1)),
    (Nr.paging_domctl_cont, ()),
]


@pytest.mark.parametrize(("nr", "before"), EFAULTS, ids=str)
def test_an_argument_that_is_not_there(
    xen_machine: Machine, xen_control: Domain, nr: int, before: tuple[int, ...]
) -> None:
    half = straddling(xen_control, bytes(1), mapped=False, first=1)
    for at in (0, UNMAPPED, XEN_VA, half):
        with refused_without_effect(xen_machine, EFAULT):
            xen_control.hypercall(nr, *before, at)


def test_the_version_of_the_file_system(xen_control: Domain, xen_domain: Domain) -> None:
    assert xen_control.hypercall.raw(Nr.hypfs_op, JUNK) == 1
    assert xen_domain.hypercall.raw(Nr.hypfs_op, 0) == -EPERM


def test_the_time(xen_machine: Machine, xen_domain: Domain) -> None:
    xen_machine.run_for(0.5)
    at = placed(xen_domain, bytes(8))
    assert xen_domain.hypercall(Nr.hvm_op, 10, at) == 0
    assert int.from_bytes(xen_domain.read(at, 8), "little") == xen_machine.now_ns > 0
    assert xen_domain.hypercall.raw(Nr.hvm_op, 10, read_only(xen_domain, bytes(8))) == -EFAULT


def test_operations_of_hvm_domains_on_another(xen_control: Domain, xen_domain: Domain) -> None:
    for caller, target, memory in (
        (xen_control, xen_domain, EINVAL),
        (xen_domain, xen_control, EPERM),
    ):
        at = placed(caller, words(target.id))
        assert caller.hypercall.raw(Nr.hvm_op, 0, at) == -EINVAL
        assert caller.hypercall.raw(Nr.hvm_op, 9, at) == -EOPNOTSUPP
        assert caller.hypercall.raw(Nr.hvm_op, 15, at) == -memory
        assert caller.hypercall.raw(Nr.dm_op, target.id, 1, at) == -EINVAL
        assert caller.hypercall.raw(Nr.dm_op, caller.id, 1, at) == -EPERM


@pytest.mark.parametrize("nr", sorted(REFUSED), ids=lambda nr: nr.name)
def test_the_dying_are_not_even_refused(zombie: Domain, nr: int) -> None:
    assert zombie.hypercall.raw(nr, 0, 0, 0) == -ESRCH
