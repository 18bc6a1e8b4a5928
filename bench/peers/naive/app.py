"""The same payment API as most teams would write it: FastAPI, SQLAlchemy, redis-py, aiohttp.

    NAIVE_…=… uvicorn bench.peers.naive.app:app --loop uvloop --http httptools

One request does one thing after the other: verify, claim the key in Redis, write the payment, ask
the acquirer, move the money under the lock of the merchant's balance, keep the answer in Redis.
It is tuned as such a service is (uvloop, httptools, pools, prepared statements, pydantic's Rust),
and as durable as ours: the payment is on disk before the acquirer is asked, unless
`NAIVE_OPEN_FIRST=0` gives that up for one transaction a payment.
"""

import base64
import hashlib
import json
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

import aiohttp
import redis.asyncio as aioredis
from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

from bench.peers.naive.books import Books, PaymentRow, ReferenceExists
from bench.peers.naive.signatures import SignatureWrong, verify
from gateway.channels.simulator.messages import SIGNATURE, TIMESTAMP, sign

_KEEP_SECONDS = 24 * 3600
_CLAIM_SECONDS = 30
_ACQUIRER_SECONDS = 3.0
_MERCHANT = "mer_naive"


class Method(BaseModel):  # type: ignore[misc]
    """How the payer pays."""

    type: str
    token: Annotated[str, Field(pattern=r"^tok_[a-z0-9_]{1,60}$")] | None = None


class CreatePayment(BaseModel):  # type: ignore[misc]
    """The body of `POST /v1/payments`."""

    model_config = ConfigDict(extra="forbid")
    amount: Annotated[int, Field(ge=1, le=999_999_999_999, strict=True)]
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    reference: Annotated[str, Field(min_length=1, max_length=64)]
    method: Method
    description: Annotated[str, Field(max_length=255)] | None = None
    payer: dict[str, str] | None = None
    metadata: dict[str, str] = {}


class Payment(BaseModel):  # type: ignore[misc]
    """The payment as the API shows it."""

    object: str = "payment"
    id: str
    merchant: str
    reference: str
    amount: int
    currency: str
    amount_captured: int
    fee: int
    status: str
    method: Method
    description: str | None
    metadata: dict[str, str]
    created_at: datetime
    updated_at: datetime


