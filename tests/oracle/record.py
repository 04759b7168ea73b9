"""Has real Xen answer the scripts of oracle.scripts, into tests/data/NAME.xen.

    python tests/oracle/record.py [NAME ...]

A label that begins with `?` says that the answer is the machine's own; it is not recorded.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from oracle.real import RealXen, find_real_xen
from oracle.script import Script, Shown
from oracle.scripts import SCRIPTS
from oracle.text import ANY, Line, render, with_answers

DATA = Path(__file__).parents[1] / "data"


def answered(xen: RealXen, script: Script) -> Iterator[Line]:
    for line in with_answers(script.ops, xen.run(script)):
        own = isinstance(line.op, Shown) and line.op.label.startswith("?")
        yield replace(line, answer=ANY) if own else line


def main() -> None:
    xen = find_real_xen()
    for name in sys.argv[1:] or SCRIPTS:
        path = DATA / f"{name}.xen"
        head = Line(None, comment="Answers of real Xen 4.17, by tests/oracle/record.py.")
        lines = list(answered(xen, SCRIPTS[name]()))
        path.write_text(render([head, *lines]), encoding="utf-8")
        print(f"{path.name}: {sum(line.answer is not None for line in lines)} answers")


if __name__ == "__main__":
    main()
