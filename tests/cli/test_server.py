"""The control socket: garbage, limits, dead and live servers."""

import json
import os
import select
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from xenemu.cli.rpc import MAX_LINE, RpcError
from xenemu.cli.server import MAX_CLIENTS, Call, ControlServer


class Loop:
    """What the machine's watch_fd does, stepped by hand."""

    def __init__(self) -> None:
        self.watched: dict[int, tuple[Callable[[], None], bool, bool]] = {}

    def watch_fd(
        self,
        fd: int,
        callback: Callable[[], None] | None,
        *,
        readable: bool = True,
        writable: bool = False,
    ) -> None:
        self.watched.pop(fd, None)
        if callback is not None:
            self.watched[fd] = (callback, readable, writable)

    def step(self) -> None:
        for _ in range(100):
            reads = [fd for fd, (_, readable, _) in self.watched.items() if readable]
            writes = [fd for fd, (_, _, writable) in self.watched.items() if writable]
            ready = select.select(reads, writes, [], 0.02)
            fds = {*ready[0], *ready[1]}
            if not fds:
                return
            for fd in fds:
                if fd in self.watched:
                    self.watched[fd][0]()


def echo(call: Call, params: dict[str, Any]) -> None:
    call.result(params["value"])


def refuse(call: Call, params: dict[str, Any]) -> None:
    raise RpcError(-32000, "EPERM: no", {"errno": "EPERM"})


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "test.sock"


@pytest.fixture
def server(loop: Loop, path: Path) -> Iterator[ControlServer]:
    server = ControlServer(path, loop, {"echo": echo, "refuse": refuse})
    yield server
    server.close()


def ask(loop: Loop, path: Path, data: bytes) -> list[dict[str, Any]]:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(5)
        sock.connect(str(path))
        sock.sendall(data)
        loop.step()
        sock.setblocking(False)
        received = b""
        try:
            while chunk := sock.recv(65536):
                received += chunk
        except (BlockingIOError, ConnectionResetError):
            pass
    loop.step()
    return [json.loads(line) for line in received.splitlines()]


def request(method: str, identifier: object = 1, **params: object) -> bytes:
    message = {"jsonrpc": "2.0", "id": identifier, "method": method, "params": params}
    return json.dumps(message).encode() + b"\n"


def test_mode_and_clean_up(server: ControlServer, path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    server.close()
    assert not path.exists()


def test_answers(server: ControlServer, loop: Loop, path: Path) -> None:
    answers = ask(loop, path, request("echo", 1, value=5) + request("echo", "b", value=[6]))
    assert answers == [
        {"jsonrpc": "2.0", "id": 1, "result": 5},
        {"jsonrpc": "2.0", "id": "b", "result": [6]},
    ]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"\n", -32700),
        (b"nonsense\n", -32700),
        (b"\xff\xfe\x00\n", -32700),
        (b"[" * 5000 + b"\n", -32700),
        (b"[]\n", -32600),
        (b"1\n", -32600),
        (b'{"jsonrpc":"1.0","id":1,"method":"echo"}\n', -32600),
        (b'{"jsonrpc":"2.0","id":1}\n', -32600),
        (b'{"jsonrpc":"2.0","id":{},"method":"echo"}\n', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"echo","params":[1]}\n', -32602),
        (request("echo"), -32602),
        (request("nothing"), -32601),
        (request("refuse"), -32000),
    ],
)
def test_garbage_is_answered(
    server: ControlServer, loop: Loop, path: Path, line: bytes, code: int
) -> None:
    bad, good = ask(loop, path, line + request("echo", value=1))
    assert bad["error"]["code"] == code
    assert good["result"] == 1


def test_byte_by_byte(server: ControlServer, loop: Loop, path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(5)
        sock.connect(str(path))
        for byte in request("echo", value=1):
            sock.sendall(bytes([byte]))
            loop.step()
        assert json.loads(sock.recv(4096))["result"] == 1


def test_an_endless_line_ends_the_connection(server: ControlServer, loop: Loop, path: Path) -> None:
    (answer,) = ask(loop, path, b"x" * (MAX_LINE + 2))
    assert "too long" in answer["error"]["message"]
    assert ask(loop, path, request("echo", value=1))[0]["result"] == 1


def test_too_many_clients(server: ControlServer, loop: Loop, path: Path) -> None:
    socks = []
    for _ in range(MAX_CLIENTS + 3):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(path))
        socks.append(sock)
        loop.step()
    assert len(loop.watched) == 1 + MAX_CLIENTS
    for sock in socks:
        sock.close()
    loop.step()
    assert len(loop.watched) == 1


def test_a_client_that_leaves_at_once(server: ControlServer, loop: Loop, path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
        sock.sendall(request("echo", value="x" * 50_000))
    loop.step()
    assert len(loop.watched) == 1


def test_a_live_server_is_an_error(server: ControlServer, loop: Loop, path: Path) -> None:
    with pytest.raises(OSError, match="running already"):
        ControlServer(path, loop, {})
    assert ask(loop, path, request("echo", value=1))[0]["result"] == 1


def test_a_dead_server_is_replaced(loop: Loop, path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    server = ControlServer(path, loop, {"echo": echo})
    assert ask(loop, path, request("echo", value=1))[0]["result"] == 1
    server.close()


def test_a_file_in_the_way_is_left_alone(loop: Loop, path: Path) -> None:
    path.write_text("mine")
    with pytest.raises(OSError, match="in the way"):
        ControlServer(path, loop, {})
    assert path.read_text() == "mine"


def test_a_successor_s_socket_is_left_alone(loop: Loop, path: Path) -> None:
    first = ControlServer(path, loop, {})
    os.unlink(path)
    second = ControlServer(path, loop, {"echo": echo})
    first.close()
    assert ask(loop, path, request("echo", value=1))[0]["result"] == 1
    second.close()
