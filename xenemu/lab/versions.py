"""New versions of the scenarios' services, good and broken, as `upgrade` kinds of a sweep."""

import asyncio
from pathlib import Path
from typing import Any

from aiohttp import web

from xenemu.boot import System, UpgradeRequest
from xenemu.guest.programs import httpd
from xenemu.lab import services
from xenemu.lab.services import PORT

# `reload` and `kernel` are to be upgraded to, `raises` and `deaf` rolled back. What the others
# answer is found out if anything was answered before.
VERSIONS = ("reload", "kernel", "raises", "deaf", "other-bytes", "other-length")
GOOD, BAD = VERSIONS[:2], VERSIONS[2:4]
HERE = "xenemu.lab.versions"
SERVE = {
    "echo": services.serve_echo,
    "after_eof": services.serve_after_eof,
    "other_answer": services.serve_other_answer,
}


def request(system: System, how: str) -> UpgradeRequest | None:
    """The upgrade to a version of what the primary runs; None: there is none such."""
    if how == "reload":
        return UpgradeRequest(reload=True)
    if how == "kernel":
        other = {"2.4": "2.6", "2.6": "2.4"}
        return UpgradeRequest(kernel=other[system.versions.of(system.primary().domid).kernel.name])
    if how in BAD:
        return UpgradeRequest(program=f"{HERE}:{how}")
    runs = system.versions.of(system.primary().domid).service
    name = runs.program.partition(":")[2]
    if name in SERVE:
        return UpgradeRequest(program=f"{HERE}:other", arguments=(how, name, *runs.arguments))
    if runs.program == httpd.__name__:
        return UpgradeRequest(program=f"{HERE}:other_httpd", arguments=(how, *runs.arguments))
    return None


async def raises(argv: list[str]) -> int:
    """Does not get as far as listening."""
    raise RuntimeError("a bad build")


async def deaf(argv: list[str]) -> int:
    """Runs, and never listens."""
    await asyncio.Event().wait()
    return 0


class Changed:
    """A writer of other bytes, all of them, or of one byte less at the beginning."""

    def __init__(self, writer: asyncio.StreamWriter, how: str) -> None:
        self._writer = writer
        self._cut = how == "other-length"

    def write(self, data: bytes) -> None:
        """Other than it was meant."""
        if not self._cut:
            self._writer.write(bytes(byte ^ 1 for byte in data))
        else:
            self._cut = not data
            self._writer.write(data[1:])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)


async def other(argv: list[str]) -> int:
    """other HOW SERVICE [BACKLOG]"""
    how, name, *rest = argv
    serve = SERVE[name]

    async def changed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await serve(reader, Changed(writer, how))  # type: ignore[arg-type]

    backlog = int(rest[0]) if rest else 100
    server = await asyncio.start_server(changed, "0.0.0.0", PORT, backlog=backlog)
    await server.serve_forever()
    return 0


async def other_httpd(argv: list[str]) -> int:
    """other_httpd HOW ...: each answer has another header, as long as it was, or one more."""
    how, *rest = argv

    async def prepare(request: web.Request, response: web.StreamResponse) -> None:
        if how == "other-bytes":
            response.headers["Server"] = response.headers.get("Server", "")[::-1]
        else:
            response.headers["X-Version"] = "2"

    def make(root: Path) -> web.Application:
        app = httpd.application(root)
        app.on_response_prepare.append(prepare)
        return app

    return await httpd.serve(rest, make)
