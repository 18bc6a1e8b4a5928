"""What the numbers on a load run's command line may be; argparse says what is wrong with others."""

import argparse
import math

# A shape has to rise, hold and fall.
_SECONDS_MIN = 1.0


def above_zero(text: str) -> float:
    """Read a rate, or how many times another it is."""
    number = _number(text)
    if number <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number


def run_seconds(text: str) -> float:
    """Read how long arrivals come."""
    number = _number(text)
    if number < _SECONDS_MIN:
        raise argparse.ArgumentTypeError(f"a run lasts {_SECONDS_MIN:g} second at least")
    return number


def one_or_more(text: str) -> int:
    """Read how many there shall be."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return int(text)


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"{text} is no number")
    return number
