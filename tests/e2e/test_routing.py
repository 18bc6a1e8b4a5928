"""The router between two acquirers: fail-over, rules, decisions that explain themselves, replay."""

import asyncio
import json
import signal
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway import policies
from gateway.cli import main
from gateway.domain.errors import FloodgateError
from tests.e2e.harness import Shop, System, order, until
from tests.e2e.idempotency_kit import Witness
from tests.e2e.life_kit import act, balances, events, give_back, scan
from tests.e2e.routing_kit import (
    A,
    B,
    attempts,
    batch,
    books_of,
    decisions,
    gauge,
    in_force,
    pay_until,
    replayed,
    routed,
    second,
    settled,
    shop_of_both,
    until_told,
    up_to_date,
    with_two_acquirers,
)

pytestmark = pytest.mark.usefixtures("proven")


@pytest.fixture(scope="module")
def system(
    database: Any, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[System]:
    """Two acquirers, and two workers on ports of their own."""
    running = with_two_acquirers(database.app_url, redis_url, tmp_path_factory.mktemp("system"))
    running.start_worker("second", second(running))
    yield running
    running.stop()


@pytest.fixture
async def shop(system: System) -> AsyncIterator[Shop]:
    async with shop_of_both(system) as shop:
        yield await up_to_date(system, shop)


@pytest.fixture
async def other(system: System, shop: Shop) -> Shop:
    """The same merchant at the second worker."""
    base_url = f"http://127.0.0.1:{second(system).port}"
    await system.ready(base_url)
    there = Shop(base_url, shop.merchant, shop.credentials, shop.session)
    async with asyncio.timeout(5):
        while (await there.call("GET", "/v1/events")).status == 401:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return await up_to_date(system, there)


@pytest.fixture
def configure(system: System, tmp_path: Path) -> Iterator[Any]:
    """Put a document in force; the empty one comes back afterwards."""

    file = tmp_path / "routing.json"

    async def put(**document: Any) -> int:
        file.write_text(json.dumps(document))
        added = await asyncio.to_thread(policies.put_routing, system.settings, file, note="a test")
        version: int = added["version"]
        return version

    yield put
    file.write_text("{}")
    policies.put_routing(system.settings, file, note="")


async def test_a_closed_port_is_passed_over_for_another_channel(system: System, shop: Shop) -> None:
    system.kill(A)
    try:
        payment = (await shop.pay()).json
    finally:
        system.start_simulator()
        await system.ready()
    assert (payment["status"], payment["channel"], payment["fee"]) == ("succeeded", B, 12)
    assert await attempts(shop, payment) == [
        (A, "failed", "never_sent"),
        (B, "succeeded", "succeeded"),
    ]
    assert await events(shop, payment["id"]) == ["payment.processing", "payment.succeeded"]
    second_try = (await decisions(shop, payment))[1]
    told = {one["channel"]: one["reason"] for one in second_try["candidates"]}
    assert told == {B: None, A: "tried"}
    assert [one["identical"] for one in await replayed(system, payment)] == [True, True]
    refund = (await give_back(shop, payment["id"])).json
    assert refund["status"] == "succeeded", "it goes back where it came from"
    assert await balances(shop) == {}


async def test_what_may_have_arrived_is_never_asked_of_another_channel(
    system: System, shop: Shop
) -> None:
    for token in ("tok_timeout_booked", "tok_error_booked", "tok_pending", "tok_declined"):
        payment = (await shop.pay(token)).json
        assert payment["channel"] == A
        assert [channel for channel, *_ in await attempts(shop, payment)] == [A]


async def test_a_refusal_that_says_nothing_of_others_is_tried_elsewhere(
    system: System, shop: Shop, configure: Any
) -> None:
    version = await configure(retry={"codes": ["insufficient_funds"]})
    await in_force(shop, version)
    payment = (await shop.pay("tok_insufficient_funds")).json
    assert (payment["status"], payment["channel"]) == ("failed", B)
    assert await attempts(shop, payment) == [
        (A, "failed", "insufficient_funds"),
        (B, "failed", "insufficient_funds"),
    ]
    declined = (await shop.pay("tok_declined")).json
    assert await attempts(shop, declined) == [(A, "failed", "card_declined")]
    # In a batch each goes its own way, too.
    tokens = ("tok_ok", "tok_insufficient_funds", "tok_declined")
    paid = [result["payment"] for result in await batch(shop, *map(order, tokens))]
    assert [(one["status"], one["channel"]) for one in paid] == [
        *[("succeeded", A), ("failed", B), ("failed", A)]
    ]
    assert await attempts(shop, paid[1]) == await attempts(shop, payment)


async def test_a_configuration_reaches_every_worker_and_is_rolled_back_at_once(
    system: System, shop: Shop, other: Shop, configure: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = await configure()
    rule = {
        "name": "big_through_b",
        "then": "restrict",
        "channels": [B],
        "when": {"currencies": ["CNY"], "amount_min": 50_000},
    }
    bins = [{"prefix": "622848", "issuer": "ABC", "kind": "debit"}]
    version = await configure(rules=[rule], bins=bins)
    for there in (shop, other):
        await in_force(there, version)
        assert (await there.pay(amount=50_000)).json["channel"] == B
        assert (await there.pay(amount=49_999)).json["channel"] == A
    method = {"type": "card", "token": "tok_ok", "bin": "62284801"}
    decision = await routed(shop, amount=50_000, method=method)
    assert (decision["channel"], decision["by"], decision["bank"]) == (B, "only", "ABC")
    assert decision["candidates"][1]["reason"] == "rule big_through_b"
    payment = (await shop.pay(amount=50_000, method=method)).json
    assert payment["method"] == method
    put = await asyncio.to_thread(policies.roll_back, system.settings, plain)
    for there in (shop, other):
        await in_force(there, put["version"])
        assert (await there.pay(amount=50_000)).json["channel"] == A
    history = await asyncio.to_thread(policies.routing_history, system.settings)
    assert (history[-1]["version"], history[-1]["note"]) == (
        put["version"],
        f"back to version {plain}",
    )
    (again,) = await replayed(system, payment)
    assert (again["identical"], again["version"], again["channel"]) == (True, version, B)


async def test_weights_share_out_and_every_decision_replays(
    system: System, shop: Shop, configure: Any
) -> None:
    await in_force(shop, await configure(strategy="weights", channels={A: {"weight": 1}}))
    payments = [(await shop.pay()).json for _ in range(24)]
    assert {payment["channel"] for payment in payments} == {A, B}
    await in_force(shop, await configure(strategy="score"))
    payments += [(await shop.pay()).json for _ in range(4)]
    for payment in payments[::4]:
        assert [one["identical"] for one in await replayed(system, payment)] == [True]


async def test_a_sick_channel_is_passed_over_tried_again_and_recovers(
    system: System, shop: Shop, configure: Any
) -> None:
    """What it does not answer is unknown: nobody goes on elsewhere, but the next ones do."""
    terms = {"answers_min": 3, "rest_seconds": 3, "probes": 2, "probe_share": 10_000}
    await in_force(shop, await configure(health=terms))
    well = f'floodgate_channel_well{{bank="",channel="{A}"}}'

    async def sick() -> bool:
        unknown = (await shop.pay("tok_error_booked")).json
        assert [channel for channel, *_ in await attempts(shop, unknown)] == [A]
        return await gauge(shop, well) == 0

    await until(sick)
    shares = f'floodgate_channel_bad_share_bps{{bank="",channel="{A}",kind="unknown",seconds="60"}}'
    assert (await gauge(shop, shares) or 0) > 1_000
    passed_over = (await shop.pay()).json
    assert passed_over["channel"] == B
    (decision,) = await decisions(shop, passed_over)
    assert {"channel": A, "reason": "sick"}.items() <= decision["candidates"][0].items()
    assert [one["identical"] for one in await replayed(system, passed_over)] == [True]
    await pay_until(shop, well, 1)
    assert (await shop.pay()).json["channel"] == A


async def test_a_channel_whose_breaker_is_open_is_passed_over_until_probes_reach_it(
    system: System, shop: Shop, configure: Any
) -> None:
    """Each payment that the first channel never got goes on to the second, until none asks it."""
    await in_force(shop, await configure(health={"answers_min": 100_000}))
    breaker = f'floodgate_breaker{{channel="{A}",lane="create"}}'
    system.kill(A)
    try:

        async def passed_over() -> Any:
            payment = (await shop.pay()).json
            assert (payment["status"], payment["channel"]) == ("succeeded", B)
            return payment if len(await attempts(shop, payment)) == 1 else None

        payment = await until(passed_over)
        await until_told(shop, breaker)
        (decision,) = await decisions(shop, payment)
        assert {"channel": A, "reason": "breaker"}.items() <= decision["candidates"][0].items()
        assert [one["identical"] for one in await replayed(system, payment)] == [True]
    finally:
        system.start_simulator()
        await system.ready()
    await pay_until(shop, breaker, 0)
    assert (await shop.pay()).json["channel"] == A


async def test_what_becomes_of_an_open_payment_is_known_to_every_worker(
    system: System, shop: Shop, other: Shop, configure: Any
) -> None:
    version = await configure(strategy="score", channels={B: {"enabled": False}})
    for there in (shop, other):
        await in_force(there, version)

    async def ends() -> int:
        decision = await routed(other)
        return sum(one["answers"] for one in decision["candidates"] if one["channel"] == A)

    before = await ends()
    payment = (await shop.pay("qr")).json
    assert await scan(system, shop, payment) == 200
    await shop.until(payment["id"], "succeeded")

    async def heard() -> bool:
        return await ends() > before

    await until(heard, 5)


async def test_the_last_channel_is_never_switched_off(shop: Shop, configure: Any) -> None:
    terms = {"answers_min": 3, "rest_seconds": 60}
    await in_force(shop, await configure(health=terms, channels={B: {"enabled": False}}))
    for _ in range(4):
        assert (await shop.pay("tok_error_booked")).json["channel"] == A
    assert (await shop.pay()).json["status"] == "succeeded"


async def test_recovery_goes_on_with_the_latest_attempt(
    system: System, shop: Shop, other: Shop, witness: Witness
) -> None:
    """The worker dies while the second channel has the request in its hands."""
    system.kill(A)
    system.send(B, signal.SIGSTOP)
    body = order()
    paying = asyncio.create_task(other.call("POST", "/v1/payments", body))
    row = (
        "SELECT a.id FROM attempt a JOIN payment p ON p.id = a.payment_id"
        " WHERE p.reference = $1 AND a.channel = $2"
    )

    async def went_on() -> Any:
        return await witness.database.fetchval(row, body["reference"], B)

    try:
        attempt = await until(went_on)
        system.kill("second")
        await asyncio.wait([paying])
        # Nobody can have learned anything while the second channel stands still.
        page = (await shop.call("GET", f"/v1/payments?reference={body['reference']}")).json["data"]
        (payment,) = page
        assert (payment["status"], payment["channel"]) == ("processing", B)
    finally:
        system.send(B, signal.SIGCONT)
        system.start_simulator()
        await system.ready()
        system.start_worker("second", second(system))
    paying.exception()
    hurry = "UPDATE attempt SET due_at = now(), leased_until = NULL WHERE id = $1"
    await witness.database.execute(hurry, attempt)
    synced = (await act(shop, payment["id"], "sync")).json
    assert synced["channel"] == B
    paid = await until(lambda: settled(shop, payment), 20)
    booked = [line["number"] for line in await books_of(system) if line["number"] == attempt.hex]
    assert len(booked) == (1 if paid["status"] == "succeeded" else 0)


async def test_who_cannot_be_served_hears_why(shop: Shop, configure: Any) -> None:
    channels = {A: {"amounts": {"CNY": {"max": 100}}}, B: {"enabled": False}}
    await in_force(shop, await configure(channels=channels))
    refused = await shop.pay()
    assert (refused.status, refused.json["code"]) == (422, "no_channel")
    assert "simulator: amount" in refused.json["detail"]
    assert "simulator_b: off" in refused.json["detail"]
    assert (await routed(shop))["channel"] is None
    assert (await shop.pay(amount=100)).json["channel"] == A


async def test_a_quota_is_kept(system: System, shop: Shop, configure: Any) -> None:
    await in_force(shop, await configure(channels={A: {"per_day": 2}, B: {"enabled": False}}))
    statuses = [(await shop.pay()).status for _ in range(3)]
    assert statuses == [201, 201, 503]
    body, key = order(), uuid.uuid4().hex
    refused = await shop.call("POST", "/v1/payments", body, key=key)
    assert (refused.status, refused.json["code"]) == (503, "overloaded")
    assert (refused.json["retry"], "simulator" in refused.body.decode()) == ("later", False)
    assert 0 < int(refused.headers["Retry-After"]) <= 24 * 3600, "until its day is over"
    items = [order(), order()]
    told = [result["problem"]["code"] for result in await batch(shop, *items)]
    assert told == ["overloaded", "overloaded"]
    assert [one["reason"] for one in (await routed(shop))["candidates"]] == ["quota", "off"]
    await in_force(shop, await configure(channels={A: {"per_day": 2}}))
    # Nothing was begun, so the same request may come again; and now there is another channel.
    paid = (await shop.call("POST", "/v1/payments", body, key=key)).json
    assert (paid["status"], paid["channel"]) == ("succeeded", B)
    assert [one["identical"] for one in await replayed(system, paid)] == [True]
    batched = [result["payment"] for result in await batch(shop, *items)]
    assert [one["channel"] for one in batched] == [B, B]
    assert [one["identical"] for one in await replayed(system, batched[1])] == [True]


async def test_trying_a_route_moves_nothing(shop: Shop) -> None:
    key, body = uuid.uuid4().hex, order()
    first = await shop.call("POST", "/v1/routing/simulate", body, key=key)
    again = await shop.call("POST", "/v1/routing/simulate", body, key=key)
    assert (again.body, again.headers["Idempotent-Replayed"]) == (first.body, "true")
    assert (await shop.call("GET", "/v1/payments")).json["data"] == []
    assert (await shop.pay(reference=body["reference"])).status == 201
    assert "fee" not in first.body.decode()


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"order": ["mastercard"]}, "no channel mastercard"),
        ({"strategy": "best"}, "strategy"),
        ({"channels": {A: {"weight": 1.5}}}, "int"),
    ],
)
def test_a_document_that_cannot_be_meant_is_refused(
    system: System, tmp_path: Path, document: dict[str, Any], said: str
) -> None:
    before = policies.routing_history(system.settings)
    file = tmp_path / "routing.json"
    file.write_text(json.dumps(document))
    with pytest.raises(FloodgateError, match=said):
        policies.put_routing(system.settings, file, note="")
    assert policies.routing_history(system.settings) == before


async def test_the_commands(
    system: System,
    shop: Shop,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in system.settings.environment().items():
        monkeypatch.setenv(name, value)
    file, body = tmp_path / "routing.toml", tmp_path / "payment.json"
    file.write_text(f'order = ["{B}"]\n')
    body.write_text(json.dumps(order()))

    async def run(*words: str) -> Any:
        assert await asyncio.to_thread(main, ["routing", *words]) == 0
        return json.loads(capsys.readouterr().out)

    simulate = ("simulate", str(body), "--merchant", shop.merchant)
    assert (await run(*simulate))["channel"] == A
    assert (await run(*simulate, "--config", str(file)))["channel"] == B
    version = (await run("put", str(file), "--note", "b first"))["version"]
    assert (await run("show"))["config"]["order"] == [B]
    assert (await run("history"))[-1]["note"] == "b first"
    await in_force(shop, version)
    payment = (await shop.pay()).json
    assert payment["channel"] == B
    assert [one["identical"] for one in await run("replay", payment["id"])] == [True]
    assert (await run("rollback", "0"))["version"] == version + 1
    assert (await run("show"))["config"] == {} or (await run("show"))["config"]["order"] == []
    await act(shop, payment["id"], "sync")
