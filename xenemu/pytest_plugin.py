"""Fixtures for tests of code that makes Xen hypercalls.

pytest loads this by its entry point; xenemu itself is imported by the first test that asks for a
machine. A test's machine is its own, and is seeded by the test's name.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from zlib import crc32

import pytest

if TYPE_CHECKING:
    from xenemu.xen import Domain, Machine


@pytest.fixture
def xen_machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """An emulated Xen host of 64 MiB with a control domain of 4 MiB: xenemu.Machine."""
    from xenemu.xen import Machine

    with Machine(memory_mib=64, seed=crc32(request.node.nodeid.encode())) as machine:
        yield machine


@pytest.fixture
def xen_control(xen_machine: Machine) -> Domain:
    """Its control domain, which is privileged."""
    return xen_machine.control


@pytest.fixture
def xen_domain(xen_machine: Machine) -> Domain:
    """An unprivileged domain of 4 MiB on it."""
    return xen_machine.create_domain(memory_mib=4)
