"""Fixtures of all hypercalls' tests: hostile addresses in `xen_domain`."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypercalls import support

from xenemu import Domain


@pytest.fixture
def unmapped() -> int:
    """An address where no guest has memory."""
    return support.UNMAPPED


@pytest.fixture
def xen_va() -> int:
    """An address of Xen's own."""
    return support.XEN_VA


@pytest.fixture
def readonly_page(xen_domain: Domain) -> int:
    """The address of a page of zeroes that the domain may only read."""
    return support.read_only(xen_domain, bytes(8))


@pytest.fixture
def straddling(xen_domain: Domain) -> Callable[[int], int]:
    """`straddling(n)`: an address n bytes before the end of a page whose next one is not mapped."""
    return lambda n: support.straddling(xen_domain, bytes(n), mapped=False, first=n)
