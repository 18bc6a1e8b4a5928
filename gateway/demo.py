"""One signed payment through the public HTTP API, shown as a person would like to read it."""

import json
from datetime import UTC, datetime
from typing import Any

from gateway.domain.errors import FloodgateError
from gateway.domain.wire import WireRequest
from gateway.drivers.outbound import Outbound
from gateway.signing import Credentials, Unsigned, sign
from gateway.terminal import show_payment

_SECONDS = 15


class Demo:
    """A merchant with its key at a running gateway."""

    def __init__(self, base_url: str, credentials: Credentials) -> None:
        self._base_url = base_url
        self._credentials = credentials

    async def run(self) -> None:
        """Make a payment of 19.99 CNY and show its timeline and its journal."""
        reference = f"demo-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}"
        order = {
            "amount": 1999,
            "currency": "CNY",
            "reference": reference,
            "method": {"type": "card", "token": "tok_ok"},
            "description": "Two tickets for the demo",
        }
        async with Outbound() as outbound:
            body = json.dumps(order).encode()
            payment = await self._call(
                outbound, Unsigned("POST", "/v1/payments", body, idempotency_key=reference)
            )
            path = f"/v1/payments/{payment['id']}"
            timeline = await self._call(outbound, Unsigned("GET", f"{path}/timeline"))
            entries = await self._call(
                outbound, Unsigned("GET", f"/v1/ledger/entries?payment={payment['id']}")
            )
        show_payment(payment, timeline["data"], entries["data"])

    async def _call(self, outbound: Outbound, request: Unsigned) -> dict[str, Any]:
        headers = sign(request, self._credentials, datetime.now(UTC))
        wire = WireRequest(request.method, request.path, headers, request.body)
        answer = await outbound.send(self._base_url, wire, seconds=_SECONDS)
        told: dict[str, Any] = json.loads(answer.body)
        if answer.status >= 400:  # noqa: PLR2004 - HTTP's own border
            raise FloodgateError(f"{told.get('code')}: {told.get('detail')}")
        return told
