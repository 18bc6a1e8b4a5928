"""The contract of idempotency keys on a healthy system: one key, one payment, one answer."""

import asyncio
import json
import re
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway import merchants
from gateway.domain import limits
from tests.e2e.harness import Reply, Shop, System, order, until
from tests.e2e.idempotency_kit import Witness, insist, replayed
from tests.e2e.wire import asked, seconds_now, sent, signed

KEY = "order-4711"
PATH = "/v1/payments"


def code(reply: Reply) -> Any:
    return reply.json["code"]


async def test_fifty_identical_requests_at_once_are_one_payment(
    shop: Shop, witness: Witness
) -> None:
    body = order()
    at_once = [shop.call("POST", PATH, body, key=KEY) for _ in range(50)]
    replies: Sequence[Reply] = await asyncio.gather(*at_once)
    served = [reply for reply in replies if reply.status == 201]
    refused = [reply for reply in replies if reply.status != 201]
    assert [replayed(reply) for reply in served].count(False) == 1
    assert {(reply.status, code(reply)) for reply in refused} <= {(409, "request_in_progress")}
    assert all(int(reply.headers["Retry-After"]) > 0 for reply in refused)
    again = [await insist(shop, body, KEY) for _ in range(3)]
    assert {reply.body for reply in [*served, *again]} == {served[0].body}
    assert served[0].json["status"] == "succeeded"
    await witness.proves(shop)


async def test_a_key_is_for_one_request(shop: Shop, witness: Witness) -> None:
    body = order()
    first = await shop.call("POST", PATH, body, key=KEY)
    sync = f"{PATH}/{first.json['id']}/sync"
    for path, other in ((PATH, body | {"amount": 2000}), (PATH, order()), (sync, {})):
        reply = await shop.call("POST", path, other, key=KEY)
        assert (reply.status, code(reply)) == (422, "idempotency_key_reused")
        assert first.json["id"] not in reply.body.decode()
    assert (await shop.call("POST", PATH, body, key=KEY)).body == first.body
    await witness.proves(shop)


async def test_the_same_money_in_other_bytes_is_another_request(
    shop: Shop, witness: Witness
) -> None:
    body = order()
    await shop.call("POST", PATH, body, key=KEY)
    reply = await shop.call("POST", PATH, json.dumps(body, indent=1).encode(), key=KEY)
    assert (reply.status, code(reply)) == (422, "idempotency_key_reused")
    await witness.proves(shop)


async def test_a_key_stays_taken_and_keeps_its_answer_when_redis_forgot(
    shop: Shop, witness: Witness
) -> None:
    body = order()
    first = await shop.call("POST", PATH, body, key=KEY)
    await witness.claim_ends(shop, KEY)
    reply = await shop.call("POST", PATH, body | {"amount": 1}, key=KEY)
    assert (reply.status, code(reply)) == (422, "idempotency_key_reused")
    again = await shop.call("POST", PATH, body, key=KEY)
    assert (again.status, replayed(again), again.body) == (201, True, first.body)
    await witness.proves(shop)


async def test_a_query_that_no_call_takes_does_not_touch_the_key(
    shop: Shop, witness: Witness
) -> None:
    body = order()
    first = await shop.call("POST", PATH, body, key=KEY)
    reply = await shop.call("POST", f"{PATH}?test=1", body, key=KEY)
    assert (reply.status, code(reply)) == (400, "field_unknown")
    assert (await shop.call("POST", PATH, body, key=KEY)).body == first.body
    await witness.proves(shop)


async def test_merchants_do_not_share_keys(shop: Shop, system: System, witness: Witness) -> None:
    body = order()
    first = await shop.call("POST", PATH, body, key=KEY)
    async with system.shop("Neighbour") as neighbour:
        other = await neighbour.call("POST", PATH, body, key=KEY)
        assert (other.status, replayed(other)) == (201, False)
        assert other.json["id"] != first.json["id"]
        await witness.proves(neighbour)
    await witness.proves(shop)


async def ask(shop: Shop, body: Any, header: str | None, **given: Any) -> Reply:
    """Send a payment whose Idempotency-Key header is exactly this."""
    request = asked(shop, "POST", PATH, body).without("Idempotency-Key")
    if header is not None:
        request = request.adding("Idempotency-Key", header)
    return await sent(shop, signed(shop, request, **given))


@pytest.mark.parametrize(
    ("one", "other"),
    [('"k"', "k"), (r'"a\"b\\c"', r'a"b\c')],
    ids=["plain", "escaped"],
)
async def test_a_quoted_key_and_the_bare_one_are_the_same(
    shop: Shop, witness: Witness, one: str, other: str
) -> None:
    body = order()
    first, second = await ask(shop, body, one), await ask(shop, body, other)
    assert (first.status, second.body) == (201, first.body)
    assert (replayed(first), replayed(second)) == (False, True)
    await witness.proves(shop)


