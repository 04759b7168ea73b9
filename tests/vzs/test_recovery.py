"""What the VZS decides, on a VMM that only records."""

import errno
from collections.abc import Callable

import pytest

from vzs import EventLog, Vzs
from xenemu._abi import FaultKind, ZlSignal
from xenemu.vmm import Event, PairState, Vmm, VmmEvent, WrapperEvent

IP = 0x0A000001


class Host:
    """Backend and toolstack in one; calls are recorded in order."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.log = EventLog()
        self.later: list[Callable[[], None]] = []
        self.domains = [0, 1, 2]
        self.pair = {
            "state": int(PairState.SUSPENDED), "primary": 1, "backup": 2, "old_primary": 0,
            "ip": IP, "backup_has_primary_ip": 1, "extents": 8,
        }  # fmt: skip
        self.paused = {2: 1}
        self.start_error: OSError | None = None
        self.now = 0

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args: self.calls.append((name, *args))

    def pair_info(self, domid: int) -> dict[str, int] | None:
        return self.pair if domid in (self.pair["primary"], self.pair["backup"]) else None

    def domain_ids(self) -> list[int]:
        return self.domains

    def domain_info(self, domid: int) -> dict[str, int]:
        keys = ["generation", "dying", "runnable", "crashed", "tot_pages", "refs", "heartbeats"]
        info = dict.fromkeys(keys, 0)
        own = IP if domid == 1 else IP + domid
        return info | {
            "domid": domid, "pause_count": self.paused.get(domid, 0), "ip": IP, "own_ip": own,
        }  # fmt: skip

    def unpause(self, domid: int) -> None:
        self.paused[domid] = 0
        self.calls.append(("unpause", domid))

    def start_kernel(self, domid: int, primary: int) -> None:
        self.calls.append(("start_kernel", domid, primary))
        if self.start_error is not None:
            raise self.start_error

    def log_info(self, domid: int) -> dict[str, int]:
        return {"connections": 3}

    def emit(self, event: Event) -> None:
        self.log.append(event)

    def call_later(self, delay: int, callback: Callable[[], None]) -> None:
        self.later.append(callback)

    def names(self) -> list[str]:
        return [event.name for event in self.log.since()]

    def did(self) -> list[object]:
        return [call[0] for call in self.calls]


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def vmm(host: Host) -> Vmm:
    vmm = Vmm(host, host)  # type: ignore[arg-type]
    Vzs(vmm, host.log)
    return vmm


@pytest.mark.parametrize("kind", list(FaultKind))
def test_the_order_of_fig_10(host: Host, vmm: Vmm, kind: FaultKind) -> None:
    vmm.deliver(VmmEvent.FAULT, 1, kind, 0)
    wanted = ["vzs_fence", "path_set", "unpause", "heartbeat_arm", "vzs_signal"]
    assert host.did() == wanted
    assert host.calls[-1] == ("vzs_signal", 2, int(ZlSignal.RECOVER))


def test_a_backup_with_its_own_address_takes_the_shared_one_first(host: Host, vmm: Vmm) -> None:
    host.pair["backup_has_primary_ip"] = 0
    vmm.deliver(VmmEvent.FAULT, 1, FaultKind.KERNEL, 0)
    assert ("vzs_set_next_ip", 2, IP) in host.calls
    assert host.calls[-1] == ("vzs_signal", 2, int(ZlSignal.RECOVER | ZlSignal.CHANGE_IP))


def test_no_backup_is_said(host: Host, vmm: Vmm) -> None:
    host.pair |= {"state": int(PairState.GRANTED), "backup": 0}
    vmm.deliver(VmmEvent.FAULT, 1, FaultKind.KERNEL, 0)
    assert "no-backup" in host.names()
    assert "vzs_fence" not in host.did()


def test_a_fault_waits_for_a_booting_backup(host: Host, vmm: Vmm) -> None:
    host.pair["state"] = int(PairState.BOOTING)
    vmm.deliver(VmmEvent.FAULT, 1, FaultKind.APP, 0)
    assert "vzs_fence" not in host.did()
    original = host.__getattr__("vzs_complete")

    def complete(primary: int, status: int) -> None:
        original(primary, status)
        host.pair["state"] = int(PairState.AWAKE)

    host.vzs_complete = complete  # type: ignore[attr-defined]
    vmm.deliver(VmmEvent.BOOT_DONE, 2, 0, 0)
    assert "vzs_fence" in host.did()


def test_reestablished_is_told_to_the_backup(host: Host, vmm: Vmm) -> None:
    host.pair["state"] = int(PairState.RECOVERING)
    vmm.deliver_wrapper(WrapperEvent.REESTABLISHED, 2, 3, 0)
    assert host.calls == [("vzs_signal", 2, int(ZlSignal.COMPLETE))]


def test_an_old_primary_is_kept_after_an_application_fault(host: Host, vmm: Vmm) -> None:
    vmm.deliver(VmmEvent.FAULT, 1, FaultKind.APP, 0)
    host.pair |= {"primary": 2, "backup": 0, "state": int(PairState.GRANTED)}
    host.paused[1] = 1
    vmm.deliver(VmmEvent.RECOVERY_DONE, 2, 1, 0)
    assert ("unpause", 1) in host.calls
    assert host.calls[-1] == ("vzs_signal", 1, int(ZlSignal.READDRESS))
    assert "destroy_domain" not in host.did()
    vmm.deliver(VmmEvent.FAULT, 2, FaultKind.APP, 0)
    assert ("destroy_domain", 1) in host.calls


def test_an_old_primary_is_destroyed_after_a_kernel_fault(host: Host, vmm: Vmm) -> None:
    vmm.deliver(VmmEvent.FAULT, 1, FaultKind.KERNEL, 0)
    host.pair |= {"primary": 2, "backup": 0, "state": int(PairState.GRANTED)}
    vmm.deliver(VmmEvent.RECOVERY_DONE, 2, 1, 0)
    assert host.calls[-1] == ("destroy_domain", 1)


def test_a_backup_that_cannot_be_built(host: Host, vmm: Vmm) -> None:
    host.pair["state"] = int(PairState.BOOTING)
    host.start_error = OSError(errno.ENOMEM, "no")
    vmm.deliver(VmmEvent.BOOT_BACKUP, 1, 2, 0)
    assert ("vzs_complete", 1, -errno.ENOMEM) in host.calls
    assert ("destroy_domain", 2) in host.calls


def test_a_backup_that_never_comes_up(host: Host, vmm: Vmm) -> None:
    host.pair["state"] = int(PairState.BOOTING)
    vmm.deliver(VmmEvent.BOOT_BACKUP, 1, 2, 0)
    host.later[0]()
    assert ("vzs_complete", 1, -errno.ETIMEDOUT) in host.calls


def test_a_timer_of_a_finished_transition_does_nothing(host: Host, vmm: Vmm) -> None:
    host.pair["state"] = int(PairState.BOOTING)
    vmm.deliver(VmmEvent.BOOT_BACKUP, 1, 2, 0)
    vmm.deliver(VmmEvent.BOOT_DONE, 2, 0, 0)
    before = list(host.calls)
    host.later[0]()
    assert host.calls == before


def test_a_lost_backup_is_told_to_the_primary(host: Host, vmm: Vmm) -> None:
    host.pair["state"] = int(PairState.AWAKE)
    vmm.deliver(VmmEvent.FAULT, 2, FaultKind.KERNEL, 0)
    assert ("destroy_domain", 2) in host.calls
    assert host.calls[-1] == ("vzs_signal", 1, int(ZlSignal.FAILED))


def test_a_fault_of_somebody_else_decides_nothing(host: Host, vmm: Vmm) -> None:
    vmm.deliver(VmmEvent.FAULT, 0, FaultKind.KERNEL, 0)
    assert host.calls == []
    assert host.names() == ["fault"]
