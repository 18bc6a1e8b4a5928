"""The relay: carries events from the outbox to the merchants' endpoints, for the worker.

Every endpoint has a bounded number of deliveries under way and is spared while it fails, so that
one dead merchant cannot hold the others up.
"""

import logging
import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from gateway.domain import limits
from gateway.domain.wire import WireAnswer
from gateway.drivers.batching import Batcher
from gateway.drivers.clock import Clock
from gateway.drivers.flights import Flights
from gateway.drivers.outbound import NeverSent, NoAnswer
from gateway.drivers.outbound_guard import AddressRefused, GuardedOutbound
from gateway.events.outbox import Due, Outbox, Result
from gateway.events.ports import Secrets
from gateway.events.rules import (
    SECRET_UNREADABLE,
    Verdict,
    next_try_at,
    pause_until,
    retry_after,
    signed_headers,
    verdict_of,
)

logger: Final = logging.getLogger(__name__)

# A turn asks PostgreSQL twice; the pace leaves it time for payments, the wait for the next event.
_PACE_SECONDS: Final = 0.02
_IDLE_SECONDS: Final = 0.25
_LEAVE_SECONDS: Final = 5


class Relay:
    """Delivers at least once; give it the outbox, the guarded client and the keeper of secrets."""

    def __init__(
        self, outbox: Outbox, outbound: GuardedOutbound, secrets: Secrets, clock: Clock
    ) -> None:
        self._outbox = outbox
        self._outbound = outbound
        self._secrets = secrets
        self._clock = clock
        self._merchants: Sequence[int] = ()
        self._merchants_until: datetime | None = None
        self._flights = Flights()
        self._results: Batcher[Result, None] = Batcher(
            outbox.saw,
            items_max=limits.WEBHOOK_FLIGHTS_MAX,
            queue_items_max=limits.QUEUE_ITEMS_MAX,
        )

    async def run(self) -> None:
        """Relay for ever; when cancelled, wait a little for what is under way."""
        try:
            while True:
                try:
                    await self.turn()
                except Exception as error:  # noqa: BLE001 - no error may end the worker
                    logger.warning("the outbox cannot be read: %r", error)
                await self._flights.rest(_PACE_SECONDS, _IDLE_SECONDS)
        finally:
            # What does not end soon is cut off: its lease ends, and it is delivered again.
            await self._flights.leave(_LEAVE_SECONDS)

    async def turn(self) -> None:
        """Send what is due now, without waiting for the answers."""
        now = self._clock.now()
        merchants = await self._listening(now)
        for take in (self._outbox.take_due, self._outbox.take_new):
            room = limits.WEBHOOK_FLIGHTS_MAX - len(self._flights)
            if merchants and room >= limits.WEBHOOK_ENDPOINT_FLIGHTS_MAX:
                for due in await take(merchants, now, self._flights.busy, room):
                    self._flights.start(due.endpoint, self._deliver(due), due.event_id)

    async def landed(self) -> None:
        """Wait until everything that is under way has ended and is kept."""
        await self._flights.landed()

    async def _listening(self, now: datetime) -> Sequence[int]:
        if self._merchants_until is None or self._merchants_until <= now:
            self._merchants = await self._outbox.listening()
            self._merchants_until = now + timedelta(seconds=limits.WEBHOOK_REFRESH_SECONDS)
        return self._merchants

    async def _deliver(self, due: Due) -> None:
        answer, error = await self._send(due)
        await self._results.submit(self._result(due, answer, error))

    async def _send(self, due: Due) -> tuple[WireAnswer | None, str | None]:
        """Sign and send; gives the answer, or a word for the silence.

        A key that cannot be opened signs nothing, and without any nothing is sent.
        """
        context = due.endpoint.encode()
        opened = (self._secrets.reveal(hidden, context) for hidden in due.hidden_keys)
        keys = [key for key in opened if key is not None]
        if not keys:
            return None, SECRET_UNREADABLE
        headers = signed_headers(due.event_id, due.body, self._clock.now(), keys)
        seconds = limits.WEBHOOK_ANSWER_SECONDS
        try:
            return await self._outbound.post(due.url, headers, due.body, seconds=seconds), None
        except AddressRefused:
            return None, "address_refused"
        except NeverSent:
            return None, "not_connected"
        except NoAnswer:
            return None, "no_answer"

    def _result(self, due: Due, answer: WireAnswer | None, error: str | None) -> Result:
        now = self._clock.now()
        verdict = verdict_of(answer.status if answer else None)
        asked = retry_after(answer.headers.get("retry-after") if answer else None, now)
        status = "delivered"
        due_at: datetime | None = None
        paused: datetime | None = None
        if verdict is not Verdict.ACCEPTED:
            jitter = random.uniform(-1, 1)  # noqa: S311 - jitter
            due_at = next_try_at(now, due.tries, jitter, asked)
            status = "pending" if due_at is not None else "dead"
            paused = pause_until(
                verdict,
                now,
                failures=due.failures + 1,
                failing_since=due.failing_since or now,
                asked=asked,
            )
            if status == "dead":
                logger.warning("%s is given up after %d tries", due.event_id, due.tries)
        return Result(
            merchant=due.merchant,
            endpoint=due.endpoint,
            sequence=due.sequence,
            tries=due.tries,
            status=status,
            due_at=due_at,
            at=now,
            http_status=answer.status if answer else None,
            error=error,
            gone=verdict is Verdict.GONE,
            paused_until=paused,
        )
