"""When a house has recovered from a flood, as the overload run reads it."""

import pytest

from bench.load.histogram import Histogram
from bench.load.overload import AFTER_SECONDS, Told, recovered

GOOD_MS, BAD_MS = 50, 500


def after(halves: str) -> Told:
    """Give what was heard in half seconds: good (g), bad (b), or nothing at all (-)."""
    told = Told()
    for at, half in enumerate(halves):
        if half != "-":
            told.slices[at] = Histogram()
            told.slices[at].record((GOOD_MS if half == "g" else BAD_MS) * 1000)
    return told


@pytest.mark.parametrize(
    ("halves", "seconds"),
    [
        ("gggg", 0.0),
        ("bbbggg", 1.5),
        ("bgbbgg", 2.0),  # half a second between bad ones is no recovery
        ("--ggg", 1.0),  # nor is it when nobody is answered
        ("gggggb", 0.0),  # what comes later comes in calm hours, too
        ("bbbb", AFTER_SECONDS),
        ("bbbg", AFTER_SECONDS),
        ("", AFTER_SECONDS),  # nobody was answered at all
    ],
)
def test_recovered_is_when_the_first_good_second_begins(halves: str, seconds: float) -> None:
    assert recovered(after(halves), 2.0 * GOOD_MS) == seconds
