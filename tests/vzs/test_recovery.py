"""What the VZS decides, on a VMM that only records."""

import errno
from collections.abc import Callable

import pytest

from vzs import EventLog, Vzs
from xenemu._abi import FaultKind, TcpFeature, ZlSignal
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
            "backup_booted": 1, "features": 3, "ip": IP, "backup_has_primary_ip": 1, "extents": 8,
        }  # fmt: skip
        self.paused = {2: 1}
        self.start_error: OSError | None = None
        self.try_error: OSError | None = None
        self.boots: list[int | OSError] = []
        self.now = 0
        self.other_version = False

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args: self.calls.append((name, *args))

    def pair_info(self, domid: int) -> dict[str, int] | None:
        return self.pair if domid in (self.pair["primary"], self.pair["backup"]) else None

    def domain_ids(self) -> list[int]:
        return self.domains

    def free_pages(self) -> int:
        return 1 << 20

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

    def vzs_try(self, primary: int) -> None:
        self.calls.append(("vzs_try", primary))
        if self.try_error is not None:
            raise self.try_error

    def vzs_boot_backup(self, primary: int) -> int:
        self.calls.append(("vzs_boot_backup", primary))
        got = self.boots.pop(0)
        if isinstance(got, OSError):
            raise got
        self.pair |= {
            "state": int(PairState.RECOVERING), "backup": got, "backup_has_primary_ip": 0,
            "backup_booted": 0,
        }  # fmt: skip
        return got

    def log_info(self, domid: int) -> dict[str, int]:
        return {"connections": 3}

    def differ(self, domid: int, other: int) -> bool:
        return self.other_version

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


def test_no_backup_and_no_log_is_said(host: Host, vmm: Vmm) -> None:
    host.pair |= {"state": int(PairState.GRANTED), "backup": 0, "backup_booted": 0, "extents": 0}
    vmm.deliver(VmmEvent.FAULT, 1, FaultKind.KERNEL, 0)
    assert "no-backup" in host.names()
    assert "vzs_fence" not in host.did()


def test_a_fault_is_fenced_at_once_and_waits_for_a_booting_backup(host: Host, vmm: Vmm) -> None:
    host.pair |= {"state": int(PairState.BOOTING), "backup_booted": 0}
    vmm.deliver(VmmEvent.FAULT, 1, FaultKind.APP, 0)
    assert host.did() == ["vzs_fence"]
    host.pair |= {"state": int(PairState.RECOVERING), "backup_booted": 1}
    vmm.deliver(VmmEvent.BOOT_DONE, 2, 3, 0)
    assert host.did()[1:] == ["path_set", "unpause", "heartbeat_arm", "vzs_signal"]
    vmm.deliver(VmmEvent.BOOT_DONE, 2, 3, 0)
    assert host.did().count("path_set") == 1


def fault_without_backup(host: Host, vmm: Vmm) -> None:
    """The primary fails alone; the VZS boots backup 3."""
    host.pair |= {"state": int(PairState.GRANTED), "backup": 0, "backup_booted": 0}
    host.boots = [3, 3, 3]
    vmm.deliver(VmmEvent.FAULT, 1, FaultKind.KERNEL, 0)


def test_a_fault_without_a_backup_boots_one(host: Host, vmm: Vmm) -> None:
    fault_without_backup(host, vmm)
    wanted = ["vzs_fence", "vzs_boot_backup", "start_kernel", "heartbeat_arm"]
    assert host.did() == wanted
    host.pair["backup_booted"] = 1
    vmm.deliver(VmmEvent.BOOT_DONE, 3, 3, 0)
    assert ("path_set", IP, 3) in host.calls
    assert host.calls[-1] == ("vzs_signal", 3, int(ZlSignal.RECOVER | ZlSignal.CHANGE_IP))


def test_a_backup_that_fails_while_it_recovers_is_fenced_and_replaced(host: Host, vmm: Vmm) -> None:
    host.boots = [3]
    vmm.deliver(VmmEvent.FAULT, 1, FaultKind.KERNEL, 0)
    host.pair |= {"state": int(PairState.RECOVERING), "old_primary": 1}
    host.calls.clear()
    vmm.deliver(VmmEvent.FAULT, 2, FaultKind.APP, 0)
    assert host.calls[:3] == [
        ("vzs_fence_backup", 1), ("path_set", IP, 1), ("destroy_domain", 2),
    ]  # fmt: skip
    assert host.did()[3:] == ["vzs_boot_backup", "start_kernel", "heartbeat_arm"]


def test_timers_of_an_earlier_attempt_do_nothing(host: Host, vmm: Vmm) -> None:
    test_a_backup_that_fails_while_it_recovers_is_fenced_and_replaced(host, vmm)
    before = list(host.calls)
    host.later[0]()
    assert host.calls == before
    host.boots = [4]
    host.later[1]()
    assert ("vzs_fence_backup", 1) in host.calls[len(before) :]


