"""The demo's client: one HTTP request over one real TCP connection, in a process of its own.

usage: python -m xenemu.cli.demo_client get|put HOST PORT PATH MARK [FILE]

It opens one connection and never retries: any error ends it with status 1. After MARK bytes of
the body it prints `mark` and waits for a line on stdin, so that the crash is in mid-transfer.
Its last line is JSON: bytes, sha256, seconds, and the server's answer to a put.
"""

import hashlib
import http.client
import json
import sys
import time

CHUNK = 64 * 1024
TIMEOUT_SECONDS = 100.0


class Mark:
    """Stops once, when so many bytes have passed."""

    def __init__(self, at: int) -> None:
        self._at = at
        self._done = False

    def passed(self, count: int) -> None:
        """`count` bytes have passed by now."""
        if not self._done and count >= self._at:
            self._done = True
            print("mark", count, flush=True)
            sys.stdin.readline()

    def room(self, count: int) -> int:
        """How much to take next, so that the mark is met closely."""
        return CHUNK if self._done else max(1, min(CHUNK, self._at - count))


def get(connection: http.client.HTTPConnection, path: str, mark: Mark) -> dict[str, object]:
    """Fetches; the digest of what came."""
    connection.request("GET", path)
    response = connection.getresponse()
    digest, count = hashlib.sha256(), 0
    while data := response.read(mark.room(count)):
        digest.update(data)
        count += len(data)
        mark.passed(count)
    return {"status": response.status, "bytes": count, "sha256": digest.hexdigest()}


def put(
    connection: http.client.HTTPConnection, path: str, mark: Mark, name: str
) -> dict[str, object]:
    """Sends a file; the digest of what went, and the server's answer."""
    with open(name, "rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        connection.putrequest("PUT", path)
        connection.putheader("Content-Length", str(size))
        connection.endheaders()
        digest, count = hashlib.sha256(), 0
        while data := file.read(mark.room(count)):
            connection.send(data)
            digest.update(data)
            count += len(data)
            mark.passed(count)
    response = connection.getresponse()
    answer = response.read().decode().strip()
    return {
        "status": response.status,
        "bytes": count,
        "sha256": digest.hexdigest(),
        "answer": answer,
    }


def main(argv: list[str]) -> int:
    """Runs one request; 0, or 1 after an error."""
    verb, host, port, path, mark_at, *rest = argv
    begin = time.monotonic()
    connection = http.client.HTTPConnection(host, int(port), timeout=TIMEOUT_SECONDS)
    connection.connect()
    connection.auto_open = 0  # http.client would connect again by itself
    mark = Mark(int(mark_at))
    try:
        if verb == "get":
            result = get(connection, path, mark)
        else:
            result = put(connection, path, mark, rest[0])
    except (OSError, http.client.HTTPException) as error:
        print(json.dumps({"error": repr(error)}), flush=True)
        return 1
    result["seconds"] = round(time.monotonic() - begin, 3)
    print(json.dumps(result), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
