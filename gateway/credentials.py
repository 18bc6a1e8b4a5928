"""Credentials of channels from the command line: read strictly, sealed at once, never shown."""

import json
import tomllib
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from gateway import merchants
from gateway.assembly import on_database, public_base
from gateway.channels.credential import read_credential
from gateway.channels.kinds import KINDS
from gateway.channels.ports import StoredCredential
from gateway.channels.store import PostgresCredentials
from gateway.domain import limits
from gateway.domain.errors import FloodgateError
from gateway.domain.identity import PLATFORM, is_id
from gateway.drivers.clock import Clock
from gateway.drivers.postgres import Postgres
from gateway.settings import Settings, why_unread
from gateway.verify.store import PostgresKeyStore

_Told = TypeVar("_Told")


def add(
    settings: Settings, *, channel: str, file: Path, merchant: str | None, label: str
) -> dict[str, Any]:
    """Add a credential of a merchant, or without one of the platform; gives what is printed."""
    kind = KINDS.get(channel)
    if kind is None:
        raise FloodgateError(f"the channels that take credentials are: {', '.join(sorted(KINDS))}")
    if len(label) > limits.CREDENTIAL_LABEL_CHARS_MAX or not (label.isprintable()):
        raise FloodgateError("a label is short and can be printed")
    credential = read_credential(kind, _words(file))

    async def adding(postgres: Postgres) -> dict[str, Any]:
        owner, store = PLATFORM, PostgresCredentials(postgres, vault=None)
        if merchant is not None:
            keys = PostgresKeyStore(postgres, vault=None)
            owner = (await merchants.known(keys, merchant)).number
        made = await store.add(channel, credential, owner=owner, label=label, at=Clock().now())
        address = f"{public_base(settings)}/notices/{channel}"
        return {
            "credential": made,
            "channel": channel,
            "account": credential.account,
            "notify_url": address if merchant is None else f"{address}/{merchant}",
        }

    return on_database(settings, adding)


def listed(settings: Settings) -> list[dict[str, Any]]:
    """Tell of every credential that is not revoked, without its secrets; newest first."""

    async def listing(store: PostgresCredentials) -> list[dict[str, Any]]:
        return [_shown(one) for one in await store.listed()]

    return _with_store(settings, listing)


def revoke(settings: Settings, *, credential_id: str) -> None:
    """Revoke a credential on every worker; one that does not exist is an error."""

    async def revoking(store: PostgresCredentials) -> None:
        known = is_id(credential_id, "crd")
        if not known or not await store.revoke(credential_id, Clock().now()):
            raise FloodgateError("there is no such credential")

    _with_store(settings, revoking)


def _words(file: Path) -> Mapping[str, Any]:
    """Read a TOML file, or as any other name JSON; an error shows nothing of what is inside."""
    try:
        with file.open("rb") as opened:
            text = opened.read(limits.CREDENTIAL_BYTES_MAX + 1).decode()
        if len(text) > limits.CREDENTIAL_BYTES_MAX:
            raise FloodgateError("the file of --file is too large for a credential")
        words = tomllib.loads(text) if file.suffix == ".toml" else json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        why = why_unread(error)
        raise FloodgateError(f"the file of --file cannot be read: {why}") from None
    if not isinstance(words, dict):
        raise FloodgateError("the file of --file holds no object")
    return words


def _shown(one: StoredCredential) -> dict[str, Any]:
    return {
        "credential": one.id,
        "channel": one.channel,
        "merchant": one.owner_id,
        "account": one.account,
        "label": one.label,
        "not_after": one.not_after.isoformat() if one.not_after is not None else None,
        "created_at": one.created_at.isoformat(),
    }


def _with_store(
    settings: Settings, act: Callable[[PostgresCredentials], Awaitable[_Told]]
) -> _Told:
    return on_database(settings, lambda postgres: act(PostgresCredentials(postgres, vault=None)))
