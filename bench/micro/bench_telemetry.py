"""Times what measuring costs one payment: its watch, nine laps, and the count at the end."""

from collections.abc import Callable

import prometheus_client
import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram
from pytest_benchmark.fixture import BenchmarkFixture

from gateway.drivers import stopwatch, telemetry
from gateway.drivers.stopwatch import lap
from gateway.flow import steps

STEPS = [
    *(steps.VERIFY, steps.ADMIT, steps.MATCH, steps.CLAIM, steps.ROUTE),
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
    registry = REGISTRY if rival == "prometheus_client" else prometheus_client.REGISTRY
    name = "seconds" if rival == "prometheus_client" else "floodgate_step_seconds"

    def settled() -> float:
        telemetry.hand_over()
        return registry.get_sample_value(f"{name}_count", {"step": "settle"}) or 0.0

    before = settled()
    measure()
    assert settled() == before + 1
    benchmark(measure)
