"""Accounts at acquirers: added by a command, served within seconds, each payment at its own."""

import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from tests.e2e.account_kit import run
from tests.e2e.harness import Reply, Shop, System, until
from tests.e2e.life_kit import act, number_of, refused, timeline
from tests.fakes import wechat_pay
from tests.fakes.stripe_platform import KEY, StripePlatform, standing
from tests.fakes.wechat_pay import WechatPay

pytestmark = pytest.mark.usefixtures("proven")

SECRET = "whsec_0123456789abcdef0123"
OTHER_KEY = "sk_test_of_another_account"


@pytest.fixture
async def stripe() -> AsyncIterator[StripePlatform]:
    async with standing(SECRET) as platform:
        yield platform


def words(base_url: str, account: str, key: str = KEY) -> dict[str, Any]:
    return {
        "account": account,
        "secret_key": key,
        "webhook_secrets": [SECRET],
        "base_url": base_url,
    }


async def added(
    system: System,
    folder: Path,
    credential: Mapping[str, Any],
    *more: str,
    channel: str = "stripe",
) -> tuple[int, str, str]:
    file = folder / "credential.json"
    file.write_text(json.dumps(credential))
    told = await run(system, "add", channel, "--file", str(file), *more)
    file.unlink()
    assert KEY not in told[1] + told[2]
    assert SECRET not in told[1] + told[2]
    return told


async def pays_at(shop: Shop, channel: str) -> Any:
    """Pay again and again until this channel takes it, at most the five seconds of the promise."""

    async def paid() -> Any:
        payment = (await shop.pay("pm_card_approved")).json
        return payment if payment["channel"] == channel else None

    return await until(paid, seconds=5)


async def own_account(
    system: System, shop: Shop, folder: Path, stripe: StripePlatform, account: str
) -> Any:
    """Give the shop its own account at Stripe; the first payment there."""
    told = await added(system, folder, words(stripe.base_url, account), "--merchant", shop.merchant)
    assert told[0] == 0, told[2]
    await pays_at(shop, "stripe")
    return json.loads(told[1])


async def notify(shop: Shop, address: str, letter: tuple[dict[str, str], bytes]) -> Reply:
    return await shop.send("POST", f"/notices/{address}", letter[1], letter[0])


async def test_a_merchant_pays_through_its_own_account_and_others_do_not(
    system: System, shop: Shop, stripe: StripePlatform, tmp_path: Path
) -> None:
    made = await own_account(system, shop, tmp_path, stripe, "acct_own00000001")
    assert made["notify_url"] == f"{shop.base_url}/notices/stripe/{shop.merchant}"
    payment = (await shop.pay("pm_card_approved", description="Tea")).json
    assert (payment["status"], payment["channel"], payment["fee"]) == ("succeeded", "stripe", 12)
    number = await number_of(shop, payment["id"])
    assert ("payment", number, 1999) in stripe.books
    back = (await act(shop, payment["id"], "refunds", {"amount": 500, "reference": "back"})).json
    assert back["status"] == "succeeded"
    assert ("refund", number, 500) in stripe.books
    declined = (await shop.pay("pm_card_declined")).json
    assert (declined["status"], declined["failure"]["code"]) == ("failed", "card_declined")
    async with system.shop() as another:
        assert (await another.pay()).json["channel"] == "simulator"


async def test_an_event_counts_at_the_address_of_its_account_alone(
    system: System, shop: Shop, stripe: StripePlatform, tmp_path: Path
) -> None:
    await own_account(system, shop, tmp_path, stripe, "acct_own00000002")
    while not stripe.events.empty():
        stripe.events.get_nowait()
    payment = (await shop.pay("pm_card_payer", return_url="https://shop.example/back")).json
    assert payment["status"] == "requires_action"
    assert payment["next_action"]["type"] == "redirect"
    stripe.authenticate(payment["next_action"]["url"].rpartition("/")[2])
    letter = await stripe.events.get()
    async with system.shop() as another:
        for address in ("stripe", f"stripe/{another.merchant}", "stripe/x", "stripe/"):
            refused(await notify(shop, address, letter), 404, "not_found")
    assert (await shop.payment(payment["id"]))["status"] == "requires_action"
    forged = ({"stripe-signature": "t=1,v1=0"}, letter[1])
    refused(await notify(shop, f"stripe/{shop.merchant}", forged), 400, "notice_refused")
    taken = await notify(shop, f"stripe/{shop.merchant}", letter)
    assert (taken.status, taken.json) == (200, {"received": True})
    assert (await shop.payment(payment["id"]))["status"] == "succeeded"


async def test_one_merchants_event_never_speaks_of_anothers_payment(
    system: System, shop: Shop, stripe: StripePlatform, tmp_path: Path
) -> None:
    """Both know the secret of their own account, and one of them lies."""
    await own_account(system, shop, tmp_path, stripe, "acct_own00000003")
    victim = (await shop.pay("pm_card_payer")).json
    (intent,) = [i for i in stripe.intents.values() if i["payment_method"] == "pm_card_payer"]
    async with system.shop() as liar, standing(SECRET) as theirs:
        await own_account(system, liar, tmp_path, theirs, "acct_liar0000001")
        while not theirs.events.empty():
            theirs.events.get_nowait()
        lie = intent | {"status": "succeeded", "amount_received": 1999}
        theirs._tell("payment_intent.succeeded", lie)
        letter = await theirs.events.get()
        assert (await notify(liar, f"stripe/{liar.merchant}", letter)).status == 200
    assert (await shop.payment(victim["id"]))["status"] == "requires_action"


