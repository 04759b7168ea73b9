"""`timeline`: one recovery of a running `boot`, as text, JSON, a drawing or a trace."""

import json
from pathlib import Path

import click

from xenemu.boot.timeline import RecoveryTimeline
from xenemu.boot.timeline_perfetto import perfetto
from xenemu.boot.timeline_svg import svg
from xenemu.cli.app import client, command_errors, json_option, main, name_option

FILE = click.Path(dir_okay=False, allow_dash=True, path_type=Path)


@main.command()
@name_option
@click.option(
    "--recovery", type=click.IntRange(1), metavar="N", help="Which, from 1.  [default: the last]"
)
@click.option("--svg", "drawing", type=FILE, metavar="FILE", help="Draw it; - is stdout.")
@click.option("--perfetto", "trace", type=FILE, metavar="FILE", help="A trace for ui.perfetto.dev.")
@json_option
@command_errors
def timeline(
    name: str, recovery: int | None, drawing: Path | None, trace: Path | None, as_json: bool
) -> None:
    """Shows what happened in a recovery, in milliseconds since the crash.

    The last 8 recoveries are kept. A drawing has lanes for the clients, the VMM, the primary that
    failed and the backup that took over.
    """
    with client(name) as control:
        values = control.call("timeline", recovery=recovery)
    found = RecoveryTimeline.from_dict(values)
    if drawing is not None:
        _write(drawing, svg(found))
    if trace is not None:
        _write(trace, perfetto(found))
    if as_json:
        click.echo(json.dumps(values, indent=2))
    elif drawing is None and trace is None:
        click.echo("\n".join(found.lines()))


def _write(path: Path, text: str) -> None:
    with click.open_file(str(path), "w", encoding="utf-8") as file:
        file.write(text)
