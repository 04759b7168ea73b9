"""The witness: judges a run by the packets at the client's own interface, and nothing else.

A parser of its own (RFC 791, 9293, 7323); nothing of the implementation's records is looked
at. For each connection, told apart by the client's port and the SYN that began it:

  - one SYN/ACK number, acking the client's SYN; no reset, either way
  - a byte of the stream, sent or received, is the same each time it is on the wire
  - nothing acked that was not sent; with a link that keeps order acks, and timestamps that
    the client would have to believe, never go back
  - one FIN at one number, nothing beyond it, and no gap before it
  - lengths and checksums right

Left out: options other than timestamps, IPv6, fragments.
"""

import struct
from dataclasses import dataclass, field
from typing import ClassVar

RECORD = struct.Struct("<QIHH")  # time ns, node, direction, length
RECEIVED, SENT = 0, 1
FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
TCP = 6
_IP = struct.Struct("!BBHHHBBHII")
_TCP = struct.Struct("!HHIIBBHHH")
TIMESTAMP = b"\x01\x01\x08\x0a"  # as our stacks write it: two NOPs first (RFC 7323, appendix A)
FAR = 1 << 20  # bytes: no window is that large
MAX_SAME = 3  # of one kind of complaint about one connection


@dataclass(frozen=True, slots=True)
class Segment:
    """What a packet says."""

    source: int
    source_port: int
    destination: int
    destination_port: int
    seq: int
    ack: int
    flags: int
    timestamp: int | None
    payload: bytes

    @property
    def end(self) -> int:
        """Sequence numbers that it takes."""
        return len(self.payload) + (self.flags & SYN > 0) + (self.flags & FIN > 0)


def sums_to_ones(data: bytes) -> bool:
    """A one's complement sum over it, its checksum included, is -0 (RFC 1071)."""
    padded = data + b"\0" if len(data) % 2 else data
    return int.from_bytes(padded, "big") % 0xFFFF == 0


def parse(packet: bytes) -> Segment | str:
    """A segment, or what is wrong with the packet."""
    if len(packet) < 40:
        return "shorter than its headers"
    version, _, length, _, fragment, _, protocol, _, source, destination = _IP.unpack_from(packet)
    start = (version & 15) * 4
    if version >> 4 != 4 or start < 20 or length != len(packet) or protocol != TCP:
        return "not a TCP packet of that length"
    if fragment & 0x3FFF:
        return "a fragment"
    if not sums_to_ones(packet[:start]):
        return "wrong IP checksum"
    segment = packet[start:]
    if len(segment) < 20:
        return "shorter than its headers"
    pseudo = struct.pack("!IIHH", source, destination, TCP, len(segment))
    if not sums_to_ones(pseudo + segment):
        return "wrong TCP checksum"
    source_port, port, seq, ack, offset, flags, _, _, _ = _TCP.unpack_from(segment)
    body = (offset >> 4) * 4
    if not 20 <= body <= len(segment):
        return "wrong data offset"
    stamp = segment.find(TIMESTAMP, 20, body) if flags & SYN == 0 else -1
    value = int.from_bytes(segment[stamp + 4 : stamp + 8], "big") if stamp >= 0 else None
    return Segment(source, source_port, destination, port, seq, ack, flags, value, segment[body:])


def forward(a: int, b: int) -> int:
    """How far b is ahead of a, modulo 2**32; negative: behind."""
    return (b - a + 0x80000000 & 0xFFFFFFFF) - 0x80000000


