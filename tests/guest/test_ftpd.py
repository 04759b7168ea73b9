"""The FTP service over the fake machine: the scenarios' clients, and what they don't do."""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from world import World

from xenemu.lab import ftp_clients
from xenemu.lab.clients import FILE, OTHER, SIZE, SMALL, UPLOAD, Report
from xenemu.lab.ftp_clients import Ftp, lines, login
from xenemu.lab.services import content

SEED = 7
BIG = random.Random(9).randbytes(1_000_000)
Body = Callable[[Ftp], Awaitable[None]]


@pytest.fixture
def root(tmp_path: Path, world: World) -> Path:
    top = tmp_path / "ftp"
    (top / "sub").mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    (top / "out").symlink_to(tmp_path / "secret")
    (top / "outdir").symlink_to(tmp_path)
    (top / "sub" / "in").symlink_to("../big")
    (top / "big").write_bytes(BIG)
    world.server.spawn("xenemu.guest.programs.ftpd", [str(top)])
    world.sleep(0.1)
    return top


def run(world: World, *bodies: Callable[[Report], Awaitable[None]]) -> None:
    """Client programs at the same time, each with a report of its own."""
    report = Report()

    def program(body: Callable[[Report], Awaitable[None]]) -> Callable[[list[str]], object]:
        async def main(argv: list[str]) -> int:
            await body(report)
            return 0

        return main

    started = [world.client.spawn(program(body)) for body in bodies]
    assert [world.finish(each, 600) for each in started] == [0] * len(started), world.lines
    assert not world.lines and not report.wrong and not report.broken


def session(body: Body) -> Callable[[Report], Awaitable[None]]:
    """Logs in, and quits in the end."""

    async def client(report: Report) -> None:
        ftp = await login(report)
        await body(ftp)
        await ftp.quit()

    return client


async def refused(ftp: Ftp, command: str, code: int, text: str) -> None:
    """A command that needs a data connection, which is there, for nothing."""
    _, writer = await ftp.passive(False)
    await ftp.command(command, code, text)
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


@pytest.mark.parametrize("name", ["retr", "stor", "listings", "two_files", "active"])
def test_scenarios(world: World, root: Path, name: str) -> None:
    for entry in root.iterdir():
        if entry.is_file() or entry.is_symlink():
            entry.unlink()
    (root / "sub" / "in").unlink()
    (root / "sub").rmdir()
    (root / "file").write_bytes(content(SEED + FILE, SIZE))
    (root / "small").write_bytes(content(SEED + OTHER, SMALL))
    run(world, lambda report: getattr(ftp_clients, name)(SEED, report))
    stored = root / "up"
    if name in ("stor", "two_files", "active"):
        assert stored.read_bytes() == content(SEED + UPLOAD, SIZE)
    else:
        assert not stored.exists()


def test_sessions_at_once(world: World, root: Path) -> None:
    def client(number: int) -> Callable[[Report], Awaitable[None]]:
        async def body(ftp: Ftp) -> None:
            for turn in range(3):
                name, data = f"f{number}.{turn}", content(number * 3 + turn, 100_000)
                await ftp.put(f"STOR {name}", data, extended=bool(turn % 2))
                await ftp.check("big", BIG)
                await ftp.check(name, data)

        return session(body)

    run(world, *(client(number) for number in range(8)))
    assert len(list(root.glob("f*"))) == 24


def test_restart_both_ways(world: World, root: Path) -> None:
    async def body(ftp: Ftp) -> None:
        await ftp.command("REST 999990", 350, "Restarting at 999990.")
        await ftp.check("big", BIG[999_990:])
        await ftp.check("big", BIG)  # REST holds for one transfer
        await ftp.put("STOR part", b"0123456789")
        await ftp.command("REST 4", 350, "Restarting at 4.")
        await ftp.put("STOR part", b"abc")
        await ftp.check("part", b"0123abc789")
        await ftp.put("APPE part", b"xyz")
        await ftp.put("APPE new", b"n")
        await ftp.check("part", b"0123abc789xyz")
        for command in ("RETR big", "STOR big"):
            await ftp.command("REST 1000001", 350, "Restarting at 1000001.")
            await refused(ftp, command, 554, "The file is not that long.")

    run(world, session(body))
    assert (root / "new").read_bytes() == b"n" and (root / "big").read_bytes() == BIG


