"""The command line."""

from xenemu.cli import crash, sweep, timeline, upgrade  # they register their commands
from xenemu.cli.app import main

__all__ = ["crash", "main", "sweep", "timeline", "upgrade"]
