"""The command line."""

from xenemu.cli import crash, diagnosis, sweep, timeline, upgrade  # they register their commands
from xenemu.cli.app import main

__all__ = ["crash", "diagnosis", "main", "sweep", "timeline", "upgrade"]
