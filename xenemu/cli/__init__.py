"""The command line."""

# They register their commands.
from xenemu.cli import crash, diagnosis, sweep, timeline, trace, upgrade
from xenemu.cli.app import main

__all__ = ["crash", "diagnosis", "main", "sweep", "timeline", "trace", "upgrade"]
