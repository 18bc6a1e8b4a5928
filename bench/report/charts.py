"""Draws a record: each picture as PNG for a slide, and as SVG whose colours follow the page."""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from bench.report import series
from bench.report.page import Picture
from bench.report.record import Record
from bench.report.series import Line, Scale

# In the page's SVG these three become variables of its style sheet, light or dark.
_INK, _MUTED, _GRID = "#1f2933", "#66758a", "#dde3ea"
_VARIABLES = {_INK: "var(--ink)", _MUTED: "var(--muted)", _GRID: "var(--grid)"}

_OFFERED, _GOOD, _SHED, _FAILED = "#8a99ad", "#0f9d76", "#e8962e", "#d9485f"
_BLUE, _VIOLET, _TEAL, _PINK = "#3d7edb", "#8b63d6", "#27a5b8", "#d06ab0"
_PARTS = {
    "gateway": _BLUE,
    "postgres": _GOOD,
    "simulator": _VIOLET,
    "generator": _OFFERED,
    "worker": _SHED,
    "redis": _FAILED,
    "launcher": _TEAL,
    "others": _GRID,
}
_MORE = (_BLUE, _GOOD, _SHED, _VIOLET, _TEAL, _PINK, _FAILED, _OFFERED)
_WIDE, _HALF, _LOW, _PAIRED = (11.2, 3.9), (5.5, 3.7), (11.2, 2.9), (7.2, 3.6)

mpl.use("Agg")
_STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 9.5,
    "svg.fonttype": "none",
    "text.color": _INK,
    "axes.labelcolor": _MUTED,
    "axes.edgecolor": _GRID,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "grid.color": _GRID,
    "grid.linewidth": 0.8,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "ytick.minor.size": 0,
    "xtick.minor.size": 0,
    "legend.frameon": False,
    "legend.handlelength": 1.4,
    "lines.linewidth": 1.9,
    "lines.solid_capstyle": "round",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}


Draw = Callable[[Axes, Record, Scale], None]


def _throughput(axes: Axes, record: Record, scale: Scale) -> None:
    lines = series.rates(record)
    x, y = _columns(lines["offered"])
    axes.fill_between(x, y, color=_OFFERED, alpha=0.22, linewidth=0, label="offered")
    axes.plot(x, y, color=_OFFERED, linewidth=1)
    # Broad and pale, so that it is seen where everything that was answered was good.
    axes.plot(*_columns(lines["answered"]), color=_BLUE, label="answered", linewidth=6, alpha=0.4)
    axes.plot(*_columns(lines["good"]), color=_GOOD, label="good")
    for name, colour in (("shed", _SHED), ("failed", _FAILED)):
        if any(value for _, value in lines[name]):
            axes.plot(*_columns(lines[name]), color=colour, label=name)
    axes.set_ylim(0, scale.rate * 1.06)
    _over_time(axes, scale, "requests per second")
    _legend(axes)


def _latency(axes: Axes, record: Record, scale: Scale) -> None:
    _heat(axes, record)
    colours = {"max": _OFFERED, "p99": _FAILED, "p90": _SHED, "p50": _BLUE}
    lines = series.percentiles(record)
    for name, colour in colours.items():
        thin = 1.0 if name == "max" else 1.9
        axes.plot(*_columns(lines[name]), color=colour, label=name, linewidth=thin)
    axes.set_yscale("log")
    axes.set_ylim(0.7, scale.milliseconds * 1.4)
    axes.yaxis.set_major_formatter(FuncFormatter(_milliseconds))
    _over_time(axes, scale, "latency from the scheduled start")
    _legend(axes)


def _heat(axes: Axes, record: Record) -> None:
    """Shade how many requests took how long in each second."""
    seconds = record.recording.seconds
    if not seconds:
        return
    edges = np.geomspace(0.7, 30_000, 70)
    counts = np.zeros((len(edges) - 1, len(seconds)))
    for at, second in enumerate(seconds):
        for milliseconds, count in second.latency.points():
            row = int(np.searchsorted(edges, milliseconds)) - 1
            counts[min(max(row, 0), len(edges) - 2), at] += count
    shades = LinearSegmentedColormap.from_list("heat", ["#3d7edb26", "#3d7edb99"])
    axes.pcolormesh(
        np.arange(len(seconds) + 1),
        edges,
        np.ma.masked_equal(counts, 0),
        cmap=shades,
        norm=LogNorm(1, max(counts.max(), 2)),
        rasterized=True,
        linewidth=0,
    )


