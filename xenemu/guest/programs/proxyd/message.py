"""Heads of HTTP/1.1 messages: what they say, and how they are passed on (RFC 9110, RFC 9112).

Strict where two readers of the same bytes could find different messages in them. A body is told
by a number: its length, CHUNKED or UNTIL_END. Pure: bytes in, values out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

CHUNKED, UNTIL_END = -1, -2

Fields = list[tuple[bytes, bytes]]

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_FIELD = re.compile(rb"(" + _TOKEN + rb"):[ \t]*([^\0\r\n]*?)[ \t]*")
_REQUEST = re.compile(rb"(" + _TOKEN + rb") ([\x21-\x7e]+) HTTP/(\d)\.(\d)")
_STATUS = re.compile(rb"HTTP/1\.(\d) ([1-9]\d\d)(?: ([^\0\r\n]*))?")
_ABSOLUTE = re.compile(rb"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^#]*)")
_AUTHORITY = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~%!$&'()*+,;=-]+)(?::(\d{0,5}))?")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\0\r\n]*)?\r\n")

HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"upgrade",
    )
)
# `Connection` may not name these: without them a message would be another one.
_ESSENTIAL = frozenset(
    (b"cache-control", b"content-length", b"host", b"trailer", b"transfer-encoding", b"via")
)
# Safe to send once more when the server closed the connection instead of answering.
_IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"))

REASONS = {
    200: "OK",
    400: "Bad Request",
    431: "Request Header Fields Too Large",
    501: "Not Implemented",
    502: "Bad Gateway",
    504: "Gateway Timeout",
    505: "HTTP Version Not Supported",
    508: "Loop Detected",
}


class Refusal(Exception):
    """A message that is not passed on: the status for the client, and why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status, self.why = status, why


@dataclass(frozen=True, slots=True)
class Request:
    """A client's request. `head`: as it goes to the server; for CONNECT, empty."""

    method: bytes
    host: str
    port: int
    minor: int  # of its HTTP version
    body: int
    head: bytes
    close: bool  # the client wants no further answer on this connection
    expects: bool  # it waits for 100 (Continue) before it sends its body

    @property
    def repeatable(self) -> bool:
        """It may be sent again: nothing is lost or done twice."""
        return self.method in _IDEMPOTENT and not self.body


@dataclass(frozen=True, slots=True)
class Answer:
    """A server's answer. `head`: as it goes to the client, but for the empty line."""

    status: int
    body: int
    head: bytes
    close: bool  # nothing more will come on the server's connection


def elements(fields: Fields, name: bytes) -> list[bytes]:
    """The elements of a list-valued field, in lower case."""
    values = b",".join(value for each, value in fields if each.lower() == name)
    return [element for part in values.split(b",") if (element := part.strip(b" \t").lower())]


def parse_fields(lines: Iterable[bytes], status: int) -> Fields:
    """Field lines without their line ends; what is none is a Refusal of this status."""
    fields = []
    for line in lines:
        match = _FIELD.fullmatch(line)
        if match is None:
            raise Refusal(status, "malformed header field")
        fields.append((match[1], match[2]))
    return fields


def _length(fields: Fields, status: int) -> int | None:
    """What Content-Length says, if it is there."""
    values = set(elements(fields, b"content-length"))
    if not values:
        if any(name.lower() == b"content-length" for name, _ in fields):
            raise Refusal(status, "malformed Content-Length")
        return None
    value = values.pop()
    if values or not value.isdigit() or len(value) > 18:
        raise Refusal(status, "malformed Content-Length")
    return int(value)


def _passed_on(fields: Fields, *without: bytes) -> list[bytes]:
    """The lines of the fields that are meant for more than one hop (RFC 9110, 7.6.1)."""
    named = frozenset(elements(fields, b"connection")) - _ESSENTIAL
    dropped = HOP_BY_HOP | named | frozenset(without)
    return [name + b": " + value for name, value in fields if name.lower() not in dropped]


def authority(text: bytes, default: int | None) -> tuple[str, int]:
    """Host and port. Refusal(400)."""
    match = _AUTHORITY.fullmatch(text)
    port = default if match is None or not match[2] else int(match[2])
    if match is None or port is None or not 0 < port < 65536:
        raise Refusal(400, "malformed authority")
    return match[1].strip(b"[]").decode("ascii"), port


def _request_body(fields: Fields, minor: int) -> int:
    length, codings = _length(fields, 400), elements(fields, b"transfer-encoding")
    if not codings:
        return length or 0
    if minor == 0 or length is not None:
        raise Refusal(400, "Transfer-Encoding where it may not be")
    if codings != [b"chunked"]:
        raise Refusal(501, "transfer coding")
    return CHUNKED