def test_no_escape(world: World, root: Path) -> None:
    async def body(ftp: Ftp) -> None:
        gone = "No such file or directory."
        for name in ("out", "/out", "../secret", "/../../secret", "outdir/secret", "sub/../out"):
            await refused(ftp, f"RETR {name}", 550, gone)
            await ftp.command(f"SIZE {name}", 550, gone)
        for command in ("STOR outdir/x", "STOR out", "APPE out", "NLST outdir", "MLSD outdir"):
            await refused(ftp, command, 550, gone)
        for command in ("CWD outdir", "MKD outdir/x", "DELE outdir/secret", "RNFR outdir/secret"):
            await ftp.command(command, 550, gone)
        await ftp.command("CWD ../../..", 250, "")
        await ftp.command("PWD", 257, '"/"')
        await ftp.check("sub/in", BIG)
        ftp.report.check("NLST", await ftp.get("NLST"), lines("big", "sub"))
        await ftp.command("SIZE sub/\0", 501, "A NUL in a name.")
        await ftp.command(f"SIZE {'x' * 300}", 550, "Name too long.")

    run(world, session(body))
    assert (root.parent / "secret").read_text() == "secret"
    assert sorted(path.name for path in root.parent.iterdir()) == ["ftp", "secret"]


def test_files_and_directories(world: World, root: Path) -> None:
    async def body(ftp: Ftp) -> None:
        await ftp.command('MKD a "b"', 257, '"/a ""b"""')
        await ftp.command('CWD a "b"', 250, "")
        await ftp.command("PWD", 257, '"/a ""b"""')
        await ftp.put("STOR ü", b"u")
        await ftp.command("RNFR ü", 350, "")
        await ftp.command("RNTO /moved", 250, "")
        await ftp.command("CDUP", 250, "")
        await ftp.command('RMD a "b"', 250, "")
        await ftp.check("moved", b"u")
        await ftp.command("RMD sub", 550, "Directory not empty.")
        await ftp.command("DELE moved", 250, "")
        await ftp.command("SIZE moved", 550, "No such file or directory.")
        await ftp.command("DELE sub/in", 250, "")  # the link

    run(world, session(body))
    assert (root / "big").exists() and list((root / "sub").iterdir()) == []


def test_codes(world: World, root: Path) -> None:
    async def body(ftp: Ftp) -> None:
        for command, code in {
            "RETR big": 425, "STOR x": 425, "LIST": 425, "FOO": 500, "": 500, "TYPE E": 504,
            "TYPE A": 200, "TYPE L 8": 200, "STRU F": 200, "STRU R": 504, "MODE S": 200,
            "MODE Z": 504, "NOOP": 200, "ALLO 5": 202, "SYST": 215, "REST -1": 501,
            "REST ²": 501, "REST 99999999999999999999": 501, "OPTS UTF8 ON": 200, "OPTS X": 501,
            "PORT 1,2,3": 501, "PORT 10,0,0,256,4,4": 501, "PORT 10,0,0,8,40,40": 504,
            "PORT 10,0,0,9,0,22": 504, "PORT 127,0,0,1,40,40": 504, "EPRT |2|::1|4000|": 522,
            "EPRT |1|10.0.0.8|4000|": 504, "EPRT |1|x|4000|": 501, "EPRT": 501,
            "EPRT |1|10.0.0.9|70000|": 504, "EPSV 2": 522, "ABOR": 226, "MLST none": 550,
            "RNTO x": 503, "CWD big": 550, "SIZE sub": 550, "MDTM sub": 550,
            "x" * 5000: 500,
        }.items():  # fmt: skip
            await ftp.command(command, code, "")
        await ftp.command("EPSV ALL", 200, "Extended ones only.")
        await ftp.command("PASV", 501, "Not after EPSV ALL.")
        await ftp.command("PORT 10,0,0,9,40,40", 501, "Not after EPSV ALL.")
        await ftp.check("big", BIG, extended=True)
        await ftp.command("EPRT |1|10.0.0.9|4000|", 200, "Will connect.")  # nobody listens
        await ftp.command("RETR big", 150)
        await ftp.reply(425, "Can't open the data connection.")

    run(world, session(body))


