"""The shapes of a load run: how many arrivals a second, and when each of them is due.

An open model: arrivals come on a schedule that knows nothing of the answers, as people do who know
nothing of each other.  The gaps are random (exponential) but the same seed gives the same schedule,
so that several processes can share one: process `part` of `parts` takes every `parts`-th arrival.
"""

import math
import random
from collections.abc import Iterator
from itertools import islice

from msgspec import Struct

SHAPES = ("steps", "spike", "soak", "retry_storm")
_STEPS = 6
_QUIET_SHARE = 1 / 20
_RISE_SECONDS = 0.5


class Leg(Struct, frozen=True):
    """A stretch of time over which the rate moves evenly from `first` to `last` a second."""

    seconds: float
    first: float
    last: float

    @property
    def arrivals(self) -> float:
        """How many arrivals are expected."""
        return self.seconds * (self.first + self.last) / 2


def legs_of(shape: str, *, peak: float, seconds: float) -> tuple[Leg, ...]:
    """Give the legs of a shape whose highest rate is `peak`; KeyError for an unknown name."""
    quiet = peak * _QUIET_SHARE
    held = seconds - _RISE_SECONDS
    return {
        # Six stairs: where does it begin to bend?
        "steps": tuple(
            Leg(seconds / _STEPS, peak * step / _STEPS, peak * step / _STEPS)
            for step in range(1, _STEPS + 1)
        ),
        # The flash sale: quiet, twenty times that within a second, quiet again.
        "spike": (
            Leg(held * 0.2, quiet, quiet),
            Leg(_RISE_SECONDS, quiet, peak),
            Leg(held * 0.5, peak, peak),
            Leg(held * 0.3, quiet, quiet),
        ),
        # The same all the time: does anything grow?
        "soak": (Leg(seconds, peak, peak),),
        # A wave of clients who lose their patience and ask again with the same key.
        "retry_storm": (
            Leg(seconds * 0.2, quiet, quiet),
            Leg(seconds * 0.6, peak, peak),
            Leg(seconds * 0.2, quiet, quiet),
        ),
    }[shape]


def arrivals(legs: tuple[Leg, ...], seed: int = 0) -> Iterator[float]:
    """Give the seconds from the start at which arrivals are due, in order.

    A Poisson process: between two arrivals lies an exponential share of expected arrivals.
    """
    drawn = random.Random(seed)
    begun = 0.0
    due = drawn.expovariate(1)
    for leg in legs:
        while due < leg.arrivals:
            yield begun + _seconds_until(due, leg)
            due += drawn.expovariate(1)
        due -= leg.arrivals
        begun += leg.seconds


def _seconds_until(count: float, leg: Leg) -> float:
    """Say after how many seconds of a leg so many arrivals are expected."""
    slope = (leg.last - leg.first) / leg.seconds
    if math.isclose(slope, 0):
        return count / leg.first
    return (math.sqrt(leg.first**2 + 2 * slope * count) - leg.first) / slope


def share(due: Iterator[float], *, part: int, parts: int) -> Iterator[tuple[int, float]]:
    """Give (number, seconds) of the arrivals that fall to one process of several."""
    return islice(enumerate(due), part, None, parts)


def seconds_of(legs: tuple[Leg, ...]) -> float:
    """How long a schedule lasts."""
    return sum(leg.seconds for leg in legs)