def test_it_gives_up_loudly_after_three_boots(host: Host, vmm: Vmm) -> None:
    fault_without_backup(host, vmm)
    for _ in range(3):
        host.pair |= {"state": int(PairState.RECOVERING), "backup": 3}
        vmm.deliver(VmmEvent.FAULT, 3, FaultKind.KERNEL, 0)
    assert host.did().count("vzs_boot_backup") == 3
    assert host.calls[-2:] == [("vzs_give_up", 1), ("destroy_domain", 1)]
    assert "recovery-failed" in host.names()


def test_a_backup_that_cannot_be_created_is_tried_again(host: Host, vmm: Vmm) -> None:
    host.pair |= {"state": int(PairState.GRANTED), "backup": 0, "backup_booted": 0}
    host.boots = [OSError(errno.ENOMEM, "no"), 3]
    vmm.deliver(VmmEvent.FAULT, 1, FaultKind.KERNEL, 0)
    assert "backup-failed" in host.names() and "start_kernel" not in host.did()
    host.later[-1]()
    assert ("start_kernel", 3, 1) in host.calls


def test_a_second_fault_while_recovering_only_makes_it_worse(host: Host, vmm: Vmm) -> None:
    vmm.deliver(VmmEvent.FAULT, 1, FaultKind.APP, 0)
    host.pair |= {"state": int(PairState.RECOVERING), "old_primary": 1}
    vmm.deliver(VmmEvent.FAULT, 1, FaultKind.KERNEL, 0)
    assert host.did().count("vzs_fence") == 1
    host.pair |= {"primary": 2, "backup": 0, "state": int(PairState.GRANTED)}
    vmm.deliver(VmmEvent.RECOVERY_DONE, 2, 1, 0)
    assert host.calls[-1] == ("destroy_domain", 1)


def test_two_former_primaries_are_never_kept(host: Host, vmm: Vmm) -> None:
    vmm.deliver(VmmEvent.FAULT, 1, FaultKind.APP, 0)
    host.pair |= {"primary": 2, "backup": 0, "state": int(PairState.GRANTED)}
    host.boots = [3]
    vmm.deliver(VmmEvent.FAULT, 2, FaultKind.APP, 0)  # before RECOVERY_DONE is heard of
    vmm.deliver(VmmEvent.RECOVERY_DONE, 2, 1, 0)
    host.domains = [0, 1, 2, 3]
    host.pair |= {"primary": 3, "backup": 0}
    vmm.deliver(VmmEvent.RECOVERY_DONE, 3, 2, 0)
    assert ("destroy_domain", 1) in host.calls


def test_a_backup_that_somebody_destroyed_is_replaced(host: Host, vmm: Vmm) -> None:
    host.pair |= {"state": int(PairState.GRANTED), "backup": 0, "backup_booted": 0}
    vmm.deliver(VmmEvent.BACKUP_GONE, 1, 2, 0)
    assert host.calls == [("vzs_signal", 1, int(ZlSignal.FAILED))]


def test_reestablished_is_told_to_the_backup(host: Host, vmm: Vmm) -> None:
    vmm.deliver(VmmEvent.FAULT, 1, FaultKind.APP, 0)
    host.calls.clear()
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
    vmm.deliver(VmmEvent.BOOT_DONE, 2, 3, 0)
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


@pytest.mark.parametrize("has", [TcpFeature(0), TcpFeature.TIMESTAMPS, TcpFeature.WINDOW_SCALE])
def test_a_backup_whose_tcp_lacks_a_feature_is_refused(
    host: Host, vmm: Vmm, has: TcpFeature
) -> None:
    host.pair |= {"state": int(PairState.BOOTING)}
    vmm.deliver(VmmEvent.BOOT_DONE, 2, has, 0)
    assert ("vzs_complete", 1, -errno.EOPNOTSUPP) in host.calls
    assert ("destroy_domain", 2) in host.calls
    refused = next(event for event in host.log.since() if event.name == "backup-refused")
    assert refused.details["lacks"] == "|".join(
        feature.name or "" for feature in TcpFeature if feature not in has
    )


def test_a_backup_with_what_the_primary_has_is_enough(host: Host, vmm: Vmm) -> None:
    host.pair |= {"state": int(PairState.BOOTING), "features": 1}
    vmm.deliver(VmmEvent.BOOT_DONE, 2, 1, 0)
    assert ("vzs_complete", 1, 0) in host.calls


@pytest.fixture
def trial(host: Host, vmm: Vmm) -> Host:
    """The primary is quiet, and its backup is tried."""
    host.pair["state"] = int(PairState.MIGRATING)
    vmm.deliver(VmmEvent.QUIESCED, 1, 0, 0)
    assert host.did() == ["vzs_try", "path_set", "unpause", "heartbeat_arm", "vzs_signal"]
    host.pair["state"] = int(PairState.RECOVERING)
    host.calls.clear()
    return host


