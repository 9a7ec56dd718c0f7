"""`edgepress demo`: what the engine gives lies where it says, in pictures, on the page and in numbers."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgepress.exporter.demo.palette import colour_of

from . import _sshd
from ._flow import WITHOUT_THE_HOST, Cli, Once, contents
from ._spots import CELL, HEIGHT, SPOTS, WIDTH, spots

GAP = 16  # around a panel


@pytest.fixture(scope="session")
def pressed(once: Once, forked: Cli, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The bundle of the model in `_spots`, by precision."""

    def fill(directory: Path) -> None:
        (directory / "spots.py").write_text(SPOTS)
        for precision in ("fp32", "int8"):
            words = (
                "export",
                "spots.py",
                "--target",
                "cpu",
                "--precision",
                precision,
                "--no-measure",
                "-q",
                "--min-sqnr",
                "1",
            )
            temporary = tmp_path_factory.mktemp("spots-tmp")
            ran = forked(*words, "-o", precision, cwd=directory, temporary=temporary)
            assert ran.code == 0, ran.err

    return lambda precision: once("spots", fill) / precision / "spots-cpu"


def told(directory: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((directory / "demo.json").read_text())
    return data


def drawn(directory: Path, number: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    with Image.open(directory / told(directory)["pictures"][number]["file"]) as image:
        assert image.mode == "RGB"
        return np.asarray(image)


def test_a_box_is_drawn_where_the_engine_gives_it(pressed: Callable[[str], Path], cli: Cli, tmp_path: Path) -> None:
    spots(tmp_path / "one.png", {(1, 2): "green"})
    (tmp_path / "names.txt").write_text("red\ngreen\nblue\n")
    ran = cli("demo", pressed("fp32"), "one.png", "--labels", "names.txt", "--score", "0.5")
    assert ran.code == 0, ran.err
    assert "1 box: 1 green" in ran.out
    demo = told(tmp_path / "demo")
    (box,) = demo["pictures"][0]["found"][0]["shown"]
    assert box["corners"] == [2 * CELL, CELL, 3 * CELL, 2 * CELL]
    assert (box["label"], box["name"]) == (1, "green")
    assert box["score"] == pytest.approx(1 / (1 + np.exp(-4 * 230 / 255)), abs=1e-3)
    assert demo["engines"][0]["outputs"] == {"boxes": "boxes", "scores": "scores", "classes": "classes"}
    assert demo["engines"][0]["unread"] == ["mask", "kinds"]
    pixels, factor = drawn(tmp_path / "demo"), 448 // WIDTH
    top = pixels.shape[0] - GAP - HEIGHT * factor
    colour = np.array(colour_of(1))
    left, right = (GAP + x * factor for x in (2 * CELL, 3 * CELL))
    upper, lower = (top + y * factor for y in (CELL, 2 * CELL))
    middle = (upper + lower) // 2
    assert (pixels[middle, left] == colour).all() and (pixels[middle, right] == colour).all()
    assert (pixels[lower, (left + right) // 2] == colour).all()
    row = (pixels[middle, GAP : GAP + WIDTH * factor] == colour).all(-1)
    assert row.sum() <= 8, "nothing but the two edges has the colour on that line"
    assert (pixels[middle, (left + right) // 2] == (0, 230, 0)).all(), "the picture itself stays as it is"


def test_letterboxed_and_turned_pictures_get_their_boxes_back(
    pressed: Callable[[str], Path], cli: Cli, tmp_path: Path
) -> None:
    """A picture of 3 times the size with bars beside it, and the same one taken with the camera turned."""
    spots(tmp_path / "large.png", {(0, 3): "red"}, times=3)
    with Image.open(tmp_path / "large.png") as image:
        wide = Image.new("RGB", (3 * WIDTH, 4 * HEIGHT), (128, 128, 128))
        wide.paste(image, (0, HEIGHT // 2))
        wide.save(tmp_path / "high.png")
        exif = Image.Exif()
        exif[0x0112] = 6  # shown after a turn to the right by 90 degrees
        image.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    words = ("demo", pressed("fp32"), "large.png", "turned.png", "high.png", "--score", "0.5")
    cli(*words).failed(1, "large.png is", "the engine takes", "--fit stretch, letterbox or crop")
    assert not (tmp_path / "demo").exists()
    ran = cli(*words, "--fit", "letterbox")
    assert ran.code == 0, ran.err
    large, turned, high = (one["found"][0]["shown"] for one in told(tmp_path / "demo")["pictures"])
    assert large[0]["corners"] == [3 * 3 * CELL, 0, 4 * 3 * CELL, 3 * CELL]
    assert turned == large
    assert told(tmp_path / "demo")["pictures"][1]["size"] == [3 * HEIGHT, 3 * WIDTH]
    # 192x192 becomes 48x48, 8 pixels from the left: cells of the engine are 64 pixels, of which the first ends at 32.
    assert all((box["corners"][0] + 32) % 64 == 0 and box["corners"][1] % 64 == 0 for box in high)


def test_two_precisions_stand_side_by_side(pressed: Callable[[str], Path], cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    spots(tmp_path / "in" / "<b>&.png", {(0, 0): "red", (2, 3): "blue"})
    spots(tmp_path / "in" / "two.jpg", {(1, 1): "green"})
    ran = cli("demo", pressed("fp32"), "in", "--beside", pressed("int8"), "--score", "0.5", "--json", "-o", "out")
    assert ran.code == 0, ran.err
    demo = json.loads(ran.out)
    assert demo == told(tmp_path / "out")
    assert [engine["label"] for engine in demo["engines"]] == ["fp32", "int8"]
    for picture, count in zip(demo["pictures"], (2, 1), strict=True):
        (agreement,) = picture["agreements"]
        assert (agreement["matched"], agreement["same_class"]) == (count, count)
        assert agreement["iou"] == [1.0] * count
        assert 0 < agreement["score"] < 0.02
        assert agreement["only_first"] == agreement["only_second"] == []
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "0001-b.png",
        "0002-two.png",
        "demo.json",
        "index.html",
    ]
    page = (tmp_path / "out" / "index.html").read_text()
    assert "<b>&.png" not in page and "&lt;b&gt;&amp;.png" in page
    assert page.count("data:image/png;base64,") == 2
    assert "3 boxes in both, all of the same class" in page


def test_masks_and_classes_when_told(pressed: Callable[[str], Path], cli: Cli, tmp_path: Path) -> None:
    spots(tmp_path / "one.png", {(r, c): "green" if c < 1 else "blue" for r in range(3) for c in range(4)})
    words = ("demo", pressed("fp32"), "one.png", "--beside", pressed("int8"))
    ran = cli(*words, "--as", "masks", "-o", "masks", "--background", "2")
    assert ran.code == 0, ran.err
    mask = told(tmp_path / "masks")["pictures"][0]
    assert {region["label"]: region["share"] for region in mask["found"][0]["regions"]} == {2: 0.75, 1: 0.25}
    agreement = mask["agreements"][0]
    assert agreement["same"] == agreement["of"] == (448 * 336)
    pixels = drawn(tmp_path / "masks")
    veiled = 0.45 * np.array([0, 230, 0]) + 0.55 * np.array(colour_of(1))
    assert np.abs(pixels[200, GAP + 50].astype(int) - veiled).max() <= 1
    assert (pixels[200, GAP + 300] == (0, 0, 230)).all(), "the background is left clear"
    ran = cli(*words, "--as", "classes", "-o", "classes", "--top", "2")
    assert ran.code == 0, ran.err
    found = told(tmp_path / "classes")["pictures"][0]["found"][0]
    assert found["how"] == "softmax"
    high = np.array([-4 * 230 / 255, 4 * 230 / 255, 4 * 230 / 255])
    assert found["top"][0]["score"] == pytest.approx(float((np.exp(high) / np.exp(high).sum())[1]), abs=1e-3)
    assert [one["label"] for one in found["top"]] in ([1, 2], [2, 1])


def test_what_is_wrong_is_named_and_nothing_is_left(
    pressed: Callable[[str], Path], digits: dict[str, Path], cli: Cli, tmp_path: Path
) -> None:
    bundle = pressed("fp32")
    good = spots(tmp_path / "good.png", {(0, 0): "red"})
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "cut.png").write_bytes(good.read_bytes()[:-40])
    cli("demo", bundle, good, "text.png").failed(1, "text.png", "cannot be read")
    cli("demo", bundle, good, "cut.png").failed(1, "cut.png")
    cli("demo", bundle, "nowhere.png").failed(1, "nowhere.png does not exist")
    cli("demo", digits["cpu"], good).failed(1, "float32", "no image in bytes", "preprocess()")
    cli("demo", bundle, good, "--beside", digits["cpu"]).failed(1, "is of another model")
    cli("demo", bundle, good, "-o", bundle / "demo").failed(1, "would lie in a bundle")
    cli("demo", bundle, good, "--labels", "cut.png").failed(1, "cut.png", "a name a line")
    cli("demo", bundle, good, "--score", "nan").failed(1, "finite")
    assert cli("demo", bundle, good, "--boxes-in", "1").code == 2
    assert not (tmp_path / "demo").exists()
    changed = tmp_path / "changed"
    shutil.copytree(bundle, changed)
    (changed / "engine" / "model.bin").write_bytes(b"x")
    cli("demo", changed, good).failed(4, "engine/model.bin was changed")


def test_a_directory_is_replaced_only_when_told_and_only_a_demo(
    pressed: Callable[[str], Path], cli: Cli, tmp_path: Path
) -> None:
    good = spots(tmp_path / "good.png", {(0, 0): "red"})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")
    cli("demo", pressed("fp32"), good, "-o", "mine").failed(1, "mine exists", "--force")
    cli("demo", pressed("fp32"), good, "-o", "mine", "--force").failed(1, "is not a demo")
    assert contents(tmp_path / "mine") == {"thesis.txt": b"years"}
    assert cli("demo", pressed("fp32"), good).code == 0
    before = contents(tmp_path / "demo")
    cli("demo", pressed("fp32"), good).failed(1, "demo exists")
    assert contents(tmp_path / "demo") == before
    assert cli("demo", pressed("fp32"), good, good, "--force", "--most", "1").code == 0
    assert told(tmp_path / "demo")["left_out"] == 1


def test_a_device_needs_neither_torch_nor_onnx(
    pressed: Callable[[str], Path], environment: dict[str, str], tmp_path: Path
) -> None:
    good = spots(tmp_path / "good.png", {(0, 0): "red"})
    words = [sys.executable, "-c", WITHOUT_THE_HOST, "demo", pressed("fp32"), good]
    done = subprocess.run(words, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "1 box: 1 class 0" in done.stdout


@pytest.mark.slow
def test_the_engine_runs_on_the_device_that_is_named(pressed: Callable[[str], Path], cli: Cli, tmp_path: Path) -> None:
    """The pictures are read here, the engine runs there, and gives the same."""
    pytest.importorskip("fabric", reason="needs fabric: pip install 'edgepress[ssh]'")
    (tmp_path / "server").mkdir()
    server = _sshd.start(tmp_path / "server")
    try:
        good = spots(tmp_path / "good.png", {(0, 0): "red", (2, 1): "blue"})
        words = ("demo", pressed("int8"), good)
        ran = cli(*words, "--on", server.address, "-o", "there", env=server.environment)
        assert ran.code == 0, ran.err
        assert cli(*words, "-o", "here").code == 0
        there, here = (told(tmp_path / name) for name in ("there", "here"))
        assert there["pictures"] == here["pictures"]
        assert len(here["pictures"][0]["found"][0]["shown"]) == 2
    finally:
        server.stop()
