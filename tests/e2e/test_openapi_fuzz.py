"""The OpenAPI document is true: what it allows and what it forbids, sent to a running gateway."""

import asyncio
import uuid
from collections.abc import Callable, Mapping
from typing import NamedTuple

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from requests.auth import AuthBase
from schemathesis.specs.openapi.checks import positive_data_acceptance

from gateway.faces.api.openapi import document
from tests.e2e.harness import Shop, System
from tests.e2e.wire import signed
from tests.native.signing_client import Request, digest

EXAMPLES = 10
# What a document cannot promise: that a payment with this reference does not exist yet, say, or
# which accounts there are. It does promise how everything else is read.
UNPROMISED = [positive_data_acceptance]

described = document("0", "http://127.0.0.1")
# We sign everything: that what is not signed is refused has its own tests.
del described["security"], described["components"]["securitySchemes"]
schema = schemathesis.openapi.from_dict(described)


class Signing(AuthBase):
    """Signs whatever is sent, as a merchant's client does."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop

    def __call__(self, prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        body = prepared.body or b""
        raw = body.encode() if isinstance(body, str) else body
        if raw:
            prepared.headers["Content-Digest"] = f"sha-256=:{digest(raw)}:"
        headers = tuple(
            (name.encode(), value if isinstance(value, bytes) else value.encode("latin-1"))
            for name, value in prepared.headers.items()
        )
        assert prepared.method is not None
        request = signed(self._shop, Request(prepared.method, prepared.path_url, headers, raw))
        for name in ("Signature-Input", "Signature"):
            prepared.headers[name] = request.value(name.lower())
        return prepared


class Till(NamedTuple):
    """A shop that has traded: what signs for it, and the ids of what it has, by their prefix."""

    base_url: str
    signing: Signing
    ids: Mapping[str, str]


@pytest.fixture(scope="module")
def till(system: System) -> Till:
    return asyncio.run(opened(system))


async def opened(system: System) -> Till:
    """Make one of everything that a path can name."""
    await system.ready()
    async with system.shop("Fuzzed") as shop:
        payment = (await shop.pay()).json["id"]
        refund = {"amount": 1, "reference": "back"}
        hook = {"url": "http://127.0.0.1:9/", "events": ["refund.failed"]}
        made = [
            payment,
            (await shop.call("POST", f"/v1/payments/{payment}/refunds", refund)).json["id"],
            (await shop.call("POST", "/v1/webhook_endpoints", hook)).json["id"],
            (await shop.call("GET", "/v1/events?limit=1")).json["data"][0]["id"],
        ]
        return Till(shop.base_url, Signing(shop), {name.partition("_")[0]: name for name in made})


def keeps(case: schemathesis.Case, till: Till) -> None:
    """Send what the document led to, and hold the answer to the document."""
    name = str(case.path_parameters.get("id", ""))
    # Of the well-formed ids those of this shop are the interesting ones.
    if name.partition("_")[0] in till.ids and case.method != "DELETE":
        case.path_parameters["id"] = till.ids[name.partition("_")[0]]
    # A key of its own for each: a key that was used before has its own tests.
    if case.headers.get("Idempotency-Key"):
        case.headers["Idempotency-Key"] = uuid.uuid4().hex
    answer = case.call(base_url=till.base_url, auth=till.signing)
    promised = case.method == "GET" and case.operation.path != "/v1/ledger/entries"
    case.validate_response(answer, excluded_checks=[] if promised else UNPROMISED)


def fuzzed(operation_id: str) -> Callable[..., None]:
    """Make the test of one call; they need names of their own, or xdist would run one of them."""

    @schema.include(operation_id=operation_id).parametrize()
    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def test(case: schemathesis.Case, till: Till) -> None:
        keeps(case, till)

    return test


globals().update(
    {
        f"test_{call['operationId']}": fuzzed(call["operationId"])
        for calls in described["paths"].values()
        for call in calls.values()
    }
)
