"""The HTTP client for URLs that merchants choose: it connects to public addresses and no others.

A filter on names is a hole, because literal addresses skip the resolver and a name may resolve
differently the second time.  So the guard stands where the socket is made: what it looks at is the
very address that is connected to.
"""

import ipaddress
import re
import socket
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
from aiohttp import http_exceptions
from msgspec import Struct
from yarl import URL

from gateway.domain import limits
from gateway.domain.wire import WireAnswer
from gateway.drivers.outbound import NeverSent, NoAnswer

_HTTPS_PORTS: Final = frozenset({443, 8443})
_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
# A host name; its last label is no number, because old resolvers read `2130706433` as 127.0.0.1.
_NAME: Final = re.compile(r"(?=.{1,253}\Z)(?:[a-z0-9_-]{1,63}\.)*[a-z][a-z0-9-]{0,62}\.?")
# One Python or another calls some of these global, but they lead to somewhere else (translation,
# tunnels, relays) or nowhere (documentation).  RFC 6890 keeps 2001::/23 for such protocols.
_DETOURS: Final = tuple(
    ipaddress.ip_network(text)
    for text in (
        *("100.64.0.0/10", "192.0.0.0/24", "192.88.99.0/24"),
        *("2001::/23", "2002::/16", "3fff::/20"),
    )
)
_LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})

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

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class AddressRefused(NeverSent):
    """The URL leads to an address or a port to which we do not connect."""


class _Refused(OSError):
    """How the guard speaks inside of aiohttp, which passes operating system errors on."""


class Guard(Struct, frozen=True):
    """Where to a merchant's URL may lead: public addresses, on the ports of https.

    `loopback` also lets this very machine be reached, on any port and by http, for development.
    """

    loopback: bool = False
    ports: frozenset[int] = _HTTPS_PORTS

    def refusal(self, url: str) -> str | None:
        """Say why we would never call this URL; None when its address decides at connect."""
        try:
            parsed = URL(url)
            host, port = parsed.raw_host or "", parsed.port or 0
        except ValueError:
            return "It is no URL."
        named = parsed.raw_user or parsed.raw_password or parsed.raw_fragment
        local = self.loopback and host in _LOOPBACK_NAMES
        literal = _address(host)
        laws = (
            (url.isprintable(), "It holds signs that cannot be written."),
            (parsed.scheme == "https" or (local and parsed.scheme == "http"), "It must be https."),
            (bool(literal or _NAME.fullmatch(host)), "It names no host."),
            (not named, "It must be without user, password and fragment."),
            (local or port in self.ports, "Its port must be 443 or 8443."),
            (literal is None or self.allows(literal, port), "Its address is not public."),
        )
        return next((sentence for kept, sentence in laws if not kept), None)

    def allows(self, address: Address, port: int) -> bool:
        """Tell whether we connect to this address and port."""
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if address.is_loopback:
            return self.loopback
        return port in self.ports and _is_public(address)

    def socket(self, info: tuple[Any, ...]) -> socket.socket:
        """Make the socket for one entry of getaddrinfo, as aiohttp's `socket_factory`."""
        family, kind, protocol, _, (host, port, *_) = info
        address = _address(host)
        if address is None or not self.allows(address, port):
            # Always the same words: then aiohttp keeps the error's type when there were several.
            raise _Refused("the address is not public")
        return socket.socket(family, kind, protocol)


def ours(error: BaseException) -> NeverSent | NoAnswer:
    """Translate an error of aiohttp or of the operating system; the message names only its type."""
    kind = NeverSent if isinstance(error, _NEVER_SENT) else NoAnswer
    return kind(type(error).__name__)


class GuardedOutbound:
    """A client that connects only where its guard allows.

    It is aiohttp's, without cookies, proxies, redirects or decompression.  Make it inside the
    running loop and leave it by `async with` or `close`.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=limits.WEBHOOK_FLIGHTS_MAX, socket_factory=guard.socket
            ),
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

    async def post(
        self, url: str, headers: Mapping[str, str], body: bytes, *, seconds: float
    ) -> WireAnswer:
        """Send one POST and wait for its answer, of which a bounded part is read and none kept.

        Raises `AddressRefused`, `NeverSent` or `NoAnswer`; a redirect is an answer like any other.
        """
        if self._guard.refusal(url) is not None:
            raise AddressRefused("the URL is refused")
        try:
            async with self._session.post(
                URL(url),
                headers=headers,
                data=body,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=seconds, connect=seconds / 2),
            ) as answer:
                told = {name.lower(): value for name, value in answer.headers.items()}
                await _skim(answer.content)
                return WireAnswer(answer.status, told, b"")
        except FOREIGN as error:
            if isinstance(getattr(error, "os_error", None), _Refused):
                raise AddressRefused("the address is refused") from error
            raise ours(error) from error


async def _skim(content: aiohttp.StreamReader) -> None:
    """Read the body, so that the connection stays of use; a long one is left and costs it."""
    left = limits.WEBHOOK_ANSWER_BYTES_MAX
    while left > 0 and (chunk := await content.read(left)):
        left -= len(chunk)


def _address(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address) and address not in _UNICAST:
        return False
    detour = any(address in net for net in _DETOURS if net.version == address.version)
    return address.is_global and not address.is_multicast and not detour
