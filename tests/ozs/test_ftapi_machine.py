"""Wrappers of an author's own on a whole system: real packets, a fault in the middle."""

import errno
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from kv import profile

from ozs import Profile, ftapi
from ozs.ftapi import Call, CallKind, Packet, PacketKind, Side, Verdict, Wrapper, load_profile
from xenemu.boot import Link, ServiceSpec, System, add_client, parse_service, profiles, small_config
from xenemu.lab.clients import Report
from xenemu.lab.scenarios import scenario_of

MS = 1_000_000
LINK = Link(bits_per_second=20_000_000, delay_ns=2 * MS)
PORT = 80
KV = f"{Path(profile.__file__).with_name('scenario.py')}:KV"
HANDSHAKE = [PacketKind.REC_SYN, PacketKind.SND_SAA]

Serve = Callable[..., System]


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Runs a scenario's client on a service under that wrapper, to its end."""

    def serve(
        wrapper: Wrapper, scenario: str = "keep-alive", crash: str = "", failures: int = 0
    ) -> System:
        chosen = scenario_of(scenario)
        for name, data in chosen.files(1).items():
            (tmp_path / name).write_bytes(data)
        monkeypatch.setattr(profiles, "load_profile", lambda own, port: wrapper)
        spec = ServiceSpec(chosen.program, chosen.arguments, profile="this:one")
        system, report = System(small_config(root=tmp_path, seed=1, specs=(spec,))), Report()
        with system:
            system.boot()
            client = add_client(system, link=LINK).spawn(chosen.program_of(1, report))
            system.run_for(0.05)
            if crash:
                system.crash(crash)
            assert system.run_until(lambda: client.exited, 120)
            system.run_for(1)  # FINs
            assert (client.exit_status, report.wrong, report.broken) == (0, [], [])
            assert wrapper.failures == failures
        return system

    return serve


def watching(*kinds: PacketKind) -> tuple[Wrapper, Counter[PacketKind]]:
    """A wrapper that counts those kinds, and does with them what it should."""
    wrapper, seen = Wrapper(PORT).plain(), Counter[PacketKind]()

    def watch(packet: Packet) -> Verdict:
        seen[packet.kind] += 1
        return packet.stock()

    for kind in kinds:
        wrapper.on_packet(Side.CLIENT, kind)(watch)
    return wrapper, seen


@pytest.mark.parametrize("crash", ["", "app", "kernel"])
def test_handlers_see_a_connection_s_packets(served: Serve, crash: str) -> None:
    kinds = [*HANDSHAKE, PacketKind.REC_FIN, PacketKind.SND_FIN, PacketKind.REC_RST]
    wrapper, seen = watching(*kinds)
    served(wrapper, crash=crash)
    if not crash:
        assert seen[PacketKind.REC_SYN] == seen[PacketKind.SND_SAA] == 1
    assert all(seen[kind] for kind in kinds[:4])
    assert not seen[PacketKind.REC_RST]


def test_what_a_handler_drops_comes_again(served: Serve) -> None:
    wrapper, seen = Wrapper(PORT).plain(), []

    @wrapper.on_syn()
    def once(packet: Packet) -> Verdict:
        seen.append(packet.kind)
        return Verdict.DROP if len(seen) == 1 else packet.stock()

    served(wrapper, crash="app")
    assert len(seen) == 2


@pytest.mark.parametrize("crash", ["", "app", "kernel"])
@pytest.mark.parametrize("scenario", ["echo", KV])
def test_handlers_see_a_service_s_calls(served: Serve, scenario: str, crash: str) -> None:
    wrapper, seen = Wrapper(PORT).plain(), Counter[str]()

    @wrapper.on_read()
    def read(call: Call) -> int:
        before, n = call.connection.read_so_far, call.read()
        if n > 0:
            assert call.connection.read_so_far == before + n
            seen["read"] += n
        return n

    @wrapper.on_write()
    def write(call: Call) -> int:
        before, n = call.connection.written_so_far, call.write(min(call.length, 1000))
        if n > 0:
            assert call.connection.written_so_far == before + n
            assert call.connection.side is Side.CLIENT
            seen["written"] += n
        return n

    @wrapper.on_close()
    def close(call: Call) -> None:
        seen["closed"] += 1
        assert not call.connection.closed
        call.close()

    served(wrapper, scenario, crash)
    assert seen["read"] and seen["written"] and seen["closed"]
    assert len(wrapper.states) == 0


def test_no_byte_is_lost_by_handlers_that_fail(served: Serve) -> None:
    wrapper = Wrapper(PORT).plain()
    wrapper.on_read()(lambda call: call.read() and 1 // 0)
    wrapper.on_close()(lambda call: 1 // 0)
    with pytest.raises(AssertionError, match="== 0"):
        served(wrapper, "echo", "app")
    assert wrapper.failures > 2


@pytest.mark.parametrize("crash", ["app", "kernel"])
def test_what_is_removed_is_not_replayed(served: Serve, crash: str) -> None:
    def requests(*, removes: bool) -> int:
        wrapper, lines = Wrapper(PORT), 0
        profile.kv(wrapper) if removes else wrapper.plain()
        if removes:
            wrapper.uninstall(Side.CLIENT, CallKind.READ)

        @wrapper.on_read()
        def read(call: Call) -> int:
            nonlocal lines
            n = profile.read(call)
            lines += call.bytes(max(n, 0)).count(b"\n")
            return n

        served(wrapper, KV, crash)
        return lines

    assert requests(removes=False) > 41 + 15  # 41 of the client
    assert 41 <= requests(removes=True) <= 41 + 4


PROFILE = """
#include <ftapi.h>

static enum wr_verdict fin(struct wr_packet *packet, void *context)
{
	*(unsigned *)context += 1;
	return cs_rec_fin(packet);
}

unsigned fins;

int own(struct wr *w)
{
	int rc = wr_ins_ssw(w, WR_CLIENT_SIDE, WR_REC_FIN, fin, &fins);

	return rc ? rc : wr_plain(w);
}

int get_fins(struct wr *w)
{
	(void)w;
	return -(int)fins;
}
"""


def test_a_profile_in_c(served: Serve, tmp_path: Path) -> None:
    source, library = tmp_path / "own.c", tmp_path / "own.so"
    source.write_text(PROFILE)
    options = ["-shared", "-fPIC", "-Wall", "-Werror", "-I", ftapi.include_dir()]
    subprocess.run(["cc", *options, "-o", library, source], check=True)
    served(load_profile(f"{library}:own", PORT), crash="kernel")
    with pytest.raises(OSError) as raised:  # its counter
        load_profile(f"{library}:get_fins", PORT)
    assert raised.value.errno >= 1


@pytest.mark.parametrize("own", ["nowhere.py:kv", "nowhere.so:kv", f"{profile.__file__}:none"])
def test_a_profile_that_cannot_be_loaded(tmp_path: Path, own: str) -> None:
    with pytest.raises(OSError, match="can't load the profile") as raised:
        System(small_config(root=tmp_path, specs=(ServiceSpec(profile=own),)))
    assert raised.value.errno == errno.EINVAL


def test_its_option(tmp_path: Path) -> None:
    assert parse_service("app.py:main,profile=mine.py:own").profile == "mine.py:own"
    assert parse_service("app.py:main,profile=http").profile is Profile.HTTP
    for wrong in ("mine.py", "mine.py:", "none"):
        with pytest.raises(ValueError, match="no such profile"):
            parse_service(f"app.py:main,profile={wrong}")
