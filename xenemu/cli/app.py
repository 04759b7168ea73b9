"""The commands. Each ends with 0, with 1 and one line on stderr, or with 2 for bad usage."""

import errno
import functools
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, ParamSpec, TypeVar

import click

from xenemu import __version__
from xenemu.boot import (
    CONTROL_MEMORY,
    KERNELS,
    PRIMARY_MEMORY,
    BootConfig,
    default_forwards,
    kernel_version,
    parse_forward,
    parse_keep,
    parse_passive_ports,
    parse_size,
)
from xenemu.cli.client import TIMEOUT_SECONDS, ControlClient
from xenemu.cli.output import event_line, print_domains
from xenemu.cli.rundir import check_name, socket_path
from xenemu.cli.service_option import args_option, kernel_option, services_option, specs_of

P = ParamSpec("P")
R = TypeVar("R")
EPILOG = "DOMAIN is an id, a name as in `list`, or a role: control, primary, backup, retired."


def complain(error: OSError) -> None:
    """One line on stderr."""
    reason = error.strerror or os.strerror(error.errno or errno.EIO) or str(error)
    if error.filename:
        reason += f": {error.filename}"
    click.echo(f"xenemu: {' '.join(reason.split())}", err=True)


def command_errors(function: Callable[P, R]) -> Callable[P, R]:
    """OSErrors of a command end it with one line."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        except OSError as error:
            complain(error)
            sys.exit(1)

    return wrapped


def _checked_name(context: click.Context, parameter: click.Parameter, value: str) -> str:
    try:
        return check_name(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


name_option = click.option(
    "--name",
    default="default",
    show_default=True,
    callback=_checked_name,
    help="Which emulated host.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="JSON instead of text.")


def client(name: str, timeout: float = TIMEOUT_SECONDS) -> ControlClient:
    """A connection to the emulated host of that name; an answer may take `timeout` s. OSError."""
    return ControlClient(socket_path(name), timeout)


def say(line: str) -> None:
    """A line on stdout, at once."""
    click.echo(line)
    sys.stdout.flush()


def leave(status: int) -> NoReturn:
    """Ends the process without tearing down what dead guests have left, in no order."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="xenemu")
def main() -> None:
    """An emulated Xen host on which a TCP service outlives its crash."""


def _config(
    root: Path,
    forward: tuple[str, ...],
    memory: tuple[str, ...],
    log: str,
    seed: int,
    backup: bool,
    pcap: Path | None,
    keep_faulty: str,
    core_dir: Path | None,
    recover: str,
    rejuvenate: float,
    services: tuple[str, ...],
    args: tuple[str, ...],
    kernel: str | None,
    passive_ports: str | None,
    outward: bool,
) -> BootConfig:
    """The BootConfig of the options; click.BadParameter."""
    sizes: dict[str, int] = {}
    specs = specs_of(services, args)
    root = root.resolve()
    try:
        for item in memory:
            domain, separator, size = item.partition("=")
            if not separator or domain not in ("control", "primary"):
                raise ValueError(f"not DOMAIN=SIZE with control or primary: {item!r}")
            sizes[domain] = parse_size(size)
        return BootConfig(
            root=root,
            forwards=tuple(parse_forward(item) for item in forward)
            or default_forwards([spec.service(root) for spec in specs]),
            log=parse_size(log),
            seed=seed,
            backup=backup,
            pcap=pcap,
            keep_faulty=parse_keep(keep_faulty),
            core_dir=core_dir,
            rejuvenate=rejuvenate,
            same_domain=recover == "same-domain",
            specs=specs,
            passive_ports=parse_passive_ports(passive_ports) if passive_ports else None,
            outward=outward,
            kernel=kernel_version(kernel) if kernel else KERNELS[0],
            control_memory=sizes.get("control", CONTROL_MEMORY),
            primary_memory=sizes.get("primary", PRIMARY_MEMORY),
        )
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@main.command()
@name_option
@click.option(
    "--root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path(),
    show_default=True,
    help="Directory that the service serves and stores into.",
)
@click.option(
    "--forward",
    multiple=True,
    metavar="HOSTPORT:PORT",
    help="Real port of 127.0.0.1 to a port of the services' address. Repeatable; 0: any. Default: "
    "each service's port, below 1024 with 8000 added (8080:80).",
)
@click.option(
    "--passive-ports",
    metavar="LOW-HIGH",
    help="Forward these ports as they are; services that listen for a client, as FTP does for "
    "passive transfers, get one of them.",
)
@click.option(
    "--outward/--no-outward",
    default=True,
    help="Whether guests reach real servers: this host as 10.0.1.1 or localhost, others by "
    "address and name.",
)
@click.option(
    "--memory",
    multiple=True,
    metavar="DOMAIN=SIZE",
    help="control=64M, primary=256M (its backups get as much). Repeatable.",
)
@click.option("--log", default="512M", show_default=True, metavar="SIZE", help="The log buffer.")
@click.option("--seed", type=click.IntRange(0, 2**31), default=0, help="Of all randomness.")
@click.option("--backup/--no-backup", default=True, help="Go through figure 7 by itself.")
@click.option(
    "--pcap",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Capture every node's packets into this pcapng file.",
)
@click.option(
    "--keep-faulty",
    default="3600",
    show_default=True,
    metavar="SECONDS|forever|no",
    help="How long a primary whose service failed is kept for diagnosis. The last one only, and "
    "not if memory is short.",
)
@click.option(
    "--core-dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write a core of each service that fails to DIR/core.DOMAIN.PROGRAM.PID, after the "
    "recovery. One of the same name is replaced.",
)
@click.option(
    "--recover",
    type=click.Choice(["backup", "same-domain"]),
    default="backup",
    show_default=True,
    help="Where a service that fails goes on. In the same domain it is restarted first; one that "
    "fails again within 10 s goes to the backup.",
)
@click.option(
    "--rejuvenate",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="SECONDS",
    help="The service moves to its fresh backup that often, without ending a connection.",
)
@services_option
@args_option
@kernel_option
@click.option("--demo", is_flag=True, help="Crash everything under a real client, then end.")
def boot(
    name: str,
    root: Path,
    forward: tuple[str, ...],
    memory: tuple[str, ...],
    log: str,
    seed: int,
    backup: bool,
    pcap: Path | None,
    keep_faulty: str,
    core_dir: Path | None,
    recover: str,
    rejuvenate: float,
    services: tuple[str, ...],
    args: tuple[str, ...],
    kernel: str | None,
    passive_ports: str | None,
    outward: bool,
    demo: bool,
) -> None:
    """Boots control, primary and backup domain, and serves until Ctrl-C or `stop`."""
    config = _config(
        root, forward, memory, log, seed, backup, pcap, keep_faulty, core_dir, recover,
        rejuvenate, services, args, kernel, passive_ports, outward,
    )  # fmt: skip
    if os.getcwd() not in sys.path:  # for --service MODULE, of an upgrade too
        sys.path.append(os.getcwd())
    from xenemu.cli.demo import run_demo
    from xenemu.cli.serve import serve

    status = 0
    try:
        if demo:
            status = run_demo(config, name, say)
        else:
            serve(config, name, say)
    except OSError as error:
        complain(error)
        status = 1
    leave(status)


