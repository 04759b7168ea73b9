"""Each planted bug is built, and found by a sweep; without a bug the same sweeps find nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mutants.mutants import MUTANTS, ROOT, Mutant, built_objects

HERE = Path(__file__).parent
SWEPT = [mutant for mutant in MUTANTS if mutant.scenarios]
SIMULATED = [mutant for mutant in MUTANTS if mutant.simulated]
NONE = Mutant("none", ())


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    path = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, env=path, timeout=250)


def sweep(mutant: Mutant, scenarios: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    options = ["--seed", "1", "--jobs", "1", "--fail-fast"]
    core = str(mutant.core())
    return run([sys.executable, str(HERE / "with_core.py"), core, "sweep", *options, *scenarios])


def test_there_is_something_to_build_from() -> None:
    assert built_objects(), "the extension was not built here: make build"
    assert (ROOT / "build" / "ctest" / "libxe.a").exists(), "no C tests: make ctest"


@pytest.mark.parametrize("mutant", SIMULATED, ids=lambda mutant: mutant.name)
def test_the_simulation_finds_it(mutant: Mutant) -> None:
    done = run([str(mutant.simulation())])
    assert done.returncode != 0, done.stdout


@pytest.mark.parametrize("mutant", SWEPT, ids=lambda mutant: mutant.name)
def test_the_sweep_finds_it(mutant: Mutant) -> None:
    done = sweep(mutant, mutant.scenarios)
    assert done.returncode == 1 and "xenemu sweep --replay" in done.stdout, (
        done.stdout + done.stderr
    )


def test_no_bug_is_found_where_none_is() -> None:
    assert run([str(NONE.simulation())]).returncode == 0
    done = sweep(NONE, ("get", "put", "echo", "read-on", "other-answer", "--faults", "40"))
    assert done.returncode == 0, done.stdout + done.stderr
