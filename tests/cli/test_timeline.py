"""`timeline` of a running `boot`."""

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

SMALL = ["--memory", "control=4M", "--memory", "primary=16M", "--log", "32M", "--forward", "0:80"]


def xenemu(*words: str) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "xenemu", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A running `boot`."""
    (tmp_path / "run").mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    command = [sys.executable, "-m", "xenemu", "boot", "--root", str(tmp_path), *SMALL]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert any(line.startswith("ready ") for line in process.stdout)
    yield
    process.terminate()
    process.wait(20)
    process.stdout.close()


def crash_and_recover(what: str, number: int) -> None:
    """A crash, the one of that number since the boot, and the backup after it."""
    command = [sys.executable, "-m", "xenemu", "events", "--follow", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as events:
        assert events.stdout is not None
        assert xenemu("crash", what)[0] == 0
        names = iter(json.loads(line)["name"] for line in events.stdout)
        for _ in range(number):
            assert "crash-injected" in names
            assert "protected" in names
        events.kill()


def test_of_each_recovery(host: None, tmp_path: Path) -> None:
    assert xenemu("timeline") == (1, "", "xenemu: ENOENT: no recovery yet\n")
    crash_and_recover("app", 1)
    status, text, _ = xenemu("timeline")
    assert status == 0 and text.startswith("recovery 1 of 1: app fault of d1, d2 takes over\n")
    steps = ("detection", "path switch", "wake-up", "remap", "replay", "protected again")
    assert all(f"  {step} " in text for step in steps)
    crash_and_recover("kernel", 2)
    assert xenemu("timeline")[1].startswith("recovery 2 of 2: kernel fault of d2, d3 takes over\n")
    values = json.loads(xenemu("timeline", "--json", "--recovery", "1")[1])
    assert (values["number"], values["of"]) == (1, 2)
    assert {phase["name"] for phase in values["phases"]} >= {"detection", "remap", "renewal"}
    status, _, complaint = xenemu("timeline", "--recovery", "3")
    assert (status, complaint) == (1, "xenemu: ENOENT: no recovery 3: 1 to 2 are kept\n")
    drawing, trace = tmp_path / "x.svg", tmp_path / "x.json"
    status, text, _ = xenemu("timeline", "--svg", str(drawing), "--perfetto", str(trace))
    assert (status, text) == (0, "")
    assert ET.parse(drawing).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    assert json.loads(trace.read_text())["otherData"]["recovery"] == 2
    assert ET.fromstring(xenemu("timeline", "--svg", "-")[1]).tag.endswith("svg")
    status, _, complaint = xenemu("timeline", "--svg", str(tmp_path / "no" / "x.svg"))
    assert status == 1
    assert complaint.startswith("xenemu: No such file or directory: ") and "x.svg" in complaint


@pytest.mark.parametrize("words", [["--recovery", "0"], ["--recovery", "x"], ["--svg", "/"]])
def test_usage(words: list[str]) -> None:
    assert xenemu("timeline", *words)[0] == 2
