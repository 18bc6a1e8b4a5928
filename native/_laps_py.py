"""Tells how long each step took, in plain Python: the specification of `_laps_c`.

The watch belongs to the running task's context, so that no step has to pass it on.
"""

from bisect import bisect_left
from collections.abc import Sequence
from contextvars import ContextVar
from itertools import pairwise
from math import inf
from time import perf_counter
from typing import Final

# Of so many bounds a histogram is kept.
BOUNDS_MAX: Final = 32


class Buckets:
    """Observations under a name, counted by the lowest bound that is no less, and their sum.

    Bounds rise, and the last is infinite; anything else is a ValueError.
    """

    __slots__ = ("_bounds", "_counts", "_total", "name")

    def __init__(self, name: str, bounds: Sequence[float]) -> None:
        rise = all(lower < upper for lower, upper in pairwise(bounds))
        if not 0 < len(bounds) <= BOUNDS_MAX or not rise or bounds[-1] != inf:
            raise ValueError("bounds rise, and the last is infinite")
        self.name = name
        self._bounds = [*map(float, bounds)]
        self._counts = [0] * len(bounds)
        self._total = 0.0

    def observe(self, value: float) -> None:
        """Count one observation."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._total += value

    def taken(self) -> tuple[list[int], float]:
        """Give the counts by bound and the sum since the last time, and begin anew."""
        counts, total = self._counts, self._total
        self._counts, self._total = [0] * len(counts), 0.0
        return counts, total


class Stopwatch:
    """What was taken since the start; the laps are kept when somebody wants to be told."""

    __slots__ = ("_began", "_last", "laps")

    def __init__(self, *, keeps_laps: bool = False) -> None:
        self._began = self._last = perf_counter()
        self.laps: list[tuple[str, float]] | None = [] if keeps_laps else None

    def seconds(self) -> float:
        """Since the start."""
        return perf_counter() - self._began

    def end(self, step: Buckets) -> None:
        """Say that a step has ended: it began when the one before it ended."""
        now = perf_counter()
        seconds = now - self._last
        self._last = now
        step.observe(seconds)
        if self.laps is not None:
            self.laps.append((step.name, seconds))


_running: Final[ContextVar[Stopwatch | None]] = ContextVar("stopwatch", default=None)


def start(*, keeps_laps: bool = False) -> Stopwatch:
    """Start the watch of what this task serves from now on."""
    watch = Stopwatch(keeps_laps=keeps_laps)
    _running.set(watch)
    return watch


def lap(step: Buckets) -> None:
    """Say that a step has ended; where no watch runs it is not told."""
    watch = _running.get()
    if watch is not None:
        watch.end(step)
