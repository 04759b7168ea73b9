"""`trace`: hypercalls, events and packets of a running `boot`, decoded."""

import base64
import json
import time
from typing import Any

import click

from xenemu.boot.trace_decode import KINDS, Decoded, decode
from xenemu.cli.app import EPILOG, client, command_errors, json_option, main, name_option, say
from xenemu.cli.client import ControlClient

PAUSE_SECONDS = 0.1  # between two looks of --follow
DEFAULT = tuple(kind for kind in KINDS if kind != "work")


@main.command(epilog=EPILOG)
@name_option
@click.option("--follow", is_flag=True, help="And those that follow, until Ctrl-C.")
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice(KINDS),
    help="Only these. Repeatable.  [default: all but work, the machine's own]",
)
@click.option("--domain", metavar="DOMAIN", help="Only what this domain does and gets.")
@click.option(
    "--since",
    type=float,
    default=0.0,
    metavar="SECONDS",
    help="Only from that time since boot on.",
)
@json_option
@command_errors
def trace(
    name: str, follow: bool, kinds: tuple[str, ...], domain: str | None, since: float, as_json: bool
) -> None:
    """Shows what the trace ring has: time since boot in seconds, domain and virtual CPU, what.

    The last 65536 records are kept. A hypercall has the first 24 bytes of its argument as they were
    after the call; of a list that is the first entry, a multicall's entries come before it.
    """
    with client(name) as control:
        try:
            _show(control, follow, frozenset(kinds or DEFAULT), domain, since * 1e9, as_json)
        except KeyboardInterrupt:
            return


def _show(
    control: ControlClient,
    follow: bool,
    kinds: frozenset[str],
    domain: str | None,
    since: float,
    as_json: bool,
) -> None:
    answer = control.call("trace", domain=domain)
    domid, until = answer.get("domain"), answer["count"]
    index = 0
    while True:
        _lost(answer["first"] - index, as_json)
        index = answer["next"]
        for record in decode(answer["first"], base64.b64decode(answer["records"])):
            wanted = record.kind in kinds and record.time >= since
            if wanted and (domain is None or record.domain == domid):
                _say(record, as_json)
        if index >= until and not follow:
            return
        if index == answer["count"]:
            time.sleep(PAUSE_SECONDS)
        answer = control.call("trace", since=index)


def _say(record: Decoded, as_json: bool) -> None:
    say(json.dumps(record.as_dict()) if as_json else record.line())


def _lost(count: int, as_json: bool) -> None:
    """Records that were overwritten before they were read."""
    if count <= 0:
        return
    if as_json:
        lost: dict[str, Any] = {"lost": count}
        say(json.dumps(lost))
    else:
        click.echo(f"xenemu: {count} records were overwritten", err=True)
