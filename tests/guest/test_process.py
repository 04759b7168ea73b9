"""Processes: exits, hooks, crashes, private modules, determinism, interrupts, commands."""

import asyncio
import gc
import os
import random
import signal
import socket
import sys
import time
import uuid
from typing import Any

import pytest
from world import World

from xenemu.guest import GuestSocket, Process, ProcessState, current_process, syscall


async def sleeper(argv: list[str]) -> int:
    await asyncio.sleep(float(argv[0]) if argv else 1e6)
    return 7


def test_exit_status_and_time(world: World) -> None:
    process = world.server.spawn(sleeper, ["0.5"])
    assert world.finish(process) == 7
    assert world.machine.now == 500_000_000
    assert process.state is ProcessState.EXITED


def test_cancelled_timers_cost_nothing(world: World) -> None:
    steps = 0

    async def program(argv: list[str]) -> int:
        nonlocal steps
        loop = asyncio.get_running_loop()
        for n in range(50):
            loop.call_later(1 + n / 10, print).cancel()
        await asyncio.sleep(10)
        steps = current_process()._steps
        return 0

    process = world.server.spawn(program)
    count = 0
    original = process.step

    def step() -> None:
        nonlocal count
        count += 1
        original()

    process.step = step  # type: ignore[method-assign]
    assert world.finish(process) == 0
    assert count < 10


@pytest.mark.parametrize("delay", [0.0, 1e-17, 1e-10, 1e-9])
def test_timer_for_the_instant_at_which_one_is_due(world: World, delay: float) -> None:
    async def program(argv: list[str]) -> int:
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        await asyncio.sleep(0.1)
        loop.call_later(delay, done.set_result, None)
        await done
        return 0

    assert world.finish(world.server.spawn(program)) == 0
    assert world.machine.now <= 100_000_001


def test_exit_hooks(world: World) -> None:
    seen: list[tuple[str, int, int, bool]] = []
    kernel = world.server
    kernel.sys_exit_hooks.append(
        lambda p, status: seen.append(("sys", p.pid, status, p.stop_requested))
    )
    kernel.sig_exit_hooks.append(
        lambda p, status: seen.append(("sig", p.pid, status, p.stop_requested))
    )
    first, second, third = (kernel.spawn(sleeper, [n]) for n in ("1", "100", "100"))
    world.sleep(2)
    kernel.sig_exit(second.pid, signal.SIGSEGV)
    kernel.stop(third.pid)
    world.finish(third)
    assert seen == [("sys", 1, 7, False), ("sig", 2, 139, False), ("sys", 3, 0, True)]
    assert (first.exit_status, second.exit_status, second.killed_by) == (7, 139, 11)
    with pytest.raises(ProcessLookupError):
        kernel.sig_exit(second.pid, signal.SIGKILL)


def test_unhandled_exception(world: World) -> None:
    async def bad(argv: list[str]) -> int:
        raise ValueError("broken")

    assert world.finish(world.server.spawn(bad)) == 1
    assert any("ValueError: broken" in line for line in world.lines)


def test_system_exit_and_syscall_exit(world: World) -> None:
    async def leaves(argv: list[str]) -> int:
        if argv[0] == "sys":
            sys.exit(3)
        syscall("exit", 4)
        return 0

    assert world.finish(world.server.spawn(leaves, ["sys"])) == 3
    assert world.finish(world.server.spawn(leaves, ["call"])) == 4


def test_crash_runs_no_finally(world: World) -> None:
    ran: list[str] = []

    async def program(argv: list[str]) -> int:
        async def child() -> None:
            try:
                await asyncio.sleep(1000)
            finally:
                ran.append("child")

        task = asyncio.create_task(child())
        try:
            await task
        finally:
            ran.append("main")
        return 0

    process = world.server.spawn(program)
    world.sleep(1)
    world.server.sig_exit(process.pid, signal.SIGKILL)
    world.server.processes.clear()
    del process
    gc.collect()
    world.sleep(2000)
    assert ran == []

    stopped = world.server.spawn(program)
    world.sleep(1)
    world.server.stop(stopped.pid)
    assert world.finish(stopped) == 0
    assert sorted(ran) == ["child", "main"]


def test_clean_exit_cancels_in_order(world: World) -> None:
    ran: list[int] = []

    async def child(n: int) -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(0)
            ran.append(n)

    async def program(argv: list[str]) -> int:
        children = [asyncio.create_task(child(n)) for n in range(20)]
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        await stop.wait()
        assert len(children) == 20
        return 0

    process = world.server.spawn(program)
    world.sleep(1)
    world.server.stop(process.pid)
    assert world.finish(process) == 0
    assert ran == list(range(20))
    assert process.loop.is_closed()


def test_killed_inside_a_call(world: World) -> None:
    after: list[str] = []

    async def program(argv: list[str]) -> int:
        asyncio.get_running_loop().call_soon(after.append, "callback")
        os.kill(os.getpid(), signal.SIGKILL)
        after.append("went on")
        return 0

    process = world.server.spawn(program)
    assert world.finish(process) == 137
    world.sleep(1)
    assert after == []


def test_livelock_is_killed(world: World) -> None:
    async def spin(argv: list[str]) -> int:
        while True:
            await asyncio.sleep(0)

    process = world.server.spawn(spin)
    assert world.finish(process) == 128 + signal.SIGXCPU
    assert any("livelock" in line for line in world.lines)


