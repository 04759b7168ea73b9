"""The code of the guide for authors of services does what the guide says."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ozs import ftapi
from ozs.ftapi import CallKind, PacketKind, Side, Wrapper

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "make-your-service-fault-tolerant.md"
PYTHON = re.compile(r"^```python\n(.*?)^```\n(?:\n((?:    [^\n]*\n)+))?", re.DOTALL | re.MULTILINE)
C = re.compile(r"^```c\n(.*?)^```\n", re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def text() -> str:
    return GUIDE.read_text(encoding="utf-8")


def test_python(text: str, capsys: Any) -> None:
    profiles: dict[str, Any] = {}
    blocks = PYTHON.findall(text)
    assert len(blocks) == 5
    for code, printed in blocks:
        names: dict[str, Any] = {}
        exec(compile(code, str(GUIDE), "exec"), names)
        expected = [line[4:] for line in printed.splitlines()]
        if any("print(" in line for line in code.splitlines()):
            assert capsys.readouterr().out.splitlines() == expected
        profiles |= {name: names[name] for name in ("counting", "kv", "relay") if name in names}
    for profile in profiles.values():
        wrapper = Wrapper(7000)
        profile(wrapper)
        wrapper.uninstall(Side.CLIENT, PacketKind.REC_ACK)  # plain, at least
    assert set(profiles) == {"counting", "kv", "relay"}


def test_the_store_s_profile_is_the_guide_s(text: str) -> None:
    profile = (ROOT / "examples" / "kv" / "profile.py").read_text(encoding="utf-8")
    assert profile in text
    assert len(profile.splitlines()) < 60


def test_c(text: str, tmp_path: Path) -> None:
    (code,) = C.findall(text)
    (tmp_path / "mine.c").write_text(code, encoding="utf-8")
    library = tmp_path / "mine.so"
    options = ["-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-I", ftapi.include_dir()]
    subprocess.run(["cc", *options, "-o", library, tmp_path / "mine.c"], check=True)
    wrapper = ftapi.load_profile(f"{library}:counting", 7000)
    wrapper.uninstall(Side.CLIENT, PacketKind.REC_ACK)
    wrapper.uninstall(Side.SERVER, CallKind.READ)


def test_links(text: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert (GUIDE.parent / target).exists(), target
    headings = {
        re.sub(r"[^a-z -]", "", line.lower().lstrip("# ")).replace(" ", "-")
        for line in text.splitlines()
        if line.startswith("## ")
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= headings
