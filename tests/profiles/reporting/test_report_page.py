"""What a report says: the same in every view, the verdict first, and no figure that nobody measured."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import jsonschema
import pytest

from edgepress.profiles.findings.files import json_text
from edgepress.profiles.findings.gap import Gap
from edgepress.profiles.findings.report import Report, latency_text
from edgepress.profiles.findings.sensitivity import LayerParity, ParityByLayer
from edgepress.profiles.reporting.accuracy import by_layer_blocks
from edgepress.profiles.reporting.bundle import arms
from edgepress.profiles.reporting.content import Bars, Course, Distribution, Page, Scatter, Table
from edgepress.profiles.reporting.html import html
from edgepress.profiles.reporting.markdown import figures, markdown
from edgepress.profiles.reporting.page import document_of, json_schema, page_of
from edgepress.profiles.reporting.render import rendered
from edgepress.profiles.reporting.reportable import BundleFindings, Reportable
from edgepress.profiles.timing.measurement import Measurement

from ._subjects import (
    comparison,
    decoder,
    decoder_profile,
    measured,
    measured_report,
    profile,
    samples,
    unmeasured,
    unmeasured_decoder,
)

SCHEMA = Path(__file__).parents[3] / "docs" / "report.schema.json"
DATE = "2026-01-01T00:00:00+00:00"
SUBJECTS = {
    "bundle": measured,
    "unmeasured": unmeasured,
    "profile": profile,
    "comparison": comparison,
    "decoder": decoder,
    "unmeasured decoder": unmeasured_decoder,
    "decoder's profile": decoder_profile,
}


class Text(HTMLParser):
    """The words of a page, with one space between elements; what is drawn is left out."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.skipped = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.skipped += tag in ("svg", "style")

    def handle_endtag(self, tag: str) -> None:
        self.skipped -= tag in ("svg", "style")

    def handle_data(self, data: str) -> None:
        if not self.skipped:
            self.words.append(data)


def said(text: str) -> str:
    parser = Text()
    parser.feed(text)
    return plain("".join(parser.words))


def plain(text: str) -> str:
    """Without mark-up, and with one kind of space: what the views have in common."""
    return re.sub(r"\s+", " ", re.sub(r"[`*|\\]", "", text))


def texts(page: Page) -> list[str]:
    """Every text of a page."""
    found = [page.title, page.made]
    for part in page.parts:
        found += [part.title, part.about, part.verdict]
        found += [text for tile in part.tiles for text in (tile.topic, tile.label, tile.found, *tile.details)]
    sections = [*page.overview, *(section for part in page.parts for section in part.sections)]
    for section in sections:
        found.append(section.title)
        for block in section.blocks:
            data = json.loads(json.dumps(block, default=lambda o: {k: getattr(o, k) for k in o.__slots__}))
            found += [text for key in ("title", "says", "text") if isinstance(text := data.get(key), str)]
            found += data.get("items", [])
            if not isinstance(block, Table) and hasattr(block, "says"):
                block = figures(block)
            if isinstance(block, Table):
                found += [cell for row in (block.head, *block.rows) for cell in row]
    return [text for text in found if text]


@pytest.mark.parametrize("kind", SUBJECTS)
def test_every_view_says_the_same(kind: str) -> None:
    page = page_of([SUBJECTS[kind]()], DATE)
    views = {"html": said(html(page)), "md": plain(markdown(page))}
    assert len(texts(page)) > 40
    for text in texts(page):
        for view, content in views.items():
            wanted = plain(text).strip()
            if view == "html" and page.parts[0].title == text:
                continue  # one part has no heading beside the page's
            assert wanted in content, f"{view} lacks {text!r}"


@pytest.mark.parametrize("kind", SUBJECTS)
def test_the_verdict_comes_first(kind: str) -> None:
    page = page_of([SUBJECTS[kind]()], DATE)
    for content in (said(html(page)), plain(markdown(page))):
        first = min(content.index(plain(section.title)) for section in page.parts[0].sections[1:])
        assert content.index(plain(page.parts[0].verdict)) < first


def test_json_holds_the_page_and_is_as_the_published_schema_says() -> None:
    """Write it anew with: python -m edgepress.profiles.reporting.page > docs/report.schema.json."""
    assert SCHEMA.read_text() == json_schema()
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))
    for subject in (*(make() for make in SUBJECTS.values()),):
        data = json.loads(json_text(document_of([subject], DATE)))
        validator.validate(data)
        assert data["page"]["parts"][0]["verdict"] == page_of([subject], DATE).parts[0].verdict
    report = json.loads(json_text(measured_report()))
    validator.validate(report)
    assert report["parity"]["capture"]["output"]["sqnr_db"] == "Infinity"
    for wrong in ({}, {**report, "machine": None}, {"schema": 1, "kind": "edgepress report", "page": {}}):
        with pytest.raises(jsonschema.ValidationError):
            validator.validate(wrong)


def test_the_same_page_gives_the_same_bytes() -> None:
    subjects: list[Reportable] = [measured(), unmeasured()]
    for form in ("html", "md", "json"):
        assert rendered(subjects, form, DATE) == rendered(subjects, form, DATE)  # type: ignore[arg-type]


