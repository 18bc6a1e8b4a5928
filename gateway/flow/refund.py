"""Money goes back: reserve it, ask the channel under one number for ever, post what it said."""

from datetime import datetime
from typing import Final

from msgspec.structs import replace

from gateway.domain.errors import Problem, Unavailable
from gateway.domain.identity import is_id, public
from gateway.domain.outcome import Outcome, Verdict
from gateway.domain.payment import Certainty, Standing
from gateway.domain.refund import CreateRefund, Refund
from gateway.domain.stages import (
    Answer,
    Claimed,
    Heard,
    Matched,
    ReferenceTaken,
    RefundAnswered,
    RefundOpened,
    RefundPosted,
)
from gateway.flow import query
from gateway.flow.away import unless_away
from gateway.flow.desk import Desk
from gateway.ledger.codec import encode
from gateway.ledger.refund_rules import refundable

CREATED = 201

_NOT_DONE: Final = frozenset({Verdict.NOT_FOUND, Verdict.FAILED, Verdict.CLOSED})


async def refund(claimed: Claimed, desk: Desk) -> Answer:
    """Give back a part or all of a payment; what is not known at the end is `processing`."""
    opened = await _open(claimed, desk)
    if isinstance(opened, Answer):
        return opened
    posted = await unless_away(_give_back(opened, desk))
    if posted is None:
        await desk.idempotency.release(claimed)
        unknown = replace(opened.standing.refund, certainty=Certainty.UNKNOWN)
        return Answer(CREATED, encode(unknown))
    return await desk.idempotency.settle(claimed, Answer(CREATED, posted.body))


async def _give_back(opened: RefundOpened, desk: Desk) -> RefundPosted:
    return await post_refund(await desk.channels.refund(opened), desk)


async def _open(claimed: Claimed, desk: Desk) -> RefundOpened | Answer:
    """Reserve the amount; concurrent refunds of a payment queue up for what is left."""
    merchant, payment_id = claimed.merchant.number, query.payment_id_of(claimed.matched)
    refund_id = desk.clock.mint("re", merchant)
    while True:
        payment = await desk.ledger.opened(merchant, payment_id)
        wished = _wished(claimed, payment.standing, refund_id, claimed.at)
        if isinstance(wished, Problem):
            return await _heard_or_refused(claimed, wished, desk)
        opened = await desk.refunds.open(claimed.use, wished, payment.attempt)
        if isinstance(opened, RefundOpened):
            return opened
        if isinstance(opened, ReferenceTaken):
            raise _reference_exists(public("re", opened.resource))
        if isinstance(opened, Heard):
            answer = await _recall(claimed, opened, desk)
            if answer is not None:
                return answer
            # The first request with this key was refused before it made anything: take its place.
            refund_id = public("re", opened.resource)


def _wished(claimed: Claimed, standing: Standing, refund_id: str, at: datetime) -> Refund | Problem:
    command = claimed.matched.command
    assert isinstance(command, CreateRefund)
    try:
        amount = refundable(standing, command.amount)
    except Problem as problem:
        return problem
    return Refund(
        id=refund_id,
        payment=standing.payment.id,
        merchant=standing.payment.merchant,
        reference=command.reference,
        amount=amount,
        currency=standing.payment.currency,
        reason=command.reason,
        created_at=at,
        updated_at=at,
    )


async def _heard_or_refused(claimed: Claimed, problem: Problem, desk: Desk) -> Answer:
    """Refuse, unless this very request was served before and took the money itself.

    Where the same refund was, with another key, it is named: it may be why nothing is left.
    """
    heard = await desk.ledger.heard(claimed)
    answer = await _recall(claimed, heard, desk) if heard is not None else None
    if answer is None:
        raise await _reference_taken(claimed, desk) or problem
    return answer


async def _reference_taken(claimed: Claimed, desk: Desk) -> Problem | None:
    command = claimed.matched.command
    assert isinstance(command, CreateRefund)
    payment_id = query.payment_id_of(claimed.matched)
    for known in await desk.refunds.of_payment(claimed.merchant.number, payment_id):
        if known.refund.reference == command.reference:
            return _reference_exists(known.refund.id)
    return None


def _reference_exists(refund_id: str) -> Problem:
    return Problem(
        "reference_exists",
        "Another refund has this reference.",
        param="reference",
        extra={"refund": refund_id},
    )


async def _recall(claimed: Claimed, heard: Heard, desk: Desk) -> Answer | None:
    """Answer a key that PostgreSQL remembers with the refund as it now stands, if one was made."""
    desk.idempotency.recall(claimed, heard)
    standing = await desk.refunds.standing(claimed.merchant.number, public("re", heard.resource))
    if standing is None:
        return None
    await desk.idempotency.release(claimed)
    return Answer(CREATED, encode(standing.refund), replayed=True)


async def ask_about_refund(opened: RefundOpened, desk: Desk) -> RefundAnswered:
    """Ask what became of a refund; one that the channel does not know is asked for again."""
    answered = await unless_returned(await desk.channels.query_refund(opened), desk)
    if answered.outcome.verdict is Verdict.NOT_FOUND:
        return await desk.channels.refund(opened)
    return answered


async def post_refund(answered: RefundAnswered, desk: Desk) -> RefundPosted:
    """Post what the channel said, weighed once more if it returned the money in between."""
    for _ in range(2):
        posted = await desk.refunds.post(await unless_returned(answered, desk))
        if posted is not None:
            return posted
    raise Unavailable("a refund's payment changed while its outcome was posted")


async def unless_returned(answered: RefundAnswered, desk: Desk) -> RefundAnswered:
    """Give what the channel said, unless its own return of all the money has done the refund.

    What came back with the rest needs no refund, and there is nothing of which one could be made.
    What an attempt had moved is the payment's own money, or, of one that was replaced, all that was
    paid beside it; what else was paid beside did not come back by that.
    """
    standing = answered.opened.standing
    if answered.outcome.verdict not in _NOT_DONE:
        return answered
    paid = await desk.ledger.by_attempt(standing.merchant, standing.attempt_id)
    assert paid is not None, "an attempt that was opened does not vanish"
    if not paid.attempt.returned or standing.refund.is_further is not paid.attempt.replaced:
        return answered
    return replace(answered, outcome=Outcome(Verdict.SUCCEEDED, code="returned"))


async def get_refund(matched: Matched, desk: Desk) -> Answer:
    """Show one refund."""
    (refund_id,) = matched.parameters
    standing = None
    if is_id(refund_id, "re"):
        standing = await desk.refunds.standing(matched.verified.merchant.number, refund_id)
    if standing is None:
        raise Problem("refund_not_found", "This merchant has no refund with this id.")
    return Answer(200, encode(standing.refund))


async def list_refunds(matched: Matched, desk: Desk) -> Answer:
    """List the refunds of a payment's own money, oldest first: they add up to what it refunded."""
    standing = await query.standing_of(matched, desk)
    refunds = await desk.refunds.of_payment(standing.merchant, standing.payment.id)
    return query.page([each.refund for each in refunds if not each.refund.is_further], None)


async def list_further(matched: Matched, desk: Desk) -> Answer:
    """List what was paid beside a payment, oldest first, with what of it went back."""
    standing = await query.standing_of(matched, desk)
    further = await desk.refunds.further_of(standing.merchant, standing.payment.id)
    return query.page(further, None)
