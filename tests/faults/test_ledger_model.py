"""The ledger's rules against an oracle of dicts: thousands of random lives, no process needed."""

import random
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from msgspec.structs import replace

from gateway.domain.outcome import Outcome, Verdict
from gateway.domain.payment import CardMethod, Payment, Standing
from gateway.domain.posting import Journal, JournalKind
from gateway.domain.stages import Attempt
from gateway.ledger import rules
from gateway.ledger.chart import FEES, account_of
from tests.faults.dict_ledger import COMMISSION_BPS, DictLedger

LIVES_PER_SEED: Final = 250
_CAPTURES: Final = (JournalKind.CAPTURE, JournalKind.LATE_SUCCESS)
_NOON: Final = datetime(2026, 5, 1, 12, tzinfo=UTC)
_EXPIRY: Final = _NOON + timedelta(minutes=1)
_HEX: Final = "019dd3b9d20070008000000700000010"


class Books:
    """The rules with what they need around them: the rows, as the statements would change them."""

    def __init__(self, amount: int) -> None:
        payment = Payment(
            id=f"pay_{_HEX}",
            merchant=f"mer_{_HEX}",
            reference="order 1",
            amount=amount,
            currency="CNY",
            method=CardMethod("tok_ok"),
            channel="simulator",
            created_at=_NOON,
            updated_at=_NOON,
            expires_at=_EXPIRY,
        )
        self.standing = Standing(
            payment=payment, merchant=7, version=0, capture=True, commission_bps=COMMISSION_BPS
        )
        self.attempt = Attempt(
            id=f"att_{_HEX}",
            payment_id=payment.id,
            merchant=7,
            channel="simulator",
            amount=amount,
            currency="CNY",
            expires_at=_EXPIRY,
        )
        self.balances: dict[str, int] = defaultdict(int)

    def post(self, change: rules.Change | None) -> bool:
        """Post a change if there is one, and tell so."""
        if change is None:
            return False
        assert change.standing.version == self.standing.version + 1
        known, told = self.attempt.channel_transaction, change.outcome.channel_transaction
        is_booked = change.journal is not None and change.journal.kind in _CAPTURES
        known = (told or known) if is_booked else (known or told)
        held = change.standing.payment.status.value == "requires_capture"
        self.standing, self.attempt = (
            change.standing,
            replace(
                change.attempt,
                channel_transaction=known,
                capture_amount=None if held else change.attempt.capture_amount,
            ),
        )
        if change.journal is not None:
            self._book(change.journal)
        return True

    def _book(self, journal: Journal) -> None:
        for transfer in journal.transfers:
            self.balances[_name(transfer.debit)] += transfer.amount
            self.balances[_name(transfer.credit)] -= transfer.amount

    def view(self) -> tuple[object, ...]:
        payment = self.standing.payment
        certainty = payment.certainty.value if payment.certainty is not None else None
        return (
            payment.status.value,
            certainty,
            payment.amount_captured,
            payment.fee,
            self.attempt.capture_amount,
            _moved(self.balances),
        )


def _name(number: int) -> str:
    account = account_of(number)
    return f"{int(account.code)}{' fees' if account.sub == FEES else ''}"


def _moved(balances: Mapping[str, int]) -> dict[str, int]:
    return {name: balance for name, balance in balances.items() if balance}


def _view(oracle: DictLedger) -> tuple[object, ...]:
    return (
        oracle.status,
        oracle.certainty,
        oracle.captured,
        oracle.fee,
        oracle.asked,
        _moved(oracle.balances),
    )


def _live(chance: random.Random) -> list[str]:
    """Live one random life in both ledgers; gives what happened, for whoever has to look at it."""
    amount = chance.choice((1, 83, 84, 1999, 10_000, chance.randrange(1, 10**9)))
    books, oracle, past = Books(amount), DictLedger(amount), [f"amount {amount}"]
    for _ in range(chance.randrange(1, 14)):
        at = chance.choice((_NOON, _EXPIRY))
        match chance.choice(("hear",) * 8 + ("capture", "cancel", "adopt")):
            case "hear":
                returned = chance.randrange(12) == 0
                verdict = Verdict.CLOSED if returned else chance.choice(list(Verdict))
                said = chance.choice((None, amount, amount, books.attempt.expected, amount + 1))
                number = chance.choice((None, "T1", "T1", "T2", "T3"))
                word = "returned" if returned else verdict.value
                past.append(f"{word} of {said} as {number} at {at:%M:%S}")
                outcome = Outcome(
                    verdict, number, None if returned else said, "CNY", returned=returned
                )
                change = rules.consequence(books.standing, books.attempt, outcome, at=at)
                same = books.post(change) == oracle.hear(word, said, number, is_over=at >= _EXPIRY)
                books.attempt = replace(books.attempt, returned=oracle.was_returned)
            case "capture":
                part = chance.choice((1, amount, amount + 1, max(1, amount // 3)))
                past.append(f"capture {part}")
                change = rules.begin_capture(books.standing, books.attempt, part, at)
                same = books.post(change) == oracle.capture(part)
            case "cancel":
                past.append("cancel")
                oracle.cancel()
                books.attempt = replace(books.attempt, cancel_wished=oracle.wants_cancel)
                same = True
            case _:
                past.append("adopt")
                change = rules.adopt(books.standing, books.attempt, at)
                same = books.post(change) == oracle.adopt()
        story = "\n".join(past)
        assert same, f"one of the two saw news in the last event:\n{story}"
        assert books.view() == _view(oracle), f"they differ after:\n{story}"
        assert sum(oracle.balances.values()) == sum(books.balances.values()) == 0
    return past


@pytest.mark.parametrize("seed", range(20))
def test_the_rules_agree_with_the_oracle(seed: int) -> None:
    chance = random.Random(seed)
    lives = [_live(chance) for _ in range(LIVES_PER_SEED)]
    assert len(lives) == LIVES_PER_SEED
