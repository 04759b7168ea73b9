"""`service`: the protected services' states and versions, for an administrator inside a guest."""

from dataclasses import replace
from typing import Any

from xenemu.guest import failure, syscall

USAGE = "usage: service status | service restart [[NAME=]PROGRAM|NAME [ARG...]]"


async def service_command(argv: list[str]) -> int:
    """Runs one command; its exit status: 1 for an errno or a service that is down, 2 for usage.

    `restart` without PROGRAM loads the same anew; without ARGs those before stay. The only
    service need not be named.
    """
    match argv:
        case ["status"]:
            return status()
        case ["restart", *words]:
            return await restart(words)
    print(USAGE)
    return 2


def status() -> int:
    """Prints what runs; several services by name."""
    found: Any = syscall("service_status")
    if not found:
        print("service status: no service runs here")
        return 1
    for each in found:
        name = f"{each.name}: " if len(found) > 1 else ""
        print(f"{name}{each.state}: {each.version}" + (f" ({each.reason})" if each.reason else ""))
    return 0 if all(each.state == "up" for each in found) else 1


async def restart(words: list[str]) -> int:
    """Restarts with another version, or the same."""
    found: Any = syscall("service_status")
    name, program = chosen(words[0] if words else "", [each.name for each in found])
    version = None
    if program or words[1:]:
        for each in found:
            if each.name == name or (not name and len(found) == 1):
                arguments = tuple(words[1:]) or each.version.arguments
                version = replace(
                    each.version.anew(),
                    program=program or each.version.program,
                    private=None if program else each.version.private,
                    arguments=arguments,
                )
    try:
        waiting: Any = syscall("service_restart", name, version)
        await waiting
    except OSError as error:
        print(f"service restart: {failure(error)}")
        return 1
    return 0


def chosen(word: str, names: list[str]) -> tuple[str, str]:
    """The service's name and the program that NAME, NAME=PROGRAM or PROGRAM means; "": not said."""
    name, separator, program = word.partition("=")
    if name in names:
        return name, program if separator else ""
    return "", word
