"""`core`, `console`, `destroy` and what `list` says of a faulty domain, on a running `boot`."""

import json
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from xenemu.cli import main
from xenemu.cli.output import kept

SMALL = ["--memory", "control=4M", "--memory", "primary=16M", "--log", "32M", "--forward", "0:80"]


def xenemu(*words: str) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "xenemu", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run").mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))


@pytest.fixture
def cores(tmp_path: Path) -> Iterator[Path]:
    """A running `boot`; where it writes cores."""
    path = tmp_path / "cores"
    path.mkdir()
    command = [sys.executable, "-m", "xenemu", "boot", "--root", str(tmp_path), *SMALL]
    command += ["--core-dir", str(path), "--keep-faulty", "forever"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert any(line.startswith("ready ") for line in process.stdout)
    yield path
    process.terminate()
    process.wait(20)
    process.stdout.close()


def wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 40
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def domains() -> dict[str, dict[str, object]]:
    return {row["role"]: row for row in json.loads(xenemu("list", "--json")[1])}


def protected() -> bool:
    return domains().get("backup", {}).get("state") == "paused"


def test_a_session(cores: Path, tmp_path: Path) -> None:
    assert xenemu("core") == (1, "", "xenemu: ENOENT: no core\n")
    assert xenemu("console", "primary") == (0, "", "")
    with subprocess.Popen(
        [sys.executable, "-m", "xenemu", "console", "d1", "--follow"],
        stdout=subprocess.PIPE,
        text=True,
    ) as console:
        assert console.stdout is not None
        assert xenemu("crash", "app", "--how", "exception")[0] == 0
        assert "core dumped" not in console.stdout.readline()
        assert any("(core dumped)" in line for line in console.stdout)
        console.kill()
    wait(lambda: protected() and any(cores.iterdir()))
    retired = domains()["retired"]
    assert (retired["kept"], retired["kept_seconds"]) == ("faulty", None)
    assert "faulty, forever" in xenemu("list")[1]
    assert "dead (InjectedError) httpd" in xenemu("exec", "retired", "ps")[1]
    assert xenemu("exec", "control", "connect", str(retired["ip"]), "80")[0] == 1

    status, text, _ = xenemu("core")
    assert status == 0 and "of d1: InjectedError: injected" in text.splitlines()[0]
    assert (cores / "core.d1.httpd.2").read_text() == text
    assert xenemu("exec", "retired", "core", "2")[1] == text
    assert json.loads(xenemu("core", "retired", "--pid", "2", "--json")[1])["pid"] == 2
    assert xenemu("core", "d2") == (1, "", "xenemu: ENOENT: no core\n")
    target = tmp_path / "out"
    assert xenemu("core", "d1", "--output", str(target)) == (0, "", "")
    assert target.read_text() == text and stat.S_IMODE(target.stat().st_mode) == 0o600
    status, _, complaint = xenemu("core", "--output", str(tmp_path / "no" / "out"))
    assert status == 1 and complaint.startswith("xenemu: No such file or directory: ")

    assert len(xenemu("console", "1", "--lines", "1")[1].splitlines()) == 1
    assert xenemu("destroy", "control", "--force")[0] == 1
    status, _, complaint = xenemu("destroy", "primary")
    assert status == 1
    assert complaint == "xenemu: EBUSY: d2 is the primary: --force ends the service\n"
    assert xenemu("destroy", "retired") == (0, "", "")
    assert "retired" not in domains()
    assert xenemu("core", "d1")[1] == text
    assert "(core dumped)" in xenemu("console", "d1")[1]
    assert xenemu("destroy", "retired") == (1, "", "xenemu: ESRCH: no domain 'retired'\n")
    assert xenemu("destroy", "backup") == (0, "", "")
    wait(protected)
    assert xenemu("destroy", "primary", "--force") == (0, "", "")
    assert set(domains()) == {"control"}


@pytest.mark.parametrize(
    "words",
    [
        ["boot", "--keep-faulty", "never"],
        ["boot", "--keep-faulty", "-1"],
        ["boot", "--keep-faulty", "nan"],
        ["boot", "--core-dir", "/nonexistent"],
        ["core", "--pid", "0"],
        ["console"],
        ["console", "d1", "--lines", "-1"],
        ["destroy"],
    ],
)
def test_usage(words: list[str]) -> None:
    assert CliRunner().invoke(main, words).exit_code == 2


@pytest.mark.parametrize("words", [["core"], ["console", "1"], ["destroy", "1"]])
def test_nobody_runs(words: list[str]) -> None:
    assert xenemu(*words) == (1, "", "xenemu: no emulated host 'default' is running\n")


@pytest.mark.parametrize(
    ("why", "seconds", "shown"),
    [
        ("", None, "-"),
        ("faulty", None, "faulty, forever"),
        ("faulty", 12.4, "faulty, 12s"),
        ("migrated", None, "until protected"),
    ],
)
def test_how_it_is_kept(why: str, seconds: float | None, shown: str) -> None:
    assert kept({"kept": why, "kept_seconds": seconds}) == shown
