"""Which channels could serve: by method and currency, in the order of configuration."""

import pytest

from gateway.routing.rules import Candidate, eligible, objection

CARDS = Candidate("cards", 1, frozenset({"card"}), frozenset({"CNY", "USD"}))
CODES = Candidate("codes", 2, frozenset({"qr"}), frozenset({"CNY"}))
ALL = Candidate("all", 3, frozenset({"card", "qr"}), None)


@pytest.mark.parametrize(
    ("method", "currency", "able"),
    [
        ("card", "CNY", [CARDS, ALL]),
        ("qr", "CNY", [CODES, ALL]),
        ("card", "EUR", [ALL]),
        ("cash", "CNY", []),
    ],
)
def test_who_could_serve(method: str, currency: str, able: list[Candidate]) -> None:
    assert eligible([CARDS, CODES, ALL], method, currency) == able


@pytest.mark.parametrize(
    ("candidate", "method", "currency", "word"),
    [
        (CARDS, "card", "USD", None),
        (CARDS, "qr", "USD", "method"),
        (CARDS, "card", "EUR", "currency"),
        (ALL, "qr", "KWD", None),
    ],
)
def test_why_a_channel_cannot(
    candidate: Candidate, method: str, currency: str, word: str | None
) -> None:
    assert objection(candidate, method, currency) == word
