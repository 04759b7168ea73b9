"""The FTP service's sessions, and the commands that need no data connection."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path, PurePosixPath
from typing import Any

import aioftp
from aioftp.errors import PathIOError

from xenemu.guest.programs.ftpd import files
from xenemu.guest.programs.ftpd.files import Refused, refusal, refusals
from xenemu.guest.programs.ftpd.streams import Control
from xenemu.guest.programs.ftpd.transfers import Session, Transfers, stat_of

ANONYMOUS = ("anonymous", "ftp")
BEFORE_LOGIN = ("user", "pass", "quit", "syst", "feat", "opts", "noop", "help")
FEATURES = ("EPRT", "EPSV", "MDTM", "MLST type*;size*;modify*;", "REST STREAM", "SIZE", "UTF8")
State = aioftp.AbstractUserManager.GetUserResponse


class Users(aioftp.AbstractUserManager):
    """Names and passwords; without any, anonymous."""

    def __init__(self, root: Path, passwords: dict[str, str]) -> None:
        super().__init__()
        names = passwords or dict.fromkeys(ANONYMOUS)
        self._users = {
            name: aioftp.User(name, password, base_path=root) for name, password in names.items()
        }
        self._nobody = aioftp.User(base_path=root)

    async def get_user(self, login: str) -> tuple[State, aioftp.User | None, str]:
        """Any name may try a password."""
        return State.PASSWORD_REQUIRED, self._users.get(login, self._nobody), "Password, please."

    async def authenticate(self, user: aioftp.User, password: str) -> bool:
        """Whatever anonymous says is right."""
        return user is not self._nobody and user.password in (None, password)


class Server(Transfers):
    """aioftp's commands, over a session of our own."""

    def __init__(self, root: Path, passwords: dict[str, str], passive: str | None) -> None:
        super().__init__(Users(root.resolve(strict=True), passwords), passive)
        own = (
            "abor allo appe cdup cwd dele eprt epsv feat help list_ mdtm mkd mlsd mlst mode nlst"
            " noop opts pass_ pasv port pwd quit rest retr rmd rnfr rnto size stor stru syst type_"
            " user"
        )
        self._commands: dict[str, Callable[[Any, Any], Awaitable[bool]]] = {
            name.rstrip("_"): getattr(self, name) for name in own.split()
        }
        for name in ("pwd", "cwd", "mkd", "rmd"):
            self._commands[f"x{name}"] = self._commands[name]

    # sessions

    async def session(self, sock: socket.socket, peer: tuple[str, int]) -> None:
        """Serves one client, to the end."""
        session = Session(Control(sock), sock.getsockname()[:2], peer)
        control = session.control
        connection = aioftp.Connection(
            client_host=peer[0],
            client_port=peer[1],
            command_connection=control,
            response=control.reply,
            restart_offset=0,
            wait_future_timeout=0,
            session=session,
        )
        connection.path_io = self.path_io_factory(connection=connection)
        control.reply("220", "FTP service ready.")
        try:
            with contextlib.suppress(OSError):
                going = True
                while going:
                    await control.flush()
                    command = await control.command()
                    going = command is not None and await self._run(connection, *command)
                await control.flush()
        finally:
            session.close_endpoint()
            sock.close()

    async def _run(self, connection: aioftp.Connection, name: str, rest: str) -> bool:
        """One command; False: the last one."""
        function = self._commands.get(name)
        try:
            if function is None:
                raise Refused("500", "Command line too long." if not name else "Unknown command.")
            if name not in BEFORE_LOGIN and not connection.future.logged.done():
                raise Refused("530", "Please log in.")
            if "\0" in rest:
                raise Refused("501", "A NUL in a name.")
            return await function(connection, rest)
        except Refused as error:
            connection.response(error.code, error.text)
        except PathIOError as error:
            cause = error.reason[1] if error.reason else None
            found = (
                refusal(cause) if isinstance(cause, OSError) else Refused("550", "Not possible.")
            )
            connection.response(found.code, found.text)
        return True

    # what aioftp lacks, or says differently from time to time

    async def pwd(self, connection: aioftp.Connection, rest: str | PurePosixPath) -> bool:
        """PWD; quotes are doubled (RFC 959, appendix II)."""
        connection.response("257", quoted(connection.current_directory))
        return True

    async def mkd(self, connection: aioftp.Connection, rest: str | PurePosixPath) -> bool:
        """MKD, which answers with the name."""
        path, virtual = self.get_paths(connection, rest)
        with refusals():
            path.mkdir()
        connection.response("257", quoted(virtual))
        return True

    async def rmd(self, connection: aioftp.Connection, rest: str | PurePosixPath) -> bool:
        """RMD, of anything but the root."""
        self._not_the_root(connection, rest)
        return await super().rmd(connection, rest)

    async def rnfr(self, connection: aioftp.Connection, rest: str | PurePosixPath) -> bool:
        """RNFR, of anything but the root."""
        self._not_the_root(connection, rest)
        return await super().rnfr(connection, rest)

    def _not_the_root(self, connection: aioftp.Connection, name: str | PurePosixPath) -> None:
        path, _ = self.get_paths(connection, name)
        if path == connection.user.base_path:
            raise Refused("550", "Not the root.")

    async def type_(self, connection: aioftp.Connection, rest: str) -> bool:
        """TYPE: all of them are sent as they are."""
        if rest.upper() not in ("A", "A N", "I", "L 8"):
            raise Refused("504", "Not that type.")
        connection.response("200", "Type set.")
        return True

    async def stru(self, connection: aioftp.Connection, rest: str) -> bool:
        """STRU F"""
        return self._only(connection, rest, "F")

    async def mode(self, connection: aioftp.Connection, rest: str) -> bool:
        """MODE S"""
        return self._only(connection, rest, "S")

    def _only(self, connection: aioftp.Connection, given: str, right: str) -> bool:
        if given.upper() != right:
            raise Refused("504", f"{right} only.")
        connection.response("200", f"{right} it is.")
        return True

    async def rest(self, connection: aioftp.Connection, rest: str) -> bool:
        """REST, for the next transfer whatever comes between."""
        if not re.fullmatch("[0-9]{1,18}", rest):
            raise Refused("501", "A number of bytes, please.")
        connection.restart_offset = int(rest)
        connection.response("350", f"Restarting at {int(rest)}.")
        return True

    async def syst(self, connection: aioftp.Connection, rest: str) -> bool:
        """SYST"""
        connection.response("215", "UNIX Type: L8")
        return True

    async def noop(self, connection: aioftp.Connection, rest: str) -> bool:
        """NOOP"""
        connection.response("200", "Done.")
        return True

    async def allo(self, connection: aioftp.Connection, rest: str) -> bool:
        """ALLO: there is nothing to allocate."""
        connection.response("202", "Not needed.")
        return True

    async def help(self, connection: aioftp.Connection, rest: str) -> bool:
        """HELP"""
        names = sorted(name.upper() for name in self._commands)
        rows = [" ".join(names[at : at + 8]) for at in range(0, len(names), 8)]
        connection.response("214", ["Commands:", *rows, "End."], True)
        return True

    async def feat(self, connection: aioftp.Connection, rest: str) -> bool:
        """FEAT (RFC 2389)"""
        connection.response("211", ["Features:", *FEATURES, "End."], True)
        return True

    async def opts(self, connection: aioftp.Connection, rest: str) -> bool:
        """OPTS UTF8 ON; the facts of MLST do not change."""
        name, _, value = rest.upper().partition(" ")
        if name == "MLST":
            connection.response("200", "MLST OPTS type;size;modify;")
        elif (name, value) in (("UTF8", "ON"), ("UTF8", "")):
            connection.response("200", "Always on.")
        else:
            raise Refused("501", "No such option.")
        return True

    async def size(self, connection: aioftp.Connection, rest: str) -> bool:
        """SIZE (RFC 3659, 4)"""
        connection.response("213", str(self._file(connection, rest).st_size))
        return True

    async def mdtm(self, connection: aioftp.Connection, rest: str) -> bool:
        """MDTM (RFC 3659, 3)"""
        connection.response("213", files.modified(self._file(connection, rest)))
        return True

    def _file(self, connection: aioftp.Connection, name: str) -> os.stat_result:
        info = stat_of(self.get_paths(connection, name)[0])
        if not stat.S_ISREG(info.st_mode):
            raise Refused("550", "Not a file.")
        return info

    async def abor(self, connection: aioftp.Connection, rest: str | PurePosixPath) -> bool:
        """ABOR with no transfer under way."""
        connection.response("226", "Abort successful.")
        return True


def quoted(path: PurePosixPath) -> str:
    """RFC 959, appendix II"""
    return '"' + str(path).replace('"', '""') + '"'
