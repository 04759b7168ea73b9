"""The witness against conversations built with scapy: a good one, and each property broken once."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from scapy.layers.inet import IP, TCP
from scapy.packet import Raw

from xenemu.lab.end_witness import BothWays
from xenemu.lab.upgraded import whole_answers
from xenemu.lab.witness import RECEIVED, RECORD, SENT, Stream, forward, parse

CLIENT, SERVICE = "10.0.1.2", "10.0.0.1"
NODE, OTHER_NODE = 0x10001, 2
C, S = 0xFFFFFFF0, 0x7FFFFF00  # initial numbers: one wraps, one changes its sign
REQUEST = b"GET /file HTTP/1.1\r\n\r\n" * 3
ANSWER = random.Random(1).randbytes(5000)
SEGMENT = 1000


@dataclass
class Talk:
    """Packets at the client's interface, and what a witness says of them."""

    packets: list[tuple[int, bytes]] = field(default_factory=list)
    in_order: bool = True

    def packet(
        self, direction: int, flags: str, seq: int, ack: int, data: bytes, **extra: Any
    ) -> bytes:
        ports = (
            {"sport": 40000, "dport": 80} if direction == SENT else {"sport": 80, "dport": 40000}
        )
        ends = (CLIENT, SERVICE) if direction == SENT else (SERVICE, CLIENT)
        stamp = extra.pop("stamp", None)
        if stamp is not None:
            extra["options"] = [("NOP", None), ("NOP", None), ("Timestamp", (stamp, 0))]
        wire = (
            IP(src=ends[0], dst=ends[1])
            / TCP(flags=flags, seq=seq & 0xFFFFFFFF, ack=ack & 0xFFFFFFFF, **ports, **extra)
            / Raw(data)
        )
        return bytes(wire)

    def client(self, flags: str, at: int, ack: int, data: bytes = b"", **extra: Any) -> None:
        """Offsets, not sequence numbers; -1 is the SYN's."""
        self.packets.append(
            (SENT, self.packet(SENT, flags, C + 1 + at, S + 1 + ack, data, **extra))
        )

    def service(self, flags: str, at: int, ack: int, data: bytes = b"", **extra: Any) -> None:
        packet = self.packet(RECEIVED, flags, S + 1 + at, C + 1 + ack, data, **extra)
        self.packets.append((RECEIVED, packet))

    def open(self) -> "Talk":
        self.client("S", -1, -S - 1)
        self.service("SA", -1, 0)
        self.client("A", 0, 0)
        self.client("PA", 0, 0, REQUEST)
        self.service("A", 0, len(REQUEST), stamp=100)
        return self

    def answer(self) -> "Talk":
        for at in range(0, len(ANSWER), SEGMENT):
            data = ANSWER[at : at + SEGMENT]
            self.service("A", at, len(REQUEST), data, stamp=101 + at)
            self.client("A", len(REQUEST), at + len(data))
        return self

    def close(self) -> "Talk":
        end, sent = len(ANSWER), len(REQUEST)
        self.service("FA", end, sent)
        self.client("FA", sent, end + 1)
        self.service("A", end + 1, sent + 1)
        return self

    def verdict(self) -> tuple[list[str], list[str]]:
        witness = BothWays(NODE, self.in_order)
        noise = self.packet(SENT, "R", 1, 1, b"")
        records = b""
        for direction, packet in self.packets:
            records += RECORD.pack(0, NODE, direction, len(packet)) + packet
            records += RECORD.pack(0, OTHER_NODE, direction, len(noise)) + noise
        half = records.index(RECORD.pack(0, NODE, RECEIVED, len(self.packets[1][1])))
        witness.feed(records[:half])
        witness.feed(records[half:])
        return witness.verdict()


def test_a_good_conversation() -> None:
    talk = Talk().open().answer().close()
    assert talk.verdict() == ([], [])


def test_loss_reordering_and_repetition_are_no_violation() -> None:
    talk = Talk(in_order=False).open()
    order = list(range(0, len(ANSWER), SEGMENT)) * 2
    random.Random(2).shuffle(order)
    for at in order:
        talk.service("A", at, len(REQUEST), ANSWER[at : at + SEGMENT + 300], stamp=at)
    talk.service("SA", -1, 0)
    talk.client("PA", 10, 0, REQUEST[10:])
    talk.service("A", 0, 5)  # an ack overtaken by others
    talk.close()
    talk.service("FA", len(ANSWER), len(REQUEST) + 1)
    assert talk.verdict() == ([], [])


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def other_byte(talk: Talk) -> None:
    talk.service("A", 1000, len(REQUEST), flipped(ANSWER[1000:2000], 77))