def test_modules_are_private(world: World) -> None:
    private = ("private_one", "private_two", "private_three")
    before = set(sys.modules)
    for n in ("1", "2"):
        world.finish(world.server.spawn("private_one", [n], private=private))
    assert [line.split(": ", 1)[1] for line in world.lines] == [
        "1 ['1'] ['1']", "2 ['2'] ['2']",
    ]  # fmt: skip
    assert not {name for name in set(sys.modules) - before if name.startswith("private_")}


def test_library_is_the_process_own(world: World) -> None:
    seen: list[Any] = []

    async def program(argv: list[str]) -> int:
        sample = (random.random(), os.urandom(4), uuid.uuid4(), time.time(), time.monotonic())
        seen.append((*sample, os.getpid(), socket.gethostname()))
        assert socket.socket is GuestSocket
        return 0

    real = (socket.socket, time.time, random.random, os.urandom, sys.stdout)
    for _ in range(2):
        other = World(seed=5)
        other.finish(other.server.spawn(program))
        other.finish(other.server.spawn(program))
    assert real == (socket.socket, time.time, random.random, os.urandom, sys.stdout)
    assert seen[:2] == seen[2:] and seen[0] != seen[1]
    plain = GuestSocket()
    assert type(plain) is socket.socket
    plain.close()


def test_task_sets_have_one_order(world: World) -> None:
    order: list[int] = []

    async def child(n: int) -> None:
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            order.append(n)
            raise

    async def program(argv: list[str]) -> int:
        try:
            async with asyncio.TaskGroup() as group:
                for n in range(30):
                    group.create_task(child(n))
                await asyncio.sleep(0)
                raise ValueError
        except* ValueError:
            pass
        return 0

    assert world.finish(world.server.spawn(program)) == 0
    assert order == list(range(30))


def test_executor_is_inline(world: World) -> None:
    async def program(argv: list[str]) -> int:
        assert await asyncio.to_thread(lambda: 5) == 5
        with pytest.raises(KeyError):
            await asyncio.to_thread({}.__getitem__, 1)
        with pytest.raises(NotImplementedError):
            await asyncio.create_subprocess_exec("true")
        loop = asyncio.get_running_loop()
        loop.call_soon_threadsafe(lambda: None)
        await loop.shutdown_asyncgens()
        await loop.shutdown_default_executor()
        return 0

    assert world.finish(world.server.spawn(program)) == 0, world.lines


def test_irq_and_ticks(world: World) -> None:
    seen: list[Any] = []
    kernel = world.server
    kernel.register_irq(23, lambda: seen.append("irq"))
    kernel.timer_handlers.append(lambda: seen.append("tick"))
    world.core.send_virq(kernel.node.id, 23)
    world.sleep(0.025)
    assert seen == ["irq", "tick", "tick"]
    with pytest.raises(FileExistsError):
        kernel.register_irq(23, print)
    with pytest.raises(OSError, match="not implemented"):
        world.client.register_irq(23, print)


def test_syscall_waits_for_an_interrupt(world: World) -> None:
    kernel = world.server
    waiting: list[asyncio.Future[int]] = []
    kernel.register_irq(23, lambda: waiting.pop().set_result(9))

    async def sys_wait(process: Process) -> int:
        waiting.append(asyncio.get_running_loop().create_future())
        return await waiting[-1]

    kernel.syscalls["wait"] = sys_wait

    async def program(argv: list[str]) -> int:
        result: Any = syscall("wait")
        return int(await result)

    process = kernel.spawn(program)
    world.sleep(1)
    assert not process.exited
    world.core.send_virq(kernel.node.id, 23)
    assert world.finish(process) == 9


def test_paused_domain_is_never_stepped(world: World) -> None:
    process = world.server.spawn(sleeper, ["1"])
    world.core.pause(world.server.node.id)
    world.sleep(5)
    assert not process.exited
    world.core.unpause(world.server.node.id)
    world.sleep(0.1)
    world.core.pause(world.server.node.id)
    world.sleep(5)
    assert not process.exited
    world.core.unpause(world.server.node.id)
    assert world.finish(process, 0.1) == 7


def test_stale_generation_and_bury(world: World) -> None:
    process = world.server.spawn(sleeper, ["1"])
    world.core.nodes[world.server.node.id].generation += 1
    world.sleep(5)
    assert not process.exited and world.server.runnable()
    world.machine.detach(world.server.node)
    assert process.exited and process.exit_status is None


def test_commands(world: World) -> None:
    results: list[Any] = []
    world.server.spawn(sleeper, ["1000"], name="svc")

    async def shell(argv: list[str]) -> int:
        for line in ("ps", "ifconfig", "ifconfig eth0 10.0.0.7", "ifconfig", "nope", "kill 1"):
            results.append(await world.server.execute(line.split()))
        return 0

    assert world.finish(world.client.spawn(shell)) == 0
    assert results == [
        (0, "  PID STATE    COMMAND\n    1 running  svc 1000\n"),
        (0, "eth0: inet 10.0.0.1 mtu 1500\n"),
        (0, ""),
        (0, "eth0: inet 10.0.0.7 mtu 1500\n"),
        (127, "nope: command not found\n"),
        (0, ""),
    ]
    assert world.server.processes[1].killed_by == signal.SIGTERM
