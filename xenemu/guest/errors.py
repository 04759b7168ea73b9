"""How a command of a guest says an errno."""

from __future__ import annotations

import errno


def failure(error: OSError) -> str:
    """One line: the errno's name, and what it is about."""
    return f"{errno.errorcode.get(error.errno or 0, 'error')}: {error.strerror or error}"
