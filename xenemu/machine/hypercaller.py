"""The callable that makes hypercalls, to be derived from. Needs the built extension."""

from xenemu._core._machine import Hypercaller

__all__ = ["Hypercaller"]
