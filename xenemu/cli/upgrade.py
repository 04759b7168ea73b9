"""`xenemu upgrade`: another service, root or kernel while clients are served."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from xenemu.cli.app import client, command_errors, json_option, main, name_option, say
from xenemu.cli.service_option import args_option, kernel_option, service_option

TIMEOUT_SECONDS = 300.0  # of silence: longer than each step's own


def step_line(step: dict[str, Any]) -> str:
    """A step, as `boot` shows its own."""
    return f"{step['time'] / 1e6:10.3f} ms  d{step['domain']}  {step['step']}"


@main.command()
@name_option
@service_option
@click.option(
    "--root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Directory that the service serves, as in `boot`.",
)
@args_option
@kernel_option
@click.option("--reload", is_flag=True, help="The same program: its modules are loaded anew.")
@click.option("--check", metavar="PATH", help="A GET of PATH must end below 400.")
@click.option("--no-check", is_flag=True, help="Do not even connect to it.")
@json_option
@command_errors
def upgrade(
    name: str,
    service: str | None,
    root: Path | None,
    args: tuple[str, ...],
    kernel: str | None,
    reload: bool,
    check: str | None,
    no_check: bool,
    as_json: bool,
) -> None:
    """Replaces the service, or the kernel under it, without ending a connection.

    The backup is woken, gets its own address, is upgraded and checked there, and takes the
    connections over. What is not given stays. Ends with 0 when upgraded; with 1 and the reason when
    rolled back: then the old version serves, as it did all the time.
    """
    if root is not None and args:
        raise click.UsageError("--root and --arg are both arguments of the service")
    if check is not None and (no_check or not check.startswith("/")):
        raise click.UsageError("--check takes a path that begins with /, and no --no-check")
    if service is None and root is None and not args and kernel is None and not reload:
        raise click.UsageError("one of --service, --root, --arg, --kernel, --reload is needed")
    params: dict[str, Any] = {"reload": reload, "check": None if no_check else check or ""}
    if service is not None:
        params["service"] = service
    if root is not None:
        params["root"] = str(root.resolve())
    if args:
        params["arguments"] = list(args)
    if kernel is not None:
        params["kernel"] = kernel

    def show(step: dict[str, Any]) -> None:
        say(json.dumps(step) if as_json else step_line(step))

    with client(name, TIMEOUT_SECONDS) as control:
        result = control.call("upgrade", show, **params)
    if as_json:
        say(json.dumps(result))
    upgraded = result["outcome"] == "upgraded"
    if not upgraded:
        click.echo(f"xenemu: {result['outcome']}: {result['reason']}", err=True)
    if not as_json and result["primary"]:
        backup = f"protected by d{result['backup']}" if result["backup"] else "NOT protected"
        say(f"d{result['primary']} serves, {backup}")
    sys.exit(0 if upgraded else 1)
