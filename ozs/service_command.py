"""`service`: the protected service's state and version, for an administrator inside a guest."""

from typing import Any

from ozs.service import ServiceStatus, ServiceVersion
from xenemu.guest import failure, syscall

USAGE = "usage: service status | service restart [PROGRAM [ARG...]]"


async def service_command(argv: list[str]) -> int:
    """Runs one command; its exit status: 1 for an errno or a service that is down, 2 for usage.

    `restart` without PROGRAM loads the same anew; without ARGs those before stay.
    """
    match argv:
        case ["status"]:
            return status()
        case ["restart", *words]:
            return await restart(words)
    print(USAGE)
    return 2


def status() -> int:
    """Prints what runs."""
    found: Any = syscall("service_status")
    if not isinstance(found, ServiceStatus):
        print("service status: no service runs here")
        return 1
    print(f"{found.state}: {found.version}" + (f" ({found.reason})" if found.reason else ""))
    return 0 if found.state == "up" else 1


async def restart(words: list[str]) -> int:
    """Restarts with another version, or the same."""
    found: Any = syscall("service_status")
    version = None
    if words and isinstance(found, ServiceStatus):
        arguments = tuple(words[1:]) or found.version.arguments
        version = ServiceVersion(words[0], arguments)
    try:
        waiting: Any = syscall("service_restart", version)
        await waiting
    except OSError as error:
        print(f"service restart: {failure(error)}")
        return 1
    return 0
