"""All that one load run left behind, kept as JSON beside its page: it can be drawn again."""

from pathlib import Path
from typing import Self

import msgspec
from msgspec import Struct, field

from bench.load.judge import Verdict
from bench.load.plan import Plan
from bench.load.recorder import Recording
from bench.load.sampler import Sample


class Record(Struct, kw_only=True):
    """One run.  `facts` are what a reader must know of machine and code, in order of interest.

    `capacity` is what a closed run reached just before (payments a second), 0 where none was made;
    `flame` is the gateway's flame graph as SVG, if one was asked for.
    """

    title: str
    taken_at: str
    shape: str
    peak: float
    seconds: float
    generator: str
    capacity: float = 0.0
    recording: Recording
    samples: list[Sample] = field(default_factory=list)
    verdict: Verdict
    facts: dict[str, str] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    flame: str = ""

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a record's file."""
        return msgspec.json.decode(path.read_bytes(), type=cls)

    def write(self, path: Path) -> None:
        """Write it."""
        path.write_bytes(msgspec.json.encode(self))


def title_of(plan: Plan) -> str:
    """Name a run after its shape."""
    return {
        "spike": "Flash sale",
        "steps": "Steps",
        "soak": "Soak",
        "retry_storm": "Retry storm",
    }[plan.shape]