def test_a_backup_that_has_replayed_all_is_accepted(trial: Host, vmm: Vmm) -> None:
    vmm.deliver_wrapper(WrapperEvent.REESTABLISHED, 2, 3, 0)
    assert trial.calls == []
    vmm.deliver_wrapper(WrapperEvent.REPLAYED, 2, 0, 0)
    signal = ("vzs_signal", 2, int(ZlSignal.COMPLETE))
    assert trial.calls == [("promote", 1, 2), ("vzs_accept", 1), signal]


def rolled_back(host: Host) -> bool:
    """The primary goes on, its call has failed, and the backup is gone."""
    first = ("vzs_roll_back", 1, -errno.ECANCELED)
    others = [("heartbeat_arm", 1, True), ("destroy_domain", 2)]
    return host.calls == [first, *others] and "rolled-back" in host.names()


def test_a_backup_that_diverges_is_sent_away(trial: Host, vmm: Vmm) -> None:
    vmm.deliver_wrapper(WrapperEvent.DIVERGED, 2, 7, 1234)
    assert rolled_back(trial)
    reason = next(e.details["reason"] for e in trial.log.since() if e.name == "rolled-back")
    assert reason == "connection 7 diverges at byte 1234 of its output"


@pytest.mark.parametrize("kind", list(FaultKind))
def test_a_backup_that_dies_in_its_trial_is_sent_away(
    trial: Host, vmm: Vmm, kind: FaultKind
) -> None:
    vmm.deliver(VmmEvent.FAULT, 2, kind, 0)
    assert rolled_back(trial)


def test_a_trial_takes_only_so_long(trial: Host, vmm: Vmm) -> None:
    trial.later[-1]()
    assert rolled_back(trial)


def test_after_its_trial_a_backup_is_not_sent_away(trial: Host, vmm: Vmm) -> None:
    vmm.deliver_wrapper(WrapperEvent.REPLAYED, 2, 0, 0)
    trial.calls.clear()
    trial.boots = [3]
    vmm.deliver(VmmEvent.FAULT, 2, FaultKind.APP, 0)
    assert trial.did()[0] == "vzs_fence_backup" and ("vzs_boot_backup", 1) in trial.calls


def test_a_primary_that_dies_after_all_is_recovered(trial: Host, vmm: Vmm) -> None:
    vmm.deliver_wrapper(WrapperEvent.REESTABLISHED, 2, 3, 0)
    vmm.deliver(VmmEvent.FAULT, 1, FaultKind.KERNEL, 0)
    assert trial.calls == [("vzs_accept", 1), ("vzs_signal", 2, int(ZlSignal.COMPLETE))]


def test_no_trial_while_connections_are_unprotected(host: Host, vmm: Vmm) -> None:
    host.pair["state"] = int(PairState.MIGRATING)
    host.try_error = OSError(errno.EBUSY, "busy")
    vmm.deliver(VmmEvent.QUIESCED, 1, 0, 0)
    assert host.calls == [("vzs_try", 1), ("vzs_complete", 1, -errno.EBUSY)]
    assert "rolled-back" in host.names()


def test_a_trial_waits_for_what_is_still_compared(host: Host, vmm: Vmm) -> None:
    host.pair["state"] = int(PairState.MIGRATING)
    host.try_error = OSError(errno.EAGAIN, "again")
    vmm.deliver(VmmEvent.QUIESCED, 1, 0, 0)
    host.later.pop()()
    assert host.calls == [("vzs_try", 1), ("vzs_signal", 1, int(ZlSignal.QUIESCE))]
    host.now = 6 * 10**9
    vmm.deliver(VmmEvent.QUIESCED, 1, 0, 0)
    assert host.calls[-1] == ("vzs_complete", 1, -errno.EAGAIN) and "rolled-back" in host.names()


def test_at_a_fault_a_backup_of_another_version_is_not_tried_on_clients(
    host: Host, vmm: Vmm
) -> None:
    host.other_version, host.boots = True, [3]
    vmm.deliver(VmmEvent.FAULT, 1, FaultKind.APP, 0)
    assert ("vzs_fence_backup", 1) in host.calls and ("destroy_domain", 2) in host.calls
    assert ("vzs_boot_backup", 1) in host.calls and "unpause" not in host.did()


def test_nor_when_the_primary_dies_in_its_trial(trial: Host, vmm: Vmm) -> None:
    trial.other_version, trial.boots = True, [3]
    vmm.deliver(VmmEvent.FAULT, 1, FaultKind.KERNEL, 0)
    assert trial.did()[:2] == ["vzs_accept", "vzs_fence_backup"]
    assert ("vzs_boot_backup", 1) in trial.calls
