"""The simulated acquirer over real sockets: every script, its books and its bill."""

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from simulator_merchant import QR, SECRET, Merchant, card, eventually, fresh, is_up, listening

from gateway.channels.port import Verb
from gateway.channels.simulator.messages import sign
from gateway.channels.simulator.server import SimulatorConfig, running, serve
from gateway.domain.outcome import Outcome, Verdict
from gateway.domain.wire import WireAnswer, WireRequest


@pytest.fixture
async def merchant() -> AsyncIterator[Merchant]:
    config = SimulatorConfig(port=0, secret=SECRET, delay_ms=20, hold_ms=20)
    async with listening() as merchant, running(config) as base_url:
        merchant.at(base_url)
        yield merchant


# What each script tells at once, what a query finds in the end, and whether money is booked.
SCRIPTS = [
    ("tok_ok", Verdict.SUCCEEDED, Verdict.SUCCEEDED, True),
    ("tok_declined", Verdict.FAILED, Verdict.FAILED, False),
    ("tok_insufficient_funds", Verdict.FAILED, Verdict.FAILED, False),
    ("tok_expired_card", Verdict.FAILED, Verdict.FAILED, False),
    ("tok_nobody_knows", Verdict.FAILED, Verdict.FAILED, False),
    ("tok_timeout_booked", Verdict.UNKNOWN, Verdict.SUCCEEDED, True),
    ("tok_timeout_lost", Verdict.UNKNOWN, Verdict.NOT_FOUND, False),
    ("tok_error_booked", Verdict.UNKNOWN, Verdict.SUCCEEDED, True),
    ("tok_pending", Verdict.PENDING, Verdict.SUCCEEDED, True),
    ("tok_pending_lost_notice", Verdict.PENDING, Verdict.SUCCEEDED, True),
    ("tok_duplicate_notice", Verdict.SUCCEEDED, Verdict.SUCCEEDED, True),
    ("tok_wrong_amount_notice", Verdict.PENDING, Verdict.PENDING, False),
    ("tok_forged_notice", Verdict.PENDING, Verdict.PENDING, False),
    ("tok_late_success", Verdict.PENDING, Verdict.PENDING, False),
    ("tok_refund_unknown", Verdict.SUCCEEDED, Verdict.SUCCEEDED, True),
    ("tok_refund_fails", Verdict.SUCCEEDED, Verdict.SUCCEEDED, True),
    ("tok_latency_30", Verdict.SUCCEEDED, Verdict.SUCCEEDED, True),
]


@pytest.mark.parametrize(("token", "told", "found", "booked"), SCRIPTS, ids=[s[0] for s in SCRIPTS])
async def test_every_script(
    merchant: Merchant, token: str, told: Verdict, found: Verdict, *, booked: bool
) -> None:
    number = fresh()
    assert (await merchant.create(card(token), number)).verdict is told

    async def is_found() -> bool:
        return (await merchant.ask(Verb.QUERY, number)).verdict is found

    await eventually(is_found)
    assert await merchant.is_booked(number) is booked
    # Whatever was told, saying it again changes nothing.
    await merchant.create(card(token), number)
    assert len([line for line in await merchant.books() if line["number"] == number]) == booked


@pytest.mark.parametrize(("token", "told", "found", "booked"), SCRIPTS, ids=[s[0] for s in SCRIPTS])
async def test_every_script_authorizes_instead_when_nobody_captures_yet(
    merchant: Merchant, token: str, told: Verdict, found: Verdict, *, booked: bool
) -> None:
    number = fresh()
    expected = Verdict.AUTHORIZED if booked else found
    assert (await merchant.create(card(token), number, capture=False)).verdict in {told, expected}

    async def is_found() -> bool:
        return (await merchant.ask(Verb.QUERY, number)).verdict is expected

    await eventually(is_found)
    assert not await merchant.is_booked(number)
    if booked:
        captured = await merchant.ask(Verb.CAPTURE, number, 400)
        assert (captured.verdict, captured.amount) == (Verdict.SUCCEEDED, 400)
        assert await merchant.is_booked(number)


async def is_pending(merchant: Merchant, number: str) -> bool:
    return (await merchant.ask(Verb.QUERY, number)).verdict is Verdict.PENDING