@pytest.mark.parametrize("length", [1, 255])
async def test_the_shortest_and_the_longest_key(shop: Shop, witness: Witness, length: int) -> None:
    body, key = order(), "k" * length
    first = await shop.call("POST", PATH, body, key=key)
    assert first.status == 201
    assert (await shop.call("POST", PATH, body, key=key)).body == first.body
    await witness.claim_ends(shop, key)
    assert (await shop.call("POST", PATH, body, key=key)).body == first.body
    await witness.proves(shop)


@pytest.mark.parametrize(
    ("header", "why"),
    [
        (None, "idempotency_key_missing"),
        ("", "idempotency_key_invalid"),
        ('""', "idempotency_key_invalid"),
        ("k" * 256, "idempotency_key_invalid"),
        ('"' + "k" * 256 + '"', "idempotency_key_invalid"),
        ('"two words"', "idempotency_key_invalid"),
        ('"a\tb"', "idempotency_key_invalid"),
        ("a\x01b", "request_malformed"),
        ("a\x7fb", "request_malformed"),
    ],
)
async def test_what_is_no_key(shop: Shop, witness: Witness, header: str | None, why: str) -> None:
    reply = await ask(shop, order(), header)
    assert (reply.status, code(reply)) == (400, why)
    await witness.proves(shop, payments=0, captures=0)


async def test_two_keys_on_one_request_are_refused(shop: Shop, witness: Witness) -> None:
    request = asked(shop, "POST", PATH, order())
    reply = await sent(shop, signed(shop, request).adding("Idempotency-Key", '"second"'))
    assert (reply.status, code(reply)) == (401, "signature_malformed")
    await witness.proves(shop, payments=0, captures=0)


async def test_a_retry_may_be_signed_afresh(shop: Shop, witness: Witness) -> None:
    body = order()
    first = await ask(shop, body, KEY, created=seconds_now() - 60, nonce="one")
    again = await ask(shop, body, KEY, nonce="two", tag="retry")
    assert (first.status, again.status) == (201, 201)
    assert (replayed(again), again.body) == (True, first.body)
    await witness.proves(shop)


async def test_a_captured_request_moves_nothing_and_ages(shop: Shop, witness: Witness) -> None:
    age = limits.SIGNATURE_AGE_SECONDS_MAX - 2
    captured = signed(shop, asked(shop, "POST", PATH, order()), created=seconds_now() - age)
    first, again = await sent(shop, captured), await sent(shop, captured)
    assert (first.status, replayed(again), again.body) == (201, True, first.body)

    async def is_stale() -> Reply | None:
        reply = await sent(shop, captured)
        return reply if reply.status != 201 else None

    stale = await until(is_stale)
    assert (stale.status, code(stale)) == (401, "signature_expired")
    assert first.json["id"] not in stale.body.decode()
    await witness.proves(shop)


async def test_what_never_began_does_not_use_the_key_up(shop: Shop, witness: Witness) -> None:
    body = order()
    refusals = [
        await shop.call("POST", PATH, body | {"amount": 0}, key=KEY),
        await shop.call("POST", PATH, b"{", key=KEY),
        await shop.call("POST", PATH, body, key=KEY, headers={"Signature": f"sig1=:{'A' * 43}=:"}),
        await shop.call("POST", f"{PATH}s", body, key=KEY),
        await shop.call("POST", PATH, b" " * (limits.BODY_BYTES_MAX + 1), key=KEY),
        await shop.call("POST", PATH, body, key=KEY, headers={"Content-Encoding": "identity"}),
    ]
    assert [reply.status for reply in refusals] == [400, 400, 401, 404, 413, 415]
    assert await witness.remembered(shop, KEY) is None
    first = await shop.call("POST", PATH, body, key=KEY)
    assert (first.status, replayed(first)) == (201, False)
    await witness.proves(shop)


async def test_a_decline_is_an_answer_and_repeated(shop: Shop, witness: Witness) -> None:
    body = order("tok_insufficient_funds")
    replies = [await shop.call("POST", PATH, body, key=KEY) for _ in range(2)]
    await witness.claim_ends(shop, KEY)
    replies.append(await shop.call("POST", PATH, body, key=KEY))
    assert [replayed(reply) for reply in replies] == [False, True, True]
    assert {reply.body for reply in replies} == {replies[0].body}
    assert replies[0].json["failure"]["code"] == "insufficient_funds"
    await witness.proves(shop, captures=0)


async def test_postgresql_answers_when_redis_has_forgotten(shop: Shop, witness: Witness) -> None:
    body = order()
    first = await shop.call("POST", PATH, body, key=KEY)
    await witness.claim_ends(shop, KEY)
    again = await shop.call("POST", PATH, body, key=KEY)
    assert (again.status, replayed(again), again.body) == (201, True, first.body)
    await witness.proves(shop)


