"""A Stripe of our own, of the documented shapes: intents, keys, search, refunds, signed events.

The token scripts what happens to an intent: `pm_card_declined`, `pm_card_timeout_booked`, ….  It
keeps its keys as Stripe does: the first executed answer is repeated, errors of its own included,
and the same key with other parameters is refused.
"""

import asyncio
import contextlib
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from tests.contract.loopback import served

NUMBER = "floodgate_attempt"
KEY = "sk_test_0123456789abcdef"


class Refused(Exception):
    def __init__(self, status: int, kind: str, code: str | None = None, **more: Any) -> None:
        self.status = status
        self.error = {"type": kind, "code": code, "message": "…", **more}


class StripePlatform:
    """One account; its events, signed with `secret`, are put into `events`."""

    def __init__(self, secret: str, key: str = KEY) -> None:
        self.secret = secret
        self.key = key
        self.events: asyncio.Queue[tuple[dict[str, str], bytes]] = asyncio.Queue()
        self.base_url = ""
        self.intents: dict[str, dict[str, Any]] = {}
        self.refunds: dict[str, dict[str, Any]] = {}
        self.books: list[tuple[str, str, int]] = []
        self.kept: dict[str, tuple[Mapping[str, str], int, Any]] = {}
        self.searchable = True
        self.asked: list[tuple[str, Mapping[str, str]]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    # The wire

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        fields = dict(parse_qsl((await request.read()).decode(), keep_blank_values=True))
        key = request.headers.get("Idempotency-Key")
        self.asked.append((f"{request.method} {request.path}", fields))
        if request.headers.get("Authorization") != f"Bearer {self.key}":
            error = {"type": "invalid_request_error", "message": "Invalid API Key provided"}
            return web.json_response({"error": error}, status=401)
        lost = self._script(fields) == "timeout_lost"
        status, body = (0, None) if lost else self._answer(request, fields, key)
        if lost or (self._script(body) == "timeout_booked" and request.method == "POST"):
            assert request.transport is not None
            request.transport.close()
        return web.json_response(body, status=status or 500)

    def _answer(
        self, request: web.BaseRequest, fields: Mapping[str, str], key: str | None
    ) -> tuple[int, Any]:
        if key is not None and key in self.kept:
            before, status, body = self.kept[key]
            if before != fields:
                return 400, {"error": {"type": "idempotency_error", "message": "…"}}
            return status, body
        try:
            status, body = 200, self._do(request, fields)
        except Refused as refused:
            status, body = refused.status, {"error": refused.error}
        if self._script(body) == "error_booked" and request.method == "POST":
            status, body = 500, {"error": {"type": "api_error", "message": "…"}}
        if key is not None:
            self.kept[key] = (dict(fields), status, json.loads(json.dumps(body)))
        return status, body

    def _do(self, request: web.BaseRequest, fields: Mapping[str, str]) -> Any:
        match request.method, request.path.removeprefix("/v1/").split("/"):
            case "POST", ["payment_intents"]:
                return self._create(fields)
            case "GET", ["payment_intents", "search"]:
                wanted = request.query["query"].rpartition(":")[2].strip("'")
                found = [i for i in self.intents.values() if i["metadata"].get(NUMBER) == wanted]
                return _page([self._expanded(i) for i in found] if self.searchable else [])
            case "GET", ["payment_intents", name]:
                intent = self._intent(name)
                return self._expanded(intent) if "expand[]" in request.query else intent
            case "POST", ["payment_intents", name, "cancel"]:
                return self._cancel(self._intent(name))
            case "POST", ["payment_intents", name, "capture"]:
                return self._capture(self._intent(name), int(fields["amount_to_capture"]))
            case "POST", ["refunds"]:
                return self._refund(fields)
            case "GET", ["refunds"]:
                intent = request.query["payment_intent"]
                return _page([r for r in self.refunds.values() if r["payment_intent"] == intent])
            case "GET", ["refunds", name]:
                return self.refunds[name]
        raise Refused(404, "invalid_request_error")

    # What it does

    def _create(self, fields: Mapping[str, str]) -> Any:
        amount, token = int(fields["amount"]), fields.get("payment_method", "")
        intent = {
            "id": self._name("pi"),
            "object": "payment_intent",
            "amount": amount,
            "amount_received": 0,
            "capture_method": fields.get("capture_method", "automatic"),
            "client_secret": "pi_secret",
            "created": int(time.time()),
            "currency": fields["currency"],
            "last_payment_error": None,
            "latest_charge": None,
            "livemode": False,
            "metadata": _metadata(fields),
            "next_action": None,
            "payment_method": token or None,
            "status": "requires_confirmation" if token else "requires_payment_method",
        }
        self.intents[intent["id"]] = intent
        if fields.get("confirm") != "true":
            intent["status"] = "requires_confirmation"
            return intent
        self._confirm(intent, fields)
        return self._expanded(intent) if "expand[]" in fields else intent

    def _confirm(self, intent: dict[str, Any], fields: Mapping[str, str]) -> None:
        match self._script(intent):
            case "declined":
                word = {"code": "card_declined", "decline_code": "generic_decline"}
                intent |= {
                    "status": "requires_payment_method",
                    "last_payment_error": {"type": "card_error", **word},
                }
                raise Refused(
                    402, "card_error", "card_declined", payment_intent=intent, **_decline(word)
                )
            case "payer":
                url = f"{self.base_url}/pay/{intent['id']}"
                step = {"type": "redirect_to_url", "redirect_to_url": {"url": url}}
                if "return_url" not in fields:
                    step = {"type": "use_stripe_sdk", "use_stripe_sdk": {}}
                intent |= {"status": "requires_action", "next_action": step}
            case "pending":
                intent["status"] = "processing"
                self._later(self._settle(intent))
            case "wrong_amount_notice":
                intent["status"] = "processing"
                told = intent | {"status": "succeeded", "amount_received": intent["amount"] + 1}
                self._tell("payment_intent.succeeded", told)
            case "forged_notice":
                intent["status"] = "processing"
                self._tell("payment_intent.succeeded", intent, secret="whsec_of_somebody_else")
            case "duplicate_notice":
                self._pay(intent, times=3)
            case _:
                self._pay(intent)

    async def _settle(self, intent: dict[str, Any]) -> None:
        await asyncio.sleep(0.02)
        self._pay(intent)

    def _pay(self, intent: dict[str, Any], times: int = 1) -> None:
        intent["latest_charge"] = self._name("ch")
        intent["next_action"] = None
        if intent["capture_method"] == "manual":
            intent["status"] = "requires_capture"
            self._tell("payment_intent.amount_capturable_updated", intent)
            return
        self._book(intent, intent["amount"], times)

    def _book(self, intent: dict[str, Any], amount: int, times: int = 1) -> None:
        intent |= {"status": "succeeded", "amount_received": amount}
        self.books.append(("payment", intent["metadata"].get(NUMBER, ""), amount))
        self._tell("payment_intent.succeeded", intent, times=times)

    def authenticate(self, name: str) -> None:
        """Play the payer at his bank; too late when the intent is over."""
        intent = self.intents[name]
        if intent["status"] == "requires_action":
            self._pay(intent)

    def _cancel(self, intent: dict[str, Any]) -> Any:
        if intent["status"] in {"succeeded", "canceled", "processing"}:
            raise _unexpected(intent)
        intent |= {"status": "canceled", "next_action": None}
        self._tell("payment_intent.canceled", intent)
        return intent

    def _capture(self, intent: dict[str, Any], amount: int) -> Any:
        if intent["status"] != "requires_capture":
            raise _unexpected(intent)
        if amount > intent["amount"]:
            code = "amount_too_large"
            raise Refused(400, "invalid_request_error", code, payment_intent=intent)
        self._book(intent, amount)
        return self._expanded(intent)

    def _refund(self, fields: Mapping[str, str]) -> Any:
        intent, amount = self._intent(fields["payment_intent"]), int(fields["amount"])
        number, script = intent["metadata"].get(NUMBER, ""), self._script(intent)
        given = sum(a for kind, n, a in self.books if (kind, n) == ("refund", number))
        if given + amount > intent["amount_received"]:
            raise Refused(400, "invalid_request_error", "charge_already_refunded")
        refund = {
            "id": self._name("re"),
            "object": "refund",
            "amount": amount,
            "created": int(time.time()),
            "currency": intent["currency"],
            "metadata": _metadata(fields),
            "payment_intent": intent["id"],
            "status": "failed" if script == "refund_fails" else "succeeded",
        }
        self.refunds = {refund["id"]: refund} | self.refunds
        if script == "refund_fails":
            refund["failure_reason"] = "expired_or_canceled_card"
            return refund
        self.books.append(("refund", number, amount))
        self._tell("refund.created", refund)
        if script == "refund_unknown":
            raise Refused(500, "api_error")
        return refund

    # Events

    def _tell(
        self, kind: str, about: Mapping[str, Any], *, secret: str | None = None, times: int = 1
    ) -> None:
        event = {"id": self._name("evt"), "object": "event", "type": kind, "data": {}}
        event |= {"created": int(time.time()), "livemode": False, "data": {"object": about}}
        body = json.dumps(event).encode()
        headers = {"stripe-signature": signature(secret or self.secret, body)}
        for _ in range(times):
            self.events.put_nowait((headers, body))

    def _later(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # Small things

    def _expanded(self, intent: Mapping[str, Any]) -> Any:
        charge = intent["latest_charge"]
        at = {"id": charge, "object": "charge", "created": intent["created"]}
        return intent if charge is None else {**intent, "latest_charge": at}

    def _intent(self, name: str) -> dict[str, Any]:
        if name not in self.intents:
            raise Refused(404, "invalid_request_error", "resource_missing")
        return self.intents[name]

    def _script(self, about: Any) -> str:
        token = about.get("payment_method") if isinstance(about, dict) else None
        return (token or "").removeprefix("pm_card_")

    def _name(self, prefix: str) -> str:
        return f"{prefix}_{uuid.uuid4().hex}"


@contextlib.asynccontextmanager
async def standing(secret: str, key: str = KEY) -> AsyncIterator[StripePlatform]:
    """A platform on a port of this machine; its events wait until they are taken."""
    platform = StripePlatform(secret, key)
    async with served(platform.serve) as platform.base_url:
        yield platform


def signature(secret: str, body: bytes, at: int | None = None) -> str:
    """Sign a body as Stripe does."""
    at = int(time.time()) if at is None else at
    digest = hmac.new(secret.encode(), b"%d.%s" % (at, body), hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


def _metadata(fields: Mapping[str, str]) -> dict[str, str]:
    return {k[9:-1]: v for k, v in fields.items() if k.startswith("metadata[")}


def _decline(word: Mapping[str, str]) -> dict[str, str]:
    return {"decline_code": word["decline_code"]}


def _page(data: list[Any]) -> dict[str, Any]:
    return {"object": "list", "data": data, "has_more": False}


def _unexpected(intent: Mapping[str, Any]) -> Refused:
    code = "payment_intent_unexpected_state"
    return Refused(400, "invalid_request_error", code, payment_intent=intent)
