"""Fee plans from the command line: read from a file, validated, and kept version by version."""

import asyncio
import tomllib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from gateway.assembly import postgres_of
from gateway.domain import limits
from gateway.domain.errors import FloodgateError
from gateway.domain.identity import PLATFORM, is_id
from gateway.drivers.clock import Clock
from gateway.drivers.postgres import Postgres
from gateway.routing.plans import FeePlan, faults
from gateway.routing.store import PostgresPlans
from gateway.settings import Settings
from gateway.verify.store import PostgresKeyStore

_Document = TypeVar("_Document")
_Result = TypeVar("_Result")


def put_fees(
    settings: Settings, path: Path, *, merchant: str | None, effective_at: str | None
) -> dict[str, Any]:
    """Add a plan for a merchant (everybody without one), from now or a later time on."""
    plan = _read(path, FeePlan)
    _refuse(faults(plan))

    async def putting(postgres: Postgres) -> dict[str, Any]:
        now = Clock().now()
        begins = _later(effective_at, now)
        owner = await _number_of(merchant, postgres)
        version = await PostgresPlans(postgres).add_plan(owner, plan, effective_at=begins, at=now)
        return {"version": version, "effective_at": begins.isoformat()}

    return _with_postgres(settings, putting)


def fees(settings: Settings) -> list[dict[str, Any]]:
    """Give every version of every plan, oldest first; `merchant` is a number, 0 for everybody."""

    async def reading(postgres: Postgres) -> list[dict[str, Any]]:
        return [msgspec.to_builtins(plan) for plan in await PostgresPlans(postgres).plans()]

    return _with_postgres(settings, reading)


def _read(path: Path, document: type[_Document]) -> _Document:
    """Read a TOML or JSON file; what is refused is named, what stands in it is not repeated."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise FloodgateError(f"{path.name} cannot be read: {error.strerror}") from None
    if len(text) > limits.POLICY_BYTES_MAX:
        raise FloodgateError(f"{path.name} is larger than {limits.POLICY_BYTES_MAX} bytes")
    try:
        if path.suffix == ".json":
            return msgspec.json.decode(text, type=document)
        return msgspec.convert(tomllib.loads(text.decode()), document)
    except (ValueError, RecursionError) as error:  # every refusal of either format is a ValueError
        raise FloodgateError(f"{path.name}: {error}") from None


def _refuse(found: list[str]) -> None:
    if found:
        raise FloodgateError("; ".join(found))


def _later(text: str | None, now: datetime) -> datetime:
    if text is None:
        return now
    try:
        begins = msgspec.convert(text, datetime)
        if begins.tzinfo is None:
            raise FloodgateError("--effective-at needs its offset, such as Z")
        begins = begins.astimezone(UTC)
    except (msgspec.ValidationError, OverflowError):
        raise FloodgateError("--effective-at is no RFC 3339 time") from None
    if begins < now:
        raise FloodgateError("a plan never changes the past: --effective-at lies before now")
    return begins


async def _number_of(merchant: str | None, postgres: Postgres) -> int:
    if merchant is None:
        return PLATFORM
    store = PostgresKeyStore(postgres, vault=None)
    found = await store.find_merchant(merchant) if is_id(merchant, "mer") else None
    if found is None:
        raise FloodgateError("there is no such merchant")
    return found.number


def _with_postgres(settings: Settings, act: Callable[[Postgres], Awaitable[_Result]]) -> _Result:
    async def acting() -> _Result:
        postgres = postgres_of(settings, connections=1)
        await postgres.open()
        try:
            return await act(postgres)
        finally:
            await postgres.close()

    return asyncio.run(acting())
