"""Which domains may be destroyed by hand, and how a whole pair ends."""

import errno

from xenemu.vmm import PairInfo, PairState, Vmm


def destroy(vmm: Vmm, domid: int, role: str, *, force: bool = False) -> None:
    """Ends a domain of this role.

    A backup is replaced by its primary. The primary goes only by `force`, and then its pair goes:
    its backup too, and each connection is reset. OSError: EBUSY where that is not allowed, ESRCH.
    """
    if role == "control":
        raise OSError(errno.EBUSY, "the control domain stays; `stop` ends everything")
    if role == "primary":
        pair = vmm.pair(domid)
        if pair is not None and pair.state is PairState.RECOVERING:
            raise OSError(errno.EBUSY, f"d{domid} is being recovered from")
        if not force:
            raise OSError(errno.EBUSY, f"d{domid} is the primary: --force ends the service")
        if pair is not None:
            _end_pair(vmm, pair)
    _end(vmm, domid)


def _end_pair(vmm: Vmm, pair: PairInfo) -> None:
    vmm.fence(pair.primary)
    vmm.emit("fenced", pair.primary)
    if pair.backup:
        vmm.fence_backup(pair.primary)
        _end(vmm, pair.backup)
    vmm.give_up(pair.primary)
    vmm.emit("service-given-up", pair.primary)


def _end(vmm: Vmm, domid: int) -> None:
    vmm.destroy(domid)
    vmm.emit("destroyed", domid, reason="by hand")
