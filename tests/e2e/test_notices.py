"""What an acquirer tells us by itself: kept first, then believed or not, never counted twice."""

import asyncio
import uuid
from typing import Any

import aiohttp
import pytest

from tests.e2e.harness import Shop, System, until
from tests.e2e.idempotency_kit import Wired, Witness
from tests.e2e.life_kit import (
    act,
    as_owner,
    authorized,
    balances,
    events,
    facts,
    notify,
    number_of,
    refused,
    report,
    timeline,
    together,
)
from tests.e2e.wire import exchange
from tests.fakes.proxy import COMMITTED

pytestmark = pytest.mark.usefixtures("proven")

# The simulator has never heard of money that only our letters speak of, so they tell of payments
# that it will book or has booked itself.
SOON = "tok_pending_lost_notice"


async def filed(witness: Witness, mark: str) -> list[str | None]:
    """What became of the notices that hold this text, oldest first."""
    rows = await witness.database.fetch(
        "SELECT result FROM notice WHERE position($1::text::bytea IN body) > 0 ORDER BY id", mark
    )
    return [row["result"] for row in rows]


async def its_worker_is_given_up(database: Any) -> None:
    """Make every notice older, as time would."""
    await as_owner(database, "UPDATE notice SET received_at = received_at - interval '1 minute'")


async def transaction_of(shop: Shop, payment_id: str) -> str:
    """The number under which the acquirer booked a payment."""
    moments = await timeline(shop, payment_id)
    (answer,) = [moment for moment in moments if moment["kind"] == "answer"]
    return str(answer["details"]["channel_transaction"])


async def test_a_channel_that_is_not_ours(system: System, shop: Shop, witness: Witness) -> None:
    mark = uuid.uuid4().hex
    for channel in ("stripe", "", "simulator/x", "Simulator", "..%2fsimulator"):
        told = await notify(system, shop, report(mark), channel=channel)
        refused(told, 404, "not_found")
    assert await filed(witness, mark) == []


@pytest.mark.parametrize(
    ("number", "refund_number"),
    [
        ("019dd3b9d20070008000000700000010", None),
        ("0" * 32, None),
        ("f" * 32, None),
        ("order-4711", None),
        ("019DD3B9D20070008000000700000020", None),
        ("019dd3b9d20070008000000700000030", "019dd3b9d20070008000000700000040"),
        ("019dd3b9d20070008000000700000050", "back-1"),
    ],
)
async def test_a_number_that_we_never_gave(
    system: System, shop: Shop, witness: Witness, number: str, refund_number: str | None
) -> None:
    """Taken, so that the acquirer stops sending it, and kept for people."""
    told = await notify(system, shop, report(number, refund_number=refund_number))
    assert (told.status, told.json) == (200, {"status": "taken"})
    assert await filed(witness, number) == ["unmatched"]


async def test_a_notice_is_about_an_attempt_and_never_about_a_payment(
    system: System, shop: Shop, witness: Witness
) -> None:
    payment = (await shop.pay("qr")).json
    before = await facts(shop, payment["id"])
    number = payment["id"].removeprefix("pay_")
    assert (await notify(system, shop, report(number))).status == 200
    assert await filed(witness, number) == ["unmatched"]
    assert await facts(shop, payment["id"]) == before


async def test_another_channels_attempt_is_not_its_business(
    database: Any, system: System, shop: Shop, witness: Witness
) -> None:
    payment = (await shop.pay("qr")).json
    number = await number_of(shop, payment["id"])
    move = "UPDATE attempt SET channel = $2, due_at = NULL WHERE id = $1"
    await as_owner(database, move, number, "stripe")
    before = await facts(shop, payment["id"])
    assert (await notify(system, shop, report(number))).status == 200
    assert await filed(witness, number) == ["unmatched"]
    assert await facts(shop, payment["id"]) == before
    await as_owner(database, move, number, "simulator")


