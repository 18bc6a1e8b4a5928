"""A merchant's server for webhooks, on loopback: keeps what it got and answers as it is told."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import msgspec
from aiohttp import web

PATIENCE_SECONDS = 30.0


class Got(NamedTuple):
    """One webhook as it came."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def sequence(self) -> int:
        return self.json["data"]["sequence"]


def says(status: int, headers: Mapping[str, str] | None = None) -> Callable[[Got], web.Response]:
    """Answer with this status to everything."""
    return lambda _: web.Response(status=status, headers=headers)


class Receiver:
    """Everything that came, and what is answered to it."""

    def __init__(self, base_url: str) -> None:
        self.url = f"{base_url}/hook"
        self.got: list[Got] = []
        self.answer: Callable[[Got], web.Response] = says(204)
        self.open = asyncio.Event()
        self.open.set()
        self.at_once = 0
        self.at_once_max = 0
        self._changed = asyncio.Condition()

    async def serve(self, request: web.BaseRequest) -> web.Response:
        got = Got(request.path, dict(request.headers), await request.read())
        got = got._replace(headers={name.lower(): value for name, value in got.headers.items()})
        self.got.append(got)
        self.at_once += 1
        self.at_once_max = max(self.at_once, self.at_once_max)
        async with self._changed:
            self._changed.notify_all()
        try:
            await self.open.wait()
        finally:
            self.at_once -= 1
        return self.answer(got)

    async def until(self, holds: Callable[[list[Got]], bool]) -> None:
        """Wait until this holds of what came."""
        async with asyncio.timeout(PATIENCE_SECONDS), self._changed:
            await self._changed.wait_for(lambda: holds(self.got))

    async def arrived(self, count: int) -> list[Got]:
        """Wait until so many webhooks came."""
        await self.until(lambda got: len(got) >= count)
        return self.got


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """Serve on a free port of loopback."""
    receiver = Receiver("")

    async def serve(request: web.BaseRequest) -> web.Response:
        return await receiver.serve(request)

    runner = web.ServerRunner(web.Server(serve), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    try:
        yield receiver
    finally:
        receiver.open.set()
        await runner.cleanup()
