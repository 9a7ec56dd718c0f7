"""Pictures of a report in light and dark, on a phone and on a desk: `_screenshots.py REPORT.html DIRECTORY`."""

from __future__ import annotations

import hashlib
import io
import shutil
import sys
from pathlib import Path
from typing import Any

PHONE, DESK = (390, 844), (1280, 900)
OPTIONS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
# What is shown, by name: None is the top of the page, else what the heading above it says.
VIEWS = {"verdict": None, "targets": "Side by side", "latency": "Latency", "layers": "Size and time by layer"}
MARGIN = 14
LOOKS = Path(__file__).resolve().parents[1] / "profiles" / "reporting"


def main(report: Path, directory: Path) -> None:
    """Write every view, and of what sources the page was made."""
    from playwright.sync_api import sync_playwright

    directory.mkdir(parents=True, exist_ok=True)
    for old in directory.glob("*.png"):
        old.unlink()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=OPTIONS)
        for scheme in ("light", "dark"):
            for size, (width, height) in {"phone": PHONE, "desk": DESK}.items():
                context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
                page = context.new_page()
                page.goto(report.resolve().as_uri())
                for view, heading in VIEWS.items():
                    _save(_taken(page, heading), directory / f"{view}-{size}-{scheme}.png")
                context.close()
        browser.close()
    (directory / "made-from").write_text(f"{looks()}\n", encoding="ascii")


def looks() -> str:
    """Digest of everything that decides how the page looks."""
    files = sorted([*LOOKS.glob("templates/*"), *LOOKS.glob("svg/*.py")])
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


def _taken(page: Any, heading: str | None) -> bytes:
    """The first section of that heading which has a plot, else the top of the page."""
    if heading is None:
        taken: bytes = page.screenshot()
        return taken
    section = page.locator("section").filter(has=page.get_by_role("heading", name=heading, exact=True))
    box = section.filter(has=page.locator("svg")).first.bounding_box()
    left, top = max(0, box["x"] - MARGIN), box["y"] - MARGIN
    clip = {"x": left, "y": top, "width": box["width"] + 2 * MARGIN, "height": box["height"] + 2 * MARGIN}
    return bytes(page.screenshot(full_page=True, clip=clip))


def _save(data: bytes, path: Path) -> None:
    """In 160 colours, which a page of text and plots does with."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        image.convert("RGB").quantize(160).save(path, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
