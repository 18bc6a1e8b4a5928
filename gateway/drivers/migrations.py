"""The schema's history: numbered SQL files, each applied once, in order, in its own transaction.

Every transaction takes the same advisory lock and looks again at what is done, so several machines
may migrate at once, also through a pooler.  A file that was applied must never change.
"""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeAlias

import asyncpg
import msgspec

from gateway.domain.errors import FloodgateError
from gateway.drivers.sessions import unreachable

MIGRATIONS: Final = Path(__file__).parent.parent / "migrations"

_FILE_NAME: Final = re.compile(r"([0-9]{4})_([a-z0-9_]+)\.sql")
_LOCK: Final = int.from_bytes(b"fldgate!", signed=True)
_TABLE: Final = """
    CREATE TABLE IF NOT EXISTS public.schema_version (
        version    integer     PRIMARY KEY,
        name       text        NOT NULL,
        sha256     text        NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT now()
    );
    GRANT SELECT ON public.schema_version TO PUBLIC;
"""
# A query and not to_regclass(), which may answer from a cache that is older than our lock.
_HAS_TABLE: Final = """
    SELECT EXISTS (
        SELECT FROM pg_tables WHERE schemaname = 'public' AND tablename = 'schema_version'
    )
"""

Connection: TypeAlias = (
    "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
)


class MigrationRefused(FloodgateError):
    """The schema cannot be brought up to date; the sentence names the file and the reason."""


class Migration(msgspec.Struct, frozen=True):
    """One file of the history."""

    version: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        """What tells whether the file is still the one that was applied."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def read_migrations(folder: Path = MIGRATIONS) -> Sequence[Migration]:
    """Read the files `NNNN_name.sql`; each number is there once, and some may be left out."""
    migrations: list[Migration] = []
    for path in sorted(folder.glob("*.sql")):
        shape = _FILE_NAME.fullmatch(path.name)
        if shape is None:
            raise MigrationRefused(f"{path.name} should begin with four digits and _")
        version = int(shape[1])
        if migrations and migrations[-1].version == version:
            raise MigrationRefused(f"{path.name} has the number of {migrations[-1].name}")
        migrations.append(Migration(version, path.stem, path.read_text(encoding="utf-8")))
    if not migrations:
        raise MigrationRefused(f"{folder} has no migrations: the installation is not complete")
    return migrations


async def migrate(owner_url: str, *, folder: Path = MIGRATIONS) -> list[str]:
    """Bring the schema up to date; the names of the files that were applied by this call.

    Any role may call this while nothing is pending.  Raises `MigrationRefused` when a file fails or
    was changed after it was applied, `Unavailable` when PostgreSQL cannot be reached.
    """
    migrations = read_migrations(folder)
    try:
        connection = await asyncpg.connect(owner_url)
    except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise unreachable(error) from error
    try:
        applied = []
        while await pending(connection, migrations):
            name = await _apply_next(connection, migrations)
            applied += [name] if name else []
        return applied
    finally:
        await connection.close()


async def pending(
    connection: Connection, migrations: Sequence[Migration] | None = None
) -> Sequence[Migration]:
    """The migrations that are still to be applied; MigrationRefused when an applied one changed."""
    if migrations is None:
        migrations = read_migrations()
    if not await connection.fetchval(_HAS_TABLE):
        return migrations
    rows = await connection.fetch("SELECT version, sha256 FROM public.schema_version")
    done = {row["version"]: row["sha256"] for row in rows}
    for migration in migrations:
        if done.get(migration.version, migration.sha256) != migration.sha256:
            raise MigrationRefused(f"{migration.name} was changed after it had been applied")
    return [migration for migration in migrations if migration.version not in done]


async def schema_is_current(connection: Connection) -> bool:
    """Tell whether all our migrations are applied; newer ones of a later release do no harm."""
    try:
        return not await pending(connection)
    except MigrationRefused:
        return False


async def _apply_next(
    connection: "asyncpg.Connection[asyncpg.Record]", migrations: Sequence[Migration]
) -> str | None:
    """Apply the first pending migration under the lock; None when another machine did."""
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        left = await pending(connection, migrations)
        if not left:
            return None
        migration = left[0]
        try:
            await connection.execute(_TABLE)
            await connection.execute(migration.sql)
            await connection.execute(
                "INSERT INTO public.schema_version (version, name, sha256) VALUES ($1, $2, $3)",
                migration.version,
                migration.name,
                migration.sha256,
            )
        except asyncpg.PostgresError as error:
            raise MigrationRefused(f"{migration.name} cannot be applied: {error}") from error
        return migration.name
