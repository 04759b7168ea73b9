"""`ffi` and `lib`: the FT API of csrc/net/ftapi.h, as that header declares it.

The declarations are taken from the header itself, the functions from the extension that the
machine runs on: the same code in the same process. Left out of the header: the preprocessor's
lines but for plain numbers.
"""

import os
import re
from pathlib import Path
from typing import Any

from cffi import FFI

from xenemu.guest import extension_path, include_dir

_DIRECTIVE = re.compile(r"^[ \t]*#(?:\\\n|.)*$", re.MULTILINE)
_NUMBER = re.compile(r"#define[ \t]+\w+[ \t]+(?:0x[0-9a-fA-F]+|\d+)")
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)


def declarations(header: str) -> str:
    """What cffi is to read of the header's text."""

    def kept(directive: re.Match[str]) -> str:
        number = _NUMBER.fullmatch(directive[0].strip())
        return number[0] if number else ""

    return re.sub(r"\bFT_API\s", "", _DIRECTIVE.sub(kept, _COMMENT.sub(" ", header)))


def _open() -> tuple[FFI, Any]:
    ffi = FFI()
    path = Path(include_dir()) / "ftapi.h"
    ffi.cdef(declarations(path.read_text(encoding="utf-8")))
    # Made global: a profile in C, loaded later, finds the operations by name.
    return ffi, ffi.dlopen(extension_path(), os.RTLD_NOW | os.RTLD_GLOBAL)


ffi, lib = _open()

WR_ALL = 2**64 - 1
