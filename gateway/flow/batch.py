"""Many new payments in one request: one signature, one round trip, and each on its own.

Every item is the `POST /v1/payments` that it stands for, with its own key, claim and answer.  The
items go through the steps together, so that each step's part is asked once for all of them; only
the channel is asked about one payment at a time.  Whatever is no plain matter leaves the company
and goes its way alone, as it would have come.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Final

from gateway.domain import limits
from gateway.domain.errors import FloodgateError, InDoubt, Problem, Unavailable
from gateway.domain.payment import CreatePayments
from gateway.domain.problem import answer_of
from gateway.domain.stages import (
    Answer,
    Answered,
    Claimed,
    Drawn,
    Heard,
    Opened,
    Posted,
    ReferenceTaken,
    Routed,
)
from gateway.drivers.deadlines import within
from gateway.drivers.stopwatch import Stopwatch, lap, lap_all, start
from gateway.flow import steps
from gateway.flow.away import note_away, unless_away
from gateway.flow.desk import Desk
from gateway.flow.once import let_go, served, used_by_nobody_else
from gateway.flow.pay import CREATED, ask_around, has_ended, made_before, pay, told, unposted
from gateway.flow.refusal import refusal

logger: Final = logging.getLogger(__name__)

# Refusals after which the same item may still be served: while there are such the batch is no
# answer to keep, so that the very same batch goes on where it stood.
_UNFINISHED: Final = frozenset(
    {"request_in_progress", "rate_limited", "overloaded", "unavailable", "internal_error"}
)

_AT_A_TIME: Final = 16

# Answers of the channel that came so soon after one another are posted together.
_GATHER_SECONDS: Final = 0.02


async def pay_all(claimed: Claimed, desk: Desk) -> Answer:
    """Take every payment of a batch; the results stand in its order, and no item fails another."""
    company = _Company(claimed, desk)
    desk.admission.widen(claimed.merchant, company.size)
    ends = await company.served()
    lap(steps.ITEMS)
    results = [_answer_to(end, claimed) for end in ends]
    answer = Answer(200, _written(results), replayed=_is_repeated(results))
    if any(_is_unfinished(end) for end in ends):
        await desk.idempotency.release(claimed)
        return answer
    return await desk.idempotency.settle(claimed, answer)


class _Company:
    """The items of one batch on their way through the steps, each known by its place in it."""

    def __init__(self, batch: Claimed, desk: Desk) -> None:
        assert isinstance(batch.matched.command, CreatePayments)
        self._batch, self._desk = batch, desk
        self._raw = batch.matched.command.payments
        self._request_id = batch.matched.verified.received.request_id
        self._claimed: dict[int, Claimed] = {}
        self._opened: dict[int, Opened] = {}
        self._kept: dict[int, AbstractContextManager[None]] = {}  # places at channels
        self._ends: dict[int, Answer | Problem] = {}
        self._twins: dict[int, int] = {}
        self._aside = asyncio.TaskGroup()

    @property
    def size(self) -> int:
        """How many they are."""
        return len(self._raw)

    async def served(self) -> Sequence[Answer | Problem]:
        """Take all from step to step; those who are late are shown as they are durable."""
        try:
            with within(limits.ITEM_SECONDS_MAX):
                async with self._aside:
                    claimed = await self._claim(await self._read())
                    opened = await self._open(await self._route(claimed))
                    await self._take(opened)
        except TimeoutError:
            late = (
                place for place in range(self.size) if place not in {**self._ends, **self._twins}
            )
            await asyncio.gather(*(self._end_late(place) for place in late))
        finally:
            for place in [*self._kept]:
                self._leave(place)
        self._ends |= {place: self._ends[first] for place, first in self._twins.items()}
        return [self._ends[place] for place in sorted(self._ends)]

    async def _read(self) -> dict[int, Claimed]:
        """Read the items in their order, a few at a time, so that everybody else is heard, too.

        One that stands there already, key and all, is a twin of the first; a key that stands there
        for something else is taken.
        """
        batch, desk = self._batch, self._desk
        read: dict[int, Claimed] = {}
        keys = {batch.key: (-1, batch.fingerprint)}
        for place, raw in enumerate(self._raw):
            if place % _AT_A_TIME == 0:
                await asyncio.sleep(0)
            try:
                item = desk.idempotency.unclaimed(desk.match.item(batch.matched, bytes(raw)))
            except Problem as problem:
                self._ends[place] = _kept(problem)
                continue
            first, fingerprint = keys.setdefault(item.key, (place, item.fingerprint))
            if first == place:
                read[place] = item
            elif first >= 0 and fingerprint == item.fingerprint:
                self._twins[place] = first
            else:
                self._ends[place] = _key_stands_twice()
        return read

    async def _claim(self, read: dict[int, Claimed]) -> dict[int, Claimed]:
        """Claim all keys at once, and go on with those that nobody had."""
        if not read:
            return {}
        watch = Stopwatch()
        told = await self._desk.idempotency.claim_all([*read.values()])
        lap_all(steps.CLAIM, watch, len(told))
        going: dict[int, Claimed] = {}
        for place, claimed in zip(read, told, strict=True):
            if isinstance(claimed, Claimed):
                self._claimed[place] = claimed
                if has_ended(claimed):
                    self._go_alone(place, pay)
                else:
                    going[place] = claimed
            elif isinstance(claimed, Problem) and claimed.code == "idempotency_key_reused":
                # PostgreSQL is asked whose it really is.
                self._aside.create_task(self._alone(place, self._reused(read[place], claimed)))
            else:
                self._ends[place] = claimed
        return going

    async def _route(self, claimed: dict[int, Claimed]) -> dict[int, Routed | Drawn]:
        """Choose through whom each goes, and keep it a place there."""
        going: dict[int, Routed | Drawn] = {}
        for number, (place, one) in enumerate(claimed.items(), start=1):
            watch = Stopwatch()
            try:
                routed = self._desk.routing.choose(one)
                lap_all(steps.ROUTE, watch, 1)
                kept = self._desk.channels.place(routed)
                kept.__enter__()
                self._kept[place] = kept
                going[place] = self._desk.channels.draw(routed) or routed
            except Exception as error:  # noqa: BLE001 - its neighbours go on
                self._leave(place)
                self._aside.create_task(self._refuse(place, error))
            if number % _AT_A_TIME == 0:
                await asyncio.sleep(0)
        return going

    async def _open(self, going: dict[int, Routed | Drawn]) -> dict[int, Opened]:
        """Make all durable at once before the outside world hears of any; some are done by that."""
        if not going:
            return {}
        watch = Stopwatch()
        told = await self._desk.ledger.open_all([*going.values()])
        lap_all(steps.OPEN, watch, len(told))
        asked: dict[int, Opened] = {}
        made: dict[int, Posted] = {}
        for (place, one), opened in zip(going.items(), told, strict=True):
            if isinstance(opened, Opened):
                asked[place] = opened
                continue
            self._leave(place)
            if isinstance(opened, Posted):
                made[place] = opened
                if isinstance(one, Drawn):
                    self._desk.routing.learn(one.answered, 0)
            elif isinstance(opened, Heard | ReferenceTaken):
                self._go_alone(place, partial(made_before, opened))
            else:
                self._aside.create_task(self._refuse(place, opened))
        self._settle(made)
        self._opened = asked
        return asked

    async def _take(self, opened: dict[int, Opened]) -> None:
        """Ask for the money of each, and post what was said as it comes, together.

        Whoever is slow holds up nobody: those who came before are posted without it.
        """
        asking: dict[asyncio.Task[Answered | Exception], int] = {}
        for number, (place, one) in enumerate(opened.items(), start=1):
            asking[self._aside.create_task(self._ask(place, one))] = place
            if number % _AT_A_TIME == 0:
                await asyncio.sleep(0)
        while asking:
            done, _ = await asyncio.wait(asking, timeout=_GATHER_SECONDS)
            if not done:
                await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
            answered = {place: task.result() for task, place in asking.items() if task.done()}
            asking = {task: place for task, place in asking.items() if place not in answered}
            await self._post(answered, opened)

    async def _ask(self, place: int, opened: Opened) -> Answered | Exception:
        start()
        try:
            return await ask_around(self._claimed[place], opened, self._desk)
        except Exception as error:  # noqa: BLE001 - as above
            return error
        finally:
            self._leave(place)

    async def _post(self, told: dict[int, Answered | Exception], opened: dict[int, Opened]) -> None:
        """Post what the channel said of some, and keep their answers."""
        watch = Stopwatch()
        plain = {place: each for place, each in told.items() if isinstance(each, Answered)}
        ends = dict(zip(plain, await self._desk.ledger.post_all([*plain.values()]), strict=True))
        lap_all(steps.POST, watch, len(ends))
        posted: dict[int, Posted] = {}
        for place, answered in told.items():
            end = answered if isinstance(answered, Exception) else ends[place]
            if isinstance(end, Posted):
                posted[place] = end
            elif isinstance(end, Unavailable | InDoubt):
                self._go_alone(place, partial(_not_posted, end, opened[place]))
            elif isinstance(end, Exception):
                self._aside.create_task(self._refuse(place, end))
            elif isinstance(answered, Answered):
                self._go_alone(place, partial(_post_alone, answered))
        self._settle(posted)

    def _settle(self, posted: dict[int, Posted]) -> None:
        """Answer as it is durable; whoever comes after these need not wait until it is kept."""
        answers = {place: Answer(CREATED, each.body) for place, each in posted.items()}
        self._ends |= answers
        if answers:
            self._aside.create_task(self._keep(answers))

    async def _keep(self, answers: dict[int, Answer]) -> None:
        watch = Stopwatch()
        ends = [(self._claimed[place], answer) for place, answer in answers.items()]
        await self._unharmed(self._desk.idempotency.settle_all(ends))
        lap_all(steps.SETTLE, watch, len(ends))

    async def _refuse(self, place: int, error: BaseException) -> None:
        """End one without a payment to show; one that was not read yet has no claim."""
        claimed = self._claimed.get(place)
        if claimed is not None and isinstance(error, FloodgateError):
            await self._unharmed(let_go(claimed, self._desk, error))
        self._ends[place] = _kept(refusal(error, self._request_id))

    async def _unharmed(self, ending: Awaitable[None]) -> None:
        """End claims, which only spares the next try some work: its trouble is nobody's answer."""
        try:
            await ending
        except Exception:
            logger.exception("%s: a claim could not be ended", self._request_id)

    async def _end_late(self, place: int) -> None:
        """End one whose time is over; what was not opened may still be, and nobody knows it yet."""
        opened = self._opened.get(place)
        if opened is None:
            await self._refuse(place, InDoubt("it is late"))
        else:
            self._ends[place] = unposted(opened)
            await self._unharmed(self._desk.idempotency.release(self._claimed[place]))

    async def _reused(self, item: Claimed, problem: Problem) -> Answer:
        """Serve one whose key Redis has for another request, where PostgreSQL knows better."""
        claimed = await used_by_nobody_else(item.matched, self._desk, problem)
        return await served(claimed, self._desk, pay, seconds=limits.ITEM_SECONDS_MAX)

    def _go_alone(self, place: int, serve: Callable[[Claimed, Desk], Awaitable[Answer]]) -> None:
        claimed = self._claimed[place]
        serving = served(claimed, self._desk, serve, seconds=limits.ITEM_SECONDS_MAX)
        self._aside.create_task(self._alone(place, serving))

    async def _alone(self, place: int, serving: Awaitable[Answer]) -> None:
        """Serve one as if it had come alone; whatever goes wrong is its own result."""
        start()
        try:
            self._ends[place] = await serving
        except Exception as error:  # noqa: BLE001 - as above
            self._ends[place] = _kept(refusal(error, self._request_id))

    def _leave(self, place: int) -> None:
        """Give up a place at a channel, where one is kept."""
        kept = self._kept.pop(place, None)
        if kept is not None:
            kept.__exit__(None, None, None)


async def _post_alone(answered: Answered, claimed: Claimed, desk: Desk) -> Answer:
    posted = await unless_away(desk.ledger.post(answered))
    return await told(claimed, answered.opened, posted, desk)


async def _not_posted(
    error: Unavailable | InDoubt, opened: Opened, claimed: Claimed, desk: Desk
) -> Answer:
    note_away(error)
    return await told(claimed, opened, None, desk)


def _kept(problem: Problem) -> Problem:
    """Let go of where it was raised: there the whole batch is held, which holds the problem."""
    return problem.with_traceback(None)


def _answer_to(result: Answer | Problem, claimed: Claimed) -> Answer:
    if isinstance(result, Answer):
        return result
    if result.code.startswith("idempotency_key"):
        result.param = "idempotency_key"  # what is a header elsewhere is a member of an item
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


def _is_unfinished(end: Answer | Problem) -> bool:
    return end.passing if isinstance(end, Answer) else end.code in _UNFINISHED


def _is_taken(result: Answer) -> bool:
    return result.status == CREATED


def _key_stands_twice() -> Problem:
    return Problem(
        "idempotency_key_reused",
        "This key stands in the same batch for another payment, or is the key of the batch itself.",
    )
