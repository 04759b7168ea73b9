"""Two or more guest kernels on one fake machine."""

from collections.abc import Callable
from typing import Any

from fake_core import MS, FakeCore

from xenemu.guest import Kernel, Process, ip_number
from xenemu.machine import Machine

SECOND = 1000 * MS


class World:
    def __init__(self, seed: int = 1, **core: int) -> None:
        self.core: Any = FakeCore(**core)
        self.machine = Machine(core=self.core, seed=seed)
        self.lines: list[str] = []
        self.server = self.domain("10.0.0.1", "server", seed)
        self.client = self.host("10.0.0.9", "client", seed)

    def domain(self, ip: str, name: str, seed: int = 1) -> Kernel:
        node = self.machine.domain(self.core.add_domain(ip_number(ip)))
        return self.attach(Kernel(node, name, seed, self.lines.append))

    def host(self, ip: str, name: str, seed: int = 1) -> Kernel:
        node = self.machine.add_host(ip_number(ip))
        return self.attach(Kernel(node, name, seed, self.lines.append))

    def attach(self, kernel: Kernel) -> Kernel:
        self.machine.attach(kernel.node, kernel)
        return kernel

    def until(self, condition: Callable[[], bool], seconds: float = 60) -> bool:
        deadline = self.machine.now + int(seconds * SECOND)
        return self.machine.run_until(condition, deadline)

    def finish(self, process: Process, seconds: float = 60) -> int | None:
        assert self.until(lambda: process.exited, seconds), self.lines
        return process.exit_status

    def sleep(self, seconds: float) -> None:
        self.machine.run(self.machine.now + int(seconds * SECOND))
