"""The command line."""

from xenemu.cli import crash, timeline  # they register their commands
from xenemu.cli.app import main

__all__ = ["crash", "main", "timeline"]