def blocks(found: BundleFindings, title: str) -> list[object]:
    (part,) = page_of([found], DATE).parts
    return [block for section in part.sections if section.title == title for block in section.blocks]


def test_the_ladder_tells_each_rung_with_its_metric_its_latency_and_what_was_not_tried() -> None:
    """The rung that was taken has the latency of what ships, the floats are the last ones, and nothing is invented."""
    drawn, table = blocks(measured(), "The ladder")
    assert isinstance(drawn, Bars) and isinstance(table, Table)
    assert [bar.text for bar in drawn.bars] == ["0.9500", "0.9600", "0.9850"]
    assert [bar.group for bar in drawn.bars] == ["first", "first", "second"]
    assert drawn.mark == ("the model as given", 0.99) and "20 dB of SQNR" in drawn.says
    rows = {row[0]: row for row in table.rows}
    assert rows["layers in float"][1:7] == ("holds, taken", "17.2 dB", "16.0 dB", "0.9850", latency("engine"), "1")
    assert rows["weights rounded by data"][5] == "not measured"
    assert rows["a rung of one's own"][1:] == ("not made", "", "", "", "", "", "0.0 s", "it was not asked for")
    assert rows["all in fp32"][5] == latency("fp32")


def latency(arm: str) -> str:
    return latency_text(measured().report.latency[arm], 50)


def test_what_nobody_measured_has_no_plot_and_says_so() -> None:
    (part,) = page_of([unmeasured()], DATE).parts
    drawn = [b for s in part.sections for b in s.blocks if isinstance(b, (Distribution, Course, Scatter))]
    assert drawn == []
    text = markdown(page_of([unmeasured()], DATE))
    assert "Nobody has measured this" in text
    assert "Time by layer was not measured" in text
    assert "int8 coverage was not read: the engine is not built here." in text
    latency = next(tile for tile in part.tiles if tile.topic == "Latency")
    assert (latency.status, latency.label, latency.found) == ("absent", "not measured", "no figure")
    assert " ms" not in text


def test_what_is_not_steady_is_marked_wherever_its_figure_stands() -> None:
    report = measured_report()
    latency = {arm: replace(found, stable=False) for arm, found in report.latency.items()}
    found = replace(measured(), report=replace(report, latency=latency, budget=()))
    (part,) = page_of([found], DATE).parts
    tile = next(tile for tile in part.tiles if tile.topic == "Latency")
    assert (tile.status, tile.label) == ("open", "unstable")
    assert "order of magnitude" in part.verdict
    (table,) = blocks(found, "Before and after")
    assert isinstance(table, Table)
    for row in table.rows:
        if row[0].startswith(("latency", "speed-up")):
            assert row[2].endswith("(unstable)"), row