@main.command("list")
@name_option
@json_option
@command_errors
def list_(name: str, as_json: bool) -> None:
    """Lists the domains."""
    with client(name) as control:
        rows: list[dict[str, Any]] = control.call("list")
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    else:
        print_domains(rows)


@main.command(epilog=EPILOG)
@name_option
@click.argument("domain")
@command_errors
def pause(name: str, domain: str) -> None:
    """Takes a domain off the run queue."""
    with client(name) as control:
        control.call("pause", domain=domain)


@main.command(epilog=EPILOG)
@name_option
@click.argument("domain")
@command_errors
def unpause(name: str, domain: str) -> None:
    """Puts a paused domain back."""
    with client(name) as control:
        control.call("unpause", domain=domain)


@main.command()
@name_option
@click.option("--follow", is_flag=True, help="And those that follow, until Ctrl-C.")
@json_option
@command_errors
def events(name: str, follow: bool, as_json: bool) -> None:
    """Shows what happened: time since boot in seconds, domain, event, details."""

    def show(event: dict[str, Any]) -> None:
        say(json.dumps(event) if as_json else event_line(event))

    with client(name) as control:
        for event in control.call("events", follow=follow):
            show(event)
        if follow:
            try:
                for event in control.notifications():
                    show(event)
            except KeyboardInterrupt:
                return


@main.command()
@name_option
@command_errors
def stop(name: str) -> None:
    """Ends a running `boot`."""
    with client(name) as control:
        control.call("stop")


@main.command(
    "exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
)
@name_option
@click.argument("domain")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@command_errors
def exec_(name: str, domain: str, command: tuple[str, ...]) -> None:
    """Runs a command inside a domain's guest; its exit status is this one's.

    Commands: ps, ifconfig, kill, stop, uname, core [PID], run PROGRAM [ARGUMENT]..., connect
    ADDRESS PORT; zlctl with ins-auth DOMAIN, boot-backup,
    change-backup-ip [primary|own], suspend-backup, wakeup-backup, migrate; service status, or
    restart [[NAME=]PROGRAM|NAME [ARG...]], in a backup; reboot [VERSION], of a
    backup with another kernel; check ADDRESS [PORT] [PATH], which connects, and with PATH wants a
    GET to end below 400.
    """
    with client(name) as control:
        result = control.call("exec", domain=domain, argv=list(command))
    if result["output"]:
        click.echo(result["output"], err=result["status"] != 0)
    sys.exit(result["status"])
