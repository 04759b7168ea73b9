"""The command line."""

import xenemu.cli.sweep  # noqa: F401 - adds its command
from xenemu.cli.app import main

__all__ = ["main"]
