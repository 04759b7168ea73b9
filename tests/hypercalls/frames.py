"""Frames of a domain for the tests of memory_op and domctl."""

from __future__ import annotations

from xenemu import Domain


def unmapped_page(domain: Domain) -> tuple[int, int]:
    """A frame of the domain that nothing refers to but its reservation, and where it was."""
    page = domain.alloc_page()
    mfn = domain.mfn_at(page)
    domain.hypercall.update_va_mapping(page, 0)
    return mfn, page
