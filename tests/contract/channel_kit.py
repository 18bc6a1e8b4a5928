"""The cases that every channel must pass, written against a rig so that the next one reuses them.

A rig is a channel with its simulated acquirer behind real sockets.  A new channel writes a rig, and
a test class that inherits `ChannelContract` and gives it the fixture `rig`.  What an acquirer
cannot do, or what cannot happen to it, the class declares in `cannot`, with the reason.
"""

import asyncio
import itertools
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import ClassVar, Final

import pytest
from channel_rig import (
    AMOUNT,
    CURRENCY,
    RawNotice,
    Rig,
    ask,
    asked,
    create,
    fresh,
    money,
    parrot,
    question,
    raw,
    read,
    refund,
)
from msgspec.structs import replace

from gateway.channels.courier import Courier
from gateway.channels.port import Ask, NoticeRefused, Verb
from gateway.domain.outcome import Outcome, Verdict, checked
from gateway.domain.wire import WireAnswer
from gateway.drivers.clock import Clock
from gateway.drivers.outbound import Outbound

# What a channel cannot that declares so in its capabilities.
HOLDS: Final = (
    "test_authorized_money_is_captured_once_and_in_part",
    "test_authorized_money_is_let_go_by_a_close",
    "test_a_query_may_find_more_authorized_than_is_to_be_captured",
)
NOTICES: Final = (
    "test_a_late_success_is_noticed_and_found",
    "test_a_repeated_notice_is_the_same_notice",
    "test_notices_mean_the_same_in_any_order",
    "test_a_true_signature_under_a_wrong_amount_is_frozen",
    "test_a_forged_notice_is_refused",
    "test_a_true_notice_is_refused_when_it_is_altered",
    "test_a_true_notice_is_refused_without_its_headers",
    "test_a_true_notice_is_refused_when_it_is_old",
    "test_money_may_come_after_a_confirmed_close",
)
_STATUSES: Final = (202, 302, 400, 401, 403, 404, 408, 429, 500, 502, 503)
_NOTHING_SAID: Final = (b"", b"{}", b"<html>busy</html>")
_NOT_YET: Final = frozenset({Verdict.PENDING, Verdict.REQUIRES_ACTION})


def without(names: Iterable[str], reason: str) -> dict[str, str]:
    """Say of several tests why they have no meaning at this acquirer."""
    return dict.fromkeys(names, reason)


async def _nothing_is_proven(rig: Rig, order: Ask) -> None:
    """Ask an acquirer that answers, and in none of its words."""
    async with parrot() as bird, Outbound() as outbound:
        channel = rig.at(bird.base_url)
        for status, body in itertools.product(_STATUSES, _NOTHING_SAID):
            # A new courier each time: so much silence would shut the breaker of one.
            courier = Courier(outbound, Clock(), seconds=10)
            bird.says = WireAnswer(status, {"content-type": "application/json"}, body)
            outcome = await courier.ask(channel, order)
            assert (outcome.verdict, outcome.sent) == (Verdict.UNKNOWN, True), (status, body)


