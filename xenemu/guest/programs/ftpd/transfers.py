"""The FTP service's data connections, and the commands that need one."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import stat
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address
from pathlib import Path, PurePosixPath

import aioftp

from xenemu.guest.programs.ftpd import files
from xenemu.guest.programs.ftpd.files import CHUNK, Refused, Upload, refusals
from xenemu.guest.programs.ftpd.streams import (
    Aborted,
    Active,
    Control,
    Endpoint,
    Passive,
    Sender,
    receive,
)

PRIVILEGED = 1024  # PORT to such a port is refused (RFC 2577, 3)
Body = Callable[[socket.socket], Awaitable[None]]
Line = Callable[[str, os.stat_result], str]


@dataclass(slots=True)
class Session:
    """One client."""

    control: Control
    local: tuple[str, int]
    peer: tuple[str, int]
    endpoint: Endpoint | None = None
    only_extended: bool = False  # EPSV ALL (RFC 2428, 4)

    def take_endpoint(self) -> Endpoint:
        """For one transfer."""
        endpoint, self.endpoint = self.endpoint, None
        if endpoint is None:
            raise Refused("425", "Use PASV or PORT first.")
        return endpoint

    def close_endpoint(self) -> None:
        """What was set up for a transfer that did not come."""
        if self.endpoint is not None:
            self.endpoint.close()
            self.endpoint = None

    def upload(self, data: socket.socket) -> str:
        """Names an upload: both its connections, and the boot of the machine. A service that goes
        through the session once more has the same ones."""
        pairs = (*self.peer, *self.local, *data.getpeername()[:2], *data.getsockname()[:2])
        booted = time.time_ns() - time.monotonic_ns()
        return ",".join(map(str, (booted, *pairs)))


class Transfers(aioftp.Server):
    """The commands; sessions and all others are the subclass's."""

    def __init__(self, users: aioftp.AbstractUserManager, passive: str | None) -> None:
        super().__init__(users, wait_future_timeout=0)
        self._passive = passive

    @staticmethod
    def get_paths(
        connection: aioftp.Connection, path: str | PurePosixPath
    ) -> tuple[Path, PurePosixPath]:
        """As aioftp's, but no link leads out of the root."""
        _, virtual = aioftp.Server.get_paths(connection, path)
        return files.real_path(connection.user.base_path, virtual), virtual

    # where the next one comes from

    async def pasv(self, connection: aioftp.Connection, rest: str | PurePosixPath) -> bool:
        """PASV"""
        session = connection.session
        numbers = [*(self._passive or session.local[0]).split("."), *self._listen(session)]
        connection.response("227", f"Entering Passive Mode ({','.join(map(str, numbers))}).")
        return True

    async def epsv(self, connection: aioftp.Connection, rest: str | PurePosixPath) -> bool:
        """EPSV (RFC 2428, 3)"""
        session, given = connection.session, str(rest).upper()
        if given == "ALL":
            session.only_extended = True
            connection.response("200", "Extended ones only.")
            return True
        if given not in ("", "1"):
            raise Refused("522", "Network protocol not supported, use (1)")
        high, low = self._listen(session, extended=True)
        connection.response("229", f"Entering Extended Passive Mode (|||{high << 8 | low}|)")
        return True

    def _listen(self, session: Session, extended: bool = False) -> tuple[int, int]:
        if session.only_extended and not extended:
            raise Refused("501", "Not after EPSV ALL.")
        session.close_endpoint()
        try:
            session.endpoint = listener = Passive(session.peer[0])
        except OSError:
            raise Refused("425", "No port.") from None
        return listener.port >> 8, listener.port & 255

    async def port(self, connection: aioftp.Connection, rest: str) -> bool:
        """PORT"""
        numbers = rest.split(",")
        if len(numbers) != 6 or not all(re.fullmatch("[0-9]{1,3}", each) for each in numbers):
            raise Refused("501", "h1,h2,h3,h4,p1,p2, please.")
        if any(int(each) > 255 for each in numbers):
            raise Refused("501", "h1,h2,h3,h4,p1,p2, please.")
        high, low = map(int, numbers[4:])
        self._connect_to(connection, ".".join(numbers[:4]), high << 8 | low)
        return True

    async def eprt(self, connection: aioftp.Connection, rest: str) -> bool:
        """EPRT (RFC 2428, 2)"""
        fields = rest.split(rest[:1] or "|")
        if len(fields) != 5 or not re.fullmatch("[0-9]{1,5}", fields[3]):
            raise Refused("501", "|1|address|port|, please.")
        if fields[1] != "1":
            raise Refused("522", "Network protocol not supported, use (1)")
        self._connect_to(connection, fields[2], int(fields[3]), extended=True)
        return True

    def _connect_to(
        self, connection: aioftp.Connection, name: str, port: int, extended: bool = False
    ) -> None:
        """To the client itself and nobody else (RFC 2577, 3). Behind a gateway that forwards from
        a loopback address, such an address is the client, too."""
        session: Session = connection.session
        if session.only_extended and not extended:
            raise Refused("501", "Not after EPSV ALL.")
        try:
            address = IPv4Address(name)
        except AddressValueError:
            raise Refused("501", "Not an address.") from None
        gateway = self._passive is not None and IPv4Address(self._passive).is_loopback
        if name != session.peer[0] and not (gateway and address.is_loopback):
            raise Refused("504", "To your own address only.")
        if not PRIVILEGED <= port < 1 << 16:
            raise Refused("504", "Not to that port.")
        session.close_endpoint()
        session.endpoint = Active((name, port))
        connection.response("200", "Will connect.")

    # transfers

    async def retr(self, connection: aioftp.Connection, rest: str | PurePosixPath) -> bool:
        """RETR"""
        with prepared(connection) as (session, endpoint, offset):
            fd, info = files.open_file(self.get_paths(connection, rest)[0])
            try:
                if offset > info.st_size:
                    raise Refused("554", "The file is not that long.")
                content = files.pieces(fd, offset, info.st_size)
                await transfer(
                    session, endpoint, lambda data: Sender(session.control, data).send(content)
                )
            finally:
                os.close(fd)
        return True

    async def stor(
        self, connection: aioftp.Connection, rest: str | PurePosixPath, mode: str = "wb"
    ) -> bool:
        """STOR, and APPE"""
        with prepared(connection) as (session, endpoint, offset):
            path, _ = self.get_paths(connection, rest)
            if Upload.check(path) < offset and mode != "ab":
                raise Refused("554", "The file is not that long.")

            async def store(data: socket.socket) -> None:
                who = session.upload(data)
                with Upload(path, None if mode == "ab" else offset, who) as upload:
                    await receive(session.control, data, upload.write)
                    upload.commit()

            await transfer(session, endpoint, store)
        return True

    async def list_(self, connection: aioftp.Connection, rest: str) -> bool:
        """LIST, of a directory or a file"""
        return await self._listing(connection, without_options(rest), files.list_line)

    async def nlst(self, connection: aioftp.Connection, rest: str) -> bool:
        """NLST"""
        return await self._listing(connection, without_options(rest), lambda name, info: name)

    async def mlsd(self, connection: aioftp.Connection, rest: str | PurePosixPath) -> bool:
        """MLSD (RFC 3659, 7)"""
        return await self._listing(connection, rest, files.facts_line, directory=True)

    async def mlst(self, connection: aioftp.Connection, rest: str | PurePosixPath) -> bool:
        """MLST: on the control connection."""
        path, virtual = self.get_paths(connection, rest)
        line = files.facts_line(str(virtual), stat_of(path))
        connection.response("250", ["Facts:", line, "End."], True)
        return True

    async def _listing(
        self,
        connection: aioftp.Connection,
        name: str | PurePosixPath,
        line: Line,
        directory: bool = False,
    ) -> bool:
        with prepared(connection) as (session, endpoint, _):
            path, virtual = self.get_paths(connection, name)
            info = stat_of(path)
            if stat.S_ISDIR(info.st_mode):
                found = files.entries(connection.user.base_path, path)
            elif directory:
                raise Refused("501", "Not a directory.")
            else:
                found = [(virtual.name, info)]
            text = "".join(line(*each) + "\r\n" for each in found)
            lines = text.encode("utf-8", "surrogateescape")
            content = [lines[at : at + CHUNK] for at in range(0, len(lines), CHUNK)]
            await transfer(
                session, endpoint, lambda data: Sender(session.control, data).send(content)
            )
        return True


