"""Keeps the acquirers' own keys fresh, where an acquirer changes them by itself and tells them.

A duty of the background worker; what it learns is stored, and every worker reads it from there.
"""

import asyncio
import logging
from datetime import datetime, timedelta
from typing import Final

from gateway.channels.courier import Courier
from gateway.channels.port import KeysRefused, TellsKeys
from gateway.channels.ports import AcquirerKeys, KeyStore
from gateway.channels.registry import Account, Registry
from gateway.domain import limits
from gateway.drivers.clock import Clock

logger: Final = logging.getLogger(__name__)

_FRESH: Final = timedelta(seconds=limits.ACQUIRER_KEYS_SECONDS)
_PAUSE: Final = timedelta(seconds=limits.ACQUIRER_KEYS_RETRY_SECONDS)


class KeyFetcher:
    """Asks for the keys of each account twice a day, and at once where none are known."""

    def __init__(
        self, registry: Registry, courier: Courier, store: KeyStore, *, clock: Clock
    ) -> None:
        self._registry = registry
        self._courier = courier
        self._store = store
        self._clock = clock
        self._asked: dict[tuple[str, str | None], datetime] = {}

    async def run(self) -> None:
        """Look for ever; what fails is tried again after a pause."""
        while True:
            try:
                await self.look()
            except Exception as error:  # noqa: BLE001 - no error may end the worker
                logger.warning("the keys of acquirers could not be fetched: %r", error)
            await asyncio.sleep(limits.ACQUIRER_KEYS_LOOK_SECONDS)

    async def look(self) -> None:
        """Fetch the keys that are due."""
        for account, told_at in self._registry.tellers():
            now, key = self._clock.now(), (account.channel.name, account.name)
            asked = self._asked.get(key)
            if told_at is not None and now - told_at < _FRESH:
                continue
            if asked is None or now - asked >= _PAUSE:
                self._asked[key] = now
                await self._fetch(account, now)

    async def _fetch(self, account: Account, now: datetime) -> None:
        channel, name = account.channel, account.name
        assert isinstance(channel, TellsKeys)
        assert name is not None, "a channel of the settings has no acquirer with keys"
        request = channel.ask_for_keys(now)
        if request is None:
            return
        answer = await self._courier.fetch(account.channel, request)
        if answer is None:
            logger.warning("%s does not tell its keys: no answer", account.channel.name)
            return
        try:
            keys = channel.read_keys(answer, self._clock.now())
        except KeysRefused as refused:
            logger.warning("%s does not tell its keys: %s", account.channel.name, refused)
            return
        told = AcquirerKeys(account.owner, account.channel.name, name, keys, self._clock.now())
        await self._store.keep_keys(told)
