"""The command line."""

from xenemu.cli import crash as _crash  # registers its command
from xenemu.cli.app import main

__all__ = ["main"]

del _crash
