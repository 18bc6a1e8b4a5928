"""Servers on free ports of this machine, and what acquirers there can do: be silent, and notify."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Self

from aiohttp import ClientSession, web


@asynccontextmanager
async def served(handle: Callable[[web.BaseRequest], Awaitable[Any]]) -> AsyncIterator[str]:
    """Serve on a free port; gives the base URL.  Who is waited for no longer is not served on."""
    server = web.Server(handle, access_log=None, handler_cancellation=True)
    runner = web.ServerRunner(server, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


class Acquirer:
    """One that counts what is wrongly signed, waits for `never`, and posts its notices."""

    def __init__(self) -> None:
        self.base_url = ""
        self.wrongly_signed = 0
        self.never = asyncio.Event()
        self._posting: set[asyncio.Task[None]] = set()
        self._session: ClientSession | None = None

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        raise NotImplementedError

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Send a notice, which takes its time."""
        self._posting.add(asyncio.create_task(self._post(url, body, headers)))

    async def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> None:
        assert self._session is not None
        async with self._session.post(url, data=body, headers=headers) as answer:
            await answer.read()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Serve, and in the end wait for the notices that are on their way."""
        async with served(self.handle) as self.base_url, ClientSession() as self._session:
            yield self
            await asyncio.gather(*self._posting, return_exceptions=True)
