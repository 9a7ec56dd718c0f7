"""Drawings: scales, ticks, and well-formed elements that stay within their box."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepress.profiles.reporting.content import Bar, Bars, Distribution, Point, Scatter
from edgepress.profiles.reporting.page import page_of
from edgepress.profiles.reporting.svg import draw
from edgepress.profiles.reporting.svg.canvas import CHARACTER, WIDTH, Drawing, Scale, cut, nice_end, tick_text, x_axis

from ._subjects import comparison, measured, profile

positive = st.floats(min_value=1e-4, max_value=1e6)


def plots() -> list[object]:
    parts = page_of([measured(), profile(), comparison()], "now").parts
    return [b for part in parts for s in part.sections for b in s.blocks if hasattr(b, "says")]


def test_every_plot_is_well_formed_named_and_within_its_box() -> None:
    for number, plot in enumerate(plots()):
        root = ElementTree.fromstring(draw(plot, f"p{number}"))  # type: ignore[arg-type]
        title, says = root.find("title"), root.find("desc")
        assert title is not None and title.text == plot.title  # type: ignore[attr-defined]
        assert says is not None and says.text == plot.says  # type: ignore[attr-defined]
        assert root.get("aria-labelledby") == f"p{number}-t p{number}-d"
        width, height = map(float, root.get("viewBox", "").split()[2:])
        assert width == WIDTH
        for element in root.iter():
            for name, most in (
                ("x", width),
                ("x1", width),
                ("x2", width),
                ("cx", width),
                ("y", height),
                ("cy", height),
            ):
                assert 0 <= float(element.get(name, 0)) <= most, (plot.title, element.attrib)  # type: ignore[attr-defined]
            assert float(element.get("width", 0)) <= width
            assert "style" not in element.attrib
            assert "fill" not in element.attrib, "colours come from the style sheet"


@given(positive, st.floats(min_value=1.0001, max_value=1e5), st.booleans())
def test_ticks_are_round_and_between_the_ends(low: float, ratio: float, logarithmic: bool) -> None:
    scale = Scale(low, low * ratio, 0, 300, logarithmic)
    ticks = scale.ticks()
    assert ticks == sorted(ticks)
    assert len(ticks) <= 16
    span = low * ratio - low
    assert all(low - 1e-6 * span <= tick <= low * ratio + 1e-6 * span for tick in ticks)
    assert scale(low) == pytest.approx(0, abs=1e-6)
    assert scale(low * ratio) == pytest.approx(300)
    assert 0 <= scale(low * 1e9) <= 300


@given(positive)
def test_an_axis_ends_at_a_round_value_that_holds_everything(value: float) -> None:
    end = nice_end(value)
    assert value <= end * (1 + 1e-9)
    assert end <= value * 2.5
    assert float(f"{end:.2g}") == pytest.approx(end)


def test_equal_values_still_make_an_axis() -> None:
    assert 0 <= Scale(3.0, 3.0, 0, 100)(3.0) <= 100
    point = Point(name="one", across=(1.0, 1.0, 1.0), up=0.0, front=True)
    plot = Scatter(title="t", says="s", across="ms", up="MB", points=(point, replace(point, name="two")))
    ElementTree.fromstring(draw(plot, "p"))
    ElementTree.fromstring(draw(Bars(title="t", says="s", bars=(Bar(name="none", value=0, text="0"),)), "p"))


def test_a_long_name_keeps_both_ends() -> None:
    name = "encoder.layers.11.attention.output.dense/MatMul_quantized"
    short = cut(name, 200)
    assert len(short) < len(name)
    head, tail = short.split("…")
    assert name.startswith(head)
    assert name.endswith(tail)
    assert cut("short", 200) == "short"


@pytest.mark.parametrize(("value", "text"), [(0.05, "0.05"), (0.5, "0.5"), (1, "1"), (250, "250"), (12_000, "12,000")])
def test_ticks_are_short(value: float, text: str) -> None:
    assert tick_text(value) == text


def test_a_bar_is_as_long_as_its_value() -> None:
    bars = tuple(Bar(name=str(v), value=v, text=str(v)) for v in (4.0, 2.0, 1.0))
    root = ElementTree.fromstring(draw(Bars(title="t", says="s", bars=bars), "p"))
    long, half, quarter = [float(e.get("width", 0)) for e in root.iter("rect") if "fill" in e.get("class", "")]
    assert half / long == pytest.approx(0.5, rel=0.01)
    assert quarter / long == pytest.approx(0.25, rel=0.01)


def test_the_median_is_drawn_where_the_axis_has_it() -> None:
    (plot,) = [p for p in plots()[:1] if isinstance(p, Distribution)]
    value = plot.arms[0].marks["p50"][0]
    scale = Scale(plot.arms[0].edges[0], plot.arms[0].edges[-1], 6, WIDTH - 6, logarithmic=True)
    root = ElementTree.fromstring(draw(plot, "p"))
    drawn = next(float(e.get("x1", 0)) for e in root.iter("line") if e.get("class") == "mark p50")
    assert drawn == pytest.approx(scale(value), abs=0.1)


def test_the_figure_at_the_end_of_an_axis_stays_inside() -> None:
    """Latencies of 0.02 ms and up: the first figure stood half beyond the edge."""
    drawing = Drawing(height=50)
    x_axis(drawing, Scale(0.02, 2.0, 6, WIDTH - 6, logarithmic=True), 20, 5, "ms")
    places = [float(found[1]) for found in re.finditer(r'<text x="([\d.]+)" y="33"', "".join(drawing.elements))]
    assert len(places) > 3 and places[0] >= len("0.02") * CHARACTER / 2 and places[-1] <= WIDTH - CHARACTER / 2


def test_points_that_lie_on_one_another_share_a_label_that_begins_with_what_is_shipped() -> None:
    """Two texts in one place would show the last one alone, beside the ring of the other."""

    def point(name: str, ms: float, megabytes: float, *, chosen: bool = False) -> Point:
        return Point(name=name, across=(ms, ms, ms), up=megabytes, front=chosen, chosen=chosen, named=True)

    points = (point("bf16", 0.074, 0.142), point("fp32", 0.073, 0.142, chosen=True), point("int8", 0.131, 0.19))
    drawn = draw(Scatter(title="t", says="s", across="ms", up="MB", points=points), "p")
    names = [text.text for text in ElementTree.fromstring(drawn).iter("text") if "name" in text.get("class", "")]
    assert names == ["fp32, bf16", "int8"]
