"""Names of the real network, for guests: the host's resolver, without making the machine wait.

Lookups are done by threads; their answers come back through a pipe that the machine's loop
watches. A name has one answer for an hour, whoever asks, so that a service which replays gets what
the one before it got; after that, addresses that are still right come first. Failures are not kept.
"""

import contextlib
import os
import queue
import socket
import threading
from collections.abc import Callable

from xenemu.boot.config import GATEWAY_IP
from xenemu.guest import ip_text
from xenemu.machine import Machine

NS = 1_000_000_000
THREADS = 4
MOST_WAITING = 256
MOST_NAMES = 4096
KEEP_NS = 3600 * NS

Answer = Callable[[list[str] | OSError], None]
Resolver = Callable[[str], list[str]]
_getaddrinfo = socket.getaddrinfo  # the host's: in a guest's step the module has the guest's


def resolve(name: str) -> list[str]:
    """The IPv4 addresses of a name; gaierror. May take long."""
    found = _getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM)
    return list(dict.fromkeys(str(item[4][0]) for item in found))


class HostNames:
    """The lookups of one machine under the real clock."""

    def __init__(self, machine: Machine, resolver: Resolver = resolve) -> None:
        self._machine = machine
        self._resolver = resolver
        self._known: dict[str, tuple[int, list[str]]] = {}  # asked at, addresses; oldest first
        self._waiting: dict[str, list[Answer]] = {}
        self._questions: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[tuple[str, list[str] | OSError]] = queue.SimpleQueue()
        self._threads = 0
        self._lock = threading.Lock()  # of the pipe's ends: a thread may be late
        self._read_fd, self._write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        machine.watch_fd(self._read_fd, self._answered)

    def close(self) -> None:
        """Nobody is answered any more. A thread in a lookup ends after it. Idempotent."""
        if self._read_fd < 0:
            return
        for _ in range(self._threads):
            self._questions.put(None)
        self._machine.watch_fd(self._read_fd, None)
        with self._lock:
            os.close(self._read_fd)
            os.close(self._write_fd)
            self._read_fd = self._write_fd = -1
        self._waiting.clear()

    def lookup(self, name: str, answer: Answer) -> None:
        """`answer` gets the addresses, or the gaierror, at once or later."""
        asked, addresses = self._known.get(name, (0, []))
        if addresses and self._machine.now - asked < KEEP_NS:
            answer(list(addresses))
            return
        waiting = self._waiting.get(name)
        if waiting is not None:
            waiting.append(answer)
        elif len(self._waiting) == MOST_WAITING:
            answer(socket.gaierror(socket.EAI_AGAIN, "too many lookups"))
        else:
            self._waiting[name] = [answer]
            self._questions.put(name)
            self._staff()

    def _staff(self) -> None:
        if self._threads < min(THREADS, len(self._waiting)):
            self._threads += 1
            threading.Thread(target=self._work, name="xenemu-names", daemon=True).start()

    def _work(self) -> None:
        while (name := self._questions.get()) is not None:
            try:
                found: list[str] | OSError = self._resolver(name)
            except OSError as error:
                found = error
            except (UnicodeError, ValueError):  # nothing that could be a name
                found = socket.gaierror(socket.EAI_NONAME, f"unknown host {name!r}")
            self._answers.put((name, found))
            with self._lock, contextlib.suppress(BlockingIOError):  # full: it is readable already
                if self._write_fd >= 0:
                    os.write(self._write_fd, b"!")

    def _answered(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._read_fd, 4096)
        while not self._answers.empty():
            name, found = self._answers.get()
            if not isinstance(found, OSError):
                found = self._keep(name, [guest_address(each) for each in found])
            for answer in self._waiting.pop(name, []):
                answer(found)

    def _keep(self, name: str, addresses: list[str]) -> list[str]:
        """The answer, and what is asked next time is this."""
        _, before = self._known.pop(name, (0, []))
        addresses = [each for each in before if each in addresses] + [
            each for each in dict.fromkeys(addresses) if each not in before
        ]
        self._known[name] = (self._machine.now, addresses)
        if len(self._known) > MOST_NAMES:
            del self._known[next(iter(self._known))]
        return addresses


def guest_address(address: str) -> str:
    """This host's loopback is the gateway to guests."""
    return ip_text(GATEWAY_IP) if address.startswith("127.") else address
