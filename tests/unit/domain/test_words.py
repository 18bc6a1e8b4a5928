"""A word is an enumeration in all that `enum` and msgspec ask of one; it is only quicker."""

import msgspec
import pytest

from gateway.domain.words import Word


class Colour(Word):
    RED = "red"
    GREEN = "green"


def test_a_word_tells_its_value_and_is_found_by_it() -> None:
    assert [(each.name, each.value) for each in Colour] == [("RED", "red"), ("GREEN", "green")]
    assert Colour("green") is Colour.GREEN
    with pytest.raises(ValueError, match="blue"):
        Colour("blue")
    with pytest.raises(AttributeError):
        Colour.RED.value = "blue"  # type: ignore[misc]


def test_each_member_is_a_key_of_its_own() -> None:
    assert {Colour.RED: 1, Colour.GREEN: 2}[Colour("red")] == 1


def test_it_is_written_and_read_as_its_value() -> None:
    written = msgspec.json.encode([Colour.RED])
    assert written == b'["red"]'
    assert msgspec.json.decode(written, type=list[Colour]) == [Colour.RED]
