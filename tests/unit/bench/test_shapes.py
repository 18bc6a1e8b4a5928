"""The schedule of a load run: how many arrivals, when, and whose they are."""

import itertools

import pytest

from bench.load.shapes import SHAPES, Leg, arrivals, legs_of, seconds_of, share


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_lasts_as_long_as_it_was_asked_to(shape: str) -> None:
    legs = legs_of(shape, peak=300, seconds=40)
    assert seconds_of(legs) == pytest.approx(40)
    due = list(arrivals(legs))
    assert due == sorted(due)
    assert 0 <= due[0] <= due[-1] < 40
    expected = sum(leg.arrivals for leg in legs)
    assert len(due) == pytest.approx(expected, rel=0.1)


def test_a_spike_is_twenty_times_the_quiet_within_a_second() -> None:
    quiet, rise, held, after = legs_of("spike", peak=400, seconds=30)
    assert quiet.first == quiet.last == after.first == after.last == 20
    assert rise.first * 20 == rise.last == held.first == held.last == 400
    assert rise.seconds < 1


def test_stairs_rise_evenly_and_a_soak_not_at_all() -> None:
    assert [leg.first for leg in legs_of("steps", peak=60, seconds=6)] == [10, 20, 30, 40, 50, 60]
    (soak,) = legs_of("soak", peak=60, seconds=6)
    assert soak.first == soak.last == 60


def test_arrivals_follow_the_rate_of_each_leg() -> None:
    legs = (Leg(10, 0, 200), Leg(10, 200, 200))
    due = list(arrivals(legs, seed=7))
    rising = [at for at in due if at < 10]
    assert len(rising) == pytest.approx(1000, rel=0.15)
    # A rate that rises evenly has a quarter of its arrivals in the first half.
    assert sum(at < 5 for at in rising) == pytest.approx(250, rel=0.25)
    assert len(due) - len(rising) == pytest.approx(2000, rel=0.1)


def test_the_same_seed_gives_the_same_schedule() -> None:
    legs = legs_of("spike", peak=50, seconds=10)
    assert list(arrivals(legs, 3)) == list(arrivals(legs, 3))
    assert list(arrivals(legs, 3)) != list(arrivals(legs, 4))


def test_processes_share_one_schedule_without_a_gap_or_an_overlap() -> None:
    legs = legs_of("steps", peak=50, seconds=10)
    whole = list(enumerate(arrivals(legs, 5)))
    parts = [list(share(arrivals(legs, 5), part=part, parts=3)) for part in range(3)]
    assert sorted(itertools.chain(*parts)) == whole