def test_a_percentile_is_there_only_if_the_samples_carry_it() -> None:
    short = Measurement(
        samples=tuple(range(1_000_000, 1_000_150)), rounds=tuple(i // 10 for i in range(150)), stable=True
    )
    report = replace(measured_report(), latency={"engine": short.latency()}, faster=None)
    found = BundleFindings(name="net", report=report, samples={"engine": short})
    text = markdown(page_of([found], DATE))
    assert "latency p90" in text
    assert "latency p95" not in text
    assert "latency p99" not in text
    table = next(b for b in blocks(found, "Latency") if isinstance(b, Table))
    assert {row[0]: row[1] for row in table.rows}["p99"] == "too few samples"


def test_plots_hold_every_sample_and_every_round() -> None:
    found = blocks(measured(), "Latency")
    (distribution,) = [b for b in found if isinstance(b, Distribution)]
    (course,) = [b for b in found if isinstance(b, Course)]
    for arm, line, taken in zip(distribution.arms, course.lines, samples().values(), strict=True):
        assert sum(arm.counts) == len(taken.samples)
        assert arm.edges[0] * 1e6 <= min(taken.samples)
        assert max(taken.samples) <= arm.edges[-1] * 1e6
        value, low, high = arm.marks["p50"]
        assert low <= value <= high
        assert len(line.at) == len(line.low) == len(line.middle) == len(line.high) > 3
        assert all(a <= b <= c for a, b, c in zip(line.low, line.middle, line.high, strict=True))
    assert course.axis == "round of measuring in turn"


def test_drift_is_said_in_words() -> None:
    taken = tuple(1_000_000 + 500 * i for i in range(1000))
    drifting = Measurement(samples=taken, rounds=tuple(i // 100 for i in range(1000)), stable=False)
    report = replace(measured_report(), latency={"engine": drifting.latency()})
    found = BundleFindings(name="net", report=report, samples={"engine": drifting})
    (course,) = [b for b in blocks(found, "Latency") if isinstance(b, Course)]
    first, last = course.lines[0].middle[:2], course.lines[0].middle[-2:]
    change = (sum(last) / sum(first)) - 1
    assert f"{change:+.1%}" in course.says
    assert change == pytest.approx(0.38, abs=0.02)


def test_a_clock_that_fell_is_said() -> None:
    text = markdown(page_of([measured()], DATE))
    assert "Disturbed: the clock of cpu0 fell from 2800 to 2000 MHz." in text


def test_layers_left_out_are_listed_with_why() -> None:
    tables = [b for b in blocks(measured(), "int8 coverage") if isinstance(b, Table)]
    assert tables[0].rows == (("`head`", "MatMul", "its first input arrives as f32"),)
    tables = [b for b in blocks(unmeasured(), "int8 coverage") if isinstance(b, Table)]
    assert tables[0].rows == (("`head`", "too small"),)


def test_the_largest_layers_are_drawn_and_the_others_summed() -> None:
    report = measured_report()
    assert report.size is not None
    many = replace(report.size, layers={f"layer {i}": i for i in range(1, 31)})
    found = replace(measured(), report=replace(report, size=many))
    bars = next(b for b in blocks(found, "Size and time by layer") if isinstance(b, Bars))
    assert bars.bars[0].name == "layer 30"
    assert bars.bars[-1].name == "18 other layers"
    assert sum(bar.value for bar in bars.bars) == sum(range(1, 31))


@pytest.mark.parametrize(
    ("status", "label"),
    [
        ("met", "within the limit"),
        ("missed", "over the limit"),
        ("undecided", "undecided"),
        ("unmeasured", "not checked"),
    ],
)
def test_each_verdict_of_a_budget_is_its_own(status: str, label: str) -> None:
    report = measured_report()
    verdict = replace(report.budget[0], what="size", status=status)  # type: ignore[arg-type]
    (part,) = page_of([replace(measured(), report=replace(report, budget=(verdict,)))], DATE).parts
    shown = {tile.topic: tile.label for tile in part.tiles}
    assert shown["Size"] == label
    assert shown["Accuracy"] == "no limit asked"


def test_several_bundles_stand_side_by_side() -> None:
    page = page_of([measured(), unmeasured()], DATE)
    assert page.title == "net for 2 targets"
    (section,) = page.overview
    table = next(b for b in section.blocks if isinstance(b, Table))
    assert table.head == ("", "cpu", "jetson")
    shown = {row[0]: row[1:] for row in table.rows}
    assert shown["evidence"] == ("measured", "absent")
    assert shown["latency p50"][1] == shown["engine"][1] == "no figure"
    assert "Latency was not measured for jetson" in markdown(page)
    twice = page_of([measured(), replace(measured(), name="net-again")], DATE)
    table = next(b for b in twice.overview[0].blocks if isinstance(b, Table))
    assert table.head == ("", "net-cpu", "net-again")


def test_names_from_outside_cannot_become_markup() -> None:
    hostile = '<script>alert("x")</script>&`|'
    report = measured_report()
    assert report.sensitivity is not None
    noise = replace(report.sensitivity.layers[0], layer=hostile)
    report = replace(
        report, model=hostile, command=hostile, layers=(replace(report.layers[0], name=hostile),), notes=(hostile,),
        missing=(Gap(about="other", subject="x", why=hostile),),
        sensitivity=replace(report.sensitivity, layers=(noise,)),
    )  # fmt: skip
    page = page_of([BundleFindings(name=hostile, report=report, samples=samples(), search=measured().search)], DATE)
    assert "<script" not in html(page)
    assert "alert(" in said(html(page))
    rows = [line for line in markdown(page).splitlines() if line.startswith("| ") and "alert" in line]
    assert rows
    assert all("&`\\|" in row for row in rows if "&`" in row)


def test_a_measurement_that_broke_off_says_so_first() -> None:
    (part,) = page_of([profile(unfinished="The engine crashed")], DATE).parts
    assert part.status == "open"
    assert part.verdict.startswith("Unfinished: The engine crashed.")
    (part,) = page_of(
        [profile(single_stream=(), layers=(), missing={"single-stream": "it was not asked for"})], DATE
    ).parts
    assert part.verdict == "Latency was not measured."


def test_an_empty_report_is_still_a_page() -> None:
    report = measured_report()
    least = Report(**{name: getattr(report, name) for name in (
        "model", "target", "target_title", "backend", "precision", "parity_how", "sizes", "machine", "tools", "date",
        "command",
    )}, evidence=(), parity={})  # fmt: skip
    text = html(page_of([BundleFindings(name="net", report=least)], DATE))
    assert "No outputs were compared." in text
    assert "<svg" not in text


def test_layers_that_are_all_exact_are_not_drawn() -> None:
    """As on a batch without elements."""
    exact = LayerParity(layer="stem", operator="Conv", sqnr_db=math.inf)
    assert not list(by_layer_blocks(ParityByLayer(layers=(exact,), samples=0)))


def test_arms_that_were_measured_together_differ_in_colour() -> None:
    report = measured_report()
    one = next(iter(report.latency.values()))
    for names in (("engine", "fp32", "bf16", "torch"), ("engine", "int8", "bf16", "torch"), ("engine", "a", "b", "c")):
        found = replace(measured(), report=replace(report, latency=dict.fromkeys(names, one)))
        assert len({arm.group for arm in arms(found)}) == len(names), names
