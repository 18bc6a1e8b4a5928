"""The report of recorded data: its figures, its page, and two pages side by side."""

import io
import re
from pathlib import Path

import pytest
from msgspec.structs import replace
from rich.console import Console

from bench.load.judge import ProofShown, Verdict
from bench.load.recorder import Recording, Second
from bench.load.sampler import Sample, labelled, read_metrics
from bench.report import __main__ as command
from bench.report import series
from bench.report.page import Picture, comparison, page
from bench.report.record import Record
from bench.report.terminal import show_figures, show_run

PICTURE = Picture(
    name="throughput",
    title="What was asked",
    caption="Offered and good",
    wide=True,
    svg="<svg id='p'/>",
    png=b"",
)


def metrics(flushes: float, items: float, seconds: float) -> dict[str, float]:
    return {
        'floodgate_batch_items_count{queue="open"}': flushes,
        'floodgate_batch_items_sum{queue="open"}': items,
        'floodgate_batch_items_count{queue="post"}': flushes,
        'floodgate_batch_items_sum{queue="post"}': items,
        'floodgate_step_seconds_count{step="settle"}': flushes,
        'floodgate_step_seconds_sum{step="settle"}': seconds,
        'floodgate_step_seconds_count{step="verify"}': flushes,
        'floodgate_step_seconds_sum{step="verify"}': seconds / 2,
    }


@pytest.fixture
def record() -> Record:
    """Two seconds: 10 and 100 arrivals, of which 60 are refused and 40 take 20 ms."""
    recording = Recording(cpu_seconds=0.011)
    for at, offered, refused in ((0.5, 10, 0), (1.5, 100, 60)):
        for number in range(offered):
            recording.due(at)
            status = 503 if number < refused else 201
            recording.ended("pay", [status], at=at, latency=0.002 if status == 503 else 0.02)
    return Record(
        title="Flash sale",
        taken_at="2026-05-01 12:00 UTC",
        shape="spike",
        peak=100,
        seconds=2,
        generator="lean",
        capacity=50,
        recording=recording,
        samples=[
            Sample(-3.0, {"gateway": 0.1, "generator": 0.0}, 9, {"gateway": 9}, metrics(1, 1, 0)),
            Sample(
                *(0.0, {"gateway": 1.0, "generator": 2.0}, 100),
                *({"gateway": 2**20}, metrics(10, 10, 0.0)),
            ),
            Sample(
                *(1.0, {"gateway": 1.2, "redis": 0.1, "generator": 2.0, "others": 0.4}, 110),
                *({}, metrics(20, 20, 0.1)),
            ),
            Sample(
                *(2.0, {"gateway": 2.1, "redis": 0.1, "generator": 2.1, "others": 0.6}, 114),
                *({}, metrics(24, 60, 0.5)),
            ),
        ],
        verdict=Verdict(proofs=[ProofShown("g", "the books agree", holds=True, examined=50)]),
        facts={"commit": "abc123", "cores": "2"},
        settings={"simulator_secret": "***"},
    )


def test_lines_over_time(record: Record) -> None:
    assert series.rates(record)["offered"] == [(0.5, 10), (1.5, 100)]
    assert series.rates(record)["shed"] == [(0.5, 0), (1.5, 60)]
    assert series.curve(record) == {"good": [(10, 10), (100, 40)], "shed": [(100, 60)]}
    assert [ms for _, ms in series.percentiles(record)["p99"]] == pytest.approx([20, 20], rel=0.02)
    sizes = [(0.5, 1.0), (1.5, 10.0)]
    assert series.batch_sizes(record) == {"open": sizes, "post": sizes}
    own, everything = series.commits_per_payment(record).values()
    assert (own, everything) == ([(0.5, 2.0), (1.5, 0.2)], [(0.5, 1.0), (1.5, 0.1)])
    gateway, _, redis, _ = series.cpu(record).values()
    assert [round(cores, 3) for _, cores in gateway] == [0.2, 0.9]
    assert [round(cores, 3) for _, cores in redis] == [0.1, 0.0]
    assert series.memory(record) == {"gateway": [(0.0, 1.0)]}


def test_a_database_that_crashed_counts_anew(record: Record) -> None:
    record.samples[-1].commits = 3
    assert series.transactions(record) == 10
    assert series.commits_per_payment(record)["all transactions, by answers"] == [(0.5, 1.0)]


def test_a_mere_moment_gives_no_rate(record: Record) -> None:
    before = series.cpu(record)
    last = record.samples[-1]
    moment = replace(last, at=last.at + 0.01, cpu=last.cpu | {"others": 0.64})
    record.samples = [*record.samples, moment]
    assert series.cpu(record) == before
    assert series.cpu_used(record)["others"] == pytest.approx(0.64), "but it is counted"


def test_steps_come_in_the_order_of_the_story(record: Record) -> None:
    steps = series.step_times(record)
    assert list(steps) == ["verify", "settle"]
    assert steps["settle"] == pytest.approx(0.5 / 14 * 1000)


def test_the_spectrum_ends_where_there_are_too_few_answers(record: Record) -> None:
    assert max(share for share, _ in series.spectrum(record)) == 0.98


def test_figures(record: Record) -> None:
    shown = series.figures(record)
    assert shown["goodput at the peak"] == (40, "/s")
    assert shown["commits per payment"][0] == pytest.approx(28 / 50)
    assert shown["transactions per answer, all"][0] == pytest.approx(14 / 50)
    assert shown["items in a flush: open"][0] == pytest.approx(50 / 14)
    assert shown["CPU per answer: gateway"][0] == pytest.approx(1.1e6 / 50)
    assert shown["CPU per answer: generator"][0] == pytest.approx(0.011e6 / 50)
    assert "CPU per answer: others" not in shown
    assert shown["cores that others took"][0] == pytest.approx(0.3)
    assert shown["p99 of refusals"][0] == pytest.approx(2, rel=0.02)


