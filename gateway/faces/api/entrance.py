"""How requests come in: through the front where there is one, and else straight to aiohttp."""

import asyncio
import contextlib
import resource
import socket
from collections.abc import AsyncIterator
from typing import Final

from gateway.domain import limits
from gateway.faces.api.server import ApiServer
from native import front

_BACKLOG: Final = 4096


def _connections_max() -> int:
    """Say for how many connections there are files; our limit of them is raised where it may be."""
    wanted = limits.CONNECTIONS_MAX + limits.FILES_KEPT
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    return max(files - limits.FILES_KEPT, files // 2)


@contextlib.asynccontextmanager
async def opened(api: ApiServer, listening: socket.socket) -> AsyncIterator[None]:
    """Serve a bound socket inside a block; at its end finish what began and close what is idle."""
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    listening.listen(_BACKLOG)
    if not front.COMPILED:
        server = await asyncio.get_running_loop().create_server(
            api, sock=listening, backlog=_BACKLOG
        )
        try:
            yield
        finally:
            api.draining = True
            server.close()
            api.pre_shutdown()
            await api.shutdown(limits.DRAIN_SECONDS)
        return
    from gateway.faces.api.front import FrontDoor  # where there is a front at all

    door = FrontDoor(api, listening, connections_max=_connections_max())
    try:
        yield
    finally:
        api.draining = True
        await door.close()
        api.pre_shutdown()
        await door.hand_over()  # half requests come to their end: they are not idle
        await asyncio.gather(door.finish(limits.DRAIN_SECONDS), api.shutdown(limits.DRAIN_SECONDS))
