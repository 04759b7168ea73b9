"""Faults at random instants, reproducible runs, and what is left when all is over."""

import os
from pathlib import Path

import pytest

from faults.scenario import CLEAN, LOSSY, content, make_client, run
from faults.sweep import LINKS, replay_command, sweep
from xenemu.boot.clients import add_client, small_config
from xenemu.boot.config import MIB
from xenemu.boot.system import System

COUNT = int(os.environ.get("XENEMU_FAULTS", "40"))
SEED = int(os.environ.get("XENEMU_SEED", "1"))


@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("link", sorted(LINKS))
def test_faults_at_random_instants(tmp_path: Path, link: str, part: int) -> None:
    failed = [
        f"{command}\n    {result.failures}"
        for command, result in sweep(tmp_path, link, COUNT // 4, SEED + 100 * part)
        if result.failures
    ]
    assert not failed, "\n" + "\n".join(failed)


@pytest.mark.parametrize("kind", [None, "app", "kernel"])
def test_same_seed_same_trace(tmp_path: Path, kind: str | None) -> None:
    first = run(tmp_path, 3, LOSSY, kind, 400)
    again = run(tmp_path, 3, LOSSY, kind, 400)
    other = run(tmp_path, 4, LOSSY, kind, 400)
    assert not first.failures, replay_command("lossy", 3, str(kind), 400)
    assert first.trace_hash == again.trace_hash
    assert first.trace_hash != other.trace_hash


@pytest.mark.parametrize("kind", ["app", "kernel"])
def test_references_return_to_base(tmp_path: Path, kind: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    with System(small_config(root=tmp_path, seed=5, log=8 * MIB)) as system:
        core = system.machine.core
        system.boot()
        kernel = add_client(system, link=CLEAN)
        primary = system.primary().domid
        base = (
            core.free_pages(),
            core.domain_info(primary)["refs"],
            core.domain_info(primary)["tot_pages"],
            core.log_info(primary)["blocks_free"],
        )
        report: list[str] = []
        (tmp_path / "file").write_bytes(content(5))
        process = kernel.spawn(make_client(5, report))
        system.run_for(0.03)
        assert core.log_info(primary)["connections"] == 1
        system.crash(kind)
        assert system.run_until(lambda: process.exited, 120)
        assert not report
        assert system.run_until(system.protected, 60)
        system.run_for(130)  # TIME_WAIT and tombstones expire
        new = system.primary().domid
        assert new != primary
        if kind == "app":  # kept for diagnosis, at another address
            assert core.domain_info(primary)["ip"] != core.domain_info(new)["ip"]
            core.destroy_domain(primary)
        assert primary not in core.domain_ids()
        assert base == (
            core.free_pages(),
            core.domain_info(new)["refs"],
            core.domain_info(new)["tot_pages"],
            core.log_info(new)["blocks_free"],
        )
        assert core.log_info(new)["connections"] == 0