@dataclass(slots=True)
class Stream:
    """One direction of a connection; offsets count from the first byte after the SYN."""

    isn: int
    data: bytearray = field(default_factory=bytearray)
    solid: int = 0  # no gap before this offset
    known: bytearray = field(default_factory=bytearray)  # beyond `solid`: 1 where there is a byte
    fin: int | None = None  # its offset

    def offset(self, seq: int) -> int:
        """Of a sequence number near the stream's end."""
        near = self.isn + 1 + self.solid
        return self.solid + forward(near & 0xFFFFFFFF, seq)

    def add(self, at: int, payload: bytes) -> int | None:
        """Bytes on the wire; the offset of the first that was another one before."""
        end = at + len(payload)
        if at == len(self.data) == self.solid:
            self.data += payload
            self.solid = end
            return None
        if end <= self.solid:
            return None if self.data[at:end] == payload else at + _first(self.data[at:end], payload)
        missing = max(0, end - len(self.data))
        self.data += bytes(missing)
        self.known += bytes(len(self.data) - len(self.known))
        for i in range(at, end):
            if (i < self.solid or self.known[i]) and self.data[i] != payload[i - at]:
                return i
        self.data[at:end] = payload
        self.known[at:end] = b"\1" * len(payload)
        if at <= self.solid:
            gap = self.known.find(0, self.solid)
            self.solid = len(self.known) if gap < 0 else gap
        return None

    @property
    def complete(self) -> bool:
        """All bytes up to its FIN were there."""
        return self.fin is not None and self.solid == self.fin


def _first(a: bytes | bytearray, b: bytes) -> int:
    return next(i for i, (x, y) in enumerate(zip(a, b, strict=True)) if x != y)


@dataclass(slots=True)
class Connection:
    """What the client's interface has seen of one connection."""

    name: str
    sent: Stream
    in_order: bool
    reused: bool = False  # its port had another connection before
    received: Stream | None = None
    acked: int = 0  # offset in `sent`, a FIN counted
    stamp: int | None = None
    size: int = 0  # bytes that came
    first_byte: int | None = None  # when
    last_byte: int = 0
    sizes: list[tuple[int, int]] = field(default_factory=list)  # when, how much had come by then
    wrong: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    own: ClassVar[str] = "client"  # whose interface it is

    def client_says(self, segment: Segment) -> None:
        """A segment of the client."""
        if segment.flags & RST:
            if self.received is not None and not self.over:  # else: a stray was answered
                self._complain(self.broken, f"the {self.own} sent a reset")
            return
        if not segment.flags & SYN:
            self._carry(self.sent, segment, f"the {self.own}'s")

    def service_says(self, segment: Segment) -> None:
        """A segment that reached the client."""
        if segment.flags & RST:
            if not self.over:
                self._complain(self.broken, f"a reset reached the {self.own}")
            return
        if segment.flags & SYN:
            self._handshake(segment)
            return
        if self.received is None:
            return  # a stray of an older connection
        self._carry(self.received, segment, "the service's")
        if segment.flags & ACK:
            self._acks(segment)
        if segment.timestamp is not None:
            self._stamped(segment.timestamp)

    def received_by(self, time: int) -> bytes:
        """What had come by then."""
        size = max((size for at, size in self.sizes if at <= time), default=0)
        return b"" if self.received is None else bytes(self.received.data[:size])

    def heard(self, time: int) -> None:
        """A segment has come; notes when bytes came for the first, and for the last time."""
        size = 0 if self.received is None else len(self.received.data)
        if size > self.size:
            self.first_byte = time if self.first_byte is None else self.first_byte
            self.last_byte = time
            self.sizes.append((time, size))
        self.size = size

    @property
    def over(self) -> bool:
        """Both directions ended and arrived: what comes now is for a closed port."""
        sent_all = self.sent.fin is not None and self.acked > self.sent.fin
        return sent_all and self.received is not None and self.received.complete

    def _handshake(self, segment: Segment) -> None:
        if segment.ack != (self.sent.isn + 1) & 0xFFFFFFFF or not segment.flags & ACK:
            self._complain(self.broken, "a SYN that does not ack the client's")
        if self.received is None:
            self.received = Stream(segment.seq)
        elif self.received.isn != segment.seq:
            self._complain(self.broken, "two handshakes")

    def _carry(self, stream: Stream, segment: Segment, whose: str) -> None:
        at, payload = stream.offset(segment.seq), segment.payload
        if self.reused and abs(at - stream.solid) > FAR:
            return  # a stray of the older connection; TCP sees that too
        if payload:
            if at < 0:
                self._complain(self.wrong, f"{whose} bytes begin before the stream, at {at}")
                return
            differs = stream.add(at, payload)
            if differs is not None:
                self._complain(self.wrong, f"{whose} byte {differs} is another one than before")
        end = at + len(payload)
        if stream.fin is not None and end > stream.fin and payload:
            self._complain(self.wrong, f"{whose} bytes go beyond the FIN at {stream.fin}")
        if segment.flags & FIN:
            if stream.fin is None:
                stream.fin = end
                if len(stream.data) > end:
                    self._complain(self.wrong, f"{whose} FIN at {end} cuts the stream off")
            elif stream.fin != end:
                self._complain(self.wrong, f"{whose} FIN at {end} and at {stream.fin}")

    def _acks(self, segment: Segment) -> None:
        at = self.sent.offset(segment.ack)
        most = len(self.sent.data) + (self.sent.fin is not None)
        if at > most:
            self._complain(self.wrong, f"acked up to {at}, but only {most} was sent")
        # A TCP that took over acks the stream before it hears of its end again: harmless.
        again = self.sent.fin is not None and at == self.sent.fin
        if self.in_order and at < self.acked and not again:
            self._complain(self.broken, f"the ack went back from {self.acked} to {at}")
        self.acked = max(self.acked, at)

    def _stamped(self, value: int) -> None:
        if self.in_order and self.stamp is not None and forward(self.stamp, value) < 0:
            self._complain(self.broken, f"the timestamp went back from {self.stamp} to {value}")
        self.stamp = value

    def end(self) -> None:
        """Nothing more will come."""
        if self.received is None:
            self._complain(self.broken, "no handshake")
            return
        for stream, whose in ((self.sent, self.own), (self.received, "service")):
            if not stream.complete:
                fin = "no FIN" if stream.fin is None else f"FIN at {stream.fin}"
                self._complain(self.broken, f"{whose}: bytes up to {stream.solid}, {fin}")

    def _complain(self, where: list[str], text: str) -> None:
        if len(where) < MAX_SAME:
            where.append(f"{self.name}: {text}")


