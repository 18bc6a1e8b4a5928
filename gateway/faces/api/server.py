"""The merchants' door on the wire: bytes in, `flow.entry.enter`, bytes out.

Served by aiohttp's low-level server without its router, which would cost more than the whole
verification of a signature.  Whatever goes wrong leaves as a problem document with a code.
"""

import asyncio
import functools
import logging
import re
from collections.abc import Awaitable, Callable, Coroutine
from http import HTTPStatus
from typing import Any, Final

from aiohttp import StreamReader, web
from aiohttp.http_parser import RawRequestMessage
from aiohttp.web_protocol import RequestHandler
from msgspec.structs import replace

from gateway.admission.rules import kind_of
from gateway.admission.service import Refused
from gateway.domain import limits
from gateway.domain.errors import Problem
from gateway.domain.identity import chance
from gateway.domain.problem import answer_of
from gateway.domain.stages import Answer, Received
from gateway.drivers import telemetry
from gateway.drivers.stopwatch import start, told
from gateway.faces.api.asked import Asked, Asks, body_bytes_max, wishes
from gateway.faces.api.heads import HeadTimer, in_origin_form
from gateway.faces.api.pages import Page, Pages
from gateway.faces.api.refusals import Forms, Refusals
from gateway.faces.api.reply import JSON, PROBLEM, SERVER, Reply
from gateway.flow.desk import Desk
from gateway.flow.entry import enter
from gateway.flow.notice import take_notice
from gateway.flow.refusal import refusal
from gateway.match.table import OPERATIONS

logger: Final = logging.getLogger(__name__)

_BODY_SECONDS: Final = 10
_LOOK_SECONDS: Final = 0.01
_NOTICES: Final = "/notices/"
# The preference (RFC 7240) of who wants to know where time went.
_TIMED: Final = re.compile(r"(?:^|[\s,])server-timing(?:$|[\s,;=])")
# What a request is counted as: an unknown path or method would be a label that strangers choose.
_COUNTED_AS: Final = {
    (operation.method, room): f"{operation.method} {room}"
    for operation in OPERATIONS
    for room in [operation.path.split("/")[2]]
}
_WAIT: Final = re.compile(r"(?:^|[\s,;])wait\s*=\s*\"?([1-9][0-9]{0,5})")
_REFUSED_FROM: Final = HTTPStatus.BAD_REQUEST.value
_REPLAYED: Final = (("Idempotent-Replayed", "true"),)
_SOON: Final = frozenset({"request_in_progress", "rate_limited", "overloaded", "unavailable"})


