"""The HTML page in a real browser: by itself, readable on any screen and on paper, and accessible."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from edgepress.profiles.reporting.content import Bar, Bars
from edgepress.profiles.reporting.render import rendered
from edgepress.profiles.reporting.svg import draw

from ._subjects import comparison, measured, profile, unmeasured

DATE = "2026-01-01T00:00:00+00:00"
PHONE, DESK = 390, 1280
SCHEMES = ("light", "dark")
STYLE = Path(__file__).parents[3] / "profiles" / "reporting" / "templates" / "style.css"


@dataclass
class Opened:
    """A page, what it wrote to the console, and what it asked the network for."""

    page: Any
    console: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


Open = Callable[..., Any]


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that a report can hold."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(rendered([measured(), unmeasured(), profile(), comparison()], "html", DATE), encoding="utf-8")
    return path


@pytest.fixture
def opened(chromium: Any, page: Path) -> Open:
    @contextmanager
    def visit(path: Path = page, width: int = DESK, **context: Any) -> Iterator[Opened]:
        made = chromium.new_context(viewport={"width": width, "height": 900}, **context)
        found = Opened(page=made.new_page())
        found.page.on("console", lambda message: found.console.append(message.text))
        found.page.on("pageerror", lambda error: found.console.append(str(error)))
        found.page.on("request", lambda request: found.asked.append(request.url))
        found.page.goto(path.as_uri())
        yield found
        made.close()

    return visit


@pytest.mark.parametrize("scheme", SCHEMES)
def test_nothing_is_loaded_and_nothing_complains(opened: Open, page: Path, scheme: str) -> None:
    with opened(color_scheme=scheme, offline=True) as seen:
        seen.page.wait_for_load_state("networkidle")
        assert seen.console == []
        assert [url for url in seen.asked if not url.startswith("data:")] == [page.as_uri()]
        assert seen.page.locator("script").count() == 0


def test_a_fault_on_a_page_would_be_seen(opened: Open, page: Path, tmp_path: Path) -> None:
    """What the tests above look for, put into the page, is found."""
    bad = tmp_path / "bad.html"
    text = page.read_text(encoding="utf-8").replace("<main>", '<main><img src="http://localhost:9/x.png">')
    bad.write_text(re.sub(r"<meta http-equiv[^>]*>", "", text).replace('aria-labelledby="plot-1-t plot-1-d"', ""))
    with opened(bad) as seen:
        seen.page.wait_for_load_state("networkidle")
        assert any("localhost" in url for url in seen.asked)
        assert seen.console
        assert {"image-alt"} <= {found["id"] for found in faults(seen.page)}


@pytest.mark.parametrize(("scheme", "width"), [("light", PHONE), ("dark", DESK)])
def test_axe_finds_no_fault(opened: Open, scheme: str, width: int) -> None:
    with opened(color_scheme=scheme, width=width) as seen:
        assert [(found["id"], found["impact"], found["nodes"][0]["target"]) for found in faults(seen.page)] == []


def faults(page: Any) -> list[dict[str, Any]]:
    """What axe-core holds against the page, opened parts included."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    found: list[dict[str, Any]] = axe.Axe().run(page).response["violations"]
    return found


def test_every_plot_has_a_name_and_a_description(opened: Open) -> None:
    with opened() as seen:
        drawn = seen.page.locator("figure svg").count()
        session = seen.page.context.new_cdp_session(seen.page)
        nodes = session.send("Accessibility.getFullAXTree")["nodes"]
        images = [node for node in nodes if node.get("role", {}).get("value") in ("img", "image")]
        names = [node["name"]["value"] for node in images]
        assert drawn == len(images) > 12
        assert all(len(name) > 25 for name in names), names
        assert any(name.startswith("Distribution of latencies Every sample on a logarithmic axis.") for name in names)


def test_every_plot_can_be_read_as_figures(opened: Open) -> None:
    with opened() as seen:
        assert seen.page.locator("figure").count() == seen.page.locator("figure details table").count()


@pytest.mark.parametrize("width", [320, PHONE, 800, DESK])
def test_only_tables_scroll_sideways(opened: Open, width: int) -> None:
    with opened(width=width) as seen:
        seen.page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
        outside = seen.page.evaluate(
            "[...document.querySelectorAll('body *')].filter(one => !one.closest('.scroll') && !one.closest('svg') && "
            "one.getBoundingClientRect().right > innerWidth + 1).map(one => one.outerHTML.slice(0, 80))"
        )
        assert outside == []


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_text_in_plots_is_readable_and_inside_them(opened: Open, width: int) -> None:
    with opened(width=width) as seen:
        small = seen.page.evaluate(
            "[...document.querySelectorAll('svg text')].map(one => [one.textContent, parseFloat(getComputedStyle(one)"
            ".fontSize) * one.getScreenCTM().a]).filter(([text, size]) => size < 8.5)"
        )
        assert small == []
        beyond = seen.page.evaluate(
            "[...document.querySelectorAll('svg text')].filter(one => { const t = one.getBoundingClientRect(), s = "
            "one.closest('svg').getBoundingClientRect(); return t.left < s.left - 2 || t.right > s.right + 2 || "
            "t.bottom > s.bottom + 2 }).map(one => one.textContent)"
        )
        assert beyond == []


