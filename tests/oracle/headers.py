"""Structs of C headers: their fields (by pycparser), where those lie (by the compiler and cffi).

A field's name is its path, `u.unbound.dom`; an array is one field, and so is a guest handle.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cffi
from pycparser import c_ast, c_parser  # type: ignore[import-untyped]

XEN_INCLUDE = Path("/usr/include/xen")
XEN_HEADERS = (
    "xen callback domctl event_channel features grant_table memory nmi physdev platform sched "
    "sysctl vcpu version"
).split()
XEN_SOURCE = "#define __XEN_TOOLS__ 1\n#include <stdint.h>\n#include <stddef.h>\n" + "".join(
    f"#include <xen/{name}.h>\n" for name in XEN_HEADERS
)
HANDLE = "__guest_handle_"  # names of the types of guest handles begin like this
# What pycparser does not read.
PLAIN = {
    "__attribute__(x)": "",
    "__extension__": "",
    "__float128": "double",
    "__alignof__(x)": "8",
    "_Static_assert(...)": "",
}


@dataclass(frozen=True, slots=True)
class Field:
    """Where a field lies in its struct, in bytes; `plain`: neither an array nor a handle."""

    offset: int
    size: int
    plain: bool


@dataclass(frozen=True, slots=True)
class Struct:
    size: int
    fields: Mapping[str, Field]


class Headers:
    """The structs that a source text defines, and their fields."""

    def __init__(self, source: str, include: Sequence[Path] = ()) -> None:
        self.source = source
        self.include = [str(path) for path in include]
        self.structs: dict[str, c_ast.Struct] = {}
        self.typedefs: dict[str, c_ast.Node] = {}
        for node in self.parse().ext:
            if isinstance(node, c_ast.Typedef):
                self.typedefs[node.name] = node.type
            self.collect(node)

    def parse(self) -> c_ast.FileAST:
        defines = [f"-D{name}={value}" for name, value in PLAIN.items()]
        paths = [f"-I{path}" for path in self.include]
        command = ["gcc", "-std=gnu11", "-E", "-P", *defines, *paths, "-xc", "-"]
        done = subprocess.run(
            command, input=self.source, capture_output=True, text=True, check=True
        )
        return c_parser.CParser().parse(done.stdout)

    def collect(self, node: c_ast.Node) -> None:
        for _, child in node.children():
            if isinstance(child, c_ast.Struct) and child.name and child.decls:
                self.structs[child.name] = child
            self.collect(child)

    def members(self, node: c_ast.Node) -> list[c_ast.Decl] | None:
        """Of a struct or union, through typedefs; None: it is something else."""
        while isinstance(node, c_ast.TypeDecl):
            node = node.type
        if isinstance(node, c_ast.IdentifierType) and node.names[0] in self.typedefs:
            return self.members(self.typedefs[node.names[0]])
        if not isinstance(node, c_ast.Struct | c_ast.Union):
            return None
        if node.decls is None and node.name in self.structs:
            node = self.structs[node.name]
        return list(node.decls or ())

    def is_handle(self, node: c_ast.Node) -> bool:
        inner = node.type if isinstance(node, c_ast.TypeDecl) else node
        return isinstance(inner, c_ast.IdentifierType) and inner.names[0].startswith(HANDLE)

    def paths(self, members: list[c_ast.Decl], above: str = "") -> dict[str, bool]:
        """Path of each field that is no struct or union; whether it is plain."""
        found: dict[str, bool] = {}
        for decl in members:
            name = f"{above}{decl.name}" if decl.name else above.removesuffix(".")
            inner = self.members(decl.type)
            if self.is_handle(decl.type):
                found[name] = False
            elif inner is not None:
                found |= self.paths(inner, f"{name}." if name else "")
            elif not decl.bitsize and not is_open(decl.type):
                found[name] = not isinstance(decl.type, c_ast.ArrayDecl)
        return found

    def measure(self, names: Sequence[str]) -> dict[str, Struct]:
        """Sizes and offsets, by the compiler."""
        paths = {name: self.paths(list(self.structs[name].decls)) for name in names}
        numbers = iter(self.numbers(self.expressions(paths)))
        measured = {}
        for name, fields in paths.items():
            size = next(numbers)
            at = {f: Field(next(numbers), next(numbers), plain) for f, plain in fields.items()}
            measured[name] = Struct(size, at)
        return measured

    def expressions(self, paths: Mapping[str, Mapping[str, bool]]) -> list[str]:
        out = []
        for name, fields in paths.items():
            out.append(f"sizeof(struct {name})")
            for field in fields:
                out.append(f"offsetof(struct {name}, {field})")
                out.append(f"sizeof(((struct {name} *)0)->{field})")
        return out

    def numbers(self, expressions: Sequence[str]) -> list[int]:
        ffi = cffi.FFI()
        n = len(expressions)
        ffi.cdef(f"extern const unsigned layout[{n}];")
        table = f"const unsigned layout[{n}] = {{ {', '.join(expressions)} }};"
        ffi.set_source("layout", self.source + table, include_dirs=self.include)
        with tempfile.TemporaryDirectory() as scratch:
            library = ffi.compile(tmpdir=scratch)
            return list(load(library))


def is_open(node: c_ast.Node) -> bool:
    """An array of no length, at the end of a struct."""
    return isinstance(node, c_ast.ArrayDecl) and node.dim is None


def load(library: str) -> list[int]:
    from importlib.machinery import ExtensionFileLoader
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("layout", library, loader=ExtensionFileLoader("layout", library))
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return list(module.lib.layout)
