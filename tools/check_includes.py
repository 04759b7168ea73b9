"""Checks which folders of csrc include which: the layers of ARCHITECTURE.md.

    base    base
    net     base, net
    xen     base, xen
    host    base, host, net
    csrc/*  base, net or xen, files of csrc itself
            both net and xen only in machine*, hypercall*, zeroloss*
            host only in machine*.c and machine_internal.h

Each quoted include must name a file of csrc. Prints `file:line: what` and ends with 1
when a rule is broken, or when there is nothing to check.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

TOP = "."
ALLOWED = {
    "base": {"base"},
    "net": {"base", "net"},
    "xen": {"base", "xen"},
    "host": {"base", "host", "net"},
    TOP: {"base", "net", "xen", "host", TOP},
}
BOTH_HALVES = re.compile(r"(machine|hypercall|zeroloss)\w*\.[ch]")
HOST_USERS = re.compile(r"machine(\w*\.c|_internal\.h)")
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(?:"([^"\n]+)"|<([^>\n]+)>)', re.MULTILINE)
COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)


def layer(path: Path, root: Path) -> str:
    """The folder of csrc that a file is in."""
    parts = path.relative_to(root).parts
    return TOP if len(parts) == 1 else parts[0]


def includes(path: Path) -> list[tuple[int, str, bool]]:
    """(line, name, quoted) of each include directive outside comments."""
    text = COMMENT.sub(lambda m: "\n" * m[0].count("\n"), path.read_text(encoding="utf-8"))
    return [
        (text.count("\n", 0, m.start()) + 1, m[1] or m[2], m[1] is not None)
        for m in INCLUDE.finditer(text)
    ]


def resolve(name: str, quoted: bool, path: Path, root: Path) -> Path | None:
    """The file of csrc that the compiler would take (it is given -Icsrc), if any."""
    for folder in [path.parent, root] if quoted else [root]:
        found = (folder / name).resolve()
        if found.is_file() and found.is_relative_to(root):
            return found
    return None


def check_file(path: Path, root: Path) -> list[str]:
    own = layer(path, root)
    if own not in ALLOWED:
        return [f"{path}:1: no rule for the folder {own}"]
    problems = []
    halves: dict[str, int] = {}
    for number, name, quoted in includes(path):
        target = resolve(name, quoted, path, root)
        if target is None:
            if quoted:
                problems.append(f"{path}:{number}: {name} is not in csrc")
            continue
        other = layer(target, root)
        if other not in ALLOWED[own]:
            problems.append(f"{path}:{number}: {own} must not include {other} ({name})")
        elif own == TOP and other == "host" and not HOST_USERS.fullmatch(path.name):
            allowed = "only machine*.c and machine_internal.h may include host"
            problems.append(f"{path}:{number}: {allowed} ({name})")
        if other in ("net", "xen"):
            halves.setdefault(other, number)
    if own == TOP and len(halves) == 2 and not BOTH_HALVES.fullmatch(path.name):
        problems.append(f"{path}:{max(halves.values())}: must not include both net and xen")
    return problems


def check(root: Path) -> list[str]:
    """All broken rules below a csrc folder; OSError if it holds no C."""
    root = root.resolve()
    files = sorted(p for p in root.rglob("*") if p.suffix in (".c", ".h", ".inc", ".def"))
    if not files:
        raise FileNotFoundError(f"no C files in {root}")
    return [problem for path in files for problem in check_file(path, root)]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = Path(__file__).resolve().parent.parent / "csrc"
    parser.add_argument("csrc", type=Path, nargs="?", default=default)
    try:
        problems = check(parser.parse_args(argv).csrc)
    except OSError as e:
        problems = [str(e)]
    print("\n".join(problems) if problems else "C includes: kept")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
