"""The client side of the FTP scenarios. They check every byte, of replies and listings, too."""

import asyncio
import re

from xenemu.lab.clients import FILE, OTHER, SERVICE, SIZE, SMALL, UPLOAD, Report, Stream, close
from xenemu.lab.services import content

PORT = 21
REPLIES = {
    150: "About to open the data connection.",
    200: "Type set.",
    220: "FTP service ready.",
    221: "bye",
    226: "Transfer complete.",
    230: "normal login",
    331: "Password, please.",
}
TYPE, WILL_CONNECT = "Type set.", "Will connect."
RESTART = 100_000
SESSIONS, MEDIUM = 6, 30_000  # of `many`
LONG = 12  # turns of three transfers


class Ftp:
    """One control connection."""

    def __init__(self, stream: Stream, report: Report) -> None:
        self.stream = stream
        self.reader, self.writer = stream
        self.report = report

    async def reply(self, code: int, text: str | None = None) -> str:
        """The next reply, of one line; "" stands for any text."""
        line = (await self.reader.readuntil(b"\r\n")).decode()
        wanted = f"{code} {REPLIES[code] if text is None else text}"
        if text == "":
            self.report.check("reply", line[: len(wanted)].encode(), wanted.encode())
        else:
            self.report.check("reply", line.encode(), f"{wanted}\r\n".encode())
        return line

    async def command(self, line: str, code: int, text: str | None = None) -> str:
        """A command and its reply."""
        self.writer.write(f"{line}\r\n".encode())
        return await self.reply(code, text)

    async def passive(self, extended: bool) -> Stream:
        """PASV or EPSV, and the connection."""
        line = await self.command("EPSV" if extended else "PASV", 229 if extended else 227, "")
        if extended:
            found = re.search(r"Extended Passive Mode \(\|\|\|(\d+)\|\)\r", line)
            port = int(found[1]) if found else 0
        else:
            host = SERVICE.replace(".", ",")
            found = re.search(rf"Entering Passive Mode \({host},(\d+),(\d+)\)\.\r", line)
            port = int(found[1]) << 8 | int(found[2]) if found else 0
        if not port:
            self.report.wrong.append(f"no port in {line!r}")
        return await asyncio.open_connection(SERVICE, port)

    async def get(self, command: str, extended: bool = False) -> bytes:
        """What a transfer brings, in passive mode."""
        data = await self.passive(extended)
        await self.command(command, 150)
        got = await download(data)
        await self.reply(226)
        return got

    async def put(self, command: str, body: bytes, extended: bool = False) -> None:
        """An upload in passive mode."""
        data = await self.passive(extended)
        await self.command(command, 150)
        await upload(data, body, self.report)
        await self.reply(226)

    async def active(self, listener: "Listener", command: str, extended: bool) -> Stream:
        """PORT or EPRT, the command, and the connection that the service opens."""
        host, port = self.writer.get_extra_info("sockname")[0], listener.port
        if extended:
            await self.command(f"EPRT |1|{host}|{port}|", 200, WILL_CONNECT)
        else:
            numbers = f"{host.replace('.', ',')},{port >> 8},{port & 255}"
            await self.command(f"PORT {numbers}", 200, WILL_CONNECT)
        await self.command(command, 150)
        return await listener.stream()

    async def check(self, name: str, expected: bytes, extended: bool = False) -> None:
        """RETR"""
        self.report.check(f"RETR {name}", await self.get(f"RETR {name}", extended), expected)

    async def quit(self) -> None:
        """QUIT, and the end."""
        await self.command("QUIT", 221)
        await close(self.stream, self.report)


