"""What a load run is to do: where, as whom, how much; handed to every generator process alike."""

import secrets
from pathlib import Path
from typing import Self

import msgspec
from msgspec import Struct

from bench.load.shapes import Leg, arrivals, legs_of, seconds_of, share
from gateway.signing import Credentials

_RETRY_TRIES_MAX = 6
_RETRY_PATIENCE_SECONDS = 0.4
_ANSWER_SECONDS = 30.0


class Plan(Struct, frozen=True, kw_only=True):
    """One run; `part` of `parts` processes takes its share of one schedule.

    `run` stands in every reference and key.  A client waits `patience_seconds` for an answer and
    then tries again with the same key, `tries_max` times in all.  `connections_max` bounds what
    this process may have under way: an arrival beyond it counts as missed.
    """

    run: str
    base_url: str
    simulator_url: str
    key_id: str
    secret: str
    shape: str
    peak: float
    seconds: float
    seed: int = 0
    mix: str = "sale"
    patience_seconds: float = _ANSWER_SECONDS
    tries_max: int = 1
    connections_max: int = 4000
    part: int = 0
    parts: int = 1

    def __repr__(self) -> str:
        return f"Plan({self.run}, {self.shape})"

    @property
    def credentials(self) -> Credentials:
        """Whose requests these are."""
        return Credentials(self.key_id, self.secret)

    @property
    def legs(self) -> tuple[Leg, ...]:
        """The shape in numbers."""
        return legs_of(self.shape, peak=self.peak, seconds=self.seconds)

    @property
    def lasts_seconds(self) -> float:
        """How long arrivals come."""
        return seconds_of(self.legs)

    def schedule(self) -> list[tuple[int, float]]:
        """Give number and second of every arrival of this part."""
        return list(share(arrivals(self.legs, self.seed), part=self.part, parts=self.parts))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a plan's file."""
        return msgspec.json.decode(path.read_bytes(), type=cls)

    def write(self, path: Path) -> None:
        """Write it for a process of ours, readable by us alone: it holds the secret."""
        path.touch(mode=0o600)
        path.write_bytes(msgspec.json.encode(self))


def plan_of(shape: str, *, peak: float, seconds: float, seed: int, demo: dict[str, str]) -> Plan:
    """Plan a run of this shape with the mix and the manners that belong to it.

    `demo` says where and as whom, as in the file `demo.json` of `floodgate dev`.
    """
    is_storm = shape == "retry_storm"
    return Plan(
        run=secrets.token_hex(5),
        base_url=demo["base_url"],
        simulator_url=demo["simulator_url"],
        key_id=demo["key_id"],
        secret=demo["secret"],
        shape=shape,
        peak=peak,
        seconds=seconds,
        seed=seed,
        mix="storm" if is_storm else "sale",
        patience_seconds=_RETRY_PATIENCE_SECONDS if is_storm else _ANSWER_SECONDS,
        tries_max=_RETRY_TRIES_MAX if is_storm else 1,
    )
