"""`zlctl`: the six system calls as a command, for an administrator inside a guest."""

import inspect
from collections.abc import Sequence

from xenemu.guest import failure, syscall

USAGE = (
    "usage: zlctl ins-auth DOMAIN | boot-backup | change-backup-ip [primary|own]"
    " | suspend-backup | wakeup-backup | migrate"
)
COMMANDS = {
    "boot-backup": "boot_backup_server",
    "suspend-backup": "suspend_backup_server",
    "wakeup-backup": "wakeup_backup_server",
    "migrate": "migrate_service",
}


def parse(argv: Sequence[str]) -> tuple[str, tuple[int | bool, ...]]:
    """The system call's name and arguments; ValueError on bad usage."""
    match list(argv):
        case ["ins-auth", domain] if domain.isdecimal():
            return "ins_auth", (int(domain),)
        case ["change-backup-ip"] | ["change-backup-ip", "primary"]:
            return "change_backup_ip", (True,)
        case ["change-backup-ip", "own"]:
            return "change_backup_ip", (False,)
        case [command] if command in COMMANDS:
            return COMMANDS[command], ()
    raise ValueError(USAGE)


async def zlctl(argv: list[str]) -> int:
    """Runs one command; its exit status: 1 for an errno, 2 for bad usage."""
    try:
        name, arguments = parse(argv)
    except ValueError as error:
        print(error)
        return 2
    try:
        result = syscall(name, *arguments)
        if inspect.isawaitable(result):
            result = await result
    except OSError as error:
        print(f"zlctl {argv[0]}: {failure(error)}")
        return 1
    if result is not None:
        print(f"domain {result}")
    return 0