def _spectrum(axes: Axes, record: Record, scale: Scale) -> None:
    line = series.spectrum(record)
    axes.plot([1 / (1 - share) for share, _ in line], [ms for _, ms in line], color=_BLUE)
    axes.plot(
        [1 / (1 - share) for share, _ in line], [ms for _, ms in line], "o", color=_BLUE, ms=4
    )
    axes.set_xscale("log")
    shares = [0.5, 0.9, 0.99, 0.999, 0.9999]
    axes.set_xticks(
        [1 / (1 - share) for share in shares], [f"{share * 100:g} %" for share in shares]
    )
    axes.set_xlim(1.2, 1.3e4)
    axes.set_yscale("log")
    axes.set_ylim(0.7, scale.milliseconds * 1.4)
    axes.yaxis.set_major_formatter(FuncFormatter(_milliseconds))
    axes.set_xlabel("share of the answers")
    axes.set_ylabel("took at most")


def _curve(axes: Axes, record: Record, scale: Scale) -> None:
    lines = series.curve(record)
    axes.plot([0, scale.rate], [0, scale.rate], color=_OFFERED, linewidth=1, dashes=(4, 3))
    for name, colour in (("good", _GOOD), ("shed", _SHED)):
        if lines[name]:
            axes.plot(
                *_columns(lines[name]), "o", color=colour, ms=5, alpha=0.65, mew=0, label=name
            )
    axes.set_xlim(0, scale.rate * 1.03)
    axes.set_ylim(0, scale.rate * 1.06)
    axes.set_xlabel("offered in a second")
    axes.set_ylabel("of these, per second")
    _plain(axes)
    axes.xaxis.set_major_formatter(FuncFormatter(_thousands))
    _legend(axes)


def _cpu(axes: Axes, record: Record, scale: Scale) -> None:
    lines = series.cpu(record)
    if lines:
        x = _columns(next(iter(lines.values())))[0]
        more = iter(_MORE)
        colours = [_PARTS.get(part) or next(more) for part in lines]
        heights = [_columns(line)[1] for line in lines.values()]
        axes.stackplot(x, *heights, labels=list(lines), colors=colours, alpha=0.85, linewidth=0)
    axes.set_ylim(0, scale.cores * 1.08)
    _over_time(axes, scale, "cores busy")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    _legend(axes, columns=8 if _inches(axes) > _PAIRED[0] else 4)


def _batches(axes: Axes, record: Record, scale: Scale) -> None:
    for colour, (queue, line) in zip(_MORE, series.batch_sizes(record).items(), strict=False):
        axes.plot(*_columns(line), color=colour, label=queue)
    axes.set_ylim(0, scale.items * 1.08)
    _over_time(axes, scale, "items in one flush")
    _legend(axes)


def _commits(axes: Axes, record: Record, scale: Scale) -> None:
    lines = series.commits_per_payment(record)
    for colour, (name, line) in zip((_VIOLET, _OFFERED), lines.items(), strict=True):
        axes.plot(*_columns(line), color=colour, label=name)
    axes.set_yscale("log")
    axes.set_ylim(0.01, max(scale.commits * 1.5, 1))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    _over_time(axes, scale, "commits")
    _legend(axes)


def _memory(axes: Axes, record: Record, scale: Scale) -> None:
    lines = series.memory(record)
    for part, line in lines.items():
        axes.plot(*_columns(line), color=_PARTS.get(part, _PINK), label=part)
    axes.set_ylim(0, scale.mebibytes * 1.15)
    _over_time(axes, scale, "MiB of its own")
    _legend(axes, columns=3)


def _cost(axes: Axes, record: Record, scale: Scale) -> None:
    used = series.cpu_per_answer(record)
    _bars(axes, used, scale.cost_us, [_PARTS.get(part, _BLUE) for part in used])
    axes.set_xlabel("µs of CPU for one answer")


def _steps(axes: Axes, record: Record, scale: Scale) -> None:
    taken = series.step_times(record)
    _bars(axes, taken, scale.step_ms, [_BLUE] * len(taken))
    axes.set_xlabel("ms from begin to end of the step, on average")


def _bars(axes: Axes, values: Mapping[str, float], most: float, colours: Sequence[str]) -> None:
    axes.barh(list(values), list(values.values()), color=colours, height=0.62)
    for row, value in enumerate(values.values()):
        axes.annotate(
            series.in_words(value, ""),
            (value, row),
            (6, 0),
            textcoords="offset points",
            va="center",
            color=_INK,
            fontsize=9,
        )
    axes.invert_yaxis()
    axes.set_xlim(0, most * 1.16)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", labelcolor=_INK)
    axes.xaxis.set_major_formatter(FuncFormatter(_thousands))
    axes.xaxis.set_major_locator(MaxNLocator(5))


