"""The FTP scenarios over the C machine's TCP, without faults."""

from pathlib import Path

import pytest
from test_on_core import CoreWorld

from xenemu.lab import ftp_clients
from xenemu.lab.clients import FILE, OTHER, SIZE, SMALL, UPLOAD, Report
from xenemu.lab.services import content

NAMES = ("retr", "stor", "listings", "two_files", "active")
SEED = 5


def run(root: Path, name: str) -> tuple[int, int]:
    """Trace hash and time."""
    world, report = CoreWorld(SEED), Report()
    world.server.spawn("xenemu.guest.programs.ftpd", [str(root)])

    async def client(argv: list[str]) -> int:
        await getattr(ftp_clients, name)(SEED, report)
        return 0

    assert world.finish(world.client.spawn(client)) == 0, world.lines
    assert not world.lines and not report.wrong and not report.broken
    result = (world.machine.core.trace_hash, world.machine.now)
    world.machine.close()
    return result


@pytest.mark.parametrize("name", NAMES)
def test_scenario_twice(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_bytes(content(SEED + FILE, SIZE))
    (tmp_path / "small").write_bytes(content(SEED + OTHER, SMALL))
    first = run(tmp_path, name)
    stored = tmp_path / "up"
    assert stored.exists() == (name in ("stor", "two_files", "active"))
    if stored.exists():
        assert stored.read_bytes() == content(SEED + UPLOAD, SIZE)
        stored.unlink()
    assert run(tmp_path, name) == first
