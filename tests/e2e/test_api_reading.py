"""What a merchant reads: lists by key, timeline, accounts and entries, the feed of events."""

import asyncio
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest
from yarl import URL

from tests.e2e.harness import Shop, System

TOKENS = ("tok_ok", "tok_declined", "qr", "tok_ok", "tok_insufficient_funds", "tok_ok")


async def read(shop: Shop, path: str, **query: object) -> Any:
    """Read one page."""
    target = URL(path).with_query({name: str(value) for name, value in query.items()})
    reply = await shop.call("GET", target.raw_path_qs)
    assert reply.status == 200, reply.body
    assert list(reply.json) == ["data", "next_cursor"]
    return reply.json


async def walked(shop: Shop, path: str, goes_on: str = "cursor", **query: object) -> list[Any]:
    """Read page after page until there is none; `goes_on` is where the cursor stands."""
    items: list[Any] = []
    while True:
        page = await read(shop, path, **query)
        items += page["data"]
        if page["next_cursor"] is None:
            return items
        assert page["data"], "a page before the last one is never empty"
        query[goes_on] = page["next_cursor"]


async def traded(shop: Shop) -> list[Any]:
    """Make a payment of each kind, one after the other; the newest comes first, as in lists."""
    made = [(await shop.pay(token, amount=1000 + n)).json for n, token in enumerate(TOKENS)]
    return made[::-1]


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 6, 100])
async def test_pages_of_every_size_show_each_payment_once(shop: Shop, limit: int) -> None:
    made = await traded(shop)
    assert await walked(shop, "/v1/payments", limit=limit) == made


async def test_a_page_is_of_twenty_unless_it_is_said(shop: Shop) -> None:
    made = await asyncio.gather(*(shop.pay() for _ in range(21)))
    page = await read(shop, "/v1/payments")
    assert len(page["data"]) == 20
    (left,) = (await read(shop, "/v1/payments", cursor=page["next_cursor"]))["data"]
    ids = [payment["id"] for payment in page["data"]]
    assert ids == sorted(ids, reverse=True)
    assert {*ids, left["id"]} == {reply.json["id"] for reply in made}


async def test_what_is_new_does_not_move_the_pages_behind_it(shop: Shop) -> None:
    made = await traded(shop)
    first = await read(shop, "/v1/payments", limit=2)
    await shop.pay()
    rest = await walked(shop, "/v1/payments", limit=2, cursor=first["next_cursor"])
    assert first["data"] + rest == made


async def test_filters_choose_and_may_be_joined(shop: Shop) -> None:
    made = await traded(shop)
    for status in ("succeeded", "failed", "requires_action", "processing"):
        expected = [payment for payment in made if payment["status"] == status]
        assert await walked(shop, "/v1/payments", status=status, limit=1) == expected
    chosen = made[2]
    assert await walked(shop, "/v1/payments", reference=chosen["reference"]) == [chosen]
    assert await walked(shop, "/v1/payments", reference=chosen["reference"].upper() + "!") == []
    after, before = made[4]["created_at"], made[1]["created_at"]
    between = await walked(
        shop, "/v1/payments", created_after=after, created_before=before, limit=1
    )
    assert between == made[2:4]
    later = datetime.fromisoformat(after) + timedelta(microseconds=1)
    east = later.astimezone(datetime.fromisoformat("2026-01-01T00:00:00+08:00").tzinfo)
    east_text = east.isoformat()
    assert await walked(shop, "/v1/payments", created_after=east_text) == made[:4]
    joined = await walked(shop, "/v1/payments", created_after=after, status="failed")
    assert joined == [made[1]]


async def test_a_reference_may_hold_any_visible_text(shop: Shop) -> None:
    reference = "Käse & 50% off? #1/2+3 🧀"
    payment = (await shop.pay(reference=reference)).json
    assert await walked(shop, "/v1/payments", reference=reference) == [payment]


