"""Finds imports of the extension module xenemu._core._machine outside its two users.

import-linter sees no extension modules, so `from xenemu._core._machine import x` passes
its contract about xenemu._core; this closes the gap. Prints `file:line: what`, ends with 1.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

CORE = "xenemu._core."
ALLOWED = ("xenemu._core", "xenemu.machine")


def imported(node: ast.stmt, package: list[str]) -> list[str]:
    """Absolute names of the modules that a statement names."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        parents = package[: len(package) - node.level + 1] if node.level else []
        module = ".".join([*parents, *([node.module] if node.module else [])])
        return [f"{module}.{alias.name}" for alias in node.names]
    return []


def check(root: Path) -> list[str]:
    problems = []
    for top in ("xenemu", "ozs", "vzs"):
        for path in sorted((root / top).rglob("*.py")):
            package = list(path.relative_to(root).parent.parts)
            module = ".".join([*package, path.stem])
            if any(f"{module}.".startswith(f"{a}.") for a in ALLOWED):
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if not isinstance(node, ast.stmt):
                    continue
                for name in imported(node, package):
                    if name.startswith(CORE):
                        problems.append(f"{path}:{node.lineno}: {module} must not import {name}")
    return problems


if __name__ == "__main__":
    found = check(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent)
    print("\n".join(found) if found else "imports of the extension: kept")
    sys.exit(bool(found))
