"""The kernel's own syscalls, and the commands of a guest that use them.

Syscalls are callables (process, *args). Commands are programs: async (argv) -> exit status.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

from xenemu.guest import diagnostics
from xenemu.guest._current import syscall
from xenemu.guest.check import check
from xenemu.guest.errors import failure
from xenemu.guest.socket import ip_number, ip_text

if TYPE_CHECKING:
    from xenemu.guest.kernel import Kernel
    from xenemu.guest.process import Process


def install_syscalls(kernel: Kernel) -> None:
    """The calls that every kernel has."""

    def processes(process: Process) -> list[tuple[int, str, str]]:
        rows = [(each, each.state.value) for each in kernel.processes.values() if not each.exited]
        rows += [(core.process, f"dead ({core.cause})") for core in kernel.cores]
        rows.sort(key=lambda row: row[0].pid)
        return [(each.pid, state, " ".join([each.name, *each.argv])) for each, state in rows]

    def set_addr(process: Process, ip: int) -> None:
        kernel.node.set_addr(ip)

    kernel.syscalls.update(
        getpid=lambda process: process.pid,
        kill=lambda process, pid, sig: kernel.kill(pid, sig),
        stop=lambda process, pid: kernel.stop(pid),
        exit=lambda process, status: kernel.sys_exit(process.pid, status),
        processes=processes,
        get_addr=lambda process: kernel.node.addr,
        set_addr=set_addr,
        uname=lambda process: (kernel.name, kernel.version),
    )
    diagnostics.install_syscalls(kernel)


async def ps(argv: list[str]) -> int:
    """ps: the processes, but for itself, and those that died of a fault."""
    own = syscall("getpid")
    found: Any = syscall("processes")
    rows = [row for row in found if row[0] != own]
    width = max([8, *(len(state) for _, state, _ in rows)])
    print(f"{'PID':>5} {'STATE':<{width}} COMMAND")
    for pid, state, command in rows:
        print(f"{pid:>5} {state:<{width}} {command}")
    return 0


async def ifconfig(argv: list[str]) -> int:
    """ifconfig [[eth0] ADDRESS]: shows or sets the address."""
    words = argv[1:] if argv[:1] == ["eth0"] else argv
    if len(words) > 1:
        print("usage: ifconfig [[eth0] ADDRESS]")
        return 2
    if words:
        try:
            address = ip_number(words[0])
        except OSError:
            print(f"ifconfig: bad address {words[0]!r}")
            return 1
        syscall("set_addr", address)
        return 0
    current: Any = syscall("get_addr")
    print(f"eth0: inet {ip_text(current)} mtu 1500")
    return 0


async def kill(argv: list[str]) -> int:
    """kill [-SIGNAL] PID: SIGNAL is a number or a name; default TERM."""
    words = list(argv)
    sig = int(signal.SIGTERM)
    try:
        if words and words[0].startswith("-"):
            word = words.pop(0)[1:]
            sig = int(word) if word.isdigit() else int(signal.Signals["SIG" + word.upper()])
        (pid,) = map(int, words)
    except (ValueError, KeyError):
        print("usage: kill [-SIGNAL] PID")
        return 2
    try:
        syscall("kill", pid, sig)
    except ProcessLookupError:
        print(f"kill: {pid}: no such process")
        return 1
    return 0


async def stop(argv: list[str]) -> int:
    """stop PID: tells a process to stop, which is then no fault."""
    try:
        (pid,) = map(int, argv)
        syscall("stop", pid)
    except ValueError:
        print("usage: stop PID")
        return 2
    except ProcessLookupError:
        print(f"stop: {argv[0]}: no such process")
        return 1
    return 0


async def uname(argv: list[str]) -> int:
    """uname: the kernel's name and version."""
    names: Any = syscall("uname")
    print(*filter(None, names))
    return 0


async def reboot(argv: list[str]) -> int:
    """reboot [VERSION]: the domain is built anew, with a kernel of that version."""
    try:
        if len(argv) > 1:
            raise ValueError
        syscall("reboot", *argv)
    except ValueError:
        print("usage: reboot [VERSION]")
        return 2
    except OSError as error:
        print(f"reboot: {failure(error)}")
        return 1
    return 0


COMMANDS = {
    "ps": ps, "ifconfig": ifconfig, "kill": kill, "stop": stop, "uname": uname,
    "reboot": reboot, "check": check, **diagnostics.COMMANDS,
}  # fmt: skip
