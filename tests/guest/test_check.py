"""`check`: exit status and its one line."""

import asyncio
from pathlib import Path

import pytest

from xenemu.boot import System, add_client, small_config


@pytest.mark.parametrize(
    ("words", "status", "answer"),
    [
        ("10.0.0.1", 0, "accepts"),
        ("10.0.0.1 80 /", 0, "200 OK"),
        ("10.0.0.1 /", 0, "200 OK"),
        ("10.0.0.1 80 /nothing", 1, "EIO: 404 Not Found"),
        ("10.0.0.1 81", 1, "ECONNREFUSED"),
        ("10.9.9.9", 1, "ETIMEDOUT"),
        ("10.0.1.2 90 /", 1, "EPROTO: not HTTP: 'hello'"),
        ("10.0.1.2 91 /", 1, "EPROTO: no answer"),
        ("10.0.1.2 92 /", 1, "ETIMEDOUT"),
        ("nowhere", 1, "error: "),
        ("", 2, "usage: "),
        ("10.0.0.1 x", 2, "usage: "),
        ("10.0.0.1 80 80", 2, "usage: "),
        ("10.0.0.1 0", 2, "usage: "),
    ],
)
def test_check(tmp_path: Path, words: str, status: int, answer: str) -> None:
    async def odd(argv: list[str]) -> int:
        async def hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"hello\r\nworld")
            await writer.drain()
            writer.close()

        async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            writer.close()

        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()

        for port, serve in ((90, hello), (91, mute), (92, silent)):
            await asyncio.start_server(serve, "0.0.0.0", port)
        await asyncio.sleep(1000)
        return 0

    with System(small_config(root=tmp_path, backup=False)) as system:
        system.boot()
        add_client(system).spawn(odd)
        system.run_for(0.01)
        found, output = system.run_command(0, ["check", *words.split()])
        assert (found, output.count("\n")) == (status, 0)
        assert output.startswith(answer if status == 2 else f"check {words}: {answer}")
