"""The channel contract on a real chain: a node of ours over eth-tester, asked by JSON-RPC."""

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest
from channel_kit import HOLDS, NOTICES, ChannelContract, without
from channel_rig import AMOUNT, CURRENCY, RawNotice, ask, create, fresh, question
from msgspec.structs import replace

from gateway.channels.courier import Courier
from gateway.channels.crypto.channel import CryptoChannel
from gateway.channels.port import CREDENTIAL_REFUSED, Ask, Verb
from gateway.domain.limits import CHAIN_NEWS_SECONDS
from gateway.domain.outcome import Outcome, Verdict
from gateway.drivers.clock import Clock
from gateway.drivers.outbound import Outbound
from tests.fakes.evm_node import FINALITY_BLOCKS, Node, standing

UNITS = 10_000  # of a token with six decimals in a fen


def address_in(outcome: Outcome) -> str:
    assert outcome.next_action is not None
    assert outcome.next_action.fields is not None
    return outcome.next_action.fields["address"]


class CryptoRig:
    """A block is mined before each question; who has paid an address does not pay it again."""

    def __init__(self, node: Node, courier: Courier, confirmations: int | None) -> None:
        self.node = node
        self.confirmations = confirmations
        self.channel = self.at(node.base_url)
        self.courier = courier

    def method(self, case: str) -> Mapping[str, str]:  # noqa: ARG002 - nothing is scripted
        return {"type": "crypto"}

    def at(self, base_url: str, **changes: Any) -> CryptoChannel:
        words = {"confirmations": self.confirmations} | changes
        return CryptoChannel([self.node.credential(base_url, **words)], "https://us.example/")

    async def booked(self, number: str) -> list[tuple[str, int]]:
        deposit = "0x" + self.channel._deposit(number).hex()
        return [("payment", units // UNITS) for units in self.node.received(deposit)]

    async def pay(self, outcome: Outcome) -> None:
        address = address_in(outcome)
        if not self.node.received(address):
            assert outcome.next_action is not None
            assert outcome.next_action.fields is not None
            self.node.send(address, int(outcome.next_action.fields["units"]))
        self.node.mine(FINALITY_BLOCKS)

    async def next_notice(self) -> RawNotice:
        raise NotImplementedError


@pytest.fixture(params=[3, None], ids=["confirmations", "finalized"])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[CryptoRig]:
    async with standing(mines=True) as node, Outbound() as outbound:
        yield CryptoRig(node, Courier(outbound, Clock(), seconds=10), request.param)


def after_its_time(verb: Verb, number: str) -> Ask:
    now = datetime.now(UTC)
    return replace(question(verb, number), expires_at=now - timedelta(minutes=5), asked_at=now)


async def asked_after_its_time(rig: CryptoRig, verb: Verb, number: str) -> Outcome:
    return await rig.courier.ask(rig.channel, after_its_time(verb, number))


class TestCrypto(ChannelContract):
    """A chain keeps the contract of every channel, but for what cannot happen on it."""

    cannot: ClassVar[Mapping[str, str]] = (
        without(HOLDS, "A transfer is taken at once: capabilities.authorize is False.")
        | without(NOTICES, "A node sends no notices: capabilities.notify is False.")
        | without(
            [
                "test_a_timeout_after_booking_is_unknown_and_a_query_finds_the_money",
                "test_an_error_after_booking_is_unknown_and_a_query_finds_the_money",
                "test_a_timeout_before_booking_is_unknown_and_over_once_its_time_is",
                "test_a_timeout_before_booking_can_be_closed_for_good",
            ],
            "Nothing moves before the payer sees the address, and that is in our answer.",
        )
        | without(
            [
                "test_refunds_in_parts_never_give_back_more_than_was_taken",
                "test_an_unknown_refund_is_found_and_never_given_twice",
                "test_a_refund_of_which_nothing_is_said_is_unknown",
            ],
            "Refunds are made by hand: every one is refused.",
        )
        | {
            "test_a_number_with_other_parameters_proves_nothing": (
                "An address knows no amount, and to ask for it again moves nothing."
            ),
            "test_a_decline_is_final_and_says_why": "Nobody declines a transfer.",
            "test_an_answer_about_other_money_is_frozen": (
                "A chain says what came, not what was asked; that is compared in its own tests."
            ),
            "test_a_close_that_races_the_payer_ends_as_the_books_do": (
                "An address cannot be closed: what comes later is late money, as told below."
            ),
        }
    )

    async def test_the_payer_is_told_where_to_send_what(self, rig: CryptoRig) -> None:
        shown = await create(rig, "payer", fresh())
        assert shown.next_action is not None
        address, token = address_in(shown), rig.node.token
        assert shown.next_action.fields == {
            "chain_id": "1337",
            "token": token,
            "address": address,
            "units": "19990000",
            "amount": "19.99",
        }
        assert shown.next_action.qr == (
            f"ethereum:{token}@1337/transfer?address={address}&uint256=19990000"
        )
        assert shown.channel_transaction is not None
        assert shown.channel_transaction.startswith(f"1337:{address}@")

    async def test_the_chain_itself_makes_a_contract_at_that_address(self, rig: CryptoRig) -> None:
        number = fresh()
        address = address_in(await create(rig, "payer", number))
        assert rig.node.chain.get_code(address) == "0x"
        rig.node.call(rig.node.factory, "0x" + number.rjust(64, "0"))
        assert rig.node.chain.get_code(address) == "0x00"

    async def test_money_counts_once_it_lies_deep_enough(self, rig: CryptoRig) -> None:
        rig.node.mines = False
        number = fresh()
        rig.node.send(address_in(await create(rig, "payer", number)), AMOUNT * UNITS)
        for _ in range(FINALITY_BLOCKS):
            outcome = await ask(rig, Verb.QUERY, number)
            assert (outcome.verdict, outcome.code) == (Verdict.PENDING, "confirming 19.99")
            assert (await ask(rig, Verb.CLOSE, number)).verdict is Verdict.PENDING
            rig.node.mine()
        paid = await ask(rig, Verb.QUERY, number)
        assert (paid.verdict, paid.amount, paid.currency) == (Verdict.SUCCEEDED, AMOUNT, CURRENCY)

    async def test_what_the_chain_gives_up_was_never_paid(self, rig: CryptoRig) -> None:
        rig.node.mines = False
        number = fresh()
        shown = await create(rig, "payer", number)
        fork = rig.node.chain.take_snapshot()
        rig.node.send(address_in(shown), AMOUNT * UNITS)
        assert (await ask(rig, Verb.QUERY, number)).verdict is Verdict.PENDING
        rig.node.chain.revert_to_snapshot(fork)
        rig.node.mine(FINALITY_BLOCKS + 3)
        assert (await ask(rig, Verb.QUERY, number)).verdict is Verdict.REQUIRES_ACTION
        assert (await asked_after_its_time(rig, Verb.QUERY, number)).verdict is Verdict.CLOSED
        # The transaction was not lost: it comes again in another block.
        rig.node.send(address_in(shown), AMOUNT * UNITS)
        rig.node.mine(FINALITY_BLOCKS)
        assert (await ask(rig, Verb.QUERY, number)).verdict is Verdict.SUCCEEDED

    async def test_two_transfers_make_one_payment(self, rig: CryptoRig) -> None:
        number = fresh()
        address = address_in(await create(rig, "payer", number))
        rig.node.send(address, 500 * UNITS)
        rig.node.mine(FINALITY_BLOCKS)
        part = await ask(rig, Verb.QUERY, number)
        assert (part.verdict, part.code, part.amount) == (Verdict.PENDING, "paid_partly 5", None)
        rig.node.send(address, (AMOUNT - 500) * UNITS)
        rig.node.mine(FINALITY_BLOCKS)
        paid = await ask(rig, Verb.QUERY, number)
        assert (paid.verdict, paid.amount, paid.code) == (Verdict.SUCCEEDED, AMOUNT, "paid")
        assert await rig.booked(number) == [("payment", 500), ("payment", AMOUNT - 500)]

    async def test_a_part_is_frozen_with_its_amount_when_time_is_over(self, rig: CryptoRig) -> None:
        number = fresh()
        address = address_in(await create(rig, "payer", number))
        rig.node.send(address, 500 * UNITS)
        rig.node.mine(FINALITY_BLOCKS)
        assert (await ask(rig, Verb.CLOSE, number)).verdict is Verdict.PENDING
        for verb in (Verb.QUERY, Verb.CLOSE):
            part = await asked_after_its_time(rig, verb, number)
            assert (part.verdict, part.conflict) == (Verdict.UNKNOWN, True)
            assert (part.amount, part.currency, part.code) == (500, CURRENCY, "paid_partly 5")
        # The rest may still be on its way, and then it is waited for.
        rig.node.mines = False
        rig.node.send(address, (AMOUNT - 500) * UNITS)
        waits = await asked_after_its_time(rig, Verb.CLOSE, number)
        assert (waits.verdict, waits.code) == (Verdict.PENDING, "confirming 19.99")

    async def test_what_is_sent_too_much_is_told_beside_what_was_asked(
        self, rig: CryptoRig
    ) -> None:
        number = fresh()
        address = address_in(await create(rig, "payer", number))
        rig.node.send(address, 500 * UNITS)
        rig.node.send(address, AMOUNT * UNITS + 123)
        rig.node.send(address, 700 * UNITS)
        rig.node.mine(FINALITY_BLOCKS)
        first = replace(question(Verb.QUERY, number), captured=0)
        paid = await rig.courier.ask(rig.channel, first)
        assert (paid.verdict, paid.amount) == (Verdict.SUCCEEDED, AMOUNT)
        assert (paid.code, paid.news_in_seconds) == ("paid_over 31.990123", CHAIN_NEWS_SECONDS)
        # Once that is booked, what went beyond it is told transfer by transfer.
        booked = replace(first, captured=AMOUNT)
        for amount, is_last in ((500, False), (700, True)):
            more = await rig.courier.ask(rig.channel, booked)
            assert (more.verdict, more.amount, more.currency) == (
                Verdict.SUCCEEDED,
                amount,
                CURRENCY,
            )
            assert (more.news_in_seconds is None) is is_last
            assert more.channel_transaction is not None
            known = (*booked.further_transactions, more.channel_transaction)
            booked = replace(booked, further_transactions=known)
        assert len(set(booked.further_transactions)) == 2
        assert await rig.courier.ask(rig.channel, booked) == replace(paid, news_in_seconds=None)

    async def test_less_than_the_books_can_hold_is_nothing(self, rig: CryptoRig) -> None:
        number = fresh()
        address = address_in(await create(rig, "payer", number))
        rig.node.send(address, UNITS - 1)
        rig.node.mine(FINALITY_BLOCKS)
        assert (await ask(rig, Verb.QUERY, number)).verdict is Verdict.REQUIRES_ACTION
        assert (await asked_after_its_time(rig, Verb.CLOSE, number)).verdict is Verdict.CLOSED

    async def test_money_that_comes_after_a_close_is_found(self, rig: CryptoRig) -> None:
        number = fresh()
        shown = await create(rig, "payer", number)
        rig.node.mine(FINALITY_BLOCKS + 1)
        assert (await ask(rig, Verb.CLOSE, number)).verdict is Verdict.CLOSED
        await rig.pay(shown)
        found = await asked_after_its_time(rig, Verb.QUERY, number)
        assert (found.verdict, found.amount) == (Verdict.SUCCEEDED, AMOUNT)
        assert found.channel_transaction == shown.channel_transaction

    async def test_a_chain_that_stands_still_closes_nothing(self, rig: CryptoRig) -> None:
        rig.node.mines = False
        number = fresh()
        await create(rig, "payer", number)
        for verb in (Verb.QUERY, Verb.CLOSE):
            closed = await asked_after_its_time(rig, verb, number)
            assert closed.verdict is Verdict.REQUIRES_ACTION
        rig.node.mine()
        assert (await asked_after_its_time(rig, Verb.CLOSE, number)).verdict is Verdict.CLOSED

    async def test_an_address_that_was_never_shown_is_shown_by_a_query_or_closed(
        self, rig: CryptoRig
    ) -> None:
        number = fresh()
        order = question(Verb.QUERY, number)
        shown = await rig.courier.ask(rig.channel, order)
        assert shown.verdict is Verdict.REQUIRES_ACTION
        assert shown.channel_transaction is not None
        asked = len(rig.node.asked)
        closed = await rig.courier.ask(rig.channel, replace(order, verb=Verb.CLOSE))
        assert closed == Outcome(Verdict.CLOSED, code="never_shown")
        assert len(rig.node.asked) == asked

    async def test_another_token_is_no_money(self, rig: CryptoRig) -> None:
        number = fresh()
        address = address_in(await create(rig, "payer", number))
        other = rig.node.chain.get_accounts()[1]
        rig.node.send(address, AMOUNT * UNITS, token=rig.node.factory)
        rig.node.send(other, AMOUNT * UNITS)
        rig.node.mine(FINALITY_BLOCKS)
        assert (await ask(rig, Verb.QUERY, number)).verdict is Verdict.REQUIRES_ACTION

    @pytest.mark.parametrize("wrong", [{"chain_id": 1}, {"token_decimals": 18}, {"token": "0x"}])
    async def test_an_account_that_is_not_as_its_credential_says_shows_no_address(
        self, rig: CryptoRig, wrong: dict[str, Any]
    ) -> None:
        if "token" in wrong:
            wrong = {"token": rig.node.wallet}
        channel = rig.at(rig.node.base_url, **wrong)
        made = await rig.courier.ask(channel, question(Verb.CREATE, fresh()))
        assert (made.verdict, made.code) == (Verdict.FAILED, CREDENTIAL_REFUSED)
        assert made.next_action is None

    async def test_a_node_of_another_chain_proves_nothing(self, rig: CryptoRig) -> None:
        number = fresh()
        await create(rig, "approved", number)
        rig.node.chain_id = 1
        for verb in (Verb.QUERY, Verb.CLOSE):
            assert await ask(rig, verb, number) == Outcome(code=CREDENTIAL_REFUSED)

    async def test_a_node_that_will_not_answer_proves_nothing(self, rig: CryptoRig) -> None:
        number = fresh()
        await create(rig, "payer", number)
        rig.node.refusal = 200, -32005
        assert await ask(rig, Verb.QUERY, number) == Outcome(code="rpc_-32005")
        rig.node.refusal = 401, -32600
        assert await ask(rig, Verb.CLOSE, number) == Outcome(code=CREDENTIAL_REFUSED)
        made = await create(rig, "payer", fresh())
        assert (made.verdict, made.code) == (Verdict.FAILED, CREDENTIAL_REFUSED)
        rig.node.refusal = None
        behind = replace(question(Verb.QUERY, number), channel_transaction="1337:0x@999999")
        assert await rig.courier.ask(rig.channel, behind) == Outcome(code="rpc_-32602")

    async def test_money_that_is_to_be_held_is_refused_unasked(self, rig: CryptoRig) -> None:
        asked = len(rig.node.asked)
        held = await create(rig, "payer", fresh(), capture=False)
        assert held.verdict is Verdict.FAILED
        assert held.failure is not None
        assert (held.failure.code, len(rig.node.asked)) == ("capture_unsupported", asked)
