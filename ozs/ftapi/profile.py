"""An author's profile by name: what is to be done to a new wrapper.

`FILE.py:NAME` or `package.module:NAME` is a function of a Wrapper, `LIBRARY.so:NAME` a function
`int NAME(struct wr *w)`; it may use all of ftapi.h.
"""

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cffi import FFI

from ozs.ftapi.binding import ffi
from ozs.ftapi.objects import checked
from ozs.ftapi.wrapper import Wrapper

Profile = Callable[[Wrapper], Any]


def load_profile(text: str, port: int) -> Wrapper:
    """A wrapper of that port with the handlers of the profile. ValueError: there is none of that
    name; what the profile raises, or OSError of what it returns, comes through."""
    path, _, name = text.rpartition(":")
    if not path or not name.isidentifier():
        raise ValueError(f"not FILE.py:NAME, MODULE:NAME or LIBRARY.so:NAME: {text!r}")
    profile = (_in_c if path.endswith(".so") else _in_python)(path, name)
    wrapper = Wrapper(port)
    profile(wrapper)
    return wrapper


def _in_c(path: str, name: str) -> Profile:
    own = FFI()
    own.include(ffi)
    own.cdef(f"int {name}(struct wr *w);")
    try:
        library = own.dlopen(str(Path(path).resolve()), os.RTLD_NOW)
        function = getattr(library, name)
    except (OSError, AttributeError) as error:
        raise ValueError(f"can't load the profile {path}:{name}: {error}") from None

    def profile(wrapper: Wrapper) -> None:
        wrapper.keep(library)
        checked(function(wrapper.c))

    return profile


def _in_python(path: str, name: str) -> Profile:
    try:
        module = _module_of_file(path) if path.endswith(".py") else importlib.import_module(path)
        profile = getattr(module, name)
    except (OSError, ImportError, AttributeError) as error:
        raise ValueError(f"can't load the profile {path}:{name}: {error}") from error
    if not callable(profile):
        raise ValueError(f"{path}:{name} is not a function of a Wrapper")
    return profile  # type: ignore[no-any-return]


def _module_of_file(path: str) -> Any:
    file = Path(path).resolve()
    spec = importlib.util.spec_from_file_location(f"profile_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module
