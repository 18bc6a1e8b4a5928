"""How well the channels are, as this worker's router knows it, in `/metrics`."""

from gateway.drivers import telemetry
from gateway.routing.health import LONG_SECONDS, SHORT_SECONDS, Ward


def show(ward: Ward, now: int) -> None:
    """Write it down for every channel that was asked, and every bank at it; `now` in seconds."""
    for (channel, bank), patient in ward:
        named = (channel, bank or "")
        telemetry.CHANNEL_WELL.labels(*named).set(patient.is_well)
        telemetry.CHANNEL_USUAL_SHARE.labels(*named).set(patient.usual_share)
        for seconds in (SHORT_SECONDS, LONG_SECONDS):
            tally = patient.ring.last(seconds, now)
            whole = max(1, tally.answers)
            for kind, count in (("error", tally.error), ("unknown", tally.unknown)):
                gauge = telemetry.CHANNEL_BAD_SHARE.labels(*named, kind, seconds)
                gauge.set(count * 10_000 // whole)
