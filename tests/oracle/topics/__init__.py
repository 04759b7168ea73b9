"""Random sequences by subject: `TOPICS` by name."""

from __future__ import annotations

from oracle.topics.base import Topic
from oracle.topics.cpu import Cpu
from oracle.topics.domains import Domains
from oracle.topics.events import Events
from oracle.topics.grants import Grants
from oracle.topics.memory import Memory
from oracle.topics.mmu import Mmu

TOPICS: dict[str, type[Topic]] = {
    "event": Events,
    "grant": Grants,
    "memory": Memory,
    "mm": Mmu,
    "domctl": Domains,
    "cpu": Cpu,
}

__all__ = ["TOPICS", "Topic"]
