"""An emulated Xen host on which a TCP service outlives its crash."""

__version__ = "0.1.0"
