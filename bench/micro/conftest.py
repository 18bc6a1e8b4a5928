"""Says, after the microbenchmarks, how many times the compiled code's time each rival takes."""

from itertools import groupby
from operator import attrgetter

import pytest


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the medians of every group, in nanoseconds, beside the one called `compiled`."""
    session = config._benchmarksession  # type: ignore[attr-defined]  # the plugin has no other way
    measured = [bench for bench in session.benchmarks if bench.stats and bench.group]
    if not measured:
        return
    terminalreporter.section("medians, and times the compiled code's")
    for group, benches in groupby(sorted(measured, key=attrgetter("group")), attrgetter("group")):
        medians = {bench.params["rival"]: bench.stats.median * 1e9 for bench in benches}
        terminalreporter.write_line(group)
        for rival, median in sorted(medians.items(), key=lambda row: row[1]):
            ratio = median / medians["compiled"] if "compiled" in medians else float("nan")
            terminalreporter.write_line(f"  {rival:<24} {median:>12,.0f} ns {ratio:>8.1f} x")
