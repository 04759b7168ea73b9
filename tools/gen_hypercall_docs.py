"""Generates docs/hypercalls.md from the docstrings of xenemu/xen/calls; needs the built extension.

A docstring of a call is text, then perhaps `Struct:`, `Returns:`, `Raises:`, in this order; under
the last a line `NAME: condition` for each errno or status, continued with deeper indentation.
`--check` writes nothing and fails when the file on disk is another one.
"""

from __future__ import annotations

import argparse
import errno
import inspect
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from xenemu._abi import DOMID_SELF  # noqa: E402
from xenemu.xen.calls.group import Call  # noqa: E402
from xenemu.xen.hypercalls import CALLS  # noqa: E402
from xenemu.xen.structs import STRUCTS  # noqa: E402
from xenemu.xen.structs.layout import fields_of  # noqa: E402

HEAD = """\
# Hypercalls

<!-- Made from the docstrings in xenemu/xen/calls by tools/gen_hypercall_docs.py: do not edit. -->

Every typed hypercall of a `xenemu.Domain`, in Xen's terms: what it does, the struct that goes
through guest memory, what comes back, and each errno with its condition. `domain.hypercall` is that
of virtual CPU 0, `domain.vcpu(n).hypercall` that of another.
[testing-with-xenemu.md](testing-with-xenemu.md) is the guide.

- `domain.hypercall(nr, *args)` makes any hypercall with raw registers;
  `domain.hypercall.raw(nr, *args)` answers a negative errno instead of raising.
- An errno is raised as `HypercallError`, an `OSError` with `nr`, `op` and `name`, and also as
  Python's own class: `except PermissionError` catches EPERM and EACCES, `ProcessLookupError` ESRCH,
  `FileExistsError` EEXIST, `FileNotFoundError` ENOENT, `BlockingIOError` EAGAIN.
- A status `GNTST_*` of a grant operation on one entry is raised as `GrantError`, with `status`.
- Where a hypercall has sub-operations, the group itself makes any of them by number:
  `domain.hypercall.memory_op(MemoryOp.maximum_ram_page)`, with a struct, bytes or an integer.
- A dead domain's calls answer ESRCH. A number without a hypercall is ENOSYS.
"""

SECTION = re.compile(r"^(Struct|Returns|Raises):\s*(.*)$")
CONDITION = re.compile(r"^(E[A-Z0-9]+|GNTST_[a-z_]+): (.+)$")


class DocError(Exception):
    """A docstring is not in the form that this script understands."""


@dataclass
class Doc:
    text: list[str] = field(default_factory=list)
    structs: list[str] = field(default_factory=list)
    returns: str = ""
    raises: list[tuple[str, str]] = field(default_factory=list)


def parse(name: str, docstring: str | None) -> Doc:
    """The parts of a docstring."""
    if not docstring:
        raise DocError(f"{name} has no docstring")
    doc, section = Doc(), "Text"
    for line in inspect.cleandoc(docstring).splitlines():
        m = SECTION.match(line)
        if m:
            section, rest = m.group(1), m.group(2)
            if section == "Struct":
                doc.structs = [s.strip() for s in rest.split(",")]
            elif section == "Returns":
                doc.returns = rest
        elif section == "Text":
            doc.text.append(line)
        elif section == "Returns" and line.strip():
            doc.returns += f" {line.strip()}"
        elif section == "Raises" and line.strip():
            add_condition(name, doc, line)
        elif line.strip():
            raise DocError(f"{name}: text after {section}: {line.strip()}")
    while not doc.text[-1]:
        doc.text.pop()
    unknown = [s for s in doc.structs if s not in STRUCTS]
    if unknown:
        raise DocError(f"{name}: no such struct: {', '.join(unknown)}")
    return doc


