"""The witness at an end server: a good conversation, and each property broken once."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from scapy.layers.inet import IP, TCP
from scapy.packet import Raw

from xenemu.lab.clients import Report
from xenemu.lab.end_servers import Asked
from xenemu.lab.end_witness import EndWitness
from xenemu.lab.witness import RECEIVED, SENT

SERVICE, END = "10.0.0.1", "10.0.1.18"
S, E = 0xFFFFFFF0, 0x7FFFFF00
REQUEST = b"GET /count/1 HTTP/1.1\r\nHost: x\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1"


@dataclass
class Talk:
    """Packets at the end server's interface, and what the witness says of them."""

    packets: list[tuple[int, bytes]] = field(default_factory=list)
    port: int = 40_000

    def service(self, flags: str, at: int, ack: int, data: bytes = b"", isn: int = S) -> None:
        """Offsets, not sequence numbers; -1 is the SYN's."""
        self._add(RECEIVED, flags, isn + 1 + at, E + 1 + ack, data)

    def end(self, flags: str, at: int, ack: int, data: bytes = b"", isn: int = E) -> None:
        self._add(SENT, flags, isn + 1 + at, S + 1 + ack, data)

    def _add(self, direction: int, flags: str, seq: int, ack: int, data: bytes) -> None:
        ends, ports = (SERVICE, END), (self.port, 80)
        if direction == SENT:
            ends, ports = ends[::-1], ports[::-1]
        packet = (
            IP(src=ends[0], dst=ends[1])
            / TCP(
                sport=ports[0], dport=ports[1], flags=flags,
                seq=seq & 0xFFFFFFFF, ack=ack & 0xFFFFFFFF if "A" in flags else 0,
            )
            / Raw(data)
        )  # fmt: skip
        self.packets.append((direction, bytes(packet)))

    def open(self) -> "Talk":
        self.service("S", -1, 0)
        self.service("S", -1, 0)  # once more: that is no second connection
        self.end("SA", -1, 0)
        self.service("A", 0, 0)
        self.service("PA", 0, 0, REQUEST)
        self.end("A", 0, len(REQUEST))
        return self

    def close(self) -> "Talk":
        sent, got = len(REQUEST), len(ANSWER)
        self.end("PA", 0, sent, ANSWER)
        self.service("A", sent, got)
        self.service("FA", sent, got)
        self.end("FA", got, sent + 1)
        self.service("A", sent + 1, got + 1)
        return self

    def verdict(self) -> tuple[list[str], list[str]]:
        witness = EndWitness(1, True)
        for time, (direction, packet) in enumerate(self.packets):
            witness.see(time, direction, packet)
        return witness.verdict()


def test_a_good_conversation() -> None:
    assert Talk().open().close().verdict() == ([], [])


def test_a_port_that_is_used_again_is_another_connection() -> None:
    talk = Talk().open().close()
    talk.service("S", -1, 0, isn=S + 99_000)
    wrong, broken = talk.verdict()
    assert not wrong and broken == ["end server's port 80 from 40000: no handshake"]


def opened_anew(talk: Talk) -> None:
    talk.service("S", -1, 0, isn=S + 5)


def other_handshake(talk: Talk) -> None:
    talk.end("SA", -1, 0, isn=E + 5)


def reset(talk: Talk) -> None:
    talk.service("RA", len(REQUEST), 0)


def reset_by_the_end_server(talk: Talk) -> None:
    talk.end("RA", 0, len(REQUEST))


def another_byte(talk: Talk) -> None:
    talk.service("PA", 0, 0, REQUEST.replace(b"/1", b"/2"))


def early_fin(talk: Talk) -> None:
    talk.service("FA", 5, 0)


def ack_of_the_unsent(talk: Talk) -> None:
    talk.service("A", len(REQUEST), 1)


def same_request_elsewhere(talk: Talk) -> None:
    talk.port += 1
    talk.open().close()
    talk.port -= 1


def same_request_again(talk: Talk) -> None:
    talk.service("PA", len(REQUEST), 0, REQUEST)


WRONG, BROKEN = 0, 1
VIOLATIONS: list[tuple[Callable[[Talk], None], int, str]] = [
    (opened_anew, BROKEN, "a second SYN of the service"),
    (other_handshake, BROKEN, "two handshakes"),
    (reset, BROKEN, "a reset reached the end server"),
    (reset_by_the_end_server, BROKEN, "the end server sent a reset"),
    (another_byte, WRONG, "the service's byte 11 is another one"),
    (early_fin, WRONG, "FIN at 5 cuts the stream off"),
    (ack_of_the_unsent, WRONG, "acked up to 1, but only 0"),
    (same_request_elsewhere, WRONG, "again GET /count/1"),
    (same_request_again, WRONG, "again GET /count/1"),
]


@pytest.mark.parametrize(
    ("violate", "where", "text"), VIOLATIONS, ids=[v[0].__name__ for v in VIOLATIONS]
)
def test_each_violation_is_reported(violate: Callable[[Talk], None], where: int, text: str) -> None:
    talk = Talk().open()
    violate(talk)
    verdict = talk.close().verdict()
    assert any(text in complaint for complaint in verdict[where]), verdict


def test_a_connection_that_is_left_behind_is_reported() -> None:
    """As after a takeover that opens a new one."""
    _, broken = Talk().open().verdict()
    assert [text.split(": ")[1] for text in broken] == ["end server", "service"]


def test_an_end_server_reports_what_it_is_asked_twice() -> None:
    asked = Asked(Report())
    assert [asked.note("/count/1"), asked.note("/count/2")] == [1, 2]
    assert not asked.report.wrong
    assert asked.note("/count/1") == 3
    assert asked.report.wrong == ["an end server was asked twice for /count/1"]
