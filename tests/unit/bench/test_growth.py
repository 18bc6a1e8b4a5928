"""What was paid beside stored payments is held beside the acquirer's books all the same."""

import pytest

from bench.load.growth import against

OURS = {"a": 100, "b": 200}


def test_books_that_agree_are_held_against_nobody() -> None:
    assert list(against(2, OURS, dict(OURS))) == []
    assert list(against(1, OURS, dict(OURS))) == [], "one was made whose answer was lost"


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        ({"a": 100}, "1 stand otherwise in the acquirer's books, b"),
        (OURS | {"c": 1}, "1 stand otherwise in the acquirer's books, c"),
        (OURS | {"a": 101}, "1 stand otherwise in the acquirer's books, a"),
    ],
)
def test_what_one_of_both_does_not_have_is_named(theirs: dict[str, int], words: str) -> None:
    (offence,) = against(2, OURS, theirs)
    assert words in offence


def test_what_was_answered_and_is_not_kept_is_lost() -> None:
    assert list(against(3, OURS, dict(OURS))) == ["3 were paid, 2 are kept"]