# Name, title, caption, whether it takes the whole width, how it is drawn.
_PICTURES: tuple[tuple[str, str, str, bool, Draw], ...] = (
    (
        "throughput",
        "What was asked, and what came of it",
        (
            "Offered: arrivals of the schedule, which waits for nobody. Answered, good and shed are"
            " drawn when the answer came. Good: 2xx within a second of the scheduled start, or"
            " however late by its script. Shed: 429 and 503, nothing was begun."
        ),
        True,
        _throughput,
    ),
    (
        "latency",
        "How long it took, second by second",
        (
            "By when a request was due; refusals and calls whose script keeps silent are left out."
            " The shade behind the lines is how many took how long."
        ),
        True,
        _latency,
    ),
    (
        "spectrum",
        "Latency by share of the answers",
        "Over the whole run; the right end is what the unluckiest met.",
        False,
        _spectrum,
    ),
    (
        "curve",
        "Goodput against offered load",
        "One dot a second; on the dashed line everything that was asked was answered in time.",
        False,
        _curve,
    ),
    (
        "cpu",
        "CPU by component",
        "Everything shares this machine, the generator, too; others are whoever else used it.",
        True,
        _cpu,
    ),
    (
        "batches",
        "Batch sizes",
        "Items that shared one flush of a queue, on average: a flood shares its round trips.",
        False,
        _batches,
    ),
    (
        "commits",
        "Commits per payment",
        (
            "For one payment: flushes that open it and post it. All: reads, notices, refunds and"
            " background work, too; PostgreSQL tells of these up to a second late."
        ),
        False,
        _commits,
    ),
    ("memory", "Memory by component", "What a component shares with nobody.", False, _memory),
    (
        "cost",
        "CPU per answer",
        (
            "CPU time over the whole run by its answers but refusals, whose cost is in it. Where"
            " few share a flush, each costs more; a short run holds a part of the worker's start."
        ),
        False,
        _cost,
    ),
    (
        "steps",
        "Time per step",
        "Waiting for a batch or an acquirer counts, also for one whose script keeps silent.",
        True,
        _steps,
    ),
)


def draw(record: Record, scale: Scale | None = None) -> list[Picture]:
    """Draw every picture that this record has something for; on a scale that is given, a pair."""
    own = Scale.of(record)
    drawn = []
    with mpl.rc_context(_STYLE):
        for name, title, caption, is_wide, how in _PICTURES:
            if name == "steps" and not series.step_times(record):
                continue
            size = _PAIRED if scale else _LOW if name == "steps" else _WIDE if is_wide else _HALF

            def drawn_as(size: tuple[float, float], how: Draw = how) -> Figure:
                figure = Figure(figsize=size, layout="constrained")
                axes = figure.subplots()
                how(axes, record, scale or own)
                for line in axes.lines:  # a short run may have left a single point
                    line.set_marker("o" if len(line.get_xdata()) == 1 else line.get_marker())
                return figure

            figure = drawn_as(size)
            narrow = "" if size == _HALF else _svg(drawn_as(_HALF))
            drawn.append(
                Picture(name, title, caption, is_wide, _svg(figure), _png(figure, title), narrow)
            )
    return drawn


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, variable)
    # The page decides about the size and the letters.
    svg = re.sub(r'(<svg [^>]*?)\s(?:width|height)="[^"]*pt"', r"\1", svg, count=2)
    return re.sub(r'(<svg [^>]*?)\s(?:width|height)="[^"]*pt"', r"\1", svg, count=1)


def _png(figure: Figure, title: str) -> bytes:
    data = io.BytesIO()
    figure.suptitle(title, fontsize=12, x=0.01, ha="left", weight="bold")
    figure.savefig(data, format="png", dpi=144, facecolor="white")
    return data.getvalue()


def _columns(line: Line) -> tuple[list[float], list[float]]:
    return [x for x, _ in line], [y for _, y in line]


def _over_time(axes: Axes, scale: Scale, label: str) -> None:
    axes.set_xlim(0, scale.seconds)
    axes.set_xlabel("seconds")
    axes.set_ylabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
    if axes.get_yscale() == "linear":
        _plain(axes)


def _plain(axes: Axes) -> None:
    axes.yaxis.set_major_formatter(FuncFormatter(_thousands))
    axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))


def _thousands(value: float, _: Any) -> str:
    return f"{value:,.10g}"  # a tick may lie at 2.5


def _milliseconds(value: float, _: Any) -> str:
    return f"{value / 1000:g} s" if value >= 1000 else f"{value:g} ms"


def _inches(axes: Axes) -> float:
    """Say how wide the picture is."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    return float(figure.get_size_inches()[0])


def _legend(axes: Axes, columns: int = 5) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=columns, borderaxespad=0.2)
