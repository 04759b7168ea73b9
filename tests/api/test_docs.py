"""The guide's code does what the guide says."""

import re
from pathlib import Path
from typing import Any

from xenemu import Domain

GUIDE = Path(__file__).parents[2] / "docs" / "testing-with-xenemu.md"
BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:\n((?:    [^\n]*\n)+))?", re.DOTALL | re.MULTILINE)


def test_the_guide(capsys: Any, xen_domain: Domain) -> None:
    blocks = BLOCK.findall(GUIDE.read_text(encoding="utf-8"))
    assert len(blocks) >= 5
    for code, printed in blocks:
        names: dict[str, Any] = {"domain": xen_domain}
        exec(compile(code, str(GUIDE), "exec"), names)
        for name, value in names.items():
            if name.startswith("test_"):
                value(xen_domain)
        expected = [line[4:] for line in printed.splitlines()]
        assert capsys.readouterr().out.splitlines() == expected
