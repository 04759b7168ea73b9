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
        self._promoted: dict[int, GuestVersion] = {}  # by the primary that was accepted for

    def of(self, domid: int) -> GuestVersion:
        """What a domain runs, or ran; KeyError for one without a service."""
        guest = self._guests.get(domid)
        return self._gone[domid] if guest is None else guest.version

    def ended(self, guest: Guest) -> None:
        """Its domain is destroyed."""
        if guest.service is not None:
            self._gone[guest.domid] = self._promoted.pop(guest.domid, guest.version)

    def differ(self, domid: int, other: int) -> bool:
        """Their kernels or services, also those being started, are not the same, to the source."""
        kernels, services = [], []
        for each in (domid, other):
            guest = self._guests.get(each)
            if guest is None or not guest.ozs.services:
                return False
            kernels.append(guest.version.kernel)
            services.append([status.version for status in guest.ozs.service_status()])
        sources = [[id(version.sources) for version in versions] for versions in services]
        return kernels[0] != kernels[1] or services[0] != services[1] or sources[0] != sources[1]

    def promote(self, primary: int, backup: int) -> None:
        """Clients have seen `backup`: what is booted for `primary` from now on is as it is."""
        self._promoted[primary] = self.of(backup)

    def choose(self, primary: int, kernel: KernelVersion) -> None:
        """The next backup of `primary` gets this kernel."""
        self._chosen[primary] = kernel

    def for_backup(self, primary: int) -> GuestVersion:
        """What the backup that is built for `primary` now will run."""
        version = self._promoted.get(primary) or self.of(primary)
        chosen = self._chosen.pop(primary, None)
        pair = self._vmm.pair(primary)
        if chosen is None or pair is None or pair.state is not PairState.BOOTING:
            return version
        return GuestVersion(version.services, chosen)

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
