"""When to ask again: soon at first, then ever more seldom, never more than the jitter allows."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain import limits
from gateway.domain.recovery import next_query_at, silence_ends_at
from unit.nouns import NOON


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
