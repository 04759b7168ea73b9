"""A fork server: one boot and one fault-free run for all points of a course.

The parent runs the course forward. At each point it forks; the child takes the fault, runs to
its end, is judged, and says through a pipe how it went; then the parent goes on. Children run
one at a time, so that each finds the disk as the parent left it: what a child has stored is
undone after it, and a file that was open at the fork for writing is copied for the child, but for
one that is only appended to: that is cut off again.

A child is what a run from the beginning with the same point would be, event for event. There
must be no other thread in the process.
"""

import asyncio
import gc
import os
import pickle
import select
import signal
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from xenemu.boot import Capture
from xenemu.lab.point import Course, Point
from xenemu.lab.trial import Trial, Verdict

CHILD_SECONDS = 120.0  # of real time
CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the run of a point went; no verdict: the emulator itself failed."""

    course: Course
    point: Point
    verdict: Verdict | None
    error: str = ""

    @property
    def failures(self) -> tuple[str, ...]:
        """What was violated."""
        return (self.error,) if self.verdict is None else self.verdict.failures

    def __str__(self) -> str:
        return f"{self.course}:{self.point}"


@contextmanager
def workspace() -> Iterator[Path]:
    """A directory for one course, in memory where that can be had. Garbage collection is off:
    a child would copy all that a collection touches."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(
        prefix="xenemu-lab-", dir=memory if os.access(memory, os.W_OK) else None
    ) as name:
        collecting = gc.isenabled()
        gc.disable()
        try:
            root = Path(name) / "files"
            root.mkdir()
            yield root
        finally:
            if collecting:
                gc.enable()


