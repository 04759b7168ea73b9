"""What runs in the guests, as options of `boot` and `upgrade`."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from xenemu.boot import BUILTINS, KERNELS, ServiceSpec, parse_service


def absolute(program: str) -> str:
    """MODULE[:NAME] as it is; FILE.py[:NAME], or a profile's FILE.so:NAME, with the file's
    absolute path. click.BadParameter."""
    name, separator, function = program.partition(":")
    if not name.endswith((".py", ".so")):
        return program
    path = Path(name).resolve()
    if not path.is_file():
        raise click.BadParameter(f"no such file: {name}")
    return f"{path}{separator}{function}"


def program_of(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """[NAME=]PROGRAM with the file's absolute path. click.BadParameter."""
    if value is None:
        return None
    name, separator, program = value.rpartition("=")
    return f"{name}{separator}{absolute(program)}"


def specs_of(services: tuple[str, ...], args: tuple[str, ...]) -> tuple[ServiceSpec, ...]:
    """Of `--service` and `--arg`. click.BadParameter, click.UsageError."""
    try:
        specs = [parse_service(text) for text in services or ("httpd",)]
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--service") from None
    specs = [
        replace(spec, program=absolute(spec.program), profile=absolute(spec.profile))
        for spec in specs
    ]
    if not args:
        return tuple(specs)
    if len(specs) > 1:
        raise click.UsageError("--arg goes with one --service; give each its arg=... instead")
    if specs[0].more or specs[0].arguments:
        raise click.UsageError("--arg and arg=... are both arguments of the service")
    return (replace(specs[0], arguments=args),)


Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
services_option: Decorator = click.option(
    "--service",
    "services",
    multiple=True,
    metavar="NAME[,KEY=VALUE]...",
    help=f"A service: {', '.join(BUILTINS)} (default httpd), or MODULE:NAME or FILE.py:NAME, where "
    "NAME (default main) is async (argv) -> int. Keys: port= (80); profile= plain (the default), "
    "http, ftp, proxy, or an author's own: FILE.py:NAME, MODULE:NAME, LIBRARY.so:NAME; name=; and "
    "arg=, repeatable: an argument, after those of a built-in one. A comma is written twice. "
    "Repeatable.",
)
service_option: Decorator = click.option(
    "--service",
    metavar="NAME|[NAME=]PROGRAM",
    callback=program_of,
    help="The service, by the name that it has in `list`, and the program that replaces it: "
    "MODULE:NAME or FILE.py:NAME. NAME alone is loaded anew; the only service need not be named.",
)
args_option: Decorator = click.option(
    "--arg",
    "args",
    multiple=True,
    metavar="ARG",
    help="An argument of the only service, instead of its own. Repeatable.",
)
kernel_option: Decorator = click.option(
    "--kernel",
    type=click.Choice([version.name for version in KERNELS]),
    help="Kernel version of the guests.",
)