class House:
    """Everything that a request needs, connected."""

    def __init__(self, environment: Any) -> None:
        self._simulator = environment["NAIVE_SIMULATOR_URL"]
        self._simulator_secret = environment["NAIVE_SIMULATOR_SECRET"].encode()
        self._open_first = environment.get("NAIVE_OPEN_FIRST", "1") == "1"
        pool = int(environment.get("NAIVE_POOL", "20"))
        self.engine = create_async_engine(
            environment["NAIVE_DATABASE_URL"], pool_size=pool, max_overflow=0, pool_timeout=30
        )
        self._books = Books(async_sessionmaker(self.engine, expire_on_commit=False))
        self.redis = aioredis.Redis.from_url(environment["NAIVE_REDIS_URL"], decode_responses=True)
        secret = base64.b64decode(environment["NAIVE_SECRET"])
        self._keys = {environment["NAIVE_KEY_ID"]: secret}
        self.session: aiohttp.ClientSession

    async def create(self, request: Request) -> Response:
        """Make one payment."""
        body = await request.body()
        try:
            verify((request.method, request.url.path), request.headers, body, self._keys)
        except SignatureWrong as wrong:
            return _problem(401, str(wrong))
        key = request.headers["idempotency-key"].strip('"')
        asked = hashlib.sha256(b"POST /v1/payments\n" + body).hexdigest()
        claim = f"idem:{_MERCHANT}:{key}"
        if not await self.redis.set(claim, asked, nx=True, ex=_CLAIM_SECONDS):
            return await self._again(claim, asked)
        try:
            order = CreatePayment.model_validate_json(body)
        except ValidationError:
            await self.redis.delete(claim)
            return _problem(400, "invalid_request")
        try:
            payment = await self._pay(order, key)
        except ReferenceExists:
            return _problem(409, "reference_exists")
        shown = _shown(payment, order).model_dump_json()
        await self.redis.set(claim, f"{asked}{shown}", ex=_KEEP_SECONDS)
        return Response(shown, 201, media_type="application/json")

    async def _again(self, claim: str, asked: str) -> Response:
        """Answer a key that was heard before."""
        kept = str(await self.redis.get(claim) or "")
        if not kept.startswith(asked):
            return _problem(422, "idempotency_key_reused")
        if kept == asked:
            return _problem(409, "request_in_progress")
        answer = kept.removeprefix(asked)
        replayed = {"Idempotent-Replayed": "true"}
        return Response(answer, 201, media_type="application/json", headers=replayed)

    async def _pay(self, order: CreatePayment, key: str) -> PaymentRow:
        now = datetime.now(UTC).replace(tzinfo=None)
        payment = PaymentRow(
            id=uuid.uuid4(),
            merchant=_MERCHANT,
            reference=order.reference,
            idempotency_key=key,
            amount=order.amount,
            currency=order.currency,
            status="processing",
            method=order.method.token or order.method.type,
            fee=0,
            channel_transaction=None,
            created_at=now,
            updated_at=now,
        )
        if self._open_first:
            await self._books.open(payment)
        status, transaction = await self._ask(payment, order)
        is_new = not self._open_first
        return await self._books.post(payment, status, transaction, is_new=is_new)

    async def _ask(self, payment: PaymentRow, order: CreatePayment) -> tuple[str, str | None]:
        """Ask the acquirer; what it does not say clearly stays unknown."""
        body = json.dumps(
            {
                "number": payment.id.hex,
                "amount": payment.amount,
                "currency": payment.currency,
                "method": order.method.model_dump(exclude_none=True),
                "notify_url": "http://127.0.0.1:9/notices",
            }
        ).encode()
        at = str(int(datetime.now(UTC).timestamp()))
        signed = sign(self._simulator_secret, "POST /v1/payments", timestamp=at, body=body)
        headers = {"content-type": "application/json", TIMESTAMP: at, SIGNATURE: signed}
        url = f"{self._simulator}/v1/payments"
        try:
            async with self.session.post(url, data=body, headers=headers) as answer:
                report = await answer.json()
        except (aiohttp.ClientError, TimeoutError):
            return "processing", None
        if report.get("status") == "succeeded" and report.get("amount") == payment.amount:
            return "succeeded", report["transaction"]
        return ("failed" if report.get("status") == "declined" else "processing"), None


def _shown(payment: PaymentRow, order: CreatePayment) -> Payment:
    return Payment(
        id=f"pay_{payment.id.hex}",
        merchant=payment.merchant,
        reference=payment.reference,
        amount=payment.amount,
        currency=payment.currency,
        amount_captured=payment.amount if payment.status == "succeeded" else 0,
        fee=payment.fee,
        status=payment.status,
        method=order.method,
        description=order.description,
        metadata=order.metadata,
        created_at=payment.created_at.replace(tzinfo=UTC),
        updated_at=payment.updated_at.replace(tzinfo=UTC),
    )


def _problem(status: int, code: str) -> Response:
    return Response(json.dumps({"status": status, "code": code}), status)


house = House(os.environ)


@asynccontextmanager
async def _lifespan(_: FastAPI) -> AsyncIterator[None]:
    timeout = aiohttp.ClientTimeout(total=_ACQUIRER_SECONDS)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        house.session = session
        yield
    await house.engine.dispose()
    await house.redis.aclose()


app = FastAPI(lifespan=_lifespan)


@app.post("/v1/payments", status_code=201)  # type: ignore[untyped-decorator]
async def create(request: Request) -> Response:
    """Make one payment."""
    return await house.create(request)