class Witness:
    """Follows the connections of one client node to one service."""

    def __init__(self, node: int, in_order: bool) -> None:
        """`in_order`: the client's link neither loses nor reorders nor doubles packets."""
        self._node = node
        self._in_order = in_order
        self._open: dict[tuple[int, int, int], Connection] = {}
        self.connections: list[Connection] = []
        self._malformed: list[str] = []

    def feed(self, records: bytes) -> None:
        """Records of a capture (RECORD, then the packet), in order of time."""
        at = 0
        while at < len(records):
            time, node, direction, length = RECORD.unpack_from(records, at)
            at += RECORD.size + length
            if node == self._node:
                self.see(time, direction, records[at - length : at])

    def see(self, time: int, direction: int, packet: bytes) -> None:
        """One packet at the client's interface."""
        segment = parse(packet)
        if isinstance(segment, str):
            self._malformed.append(f"at {time} ns: {segment}")
        elif direction == SENT:
            self._sent(segment)
        else:
            connection = self._receiver(segment)
            if connection is None:
                self._malformed.append(f"at {time} ns: of no connection of the client's")
            else:
                connection.service_says(segment)
                connection.heard(time)

    def _receiver(self, segment: Segment) -> Connection | None:
        """Whose segment has come."""
        return self._open.get((segment.destination_port, segment.source, segment.source_port))

    def _sent(self, segment: Segment) -> None:
        key = (segment.source_port, segment.destination, segment.destination_port)
        connection = self._open.get(key)
        begins = segment.flags & (SYN | ACK) == SYN
        if begins and (connection is None or connection.sent.isn != segment.seq):
            name = f"port {segment.source_port}"
            reused = connection is not None
            connection = Connection(name, Stream(segment.seq), self._in_order, reused)
            self._open[key] = connection
            self.connections.append(connection)
        if connection is not None:
            connection.client_says(segment)

    @property
    def over(self) -> bool:
        """All connections have come to their ends."""
        return all(connection.over for connection in self.connections)

    def verdict(self) -> tuple[list[str], list[str]]:
        """After the end: complaints about bytes, and complaints about connections."""
        wrong, broken = list(self._malformed[:MAX_SAME]), []
        for connection in self.connections:
            connection.end()
            wrong += connection.wrong
            broken += connection.broken
        return wrong, broken
