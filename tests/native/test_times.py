"""The clock: the compiled one tells what its specification tells."""

from datetime import UTC, date, datetime, timedelta, timezone
from types import ModuleType

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from native import _times_c, _times_py

BOTH = pytest.mark.parametrize("times", [_times_c, _times_py])
ZONES = st.just(UTC) | st.integers(-1439, 1439).map(lambda m: timezone(timedelta(minutes=m)))
# From the year 68 to the year 9892.
TIMES = st.integers(-60_000_000_000_000_000, 250_000_000_000_000_000).map(
    lambda microseconds: _times_py.EPOCH + timedelta(microseconds=microseconds)
)


@BOTH
def test_it_is_now_in_utc(times: ModuleType) -> None:
    before = datetime.now(UTC)
    now = times.now()
    assert before <= now <= datetime.now(UTC)
    assert now.tzinfo is UTC
    assert type(now) is datetime


@given(st.builds(datetime.astimezone, TIMES, ZONES))
@example(datetime(1970, 1, 1, tzinfo=UTC))
@example(datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC))
@example(datetime(2028, 2, 29, 12, tzinfo=UTC))
def test_the_twins_count_the_same_milliseconds(at: datetime) -> None:
    count = _times_c.milliseconds(at)
    assert count == _times_py.milliseconds(at)
    since = timedelta(milliseconds=count)
    assert timedelta() <= at - (_times_py.EPOCH + since) < _times_py.MILLISECOND


def test_the_day_that_was_asked_about_is_not_taken_for_today() -> None:
    for days in (-400, 0, 1, 31, 365, 0):
        there = datetime.now(UTC) + timedelta(days=days)
        assert _times_c.milliseconds(there) == _times_py.milliseconds(there)
        assert datetime.now(UTC) - _times_c.now() < timedelta(days=1)
        assert _times_c.now() - datetime.now(UTC) < timedelta(days=1)


@BOTH
@pytest.mark.parametrize("at", [_times_py.EPOCH.replace(tzinfo=None), date(2026, 1, 1), 1.5, None])
def test_only_a_time_with_a_zone_is_counted(times: ModuleType, at: object) -> None:
    with pytest.raises(TypeError):
        times.milliseconds(at)