class _Protocol(HeadTimer):
    """aiohttp's protocol, with its own errors written as ours: they would show what was sent.

    `read_before` was read of the connection before it was handed over; `left` hears of its end.
    `answered` is the body of the last request that was answered, whether it was read or not.
    """

    read_before = b""
    left: Callable[[], None] | None = None
    answered: StreamReader | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, with what was read before anything more can come."""
        super().connection_made(transport)
        if self.read_before:
            read, self.read_before = self.read_before, b""
            self.data_received(read)
            if not self._messages:  # nothing waits for them yet, so no timer runs
                self.wait_for_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Tell whoever counts connections, and whoever waits for what nobody sends any more."""
        super().connection_lost(exc)
        if self.answered is not None:
            self.answered.feed_eof()  # aiohttp reads on to the end before it lets go
        if self.left is not None:
            self.left()
            self.left = None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - it repeats the bytes that could not be read
    ) -> web.StreamResponse:
        """Answer bytes that are no HTTP request with 400, and anything else with 500."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was begun already")
        client_error = status < HTTPStatus.INTERNAL_SERVER_ERROR
        if not client_error:
            logger.error("a request failed outside the flow", exc_info=exc)
        problem = (
            Problem("request_malformed", "This is no HTTP request, or its head is too long.")
            if client_error
            else Problem("internal_error", "This was not foreseen; it is safe to send it again.")
        )
        response = _refusal(problem, _request_id()).as_response()
        response.force_close()
        return response


class ApiServer(web.Server):
    """One worker's server; pass it to `loop.create_server`."""

    def __init__(self, desk: Desk, pages: Pages) -> None:
        super().__init__(self._serve, request_factory=self._request)
        self._desk = desk
        self._pages = pages
        self._refusals = Refusals(_refusal)
        self.draining = False

    def __call__(self) -> _Protocol:
        """Make the protocol of one connection."""
        return _Protocol(
            self,
            loop=self._loop,
            access_log=None,  # type: ignore[arg-type]  # None switches it off
            auto_decompress=False,
            keepalive_timeout=limits.IDLE_SECONDS_MAX,
            lingering_time=limits.LINGER_SECONDS,
        )

    def pre_shutdown(self) -> None:
        """End the connections on which nothing of a request has come."""
        for made in self.connections:
            if isinstance(made, _Protocol) and made.idles():
                made.force_close()

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - aiohttp's
        """Let every request that began come to its end, for so many seconds; then cut off."""
        seconds = limits.DRAIN_SECONDS if timeout is None else timeout
        until = self._loop.time() + seconds
        while self.connections and self._loop.time() < until:
            self.pre_shutdown()  # who was only just accepted idles from now
            await asyncio.sleep(_LOOK_SECONDS)
        await super().shutdown(max(_LOOK_SECONDS, until - self._loop.time()))

    def take_over(self, read: bytes, left: Callable[[], None]) -> asyncio.Protocol:
        """Make the protocol of a connection of which these bytes were read already."""
        made = self()
        made.read_before, made.left = read, left
        return made

    def refusal(self, asks: Asks) -> Refused | None:
        """Say why there is no room for a request: its method, path and key are all that is read."""
        if self.draining:
            return None
        method, path, key_id = asks
        merchant = self._desk.verify.named(key_id) if key_id is not None else None
        return self._desk.admission.refusal(kind_of(method, path), merchant)

    def spare(self, asks: Asks) -> int:
        """Say for how many requests there is room of which no more is read than that."""
        if self.draining:
            return limits.CONNECTIONS_MAX
        method, path, key_id = asks
        merchant = self._desk.verify.named(key_id) if key_id is not None else None
        return self._desk.admission.spare(kind_of(method, path), merchant)

    def turned_away(self, asks: Asks, refused: Refused, count: int) -> None:
        """Count requests that are refused."""
        method, path, _ = asks
        self._desk.admission.count(kind_of(method, path), refused.reason, count)
        operation = _COUNTED_AS.get((method, path.split("/")[2]), "none")
        telemetry.count_turned_away(operation, refused.status, count)

    def forms(self, refused: Refused) -> Forms:
        """Write a refusal, but for the letters of its id."""
        return self._refusals.forms(refused)

    def let_in(self) -> None:
        """Keep room for a request that was not refused."""
        self._desk.admission.let_in()

    def came(self) -> None:
        """Give that room back: the request has its seat now, or never will."""
        self._desk.admission.came()

    def answer(self, asked: Asked) -> Coroutine[Any, Any, Reply]:
        """Serve a request that came whole."""
        return self._signed(asked)

    def _request(
        self,
        message: RawRequestMessage,
        payload: Any,
        protocol: RequestHandler,
        writer: Any,
        task: "asyncio.Task[None]",
    ) -> web.BaseRequest:
        if not message.path.startswith("/"):
            message = in_origin_form(message)
        return web.BaseRequest(
            message,
            payload,
            protocol,
            writer,
            task,
            self._loop,
            client_max_size=body_bytes_max(message.path),
        )

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        made = request.protocol
        assert isinstance(made, _Protocol), "it was made here"
        path, _, query = request.raw_path.partition("?")
        page = self._pages.find(path, query)
        if page is not None and request.method in {"GET", "HEAD"}:
            response = await _show(page, _request_id())
        else:
            prefer = request.headers.get("Prefer", "")
            asked = Asked(
                method=request.method,
                target=request.raw_path,
                headers=request.raw_headers,
                prefer=prefer,
                came_at=made.came_at,
                peer=request.remote or "",
            )
            reply = await self._signed(asked, functools.partial(_body, request))
            response = reply.as_response()
        if self.draining:
            response.force_close()
        made.answered = request.content
        return response

    async def _signed(
        self, asked: Asked, read: Callable[[], Awaitable[bytes]] | None = None
    ) -> Reply:
        """Serve what is signed; `read` reads the body where it may not be there yet."""
        request_id = _request_id()
        operation, path = "none", asked.target.partition("?")[0]
        wished = wishes(asked)
        is_told = bool(wished and _TIMED.search(wished))
        watch = start(keeps_laps=is_told)
        try:
            _refuse_long(asked.target)
            is_notice = asked.method == "POST" and path.startswith(_NOTICES)
            if is_notice:
                operation = "notice"
            else:
                self._refuse_elsewhere(path)
            body = asked.body
            if read is not None:
                body = await read()
                watch = start(keeps_laps=is_told)  # that took the caller's time
            if is_notice:
                channel = path.removeprefix(_NOTICES)
                headers = _lowered(asked.headers)
                answer = await take_notice(channel, headers, body, peer=asked.peer, desk=self._desk)
            else:
                received = Received(
                    method=asked.method,
                    target=asked.target,
                    headers=asked.headers,
                    body=body,
                    at=self._desk.clock.now(),
                    request_id=request_id,
                    answer_by=_answer_by(asked.came_at, wished),
                    kept_for=asked.kept_for,
                )
                operation = _COUNTED_AS.get((asked.method, path.split("/")[2]), operation)
                answer = await enter(received, self._desk)
            reply = _reply(answer, request_id)
        except Exception as error:  # noqa: BLE001 - nothing internal may show, whatever it is
            reply = _refusal(refusal(error, request_id), request_id)
        if watch.laps is not None:
            reply = replace(reply, more=(*reply.more, ("Server-Timing", told(watch))))
        telemetry.count_request(operation, reply.status, watch.seconds())
        return reply

    def _refuse_elsewhere(self, path: str) -> None:
        if path.startswith("/v1/"):
            return
        if self._pages.find(path) is not None:
            raise Problem("method_not_allowed", "Only for reading.", extra={"allow": "GET, HEAD"})
        raise Problem("not_found", "There is no such path.")


