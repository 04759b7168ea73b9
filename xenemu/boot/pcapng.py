"""pcapng files: interfaces with names, IPv4 packets with nanoseconds, direction and comments.

Blocks and options are those of the IETF draft draft-ietf-opsawg-pcapng: a section header,
an interface description before the first packet of each interface, enhanced packet blocks.
"""

import struct
from collections.abc import Iterable
from io import FileIO

SECTION, INTERFACE, PACKET = 0x0A0D0D0A, 1, 6
BYTE_ORDER_MAGIC = 0x1A2B3C4D
LENGTH_UNKNOWN = (1 << 64) - 1
LINKTYPE_RAW = 101
COMMENT = 1  # in any block
USER_APPLICATION = 4  # of a section
IF_NAME, IF_TSRESOL = 2, 9
PACKET_FLAGS, INBOUND, OUTBOUND = 2, 1, 2
NANOSECONDS = b"\x09"
END_OF_OPTIONS = bytes(4)
PADDING = (b"", bytes(3), bytes(2), bytes(1))  # by the last two bits of a length
HEAD = struct.Struct("<IIIIIII")  # type, length, interface, time high and low, captured, original


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + value + PADDING[len(value) & 3]


FLAGS = tuple(
    _option(PACKET_FLAGS, struct.pack("<I", direction)) for direction in (INBOUND, OUTBOUND)
)


class PcapngWriter:
    """Writes one section into an unbuffered file that the caller owns.

    Only whole blocks are written, by `flush`: whoever ends the process leaves a file that can
    be read. `pending` bytes wait for it.
    """

    def __init__(self, file: FileIO, application: str) -> None:
        self._file = file
        self._blocks = bytearray()
        self._interfaces = 0
        body = struct.pack("<IHHQ", BYTE_ORDER_MAGIC, 1, 0, LENGTH_UNKNOWN)
        self._block(SECTION, body + _option(USER_APPLICATION, application.encode()))

    @property
    def pending(self) -> int:
        """Bytes not written yet."""
        return len(self._blocks)

    def flush(self) -> None:
        """Writes all. Raises what the file raises."""
        blocks, self._blocks = memoryview(self._blocks), bytearray()
        while blocks:
            blocks = blocks[self._file.write(blocks) :]

    def interface(self, name: str) -> int:
        """A new interface of IP packets without a link header; its number."""
        body = struct.pack("<HHI", LINKTYPE_RAW, 0, 0) + _option(IF_NAME, name.encode())
        self._block(INTERFACE, body + _option(IF_TSRESOL, NANOSECONDS))
        self._interfaces += 1
        return self._interfaces - 1

    def packet(
        self, interface: int, time: int, data: bytes, sent: bool, comments: Iterable[str] = ()
    ) -> None:
        """A packet, `time` in nanoseconds since 1970, sent or received by that interface."""
        options = FLAGS[sent]
        for comment in comments:
            options += _option(COMMENT, comment.encode())
        size = len(data)
        length = HEAD.size + size + -size % 4 + len(options) + 8
        head = HEAD.pack(PACKET, length, interface, time >> 32, time & 0xFFFFFFFF, size, size)
        tail = END_OF_OPTIONS + length.to_bytes(4, "little")
        self._blocks += b"".join((head, data, PADDING[size & 3], options, tail))

    def _block(self, kind: int, body: bytes) -> None:
        length = len(body) + 16
        head = struct.pack("<II", kind, length)
        self._blocks += head + body + END_OF_OPTIONS + struct.pack("<I", length)
