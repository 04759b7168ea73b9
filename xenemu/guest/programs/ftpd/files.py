"""What the FTP service knows of files: paths below its root, listings, uploads.

Listings are sorted and show nothing that depends on when they are made. An upload gets its
name when it is complete. It is marked with the connections that brought it, so that a service
which lives through the same session once more stores it once, also what is appended.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from types import TracebackType

from xenemu.guest.programs.uploads import PART, open_temporary, publish

CHUNK = 256 * 1024
MARK = "user.xenemu.uploads"
MARKS = 16  # uploads that a file remembers
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
Stamp = tuple[str, int, int]  # of an upload: who, at which offset, how many bytes


class Refused(Exception):
    """What is asked for can't be done: a reply."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(code, text)
        self.code, self.text = code, text


def refusal(error: OSError) -> Refused:
    """The reply for an error of the file system."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return Refused("452", "No space.")
    texts = {
        errno.ENOENT: "No such file or directory.",
        errno.ENOTDIR: "Not a directory.",
        errno.EISDIR: "Is a directory.",
        errno.EEXIST: "Already exists.",
        errno.ENOTEMPTY: "Directory not empty.",
        errno.ENAMETOOLONG: "Name too long.",
        errno.EACCES: "Permission denied.",
        errno.EPERM: "Permission denied.",
    }
    return Refused("550", texts.get(error.errno or 0, "Not possible."))


@contextlib.contextmanager
def refusals() -> Iterator[None]:
    """Errors of the file system as replies."""
    try:
        yield
    except OSError as error:
        raise refusal(error) from None


def inside(root: Path, path: Path) -> bool:
    """`path` is the root or below it."""
    return path == root or root in path.parents


def real_path(root: Path, virtual: PurePosixPath) -> Path:
    """Where an absolute path without ".." lies; Refused if a link leads out of the root. The last
    name is not followed: a link can be removed and renamed like a file."""
    if virtual == PurePosixPath("/"):
        return root
    try:
        parent = (root / str(virtual.parent).lstrip("/")).resolve()
        path = parent / virtual.name
        target = path.resolve()
    except (OSError, RuntimeError, ValueError):  # too long, a loop of links, a NUL
        raise Refused("550", "No such file or directory.") from None
    if not inside(root, parent) or not inside(root, target):
        raise Refused("550", "No such file or directory.")
    return path


def open_file(path: Path) -> tuple[int, os.stat_result]:
    """A regular file, for reading."""
    with refusals():
        fd = os.open(path.resolve(), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        info = os.fstat(fd)
    if not stat.S_ISREG(info.st_mode):
        os.close(fd)
        raise Refused("550", "Not a file.")
    return fd, info


def pieces(fd: int, at: int, end: int) -> Iterator[bytes]:
    """A part of a file; Refused if it is not there any more."""
    while at < end:
        chunk = os.pread(fd, min(CHUNK, end - at), at)
        if not chunk:
            raise Refused("451", "The file has shrunk.")
        yield chunk
        at += len(chunk)


# listings


def entries(root: Path, directory: Path) -> list[tuple[str, os.stat_result]]:
    """Names and what they are, sorted: no links that lead nowhere or out of the root, no names
    that a line can't hold, nothing unfinished."""
    found = []
    with refusals():
        for name in sorted(os.listdir(directory)):
            if PART.fullmatch(name) or "\n" in name or "\r" in name:
                continue
            with contextlib.suppress(OSError, RuntimeError):
                path = (directory / name).resolve()
                if inside(root, path):
                    found.append((name, path.stat()))
    return found


def list_line(name: str, info: os.stat_result) -> str:
    """As `ls -l`, with the date and never the time of day: which of the two `ls` shows depends on
    the time at which it runs."""
    when = time.gmtime(info.st_mtime)
    date = f"{MONTHS[when.tm_mon - 1]} {when.tm_mday:2d}  {when.tm_year:4d}"
    return f"{stat.filemode(info.st_mode)} 1 ftp ftp {info.st_size:13d} {date} {name}"


def facts_line(name: str, info: os.stat_result) -> str:
    """RFC 3659, 7."""
    facts = f"modify={modified(info)};"
    if stat.S_ISDIR(info.st_mode):
        return f"type=dir;{facts} {name}"
    kind = "file" if stat.S_ISREG(info.st_mode) else "OS.unix=special"
    return f"type={kind};size={info.st_size};{facts} {name}"


def modified(info: os.stat_result) -> str:
    """YYYYMMDDHHMMSS"""
    return time.strftime("%Y%m%d%H%M%S", time.gmtime(info.st_mtime))


