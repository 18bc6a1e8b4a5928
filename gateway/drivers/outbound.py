"""The one HTTP client for calls that leave the process; it serves the courier and the webhooks.

Every foreign error becomes one of two here, and the difference between them is money:

    NeverSent    no connection came about, so the other side cannot have heard of it
    NoAnswer     silence, a reset or a broken answer: it may have been processed
"""

from types import TracebackType
from typing import Final, Self

import aiohttp
from aiohttp import http_exceptions
from yarl import URL

from gateway.domain.errors import InDoubt, Unavailable
from gateway.domain.limits import CHANNEL_ANSWER_BYTES_MAX, CHANNEL_CALLS_MAX
from gateway.domain.wire import WireAnswer, WireRequest


class NeverSent(Unavailable):
    """The request provably never left."""


class NoAnswer(InDoubt):
    """The request may have been processed, but no whole answer came back."""


_NEVER_SENT: Final = (
    aiohttp.ClientConnectorError,
    aiohttp.ClientConnectorCertificateError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
    aiohttp.NonHttpUrlClientError,
)
_NO_ANSWER: Final = (
    aiohttp.ClientError,
    http_exceptions.HttpProcessingError,
    TimeoutError,
    OSError,
)
FOREIGN: Final = _NEVER_SENT + _NO_ANSWER


def ours(error: BaseException) -> NeverSent | NoAnswer:
    """Translate an error of aiohttp or of the operating system; the message names only its type."""
    kind = NeverSent if isinstance(error, _NEVER_SENT) else NoAnswer
    return kind(type(error).__name__)


class Client:
    """A keep-alive HTTP/1.1 client without cookies, proxies, redirects or decompression.

    Make it inside the running loop and leave it by `async with` or `close`.
    """

    def __init__(self, connector: aiohttp.TCPConnector) -> None:
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent"),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()


class Outbound(Client):
    """The client of the courier: it sends wherever a channel's base URL points."""

    def __init__(
        self,
        *,
        connections_max: int = CHANNEL_CALLS_MAX,
        answer_bytes_max: int = CHANNEL_ANSWER_BYTES_MAX,
    ) -> None:
        super().__init__(aiohttp.TCPConnector(limit=connections_max))
        self._answer_bytes_max = answer_bytes_max

    async def send(self, base_url: str, request: WireRequest, *, seconds: float) -> WireAnswer:
        """Send one request, byte for byte, and wait for the whole answer at most this long.

        A connection has to come about in half of that time.  Raises `NeverSent` or `NoAnswer`; a
        redirect or an error status is an answer like any other.
        """
        try:
            async with self._session.request(
                request.method,
                URL(base_url + request.path, encoded=True),
                headers=request.headers,
                data=request.body or None,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=seconds, connect=seconds / 2),
            ) as answer:
                headers = {name.lower(): value for name, value in answer.headers.items()}
                return WireAnswer(answer.status, headers, await self._whole(answer))
        except FOREIGN as error:
            raise ours(error) from error

    async def _whole(self, answer: aiohttp.ClientResponse) -> bytes:
        """Read the body, but never more of it than we are willing to hold."""
        body = bytearray()
        async for chunk in answer.content.iter_any():
            body += chunk
            if len(body) > self._answer_bytes_max:
                raise NoAnswer("the answer is too large")
        return bytes(body)
