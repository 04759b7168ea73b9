"""What a failing hypercall raises."""

import errno

import pytest

from xenemu import Domain, GrantError, HypercallError
from xenemu._abi import GrantOp, Hypercall, VcpuOp
from xenemu.machine.errors import error_of, name_of, named_error
from xenemu.xen import GrantStatus
from xenemu.xen.calls.grant_table_op import grant_error


@pytest.mark.parametrize(
    ("code", "own"),
    [
        (errno.EPERM, PermissionError),
        (errno.EACCES, PermissionError),
        (errno.ESRCH, ProcessLookupError),
        (errno.ENOENT, FileNotFoundError),
        (errno.EEXIST, FileExistsError),
        (errno.EAGAIN, BlockingIOError),
        (errno.EINVAL, OSError),
        (errno.ENODATA, OSError),
    ],
)
def test_each_is_pythons_own_and_ours(code: int, own: type[OSError]) -> None:
    error = error_of(Hypercall.vcpu_op, VcpuOp.up, code)
    assert isinstance(error, own) and isinstance(error, HypercallError)
    assert (error.errno, error.nr, error.op, error.name) == (code, 24, 1, "vcpu_op.up")
    assert str(error).startswith(f"vcpu_op.up: {errno.errorcode[code]}: ")


def test_names() -> None:
    assert name_of(32, 4) == "event_channel_op.send"
    assert name_of(32, 99) == "event_channel_op.99"
    assert name_of(60, None) == "hypercall 60"
    assert error_of(Hypercall.mmu_update, 0xFFFF_8800_0000_0000, errno.EFAULT).op is None
    assert named_error(36, 3, "domctl.pausedomain", errno.ESRCH).name == "domctl.pausedomain"


def test_a_status_is_an_error_with_the_nearest_errno() -> None:
    error = grant_error(GrantOp.map_grant_ref, -2)
    assert isinstance(error, GrantError)
    assert error.status is GrantStatus.bad_domain
    assert error.errno == errno.ESRCH
    assert str(error) == "grant_table_op.map_grant_ref: GNTST_bad_domain"


def test_raw_calls(xen_domain: Domain) -> None:
    assert xen_domain.hypercall(17, 0) == 4 << 16 | 17
    assert xen_domain.hypercall.raw(60) == -errno.ENOSYS
    assert xen_domain.hypercall.raw((1 << 32) + 17) == -errno.ENOSYS
    assert xen_domain.hypercall.raw(32, 4, 0xDEAD_0000) == -errno.EFAULT
    with pytest.raises(HypercallError, match="hypercall 60: ENOSYS"):
        xen_domain.hypercall(60)
    with pytest.raises(OverflowError):
        xen_domain.hypercall(17, 1 << 64)
    with pytest.raises(OverflowError):
        xen_domain.hypercall(17, -1)


def test_there_is_no_such_virtual_cpu(xen_domain: Domain) -> None:
    with pytest.raises(ProcessLookupError):
        xen_domain.vcpu(5).hypercall(17, 0)
