"""The history of a payment tells whatever was asked, answered and refused around it, in order."""

import pytest

from tests.e2e.harness import Shop, System
from tests.e2e.life_kit import (
    act,
    authorized,
    give_back,
    notify,
    number_of,
    refund_until,
    report,
    timeline,
)

pytestmark = pytest.mark.usefixtures("proven")


async def told(shop: Shop, payment_id: str) -> list[tuple[str, str]]:
    """The history without its states and events, which other tests hold to the feed."""
    moments = await timeline(shop, payment_id)
    assert moments == sorted(moments, key=lambda moment: moment["at"])
    return [
        (moment["kind"], moment["summary"])
        for moment in moments
        if moment["kind"] not in {"state", "event"}
    ]


async def test_a_capture_and_its_refunds(shop: Shop) -> None:
    payment = await authorized(shop)
    assert (await act(shop, payment["id"], "capture", {"amount": 1000})).status == 200
    assert (await give_back(shop, payment["id"], 300, reference="back-1")).status == 201
    assert await told(shop, payment["id"]) == [
        ("request", f"19.99 CNY asked for order {payment['reference']}"),
        ("attempt", "attempt recorded, then sent to simulator"),
        ("answer", "simulator: authorized"),
        ("request", "10.00 CNY asked to be captured"),
        ("answer", "asked to capture: succeeded"),
        ("journal", "capture: 9.94 CNY from channel receivable to merchant pending"),
        ("journal", "capture: 0.06 CNY from channel receivable to commission"),
        ("refund", "3.00 CNY to go back as back-1"),
        ("journal", "refund_accepted: 2.98 CNY from merchant pending to refund in transit"),
        ("journal", "refund_accepted: 0.02 CNY from commission to refund in transit"),
        ("answer", "asked to refund: succeeded"),
        ("journal", "refund_done: 3.00 CNY from refund in transit to channel receivable"),
    ]


async def test_a_cancellation(shop: Shop) -> None:
    payment = await authorized(shop)
    assert (await act(shop, payment["id"], "cancel")).json["status"] == "canceled"
    assert (await told(shop, payment["id"]))[3:] == [
        ("request", "asked to be canceled"),
        ("answer", "asked to close: closed"),
    ]


async def test_a_refund_of_which_nothing_is_known_at_first(shop: Shop) -> None:
    payment = (await shop.pay("tok_refund_unknown")).json
    refund = (await give_back(shop, payment["id"])).json
    await refund_until(shop, refund["id"], "succeeded")
    moments = await timeline(shop, payment["id"])
    about = [moment for moment in moments if moment["details"].get("refund") == refund["id"]]
    assert [moment["summary"] for moment in about[1:3]] == [
        "asked to refund: unknown",
        "asked about the refund: succeeded",
    ]
    assert about[2]["details"]["amount"] == 1999


async def test_a_notice_about_a_refund(system: System, shop: Shop) -> None:
    payment = (await shop.pay()).json
    refund = (await give_back(shop, payment["id"])).json
    number = await number_of(shop, payment["id"])
    told_of = report(number, refund_number=refund["id"].removeprefix("re_"))
    assert (await notify(system, shop, told_of)).status == 200
    assert ("notice", "told of the refund: succeeded") in await told(shop, payment["id"])


async def test_a_notice_of_other_money(system: System, shop: Shop) -> None:
    payment = (await shop.pay("qr")).json
    number = await number_of(shop, payment["id"])
    assert (await notify(system, shop, report(number, amount=2000))).status == 200
    moments = await timeline(shop, payment["id"])
    (strange,) = [moment for moment in moments if "other money" in moment["summary"]]
    assert strange["kind"] == "notice"
    assert strange["details"] == {"code": "succeeded", "amount": 2000}


@pytest.mark.parametrize("why", ["forged", "stale", "unreadable"])
async def test_a_refused_notice_is_told_and_nothing_of_what_it_says(
    system: System, shop: Shop, why: str
) -> None:
    payment, other = (await shop.pay("qr")).json, (await shop.pay("qr")).json
    number = await number_of(shop, payment["id"])
    for _ in range(25):
        match why:
            case "forged":
                said = report(number, transaction="T-4711", amount=4711)
                await notify(system, shop, said, secret="somebody else's")
            case "stale":
                await notify(system, shop, report(number, transaction="T-4711"), age_seconds=301)
            case _:
                await notify(system, shop, b'{"T-4711":"%s"}' % number.encode())
    summary = f"somebody told of this payment, and was not believed (refused: {why})"
    moments = await timeline(shop, payment["id"])
    refusals = [moment for moment in moments if moment["kind"] == "refusal"]
    assert [refusal["summary"] for refusal in refusals] == [summary] * 20
    assert {tuple(refusal["details"]) for refusal in refusals} == {("notice",)}
    assert "T-4711" not in str(moments)
    assert "47.11" not in str(moments)
    assert "refusal" not in {kind for kind, _ in await told(shop, other["id"])}


async def test_a_refused_notice_is_of_its_own_channel(system: System, shop: Shop) -> None:
    """A number in a notice is looked up as an attempt of the channel at whose door it came."""
    payment = (await shop.pay("qr")).json
    stray = payment["id"].removeprefix("pay_")
    await notify(system, shop, report(stray), secret="somebody else's")
    assert "refusal" not in {kind for kind, _ in await told(shop, payment["id"])}
