"""Generates xenemu/_abi.py from csrc/base/abi.def, where the ABI is written once.

A group of XE_ABI(group, name, value, "comment") lines becomes an IntEnum (an IntFlag for
bit masks), or plain constants for `domid`. `--check` writes nothing and fails when the
file on disk is another one. Run by setup.py; needs nothing but the standard library.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINE_LENGTH = 100

CLASSES = {
    "hypercall": ("Hypercall", "IntEnum"),
    "virq": ("Virq", "IntEnum"),
    "zl": ("ZlOp", "IntEnum"),
    "zl_signal": ("ZlSignal", "IntFlag"),
    "tcp_feature": ("TcpFeature", "IntFlag"),
    "fault": ("FaultKind", "IntEnum"),
    "mmuext": ("MmuextOp", "IntEnum"),
    "mmu": ("MmuUpdate", "IntEnum"),
    "uvmf": ("UpdateVaFlags", "IntFlag"),
    "domctl": ("DomctlOp", "IntEnum"),
    "xenver": ("XenVersionOp", "IntEnum"),
    "vm_assist": ("VmAssistOp", "IntEnum"),
    "gtf": ("GrantFlag", "IntFlag"),
    "gntmap": ("GrantMap", "IntFlag"),
    "gntcopy": ("GrantCopy", "IntFlag"),
    "gntst": ("GrantStatus", "IntEnum"),
    "single_shot": ("SingleShot", "IntFlag"),
    "domain_flag": ("DomainFlag", "IntFlag"),
}
CONSTANTS = {"domid": "DOMID_"}

HEADER = '"""The ABI\'s constants. Made from csrc/base/abi.def by tools/gen_abi.py: do not edit."""'

ENTRY = re.compile(
    r"""\bXE_ABI\(\s*(?P<group>[a-z]\w*)\s*,\s*(?P<name>[A-Za-z]\w*)\s*,
    \s*(?P<value>[^,"]*?)\s*,\s*(?P<comment>"(?:[^"\\]|\\.)*"(?:\s*"(?:[^"\\]|\\.)*")*)\s*\)""",
    re.VERBOSE,
)
VALUE = re.compile(
    r"\(?\s*(?P<base>0[xX][0-9a-fA-F]+|0|-?[1-9]\d*)[uUlL]*(?:\s*<<\s*(?P<shift>\d+))?\s*\)?"
)

Entry = tuple[str, str, str]  # name, value, comment


class AbiError(Exception):
    """abi.def holds something that this script does not understand."""


def parse(text: str) -> dict[str, list[Entry]]:
    """The entries of each group, in the file's order."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    text = re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE)
    groups: dict[str, list[Entry]] = {}
    for m in ENTRY.finditer(text):
        comment = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', m["comment"])).replace('\\"', '"')
        groups.setdefault(m["group"], []).append((m["name"], value_of(m["value"]), comment))
    rest = ENTRY.sub("", text).strip()
    if rest:
        raise AbiError(f"not an XE_ABI line: {rest.splitlines()[0]}")
    return groups


def value_of(text: str) -> str:
    """A C integer constant as Python source."""
    m = VALUE.fullmatch(text)
    if m is None:
        raise AbiError(f"not an integer constant: {text}")
    base = m["base"]
    if base[:2] in ("0x", "0X"):
        base = "0x" + base[2:].upper()
    return base if m["shift"] is None else f"{base} << {m['shift']}"


def line(indent: str, name: str, value: str, comment: str) -> str:
    code = f"{indent}{name} = {value}"
    if not comment:
        return code
    if len(code) + len(comment) + 4 <= LINE_LENGTH:
        return f"{code}  # {comment}"
    return f"{indent}# {comment}\n{code}"


def generate(text: str) -> str:
    """The Python module for the text of an abi.def."""
    constants: list[str] = []
    classes: list[str] = []
    bases: set[str] = set()
    for group, entries in parse(text).items():
        if group in CONSTANTS:
            constants += [line("", CONSTANTS[group] + name, v, c) for name, v, c in entries]
            continue
        camel = "".join(part.capitalize() for part in group.split("_"))
        name, base = CLASSES.get(group, (camel, "IntEnum"))
        bases.add(base)
        classes.append("\n".join([f"class {name}({base}):", *(line("    ", *e) for e in entries)]))
    parts = [HEADER]
    if bases:
        parts.append(f"from enum import {', '.join(sorted(bases))}")
    if constants:
        parts.append("\n".join(constants))
    return "\n\n".join(parts) + "".join(f"\n\n\n{c}" for c in classes) + "\n"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail if the file is out of date")
    parser.add_argument("--source", type=Path, default=ROOT / "csrc/base/abi.def")
    parser.add_argument("--output", type=Path, default=ROOT / "xenemu/_abi.py")
    args = parser.parse_args(argv)
    try:
        new = generate(args.source.read_text(encoding="utf-8"))
    except AbiError as e:
        print(f"{args.source}: {e}", file=sys.stderr)
        return 1
    old = args.output.read_text(encoding="utf-8") if args.output.exists() else None
    if old == new:
        return 0
    if args.check:
        print(f"{args.output} is out of date: run tools/gen_abi.py", file=sys.stderr)
        return 1
    args.output.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
