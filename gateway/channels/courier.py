"""The only I/O of the channels: send what a channel built, read the answer, never guess."""

import logging
from typing import Final

from gateway.channels.port import Ask, Channel, Verb
from gateway.domain.limits import CHANNEL_ANSWER_SECONDS, CHANNEL_CALLS_MAX
from gateway.domain.outcome import ANOTHER_NUMBER, Outcome, Verdict, checked
from gateway.domain.wire import WireAnswer
from gateway.drivers.clock import Clock
from gateway.drivers.outbound import NeverSent, NoAnswer, Outbound

_log: Final = logging.getLogger(__name__)

# The statuses under which a channel speaks of our request; all others speak of its own trouble.
_SPOKEN: Final = {*range(200, 300), *range(400, 500)} - {408, 425, 429}


class Courier:
    """Carries one question to a channel and brings back one outcome, never an error of the wire.

    At most `calls_max` calls are under way; one more is turned away as "never sent" at once, so
    that a slow acquirer fills this room and not the whole house.
    """

    def __init__(
        self,
        outbound: Outbound,
        clock: Clock,
        *,
        seconds: float = CHANNEL_ANSWER_SECONDS,
        calls_max: int = CHANNEL_CALLS_MAX,
    ) -> None:
        self._outbound = outbound
        self._clock = clock
        self._seconds = seconds
        self._calls_max = calls_max
        self._calls = 0

    async def ask(self, channel: Channel, ask: Ask) -> Outcome:
        """Ask, and wait at most the deadline; everything that is not an answer is UNKNOWN.

        Only what `build` raises passes through: then nothing was sent, and the fault is ours.
        """
        if self._calls >= self._calls_max:
            return Outcome(code="courier_full", sent=False)
        request = channel.build(ask, self._clock.now())
        if isinstance(request, Outcome):
            return request
        self._calls += 1
        try:
            answer = await self._outbound.send(channel.base_url, request, seconds=self._seconds)
        except NeverSent:
            return Outcome(code="never_sent", sent=False)
        except NoAnswer:
            return Outcome(code="no_answer")
        finally:
            self._calls -= 1
        return _agreed(ask, _read(channel, ask, answer))


def _read(channel: Channel, ask: Ask, answer: WireAnswer) -> Outcome:
    """Let the channel read the answer; what it trips over is UNKNOWN, like a sick acquirer."""
    if answer.status not in _SPOKEN:
        return Outcome(code=f"http_{answer.status}")
    try:
        outcome = channel.read(ask, answer)
    except Exception as error:  # noqa: BLE001 -- money may have moved whatever went wrong in here
        # The message and the body stay out of the log: they may hold the payer's data.
        _log.error("%s %s: %s in the answer", channel.name, ask.verb.value, type(error).__name__)
        return Outcome(code="unreadable")
    return outcome if outcome.is_clean else Outcome(code="unreadable")


def _agreed(ask: Ask, outcome: Outcome) -> Outcome:
    """Freeze an outcome about another number or other money than we asked for.

    After CREATE only success is compared: what is held or let go may be more than the capture that
    is asked, which the ledger knows.
    """
    number = ask.number if ask.refund_number is None else ask.refund_number
    if outcome.number not in {None, number}:
        return ANOTHER_NUMBER
    if outcome.verdict is not Verdict.SUCCEEDED and ask.verb is not Verb.CREATE:
        return outcome
    return checked(outcome, amount=ask.amount, currency=ask.currency)
