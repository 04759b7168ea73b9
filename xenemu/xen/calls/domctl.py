"""domctl, interface version 0x15: xen/domctl.h."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from xenemu._abi import DomainFlag, DomctlOp, Hypercall
from xenemu.xen.calls.group import Call, u64_array
from xenemu.xen.structs import Structure
from xenemu.xen.structs import domctl as h
from xenemu.xen.structs.xen import vcpu_guest_context

SHUTDOWN_SHIFT, SHUTDOWN_MASK = 16, 0xFF


@dataclass(frozen=True, slots=True)
class DomainInfo:
    """xen_domctl_getdomaininfo. `shutdown_code` is None while the domain is not shut down."""

    domain: int
    flags: DomainFlag
    shutdown_code: int | None
    tot_pages: int
    max_pages: int
    outstanding_pages: int
    shr_pages: int
    paged_pages: int
    shared_info_frame: int
    cpu_time: int
    nr_online_vcpus: int
    max_vcpu_id: int
    ssidref: int
    handle: bytes
    cpupool: int

    @property
    def paused(self) -> bool:
        """By control software."""
        return DomainFlag.paused in self.flags

    @property
    def dying(self) -> bool:
        """Destroyed, but something of it is still referenced."""
        return DomainFlag.dying in self.flags


@dataclass(frozen=True, slots=True)
class VcpuInfo:
    """xen_domctl_getvcpuinfo. cpu_time in ns."""

    online: bool
    blocked: bool
    running: bool
    cpu_time: int
    cpu: int


class Domctl(Call):
    """The control domain's calls on domains.

    Raises:
        EFAULT: the struct can't be read or written.
        EACCES: it is of another interface version.
        ESRCH: there is no such domain.
        EPERM: the caller is not privileged.
        ENOSYS: there is no such sub-operation.
    """

    __slots__ = ()
    nr = Hypercall.domctl

    def __call__(self, struct: Structure) -> int:
        """Any sub-operation, from a whole `structs.domctl.xen_domctl`, in and out."""
        with self._cpu.memory.argument(struct) as gva:
            result = self._cpu.raw(self.nr, gva)
        cmd: int = struct.cmd
        try:
            name = DomctlOp(cmd).name
        except ValueError:
            name = str(cmd)
        self._raise(cmd, name, result)
        return result

    def _op(self, cmd: DomctlOp, domain: int) -> Any:
        return h.xen_domctl(
            cmd=cmd, interface_version=h.XEN_DOMCTL_INTERFACE_VERSION, domain=domain
        )

    def createdomain(
        self,
        *,
        domain: int = 0,
        ssidref: int = 0,
        handle: bytes = bytes(16),
        flags: int = 0,
        iommu_opts: int = 0,
        max_vcpus: int = 1,
        max_evtchn_port: int = 1023,
        max_grant_frames: int = 64,
        max_maptrack_frames: int = 1024,
        grant_opts: int = 1,
        vmtrace_size: int = 0,
        cpupool_id: int = 0,
        emulation_flags: int = 0,
        misc_flags: int = 0,
    ) -> int:
        """Creates a domain without memory and virtual CPUs, paused once. `domain` 0: any id.

        Struct: xen_domctl_createdomain
        Returns: its domid.
        Raises:
            EEXIST: there is a domain of this id.
            ENOMEM: no id or memory is left.
            EINVAL: a field is out of range, or asks for what a PV domain can't have.
            EOPNOTSUPP: it asks for emulated devices.
            ESRCH: there is no such CPU pool.
        """
        arg = self._op(DomctlOp.createdomain, domain)
        config = arg.u.createdomain
        config.ssidref, config.flags, config.iommu_opts = ssidref, flags, iommu_opts
        config.handle[:] = handle
        config.max_vcpus, config.max_evtchn_port = max_vcpus, max_evtchn_port
        config.max_grant_frames = max_grant_frames
        config.max_maptrack_frames = max_maptrack_frames
        config.grant_opts, config.vmtrace_size = grant_opts, vmtrace_size
        config.cpupool_id = cpupool_id
        config.arch.emulation_flags, config.arch.misc_flags = emulation_flags, misc_flags
        self(arg)
        return int(arg.domain)

    def destroydomain(self, *, domain: int) -> None:
        """Destroys a domain. It stays visible, dying, until nothing refers to it any more.

        Raises:
            EINVAL: it is the caller.
        """
        self(self._op(DomctlOp.destroydomain, domain))

    def pausedomain(self, *, domain: int) -> None:
        """Pauses a domain once more.

        Raises:
            EINVAL: it is the caller.
            EOVERFLOW: it was paused too often.
        """
        self(self._op(DomctlOp.pausedomain, domain))

    def unpausedomain(self, *, domain: int) -> None:
        """Takes one pause back.

        Raises:
            EINVAL: it is not paused.
        """
        self(self._op(DomctlOp.unpausedomain, domain))

    def resumedomain(self, *, domain: int) -> None:
        """Lets a domain that has shut down run again.

        Raises:
            EINVAL: it is the caller.
        """
        self(self._op(DomctlOp.resumedomain, domain))

    def getdomaininfo(self, *, domain: int) -> DomainInfo:
        """What a domain is and has. If there is none of this id, of the next one above.

        Struct: xen_domctl_getdomaininfo
        Returns: a DomainInfo.
        Raises:
            EINVAL: no domain can have this id.
        """
        arg = self._op(DomctlOp.getdomaininfo, domain)
        self(arg)
        info = arg.u.getdomaininfo
        code = info.flags >> SHUTDOWN_SHIFT & SHUTDOWN_MASK
        flags = DomainFlag(info.flags & ((1 << SHUTDOWN_SHIFT) - 1))
        return DomainInfo(
            domain=info.domain,
            flags=flags,
            shutdown_code=code if DomainFlag.shutdown in flags else None,
            tot_pages=info.tot_pages,
            max_pages=info.max_pages,
            outstanding_pages=info.outstanding_pages,
            shr_pages=info.shr_pages,
            paged_pages=info.paged_pages,
            shared_info_frame=info.shared_info_frame,
            cpu_time=info.cpu_time,
            nr_online_vcpus=info.nr_online_vcpus,
            max_vcpu_id=info.max_vcpu_id,
            ssidref=info.ssidref,
            handle=bytes(info.handle),
            cpupool=info.cpupool,
        )

    def max_mem(self, *, domain: int, max_memkb: int) -> None:
        """How much memory it may have; it may have more already.

        Struct: xen_domctl_max_mem
        """
        arg = self._op(DomctlOp.max_mem, domain)
        arg.u.max_mem.max_memkb = max_memkb
        self(arg)

    def max_vcpus(self, *, domain: int, max: int) -> None:
        """Makes its virtual CPUs, as many as it was created for.

        Struct: xen_domctl_max_vcpus
        Raises:
            EINVAL: it was created for another number, or it is the caller.
            ENOMEM: memory is lacking.
        """
        arg = self._op(DomctlOp.max_vcpus, domain)
        arg.u.max_vcpus.max = max
        self(arg)

    def setvcpucontext(self, *, domain: int, vcpu: int, ctxt: Structure | None) -> None:
        """Sets a virtual CPU's registers; None: resets it.

        Struct: xen_domctl_vcpucontext, vcpu_guest_context
        Raises:
            EINVAL: it is the caller, dying, has no such virtual CPU, or a register is not what a
                guest may have.
            EOPNOTSUPP: it is initialised, and another register would change than one that may.
        """
        arg = self._op(DomctlOp.setvcpucontext, domain)
        arg.u.vcpucontext.vcpu = vcpu
        if ctxt is None:
            self(arg)
            return
        with self._cpu.memory.argument(ctxt) as at:
            arg.u.vcpucontext.ctxt = at
            self(arg)

    def getvcpucontext(self, *, domain: int, vcpu: int) -> Any:
        """A virtual CPU's registers.

        Struct: xen_domctl_vcpucontext, vcpu_guest_context
        Returns: a structs.xen.vcpu_guest_context.
        Raises:
            EINVAL: there is no such virtual CPU, or it is the caller.
            ENODATA: it was not initialised.
        """
        context = vcpu_guest_context()
        with self._cpu.memory.argument(context) as at:
            arg = self._op(DomctlOp.getvcpucontext, domain)
            arg.u.vcpucontext.vcpu = vcpu
            arg.u.vcpucontext.ctxt = at
            self(arg)
        return context

    def getvcpuinfo(self, *, domain: int, vcpu: int) -> VcpuInfo:
        """What a virtual CPU does.

        Struct: xen_domctl_getvcpuinfo
        Returns: a VcpuInfo.
        Raises:
            EINVAL: the domain can't have such a virtual CPU.
            ESRCH: it does not have it yet.
        """
        arg = self._op(DomctlOp.getvcpuinfo, domain)
        info = arg.u.getvcpuinfo
        info.vcpu = vcpu
        self(arg)
        return VcpuInfo(
            bool(info.online), bool(info.blocked), bool(info.running), info.cpu_time, info.cpu
        )

    def setdomainhandle(self, *, domain: int, handle: bytes) -> None:
        """Sets the 16 bytes by which tools know it.

        Struct: xen_domctl_setdomainhandle
        """
        arg = self._op(DomctlOp.setdomainhandle, domain)
        arg.u.setdomainhandle.handle[:] = handle
        self(arg)

    def setdebugging(self, *, domain: int, enable: bool) -> None:
        """Says that a debugger is attached to it.

        Struct: xen_domctl_setdebugging
        Raises:
            EINVAL: it is the caller.
        """
        arg = self._op(DomctlOp.setdebugging, domain)
        arg.u.setdebugging.enable = enable
        self(arg)

    def settimeoffset(self, *, domain: int, time_offset_seconds: int) -> None:
        """Offsets its wall clock.

        Struct: xen_domctl_settimeoffset
        """
        arg = self._op(DomctlOp.settimeoffset, domain)
        arg.u.settimeoffset.time_offset_seconds = time_offset_seconds
        self(arg)

    def getpageframeinfo3(self, frames: Sequence[int], *, domain: int) -> tuple[int, ...]:
        """The types of its frames, each in the upper four bits of 32.

        Struct: xen_domctl_getpageframeinfo3
        Returns: a word for each frame.
        Raises:
            E2BIG: there are more than 1024.
        """
        listed = u64_array(frames)
        with self._cpu.memory.argument(listed) as at:
            arg = self._op(DomctlOp.getpageframeinfo3, domain)
            arg.u.getpageframeinfo3.num = len(listed)
            arg.u.getpageframeinfo3.array = at
            self(arg)
        return tuple(listed)
