"""What engines gave, brought back onto the picture, and how far two of them agree."""

import numpy as np
import pytest

from edgepress.errors import InputError
from edgepress.exporter.demo.boxes import boxes_agreement, read_boxes
from edgepress.exporter.demo.classes import classes_agreement, read_classes, shares
from edgepress.exporter.demo.findings import Box, Boxes
from edgepress.exporter.demo.fitting import UNSEEN, Fitting
from edgepress.exporter.demo.labels import Labels, load_labels
from edgepress.exporter.demo.masks import mask_of, masks_agreement, read_mask
from edgepress.exporter.demo.settings import DemoSettings
from edgepress.exporter.demo.words import agreement_in_words, lone_in_words

SAME = Fitting.of((48, 64), (48, 64), None)


def box(left, top, right, bottom, score, label=0):
    return Box(corners=(left, top, right, bottom), score=score, label=label, name=f"class {label}")


@pytest.mark.parametrize("fit", ["stretch", "letterbox", "crop"])
@pytest.mark.parametrize("picture", [(480, 640), (100, 640), (640, 100), (33, 47)])
def test_a_point_of_the_picture_is_found_where_the_engine_sees_it(picture, fit):
    """One bright pixel block, through the very resize that engines are fed by, and back."""
    from PIL import Image

    from edgepress.calibration.images import Reading, fitted

    taken = (96, 128)
    fitting = Fitting.of(picture, taken, fit)
    pixels = np.zeros(picture, np.uint8)
    height = width = max(9, max(picture) // 16)
    top, left = (picture[0] - height) // 2, (picture[1] - width) // 2
    pixels[top : top + height, left : left + width] = 255
    seen = np.asarray(fitted(Image.fromarray(pixels), taken, Reading(fit=fit, fill=0))) > 127
    rows, columns = np.nonzero(seen.any(1))[0], np.nonzero(seen.any(0))[0]
    corners = np.array([[columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]], float)
    (back,) = fitting.on_picture(corners, None)
    step = picture[1] / fitting.width, picture[0] / fitting.height
    wanted = (left, top, left + width, top + height)
    for index, (found, want) in enumerate(zip(back, wanted, strict=True)):
        assert abs(found - want) <= 0.75 * step[index % 2] + 0.5
    spread = fitting.spread(seen.astype(np.int64), picture)
    inside = spread[top : top + height, left : left + width]
    assert (inside == 1).mean() > 0.8
    assert (spread == 1).sum() <= height * width * 1.35 + 4


def test_boxes_in_fractions_and_rows_that_hold_none():
    arrays = {
        "boxes": np.array([[0.25, 0.5, 0.5, 1], [0, 0, 0, 0], [0, 0, 1, 1], [0.5, 0, 1, 0.5]], np.float32),
        "scores": np.array([0.4, 0.0, 0.9, 0.2], np.float32),
        "classes": np.array([1, -1, -1, 0]),
    }
    found = read_boxes(arrays, SAME, DemoSettings(unit=(1, 1), labels=Labels(names=("cat",))))
    assert [(one.corners, one.name) for one in found.shown] == [((16, 24, 32, 48), "class 1")]
    assert [(one.corners, one.name) for one in found.faint] == [((32, 0, 64, 24), "cat")]


def test_fractions_are_not_drawn_as_pixels():
    arrays = {"boxes": np.array([[0.1, 0.2, 0.5, 1.02]], np.float32), "scores": np.array([0.5], np.float32)}
    with pytest.raises(InputError, match="fractions, no pixels") as caught:
        read_boxes(arrays, SAME, DemoSettings())
    assert "--boxes-in 1x1" in str(caught.value)
    assert read_boxes(arrays, SAME, DemoSettings(unit=(64, 48))).shown[0].corners[2] == 0.5
    assert read_boxes(arrays, SAME, DemoSettings(score=0.6)).shown == ()


def test_boxes_that_are_no_numbers_are_refused():
    arrays = {"boxes": np.full((2, 4), np.nan, np.float32), "scores": np.array([0.5, 0.0], np.float32)}
    with pytest.raises(InputError, match="no numbers"):
        read_boxes(arrays, SAME, DemoSettings())


def test_boxes_are_matched_by_overlap_and_those_left_are_told():
    first = Boxes(shown=(box(0, 0, 10, 10, 0.9), box(0, 0, 10, 10, 0.8, 1), box(20, 0, 30, 10, 0.4)), faint=())
    second = Boxes(
        shown=(box(0, 0, 10, 10, 0.7, 1), box(0, 0, 10, 8, 0.6), box(0, 40, 9, 50, 0.5)),
        faint=(box(20, 0, 30, 11, 0.295), box(20, 0, 30, 10, 0.29, 1)),
    )
    found = boxes_agreement(first, second)
    # Of one place with two classes each is matched with its own class, though another is closer.
    assert (found.matched, found.same_class) == (2, 2)
    assert sorted(found.iou) == pytest.approx([0.8, 1.0])
    assert found.score == pytest.approx(0.3)
    assert [(one.box, one.faint) for one in found.only_first] == [(2, 0.295)]
    assert [(one.box, one.faint) for one in found.only_second] == [(2, None)]
    assert lone_in_words(found.only_first[0], first) == "class 0 0.400 (0.295 there, too little to be shown)"
    assert agreement_in_words(found, ("fp32", "int8")) == (
        "2 boxes in both, all of the same class; IoU 0.900 on average, 0.800 at least; "
        "scores differ by 0.300 at most; 1 in fp32 alone, 1 in int8 alone"
    )
    nothing = boxes_agreement(Boxes(shown=(), faint=()), Boxes(shown=(), faint=()))
    assert agreement_in_words(nothing, ("a", "b")) == "no boxes in either"


def test_boxes_of_another_class_are_matched_and_counted():
    found = boxes_agreement(
        Boxes(shown=(box(0, 0, 10, 10, 0.9),), faint=()), Boxes(shown=(box(0, 0, 10, 10, 0.9, 3),), faint=())
    )
    assert (found.matched, found.same_class) == (1, 0)
    assert "0 of them of the same class" in agreement_in_words(found, ("a", "b"))


def test_scores_are_shares_as_given_or_by_softmax():
    given, softmax = shares([np.array([0.2, 0.7, 0.1]), np.array([0.2, 0.6, 0.2])])
    assert not softmax
    assert [one.label for one in read_classes(given[0], softmax, DemoSettings(top=2)).top] == [1, 0]
    made, softmax = shares([np.array([0.0, 1.0, -3.0]), np.array([0.0, 0.5, 0.5])])
    assert softmax
    assert made[0] == pytest.approx(np.exp([0, 1, -3]) / np.exp([0, 1, -3]).sum())
    agreement = classes_agreement(made[0], made[1], top=2)
    assert (agreement.same_first, agreement.common, agreement.of) == (True, 1, 2)
    with pytest.raises(InputError, match="no numbers"):
        shares([np.array([np.inf, 0])])
    with pytest.raises(InputError, match="3 classes, the other 2"):
        classes_agreement(np.zeros(3), np.zeros(2), top=1)


def test_masks_by_channel_by_number_and_by_threshold():
    labels = Labels(names=("ground", "road"))
    numbers = np.zeros((48, 64), np.int64)
    numbers[:, :16] = 1
    scores = np.stack([numbers == 0, numbers == 1]).astype(np.float32)
    one = (scores[1:] * 0.6).astype(np.float32)
    for array in (numbers, numbers[None].astype(np.uint8), scores, one):
        mask = mask_of(array, SAME, DemoSettings(), (96, 128))
        regions = read_mask(mask, labels).regions
        assert {region.name: region.share for region in regions} == {"ground": 0.75, "road": 0.25}
    with pytest.raises(InputError, match="no probabilities") as caught:
        mask_of(one * 10 - 5, SAME, DemoSettings(), (48, 64))
    assert "--score 0" in str(caught.value)
    assert (mask_of(one * 10 - 5, SAME, DemoSettings(score=0), (48, 64)) == numbers).all()
    with pytest.raises(InputError, match="last two sizes"):
        mask_of(np.zeros((48, 64, 6), np.float32), SAME, DemoSettings(), (48, 64))


def test_what_was_cropped_away_counts_for_nobody():
    cropped = Fitting.of((48, 128), (48, 64), "crop")
    first = mask_of(np.zeros((48, 64), np.int64), cropped, DemoSettings(), (48, 128))
    assert (first[:, :32] == UNSEEN).all() and (first[:, 32:96] == 0).all() and (first[:, 96:] == UNSEEN).all()
    assert read_mask(first, Labels()).unseen == 0.5
    second = np.zeros((48, 128), np.int64)
    second[:, :48] = 1
    found = masks_agreement(first, second, Labels())
    assert (found.same, found.of) == (48 * 48, 64 * 48)
    assert {one.label: one.iou for one in found.overlaps} == {0: 0.75, 1: 0.0}


def test_labels_are_read_or_refused(tmp_path):
    path = tmp_path / "names.txt"
    path.write_bytes("\ufeffcat\r\nB\u00e4r\n\n".encode())
    names = load_labels(path)
    assert (names(0), names(1), names(2), names(-2), names(None)) == (
        "cat",
        "B\u00e4r",
        "class 2",
        "class -2",
        "object",
    )
    path.write_text("cat\n\ndog\n")
    with pytest.raises(InputError, match="line 2 is empty"):
        load_labels(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"names\.txt"):
        load_labels(path)
    with pytest.raises(InputError, match="is no file"):
        load_labels(tmp_path / "nothing")
