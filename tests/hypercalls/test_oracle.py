"""Real Xen's answers: 230 calls in their order, and what else was recorded."""

from __future__ import annotations

from pathlib import Path

from oracle.probe_domains import answers

DATA = Path(__file__).parents[1] / "data"

EXCEPTIONS: dict[str, str] = {}


def named(lines: list[str]) -> list[tuple[str, str]]:
    """(name, the rest)."""
    pairs = (line.removeprefix("@ ").partition(" = ") for line in lines)
    return [(name, rest) for name, _, rest in pairs]


def test_the_answers_are_real_xens() -> None:
    real = named((DATA / "xen-4.17.7.txt").read_text(encoding="utf-8").splitlines())
    mine = named(answers())
    assert [name for name, _ in mine] == [name for name, _ in real]
    assert len(EXCEPTIONS) <= 12
    different = [
        f"{name}: {rest}, xenemu {other}"
        for (name, rest), (_, other) in zip(real, mine, strict=True)
        if rest != other and name not in EXCEPTIONS
    ]
    assert not different
    equal = [a for a, b in zip(real, mine, strict=True) if a[0] in EXCEPTIONS and a == b]
    assert not equal, "no exceptions any more"
