"""Stacks of a dead process, read without running anything of it.

A suspended task's stack is the chain of what its coroutines await. A step that was abandoned has
its stack in its greenlet; an exception has it in its traceback.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import sys
import types
from typing import Any

from xenemu.guest.safe_repr import exact_str, safe_repr, type_name

MAX_FRAMES = 32  # of one stack, the innermost
MAX_LOCALS = 32  # of one frame
MAX_AWAITS = 1000
# C objects between a coroutine and what it awaits, which name it to the collector only.
_LINKS = (
    "async_generator_asend", "async_generator_athrow", "coroutine_wrapper", "_asyncio.FutureIter",
)  # fmt: skip
_SUSPENDED: tuple[tuple[type, str], ...] = (
    (types.CoroutineType, "cr"), (types.GeneratorType, "gi"), (types.AsyncGeneratorType, "ag"),
)  # fmt: skip
_AWAITED = {"cr": "cr_await", "gi": "gi_yieldfrom", "ag": "ag_await"}
# asyncio.all_tasks would ask each task of all programs for its loop.
_REGISTRY = "_scheduled_tasks" if sys.version_info >= (3, 12) else "_all_tasks"
_traceback = BaseException.__dict__["__traceback__"].__get__

Stack = list[dict[str, Any]]


def of_task(task: asyncio.Task[Any]) -> tuple[Stack, str]:
    """The frames of a suspended task, outermost first, and what it waits for, if anything."""
    frames: list[tuple[types.FrameType, int]] = []
    current: Any = task.get_coro()
    for _ in range(MAX_AWAITS):
        prefix = next((p for kind, p in _SUSPENDED if type(current) is kind), None)
        if prefix is not None:
            frame = getattr(current, f"{prefix}_frame")
            if frame is not None:
                frames.append((frame, frame.f_lineno))
            current = getattr(current, _AWAITED[prefix])
        elif type_name(type(current)) in _LINKS:
            referents = gc.get_referents(current)
            current = next((each for each in referents if type(each) is not type), None)
        else:
            break
    return _stack(frames), "" if current is None else safe_repr(current)


def other_tasks(loop: asyncio.AbstractEventLoop) -> list[asyncio.Task[Any]]:
    """Unfinished tasks that were made without the loop's create_task (aiohttp, Python 3.12 on)."""
    registry = getattr(asyncio.tasks, _REGISTRY)
    exact = [task for task in list(registry) if type(task) is asyncio.Task]
    found = [task for task in exact if task.get_loop() is loop and not task.done()]
    names = {id(task): exact_str(task.get_name()) for task in found}
    return sorted(found, key=lambda task: (len(names[id(task)]), names[id(task)]))


def of_step(frame: types.FrameType | None) -> Stack:
    """The frames of a step from its innermost one, without the loop's own."""
    frames: list[tuple[types.FrameType, int]] = []
    while frame is not None and not _is_loop(frame):
        frames.append((frame, frame.f_lineno))
        frame = frame.f_back
    return _stack(frames[::-1])


def of_error(error: BaseException) -> Stack:
    """The frames that an exception came through."""
    frames: list[tuple[types.FrameType, int]] = []
    trace = _traceback(error)
    while trace is not None:
        frames.append((trace.tb_frame, trace.tb_lineno))
        trace = trace.tb_next
    return _stack(frames)


def _is_loop(frame: types.FrameType) -> bool:
    """asyncio's call of one callback."""
    return frame.f_code is asyncio.Handle._run.__code__


def _stack(frames: list[tuple[types.FrameType, int]]) -> Stack:
    return [_frame(frame, line) for frame, line in frames[-MAX_FRAMES:]]


def _frame(frame: types.FrameType, line: int | None) -> dict[str, Any]:
    code = frame.f_code
    # Only a function's locals are sure to be a dict, or 3.13's proxy of one.
    optimized = code.co_flags & inspect.CO_OPTIMIZED
    values = dict(frame.f_locals) if optimized else {}
    shown = sorted(name for name in values if type(name) is str)[:MAX_LOCALS]
    return {
        "file": exact_str(code.co_filename),
        "line": line or 0,
        "function": exact_str(code.co_qualname),
        "locals": {name: safe_repr(values[name]) for name in shown},
    }


def lines(stack: Stack) -> list[str]:
    """For people: as a traceback, with locals."""
    text = []
    for frame in stack:
        text.append(f'  File "{frame["file"]}", line {frame["line"]}, in {frame["function"]}')
        text += [f"    {name} = {value}" for name, value in frame["locals"].items()]
    return text