def other_byte_in_overlap(talk: Talk) -> None:
    talk.service("A", 4500, len(REQUEST), flipped(ANSWER[4500:], 3) + b"more")


def other_byte_of_client(talk: Talk) -> None:
    talk.client("PA", 0, 0, flipped(REQUEST, 5))


def second_handshake(talk: Talk) -> None:
    talk.packets.append((RECEIVED, talk.packet(RECEIVED, "SA", S + 9, C + 1, b"")))


def wrong_handshake(talk: Talk) -> None:
    talk.service("SA", -1, 3)


def reset(talk: Talk) -> None:
    talk.service("RA", 100, len(REQUEST))


def reset_by_client(talk: Talk) -> None:
    talk.client("R", len(REQUEST), 0)


def ack_of_the_unsent(talk: Talk) -> None:
    talk.service("A", 0, len(REQUEST) + 1)


def ack_goes_back(talk: Talk) -> None:
    talk.service("A", 0, len(REQUEST) - 1)


def timestamp_goes_back(talk: Talk) -> None:
    talk.service("A", 0, len(REQUEST), stamp=50)


def early_fin(talk: Talk) -> None:
    talk.service("FA", 4000, len(REQUEST))


def bytes_beyond_fin(talk: Talk) -> None:
    talk.service("FA", len(ANSWER), len(REQUEST))
    talk.service("A", len(ANSWER), len(REQUEST), b"more")


def bytes_before_the_stream(talk: Talk) -> None:
    talk.service("A", -5, len(REQUEST), b"early")


def bad_checksum(talk: Talk) -> None:
    packet = talk.packet(RECEIVED, "A", S + 1, C + 1, b"x", chksum=1)
    talk.packets.append((RECEIVED, packet))


def stranger(talk: Talk) -> None:
    packet = bytes(IP(src=SERVICE, dst=CLIENT) / TCP(sport=80, dport=9, flags="A"))
    talk.packets.append((RECEIVED, packet))


WRONG, BROKEN = 0, 1
VIOLATIONS: list[tuple[Callable[[Talk], None], int, str]] = [
    (other_byte, WRONG, "the service's byte 1077 is another one"),
    (other_byte_in_overlap, WRONG, "the service's byte 4503 is another one"),
    (other_byte_of_client, WRONG, "the client's byte 5 is another one"),
    (second_handshake, BROKEN, "two handshakes"),
    (wrong_handshake, BROKEN, "a SYN that does not ack"),
    (reset, BROKEN, "a reset reached the client"),
    (reset_by_client, BROKEN, "the client sent a reset"),
    (ack_of_the_unsent, WRONG, f"acked up to {len(REQUEST) + 1}"),
    (ack_goes_back, BROKEN, "the ack went back"),
    (timestamp_goes_back, BROKEN, "the timestamp went back"),
    (early_fin, WRONG, "FIN at 4000 cuts the stream off"),
    (bytes_beyond_fin, WRONG, "go beyond the FIN"),
    (bytes_before_the_stream, WRONG, "begin before the stream"),
    (bad_checksum, WRONG, "wrong TCP checksum"),
    (stranger, WRONG, "of no connection"),
]


@pytest.mark.parametrize(
    ("violate", "where", "text"), VIOLATIONS, ids=[v[0].__name__ for v in VIOLATIONS]
)
def test_each_violation_is_reported(violate: Callable[[Talk], None], where: int, text: str) -> None:
    talk = Talk().open().answer()
    violate(talk)
    talk.close()
    verdict = talk.verdict()
    assert any(text in complaint for complaint in verdict[where]), verdict


def test_a_gap_is_reported() -> None:
    talk = Talk().open()
    talk.service("A", 0, len(REQUEST), ANSWER[:2000])
    talk.service("A", 2001, len(REQUEST), ANSWER[2001:])
    wrong, broken = talk.close().verdict()
    assert wrong == []
    assert broken == [f"port 40000: service: bytes up to 2000, FIN at {len(ANSWER)}"]


def test_a_connection_without_an_end_is_reported() -> None:
    _, broken = Talk().open().answer().verdict()
    assert [text.split(": ")[1] for text in broken] == ["client", "service"]


