"""What the control socket can do to look at what failed: core, console, destroy."""

from collections.abc import Callable
from typing import Any

from xenemu.boot import System
from xenemu.cli.server import Call, Method

Params = dict[str, Any]


def diagnosis_table(system: System) -> dict[str, Method]:
    """By name; each may raise OSError."""

    def core(call: Call, params: Params) -> None:
        name = _optional(params, "domain", str)
        domid = None if name is None else system.find_past(name)
        call.result(system.cores.find(domid, _optional(params, "pid", int)).as_dict())

    def console(call: Call, params: Params) -> None:
        domid = system.find_past(_required(params, "domain", str))
        last = _required(params, "lines", int)
        call.result(system.consoles.lines(domid, last))
        if params.get("follow") is True:
            call.client.on_close.append(_follow(system, domid, call))

    def destroy(call: Call, params: Params) -> None:
        domid = system.find(_required(params, "domain", str))
        system.destroy(domid, force=params.get("force") is True)
        call.result({"domain": domid})

    return {"core": core, "console": console, "destroy": destroy}


def _follow(system: System, domid: int, call: Call) -> Callable[[], None]:
    def show(event: Any) -> None:
        if event.name == "console" and event.domid == domid:
            call.notify("console", {"time": event.time, "line": event.details["line"]})

    return system.listen(show)


def _required(params: Params, key: str, kind: type) -> Any:
    value = params[key]
    if type(value) is not kind:
        raise TypeError(f"{key} is not of type {kind.__name__}")
    return value


def _optional(params: Params, key: str, kind: type) -> Any:
    return None if params.get(key) is None else _required(params, key, kind)