def parse_request(lines: list[bytes], name: bytes) -> Request:
    """The lines of a head, without their ends. `name`: this proxy's, for Via. Refusal."""
    match = _REQUEST.fullmatch(lines[0])
    if match is None:
        raise Refusal(400, "malformed request line")
    method, target, minor = match[1], match[2], min(int(match[4]), 1)
    if match[3] != b"1":
        raise Refusal(505, "HTTP version")
    fields = parse_fields(lines[1:], 400)
    hosts = [value for each, value in fields if each.lower() == b"host"]
    if len(hosts) > 1 or minor and not hosts:
        raise Refusal(400, "not one Host field")
    body = _request_body(fields, minor)
    if method == b"CONNECT":
        if body:
            raise Refusal(400, "CONNECT with a body")
        host, port = authority(target, None)
        return Request(method, host, port, minor, 0, b"", True, False)
    host, port, where, path = _target(method, target)
    via = elements(fields, b"via")
    if any(name.lower() in element.split() for element in via):
        raise Refusal(508, "this proxy has passed the request on before")
    close = minor == 0 or b"close" in elements(fields, b"connection")
    head = [b"%s %s HTTP/1.%d" % (method, path, minor), b"Host: " + where]
    head += _hops_left(method, _passed_on(fields, b"host"))
    head.append(b"Via: 1.%d %s" % (minor, name))
    if close and minor:
        head.append(b"Connection: close")
    expects = minor > 0 and b"100-continue" in elements(fields, b"expect")
    text = b"\r\n".join([*head, b"", b""])
    return Request(method, host, port, minor, body, text, close, expects and body != 0)


def _target(method: bytes, target: bytes) -> tuple[str, int, bytes, bytes]:
    """Host, port, authority and path of an absolute-form target (RFC 9112, 3.2)."""
    match = _ABSOLUTE.fullmatch(target)
    if match is None:
        raise Refusal(400, "not the form of a request to a proxy")
    if match[1].lower() != b"http":
        raise Refusal(501, "scheme")
    host, port = authority(match[2], 80)
    path = match[3]
    if not path.startswith(b"/"):
        path = b"*" if method == b"OPTIONS" and not path else b"/" + path
    return host, port, match[2], path


def _hops_left(method: bytes, lines: list[bytes]) -> list[bytes]:
    """Max-Forwards, one less (RFC 9110, 7.6.2)."""
    if method not in (b"OPTIONS", b"TRACE"):
        return lines
    for i, line in enumerate(lines):
        field, _, value = line.partition(b": ")
        if field.lower() == b"max-forwards" and value.isdigit():
            if not int(value):
                raise Refusal(200 if method == b"OPTIONS" else 501, "Max-Forwards is 0")
            lines[i] = b"%s: %d" % (field, int(value) - 1)
    return lines


def parse_answer(lines: list[bytes], request: Request, name: bytes) -> Answer:
    """The lines of a head, without their ends. Refusal(502)."""
    match = _STATUS.fullmatch(lines[0])
    if match is None:
        raise Refusal(502, "malformed status line")
    minor, status = int(match[1]), int(match[2])
    fields = parse_fields(_unfolded(lines[1:]), 502)
    codings, length = elements(fields, b"transfer-encoding"), _length(fields, 502)
    without: tuple[bytes, ...] = ()
    body = UNTIL_END if length is None else length
    if codings:
        if request.minor == 0 or minor == 0:
            raise Refusal(502, "Transfer-Encoding where it may not be")
        without = (b"content-length",)
        body = CHUNKED if codings[-1] == b"chunked" else UNTIL_END
    if status < 200 or status in (204, 304) or request.method == b"HEAD":
        body = 0
    if status == 101:
        raise Refusal(502, "the server switched protocols")
    close = minor == 0 or body == UNTIL_END or b"close" in elements(fields, b"connection")
    head = [b"HTTP/1.1 %d %s" % (status, match[3] or b"")]
    head += _passed_on(fields, *without)
    head.append(b"Via: 1.%d %s" % (minor, name))
    return Answer(status, body, b"\r\n".join([*head, b""]), close)


def _unfolded(lines: list[bytes]) -> list[bytes]:
    """Without line folding (RFC 9112, 5.2: a proxy replaces it in an answer)."""
    whole: list[bytes] = []
    for line in lines:
        if line[:1] in (b" ", b"\t") and whole:
            whole[-1] += b" " + line.strip(b" \t")
        else:
            whole.append(line)
    return whole


def chunk_size(line: bytes) -> int:
    """What the first line of a chunk says; Refusal(400)."""
    match = _CHUNK.fullmatch(line)
    if match is None:
        raise Refusal(400, "malformed chunk")
    return int(match[1], 16)


def refusal_text(refusal: Refusal, method: bytes, close: bool) -> bytes:
    """The answer to what is not passed on."""
    reason = REASONS[refusal.status]
    text = f"{refusal.status} {reason}: {refusal.why}\n".encode()
    head = [
        b"HTTP/1.1 %d %s" % (refusal.status, reason.encode()),
        b"Content-Type: text/plain",
        b"Content-Length: %d" % len(text),
    ]
    if close:
        head.append(b"Connection: close")
    return b"\r\n".join([*head, b"", b"" if method == b"HEAD" else text])
