"""A channel calls back: keep its words, verify them, match the attempt, post what it means.

A notice addresses an attempt, never a payment, and is weighed by the same rules as an answer, so
duplicates, reordering and a notice that is quicker than the answer need nothing of their own.
"""

import logging
import re
from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from gateway.channels.notices import REFUSED, KeptNotice
from gateway.channels.port import Notice, NoticeRefused
from gateway.channels.registry import Account
from gateway.channels.remarks import said
from gateway.domain.errors import FloodgateError, InDoubt, Problem, Unavailable
from gateway.domain.identity import PLATFORM, is_id, merchant_number, public, uuid_of
from gateway.domain.payment import Fact, Status
from gateway.domain.refund import RefundStanding
from gateway.domain.stages import Answer, Answered, Attempt, Opened, RefundAnswered, RefundOpened
from gateway.flow.desk import Desk
from gateway.flow.refund import post_refund
from gateway.ledger.rules import fact_of

logger: Final = logging.getLogger(__name__)

_NUMBER: Final = re.compile(r"[0-9a-f]{32}")
# Facts of which it is told that other money was spoken of than was asked for.
_STRANGE: Final = frozenset({Fact.CONFLICTED, Fact.PAID_AGAIN})


async def take_notice(
    address: str, headers: Mapping[str, str], body: bytes, *, peer: str, desk: Desk
) -> Answer:
    """Serve one notice: it is durable before anybody reads it, and then it is not lost.

    `address` names a channel of the platform, or a channel and the merchant whose own account is
    there: `stripe`, `stripe/mer_…`.  `peer` is where the connection comes from.
    """
    channel, slash, merchant = address.partition("/")
    is_named = is_id(merchant, "mer") and merchant_number(merchant) != PLATFORM
    owner = merchant_number(merchant) if is_named else PLATFORM
    if bool(slash) is not is_named or not desk.channels.has(channel, owner):
        raise Problem("not_found", "There is no such channel.")
    notice = desk.notices.arrived(channel, owner, headers, body)
    try:
        await desk.notices.keep(notice, peer)
    except (Unavailable, InDoubt):
        # Kept or not, the channel sends it again, and a second one does nothing.
        raise Problem("unavailable", "This notice may not be kept; send it again.") from None
    try:
        return await serve_notice(notice, desk)
    except Exception:
        await desk.notices.hold_up()
        raise


async def serve_notice(kept: KeptNotice, desk: Desk) -> Answer:
    """Read and post a notice that is durable; `Problem` 400 when it is not the channel's."""
    try:
        notice, account = desk.channels.read_notice(kept)
    except NoticeRefused as refusal:
        await desk.notices.done(kept, f"{REFUSED}: {refusal.reason}")
        raise Problem("notice_refused", "This notice cannot be believed.") from None
    if not notice.outcome.is_clean:
        await desk.notices.done(kept, f"{REFUSED}: unreadable")
        raise Problem("notice_refused", "This notice cannot be believed.")
    try:
        await desk.notices.done(kept, await _post(notice, account, kept, desk))
    except FloodgateError as error:
        # It is kept and it is the channel's: what is left to do is ours, and done later.
        logger.warning("notice %s could not be posted yet: %s", kept.id, error)
    return Answer(200, account.channel.taken)


async def _post(notice: Notice, account: Account, kept: KeptNotice, desk: Desk) -> str:
    """Post what a verified notice says; gives the word under which it is filed.

    A notice speaks only of what was asked for at the account through which it came.  It may have
    been left for long; what it changes happens now, and its event is found by the time of that.
    """
    if _NUMBER.fullmatch(notice.number) is None:
        return "unmatched"
    merchant = merchant_number(notice.number)
    if account.owner not in {PLATFORM, merchant}:
        return "unmatched"
    if notice.refund_number is not None:
        return await _post_refund(notice, account, kept, desk)
    opened = await desk.ledger.by_attempt(merchant, public("att", notice.number))
    if opened is None or not _is_its(account, opened.attempt):
        return "unmatched"
    answered = Answered(opened, notice.outcome, desk.clock.now())
    fact = fact_of(opened.standing, opened.attempt, notice.outcome, answered.at)
    if fact in _STRANGE:
        remark = said("notice_differs", kept.id, notice.outcome, kept.received_at)
        await desk.remarks.note(merchant, opened.standing.payment.id, remark)
    if fact is Fact.DECLINED and _is_held(opened):
        # It may be older than the hold: what the channel says when it is asked decides.  So it is
        # while that is being captured, or what is taken just now would be late money of an end.
        await desk.recovery.ask_soon(opened.attempt, answered.at)
        await desk.recovery.saw(replace(answered, at=kept.received_at), "notice")
        return "asked about"
    posted = await desk.ledger.post(answered)
    desk.routing.learn_end(answered)
    await desk.recovery.saw(replace(answered, at=kept.received_at), "notice")
    return "posted" if posted.standing.version > opened.standing.version else "nothing new"


def _is_held(opened: Opened) -> bool:
    status, attempt = opened.standing.payment.status, opened.attempt
    is_taken = status is Status.PROCESSING and attempt.is_capturing
    return (status is Status.REQUIRES_CAPTURE or is_taken) and not attempt.replaced


def _is_its(account: Account, asked: Attempt | RefundStanding) -> bool:
    return (asked.channel, asked.account) == (account.channel.name, account.name)


async def _post_refund(notice: Notice, account: Account, kept: KeptNotice, desk: Desk) -> str:
    number = notice.refund_number
    if number is None or _NUMBER.fullmatch(number) is None:
        return "unmatched"
    merchant = merchant_number(notice.number)
    standing = await desk.refunds.standing(merchant, public("re", number))
    if standing is None or not _is_its(account, standing):
        return "unmatched"
    if uuid_of(standing.attempt_id) != notice.number:
        return "unmatched"
    answered = RefundAnswered(RefundOpened(standing), notice.outcome, desk.clock.now())
    remark = said("refund_notice", standing.refund.id, notice.outcome, kept.received_at)
    await desk.remarks.note(merchant, standing.refund.payment, remark)
    posted = await post_refund(answered, desk)
    return "posted" if posted.standing.version > standing.version else "nothing new"


async def serve_left_notices(desk: Desk, limit: int) -> None:
    """Serve notices whose worker died between keeping and posting them."""
    for kept in await desk.notices.left(limit):
        try:
            await serve_notice(kept, desk)
        except Problem:
            continue  # it is filed as refused
        except FloodgateError as error:
            logger.warning("notice %s could not be served yet: %s", kept.id, error)
        except Exception as error:
            # What nobody foresaw is left to people; it must not stop the others.
            logger.exception("notice %s cannot be served", kept.id)
            await desk.notices.done(kept, f"failed: {type(error).__name__}")
