"""The guard stands at connect: whatever a URL looks like, its address decides."""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.domain import limits
from gateway.domain.wire import WireRequest
from gateway.drivers.outbound import NeverSent, NoAnswer, Outbound
from gateway.drivers.outbound_guard import AddressRefused, Guard, GuardedOutbound

# Eight ways to write this machine that aiohttp would follow; a resolver sees the last two only.
WAYS_IN = (
    "127.0.0.1",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "①②⑦.0.0.1",
    "127。0。0。1",
    "0.0.0.0",
    "0x7f.1",
    "localhost",
)


class Listener:
    """Counts the connections that come."""

    def __init__(self, server: asyncio.Server) -> None:
        self.connections = 0
        self.port: int = server.sockets[0].getsockname()[1]


@asynccontextmanager
async def listening(answer: bytes = b"HTTP/1.1 204 No Content\r\n\r\n") -> AsyncIterator[Listener]:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        listener.connections += 1
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
        finally:
            writer.close()

    both = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    server = await asyncio.start_server(accept, sock=both)
    listener = Listener(server)
    async with server:
        yield listener


async def connect(url: str, guard: Guard | None, resolver: AbstractResolver | None = None) -> int:
    """Ask aiohttp itself with nothing but the guard in its way."""
    factory = guard.socket if guard else None
    connector = aiohttp.TCPConnector(socket_factory=factory, resolver=resolver)
    async with aiohttp.ClientSession(connector=connector) as session, session.get(url) as answer:
        return answer.status


@pytest.mark.parametrize("host", WAYS_IN)
async def test_no_way_to_write_loopback_connects(host: str) -> None:
    async with listening() as listener:
        guard = Guard(ports=frozenset({listener.port}))
        with pytest.raises(aiohttp.ClientConnectorError) as caught:
            await connect(f"http://{host}:{listener.port}/", guard)
        assert "not public" in str(caught.value.os_error)
        assert listener.connections == 0
        # It really is a way in: nobody else stops it.
        assert await connect(f"http://{host}:{listener.port}/", None) == 204
        assert listener.connections == 1


class Rebinding(AbstractResolver):
    """A name that moves to this machine after it was looked at."""

    def __init__(self) -> None:
        self.asked = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked += 1
        return [
            ResolveResult(
                hostname=host, host="127.0.0.1", port=port, family=family, proto=0, flags=0
            )
        ]

    async def close(self) -> None:
        pass


async def test_a_name_that_leads_inside_does_not_connect() -> None:
    resolver = Rebinding()
    async with listening() as listener:
        guard = Guard(ports=frozenset({listener.port}))
        with pytest.raises(aiohttp.ClientConnectorError) as caught:
            await connect(f"http://shop.example:{listener.port}/", guard, resolver)
        assert "not public" in str(caught.value.os_error)
        assert (resolver.asked, listener.connections) == (1, 0)


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "10.0.0.1", "100.64.0.1", "127.8.8.8", "169.254.169.254", "172.16.0.1"),
        *("192.0.0.8", "192.0.0.9", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1"),
        *("203.0.113.9", "224.0.0.1", "240.0.0.1", "255.255.255.255"),
        *("::", "::1", "::7f00:1", "::ffff:10.0.0.1", "::ffff:169.254.169.254"),
        *("64:ff9b::7f00:1", "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::"),
        *("2001:1::1", "2001:3::1", "2001:4:112::1", "2001:20::1", "2001:1ff::1", "3fff::1"),
        *("fc00::1", "fd12::1", "fe80::1", "fe80::1%lo", "fec0::1", "ff02::1", "4000::1"),
    ],
)
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert not Guard().allows(ipaddress.ip_address(address), 443)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "::ffff:1.1.1.1", "2001:200::1", "2606:4700:4700::1111"]
)
@pytest.mark.parametrize(("port", "allowed"), [(443, True), (8443, True), (80, False), (22, False)])
def test_a_public_address_is_allowed_on_the_ports_of_https(
    address: str, port: int, *, allowed: bool
) -> None:
    assert Guard().allows(ipaddress.ip_address(address), port) is allowed
    assert Guard(loopback=True).allows(ipaddress.ip_address(address), port) is allowed


@pytest.mark.parametrize("address", ["0.0.0.0", "10.0.0.1", "169.254.169.254", "::", "fe80::1"])
def test_where_loopback_is_allowed_nothing_else_is(address: str) -> None:
    assert Guard(loopback=True).allows(ipaddress.ip_address("127.0.0.1"), 80)
    assert not Guard(loopback=True).allows(ipaddress.ip_address(address), 443)


@pytest.mark.parametrize(
    "url",
    [
        "https://shop.example/hook",
        "https://shop.example:8443/hook?to=a",
        "https://www.shop.example./hook",
        "https://bücher.example/hook",
        "https://1.1.1.1/hook",
        "https://[2606:4700:4700::1111]/hook",
        "https://localhost/hook",  # its address decides, at connect
    ],
)
def test_a_url_that_may_be_called(url: str) -> None:
    assert Guard().refusal(url) is None


