"""Deadlines by the hundred: one timer for all of them, at most a tenth of a second late.

Nearly every deadline is put up and taken down again without ever being met; a timer of the loop for
each costs more than all else that is done about it.
"""

import asyncio
from collections.abc import Hashable
from threading import get_ident
from types import TracebackType
from typing import Final, Protocol, Self

_TICK_SECONDS: Final = 0.1


class Bell(Hashable, Protocol):
    """What wants to hear that its time is over."""

    def ring(self) -> None:
        """Hear it; nothing may be raised."""
        ...


class Wheel:
    """The deadlines of one loop, by the tick in which they are due."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._thread = get_ident()
        self._due: dict[int, set[Bell]] = {}
        self._next: int | None = None
        # Tasks whose time is over, with how often each is cancelled then.
        self.late: dict[asyncio.Task[object], int] = {}

    def is_here(self) -> bool:
        """Tell whether its loop is the one that runs here.

        Nothing else may run in its thread while it does; asyncio would ask the system each time
        whether the process is still the same.
        """
        return self.loop.is_running() and self._thread == get_ident()

    def put(self, bell: Bell, when: float) -> int:
        """Have it rung at this time of the loop, or a little later; gives the tick to `take` it."""
        tick = int(when / _TICK_SECONDS) + 1
        bells = self._due.get(tick)
        if bells is None:
            bells = self._due[tick] = set()
            self._turn()
        bells.add(bell)
        return tick

    def take(self, bell: Bell, tick: int) -> None:
        """Take a bell away, whether it has rung or not."""
        bells = self._due.get(tick)
        if bells is not None:
            bells.discard(bell)

    def _turn(self) -> None:
        """See to it that the wheel turns for the first tick that there is."""
        first = min(self._due)
        if self._next is None or first < self._next:
            self._next = first
            self.loop.call_at(first * _TICK_SECONDS, self._ring, first)

    def _ring(self, tick: int) -> None:
        if tick != self._next:
            return  # an earlier tick was put in later, and has seen to this one
        self._next = None
        bells = self._due.pop(tick)
        if self._due:
            self._turn()
        # Last: whatever a bell does, the wheel turns on.
        for bell in bells:
            bell.ring()


def wheel() -> Wheel:
    """Give the wheel of the running loop."""
    global _wheel  # noqa: PLW0603 - a process has one loop; tests have one after the other
    if _wheel is None or not _wheel.is_here():
        _wheel = Wheel(asyncio.get_running_loop())
    return _wheel


_wheel: Wheel | None = None


def is_over() -> bool:
    """Tell whether the running task is cancelled only because the time of a block is over.

    Who knows what to answer all the same may do so in that block, but soon: it is not cut again.
    """
    task = asyncio.current_task()
    return task is not None and wheel().late.get(task) == task.cancelling()


class within:  # noqa: N801 - it is read like `asyncio.timeout`
    """Cancels the running task when a block takes longer, and raises `TimeoutError` then.

    As `asyncio.timeout` does it: who is cancelled for another reason, too, stays cancelled.
    """

    __slots__ = ("_cancelling", "_is_late", "_seconds", "_task", "_tick", "_wheel")

    _task: asyncio.Task[object]

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._is_late = False

    def __enter__(self) -> Self:
        self._wheel = turning = wheel()
        task = asyncio.current_task(turning.loop)
        assert task is not None, "only a task can be cancelled"
        self._task, self._cancelling = task, task.cancelling()
        self._tick = turning.put(self, turning.loop.time() + self._seconds)
        return self

    def ring(self) -> None:
        """Cancel the task."""
        self._is_late = True
        self._wheel.late[self._task] = self._cancelling + 1
        self._task.cancel()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._wheel.take(self, self._tick)
        if self._is_late:
            self._wheel.late.pop(self._task, None)
        is_ours = self._is_late and self._task.uncancel() <= self._cancelling
        if is_ours and kind is not None and issubclass(kind, asyncio.CancelledError):
            raise TimeoutError from error
