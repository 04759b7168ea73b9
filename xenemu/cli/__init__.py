"""The command line."""

from xenemu.cli import timeline
from xenemu.cli.app import main

__all__ = ["main", "timeline"]