def test_a_port_that_is_used_again_is_another_connection() -> None:
    talk = Talk().open().answer().close()
    packets = talk.packets
    again = Talk(in_order=False)
    for direction, packet in packets:
        moved = IP(packet)
        moved[TCP].seq = (moved[TCP].seq + 99_000) & 0xFFFFFFFF
        moved[TCP].ack = (moved[TCP].ack + 99_000) & 0xFFFFFFFF
        del moved[TCP].chksum
        again.packets.append((direction, bytes(moved)))
    again.packets = packets + again.packets
    assert again.verdict() == ([], [])


@pytest.mark.parametrize("length", [0, 19, 39])
def test_short_packets_are_malformed(length: int) -> None:
    packet = Talk().packet(SENT, "A", 1, 1, b"data")
    assert isinstance(parse(packet[:length]), str)


def test_parse_against_scapy() -> None:
    packet = Talk().packet(SENT, "FPA", 7, 9, b"odd", stamp=0xDEADBEEF)
    segment = parse(packet)
    assert not isinstance(segment, str)
    assert (segment.seq, segment.ack, segment.flags) == (7, 9, 0x19)
    assert (segment.source_port, segment.destination_port) == (40000, 80)
    assert (segment.timestamp, segment.payload, segment.end) == (0xDEADBEEF, b"odd", 4)


def test_forward() -> None:
    assert forward(0xFFFFFFFF, 3) == 4
    assert forward(3, 0xFFFFFFFF) == -4


def test_a_stream_in_random_pieces_is_whole() -> None:
    rng = random.Random(4)
    stream = Stream(isn=0xFFFFFF00)
    while stream.solid < len(ANSWER):
        at = rng.randrange(len(ANSWER))
        piece = ANSWER[at : at + rng.randrange(1, 900)]
        assert stream.add(stream.offset((0xFFFFFF01 + at) & 0xFFFFFFFF), piece) is None
    assert bytes(stream.data) == ANSWER


def opened_by_service() -> Talk:
    talk = Talk()
    talk.service("S", -1, -C - 1)
    talk.service("S", -1, -C - 1)  # once more: it was lost further on
    talk.client("SA", -1, 0)
    talk.service("A", 0, 0)
    talk.client("PA", 0, 0, REQUEST)
    talk.service("A", 0, len(REQUEST), stamp=100)
    return talk.answer()


def test_a_connection_that_the_service_opened() -> None:
    assert opened_by_service().close().verdict() == ([], [])


@pytest.mark.parametrize(
    ("flags", "at", "text"),
    [
        ("S", 4000, "a second SYN of the service"),  # a SYN of its own by who took over
        ("SA", -1, "a second SYN of the service"),
        ("R", 100, "a reset reached the client"),
    ],
)
def test_a_connection_that_the_service_opened_is_not_opened_anew(
    flags: str, at: int, text: str
) -> None:
    talk = opened_by_service()
    talk.service(flags, at, len(REQUEST))
    assert any(text in complaint for complaint in talk.close().verdict()[BROKEN])


def test_a_connection_of_the_service_that_nobody_answered() -> None:
    talk = Talk().open().answer().close()
    talk.service("S", 100_000, -C - 1)
    assert talk.verdict()[BROKEN] == ["client's port 40000 from 80: no handshake"]


def test_ports_that_the_service_uses_again() -> None:
    talk = opened_by_service().close()
    other = opened_by_service().close()
    for direction, packet in other.packets:
        again = IP(packet)
        moved = "seq" if direction == RECEIVED else "ack"
        if again[TCP].flags != "S" or moved == "seq":
            setattr(again[TCP], moved, getattr(again[TCP], moved) + 500_000 & 0xFFFFFFFF)
        del again[TCP].chksum, again.chksum
        talk.packets.append((direction, bytes(again)))
    assert talk.verdict() == ([], [])


GET, HEAD = b"GET / HTTP/1.1\r\n\r\n", b"HEAD / HTTP/1.1\r\n\r\n"
HEADER = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"


@pytest.mark.parametrize(
    ("requests", "answers", "whole"),
    [
        (GET, b"", True),
        (GET, HEADER + b"12345", True),
        (GET + HEAD + GET, HEADER + b"12345" + HEADER + HEADER + b"12345", True),
        (GET + GET, HEADER + b"12345", True),
        (GET + HEAD, HEADER + b"12345" + HEADER, True),
        (GET, HEADER[:-1], False),
        (GET, HEADER, False),
        (GET, HEADER + b"1234", False),
        (GET, HEADER + b"123456", False),
        (GET, b"HTTP/1.1 200 OK\r\n\r\n", False),
        (HEAD, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", False),
    ],
)
def test_whether_answers_are_whole(requests: bytes, answers: bytes, whole: bool) -> None:
    assert whole_answers(requests, answers) is whole
