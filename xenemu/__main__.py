"""python -m xenemu."""

from xenemu.cli import main

if __name__ == "__main__":
    main()
