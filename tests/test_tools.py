"""The checks of `make check` find what they are there to find."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def run(*args: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, *map(str, args)], cwd=cwd, env=env, capture_output=True, text=True
    )


# tools/gen_abi.py


def gen_abi(tmp_path: Path, source: str) -> tuple[subprocess.CompletedProcess[str], Path]:
    abi_def, output = tmp_path / "abi.def", tmp_path / "abi.py"
    abi_def.write_text(source)
    tool = ROOT / "tools/gen_abi.py"
    return run(tool, "--source", abi_def, "--output", output), output


def test_abi_is_up_to_date() -> None:
    result = run("tools/gen_abi.py", "--check")
    assert result.returncode == 0, result.stderr


def test_abi_check_sees_a_stale_file(tmp_path: Path) -> None:
    stale = tmp_path / "_abi.py"
    stale.write_text((ROOT / "xenemu/_abi.py").read_text() + "\nDOMID_OTHER = 1\n")
    result = run("tools/gen_abi.py", "--check", "--output", stale)
    assert result.returncode == 1
    assert "out of date" in result.stderr
    assert "DOMID_OTHER" in stale.read_text(), "--check must not write"


def test_abi_values(tmp_path: Path) -> None:
    result, output = gen_abi(
        tmp_path,
        "/* XE_ABI(group, name, value, comment) */\n"
        "#ifndef XE_ABI\n#error XE_ABI(a, b, c)\n#endif\n"
        'XE_ABI(zl_signal, ONE, 1u << 4, "")\n'
        'XE_ABI(domid, SELF, 0x7ff0, "a \\"quoted\\" one")\n'
        'XE_ABI(sched, YIELD,\n       0, "two "\n       "parts")\n',
    )
    assert result.returncode == 0, result.stderr
    scope: dict[str, object] = {"__name__": "abi"}
    exec(output.read_text(), scope)
    assert scope["DOMID_SELF"] == 0x7FF0
    assert [(m.name, m.value) for m in scope["ZlSignal"]] == [("ONE", 16)]  # type: ignore[attr-defined]
    assert [(m.name, m.value) for m in scope["Sched"]] == [("YIELD", 0)]  # type: ignore[attr-defined]
    assert "# two parts" in output.read_text()


@pytest.mark.parametrize(
    "source",
    [
        'XE_ABI(zl, A, sizeof(int), "")',
        'XE_ABI(zl, A, 010, "")',
        "XE_ABI(zl, A, 1)",
        "int x;",
    ],
)
def test_abi_refuses_what_it_does_not_understand(tmp_path: Path, source: str) -> None:
    result, output = gen_abi(tmp_path, 'XE_ABI(zl, Z, 0, "")\n' + source + "\n")
    assert result.returncode == 1
    assert not output.exists()


# tools/gen_hypercall_docs.py


def test_hypercall_docs_are_up_to_date() -> None:
    result = run("tools/gen_hypercall_docs.py", "--check")
    assert result.returncode == 0, result.stderr


def test_hypercall_docs_check_sees_a_stale_file(tmp_path: Path) -> None:
    stale = tmp_path / "hypercalls.md"
    stale.write_text((ROOT / "docs/hypercalls.md").read_text() + "more\n")
    result = run("tools/gen_hypercall_docs.py", "--check", "--output", stale)
    assert result.returncode == 1
    assert "out of date" in result.stderr
    assert stale.read_text().endswith("more\n"), "--check must not write"


@pytest.mark.parametrize(
    ("docstring", "found"),
    [
        (None, "has no docstring"),
        ("Text.\n\nStruct: evtchn_gone", "no such struct: evtchn_gone"),
        ("Text.\n\nRaises:\n    EGONE: never.", "no such errno: EGONE"),
        ("Text.\n\nRaises:\n    when it is late", "not an errno and its condition"),
        ("Text.\n\nStruct: evtchn_send\nmore text", "text after Struct"),
    ],
)
def test_hypercall_docs_refuse(docstring: str | None, found: str) -> None:
    code = f"import gen_hypercall_docs as g\ng.parse('op', {docstring!r})"
    result = run("-c", code, cwd=ROOT / "tools")
    assert result.returncode == 1
    assert found in result.stderr


# tools/check_includes.py

CLEAN = {
    "base/seq.h": "#include <stdint.h>\n",
    "net/tcp.h": '#include "base/seq.h"\n',
    "net/tcp.c": '#include "net/tcp.h"\n#include <net/if.h>\n',
    "xen/host.h": '#include "base/seq.h"\n',
    "host/relay.h": '#include "net/tcp.h"\n',
    "trace.c": '#include "xen/host.h"\n',
    "hypercall.c": '#include "net/tcp.h"\n#include "xen/host.h"\n',
    "zeroloss.c": '#include "net/tcp.h"\n#include "xen/host.h"\n',
    "machine.h": '#include "net/tcp.h"\n#include "xen/host.h"\n',
    "machine.c": '#include "machine.h"\n#include "host/relay.h"\n',
}


def check_includes(tmp_path: Path, files: dict[str, str]) -> subprocess.CompletedProcess[str]:
    csrc = tmp_path / "csrc"
    csrc.mkdir()
    for name, text in files.items():
        (csrc / name).parent.mkdir(exist_ok=True)
        (csrc / name).write_text(text)
    return run("tools/check_includes.py", csrc)


def test_includes_of_this_tree_are_kept() -> None:
    result = run("tools/check_includes.py")
    assert result.returncode == 0, result.stdout


def test_includes_clean(tmp_path: Path) -> None:
    result = check_includes(tmp_path, CLEAN)
    assert (result.returncode, result.stdout) == (0, "C includes: kept\n")


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("net/tcp.c", '#include "xen/host.h"\n', "net/tcp.c:1: net must not include xen"),
        ("net/tcp.c", "/*\n*/\n# include <xen/host.h>\n", "tcp.c:3: net must not include xen"),
        ("net/tcp.c", '#include "../xen/host.h"\n', "net must not include xen"),
        ("net/tcp.c", '#include "machine.h"\n', "net must not include ."),
        ("net/tcp.c", '#include "host/relay.h"\n', "net must not include host"),
        ("net/tcp.c", '#include "base/gone.h"\n', "base/gone.h is not in csrc"),
        ("xen/host.h", '#include "net/tcp.h"\n', "xen must not include net"),
        ("base/seq.h", '#include "net/tcp.h"\n', "base must not include net"),
        ("host/relay.h", '#include "xen/host.h"\n', "host must not include xen"),
        ("trace.c", '#include "net/tcp.h"\n#include "xen/host.h"\n', "both net and xen"),
        ("hypercall.c", '#include "host/relay.h"\n', "only machine*.c and machine_internal.h"),
        ("machine.h", '#include "host/relay.h"\n', "only machine*.c and machine_internal.h"),
        ("misc/x.c", "", "no rule for the folder misc"),
    ],
)
def test_includes_violation_is_found(tmp_path: Path, name: str, text: str, found: str) -> None:
    result = check_includes(tmp_path, CLEAN | {name: text})
    assert result.returncode == 1
    assert found in result.stdout
    assert len(result.stdout.splitlines()) == 1


def test_includes_commented_out(tmp_path: Path) -> None:
    files = CLEAN | {"net/tcp.c": '/*\n#include "xen/host.h"\n*/\n// #include "xen/host.h"\n'}
    assert check_includes(tmp_path, files).returncode == 0


def test_includes_of_nothing_fail(tmp_path: Path) -> None:
    assert check_includes(tmp_path, {}).returncode == 1


# import-linter, configured in pyproject.toml


def lint_imports(tmp_path: Path, plant: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Runs the contracts on a copy of the packages with files added."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for package in ("xenemu", "ozs", "vzs"):
        ignore = shutil.ignore_patterns("__pycache__", "*.so", "*.c")
        shutil.copytree(ROOT / package, tmp_path / package, ignore=ignore)
    for name, text in plant.items():
        assert not (tmp_path / name).exists()
        (tmp_path / name).write_text(text)
    code = "import sys; from importlinter.cli import lint_imports_command as c; sys.exit(c())"
    return run("-c", code, "--no-cache", cwd=tmp_path)


def test_layers_of_this_tree_are_kept(tmp_path: Path) -> None:
    result = lint_imports(tmp_path, {})
    assert result.returncode == 0, result.stdout + result.stderr
    assert "10 kept, 0 broken" in result.stdout


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ozs/planted.py", "from xenemu.guest import __doc__\nfrom xenemu import _abi\n"),
        ("vzs/planted.py", "from xenemu.vmm import __doc__\nimport xenemu._abi\n"),
        ("xenemu/boot/planted.py", "import ozs\nimport vzs\nimport xenemu.machine\n"),
        ("xenemu/machine/planted.py", "from xenemu._core import _machine\n"),
        ("xenemu/guest/planted.py", "import xenemu.machine\n"),
    ],
)
def test_layers_allow(tmp_path: Path, name: str, text: str) -> None:
    result = lint_imports(tmp_path, {name: text})
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("name", "text", "contract"),
    [
        ("ozs/planted.py", "import xenemu.machine", "ozs sees"),
        ("ozs/planted.py", "from xenemu import vmm", "ozs sees"),
        ("ozs/planted.py", "def f():\n    import xenemu.cli", "ozs sees"),
        ("ozs/planted.py", "import vzs", "ozs sees"),
        ("ozs/planted.py", "from xenemu._core import _machine", "only xenemu.machine"),
        ("vzs/planted.py", "from xenemu.guest import x", "vzs sees"),
        ("vzs/planted.py", "import xenemu", "vzs sees"),
        ("vzs/planted.py", "import ozs", "vzs sees"),
        ("xenemu/guest/planted.py", "from .. import vmm", "xenemu.guest does not"),
        ("xenemu/vmm/planted.py", "from ..guest import x", "xenemu.vmm does not"),
        ("xenemu/xen/planted.py", "import xenemu.guest.kernel", "xenemu.xen builds on"),
        ("xenemu/xen/planted.py", "from xenemu.boot import x", "xenemu.xen builds on"),
        ("xenemu/xen/planted.py", "from xenemu._core import _machine", "only xenemu.machine"),
        ("xenemu/guest/planted.py", "from xenemu.xen import x", "xenemu.xen is for users"),
        ("xenemu/cli/planted.py", "from ozs import x", "only xenemu.boot"),
        ("xenemu/machine/planted.py", "import vzs", "only xenemu.boot"),
        ("xenemu/guest/planted.py", "from xenemu._core import _machine", "only xenemu.machine"),
        ("xenemu/boot/planted.py", "import xenemu._core._machine", "only xenemu.machine"),
        ("xenemu/planted.py", "import xenemu._core", "only xenemu.machine"),
    ],
)
def test_layers_violation_is_found(tmp_path: Path, name: str, text: str, contract: str) -> None:
    result = lint_imports(tmp_path, {name: text + "\n"})
    assert result.returncode == 1, result.stdout + result.stderr
    broken = [line for line in result.stdout.splitlines() if " BROKEN" in line]
    assert any(line.startswith(contract) for line in broken), result.stdout


# tools/check_core_imports.py: what import-linter does not see


def test_core_imports_of_this_tree_are_kept() -> None:
    result = run("tools/check_core_imports.py")
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("xenemu/machine/a.py", "from xenemu._core._machine import Machine", False),
        ("xenemu/_core/__init__.py", "from ._machine import Machine", False),
        ("ozs/a.py", "from xenemu.guest import Machine", False),
        ("ozs/a.py", "from xenemu._core._machine import Machine", True),
        ("vzs/a.py", "def f():\n    import xenemu._core._machine as m", True),
        ("xenemu/guest/a.py", "from .._core._machine import Machine", True),
        ("xenemu/vmm/__init__.py", "from .._core import _machine", True),
        ("xenemu/machinery.py", "from ._core._machine import Machine", True),
    ],
)
def test_core_imports(tmp_path: Path, name: str, text: str, found: bool) -> None:
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_text(text + "\n")
    result = run("tools/check_core_imports.py", tmp_path)
    assert result.returncode == found, result.stdout
    assert ("must not import xenemu._core." in result.stdout) == found