def test_a_long_name_ends_before_its_figure(opened: Open, tmp_path: Path) -> None:
    names = ("/backbone/stages.3/blocks.5/conv_dw/BatchNorm_output_0", "embeddings_normalized_with_momentum")
    bars = tuple(Bar(name=name, value=4.0, text="12.345 ms, 61.2 %") for name in names)
    path = tmp_path / "bars.html"
    path.write_text(f"<style>{STYLE.read_text()}</style>{draw(Bars(title='t', says='s', bars=bars), 'p')}")
    with opened(path) as seen:
        room = seen.page.evaluate(
            "[...document.querySelectorAll('svg .name')].map(one => one.nextElementSibling.getBoundingClientRect().left"
            " - one.getBoundingClientRect().right)"
        )
        assert len(room) == len(names)
        assert min(room) > 0, dict(zip(names, room, strict=True))


def test_it_prints(opened: Open) -> None:
    with opened(color_scheme="dark") as seen:
        seen.page.emulate_media(media="print", color_scheme="dark")
        assert seen.page.locator("nav").first.is_hidden()
        assert seen.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert seen.page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
        document = seen.page.pdf(format="A4")
        assert document.startswith(b"%PDF")
        assert len(re.findall(rb"/Type\s*/Page\b", document)) > 3


def test_it_needs_no_script(opened: Open) -> None:
    with opened(java_script_enabled=False) as seen:
        assert seen.page.get_by_role("heading", name="Parity and sensitivity").first.is_visible()


def test_links_lead_to_what_they_name(opened: Open) -> None:
    with opened() as seen:
        targets = seen.page.evaluate(
            "[...document.querySelectorAll('a[href^=\"#\"]')].map(one => [one.textContent, "
            "document.getElementById(one.hash.slice(1))?.textContent])"
        )
        assert len(targets) > 10
        assert all(text == found for text, found in targets), targets
        ids = seen.page.evaluate("[...document.querySelectorAll('[id]')].map(one => one.id)")
        assert len(ids) == len(set(ids))


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    digits = colour.lstrip("#")
    digits = "".join(2 * d for d in digits) if len(digits) == 3 else digits
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("palette", [0, 1, 2], ids=["light", "dark", "print"])
def test_colours_of_text_and_plots_stand_out(palette: int) -> None:
    """WCAG 2.2: 4.5 for text, 3 for what is drawn; axe does not look into SVG."""
    blocks = [found for found in re.findall(r"html \{(.*?)\}", STYLE.read_text(), re.S) if "--card" in found]
    assert len(blocks) == 3
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]+);", blocks[palette]))
    back = luminance(colours["card"])
    wanted = {"text": 4.5, "muted": 4.5, **dict.fromkeys(("good", "bad", "open", "absent", "plain"), 4.5)}
    wanted |= dict.fromkeys(("first", "second", "third", "fourth", "quiet"), 3.0)
    for name, least in wanted.items():
        light, dark = sorted((luminance(colours[name]), back), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= least, name


SCREENSHOTS = Path(__file__).parents[3] / "docs" / "screenshots"


def test_the_pictures_in_the_documentation_are_of_this_page() -> None:
    """Renew them with scripts/screenshots, and look at them."""
    path = Path(__file__).parents[3] / "scripts" / "_screenshots.py"
    spec = importlib.util.spec_from_file_location("screenshots", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (SCREENSHOTS / "made-from").read_text().strip() == module.looks(), "run scripts/screenshots"
    wanted = {f"{view}-{at}-{scheme}.png" for view in module.VIEWS for at in ("phone", "desk") for scheme in SCHEMES}
    found = {picture.name: picture.stat().st_size for picture in SCREENSHOTS.glob("*.png")}
    assert found.keys() == wanted
    assert max(found.values()) < 300_000


@pytest.mark.slow
def test_digits_for_three_targets_measured_and_shown(opened: Open, examples: Path, tmp_path: Path) -> None:
    """The report that the project promises: under a megabyte, and no fault in either theme."""
    for words in (
        ("export", examples / "digits.py", "-t", "cpu,mobile,jetson", "--max-drop", "1%", "-o", "dist", "-q"),
        (
            "report",
            *(f"dist/digits-{name}" for name in ("cpu", "android-arm64", "jetson-orin-nano-8gb")),
            "-o",
            "r.html",
        ),
    ):
        command = [Path(sys.executable).with_name("edgepress"), *map(str, words)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    page = tmp_path / "r.html"
    assert page.stat().st_size < 1_000_000
    for scheme, width in (("light", PHONE), ("dark", DESK)):
        with opened(page, color_scheme=scheme, width=width) as seen:
            assert faults(seen.page) == []
            assert seen.console == []
            assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
