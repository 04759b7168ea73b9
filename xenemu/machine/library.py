"""Where the compiled core lies, and its header: for other code that binds to it."""

from pathlib import Path


def extension_path() -> str:
    """The extension's file. ImportError when it was not built."""
    from xenemu._core import _machine

    return str(_machine.__file__)


def include_dir() -> str:
    """The directory of ftapi.h, for the compiler."""
    return str(Path(__file__).parents[1] / "include")
