"""Fee plans and routing from the command line: validated, and kept version by version."""

import tomllib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from gateway import merchants
from gateway.assembly import offers_of, on_database
from gateway.domain import limits
from gateway.domain.errors import FloodgateError
from gateway.domain.identity import PLATFORM, is_id, merchant_number
from gateway.domain.payment import CardMethod, CreatePayment, type_of
from gateway.domain.stages import Merchant
from gateway.drivers.clock import Clock
from gateway.drivers.postgres import Postgres
from gateway.flow import route
from gateway.routing.config import NOTHING, Config, StoredConfig
from gateway.routing.config import faults as config_faults
from gateway.routing.decision import Asked, Decision, Seen, decode
from gateway.routing.plans import FeePlan, faults
from gateway.routing.policy import bins_of
from gateway.routing.replay import replay
from gateway.routing.rules import Candidate, Wish, decide, draw_of, objection
from gateway.routing.store import PostgresConfigs, PostgresDecisions, PostgresPlans
from gateway.settings import Settings
from gateway.verify.store import PostgresKeyStore

_Document = TypeVar("_Document")


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

    return on_database(settings, putting)


def fees(settings: Settings) -> list[dict[str, Any]]:
    """Give every version of every plan, oldest first; `merchant` is a number, 0 for everybody."""

    async def reading(postgres: Postgres) -> list[dict[str, Any]]:
        return [msgspec.to_builtins(plan) for plan in await PostgresPlans(postgres).plans()]

    return on_database(settings, reading)


def put_routing(settings: Settings, path: Path, *, note: str) -> dict[str, Any]:
    """Put a configuration in force; gives its version."""
    config = _read(path, Config)
    _refuse(config_faults(config))
    if len(note) > limits.DESCRIPTION_CHARS_MAX or not note.isprintable():
        raise FloodgateError("a note is one short line")
    return on_database(settings, lambda postgres: _add(postgres, config, note))


def roll_back(settings: Settings, version: int) -> dict[str, Any]:
    """Put an earlier version in force again, as a new one."""

    async def putting(postgres: Postgres) -> dict[str, Any]:
        stored = await _config(postgres, version)
        return await _add(postgres, stored.config, f"back to version {version}")

    return on_database(settings, putting)


async def _add(postgres: Postgres, config: Config, note: str) -> dict[str, Any]:
    version = await PostgresConfigs(postgres).add_config(config, note=note, at=Clock().now())
    return {"version": version}


def routing(settings: Settings, version: int | None) -> dict[str, Any]:
    """Give a configuration with its version: the one in force, or an earlier one."""
    stored = on_database(settings, lambda postgres: _config(postgres, version))
    plain: dict[str, Any] = msgspec.to_builtins(stored)
    return plain


def routing_history(settings: Settings) -> list[dict[str, Any]]:
    """Give version, note and time of every configuration, oldest first."""

    async def reading(postgres: Postgres) -> list[dict[str, Any]]:
        rows = await PostgresConfigs(postgres).history()
        return [dict(row) | {"created_at": row["created_at"].isoformat()} for row in rows]

    return on_database(settings, reading)


def simulate(settings: Settings, path: Path, merchant: str, config: Path | None) -> dict[str, Any]:
    """Decide for a payment that a file describes, by the document in force or one to be tried.

    It sees the channels that the merchant has and knows nothing of their health.
    """
    command = _read(path, CreatePayment)
    tried = StoredConfig(0, _read(config, Config)) if config is not None else None
    _refuse(config_faults(tried.config) if tried is not None else [])

    async def deciding(postgres: Postgres) -> dict[str, Any]:
        found = await _merchant(merchant, postgres)
        offers = await offers_of(settings, postgres)
        stored = tried or await _config(postgres, None)
        shown = route.shown(_decide(command, found, offers(found.number), stored))
        plain: dict[str, Any] = msgspec.to_builtins(shown)
        return plain

    return on_database(settings, deciding)


def _decide(
    command: CreatePayment, merchant: Merchant, offers: Sequence[Candidate], stored: StoredConfig
) -> Decision:
    clock, method = Clock(), command.method
    hold = command.capture == "manual"
    wish = Wish(type_of(method), command.currency, merchant.load_test, hold)
    asked = Asked(
        merchant=merchant.id,
        method=wish.method,
        currency=wish.currency,
        amount=command.amount,
        at=clock.now(),
        draw=draw_of(clock.mint("pay", merchant.number), 0),
        bin=method.bin if isinstance(method, CardMethod) else None,
    )
    seen = [Seen(one.name, objection(one, wish)) for one in offers]
    return decide(stored, bins_of(stored.config), asked, seen)


def replay_payment(settings: Settings, payment: str) -> list[dict[str, Any]]:
    """Decide every attempt of a payment again, from what was seen then by the document of then."""
    if not is_id(payment, "pay"):
        raise FloodgateError("this is no payment's id")

    async def deciding(postgres: Postgres) -> list[dict[str, Any]]:
        past = await PostgresDecisions(postgres).of_payment(merchant_number(payment), payment)
        if not past:
            raise FloodgateError("there is no such payment, or it is older than its decisions")
        again = []
        for tries, one in enumerate(past):
            before = decode(one.told)
            stored = await _config(postgres, before.version)
            again.append(msgspec.to_builtins(replay(one, tries, before, stored)))
        return again

    return on_database(settings, deciding)


async def _config(postgres: Postgres, version: int | None) -> StoredConfig:
    configs = PostgresConfigs(postgres)
    if version is None:
        return await configs.newer_config(0) or NOTHING
    stored = await configs.config(version)
    if stored is None:
        raise FloodgateError(f"there is no version {version}")
    return stored


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
    return PLATFORM if merchant is None else (await _merchant(merchant, postgres)).number


async def _merchant(merchant: str, postgres: Postgres) -> Merchant:
    return await merchants.known(PostgresKeyStore(postgres, vault=None), merchant)
