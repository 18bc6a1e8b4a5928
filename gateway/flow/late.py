"""Money that comes after the end of its payment, or beside it: recorded, now done with as wanted.

It waits in suspense.  The merchant's policy says whether people look at it, whether it is taken
after all, or whether it goes back to the payer.  An order is paid once: what comes beside its money
is taken by nobody, so it goes back whenever it is not left to people.
"""

import hashlib
import logging
from typing import Final

from msgspec.structs import replace

from gateway.domain.identity import public
from gateway.domain.payment import Standing, Status
from gateway.domain.refund import Refund
from gateway.domain.stages import Heard, KeyUse, Opened, ReferenceTaken, RefundOpened
from gateway.flow.desk import Desk
from gateway.flow.refund import post_refund
from gateway.ledger.refund_rules import planned_further

logger: Final = logging.getLogger(__name__)


def is_late(standing: Standing) -> bool:
    """Tell whether this is late money that nobody has decided about."""
    payment = standing.payment
    return payment.status is Status.REQUIRES_REVIEW and payment.amount_captured > 0


async def settle(opened: Opened, desk: Desk) -> Opened | None:
    """Do with late money as its merchant wants; done twice it has no further effect.

    Gives the payment as it then stands, or None when somebody else refunds it just now: then it is
    due again and looked at then.  What its channel is known to have given back is nobody's: the
    channel is asked next, and its word takes the money out of suspense.
    """
    if opened.attempt.returned:
        return opened
    standing = opened.standing
    policy = await desk.reader.late_success_policy(standing.merchant)
    if policy == "adopt":
        await desk.ledger.adopt(opened, desk.clock.now())
    elif policy == "refund" and not await _give_back(opened, desk):
        await desk.recovery.release(opened)
        return None
    again = await desk.ledger.by_attempt(opened.attempt.merchant, opened.attempt.id)
    assert again is not None, "an attempt that was opened does not vanish"
    return replace(again, lease=opened.lease)


async def _give_back(opened: Opened, desk: Desk) -> bool:
    """Give back what is left, once: what fails is for people; False when it could not be begun.

    It is for people as well where the merchant gave its name to another refund.
    """
    payment, merchant = opened.standing.payment, opened.standing.merchant
    left = payment.amount_captured - payment.amount_refunded
    name = f"late-{payment.id}-"
    refunds = await desk.refunds.of_payment(merchant, payment.id)
    if left == 0 or any(each.refund.reference.startswith(name) for each in refunds):
        return True
    now = desk.clock.now()
    tries = len(refunds)
    # No merchant's key has a space, so this one cannot meet theirs.
    key = f"late success {payment.id} {tries}"
    use = KeyUse(key, hashlib.sha256(key.encode()).digest(), "late_refund")
    refund = Refund(
        id=desk.clock.mint("re", merchant),
        payment=payment.id,
        merchant=payment.merchant,
        reference=f"{name}{tries}",
        amount=left,
        currency=payment.currency,
        reason="The payment had ended before the money came.",
        created_at=now,
        updated_at=now,
    )
    begun = await desk.refunds.open(use, refund, opened.attempt)
    if isinstance(begun, Heard):
        # An earlier try took the key and made nothing, for the payment changed: take its place.
        refund = replace(refund, id=public("re", begun.resource))
        begun = await desk.refunds.open(use, refund, opened.attempt)
    if isinstance(begun, ReferenceTaken):
        logger.warning("%s: another refund has the name of what is to go back", payment.id)
        return True
    if not isinstance(begun, RefundOpened):
        return False
    await post_refund(await desk.channels.refund(begun), desk)
    return True


async def settle_further(desk: Desk) -> None:
    """Give back what was paid beside payments, each once: what fails is for people.

    Here it is reserved and made durable; whoever serves the queue of refunds asks the channel.
    """
    now = desk.clock.now()
    due = await desk.recovery.take_further(now)
    if due:
        await desk.refunds.give_back(
            [planned_further(each, desk.clock.mint("re", each.number), now) for each in due]
        )