def _altered(body: bytes) -> Iterator[bytes]:
    """Give it with one letter changed, here and there, and without any."""
    for place in range(len(body) // 8, len(body), len(body) // 8):
        letter = b"0" if body[place : place + 1] != b"0" else b"1"
        yield body[:place] + letter + body[place + 1 :]
    yield b""


class SignedAnswers:
    """What must hold besides where an acquirer signs its answers, and not only its notices."""

    async def test_a_true_answer_proves_nothing_once_it_is_altered(self, rig: Rig) -> None:
        number = fresh()
        paid = await create(rig, "approved", number)
        query = question(Verb.QUERY, number)
        answer = await raw(rig, query)
        async with parrot() as bird:
            channel = rig.at(bird.base_url)
            bird.says = answer
            assert money(await rig.courier.ask(channel, query)) == money(paid)
            for body in _altered(answer.body):
                bird.says = WireAnswer(answer.status, answer.headers, body)
                assert (await rig.courier.ask(channel, query)).verdict is Verdict.UNKNOWN, body


class ChannelContract:
    """What must hold between us and any acquirer, whatever goes wrong in between.

    `cannot` says of a test by its name why it has no meaning at this acquirer.
    """

    cannot: ClassVar[Mapping[str, str]] = {}

    def __init_subclass__(cls) -> None:
        for name, reason in cls.cannot.items():
            assert hasattr(ChannelContract, name), f"{name} is no test of the contract"
            assert reason.strip(), f"{name}: why?"
            setattr(cls, name, None)

    async def test_the_same_number_takes_money_once(self, rig: Rig) -> None:
        number = fresh()
        first = await create(rig, "approved", number)
        assert (first.verdict, first.amount, first.currency) == (
            Verdict.SUCCEEDED,
            AMOUNT,
            CURRENCY,
        )
        assert first.channel_transaction
        assert await create(rig, "approved", number) == first
        assert await ask(rig, Verb.QUERY, number) == first
        assert await rig.booked(number) == [("payment", AMOUNT)]

    async def test_two_requests_at_once_under_one_number_take_money_once(self, rig: Rig) -> None:
        number = fresh()
        both = await asyncio.gather(*(create(rig, "approved", number) for _ in range(2)))
        assert Verdict.SUCCEEDED in {each.verdict for each in both}
        assert (await ask(rig, Verb.QUERY, number)).verdict is Verdict.SUCCEEDED
        assert await rig.booked(number) == [("payment", AMOUNT)]

    async def test_a_number_with_other_parameters_proves_nothing(self, rig: Rig) -> None:
        number = fresh()
        await create(rig, "approved", number)
        other = Ask(Verb.CREATE, number, AMOUNT + 1, CURRENCY, rig.method("approved"))
        assert (await rig.courier.ask(rig.channel, other)).verdict is Verdict.UNKNOWN
        assert await rig.booked(number) == [("payment", AMOUNT)]

    async def test_a_decline_is_final_and_says_why(self, rig: Rig) -> None:
        number = fresh()
        outcome = await create(rig, "declined", number)
        assert outcome.verdict is Verdict.FAILED
        assert outcome.failure is not None
        assert outcome.failure.channel_code == outcome.code
        assert await rig.booked(number) == []

    async def test_a_timeout_after_booking_is_unknown_and_a_query_finds_the_money(
        self, rig: Rig
    ) -> None:
        number = fresh()
        assert await create(rig, "timeout_booked", number) == Outcome(code="no_answer")
        assert (await ask(rig, Verb.QUERY, number)).verdict is Verdict.SUCCEEDED
        assert await rig.booked(number) == [("payment", AMOUNT)]

    async def test_a_timeout_before_booking_is_unknown_and_over_once_its_time_is(
        self, rig: Rig
    ) -> None:
        number = fresh()
        assert await create(rig, "timeout_lost", number) == Outcome(code="no_answer")
        assert (await ask(rig, Verb.QUERY, number)).verdict is Verdict.NOT_FOUND
        now = datetime.now(UTC)
        over = replace(
            question(Verb.CLOSE, number), expires_at=now - timedelta(minutes=5), asked_at=now
        )
        assert (await rig.courier.ask(rig.channel, over)).verdict is Verdict.CLOSED
        assert await rig.booked(number) == []

    async def test_a_timeout_before_booking_can_be_closed_for_good(self, rig: Rig) -> None:
        number = fresh()
        await create(rig, "timeout_lost", number)
        assert (await ask(rig, Verb.CLOSE, number)).verdict is Verdict.CLOSED
        assert (await ask(rig, Verb.QUERY, number)).verdict is Verdict.CLOSED
        again = (await create(rig, "approved", number)).verdict
        assert again in {Verdict.CLOSED, Verdict.FAILED, Verdict.UNKNOWN}
        assert await rig.booked(number) == []

    async def test_an_error_after_booking_is_unknown_and_a_query_finds_the_money(
        self, rig: Rig
    ) -> None:
        number = fresh()
        assert (await create(rig, "error_booked", number)).verdict is Verdict.UNKNOWN
        assert (await ask(rig, Verb.QUERY, number)).verdict is Verdict.SUCCEEDED
        assert await rig.booked(number) == [("payment", AMOUNT)]

    @pytest.mark.parametrize("verb", [Verb.CREATE, Verb.QUERY, Verb.CLOSE, Verb.CAPTURE])
    async def test_an_answer_without_the_channels_words_proves_nothing(
        self, rig: Rig, verb: Verb
    ) -> None:
        if verb is Verb.CAPTURE and not rig.channel.capabilities.authorize:
            verb = Verb.QUERY  # where nothing is held there is nothing to capture
        order = Ask(verb, fresh(), AMOUNT, CURRENCY, rig.method("approved"))
        if verb is not Verb.CREATE:
            order = replace(order, channel_transaction=fresh())
        await _nothing_is_proven(rig, order)

    @pytest.mark.parametrize("verb", [Verb.REFUND, Verb.QUERY_REFUND])
    async def test_a_refund_of_which_nothing_is_said_is_unknown(self, rig: Rig, verb: Verb) -> None:
        order = Ask(verb, fresh(), 500, CURRENCY, rig.method("approved"), refund_number=fresh())
        known = replace(order, channel_transaction=fresh(), refund_transaction=fresh())
        await _nothing_is_proven(rig, replace(known, captured=AMOUNT))

    async def test_an_acquirer_that_is_away_was_never_asked(self, rig: Rig) -> None:
        async with parrot() as bird:
            channel = rig.at(bird.base_url)
        outcome = await rig.courier.ask(channel, question(Verb.QUERY, fresh()))
        assert (outcome.verdict, outcome.sent) == (Verdict.UNKNOWN, False)

    async def test_an_answer_about_other_money_is_frozen(self, rig: Rig) -> None:
        number = fresh()
        await create(rig, "approved", number)
        outcome = await ask(rig, Verb.QUERY, number, amount=AMOUNT - 1)
        assert (outcome.verdict, outcome.code) == (Verdict.UNKNOWN, "amount_mismatch")
        other = replace(question(Verb.QUERY, number), currency="HKD")
        outcome = await rig.courier.ask(rig.channel, other)
        assert (outcome.verdict, outcome.code) == (Verdict.UNKNOWN, "amount_mismatch")

    async def test_an_answer_about_another_number_is_frozen(self, rig: Rig) -> None:
        """The acquirer, or a cache between us, gives us somebody else's answer."""
        ours, theirs = fresh(), fresh()
        told = await create(rig, "approved", theirs)
        assert told.channel_transaction is not None
        mixed_up = replace(question(Verb.QUERY, theirs), number=ours)
        answer = await raw(rig, question(Verb.QUERY, theirs))
        async with parrot() as bird:
            bird.says = answer
            outcome = await rig.courier.ask(rig.at(bird.base_url), mixed_up)
        assert (outcome.verdict, outcome.code) == (Verdict.UNKNOWN, "number_mismatch")
        assert outcome.conflict

    async def test_a_late_success_is_noticed_and_found(self, rig: Rig) -> None:
        number = fresh()
        assert (await create(rig, "pending", number)).verdict in _NOT_YET
        notice = read(rig, await rig.next_notice())
        assert (notice.number, notice.refund_number) == (number, None)
        assert notice.outcome.verdict is Verdict.SUCCEEDED
        assert checked(notice.outcome, amount=AMOUNT, currency=CURRENCY) is notice.outcome
        assert money(await ask(rig, Verb.QUERY, number)) == money(notice.outcome)
        assert await rig.booked(number) == [("payment", AMOUNT)]

    async def test_a_repeated_notice_is_the_same_notice(self, rig: Rig) -> None:
        number = fresh()
        await create(rig, "duplicate_notice", number)
        notices = [read(rig, await rig.next_notice()) for _ in range(3)]
        assert notices[0] == notices[1] == notices[2]
        assert notices[0].number == number
        assert await rig.booked(number) == [("payment", AMOUNT)]

    async def test_notices_mean_the_same_in_any_order(self, rig: Rig) -> None:
        numbers = [fresh() for _ in range(4)]
        await asyncio.gather(*(create(rig, "pending", number) for number in numbers))
        raw = [await rig.next_notice() for _ in numbers]
        forwards = {read(rig, each).number: read(rig, each) for each in raw}
        backwards = {read(rig, each).number: read(rig, each) for each in reversed(raw)}
        assert forwards == backwards
        assert forwards.keys() == set(numbers)
        assert len({notice.notice_id for notice in forwards.values()}) == len(numbers)

    async def test_a_true_signature_under_a_wrong_amount_is_frozen(self, rig: Rig) -> None:
        number = fresh()
        await create(rig, "wrong_amount_notice", number)
        notice = read(rig, await rig.next_notice())
        assert notice.outcome.amount != AMOUNT
        frozen = checked(notice.outcome, amount=AMOUNT, currency=CURRENCY)
        assert (frozen.verdict, frozen.code) == (Verdict.UNKNOWN, "amount_mismatch")
        assert await rig.booked(number) == []

    async def test_a_forged_notice_is_refused(self, rig: Rig) -> None:
        await create(rig, "forged_notice", fresh())
        raw = await rig.next_notice()
        with pytest.raises(NoticeRefused, match="forged"):
            read(rig, raw)

    async def test_a_true_notice_is_refused_when_it_is_altered(self, rig: Rig) -> None:
        await create(rig, "pending", fresh())
        raw = await rig.next_notice()
        for body in _altered(raw.body):
            with pytest.raises(NoticeRefused):
                read(rig, RawNotice(raw.headers, body))

    async def test_a_true_notice_is_refused_without_its_headers(self, rig: Rig) -> None:
        await create(rig, "pending", fresh())
        raw = await rig.next_notice()
        with pytest.raises(NoticeRefused):
            read(rig, RawNotice({}, raw.body))

    async def test_a_true_notice_is_refused_when_it_is_old(self, rig: Rig) -> None:
        await create(rig, "pending", fresh())
        raw = await rig.next_notice()
        for minutes in (-6, 6):
            now = datetime.now(UTC) + timedelta(minutes=minutes)
            with pytest.raises(NoticeRefused, match="stale"):
                rig.channel.read_notice(raw.headers, raw.body, now)

    async def test_money_may_come_after_a_confirmed_close(self, rig: Rig) -> None:
        number = fresh()
        assert (await create(rig, "late_success", number)).verdict in _NOT_YET
        assert (await ask(rig, Verb.CLOSE, number)).verdict is Verdict.CLOSED
        notice = read(rig, await rig.next_notice())
        assert (notice.number, notice.outcome.verdict) == (number, Verdict.SUCCEEDED)
        assert (await ask(rig, Verb.QUERY, number)).verdict is Verdict.SUCCEEDED
        assert await rig.booked(number) == [("payment", AMOUNT)]

    @pytest.mark.parametrize("first", ["pay", "close", "both"])
    async def test_a_close_that_races_the_payer_ends_as_the_books_do(
        self, rig: Rig, first: str
    ) -> None:
        number = fresh()
        shown = await create(rig, "payer", number)
        assert shown.verdict is Verdict.REQUIRES_ACTION
        if first == "both":
            _, closed = await asyncio.gather(rig.pay(shown), ask(rig, Verb.CLOSE, number))
        elif first == "pay":
            await rig.pay(shown)
            closed = await ask(rig, Verb.CLOSE, number)
        else:
            closed = await ask(rig, Verb.CLOSE, number)
            await rig.pay(shown)
        paid = await rig.booked(number) == [("payment", AMOUNT)]
        expected = Verdict.SUCCEEDED if paid else Verdict.CLOSED
        assert (closed.verdict is Verdict.CLOSED) is not paid
        assert (await ask(rig, Verb.QUERY, number)).verdict is expected
        assert paid or first != "pay"

    async def test_authorized_money_is_captured_once_and_in_part(self, rig: Rig) -> None:
        number = fresh()
        authorized = await create(rig, "approved", number, capture=False)
        assert authorized.verdict is Verdict.AUTHORIZED
        assert await rig.booked(number) == []
        too_much = await ask(rig, Verb.CAPTURE, number, amount=AMOUNT + 1)
        assert too_much.verdict is Verdict.FAILED
        captured = await ask(rig, Verb.CAPTURE, number, amount=600)
        assert (captured.verdict, captured.amount) == (Verdict.SUCCEEDED, 600)
        assert money(await ask(rig, Verb.CAPTURE, number, amount=600)) == money(captured)
        assert (await ask(rig, Verb.CAPTURE, number, amount=601)).verdict is Verdict.UNKNOWN
        assert await rig.booked(number) == [("payment", 600)]

    async def test_authorized_money_is_let_go_by_a_close(self, rig: Rig) -> None:
        number = fresh()
        await create(rig, "approved", number, capture=False)
        assert (await ask(rig, Verb.CLOSE, number)).verdict is Verdict.CLOSED
        assert (await ask(rig, Verb.CAPTURE, number)).verdict is Verdict.CLOSED
        assert await rig.booked(number) == []

    async def test_a_query_may_find_more_authorized_than_is_to_be_captured(self, rig: Rig) -> None:
        number = fresh()
        await create(rig, "approved", number, capture=False)
        outcome = await ask(rig, Verb.QUERY, number, amount=600)
        assert (outcome.verdict, outcome.amount) == (Verdict.AUTHORIZED, AMOUNT)

    async def test_refunds_in_parts_never_give_back_more_than_was_taken(self, rig: Rig) -> None:
        number, first = fresh(), fresh()
        await create(rig, "approved", number)
        given = await refund(rig, number, first, 999)
        assert given.verdict is Verdict.SUCCEEDED
        again = await refund(rig, number, first, 999)
        assert again.verdict in {given.verdict, *_NOT_YET, Verdict.UNKNOWN}
        found = await refund(rig, number, first, 999, verb=Verb.QUERY_REFUND)
        assert found.verdict is given.verdict
        assert {found.amount, given.amount} <= {999, None}
        assert (await refund(rig, number, fresh(), 1001)).verdict is Verdict.FAILED
        # By the transaction's own name as well, as what was paid beside a payment goes back.
        order = question(Verb.REFUND, number, refund_number=fresh(), amount=1000)
        last = await asked(rig, replace(order, is_further=True))
        assert last.verdict in {Verdict.SUCCEEDED, Verdict.PENDING}
        found = await asked(rig, replace(order, verb=Verb.QUERY_REFUND, is_further=True))
        assert found.verdict is Verdict.SUCCEEDED
        expected = [("payment", AMOUNT), ("refund", 999), ("refund", 1000)]
        assert await rig.booked(number) == expected

    async def test_an_unknown_refund_is_found_and_never_given_twice(self, rig: Rig) -> None:
        number, name = fresh(), fresh()
        await create(rig, "refund_unknown", number)
        assert (await refund(rig, number, name, 500)).verdict is Verdict.UNKNOWN
        assert (await refund(rig, number, name, 500)).verdict is Verdict.UNKNOWN
        found = await refund(rig, number, name, 500, verb=Verb.QUERY_REFUND)
        assert (found.verdict, found.amount) == (Verdict.SUCCEEDED, 500)
        assert await rig.booked(number) == [("payment", AMOUNT), ("refund", 500)]

    async def test_a_refund_that_never_came_is_not_found(self, rig: Rig) -> None:
        number = fresh()
        await create(rig, "approved", number)
        missing = await refund(rig, number, fresh(), 500, verb=Verb.QUERY_REFUND)
        assert missing.verdict is Verdict.NOT_FOUND

    async def test_a_refused_refund_stays_refused(self, rig: Rig) -> None:
        number, name = fresh(), fresh()
        await create(rig, "refund_fails", number)
        refused = await refund(rig, number, name, 500)
        assert refused.verdict in {Verdict.FAILED, Verdict.CLOSED}
        assert refused.failure is not None or refused.verdict is Verdict.CLOSED
        assert await refund(rig, number, name, 500) == refused
        found = await refund(rig, number, name, 500, verb=Verb.QUERY_REFUND)
        assert found.verdict in {refused.verdict, Verdict.NOT_FOUND}
        assert await rig.booked(number) == [("payment", AMOUNT)]
