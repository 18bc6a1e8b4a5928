"""The postman between acquirer and gateway: notices come late, out of order, and some twice.

He loses none: what he took he carries until a gateway has taken it, or has refused it for good.
"""

import asyncio
import random
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Final, Self

import aiohttp
from aiohttp import web

_LATE_SECONDS_MAX: Final = 1.5
_AGAIN_SECONDS: Final = 0.2


class Postman:
    """Stands at `base_url`, where the gateway has told the acquirer to send its notices."""

    def __init__(self, gateways: Sequence[str], chance: random.Random) -> None:
        self._gateways = gateways
        self._chance = chance
        self._rounds: set[asyncio.Task[None]] = set()
        self.base_url = ""

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession()
        self._runner = web.ServerRunner(web.Server(self._take))
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.base_url = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for walk in self._rounds:
            walk.cancel()
        await asyncio.gather(*self._rounds, return_exceptions=True)
        await self._runner.cleanup()
        await self._session.close()

    @property
    def is_home(self) -> bool:
        """Tell whether every letter was delivered."""
        return not self._rounds

    async def _take(self, request: web.BaseRequest) -> web.Response:
        letter = await request.read()
        headers = {k: v for k, v in request.headers.items() if k.startswith("simulator-")}
        for _ in range(self._chance.choice((1, 1, 1, 2))):
            walk = asyncio.create_task(self._carry(request.path, headers, letter))
            self._rounds.add(walk)
            walk.add_done_callback(self._rounds.discard)
        return web.Response()

    async def _carry(self, path: str, headers: Mapping[str, str], letter: bytes) -> None:
        wait = self._chance.choice((0.0, self._chance.uniform(0, _LATE_SECONDS_MAX)))
        await asyncio.sleep(wait)
        while True:
            if await self._is_taken(path, headers, letter):
                return
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _is_taken(self, path: str, headers: Mapping[str, str], letter: bytes) -> bool:
        url = self._chance.choice(self._gateways) + path
        timeout = aiohttp.ClientTimeout(total=5)
        try:
            async with self._session.post(
                url, data=letter, headers=headers, timeout=timeout
            ) as answer:
                # A forged notice is refused, and stays refused.
                return answer.status in {200, 400}
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False
