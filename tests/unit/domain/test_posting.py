"""Journals: a transfer has two sides and an amount, so what does not balance cannot be built."""

import pytest

from gateway.domain import identity
from gateway.domain.posting import Journal, JournalKind, Transfer

CAUSE = identity.mint("att", 7, 0)


@pytest.mark.parametrize(("debit", "credit", "amount"), [(1, 2, 0), (1, 2, -5), (1, 1, 5)])
def test_a_transfer_moves_something_between_two_accounts(
    debit: int, credit: int, amount: int
) -> None:
    with pytest.raises(ValueError, match="positive amount between two accounts"):
        Transfer(debit, credit, amount)


@pytest.mark.parametrize("kind", JournalKind)
def test_a_journal_is_named_after_its_cause(kind: JournalKind) -> None:
    journal = Journal(kind, CAUSE, "CNY", (Transfer(1, 2, 5),))
    assert journal.uuid == identity.journal_uuid(CAUSE, kind)
    assert int(journal.uuid[-1], 16) == kind


def test_every_kind_fits_in_one_hex_digit() -> None:
    assert all(0 < kind < 16 for kind in JournalKind)