class Listener:
    """Waits for one data connection. Every other one is a mistake of the service."""

    def __init__(self, report: Report) -> None:
        self.port = 0
        self._report = report
        self._streams: asyncio.Queue[Stream] = asyncio.Queue()
        self._accepted = 0

    async def __aenter__(self) -> "Listener":
        self._server = await asyncio.start_server(self._accept, "0.0.0.0", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._accepted += 1
        if self._accepted > 1:
            self._report.wrong.append(f"data connection {self._accepted} for one transfer")
        self._streams.put_nowait((reader, writer))

    async def stream(self) -> Stream:
        """The connection."""
        return await self._streams.get()


async def download(data: Stream) -> bytes:
    """All of it, and our end."""
    reader, writer = data
    got = await reader.read()
    writer.close()
    await writer.wait_closed()
    return got


async def upload(data: Stream, body: bytes, report: Report) -> None:
    """All of it, and the end; the service ends the connection as well."""
    reader, writer = data
    for at in range(0, len(body), 16_384):
        writer.write(body[at : at + 16_384])
        await writer.drain()
    writer.write_eof()
    await close(data, report)


async def login(report: Report) -> Ftp:
    """A session."""
    ftp = Ftp(await asyncio.open_connection(SERVICE, PORT), report)
    await ftp.reply(220)
    await ftp.command("USER anonymous", 331)
    await ftp.command("PASS guest@", 230)
    await ftp.command("TYPE I", 200, TYPE)
    return ftp


async def retr(seed: int, report: Report) -> None:
    """One download."""
    ftp = await login(report)
    await ftp.command("SIZE file", 213, str(SIZE))
    await ftp.check("file", content(seed + FILE, SIZE))
    await ftp.quit()


async def stor(seed: int, report: Report) -> None:
    """One upload."""
    ftp = await login(report)
    await ftp.put("STOR up", content(seed + UPLOAD, SIZE))
    await ftp.command("SIZE up", 213, str(SIZE))
    await ftp.quit()


async def listings(seed: int, report: Report) -> None:
    """All kinds of them. Nothing that changes a directory: that can't be lived through twice."""
    names = {"file": SIZE, "small": SMALL}
    ftp = await login(report)
    await ftp.command("PWD", 257, '"/"')
    report.check("NLST", await ftp.get("NLST"), lines(*names))
    check_lines("LIST", await ftp.get("LIST", True), list_patterns(names), report)
    check_lines("MLSD", await ftp.get("MLSD"), facts_patterns(names), report)
    check_lines("LIST", await ftp.get("LIST -la small"), list_patterns({"small": SMALL}), report)
    await ftp.command("CWD /", 250, "")
    report.check("NLST again", await ftp.get("NLST"), lines(*names))
    await ftp.quit()


async def two_files(seed: int, report: Report) -> None:
    """Several transfers of one session, both ways, one of them resumed."""
    file, up = content(seed + FILE, SIZE), content(seed + UPLOAD, SIZE)
    ftp = await login(report)
    await ftp.check("file", file)
    await ftp.put("STOR up", up, extended=True)
    await ftp.command(f"REST {RESTART}", 350, f"Restarting at {RESTART}.")
    await ftp.check("up", up[RESTART:], extended=True)
    await ftp.check("small", content(seed + OTHER, SMALL))
    await ftp.quit()


async def active(seed: int, report: Report) -> None:
    """The service opens the data connections."""
    ftp = await login(report)
    async with Listener(report) as listener:
        got = await download(await ftp.active(listener, "RETR file", extended=False))
    await ftp.reply(226)
    report.check("RETR file", got, content(seed + FILE, SIZE))
    async with Listener(report) as listener:
        data = await ftp.active(listener, "STOR up", extended=True)
        await upload(data, content(seed + UPLOAD, SIZE), report)
    await ftp.reply(226)
    await ftp.quit()


async def many(seed: int, report: Report) -> None:
    """Sessions at the same time, each with transfers of both kinds."""

    async def session(number: int) -> None:
        up = upload_of(seed, number)
        ftp = await login(report)
        await ftp.check("small", content(seed + OTHER, SMALL), extended=number % 2 == 0)
        await ftp.put(f"STOR up{number}", up, extended=number % 2 == 1)
        async with Listener(report) as listener:
            got = await download(await ftp.active(listener, f"RETR up{number}", number % 3 == 0))
        await ftp.reply(226)
        report.check("what was stored", got, up)
        await ftp.quit()

    await asyncio.gather(*(session(number) for number in range(SESSIONS)))


async def long(seed: int, report: Report) -> None:
    """Many transfers of one session: most of them are long over at any time."""
    small, ftp = content(seed + OTHER, SMALL), await login(report)
    for turn in range(LONG):
        extended, up = turn % 2 == 1, upload_of(seed, turn)[: SMALL * (turn + 1)]
        await ftp.check("small", small, extended)
        await ftp.put(f"STOR up{turn}", up, extended)
        async with Listener(report) as listener:
            got = await download(await ftp.active(listener, f"RETR up{turn}", extended))
        await ftp.reply(226)
        report.check("what was stored", got, up)
        await ftp.command(f"SIZE up{turn}", 213, str(len(up)))
    await ftp.quit()


def upload_of(seed: int, number: int) -> bytes:
    """What a session of `many` stores."""
    return content(seed + UPLOAD + number, MEDIUM)


def lines(*texts: str) -> bytes:
    """As a listing has them."""
    return "".join(f"{text}\r\n" for text in texts).encode()


def list_patterns(names: dict[str, int]) -> list[str]:
    """Of LIST, but for the dates, which are those of the files."""
    kind = "-rw-r--r-- 1 ftp ftp"
    return [rf"{kind} +{size} [A-Z][a-z]{{2}} [ 123]\d  \d{{4}} {n}" for n, size in names.items()]


def facts_patterns(names: dict[str, int]) -> list[str]:
    """Of MLSD, but for the dates."""
    return [rf"type=file;size={size};modify=\d{{14}}; {name}" for name, size in names.items()]


def check_lines(what: str, got: bytes, patterns: list[str], report: Report) -> None:
    """Each line matches its pattern, and there are no others."""
    if not re.fullmatch("".join(f"{each}\r\n" for each in patterns), got.decode()):
        report.wrong.append(f"{what}: {got!r}")
