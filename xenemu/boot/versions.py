"""Which version each domain runs, and which one the next backup of a primary gets."""

import errno

from xenemu.boot.guests import Guest, GuestVersion
from xenemu.boot.kernels import KernelVersion, kernel_version
from xenemu.vmm import PairState, Vmm


class Versions:
    """A backup gets what its primary runs; once, it gets another kernel that was chosen for it."""

    def __init__(self, vmm: Vmm, guests: dict[int, Guest]) -> None:
        self._vmm = vmm
        self._guests = guests
        self._gone: dict[int, GuestVersion] = {}  # of destroyed domains: a fenced primary's counts
        self._chosen: dict[int, KernelVersion] = {}  # by primary

    def of(self, domid: int) -> GuestVersion:
        """What a domain runs, or ran; KeyError for one without a service."""
        guest = self._guests.get(domid)
        return self._gone[domid] if guest is None else guest.version

    def ended(self, guest: Guest) -> None:
        """Its domain is destroyed."""
        if guest.service is not None:
            self._gone[guest.domid] = guest.version

    def choose(self, primary: int, kernel: KernelVersion) -> None:
        """The next backup of `primary` gets this kernel."""
        self._chosen[primary] = kernel

    def for_backup(self, primary: int) -> GuestVersion:
        """What the backup that is built for `primary` now will run."""
        version = self.of(primary)
        chosen = self._chosen.pop(primary, None)
        pair = self._vmm.pair(primary)
        if chosen is None or pair is None or pair.state is not PairState.BOOTING:
            return version
        return GuestVersion(version.service, chosen)

    def reboot(self, domid: int, name: str = "") -> None:
        """A backup is destroyed, and the next one of its primary gets the kernel version `name`
        (default: its primary's). Called from inside the backup.

        OSError: EINVAL for no such version, EBUSY for a domain that is not an awake backup.
        """
        kernel = kernel_version(name) if name else None
        pair = self._vmm.pair(domid)
        if pair is None or pair.backup != domid or pair.state is not PairState.AWAKE:
            raise OSError(errno.EBUSY, "only a backup that is awake can be rebooted")
        if kernel is not None:
            self.choose(pair.primary, kernel)

        def destroy() -> None:
            now = self._vmm.pair(domid)
            if now is not None and now.backup == domid:
                self._vmm.destroy(domid)

        self._vmm.call_later(0, destroy)