# uploads


class Upload:
    """One file that is being stored. What comes lies in a nameless file until it is complete.

    `offset` None appends. `who` tells this upload from all others, and is the same when the
    session is lived through again.
    """

    def __init__(self, path: Path, offset: int | None, who: str) -> None:
        self._path, self._offset, self._who = path.resolve(), offset, who
        self._size = 0
        self._check_size(self.check(path))
        with refusals():
            self._fd, self._temporary = open_temporary(self._path.parent)
            if offset is None:  # it must be remembered, or it is appended once too often
                try:
                    set_marks(self._fd, [])
                except OSError:
                    self.close()
                    raise

    @staticmethod
    def check(path: Path) -> int:
        """Refused if no file can be stored there. The size of what it would replace."""
        with refusals():
            path = path.resolve()
            if os.path.lexists(path):
                fd, info = open_file(path)
                os.close(fd)
                return info.st_size
            if not stat.S_ISDIR(path.parent.stat().st_mode):
                raise Refused("550", "Not a directory.")
        return 0

    def _check_size(self, size: int) -> None:
        if self._offset is not None and self._offset > size:
            raise Refused("554", "The file is not that long.")

    def write(self, data: bytes) -> None:
        """What comes next; Refused."""
        view = memoryview(data)
        with refusals():
            while view:
                written = os.pwrite(self._fd, view, self._size)
                self._size += written
                view = view[written:]

    def commit(self) -> None:
        """The file is complete. If it had been so before, nothing happens; Refused."""
        with refusals():
            self._commit()

    def _commit(self) -> None:
        if not os.path.lexists(self._path):
            self._check_size(0)
            self._store(0, [])
            return
        old, info = open_file(self._path)
        try:
            marks = get_marks(old)
            if any(self._stored(old, stamp) for stamp in marks if stamp[0] == self._who):
                return
            self._check_size(info.st_size)
            if self._offset != 0:
                self._merge(old, info.st_size)
            os.fchmod(self._fd, info.st_mode & 0o777)
            self._store(info.st_size if self._offset is None else self._offset, marks)
        finally:
            os.close(old)

    def _store(self, start: int, marks: list[Stamp]) -> None:
        stamp = (self._who, start, self._size)
        with contextlib.suppress(OSError):  # a file system without: __init__ has seen to APPE
            set_marks(self._fd, [*marks, stamp][-MARKS:])
        publish(self._fd, self._temporary, self._path)
        self._temporary = None

    def _merge(self, old: int, size: int) -> None:
        """What came, inside a copy of the file as it is now."""
        fd, temporary = open_temporary(self._path.parent)
        start = size if self._offset is None else self._offset
        try:
            copy(old, size, fd, 0)
            copy(self._fd, self._size, fd, start)
        except OSError:
            os.close(fd)
            if temporary is not None:
                temporary.unlink()
            raise
        self.close()
        self._fd, self._temporary = fd, temporary

    def _stored(self, old: int, stamp: Stamp) -> bool:
        """The file has what this upload has brought."""
        _, start, length = stamp
        if length != self._size:
            return False
        for done in range(0, length, CHUNK):
            count = min(CHUNK, length - done)
            if os.pread(self._fd, count, done) != os.pread(old, count, start + done):
                return False
        return True

    def close(self) -> None:
        """Of an upload that was not committed nothing stays."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            if self._temporary is not None:
                self._temporary.unlink(missing_ok=True)

    def __enter__(self) -> Upload:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def copy(source: int, size: int, target: int, at: int) -> None:
    """The first `size` bytes of a file into another one; OSError, also when they are not there."""
    os.lseek(target, at, os.SEEK_SET)
    done = 0
    while done < size:
        copied = os.sendfile(target, source, done, size - done)
        if not copied:
            raise OSError(errno.EIO, "the file has shrunk")
        done += copied


def get_marks(fd: int) -> list[Stamp]:
    """The uploads that a file remembers, oldest first."""
    stamps: list[Stamp] = []
    with contextlib.suppress(OSError, ValueError):
        for line in os.getxattr(fd, MARK).decode("ascii").splitlines():
            who, start, length = line.rsplit(" ", 2)
            stamps.append((who, int(start), int(length)))
    return stamps


def set_marks(fd: int, stamps: list[Stamp]) -> None:
    """Has a file remember uploads; OSError where there are no extended attributes."""
    text = "".join(f"{who} {start} {length}\n" for who, start, length in stamps)
    os.setxattr(fd, MARK, text.encode("ascii"))
