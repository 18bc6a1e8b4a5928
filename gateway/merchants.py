"""Merchants and their keys from the command line: a secret is made here and shown once."""

import base64
import os
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import asdict

from gateway.assembly import on_database
from gateway.domain.errors import FloodgateError
from gateway.domain.identity import is_id
from gateway.domain.limits import QUOTA_REQUESTS_MAX, QUOTA_WEIGHT_MAX
from gateway.domain.stages import Merchant, Quota
from gateway.drivers.clock import Clock
from gateway.drivers.postgres import Postgres
from gateway.flow.query import show_balance, show_entry
from gateway.ledger.chart import account_of, number_of
from gateway.ledger.lists import Reader
from gateway.settings import Settings
from gateway.verify import schemes
from gateway.verify.ports import Terms
from gateway.verify.store import PostgresKeyStore

_SECRET_BYTES = 32
_BPS_MAX = 10_000


class KeyWish(Struct, frozen=True):
    """The key that is wanted: its algorithm, and for asymmetric ones the merchant's public key."""

    algorithm: str
    public_key: str | None

    def secret(self) -> bytes | None:
        """Make the secret of an hmac key; refuse a public key that does not fit."""
        if self.algorithm == schemes.HMAC:
            if self.public_key is not None:
                raise FloodgateError("hmac-sha256 has a secret and no public key")
            return os.urandom(_SECRET_BYTES)
        if self.public_key is None:
            raise FloodgateError(f"{self.algorithm} needs --public-key FILE")
        try:
            schemes.verifier(self.algorithm, secret=None, public_key=self.public_key)
        except ValueError as error:
            raise FloodgateError(str(error)) from None
        return None


def add(
    settings: Settings,
    *,
    name: str,
    key: KeyWish,
    terms: Terms,
) -> dict[str, Any]:
    """Add a merchant with its first key; gives what the command prints."""
    if not 0 <= terms.commission_bps <= _BPS_MAX:
        raise FloodgateError("the commission lies between 0 and 10000 basis points")
    if not name.strip() or not name.isprintable():
        raise FloodgateError("a merchant needs a name that can be printed")
    secret = key.secret()

    async def adding(store: PostgresKeyStore) -> dict[str, Any]:
        now = Clock().now()
        merchant = await store.add_merchant(name, terms, at=now)
        return await _add_key(store, merchant.id, key, secret)

    return _with_store(settings, adding)


def limit(settings: Settings, *, merchant: str, quota: Quota) -> dict[str, Any]:
    """Give a merchant another quota, within seconds and on every worker; gives what it now is."""
    if quota.weight > QUOTA_WEIGHT_MAX:
        raise FloodgateError(f"a weight lies between 1 and {QUOTA_WEIGHT_MAX}")
    if max(quota.per_second or 0, quota.in_flight or 0) > QUOTA_REQUESTS_MAX:
        raise FloodgateError(f"a quota lies between 1 and {QUOTA_REQUESTS_MAX} requests")

    async def limiting(store: PostgresKeyStore) -> dict[str, Any]:
        found = await known(store, merchant)
        await store.grant(found, quota)
        return {"merchant": merchant, "quota": asdict(quota)}

    return _with_store(settings, limiting)


def listed(settings: Settings) -> list[dict[str, Any]]:
    """Tell of every merchant, oldest first, with its live keys and nothing secret."""
    return on_database(
        settings, lambda postgres: PostgresKeyStore(postgres, vault=None).merchants()
    )


def accounts(settings: Settings, merchant: str) -> list[dict[str, Any]]:
    """Give a merchant's accounts with their balances, as the API shows them."""

    async def reading(postgres: Postgres) -> list[dict[str, Any]]:
        found = await known(PostgresKeyStore(postgres, vault=None), merchant)
        return [show_balance(each) for each in await Reader(postgres).balances(found.number)]

    return on_database(settings, reading)


def entries(
    settings: Settings, merchant: str, *, account: str | None, limit: int
) -> list[dict[str, Any]]:
    """Give the newest entries of a merchant, or of one of its accounts, as the API shows them."""
    number = number_of(account) if account is not None else None
    if account is not None and (number is None or not account_of(number).is_shown):
        raise FloodgateError("there is no such account; `floodgate merchant accounts` lists them")

    async def reading(postgres: Postgres) -> list[dict[str, Any]]:
        found = await known(PostgresKeyStore(postgres, vault=None), merchant)
        shown = await Reader(postgres).entries(
            found.number, account=number, payment_id=None, below=None, limit=limit
        )
        plain: list[dict[str, Any]] = msgspec.to_builtins([show_entry(each) for each in shown])
        return plain

    return on_database(settings, reading)


def choose(settings: Settings, *, merchant: str, policy: str) -> dict[str, Any]:
    """Say what becomes of a merchant's late money from now on; gives what it now is."""

    async def choosing(store: PostgresKeyStore) -> dict[str, Any]:
        await store.choose_late_success(await known(store, merchant), policy)
        return {"merchant": merchant, "late_success": policy}

    return _with_store(settings, choosing)


def rotate(settings: Settings, *, merchant: str, key: KeyWish) -> dict[str, Any]:
    """Add a key beside the old ones, which stay valid until they are revoked."""
    secret = key.secret()
    return _with_store(settings, lambda store: _add_key(store, merchant, key, secret))


def revoke(settings: Settings, *, key_id: str) -> None:
    """Revoke a key; a key that does not exist is an error."""

    async def revoking(store: PostgresKeyStore) -> dict[str, Any]:
        if not is_id(key_id, "key") or not await store.revoke_key(key_id, Clock().now()):
            raise FloodgateError("there is no such key")
        return {}

    _with_store(settings, revoking)


async def known(store: PostgresKeyStore, merchant: str) -> Merchant:
    """Look a merchant up by its public id; that there is none is an error."""
    found = await store.find_merchant(merchant) if is_id(merchant, "mer") else None
    if found is None:
        raise FloodgateError("there is no such merchant")
    return found


async def _add_key(
    store: PostgresKeyStore, merchant_id: str, key: KeyWish, secret: bytes | None
) -> dict[str, Any]:
    key_id = await store.add_key(
        await known(store, merchant_id),
        algorithm=key.algorithm,
        secret=secret,
        public_key=key.public_key,
        at=Clock().now(),
    )
    shown = base64.b64encode(secret).decode() if secret is not None else None
    return {"merchant": merchant_id, "key_id": key_id, "secret": shown}


def _with_store(
    settings: Settings, act: Callable[[PostgresKeyStore], Awaitable[dict[str, Any]]]
) -> dict[str, Any]:
    return on_database(settings, lambda postgres: act(PostgresKeyStore(postgres, vault=None)))
