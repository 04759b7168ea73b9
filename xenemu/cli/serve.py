"""`boot`: assembles the emulated host, boots it, serves until told to stop."""

import errno
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import FrameType

from xenemu.boot import BootConfig, Capture, Profile, System, collect_rarely
from xenemu.cli.methods import Methods
from xenemu.cli.rundir import socket_path
from xenemu.cli.server import ControlServer, listen

Report = Callable[[str], None]


class Stop:
    """Whether to stop; set by a signal, by the control socket."""

    def __init__(self) -> None:
        self.requested = False

    def request(self) -> None:
        """From now on."""
        self.requested = True

    def __call__(self) -> bool:
        return self.requested

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """SIGINT and SIGTERM request it."""

        def handler(number: int, frame: FrameType | None) -> None:
            self.request()

        before = {n: signal.signal(n, handler) for n in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, previous in before.items():
                signal.signal(number, previous)


class Stopped(Exception):
    """Told to stop while it boots."""


@contextmanager
def running(config: BootConfig, name: str, report: Report, stop: Stop) -> Iterator[System]:
    """A booted System with its control socket. Raises OSError, Stopped.

    The name is taken before anything is built, and given back at the end.
    """
    path = socket_path(name)
    listener = listen(path)
    try:
        system = System(config)
    except BaseException:
        listener.close()
        path.unlink(missing_ok=True)
        raise
    with system, collect_rarely():
        methods = Methods(system, stop.request).table()
        server = ControlServer(path, system.machine, methods, listener)
        try:
            with Capture(system, config.pcap) if config.pcap else nullcontext():
                boot(system, report, stop)
                report(f"ready {url(system)}")
                yield system
        finally:
            server.close()


def serve(config: BootConfig, name: str, report: Report) -> None:
    """Boots and serves until SIGINT, SIGTERM or `stop`. Raises OSError."""
    stop = Stop()
    with stop.on_signals():
        try:
            with running(config, name, report, stop) as system:
                system.run_forever(stop)
        except Stopped:
            return


def boot(system: System, report: Report, stop: Stop) -> None:
    """Boots; Stopped when told to. OSError."""

    def step(line: str) -> None:
        if stop():
            raise Stopped
        report(line)

    system.boot(step)


def url(system: System) -> str:
    """Where the services are, those that are forwarded; else, the first forwarded port."""
    if not system.ports:
        raise OSError(errno.EINVAL, "nothing is forwarded")
    found = [
        f"{'ftp' if service.profile is Profile.FTP else 'http'}://127.0.0.1:{port}/"
        for service in system.config.services
        if (port := system.ports.get(service.port))
    ]
    return " ".join(found) or f"http://127.0.0.1:{next(iter(system.ports.values()))}/"