@pytest.mark.parametrize("why", ["forged", "stale", "early", "unreadable"])
async def test_what_cannot_be_believed_is_kept_and_moves_nothing(
    system: System, shop: Shop, witness: Witness, why: str
) -> None:
    payment = (await shop.pay("qr")).json
    number = await number_of(shop, payment["id"])
    before = await facts(shop, payment["id"])
    match why:
        case "forged":
            told = await notify(system, shop, report(number), secret="somebody else's")
        case "unreadable":
            told = await notify(system, shop, b'{"id": "1", "report": "' + number.encode() + b'"}')
        case _:
            age = 301 if why == "stale" else -302
            told = await notify(system, shop, report(number), age_seconds=age)
    refused(told, 400, "notice_refused")
    assert await filed(witness, number) == [f"refused: {'stale' if why == 'early' else why}"]
    assert await facts(shop, payment["id"]) == before


async def test_a_notice_without_a_signature(shop: Shop, witness: Witness) -> None:
    mark = uuid.uuid4().hex
    refused(await shop.send("POST", "/notices/simulator", mark.encode(), {}), 400, "notice_refused")
    refused(await shop.send("POST", "/notices/simulator", b"", {}), 400, "notice_refused")
    large = await shop.send("POST", "/notices/simulator", b"x" * 65_537, {})
    refused(large, 413, "body_too_large")
    assert await filed(witness, mark) == ["refused: stale"]


@pytest.mark.parametrize("changes", [{"amount": 1}, {"amount": 199_900}, {"currency": "USD"}])
async def test_other_money_under_a_right_signature_is_left_to_people(
    system: System, shop: Shop, witness: Witness, changes: dict[str, Any]
) -> None:
    payment = (await shop.pay("qr")).json
    number = await number_of(shop, payment["id"])
    for _ in range(2):
        assert (await notify(system, shop, report(number, **changes))).status == 200
    frozen = await shop.payment(payment["id"])
    assert (frozen["status"], frozen["amount_captured"]) == ("requires_review", 0)
    assert await events(shop, payment["id"]) == [
        "payment.requires_action",
        "payment.requires_review",
    ]
    assert await balances(shop) == {}
    assert await filed(witness, number) == ["posted", "nothing new"]


async def test_however_often_it_is_told_money_counts_once(
    system: System, shop: Shop, wired: Wired, witness: Witness
) -> None:
    """Forty times at two workers, with other ids and another time each."""
    payment = (await shop.pay(SOON)).json
    number = await number_of(shop, payment["id"])
    replies = await together(
        *(
            notify(system, doors, report(number), age_seconds=age)
            for age in range(20)
            for doors in (shop, wired.shop)
        )
    )
    assert {reply.status for reply in replies} == {200}
    assert (await shop.payment(payment["id"]))["status"] == "succeeded"
    assert await events(shop, payment["id"]) == ["payment.processing", "payment.succeeded"]
    assert (await balances(shop))["channel receivable"] == 1999
    # Those that were weighed while the first was being posted are filed like it.
    assert {"posted"} <= set(await filed(witness, number)) <= {"posted", "nothing new"}
    await until(lambda: witness.bookings(shop))


async def test_the_acquirers_own_duplicates(shop: Shop, witness: Witness) -> None:
    payment = (await shop.pay("tok_duplicate_notice")).json
    number = await number_of(shop, payment["id"])

    async def all_three() -> bool:
        words = await filed(witness, number)
        return len(words) == 3 and None not in words

    await until(all_three)
    # They may race each other and the answer: whoever is first, it is one success.
    assert await events(shop, payment["id"]) == ["payment.succeeded"]


@pytest.mark.parametrize(
    "status", ["pending", "authorized", "requires_action", "closed", "declined"]
)
async def test_what_was_said_before_may_come_after(
    system: System, shop: Shop, witness: Witness, status: str
) -> None:
    payment = (await shop.pay()).json
    number = await number_of(shop, payment["id"])
    before = await facts(shop, payment["id"])
    assert (await notify(system, shop, report(number, status))).status == 200
    assert await facts(shop, payment["id"]) == before
    assert await filed(witness, number) == ["nothing new"]


