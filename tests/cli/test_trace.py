"""The trace decoded, and `trace` of a running `boot`."""

import json
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from xenemu._abi import DOMID_SELF, EvtchnOp, Hypercall, MmuextOp, SchedOp, XenVersionOp
from xenemu.boot.trace_decode import RECORD, STRUCT, Decoded, decode
from xenemu.boot.trace_table import SHAPES
from xenemu.machine import Machine

SMALL = ["--memory", "control=4M", "--memory", "primary=16M", "--log", "32M", "--forward", "0:80"]
BUFFER = 0xFFFF880000003000  # in the guest's first pages


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "xenemu", *words]


def xenemu(*words: str) -> tuple[int, str, str]:
    done = subprocess.run(command(*words), capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


# ---- decoding ----


def one(kind: int, *a: int, nr: int = 0, node: int = 3, vcpu: int = 1) -> Decoded:
    """A record of our own, decoded."""
    words = [*(value & (1 << 64) - 1 for value in a), *[0] * (6 - len(a))]
    (decoded,) = decode(7, RECORD.pack(1_500_000_000, node, kind, vcpu, nr, *words))
    return decoded


class Guest:
    """A domain on a real core: its hypercalls, as the trace has them."""

    def __init__(self) -> None:
        self.core = Machine(frames=4096).core
        self.domid = self.core.create_domain(
            pages=256, max_pages=256, window_pages=0, privileged=False, ip=0
        )
        self.core.unpause(self.domid)

    def call(self, nr: Hypercall, *args: int, data: bytes = b"") -> str:
        """The last record's line without time and domain."""
        if data:
            self.core.guest_write(self.domid, BUFFER, data)
        index = self.core.trace_index
        self.core.hypercall(self.domid, nr, *args)
        first, _, records = self.core.trace_records(index)
        line = next(iter(decode(first, records))).line()
        assert line.startswith("    0.000000 d0v0   ")
        return line[20:]


def test_hypercalls_of_a_real_core() -> None:
    guest = Guest()
    assert guest.call(Hypercall.xen_version, XenVersionOp.version) == (
        "xen_version version arg=0x0 = 262161"
    )
    call = Hypercall.event_channel_op
    alloc = struct.pack("=HHI", DOMID_SELF, 0, 99)
    assert guest.call(call, EvtchnOp.alloc_unbound, BUFFER, data=alloc) == (
        "event_channel_op alloc_unbound dom=SELF remote_dom=0 -> port 1"
    )
    assert guest.call(call, EvtchnOp.close, BUFFER, data=struct.pack("=I", 4000)) == (
        "event_channel_op close port=4000 = -EINVAL"
    )
    assert guest.call(call, EvtchnOp.close, 0xDEAD000) == (
        "event_channel_op close arg=0xdead000 = -EFAULT"
    )
    status = struct.pack("=HHIII8x", DOMID_SELF, 0, 1, 0, 0)
    assert guest.call(call, EvtchnOp.status, BUFFER, data=status).startswith(
        "event_channel_op status dom=SELF port=1 -> status unbound vcpu 0 u 0x"
    )
    assert guest.call(Hypercall.console_io, 0, 5, BUFFER, data=b"hello\0junk") == (
        "console_io write count=5 text='hello' = 0"
    )
    assert guest.call(Hypercall.sched_op, SchedOp.yield_).startswith("sched_op yield ")
    assert guest.call(Hypercall.sched_op, SchedOp.shutdown, BUFFER, data=bytes((3, 0, 0, 0))) == (
        "sched_op shutdown reason=crash = 0"
    )


def test_hypercalls_of_records() -> None:
    low_high = 1 | DOMID_SELF << 32
    pin = one(3, low_high, BUFFER, MmuextOp.PIN_L4_TABLE, 55, 0, -16, nr=26 | STRUCT)
    assert pin.line() == (
        "    1.500000 d3v1   mmuext_op PIN_L4_TABLE arg1=0x37 arg2=0x0 count=1 foreigndom=SELF"
        " = -EBUSY"
    )
    assert pin.as_dict() == {
        "index": 7, "time": 1_500_000_000, "kind": "hypercall", "domain": 3, "vcpu": 1,
        "name": "mmuext_op PIN_L4_TABLE",
        "values": {"arg1": "0x37", "arg2": "0x0", "count": 1, "foreigndom": "SELF"},
        "answers": {}, "result": -16, "errno": "EBUSY",
    }  # fmt: skip
    words = struct.unpack("=3Q", struct.pack("=IIHHIQ", 15, 0x15, 4, 0, 0, 2))
    domctl = one(3, 0, BUFFER, *words, 0, nr=36 | STRUCT)
    assert domctl.line().endswith("domctl max_vcpus version=0x15 domain=4 max=2 = 0")
    words = struct.unpack("=3Q", struct.pack("=QIIHhI", 0x1000, 2, 8, 0, -3, 0))
    grant = one(3, 1 << 32, BUFFER, *words, 0, nr=20 | STRUCT)
    assert grant.line().endswith(
        "grant_table_op map_grant_ref count=1 host_addr=0x1000 flags=0x2 ref=8 dom=0"
        " -> status bad_gntref handle 0"
    )
    unknown = one(3, 1, 0, 0, 0, 5, -38, nr=60)
    assert unknown.line().endswith("hypercall_60 arg0=0x1 arg4=0x5 = -ENOSYS")
    assert one(3, 0, 0, 0, 0, 0, -38, nr=STRUCT - 1).name == "hypercall"
    assert one(3, 77, BUFFER, nr=32).name == "event_channel_op op_77"


@pytest.mark.parametrize(
    ("record", "kind", "text"),
    [
        (one(10, 5), "event", "d3v1   pending port=5"),
        (one(4, 4 << 32), "event", "d3v1   upcall"),
        (one(4, 5 << 32 | 9, 1), "vmm", "d3     vmm fault a=1"),
        (one(4, 6 << 32 | 2, 8, 104), "vmm", "d3     wrapper reset a=8 b=104"),
        (one(4, 2 << 32 | 6), "work", "d3     timer arg=6"),
        (one(4, 99 << 32 | 6), "work", "d3     work_99 arg=6"),
        (one(5), "state", "d3     fence"),
        (one(6, 1), "state", "d3     fault kernel=panicked"),
        (one(7, 0x0A000001), "state", "d3     path address=10.0.0.1"),
        (one(8, 3), "drop", "d3     drop reason=spoofed"),
        (
            one(2, 0x12 << 32 | 9, 7 << 32 | 8, 0x0A000101 << 32 | 80 << 16 | 5000, node=0x10002),
            "packet",
            "host2  packet-out from=80 to=10.0.1.1:5000 flags=SYN,ACK seq=7 ack=8 payload=9",
        ),
        (one(200, 1), "work", "d3     record_200 a0=0x1 a1=0x0 a2=0x0 a3=0x0 a4=0x0 a5=0x0"),
    ],
)
def test_other_records(record: Decoded, kind: str, text: str) -> None:
    assert (record.kind, record.line()) == (kind, f"    1.500000 {text}")
    json.dumps(record.as_dict())


@pytest.mark.parametrize("nr", list(Hypercall))
@pytest.mark.parametrize("struct_", [0, STRUCT])
def test_anything_decodes(nr: Hypercall, struct_: int) -> None:
    for low in (*range(20), 0xFFFFFFFF):
        for word in (0, low, (1 << 64) - 1):
            record = one(3, low, word, word, word, word, word, nr=nr | struct_)
            assert record.name.startswith(nr.name)
            assert json.loads(json.dumps(record.as_dict()))["kind"] == "hypercall"
            assert record.line()


def test_layouts_name_operations_that_exist_and_fit() -> None:
    for call, shape in SHAPES.items():
        assert len(shape.registers) <= 5, call
        if shape.ops is not None:
            names = {op.name.rstrip("_") for op in shape.ops}
            assert set(shape.layouts) <= names, call


# ---- the command ----


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A running `boot`."""
    (tmp_path / "run").mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    boot = command("boot", "--root", str(tmp_path), *SMALL)
    process = subprocess.Popen(boot, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert any(line.startswith("ready ") for line in process.stdout)
    yield
    process.terminate()
    process.wait(20)
    process.stdout.close()


def test_of_a_running_host(host: None) -> None:
    status, text, complaint = xenemu("trace", "--kind", "hypercall")
    assert (status, complaint) == (0, "")
    lines = text.splitlines()
    assert any("event_channel_op bind_virq virq=ZEROLOSS vcpu=0 -> port " in x for x in lines)
    assert any("zeroloss_op SUSPEND_BACKUP " in x for x in lines)
    assert " upcall" not in text
    records = [json.loads(line) for line in xenemu("trace", "--json")[1].splitlines()]
    assert {record["kind"] for record in records} >= {"hypercall", "event", "vmm", "state"}
    assert "work" not in {record["kind"] for record in records}
    indices = [record["index"] for record in records]
    assert indices == sorted(set(indices))
    of_backup = xenemu("trace", "--json", "--domain", "backup")[1].splitlines()
    assert {json.loads(line)["domain"] for line in of_backup} == {2}
    middle = records[len(records) // 2]["time"]
    late = xenemu("trace", "--json", "--since", str(middle / 1e9 + 1e-6))[1].splitlines()
    assert 0 < len(late) < len(records) and min(json.loads(x)["time"] for x in late) > middle
    assert xenemu("trace", "--since", "1e9")[1] == ""
    status, _, complaint = xenemu("trace", "--domain", "nobody")
    assert status == 1 and complaint.startswith("xenemu: ")
    assert xenemu("trace", "--kind", "nothing")[0] == 2


def test_follow_shows_what_comes_and_ends_on_interrupt(host: None) -> None:
    follow = command("trace", "--follow", "--json", "--kind", "state")
    with subprocess.Popen(follow, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["name"] == "path"
        assert xenemu("crash", "kernel")[0] == 0
        names = (json.loads(line)["name"] for line in process.stdout)
        assert "fault" in names and "fence" in names and "path" in names
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


def test_a_reader_that_leaves_ends_it(host: None) -> None:
    follow = command("trace", "--follow", "--kind", "work")
    with subprocess.Popen(follow, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.wait(20) == 1
        assert process.stderr.read() == b""


def test_overwritten_records_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    import base64

    from click.testing import CliRunner

    from xenemu.cli import trace as trace_module
    from xenemu.cli.app import main

    record = base64.b64encode(RECORD.pack(0, 1, 5, 0, 0, *[0] * 6)).decode()
    answers = iter(
        {"first": first, "next": first + 1, "count": 900, "records": record}
        for first in (0, 700, 899)
    )

    class Control:
        def __enter__(self) -> "Control":
            return self

        def __exit__(self, *exc: object) -> None:
            pass

        def call(self, method: str, **params: object) -> dict[str, object]:
            return next(answers)

    monkeypatch.setattr(trace_module, "client", lambda name: Control())
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    result = CliRunner().invoke(main, ["trace", "--json"])
    lines = [json.loads(line) for line in result.output.splitlines()]
    assert [line.get("lost") for line in lines] == [None, 699, None, 198, None]
