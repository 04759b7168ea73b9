"""Captures the packets of a System into a pcapng file, while it runs.

Each node has its own interface: what its TCP sends, and what it is given. The first packet at or
after an event of a recovery carries that event as a comment; so does the first at each client.
"""

import errno
import os
import struct
import time
from io import FileIO
from pathlib import Path
from typing import Self

from vzs import describe
from xenemu import __version__
from xenemu.boot.pcapng import PcapngWriter
from xenemu.boot.system import System
from xenemu.guest.kernel import DEFAULT_EPOCH
from xenemu.machine import HOST
from xenemu.vmm import Event

NS = 1_000_000_000
FLUSH_NS = NS // 5
PENDING_BYTES = 1 << 20
RECORD = struct.Struct("<QIHH")  # csrc/machine_capture.c
COMMENTED = frozenset(
    {
        "crash-injected",
        "fault",
        "fenced",
        "path-switched",
        "connections-reestablished",
        "recovery-done",
        "recovery-failed",
        "no-backup",
        "connection-unprotected",
        "connection-reset",
        "connection-diverged",
    }
)


class Interface:
    """One node's: its number in the file, and the first comment that it has not got."""

    __slots__ = ("comment", "is_host", "number")

    def __init__(self, number: int, is_host: bool, comment: int) -> None:
        self.number = number
        self.is_host = is_host
        self.comment = comment


class Capture:
    """A capture from `with` to its end. The file is good up to the last flush, 0.2 s ago at most.

    A file that cannot be written any more ends the capture, not the service: the event
    `capture-failed` says so at once, and leaving the `with` raises the OSError.
    """

    def __init__(self, system: System, path: Path) -> None:
        self._system = system
        self._path = path
        self._interfaces: dict[int, Interface] = {}
        self._comments: list[tuple[int, str]] = []
        self._commented = 0  # comments that a packet has
        self._events = system.log.count
        self._flushed = 0
        self._error: OSError | None = None

    def __enter__(self) -> Self:
        """Begins. Raises OSError: the file cannot be made, EBUSY when another capture runs."""
        machine = self._system.machine
        if machine.tap is not None:
            raise OSError(errno.EBUSY, "packets are being captured already")
        self._file = FileIO(self._path, "w")
        try:
            self._writer = PcapngWriter(self._file, f"xenemu {__version__}")
            self._writer.flush()
            machine.core.capture(True)
        except BaseException:
            self._file.close()
            raise
        real_start = time.time_ns() - machine.core.clock
        self._epoch = real_start if machine.real else DEFAULT_EPOCH * NS
        machine.tap = self._take
        return self

    def __exit__(self, *exc: object) -> None:
        if self._error is None:
            self._take()
        if self._error is None:
            self._finish()
        if self._error is not None:
            raise self._error

    def _finish(self) -> None:
        """The rest of the packets is in the file."""
        lost = self._system.machine.core.capture_dropped
        try:
            self._writer.flush()
        except OSError as error:
            self._fail(error)
            return
        self._close()
        if lost:
            self._error = OSError(errno.ENOBUFS, f"{lost} packets were not captured")

    def _fail(self, error: OSError) -> None:
        self._error = OSError(error.errno, error.strerror, str(self._path))
        self._close()
        core = self._system.machine.core
        details: dict[str, int | str] = {"reason": os.strerror(error.errno or errno.EIO)}
        self._system.log.append(Event(core.clock, "capture-failed", self._system.control, details))

    def _close(self) -> None:
        self._file.close()
        self._system.machine.tap = None
        self._system.machine.core.capture(False)

    def _take(self) -> None:
        """Writes what was captured since the last call."""
        core = self._system.machine.core
        try:
            self._follow_events()
            self._write(core.captured())
            if self._writer.pending >= PENDING_BYTES or core.clock - self._flushed >= FLUSH_NS:
                self._writer.flush()
                self._flushed = core.clock
        except OSError as error:
            self._fail(error)

    def _write(self, records: bytes) -> None:
        at, end, put = 0, len(records), self._writer.packet
        while at < end:
            stamp, node, direction, length = RECORD.unpack_from(records, at)
            at += RECORD.size
            interface = self._interfaces.get(node) or self._open(node)
            packet = records[at : at + length]
            comments = (
                self._due(interface, stamp) if interface.comment < len(self._comments) else ()
            )
            put(interface.number, self._epoch + stamp, packet, direction == 1, comments)
            at += length

    def _open(self, node: int) -> Interface:
        """The interface of a node that is seen for the first time."""
        number = self._writer.interface(self._system.node_name(node))
        interface = Interface(number, node >= HOST, self._commented)
        self._interfaces[node] = interface
        return interface

    def _due(self, interface: Interface, stamp: int) -> list[str]:
        """The comments of a packet."""
        first = interface.comment if interface.is_host else self._commented
        last = first
        while last < len(self._comments) and self._comments[last][0] <= stamp:
            last += 1
        interface.comment = last
        self._commented = max(self._commented, last)
        return [text for _, text in self._comments[first:last]]

    def _follow_events(self) -> None:
        log = self._system.log
        if log.count == self._events:
            return
        for event in log.since(self._events):
            if event.name in COMMENTED:
                text = f"{event.time / 1e9:.6f} s d{event.domid} {describe(event)}"
                self._comments.append((event.time, text))
        self._events = log.count
