"""The auditor: predicts from each story how it may end, and holds us to everything we answered.

It knows the public contract and nothing of the gateway's code: what a token does, that an answer
stays true, and that money which moved is explained on both sides.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.domain.identity import merchant_number
from tests.e2e.harness import Reply, Shop
from tests.faults.merchants import Asked, Diary
from tests.faults.plan import POLICIES, Story

_GIVEN_UP: Final = frozenset({"canceled", "expired"})
_DECLINES: Final = frozenset({"tok_declined", "tok_insufficient_funds", "tok_expired_card"})
_RETURNS: Final = "tok_close_returns"
_LATE: Final = frozenset({"tok_late_success", "tok_late_lost_notice", "tok_late_thrice"})
# How often at most it is paid beside the payment's own money; a refund of it may fail.
_AGAIN: Final = {
    "tok_late_thrice": 2,
    "tok_paid_twice": 1,
    "tok_twice_refund_unknown": 1,
    "tok_twice_refund_fails": 1,
}
_REFUNDS_FAIL: Final = "tok_twice_refund_fails"
_NEVER_PAID: Final = frozenset({"tok_timeout_lost", "tok_forged_notice"})
_FIXED: Final = (
    *("object", "id", "merchant", "reference", "amount", "currency", "method", "metadata"),
    *("description", "created_at", "expires_at"),
)
_FIXED_OF_REFUND: Final = (
    *("object", "id", "payment", "merchant", "reference", "amount", "currency", "reason"),
    "created_at",
)


def ends_of(story: Story) -> frozenset[str]:
    """Every status in which a story may end; whoever dies before asking leaves it to expire."""
    if story.token in _DECLINES:
        return _GIVEN_UP | {"failed"}
    if story.token in _NEVER_PAID:
        return _GIVEN_UP
    if story.token == "tok_wrong_amount_notice":
        return _GIVEN_UP | {"requires_review"}
    # Money may come late before we have written down that we gave it up: then it is just success.
    ends = _GIVEN_UP | {"succeeded"}
    if story.token in _LATE:
        ends |= {"requires_review"}
    return ends | {"requires_capture"} if story.manual else ends


def captures_of(story: Story) -> frozenset[int]:
    """Every amount of which a story may have been captured, if it was."""
    if not story.manual:
        return frozenset({story.amount})
    return frozenset(act.amount or story.amount for act in story.acts("capture"))


def _never_left(payment: dict[str, Any]) -> bool:
    """Tell whether the acquirer could not be reached, so that the payment ended as it began."""
    return (payment.get("failure") or {}).get("code") == "channel_unavailable"


@dataclass(frozen=True)
class End:
    """How a payment stands when all is quiet: itself, its refunds, and what was paid beside it."""

    payment: dict[str, Any]
    refunds: list[dict[str, Any]]
    further: list[dict[str, Any]] = field(default_factory=list)


def objections(story: Story, end: End) -> Iterator[str]:
    """Say what is wrong with the end of a story by itself."""
    payment = end.payment
    captured, refunded = payment["amount_captured"], payment["amount_refunded"]
    if payment["status"] not in ends_of(story) and not _never_left(payment):
        yield f"ended {payment['status']}"
    if payment["amount"] != story.amount:
        yield "has another amount"
    has_money = payment["status"] == "succeeded" or (
        payment["status"] == "requires_review" and story.token in _LATE
    )
    # What a close gave back leaves only what refunds had.
    left = refunded if story.token == _RETURNS else 0
    if (has_money and captured not in captures_of(story)) or (not has_money and captured != left):
        yield f"is {payment['status']} and captured {captured}"
    given = sum(refund["amount"] for refund in end.refunds if refund["status"] == "succeeded")
    if given != refunded or refunded > captured:
        yield f"says {refunded} refunded, its refunds say {given}, captured {captured}"
    if {refund["status"] for refund in end.refunds} - {"succeeded", "failed"}:
        yield "has a refund without an end"
    if captured and payment["status"] == "requires_review":
        policy = POLICIES[story.shop]
        if policy != "review" and not refunded:
            yield f"came late, and nobody did with it as its merchant wishes: {policy}"
    if len(end.further) > _AGAIN.get(story.token, len(story.acts("pay again"))):
        yield f"was paid again {len(end.further)} times"
    for beside in end.further:
        yield from _of_further(story, beside)


def _of_further(story: Story, beside: dict[str, Any]) -> Iterator[str]:
    """Say what is wrong with money beside a payment: it goes back once, or is left to people."""
    refunds = [(refund["status"], refund["amount"]) for refund in beside["refunds"]]
    fails = story.token == _REFUNDS_FAIL
    back = [("failed" if fails else "succeeded", story.amount)]
    if beside["amount"] != story.amount:
        yield f"was paid {beside['amount']} beside it"
    if refunds != ([] if POLICIES[story.shop] == "review" else back):
        yield f"was paid again, and that went back by {refunds}: {POLICIES[story.shop]}"
    if beside["amount_refunded"] != sum(amount for status, amount in refunds if status != "failed"):
        yield f"says {beside['amount_refunded']} of what is beside it refunded: {refunds}"


def contradictions(story: Story, seen: dict[str, Any], end: dict[str, Any]) -> Iterator[str]:
    """Say what was answered of a payment or refund and is not true any more."""
    is_payment = seen["object"] == "payment"
    for name in _FIXED if is_payment else _FIXED_OF_REFUND:
        if seen[name] != end[name]:
            yield f"{name} was {seen[name]}, is {end[name]}"
    before, after = seen["status"], end["status"]
    is_reversed = story.token == _RETURNS and (before, after) == ("succeeded", "canceled")
    if before in {"succeeded", "failed"} and after != before and not is_reversed:
        yield f"was answered {before}, is {after}"
    if not is_payment:
        return
    if not is_reversed and seen["amount_captured"] not in {0, end["amount_captured"]}:
        yield f"had captured {seen['amount_captured']}, now {end['amount_captured']}"
    if before in _GIVEN_UP and after not in {before, *_after_late(story)}:
        yield f"was answered {before}, is {after}"
    let_go = before == "requires_capture" and after in _GIVEN_UP
    if let_go and not story.acts("cancel"):
        yield "its authorization was let go, and nobody had asked for that"


def _after_late(story: Story) -> frozenset[str]:
    return ends_of(story) if story.token in _LATE else frozenset()


class Auditor:
    """Holds the diary beside how everything stands at the end, by reference."""

    def __init__(self, diary: Diary, ends: Mapping[str, End]) -> None:
        self._diary = diary
        self._ends = ends

    def findings(self) -> list[str]:
        """Everything that is wrong, named by its story."""
        found = list(self._diary.surprises)
        told = set(self._diary.seen)
        for asked in self._diary.asked.values():
            found += (f"{asked.key}: {what}" for what in self._of_key(asked))
        for reference, end in self._ends.items():
            create = self._diary.asked.get(reference)
            if create is None or create.resource not in {None, end.payment["id"]}:
                found.append(f"{reference}: exists as {end.payment['id']}, and nobody was told so")
                continue
            found += (f"{_name(create.story)}: {what}" for what in self._of_end(create.story, end))
            told -= {each["id"] for each in (end.payment, *end.refunds)}
        found += (f"{lost} was answered and is gone" for lost in told)
        return list(dict.fromkeys(found))

    def _of_end(self, story: Story, end: End) -> Iterator[str]:
        yield from objections(story, end)
        for resource in (end.payment, *end.refunds):
            for seen in self._diary.seen.get(resource["id"], []):
                yield from contradictions(story, seen, resource)

    def _of_key(self, asked: Asked) -> Iterator[str]:
        ids = {reply.json["id"] for reply in asked.answers if reply.status in {200, 201}}
        if len(ids) > 1:
            yield f"made {len(ids)}: {sorted(ids)}"
        statuses = {reply.status for reply in asked.settled}
        if not statuses:
            yield "was never answered"
        if asked.act is None and statuses - {201} and not self._is_refused_for_good(asked):
            yield f"was refused: {asked.settled[-1].json}"
        if any(reply.status == 500 and not _is_known(reply) for reply in asked.answers):
            yield "was answered 500 without being in doubt"

    def _is_refused_for_good(self, asked: Asked) -> bool:
        """Tell whether a payment was asked for after its time, and nothing ever came of it."""
        end = self._ends.get(asked.key)
        is_late = all(
            reply.status == 201 or (reply.status == 400 and reply.json["param"] == "expires_at")
            for reply in asked.settled
        )
        return is_late and (end is None or end.payment["status"] in _GIVEN_UP)


def _name(story: Story) -> str:
    return f"order-{story.number} ({story.token}{', manual' if story.manual else ''})"


def _is_known(reply: Reply) -> bool:
    return "same key to learn" in reply.json["detail"]


def repeats(
    asked: Asked, before: list[Reply], again: Reply, told: list[dict[str, Any]]
) -> Iterator[str]:
    """Say what is wrong with the last answer to a key that had been answered.

    It is an answer that was given before, or how the payment stood when an answer was lost on its
    way, or how it stands now that Redis has forgotten: in any case how it once truly stood, byte
    for byte.  A capture or cancellation that came to nothing may be refused instead.
    """
    if again.headers.get("Idempotent-Replayed") != "true":
        yield f"{asked.key}: was served as if it were new"
    if again.status == 409 and asked.path.endswith(("/capture", "/cancel")):
        return
    if _without_refunds(again.json) not in map(_without_refunds, told):
        yield f"{asked.key}: answered {again.body!r}, which it never was"
    if any(reply.body != again.body for reply in before if reply.json == again.json):
        yield f"{asked.key}: said the same in other bytes: {again.body!r}"


def _without_refunds(resource: dict[str, Any]) -> dict[str, Any]:
    """Leave out what moves with refunds: a payment has no event of those, so nobody was told."""
    moved = ("amount_refunded", "updated_at")
    return {name: value for name, value in resource.items() if name not in moved}


def money_of(lines: Iterable[dict[str, Any]]) -> dict[int, tuple[int, int]]:
    """Sum the acquirer's books by merchant: what it took and what it gave back.

    What a close gave back was not taken.
    """
    sums: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    for line in lines:
        sign = -1 if line["kind"] == "reversal" else 1
        sums[merchant_number(line["number"])][line["kind"] == "refund"] += sign * line["amount"]
    return {merchant: (taken, given) for merchant, (taken, given) in sums.items()}


def unexplained(
    shop: Shop, theirs: tuple[int, int], ours: Sequence[End], accounts: list[dict[str, Any]]
) -> Iterator[str]:
    """Say where the acquirer's money, the merchant's payments and our books differ."""
    payments = [end.payment for end in ours]
    further = [beside for end in ours for beside in end.further]
    taken = sum(payment["amount_captured"] for payment in payments)
    taken += sum(beside["amount"] for beside in further)
    given = sum(each["amount_refunded"] for each in (*payments, *further))
    # A close may have given back, with the rest, what we call refunded.
    with_the_rest = taken - theirs[0]
    most = sum(p["amount_refunded"] for p in payments if p["status"] in _GIVEN_UP)
    if theirs != (taken - with_the_rest, given - with_the_rest) or not 0 <= with_the_rest <= most:
        yield f"{shop.merchant}: the acquirer moved {theirs}, the payments say {(taken, given)}"
    balance: dict[str, int] = defaultdict(int)
    for account in accounts:
        balance[account["code"]] += account["balance"]
    owed = sum(balance[code] for code in ("2201", "2221", "4001"))
    if not balance["1121"] == owed == taken - given or balance["2222"]:
        yield f"{shop.merchant}: the accounts say {dict(balance)}, the payments {taken - given}"
