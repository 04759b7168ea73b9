"""A domain's grant table, mapped into its memory: what it lets others do with its frames."""

from __future__ import annotations

import struct

from xenemu import Domain
from xenemu.xen import PAGE_SIZE, GrantFlag

_ENTRY = struct.Struct("<HHI")  # struct grant_entry_v1: flags, domid, frame
_FLAGS = struct.Struct("<H")
MAP_RW = 0x67  # present, writable, user, accessed, dirty
RESERVED = 8  # the first entries are kept for Xen's tools


class GrantTable:
    def __init__(self, domain: Domain) -> None:
        self._domain = domain
        (frame,) = domain.hypercall.grant_table_op.setup_table(nr_frames=1)
        self._at = domain.alloc_page()
        domain.hypercall.update_va_mapping(self._at, frame << 12 | MAP_RW)
        self._free = list(range(PAGE_SIZE // _ENTRY.size - 1, RESERVED - 1, -1))

    def grant(self, gva: int, domid: int, *, readonly: bool = False) -> int:
        """Lets `domid` use the page at this address; the reference to tell it."""
        ref = self._free.pop()
        flags = GrantFlag.permit_access | (GrantFlag.readonly if readonly else 0)
        entry = self._at + ref * _ENTRY.size
        # The flags come last: they make the entry valid.
        self._domain.write(entry, _ENTRY.pack(0, domid, self._domain.mfn_at(gva)))
        self._domain.write(entry, _FLAGS.pack(flags))
        return ref

    def end(self, ref: int) -> bool:
        """Takes the page back; False while the other side has it mapped."""
        entry = self._at + ref * _ENTRY.size
        (flags,) = _FLAGS.unpack(self._domain.read(entry, 2))
        if flags & (GrantFlag.reading | GrantFlag.writing):
            return False
        self._domain.write(entry, _FLAGS.pack(0))
        self._free.append(ref)
        return True
