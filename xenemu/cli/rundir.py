"""Where control sockets live: the user's runtime directory, mode 0700."""

import os
import re
import stat
import tempfile
from pathlib import Path

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")


def check_name(name: str) -> str:
    """The name of an emulated host; ValueError for one that is no plain file name."""
    if not NAME.fullmatch(name):
        raise ValueError(f"bad name {name!r}: letters, digits, dots and dashes, at most 40")
    return name


def _candidates() -> list[Path]:
    uid = os.getuid()
    given = os.environ.get("XDG_RUNTIME_DIR")
    first = [Path(given)] if given else []
    return [*first, Path(f"/run/user/{uid}")]


def runtime_directory() -> Path:
    """The directory, made if need be. PermissionError when it is somebody else's."""
    for parent in _candidates():
        if parent.is_dir() and os.access(parent, os.W_OK | os.X_OK):
            path = parent / "xenemu"
            break
    else:
        path = Path(tempfile.gettempdir()) / f"xenemu-{os.getuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    info = path.lstat()
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.getuid():
        raise PermissionError(f"{path} is not a directory of this user")
    if info.st_mode & 0o077:
        path.chmod(0o700)
    return path


def socket_path(name: str) -> Path:
    """The control socket of an emulated host; ValueError for a bad name."""
    return runtime_directory() / f"{check_name(name)}.sock"
