"""Shared structs have the sizes and offsets that Debian's libxen-dev headers give them."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from oracle.headers import XEN_INCLUDE, XEN_SOURCE, Field, Headers, Struct

from xenemu.xen.structs import STRUCTS

ROOT = Path(__file__).parents[2]
ABI = sorted((ROOT / "csrc/xen/abi").glob("*.h"))

# Ours -> Xen's, where that is not the name without `xe_`, nor that with `xen_`.
NAMES = {
    "xe_nmi_callback": "xennmi_callback",
    "xe_domctl_create": "xen_domctl_createdomain",
    "xe_domctl_info": "xen_domctl_getdomaininfo",
    "xe_domctl_vcpu_info": "xen_domctl_getvcpuinfo",
    "xe_evtchn_port": "evtchn_close",
    "xe_fifo_control": "evtchn_fifo_control_block",
    "xe_grant_entry": "grant_entry_v1",
    "xe_gnttab_map": "gnttab_map_grant_ref",
    "xe_gnttab_unmap": "gnttab_unmap_grant_ref",
    "xe_gnttab_replace": "gnttab_unmap_and_replace",
    "xe_gnttab_setup": "gnttab_setup_table",
    "xe_gnttab_status_frames": "gnttab_get_status_frames",
    "xe_gnttab_swap": "gnttab_swap_grant_ref",
    "xe_runstate_info": "vcpu_runstate_info",
    "xe_vcpu_area": "vcpu_register_time_memory_area",
    "xe_vcpu_set_periodic": "vcpu_set_periodic_timer",
    "xe_vcpu_set_singleshot": "vcpu_set_singleshot_timer",
    "xe_register_vcpu_info": "vcpu_register_vcpu_info",
    "xe_vcpu_physid": "vcpu_get_physid",
    "xe_user_regs": "cpu_user_regs",
    "xe_vcpu_context": "vcpu_guest_context",
}

# Several fields of Xen's that are one here, as nobody looks at them.
ONE = {"xe_reserved_device_memory_map": "dev"}


@pytest.fixture(scope="module")
def xen() -> Headers:
    if not (XEN_INCLUDE / "xen.h").exists():
        lacks = "lacks /usr/include/xen/xen.h: install libxen-dev"
        if "CI" in os.environ:
            pytest.fail(lacks)
        pytest.skip(lacks)
    return Headers(XEN_SOURCE)


def covers(outer: Field, inner: Field) -> bool:
    return outer.offset <= inner.offset and inner.offset + inner.size <= outer.offset + outer.size


def overlaps(a: Field, b: Field) -> bool:
    return a.offset < b.offset + b.size and b.offset < a.offset + a.size


def is_pad(path: str) -> bool:
    return path.rpartition(".")[2].startswith(("pad", "_pad"))


def is_like(f: Field, theirs: Struct) -> bool:
    """One of Xen's by place and size; or that with the padding behind it; or within an array."""
    touched = [x for x in theirs.fields.values() if overlaps(x, f)]
    if any((x.offset, x.size) == (f.offset, f.size) for x in touched):
        return True
    plain = [x for x in touched if x.plain]
    if len(plain) == 1:
        return plain[0].offset == f.offset and sum(x.size for x in touched) == f.size
    return not plain


def is_kept(f: Field, mine: Struct, theirs: Struct) -> bool:
    """It, or another member of its union, is one of ours, or lies in one of ours that is larger."""
    union = [x for x in theirs.fields.values() if overlaps(x, f)]
    return any(
        x.offset == m.offset and covers(m, x) or not m.plain and covers(m, x)
        for x in union
        for m in mine.fields.values()
    )


def unlike(mine: Struct, theirs: Struct) -> list[str]:
    """What is not as in Xen's struct, by names and by places."""
    found = [] if mine.size == theirs.size else [f"size {mine.size}, Xen's {theirs.size}"]
    for name, f in mine.fields.items():
        other = theirs.fields.get(name)
        if other and not (f.offset == other.offset and is_like(f, theirs)):
            found.append(f"{name} {f.offset}:{f.size}, Xen's {other.offset}:{other.size}")
        if f.plain and not is_pad(name) and not is_like(f, theirs):
            found.append(f"{name} {f.offset}:{f.size} is no field of Xen's")
    for name, f in theirs.fields.items():
        if f.plain and not is_kept(f, mine, theirs):
            found.append(f"Xen's {name} {f.offset}:{f.size} is no field of ours")
    return found


def test_structs_of_c(xen: Headers) -> None:
    ours = Headers("".join(f'#include "{path}"\n' for path in ABI), [ROOT / "csrc"])
    pairs = {}
    for name in ours.structs:
        plain = name.removeprefix("xe_")
        known = [n for n in (NAMES.get(name, plain), f"xen_{plain}") if n in xen.structs]
        assert known, f"struct {name}: which of Xen's is it? Tell NAMES"
        pairs[name] = known[0]
    theirs = xen.measure(sorted(set(pairs.values())))
    mine = ours.measure(sorted(pairs))
    assert len(mine) > 15
    for name in ONE.keys() & mine.keys():
        fields = dict(mine[name].fields)
        fields[ONE[name]] = replace(fields[ONE[name]], plain=False)
        mine[name] = replace(mine[name], fields=fields)
    wrong = {n: w for n, other in pairs.items() if (w := unlike(mine[n], theirs[other]))}
    assert not wrong


def python_fields(kind: Any, above: str = "", base: int = 0) -> Iterator[tuple[str, Field]]:
    """Of a ctypes struct or union, through those in it."""
    for name, inner, *bits in kind._fields_:
        place = getattr(kind, name)
        if hasattr(inner, "_fields_"):
            yield from python_fields(inner, f"{above}{name}.", base + place.offset)
        elif not bits:
            plain = not issubclass(inner, ctypes.Array)
            yield f"{above}{name}", Field(base + place.offset, place.size, plain)


def test_structs_of_python(xen: Headers) -> None:
    assert len(STRUCTS) > 50
    theirs = xen.measure(sorted(STRUCTS))
    wrong = {}
    for name, kind in STRUCTS.items():
        mine = Struct(ctypes.sizeof(kind), dict(python_fields(kind)))
        names = {n for path in theirs[name].fields for n in (path, path.rpartition(".")[0])}
        other = [f"{n}: a name of ours" for n in mine.fields if n not in names and not is_pad(n)]
        if found := other + unlike(mine, theirs[name]):
            wrong[name] = found
    assert not wrong


def test_a_wrong_layout_is_seen() -> None:
    theirs = Struct(16, {"a": Field(0, 4, True), "b": Field(8, 8, True)})
    assert not unlike(theirs, theirs)
    assert not unlike(Struct(16, {"a": Field(0, 4, True), "rest": Field(8, 8, False)}), theirs)
    assert unlike(Struct(12, dict(theirs.fields)), theirs)
    assert unlike(Struct(16, {"a": Field(0, 8, True), "b": Field(8, 8, True)}), theirs)
    assert unlike(Struct(16, {"b": Field(0, 4, True), "a": Field(8, 8, True)}), theirs)
    assert unlike(Struct(16, {"a": Field(0, 4, True)}), theirs)
