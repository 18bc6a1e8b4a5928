"""What a measurement aims at: every target beside what was measured, for `bench.targets`."""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct


class Aim(Struct, frozen=True):
    """One figure; `met` is None where nothing is demanded, and it only helps to read the others."""

    name: str
    target: str
    measured: str
    met: bool | None = None

    @property
    def told(self) -> str:
        """Say whether it is met."""
        return {True: "yes", False: "no", None: ""}[self.met]


def at_least(name: str, measured: float, target: float, unit: str = "") -> Aim:
    """Aim at this much or more."""
    return Aim(name, f"≥ {_number(target)}{unit}", _number(measured) + unit, measured >= target)


def at_most(name: str, measured: float, target: float, unit: str = "") -> Aim:
    """Aim at this much or less."""
    return Aim(name, f"≤ {_number(target)}{unit}", _number(measured) + unit, measured <= target)


def _number(value: float) -> str:
    """Write a number with three digits that matter, as far as the first two decimals have them."""
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 0.1 or value == 0 else 3
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def parser_of(doc: str | None) -> argparse.ArgumentParser:
    """Begin the command line of a measurement that has aims."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--aims", type=Path, help="write targets and figures there, too, as JSON")
    return parser


def tell(aims: Sequence[Aim], path: Path | None = None) -> None:
    """Print the aims, and write them where somebody wants them."""
    print("\n".join(lines(aims)))
    if path is not None:
        path.write_bytes(msgspec.json.encode(aims))


def read(path: Path) -> list[Aim]:
    """Read what a measurement wrote."""
    return msgspec.json.decode(path.read_bytes(), type=list[Aim])


def lines(aims: Iterable[Aim]) -> list[str]:
    """Write aims as the lines of a Markdown table, its columns even."""
    rows = [("", "target", "measured", "met")]
    rows += [(aim.name, aim.target, aim.measured, aim.told) for aim in aims]
    wide = [max(len(row[column]) for row in rows) for column in range(4)]
    rows.insert(1, tuple("-" * width for width in wide))  # type: ignore[arg-type]  # four of them
    return [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, wide, strict=True)) + " |"
        for row in rows
    ]
