"""The same programs over the C machine: streams, the file server, interrupts, determinism."""

import asyncio
import hashlib
import io
import random
from pathlib import Path

import aiohttp
from test_streams import echo_client, echo_server
from world import SECOND

from xenemu.guest import Kernel, Process, ip_number
from xenemu.machine import Machine

BIG = random.Random(8).randbytes(3_000_000)


class CoreWorld:
    """One domain and one LAN host on the C machine."""

    def __init__(self, seed: int = 1) -> None:
        self.machine = Machine(frames=4096, seed=seed)
        core = self.machine.core
        self.lines: list[str] = []
        self.domid = core.create_domain(
            pages=1024, max_pages=1024, window_pages=0, privileged=True, ip=ip_number("10.0.0.1")
        )
        core.attach_stack(self.domid, seed=seed)
        core.path_set(ip_number("10.0.0.1"), self.domid)
        self.server = self.attach(Kernel(self.machine.domain(self.domid), "server", seed, self.log))
        host = self.machine.add_host(
            ip_number("10.0.0.9"), bits_per_second=100_000_000, delay=200_000, seed=seed
        )
        self.client = self.attach(Kernel(host, "client", seed, self.log))
        core.unpause(self.domid)

    def log(self, line: str) -> None:
        self.lines.append(line)

    def attach(self, kernel: Kernel) -> Kernel:
        self.machine.attach(kernel.node, kernel)
        return kernel

    def finish(self, process: Process, seconds: int = 60) -> int | None:
        deadline = self.machine.now + seconds * SECOND
        assert self.machine.run_until(lambda: process.exited, deadline), self.lines
        return process.exit_status


def echo(seed: int) -> tuple[int, int, list[str]]:
    world = CoreWorld(seed)
    world.client.hosts["server"] = ip_number("10.0.0.1")
    world.server.spawn(echo_server)
    for client in [world.client.spawn(echo_client) for _ in range(2)]:
        assert world.finish(client) == 0, world.lines
    result = (world.machine.core.trace_hash, world.machine.now, world.lines)
    world.machine.close()
    return result


def test_echo_is_deterministic() -> None:
    first = echo(3)
    assert [line.rpartition(" ")[2] for line in first[2]] == ["True", "True"]
    assert echo(3) == first
    assert echo(4)[0] != first[0]


def test_httpd(tmp_path: Path) -> None:
    world = CoreWorld()
    (tmp_path / "big").write_bytes(BIG)
    world.server.spawn("xenemu.guest.programs.httpd", [str(tmp_path)])

    async def program(argv: list[str]) -> int:
        await asyncio.sleep(0.5)
        async with aiohttp.ClientSession("http://10.0.0.1") as session:
            async with session.get("/big") as answer:
                assert await answer.read() == BIG
            async with session.get("/big", headers={"Range": "bytes=9-"}) as answer:
                assert (answer.status, await answer.read()) == (206, BIG[9:])
            async with session.put("/new", data=io.BytesIO(BIG)) as answer:
                assert await answer.text() == hashlib.sha256(BIG).hexdigest() + "\n"
        return 0

    assert world.finish(world.client.spawn(program)) == 0, world.lines
    assert (tmp_path / "new").read_bytes() == BIG
    world.machine.close()


def test_interrupts() -> None:
    world = CoreWorld()
    seen: list[str] = []
    world.server.register_irq(23, lambda: seen.append("irq"))
    world.server.timer_handlers.append(lambda: seen.append("tick"))
    world.machine.core.send_virq(world.domid, 23)
    world.machine.run(world.machine.now + 35_000_000)
    assert seen.count("irq") == 1 and seen.count("tick") in (3, 4)
    process = world.server.spawn(echo_server)
    world.machine.panic(world.domid)
    seen.clear()
    world.machine.run(world.machine.now + 100_000_000)
    assert not seen and not process.fds and process.exit_status is None
    world.machine.close()
