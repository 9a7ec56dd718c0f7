"""What is drawn can be seen and read, whatever the picture and the names are."""

import itertools

import numpy as np
import pytest
from PIL import Image

from edgepress.exporter.demo.drawing import draw_boxes, draw_mask, drawn_size, enlarged, line_width
from edgepress.exporter.demo.findings import Box, Boxes
from edgepress.exporter.demo.ink import font, free_place, readable, shortened, width_of
from edgepress.exporter.demo.palette import BACK, INK, PAPER, QUIET, colour_of, contrast, text_on
from edgepress.exporter.demo.panel import Row, joined, panel


def box(corners, label=0, name="dress", score=0.9):
    return Box(corners=corners, score=score, label=label, name=name)


def test_text_can_be_read_on_every_colour():
    for label in range(50):
        assert contrast(colour_of(label), text_on(colour_of(label))) >= 4.5
    assert contrast(PAPER, BACK) >= 7 and contrast(QUIET, BACK) >= 4.5


def test_the_first_classes_differ_also_without_red_or_green():
    """Simulated dichromats (Viénot et al., 1999): no two of the first seven colours fall together."""
    to_lms = np.array([[17.8824, 43.5161, 4.11935], [3.45565, 27.1554, 3.86714], [0.0299566, 0.184309, 1.46709]])
    lacking = {
        "red": np.array([[0, 2.02344, -2.52581], [0, 1, 0], [0, 0, 1]]),
        "green": np.array([[1, 0, 0], [0.494207, 0, 1.24827], [0, 0, 1]]),
    }
    linear = (np.array([colour_of(n) for n in range(7)]) / 255) ** 2.2
    for eye in lacking.values():
        seen = ((linear @ to_lms.T) @ eye.T) @ np.linalg.inv(to_lms).T
        shown = seen.clip(0, 1) ** (1 / 2.2) * 255
        assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(shown, 2)) > 20


@pytest.mark.parametrize("picture", [(28, 28), (96, 96), (480, 640), (3000, 4000), (20, 900), (1, 1)])
@pytest.mark.parametrize("panels", [1, 2])
def test_pictures_are_enlarged_whole_or_reduced(picture, panels):
    height, width = drawn_size(picture, panels)
    assert 448 <= max(height, width) <= 1280
    if max(picture) < 448:
        assert height % picture[0] == 0 and width % picture[1] == 0
    assert enlarged(Image.new("RGB", picture[::-1]), (height, width)).size == (width, height)


@pytest.mark.parametrize("ground", [(0, 0, 0), (255, 255, 255), colour_of(0)])
def test_edges_lie_where_the_box_ends_and_show_on_every_ground(ground):
    image = Image.new("RGB", (640, 480), ground)
    draw_boxes(image, Boxes(shown=(box((40.0, 30.0, 120.0, 90.0)),), faint=()), (240, 320), ())
    pixels, wide = np.asarray(image).astype(int), line_width((480, 640))
    row = pixels[100]
    for edge in (80, 240):
        assert tuple(row[edge]) == colour_of(0)
        assert tuple(row[edge - wide // 2 - 1]) == INK and tuple(row[edge - wide // 2 + wide]) == INK
    assert tuple(pixels[60, 160]) == colour_of(0) or tuple(pixels[61, 160]) == colour_of(0)
    assert tuple(pixels[180, 160]) == colour_of(0)
    assert tuple(pixels[100, 160]) == ground


def test_a_box_of_one_engine_alone_is_dashed():
    image = Image.new("RGB", (640, 480))
    shown = (box((20, 100, 300, 400)), box((340, 100, 620, 400), label=1))
    draw_boxes(image, Boxes(shown=shown, faint=()), (480, 640), {1})
    pixels = np.asarray(image)
    solid = (pixels[120:380, 20] == colour_of(0)).all(-1).mean()
    dashed = (pixels[120:380, 340] == colour_of(1)).all(-1).mean()
    assert solid == 1
    assert 0.3 < dashed < 0.7


def test_odd_boxes_are_no_fault():
    image = Image.new("RGB", (448, 448))
    corners = [(-50.0, -50.0, 900.0, 900.0), (30.0, 30.0, 10.0, 10.0), (5.0, 5.0, 5.0, 5.0), (1e9, 1e9, 2e9, 2e9)]
    draw_boxes(image, Boxes(shown=tuple(box(one, name="x" * 60) for one in corners), faint=()), (448, 448), ())


def test_tags_stay_in_the_picture_and_apart():
    taken = []
    for _ in range(4):
        place = free_place((0, 0, 200, 100), "dress 0.90", 16, (300, 200), taken)
        assert 0 <= place[0] < place[2] <= 300 and 0 <= place[1] < place[3] <= 200
        assert all(place[2] <= o[0] or o[2] <= place[0] or place[3] <= o[1] or o[3] <= place[1] for o in taken)
        taken.append(place)


def test_names_that_the_font_lacks_are_numbers():
    assert readable("Kleid \u00fc", "class 3", 16) == (
        "Kleid \u00fc" if "DejaVu" in font(16).getname()[0] else "class 3"
    )
    assert readable("\u8863", "class 3", 16) == "class 3"
    assert width_of(shortened("a long name of a class", 16, 80), 16) <= 80


def test_a_mask_colours_its_classes_and_leaves_one_clear():
    image = Image.new("RGB", (64, 64), (100, 100, 100))
    mask = np.zeros((64, 64), np.int64)
    mask[:, 32:] = 1
    pixels = np.asarray(draw_mask(image, mask, clear=0)).astype(int)
    assert (pixels[10, 5] == 100).all()
    assert np.abs(pixels[10, 60] - (0.45 * 100 + 0.55 * np.array(colour_of(1)))).max() <= 1
    assert tuple(pixels[10, 31]) == INK, "a line where one class ends"
    assert np.abs(np.asarray(draw_mask(image, mask, clear=None)).astype(int)[10, 5] - 100).max() > 20


def test_panels_stand_side_by_side_with_their_rows():
    rows = (Row(name="dress", figure="75.0%", share=0.75, colour=None),)
    one = panel(Image.new("RGB", (448, 300)), "fp32", "dress", rows, 2)
    other = panel(Image.new("RGB", (448, 300)), "int8", "dress", (), 2)
    assert one.size == other.size
    assert joined([one, other]).size == (2 * 448 + 3 * 16, one.height + 16)
