"""Private modules are loaded from their sources, past bytecode that may be stale.

Bytecode files are trusted by the source's time in whole seconds and its size; a service that is
upgraded twice within a second would run the version before. So no bytecode file of a private
module is read or written; what was compiled is kept as long as the source stays the same.

Processes that share a dict of sources run the same version: what one has read is not read again
from a disk that may have changed. Left out: modules that nobody imported before the change.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType
from typing import Any

from xenemu.guest import _current

_compiled: dict[str, tuple[bytes, CodeType]] = {}  # by path: source, code


class FreshLoader(SourceFileLoader):
    """Loads a module's source as it is, or was when its version was loaded first."""

    def get_data(self, path: str) -> bytes:
        """The file's bytes. OSError."""
        process = _current.process
        if process is None:
            return super().get_data(path)
        if path not in process.sources:
            process.sources[path] = super().get_data(path)
        return process.sources[path]

    def get_code(self, fullname: str) -> CodeType:
        """Compiles, unless this very source was compiled before."""
        source = self.get_data(self.path)
        known = _compiled.get(self.path)
        if known is not None and known[0] == source:
            return known[1]
        code: CodeType = self.source_to_code(source, self.path)
        _compiled[self.path] = (source, code)
        return code


class FreshFinder:
    """Finds the private modules of the process that runs; nothing else."""

    @classmethod
    def find_spec(
        cls, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module's place, with a FreshLoader for a source file."""
        process = _current.process
        if process is None or not process.is_private(name):
            return None
        spec = PathFinder.find_spec(name, path, target)
        loader: Any = None if spec is None else spec.loader
        if spec is not None and type(loader) is SourceFileLoader:
            spec.loader = FreshLoader(loader.name, loader.path)
        return spec


def spec_of_file(name: str, path: str) -> ModuleSpec | None:
    """A module of its own file."""
    return importlib.util.spec_from_file_location(name, path, loader=FreshLoader(name, path))


sys.meta_path.insert(0, FreshFinder)
