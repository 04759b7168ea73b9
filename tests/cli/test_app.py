"""The commands: help, usage, one-line errors, and a whole session over the control socket."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from xenemu.cli import main

COMMANDS = [
    "boot",
    "list",
    "crash",
    "pause",
    "unpause",
    "events",
    "stop",
    "exec",
    "timeline",
    "upgrade",
]
SMALL = ["--memory", "control=4M", "--memory", "primary=16M", "--log", "32M", "--forward", "0:80"]


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "run"
    path.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(path))
    return path


def run(*words: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "xenemu", *words], capture_output=True, text=True, timeout=60
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help(command: str | None) -> None:
    result = CliRunner().invoke(main, [*([command] if command else []), "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.output
    if command is None:
        assert all(name in result.output for name in COMMANDS)


@pytest.mark.parametrize(
    "words",
    [
        ["list"], ["crash", "app"], ["pause", "primary"], ["unpause", "1"], ["events"],
        ["stop"], ["exec", "1", "ps"], ["upgrade", "--reload"],
    ],
)  # fmt: skip
def test_nobody_runs(words: list[str]) -> None:
    result = CliRunner().invoke(main, [words[0], "--name", "nobody", *words[1:]])
    assert result.exit_code == 1
    assert result.stderr == "xenemu: no emulated host 'nobody' is running\n"


@pytest.mark.parametrize(
    "words",
    [
        ["list", "--name", "../x"],
        ["list", "--name", ""],
        ["crash", "everything"],
        ["crash"],
        ["crash", "app", "--how", "panic"],
        ["crash", "kernel", "--how", "SIGKILL"],
        ["crash", "kernel", "--how", "stall:-1"],
        ["crash", "backup", "--how", "stall"],
        ["crash", "kernel", "--service", "httpd"],
        ["boot", "--service", "missing.py"],
        ["boot", "--service", "ftp,port=x"],
        ["boot", "--service", "ftp,colour=red"],
        ["boot", "--service", "ftp", "--service", "ftp"],
        ["boot", "--service", "httpd", "--service", "ftp", "--arg", "x"],
        ["boot", "--service", "ftp,arg=x", "--arg", "y"],
        ["boot", "--passive-ports", "30000"],
        ["boot", "--passive-ports", "8080-8081"],
        ["crash", "app", "--count", "2"],
        ["crash", "app", "--every", "0"],
        ["crash", "app", "--every", "1", "--count", "0"],
        ["pause"],
        ["exec", "1"],
        ["nothing"],
        ["boot", "--root", "/nonexistent"],
        ["boot", "--memory", "backup=1G"],
        ["boot", "--memory", "primary=x"],
        ["boot", "--log", "1"],
        ["boot", "--forward", "80"],
        ["boot", "--service", "missing.py"],
        ["boot", "--service", "httpd,port=x"],
        ["boot", "--service", "httpd,profile=fast"],
        ["boot", "--service", "httpd,profile=missing.py:x"],
        ["boot", "--service", "httpd", "--service", "httpd"],
        ["boot", "--service", "ftp", "--service", "proxy", "--arg", "x"],
        ["boot", "--service", "ftp,arg=x", "--arg", "y"],
        ["boot", "--passive-ports", "5"],
        ["boot", "--passive-ports", "9-5"],
        ["boot", "--forward", "5000:80", "--passive-ports", "4999-5001"],
        ["crash", "kernel", "--service", "ftp"],
        ["boot", "--kernel", "9"],
    ],
)
def test_usage(words: list[str]) -> None:
    assert CliRunner().invoke(main, words).exit_code == 2


@pytest.fixture
def host(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running `boot` and its URL."""
    (tmp_path / "file").write_bytes(b"hello")
    process = subprocess.Popen(
        [sys.executable, "-m", "xenemu", "boot", "--root", str(tmp_path), *SMALL],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("ready "):
            break
    else:
        pytest.fail("it did not get ready")
    yield process, line.split()[1]
    if process.poll() is None:
        process.kill()
    process.wait()
    process.stdout.close()


def domains() -> list[dict[str, object]]:
    status, output, _ = run("list", "--json")
    assert status == 0
    rows: list[dict[str, object]] = json.loads(output)
    return rows


def test_a_session(host: tuple[subprocess.Popen[str], str], runtime: Path) -> None:
    process, url = host
    with urllib.request.urlopen(url + "file") as answer:
        assert answer.read() == b"hello"
    assert [row["role"] for row in domains()] == ["control", "primary", "backup"]
    assert "primary" in run("list")[1]
    assert run("boot", *SMALL)[::2] == (1, "xenemu: 'default' is running already\n")
    status, output, _ = run("exec", "primary", "zlctl", "boot-backup")
    assert status == 1
    assert run("exec", "backup", "ps")[0] == 1
    assert run("exec", "nobody", "ps")[::2] == (1, "xenemu: ESRCH: no domain 'nobody'\n")
    assert run("unpause", "primary")[0] == 1
    assert run("pause", "control")[0] == run("unpause", "control")[0] == 0
    assert run("crash", "app")[::2] == (0, "")
    deadline = time.monotonic() + 40
    while [row["role"] for row in domains()].count("backup") == 0:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    with urllib.request.urlopen(url + "file") as answer:
        assert answer.read() == b"hello"
    assert "recovery-done" in run("events")[1]
    assert all(json.loads(line)["name"] for line in run("events", "--json")[1].splitlines())
    assert run("stop")[0] == 0
    assert process.wait(20) == 0
    assert list((runtime / "xenemu").iterdir()) == []


def test_crashes_in_a_row(host: tuple[subprocess.Popen[str], str]) -> None:
    _, url = host
    status, output, errors = run(
        "crash", "kernel", "--how", "hang", "--every", "0.2", "--count", "3", "--json"
    )
    assert (status, errors) == (0, "")
    told = [json.loads(line) for line in output.splitlines()]
    assert [line["number"] for line in told] == [1, 2, 3]
    assert {(line["what"], line["how"]) for line in told} == {("kernel", "hang")}
    assert len({line["domain"] for line in told[:2]}) == 2
    with urllib.request.urlopen(url + "file") as answer:
        assert answer.read() == b"hello"
    deadline = time.monotonic() + 40
    while (status := run("crash", "backup", "--json")[0]) != 0:
        assert time.monotonic() < deadline
    assert run("crash", "app", "--how", "exception")[1].endswith("crashed (exception)\n")
    with urllib.request.urlopen(url + "file") as answer:
        assert answer.read() == b"hello"


def test_endless_crashes_end_with_an_interrupt(host: tuple[subprocess.Popen[str], str]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "xenemu", "crash", "app", "--every", "0.1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "crashed (SIGKILL)" in line:
            break
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_clean_up(
    host: tuple[subprocess.Popen[str], str], runtime: Path, number: int
) -> None:
    process, _ = host
    os.kill(process.pid, number)
    assert process.wait(20) == 0
    assert list((runtime / "xenemu").iterdir()) == []


def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, _, error = run("boot", *SMALL, "--passive-ports", f"{port}-{port}")
    assert status == 1
    assert error == f"xenemu: port {port} of 127.0.0.1: Address already in use\n"


def test_several_services(tmp_path: Path) -> None:
    upper = tmp_path / "upper.py"
    upper.write_text(
        "import asyncio\n"
        "async def upper(reader, writer):\n"
        "    writer.write((await reader.readline()).upper())\n"
        "    writer.close()\n"
        "async def main(argv):\n"
        "    server = await asyncio.start_server(upper, '0.0.0.0', int(argv[0]))\n"
        "    await server.serve_forever()\n"
    )
    services = ["--service", "httpd", "--service", f"{upper},port=7000,arg=7000"]
    words = ["boot", *SMALL, "--forward", "0:7000", *services]
    argv = [sys.executable, "-m", "xenemu", *words]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as boot:
        try:
            assert boot.stdout is not None
            ready = next(line for line in boot.stdout if line.startswith("ready ")).split()
            port = int(ready[2].rpartition(":")[2].strip("/"))
            assert run("crash", "app", "--service", "upper")[0] == 0
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(b"hello\n")
                assert client.recv(100) == b"HELLO\n"
            rows = json.loads(run("list", "--json")[1])
            assert [row["services"] for row in rows if row["role"] == "primary"] == [
                ["httpd", "upper"]
            ]
            assert run("crash", "app", "--service", "x")[2].endswith("(no service 'x' runs here)\n")
            assert run("stop")[0] == 0
            assert boot.wait(30) == 0
        finally:
            boot.kill()
