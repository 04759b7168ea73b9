"""Recordings of recoveries and what is made from them: text, SVG, a Perfetto trace."""

import asyncio
import errno
import itertools
import json
import struct
import xml.etree.ElementTree as ET
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vzs import EventLog
from xenemu.boot import Link, RecoveryTimeline, System, add_client, small_config, timeline_of
from xenemu.boot.recorder import KEPT, MS, Recorder
from xenemu.boot.timeline import LANES
from xenemu.boot.timeline_perfetto import perfetto
from xenemu.boot.timeline_svg import GLYPH, Label, bar_rows, label_rows, step_of, svg
from xenemu.vmm import Event

SVG = "{http://www.w3.org/2000/svg}"
PHASES = ["detection", "fence + switch", "remap", "replay", "first byte", "renewal"]
DELAY = 5 * MS


async def fetch(argv: list[str]) -> int:
    reader, writer = await asyncio.open_connection("10.0.0.1", 80)
    writer.write(b"GET /file HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    await reader.read()
    writer.close()
    return 0


def recovered(root: Path, kind: str, times: int = 1) -> tuple[System, RecoveryTimeline]:
    """A download at 100 Mbit/s with crashes in its middle; the system is closed."""
    (root / "file").write_bytes(bytes(1 << 20))
    with System(small_config(root=root, seed=3)) as system:
        system.boot()
        link = Link(bits_per_second=100_000_000, delay_ns=DELAY)
        process = add_client(system, link=link).spawn(fetch)
        system.run_for(0.06)
        for _ in range(times):
            assert system.run_until(system.protected, 30)
            system.crash(kind)
            assert system.run_until(lambda: not system.protected(), 5)
        assert system.run_until(lambda: process.exited and system.protected(), 60)
        return system, timeline_of(system)


@pytest.fixture(params=["app", "kernel"], scope="module")
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> RecoveryTimeline:
    return recovered(tmp_path_factory.mktemp(request.param), request.param)[1]


def test_it_tells_the_recovery(made: RecoveryTimeline) -> None:
    kind = "kernel" if "kernel" in made.title else "app"
    assert made.title == f"{kind} fault of d1, d2 takes over"
    assert [phase.name for phase in made.phases] == PHASES
    for phase in made.phases:
        assert 0 <= phase.start <= phase.end <= made.end
    detection = made.phases[0].end
    assert 10 * MS <= detection <= 20 * MS if kind == "kernel" else detection == 0
    assert dict(made.steps)["detection"] == detection
    assert made.overrun == made.left_out == 0
    assert made.log and all(0 < percent < 100 for _, percent in made.log)
    text = "\n".join(made.lines())
    assert "detection" in text and "protected again" in text and "longest gap" in text


def test_the_gap_is_the_clients(made: RecoveryTimeline) -> None:
    """From the last byte that was under way to the first new one of the new TCP."""
    assert made.gap is not None and made.gap.connection.startswith("client0:")
    assert made.start <= made.gap.start < made.gap.end
    inside = [p for p in made.packets if made.gap.start < p.time < made.gap.end and not p.sent]
    assert not any(packet.new for packet in inside)
    done = next(phase.end for phase in made.phases if phase.name == "first byte")
    assert made.gap.end >= done + DELAY
    new = [p for p in made.packets if p.new and p.payload and not p.sent]
    assert {p.time for p in new} >= {made.gap.start, made.gap.end}


def test_as_json_and_back(made: RecoveryTimeline) -> None:
    assert RecoveryTimeline.from_dict(json.loads(json.dumps(made.as_dict()))) == made


def test_it_follows_from_the_seed(tmp_path: Path) -> None:
    first, second = (recovered(tmp_path, "kernel")[1] for _ in range(2))
    assert first == second


def test_recoveries_are_numbered(tmp_path: Path) -> None:
    system, last = recovered(tmp_path, "kernel", times=3)
    assert (last.number, last.of) == (3, 3)
    assert timeline_of(system, 2).title == "kernel fault of d2, d3 takes over"
    with pytest.raises(OSError, match="no recovery 4: 1 to 3 are kept") as caught:
        timeline_of(system, 4)
    assert caught.value.errno == errno.ENOENT


def test_no_recovery(tmp_path: Path) -> None:
    with System(small_config(root=tmp_path)) as system, pytest.raises(OSError) as caught:
        timeline_of(system)
    assert caught.value.errno == errno.ENOENT


def boxes(root: ET.Element) -> list[tuple[float, float, float, float]]:
    """Of all words in a drawing; 11 px letters unless said otherwise."""
    result = []
    for text in root.iter(f"{SVG}text"):
        assert text.text is not None
        width = len(text.text) * GLYPH * float(text.get("font-size", "11")) / 11
        x, y = float(text.get("x", "0")), float(text.get("y", "0"))
        anchor = text.get("text-anchor", "start")
        x -= {"start": 0, "middle": width / 2, "end": width}[anchor]
        result.append((x, y - 9, x + width, y + 1))
    return result


def test_the_drawing(made: RecoveryTimeline) -> None:
    root = ET.fromstring(svg(made))
    assert root.tag == f"{SVG}svg"
    words = [text.text or "" for text in root.iter(f"{SVG}text")]
    assert all(lane in words for lane in LANES)
    for name in PHASES:
        assert any(word.startswith(name) and word.endswith(" ms") for word in words), name
    assert any("without new bytes" in word for word in words)
    titles = {title.text for rect in root.iter(f"{SVG}rect") for title in rect}
    assert len(titles) == len(PHASES)
    assert sum(1 for _ in root.iter(f"{SVG}path")) >= 2  # packets, sent and received
    width, height = float(root.get("width", "0")), float(root.get("height", "0"))
    placed = boxes(root)
    for left, top, right, bottom in placed:
        assert left >= 0 and right <= width and top >= 0 and bottom <= height
    for one, other in itertools.combinations(placed, 2):
        apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
        assert apart, (one, other)


def test_what_is_drawn_is_escaped(made: RecoveryTimeline) -> None:
    values = made.as_dict() | {"title": "<&>"}
    root = ET.fromstring(svg(RecoveryTimeline.from_dict(values)))
    assert next(root.iter(f"{SVG}title")).text == "Recovery 1 of 1: <&>"


def test_the_perfetto_trace(made: RecoveryTimeline) -> None:
    document = json.loads(perfetto(made))
    events: list[dict[str, Any]] = document["traceEvents"]
    meta = [event for event in events if event["ph"] == "M"]
    lanes = {e["args"]["name"]: e["pid"] for e in meta if e["name"] == "process_name"}
    assert list(lanes) == list(LANES)
    rest = [event for event in events if event["ph"] != "M"]
    assert {event["ph"] for event in rest} == {"X", "i", "C"}
    stamps = [event["ts"] for event in rest]
    assert stamps == sorted(stamps) and stamps[0] >= 0
    slices = [event for event in rest if event["ph"] == "X"]
    assert {event["name"] for event in slices} >= set(PHASES)
    threads: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for event in slices:
        span = (event["ts"], event["ts"] + event["dur"])
        threads.setdefault((event["pid"], event["tid"]), []).append(span)
    for spans in threads.values():
        for (a, b), (c, d) in itertools.combinations(spans, 2):
            apart, nested = b <= c or d <= a, (a <= c and d <= b) or (c <= a and b <= d)
            assert apart or nested
    packets = [event for event in rest if event.get("cat") == "packet"]
    assert len(packets) == len(made.packets)
    assert {event["pid"] for event in packets} == {lanes["client"]}
    assert {event["args"]["percent"] for event in rest if event["ph"] == "C"}


def test_bars_and_labels_keep_apart() -> None:
    assert bar_rows([(0, 10), (10, 20), (15, 30), (20, 21)]) == [0, 0, 1, 0]
    near, far = Label(0, 0, "abc", ""), Label(500, 0, "abc", "")
    assert label_rows([near, far]) == [0, 0]
    assert label_rows([near, Label(0, 0, "d", ""), Label(30, 0, "e", ""), far]) == [1, 2, 0, 0]


@pytest.mark.parametrize(
    ("span", "step"), [(14 * MS, MS), (15 * MS, 2 * MS), (300 * MS, 50 * MS), (1000, 1000)]
)
def test_the_axis_has_round_steps(span: int, step: int) -> None:
    assert step_of(span) == step


class Core:
    """What a Recorder reads of the core: a ring of 4 records."""

    def __init__(self) -> None:
        self.clock = 0
        self.traced = 0

    def trace_packets(self, since: int = 0) -> tuple[int, int, bytes]:
        first = max(since, self.traced - 4)
        record = struct.pack("=QIBBH6Q", self.clock, 0x10001, 1, 0, 0, 0, 0, 0, 0, 0, 0)
        return first, self.traced, record * (self.traced - first)

    def log_info(self, domid: int) -> dict[str, int]:
        raise OSError(errno.ENOENT, "none")


def recorder() -> tuple[Recorder, Core, EventLog]:
    core, log = Core(), EventLog()
    machine: Any = SimpleNamespace(core=core)
    return Recorder(machine, log), core, log


def test_an_overrun_of_the_ring_is_counted() -> None:
    recorder_, core, log = recorder()
    core.traced = 100
    log.append(Event(0, "crash-injected", 1, {"kind": "app"}))
    log.append(Event(0, "fault", 1, {"kind": "app"}))
    recorder_.follow()
    for clock, traced in ((5, 102), (10, 104), (20, 108), (30, 115)):
        core.clock, core.traced = clock * MS, traced
        recorder_.follow()
    (recording,) = recorder_.recordings()
    assert recording.overrun == 3
    assert len(recording.packets) == 64 * (4 + 4 + 4 + 4)


def test_recordings_end_and_the_last_are_kept() -> None:
    recorder_, core, log = recorder()
    for number in range(KEPT + 3):
        log.append(Event(core.clock, "fault", 1, {"kind": "app"}))
        log.append(Event(core.clock, "no-backup", 1, {}))
        recorder_.follow()
        core.clock += 60 * MS
        core.traced += 1
        taken = len(recorder_.recordings()[-1].packets)
        assert taken == 64 * min(number + 1, 5)
        core.traced += 1
        assert len(recorder_.recordings()[-1].packets) == taken
        core.traced -= 1
    kept = recorder_.recordings()
    assert [recording.number for recording in kept] == list(range(4, KEPT + 4))
    assert all(recording.closed for recording in kept)


def test_a_crash_that_nobody_saw_is_no_recovery() -> None:
    recorder_, core, log = recorder()
    log.append(Event(0, "crash-injected", 3, {"kind": "backup"}))
    log.append(Event(5, "backup-lost", 3, {}))
    assert recorder_.recordings() == []
    log.append(Event(9, "crash-injected", 1, {"kind": "app"}))
    log.append(Event(9, "fault", 1, {"kind": "app"}))
    assert [recording.number for recording in recorder_.recordings()] == [1]
