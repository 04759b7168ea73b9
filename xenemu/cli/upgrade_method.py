"""The control socket's `upgrade`: a notification for each step, the result at the end."""

import errno
from dataclasses import replace
from pathlib import Path
from typing import Any

from xenemu.boot import BootConfig, System, UpgradeRequest, UpgradeResult, UpgradeStep
from xenemu.cli.server import Call


def request_of(params: dict[str, Any], config: BootConfig) -> UpgradeRequest:
    """The parameters' request. TypeError for others, or of another type; OSError as arguments_of.

    `service`: NAME (loaded anew if nothing else is asked for), NAME=PROGRAM, or PROGRAM. `root`: in
    place of the one in its arguments.
    """
    values = dict(params)
    for key in ("service", "root", "program", "kernel", "check"):
        if not isinstance(values.get(key), str | None):
            raise TypeError(f"{key} is not a string")
    word, root = values.pop("service", None), values.pop("root", None)
    if word:
        name, separator, program = word.partition("=")
        if name in [service.name for service in config.services]:
            values["service"] = name
            values |= {"program": program} if separator else {}
        else:
            values["program"] = word
    arguments = values.pop("arguments", None)
    if root is not None:
        name, anew = values.get("service", ""), "program" in values
        arguments = list(arguments_of(name, Path(root), config, anew))
    if arguments is not None:
        if not isinstance(arguments, list) or not all(isinstance(a, str) for a in arguments):
            raise TypeError("arguments is a list of strings")
        values["arguments"] = tuple(arguments)
    if not isinstance(values.get("reload", False), bool):
        raise TypeError("reload is a boolean")
    if "service" in values and not {"program", "arguments", "kernel"} & values.keys():
        values["reload"] = True
    return UpgradeRequest(**values)


def arguments_of(name: str, root: Path, config: BootConfig, anew: bool) -> tuple[str, ...]:
    """Of a service ("": the only one) on files below another root; `anew`: it is another program.
    OSError(EINVAL): there are several, or its arguments were chosen in `boot`."""
    services = config.services
    found = [i for i, service in enumerate(services) if name in ("", service.name)]
    if len(found) > 1:
        raise OSError(errno.EINVAL, f"which one: {', '.join(services[i].name for i in found)}?")
    spec = config.specs[found[0]]
    if spec.arguments is not None and not anew:
        raise OSError(errno.EINVAL, f"{services[found[0]].name} got its own arguments: use --arg")
    moved = replace(config, root=root, specs=(replace(spec, arguments=None),))
    return moved.services[0].version.arguments


def step_as_dict(step: UpgradeStep) -> dict[str, object]:
    """JSON-ready: when it began (ns), and how long it took, null while it runs."""
    seconds = (step.end - step.begin) / 1e9 if step.end else None
    return {"time": step.begin, "domain": step.domid, "step": step.text, "seconds": seconds}


def result_as_dict(result: UpgradeResult) -> dict[str, object]:
    """JSON-ready."""
    return {
        "outcome": result.outcome,
        "reason": result.reason,
        "primary": result.primary,
        "backup": result.backup,
        "steps": [step_as_dict(step) for step in result.steps],
    }


def start_upgrade(system: System, call: Call, params: dict[str, Any]) -> None:
    """Begins one; the call is answered at its end. OSError, TypeError."""
    system.upgrade(
        request_of(params, system.config),
        lambda step: call.notify("upgrade", step_as_dict(step)),
        lambda result: call.result(result_as_dict(result)),
    )
