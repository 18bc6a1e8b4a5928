"""The simulated acquirer as an HTTP server of its own: routes, signatures, and how it is started.

Beside the signed calls of `messages` it offers, unsigned:

    POST /pay/{qr}               plays the payer; a `Report`; with again=1 he pays what is paid
                                 already, with silently=1 the notice of it is lost
    GET  /books?since=           the bookings after a sequence number or RFC 3339 time: JSON lines
    GET  /bill?day=YYYY-MM-DD    the bill of a day in UTC as CSV, see `bill`
    GET  /healthz                {"status":"ok"}
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import date, datetime
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import parse_qsl

import msgspec

from gateway.channels.simulator import bill
from gateway.channels.simulator.acquirer import Acquirer, Refused
from gateway.channels.simulator.books import Books
from gateway.channels.simulator.entries import Booking
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
    is_well_formed,
)
from gateway.channels.simulator.notices import Notifier
from gateway.channels.simulator.wire import Asked, Connection, Reply, Told
from gateway.drivers.clock import Clock
from gateway.drivers.outbound import Outbound

_LINES_PER_CHUNK: Final = 1000
_CREATE: Final = "/v1/payments"

_T = TypeVar("_T")
_order: Final = msgspec.json.Decoder(Order).decode
_encoder: Final = msgspec.json.Encoder()
_encode: Final = _encoder.encode


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
    loop = asyncio.get_running_loop()
    journal = Journal(config.data, loop.call_soon) if config.data is not None else None
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
        door = Door(acquirer, books, clock=clock, config=config)
        callers: set[Connection] = set()
        server = await loop.create_server(
            lambda: Connection(door.answer, callers), config.host, config.port, backlog=1024
        )
        try:
            host, port = server.sockets[0].getsockname()[:2]
            yield f"http://{host}:{port}"
        finally:
            server.close()
            for caller in [*callers]:
                caller.close()
            await acquirer.close()
            try:
                # What it writes last it tells the notifier, who is closed after it for that.
                if journal is not None:
                    journal.close()
            finally:
                await notifier.close()


class Door:
    """Takes HTTP requests in and hands answers out."""

    def __init__(
        self, acquirer: Acquirer, books: Books, *, clock: Clock, config: SimulatorConfig
    ) -> None:
        self._acquirer = acquirer
        self._books = books
        self._when_kept = books.when_kept
        self._clock = clock
        self._config = config

    def answer(self, asked: Asked, reply: Reply) -> None:
        """Answer one request, now or when its script lets us; nothing is told before it is kept."""
        try:
            if asked.target == _CREATE and asked.method == "POST":
                self._verify(asked)
                self._create(asked, reply)
                return
            parts = asked.path.split("/")[1:]
            if parts[:1] == ["v1"]:
                self._signed(asked, parts, reply)
            else:
                self._when_kept(reply, self._unsigned(asked, parts))
        except Refused as refused:
            self._when_kept(reply, _json(Refusal(refused.word), refused.status))
        except msgspec.DecodeError:
            self._when_kept(reply, _json(Refusal("invalid_request"), 400))

    def _signed(self, asked: Asked, parts: list[str], reply: Reply) -> None:
        self._verify(asked)
        if asked.method == "POST" and parts[1:] == ["payments"]:
            self._create(asked, reply)
        else:
            self._tell(self._report(asked, parts), reply)

    def _create(self, asked: Asked, reply: Reply) -> None:
        order = _order(asked.body)
        if not is_well_formed(order):
            raise Refused(400, "invalid_request")
        report = self._acquirer.create(order)
        ripening = self._acquirer.ripening(order.number)
        if report is None or ripening is None:
            self._tell(report, reply)
            return
        # The caller may leave while it waits; what ripens does so all the same.
        number = order.number
        ripening.add_done_callback(lambda _: self._tell(self._acquirer.query(number), reply))

    def _tell(self, report: Report | None, reply: Reply) -> None:
        if report is not None:
            self._when_kept(reply, Told(_encode(report)))
            return
        # Silence: the caller waits until it leaves or the time is up, then we hang up on it.
        asyncio.get_running_loop().call_later(self._config.hold_ms / 1000, reply, None)

    def _report(self, asked: Asked, parts: list[str]) -> Report | None:
        acquirer = self._acquirer
        match asked.method, parts[1:]:
            case "GET", ["payments", number]:
                return acquirer.query(number)
            case "POST", ["payments", number, "close"]:
                return acquirer.close_payment(number)
            case "POST", ["payments", number, "capture"]:
                return acquirer.capture(number, _decoded(asked.body, CaptureOrder))
            case "POST", ["payments", number, "refunds"]:
                return acquirer.refund(number, _decoded(asked.body, RefundOrder))
            case "GET", ["payments", number, "refunds", refund_number]:
                return acquirer.query_refund(number, refund_number)
        raise Refused(404, "no_such_call")

    def _verify(self, asked: Asked) -> None:
        headers, subject = asked.headers, f"{asked.method} {asked.target}"
        fresh = is_fresh(headers.get(TIMESTAMP, ""), self._clock.now())
        if not (
            fresh and is_signed(self._config.secret, subject, headers=headers, body=asked.body)
        ):
            raise Refused(401, "signature")

    def _unsigned(self, asked: Asked, parts: list[str]) -> Told:
        query = dict(parse_qsl(asked.query))
        match asked.method, parts:
            case "POST", ["pay", qr]:
                again, silently = (query.get(word) == "1" for word in ("again", "silently"))
                return _json(self._acquirer.pay(qr, again=again, silently=silently))
            case "GET", ["books"]:
                lines = self._books.since(_position(query.get("since", "0")))
                return Told(_in_chunks(lines), content_type="application/x-ndjson")
            case "GET", ["bill"]:
                return self._bill(query.get("day", ""))
            case "GET", ["healthz"]:
                return _json({"status": "ok"})
        raise Refused(404, "no_such_call")

    def _bill(self, asked_day: str) -> Told:
        try:
            day = date.fromisoformat(asked_day)
        except ValueError:
            raise Refused(400, "invalid_request") from None
        return Told(bill.write(self._books.bill(day)), content_type="text/csv; charset=utf-8")


def _in_chunks(lines: Iterator[Booking]) -> Iterator[bytes]:
    while chunk := _encoder.encode_lines(list(islice(lines, _LINES_PER_CHUNK))):
        yield chunk


def _json(value: object, status: int = 200) -> Told:
    return Told(_encode(value), status)


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
