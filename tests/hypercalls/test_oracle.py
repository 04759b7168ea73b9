"""Real Xen's answers: 230 calls in their order, and what else was recorded."""

from __future__ import annotations

from pathlib import Path

from oracle.probe_domains import answers

DATA = Path(__file__).parents[1] / "data"

# Frames 0 and 1 of a real machine are no RAM: nobody has them, and dom0 may map them all the
# same. Here they are dom0's own. The table that is pinned has an entry that names frame 0.
LOW_MEMORY = "frames 0 and 1 are dom0's memory here, and no RAM on a real machine"
EXCEPTIONS = dict.fromkeys(
    (
        "mmu_update ptr not ours",
        "pin L1",
        "pin L1 twice",
        "remap RW while pinned",
        "unpin",
        "gr.map frame not ours",
        # Frame 1 is shared_info's, where the first of these has just unmasked events.
        "sched.poll free port, past timeout",
        "sched.poll port 4096",
    ),
    LOW_MEMORY,
)


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
