"""The file server, by aiohttp's own client and by raw requests, over the fake machine."""

import asyncio
import hashlib
import io
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
from world import World

BIG = random.Random(8).randbytes(3_000_000)
URL = "http://10.0.0.1:8080"


@pytest.fixture
def root(tmp_path: Path, world: World) -> Path:
    top = tmp_path / "www"
    (top / "sub").mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    (top / "big.bin").write_bytes(BIG)
    (top / "a&b.txt").write_text("hello")
    (top / "empty").touch()
    (top / "out").symlink_to(tmp_path / "secret")
    (top / "outdir").symlink_to(tmp_path)
    world.server.spawn("xenemu.guest.programs.httpd", [str(top), "--port", "8080"])
    world.sleep(0.1)
    return top


def run(world: World, body: Callable[[aiohttp.ClientSession], Awaitable[None]]) -> None:
    async def program(argv: list[str]) -> int:
        async with aiohttp.ClientSession() as session:
            await body(session)
        return 0

    assert world.finish(world.client.spawn(program), 600) == 0, "\n".join(world.lines)
    assert not world.lines


def test_get_range_head_listing(world: World, root: Path) -> None:
    async def body(session: aiohttp.ClientSession) -> None:
        async with session.get(f"{URL}/big.bin") as answer:
            assert (answer.status, await answer.read()) == (200, BIG)
            assert answer.headers["Content-Length"] == str(len(BIG))
        for spec, status, want in (
            ("bytes=0-0", 206, BIG[:1]),
            ("bytes=1000-299999", 206, BIG[1000:300000]),
            ("bytes=2999000-", 206, BIG[2999000:]),
            ("bytes=-5", 206, BIG[-5:]),
            ("bytes=2999999-9999999", 206, BIG[-1:]),
            ("bytes=3000000-", 416, None),
            ("lines=1-2", 200, BIG),
        ):
            async with session.get(f"{URL}/big.bin", headers={"Range": spec}) as answer:
                data = await answer.read()
                assert answer.status == status, spec
                assert want is None or data == want, spec
        async with session.head(f"{URL}/big.bin") as answer:
            assert answer.headers["Content-Length"] == str(len(BIG))
        async with session.get(f"{URL}/empty") as answer:
            assert (answer.status, await answer.read()) == (200, b"")
        async with session.get(f"{URL}/") as answer:
            text = await answer.text()
            assert text.index("a&amp;b.txt") < text.index("big.bin") < text.index("sub/")
        async with session.get(f"{URL}/sub") as answer:
            assert answer.status == 200 and answer.url.path == "/sub/"

    run(world, body)
    accepted = world.core.nodes[world.server.node.id].next_sock
    assert accepted == 2  # the listener and one connection: keep-alive


def test_put(world: World, root: Path) -> None:
    async def body(session: aiohttp.ClientSession) -> None:
        for content in (BIG, b"short", b""):
            async with session.put(f"{URL}/sub/new.bin", data=io.BytesIO(content)) as answer:
                text = await answer.text()
                assert (answer.status, text) == (
                    200,
                    hashlib.sha256(content).hexdigest() + "\n",
                )
            assert (root / "sub/new.bin").read_bytes() == content
        for path, status in (("/sub", 409), ("/", 409), ("/none/x", 404), ("/outdir/x", 404)):
            async with session.put(URL + path, data=b"x") as answer:
                assert answer.status == status, path

    run(world, body)
    assert [path.name for path in (root / "sub").iterdir()] == ["new.bin"]


def test_no_escape_and_codes(world: World, root: Path) -> None:
    async def raw(path: bytes, method: bytes = b"GET") -> int:
        reader, writer = await asyncio.open_connection("10.0.0.1", 8080)
        writer.write(method + b" " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
        assert b"secret" not in answer
        return int(answer.split()[1])

    async def body(session: aiohttp.ClientSession) -> None:
        for path in (
            b"/../secret", b"/%2e%2e/secret", b"/sub/..%2f..%2fsecret", b"/out", b"/nothing",
            b"/outdir/secret", b"//etc/passwd", b"/%00", b"/" + b"x" * 400, b"/big.bin/x",
        ):  # fmt: skip
            assert await raw(path) == 404, path
        assert await raw(b"/big.bin", b"DELETE") == 405

    run(world, body)


def test_broken_put_leaves_nothing(world: World, root: Path) -> None:
    async def body(session: aiohttp.ClientSession) -> None:
        _, writer = await asyncio.open_connection("10.0.0.1", 8080)
        writer.write(b"PUT /sub/x HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nabc")
        await asyncio.sleep(1)
        writer.close()
        await asyncio.sleep(5)

    run(world, body)
    assert list((root / "sub").iterdir()) == []


def test_stop_is_clean(world: World, root: Path) -> None:
    (process,) = world.server.processes.values()
    world.server.stop(process.pid)
    assert world.finish(process, 120) == 0
    assert not world.core.dropped and process.loop.is_closed()