async def test_a_caller_who_leaves_does_not_stop_a_slow_booking(merchant: Merchant) -> None:
    number = fresh()
    caller = asyncio.create_task(merchant.create(card("tok_latency_1000"), number))
    await eventually(lambda: is_pending(merchant, number))
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await eventually(lambda: merchant.is_booked(number))


async def test_a_second_try_at_a_slow_payment_waits_for_the_same_booking(
    merchant: Merchant,
) -> None:
    number = fresh()
    first, second = await asyncio.gather(
        *(merchant.create(card("tok_latency_100"), number) for _ in range(2))
    )
    assert first == second
    assert first.verdict is Verdict.SUCCEEDED
    assert len(await merchant.books()) == 1


async def test_a_slow_payment_that_is_closed_stays_closed(merchant: Merchant) -> None:
    number = fresh()
    slow = asyncio.create_task(merchant.create(card("tok_latency_1000"), number))
    await eventually(lambda: is_pending(merchant, number))
    assert (await merchant.ask(Verb.CLOSE, number)).verdict is Verdict.CLOSED
    assert (await slow).verdict is Verdict.CLOSED
    assert await merchant.books() == []


async def test_a_silent_acquirer_hangs_up_in_the_end(
    merchant: Merchant, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        outcome = await merchant.create(card("tok_timeout_booked"), fresh())
    assert outcome == Outcome(code="no_answer")
    assert caplog.messages == []


async def test_a_lost_notice_never_comes(merchant: Merchant) -> None:
    lost, after = fresh(), fresh()
    await merchant.create(card("tok_pending_lost_notice"), lost)
    await eventually(lambda: merchant.is_booked(lost))
    await merchant.create(card("tok_duplicate_notice"), after)
    assert {(await merchant.next_notice()).number for _ in range(3)} == {after}


async def test_a_notice_that_is_not_accepted_comes_again(merchant: Merchant) -> None:
    merchant.answers = [503, 404]
    await merchant.create(card("tok_pending"), fresh())
    first, second, third = [await merchant.next_notice() for _ in range(3)]
    assert first == second == third
    assert merchant.answers == []


async def test_a_payer_pays_a_qr_code_once(merchant: Merchant) -> None:
    number = fresh()
    shown = await merchant.create(QR, number)
    assert shown.next_action is not None
    path = f"/pay/{shown.next_action.qr}"
    answers = [await merchant.call("POST", path) for _ in range(2)]
    assert [(a.status, json.loads(a.body)["status"]) for a in answers] == [(200, "succeeded")] * 2
    notice = await merchant.next_notice()
    assert (notice.number, notice.outcome.verdict) == (number, Verdict.SUCCEEDED)
    assert [line["amount"] for line in await merchant.books()] == [1000]


async def test_a_qr_code_dies_with_its_order(merchant: Merchant) -> None:
    expired, closed = fresh(), fresh()
    await merchant.create(QR, expired, expires_at=datetime.now(UTC) - timedelta(seconds=1))
    await merchant.create(QR, closed)
    await merchant.ask(Verb.CLOSE, closed)
    for number, word in ((expired, "expired"), (closed, "closed")):
        answer = await merchant.call("POST", f"/pay/qr_{number}")
        assert (answer.status, json.loads(answer.body)) == (409, {"error": word})
    assert await merchant.books() == []


async def test_only_a_qr_code_can_be_paid(merchant: Merchant) -> None:
    number = fresh()
    await merchant.create(card("tok_late_success"), number)
    for qr in (f"qr_{number}", "qr_unknown", ""):
        assert (await merchant.call("POST", f"/pay/{qr}")).status == 404
    assert await merchant.books() == []


async def test_an_authorized_qr_payment_can_be_captured(merchant: Merchant) -> None:
    number = fresh()
    await merchant.create(QR, number, capture=False)
    await merchant.call("POST", f"/pay/qr_{number}")
    assert (await merchant.next_notice()).outcome.verdict is Verdict.AUTHORIZED
    assert (await merchant.ask(Verb.CAPTURE, number)).verdict is Verdict.SUCCEEDED
    assert await merchant.is_booked(number)


async def test_unpaid_money_cannot_be_given_back(merchant: Merchant) -> None:
    number = fresh()
    await merchant.create(QR, number)
    refused = await merchant.ask(Verb.REFUND, number, refund_number=fresh())
    assert (refused.verdict, refused.code) == (Verdict.FAILED, "not_paid")


@pytest.mark.parametrize(
    "other",
    [{"amount": 999}, {"method": card("tok_pending")}, {"method": QR}, {"capture": False}],
    ids=str,
)
async def test_a_number_stands_for_its_first_parameters(
    merchant: Merchant, other: dict[str, object]
) -> None:
    number, name = fresh(), fresh()
    first = {"method": card("tok_ok"), "amount": 1000}
    await merchant.ask(Verb.CREATE, number, **first)
    refused = await merchant.ask(Verb.CREATE, number, **first | other)
    assert refused == Outcome(code="number_used")
    await merchant.ask(Verb.REFUND, number, 10, refund_number=name)
    refused = await merchant.ask(Verb.REFUND, number, 11, refund_number=name)
    assert refused == Outcome(code="number_used")
    assert [line["amount"] for line in await merchant.books()] == [1000, 10]


async def test_each_transaction_is_given_back_by_itself(merchant: Merchant) -> None:
    """A payer who pays again what is paid already; of each transaction no more than it took."""
    number, name = fresh(), fresh()
    await merchant.create(QR, number)
    for how in ("", "?again=1", "?again=1&silently=1", ""):
        await merchant.call("POST", f"/pay/qr_{number}{how}")
    first, second, third = [str(line["transaction"]) for line in await merchant.books()]
    told = {(await merchant.next_notice()).outcome.channel_transaction for _ in range(2)}
    assert told == {first, second}

    async def give_back(amount: int, **more: object) -> Outcome:
        return await merchant.ask(Verb.REFUND, number, amount, **{"refund_number": fresh()} | more)

    assert (await give_back(1000, channel_transaction=third)).verdict is Verdict.SUCCEEDED
    assert (await give_back(1, channel_transaction=third)).code == "refund_exceeded"
    assert (await give_back(1, channel_transaction="sim_never")).code == "not_paid"
    assert (await give_back(400, refund_number=name)).verdict is Verdict.SUCCEEDED
    assert (await give_back(601, channel_transaction=first)).code == "refund_exceeded"
    again = await give_back(400, refund_number=name, channel_transaction=first)
    assert again.verdict is Verdict.SUCCEEDED
    other = await give_back(400, refund_number=name, channel_transaction=second)
    assert other.code == "number_used"
    lines = [line for line in await merchant.books() if line["kind"] == "refund"]
    assert [(line["amount"], line["fee"]) for line in lines] == [(1000, 3), (400, 1)]
    assert merchant.notices.empty()


async def test_the_books_and_the_bill_agree(merchant: Merchant) -> None:
    started = datetime.now(UTC)
    one, two = fresh(), fresh()
    await merchant.create(card("tok_ok"), one)
    await merchant.create(card("tok_ok"), two)
    name = fresh()
    await merchant.ask(Verb.REFUND, one, 999, refund_number=name)

    books = await merchant.books()
    assert [line["sequence"] for line in books] == [1, 2, 3]
    assert [line["sequence"] for line in await merchant.books("2")] == [3]
    assert await merchant.books(str(books[1]["booked_at"])) == books[2:]
    assert books[2] | {"transaction": "", "booked_at": ""} == {
        "sequence": 3,
        "kind": "refund",
        "number": one,
        "refund_number": name,
        "transaction": "",
        "amount": 999,
        "currency": "CNY",
        "fee": 3,
        "booked_at": "",
    }

    days = {started.date(), datetime.now(UTC).date()}
    answers = [await merchant.call("GET", f"/bill?day={day}") for day in sorted(days)]
    lines = [line for answer in answers for line in merchant.channel.read_bill(answer.body)]
    assert [(line.number, line.amount, line.fee) for line in lines] == [
        (one, 1000, 3),
        (two, 1000, 3),
        (one, -999, -3),
    ]
    assert {line.channel_transaction for line in lines} == {line["transaction"] for line in books}


async def test_long_books_come_whole(merchant: Merchant) -> None:
    numbers = {fresh() for _ in range(1100)}
    for number in numbers:
        await merchant.create(card("tok_ok"), number)
    assert {line["number"] for line in await merchant.books()} == numbers


@pytest.mark.parametrize(
    "path",
    ["/books?since=yesterday", "/books?since=2026-01-01T00:00:00", "/bill", "/bill?day=1"],
)
async def test_a_question_to_the_books_that_makes_no_sense(merchant: Merchant, path: str) -> None:
    answer = await merchant.call("GET", path)
    assert (answer.status, json.loads(answer.body)) == (400, {"error": "invalid_request"})


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/healthz", 200),
        ("GET", "/", 404),
        ("POST", "/books", 404),
        ("GET", "/v1/payments/unsigned", 401),
    ],
)
async def test_the_unsigned_calls(merchant: Merchant, method: str, path: str, status: int) -> None:
    assert (await merchant.call(method, path)).status == status


