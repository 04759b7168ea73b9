"""Runs `xenemu` on another build of the core: with_core.py LIBRARY ARGUMENTS..."""

import importlib.util
import sys

NAME = "xenemu._core._machine"


def main() -> None:
    library, *arguments = sys.argv[1:]
    spec = importlib.util.spec_from_file_location(NAME, library)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = module
    spec.loader.exec_module(module)
    sys.argv = ["xenemu", *arguments]
    from xenemu.cli import main as xenemu

    xenemu()


if __name__ == "__main__":
    main()
