"""What a coroutine without an event loop waits for: one answer, given by a callback."""

from collections.abc import Callable, Generator


class Wait:
    """Awaited once; the first answer or failure counts, also one that came before."""

    def __init__(self, resume: Callable[[], None]) -> None:
        """`resume` has the coroutine's `send` called, from outside it."""
        self.over = False
        self._resume = resume
        self._waiting = False
        self._value = 0
        self._error: Exception | None = None

    def answer(self, value: int = 0) -> None:
        """It is over."""
        if not self.over:
            self._value = value
            self._end()

    def fail(self, error: Exception) -> None:
        """It is over: `error` is raised where it is awaited."""
        if not self.over:
            self._error = error
            self._end()

    def _end(self) -> None:
        self.over = True
        if self._waiting:
            self._resume()

    def __await__(self) -> Generator[None, None, int]:
        if not self.over:
            self._waiting = True
            yield
        if self._error is not None:
            raise self._error
        return self._value
