"""How requests come in: through the front where there is one, and else straight to aiohttp."""

import asyncio
import contextlib
import resource
import socket
import sys
from collections.abc import AsyncIterator, Sequence

from gateway.domain import limits
from gateway.drivers.listening import BACKLOG
from gateway.faces.api.server import ApiServer
from native import front


def _connections_max() -> int:
    """Say for how many connections there are files; our limit of them is raised where it may be."""
    wanted = limits.CONNECTIONS_MAX + limits.FILES_KEPT
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    return max(files - limits.FILES_KEPT, files // 2)


async def _served(api: ApiServer, listening: socket.socket) -> asyncio.Server:
    """Have aiohttp serve a socket that listens; its file, if it has one, is not ours to delete."""
    loop = asyncio.get_running_loop()
    if listening.family != socket.AF_UNIX:
        return await loop.create_server(api, sock=listening, backlog=BACKLOG)
    if sys.version_info >= (3, 13):
        return await loop.create_unix_server(
            api, sock=listening, backlog=BACKLOG, cleanup_socket=False
        )
    return await loop.create_unix_server(api, sock=listening, backlog=BACKLOG)


@contextlib.asynccontextmanager
async def opened(api: ApiServer, listening: Sequence[socket.socket]) -> AsyncIterator[None]:
    """Serve sockets that listen inside a block; then finish what began and close what is idle."""
    if not front.COMPILED:
        servers = [await _served(api, each) for each in listening]
        try:
            yield
        finally:
            api.draining = True
            for server in servers:
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
