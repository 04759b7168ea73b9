"""The binding of the FT API: the header's own declarations, wrappers, handlers in Python and C."""

import errno
import gc
import re
import subprocess
import weakref
from pathlib import Path
from typing import Any

import pytest

from ozs import ftapi
from ozs.ftapi import Call, CallKind, Packet, PacketKind, Side, Verdict, Wrapper, ffi, lib, objects
from ozs.ftapi import wrapper as wrapper_module
from xenemu.machine import Machine

HEADER = Path(__file__).parents[2] / "csrc" / "net" / "ftapi.h"
PORT = 7000
STOCK = [(side, kind) for side in Side for kind in PacketKind]


def handler(wrapper: Wrapper, side: Side, kind: PacketKind | CallKind) -> Any:
    """What C calls."""
    return wrapper._callbacks[side, int(kind), isinstance(kind, CallKind)]


class Operations:
    """The operations, as far as a handler calls them here: of one connection, without a machine."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.state = ffi.new("uint64_t[64]")
        self.answers: dict[str, Any] = {"wr_closed": True, "wr_next": ffi.NULL}
        self.data = ffi.new("uint8_t[]", b"some bytes")

    def __getattr__(self, name: str) -> Any:
        if name == "wr_state":
            return lambda conn: self.state
        if name == "wr_bytes":
            return lambda call: self.data

        def operation(*arguments: Any) -> Any:
            self.calls.append(name)
            return self.answers.get(name, 0)

        return operation


@pytest.fixture
def operations(monkeypatch: pytest.MonkeyPatch) -> Operations:
    operations = Operations()
    monkeypatch.setattr(objects, "lib", operations)
    return operations


# the binding


def test_the_installed_header_is_the_core_s_own() -> None:
    assert (Path(ftapi.include_dir()) / "ftapi.h").read_bytes() == HEADER.read_bytes()


def test_each_function_of_the_header_is_there() -> None:
    names = re.findall(r"(?m)^FT_API [^;(]*?(\w+)\(", HEADER.read_text(encoding="utf-8"))
    assert len(names) > 40
    for name in names:
        assert ffi.typeof(getattr(lib, name)).kind == "function", name


def test_constants_are_the_header_s(tmp_path: Path) -> None:
    names = ["WR_DROP", "WR_SERVER_SIDE", "WR_SND_RST", "WR_CLOSE", "WR_PROFILES", "WR_STATE"]
    shown = "".join(f'printf("%llu\\n", (unsigned long long){name});' for name in names)
    source = f'#include <stdio.h>\n#include "ftapi.h"\nint main(void) {{ {shown} '
    source += 'printf("%llu\\n", (unsigned long long)WR_ALL); }\n'
    printed = subprocess.run(
        [compiled(tmp_path, source)], check=True, capture_output=True, text=True
    ).stdout.split()
    assert [int(value) for value in printed] == [getattr(lib, n) for n in names] + [ftapi.WR_ALL]


def test_declarations_leave_out_what_cffi_cannot_read() -> None:
    header = "#ifndef X\n#define X\n#define F(a) \\\n\ta\n#define N 12 /* n */\nFT_API int f();\n"
    words = ftapi.declarations(header).split()
    assert words == ["#define", "N", "12", "int", "f();"]


# wrappers


def test_a_port_that_is_none() -> None:
    for port in (0, -1, 65536):
        with pytest.raises(ValueError, match="no such port"):
            Wrapper(port)


@pytest.mark.parametrize(("side", "kind"), STOCK)
def test_plain_installs_each_operation_once(side: Side, kind: PacketKind) -> None:
    wrapper = Wrapper(PORT).plain().plain()
    never = (side is Side.CLIENT) == (kind in (PacketKind.REC_SAA, PacketKind.SND_SYN))
    if (
        kind in (PacketKind.REC_SYN, PacketKind.REC_SAA, PacketKind.SND_SYN, PacketKind.SND_SAA)
        and never
    ):
        with pytest.raises(OSError) as raised:
            wrapper.uninstall(side, kind)
        assert raised.value.errno == errno.EINVAL
        with pytest.raises(ValueError, match="on the"):
            wrapper.on_packet(side, kind)
        return
    wrapper.uninstall(side, kind)
    with pytest.raises(OSError) as raised:
        wrapper.uninstall(side, kind)
    assert raised.value.errno == errno.ENOENT


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("kind", CallKind)
def test_plain_installs_the_calls(side: Side, kind: CallKind) -> None:
    wrapper = Wrapper(PORT).plain()
    wrapper.uninstall(side, kind)
    with pytest.raises(OSError) as raised:
        wrapper.uninstall(side, kind)
    assert raised.value.errno == errno.ENOENT


def test_one_handler_of_each_kind() -> None:
    wrapper = Wrapper(PORT).plain()
    wrapper.on_read()(lambda call: call.read())
    with pytest.raises(OSError) as raised:
        wrapper.on_read()(lambda call: call.read())
    assert raised.value.errno == errno.EEXIST
    wrapper.uninstall(Side.CLIENT, CallKind.READ)
    wrapper.on_read()(lambda call: call.read())


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("kind", [PacketKind.REC_ACK, PacketKind.SND_ACK])
def test_no_python_per_segment(side: Side, kind: PacketKind) -> None:
    wrapper = Wrapper(PORT)
    with pytest.raises(ValueError, match=kind.name):
        wrapper.on_packet(side, kind)
    stock = lib.cs_rec_ack if side is Side.CLIENT else lib.ss_rec_ack
    wrapper.install(side, kind, ffi.cast("wr_ssw_handler *", stock))
    wrapper.uninstall(side, kind)


# handlers in Python


def test_packets(operations: Operations) -> None:
    wrapper, seen = Wrapper(PORT), []

    @wrapper.on_syn()
    @wrapper.on_syn(Side.SERVER)
    @wrapper.on_fin(sent=True)
    @wrapper.on_rst(Side.SERVER)
    def packet(packet: Packet) -> int:
        seen.append((packet.side, packet.kind))
        packet.stock()
        return Verdict.DROP

    operations.answers["cs_rec_syn"] = Verdict.PASS
    kinds = [
        (Side.CLIENT, PacketKind.REC_SYN),
        (Side.SERVER, PacketKind.SND_SYN),
        (Side.CLIENT, PacketKind.SND_FIN),
        (Side.SERVER, PacketKind.REC_RST),
    ]
    for side, kind in kinds:
        assert handler(wrapper, side, kind)(ffi.NULL, ffi.NULL) == Verdict.DROP
    assert seen == kinds
    assert operations.calls == ["cs_rec_syn", "ss_snd_syn", "cs_snd_fin", "ss_rec_rst"]


@pytest.mark.parametrize("side", Side)
def test_calls(operations: Operations, side: Side) -> None:
    wrapper = Wrapper(PORT)
    wrapper.on_read(side)(lambda call: call.read())
    wrapper.on_write(side)(lambda call: call.write(3))
    wrapper.on_close(side)(lambda call: call.close())
    operations.answers.update(
        cn_read_request=7, sn_read_response=7, cn_write_response=2, sn_write_request=-errno.EPIPE
    )
    results = [handler(wrapper, side, kind)(ffi.NULL, ffi.NULL) for kind in CallKind]
    assert results == [7, 2 if side is Side.CLIENT else -errno.EPIPE, 0]
    expected = {
        Side.CLIENT: ["cn_read_request", "cn_write_response", "wr_close"],
        Side.SERVER: ["sn_read_response", "sn_write_request", "wr_close"],
    }
    assert [name for name in operations.calls if name in expected[side]] == expected[side]


def test_a_connection_s_numbers(operations: Operations) -> None:
    operations.answers.update(wr_read_so_far=1 << 40, wr_written_so_far=5, wr_side_of=1)
    connection = Call(ffi.NULL, Side.CLIENT, CallKind.READ, objects.States()).connection
    assert (connection.read_so_far, connection.written_so_far) == (1 << 40, 5)
    assert connection.side is Side.SERVER


@pytest.mark.parametrize(
    ("method", "operation"),
    [
        ("mark", "as_mark"),
        ("remove_request", "as_remove_request"),
        ("remove_response", "as_remove_response"),
        ("elide_request", "as_elide_request"),
        ("elide_response", "as_elide_response"),
    ],
)
def test_removal(operations: Operations, method: str, operation: str) -> None:
    states = objects.States()
    connection = Call(ffi.NULL, Side.CLIENT, CallKind.READ, states).connection
    arguments = () if method == "mark" else (0, 1)
    with pytest.raises(ValueError, match="sessions"):
        getattr(connection, method)(*arguments)
    states.sessions = True
    operations.calls.clear()
    assert getattr(connection, method)(*arguments)
    assert operations.calls == [operation]
    operations.answers[operation] = -errno.ENOSPC
    assert not getattr(connection, method)(*arguments)
    operations.answers[operation] = -errno.EINVAL
    if method == "mark":  # an unprotected connection has none
        assert not connection.mark()
        return
    with pytest.raises(OSError) as raised:
        getattr(connection, method)(*arguments)
    assert raised.value.errno == errno.EINVAL


def test_bytes_are_those_of_the_call(operations: Operations) -> None:
    operations.answers["wr_length"] = 10
    call = Call(ffi.NULL, Side.CLIENT, CallKind.WRITE, objects.States())
    assert call.bytes(4) == b"some"
    assert call.bytes(0) == b""
    with pytest.raises(ValueError):
        call.bytes(11)


# handlers that fail


def test_without_an_operation_a_failure_is_eio(
    operations: Operations, capsys: pytest.CaptureFixture[str]
) -> None:
    wrapper = Wrapper(PORT)
    wrapper.on_read()(lambda call: 1 // 0)
    wrapper.on_syn()(lambda packet: 1 // 0)
    assert handler(wrapper, Side.CLIENT, CallKind.READ)(ffi.NULL, ffi.NULL) == -errno.EIO
    assert handler(wrapper, Side.CLIENT, PacketKind.REC_SYN)(ffi.NULL, ffi.NULL) == Verdict.DROP
    assert wrapper.failures == 2
    assert all("ZeroDivisionError" in text for text in wrapper.errors)
    assert capsys.readouterr().err.count("port 7000: a handler of its wrapper failed") == 2


def test_what_the_operation_did_counts(operations: Operations) -> None:
    wrapper = Wrapper(PORT)
    wrapper.on_read()(lambda call: call.read() // 0)
    wrapper.on_rst()(lambda packet: packet.stock() // 0)
    operations.answers.update(cn_read_request=7, cs_rec_rst=Verdict.PASS)
    read = handler(wrapper, Side.CLIENT, CallKind.READ)
    assert read(ffi.NULL, ffi.NULL) == 7
    rst = handler(wrapper, Side.CLIENT, PacketKind.REC_RST)
    assert rst(ffi.NULL, ffi.NULL) == Verdict.PASS
    assert wrapper.failures == 2
    wrapper.uninstall(Side.CLIENT, CallKind.READ)
    wrapper.on_read()(lambda call: 1 // 0)  # of an earlier call nothing counts
    assert handler(wrapper, Side.CLIENT, CallKind.READ)(ffi.NULL, ffi.NULL) == -errno.EIO


@pytest.mark.parametrize("result", [None, "7", 2**70])
def test_a_result_that_is_none(operations: Operations, result: Any) -> None:
    wrapper = Wrapper(PORT)
    wrapper.on_write()(lambda call: result)
    assert handler(wrapper, Side.CLIENT, CallKind.WRITE)(ffi.NULL, ffi.NULL) == -errno.EIO
    assert wrapper.failures == 1


def test_a_verdict_that_is_none(operations: Operations) -> None:
    wrapper = Wrapper(PORT)
    wrapper.on_fin()(lambda packet: 7)
    fin = handler(wrapper, Side.CLIENT, PacketKind.REC_FIN)
    assert fin(ffi.NULL, ffi.NULL) == Verdict.DROP
    assert wrapper.failures == 1


def test_a_failed_close_closes(operations: Operations) -> None:
    wrapper = Wrapper(PORT)
    wrapper.on_close()(lambda call: 1 // 0)
    handler(wrapper, Side.CLIENT, CallKind.CLOSE)(ffi.NULL, ffi.NULL)
    assert operations.calls.count("wr_close") == 1
    assert wrapper.failures == 1


def test_kept_errors_are_bounded(operations: Operations) -> None:
    wrapper = Wrapper(PORT)
    wrapper.on_read()(lambda call: 1 // 0)
    for _ in range(100):
        handler(wrapper, Side.CLIENT, CallKind.READ)(ffi.NULL, ffi.NULL)
    assert wrapper.failures == 100
    assert len(wrapper.errors) == wrapper_module.KEPT_ERRORS


# the state of a connection


def test_state_lasts_as_long_as_the_connection(operations: Operations) -> None:
    wrapper = Wrapper(PORT)

    @wrapper.on_read()
    def read(call: Call) -> int:
        state = call.connection.state
        state["calls"] = state.get("calls", 0) + 1
        return int(state["calls"])

    def calls() -> int:
        return int(handler(wrapper, Side.CLIENT, CallKind.READ)(ffi.NULL, ffi.NULL))

    wrapper.on_close()(lambda call: call.close())
    close = handler(wrapper, Side.CLIENT, CallKind.CLOSE)
    assert [calls(), calls()] == [1, 2]
    operations.state = ffi.new("uint64_t[64]")  # another connection
    assert calls() == 1
    ffi.buffer(operations.state)[:] = bytes(512)  # and another in its place
    assert calls() == 1
    assert len(wrapper.states) == 2
    operations.answers.update(wr_ends=1, wr_closed=False)
    close(ffi.NULL, ffi.NULL)
    assert len(wrapper.states) == 2  # of its session something is open still
    operations.answers["wr_closed"] = True
    close(ffi.NULL, ffi.NULL)
    assert len(wrapper.states) == 1


# profiles by name


def compiled(directory: Path, source: str, *options: str) -> str:
    """The source's program, or with -shared its library."""
    file, out = directory / "source.c", directory / "made.so"
    file.write_text(source, encoding="utf-8")
    subprocess.run(
        ["cc", "-Wall", "-Werror", *options, "-I", ftapi.include_dir(), "-o", out, file], check=True
    )
    return str(out)


