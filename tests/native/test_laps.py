"""Watch and counts: the compiled ones tell what their specification tells."""

import asyncio
from collections.abc import Sequence
from contextvars import Context
from math import inf, nan
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from native import _laps_c, _laps_py

BOTH = pytest.mark.parametrize("laps", [_laps_c, _laps_py])
BOUNDS = st.lists(
    st.floats(allow_nan=False, allow_infinity=False),
    max_size=_laps_py.BOUNDS_MAX - 1,
    unique=True,
).map(lambda bounds: [*sorted(bounds), inf])


@given(BOUNDS, st.lists(st.floats()))
def test_the_twins_count_the_same(bounds: list[float], values: list[float]) -> None:
    # What lies on a bound counts as no more than it, so bounds are observed as well.
    tallies = [made.Buckets("seconds", bounds) for made in (_laps_c, _laps_py)]
    for value in values + bounds:
        for tally in tallies:
            tally.observe(value)
    (counts, total), expected = (tally.taken() for tally in tallies)
    assert counts == expected[0]
    assert repr(total) == repr(expected[1])
    assert sum(counts) == len(values) + len(bounds)
    assert [tally.taken() for tally in tallies] == [([0] * len(bounds), 0.0)] * 2


@BOTH
@pytest.mark.parametrize(
    "bounds",
    [
        *([], [1.0], [2.0, 1.0, inf], [1.0, 1.0, inf], [inf, inf], [nan, inf], [nan], [inf, 1.0]),
        [*map(float, range(_laps_py.BOUNDS_MAX)), inf],
    ],
)
def test_bounds_rise_and_the_last_is_infinite(laps: ModuleType, bounds: Sequence[float]) -> None:
    with pytest.raises(ValueError, match="bounds rise, and the last is infinite"):
        laps.Buckets("seconds", bounds)


@BOTH
def test_what_is_no_number_is_not_counted(laps: ModuleType) -> None:
    tally = laps.Buckets("seconds", [1, 2, inf])
    with pytest.raises(TypeError):
        tally.observe("1")
    tally.observe(2)
    assert tally.taken() == ([0, 1, 0], 2.0)


@BOTH
@pytest.mark.parametrize("step", [None, "step"])
def test_what_is_no_step_ends_with_an_error(laps: ModuleType, step: object) -> None:
    with pytest.raises((TypeError, AttributeError)):
        laps.Stopwatch().end(step)


@BOTH
async def test_each_step_is_counted_and_told_by_the_watch_of_what_is_served(
    laps: ModuleType,
) -> None:
    first, second = (laps.Buckets(name, [0.001, inf]) for name in ("first", "second"))
    watch = laps.start(keeps_laps=True)
    await asyncio.sleep(0.002)
    laps.lap(first)

    async def beside() -> None:
        inner = laps.start(keeps_laps=True)
        laps.lap(second)
        assert [name for name, _ in inner.laps] == ["second"]

    await asyncio.gather(beside(), beside())
    laps.lap(second)
    assert [name for name, _ in watch.laps] == ["first", "second"]
    assert sum(seconds for _, seconds in watch.laps) <= watch.seconds()
    assert first.taken() == ([0, 1], watch.laps[0][1])
    assert sum(second.taken()[0]) == 3
    laps.start()
    laps.lap(first)
    assert len(watch.laps) == 2, "the watch that runs is another"


@BOTH
def test_where_no_watch_runs_nothing_is_counted(laps: ModuleType) -> None:
    tally = laps.Buckets("seconds", [inf])
    Context().run(laps.lap, tally)
    assert tally.taken() == ([0], 0.0)
