"""The breaker on a clock that tests wind: it opens, probes, and closes again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.channels.rules import Breaker, State
from gateway.domain import limits

MIN, PROBES = limits.BREAKER_CALLS_MIN, limits.BREAKER_PROBES
PAUSE = limits.BREAKER_PAUSE_SECONDS_MIN


def called(breaker: Breaker, now: float, *, well: bool | None, times: int = 1) -> None:
    for _ in range(times):
        assert breaker.admits(now)
        is_probe = breaker.begin()
        breaker.end(is_probe=is_probe, is_well=well, now=now)


def opened(now: float = 0.0) -> Breaker:
    breaker = Breaker()
    called(breaker, now, well=False, times=MIN)
    assert breaker.state(now) is State.OPEN
    return breaker


def test_few_failures_or_failures_among_many_do_not_open_it() -> None:
    breaker = Breaker()
    called(breaker, 0.0, well=False, times=MIN - 1)
    assert breaker.state(0.0) is State.CLOSED
    called(breaker, 0.0, well=True, times=MIN + 1)
    called(breaker, 0.0, well=False)
    assert breaker.state(0.0) is State.CLOSED


def test_old_failures_are_forgotten() -> None:
    breaker = Breaker()
    called(breaker, 0.0, well=False, times=MIN - 1)
    called(breaker, 2 * limits.BREAKER_WINDOW_SECONDS, well=False)
    assert breaker.state(10.0) is State.CLOSED
    assert breaker.recent() == (1, 1)


def test_failures_of_the_window_before_count() -> None:
    breaker = Breaker()
    called(breaker, 0.0, well=False, times=MIN - 1)
    called(breaker, limits.BREAKER_WINDOW_SECONDS, well=False)
    assert breaker.state(limits.BREAKER_WINDOW_SECONDS) is State.OPEN


def test_open_it_lets_nothing_through_until_its_pause_is_over() -> None:
    breaker = opened()
    assert not breaker.admits(PAUSE / 2)
    assert breaker.wait_seconds(PAUSE / 2) == PAUSE / 2
    assert breaker.state(PAUSE) is State.HALF_OPEN
    assert breaker.wait_seconds(PAUSE) == 0


def test_half_open_it_lets_a_few_through_and_closes_when_they_succeed() -> None:
    breaker = opened()
    assert [breaker.begin() for _ in range(PROBES)] == [True] * PROBES
    assert not breaker.admits(PAUSE)
    for _ in range(PROBES):
        breaker.end(is_probe=True, is_well=True, now=PAUSE)
    assert breaker.state(PAUSE) is State.CLOSED
    assert breaker.recent() == (0, 0)


def test_a_probe_that_fails_opens_it_for_twice_as_long() -> None:
    breaker, now = opened(), 0.0
    for pause in (1, 2, 4, 8, 15, 15, 15):
        assert breaker.wait_seconds(now) == pause
        now += pause
        called(breaker, now, well=False)
        assert breaker.state(now) is State.OPEN


def test_a_probe_that_was_never_made_makes_room_for_another() -> None:
    breaker = opened()
    called(breaker, PAUSE, well=None, times=3 * PROBES)
    assert breaker.state(PAUSE) is State.HALF_OPEN


def test_calls_from_before_say_nothing_while_it_is_open() -> None:
    breaker = opened()
    breaker.end(is_probe=False, is_well=True, now=0.0)
    breaker.end(is_probe=False, is_well=False, now=PAUSE)
    assert breaker.state(PAUSE) is State.HALF_OPEN


@given(st.lists(st.tuples(st.sampled_from([True, False, None]), st.floats(0, 3)), max_size=300))
def test_whatever_happened_a_channel_that_serves_again_is_found_out(
    happened: list[tuple[bool | None, float]],
) -> None:
    breaker, now = Breaker(), 0.0
    for well, pause in happened:
        now += pause
        if breaker.admits(now):
            is_probe = breaker.begin()
            breaker.end(is_probe=is_probe, is_well=well, now=now)
    now += limits.BREAKER_PAUSE_SECONDS_MAX
    called(breaker, now, well=True, times=PROBES)
    assert breaker.state(now) is State.CLOSED


@pytest.mark.parametrize("is_well", [True, False, None])
def test_probes_never_outnumber_their_bound(*, is_well: bool | None) -> None:
    breaker = opened()
    under_way = 0
    while breaker.admits(PAUSE):
        assert breaker.begin()
        under_way += 1
    assert under_way == PROBES
    breaker.end(is_probe=True, is_well=is_well, now=PAUSE)
    assert breaker.admits(PAUSE) is (is_well is not False)
