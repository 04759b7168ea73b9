"""`xenemu crash`: one fault, or one every few seconds."""

import errno
import itertools
import json
import time

import click

from xenemu.boot import HOWS, parse_crash
from xenemu.cli.app import client, command_errors, json_option, main, name_option, say

POLL_SECONDS = 0.05
WAIT_SECONDS = 60.0  # for something to crash, between two faults
EPILOG = "\n\n".join(
    f"{what}: {', '.join(hows)}{' (or stall:SECONDS)' if 'stall' in hows else ''}."
    for what, hows in HOWS.items()
)


@main.command(epilog=EPILOG)
@name_option
@click.argument("what", type=click.Choice(list(HOWS)))
@click.option("--how", default="", metavar="HOW", help="The kind of fault; see below.")
@click.option("--service", default="", metavar="NAME", help="Which app; the first if not given.")
@click.option(
    "--every",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Again and again, until Ctrl-C or --count.",
)
@click.option("--count", type=click.IntRange(min=1), help="How many faults; needs --every.")
@json_option
@command_errors
def crash(
    name: str,
    what: str,
    how: str,
    service: str,
    every: float | None,
    count: int | None,
    as_json: bool,
) -> None:
    """Crashes a service or the kernel of the current primary, or the backup."""
    try:
        parse_crash(what, how)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--how") from None
    if service and what != "app":
        raise click.UsageError("--service goes with app")
    if count is not None and every is None:
        raise click.UsageError("--count needs --every")

    def inject(number: int, patient: bool) -> None:
        waited = _inject(name, what, how, service, number, patient, as_json)
        if every is not None and (count is None or number < count):
            time.sleep(max(0.0, every - waited))

    try:
        for number in itertools.count(1) if count is None else range(1, count + 1):
            inject(number, every is not None)
            if every is None:
                return
    except KeyboardInterrupt:
        return


def _inject(
    name: str, what: str, how: str, service: str, number: int, patient: bool, as_json: bool
) -> float:
    """One fault; `patient`: waits until there is something to crash. The seconds it waited."""
    began = time.monotonic()
    told = False
    while True:
        try:
            with client(name) as control:
                result = control.call("crash", what=what, how=how, service=service)
            break
        except OSError as error:
            waited = time.monotonic() - began
            if not patient or error.errno != errno.ESRCH or waited > WAIT_SECONDS:
                raise
            if not told and not as_json:
                say(f"waiting for {'a backup' if what == 'backup' else 'a primary'}")
            told = True
            time.sleep(POLL_SECONDS)
    waited = time.monotonic() - began
    if as_json:
        answer = {"number": number, "what": what, **result, "waited": round(waited, 3)}
        say(json.dumps(answer))
    else:
        say(f"{what} of d{result['domain']} crashed ({result['how']})")
    return waited