async def _show(page: Callable[[], Awaitable[Page]], request_id: str) -> web.Response:
    shown = await page()
    headers = {"Content-Type": shown.content_type, "Request-Id": request_id, "Server": SERVER}
    return web.Response(body=shown.body, status=shown.status, headers=headers)


def _lowered(headers: tuple[tuple[bytes, bytes], ...]) -> dict[str, str]:
    """Read headers as text, their names in lower case; of a name's values the last counts."""
    return {
        name.decode("utf-8", "surrogateescape").lower(): value.decode("utf-8", "surrogateescape")
        for name, value in headers
    }


def _refuse_long(target: str) -> None:
    if 4 * len(target) <= limits.TARGET_BYTES_MAX:
        return  # for no letter is longer than four bytes
    if len(target.encode(errors="surrogateescape")) > limits.TARGET_BYTES_MAX:
        raise Problem("request_malformed", f"At most {limits.TARGET_BYTES_MAX} bytes of target.")


async def _body(request: web.BaseRequest) -> bytes:
    """Read the body within its limits of size and time."""
    if "Content-Encoding" in request.headers:
        raise Problem("encoding_unsupported", "Send the body as it is.")
    most = body_bytes_max(request.raw_path)
    if (request.content_length or 0) > most:
        raise _too_large(most)
    if not request.body_exists:
        return b""
    content = request.content
    if content.is_eof() and content.exception() is None and content.total_bytes <= most:
        return content.read_nowait()  # it came together with its head, as most do
    if request.headers.get("Expect", "").lower() == "100-continue" and request.transport:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    try:
        if request.transport is None:
            raise ConnectionResetError("the caller left with its head")
        async with asyncio.timeout(_BODY_SECONDS):
            return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise _too_large(most) from None
    except (TimeoutError, ConnectionError, web.RequestPayloadError):
        raise Problem("request_malformed", "The body did not arrive.") from None


def _too_large(most: int) -> Problem:
    return Problem("body_too_large", f"At most {most} bytes.")


def _answer_by(came_at: float, wished: str) -> float:
    """Say until when the caller waits, counted from the last of its bytes.

    Shorter than we think when it says so: `Prefer: wait=SECONDS`, RFC 7240 section 4.3.
    """
    patience = limits.PATIENCE_SECONDS
    wish = _WAIT.search(wished) if wished else None
    if wish is not None:
        patience = min(patience, int(wish[1]))
    return came_at + patience


def _refusal(problem: Problem, request_id: str) -> Reply:
    more = []
    if problem.code in _SOON:
        more.append(("Retry-After", str(problem.extra.get("retry_after", 1))))
    if "allow" in problem.extra:
        more.append(("Allow", str(problem.extra["allow"])))
    return replace(_reply(answer_of(problem, request_id), request_id), more=tuple(more))


def _reply(answer: Answer, request_id: str) -> Reply:
    kind = JSON if answer.status < _REFUSED_FROM else PROBLEM
    more = _REPLAYED if answer.replayed else ()
    return Reply(answer.status, kind, request_id, answer.body, more)


def _request_id() -> str:
    return f"req_{chance(12).hex()}"
