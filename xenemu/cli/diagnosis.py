"""`core`, `console` and `destroy`: what is left after a fault, and the end of it."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import click

from xenemu.boot import core_lines, write_atomically
from xenemu.cli.app import EPILOG, client, command_errors, json_option, main, name_option, say

PAST = EPILOG + " One that is gone has its id and its name still, until another one gets them."


@main.command(epilog=PAST)
@name_option
@click.argument("domain", required=False)
@click.option("--pid", type=click.IntRange(1), help="Of this process.  [default: the last fault]")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write it there; it replaces FILE whole.",
)
@json_option
@command_errors
def core(
    name: str, domain: str | None, pid: int | None, output: Path | None, as_json: bool
) -> None:
    """Shows what is left of a service that died of a fault: its core.

    The reason, where its tasks stood, with their variables; its sockets; the variables of its
    modules. The last 8 cores are kept, also of domains that were destroyed.
    """
    with client(name) as control:
        values: dict[str, Any] = control.call("core", domain=domain, pid=pid)
    text = json.dumps(values, indent=2) if as_json else "\n".join(core_lines(values))
    if output is None:
        click.echo(text)
        return
    try:
        write_atomically(output, text + "\n")
    except OSError as error:
        number = error.errno or errno.EIO
        raise OSError(number, os.strerror(number), str(output)) from None


@main.command(epilog=PAST)
@name_option
@click.argument("domain")
@click.option("--follow", is_flag=True, help="And what follows, until Ctrl-C.")
@click.option(
    "--lines",
    type=click.IntRange(0),
    default=1000,
    show_default=True,
    metavar="N",
    help="The last N; 1000 are kept.",
)
@command_errors
def console(name: str, domain: str, follow: bool, lines: int) -> None:
    """Shows what a domain's kernel and processes print: time since boot in seconds, line."""
    with client(name) as control:
        for time, line in control.call("console", domain=domain, lines=lines, follow=follow):
            say(console_line(time, line))
        if follow:
            try:
                for entry in control.notifications():
                    say(console_line(entry["time"], entry["line"]))
            except KeyboardInterrupt:
                return


def console_line(time: int, line: str) -> str:
    """As dmesg shows it."""
    return f"[{time / 1e9:12.6f}] {line}"


@main.command(epilog=EPILOG)
@name_option
@click.argument("domain")
@click.option("--force", is_flag=True, help="The primary too: its pair ends, and the service.")
@command_errors
def destroy(name: str, domain: str, force: bool) -> None:
    """Destroys a domain that is retired, or a backup (its primary boots another).

    The primary is refused, since nobody takes over from what is destroyed on purpose (`crash
    kernel` does that). With --force its backup goes with it, each of its connections is reset, and
    nothing serves any more until the next `boot`. The control domain always stays.
    """
    with client(name) as control:
        control.call("destroy", domain=domain, force=force)
