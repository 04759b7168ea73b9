"""Client machines on the emulated LAN, for tests and experiments in virtual time."""

from collections.abc import Callable
from typing import Any

from xenemu.boot.config import CLIENT_IP, MIB, BootConfig, Link
from xenemu.boot.system import System
from xenemu.guest import Kernel


def small_config(**changes: Any) -> BootConfig:
    """A BootConfig in virtual time, with little memory; `changes` as in BootConfig."""
    values: dict[str, Any] = {
        "real": False,
        "control_memory": 4 * MIB,
        "primary_memory": 8 * MIB,
        "log": 16 * MIB,
    }
    return BootConfig(**(values | changes))


def add_client(system: System, number: int = 0, link: Link | None = None) -> Kernel:
    """An ordinary host with a kernel, for asyncio client programs; `number` numbers it."""
    link = link or system.config.link
    node = system.machine.add_host(
        CLIENT_IP + number,
        bits_per_second=link.bits_per_second,
        delay=link.delay_ns,
        loss_ppm=link.loss_ppm,
        reorder_ppm=link.reorder_ppm,
        duplicate_ppm=link.duplicate_ppm,
        seed=system.config.seed * 64 + number + 2,
    )
    kernel = Kernel(node, f"client{number}", system.config.seed * 64 + number)
    system.machine.attach(node, kernel)
    return kernel


def run_client(
    system: System, kernel: Kernel, program: Callable[[list[str]], Any], seconds: float
) -> int:
    """Runs an `async def program(argv)` on a client; its exit status, -1 after `seconds`."""
    process = kernel.spawn(program)
    system.run_until(lambda: process.exited, seconds)
    return -1 if process.exit_status is None else process.exit_status