def stat_of(path: Path) -> os.stat_result:
    """Refused"""
    with refusals():
        return path.stat()


def without_options(rest: str) -> str:
    """`ls` options that clients send are not for us."""
    while rest.startswith("-"):
        rest = rest.partition(" ")[2].lstrip()
    return rest


@contextlib.contextmanager
def prepared(connection: aioftp.Connection) -> Iterator[tuple[Session, Endpoint, int]]:
    """What was set up for this transfer, and where it starts. For this one only."""
    session: Session = connection.session
    offset: int = connection.restart_offset
    connection.restart_offset = 0
    endpoint = session.take_endpoint()
    try:
        yield session, endpoint, offset
    finally:
        endpoint.close()


async def transfer(session: Session, endpoint: Endpoint, body: Body) -> None:
    """150, the data connection, its end, and only then the last reply."""
    control = session.control
    control.reply("150", "About to open the data connection.")
    await control.flush()
    try:
        data = await endpoint.open(control)
    except Aborted:
        aborted(control)
        return
    except OSError:
        control.reply("425", "Can't open the data connection.")
        return
    try:
        await body(data)
    except Refused as error:
        data.close()
        control.reply(error.code, error.text)
    except (Aborted, OSError):
        data.close()
        aborted(control)
    else:
        data.close()
        control.reply("226", "Transfer complete.")
    finally:
        data.close()


def aborted(control: Control) -> None:
    """The replies: the same ones whether ABOR came before the connection broke, or after."""
    control.reply("426", "Transfer aborted.")
    if control.take_abort():
        control.reply("226", "Abort successful.")
