"""Python's cyclic collector in a process that serves in real time.

A recovery makes objects by the ten thousands (a task, a transport, handles for each connection),
and at Python's own thresholds each few of them have the collector look through all that the
process holds: more than half of a recovery of 10,000 connections.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

THRESHOLDS = (50_000, 20, 50)


@contextmanager
def collect_rarely() -> Iterator[None]:
    """Fewer collections, until the end of the block."""
    before = gc.get_threshold()
    gc.set_threshold(*THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
