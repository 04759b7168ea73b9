"""`upgrade`: usage, its request, and a session over the control socket."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from xenemu.boot import BootConfig, UpgradeRequest, parse_service
from xenemu.cli import main
from xenemu.cli.upgrade_method import request_of

SMALL = ["--memory", "control=4M", "--memory", "primary=16M", "--log", "32M", "--forward", "0:80"]
SERVICE = """
from aiohttp import web

async def main(argv):
    async def answer(request):
        return web.Response(text=" ".join(argv))

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", 80).start()
    await __import__("asyncio").sleep(10 ** 8)
"""


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--check", "/"],
        ["--reload", "--check", "index.html"],
        ["--reload", "--check", "/", "--no-check"],
        ["--root", "/nonexistent"],
        ["--root", "/", "--arg", "x"],
        ["--service", "missing.py"],
        ["--kernel", "9"],
    ],
)
def test_usage(words: list[str]) -> None:
    assert CliRunner().invoke(main, ["upgrade", *words]).exit_code == 2


def config(*services: str) -> BootConfig:
    return BootConfig(specs=tuple(map(parse_service, services)))


def test_request() -> None:
    params = {"program": "a:b", "arguments": ["x"], "check": None, "reload": True}
    assert request_of(params, config("a:b")) == UpgradeRequest("a:b", ("x",), None, True, None)
    for bad in (
        {"program": 1}, {"arguments": "x"}, {"arguments": [1]}, {"reload": 1}, {"x": 1},
        {"service": 1}, {"root": 1},
    ):  # fmt: skip
        with pytest.raises(TypeError):
            request_of(bad, config("a:b"))


@pytest.mark.parametrize(
    ("word", "request_"),
    [
        ("ftp", UpgradeRequest(service="ftp", reload=True)),
        ("ftp=m:n", UpgradeRequest("m:n", service="ftp")),
        ("m:n", UpgradeRequest("m:n")),
        ("/a=b.py", UpgradeRequest("/a=b.py")),
    ],
)
def test_which_service(word: str, request_: UpgradeRequest) -> None:
    assert request_of({"service": word}, config("ftp", "proxy")) == request_


def test_another_root() -> None:
    several = config("ftp", "proxy", "a:b,port=8000,arg=x")
    moved = request_of({"service": "ftp", "root": "/srv"}, several)
    assert moved == UpgradeRequest(service="ftp", arguments=("--port", "21", "/srv"))
    new = request_of({"service": "a=m:n", "root": "/srv"}, several)
    assert new == UpgradeRequest("m:n", service="a", arguments=("--port", "8000", "/srv"))
    with pytest.raises(OSError, match="which one: ftp, proxy, a"):
        request_of({"root": "/srv"}, several)
    with pytest.raises(OSError, match="a got its own arguments"):
        request_of({"service": "a", "root": "/srv"}, several)


def run(*words: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "xenemu", *words], capture_output=True, text=True, timeout=60
    )
    return done.returncode, done.stdout, done.stderr


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url) as answer:
        body: bytes = answer.read()
    return body


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Of a running `boot` with the service of served.py."""
    (tmp_path / "run").mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    served = tmp_path / "served.py"
    served.write_text(SERVICE)
    words = ["boot", "--service", str(served), "--arg", "one", "--kernel", "2.6", *SMALL]
    process = subprocess.Popen(
        [sys.executable, "-m", "xenemu", *words], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    ready = next(line for line in process.stdout if line.startswith("ready "))
    yield ready.split()[1]
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_session(url: str, tmp_path: Path) -> None:
    assert fetch(url) == b"one"
    assert run("exec", "primary", "uname")[1] == "d1 2.6\n"
    status, output, errors = run("upgrade", "--arg", "two", "--check", "/")
    assert (status, errors) == (0, "")
    assert output.splitlines()[-1] == "d2 serves, protected by d3"
    assert "d0  check 10.0.0.2 80 /" in output
    assert fetch(url) == b"two"
    status, output, errors = run("upgrade", "--reload", "--check", "/x")
    assert status == 1
    assert errors == "xenemu: rolled back: check 10.0.0.3 80 /x: EIO: 404 Not Found\n"
    assert output.splitlines()[-1].startswith("d2 serves, protected by d")
    status, output, _ = run("upgrade", "--root", str(tmp_path), "--kernel", "2.4", "--json",
                            "--service", "xenemu.guest.programs.httpd")  # fmt: skip
    *steps, result = map(json.loads, output.splitlines())
    assert status == 0 and result["outcome"] == "upgraded"
    assert [step["step"] for step in steps] == [step["step"] for step in result["steps"]]
    assert all(step["seconds"] >= 0 for step in result["steps"])
    assert fetch(url + "served.py") == SERVICE.encode()
    assert run("exec", "primary", "uname")[1] == f"d{result['primary']} 2.4\n"
    assert run("exec", "backup", "ps")[2] == "xenemu: EAGAIN: the domain is not running\n"
    assert run("exec", "primary", "zlctl", "wakeup-backup")[0] == 0
    assert run("upgrade", "--reload")[::2] == (1, "xenemu: EBUSY: the backup is in use (awake)\n")