def test_what_was_offered_at_the_peak_is_of_the_same_seconds_as_what_was_good(
    record: Record,
) -> None:
    record.recording.seconds = [
        Second(offered=offered, served=served)
        for offered, served in ((10, 10), (95, 95), (100, 90), (89, 0))
    ]
    assert series.at_the_peak(record) == (97.5, 92.5)
    record.recording.seconds = []
    assert series.at_the_peak(record) == (0, 0)


def test_numbers_as_people_read_them() -> None:
    words = [series.in_words(value, unit) for value, unit in ((1234.5, "/s"), (12.34, "ms"))]
    assert [*words, series.in_words(0.126, "")] == ["1,234 /s", "12.3 ms", "0.13"]


def test_the_terminal_shows_every_figure(record: Record) -> None:
    console = Console(record=True, width=120, file=io.StringIO())
    show_figures(console, series.figures(record))
    told = console.export_text()
    for name, figure in series.figures(record).items():
        assert re.search(rf"{name} *│ *{series.in_words(*figure)} ", told)


def test_the_terminal_says_what_the_generator_itself_used(record: Record) -> None:
    console = Console(record=True, width=120, file=io.StringIO())
    show_run(console, replace(record.recording, cpu_seconds=1.26, late_seconds=0.004, missed=2))
    assert (
        "used 1.3 s of CPU, was behind its schedule by 4 ms at most, and missed 2 starts"
        in console.export_text()
    )


def test_a_run_without_an_arrival_has_a_page(record: Record) -> None:
    empty = replace(record, recording=Recording(), samples=[])
    assert series.Scale.of(empty).seconds == 1
    assert "nothing was answered" in page(empty, [])


def test_a_phone_is_shown_what_was_drawn_for_it(record: Record) -> None:
    narrow = replace(PICTURE, narrow="<svg id='phone'/>")
    for text in (page(record, [narrow]), comparison((record, record), ([narrow], [narrow]))):
        for side in ("broad", "narrow"):
            assert re.search(rf'<div class="{side}"><svg id', text)
        assert text.count("<svg id='phone'/>") == text.count("<svg id='p'/>")
    assert '<div class="narrow">' not in page(record, [PICTURE])


def test_the_frame_of_a_flame_graph_is_as_high_as_the_graph(record: Record) -> None:
    flame = '<svg version="1.1" width="1200" height="474" onload="init(evt)"></svg>'
    assert 'style="height: 474px"' in page(replace(record, flame=flame), [])


def test_a_page_stands_alone_and_shows_what_counts(record: Record) -> None:
    text = page(record, [PICTURE])
    for words in ("PROVED", "<svg id='p'/>", "abc123", "the books agree", "201: 50, 503: 60"):
        assert words in text
    assert not re.findall(r"(?:src|href)=[\"']?(?:https?:)?//", text)
    assert "@import" not in text


def test_a_red_run_is_red_on_its_page_and_words_are_no_markup(record: Record) -> None:
    record.verdict.offend(["<b>r-1</b> is lost"])
    text = page(record, [])
    assert 'class="banner red"' in text
    assert "&lt;b&gt;r-1&lt;/b&gt; is lost" in text


def test_two_records_stand_side_by_side_on_one_scale(record: Record) -> None:
    other = replace(record, capacity=100, title="Other")
    text = comparison((record, other), ([PICTURE], [PICTURE]))
    assert text.count("<svg id='p'/>") == 2
    row = re.search(r"capacity, closed loop</td>(.*?)</tr>", text)
    assert row
    assert re.findall(r">([^<>]+)<", row[1]) == ["50 /s", "100 /s", "2.00"]
    scale = series.Scale.of(record, replace(record, recording=Recording()))
    assert (scale.seconds, scale.rate) == (2, 100)
    dearer = replace(record, recording=replace(record.recording, cpu_seconds=1.1))
    wide = series.Scale.of(record, dearer)
    assert wide.cost_us == pytest.approx(1.1e6 / 50)
    assert wide.step_ms == pytest.approx(0.5 / 14 * 1000)
    assert wide.mebibytes == 1


def test_a_record_survives_its_file(record: Record, tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    record.write(path)
    assert Record.read(path) == record


def test_a_file_that_is_no_record_is_said_to_be_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing, page_of_one = tmp_path / "record.json", tmp_path / "report.html"
    page_of_one.write_text("<!doctype html>")
    assert command.main(["draw", str(missing)]) == 1
    assert capsys.readouterr().err == f"{missing}: No such file or directory\n"
    to = ["--to", str(tmp_path / "compare.html")]
    assert command.main(["compare", str(page_of_one), str(page_of_one), *to]) == 1
    assert "no record.json of a load run" in capsys.readouterr().err


def test_metrics_are_read_by_label() -> None:
    text = '# HELP x\nfloodgate_x_sum{queue="a",w="1"} 2.5\nfloodgate_x_sum{queue="a",w="2"} 1e1\n'
    read = read_metrics(text + "python_info 1\nfloodgate_y 3\n")
    assert labelled(read, "floodgate_x_sum", "queue") == {"a": 12.5}
    assert read["floodgate_y"] == 3
    assert len(read) == 3
