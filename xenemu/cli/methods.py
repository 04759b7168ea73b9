"""What the control socket can do to a System."""

import base64
import errno
from collections.abc import Callable
from typing import Any

from xenemu.boot import System, as_dict, parse_crash, timeline_of
from xenemu.cli.diagnosis_methods import diagnosis_table
from xenemu.cli.rpc import FAILED, RpcError
from xenemu.cli.server import Call, Method
from xenemu.cli.upgrade_method import start_upgrade

Params = dict[str, Any]
TRACE_MOST = 8192  # records in one answer


def failed(error: OSError) -> RpcError:
    """The error answer of an errno."""
    number = error.errno or errno.EIO
    symbol = errno.errorcode.get(number, str(number))
    data = {"errno": symbol, "number": number}
    return RpcError(FAILED, f"{symbol}: {error.strerror}", data)


def text(params: Params, key: str) -> str:
    """A parameter that is a string; TypeError."""
    value = params[key]
    if not isinstance(value, str):
        raise TypeError(f"{key} is not a string")
    return value


class Methods:
    """The methods of one System; `stop` is called for the method of that name."""

    def __init__(self, system: System, stop: Callable[[], None]) -> None:
        self._system = system
        self._stop = stop

    def table(self) -> dict[str, Method]:
        """By name; each turns an OSError into an error answer."""
        return {
            "list": self._guarded(self._list),
            "crash": self._guarded(self._crash),
            "pause": self._guarded(self._pause),
            "unpause": self._guarded(self._unpause),
            "events": self._guarded(self._events),
            "exec": self._guarded(self._exec),
            "timeline": self._guarded(self._timeline),
            "trace": self._guarded(self._trace),
            "upgrade": self._guarded(self._upgrade),
            "stop": self._guarded(self._end),
            **{name: self._guarded(each) for name, each in diagnosis_table(self._system).items()},
        }

    @staticmethod
    def _guarded(method: Method) -> Method:
        def call(request: Call, params: Params) -> None:
            try:
                method(request, params)
            except OSError as error:
                raise failed(error) from error

        return call

    def _list(self, call: Call, params: Params) -> None:
        call.result([status.as_dict() for status in self._system.list()])

    def _crash(self, call: Call, params: Params) -> None:
        how = text(params, "how") if "how" in params else ""
        service = text(params, "service") if "service" in params else ""
        crash = parse_crash(text(params, "what"), how)
        call.result({"domain": self._system.crash(crash.what, how, service), "how": crash.how})

    def _pause(self, call: Call, params: Params) -> None:
        domid = self._system.find(text(params, "domain"))
        self._system.pause(domid)
        call.result({"domain": domid})

    def _unpause(self, call: Call, params: Params) -> None:
        domid = self._system.find(text(params, "domain"))
        self._system.unpause(domid)
        call.result({"domain": domid})

    def _events(self, call: Call, params: Params) -> None:
        call.result([as_dict(event) for event in self._system.log.since()])
        if params.get("follow") is True:
            forget = self._system.listen(lambda event: call.notify("event", as_dict(event)))
            call.client.on_close.append(forget)

    def _exec(self, call: Call, params: Params) -> None:
        domid = self._system.find(text(params, "domain"))
        argv = params["argv"]
        if not isinstance(argv, list) or not argv or not all(isinstance(a, str) for a in argv):
            raise TypeError("argv is a list of strings")
        self._system.exec(
            domid,
            argv,
            lambda status, output: call.result({"status": status, "output": output}),
        )

    def _timeline(self, call: Call, params: Params) -> None:
        number = params.get("recovery")
        if number is not None and not isinstance(number, int):
            raise TypeError("recovery is a number")
        call.result(timeline_of(self._system, number).as_dict())

    def _trace(self, call: Call, params: Params) -> None:
        since = params.get("since", 0)
        if not isinstance(since, int) or not 0 <= since < 1 << 63:
            raise TypeError("since is an index")
        core = self._system.machine.core
        first, following, records = core.trace_records(since, TRACE_MOST)
        answer: dict[str, object] = {
            "first": first,
            "next": following,
            "count": core.trace_index,
            "records": base64.b64encode(records).decode(),
        }
        if params.get("domain") is not None:
            answer["domain"] = self._system.find(text(params, "domain"))
        call.result(answer)

    def _upgrade(self, call: Call, params: Params) -> None:
        start_upgrade(self._system, call, params)

    def _end(self, call: Call, params: Params) -> None:
        call.result({})
        self._stop()
