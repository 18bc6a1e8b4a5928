"""Many new payments in one request: one signature, one round trip, and each on its own.

Every item is the `POST /v1/payments` that it stands for, with its own key, claim and answer, and
goes the way of every payment; that they are served at the same moment lets them share the flushes.
"""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Final

from gateway.domain import limits
from gateway.domain.errors import Problem
from gateway.domain.payment import CreatePayments
from gateway.domain.problem import answer_of
from gateway.domain.stages import Answer, Claimed, Matched
from gateway.drivers.stopwatch import lap, start
from gateway.flow import steps
from gateway.flow.desk import Desk
from gateway.flow.once import once
from gateway.flow.pay import CREATED, pay
from gateway.flow.refusal import refusal
from gateway.idempotency.rules import fingerprint_of, key_of

# Refusals after which the same item may still be served: while there are such the batch is no
# answer to keep, so that the very same batch goes on where it stood.
_UNFINISHED: Final = frozenset(
    {"request_in_progress", "rate_limited", "overloaded", "unavailable", "internal_error"}
)

_AT_A_TIME: Final = 32


async def pay_all(claimed: Claimed, desk: Desk) -> Answer:
    """Take every payment of a batch; the results stand in its order, and no item fails another."""
    assert isinstance(claimed.matched.command, CreatePayments)
    desk.admission.widen(claimed.merchant, len(claimed.matched.command.payments))
    told = await _pay_each(_read(claimed, desk), desk)
    lap(steps.ITEMS)
    results = [_answer_to(result, claimed) for result in told]
    answer = Answer(200, _written(results), replayed=_is_repeated(results))
    if any(isinstance(result, Problem) and result.code in _UNFINISHED for result in told):
        await desk.idempotency.release(claimed)
        return answer
    return await desk.idempotency.settle(claimed, answer)


def _read(claimed: Claimed, desk: Desk) -> Iterator[Matched | Problem | int]:
    """Read the items in their order.

    One that stands there already, key and all, is told as the place of the first; a key that stands
    there for something else is taken.
    """
    batch = claimed.matched
    assert isinstance(batch.command, CreatePayments)
    taken = {claimed.key: (-1, batch)}
    for place, raw in enumerate(batch.command.payments):
        try:
            matched = desk.match.item(batch, bytes(raw))
            key = key_of(matched.verified.idempotency_key)
        except Problem as problem:
            yield problem
            continue
        first, other = taken.setdefault(key, (place, matched))
        if first == place:
            yield matched
        elif fingerprint_of(other.verified) == fingerprint_of(matched.verified):
            yield first
        else:
            yield _key_stands_twice()


async def _pay_each(
    items: Iterator[Matched | Problem | int], desk: Desk
) -> Sequence[Answer | Problem]:
    """Begin a few at a time, so that everybody else's answers are heard between them."""
    paying: list[asyncio.Task[Answer | Problem]] = []
    async with asyncio.TaskGroup() as group:
        for number, item in enumerate(items, start=1):
            if isinstance(item, int):
                paying.append(paying[item])
            else:
                paying.append(group.create_task(_pay_one(item, desk)))
            if number % _AT_A_TIME == 0:
                await asyncio.sleep(0)
    return [payment.result() for payment in paying]


async def _pay_one(item: Matched | Problem, desk: Desk) -> Answer | Problem:
    """Take one payment as if it had come alone; whatever goes wrong is its own result."""
    if isinstance(item, Problem):
        return item
    start()
    try:
        return await once(item, desk, pay, seconds=limits.ITEM_SECONDS_MAX)
    except Exception as error:  # noqa: BLE001 - its neighbours must have their answers
        return refusal(error, item.verified.received.request_id)


def _answer_to(result: Answer | Problem, claimed: Claimed) -> Answer:
    if isinstance(result, Answer):
        return result
    return answer_of(result, claimed.matched.verified.received.request_id)


def _written(results: Sequence[Answer]) -> bytes:
    """Write the results around the bodies that they have already."""
    written = (
        b'{"status":%d,"%s":%s}'
        % (result.status, b"payment" if _is_taken(result) else b"problem", result.body)
        for result in results
    )
    return b'{"results":[%s]}' % b",".join(written)


def _is_repeated(results: Sequence[Answer]) -> bool:
    """Tell whether payments were taken before and none was taken now."""
    taken = [result.replayed for result in results if _is_taken(result)]
    return bool(taken) and all(taken)


def _is_taken(result: Answer) -> bool:
    return result.status == CREATED


def _key_stands_twice() -> Problem:
    return Problem(
        "idempotency_key_reused",
        "This key stands in the same batch for another payment, or is the key of the batch itself.",
        param="idempotency_key",
    )
