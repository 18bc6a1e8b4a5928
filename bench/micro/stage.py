"""Real servers for the microbenchmarks, and payments to put through them."""

import asyncio
import contextlib
import itertools
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from gateway.drivers.embedded import Servers
from gateway.drivers.migrations import migrate
from gateway.drivers.processes import Supervisor

_numbers = itertools.count(1)


class Urls(NamedTuple):
    """Where PostgreSQL (as owner and as application) and Redis are."""

    owner: str
    app: str
    redis: str


@contextlib.contextmanager
def servers() -> Iterator[Urls]:
    """Run PostgreSQL and Redis, as durable as in production, inside a block."""
    with contextlib.ExitStack() as held:
        folder = Path(tempfile.mkdtemp(prefix="floodgate-bench-"))
        held.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o711)  # root's PostgreSQL runs as another user, who must pass here
        embedded = held.enter_context(Servers(folder / "data"))
        held.enter_context(Supervisor()).start(embedded.postgres(), embedded.redis())
        yield Urls(embedded.owner_url, embedded.app_url, embedded.redis_url)


async def fresh_database(urls: Urls) -> tuple[str, str]:
    """Make an empty database with our schema; gives its URLs for owner and application."""
    name = f"bench_{next(_numbers)}"
    connection = await asyncpg.connect(urls.owner)
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    owner, app = (
        urlunsplit(urlsplit(url)._replace(path=f"/{name}")) for url in (urls.owner, urls.app)
    )
    await migrate(owner)
    return owner, app


async def count(url: str, sql: str) -> Any:
    """Ask the database for one number."""
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def all_of(*waiting: Any) -> list[Any]:
    """Await everything at once."""
    return await asyncio.gather(*waiting)