async def test_an_acquirer_tells_its_own_keys_and_every_worker_knows_them(
    system: System, shop: Shop, tmp_path: Path
) -> None:
    """The background worker fetches them; until then nobody is sent there."""
    first = wechat_pay.certificate(0xA1, begins=datetime.now(UTC) - timedelta(days=1))
    async with WechatPay(first).running() as platform:
        keyless = replace(wechat_pay.credential(platform.base_url), platform_keys={})
        plain = msgspec.to_builtins(keyless)
        made = await added(system, tmp_path, plain, "--merchant", shop.merchant, channel="wechat")
        assert made[0] == 0, made[2]

        async def begun() -> Any:
            payment = await shop.pay(method={"type": "wechat", "flow": "native"})
            return payment.json if payment.status == 201 else refused(payment, 422, "no_channel")

        payment = await until(begun, seconds=10)
        assert (payment["status"], payment["next_action"]["type"]) == ("requires_action", "qr")
        (order,) = platform.orders.values()
        platform.book(order)
        assert (await act(shop, payment["id"], "sync")).json["status"] == "succeeded"


async def test_a_payment_stays_with_the_account_it_was_made_at(
    system: System, shop: Shop, stripe: StripePlatform, tmp_path: Path
) -> None:
    first = await own_account(system, shop, tmp_path, stripe, "acct_own00000004")
    payment = (await shop.pay("pm_card_payer")).json
    async with standing(SECRET, OTHER_KEY) as newer:
        other = words(newer.base_url, "acct_own00000005", OTHER_KEY)
        second = json.loads((await added(system, tmp_path, other, "--merchant", shop.merchant))[1])

        async def moved() -> bool:
            await shop.pay("pm_card_approved")
            return bool(newer.books)

        await until(moved, seconds=5)
        canceled = await act(shop, payment["id"], "cancel")
        assert canceled.json["status"] == "canceled"
        assert [i["status"] for i in newer.intents.values()].count("canceled") == 0
        # Without any credential of its account nothing more can be asked, and nobody says why.
        late = (await shop.pay("pm_card_payer")).json
        for made in (first, second):
            assert (await run(system, "revoke", made["credential"]))[0] == 0
        await pays_at(shop, "simulator")
        stranded = {"channel": "stripe", "credential": second["credential"]}
        stranded |= {"attempts": 1, "captures": 0, "refunds": 0}

        async def told() -> bool:
            shown = (await shop.send("GET", "/readyz?verbose=1", b"", {})).json
            metrics = (await shop.send("GET", "/metrics", b"", {})).body.decode()
            gauge = 'floodgate_stranded_items{channel="stripe",kind="attempt"}'
            return stranded in shown["stranded"] and gauge in metrics

        await until(told)
        assert (await act(shop, late["id"], "sync")).json["status"] == "requires_action"
        assert "credential" not in json.dumps(await timeline(shop, late["id"]))


async def test_a_wrong_credential_is_told_to_operators_and_never_to_merchants(
    system: System, shop: Shop, stripe: StripePlatform, tmp_path: Path
) -> None:
    wrong = words(stripe.base_url, "acct_own00000006", OTHER_KEY)
    told = await added(system, tmp_path, wrong, "--merchant", shop.merchant)
    made = json.loads(told[1])
    payment = await pays_at(shop, "stripe")
    assert (payment["status"], payment["failure"]["code"]) == ("failed", "channel_unavailable")
    assert "credential" not in json.dumps([payment, await timeline(shop, payment["id"])])
    shown = await shop.send("GET", "/readyz?verbose=1", b"", {})
    trouble = {"credential": made["credential"], "channel": "stripe", "trouble": "refused"}
    assert (shown.status, shown.json["status"]) == (200, "ready")
    assert trouble in shown.json["credentials"]
    assert (await shop.send("GET", "/readyz", b"", {})).json == {"status": "ready"}

    async def counted() -> bool:
        metrics = (await shop.send("GET", "/metrics", b"", {})).body.decode()
        return 'floodgate_channel_credentials{channel="stripe",state="refused"} 1.0' in metrics

    await until(counted)
    listed = json.loads((await run(system, "list"))[1])
    (one,) = [each for each in listed if each["credential"] == made["credential"]]
    assert (one["merchant"], one["account"]) == (shop.merchant, "acct_own00000006")
    assert (await run(system, "revoke", made["credential"]))[0] == 0


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"secret_key": "hunter2"}, "secret_key"),
        ({"webhook_secrets": []}, "webhook_secrets"),
        ({"colour": "hunter2"}, "colour"),
        ({"base_url": "http://hunter2.example"}, "base_url"),
    ],
)
async def test_a_credential_that_cannot_be_meant_is_refused_by_name(
    system: System, tmp_path: Path, change: dict[str, Any], named: str
) -> None:
    code, out, err = await added(
        system, tmp_path, words("https://api.stripe.com", "acct_own00000007") | change
    )
    assert (code, out) == (1, "")
    assert named in err
    assert "hunter2" not in err
    assert "Traceback" not in err


async def test_what_else_the_commands_refuse(system: System, tmp_path: Path) -> None:
    file = tmp_path / "broken.toml"
    file.write_text("secret_key = hunter2")
    for told in (
        await run(system, "add", "stripe", "--file", str(file)),
        await run(system, "add", "stripe", "--file", str(tmp_path / "none.json")),
        await run(system, "add", "bank", "--file", str(file)),
        await run(system, "add", "stripe", "--file", str(file), "--label", "\x07"),
        await run(system, "revoke", "crd_" + "0" * 32),
        await run(system, "revoke", "x"),
        await added(
            system, tmp_path, words("https://x", "acct_own00000008"), "--merchant", "mer_1"
        ),
    ):
        assert told[:2] == (1, "")
        assert told[2]
        assert "hunter2" not in told[2]