async def signed(merchant: Merchant, method: str, path: str, **more: object) -> WireAnswer:
    body, secret = more.get("body", b""), more.get("secret", SECRET)
    timestamp = str(int(datetime.now(UTC).timestamp()) - more.get("age", 0))
    signature = sign(secret, f"{method} {path}", timestamp=timestamp, body=body)
    headers = {"simulator-timestamp": timestamp, "simulator-signature": signature}
    request = WireRequest(method, path, headers, body)
    return await merchant.outbound.send(merchant.channel.base_url, request, seconds=10)


@pytest.mark.parametrize("more", [{"secret": b"guess"}, {"age": 302}, {"age": -302}])
async def test_a_request_of_a_stranger_or_of_another_time_is_refused(
    merchant: Merchant, more: dict[str, object]
) -> None:
    answer = await signed(merchant, "GET", "/v1/payments/x", **more)
    assert (answer.status, json.loads(answer.body)) == (401, {"error": "signature"})


ORDER = {
    "number": "a" * 32,
    "amount": 1,
    "currency": "CNY",
    "method": card("tok_ok"),
    "notify_url": "http://127.0.0.1:1/notices/simulator",
}


@pytest.mark.parametrize(
    "order",
    [
        [],
        {},
        ORDER | {"amount": 0},
        ORDER | {"amount": 1.5},
        ORDER | {"amount": 10**12},
        ORDER | {"currency": "yuan"},
        ORDER | {"number": "../books"},
        ORDER | {"expires_at": "2026-01-01T00:00:00"},
        ORDER | {"notify_url": "http://example.com/notices/simulator"},
        ORDER | {"notify_url": "http://10.0.0.1/"},
        ORDER | {"notify_url": "http://[oops/"},
        ORDER | {"notify_url": ""},
    ],
)
async def test_an_order_that_makes_no_sense_is_refused(merchant: Merchant, order: object) -> None:
    body = json.dumps(order).encode()
    answer = await signed(merchant, "POST", "/v1/payments", body=body)
    assert (answer.status, json.loads(answer.body)) == (400, {"error": "invalid_request"})
    assert await merchant.books() == []


async def test_a_signed_call_that_is_not_offered(merchant: Merchant) -> None:
    answer = await signed(merchant, "POST", "/v1/payments/x/haggle")
    assert (answer.status, json.loads(answer.body)) == (404, {"error": "no_such_call"})


async def test_the_same_seed_repeats_itself() -> None:
    numbers, seen = [fresh() for _ in range(3)], []
    for seed in (1, 1, 2):
        config = SimulatorConfig(port=0, secret=SECRET, seed=seed)
        async with listening() as merchant, running(config) as base_url:
            merchant.at(base_url)
            outcomes = [await merchant.create(card("tok_ok"), number) for number in numbers]
            seen.append([outcome.channel_transaction for outcome in outcomes])
    assert seen[0] == seen[1]
    assert not {*seen[0]} & {*seen[2]}


async def test_serving_ends_when_it_is_cancelled() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    task = asyncio.create_task(serve(SimulatorConfig(port=port, secret=SECRET)))
    async with listening() as merchant:
        merchant.at(f"http://127.0.0.1:{port}")
        await eventually(lambda: is_up(merchant))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not await is_up(merchant)
