"""When a channel that fails is left alone, and how it is found out that it serves again."""

import enum
from typing import Final

from gateway.channels.port import Verb
from gateway.domain import limits
from gateway.domain.words import Word


class Lane(Word):
    """Calls that must not stand in each other's way; each lane has its own bounds and breaker."""

    CREATE = "create"
    FINISH = "finish"
    QUERY = "query"
    REFUND = "refund"


LANE_OF: Final = {
    Verb.CREATE: Lane.CREATE,
    Verb.CAPTURE: Lane.FINISH,
    Verb.CLOSE: Lane.FINISH,
    Verb.QUERY: Lane.QUERY,
    Verb.QUERY_REFUND: Lane.QUERY,
    Verb.REFUND: Lane.REFUND,
}


class State(enum.Enum):
    """What a breaker does with the next call, in the order in which it gets worse."""

    CLOSED = "closed"
    HALF_OPEN = "half_open"
    OPEN = "open"


class Breaker:
    """Stops calls to a channel of which half or more fail, then lets few through as probes.

    Failed is what got no answer or an answer that speaks of the channel's own trouble; a decline is
    a good answer.  Counted is the window that runs and the one before it.  Open it lets nothing
    through for a pause, which doubles with every probe that fails; half open it lets a few probes
    through at a time, and closes when as many have succeeded.  A call that is stopped was never
    sent, so stopping it says nothing about money.  Seconds are those of a monotonic clock.
    """

    __slots__ = (
        *("_began", "_calls", "_failed", "_past_calls", "_past_failed"),
        *("_opened", "_probes", "_until", "_well"),
    )

    def __init__(self) -> None:
        self._began = 0.0
        self._calls = self._failed = self._past_calls = self._past_failed = 0
        self._opened = 0  # how many times in a row; 0 is closed
        self._until = 0.0
        self._probes = self._well = 0

    @property
    def is_closed(self) -> bool:
        """Tell whether it lets every call through, whatever the time."""
        return self._opened == 0

    def state(self, now: float) -> State:
        """Say what it does now."""
        if self.is_closed:
            return State.CLOSED
        return State.OPEN if now < self._until else State.HALF_OPEN

    def admits(self, now: float) -> bool:
        """Tell whether one more call may be made."""
        if not self._opened:
            return True
        return now >= self._until and self._probes < limits.BREAKER_PROBES

    def wait_seconds(self, now: float) -> float:
        """Say how long it stays open; 0 when it does not."""
        return max(0.0, self._until - now) if self._opened else 0.0

    def begin(self) -> bool:
        """Note that a call begins; gives whether it is a probe, which `end` wants to hear."""
        if not self._opened:
            return False
        self._probes += 1
        return True

    def end(self, *, is_probe: bool, is_well: bool | None, now: float) -> None:
        """Note how a call ended; None when in the end it was not made."""
        if is_probe:
            self._end_probe(is_well=is_well, now=now)
        elif is_well is not None and not self._opened:
            if now - self._began >= limits.BREAKER_WINDOW_SECONDS:
                self._turn(now)
            self._calls += 1
            if not is_well:
                self._fail(now)

    def recent(self) -> tuple[int, int]:
        """Give the calls that are counted, and how many of them failed."""
        return self._calls + self._past_calls, self._failed + self._past_failed

    def _end_probe(self, *, is_well: bool | None, now: float) -> None:
        self._probes -= 1
        if is_well is None or self.state(now) is not State.HALF_OPEN:
            return
        if not is_well:
            self._open(now)
            return
        self._well += 1
        if self._well >= limits.BREAKER_PROBES:
            self._opened = 0
            self._forget(now)

    def _fail(self, now: float) -> None:
        """Count one that failed among the calls, which may be one too many."""
        self._failed += 1
        calls, failed = self.recent()
        if calls >= limits.BREAKER_CALLS_MIN and failed >= limits.BREAKER_FAILED_SHARE * calls:
            self._open(now)

    def _turn(self, now: float) -> None:
        """Let the window go on, which is over."""
        if now - self._began >= 2 * limits.BREAKER_WINDOW_SECONDS:
            self._forget(now)
        else:
            self._past_calls, self._past_failed = self._calls, self._failed
            self._calls = self._failed = 0
            self._began += limits.BREAKER_WINDOW_SECONDS

    def _forget(self, now: float) -> None:
        self._calls = self._failed = self._past_calls = self._past_failed = 0
        self._began = now

    def _open(self, now: float) -> None:
        pause = limits.BREAKER_PAUSE_SECONDS_MIN * 2**self._opened
        self._until = now + min(pause, limits.BREAKER_PAUSE_SECONDS_MAX)
        self._opened = min(self._opened + 1, limits.BREAKER_DOUBLINGS_MAX)
        self._well = 0