async def test_an_old_notice_does_not_undo_a_capture_that_has_begun(
    system: System, shop: Shop, wired: Wired
) -> None:
    payment = await authorized(shop)
    number = await number_of(shop, payment["id"])
    stop = wired.acquirer.stop_at(b"/capture")
    capturing = asyncio.create_task(act(wired.shop, payment["id"], "capture", {"amount": 700}))
    await stop.reached()
    for status in ("authorized", "declined"):
        assert (await notify(system, shop, report(number, status))).status == 200
        assert (await shop.payment(payment["id"]))["status"] == "processing"
    refused(await act(shop, payment["id"], "capture"), 409, "state_conflict")
    stop.go()
    assert (await capturing).json["amount_captured"] == 700


async def test_a_notice_may_be_quicker_than_the_answer(
    system: System, shop: Shop, wired: Wired, witness: Witness
) -> None:
    stop = wired.acquirer.stop_at(b"POST /v1/payments HTTP", answered_by=b"}")
    asking = asyncio.create_task(wired.shop.pay("tok_duplicate_notice", reference="quick"))
    await stop.reached()

    async def told() -> Any:
        page = (await shop.call("GET", "/v1/payments?reference=quick")).json["data"]
        return page[0] if page[0]["status"] == "succeeded" else None

    payment = await until(told)
    stop.go()
    answer = await asking
    assert (answer.status, answer.json) == (201, payment)
    assert await events(shop, payment["id"]) == ["payment.succeeded"]
    assert (await balances(shop))["channel receivable"] == 1999


async def test_a_notice_is_kept_before_it_is_answered(
    database: Any, system: System, shop: Shop, wired: Wired, witness: Witness
) -> None:
    """The worker dies after it kept the notice and before anything else: another one serves it."""
    payment = (await shop.pay(SOON)).json
    number = await number_of(shop, payment["id"])
    stop = wired.postgres.stop_at(number.encode(), answered_by=COMMITTED)
    telling = asyncio.create_task(notify(system, wired.shop, report(number)))
    await stop.reached()
    wired.kill()
    with pytest.raises(aiohttp.ClientError):
        await telling
    assert await filed(witness, number) == [None]
    await its_worker_is_given_up(database)

    async def served() -> bool:
        return await filed(witness, number) in (["posted"], ["nothing new"])

    await until(served)
    assert (await shop.payment(payment["id"]))["status"] == "succeeded"
    await until(lambda: witness.bookings(shop))


async def test_a_notice_that_cannot_be_kept_is_sent_again(
    system: System, shop: Shop, wired: Wired, witness: Witness
) -> None:
    payment = (await shop.pay(SOON)).json
    number = await number_of(shop, payment["id"])
    await wired.postgres.refuse()
    replies = await together(*(notify(system, wired.shop, report(number)) for _ in range(3)))
    for reply in replies:
        refused(reply, 503, "unavailable")
        assert int(reply.headers["Retry-After"]) > 0
    await wired.postgres.accept()
    assert (await notify(system, wired.shop, report(number))).status == 200
    assert (await shop.payment(payment["id"]))["status"] == "succeeded"
    await until(lambda: witness.bookings(shop))


async def test_the_transaction_of_another_payment_is_for_people(
    system: System, shop: Shop, witness: Witness
) -> None:
    other = (await shop.pay()).json
    payment = (await shop.pay("qr")).json
    number = await number_of(shop, payment["id"])
    wrong = report(number, transaction=await transaction_of(shop, other["id"]))
    assert (await notify(system, shop, wrong)).status == 200
    assert await filed(witness, number) == ["posted"]
    frozen = await shop.payment(payment["id"])
    assert (frozen["status"], frozen["amount_captured"]) == ("requires_review", 0)
    assert (await shop.payment(other["id"]))["status"] == "succeeded"


async def test_a_header_that_is_no_text_fails_nobody(shop: Shop, witness: Witness) -> None:
    mark = uuid.uuid4().hex
    for header in ("x-stray", "simulator-signature", "simulator-timestamp"):
        head = f"POST /notices/simulator HTTP/1.1\r\nHost: x\r\nContent-Length: {len(mark)}\r\n"
        reply = await exchange(
            shop.base_url, head.encode() + f"{header}: \xff\x80\r\n\r\n{mark}".encode("latin-1")
        )
        assert (reply.status, reply.json["code"]) == (400, "notice_refused")
    results = [str(result) for result in await filed(witness, mark)]
    assert [result.startswith("refused: ") for result in results] == [True] * 3
