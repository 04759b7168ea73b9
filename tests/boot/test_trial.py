"""New versions that come up and then do not go on where the old one stopped, in virtual time."""

import asyncio
from pathlib import Path

import pytest

from xenemu.boot import (
    Link,
    Outcome,
    ServiceSpec,
    System,
    UpgradeRequest,
    UpgradeResult,
    add_client,
    small_config,
)

LINK = Link(bits_per_second=20_000_000, delay_ns=2_000_000)
SIZE = 200_000
SERVICE = """
import asyncio

def body(size):
    return bytes((i * 7 + {shift}) % 251 for i in range(size))

async def serve(reader, writer):
    while line := await reader.readline():
        {before}
        writer.write(b"%d\\n" % {length} + body({length}))
        await writer.drain()
    writer.close()

async def main(argv):
    await (await asyncio.start_server(serve, "0.0.0.0", 80)).serve_forever()
"""


def version(tmp_path: Path, name: str, shift: int = 0, length: int = SIZE, before: str = "") -> str:
    path = tmp_path / f"{name}.py"
    path.write_text(SERVICE.format(shift=shift, length=length, before=before or "pass"))
    return str(path)


class Client:
    """Asks `times` on one connection; the answers."""

    def __init__(self, system: System, times: int, pause: float = 0) -> None:
        self.answers: list[bytes] = []
        self._times, self._pause = times, pause
        self.process = add_client(system, link=LINK).spawn(self._run)

    async def _run(self, argv: list[str]) -> int:
        reader, writer = await asyncio.open_connection("10.0.0.1", 80)
        for _ in range(self._times):
            writer.write(b"next\n")
            size = int(await reader.readline())
            self.answers.append(await reader.readexactly(size))
            await asyncio.sleep(self._pause)
        writer.close()
        return 0


@pytest.fixture
def system(tmp_path: Path):
    old = version(tmp_path, "old")
    with System(small_config(root=tmp_path, specs=(ServiceSpec(old, ()),), seed=5)) as system:
        system.boot()
        yield system


OLD = bytes(i * 7 % 251 for i in range(SIZE))
WRONG = {
    "other_bytes": {"shift": 1},
    "longer": {"length": SIZE + 1},
    "shorter": {"length": SIZE - 1},
    "silent": {"before": "await asyncio.sleep(1000)"},
    "closes": {"before": "writer.close(); return"},
    "aborts": {"before": "writer.transport.abort(); return"},
    "dies": {"before": "import os; os.kill(os.getpid(), 9)"},
}


@pytest.mark.parametrize("wrong", list(WRONG))
@pytest.mark.parametrize("pause", [0, 0.3], ids=["in mid-answer", "between answers"])
def test_it_is_rolled_back(system: System, tmp_path: Path, wrong: str, pause: float) -> None:
    client = Client(system, times=4, pause=pause)
    system.run_for(0.13)  # in the second answer, or after the first one
    results: list[UpgradeResult] = []
    request = UpgradeRequest(program=version(tmp_path, wrong, **WRONG[wrong]))
    system.upgrade(request, done=results.append)
    assert system.run_until(lambda: bool(results), 60)
    assert results[0].outcome is Outcome.ROLLED_BACK and results[0].reason
    assert results[0].primary == 1 and system.protected()
    assert system.run_until(lambda: client.process.exited, 60)
    assert client.process.exit_status == 0 and client.answers == [OLD] * 4
    good = UpgradeRequest(program=version(tmp_path, "good"))
    system.upgrade(good, done=results.append)
    assert system.run_until(lambda: len(results) == 2, 60)
    assert results[1].outcome is Outcome.UPGRADED


def test_another_answer_to_what_was_not_yet_asked_is_the_new_version_s(
    system: System, tmp_path: Path
) -> None:
    results: list[UpgradeResult] = []
    system.upgrade(UpgradeRequest(program=version(tmp_path, "new", shift=1)), done=results.append)
    assert system.run_until(lambda: bool(results), 60)
    assert results[0].outcome is Outcome.UPGRADED
    client = Client(system, times=1)
    assert system.run_until(lambda: client.process.exited, 60)
    assert client.answers == [bytes((i * 7 + 1) % 251 for i in range(SIZE))]
