"""An emulated Xen host: for code against its hypercalls, and for a TCP service that outlives its
crash."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xenemu.xen import Domain, GrantError, HypercallError, Machine

__version__ = "0.1.0"
__all__ = ["Domain", "GrantError", "HypercallError", "Machine", "__version__"]


def __getattr__(name: str) -> object:
    """Of xenemu.xen, when asked for: the command line starts without it."""
    if name in __all__:
        from xenemu import xen

        return getattr(xen, name)
    raise AttributeError(f"module 'xenemu' has no attribute {name!r}")
