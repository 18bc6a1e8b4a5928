"""A new payment: through whom, make it durable, ask the channel, post what it said.

Where nobody outside has to be asked, it is made durable with what the payer has to do.
"""

from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from gateway.domain.errors import Problem
from gateway.domain.identity import public
from gateway.domain.outcome import Advice, Failure, Outcome, Verdict
from gateway.domain.payment import CreatePayment
from gateway.domain.stages import (
    Answer,
    Answered,
    Attempt,
    Claimed,
    Heard,
    Opened,
    Posted,
    ReferenceTaken,
)
from gateway.drivers.stopwatch import lap
from gateway.flow import query, steps
from gateway.flow.away import AWAY, not_posted_yet, note_away
from gateway.flow.desk import Desk

CREATED: Final = 201

_MILLISECOND: Final = timedelta(milliseconds=1)
_UNREACHABLE: Final = Failure(
    "channel_unavailable", "The acquirer cannot be reached.", Advice.RETRY_LATER
)


async def pay(claimed: Claimed, desk: Desk) -> Answer:
    """Take a payment; what is not known at the end is `processing` and never an error."""
    if has_ended(claimed):
        return await _begun_in_time(claimed, desk)
    routed = desk.routing.choose(claimed)
    lap(steps.ROUTE)
    with desk.channels.place(routed):
        drawn = desk.channels.draw(routed)
        opened = await desk.ledger.open(routed if drawn is None else drawn)
        lap(steps.OPEN)
        if isinstance(opened, (Heard, ReferenceTaken)):
            return await made_before(opened, claimed, desk)
        if drawn is not None:
            desk.admission.made()
            desk.routing.learn(drawn.answered, 0)
        posted: Posted | None = None
        if isinstance(opened, Posted):
            posted = opened
        else:
            try:
                answered = await ask_around(claimed, opened, desk)
                posted = await desk.ledger.post(answered)
            except AWAY as error:
                note_away(error)
            lap(steps.POST)
    return await told(claimed, opened, posted, desk)


async def told(
    claimed: Claimed, opened: Opened | Posted, posted: Posted | None, desk: Desk
) -> Answer:
    """Answer as it is durable: what was posted, or what was opened while nothing could be."""
    if posted is None:
        await desk.idempotency.release(claimed)
        return unposted(opened)
    answer = await desk.idempotency.settle(claimed, Answer(CREATED, posted.body))
    lap(steps.SETTLE)
    return answer


def unposted(opened: Opened | Posted) -> Answer:
    """Answer while nothing could be posted; no answer to keep."""
    return Answer(CREATED, not_posted_yet(opened), passing=True)


async def made_before(known: Heard | ReferenceTaken, claimed: Claimed, desk: Desk) -> Answer:
    """Show the payment that this request made before; `Problem` when the reference is another's."""
    if isinstance(known, Heard):
        if not known.refused:
            return await query.recall(claimed, known, desk)
        desk.idempotency.recall(claimed, known)
    raise _reference_exists(public("pay", known.resource))


async def ask_around(claimed: Claimed, opened: Opened, desk: Desk) -> Answered:
    """Ask for the money, of another channel where the first cannot have moved any; give the last.

    Every attempt is durable before its channel hears of it, and the one before it has ended then.
    """
    tried: tuple[str, ...] = ()
    while True:
        began = desk.clock.now()
        if _is_too_late(opened.attempt, began):
            answered = await desk.channels.close(opened)
        else:
            answered = await desk.channels.ask(opened)
            desk.routing.learn(answered, (answered.at - began) // _MILLISECOND)
            if not answered.outcome.sent:
                answered = _never_left(answered)
        lap(steps.ASK)
        tried = (*tried, opened.attempt.channel)
        rerouted = desk.routing.choose_next(claimed, answered, tried)
        switched = await desk.ledger.switch(rerouted) if rerouted is not None else None
        if switched is None:
            return answered
        opened = switched


def _is_too_late(attempt: Attempt, now: datetime) -> bool:
    """Tell whether nobody may be charged any more: its time ran out before it was durable.

    A later try of the same request was perhaps refused then.  Nor may anybody where it is to be
    canceled, and another channel would begin with it now.
    """
    return attempt.cancel_wished or attempt.expires_at <= now


def _never_left(answered: Answered) -> Answered:
    """End an attempt that provably never left: no money can move through it any more.

    Its number was asked for nowhere else and nobody sends it later: recovery queries and closes,
    and a second request with the same key finds this payment.
    """
    code = answered.outcome.code
    return replace(
        answered, outcome=Outcome(Verdict.FAILED, code=code, failure=_UNREACHABLE, sent=False)
    )


def has_ended(claimed: Claimed) -> bool:
    """Tell whether a payment was to end before it came: nothing may be begun for it."""
    command = claimed.matched.command
    assert isinstance(command, CreatePayment)
    return command.expires_at is not None and command.expires_at <= claimed.at


async def _begun_in_time(claimed: Claimed, desk: Desk) -> Answer:
    """Serve a payment that was to end before now: an earlier try with this key may have made it."""
    heard = await desk.ledger.heard(claimed)
    if heard is not None:
        desk.idempotency.recall(claimed, heard)
        made = public("pay", heard.resource)
        if await desk.ledger.standing(claimed.merchant.number, made) is not None:
            return await query.recall(claimed, heard, desk)
    raise Problem("field_invalid", "It must lie in the future.", param="expires_at")


def _reference_exists(payment_id: str) -> Problem:
    return Problem(
        "reference_exists",
        "Another payment has this reference.",
        param="reference",
        extra={"payment": payment_id},
    )
