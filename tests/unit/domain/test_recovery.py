"""When to ask again: soon at first, then ever more seldom, never more than the jitter allows."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain import limits
from gateway.domain.recovery import check_at, next_query_at, pace_of, silence_ends_at
from tests.unit.nouns import NOON


@pytest.mark.parametrize(
    ("queries_made", "seconds"),
    [(0, 1), (1, 2), (2, 5), (3, 10), (4, 30), (9, 1800), (10, 3600), (11, 3600), (1000, 3600)],
)
def test_the_waits(queries_made: int, seconds: int) -> None:
    assert next_query_at(NOON, queries_made, 0) == NOON + timedelta(seconds=seconds)


def test_the_waits_grow() -> None:
    waits = limits.QUERY_WAIT_SECONDS
    assert list(waits) == sorted(set(waits))


@given(st.integers(0, 20), st.floats(-1, 1))
def test_jitter_stays_within_its_share(queries_made: int, jitter: float) -> None:
    plain = next_query_at(NOON, queries_made, 0) - NOON
    asked = next_query_at(NOON, queries_made, jitter) - NOON
    assert abs(asked - plain) <= plain * limits.QUERY_JITTER_SHARE + timedelta(microseconds=1)
    assert asked > timedelta(0)


def test_an_attempt_without_an_answer_is_asked_about_when_its_worker_must_be_dead() -> None:
    waited = (silence_ends_at(NOON) - NOON).total_seconds()
    assert waited > limits.CHANNEL_ANSWER_SECONDS


def test_money_is_looked_for_three_times_after_the_end() -> None:
    looks, at = [], NOON
    while (look := check_at(NOON, at)) is not None:
        looks.append((look - NOON).total_seconds())
        at = look
    assert looks == [300, 3600, 86_400]


@given(st.integers(limits.QUERIES_PER_SECOND_MIN, 5000))
def test_a_pace_is_below_what_its_channel_allows_in_any_second(allowed: int) -> None:
    """Also in a second that begins after a quiet time, and if every asking takes two queries."""
    pace = pace_of(allowed)
    askings = (1_000_000 + pace.burst_us) // pace.slot_us
    assert 1 <= askings * limits.ASKING_QUERIES_MAX <= allowed
    assert pace.burst_us >= pace.slot_us, "there is room for one"


def test_a_channel_that_is_hardly_ever_asked_is_refused() -> None:
    with pytest.raises(ValueError, match="10 times a second"):
        pace_of(limits.QUERIES_PER_SECOND_MIN - 1)