class Disk:
    """Puts a directory of plain files back to what it was."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._kept = root.with_name(root.name + ".kept")
        self._kept.mkdir()
        self._inodes: dict[str, int] = {}
        self._sizes: dict[str, int] = {}

    def mark(self) -> None:
        """The state to go back to."""
        found = {entry.name: entry.inode() for entry in os.scandir(self._root)}
        self._sizes = {name: (self._root / name).stat().st_size for name in found}
        for name in self._inodes.keys() - found.keys():
            (self._kept / name).unlink()
        for name, inode in found.items():
            if self._inodes.get(name) != inode:
                (self._kept / name).unlink(missing_ok=True)
                os.link(self._root / name, self._kept / name)
        self._inodes = found

    def restore(self) -> None:
        """Back to the mark. Files are replaced as a whole, appended to, or left as they are."""
        found = {entry.name: entry.inode() for entry in os.scandir(self._root)}
        for name, inode in found.items():
            if self._inodes.get(name) != inode:
                (self._root / name).unlink()
        for name, inode in self._inodes.items():
            if found.get(name) != inode:
                os.link(self._kept / name, self._root / name)
            if (self._root / name).stat().st_size > self._sizes[name]:
                os.truncate(self._root / name, self._sizes[name])


def own_open_files(root: Path) -> None:
    """In a child: files under `root` that are open for writing become copies."""
    for entry in os.listdir("/proc/self/fd"):
        fd = int(entry)
        try:
            name = os.readlink(f"/proc/self/fd/{fd}")
            with open(f"/proc/self/fdinfo/{fd}") as info:
                flags = int(info.read().split("flags:")[1].split()[0], 8)
        except OSError:  # the descriptor of the listing itself
            continue
        written = flags & os.O_ACCMODE != os.O_RDONLY and not flags & os.O_APPEND
        if name.startswith(f"{root}/") and written:
            _replace_by_copy(fd, root)


def _replace_by_copy(fd: int, root: Path) -> None:
    at = os.lseek(fd, 0, os.SEEK_CUR)
    copy = os.open(root, os.O_TMPFILE | os.O_RDWR, 0o644)
    with open(f"/proc/self/fd/{fd}", "rb") as source:
        while data := source.read(CHUNK):
            os.write(copy, data)
    os.lseek(copy, at, os.SEEK_SET)
    os.dup2(copy, fd)
    os.close(copy)


class ForkServer:
    """Runs points of one course."""

    def __init__(self, course: Course, root: Path) -> None:
        self._course, self._root = course, root
        self._server = os.getpid()
        self._child: int | None = None
        self._pipe = -1

    def run(
        self, choose: Callable[[Verdict], Sequence[Point]], report: Callable[[Outcome], None]
    ) -> None:
        """First the run without a fault; then the points that `choose` picks, given how that
        went: all of one kind of index. `report` hears of each at once."""
        self._report = report
        self._trial = Trial(self._course, self._root)
        self._disk = Disk(self._root)
        gc.collect()
        gc.freeze()
        try:
            calm = self._reach([Point()])
            if calm is not None and not calm.failures:
                self._reach(sorted(choose(calm), key=lambda point: point.indices))
        finally:
            self._reap()
            gc.unfreeze()
            self._trial.system.close()

    def _reach(self, points: Sequence[Point]) -> Verdict | None:
        """Runs forward over the points; the last one's verdict."""
        self._last: Verdict | None = None
        try:
            self._trial.advance(points, self._arrive)
        finally:
            if os.getpid() != self._server:
                self._end()  # never into the parent's clean-up
        return self._last

    def _arrive(self, point: Point) -> bool:
        """Forks; true in the child. The parent comes back with the child's outcome."""
        self._disk.mark()
        reading, writing = os.pipe()
        loop = asyncio._get_running_loop()
        pid = os.fork()
        if pid == 0:
            asyncio._set_running_loop(loop)  # a fork forgets it: we are in a step of a program
            os.close(reading)
            self._pipe = writing
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            own_open_files(self._root)
            return True
        os.close(writing)
        self._child = pid
        try:
            outcome = self._listen(point, reading)
        finally:
            os.close(reading)
            self._reap()
            self._disk.restore()
        self._last = outcome.verdict
        self._report(outcome)
        return False

    def _end(self) -> None:
        """In a child: the rest of its run, and its own end."""
        try:
            data = pickle.dumps(self._trial.finish())
        except BaseException:  # noqa: BLE001 - whatever it is, the parent reports it
            data = pickle.dumps(traceback.format_exc(limit=-3))
        with open(self._pipe, "wb", closefd=False) as pipe:
            pipe.write(data)
        os._exit(0)

    def _listen(self, point: Point, pipe: int) -> Outcome:
        data = b""
        while True:
            if not select.select([pipe], [], [], CHILD_SECONDS)[0]:
                return Outcome(self._course, point, None, f"no end in {CHILD_SECONDS:g} s")
            piece = os.read(pipe, CHUNK)
            if not piece:
                break
            data += piece
        if not data:
            status = self._wait()
            return Outcome(self._course, point, None, f"the emulator died: {status}")
        said = pickle.loads(data)
        if isinstance(said, str):
            return Outcome(self._course, point, None, said)
        return Outcome(self._course, point, said)

    def _wait(self) -> str:
        child, self._child = self._child, None
        assert child is not None
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return f"status {code}" if code >= 0 else signal.Signals(-code).name

    def interrupt(self) -> None:
        """Ends the child, if there is one, before it has said anything."""
        if self._child is not None and os.getpid() == self._server:
            os.kill(self._child, signal.SIGKILL)

    def _reap(self) -> None:
        """There is no child any more."""
        self.interrupt()
        if self._child is not None:
            self._wait()


def record(course: Course, point: Point, root: Path, file: Path) -> None:
    """The run of a point, its packets into a pcapng file. OSError."""
    with Trial(course, root) as trial, Capture(trial.system, file):
        trial.advance([point], lambda arrived: True)
        trial.finish()


def run_alone(course: Course, point: Point, root: Path) -> Outcome:
    """A point by itself, from the beginning, in this process."""
    with Trial(course, root) as trial:
        trial.advance([point], lambda arrived: True)
        return Outcome(course, point, trial.finish())
