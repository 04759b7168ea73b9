"""What runs in the guests, as options of `boot` and `upgrade`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from xenemu.boot import KERNELS


def program_of(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """MODULE[:NAME] as it is; FILE.py[:NAME] with the file's absolute path. click.BadParameter."""
    name, separator, function = (value or "").partition(":")
    if not name.endswith(".py"):
        return value
    path = Path(name).resolve()
    if not path.is_file():
        raise click.BadParameter(f"no such file: {name}")
    return f"{path}{separator}{function}"


Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
service_option: Decorator = click.option(
    "--service",
    metavar="MODULE:NAME|FILE.py",
    callback=program_of,
    help="The service: NAME (default main) is async (argv) -> int.",
)
args_option: Decorator = click.option(
    "--arg",
    "args",
    multiple=True,
    metavar="ARG",
    help="An argument of the service, instead of --port 80 ROOT. Repeatable.",
)
kernel_option: Decorator = click.option(
    "--kernel",
    type=click.Choice([version.name for version in KERNELS]),
    help="Kernel version of the guests.",
)
