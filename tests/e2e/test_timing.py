"""Where the time of a request went: `Server-Timing` on wish, and the metrics for all of them."""

import uuid
from datetime import UTC, datetime

from multidict import CIMultiDict
from prometheus_client.parser import text_string_to_metric_families

from gateway.signing import Unsigned, sign
from tests.e2e.harness import Reply, Shop, order

TOLD = {"Prefer": "wait=5, server-timing"}
STEPS = ["verify", "admit", "match", "claim", "route", "open", "ask", "post", "settle"]


def timing(reply: Reply) -> dict[str, float]:
    laps = [lap.partition(";dur=") for lap in reply.headers["Server-Timing"].split(", ")]
    return {name: float(milliseconds) for name, _, milliseconds in laps}


async def metrics(shop: Shop) -> dict[str, float]:
    reply = await shop.send("GET", "/metrics", b"", {})
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(reply.body.decode())
        for sample in family.samples
    }


async def test_every_step_of_a_payment_is_told_on_wish(shop: Shop) -> None:
    reply = await shop.call("POST", "/v1/payments", order("tok_latency_30"), headers=TOLD)
    assert reply.status == 201
    laps = timing(reply)
    assert list(laps) == [*STEPS, "total"]
    assert laps["ask"] >= 30
    assert sum(laps[step] for step in STEPS) <= laps["total"] + 0.01
    assert "Server-Timing" not in (await shop.pay()).headers


async def test_the_wish_may_be_written_as_rfc_7240_has_it(shop: Shop) -> None:
    for wish in ("Server-Timing", "respond-async,server-timing=1", 'wait=5, server-timing; a="b"'):
        told = await shop.call("GET", "/v1/payments", headers={"Prefer": wish})
        assert "Server-Timing" in told.headers, wish
    other = await shop.call("GET", "/v1/payments", headers={"Prefer": "no-server-timing-now"})
    assert "Server-Timing" not in other.headers
    twice = CIMultiDict(Prefer="wait=5")
    twice.extend(sign(Unsigned("GET", "/v1/payments"), shop.credentials, datetime.now(UTC)))
    twice.add("Prefer", "server-timing")
    assert "Server-Timing" in (await shop.send("GET", "/v1/payments", b"", twice)).headers


async def test_refusals_and_reads_have_their_times_too(shop: Shop) -> None:
    refused = await shop.call("POST", "/v1/payments", order(amount=0), headers=TOLD)
    listed = await shop.call("GET", "/v1/payments", headers=TOLD)
    assert (refused.status, list(timing(refused))) == (400, ["verify", "admit", "total"])
    assert (listed.status, list(timing(listed))) == (200, ["verify", "admit", "match", "total"])


async def test_each_payment_of_a_batch_is_measured(shop: Shop) -> None:
    before = await metrics(shop)
    items = [{"idempotency_key": uuid.uuid4().hex} | order() for _ in range(5)]
    batch = {"payments": items}
    reply = await shop.call("POST", "/v1/payments/batch", batch, headers=TOLD)
    assert list(timing(reply)) == ["verify", "admit", "match", "claim", "items", "total"]
    after = await metrics(shop)
    counted = {
        step: after[f"floodgate_step_seconds_count {step}"]
        - before.get(f"floodgate_step_seconds_count {step}", 0)
        for step in [*STEPS, "items"]
    }
    once = dict.fromkeys(["verify", "admit", "match", "items"], 1)
    assert counted == dict.fromkeys(STEPS, 5) | once | {"claim": 6}
    assert {"floodgate_queue_items open", "floodgate_loop_lag_seconds"} <= after.keys()
    flushes = {f"floodgate_batch_items_count {queue}" for queue in ("claims", "open", "post")}
    assert flushes <= after.keys()
