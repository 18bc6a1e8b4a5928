"""How long each step of a request takes: one call after each step, on a watch of the request's own.

The watch belongs to the running task's context, so that no step has to pass it on.
"""

from bisect import bisect_left
from contextvars import ContextVar
from time import perf_counter
from typing import Final

from gateway.drivers.telemetry import STEP_SECONDS, Tally


class Step(Tally):
    """A step by its name, as `/metrics` and `Server-Timing` show it."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        super().__init__(STEP_SECONDS.labels(name))
        self.name = name


class Stopwatch:
    """What was taken since the start; the laps are kept when somebody wants to be told."""

    __slots__ = ("began", "laps", "last")

    def __init__(self, *, keeps_laps: bool = False) -> None:
        self.began = self.last = perf_counter()
        self.laps: list[tuple[str, float]] | None = [] if keeps_laps else None

    def seconds(self) -> float:
        """Since the start."""
        return perf_counter() - self.began

    def told(self) -> str:
        """Write the laps and the whole as a `Server-Timing` header: W3C, durations in ms."""
        laps = [*(self.laps or ()), ("total", self.seconds())]
        return ", ".join(f"{name};dur={seconds * 1000:.3f}" for name, seconds in laps)


_running: Final[ContextVar[Stopwatch | None]] = ContextVar("stopwatch", default=None)


def start(*, keeps_laps: bool = False) -> Stopwatch:
    """Start the watch of what this task serves from now on."""
    watch = Stopwatch(keeps_laps=keeps_laps)
    _running.set(watch)
    return watch


def lap(step: Step) -> None:
    """Say that a step has ended: it began when the one before it ended."""
    watch = _running.get()
    if watch is None:
        return
    now = perf_counter()
    seconds = now - watch.last
    watch.last = now
    # What `observe` does, without the call: this is done nine times for every payment.
    step.counts[bisect_left(step.bounds, seconds)] += 1
    step.total += seconds
    if watch.laps is not None:
        watch.laps.append((step.name, seconds))
