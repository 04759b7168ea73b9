"""The command line."""

from xenemu.cli.app import main

__all__ = ["main"]
