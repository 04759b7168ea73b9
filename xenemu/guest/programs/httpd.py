"""An HTTP/1.1 file server on aiohttp: GET (Range, keep-alive), HEAD, listings, PUT.

An ordinary asyncio program. Its output is a function of its input and of the files, except
for the Date header. PUT stores the body atomically and answers its SHA-256.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import hashlib
import html
import mimetypes
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

from aiohttp import web

from xenemu.guest.programs.uploads import open_temporary, publish

CHUNK = 256 * 1024
ROOT: web.AppKey[Path] = web.AppKey("root", Path)


def resolve(root: Path, request: web.Request) -> Path:
    """The file that a request names; 404 when it lies outside the root, also by a link."""
    name = request.match_info["name"]
    if "\0" in name or ".." in name.split("/"):
        raise web.HTTPNotFound
    try:
        path = (root / name.lstrip("/")).resolve()
    except (OSError, RuntimeError):  # too long, or a loop of links
        raise web.HTTPNotFound from None
    if path != root and root not in path.parents:
        raise web.HTTPNotFound
    return path


@contextlib.contextmanager
def http_errors() -> Iterator[None]:
    """Errors of the file system as status codes."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise web.HTTPNotFound from None
    except PermissionError:
        raise web.HTTPForbidden from None
    except IsADirectoryError:
        raise web.HTTPConflict(text="is a directory\n") from None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENAMETOOLONG):
            raise web.HTTPNotFound from None
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise web.HTTPInsufficientStorage(text="no space\n") from None
        raise


def listing(directory: Path, title: str) -> web.Response:
    """The names of a directory, sorted; directories end in a slash."""
    names = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in os.scandir(directory))
    items = "".join(f'<li><a href="{quote(name)}">{html.escape(name)}</a></li>\n' for name in names)
    head = f"<!DOCTYPE html>\n<title>{html.escape(title)}</title>\n"
    return web.Response(text=f"{head}<ul>\n{items}</ul>\n", content_type="text/html")


def byte_range(request: web.Request, size: int) -> tuple[int, int] | None:
    """Start and length that a Range header asks for; None: the whole. 416 as an exception."""
    if "Range" not in request.headers or "If-Range" in request.headers:
        return None
    try:
        wanted = request.http_range
    except ValueError:  # not understood: RFC 9110 says to ignore it
        return None
    start, stop, _ = wanted.indices(size)
    if wanted.start is not None and wanted.start >= size or start >= stop:
        raise web.HTTPRequestRangeNotSatisfiable(headers={"Content-Range": f"bytes */{size}"})
    return start, stop - start


async def get(request: web.Request) -> web.StreamResponse:
    """GET and HEAD."""
    root = request.app[ROOT]
    path = resolve(root, request)
    with http_errors():
        if path.is_dir():
            if not request.path.endswith("/"):
                raise web.HTTPMovedPermanently(quote(request.path) + "/")
            return listing(path, request.path)
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")
    with file:
        info = os.fstat(file.fileno())
        if not stat.S_ISREG(info.st_mode):
            raise web.HTTPForbidden
        part = byte_range(request, info.st_size)
        start, length = part or (0, info.st_size)
        response = web.StreamResponse(status=200 if part is None else 206)
        response.content_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        response.content_length = length
        response.last_modified = int(info.st_mtime)
        response.headers["Accept-Ranges"] = "bytes"
        if part is not None:
            end = start + length - 1
            response.headers["Content-Range"] = f"bytes {start}-{end}/{info.st_size}"
        await response.prepare(request)
        if request.method != "HEAD":
            await send_file(response, file.fileno(), start, length)
        return response


async def send_file(response: web.StreamResponse, fd: int, start: int, length: int) -> None:
    """`length` bytes from `start`; a file that shrank ends the connection."""
    while length:
        chunk = os.pread(fd, min(CHUNK, length), start)
        if not chunk:
            raise ConnectionAbortedError("the file shrank while it was sent")
        await response.write(chunk)
        start += len(chunk)
        length -= len(chunk)


async def put(request: web.Request) -> web.Response:
    """Stores the body; always 200: an answer that told whether the name was new could not be
    given again after a fault. Nothing is left of a broken upload."""
    path = resolve(request.app[ROOT], request)
    if request.path.endswith("/") or path.is_dir():
        raise web.HTTPConflict(text="is a directory\n")
    digest = hashlib.sha256()
    with http_errors():
        fd, temporary = open_temporary(path.parent)
        try:
            async for chunk in request.content.iter_chunked(CHUNK):
                digest.update(chunk)
                view = memoryview(chunk)
                while view:
                    view = view[os.write(fd, view) :]
            publish(fd, temporary, path)
            temporary = None
        finally:
            os.close(fd)
            if temporary is not None:
                temporary.unlink()
    return web.Response(text=digest.hexdigest() + "\n")


def application(root: Path) -> web.Application:
    """The application that serves `root`."""
    app = web.Application(client_max_size=0)
    app[ROOT] = root.resolve(strict=True)
    app.router.add_get("/{name:.*}", get)  # HEAD too
    app.router.add_put("/{name:.*}", put)
    return app


async def main(argv: list[str]) -> int:
    """httpd [--port N] [--host ADDRESS] ROOT: serves until it is cancelled."""
    return await serve(argv, application)


async def serve(argv: list[str], make: Callable[[Path], web.Application]) -> int:
    """What `main` does, with another application of the root."""
    parser = argparse.ArgumentParser(prog="httpd", description="HTTP file server")
    parser.add_argument("root", type=Path)
    parser.add_argument("--port", type=int, default=80)
    parser.add_argument("--host", default="0.0.0.0")
    options = parser.parse_args(argv)
    runner = web.AppRunner(make(options.root), access_log=None, handle_signals=False)
    await runner.setup()
    try:
        await web.TCPSite(runner, options.host, options.port).start()
        await asyncio.get_running_loop().create_future()
    finally:
        await runner.cleanup()
    return 0
