"""`boot --demo`: a real client, over real sockets, across crashes and an upgrade of its server."""

import dataclasses
import errno
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xenemu.boot import (
    BootConfig,
    Forward,
    Outcome,
    ServiceSpec,
    System,
    UpgradeRequest,
    UpgradeResult,
    UpgradeStep,
    timelines,
)
from xenemu.cli.serve import Report, Stop, Stopped, running

SIZE = 64 << 20
TRANSFER_SECONDS = 120.0
PROTECTED_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Scene:
    """One transfer and one crash, or an upgrade."""

    title: str
    verb: str
    crash: str  # "": the upgrade
    mark: int  # bytes of the body after which it comes


SCENES = (
    Scene("GET 64 MiB, the service is killed after 10 KB", "get", "app", 10_240),
    Scene("GET 64 MiB, the kernel crashes at half", "get", "kernel", SIZE // 2),
    Scene("PUT 64 MiB, the service is killed at half", "put", "app", SIZE // 2),
    Scene("GET 64 MiB, service and kernel are upgraded at half", "get", "", SIZE // 2),
)
UPGRADE = UpgradeRequest(kernel="2.6", reload=True, check="/data")


class ClientProcess:
    """The client, a child process; its output is read by the machine's loop."""

    def __init__(self, system: System, arguments: list[str]) -> None:
        self._system = system
        self._process = subprocess.Popen(
            [sys.executable, "-m", "xenemu.cli.demo_client", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for us
        )
        assert self._process.stdout is not None
        self._fd = self._process.stdout.fileno()
        self._text = b""
        self.ended = False
        os.set_blocking(self._fd, False)
        system.machine.watch_fd(self._fd, self._read)

    @property
    def marked(self) -> bool:
        """It waits at its mark."""
        return b"mark" in self._text

    def go_on(self) -> None:
        """Past the mark."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"go\n")
        self._process.stdin.close()

    def close(self) -> None:
        """Ends it, if it still runs."""
        if not self.ended:
            self._finish()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def result(self) -> dict[str, Any]:
        """Its last line; {} when there is none."""
        self._process.wait()
        lines = self._text.decode(errors="replace").splitlines()
        try:
            found = json.loads(lines[-1])
        except (IndexError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _read(self) -> None:
        try:
            data = os.read(self._fd, 65536)
        except BlockingIOError:
            return
        self._text += data
        if not data:
            self._finish()

    def _finish(self) -> None:
        self.ended = True
        self._system.machine.watch_fd(self._fd, None)


class Demo:
    """Plays the scenes on a booted system."""

    def __init__(self, system: System, root: Path, report: Report, stop: Stop) -> None:
        self._system = system
        self._root = root
        self._report = report
        self._stop = stop
        self._upgraded: list[UpgradeResult] = []

    def play(self, number: int, scene: Scene, source: Path, digest: str) -> bool:
        """One scene; whether every byte was right, and the service is protected again."""
        system = self._system
        self._report(f"\n{number}. {scene.title}")
        since = system.log.count
        port = next(iter(system.ports.values()))
        target = "data" if scene.verb == "get" else "upload"
        arguments = [scene.verb, "127.0.0.1", str(port), f"/{target}", str(scene.mark)]
        client = ClientProcess(system, [*arguments, str(source)])
        try:
            self._wait(lambda: client.marked or client.ended, TRANSFER_SECONDS)
            if not client.ended:
                if scene.crash:
                    system.crash(scene.crash)
                else:
                    system.upgrade(UPGRADE, self._tell_step, self._upgraded.append)
                client.go_on()
            self._wait(lambda: client.ended, TRANSFER_SECONDS)
        finally:
            client.close()
        right = self._compare(scene, client.result(), digest)
        done = self._tell_recoveries(since) if scene.crash else self._tell_upgrade()
        again = self._wait(system.protected, PROTECTED_SECONDS)
        self._report(f"   {'protected again' if again else 'NOT protected again'}")
        return right and again and done

    def _tell_recoveries(self, since: int) -> bool:
        """What the crash led to; whether something did."""
        self._wait(self._system.protected, PROTECTED_SECONDS)
        recovered = timelines(self._system.log.since(since))
        for timeline in recovered:
            for line in timeline.lines():
                self._report(f"   {line}")
        if not recovered:
            self._report("   no recovery happened")
        return bool(recovered)

    def _tell_step(self, step: UpgradeStep) -> None:
        self._report(f"   {step.begin / 1e6:10.3f} ms  d{step.domid}  {step.text}")

    def _tell_upgrade(self) -> bool:
        """How the upgrade ended; whether it did, and well."""
        self._wait(lambda: bool(self._upgraded), PROTECTED_SECONDS)
        for result in self._upgraded:
            self._report(f"   {result.outcome} {result.reason}".rstrip())
        return [result.outcome for result in self._upgraded] == [Outcome.UPGRADED]

    def _wait(self, condition: Callable[[], bool], seconds: float) -> bool:
        met = self._system.run_until(lambda: condition() or self._stop(), seconds)
        if self._stop():
            raise Stopped
        return met

    def _compare(self, scene: Scene, result: dict[str, Any], digest: str) -> bool:
        if "sha256" not in result:
            self._report(f"   FAILED: {result.get('error', 'the client ended without a result')}")
            return False
        checks = {"client": result["sha256"]}
        if scene.verb == "put":
            checks["server"] = result["answer"]
            upload = self._root / "upload"
            checks["stored"] = file_digest(upload) if upload.exists() else "nothing"
        for who, found in checks.items():
            verdict = "right" if found == digest else "WRONG"
            self._report(f"   sha256 ({who}) {found[:16]}... {verdict}")
        self._report(f"   {result['bytes']} bytes in {result['seconds']} s, one connection")
        return all(found == digest for found in checks.values())


def file_digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def run_demo(config: BootConfig, name: str, report: Report) -> int:
    """Plays all scenes; 0 if everything was right, else 1. Raises OSError."""
    stop = Stop()
    with tempfile.TemporaryDirectory(prefix="xenemu-demo-") as directory, stop.on_signals():
        root = Path(directory)
        source = root / "data"
        source.write_bytes(os.urandom(SIZE))
        digest = file_digest(source)
        config = dataclasses.replace(
            config,
            root=root,
            forwards=(Forward(0, 80),),
            passive_ports=None,
            backup=True,
            specs=(ServiceSpec(),),
        )
        try:
            with running(config, name, report, stop) as system:
                demo = Demo(system, root, report, stop)
                good = [demo.play(i + 1, s, source, digest) for i, s in enumerate(SCENES)]
        except Stopped as error:
            raise InterruptedError(errno.EINTR, "stopped before its end") from error
    report(f"\ndemo: {'every byte was right' if all(good) else 'FAILED'}")
    return 0 if all(good) else 1