def test_a_profile_in_python(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def own(wrapper):\n    wrapper.sessions().plain()\n", encoding="utf-8")
    wrapper = ftapi.load_profile(f"{file}:own", PORT)
    assert wrapper.port == PORT
    wrapper.uninstall(Side.SERVER, PacketKind.SND_SYN)


PROFILE_IN_C = """
#include "ftapi.h"

static enum wr_verdict rst(struct wr_packet *p, void *context)
{
	(void)context;
	return cs_rec_rst(p);
}

int own(struct wr *w)
{
	wr_sessions(w);
	return wr_ins_ssw(w, WR_CLIENT_SIDE, WR_REC_RST, rst, 0);
}

int fails(struct wr *w)
{
	return wr_unins_nsw(w, WR_CLIENT_SIDE, WR_READ);
}
"""


def test_a_profile_in_c(tmp_path: Path) -> None:
    library = compiled(tmp_path, PROFILE_IN_C, "-shared", "-fPIC")
    wrapper = ftapi.load_profile(f"{library}:own", PORT)
    wrapper.uninstall(Side.CLIENT, PacketKind.REC_RST)
    with pytest.raises(OSError) as raised:
        ftapi.load_profile(f"{library}:fails", PORT)
    assert raised.value.errno == errno.ENOENT


@pytest.mark.parametrize(
    "text",
    ["", "name", ":name", "no.such.module:name", "nowhere.py:name", "nowhere.so:name",
     "ozs.ftapi:none", "ozs.ftapi:WR_ALL", "ozs.ftapi:not-a-name", "/lib/ld.so:name"],
)  # fmt: skip
def test_a_profile_that_is_none(text: str) -> None:
    with pytest.raises(ValueError):
        ftapi.load_profile(text, PORT)


def test_a_library_without_the_function(tmp_path: Path) -> None:
    library = compiled(tmp_path, PROFILE_IN_C, "-shared", "-fPIC")
    with pytest.raises(ValueError, match="another"):
        ftapi.load_profile(f"{library}:another", PORT)


# the machine's table


def test_a_machine_numbers_authors_wrappers() -> None:
    machine = Machine(frames=4096)
    try:
        numbers = []
        for _ in range(lib.WR_PROFILE_OWN, lib.WR_PROFILES):
            wrapper = Wrapper(PORT)
            numbers.append(machine.add_wrapper(wrapper.address, wrapper))
        assert numbers == list(range(lib.WR_PROFILE_OWN, lib.WR_PROFILES))
        with pytest.raises(OSError) as raised:
            machine.add_wrapper(Wrapper(PORT).address, None)
        assert raised.value.errno == errno.ENOSPC
    finally:
        machine.close()


def test_a_machine_keeps_its_wrappers() -> None:
    machine = Machine(frames=4096)
    wrapper = Wrapper(PORT)
    gone = weakref.ref(wrapper)
    machine.add_wrapper(wrapper.address, wrapper)
    del wrapper
    gc.collect()
    assert gone() is not None
    machine.close()
    gc.collect()
    assert gone() is None