def test_login(world: World, root: Path) -> None:
    world.server.spawn(
        "xenemu.guest.programs.ftpd", ["--port", "2121", "--user", "me:secret", str(root)]
    )
    world.sleep(0.1)

    async def body(report: Report) -> None:
        ftp = Ftp(await asyncio.open_connection("10.0.0.1", 2121), report)
        await ftp.reply(220)
        for command, code in (
            ("PWD", 530), ("STOR x", 530), ("PASS x", 503), ("FEAT", 211),
        ):  # fmt: skip
            line = await ftp.command(command, code, "") if code != 211 else ""
            assert "secret" not in line
            if code == 211:
                ftp.writer.write(b"FEAT\r\n")
                text = await ftp.reader.readuntil(b"211 End.\r\n")
                assert b"\r\n MLST type*;size*;modify*;\r\n" in text
        for name, password, code in (
            ("anonymous", "x", 530), ("me", "wrong", 530), ("me", "", 530), ("me", "secret", 230),
        ):  # fmt: skip
            await ftp.command(f"USER {name}", 331)
            await ftp.command(f"PASS {password}", code, "")
        await ftp.command("PWD", 257, '"/"')
        await ftp.command("USER nobody", 331)
        await ftp.command("PWD", 530, "Please log in.")
        await ftp.quit()

    run(world, body)


def test_abort(world: World, root: Path) -> None:
    async def body(ftp: Ftp) -> None:
        reader, writer = await ftp.passive(False)
        await ftp.command("RETR big", 150)
        assert await reader.readexactly(1000) == BIG[:1000]
        writer.transport.pause_reading()
        await asyncio.sleep(1)
        ftp.writer.write(b"NOOP\r\n\xff\xf4\xff\xf2ABOR\r\n")
        await ftp.reply(426, "Transfer aborted.")
        await ftp.reply(226, "Abort successful.")
        await ftp.reply(200, "Done.")
        writer.transport.resume_reading()
        rest = await reader.read()
        assert 0 < len(rest) < len(BIG) - 1000 and BIG[1000:].startswith(rest)
        writer.close()

    async def upload(ftp: Ftp) -> None:
        _, writer = await ftp.passive(True)
        await ftp.command("STOR part", 150)
        writer.write(b"half")
        await asyncio.sleep(1)
        await ftp.command("ABOR", 426, "Transfer aborted.")
        await ftp.reply(226, "Abort successful.")
        writer.close()
        ftp.writer.write(b"PASV\r\nRETR big\r\nABOR\r\n")  # before anybody connects
        await ftp.reply(227, "")
        await ftp.reply(150)
        await ftp.reply(426, "Transfer aborted.")
        await ftp.reply(226, "Abort successful.")

    run(world, session(body), session(upload))
    assert sorted(path.name for path in root.iterdir()) == ["big", "out", "outdir", "sub"]


def test_data_connection_closed_early(world: World, root: Path) -> None:
    async def body(ftp: Ftp) -> None:
        reader, writer = await ftp.passive(False)
        await ftp.command("RETR big", 150)
        assert await reader.readexactly(1000) == BIG[:1000]
        writer.close()
        await ftp.reply(426, "Transfer aborted.")
        await ftp.check("big", BIG)

    run(world, session(body))


