"""Times what measuring costs one payment: its watch, eight laps, and the count at the end."""

from collections.abc import Callable

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram
from pytest_benchmark.fixture import BenchmarkFixture

from gateway.drivers import stopwatch, telemetry
from gateway.drivers.stopwatch import lap
from gateway.flow import steps

STEPS = [
    *(steps.VERIFY, steps.MATCH, steps.CLAIM, steps.ROUTE),
    *(steps.OPEN, steps.ASK, steps.POST, steps.SETTLE),
]
REGISTRY = CollectorRegistry()
SECONDS = Histogram("seconds", "As ours", ["step"], registry=REGISTRY)
COUNT = Counter("requests", "As ours", ["operation", "status"], registry=REGISTRY)


def ours() -> Callable[[], None]:
    def measure() -> None:
        watch = stopwatch.start()
        for step in STEPS:
            lap(step)
        telemetry.count_request("POST payments", 201, watch.seconds())

    return measure


def theirs() -> Callable[[], None]:
    """What each step would cost if Prometheus' own objects were asked at once, in memory."""

    def measure() -> None:
        watch = stopwatch.Stopwatch()
        for step in STEPS:
            SECONDS.labels(step.name).observe(watch.seconds())
        COUNT.labels("POST payments", 201).inc()

    return measure


RIVALS = {"plain integers": ours, "prometheus_client": theirs}


@pytest.mark.benchmark(group="measure one payment")
@pytest.mark.parametrize("rival", RIVALS)
def test_measure(benchmark: BenchmarkFixture, rival: str) -> None:
    measure = RIVALS[rival]()
    telemetry.hand_over()
    for name, count in (("first", 1), ("again", 2)):
        measure()
        telemetry.hand_over()
        told = telemetry.exposition(None).decode()
        if rival == "plain integers":
            assert f'floodgate_step_seconds_count{{step="settle"}} {count}.0' in told, name
    benchmark(measure)
