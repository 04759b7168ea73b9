"""Files that get their name in one step, when they are complete."""

from __future__ import annotations

import errno
import os
import re
import secrets
from pathlib import Path

PART = re.compile(r"\.[0-9a-f]{16}\.part")  # of a crash in the middle of publish()


def part_name(directory: Path) -> Path:
    """A name that nobody uses."""
    return directory / f".{secrets.token_hex(8)}.part"


def open_temporary(directory: Path) -> tuple[int, Path | None]:
    """A nameless file: a crash leaves nothing behind. With a name where that can't be had."""
    try:
        return os.open(directory, os.O_TMPFILE | os.O_RDWR, 0o644), None
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
            raise
    while True:
        name = part_name(directory)
        try:
            return os.open(name, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644), name
        except FileExistsError:
            continue


def publish(fd: int, temporary: Path | None, path: Path) -> None:
    """Gives the file its name, instead of what had it before."""
    if temporary is None:
        temporary = link(fd, path)
    if temporary != path:
        try:
            os.replace(temporary, path)
        except OSError:
            temporary.unlink()
            raise


def link(fd: int, path: Path) -> Path:
    """Gives a nameless file the name, or another one beside it if that is taken."""
    target = part_name(path.parent) if os.path.lexists(path) else path
    while True:
        try:  # with a dir_fd it follows the link
            os.link(f"/proc/self/fd/{fd}", target, src_dir_fd=fd)
            return target
        except FileExistsError:
            target = part_name(path.parent)
