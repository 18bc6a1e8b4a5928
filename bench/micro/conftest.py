"""Servers for the microbenchmarks, and what is said after them: rivals, and the budget's table."""

import asyncio
from collections.abc import Callable, Iterator
from itertools import groupby
from operator import attrgetter
from typing import Any

import pytest
import uvloop
from pytest_benchmark.fixture import BenchmarkFixture

from bench.budget import BUDGET_US, PIPELINE_US, calibration
from bench.micro.stage import Urls, servers
from gateway.drivers import interpreter

Timed = Callable[..., None]


@pytest.fixture(scope="session")
def urls() -> Iterator[Urls]:
    with servers() as urls:
        yield urls


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    """The loop of a module; what it awaits, it awaits as the workers do."""
    interpreter.settle()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        yield runner


@pytest.fixture
def per_item(benchmark: BenchmarkFixture) -> Timed:
    """Time a function that serves so many items each time; the summary divides."""

    def timed(
        serve: Callable[[], Any], *, items: int, step: str | None = None, rounds: int = 15
    ) -> None:
        benchmark.extra_info |= {"items": items} | ({"step": step} if step else {})
        benchmark.pedantic(serve, rounds=rounds, warmup_rounds=2)  # type: ignore[no-untyped-call]

    return timed


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print what was measured: per item, beside its rivals, beside its budget."""
    session = config._benchmarksession  # type: ignore[attr-defined]  # the plugin has no other way
    measured = [bench for bench in session.benchmarks if bench.stats]
    if measured:
        _show_rivals(terminalreporter, measured)
        _show_items(terminalreporter, measured)
        _show_budget(terminalreporter, measured)


def _show_rivals(reporter: pytest.TerminalReporter, measured: list[Any]) -> None:
    rivals = [bench for bench in measured if bench.group and "rival" in (bench.params or {})]
    if not rivals:
        return
    reporter.section("medians, and times the compiled code's")
    for group, benches in groupby(sorted(rivals, key=attrgetter("group")), attrgetter("group")):
        medians = {bench.params["rival"]: bench.stats.median * 1e9 for bench in benches}
        ours = medians.get("compiled", min(medians.values()))
        reporter.write_line(group)
        for rival, median in sorted(medians.items(), key=lambda row: row[1]):
            reporter.write_line(f"  {rival:<24} {median:>12,.0f} ns {median / ours:>8.1f} x")


def microseconds(bench: Any) -> float:
    """Give the median for one item."""
    return float(bench.stats.median * 1e6 / bench.extra_info.get("items", 1))


def _show_items(reporter: pytest.TerminalReporter, measured: list[Any]) -> None:
    each = [bench for bench in measured if "items" in bench.extra_info]
    if not each:
        return
    reporter.section("one of many: medians")
    for bench in each:
        reporter.write_line(f"  {bench.name:<56} {microseconds(bench):>9.1f} us")


def _show_budget(reporter: pytest.TerminalReporter, measured: list[Any]) -> None:
    found = {
        bench.extra_info["step"]: microseconds(bench)
        for bench in measured
        if "step" in bench.extra_info
    }
    if not found:
        return
    scale = calibration()
    reporter.section(f"budget of a payment in CPU us, scaled by {scale:.2f} for this machine now")
    reporter.write_line(f"  {'step':<20} {'budget':>8} {'scaled':>8} {'measured':>9}")
    for step, budget in {**BUDGET_US, "pipeline": PIPELINE_US}.items():
        said = f"{found[step]:>9.1f}" if step in found else f"{'-':>9}"
        over = "  over" if found.get(step, 0.0) > budget * scale else ""
        reporter.write_line(f"  {step:<20} {budget:>8.0f} {budget * scale:>8.0f} {said}{over}")
