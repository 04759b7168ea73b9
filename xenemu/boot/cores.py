"""The cores of services that died of a fault, and the files that they are written to.

The last ones are kept, also of domains that are gone. A file is written when no recovery is under
way any more: clients come first.
"""

import errno
import os
import tempfile
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from xenemu.guest import Core, core_lines

KEPT = 8
Emit = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Dump:
    """A core and the domain that it is of."""

    domid: int
    core: Core


class Cores:
    """The last cores, the newest last."""

    def __init__(self, directory: Path | None, emit: Emit) -> None:
        """`emit(domid, name, **details)` says in the event log what became of a file."""
        self._directory = directory
        self._emit = emit
        self._dumps: deque[Dump] = deque(maxlen=KEPT)
        self._unwritten: deque[Dump] = deque(maxlen=KEPT)

    def take(self, domid: int, core: Core) -> None:
        """A service of this domain has died. May run inside a guest's step."""
        dump = Dump(domid, core)
        self._dumps.append(dump)
        process = core.process
        self._emit(domid, "core-dumped", pid=process.pid, program=process.name, reason=core.reason)
        if self._directory is not None:
            self._unwritten.append(dump)

    def find(self, domid: int | None = None, pid: int | None = None) -> Core:
        """The newest core, of that domain, of that process; OSError(ENOENT)."""
        for dump in reversed(self._dumps):
            if domid in (None, dump.domid) and pid in (None, dump.core.process.pid):
                return dump.core
        raise OSError(errno.ENOENT, "no core")

    def due(self, now: int) -> bool:
        """Something is to be written, and the VMM has heard of its fault."""
        return bool(self._unwritten) and self._unwritten[-1].core.time < now

    def write(self) -> None:
        """Writes what is not written yet; a failure is an event. Outside every guest's step."""
        while self._unwritten:
            self._write(self._unwritten.popleft())

    def _write(self, dump: Dump) -> None:
        assert self._directory is not None
        process = dump.core.process
        name = f"core.d{dump.domid}.{process.name}.{process.pid}".replace(os.sep, "_")
        path = self._directory / name
        text = "".join(f"{line}\n" for line in core_lines(dump.core.as_dict()))
        try:
            write_atomically(path, text)
        except OSError as error:
            reason = error.strerror or os.strerror(error.errno or errno.EIO)
            self._emit(dump.domid, "core-not-written", path=str(path), error=reason)
        else:
            self._emit(dump.domid, "core-written", path=str(path))


def write_atomically(path: Path, text: str) -> None:
    """All of it or nothing, mode 0600. OSError."""
    number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(number, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
