"""The gateway's port byte by byte: a client that may send what no HTTP library would."""

import asyncio
import contextlib
import json
import uuid
from base64 import b64decode
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from urllib.parse import urlsplit

from multidict import CIMultiDict

from tests.e2e.harness import Reply, Shop
from tests.native.signing_client import Request, digest, parameters, sign

ANSWER_SECONDS = 20


class Wire:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def answer(self, method: str = "GET") -> Reply:
        """Read one answer; one to HEAD, and an interim one, has no body whatever it says."""
        async with asyncio.timeout(ANSWER_SECONDS):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("ascii")
            first, *lines = head.split("\r\n")[:-2]
            headers = CIMultiDict(line.split(": ", 1) for line in lines)
            status = int(first.split(" ")[1])
            length = 0 if method == "HEAD" or status < 200 else int(headers["Content-Length"])
            return Reply(status, headers, await self._reader.readexactly(length))

    async def until_closed(self) -> bytes:
        """Read whatever is left until the gateway closes the connection."""
        async with asyncio.timeout(ANSWER_SECONDS):
            return await self._reader.read()


@contextlib.asynccontextmanager
async def connected(base_url: str) -> AsyncIterator[Wire]:
    place = urlsplit(base_url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def exchange(base_url: str, data: bytes, method: str = "GET") -> Reply:
    """Send these bytes on a connection of their own, and read the answer."""
    async with connected(base_url) as wire:
        await wire.send(data)
        return await wire.answer(method)


def seconds_now() -> int:
    return int(datetime.now(UTC).timestamp())


def asked(
    shop: Shop, method: str, target: str, body: object = None, *, key: str | None = None
) -> Request:
    """Write a request that is not signed yet, with the headers of the contract."""
    raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    request = Request(method, target, body=raw).adding("Host", urlsplit(shop.base_url).netloc)
    if method == "POST":
        request = request.adding("Idempotency-Key", f'"{key or uuid.uuid4().hex}"')
    if raw:
        request = request.adding("Content-Type", "application/json")
        request = request.adding("Content-Length", str(len(raw)))
        request = request.adding("Content-Digest", f"sha-256=:{digest(raw)}:")
    return request


def must_cover(request: Request) -> list[str]:
    """Say what a signature of this request has to cover."""
    covered = ["@method", "@path"]
    covered += ["@query"] if "?" in request.target else []
    names = {name.lower().decode() for name, _ in request.headers}
    return covered + sorted(names & {"content-digest", "idempotency-key"})


def signed(
    shop: Shop,
    request: Request,
    covered: Sequence[str] | None = None,
    *,
    label: str = "sig1",
    text: str | None = None,
    **given: str | int | None,
) -> Request:
    """Sign for this shop; `text` is the whole of the parameters, `given` some of them."""
    given = {"created": seconds_now(), "keyid": shop.credentials.key_id} | given
    return sign(
        request,
        must_cover(request) if covered is None else covered,
        parameters(**given) if text is None else text,
        label=label,
        secret=b64decode(shop.credentials.secret),
    )


def written(request: Request) -> bytes:
    """Write a request as HTTP/1.1."""
    lines = [f"{request.method} {request.target} HTTP/1.1".encode()]
    lines += [name + b": " + value for name, value in request.headers]
    return b"\r\n".join([*lines, b"", request.body])


async def sent(shop: Shop, request: Request) -> Reply:
    """Send one request on a connection of its own, and read the answer."""
    return await exchange(shop.base_url, written(request), request.method)
