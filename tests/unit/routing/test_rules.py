"""Which channels could serve: by method and currency, in the order of configuration."""

import pytest
from msgspec.structs import replace

from gateway.routing.rules import Candidate, Wish, eligible, objection

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
    assert eligible([CARDS, CODES, ALL], Wish(method, currency)) == able


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
    assert objection(candidate, Wish(method, currency)) == word


def test_load_tests_and_trade_never_meet_where_money_moves() -> None:
    trade, load_test = Wish("card", "CNY"), Wish("card", "CNY", load_test=True)
    bank = ALL
    play = replace(ALL, for_trade=False, for_load_tests=True)
    play_in_development = replace(ALL, for_load_tests=True)
    channels = [bank, play, play_in_development]
    assert eligible(channels, trade) == [bank, play_in_development]
    assert eligible(channels, load_test) == [play, play_in_development]
    assert objection(bank, load_test) == objection(play, trade) == "purpose"
