"""JSON-RPC 2.0, one line a message: what both ends of the control socket agree on."""

import json
from typing import Any

MAX_LINE = 65536
PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
FAILED = -32000  # an errno: `data.errno` has its name


class RpcError(Exception):
    """An error answer: code, message, data."""

    def __init__(self, code: int, message: str, data: object = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


def encode(message: dict[str, Any]) -> bytes:
    """One message as a line."""
    return json.dumps({"jsonrpc": "2.0", **message}, separators=(",", ":")).encode() + b"\n"


def error_message(request_id: object, error: RpcError) -> dict[str, Any]:
    """The answer that an error is."""
    body: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.data is not None:
        body["data"] = error.data
    return {"id": request_id, "error": body}


def parse_request(line: bytes) -> tuple[object, str, dict[str, Any]]:
    """Id, method and named parameters of a request. RpcError, with the id unknown."""
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        raise RpcError(PARSE_ERROR, "not JSON") from None
    if not isinstance(request, dict) or request.get("jsonrpc") != "2.0":
        raise RpcError(INVALID_REQUEST, "not a JSON-RPC 2.0 request")
    method, params = request.get("method"), request.get("params", {})
    identifier = request.get("id")
    if not isinstance(method, str) or not isinstance(identifier, str | int):
        raise RpcError(INVALID_REQUEST, "a request has a method and an id")
    if not isinstance(params, dict):
        raise RpcError(INVALID_PARAMS, "parameters are named ones")
    return identifier, method, params


def parse_answer(line: bytes) -> dict[str, Any]:
    """A message of the server; ValueError."""
    message = json.loads(line)
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        raise ValueError("not a JSON-RPC 2.0 message")
    return message
