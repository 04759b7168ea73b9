"""What a process sees of the standard library: its own clock, randomness, sockets, output.

An overlay is put over module namespaces when a step begins and taken off when it ends (a few
dict updates, about 2 us). Limits: `from time import time` made outside a guest keeps the
host's; `datetime.now()` reads the host's clock; other host threads see the overlay.
"""

from __future__ import annotations

import importlib
import os
import random
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

from xenemu.guest.fresh import spec_of_file
from xenemu.guest.resolver import getaddrinfo
from xenemu.guest.socket import GuestSocket

if TYPE_CHECKING:
    from xenemu.guest.process import Process

NS = 1_000_000_000
_MODULES = (time, random, os, socket, signal)
# The host's own names, taken once: processes are also spawned from inside a guest's step.
_ORIGINALS = tuple(dict(vars(module)) for module in _MODULES)
_gmtime, _localtime = time.gmtime, time.localtime
_RANDOM = tuple(
    name
    for name in random.__all__
    if getattr(getattr(random, name), "__self__", None) is random._inst
)


def _names(process: Process) -> list[dict[str, Any]]:
    """Replacements for each of _MODULES."""
    node = process.kernel.node
    epoch_ns = process.kernel.epoch * NS
    generator = process.random

    def monotonic_ns() -> int:
        return node.now

    def monotonic() -> float:
        return node.now / NS

    def time_ns() -> int:
        return epoch_ns + node.now

    def wall() -> float:
        return (epoch_ns + node.now) / NS

    def gmtime(seconds: float | None = None, /) -> time.struct_time:
        return _gmtime(wall() if seconds is None else seconds)

    def localtime(seconds: float | None = None, /) -> time.struct_time:
        return _localtime(wall() if seconds is None else seconds)

    def sleep(seconds: float, /) -> NoReturn:
        raise RuntimeError("time.sleep would stop the emulated host; await asyncio.sleep")

    def urandom(n: int, /) -> bytes:
        return generator.randbytes(n)

    def kill(pid: int, sig: int, /) -> None:
        process.kernel.kill(pid, sig)
        process.check_alive()

    def set_signal(sig: int, handler: Any, /) -> Any:
        previous = process.loop.signal_handlers.pop(int(sig), signal.SIG_DFL)
        if callable(handler):
            process.loop.signal_handlers[int(sig)] = lambda: handler(int(sig), None)
        return previous

    def resolve(
        host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list[Any]:
        return getaddrinfo(process.kernel, host, port, family, type, proto, flags)

    return [
        {
            "time": wall, "time_ns": time_ns, "monotonic": monotonic, "sleep": sleep,
            "monotonic_ns": monotonic_ns, "perf_counter": monotonic,
            "perf_counter_ns": monotonic_ns, "gmtime": gmtime, "localtime": localtime,
        },
        {name: getattr(generator, name) for name in _RANDOM} | {"_urandom": urandom},
        {"urandom": urandom, "getpid": lambda: process.pid, "kill": kill},
        {
            "socket": GuestSocket, "getaddrinfo": resolve,
            "gethostname": lambda: process.kernel.name,
        },
        {"signal": set_signal},
    ]  # fmt: skip


class Overlay:
    """The overlay of one process. `enter` and `leave` don't nest."""

    def __init__(self, process: Process) -> None:
        self._pairs = [
            (vars(module), names, {name: originals[name] for name in names})
            for module, originals, names in zip(_MODULES, _ORIGINALS, _names(process), strict=True)
        ]
        self._stream = process.stream
        self._streams: tuple[Any, Any] = (None, None)

    def enter(self) -> None:
        """From here on the process's view."""
        for namespace, names, _ in self._pairs:
            namespace.update(names)
        self._streams = (sys.stdout, sys.stderr)
        sys.stdout = sys.stderr = self._stream

    def leave(self) -> None:
        """The host's view again."""
        sys.stdout, sys.stderr = self._streams
        for namespace, _, originals in self._pairs:
            namespace.update(originals)


class PrivateModules:
    """A process's own copies of the modules whose names begin with one of `prefixes`."""

    def __init__(self, prefixes: tuple[str, ...]) -> None:
        self._prefixes = prefixes
        self._starts = tuple(prefix + "." for prefix in prefixes)
        self._modules: dict[str, ModuleType] = {}
        self._hidden: dict[str, ModuleType] = {}
        self._count = 0  # of sys.modules inside and outside: a new name means a new look
        self._count_outside = -1

    @property
    def modules(self) -> dict[str, ModuleType]:
        """The copies, by name, as of the end of the last step."""
        return self._modules

    def matches(self, name: str) -> bool:
        """A module of this name is private."""
        return name in self._prefixes or name.startswith(self._starts)

    def enter(self) -> None:
        """sys.modules shows the process's copies, and none of anyone else's."""
        if self._prefixes:
            if len(sys.modules) != self._count_outside:
                self._hidden = {n: mod for n, mod in sys.modules.items() if self.matches(n)}
            for name in self._hidden:
                del sys.modules[name]
            self._show(self._modules)
            self._count = len(sys.modules)

    def leave(self) -> None:
        """Keeps what was imported meanwhile, and shows everyone else's again."""
        if self._prefixes:
            if len(sys.modules) != self._count:
                self._modules = {n: mod for n, mod in sys.modules.items() if self.matches(n)}
            for name in self._modules:
                sys.modules.pop(name, None)
                self._forget(name)
            self._show(self._hidden)
            self._count_outside = len(sys.modules)

    @staticmethod
    def _show(modules: dict[str, ModuleType]) -> None:
        sys.modules.update(modules)
        for name, module in modules.items():
            parent, _, child = name.rpartition(".")
            if parent in sys.modules:
                setattr(sys.modules[parent], child, module)

    @staticmethod
    def _forget(name: str) -> None:
        parent, _, child = name.rpartition(".")
        if parent in sys.modules:
            vars(sys.modules[parent]).pop(child, None)


def load(program: str) -> Callable[..., Any]:
    """The entry of "package.module", "package.module:function" or a path ending in .py."""
    name, _, function = program.partition(":")
    importlib.invalidate_caches()
    if name.endswith(".py"):
        spec = spec_of_file(module_name(program), name)
        if spec is None or spec.loader is None:
            raise ImportError(f"can't load {name}")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    else:
        module = importlib.import_module(name)
    entry: Callable[..., Any] = getattr(module, function or "main")
    return entry


def module_name(program: str) -> str:
    """The name under which load() puts the program's module into sys.modules."""
    name = program.partition(":")[0]
    return Path(name).stem if name.endswith(".py") else name
