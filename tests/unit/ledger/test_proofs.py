"""Proof (g): the acquirer's books beside ours, while both sides may still be at work."""

import pytest

from gateway.ledger.proofs import Booking, Moved, compare, read_books

# Their books before and after we read ours, ours, and what must be said: against us, or a note.
# `p 100` is a payment of 100, `r` a refund, `v` what a close gave back; a question mark is what may
# still change, two of them what is unknown.
CASES = """
before       | ours         | afterwards   | against | notes | why
             |              |              | 0       | 0     | nothing happened
p1 100       | p1 100       | p1 100       | 0       | 0     | the same
p1 100 r1 40 | p1 100 r1 40 | p1 100 r1 40 | 0       | 0     | the same with a refund
p1 100       |              | p1 100       | 1       | 0     | money we know nothing of
r1 40        |              | r1 40        | 1       | 0     | a refund we know nothing of
p1 100       | p1 0         | p1 100       | 1       | 0     | money we said had failed
p1 100       | p1 0?        | p1 100       | 0       | 1     | money we are still asking about
p1 100       | p1 90        | p1 100       | 1       | 0     | another amount
p1 100 p1 100| p1 100       | p1 100       | 1       | 0     | taken twice
             | p1 100       |              | 1       | 0     | money that they never took
             | r1 40        |              | 1       | 0     | a refund that they never made
             | p1 100       | p1 100       | 0       | 0     | taken while we were reading
             | p1 0?        |              | 0       | 0     | an attempt that never arrived
             | p1 0??       |              | 0       | 1     | an attempt of which nobody knows
p1 100       | p1 0??       | p1 100       | 0       | 1     | money of which we do not know
             | p1 0         |              | 0       | 0     | a decline
p1 100       | p1 100       |              | 1       | 0     | money they no longer have
p1 1 p2 2    | p2 2 p1 1    | p1 1 p2 2    | 0       | 0     | in another order
p1:a 5 p1:b 7| p1 12        | p1:a 5 p1:b 7| 0      | 1     | paid by two transactions
p1:a 5 p1:b 7| p1 5         | p1:a 5 p1:b 7| 1      | 1     | paid again, and we do not know
p1:a 5       | p1 12        | p1:a 5 p1:b 7| 0      | 0     | paid again while we were reading
p1 1 p2 2    | p1 2 p2 1    | p1 1 p2 2    | 2       | 0     | swapped
p1:a 5 v1:b 5| p1 0         | p1:a 5 v1:b 5| 0       | 0     | given back by a close
p1:a 5 v1:b 5| p1 5         | p1:a 5 v1:b 5| 1       | 0     | given back, and we do not know
p1:a 5       | p1 0         | p1:a 5 v1:b 5| 0       | 0     | given back while we were reading
"""
KINDS = {"p": "payment", "v": "reversal"}
ROWS = [[cell.strip() for cell in line.split("|")] for line in CASES.strip().splitlines()[1:]]


def theirs(cell: str) -> list[Booking]:
    words = cell.split()
    return [
        Booking(KINDS[number[0]], f"p{number[1]}", int(amount), transaction=number[3:])
        if number[0] in KINDS
        else Booking("refund", "p1", int(amount), number)
        for number, amount in zip(words[::2], words[1::2], strict=True)
    ]


def ours(cell: str) -> dict[str, Moved]:
    words = cell.split()
    return {
        number: Moved(
            int(amount.rstrip("?")), open=amount.endswith("?"), unknown=amount.endswith("??")
        )
        for number, amount in zip(words[::2], words[1::2], strict=True)
    }


@pytest.mark.parametrize(
    ("before", "mine", "afterwards", "against", "notes"),
    [row[:5] for row in ROWS],
    ids=[row[5] for row in ROWS],
)
def test_their_books_beside_ours(
    before: str, mine: str, afterwards: str, against: str, notes: str
) -> None:
    proof = compare(theirs(before), ours(mine), theirs(afterwards))
    assert (len(proof.counterexamples), len(proof.notes)) == (int(against), int(notes))
    assert proof.holds == (against == "0")
    assert proof.examined == len(theirs(before))


def test_a_flood_of_counterexamples_is_cut_short_but_not_forgiven() -> None:
    proof = compare([Booking("payment", f"p{n}", 1) for n in range(1000)], {}, [])
    assert not proof.holds
    assert 0 < len(proof.counterexamples) < 1000


def test_books_are_read_line_by_line() -> None:
    lines = b'{"kind":"payment","number":"p1","amount":100,"more":1}\n\n'
    lines += b'{"kind":"refund","number":"p1","amount":40,"refund_number":"r1"}\n'
    payment, refund = read_books(lines)
    assert (payment.ours, payment.amount) == ("p1", 100)
    assert (refund.ours, refund.amount) == ("r1", 40)