def add_condition(name: str, doc: Doc, line: str) -> None:
    text = line.strip()
    m = CONDITION.match(text)
    if m and not line.startswith(" " * 5):
        if m.group(1).startswith("E") and not hasattr(errno, m.group(1)):
            raise DocError(f"{name}: no such errno: {m.group(1)}")
        doc.raises.append((m.group(1), m.group(2)))
    elif line.startswith(" " * 5) and doc.raises:
        known, condition = doc.raises[-1]
        doc.raises[-1] = (known, f"{condition} {text}")
    else:
        raise DocError(f"{name}: not an errno and its condition: {text}")


def signature(function: Any) -> str:
    """As one would write the call."""
    parts = []
    star = False
    for p in list(inspect.signature(function).parameters.values())[1:]:
        if p.kind is p.KEYWORD_ONLY and not star:
            parts.append("*")
            star = True
        if p.kind is p.VAR_POSITIONAL:
            parts.append(f"*{p.name}")
            star = True
            continue
        text = f"{p.name}: {p.annotation}"
        if p.default is not p.empty:
            known = {DOMID_SELF: "DOMID_SELF", bytes(16): "bytes(16)"}
            text += f" = {known.get(p.default, repr(p.default))}"
        parts.append(text.replace("<UpdateVaFlags.INVLPG: 2>", "UpdateVaFlags.INVLPG"))
    result = inspect.signature(function).return_annotation
    return f"({', '.join(parts)})" + ("" if result == "None" else f" -> {result}")


def entry(call: str, doc: Doc, common: bool = False) -> list[str]:
    """The Markdown of one."""
    lines = [*doc.text]
    if doc.structs:
        lines.append("")
        for s in doc.structs:
            names = ", ".join(f"`{n}`" for n in fields_of(STRUCTS[s]) if not n.startswith("_"))
            many = names.count("`") > 2 * 30
            lines.append(f"- struct `{s}`" + ("" if many else f": {names}"))
    if doc.returns:
        if not doc.structs:
            lines.append("")
        lines.append(f"- returns {doc.returns}")
    if doc.raises:
        lines += ["", f"| {'any of them' if common else 'error'} | when |", "|---|---|"]
        lines += [f"| {name} | {condition} |" for name, condition in doc.raises]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def of_call(cls: type[Call]) -> list[str]:
    """The Markdown of a hypercall."""
    name = cls.nr.name
    doc = parse(name, cls.__doc__)
    lines = [f"## {name}", "", f"Hypercall {int(cls.nr)}.", ""]
    lines += entry(name, doc, common=True)
    for attribute, function in vars(cls).items():
        public = not attribute.startswith("_") or attribute == "__call__"
        if not public or not inspect.isfunction(function):
            continue
        call = f"hypercall.{name}" + ("" if attribute == "__call__" else f".{attribute}")
        if attribute == "__call__" and not function.__doc__:
            continue
        heading = name if attribute == "__call__" else f"{name}.{attribute}"
        if attribute != "__call__":
            lines += ["", f"### {heading}"]
        lines += ["", "```python", f"{call}{signature(function)}", "```", ""]
        lines += entry(call, parse(call, function.__doc__))
    return [*lines, ""]


def generate() -> str:
    """The whole file."""
    toc = [f"- [{cls.nr.name}](#{cls.nr.name})" for cls in CALLS]
    parts = [HEAD.rstrip(), "", *toc, ""]
    for cls in CALLS:
        parts += of_call(cls)
    return "\n".join(parts).rstrip() + "\n"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail if the file is out of date")
    parser.add_argument("--output", type=Path, default=ROOT / "docs/hypercalls.md")
    args = parser.parse_args(argv)
    try:
        new = generate()
    except DocError as e:
        print(e, file=sys.stderr)
        return 1
    old = args.output.read_text(encoding="utf-8") if args.output.exists() else None
    if old == new:
        return 0
    if args.check:
        print(f"{args.output} is out of date: run tools/gen_hypercall_docs.py", file=sys.stderr)
        return 1
    args.output.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
