"""One PostgreSQL and one Redis for a whole test run, and a database in it for each test module."""

import asyncio
import contextlib
import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from msgspec.structs import replace

from gateway.drivers.embedded import Servers
from gateway.drivers.migrations import migrate
from gateway.drivers.processes import Supervisor

TEMPLATE = "floodgate_template"

_count = itertools.count(1)


class Urls(NamedTuple):
    """Where the servers of this run are."""

    owner: str
    app: str
    redis: str


class Database(NamedTuple):
    """A database of one test module: as its owner, and as the application."""

    owner_url: str
    app_url: str


_STARTED = pytest.StashKey[Urls]()


def servers_of(config: pytest.Config) -> Urls:
    """Start the servers once for this run; they stop with it."""
    if _STARTED not in config.stash:
        held = contextlib.ExitStack()
        config.add_cleanup(held.close)
        folder = Path(tempfile.mkdtemp(prefix="floodgate-tests-"))
        held.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o711)  # root's PostgreSQL runs as another user, who must pass here
        config.stash[_STARTED] = _start(folder, held)
    return config.stash[_STARTED]


def _start(folder: Path, held: contextlib.ExitStack) -> Urls:
    binaries = {
        name: os.environ.get(f"FLOODGATE_{name.upper()}") for name in ("pg_bin", "redis_bin")
    }
    embedded = Servers(
        folder / "data",
        durable=False,
        **{name: Path(value) for name, value in binaries.items() if value},
    )
    held.enter_context(embedded)
    supervisor = held.enter_context(Supervisor())
    # The tests fill the cores themselves, and many of them wait for this one.
    postgres = replace(embedded.postgres(), stands_back=False)
    supervisor.start(postgres, embedded.redis())
    _run_sql(embedded.owner_url, f"CREATE DATABASE {TEMPLATE}")
    asyncio.run(migrate(_of_database(embedded.owner_url, TEMPLATE)))
    return Urls(embedded.owner_url, embedded.app_url, embedded.redis_url)


@contextlib.contextmanager
def fresh_database(servers: Urls, worker_number: int) -> Iterator[Database]:
    """Clone the template; nobody else ever sees this database."""
    name = f"test_{worker_number}_{next(_count)}"
    _run_sql(servers.owner, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY file_copy")
    yield Database(_of_database(servers.owner, name), _of_database(servers.app, name))
    _run_sql(servers.owner, f"DROP DATABASE {name} WITH (FORCE)")


def _of_database(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def _run_sql(url: str, sql: str) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(url)
        await connection.execute(sql)
        await connection.close()

    asyncio.run(run())
