"""Cores: what they say of a dead process, and that nothing of it runs for that."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections import OrderedDict, deque
from pathlib import Path
from typing import Any

import pytest
from world import World

from xenemu.guest import Kernel, Process, core_lines, syscall
from xenemu.guest.core import MAX_CHARS, MAX_SOCKETS
from xenemu.guest.safe_repr import MAX_TOTAL, describe_error, safe_repr


def dump(world: World, process: Process, end: int | Exception | None = signal.SIGSEGV) -> Any:
    """The core of a process that is ended now (None: has ended by itself)."""
    if isinstance(end, Exception):
        world.server.die_of(process.pid, end)
    elif end is not None:
        world.server.sig_exit(process.pid, end)
    core = world.server.core(process.pid).as_dict()
    json.dumps(core)
    return core


def started(world: World, program: Any, *argv: str, kernel: Kernel | None = None) -> Process:
    process = (kernel or world.server).spawn(program, argv)
    process.dumps_core = True
    world.sleep(0.01)
    return process


def functions(stack: list[dict[str, Any]]) -> list[str]:
    return [frame["function"].rpartition(".")[2] for frame in stack]


async def deep(argv: list[str]) -> int:
    """A chain of a coroutine, an asynchronous generator, an awaitable and a future."""

    async def ticks(count: int) -> Any:
        for tick in range(count):
            await middle(tick)
            yield tick

    async def middle(tick: int) -> None:
        class Awaitable:
            def __await__(self) -> Any:
                return last(tick).__await__()

        await Awaitable()

    async def last(tick: int) -> None:
        secret = ["s", {"k": tick}]
        assert secret
        await asyncio.get_running_loop().create_future()

    async def helper(name: str) -> None:
        await asyncio.sleep(1000)

    other = asyncio.create_task(helper("n"), name="helper of n")
    async for _ in ticks(3):
        pass
    await other
    return 0


def test_the_stacks_of_all_tasks(world: World) -> None:
    core = dump(world, started(world, deep, "a", "b"))
    assert (core["reason"], core["status"], core["pid"]) == ("SIGSEGV", 139, 1)
    assert (core["program"], core["arguments"], core["domain"]) == ("deep", ["a", "b"], "server")
    assert core["started"] == 0 and core["died"] == 0.01
    assert core["date"] == "2005-01-01T00:00:00.010+00:00"
    main, helper = core["tasks"]
    assert functions(main["stack"]) == ["_run", "deep", "ticks", "middle", "last"]
    assert main["stack"][-1]["locals"] == {"secret": "['s', {'k': 0}]", "tick": "0"}
    assert Path(main["stack"][-1]["file"]) == Path(__file__)
    assert main["waits"].startswith("<GuestFuture ") and main["waits"].endswith(" pending>")
    assert helper["name"] == "helper of n"
    assert functions(helper["stack"]) == ["helper", "sleep"]
    assert (core["step"], core["traceback"], core["modules"]) == ([], [], {})
    text = "\n".join(core_lines(core))
    assert "task helper of n, waits for <GuestFuture" in text
    assert "    secret = ['s', {'k': 0}]" in text


def test_a_task_that_its_loop_does_not_know(world: World) -> None:
    async def program(argv: list[str]) -> int:
        loop = asyncio.get_running_loop()
        tasks = [
            asyncio.Task(asyncio.sleep(1000), loop=loop, name=name) for name in ("b", "aa", "a")
        ]
        await tasks[0]
        return 0

    bystander = started(world, program)
    main, *others = dump(world, started(world, program))["tasks"]
    assert main["waits"] == "<Task b pending>" and not bystander.exited
    assert [(each["name"], functions(each["stack"])) for each in others] == [
        ("a", ["sleep"]), ("b", ["sleep"]), ("aa", ["sleep"]),
    ]  # fmt: skip


def test_death_inside_its_own_step(world: World) -> None:
    async def program(argv: list[str]) -> int:
        def inner(depth: int) -> None:
            here = "here"
            if depth:
                inner(depth - 1)
            os.kill(os.getpid(), signal.SIGABRT)
            raise AssertionError(here)

        inner(2)
        return 0

    core = dump(world, started(world, program), None)
    assert core["reason"] == "SIGABRT"
    names = functions(core["step"])
    assert names[:5] == ["_run", "program", "inner", "inner", "inner"] and names[5] == "kill"
    assert core["step"][4]["locals"]["here"] == "'here'"
    assert "died in:" in core_lines(core)


def test_an_exception(world: World) -> None:
    async def program(argv: list[str]) -> int:
        def fails(number: int) -> None:
            raise ValueError("bad", number)

        try:
            fails(int(argv[0]))
        finally:
            asyncio.create_task(asyncio.sleep(1000))
        return 0

    core = dump(world, started(world, program, "7"), None)
    assert core["reason"] == "ValueError: ('bad', 7)"
    assert functions(core["traceback"]) == ["_run", "program", "fails"]
    assert core["traceback"][-1]["locals"]["number"] == "7"
    assert [functions(task["stack"]) for task in core["tasks"]] == [["sleep"]]
    assert "traceback:" in core_lines(core)


def test_an_injected_exception_and_an_exit(world: World) -> None:
    process = started(world, deep)
    assert dump(world, process, RuntimeError("x\ny"))["reason"] == "RuntimeError: 'x\\ny'"

    async def leaves(argv: list[str]) -> int:
        return 3

    other = started(world, leaves)
    core = dump(world, other, None)
    assert (core["reason"], core["tasks"]) == ("exit 3", [])
    assert [each.process.pid for each in world.server.cores] == [process.pid, other.pid]
    assert world.server.core().process is other


def test_no_core_of_what_was_told_to_stop_or_does_not_dump(world: World) -> None:
    process = started(world, deep)
    world.server.stop(process.pid)
    assert world.finish(process) == 0
    other = world.server.spawn(deep)
    world.sleep(0.01)
    world.server.sig_exit(other.pid, signal.SIGKILL)
    assert not world.server.cores
    with pytest.raises(ProcessLookupError):
        world.server.core()


def test_sockets_as_they_were(world: World) -> None:
    async def serve(argv: list[str]) -> int:
        async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(1000)
            writer.close()

        socket.socket()
        server = await asyncio.start_server(hold, "0.0.0.0", 80)
        await server.serve_forever()
        return 0

    async def call(argv: list[str]) -> int:
        _, writer = await asyncio.open_connection("10.0.0.1", 80)
        await asyncio.sleep(1000)
        writer.close()
        return 0

    process = started(world, serve)
    started(world, call, kernel=world.client)
    core = dump(world, process)
    shown = [(sock["state"], sock["local"], sock["peer"].split(":")[0]) for sock in core["sockets"]]
    assert shown == [
        ("UNCONNECTED", "", ""), ("LISTEN", "10.0.0.1:80", ""),
        ("ESTABLISHED", "10.0.0.1:80", "10.0.0.9"),
    ]  # fmt: skip
    assert core["more_sockets"] == 0
    assert len(world.core.dropped) == 2


def test_much_is_cut(world: World) -> None:
    async def program(argv: list[str]) -> int:
        async def wait(filler: list[str]) -> None:
            await asyncio.sleep(1000)

        kept = [asyncio.create_task(wait(["x" * 1000] * 100)) for _ in range(5000)]
        assert kept and [socket.socket() for _ in range(MAX_SOCKETS + 3)]
        await asyncio.sleep(1000)
        return 0

    core = dump(world, started(world, program))
    assert (len(core["sockets"]), core["more_sockets"]) == (MAX_SOCKETS, 3)
    assert len(core["tasks"]) + core["more_tasks"] == 5001
    assert core["more_tasks"] > 0 and len(json.dumps(core)) < 2 * MAX_CHARS
    assert f"and {core['more_tasks']} more tasks" in core_lines(core)


def test_the_variables_of_its_own_modules(world: World, tmp_path: Path) -> None:
    source = tmp_path / "stateful.py"
    source.write_text(
        "import asyncio, os\n"
        "from os import path, getpid\n"
        "COUNT = 3\n"
        "__hidden__ = 4\n"
        "class Thing: pass\n"
        "thing = Thing()\n"
        "async def main(argv):\n"
        "    global COUNT\n"
        "    COUNT = 5\n"
        "    await asyncio.sleep(1000)\n"
    )
    core = dump(world, started(world, str(source)))
    values = core["modules"]["stateful"]
    assert set(values) == {"COUNT", "thing"} and values["COUNT"] == "5"
    assert values["thing"].startswith("<stateful.Thing at 0x")


def test_nothing_of_the_program_runs(world: World) -> None:
    ran: list[str] = []

    class Meta(type):
        def __eq__(cls, other: object) -> bool:
            ran.append("type.__eq__")
            return False

        def __hash__(cls) -> int:
            ran.append("type.__hash__")
            return 1

        def __instancecheck__(cls, instance: object) -> bool:
            ran.append("__instancecheck__")
            return True

        def __subclasscheck__(cls, kind: type) -> bool:
            ran.append("__subclasscheck__")
            return True

        @property
        def __name__(cls) -> str:
            ran.append("type.__name__")
            return "no"

        def __getattribute__(cls, name: str) -> Any:
            ran.append(f"type.{name}")
            return super().__getattribute__(name)

    class Trap(metaclass=Meta):
        def __repr__(self) -> str:
            ran.append("__repr__")
            return "no"

        __str__ = __format__ = __bool__ = __len__ = __hash__ = __repr__  # type: ignore[assignment]

        def __iter__(self) -> Any:
            ran.append("__iter__")
            return iter(())

        def __await__(self) -> Any:
            yield from asyncio.sleep(1000).__await__()

        def __getattribute__(self, name: str) -> Any:
            ran.append(name)
            return object.__getattribute__(self, name)

    class Text(str):
        __slots__ = ()
        __repr__ = __str__ = Trap.__dict__["__repr__"]

    class Failure(Exception):
        __repr__ = __str__ = Trap.__dict__["__repr__"]

    async def program(argv: list[str]) -> int:
        trap, text = Trap(), Text("x")
        values = [trap, {text: trap}, Trap, {"k": (trap, text)}, Failure(trap)]
        assert values
        await trap
        return 0

    process = started(world, program)
    ran.clear()
    world.server.sig_exit(process.pid, signal.SIGSEGV)
    core = world.server.core(process.pid).as_dict()
    assert core_lines(core)
    assert ran == []
    shown = core["tasks"][0]["stack"][1]["locals"]
    assert ".Trap at 0x" in shown["trap"] and ".Text at 0x" in shown["text"]
    assert describe_error(Failure(Trap(), 1)).startswith("Failure: (<")
    assert describe_error(Failure(Text("x"))).startswith("Failure: <")
    assert describe_error(Failure()) == "Failure"
    assert ran == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "None"), (True, "True"), (5, "5"), (1.5, "1.5"), (2j, "2j"), (..., "Ellipsis"),
        ("a'b", '"a\'b"'), (b"x", "b'x'"), (bytearray(b"x"), "bytearray(b'x')"),
        (1 << 256, "<int of 257 bits>"),
        ("x" * 81, repr("x" * 80) + " and 1 more"),
        ((), "()"), ((1,), "(1)"), ([1, [2, [3]]], "[1, [2, [...]]]"), ({1}, "{1}"),
        (frozenset([1]), "frozenset({1})"), (deque([1]), "deque([1])"),
        ({"a": {"b": {"c": 1}}}, "{'a': {'b': {...}}}"),
        (list(range(10)), "[0, 1, 2, 3, 4, 5, 6, 7, and 2 more]"),
        (dict.fromkeys(range(9), 1), str(dict.fromkeys(range(8), 1))[:-1] + ", and 1 more}"),
        (dump, "<function dump>"), (int, "<class int>"),
        (OrderedDict, "<class collections.OrderedDict>"),
    ],
)  # fmt: skip
def test_values(value: object, text: str) -> None:
    assert safe_repr(value) == text


def test_values_that_hold_themselves_are_cut() -> None:
    endless: list[object] = ["x" * 1000] * 7
    endless += [endless] * 100
    assert len(safe_repr(endless)) == MAX_TOTAL
    assert safe_repr(object()).startswith("<object at 0x")
    assert safe_repr(sys).startswith("<module at 0x")


def test_commands(world: World) -> None:
    lines: list[str] = []
    process = started(world, deep)

    def run(*argv: str) -> tuple[int | None, str]:
        lines.clear()
        command = world.server.start_command(argv, lines.append)
        assert command is not None
        status = world.finish(command)
        return status, "\n".join(lines)

    assert run("core") == (1, "core: none")
    world.server.sig_exit(process.pid, signal.SIGTERM)
    assert run("core", "1")[1] == "\n".join(core_lines(world.server.core().as_dict()))
    assert run("ps")[1].splitlines()[1] == "    1 dead (SIGTERM) deep"
    assert run("connect", "10.0.0.9", "x")[0] == 2
    assert run("connect", "10.0.0.9", "9") == (1, "connect: 10.0.0.9:9: Connection refused")
    assert run("run") == (2, "usage: run PROGRAM [ARGUMENT]...")
    status, text = run("run", "nonsense.none")
    assert status == 0
    world.sleep(0.1)
    assert world.server.core().reason == "ModuleNotFoundError: No module named 'nonsense'"
    assert world.server.core().process.pid == int(text.removeprefix("pid "))


def test_a_kernel_keeps_the_last_ones(world: World) -> None:
    async def leaves(argv: list[str]) -> int:
        syscall("exit", 1)
        return 0

    processes = [started(world, leaves) for _ in range(20)]
    assert [core.process for core in world.server.cores] == processes[-8:]
