"""What a guest kernel raises besides OSError."""


class ProcessKilled(SystemExit):
    """Unwinds the step of a process that was killed inside one of its own calls.

    A SystemExit, because asyncio lets only that (and KeyboardInterrupt) leave an iteration
    at once: no other callback of the dead process runs.
    """
