"""Worker processes, each with a fork server of its own; outcomes come back one by one.

Workers are forked before anything else runs in this process, and end with it. A worker asks
for its next task when it is idle, so the order of outcomes depends on the machine; the
outcomes do not.
"""

import multiprocessing
import os
import signal
import traceback
from collections.abc import Iterable, Iterator
from multiprocessing.connection import Connection, wait
from types import FrameType, TracebackType
from typing import NoReturn

from xenemu.lab.forks import ForkServer, Outcome, workspace
from xenemu.lab.plan import Task


class Ended(Exception):
    """The parent wants this worker to end."""


class Worker:
    """Tasks in, outcomes and then None out, until the pipe is closed or SIGTERM comes."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._server: ForkServer | None = None
        self._ending = False
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent says when it is over
        signal.signal(signal.SIGTERM, self._leave)

    def run(self) -> None:
        """Raises EOFError, BrokenPipeError or Ended at its end."""
        while True:
            task: Task = self._pipe.recv()
            with workspace() as directory:
                self._server = ForkServer(task.course, directory)
                self._server.run(task.choose, self._report)
            self._pipe.send(None)

    def _report(self, outcome: Outcome) -> None:
        if self._ending:
            raise Ended
        self._pipe.send(outcome)

    def _leave(self, number: int, frame: FrameType | None) -> None:
        """No exception from here: it would come anywhere. The next outcome is the last."""
        self._ending = True
        if self._server is not None:
            self._server.interrupt()


def work(pipe: Connection, others: list[Connection]) -> NoReturn:
    """A worker process."""
    for other in others:
        other.close()
    try:
        Worker(pipe).run()
    except (EOFError, BrokenPipeError, Ended):
        pass
    except Exception:  # noqa: BLE001 - the parent only learns that this worker died
        traceback.print_exc()
    finally:
        os._exit(0)  # dead guests must not be torn down


class Pool:
    """A number of workers; use as a context manager."""

    def __init__(self, jobs: int) -> None:
        """Forks: no thread may run yet."""
        context = multiprocessing.get_context("fork")
        self._workers: dict[Connection, multiprocessing.process.BaseProcess] = {}
        for _ in range(jobs):
            ours, theirs = context.Pipe()
            others = [*self._workers, ours]
            process = context.Process(target=work, args=(theirs, others), daemon=True)
            process.start()
            theirs.close()
            self._workers[ours] = process

    def __enter__(self) -> "Pool":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the workers and what they have started."""
        for pipe, process in self._workers.items():
            process.terminate()
            pipe.close()
        for process in self._workers.values():
            process.join()
        self._workers.clear()

    def run(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """Outcomes, as they come. RuntimeError when a worker dies."""
        waiting = iter(tasks)
        busy = [pipe for pipe in self._workers if self._give(pipe, waiting)]
        while busy:
            for ready in wait(busy):
                assert isinstance(ready, Connection)
                try:
                    outcome = ready.recv()
                except (EOFError, ConnectionResetError):
                    raise RuntimeError("a worker died") from None
                if outcome is not None:
                    yield outcome
                elif not self._give(ready, waiting):
                    busy.remove(ready)

    @staticmethod
    def _give(pipe: Connection, tasks: Iterator[Task]) -> bool:
        task = next(tasks, None)
        if task is not None:
            pipe.send(task)
        return task is not None
