"""The only I/O of the channels: send what a channel built, read the answer, never guess."""

import logging
from contextlib import AbstractContextManager
from typing import Final

from gateway.channels.lanes import Call, Lanes
from gateway.channels.port import Ask, Channel, Verb
from gateway.domain.limits import CHANNEL_ANSWER_SECONDS
from gateway.domain.outcome import ANOTHER_NUMBER, Outcome, Verdict, checked
from gateway.domain.stages import Routed
from gateway.domain.wire import WireAnswer, WireRequest
from gateway.drivers.clock import Clock
from gateway.drivers.outbound import NeverSent, NoAnswer, Outbound

_log: Final = logging.getLogger(__name__)

UNREADABLE: Final = "unreadable"

# Looked up for every call, here without the way through their classes.
_CREATE: Final = Verb.CREATE
_QUERY: Final = Verb.QUERY
_SUCCEEDED: Final = Verdict.SUCCEEDED
# The statuses under which a channel speaks of our request; all others speak of its own trouble.
_SPOKEN: Final = {*range(200, 300), *range(400, 500)} - {408, 425, 429}


class Courier:
    """Carries one question to a channel and brings back one outcome, never an error of the wire.

    A call for which its lane has no room, or whose breaker is open, is not made: "never sent".
    """

    def __init__(
        self,
        outbound: Outbound,
        clock: Clock,
        *,
        lanes: Lanes | None = None,
        seconds: float = CHANNEL_ANSWER_SECONDS,
    ) -> None:
        self._outbound = outbound
        self._clock = clock
        self._lanes = lanes if lanes is not None else Lanes(lambda _: ())
        self._seconds = seconds

    def place(self, routed: Routed) -> AbstractContextManager[None]:
        """Keep a place for the first call of a new payment; `Problem` 503 when there is none."""
        return self._lanes.place(routed)

    async def fetch(self, channel: Channel, request: WireRequest) -> WireAnswer | None:
        """Fetch what concerns no payment, and so needs no lane; None when there is no answer."""
        try:
            return await self._outbound.send(channel.base_url, request, seconds=self._seconds)
        except (NeverSent, NoAnswer):
            return None

    async def ask(self, channel: Channel, ask: Ask) -> Outcome:
        """Ask, and wait at most the deadline; everything that is not an answer is UNKNOWN.

        Only what `build` raises passes through: then nothing was sent, and the fault is ours.
        """
        call = self._lanes.begin(channel.name, ask.verb, ask.number)
        if not isinstance(call, Call):
            return Outcome(code=call, sent=False)
        try:
            request = channel.build(ask, ask.asked_at or self._clock.now())
            if isinstance(request, Outcome):
                return request
            begun = self._outbound.begin(channel.base_url, request, seconds=self._seconds)
            if begun is None:
                answer = await self._outbound.send(channel.base_url, request, seconds=self._seconds)
            else:
                coming, connection = begun
                try:
                    answer = await coming
                except BaseException:
                    connection.leave(coming)
                    raise
        except NeverSent:
            call.went(well=False)
            return Outcome(code="never_sent", sent=False)
        except NoAnswer:
            call.went(well=False)
            return Outcome(code="no_answer")
        else:
            outcome, well = _heard(channel, ask, answer)
            call.went(well=well)
            return outcome
        finally:
            call.over()


def _heard(channel: Channel, ask: Ask, answer: WireAnswer) -> tuple[Outcome, bool]:
    """Say what an answer means, and whether it is that of a channel that is well.

    What the channel trips over is UNKNOWN, like a sick acquirer.
    """
    if answer.status not in _SPOKEN:
        return Outcome(code=f"http_{answer.status}"), False
    try:
        outcome = channel.read(ask, answer)
    except Exception as error:  # noqa: BLE001 -- money may have moved whatever went wrong in here
        # The message and the body stay out of the log: they may hold the payer's data.
        _log.error("%s %s: %s in the answer", channel.name, ask.verb.value, type(error).__name__)
        return Outcome(code=UNREADABLE), False
    if not outcome.is_clean:
        return Outcome(code=UNREADABLE), False
    return _agreed(ask, outcome), outcome.code != UNREADABLE


def _agreed(ask: Ask, outcome: Outcome) -> Outcome:
    """Freeze an outcome about another number or other money than we asked for.

    After CREATE only success is compared: what is held or let go may be more than the capture that
    is asked, which the ledger knows.  Nor is another transaction beside the one that is booked: it
    has an amount of its own, and the ledger books it apart.
    """
    number = outcome.number
    if number is not None:
        asked = ask.number if ask.refund_number is None else ask.refund_number
        if number != asked:
            return ANOTHER_NUMBER
    verb = ask.verb
    if verb is not _CREATE and outcome.verdict is not _SUCCEEDED:
        return outcome
    if verb is _QUERY and _is_beside(ask, outcome):
        return outcome
    return checked(outcome, amount=ask.amount, currency=ask.currency)


def _is_beside(ask: Ask, outcome: Outcome) -> bool:
    known = {None, ask.channel_transaction}
    is_booked = bool(ask.captured) and ask.channel_transaction is not None
    return is_booked and outcome.channel_transaction not in known
