"""Every channel of this installation: those of the settings, and one per account of a credential.

Credentials are read again like keys: what is added or revoked is known to every worker within five
seconds, and a channel whose credentials did not change stays as it was made.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import ClassVar, Final

import msgspec
from msgspec import Struct

from gateway.channels.credential import Credential, Kind
from gateway.channels.kinds import KINDS
from gateway.channels.port import Channel, TellsKeys
from gateway.channels.ports import AcquirerKeys, CredentialStore, StoredCredential
from gateway.domain.identity import PLATFORM
from gateway.drivers import telemetry
from gateway.drivers.clock import Clock
from gateway.drivers.reloading import Reloading

# What can be wrong with a credential, as operators read it.
UNREADABLE: Final = "unreadable"
UNUSABLE: Final = "unusable"
EXPIRED: Final = "expired"
REFUSED: Final = "refused"
KEYLESS: Final = "keyless"

_Key = tuple[str, str]


class Account(Struct, frozen=True):
    """An account at an acquirer: the channel that speaks for it, its name there, and whose it is.

    A channel of the settings has no name for its account, and its owner is the platform.
    """

    channel: Channel
    name: str | None = None
    owner: int = PLATFORM


class Trouble(Struct, frozen=True):
    """What is wrong with a credential, in one word."""

    credential: str
    channel: str
    trouble: str


class _Made(Struct, frozen=True):
    """An account as it was made of these credentials, newest first; some may be of no use.

    Until `believes_until` we know a key by which its acquirer signs; None: for ever.
    """

    stored: tuple[StoredCredential, ...]
    keys: AcquirerKeys | None
    account: Account | None
    troubles: Mapping[str, str]
    believes_until: datetime | None

    def serves(self, now: datetime) -> bool:
        """Tell whether new payments may be asked for: one good credential has not ended."""
        good = (one for one in self.stored if one.id not in self.troubles)
        fit = self.account is not None and not self.is_keyless(now)
        return fit and any(not _has_ended(one, now) for one in good)

    def is_keyless(self, now: datetime) -> bool:
        """Tell whether no answer of the acquirer could be believed, for want of its keys."""
        return self.believes_until is not None and self.believes_until <= now


class Registry(Reloading):
    """The accounts there are; two channels with the same name or number are a ValueError."""

    what: ClassVar[str] = "channels' credentials"

    def __init__(
        self,
        fixed: Iterable[Channel],
        store: CredentialStore,
        clock: Clock,
        *,
        notify_base: str,
        kinds: Mapping[str, Kind] = KINDS,
    ) -> None:
        super().__init__()
        self._fixed = tuple(Account(channel) for channel in fixed)
        self._by_name = channels = {account.channel.name: account for account in self._fixed}
        numbers = {account.channel.number for account in self._fixed}
        if not len(channels) == len(numbers) == len(self._fixed) or channels.keys() & kinds.keys():
            raise ValueError("two channels share a name or a number")
        self._store = store
        self._clock = clock
        self._notify_base = notify_base
        self._kinds = kinds
        self._made: dict[_Key, _Made] = {}
        self._refused: set[_Key] = set()
        self._offers: dict[int, tuple[Account, ...]] = {PLATFORM: self._fixed}
        self._counted: set[_Key] = set()

    async def refresh(self) -> None:
        """Read every live credential and make the channels of those accounts that changed."""
        groups: dict[_Key, list[StoredCredential]] = {}
        for one in await self._store.live():
            if one.channel in self._kinds:
                groups.setdefault((one.channel, one.account), []).append(one)
        told = {(each.channel, each.account): each for each in await self._store.acquirer_keys()}
        made = {}
        for key, group in groups.items():
            before, keys = self._made.get(key), told.get(key)
            if before is None or (before.stored, before.keys) != (tuple(group), keys):
                before = self._make(group, keys)
            made[key] = before
        self._made = made
        self._refused &= made.keys()
        self._offers = self._offered()
        self._count()

    def account(self, channel: str, name: str | None) -> Account | None:
        """Look up the account of this name at a channel; None when it has no live credential."""
        if name is None:
            return self._by_name.get(channel)
        made = self._made.get((channel, name))
        return made.account if made is not None else None

    def offers(self, merchant: int) -> Sequence[Account]:
        """Give the accounts that can serve a merchant: of each channel its own, or the platform's.

        Of several accounts at one channel the one with the newest credential serves.
        """
        return self._offers.get(merchant, self._offers[PLATFORM])

    def listening(self, channel: str, owner: int) -> list[Account]:
        """Give the accounts of this owner at a channel, of which a notice may speak."""
        made = [each.account for each in self._made.values() if each.account is not None]
        return [a for a in (*made, *self._fixed) if (a.channel.name, a.owner) == (channel, owner)]

    def tellers(self) -> list[tuple[Account, datetime | None]]:
        """Give the accounts whose acquirers tell their keys, and when they last did."""
        return [
            (made.account, made.keys.told_at if made.keys is not None else None)
            for made in self._made.values()
            if made.account is not None and isinstance(made.account.channel, TellsKeys)
        ]

    def queries_per_second(self) -> dict[str, int]:
        """Say how many queries each channel allows; all of its accounts share the least of them."""
        made = [each.account for each in self._made.values() if each.account is not None]
        allowed: dict[str, int] = {}
        for account in (*made, *self._fixed):
            name, queries = account.channel.name, account.channel.capabilities.queries_per_second
            allowed[name] = min(queries, allowed.get(name, queries))
        return allowed

    def heard(self, account: Account, *, refused: bool) -> None:
        """Note down whether the acquirer refused what we identify ourselves with."""
        if refused:
            self._refused.add(_key_of(account))
        elif self._refused:
            self._refused.discard(_key_of(account))

    def troubles(self) -> list[Trouble]:
        """Say of which credentials something is wrong, for those who can mend it."""
        now = self._clock.now()
        found = []
        for key, made in self._made.items():
            for one in made.stored:
                word = made.troubles.get(one.id)
                if word is None and _has_ended(one, now):
                    word = EXPIRED
                if word is None and key in self._refused:
                    word = REFUSED
                if word is None and made.is_keyless(now):
                    word = KEYLESS
                if word is not None:
                    found.append(Trouble(one.id, one.channel, word))
        return found

    def _offered(self) -> dict[int, tuple[Account, ...]]:
        now = self._clock.now()
        serving: dict[int, dict[str, Account]] = {PLATFORM: {}}
        newest_first = sorted(self._made.values(), key=lambda m: m.stored[0].id, reverse=True)
        for made in newest_first:
            if made.account is not None and made.serves(now):
                own = serving.setdefault(made.account.owner, {})
                own.setdefault(made.account.channel.name, made.account)
        platform = serving[PLATFORM]
        return {owner: (*(platform | own).values(), *self._fixed) for owner, own in serving.items()}

    def _make(self, group: Sequence[StoredCredential], told: AcquirerKeys | None) -> _Made:
        """Make the channel of an account of those of its credentials that are of use."""
        kind, oldest = self._kinds[group[0].channel], group[-1]
        address = f"{self._notify_base}/notices/{oldest.channel}"
        if oldest.owner_id is not None:
            address += f"/{oldest.owner_id}"
        good: list[Credential] = []
        troubles = {}
        known = told is not None and told.owner == oldest.owner
        keys = (told.keys if told is not None and known else None) or {}
        for one in group:
            credential = _opened(kind, one, keys)
            if credential is None:
                troubles[one.id] = UNREADABLE
            elif one.owner != oldest.owner or _channel(kind, (credential,), address) is None:
                troubles[one.id] = UNUSABLE
            else:
                good.append(credential)
        # Should they not fit together, the newest serves alone.
        channel = _channel(kind, good, address) or _channel(kind, good[:1], address)
        account = Account(channel, oldest.account, oldest.owner) if channel is not None else None
        until = [credential.believes_until() for credential in good]
        believes_until = max(filter(None, until), default=None) if None not in until else None
        return _Made(tuple(group), told, account, troubles, believes_until)

    def _count(self) -> None:
        """Tell Prometheus how many credentials there are, and what is wrong with how many."""
        counts = Counter((each.channel, each.trouble) for each in self.troubles())
        counts.update((one.channel, "live") for made in self._made.values() for one in made.stored)
        for channel, state in self._counted | counts.keys():
            telemetry.CREDENTIALS.labels(channel, state).set(counts[channel, state])
        self._counted = set(counts)


def _key_of(account: Account) -> _Key:
    return account.channel.name, account.name or ""


def _has_ended(one: StoredCredential, now: datetime) -> bool:
    return one.not_after is not None and one.not_after <= now


def _opened(kind: Kind, one: StoredCredential, keys: Mapping[str, str]) -> Credential | None:
    """Read what was stored; None when it cannot be opened, or is of an older form."""
    if one.secret is None:
        return None
    try:
        credential = msgspec.json.decode(one.secret, type=kind.credential)
    except msgspec.DecodeError:
        return None
    return credential.with_keys(keys) if credential.account == one.account else None


def _channel(kind: Kind, credentials: Sequence[Credential], address: str) -> Channel | None:
    """Make a channel; None when that cannot be: strangers made what it is made of."""
    try:
        return kind.make(credentials, address) if credentials else None
    except Exception:  # noqa: BLE001 - whatever it is, it must not stop the others
        return None