async def test_accounts_agree_with_entries_and_payments(shop: Shop) -> None:
    payments = [payment for payment in await traded(shop) if payment["status"] == "succeeded"]
    payments.append((await shop.pay(currency="JPY", amount=7)).json)
    accounts = {account["id"]: account for account in await walked(shop, "/v1/ledger/accounts")}
    entries = await walked(shop, "/v1/ledger/entries", limit=2)
    sums = Counter[tuple[str, str]]()
    for entry in entries:
        sums[entry["account"], entry["direction"]] += entry["amount"]
    assert {name for name, _ in sums} == accounts.keys()
    for name, account in accounts.items():
        assert (account["debits"], account["credits"]) == (
            sums[name, "debit"],
            sums[name, "credit"],
        )
        difference = account["debits"] - account["credits"]
        grows_by_debit = account["normal_side"] == "debit"
        assert account["balance"] == (difference if grows_by_debit else -difference)
    for currency in ("CNY", "JPY"):
        own = [payment for payment in payments if payment["currency"] == currency]
        gross, fees = (sum(p[name] for p in own) for name in ("amount_captured", "fee"))
        assert accounts[f"1121.simulator.{currency}"]["balance"] == gross
        assert accounts[f"2201.{currency}"]["balance"] == gross - fees
        assert accounts.get(f"4001.{currency}", {"balance": 0})["balance"] == fees


async def test_accounts_and_entries_are_shown_whole(shop: Shop) -> None:
    payment = (await shop.pay(amount=1999)).json
    accounts = await walked(shop, "/v1/ledger/accounts")
    assert accounts[1] == {
        "object": "account",
        "id": "2201.CNY",
        "code": "2201",
        "name": "merchant pending",
        "channel": None,
        "currency": "CNY",
        "normal_side": "credit",
        "debits": 0,
        "credits": 1987,
        "balance": 1987,
    }
    entries = await walked(shop, "/v1/ledger/entries")
    booked = [(e["account"], e["counter_account"], e["direction"], e["amount"]) for e in entries]
    assert booked[::-1] == [
        ("1121.simulator.CNY", "2201.CNY", "debit", 1987),
        ("2201.CNY", "1121.simulator.CNY", "credit", 1987),
        ("1121.simulator.CNY", "4001.CNY", "debit", 12),
        ("4001.CNY", "1121.simulator.CNY", "credit", 12),
    ]
    assert {(e["object"], e["payment"], e["currency"], e["kind"]) for e in entries} == {
        ("entry", payment["id"], "CNY", "capture")
    }
    assert len({e["id"] for e in entries}) == 4
    assert {e["created_at"] for e in entries} == {payment["updated_at"]}


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 7, 100])
async def test_entries_are_walked_without_loss_in_every_page_size(shop: Shop, limit: int) -> None:
    payments = [(await shop.pay(amount=amount)).json for amount in (1999, 10, 2999)]
    everything = await walked(shop, "/v1/ledger/entries", limit=100)
    # The payment of 10 has no commission, and so one movement less.
    assert len(everything) == 4 + 2 + 4
    assert await walked(shop, "/v1/ledger/entries", limit=limit) == everything
    for payment in payments:
        own = [entry for entry in everything if entry["payment"] == payment["id"]]
        path = "/v1/ledger/entries"
        assert await walked(shop, path, limit=limit, payment=payment["id"]) == own
    for account in {entry["account"] for entry in everything}:
        own = [entry for entry in everything if entry["account"] == account]
        assert await walked(shop, "/v1/ledger/entries", limit=limit, account=account) == own


async def test_our_own_costs_are_not_the_merchants_business(shop: Shop) -> None:
    await shop.pay()
    for account in ("5001.simulator.CNY", "1121.simulator.fees.CNY"):
        reply = await shop.call("GET", f"/v1/ledger/entries?account={account}")
        assert (reply.status, reply.json["param"]) == (400, "account")
    ids = {account["id"] for account in await walked(shop, "/v1/ledger/accounts")}
    assert ids == {"1121.simulator.CNY", "2201.CNY", "4001.CNY"}
    payment = (await shop.pay()).json
    back = {"reference": payment["reference"]}
    assert (await shop.call("POST", f"/v1/payments/{payment['id']}/refunds", back)).status == 201
    entries = await walked(shop, "/v1/ledger/entries", payment=payment["id"])
    assert not [entry for entry in entries if entry["account"].startswith("5")]
    assert not [entry for entry in entries if "fees" in entry["account"]]


