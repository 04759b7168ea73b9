"""A recovery's timeline as Chrome trace JSON, which Perfetto and chrome://tracing open.

Processes are the lanes; phases are slices, events and packets instants, log use a counter.
Times are microseconds since the recording began.
"""

import json
from typing import Any

from xenemu.boot.timeline import LANES, Phase, RecoveryTimeline

PACKETS, LOG = "client", "VMM"


def perfetto(timeline: RecoveryTimeline) -> str:
    """The JSON document."""
    events = sorted(_slices(timeline) + _instants(timeline), key=lambda event: event["ts"])
    document = {
        "traceEvents": _names(timeline) + events,
        "displayTimeUnit": "ms",
        "otherData": {
            "recovery": timeline.number,
            "title": timeline.title,
            "origin_ns": timeline.origin,
            "trace_records_lost": timeline.overrun,
        },
    }
    return json.dumps(document, separators=(",", ":")) + "\n"


def _pid(lane: str) -> int:
    return LANES.index(lane) + 1


def _connections(timeline: RecoveryTimeline) -> dict[str, int]:
    """Thread numbers of the client lane."""
    names = sorted({packet.connection for packet in timeline.packets})
    return {name: number for number, name in enumerate(names, 1)}


def _meta(kind: str, pid: int, tid: int, /, **values: Any) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "pid": pid, "tid": tid, "ts": 0, "args": values}


def _names(timeline: RecoveryTimeline) -> list[dict[str, Any]]:
    result = []
    for lane in LANES:
        result.append(_meta("process_name", _pid(lane), 0, name=lane))
        result.append(_meta("process_sort_index", _pid(lane), 0, sort_index=_pid(lane)))
    for name, tid in _connections(timeline).items():
        result.append(_meta("thread_name", _pid(PACKETS), tid, name=name))
    for phase in timeline.phases:
        tid = _thread(phase)
        result.append(_meta("thread_name", _pid(phase.lane), tid, name=_thread_name(tid)))
    return result


def _thread(phase: Phase) -> int:
    """Phases that may overlap others get a thread of their own: slices of one must nest."""
    return {"first byte": 2, "renewal": 3}.get(phase.name, 1)


def _thread_name(tid: int) -> str:
    return {2: "first byte", 3: "renewal"}.get(tid, "recovery")


def _slices(timeline: RecoveryTimeline) -> list[dict[str, Any]]:
    slices = [
        {
            "ph": "X",
            "name": phase.name,
            "cat": "recovery",
            "pid": _pid(phase.lane),
            "tid": _thread(phase),
            "ts": _us(timeline, phase.start),
            "dur": (phase.end - phase.start) / 1000,
        }
        for phase in timeline.phases
    ]
    gap = timeline.gap
    if gap:
        slices.append(
            {
                "ph": "X",
                "name": "no new bytes",
                "cat": "gap",
                "pid": _pid(PACKETS),
                "tid": _connections(timeline)[gap.connection],
                "ts": _us(timeline, gap.start),
                "dur": (gap.end - gap.start) / 1000,
            }
        )
    return slices


def _instants(timeline: RecoveryTimeline) -> list[dict[str, Any]]:
    result: list[dict[str, Any]] = [
        {
            "ph": "i",
            "s": "p",
            "name": mark.name,
            "cat": "event",
            "pid": _pid(mark.lane),
            "tid": 1,
            "ts": _us(timeline, mark.time),
            "args": {"text": mark.text},
        }
        for mark in timeline.marks
    ]
    threads = _connections(timeline)
    for packet in timeline.packets:
        what = "again" if packet.payload and not packet.new else "data" if packet.payload else "ack"
        result.append(
            {
                "ph": "i",
                "s": "t",
                "name": f"{'sent' if packet.sent else 'received'} {what}",
                "cat": "packet",
                "pid": _pid(PACKETS),
                "tid": threads[packet.connection],
                "ts": _us(timeline, packet.time),
                "args": {"payload": packet.payload, "flags": packet.flags},
            }
        )
    for time, percent in timeline.log:
        values = {"percent": percent}
        counter = {"ph": "C", "name": "log in use", "pid": _pid(LOG), "tid": 0, "args": values}
        result.append(counter | {"ts": _us(timeline, time)})
    return result


def _us(timeline: RecoveryTimeline, time: int) -> float:
    return max(0, time - timeline.start) / 1000
