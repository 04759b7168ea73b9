"""Captures, read by tshark and by scapy: neither knows our code."""

import asyncio
import contextlib
import errno
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP
from scapy.packet import Packet
from scapy.utils import PcapNgReader

from xenemu.boot import Capture, Link, System, add_client, run_client, small_config
from xenemu.boot.pcapng import PcapngWriter

SIZE = 256 << 10
MS = 1_000_000
EPOCH = 1_104_537_600  # of the guests under the virtual clock
NAMED = ("crash-injected", "fault", "fenced", "path-switched", "reestablished", "recovery-done")
tshark_needed = pytest.mark.skipif(shutil.which("tshark") is None, reason="needs tshark")


def client(got: list[bytes]):
    async def fetch(argv: list[str]) -> int:
        reader, writer = await asyncio.open_connection("10.0.0.1", 80)
        writer.write(b"GET /file HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        got.append(await reader.read())
        writer.close()
        return 0

    return fetch


def captured_run(root: Path, path: Path | None, kind: str) -> int:
    """Two transfers of root/file, a crash in the middle of both; the trace hash."""
    got: list[bytes] = []
    with System(small_config(root=root, seed=5)) as system:
        with Capture(system, path) if path else contextlib.nullcontext():
            system.boot()
            link = Link(bits_per_second=20_000_000, delay_ns=5 * MS, loss_ppm=5_000)
            done = [add_client(system, n, link).spawn(client(got)) for n in range(2)]
            system.run_for(0.08)
            system.crash(kind)
            assert system.run_until(lambda: all(p.exited for p in done), 60)
        bodies = [answer.partition(b"\r\n\r\n")[2] for answer in got]
        assert bodies == [(root / "file").read_bytes()] * 2
        return system.machine.core.trace_hash


def write_file(root: Path, size: int = SIZE) -> None:
    (root / "file").write_bytes((bytes(range(251)) * (size // 251 + 1))[:size])


def tshark(path: Path, *arguments: str) -> list[str]:
    done = subprocess.run(
        ["tshark", "-n", "-r", str(path), *arguments], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def fields(path: Path, display_filter: str, *names: str) -> list[list[str]]:
    words = [word for name in names for word in ("-e", name)]
    lines = tshark(path, "-Y", display_filter, "-T", "fields", *words)
    return [line.split("\t") for line in lines]


@pytest.fixture(params=["app", "kernel"], scope="module")
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp(request.param)
    write_file(root)
    captured_run(root, root / "run.pcapng", request.param)
    yield root / "run.pcapng"


@tshark_needed
@pytest.mark.parametrize("name", ["client0", "client1"])
def test_tshark_sees_one_whole_connection_at_a_client(run: Path, name: str, tmp_path: Path) -> None:
    alone = tmp_path / "alone.pcapng"
    tshark(run, "-Y", f'frame.interface_name == "{name}"', "-w", str(alone))
    rows = fields(alone, "frame", "tcp.stream", "frame.comment")
    assert {stream for stream, _ in rows} == {"0"}
    assert not fields(alone, "tcp.flags.reset == 1 || _ws.malformed", "ip.src")
    assert not fields(alone, "tcp.analysis.ack_lost_segment", "ip.src")
    assert len({row[0] for row in fields(alone, "tcp.flags.syn == 1", "tcp.seq_raw")}) == 2
    comments = [comment for _, comment in rows if comment]
    assert all(any(event in text for text in comments) for event in NAMED), comments


@tshark_needed
def test_tshark_finds_checksums_names_and_directions_right(run: Path) -> None:
    validate = ["-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE"]
    bad = "ip.checksum.status == 0 || tcp.checksum.status == 0 || _ws.malformed"
    assert not tshark(run, *validate, "-Y", bad)
    names = {row[0] for row in fields(run, "tcp", "frame.interface_name")}
    assert names == {"client0", "client1", "d1", "d2"}
    sent = 'frame.interface_name == "client0" && frame.packet_flags_direction == 2'
    assert {row[0] for row in fields(run, sent, "ip.src")} == {"10.0.1.2"}
    received = 'frame.interface_name == "client0" && frame.packet_flags_direction == 1'
    assert {row[0] for row in fields(run, received, "ip.dst")} == {"10.0.1.2"}
    stamps = [row[0] for row in fields(run, "tcp", "frame.time_epoch")]
    assert EPOCH <= float(stamps[0]) < EPOCH + 1


def packets(path: Path) -> list[Packet]:
    with PcapNgReader(str(path)) as reader:
        return list(reader)


def test_scapy_rebuilds_the_stream_at_a_client(run: Path) -> None:
    """The payload at a client's interface, put together by sequence number, is the file."""
    got = [p for p in packets(run) if p.sniffed_on == b"client0" or p.sniffed_on == "client0"]
    answers = [p for p in got if p[IP].src == "10.0.0.1"]
    start = next(p[TCP].seq for p in answers if p[TCP].flags.S) + 1
    stream = bytearray()
    for packet in sorted(answers, key=lambda p: (p[TCP].seq - start) % (1 << 32)):
        at = (packet[TCP].seq - start) % (1 << 32)
        data = bytes(packet[TCP].payload)[: packet[IP].len - 40 - (packet[TCP].dataofs - 5) * 4]
        if packet[TCP].flags.S or not data:
            continue
        assert at <= len(stream), "a gap"
        assert stream[at : at + len(data)] == data[: len(stream) - at], "another byte"
        stream += data[max(0, len(stream) - at) :]
    assert bytes(stream).partition(b"\r\n\r\n")[2] == (run.parent / "file").read_bytes()


def test_a_capture_changes_nothing(tmp_path: Path) -> None:
    write_file(tmp_path)
    first, second = tmp_path / "first.pcapng", tmp_path / "second.pcapng"
    hashes = {captured_run(tmp_path, path, "kernel") for path in (first, second, None)}
    assert len(hashes) == 1
    assert first.read_bytes() == second.read_bytes()


def test_a_half_full_buffer_is_drained_and_a_full_one_counts(tmp_path: Path) -> None:
    """Without a drain what does not fit is counted, and all else goes on."""
    write_file(tmp_path, 24 << 20)
    got: list[bytes] = []
    with System(small_config(root=tmp_path, backup=False)) as system:
        system.boot()
        core = system.machine.core
        core.capture(True)
        process = add_client(system).spawn(client(got))
        assert system.run_until(lambda: process.exited, 60)
        assert core.capture_dropped == 0
        records = core.captured()
        assert core.captured() == b""
        assert len(records) > 32 << 20  # half of the buffer: it asked to be drained, and ran on
        for number in (1, 2):
            assert run_client(system, add_client(system, number), client(got), 60) == 0
        lost = core.capture_dropped
        assert lost > 0
        tail = core.captured()
        assert 63 << 20 < len(tail) <= 64 << 20
        core.capture(False)
    at = count = 0
    while at < len(tail):
        _, _, direction, length = struct.unpack_from("<QIHH", tail, at)
        assert direction in (0, 1) and tail[at + 16] >> 4 == 4
        at, count = at + 16 + length, count + 1
    assert at == len(tail) and count > 0


def test_errors(tmp_path: Path) -> None:
    with System(small_config(root=tmp_path)) as system:
        with pytest.raises(FileNotFoundError), Capture(system, tmp_path / "no" / "x.pcapng"):
            pass
        with Capture(system, tmp_path / "a"):
            with pytest.raises(OSError) as caught, Capture(system, tmp_path / "b"):
                pass
            assert caught.value.errno == errno.EBUSY
            assert not (tmp_path / "b").exists()
        with Capture(system, tmp_path / "b"):
            system.run_for(0.01)
        assert (tmp_path / "b").stat().st_size > 0


def test_a_full_disk_ends_the_capture_and_not_the_service(tmp_path: Path) -> None:
    write_file(tmp_path)
    got: list[bytes] = []
    with System(small_config(root=tmp_path)) as system:
        with pytest.raises(OSError) as caught, Capture(system, Path("/dev/full")):
            pass
        assert caught.value.errno == errno.ENOSPC
        small = tmp_path / "small.pcapng"
        capture = Capture(system, small)
        with pytest.raises(OSError) as caught, capture:
            system.boot()
            capture._file.close()
            capture._file = open("/dev/full", "wb", buffering=0)
            capture._writer._file = capture._file
            process = add_client(system).spawn(client(got))
            assert system.run_until(lambda: process.exited, 60)
        assert caught.value.errno == errno.ENOSPC and caught.value.filename == str(small)
        assert got[0].endswith((tmp_path / "file").read_bytes())
        assert "capture-failed" in [event.name for event in system.log.since()]


def test_blocks_by_the_letter(tmp_path: Path) -> None:
    """Lengths at both ends, padding, options: read back with struct only."""
    path = tmp_path / "x"
    with path.open("wb", buffering=0) as file:
        writer = PcapngWriter(file, "abc")
        number = writer.interface("d1")
        writer.packet(number, (7 << 32) + 9, b"\x45" + bytes(4), True, ["one", "zwei"])
        assert writer.pending > 0 and path.stat().st_size == 0
        writer.flush()
        assert writer.pending == 0
    data, kinds = path.read_bytes(), []
    while data:
        kind, length = struct.unpack_from("<II", data)
        assert length % 4 == 0
        assert struct.unpack_from("<I", data, length - 4)[0] == length
        kinds.append((kind, data[8 : length - 4]))
        data = data[length:]
    assert [kind for kind, _ in kinds] == [0x0A0D0D0A, 1, 6]
    packet = kinds[2][1]
    assert struct.unpack_from("<IIIII", packet) == (0, 7, 9, 5, 5)
    assert packet[20:28] == b"\x45" + bytes(7)
    flags, one, two = packet[28:36], packet[36:44], packet[44:52]
    assert flags == struct.pack("<HHI", 2, 4, 2)
    assert one == b"\x01\x00\x03\x00one\x00" and two == b"\x01\x00\x04\x00zwei"
    assert packet[52:] == bytes(4)