async def test_the_end_of_a_payment_is_not_the_end_of_its_key(shop: Shop, witness: Witness) -> None:
    """A retry that comes after `expires_at` is the same request still, and begins nothing."""
    expires_at = datetime.now(UTC) + timedelta(seconds=2)
    body = order(expires_at=expires_at.isoformat())
    first = await shop.call("POST", PATH, body, key=KEY)
    assert (first.status, first.json["status"]) == (201, "succeeded")

    async def is_over() -> bool:
        return datetime.now(UTC) > expires_at

    await until(is_over)
    again = await shop.call("POST", PATH, body, key=KEY)
    assert (again.status, replayed(again), again.body) == (201, True, first.body)
    await witness.claim_ends(shop, KEY)
    recalled = await shop.call("POST", PATH, body, key=KEY)
    assert (recalled.status, replayed(recalled), recalled.body) == (201, True, first.body)
    await witness.proves(shop)


async def test_the_reference_refuses_when_every_memory_of_the_key_is_gone(
    shop: Shop, witness: Witness
) -> None:
    body = order()
    first = await shop.call("POST", PATH, body, key=KEY)
    await witness.claim_ends(shop, KEY)
    await witness.forgets_keys(shop)
    for _ in range(2):
        reply = await shop.call("POST", PATH, body, key=KEY)
        assert (reply.status, code(reply)) == (409, "reference_exists")
        assert reply.json["payment"] == first.json["id"]
        await witness.claim_ends(shop, KEY)
    await witness.proves(shop)


async def test_the_largest_answer_is_kept_byte_for_byte(shop: Shop, witness: Witness) -> None:
    widest = "\N{MONEY BAG}"
    body = order(
        reference=widest * limits.REFERENCE_CHARS_MAX,
        description=widest * limits.DESCRIPTION_CHARS_MAX,
        metadata={
            f"{number:02}" + widest * (limits.METADATA_KEY_CHARS_MAX - 2): widest
            * limits.METADATA_VALUE_CHARS_MAX
            for number in range(limits.METADATA_PAIRS_MAX)
        },
    )
    raw = json.dumps(body, ensure_ascii=False).encode()
    assert len(raw) > 40_000
    first = await shop.call("POST", PATH, raw, key=KEY)
    assert (first.status, first.json["metadata"]) == (201, body["metadata"])
    again = await shop.call("POST", PATH, raw, key=KEY)
    await witness.claim_ends(shop, KEY)
    recalled = await shop.call("POST", PATH, raw, key=KEY)
    assert (replayed(again), replayed(recalled)) == (True, True)
    assert again.body == recalled.body == first.body
    await witness.proves(shop)


async def test_a_revoked_key_hears_nothing_of_what_it_was_told(
    shop: Shop, system: System, witness: Witness
) -> None:
    body = order()
    first = await shop.call("POST", PATH, body, key=KEY)
    await asyncio.to_thread(merchants.revoke, system.settings, key_id=shop.credentials.key_id)

    async def is_refused() -> Reply | None:
        reply = await shop.call("POST", PATH, body, key=KEY)
        return reply if reply.status != 201 else None

    refused = await until(is_refused)
    assert (refused.status, code(refused)) == (401, "key_unknown")
    assert first.json["id"] not in refused.body.decode()
    assert not replayed(refused)
    await witness.proves(shop)


async def test_redis_is_told_only_how_long_and_never_until_when(
    shop: Shop, witness: Witness
) -> None:
    """Then it does not matter what the clocks of its host and of ours say."""
    # MONITOR shows every database of the server, and others have keys like ours.
    body, key = order("tok_latency_300"), uuid.uuid4().hex
    async with witness.redis.monitor() as monitor:
        paying = asyncio.create_task(shop.call("POST", PATH, body, key=key))
        await until(lambda: witness.remembered(shop, key))
        lease_ms = await witness.lifetime_ms(shop, key)
        first = await paying
        kept_ms = await witness.lifetime_ms(shop, key)
        written: list[list[tuple[str, str]]] = []
        while len(written) < 2:
            # As it came: its reading by redis-py goes astray where a token ends with a backslash.
            line = str(await monitor.connection.read_response())
            if '"SET" "idem:' in line and key in line:
                written.append(re.findall(r'"(PX)" "(\d+)"', line))
    assert first.status == 201
    assert 0 < lease_ms <= limits.CLAIM_LEASE_SECONDS * 1000
    assert 0 < kept_ms <= limits.ANSWER_KEEP_SECONDS * 1000
    assert kept_ms > limits.CLAIM_LEASE_SECONDS * 1000
    assert written == [
        [("PX", str(limits.CLAIM_LEASE_SECONDS * 1000))],
        [("PX", str(limits.ANSWER_KEEP_SECONDS * 1000))],
    ]
    await witness.proves(shop)
