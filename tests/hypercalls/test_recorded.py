"""What real Xen answered to the scripts in tests/data, asked of an emulated host."""

from __future__ import annotations

from pathlib import Path

import pytest
from oracle.emulated import emulate
from oracle.scripts import SCRIPTS
from oracle.text import ANY, Line, parse, render, script_of, with_answers

DATA = Path(__file__).parents[1] / "data"
RECORDED = sorted(DATA.glob("*.xen"))

# (file, label): why it is otherwise here.
EXCEPTIONS: dict[tuple[str, str], str] = {}


def test_all_scripts_are_recorded() -> None:
    assert {path.stem for path in RECORDED} == set(SCRIPTS)


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_the_answers_are_real_xens(path: Path) -> None:
    lines = [line for line in parse(path.read_text(encoding="utf-8")) if line.op]
    script = script_of(lines)
    mine = list(with_answers(script.ops, emulate(script)))
    assert sum(line.answer is not None for line in lines) > 100
    different = []
    for n, (line, other) in enumerate(zip(lines, mine, strict=True)):
        if line.answer not in (None, ANY, other.answer):
            before = render(lines[max(0, n - 4) : n])
            different.append(f"{before}{line}   <== xenemu: {other.answer}\n")
    assert not different, f"{len(different)} differ:\n" + "\n".join(different[:10])


def test_text_is_what_was_parsed() -> None:
    for path in RECORDED:
        text = path.read_text(encoding="utf-8")
        lines: list[Line] = parse(text)
        assert render(lines) == text
        assert script_of(lines).encode()