async def test_the_feed_tells_everything_once_in_order_without_a_gap(shop: Shop) -> None:
    made = await asyncio.gather(*(shop.pay(token) for token in TOKENS * 5))
    pending = (await shop.pay("tok_pending")).json
    await shop.until(pending["id"], "succeeded")
    events = await walked(shop, "/v1/events", "after", limit=7)
    assert [event["sequence"] for event in events] == list(range(1, len(made) + 3))
    assert len({event["id"] for event in events}) == len(events)
    assert {event["object"] for event in events} == {"event"}
    for event in events:
        assert list(event) == ["object", "id", "sequence", "type", "created_at", "data"]
        assert event["type"] == f"payment.{event['data']['status']}"
        assert event["data"]["sequence"] == event["sequence"]
    told = {event["data"]["id"]: event["data"] for event in events}
    for payment in await walked(shop, "/v1/payments"):
        latest = told.pop(payment["id"])
        assert latest == payment | {"sequence": latest["sequence"]}
    assert told == {}
    own = [event["type"] for event in events if event["data"]["id"] == pending["id"]]
    assert own == ["payment.processing", "payment.succeeded"]


async def test_the_feed_goes_on_where_the_merchant_stopped(shop: Shop) -> None:
    await traded(shop)
    everything = (await read(shop, "/v1/events"))["data"]
    assert (await read(shop, "/v1/events", after=4))["data"] == everything[4:]
    assert await read(shop, "/v1/events", after=1000) == {"data": [], "next_cursor": None}


async def test_what_never_became_a_payment_has_no_event(shop: Shop) -> None:
    await shop.pay(reference="4711")
    assert (await shop.pay(reference="4711")).status == 409
    assert (await shop.pay(currency="XXX")).status == 400
    assert len((await read(shop, "/v1/events"))["data"]) == 1


async def test_the_timeline_tells_every_fact_in_order(shop: Shop) -> None:
    payment = (await shop.pay("tok_pending")).json
    await shop.until(payment["id"], "succeeded")
    story = await walked(shop, f"/v1/payments/{payment['id']}/timeline")
    times = [moment["at"] for moment in story]
    assert times == sorted(times)
    kinds = [moment["kind"] for moment in story]
    assert kinds[:2] == ["request", "attempt"]
    assert Counter(kinds)["state"] == Counter(kinds)["event"] == 2
    assert {"request", "attempt", "answer", "state", "journal", "event"} <= set(kinds)
    assert [moment["summary"] for moment in story if moment["kind"] == "event"] == [
        "payment.processing",
        "payment.succeeded",
    ]
    assert "tok_pending" not in str(story)


async def test_the_timeline_of_a_simple_payment(shop: Shop) -> None:
    payment = (await shop.pay()).json
    story = await walked(shop, f"/v1/payments/{payment['id']}/timeline")
    assert [moment["kind"] for moment in story] == [
        *("request", "attempt", "answer", "state", "journal", "journal", "event"),
    ]
    assert story[0]["details"] == {"payment": payment["id"]}
    assert story[0]["at"] == payment["created_at"]


async def test_the_payers_data_is_shown_nowhere(system: System, shop: Shop) -> None:
    payer = {"id": "u-77", "ip": "203.0.113.77", "device": "dev-77", "name": "Zhang Wei"}
    payment = (await shop.pay(payer=payer)).json
    paths = [
        "/v1/payments",
        f"/v1/payments/{payment['id']}",
        f"/v1/payments/{payment['id']}/timeline",
        "/v1/events",
        "/v1/ledger/entries",
    ]
    shown = [str(payment), *[(await shop.call("GET", path)).body.decode() for path in paths]]
    shown += [log.read_text() for log in system.folder.glob("*.log")]
    for text in shown:
        assert not any(word in text for word in payer.values())
