"""What the clients of services_every.py do, each again and again, with real programs.

A transfer is given a name that no other has and returns what was wrong with it, or "". Nothing is
retried: every program is told not to, and what an end server is asked carries the name.
"""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sysconfig
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from end_server import content

SECONDS = "60"  # of a transfer: longer, and it hangs
KIB, MIB = 1 << 10, 1 << 20
PROXIED = 12  # requests of one connection to the proxy
FILES = ("small", "middle", "large")
STILL = "still"  # a directory that does not change: one that is listed again must be the same
FTPBENCH = Path(sysconfig.get_path("scripts")) / "ftpbench"


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass
class Place:
    """Where things are, and what end servers must have been asked: path -> how often answered."""

    work: Path
    root: Path
    httpd: str
    ftp: str
    proxy: str
    ends: list[str]
    asked: dict[str, bytes | None] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)

    def fill(self, rng: random.Random, mib: int) -> None:
        """The files that clients get and send."""
        (self.root / STILL).mkdir()
        for name, size in zip(FILES, (300, 200 * KIB, mib * MIB), strict=True):
            self.files[name] = rng.randbytes(size)
            (self.work / name).write_bytes(self.files[name])
            (self.root / name).write_bytes(self.files[name])
            (self.root / STILL / name).write_bytes(self.files[name])


def run(arguments: list[str | Path], cwd: Path | None = None) -> tuple[bytes, str]:
    """Its output, and what was wrong."""
    try:
        done = subprocess.run(arguments, capture_output=True, timeout=120, cwd=cwd)
    except subprocess.TimeoutExpired:
        return b"", f"{Path(arguments[0]).name} hangs"
    errors = done.stderr.decode("utf-8", "replace").strip()
    name = Path(arguments[0]).name
    return done.stdout, f"{name} exit {done.returncode}: {errors[-300:]}" if done.returncode else ""


def curl(*arguments: str | Path) -> tuple[bytes, str]:
    return run(["curl", "-sS", "--fail", "--max-time", SECONDS, *arguments])


Transfer = Callable[[Place, str, random.Random], str]


def wrong(problem: str, right: bool, what: str) -> str:
    return problem or ("" if right else f"{what}: wrong bytes")


def httpd_get(place: Place, name: str, rng: random.Random) -> str:
    out, problem = curl(f"{place.httpd}large")
    return wrong(problem, out == place.files["large"], "httpd get")


def httpd_put(place: Place, name: str, rng: random.Random) -> str:
    _, problem = curl("-T", place.work / "middle", f"{place.httpd}{name}")
    return stored(place, problem, name, "middle")


def stored(place: Place, problem: str, name: str, source: str) -> str:
    """A file that a client sent is there, whole; it is removed."""
    path = place.root / name
    right = path.is_file() and path.read_bytes() == place.files[source]
    path.unlink(missing_ok=True)
    return wrong(problem, right, f"stored {source}")


def ftp_curl_get(place: Place, name: str, rng: random.Random) -> str:
    names = [rng.choice(FILES) for _ in range(rng.randint(1, 4))]
    mode = rng.choice(([], ["--disable-epsv"], ["-r", "100-"]))
    start = 100 if "-r" in mode else 0
    out, problem = curl(*mode, *(f"{place.ftp}{each}" for each in names))
    return wrong(problem, out == b"".join(place.files[n][start:] for n in names), f"ftp get {mode}")


def ftp_curl_put(place: Place, name: str, rng: random.Random) -> str:
    source = rng.choice(FILES)
    _, problem = curl("-T", place.work / source, f"{place.ftp}{name}")
    return stored(place, problem, name, source)


def ftp_curl_list(place: Place, name: str, rng: random.Random) -> str:
    out, problem = curl("-l", f"{place.ftp}{STILL}/")
    return wrong(problem, set(FILES) == set(out.decode().split()), f"ftp names {out!r}")


def ftp_lftp(place: Place, name: str, rng: random.Random) -> str:
    """One session: up, listing, down, another name, gone."""
    host = place.ftp.removeprefix("ftp://").rstrip("/")
    source = rng.choice(FILES)
    back = place.work / f"{name}.back"
    script = [
        f"set net:max-retries 1; set net:timeout {SECONDS}; set cmd:fail-exit true",
        "set ftp:use-mode-z false; set net:persist-retries 0",
        f"open -u anonymous,x {host}; mkdir {name}; cd {name}",
        f"put {place.work / source} -o first; cls -1; get first -o {back}",
        f"mv first second; ls; put {place.work / 'small'} -o third; cls -1",
        f"rm second third; cd ..; rmdir {name}; bye",
    ]
    out, problem = run(["lftp", "--norc", "-c", "; ".join(script)])
    lines = out.decode().splitlines()
    listed = lines[:1] == ["first"] and lines[-2:] == ["second", "third"]
    listed = listed and lines[1].split()[-1] == "second" and len(lines) == 4
    got = back.read_bytes() if back.is_file() else b""
    back.unlink(missing_ok=True)
    gone = not (place.root / name).exists()
    return wrong(problem, listed and gone and got == place.files[source], f"lftp {lines} {gone}")


