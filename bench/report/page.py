"""Writes the page of one record, or of two beside each other: one file that fetches nothing."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jinja2
from msgspec import Struct

from bench.report.record import Record
from bench.report.series import figures, in_words
from bench.report.terminal import banner

_TILES = (
    "goodput at the peak",
    "offered at the peak",
    "p50",
    "p99",
    "shed",
    "failed",
    "commits per payment",
    "CPU per answer: gateway",
)
# The graph's own script makes it as wide as its frame, and each frame of it stays as high.
_FLAME_STYLE = (
    "<style>body { margin: 0; overflow-x: hidden } svg { display: block; width: 100% }</style>"
)
_LOG = "every answer of the generator's log is in the books, once and unaltered"


class Picture(Struct, frozen=True):
    """A picture, what stands above it, and its renderings; a `narrow` one for phones if need be."""

    name: str
    title: str
    caption: str
    wide: bool
    svg: str
    png: bytes
    narrow: str = ""


def page(record: Record, pictures: Sequence[Picture]) -> str:
    """Write one record's page."""
    shown = figures(record)
    tiles = [
        (name, *_apart(in_words(*shown[name]), shown[name][1])) for name in _TILES if name in shown
    ]
    return _render(
        title=f"Floodgate: {record.title.lower()}",
        subtitle=_named(record),
        sides=[_side(record, pictures, "A")],
        tiles=tiles,
        figures=[(name, in_words(*value)) for name, value in shown.items()],
    )


def comparison(
    records: tuple[Record, Record], drawn: tuple[Sequence[Picture], Sequence[Picture]]
) -> str:
    """Write a page with two records side by side; their pictures should share one scale."""
    return _render(
        title="Floodgate: two runs side by side",
        subtitle="The axes of both are the same.",
        sides=[_side(records[i], drawn[i], "AB"[i]) for i in range(2)],
        rows=list(_rows(*records)),
        pairs=list(_pairs(*drawn)),
    )


def _rows(a: Record, b: Record) -> Iterator[tuple[str, str, str, str]]:
    """Give every figure of both, and how many times A's B's is."""
    ours, theirs = figures(a), figures(b)
    for name in dict.fromkeys([*ours, *theirs]):
        both = ours.get(name), theirs.get(name)
        first, second = ("-" if figure is None else in_words(*figure) for figure in both)
        ratio = "-"
        if both[0] and both[1] and both[0][0]:
            ratio = f"{both[1][0] / both[0][0]:.2f}"
        yield name, first, second, ratio


def _pairs(
    a: Sequence[Picture], b: Sequence[Picture]
) -> Iterator[tuple[str, str, tuple[Picture, Picture]]]:
    others = {picture.name: picture for picture in b}
    for picture in a:
        if picture.name in others:
            yield picture.title, picture.caption, (picture, others[picture.name])


def _side(record: Record, pictures: Sequence[Picture], letter: str) -> dict[str, Any]:
    words, colour = banner(record.verdict, record.recording)
    verdict = record.verdict
    log = {
        "id": "log",
        "title": f"{_LOG}; {verdict.asked:,} of them were asked for through the API, too",
        "examined": f"{verdict.compared:,}",
        "holds": not verdict.offences_count,
    }
    proofs = [
        {
            "id": f"({proof.id})",
            "title": proof.title,
            "examined": f"{proof.examined:,}",
            "holds": proof.holds,
        }
        for proof in verdict.proofs
    ]
    notes = [f"({proof.id}) {note}" for proof in verdict.proofs for note in proof.notes]
    if verdict.unanswered:
        notes.append(f"{verdict.unanswered:,} began whose callers heard no good answer: kept.")
    return {
        "letter": letter,
        "named": _named(record),
        "banner": words,
        "colour": {"green": "green", "white on red": "red"}.get(colour, "yellow"),
        "pictures": pictures,
        "kinds": list(_kinds(record)),
        "proofs": [*proofs, log],
        "offences": [
            *(f"({p.id}) {line}" for p in verdict.proofs for line in p.counterexamples),
            *verdict.offences,
        ],
        "notes": notes,
        "facts": list(record.facts.items()),
        "settings": list(record.settings.items()),
        "flame": record.flame,
        "flame_height": _height_of(record.flame),
    }


def _kinds(record: Record) -> Iterator[dict[str, Any]]:
    kinds = record.recording.kinds.items()
    for name, result in sorted(kinds, key=lambda kind: -sum(kind[1].statuses.values())):
        latency = result.latency
        times = [*(latency.percentile(share) for share in (0.5, 0.9, 0.99)), latency.highest]
        statuses = sorted(result.statuses.items())
        yield {
            "name": name,
            "statuses": ", ".join(f"{status or 'none'}: {count:,}" for status, count in statuses),
            "times": [f"{each / 1000:,.1f}" for each in times],
        }


def _named(record: Record) -> str:
    return (
        f"{record.taken_at} · {record.shape}, peak {record.peak:,.0f}/s, {record.seconds:g} s"
        f" · generator: {record.generator} · {record.facts.get('commit', '')}"
    )


def _height_of(svg: str) -> int:
    """Give the height of a picture in pixels, for the frame around it."""
    found = re.search(r'<svg [^>]*?height="(\d+)"', svg)
    return int(found[1]) if found else 600


def _apart(words: str, unit: str) -> tuple[str, str]:
    return words.removesuffix(unit).strip(), unit


def _render(**shown: Any) -> str:
    text = Path(__file__).with_name("page.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined
    )
    return environment.from_string(text).render(
        {"tiles": [], "figures": [], "flame_style": _FLAME_STYLE, **shown}
    )
