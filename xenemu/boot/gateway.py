"""The gateway: the host on the LAN that leads to the real network, and back."""

from xenemu.boot.config import GATEWAY_IP, SERVICE_IP, BootConfig
from xenemu.boot.names import HostNames
from xenemu.machine import HostNode, Machine

LOCALHOST = 0x7F000001
SOCKS = 4096  # half of them, connections at a time


class Gateway:
    """`ports`: real port of each guest port that is forwarded; `names`: None in virtual time and
    where guests are not to get out."""

    def __init__(self, machine: Machine, config: BootConfig) -> None:
        """Opens the ways. Raises OSError, that names the port that can't be had."""
        socks = SOCKS if config.real else 0
        self.node: HostNode = machine.add_host(GATEWAY_IP, seed=config.seed, max_socks=socks)
        self.ports: dict[int, int] = {}
        self.names: HostNames | None = None
        if not config.real:
            return
        core = machine.core
        for forward in config.all_forwards:
            try:
                real = core.forward(
                    self.node.id, LOCALHOST, forward.host_port, SERVICE_IP, forward.guest_port
                )
            except OSError as error:
                reason = f"port {forward.host_port} of 127.0.0.1: {error.strerror}"
                raise OSError(error.errno, reason) from None
            self.ports.setdefault(forward.guest_port, real)
        if config.outward:
            core.route(self.node.id)
            self.names = HostNames(machine)

    def close(self) -> None:
        """No name is looked up any more. Idempotent."""
        if self.names is not None:
            self.names.close()
