"""Scripts whose answers are recorded in tests/data/NAME.xen: `SCRIPTS` by name.

They go through what a caller can do wrong, one argument at a time, and through the states in which
a call can find its object. `python tests/oracle/record.py` has real Xen answer them again.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from oracle.script import Script
from oracle.scripts.cpu import cpu
from oracle.scripts.domains import domains
from oracle.scripts.events import events, fifo
from oracle.scripts.grants import grants
from oracle.scripts.memory import memory
from oracle.scripts.mmu import mmu
from oracle.scripts.smp import smp
from oracle.scripts.unserved import unserved
from oracle.topics import TOPICS


def random(name: str) -> Script:
    """Four episodes of a topic."""
    topic = TOPICS[name](Random(f"{name} recorded"))
    topic.prologue()
    for _ in range(4):
        topic.reset()
        for _ in range(40):
            topic.step()
    return topic.s


SCRIPTS: dict[str, Callable[[], Script]] = {
    "cpu": cpu,
    "domains": domains,
    "events": events,
    "fifo": fifo,
    "grants": grants,
    "memory": memory,
    "mmu": mmu,
    "smp": smp,
    "unserved": unserved,
    **{f"random-{name}": lambda name=name: random(name) for name in TOPICS},  # type: ignore[misc]
}
