"""What xenemu.xen takes of the extension; importing this needs it to be built."""

from xenemu._core._machine import Hypercaller
from xenemu._core._machine import Machine as Core

__all__ = ["Core", "Hypercaller"]
