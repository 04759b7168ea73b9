"""Tests of the driver, with the fixtures of xenemu's pytest plugin: no Xen, no root, no VM."""

from __future__ import annotations

import pytest
from split_driver.backend import Backend
from split_driver.frontend import Frontend
from split_driver.ring import FAILED, NO_SECTOR, OK, SECTOR, SLOTS, WRITE, Ring, Slot

from xenemu import Domain, GrantError, Machine
from xenemu.xen import GrantMap, GrantStatus

Answers = list[tuple[int, bytes]]


class World:
    def __init__(self, machine: Machine, guest: Domain) -> None:
        self.machine, self.guest = machine, guest
        self.driver_domain = machine.create_domain()
        self.disk = bytearray(64 * SECTOR)
        self.frontend = Frontend(guest, self.driver_domain.id)
        self.backend = Backend(self.driver_domain, self.frontend.connection, self.disk)
        self.answers: Answers = []

    def done(self, status: int, data: bytes) -> None:
        self.answers.append((status, data))


@pytest.fixture
def world(xen_machine: Machine, xen_domain: Domain) -> World:
    return World(xen_machine, xen_domain)


def test_what_is_written_is_read(world: World) -> None:
    text = b"zero loss".ljust(SECTOR, b"\0")
    world.frontend.write(7, text, world.done)
    world.machine.run_for(0)
    assert world.disk[7 * SECTOR : 8 * SECTOR] == text
    world.frontend.read(7, world.done)
    world.machine.run_for(0)
    assert world.answers == [(OK, text), (OK, text)]


def test_a_full_ring_and_its_end(world: World) -> None:
    world.driver_domain.pause()
    for n in range(SLOTS):
        world.frontend.write(n, bytes([n]), world.done)
    with pytest.raises(BlockingIOError):
        world.frontend.write(SLOTS, b"", world.done)
    world.machine.run_for(0.1)
    assert world.answers == []  # a paused backend does nothing
    world.driver_domain.unpause()
    world.machine.run_for(0)
    assert [status for status, _ in world.answers] == [OK] * SLOTS
    assert world.disk[::SECTOR][:SLOTS] == bytes(range(SLOTS))


def test_a_sector_beyond_the_disk(world: World) -> None:
    world.frontend.read(64, world.done)
    world.machine.run_for(0)
    assert world.answers == [(NO_SECTOR, b"")]


def test_pages_are_granted_no_longer_than_needed(world: World) -> None:
    page = world.guest.mfn_at(world.frontend._buffers[0])
    before = world.machine.frame(page).count
    world.frontend.read(0, world.done)
    world.machine.run_for(0)
    assert world.machine.frame(page).count == before
    with pytest.raises(GrantError) as refused:
        world.driver_domain.hypercall.grant_table_op.map_grant_ref(
            host_addr=world.driver_domain.alloc_page(),
            flags=GrantMap.host_map,
            ref=world.frontend.connection.ring_ref + 1,
            dom=world.guest.id,
        )
    assert refused.value.status == GrantStatus.general_error


def test_a_reference_that_was_never_granted(world: World) -> None:
    ring = Ring(world.driver_domain, world.backend._at)
    ring.put_request(Slot(WRITE, 0, 99))
    world.guest.hypercall.event_channel_op.send(port=world.frontend.connection.port)
    world.machine.run_for(0)
    assert ring.slot(0).code == FAILED
    assert not any(world.disk)


def test_a_dead_frontend_is_a_zombie_until_its_ring_is_unmapped(world: World) -> None:
    guest = world.guest.id
    world.guest.destroy()
    assert world.guest.info.dying
    world.backend.close()
    assert guest not in [domain.id for domain in world.machine.domains()]


def test_strangers_get_nothing(world: World, xen_machine: Machine) -> None:
    stranger = xen_machine.create_domain()
    connection = world.frontend.connection
    with pytest.raises(GrantError):
        stranger.hypercall.grant_table_op.map_grant_ref(
            host_addr=stranger.alloc_page(),
            flags=GrantMap.host_map,
            ref=connection.ring_ref,
            dom=connection.domid,
        )
    with pytest.raises(OSError, match="EINVAL"):
        stranger.hypercall.event_channel_op.bind_interdomain(
            remote_dom=connection.domid, remote_port=connection.port
        )
