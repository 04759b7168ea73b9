"""`boot --pcap`: the real clock, a real client, and whatever ends the command."""

import hashlib
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

SMALL = ["--memory", "control=4M", "--memory", "primary=16M", "--log", "32M", "--forward", "0:80"]
SIZE = 8 << 20
pytestmark = pytest.mark.skipif(shutil.which("tshark") is None, reason="needs tshark")


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run"
    path.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(path))


def xenemu(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "xenemu", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str, Path]]:
    """A running `boot --pcap`, its URL, its capture."""
    (tmp_path / "file").write_bytes(bytes(range(256)) * (SIZE // 256))
    path = tmp_path / "x.pcapng"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "xenemu", "boot", "--root", str(tmp_path)),
            *("--pcap", str(path), *SMALL),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    ready = next((line for line in process.stdout if line.startswith("ready ")), None)
    assert ready is not None
    yield process, ready.split()[1], path
    if process.poll() is None:
        process.kill()
    process.wait()
    process.stdout.close()


def tshark(path: Path, *arguments: str) -> list[str]:
    command = ["tshark", "-n", "-r", str(path), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def fetch_across_a_crash(url: str, what: str) -> None:
    """One download, stopped in its middle while the service dies."""
    digest = hashlib.sha256()
    with urllib.request.urlopen(url + "file", timeout=30) as answer:
        digest.update(answer.read(65536))
        assert xenemu("crash", what).returncode == 0
        while data := answer.read(65536):
            digest.update(data)
    assert digest.digest() == hashlib.sha256(bytes(range(256)) * (SIZE // 256)).digest()


def at_the_gateway(path: Path, into: Path) -> None:
    """Its interface alone has one connection, no reset, and the story as comments."""
    tshark(path, "-Y", 'frame.interface_name == "gateway"', "-w", str(into))
    rows = [
        line.split("\t")
        for line in tshark(into, *"-T fields -e tcp.stream -e frame.comment".split())
    ]
    assert {row[0] for row in rows} == {"0"}
    comments = " ".join(row[1] for row in rows)
    for event in ("crash-injected", "fault", "fenced", "path-switched", "recovery-done"):
        assert event in comments
    assert not tshark(into, "-Y", "tcp.flags.reset == 1 || _ws.malformed")
    first = float(tshark(into, "-c", "1", "-T", "fields", "-e", "frame.time_epoch")[0])
    assert abs(time.time() - first) < 60


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_the_capture_is_whole(
    host: tuple[subprocess.Popen[str], str, Path], tmp_path: Path, end: signal.Signals
) -> None:
    process, url, path = host
    fetch_across_a_crash(url, "app" if end == signal.SIGINT else "kernel")
    process.send_signal(end)
    assert process.wait(20) == 0
    at_the_gateway(path, tmp_path / "gateway.pcapng")


def test_what_was_flushed_outlives_kill_9(
    host: tuple[subprocess.Popen[str], str, Path], tmp_path: Path
) -> None:
    process, url, path = host
    fetch_across_a_crash(url, "app")
    deadline = time.monotonic() + 20
    while b"recovery-done" not in path.read_bytes():
        assert time.monotonic() < deadline
        with urllib.request.urlopen(url + "file", timeout=30) as answer:
            answer.read()
    process.kill()
    process.wait()
    assert tshark(path, "-Y", "tcp.flags.reset == 1 || _ws.malformed") == []


@pytest.mark.parametrize(
    ("name", "reason"), [("no/x", "No such file or directory"), ("ro/x", "Is a directory")]
)
def test_a_file_that_cannot_be_made(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "ro" / "x").mkdir(parents=True)
    done = xenemu("boot", "--root", str(tmp_path), "--pcap", str(tmp_path / name), *SMALL)
    assert done.returncode in (1, 2)
    assert "x" in done.stderr and (reason in done.stderr or "is a directory" in done.stderr)
    assert xenemu("list").returncode == 1
