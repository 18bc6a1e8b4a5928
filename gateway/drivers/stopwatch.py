"""How long each step of a request takes: a call after each, on a watch of the request's own."""

from gateway.drivers.telemetry import STEP_SECONDS, Tally
from native.laps import Stopwatch, lap, start

__all__ = ["Step", "Stopwatch", "lap", "lap_all", "start", "told"]


class Step(Tally):
    """A step by its name, as `/metrics` and `Server-Timing` show it."""

    __slots__ = ()

    def __init__(self, name: str) -> None:
        super().__init__(name, STEP_SECONDS.labels(name))


def lap_all(step: Step, watch: Stopwatch, times: int) -> None:
    """Say that a step has ended which was taken for so many together since the watch began."""
    seconds = watch.seconds()
    for _ in range(times):
        step.observe(seconds)


def told(watch: Stopwatch) -> str:
    """Write the laps and the whole as a `Server-Timing` header: W3C, durations in ms."""
    laps = [*(watch.laps or ()), ("total", watch.seconds())]
    return ", ".join(f"{name};dur={seconds * 1000:.3f}" for name, seconds in laps)
