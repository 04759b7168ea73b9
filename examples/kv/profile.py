"""The key-value service's profile: a request whose answer has arrived is never replayed.

Each request is a line, and so is each answer. `begun` is where the oldest pair begins that is not
removed yet: one that finds no room goes together with the next.
"""

from __future__ import annotations

from collections import deque

from ozs.ftapi import Call, Connection, Wrapper


def kv(wrapper: Wrapper) -> None:
    """Installs the handlers. The south side is as in any service."""
    wrapper.sessions().plain()
    wrapper.on_read()(read)
    wrapper.on_write()(write)


def read(call: Call) -> int:
    """Notes where the lines that the service reads begin and end."""
    n = call.read()
    if n > 0:
        state, at = call.connection.state, call.connection.read_so_far - n
        requests = state.setdefault("requests", deque())
        for line in call.bytes(n).splitlines(keepends=True):
            begin, at = state.pop("begin", at), at + len(line)
            if line.endswith(b"\n"):
                requests.append((begin, at))
            else:
                state["begin"] = begin
    return n


def write(call: Call) -> int:
    """Takes up to the end of a line; the service comes again with what is left."""
    connection, state = call.connection, call.connection.state
    if "answer" not in state:
        state["answer"] = connection.written_so_far if connection.mark() else None
    line = call.bytes(call.length).find(b"\n") + 1
    n = call.write(line or call.length)
    if n == line > 0:
        answered(connection, state.pop("answer"))
    return n


def answered(connection: Connection, answer: int | None) -> None:
    """A whole answer is written: it and its request may go, once the client has acked it."""
    state, end = connection.state, connection.written_so_far
    request, request_end = state["requests"].popleft()
    request, answer = state.pop("begun", (request, answer))
    if answer is not None and not (
        connection.mark()
        and connection.remove_request(request, request_end)
        and connection.remove_response(answer, end)
    ):
        state["begun"] = request, answer
