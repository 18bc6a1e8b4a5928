"""How a payment begins of which nobody has to be asked: open, and with its first change; pure."""

from msgspec import Struct

from gateway.domain.stages import Drawn, Routed
from gateway.ledger.rules import Change, consequence


class Begun(Struct, frozen=True, gc=False):
    """A new payment with the first change that is durable together with it; it moves no money."""

    routed: Routed
    change: Change


def begun(drawn: Drawn) -> Begun:
    """Work out how such a payment begins: as the same answer would leave it a commit later."""
    opened, outcome, at = drawn.answered.opened, drawn.answered.outcome, drawn.answered.at
    change = consequence(opened.standing, opened.attempt, outcome, at=at)
    assert change is not None, "nobody knew of it before"
    assert change.journal is None, "the payer has something to do yet"
    return Begun(drawn.routed, change)
