"""xenemu sweep as a command."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP
from scapy.utils import rdpcap

COMMAND = [sys.executable, "-m", "xenemu", "sweep"]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=120)


def test_a_small_sweep() -> None:
    done = run("get", "--faults", "4", "--link", "clean", "--jobs", "2", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["points"], found["violations"], found["jobs"]) == (4, [], 2)
    assert found["points_by_course"] == {"get clean": 4}


def test_text_for_people() -> None:
    done = run("put", "--every", "150", "--link", "clean", "--kind", "kernel")
    assert done.returncode == 0, done.stderr
    assert "put clean" in done.stdout
    assert "0 violations" in done.stdout
    assert done.stderr == ""


def test_replay_is_reproducible() -> None:
    first, again = (run("--replay", "put:lossy:3:app+kernel:events:100+50") for _ in range(2))
    assert first.returncode == 0, first.stdout + first.stderr
    assert "2 faults" in first.stdout
    assert first.stdout == again.stdout


def test_a_replay_is_captured(tmp_path: Path) -> None:
    file = tmp_path / "run.pcapng"
    done = run("--replay", "get:clean:3:kernel:events:100", "--pcap", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    read = rdpcap(str(file))
    clients = [packet for packet in read if packet[IP].dst == "10.0.1.2"]
    assert sum(len(packet[TCP].payload) for packet in clients) >= 256 * 1024
    assert b"path-switched" in file.read_bytes()


@pytest.mark.parametrize(
    "arguments",
    [
        ["nothing"], ["--every", "2", "--faults", "3"], ["--replay", "get:clean:1"],
        ["--replay", "get:clean:1:app:events:1", "get"], ["--kind", "app", "--how", "panic"],
        ["--how", "nonsense"], ["--repeat", "0"], ["--pcap", "file"],
    ],
)  # fmt: skip
def test_bad_usage(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert "Error" in done.stderr


def children(pid: int) -> list[int]:
    """Of its main thread."""
    try:
        return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def test_an_interrupt_ends_the_workers_and_tells_what_was_done() -> None:
    """In the midst of a point: a worker of the command has a child of its own."""
    with subprocess.Popen(
        [*COMMAND, "get", "--seconds", "100", "--json"],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        while not any(children(worker) for worker in children(process.pid)):
            assert process.poll() is None
        os.kill(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert json.loads(output)["interrupted"] is True
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