def ftp_bench(place: Place, name: str, rng: random.Random) -> str:
    host, _, port = place.ftp.removeprefix("ftp://").rstrip("/").partition(":")
    given = ["-u", "anonymous", "-p", "x", "-H", host, "-P", port, "-t", SECONDS]
    kind = rng.choice((["-b", "transfer"], ["-b", "concurrence", "-n", "10", "-s", "1M"]))
    out, problem = run([FTPBENCH, *given, *kind])
    return problem if problem else "" if b"RETR" in out else f"ftpbench says {out!r}"


def asking(place: Place, name: str, rng: random.Random, kinds: list[str]) -> tuple[str, bytes]:
    """A URL that is asked once, and the answer; b"" is the number that only the log knows."""
    kind, seed = rng.choice(kinds), rng.randrange(100)
    size = rng.choice((10, 20_000, 300_000, 2_000_000))
    path = f"/{kind}/{seed}/{size}/{name}" if kind != "count" else f"/count/{name}"
    expected = content(seed, size) if kind != "count" else b""
    place.asked[path] = expected or None
    return rng.choice(place.ends) + path, expected


def proxy_curl(place: Place, name: str, rng: random.Random) -> str:
    """Many requests on one connection, of all end servers."""
    urls = [
        asking(place, f"{name}.{i}", rng, ["count", "bytes", "chunked"]) for i in range(PROXIED)
    ]
    outs = [place.work / f"{name}.{i}" for i in range(PROXIED)]
    tunnel = ["-p"] if rng.randrange(4) == 0 else []
    command: list[str | Path] = ["-x", place.proxy, *tunnel]
    for (url, _), out in zip(urls, outs, strict=True):
        command += ["-o", out, url]
    _, problem = curl(*command)
    for (url, expected), out in zip(urls, outs, strict=True):
        got = out.read_bytes() if out.is_file() else b""
        out.unlink(missing_ok=True)
        problem = problem or judged(place, url, expected, got)
    return problem


def judged(place: Place, url: str, expected: bytes, got: bytes) -> str:
    """One answer of an end server; that of a count is compared with the log at the end."""
    if expected:
        return "" if got == expected else f"{url}: wrong bytes"
    path = "/" + url.split("/", 3)[3]
    place.asked[path] = got
    return "" if got.strip().isdigit() else f"{url}: {got!r}"


def proxy_post(place: Place, name: str, rng: random.Random) -> str:
    source = rng.choice(FILES)
    path = f"/post/{name}"
    place.asked[path] = None
    send = ["-H", "Expect:", "-H", "Content-Type: x/y", "--data-binary"]
    url = rng.choice(place.ends) + path
    out, problem = curl("-x", place.proxy, *send, f"@{place.work / source}", url)
    return wrong(problem, out.decode() == digest(place.files[source]), "post")


def proxy_wget(place: Place, name: str, rng: random.Random) -> str:
    url, expected = asking(place, name, rng, ["count", "bytes", "chunked"])
    proxied = ["-e", "use_proxy=yes", "-e", f"http_proxy={place.proxy}"]
    out, problem = run(
        ["wget", "-q", "--tries=1", f"--timeout={SECONDS}", *proxied, "-O", "-", url]
    )
    return problem or judged(place, url, expected, out)


KINDS: dict[str, Transfer] = {
    "httpd_get": httpd_get,
    "httpd_put": httpd_put,
    "ftp_get": ftp_curl_get,
    "ftp_put": ftp_curl_put,
    "ftp_list": ftp_curl_list,
    "lftp": ftp_lftp,
    "lftp_too": ftp_lftp,
    "ftpbench": ftp_bench,
    "proxy_curl": proxy_curl,
    "proxy_curl_too": proxy_curl,
    "proxy_post": proxy_post,
    "proxy_wget": proxy_wget,
}


class Client(threading.Thread):
    """Does one kind of thing until the time is over."""

    def __init__(self, kind: str, place: Place, seed: int, stop: threading.Event) -> None:
        super().__init__()
        self.kind, self.place, self.stop = kind, place, stop
        self.rng = random.Random(f"{seed} {kind}")
        self.count = 0
        self.longest = 0.0
        self.problems: list[str] = []

    def run(self) -> None:
        while not self.stop.is_set():
            began = time.monotonic()
            name = f"{self.kind}-{self.count}"
            problem = KINDS[self.kind](self.place, name, self.rng)
            self.longest = max(self.longest, time.monotonic() - began)
            self.count += 1
            if problem:
                at = time.strftime("%H:%M:%S")
                self.problems.append(f"{at} {name} (pid {os.getpid()}): {problem}")
                print(self.problems[-1], flush=True)
