"""What an asking comes to: must the attempt be closed now, and when to ask again; all pure."""

from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from gateway.domain import limits
from gateway.domain.outcome import Outcome, Verdict
from gateway.domain.payment import ENDED, Payment, Standing, Status
from gateway.domain.recovery import check_at, next_query_at
from gateway.domain.stages import Answered, Attempt, Posted

# What a channel may say without the matter being settled.
_NOT_YET: Final = frozenset(
    {
        Verdict.PENDING,
        Verdict.REQUIRES_ACTION,
        Verdict.AUTHORIZED,
        Verdict.NOT_FOUND,
        Verdict.UNKNOWN,
    }
)
# What a channel says of an attempt that is alive, although we know its payment to have ended.
_ALIVE: Final = frozenset({Verdict.PENDING, Verdict.REQUIRES_ACTION, Verdict.AUTHORIZED})
_MAY_COME: Final = frozenset({Verdict.UNKNOWN, Verdict.PENDING})
_LET_GO: Final = frozenset({Verdict.CLOSED, Verdict.FAILED})


class Again(Struct, frozen=True):
    """When somebody asks again; `is_check` when nothing is open and it is only looked at."""

    at: datetime
    is_check: bool = False


def holds_in_vain(standing: Standing, attempt: Attempt, outcome: Outcome) -> bool:
    """Tell whether the channel has money in its hands that nobody wants: it must be let go.

    It holds it for a payment that has ended, or has begun with an attempt which had provably moved
    nothing when another one took its place.
    """
    if attempt.replaced:
        return outcome.verdict in _ALIVE
    return outcome.verdict is Verdict.AUTHORIZED and standing.payment.status in ENDED


def is_over(answered: Answered) -> bool:
    """Tell whether an attempt must be closed now: still open, and its time has passed.

    A hold has its own time, which a channel that is silent just now does not shorten.  What was
    paid is never closed, be it with another sum, whatever its channel says or does not say: a close
    may give money back.
    """
    attempt, verdict = answered.opened.attempt, answered.outcome.verdict
    payment = answered.opened.standing.payment
    if attempt.replaced:
        return verdict in _ALIVE and not attempt.further_transactions
    is_paid = payment.amount_captured > 0 or answered.outcome.is_money
    if payment.status in ENDED and not is_paid:
        return verdict in _ALIVE
    if is_paid or attempt.is_capturing or verdict not in _NOT_YET:
        return False
    if attempt.cancel_wished:
        return True
    if verdict is Verdict.AUTHORIZED or payment.status is Status.REQUIRES_CAPTURE:
        return answered.at >= _hold_ends_at(payment)
    return answered.at >= attempt.expires_at


def again(
    answered: Answered, posted: Posted, *, queries: int, was_check: bool, jitter: float
) -> Again | None:
    """Say when to ask next, after what was answered is posted; None when nothing is to be learnt.

    Never long after the deadline, at which the attempt is closed.  A hold is asked about before its
    end only where something spoke against it, so silence is no answer to that.  One that should
    have been let go, and was not, is asked about like an open payment, until it must have lapsed;
    one that was noticed only then, until every wait was waited once.  Of what is paid more is asked
    while the channel knows of more money, or did not answer; where it would tell of more that came,
    it is looked at now and then.  `jitter` lies between -1 and 1.
    """
    payment, attempt = posted.standing.payment, answered.opened.attempt
    verdict, at = answered.outcome.verdict, answered.at
    soon = next_query_at(at, queries, jitter)
    news_in = answered.outcome.news_in_seconds
    if news_in is not None:
        soon = min(soon, at + timedelta(seconds=news_in))
    has_ended = attempt.replaced or payment.status in ENDED
    is_settled = verdict in _LET_GO or (attempt.replaced and verdict is Verdict.SUCCEEDED)
    if has_ended and not was_check and not is_settled:
        was_asked = queries >= len(limits.QUERY_WAIT_SECONDS)
        return None if was_asked and at >= _gives_up_at(payment) else Again(soon)
    if has_ended:
        return _look_again(payment, verdict, at, soon) if not attempt.replaced else None
    if payment.amount_captured:
        return _look_for_more(payment, answered, was_check=was_check, soon=soon)
    if payment.status is Status.REQUIRES_REVIEW:
        return _while_frozen(payment, attempt, verdict, at=at, soon=soon)
    is_held = payment.status is Status.REQUIRES_CAPTURE
    ends_at = _hold_ends_at(payment) if is_held else attempt.expires_at
    is_silent = verdict is Verdict.UNKNOWN
    if is_held and at < ends_at and not attempt.cancel_wished and not is_silent:
        return Again(ends_at)
    return Again(ends_at if at < ends_at < soon else soon)


def _look_again(payment: Payment, verdict: Verdict, at: datetime, soon: datetime) -> Again | None:
    """Say when to look next whether money came after the end of a payment, or beside its own.

    Of a decline nothing comes.  The last look is repeated for a while if the channel is silent, or
    says that money is on its way.
    """
    if payment.status is Status.FAILED:
        return None
    ended_at = payment.updated_at
    look = check_at(ended_at, at)
    gives_up_at = ended_at + timedelta(seconds=limits.CHECK_GIVE_UP_SECONDS)
    if look is None and verdict in _MAY_COME and at < gives_up_at:
        look = soon
    return Again(look, is_check=True) if look is not None else None


def _look_for_more(
    payment: Payment, answered: Answered, *, was_check: bool, soon: datetime
) -> Again | None:
    """Say when to ask next about what is paid; None where its channel tells us by itself."""
    outcome = answered.outcome
    is_silent = outcome.verdict is Verdict.UNKNOWN and not outcome.conflict
    if outcome.news_in_seconds is not None or (is_silent and not was_check):
        return Again(soon)
    if outcome.tells_more or is_silent:
        return _look_again(payment, outcome.verdict, answered.at, soon)
    return None


def _while_frozen(
    payment: Payment, attempt: Attempt, verdict: Verdict, *, at: datetime, soon: datetime
) -> Again | None:
    """Say when to ask next about what waits for people and was not paid; None: it is theirs alone.

    Not later than its deadline, nor than a hold of it ends, for then it is closed; after that ever
    more seldom.  No silence ends it: it stays with people, who may have it asked about any time.
    """
    if verdict not in _NOT_YET or at >= _gives_up_at(payment):
        return None
    later = max(soon, at + (at - payment.updated_at) // limits.FROZEN_WAIT_PART)
    ends = (attempt.expires_at, _hold_ends_at(payment))
    return Again(min((end for end in ends if at < end < later), default=later))


def _gives_up_at(payment: Payment) -> datetime:
    return payment.updated_at + timedelta(seconds=limits.FROZEN_GIVE_UP_SECONDS)


def _hold_ends_at(payment: Payment) -> datetime:
    """Say when a hold ends: one that waits for its capture lives from when we heard of it."""
    is_held = payment.status is Status.REQUIRES_CAPTURE
    began_at = payment.updated_at if is_held else payment.created_at
    return began_at + timedelta(seconds=limits.AUTHORIZATION_SECONDS)
