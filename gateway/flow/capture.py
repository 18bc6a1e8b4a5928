"""Taking money that was only held: note it down, ask the channel, post what it said."""

from gateway.domain.outcome import Verdict
from gateway.domain.payment import CapturePayment
from gateway.domain.stages import Answer, Answered, Claimed, Heard, Opened
from gateway.flow import query
from gateway.flow.desk import Desk


async def capture(claimed: Claimed, desk: Desk) -> Answer:
    """Capture an authorized payment, all of it or a part; the rest of the hold is let go."""
    command = claimed.matched.command
    assert isinstance(command, CapturePayment)
    query.payment_id_of(claimed.matched)
    begun = await desk.ledger.begin_capture(claimed, command.amount)
    if isinstance(begun, Heard):
        return await query.recall(claimed, begun, desk)
    posted = await desk.ledger.post(await ask_for_capture(begun, desk))
    return await desk.idempotency.settle(claimed, Answer(200, posted.body))


async def ask_for_capture(begun: Opened, desk: Desk) -> Answered:
    """Ask the channel; when it refuses, ask how the attempt stands, for a refusal ends nothing."""
    answered = await desk.channels.capture(begun)
    if answered.outcome.verdict is Verdict.FAILED:
        return await desk.channels.query(begun)
    return answered
