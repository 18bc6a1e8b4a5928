"""The simulated acquirer as an HTTP server of its own: routes, signatures, and how it is started.

Beside the signed calls of `messages` it offers, unsigned:

    POST /pay/{qr}               plays the payer; a `Report`
    GET  /books?since=           the bookings after a sequence number or RFC 3339 time: JSON lines
    GET  /bill?day=YYYY-MM-DD    the bill of a day in UTC as CSV, see `bill`
    GET  /healthz                {"status":"ok"}
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, datetime
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from aiohttp import web

from gateway.channels.simulator import bill
from gateway.channels.simulator.acquirer import Acquirer, Refused
from gateway.channels.simulator.books import Books
from gateway.channels.simulator.journal import Journal
from gateway.channels.simulator.messages import (
    TIMESTAMP,
    CaptureOrder,
    Order,
    RefundOrder,
    Refusal,
    Report,
    is_fresh,
    is_signed,
)
from gateway.channels.simulator.notices import Notifier
from gateway.drivers.clock import Clock
from gateway.drivers.outbound import Outbound

_LINES_PER_CHUNK: Final = 1000
_STOP_SECONDS: Final = 1

_T = TypeVar("_T")
_encoder: Final = msgspec.json.Encoder()


class SimulatorConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How a simulator runs; port 0 takes any free one, without `data` it forgets when it stops.

    `delay_ms` is what "later" means in a script, `hold_ms` how long a silent one keeps the caller
    waiting; notices go to loopback only, unless `notify_anywhere`.
    """

    host: str = "127.0.0.1"
    port: int = 8090
    secret: bytes
    data: Path | None = None
    seed: int = 0
    delay_ms: int = 1000
    hold_ms: int = 60_000
    notify_anywhere: bool = False


async def serve(config: SimulatorConfig) -> None:
    """Run the simulator until this task is cancelled."""
    async with running(config):
        await asyncio.Event().wait()


@asynccontextmanager
async def running(config: SimulatorConfig) -> AsyncIterator[str]:
    """Run the simulator inside a block; gives its base URL once it listens."""
    clock = Clock()
    journal = Journal(config.data) if config.data is not None else None
    books = Books(config.seed, journal)
    async with Outbound() as outbound:
        notifier = Notifier(
            outbound, clock, secret=config.secret, seed=config.seed, delay_ms=config.delay_ms
        )
        acquirer = Acquirer(
            books,
            notifier,
            clock=clock,
            delay_ms=config.delay_ms,
            notify_anywhere=config.notify_anywhere,
        )
        door = _Door(acquirer, books, clock=clock, config=config)
        # A caller who leaves ends the wait for an answer; bookings happen before any wait.
        server = web.Server(door.handle, handler_cancellation=True, access_log=None)
        runner = web.ServerRunner(server, shutdown_timeout=_STOP_SECONDS)
        await runner.setup()
        try:
            await web.TCPSite(runner, config.host, config.port, backlog=1024).start()
            host, port = runner.addresses[0][:2]
            yield f"http://{host}:{port}"
        finally:
            await runner.cleanup()
            await acquirer.close()
            await notifier.close()
            if journal is not None:
                journal.close()


class _Door:
    """Takes HTTP requests in and hands answers out."""

    def __init__(
        self, acquirer: Acquirer, books: Books, *, clock: Clock, config: SimulatorConfig
    ) -> None:
        self._acquirer = acquirer
        self._books = books
        self._clock = clock
        self._config = config

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        try:
            parts = request.path.split("/")[1:]
            if parts[:1] != ["v1"]:
                return await self._unsigned(request, parts)
            report = await self._signed(request, parts)
        except Refused as refused:
            return _json(Refusal(refused.word), refused.status)
        except msgspec.DecodeError:
            return _json(Refusal("invalid_request"), 400)
        return _json(report) if report is not None else await self._silence(request)

    async def _signed(self, request: web.BaseRequest, parts: list[str]) -> Report | None:
        body = await request.read()
        self._verify(request, body)
        acquirer = self._acquirer
        match request.method, parts[1:]:
            case "POST", ["payments"]:
                return await acquirer.create(_decoded(body, Order))
            case "GET", ["payments", number]:
                return acquirer.query(number)
            case "POST", ["payments", number, "close"]:
                return acquirer.close_payment(number)
            case "POST", ["payments", number, "capture"]:
                return acquirer.capture(number, _decoded(body, CaptureOrder))
            case "POST", ["payments", number, "refunds"]:
                return acquirer.refund(number, _decoded(body, RefundOrder))
            case "GET", ["payments", number, "refunds", refund_number]:
                return acquirer.query_refund(number, refund_number)
        raise Refused(404, "no_such_call")

    def _verify(self, request: web.BaseRequest, body: bytes) -> None:
        secret, headers = self._config.secret, request.headers
        subject = f"{request.method} {request.raw_path}"
        fresh = is_fresh(headers.get(TIMESTAMP, ""), self._clock.now())
        if not (fresh and is_signed(secret, subject, headers=headers, body=body)):
            raise Refused(401, "signature")

    async def _unsigned(self, request: web.BaseRequest, parts: list[str]) -> web.StreamResponse:
        match request.method, parts:
            case "POST", ["pay", qr]:
                return _json(self._acquirer.pay(qr))
            case "GET", ["books"]:
                return await self._answer_books(request)
            case "GET", ["bill"]:
                return self._answer_bill(request)
            case "GET", ["healthz"]:
                return _json({"status": "ok"})
        raise Refused(404, "no_such_call")

    async def _answer_books(self, request: web.BaseRequest) -> web.StreamResponse:
        lines = self._books.since(_position(request.query.get("since", "0")))
        response = web.StreamResponse(headers={"content-type": "application/x-ndjson"})
        await response.prepare(request)
        while chunk := _encoder.encode_lines(list(islice(lines, _LINES_PER_CHUNK))):
            await response.write(chunk)
        return response

    def _answer_bill(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            day = date.fromisoformat(request.query.get("day", ""))
        except ValueError:
            raise Refused(400, "invalid_request") from None
        return web.Response(body=bill.write(self._books.bill(day)), content_type="text/csv")

    async def _silence(self, request: web.BaseRequest) -> web.StreamResponse:
        """Keep the caller waiting until it leaves or the time is up, then hang up on it."""
        await asyncio.sleep(self._config.hold_ms / 1000)
        if request.transport is not None:
            request.transport.abort()
        return web.Response()


def _json(value: object, status: int = 200) -> web.Response:
    body = _encoder.encode(value)
    return web.Response(body=body, status=status, content_type="application/json")


def _decoded(body: bytes, kind: type[_T]) -> _T:
    return msgspec.json.decode(body, type=kind)


def _position(since: str) -> int | datetime:
    """Read `since`: a sequence number, or a time that names its zone."""
    if since.isascii() and since.isdigit():
        return int(since)
    try:
        moment = datetime.fromisoformat(since)
    except ValueError:
        raise Refused(400, "invalid_request") from None
    if moment.tzinfo is None:
        raise Refused(400, "invalid_request")
    return moment
