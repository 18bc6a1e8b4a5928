"""A gateway worker that answers for the acquirer where nobody has to be asked, for `capacity`.

    FLOODGATE_…=… python -m bench.load.unasked

The simulated acquirer draws its QR codes itself; here the channel draws them, as others sign a page
for the payer, and declares so.  All else is the worker of `floodgate serve`, and a payment is one
commit.
"""

from datetime import datetime

import uvloop
from msgspec.structs import replace

from gateway import worker
from gateway.channels.port import Ask, Verb
from gateway.channels.simulator.channel import SimulatorChannel
from gateway.domain.outcome import NextAction, Outcome, Verdict
from gateway.domain.wire import WireRequest
from gateway.settings import read_settings

METHOD = {"type": "qr"}
_build = SimulatorChannel.build


def _answer_or_build(channel: SimulatorChannel, ask: Ask, now: datetime) -> WireRequest | Outcome:
    if ask.verb is not Verb.CREATE or ask.method["type"] != METHOD["type"]:
        return _build(channel, ask, now)
    drawn = NextAction("qr", qr=f"invoice:{ask.number}")
    return Outcome(Verdict.REQUIRES_ACTION, code="drawn", next_action=drawn)


if __name__ == "__main__":
    draws = frozenset({METHOD["type"]})
    SimulatorChannel.build = _answer_or_build  # type: ignore[method-assign,assignment]
    SimulatorChannel.capabilities = replace(SimulatorChannel.capabilities, draws=draws)  # type: ignore[misc]
    uvloop.run(worker.serve(read_settings()))
