"""xen_version, console_io, multicall, zeroloss_op."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from xenemu._abi import DOMID_SELF, ConsoleOp, Hypercall, XenVersionOp
from xenemu.xen.calls.group import U64_MASK, Call, Group, text, u64_array
from xenemu.xen.structs import version as h
from xenemu.xen.structs.layout import padding
from xenemu.xen.structs.xen import multicall_entry, zl_arg


@dataclass(frozen=True, slots=True)
class CompileInfo:
    """Who built Xen, when, and with what."""

    compiler: str
    compile_by: str
    compile_domain: str
    compile_date: str


class XenVersion(Group):
    """What this Xen is.

    Raises:
        EFAULT: the answer can't be written.
        ENOSYS: there is no such sub-operation.
    """

    __slots__ = ()
    nr = Hypercall.xen_version

    def _text(self, op: int, n: int) -> str:
        room = (padding(n))()
        with self._cpu.memory.argument(room) as at:
            self._cpu(self.nr, op, at)
        return text(room)

    def version(self) -> tuple[int, int]:
        """Its version.

        Returns: major and minor: (4, 17).
        """
        result = self(XenVersionOp.version)
        return result >> 16, result & 0xFFFF

    def extraversion(self) -> str:
        """What follows the version.

        Returns: ".7".
        """
        return self._text(XenVersionOp.extraversion, h.EXTRAVERSION_BYTES)

    def compile_info(self) -> CompileInfo:
        """How it was built.

        Struct: xen_compile_info
        Returns: a CompileInfo.
        """
        arg = h.xen_compile_info()
        self._struct(XenVersionOp.compile_info, arg)
        return CompileInfo(
            text(arg.compiler),
            text(arg.compile_by),
            text(arg.compile_domain),
            text(arg.compile_date),
        )

    def capabilities(self) -> str:
        """What guests it runs.

        Returns: names, with a space after each.
        """
        return self._text(XenVersionOp.capabilities, h.CAPABILITIES_BYTES)

    def changeset(self) -> str:
        """What it was built from.

        Returns: a text.
        """
        return self._text(XenVersionOp.changeset, h.CHANGESET_BYTES)

    def platform_parameters(self) -> int:
        """Where Xen's own memory starts.

        Struct: xen_platform_parameters
        Returns: virt_start.
        """
        arg = h.xen_platform_parameters()
        self._struct(XenVersionOp.platform_parameters, arg)
        return int(arg.virt_start)

    def get_features(self, *, submap_idx: int = 0) -> int:
        """What it offers this guest.

        Struct: xen_feature_info
        Returns: a bit for each Feature.
        Raises:
            EINVAL: there is no such submap.
        """
        arg = h.xen_feature_info(submap_idx=submap_idx)
        self._struct(XenVersionOp.get_features, arg)
        return int(arg.submap)

    def pagesize(self) -> int:
        """Bytes of a page.

        Returns: 4096.
        Raises:
            EINVAL: the group was called with an argument that is not 0.
        """
        return self(XenVersionOp.pagesize)

    def guest_handle(self) -> bytes:
        """The handle by which tools know the caller.

        Returns: 16 bytes.
        """
        room = (padding(16))()
        self._struct(XenVersionOp.guest_handle, room)
        return bytes(room)

    def commandline(self) -> str:
        """Xen's command line.

        Returns: "<denied>" if the caller is not privileged.
        """
        return self._text(XenVersionOp.commandline, h.COMMANDLINE_BYTES)

    def build_id(self) -> bytes:
        """Xen's build id.

        Struct: xen_build_id
        Returns: its bytes.
        Raises:
            EPERM: the caller is not privileged.
        """
        size = self(XenVersionOp.build_id)
        room = (padding(4 + size))(*size.to_bytes(4, "little"))
        with self._cpu.memory.argument(room) as at:
            self._cpu(self.nr, XenVersionOp.build_id, at)
        return bytes(room)[4:]


class ConsoleIo(Call):
    """Xen's console.

    Raises:
        EPERM: it is another command than a write, and the caller is not privileged.
        EFAULT: the text can't be read or written.
        ENOSYS: there is no such command.
    """

    __slots__ = ()
    nr = Hypercall.console_io

    def __call__(self, op: int, count: int, buffer: int) -> int:
        """Any command: `buffer` is a guest address."""
        return self._cpu(self.nr, op, count, buffer)

    def write(self, data: bytes | str) -> None:
        """Writes text. Here any domain may; what came before an unreadable byte is written."""
        raw = data.encode() if isinstance(data, str) else bytes(data)
        with self._cpu.memory.argument(raw) as at:
            self(ConsoleOp.write, len(raw), at)

    def read(self, count: int) -> bytes:
        """Reads what was typed at Xen's console, where nobody types.

        Returns: up to `count` bytes.
        Raises:
            E2BIG: `count` is over 2**31 - 1.
        """
        room = (padding(count))()
        with self._cpu.memory.argument(room) as at:
            n = self(ConsoleOp.read, count, at)
        return bytes(room)[:n]


class Multicall(Call):
    """Several hypercalls in one."""

    __slots__ = ()
    nr = Hypercall.multicall

    def __call__(self, calls: Iterable[Sequence[int]]) -> list[int]:
        """Each call is its number and up to six arguments. One that fails does not end it.

        Struct: multicall_entry
        Returns: their results, negative errnos among them; EINVAL for a multicall inside.
        Raises:
            EFAULT: the calls can't be read or written.
        """
        array = (multicall_entry * len(items := list(calls)))()
        for entry, (nr, *args) in zip(array, items, strict=True):
            entry.op = nr
            entry.args[: len(args)] = [a & U64_MASK for a in args]
        with self._cpu.memory.argument(array) as at:
            self._cpu(self.nr, at, len(array))
        return [e.result - (1 << 64) if e.result >> 63 else e.result for e in array]


@dataclass(frozen=True, slots=True)
class ZerolossResult:
    """zeroloss_op's struct afterwards; `mfns` only as many as there was room for."""

    result: int
    domid: int
    status: int
    value: int
    count: int
    mfns: tuple[int, ...]


class ZerolossOp(Call):
    """xenemu's own hypercall, of its zero-loss framework: docs/errno.md has its commands (ZlOp),
    who may make them, and all errnos."""

    __slots__ = ()
    nr = Hypercall.zeroloss_op

    def __call__(
        self,
        cmd: int,
        *,
        domid: int = DOMID_SELF,
        value: int = 0,
        mfns: Sequence[int] = (),
        room: int = 0,
    ) -> ZerolossResult:
        """Hands `mfns` in, and takes up to `room` out.

        Returns: a ZerolossResult.
        Raises:
            EFAULT: the struct can't be read or written.
            EPERM: the caller has no right to this command.
            ENOSYS: there is no such command.
        """
        listed = u64_array([*mfns, *(0,) * (room - len(mfns))])
        with self._cpu.memory.argument(listed) as at:
            arg = zl_arg(domid=domid, value=value, addr=at if len(listed) else 0, count=len(listed))
            with self._cpu.memory.argument(arg) as gva:
                result = self._cpu(self.nr, cmd, gva)
        got = tuple(listed)[: min(arg.count, room)]
        return ZerolossResult(result, arg.domid, arg.status, arg.value, arg.count, got)
