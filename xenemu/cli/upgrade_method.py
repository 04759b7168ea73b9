"""The control socket's `upgrade`: a notification for each step, the result at the end."""

from collections.abc import Sequence
from typing import Any

from xenemu.boot import System, UpgradeRequest, UpgradeResult, UpgradeStep
from xenemu.cli.server import Call


def request_of(params: dict[str, Any], services: Sequence[str]) -> UpgradeRequest:
    """The parameters' request. TypeError for others, or of another type.

    `service`: NAME (loaded anew if nothing else is asked for), NAME=PROGRAM, or PROGRAM.
    """
    values = dict(params)
    word = values.pop("service", None)
    if not isinstance(word, str | None):
        raise TypeError("service is not a string")
    if word:
        name, separator, program = word.partition("=")
        if name in services:
            values["service"] = name
            values |= {"program": program} if separator else {}
        else:
            values["program"] = word
    arguments = values.pop("arguments", None)
    if arguments is not None:
        if not isinstance(arguments, list) or not all(isinstance(a, str) for a in arguments):
            raise TypeError("arguments is a list of strings")
        values["arguments"] = tuple(arguments)
    if not isinstance(values.get("reload", False), bool):
        raise TypeError("reload is a boolean")
    if "service" in values and not {"program", "arguments", "kernel"} & values.keys():
        values["reload"] = True
    for key in ("program", "kernel", "check"):
        if not isinstance(values.get(key), str | None):
            raise TypeError(f"{key} is not a string")
    return UpgradeRequest(**values)


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
        request_of(params, list(system.primary().ozs.services)),
        lambda step: call.notify("upgrade", step_as_dict(step)),
        lambda result: call.result(result_as_dict(result)),
    )
