"""Times the calibration loop, by which every other benchmark is divided before it is compared."""

import time

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.budget import calibrate


@pytest.mark.benchmark(timer=time.process_time)
def test_calibration(benchmark: BenchmarkFixture) -> None:
    assert calibrate() == calibrate()
    benchmark.pedantic(calibrate, rounds=200, warmup_rounds=20)  # type: ignore[no-untyped-call]