def test_control_connection_closed_in_an_upload(world: World, root: Path) -> None:
    async def body(report: Report) -> None:
        ftp = await login(report)
        reader, writer = await ftp.passive(False)
        await ftp.command("STOR part", 150)
        writer.write(b"half")
        await asyncio.sleep(1)
        ftp.writer.close()
        assert await reader.read() == b""
        writer.close()

    run(world, body)
    assert not (root / "part").exists()


def test_pipelined_byte_by_byte_and_whole(world: World, root: Path) -> None:
    """What the service writes does not depend on how its input is cut."""
    answers: list[bytes] = []
    text = (
        "USER ftp\r\nPASS x\r\nPWD\r\nCWD sub\nPWD\r\nSIZE in\r\nREST 12\r\nTYPE I\r\n"
        + "y" * 5000 + "\r\nFEAT\r\nHELP\r\nMLST /big\r\nRNFR in\r\nRNTO /big\r\nQUIT\r\n"
    ).encode()  # fmt: skip

    def client(size: int) -> Callable[[Report], Awaitable[None]]:
        async def body(report: Report) -> None:
            reader, writer = await asyncio.open_connection("10.0.0.1", 21)
            for at in range(0, len(text), size):
                writer.write(text[at : at + size])
                await writer.drain()
                await asyncio.sleep(0.002)
            answers.append(await reader.read())
            writer.close()

        return body

    run(world, client(1), client(4097), client(len(text)))
    assert answers[0].endswith(b"221 bye\r\n") and answers[0].count(b"500 ") == 1
    assert answers[1:] == answers[:1] * 2


@pytest.mark.parametrize("seed", range(4))
def test_garbage(world: World, root: Path, seed: int) -> None:
    """Every line has one reply, whatever is in it; nothing outside of the root changes."""
    source = random.Random(seed)
    names = (
        "RETR STOR APPE LIST NLST MLSD MLST CWD CDUP MKD RNTO RNFR SIZE MDTM TYPE STRU MODE REST"
        " OPTS USER ALLO NOOP PWD SYST ABOR PORT EPRT FOO"
    ).split()
    words = (
        b"/",
        b"..",
        b"sub",
        b"\xff\xf4",
        b"\xfe",
        b"\r",
        b"|",
        b"'",
        b'"',
        b"-l",
        b"1,",
        b"9" * 30,
    )

    def line() -> bytes:
        if source.random() < 0.1:
            return source.randbytes(source.randrange(1, 30)).replace(b"\n", b"") + b"?\r\n"
        rest = b"".join(source.choice(words) for _ in range(source.randrange(5)))
        return source.choice(names).encode() + b" " * source.randrange(3) + rest + b"\r\n"

    text = [line() for _ in range(500)]

    async def body(report: Report) -> None:
        ftp = await login(report)
        for each in text:
            ftp.writer.write(each)
            reply = await ftp.reader.readuntil(b"\r\n")
            while reply[3:4] == b"-" or reply[:1] == b" ":
                reply = await ftp.reader.readuntil(b"\r\n")
            assert reply[:3].isdigit() and reply[:1] in b"2345", (each, reply)
        await ftp.quit()

    run(world, body)
    assert (root / "big").read_bytes() == BIG
    assert sorted(path.name for path in root.parent.iterdir()) == ["ftp", "secret"]


def test_stop_is_clean(world: World, root: Path) -> None:
    (process,) = world.server.processes.values()
    client = world.client.spawn(lambda argv: login_and_wait())
    world.sleep(1)
    world.server.stop(process.pid)
    assert world.finish(process, 120) == 0
    assert not world.core.dropped and process.loop.is_closed()
    assert world.finish(client) == 0 and not world.lines


async def login_and_wait() -> int:
    ftp = await login(Report())
    _, data = await ftp.passive(False)
    data.transport.pause_reading()
    await ftp.command("RETR big", 150)
    assert await ftp.reader.read() == b""
    for writer in (data, ftp.writer):
        writer.close()
    return 0