@pytest.mark.parametrize(
    "url",
    [
        *("", "hook", "/hook", "//shop.example/hook", "https://", "https:///hook"),
        *("http://shop.example/", "ftp://shop.example/", "file:///etc/passwd", "javascript:1"),
        *("https://shop.example:80/", "https://shop.example:22/", "https://shop.example:0/"),
        *("https://user@shop.example/", "https://u:p@shop.example/", "https://shop.example/#a"),
        *(
            "https://127.0.0.1/",
            "https://[::1]/",
            "https://[::ffff:10.0.0.1]/",
            "https://10.0.0.1/",
        ),
        *("https://①②⑦.0.0.1/", "https://[fe80::1]/", "https://169.254.169.254/latest"),
        *("https://2130706433/", "https://0x7f.1/", "https://0177.0.0.1/", "https://127.1/"),
        *("https://0x7f000001/", "https://127.0.0.1./", "https://127。0。0。1/"),
        *("https://shop.example:99999/", "https://[::1", "https://a b/", "https://a..b/"),
        "https://shop.example/\0",
    ],
)
def test_a_url_that_is_never_called(url: str) -> None:
    assert Guard().refusal(url) is not None


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("http://127.0.0.1:8099/hook", True),
        ("http://localhost:8099/hook", True),
        ("http://[::1]:8099/hook", True),
        ("https://127.0.0.1:8099/hook", True),
        ("http://shop.example/hook", False),
        ("http://10.0.0.1/hook", False),
        ("http://0.0.0.0:8099/hook", False),
        ("https://shop.example:8099/hook", False),
    ],
)
def test_where_loopback_is_allowed_http_goes_there_only(url: str, *, allowed: bool) -> None:
    assert (Guard(loopback=True).refusal(url) is None) is allowed


async def post(url: str, guard: Guard) -> int:
    async with GuardedOutbound(guard) as outbound:
        answer = await outbound.post(url, {"X-A": "b"}, b"{}", seconds=5)
        return answer.status


async def test_a_refused_address_has_its_own_error() -> None:
    async with listening() as listener:
        guard = Guard(ports=frozenset({listener.port}))
        for host in ("127.0.0.1", "localhost", "0x7f.1"):
            with pytest.raises(AddressRefused):
                await post(f"https://{host}:{listener.port}/", guard)
        assert listener.connections == 0


async def test_a_redirect_is_not_followed() -> None:
    async with listening() as inside:
        there = f"http://127.0.0.1:{inside.port}/".encode()
        moved = b"HTTP/1.1 307 Moved\r\nLocation: " + there + b"\r\nContent-Length: 0\r\n\r\n"
        async with listening(moved) as listener:
            url = f"http://127.0.0.1:{listener.port}/"
            assert await post(url, Guard(loopback=True)) == 307
        assert inside.connections == 0


async def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening() as proxy, listening() as listener:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        assert await post(f"http://127.0.0.1:{listener.port}/", Guard(loopback=True)) == 204
        assert (proxy.connections, listener.connections) == (0, 1)


async def test_a_flood_of_an_answer_is_not_read() -> None:
    read: list[int] = []

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        try:
            while True:
                writer.write(b"x" * 65536)
                await writer.drain()
                read.append(65536)
        except ConnectionError:
            writer.close()

    server = await asyncio.start_server(flood, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert await post(f"http://127.0.0.1:{port}/", Guard(loopback=True)) == 200
    assert limits.WEBHOOK_ANSWER_BYTES_MAX == 16 * 1024
    assert sum(read) < 100_000_000


async def test_silence_and_refusal_differ() -> None:
    async with listening(b"") as listener:
        with pytest.raises(NoAnswer):
            await post(f"http://127.0.0.1:{listener.port}/", Guard(loopback=True))
        port = listener.port
    with pytest.raises(NeverSent) as caught:
        await post(f"http://127.0.0.1:{port}/", Guard(loopback=True))
    assert not isinstance(caught.value, AddressRefused)


def self_signed(folder: Path) -> ssl.SSLContext:
    """A server's side of TLS for `localhost`, vouched for by itself alone."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = folder / "server.pem"
    file.write_bytes(certificate.public_bytes(pem) + private)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file)
    return context


async def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    heard: list[bytes] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read())
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=self_signed(tmp_path))
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(NeverSent):
            await post(f"https://localhost:{port}/", Guard(loopback=True))
        request = WireRequest("GET", "/", {}, b"")
        async with Outbound() as courier:
            with pytest.raises(NeverSent):
                await courier.send(f"https://localhost:{port}", request, seconds=5)
    assert heard == []
